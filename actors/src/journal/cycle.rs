//! The commit cycle: how appends that wait become durable together, and when they may be answered.
//!
//! A core without thread, file or clock. The shell gathers a group, then calls [`Cycle::step`] until the
//! group is done; each step is one thing asked of the disk, so that a simulated world can crash between any
//! two of them. The order is that of `docs/formats/journal.md`, section 4: records and commit, the head of
//! the group before durable, the head of this group written, its sync begun, and only then the answers.
//!
//! After a failed commit or sync nothing is tried again: what the disk holds is unknown, and writing ends.

use std::collections::HashMap;

use kaibiao_engine::{
    keeper::SideWrite,
    planted::{Planted, planted},
};
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::chain::{CHAIN_START, ChainedRecord, chain_hash};

use super::{Append, AppendFault, Appended, Stream, WritingEnd, head::Mark};

/// Records after which a group is committed, however many appends still wait.
const GROUP_RECORDS_MAX: usize = 1_024;
/// Bytes after which a group is committed.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Streams whose last record is remembered; with more, all are forgotten and looked up anew.
const TAILS_MAX: usize = 65_536;

/// What becomes of one append.
pub(super) type Outcome = Result<Appended, AppendFault>;

/// Where the records lie. One transaction at a time, from `begin` to `commit` or `roll_back`.
pub(super) trait Store {
    /// Begins a transaction.
    fn begin(&mut self) -> Result<(), StoreFault>;

    /// Whether the last epoch begun is this process's own.
    fn is_ours(&mut self) -> Result<bool, StoreFault>;

    /// The last record of a stream, as committed.
    fn tail(&mut self, stream: &Stream, name: &str) -> Result<Tail, StoreFault>;

    /// Tells that the records of one append follow.
    fn place(&mut self, placed: Placed);

    /// Writes a record.
    fn insert(&mut self, row: &Row<'_>) -> Result<(), StoreFault>;

    /// Notes when a stream wants to be woken; `None`: not at all.
    fn wake(&mut self, stream: &Stream, name: &str, at: Option<Moment>) -> Result<(), StoreFault>;

    /// Changes the side table.
    fn side(&mut self, write: &SideWrite) -> Result<(), StoreFault>;

    /// Makes the transaction durable. [`Commit::Goes`] where a store does that in more than one step: it is
    /// asked again.
    fn commit(&mut self) -> Result<Commit, StoreFault>;

    /// Takes the transaction back; whether it is undone and the store is fit for the next one.
    fn roll_back(&mut self) -> bool;
}

/// Where the head is kept; at most one sync is under way.
pub(super) trait HeadSlots {
    /// Writes into the older slot; durable only after a sync.
    fn write(&mut self, mark: &Mark) -> Result<(), String>;

    /// Begins a sync of what was written. The one before has been waited for.
    fn begin_sync(&mut self);

    /// Waits for the sync under way, if any; its fault means that what the disk holds is unknown.
    fn wait_sync(&mut self) -> Result<(), String>;
}

/// How far a commit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Commit {
    /// Durable.
    Done,
    /// Not yet: ask again.
    #[cfg_attr(not(feature = "practice"), expect(dead_code, reason = "SQLite commits in one step"))]
    Goes,
}

/// Why a store did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum StoreFault {
    /// The disk is full, and was found so before any sync.
    NoRoom(String),
    /// Anything else.
    Failed(String),
}

/// A record on its way to the store.
pub(super) struct Row<'a> {
    pub(super) position: u64,
    pub(super) chained: ChainedRecord<'a>,
    pub(super) hash: Digest,
}

/// The records of one append: side by side in their stream and among all records.
pub(super) struct Placed {
    pub(super) stream: Stream,
    pub(super) first_seq: u64,
    pub(super) first_position: u64,
    pub(super) count: u64,
}

/// A stream's last record, and its wake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tail {
    pub(super) seq: u64,
    pub(super) hash: Digest,
    pub(super) wake_at: Option<Moment>,
}

impl Tail {
    /// The tail of an empty stream.
    pub(super) const START: Tail = Tail { seq: 0, hash: CHAIN_START, wake_at: None };
}

/// How much a group still takes.
#[derive(Default)]
pub(super) struct Gathered {
    records: usize,
    bytes: usize,
}

impl Gathered {
    /// Counts one more append; whether the group takes another.
    pub(super) fn take(&mut self, append: &Append) -> bool {
        self.records += append.records.len();
        self.bytes += append.bytes();
        self.records < GROUP_RECORDS_MAX && self.bytes < GROUP_BYTES_MAX
    }
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// The group goes on; what was done is told.
    Goes(
        #[cfg_attr(
            not(feature = "practice"),
            expect(dead_code, reason = "only a simulated world stops between steps")
        )]
        Did,
    ),
    /// The group is durable, or certainly not written: each of its appends may be told its outcome.
    Done,
    /// It is unknown what of the group is durable. Nothing more may be written in this process.
    Ended(WritingEnd),
}

/// What a step that does not end the group did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Did {
    /// The rows are in the open transaction.
    Wrote,
    /// A part of the commit is done, and nothing of it durable for certain.
    Committing,
    /// The transaction is durable.
    Committed,
    /// The head of the group before is durable.
    HeadSynced,
    /// The head of this group is written and its sync begun.
    HeadWritten,
}

/// What comes next of the group in hand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Write,
    Commit,
    AwaitHead,
    WriteHead,
    Answer,
}

/// The cycle.
pub(super) struct Cycle {
    stage: Stage,
    /// All that is committed, and what the group in hand adds.
    mark: Mark,
    /// The mark before the group in hand.
    before: Mark,
    /// The last record of each stream written lately, as of the transaction in hand.
    tails: HashMap<Stream, Tail>,
    outcomes: Vec<Outcome>,
}

/// Why the rows of a group were not written.
enum WriteFault {
    Store(StoreFault),
    Superseded,
}

impl From<StoreFault> for WriteFault {
    fn from(fault: StoreFault) -> Self {
        WriteFault::Store(fault)
    }
}

impl Cycle {
    /// A cycle that goes on from a journal that was checked up to `mark`.
    pub(super) fn new(mark: Mark) -> Self {
        Self { stage: Stage::Write, mark, before: mark, tails: HashMap::new(), outcomes: Vec::new() }
    }

    /// All that is committed; within a group, what it adds too.
    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// How many records the group just done has added.
    pub(super) fn records_added(&self) -> u64 {
        self.mark.head.position - self.before.head.position
    }

    /// The outcomes of the group just done, one for each of its appends, in order.
    pub(super) fn outcomes(&mut self) -> std::vec::Drain<'_, Outcome> {
        self.outcomes.drain(..)
    }

    /// Goes one step on with `group`, which stays the same until it is [`Step::Done`].
    pub(super) fn step<J: AsRef<Append>>(
        &mut self,
        group: &[J],
        store: &mut impl Store,
        head: &mut impl HeadSlots,
    ) -> Step {
        match self.stage {
            Stage::Write => self.write(group, store, head),
            Stage::Commit => match store.commit() {
                Ok(Commit::Goes) => Step::Goes(Did::Committing),
                Ok(Commit::Done) => self.goes(Stage::AwaitHead, Did::Committed),
                Err(_) if planted(Planted::FailedSyncRetried) => Step::Goes(Did::Committing),
                Err(fault) => self.not_committed(group.len(), store, fault),
            },
            // The head of the group before became durable meanwhile, or nobody is told anything more.
            Stage::AwaitHead => match head.wait_sync() {
                Ok(()) => self.goes(Stage::WriteHead, Did::HeadSynced),
                Err(fault) => ended(format!("a sync of the head failed: {fault}")),
            },
            Stage::WriteHead => {
                if self.mark != self.before && !planted(Planted::HeadNotWritten) {
                    if let Err(fault) = head.write(&self.mark) {
                        return ended(fault);
                    }
                    head.begin_sync();
                }
                self.goes(Stage::Answer, Did::HeadWritten)
            }
            Stage::Answer => {
                self.stage = Stage::Write;
                Step::Done
            }
        }
    }

    fn goes(&mut self, stage: Stage, did: Did) -> Step {
        self.stage = stage;
        Step::Goes(did)
    }

    fn write<J: AsRef<Append>>(
        &mut self,
        group: &[J],
        store: &mut impl Store,
        head: &mut impl HeadSlots,
    ) -> Step {
        self.before = self.mark;
        self.outcomes.clear();
        if self.tails.len() + group.len() > TAILS_MAX {
            self.tails.clear();
        }
        match self.write_rows(group, store) {
            Ok(()) => {
                if planted(Planted::HeadBeforeRecords) {
                    let _ = head.write(&self.mark);
                    head.begin_sync();
                    let _ = head.wait_sync();
                }
                self.goes(Stage::Commit, Did::Wrote)
            }
            Err(WriteFault::Superseded) => {
                store.roll_back();
                Step::Ended(WritingEnd::Superseded)
            }
            Err(WriteFault::Store(fault)) => self.not_committed(group.len(), store, fault),
        }
    }

    fn write_rows<J: AsRef<Append>>(
        &mut self,
        group: &[J],
        store: &mut impl Store,
    ) -> Result<(), WriteFault> {
        store.begin()?;
        if !store.is_ours()? {
            return Err(WriteFault::Superseded);
        }
        for job in group {
            let append = job.as_ref();
            let written = if append.records.is_empty() {
                Ok(Appended { last_seq: 0, hashes: Vec::new() })
            } else {
                self.write_records(append, store)?
            };
            if written.is_ok() {
                for write in &append.side {
                    store.side(write)?;
                }
            }
            self.outcomes.push(written);
        }
        Ok(())
    }

    /// Writes the records of one append, unless its stream ends elsewhere than expected.
    fn write_records(&mut self, append: &Append, store: &mut impl Store) -> Result<Outcome, StoreFault> {
        let name = append.stream.to_string();
        let tail = match self.tails.get_mut(&append.stream) {
            Some(tail) => tail,
            None => {
                let tail = store.tail(&append.stream, &name)?;
                self.tails.entry(append.stream.clone()).or_insert(tail)
            }
        };
        if tail.seq != append.expected_seq {
            return Ok(Err(AppendFault::Conflict { found: tail.seq }));
        }
        store.place(Placed {
            stream: append.stream.clone(),
            first_seq: tail.seq + 1,
            first_position: self.mark.head.position + 1,
            count: append.records.len() as u64,
        });
        let mut hashes = Vec::with_capacity(append.records.len());
        for record in &append.records {
            let chained = ChainedRecord {
                stream: &name,
                seq: tail.seq + 1,
                at: record.at,
                kind: record.kind,
                version: record.version,
                command_id: record.command_id,
                payload: &record.payload,
            };
            let hash = chain_hash(&tail.hash, &chained);
            let after = self.mark.after(&hash, record.at);
            (tail.seq, tail.hash, self.mark) = (chained.seq, hash, after);
            store.insert(&Row { position: after.head.position, chained, hash })?;
            hashes.push(hash);
        }
        if tail.wake_at != append.wake_at {
            store.wake(&append.stream, &name, append.wake_at)?;
            tail.wake_at = append.wake_at;
        }
        Ok(Ok(Appended { last_seq: tail.seq, hashes }))
    }

    /// A full disk is found before the sync: the store has taken nothing of the group, and says so. After
    /// anything else it is unknown what the disk holds.
    fn not_committed(&mut self, appends: usize, store: &mut impl Store, fault: StoreFault) -> Step {
        match fault {
            StoreFault::NoRoom(_) if store.roll_back() => {
                tracing::error!(appends, "the disk has no room for the journal");
                self.mark = self.before;
                self.tails.clear();
                self.outcomes.clear();
                self.outcomes.resize(appends, Err(AppendFault::NoRoom));
                self.stage = Stage::Write;
                Step::Done
            }
            StoreFault::NoRoom(fault) | StoreFault::Failed(fault) => {
                ended(format!("a commit failed: {fault}"))
            }
        }
    }
}

fn ended(why: String) -> Step {
    Step::Ended(WritingEnd::Failed(why))
}
