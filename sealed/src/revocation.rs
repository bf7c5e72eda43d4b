//! Revocation lists (X.509 CRLs, whole ones of one issuer).

use std::collections::BTreeMap;

use der::Decode;
use kaibiao_protocol::{digest::Digest, moment::Moment};
use serde::{Deserialize, Serialize};
use x509_cert::{
    certificate::Version,
    crl::CertificateList,
    ext::{Extensions, pkix::CrlNumber},
    name::Name,
};

use crate::{
    certificate::ParsedCertificate,
    digest::sha256,
    x509::{SignedBytes, last_moment, moment},
};
use const_oid::AssociatedOid;

/// The most bytes a revocation list may have.
pub const LIST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a revocation list says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListFacts {
    /// Its issuer, in the manner of RFC 4514.
    pub issuer: String,
    /// SHA-256 of its DER bytes.
    pub digest: Digest,
    /// Its number, in lower-case hexadecimal digits, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// When it was made.
    pub this_update: Moment,
    /// Until when the next one is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_update: Option<Moment>,
    /// How many certificates it revokes.
    pub revoked: u64,
}

/// Why a revocation list is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// The bytes are too many, or no revocation list of version 2.
    #[error("not a revocation list")]
    Malformed,
    /// A critical extension unknown here: the list is partial, indirect or a difference to another.
    #[error("the revocation list is partial or indirect")]
    Partial,
    /// None of the vendor's authorities issued it, or the one that did may not sign lists.
    #[error("the revocation list is not issued by this vendor")]
    NotIssued,
}

/// Reads what a revocation list says of itself. Says nothing about who issued it: [`crate::trust::Trust::new`]
/// does.
///
/// # Errors
/// [`ListFault::Malformed`], [`ListFault::Partial`].
pub fn read_list_facts(der: &[u8]) -> Result<ListFacts, ListFault> {
    Ok(RevocationList::parse(der)?.facts)
}

/// A revocation list with its entries by serial number.
#[derive(Clone)]
pub(crate) struct RevocationList {
    pub(crate) facts: ListFacts,
    issuer: Name,
    algorithm: spki::AlgorithmIdentifierOwned,
    since: BTreeMap<Vec<u8>, Moment>,
}

impl RevocationList {
    pub(crate) fn parse(der: &[u8]) -> Result<Self, ListFault> {
        if der.len() > LIST_BYTES_MAX {
            return Err(ListFault::Malformed);
        }
        let list: CertificateList = CertificateList::from_der(der).map_err(|_| ListFault::Malformed)?;
        let tbs = list.tbs_cert_list;
        if tbs.version != Version::V2 {
            return Err(ListFault::Malformed);
        }
        check_critical(tbs.crl_extensions.as_ref())?;
        let mut since = BTreeMap::new();
        for entry in tbs.revoked_certificates.unwrap_or_default() {
            check_critical(entry.crl_entry_extensions.as_ref())?;
            since.insert(entry.serial_number.as_bytes().to_vec(), moment(entry.revocation_date));
        }
        let number = match tbs.crl_extensions.iter().flatten().find(|one| one.extn_id == CrlNumber::OID) {
            None => None,
            Some(one) => {
                let number =
                    CrlNumber::from_der(one.extn_value.as_bytes()).map_err(|_| ListFault::Malformed)?;
                Some(hex::encode(number.0.as_bytes()))
            }
        };
        let facts = ListFacts {
            issuer: tbs.issuer.to_string(),
            digest: sha256(der),
            number,
            this_update: moment(tbs.this_update),
            next_update: tbs.next_update.map(last_moment),
            revoked: since.len() as u64,
        };
        Ok(Self { facts, issuer: tbs.issuer, algorithm: tbs.signature, since })
    }

    /// Whether `issuer` issued this list, whose bytes are `der`.
    pub(crate) fn is_issued_by(&self, der: &[u8], issuer: &ParsedCertificate) -> bool {
        let may = issuer.key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.crl_sign()));
        let signed = SignedBytes::split(der);
        may && self.issuer == *issuer.certificate().tbs_certificate().subject()
            && signed.is_ok_and(|signed| signed.verify(&self.algorithm, &issuer.public_key()).is_ok())
    }

    /// Since when the certificate with this serial number is revoked.
    pub(crate) fn revoked_since(&self, serial: &[u8]) -> Option<Moment> {
        self.since.get(serial).copied()
    }
}

/// A list with a critical extension says less than it seems to whoever does not understand it.
fn check_critical(extensions: Option<&Extensions>) -> Result<(), ListFault> {
    match extensions {
        Some(extensions) if extensions.iter().any(|one| one.critical) => Err(ListFault::Partial),
        Some(_) | None => Ok(()),
    }
}
