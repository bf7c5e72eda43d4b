//! The barrier, the record, and what is done with it.

use std::collections::BTreeMap;

use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    event::ProjectEvent,
    ids::{BidId, LotNo, OrganisationId},
    moment::Moment,
    record::{BidSheet, LotRecord, OpeningRecord, RecordRow, RowOutcome, SHEET_CHARS_MAX, SealedRow},
    refusal::{Refusal, RefusalCode},
    role::Asker,
};

use super::{
    Bid, Verdict, check_signature,
    state::{Closing, Desk, Live, Place, Published, Settling, Signed, Signing, Stage, barrier_is_free},
};
use crate::{
    planted::{Planted, planted},
    refusals::because,
    rules::Rule,
};

/// The barrier: publishes the records of all lots at once, when every bid being opened is unsealed or
/// settled (E20-30), and never before.
pub(super) fn publish(
    live: &Live,
    sheets: &BTreeMap<BidId, BTreeMap<LotNo, BidSheet>>,
    at: Moment,
) -> Verdict {
    let desks = match &live.stage {
        Stage::Settling(Settling { desks, .. }) if barrier_is_free(desks) => desks,
        Stage::Receiving
        | Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_) => return Err(live.refuse(RefusalCode::BarrierHolds)),
        Stage::Published(_) | Stage::Ended(_) => return Err(live.refuse(RefusalCode::AlreadyExists)),
    };
    let unsealed = desks.iter().filter(|(_, desk)| matches!(desk.place, Place::Unsealed { .. }));
    if !unsealed.map(|(bid, _)| bid).eq(sheets.keys()) && !planted(Planted::SheetsOfOneMissing) {
        return Err(live.refuse(RefusalCode::SheetsIncomplete));
    }
    for (bid, sheets) in sheets {
        check_sheets(live, bid, sheets)?;
    }
    let lots = live.spec.lots.keys().map(|lot| (*lot, lot_record(live, *lot, sheets)));
    let record = OpeningRecord { published_at: at, lots: lots.collect() };
    Ok(vec![ProjectEvent::RecordsPublished { record }])
}

/// Whether the sheets are exactly those of the bid's opened lots, each as the lot asks.
pub(super) fn check_sheets(
    live: &Live,
    bid: &BidId,
    sheets: &BTreeMap<LotNo, BidSheet>,
) -> Result<(), Refusal> {
    let incomplete = || live.refuse(RefusalCode::SheetsIncomplete);
    let bid = live.inbox.bids.get(bid).ok_or_else(incomplete)?;
    if !live.opened_lots(bid).eq(sheets.keys().copied()) {
        return Err(incomplete());
    }
    for (lot, sheet) in sheets {
        let asked = live.spec.lots.get(lot).ok_or_else(incomplete)?.price_kind;
        if sheet.price.kind() != asked {
            let (zh, en) =
                (format!("标项{lot}的报价方式不符"), format!("lot {lot} asks another kind of price"));
            return Err(because(incomplete(), &zh, &en));
        }
        let texts = [&sheet.delivery_or_lead, &sheet.bid_security_method, &sheet.remark];
        if texts.iter().any(|text| text.chars().count() > SHEET_CHARS_MAX) {
            let (zh, en) = (format!("标项{lot}的文字过长"), format!("a text of lot {lot} is too long"));
            return Err(because(incomplete(), &zh, &en));
        }
    }
    Ok(())
}

fn lot_record(live: &Live, lot: LotNo, sheets: &BTreeMap<BidId, BTreeMap<LotNo, BidSheet>>) -> LotRecord {
    let bids = live.counted().map_or(&[][..], |counted| &counted.bids);
    let bids = bids.iter().filter_map(|bid| live.inbox.bids.get(bid));
    let bids = bids.filter(|bid| bid.facts.lots.contains(&lot));
    let dropped = |bid: &&Bid| {
        let desk = live.desks().and_then(|desks| desks.get(&bid.facts.bid));
        desk.is_some_and(|desk| matches!(desk.place, Place::AwaitingKeys))
    };
    let bids = bids.filter(|bid| !(planted(Planted::NoShowDropped) && dropped(bid)));
    if live.lot_opens(lot) {
        // TR-36: every bid received in time is in the record, in the order of receipt.
        let rows = (1..).zip(bids).map(|(no, bid)| row(live, no, bid, lot, sheets));
        LotRecord::Opened { rows: rows.collect() }
    } else {
        let row = |bid: &Bid| SealedRow { bid: bid.facts.bid, supplier: bid.facts.supplier_name.clone() };
        LotRecord::NotOpened { rule: live.pack.cite(Rule::FewerThanThree), bids: bids.map(row).collect() }
    }
}

fn row(
    live: &Live,
    no: u32,
    bid: &Bid,
    lot: LotNo,
    sheets: &BTreeMap<BidId, BTreeMap<LotNo, BidSheet>>,
) -> RecordRow {
    let id = bid.facts.bid;
    let desk = live.desks().and_then(|desks| desks.get(&id));
    let sheet = sheets.get(&id).and_then(|sheets| sheets.get(&lot));
    let outcome = match (desk, sheet) {
        (Some(Desk { place: Place::Unsealed { by_backup }, .. }), Some(sheet)) => {
            RowOutcome::Unsealed { sheet: sheet.clone(), by_backup: *by_backup }
        }
        (Some(desk), _) => {
            RowOutcome::Failed { cause: desk.cause(), consequence: desk.cause().consequence() }
        }
        (None, _) => unreachable!("a bid with an opened lot has a desk"),
    };
    RecordRow { no, bid: id, supplier: bid.facts.supplier_name.clone(), outcome }
}

/// Keeps the platform's signature over the record.
pub(super) fn sign(live: &Live, digest: Digest, signature: &[u8]) -> Verdict {
    check_signature(live, signature)?;
    match (live.outcome(), live.signed()) {
        (None, _) => Err(live.refuse(RefusalCode::NotPublished)),
        (Some(_), None) => {
            Ok(vec![ProjectEvent::RecordSigned { digest, signature: Blob(signature.to_vec()) }])
        }
        (Some(_), Some(signed)) if signed.signature.digest == digest => Ok(Vec::new()),
        (Some(_), Some(_)) => Err(live.refuse(RefusalCode::OtherRecord)),
    }
}

/// The published stage; afterwards nothing more is done with the record.
fn published(live: &Live) -> Result<&Published, Refusal> {
    match &live.stage {
        Stage::Published(stage) => Ok(stage),
        Stage::Ended(_) => Err(live.refuse(RefusalCode::OpeningEnded)),
        Stage::Receiving
        | Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_) => Err(live.refuse(RefusalCode::NotPublished)),
    }
}

fn signed(live: &Live) -> Result<&Signed, Refusal> {
    match &published(live)?.signing {
        Signing::Signed(signed) => Ok(signed),
        Signing::Unsigned => Err(live.refuse(RefusalCode::NotPublished)),
    }
}

/// Reads a row out (TR-36: name, price and what else is asked).
pub(super) fn read_out(live: &Live, lot: LotNo, no: u32) -> Verdict {
    let outcome = &published(live)?.outcome;
    match outcome.record.lots.get(&lot) {
        None => Err(live.refuse(RefusalCode::Unknown)),
        Some(LotRecord::NotOpened { .. }) => Err(live.refuse(RefusalCode::NotOpened)),
        Some(LotRecord::Opened { rows }) if !rows.iter().any(|row| row.no == no) => {
            Err(live.refuse(RefusalCode::Unknown))
        }
        Some(LotRecord::Opened { .. }) if outcome.read_out.contains(&(lot, no)) => Ok(Vec::new()),
        Some(LotRecord::Opened { .. }) => Ok(vec![ProjectEvent::RowReadOut { lot, no }]),
    }
}

/// A bidder confirms the record it names by digest.
pub(super) fn confirm(live: &Live, record: &Digest, signature: &[u8], asker: &Asker, at: Moment) -> Verdict {
    check_signature(live, signature)?;
    let signed = signed(live)?;
    let supplier = bidder(live, asker)?;
    if signed.signature.digest != *record {
        return Err(live.refuse(RefusalCode::OtherRecord));
    }
    if signed.confirmed.contains(supplier) {
        return Err(live.refuse(RefusalCode::AlreadyConfirmed));
    }
    if at >= signed.signature.confirm_until || !signed.deemed.is_empty() {
        return Err(live.refuse(RefusalCode::ConfirmingOver));
    }
    Ok(vec![ProjectEvent::RecordConfirmed {
        supplier: supplier.clone(),
        record: *record,
        signature: Blob(signature.to_vec()),
    }])
}

/// The asker's organisation, if a bid of it stood at the deadline.
pub(super) fn bidder<'a>(live: &Live, asker: &'a Asker) -> Result<&'a OrganisationId, Refusal> {
    match asker {
        Asker::Person { organisation, .. }
            if live.counted().is_some_and(|counted| counted.bidders.contains(organisation)) =>
        {
            Ok(organisation)
        }
        Asker::Person { .. } | Asker::Platform { .. } => Err(live.refuse(RefusalCode::NotYourProject)),
    }
}

/// Those whose word is still out, in a fixed order.
pub(crate) fn silent<'a>(live: &'a Live, signed: &'a Signed) -> impl Iterator<Item = &'a OrganisationId> {
    let bidders = live.counted().into_iter().flat_map(|counted| &counted.bidders);
    bidders.filter(|one| !signed.confirmed.contains(*one) && !signed.deemed.contains(*one))
}

/// 87-42: bidders who are absent or silent are deemed to accept.
pub(super) fn deem(live: &Live, at: Moment) -> Verdict {
    let signed = signed(live)?;
    if at < signed.signature.confirm_until {
        return Err(live.refuse(RefusalCode::StillAwaited));
    }
    let suppliers: Vec<OrganisationId> = silent(live, signed).cloned().collect();
    if suppliers.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![ProjectEvent::ConfirmationsDeemed { suppliers }])
}

/// Ends the opening: everything raised is answered, everybody has accepted or is deemed to.
pub(super) fn end(live: &Live, asker: &Asker) -> Verdict {
    let signed = signed(live)?;
    if live.objections.iter().any(|objection| objection.answer.is_none()) {
        return Err(live.refuse(RefusalCode::ObjectionsOpen));
    }
    if silent(live, signed).next().is_some() {
        return Err(live.refuse(RefusalCode::StillAwaited));
    }
    Ok(vec![ProjectEvent::OpeningEnded { by: asker.clone() }])
}

/// The order that was last in force.
pub(crate) fn closed_window(closing: &Closing) -> Option<(&super::Order, Moment)> {
    match closing {
        Closing::NothingToOpen => None,
        Closing::Closed { order, at } => Some((order, *at)),
    }
}
