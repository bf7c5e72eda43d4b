//! Restoring a sealed bid that the platform's store damaged, from the restored bytes' stamp to their end. Sans-IO.
//!
//! The supplier seals its backup again, with the recorded header and key, and hands the bytes in; they count if and only
//! if they are those of the receipt. The ticket comes first: window and grace wait for whatever is stamped before their
//! end. Whether a restored bid is wanted at all is asked before any byte is read.

use std::sync::Arc;

use kaibiao_protocol::{
    bid::{BidFacts, PartFacts},
    command::ProjectCommand,
    digest::Digest,
    ids::{BidId, FileId, OrganisationId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
};

use super::judging::asker;
use crate::{
    keeper::{Done, Machine as _},
    project::{Project, ProjectMachine},
    refusals::refuse,
    rules::RulePack,
};

/// What is handed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// The damaged bid.
    pub bid: BidId,
    /// Who hands it in again.
    pub supplier: OrganisationId,
    /// The new file.
    pub file: FileId,
}

impl Restored {
    /// Whether this file is where the supplier's bid lies.
    fn is_held_by(&self, project: &Project) -> bool {
        let facts = project.bid(&self.bid).map(|bid| &bid.facts);
        facts.is_some_and(|facts| facts.supplier == self.supplier && facts.file == self.file)
    }
}

/// What the shell tells.
#[derive(Clone, Debug)]
pub enum Input {
    /// The project as committed; none: it is not there, or cannot be read now.
    Loaded(Option<Arc<Project>>),
    /// A ticket was taken, and after it this stamp; none: too many are open.
    Stamped(Option<Moment>),
    /// Whether the bytes are the receipt's, and durable under their final name.
    Checked(Result<(), RefusalCode>),
    /// The project's answer.
    Answered(Result<Done, Refusal>),
}

/// What the shell does, in this order. At most one of a batch asks for an input, and it is the last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Load the project; say [`Input::Loaded`].
    LoadProject,
    /// Take a ticket of the window's, then the stamp; say [`Input::Stamped`].
    Stamp,
    /// Hold the bytes against the recorded facts with [`are_the_receipts`], and make them durable under their final
    /// name; say [`Input::Checked`].
    Check(Arc<BidFacts>),
    /// Ask the project, stamped so; say [`Input::Answered`].
    Ask {
        /// The command.
        command: Box<ProjectCommand>,
        /// The stamp.
        at: Moment,
    },
    /// Settle the ticket.
    SettleTicket,
    /// Delete the new file.
    DeleteFile,
    /// The end: these bytes are the bid's.
    Restored,
    /// The end.
    Refused(Refusal),
}

/// Whether bytes with this header, of this length and these parts, are those of the receipt: the header by its digest,
/// and through the statement in it every part.
pub fn are_the_receipts(
    facts: &BidFacts,
    header_digest: &Digest,
    size_bytes: u64,
    parts: &[PartFacts],
) -> bool {
    facts.header_digest == *header_digest && facts.size_bytes == size_bytes && facts.parts == parts
}

/// One restoring on its way.
#[derive(Clone, Debug)]
pub struct Restoring {
    what: Restored,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Loading,
    Stamping(Arc<Project>),
    Checking(Box<ProjectCommand>, Moment),
    Asking,
    /// Refused; whether the bytes are the bid's all the same, the project tells.
    Refusing(Refusal),
    Ended,
}

impl Restoring {
    /// Restored bytes that are whole.
    pub fn new(what: Restored) -> Self {
        Self { what, state: State::Loading }
    }

    /// What is handed in.
    pub fn what(&self) -> &Restored {
        &self.what
    }

    /// Says what to do first.
    pub fn begin(&self, out: &mut Vec<Output>) {
        out.push(Output::LoadProject);
    }

    /// Takes one input and says what follows.
    ///
    /// # Panics
    /// On an input that nothing asked for: the shell mixed up two uploads.
    pub fn handle(&mut self, input: Input, out: &mut Vec<Output>) {
        let state = std::mem::replace(&mut self.state, State::Ended);
        match (state, input) {
            (State::Loading | State::Refusing(_), Input::Loaded(None))
            | (State::Stamping(_), Input::Stamped(None)) => out.push(Output::Refused(busy())),
            // Asked again because the answer was lost: these very bytes are the bid's already.
            (State::Loading | State::Refusing(_), Input::Loaded(Some(project)))
                if self.what.is_held_by(&project) =>
            {
                out.push(Output::Restored);
            }
            (State::Loading, Input::Loaded(Some(project))) => {
                self.state = State::Stamping(project);
                out.push(Output::Stamp);
            }
            (State::Stamping(project), Input::Stamped(Some(at))) => match self.weigh(&project, at) {
                Ok((command, facts)) => {
                    self.state = State::Checking(Box::new(command), at);
                    out.push(Output::Check(facts));
                }
                Err(refusal) => self.refuse(refusal, out),
            },
            (State::Checking(command, at), Input::Checked(Ok(()))) => {
                self.state = State::Asking;
                out.push(Output::Ask { command, at });
            }
            (State::Checking(..), Input::Checked(Err(code))) => {
                self.refuse(refuse(code, RulePack::default()), out);
            }
            (State::Asking, Input::Answered(Ok(_))) => {
                out.extend([Output::SettleTicket, Output::Restored]);
            }
            (State::Asking, Input::Answered(Err(refusal))) => self.refuse(refusal, out),
            (State::Refusing(refusal), Input::Loaded(Some(_))) => {
                out.extend([Output::DeleteFile, Output::Refused(refusal)]);
            }
            (state, input) => panic!("a restoring hears only what it asked for: {input:?} in {state:?}"),
        }
    }

    /// Whether a restored bid is wanted at all, at this stamp.
    fn weigh(&self, project: &Project, at: Moment) -> Result<(ProjectCommand, Arc<BidFacts>), Refusal> {
        let own = project.bid(&self.what.bid).filter(|bid| bid.facts.supplier == self.what.supplier);
        let no_bid = || refuse(RefusalCode::NoSuchBid, RulePack::default());
        let facts = own.ok_or_else(no_bid)?.facts.clone();
        let (bid, file, header_digest) = (self.what.bid, self.what.file, facts.header_digest);
        let command = ProjectCommand::RestoreBid { bid, file, header_digest };
        ProjectMachine::decide(project, &command, &asker(), at)?;
        Ok((command, facts))
    }

    fn refuse(&mut self, refusal: Refusal, out: &mut Vec<Output>) {
        out.push(Output::SettleTicket);
        if matches!(refusal.code, RefusalCode::Busy | RefusalCode::WritingEnded) {
            // Nobody knows whether they were taken: they stay.
            out.push(Output::Refused(refusal));
        } else {
            self.state = State::Refusing(refusal);
            out.push(Output::LoadProject);
        }
    }
}

fn busy() -> Refusal {
    refuse(RefusalCode::Busy, RulePack::default())
}
