//! The worked examples of the pages in `docs/formats/`: whoever follows a page meets the values made here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use kaibiao_protocol::{
    bid::{FailureCause, PartFacts, PartName},
    blob::Blob,
    digest::Digest,
    ids::{BidId, LotNo, UploadId},
    moment::Moment,
    money::{Fen, Price, PriceKind},
    project::{BackupPolicy, LotSpec, Method, ProjectKind, ProjectSpec, StartMode},
    record::{BidSheet, LotRecord, OpeningRecord, RecordRow, RowOutcome, SealedRow},
};
use kaibiao_sealed::{
    digest::sha256,
    envelope::seal_envelope,
    key::PartKey,
    order::{EnvelopeSuite, OpeningOrder, sign_order},
    platform_key::PlatformKey,
    receipt::{ReceiptFacts, make_receipt, verify_receipt},
    record::{record_digest, record_text, sign_record, verify_record},
};
use serde_json::{Value, json};

#[expect(dead_code, reason = "the kit serves the tests of packages first")]
#[path = "package_kit/mod.rs"]
mod package_kit;

/// 2026-01-01T00:00:00Z.
const DEADLINE: Moment = Moment(1_767_225_600_000_000);

/// The Ed25519 key whose seed is 32 times this byte, in PKCS#8 (RFC 8410).
fn key(seed: u8) -> PlatformKey {
    let prefix = hex::decode("302e020100300506032b657004220420").unwrap();
    PlatformKey::from_pkcs8(&[prefix.as_slice(), &[seed; 32]].concat()).unwrap()
}

fn lot(no: u16) -> LotNo {
    LotNo::new(no).unwrap()
}

/// Checks that the page holds each value, line breaks and spaces aside.
fn check(page: &str, values: &[(&str, String)]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/formats").join(page);
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let text = squeezed(&fs::read_to_string(path).unwrap());
    let wrong: Vec<_> = values.iter().filter(|(_, value)| !text.contains(&squeezed(value))).collect();
    assert!(wrong.is_empty(), "{page} should hold {wrong:#?}");
}

fn receipt_facts() -> ReceiptFacts {
    let part = |part, length, no| PartFacts { part, length, ciphertext: Digest([no; 32]) };
    ReceiptFacts {
        project: "KX-00823".parse().unwrap(),
        project_name: "采购便携式计算机".into(),
        kind: ProjectKind::Exercise,
        bid: BidId([0x11; 16]),
        upload: UploadId([0x22; 16]),
        replaces: None,
        supplier: "mingde".parse().unwrap(),
        supplier_name: "明德家具有限公司".into(),
        lots: [lot(1)].into(),
        size_bytes: 6_339,
        received_at: Moment(DEADLINE.0 - 1),
        header_digest: Digest([0x33; 32]),
        binding_digest: Digest([0x44; 32]),
        statement_digest: Digest([0x55; 32]),
        cms_digest: Digest([0x66; 32]),
        signing_certificate: Digest([0x77; 32]),
        parts: vec![part(PartName::Common, 1_149, 0x88), part(PartName::Lot(lot(1)), 1_094, 0x99)],
        record_hash: Digest([0xaa; 32]),
    }
}

#[test]
fn the_page_of_receipts_holds_this_receipt() {
    let facts = receipt_facts();
    let key = key(1);
    let receipt = make_receipt(&facts, &key);
    assert_eq!(verify_receipt(&receipt, key.public()), Ok(facts));
    let (text, signature) = receipt.split_once('\n').unwrap();
    check(
        "receipt.md",
        &[
            ("public key", hex::encode(key.public())),
            ("first line", text.into()),
            ("second line", signature.into()),
        ],
    );
}

/// The one-time key of the example: X25519 with the private key of 32 times 3, as RFC 7748 derives it.
const ONE_TIME_PUBLIC: &str = "5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22";
const ONE_TIME_PRIVATE: [u8; 32] = [3; 32];

/// An envelope sealed once to that key: each sealing draws another.
const ENC: &str = "fc5978fb97a94259364aad2f71ce41c1a8ab88b664d18ab02667453c4e6cc035";
const CIPHERTEXT: &str = "ae1fca23faff0edea4b27d1e1e17c12169b7d244cc4c7fb554edb187c76974e3f30c0b4f6f434f57\
     0a243138b83ffab199b0af71c07b4e017749e2e402e4df8e76aa41989802751388f2a2f6d6fb549c";

fn order_text() -> String {
    let order = OpeningOrder {
        project: "KX-00823".parse().unwrap(),
        kind: ProjectKind::Real,
        deadline: DEADLINE,
        deadline_moves: Vec::new(),
        epoch: 1,
        lots: [lot(1), lot(3)].into(),
        opening_key: key(2).id(),
        suite: EnvelopeSuite::X25519Sha256Aes256Gcm,
        hpke_public_key: Blob(hex::decode(ONE_TIME_PUBLIC).unwrap()),
        start_signature: None,
        issued_at: DEADLINE.plus_ms(250),
        window_closes_at: DEADLINE.plus_minutes(30),
    };
    order.text()
}

#[test]
fn the_page_of_orders_holds_this_order_and_an_envelope_for_it() {
    let (text, key) = (order_text(), key(2));
    check(
        "opening-order.md",
        &[
            ("enc", ENC.into()),
            ("ciphertext", CIPHERTEXT.into()),
            ("one-time private key", hex::encode(ONE_TIME_PRIVATE)),
            ("public key", hex::encode(key.public())),
            ("signature", hex::encode(sign_order(&text, &key))),
            ("digest", sha256(text.as_bytes()).to_string()),
            ("text", text),
        ],
    );
}

fn the_record_text() -> String {
    let named = |name: &str| LotSpec {
        name: name.into(),
        budget: Fen::new(100_000_000).unwrap(),
        price_kind: PriceKind::Total,
        bid_security: None,
    };
    let project = ProjectSpec {
        id: "KX-00823".parse().unwrap(),
        name: "采购便携式计算机".into(),
        region: "浙江省本级".into(),
        kind: ProjectKind::Exercise,
        method: Method::OpenTender,
        purchaser: "binjiang".parse().unwrap(),
        organiser: "kaixin".parse().unwrap(),
        budget: Fen::new(200_000_000).unwrap(),
        deadline: DEADLINE,
        start: StartMode::AtDeadline,
        window_minutes: 30,
        failure_grace_minutes: 15,
        backup: BackupPolicy::AnyFault,
        confirm_minutes: 30,
        consortium_allowed: false,
        bid_bytes_max: None,
        invited: None,
        rule_pack: "GP/1".into(),
        lots: [(lot(1), named("笔记本")), (lot(2), named("平板"))].into(),
    };
    let row = |no: u8, supplier: &str, outcome| RecordRow {
        no: no.into(),
        bid: BidId([no; 16]),
        supplier: supplier.into(),
        outcome,
    };
    let sheet = BidSheet {
        price: Price::Total("1180000.00".parse().unwrap()),
        delivery_or_lead: "30日".into(),
        bid_security_method: "电子保函".into(),
        declaration_signed: true,
        remark: String::new(),
    };
    let cause = FailureCause::NoShow;
    let opened = LotRecord::Opened {
        rows: vec![
            row(1, "明德家具有限公司", RowOutcome::Unsealed { sheet, by_backup: false }),
            row(2, "天河办公", RowOutcome::Failed { cause, consequence: cause.consequence() }),
        ],
    };
    let closed = LotRecord::NotOpened {
        rule: "TR-44 87-41 (GP/1)".into(),
        bids: vec![SealedRow { bid: BidId([3; 16]), supplier: "东升科技".into() }],
    };
    let record = OpeningRecord {
        published_at: DEADLINE.plus_minutes(30),
        lots: BTreeMap::from([(lot(1), opened), (lot(2), closed)]),
    };
    record_text(&project, &record)
}

#[test]
fn the_page_of_records_holds_this_record() {
    let text = the_record_text();
    let key = key(1);
    let signature = sign_record(&text, &key);
    verify_record(&text, &signature, key.public()).unwrap();
    check(
        "opening-record.md",
        &[
            ("signature", hex::encode(signature)),
            ("digest", record_digest(&text).to_string()),
            ("text", text),
        ],
    );
}

#[test]
fn the_page_of_packages_holds_this_package() {
    let bytes = package_kit::good().bytes();
    let common = package_kit::common().zip().bytes();
    let part = package_kit::lot("lot-001", "1180000.00");
    let (first, second) = (46, 46 + common.len() + 47);
    let directory = second + part.zip().bytes().len();
    let document = &part.documents[0].1;
    check(
        "bid-package.md",
        &[
            ("length", format!("{} bytes, SHA-256 `{}`", bytes.len(), sha256(&bytes))),
            ("first local header", hex::encode(&bytes[..30])),
            ("first part", format!("from byte {first}, {} bytes", common.len())),
            ("second local header", hex::encode(&bytes[second - 47..second - 17])),
            ("second part", format!("from byte {second}, {} bytes", part.zip().bytes().len())),
            ("its document", hex::encode(document)),
            ("its manifest", part.manifest.clone()),
            ("directory", format!("from byte {directory}")),
            ("directory's bytes", hex::encode(&bytes[directory..])),
        ],
    );
}

/// The pages are enough: what is made here holds for a reader that was written from them in Python.
#[test]
fn a_reader_in_python_takes_the_papers_and_opens_the_envelopes() {
    let (receipt_key, opening_key) = (key(1), key(2));
    let (order, record, facts) = (order_text(), the_record_text(), receipt_facts());
    let (statement, parts) = (Digest([4; 32]), [PartName::Common, PartName::Lot(lot(1))]);
    let keys = [[5; 32], [6; 32]];
    let part_keys: Vec<_> = keys.iter().map(|key| PartKey::from_bytes(key).unwrap()).collect();
    let public = hex::decode(ONE_TIME_PUBLIC).unwrap();
    let fresh = seal_envelope(&order, &public, &statement, &parts, &part_keys).unwrap();
    for (enc, ciphertext) in
        [(hex::encode(fresh.enc), hex::encode(fresh.ciphertext)), (ENC.into(), CIPHERTEXT.into())]
    {
        let papers = json!({
            "receipt": { "file": make_receipt(&facts, &receipt_key), "public": hex::encode(receipt_key.public()) },
            "order": {
                "text": order,
                "signature": hex::encode(sign_order(&order, &opening_key)),
                "public": hex::encode(opening_key.public()),
            },
            "record": {
                "text": record,
                "signature": hex::encode(sign_record(&record, &receipt_key)),
                "public": hex::encode(receipt_key.public()),
            },
            "envelope": {
                "private": hex::encode(ONE_TIME_PRIVATE),
                "order": order,
                "enc": enc,
                "ciphertext": ciphertext,
                "statement": statement,
                "parts": parts,
            },
        });
        let answers = in_python(&papers);
        assert_eq!(answers["receipt"], serde_json::to_value(&facts).unwrap());
        assert_eq!(answers["order"]["lots"], json!([1, 3]));
        assert_eq!(answers["record"]["lots"][1]["record"]["lot"], "not_opened");
        assert_eq!(answers["envelope"], json!(keys.map(hex::encode)));
    }
}

fn in_python(papers: &Value) -> Value {
    let program = std::env::var_os("KAIBIAO_PYTHON").unwrap_or("python3".into());
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/python/check_papers.py");
    let mut child = Command::new(program)
        .arg("-B")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is there: scripts/setup --for-tests installs it");
    child.stdin.take().unwrap().write_all(papers.to_string().as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}
