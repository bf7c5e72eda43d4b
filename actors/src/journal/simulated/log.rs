//! The log on the simulated disk: whole transactions, each tied to the one before by a checksum. A
//! transaction that is torn, or does not follow, ends the log, as in SQLite's own.
//!
//! `LENGTH (4) CHECK (8) ENTRIES`, little-endian; `CHECK` is over the check before, the length and the
//! entries. An entry is a tag byte and its fields, texts and bytes with their length (4) before them.

use std::fmt;

use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_protocol::{digest::Digest, ids::CommandId, moment::Moment};
use kaibiao_sealed::chain::ChainedRecord;
use zeroize::Zeroizing;

use crate::journal::cycle::Row;

const HEADER_BYTES: usize = 12;
/// The check before the first transaction.
pub(super) const CHECK_START: u64 = 0x6b61_6962_6961_6f31;

const RECORD: u8 = 1;
const WAKE: u8 = 2;
const NO_WAKE: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;

/// What a transaction holds.
pub(super) enum Entry<'a> {
    Record { position: u64, chained: ChainedRecord<'a>, hash: Digest },
    Wake { stream: &'a str, at: Option<Moment> },
    Side(SideWrite),
}

/// The bytes of a transaction in the making; its header is filled in at the end.
pub(super) struct Transaction(Vec<u8>);

impl Default for Transaction {
    fn default() -> Self {
        Self(vec![0; HEADER_BYTES])
    }
}

impl Transaction {
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == HEADER_BYTES
    }

    pub(super) fn clear(&mut self) {
        self.0.truncate(HEADER_BYTES);
    }

    /// The transaction whole, and its check.
    pub(super) fn seal(&mut self, check_before: u64) -> (&[u8], u64) {
        let length = u32::try_from(self.0.len() - HEADER_BYTES).unwrap_or(u32::MAX);
        let check = check(check_before, length, &self.0[HEADER_BYTES..]);
        self.0[..4].copy_from_slice(&length.to_le_bytes());
        self.0[4..HEADER_BYTES].copy_from_slice(&check.to_le_bytes());
        (&self.0, check)
    }

    pub(super) fn record(&mut self, Row { position, chained, hash }: &Row<'_>) {
        self.0.push(RECORD);
        self.0.extend_from_slice(&position.to_le_bytes());
        self.0.extend_from_slice(&chained.seq.to_le_bytes());
        self.0.extend_from_slice(&chained.at.0.to_le_bytes());
        self.0.extend_from_slice(&chained.version.to_le_bytes());
        self.0.extend_from_slice(hash.as_bytes());
        self.bytes(chained.command_id.as_ref().map_or(&[], |id| id.0.as_slice()));
        self.bytes(chained.stream.as_bytes());
        self.bytes(chained.kind.as_bytes());
        self.bytes(chained.payload);
    }

    pub(super) fn wake(&mut self, stream: &str, at: Option<Moment>) {
        self.0.push(if at.is_some() { WAKE } else { NO_WAKE });
        self.0.extend_from_slice(&at.map_or(0, |at| at.0).to_le_bytes());
        self.bytes(stream.as_bytes());
    }

    pub(super) fn side(&mut self, write: &SideWrite) {
        let (tag, space, key) = match write {
            SideWrite::Put { space, key, .. } => (PUT, *space, key),
            SideWrite::Delete { space, key } => (DELETE, *space, key),
        };
        let space = SideSpace::ALL.iter().position(|one| *one == space).unwrap_or_default();
        self.0.extend_from_slice(&[tag, u8::try_from(space).unwrap_or(u8::MAX)]);
        self.bytes(key.as_bytes());
        if let SideWrite::Put { value, .. } = write {
            self.bytes(value);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(bytes);
    }
}

/// Goes through a log, transaction by transaction, up to the first that does not hold.
pub(super) struct LogReader<'a> {
    log: &'a [u8],
    /// Where the last whole transaction ends.
    pub(super) end: usize,
    /// Its check.
    pub(super) check: u64,
}

impl<'a> LogReader<'a> {
    pub(super) fn new(log: &'a [u8]) -> Self {
        Self { log, end: 0, check: CHECK_START }
    }

    /// The entries of the next whole transaction.
    pub(super) fn next(&mut self) -> Option<Entries<'a>> {
        let rest = &self.log[self.end..];
        let length = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
        let wanted = u64::from_le_bytes(rest.get(4..HEADER_BYTES)?.try_into().ok()?);
        let end = HEADER_BYTES.checked_add(usize::try_from(length).ok()?)?;
        let entries = rest.get(HEADER_BYTES..end)?;
        let found = check(self.check, length, entries);
        if found != wanted || length == 0 {
            return None;
        }
        self.end += end;
        self.check = found;
        Some(Entries(entries))
    }
}

/// The entries of one transaction.
pub(super) struct Entries<'a>(&'a [u8]);

/// An entry that is not spelled as entries are. Its transaction's check holds: a bug, or damage beyond
/// chance.
#[derive(Debug)]
pub(super) struct Misspelt;

impl fmt::Display for Misspelt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an entry of the log is misspelt")
    }
}

impl<'a> Entries<'a> {
    pub(super) fn next(&mut self) -> Option<Result<Entry<'a>, Misspelt>> {
        if self.0.is_empty() { None } else { Some(self.entry().ok_or(Misspelt)) }
    }

    fn entry(&mut self) -> Option<Entry<'a>> {
        let tag = self.take(1)?[0];
        match tag {
            RECORD => {
                let position = u64::from_le_bytes(self.array()?);
                let seq = u64::from_le_bytes(self.array()?);
                let at = Moment(i64::from_le_bytes(self.array()?));
                let version = u16::from_le_bytes(self.array()?);
                let hash = Digest(self.array()?);
                let id = self.bytes()?;
                let command_id = if id.is_empty() { None } else { Some(CommandId(id.try_into().ok()?)) };
                let (stream, kind) = (self.text()?, self.text()?);
                let payload = self.bytes()?;
                let chained = ChainedRecord { stream, seq, at, kind, version, command_id, payload };
                Some(Entry::Record { position, chained, hash })
            }
            WAKE | NO_WAKE => {
                let at = Moment(i64::from_le_bytes(self.array()?));
                Some(Entry::Wake { stream: self.text()?, at: (tag == WAKE).then_some(at) })
            }
            PUT | DELETE => {
                let space = *SideSpace::ALL.get(usize::from(self.take(1)?[0]))?;
                let key = self.text()?.to_owned();
                Some(Entry::Side(if tag == PUT {
                    SideWrite::Put { space, key, value: Zeroizing::new(self.bytes()?.to_vec()) }
                } else {
                    SideWrite::Delete { space, key }
                }))
            }
            _ => None,
        }
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// Tells a torn transaction from a whole one: eight bytes at a time, mixed by multiplication. No more than
/// chance is its enemy.
fn check(before: u64, length: u32, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |check: u64, word: u64| (check ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut check = mix(before, u64::from(length));
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        check = mix(check, u64::from_le_bytes(*word));
    }
    for byte in rest {
        check = mix(check, u64::from(*byte));
    }
    check ^ (check >> 32)
}
