//! Staged files held open between writes.
//!
//! A failed write-back is told to whoever syncs a file that was open when it happened; a file opened
//! afterwards may not hear of it. So a staged file stays open from its first write to its last sync, and one
//! that has to make room for another is synced before it is closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kaibiao_protocol::ids::FileId;

/// The open ones, and those whose sync failed.
pub(super) struct OpenStaged {
    open_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<FileId, Entry>,
    spoiled: BTreeSet<FileId>,
    uses: u64,
}

struct Entry {
    file: Arc<File>,
    last_use: u64,
}

impl OpenStaged {
    pub(super) fn new(open_max: usize) -> Self {
        Self { open_max, state: Mutex::default() }
    }

    /// The open file; `None` if it is not open here.
    pub(super) fn get(&self, id: &FileId) -> Option<Arc<File>> {
        let mut state = self.lock();
        state.uses += 1;
        let uses = state.uses;
        let entry = state.open.get_mut(id)?;
        entry.last_use = uses;
        Some(Arc::clone(&entry.file))
    }

    /// Keeps a file open, and gives the one that all callers share: a thread that was quicker wins.
    pub(super) fn keep(&self, id: FileId, file: File) -> Arc<File> {
        let (kept, closing) = {
            let mut state = self.lock();
            let closing = if state.open.len() >= self.open_max && !state.open.contains_key(&id) {
                let oldest = state.open.iter().min_by_key(|(_, entry)| entry.last_use).map(|(id, _)| *id);
                oldest.and_then(|oldest| state.open.remove(&oldest).map(|entry| (oldest, entry)))
            } else {
                None
            };
            state.uses += 1;
            let last_use = state.uses;
            let entry = state.open.entry(id).or_insert_with(|| Entry { file: Arc::new(file), last_use });
            (Arc::clone(&entry.file), closing)
        };
        if let Some((oldest, entry)) = closing
            && entry.file.sync_data().is_err()
        {
            self.spoil(&oldest);
        }
        kept
    }

    /// Remembers the outcome of a sync: after a failure nothing of the file is trusted again.
    pub(super) fn synced(&self, id: &FileId, outcome: io::Result<()>) -> io::Result<()> {
        if outcome.is_err() {
            self.spoil(id);
        }
        outcome
    }

    pub(super) fn spoiled(&self, id: &FileId) -> bool {
        self.lock().spoiled.contains(id)
    }

    /// Closes a file that is finished or deleted.
    pub(super) fn forget(&self, id: &FileId) {
        let mut state = self.lock();
        state.open.remove(id);
        state.spoiled.remove(id);
    }

    fn spoil(&self, id: &FileId) {
        let mut state = self.lock();
        state.open.remove(id);
        state.spoiled.insert(*id);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
