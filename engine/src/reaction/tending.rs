//! Tending a project: what its shell does between its records. Sans-IO.
//!
//! What is due [`super::due`] says, from the state and the clock; here is what the shell has in hand
//! already, what is held back, and when it looks again. A wake may come late, early, twice or never:
//! the shell looks after every append as well.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    command::ProjectCommand,
    moment::Moment,
    role::{Asker, Reactor},
    view::ProjectStatus,
};

use super::{Due, due, wake_at};
use crate::{
    planted::{Planted, planted},
    project::Project,
};

/// How long before its hour a sleeping project is loaded, in milliseconds.
pub const WAKE_AHEAD_MS: i64 = 5_000;
/// How long after an act that was answered the project is looked at again, in milliseconds: for what
/// was refused, and for what became due meanwhile.
pub const LOOK_AGAIN_MS: i64 = 100;

/// What a project's shell has in hand. Lost with the shell, and rebuilt by looking.
#[derive(Clone, Default, Debug)]
pub struct Tending {
    acting: BTreeSet<Due>,
    /// The time before this process, in which the platform was not there.
    outage: Option<(Moment, Moment)>,
}

/// What the shell tells.
#[derive(Clone, Debug)]
pub enum TendingInput {
    /// Time to look: the state is there or has changed, a wake came, or the opening became ready.
    Look,
    /// The command of an act was answered, granted or refused.
    Acted(Due),
    /// Nobody needs the project: may it go to sleep?
    GoToSleep {
        /// Asks that wait for their answer.
        waiting: usize,
    },
}

/// What the shell is to do.
#[derive(Clone, Debug)]
pub enum TendingOutput {
    /// See to it that somebody runs the opening ([`super::opening::Opening`]); nothing, if somebody
    /// does.
    RunOpening,
    /// Carry this out; then say [`TendingInput::Acted`].
    Act(Box<Act>),
    /// Set the project's wake to this moment alone; none: no wake.
    Wake(Option<Moment>),
    /// Say [`TendingInput::Look`] after so many milliseconds.
    LookAfter(i64),
    /// Answers [`TendingInput::GoToSleep`]: it may, and its last [`TendingOutput::Wake`] is the one
    /// that brings it back; or it may not.
    Sleep(bool),
}

/// Something due, as steps: wait for what came before, then ask.
#[derive(Clone, Debug)]
pub struct Act {
    /// What it is about.
    pub due: Due,
    /// What was stamped before now and must have its answer before the command is given.
    pub after: Option<Drain>,
    /// Who asks.
    pub asker: Asker,
    /// For what. It is stamped when it is given, after the wait.
    pub command: ProjectCommand,
}

/// Work with tickets that an act waits for: all that is open when the act begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drain {
    /// Finals: every one stamped before the deadline took its ticket before now (settling).
    Finals,
    /// Keys and restored bytes: window and graces judge the stamp of their arrival, and what came in
    /// time has its answer first.
    Envelopes,
}

impl Act {
    /// What is to be done about something due.
    pub fn of(due: Due) -> Self {
        let (after, reactor, command) = match due {
            Due::Settle => (Some(Drain::Finals), Reactor::Intake, ProjectCommand::CloseReceiving),
            Due::StartOpening => (None, Reactor::Timer, ProjectCommand::StartOpening { signature: None }),
            Due::ElapseWindow => (Some(Drain::Envelopes), Reactor::Timer, ProjectCommand::ElapseWindow),
            Due::DeemConfirmed => (None, Reactor::Timer, ProjectCommand::DeemConfirmed),
            Due::RecordOutage { from, until } => {
                (None, Reactor::Timer, ProjectCommand::RecordOutage { from, until })
            }
        };
        Self { due, after, asker: Asker::Platform { reactor }, command }
    }
}

impl Tending {
    /// Tending after a start: the platform is known to have been there until `from`, and is there again
    /// since `until`. A project that this touches records it before anything else is done.
    pub fn after_outage(from: Moment, until: Moment) -> Self {
        Self { acting: BTreeSet::new(), outage: Some((from, until)) }
    }

    /// Takes an input; what is to be done is added to `out`. `project` is the committed state, and
    /// `opening_ready` whether somebody runs the opening and said that it is ready.
    pub fn handle(
        &mut self,
        input: TendingInput,
        project: &Project,
        now: Moment,
        opening_ready: bool,
        out: &mut Vec<TendingOutput>,
    ) {
        match input {
            TendingInput::Look => self.look(project, now, opening_ready, out),
            TendingInput::Acted(due) => {
                self.acting.remove(&due);
                // Its records made the shell look already; this look is for a refusal.
                out.push(TendingOutput::LookAfter(LOOK_AGAIN_MS));
            }
            TendingInput::GoToSleep { waiting } => {
                let idle = self.acting.is_empty() && waiting == 0;
                if idle {
                    out.push(TendingOutput::Wake(wake_at(project).map(ahead_of)));
                }
                out.push(TendingOutput::Sleep(idle));
            }
        }
    }

    fn look(&mut self, project: &Project, now: Moment, opening_ready: bool, out: &mut Vec<TendingOutput>) {
        if !project.exists() {
            return;
        }
        if opening_runs(project) {
            out.push(TendingOutput::RunOpening);
        }
        if let Some((from, until)) = self.outage
            && project.outage_is_to_be_recorded(from, until)
        {
            // Before all else, the count above all: it may have to wait.
            let due = Due::RecordOutage { from, until };
            if self.acting.insert(due) {
                out.push(TendingOutput::Act(Box::new(Act::of(due))));
            }
            return;
        }
        for due in due(project, now) {
            // No window ends while nobody can take keys: first the time of the outage is given back.
            let held = due == Due::ElapseWindow && !opening_ready && !planted(Planted::ElapsesWhileDown);
            if !held && self.acting.insert(due) {
                out.push(TendingOutput::Act(Box::new(Act::of(due))));
            }
        }
        // What is past is being acted on, or held until the opening is ready and makes the shell look.
        out.push(TendingOutput::Wake(wake_at(project).filter(|at| *at > now)));
    }
}

/// Whether the project needs somebody to run its opening.
pub fn opening_runs(project: &Project) -> bool {
    match project.status() {
        Some(ProjectStatus::AwaitingOrder | ProjectStatus::AwaitingKeys | ProjectStatus::Settling) => true,
        Some(ProjectStatus::Published) => project.record_signature().is_none(),
        Some(ProjectStatus::Receiving | ProjectStatus::AwaitingStart | ProjectStatus::Ended) | None => false,
    }
}

/// When a sleeping project that has something to do at `at` is loaded.
pub fn ahead_of(at: Moment) -> Moment {
    at.plus_ms(-WAKE_AHEAD_MS)
}
