//! SQLite as the store of the commit cycle.

use std::sync::Arc;

use kaibiao_engine::keeper::SideWrite;
use kaibiao_protocol::{digest::Digest, moment::Moment};
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension};

use super::{
    Stream,
    cycle::{Commit, Placed, Row, Store, StoreFault, Tail},
    index,
    sqlite::Shared,
};

/// The writer's connection with its statements made ready.
pub(super) struct Database<'c> {
    connection: &'c Connection,
    shared: Arc<Shared>,
    /// The epoch this process began; another one in the database means another server.
    epoch: [u8; 16],
    begin: CachedStatement<'c>,
    last_epoch: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    commit: CachedStatement<'c>,
    /// Where the records of the transaction in hand lie.
    placed: Vec<Placed>,
}

impl<'c> Database<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        shared: Arc<Shared>,
        epoch: [u8; 16],
    ) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            connection,
            shared,
            epoch,
            begin: connection.prepare_cached("BEGIN IMMEDIATE")?,
            last_epoch: connection.prepare_cached("SELECT id FROM epochs ORDER BY number DESC LIMIT 1")?,
            insert: connection.prepare_cached(
                "INSERT INTO records (position, stream, seq, at, kind, version, command_id, payload, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            commit: connection.prepare_cached("COMMIT")?,
            placed: Vec::new(),
        })
    }

    /// Where the records of the group just done lie.
    pub(super) fn placed(&mut self) -> std::vec::Drain<'_, Placed> {
        self.placed.drain(..)
    }
}

impl From<rusqlite::Error> for StoreFault {
    fn from(fault: rusqlite::Error) -> Self {
        match fault.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreFault::NoRoom(fault.to_string()),
            _ => StoreFault::Failed(fault.to_string()),
        }
    }
}

impl Store for Database<'_> {
    fn begin(&mut self) -> Result<(), StoreFault> {
        self.begin.execute([])?;
        Ok(())
    }

    fn is_ours(&mut self) -> Result<bool, StoreFault> {
        let last: [u8; 16] = self.last_epoch.query_row([], |row| row.get(0))?;
        Ok(last == self.epoch)
    }

    fn tail(&mut self, stream: &Stream, name: &str) -> Result<Tail, StoreFault> {
        Ok(look_up_tail(self.connection, &self.shared, stream, name)?)
    }

    fn place(&mut self, placed: Placed) {
        self.placed.push(placed);
    }

    fn insert(&mut self, Row { position, chained, hash }: &Row<'_>) -> Result<(), StoreFault> {
        self.insert.execute((
            position,
            chained.stream,
            chained.seq,
            chained.at.0,
            chained.kind,
            chained.version,
            chained.command_id.as_ref().map(|id| id.0.as_slice()),
            chained.payload,
            hash.as_bytes(),
        ))?;
        Ok(())
    }

    fn wake(&mut self, _: &Stream, name: &str, at: Option<Moment>) -> Result<(), StoreFault> {
        Ok(write_wake(self.connection, name, at)?)
    }

    fn side(&mut self, write: &SideWrite) -> Result<(), StoreFault> {
        Ok(write_side(self.connection, write)?)
    }

    fn commit(&mut self) -> Result<Commit, StoreFault> {
        self.commit.execute([])?;
        Ok(Commit::Done)
    }

    fn roll_back(&mut self) -> bool {
        self.placed.clear();
        // SQLite may have rolled back by itself: then there is no transaction left, which is what is wanted.
        let _ = self.connection.execute_batch("ROLLBACK");
        self.connection.is_autocommit()
    }
}

fn look_up_tail(
    connection: &Connection,
    shared: &Shared,
    stream: &Stream,
    name: &str,
) -> Result<Tail, rusqlite::Error> {
    let (seq, hash) = match index::last(connection, &shared.recent, stream, name)? {
        Some((seq, position)) => {
            let mut hash = connection.prepare_cached("SELECT hash FROM records WHERE position = ?1")?;
            (seq, Digest(hash.query_row([position], |row| row.get(0))?))
        }
        None => (Tail::START.seq, Tail::START.hash),
    };
    let wake_at: Option<i64> = connection
        .prepare_cached("SELECT at FROM wakes WHERE stream = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(Tail { seq, hash, wake_at: wake_at.map(Moment) })
}

fn write_wake(connection: &Connection, stream: &str, wake_at: Option<Moment>) -> Result<(), rusqlite::Error> {
    match wake_at {
        Some(at) => connection
            .prepare_cached(
                "INSERT INTO wakes (stream, at) VALUES (?1, ?2)
                 ON CONFLICT (stream) DO UPDATE SET at = excluded.at",
            )?
            .execute((stream, at.0))?,
        None => connection.prepare_cached("DELETE FROM wakes WHERE stream = ?1")?.execute([stream])?,
    };
    Ok(())
}

fn write_side(connection: &Connection, write: &SideWrite) -> Result<(), rusqlite::Error> {
    match write {
        SideWrite::Put { space, key, value } => connection
            .prepare_cached(
                "INSERT INTO side (space, key, value) VALUES (?1, ?2, ?3)
                 ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
            )?
            .execute((space.as_str(), key, value.as_slice()))?,
        SideWrite::Delete { space, key } => connection
            .prepare_cached("DELETE FROM side WHERE space = ?1 AND key = ?2")?
            .execute((space.as_str(), key))?,
    };
    Ok(())
}
