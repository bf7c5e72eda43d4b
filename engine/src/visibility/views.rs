//! A project and its room as a viewer sees them now.

use kaibiao_protocol::{
    ids::OrganisationId,
    project::ProjectKind,
    view::{Bidder, OwnBid, ProjectRow, ProjectView, RoomView, SignedOrder},
};

use super::{Audience, HouseFacts, Viewer, events::shown_spec};
use crate::project::{Bid, Project};

/// The project as the viewer sees it; `None` before it was created.
pub fn project_view(project: &Project, viewer: &Viewer, house: HouseFacts) -> Option<ProjectView> {
    Some(ProjectView {
        spec: shown_spec(viewer.audience, project.spec()?),
        purchaser_name: house.purchaser_name,
        organiser_name: house.organiser_name,
        status: project.status()?,
        opening_key: house.opening_key,
        receipt_key: house.receipt_key,
        own_bid: own_bid(project, viewer).map(|bid| shown_own_bid(project, bid)),
    })
}

/// The project as a line of the viewer's list; `None` before it was created.
pub fn project_row(project: &Project, viewer: &Viewer) -> Option<ProjectRow> {
    let spec = project.spec()?;
    Some(ProjectRow {
        project: spec.id.clone(),
        name: spec.name.clone(),
        exercise: spec.kind == ProjectKind::Exercise,
        deadline: spec.deadline,
        status: project.status()?,
        own_bid: own_bid(project, viewer).map(|bid| bid.facts.bid),
    })
}

/// The room as the viewer sees it. `seq`: the last event of the viewer's room stream it includes.
/// `None` before the project was created.
pub fn room_view(project: &Project, viewer: &Viewer, seq: u64) -> Option<RoomView> {
    let Viewer { audience, supplier: _ } = viewer;
    let live = project.life.live()?;
    let counted = live.counted().is_some();
    let signed = live.signed();
    let mut confirmed: Vec<OrganisationId> = Vec::new();
    confirmed.extend(signed.into_iter().flat_map(|signed| signed.confirmed.iter().cloned()));
    Some(RoomView {
        seq,
        status: project.status()?,
        deadline_moves: project.deadline_moves().to_vec(),
        outages: project.outages().to_vec(),
        clock_steps: match audience {
            Audience::Staff => project.clock_steps().to_vec(),
            Audience::Room => Vec::new(),
        },
        lots: project.lots().cloned().unwrap_or_default(),
        bidders: bidders(project),
        checked_in: if counted { checked_in(project) } else { Vec::new() },
        order: project.order().map(|order| SignedOrder {
            epoch: order.epoch,
            order: order.text.clone(),
            signature: order.signature.clone(),
        }),
        window_closes_at: project.window_closes_at(),
        objections: live.objections.iter().map(|objection| (**objection).clone()).collect(),
        read_out: live
            .outcome()
            .map(|outcome| outcome.read_out.iter().copied().collect())
            .unwrap_or_default(),
        confirmed,
        record: project.record().map(|record| (**record).clone()),
        record_digest: project.record_signature().map(|signature| signature.digest),
    })
}

/// Who bids, in the order of receipt; nobody before the count.
pub(super) fn bidders(project: &Project) -> Vec<Bidder> {
    let standing = project.standing_bids().into_iter();
    let bidder = |bid: &Bid| {
        Some(Bidder {
            bid: bid.facts.bid,
            organisation: bid.facts.supplier.clone(),
            supplier: bid.facts.supplier_name.clone(),
            lots: bid.facts.lots.iter().copied().collect(),
            // None before the count, for every bid.
            status: project.bid_status(&bid.facts.bid)?,
        })
    };
    standing.filter_map(bidder).collect()
}

/// Who is in the room. Not for anybody's eyes before the count.
pub(super) fn checked_in(project: &Project) -> Vec<OrganisationId> {
    project.life.live().map(|live| live.checked_in.iter().cloned().collect()).unwrap_or_default()
}

fn own_bid<'a>(project: &'a Project, viewer: &Viewer) -> Option<&'a Bid> {
    project.standing_bid_of(viewer.supplier.as_ref()?)
}

fn shown_own_bid(project: &Project, bid: &Bid) -> OwnBid {
    OwnBid {
        bid: bid.facts.bid,
        received_at: bid.received_at,
        lots: bid.facts.lots.iter().copied().collect(),
        size_bytes: bid.facts.size_bytes,
        header_digest: bid.facts.header_digest,
        statement_digest: bid.facts.statement_digest,
        status: project.bid_status(&bid.facts.bid),
        parts_asked: project.parts_asked(&bid.facts.bid),
    }
}
