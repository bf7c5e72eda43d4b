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

#[cfg(test)]
mod tests {
    use kaibiao_protocol::ids::LotNo;

    use super::*;

    const ORDER: &str = "the order's exact text";

    fn lot(no: u16) -> PartName {
        PartName::Lot(LotNo::new(no).unwrap())
    }

    fn keys(count: u8) -> Vec<PartKey> {
        (1..=count).map(|no| PartKey::from_bytes(&[no; 32]).unwrap()).collect()
    }

    #[test]
    fn keys_come_out_of_the_envelope_in_the_order_of_their_parts() {
        let one_time = OneTimeKey::generate().unwrap();
        let (statement, parts) = (Digest([9; 32]), [PartName::Common, lot(1), lot(3)]);
        let envelope = seal_envelope(ORDER, one_time.public(), &statement, &parts, &keys(3)).unwrap();
        assert_eq!(envelope.ciphertext.len(), 3 * 32 + 16);
        let opened = one_time.open(ORDER, &envelope, &statement, &parts).unwrap();
        let found: Vec<_> = opened.iter().map(|key| *key.expose()).collect();
        assert_eq!(found, [[1; 32], [2; 32], [3; 32]]);
    }

    #[test]
    fn an_envelope_opens_under_its_order_for_its_bid_and_parts_alone() {
        let (one_time, other) = (OneTimeKey::generate().unwrap(), OneTimeKey::generate().unwrap());
        let (statement, parts) = (Digest([9; 32]), [PartName::Common, lot(1)]);
        let envelope = seal_envelope(ORDER, one_time.public(), &statement, &parts, &keys(2)).unwrap();
        let open = |key: &OneTimeKey, order: &str, envelope: &Envelope, statement, parts: &[PartName]| {
            key.open(order, envelope, &Digest([statement; 32]), parts).map(|keys| keys.len())
        };
        assert_eq!(open(&one_time, ORDER, &envelope, 9, &parts), Ok(2));
        let refused = Err(EnvelopeFault::DoesNotOpen);
        assert_eq!(open(&other, ORDER, &envelope, 9, &parts), refused, "another key");
        assert_eq!(open(&one_time, "another order", &envelope, 9, &parts), refused, "another order");
        assert_eq!(open(&one_time, ORDER, &envelope, 8, &parts), refused, "another bid");
        assert_eq!(
            open(&one_time, ORDER, &envelope, 9, &[PartName::Common, lot(2)]),
            refused,
            "another part"
        );
        assert_eq!(
            open(&one_time, ORDER, &envelope, 9, &[lot(1), PartName::Common]),
            refused,
            "another order"
        );
        let malformed = Err(EnvelopeFault::Malformed);
        assert_eq!(open(&one_time, ORDER, &envelope, 9, &[PartName::Common]), malformed, "fewer parts");
        assert_eq!(open(&one_time, ORDER, &envelope, 9, &[]), malformed);
        for at in 0..envelope.ciphertext.len() {
            let mut bad = envelope.clone();
            bad.ciphertext[at] ^= 1;
            assert_eq!(open(&one_time, ORDER, &bad, 9, &parts), refused);
        }
        for at in 0..ENC_BYTES {
            let mut bad = envelope.clone();
            // The highest bit of the last byte is not part of an X25519 key, but it is of the HPKE context.
            bad.enc[at] ^= 0x80;
            assert_eq!(open(&one_time, ORDER, &bad, 9, &parts), refused);
        }
        let mut zero = envelope.clone();
        zero.enc = vec![0; ENC_BYTES];
        assert_eq!(open(&one_time, ORDER, &zero, 9, &parts), refused);
    }

    #[test]
    fn an_envelope_that_says_too_little_is_not_sealed() {
        let one_time = OneTimeKey::generate().unwrap();
        let statement = Digest([9; 32]);
        let seal = |public: &[u8], parts: &[PartName], count| {
            seal_envelope(ORDER, public, &statement, parts, &keys(count)).map(drop)
        };
        let parts = [PartName::Common, lot(1)];
        assert_eq!(seal(one_time.public(), &parts, 1), Err(EnvelopeFault::Malformed));
        assert_eq!(seal(one_time.public(), &[], 0), Err(EnvelopeFault::Malformed));
        assert_eq!(seal(&[1; 31], &parts, 2), Err(EnvelopeFault::NotSealed));
        assert_eq!(seal(&[0; 32], &parts, 2), Err(EnvelopeFault::NotSealed));
    }
}
