//! Certificates: what one says of itself, and the ways in which one does not hold.

use std::collections::BTreeSet;

use aws_lc_rs::rsa::PublicEncryptingKey;
use const_oid::{
    AssociatedOid, ObjectIdentifier,
    db::{
        rfc5280::{
            ANY_EXTENDED_KEY_USAGE, ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES, ID_CE_EXT_KEY_USAGE,
            ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_KP_CLIENT_AUTH, ID_KP_EMAIL_PROTECTION,
        },
        rfc5912::RSA_ENCRYPTION,
    },
};
use der::Decode;
use kaibiao_protocol::{digest::Digest, moment::Moment, refusal::RefusalCode};
use x509_cert::{
    Certificate,
    certificate::Version,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage},
};

use crate::{
    digest::sha256,
    x509::{NotIssued, SignedBytes, encoded, last_moment, moment},
};

/// The most bytes a certificate may have.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// What a certificate is to be used for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum CertificateUse {
    /// Signing: needs digitalSignature or nonRepudiation.
    Sign,
    /// Unwrapping keys: needs keyEncipherment or dataEncipherment.
    Encrypt,
}

/// What a certificate says of itself, whoever issued it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// SHA-256 of its DER bytes.
    pub fingerprint: Digest,
    /// Its subject, in the manner of RFC 4514.
    pub subject: String,
    /// Its issuer, in the manner of RFC 4514.
    pub issuer: String,
    /// Its serial number, in lower-case hexadecimal digits.
    pub serial: String,
    /// The first instant of its validity.
    pub not_before: Moment,
    /// The last instant of its validity.
    pub not_after: Moment,
}

/// Why a certificate does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateFault {
    /// The bytes are too many, or no X.509 certificate of version 3.
    #[error("not a certificate")]
    Malformed,
    /// No trusted root issued it.
    #[error("no trusted root issued the certificate")]
    Foreign,
    /// It is not valid yet.
    #[error("the certificate is not valid yet")]
    NotYetValid {
        /// The first instant of its validity.
        from: Moment,
    },
    /// It is past its end.
    #[error("the certificate has expired")]
    Expired {
        /// The last instant of its validity.
        until: Moment,
    },
    /// It stands on its issuer's revocation list.
    #[error("the certificate was revoked")]
    Revoked {
        /// Since when.
        since: Moment,
    },
    /// It is not made for this use.
    #[error("the certificate is not made for this use: {0}")]
    WrongUse(&'static str),
    /// It carries a critical extension that is not understood here.
    #[error("the certificate carries a critical extension unknown here: {0}")]
    UnknownCriticalExtension(ObjectIdentifier),
    /// The certificate of its issuer is not valid yet.
    #[error("the issuer's certificate is not valid yet")]
    IssuerNotYetValid,
    /// The certificate of its issuer has expired.
    #[error("the issuer's certificate has expired")]
    IssuerExpired,
    /// The certificate of its issuer was revoked.
    #[error("the issuer's certificate was revoked")]
    IssuerRevoked {
        /// Since when.
        since: Moment,
    },
}

impl CertificateFault {
    /// The refusal that names the fault to people.
    pub fn refusal(&self) -> RefusalCode {
        match self {
            CertificateFault::Malformed => RefusalCode::Malformed,
            CertificateFault::Foreign => RefusalCode::CertificateForeign,
            CertificateFault::NotYetValid { .. } | CertificateFault::IssuerNotYetValid => {
                RefusalCode::CertificateNotYetValid
            }
            CertificateFault::Expired { .. } | CertificateFault::IssuerExpired => {
                RefusalCode::CertificateExpired
            }
            CertificateFault::Revoked { .. } | CertificateFault::IssuerRevoked { .. } => {
                RefusalCode::CertificateRevoked
            }
            CertificateFault::WrongUse(_) | CertificateFault::UnknownCriticalExtension(_) => {
                RefusalCode::CertificateWrongUse
            }
        }
    }
}

/// Reads what a certificate says of itself. Says nothing about whether it holds: see
/// [`crate::trust::Trust::judge`].
///
/// # Errors
/// [`CertificateFault::Malformed`].
pub fn read_facts(der: &[u8]) -> Result<CertificateFacts, CertificateFault> {
    Ok(ParsedCertificate::parse(der)?.facts())
}

/// A certificate's bytes beside what was read from them.
#[derive(Clone)]
pub(crate) struct ParsedCertificate {
    der: Vec<u8>,
    certificate: Certificate,
}

impl ParsedCertificate {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, CertificateFault> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateFault::Malformed);
        }
        let certificate = Certificate::from_der(der).map_err(|_| CertificateFault::Malformed)?;
        let tbs = certificate.tbs_certificate();
        let mut seen = BTreeSet::new();
        let extensions = tbs.extensions().map_or(&[][..], Vec::as_slice);
        // RFC 5280, 4.2: no extension twice.
        if tbs.version() != Version::V3 || !extensions.iter().all(|one| seen.insert(one.extn_id)) {
            return Err(CertificateFault::Malformed);
        }
        Ok(Self { der: der.to_vec(), certificate })
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub(crate) fn facts(&self) -> CertificateFacts {
        let tbs = self.certificate.tbs_certificate();
        CertificateFacts {
            fingerprint: sha256(&self.der),
            subject: tbs.subject().to_string(),
            issuer: tbs.issuer().to_string(),
            serial: hex::encode(tbs.serial_number().as_bytes()),
            not_before: moment(tbs.validity().not_before),
            not_after: last_moment(tbs.validity().not_after),
        }
    }

    /// The public key as SubjectPublicKeyInfo (DER).
    pub(crate) fn public_key(&self) -> Vec<u8> {
        encoded(self.certificate.tbs_certificate().subject_public_key_info())
    }

    /// Whether `issuer` issued this certificate: its name stands in it and its key signed it.
    pub(crate) fn is_issued_by(&self, issuer: &ParsedCertificate) -> bool {
        let tbs = self.certificate.tbs_certificate();
        tbs.issuer() == issuer.certificate.tbs_certificate().subject()
            && self.verify_with(&issuer.public_key()).is_ok()
    }

    fn verify_with(&self, spki: &[u8]) -> Result<(), NotIssued> {
        let signed = SignedBytes::split(&self.der).map_err(|_| NotIssued)?;
        signed.verify(self.certificate.tbs_certificate().signature(), spki)
    }

    /// Checks that `at` lies within the validity.
    pub(crate) fn check_validity(&self, at: Moment) -> Result<(), CertificateFault> {
        let facts = self.certificate.tbs_certificate().validity();
        let (from, until) = (moment(facts.not_before), last_moment(facts.not_after));
        if at < from {
            Err(CertificateFault::NotYetValid { from })
        } else if at > until {
            Err(CertificateFault::Expired { until })
        } else {
            Ok(())
        }
    }

    /// Checks that every critical extension is understood here.
    pub(crate) fn check_critical(&self) -> Result<(), CertificateFault> {
        let extensions = self.certificate.tbs_certificate().extensions().map_or(&[][..], Vec::as_slice);
        match extensions.iter().find(|one| one.critical && !UNDERSTOOD.contains(&one.extn_id)) {
            None => Ok(()),
            Some(unknown) => Err(CertificateFault::UnknownCriticalExtension(unknown.extn_id)),
        }
    }

    /// Checks that the certificate is made for people, and for this use.
    pub(crate) fn check_use(&self, wanted: CertificateUse) -> Result<(), CertificateFault> {
        if self.constraints()?.is_some_and(|constraints| constraints.ca) {
            return Err(CertificateFault::WrongUse("it is an authority's"));
        }
        let usage = self.key_usage()?.ok_or(CertificateFault::WrongUse("it names no use of its key"))?;
        let fits = match wanted {
            CertificateUse::Sign => usage.digital_signature() || usage.non_repudiation(),
            CertificateUse::Encrypt => usage.key_encipherment() || usage.data_encipherment(),
        };
        if !fits {
            return Err(CertificateFault::WrongUse("its key is for something else"));
        }
        self.check_purposes()?;
        let key = self.certificate.tbs_certificate().subject_public_key_info();
        let is_rsa = key.algorithm.oid == RSA_ENCRYPTION;
        // The library takes keys of 2048 to 8192 bits.
        if !is_rsa || PublicEncryptingKey::from_der(&self.public_key()).is_err() {
            return Err(CertificateFault::WrongUse("its key is not RSA of 2048 to 8192 bits"));
        }
        Ok(())
    }

    /// Where purposes are listed, one of those that a person's token serves must be among them.
    pub(crate) fn check_purposes(&self) -> Result<(), CertificateFault> {
        match self.extension::<ExtendedKeyUsage>()? {
            Some(purposes) if !purposes.0.iter().any(|one| PURPOSES.contains(one)) => {
                Err(CertificateFault::WrongUse("it is made for other purposes"))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn constraints(&self) -> Result<Option<BasicConstraints>, CertificateFault> {
        self.extension()
    }

    pub(crate) fn key_usage(&self) -> Result<Option<KeyUsage>, CertificateFault> {
        self.extension()
    }

    fn extension<T: for<'a> Decode<'a> + AssociatedOid>(&self) -> Result<Option<T>, CertificateFault> {
        let found = self.certificate.tbs_certificate().get_extension::<T>();
        Ok(found.map_err(|_| CertificateFault::Malformed)?.map(|(_, value)| value))
    }
}

/// Critical extensions that are understood here. Policies ask nothing of a verifier that wants none; a
/// subject's other names change nothing about who is bound to an account.
const UNDERSTOOD: [ObjectIdentifier; 5] = [
    ID_CE_BASIC_CONSTRAINTS,
    ID_CE_KEY_USAGE,
    ID_CE_EXT_KEY_USAGE,
    ID_CE_CERTIFICATE_POLICIES,
    ID_CE_SUBJECT_ALT_NAME,
];

/// Document signing (RFC 9336).
const ID_KP_DOCUMENT_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.36");

/// Purposes of a person's token.
const PURPOSES: [ObjectIdentifier; 4] =
    [ANY_EXTENDED_KEY_USAGE, ID_KP_CLIENT_AUTH, ID_KP_EMAIL_PROTECTION, ID_KP_DOCUMENT_SIGNING];
