//! The log and the head slots as the commit cycle sees them.

use std::io;

use kaibiao_engine::{
    keeper::SideWrite,
    planted::{Planted, planted},
};
use kaibiao_protocol::moment::Moment;

use super::{
    content::{Content, Staged},
    disk::SimDisk,
    log::Transaction,
};
use crate::journal::{
    StoredRecord, Stream,
    cycle::{Commit, HeadSlots, Placed, Row, Store, StoreFault, Tail},
    head::{Mark, SLOT_BYTES, SLOTS},
};

/// The folder of the journal on the disk.
pub(super) const FOLDER: &str = "journal";
pub(super) const LOG: &str = "journal/log";
pub(super) const HEAD: &str = "journal/head";
pub(super) const EPOCH: &str = "journal/epoch";

/// The log, with what it holds.
pub(super) struct LogStore {
    pub(super) disk: SimDisk,
    pub(super) content: Content,
    /// The epoch this process began.
    pub(super) epoch: u64,
    /// Where the log ends, and the check there.
    pub(super) end: usize,
    pub(super) check: u64,
    /// The transaction in hand.
    pub(super) transaction: Transaction,
    pub(super) staged: Vec<Staged>,
    /// The same two once it is written and until it is synced.
    pub(super) written: Option<(usize, u64)>,
    /// The stream whose records follow.
    pub(super) stream: Option<Stream>,
}

impl LogStore {
    fn clear(&mut self) {
        self.transaction.clear();
        self.staged.clear();
        self.written = None;
    }
}

impl Store for LogStore {
    fn begin(&mut self) -> Result<(), StoreFault> {
        self.clear();
        Ok(())
    }

    fn is_ours(&mut self) -> Result<bool, StoreFault> {
        let mut last = [0; 8];
        self.disk.read_exact_at(EPOCH, &mut last, 0).map_err(failed)?;
        Ok(u64::from_le_bytes(last) == self.epoch)
    }

    fn tail(&mut self, stream: &Stream, _: &str) -> Result<Tail, StoreFault> {
        Ok(self.content.tail(stream))
    }

    fn place(&mut self, placed: Placed) {
        self.stream = Some(placed.stream);
    }

    fn insert(&mut self, row: &Row<'_>) -> Result<(), StoreFault> {
        self.transaction.record(row);
        let Row { position, chained, hash } = row;
        let stream = self.stream.clone().expect("an append is placed before its records");
        let record = StoredRecord {
            seq: chained.seq,
            position: *position,
            at: chained.at,
            kind: chained.kind.to_owned(),
            version: chained.version,
            command_id: chained.command_id,
            payload: chained.payload.to_vec(),
            hash: *hash,
        };
        self.staged.push(Staged::Record(stream, record));
        Ok(())
    }

    fn wake(&mut self, stream: &Stream, name: &str, at: Option<Moment>) -> Result<(), StoreFault> {
        self.transaction.wake(name, at);
        self.staged.push(Staged::Wake(stream.clone(), at));
        Ok(())
    }

    fn side(&mut self, write: &SideWrite) -> Result<(), StoreFault> {
        self.transaction.side(write);
        self.staged.push(Staged::Side(match write {
            SideWrite::Put { space, key, value } => {
                SideWrite::Put { space: *space, key: key.clone(), value: value.clone() }
            }
            SideWrite::Delete { space, key } => SideWrite::Delete { space: *space, key: key.clone() },
        }));
        Ok(())
    }

    fn commit(&mut self) -> Result<Commit, StoreFault> {
        if self.transaction.is_empty() {
            return Ok(Commit::Done);
        }
        let Some((end, check)) = self.written else {
            let (bytes, check) = self.transaction.seal(self.check);
            let end = self.end + bytes.len();
            self.disk.write_at(LOG, self.end, bytes).map_err(|fault| match fault.kind() {
                io::ErrorKind::StorageFull => StoreFault::NoRoom(fault.to_string()),
                _ => failed(fault),
            })?;
            self.written = Some((end, check));
            return Ok(Commit::Goes);
        };
        // As if the database were told `PRAGMA synchronous = OFF`.
        if !planted(Planted::AckBeforeSync) {
            self.disk.sync(LOG).map_err(failed)?;
        }
        (self.end, self.check) = (end, check);
        for staged in self.staged.drain(..) {
            self.content.apply(staged);
        }
        self.clear();
        Ok(Commit::Done)
    }

    fn roll_back(&mut self) -> bool {
        // What is written and not synced may be durable all the same.
        let undone = self.written.is_none();
        self.clear();
        undone
    }
}

/// The two slots of the head.
pub(super) struct Slots {
    disk: SimDisk,
    next_slot: usize,
    sync_under_way: bool,
}

impl Slots {
    /// Writes `mark` into both slots, one after the other, and syncs each.
    pub(super) fn create(disk: &SimDisk, mark: &Mark) -> io::Result<Self> {
        let mut slots = Self { disk: disk.clone(), next_slot: 0, sync_under_way: false };
        for _ in 0..SLOTS {
            slots.write_slot(mark)?;
            disk.sync(HEAD)?;
        }
        Ok(slots)
    }

    pub(super) fn sync_under_way(&self) -> bool {
        self.sync_under_way
    }

    fn write_slot(&mut self, mark: &Mark) -> io::Result<()> {
        self.disk.write_at(HEAD, self.next_slot * SLOT_BYTES, &mark.slot())?;
        self.next_slot = (self.next_slot + 1) % SLOTS as usize;
        Ok(())
    }
}

impl HeadSlots for Slots {
    fn write(&mut self, mark: &Mark) -> Result<(), String> {
        self.write_slot(mark).map_err(|fault| format!("failed to write {HEAD}: {fault}"))
    }

    fn begin_sync(&mut self) {
        self.sync_under_way = true;
    }

    fn wait_sync(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.sync_under_way) {
            return Ok(());
        }
        self.disk.sync(HEAD).map_err(|fault| fault.to_string())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over results")]
fn failed(fault: io::Error) -> StoreFault {
    StoreFault::Failed(fault.to_string())
}
