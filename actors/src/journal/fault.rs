//! How a journal fails. A conflict or a full queue is a normal answer; the rest is the world failing.

use std::{io, path::PathBuf};

/// Why an append was not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendFault {
    /// The stream ends elsewhere than expected. Nothing was written.
    #[error("the stream ends at record {found}, not where it was expected to")]
    Conflict {
        /// The seq of the stream's last record.
        found: u64,
    },
    /// The writer's queue is full. Nothing was written; try again shortly.
    #[error("the journal's queue is full")]
    Busy,
    /// More records or bytes than one append may hold. Nothing was written.
    #[error("more than one append may hold")]
    TooLarge,
    /// The disk is full. Nothing was written; writing goes on when there is room again.
    #[error("the disk has no room for the journal")]
    NoRoom,
    /// Writing has ended in this process; whether this append was written shows at the next start.
    #[error("writing to the journal has ended in this process")]
    WritingEnded,
}

/// Why a journal does not start, or a read fails. Each message names the damage and what to do.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// Acknowledged records are gone.
    #[error(
        "the journal ends at record {last}, but its head says that record {head} was acknowledged: \
         do not start on it; put a copy of the folder aside and restore the last backup \
         (docs/operations.md, \"The journal ends early\")"
    )]
    EndsBeforeHead {
        /// The last record found.
        last: u64,
        /// The position the head names.
        head: u64,
    },
    /// A record at or before the head is not what was written.
    #[error(
        "the journal is damaged at record {position} ({stream} {seq}): {what}; do not start on it; \
         put a copy of the folder aside and restore the last backup \
         (docs/operations.md, \"The journal is damaged\")"
    )]
    Broken {
        /// Where among all records.
        position: u64,
        /// The stream as the record names it.
        stream: String,
        /// The seq as the record names it.
        seq: u64,
        /// What does not hold.
        what: &'static str,
    },
    /// The records up to the head hold together, but are not those the head was written for.
    #[error(
        "the journal's first {position} records are not those its head was written for: \
         files of two journals were mixed, or records were replaced; restore a whole backup \
         (docs/operations.md, \"The head does not fit\")"
    )]
    HeadDiffers {
        /// The position the head names.
        position: u64,
    },
    /// The head file is gone or no slot of it can be read, while there is a journal.
    #[error(
        "the journal's head file {path} is missing or unreadable, so it cannot be told whether records are \
         missing; restore a whole backup (docs/operations.md, \"The head does not fit\")"
    )]
    HeadUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// There is a head, but no journal.
    #[error(
        "the head file says that {head} records were acknowledged, but there is no journal beside it: \
         restore the last backup (docs/operations.md, \"The journal ends early\")"
    )]
    JournalMissing {
        /// The position the head names.
        head: u64,
    },
    /// The database is damaged in a way that its own check shows.
    #[error(
        "the journal's database is damaged ({what}); \
         put a copy of the folder aside and restore the last backup \
         (docs/operations.md, \"The journal is damaged\")"
    )]
    DatabaseDamaged {
        /// What SQLite says.
        what: String,
    },
    /// The file is no journal, or one of another version of this program.
    #[error("{path} is not a journal this program can read: {what}")]
    NotAJournal {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// A backup or restore found its destination taken.
    #[error("{path} is not empty: choose a new folder")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A name in the journal names no stream.
    #[error("the journal holds a record of {0:?}, which this program does not know; use a newer program")]
    UnknownStream(String),
    /// SQLite fails.
    #[error("failed to use the journal's database: {0}")]
    Database(#[from] rusqlite::Error),
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
    /// A script told the practice journal to fail.
    #[error("the journal fails by script")]
    Scripted,
}

impl JournalFault {
    /// A fault of the disk, told with what was tried.
    pub(crate) fn disk(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |fault| JournalFault::Disk { doing, path, fault }
    }
}
