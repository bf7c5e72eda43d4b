//! What the tests of this binary share.

use std::{fs, path::Path};

use kaibiao_actors::journal::{Append, Appended, Journal, RawRecord, StoredRecord, Stream};
use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};
use kaibiao_sealed::chain::{CHAIN_START, ChainedRecord, chain_hash};

/// The instant of the n-th record of a test.
pub(crate) fn at(n: u64) -> Moment {
    Moment(1_767_225_600_000_000 + i64::try_from(n).unwrap())
}

/// A project's stream.
pub(crate) fn stream(name: &str) -> Stream {
    Stream::Project(name.parse().unwrap())
}

/// A record whose payload can be found again, in the journal and in its file.
pub(crate) fn record(n: u64) -> RawRecord {
    RawRecord {
        kind: "happened",
        version: 1,
        at: at(n),
        command_id: n.is_multiple_of(2).then_some(CommandId([7; 16])),
        payload: payload(n),
    }
}

/// The n-th payload: unlike any other.
pub(crate) fn payload(n: u64) -> Vec<u8> {
    format!("{{\"event\":\"happened\",\"no\":\"<{n:06}>\"}}").into_bytes()
}

/// An append of records `expected_seq + 1 ..= expected_seq + count`.
pub(crate) fn append(stream: &Stream, expected_seq: u64, count: u64) -> Append {
    Append {
        stream: stream.clone(),
        expected_seq,
        records: (1..=count).map(|n| record(expected_seq + n)).collect(),
        wake_at: None,
        side: Vec::new(),
    }
}

/// Appends and waits.
pub(crate) fn write(journal: &dyn Journal, stream: &Stream, expected_seq: u64, count: u64) -> Appended {
    journal.append(append(stream, expected_seq, count)).wait().unwrap()
}

/// The whole of a stream, page by page.
pub(crate) fn read_all(journal: &dyn Journal, stream: &Stream) -> Vec<StoredRecord> {
    let mut records: Vec<StoredRecord> = Vec::new();
    loop {
        let page = journal.read(stream, records.len() as u64, 1_000).unwrap();
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

/// The chain hash a record must have, computed from its fields alone.
pub(crate) fn hash_after(stream: &Stream, previous: Option<&StoredRecord>, record: &StoredRecord) -> Digest {
    let chained = ChainedRecord {
        stream: &stream.to_string(),
        seq: record.seq,
        at: record.at,
        kind: &record.kind,
        version: record.version,
        command_id: record.command_id,
        payload: &record.payload,
    };
    chain_hash(previous.map_or(&CHAIN_START, |previous| &previous.hash), &chained)
}

/// Copies the files of a folder, as a crash at this instant would leave them to the next start.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The shared memory of SQLite's connections dies with them.
        if !entry.file_name().to_str().unwrap().ends_with("-shm") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Where a text stands in a file, every place of it.
pub(crate) fn places(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    bytes
        .windows(wanted.len())
        .enumerate()
        .filter(|(_, window)| *window == wanted)
        .map(|(at, _)| at)
        .collect()
}

/// Flips one bit in a file.
pub(crate) fn flip_bit(path: &Path, place: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[place] ^= 0x10;
    fs::write(path, bytes).unwrap();
}
