//! What an event of the journal becomes for those who watch.

use kaibiao_protocol::{
    event::ProjectEvent,
    ids::{BidId, OrganisationId},
    moment::Moment,
    project::ProjectSpec,
    role::Asker,
    view::{OwnEvent, RoomEvent},
};

use super::{Audience, views};
use crate::{
    keeper::Machine as _,
    planted::{Planted, planted},
    project::{Project, ProjectMachine},
};

/// What one event becomes for those who watch, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Projected {
    /// For [`Audience::Staff`].
    pub staff: Vec<RoomEvent>,
    /// For [`Audience::Room`].
    pub room: Vec<RoomEvent>,
    /// For single suppliers.
    pub own: Vec<(OrganisationId, OwnEvent)>,
}

impl Projected {
    /// What the audience sees.
    pub fn of(&self, audience: Audience) -> &[RoomEvent] {
        match audience {
            Audience::Staff => &self.staff,
            Audience::Room => &self.room,
        }
    }
}

/// Projects a project's stream, event by event: what it yields is the same whether the events come
/// live, in batches or by replay. Feed it every event from the first; number what it yields per
/// audience and per supplier, from 1.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoomLog {
    project: Project,
}

impl RoomLog {
    /// A log before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event and says who gets to see what of it.
    pub fn push(&mut self, event: &ProjectEvent, at: Moment) -> Projected {
        ProjectMachine::apply(&mut self.project, event, at);
        Projected {
            staff: room_event(Audience::Staff, &self.project, event, at),
            room: room_event(Audience::Room, &self.project, event, at),
            own: own_events(&self.project, event, at),
        }
    }

    /// The project as it stands after the last event.
    pub fn project(&self) -> &Project {
        &self.project
    }
}

/// What one event becomes for an audience. `project_after` is the state right after this very event,
/// not after the batch that held it; [`RoomLog`] sees to that.
pub fn room_event(
    audience: Audience,
    project_after: &Project,
    event: &ProjectEvent,
    _at: Moment,
) -> Vec<RoomEvent> {
    match event {
        ProjectEvent::ProjectCreated { spec, .. } => {
            vec![RoomEvent::ProjectPublished { spec: Box::new(shown_spec(audience, spec)) }]
        }
        ProjectEvent::BidSubmitted { facts, .. } if planted(Planted::RoomToldOfBids) => {
            vec![RoomEvent::CheckedIn { organisation: facts.supplier.clone() }]
        }
        // Who hands in, and that anybody does, is for the supplier alone.
        ProjectEvent::BidSubmitted { .. }
        | ProjectEvent::UploadRefused { .. }
        | ProjectEvent::BidWithdrawn { .. } => Vec::new(),
        ProjectEvent::DeadlineMoved { from, deadline, ground, reason, .. } => {
            let (from, deadline, ground, reason) = (*from, *deadline, *ground, reason.clone());
            vec![RoomEvent::DeadlineMoved { from, deadline, ground, reason }]
        }
        ProjectEvent::OutageRecorded { from, until, held_until } => {
            vec![RoomEvent::OutageRecorded { from: *from, until: *until, held_until: *held_until }]
        }
        ProjectEvent::ClockStepped { step_ms, divergence_ms } => match audience {
            Audience::Staff => {
                vec![RoomEvent::ClockStepped { step_ms: *step_ms, divergence_ms: *divergence_ms }]
            }
            Audience::Room => Vec::new(),
        },
        ProjectEvent::ReceivingClosed { lots } => {
            let bidders = views::bidders(project_after);
            let closed = RoomEvent::ReceivingClosed { lots: lots.clone(), bidders };
            // Whoever signed in before the count is shown from now on.
            let early = views::checked_in(project_after).into_iter();
            let early = early.map(|organisation| RoomEvent::CheckedIn { organisation });
            std::iter::once(closed).chain(early).collect()
        }
        ProjectEvent::OpeningStarted { by, .. } => {
            let by = match by {
                Asker::Person { organisation, .. } => Some(organisation.clone()),
                Asker::Platform { .. } => None,
            };
            vec![RoomEvent::OpeningStarted { by }]
        }
        ProjectEvent::OrderIssued { epoch, order, signature, window_closes_at, .. } => {
            vec![RoomEvent::OrderIssued {
                epoch: *epoch,
                order: order.clone(),
                signature: signature.clone(),
                window_closes_at: *window_closes_at,
            }]
        }
        ProjectEvent::KeysAccepted { bid, .. }
        | ProjectEvent::BidUnsealed { bid }
        | ProjectEvent::BackupAdmitted { bid, .. }
        | ProjectEvent::BidRestored { bid, .. } => changed(project_after, bid).collect(),
        ProjectEvent::BidFailed { bid, evidence: seen, .. } => {
            let mut events: Vec<RoomEvent> = changed(project_after, bid).collect();
            for event in &mut events {
                if let (Audience::Staff, RoomEvent::BidChanged { evidence, .. }) = (audience, event) {
                    *evidence = Some(seen.clone());
                }
            }
            events
        }
        ProjectEvent::WindowExtended { window_closes_at, minutes, reason, .. } => {
            vec![RoomEvent::WindowExtended {
                window_closes_at: *window_closes_at,
                minutes: *minutes,
                reason: reason.clone(),
            }]
        }
        ProjectEvent::WindowClosed { end, reason, no_shows } => {
            let closed = RoomEvent::WindowClosed { end: *end, reason: reason.clone() };
            std::iter::once(closed)
                .chain(no_shows.iter().flat_map(|bid| changed(project_after, bid)))
                .collect()
        }
        ProjectEvent::GraceEnded { bids } => {
            bids.iter().flat_map(|bid| changed(project_after, bid)).collect()
        }
        ProjectEvent::RecordsPublished { record } => {
            vec![RoomEvent::RecordsPublished { record: record.clone() }]
        }
        ProjectEvent::RecordSigned { digest, signature } => {
            vec![RoomEvent::RecordSigned { digest: *digest, signature: signature.clone() }]
        }
        ProjectEvent::CheckedIn { by: Asker::Person { organisation, .. } }
            if project_after.lots().is_some() =>
        {
            vec![RoomEvent::CheckedIn { organisation: organisation.clone() }]
        }
        // Before the count a supplier in the room would be known for a bidder.
        ProjectEvent::CheckedIn { .. } => Vec::new(),
        ProjectEvent::RowReadOut { lot, no } => vec![RoomEvent::RowReadOut { lot: *lot, no: *no }],
        ProjectEvent::ObjectionRaised { no, kind, lot, text, by } => match by {
            Asker::Person { organisation, .. } => vec![RoomEvent::ObjectionRaised {
                no: *no,
                kind: *kind,
                lot: *lot,
                text: text.clone(),
                organisation: organisation.clone(),
            }],
            Asker::Platform { .. } => Vec::new(),
        },
        ProjectEvent::ObjectionAnswered { no, text, .. } => {
            vec![RoomEvent::ObjectionAnswered { no: *no, text: text.clone() }]
        }
        ProjectEvent::RecordConfirmed { supplier, .. } => {
            vec![RoomEvent::RecordConfirmed { supplier: supplier.clone() }]
        }
        ProjectEvent::ConfirmationsDeemed { suppliers } => {
            vec![RoomEvent::ConfirmationsDeemed { suppliers: suppliers.clone() }]
        }
        ProjectEvent::OpeningEnded { .. } => vec![RoomEvent::OpeningEnded],
    }
}

fn changed(project: &Project, bid: &BidId) -> impl Iterator<Item = RoomEvent> + use<> {
    let bid = *bid;
    let status = project.bid_status(&bid);
    status.map(|status| RoomEvent::BidChanged { bid, status, evidence: None }).into_iter()
}

/// The project as an audience may see it: who is invited is for those who invite.
pub(super) fn shown_spec(audience: Audience, spec: &ProjectSpec) -> ProjectSpec {
    let mut spec = spec.clone();
    match audience {
        Audience::Staff => {}
        Audience::Room => spec.invited = None,
    }
    spec
}

/// What one event becomes for single suppliers.
pub fn own_events(
    project_after: &Project,
    event: &ProjectEvent,
    _at: Moment,
) -> Vec<(OrganisationId, OwnEvent)> {
    let to_owner = |bid: &BidId, event: OwnEvent| -> Vec<(OrganisationId, OwnEvent)> {
        let owner = project_after.bid(bid).map(|bid| bid.facts.supplier.clone());
        owner.map(|owner| (owner, event)).into_iter().collect()
    };
    match event {
        ProjectEvent::BidSubmitted { facts, received_at, replaces } => {
            let event = OwnEvent::BidReceived {
                bid: facts.bid,
                upload: facts.upload,
                received_at: *received_at,
                replaces: *replaces,
            };
            vec![(facts.supplier.clone(), event)]
        }
        ProjectEvent::UploadRefused { upload, supplier, received_at, code, .. } => {
            let event = OwnEvent::UploadRefused { upload: *upload, received_at: *received_at, code: *code };
            vec![(supplier.clone(), event)]
        }
        ProjectEvent::BidWithdrawn { bid, .. } => to_owner(bid, OwnEvent::BidWithdrawn { bid: *bid }),
        ProjectEvent::OrderIssued { .. } => {
            let bids = project_after.bids_being_opened().into_iter();
            bids.flat_map(|bid| keys_asked(project_after, &bid.facts.bid)).collect()
        }
        ProjectEvent::BidRestored { bid, .. } => keys_asked(project_after, bid),
        ProjectEvent::KeysAccepted { bid, .. } => to_owner(bid, OwnEvent::KeysKept { bid: *bid }),
        ProjectEvent::BidFailed { bid, cause, grace_until, .. } => {
            let (bid, cause, grace_until) = (*bid, *cause, *grace_until);
            to_owner(&bid, OwnEvent::UnsealingFailed { bid, cause, grace_until })
        }
        ProjectEvent::BackupAdmitted { bid, until, .. } => {
            to_owner(bid, OwnEvent::BackupAdmitted { bid: *bid, until: *until })
        }
        ProjectEvent::ProjectCreated { .. }
        | ProjectEvent::DeadlineMoved { .. }
        | ProjectEvent::OutageRecorded { .. }
        | ProjectEvent::ClockStepped { .. }
        | ProjectEvent::ReceivingClosed { .. }
        | ProjectEvent::OpeningStarted { .. }
        | ProjectEvent::BidUnsealed { .. }
        | ProjectEvent::WindowExtended { .. }
        | ProjectEvent::WindowClosed { .. }
        | ProjectEvent::GraceEnded { .. }
        | ProjectEvent::RecordsPublished { .. }
        | ProjectEvent::RecordSigned { .. }
        | ProjectEvent::CheckedIn { .. }
        | ProjectEvent::RowReadOut { .. }
        | ProjectEvent::ObjectionRaised { .. }
        | ProjectEvent::ObjectionAnswered { .. }
        | ProjectEvent::RecordConfirmed { .. }
        | ProjectEvent::ConfirmationsDeemed { .. }
        | ProjectEvent::OpeningEnded { .. } => Vec::new(),
    }
}

/// Asks a bid's supplier for the keys of the parts being opened, and no others; nobody whose keys are
/// here already.
fn keys_asked(project: &Project, bid: &BidId) -> Vec<(OrganisationId, OwnEvent)> {
    let parts = project.parts_asked(bid);
    match project.bid(bid) {
        Some(owner) if !parts.is_empty() => {
            vec![(owner.facts.supplier.clone(), OwnEvent::KeysAsked { bid: *bid, parts })]
        }
        Some(_) | None => Vec::new(),
    }
}
