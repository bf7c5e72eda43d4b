//! The platform's own signing keys (Ed25519): one for receipts and records, one for opening orders.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use kaibiao_protocol::digest::Digest;
use zeroize::Zeroizing;

use crate::{digest::sha256, purpose::Purpose};

/// Bytes of an Ed25519 public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why there is no platform key, or no signature of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlatformKeyFault {
    /// The library could not make a key.
    #[error("no platform key could be made")]
    NoKey,
    /// The bytes are no Ed25519 private key.
    #[error("not an Ed25519 private key in PKCS#8")]
    NotAKey,
    /// The public key did not sign this text for this purpose.
    #[error("the platform did not sign this")]
    NotSigned,
}

/// A signing key of the platform. It lies in `DIR/keys` with mode 0600; whoever reads it can sign receipts,
/// records or orders in the platform's name, and cannot open a bid.
pub struct PlatformKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
    public: [u8; PUBLIC_KEY_BYTES],
}

impl PlatformKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`PlatformKeyFault::NoKey`].
    pub fn generate() -> Result<Self, PlatformKeyFault> {
        let pair = Ed25519KeyPair::generate().map_err(|_| PlatformKeyFault::NoKey)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| PlatformKeyFault::NoKey)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// The key whose PKCS#8 form (DER) is given.
    ///
    /// # Errors
    /// [`PlatformKeyFault::NotAKey`].
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, PlatformKeyFault> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| PlatformKeyFault::NotAKey)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| PlatformKeyFault::NotAKey)?;
        Ok(Self { pair, pkcs8: Zeroizing::new(pkcs8.to_vec()), public })
    }

    /// The private key as PKCS#8 (DER), to be kept in a file.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key.
    pub fn public(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.public
    }

    /// The key's id: SHA-256 of the public key.
    pub fn id(&self) -> Digest {
        key_id(&self.public)
    }

    /// Signs `text` for `purpose`. The same text gives the same signature.
    pub fn sign(&self, purpose: Purpose, text: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let signature = self.pair.sign(&purpose.message(text));
        signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes")
    }
}

/// The id of a public key: its SHA-256.
pub fn key_id(public: &[u8]) -> Digest {
    sha256(public)
}

/// Checks that the key `public` signed `text` for `purpose`.
///
/// # Errors
/// [`PlatformKeyFault::NotSigned`].
pub fn verify(
    public: &[u8; PUBLIC_KEY_BYTES],
    purpose: Purpose,
    text: &[u8],
    signature: &[u8],
) -> Result<(), PlatformKeyFault> {
    UnparsedPublicKey::new(&ED25519, public)
        .verify(&purpose.message(text), signature)
        .map_err(|_| PlatformKeyFault::NotSigned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_one_text_for_one_purpose() {
        let key = PlatformKey::generate().unwrap();
        let signature = key.sign(Purpose::Receipt, b"text");
        assert_eq!(signature, key.sign(Purpose::Receipt, b"text"), "signing is deterministic");
        assert_eq!(verify(key.public(), Purpose::Receipt, b"text", &signature), Ok(()));
        let refused = Err(PlatformKeyFault::NotSigned);
        assert_eq!(verify(key.public(), Purpose::Receipt, b"texts", &signature), refused);
        assert_eq!(verify(key.public(), Purpose::OpeningRecord, b"text", &signature), refused);
        assert_eq!(verify(key.public(), Purpose::Receipt, b"text", &signature[..63]), refused);
        let other = PlatformKey::generate().unwrap();
        assert_eq!(verify(other.public(), Purpose::Receipt, b"text", &signature), refused);
    }

    #[test]
    fn a_key_is_the_same_after_it_was_kept() {
        let key = PlatformKey::generate().unwrap();
        let again = PlatformKey::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(key.public(), again.public());
        assert_eq!(key.id(), again.id());
        assert_eq!(key.sign(Purpose::OpeningOrder, b"a"), again.sign(Purpose::OpeningOrder, b"a"));
        assert!(PlatformKey::from_pkcs8(&key.pkcs8()[1..]).is_err());
    }
}
