//! What both kinds of token share about wrapped keys: the canary, and the answers that tell an attacker nothing.

use aws_lc_rs::{constant_time, rand};
use kaibiao_sealed::wrap::{WrapAlgorithm, wrap_to};
use zeroize::Zeroizing;

use super::{TokenCertificate, TokenFault, TokenName};

/// The length of every key that is wrapped: a bid key, an AES-256 key.
pub const WRAPPED_KEY_BYTES: usize = 32;

/// A key that was unwrapped in a token: [`WRAPPED_KEY_BYTES`] bytes, wiped when dropped.
pub type UnwrappedKey = Zeroizing<[u8; WRAPPED_KEY_BYTES]>;

/// Ways of wrapping, the most preferred first.
const PREFERRED: [WrapAlgorithm; 3] =
    [WrapAlgorithm::RsaOaepSha256, WrapAlgorithm::RsaOaepSha1, WrapAlgorithm::RsaPkcs1V15];

/// Whether a key wrapped here and now comes out of the token again. `unwrap` gives `None` where the token
/// refuses; a fault, where it cannot be asked.
///
/// Only what was drawn on this line is unwrapped: a platform that wants a real key opened cannot pass it off as
/// a canary (threat 24).
pub(super) fn canary_comes_back(
    certificate: &TokenCertificate,
    algorithm: WrapAlgorithm,
    unwrap: impl FnOnce(Vec<u8>) -> Result<Option<Zeroizing<Vec<u8>>>, TokenFault>,
) -> Result<bool, TokenFault> {
    let canary = random_key();
    let Ok(wrapped) = wrap_to(&certificate.der, algorithm, &canary[..]) else {
        return Ok(false);
    };
    let found = unwrap(wrapped)?;
    Ok(found.is_some_and(|key| constant_time::verify_slices_are_equal(&key, &canary[..]).is_ok()))
}

/// The first way of wrapping, in order of preference, that `works`.
pub(super) fn negotiate(
    token: &TokenName,
    mut works: impl FnMut(WrapAlgorithm) -> Result<bool, TokenFault>,
) -> Result<WrapAlgorithm, TokenFault> {
    for algorithm in PREFERRED {
        if works(algorithm)? {
            return Ok(algorithm);
        }
    }
    Err(TokenFault::MechanismNotOffered {
        token: token.clone(),
        wanted: "CKM_RSA_PKCS_OAEP or CKM_RSA_PKCS for unwrapping",
    })
}

/// The key that was unwrapped, if it has a key's length.
pub(super) fn exactly_a_key(unwrapped: &[u8]) -> Option<UnwrappedKey> {
    <[u8; WRAPPED_KEY_BYTES]>::try_from(unwrapped).ok().map(Zeroizing::new)
}

/// Implicit rejection for PKCS#1 v1.5: whatever is wrong with the padding or the length, a random key comes out
/// and takes as long, so that the answer tells nothing of the padding (Bleichenbacher 1998).
pub(super) fn key_or_random(unwrapped: Option<Zeroizing<Vec<u8>>>) -> UnwrappedKey {
    let mut key = random_key();
    let found = unwrapped.unwrap_or_default();
    let mut padded = Zeroizing::new([0; WRAPPED_KEY_BYTES]);
    let taken = found.len().min(WRAPPED_KEY_BYTES);
    padded[..taken].copy_from_slice(&found[..taken]);
    // All ones if the length is right, all zeros if not, without a branch on which it is.
    let mask = 0_u8.wrapping_sub(u8::from(found.len() == WRAPPED_KEY_BYTES));
    for (key, found) in key.iter_mut().zip(padded.iter()) {
        *key = (*found & mask) | (*key & !mask);
    }
    key
}

fn random_key() -> UnwrappedKey {
    let mut key = Zeroizing::new([0; WRAPPED_KEY_BYTES]);
    rand::fill(&mut key[..]).expect("the system's random numbers cannot fail once seeded");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_pkcs1_padding_gives_a_random_key_and_a_good_one_the_key() {
        let good = Zeroizing::new(vec![7; WRAPPED_KEY_BYTES]);
        assert_eq!(*key_or_random(Some(good)), [7; WRAPPED_KEY_BYTES]);
        for bad in [None, Some(Zeroizing::new(vec![7; 31])), Some(Zeroizing::new(vec![7; 33]))] {
            let (one, two) = (key_or_random(bad.clone()), key_or_random(bad));
            assert_ne!(*one, *two);
            assert_ne!(one[..31], [7; 31]);
        }
    }

    #[test]
    fn the_first_way_that_works_is_taken_and_none_is_told() {
        let token = TokenName { vendor: "huixin".into(), label: "a".into(), serial: "1".into() };
        assert_eq!(negotiate(&token, |_| Ok(true)), Ok(WrapAlgorithm::RsaOaepSha256));
        let last = |algorithm| Ok(algorithm == WrapAlgorithm::RsaPkcs1V15);
        assert_eq!(negotiate(&token, last), Ok(WrapAlgorithm::RsaPkcs1V15));
        assert_eq!(negotiate(&token, |_| Ok(false)).unwrap_err().code(), "token_mechanism_not_offered");
    }
}
