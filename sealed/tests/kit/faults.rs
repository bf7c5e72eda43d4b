//! The vectors: good bids, and one file a fault.

use kaibiao_protocol::bid::PartName;
use kaibiao_sealed::{
    binding::part_context,
    cobblestone::{CHUNK_BYTES, ChunkCipher, SEALED_CHUNK_BYTES, TAG_BYTES},
    digest::sha256,
    header::MAGIC,
    package::DocumentKind,
    wrap::WrapAlgorithm,
};

use super::{
    COMMON, Content, Draft, HEADER_BYTES, Kit, Stated, document, good_content, lot, replaced, salt,
    seal_chunks,
    two_keys::{BareKey, collide},
    zero_digest,
};

/// Which key a vector is opened with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// The key its binding holds, unwrapped.
    Wrapped,
    /// The key the kit's bids are sealed with.
    Bid,
    /// Another key.
    Other,
}

impl Key {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Key::Wrapped => "wrapped",
            Key::Bid => "bid",
            Key::Other => "other",
        }
    }
}

/// A file and what becomes of it.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) key: Key,
    pub(crate) expect: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Every vector, in a fixed order.
pub(crate) fn vectors(kit: &Kit) -> Vec<Vector> {
    let mut out = Vec::new();
    let mut add = |name, key, expect, bytes| out.push(Vector { name, key, expect, bytes });
    good(kit, &mut add);
    headers(kit, &mut add);
    bindings(kit, &mut add);
    statements(kit, &mut add);
    signatures(kit, &mut add);
    lengths(kit, &mut add);
    keys(kit, &mut add);
    chunks(kit, &mut add);
    packages(kit, &mut add);
    out
}

type Add<'a> = &'a mut dyn FnMut(&'static str, Key, &'static str, Vec<u8>);

fn good(kit: &Kit, add: Add<'_>) {
    let finish = |draft: Draft| draft.encrypt().state().sign(&kit.keys.signer);
    add("good_two_lots", Key::Wrapped, "ok", kit.good());
    add("good_two_lots", Key::Bid, "ok", kit.good());
    for (name, wrap) in
        [("good_wrap_sha1", WrapAlgorithm::RsaOaepSha1), ("good_wrap_pkcs1", WrapAlgorithm::RsaPkcs1V15)]
    {
        add(name, Key::Wrapped, "ok", finish(kit.draft_with(kit.good_parts.clone(), wrap)));
    }
    add("good_part_of_three_chunks", Key::Bid, "ok", finish(kit.long_draft()));
    let parts = whole_chunk_content().parts();
    assert!(parts.iter().any(|(_, clear)| clear.len() == CHUNK_BYTES), "one part fills a chunk");
    let draft = kit.draft_with(parts, WrapAlgorithm::RsaOaepSha256);
    add("good_part_of_a_whole_chunk", Key::Bid, "ok", finish(draft));
}

/// The common part fills exactly one chunk, so that an empty one follows.
fn whole_chunk_content() -> Content {
    let mut content = good_content();
    let with = |content: &mut Content, bytes| {
        content.common = vec![(DocumentKind::Qualification, document("fills its chunk", bytes))];
        content.parts()[0].1.len()
    };
    let first = with(&mut content, 15_000);
    // The length stands in the manifest too; five digits stay five digits.
    let second = with(&mut content, 15_000 + CHUNK_BYTES - first);
    assert_eq!(second, CHUNK_BYTES);
    content
}

fn headers(kit: &Kit, add: Add<'_>) {
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = kit.good();
        edit(&mut bytes);
        bytes
    };
    let lengths_at = MAGIC.len();
    add("empty_file", Key::Bid, "cut", Vec::new());
    add("not_a_sealed_bid", Key::Bid, "not_a_sealed_bid", document("a PDF handed in by mistake", 5_000));
    add("unknown_version", Key::Bid, "unknown_version", edited(|bytes| bytes[13] = b'2'));
    add("header_padding_not_zero", Key::Bid, "header_padding", edited(|bytes| bytes[HEADER_BYTES - 1] = 1));
    let with_length = |which: usize, value: u32| {
        let mut bytes = kit.good();
        let at = lengths_at + 4 * which;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    add("header_not_whole_pages", Key::Bid, "header_lengths", with_length(0, HEADER_BYTES as u32 - 1));
    add("header_of_no_bytes", Key::Bid, "header_lengths", with_length(0, 0));
    add("header_larger_than_1_mib", Key::Bid, "header_lengths", with_length(0, (1 << 20) + 4096));
    add("header_without_signature", Key::Bid, "header_lengths", with_length(3, 0));
    add("header_sections_too_long", Key::Bid, "header_lengths", with_length(1, u32::MAX));
    add("header_truncated", Key::Bid, "cut", edited(|bytes| bytes.truncate(1_000)));
}

fn bindings(kit: &Kit, add: Add<'_>) {
    let edited =
        |from: &str, to: &str| kit.draft().with_binding(from, to).encrypt().state().sign(&kit.keys.signer);
    let lots = r#""lots":[1,2]"#;
    let malformed = "binding_malformed";
    add("binding_duplicate_key", Key::Bid, malformed, edited(lots, r#""lots":[1,2],"lots":[1,2]"#));
    add("binding_float", Key::Bid, malformed, edited(lots, r#""lots":[1,2.0]"#));
    add("binding_space", Key::Bid, malformed, edited(lots, r#""lots":[1, 2]"#));
    add("binding_lots_not_sorted", Key::Bid, malformed, edited(lots, r#""lots":[2,1]"#));
    add("binding_lot_twice", Key::Bid, malformed, edited(lots, r#""lots":[1,1,2]"#));
    add("binding_lot_zero", Key::Bid, malformed, edited(lots, r#""lots":[0,1,2]"#));
    add("binding_no_lot", Key::Bid, malformed, edited(lots, r#""lots":[]"#));
    add("binding_unknown_field", Key::Bid, malformed, edited(lots, r#""lots":[1,2],"discount":5"#));
    add("binding_missing_field", Key::Bid, malformed, edited(r#""supplier":"mingde","#, ""));
    add("binding_escaped_name", Key::Bid, malformed, edited(r#""mingde""#, r#""m\u0069ngde""#));
    add("binding_line_end", Key::Bid, malformed, edited(r#"=="}"#, "==\"}\n"));
    add(
        "binding_of_other_version",
        Key::Bid,
        "unknown_version",
        edited("kaibiao binding 1", "kaibiao binding 2"),
    );
    add("unknown_suite", Key::Bid, "unknown_suite", edited("Cobblestone-256", "Cobblestone-512"));
    add("unknown_wrap", Key::Bid, "unknown_wrap", edited("RSA-OAEP-SHA256", "SM2"));
}

fn statements(kit: &Kit, add: Add<'_>) {
    let sign = |stated: Stated| stated.sign(&kit.keys.signer);
    let stated = || kit.draft().encrypt().state();
    let with = |edit: fn(&mut Stated)| {
        let mut stated = stated();
        edit(&mut stated);
        sign(stated)
    };
    let with_text = |from: &str, to: &str| {
        let stated = stated();
        let text = replaced(&stated.text(), from, to);
        stated.sign_text(&text, &kit.keys.signer)
    };
    let header_bytes = r#""header_bytes":4096"#;
    let malformed = "statement_malformed";
    add(
        "statement_duplicate_key",
        Key::Bid,
        malformed,
        with_text(header_bytes, r#""header_bytes":8192,"header_bytes":4096"#),
    );
    add("statement_float", Key::Bid, malformed, with_text(header_bytes, r#""header_bytes":4096.0"#));
    add(
        "statement_unknown_field",
        Key::Bid,
        malformed,
        with_text(header_bytes, r#""header_bytes":4096,"more":1"#),
    );
    add(
        "statement_of_other_version",
        Key::Bid,
        malformed,
        with_text("kaibiao statement 1", "kaibiao statement 2"),
    );
    add(
        "statement_of_other_binding",
        Key::Bid,
        "other_binding",
        with(|it| it.statement.binding = zero_digest()),
    );
    add(
        "statement_of_other_header",
        Key::Bid,
        "other_header_bytes",
        with(|it| it.statement.header_bytes = 8192),
    );
    add(
        "part_missing",
        Key::Bid,
        "parts_differ",
        with(|it| {
            it.statement.parts.pop();
            it.bodies.pop();
        }),
    );
    add(
        "part_twice",
        Key::Bid,
        "parts_differ",
        with(|it| {
            let again = it.statement.parts[2].clone();
            it.statement.parts.push(again);
            let body = it.bodies[2].clone();
            it.bodies.push(body);
        }),
    );
    add(
        "parts_in_other_order",
        Key::Bid,
        "parts_differ",
        with(|it| {
            it.statement.parts.swap(1, 2);
            it.bodies.swap(1, 2);
        }),
    );
    add("parts_swapped", Key::Bid, "part_damaged", with(|it| it.bodies.swap(1, 2)));
    add(
        "statement_digest_of_other_part",
        Key::Bid,
        "part_damaged",
        with(|it| {
            it.part(lot(1)).ciphertext = it.part(COMMON).ciphertext;
        }),
    );
    add("part_bit_flipped", Key::Bid, "part_damaged", with(|it| it.bodies[1].bytes[100] ^= 1));
}

fn signatures(kit: &Kit, add: Add<'_>) {
    let stated = || kit.draft().encrypt().state();
    add(
        "header_signed_by_other_certificate",
        Key::Bid,
        "other_certificate",
        stated().sign(&kit.keys.other_signer),
    );
    let other_text = {
        let stated = stated();
        let text = stated.text();
        let cms = kit.keys.signer.cms(replaced(&text, "4096", "8192").as_bytes());
        stated.assemble(&text, &cms)
    };
    add("signature_over_other_statement", Key::Bid, "signature_invalid", other_text);
    let broken = {
        let stated = stated();
        let text = stated.text();
        let mut cms = kit.keys.signer.cms(text.as_bytes());
        *cms.last_mut().unwrap() ^= 1;
        stated.assemble(&text, &cms)
    };
    add("signature_bit_flipped", Key::Bid, "signature_invalid", broken);
    let no_purpose = {
        let stated = stated();
        let text = stated.text();
        let sign_in = kaibiao_sealed::purpose::Purpose::SignIn;
        let mut sign = |bytes: &[u8]| Ok::<_, std::convert::Infallible>(kit.keys.signer.key.sign(bytes));
        let certificate = &kit.keys.signer.certificate;
        let cms =
            kaibiao_sealed::signature::sign_cms(sign_in, text.as_bytes(), certificate, &mut sign).unwrap();
        stated.assemble(&text, &cms)
    };
    add("signature_for_signing_in", Key::Bid, "signature_invalid", no_purpose);
    let trailing = {
        let stated = stated();
        let text = stated.text();
        let mut cms = kit.keys.signer.cms(text.as_bytes());
        cms.push(0);
        stated.assemble(&text, &cms)
    };
    add("signature_with_trailing_byte", Key::Bid, "signature_invalid", trailing);
}

fn lengths(kit: &Kit, add: Add<'_>) {
    let stated = |edit: fn(&mut super::Encrypted)| {
        let mut encrypted = kit.draft().encrypt();
        edit(&mut encrypted);
        encrypted.state().sign(&kit.keys.signer)
    };
    let mut good = kit.good();
    good.push(0);
    add("trailing_byte", Key::Bid, "trailing_bytes", good);
    let mut good = kit.good();
    good.pop();
    add("truncated_by_one_byte", Key::Bid, "cut", good);
    let second_chunk_at =
        |file: &[u8], clear: usize| file.len() - (clear + 3 * TAG_BYTES - SEALED_CHUNK_BYTES);
    let mut long = kit.long_draft().encrypt().state().sign(&kit.keys.signer);
    let clear = kit.long_draft().parts[2].1.len();
    long.truncate(second_chunk_at(&long, clear));
    add("truncated_at_chunk_boundary", Key::Bid, "cut", long);
    // The same cut by a supplier who signs it.
    let mut dropped = kit.long_draft().encrypt();
    dropped.body(lot(2)).bytes.truncate(2 * SEALED_CHUNK_BYTES);
    add("last_chunk_dropped", Key::Bid, "part_length", dropped.state().sign(&kit.keys.signer));
    add("tag_dropped", Key::Bid, "part_length", stated(|it| it.body(lot(1)).bytes.truncate(15)));
    add("part_of_no_bytes", Key::Bid, "part_length", stated(|it| it.body(lot(1)).bytes.clear()));
}

fn keys(kit: &Kit, add: Add<'_>) {
    add("good_two_lots", Key::Other, "wrong_key", kit.good());
    let other_wrapped = {
        let mut binding: kaibiao_sealed::binding::Binding =
            serde_json::from_str(&kit.draft().binding).unwrap();
        binding.wrapped_key.0 = kit.keys.wrapped(WrapAlgorithm::RsaOaepSha256, "other");
        let mut draft = kit.draft();
        draft.binding = String::from_utf8(binding.to_bytes()).unwrap();
        draft.encrypt().state().sign(&kit.keys.signer)
    };
    add("wrapped_key_of_other_bid", Key::Wrapped, "wrong_key", other_wrapped);

    let with_prefix = |edit: fn(&mut [u8; 56])| {
        let mut encrypted = kit.draft().encrypt();
        edit(&mut encrypted.body(lot(1)).prefix.0);
        encrypted.state().sign(&kit.keys.signer)
    };
    add("salt_altered", Key::Bid, "wrong_key", with_prefix(|prefix| prefix[0] ^= 1));
    add("commitment_altered", Key::Bid, "wrong_key", with_prefix(|prefix| prefix[55] ^= 1));

    // The prefix that another key would give, before chunks of the right key.
    let sealed_as =
        |key: &kaibiao_sealed::key::BidKey, as_part: PartName, in_context: PartName, chunks: bool| {
            let mut encrypted = kit.draft().encrypt();
            let binding = sha256(encrypted.binding.as_bytes());
            let key = key.part_key(&binding, as_part);
            let context = part_context(&binding, in_context);
            let (cipher, prefix) = ChunkCipher::begin_with(key.expose(), context.as_bytes(), &salt(lot(1)));
            let clear = &kit.good_parts[1].1;
            let body = encrypted.body(lot(1));
            body.prefix = prefix;
            if chunks {
                body.bytes = seal_chunks(&cipher, clear);
            }
            encrypted.state().sign(&kit.keys.signer)
        };
    let (bid, other) = (kit.keys.bid_key(), kit.keys.other_key());
    add("commitment_of_other_key", Key::Bid, "wrong_key", sealed_as(&other, lot(1), lot(1), false));
    add("commitment_of_other_key", Key::Other, "wrong_key", sealed_as(&other, lot(1), lot(1), false));
    add("part_sealed_with_key_of_other_part", Key::Bid, "wrong_key", sealed_as(&bid, lot(2), lot(1), true));
    add("part_sealed_in_context_of_other_part", Key::Bid, "wrong_key", sealed_as(&bid, lot(1), lot(2), true));

    let (two_prices, _) = two_prices(kit);
    add("wrong_key_other_price", Key::Other, "wrong_key", two_prices.clone());
    add("wrong_key_other_price", Key::Bid, "package.comment", two_prices);
}

/// A sealed bid whose lot 1 opens under the bid key to one price and, for a reader that leaves the commitment out,
/// under the other key to another; and the body of that part.
pub(crate) fn two_prices(kit: &Kit) -> (Vec<u8>, Vec<u8>) {
    let [first, second] = two_price_parts();
    let mut encrypted = kit.draft().encrypt();
    let binding = sha256(encrypted.binding.as_bytes());
    let bare = |key: &kaibiao_sealed::key::BidKey| BareKey::of(key, &binding, lot(1), &salt(lot(1)));
    let body = collide(&bare(&kit.keys.bid_key()), &first, &bare(&kit.keys.other_key()), &second);
    encrypted.body(lot(1)).bytes = body.clone();
    (encrypted.state().sign(&kit.keys.signer), body)
}

/// Lot 1 at two prices.
pub(crate) const TWO_PRICES: [&str; 2] = ["1180000.00", "990000.00"];

fn two_price_parts() -> [Vec<u8>; 2] {
    TWO_PRICES.map(|price| {
        let mut content = good_content();
        content.lots.insert(1, (super::sheet(price), Vec::new()));
        content.parts().swap_remove(1).1
    })
}

fn chunks(kit: &Kit, add: Add<'_>) {
    let edited = |edit: fn(&mut Vec<u8>, other: &[u8])| {
        let mut encrypted = kit.long_draft().encrypt();
        // The same clear bytes as sealed for lot 1.
        let mut other = kit.long_draft();
        other.parts[1].1 = other.parts[2].1.clone();
        let other = other.encrypt().body(lot(1)).bytes.clone();
        edit(&mut encrypted.body(lot(2)).bytes, &other);
        encrypted.state().sign(&kit.keys.signer)
    };
    const CHUNK: usize = SEALED_CHUNK_BYTES;
    let damaged = "chunk_damaged";
    add("chunk_bit_flipped", Key::Bid, damaged, edited(|body, _| body[CHUNK + 5] ^= 1));
    add("chunk_tag_flipped", Key::Bid, damaged, edited(|body, _| body[CHUNK - 1] ^= 1));
    add(
        "chunk_reordered",
        Key::Bid,
        damaged,
        edited(|body, _| {
            let (first, rest) = body.split_at_mut(CHUNK);
            first.swap_with_slice(&mut rest[..CHUNK]);
        }),
    );
    add("chunk_twice", Key::Bid, damaged, edited(|body, _| body.copy_within(..CHUNK, CHUNK)));
    add("chunk_left_out", Key::Bid, damaged, edited(|body, _| drop(body.drain(..CHUNK))));
    add(
        "chunk_of_other_part",
        Key::Bid,
        damaged,
        edited(|body, other| body[..CHUNK].copy_from_slice(&other[..CHUNK])),
    );
    add("last_chunk_cut", Key::Bid, damaged, edited(|body, _| body.truncate(body.len() - 1)));
    add("last_chunk_lengthened", Key::Bid, damaged, edited(|body, _| body.push(0)));
    add(
        "last_chunk_of_other_part",
        Key::Bid,
        damaged,
        edited(|body, other| {
            body.truncate(2 * CHUNK);
            body.extend_from_slice(&other[2 * CHUNK..]);
        }),
    );
}

/// What is wrong inside a part, behind an honest seal. The packages' own faults are tested with packages; these
/// are the ones that a sealed bid adds, and two that a lenient reader of ZIPs would let pass.
fn packages(kit: &Kit, add: Add<'_>) {
    let with = |edit: fn(&mut Vec<(PartName, Vec<u8>)>)| {
        let mut draft = kit.draft();
        edit(&mut draft.parts);
        draft.encrypt().state().sign(&kit.keys.signer)
    };
    let swapped = with(|parts| {
        let first = std::mem::take(&mut parts[1].1);
        let second = std::mem::replace(&mut parts[2].1, first);
        parts[1].1 = second;
    });
    add("package_of_other_part", Key::Bid, "package.other_part", swapped);
    let edited =
        |from: &str, to: &str| kit.draft().with_binding(from, to).encrypt().state().sign(&kit.keys.signer);
    add("package_of_other_project", Key::Bid, "package.other_project", edited("KX-00823", "KX-00824"));
    add("package_of_other_supplier", Key::Bid, "package.other_supplier", edited("mingde", "tiangu"));
    add("package_trailing_bytes", Key::Bid, "package.trailing_bytes", with(|parts| parts[1].1.push(0)));
    add("package_prefix", Key::Bid, "package.gap", with(|parts| drop(parts[1].1.splice(..0, *b"MZ"))));
    add(
        "package_document_altered",
        Key::Bid,
        "package.checksum",
        with(|parts| {
            let at = parts[1].1.windows(5).position(|five| five == b"%PDF-").unwrap();
            parts[1].1[at + 20] ^= 1;
        }),
    );
}
