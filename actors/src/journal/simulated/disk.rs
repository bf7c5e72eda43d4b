//! The disk: named files with a page cache, and a power switch.
//!
//! A write reads back at once and is durable only once its file was synced; a name made, changed or removed
//! is durable only once a folder it lies in was synced. At a crash the caller's generator decides for
//! everything not durable whether the disk kept all of it, nothing, or some sectors.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::faults::{Befalls, DiskCall, Faults, SimFault};

/// What is written at once or not: a torn write keeps some of these.
const SECTOR_BYTES: usize = 512;

/// A disk. Clones are the same disk; [`SimDisk::copy`] makes another one.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<Disk>>);

/// Calls made so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct DiskCounts {
    /// Writes and changes of length.
    pub writes: u64,
    /// Syncs of files and folders.
    pub syncs: u64,
    /// Names made, changed or removed.
    pub renames: u64,
    /// Calls that met a planned fault.
    pub faults: u64,
    /// Bytes that were written and not kept, at crashes.
    pub bytes_lost: u64,
}

#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<u64, File>,
    /// The names as they read.
    names: BTreeMap<String, u64>,
    /// The names as they are durable.
    durable_names: BTreeMap<String, u64>,
    /// Changes of names, in order, that are not durable.
    name_changes: Vec<NameChange>,
    next_file: u64,
    next_id: u64,
    room: Option<u64>,
    faults: Faults,
    counts: DiskCounts,
    /// Calls that still happen before the power fails.
    calls_left: Option<u32>,
    power_failed: bool,
}

#[derive(Clone, Default)]
struct File {
    /// What is on the disk for certain.
    durable: Vec<u8>,
    /// Not durable, in order.
    changes: Vec<Change>,
    /// Its length as it reads.
    bytes: usize,
    /// Room kept for it, whatever its length.
    kept: usize,
}

#[derive(Clone)]
struct Change {
    what: What,
    /// A sync of it failed: no later one makes it durable.
    forsaken: bool,
}

#[derive(Clone)]
enum What {
    Write { offset: usize, bytes: Vec<u8> },
    Length { bytes: usize },
}

#[derive(Clone)]
enum NameChange {
    Made { name: String, file: u64 },
    Renamed { from: String, to: String },
    Removed { name: String },
}

impl What {
    fn make(&self, file: &mut Vec<u8>) {
        match self {
            What::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if *offset == file.len() {
                    file.extend_from_slice(bytes);
                    return;
                }
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*offset..end].copy_from_slice(bytes);
            }
            What::Length { bytes } => file.resize(*bytes, 0),
        }
    }

    /// Whether a page may be under both.
    fn touches(&self, other: &What) -> bool {
        let (What::Write { offset, bytes }, What::Write { offset: other_offset, bytes: other_bytes }) =
            (self, other)
        else {
            return true;
        };
        *offset < other_offset + other_bytes.len() && *other_offset < offset + bytes.len()
    }

    /// What a crash leaves of it; the second value counts the bytes lost.
    fn crashed(self, below: &mut dyn FnMut(u64) -> u64) -> (Option<What>, u64) {
        let fate = below(4);
        let What::Write { offset, bytes } = self else {
            return (Some(self).filter(|_| fate.is_multiple_of(2)), 0);
        };
        let all = bytes.len() as u64;
        match fate {
            0 => (None, all),
            1 => (Some(What::Write { offset, bytes }), 0),
            // The disk writes sectors in an order of its own: the first of them, or the last, came through.
            _ => {
                let sectors = bytes.len().div_ceil(SECTOR_BYTES);
                let kept = usize::try_from(below(sectors as u64 + 1)).unwrap_or(sectors) * SECTOR_BYTES;
                let kept = kept.min(bytes.len());
                let (offset, bytes) = if fate == 2 {
                    (offset, bytes[..kept].to_vec())
                } else {
                    let from = bytes.len() - kept;
                    (offset + from, bytes[from..].to_vec())
                };
                let lost = all - bytes.len() as u64;
                (Some(What::Write { offset, bytes }).filter(|_| kept > 0), lost)
            }
        }
    }
}

impl File {
    /// A page written to again is dirty again, with all it holds: a later sync writes it.
    fn change(&mut self, what: What) {
        for change in &mut self.changes {
            change.forsaken = change.forsaken && !change.what.touches(&what);
        }
        self.bytes = match &what {
            What::Write { offset, bytes } => self.bytes.max(offset + bytes.len()),
            What::Length { bytes } => *bytes,
        };
        self.changes.push(Change { what, forsaken: false });
    }

    /// As it reads now.
    fn content(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        self.changes.iter().for_each(|change| change.what.make(&mut content));
        content
    }

    /// What was forsaken stays as it is; all else becomes durable.
    fn sync(&mut self) {
        if self.changes.iter().any(|change| change.forsaken) {
            let (forsaken, good): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.changes).into_iter().partition(|change| change.forsaken);
            good.iter().for_each(|change| change.what.make(&mut self.durable));
            self.changes = forsaken;
        } else {
            for change in self.changes.drain(..) {
                change.what.make(&mut self.durable);
            }
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: usize) -> io::Result<()> {
        let content;
        let bytes = if self.changes.is_empty() {
            &self.durable
        } else {
            content = self.content();
            &content
        };
        let end = offset.checked_add(buf.len());
        let wanted = end.and_then(|end| bytes.get(offset..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(wanted);
        Ok(())
    }

    fn crash(&mut self, below: &mut dyn FnMut(u64) -> u64) -> u64 {
        self.kept = 0;
        let mut lost = 0;
        for change in std::mem::take(&mut self.changes) {
            let (kept, bytes) = change.what.crashed(below);
            lost += bytes;
            if let Some(kept) = kept {
                kept.make(&mut self.durable);
            }
        }
        self.bytes = self.durable.len();
        lost
    }
}

impl NameChange {
    fn names(&self) -> impl Iterator<Item = &str> {
        let (one, other) = match self {
            NameChange::Made { name, .. } | NameChange::Removed { name } => (name, None),
            NameChange::Renamed { from, to } => (to, Some(from)),
        };
        [Some(one), other].into_iter().flatten().map(String::as_str)
    }

    /// Harmless where what it builds on was lost.
    fn make(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Made { name, file } => {
                names.insert(name.clone(), *file);
            }
            NameChange::Renamed { from, to } => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Removed { name } => {
                names.remove(name);
            }
        }
    }
}

impl Disk {
    fn meet(&mut self, call: DiskCall, name: &str) -> Option<Befalls> {
        match call {
            DiskCall::Write => self.counts.writes += 1,
            DiskCall::Sync => self.counts.syncs += 1,
            DiskCall::Rename => self.counts.renames += 1,
        }
        if self.power_failed {
            // Whoever made the call is not there any more; nothing of it happens.
            return Some(Befalls::Fails);
        }
        if let Some(left) = &mut self.calls_left {
            *left = left.saturating_sub(1);
            self.power_failed = *left == 0;
        }
        let met = self.faults.meet(call, name);
        self.counts.faults += u64::from(met.is_some());
        met
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        let file = self.names.get(name).and_then(|file| self.files.get_mut(file));
        file.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn free(&self) -> u64 {
        let used: u64 = self.files.values().map(|file| file.bytes.max(file.kept) as u64).sum();
        self.room.map_or(u64::MAX, |room| room.saturating_sub(used))
    }

    fn change_name(&mut self, change: NameChange) {
        change.make(&mut self.names);
        self.name_changes.push(change);
    }

    /// Files that no name leads to any more.
    fn sweep(&mut self) {
        let named = |names: &BTreeMap<String, u64>, file: u64| names.values().any(|one| *one == file);
        let (names, durable) = (&self.names, &self.durable_names);
        self.files.retain(|file, _| named(names, *file) || named(durable, *file));
    }
}

impl SimDisk {
    /// An empty disk without faults and without end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another disk that holds the same, the not yet durable and the planned faults too.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// Power is lost and comes back: `below` gives a number below its argument for each thing not yet
    /// durable. Whoever used the disk is gone: what they held of it must not be used again.
    pub fn crash(&self, below: &mut dyn FnMut(u64) -> u64) {
        let mut disk = self.lock();
        (disk.calls_left, disk.power_failed) = (None, false);
        for change in std::mem::take(&mut disk.name_changes) {
            if below(2) == 0 {
                change.make(&mut disk.durable_names);
            }
        }
        disk.names = disk.durable_names.clone();
        disk.sweep();
        let lost: u64 = disk.files.values_mut().map(|file| file.crash(below)).sum();
        disk.counts.bytes_lost += lost;
    }

    /// Lets the power fail after so many more calls that change something: none after them does anything, and each
    /// answers with an error that nobody hears. Whoever drives the world looks at [`Self::power_failed`] after each of
    /// its steps, ends the process and calls [`Self::crash`] or [`Self::power_on`].
    pub fn fail_power_after(&self, calls: u32) {
        let mut disk = self.lock();
        disk.power_failed = calls == 0;
        disk.calls_left = Some(calls);
    }

    /// Whether the power has failed.
    pub fn power_failed(&self) -> bool {
        self.lock().power_failed
    }

    /// The machine is there again, with all that was written: only the process was killed.
    pub fn power_on(&self) {
        let mut disk = self.lock();
        (disk.calls_left, disk.power_failed) = (None, false);
    }

    /// Plans a fault.
    pub fn plan(&self, fault: SimFault) {
        self.lock().faults.plan(fault);
    }

    /// Forgets the faults that were not met.
    pub fn forget_faults(&self) {
        self.lock().faults.clear();
    }

    /// Bytes the disk holds in all; `None`: without end.
    pub fn set_room(&self, room: Option<u64>) {
        self.lock().room = room;
    }

    /// Bytes that still fit.
    pub fn free_bytes(&self) -> u64 {
        self.lock().free()
    }

    /// Calls made so far.
    pub fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    /// A number this disk gave to nobody before, crashes notwithstanding.
    pub fn draw_id(&self) -> u64 {
        let mut disk = self.lock();
        disk.next_id += 1;
        disk.next_id
    }

    /// Makes an empty file of a new name.
    ///
    /// # Errors
    /// A planned fault, or the name is taken.
    pub fn make(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.meet(DiskCall::Rename, name) {
            return Err(error(fault));
        }
        if disk.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = disk.next_file;
        disk.next_file += 1;
        disk.files.insert(file, File::default());
        disk.change_name(NameChange::Made { name: name.to_owned(), file });
        Ok(())
    }

    /// Writes at a place of a file.
    ///
    /// # Errors
    /// A planned fault, no room, or no such file.
    pub fn write_at(&self, name: &str, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.lock();
        let met = disk.meet(DiskCall::Write, name);
        if disk.room.is_some() {
            let file = disk.file(name)?;
            let grows = (offset + bytes.len()).saturating_sub(file.bytes.max(file.kept));
            if grows as u64 > disk.free() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let file = disk.file(name)?;
        match met {
            None => file.change(What::Write { offset, bytes: bytes.to_vec() }),
            Some(fault) => {
                if fault == Befalls::Torn {
                    file.change(What::Write { offset, bytes: bytes[..bytes.len() / 2].to_vec() });
                }
                return Err(error(fault));
            }
        }
        Ok(())
    }

    /// Makes a file shorter, or longer by zeros.
    ///
    /// # Errors
    /// A planned fault, or no such file.
    pub fn set_bytes(&self, name: &str, bytes: usize) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.meet(DiskCall::Write, name) {
            return Err(error(fault));
        }
        disk.file(name)?.change(What::Length { bytes });
        Ok(())
    }

    /// Makes what was written to a file durable.
    ///
    /// # Errors
    /// A planned fault, or no such file.
    pub fn sync(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        let met = disk.meet(DiskCall::Sync, name);
        let file = disk.file(name)?;
        match met {
            None => file.sync(),
            Some(fault) => {
                file.changes.iter_mut().for_each(|change| change.forsaken = true);
                return Err(error(fault));
            }
        }
        Ok(())
    }

    /// Makes the names in a folder durable: those that begin with `folder` and a slash. The root is ``.
    ///
    /// # Errors
    /// A planned fault.
    pub fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.meet(DiskCall::Sync, folder) {
            return Err(error(fault));
        }
        let disk = &mut *disk;
        let mut left = Vec::new();
        for change in disk.name_changes.drain(..) {
            if change.names().any(|name| folder_of(name) == folder) {
                change.make(&mut disk.durable_names);
            } else {
                left.push(change);
            }
        }
        disk.name_changes = left;
        disk.sweep();
        Ok(())
    }

    /// Gives a file another name, which it may take from another file.
    ///
    /// # Errors
    /// A planned fault, or no such file.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.meet(DiskCall::Rename, from) {
            return Err(error(fault));
        }
        disk.file(from)?;
        disk.change_name(NameChange::Renamed { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    /// Removes a name.
    ///
    /// # Errors
    /// A planned fault, or no such file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.meet(DiskCall::Rename, name) {
            return Err(error(fault));
        }
        disk.file(name)?;
        disk.change_name(NameChange::Removed { name: name.to_owned() });
        Ok(())
    }

    /// A file's content as it reads now; `None` if there is no such file.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().file(name).ok().map(|file| file.content())
    }

    /// A file's length as it reads now.
    pub fn bytes(&self, name: &str) -> Option<usize> {
        self.lock().file(name).ok().map(|file| file.bytes)
    }

    /// Keeps room for a file of that length, without changing its own.
    ///
    /// # Errors
    /// No room, or no such file.
    pub fn keep_room(&self, name: &str, bytes: usize) -> io::Result<()> {
        let mut disk = self.lock();
        let free = disk.free();
        let file = disk.file(name)?;
        let more = bytes.saturating_sub(file.bytes.max(file.kept));
        if more as u64 > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.kept = bytes;
        Ok(())
    }

    /// Fills `buf` with a file's bytes from `offset` on.
    ///
    /// # Errors
    /// No such file, or it ends before.
    pub fn read_exact_at(&self, name: &str, buf: &mut [u8], offset: usize) -> io::Result<()> {
        self.lock().file(name)?.read_exact_at(buf, offset)
    }

    /// The file behind a name, and its length.
    pub(super) fn open(&self, name: &str) -> Option<(u64, usize)> {
        let disk = self.lock();
        let file = *disk.names.get(name)?;
        Some((file, disk.files.get(&file)?.bytes))
    }

    /// The same of an open file, whatever its name is by now.
    pub(super) fn read_open(&self, file: u64, buf: &mut [u8], offset: usize) -> io::Result<()> {
        let disk = self.lock();
        disk.files.get(&file).ok_or(io::ErrorKind::NotFound)?.read_exact_at(buf, offset)
    }

    /// The names in a folder, in order.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let disk = self.lock();
        disk.names.keys().filter(|name| folder_of(name) == folder).cloned().collect()
    }

    /// Flips one bit of a file, durably, as a bad disk would; `false` if there is no such byte.
    pub fn flip_bit(&self, name: &str, place: usize) -> bool {
        let mut disk = self.lock();
        let Ok(file) = disk.file(name) else { return false };
        match file.durable.get_mut(place) {
            Some(byte) => {
                *byte ^= 0x10;
                true
            }
            None => false,
        }
    }

    /// Cuts a file short, durably, as a bad disk would; `false` if it is not longer than that.
    pub fn cut(&self, name: &str, bytes: usize) -> bool {
        let mut disk = self.lock();
        let Ok(file) = disk.file(name) else { return false };
        if file.durable.len() <= bytes {
            return false;
        }
        file.changes.clear();
        file.durable.truncate(bytes);
        file.bytes = bytes;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn error(fault: Befalls) -> io::Error {
    match fault {
        Befalls::NoRoom => io::ErrorKind::StorageFull.into(),
        Befalls::Fails | Befalls::Torn => io::Error::other("the disk fails by script"),
    }
}
