//! The journal on a disk: how it starts, and its threads.

#[cfg(feature = "practice")]
use std::sync::atomic::AtomicBool;
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aws_lc_rs::rand;
use crossbeam_channel::{Sender, TrySendError, bounded};
use kaibiao_engine::keeper::SideSpace;
use kaibiao_protocol::moment::Moment;
use rusqlite::{Connection, config::DbConfig};
use zeroize::Zeroizing;

use super::{
    APPEND_BYTES_MAX, APPEND_RECORDS_MAX, Append, AppendFault, Journal, JournalFault, JournalMeters, Pending,
    QUEUE_APPENDS_MAX, StoredRecord, Stream, WritingEnd, backup,
    cycle::Cycle,
    head::{Head, HeadFile, Mark},
    index::{self, Recent},
    readers::Readers,
    schema::{self, Content, DATABASE, HEAD, VERIFIED},
    start::{self, Expected, Holds},
    syncer::SyncedHead,
    verify, wal,
    writer::{Job, Writer},
};
use crate::clock::wall_clock;

/// What may be set of a journal; the defaults are meant for everybody but tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalSettings {
    /// Up to this many records the whole chain is verified at every start (a second or two); a longer journal
    /// is verified from its last mark on. Reading verifies in any case.
    pub verify_whole_records_max: u64,
    /// Pages (4 KiB) of SQLite's log after which it is moved into the database. A longer log makes for rarer
    /// and longer pauses.
    pub checkpoint_frames: u32,
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self { verify_whole_records_max: 1_000_000, checkpoint_frames: 4_096 }
    }
}

/// The journal on SQLite.
pub struct SqliteJournal {
    /// Taken when dropped, which ends the writer.
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    readers: Readers,
    shared: Arc<Shared>,
    report: StartReport,
}

/// What a start found; to be logged, and a cut to be looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartReport {
    /// Records in the journal.
    pub records: u64,
    /// From which position on the chain was verified.
    pub verified_from: u64,
    /// The epoch this start began; each start and each restore begins one.
    pub epoch: u64,
    /// Records beyond the head that did not hold and were cut.
    pub cut: Option<Cut>,
    /// Pages at the end of SQLite's log that were not of a whole transaction, and so never acknowledged or
    /// damaged beyond the head.
    pub torn_frames: u64,
}

/// What was cut at a start. None of it was acknowledged before the head covered it; at most the last group
/// was acknowledged at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The first record cut.
    pub from_position: u64,
    /// How many.
    pub records: u64,
    /// What did not hold in the first one.
    pub what: &'static str,
}

/// Why an epoch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum EpochBegins {
    Started,
    Restored,
}

impl EpochBegins {
    fn as_str(self) -> &'static str {
        match self {
            EpochBegins::Started => "started",
            EpochBegins::Restored => "restored",
        }
    }
}

impl SqliteJournal {
    /// Opens the journal in `folder`, or makes it there. Verifies the chain, moves SQLite's log into the
    /// database and begins an epoch before it returns. Nothing in the folder is changed if the start is
    /// refused.
    ///
    /// # Errors
    /// The disk fails, or the journal is not whole up to its head: the fault names the damage and what to do.
    pub fn open(folder: &Path) -> Result<Self, JournalFault> {
        Self::open_with(folder, JournalSettings::default())
    }

    /// The same with settings of one's own.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`].
    pub fn open_with(folder: &Path, settings: JournalSettings) -> Result<Self, JournalFault> {
        Self::open_as(folder, settings, EpochBegins::Started)
    }

    pub(super) fn open_as(
        folder: &Path,
        settings: JournalSettings,
        why: EpochBegins,
    ) -> Result<Self, JournalFault> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(JournalFault::disk("make", folder))?;
        let (connection, checked) = check(folder, settings.verify_whole_records_max)?;
        let Checked { holds, verified_from, torn_frames } = checked;
        let cut = holds.broken.map(|broken| cut(&connection, broken.position, broken.what)).transpose()?;
        index::catch_up(&connection)?;
        schema::checkpoint_whole(&connection)?;
        wal::make_room(folder)?;
        let head_file = HeadFile::create(&folder.join(HEAD), &holds.mark)?;
        let verified_file = HeadFile::create(&folder.join(VERIFIED), &holds.mark)?;
        schema::sync_folder(folder)?;
        let (epoch, epoch_id) = begin_epoch(&connection, why)?;

        let report =
            StartReport { records: holds.mark.head.position, verified_from, epoch, cut, torn_frames };
        if let Some(cut) = &report.cut {
            tracing::error!(
                from_position = cut.from_position,
                records = cut.records,
                what = cut.what,
                "records beyond the head were cut"
            );
        }
        if torn_frames > 0 {
            tracing::warn!(
                torn_frames,
                "the journal's log ended within a transaction that nobody was told of"
            );
        }
        let readers = Readers::open(folder)?;
        let shared = Arc::new(Shared::new(holds.mark));
        let (jobs, taken) = bounded(QUEUE_APPENDS_MAX);
        let head = SyncedHead::start(head_file)?;
        let writer = Writer {
            connection,
            jobs: taken,
            shared: Arc::clone(&shared),
            cycle: Cycle::new(holds.mark),
            head,
            verified_file,
            epoch: epoch_id,
            checkpoint_frames: settings.checkpoint_frames,
            commits_since_look: 0,
        };
        let writer = thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || writer.live())
            .map_err(JournalFault::disk("start a thread for", folder))?;
        Ok(Self { jobs: Some(jobs), writer: Some(writer), readers, shared, report })
    }

    /// What this start found.
    pub fn report(&self) -> &StartReport {
        &self.report
    }

    /// Lets the writer's thread panic at the next append: how tests see what becomes of a bug there.
    #[cfg(feature = "practice")]
    pub fn break_writer(&self) {
        self.shared.breaks.store(true, Ordering::Relaxed);
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            // Its panic was told to everybody who waited, as `WritingEnded`.
            let _ = writer.join();
        }
    }
}

impl Journal for SqliteJournal {
    fn append(&self, append: Append) -> Pending {
        if append.records.len() > APPEND_RECORDS_MAX || append.bytes() > APPEND_BYTES_MAX {
            return Pending::told(Err(AppendFault::TooLarge));
        }
        if !self.shared.writing_goes_on() {
            return Pending::told(Err(AppendFault::WritingEnded));
        }
        let (answer, pending) = Pending::new();
        let jobs = self.jobs.as_ref().expect("the sender lives as long as the journal");
        match jobs.try_send(Job { append, answer }) {
            Ok(()) => pending,
            Err(TrySendError::Full(_)) => {
                self.shared.busy.fetch_add(1, Ordering::Relaxed);
                Pending::told(Err(AppendFault::Busy))
            }
            Err(TrySendError::Disconnected(_)) => Pending::told(Err(AppendFault::WritingEnded)),
        }
    }

    fn read(&self, stream: &Stream, after_seq: u64, limit: usize) -> Result<Vec<StoredRecord>, JournalFault> {
        self.readers.read(&self.shared.recent, stream, after_seq, limit)
    }

    fn side(&self, space: SideSpace, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, JournalFault> {
        self.readers.side(space, key)
    }

    fn side_keys(&self, space: SideSpace, prefix: &str) -> Result<Vec<String>, JournalFault> {
        self.readers.side_keys(space, prefix)
    }

    fn wakes(&self) -> Result<Vec<(Stream, Moment)>, JournalFault> {
        self.readers.wakes()
    }

    fn streams(&self) -> Result<Vec<Stream>, JournalFault> {
        self.readers.streams(&self.shared.recent)
    }

    fn last_moment(&self) -> Option<Moment> {
        self.shared.mark().last_at
    }

    fn head(&self) -> Head {
        self.shared.mark().head
    }

    fn meters(&self) -> JournalMeters {
        self.shared.meters(self.jobs.as_ref().map_or(0, Sender::len))
    }

    fn backup(&self, to: &Path) -> Result<Head, JournalFault> {
        backup::copy(&self.readers.lend(), to)
    }
}

/// What the writer tells everybody else.
pub(super) struct Shared {
    mark: Mutex<Mark>,
    pub(super) recent: Recent,
    ended: OnceLock<WritingEnd>,
    records: AtomicU64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    busy: AtomicU64,
    commit_micros_total: AtomicU64,
    commit_micros_max: AtomicU64,
    #[cfg(feature = "practice")]
    breaks: AtomicBool,
}

impl Shared {
    fn new(mark: Mark) -> Self {
        Self {
            mark: Mutex::new(mark),
            recent: Recent::default(),
            ended: OnceLock::new(),
            records: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            commit_micros_total: AtomicU64::new(0),
            commit_micros_max: AtomicU64::new(0),
            #[cfg(feature = "practice")]
            breaks: AtomicBool::new(false),
        }
    }

    fn mark(&self) -> Mark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn committed(&self, mark: Mark, records: u64, took: Duration) {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_micros_total.fetch_add(micros, Ordering::Relaxed);
        self.commit_micros_max.fetch_max(micros, Ordering::Relaxed);
    }

    #[cfg(feature = "practice")]
    pub(super) fn breaks(&self) -> bool {
        self.breaks.load(Ordering::Relaxed)
    }

    pub(super) fn conflict(&self) {
        self.conflicts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn writing_goes_on(&self) -> bool {
        self.ended.get().is_none()
    }

    /// Ends writing for good in this process.
    pub(super) fn end_writing(&self, end: WritingEnd) {
        // The first reason stands.
        if self.ended.set(end.clone()).is_ok() {
            tracing::error!(?end, "writing to the journal has ended: start the server anew");
        }
    }

    fn meters(&self, queued: usize) -> JournalMeters {
        JournalMeters {
            records: self.records.load(Ordering::Relaxed),
            commits: self.commits.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            queued,
            commit_micros_total: self.commit_micros_total.load(Ordering::Relaxed),
            commit_micros_max: self.commit_micros_max.load(Ordering::Relaxed),
            writing_ended: self.ended.get().cloned(),
        }
    }
}

/// A journal that may be started on.
struct Checked {
    holds: Holds,
    verified_from: u64,
    torn_frames: u64,
}

/// Opens the database and holds it against its head, changing nothing but to make an absent one.
fn check(folder: &Path, verify_whole_records_max: u64) -> Result<(Connection, Checked), JournalFault> {
    let head_path = folder.join(HEAD);
    let found = HeadFile::look(&head_path)?;
    if !folder.join(DATABASE).exists() {
        start::may_begin(&found, &head_path)?;
    }
    let mut connection = schema::open_writer(folder)?;
    let never_started = match schema::content(&connection, folder)? {
        Content::Nothing => {
            schema::create(&mut connection)?;
            schema::sync_folder(folder)?;
            true
        }
        Content::Journal => {
            // The head is made before the first epoch begins, and the first epoch before the first record.
            let epochs: i64 = connection
                .query_row("SELECT count(*) FROM epochs", [], |row| row.get(0))
                .map_err(verify::damaged)?;
            epochs == 0
        }
    };
    let torn_frames = wal::frames_not_taken(&connection, folder)?;
    let verified = HeadFile::look(&folder.join(VERIFIED))?;
    let expected = start::expected(found, verified, never_started, verify_whole_records_max, &head_path)?;
    let whole = Expected { from: Mark::START, ..expected };
    let (holds, from) = match verify::verify(&connection, expected) {
        Ok(holds) => (holds, expected.from),
        // The mark itself may be what is wrong, and going through all of it names the place of the damage.
        Err(_) if expected.from != Mark::START => (verify::verify(&connection, whole)?, Mark::START),
        Err(fault) => return Err(fault),
    };
    if from == Mark::START {
        verify::check_database(&connection)?;
        index::check(&connection)?;
    }
    Ok((connection, Checked { holds, verified_from: from.head.position + 1, torn_frames }))
}

/// Cuts off what is broken beyond the head.
fn cut(connection: &Connection, from_position: u64, what: &'static str) -> Result<Cut, JournalFault> {
    // The triggers forbid deleting; this is the one place that may.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    let transaction = connection.unchecked_transaction()?;
    let records = transaction.execute("DELETE FROM records WHERE position >= ?1", [from_position])?;
    index::cut(&transaction, from_position)?;
    transaction.commit()?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true)?;
    Ok(Cut { from_position, records: records as u64, what })
}

/// Begins an epoch: a server that is still running on this journal can append no more.
fn begin_epoch(connection: &Connection, why: EpochBegins) -> Result<(u64, [u8; 16]), JournalFault> {
    let mut id = [0; 16];
    rand::fill(&mut id).expect("the system gives random bytes");
    let number = connection.query_row(
        "INSERT INTO epochs (number, id, began_at, why)
         SELECT coalesce(max(number), 0) + 1, ?1, ?2, ?3 FROM epochs RETURNING number",
        (id, wall_clock().0, why.as_str()),
        |row| row.get(0),
    )?;
    Ok((number, id))
}
