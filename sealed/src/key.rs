//! Bid keys and the keys of parts.
//!
//! One bid key is drawn for each sealing and wrapped to the supplier's certificate. Each part has a key of its own
//! derived from it, so a supplier can release the parts being opened and keep the others closed: from a part's
//! key neither the bid key nor another part's key follows.

use aws_lc_rs::{
    hkdf::{HKDF_SHA512, KeyType, Prk},
    rand::fill,
};
use kaibiao_protocol::{bid::PartName, digest::Digest};
use zeroize::Zeroize;

/// Bytes of a bid key and of a part's key.
pub const KEY_BYTES: usize = 32;

/// The key of one sealed bid: whoever holds it can open every part.
pub struct BidKey(Box<[u8; KEY_BYTES]>);

impl BidKey {
    /// Draws a new key.
    pub fn draw() -> Self {
        let mut bytes = Box::new([0; KEY_BYTES]);
        // A machine without randomness must not seal.
        fill(bytes.as_mut_slice()).expect("the system gives random bytes");
        Self(bytes)
    }

    /// The key that is these bytes; `None` unless there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        boxed(bytes).map(Self)
    }

    /// The key's bytes, for wrapping it.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key of one part of the bid with this binding (by the binding's digest).
    pub fn part_key(&self, binding: &Digest, part: PartName) -> PartKey {
        let mut bytes = Box::new([0; KEY_BYTES]);
        let name = part.to_string();
        expand(self.expose(), &[PART_KEY_LABEL, binding.as_bytes(), name.as_bytes()], bytes.as_mut_slice());
        PartKey(bytes)
    }
}

impl Drop for BidKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The key of one part: what a supplier releases at the opening.
pub struct PartKey(Box<[u8; KEY_BYTES]>);

impl PartKey {
    /// The key that is these bytes; `None` unless there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        boxed(bytes).map(Self)
    }

    /// The key's bytes, for sealing them into an envelope.
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl Drop for PartKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What begins the `info` of a part's key; the zero byte ends the label.
const PART_KEY_LABEL: &[u8] = b"kaibiao part key 1\0";

/// HKDF-Expand with SHA-512 from `key`, which is uniformly random, into `out`.
pub(crate) fn expand(key: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let prk = Prk::new_less_safe(HKDF_SHA512, key);
    prk.expand(info, Length(out.len()))
        .and_then(|expanded| expanded.fill(out))
        .expect("HKDF-SHA512 gives up to 16320 bytes");
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Kept in one place on the heap, so that moving a key leaves no copies behind.
fn boxed(bytes: &[u8]) -> Option<Box<[u8; KEY_BYTES]>> {
    if bytes.len() != KEY_BYTES {
        return None;
    }
    let mut out = Box::new([0; KEY_BYTES]);
    out.copy_from_slice(bytes);
    Some(out)
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::ids::LotNo;

    use super::*;

    #[test]
    fn each_part_of_each_bid_has_a_key_of_its_own() {
        let key = BidKey::from_bytes(&[7; 32]).unwrap();
        let lot = PartName::Lot(LotNo::new(1).unwrap());
        let one = key.part_key(&Digest([1; 32]), lot);
        assert_eq!(one.expose(), key.part_key(&Digest([1; 32]), lot).expose());
        assert_ne!(one.expose(), key.part_key(&Digest([2; 32]), lot).expose());
        assert_ne!(one.expose(), key.part_key(&Digest([1; 32]), PartName::Common).expose());
        assert_ne!(one.expose(), key.expose());
    }

    #[test]
    fn a_key_has_32_bytes() {
        assert!(BidKey::from_bytes(&[7; 31]).is_none());
        assert!(PartKey::from_bytes(&[7; 33]).is_none());
    }
}
