//! The head: how far the journal has come, kept in a second file so that a journal cut short is noticed.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::digest::{sha256, sha256_of};

use super::JournalFault;

/// How far a journal has come: the count of its records, and a running hash over all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The position of the last record; 0 for an empty journal.
    pub position: u64,
    /// The running hash: SHA-256 over `kaibiao head 1\n`, the running hash before, the position (8 bytes,
    /// big-endian) and the record's chain hash. 32 zero bytes for an empty journal.
    pub hash: Digest,
}

impl Head {
    /// The head of an empty journal.
    pub const START: Head = Head { position: 0, hash: Digest([0; 32]) };

    /// The head after one more record.
    #[must_use]
    pub fn after(self, record_hash: &Digest) -> Head {
        let position = self.position + 1;
        let hash = sha256_of(&[
            b"kaibiao head 1\n",
            self.hash.as_bytes(),
            &position.to_be_bytes(),
            record_hash.as_bytes(),
        ]);
        Head { position, hash }
    }
}

/// A head with the latest stamp among the records it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub(super) head: Head,
    pub(super) last_at: Option<Moment>,
}

impl Mark {
    pub(super) const START: Mark = Mark { head: Head::START, last_at: None };

    /// The mark after one more record.
    pub(super) fn after(self, record_hash: &Digest, at: Moment) -> Mark {
        Mark { head: self.head.after(record_hash), last_at: self.last_at.max(Some(at)) }
    }

    /// One line of text with a check of its own, so that a torn slot is told from a whole one.
    fn line(&self) -> String {
        let at = self.last_at.map_or("-".to_owned(), |at| at.0.to_string());
        let facts = format!("kaibiao-head 1 {} {} {at}", self.head.position, self.head.hash);
        let check = sha256(facts.as_bytes()).to_string();
        format!("{facts} {}\n", &check[..CHECK_DIGITS])
    }

    /// The line filled up to a slot.
    pub(super) fn slot(&self) -> [u8; SLOT_BYTES] {
        let mut slot = [b' '; SLOT_BYTES];
        let line = self.line();
        slot[..line.len()].copy_from_slice(line.as_bytes());
        slot
    }

    fn parse(slot: &[u8]) -> Option<Mark> {
        let end = slot.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&slot[..end]).ok()?;
        let mut words = line.split(' ').skip(2);
        let position = words.next()?.parse().ok()?;
        let hash = words.next()?.parse().ok()?;
        let last_at = match words.next()? {
            "-" => None,
            at => Some(Moment(at.parse().ok()?)),
        };
        let mark = Mark { head: Head { position, hash }, last_at };
        // Written anew and compared: one spelling only, and the check with it.
        (mark.line().as_bytes() == &slot[..=end]).then_some(mark)
    }
}

const CHECK_DIGITS: usize = 16;
/// Each slot lies in a page and a sector of its own, so that a torn write of one leaves the other whole.
pub(super) const SLOT_BYTES: usize = 4_096;
pub(super) const SLOTS: u64 = 2;

/// A file of two slots, written in turn.
pub(super) struct HeadFile {
    path: PathBuf,
    file: File,
    next_slot: u64,
}

/// What a head file holds.
pub(super) enum Found {
    /// There is no such file.
    Absent,
    /// Neither slot is whole.
    Unreadable,
    /// The newer of the whole slots.
    Mark(Mark),
}

impl Found {
    /// What the bytes of a head file hold.
    pub(super) fn of(bytes: &[u8]) -> Found {
        let marks = bytes.chunks(SLOT_BYTES).take(SLOTS as usize).filter_map(Mark::parse);
        marks.max_by_key(|mark| mark.head.position).map_or(Found::Unreadable, Found::Mark)
    }
}

impl HeadFile {
    /// Reads without changing anything.
    pub(super) fn look(path: &Path) -> Result<Found, JournalFault> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Found::of(&bytes)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(Found::Absent),
            Err(fault) => Err(JournalFault::disk("read", path)(fault)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `mark` into both slots of the file, which is made if it is absent, and syncs it.
    /// The folder is for the caller to sync.
    pub(super) fn create(path: &Path, mark: &Mark) -> Result<Self, JournalFault> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = file.map_err(JournalFault::disk("open", path))?;
        let mut head = HeadFile { path: path.to_owned(), file, next_slot: 0 };
        // One slot at a time: a crash between the two leaves one that is whole.
        for _ in 0..SLOTS {
            head.write(mark)?;
            head.file.sync_all().map_err(JournalFault::disk("sync", path))?;
        }
        Ok(head)
    }

    /// Writes `mark` into the older slot; durable only after a sync.
    pub(super) fn write(&mut self, mark: &Mark) -> Result<(), JournalFault> {
        self.file
            .write_all_at(&mark.slot(), self.next_slot * SLOT_BYTES as u64)
            .map_err(JournalFault::disk("write", &self.path))?;
        self.next_slot = (self.next_slot + 1) % SLOTS;
        Ok(())
    }

    /// Syncs what was written.
    pub(super) fn sync(&self) -> Result<(), JournalFault> {
        self.file.sync_data().map_err(JournalFault::disk("sync", &self.path))
    }

    /// The file again, for a thread that syncs it.
    pub(super) fn for_syncing(&self) -> Result<File, JournalFault> {
        self.file.try_clone().map_err(JournalFault::disk("open", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(position: u64) -> Mark {
        Mark { head: Head { position, hash: sha256(&position.to_be_bytes()) }, last_at: Some(Moment(-5)) }
    }

    fn found(path: &Path) -> Option<Mark> {
        match HeadFile::look(path).unwrap() {
            Found::Mark(mark) => Some(mark),
            Found::Absent | Found::Unreadable => None,
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_head_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head");
        assert!(matches!(HeadFile::look(&path).unwrap(), Found::Absent));
        let mut head = HeadFile::create(&path, &Mark::START).unwrap();
        assert_eq!(found(&path), Some(Mark::START));
        head.write(&mark(1)).unwrap();
        head.write(&mark(2)).unwrap();
        assert_eq!(found(&path), Some(mark(2)));

        let whole = std::fs::read(&path).unwrap();
        let second = whole.len() / 2;
        for byte in second..second + mark(2).line().len() {
            let mut torn = whole.clone();
            torn[byte] ^= 1;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(found(&path), Some(mark(1)), "byte {byte} of the newer slot");
        }
        std::fs::write(&path, &whole[..second]).unwrap();
        assert_eq!(found(&path), Some(mark(1)));
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(HeadFile::look(&path).unwrap(), Found::Unreadable));
    }

    #[test]
    fn a_head_has_one_spelling() {
        let line = mark(7).line();
        assert_eq!(Mark::parse(line.as_bytes()), Some(mark(7)));
        assert_eq!(Mark::parse(line.replace(" 7 ", " 07 ").as_bytes()), None);
        assert_eq!(Mark::parse(line.replace("head 1", "head 2").as_bytes()), None);
    }
}
