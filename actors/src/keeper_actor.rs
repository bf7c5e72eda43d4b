//! The shell around an engine keeper, the same for projects and for the directory: it stamps nothing and decides
//! nothing, it carries the keeper's outputs out.
//!
//! An ask is decided at once, in the handler that received it, on the keeper's own state: nothing is awaited
//! between reading the state and deciding, so asks cannot overtake each other. What is awaited is the journal,
//! and its answer comes back as an input like any other.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, fut::wrap_future};
use kaibiao_engine::{
    directory::DirectoryMachine,
    keeper::{Ask, AskNo, Batch, Done, Input, Keeper, Machine, NewRecord, Output, Recorded},
    project::ProjectMachine,
    stored::{StoredEvent, decode_directory, decode_project, encode_directory, encode_project},
};
use kaibiao_protocol::{directory::DirectoryEvent, event::ProjectEvent, ids::CommandId, refusal::Refusal};

use crate::{
    journal::{
        Append, AppendFault, Journal, JournalFault, Pending, READ_RECORDS_MAX, RawRecord, StoredRecord,
        Stream,
    },
    limits::SLOW_APPEND,
    messages::{AnswerTo, KeeperAsk},
    metrics::Metrics,
};

/// A machine whose events the journal knows how to keep.
pub(crate) trait Kept: Machine {
    /// An event's name, version and bytes.
    fn encode(event: &Self::Event) -> StoredEvent;

    /// The event that a stored record holds.
    fn decode(record: &StoredRecord) -> Result<Self::Event, ReplayFault>;
}

impl Kept for ProjectMachine {
    fn encode(event: &ProjectEvent) -> StoredEvent {
        encode_project(event)
    }

    fn decode(record: &StoredRecord) -> Result<ProjectEvent, ReplayFault> {
        decode_project(&record.kind, record.version, &record.payload)
            .map_err(|fault| ReplayFault::unknown(record, &fault))
    }
}

impl Kept for DirectoryMachine {
    fn encode(event: &DirectoryEvent) -> StoredEvent {
        encode_directory(event)
    }

    fn decode(record: &StoredRecord) -> Result<DirectoryEvent, ReplayFault> {
        decode_directory(&record.kind, record.version, &record.payload)
            .map_err(|fault| ReplayFault::unknown(record, &fault))
    }
}

/// Why a stream could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayFault {
    /// The journal cannot be read.
    #[error("failed to read {stream}: {fault}")]
    Journal {
        /// The stream.
        stream: Stream,
        /// How the journal failed.
        fault: JournalFault,
    },
    /// A record is of a kind, version or form that this program does not know.
    #[error("failed to understand record {seq} ({kind}, version {version}): {what}; use a newer program")]
    UnknownRecord {
        /// Its place in its stream.
        seq: u64,
        /// Its name.
        kind: String,
        /// Its version.
        version: u16,
        /// What is wrong with it.
        what: String,
    },
}

impl ReplayFault {
    fn unknown(record: &StoredRecord, fault: &impl std::fmt::Display) -> Self {
        ReplayFault::UnknownRecord {
            seq: record.seq,
            kind: record.kind.clone(),
            version: record.version,
            what: fault.to_string(),
        }
    }
}

/// Hands every record of a stream after `after_seq` to `take`, decoded and in order. Blocks on the disk.
pub(crate) fn read_all<M: Kept>(
    journal: &dyn Journal,
    stream: &Stream,
    after_seq: u64,
    mut take: impl FnMut(Recorded<M::Event>, Option<CommandId>),
) -> Result<(), ReplayFault> {
    let mut last = after_seq;
    loop {
        let records = journal
            .read(stream, last, READ_RECORDS_MAX)
            .map_err(|fault| ReplayFault::Journal { stream: stream.clone(), fault })?;
        let Some(end) = records.last() else { return Ok(()) };
        last = end.seq;
        for record in &records {
            let event = M::decode(record)?;
            let recorded = Recorded { seq: record.seq, at: record.at, event, hash: record.hash };
            take(recorded, record.command_id);
        }
    }
}

/// A keeper brought to the end of its stream. Blocks on the disk.
pub(crate) fn replayed<M: Kept>(journal: &dyn Journal, stream: &Stream) -> Result<Keeper<M>, ReplayFault> {
    let mut keeper = Keeper::new();
    read_all::<M>(journal, stream, 0, |record, command_id| {
        keeper.replay(record.seq, record.at, record.event, command_id, record.hash);
    })?;
    Ok(keeper)
}

/// A keeper, its stream, and who waits for which answer.
pub(crate) struct Shell<M: Kept> {
    keeper: Keeper<M>,
    stream: Stream,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    answers: BTreeMap<AskNo, AnswerTo<Result<Done, Refusal>>>,
    next: u64,
}

impl<M: Kept> Shell<M> {
    pub(crate) fn new(
        keeper: Keeper<M>,
        stream: Stream,
        journal: Arc<dyn Journal>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { keeper, stream, journal, metrics, answers: BTreeMap::new(), next: 1 }
    }

    pub(crate) fn keeper(&self) -> &Keeper<M> {
        &self.keeper
    }

    fn append(&self, batch: Batch<M>) -> Append {
        let record = |record: NewRecord<M::Event>| {
            let StoredEvent { kind, version, payload } = M::encode(&record.event);
            RawRecord { kind, version, at: record.at, command_id: record.command_id, payload }
        };
        Append {
            stream: self.stream.clone(),
            expected_seq: batch.expected_seq,
            records: batch.records.into_iter().map(record).collect(),
            wake_at: batch.wake_at,
            side: batch.side,
        }
    }
}

/// An actor that runs a shell.
pub(crate) trait Keeps<M: Kept>: Actor<Context = Context<Self>> {
    /// The shell; none until the stream is replayed.
    fn shell(&mut self) -> Option<&mut Shell<M>>;

    /// Records became durable; told before any answer that rests on them.
    fn published(&mut self, first_seq: u64, records: Vec<Recorded<M::Event>>, ctx: &mut Context<Self>);

    /// The keeper stopped: the actor ends, the house starts a new one by replay.
    fn append_failed(&mut self, ctx: &mut Context<Self>);
}

/// Gives an ask to the keeper.
pub(crate) fn ask<M: Kept, A: Keeps<M>>(actor: &mut A, message: KeeperAsk<M::Command>, ctx: &mut Context<A>) {
    let Some(shell) = actor.shell() else {
        // Only an actor whose replay failed handles messages without a shell: the answer's channel closes.
        return;
    };
    let no = AskNo(shell.next);
    shell.next += 1;
    shell.answers.insert(no, message.answer);
    let input = Input::Ask(Ask {
        no,
        command_id: Some(message.command_id),
        asker: message.asker,
        at: message.at,
        command: message.command,
        side: message.side,
    });
    feed(actor, input, ctx);
}

/// Gives the keeper an input and carries out what it says.
fn feed<M: Kept, A: Keeps<M>>(actor: &mut A, input: Input<M>, ctx: &mut Context<A>) {
    let mut outputs = Vec::new();
    let mut answers = Vec::new();
    let mut published = Vec::new();
    let mut stopped = false;
    if let Some(shell) = actor.shell() {
        shell.keeper.handle(input, &mut outputs);
        for output in outputs {
            match output {
                // At once: the disk works while the rest is told.
                Output::Append(batch) => {
                    let pending = shell.journal.append(shell.append(batch));
                    wait_for_append::<M, A>(pending, ctx);
                }
                Output::Answer { no, answer } => answers.push((no, answer)),
                Output::Publish { first_seq, records } => published.push((first_seq, records)),
                Output::Stopped => stopped = true,
            }
        }
    }
    for (first_seq, records) in published {
        actor.published(first_seq, records, ctx);
    }
    for (no, answer) in answers {
        let waiting = actor.shell().and_then(|shell| shell.answers.remove(&no));
        if let Some(waiting) = waiting {
            // Whoever asked may have gone away; what is durable stays so.
            let _ = waiting.send(answer);
        }
    }
    if stopped {
        actor.append_failed(ctx);
    }
}

fn wait_for_append<M: Kept, A: Keeps<M>>(pending: Pending, ctx: &mut Context<A>) {
    let started = Instant::now();
    let durable = async move { (pending.await, started.elapsed()) };
    ctx.spawn(wrap_future::<_, A>(durable).map(|(appended, took), actor, ctx| {
        if let Some(shell) = actor.shell()
            && took >= SLOW_APPEND
        {
            shell.metrics.slow_append_seconds.set(took.as_secs_f64());
        }
        let input = match appended {
            Ok(appended) => Input::Appended { last_seq: appended.last_seq, hashes: appended.hashes },
            Err(AppendFault::WritingEnded) => Input::AppendFailed,
            Err(
                fault @ (AppendFault::Conflict { .. }
                | AppendFault::Busy
                | AppendFault::TooLarge
                | AppendFault::NoRoom),
            ) => {
                tracing::error!(%fault, "an append was refused");
                Input::AppendRefused
            }
        };
        feed(actor, input, ctx);
    }));
}
