use aws_lc_rs::rsa::KeySize;
use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{ID_CE_CERTIFICATE_POLICIES, ID_CE_NAME_CONSTRAINTS, ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
};
use kaibiao_protocol::refusal::RefusalCode;
use x509_cert::{
    certificate::Version,
    ext::pkix::{ExtendedKeyUsage, KeyUsages, crl::BaseCrlNumber},
};

use super::*;
use crate::{
    forge::{Algorithm, Draft, Party, constraints, extension, key_usage, list, raw_extension},
    signature::{check_cms, sign_cms},
};

/// 2026-01-01, with a day's distance between the moments of these tests.
const START: Moment = Moment(1_767_225_600_000_000);

fn day(no: i64) -> Moment {
    START.plus_ms(no * 86_400_000)
}

const SPAN: (Moment, Moment) = (START, Moment(START.0 + 100 * 86_400_000_000));

/// A vendor with an intermediate, and a person with a certificate of it.
struct World {
    root: Party,
    intermediate: Party,
    person: Party,
    root_der: Vec<u8>,
    intermediate_der: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let (root, intermediate, person) =
            (Party::new("CN=Huixin Root"), Party::new("CN=Huixin 1"), Party::new("CN=Mingde"));
        let root_der = Draft::authority(&root, None, SPAN).issued_by(&root);
        let intermediate_der = Draft::authority(&intermediate, Some(0), SPAN).issued_by(&root);
        Self { root, intermediate, person, root_der, intermediate_der }
    }

    fn vendor(&self) -> VendorRoot {
        VendorRoot {
            vendor: "huixin".into(),
            root: self.root_der.clone(),
            intermediates: vec![self.intermediate_der.clone()],
            revocation_lists: vec![],
        }
    }

    fn trust(&self, lists: Vec<Vec<u8>>) -> Trust {
        Trust::new(vec![VendorRoot { revocation_lists: lists, ..self.vendor() }]).unwrap()
    }

    fn signer(&self) -> Draft<'_> {
        Draft::person(&self.person, KeyUsages::DigitalSignature, SPAN)
    }
}

#[test]
fn a_certificate_holds_under_its_vendor_directly_and_through_an_intermediate() {
    let world = World::new();
    let other = Party::new("CN=Tiangu Root");
    let tiangu = VendorRoot {
        vendor: "tiangu".into(),
        root: Draft::authority(&other, None, SPAN).issued_by(&other),
        intermediates: vec![],
        revocation_lists: vec![],
    };
    let trust = Trust::new(vec![tiangu, world.vendor()]).unwrap();
    for (issuer, vendor) in [(&world.root, "huixin"), (&world.intermediate, "huixin"), (&other, "tiangu")] {
        let certificate = world.signer().issued_by(issuer);
        let judged = trust.judge(&certificate, CertificateUse::Sign, day(1)).unwrap();
        assert_eq!(judged.vendor, vendor);
        assert_eq!(judged.facts.fingerprint, crate::digest::sha256(&certificate));
        assert_eq!(judged.facts.subject, "CN=Mingde");
        assert_eq!(judged.facts.serial, "07");
        assert_eq!(judged.revocation, Revocation::NoList);
        assert!(judged.evidence.starts_with(r#"{"format":"kaibiao certificate-evidence 1","vendor":""#));
    }
}

#[test]
fn validity_includes_its_first_and_its_last_second() {
    let world = World::new();
    let trust = world.trust(vec![]);
    let (from, until) = (day(10), day(20));
    let mut draft = world.signer();
    draft.span = (from, until);
    let certificate = draft.issued_by(&world.intermediate);
    let judge = |at| trust.judge(&certificate, CertificateUse::Sign, at);
    assert!(judge(from).is_ok());
    assert!(judge(Moment(until.0 + 999_999)).is_ok());
    assert_eq!(judge(Moment(from.0 - 1)), Err(CertificateFault::NotYetValid { from }));
    let last = Moment(until.0 + 999_999);
    assert_eq!(judge(Moment(until.0 + 1_000_000)), Err(CertificateFault::Expired { until: last }));
}

#[test]
fn each_fault_of_a_certificate_has_its_own_name() {
    let world = World::new();
    let trust = world.trust(vec![]);
    let stranger = Party::new("CN=Huixin Root");
    let small = Party::with("CN=Mingde", Algorithm::Pkcs1, KeySize::Rsa2048);
    let curve = Party::with("CN=Mingde", Algorithm::Ecdsa, KeySize::Rsa2048);
    let policies = raw_extension(ID_CE_CERTIFICATE_POLICIES, true, vec![0x30, 0]);
    let names = raw_extension(ID_CE_NAME_CONSTRAINTS, true, vec![0x30, 0]);
    let purposes = |oid: ObjectIdentifier| extension(true, &ExtendedKeyUsage(vec![oid]));

    let check = |what: &str, change: &dyn Fn(&mut Draft<'_>), wanted, expected: Result<(), RefusalCode>| {
        let mut draft = world.signer();
        change(&mut draft);
        let certificate = draft.issued_by(&world.intermediate);
        let judged = trust.judge(&certificate, wanted, day(1));
        assert_eq!(judged.map(drop).map_err(|fault| fault.refusal()), expected, "{what}");
    };
    let wrong = Err(RefusalCode::CertificateWrongUse);
    let malformed = Err(RefusalCode::Malformed);
    let (sign, encrypt) = (CertificateUse::Sign, CertificateUse::Encrypt);
    check("as it is", &|_| {}, sign, Ok(()));
    check("signing only", &|_| {}, encrypt, wrong);
    check("encrypting only", &|d| d.extensions[1] = key_usage(KeyUsages::KeyEncipherment), sign, wrong);
    check("encrypting", &|d| d.extensions[1] = key_usage(KeyUsages::KeyEncipherment), encrypt, Ok(()));
    check("non-repudiation", &|d| d.extensions[1] = key_usage(KeyUsages::NonRepudiation), sign, Ok(()));
    check("no usage", &|d| drop(d.extensions.pop()), sign, wrong);
    check("an authority's", &|d| d.extensions[0] = constraints(true, None), sign, wrong);
    check("usage twice", &|d| d.extensions.push(key_usage(KeyUsages::KeyAgreement)), sign, malformed);
    let noted = raw_extension(ID_CE_NAME_CONSTRAINTS, false, vec![0x30, 0]);
    check("another extension", &|d| d.extensions.push(noted.clone()), sign, Ok(()));
    check(
        "another extension twice",
        &|d| d.extensions.extend([noted.clone(), noted.clone()]),
        sign,
        malformed,
    );
    check("version 1", &|d| d.version = Version::V1, sign, malformed);
    check("policies", &|d| d.extensions.push(policies.clone()), sign, Ok(()));
    check("unknown critical", &|d| d.extensions.push(names.clone()), sign, wrong);
    check("client", &|d| d.extensions.push(purposes(ID_KP_CLIENT_AUTH)), sign, Ok(()));
    check("server", &|d| d.extensions.push(purposes(ID_KP_SERVER_AUTH)), sign, wrong);
    check(
        "other algorithm outside",
        &|d| {
            // The signature would hold under either spelling; the names outside and within must be one.
            let within = world.intermediate.identifier();
            d.outer = Some(spki::AlgorithmIdentifierOwned { parameters: None, ..within });
        },
        sign,
        Err(RefusalCode::CertificateForeign),
    );

    let judge = |certificate: &[u8]| trust.judge(certificate, sign, day(1)).map(drop);
    let by_stranger = world.signer().issued_by(&stranger);
    assert_eq!(judge(&by_stranger), Err(CertificateFault::Foreign), "same name, other key");
    let renamed = world.intermediate.called("CN=Huixin 2");
    assert_eq!(
        judge(&world.signer().issued_by(&renamed)),
        Err(CertificateFault::Foreign),
        "same key, other name"
    );
    let by_itself = Draft::person(&small, KeyUsages::DigitalSignature, SPAN).issued_by(&small);
    assert_eq!(judge(&by_itself), Err(CertificateFault::Foreign));
    let of_curve = Draft::person(&curve, KeyUsages::DigitalSignature, SPAN).issued_by(&world.root);
    assert!(matches!(judge(&of_curve), Err(CertificateFault::WrongUse(_))));
    assert_eq!(judge(b"no certificate"), Err(CertificateFault::Malformed));
    assert_eq!(judge(&[0x30; 20_000]), Err(CertificateFault::Malformed));
    let mut trailing = world.signer().issued_by(&world.intermediate);
    trailing.push(0);
    assert_eq!(judge(&trailing), Err(CertificateFault::Malformed));
}

#[test]
fn every_flipped_bit_of_a_certificate_is_noticed() {
    let world = World::new();
    let trust = world.trust(vec![]);
    let certificate = world.signer().issued_by(&world.intermediate);
    for at in 0..certificate.len() {
        let mut bad = certificate.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(trust.judge(&bad, CertificateUse::Sign, day(1)).is_err(), "byte {at}");
    }
}

#[test]
fn a_revoked_certificate_fails_from_its_revocation_on_and_not_before() {
    let world = World::new();
    let certificate = world.signer().issued_by(&world.intermediate);
    let revoking = list(&world.intermediate, &[(7, day(30)), (9, day(1))], day(31), day(40), vec![]);
    let trust = world.trust(vec![revoking]);
    let judge = |at| trust.judge(&certificate, CertificateUse::Sign, at);
    let before = judge(Moment(day(30).0 - 1)).unwrap();
    assert_eq!(before.revocation, Revocation::Current);
    assert!(before.evidence.contains(r#""number":"05","#), "{}", before.evidence);
    assert_eq!(judge(day(30)), Err(CertificateFault::Revoked { since: day(30) }));
    assert_eq!(judge(day(30)).unwrap_err().refusal(), RefusalCode::CertificateRevoked);

    let facts: Vec<_> = trust.lists().collect();
    assert_eq!(facts[0].0, "huixin");
    assert_eq!(facts[0].1.revoked, 2);
    assert_eq!(facts[0].1.this_update, day(31));
}

#[test]
fn an_overdue_list_is_told_and_the_newer_of_two_counts() {
    let world = World::new();
    let certificate = world.signer().issued_by(&world.intermediate);
    let old = list(&world.intermediate, &[(7, day(1))], day(1), day(5), vec![]);
    let new = list(&world.intermediate, &[], day(2), day(6), vec![]);
    for lists in [vec![old.clone(), new.clone()], vec![new, old]] {
        let judged = world.trust(lists).judge(&certificate, CertificateUse::Sign, day(9)).unwrap();
        assert_eq!(judged.revocation, Revocation::Overdue);
    }
}

#[test]
fn lists_of_several_issuers_stand_behind_one_another_and_of_each_the_newest_is_kept() {
    let world = World::new();
    let certificate = world.signer().issued_by(&world.intermediate);
    let serial = 7;
    let of_root = list(&world.root, &[], day(3), day(9), vec![]);
    let revoking = list(&world.intermediate, &[(serial, day(1))], day(2), day(9), vec![]);
    let older = list(&world.intermediate, &[], day(1), day(5), vec![]);
    let stranger = list(&Party::new("CN=Stranger"), &[], day(4), day(9), vec![]);
    let given = [&revoking, &stranger, &of_root, &older].map(Vec::clone).to_vec();
    let newest = newest_lists(&VendorRoot { revocation_lists: given, ..world.vendor() }).unwrap();
    assert_eq!(newest, [of_root, revoking]);
    assert_eq!(split_lists(&newest.concat()), newest);
    let judged = world.trust(newest).judge(&certificate, CertificateUse::Sign, day(3));
    assert_eq!(judged, Err(CertificateFault::Revoked { since: day(1) }));
    for torn in [&b""[..], b"\x30", b"\x30\x03\x00", b"list"] {
        assert!(split_lists(torn).iter().all(|one| one.as_slice() == torn), "{torn:?}");
    }
}

#[test]
fn a_fault_of_the_issuer_is_the_certificates_too() {
    let world = World::new();
    let certificate = world.signer().issued_by(&world.intermediate);
    let revoking = list(&world.root, &[(3, day(2))], day(2), day(9), vec![]);
    let judged = world.trust(vec![revoking]).judge(&certificate, CertificateUse::Sign, day(3));
    assert_eq!(judged, Err(CertificateFault::IssuerRevoked { since: day(2) }));

    let mut draft = Draft::authority(&world.intermediate, None, SPAN);
    draft.span = (day(10), day(20));
    let short = draft.issued_by(&world.root);
    let trust = Trust::new(vec![VendorRoot { intermediates: vec![short], ..world.vendor() }]).unwrap();
    let judge = |at| trust.judge(&certificate, CertificateUse::Sign, at);
    assert_eq!(judge(day(9)), Err(CertificateFault::IssuerNotYetValid));
    assert!(judge(day(15)).is_ok());
    assert_eq!(judge(day(21)), Err(CertificateFault::IssuerExpired));
}

#[test]
fn a_vendor_that_cannot_be_trusted_is_refused_with_its_reason() {
    let world = World::new();
    let stranger = Party::new("CN=Stranger");
    let check = |change: &dyn Fn(&mut VendorRoot), expected: Option<VendorFault>| {
        let mut vendor = world.vendor();
        change(&mut vendor);
        let refused = Trust::new(vec![vendor]).err();
        assert_eq!(refused, expected.map(|why| TrustFault { vendor: "huixin".into(), why }));
    };
    let person = world.signer().issued_by(&world.root);
    let strange = Draft::authority(&stranger, None, SPAN).issued_by(&stranger);
    let mut constrained = Draft::authority(&stranger, None, SPAN);
    constrained.extensions.push(raw_extension(ID_CE_NAME_CONSTRAINTS, true, vec![0x30, 0]));
    let constrained = constrained.issued_by(&world.root);
    let third = Draft::authority(&stranger, None, SPAN).issued_by(&world.intermediate);
    let list_of = |issuer: &Party, more| list(issuer, &[], day(1), day(9), more);
    let delta = extension(true, &BaseCrlNumber(der::asn1::Uint::new(&[1]).unwrap()));

    check(&|_| {}, None);
    check(&|v| v.root = b"root".to_vec(), Some(VendorFault::Malformed));
    check(&|v| v.root = world.intermediate_der.clone(), Some(VendorFault::NotARoot));
    check(&|v| v.root = person.clone(), Some(VendorFault::NotAnAuthority));
    check(&|v| v.intermediates.push(person.clone()), Some(VendorFault::NotAnAuthority));
    check(&|v| v.intermediates.push(strange.clone()), Some(VendorFault::Unconnected));
    check(&|v| v.intermediates.push(constrained.clone()), Some(VendorFault::UnknownCriticalExtension));
    // The intermediate's path length is 0: it may issue to people, not to further authorities.
    check(&|v| v.intermediates.insert(0, third.clone()), Some(VendorFault::Unconnected));
    check(&|v| v.intermediates = vec![world.intermediate_der.clone(); 17], Some(VendorFault::TooMany));
    check(&|v| v.revocation_lists.push(list_of(&world.root, vec![])), None);
    let list_fault = |fault| Some(VendorFault::List(fault));
    check(&|v| v.revocation_lists.push(b"list".to_vec()), list_fault(ListFault::Malformed));
    check(&|v| v.revocation_lists.push(list_of(&stranger, vec![])), list_fault(ListFault::NotIssued));
    check(
        &|v| v.revocation_lists.push(list_of(&world.root, vec![delta.clone()])),
        list_fault(ListFault::Partial),
    );
    let renamed = world.root.called("CN=Tiangu Root");
    check(&|v| v.revocation_lists.push(list_of(&renamed, vec![])), list_fault(ListFault::NotIssued));
    let rooted = |usage: KeyUsages| {
        let mut draft = Draft::authority(&world.root, None, SPAN);
        draft.extensions[1] = key_usage(usage);
        draft.issued_by(&world.root)
    };
    let (signs_lists, issues) = (rooted(KeyUsages::CRLSign), rooted(KeyUsages::KeyCertSign));
    check(&|v| v.root = signs_lists.clone(), Some(VendorFault::NotAnAuthority));
    check(&|v| v.root = issues.clone(), None);
    check(
        &|v| {
            v.root = issues.clone();
            v.revocation_lists.push(list_of(&world.root, vec![]));
        },
        list_fault(ListFault::NotIssued),
    );
    let mut forged = list_of(&world.root, vec![]);
    *forged.last_mut().unwrap() ^= 1;
    check(&|v| v.revocation_lists.push(forged.clone()), list_fault(ListFault::NotIssued));
}

#[test]
fn authorities_may_sign_by_pss_and_by_elliptic_curve() {
    for algorithm in [Algorithm::Pss, Algorithm::Ecdsa] {
        let root = Party::with("CN=Root", algorithm, KeySize::Rsa2048);
        let person = Party::new("CN=Mingde");
        let vendor = VendorRoot {
            vendor: "huixin".into(),
            root: Draft::authority(&root, None, SPAN).issued_by(&root),
            intermediates: vec![],
            revocation_lists: vec![list(&root, &[(8, day(1))], day(1), day(9), vec![])],
        };
        let trust = Trust::new(vec![vendor]).unwrap();
        let issue = |serial| {
            let mut draft = Draft::person(&person, KeyUsages::DigitalSignature, SPAN);
            draft.serial = serial;
            draft.issued_by(&root)
        };
        assert!(trust.judge(&issue(7), CertificateUse::Sign, day(2)).is_ok());
        let revoked = trust.judge(&issue(8), CertificateUse::Sign, day(2));
        assert_eq!(revoked, Err(CertificateFault::Revoked { since: day(1) }));
    }
}

#[test]
fn a_chain_of_four_authorities_holds_and_a_fifth_does_not() {
    let names = ["CN=0", "CN=1", "CN=2", "CN=3", "CN=4"];
    let parties: Vec<Party> = names.iter().map(|name| Party::new(name)).collect();
    let issue =
        |no: usize| Draft::authority(&parties[no], None, SPAN).issued_by(&parties[no.saturating_sub(1)]);
    let vendor = |count: usize| VendorRoot {
        vendor: "deep".into(),
        root: issue(0),
        // Given from the far end on, to be put in order.
        intermediates: (1..count).rev().map(issue).collect(),
        revocation_lists: vec![],
    };
    let person = Party::new("CN=Mingde");
    let certificate = Draft::person(&person, KeyUsages::DigitalSignature, SPAN).issued_by(&parties[3]);
    let trust = Trust::new(vec![vendor(4)]).unwrap();
    assert!(trust.judge(&certificate, CertificateUse::Sign, day(1)).is_ok());
    assert_eq!(Trust::new(vec![vendor(5)]).err().unwrap().why, VendorFault::Unconnected);
}

#[test]
fn who_signed_is_judged_by_the_certificate_in_the_signature() {
    let world = World::new();
    let key = crate::practice::SoftKey::generate().unwrap();
    let ca = crate::practice::PracticeCa::new("Huixin", SPAN.0, SPAN.1).unwrap();
    let span = crate::practice::Span { from: SPAN.0, until: SPAN.1 };
    let usage = crate::practice::Usage::Sign;
    let certificate = ca.issue("CN=Mingde", &key.public_key(), 7, usage, span).unwrap();
    let purpose = crate::purpose::Purpose::SignIn;
    let cms = sign_cms::<()>(purpose, b"text", &certificate, &mut |message| Ok(key.sign(message))).unwrap();
    let signed = check_cms(purpose, b"text", &cms).unwrap();
    assert_eq!(
        world.trust(vec![]).judge(&signed.certificate, CertificateUse::Sign, day(1)),
        Err(CertificateFault::Foreign)
    );
    let practice = VendorRoot {
        vendor: "practice".into(),
        root: ca.root().to_vec(),
        intermediates: vec![],
        revocation_lists: vec![],
    };
    let trust = Trust::new(vec![world.vendor(), practice]).unwrap();
    let judged = trust.judge(&signed.certificate, CertificateUse::Sign, day(1)).unwrap();
    assert_eq!((judged.vendor.as_str(), judged.facts.fingerprint), ("practice", signed.fingerprint));
}
