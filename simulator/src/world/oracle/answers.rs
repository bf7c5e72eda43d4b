//! Answers: nobody is told what it may not know, nor done what it may not do.

use std::collections::BTreeMap;

use kaibiao_engine::invariants::Holds;
use kaibiao_protocol::{
    frame::{Answer, Ask, Response},
    ids::{BidId, ProjectId},
    moment::Moment,
    view::{RoomEvent, RoomView, ViewEvent},
};

use kaibiao_sealed::record::RecordFacts;

use super::{
    ProjectFacts, View, ensure, holds_price, keys::Meant, place_of, stamps::Stamps, streams::Streams,
};
use crate::world::{plan::Who, wire::ConnId};

/// What was asked and told.
#[derive(Default)]
pub(crate) struct Answers {
    pending: BTreeMap<(ConnId, u64), Asked>,
    told: Vec<Told>,
}

/// An ask under way.
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    /// The latest stamp known when it was asked.
    floor: Option<Moment>,
    pub(crate) keys: Option<Meant>,
}

/// A command that somebody was told is done.
pub(crate) struct Told {
    pub(crate) who: Who,
    pub(crate) ask: Ask,
    pub(crate) at: Moment,
}

impl Answers {
    pub(crate) fn asked(
        &mut self,
        conn: ConnId,
        id: u64,
        _who: Who,
        ask: &Ask,
        floor: Option<Moment>,
        keys: Option<Meant>,
    ) {
        self.pending.insert((conn, id), Asked { ask: ask.clone(), floor, keys });
    }

    pub(crate) fn answered(&mut self, conn: ConnId, response: &Response) -> Option<Asked> {
        let (Response::Ok { id, .. } | Response::Refused { id, .. }) = response;
        self.pending.remove(&(conn, *id))
    }

    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.pending.retain(|(of, _), _| *of != conn);
    }

    pub(crate) fn told(&mut self, who: Who, asked: &Asked, answer: &Answer) {
        if let Answer::Done { at } = answer {
            self.told.push(Told { who, ask: asked.ask.clone(), at: *at });
        }
    }

    /// Everything that somebody was told is done.
    pub(crate) fn done(&self) -> &[Told] {
        &self.told
    }
}

/// Holds an answer against what the asker may know and do.
pub(crate) fn judge(
    asked: &Asked,
    who: Who,
    response: &Response,
    projects: &[ProjectFacts],
    (streams, stamps): (&Streams, &mut Stamps),
) -> Holds {
    let Response::Ok { ok, .. } = response else { return Ok(()) };
    let facts_of =
        |project: &ProjectId| place_of(project, projects).map(|number| (number, &projects[number]));
    check_right(asked, who)?;
    match ok {
        Answer::Done { at } => stamps.given(*at, asked.floor),
        Answer::Room { view } => {
            let Ask::Room { project } = &asked.ask else { return mismatched() };
            let Some((number, facts)) = facts_of(project) else { return mismatched() };
            check_room(view, number, who, streams)?;
            check_price(response, facts)
        }
        Answer::Project { view } => {
            let Ask::Project { project } = &asked.ask else { return mismatched() };
            let Some((number, facts)) = facts_of(project) else { return mismatched() };
            check_own(view.own_bid.as_ref().map(|own| own.bid), number, who, streams)?;
            check_price(response, facts)
        }
        Answer::Projects { rows, .. } => {
            for row in rows {
                let Some((number, facts)) = facts_of(&row.project) else { continue };
                check_own(row.own_bid, number, who, streams)?;
                check_price(response, facts)?;
            }
            Ok(())
        }
        Answer::Record { text, .. } => {
            let Ask::Record { project } = &asked.ask else { return mismatched() };
            let Some((_, facts)) = facts_of(project) else { return mismatched() };
            let record = serde_json::from_str::<serde_json::Value>(text).ok();
            let record =
                record.and_then(|mut text| serde_json::from_value::<RecordFacts>(text["record"].take()).ok());
            ensure("rights", record.is_some_and(|record| record.published_at >= facts.spec.deadline), || {
                format!("{who:?} got a record that was not published")
            })
        }
        Answer::Contacts { .. } | Answer::Receipt { .. } => Ok(()),
        Answer::Time { .. } | Answer::Subscribed { .. } => Ok(()),
    }
}

fn mismatched() -> Holds {
    ensure("answer", false, || "an answer does not fit what was asked".to_owned())
}

fn check_right(asked: &Asked, who: Who) -> Holds {
    let agent = who == Who::Agent;
    let supplier = matches!(who, Who::Supplier(_));
    let may = match &asked.ask {
        Ask::StartOpening { .. }
        | Ask::MoveDeadline { .. }
        | Ask::ExtendWindow { .. }
        | Ask::CloseWindow { .. }
        | Ask::AdmitBackup { .. }
        | Ask::ReadOutRow { .. }
        | Ask::AnswerObjection { .. }
        | Ask::EndOpening { .. } => agent,
        Ask::Contacts { .. } => agent,
        // Whoever asks may hear of the publication by the answer first: what it holds is judged with it.
        Ask::Record { .. } => true,
        Ask::WithdrawBid { .. }
        | Ask::Object { .. }
        | Ask::ReleaseKeys { .. }
        | Ask::ReportTrouble { .. }
        | Ask::Receipt { .. }
        | Ask::ConfirmRecord { .. } => supplier,
        Ask::Time {}
        | Ask::Projects { .. }
        | Ask::Project { .. }
        | Ask::Room { .. }
        | Ask::Subscribe { .. }
        | Ask::Unsubscribe { .. }
        | Ask::CheckIn { .. }
        | Ask::SignOut {} => true,
    };
    ensure("rights", may, || format!("{who:?} got what it may not: {:?}", asked.ask))
}

/// Until the count nothing counts or names bids; before the barrier there is no record.
fn check_room(view: &RoomView, number: usize, who: Who, streams: &Streams) -> Holds {
    let of = if matches!(who, Who::Supplier(_)) { View::Room } else { View::Staff };
    let told = streams.of(number, of);
    let Some(before) = usize::try_from(view.seq).ok().and_then(|seq| told.get(..seq)) else { return Ok(()) };
    let has = |like: fn(&RoomEvent) -> bool| {
        before.iter().any(|notice| matches!(&notice.event, ViewEvent::Room(event) if like(event)))
    };
    let counted = has(|event| matches!(event, RoomEvent::ReceivingClosed { .. }));
    let nothing = view.lots.is_empty() && view.bidders.is_empty() && view.checked_in.is_empty();
    ensure("KB-3", counted || nothing, || format!("{who:?} sees bids in the room before the count"))?;
    let published = has(|event| matches!(event, RoomEvent::RecordsPublished { .. }));
    ensure("KB-6", published || view.record.is_none(), || {
        format!("{who:?} sees a record in the room before the barrier")
    })
}

/// A supplier is shown its own bid and nobody else's.
fn check_own(bid: Option<BidId>, number: usize, who: Who, streams: &Streams) -> Holds {
    let Some(bid) = bid else { return Ok(()) };
    let mut others = streams.all(number).filter(|(view, _)| match (view, who) {
        (View::Own(of), Who::Supplier(supplier)) => *of != supplier,
        (View::Own(_), _) => true,
        (View::Staff | View::Room, _) => false,
    });
    let others_bid = others.any(|(_, notices)| {
        notices.iter().any(|notice| {
            matches!(&notice.event, ViewEvent::Own(kaibiao_protocol::view::OwnEvent::BidReceived { bid: of, .. })
                if *of == bid)
        })
    });
    ensure("own stream", !others_bid, || format!("{who:?} is shown another's bid as its own"))
}

fn check_price(response: &Response, facts: &ProjectFacts) -> Holds {
    if facts.published {
        return Ok(());
    }
    let text = serde_json::to_string(response).unwrap_or_default();
    ensure("KB-6", !holds_price(&text), || "an answer before the barrier holds a price".to_owned())
}
