//! How the store of files fails.

use std::{io, path::PathBuf};

use kaibiao_protocol::ids::FileId;

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The disk has no room. Nothing was half done.
    #[error("the disk has no room")]
    NoRoom,
    /// The declared length is more than a file may have.
    #[error("longer than a file may be")]
    TooLarge,
    /// There is no such file in the state asked for.
    #[error("there is no such file: {0}")]
    Unknown(FileId),
    /// The bytes would leave a gap.
    #[error("file {id} has {staged_bytes} bytes: it cannot be written from a later place on")]
    Gap {
        /// The file.
        id: FileId,
        /// Where it ends.
        staged_bytes: u64,
    },
    /// An earlier sync of this file failed: what the disk holds of it is unknown.
    #[error("an earlier sync of file {0} failed: it must be handed in anew")]
    Spoiled(FileId),
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

impl FileFault {
    /// Sorts what the system says: a full disk or quota is [`FileFault::NoRoom`].
    pub(crate) fn disk(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |fault| match fault.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileFault::NoRoom,
            _ => FileFault::Disk { doing, path, fault },
        }
    }
}
