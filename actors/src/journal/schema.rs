//! The database's tables and the settings of its connections.

use std::{fs, path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::JournalFault;

/// The database's name in the journal's folder.
pub(super) const DATABASE: &str = "journal.db";
/// The write-ahead log beside it, as SQLite names it.
pub(super) const DATABASE_WAL: &str = "journal.db-wal";
/// The head file beside it.
pub(super) const HEAD: &str = "head";
/// How far the chain was verified, or written by a process that ended in order.
pub(super) const VERIFIED: &str = "verified";

/// `KBJ1`: tells a journal from any other SQLite file.
const APPLICATION_ID: i32 = 0x4b42_4a31;
const USER_VERSION: i32 = 1;

/// The tables, as docs/formats/journal.md specifies them.
const TABLES: &str = "
    CREATE TABLE records (
        position   INTEGER PRIMARY KEY,
        stream     TEXT NOT NULL,
        seq        INTEGER NOT NULL,
        at         INTEGER NOT NULL,
        kind       TEXT NOT NULL,
        version    INTEGER NOT NULL,
        command_id BLOB,
        payload    BLOB NOT NULL,
        hash       BLOB NOT NULL
    ) STRICT;
    CREATE TRIGGER records_are_never_changed BEFORE UPDATE ON records
        BEGIN SELECT raise(ABORT, 'records are never changed'); END;
    CREATE TRIGGER records_are_never_deleted BEFORE DELETE ON records
        BEGIN SELECT raise(ABORT, 'records are never deleted'); END;
    CREATE TABLE by_stream (
        stream   TEXT NOT NULL,
        seq      INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (stream, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE indexed (
        upto INTEGER NOT NULL
    ) STRICT;
    INSERT INTO indexed (upto) VALUES (0);
    CREATE TABLE side (
        space TEXT NOT NULL,
        key   TEXT NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (space, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE wakes (
        stream TEXT PRIMARY KEY,
        at     INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE epochs (
        number   INTEGER PRIMARY KEY,
        id       BLOB NOT NULL,
        began_at INTEGER NOT NULL,
        why      TEXT NOT NULL
    ) STRICT;
";

/// How long a statement waits for another process's lock: only the moment in which a superseded server finds
/// out.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Cached pages of the writer, in KiB (negative as SQLite wants it).
const WRITER_CACHE_KIB: i64 = -65_536;

/// Opens the database for writing; makes it if it is absent.
pub(super) fn open_writer(folder: &Path) -> Result<Connection, JournalFault> {
    let path = folder.join(DATABASE);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    // A start that is refused must leave the log as it found it: it may hold what the database lacks.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(32);
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(|fault| not_a_journal(&path, fault))?;
    if mode != "wal" {
        return Err(JournalFault::NotAJournal { path, what: format!("journal mode {mode}") });
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    // The writer checkpoints by itself, and hears of it when that fails.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE_KIB)?;
    // A deleted contact form is gone from the file too.
    connection.pragma_update(None, "secure_delete", true)?;
    restrict(&path)?;
    Ok(connection)
}

/// Opens the database for reading.
pub(super) fn open_reader(folder: &Path) -> Result<Connection, JournalFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(DATABASE), flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.busy_timeout(LOCK_WAIT)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// What stands in a database that was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Content {
    /// No tables: it was made just now, or the first start did not come this far.
    Nothing,
    /// The tables of this version.
    Journal,
}

/// Tells an empty database from a journal of this version, and both from anything else.
pub(super) fn content(connection: &Connection, folder: &Path) -> Result<Content, JournalFault> {
    let path = folder.join(DATABASE);
    let wrong = |what: String| JournalFault::NotAJournal { path: path.clone(), what };
    let number = |name: &str| -> Result<i32, JournalFault> {
        connection
            .pragma_query_value(None, name, |row| row.get(0))
            .map_err(|fault| not_a_journal(&path, fault))
    };
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (number("application_id")?, number("user_version")?, tables) {
        (0, 0, 0) => Ok(Content::Nothing),
        (APPLICATION_ID, USER_VERSION, _) => Ok(Content::Journal),
        (APPLICATION_ID, newer, _) if newer > USER_VERSION => Err(wrong(format!(
            "version {newer}; this program knows up to {USER_VERSION}: use a newer program"
        ))),
        (application, version, _) => {
            Err(wrong(format!("application id {application:#x}, version {version}")))
        }
    }
}

/// Makes the tables, in one transaction.
pub(super) fn create(connection: &mut Connection) -> Result<(), JournalFault> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", USER_VERSION)?;
    Ok(transaction.commit()?)
}

/// Moves all of the log into the database and syncs it, so that nothing rests on what only the page cache
/// holds, and empties the log, so that nothing old in it is ever taken for new.
pub(super) fn checkpoint_whole(connection: &Connection) -> Result<(), JournalFault> {
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy != 0 {
        let what = "another process uses it".to_owned();
        return Err(JournalFault::NotAJournal { path: DATABASE.into(), what });
    }
    Ok(())
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), JournalFault> {
    let opened = fs::File::open(folder).map_err(JournalFault::disk("open", folder))?;
    opened.sync_all().map_err(JournalFault::disk("sync", folder))
}

fn not_a_journal(path: &Path, fault: rusqlite::Error) -> JournalFault {
    match fault.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            JournalFault::NotAJournal { path: path.to_owned(), what: "no SQLite database".to_owned() }
        }
        _ => JournalFault::Database(fault),
    }
}

/// The journal is for the server's account alone. SQLite gives its log the mode of the database.
fn restrict(path: &Path) -> Result<(), JournalFault> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(JournalFault::disk("restrict", path))
}
