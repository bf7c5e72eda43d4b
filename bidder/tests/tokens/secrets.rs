//! Secrets stay where they belong.

use std::{
    env,
    io::{Read, Seek as _, Write as _},
    os::fd::AsRawFd as _,
    path::Path,
    process::{Command, Stdio},
};

use kaibiao_bidder::{
    practice::{PracticeVendor::Huixin, TokenKind, TokenShop},
    token::{Pin, PinFault, PinSource, Token, TokenFault, keep_out_of_dumps, pkcs12::Pkcs12Token},
};
use kaibiao_sealed::practice::Span;
use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};

use crate::desk::{YEAR_2026, YEAR_2060, alone, key_pool};

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

/// Told to the process that asks at the terminal: the PKCS#12 file that what was typed must open.
const TYPED_FOR: &str = "KAIBIAO_TEST_TYPED_FOR";

#[test]
fn a_pin_typed_at_the_terminal_is_not_shown() {
    if let Some(file) = env::var_os(TYPED_FOR) {
        match PinSource::Prompt.read("PIN of HX-01") {
            Ok(typed) => println!("opened: {}", Pkcs12Token::open(Path::new(&file), &typed).is_ok()),
            Err(PinFault::Cancelled) => println!("cancelled"),
            Err(fault) => println!("fault: {fault}"),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let span = Span { from: YEAR_2026, until: YEAR_2060 };
    let mut shop = TokenShop::with_keys(folder.path(), TokenKind::Files, span, key_pool()).unwrap();
    let token = shop.add_supplier("明德家具有限公司", Huixin).unwrap();
    let pin = std::fs::read_to_string(&token.pin_file).unwrap().trim().to_owned();
    for (typed, outcome) in [
        (format!("{pin}\r"), "opened: true"),
        // Backspace takes one letter back, Ctrl-U all.
        (format!("{pin}7\u{7f}\r"), "opened: true"),
        (format!("777\u{15}{pin}\r"), "opened: true"),
        (format!("{pin}7\r"), "opened: false"),
        (format!("{pin}\u{3}"), "cancelled"),
        ("\r".to_owned(), "fault: the PIN read from the terminal is empty"),
    ] {
        let shown = at_a_terminal(&token.pkcs12, &typed);
        assert!(shown.contains(outcome), "{shown}");
        assert!(!shown.contains(&pin) && !shown.contains("777"), "{shown}");
    }
}

/// Plays the other half of the test at a terminal (of util-linux's `script`) and types there once it is asked.
/// Returns all that the terminal showed.
fn at_a_terminal(file: &Path, typed: &str) -> String {
    let own = env::current_exe().unwrap();
    let story = "secrets::a_pin_typed_at_the_terminal_is_not_shown --exact --nocapture";
    let mut terminal = Command::new("script")
        .args(["-q", "-e", "-c", &format!("{} {story}", own.display()), "/dev/null"])
        .env(TYPED_FOR, file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` of util-linux is installed");
    let (mut keyboard, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut piece = [0; 1024];
    while !String::from_utf8_lossy(&shown).contains("PIN of HX-01: ") {
        let read = screen.read(&mut piece).unwrap();
        assert!(read > 0, "nobody asked: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&piece[..read]);
    }
    keyboard.write_all(typed.as_bytes()).unwrap();
    // The keyboard stays until all is shown: `script` ends its terminal when its input ends.
    screen.read_to_end(&mut shown).unwrap();
    drop(keyboard);
    assert!(terminal.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}
