//! The statement: what the supplier signs about the sealed parts.

use kaibiao_protocol::{
    bid::{PartFacts, PartName},
    digest::Digest,
};
use serde::{Deserialize, Serialize};

use crate::{
    cobblestone::{Prefix, clear_bytes},
    strict_json::{NotCanonical, parse_canonical, to_canonical},
};

/// The format's name inside a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StatementFormat {
    /// The first and only one.
    #[serde(rename = "kaibiao statement 1")]
    V1,
}

/// What the supplier's certificate signs: which binding, and every byte behind the header by its digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Which format this is.
    pub format: StatementFormat,
    /// SHA-256 of the binding's bytes.
    pub binding: Digest,
    /// Bytes of the header area, its padding included.
    pub header_bytes: u64,
    /// The parts in their order in the file.
    pub parts: Vec<StatedPart>,
}

/// What is stated about one part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedPart {
    /// Which part.
    pub part: PartName,
    /// The prefix of its Cobblestone message: salt and commitment to the part's key.
    pub prefix: Prefix,
    /// Bytes of the message's body in the file.
    pub length: u64,
    /// SHA-256 of the body.
    pub ciphertext: Digest,
}

impl StatedPart {
    /// Bytes of the part's package, once opened. Zero for a length that no body has; a parsed header has none such.
    pub fn clear_bytes(&self) -> u64 {
        clear_bytes(self.length).unwrap_or(0)
    }

    /// What a receipt fixes about the part.
    pub fn facts(&self) -> PartFacts {
        PartFacts { part: self.part, length: self.length, ciphertext: self.ciphertext }
    }
}

impl Statement {
    /// Reads a statement from exactly its bytes. Whether it fits its binding is the header's to say.
    ///
    /// # Errors
    /// The bytes are not the canonical JSON of a statement.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotCanonical> {
        parse_canonical(bytes)
    }

    /// The bytes that are stored, digested and signed.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }
}
