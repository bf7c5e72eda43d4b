//! The server's folder: its layout, its format, and the lock that lets one server in.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

/// The newest format of the folder this program knows, and the one it makes.
pub const FORMAT_VERSION: u32 = 1;

const FORMAT: &str = "FORMAT";
const LOCK: &str = "LOCK";
const FORMAT_WORD: &str = "kaibiao-data";
const JOURNAL: &str = "journal";

/// A server's folder, locked for as long as this lives.
pub struct DataDir {
    path: PathBuf,
    /// Holds the lock; the system lets go of it with the file, however the process ends.
    _lock: File,
}

/// Why a folder cannot be served from.
#[derive(Debug, thiserror::Error)]
pub enum DataDirFault {
    /// Another server has it.
    #[error("{path} is in use by another server ({holder}): stop that one first, or choose another folder")]
    InUse {
        /// The folder.
        path: PathBuf,
        /// What the other one wrote into the lock file.
        holder: String,
    },
    /// A newer program made it.
    #[error(
        "{path} has data format {found}, this program knows up to {FORMAT_VERSION}: use a newer program \
         (docs/operations.md, \"An older program\")"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Its format cannot be read; yet it holds a journal, so it is no stranger's.
    #[error(
        "{path}/FORMAT cannot be understood, and {path} holds a journal: the file is damaged \
         (docs/operations.md, \"A damaged FORMAT\")"
    )]
    FormatDamaged {
        /// The folder.
        path: PathBuf,
    },
    /// It holds something, and no data of this program.
    #[error("{path} holds files, but is no data folder of kaibiao: choose an empty or new folder")]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The disk fails.
    #[error("failed to {doing} {path}: {fault}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        fault: io::Error,
    },
}

impl DataDirFault {
    fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |fault| DataDirFault::Disk { doing, path, fault }
    }
}

impl DataDir {
    /// Locks the folder, and lays it out at its first start.
    ///
    /// # Errors
    /// See [`DataDirFault`].
    pub fn open(path: &Path) -> Result<Self, DataDirFault> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(DataDirFault::disk("make", path))?;
        let lock = lock(path)?;
        match format(path)? {
            Some(FORMAT_VERSION) => {}
            Some(found) => return Err(DataDirFault::Newer { path: path.to_owned(), found }),
            None if is_empty_but_for_lock(path)? => write_format(path)?,
            None => return Err(DataDirFault::Foreign { path: path.to_owned() }),
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal lies.
    pub fn journal(&self) -> PathBuf {
        self.path.join(JOURNAL)
    }

    /// Where the files lie.
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// Where the keys lie; backed up apart from the rest.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// Where `kaibiao admin` speaks to the running server.
    pub fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }
}

/// Takes the lock, or tells who has it.
fn lock(folder: &Path) -> Result<File, DataDirFault> {
    let path = folder.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(DataDirFault::disk("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut holder = String::new();
            // Best told by name; the lock counts either way.
            let _ = file.read_to_string(&mut holder);
            let holder =
                if holder.trim().is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
            return Err(DataDirFault::InUse { path: folder.to_owned(), holder });
        }
        Err(fault) => return Err(DataDirFault::disk("lock", &path)(fault.into())),
    }
    let told = (|| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "process {}", std::process::id())
    })();
    told.map_err(DataDirFault::disk("write", &path))?;
    Ok(file)
}

/// The folder's format; `None` if it has none.
fn format(folder: &Path) -> Result<Option<u32>, DataDirFault> {
    let path = folder.join(FORMAT);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let version =
                text.trim_end().strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim_start().parse().ok());
            let fault = || match folder.join(JOURNAL).exists() {
                true => DataDirFault::FormatDamaged { path: folder.to_owned() },
                false => DataDirFault::Foreign { path: folder.to_owned() },
            };
            version.map(Some).ok_or_else(fault)
        }
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(DataDirFault::disk("read", &path)(fault)),
    }
}

fn is_empty_but_for_lock(folder: &Path) -> Result<bool, DataDirFault> {
    for entry in fs::read_dir(folder).map_err(DataDirFault::disk("read", folder))? {
        let name = entry.map_err(DataDirFault::disk("read", folder))?.file_name();
        // A format half written by a first start that crashed is no format yet.
        if name != LOCK && name != FORMAT_FRESH {
            return Ok(false);
        }
    }
    Ok(true)
}

const FORMAT_FRESH: &str = "FORMAT.new";

/// Writes the format file, whole or not at all.
fn write_format(folder: &Path) -> Result<(), DataDirFault> {
    let (fresh, path) = (folder.join(FORMAT_FRESH), folder.join(FORMAT));
    let written = (|| {
        let mut file = File::create(&fresh)?;
        writeln!(file, "{FORMAT_WORD} {FORMAT_VERSION}")?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(DataDirFault::disk("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_and_told_who_has_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let fault = DataDir::open(folder.path()).map(|_| ()).unwrap_err();
        assert!(fault.to_string().contains(&format!("process {}", std::process::id())), "{fault}");
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path()).unwrap());
        assert_eq!(fs::read_to_string(folder.path().join(FORMAT)).unwrap(), "kaibiao-data 1\n");
        fs::write(folder.path().join(FORMAT), "kaibiao-data 2\n").unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirFault::Newer { found: 2, .. })));
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letters.txt"), "dear").unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirFault::Foreign { .. })));
        fs::write(folder.path().join(FORMAT), "something else\n").unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirFault::Foreign { .. })));
    }

    #[test]
    fn a_damaged_format_beside_a_journal_is_told_as_damage() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        fs::create_dir(data.journal()).unwrap();
        drop(data);
        fs::write(folder.path().join(FORMAT), "kaibiao-dat\0").unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirFault::FormatDamaged { .. })));
    }

    #[test]
    fn a_first_start_that_crashed_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FORMAT_FRESH), "kaib").unwrap();
        fs::write(folder.path().join(LOCK), "").unwrap();
        DataDir::open(folder.path()).unwrap();
    }
}
