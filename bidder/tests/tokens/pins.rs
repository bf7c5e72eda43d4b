//! The PIN: entered once, wrong, running out, locked.

use kaibiao_bidder::{
    practice::PracticeVendor::Huixin,
    token::{Pin, PinTries, Token, TokenFault, pkcs11::tokens_of},
};

use crate::desk::{Asked, alone};

fn pin(digits: &str) -> Pin {
    Pin::new(digits.as_bytes().to_vec().into())
}

#[test]
fn the_pin_is_entered_once_for_a_process() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.open(&token);
        assert!(!open.pin_state().unwrap().entered);
        open.enter_pin(&token.pin()).unwrap();
        assert!(open.pin_state().unwrap().entered);
        // A second time does nothing, even with a wrong PIN; and the same token opened again knows.
        open.enter_pin(&pin("000000")).unwrap();
        let again = front.open(&token);
        again.enter_pin(&pin("000000")).unwrap();
        assert_eq!((open.signs(&token), again.signs(&token)), (Ok(()), Ok(())));
        assert_eq!(front.logins(), 1);
    });
}

#[test]
fn without_its_pin_a_token_signs_and_unwraps_nothing() {
    alone(|desk| {
        let token = desk.plug(Huixin);
        let open = desk.open(&token);
        assert_eq!(open.signs(&token).unwrap_err().code(), "pin_needed");
        let encryption = crate::desk::encryption(&token);
        assert_eq!(open.negotiate_wrap(&encryption).unwrap_err().code(), "pin_needed");
    });
}

#[test]
fn a_wrong_pin_is_told_and_the_right_one_still_works() {
    alone(|desk| {
        let token = desk.plug(Huixin);
        let open = desk.open(&token);
        assert_eq!(open.pin_state().unwrap().tries, PinTries::Enough);
        // SoftHSM raises the flag after a wrong PIN and never locks.
        let TokenFault::WrongPin { tries: PinTries::FewLeft, .. } =
            open.enter_pin(&pin("000000")).unwrap_err()
        else {
            panic!("a wrong PIN is told as a wrong PIN")
        };
        open.enter_pin(&token.pin()).unwrap();
        assert_eq!(open.pin_state().unwrap().tries, PinTries::Enough);
        assert_eq!(open.signs(&token), Ok(()));
    });
}

#[test]
fn wrong_pins_run_out_few_then_the_last_then_locked() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        front.script("tries 3");
        let open = front.open(&token);
        let wrong = || open.enter_pin(&pin("000000")).unwrap_err();
        let TokenFault::WrongPin { tries: PinTries::FewLeft, .. } = wrong() else { panic!("first") };
        let last = wrong();
        let TokenFault::WrongPin { tries: PinTries::LastTry, .. } = last else { panic!("second") };
        assert!(last.to_string().contains("one try is left") && last.say_zh().contains("只剩最后一次"));
        assert_eq!(wrong().code(), "pin_locked");
        // Not even the right PIN is tried on a locked token: it heard three.
        assert_eq!(open.enter_pin(&token.pin()).unwrap_err().code(), "pin_locked");
        assert_eq!(front.logins(), 3);
    });
}

#[test]
fn the_flags_are_told_as_the_token_tells_them() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.open(&token);
        for (flags, tries) in [
            ("", PinTries::Enough),
            ("flags few_left", PinTries::FewLeft),
            ("flags last_try", PinTries::LastTry),
            ("flags locked", PinTries::Locked),
        ] {
            front.script(flags);
            assert_eq!(open.pin_state().unwrap().tries, tries, "{flags}");
            assert_eq!(tokens_of(&front.vendor).unwrap()[0].tries, tries, "{flags}");
        }
        assert_eq!(open.enter_pin(&token.pin()).unwrap_err().code(), "pin_locked");
        assert_eq!(front.logins(), 0);
    });
}

#[test]
fn what_the_token_answers_to_a_pin_is_told() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.open(&token);
        for (answer, code) in [
            ("CKR_PIN_LOCKED", "pin_locked"),
            ("CKR_PIN_EXPIRED", "pin_expired"),
            ("CKR_DEVICE_REMOVED", "token_pulled"),
            ("0x80000013", "token_vendor_error"),
        ] {
            front.script(&format!("C_Login return {answer}"));
            assert_eq!(open.enter_pin(&token.pin()).unwrap_err().code(), code, "{answer}");
        }
        front.script("");
        open.enter_pin(&token.pin()).unwrap();
    });
}

#[test]
fn a_pin_that_cannot_be_right_is_not_tried() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.open(&token);
        for impossible in ["", "123", &"1".repeat(300)] {
            assert_eq!(open.enter_pin(&pin(impossible)).unwrap_err().code(), "pin_length");
        }
        assert_eq!(front.logins(), 0);
    });
}
