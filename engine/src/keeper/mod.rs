//! The keeper: one state, one stream, one append in flight. Sans-IO.
//!
//! The shell feeds [`Input`]s and carries out [`Output`]s. An ask is decided at once, on the state
//! that includes everything decided before it, durable or not, so two commands can never both see
//! the same free place. What was decided while an append is in flight goes into the next batch.
//! Every answer, a refusal too, waits until all it rests on is durable; answers leave in the order
//! the asks came. [`Keeper::committed`] shows durable state only.
//!
//! A failed append means *unknown*: the keeper stops, the shell starts a new one by replay. Nothing
//! is guessed.

mod commands;
mod side;

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
};

use self::commands::Commands;
pub use self::side::{SideSpace, SideWrite};
use crate::{
    planted::{Planted, planted},
    refusals::refuse,
    rules::RulePack,
};
use kaibiao_protocol::{
    digest::Digest,
    ids::CommandId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::Asker,
};

/// Rules that a keeper runs: pure functions over one state.
pub trait Machine: 'static {
    /// What is so. Cloning should cost little: the shell holds snapshots.
    type State: Clone + Default + Send + Sync + 'static;
    /// What can be told.
    type Command: Send + 'static;
    /// What can have happened.
    type Event: Clone + Send + Sync + 'static;

    /// What the command means now; changes nothing. No events: it was so already.
    ///
    /// # Errors
    /// A refusal is a normal answer.
    fn decide(
        state: &Self::State,
        command: &Self::Command,
        asker: &Asker,
        at: Moment,
    ) -> Result<Vec<Self::Event>, Refusal>;

    /// Makes the event true. Cannot fail: what `decide` let through fits.
    fn apply(state: &mut Self::State, event: &Self::Event, at: Moment);

    /// The next instant at which the platform should look at this state by itself. A past instant
    /// means at once.
    fn wake_at(state: &Self::State) -> Option<Moment>;

    /// What a command is about, where its first answer must be given again however much later
    /// (an upload). Used only where `decide` finds that there is nothing to do.
    fn about(_command: &Self::Command) -> Option<Subject> {
        None
    }

    /// The same of an event.
    fn settles(_event: &Self::Event) -> Option<Subject> {
        None
    }
}

/// What a lasting answer is about: an id of 16 bytes.
pub type Subject = [u8; 16];

/// The most records one batch holds, unless a single command yields more.
pub const BATCH_MAX: usize = 512;
/// The most asks that wait for their answer at a keeper; the next is told `busy`.
/// As many as finals may be in work at the deadline, and some besides.
pub const WAITING_MAX: usize = 20_480;
/// How many of the last command ids a keeper remembers; more than wait for their answer.
pub const COMMAND_IDS_MAX: usize = 32_768;

/// Names an ask between shell and keeper.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AskNo(pub u64);

/// A command with who gives it and when it came in.
pub struct Ask<M: Machine> {
    /// The shell's name for it.
    pub no: AskNo,
    /// The sender's name for it: decided before under this id, it gets its first answer. Whoever
    /// makes these ids sees to it that two senders never share one.
    pub command_id: Option<CommandId>,
    /// Who.
    pub asker: Asker,
    /// The stamp: when it came in, not when it is decided.
    pub at: Moment,
    /// What.
    pub command: M::Command,
    /// Written in the same transaction if the command yields a record, else dropped.
    pub side: Vec<SideWrite>,
}

/// What the shell tells the keeper.
pub enum Input<M: Machine> {
    /// A command came.
    Ask(Ask<M>),
    /// The batch in flight is durable.
    Appended {
        /// The position of its last record.
        last_seq: u64,
        /// The hash of each of its records.
        hashes: Vec<Digest>,
    },
    /// The append failed, or nobody can say whether it did not.
    AppendFailed,
    /// Nothing of the batch was written, for certain: another writer was there first, or the
    /// journal would not take it.
    AppendRefused,
}

/// What the keeper tells the shell.
pub enum Output<M: Machine> {
    /// Store this; then say [`Input::Appended`] or [`Input::AppendFailed`].
    Append(Batch<M>),
    /// Answer an ask.
    Answer {
        /// Which.
        no: AskNo,
        /// How.
        answer: Result<Done, Refusal>,
    },
    /// These records are durable and committed. A hint: whoever must not miss one reads the journal.
    Publish {
        /// The position of the first.
        first_seq: u64,
        /// The records in order.
        records: Vec<Recorded<M::Event>>,
    },
    /// The keeper has stopped; start a new one by replay.
    Stopped,
}

/// Records to be stored together or not at all.
pub struct Batch<M: Machine> {
    /// The position of the last durable record; 0 where there is none.
    pub expected_seq: u64,
    /// The records in order.
    pub records: Vec<NewRecord<M::Event>>,
    /// When to look at the project next, once this batch is durable.
    pub wake_at: Option<Moment>,
    /// What else is written in the same transaction.
    pub side: Vec<SideWrite>,
}

/// A record to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRecord<E> {
    /// The stamp of the command.
    pub at: Moment,
    /// What happened.
    pub event: E,
    /// The command's id; every record of one command carries it.
    pub command_id: Option<CommandId>,
}

/// A durable record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded<E> {
    /// Its position in the stream, from 1.
    pub seq: u64,
    /// The stamp of the command.
    pub at: Moment,
    /// What happened.
    pub event: E,
    /// Its hash in the chain.
    pub hash: Digest,
}

/// A command was carried out, or what it asks was so already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// The stamp of the command that did it.
    pub at: Moment,
    /// The position of its first record; without records, of the last record the answer rests on.
    pub first_seq: u64,
    /// The hashes of its own records in order; none where nothing had to be recorded.
    pub hashes: Vec<Digest>,
}

/// Keeps one state and its stream.
pub struct Keeper<M: Machine> {
    /// Durable.
    committed: Arc<M::State>,
    /// Durable, in flight and decided since.
    speculative: M::State,
    /// The position of the last durable record.
    last_seq: u64,
    /// In flight, in the order the asks came; empty: no append is in flight.
    flight: VecDeque<Entry<M>>,
    /// Decided and waiting for the next batch.
    waiting: VecDeque<Entry<M>>,
    commands: Commands,
    subjects: BTreeMap<Subject, Done>,
    stopped: bool,
}

/// A decided ask whose answer waits.
struct Entry<M: Machine> {
    no: AskNo,
    at: Moment,
    outcome: Outcome<M>,
}

enum Outcome<M: Machine> {
    /// Yields records.
    Records {
        records: Vec<NewRecord<M::Event>>,
        side: Vec<SideWrite>,
        /// When to look again after these records.
        wake_at: Option<Moment>,
    },
    /// Was so already.
    Nothing {
        about: Option<Subject>,
    },
    /// The same command came before.
    Again(CommandId),
    Refused(Refusal),
}

impl<M: Machine> Default for Keeper<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Machine> Keeper<M> {
    /// A keeper of an empty stream.
    pub fn new() -> Self {
        Keeper {
            committed: Arc::default(),
            speculative: M::State::default(),
            last_seq: 0,
            flight: VecDeque::new(),
            waiting: VecDeque::new(),
            commands: Commands::default(),
            subjects: BTreeMap::new(),
            stopped: false,
        }
    }

    /// Takes in one stored record, at the start, in the order of the stream.
    ///
    /// # Panics
    /// If `seq` is not the next position, or asks were taken already: a stream with a gap gives a
    /// state that never was.
    pub fn replay(
        &mut self,
        seq: u64,
        at: Moment,
        event: M::Event,
        command_id: Option<CommandId>,
        hash: Digest,
    ) {
        assert_eq!(seq, self.last_seq + 1, "records are replayed in order and without a gap");
        assert!(self.flight.is_empty() && self.waiting.is_empty(), "replay comes before the first ask");
        M::apply(&mut self.speculative, &event, at);
        self.commit(seq, at, &event, command_id, hash);
    }

    /// The durable state.
    pub fn committed(&self) -> &M::State {
        &self.committed
    }

    /// The durable state, to keep: it does not change when the keeper goes on.
    pub fn snapshot(&self) -> Arc<M::State> {
        Arc::clone(&self.committed)
    }

    /// The position of the last durable record.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// How many asks wait for their answer.
    pub fn waiting(&self) -> usize {
        self.flight.len() + self.waiting.len()
    }

    /// Whether the keeper has stopped after a failed append.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Takes one input and says what to do, in this order.
    ///
    /// # Panics
    /// On an [`Input::Appended`] that does not fit the batch in flight: the shell mixed up two
    /// streams, and whatever was answered now would be wrong.
    pub fn handle(&mut self, input: Input<M>, out: &mut Vec<Output<M>>) {
        match input {
            Input::Ask(ask) => self.ask(ask, out),
            Input::Appended { last_seq, hashes } => self.appended(last_seq, hashes, out),
            // Whether the batch in flight is there after all, only replay can tell.
            Input::AppendFailed => self.stop(RefusalCode::WritingEnded, out),
            Input::AppendRefused => self.stop(RefusalCode::Busy, out),
        }
    }

    fn ask(&mut self, ask: Ask<M>, out: &mut Vec<Output<M>>) {
        let Ask { no, command_id, asker, at, command, side } = ask;
        if self.stopped || self.waiting() >= WAITING_MAX {
            out.push(Output::Answer { no, answer: Err(refuse(RefusalCode::Busy, RulePack::default())) });
            return;
        }
        let again = command_id.filter(|id| self.commands.knows(id));
        let state = if planted(Planted::DecideOnCommitted) { &*self.committed } else { &self.speculative };
        let outcome = match again {
            Some(id) => Outcome::Again(id),
            None => match M::decide(state, &command, &asker, at) {
                Ok(events) if events.is_empty() => Outcome::Nothing { about: M::about(&command) },
                Ok(events) => self.take(events, at, command_id, side),
                Err(refusal) => Outcome::Refused(refusal),
            },
        };
        self.waiting.push_back(Entry { no, at, outcome });
        if self.flight.is_empty() {
            self.advance(out);
        }
    }

    /// Makes decided events part of what the next command is decided on.
    fn take(
        &mut self,
        events: Vec<M::Event>,
        at: Moment,
        command_id: Option<CommandId>,
        side: Vec<SideWrite>,
    ) -> Outcome<M> {
        for event in &events {
            M::apply(&mut self.speculative, event, at);
        }
        if let Some(id) = command_id {
            self.commands.note_pending(id);
        }
        let records = events.into_iter().map(|event| NewRecord { at, event, command_id }).collect();
        Outcome::Records { records, side, wake_at: M::wake_at(&self.speculative) }
    }

    fn appended(&mut self, last_seq: u64, hashes: Vec<Digest>, out: &mut Vec<Output<M>>) {
        if self.stopped {
            return;
        }
        let flight = mem::take(&mut self.flight);
        assert!(!flight.is_empty(), "only a batch in flight can become durable");
        let first_seq = self.last_seq + 1;
        let mut published = Vec::with_capacity(hashes.len());
        let lost = planted(Planted::LastEventLost);
        let mut hashes = hashes.into_iter();
        for Entry { no, at, outcome } in flight {
            let answer = match outcome {
                Outcome::Records { records, .. } => {
                    let mut done = Done { at, first_seq: self.last_seq + 1, hashes: Vec::new() };
                    for record in records {
                        let hash = hashes.next().or(lost.then_some(Digest([0; 32])));
                        let hash = hash.expect("the journal hashes every record of a batch");
                        let seq = self.last_seq + 1;
                        self.commit(seq, record.at, &record.event, record.command_id, hash);
                        done.hashes.push(hash);
                        published.push(Recorded { seq, at: record.at, event: record.event, hash });
                    }
                    if planted(Planted::AnswerBeforeAppend) {
                        continue;
                    }
                    Ok(done)
                }
                other => self.answer(at, other),
            };
            out.push(Output::Answer { no, answer });
        }
        if lost {
            self.last_seq = last_seq;
        }
        assert_eq!(last_seq, self.last_seq, "the batch in flight is the one that became durable");
        out.push(Output::Publish { first_seq, records: published });
        self.advance(out);
    }

    /// One record is durable.
    fn commit(
        &mut self,
        seq: u64,
        at: Moment,
        event: &M::Event,
        command_id: Option<CommandId>,
        hash: Digest,
    ) {
        M::apply(Arc::make_mut(&mut self.committed), event, at);
        self.last_seq = seq;
        if let Some(subject) = M::settles(event) {
            self.subjects.entry(subject).or_insert_with(|| Done { at, first_seq: seq, hashes: vec![hash] });
        }
        if let Some(id) = command_id {
            self.commands.note_record(id, at, seq, hash);
        }
    }

    /// The answer of an ask without records of its own.
    fn answer(&self, at: Moment, outcome: Outcome<M>) -> Result<Done, Refusal> {
        let first = match outcome {
            Outcome::Records { .. } => None,
            Outcome::Nothing { about } => about.and_then(|subject| self.subjects.get(&subject)).cloned(),
            Outcome::Again(id) => self.commands.done(&id).cloned(),
            Outcome::Refused(refusal) => return Err(refusal),
        };
        Ok(first.unwrap_or(Done { at, first_seq: self.last_seq, hashes: Vec::new() }))
    }

    /// Answers what rests on durable records only, and sends the next batch.
    fn advance(&mut self, out: &mut Vec<Output<M>>) {
        while let Some(entry) = self.waiting.pop_front_if(|entry| !entry.has_records()) {
            let answer = self.answer(entry.at, entry.outcome);
            out.push(Output::Answer { no: entry.no, answer });
        }
        let mut batch =
            Batch { expected_seq: self.last_seq, records: Vec::new(), wake_at: None, side: Vec::new() };
        while let Some(mut entry) = self.waiting.pop_front() {
            if let Outcome::Records { records, side, wake_at } = &mut entry.outcome {
                if !batch.records.is_empty() && batch.records.len() + records.len() > BATCH_MAX {
                    self.waiting.push_front(entry);
                    break;
                }
                batch.records.extend(records.iter().cloned());
                batch.side.append(side);
                batch.wake_at = *wake_at;
            }
            self.flight.push_back(entry);
        }
        if !self.flight.is_empty() {
            if planted(Planted::AnswerBeforeAppend) {
                self.answer_early(out);
            }
            if planted(Planted::LastEventLost) && batch.records.len() > 1 {
                batch.records.pop();
            }
            out.push(Output::Append(batch));
        }
    }

    /// [`Planted::AnswerBeforeAppend`].
    fn answer_early(&self, out: &mut Vec<Output<M>>) {
        let mut seq = self.last_seq;
        for entry in &self.flight {
            let Outcome::Records { records, .. } = &entry.outcome else { continue };
            let done = Done { at: entry.at, first_seq: seq + 1, hashes: Vec::new() };
            seq += records.len() as u64;
            out.push(Output::Answer { no: entry.no, answer: Ok(done) });
        }
    }

    fn stop(&mut self, in_flight: RefusalCode, out: &mut Vec<Output<M>>) {
        if mem::replace(&mut self.stopped, true) {
            return;
        }
        let mut tell = |entry: Entry<M>, code| {
            out.push(Output::Answer { no: entry.no, answer: Err(refuse(code, RulePack::default())) });
        };
        mem::take(&mut self.flight).into_iter().for_each(|entry| tell(entry, in_flight));
        // Never sent, so certainly not stored: they may simply be asked again.
        mem::take(&mut self.waiting).into_iter().for_each(|entry| tell(entry, RefusalCode::Busy));
        out.push(Output::Stopped);
    }
}

impl<M: Machine> Entry<M> {
    fn has_records(&self) -> bool {
        matches!(self.outcome, Outcome::Records { .. })
    }
}
