//! Wrapping a bid key to the supplier's own encryption certificate.
//!
//! The hash of OAEP is negotiated with the token, because some tokens know only SHA-1 and a few only
//! PKCS#1 v1.5. Unwrapping is the token's business; this crate never does a private RSA operation.

use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, Pkcs1PublicEncryptingKey,
    PublicEncryptingKey,
};
use der::{Decode, Encode};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate;

/// How a bid key is wrapped. The OAEP label is always empty, MGF1 uses the same hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum WrapAlgorithm {
    /// RSAES-OAEP with SHA-256: the first choice.
    #[serde(rename = "RSA-OAEP-SHA256")]
    RsaOaepSha256,
    /// RSAES-OAEP with SHA-1: for tokens that know no other.
    #[serde(rename = "RSA-OAEP-SHA1")]
    RsaOaepSha1,
    /// RSAES-PKCS1-v1_5: the last resort; unwrapped in the token at the supplier, so nobody can use it as an oracle.
    #[serde(rename = "RSA-PKCS1v15")]
    RsaPkcs1V15,
}

/// Why a key could not be wrapped to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapFault {
    /// The bytes are no X.509 certificate.
    #[error("not a certificate")]
    NotACertificate,
    /// The certificate's key is not RSA of 2048 to 8192 bits.
    #[error("the certificate's key cannot wrap: only RSA of 2048 to 8192 bits can")]
    NotRsa,
    /// The key refuses what is to be wrapped.
    #[error("the key does not wrap")]
    Refused,
}

/// Wraps `key` (32 bytes of a bid key, or a canary) to the RSA key of `certificate` (DER).
/// Draws random bytes for the padding.
///
/// # Errors
/// See [`WrapFault`].
pub fn wrap_to(certificate: &[u8], algorithm: WrapAlgorithm, key: &[u8]) -> Result<Vec<u8>, WrapFault> {
    let certificate = Certificate::from_der(certificate).map_err(|_| WrapFault::NotACertificate)?;
    let spki = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .map_err(|_| WrapFault::NotACertificate)?;
    let public = PublicEncryptingKey::from_der(&spki).map_err(|_| WrapFault::NotRsa)?;
    let mut wrapped = vec![0; public.key_size_bytes()];
    let length = match algorithm {
        WrapAlgorithm::RsaOaepSha256 => OaepPublicEncryptingKey::new(public).and_then(|rsa| {
            rsa.encrypt(&OAEP_SHA256_MGF1SHA256, key, &mut wrapped, None).map(|out| out.len())
        }),
        WrapAlgorithm::RsaOaepSha1 => OaepPublicEncryptingKey::new(public)
            .and_then(|rsa| rsa.encrypt(&OAEP_SHA1_MGF1SHA1, key, &mut wrapped, None).map(|out| out.len())),
        WrapAlgorithm::RsaPkcs1V15 => Pkcs1PublicEncryptingKey::new(public)
            .and_then(|rsa| rsa.encrypt(key, &mut wrapped).map(|out| out.len())),
    }
    .map_err(|_| WrapFault::Refused)?;
    wrapped.truncate(length);
    Ok(wrapped)
}
