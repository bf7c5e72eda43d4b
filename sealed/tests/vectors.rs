//! The vector kit: every file of `tests/vectors/` is what the kit makes, and has the outcome that
//! `expect.json` names. To write them anew: `KAIBIAO_WRITE_VECTORS=1 cargo test -p kaibiao-sealed --test vectors`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod kit;

use std::{collections::BTreeSet, fs, num::NonZeroUsize};

use kaibiao_sealed::{
    arrival::Arrival,
    binding::part_context,
    check::check_file,
    digest::sha256,
    header::Header,
    key::BidKey,
    package::PartPackage,
    unseal::{OpenPart, PartOpener},
};
use kit::{
    Kit,
    faults::{Key, TWO_PRICES, Vector, two_prices, vectors},
    keys::{folder, keep_bytes},
    lot, salt,
    two_keys::{BareKey, lenient_entry},
};
use serde_json::json;

/// The most bytes of one vector.
const VECTOR_BYTES_MAX: usize = 42 * 1024;

fn read(kit: &Kit, bytes: &Vec<u8>, key: Key) -> Result<(), String> {
    let mut arrival = Arrival::new();
    for piece in bytes.chunks(1_021) {
        arrival.push(piece).map_err(|fault| fault.code())?;
    }
    let header = arrival.finish().map_err(|fault| fault.code())?.header;
    header.check_signature().map_err(|fault| fault.code())?;
    let key = match key {
        Key::Bid => kit.keys.bid_key(),
        Key::Other => kit.keys.other_key(),
        Key::Wrapped => unwrap(kit, &header).ok_or("wrong_key")?,
    };
    let two = NonZeroUsize::new(2).unwrap();
    check_file(bytes, bytes.len() as u64, &header, &key, two, &|_| ()).map_err(|fault| fault.code())?;
    for place in header.parts() {
        let part = place.stated.part;
        let opener = PartOpener::new(&header, part, &key.part_key(&header.binding_digest, part)).unwrap();
        let clear = OpenPart::new(opener, bytes);
        let package = PartPackage::read(&clear, clear.clear_len()).and_then(|package| {
            package.check_belongs(&header.binding.project, &header.binding.supplier, part)?;
            package.check_documents(&clear)
        });
        package.map_err(|fault| format!("package.{}", fault.code()))?;
    }
    Ok(())
}

fn unwrap(kit: &Kit, header: &Header) -> Option<BidKey> {
    let key = kit.keys.encryption.key.unwrap(header.binding.wrap, &header.binding.wrapped_key.0).ok()?;
    BidKey::from_bytes(&key)
}

#[test]
fn every_vector_has_the_outcome_its_kit_names() {
    let kit = Kit::get();
    for Vector { name, key, expect, bytes } in vectors(kit) {
        let found = read(kit, &bytes, key).err().unwrap_or("ok".into());
        assert_eq!(found, expect, "{name} with the {} key", key.name());
    }
}

#[test]
fn the_files_are_those_the_kit_makes() {
    let kit = Kit::get();
    let folder = folder();
    let vectors = vectors(kit);
    let mut names = BTreeSet::from(["expect.json".to_owned(), "keys".to_owned()]);
    for vector in &vectors {
        let name = format!("{}.jmbs", vector.name);
        assert!(vector.bytes.len() <= VECTOR_BYTES_MAX, "{name} is small");
        keep_bytes(&folder.join(&name), &vector.bytes);
        names.insert(name);
    }
    let list: Vec<_> = vectors
        .iter()
        .map(|it| json!({"file": format!("{}.jmbs", it.name), "key": it.key.name(), "expect": it.expect}))
        .collect();
    let expect = json!({
        "keys": {
            "bid": hex::encode(kit.keys.bid_key().expose()),
            "other": hex::encode(kit.keys.other_key().expose()),
            "wrapped": "keys/supplier-encrypt.key.pem",
        },
        "vectors": list,
    });
    keep_bytes(
        &folder.join("expect.json"),
        (serde_json::to_string_pretty(&expect).unwrap() + "\n").as_bytes(),
    );
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(there, names, "nothing lies in tests/vectors that the kit does not make");
}

#[test]
fn there_is_a_vector_for_every_fault_of_the_specification() {
    let kit = Kit::get();
    let covered: BTreeSet<&str> = vectors(kit).iter().map(|vector| vector.expect).collect();
    let page = fs::read_to_string(folder().join("../../../docs/formats/sealed-bid.md")).unwrap();
    let faults = page.split("## 9. Faults").nth(1).unwrap().split("## 10.").next().unwrap();
    let rows = faults.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut named = 0;
    for row in rows {
        for code in row.split(" |").next().unwrap().split(", ") {
            let code = code.trim_matches('`');
            assert!(covered.contains(code), "{code}");
            named += 1;
        }
    }
    let ours = covered.iter().filter(|code| **code != "ok" && !code.starts_with("package."));
    assert_eq!(named, ours.count(), "no vector has a fault that the page does not name");
}

/// The control of the attack, and its end here.
#[test]
fn a_ciphertext_made_for_two_keys_opens_to_two_prices_for_others_and_to_one_for_us() {
    let kit = Kit::get();
    let (file, body) = two_prices(kit);
    let header = Header::parse(&file[..kit::HEADER_BYTES]).unwrap();
    for (key, price) in [kit.keys.bid_key(), kit.keys.other_key()].iter().zip(TWO_PRICES) {
        let bare = BareKey::of(key, &header.binding_digest, lot(1), &salt(lot(1)));
        let clear = bare.open(&body).expect("AES-GCM alone accepts either key");
        let manifest = lenient_entry(&clear, "manifest.json").expect("a lenient reader finds a package");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["sheet"]["price"]["value"], price);
    }
    assert_eq!(read(kit, &file, Key::Other), Err("wrong_key".into()));
    let key = kit.keys.bid_key().part_key(&header.binding_digest, lot(1));
    let opener = PartOpener::new(&header, lot(1), &key).unwrap();
    opener.check_chunks(&file, 0..opener.chunks(), &mut Vec::new()).unwrap();
}

/// The page's example is the file `good_two_lots.jmbs`: whoever follows it meets these values.
#[test]
fn the_worked_example_of_the_specification_is_the_good_vector() {
    let kit = Kit::get();
    let file = kit.good();
    let header = Header::parse(&file[..kit::HEADER_BYTES]).unwrap();
    let mut values = vec![
        ("file", sha256(&file).to_string()),
        ("lengths", hex::encode(&file[15..31])),
        ("bid key", hex::encode(kit.keys.bid_key().expose())),
        ("binding", String::from_utf8(file[31..31 + header.binding.to_bytes().len()].to_vec()).unwrap()),
        ("binding digest", header.binding_digest.to_string()),
        ("statement", String::from_utf8(header.statement_bytes().to_vec()).unwrap()),
        ("statement digest", header.statement_digest.to_string()),
    ];
    let place = header.part(lot(1)).unwrap();
    let key = kit.keys.bid_key().part_key(&header.binding_digest, lot(1));
    let context = part_context(&header.binding_digest, lot(1));
    let bare = BareKey::of(&kit.keys.bid_key(), &header.binding_digest, lot(1), place.stated.prefix.salt());
    values.extend([
        ("part key", hex::encode(key.expose())),
        ("part context", context.to_string()),
        ("salt", hex::encode(place.stated.prefix.salt())),
        ("commitment", hex::encode(place.stated.prefix.commitment())),
        ("AEAD key", hex::encode(bare.key)),
        ("base nonce", hex::encode(bare.nonce)),
        ("offset", format!("offset {}", place.offset)),
        ("first bytes", hex::encode(&file[place.offset as usize..][..32])),
    ]);
    let page = fs::read_to_string(folder().join("../../../docs/formats/sealed-bid.md")).unwrap();
    let joined: String = page.split_whitespace().collect();
    for (name, value) in values {
        let value: String = value.split_whitespace().collect();
        assert!(joined.contains(&value), "the page's {name} should be\n{value}");
    }
}
