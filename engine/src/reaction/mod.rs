//! What the platform itself should do next. The engine says it; the shell asks for it through the
//! same door as everybody else, and is refused like everybody else if it comes too early.
//!
//! This file says what is due and what is to be done, from the state alone. The machines below it
//! are the platform's own parts without their actors: they remember what they have in hand, take
//! inputs, and say by outputs what a shell is to carry out.
//!
//! - [`opening`]: one opening, from its first order to the signed record.
//! - [`tending`]: one project between its records: what to act on, when to look again.
//! - [`wakes`]: the timer's table.
//! - [`tickets`], [`reception`], [`judging`]: a final from its stamp to its verdict.
//! - [`restoring`]: a damaged bid's bytes, handed in again.

pub mod judging;
pub mod opening;
pub mod reception;
pub mod restoring;
pub mod tending;
pub mod tickets;
pub mod wakes;

use kaibiao_protocol::{
    ids::BidId,
    moment::Moment,
    project::{StartMode, WINDOW_MINUTES_MAX},
};

use crate::project::{
    Project,
    state::{self, AwaitingKeys, Closing, Desk, Desks, Live, Place, Published, Settling, Signing, Stage},
};

/// How far ahead a starting shell looks: every project whose `wake_at` is nearer than this many
/// minutes is brought to life at once, because its window may be open, and a room whose process died
/// needs a new order. No window is longer.
pub const REVIVE_AHEAD_MINUTES: u32 = WINDOW_MINUTES_MAX;

/// Something whose time has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Due {
    /// Let intake finish every final stamped before the deadline, then ask `CloseReceiving`.
    Settle,
    /// Ask `StartOpening`.
    StartOpening,
    /// Ask `ElapseWindow`.
    ElapseWindow,
    /// Ask `DeemConfirmed`.
    DeemConfirmed,
    /// Ask `RecordOutage`. Not told by the state: [`tending`] says it, after a start.
    RecordOutage {
        /// Until then the platform is known to have been there.
        from: Moment,
        /// Since then it is there again.
        until: Moment,
    },
}

/// What the opening actor has to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpeningTodo {
    /// No order was issued yet. After a restart the actor issues one of its own besides, while
    /// [`Project::keys_awaited`]: the one-time key died with the process, which only it knows.
    pub issue_order: bool,
    /// Keys are kept and the verdict is not in, in the order of receipt.
    pub unseal: Vec<BidId>,
    /// The barrier is free: publish.
    pub publish: bool,
    /// The record is published and unsigned.
    pub sign: bool,
}

/// What is due at `now`.
pub fn due(project: &Project, now: Moment) -> Vec<Due> {
    let Some(live) = project.life.live() else { return Vec::new() };
    let due = match &live.stage {
        Stage::Receiving if live.counted_from() <= now => Some(Due::Settle),
        Stage::AwaitingStart(_) if starts_by_itself(live) && live.spec.deadline <= now => {
            Some(Due::StartOpening)
        }
        Stage::AwaitingKeys(_) | Stage::Settling(_) if next_end(live).is_some_and(|end| end <= now) => {
            Some(Due::ElapseWindow)
        }
        Stage::Published(_) if confirming_ends(live).is_some_and(|end| end <= now) => {
            Some(Due::DeemConfirmed)
        }
        Stage::Receiving
        | Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(_)
        | Stage::Ended(_) => None,
    };
    due.into_iter().collect()
}

/// What the opening actor has to do now.
pub fn opening_todo(project: &Project) -> OpeningTodo {
    let Some(live) = project.life.live() else { return OpeningTodo::default() };
    OpeningTodo {
        issue_order: matches!(live.stage, Stage::AwaitingOrder(_)),
        unseal: in_hand(live),
        publish: barrier_is_free(live),
        sign: matches!(live.stage, Stage::Published(Published { signing: Signing::Unsigned, .. })),
    }
}

/// When the platform should look at the project next: the deadline, the window's or a grace's end,
/// the end of confirming. A past instant where work waits that a restart must take up at once.
pub(crate) fn wake_at(project: &Project) -> Option<Moment> {
    let live = project.life.live()?;
    let at_once = live.spec.deadline;
    match &live.stage {
        Stage::Receiving => Some(live.counted_from()),
        Stage::AwaitingStart(_) => starts_by_itself(live).then_some(at_once),
        Stage::AwaitingOrder(_) => Some(at_once),
        Stage::AwaitingKeys(_) => next_end(live),
        Stage::Settling(_) if barrier_is_free(live) || !in_hand(live).is_empty() => Some(at_once),
        Stage::Settling(_) => next_end(live),
        Stage::Published(Published { signing: Signing::Unsigned, .. }) => Some(at_once),
        Stage::Published(_) => confirming_ends(live),
        Stage::Ended(_) => None,
    }
}

fn starts_by_itself(live: &Live) -> bool {
    match live.spec.start {
        StartMode::AtDeadline => true,
        StartMode::OnAgentStart => false,
    }
}

/// When `ElapseWindow` will next have something to do.
fn next_end(live: &Live) -> Option<Moment> {
    match &live.stage {
        Stage::AwaitingKeys(AwaitingKeys { closes_at, .. }) => Some(*closes_at),
        Stage::Settling(Settling { desks, closing: Closing::Closed { at, .. }, .. }) => {
            let awaited = desks.values().filter(|desk| !desk.is_done());
            awaited.filter_map(|desk| desk.keys_until(*at)).min()
        }
        Stage::Receiving
        | Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::Settling(_)
        | Stage::Published(_)
        | Stage::Ended(_) => None,
    }
}

/// When the silent will be deemed to accept; `None` once nobody is silent.
fn confirming_ends(live: &Live) -> Option<Moment> {
    let signed = live.signed()?;
    crate::project::silent(live, signed).next().map(|_| signed.signature.confirm_until)
}

fn barrier_is_free(live: &Live) -> bool {
    matches!(&live.stage, Stage::Settling(stage) if state::barrier_is_free(&stage.desks))
}

fn in_hand(live: &Live) -> Vec<BidId> {
    let desks: &Desks = match &live.stage {
        Stage::AwaitingKeys(stage) => &stage.desks,
        Stage::Settling(stage) => &stage.desks,
        Stage::Receiving
        | Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::Published(_)
        | Stage::Ended(_) => return Vec::new(),
    };
    let unsealing = |bid: &BidId| matches!(desks.get(bid), Some(Desk { place: Place::Unsealing { .. }, .. }));
    live.bids_being_opened().map(|bid| bid.facts.bid).filter(unsealing).collect()
}
