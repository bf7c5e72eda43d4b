//! Choosing a token among those plugged in, and a certificate on it.

use std::{fs, path::Path};

use cryptoki::{
    context::Pkcs11,
    object::{Attribute, ObjectClass},
    session::UserType,
    types::AuthPin,
};
use kaibiao_bidder::{
    practice::{
        PracticeToken,
        PracticeVendor::{Huixin, Tiangu},
        TokenWish,
    },
    token::{
        Purpose, Selector, Token, TokenFault, Vendor, Vendors, certificate_for, open, pkcs11::Pkcs11Token,
    },
};
use kaibiao_protocol::bid::FailureCause;
use kaibiao_sealed::{
    digest::sha256,
    practice::Span,
    trust::{CertificateUse, Trust, VendorRoot},
};

use crate::desk::{Asked, YEAR_2026, YEAR_2027, YEAR_2060, alone, encryption, wish};

fn chosen(vendors: &Vendors, selector: &str) -> Result<Pkcs11Token, TokenFault> {
    open(vendors, &selector.parse().unwrap())
}

fn refused(vendors: &Vendors, selector: &str) -> TokenFault {
    chosen(vendors, selector).err().expect("no one token fits")
}

fn vendor_at(module: &Path) -> Vendors {
    let module = module.to_owned();
    let timeout = std::time::Duration::from_secs(60);
    let vendor = Vendor { name: "huixin".to_owned(), module, root: None, init: None, timeout };
    Vendors::new(vec![vendor]).unwrap()
}

#[test]
fn no_token_no_driver_and_no_vendor_are_three_answers() {
    alone(|desk| {
        let vendors = desk.vendors();
        let TokenFault::NoToken { vendors: asked, .. } = refused(&vendors, "label=HX-01") else { panic!() };
        assert_eq!(asked, ["huixin", "tiangu"]);
        let TokenFault::NoToken { vendors: asked, .. } = refused(&vendors, "tiangu:") else { panic!() };
        assert_eq!(asked, ["tiangu"]);

        assert_eq!(refused(&Vendors::default(), "huixin:").code(), "token_no_vendor");
        let nowhere = vendor_at(&desk.folder().join("no-such.so"));
        assert_eq!(refused(&nowhere, "huixin:").code(), "token_module_missing");
        let text = desk.folder().join("text.so");
        fs::write(&text, "not a library").unwrap();
        assert_eq!(refused(&vendor_at(&text), "huixin:").code(), "token_module_unusable");
        // A library, but of something else.
        let module = refused(&vendor_at(&std::env::current_exe().unwrap()), "huixin:");
        assert_eq!(module.code(), "token_module_unusable", "{module}");
    });
}

#[test]
fn a_token_that_is_not_there_is_told_with_those_that_are() {
    alone(|desk| {
        let there = desk.plug(Huixin);
        let missing = refused(&desk.vendors(), "huixin:label=HX-99");
        assert_eq!(missing.code(), "token_missing");
        let TokenFault::TokenMissing { present, .. } = &missing else { panic!("{missing}") };
        assert_eq!(present.len(), 1);
        assert!(present[0].starts_with(&format!("huixin:label={},serial=", there.label)));
    });
}

#[test]
fn two_tokens_plugged_in_are_told_apart_by_label_serial_and_certificate() {
    alone(|desk| {
        let (one, two) = (desk.plug(Huixin), desk.plug(Huixin));
        let vendors = desk.vendors();
        let TokenFault::SeveralTokens { candidates, .. } = refused(&vendors, "huixin:") else { panic!() };
        assert_eq!(candidates.len(), 2);
        let certificate = encryption(&two).to_string();
        for selector in [
            two.selector.as_ref().unwrap().to_string(),
            format!("label={}", two.label),
            format!("huixin:cert={}", &certificate[..8]),
            format!("cert={certificate}"),
        ] {
            let open = chosen(&vendors, &selector).unwrap();
            assert_eq!(open.name().label, two.label, "{selector}");
            assert_eq!(Selector::naming(open.name()), *two.selector.as_ref().unwrap());
        }
        // No certificate of either, though both are there.
        let TokenFault::TokenMissing { present, .. } = refused(&vendors, "cert=00000000") else { panic!() };
        assert_eq!(present.len(), 2);
        let open = desk.open(&one);
        open.enter_pin(&one.pin()).unwrap();
        assert_eq!(open.signs(&one), Ok(()));
    });
}

#[test]
fn of_two_tokens_with_one_label_the_serial_number_or_the_certificate_decides() {
    alone(|desk| {
        let same = TokenWish { label: Some("公司锁"), ..wish(Huixin) };
        let (one, two) = (desk.plug_as(&same), desk.plug_as(&same));
        assert_ne!(one.selector, two.selector);
        let vendors = desk.vendors();
        let TokenFault::SeveralTokens { candidates, .. } = refused(&vendors, "label=公司锁") else {
            panic!()
        };
        assert!(candidates[0] != candidates[1] && candidates[0].contains(",serial="));
        for token in [&one, &two] {
            let by_serial = open(&vendors, token.selector.as_ref().unwrap()).unwrap();
            let by_certificate = chosen(&vendors, &format!("cert={}", encryption(token))).unwrap();
            assert_eq!(by_serial.name(), by_certificate.name());
            // The PIN of the one is not the PIN of the other.
            by_serial.enter_pin(&token.pin()).unwrap();
            assert_eq!(by_certificate.signs(token), Ok(()));
        }
    });
}

#[test]
fn two_vendors_work_at_once_each_under_its_own_root() {
    alone(|desk| {
        let tokens = [desk.plug(Huixin), desk.plug(Tiangu)];
        let vendors = desk.vendors();
        let roots: Vec<_> = vendors
            .iter()
            .map(|vendor| VendorRoot {
                vendor: vendor.name.clone(),
                root: vendor.root_der().unwrap().unwrap(),
                intermediates: Vec::new(),
                revocation_lists: Vec::new(),
            })
            .collect();
        let trust = Trust::new(roots).unwrap();
        // Each vendor's module sees its own token only.
        let open = ["huixin:", "tiangu:"].map(|selector| chosen(&vendors, selector).unwrap());
        for (open, token) in open.iter().zip(&tokens) {
            open.enter_pin(&token.pin()).unwrap();
        }
        for (open, token) in open.iter().zip(&tokens) {
            assert_eq!(open.signs(token), Ok(()));
            let judged = trust.judge(&token.signing_certificate, CertificateUse::Sign, YEAR_2027).unwrap();
            assert_eq!(judged.vendor, token.vendor.name());
            let algorithm = open.negotiate_wrap(&encryption(token)).unwrap();
            let wrapped =
                kaibiao_sealed::wrap::wrap_to(&token.encryption_certificate, algorithm, &[9; 32]).unwrap();
            assert_eq!(*open.unwrap(&encryption(token), algorithm, &wrapped).unwrap(), [9; 32]);
        }
        assert_eq!(open[0].signs(&tokens[1]).unwrap_err().code(), "token_wrong");
    });
}

#[test]
fn a_vendor_whose_driver_is_missing_hides_nobody_elses_token() {
    alone(|desk| {
        let token = desk.plug(Tiangu);
        let mut vendors: Vec<_> = desk.vendors().iter().cloned().collect();
        vendors[0].module = desk.folder().join("no-such.so");
        let vendors = Vendors::new(vendors).unwrap();
        assert_eq!(chosen(&vendors, &format!("label={}", token.label)).unwrap().name().vendor, "tiangu");
        // Not found among the others: then the driver that is missing may be why.
        let missing = refused(&vendors, "label=HX-01");
        assert_eq!(missing.code(), "token_missing");
        assert!(missing.to_string().contains("driver of huixin is not installed"), "{missing}");
        assert!(missing.say_zh().contains("未安装 huixin 的 CA 锁驱动"));
    });
}

#[test]
fn a_wrong_token_is_told_before_any_pin_is_asked() {
    alone(|desk| {
        let (sealed_with, brought) = (desk.elsewhere(Huixin), desk.plug(Huixin));
        let open = desk.open(&brought);
        let fault = open.certificate(&encryption(&sealed_with)).unwrap_err();
        assert_eq!((fault.code(), fault.failure_cause()), ("token_wrong", FailureCause::WrongToken));
        assert!(fault.say_zh().contains("可能插错了锁"));
        let again =
            open.unwrap(&encryption(&sealed_with), kaibiao_sealed::wrap::WrapAlgorithm::RsaOaepSha1, &[]);
        assert_eq!(again.unwrap_err(), fault);
    });
}

#[test]
fn a_certificate_without_its_key_makes_a_wrong_token_too() {
    alone(|desk| {
        let token = desk.plug(Huixin);
        let open = desk.open(&token);
        open.enter_pin(&token.pin()).unwrap();
        assert_eq!(open.signs(&token), Ok(()));
        remove_keys(&desk.folder().join("huixin/libhuixin_p11.so"), &token);
        let fault = open.signs(&token).unwrap_err();
        assert_eq!(fault.code(), "token_wrong");
    });
}

/// Destroys every private key on the one token plugged in, which is open in this process already.
fn remove_keys(module: &Path, token: &PracticeToken) {
    let context = Pkcs11::new(module).unwrap();
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    let session = context.open_rw_session(slot).unwrap();
    let pin = fs::read_to_string(&token.pin_file).unwrap().trim().to_owned();
    // The PIN was entered for the whole process.
    session.login(UserType::User, Some(&AuthPin::new(pin.into()))).unwrap_err();
    for key in session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap() {
        session.destroy_object(key).unwrap();
    }
}

#[test]
fn a_certificate_is_taken_by_purpose_validity_and_name() {
    alone(|desk| {
        let old = Span { from: YEAR_2026, until: YEAR_2027 };
        let token = desk.plug_as(&TokenWish { valid: Some(old), ..wish(Huixin) });
        let open = desk.open(&token);
        let signing = sha256(&token.signing_certificate);
        let taken = |purpose, at| certificate_for(&open, purpose, None, at).map(|held| held.fingerprint);
        assert_eq!(taken(Purpose::Signing, YEAR_2026), Ok(signing));
        assert_eq!(taken(Purpose::Encryption, YEAR_2027), Ok(encryption(&token)));

        let expired = taken(Purpose::Encryption, YEAR_2027.plus_ms(1)).unwrap_err();
        assert_eq!(expired.code(), "token_certificate_expired");
        assert!(
            expired.say_zh().contains("已于 2027-01-01 08:00:00（北京时间）到期"),
            "{}",
            expired.say_zh()
        );
        let early = taken(Purpose::Signing, YEAR_2026.plus_ms(-1)).unwrap_err();
        assert_eq!(early.code(), "token_certificate_not_yet_valid");
        let held = open.certificate(&signing).unwrap();
        assert!(held.runs_out_before(YEAR_2060) && !held.runs_out_before(YEAR_2027));

        // Naming one does not make it serve what it is not for, or outlive itself.
        let named = |purpose, at| certificate_for(&open, purpose, Some(&signing), at);
        assert_eq!(named(Purpose::Signing, YEAR_2026).unwrap().fingerprint, signing);
        assert_eq!(named(Purpose::Encryption, YEAR_2026).unwrap_err().code(), "token_no_certificate");
        assert_eq!(named(Purpose::Signing, YEAR_2060).unwrap_err().code(), "token_certificate_expired");

        // A bid sealed in time is unsealed after its certificate has run out: no date is asked there.
        open.enter_pin(&token.pin()).unwrap();
        assert_eq!(open.signs(&token), Ok(()));
    });
}
