//! Reading while the writer writes: a few connections that are handed round.

use std::{ops::Deref, path::Path};

use crossbeam_channel::{Receiver, Sender, bounded};
use kaibiao_engine::keeper::SideSpace;
use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};
use kaibiao_sealed::chain::{CHAIN_START, ChainedRecord, chain_hash};
use rusqlite::{Connection, OptionalExtension, Row};
use zeroize::Zeroizing;

use super::{
    JournalFault, READ_BYTES_MAX, READ_RECORDS_MAX, StoredRecord, Stream, index::Recent, schema,
    start::Broken, verify::damaged,
};

/// Connections for reading; one more reader waits until one is free.
const READERS: usize = 4;

/// The connections.
pub(super) struct Readers {
    free: Receiver<Connection>,
    back: Sender<Connection>,
}

/// A connection on loan; goes back when dropped.
pub(super) struct Loan<'a> {
    connection: Option<Connection>,
    back: &'a Sender<Connection>,
}

impl Deref for Loan<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("a loan holds its connection until it is dropped")
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // There is a place for every connection, and the pool outlives its loans.
            let _ = self.back.send(connection);
        }
    }
}

impl Readers {
    pub(super) fn open(folder: &Path) -> Result<Self, JournalFault> {
        let (back, free) = bounded(READERS);
        for _ in 0..READERS {
            let connection = schema::open_reader(folder)?;
            back.send(connection).expect("the pool holds both ends");
        }
        Ok(Self { free, back })
    }

    /// A connection; waits until one is free.
    pub(super) fn lend(&self) -> Loan<'_> {
        let connection = self.free.recv().expect("the pool holds both ends");
        Loan { connection: Some(connection), back: &self.back }
    }

    pub(super) fn read(
        &self,
        recent: &Recent,
        stream: &Stream,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, JournalFault> {
        let name = stream.to_string();
        let limit = limit.min(READ_RECORDS_MAX);
        // The record before the first one wanted gives the hash that the first is tied to.
        let from_seq = after_seq.max(1);
        let connection = self.lend();
        // Looked up before the index is: what moves there meanwhile is then seen twice rather than not at
        // all.
        let run = recent.run(stream, from_seq, limit + 1);
        let indexed_before = run.as_ref().map_or(i64::MAX as u64, |run| run.first_seq);
        let mut page =
            Page { stream: &name, after_seq, limit, previous: None, bytes: 0, records: Vec::new() };
        let mut statement = connection.prepare_cached(
            "SELECT r.seq, r.position, at, kind, version, command_id, payload, hash, r.stream
             FROM by_stream AS i JOIN records AS r ON r.position = i.position
             WHERE i.stream = ?1 AND i.seq >= ?2 AND i.seq < ?3 ORDER BY i.seq",
        )?;
        let mut rows = statement.query((&name, from_seq, indexed_before))?;
        while !page.is_full() {
            let Some(row) = rows.next().map_err(damaged)? else { break };
            page.take(row)?;
        }
        drop(rows);
        let mut statement = connection.prepare_cached(
            "SELECT seq, position, at, kind, version, command_id, payload, hash, stream
             FROM records WHERE position = ?1",
        )?;
        for position in run.iter().flat_map(|run| &run.positions) {
            if page.is_full() {
                break;
            }
            let mut rows = statement.query([position])?;
            if let Some(row) = rows.next().map_err(damaged)? {
                page.take(row)?;
            }
        }
        Ok(page.records)
    }

    pub(super) fn side(
        &self,
        space: SideSpace,
        key: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, JournalFault> {
        let connection = self.lend();
        let mut statement =
            connection.prepare_cached("SELECT value FROM side WHERE space = ?1 AND key = ?2")?;
        let value = statement
            .query_row((space.as_str(), key), |row| row.get(0).map(Zeroizing::new))
            .optional()
            .map_err(damaged)?;
        Ok(value)
    }

    pub(super) fn side_keys(&self, space: SideSpace, prefix: &str) -> Result<Vec<String>, JournalFault> {
        let connection = self.lend();
        // Keys are ordered by their bytes, so those with the prefix stand together from the prefix on.
        let mut statement =
            connection.prepare_cached("SELECT key FROM side WHERE space = ?1 AND key >= ?2 ORDER BY key")?;
        let mut rows = statement.query((space.as_str(), prefix))?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next().map_err(damaged)? {
            let key: String = row.get(0)?;
            if !key.starts_with(prefix) {
                break;
            }
            keys.push(key);
        }
        Ok(keys)
    }

    pub(super) fn wakes(&self) -> Result<Vec<(Stream, Moment)>, JournalFault> {
        let connection = self.lend();
        let mut statement = connection.prepare_cached("SELECT stream, at FROM wakes ORDER BY at")?;
        let mut rows = statement.query([])?;
        let mut wakes = Vec::new();
        while let Some(row) = rows.next().map_err(damaged)? {
            wakes.push((named(row.get(0)?)?, Moment(row.get(1)?)));
        }
        Ok(wakes)
    }

    pub(super) fn streams(&self, recent: &Recent) -> Result<Vec<Stream>, JournalFault> {
        let mut streams = recent.streams();
        let connection = self.lend();
        // One step in the index a stream, however many records each has.
        let mut statement = connection.prepare_cached(
            "WITH RECURSIVE names (name) AS (
                 SELECT min(stream) FROM by_stream
                 UNION ALL
                 SELECT (SELECT min(stream) FROM by_stream WHERE stream > name)
                 FROM names WHERE name IS NOT NULL
             )
             SELECT name FROM names WHERE name IS NOT NULL",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next().map_err(damaged)? {
            streams.push(named(row.get(0)?)?);
        }
        streams.sort_by_cached_key(Stream::to_string);
        streams.dedup();
        Ok(streams)
    }
}

/// A page in the making; takes rows in the order of their seq.
struct Page<'a> {
    stream: &'a str,
    after_seq: u64,
    limit: usize,
    /// Seq and hash of the row taken last.
    previous: Option<(u64, Digest)>,
    bytes: usize,
    records: Vec<StoredRecord>,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.records.len() >= self.limit || self.bytes >= READ_BYTES_MAX
    }

    /// Takes a row, if it fits the one before it.
    fn take(&mut self, row: &Row<'_>) -> Result<(), JournalFault> {
        let record = stored(row).map_err(damaged)?;
        let stream = row.get_ref(8)?.as_str().unwrap_or_default();
        let fits = stream == self.stream
            && match self.previous {
                // The record before the page is taken as it is: it was verified when it was read, or at a
                // start.
                None if self.after_seq > 0 => record.seq == self.after_seq,
                previous => {
                    let (seq, hash) = previous.unwrap_or((0, CHAIN_START));
                    record.seq == seq + 1 && record.hash == hash_of(self.stream, &hash, &record)
                }
            };
        if !fits {
            return Err(Broken {
                position: record.position,
                stream: self.stream.to_owned(),
                seq: record.seq,
                what: "it does not fit the record before it in its stream",
            }
            .into());
        }
        self.previous = Some((record.seq, record.hash));
        if record.seq > self.after_seq {
            self.bytes += record.payload.len();
            self.records.push(record);
        }
        Ok(())
    }
}

fn named(name: String) -> Result<Stream, JournalFault> {
    name.parse().map_err(|_| JournalFault::UnknownStream(name))
}

fn stored(row: &Row<'_>) -> Result<StoredRecord, rusqlite::Error> {
    Ok(StoredRecord {
        seq: row.get(0)?,
        position: row.get(1)?,
        at: Moment(row.get(2)?),
        kind: row.get(3)?,
        version: row.get(4)?,
        command_id: row.get::<_, Option<[u8; 16]>>(5)?.map(CommandId),
        payload: row.get(6)?,
        hash: Digest(row.get(7)?),
    })
}

/// The chain hash a record must have after `previous`.
pub(super) fn hash_of(stream: &str, previous: &Digest, record: &StoredRecord) -> Digest {
    let chained = ChainedRecord {
        stream,
        seq: record.seq,
        at: record.at,
        kind: &record.kind,
        version: record.version,
        command_id: record.command_id,
        payload: &record.payload,
    };
    chain_hash(previous, &chained)
}
