//! A journal in memory that keeps the contract of [`Journal`] and fails by script: for tests and the
//! simulator.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::chain::CHAIN_START;
use zeroize::Zeroizing;

use super::{
    APPEND_BYTES_MAX, APPEND_RECORDS_MAX, Append, AppendFault, Appended, Journal, JournalFault,
    JournalMeters, Pending, QUEUE_APPENDS_MAX, READ_BYTES_MAX, READ_RECORDS_MAX, StoredRecord, Stream,
    WritingEnd,
    head::{Head, Mark},
    pending::Answer,
    readers::hash_of,
    start::Broken,
};

/// What befalls one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptedFault {
    /// It conflicts, as if another server had written to the stream.
    Conflict,
    /// The queue is full.
    Busy,
    /// The disk is full.
    NoRoom,
    /// The sync fails: writing ends. What was to be synced shows at the next start if `survives`, else it
    /// never does.
    FailSync {
        /// Whether the append is found at the next start.
        survives: bool,
    },
}

/// The journal; clones are the same journal.
#[derive(Clone, Default)]
pub struct MemoryJournal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    durable: Content,
    /// Written and not synced when the sync failed, in order.
    unsynced: VecDeque<Append>,
    /// Handed over while answers are held.
    held: VecDeque<(Append, Answer)>,
    holding: bool,
    /// Appends handed over so far.
    count: u64,
    script: BTreeMap<u64, ScriptedFault>,
    fail_reads: bool,
    meters: JournalMeters,
}

#[derive(Clone, Default)]
struct Content {
    mark: Option<Mark>,
    streams: BTreeMap<String, (Stream, Vec<StoredRecord>)>,
    side: BTreeMap<(&'static str, String), Zeroizing<Vec<u8>>>,
    wakes: BTreeMap<Stream, Moment>,
}

impl Content {
    fn mark(&self) -> Mark {
        self.mark.unwrap_or(Mark::START)
    }

    fn write(&mut self, append: Append) -> Result<Appended, AppendFault> {
        let mut appended = Appended { last_seq: 0, hashes: Vec::new() };
        if !append.records.is_empty() {
            let name = append.stream.to_string();
            let found = self.streams.get(&name).map_or(0, |(_, records)| records.len() as u64);
            if found != append.expected_seq {
                return Err(AppendFault::Conflict { found });
            }
            let mut mark = self.mark();
            let (_, records) =
                self.streams.entry(name.clone()).or_insert_with(|| (append.stream.clone(), Vec::new()));
            for raw in append.records {
                let mut record = StoredRecord {
                    seq: records.len() as u64 + 1,
                    position: mark.head.position + 1,
                    at: raw.at,
                    kind: raw.kind.to_owned(),
                    version: raw.version,
                    command_id: raw.command_id,
                    payload: raw.payload,
                    hash: CHAIN_START,
                };
                let previous = records.last().map_or(CHAIN_START, |last| last.hash);
                record.hash = hash_of(&name, &previous, &record);
                mark = mark.after(&record.hash, record.at);
                appended.last_seq = record.seq;
                appended.hashes.push(record.hash);
                records.push(record);
            }
            self.mark = Some(mark);
            match append.wake_at {
                Some(at) => self.wakes.insert(append.stream, at),
                None => self.wakes.remove(&append.stream),
            };
        }
        for write in append.side {
            match write {
                SideWrite::Put { space, key, value } => self.side.insert((space.as_str(), key), value),
                SideWrite::Delete { space, key } => self.side.remove(&(space.as_str(), key)),
            };
        }
        Ok(appended)
    }
}

impl State {
    /// Makes an append durable, or what the script says.
    fn commit(&mut self, append: Append, fault: Option<ScriptedFault>) -> Result<Appended, AppendFault> {
        if self.meters.writing_ended.is_some() {
            return Err(AppendFault::WritingEnded);
        }
        match fault {
            None => {}
            Some(ScriptedFault::Conflict) => {
                let name = append.stream.to_string();
                let found = self.durable.streams.get(&name).map_or(0, |(_, records)| records.len() as u64);
                self.meters.conflicts += 1;
                return Err(AppendFault::Conflict { found });
            }
            Some(ScriptedFault::Busy) => {
                self.meters.busy += 1;
                return Err(AppendFault::Busy);
            }
            Some(ScriptedFault::NoRoom) => return Err(AppendFault::NoRoom),
            Some(ScriptedFault::FailSync { survives }) => {
                self.meters.writing_ended = Some(WritingEnd::Failed("the script fails this sync".to_owned()));
                if survives {
                    self.unsynced.push_back(append);
                }
                return Err(AppendFault::WritingEnded);
            }
        }
        let before = self.durable.mark().head.position;
        let outcome = self.durable.write(append);
        match &outcome {
            Ok(_) => {
                self.meters.commits += 1;
                self.meters.records += self.durable.mark().head.position - before;
            }
            Err(_) => self.meters.conflicts += 1,
        }
        outcome
    }
}

impl MemoryJournal {
    /// An empty journal without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty journal in which the n-th append (counted from 1) meets a fault.
    pub fn with_script(script: impl IntoIterator<Item = (u64, ScriptedFault)>) -> Self {
        let journal = Self::new();
        journal.lock().script = script.into_iter().collect();
        journal
    }

    /// Lets the next append but `skipped` meet a fault.
    pub fn fail_after(&self, skipped: u64, fault: ScriptedFault) {
        let mut state = self.lock();
        let no = state.count + skipped + 1;
        state.script.insert(no, fault);
    }

    /// From now on appends wait, not durable and not answered, until they are released.
    pub fn hold(&self) {
        self.lock().holding = true;
    }

    /// Makes the oldest `count` held appends durable and answers them; gives how many there were.
    pub fn release(&self, count: usize) -> usize {
        let mut released = 0;
        while released < count {
            // Answered without the lock: whoever hears may append at once.
            let Some((answer, outcome)) = ({
                let mut state = self.lock();
                state.held.pop_front().map(|(append, answer)| (answer, state.commit(append, None)))
            }) else {
                break;
            };
            answer.say(outcome);
            released += 1;
        }
        released
    }

    /// Releases all that is held and holds no more.
    pub fn release_all(&self) -> usize {
        self.lock().holding = false;
        self.release(usize::MAX)
    }

    /// How many appends are held.
    pub fn held(&self) -> usize {
        self.lock().held.len()
    }

    /// From now on every read fails, or none.
    pub fn fail_reads(&self, fail: bool) {
        self.lock().fail_reads = fail;
    }

    /// Flips one bit of a record's payload, as a bad disk would; `false` if there is no such byte.
    pub fn flip_bit(&self, stream: &Stream, seq: u64) -> bool {
        let mut state = self.lock();
        let Some((_, records)) = state.durable.streams.get_mut(&stream.to_string()) else { return false };
        let record = records.iter_mut().find(|record| record.seq == seq);
        match record.and_then(|record| record.payload.first_mut()) {
            Some(byte) => {
                *byte ^= 1;
                true
            }
            None => false,
        }
    }

    /// The journal as the next start finds it after a crash now: all that was acknowledged, and of what was
    /// not (held appends and survivors of a failed sync, in order) the first `survivors`, each whole. This
    /// journal writes no more.
    pub fn crash(&self, survivors: usize) -> MemoryJournal {
        let (mut content, rest) = {
            let mut state = self.lock();
            state.meters.writing_ended.get_or_insert(WritingEnd::Failed("crashed".to_owned()));
            let mut rest: Vec<Append> = state.unsynced.drain(..).collect();
            rest.extend(state.held.drain(..).map(|(append, _)| append));
            (state.durable.clone(), rest)
        };
        for append in rest.into_iter().take(survivors) {
            // A conflict in what nobody was told of is nobody's loss.
            let _ = content.write(append);
        }
        MemoryJournal(Arc::new(Mutex::new(State { durable: content, ..State::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readable(&self) -> Result<MutexGuard<'_, State>, JournalFault> {
        let state = self.lock();
        if state.fail_reads { Err(JournalFault::Scripted) } else { Ok(state) }
    }
}

impl Journal for MemoryJournal {
    fn append(&self, append: Append) -> Pending {
        if append.records.len() > APPEND_RECORDS_MAX || append.bytes() > APPEND_BYTES_MAX {
            return Pending::told(Err(AppendFault::TooLarge));
        }
        let mut state = self.lock();
        state.count += 1;
        let count = state.count;
        let fault = state.script.remove(&count);
        if !state.holding || fault.is_some() || state.meters.writing_ended.is_some() {
            return Pending::told(state.commit(append, fault));
        }
        if state.held.len() >= QUEUE_APPENDS_MAX {
            return Pending::told(state.commit(append, Some(ScriptedFault::Busy)));
        }
        let (answer, pending) = Pending::new();
        state.held.push_back((append, answer));
        pending
    }

    fn read(&self, stream: &Stream, after_seq: u64, limit: usize) -> Result<Vec<StoredRecord>, JournalFault> {
        let state = self.readable()?;
        let name = stream.to_string();
        let Some((_, records)) = state.durable.streams.get(&name) else { return Ok(Vec::new()) };
        let from = usize::try_from(after_seq).map_or(records.len(), |seq| seq.min(records.len()));
        let mut previous = if from == 0 { CHAIN_START } else { records[from - 1].hash };
        let mut given = Vec::new();
        let mut bytes = 0;
        for record in &records[from..] {
            if given.len() == limit.min(READ_RECORDS_MAX) || bytes >= READ_BYTES_MAX {
                break;
            }
            if hash_of(&name, &previous, record) != record.hash {
                let what = "it does not fit the record before it in its stream";
                return Err(Broken { position: record.position, stream: name, seq: record.seq, what }.into());
            }
            previous = record.hash;
            bytes += record.payload.len();
            given.push(record.clone());
        }
        Ok(given)
    }

    fn side(&self, space: SideSpace, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, JournalFault> {
        Ok(self.readable()?.durable.side.get(&(space.as_str(), key.to_owned())).cloned())
    }

    fn side_keys(&self, space: SideSpace, prefix: &str) -> Result<Vec<String>, JournalFault> {
        let state = self.readable()?;
        let from = state.durable.side.range((space.as_str(), prefix.to_owned())..);
        let with_prefix =
            from.take_while(|((held, key), _)| *held == space.as_str() && key.starts_with(prefix));
        Ok(with_prefix.map(|((_, key), _)| key.clone()).collect())
    }

    fn wakes(&self) -> Result<Vec<(Stream, Moment)>, JournalFault> {
        Ok(self.readable()?.durable.wakes.iter().map(|(stream, at)| (stream.clone(), *at)).collect())
    }

    fn streams(&self) -> Result<Vec<Stream>, JournalFault> {
        Ok(self.readable()?.durable.streams.values().map(|(stream, _)| stream.clone()).collect())
    }

    fn last_moment(&self) -> Option<Moment> {
        self.lock().durable.mark().last_at
    }

    fn head(&self) -> Head {
        self.lock().durable.mark().head
    }

    fn meters(&self) -> JournalMeters {
        let state = self.lock();
        JournalMeters { queued: state.held.len(), ..state.meters.clone() }
    }

    /// There is no folder form of a journal in memory.
    fn backup(&self, _to: &Path) -> Result<Head, JournalFault> {
        Err(JournalFault::Scripted)
    }
}
