//! A final from its stamp to its verdict. Sans-IO: the shell loads, syncs, reads and asks; what follows from what is
//! decided here.
//!
//! What is in time is decided by the stamp alone, however long the rest takes. Nothing is checked before stamp and
//! bytes are durable. Whatever comes of it is recorded, and its paper is made from the record. Where nothing can be
//! recorded, there is no verdict in this process: the final is left, its ticket stays open, and the next start (or
//! the same upload sent again) takes it up with its old stamp.

use std::{collections::BTreeSet, sync::Arc};

use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    ids::{BidId, FileId, LotNo, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor},
};
use serde::{Deserialize, Serialize};

use super::reception::FinalName;
use crate::{
    keeper::Done,
    planted::{Planted, planted},
    project::{Project, UploadFate},
    refusals::refuse,
    rules::RulePack,
};

/// How often a project that cannot be read is loaded before its final is left: about a minute.
pub const PROJECT_LOADS_MAX: usize = 120;
/// How often a staged final is read, [`RETRY_MS`] apart, before its bytes count as lost.
pub const STORE_LOOKS_MAX: usize = 50;
/// How long is waited before what was busy is tried again, in milliseconds.
pub const RETRY_MS: i64 = 100;

/// A stamped final: what is kept of it until its verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Final {
    /// Its project.
    pub project: ProjectId,
    /// The upload, as its client named it.
    pub upload: UploadId,
    /// The bid it brings.
    pub bid: BidId,
    /// Whose it is.
    pub supplier: OrganisationId,
    /// The staged file.
    pub file: FileId,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The stamp: when its last byte was in.
    pub received_at: Moment,
    /// The contact form, wrapped under the store key.
    pub contact: Blob,
    /// The salted digest of the contact form.
    pub contact_digest: Digest,
}

impl Final {
    /// What it is known by.
    pub fn name(&self) -> FinalName {
        (self.project.clone(), self.supplier.clone(), self.upload)
    }

    /// Under which key it lies while it is staged.
    pub fn row_key(&self) -> String {
        format!("{}/{}/{}", self.project, self.supplier, self.upload)
    }

    /// What a sealed bid's own header says, held against what it was handed in as.
    ///
    /// # Errors
    /// The refusal of a bid for somewhere else or by somebody else.
    pub fn check_claims(&self, claims: &Claims<'_>, project: &Project) -> Result<(), RefusalCode> {
        let spec = project.spec().ok_or(RefusalCode::Unknown)?;
        if *claims.project != self.project {
            return Err(RefusalCode::OtherProject);
        }
        if *claims.supplier != self.supplier && !planted(Planted::AnyonesFile) {
            return Err(RefusalCode::OtherSupplier);
        }
        if !claims.lots.iter().all(|lot| spec.lots.contains_key(lot)) {
            return Err(RefusalCode::OtherLots);
        }
        if !claims.for_this_platform {
            return Err(RefusalCode::OtherPlatform);
        }
        Ok(())
    }
}

/// What the header of a sealed bid says of itself.
pub struct Claims<'a> {
    /// For which project it was sealed.
    pub project: &'a ProjectId,
    /// By whom.
    pub supplier: &'a OrganisationId,
    /// For which lots.
    pub lots: &'a BTreeSet<LotNo>,
    /// Whether it was sealed for this platform's opening key.
    pub for_this_platform: bool,
}

/// Who asks for a final.
pub fn asker() -> Asker {
    Asker::Platform { reactor: Reactor::Intake }
}

/// What the shell tells.
#[derive(Clone, Debug)]
pub enum Input {
    /// The project as committed.
    Loaded(Arc<Project>),
    /// There is no such project.
    UnknownProject,
    /// The project is there and cannot be read just now.
    ProjectUnreadable,
    /// The bytes are durable and as many as they should be; or they are not, and nothing will make them so.
    Synced(Result<(), RefusalCode>),
    /// The stamp is durable; or not.
    RowWritten(Result<(), RowFault>),
    /// The checks are done.
    Checked(Result<Box<BidFacts>, CheckFault>),
    /// Whether what passed the checks is durable under its final name; it can be tried again.
    Sealed(bool),
    /// The project's answer.
    Answered(Result<Done, Refusal>),
    /// The wait is over.
    Waited,
}

/// Why a stamp could not be made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RowFault {
    /// Try again.
    Busy,
    /// It will not be, for this reason.
    Refused(RefusalCode),
    /// Nothing is written by this process any more.
    WritingEnded,
}

/// Why there are no facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckFault {
    /// The final is refused.
    Refused(RefusalCode),
    /// The store could not be read; nothing can be said of the final.
    Store,
}

/// What the shell does, in this order. At most one of a batch asks for an input, and it is the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Load the project; say [`Input::Loaded`], [`Input::UnknownProject`] or [`Input::ProjectUnreadable`].
    LoadProject,
    /// Sync the bytes and count them; say [`Input::Synced`].
    SyncBytes,
    /// Put the final's row, with its stamp; say [`Input::RowWritten`].
    WriteRow,
    /// Check the bytes against the project that was loaded; say [`Input::Checked`].
    Check,
    /// Make the file durable under its final name, for it will be told as received; say [`Input::Sealed`].
    Seal,
    /// Ask the project, stamped with the final's stamp; say [`Input::Answered`].
    Ask {
        /// Which ask it is: its command id is made of [`Judging::command_pieces`].
        asked: Asked,
        /// The command.
        command: Box<ProjectCommand>,
        /// What is written with it, if it yields a record.
        side: &'static [Side],
    },
    /// Say [`Input::Waited`] after so many milliseconds.
    Wait {
        /// How many.
        ms: i64,
    },
    /// Remove the final's row. If that fails, a restart finds its verdict recorded and removes it then.
    DropRow,
    /// Delete the file. If that fails, the next start finds it.
    DeleteFile,
    /// Settle the final's ticket.
    SettleTicket,
    /// The end: the verdict is what the record at this position says.
    Recorded {
        /// The position.
        seq: u64,
    },
    /// The end: refused, and nothing records it.
    Refused(Refusal),
    /// The end: no verdict in this process. The ticket stays open and the final is left.
    Left,
}

/// The asks of a final.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Asked {
    /// For the first answer again.
    Again,
    /// To take the bid in.
    Submit,
    /// To record its refusal.
    Refuse,
}

impl Asked {
    fn as_str(self) -> &'static str {
        match self {
            Asked::Again => "again",
            Asked::Submit => "submit",
            Asked::Refuse => "refuse",
        }
    }
}

/// What is written beside the records of an ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Keep the contact form.
    Contact,
    /// Keep what the judgement on the certificates rested on.
    Certificates,
    /// Remove the final's row.
    DropRow,
}

/// One final on its way to its verdict.
#[derive(Clone, Debug)]
pub struct Judging {
    one: Final,
    /// Whether stamp and bytes are durable.
    staged: bool,
    state: State,
    loads_left: usize,
    looks_left: usize,
}

#[derive(Clone, Debug)]
enum State {
    Loading,
    Syncing(Then),
    WritingRow(Then),
    Checking,
    Sealing(Box<BidFacts>),
    Asking(Asked, Box<ProjectCommand>),
    Ended,
}

/// What follows once stamp and bytes are durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    Check,
    Leave,
}

impl Judging {
    /// A final that was stamped just now.
    pub fn new(one: Final) -> Self {
        Self {
            one,
            staged: false,
            state: State::Loading,
            loads_left: PROJECT_LOADS_MAX,
            looks_left: STORE_LOOKS_MAX,
        }
    }

    /// A final that was left without a verdict, by a crash or in this process; `staged`: whether its stamp and bytes
    /// are durable. It keeps its stamp, whatever the time is `now`.
    pub fn resumed(one: Final, staged: bool, now: Moment) -> Self {
        let received_at = if planted(Planted::StampedAnew) { now } else { one.received_at };
        Self { staged, ..Self::new(Final { received_at, ..one }) }
    }

    /// The final.
    pub fn one(&self) -> &Final {
        &self.one
    }

    /// Whether its stamp and bytes are durable.
    pub fn is_staged(&self) -> bool {
        self.staged
    }

    /// What names an ask of this final, so that one sent again gets its first answer.
    pub fn command_pieces(&self, asked: Asked) -> [&[u8]; 5] {
        [
            b"intake",
            self.one.project.as_str().as_bytes(),
            self.one.supplier.as_str().as_bytes(),
            asked.as_str().as_bytes(),
            &self.one.upload.0,
        ]
    }

    /// Says what to do first.
    pub fn begin(&self, out: &mut Vec<Output>) {
        out.push(Output::LoadProject);
    }

    /// Takes one input and says what follows. `stopping`: the process ends in good order, nothing is waited for.
    ///
    /// # Panics
    /// On an input that nothing asked for: the shell mixed up two finals.
    pub fn handle(&mut self, input: Input, stopping: bool, out: &mut Vec<Output>) {
        let state = std::mem::replace(&mut self.state, State::Ended);
        match (state, input) {
            (State::Loading, Input::Loaded(project)) => self.loaded(&project, out),
            (State::Loading, Input::UnknownProject) => {
                self.forget(RefusalCode::Unknown, self.staged, out);
            }
            (State::Loading, Input::ProjectUnreadable) => self.unreadable(stopping, out),
            (State::Syncing(then), Input::Synced(Ok(()))) => self.go(State::WritingRow(then), out),
            (State::Syncing(_), Input::Synced(Err(code))) => self.forget(code, false, out),
            (State::WritingRow(then), Input::RowWritten(written)) => {
                self.row_written(then, written, stopping, out);
            }
            (State::Checking, Input::Checked(Ok(facts))) if planted(Planted::VerdictBeforeStage) => {
                self.submit(facts, out);
            }
            (State::Checking, Input::Checked(Ok(facts))) => self.go(State::Sealing(facts), out),
            (State::Sealing(facts), Input::Sealed(true)) => self.submit(facts, out),
            (sealing @ State::Sealing(_), Input::Sealed(false)) => self.store_failed(sealing, stopping, out),
            (State::Checking, Input::Checked(Err(CheckFault::Refused(code)))) => self.refuse(code, out),
            (State::Checking, Input::Checked(Err(CheckFault::Store))) => {
                self.store_failed(State::Checking, stopping, out)
            }
            (State::Asking(asked, command), Input::Answered(answer)) => {
                self.answered(asked, command, answer, stopping, out);
            }
            (
                waiting @ (State::Loading
                | State::WritingRow(_)
                | State::Checking
                | State::Sealing(_)
                | State::Asking(..)),
                Input::Waited,
            ) => self.go(waiting, out),
            (state, input) => panic!("a final hears only what it asked for: {input:?} in {state:?}"),
        }
    }

    fn loaded(&mut self, project: &Project, out: &mut Vec<Output>) {
        if let Some(fate) = project.upload(&self.one.upload)
            && !planted(Planted::JudgedTwice)
        {
            return self.again(project, fate, out);
        }
        // By the stamp alone; the ticket sees to it that nothing was counted since.
        let one = &self.one;
        match project.may_upload(&one.supplier, one.size_bytes, one.received_at) {
            Err(refusal) => self.refuse(refusal.code, out),
            Ok(()) if self.staged || planted(Planted::VerdictBeforeStage) => self.go(State::Checking, out),
            Ok(()) => self.go(State::Syncing(Then::Check), out),
        }
    }

    /// The count waits for this final, so it is worth some patience; and its stamp must outlive this process.
    fn unreadable(&mut self, stopping: bool, out: &mut Vec<Output>) {
        self.loads_left = self.loads_left.saturating_sub(1);
        if !stopping && self.loads_left > 0 {
            self.wait(State::Loading, out);
        } else if self.staged || stopping {
            out.push(Output::Left);
        } else {
            self.go(State::Syncing(Then::Leave), out);
        }
    }

    fn row_written(
        &mut self,
        then: Then,
        written: Result<(), RowFault>,
        stopping: bool,
        out: &mut Vec<Output>,
    ) {
        match written {
            Ok(()) => {
                self.staged = true;
                match then {
                    Then::Check => self.go(State::Checking, out),
                    Then::Leave => out.push(Output::Left),
                }
            }
            Err(RowFault::Busy) if stopping => out.push(Output::Left),
            Err(RowFault::Busy) => self.wait(State::WritingRow(then), out),
            Err(RowFault::Refused(code)) => self.forget(code, false, out),
            Err(RowFault::WritingEnded) => out.push(Output::Left),
        }
    }

    /// A moment's trouble of the store must not cost a bid that came in time.
    fn store_failed(&mut self, state: State, stopping: bool, out: &mut Vec<Output>) {
        self.looks_left = self.looks_left.saturating_sub(1);
        if stopping {
            out.push(Output::Left);
        } else if self.looks_left > 0 {
            self.wait(state, out);
        } else {
            // The bytes are lost to us: recorded, so that the supplier holds a signed word of it.
            self.refuse(RefusalCode::SealedBidDamaged, out);
        }
    }

    fn submit(&mut self, facts: Box<BidFacts>, out: &mut Vec<Output>) {
        let command = ProjectCommand::SubmitBid { facts: *facts };
        self.go(State::Asking(Asked::Submit, Box::new(command)), out);
    }

    /// The same upload again: the same verdict.
    fn again(&mut self, project: &Project, fate: UploadFate, out: &mut Vec<Output>) {
        let command = match fate {
            UploadFate::Received(bid) => {
                let facts = project.bid(&bid).map(|bid| bid.facts.clone());
                match facts.filter(|facts| facts.supplier == self.one.supplier) {
                    Some(facts) => ProjectCommand::SubmitBid { facts: BidFacts::clone(&facts) },
                    None => return self.taken(out),
                }
            }
            UploadFate::Refused { supplier, .. } if supplier != self.one.supplier => return self.taken(out),
            UploadFate::Refused { supplier, size_bytes, code, .. } => {
                ProjectCommand::RefuseUpload { upload: self.one.upload, supplier, size_bytes, code }
            }
        };
        self.go(State::Asking(Asked::Again, Box::new(command)), out);
    }

    /// Records the refusal, so that there is a notice of it.
    fn refuse(&mut self, code: RefusalCode, out: &mut Vec<Output>) {
        let command = ProjectCommand::RefuseUpload {
            upload: self.one.upload,
            supplier: self.one.supplier.clone(),
            size_bytes: self.one.size_bytes,
            code,
        };
        self.go(State::Asking(Asked::Refuse, Box::new(command)), out);
    }

    fn answered(
        &mut self,
        asked: Asked,
        command: Box<ProjectCommand>,
        answer: Result<Done, Refusal>,
        stopping: bool,
        out: &mut Vec<Output>,
    ) {
        let refusal = match answer {
            Ok(done) => {
                match asked {
                    Asked::Again => out.push(Output::DropRow),
                    Asked::Submit => {}
                    Asked::Refuse => out.push(Output::DeleteFile),
                }
                out.extend([Output::SettleTicket, Output::Recorded { seq: done.first_seq }]);
                return;
            }
            Err(refusal) => refusal,
        };
        match (refusal.code, asked) {
            (RefusalCode::WritingEnded, _) => out.push(Output::Left),
            (RefusalCode::Busy, _) if stopping => out.push(Output::Left),
            (RefusalCode::Busy, _) => self.wait(State::Asking(asked, command), out),
            (_, Asked::Again) => {
                out.extend([Output::DropRow, Output::SettleTicket, Output::Refused(refusal)]);
            }
            (code, Asked::Submit) => self.refuse(code, out),
            (RefusalCode::UploadTaken, Asked::Refuse) => self.taken(out),
            (code, Asked::Refuse) => self.forget(code, true, out),
        }
    }

    /// The upload's name was used for something else: that one's file stays.
    fn taken(&mut self, out: &mut Vec<Output>) {
        out.extend([Output::DropRow, Output::SettleTicket, refused(RefusalCode::UploadTaken)]);
    }

    /// A refusal that is not recorded: nothing is kept of the final.
    fn forget(&mut self, code: RefusalCode, staged: bool, out: &mut Vec<Output>) {
        if staged {
            out.push(Output::DropRow);
        }
        out.extend([Output::DeleteFile, Output::SettleTicket, refused(code)]);
    }

    fn wait(&mut self, state: State, out: &mut Vec<Output>) {
        if planted(Planted::BusyAfterStamp) {
            return self.forget(RefusalCode::Busy, true, out);
        }
        self.state = state;
        out.push(Output::Wait { ms: RETRY_MS });
    }

    fn go(&mut self, state: State, out: &mut Vec<Output>) {
        if planted(Planted::TicketSettledEarly) && matches!(state, State::Checking) {
            out.push(Output::SettleTicket);
        }
        out.push(match &state {
            State::Loading => Output::LoadProject,
            State::Syncing(_) => Output::SyncBytes,
            State::WritingRow(_) => Output::WriteRow,
            State::Checking => Output::Check,
            State::Sealing(_) => Output::Seal,
            State::Asking(asked, command) => Output::Ask {
                asked: *asked,
                command: command.clone(),
                side: match asked {
                    Asked::Again => &[],
                    Asked::Submit => &[Side::Contact, Side::Certificates, Side::DropRow],
                    Asked::Refuse => &[Side::DropRow],
                },
            },
            State::Ended => return,
        });
        self.state = state;
    }
}

fn refused(code: RefusalCode) -> Output {
    Output::Refused(refuse(code, RulePack::default()))
}
