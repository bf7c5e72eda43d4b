//! The journal: what has happened, in streams, each record durable before anybody is told.
//!
//! A stream's records are numbered from 1 and tied to one another by [`kaibiao_sealed::chain`]; all records
//! of the journal together are counted by *position*, and a running hash over them is the journal's *head*.
//! Two journals follow one contract, stated at [`Journal`]: [`SqliteJournal`] on a disk, and
//! `memory::MemoryJournal` (feature `practice`), which fails by script. The stored form is specified in
//! `docs/formats/journal.md`.
//!
//! What is absent: a way to change or take back a record, and a way to write without an expected version.

mod backup;
mod cycle;
mod database;
mod fault;
mod head;
mod index;
#[cfg(feature = "practice")]
pub mod memory;
mod meters;
mod pending;
mod readers;
mod schema;
#[cfg(feature = "practice")]
pub mod simulated;
mod sqlite;
mod start;
mod stream;
mod syncer;
mod verify;
mod wal;
mod writer;

use std::path::Path;

use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};
use zeroize::Zeroizing;

pub use backup::restore_journal;
pub use fault::{AppendFault, JournalFault};
pub use head::Head;
pub use meters::{JournalMeters, WritingEnd};
pub use pending::{Answer, Pending};
pub use sqlite::{Cut, JournalSettings, SqliteJournal, StartReport};
pub use stream::{NotAStream, Stream};

/// The head, and the latest stamp it covers, that a head file with these bytes tells: for fuzzing.
#[cfg(feature = "practice")]
pub(crate) fn head_in(bytes: &[u8]) -> Option<(Head, Option<Moment>)> {
    match head::Found::of(bytes) {
        head::Found::Mark(mark) => Some((mark.head, mark.last_at)),
        head::Found::Absent | head::Found::Unreadable => None,
    }
}

/// Appends that may wait for the writer; one more is answered [`AppendFault::Busy`].
pub const QUEUE_APPENDS_MAX: usize = 32_768;
/// Records one append may hold.
pub const APPEND_RECORDS_MAX: usize = 4_096;
/// Bytes (payloads and side values) one append may hold.
pub const APPEND_BYTES_MAX: usize = 256 << 20;
/// Records one read gives at most.
pub const READ_RECORDS_MAX: usize = 10_000;
/// Bytes of payload after which a read ends early; a single record may be larger.
pub const READ_BYTES_MAX: usize = 16 << 20;

/// A record to be written.
#[derive(Clone, Debug)]
pub struct RawRecord {
    /// The event's name.
    pub kind: &'static str,
    /// The version of its form.
    pub version: u16,
    /// Its stamp.
    pub at: Moment,
    /// The command that made it, where one is named.
    pub command_id: Option<CommandId>,
    /// The event's bytes, stored and hashed as they are.
    pub payload: Vec<u8>,
}

/// What is written together or not at all.
pub struct Append {
    /// To which stream.
    pub stream: Stream,
    /// The seq of the stream's last record as the asker knows it; 0 for an empty stream.
    pub expected_seq: u64,
    /// The records, in order. With none, only `side` is written: `expected_seq` and `wake_at` are not looked
    /// at.
    pub records: Vec<RawRecord>,
    /// When the stream wants to be woken next; replaces what was noted before. `None`: not at all.
    pub wake_at: Option<Moment>,
    /// Changes to the side table, in order.
    pub side: Vec<SideWrite>,
}

impl Append {
    /// An append that changes the side table alone.
    pub fn side_only(stream: Stream, side: Vec<SideWrite>) -> Self {
        Self { stream, expected_seq: 0, records: Vec::new(), wake_at: None, side }
    }

    /// Bytes of its payloads and side values.
    pub fn bytes(&self) -> usize {
        let payloads: usize = self.records.iter().map(|record| record.payload.len()).sum();
        let values: usize = self
            .side
            .iter()
            .map(|write| match write {
                SideWrite::Put { value, .. } => value.len(),
                SideWrite::Delete { .. } => 0,
            })
            .sum();
        payloads + values
    }
}

/// An append that is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The seq of the stream's last record; for an append without records 0.
    pub last_seq: u64,
    /// The chain hashes of the records written, in order.
    pub hashes: Vec<Digest>,
}

/// A record as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord {
    /// Its place in its stream, from 1.
    pub seq: u64,
    /// Its place among all records, from 1.
    pub position: u64,
    /// Its stamp.
    pub at: Moment,
    /// The event's name.
    pub kind: String,
    /// The version of its form.
    pub version: u16,
    /// The command that made it.
    pub command_id: Option<CommandId>,
    /// The event's exact bytes.
    pub payload: Vec<u8>,
    /// Its chain hash.
    pub hash: Digest,
}

/// The contract of a journal.
///
/// 1. An append is whole or absent: records, side values and wake are written in one transaction.
/// 2. `Ok` is said only when the append is durable and every append answered before it is covered by a
///    durable head. What was answered `Ok` is there after any crash, or the next start is refused.
/// 3. A wrong `expected_seq` fails its own append ([`AppendFault::Conflict`]) and no other.
/// 4. `Busy`, `TooLarge`, `Conflict` and `NoRoom` mean: not written, and writing goes on. `WritingEnded`
///    means: unknown whether written; every later append is answered so too, until the process has been
///    started anew. Reading goes on.
/// 5. Appends to one stream are written in the order in which `append` was called.
/// 6. Reads see durable records only, and check the chain of what they give.
///
/// `append` never blocks. All other methods may read the disk: keep them off an actor's thread where that
/// counts.
pub trait Journal: Send + Sync {
    /// Hands records to the writer. The answer comes through the returned future; dropping it does not take
    /// the append back.
    fn append(&self, append: Append) -> Pending;

    /// The records of `stream` after `after_seq`, oldest first: at most `limit`, and at most
    /// [`READ_RECORDS_MAX`] or about [`READ_BYTES_MAX`]. Empty only at the stream's end.
    ///
    /// # Errors
    /// The disk fails, or the chain is broken.
    fn read(&self, stream: &Stream, after_seq: u64, limit: usize) -> Result<Vec<StoredRecord>, JournalFault>;

    /// One value of the side table.
    ///
    /// # Errors
    /// The disk fails.
    fn side(&self, space: SideSpace, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, JournalFault>;

    /// The keys of a space that begin with `prefix`, in byte order.
    ///
    /// # Errors
    /// The disk fails.
    fn side_keys(&self, space: SideSpace, prefix: &str) -> Result<Vec<String>, JournalFault>;

    /// Which streams want to be woken, and when; in no particular order.
    ///
    /// # Errors
    /// The disk fails.
    fn wakes(&self) -> Result<Vec<(Stream, Moment)>, JournalFault>;

    /// Every stream that has a record, in byte order of their names.
    ///
    /// # Errors
    /// The disk fails.
    fn streams(&self) -> Result<Vec<Stream>, JournalFault>;

    /// The latest stamp of any record. Stamps may reach the journal out of order: it need not be the last
    /// record's.
    fn last_moment(&self) -> Option<Moment>;

    /// Position and running hash of the last durable record.
    fn head(&self) -> Head;

    /// What the journal counts of itself.
    fn meters(&self) -> JournalMeters;

    /// Copies the journal into the new or empty folder `to` while writing goes on, checks the copy's chain
    /// and gives its head. The copy is as of one instant at or after the call.
    ///
    /// # Errors
    /// The disk fails, `to` holds something already, or the copy is damaged.
    fn backup(&self, to: &Path) -> Result<Head, JournalFault>;
}
