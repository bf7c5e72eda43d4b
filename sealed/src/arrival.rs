//! Taking in a sealed bid as its bytes arrive.
//!
//! Memory is bounded by the header area, however large the bid: parts are only counted and hashed. Nothing is
//! decrypted, for nobody here has a key. After a restart the bytes already stored are fed again from the disk.

use kaibiao_protocol::{bid::PartName, refusal::RefusalCode};

use crate::{
    digest::Sha256,
    header::{Header, HeaderFault, PREAMBLE_BYTES},
};

/// A sealed bid on its way in.
pub struct Arrival {
    stage: Stage,
    taken: u64,
}

/// A sealed bid that is wholly in, its lengths and ciphertext digests proved equal to its statement. Its
/// signature is not checked ([`Header::check_signature`]).
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The header.
    pub header: Header,
    /// Bytes of the whole file.
    pub size_bytes: u64,
}

/// What is wrong with the bytes that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArrivalFault {
    /// The header.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// A part's bytes are not those of the statement.
    #[error("part {0} is damaged")]
    PartDamaged(PartName),
    /// The bytes ended early.
    #[error("cut after {found} bytes")]
    Cut {
        /// Bytes the file should have, where the header got far enough to tell.
        expected: Option<u64>,
        /// Bytes there were.
        found: u64,
    },
    /// There are bytes behind the last part.
    #[error("there are bytes behind the last part")]
    TrailingBytes,
}

impl ArrivalFault {
    /// The fault's name in `docs/formats/sealed-bid.md`.
    pub fn code(&self) -> &'static str {
        match self {
            ArrivalFault::Header(fault) => fault.code(),
            ArrivalFault::PartDamaged(_) => "part_damaged",
            ArrivalFault::Cut { .. } => "cut",
            ArrivalFault::TrailingBytes => "trailing_bytes",
        }
    }

    /// How the platform refuses a file with this fault.
    pub fn refusal(&self) -> RefusalCode {
        match self {
            ArrivalFault::Header(fault) => fault.refusal(),
            // Nothing that could be a sealed bid has arrived at all.
            ArrivalFault::Cut { found: 0, .. } => RefusalCode::NotASealedBid,
            ArrivalFault::PartDamaged(_) | ArrivalFault::Cut { .. } | ArrivalFault::TrailingBytes => {
                RefusalCode::SealedBidDamaged
            }
        }
    }
}

enum Stage {
    /// Gathering the header area.
    Header { gathered: Vec<u8>, needed: usize },
    /// Within the parts.
    Parts(Box<Running>),
    /// Nothing more is taken in.
    Failed(ArrivalFault),
}

struct Running {
    header: Header,
    /// Index of the part the next byte belongs to; past the end when all are in.
    part: usize,
    /// Bytes of it still to come.
    left: u64,
    hash: Sha256,
}

impl Arrival {
    /// An arrival of which nothing is in yet.
    pub fn new() -> Self {
        Self { stage: Stage::Header { gathered: Vec::new(), needed: PREAMBLE_BYTES }, taken: 0 }
    }

    /// Takes in the bytes that follow those already taken in. After a fault every further call gives it again.
    ///
    /// # Errors
    /// What is in cannot be, or begin, a sealed bid.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ArrivalFault> {
        let result = self.take(bytes);
        if let Err(fault) = result {
            self.stage = Stage::Failed(fault);
        }
        result
    }

    /// Bytes taken in.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// The header, as soon as it is in.
    pub fn header(&self) -> Option<&Header> {
        match &self.stage {
            Stage::Parts(running) => Some(&running.header),
            Stage::Header { .. } | Stage::Failed(_) => None,
        }
    }

    /// Ends the arrival: no more bytes will come.
    ///
    /// # Errors
    /// What is in is not a whole sealed bid.
    pub fn finish(self) -> Result<Arrived, ArrivalFault> {
        let found = self.taken;
        match self.stage {
            Stage::Failed(fault) => Err(fault),
            Stage::Header { .. } => Err(ArrivalFault::Cut { expected: None, found }),
            Stage::Parts(running) => {
                let expected = running.header.file_len();
                if found < expected {
                    return Err(ArrivalFault::Cut { expected: Some(expected), found });
                }
                Ok(Arrived { header: running.header, size_bytes: found })
            }
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), ArrivalFault> {
        self.taken += bytes.len() as u64;
        while let Stage::Header { gathered, needed } = &mut self.stage {
            if bytes.is_empty() {
                // Wrong from the first byte is told at the first byte.
                Header::length_needed(gathered)?;
                return Ok(());
            }
            let (now, rest) = bytes.split_at(bytes.len().min(*needed - gathered.len()));
            gathered.extend_from_slice(now);
            bytes = rest;
            if gathered.len() < *needed {
                continue;
            }
            if let Some(whole) = Header::length_needed(gathered)?
                && gathered.len() < whole
            {
                *needed = whole;
                continue;
            }
            let header = Header::parse(gathered)?;
            self.stage = Stage::Parts(Box::new(Running::begin(header)));
        }
        match &mut self.stage {
            Stage::Parts(running) => running.take(bytes),
            Stage::Failed(fault) => Err(*fault),
            Stage::Header { .. } => unreachable!("the loop ends only when the header is in"),
        }
    }
}

impl Default for Arrival {
    fn default() -> Self {
        Self::new()
    }
}

impl Running {
    fn begin(header: Header) -> Self {
        // Every bid has a common part, and no part is empty: its last chunk has a tag at least.
        let left = header.statement.parts[0].length;
        Self { header, part: 0, left, hash: Sha256::new() }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), ArrivalFault> {
        while !bytes.is_empty() {
            let Some(stated) = self.header.statement.parts.get(self.part) else {
                return Err(ArrivalFault::TrailingBytes);
            };
            let now = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (now, rest) = bytes.split_at(now);
            self.hash.update(now);
            self.left -= now.len() as u64;
            bytes = rest;
            if self.left > 0 {
                continue;
            }
            if std::mem::take(&mut self.hash).finish() != stated.ciphertext {
                return Err(ArrivalFault::PartDamaged(stated.part));
            }
            self.part += 1;
            self.left = self.header.statement.parts.get(self.part).map_or(0, |next| next.length);
        }
        Ok(())
    }
}
