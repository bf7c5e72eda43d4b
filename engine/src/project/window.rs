//! The window's end, graces, and the backup bid.

use kaibiao_protocol::{
    bid::{Consequence, FailureCause},
    digest::Digest,
    event::{ProjectEvent, WindowEnd},
    ids::{BidId, FileId},
    moment::Moment,
    project::{BackupPolicy, WINDOW_MINUTES_MAX},
    refusal::{Refusal, RefusalCode},
    role::Asker,
};

use super::{
    REASON_CHARS_MAX, Verdict, check_text,
    opening::open_desk,
    state::{AwaitingKeys, Closing, Desk, Desks, Failed, Live, Needs, Place, Settling, Stage},
};
use crate::{
    planted::{Planted, planted},
    refusals::because,
};

/// The open window.
fn open_window(live: &Live) -> Result<&AwaitingKeys, Refusal> {
    match &live.stage {
        Stage::AwaitingKeys(stage) => Ok(stage),
        Stage::Receiving | Stage::AwaitingStart(_) | Stage::AwaitingOrder(_) => {
            Err(live.refuse(RefusalCode::NotStarted))
        }
        Stage::Settling(_) | Stage::Published(_) | Stage::Ended(_) => {
            Err(live.refuse(RefusalCode::WindowClosed))
        }
    }
}

/// Extends the window for all.
pub(super) fn extend(live: &Live, minutes: u32, reason: &str, asker: &Asker, at: Moment) -> Verdict {
    check_text(live, reason, 1..=REASON_CHARS_MAX)?;
    let window = open_window(live)?;
    if at >= window.closes_at {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    let room = WINDOW_MINUTES_MAX.saturating_sub(window.minutes);
    if !(1..=room).contains(&minutes) {
        let refusal = live.refuse(RefusalCode::FieldInvalid);
        return Err(because(
            refusal,
            &format!("延长须为1至{room}分钟"),
            &format!("the window may be extended by 1 to {room} minutes"),
        ));
    }
    let counted = if planted(Planted::ExtendedTwice) { 2 * minutes } else { minutes };
    Ok(vec![ProjectEvent::WindowExtended {
        window_closes_at: window.closes_at.plus_minutes(counted),
        minutes,
        reason: reason.to_owned(),
        by: asker.clone(),
    }])
}

/// Closes the window early. Refused while anybody is awaited, so nobody can be shut out by it: what
/// it ends is the rest of the window for those whose grace is over.
pub(super) fn close(live: &Live, reason: &str, at: Moment) -> Verdict {
    check_text(live, reason, 1..=REASON_CHARS_MAX)?;
    let window = open_window(live)?;
    if at >= window.closes_at {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    if window.desks.values().any(|desk| is_awaited(desk, at)) {
        return Err(live.refuse(RefusalCode::StillAwaited));
    }
    let bids = window.desks.iter().filter(|(_, desk)| !desk.is_done()).map(|(bid, _)| *bid).collect();
    let reason = Some(reason.to_owned());
    let mut events =
        vec![ProjectEvent::WindowClosed { end: WindowEnd::ClosedEarly, reason, no_shows: Vec::new() }];
    events.extend(grace_ended(bids));
    Ok(events)
}

/// Whether somebody may rightly expect the room to wait: keys never came, work is in hand, or a
/// grace runs.
fn is_awaited(desk: &Desk, at: Moment) -> bool {
    match &desk.place {
        Place::AwaitingKeys | Place::Unsealing { .. } => true,
        Place::Failed(failed) => at < failed.grace_until,
        Place::AwaitingBackup { until, .. } => at < *until,
        Place::Unsealed { .. } | Place::Final { .. } => false,
    }
}

/// The window's end, or a grace's end, has come: judged by `at`, not by whether a timer fired.
pub(super) fn elapse(live: &Live, at: Moment) -> Verdict {
    match &live.stage {
        Stage::AwaitingKeys(AwaitingKeys { desks, closes_at, .. }) => {
            if at < *closes_at {
                return Err(live.refuse(RefusalCode::StillAwaited));
            }
            let no_shows = desks.iter().filter(|(_, desk)| matches!(desk.place, Place::AwaitingKeys));
            let no_shows = no_shows.map(|(bid, _)| *bid).collect();
            let mut events =
                vec![ProjectEvent::WindowClosed { end: WindowEnd::Elapsed, reason: None, no_shows }];
            events.extend(grace_ended(graces_over(desks, *closes_at, at)));
            Ok(events)
        }
        Stage::Settling(Settling { desks, closing: Closing::Closed { at: closed_at, .. }, .. }) => {
            let over = grace_ended(graces_over(desks, *closed_at, at));
            match over {
                Some(event) => Ok(vec![event]),
                None if desks.values().all(Desk::is_done) => Err(live.refuse(RefusalCode::WindowClosed)),
                None => Err(live.refuse(RefusalCode::StillAwaited)),
            }
        }
        Stage::Receiving | Stage::AwaitingStart(_) | Stage::AwaitingOrder(_) => {
            Err(live.refuse(RefusalCode::NotStarted))
        }
        Stage::Settling(_) | Stage::Published(_) | Stage::Ended(_) => {
            Err(live.refuse(RefusalCode::WindowClosed))
        }
    }
}

fn graces_over(desks: &Desks, closes_at: Moment, at: Moment) -> Vec<BidId> {
    let over = desks.iter().filter(|(_, desk)| match &desk.place {
        Place::Failed(_) | Place::AwaitingBackup { .. } => {
            !desk.lapsed && desk.keys_until(closes_at).is_some_and(|until| until <= at)
        }
        Place::AwaitingKeys | Place::Unsealing { .. } | Place::Unsealed { .. } | Place::Final { .. } => false,
    });
    over.map(|(bid, _)| *bid).collect()
}

fn grace_ended(bids: Vec<BidId>) -> Option<ProjectEvent> {
    (!bids.is_empty()).then_some(ProjectEvent::GraceEnded { bids })
}

/// Lets a failed bid be opened by its backup: only after a recorded failure and before the barrier.
pub(super) fn admit_backup(live: &Live, bid: &BidId, reason: &str, asker: &Asker, at: Moment) -> Verdict {
    check_text(live, reason, 1..=REASON_CHARS_MAX)?;
    let (desk, closes_at) = open_desk(live, bid)?;
    if desk.lapsed {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    let failed = match &desk.place {
        Place::Failed(failed) => failed,
        Place::AwaitingBackup { .. } => return Ok(Vec::new()),
        Place::AwaitingKeys | Place::Unsealing { .. } | Place::Unsealed { .. } => {
            return Err(live.refuse(RefusalCode::NoFailureRecorded));
        }
        // What the receipt fixes does not open; a backup that seals to it opens no better.
        Place::Final { .. } => return Err(live.refuse(RefusalCode::BackupNotAllowed)),
    };
    // rules.md 19: practice differs, so the project's policy decides.
    let allowed = match live.spec.backup {
        BackupPolicy::Never => false,
        BackupPolicy::PlatformFaultOnly => failed.cause.consequence() == Consequence::Withdrawn,
        BackupPolicy::AnyFault => true,
    };
    if !allowed {
        return Err(live.refuse(RefusalCode::BackupNotAllowed));
    }
    let until = match desk.keys_until(closes_at) {
        Some(until) if at < until => until,
        Some(_) | None => return Err(live.refuse(RefusalCode::WindowClosed)),
    };
    // Awaited for the rest of its grace; if that is over, for the rest of the window.
    let until = if at < failed.grace_until { failed.grace_until } else { until };
    let reason = reason.to_owned();
    Ok(vec![ProjectEvent::BackupAdmitted { bid: *bid, reason, by: asker.clone(), until }])
}

/// Puts restored bytes in the place of damaged ones. The header's digest fixes statement, signature
/// and, through the statement, every part's ciphertext: equal to the receipt's, the bytes are those
/// of the receipt.
pub(super) fn restore(live: &Live, bid: &BidId, file: FileId, header_digest: &Digest, at: Moment) -> Verdict {
    let (desk, closes_at) = open_desk(live, bid)?;
    match &desk.place {
        Place::AwaitingBackup { failed, .. } if takes_restoring(failed) => {}
        Place::AwaitingBackup { .. } => return Err(live.refuse(RefusalCode::BackupNotAllowed)),
        Place::Failed(_) => return Err(live.refuse(RefusalCode::BackupNotAdmitted)),
        Place::AwaitingKeys | Place::Unsealing { .. } | Place::Unsealed { .. } => {
            return Err(live.refuse(RefusalCode::NoFailureRecorded));
        }
        Place::Final { .. } => return Err(live.refuse(RefusalCode::BackupNotAllowed)),
    }
    if live.inbox.bids.get(bid).is_none_or(|bid| bid.facts.header_digest != *header_digest) {
        return Err(live.refuse(RefusalCode::BackupDiffers));
    }
    if desk.keys_until(closes_at).is_none_or(|until| at >= until) {
        return Err(live.refuse(RefusalCode::WindowClosed));
    }
    Ok(vec![ProjectEvent::BidRestored { bid: *bid, file }])
}

/// Whether the stored bytes are in question at all.
fn takes_restoring(failed: &Failed) -> bool {
    failed.needs == Needs::Restoring || failed.cause == FailureCause::PlatformFault
}
