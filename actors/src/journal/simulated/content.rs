//! What is committed, in memory: as a database's pages would show it to readers.

use std::collections::BTreeMap;

use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::chain::CHAIN_START;
use zeroize::Zeroizing;

use crate::journal::{
    JournalFault, READ_BYTES_MAX, READ_RECORDS_MAX, StoredRecord, Stream, cycle::Tail, readers::hash_of,
    start::Broken,
};

/// Streams, side values and wakes.
#[derive(Default)]
pub(super) struct Content {
    pub(super) streams: BTreeMap<Stream, Vec<StoredRecord>>,
    pub(super) side: BTreeMap<(SideSpace, String), Zeroizing<Vec<u8>>>,
    pub(super) wakes: BTreeMap<Stream, Moment>,
}

/// What one transaction changes; applied when it is durable.
pub(super) enum Staged {
    Record(Stream, StoredRecord),
    Wake(Stream, Option<Moment>),
    Side(SideWrite),
}

impl Content {
    pub(super) fn apply(&mut self, staged: Staged) {
        match staged {
            Staged::Record(stream, record) => match self.streams.get_mut(&stream) {
                Some(records) => records.push(record),
                None => {
                    self.streams.insert(stream, vec![record]);
                }
            },
            Staged::Wake(stream, Some(at)) => {
                self.wakes.insert(stream, at);
            }
            Staged::Wake(stream, None) => {
                self.wakes.remove(&stream);
            }
            Staged::Side(SideWrite::Put { space, key, value }) => {
                self.side.insert((space, key), value);
            }
            Staged::Side(SideWrite::Delete { space, key }) => {
                self.side.remove(&(space, key));
            }
        }
    }

    pub(super) fn records(&self, stream: &Stream) -> &[StoredRecord] {
        self.streams.get(stream).map_or(&[], Vec::as_slice)
    }

    pub(super) fn tail(&self, stream: &Stream) -> Tail {
        let last = self.records(stream).last();
        last.map_or(Tail::START, |last| Tail {
            seq: last.seq,
            hash: last.hash,
            wake_at: self.wakes.get(stream).copied(),
        })
    }

    pub(super) fn read(
        &self,
        stream: &Stream,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<StoredRecord>, JournalFault> {
        let records = self.records(stream);
        let from = usize::try_from(after_seq).map_or(records.len(), |seq| seq.min(records.len()));
        let name = stream.to_string();
        let mut previous = if from == 0 { CHAIN_START } else { records[from - 1].hash };
        let mut given = Vec::new();
        let mut bytes = 0;
        for record in records[from..].iter().take(limit.min(READ_RECORDS_MAX)) {
            if bytes >= READ_BYTES_MAX {
                break;
            }
            if hash_of(&name, &previous, record) != record.hash {
                let what = "it does not fit the record before it in its stream";
                return Err(Broken { position: record.position, stream: name, seq: record.seq, what }.into());
            }
            previous = record.hash;
            bytes += record.payload.len();
            given.push(record.clone());
        }
        Ok(given)
    }

    pub(super) fn side_keys(&self, space: SideSpace, prefix: &str) -> Vec<String> {
        let from = self.side.range((space, prefix.to_owned())..);
        let with_prefix = from.take_while(|((held, key), _)| *held == space && key.starts_with(prefix));
        with_prefix.map(|((_, key), _)| key.clone()).collect()
    }
}
