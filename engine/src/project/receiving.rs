//! From the project's publication to the count at the deadline.

use std::collections::BTreeMap;

use kaibiao_protocol::{
    bid::{BidFacts, PartName},
    event::{LotCount, ProjectEvent},
    ids::{BidId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::ROWS_MAX,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor, Role},
};

use super::{
    REASON_CHARS_MAX, UPLOADS_PER_SUPPLIER_MAX, UploadFate, Verdict, check_text,
    state::{Live, Stage},
};
use crate::{
    planted::{Planted, planted},
    refusals::{because, refuse},
    rules::{RulePack, check_spec},
};

/// Publishes a project: by an agent of its organiser, or by the operator at the console.
pub(super) fn create(spec: &ProjectSpec, asker: &Asker, at: Moment) -> Verdict {
    let default = RulePack::default();
    match asker {
        Asker::Platform { reactor: Reactor::Console } => {}
        Asker::Person { role: Role::Agent, organisation, .. } if *organisation == spec.organiser => {}
        Asker::Person { role: Role::Agent, .. } => return Err(refuse(RefusalCode::NotYourProject, default)),
        Asker::Person { .. } | Asker::Platform { .. } => {
            return Err(refuse(RefusalCode::RoleNotAllowed, default));
        }
    }
    let Some(pack) = RulePack::named(&spec.rule_pack) else {
        let refusal = refuse(RefusalCode::SpecInvalid, default);
        return Err(because(refusal, "规则包须为GP/1或CTB/1", "the rule pack must be GP/1 or CTB/1"));
    };
    let faults = check_spec(pack, spec, at);
    let Some(first) = faults.first() else {
        return Ok(vec![ProjectEvent::ProjectCreated { spec: spec.clone(), by: asker.clone() }]);
    };
    let list = |words: fn(&crate::rules::SpecFault) -> &str, comma: &str| {
        faults.iter().map(words).collect::<Vec<_>>().join(comma)
    };
    let refusal = Refusal { rule: pack.cite(first.rule), ..refuse(first.code, pack) };
    Err(because(refusal, &list(|fault| &fault.zh, "；"), &list(|fault| &fault.en, "; ")))
}

/// Takes in a bid. `at` is the stamp of its last byte; whether it is late is decided by that alone.
pub(super) fn submit(live: &Live, facts: &BidFacts, at: Moment) -> Verdict {
    if let Some(fate) = live.inbox.uploads.get(&facts.upload) {
        return same_upload(live, fate, facts);
    }
    check_time_of_receipt(live, at)?;
    check_sender(live, &facts.supplier, facts.size_bytes)?;
    check_form(live, facts)?;
    check_rows(live, facts)?;
    let known = live.inbox.suppliers.get(&facts.supplier);
    // Of two by one supplier the later stamp wins, in whichever order they are decided.
    let replaces = known.filter(|known| known.latest <= at).and_then(|known| known.standing);
    Ok(vec![ProjectEvent::BidSubmitted { facts: facts.clone(), received_at: at, replaces }])
}

/// The same upload again gets its first answer; the keeper finds it, because nothing happens.
fn same_upload(live: &Live, fate: &UploadFate, facts: &BidFacts) -> Verdict {
    let same = match fate {
        UploadFate::Received(bid) => live.inbox.bids.get(bid).is_some_and(|bid| {
            bid.facts.supplier == facts.supplier && bid.facts.header_digest == facts.header_digest
        }),
        UploadFate::Refused { .. } => false,
    };
    if same { Ok(Vec::new()) } else { Err(live.refuse(RefusalCode::UploadTaken)) }
}

/// TL-28, TR-36: "逾期送达的投标文件，招标人应当拒收". In time is before the deadline's instant.
pub(super) fn check_time_of_receipt(live: &Live, at: Moment) -> Result<(), Refusal> {
    if at >= live.spec.deadline && !(planted(Planted::LateByOne) && at == live.spec.deadline) {
        return Err(live.refuse(RefusalCode::PastDeadline));
    }
    match live.stage {
        Stage::Receiving => Ok(()),
        Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(_)
        | Stage::Ended(_) => Err(live.refuse(RefusalCode::NotReceiving)),
    }
}

/// Who hands in, and how much.
pub(super) fn check_sender(live: &Live, supplier: &OrganisationId, size_bytes: u64) -> Result<(), Refusal> {
    if !live.may_bid(supplier) {
        return Err(live.refuse(RefusalCode::NotInvited));
    }
    if live.spec.bid_bytes_max.is_some_and(|most| size_bytes > most) {
        return Err(live.refuse(RefusalCode::TooLarge));
    }
    check_quota(live, supplier)
}

fn check_quota(live: &Live, supplier: &OrganisationId) -> Result<(), Refusal> {
    let judged = live.inbox.suppliers.get(supplier).map_or(0, |known| known.uploads);
    if judged < UPLOADS_PER_SUPPLIER_MAX { Ok(()) } else { Err(live.refuse(RefusalCode::SlowDown)) }
}

/// What the bid is for and made of.
fn check_form(live: &Live, facts: &BidFacts) -> Result<(), Refusal> {
    let offered = |lot: &LotNo| live.spec.lots.contains_key(lot);
    if facts.lots.is_empty() || !facts.lots.iter().all(offered) {
        return Err(live.refuse(RefusalCode::OtherLots));
    }
    // One part a lot and a common one, so that a lot that is not opened needs no key.
    let mut parts: Vec<PartName> = facts.parts.iter().map(|part| part.part).collect();
    parts.sort_unstable();
    let asked = std::iter::once(PartName::Common).chain(facts.lots.iter().copied().map(PartName::Lot));
    if !asked.eq(parts) {
        return Err(live.refuse(RefusalCode::NotASealedBid));
    }
    if live.inbox.bids.contains_key(&facts.bid) {
        return Err(live.refuse(RefusalCode::AlreadyExists));
    }
    // Two who seal apart never come to the same ciphertext: one is the other's copy.
    let others = |digest| live.inbox.ciphertexts.get(digest).is_some_and(|owner| *owner != facts.supplier);
    if facts.parts.iter().any(|part| others(&part.ciphertext)) && !planted(Planted::AnyonesFile) {
        return Err(live.refuse(RefusalCode::SameCiphertext));
    }
    Ok(())
}

/// The record of all bids must reach its readers: with this bid it has at most so many rows.
fn check_rows(live: &Live, facts: &BidFacts) -> Result<(), Refusal> {
    // Hardly any project comes near: then nothing is counted.
    let at_most = (live.inbox.suppliers.len() + 1) * live.spec.lots.len();
    if at_most <= ROWS_MAX {
        return Ok(());
    }
    let others = live.inbox.suppliers.iter().filter(|(supplier, _)| **supplier != facts.supplier);
    let standing = others.filter_map(|(_, known)| live.inbox.bids.get(&known.standing?));
    let rows: usize = standing.map(|bid| bid.facts.lots.len()).sum();
    if rows + facts.lots.len() <= ROWS_MAX {
        return Ok(());
    }
    Err(because(
        live.refuse(RefusalCode::TooLarge),
        &format!("本项目的开标记录最多{ROWS_MAX}行，已满，请联系代理机构"),
        &format!("this project's record has at most {ROWS_MAX} rows, and they are taken: call the agency"),
    ))
}

/// Records that a final was refused. In every phase: a late one may come after the end.
pub(super) fn refuse_upload(
    live: &Live,
    upload: UploadId,
    supplier: &OrganisationId,
    size_bytes: u64,
    code: RefusalCode,
    at: Moment,
) -> Verdict {
    match live.inbox.uploads.get(&upload) {
        Some(UploadFate::Refused { supplier: owner, code: told, .. })
            if owner == supplier && *told == code =>
        {
            Ok(Vec::new())
        }
        Some(_) => Err(live.refuse(RefusalCode::UploadTaken)),
        None => {
            check_quota(live, supplier)?;
            let supplier = supplier.clone();
            Ok(vec![ProjectEvent::UploadRefused { upload, supplier, size_bytes, received_at: at, code }])
        }
    }
}

/// TL-29: a bid may be withdrawn before the deadline; TR-35: afterwards only revoked.
pub(super) fn withdraw(live: &Live, bid: &BidId, reason: &str, asker: &Asker, at: Moment) -> Verdict {
    check_text(live, reason, 0..=REASON_CHARS_MAX)?;
    // A bid of somebody else is answered as one that is not there.
    let own = match asker {
        Asker::Person { organisation, .. } => live.inbox.standing_of(organisation),
        Asker::Platform { .. } => None,
    };
    if own.is_none_or(|own| own.facts.bid != *bid) {
        return Err(live.refuse(RefusalCode::NoSuchBid));
    }
    if at >= live.spec.deadline {
        return Err(live.refuse(RefusalCode::WithdrawTooLate));
    }
    // Counted already, although stamped in time: intake lets withdrawals through before it asks for
    // the count.
    check_time_of_receipt(live, at)?;
    Ok(vec![ProjectEvent::BidWithdrawn { bid: *bid, reason: reason.to_owned() }])
}

/// Counts the bids. Intake asks when every final stamped before the deadline has its verdict.
pub(super) fn close(live: &Live, at: Moment) -> Verdict {
    match live.stage {
        Stage::Receiving => {}
        Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(_)
        | Stage::Ended(_) => return Err(live.refuse(RefusalCode::NotReceiving)),
    }
    if at < live.spec.deadline {
        return Err(live.refuse(RefusalCode::BeforeDeadline));
    }
    // rules.md 22: after a fault of the platform the agent has time to postpone.
    if at < live.counted_from() {
        return Err(live.refuse(RefusalCode::CountingHeld));
    }
    let mut counts: BTreeMap<LotNo, u32> = live.spec.lots.keys().map(|lot| (*lot, 0)).collect();
    for bid in live.inbox.standing() {
        for lot in &bid.facts.lots {
            *counts.entry(*lot).or_default() += 1;
        }
    }
    // TR-44, 87-41: "投标人少于3个的，不得开标", counted per lot.
    let opens = |bids| live.pack.lot_opens(bids) || planted(Planted::TooFewOpened) && bids > 0;
    let count = |(lot, bids)| (lot, LotCount { bids, opens: opens(bids) });
    Ok(vec![ProjectEvent::ReceivingClosed { lots: counts.into_iter().map(count).collect() }])
}
