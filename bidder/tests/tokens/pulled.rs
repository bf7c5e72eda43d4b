//! Tokens that go away, come back elsewhere, hang or fail.

use std::time::Duration;

use kaibiao_bidder::{
    practice::PracticeVendor::{Huixin, Tiangu},
    token::{Token, TokenFault, Vendor, Vendors, open, pkcs11::tokens_of},
};
use kaibiao_protocol::bid::FailureCause;
use kaibiao_sealed::wrap::{WrapAlgorithm, wrap_to};

use crate::desk::{Asked, Front, alone, encryption};

/// As long as a story waits for what never comes.
const SHORT: Duration = Duration::from_secs(2);

fn impatient(front: &Front) -> Vendor {
    Vendor { timeout: SHORT, ..front.vendor.clone() }
}

#[test]
fn a_token_pulled_during_a_call_is_told_and_wants_its_pin_again() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        assert_eq!(open.signs(&token), Ok(()));
        // Modules differ in what they answer when that happens.
        for answer in ["CKR_DEVICE_REMOVED", "CKR_FUNCTION_FAILED", "CKR_DEVICE_ERROR", "0x80000001"] {
            front.script(&format!("C_Sign pull {answer}"));
            let pulled = open.signs(&token).unwrap_err();
            assert_eq!(pulled.code(), "token_pulled", "{answer}");
            assert!(pulled.may_pass());
            assert_eq!(open.signs(&token).unwrap_err().code(), "token_none_present", "{answer}");
            front.script("");
            assert_eq!(open.signs(&token).unwrap_err().code(), "pin_needed", "{answer}");
            open.enter_pin(&token.pin()).unwrap();
            assert_eq!(open.signs(&token), Ok(()));
        }
    });
}

#[test]
fn a_token_pulled_while_it_unwraps_is_not_taken_for_a_wrong_token() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        for algorithm in [WrapAlgorithm::RsaOaepSha1, WrapAlgorithm::RsaPkcs1V15] {
            let wrapped = wrap_to(&token.encryption_certificate, algorithm, &[9; 32]).unwrap();
            for answer in ["CKR_TOKEN_NOT_PRESENT", "CKR_GENERAL_ERROR", "CKR_ENCRYPTED_DATA_INVALID"] {
                front.script(&format!("C_Decrypt pull {answer}"));
                let pulled = open.unwrap(&encryption(&token), algorithm, &wrapped).unwrap_err();
                assert_eq!(
                    (pulled.code(), pulled.failure_cause()),
                    ("token_pulled", FailureCause::TokenTrouble)
                );
                front.script("");
                open.enter_pin(&token.pin()).unwrap();
                assert_eq!(*open.unwrap(&encryption(&token), algorithm, &wrapped).unwrap(), [9; 32]);
            }
        }
    });
}

#[test]
fn a_token_pulled_and_plugged_in_between_two_calls_wants_its_pin_again() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        let away_and_back = || {
            front.script("absent");
            assert_eq!(tokens_of(&front.vendor).unwrap(), []);
            front.script("");
        };
        away_and_back();
        assert!(!open.pin_state().unwrap().entered);
        open.enter_pin(&token.pin()).unwrap();
        away_and_back();
        assert_eq!(open.signs(&token).unwrap_err().code(), "token_pulled");
        open.enter_pin(&token.pin()).unwrap();
        assert_eq!(open.signs(&token), Ok(()));
    });
}

#[test]
fn a_token_that_was_there_a_moment_ago_is_told_as_pulled() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        front.script("absent");
        assert_eq!(open.pin_state().unwrap_err().code(), "token_pulled");
        assert_eq!(open.pin_state().unwrap_err().code(), "token_none_present");
    });
}

#[test]
fn slots_may_be_renumbered_at_every_look() {
    alone(|desk| {
        let (front, one, two) = (desk.front(Huixin), desk.plug(Huixin), desk.plug(Huixin));
        front.script("rotate");
        let (first, second) = (front.unlocked(&one), front.unlocked(&two));
        front.script("rotate\nflags few_left");
        for _ in 0..5 {
            assert_eq!(first.signs(&one), Ok(()));
            assert_eq!(second.signs(&two), Ok(()));
            assert!(first.pin_state().unwrap().entered && second.pin_state().unwrap().entered);
        }
        assert_eq!(front.logins(), 2);
    });
}

#[test]
fn a_session_that_reached_another_token_is_not_used() {
    alone(|desk| {
        let (front, one, _two) = (desk.front(Huixin), desk.plug(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&one);
        front.script("C_OpenSession elsewhere");
        assert_eq!(open.signs(&one).unwrap_err().code(), "token_pulled");
        let afresh = kaibiao_bidder::token::open(&front.vendors(), one.selector.as_ref().unwrap());
        assert_eq!(afresh.err().unwrap().code(), "token_pulled");
        front.script("");
        assert_eq!(open.signs(&one), Ok(()));
        assert_eq!(front.logins(), 1);
    });
}

#[test]
fn a_call_that_hangs_is_given_up_and_the_token_goes_on() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let vendors = Vendors::new(vec![impatient(&front)]).unwrap();
        let open = open(&vendors, token.selector.as_ref().unwrap()).unwrap();
        open.enter_pin(&token.pin()).unwrap();
        front.script("C_Sign hang");
        let hung = open.signs(&token).unwrap_err();
        assert_eq!(hung.code(), "token_timed_out");
        assert!(hung.to_string().contains("did not answer within 2 s during signing"), "{hung}");
        front.script("");
        assert_eq!(open.signs(&token), Ok(()));
    });
}

#[test]
fn a_driver_that_hangs_does_not_hold_up_another_vendors_token() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Tiangu));
        front.script("C_Initialize hang");
        let tiangu = desk.vendors().iter().find(|vendor| vendor.name == "tiangu").unwrap().clone();
        let vendors = Vendors::new(vec![impatient(&front), tiangu]).unwrap();
        // Named without its vendor, so that both must be asked.
        let label = format!("label={}", token.label).parse().unwrap();
        let open = open(&vendors, &label).unwrap();
        open.enter_pin(&token.pin()).unwrap();
        assert_eq!(open.signs(&token), Ok(()));
        let hung = kaibiao_bidder::token::open(&vendors, &"huixin:".parse().unwrap()).err().unwrap();
        assert_eq!(hung.code(), "token_timed_out");
    });
}

#[test]
fn a_modules_own_failure_is_told_by_function_and_value() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        for (answer, code) in [
            ("0x80000101", "CKR_VENDOR_DEFINED 0x80000101"),
            ("CKR_GENERAL_ERROR", "CKR_GENERAL_ERROR"),
            ("CKR_FUNCTION_FAILED", "CKR_FUNCTION_FAILED"),
        ] {
            front.script(&format!("C_Sign return {answer}"));
            let TokenFault::Vendor { call, code: told, .. } = open.signs(&token).unwrap_err() else {
                panic!("{answer}")
            };
            assert_eq!((call.as_str(), told.as_str()), ("C_Sign", code));
        }
        front.script("");
        // Half-done signatures are left behind in the module; they hinder nothing, and the PIN stays entered.
        assert_eq!(open.signs(&token), Ok(()));
        assert_eq!(front.logins(), 1);
    });
}

#[test]
fn a_driver_that_cannot_start_is_told() {
    alone(|desk| {
        let front = desk.front(Huixin);
        front.script("C_Initialize return CKR_GENERAL_ERROR");
        let TokenFault::Vendor { who, call, .. } = tokens_of(&front.vendor).unwrap_err() else { panic!() };
        assert_eq!((who.as_str(), call.as_str()), ("huixin", "C_Initialize"));
        front.script("C_GetSlotList return CKR_DEVICE_ERROR");
        let TokenFault::Vendor { call, .. } = tokens_of(&front.vendor).unwrap_err() else { panic!() };
        assert_eq!(call, "C_GetSlotList");
        front.script("");
        assert_eq!(tokens_of(&front.vendor), Ok(vec![]));
    });
}

#[test]
fn a_signature_that_does_not_fit_its_certificate_never_leaves() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.unlocked(&token);
        front.script("C_Sign spoil");
        assert_eq!(open.signs(&token).unwrap_err().code(), "token_bad_signature");
        // A token that cannot hash signs a digest made here.
        let (front, token) = (desk.front(Tiangu), desk.plug(Tiangu));
        front.script("sign raw");
        assert_eq!(front.unlocked(&token).signs(&token), Ok(()));
    });
}
