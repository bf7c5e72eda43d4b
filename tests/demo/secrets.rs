//! What only a supplier may know, and the search for it.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use kaibiao_bidder::backup::Backup;

use crate::played::{LATE, NO_SHOW, Played, REPLACES, WITHDRAWS, WRONG_TOKEN};

/// Bytes by which a secret is looked up; no secret but a PIN is shorter.
const HEAD: usize = 8;

/// Secrets by their first bytes, and PINs, which are too short for that.
#[derive(Default)]
pub(crate) struct Secrets {
    by_head: HashMap<[u8; HEAD], Vec<(String, Vec<u8>)>>,
    pins: Vec<(String, Vec<u8>)>,
}

/// Every secret of a demo's suppliers: PINs, passwords, bid keys and the keys of their parts, the documents, and the
/// prices of bids that were never opened.
pub(crate) fn of(played: &Played) -> Secrets {
    let mut all = Secrets::default();
    for file in played.walk("tokens") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let line = || fs::read_to_string(&file).unwrap().trim().as_bytes().to_vec();
        match file.extension().and_then(|end| end.to_str()) {
            Some("pin") => all.pins.push((format!("PIN {name}"), line())),
            Some("password") => all.add(&format!("password {name}"), &line(), false),
            _ => {}
        }
    }
    for name in played.names("bids").filter(|name| name.ends_with(".bfbs")) {
        let of = name.trim_end_matches(".bfbs");
        let backup = Backup::open(&played.path(&format!("bids/{name}")), None).unwrap();
        all.add(&format!("bid key of {of}"), backup.key().expose(), true);
        for part in backup.header.binding.parts() {
            let key = backup.key().part_key(&backup.header.binding_digest, part);
            all.add(&format!("{part} key of {of}"), key.expose(), true);
        }
        // From the middle of each document, where no two of a demo are alike.
        for file in played.walk(&format!("papers/{of}")) {
            let bytes = fs::read(&file).unwrap();
            if bytes.starts_with(b"%PDF-") {
                let middle = bytes.len() / 2;
                all.add(&format!("document of {of}"), &bytes[middle..middle + 64], false);
            }
        }
    }
    // Of the one that was replaced it is the first bid that stayed sealed.
    for of in [WITHDRAWS, REPLACES, NO_SHOW, WRONG_TOKEN, LATE] {
        let sheets = played.json(&format!("papers/{of}/sheet.json"));
        for sheet in sheets["lots"].as_object().unwrap().values() {
            let price = sheet["price"].as_str().map(str::to_owned).unwrap_or_else(|| panic!("{sheet}"));
            all.add(&format!("price of {of}"), format!("\"{price}\"").as_bytes(), false);
        }
    }
    all
}

impl Secrets {
    /// A secret as it is; of a key also as hexadecimal and base64 would write it.
    fn add(&mut self, what: &str, bytes: &[u8], is_key: bool) {
        let mut forms = vec![bytes.to_vec()];
        if is_key {
            forms.extend(
                [hex::encode(bytes), hex::encode_upper(bytes), STANDARD.encode(bytes)]
                    .map(String::into_bytes),
            );
            // Within longer base64 a key may begin at any of three places; what does not depend on its neighbours is
            // looked for.
            forms.extend((1..3).map(|at| {
                let text = STANDARD_NO_PAD.encode([&vec![0; at], bytes].concat());
                text.as_bytes()[4..text.len() - 4].to_vec()
            }));
        }
        for form in forms {
            let head = form[..HEAD].try_into().unwrap();
            self.by_head.entry(head).or_default().push((what.to_owned(), form));
        }
    }

    /// How many there are, each form counted.
    pub(crate) fn len(&self) -> usize {
        self.by_head.values().map(Vec::len).sum::<usize>() + self.pins.len()
    }

    /// Which of them are in these bytes.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, window) in bytes.windows(HEAD).enumerate() {
            let head: &[u8; HEAD] = window.try_into().unwrap();
            for (what, secret) in self.by_head.get(head).into_iter().flatten() {
                if bytes[at..].starts_with(secret) {
                    found.insert(what.clone());
                }
            }
        }
        for (what, pin) in &self.pins {
            if holds_number(bytes, pin) {
                found.insert(what.clone());
            }
        }
        found
    }

    /// One form of each, to try the search on.
    pub(crate) fn samples(&self) -> Vec<(String, Vec<u8>)> {
        self.by_head.values().flatten().chain(&self.pins).cloned().collect()
    }
}

/// Whether the digits stand there as a number of their own: six digits within a longer number are chance, and so is the
/// fraction of a second.
fn holds_number(bytes: &[u8], digits: &[u8]) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
    bytes.windows(digits.len()).enumerate().any(|(at, window)| {
        window == digits
            && ends(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && ends(bytes.get(at + digits.len()))
    })
}

#[test]
fn a_pin_is_a_number_of_its_own() {
    for (text, found) in [
        ("PIN 123456", true),
        ("\"123456\"", true),
        ("1234567", false),
        ("12:00:00.123456Z", false),
        ("a123456", false),
        ("", false),
    ] {
        assert_eq!(holds_number(text.as_bytes(), b"123456"), found, "{text}");
    }
}
