//! The journal on the simulated disk, behind the contract of all journals.

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kaibiao_engine::keeper::SideSpace;
use kaibiao_protocol::moment::Moment;
use zeroize::Zeroizing;

use super::{disk::SimDisk, journal::SimJournal};
use crate::journal::{Append, Head, Journal, JournalFault, JournalMeters, Pending, StoredRecord, Stream};

/// A [`SimJournal`] that steps by itself: an append is answered when it returns.
pub struct SharedSimJournal(Mutex<SimJournal>);

impl SharedSimJournal {
    /// Starts on what the disk holds.
    ///
    /// # Errors
    /// As [`SimJournal::open`].
    pub fn open(disk: &SimDisk) -> Result<Self, JournalFault> {
        Ok(Self(Mutex::new(SimJournal::open(disk)?.0)))
    }

    fn lock(&self) -> MutexGuard<'_, SimJournal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for SharedSimJournal {
    fn append(&self, append: Append) -> Pending {
        let mut journal = self.lock();
        let mut answers = Vec::new();
        journal.append(append);
        journal.run(&mut answers);
        let (_, outcome) = answers.pop().expect("every append is answered, and nobody else's is left");
        Pending::told(outcome)
    }

    fn read(&self, stream: &Stream, after_seq: u64, limit: usize) -> Result<Vec<StoredRecord>, JournalFault> {
        self.lock().read(stream, after_seq, limit)
    }

    fn side(&self, space: SideSpace, key: &str) -> Result<Option<Zeroizing<Vec<u8>>>, JournalFault> {
        Ok(self.lock().side(space, key))
    }

    fn side_keys(&self, space: SideSpace, prefix: &str) -> Result<Vec<String>, JournalFault> {
        Ok(self.lock().side_keys(space, prefix))
    }

    fn wakes(&self) -> Result<Vec<(Stream, Moment)>, JournalFault> {
        Ok(self.lock().wakes())
    }

    fn streams(&self) -> Result<Vec<Stream>, JournalFault> {
        Ok(self.lock().streams())
    }

    fn last_moment(&self) -> Option<Moment> {
        self.lock().last_moment()
    }

    fn head(&self) -> Head {
        self.lock().head()
    }

    fn meters(&self) -> JournalMeters {
        self.lock().meters()
    }

    /// There is no folder form of a journal on a simulated disk.
    fn backup(&self, _to: &Path) -> Result<Head, JournalFault> {
        Err(JournalFault::Scripted)
    }
}
