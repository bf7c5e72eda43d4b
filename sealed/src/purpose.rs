//! What a signature is for, as the first line of whatever is signed.
//!
//! A token or a platform key never signs a bare text: it signs the purpose's line followed by the text, so
//! that a signature obtained for one purpose never holds for another.

use crate::digest::sha256_of;
use kaibiao_protocol::digest::Digest;

/// What a signature is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Purpose {
    /// A supplier's token signs the statement of a sealed bid.
    SealStatement,
    /// A token answers a sign-in challenge.
    SignIn,
    /// An agent's token starts an opening.
    StartOpening,
    /// A supplier's token confirms an opening record.
    ConfirmRecord,
    /// The platform's receipt key signs a receipt.
    Receipt,
    /// The platform's receipt key signs the refusal of a final.
    RefusalNotice,
    /// The platform's opening key signs an opening order.
    OpeningOrder,
    /// The platform's receipt key signs an opening record.
    OpeningRecord,
}

impl Purpose {
    /// Every purpose, in a fixed order.
    pub const ALL: [Purpose; 8] = [
        Purpose::SealStatement,
        Purpose::SignIn,
        Purpose::StartOpening,
        Purpose::ConfirmRecord,
        Purpose::Receipt,
        Purpose::RefusalNotice,
        Purpose::OpeningOrder,
        Purpose::OpeningRecord,
    ];

    /// The line that stands before the text, with its line feed.
    pub fn line(self) -> &'static [u8] {
        match self {
            Purpose::SealStatement => b"kaibiao seal-statement 1\n",
            Purpose::SignIn => b"kaibiao sign-in 1\n",
            Purpose::StartOpening => b"kaibiao start-opening 1\n",
            Purpose::ConfirmRecord => b"kaibiao confirm-record 1\n",
            Purpose::Receipt => b"kaibiao receipt 1\n",
            Purpose::RefusalNotice => b"kaibiao refusal-notice 1\n",
            Purpose::OpeningOrder => b"kaibiao opening-order 1\n",
            Purpose::OpeningRecord => b"kaibiao opening-record 1\n",
        }
    }

    /// The bytes that are signed: the line, then `text`.
    pub fn message(self, text: &[u8]) -> Vec<u8> {
        [self.line(), text].concat()
    }

    /// SHA-256 of [`Purpose::message`].
    pub fn message_digest(self, text: &[u8]) -> Digest {
        sha256_of(&[self.line(), text])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_purpose_line_begins_another() {
        for one in Purpose::ALL {
            assert!(one.line().ends_with(b"\n"));
            for other in Purpose::ALL {
                assert!(one == other || !other.line().starts_with(one.line()));
            }
        }
    }
}
