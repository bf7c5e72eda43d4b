//! What a person or a program is told while an opening goes on.

use std::time::Duration;

use kaibiao_protocol::{
    bid::FailureCause,
    moment::Moment,
    view::{OwnBid, ProjectView, RoomEvent, RoomView},
};
use kaibiao_sealed::order::OrderFault;

use crate::{
    client::{ClientFault, Link, UploadProgress},
    signer::UseFault,
};

/// What happens meanwhile, for the person to be told.
#[derive(Debug)]
pub enum Told<'a> {
    /// The bid to be unsealed was found.
    Found {
        /// The project.
        view: &'a ProjectView,
        /// The bid.
        bid: &'a OwnBid,
    },
    /// The room as it stands; its events follow.
    Joined {
        /// It.
        view: &'a RoomView,
    },
    /// Signed in to the room.
    CheckedIn,
    /// An event of the room.
    Room {
        /// When.
        at: Moment,
        /// What.
        event: &'a RoomEvent,
        /// Whether it is about the own bid.
        own: bool,
    },
    /// An order was checked and holds.
    OrderHolds {
        /// Its epoch.
        epoch: u32,
    },
    /// An order was not obeyed.
    OrderRefused {
        /// Why.
        fault: OrderFault,
    },
    /// The platform's clock is past the deadline, ours is not.
    ClockBehind {
        /// The deadline.
        deadline: Moment,
        /// Our time.
        now: Moment,
    },
    /// The token is asked to unwrap the bid key.
    AskingToken,
    /// The token gave no key.
    TokenFailed {
        /// Why.
        fault: &'a UseFault,
        /// What was reported to the room, if anything.
        reported: Option<FailureCause>,
    },
    /// The keys were sent and are durable at the platform.
    KeysKept {
        /// The order's epoch.
        epoch: u32,
        /// How many keys.
        parts: usize,
        /// How long the token took.
        token: Duration,
        /// Whether they came from the backup.
        by_backup: bool,
    },
    /// The platform did not take the keys; it goes on if it can.
    NotTaken {
        /// Why.
        fault: &'a ClientFault,
    },
    /// The sealed bid is uploaded again from the backup.
    Restoring(UploadProgress),
    /// It was taken in.
    Restored,
    /// The connection was lost, or is back.
    Link(Link),
}
