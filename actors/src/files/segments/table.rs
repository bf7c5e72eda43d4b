//! Where small files are: in memory, on the way to the disk, or in which segment.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use crossbeam_channel::Sender;
use kaibiao_protocol::ids::FileId;
use kaibiao_sealed::read_at::ReadAt;

use super::{
    super::{FileFault, StoredFile},
    handles::Handles,
    writer::Job,
};

/// A place in a segment; of no bytes where only an entry stands for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) segment: u32,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// One small file.
pub(super) enum Small {
    /// Sealed, in one piece: most of them, so it is kept small.
    Kept(Kept),
    /// Any other.
    Live(Box<Live>),
}

/// A sealed file in one piece.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) piece: Extent,
    pub(super) seal_segment: u32,
}

/// A file that is staged, or lies in several pieces.
#[derive(Default)]
pub(super) struct Live {
    pub(super) declared: u64,
    /// Its content from its beginning on.
    pub(super) parts: Vec<Part>,
    /// Entries that stand for it beside its parts.
    pub(super) others: Vec<Extent>,
    /// Pieces that were replaced, until what replaces them is durable.
    pub(super) replaced: Vec<Extent>,
    /// Whether the writer was ever told of it.
    pub(super) told: bool,
    /// Jobs of it on their way.
    pub(super) flying: u32,
    /// Raised when the disk had no room for a job of it: jobs sent before are not written any more.
    pub(super) attempt: u32,
    pub(super) sealing: bool,
    pub(super) sealed: bool,
    pub(super) spoiled: bool,
}

/// A stretch of a file.
pub(super) struct Part {
    /// Its name between here and the writer.
    pub(super) no: u64,
    pub(super) bytes: u64,
    pub(super) place: Place,
}

/// Where a stretch is.
pub(super) enum Place {
    /// Durable.
    Disk { segment: u32, at: u64 },
    /// Given to the writer.
    Sent(Arc<Vec<u8>>),
    /// Waits for a sync.
    Gathered(Vec<u8>),
}

impl Live {
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Bytes of it in memory.
    pub(super) fn in_memory(&self) -> u64 {
        let held = self.parts.iter().filter(|part| !matches!(part.place, Place::Disk { .. }));
        held.map(|part| part.bytes).sum()
    }

    /// What of it lies on the disk.
    pub(super) fn extents(&self) -> Vec<Extent> {
        let parts = self.parts.iter().filter_map(Part::extent);
        parts.chain(self.others.iter().copied()).chain(self.replaced.iter().copied()).collect()
    }

    /// All of it, to be written anew in one piece: what was on the disk is replaced.
    pub(super) fn gather_whole(&mut self, no: u64, handles: &Handles) -> io::Result<&mut Vec<u8>> {
        let bytes = self.bytes();
        let mut whole = vec![0; usize::try_from(bytes).expect("a small file fits into memory")];
        readers_of(&self.parts, handles)?.read_exact_at(&mut whole, 0)?;
        self.replaced.extend(self.parts.iter().filter_map(Part::extent));
        self.parts = vec![Part { no, bytes, place: Place::Gathered(whole) }];
        match &mut self.parts[0].place {
            Place::Gathered(whole) => Ok(whole),
            Place::Disk { .. } | Place::Sent(_) => unreachable!("it was gathered just now"),
        }
    }

    /// What was sent and will not be written waits for a sync again.
    pub(super) fn take_back(&mut self) {
        self.attempt += 1;
        self.sealing = false;
        for part in &mut self.parts {
            if let Place::Sent(bytes) = &part.place {
                part.place = Place::Gathered(bytes.as_ref().clone());
            }
        }
    }
}

impl Part {
    pub(super) fn extent(&self) -> Option<Extent> {
        match self.place {
            Place::Disk { segment, at } => Some(Extent { segment, at, bytes: self.bytes }),
            Place::Sent(_) | Place::Gathered(_) => None,
        }
    }
}

/// All small files.
#[derive(Default)]
pub(super) struct Table {
    pub(super) files: HashMap<FileId, Small>,
    pub(super) next_part: u64,
    /// Bytes in memory.
    pub(super) gathered: u64,
    /// Bytes declared of staged files.
    pub(super) reserved: u64,
}

impl Table {
    /// A staged file that can be gone on with.
    pub(super) fn staged(&mut self, id: &FileId) -> Result<&mut Live, FileFault> {
        match self.files.get_mut(id) {
            Some(Small::Live(live)) if live.spoiled => Err(FileFault::Spoiled(*id)),
            Some(Small::Live(live)) if !live.sealed => Ok(live),
            Some(Small::Live(_) | Small::Kept(_)) | None => Err(FileFault::Unknown(*id)),
        }
    }

    /// A file of which something is on the disk or on its way there.
    pub(super) fn live(&mut self, id: &FileId) -> Option<&mut Live> {
        match self.files.get_mut(id) {
            Some(Small::Live(live)) => Some(live),
            Some(Small::Kept(_)) | None => None,
        }
    }

    /// Notes a seal; a file in one piece is kept in little memory from then on.
    pub(super) fn seal(&mut self, id: &FileId, segment: u32) -> bool {
        let Some(live) = self.live(id) else { return false };
        live.sealed = true;
        live.others.push(Extent { segment, at: 0, bytes: 0 });
        let declared = live.declared;
        let piece = match (live.parts.as_slice(), live.others.as_slice()) {
            ([only], [_]) if live.replaced.is_empty() && live.flying == 0 => only.extent(),
            _ => None,
        };
        if let Some(piece) = piece {
            self.files.insert(*id, Small::Kept(Kept { piece, seal_segment: segment }));
        }
        self.reserved = self.reserved.saturating_sub(declared);
        true
    }
}

/// Held by whoever reads a file: its room is given back when nobody does any more.
pub(super) struct Hold {
    id: FileId,
    freed: Mutex<Vec<Extent>>,
    holds: Arc<Holds>,
    jobs: Sender<Job>,
}

/// Who reads what.
#[derive(Default)]
pub(super) struct Holds(Mutex<HashMap<FileId, Weak<Hold>>>);

impl Holds {
    /// Holds a file for a reader.
    pub(super) fn hold(self: &Arc<Self>, id: FileId, jobs: &Sender<Job>) -> Arc<Hold> {
        let mut holds = self.lock();
        if let Some(hold) = holds.get(&id).and_then(Weak::upgrade) {
            return hold;
        }
        let hold =
            Arc::new(Hold { id, freed: Mutex::default(), holds: Arc::clone(self), jobs: jobs.clone() });
        holds.insert(id, Arc::downgrade(&hold));
        hold
    }

    /// Gives room back: now, or when the file's last reader is done.
    pub(super) fn free(&self, id: &FileId, extents: Vec<Extent>, jobs: &Sender<Job>) {
        if extents.is_empty() {
            return;
        }
        let held = self.lock().get(id).and_then(Weak::upgrade);
        match held {
            Some(hold) => hold.freed.lock().unwrap_or_else(PoisonError::into_inner).extend(extents),
            // The writer is gone: the store is being closed, and the next start finds them.
            None => drop(jobs.send(Job::Free(extents))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileId, Weak<Hold>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        {
            let mut holds = self.holds.lock();
            if holds.get(&self.id).is_some_and(|hold| hold.strong_count() == 0) {
                holds.remove(&self.id);
            }
        }
        let freed = std::mem::take(self.freed.get_mut().unwrap_or_else(PoisonError::into_inner));
        if !freed.is_empty() {
            // As above.
            let _ = self.jobs.send(Job::Free(freed));
        }
    }
}

/// A small file, open for reading.
pub(super) struct OpenSmall {
    parts: Vec<ReadPart>,
    bytes: u64,
    /// Keeps its room from being given back.
    pub(super) hold: Option<Arc<Hold>>,
}

struct ReadPart {
    offset: u64,
    bytes: u64,
    from: From,
}

enum From {
    Disk(Arc<File>, u64),
    Memory(Arc<Vec<u8>>),
}

/// Opens the parts of a file.
pub(super) fn readers_of(parts: &[Part], handles: &Handles) -> io::Result<OpenSmall> {
    let mut offset = 0;
    let mut read = Vec::with_capacity(parts.len());
    for part in parts {
        let from = match &part.place {
            Place::Disk { segment, at } => From::Disk(handles.get(*segment)?, *at),
            Place::Sent(bytes) => From::Memory(Arc::clone(bytes)),
            Place::Gathered(bytes) => From::Memory(Arc::new(bytes.clone())),
        };
        read.push(ReadPart { offset, bytes: part.bytes, from });
        offset += part.bytes;
    }
    Ok(OpenSmall { parts: read, bytes: offset, hold: None })
}

impl ReadAt for OpenSmall {
    fn read_exact_at(&self, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
        for part in &self.parts {
            if buf.is_empty() {
                return Ok(());
            }
            let end = part.offset + part.bytes;
            if offset < part.offset || offset >= end {
                continue;
            }
            let within = offset - part.offset;
            let count = usize::try_from(end - offset).map_or(buf.len(), |left| left.min(buf.len()));
            let (now, rest) = buf.split_at_mut(count);
            match &part.from {
                From::Disk(file, at) => FileExt::read_exact_at(&**file, now, at + within)?,
                From::Memory(bytes) => {
                    let from = usize::try_from(within).expect("a part in memory is addressed by it");
                    now.copy_from_slice(&bytes[from..from + count]);
                }
            }
            (buf, offset) = (rest, offset + count as u64);
        }
        if buf.is_empty() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

impl StoredFile for OpenSmall {
    fn bytes(&self) -> u64 {
        self.bytes
    }
}
