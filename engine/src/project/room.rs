//! Being in the room and speaking there.

use kaibiao_protocol::{
    event::{ObjectionKind, ProjectEvent},
    ids::LotNo,
    moment::Moment,
    refusal::RefusalCode,
    role::{Asker, Role},
};

use super::{
    OBJECTION_CHARS_MAX, OBJECTIONS_PER_SUPPLIER_MAX, Verdict, check_text,
    record::bidder,
    state::{Live, Published, Signing, Stage},
};

/// Signs an organisation in. Never a condition of anything; shown to others from the deadline on.
pub(super) fn check_in(live: &Live, asker: &Asker) -> Verdict {
    if matches!(live.stage, Stage::Ended(_)) {
        return Err(live.refuse(RefusalCode::OpeningEnded));
    }
    let Asker::Person { organisation, role, .. } = asker else {
        return Err(live.refuse(RefusalCode::RoleNotAllowed));
    };
    // Before the count the answer must not tell who has handed in; after it only bidders take part.
    if *role == Role::Supplier && live.counted().is_some() {
        bidder(live, asker)?;
    }
    if live.checked_in.contains(organisation) {
        return Ok(Vec::new());
    }
    Ok(vec![ProjectEvent::CheckedIn { by: asker.clone() }])
}

/// Raises an objection or a recusal request (TR-44: on the spot, and answered there).
pub(super) fn object(
    live: &Live,
    kind: ObjectionKind,
    lot: Option<LotNo>,
    text: &str,
    asker: &Asker,
    at: Moment,
) -> Verdict {
    check_text(live, text, 1..=OBJECTION_CHARS_MAX)?;
    match &live.stage {
        Stage::Receiving | Stage::AwaitingStart(_) => return Err(live.refuse(RefusalCode::NotStarted)),
        Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(Published { signing: Signing::Unsigned, .. }) => {}
        Stage::Published(Published { signing: Signing::Signed(signed), .. }) => {
            if at >= signed.signature.confirm_until || !signed.deemed.is_empty() {
                return Err(live.refuse(RefusalCode::ConfirmingOver));
            }
        }
        Stage::Ended(_) => return Err(live.refuse(RefusalCode::OpeningEnded)),
    }
    let organisation = bidder(live, asker)?;
    if lot.is_some_and(|lot| !live.spec.lots.contains_key(&lot)) {
        return Err(live.refuse(RefusalCode::Unknown));
    }
    let own = live.objections.iter().filter(|objection| objection.organisation == *organisation);
    if own.count() >= OBJECTIONS_PER_SUPPLIER_MAX {
        return Err(live.refuse(RefusalCode::SlowDown));
    }
    let no = u32::try_from(live.objections.len() + 1).expect("objections are capped per supplier");
    Ok(vec![ProjectEvent::ObjectionRaised { no, kind, lot, text: text.to_owned(), by: asker.clone() }])
}

/// Answers one.
pub(super) fn answer(live: &Live, no: u32, text: &str, asker: &Asker) -> Verdict {
    check_text(live, text, 1..=OBJECTION_CHARS_MAX)?;
    if matches!(live.stage, Stage::Ended(_)) {
        return Err(live.refuse(RefusalCode::OpeningEnded));
    }
    let open = |objection: &&std::sync::Arc<_>| {
        let objection: &kaibiao_protocol::view::ObjectionRow = objection;
        objection.no == no && objection.answer.is_none()
    };
    if live.objections.iter().find(open).is_none() {
        return Err(live.refuse(RefusalCode::NoSuchObjection));
    }
    Ok(vec![ProjectEvent::ObjectionAnswered { no, text: text.to_owned(), by: asker.clone() }])
}
