//! A whole backup: the journal first, then the files it names; never the keys.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    data_dir::{DataDir, DataDirFault},
    files::{FileFault, LocalFiles},
    journal::{Head, Journal, JournalFault, StartReport, restore_journal},
};

/// Why a backup or restore failed; what was begun is of no use and is to be deleted.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// The journal's part.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The files' part.
    #[error(transparent)]
    Files(#[from] FileFault),
    /// The new folder's part.
    #[error(transparent)]
    DataDir(#[from] DataDirFault),
    /// The folder holds something already.
    #[error("{path} is not empty: choose a new folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds no whole backup.
    #[error("{path} is not a whole backup: {what}")]
    NotWhole {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// The disk fails.
    #[error("failed to write {path}: {fault}")]
    Disk {
        /// On what.
        path: PathBuf,
        /// What the system says.
        fault: io::Error,
    },
}

/// The last thing a backup writes: without it the folder is no whole one.
const WHOLE: &str = "BACKUP";

/// Copies journal and files into the new or empty folder `to` while the server runs, and gives the head of
/// the copy.
///
/// # Errors
/// See [`BackupFault`].
pub fn back_up(journal: &dyn Journal, files: &LocalFiles, to: &Path) -> Result<Head, BackupFault> {
    if fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BackupFault::NotEmpty { path: to.to_owned() });
    }
    // Held until both are copied: the journal's copy names files that must be there.
    let held = files.hold_deletes();
    let head = journal.backup(&to.join("journal"))?;
    files.backup(&to.join("files"))?;
    drop(held);
    let path = to.join(WHOLE);
    let written = fs::write(&path, format!("kaibiao-backup 1 {} {}\n", head.position, head.hash))
        .and_then(|()| File::open(&path)?.sync_all())
        .and_then(|()| File::open(to)?.sync_all());
    written.map_err(|fault| BackupFault::Disk { path, fault })?;
    Ok(head)
}

/// Makes a data folder in the new or empty folder `to` from the backup in `from`, with a new epoch. The keys
/// are put into `to/keys` by hand, from their own backup, before the first start.
///
/// # Errors
/// See [`BackupFault`].
pub fn restore(from: &Path, to: &Path) -> Result<StartReport, BackupFault> {
    if !from.join(WHOLE).exists() {
        return Err(BackupFault::NotWhole {
            path: from.to_owned(),
            what: "its last file, BACKUP, is missing",
        });
    }
    let folder = DataDir::open(to)?;
    if folder.journal().exists() || folder.files().exists() {
        return Err(BackupFault::NotEmpty { path: to.to_owned() });
    }
    crate::files::copy_files(&from.join("files"), &folder.files())?;
    Ok(restore_journal(&from.join("journal"), &folder.journal())?)
}
