//! A certificate as a token holds it.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use der::{Decode as _, Encode as _, Sequence, asn1::Uint};
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::digest::sha256;
use x509_cert::{Certificate, ext::pkix::KeyUsage, spki::SubjectPublicKeyInfoOwned};

use super::Purpose;

/// A certificate read from a token, with what people and later calls need of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCertificate {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// SHA-256 of the DER.
    pub fingerprint: Digest,
    /// The label the token gives it.
    pub label: String,
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// Valid from.
    pub not_before: Moment,
    /// Valid until.
    pub not_after: Moment,
    /// The key may sign (no key usage extension, digitalSignature or nonRepudiation).
    pub for_signing: bool,
    /// The key may unwrap (no key usage extension, keyEncipherment or dataEncipherment).
    pub for_encryption: bool,
    /// The public key (DER SubjectPublicKeyInfo).
    pub public_key: Vec<u8>,
}

/// RFC 8017, A.1.1.
#[derive(Sequence)]
struct RsaPublicKey {
    modulus: Uint,
    exponent: Uint,
}

/// Why bytes are not a certificate.
#[derive(Debug, thiserror::Error)]
#[error("not an X.509 certificate: {0}")]
pub struct NotACertificate(#[from] der::Error);

impl TokenCertificate {
    /// Reads a certificate from DER.
    ///
    /// # Errors
    /// The bytes are not a certificate.
    pub fn from_der(bytes: &[u8], label: &str) -> Result<Self, NotACertificate> {
        let certificate = Certificate::from_der(bytes)?;
        let body = certificate.tbs_certificate();
        let usage = body.get_extension::<KeyUsage>()?.map(|(_, usage)| usage);
        let is_authority = usage.is_some_and(|usage| usage.key_cert_sign());
        let micros = |time: &x509_cert::time::Time| {
            Moment(i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX))
        };
        Ok(Self {
            fingerprint: sha256(bytes),
            label: label.to_owned(),
            subject: body.subject().to_string(),
            issuer: body.issuer().to_string(),
            serial: hex::encode(body.serial_number().as_bytes()),
            not_before: micros(&body.validity().not_before),
            not_after: micros(&body.validity().not_after),
            for_signing: !is_authority
                && usage.is_none_or(|usage| usage.digital_signature() || usage.non_repudiation()),
            for_encryption: !is_authority
                && usage.is_none_or(|usage| usage.key_encipherment() || usage.data_encipherment()),
            public_key: body.subject_public_key_info().to_der()?,
            der: bytes.to_vec(),
        })
    }

    /// Whether its key may be used for the purpose.
    pub fn serves(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Signing => self.for_signing,
            Purpose::Encryption => self.for_encryption,
        }
    }

    /// Whether `at` lies within its validity.
    pub fn is_valid_at(&self, at: Moment) -> bool {
        self.not_before <= at && at <= self.not_after
    }

    /// Whether it will have run out by then, so that its holder is warned in time (features A4).
    pub fn runs_out_before(&self, at: Moment) -> bool {
        self.not_after < at
    }

    /// The RSA modulus, without leading zeros; `None` for another kind of key.
    pub(super) fn modulus(&self) -> Option<Vec<u8>> {
        let key = SubjectPublicKeyInfoOwned::from_der(&self.public_key).ok()?;
        let key = RsaPublicKey::from_der(key.subject_public_key.as_bytes()?).ok()?;
        // An exponent of another kind than the usual would still be the same key: the modulus alone tells.
        let RsaPublicKey { modulus, exponent: _ } = key;
        Some(modulus.as_bytes().to_vec())
    }

    /// Whether `signature` over `message` was made by the key of this certificate (RSASSA-PKCS1-v1_5, SHA-256).
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(message, signature)
            .is_ok()
    }
}
