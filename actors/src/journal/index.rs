//! Where the records of each stream lie.
//!
//! Records are stored in the order of their positions, so that a group of appends to many streams is written
//! side by side. The index from stream and seq to position is brought up to date later, for many records of a
//! stream at once: kept with every commit it would change one page a stream, and make six times as much of
//! the disk's work. Until then the positions are remembered here. The index says nothing that the records do
//! not say.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use rusqlite::{Connection, OptionalExtension};

use super::{JournalFault, Stream, cycle::Placed, verify::damaged};

/// The positions of records that the index does not have yet.
#[derive(Default)]
pub(super) struct Recent(RwLock<HashMap<Stream, Run>>);

/// Positions of a stream's last records, in the order of their seq.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first_seq: u64,
    pub(super) positions: Vec<u64>,
}

impl Recent {
    /// Remembers where committed records lie.
    pub(super) fn remember(&self, placed: impl IntoIterator<Item = Placed>) {
        let mut runs = self.write();
        for Placed { stream, first_seq, first_position, count } in placed {
            let run = runs.entry(stream).or_insert_with(|| Run { first_seq, positions: Vec::new() });
            debug_assert_eq!(run.first_seq + run.positions.len() as u64, first_seq, "records come in order");
            run.positions.extend(first_position..first_position + count);
        }
    }

    /// What is remembered of a stream from `seq` on; `None` if all of its records are in the index.
    pub(super) fn run(&self, stream: &Stream, seq: u64, count_max: usize) -> Option<Run> {
        let runs = self.read();
        let run = runs.get(stream)?;
        let skipped = usize::try_from(seq.saturating_sub(run.first_seq)).unwrap_or(usize::MAX);
        let positions = run.positions.iter().skip(skipped).take(count_max).copied().collect();
        Some(Run { first_seq: run.first_seq, positions })
    }

    /// Seq and position of a stream's last record, if it is remembered.
    fn last(&self, stream: &Stream) -> Option<(u64, u64)> {
        let runs = self.read();
        let run = runs.get(stream)?;
        let position = *run.positions.last()?;
        Some((run.first_seq + run.positions.len() as u64 - 1, position))
    }

    /// The streams with records that are remembered.
    pub(super) fn streams(&self) -> Vec<Stream> {
        self.read().keys().cloned().collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Stream, Run>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Stream, Run>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seq and position of a stream's last record.
pub(super) fn last(
    connection: &Connection,
    recent: &Recent,
    stream: &Stream,
    name: &str,
) -> Result<Option<(u64, u64)>, rusqlite::Error> {
    if let Some(last) = recent.last(stream) {
        return Ok(Some(last));
    }
    connection
        .prepare_cached("SELECT seq, position FROM by_stream WHERE stream = ?1 ORDER BY seq DESC LIMIT 1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// Writes all that is remembered into the index, and forgets it. Only the writer calls this: nothing is
/// remembered meanwhile.
pub(super) fn flush(connection: &Connection, recent: &Recent) -> Result<(), rusqlite::Error> {
    let mut names: Vec<(String, Stream)> =
        recent.streams().into_iter().map(|stream| (stream.to_string(), stream)).collect();
    // In the index's own order, so that each of its pages is visited once.
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut upto = 0;
    let transaction = connection.unchecked_transaction()?;
    {
        let runs = recent.read();
        let mut insert = transaction.prepare_cached(INSERT)?;
        for (name, stream) in &names {
            let Some(run) = runs.get(stream) else { continue };
            for (seq, position) in (run.first_seq..).zip(&run.positions) {
                insert.execute((name, seq, *position))?;
                upto = upto.max(*position);
            }
        }
    }
    transaction.execute(REACHED, [upto])?;
    transaction.commit()?;
    recent.write().clear();
    Ok(())
}

/// Brings the index up to the last record, at a start. Harmless to repeat.
pub(super) fn catch_up(connection: &Connection) -> Result<(), JournalFault> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute(
        "INSERT OR IGNORE INTO by_stream (stream, seq, position)
         SELECT stream, seq, position FROM records
         WHERE position > (SELECT upto FROM indexed) ORDER BY stream, seq",
        [],
    )?;
    transaction.execute("UPDATE indexed SET upto = (SELECT coalesce(max(position), 0) FROM records)", [])?;
    Ok(transaction.commit()?)
}

/// Takes records out of the index that are being cut.
pub(super) fn cut(connection: &Connection, from_position: u64) -> Result<(), rusqlite::Error> {
    connection.execute("DELETE FROM by_stream WHERE position >= ?1", [from_position])?;
    connection.execute("UPDATE indexed SET upto = min(upto, ?1 - 1)", [from_position])?;
    Ok(())
}

/// Holds the index against the records: every record up to `indexed` is in it, in its place, and at most
/// those beyond it are.
///
/// # Errors
/// It is not so.
pub(super) fn check(connection: &Connection) -> Result<(), JournalFault> {
    let (right, upto): (u64, u64) = connection
        .query_row(
            "SELECT count(*), (SELECT upto FROM indexed)
             FROM records JOIN by_stream USING (stream, seq)
             WHERE records.position = by_stream.position AND records.position <= (SELECT upto FROM indexed)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(damaged)?;
    let last: u64 = connection
        .query_row("SELECT coalesce(max(position), 0) FROM records", [], |row| row.get(0))
        .map_err(damaged)?;
    let entries: u64 = connection
        .query_row("SELECT count(*) FROM by_stream WHERE position <= (SELECT upto FROM indexed)", [], |row| {
            row.get(0)
        })
        .map_err(damaged)?;
    if right == upto && entries == upto && upto <= last {
        Ok(())
    } else {
        let what = format!("{right} of {upto} records are in their place in the index, which has {entries}");
        Err(JournalFault::DatabaseDamaged { what })
    }
}

// A server that was superseded may write again what its successor has written: the same.
const INSERT: &str = "INSERT OR IGNORE INTO by_stream (stream, seq, position) VALUES (?1, ?2, ?3)";
const REACHED: &str = "UPDATE indexed SET upto = max(upto, ?1)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::schema;

    fn placed(name: &str, first_seq: u64, first_position: u64, count: u64) -> Placed {
        Placed { stream: Stream::Project(name.parse().unwrap()), first_seq, first_position, count }
    }

    fn indexed(connection: &Connection) -> Vec<(String, u64, u64)> {
        let mut statement =
            connection.prepare("SELECT stream, seq, position FROM by_stream ORDER BY stream, seq").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_flushed_is_in_the_index_and_remembered_no_more() {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::create(&mut connection).unwrap();
        let recent = Recent::default();
        recent.remember([placed("B", 1, 1, 2), placed("A", 5, 3, 1), placed("B", 3, 4, 1)]);
        let (a, b) = (Stream::Project("A".parse().unwrap()), Stream::Project("B".parse().unwrap()));
        assert_eq!(recent.run(&b, 2, 10), Some(Run { first_seq: 1, positions: vec![2, 4] }));
        assert_eq!(recent.run(&b, 2, 1), Some(Run { first_seq: 1, positions: vec![2] }));
        assert_eq!(last(&connection, &recent, &b, "project/B").unwrap(), Some((3, 4)));

        for _ in 0..2 {
            flush(&connection, &recent).unwrap();
            assert_eq!(recent.streams(), []);
            assert_eq!(recent.run(&b, 1, 10), None);
        }
        assert_eq!(last(&connection, &recent, &b, "project/B").unwrap(), Some((3, 4)));
        assert_eq!(last(&connection, &recent, &a, "project/A").unwrap(), Some((5, 3)));
        let (a, b) = ("project/A".to_owned(), "project/B".to_owned());
        let expected = [(a.clone(), 5, 3), (b.clone(), 1, 1), (b.clone(), 2, 2), (b.clone(), 3, 4)];
        assert_eq!(indexed(&connection), expected);
        let upto: u64 = connection.query_row("SELECT upto FROM indexed", [], |row| row.get(0)).unwrap();
        assert_eq!(upto, 4);

        recent.remember([placed("A", 6, 5, 1)]);
        flush(&connection, &recent).unwrap();
        assert_eq!(indexed(&connection).len(), 5);
    }
}
