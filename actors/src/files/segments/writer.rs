//! The thread that writes segments: it takes all that waits, writes it as one group, syncs once, and tells whoever
//! waited. While it is at one group, the next one gathers in its queue.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write as _},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
};

use aws_lc_rs::rand;
use crossbeam_channel::Receiver;
use kaibiao_protocol::ids::FileId;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::pwritev,
};

use super::{
    super::{DurableSayer, FileFault, local::sync_folder},
    INDEX, SEGMENT, Shared,
    format::{
        BLOCK_BYTES, Entry, GROUP_ENTRIES_MAX, GROUP_PAYLOAD_BYTES_MAX, Kind, SegmentName, bare_bytes,
        write_head, write_index,
    },
    handles::Handles,
    table::{Extent, Place},
};

/// A segment is closed before it grows longer than this.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Slices of one call that writes.
const SLICES_MAX: usize = 1_024;

static PADDING: [u8; BLOCK_BYTES as usize] = [0; BLOCK_BYTES as usize];

/// What the writer is asked for.
pub(super) enum Job {
    /// Make something of a file durable.
    Commit(Commit),
    /// Give room back that nobody reads any more.
    Free(Vec<Extent>),
    /// End, after what was asked before.
    Stop,
}

/// What is to become durable of one file. Without pieces and entry: what was asked before.
pub(super) struct Commit {
    pub(super) id: FileId,
    /// The file's at the time.
    pub(super) attempt: u32,
    pub(super) pieces: Vec<Piece>,
    /// A seal or a gone.
    pub(super) entry: Option<Kind>,
    /// Of a gone: where the file has entries.
    pub(super) speaks_of: Vec<u32>,
    /// What the pieces replace.
    pub(super) replaced: Vec<Extent>,
    pub(super) say: Option<DurableSayer>,
}

/// A stretch of a file.
pub(super) struct Piece {
    pub(super) no: u64,
    pub(super) offset: u64,
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) crc: u32,
}

impl Commit {
    /// That a file is deleted; nobody waits for it.
    pub(super) fn gone(id: FileId, speaks_of: Vec<u32>) -> Self {
        let (pieces, replaced) = (Vec::new(), Vec::new());
        Self { id, attempt: 0, pieces, entry: Some(Kind::Gone), speaks_of, replaced, say: None }
    }

    fn payload_bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.bytes.len()).sum()
    }

    fn entries(&self) -> usize {
        self.pieces.len() + usize::from(self.entry.is_some())
    }
}

/// What keeps a segment.
pub(super) struct Segment {
    pub(super) name: SegmentName,
    /// Pieces and seals of files that are not gone.
    pub(super) live: u64,
    /// Segments whose files are said to be gone here.
    pub(super) speaks_of: BTreeSet<u32>,
}

/// The segment that is being written.
struct Current {
    name: SegmentName,
    file: Arc<File>,
    path: PathBuf,
    position: u64,
    group: u32,
    entries: Vec<Entry>,
}

/// What the thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    jobs: Receiver<Job>,
    current: Option<Current>,
    next_number: u32,
    segments: BTreeMap<u32, Segment>,
    /// Where files that were deleted while they were written have entries, until that is written too.
    dead: HashMap<FileId, BTreeSet<u32>>,
}

/// Why a group is not durable.
enum GroupFault {
    /// The disk is full; nothing of it is there.
    NoRoom,
    /// Nobody knows what of it is there.
    Unknown { doing: &'static str, path: PathBuf, fault: io::Error },
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        jobs: Receiver<Job>,
        segments: BTreeMap<u32, Segment>,
        next_number: u32,
    ) -> Self {
        Self { shared, jobs, current: None, next_number, segments, dead: HashMap::new() }
    }

    /// The thread's whole life.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            let (mut commits, mut freed) = (Vec::new(), Vec::new());
            let (mut entries, mut bytes) = (0, 0);
            let mut stops = false;
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Commit(commit) => {
                        entries += commit.entries();
                        bytes += commit.payload_bytes();
                        commits.push(commit);
                    }
                    Job::Free(extents) => freed.extend(extents),
                    Job::Stop => stops = true,
                }
                let full =
                    entries + super::PIECES_MAX + 2 > GROUP_ENTRIES_MAX || bytes >= GROUP_PAYLOAD_BYTES_MAX;
                next = if full || stops { None } else { self.jobs.try_recv().ok() };
            }
            self.commit(commits);
            self.free(freed);
            if stops {
                self.close();
                return;
            }
        }
    }

    /// Writes what may be written as one group, and tells everybody who waits for it.
    fn commit(&mut self, commits: Vec<Commit>) {
        let commits = self.still_wanted(commits);
        let mut entries = Vec::new();
        for commit in &commits {
            for Piece { offset, bytes, crc, .. } in &commit.pieces {
                let (id, kind) = (commit.id, Kind::Piece);
                entries.push(Entry {
                    id,
                    kind,
                    crc: *crc,
                    offset: *offset,
                    bytes: bytes.len() as u64,
                    at: 0,
                });
            }
            entries.extend(commit.entry.map(|kind| Entry::mark(commit.id, kind)));
        }
        let written = match entries.is_empty() {
            true => Ok(()),
            false => self.write_group(&mut entries, &commits),
        };
        match written {
            Ok(()) => self.committed(commits, &entries),
            Err(GroupFault::NoRoom) => {
                tracing::error!(files = commits.len(), "the disk has no room for small files");
                let mut table = self.shared.table();
                for commit in commits {
                    if let Some(live) = table.live(&commit.id) {
                        live.flying -= 1;
                        live.replaced.extend(commit.replaced);
                        live.take_back();
                    }
                    say(commit.say, Err(FileFault::NoRoom));
                }
            }
            Err(GroupFault::Unknown { doing, path, fault }) => {
                tracing::error!(%fault, doing, path = %path.display(), files = commits.len(), "small files are spoiled");
                // What comes next goes to another segment: the end of this one is unknown.
                self.current = None;
                for commit in commits {
                    self.spoil(&commit.id);
                    let fault = io::Error::new(fault.kind(), fault.to_string());
                    say(commit.say, Err(FileFault::Disk { doing, path: path.clone(), fault }));
                }
            }
        }
    }

    /// Leaves out what was asked for a file that is spoiled, or before the disk was full.
    fn still_wanted(&self, commits: Vec<Commit>) -> Vec<Commit> {
        let mut table = self.shared.table();
        let mut wanted = Vec::with_capacity(commits.len());
        for commit in commits {
            let refusal = match table.live(&commit.id) {
                _ if commit.entry == Some(Kind::Gone) => None,
                Some(live) if live.spoiled => Some(FileFault::Spoiled(commit.id)),
                Some(live) if live.attempt != commit.attempt => {
                    live.flying -= 1;
                    live.replaced.extend_from_slice(&commit.replaced);
                    Some(FileFault::NoRoom)
                }
                // Deleted meanwhile: written all the same, for its other jobs speak of it.
                Some(_) | None => None,
            };
            match refusal {
                Some(fault) => say(commit.say, Err(fault)),
                None => wanted.push(commit),
            }
        }
        wanted
    }

    fn spoil(&self, id: &FileId) {
        let mut table = self.shared.table();
        let Some(live) = table.live(id) else { return };
        live.spoiled = true;
        let freed = live.in_memory();
        live.parts.retain(|part| matches!(part.place, Place::Disk { .. }));
        table.gathered = table.gathered.saturating_sub(freed);
    }

    /// A group is durable: notes where everything lies now, and says so.
    fn committed(&mut self, commits: Vec<Commit>, entries: &[Entry]) {
        let number = self.current.as_ref().map_or(0, |current| current.name.number);
        let mut entries = entries.iter();
        let mut freed = Vec::new();
        let mut live_entries = 0;
        let mut told = Vec::with_capacity(commits.len());
        let mut table = self.shared.table();
        for commit in commits {
            let Commit { id, pieces, entry, speaks_of, replaced, say, .. } = commit;
            let mut written = 0;
            for piece in pieces {
                let entry = entries.next().expect("each piece has its entry");
                let extent = Extent { segment: number, at: entry.at, bytes: entry.bytes };
                live_entries += 1;
                let Some(live) = table.live(&id) else {
                    // Deleted meanwhile.
                    self.dead.entry(id).or_default().insert(number);
                    freed.push(extent);
                    continue;
                };
                if extent.bytes == 0 {
                    live.others.push(extent);
                    continue;
                }
                match live.parts.iter_mut().find(|part| part.no == piece.no) {
                    Some(part) => {
                        part.place = Place::Disk { segment: number, at: entry.at };
                        written += entry.bytes;
                    }
                    // Written anew meanwhile.
                    None => freed.push(extent),
                }
            }
            table.gathered = table.gathered.saturating_sub(written);
            if let Some(live) = table.live(&id) {
                live.flying = live.flying.saturating_sub(1);
            }
            match entry {
                Some(Kind::Seal) => {
                    entries.next();
                    live_entries += 1;
                    if !table.seal(&id, number) {
                        self.dead.entry(id).or_default().insert(number);
                        freed.push(Extent { segment: number, at: 0, bytes: 0 });
                    }
                }
                Some(Kind::Gone) => {
                    entries.next();
                    let mut all = self.dead.remove(&id).unwrap_or_default();
                    all.extend(speaks_of);
                    all.remove(&number);
                    if let Some(segment) = self.segments.get_mut(&number) {
                        segment.speaks_of.extend(all);
                    }
                }
                Some(Kind::Piece) | None => {}
            }
            if table.files.contains_key(&id) {
                self.shared.holds.free(&id, replaced, &self.shared.jobs);
            } else {
                freed.extend(replaced);
            }
            told.extend(say);
        }
        drop(table);
        if let Some(segment) = self.segments.get_mut(&number) {
            segment.live += live_entries;
        }
        told.into_iter().for_each(|sayer| sayer.say(Ok(())));
        self.free(freed);
    }

    fn write_group(&mut self, entries: &mut [Entry], commits: &[Commit]) -> Result<(), GroupFault> {
        let payload_bytes = entries.iter().map(|entry| entry.bytes).sum();
        let bytes = bare_bytes(entries.len(), payload_bytes).next_multiple_of(BLOCK_BYTES);
        if self.current.as_ref().is_some_and(|current| current.position + bytes > SEGMENT_BYTES_MAX) {
            self.close();
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin_segment()?,
        };
        let (head, text) = write_head(&current.name, current.group, current.position, entries);
        let mut slices = vec![IoSlice::new(&text)];
        slices
            .extend(commits.iter().flat_map(|commit| &commit.pieces).map(|piece| IoSlice::new(&piece.bytes)));
        let bare = bare_bytes(entries.len(), payload_bytes);
        let padding = usize::try_from(head.bytes - bare).expect("less than a block");
        slices.push(IoSlice::new(&PADDING[..padding]));
        let unknown = |doing, path: &PathBuf, fault| GroupFault::Unknown { doing, path: path.clone(), fault };
        if let Err(fault) = write_all(&current.file, &mut slices, current.position) {
            let full = matches!(fault.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            if full && current.file.set_len(current.position).is_ok() {
                self.current = Some(current);
                return Err(GroupFault::NoRoom);
            }
            return Err(unknown("write", &current.path, fault));
        }
        if let Err(fault) = current.file.sync_data() {
            return Err(unknown("sync", &current.path, fault));
        }
        current.position += head.bytes;
        current.group += 1;
        current.entries.extend_from_slice(entries);
        self.current = Some(current);
        Ok(())
    }

    /// Makes a new segment, its name durable.
    fn begin_segment(&mut self) -> Result<Current, GroupFault> {
        let mut name = SegmentName { number: self.next_number, mark: [0; 8] };
        rand::fill(&mut name.mark).expect("the system gives random bytes");
        let path = self.shared.handles.path(&name, SEGMENT);
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = Arc::new(made.map_err(|fault| match fault.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => GroupFault::NoRoom,
            _ => GroupFault::Unknown { doing: "make", path: path.clone(), fault },
        })?);
        // Room for all of it where the file system promises that. Where there is less, each group sees for itself.
        if let Err(fault) = fallocate(&*file, FallocateFlags::KEEP_SIZE, 0, SEGMENT_BYTES_MAX) {
            tracing::debug!(%fault, "no room is kept for a segment");
        }
        self.next_number += 1;
        sync_folder(&self.shared.folder).map_err(|fault| GroupFault::Unknown {
            doing: "sync",
            path: self.shared.folder.clone(),
            fault: io::Error::other(fault.to_string()),
        })?;
        self.shared.handles.add(name, Some(Arc::clone(&file)));
        self.segments.insert(name.number, Segment { name, live: 0, speaks_of: BTreeSet::new() });
        Ok(Current { name, file, path, position: 0, group: 0, entries: Vec::new() })
    }

    /// Closes the segment that is being written: gives back the room kept for it, and leaves its index.
    fn close(&mut self) {
        let Some(Current { name, file, position, entries, .. }) = self.current.take() else { return };
        let closed = file.set_len(position).and_then(|()| keep_index(&self.shared.handles, &name, &entries));
        if let Err(fault) = closed {
            // Derived: the next start reads the segment instead.
            tracing::warn!(%fault, segment = name.stem(), "a segment has no index");
        }
        self.tidy();
    }

    /// Gives room back, and removes segments in which nothing counts any more.
    pub(super) fn free(&mut self, extents: Vec<Extent>) {
        if extents.is_empty() {
            return;
        }
        for extent in extents {
            if let Some(segment) = self.segments.get_mut(&extent.segment) {
                segment.live = segment.live.saturating_sub(1);
                self.punch(&extent);
            }
        }
        self.tidy();
    }

    fn punch(&self, extent: &Extent) {
        // Only whole blocks come free, and only those that no neighbour shares.
        let from = extent.at.next_multiple_of(BLOCK_BYTES);
        let end = (extent.at + extent.bytes) / BLOCK_BYTES * BLOCK_BYTES;
        if end <= from {
            return;
        }
        let holed = self.shared.handles.get(extent.segment).and_then(|file| {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            Ok(fallocate(&*file, flags, from, end - from)?)
        });
        if let Err(fault) = holed {
            // A file system without holes gives the room back with the whole segment.
            tracing::debug!(%fault, "no hole was made in a segment");
        }
    }

    fn tidy(&mut self) {
        loop {
            let current = self.current.as_ref().map(|current| current.name.number);
            let needless = self.segments.iter().find(|(number, segment)| {
                Some(**number) != current && segment.live == 0 && segment.speaks_of.is_empty()
            });
            let Some((number, name)) = needless.map(|(number, segment)| (*number, segment.name)) else {
                return;
            };
            let removed =
                fs::remove_file(self.shared.handles.path(&name, SEGMENT)).and_then(
                    |()| match fs::remove_file(self.shared.handles.path(&name, INDEX)) {
                        Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
                        _ => sync_folder(&self.shared.folder)
                            .map_err(|fault| io::Error::other(fault.to_string())),
                    },
                );
            if let Err(fault) = removed {
                // The next start finds it and tries again.
                tracing::warn!(%fault, segment = name.stem(), "a segment was not removed");
            }
            self.shared.handles.forget(number);
            self.segments.remove(&number);
            for segment in self.segments.values_mut() {
                segment.speaks_of.remove(&number);
            }
        }
    }
}

/// Leaves a segment's index beside it.
pub(super) fn keep_index(handles: &Handles, name: &SegmentName, entries: &[Entry]) -> io::Result<()> {
    let (path, new) = (handles.path(name, INDEX), handles.path(name, ".index-new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&write_index(name, entries))?;
    file.sync_data()?;
    fs::rename(new, path)
}

fn write_all(file: &File, mut slices: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let some = slices.len().min(SLICES_MAX);
        let written = pwritev(file, &slices[..some], at).map_err(io::Error::from)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        at += written as u64;
        IoSlice::advance_slices(&mut slices, written);
    }
    Ok(())
}

fn say(sayer: Option<DurableSayer>, outcome: Result<(), FileFault>) {
    if let Some(sayer) = sayer {
        sayer.say(outcome);
    }
}
