//! The hash that ties every record of a journal stream to the one before it.
//!
//! The encoding is that of `docs/formats/journal.md`: each field is a tag byte, the field's length as eight
//! bytes (big-endian) and the field's bytes, so that no two different records have one encoding.

use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};

use crate::digest::Sha256;

/// A record as the chain sees it: the stored bytes, never a value written anew.
#[derive(Clone, Copy, Debug)]
pub struct ChainedRecord<'a> {
    /// The stream's name as it is stored.
    pub stream: &'a str,
    /// The record's place in its stream, from 1.
    pub seq: u64,
    /// Its stamp.
    pub at: Moment,
    /// The event's name.
    pub kind: &'a str,
    /// The version of the event's form.
    pub version: u16,
    /// The command that made it, where one is named.
    pub command_id: Option<CommandId>,
    /// The event's exact stored bytes.
    pub payload: &'a [u8],
}

/// What the first record of a stream is tied to: 32 zero bytes.
pub const CHAIN_START: Digest = Digest([0; 32]);

/// The chain hash of `record`, whose predecessor in its stream has the hash `previous`
/// ([`CHAIN_START`] for the first).
///
/// SHA-256 over `kaibiao chain 1\n` and the fields in this order, each as tag, length, bytes:
/// 1 previous hash, 2 stream, 3 seq (8 bytes), 4 at (8 bytes, two's complement), 5 kind, 6 version (2 bytes),
/// 7 command id (16 bytes, or none), 8 payload. Numbers are big-endian.
pub fn chain_hash(previous: &Digest, record: &ChainedRecord<'_>) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"kaibiao chain 1\n");
    let mut field = |tag: u8, bytes: &[u8]| {
        hash.update(&[tag]);
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    field(1, previous.as_bytes());
    field(2, record.stream.as_bytes());
    field(3, &record.seq.to_be_bytes());
    field(4, &record.at.0.to_be_bytes());
    field(5, record.kind.as_bytes());
    field(6, &record.version.to_be_bytes());
    field(7, record.command_id.as_ref().map_or(&[], |id| id.0.as_slice()));
    field(8, record.payload);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ChainedRecord<'static> {
        ChainedRecord {
            stream: "project/KX-1",
            seq: 1,
            at: Moment(1_767_225_600_000_000),
            kind: "bid_unsealed",
            version: 1,
            command_id: None,
            payload: b"{}",
        }
    }

    #[test]
    fn every_field_of_a_record_is_in_its_hash() {
        let base = chain_hash(&CHAIN_START, &record());
        let others = [
            chain_hash(&base, &record()),
            chain_hash(&CHAIN_START, &ChainedRecord { stream: "project/KX-2", ..record() }),
            chain_hash(&CHAIN_START, &ChainedRecord { seq: 2, ..record() }),
            chain_hash(&CHAIN_START, &ChainedRecord { at: Moment(0), ..record() }),
            chain_hash(&CHAIN_START, &ChainedRecord { kind: "bid_unsealed{", payload: b"}", ..record() }),
            chain_hash(&CHAIN_START, &ChainedRecord { version: 2, ..record() }),
            chain_hash(&CHAIN_START, &ChainedRecord { command_id: Some(CommandId([0; 16])), ..record() }),
            chain_hash(&CHAIN_START, &ChainedRecord { payload: b"{ }", ..record() }),
        ];
        for (at, one) in others.iter().enumerate() {
            assert_ne!(*one, base);
            assert!(others[at + 1..].iter().all(|other| other != one));
        }
    }
}
