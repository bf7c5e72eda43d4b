//! Cobblestone-256: the C2SP format `chunked-encryption` with AES-256-GCM and HKDF-SHA512.
//!
//! A message is a 56-byte prefix (salt and key commitment) and a body of chunks of 16 KiB, the last one always
//! shorter. Each chunk stands for itself, so a body is read at any place and checked by many threads; the short
//! last chunk and the numbers in the nonces give away every cut, exchange and extension. The commitment is what
//! plain AES-GCM lacks: a body opens under one key only, and it is checked before anything is decrypted.
//!
//! Source: <https://c2sp.org/chunked-encryption>; `docs/formats/sealed-bid.md` says how sealed bids use it.

use std::{borrow::Cow, fmt};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time::verify_slices_are_equal,
    rand::fill,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

use crate::key::{KEY_BYTES, expand};

/// Clear bytes of a full chunk.
pub const CHUNK_BYTES: usize = 16_384;
/// Bytes of a chunk's authentication tag.
pub const TAG_BYTES: usize = 16;
/// Sealed bytes of a full chunk.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Bytes of the salt that begins a prefix.
pub const SALT_BYTES: usize = 24;
/// Bytes of a prefix: salt and commitment.
pub const PREFIX_BYTES: usize = SALT_BYTES + COMMITMENT_BYTES;
/// Chunks of a message: 2^38 by the format.
pub const CHUNKS_MAX: u64 = 1 << 38;

const COMMITMENT_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// Sealed bytes of a body that holds this many clear bytes; `None` above the format's limit.
pub fn body_bytes(clear_bytes: u64) -> Option<u64> {
    let chunks = clear_bytes / CHUNK_BYTES as u64 + 1;
    (chunks <= CHUNKS_MAX).then(|| clear_bytes + chunks * TAG_BYTES as u64)
}

/// Clear bytes of a body of this many sealed bytes; `None` if no body has that length, as when it was cut between
/// two chunks.
pub fn clear_bytes(body_bytes: u64) -> Option<u64> {
    let full = body_bytes / SEALED_CHUNK_BYTES as u64;
    let last = body_bytes % SEALED_CHUNK_BYTES as u64;
    (last >= TAG_BYTES as u64 && full < CHUNKS_MAX)
        .then(|| full * CHUNK_BYTES as u64 + last - TAG_BYTES as u64)
}

/// The prefix of a message: 24 bytes of salt, 32 bytes of commitment. In JSON 112 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Prefix(pub [u8; PREFIX_BYTES]);

impl Prefix {
    /// The salt.
    pub fn salt(&self) -> &[u8; SALT_BYTES] {
        self.0.first_chunk().expect("a prefix begins with its salt")
    }

    /// The commitment to the key.
    pub fn commitment(&self) -> &[u8; COMMITMENT_BYTES] {
        self.0.last_chunk().expect("a prefix ends with its commitment")
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        let mut bytes = [0; PREFIX_BYTES];
        hex::decode_to_slice(text.as_bytes(), &mut bytes)
            .map_err(|_| de::Error::custom("a prefix is 112 hexadecimal digits"))?;
        Ok(Self(bytes))
    }
}

/// The key does not fit the commitment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is not the one this was sealed with")]
pub struct NotTheKey;

/// The chunk was not sealed by this cipher at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chunk does not open")]
pub struct ChunkDamaged;

/// Seals and opens the chunks of one message.
pub struct ChunkCipher {
    key: LessSafeKey,
    base_nonce: [u8; NONCE_BYTES],
}

impl ChunkCipher {
    /// Begins a new message under `key`. Draws the salt.
    pub fn begin(key: &[u8; KEY_BYTES], context: &[u8]) -> (Self, Prefix) {
        let mut salt = [0; SALT_BYTES];
        fill(&mut salt).expect("the system gives random bytes");
        Self::begin_with(key, context, &salt)
    }

    /// Begins a message with a salt at hand. Two messages under one key and salt would give the key away: only
    /// for sealing the very same bytes again, and for test vectors.
    pub fn begin_with(key: &[u8; KEY_BYTES], context: &[u8], salt: &[u8; SALT_BYTES]) -> (Self, Prefix) {
        let (cipher, commitment) = derive(key, context, salt);
        let mut prefix = [0; PREFIX_BYTES];
        prefix[..SALT_BYTES].copy_from_slice(salt);
        prefix[SALT_BYTES..].copy_from_slice(&commitment);
        (cipher, Prefix(prefix))
    }

    /// The cipher of a message that begins with `prefix`. Compares the commitment in constant time.
    ///
    /// # Errors
    /// The key has another length, or it is not the one committed to, or the context is another.
    pub fn resume(key: &[u8], context: &[u8], prefix: &Prefix) -> Result<Self, NotTheKey> {
        let key = key.try_into().map_err(|_| NotTheKey)?;
        let (cipher, commitment) = derive(key, context, prefix.salt());
        verify_slices_are_equal(&commitment, prefix.commitment()).map_err(|_| NotTheKey)?;
        Ok(cipher)
    }

    /// Seals in place: `chunk` holds the clear bytes and room for the tag behind them.
    pub fn seal_chunk(&self, number: u64, chunk: &mut [u8]) {
        let (clear, room) = chunk.split_last_chunk_mut::<TAG_BYTES>().expect("a chunk has room for its tag");
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::empty(), clear)
            .expect("AES-GCM seals 16 KiB");
        room.copy_from_slice(tag.as_ref());
    }

    /// Opens in place and gives the clear bytes. On a fault the buffer holds nothing worth reading.
    pub fn open_chunk<'a>(&self, number: u64, chunk: &'a mut [u8]) -> Result<&'a mut [u8], ChunkDamaged> {
        self.key.open_in_place(self.nonce(number), Aad::empty(), chunk).map_err(|_| ChunkDamaged)
    }

    fn nonce(&self, number: u64) -> Nonce {
        debug_assert!(number < CHUNKS_MAX, "lengths were checked against the format's limit");
        let mut nonce = self.base_nonce;
        for (place, digit) in nonce[NONCE_BYTES - 8..].iter_mut().zip(number.to_be_bytes()) {
            *place ^= digit;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

fn derive(
    key: &[u8; KEY_BYTES],
    context: &[u8],
    salt: &[u8; SALT_BYTES],
) -> (ChunkCipher, [u8; COMMITMENT_BYTES]) {
    let mut derived = Zeroizing::new([0; KEY_BYTES + NONCE_BYTES + COMMITMENT_BYTES]);
    expand(key, &[LABEL, salt, context], derived.as_mut_slice());
    let (aead_key, rest) = derived.split_at(KEY_BYTES);
    let (nonce, commitment) = rest.split_at(NONCE_BYTES);
    let key = UnboundKey::new(&AES_256_GCM, aead_key).expect("AES-256 takes 32 bytes");
    let cipher = ChunkCipher {
        key: LessSafeKey::new(key),
        base_nonce: nonce.try_into().expect("12 bytes were derived for the nonce"),
    };
    (cipher, commitment.try_into().expect("32 bytes were derived for the commitment"))
}

const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clear_length_has_one_body_length() {
        let chunk = CHUNK_BYTES as u64;
        for (clear, body) in [(0, 16), (1, 17), (chunk - 1, 16_399), (chunk, 16_416), (chunk + 1, 16_417)] {
            assert_eq!(body_bytes(clear), Some(body));
            assert_eq!(clear_bytes(body), Some(clear));
        }
        for none in [0, 15, 16_400, 16_401, 16_415, 2 * 16_400] {
            assert_eq!(clear_bytes(none), None, "{none}");
        }
        let most = (CHUNKS_MAX - 1) * chunk + chunk - 1;
        assert_eq!(clear_bytes(body_bytes(most).unwrap()), Some(most));
        assert_eq!(body_bytes(most + 1), None);
        assert_eq!(clear_bytes(u64::MAX), None);
    }
}
