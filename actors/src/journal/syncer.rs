//! The thread that syncs the head file while the writer is at its next commit.

use std::{
    fs::File,
    io,
    thread::{self, JoinHandle},
};

use crossbeam_channel::{Receiver, Sender, bounded, never};

use super::{
    JournalFault,
    cycle::HeadSlots,
    head::{HeadFile, Mark},
};

/// A head file with the thread that syncs it.
pub(super) struct SyncedHead {
    file: HeadFile,
    syncer: Syncer,
}

impl SyncedHead {
    /// Starts the thread.
    pub(super) fn start(file: HeadFile) -> Result<Self, JournalFault> {
        let syncer = Syncer::start(file.for_syncing()?)
            .map_err(JournalFault::disk("start a thread for", file.path()))?;
        Ok(Self { file, syncer })
    }
}

impl HeadSlots for SyncedHead {
    fn write(&mut self, mark: &Mark) -> Result<(), String> {
        self.file.write(mark).map_err(|fault| fault.to_string())
    }

    fn begin_sync(&mut self) {
        self.syncer.begin();
    }

    fn wait_sync(&mut self) -> Result<(), String> {
        self.syncer.wait().map_err(|fault| fault.to_string())
    }
}

/// Syncs one file on demand; at most one sync is under way.
struct Syncer {
    /// Dropped to end the thread.
    ask: Option<Sender<()>>,
    told: Receiver<io::Result<()>>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread.
    fn start(file: File) -> io::Result<Self> {
        let (ask, asked) = bounded::<()>(1);
        let (tell, told) = bounded(1);
        let thread = thread::Builder::new().name("journal-head".to_owned()).spawn(move || {
            while asked.recv().is_ok() {
                if tell.send(file.sync_data()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ask: Some(ask), told, under_way: false, thread: Some(thread) })
    }

    /// Begins a sync of all that was written so far. The one before must have been waited for.
    fn begin(&mut self) {
        debug_assert!(!self.under_way, "a sync is begun only when the one before was waited for");
        let ask = self.ask.as_ref().expect("the sender lives as long as the syncer");
        self.under_way = ask.send(()).is_ok();
    }

    /// Waits for the sync under way, if any.
    ///
    /// # Errors
    /// It failed: what the disk holds of the file is unknown.
    fn wait(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.under_way) {
            return Ok(());
        }
        self.told.recv().unwrap_or_else(|_| Err(io::Error::other("the head's thread has died")))
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        // Neither end may keep the thread waiting, however this came to be dropped.
        self.ask = None;
        self.told = never();
        if let Some(thread) = self.thread.take() {
            // A panic there was told by `wait`, or is of no more interest.
            let _ = thread.join();
        }
    }
}
