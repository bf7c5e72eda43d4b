//! PKCS#12 files.

use std::{fs, path::Path};

use kaibiao_bidder::{
    practice::{PracticeToken, PracticeVendor::Huixin, TokenKind, TokenShop},
    token::{Pin, Purpose, Token, TokenFault, certificate_for, pkcs12::Pkcs12Token},
};
use kaibiao_sealed::{
    practice::{PracticeCa, Span, Usage},
    wrap::{WrapAlgorithm, wrap_to},
};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKeyChain};
use tempfile::TempDir;

use crate::desk::{Asked, YEAR_2026, YEAR_2027, YEAR_2060, encryption, key_pool};

const SPAN: Span = Span { from: YEAR_2026, until: YEAR_2060 };

fn shop() -> (TempDir, PracticeToken) {
    let folder = tempfile::tempdir().unwrap();
    let mut shop = TokenShop::with_keys(folder.path(), TokenKind::Files, SPAN, key_pool()).unwrap();
    let token = shop.add_supplier("明德家具有限公司", Huixin).unwrap();
    assert!(token.selector.is_none() && token.desk.environment.is_empty());
    (folder, token)
}

fn password(text: &str) -> Pin {
    Pin::new(text.as_bytes().to_vec().into())
}

fn refused(path: &Path, with: &str) -> TokenFault {
    Pkcs12Token::open(path, &password(with)).err().expect("it cannot be opened")
}

#[test]
fn a_pkcs12_file_does_what_a_token_does() {
    let (_folder, token) = shop();
    let opened = Pkcs12Token::open(&token.pkcs12, &token.pin()).unwrap();
    for held in [&opened, &token.in_memory().unwrap()] {
        assert_eq!(held.name().vendor, "file");
        assert_eq!(held.certificates().len(), 2);
        assert!(held.pin_state().unwrap().entered);
        assert_eq!(held.signs(&token), Ok(()));
        let taken = certificate_for(held, Purpose::Encryption, None, YEAR_2027).unwrap();
        assert_eq!(taken.fingerprint, encryption(&token));
        assert_eq!(held.negotiate_wrap(&taken.fingerprint), Ok(WrapAlgorithm::RsaOaepSha256));
        for algorithm in
            [WrapAlgorithm::RsaOaepSha256, WrapAlgorithm::RsaOaepSha1, WrapAlgorithm::RsaPkcs1V15]
        {
            let wrapped = wrap_to(&token.encryption_certificate, algorithm, &[9; 32]).unwrap();
            assert_eq!(*held.unwrap(&taken.fingerprint, algorithm, &wrapped).unwrap(), [9; 32]);
            let mut damaged = wrapped;
            damaged[9] ^= 1;
            match held.unwrap(&taken.fingerprint, algorithm, &damaged) {
                Ok(random) => assert!(algorithm == WrapAlgorithm::RsaPkcs1V15 && *random != [9; 32]),
                Err(fault) => assert_eq!(fault.code(), "token_not_for_this_key"),
            }
        }
    }
}

#[test]
fn a_wrong_password_and_a_file_that_is_none_are_two_answers() {
    let (folder, token) = shop();
    for wrong in ["", "000000", "密码"] {
        assert_eq!(refused(&token.pkcs12, wrong).code(), "pkcs12_wrong_password");
    }
    let invalid = Pin::new(vec![0xff, 0xfe].into());
    assert_eq!(Pkcs12Token::open(&token.pkcs12, &invalid).err().unwrap().code(), "pkcs12_wrong_password");

    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(&token.pkcs12).unwrap();
    for (name, bytes) in [
        ("empty.p12", &[][..]),
        ("text.p12", b"not a PKCS#12 file"),
        ("cut.p12", &whole[..whole.len() / 2]),
        ("certificate.p12", &token.signing_certificate),
        ("large.p12", &vec![0; 1024 * 1024 + 1]),
    ] {
        assert_eq!(refused(&file(name, bytes), "000000").code(), "pkcs12_malformed", "{name}");
    }
    assert_eq!(refused(&folder.path().join("no-such.p12"), "000000").code(), "pkcs12_unreadable");
    assert_eq!(refused(folder.path(), "000000").code(), "pkcs12_unreadable");
}

#[test]
fn a_file_without_an_rsa_key_is_told_and_an_elliptic_key_beside_one_does_not_matter() {
    let (folder, token) = shop();
    let elliptic = elliptic_key();
    let ca = PracticeCa::new("Huixin", YEAR_2026, YEAR_2060).unwrap();
    let (_, certificate) = ca.issue_next("CN=椭圆", &elliptic.1, Usage::Both, SPAN).unwrap();
    let chain = |key: &[u8], certificate: &[u8], id: &str| {
        let certificate = Certificate::from_der(certificate).unwrap();
        KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(key, id, [certificate]))
    };
    let write = |name: &str, entries: Vec<(&str, KeyStoreEntry)>| {
        let mut store = KeyStore::new();
        for (alias, entry) in entries {
            store.add_entry(alias, entry);
        }
        let path = folder.path().join(name);
        fs::write(&path, store.writer("123456").write().unwrap()).unwrap();
        path
    };

    let alone = write("ec.p12", vec![("ec", chain(&elliptic.0, &certificate, "ec"))]);
    let fault = refused(&alone, "123456");
    assert_eq!(fault.code(), "pkcs12_malformed");
    assert!(fault.to_string().contains("is not RSA"), "{fault}");

    let root = Certificate::from_der(ca.root()).unwrap();
    let none = write("none.p12", vec![("root", KeyStoreEntry::Certificate(root))]);
    assert!(refused(&none, "123456").to_string().contains("no private key"));

    let store = KeyStore::from_pkcs12(
        &fs::read(&token.pkcs12).unwrap(),
        fs::read_to_string(&token.pin_file).unwrap().trim(),
    );
    let rsa = store.unwrap().entry("signing").unwrap().clone();
    let both = write("both.p12", vec![("ec", chain(&elliptic.0, &certificate, "ec")), ("rsa", rsa)]);
    let opened = Pkcs12Token::open(&both, &password("123456")).unwrap();
    assert_eq!(opened.certificates().len(), 1);
    assert_eq!(opened.signs(&token), Ok(()));
}

/// A P-256 key: PKCS#8 and SubjectPublicKeyInfo.
fn elliptic_key() -> (Vec<u8>, Vec<u8>) {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
    };
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).unwrap();
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
    (pkcs8.as_ref().to_vec(), public.as_ref().to_vec())
}
