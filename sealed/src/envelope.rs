//! Envelopes: the keys of a bid's parts, sealed to the one-time key of an opening order.
//!
//! HPKE with `info` = the purpose of the envelope and the order's digest, `aad` = the bid's statement and the
//! parts' names. So an envelope opens under its own order, for its own bid and its own parts, or not at all.

use kaibiao_protocol::{bid::PartName, digest::Digest};
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256,
    hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey},
};
use zeroize::Zeroizing;

use crate::{
    digest::sha256,
    key::{KEY_BYTES, PartKey},
};

/// Bytes of an encapsulated key.
pub const ENC_BYTES: usize = 32;
/// Bytes that the ciphertext has more than the keys.
pub const ENVELOPE_TAG_BYTES: usize = 16;

/// A bid's part keys on their way to the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// The encapsulated key: 32 bytes.
    pub enc: Vec<u8>,
    /// The sealed keys: 32 bytes a part and a tag of 16.
    pub ciphertext: Vec<u8>,
}

/// Why an envelope does not open. One answer for every way of tampering, so that it tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeFault {
    /// Not an envelope for so many parts.
    #[error("not an envelope for these parts")]
    Malformed,
    /// Sealed to another key, order, bid or to other parts; or tampered with.
    #[error("the envelope does not open under this order for this bid")]
    DoesNotOpen,
    /// The public key in the order is none, or the library refused.
    #[error("the envelope could not be sealed")]
    NotSealed,
}

/// The one-time private key behind an opening order. It lives in memory alone: it has no export, no `Debug`
/// and no `Clone`, and after a restart a new order with a new key is issued.
pub struct OneTimeKey {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl OneTimeKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// [`EnvelopeFault::NotSealed`] if the library could not make one.
    pub fn generate() -> Result<Self, EnvelopeFault> {
        let (public, private) = suite().generate_key_pair().map_err(|_| EnvelopeFault::NotSealed)?;
        Ok(Self { private, public: public.0 })
    }

    /// The public key that goes into the order: 32 bytes.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The keys of `parts`, in their order, from an envelope sealed under the order `order_text` for the bid
    /// with the statement digest `statement`. Whether they fit their commitments is the next question.
    ///
    /// # Errors
    /// See [`EnvelopeFault`].
    pub fn open(
        &self,
        order_text: &str,
        envelope: &Envelope,
        statement: &Digest,
        parts: &[PartName],
    ) -> Result<Vec<PartKey>, EnvelopeFault> {
        let wanted = parts.len() * KEY_BYTES + ENVELOPE_TAG_BYTES;
        if envelope.enc.len() != ENC_BYTES || envelope.ciphertext.len() != wanted || parts.is_empty() {
            return Err(EnvelopeFault::Malformed);
        }
        let clear = suite()
            .open(
                &EncapsulatedSecret(envelope.enc.clone()),
                &info(order_text),
                &aad(statement, parts),
                &envelope.ciphertext,
                &self.private,
            )
            .map(Zeroizing::new)
            .map_err(|_| EnvelopeFault::DoesNotOpen)?;
        let keys: Option<Vec<PartKey>> = clear.chunks(KEY_BYTES).map(PartKey::from_bytes).collect();
        keys.filter(|keys| keys.len() == parts.len()).ok_or(EnvelopeFault::Malformed)
    }
}

/// Seals the keys of `parts` (in the same order) to the one-time key of the order `order_text`, for the bid
/// with the statement digest `statement`. Draws random bytes.
///
/// # Errors
/// [`EnvelopeFault::Malformed`] if keys and parts differ in number or there are none,
/// [`EnvelopeFault::NotSealed`] if `hpke_public_key` is no X25519 key.
pub fn seal_envelope(
    order_text: &str,
    hpke_public_key: &[u8],
    statement: &Digest,
    parts: &[PartName],
    keys: &[PartKey],
) -> Result<Envelope, EnvelopeFault> {
    if parts.len() != keys.len() || parts.is_empty() {
        return Err(EnvelopeFault::Malformed);
    }
    // Allocated once: a vector that grew would leave keys behind.
    let mut clear = Zeroizing::new(Vec::with_capacity(keys.len() * KEY_BYTES));
    for key in keys {
        clear.extend_from_slice(key.expose());
    }
    let (enc, ciphertext) = suite()
        .seal(&info(order_text), &aad(statement, parts), &clear, &HpkePublicKey(hpke_public_key.to_vec()))
        .map_err(|_| EnvelopeFault::NotSealed)?;
    Ok(Envelope { enc: enc.0, ciphertext })
}

fn suite() -> &'static dyn Hpke {
    DH_KEM_X25519_HKDF_SHA256_AES_256
}

fn info(order_text: &str) -> Vec<u8> {
    [b"kaibiao key-envelope 1\n".as_slice(), sha256(order_text.as_bytes()).as_bytes()].concat()
}

/// Names of parts hold no comma, so a list of them has one reading.
fn aad(statement: &Digest, parts: &[PartName]) -> Vec<u8> {
    let names: Vec<String> = parts.iter().map(PartName::to_string).collect();
    [statement.as_bytes().as_slice(), names.join(",").as_bytes()].concat()
}
