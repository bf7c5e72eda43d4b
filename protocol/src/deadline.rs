//! A deadline that moves, and faults of the platform as they are recorded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// On what ground a deadline is moved.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MoveGround {
    /// A correction notice (更正公告), stamped before the present deadline.
    Correction,
    /// A recorded outage of the platform around the present deadline.
    PlatformFault,
}

/// A deadline that was moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadlineMove {
    /// The deadline before.
    pub from: Moment,
    /// The deadline since then; later.
    pub to: Moment,
    /// On what ground.
    pub ground: MoveGround,
    /// When it was moved.
    pub at: Moment,
}

/// An outage of the platform around a deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// Until then the platform is known to have been there.
    pub from: Moment,
    /// Since then it is there again.
    pub until: Moment,
    /// The bids are not counted before, so that the agent may move the deadline.
    pub held_until: Moment,
}

/// A step of the machine's wall clock. No stamp follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClockStep {
    /// When it was noticed.
    pub at: Moment,
    /// By how many milliseconds the wall clock was set forward; negative: back.
    pub step_ms: i64,
    /// Wall clock minus the platform's clock since then, in milliseconds.
    pub divergence_ms: i64,
}
