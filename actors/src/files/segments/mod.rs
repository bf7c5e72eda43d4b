//! Small files, many in one (`docs/formats/files.md`).
//!
//! What is written to a small file is gathered in memory. What has to be durable of it goes to one thread, which
//! puts all that waits into one group at the end of a segment and syncs once; whoever waits holds no thread.

mod format;
mod handles;
mod start;
mod table;
mod writer;

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Sender, unbounded};
use kaibiao_protocol::ids::FileId;

use self::{
    format::{Kind, crc_of},
    handles::Handles,
    table::{Extent, Holds, Kept, Live, Part, Place, Small, Table, readers_of},
    writer::{Commit, Job, Piece, Writer},
};
use super::{Durable, FileFault, GATHERED_BYTES_MAX, SMALL_FILE_BYTES_MAX, StoredFile};

pub use start::SegmentsFound;

/// How the name of a segment ends.
pub(super) const SEGMENT: &str = ".segment";
/// And of an index.
const INDEX: &str = ".index";
/// Pieces of one file; with one more it is written anew in one.
const PIECES_MAX: usize = 16;

/// The store of small files. Clones are the same store.
pub(super) struct Segments {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer shares with all others.
struct Shared {
    folder: PathBuf,
    table: Mutex<Table>,
    holds: Arc<Holds>,
    handles: Handles,
    /// Its bound is that of the files: each has a few jobs at most.
    jobs: Sender<Job>,
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, job: Job) {
        // The writer is gone only when the store is: whoever waits then hears that the file is spoiled.
        let _ = self.jobs.send(job);
    }
}

impl Segments {
    /// Opens the segments in `folder`, and tells what was found there.
    pub(super) fn open(folder: &Path) -> Result<(Self, SegmentsFound), FileFault> {
        let (jobs, taken) = unbounded();
        let started = start::start(folder)?;
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            table: Mutex::new(started.table),
            holds: Arc::default(),
            handles: started.handles,
            jobs,
        });
        let mut writer = Writer::new(Arc::clone(&shared), taken, started.segments, started.next_number);
        writer.free(started.freed);
        let writer = thread::Builder::new()
            .name("files-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(FileFault::disk("start a thread for", folder))?;
        Ok((Self { shared, writer: Some(writer) }, started.found))
    }

    /// Whether this is a small file.
    pub(super) fn has(&self, id: &FileId) -> bool {
        self.shared.table().files.contains_key(id)
    }

    /// Begins a file.
    pub(super) fn begin(&self, id: FileId, declared: u64) {
        let mut table = self.shared.table();
        table.reserved += declared;
        table.files.insert(id, Small::Live(Box::new(Live { declared, ..Live::default() })));
    }

    /// Bytes that staged files may still bring.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.shared.table().reserved
    }

    pub(super) fn write_at(&self, id: &FileId, offset: u64, bytes: &[u8]) -> Result<(), FileFault> {
        let over = {
            let mut table = self.shared.table();
            let no = table.next_part;
            table.next_part += 1;
            let live = table.staged(id)?;
            if live.sealing {
                return Err(FileFault::Unknown(*id));
            }
            let staged_bytes = live.bytes();
            if offset > staged_bytes {
                return Err(FileFault::Gap { id: *id, staged_bytes });
            }
            let end = offset.saturating_add(bytes.len() as u64);
            if end > SMALL_FILE_BYTES_MAX {
                return Err(FileFault::TooLarge);
            }
            let before = live.in_memory();
            if offset < staged_bytes || live.parts.len() >= PIECES_MAX {
                let read = FileFault::disk("read", &self.shared.folder);
                let whole = live.gather_whole(no, &self.shared.handles).map_err(read)?;
                let from = usize::try_from(offset).expect("a small file is addressed by memory");
                let replaced = bytes.len().min(whole.len() - from);
                whole[from..from + replaced].copy_from_slice(&bytes[..replaced]);
                whole.extend_from_slice(&bytes[replaced..]);
                live.parts[0].bytes = staged_bytes.max(end);
            } else if let Some(Part { bytes: length, place: Place::Gathered(held), .. }) =
                live.parts.last_mut()
            {
                held.extend_from_slice(bytes);
                *length += bytes.len() as u64;
            } else if !bytes.is_empty() {
                let mut held = Vec::new();
                held.reserve_exact(bytes.len());
                held.extend_from_slice(bytes);
                live.parts.push(Part { no, bytes: held.len() as u64, place: Place::Gathered(held) });
            }
            let after = live.in_memory();
            table.gathered = (table.gathered + after).saturating_sub(before);
            (table.gathered > GATHERED_BYTES_MAX).then_some(staged_bytes)
        };
        let Some(staged_bytes) = over else { return Ok(()) };
        // Memory is full of uploads: this one goes to the disk right away, and whoever brings more waits for it.
        self.sync(id).wait().inspect_err(|_| self.cut_back(id, staged_bytes))
    }

    /// Takes back what a failed write added, where it was added at the end.
    fn cut_back(&self, id: &FileId, staged_bytes: u64) {
        let mut table = self.shared.table();
        let Ok(live) = table.staged(id) else { return };
        let surplus = live.bytes().saturating_sub(staged_bytes);
        if let Some(Part { bytes, place: Place::Gathered(held), .. }) = live.parts.last_mut()
            && *bytes >= surplus
        {
            *bytes -= surplus;
            held.truncate(usize::try_from(*bytes).expect("a small file is addressed by memory"));
            table.gathered = table.gathered.saturating_sub(surplus);
        }
    }

    /// Makes what was written so far durable.
    pub(super) fn sync(&self, id: &FileId) -> Durable {
        self.commit(id, None)
    }

    /// Makes all of it durable, and seals it.
    pub(super) fn finish(&self, id: &FileId) -> Durable {
        self.commit(id, Some(Kind::Seal))
    }

    fn commit(&self, id: &FileId, entry: Option<Kind>) -> Durable {
        let mut table = self.shared.table();
        if entry.is_some() {
            let sealed = match table.files.get(id) {
                Some(Small::Kept(_)) => true,
                Some(Small::Live(live)) => live.sealed && !live.spoiled,
                None => false,
            };
            if sealed {
                return Durable::told(*id, Ok(()));
            }
        }
        let mut next_part = table.next_part;
        let live = match table.staged(id) {
            Ok(live) => live,
            Err(fault) => return Durable::told(*id, Err(fault)),
        };
        let mut offset = 0;
        let mut pieces = Vec::new();
        for part in &mut live.parts {
            if let Place::Gathered(held) = &mut part.place {
                let bytes = Arc::new(mem::take(held));
                pieces.push(Piece { no: part.no, offset, crc: crc_of(&bytes), bytes: Arc::clone(&bytes) });
                part.place = Place::Sent(bytes);
            }
            offset += part.bytes;
        }
        if pieces.is_empty() && !live.told {
            // That it exists is made durable too.
            pieces.push(Piece { no: next_part, offset: 0, crc: crc_of(&[]), bytes: Arc::default() });
            next_part += 1;
        }
        let entry = entry.filter(|_| !live.sealing);
        live.sealing |= entry.is_some();
        if pieces.is_empty() && entry.is_none() && live.flying == 0 {
            return Durable::told(*id, Ok(()));
        }
        live.told = true;
        live.flying += 1;
        let (say, durable) = Durable::awaited(*id);
        let commit = Commit {
            id: *id,
            attempt: live.attempt,
            pieces,
            entry,
            speaks_of: Vec::new(),
            replaced: mem::take(&mut live.replaced),
            say: Some(say),
        };
        table.next_part = next_part;
        // Sent while the table is held, so that jobs of one file come in the order of its bytes.
        self.shared.send(Job::Commit(commit));
        durable
    }

    pub(super) fn open_file(&self, id: &FileId) -> Result<Arc<dyn StoredFile>, FileFault> {
        let table = self.shared.table();
        let handles = &self.shared.handles;
        let opened = match table.files.get(id) {
            None => return Err(FileFault::Unknown(*id)),
            Some(Small::Live(live)) if live.spoiled => return Err(FileFault::Spoiled(*id)),
            Some(Small::Live(live)) => readers_of(&live.parts, handles),
            Some(Small::Kept(Kept { piece: Extent { segment, at, bytes }, .. })) => {
                let place = Place::Disk { segment: *segment, at: *at };
                readers_of(&[Part { no: 0, bytes: *bytes, place }], handles)
            }
        };
        let mut opened = opened.map_err(FileFault::disk("open", &self.shared.folder))?;
        opened.hold = Some(self.shared.holds.hold(*id, &self.shared.jobs));
        Ok(Arc::new(opened))
    }

    pub(super) fn staged_bytes(&self, id: &FileId) -> Result<u64, FileFault> {
        self.shared.table().staged(id).map(|live| live.bytes())
    }

    /// Deletes a file. A crash right after it may bring it back, as staged if it was never sealed.
    pub(super) fn delete(&self, id: &FileId) {
        let extents = {
            let mut table = self.shared.table();
            let (extents, told) = match table.files.remove(id) {
                None => return,
                Some(Small::Kept(Kept { piece, seal_segment })) => {
                    (vec![piece, Extent { segment: seal_segment, at: 0, bytes: 0 }], true)
                }
                Some(Small::Live(live)) => {
                    table.gathered = table.gathered.saturating_sub(live.in_memory());
                    if !live.sealed {
                        table.reserved = table.reserved.saturating_sub(live.declared);
                    }
                    (live.extents(), live.told)
                }
            };
            if told {
                let speaks_of = extents.iter().map(|extent| extent.segment).collect();
                self.shared.send(Job::Commit(Commit::gone(*id, speaks_of)));
            }
            extents
        };
        self.shared.holds.free(id, extents, &self.shared.jobs);
    }

    /// All staged files.
    pub(super) fn staged(&self) -> Vec<FileId> {
        let table = self.shared.table();
        let staged = table.files.iter().filter(|(_, small)| match small {
            Small::Kept(_) => false,
            Small::Live(live) => !live.sealed,
        });
        staged.map(|(id, _)| *id).collect()
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.shared.send(Job::Stop);
        if let Some(writer) = self.writer.take() {
            // A panic in it was told to everybody who waited, as a spoiled file.
            let _ = writer.join();
        }
    }
}
