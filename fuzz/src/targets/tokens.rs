//! Certificates, signatures, revocation lists and key files.

use std::{path::Path, sync::LazyLock};

use kaibiao_bidder::token::{Pin, TokenCertificate, TokenFault, pkcs12::Pkcs12Token};
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::{
    certificate::{CERTIFICATE_BYTES_MAX, read_facts},
    digest::sha256,
    purpose::Purpose,
    revocation::read_list_facts,
    signature::{certificate_in, check_cms},
    trust::{CertificateUse, Trust, VendorRoot, newest_lists, split_lists},
};

use super::has_one_spelling;

/// What was issued once for good: a root, two certificates of its, a signature, a list.
macro_rules! issued {
    ($name:literal) => {
        include_bytes!(concat!("../../issued/", $name)).as_slice()
    };
}

const ROOT: &[u8] = issued!("root.der");
const SIGNING: &[u8] = issued!("signing.der");
const ENCRYPTION: &[u8] = issued!("encryption.der");
const LIST: &[u8] = issued!("list.der");
const SIGNATURE: &[u8] = issued!("signature.der");
/// What [`SIGNATURE`] signs, for confirming a record.
const TEXT: &[u8] = b"what was signed";
/// The password of the key files in the corpus.
const PASSWORD: &[u8] = b"114514";

/// 2027-01-15.
const NOW: Moment = Moment(1_800_000_000_000_000);

static TRUST: LazyLock<Trust> =
    LazyLock::new(|| Trust::new(vec![vendor(ROOT, Vec::new())]).expect("it is a root"));

fn vendor(root: &[u8], lists: Vec<Vec<u8>>) -> VendorRoot {
    VendorRoot {
        vendor: "huixin".into(),
        root: root.to_vec(),
        intermediates: Vec::new(),
        revocation_lists: lists,
    }
}

/// A certificate: read by both sides, judged, and believed only if it is one that was issued.
pub(crate) fn certificate(data: &[u8]) {
    let facts = read_facts(data);
    if let Ok(facts) = &facts {
        assert!(data.len() <= CERTIFICATE_BYTES_MAX);
        assert_eq!(facts.fingerprint, sha256(data));
        let token = TokenCertificate::from_der(data, "label");
        if let Ok(token) = &token {
            assert_eq!(token.fingerprint, facts.fingerprint);
            assert_eq!(
                (&token.subject, &token.issuer, &token.serial),
                (&facts.subject, &facts.issuer, &facts.serial)
            );
        }
    }
    for wanted in [CertificateUse::Sign, CertificateUse::Encrypt] {
        match TRUST.judge(data, wanted, NOW) {
            Ok(judged) => {
                let issued = if wanted == CertificateUse::Sign { SIGNING } else { ENCRYPTION };
                assert_eq!(data, issued, "believed, and never issued");
                assert_eq!(judged.facts.fingerprint, sha256(data));
                has_one_spelling(judged.evidence.as_bytes());
            }
            Err(fault) => {
                let _ = fault.refusal();
            }
        }
    }
    // As a root that somebody gives.
    if Trust::new(vec![vendor(data, Vec::new())]).is_ok() {
        assert!(facts.is_ok());
    }
}

/// A detached signature: one form, for one text and purpose.
pub(crate) fn signature(data: &[u8]) {
    if let Ok(certificate) = certificate_in(data) {
        let _ = read_facts(&certificate);
    }
    for purpose in [Purpose::ConfirmRecord, Purpose::SealStatement] {
        if let Ok(signed) = check_cms(purpose, TEXT, data) {
            assert_eq!((purpose, data), (Purpose::ConfirmRecord, SIGNATURE), "holds, and was never made");
            assert_eq!(signed.fingerprint, sha256(&signed.certificate));
        }
    }
}

/// A revocation list, alone and among a vendor's.
pub(crate) fn revocation_list(data: &[u8]) {
    let lists = split_lists(data);
    assert_eq!(lists.concat(), data, "nothing is lost by taking lists apart");
    let _ = read_list_facts(data);
    let newest = newest_lists(&vendor(ROOT, lists)).expect("the root itself is good");
    for list in newest {
        assert_eq!(list, LIST, "taken, and never issued");
    }
}

/// A PKCS#12 file of a password everybody knows.
pub(crate) fn pkcs12(data: &[u8]) {
    let opened = Pkcs12Token::read(data, Path::new("a.p12"), &Pin::new(PASSWORD.to_vec().into()));
    match opened {
        Ok(token) => {
            use kaibiao_bidder::token::Token as _;
            assert!(!token.certificates().is_empty());
            let known: Vec<Digest> = token.certificates().iter().map(|one| one.fingerprint).collect();
            assert!(known.iter().all(|one| *one != Digest([0; 32])));
        }
        Err(fault) => {
            assert!(
                matches!(fault, TokenFault::NotPkcs12 { .. } | TokenFault::WrongPassword { .. }),
                "{fault}"
            );
        }
    }
}
