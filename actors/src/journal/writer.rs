//! The one thread that writes: it takes all appends that wait, writes them in one transaction, and answers
//! them when that is durable. While it is at one commit, the appends of the next one gather in its queue.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::Receiver;
use rusqlite::{Connection, ErrorCode};

use super::{
    Append, AppendFault, JournalFault,
    cycle::{Cycle, Gathered, HeadSlots, Step},
    database::Database,
    head::HeadFile,
    index,
    meters::WritingEnd,
    pending::Answer,
    schema,
    sqlite::Shared,
    syncer::SyncedHead,
};

/// Commits between two looks at the log's length.
const COMMITS_BETWEEN_LOOKS: u32 = 16;

/// An append with whoever waits for it.
pub(super) struct Job {
    pub(super) append: Append,
    pub(super) answer: Answer,
}

impl AsRef<Append> for Job {
    fn as_ref(&self) -> &Append {
        &self.append
    }
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) jobs: Receiver<Job>,
    pub(super) shared: Arc<Shared>,
    pub(super) cycle: Cycle,
    pub(super) head: SyncedHead,
    /// Kept when the thread ends in order.
    pub(super) verified_file: HeadFile,
    /// The epoch this process began; another one in the database means another server.
    pub(super) epoch: [u8; 16],
    pub(super) checkpoint_frames: u32,
    pub(super) commits_since_look: u32,
}

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
        match self.write() {
            Ok(()) => self.close(),
            Err(end) => self.shared.end_writing(end),
        }
    }

    /// Writes group after group, until every sender is gone.
    ///
    /// # Errors
    /// Writing has to end.
    fn write(&mut self) -> Result<(), WritingEnd> {
        let Self { connection, jobs, shared, cycle, head, .. } = self;
        let mut store = Database::new(connection, Arc::clone(shared), self.epoch)
            .map_err(|fault| WritingEnd::Failed(format!("a statement was not made ready: {fault}")))?;
        let mut group = Vec::new();
        while let Ok(first) = jobs.recv() {
            gather(jobs, first, &mut group);
            #[cfg(feature = "practice")]
            assert!(!shared.breaks(), "the writer's thread breaks by script");
            let started = Instant::now();
            if let Err(end) = commit(cycle, &group, &mut store, head) {
                // Told before anybody hears of it.
                shared.end_writing(end.clone());
                group.drain(..).for_each(|job| job.answer.say(Err(AppendFault::WritingEnded)));
                return Err(end);
            }
            shared.recent.remember(store.placed());
            shared.committed(cycle.mark(), cycle.records_added(), started.elapsed());
            for (job, outcome) in group.drain(..).zip(cycle.outcomes()) {
                if matches!(outcome, Err(AppendFault::Conflict { .. })) {
                    shared.conflict();
                }
                job.answer.say(outcome);
            }
            self.commits_since_look += 1;
            if self.commits_since_look == COMMITS_BETWEEN_LOOKS {
                self.commits_since_look = 0;
                tend(connection, shared, self.checkpoint_frames)?;
            }
        }
        Ok(())
    }

    /// Ends in order: the log moved, the head synced, the mark kept for a fast start.
    fn close(mut self) {
        let closed = index::flush(&self.connection, &self.shared.recent)
            .map_err(JournalFault::from)
            .and_then(|()| schema::checkpoint_whole(&self.connection))
            .map_err(|fault| fault.to_string())
            .and_then(|()| self.head.wait_sync())
            .and_then(|()| self.verified_file.write(&self.cycle.mark()).map_err(|fault| fault.to_string()))
            .and_then(|()| self.verified_file.sync().map_err(|fault| fault.to_string()));
        if let Err(fault) = closed {
            // All that was acknowledged is durable already: the next start only takes longer.
            tracing::warn!(%fault, "the journal was not closed in order");
        }
    }
}

/// Takes all that waits, up to a group's size.
fn gather(jobs: &Receiver<Job>, first: Job, group: &mut Vec<Job>) {
    let mut gathered = Gathered::default();
    let mut next = Some(first);
    while let Some(job) = next {
        let more = gathered.take(&job.append);
        group.push(job);
        next = if more { jobs.try_recv().ok() } else { None };
    }
}

/// Goes through the whole cycle for one group.
///
/// # Errors
/// Writing has to end: it is unknown what of the group is durable.
fn commit(
    cycle: &mut Cycle,
    group: &[Job],
    store: &mut Database<'_>,
    head: &mut SyncedHead,
) -> Result<(), WritingEnd> {
    loop {
        match cycle.step(group, store, head) {
            Step::Goes(_) => {}
            Step::Done => return Ok(()),
            Step::Ended(end) => return Err(end),
        }
    }
}

/// Moves the log into the database when it has grown long; the answers are out already.
///
/// # Errors
/// A checkpoint failed: writing has to end.
fn tend(connection: &Connection, shared: &Shared, checkpoint_frames: u32) -> Result<(), WritingEnd> {
    let checkpointed = log_frames(connection, "PRAGMA wal_checkpoint(NOOP)").and_then(|frames| {
        if frames < i64::from(checkpoint_frames) {
            return Ok(frames);
        }
        index::flush(connection, &shared.recent)?;
        log_frames(connection, "PRAGMA wal_checkpoint(PASSIVE)")
    });
    match checkpointed {
        Ok(_) => Ok(()),
        // The log keeps what the database has no room for: writing goes on while the log has.
        Err(fault) if fault.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::error!("the disk has no room to move the journal's log into its database");
            Ok(())
        }
        Err(fault) => Err(WritingEnd::Failed(format!("a checkpoint failed: {fault}"))),
    }
}

/// Runs a checkpoint pragma and gives the log's length in frames.
fn log_frames(connection: &Connection, pragma: &str) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached(pragma)?.query_row([], |row| row.get(1))
}
