//! Makes the inputs that drawing begins from, out of the formats' own examples and vectors, and what is issued once for
//! the targets of certificates. Run when a format has gained something; what it writes is kept in the repository.

#![expect(clippy::unwrap_used, reason = "a tool for those who build the house: what fails, fails loudly")]

use std::{fs, path::Path};

use kaibiao_bidder::practice::papers::Paper;
use kaibiao_fuzz::house;
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::{
    digest::sha256,
    header::Header,
    package::Package,
    practice::{PracticeCa, SoftKey, Span, Usage},
    purpose::Purpose,
    signature::sign_cms,
};

const YEAR_2026: Moment = Moment(1_767_225_600_000_000);
const YEAR_2060: Moment = Moment(2_840_140_800_000_000);
const NOW: Moment = Moment(1_800_000_000_000_000);

fn main() {
    let fuzz = house().join("fuzz");
    if fs::metadata(fuzz.join("issued/root.der")).is_ok_and(|root| root.len() == 0) {
        issue(&fuzz.join("issued"));
    }
    let keep = |target: &str, bytes: &[u8]| {
        let folder = fuzz.join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(&sha256(bytes).to_string()[..16]), bytes).unwrap();
    };
    sealed_bids(&keep);
    packages(&keep);
    conversations(&keep);
    for name in ["root", "signing", "encryption"] {
        keep("certificate", &fs::read(fuzz.join(format!("issued/{name}.der"))).unwrap());
    }
    keep("signature", &fs::read(fuzz.join("issued/signature.der")).unwrap());
    keep("revocation_list", &fs::read(fuzz.join("issued/list.der")).unwrap());
    heads(&keep);
    for form in [
        "王明德\u{1}11010519491231002X\u{1}18800010014\u{1}010000\u{1}四川省成都市武侯区",
        "\u{1}\u{1}\u{1}\u{1}",
    ] {
        keep("contact_form", form.as_bytes());
    }
    let paper = |pages| {
        Paper { title: "Price", lines: &["a line".to_owned()], pages, bytes: 0, seed: 7 }.make().unwrap()
    };
    keep("pdf", &paper(1));
    keep("pdf", &paper(3));
    for header in [
        "upload MTE0NTE0MTkxOTgxMDExNDUxNDE5MTk4MTAxMTQ1MTQ=,purpose YmlkCg==",
        "name 546L5piO5b63,id_number MTEwMTA1MTk0OTEyMzEwMDJY,mobile MTg4MDAwMTAwMTQ=,postcode MDEwMDAw,address 5Zub5bed55yB",
        "filename YS5qbWJz, filetype ",
        "purpose cmVzdG9yZQ==,bid MTE0NTE0MTkxOTgxMDExNDUxNDE5MTk4MTAxMTQ1MTQ=",
    ] {
        keep("upload_metadata", header.as_bytes());
    }
}

fn issue(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let span = Span { from: YEAR_2026, until: YEAR_2060 };
    let mut authority = PracticeCa::new("Huixin", span.from, span.until).unwrap();
    let (signing, encryption) = (SoftKey::generate().unwrap(), SoftKey::generate().unwrap());
    let issue = |key: &SoftKey, serial, usage| {
        authority.issue("CN=Mingde,O=Mingde,C=CN", &key.public_key(), serial, usage, span).unwrap()
    };
    let certificate = issue(&signing, 7, Usage::Sign);
    let signed: Result<_, kaibiao_sealed::signature::SigningFault<std::convert::Infallible>> =
        sign_cms(Purpose::ConfirmRecord, b"what was signed", &certificate, &mut |message| {
            Ok(signing.sign(message))
        });
    fs::write(folder.join("signature.der"), signed.unwrap()).unwrap();
    fs::write(folder.join("signing.der"), &certificate).unwrap();
    fs::write(folder.join("encryption.der"), issue(&encryption, 8, Usage::Encrypt)).unwrap();
    fs::write(folder.join("root.der"), authority.root()).unwrap();
    authority.revoke(9, NOW);
    fs::write(folder.join("list.der"), authority.crl(NOW).unwrap()).unwrap();
}

fn vectors(folder: &str, ending: &str) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = fs::read_dir(house().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

fn sealed_bids(keep: &dyn Fn(&str, &[u8])) {
    for (name, bytes) in vectors("sealed/tests/vectors", ".jmbs") {
        let header = Header::length_needed(&bytes).ok().flatten().filter(|len| *len <= bytes.len());
        let is_small = bytes.len() < 9_000;
        if let Some(len) = header.filter(|_| name.starts_with("good") || name.starts_with("statement")) {
            keep("sealed_bid_header", &bytes[..len]);
        }
        if is_small && (name.starts_with("good") || name.starts_with("part")) {
            keep("sealed_bid_arrival", &bytes);
        }
    }
}

fn packages(keep: &dyn Fn(&str, &[u8])) {
    for (_, bytes) in vectors("sealed/tests/package_vectors", ".bfbs") {
        let Ok(package) = Package::read(Box::new(bytes.clone()), bytes.len() as u64) else { continue };
        for place in package.parts() {
            let part = package.part(place.part).unwrap();
            let manifest = part.manifest().to_bytes();
            keep("manifest", &manifest);
            keep("part", &bytes[place.offset as usize..][..place.len as usize]);
            keep("part", &[&[part.documents().len() as u8], manifest.as_slice()].concat());
        }
    }
}

/// The conversation in `docs/api.md`, and the texts that are signed as the formats' documents show them.
fn conversations(keep: &dyn Fn(&str, &[u8])) {
    let api = fs::read_to_string(house().join("docs/api.md")).unwrap();
    let mut receipts = Vec::new();
    for line in api.lines() {
        if let Some(frame) = line.strip_prefix("> {") {
            keep("request_frame", format!("{{{frame}").as_bytes());
        }
        if let Some(frame) = line.strip_prefix("< {") {
            let frame = format!("{{{frame}");
            keep("incoming_frame", frame.as_bytes());
            texts_in(&serde_json::from_str(&frame).unwrap_or_default(), &mut receipts);
        }
    }
    for document in ["opening-order", "opening-record", "receipt", "signed-texts"] {
        let text = fs::read_to_string(house().join(format!("docs/formats/{document}.md"))).unwrap();
        for block in text.split("```").skip(1).step_by(2) {
            receipts.push(block.lines().skip(1).collect::<String>());
        }
    }
    for text in receipts {
        let first = text.split('\n').next().unwrap();
        for (format, kind) in [
            ("opening-order", "o"),
            ("opening-record", "p"),
            ("receipt", "r"),
            ("refusal-notice", "n"),
            ("sign-in", "c"),
        ] {
            if first.starts_with(&format!("{{\"format\":\"kaibiao {format} 1\"")) {
                keep("signed_text", format!("{kind}{first}").as_bytes());
            }
        }
    }
    for ask in ASKS {
        keep("request_frame", ask.as_bytes());
    }
}

fn texts_in(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) if text.starts_with("{\"format\"") => found.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| texts_in(item, found)),
        serde_json::Value::Object(members) => members.values().for_each(|value| texts_in(value, found)),
        _ => {}
    }
}

fn heads(keep: &dyn Fn(&str, &[u8])) {
    let slot = |position: u64, at: &str| {
        let facts = format!("kaibiao-head 1 {position} {} {at}", sha256(&position.to_be_bytes()));
        let line = format!("{facts} {}\n", &sha256(facts.as_bytes()).to_string()[..16]);
        format!("{line:4096}").into_bytes()
    };
    keep("journal_head", &[slot(7, "-5"), slot(8, "1800000000000000")].concat());
    keep("journal_head", &slot(1, "-")[..200]);
}

const ASKS: [&str; 12] = [
    r#"{"id":1,"ask":{"do":"time"}}"#,
    r#"{"id":2,"ask":{"do":"projects","search":"便携","skip":1}}"#,
    r#"{"id":3,"ask":{"do":"subscribe","stream":"own/KX-1","since":0}}"#,
    r#"{"id":4,"ask":{"do":"receipt","project":"KX-1","bid":"00112233445566778899aabbccddeeff"}}"#,
    r#"{"id":5,"ask":{"do":"withdraw_bid","project":"KX-1","bid":"00112233445566778899aabbccddeeff","reason":"报价有误"}}"#,
    r#"{"id":6,"ask":{"do":"release_keys","project":"KX-1","bid":"00112233445566778899aabbccddeeff","epoch":1,"enc":"AAAA","ciphertext":"AAAA","by_backup":false}}"#,
    r#"{"id":7,"ask":{"do":"report_trouble","project":"KX-1","bid":"00112233445566778899aabbccddeeff","cause":"wrong_token","seen":"x"}}"#,
    r#"{"id":8,"ask":{"do":"start_opening","project":"KX-1","signature":"AAAA"}}"#,
    r#"{"id":9,"ask":{"do":"extend_window","project":"KX-1","minutes":3,"reason":"x"}}"#,
    r#"{"id":10,"ask":{"do":"object","project":"KX-1","kind":"objection","lot":1,"text":"x"}}"#,
    r#"{"id":11,"ask":{"do":"read_out_row","project":"KX-1","lot":1,"no":1}}"#,
    r#"{"id":12,"ask":{"do":"confirm_record","project":"KX-1","record":"0000000000000000000000000000000000000000000000000000000000000000","signature":"AAAA"}}"#,
];
