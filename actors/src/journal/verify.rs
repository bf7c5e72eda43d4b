//! The start check over SQLite's rows, and the database's own check.

use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};
use kaibiao_sealed::chain::{CHAIN_START, ChainedRecord};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Rows, types::ValueRef};

use super::{
    JournalFault,
    start::{self, Expected, FoundRow, Holds},
};

/// Verifies the records of a database; see [`start::verify`].
///
/// # Errors
/// They do not hold, or the disk fails.
pub(super) fn verify(connection: &Connection, expected: Expected) -> Result<Holds, JournalFault> {
    let from = expected.from.head.position;
    let mut statement = connection.prepare(
        "SELECT position, stream, seq, at, kind, version, command_id, payload, hash
         FROM records WHERE position > ?1 ORDER BY position",
    )?;
    let mut rows = DatabaseRows(statement.query([from])?);
    start::verify(&mut rows, |stream| tail_before(connection, stream, from), expected)
}

/// The database's own check: pages, index against table, types.
///
/// # Errors
/// It finds something.
pub(super) fn check_database(connection: &Connection) -> Result<(), JournalFault> {
    let found: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if found == "ok" { Ok(()) } else { Err(JournalFault::DatabaseDamaged { what: found }) }
}

struct DatabaseRows<'statement>(Rows<'statement>);

impl start::Rows for DatabaseRows<'_> {
    fn next(&mut self) -> Result<Option<FoundRow<'_>>, JournalFault> {
        Ok(self.0.next().map_err(damaged)?.map(found).transpose()?)
    }
}

/// A row's columns, borrowed.
fn found<'a>(row: &'a Row<'_>) -> Result<FoundRow<'a>, rusqlite::Error> {
    let number =
        |column: usize| -> Result<Option<i64>, rusqlite::Error> { Ok(row.get_ref(column)?.as_i64().ok()) };
    let text = |column: usize| -> Result<Option<&'a str>, rusqlite::Error> {
        Ok(row.get_ref(column)?.as_str().ok())
    };
    let bytes = |column: usize| -> Result<Option<&'a [u8]>, rusqlite::Error> {
        Ok(row.get_ref(column)?.as_blob().ok())
    };
    let command_id = match row.get_ref(6)? {
        ValueRef::Null => Some(None),
        ValueRef::Blob(id) => id.try_into().ok().map(|id| Some(CommandId(id))),
        ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Text(_) => None,
    };
    let (position, stream, seq, at) = (number(0)?, text(1)?, number(2)?, number(3)?);
    let (kind, version, payload, hash) = (text(4)?, number(5)?, bytes(7)?, bytes(8)?);
    let whole = || {
        Some(FoundRow::Whole {
            position: u64::try_from(position?).ok()?,
            chained: ChainedRecord {
                stream: stream?,
                seq: u64::try_from(seq?).ok()?,
                at: Moment(at?),
                kind: kind?,
                version: u16::try_from(version?).ok()?,
                command_id: command_id?,
                payload: payload?,
            },
            hash: Digest(hash?.try_into().ok()?),
        })
    };
    Ok(whole().unwrap_or(FoundRow::Misshapen))
}

/// A stream's last record at or before a position: seq and hash; the chain's start where there is none.
fn tail_before(connection: &Connection, stream: &str, position: u64) -> Result<(u64, Digest), JournalFault> {
    if position == 0 {
        return Ok((0, CHAIN_START));
    }
    let mut statement = connection.prepare_cached(
        "SELECT seq, hash FROM by_stream JOIN records USING (stream, seq)
         WHERE by_stream.stream = ?1 AND by_stream.position <= ?2 AND records.position = by_stream.position
         ORDER BY by_stream.seq DESC LIMIT 1",
    )?;
    let found = statement
        .query_row((stream, position), |row| Ok((row.get(0)?, Digest(row.get(1)?))))
        .optional()
        .map_err(damaged)?;
    Ok(found.unwrap_or((0, CHAIN_START)))
}

/// SQLite's word for a damaged page, told as damage.
pub(super) fn damaged(fault: rusqlite::Error) -> JournalFault {
    match fault.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            JournalFault::DatabaseDamaged { what: fault.to_string() }
        }
        _ => JournalFault::Database(fault),
    }
}
