//! Unwrapping: what a token is found to be able to do, and what its refusals mean.

use std::path::Path;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    object::{Attribute, CertificateType, KeyType, ObjectClass},
    session::UserType,
    types::AuthPin,
};
use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, OctetStringRef, UintRef},
};
use kaibiao_bidder::{
    practice::{PracticeToken, PracticeVendor::Huixin},
    token::{
        Token, TokenFault, Vendor,
        pkcs11::{Pkcs11Token, tokens_of},
    },
};
use kaibiao_protocol::bid::FailureCause;
use kaibiao_sealed::wrap::{
    WrapAlgorithm::{self, RsaOaepSha1, RsaOaepSha256, RsaPkcs1V15},
    wrap_to,
};
use p12_keystore::{KeyStore, KeyStoreEntry};
use x509_cert::Certificate;

use crate::desk::{Asked, alone, encryption};

fn comes_back(open: &dyn Token, token: &PracticeToken, algorithm: WrapAlgorithm) {
    let wrapped = wrap_to(&token.encryption_certificate, algorithm, &[9; 32]).unwrap();
    assert_eq!(*open.unwrap(&encryption(token), algorithm, &wrapped).unwrap(), [9; 32]);
}

#[test]
fn the_best_way_of_wrapping_that_the_token_shows_to_work_is_chosen() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let encryption = encryption(&token);
        for (faults, chosen) in [
            ("oaep sha1", Some(RsaOaepSha1)),
            ("oaep none", Some(RsaPkcs1V15)),
            ("oaep refused", Some(RsaPkcs1V15)),
            ("oaep none\npkcs1 none", None),
            // It answers, but not with what was wrapped.
            ("C_Decrypt spoil", None),
        ] {
            front.script(faults);
            // What a token offers is asked when it is opened.
            let open = front.unlocked(&token);
            match (open.negotiate_wrap(&encryption), chosen) {
                (Ok(algorithm), Some(chosen)) => {
                    assert_eq!(algorithm, chosen, "{faults}");
                    comes_back(&open, &token, algorithm);
                }
                (Err(fault), None) => assert_eq!(fault.code(), "token_mechanism_not_offered", "{faults}"),
                (found, _) => panic!("{faults}: {found:?}"),
            }
        }
    });
}

#[test]
fn nothing_that_came_from_outside_is_unwrapped_before_it_must_be() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        // A real wrapped key lies at hand, as it does in every header of a sealed bid.
        let real = wrap_to(&token.encryption_certificate, RsaOaepSha1, &[9; 32]).unwrap();
        let open = front.unlocked(&token);
        assert_eq!(open.signs(&token), Ok(()));
        open.pin_state().unwrap();
        assert_eq!(front.decrypted(), [] as [&str; 0], "opening, PIN and signature unwrap nothing");
        for _ in 0..3 {
            open.negotiate_wrap(&encryption(&token)).unwrap();
        }
        let mut canaries = front.decrypted();
        assert!(!canaries.is_empty() && !canaries.contains(&hex::encode(&real)));
        let asked = canaries.len();
        canaries.sort();
        canaries.dedup();
        assert_eq!(canaries.len(), asked, "each canary is fresh");
        assert_eq!(*open.unwrap(&encryption(&token), RsaOaepSha1, &real).unwrap(), [9; 32]);
        assert_eq!(front.decrypted()[asked..], [hex::encode(&real)]);
    });
}

#[test]
fn a_key_wrapped_for_another_certificate_is_told_as_such() {
    alone(|desk| {
        let (own, other) = (desk.plug(Huixin), desk.elsewhere(Huixin));
        let open = desk.open(&own);
        open.enter_pin(&own.pin()).unwrap();
        let wrapped = wrap_to(&other.encryption_certificate, RsaOaepSha1, &[9; 32]).unwrap();
        let fault = open.unwrap(&encryption(&own), RsaOaepSha1, &wrapped).unwrap_err();
        assert_eq!(fault.code(), "token_not_for_this_key");
        assert_eq!(fault.failure_cause(), FailureCause::WrongToken);
        // Damaged, cut and empty wrappings are the same to a token.
        let mut damaged = wrap_to(&own.encryption_certificate, RsaOaepSha1, &[9; 32]).unwrap();
        damaged[100] ^= 1;
        for bad in [&damaged[..], &damaged[1..], &[]] {
            let fault = open.unwrap(&encryption(&own), RsaOaepSha1, bad).unwrap_err();
            assert_eq!(fault.code(), "token_not_for_this_key");
        }
        // A wrapped text that is no key.
        let short = wrap_to(&own.encryption_certificate, RsaOaepSha1, &[9; 31]).unwrap();
        let fault = open.unwrap(&encryption(&own), RsaOaepSha1, &short).unwrap_err();
        assert_eq!(fault.code(), "token_not_for_this_key");
        // And the token still works.
        comes_back(&open, &own, RsaOaepSha1);
    });
}

#[test]
fn a_token_that_fails_is_not_taken_for_one_that_says_no() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        let wrapped = wrap_to(&token.encryption_certificate, RsaOaepSha1, &[9; 32]).unwrap();
        for answer in ["CKR_GENERAL_ERROR", "CKR_DEVICE_ERROR", "CKR_FUNCTION_FAILED", "0x80000007"] {
            front.script(&format!("C_DecryptInit return {answer}"));
            let fault = open.unwrap(&encryption(&token), RsaOaepSha1, &wrapped).unwrap_err();
            assert!(matches!(fault, TokenFault::Vendor { .. }), "{answer}: {fault}");
            assert_eq!(fault.failure_cause(), FailureCause::TokenTrouble);
        }
        front.script("");
        comes_back(&open, &token, RsaOaepSha1);
    });
}

#[test]
fn under_pkcs1_an_ill_formed_wrapping_gives_a_random_key() {
    alone(|desk| {
        let token = desk.plug(Huixin);
        let open = desk.open(&token);
        open.enter_pin(&token.pin()).unwrap();
        comes_back(&open, &token, RsaPkcs1V15);
        let mut damaged = wrap_to(&token.encryption_certificate, RsaPkcs1V15, &[9; 32]).unwrap();
        damaged[100] ^= 1;
        let unwrap = || open.unwrap(&encryption(&token), RsaPkcs1V15, &damaged).unwrap();
        let (one, two) = (unwrap(), unwrap());
        assert!(*one != *two && *one != [9; 32]);
        // The token itself failing is no matter of padding.
        let front = desk.front(Huixin);
        front.script("C_DecryptInit return CKR_DEVICE_ERROR");
        let open = front.unlocked(&token);
        let fault = open.unwrap(&encryption(&token), RsaPkcs1V15, &damaged).unwrap_err();
        assert_eq!(fault.code(), "token_vendor_error");
    });
}

/// A module of another make altogether, which does OAEP with SHA-256 and wants words when it is initialised.
#[test]
fn a_token_of_nss_unwraps_oaep_with_sha256() {
    alone(|desk| {
        let token = desk.elsewhere(Huixin);
        let module = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"]
            .map(|folder| Path::new(folder).join("libsoftokn3.so"))
            .into_iter()
            .find(|path| path.exists())
            .expect("libsoftokn3.so is installed (package libnss3)");
        let folder = desk.folder().join("nss");
        std::fs::create_dir(&folder).unwrap();
        let init =
            format!("configdir='sql:{}' flags=noModDB dbTokenDescription='Tiangu NSS'", folder.display());
        let vendor = Vendor {
            name: "tiangu".to_owned(),
            module: module.clone(),
            root: None,
            init: Some(init),
            timeout: std::time::Duration::from_secs(60),
        };
        // Listing initialises the module with its words.
        tokens_of(&vendor).unwrap();
        furnish_nss(&module, &token);
        let listed = tokens_of(&vendor).unwrap();
        let name = listed.into_iter().find(|listed| listed.name.label == "Tiangu NSS").unwrap().name;
        let open = Pkcs11Token::open(&vendor, &name).unwrap();
        assert_eq!(open.certificates().len(), 1);
        assert_eq!(open.negotiate_wrap(&encryption(&token)).unwrap_err().code(), "pin_needed");
        open.enter_pin(&token.pin()).unwrap();
        assert_eq!(open.negotiate_wrap(&encryption(&token)), Ok(RsaOaepSha256));
        for algorithm in [RsaOaepSha256, RsaOaepSha1, RsaPkcs1V15] {
            comes_back(&open, &token, algorithm);
        }
    });
}

/// Sets the PIN of the module's token and puts the encryption key and its certificate there.
fn furnish_nss(module: &Path, token: &PracticeToken) {
    let context = Pkcs11::new(module).unwrap();
    // It is initialised already: the same file is the same module.
    context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap_err();
    let slots = context.get_slots_with_token().unwrap();
    let slot = slots
        .into_iter()
        .find(|slot| context.get_token_info(*slot).unwrap().label() == "Tiangu NSS")
        .unwrap();
    let session = context.open_rw_session(slot).unwrap();
    let digits = std::fs::read_to_string(&token.pin_file).unwrap().trim().to_owned();
    let pin = AuthPin::new(digits.clone().into());
    session.login(UserType::So, Some(&AuthPin::new(String::new().into()))).unwrap();
    session.init_pin(&pin).unwrap();
    session.logout().unwrap();
    session.login(UserType::User, Some(&pin)).unwrap();

    let store = KeyStore::from_pkcs12(&std::fs::read(&token.pkcs12).unwrap(), &digits).unwrap();
    let Some(KeyStoreEntry::PrivateKeyChain(chain)) = store.entry("encryption") else { panic!() };
    let info = PrivateKeyInfo::from_der(chain.key()).unwrap();
    let key = RsaPrivateKey::from_der(info.key.as_bytes()).unwrap();
    let number = |number: UintRef<'_>| number.as_bytes().to_vec();
    session
        .create_object(&[
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Decrypt(true),
            Attribute::Id(vec![2]),
            Attribute::Modulus(number(key.modulus)),
            Attribute::PublicExponent(number(key.public_exponent)),
            Attribute::PrivateExponent(number(key.private_exponent)),
            Attribute::Prime1(number(key.prime_1)),
            Attribute::Prime2(number(key.prime_2)),
            Attribute::Exponent1(number(key.exponent_1)),
            Attribute::Exponent2(number(key.exponent_2)),
            Attribute::Coefficient(number(key.coefficient)),
        ])
        .unwrap();
    let certificate = Certificate::from_der(&token.encryption_certificate).unwrap();
    let body = certificate.tbs_certificate();
    session
        .create_object(&[
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
            Attribute::Token(true),
            Attribute::Id(vec![2]),
            Attribute::Label(b"encryption".to_vec()),
            Attribute::Subject(body.subject().to_der().unwrap()),
            Attribute::Issuer(body.issuer().to_der().unwrap()),
            Attribute::SerialNumber(body.serial_number().to_der().unwrap()),
            Attribute::Value(token.encryption_certificate.clone()),
        ])
        .unwrap();
    session.logout().unwrap();
}

/// RFC 5208, as far as it matters here.
#[derive(Sequence)]
struct PrivateKeyInfo<'a> {
    version: u8,
    algorithm: AnyRef<'a>,
    key: &'a OctetStringRef,
}

/// RFC 8017, A.1.2.
#[derive(Sequence)]
struct RsaPrivateKey<'a> {
    version: u8,
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
    private_exponent: UintRef<'a>,
    prime_1: UintRef<'a>,
    prime_2: UintRef<'a>,
    exponent_1: UintRef<'a>,
    exponent_2: UintRef<'a>,
    coefficient: UintRef<'a>,
}
