//! The store in a folder: `staged/xx/ID` and `sealed/xx/ID`, where `xx` are the id's first two digits, and small files
//! in `segments`.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::rand;
use kaibiao_protocol::ids::FileId;
use kaibiao_sealed::read_at::ReadAt;
use rustix::{
    fs::{FallocateFlags, fallocate, statvfs},
    io::Errno,
};

use super::{
    Durable, FILE_BYTES_MAX, FileFault, Files, ROOM_KEPT_BYTES, SMALL_FILE_BYTES_MAX, STAGED_OPEN_MAX,
    StoredFile,
    open_staged::OpenStaged,
    segments::{SEGMENT, Segments, SegmentsFound},
};

/// The folder of segments.
const SEGMENTS: &str = "segments";

/// A store in a folder. Clones are the same store.
#[derive(Clone)]
pub struct LocalFiles(Arc<Inner>);

/// What may be set of a store; the defaults are meant for everybody but tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileSettings {
    /// Bytes of the disk kept free.
    pub room_kept_bytes: u64,
    /// Staged files of their own held open at a time.
    pub staged_open_max: usize,
    /// A file declared longer than this is one of its own; at most [`SMALL_FILE_BYTES_MAX`]. 0: all are.
    pub small_bytes_max: u64,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            room_kept_bytes: ROOM_KEPT_BYTES,
            staged_open_max: STAGED_OPEN_MAX,
            small_bytes_max: SMALL_FILE_BYTES_MAX,
        }
    }
}

struct Inner {
    folder: PathBuf,
    settings: FileSettings,
    open_staged: OpenStaged,
    segments: Segments,
    found: SegmentsFound,
    deletes: Mutex<Deletes>,
}

#[derive(Default)]
struct Deletes {
    holders: usize,
    waiting: BTreeSet<FileId>,
}

/// While it lives, deletes are noted and not made: a backup that copied the journal finds every file it
/// names.
pub struct DeletesHeld(LocalFiles);

#[derive(Clone, Copy)]
enum Place {
    Staged,
    Sealed,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Staged => "staged",
            Place::Sealed => "sealed",
        }
    }
}

impl LocalFiles {
    /// Opens the store in `folder`, or makes it there.
    ///
    /// # Errors
    /// A failing disk.
    pub fn open(folder: &Path) -> Result<Self, FileFault> {
        Self::open_with(folder, FileSettings::default())
    }

    /// The same with settings of one's own.
    ///
    /// # Errors
    /// A failing disk.
    pub fn open_with(folder: &Path, settings: FileSettings) -> Result<Self, FileFault> {
        for place in [Place::Staged, Place::Sealed] {
            let place = folder.join(place.name());
            make_folder(&place)?;
            // All are made beforehand, so that storing a file makes one name only.
            for first in 0..=u8::MAX {
                make_folder(&place.join(format!("{first:02x}")))?;
            }
            sync_folder(&place)?;
        }
        let (segments, found) = Segments::open(&folder.join(SEGMENTS))?;
        sync_folder(folder)?;
        Ok(Self(Arc::new(Inner {
            folder: folder.to_owned(),
            settings,
            open_staged: OpenStaged::new(settings.staged_open_max),
            segments,
            found,
            deletes: Mutex::default(),
        })))
    }

    /// What this start found in the segments.
    pub fn found(&self) -> SegmentsFound {
        self.0.found
    }

    /// Holds deletes back until the guard is dropped.
    pub fn hold_deletes(&self) -> DeletesHeld {
        self.deletes().holders += 1;
        DeletesHeld(self.clone())
    }

    /// Copies every file, staged and sealed, into the new or empty folder `to`, and syncs the copies. Take
    /// the copy of the journal first, and hold deletes back around both.
    ///
    /// # Errors
    /// A failing disk.
    pub fn backup(&self, to: &Path) -> Result<(), FileFault> {
        copy_files(&self.0.folder, to)
    }

    fn path(&self, place: Place, id: &FileId) -> PathBuf {
        let name = id.to_string();
        self.0.folder.join(place.name()).join(&name[..2]).join(&name)
    }

    /// The staged file, open for reading and writing.
    fn staged_file(&self, id: &FileId) -> Result<Arc<File>, FileFault> {
        if self.0.open_staged.spoiled(id) {
            return Err(FileFault::Spoiled(*id));
        }
        if let Some(file) = self.0.open_staged.get(id) {
            return Ok(file);
        }
        let path = self.path(Place::Staged, id);
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok(self.0.open_staged.keep(*id, file)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Err(FileFault::Unknown(*id)),
            Err(fault) => Err(FileFault::disk("open", &path)(fault)),
        }
    }

    fn sync_staged(&self, id: &FileId, file: &File) -> Result<(), FileFault> {
        let outcome = self.0.open_staged.synced(id, file.sync_all());
        outcome.map_err(FileFault::disk("sync", &self.path(Place::Staged, id)))
    }

    /// Makes a file's name durable, or that it is gone from there.
    fn sync_name(&self, id: &FileId, place: Place) -> Result<(), FileFault> {
        let path = self.path(place, id);
        let folder = folder_of(&path);
        let outcome = File::open(folder).and_then(|folder| folder.sync_all());
        self.0.open_staged.synced(id, outcome).map_err(FileFault::disk("sync", folder))
    }

    fn delete_now(&self, id: &FileId) -> Result<(), FileFault> {
        if self.0.segments.has(id) {
            self.0.segments.delete(id);
            return Ok(());
        }
        self.0.open_staged.forget(id);
        for place in [Place::Staged, Place::Sealed] {
            let path = self.path(place, id);
            match fs::remove_file(&path) {
                Ok(()) => sync_folder(folder_of(&path))?,
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                Err(fault) => return Err(FileFault::disk("delete", &path)(fault)),
            }
        }
        Ok(())
    }

    fn deletes(&self) -> MutexGuard<'_, Deletes> {
        self.0.deletes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for DeletesHeld {
    fn drop(&mut self) {
        let waiting = {
            let mut deletes = self.0.deletes();
            deletes.holders -= 1;
            if deletes.holders > 0 { BTreeSet::new() } else { std::mem::take(&mut deletes.waiting) }
        };
        for id in waiting {
            if let Err(fault) = self.0.delete_now(&id) {
                // It stays as an orphan that no record names.
                tracing::warn!(%id, %fault, "a file was not deleted");
            }
        }
    }
}

impl Files for LocalFiles {
    fn begin(&self, declared_bytes: u64) -> Result<FileId, FileFault> {
        let mut id = FileId([0; 16]);
        rand::fill(&mut id.0).expect("the system gives random bytes");
        self.begin_again(&id, declared_bytes)?;
        Ok(id)
    }

    fn begin_again(&self, id: &FileId, declared_bytes: u64) -> Result<(), FileFault> {
        if declared_bytes > FILE_BYTES_MAX {
            return Err(FileFault::TooLarge);
        }
        if declared_bytes > self.free_bytes()? {
            return Err(FileFault::NoRoom);
        }
        if declared_bytes <= self.0.settings.small_bytes_max.min(SMALL_FILE_BYTES_MAX)
            && self.0.settings.small_bytes_max > 0
        {
            self.0.segments.begin(*id, declared_bytes);
            return Ok(());
        }
        let path = self.path(Place::Staged, id);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(FileFault::disk("make", &path))?;
        if let Err(fault) = keep_room(&file, declared_bytes) {
            let _ = fs::remove_file(&path);
            return Err(FileFault::disk("keep room for", &path)(fault));
        }
        self.0.open_staged.keep(*id, file);
        Ok(())
    }

    fn write_at(&self, id: &FileId, offset: u64, bytes: &[u8]) -> Result<(), FileFault> {
        if self.0.segments.has(id) {
            return self.0.segments.write_at(id, offset, bytes);
        }
        let file = self.staged_file(id)?;
        let path = self.path(Place::Staged, id);
        let staged_bytes = file.metadata().map_err(FileFault::disk("look at", &path))?.len();
        if offset > staged_bytes {
            return Err(FileFault::Gap { id: *id, staged_bytes });
        }
        if offset.saturating_add(bytes.len() as u64) > FILE_BYTES_MAX {
            return Err(FileFault::TooLarge);
        }
        file.write_all_at(bytes, offset).map_err(|fault| {
            // What was written of it is taken back, so that the file ends where its writer believes it does.
            let _ = file.set_len(staged_bytes);
            FileFault::disk("write", &path)(fault)
        })
    }

    fn sync(&self, id: &FileId) -> Result<(), FileFault> {
        if let Some(durable) = self.sync_soon(id) {
            return durable.wait();
        }
        let file = self.staged_file(id)?;
        self.sync_staged(id, &file)?;
        self.sync_name(id, Place::Staged)
    }

    fn finish(&self, id: &FileId) -> Result<(), FileFault> {
        if let Some(durable) = self.finish_soon(id) {
            return durable.wait();
        }
        let (staged, sealed) = (self.path(Place::Staged, id), self.path(Place::Sealed, id));
        let file = match self.staged_file(id) {
            Ok(file) => file,
            // Finished before, perhaps just before a crash: its name is made durable once more.
            Err(FileFault::Unknown(_)) if sealed.exists() => return self.sync_name(id, Place::Sealed),
            Err(fault) => return Err(fault),
        };
        self.sync_staged(id, &file)?;
        fs::rename(&staged, &sealed).map_err(FileFault::disk("rename", &staged))?;
        self.0.open_staged.forget(id);
        self.sync_name(id, Place::Sealed)?;
        self.sync_name(id, Place::Staged)
    }

    fn sync_soon(&self, id: &FileId) -> Option<Durable> {
        self.0.segments.has(id).then(|| self.0.segments.sync(id))
    }

    fn finish_soon(&self, id: &FileId) -> Option<Durable> {
        self.0.segments.has(id).then(|| self.0.segments.finish(id))
    }

    fn open(&self, id: &FileId) -> Result<Arc<dyn StoredFile>, FileFault> {
        if self.0.segments.has(id) {
            return self.0.segments.open_file(id);
        }
        if self.0.open_staged.spoiled(id) {
            return Err(FileFault::Spoiled(*id));
        }
        // Staged first: a file that is finished meanwhile is found under its other name.
        for place in [Place::Staged, Place::Sealed] {
            let path = self.path(place, id);
            match File::open(&path) {
                Ok(file) => {
                    let bytes = file.metadata().map_err(FileFault::disk("look at", &path))?.len();
                    return Ok(Arc::new(OpenFile { file, bytes }));
                }
                Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
                Err(fault) => return Err(FileFault::disk("open", &path)(fault)),
            }
        }
        Err(FileFault::Unknown(*id))
    }

    fn staged_bytes(&self, id: &FileId) -> Result<u64, FileFault> {
        if self.0.segments.has(id) {
            return self.0.segments.staged_bytes(id);
        }
        let file = self.staged_file(id)?;
        let metadata = file.metadata().map_err(FileFault::disk("look at", &self.path(Place::Staged, id)))?;
        Ok(metadata.len())
    }

    fn delete(&self, id: &FileId) -> Result<(), FileFault> {
        {
            let mut deletes = self.deletes();
            if deletes.holders > 0 {
                deletes.waiting.insert(*id);
                return Ok(());
            }
        }
        self.delete_now(id)
    }

    fn staged(&self) -> Result<Vec<FileId>, FileFault> {
        let place = self.0.folder.join(Place::Staged.name());
        let mut ids = self.0.segments.staged();
        for first in 0..=u8::MAX {
            let folder = place.join(format!("{first:02x}"));
            for entry in fs::read_dir(&folder).map_err(FileFault::disk("read", &folder))? {
                let name = entry.map_err(FileFault::disk("read", &folder))?.file_name();
                // Anything else in there is none of ours.
                ids.extend(name.to_str().and_then(|name| name.parse::<FileId>().ok()));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn free_bytes(&self) -> Result<u64, FileFault> {
        let folder = &self.0.folder;
        let room = statvfs(folder).map_err(|fault| FileFault::disk("look at", folder)(fault.into()))?;
        Ok((room.f_bavail * room.f_frsize)
            .saturating_sub(self.0.settings.room_kept_bytes)
            .saturating_sub(self.0.segments.reserved_bytes()))
    }
}

/// A file open for reading.
struct OpenFile {
    file: File,
    bytes: u64,
}

impl ReadAt for OpenFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(&self.file, buf, offset)
    }
}

impl StoredFile for OpenFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Copies the files of one store into the new or empty folder `to`.
pub(crate) fn copy_files(from: &Path, to: &Path) -> Result<(), FileFault> {
    for place in [Place::Staged, Place::Sealed] {
        for first in 0..=u8::MAX {
            let folder = Path::new(place.name()).join(format!("{first:02x}"));
            let (source, copy) = (from.join(&folder), to.join(&folder));
            make_folder(&copy)?;
            for entry in fs::read_dir(&source).map_err(FileFault::disk("read", &source))? {
                let entry = entry.map_err(FileFault::disk("read", &source))?;
                let file = copy.join(entry.file_name());
                match fs::copy(entry.path(), &file) {
                    Ok(_) => {}
                    // Finished between the listing and the copy: it is copied as a sealed one, which come
                    // last.
                    Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
                    Err(fault) => return Err(FileFault::disk("copy", &entry.path())(fault)),
                }
                let copied = File::open(&file).and_then(|file| file.sync_all());
                copied.map_err(FileFault::disk("sync", &file))?;
            }
            sync_folder(&copy)?;
        }
        sync_folder(&to.join(place.name()))?;
    }
    copy_segments(&from.join(SEGMENTS), &to.join(SEGMENTS))?;
    sync_folder(to)
}

/// Copies segments as they are: one that is being written ends with a torn group at worst, behind everything that the
/// journal's copy names. Their indexes are derived, and left out.
fn copy_segments(from: &Path, to: &Path) -> Result<(), FileFault> {
    make_folder(to)?;
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        // A backup of an older program has none.
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return sync_folder(to),
        Err(fault) => return Err(FileFault::disk("read", from)(fault)),
    };
    for entry in entries {
        let entry = entry.map_err(FileFault::disk("read", from))?;
        let file = to.join(entry.file_name());
        if !entry.file_name().to_str().is_some_and(|name| name.ends_with(SEGMENT)) {
            continue;
        }
        match fs::copy(entry.path(), &file) {
            Ok(_) => {}
            // Removed meanwhile: all in it were deleted before.
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => continue,
            Err(fault) => return Err(FileFault::disk("copy", &entry.path())(fault)),
        }
        let copied = File::open(&file).and_then(|file| file.sync_all());
        copied.map_err(FileFault::disk("sync", &file))?;
    }
    sync_folder(to)
}

/// Sets blocks aside without changing the file's length.
fn keep_room(file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        // A file system that cannot promise room tells when it is full.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<(), FileFault> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(FileFault::disk("make", folder))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), FileFault> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(FileFault::disk("sync", folder))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().expect("a stored file lies in a folder")
}
