//! Trust: which certificates hold, for what, and at which moment.
//!
//! Several vendors stand side by side, each with a root of its own. A certificate is judged at a moment given
//! (that of the receipt, say) and what the judgement rested on is kept, so that a later expiry or revocation
//! never changes it.

use std::collections::BTreeMap;

use der::{Reader as _, SliceReader};
use kaibiao_protocol::{blob::Blob, digest::Digest, moment::Moment};
use serde::{Deserialize, Serialize};

use crate::{certificate::ParsedCertificate, revocation::RevocationList, strict_json::to_canonical};
pub use crate::{
    certificate::{CertificateFacts, CertificateFault, CertificateUse},
    revocation::{ListFacts, ListFault},
};

/// The most intermediate certificates a vendor may have.
pub const INTERMEDIATES_MAX: usize = 16;
/// The most authorities between a person's certificate and the root, the root included.
pub const AUTHORITIES_MAX: usize = 4;

/// A vendor's root with what belongs to it.
#[derive(Clone, Debug)]
pub struct VendorRoot {
    /// The vendor's short name.
    pub vendor: String,
    /// The root certificate (DER).
    pub root: Vec<u8>,
    /// Intermediate certificates (DER), in any order.
    pub intermediates: Vec<Vec<u8>>,
    /// Revocation lists (DER) of the root and the intermediates; of two by one issuer the newer counts.
    pub revocation_lists: Vec<Vec<u8>>,
}

/// A vendor that cannot be trusted as it is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to trust {vendor}: {why}")]
pub struct TrustFault {
    /// The vendor.
    pub vendor: String,
    /// What is wrong.
    pub why: VendorFault,
}

/// What is wrong with a vendor's root, intermediates or lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VendorFault {
    /// A certificate among them is none.
    #[error("a certificate is malformed")]
    Malformed,
    /// The root is not signed by itself.
    #[error("the root is not signed by itself")]
    NotARoot,
    /// A certificate among them is not an authority's.
    #[error("a certificate is not an authority's")]
    NotAnAuthority,
    /// A certificate among them has a critical extension unknown here.
    #[error("a certificate has a critical extension unknown here")]
    UnknownCriticalExtension,
    /// An intermediate does not hang from the root, or too far away from it.
    #[error("an intermediate certificate does not hang from the root")]
    Unconnected,
    /// There are more intermediates than [`INTERMEDIATES_MAX`].
    #[error("there are too many intermediate certificates")]
    TooMany,
    /// A list is not taken.
    #[error("{0}")]
    List(ListFault),
}

/// Whether the issuer's revocation list could tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocation {
    /// The issuer has no list here.
    NoList,
    /// The list was current at the moment of judgement.
    Current,
    /// The next list was due before that moment.
    Overdue,
}

/// A certificate that was judged and holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// The vendor whose root it hangs from.
    pub vendor: String,
    /// What the certificate says; `facts.not_after` tells whether it runs out before an opening.
    pub facts: CertificateFacts,
    /// Its public key as SubjectPublicKeyInfo (DER).
    pub public_key: Vec<u8>,
    /// Whether its issuer's revocation list could tell.
    pub revocation: Revocation,
    /// What the judgement rested on, as canonical JSON to be kept: moment, use, every certificate of the
    /// path, the lists by digest.
    pub evidence: String,
}

/// The vendors whose certificates are believed.
#[derive(Default)]
pub struct Trust {
    vendors: Vec<Vendor>,
}

struct Vendor {
    name: String,
    /// The root first; each other one after the one that issued it.
    authorities: Vec<Authority>,
}

struct Authority {
    certificate: ParsedCertificate,
    /// The place of its issuer in the vendor's row; the root's own is 0.
    issuer: usize,
    list: Option<RevocationList>,
}

impl Trust {
    /// Trusts these vendors. Two may have one name: a vendor that changes its root keeps both for a while.
    ///
    /// # Errors
    /// [`TrustFault`] names the vendor and what is wrong with it.
    pub fn new(vendors: Vec<VendorRoot>) -> Result<Self, TrustFault> {
        let vendors = vendors
            .into_iter()
            .map(|root| Vendor::new(&root).map_err(|why| TrustFault { vendor: root.vendor.clone(), why }));
        Ok(Self { vendors: vendors.collect::<Result<_, _>>()? })
    }

    /// Judges whether a certificate (DER) holds for `wanted` at the moment `at`.
    ///
    /// # Errors
    /// See [`CertificateFault`]; of several, the first in the order: foreign, wrong use, validity, revocation.
    pub fn judge(
        &self,
        certificate: &[u8],
        wanted: CertificateUse,
        at: Moment,
    ) -> Result<Judged, CertificateFault> {
        let certificate = ParsedCertificate::parse(certificate)?;
        let mut fault = CertificateFault::Foreign;
        // Two vendors may give their authorities one name and even one key: one path that holds is enough.
        for vendor in &self.vendors {
            for at_authority in 0..vendor.authorities.len() {
                let issuer = &vendor.authorities[at_authority].certificate;
                if !certificate.is_issued_by(issuer) {
                    continue;
                }
                match vendor.judge_path(&certificate, at_authority, wanted, at) {
                    Ok(judged) => return Ok(judged),
                    Err(found) => fault = found,
                }
            }
        }
        Err(fault)
    }

    /// What the revocation lists say of themselves, by vendor.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &ListFacts)> {
        self.vendors.iter().flat_map(|vendor| {
            let lists = vendor.authorities.iter().filter_map(|authority| authority.list.as_ref());
            lists.map(|list| (vendor.name.as_str(), &list.facts))
        })
    }
}

/// Of the revocation lists given with a vendor, those of its own authorities: of each issuer the newest. Lists of
/// others, and what is no list, are passed over.
///
/// # Errors
/// The root or an intermediate cannot be trusted.
pub fn newest_lists(given: &VendorRoot) -> Result<Vec<Vec<u8>>, VendorFault> {
    let mut vendor = Vendor::new(&VendorRoot { revocation_lists: Vec::new(), ..given.clone() })?;
    let mut newest = BTreeMap::new();
    for list in &given.revocation_lists {
        if let Ok(Some(issuer)) = vendor.take_list(list) {
            newest.insert(issuer, list.clone());
        }
    }
    Ok(newest.into_values().collect())
}

/// Takes revocation lists apart that stand one behind another (DER). Bytes that are none come back as one.
pub fn split_lists(bytes: &[u8]) -> Vec<Vec<u8>> {
    let split = || -> der::Result<Vec<Vec<u8>>> {
        let mut reader = SliceReader::new(bytes)?;
        let mut lists = Vec::new();
        while !reader.is_finished() {
            lists.push(reader.tlv_bytes()?.to_vec());
        }
        Ok(lists)
    };
    split().unwrap_or_else(|_| vec![bytes.to_vec()])
}

impl Vendor {
    fn new(given: &VendorRoot) -> Result<Self, VendorFault> {
        if given.intermediates.len() > INTERMEDIATES_MAX {
            return Err(VendorFault::TooMany);
        }
        let root = authority(&given.root)?;
        if !root.is_issued_by(&root) {
            return Err(VendorFault::NotARoot);
        }
        let mut vendor = Self {
            name: given.vendor.clone(),
            authorities: vec![Authority { certificate: root, issuer: 0, list: None }],
        };
        let mut waiting =
            given.intermediates.iter().map(|der| authority(der)).collect::<Result<Vec<_>, _>>()?;
        // Each round connects what hangs from something connected before.
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|certificate| !vendor.connect(certificate));
            if waiting.len() == before {
                return Err(VendorFault::Unconnected);
            }
        }
        for list in &given.revocation_lists {
            vendor.take_list(list)?;
        }
        Ok(vendor)
    }

    fn connect(&mut self, certificate: &ParsedCertificate) -> bool {
        let issuer = (0..self.authorities.len()).find(|issuer| {
            certificate.is_issued_by(&self.authorities[*issuer].certificate)
                && self.path_admits(*issuer, 1)
                && self.path(*issuer).count() < AUTHORITIES_MAX
        });
        match issuer {
            Some(issuer) => {
                let certificate = certificate.clone();
                self.authorities.push(Authority { certificate, issuer, list: None });
                true
            }
            None => false,
        }
    }

    /// From an authority to the root, both included.
    fn path(&self, from: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(from), |at| (*at != 0).then(|| self.authorities[*at].issuer))
    }

    /// Whether the path lengths on the way to the root admit `below` more authorities below `from`.
    fn path_admits(&self, from: usize, below: usize) -> bool {
        self.path(from).enumerate().all(|(above, at)| {
            let constraints = self.authorities[at].certificate.constraints();
            let limit = constraints.ok().flatten().and_then(|constraints| constraints.path_len_constraint);
            limit.is_none_or(|limit| above + below <= usize::from(limit))
        })
    }

    /// Takes a list unless a newer one of its issuer is here; gives the issuer's place if it was taken.
    fn take_list(&mut self, der: &[u8]) -> Result<Option<usize>, VendorFault> {
        let list = RevocationList::parse(der).map_err(VendorFault::List)?;
        let place = self
            .authorities
            .iter()
            .position(|authority| list.is_issued_by(der, &authority.certificate))
            .ok_or(VendorFault::List(ListFault::NotIssued))?;
        let kept = &mut self.authorities[place].list;
        let newer = kept.as_ref().is_none_or(|kept| kept.facts.this_update <= list.facts.this_update);
        if newer {
            *kept = Some(list);
        }
        Ok(newer.then_some(place))
    }

    /// Judges a certificate that the authority at `issuer` signed.
    fn judge_path(
        &self,
        certificate: &ParsedCertificate,
        issuer: usize,
        wanted: CertificateUse,
        at: Moment,
    ) -> Result<Judged, CertificateFault> {
        certificate.check_critical()?;
        certificate.check_use(wanted)?;
        certificate.check_validity(at)?;
        for place in self.path(issuer) {
            self.authorities[place].certificate.check_validity(at).map_err(of_issuer)?;
        }
        self.check_revoked(certificate, issuer, at)?;
        for place in self.path(issuer).filter(|place| *place != 0) {
            let authority = &self.authorities[place];
            self.check_revoked(&authority.certificate, authority.issuer, at).map_err(of_issuer)?;
        }
        let list = self.authorities[issuer].list.as_ref();
        let revocation = match list.map(|list| list.facts.next_update) {
            None => Revocation::NoList,
            Some(Some(due)) if due < at => Revocation::Overdue,
            Some(_) => Revocation::Current,
        };
        Ok(Judged {
            vendor: self.name.clone(),
            facts: certificate.facts(),
            public_key: certificate.public_key(),
            revocation,
            evidence: self.evidence(certificate, issuer, wanted, at, revocation),
        })
    }

    fn check_revoked(
        &self,
        certificate: &ParsedCertificate,
        issuer: usize,
        at: Moment,
    ) -> Result<(), CertificateFault> {
        let serial = certificate.certificate().tbs_certificate().serial_number().as_bytes();
        let list = self.authorities[issuer].list.as_ref();
        match list.and_then(|list| list.revoked_since(serial)) {
            // Revoked later is no fault: what was signed before stays signed.
            Some(since) if since <= at => Err(CertificateFault::Revoked { since }),
            Some(_) | None => Ok(()),
        }
    }

    fn evidence(
        &self,
        certificate: &ParsedCertificate,
        issuer: usize,
        wanted: CertificateUse,
        at: Moment,
        revocation: Revocation,
    ) -> String {
        let authorities: Vec<&Authority> = self.path(issuer).map(|place| &self.authorities[place]).collect();
        let path = std::iter::once(certificate).chain(authorities.iter().map(|one| &one.certificate));
        let text = to_canonical(&Evidence {
            format: "kaibiao certificate-evidence 1",
            vendor: &self.name,
            wanted,
            at,
            fingerprint: certificate.facts().fingerprint,
            revocation,
            path: path.map(|one| Blob(one.der().to_vec())).collect(),
            lists: authorities.iter().filter_map(|one| Some(&one.list.as_ref()?.facts)).collect(),
        });
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// What a judgement rested on.
#[derive(Serialize)]
struct Evidence<'a> {
    format: &'a str,
    vendor: &'a str,
    #[serde(rename = "use", serialize_with = "write_use")]
    wanted: CertificateUse,
    at: Moment,
    fingerprint: Digest,
    revocation: Revocation,
    /// The certificate first, the root last.
    path: Vec<Blob>,
    lists: Vec<&'a ListFacts>,
}

fn write_use<S: serde::Serializer>(wanted: &CertificateUse, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(match wanted {
        CertificateUse::Sign => "sign",
        CertificateUse::Encrypt => "encrypt",
    })
}

/// A certificate that may issue others.
fn authority(der: &[u8]) -> Result<ParsedCertificate, VendorFault> {
    let certificate = ParsedCertificate::parse(der).map_err(|_| VendorFault::Malformed)?;
    certificate.check_critical().map_err(|_| VendorFault::UnknownCriticalExtension)?;
    let constraints = certificate.constraints().map_err(|_| VendorFault::Malformed)?;
    let usage = certificate.key_usage().map_err(|_| VendorFault::Malformed)?;
    let may_issue = constraints.is_some_and(|constraints| constraints.ca)
        && usage.is_some_and(|usage| usage.key_cert_sign())
        && certificate.check_purposes().is_ok();
    if may_issue { Ok(certificate) } else { Err(VendorFault::NotAnAuthority) }
}

/// The same fault, of the issuer's certificate.
fn of_issuer(fault: CertificateFault) -> CertificateFault {
    match fault {
        CertificateFault::NotYetValid { .. } => CertificateFault::IssuerNotYetValid,
        CertificateFault::Expired { .. } => CertificateFault::IssuerExpired,
        CertificateFault::Revoked { since } => CertificateFault::IssuerRevoked { since },
        other => other,
    }
}

#[cfg(test)]
mod tests;
