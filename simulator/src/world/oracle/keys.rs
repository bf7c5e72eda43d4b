//! Keys: the right ones are taken under the order in force, no others ever.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_engine::invariants::Holds;
use kaibiao_protocol::{
    bid::PartName,
    frame::{Ask, Notice, Response},
    ids::BidId,
    refusal::RefusalCode,
    view::{OwnEvent, RoomEvent, ViewEvent},
};

use super::{View, answers::Asked, ensure, finals::Finals, streams::Streams};
use crate::world::{people::number_of, plan::Who, schedule::Instant, stock::envelope};

/// What is known of keys and orders.
#[derive(Default)]
pub(crate) struct KeysSent {
    orders: BTreeMap<(usize, u32), String>,
    parts: BTreeMap<BidId, Vec<PartName>>,
    /// Bids whose supplier was told that its keys are kept, and that has not failed since.
    kept: BTreeSet<BidId>,
    admitted: BTreeSet<BidId>,
    /// Right keys that were refused as if they were none: under which epoch, and how.
    refused: Vec<(usize, BidId, u32, RefusalCode)>,
}

/// Keys as they were sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meant {
    bid: BidId,
    epoch: u32,
    /// Whether they are those of the bid, in an envelope for that order, and from the backup only with leave; none:
    /// the oracle cannot tell.
    right: Option<bool>,
}

impl KeysSent {
    /// Whether keys were told to be kept.
    pub(crate) fn are_kept(&self, bid: &BidId) -> bool {
        self.kept.contains(bid)
    }

    /// The last order's epoch that anybody heard of.
    fn epoch(&self, project: usize) -> Option<u32> {
        let of_project = self.orders.range((project, 0)..=(project, u32::MAX));
        of_project.last().map(|((_, epoch), _)| *epoch)
    }

    pub(crate) fn frame(&mut self, view: View, project: usize, notice: &Notice) {
        match (view, &notice.event) {
            (View::Staff | View::Room, ViewEvent::Room(RoomEvent::OrderIssued { epoch, order, .. })) => {
                self.orders.entry((project, *epoch)).or_insert_with(|| order.clone());
            }
            (View::Own(_), ViewEvent::Own(event)) => match event {
                OwnEvent::KeysAsked { bid, parts } => {
                    self.parts.insert(*bid, parts.clone());
                    self.kept.remove(bid);
                }
                OwnEvent::KeysKept { bid } => {
                    self.kept.insert(*bid);
                }
                OwnEvent::UnsealingFailed { bid, .. } => {
                    self.kept.remove(bid);
                }
                OwnEvent::BackupAdmitted { bid, .. } => {
                    self.admitted.insert(*bid);
                }
                OwnEvent::BidReceived { .. }
                | OwnEvent::UploadRefused { .. }
                | OwnEvent::BidWithdrawn { .. } => {}
            },
            _ => {}
        }
    }

    /// Somebody sends keys: what they are.
    pub(crate) fn said(&self, who: Who, ask: &Ask, _: &Streams, finals: &Finals) -> Option<Meant> {
        let Ask::ReleaseKeys { project, bid, epoch, enc, ciphertext, by_backup } = ask else { return None };
        let project = number_of(project);
        let right = || {
            let own = finals.of_bid(bid)?;
            if who != Who::Supplier(own.handed.supplier) {
                return Some(false);
            }
            let Some(order) = self.orders.get(&(project, *epoch)) else { return Some(false) };
            let (right_enc, right_keys) = envelope(order, own.handed.stock_bid()?, self.parts.get(bid)?)?;
            Some(
                right_enc == *enc && right_keys == *ciphertext && (!by_backup || self.admitted.contains(bid)),
            )
        };
        Some(Meant { bid: *bid, epoch: *epoch, right: right() })
    }

    pub(crate) fn answered(&mut self, who: Who, asked: &Asked, response: &Response, _now: Instant) -> Holds {
        let (Some(meant), Ask::ReleaseKeys { project, .. }) = (asked.keys, &asked.ask) else { return Ok(()) };
        match response {
            Response::Ok { .. } => {
                ensure("keys", meant.right != Some(false), || {
                    format!("keys of {who:?} that do not fit its bid were taken")
                })?;
                self.kept.insert(meant.bid);
                Ok(())
            }
            Response::Refused { refused, .. } => {
                let as_none = matches!(
                    refused.code,
                    RefusalCode::EnvelopeInvalid | RefusalCode::WrongKey | RefusalCode::OrderSuperseded
                );
                if as_none && meant.right == Some(true) {
                    self.refused.push((number_of(project), meant.bid, meant.epoch, refused.code));
                }
                Ok(())
            }
        }
    }

    /// Right keys were never refused under the last order.
    pub(crate) fn settle(&self, project: usize) -> Holds {
        let last = self.epoch(project);
        for (of, _, epoch, code) in &self.refused {
            ensure("keys", *of != project || Some(*epoch) != last, || {
                format!(
                    "right keys under the order in force (epoch {epoch}) were refused as {}",
                    code.as_str()
                )
            })?;
        }
        Ok(())
    }
}
