//! The segments' files, opened when they are needed.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::format::SegmentName;

/// Segments held open; the ones with the lowest numbers are closed first.
const SEGMENTS_OPEN_MAX: usize = 64;

/// What segments there are, and those that are open.
pub(super) struct Handles {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: HashMap<u32, SegmentName>,
    open: BTreeMap<u32, Arc<File>>,
}

impl Handles {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), state: Mutex::default() }
    }

    /// Where a segment lies.
    pub(super) fn path(&self, name: &SegmentName, ending: &str) -> PathBuf {
        self.folder.join(name.stem() + ending)
    }

    /// Notes a segment, and its file where that is open.
    pub(super) fn add(&self, name: SegmentName, file: Option<Arc<File>>) {
        let mut state = self.lock();
        state.names.insert(name.number, name);
        if let Some(file) = file {
            state.open.insert(name.number, file);
        }
    }

    /// Forgets a segment that is removed. Whoever reads in it goes on.
    pub(super) fn forget(&self, number: u32) {
        let mut state = self.lock();
        state.names.remove(&number);
        state.open.remove(&number);
    }

    /// A segment's file.
    pub(super) fn get(&self, number: u32) -> io::Result<Arc<File>> {
        let mut state = self.lock();
        if let Some(file) = state.open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let name = state.names.get(&number).ok_or(io::ErrorKind::NotFound)?;
        let path = self.path(name, super::SEGMENT);
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(path)?);
        state.open.insert(number, Arc::clone(&file));
        if state.open.len() > SEGMENTS_OPEN_MAX {
            state.open.pop_first();
        }
        Ok(file)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
