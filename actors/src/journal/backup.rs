//! Copying a journal while it is written, and beginning anew from a copy.

use std::{fs, io, os::unix::fs::DirBuilderExt, path::Path};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
};

use super::{
    JournalFault, StartReport,
    head::{Head, HeadFile, Mark},
    schema::{self, DATABASE, DATABASE_WAL, HEAD},
    sqlite::{EpochBegins, JournalSettings, SqliteJournal},
    start::Expected,
    verify,
};

/// Copies the database of `source` into the new or empty folder `to`, with a head file that fits.
pub(super) fn copy(source: &Connection, to: &Path) -> Result<Head, JournalFault> {
    make_empty(to)?;
    let path = to.join(DATABASE);
    let mut copy = Connection::open(&path)?;
    // All pages in one step: one read transaction, so one instant, and the writer is not held up.
    let step = Backup::new(source, &mut copy)?.step(-1)?;
    if step != StepResult::Done {
        let fault = io::Error::other(format!("the copy is not done: {step:?}"));
        return Err(JournalFault::disk("copy the journal to", &path)(fault));
    }
    // One file without a log beside it.
    copy.pragma_update(None, "journal_mode", "DELETE")?;
    let holds = verify::verify(&copy, Expected { head: Mark::START, from: Mark::START })?;
    if let Some(broken) = holds.broken {
        return Err(broken.into());
    }
    verify::check_database(&copy)?;
    drop(copy);
    sync_file(&path)?;
    HeadFile::create(&to.join(HEAD), &holds.mark)?;
    schema::sync_folder(to)?;
    Ok(holds.mark.head)
}

/// Makes a journal in the new or empty folder `to` from the one in `from` (a backup, or the folder of a
/// server that does not run) and begins a new epoch there. Keeps `from` as it is.
///
/// # Errors
/// The disk fails, `to` holds something, or what lies in `from` is not whole up to its head.
pub fn restore_journal(from: &Path, to: &Path) -> Result<StartReport, JournalFault> {
    make_empty(to)?;
    for name in [DATABASE, DATABASE_WAL, HEAD] {
        let (source, copy) = (from.join(name), to.join(name));
        match fs::copy(&source, &copy) {
            Ok(_) => sync_file(&copy)?,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound && name == DATABASE_WAL => {}
            Err(fault) => return Err(JournalFault::disk("copy", &source)(fault)),
        }
    }
    schema::sync_folder(to)?;
    let journal = SqliteJournal::open_as(to, JournalSettings::default(), EpochBegins::Restored)?;
    Ok(journal.report().clone())
}

fn make_empty(folder: &Path) -> Result<(), JournalFault> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(JournalFault::disk("make", folder))?;
    let mut entries = fs::read_dir(folder).map_err(JournalFault::disk("read", folder))?;
    if entries.next().is_some() {
        return Err(JournalFault::NotEmpty { path: folder.to_owned() });
    }
    Ok(())
}

fn sync_file(path: &Path) -> Result<(), JournalFault> {
    let file = fs::File::open(path).map_err(JournalFault::disk("open", path))?;
    file.sync_all().map_err(JournalFault::disk("sync", path))
}
