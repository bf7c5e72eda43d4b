//! What the platform itself should do next. The engine says it; the shell asks for it through the
//! same door as everybody else.

use kaibiao_protocol::{ids::BidId, moment::Moment};

use crate::project::Project;

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
}

/// What the opening actor has to do.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OpeningTodo {
    /// No order was issued yet. (After a restart the actor issues a new one while keys are awaited,
    /// because the one-time key died with the process; only the actor knows that.)
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
    let _ = (project, now);
    todo!()
}

/// What the opening actor has to do now.
pub fn opening_todo(project: &Project) -> OpeningTodo {
    let _ = project;
    todo!()
}
