//! One opening, from the first order to the signed record. Sans-IO.
//!
//! A shell feeds [`OpeningInput`]s and carries out [`OpeningOutput`]s; [`Opening`] decides on
//! committed state alone and remembers only what is in hand. So it may die at any point: a new one
//! looks at the same state, orders a key of its own, asks only for keys that were not acknowledged,
//! and goes on.
//!
//! It holds every bid sheet back until all bids are settled. Secrets stay with the shell: the order's
//! one-time key, the part keys, the bids being read. The core names them by order and by bid.

mod machine;

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_protocol::{
    bid::{Evidence, FailureCause, PartName},
    command::ProjectCommand,
    digest::Digest,
    ids::{BidId, LotNo, ProjectId},
    moment::Moment,
    record::BidSheet,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor, Role},
};

pub use self::machine::Opening;
use crate::{
    keeper::{Done, Machine},
    planted::{Planted, planted},
    project::{Bid, Project, ProjectMachine, REASON_CHARS_MAX},
    refusals::refuse,
    rules::RulePack,
};

/// How long an opening gathers what happens before it looks at its state again, in milliseconds: a
/// room of hundreds has hundreds of verdicts in the same instant, and a look goes over every bid.
pub const LOOK_TOGETHER_MS: i64 = 2;
/// How long before what was refused is tried again, in milliseconds.
pub const RETRY_MS: i64 = 100;
/// How often the shell says [`OpeningInput::Beat`], in milliseconds: an outage is known this exactly.
pub const BEAT_MS: i64 = 2_000;

/// The sheets of one bid.
pub type Sheets = BTreeMap<LotNo, BidSheet>;

/// A failed unsealing, ready to be recorded. Never names content: it reaches people before the
/// barrier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Why, by name.
    pub cause: FailureCause,
    /// What was seen.
    pub evidence: Evidence,
}

impl Failure {
    /// A failure without digests.
    pub fn new(cause: FailureCause, seen: impl std::fmt::Display) -> Self {
        Self { cause, evidence: Evidence { seen: shortened(&seen.to_string()), expected: None, found: None } }
    }

    /// A failure seen by comparing digests.
    pub fn digests(
        cause: FailureCause,
        seen: impl std::fmt::Display,
        expected: Digest,
        found: Digest,
    ) -> Self {
        let mut failure = Self::new(cause, seen);
        failure.evidence.expected = Some(expected);
        failure.evidence.found = Some(found);
        failure
    }

    /// The platform itself did not bring the work to its end.
    fn lost() -> Self {
        Failure::new(FailureCause::PlatformFault, "the platform lost the bid's unsealing")
    }
}

/// One line of at most as many characters as are recorded.
pub fn shortened(seen: &str) -> String {
    seen.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(REASON_CHARS_MAX).collect()
}

/// The shell's name for an envelope on its way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EnvelopeNo(pub u64);

/// Keys that a supplier hands over, without the keys: those stay in the shell under `no`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeysOffered {
    /// The shell's name for the envelope.
    pub no: EnvelopeNo,
    /// For which bid.
    pub bid: BidId,
    /// Which order they answer.
    pub epoch: u32,
    /// Whether they come from the backup bid.
    pub by_backup: bool,
    /// Who hands them over.
    pub asker: Asker,
    /// When they arrived.
    pub at: Moment,
}

/// How opening an envelope, and holding each key against its commitment, ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EnvelopeEnd {
    /// Every key fits. The shell keeps what it needs to go on.
    Fits,
    /// It is not for this order and bid; nobody's failure.
    NotForThisOrder,
    /// The keys or the stored bytes are wrong.
    Failed(Failure),
    /// There was no room for the work, or it got lost: the supplier's client sends again.
    NoRoom,
}

/// How work on a bid ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended<T> {
    /// Done.
    Whole(T),
    /// The bid failed.
    Failed(Failure),
    /// The work died of a bug. (Work that ends with the whole process is not told at all: the next
    /// start takes it up.)
    Lost,
}

/// A step whose end the shell tells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OpeningStep {
    /// Keys are being kept.
    Accept(EnvelopeNo),
    /// The verdict on a bid is being recorded.
    Report(BidId),
    /// The record is being published.
    Publish,
    /// The record is being signed.
    Sign,
}

/// What the shell tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpeningInput {
    /// Time to look: first of all, and after each [`OpeningOutput::After`] that says so.
    Look,
    /// Records of the project became durable.
    Recorded,
    /// [`BEAT_MS`] went by.
    Beat,
    /// The order that was to be issued is in force under this epoch, or was refused.
    OrderEnded(Result<u32, Refusal>),
    /// An envelope came.
    KeysArrived(KeysOffered),
    /// An envelope was opened.
    EnvelopeOpened {
        /// Which.
        no: EnvelopeNo,
        /// How that ended.
        end: EnvelopeEnd,
    },
    /// A bid whose keys are kept was opened with them.
    KeptOpened {
        /// Which.
        bid: BidId,
        /// How that ended.
        end: Ended<()>,
    },
    /// Every chunk of a bid was checked, and its sheets were read.
    Checked {
        /// Which.
        bid: BidId,
        /// How that ended.
        end: Ended<Sheets>,
    },
    /// The sheets of a bid that was reported unsealed earlier were read.
    SheetsRead {
        /// Which.
        bid: BidId,
        /// How that ended.
        end: Ended<Sheets>,
    },
    /// A command was answered.
    Told {
        /// Of which step.
        step: OpeningStep,
        /// How.
        told: Result<Done, Refusal>,
    },
    /// The time of [`OpeningOutput::After`] is over.
    Later(Later),
}

/// What was put off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Later {
    /// A look.
    Look,
    /// Recording the verdict on a bid, which met a busy platform.
    Report(BidId),
}

/// What the shell is to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpeningOutput {
    /// Draw a one-time key and ask `IssueOrder` with an order over it ([`order_facts`]); then say
    /// [`OpeningInput::OrderEnded`]. An order is issued once: its key lives in this process only, so
    /// its command has no derived name.
    IssueOrder {
        /// Which time is given back.
        outage: Outage,
    },
    /// Open this envelope with the one-time key of the order in force and hold every key against its
    /// commitment; then say [`OpeningInput::EnvelopeOpened`].
    OpenEnvelope {
        /// Which.
        no: EnvelopeNo,
        /// For which bid.
        bid: BidId,
        /// The parts whose keys are in it, in order.
        parts: Vec<PartName>,
    },
    /// Read a bid's kept keys and open it with them; then say [`OpeningInput::KeptOpened`].
    OpenKept {
        /// Which.
        bid: BidId,
        /// The parts being opened.
        parts: Vec<PartName>,
    },
    /// Check every chunk of a bid that was opened and read its sheets; then say
    /// [`OpeningInput::Checked`].
    Check {
        /// Which.
        bid: BidId,
    },
    /// Read a bid's kept keys, open it with them and read its sheets; then say
    /// [`OpeningInput::SheetsRead`].
    ReadSheets {
        /// Which.
        bid: BidId,
        /// The parts being opened.
        parts: Vec<PartName>,
    },
    /// Give this command to the project as the opening; then say [`OpeningInput::Told`].
    Ask(Box<OpeningAsk>),
    /// Sign the published record and ask `SignRecord`, under this name; then say
    /// [`OpeningInput::Told`] of [`OpeningStep::Sign`].
    Sign(CommandName),
    /// Answer who handed an envelope over, and let go of it.
    Answer {
        /// Which.
        no: EnvelopeNo,
        /// How.
        answer: Result<Done, Refusal>,
    },
    /// The opening is served, and every outage before is given back: from now on windows may elapse.
    /// Have the project looked at, for an end may have been waiting for this.
    Ready,
    /// Note, durably but without waiting, that the opening is served at this moment.
    NoteServed(Moment),
    /// A failure is about to be recorded: for logs and figures.
    NoteFailure {
        /// Of which bid.
        bid: BidId,
        /// Why.
        failure: Failure,
    },
    /// Say [`OpeningInput::Later`] after so many milliseconds.
    After {
        /// How many.
        ms: i64,
        /// What.
        what: Later,
    },
    /// The record is signed, or there is nothing to open: this opening is done and goes.
    End,
}

/// Which time an order gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outage {
    /// None: it is the first order, and opens the window.
    None,
    /// Since this moment.
    Since(Moment),
    /// Since the last moment that was noted by [`OpeningOutput::NoteServed`] or by an order, whoever
    /// noted it.
    AsNoted,
}

/// A command for the project.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpeningAsk {
    /// Of which step. [`OpeningStep::Accept`]: the keys of that envelope are kept by the same append.
    pub step: OpeningStep,
    /// Its name, so that it is carried out once.
    pub name: CommandName,
    /// Its stamp; none: when it is given.
    pub at: Option<Moment>,
    /// First wait until every envelope that is on its way now has its answer.
    pub after_envelopes: bool,
    /// The command.
    pub command: ProjectCommand,
}

/// Who asks.
pub const ASKER: Asker = Asker::Platform { reactor: Reactor::Opening };

/// The name of a command of the opening: what it is about, and the position of the record it reacts
/// to. The command id is a digest of [`Self::pieces`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CommandName {
    /// What.
    pub what: String,
    /// About which bid.
    pub bid: Option<BidId>,
    /// After which record.
    pub seq: u64,
}

impl CommandName {
    pub(super) fn new(what: impl Into<String>, bid: Option<BidId>, seq: u64) -> Self {
        Self { what: what.into(), bid, seq }
    }

    /// What the command id is derived from, in this order.
    pub fn pieces(&self, project: &ProjectId) -> [Vec<u8>; 5] {
        [
            b"opening".to_vec(),
            project.as_str().as_bytes().to_vec(),
            self.what.as_bytes().to_vec(),
            self.bid.map_or([0; 16], |bid| bid.0).to_vec(),
            self.seq.to_be_bytes().to_vec(),
        ]
    }
}

/// What an order issued at a given moment says, besides its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderFacts {
    /// Its epoch.
    pub epoch: u32,
    /// The lots being opened.
    pub lots: BTreeSet<LotNo>,
    /// When its time ends.
    pub window_closes_at: Moment,
}

/// What an order issued at `at` must say for the engine to take it.
///
/// # Errors
/// The refusal that the order would meet for its phase.
pub fn order_facts(project: &Project, at: Moment, down_since: Option<Moment>) -> Result<OrderFacts, Refusal> {
    let opened = project.lots().into_iter().flatten().filter(|(_, count)| count.opens);
    let raised = project.order().is_none() || !planted(Planted::EpochNotRaised);
    Ok(OrderFacts {
        epoch: project.order().map_or(0, |order| order.epoch) + u32::from(raised),
        lots: opened.map(|(lot, _)| *lot).collect(),
        window_closes_at: project.order_window(at, down_since)?,
    })
}

/// The bid, if it is the asker's own.
///
/// # Errors
/// `no_such_bid`.
pub fn own_bid<'a>(project: &'a Project, bid: &BidId, asker: &Asker) -> Result<&'a Bid, Refusal> {
    let own = |bid: &&Bid| match asker {
        Asker::Person { organisation, role: Role::Supplier, .. } => *organisation == bid.facts.supplier,
        Asker::Person { .. } | Asker::Platform { .. } => false,
    };
    project.bid(bid).filter(own).ok_or_else(|| refused(RefusalCode::NoSuchBid))
}

/// Whether keys would be taken, judged by the stamp of their arrival.
///
/// # Errors
/// The refusal they would meet.
pub fn would_accept(
    project: &Project,
    bid: BidId,
    epoch: u32,
    by_backup: bool,
    at: Moment,
) -> Result<(), Refusal> {
    let command = ProjectCommand::AcceptKeys { bid, epoch, by_backup };
    ProjectMachine::decide(project, &command, &ASKER, at).map(drop)
}

fn refused(code: RefusalCode) -> Refusal {
    refuse(code, RulePack::default())
}
