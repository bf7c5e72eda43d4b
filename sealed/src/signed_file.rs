//! Signed files of two lines: a canonical JSON text, and the platform's signature over it.
//!
//! Receipts and refusal notices are handed out as such files. The file ends with a line feed; the signed
//! message is the purpose's line and the first line without its line feed.

use kaibiao_protocol::{blob::Blob, digest::Digest};
use serde::{Deserialize, Serialize};

use crate::{
    platform_key::{PUBLIC_KEY_BYTES, PlatformKey, PlatformKeyFault, key_id, verify},
    purpose::Purpose,
    strict_json::{parse_canonical, to_canonical},
};

/// The most bytes a signed file may have.
pub const SIGNED_FILE_BYTES_MAX: usize = 256 * 1024;

/// Why a signed file does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedFileFault {
    /// Not a text line and a signature line, or longer than [`SIGNED_FILE_BYTES_MAX`].
    #[error("not a text line and a signature line")]
    NotTwoLines,
    /// Signed by another key than the one asked about.
    #[error("signed by another key, whose id is {0}")]
    OtherKey(Digest),
    /// The signature does not fit the text.
    #[error("the signature does not fit the text")]
    NotSigned,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureLine {
    key: Digest,
    signature: Blob,
}

/// The file for `text`, which has no line feed. Pure: the same text and key give the same bytes.
pub(crate) fn sign_file(purpose: Purpose, text: &str, key: &PlatformKey) -> String {
    let line = SignatureLine { key: key.id(), signature: Blob(key.sign(purpose, text.as_bytes()).to_vec()) };
    let line = String::from_utf8(to_canonical(&line)).expect("JSON is UTF-8");
    format!("{text}\n{line}\n")
}

/// The text of a file that `public` signed for `purpose`.
pub(crate) fn open_file<'a>(
    purpose: Purpose,
    file: &'a str,
    public: &[u8; PUBLIC_KEY_BYTES],
) -> Result<&'a str, SignedFileFault> {
    if file.len() > SIGNED_FILE_BYTES_MAX {
        return Err(SignedFileFault::NotTwoLines);
    }
    let (text, rest) = file.split_once('\n').ok_or(SignedFileFault::NotTwoLines)?;
    let line = rest.strip_suffix('\n').ok_or(SignedFileFault::NotTwoLines)?;
    let line: SignatureLine = parse_canonical(line.as_bytes()).map_err(|_| SignedFileFault::NotTwoLines)?;
    if line.key != key_id(public) {
        return Err(SignedFileFault::OtherKey(line.key));
    }
    match verify(public, purpose, text.as_bytes(), &line.signature.0) {
        Ok(()) => Ok(text),
        Err(PlatformKeyFault::NoKey | PlatformKeyFault::NotAKey | PlatformKeyFault::NotSigned) => {
            Err(SignedFileFault::NotSigned)
        }
    }
}
