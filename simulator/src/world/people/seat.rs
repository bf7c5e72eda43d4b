//! What a person knows of one project, from its frames.

use std::collections::BTreeMap;

use kaibiao_protocol::{
    bid::{FailureCause, PartName},
    digest::Digest,
    frame::{Notice, StreamName},
    ids::{BidId, UploadId},
    project::StartMode,
    view::{OwnEvent, RoomEvent, ViewEvent},
};

use crate::world::plan::{Manner, Running};

/// A person's knowledge of one project, and how it means to behave there.
pub(super) struct Seat {
    /// Whether it follows the project's streams.
    pub(super) follows: bool,
    pub(super) room_seq: u64,
    pub(super) own_seq: u64,
    pub(super) start: StartMode,
    pub(super) stage: Stage,
    /// The last order: its epoch and text.
    pub(super) order: Option<(u32, String)>,
    pub(super) record: Option<Digest>,

    // A supplier's.
    pub(super) manner: Manner,
    pub(super) after_ms: u64,
    /// Of the manner: how far it is.
    pub(super) step: u32,
    pub(super) bid: Option<BidId>,
    /// Which upload brought which bid.
    pub(super) uploads: BTreeMap<BidId, UploadId>,
    pub(super) asked: Option<Vec<PartName>>,
    /// Whether it waits for its own time to unseal.
    pub(super) means_to: bool,
    pub(super) kept: bool,
    /// Which keys it sent last.
    pub(super) sent: Keys,
    /// Bids of others, once the room names them (all bids, for the agent).
    pub(super) others: Vec<BidId>,
    pub(super) failed: Option<FailureCause>,
    /// Whether the agent admitted its backup.
    pub(super) leave: bool,

    // An agent's.
    pub(super) running: Running,
}

/// Which keys a supplier sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keys {
    /// Before they were asked for.
    Early,
    /// Those of its bid.
    Right,
    /// Those of its bid, after they were taken.
    Again,
    /// Others.
    Wrong,
    /// Under another epoch.
    OtherEpoch,
    /// As if from a backup that was not admitted.
    BackupUnasked,
    /// To another's bid.
    OthersBid,
}

/// How far the opening is, as far as it was heard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    Receiving,
    Counted,
    Started,
    Unsealing,
    Closed,
    Published,
    Signed,
    Ended,
}

impl Seat {
    pub(super) fn new(start: StartMode) -> Self {
        Self {
            follows: false,
            room_seq: 0,
            own_seq: 0,
            start,
            stage: Stage::Receiving,
            order: None,
            record: None,
            manner: Manner::Honest,
            after_ms: 1_000,
            step: 0,
            bid: None,
            uploads: BTreeMap::new(),
            asked: None,
            means_to: false,
            kept: false,
            sent: Keys::Right,
            others: Vec::new(),
            failed: None,
            leave: false,
            running: Running::Dutiful,
        }
    }

    /// Takes a notice in; false: it was known already.
    pub(super) fn take(&mut self, notice: &Notice) -> bool {
        let had = match &notice.stream {
            StreamName::Room(_) => &mut self.room_seq,
            StreamName::Own(_) => &mut self.own_seq,
        };
        if notice.seq <= *had {
            return false;
        }
        *had = notice.seq;
        match &notice.event {
            ViewEvent::Room(event) => self.room(event),
            ViewEvent::Own(event) => self.own(event),
        }
        true
    }

    fn room(&mut self, event: &RoomEvent) {
        let stage = match event {
            RoomEvent::ReceivingClosed { bidders, .. } => {
                self.others = bidders.iter().map(|one| one.bid).collect();
                Stage::Counted
            }
            RoomEvent::OpeningStarted { .. } => Stage::Started,
            RoomEvent::OrderIssued { epoch, order, .. } => {
                self.order = Some((*epoch, order.clone()));
                Stage::Unsealing
            }
            RoomEvent::WindowClosed { .. } => Stage::Closed,
            RoomEvent::RecordsPublished { .. } => Stage::Published,
            RoomEvent::RecordSigned { digest, .. } => {
                self.record = Some(*digest);
                Stage::Signed
            }
            RoomEvent::OpeningEnded => Stage::Ended,
            _ => return,
        };
        self.stage = self.stage.max(stage);
    }

    fn own(&mut self, event: &OwnEvent) {
        match event {
            OwnEvent::BidReceived { bid, upload, .. } => {
                self.bid = Some(*bid);
                self.uploads.insert(*bid, *upload);
            }
            OwnEvent::BidWithdrawn { bid } => {
                if self.bid == Some(*bid) {
                    self.bid = None;
                }
            }
            OwnEvent::KeysAsked { bid, parts } => {
                self.bid = Some(*bid);
                self.asked = Some(parts.clone());
                self.kept = false;
            }
            OwnEvent::KeysKept { .. } => self.kept = true,
            OwnEvent::UnsealingFailed { cause, .. } => {
                self.failed = Some(*cause);
                self.kept = false;
            }
            OwnEvent::BackupAdmitted { .. } => self.leave = true,
            OwnEvent::UploadRefused { .. } => {}
        }
    }
}
