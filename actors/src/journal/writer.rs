//! The one thread that writes: it takes all appends that wait, writes them in one transaction, and answers
//! them when that is durable. While it is at one commit, the appends of the next one gather in its queue.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::Receiver;
use kaibiao_engine::keeper::SideWrite;
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::chain::{CHAIN_START, ChainedRecord, chain_hash};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension};

use super::{
    Append, AppendFault, Appended, JournalFault, Stream,
    head::{HeadFile, Mark},
    index::{self, Placed},
    meters::WritingEnd,
    pending::Answer,
    schema,
    sqlite::Shared,
    syncer::Syncer,
};

/// Records after which a group is committed, however many appends still wait.
const GROUP_RECORDS_MAX: usize = 1_024;
/// Bytes after which a group is committed.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// Commits between two looks at the log's length.
const COMMITS_BETWEEN_LOOKS: u32 = 16;
/// Streams whose last record is remembered; with more, all are forgotten and looked up anew.
const TAILS_MAX: usize = 65_536;

/// An append with whoever waits for it.
pub(super) struct Job {
    pub(super) append: Append,
    pub(super) answer: Answer,
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) jobs: Receiver<Job>,
    pub(super) shared: Arc<Shared>,
    /// All that is committed.
    pub(super) mark: Mark,
    pub(super) head_file: HeadFile,
    pub(super) syncer: Syncer,
    /// Kept when the thread ends in order.
    pub(super) verified_file: HeadFile,
    /// The epoch this process began; another one in the database means another server.
    pub(super) epoch: [u8; 16],
    pub(super) checkpoint_frames: u32,
    pub(super) tails: Tails,
    /// Where the records of the transaction in hand lie.
    pub(super) placed: Vec<Placed>,
    pub(super) commits_since_look: u32,
}

/// The last record of each stream written lately, as of the transaction in hand.
#[derive(Default)]
pub(super) struct Tails(HashMap<Stream, Tail>);

struct Tail {
    seq: u64,
    hash: Digest,
    wake_at: Option<Moment>,
}

/// What one transaction changes as it goes.
struct Hand<'a> {
    tails: &'a mut Tails,
    mark: &'a mut Mark,
    placed: &'a mut Vec<Placed>,
}

/// Why a transaction did not become durable.
enum CommitFault {
    Database(rusqlite::Error),
    Superseded,
}

impl From<rusqlite::Error> for CommitFault {
    fn from(fault: rusqlite::Error) -> Self {
        CommitFault::Database(fault)
    }
}

type Outcome = Result<Appended, AppendFault>;

impl Writer {
    /// The thread's whole life: it runs until every sender is gone. If it breaks, by a bug too, nobody is
    /// left waiting: what is in the queue and what still comes is answered.
    pub(super) fn live(self) {
        let (jobs, shared) = (self.jobs.clone(), Arc::clone(&self.shared));
        // Nothing of the writer is used again after a panic.
        if catch_unwind(AssertUnwindSafe(|| self.run())).is_err() {
            shared.end_writing(WritingEnd::Failed("a bug: the writer's thread panicked".to_owned()));
        }
        while let Ok(job) = jobs.recv() {
            job.answer.say(Err(AppendFault::WritingEnded));
        }
    }

    /// Runs until writing ends or every sender is gone.
    fn run(mut self) {
        let mut group = Vec::new();
        let mut outcomes = Vec::new();
        while let Ok(first) = self.jobs.recv() {
            self.gather(first, &mut group);
            let committed = self.commit(&group, &mut outcomes);
            if let Err(end) = committed {
                outcomes.clear();
                outcomes.resize(group.len(), Err(AppendFault::WritingEnded));
                self.shared.end_writing(end);
            }
            for (job, outcome) in group.drain(..).zip(outcomes.drain(..)) {
                job.answer.say(outcome);
            }
            if self.shared.writing_goes_on() {
                self.tend();
            }
            if !self.shared.writing_goes_on() {
                return;
            }
        }
        self.close();
    }

    /// Takes all that waits, up to a group's size.
    fn gather(&self, first: Job, group: &mut Vec<Job>) {
        let (mut records, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(job) = next {
            records += job.append.records.len();
            bytes += job.append.bytes();
            group.push(job);
            let full = records >= GROUP_RECORDS_MAX || bytes >= GROUP_BYTES_MAX;
            next = if full { None } else { self.jobs.try_recv().ok() };
        }
    }

    /// Writes a group and makes it durable: one outcome for each of its appends.
    ///
    /// # Errors
    /// Writing has to end: it is unknown what of the group is durable.
    fn commit(&mut self, group: &[Job], outcomes: &mut Vec<Outcome>) -> Result<(), WritingEnd> {
        #[cfg(feature = "practice")]
        assert!(!self.shared.breaks(), "the writer's thread breaks by script");
        let started = Instant::now();
        let before = self.mark;
        match self.write(group, outcomes) {
            Ok(()) => {}
            Err(CommitFault::Superseded) => {
                self.roll_back();
                return Err(WritingEnd::Superseded);
            }
            // A full disk is found before the sync: SQLite has taken nothing of it, and says so.
            Err(CommitFault::Database(fault))
                if fault.sqlite_error_code() == Some(ErrorCode::DiskFull) && self.roll_back() =>
            {
                tracing::error!(appends = group.len(), "the disk has no room for the journal");
                self.mark = before;
                self.tails.0.clear();
                self.placed.clear();
                outcomes.clear();
                outcomes.resize(group.len(), Err(AppendFault::NoRoom));
                return Ok(());
            }
            Err(CommitFault::Database(fault)) => {
                return Err(WritingEnd::Failed(format!("a commit failed: {fault}")));
            }
        }
        // The head of the group before became durable meanwhile, or nobody is told anything more.
        self.syncer
            .wait()
            .map_err(|fault| WritingEnd::Failed(format!("a sync of the head failed: {fault}")))?;
        if self.mark != before {
            self.head_file.write(&self.mark).map_err(|fault| WritingEnd::Failed(fault.to_string()))?;
            self.syncer.begin();
        }
        self.shared.recent.remember(self.placed.drain(..));
        self.shared.committed(self.mark, self.mark.head.position - before.head.position, started.elapsed());
        Ok(())
    }

    /// The transaction, from begin to commit.
    fn write(&mut self, group: &[Job], outcomes: &mut Vec<Outcome>) -> Result<(), CommitFault> {
        if self.tails.0.len() + group.len() > TAILS_MAX {
            self.tails.0.clear();
        }
        let connection = &self.connection;
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let epoch: [u8; 16] = connection
            .prepare_cached("SELECT id FROM epochs ORDER BY number DESC LIMIT 1")?
            .query_row([], |row| row.get(0))?;
        if epoch != self.epoch {
            return Err(CommitFault::Superseded);
        }
        let mut insert = connection.prepare_cached(
            "INSERT INTO records (position, stream, seq, at, kind, version, command_id, payload, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        for job in group {
            let append = &job.append;
            let written = if append.records.is_empty() {
                Ok(Appended { last_seq: 0, hashes: Vec::new() })
            } else {
                let mut hand =
                    Hand { tails: &mut self.tails, mark: &mut self.mark, placed: &mut self.placed };
                write_records(connection, &mut insert, append, &self.shared, &mut hand)?
            };
            match &written {
                Ok(_) => write_side(connection, &append.side)?,
                Err(_) => self.shared.conflict(),
            }
            outcomes.push(written);
        }
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Whether the transaction is undone and the connection is fit for the next one.
    fn roll_back(&self) -> bool {
        // SQLite may have rolled back by itself: then there is no transaction left, which is what is wanted.
        let _ = self.connection.execute_batch("ROLLBACK");
        self.connection.is_autocommit()
    }

    /// Moves the log into the database when it has grown long; the answers are out already.
    fn tend(&mut self) {
        self.commits_since_look += 1;
        if self.commits_since_look < COMMITS_BETWEEN_LOOKS {
            return;
        }
        self.commits_since_look = 0;
        let checkpointed = log_frames(&self.connection, "PRAGMA wal_checkpoint(NOOP)").and_then(|frames| {
            if frames < i64::from(self.checkpoint_frames) {
                return Ok(frames);
            }
            index::flush(&self.connection, &self.shared.recent)?;
            log_frames(&self.connection, "PRAGMA wal_checkpoint(PASSIVE)")
        });
        match checkpointed {
            Ok(_) => {}
            // The log keeps what the database has no room for: writing goes on while the log has.
            Err(fault) if fault.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::error!("the disk has no room to move the journal's log into its database");
            }
            Err(fault) => {
                self.shared.end_writing(WritingEnd::Failed(format!("a checkpoint failed: {fault}")))
            }
        }
    }

    /// Ends in order: the log moved, the head synced, the mark kept for a fast start.
    fn close(mut self) {
        let closed = index::flush(&self.connection, &self.shared.recent)
            .map_err(JournalFault::from)
            .and_then(|()| schema::checkpoint_whole(&self.connection))
            .map_err(|fault| fault.to_string())
            .and_then(|()| self.syncer.wait().map_err(|fault| fault.to_string()))
            .and_then(|()| self.verified_file.write(&self.mark).map_err(|fault| fault.to_string()))
            .and_then(|()| self.verified_file.sync().map_err(|fault| fault.to_string()));
        if let Err(fault) = closed {
            // All that was acknowledged is durable already: the next start only takes longer.
            tracing::warn!(%fault, "the journal was not closed in order");
        }
    }
}

/// Writes the records of one append, unless its stream ends elsewhere than expected.
fn write_records(
    connection: &Connection,
    insert: &mut CachedStatement<'_>,
    append: &Append,
    shared: &Shared,
    hand: &mut Hand<'_>,
) -> Result<Outcome, rusqlite::Error> {
    let name = append.stream.to_string();
    let tail = match hand.tails.0.get_mut(&append.stream) {
        Some(tail) => tail,
        None => {
            let tail = look_up_tail(connection, shared, &append.stream, &name)?;
            hand.tails.0.entry(append.stream.clone()).or_insert(tail)
        }
    };
    if tail.seq != append.expected_seq {
        return Ok(Err(AppendFault::Conflict { found: tail.seq }));
    }
    hand.placed.push(Placed {
        stream: append.stream.clone(),
        first_seq: tail.seq + 1,
        first_position: hand.mark.head.position + 1,
        count: append.records.len() as u64,
    });
    let mut hashes = Vec::with_capacity(append.records.len());
    for record in &append.records {
        let seq = tail.seq + 1;
        let chained = ChainedRecord {
            stream: &name,
            seq,
            at: record.at,
            kind: record.kind,
            version: record.version,
            command_id: record.command_id,
            payload: &record.payload,
        };
        let hash = chain_hash(&tail.hash, &chained);
        let after = hand.mark.after(&hash, record.at);
        insert.execute((
            after.head.position,
            &name,
            seq,
            record.at.0,
            record.kind,
            record.version,
            record.command_id.as_ref().map(|id| id.0.as_slice()),
            &record.payload,
            hash.as_bytes(),
        ))?;
        (tail.seq, tail.hash, *hand.mark) = (seq, hash, after);
        hashes.push(hash);
    }
    if tail.wake_at != append.wake_at {
        write_wake(connection, &name, append.wake_at)?;
        tail.wake_at = append.wake_at;
    }
    Ok(Ok(Appended { last_seq: tail.seq, hashes }))
}

fn look_up_tail(
    connection: &Connection,
    shared: &Shared,
    stream: &Stream,
    name: &str,
) -> Result<Tail, rusqlite::Error> {
    let (seq, hash) = match index::last(connection, &shared.recent, stream, name)? {
        Some((seq, position)) => {
            let mut hash = connection.prepare_cached("SELECT hash FROM records WHERE position = ?1")?;
            (seq, Digest(hash.query_row([position], |row| row.get(0))?))
        }
        None => (0, CHAIN_START),
    };
    let wake_at: Option<i64> = connection
        .prepare_cached("SELECT at FROM wakes WHERE stream = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(Tail { seq, hash, wake_at: wake_at.map(Moment) })
}

fn write_wake(connection: &Connection, stream: &str, wake_at: Option<Moment>) -> Result<(), rusqlite::Error> {
    match wake_at {
        Some(at) => connection
            .prepare_cached(
                "INSERT INTO wakes (stream, at) VALUES (?1, ?2)
                 ON CONFLICT (stream) DO UPDATE SET at = excluded.at",
            )?
            .execute((stream, at.0))?,
        None => connection.prepare_cached("DELETE FROM wakes WHERE stream = ?1")?.execute([stream])?,
    };
    Ok(())
}

fn write_side(connection: &Connection, writes: &[SideWrite]) -> Result<(), rusqlite::Error> {
    for write in writes {
        match write {
            SideWrite::Put { space, key, value } => connection
                .prepare_cached(
                    "INSERT INTO side (space, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
                )?
                .execute((space.as_str(), key, value.as_slice()))?,
            SideWrite::Delete { space, key } => connection
                .prepare_cached("DELETE FROM side WHERE space = ?1 AND key = ?2")?
                .execute((space.as_str(), key))?,
        };
    }
    Ok(())
}

/// Runs a checkpoint pragma and gives the log's length in frames.
fn log_frames(connection: &Connection, pragma: &str) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached(pragma)?.query_row([], |row| row.get(1))
}
