//! The vectors: one fault a file, named by it.

use crate::package_kit::{Entry, Fields, Part, Zip, common, entry, good, lot, package, pdf, zip};

/// A file and what becomes of it.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    pub(crate) expect: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Every vector, the good ones first.
pub(crate) fn vectors() -> Vec<Vector> {
    let groups = [good_ones(), bytes_around(), directories(), headers(), names(), manifests(), parts()];
    groups.into_iter().flatten().collect()
}

fn vector(name: &'static str, expect: &'static str, bytes: Vec<u8>) -> Vector {
    Vector { name, expect, bytes }
}

/// The good package after a change.
fn changed(name: &'static str, expect: &'static str, change: impl FnOnce(&mut Zip)) -> Vector {
    let mut zip = good();
    change(&mut zip);
    vector(name, expect, zip.bytes())
}

/// The good package with a change in the ZIP of its lot's part.
fn changed_part(name: &'static str, expect: &'static str, change: impl FnOnce(&mut Zip)) -> Vector {
    let mut part = good_lot().zip();
    change(&mut part);
    with_lot(name, expect, part.bytes())
}

/// The good package with another text in its lot's manifest.
fn changed_manifest(name: &'static str, expect: &'static str, from: &str, to: &str) -> Vector {
    let mut part = good_lot();
    assert!(part.manifest.contains(from), "{from}");
    part.manifest = part.manifest.replacen(from, to, 1);
    with_lot(name, expect, part.zip().bytes())
}

fn with_lot(name: &'static str, expect: &'static str, part: Vec<u8>) -> Vector {
    vector(name, expect, package(&[("common", common().zip().bytes()), ("lot-001", part)]).bytes())
}

fn good_lot() -> Part {
    lot("lot-001", "1180000.00")
}

fn good_ones() -> Vec<Vector> {
    let first = good_lot().zip().bytes();
    let second = lot("lot-012", "356000.50").zip().bytes();
    let mut bare = common();
    bare.manifest = bare.manifest.split("[{").next().unwrap().to_owned() + "[]}";
    bare.documents.clear();
    let mut sealed = good();
    sealed.entries.push(entry("sealing/bid-key", &[7; 32]));
    sealed.entries.push(entry("sealing/header", b"the header area of a sealed bid"));
    vec![
        vector("package_good_one_lot", "ok", good().bytes()),
        vector(
            "package_good_two_lots",
            "ok",
            package(&[("common", common().zip().bytes()), ("lot-001", first.clone()), ("lot-012", second)])
                .bytes(),
        ),
        vector(
            "package_good_without_common_documents",
            "ok",
            package(&[("common", bare.zip().bytes()), ("lot-001", first)]).bytes(),
        ),
        vector("package_good_sealed", "ok", sealed.bytes()),
    ]
}

fn bytes_around() -> Vec<Vector> {
    let whole = good().bytes();
    let other = package(&[
        ("common", common().zip().bytes()),
        ("lot-001", lot("lot-001", "990000.00").zip().bytes()),
    ]);
    // One package in the comment of another: each reader must decide which end is the end.
    let mut twice = good();
    twice.comment = other.bytes();
    let mut behind = other.clone();
    behind.prefix = whole.clone();
    let mut uncounted = behind.clone();
    uncounted.counted = false;
    vec![
        vector("package_empty_file", "not_a_zip", vec![]),
        vector("package_of_a_pdf", "not_a_zip", pdf("not a package")),
        vector("package_cut_in_the_middle", "not_a_zip", whole[..whole.len() / 2].to_vec()),
        vector("package_cut_by_one_byte", "not_a_zip", whole[..whole.len() - 1].to_vec()),
        vector("package_cut_at_the_front", "gap", whole[1..].to_vec()),
        changed("package_prefix", "gap", |zip| zip.prefix = b"#!/bin/sh\n".to_vec()),
        changed("package_prefix_not_counted", "gap", |zip| {
            zip.prefix = b"#!/bin/sh\n".to_vec();
            zip.counted = false;
        }),
        changed("package_trailing_bytes", "trailing_bytes", |zip| zip.trailing = b"\n".to_vec()),
        changed("package_trailing_zeros", "trailing_bytes", |zip| zip.trailing = vec![0; 4096]),
        changed("package_comment", "comment", |zip| zip.comment = b"1180000.00".to_vec()),
        vector("package_in_the_comment_of_another", "gap", twice.bytes()),
        vector("package_behind_another", "gap", behind.bytes()),
        vector("package_behind_another_not_counted", "gap", uncounted.bytes()),
        changed("package_gap_between_entries", "gap", |zip| zip.entries[1].before = vec![0; 16]),
        changed("package_gap_before_directory", "gap", |zip| zip.entries[1].after = vec![0; 16]),
        changed("package_gap_behind_directory", "gap", |zip| zip.before_end = |_, _, _| vec![0; 16]),
        changed("package_hidden_entry", "gap", |zip| {
            let mut hidden = entry("parts/lot-000.zip", b"seen by readers that go from the front");
            hidden.listed = false;
            zip.entries.insert(1, hidden);
        }),
        changed("package_two_entries_at_one_place", "gap", |zip| {
            let mut shadow = zip.entries[1].clone();
            shadow.both(|fields| fields.name = b"parts/lot-002.zip".to_vec());
            shadow.present = false;
            shadow.offset = Some((30 + 16 + zip.entries[0].data.len()) as u32);
            zip.entries.push(shadow);
        }),
        changed("package_entry_beyond_directory", "gap", |zip| {
            zip.entries[1].both(|fields| {
                fields.size += 1_000;
                fields.stored += 1_000;
            });
        }),
    ]
}

fn directories() -> Vec<Vector> {
    /// The 64-bit end and its locator, saying what the 32-bit end says.
    fn end64(directory: u32, size: u32, end: u32) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(0x0606_4b50_u32.to_le_bytes());
        out.extend(44_u64.to_le_bytes());
        out.extend([45, 0, 45, 0]);
        out.extend([0; 8]);
        out.extend(2_u64.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        out.extend(u64::from(size).to_le_bytes());
        out.extend(u64::from(directory).to_le_bytes());
        out.extend(0x0706_4b50_u32.to_le_bytes());
        out.extend([0; 4]);
        out.extend(u64::from(end).to_le_bytes());
        out.extend(1_u32.to_le_bytes());
        out
    }
    vec![
        changed("package_64_bit_end_for_nothing", "gap", |zip| zip.before_end = end64),
        changed("package_64_bit_offset_for_nothing", "zip64_form", |zip| {
            zip.before_end = end64;
            zip.directory = Some(u32::MAX);
        }),
        changed("package_64_bit_offset_missing", "zip64_form", |zip| zip.directory = Some(u32::MAX)),
        changed("package_directory_elsewhere", "gap", |zip| zip.directory = Some(0)),
        changed("package_several_disks", "several_disks", |zip| zip.disk = 1),
        changed("package_entry_on_other_disk", "several_disks", |zip| zip.entries[1].disk = 1),
        changed("package_counts_differ", "several_disks", |zip| zip.count_here = Some(1)),
        changed("package_fewer_counted", "gap", |zip| {
            zip.count_here = Some(1);
            zip.count = Some(1);
        }),
        changed("package_more_counted", "directory_field", |zip| {
            zip.count_here = Some(3);
            zip.count = Some(3);
        }),
        vector("package_of_no_entries", "entry_count", zip(vec![]).bytes()),
        vector(
            "package_of_too_many_entries",
            "entry_count",
            zip((0..513).map(|no| entry(&format!("e{no:03}"), b"")).collect()).bytes(),
        ),
    ]
}

fn headers() -> Vec<Vector> {
    let each =
        |name, expect, change: fn(&mut Entry)| changed(name, expect, |zip| change(&mut zip.entries[1]));
    vec![
        each("package_deflated_entry", "compressed", |entry| {
            // One stored block: deflate that any reader inflates, the same bytes from every library.
            let len = entry.data.len() as u16;
            let mut deflated = vec![1];
            deflated.extend(len.to_le_bytes());
            deflated.extend((!len).to_le_bytes());
            deflated.extend(&entry.data);
            entry.data = deflated;
            let stored = entry.data.len() as u32;
            entry.both(|fields| {
                fields.method = 8;
                fields.version = 20;
                fields.stored = stored;
            });
        }),
        each("package_encrypted_entry", "encrypted", |entry| entry.both(|fields| fields.flags = 1)),
        each("package_data_descriptor", "data_descriptor", |entry| {
            let Fields { crc, stored, size, .. } = entry.central;
            entry.after.extend(0x0807_4b50_u32.to_le_bytes());
            for field in [crc, stored, size] {
                entry.after.extend(field.to_le_bytes());
            }
            entry.both(|fields| fields.flags = 8);
            entry.local.crc = 0;
            entry.local.stored = 0;
            entry.local.size = 0;
        }),
        each("package_extra_field", "extra_field", |entry| {
            entry.both(|fields| fields.extra = b"UT\x05\x00\x01\0\0\0\0".to_vec());
        }),
        each("package_extra_field_of_other_name", "extra_field", |entry| {
            // Info-ZIP's Unicode path: readers that know it show this name instead.
            let mut extra = b"up\x16\x00\x01".to_vec();
            extra.extend(crc32fast::hash(b"parts/lot-001.zip").to_le_bytes());
            extra.extend(b"parts/lot-002.zip");
            entry.both(|fields| fields.extra = extra.clone());
        }),
        each("package_extra_field_locally", "headers_disagree", |entry| {
            entry.local.extra = b"UT\x05\x00\x01\0\0\0\0".to_vec();
        }),
        each("package_64_bit_sizes_for_nothing", "extra_field", |entry| {
            let size = u64::from(entry.local.size);
            let mut extra = b"\x01\x00\x10\x00".to_vec();
            extra.extend(size.to_le_bytes());
            extra.extend(size.to_le_bytes());
            entry.both(|fields| {
                fields.version = 45;
                fields.size = u32::MAX;
                fields.stored = u32::MAX;
                fields.extra = extra.clone();
            });
        }),
        each("package_of_ambiguous_length", "ambiguous_length", |entry| {
            let mut extra = b"\x01\x00\x10\x00".to_vec();
            extra.extend(u64::from(u32::MAX).to_le_bytes());
            extra.extend(u64::from(u32::MAX).to_le_bytes());
            entry.both(|fields| {
                fields.version = 45;
                fields.size = u32::MAX;
                fields.stored = u32::MAX;
                fields.extra = extra.clone();
            });
        }),
        each("package_64_bit_sizes_missing", "zip64_form", |entry| {
            entry.both(|fields| {
                fields.size = u32::MAX;
                fields.stored = u32::MAX;
            });
        }),
        each("package_entry_comment", "comment", |entry| entry.comment = b"1180000.00".to_vec()),
        each("package_utf8_flag", "directory_field", |entry| entry.both(|fields| fields.flags = 0x800)),
        each("package_dated_entry", "directory_field", |entry| entry.both(|fields| fields.date = 0x5021)),
        each("package_timed_entry", "directory_field", |entry| entry.both(|fields| fields.time = 1)),
        each("package_other_version", "directory_field", |entry| entry.both(|fields| fields.version = 20)),
        each("package_made_on_unix", "directory_field", |entry| entry.made_by = 0x30a),
        each("package_link", "directory_field", |entry| entry.external = 0o120_777 << 16),
        each("package_sizes_differ", "directory_field", |entry| entry.both(|fields| fields.stored -= 1)),
        each("package_name_differs_locally", "headers_disagree", |entry| {
            entry.local.name = b"parts/lot-002.zip".to_vec();
        }),
        each("package_size_differs_locally", "headers_disagree", |entry| {
            entry.local.size -= 1;
            entry.local.stored -= 1;
        }),
        each("package_checksum_differs_locally", "headers_disagree", |entry| entry.local.crc ^= 1),
        each("package_method_differs_locally", "headers_disagree", |entry| entry.local.method = 8),
        each("package_no_local_header", "headers_disagree", |entry| {
            // The bytes are there, but the header is none.
            let mut bytes = vec![b'P', b'K', 0, 0];
            entry.local.put(&mut bytes);
            bytes.extend(&entry.local.name);
            bytes.extend(&entry.data);
            entry.present = false;
            entry.after = bytes;
        }),
        each("package_wrong_checksum", "checksum", |entry| entry.both(|fields| fields.crc ^= 1)),
        changed_part("package_wrong_checksum_of_document", "checksum", |zip| {
            zip.entries[0].both(|fields| fields.crc ^= 1);
        }),
        changed_part("package_wrong_checksum_of_manifest", "checksum", |zip| {
            zip.entries[1].both(|fields| fields.crc ^= 1);
        }),
    ]
}

fn names() -> Vec<Vector> {
    let renamed = |name, to: &'static [u8]| {
        changed(name, "entry_name", |zip| zip.entries[1].both(|fields| fields.name = to.to_vec()))
    };
    vec![
        changed("package_duplicate_entry", "duplicate_entry", |zip| {
            let other = lot("lot-001", "990000.00").zip().bytes();
            zip.entries.push(entry("parts/lot-001.zip", &other));
        }),
        changed("package_duplicate_entry_apart", "duplicate_entry", |zip| {
            let common = zip.entries[0].clone();
            zip.entries.push(common);
        }),
        changed("package_not_sorted", "not_sorted", |zip| zip.entries.swap(0, 1)),
        renamed("package_path_upwards", b"../../../etc/passwd"),
        renamed("package_path_upwards_within", b"parts/../../lot-001.zip.pdf"),
        renamed("package_absolute_path", b"/parts/lot-001.zip"),
        renamed("package_backslash", b"parts\\lot-001.zip"),
        renamed("package_other_case", b"parts/lot-001.ZIP"),
        renamed("package_zero_byte_in_name", b"parts/lot-001.zip\0.pdf"),
        renamed("package_name_not_utf8", b"parts/lot-\xff.zip"),
        renamed("package_lot_zero", b"parts/lot-000.zip"),
        renamed("package_folder", b"parts/lot-001/"),
        changed("package_unknown_entry", "entry_name", |zip| zip.entries.push(entry("readme.txt", b"hello"))),
        changed_part("package_unknown_entry_in_part", "entry_name", |zip| {
            zip.entries.push(entry("price.xml", b"<price>990000.00</price>"));
        }),
        changed_part("package_duplicate_entry_in_part", "duplicate_entry", |zip| {
            let other = lot("lot-001", "990000.00").manifest;
            zip.entries.push(entry("manifest.json", other.as_bytes()));
        }),
        changed_part("package_prefix_in_part", "gap", |zip| zip.prefix = b"%PDF-1.7\n".to_vec()),
        changed_part("package_trailing_bytes_in_part", "trailing_bytes", |zip| zip.trailing = vec![0]),
    ]
}

fn manifests() -> Vec<Vector> {
    const PRICE: &str = "\"value\":\"1180000.00\"";
    let price = |name, to| changed_manifest(name, "manifest", PRICE, to);
    let field = |name, from, to| changed_manifest(name, "manifest_field", from, to);
    const REMARK: &str = "\"remark\":\"\"";
    vec![
        price("package_price_twice", "\"value\":\"1180000.00\",\"value\":\"990000.00\""),
        price("package_price_with_separators", "\"value\":\"1,180,000.00\""),
        price("package_price_in_ten_thousands", "\"value\":\"118.00万\""),
        price("package_price_in_wide_digits", "\"value\":\"１１８００００.００\""),
        price("package_price_as_number", "\"value\":1180000.00"),
        price("package_price_of_three_decimals", "\"value\":\"1180000.000\""),
        price("package_price_without_decimals", "\"value\":\"1180000\""),
        price("package_price_negative", "\"value\":\"-1180000.00\""),
        price("package_price_with_exponent", "\"value\":\"1.18e6\""),
        price("package_price_escaped", "\"value\":\"\\u0031180000.00\""),
        price("package_price_of_other_kind", "\"value\":\"1180000.00\",\"unit\":\"万元\""),
        changed_manifest("package_manifest_with_space", "manifest", "{\"format\"", "{ \"format\""),
        changed_manifest("package_manifest_with_line_end", "manifest", "}]}", "}]}\n"),
        changed_manifest("package_manifest_in_other_order", "manifest", ",\"remark\":\"\"}", "}"),
        changed_manifest(
            "package_manifest_with_byte_order_mark",
            "manifest",
            "{\"format",
            "\u{feff}{\"format",
        ),
        changed_manifest("package_unknown_manifest", "manifest", "bid-part 1", "bid-part 2"),
        changed_manifest("package_manifest_too_large", "manifest_too_large", REMARK, &too_long()),
        field("package_remark_too_long", REMARK, &format!("\"remark\":\"{}\"", "备".repeat(201))),
        field("package_remark_turned_around", REMARK, "\"remark\":\"\u{202e}00.000099\""),
        field("package_remark_with_line_end", REMARK, "\"remark\":\"a\\nb\""),
        field("package_title_empty", "\"title\":\"报价文件\"", "\"title\":\"\""),
        field("package_document_of_other_number", "documents/01-price", "documents/02-price"),
        field("package_document_of_other_kind", "\"kind\":\"price\"", "\"kind\":\"other\""),
    ]
}

fn too_long() -> String {
    format!("\"remark\":\"{}\"", "x".repeat(256 * 1024))
}

fn parts() -> Vec<Vector> {
    let common_bytes = || common().zip().bytes();
    let with = |name, expect, change: fn(&mut Part)| {
        let mut part = good_lot();
        change(&mut part);
        with_lot(name, expect, part.zip().bytes())
    };
    let sealing = |name, entries: Vec<Entry>| changed(name, "sealing", |zip| zip.entries.extend(entries));
    let key = || entry("sealing/bid-key", &[7; 32]);
    let header = || entry("sealing/header", b"a header");
    vec![
        changed_part("package_no_manifest", "manifest_missing", |zip| drop(zip.entries.pop())),
        with("package_document_missing", "documents_differ", |part| part.documents.clear()),
        with("package_document_too_many", "documents_differ", |part| {
            part.documents.push(("documents/02-other.pdf", pdf("more")));
        }),
        with("package_document_longer_than_stated", "documents_differ", |part| {
            part.documents[0].1.push(b'\n');
        }),
        with("package_document_altered", "document_digest", |part| {
            let bytes = &mut part.documents[0].1;
            let at = bytes.len() - 8;
            bytes[at] ^= 1;
        }),
        with("package_document_no_pdf", "not_a_pdf", |part| part.documents[0].1[0] = b' '),
        changed_manifest(
            "package_of_other_part",
            "other_part",
            "\"part\":\"lot-001\"",
            "\"part\":\"lot-002\"",
        ),
        changed_manifest("package_of_two_projects", "other_project", "KX-00823", "KX-00824"),
        changed_manifest("package_of_two_suppliers", "other_supplier", "mingde", "tianhe"),
        vector("package_without_lot", "parts_missing", package(&[("common", common_bytes())]).bytes()),
        vector(
            "package_without_common",
            "parts_missing",
            package(&[
                ("lot-001", good_lot().zip().bytes()),
                ("lot-002", lot("lot-002", "1.00").zip().bytes()),
            ])
            .bytes(),
        ),
        vector("package_common_with_sheet", "manifest_field", {
            let part = Part { manifest: good_lot().manifest.replacen("lot-001", "common", 1), ..good_lot() };
            package(&[("common", part.zip().bytes()), ("lot-001", good_lot().zip().bytes())]).bytes()
        }),
        vector("package_lot_without_sheet", "manifest_field", {
            let part = Part { manifest: common().manifest.replacen("common", "lot-001", 1), ..common() };
            package(&[("common", common_bytes()), ("lot-001", part.zip().bytes())]).bytes()
        }),
        sealing("package_sealing_without_header", vec![key()]),
        sealing("package_sealing_without_key", vec![header()]),
        sealing("package_sealing_key_too_short", vec![entry("sealing/bid-key", &[7; 31]), header()]),
        sealing("package_sealing_header_empty", vec![key(), entry("sealing/header", b"")]),
    ]
}
