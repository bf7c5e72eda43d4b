//! Secrets stay where they belong.

use std::{
    io::{Seek as _, Write as _},
    os::fd::AsRawFd as _,
};

use kaibiao_bidder::{
    practice::PracticeVendor::Huixin,
    token::{Pin, PinSource, Token, TokenFault, keep_out_of_dumps, pkcs12::Pkcs12Token},
};
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

use crate::desk::alone;

/// A PIN that can be found wherever it should not be.
const CANARY: &str = "canary-PIN-58-17";

fn canary() -> Pin {
    Pin::new(CANARY.as_bytes().to_vec().into())
}

#[test]
fn no_fault_tells_the_pin_that_was_entered() {
    alone(|desk| {
        let (front, token) = (desk.front(Huixin), desk.plug(Huixin));
        let open = front.open(&token);
        let mut faults: Vec<TokenFault> = Vec::new();
        for script in [
            "",
            "flags last_try",
            "tries 1",
            "C_Login return CKR_PIN_LOCKED",
            "C_Login return CKR_PIN_EXPIRED",
            "C_Login return 0x800000aa",
            "C_Login pull CKR_DEVICE_REMOVED",
        ] {
            front.script(script);
            faults.push(open.enter_pin(&canary()).unwrap_err());
        }
        front.script("");
        let long = Pin::new(CANARY.repeat(20).into_bytes().into());
        faults.push(open.enter_pin(&long).unwrap_err());
        faults.push(Pkcs12Token::open(&token.pkcs12, &canary()).err().unwrap());
        let codes: Vec<_> = faults.iter().map(TokenFault::code).collect();
        assert_eq!(
            codes,
            [
                "pin_wrong",
                "pin_wrong",
                "pin_locked",
                "pin_locked",
                "pin_expired",
                "token_vendor_error",
                "token_pulled",
                "pin_length",
                "pkcs12_wrong_password"
            ]
        );
        for fault in faults {
            let told = [fault.to_string(), format!("{fault:?}"), fault.say_zh(), fault.seen()];
            let (en, zh) = fault.next_step();
            for text in told.iter().map(String::as_str).chain([en, zh]) {
                assert!(!text.is_empty() && !text.contains("canary") && !text.contains("58-17"), "{text}");
            }
        }
        assert!(!front.audit().concat().contains("canary"));
    });
}

#[test]
fn a_process_that_enters_pins_leaves_no_dump_and_still_reads_descriptors() {
    alone(|_| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"123456\nrest").unwrap();
        file.rewind().unwrap();
        keep_out_of_dumps().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        let number = u32::try_from(file.as_raw_fd()).unwrap();
        assert!(PinSource::Descriptor(number).read("PIN").is_ok());
        drop(file);
        let fault = PinSource::Descriptor(number).read("PIN").err().unwrap();
        assert!(fault.to_string().contains("cannot read the PIN from descriptor"), "{fault}");
        assert!(PinSource::Descriptor(u32::MAX).read("PIN").is_err());
    });
}
