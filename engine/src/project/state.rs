//! A project's state: one variant a phase, each with exactly what that phase has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kaibiao_protocol::{
    bid::FailureCause,
    deadline::{ClockStep, DeadlineMove, Outage},
    digest::Digest,
    event::LotCount,
    ids::{BidId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::{BackupPolicy, ProjectSpec},
    record::OpeningRecord,
    refusal::{Refusal, RefusalCode},
    view::{BidStatus, ObjectionRow, ProjectStatus},
};

use super::{Bid, Order, RecordSignature, UploadFate};
use crate::{
    planted::{Planted, planted},
    refusals::refuse,
    rules::RulePack,
};

/// Whether the project exists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Life {
    #[default]
    Absent,
    Live(Box<Live>),
}

/// A project that was created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Live {
    pub(crate) spec: Arc<ProjectSpec>,
    pub(crate) pack: RulePack,
    /// Large and, once receiving is over, nearly still: shared between snapshots.
    pub(crate) inbox: Arc<Inbox>,
    /// When it was created.
    pub(crate) created_at: Moment,
    /// Moves of the deadline and faults of the platform.
    pub(crate) faults: Arc<Faults>,
    /// Organisations that signed in to the room.
    pub(crate) checked_in: BTreeSet<OrganisationId>,
    /// In the order of their numbers, from 1.
    pub(crate) objections: Vec<Arc<ObjectionRow>>,
    pub(crate) stage: Stage,
}

/// What moved the deadline or touched it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) moves: Vec<DeadlineMove>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) clock_steps: Vec<ClockStep>,
    /// The bids are not counted before, unless the deadline is moved.
    pub(crate) held_until: Option<Moment>,
}

/// Where the project stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Stage {
    /// Bids are taken in.
    #[default]
    Receiving,
    /// The bids are counted.
    AwaitingStart(Arc<Counted>),
    /// The opening has started.
    AwaitingOrder(Arc<Counted>),
    /// The window is open.
    AwaitingKeys(AwaitingKeys),
    /// The window is closed; graces and work in hand are waited for.
    Settling(Settling),
    /// The records are published.
    Published(Published),
    /// The opening has ended.
    Ended(Ended),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AwaitingKeys {
    pub(crate) counted: Arc<Counted>,
    pub(crate) desks: Desks,
    pub(crate) order: Arc<Order>,
    pub(crate) closes_at: Moment,
    /// Minutes announced so far: the project's own and every extension.
    pub(crate) minutes: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Settling {
    pub(crate) counted: Arc<Counted>,
    pub(crate) desks: Desks,
    pub(crate) closing: Closing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Published {
    pub(crate) outcome: Outcome,
    pub(crate) signing: Signing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) signed: Signed,
}

/// What was published.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub(crate) counted: Arc<Counted>,
    pub(crate) desks: Desks,
    pub(crate) closing: Closing,
    pub(crate) record: Arc<OpeningRecord>,
    pub(crate) read_out: BTreeSet<(LotNo, u32)>,
}

/// How the window came to be closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Closing {
    /// There never was one: no lot is opened, so no key was asked for.
    NothingToOpen,
    /// It closed at this instant; the order may still serve those in their grace.
    Closed { order: Arc<Order>, at: Moment },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Signing {
    Unsigned,
    Signed(Signed),
}

/// The record is signed; suppliers confirm it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signed {
    pub(crate) signature: RecordSignature,
    pub(crate) confirmed: BTreeSet<OrganisationId>,
    /// Those who had not confirmed when the time was over; empty until then.
    pub(crate) deemed: BTreeSet<OrganisationId>,
}

/// What was counted at the deadline.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Counted {
    pub(crate) lots: BTreeMap<LotNo, LotCount>,
    /// The bids standing at the deadline, in the order of receipt.
    pub(crate) bids: Vec<BidId>,
    /// Their suppliers.
    pub(crate) bidders: BTreeSet<OrganisationId>,
}

/// Everything handed in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Inbox {
    /// Every bid ever received.
    pub(crate) bids: BTreeMap<BidId, Bid>,
    pub(crate) suppliers: BTreeMap<OrganisationId, Supplier>,
    pub(crate) uploads: BTreeMap<UploadId, UploadFate>,
    /// Whose each part's ciphertext is.
    pub(crate) ciphertexts: BTreeMap<Digest, OrganisationId>,
}

/// One supplier's dealings with the inbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Supplier {
    /// The latest stamp of any bid of theirs: an earlier one decided later does not stand.
    pub(crate) latest: Moment,
    pub(crate) standing: Option<BidId>,
    /// Finals judged, taken or refused.
    pub(crate) uploads: u32,
}

pub(crate) type Desks = BTreeMap<BidId, Desk>;

/// Where one bid being opened stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Desk {
    pub(crate) place: Place,
    /// Its time is over. Keys stamped before that still count until the barrier.
    pub(crate) lapsed: bool,
    /// Failures recorded.
    pub(crate) failures: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    AwaitingKeys,
    Unsealing {
        by_backup: bool,
    },
    Unsealed {
        by_backup: bool,
    },
    /// Failed, and may be mended.
    Failed(Failed),
    /// Failed, and its backup was admitted.
    AwaitingBackup {
        failed: Failed,
        until: Moment,
    },
    /// Failed for good.
    Final {
        cause: FailureCause,
    },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failed {
    pub(crate) cause: FailureCause,
    pub(crate) grace_until: Moment,
    pub(crate) needs: Needs,
    /// Keys that fit and are kept; the value says whether they came from the backup.
    pub(crate) kept_by_backup: Option<bool>,
}

/// What mends a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Needs {
    /// Keys that fit.
    Keys,
    /// First the sealed bytes, restored byte for byte from the backup.
    Restoring,
}

/// What would mend a failure of this cause; `None`: nothing, so the failure is final at once.
pub(crate) fn mended_by(cause: FailureCause, policy: BackupPolicy) -> Option<Needs> {
    match cause {
        FailureCause::WrongToken
        | FailureCause::TokenTrouble
        | FailureCause::WrongKey
        | FailureCause::PlatformFault => Some(Needs::Keys),
        // The bytes come back from the backup only.
        FailureCause::DamagedStore => match policy {
            BackupPolicy::Never => None,
            BackupPolicy::PlatformFaultOnly | BackupPolicy::AnyFault => Some(Needs::Restoring),
        },
        // The receipt fixes what cannot be opened; a backup must seal to the same.
        FailureCause::DamagedUpload | FailureCause::MalformedPackage => None,
        FailureCause::NoShow => None,
    }
}

impl Life {
    pub(crate) fn live(&self) -> Option<&Live> {
        match self {
            Life::Absent => None,
            Life::Live(live) => Some(live),
        }
    }
}

impl Live {
    pub(crate) fn refuse(&self, code: RefusalCode) -> Refusal {
        refuse(code, self.pack)
    }

    /// From when on the bids may be counted.
    pub(crate) fn counted_from(&self) -> Moment {
        self.faults.held_until.map_or(self.spec.deadline, |held| held.max(self.spec.deadline))
    }

    pub(crate) fn counted(&self) -> Option<&Counted> {
        match &self.stage {
            Stage::Receiving => None,
            Stage::AwaitingStart(counted) | Stage::AwaitingOrder(counted) => Some(counted),
            Stage::AwaitingKeys(stage) => Some(&stage.counted),
            Stage::Settling(stage) => Some(&stage.counted),
            Stage::Published(stage) => Some(&stage.outcome.counted),
            Stage::Ended(stage) => Some(&stage.outcome.counted),
        }
    }

    /// The desks, from the first order on.
    pub(crate) fn desks(&self) -> Option<&Desks> {
        match &self.stage {
            Stage::Receiving | Stage::AwaitingStart(_) | Stage::AwaitingOrder(_) => None,
            Stage::AwaitingKeys(stage) => Some(&stage.desks),
            Stage::Settling(stage) => Some(&stage.desks),
            Stage::Published(stage) => Some(&stage.outcome.desks),
            Stage::Ended(stage) => Some(&stage.outcome.desks),
        }
    }

    pub(crate) fn closing(&self) -> Option<&Closing> {
        match &self.stage {
            Stage::Receiving | Stage::AwaitingStart(_) | Stage::AwaitingOrder(_) | Stage::AwaitingKeys(_) => {
                None
            }
            Stage::Settling(stage) => Some(&stage.closing),
            Stage::Published(stage) => Some(&stage.outcome.closing),
            Stage::Ended(stage) => Some(&stage.outcome.closing),
        }
    }

    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match &self.stage {
            Stage::Receiving
            | Stage::AwaitingStart(_)
            | Stage::AwaitingOrder(_)
            | Stage::AwaitingKeys(_)
            | Stage::Settling(_) => None,
            Stage::Published(stage) => Some(&stage.outcome),
            Stage::Ended(stage) => Some(&stage.outcome),
        }
    }

    pub(crate) fn signed(&self) -> Option<&Signed> {
        match &self.stage {
            Stage::Receiving
            | Stage::AwaitingStart(_)
            | Stage::AwaitingOrder(_)
            | Stage::AwaitingKeys(_)
            | Stage::Settling(_)
            | Stage::Published(Published { signing: Signing::Unsigned, .. }) => None,
            Stage::Published(Published { signing: Signing::Signed(signed), .. }) => Some(signed),
            Stage::Ended(stage) => Some(&stage.signed),
        }
    }

    pub(crate) fn status(&self) -> ProjectStatus {
        match &self.stage {
            Stage::Receiving => ProjectStatus::Receiving,
            Stage::AwaitingStart(_) => ProjectStatus::AwaitingStart,
            Stage::AwaitingOrder(_) => ProjectStatus::AwaitingOrder,
            Stage::AwaitingKeys(_) => ProjectStatus::AwaitingKeys,
            Stage::Settling(_) => ProjectStatus::Settling,
            Stage::Published(_) => ProjectStatus::Published,
            Stage::Ended(_) => ProjectStatus::Ended,
        }
    }

    /// Whether this supplier may hand in a bid at all.
    pub(crate) fn may_bid(&self, supplier: &OrganisationId) -> bool {
        self.spec.invited.as_ref().is_none_or(|invited| invited.contains(supplier))
    }

    /// Whether the lot is opened; false before the count.
    pub(crate) fn lot_opens(&self, lot: LotNo) -> bool {
        self.counted().and_then(|counted| counted.lots.get(&lot)).is_some_and(|count| count.opens)
    }

    /// The bid's lots that are opened, in order.
    pub(crate) fn opened_lots<'a>(&'a self, bid: &'a Bid) -> impl Iterator<Item = LotNo> + 'a {
        bid.facts.lots.iter().copied().filter(|lot| self.lot_opens(*lot))
    }

    /// The bids with at least one opened lot, in the order of receipt.
    pub(crate) fn bids_being_opened(&self) -> impl Iterator<Item = &Bid> {
        let bids = self.counted().map_or(&[][..], |counted| &counted.bids);
        bids.iter()
            .filter_map(|bid| self.inbox.bids.get(bid))
            .filter(|bid| self.opened_lots(bid).next().is_some())
    }
}

impl Inbox {
    pub(crate) fn standing_of(&self, supplier: &OrganisationId) -> Option<&Bid> {
        let standing = self.suppliers.get(supplier)?.standing?;
        self.bids.get(&standing)
    }

    /// The bids that stand, in the order of receipt; ties by bid, so that the order is one.
    pub(crate) fn standing(&self) -> Vec<&Bid> {
        let standing = self.suppliers.values().filter_map(|supplier| supplier.standing);
        let mut bids: Vec<&Bid> = standing.filter_map(|bid| self.bids.get(&bid)).collect();
        bids.sort_by_key(|bid| (bid.received_at, bid.facts.bid));
        bids
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Desk { place: Place::AwaitingKeys, lapsed: false, failures: 0 }
    }

    /// Nothing more can come, and nothing is in hand.
    pub(crate) fn is_done(&self) -> bool {
        self.lapsed
            || match self.place {
                Place::Unsealed { .. } | Place::Final { .. } => true,
                Place::AwaitingKeys
                | Place::Unsealing { .. }
                | Place::Failed(_)
                | Place::AwaitingBackup { .. } => false,
            }
    }

    /// Until when keys may come, given the window's end; `None` where none are awaited.
    pub(crate) fn keys_until(&self, window_closes_at: Moment) -> Option<Moment> {
        match &self.place {
            Place::AwaitingKeys => Some(window_closes_at),
            Place::Failed(failed) => Some(window_closes_at.max(failed.grace_until)),
            Place::AwaitingBackup { until, .. } => Some(window_closes_at.max(*until)),
            Place::Unsealing { .. } | Place::Unsealed { .. } | Place::Final { .. } => None,
        }
    }

    /// Whether keys are asked for now.
    pub(crate) fn asks_keys(&self) -> bool {
        !self.lapsed
            && match &self.place {
                Place::AwaitingKeys => true,
                Place::Failed(failed) | Place::AwaitingBackup { failed, .. } => failed.asks_keys(),
                Place::Unsealing { .. } | Place::Unsealed { .. } | Place::Final { .. } => false,
            }
    }

    /// The failure that stands, mendable or not; a bid whose keys never came is a no-show.
    pub(crate) fn cause(&self) -> FailureCause {
        match &self.place {
            Place::Failed(failed) | Place::AwaitingBackup { failed, .. } => failed.cause,
            Place::Final { cause } => *cause,
            Place::AwaitingKeys | Place::Unsealing { .. } | Place::Unsealed { .. } => FailureCause::NoShow,
        }
    }

    pub(crate) fn status(&self) -> BidStatus {
        if self.lapsed {
            return BidStatus::Settled { cause: self.cause() };
        }
        match &self.place {
            Place::AwaitingKeys => BidStatus::AwaitingKeys,
            Place::Unsealing { .. } => BidStatus::Unsealing,
            Place::Unsealed { .. } => BidStatus::Unsealed,
            Place::Failed(Failed { cause, grace_until, .. }) => {
                BidStatus::Failed { cause: *cause, grace_until: *grace_until }
            }
            Place::AwaitingBackup { until, .. } => BidStatus::AwaitingBackup { until: *until },
            Place::Final { cause } => BidStatus::Settled { cause: *cause },
        }
    }
}

impl Failed {
    fn asks_keys(&self) -> bool {
        self.needs == Needs::Keys || self.kept_by_backup.is_none()
    }
}

/// Whether every bid being opened has its end, so that all may be published at once (E20-30).
pub(crate) fn barrier_is_free(desks: &Desks) -> bool {
    let awaited = desks.values().filter(|desk| !desk.is_done()).count();
    awaited == 0 || planted(Planted::PublishEarly) && awaited == 1
}

/// The instant `end` with the outage from `down_since` to `at` given back; unchanged if it had come
/// before the outage began.
pub(crate) fn give_back(end: Moment, down_since: Option<Moment>, at: Moment) -> Moment {
    match down_since {
        Some(down) if down < end && down < at => Moment(end.0.saturating_add(at.micros_since(down))),
        Some(_) | None => end,
    }
}
