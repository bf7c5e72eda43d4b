//! SHA-256 over bytes at hand and over streams.

use aws_lc_rs::digest::{Context, SHA256, digest};
use kaibiao_protocol::digest::Digest;

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    to_digest(&digest(&SHA256, bytes))
}

/// SHA-256 of several pieces as if they stood in one row.
pub fn sha256_of(pieces: &[&[u8]]) -> Digest {
    let mut running = Sha256::new();
    for piece in pieces {
        running.update(piece);
    }
    running.finish()
}

/// A SHA-256 in the making.
#[derive(Clone)]
pub struct Sha256(Context);

impl Sha256 {
    /// The digest of nothing yet.
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes taken in.
    pub fn finish(self) -> Digest {
        to_digest(&self.0.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

fn to_digest(value: &aws_lc_rs::digest::Digest) -> Digest {
    Digest(value.as_ref().try_into().expect("SHA-256 gives 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_a_row_have_the_digest_of_the_row() {
        assert_eq!(sha256_of(&[b"ab", b"", b"c"]), sha256(b"abc"));
        assert_eq!(
            sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
