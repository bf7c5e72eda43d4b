//! The store of files: sealed bids, and what is still being handed in.
//!
//! A file is *staged* while its bytes come in and *sealed* once it is whole; its name is a random id that
//! tells nothing. What a file is, whose, and with which digest, stands in the journal alone: whoever can
//! change this folder can at most make an unsealing fail with evidence, never make a changed bid pass.
//!
//! [`LocalFiles`] keeps them in a folder. The same methods fit an object store with multipart upload.

mod durable;
mod fault;
mod local;
mod open_staged;
mod segments;

use std::sync::Arc;

use kaibiao_protocol::ids::FileId;
use kaibiao_sealed::read_at::ReadAt;

pub use durable::{Durable, DurableSayer};
pub use fault::FileFault;
pub(crate) use local::copy_files;
pub use local::{DeletesHeld, FileSettings, LocalFiles};
pub use segments::SegmentsFound;

/// Bytes of the disk kept free for the journal: an upload that would eat into them is refused.
pub const ROOM_KEPT_BYTES: u64 = 256 << 20;
/// Staged files kept open at a time; another one is synced and closed first.
pub const STAGED_OPEN_MAX: usize = 1_024;
/// Bytes of one file; far above any project's limit, so that no length overflows.
pub const FILE_BYTES_MAX: u64 = 1 << 46;

/// A file declared at most this long is small, and lies in a segment with others.
pub const SMALL_FILE_BYTES_MAX: u64 = 256 << 10;
/// Bytes of small files gathered in memory; beyond them, what is written goes to the disk at once.
pub const GATHERED_BYTES_MAX: u64 = 128 << 20;

/// A sealed file, open for reading by many threads at once.
pub trait StoredFile: ReadAt {
    /// Its length in bytes.
    fn bytes(&self) -> u64;
}

/// The contract of a store of files.
///
/// 1. `finish` returns only when the file's bytes and its new name are durable: the caller may acknowledge
///    then.
/// 2. A staged file holds exactly what the calls of `write_at` that returned `Ok` wrote, or (after a crash) a
///    prefix-whole part of it that `staged_bytes` tells; a failed call leaves the length as it was.
/// 3. Once a sync of a file failed, every later call for it fails: what the disk holds of it is unknown.
/// 4. A full disk is [`FileFault::NoRoom`], and other files are not harmed.
/// 5. A sealed file is never changed.
/// 6. What was begun and never synced may be unknown after a crash; what was deleted may be there again, as staged, if it
///    was never sealed.
///
/// All methods but `sync_soon` and `finish_soon` block on the disk: call them on threads made for it.
pub trait Files: Send + Sync {
    /// Begins a staged file of a declared length and draws its id. The disk keeps room for all of it, so that
    /// what was begun can be finished.
    ///
    /// # Errors
    /// `NoRoom`, `TooLarge` or a failing disk.
    fn begin(&self, declared_bytes: u64) -> Result<FileId, FileFault>;

    /// Begins a staged file anew under an id that was drawn before, where nothing is stored under it: what was begun,
    /// and never synced, may be gone after a crash. A store that loses no beginning need not know how.
    ///
    /// # Errors
    /// As [`Files::begin`]; `Unknown` where the store does not know how.
    fn begin_again(&self, id: &FileId, _declared_bytes: u64) -> Result<(), FileFault> {
        Err(FileFault::Unknown(*id))
    }

    /// Writes bytes at a place of a staged file, at most at its present end.
    ///
    /// # Errors
    /// `Unknown`, `Gap`, `NoRoom` or a failing disk.
    fn write_at(&self, id: &FileId, offset: u64, bytes: &[u8]) -> Result<(), FileFault>;

    /// Makes what was written to a staged file durable, and its staged name too.
    ///
    /// # Errors
    /// `Unknown` or a failing disk.
    fn sync(&self, id: &FileId) -> Result<(), FileFault>;

    /// Turns a staged file into a sealed one: sync, rename, sync of the folders. Harmless when it is sealed
    /// already.
    ///
    /// # Errors
    /// `Unknown` or a failing disk.
    fn finish(&self, id: &FileId) -> Result<(), FileFault>;

    /// [`Files::sync`] without waiting on a thread, for a file that the store commits together with others. None: it is
    /// a file of its own, to be synced on a thread made for it.
    fn sync_soon(&self, _id: &FileId) -> Option<Durable> {
        None
    }

    /// [`Files::finish`] in the same way.
    fn finish_soon(&self, _id: &FileId) -> Option<Durable> {
        None
    }

    /// Opens a sealed file, or a staged one whose checks are being made.
    ///
    /// # Errors
    /// `Unknown` or a failing disk.
    fn open(&self, id: &FileId) -> Result<Arc<dyn StoredFile>, FileFault>;

    /// How many bytes of a staged file are written.
    ///
    /// # Errors
    /// `Unknown` or a failing disk.
    fn staged_bytes(&self, id: &FileId) -> Result<u64, FileFault>;

    /// Deletes a file, staged or sealed. Harmless when it is gone already.
    ///
    /// # Errors
    /// A failing disk.
    fn delete(&self, id: &FileId) -> Result<(), FileFault>;

    /// Every staged file, as found at a start: to be gone on with or deleted.
    ///
    /// # Errors
    /// A failing disk.
    fn staged(&self) -> Result<Vec<FileId>, FileFault>;

    /// Bytes that uploads may still fill: what the disk has free beyond [`ROOM_KEPT_BYTES`].
    ///
    /// # Errors
    /// A failing disk.
    fn free_bytes(&self) -> Result<u64, FileFault>;
}
