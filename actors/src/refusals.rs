//! Refusals of the running parts themselves, under no project's rule pack.

use kaibiao_engine::{refusals, rules::RulePack};
use kaibiao_protocol::refusal::{Refusal, RefusalCode};

/// A refusal by a rule of the house.
pub(crate) fn refuse(code: RefusalCode) -> Refusal {
    refusals::refuse(code, RulePack::default())
}
