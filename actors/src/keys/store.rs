//! The store key: what a supplier released lies on the disk only wrapped under it.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    rand,
};
use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::digest::sha256_of;
use zeroize::Zeroizing;

/// Bytes of a store key.
pub const STORE_KEY_BYTES: usize = 32;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// The form of what is wrapped: this byte, eight bytes of the key's id, nonce, ciphertext and tag.
const FORM: u8 = 1;
const ID_PREFIX_BYTES: usize = 8;
const FRONT_BYTES: usize = 1 + ID_PREFIX_BYTES + NONCE_BYTES;

/// An AES-256-GCM key with a random nonce a message.
pub struct StoreKey {
    key: RandomizedNonceKey,
    id: Digest,
}

/// What was given was not wrapped by this key under this name, or it was changed. Says no more than that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnwrapFault;

impl fmt::Display for UnwrapFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not wrapped by this store key under this name")
    }
}

impl std::error::Error for UnwrapFault {}

impl StoreKey {
    /// Draws the bytes of a new key.
    pub(super) fn draw() -> Zeroizing<[u8; STORE_KEY_BYTES]> {
        let mut secret = Zeroizing::new([0; STORE_KEY_BYTES]);
        rand::fill(secret.as_mut_slice()).expect("the system gives random bytes");
        secret
    }

    /// The key of these bytes.
    pub(super) fn from_bytes(secret: &[u8; STORE_KEY_BYTES]) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, secret).expect("32 bytes are an AES-256 key");
        Self { key, id: sha256_of(&[b"kaibiao store key 1\n", secret]) }
    }

    /// The key's id: SHA-256 over `kaibiao store key 1\n` and the key. It tells nothing of 32 random bytes.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// Wraps `secret` under a purpose (such as `part key`) and a name (such as bid and part). It unwraps
    /// under the same two only.
    pub fn wrap(&self, purpose: &str, name: &str, secret: &[u8]) -> Vec<u8> {
        // Room for the tag beforehand: growing would leave the secret behind in the old place.
        let mut sealed = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_BYTES));
        sealed.extend_from_slice(secret);
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(binding(purpose, name)), &mut *sealed)
            .expect("AES-GCM seals what fits into memory");
        let mut wrapped = Vec::with_capacity(FRONT_BYTES + sealed.len());
        wrapped.push(FORM);
        wrapped.extend_from_slice(&self.id.0[..ID_PREFIX_BYTES]);
        wrapped.extend_from_slice(nonce.as_ref());
        wrapped.extend_from_slice(&sealed);
        wrapped
    }

    /// Unwraps what [`StoreKey::wrap`] made under the same purpose and name.
    ///
    /// # Errors
    /// [`UnwrapFault`].
    pub fn unwrap(
        &self,
        purpose: &str,
        name: &str,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapFault> {
        let (front, sealed) = wrapped.split_at_checked(FRONT_BYTES).ok_or(UnwrapFault)?;
        let (form, front) = front.split_first().ok_or(UnwrapFault)?;
        let (id, nonce) = front.split_at(ID_PREFIX_BYTES);
        if *form != FORM || id != &self.id.0[..ID_PREFIX_BYTES] {
            return Err(UnwrapFault);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| UnwrapFault)?;
        let mut clear = Zeroizing::new(sealed.to_vec());
        let bytes = self
            .key
            .open_in_place(nonce, Aad::from(binding(purpose, name)), &mut clear)
            .map_err(|_| UnwrapFault)?
            .len();
        clear.truncate(bytes);
        Ok(clear)
    }
}

/// Purpose and name as associated data: each with its length, so that no two pairs have one form.
fn binding(purpose: &str, name: &str) -> Vec<u8> {
    let mut binding = b"kaibiao store 1\n".to_vec();
    for text in [purpose, name] {
        binding.extend_from_slice(&(text.len() as u64).to_be_bytes());
        binding.extend_from_slice(text.as_bytes());
    }
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_unwraps_under_its_own_purpose_and_name_only() {
        let key = StoreKey::from_bytes(&StoreKey::draw());
        let wrapped = key.wrap("part key", "bid/common", b"secret");
        assert_eq!(key.unwrap("part key", "bid/common", &wrapped).unwrap().as_slice(), b"secret");
        assert_eq!(key.unwrap("part key", "bid/lot-001", &wrapped).unwrap_err(), UnwrapFault);
        assert_eq!(key.unwrap("part keyb", "id/common", &wrapped).unwrap_err(), UnwrapFault);
        let other = StoreKey::from_bytes(&StoreKey::draw());
        assert_eq!(other.unwrap("part key", "bid/common", &wrapped).unwrap_err(), UnwrapFault);
        for byte in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[byte] ^= 1;
            assert!(key.unwrap("part key", "bid/common", &changed).is_err(), "byte {byte}");
            assert!(key.unwrap("part key", "bid/common", &wrapped[..byte]).is_err(), "cut at {byte}");
        }
    }

    #[test]
    fn the_same_secret_is_never_wrapped_alike() {
        let key = StoreKey::from_bytes(&StoreKey::draw());
        assert_ne!(key.wrap("part key", "bid", b"secret"), key.wrap("part key", "bid", b"secret"));
    }
}
