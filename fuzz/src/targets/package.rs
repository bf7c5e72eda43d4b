//! Packages, their parts and manifests.

use kaibiao_bidder::pdf::{PdfFault, check_bytes};
use kaibiao_protocol::bid::PartName;
use kaibiao_sealed::package::{
    DOCUMENTS_MAX, MANIFEST_BYTES_MAX, Manifest, Package, PackageFault, PartPackage, Window,
};

use super::{documented, has_one_spelling};
use crate::independent::zip;

const DOCUMENT: &str = include_str!("../../../docs/formats/bid-package.md");

/// A package: whatever is accepted reads the same from its front and from its end, and is written again to its bytes.
pub(crate) fn package(data: &[u8]) {
    read_package(data);
    let mended = with_checksums(data);
    if mended != data {
        read_package(&mended);
    }
}

fn read_package(data: &[u8]) {
    let package = match Package::read(Box::new(data.to_vec()), data.len() as u64) {
        Ok(package) => package,
        Err(fault) => return documented(fault.code(), DOCUMENT),
    };
    if let Err(fault) = package.check() {
        return documented(fault.code(), DOCUMENT);
    }
    let entries = agreed(data);
    assert_eq!(package.lots().count() + 1, package.parts().count());
    for place in package.parts() {
        let bytes = &data[place.offset as usize..][..place.len as usize];
        let name = match place.part {
            PartName::Common => "parts/common.zip".to_owned(),
            PartName::Lot(_) => format!("parts/{}.zip", place.part),
        };
        assert!(entries.contains(&(name.as_bytes(), bytes)), "{name} is not what others find");
        read_part(bytes);
    }
    let sealing = package.read_sealing().expect("its checksums were checked");
    assert_eq!(entries.len() - package.parts().count(), if sealing.is_some() { 2 } else { 0 });
}

/// A part: bytes as they are, and a ZIP of this manifest with documents that are what the manifest says or not.
pub(crate) fn part(data: &[u8]) {
    read_part(data);
    let Some((count, manifest)) = data.split_first() else { return };
    let mut entries: Vec<(String, Vec<u8>)> = (1..=count % 4)
        .map(|no| (format!("documents/{no:02}-price.pdf"), [b"%PDF-".as_slice(), &[no; 4]].concat()))
        .collect();
    entries.push(("manifest.json".to_owned(), manifest.to_vec()));
    read_part(&zip::write(&entries));
}

fn read_part(bytes: &[u8]) {
    let part = match PartPackage::read(&bytes, bytes.len() as u64) {
        Ok(part) => part,
        Err(fault) => return documented(fault.code(), DOCUMENT),
    };
    let is_whole = match part.check_documents(&bytes) {
        Ok(()) => true,
        Err(fault) => {
            documented(fault.code(), DOCUMENT);
            assert!(
                matches!(fault, PackageFault::Checksum { .. } | PackageFault::DocumentDigest { .. }),
                "{fault}"
            );
            false
        }
    };
    assert!(part.documents().len() <= DOCUMENTS_MAX);
    if is_whole {
        let entries = agreed(bytes);
        assert_eq!(entries.len(), part.documents().len() + 1);
        for (at, document) in part.documents().iter().enumerate() {
            let place = part.document_place(at + 1).expect("it has this document");
            let found = &bytes[place.offset as usize..][..place.len as usize];
            assert_eq!(entries[at], (document.name.as_bytes(), found));
            assert!(found.starts_with(b"%PDF-"));
            assert_eq!(kaibiao_sealed::digest::sha256(found), document.sha256);
            assert_eq!(part.document(&bytes, at + 1).as_ref().map(Window::len), Some(document.bytes));
        }
        assert_eq!(
            entries[entries.len() - 1],
            (b"manifest.json".as_slice(), part.manifest().to_bytes().as_slice())
        );
    }
    assert!(part.document_place(0).is_none() && part.document_place(part.documents().len() + 1).is_none());
}

/// What others find in a ZIP, from its front and from its end; they must find the same.
fn agreed(bytes: &[u8]) -> Vec<zip::Entry<'_>> {
    let entries = zip::from_end(bytes).expect("accepted, but others read no directory");
    let from_front = zip::from_front(bytes).expect("accepted, but others do not get through from the front");
    assert_eq!(entries, from_front, "accepted, but it has two readings");
    assert!(entries.is_sorted_by(|one, next| one.0 < next.0), "accepted, but not sorted or twice");
    entries
}

/// The bytes with every checksum that a header of theirs states made true, so that what lies behind it is reached.
fn with_checksums(data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    // The inner ones first, which lie behind the outer ones.
    for at in (0..data.len().saturating_sub(46)).rev() {
        let number = |out: &[u8], place: usize, len: usize| -> usize {
            out[at + place..at + place + len].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
        };
        if out[at..].starts_with(b"PK\x03\x04") {
            let begin = at + 30 + number(&out, 26, 2) + number(&out, 28, 2);
            let end = begin.saturating_add(number(&out, 18, 4));
            if let Some(bytes) = out.get(begin..end) {
                let sum = crc32fast::hash(bytes).to_le_bytes();
                out[at + 14..at + 18].copy_from_slice(&sum);
            }
        }
    }
    // Directories stand behind the entries they name; their offsets count from the ZIP's own first byte.
    out
}

/// A manifest: canonical, and a part's limits hold.
pub(crate) fn manifest(data: &[u8]) {
    match Manifest::parse(data) {
        Ok(manifest) => {
            assert!(data.len() as u64 <= MANIFEST_BYTES_MAX);
            assert_eq!(manifest.to_bytes(), data);
            has_one_spelling(data);
            assert_eq!(manifest.sheet.is_some(), manifest.part != PartName::Common);
        }
        Err(fault) => documented(fault.code(), DOCUMENT),
    }
}

/// A document that a supplier packs.
pub(crate) fn pdf(data: &[u8]) {
    match check_bytes(data) {
        Ok(pages) => assert!(pages > 0 && data.starts_with(b"%PDF-")),
        Err(fault) => assert!(!matches!(fault, PdfFault::Unreadable(_)), "{}: {fault}", fault.code()),
    }
}
