//! Sealed bids on the simulated disk.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kaibiao_protocol::ids::FileId;
use kaibiao_sealed::read_at::ReadAt;

use super::disk::SimDisk;
use crate::files::{FILE_BYTES_MAX, FileFault, Files, StoredFile};

const STAGED: &str = "files/staged";
const SEALED: &str = "files/sealed";

/// A store of files by the contract of [`Files`], with the disk's faults. One is made at each start: which
/// files have a failed sync behind them is forgotten with the process.
pub struct SimFiles {
    disk: SimDisk,
    spoiled: Mutex<BTreeSet<FileId>>,
}

impl SimFiles {
    /// The store on a disk.
    pub fn new(disk: &SimDisk) -> Self {
        Self { disk: disk.clone(), spoiled: Mutex::default() }
    }

    fn spoiled(&self) -> MutexGuard<'_, BTreeSet<FileId>> {
        self.spoiled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a staged file that is there and whole.
    fn staged_name(&self, id: &FileId) -> Result<(String, usize), FileFault> {
        if self.spoiled().contains(id) {
            return Err(FileFault::Spoiled(*id));
        }
        let name = format!("{STAGED}/{id}");
        let bytes = self.disk.bytes(&name).ok_or(FileFault::Unknown(*id))?;
        Ok((name, bytes))
    }

    /// A failed sync spoils the file it was for.
    fn synced(&self, id: &FileId, name: &str, outcome: io::Result<()>) -> Result<(), FileFault> {
        if outcome.is_err() {
            self.spoiled().insert(*id);
        }
        outcome.map_err(FileFault::disk("sync", Path::new(name)))
    }
}

impl Files for SimFiles {
    fn begin(&self, declared_bytes: u64) -> Result<FileId, FileFault> {
        if declared_bytes > FILE_BYTES_MAX {
            return Err(FileFault::TooLarge);
        }
        let mut id = FileId([0xf1; 16]);
        id.0[8..].copy_from_slice(&self.disk.draw_id().to_be_bytes());
        self.begin_again(&id, declared_bytes)?;
        Ok(id)
    }

    fn begin_again(&self, id: &FileId, declared_bytes: u64) -> Result<(), FileFault> {
        let name = format!("{STAGED}/{id}");
        self.disk.make(&name).map_err(FileFault::disk("make", Path::new(&name)))?;
        let kept = usize::try_from(declared_bytes).map_err(|_| FileFault::TooLarge)?;
        if let Err(fault) = self.disk.keep_room(&name, kept) {
            let _ = self.disk.remove(&name);
            return Err(FileFault::disk("keep room for", Path::new(&name))(fault));
        }
        Ok(())
    }

    fn write_at(&self, id: &FileId, offset: u64, bytes: &[u8]) -> Result<(), FileFault> {
        let (name, staged_bytes) = self.staged_name(id)?;
        let gap = FileFault::Gap { id: *id, staged_bytes: staged_bytes as u64 };
        let offset = usize::try_from(offset).ok().filter(|offset| *offset <= staged_bytes).ok_or(gap)?;
        self.disk.write_at(&name, offset, bytes).map_err(|fault| {
            // As the real store does: the file ends where its writer believes it does.
            if self.disk.bytes(&name) != Some(staged_bytes) {
                let _ = self.disk.set_bytes(&name, staged_bytes);
            }
            FileFault::disk("write", Path::new(&name))(fault)
        })
    }

    fn sync(&self, id: &FileId) -> Result<(), FileFault> {
        let (name, _) = self.staged_name(id)?;
        self.synced(id, &name, self.disk.sync(&name))?;
        self.synced(id, STAGED, self.disk.sync_folder(STAGED))
    }

    fn finish(&self, id: &FileId) -> Result<(), FileFault> {
        let sealed = format!("{SEALED}/{id}");
        let name = match self.staged_name(id) {
            Ok((name, _)) => name,
            // Finished before, perhaps just before a crash: its name is made durable once more.
            Err(FileFault::Unknown(_)) if self.disk.bytes(&sealed).is_some() => {
                return self.synced(id, SEALED, self.disk.sync_folder(SEALED));
            }
            Err(fault) => return Err(fault),
        };
        self.synced(id, &name, self.disk.sync(&name))?;
        self.disk.rename(&name, &sealed).map_err(FileFault::disk("rename", Path::new(&name)))?;
        self.synced(id, SEALED, self.disk.sync_folder(SEALED))?;
        self.synced(id, STAGED, self.disk.sync_folder(STAGED))
    }

    fn open(&self, id: &FileId) -> Result<Arc<dyn StoredFile>, FileFault> {
        if self.spoiled().contains(id) {
            return Err(FileFault::Spoiled(*id));
        }
        for folder in [STAGED, SEALED] {
            if let Some((file, bytes)) = self.disk.open(&format!("{folder}/{id}")) {
                return Ok(Arc::new(OpenFile { disk: self.disk.clone(), file, bytes }));
            }
        }
        Err(FileFault::Unknown(*id))
    }

    fn staged_bytes(&self, id: &FileId) -> Result<u64, FileFault> {
        Ok(self.staged_name(id)?.1 as u64)
    }

    fn delete(&self, id: &FileId) -> Result<(), FileFault> {
        self.spoiled().remove(id);
        for folder in [STAGED, SEALED] {
            let name = format!("{folder}/{id}");
            if self.disk.bytes(&name).is_some() {
                self.disk.remove(&name).map_err(FileFault::disk("delete", Path::new(&name)))?;
                self.disk.sync_folder(folder).map_err(FileFault::disk("sync", Path::new(folder)))?;
            }
        }
        Ok(())
    }

    fn staged(&self) -> Result<Vec<FileId>, FileFault> {
        let names = self.disk.names(STAGED);
        let ids = names.iter().filter_map(|name| name.rsplit('/').next()?.parse().ok());
        Ok(ids.collect())
    }

    fn free_bytes(&self) -> Result<u64, FileFault> {
        Ok(self.disk.free_bytes())
    }
}

/// A file open for reading; a rename does not close it.
struct OpenFile {
    disk: SimDisk,
    file: u64,
    bytes: usize,
}

impl ReadAt for OpenFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        self.disk.read_open(self.file, buf, offset)
    }
}

impl StoredFile for OpenFile {
    fn bytes(&self) -> u64 {
        self.bytes as u64
    }
}
