//! The check at a start: the chain of every stream and the running hash over all records, held against the
//! head. What does not hold at or before the head refuses the start; what lies beyond it may be cut.

use std::{collections::HashMap, path::Path};

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::chain::{ChainedRecord, chain_hash};

use super::{
    JournalFault,
    head::{Found, Head, Mark},
};

/// The records of a journal, by position.
pub(super) trait Rows {
    /// The next row after the one given last; `None` at the end.
    ///
    /// # Errors
    /// The disk fails, or holds what cannot be read.
    fn next(&mut self) -> Result<Option<FoundRow<'_>>, JournalFault>;
}

/// A row as it lies on the disk.
pub(super) enum FoundRow<'a> {
    /// Its columns hold what they may.
    Whole {
        /// Its place among all records.
        position: u64,
        /// What its hash is over.
        chained: ChainedRecord<'a>,
        /// Its hash, as stored.
        hash: Digest,
    },
    /// A column holds what it cannot.
    Misshapen,
}

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

/// What the files beside the records say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// How far the journal had come, at least.
    pub(super) head: Mark,
    /// From where on the chain is to be verified; what lies before is trusted.
    pub(super) from: Mark,
}

/// Whether a head without records beside it lets a first start go on.
///
/// # Errors
/// Records are missing, or nobody can tell whether they are.
pub(super) fn may_begin(found: &Found, head_path: &Path) -> Result<(), JournalFault> {
    match found {
        Found::Mark(mark) if mark.head != Head::START => {
            Err(JournalFault::JournalMissing { head: mark.head.position })
        }
        Found::Unreadable => Err(JournalFault::HeadUnreadable { path: head_path.to_owned() }),
        Found::Mark(_) | Found::Absent => Ok(()),
    }
}

/// What to hold the records against. A journal that never started may lack its head; no other may.
///
/// # Errors
/// The head is gone or unreadable.
pub(super) fn expected(
    head: Found,
    verified: Found,
    never_started: bool,
    verify_whole_records_max: u64,
    head_path: &Path,
) -> Result<Expected, JournalFault> {
    let head = match head {
        Found::Mark(mark) => mark,
        Found::Absent | Found::Unreadable if never_started => Mark::START,
        Found::Absent | Found::Unreadable => {
            return Err(JournalFault::HeadUnreadable { path: head_path.to_owned() });
        }
    };
    let verified = match verified {
        Found::Mark(mark) => mark,
        Found::Absent | Found::Unreadable => Mark::START,
    };
    // Both were synced: the later one tells how far the journal had come.
    let head = if verified.head.position > head.head.position { verified } else { head };
    let from = if verified.head.position > verify_whole_records_max { verified } else { Mark::START };
    Ok(Expected { head, from })
}

/// Verifies every record after `from`, which is trusted, against `head`, which must not be before `from`.
/// `tail_before` gives seq and hash of a stream's last record at or before `from`.
///
/// # Errors
/// The journal ends before its head, a record at or before it does not hold, or its records are not those
/// the head was written for.
pub(super) fn verify(
    rows: &mut impl Rows,
    tail_before: impl Fn(&str) -> Result<(u64, Digest), JournalFault>,
    Expected { head, from }: Expected,
) -> Result<Holds, JournalFault> {
    let head = head.head;
    let mut mark = from;
    if mark.head.position == head.position && mark.head != head {
        return Err(JournalFault::HeadDiffers { position: head.position });
    }
    let mut tails: HashMap<String, (u64, Digest)> = HashMap::new();
    while let Some(row) = rows.next()? {
        match check_row(&row, mark, &tail_before, &mut tails)? {
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

fn check_row(
    row: &FoundRow<'_>,
    mark: Mark,
    tail_before: &impl Fn(&str) -> Result<(u64, Digest), JournalFault>,
    tails: &mut HashMap<String, (u64, Digest)>,
) -> Result<Result<Mark, Broken>, JournalFault> {
    let expected = mark.head.position + 1;
    let FoundRow::Whole { position, chained, hash } = row else {
        let stream = String::new();
        return Ok(Err(Broken { position: expected, stream, seq: 0, what: "a column holds what it cannot" }));
    };
    let broken = |what: &'static str| {
        let stream = chained.stream.to_owned();
        Ok(Err(Broken { position: expected, stream, seq: chained.seq, what }))
    };
    if *position != expected {
        return broken("the record is missing");
    }
    let tail = match tails.get(chained.stream) {
        Some(tail) => *tail,
        None => tail_before(chained.stream)?,
    };
    if chained.seq != tail.0 + 1 {
        return broken("it does not follow the record before it in its stream");
    }
    if chain_hash(&tail.1, chained) != *hash {
        return broken("its hash does not fit its content and the record before it");
    }
    match tails.get_mut(chained.stream) {
        Some(tail) => *tail = (chained.seq, *hash),
        None => {
            tails.insert(chained.stream.to_owned(), (chained.seq, *hash));
        }
    }
    Ok(Ok(mark.after(hash, chained.at)))
}
