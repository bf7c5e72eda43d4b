//! What a supplier's client does next in an opening: decided from what it has heard, without clock or network.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    bid::{FailureCause, PartName},
    digest::Digest,
    ids::{BidId, ProjectId},
    moment::Moment,
    view::{BidStatus, Bidder, ProjectStatus, RoomEvent, RoomView},
};
use kaibiao_sealed::{
    order::{OpeningOrder, OrderExpected, OrderFault},
    platform_key::PUBLIC_KEY_BYTES,
};

/// What is fixed before the opening: the bid, and the only key whose orders count for it.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The project.
    pub project: ProjectId,
    /// The bid.
    pub bid: BidId,
    /// The bid's parts, in their order.
    pub parts: Vec<PartName>,
    /// The id of the opening key in the bid's binding.
    pub bound_key: Digest,
    /// The platform's opening key.
    pub opening_key: [u8; PUBLIC_KEY_BYTES],
    /// The earliest deadline the supplier was told.
    pub deadline_told: Option<Moment>,
    /// A backup bid is at hand.
    pub has_backup: bool,
}

/// An order that was checked: the token may unwrap for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedOrder {
    /// The exact text.
    pub text: String,
    /// What it says.
    pub order: OpeningOrder,
    /// The parts of this bid whose keys it asks for, in their order; never empty.
    pub parts: Vec<PartName>,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Move {
    /// Nothing; listen.
    Wait,
    /// An order has come that this machine's clock holds to be early: look again then.
    WaitForClock {
        /// The order's deadline.
        until: Moment,
    },
    /// Unwrap the bid key in the token and release the keys of the order's parts.
    Release(CheckedOrder),
    /// Release them from the backup bid, which was admitted.
    ReleaseBackup(CheckedOrder),
    /// Upload the sealed bid again from the backup: the stored one is damaged, and the backup was admitted.
    Restore,
}

/// How the own bid came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// None of its lots is opened; it stays sealed.
    NotOpened,
    /// The platform keeps its keys; nothing more is needed of the supplier.
    KeysKept,
    /// It is unsealed.
    Unsealed,
    /// It was not unsealed in time, or its failure is final.
    Failed(FailureCause),
    /// It does not stand: withdrawn, replaced, or never received.
    NotStanding,
}

/// What was noticed in something heard, for the person to be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Noticed {
    /// Nothing that concerns the own bid.
    Nothing,
    /// A good order.
    Order {
        /// Its epoch.
        epoch: u32,
    },
    /// An order that was not obeyed.
    BadOrder(OrderFault),
    /// The own bid's status changed.
    Status(BidStatus),
}

/// One supplier's part in one opening.
#[derive(Debug)]
pub struct Ceremony {
    fixed: Fixed,
    order: Option<CheckedOrder>,
    /// An order that is good but for our clock.
    early: Option<(String, Vec<u8>)>,
    epoch_seen: u32,
    status: Option<BidStatus>,
    counted: bool,
    published: bool,
    /// The order's epoch under which the token was tried and failed; it is not tried again by itself.
    token_failed_at: Option<u32>,
    /// The epoch under which the platform said it keeps the keys.
    kept_at: Option<u32>,
    /// The cause of the last failure heard: it decides how the backup is used.
    last_cause: Option<FailureCause>,
    restored: bool,
}

impl Ceremony {
    /// Before anything was heard.
    pub fn new(fixed: Fixed) -> Self {
        Self {
            fixed,
            order: None,
            early: None,
            epoch_seen: 0,
            status: None,
            counted: false,
            published: false,
            token_failed_at: None,
            kept_at: None,
            last_cause: None,
            restored: false,
        }
    }

    /// Why the bid failed last, learned from elsewhere than the room.
    pub fn remember_cause(&mut self, cause: FailureCause) {
        self.last_cause = Some(cause);
    }

    /// What is fixed.
    pub fn fixed(&self) -> &Fixed {
        &self.fixed
    }

    /// Where the own bid stands, once the bids are counted.
    pub fn status(&self) -> Option<BidStatus> {
        self.status
    }

    /// Whether the record is published.
    pub fn is_published(&self) -> bool {
        self.published
    }

    /// Takes in the room as it stands.
    pub fn see(&mut self, view: &RoomView, now: Moment) -> Noticed {
        if view.status != ProjectStatus::Receiving {
            self.count(&view.bidders);
        }
        self.published = matches!(view.status, ProjectStatus::Published | ProjectStatus::Ended);
        match &view.order {
            Some(order) => self.take_order(&order.order, &order.signature.0, now),
            None => self.status.map_or(Noticed::Nothing, Noticed::Status),
        }
    }

    /// Takes in one event.
    pub fn hear(&mut self, event: &RoomEvent, now: Moment) -> Noticed {
        match event {
            RoomEvent::ReceivingClosed { bidders, .. } => {
                self.count(bidders);
                self.status.map_or(Noticed::Nothing, Noticed::Status)
            }
            RoomEvent::OrderIssued { order, signature, .. } => self.take_order(order, &signature.0, now),
            RoomEvent::BidChanged { bid, status, .. } if *bid == self.fixed.bid => {
                self.set_status(*status);
                Noticed::Status(*status)
            }
            RoomEvent::RecordsPublished { .. } => {
                self.published = true;
                Noticed::Nothing
            }
            RoomEvent::ProjectPublished { .. }
            | RoomEvent::OpeningStarted { .. }
            | RoomEvent::BidChanged { .. }
            | RoomEvent::WindowExtended { .. }
            | RoomEvent::WindowClosed { .. }
            | RoomEvent::RecordSigned { .. }
            | RoomEvent::CheckedIn { .. }
            | RoomEvent::RowReadOut { .. }
            | RoomEvent::ObjectionRaised { .. }
            | RoomEvent::ObjectionAnswered { .. }
            | RoomEvent::RecordConfirmed { .. }
            | RoomEvent::ConfirmationsDeemed { .. }
            | RoomEvent::OpeningEnded
            | RoomEvent::DeadlineMoved { .. }
            | RoomEvent::OutageRecorded { .. }
            | RoomEvent::ClockStepped { .. } => Noticed::Nothing,
        }
    }

    /// The clock has moved: an order that was early may be good now.
    pub fn look_again(&mut self, now: Moment) -> Noticed {
        match self.early.take() {
            Some((text, signature)) => self.take_order(&text, &signature, now),
            None => Noticed::Nothing,
        }
    }

    /// The platform has made the keys durable.
    pub fn keys_kept(&mut self, epoch: u32) {
        self.kept_at = Some(epoch);
    }

    /// The platform refused the keys: sending them again under this order would not help.
    pub fn keys_refused(&mut self, epoch: u32) {
        (self.token_failed_at, self.kept_at) = (Some(epoch), Some(epoch));
    }

    /// The token gave no key, or not the right one.
    pub fn token_failed(&mut self, epoch: u32) {
        self.token_failed_at = Some(epoch);
    }

    /// The platform took the restored bytes in.
    pub fn restored(&mut self) {
        self.restored = true;
    }

    /// The order is not the current one any more: another follows.
    pub fn order_superseded(&mut self) {
        self.order = None;
    }

    /// What to do next.
    pub fn next(&self) -> Move {
        if let Some((text, _)) = &self.early
            && let Ok(order) = OpeningOrder::parse(text)
        {
            return Move::WaitForClock { until: order.deadline };
        }
        let Some(order) = self.order.clone().filter(|_| !self.published) else { return Move::Wait };
        let epoch = order.order.epoch;
        match self.status {
            // After a restart of the platform only keys that were not acknowledged are asked for again: then the
            // bid still, or again, awaits them.
            Some(BidStatus::AwaitingKeys) if self.kept_at == Some(epoch) => Move::Wait,
            Some(BidStatus::AwaitingKeys) if self.token_failed_at != Some(epoch) => Move::Release(order),
            // A failure may be mended in its time of grace, by the right token for instance.
            Some(BidStatus::Failed { cause, .. })
                if mends_by_keys(cause)
                    && self.token_failed_at != Some(epoch)
                    && self.kept_at != Some(epoch) =>
            {
                Move::Release(order)
            }
            Some(BidStatus::AwaitingBackup { .. }) if self.fixed.has_backup => {
                if self.last_cause == Some(FailureCause::DamagedStore) && !self.restored {
                    Move::Restore
                } else if self.kept_at == Some(epoch) {
                    Move::Wait
                } else {
                    Move::ReleaseBackup(order)
                }
            }
            _ => Move::Wait,
        }
    }

    /// How the own bid came out, as soon as that is certain.
    pub fn ending(&self) -> Option<Ending> {
        match self.status {
            Some(BidStatus::NotOpened) => Some(Ending::NotOpened),
            Some(BidStatus::Unsealing) => Some(Ending::KeysKept),
            Some(BidStatus::Unsealed) => Some(Ending::Unsealed),
            Some(BidStatus::Settled { cause }) => Some(Ending::Failed(cause)),
            Some(BidStatus::AwaitingKeys | BidStatus::Failed { .. } | BidStatus::AwaitingBackup { .. }) => {
                None
            }
            None if self.counted => Some(Ending::NotStanding),
            None => None,
        }
    }

    fn count(&mut self, bidders: &[Bidder]) {
        self.counted = true;
        match bidders.iter().find(|bidder| bidder.bid == self.fixed.bid) {
            Some(own) => self.set_status(own.status),
            None => self.status = None,
        }
    }

    fn set_status(&mut self, status: BidStatus) {
        match status {
            BidStatus::Failed { cause, .. } => {
                self.last_cause = Some(cause);
                // Keys that were kept did not open it; what comes next is another try.
                self.kept_at = None;
            }
            BidStatus::AwaitingKeys | BidStatus::AwaitingBackup { .. } => self.kept_at = None,
            BidStatus::NotOpened | BidStatus::Unsealing | BidStatus::Unsealed | BidStatus::Settled { .. } => {
            }
        }
        self.status = Some(status);
    }

    /// An order counts only if the key that the bid is bound to signed it, for exactly this project, not before
    /// its deadline by our own clock, with no lower epoch than one seen, and if it asks for a part of this bid.
    fn take_order(&mut self, text: &str, signature: &[u8], now: Moment) -> Noticed {
        let expected = OrderExpected {
            project: &self.fixed.project,
            opening_key: &self.fixed.bound_key,
            deadline: self.fixed.deadline_told,
            epoch_seen: self.epoch_seen,
            now,
        };
        match OpeningOrder::verify(text, signature, &self.fixed.opening_key, &expected) {
            Ok(order) => {
                self.early = None;
                self.epoch_seen = order.epoch;
                let epoch = order.epoch;
                let parts = parts_asked(&self.fixed.parts, &order);
                self.order =
                    (!parts.is_empty()).then(|| CheckedOrder { text: text.to_owned(), order, parts });
                Noticed::Order { epoch }
            }
            Err(OrderFault::BeforeDeadline) => {
                self.early = Some((text.to_owned(), signature.to_vec()));
                Noticed::BadOrder(OrderFault::BeforeDeadline)
            }
            Err(fault) => Noticed::BadOrder(fault),
        }
    }
}

/// The parts of this bid that an order opens: those of its lots, and with any of them the common part. Parts of
/// other lots stay sealed.
fn parts_asked(parts: &[PartName], order: &OpeningOrder) -> Vec<PartName> {
    let lots: BTreeSet<PartName> = order.lots.iter().copied().map(PartName::Lot).collect();
    if !parts.iter().any(|part| lots.contains(part)) {
        return Vec::new();
    }
    parts.iter().copied().filter(|part| *part == PartName::Common || lots.contains(part)).collect()
}

fn mends_by_keys(cause: FailureCause) -> bool {
    match cause {
        FailureCause::WrongToken
        | FailureCause::TokenTrouble
        | FailureCause::WrongKey
        | FailureCause::PlatformFault => true,
        FailureCause::DamagedUpload
        | FailureCause::MalformedPackage
        | FailureCause::DamagedStore
        | FailureCause::NoShow => false,
    }
}
