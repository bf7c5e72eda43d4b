//! The journal on the simulated disk: the production cycle and start check, driven by hand.

use std::{collections::VecDeque, io, path::Path};

use kaibiao_engine::keeper::SideSpace;
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::chain::CHAIN_START;
use zeroize::Zeroizing;

use super::{
    content::{Content, Staged},
    disk::SimDisk,
    log::{CHECK_START, Entries, Entry, LogReader, Transaction},
    store::{EPOCH, FOLDER, HEAD, LOG, LogStore, Slots},
};
use crate::journal::{
    APPEND_BYTES_MAX, APPEND_RECORDS_MAX, Append, AppendFault, Appended, Cut, Head, JournalFault,
    JournalMeters, QUEUE_APPENDS_MAX, StartReport, StoredRecord, Stream,
    cycle::{Cycle, Did, Gathered, HeadSlots, Step},
    head::{Found, Mark},
    start::{self, FoundRow, Holds, Rows},
};

/// Bytes of a frame, in which what is torn is counted.
const FRAME_BYTES: usize = 4_096;

/// Names an append between the journal and whoever asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What [`SimJournal::step`] did. A crash may follow any of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SimStep {
    /// Nothing: nobody waits and no sync is under way.
    Rested,
    /// A group was gathered and its rows made; the disk knows nothing of it.
    Gathered,
    /// The transaction is written to the log and not synced.
    Logged,
    /// The log is synced: the group is durable, and shows to readers.
    Committed,
    /// The head of the group before is synced.
    HeadSynced,
    /// The head of this group is written and not synced.
    HeadWritten,
    /// The group is answered.
    Answered,
    /// Writing has ended: all that wait are told so.
    Ended,
}

/// A journal of one thread.
///
/// Appends wait in a queue until [`SimJournal::step`] takes them; all that waits is one group. Answers come
/// out of the steps, with the ticket of their append.
pub struct SimJournal {
    store: LogStore,
    head: Slots,
    cycle: Cycle,
    mark: Mark,
    queue: VecDeque<Job>,
    /// The group in hand; it is kept while its steps go.
    group: Vec<Job>,
    /// Refused without a look at the disk; told with the next step.
    refused: Vec<(Ticket, AppendFault)>,
    next_ticket: u64,
    meters: JournalMeters,
}

struct Job(Ticket, Append);

impl AsRef<Append> for Job {
    fn as_ref(&self) -> &Append {
        &self.1
    }
}

/// What comes out of steps.
pub type SimAnswers = Vec<(Ticket, Result<Appended, AppendFault>)>;

impl SimJournal {
    /// Starts on what the disk holds, in the order and with the refusals of a real start.
    ///
    /// # Errors
    /// The disk fails by script, or the journal is not whole up to its head. What was refused is left as it
    /// was.
    pub fn open(disk: &SimDisk) -> Result<(Self, StartReport), JournalFault> {
        let found = disk.read(HEAD).map_or(Found::Absent, |bytes| Found::of(&bytes));
        if disk.bytes(LOG).is_none() {
            start::may_begin(&found, Path::new(HEAD))?;
            disk.make(LOG).map_err(at(LOG, "make"))?;
            disk.sync_folder(FOLDER).map_err(at(FOLDER, "sync"))?;
        }
        let last_epoch = disk.read(EPOCH).and_then(|bytes| Some(u64::from_le_bytes(bytes.try_into().ok()?)));
        let expected =
            start::expected(found, Found::Absent, last_epoch.is_none(), u64::MAX, Path::new(HEAD))?;
        let mut log = disk.read(LOG).unwrap_or_default();
        let written = log.len();
        let mut cut = None;
        let (checked, holds) = loop {
            let mut rows = LogRows::new(&log);
            let Holds { mark, broken } = start::verify(&mut rows, |_| Ok((0, CHAIN_START)), expected)?;
            let Some(broken) = broken else { break (rows.ended(), mark) };
            // The whole transaction goes: it was acknowledged to nobody, or its head would cover it.
            let (place, from_position) = rows.transaction;
            cut = Some(Cut { from_position, records: rows.rest(from_position), what: broken.what });
            log.truncate(place);
        };
        let Ended { content, end, check } = checked;

        // As a checkpoint does: nothing rests on what only the page cache holds, and what is torn is gone.
        disk.write_at(LOG, 0, &log[..end]).map_err(at(LOG, "write"))?;
        disk.set_bytes(LOG, end).map_err(at(LOG, "cut"))?;
        disk.sync(LOG).map_err(at(LOG, "sync"))?;
        for name in [HEAD, EPOCH] {
            if disk.bytes(name).is_none() {
                disk.make(name).map_err(at(name, "make"))?;
            }
        }
        let head = Slots::create(disk, &holds).map_err(at(HEAD, "write"))?;
        disk.sync_folder(FOLDER).map_err(at(FOLDER, "sync"))?;
        let epoch = last_epoch.unwrap_or(0) + 1;
        disk.write_at(EPOCH, 0, &epoch.to_le_bytes()).map_err(at(EPOCH, "write"))?;
        disk.sync(EPOCH).map_err(at(EPOCH, "sync"))?;

        let torn_frames = (written.saturating_sub(end).div_ceil(FRAME_BYTES)) as u64;
        let report = StartReport { records: holds.head.position, verified_from: 1, epoch, cut, torn_frames };
        let store = LogStore {
            disk: disk.clone(),
            content,
            epoch,
            end,
            check,
            transaction: Transaction::default(),
            staged: Vec::new(),
            written: None,
            stream: None,
        };
        let journal = Self {
            store,
            head,
            cycle: Cycle::new(holds),
            mark: holds,
            queue: VecDeque::new(),
            group: Vec::new(),
            refused: Vec::new(),
            next_ticket: 0,
            meters: JournalMeters::default(),
        };
        Ok((journal, report))
    }

    /// Hands over an append. Its answer comes out of a later step.
    pub fn append(&mut self, append: Append) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        let refusal = if append.records.len() > APPEND_RECORDS_MAX || append.bytes() > APPEND_BYTES_MAX {
            Some(AppendFault::TooLarge)
        } else if self.meters.writing_ended.is_some() {
            Some(AppendFault::WritingEnded)
        } else if self.queue.len() >= QUEUE_APPENDS_MAX {
            self.meters.busy += 1;
            Some(AppendFault::Busy)
        } else {
            None
        };
        match refusal {
            Some(fault) => self.refused.push((ticket, fault)),
            None => self.queue.push_back(Job(ticket, append)),
        }
        ticket
    }

    /// Whether a step has something to do.
    pub fn is_busy(&self) -> bool {
        let waits = !self.queue.is_empty() || !self.group.is_empty() || self.head.sync_under_way();
        !self.refused.is_empty() || waits && self.meters.writing_ended.is_none()
    }

    /// Does one thing, and gives what may be answered after it.
    pub fn step(&mut self, answers: &mut SimAnswers) -> SimStep {
        answers.extend(self.refused.drain(..).map(|(ticket, fault)| (ticket, Err(fault))));
        if self.meters.writing_ended.is_some() {
            return SimStep::Rested;
        }
        if self.group.is_empty() {
            let mut gathered = Gathered::default();
            let mut more = true;
            while more && let Some(job) = self.queue.pop_front() {
                more = gathered.take(&job.1);
                self.group.push(job);
            }
        }
        let step = if self.group.is_empty() {
            // The head's thread does this by itself.
            if !self.head.sync_under_way() {
                return SimStep::Rested;
            }
            match self.head.wait_sync() {
                Ok(()) => return SimStep::HeadSynced,
                Err(fault) => {
                    let end = format!("a sync of the head failed: {fault}");
                    Step::Ended(crate::journal::WritingEnd::Failed(end))
                }
            }
        } else {
            self.cycle.step(&self.group, &mut self.store, &mut self.head)
        };
        match step {
            Step::Goes(Did::Wrote) => SimStep::Gathered,
            Step::Goes(Did::Committing) => SimStep::Logged,
            Step::Goes(Did::Committed) => SimStep::Committed,
            Step::Goes(Did::HeadSynced) => SimStep::HeadSynced,
            Step::Goes(Did::HeadWritten) => SimStep::HeadWritten,
            Step::Done => {
                self.mark = self.cycle.mark();
                self.meters.records += self.cycle.records_added();
                self.meters.commits += 1;
                for (Job(ticket, _), outcome) in self.group.drain(..).zip(self.cycle.outcomes()) {
                    self.meters.conflicts += u64::from(matches!(outcome, Err(AppendFault::Conflict { .. })));
                    answers.push((ticket, outcome));
                }
                SimStep::Answered
            }
            Step::Ended(end) => {
                self.meters.writing_ended = Some(end);
                let all = self.group.drain(..).chain(self.queue.drain(..));
                answers.extend(all.map(|Job(ticket, _)| (ticket, Err(AppendFault::WritingEnded))));
                SimStep::Ended
            }
        }
    }

    /// Steps until nothing is left to do.
    pub fn run(&mut self, answers: &mut SimAnswers) {
        while self.is_busy() {
            self.step(answers);
        }
    }

    /// See [`crate::journal::Journal::read`].
    ///
    /// # Errors
    /// The chain is broken.
    pub fn read(
        &self,
        stream: &Stream,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, JournalFault> {
        self.store.content.read(stream, after_seq, limit)
    }

    /// All durable records of a stream, without a check and without a copy.
    pub fn records(&self, stream: &Stream) -> &[StoredRecord] {
        self.store.content.records(stream)
    }

    /// See [`crate::journal::Journal::side`].
    pub fn side(&self, space: SideSpace, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.store.content.side.get(&(space, key.to_owned())).cloned()
    }

    /// See [`crate::journal::Journal::side_keys`].
    pub fn side_keys(&self, space: SideSpace, prefix: &str) -> Vec<String> {
        self.store.content.side_keys(space, prefix)
    }

    /// See [`crate::journal::Journal::wakes`].
    pub fn wakes(&self) -> Vec<(Stream, Moment)> {
        self.store.content.wakes.iter().map(|(stream, at)| (stream.clone(), *at)).collect()
    }

    /// See [`crate::journal::Journal::streams`].
    pub fn streams(&self) -> Vec<Stream> {
        let mut streams: Vec<Stream> = self.store.content.streams.keys().cloned().collect();
        streams.sort_by_cached_key(Stream::to_string);
        streams
    }

    /// See [`crate::journal::Journal::last_moment`].
    pub fn last_moment(&self) -> Option<Moment> {
        self.mark.last_at
    }

    /// See [`crate::journal::Journal::head`].
    pub fn head(&self) -> Head {
        self.mark.head
    }

    /// See [`crate::journal::Journal::meters`].
    pub fn meters(&self) -> JournalMeters {
        JournalMeters { queued: self.queue.len(), ..self.meters.clone() }
    }
}

/// The records of a log, in order; what they come to is collected on the way.
struct LogRows<'a> {
    log: LogReader<'a>,
    entries: Option<Entries<'a>>,
    content: Content,
    /// Where the transaction in hand begins, and its first position.
    transaction: (usize, u64),
    last_position: u64,
}

/// What a whole log came to.
struct Ended {
    content: Content,
    end: usize,
    check: u64,
}

impl<'a> LogRows<'a> {
    fn new(log: &'a [u8]) -> Self {
        debug_assert_eq!(LogReader::new(log).check, CHECK_START);
        Self {
            log: LogReader::new(log),
            entries: None,
            content: Content::default(),
            transaction: (0, 1),
            last_position: 0,
        }
    }

    fn ended(self) -> Ended {
        Ended { content: self.content, end: self.log.end, check: self.log.check }
    }

    /// How many records there are from a position on.
    fn rest(&mut self, from_position: u64) -> u64 {
        while let Ok(Some(_)) = self.next() {}
        (self.last_position + 1).saturating_sub(from_position)
    }
}

impl Rows for LogRows<'_> {
    fn next(&mut self) -> Result<Option<FoundRow<'_>>, JournalFault> {
        loop {
            let Some(entries) = &mut self.entries else {
                let begins = self.log.end;
                match self.log.next() {
                    Some(entries) => {
                        self.transaction = (begins, self.last_position + 1);
                        self.entries = Some(entries);
                    }
                    None => return Ok(None),
                }
                continue;
            };
            match entries.next() {
                None => self.entries = None,
                Some(Err(fault)) => {
                    tracing::error!(%fault, "the simulated log");
                    return Ok(Some(FoundRow::Misshapen));
                }
                Some(Ok(Entry::Side(write))) => self.content.apply(Staged::Side(write)),
                Some(Ok(Entry::Wake { stream, at })) => {
                    self.content.apply(Staged::Wake(named(stream)?, at));
                }
                Some(Ok(Entry::Record { position, chained, hash })) => {
                    self.last_position = position;
                    let record = stored(position, &chained, hash);
                    self.content.apply(Staged::Record(named(chained.stream)?, record));
                    return Ok(Some(FoundRow::Whole { position, chained, hash }));
                }
            }
        }
    }
}

fn named(name: &str) -> Result<Stream, JournalFault> {
    name.parse().map_err(|_| JournalFault::UnknownStream(name.to_owned()))
}

fn stored(position: u64, chained: &kaibiao_sealed::chain::ChainedRecord<'_>, hash: Digest) -> StoredRecord {
    StoredRecord {
        seq: chained.seq,
        position,
        at: chained.at,
        kind: chained.kind.to_owned(),
        version: chained.version,
        command_id: chained.command_id,
        payload: chained.payload.to_vec(),
        hash,
    }
}

fn at(name: &'static str, doing: &'static str) -> impl FnOnce(io::Error) -> JournalFault {
    JournalFault::disk(doing, Path::new(name))
}
