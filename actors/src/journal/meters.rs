//! What the journal counts of itself, for metrics and alarms.

/// Why writing ended in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WritingEnd {
    /// A write, commit or sync failed: the disk, the file system or SQLite.
    Failed(String),
    /// Another server has begun a later epoch on this journal.
    Superseded,
}

/// Counters since the start, and the state of the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalMeters {
    /// Records made durable.
    pub records: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Appends refused for their expected version.
    pub conflicts: u64,
    /// Appends refused because the queue was full.
    pub busy: u64,
    /// Appends waiting for the writer now.
    pub queued: usize,
    /// Microseconds of all commits together, waiting for the disk included.
    pub commit_micros_total: u64,
    /// Microseconds of the longest commit.
    pub commit_micros_max: u64,
    /// Why writing has ended; `None` while it goes on. Anything else is an alarm.
    pub writing_ended: Option<WritingEnd>,
}
