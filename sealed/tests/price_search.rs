//! Threat 3: searching a price behind a digest. The control hits at once; our commitments give nothing to
//! compare a guess with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{collections::HashSet, convert::Infallible, io::Cursor};

use kaibiao_protocol::{
    digest::Digest,
    ids::{BidId, UploadId},
    moment::Moment,
    money::{Fen, Price},
    project::ProjectKind,
    record::BidSheet,
};
use kaibiao_sealed::{
    digest::sha256,
    header::Header,
    package::PartPackage,
    platform_key::PlatformKey,
    receipt::{ReceiptFacts, make_receipt},
    strict_json::to_canonical,
    wrap::WrapAlgorithm,
    writer::{ClearPart, Sealing},
};

#[expect(dead_code, reason = "the tests of sealing unwrap with its key")]
mod common;
use common::Supplier;

#[path = "package_kit/mod.rs"]
#[expect(dead_code, reason = "the kit serves the tests of packages first")]
mod package_kit;

const PRICES: i64 = 1_000_000;
/// 8,234.56 yuan: among the first million prices, and nobody knows which.
const PRICE: &str = "8234.56";

/// Every price up to ten thousand yuan, to the fen.
fn prices() -> impl Iterator<Item = Fen> {
    (0..PRICES).map(|fen| Fen::new(fen).unwrap())
}

#[test]
fn a_bare_digest_of_a_price_falls_and_a_sealed_bid_does_not() {
    // The control: a platform that publishes the digest of the price, or of the sheet, before the opening.
    let bare = sha256(PRICE.as_bytes());
    let found = prices().find(|price| sha256(price.to_string().as_bytes()) == bare);
    assert_eq!(found.unwrap().to_string(), PRICE);
    let part = package_kit::lot("lot-001", PRICE).zip().bytes();
    let sheet = PartPackage::read(&part, part.len() as u64).unwrap().sheet().unwrap().clone();
    let with = |price| BidSheet { price: Price::Total(price), ..sheet.clone() };
    let bare_sheet = sha256(&to_canonical(&sheet));
    let found = prices().find(|price| sha256(&to_canonical(&with(*price))) == bare_sheet);
    assert_eq!(found.unwrap().to_string(), PRICE);

    // Ours: all that anyone but the supplier can see before the opening.
    let common = package_kit::common().zip().bytes();
    let header = seal(&[common, part.clone()]);
    let public = [header.bytes(), receipt(&header).as_bytes()].concat();
    let mut seen: HashSet<[u8; 32]> = public.windows(32).map(|window| window.try_into().unwrap()).collect();
    let hexadecimal = public.windows(64).filter_map(|window| {
        let mut digest = [0; 32];
        hex::decode_to_slice(window, &mut digest).ok()?;
        Some(digest)
    });
    seen.extend(hexadecimal);
    assert!(seen.contains(header.statement_digest.as_bytes()), "digests in the receipt are looked at");

    // A guesser who knows everything of the part but its price: text, sheet, manifest.
    let manifest = package_kit::lot("lot-001", PRICE).manifest;
    let (before, after) = manifest.split_once(PRICE).unwrap();
    let is_seen = |digest: Digest| seen.contains(digest.as_bytes());
    for price in prices() {
        let text = price.to_string();
        assert!(!is_seen(sha256(text.as_bytes())));
        assert!(!is_seen(sha256(&to_canonical(&with(price)))));
        assert!(!is_seen(sha256([before, text.as_str(), after].concat().as_bytes())));
    }
    // Not even the whole clear part, guessed right, can be recognised.
    assert!(!is_seen(sha256(&part)));
    assert!(!public.windows(PRICE.len()).any(|window| window == PRICE.as_bytes()));
}

/// The header of a bid of these parts; the file itself is ciphertext throughout.
fn seal(parts: &[Vec<u8>; 2]) -> Header {
    let supplier = Supplier::get();
    let (binding, key) = supplier.bind(&[1], WrapAlgorithm::RsaOaepSha256);
    let certificate = &supplier.signing_certificate;
    let sealing = Sealing { binding: &binding, key: &key, signing_certificate: certificate };
    let clear = binding.parts().zip(parts).map(|(part, bytes)| ClearPart {
        part,
        bytes: bytes.len() as u64,
        source: Box::new(bytes.as_slice()),
    });
    let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(supplier.signing.sign(bytes));
    let mut out = Cursor::new(Vec::new());
    sealing.seal(clear.collect(), &mut sign, &mut out, &mut |_| ()).unwrap()
}

fn receipt(header: &Header) -> String {
    let facts = ReceiptFacts {
        project: header.binding.project.clone(),
        project_name: "采购便携式计算机".into(),
        kind: ProjectKind::Exercise,
        bid: BidId([1; 16]),
        upload: UploadId([2; 16]),
        replaces: None,
        supplier: header.binding.supplier.clone(),
        supplier_name: "明德家具有限公司".into(),
        lots: header.binding.lots.clone(),
        size_bytes: header.file_len(),
        received_at: Moment(1_767_225_600_000_000),
        header_digest: header.header_digest,
        binding_digest: header.binding_digest,
        statement_digest: header.statement_digest,
        cms_digest: header.cms_digest,
        signing_certificate: header.binding.signing_certificate,
        parts: header.part_facts(),
        record_hash: Digest([5; 32]),
    };
    facts.check_header(header).unwrap();
    make_receipt(&facts, &PlatformKey::generate().unwrap())
}
