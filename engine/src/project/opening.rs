//! From the start of the opening to the verdict on each bid.

use kaibiao_protocol::{
    bid::{Consequence, Evidence, FailureCause},
    blob::Blob,
    event::{ProjectEvent, WindowEnd},
    ids::BidId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::Asker,
};

use super::{
    FAILURES_PER_BID_MAX, ORDER_BYTES_MAX, REASON_CHARS_MAX, Verdict, check_signature, check_text,
    state::{AwaitingKeys, Closing, Desk, Failed, Live, Needs, Place, Settling, Stage, give_back, mended_by},
};
use crate::{
    planted::{Planted, planted},
    refusals::because,
};

/// Starts the opening: by itself at the deadline, or by the organiser's agent.
pub(super) fn start(live: &Live, signature: Option<&[u8]>, asker: &Asker, at: Moment) -> Verdict {
    // 87-39, TL-34: the opening is at the instant of the deadline, never before.
    if at < live.spec.deadline {
        return Err(live.refuse(RefusalCode::BeforeDeadline));
    }
    match &live.stage {
        Stage::Receiving => Err(live.refuse(RefusalCode::NotSettled)),
        Stage::AwaitingStart(_) => {
            signature.map_or(Ok(()), |signature| check_signature(live, signature))?;
            let signature = signature.map(|signature| Blob(signature.to_vec()));
            Ok(vec![ProjectEvent::OpeningStarted { by: asker.clone(), signature }])
        }
        Stage::Settling(Settling { closing: Closing::NothingToOpen, .. }) => {
            Err(live.refuse(RefusalCode::NotOpened))
        }
        Stage::AwaitingOrder(_) | Stage::AwaitingKeys(_) | Stage::Settling(_) | Stage::Published(_) => {
            Err(live.refuse(RefusalCode::AlreadyStarted))
        }
        Stage::Ended(_) => Err(live.refuse(RefusalCode::OpeningEnded)),
    }
}

/// Puts an order in force: the first opens the window, a later one (the one-time key dies with its
/// process) gives back the time in which the room was not served.
pub(super) fn issue_order(
    live: &Live,
    epoch: u32,
    order: &str,
    signature: &[u8],
    down_since: Option<Moment>,
    at: Moment,
) -> Verdict {
    let window_closes_at = order_window(live, at, down_since)?;
    check_signature(live, signature)?;
    if order.is_empty() || order.len() > ORDER_BYTES_MAX {
        let refusal = live.refuse(RefusalCode::FieldInvalid);
        return Err(because(refusal, "开标指令为空或过长", "the order is empty or too long"));
    }
    if epoch <= current_epoch(live).unwrap_or(0) && !planted(Planted::EpochNotRaised) {
        return Err(live.refuse(RefusalCode::OrderSuperseded));
    }
    Ok(vec![ProjectEvent::OrderIssued {
        epoch,
        order: order.to_owned(),
        signature: Blob(signature.to_vec()),
        window_closes_at,
        down_since,
    }])
}

/// When the order's time ends if it is issued at `at`: the window's end or, once that is closed, the
/// end of the last grace.
pub(super) fn order_window(live: &Live, at: Moment, down_since: Option<Moment>) -> Result<Moment, Refusal> {
    match &live.stage {
        Stage::Receiving | Stage::AwaitingStart(_) => Err(live.refuse(RefusalCode::NotStarted)),
        Stage::AwaitingOrder(_) => Ok(at.plus_minutes(live.spec.window_minutes)),
        Stage::AwaitingKeys(stage) => Ok(give_back(stage.closes_at, down_since, at)),
        Stage::Settling(Settling { closing: Closing::Closed { at: closed_at, .. }, desks, .. }) => {
            let awaited = desks.values().filter(|desk| !desk.is_done());
            let last = awaited.filter_map(|desk| desk.keys_until(*closed_at)).max();
            last.map(|last| give_back(last, down_since, at))
                .ok_or_else(|| live.refuse(RefusalCode::WindowClosed))
        }
        Stage::Settling(_) | Stage::Published(_) | Stage::Ended(_) => {
            Err(live.refuse(RefusalCode::WindowClosed))
        }
    }
}

fn current_epoch(live: &Live) -> Option<u32> {
    match (&live.stage, live.closing()) {
        (Stage::AwaitingKeys(stage), _) => Some(stage.order.epoch),
        (_, Some(Closing::Closed { order, .. })) => Some(order.epoch),
        (_, Some(Closing::NothingToOpen) | None) => None,
    }
}

/// A bid's desk while verdicts may still come, and the window's end.
pub(super) fn open_desk<'a>(live: &'a Live, bid: &BidId) -> Result<(&'a Desk, Moment), Refusal> {
    let (desks, closes_at) = match &live.stage {
        Stage::Receiving | Stage::AwaitingStart(_) | Stage::AwaitingOrder(_) => {
            return Err(live.refuse(RefusalCode::NotStarted));
        }
        Stage::AwaitingKeys(AwaitingKeys { desks, closes_at, .. }) => (desks, *closes_at),
        Stage::Settling(Settling { desks, closing: Closing::Closed { at, .. }, .. }) => (desks, *at),
        Stage::Settling(Settling { closing: Closing::NothingToOpen, .. }) => {
            return Err(live.refuse(RefusalCode::NotOpened));
        }
        Stage::Published(_) | Stage::Ended(_) => return Err(live.refuse(RefusalCode::WindowClosed)),
    };
    match desks.get(bid) {
        Some(desk) => Ok((desk, closes_at)),
        None if live.counted().is_some_and(|counted| counted.bids.contains(bid)) => {
            Err(live.refuse(RefusalCode::NotOpened))
        }
        None => Err(live.refuse(RefusalCode::NoSuchBid)),
    }
}

/// Keeps a bid's keys. `at` is the stamp of their arrival: judged by it, they count even if the
/// window's end was decided first.
pub(super) fn accept_keys(live: &Live, bid: &BidId, epoch: u32, by_backup: bool, at: Moment) -> Verdict {
    let (desk, closes_at) = open_desk(live, bid)?;
    if current_epoch(live) != Some(epoch) {
        return Err(live.refuse(RefusalCode::OrderSuperseded));
    }
    match &desk.place {
        Place::Unsealing { .. } | Place::Unsealed { .. } => {
            return Err(live.refuse(RefusalCode::KeysAlreadyHere));
        }
        Place::Final { .. } => return Err(live.refuse(RefusalCode::WindowClosed)),
        Place::AwaitingKeys if by_backup && !planted(Planted::BackupWithoutFailure) => {
            return Err(live.refuse(RefusalCode::NoFailureRecorded));
        }
        Place::Failed(_) if by_backup => return Err(live.refuse(RefusalCode::BackupNotAdmitted)),
        Place::Failed(Failed { needs: Needs::Restoring, kept_by_backup: Some(_), .. })
        | Place::AwaitingBackup {
            failed: Failed { needs: Needs::Restoring, kept_by_backup: Some(_), .. },
            ..
        } => return Err(live.refuse(RefusalCode::KeysAlreadyHere)),
        Place::AwaitingKeys | Place::Failed(_) | Place::AwaitingBackup { .. } => {}
    }
    let over = desk.keys_until(closes_at).is_none_or(|until| at >= until);
    if over && !planted(Planted::KeysAfterWindow) {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    Ok(vec![ProjectEvent::KeysAccepted { bid: *bid, arrived_at: at, by_backup }])
}

/// Every chunk of the parts being opened is authentic.
pub(super) fn report_unsealed(live: &Live, bid: &BidId) -> Verdict {
    let (desk, _) = open_desk(live, bid)?;
    match &desk.place {
        Place::Unsealed { .. } => Ok(Vec::new()),
        Place::Unsealing { .. } => {
            let mut events = vec![ProjectEvent::BidUnsealed { bid: *bid }];
            events.extend(all_settled(live, bid));
            Ok(events)
        }
        Place::AwaitingKeys | Place::Failed(_) | Place::AwaitingBackup { .. } => {
            Err(live.refuse(RefusalCode::StillAwaited))
        }
        Place::Final { .. } => Err(live.refuse(RefusalCode::WindowClosed)),
    }
}

/// The window closes by itself once nobody is awaited, if this bid's verdict was the last.
fn all_settled(live: &Live, verdict_on: &BidId) -> Option<ProjectEvent> {
    match &live.stage {
        Stage::AwaitingKeys(AwaitingKeys { desks, .. })
            if desks.iter().all(|(bid, desk)| bid == verdict_on || desk.is_done()) =>
        {
            Some(ProjectEvent::WindowClosed {
                end: WindowEnd::AllSettled,
                reason: None,
                no_shows: Vec::new(),
            })
        }
        Stage::Receiving
        | Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(_)
        | Stage::Ended(_) => None,
    }
}

/// Records why a bid does not open (E20-31: whose cause it is decides what it means).
pub(super) fn report_failure(
    live: &Live,
    bid: &BidId,
    cause: FailureCause,
    evidence: &Evidence,
    asker: &Asker,
    at: Moment,
) -> Verdict {
    check_own_report(live, bid, cause, asker)?;
    check_text(live, &evidence.seen, 1..=REASON_CHARS_MAX)?;
    let (desk, closes_at) = open_desk(live, bid)?;
    let by_supplier = matches!(asker, Asker::Person { .. });
    // That keys never came is told by the window's end alone.
    if cause == FailureCause::NoShow {
        return Err(live.refuse(RefusalCode::FieldInvalid));
    }
    if desk.lapsed || matches!(desk.place, Place::Final { .. }) {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    match &desk.place {
        Place::Unsealing { .. } | Place::Unsealed { .. } if is_about_keys(cause) => {
            return Err(live.refuse(RefusalCode::KeysAlreadyHere));
        }
        Place::Failed(failed) | Place::AwaitingBackup { failed, .. }
            if !worsens(failed, cause, by_supplier) =>
        {
            return Ok(Vec::new());
        }
        Place::AwaitingKeys
        | Place::Unsealing { .. }
        | Place::Unsealed { .. }
        | Place::Failed(_)
        | Place::AwaitingBackup { .. }
        | Place::Final { .. } => {}
    }
    if by_supplier && desk.keys_until(closes_at).is_none_or(|until| at >= until) {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    // Only what a supplier can bring about at will is counted: the platform must always be able to
    // say what became of a bid.
    if is_about_keys(cause) && desk.failures >= FAILURES_PER_BID_MAX {
        return Err(live.refuse(RefusalCode::SlowDown));
    }
    let grace_until = grace_until(live, desk, cause, at);
    let mut events =
        vec![ProjectEvent::BidFailed { bid: *bid, cause, evidence: evidence.clone(), grace_until }];
    if mended_by(cause, live.spec.backup).is_none() {
        events.extend(all_settled(live, bid));
    }
    Ok(events)
}

/// A supplier may report its own bid and its own token only.
fn check_own_report(live: &Live, bid: &BidId, cause: FailureCause, asker: &Asker) -> Result<(), Refusal> {
    let Asker::Person { organisation, .. } = asker else { return Ok(()) };
    if live.inbox.standing_of(organisation).is_none_or(|own| own.facts.bid != *bid) {
        return Err(live.refuse(RefusalCode::NoSuchBid));
    }
    match cause {
        FailureCause::WrongToken | FailureCause::TokenTrouble => Ok(()),
        FailureCause::WrongKey
        | FailureCause::DamagedUpload
        | FailureCause::MalformedPackage
        | FailureCause::DamagedStore
        | FailureCause::NoShow
        | FailureCause::PlatformFault => Err(live.refuse(RefusalCode::FieldInvalid)),
    }
}

/// Whether the cause says that no fitting key came, which keys already kept disprove.
fn is_about_keys(cause: FailureCause) -> bool {
    match cause {
        FailureCause::WrongToken
        | FailureCause::TokenTrouble
        | FailureCause::WrongKey
        | FailureCause::NoShow => true,
        FailureCause::DamagedUpload
        | FailureCause::MalformedPackage
        | FailureCause::DamagedStore
        | FailureCause::PlatformFault => false,
    }
}

/// Whether a further cause says more than the one recorded. The same again says nothing; where the
/// platform is at fault a supplier's word about its token does not take that fault away; and no key is
/// the wrong one for bytes that are damaged.
fn worsens(failed: &Failed, cause: FailureCause, by_supplier: bool) -> bool {
    let platforms_fault = failed.cause.consequence() == Consequence::Withdrawn;
    let bytes_damaged = failed.needs == Needs::Restoring && is_about_keys(cause);
    failed.cause != cause && !(by_supplier && platforms_fault) && !bytes_damaged
}

/// Until when the failure may be mended at least. The grace runs from the first failure since keys
/// last fitted; what nothing can mend has none.
fn grace_until(live: &Live, desk: &Desk, cause: FailureCause, at: Moment) -> Moment {
    match &desk.place {
        _ if mended_by(cause, live.spec.backup).is_none() => at,
        Place::Failed(failed) | Place::AwaitingBackup { failed, .. } => failed.grace_until,
        Place::AwaitingKeys | Place::Unsealing { .. } | Place::Unsealed { .. } | Place::Final { .. } => {
            at.plus_minutes(live.spec.failure_grace_minutes)
        }
    }
}
