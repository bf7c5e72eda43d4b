//! Going through the chain: every record against the one before it in its stream, all of them against the
//! head.

use std::collections::HashMap;

use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};
use kaibiao_sealed::chain::{CHAIN_START, ChainedRecord, chain_hash};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, types::ValueRef};

use super::{JournalFault, head::Mark};

/// How far the chain holds.
#[derive(Debug)]
pub(super) struct Holds {
    /// Up to where.
    pub(super) mark: Mark,
    /// What does not hold behind it, if anything; always beyond the head.
    pub(super) broken: Option<Broken>,
}

/// A record that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) position: u64,
    pub(super) stream: String,
    pub(super) seq: u64,
    pub(super) what: &'static str,
}

impl From<Broken> for JournalFault {
    fn from(broken: Broken) -> Self {
        let Broken { position, stream, seq, what } = broken;
        JournalFault::Broken { position, stream, seq, what }
    }
}

/// Verifies every record after `from`, which is trusted, against `head`, which must not be before `from`.
///
/// # Errors
/// The journal ends before its head, a record at or before it does not hold, or its records are not those
/// the head was written for.
pub(super) fn verify(connection: &Connection, from: Mark, head: Mark) -> Result<Holds, JournalFault> {
    let head = head.head;
    let mut mark = from;
    if mark.head.position == head.position && mark.head != head {
        return Err(JournalFault::HeadDiffers { position: head.position });
    }
    let mut tails: HashMap<String, (u64, Digest)> = HashMap::new();
    let mut statement = connection.prepare(
        "SELECT position, stream, seq, at, kind, version, command_id, payload, hash
         FROM records WHERE position > ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([from.head.position])?;
    while let Some(row) = rows.next().map_err(damaged)? {
        match check_row(connection, row, mark, from, &mut tails)? {
            Ok(next) => mark = next,
            Err(broken) if mark.head.position < head.position => return Err(broken.into()),
            Err(broken) => return Ok(Holds { mark, broken: Some(broken) }),
        }
        if mark.head.position == head.position && mark.head != head {
            return Err(JournalFault::HeadDiffers { position: head.position });
        }
    }
    if mark.head.position < head.position {
        return Err(JournalFault::EndsBeforeHead { last: mark.head.position, head: head.position });
    }
    Ok(Holds { mark, broken: None })
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

/// A row's columns, borrowed; `None` where one holds what it cannot.
struct Columns<'a> {
    position: u64,
    stream: &'a str,
    seq: u64,
    at: Moment,
    kind: &'a str,
    version: u16,
    command_id: Option<CommandId>,
    payload: &'a [u8],
    hash: Digest,
}

impl<'a> Columns<'a> {
    fn of(row: &'a Row<'_>) -> Result<Option<Self>, rusqlite::Error> {
        let number = |column: usize| -> Result<Option<i64>, rusqlite::Error> {
            Ok(row.get_ref(column)?.as_i64().ok())
        };
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
            Some(Columns {
                position: u64::try_from(position?).ok()?,
                stream: stream?,
                seq: u64::try_from(seq?).ok()?,
                at: Moment(at?),
                kind: kind?,
                version: u16::try_from(version?).ok()?,
                command_id: command_id?,
                payload: payload?,
                hash: Digest(hash?.try_into().ok()?),
            })
        };
        Ok(whole())
    }
}

fn check_row(
    connection: &Connection,
    row: &Row<'_>,
    mark: Mark,
    from: Mark,
    tails: &mut HashMap<String, (u64, Digest)>,
) -> Result<Result<Mark, Broken>, JournalFault> {
    let expected = mark.head.position + 1;
    let Some(columns) = Columns::of(row)? else {
        let stream = String::new();
        return Ok(Err(Broken { position: expected, stream, seq: 0, what: "a column holds what it cannot" }));
    };
    let broken = |position: u64, what: &'static str| {
        Ok(Err(Broken { position, stream: columns.stream.to_owned(), seq: columns.seq, what }))
    };
    if columns.position != expected {
        return broken(expected, "the record is missing");
    }
    let tail = match tails.get(columns.stream) {
        Some(tail) => *tail,
        None => tail_before(connection, columns.stream, from.head.position)?,
    };
    if columns.seq != tail.0 + 1 {
        return broken(expected, "it does not follow the record before it in its stream");
    }
    let chained = ChainedRecord {
        stream: columns.stream,
        seq: columns.seq,
        at: columns.at,
        kind: columns.kind,
        version: columns.version,
        command_id: columns.command_id,
        payload: columns.payload,
    };
    if chain_hash(&tail.1, &chained) != columns.hash {
        return broken(expected, "its hash does not fit its content and the record before it");
    }
    match tails.get_mut(columns.stream) {
        Some(tail) => *tail = (columns.seq, columns.hash),
        None => {
            tails.insert(columns.stream.to_owned(), (columns.seq, columns.hash));
        }
    }
    Ok(Ok(mark.after(&columns.hash, columns.at)))
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
