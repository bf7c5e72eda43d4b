//! Bid packages: the vectors of `tests/package_vectors/`, and how other ZIP readers read them. To write the
//! vectors anew: `KAIBIAO_WRITE_VECTORS=1 cargo test -p kaibiao-sealed --test packages`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "package_kit/faults.rs"]
mod faults;
mod package_kit;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use faults::{Vector, vectors};
use kaibiao_protocol::{bid::PartName, ids::LotNo, money::Price, record::BidSheet};
use kaibiao_sealed::{
    digest::sha256,
    key::BidKey,
    package::{DocumentKind, NewDocument, NewLot, Package, PackageFault, Packing, Window, pack},
    read_at::ReadAt,
};
use package_kit::{common, entry, good, lot, package, pdf, zip};
use serde_json::json;

/// Opens a package and reads every byte of it.
fn read(bytes: &[u8]) -> Result<Package, PackageFault> {
    let package = Package::read(Box::new(bytes.to_vec()), bytes.len() as u64)?;
    package.check()?;
    Ok(package)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/package_vectors")
}

#[test]
fn every_vector_has_the_outcome_its_kit_names() {
    let mut wrong = Vec::new();
    for Vector { name, expect, bytes } in vectors() {
        let found = read(&bytes).map_or_else(|fault| fault.code(), |_| "ok");
        if found != expect {
            wrong.push(format!("{name} is {found} instead of {expect}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_files_are_those_the_kit_makes() {
    let folder = folder();
    let keep = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        if std::env::var_os("KAIBIAO_WRITE_VECTORS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, bytes).unwrap();
        }
        assert!(fs::read(&path).is_ok_and(|there| there == bytes), "{name} is what the kit makes");
    };
    let mut names = BTreeSet::from(["package_expect.json".to_owned()]);
    let mut list = Vec::new();
    for vector in vectors() {
        let name = format!("{}.bfbs", vector.name);
        // The few that are large are made by the test alone.
        if vector.bytes.len() < 16 * 1024 {
            keep(&name, &vector.bytes);
            list.push(json!({"file": name, "expect": vector.expect}));
            assert!(names.insert(name), "each vector has a name of its own");
        }
    }
    let expect = serde_json::to_string_pretty(&json!({ "vectors": list })).unwrap() + "\n";
    keep("package_expect.json", expect.as_bytes());
    let there = fs::read_dir(&folder).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), names, "nothing lies there that the kit does not make");
}

#[test]
fn there_is_a_vector_for_every_fault_of_the_specification() {
    let page = fs::read_to_string(folder().join("../../../docs/formats/bid-package.md")).unwrap();
    let faults = page.split("## 6. Faults").nth(1).unwrap().split("## 7.").next().unwrap();
    let named: BTreeSet<&str> =
        faults.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let made: BTreeSet<&str> =
        vectors().iter().map(|vector| vector.expect).filter(|it| *it != "ok").collect();
    assert_eq!(named, made);
}

// ---- Other readers.

/// What each reader makes of each file: entries by name and digest, or nothing where it complains.
type Readings = BTreeMap<String, BTreeMap<String, Option<Vec<(String, Option<String>)>>>>;

fn readings(folder: &Path) -> Readings {
    let python = std::env::var("KAIBIAO_PYTHON").unwrap_or("python3".into());
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/package_readers.py");
    let done = Command::new(python).arg(script).arg(folder).output();
    let done = done.expect("python3, unzip and bsdtar are there: scripts/setup --for-tests installs them");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// The entries of a package by our own reading.
fn our_reading(bytes: &[u8], package: &Package) -> Vec<(String, Option<String>)> {
    let digest = |offset: u64, len: u64| {
        let (from, to) = (offset as usize, (offset + len) as usize);
        Some(sha256(&bytes[from..to]).to_string())
    };
    let parts =
        package.parts().map(|place| (format!("parts/{}.zip", place.part), digest(place.offset, place.len)));
    let mut entries: Vec<_> = parts.collect();
    if let Some(sealing) = package.read_sealing().unwrap() {
        entries.push(("sealing/bid-key".into(), Some(sha256(sealing.bid_key.expose()).to_string())));
        entries.push(("sealing/header".into(), Some(sha256(&sealing.header).to_string())));
    }
    entries
}

/// Threat 2: a file with two readings. Whatever ours accepts, every reader reads alike.
#[test]
fn what_is_accepted_reads_alike_everywhere_and_what_reads_differently_is_refused() {
    let readings = readings(&folder());
    let mut disputed = BTreeSet::new();
    for Vector { name, expect, bytes } in vectors() {
        let Some(others) = readings.get(&format!("{name}.bfbs")) else { continue };
        match read(&bytes) {
            Ok(package) => {
                let ours = our_reading(&bytes, &package);
                for (reader, theirs) in others {
                    assert_eq!(theirs.as_ref(), Some(&ours), "{reader} reads {name}");
                }
            }
            Err(_) => {
                assert_ne!(expect, "ok");
                let distinct: BTreeSet<_> = others.values().flatten().collect();
                if distinct.len() > 1 {
                    disputed.insert(name);
                }
            }
        }
    }
    // The control: without strictness, these files would have meant two prices, or two lots, to two readers.
    for name in [
        "package_behind_another",
        "package_duplicate_entry",
        "package_extra_field_of_other_name",
        "package_hidden_entry",
        "package_in_the_comment_of_another",
    ] {
        assert!(disputed.contains(name), "{name} is read in two ways: {disputed:?}");
    }
}

#[test]
fn the_parts_within_read_alike_everywhere_too() {
    let inside = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    for Vector { name, expect, bytes } in vectors() {
        if expect != "ok" {
            continue;
        }
        let package = read(&bytes).unwrap();
        for place in package.parts() {
            let file = format!("{name}-{}.zip", place.part);
            let (from, to) = (place.offset as usize, (place.offset + place.len) as usize);
            fs::write(inside.path().join(&file), &bytes[from..to]).unwrap();
            let part = package.part(place.part).unwrap();
            let documents = part.documents().iter().map(|it| (it.name.clone(), Some(it.sha256.to_string())));
            let manifest = ("manifest.json".into(), Some(sha256(&part.manifest().to_bytes()).to_string()));
            expected.insert(file, documents.chain([manifest]).collect::<Vec<_>>());
        }
    }
    for (file, others) in readings(inside.path()) {
        for (reader, theirs) in others {
            assert_eq!(theirs.as_ref(), Some(&expected[&file]), "{reader} reads {file}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_package_is_noticed() {
    let mut sealed = good();
    sealed.entries.push(entry("sealing/bid-key", &[7; 32]));
    sealed.entries.push(entry("sealing/header", b"a header"));
    let bytes = sealed.bytes();
    assert!(read(&bytes).is_ok());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << bit;
            assert!(read(&bad).is_err(), "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn every_cut_or_doubled_stretch_of_a_package_is_noticed() {
    let bytes = good().bytes();
    // A small generator with a fixed seed: the same thousand stretches each time.
    let mut state = 20_190_620_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..1_000 {
        let from = next(bytes.len());
        let to = from + 1 + next(bytes.len() - from);
        let mut cut = bytes.clone();
        cut.drain(from..to);
        assert!(read(&cut).is_err(), "without {from}..{to}");
        let at = next(bytes.len() + 1);
        let mut doubled = bytes.clone();
        doubled.splice(at..at, bytes[from..to].iter().copied());
        assert!(read(&doubled).is_err(), "with {from}..{to} once more at {at}");
    }
}

// ---- Packing.

fn sheet(price: &str) -> BidSheet {
    BidSheet {
        price: Price::Total(price.parse().unwrap()),
        delivery_or_lead: "30日".into(),
        bid_security_method: "电子保函".into(),
        declaration_signed: true,
        remark: String::new(),
    }
}

/// What the kit's good package is packed from.
fn packing(folder: &Path) -> Packing {
    let document = |kind: DocumentKind, title: &str, bytes: &[u8]| {
        let path = folder.join(format!("{kind}.pdf"));
        fs::write(&path, bytes).unwrap();
        NewDocument { kind, title: title.into(), path }
    };
    let price = document(DocumentKind::Price, "报价文件", &pdf("price of lot-001"));
    Packing {
        project: "KX-00823".parse().unwrap(),
        supplier: "mingde".parse().unwrap(),
        common: vec![document(DocumentKind::Qualification, "资格文件", &pdf("qualification"))],
        lots: [(LotNo::new(1).unwrap(), NewLot { sheet: sheet("1180000.00"), documents: vec![price] })]
            .into(),
    }
}

#[test]
fn packing_gives_the_bytes_of_the_specification() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("bid.bfbs");
    let mut told = Vec::new();
    let packed = pack(&packing(folder.path()), &to, &mut |done, total| told.push((done, total))).unwrap();
    assert_eq!(fs::read(&to).unwrap(), good().bytes());
    packed.check().unwrap();
    let total = (pdf("qualification").len() + pdf("price of lot-001").len()) as u64;
    assert_eq!(told.last(), Some(&(total, total)));
    assert_eq!(packed.project().as_str(), "KX-00823");
    assert_eq!(packed.supplier().as_str(), "mingde");
    assert_eq!(packed.lots().collect::<Vec<_>>(), [LotNo::new(1).unwrap()]);
    assert!(packed.read_sealing().unwrap().is_none());
    let part = packed.part(PartName::Lot(LotNo::new(1).unwrap())).unwrap();
    assert_eq!(part.sheet(), Some(&sheet("1180000.00")));
    assert_eq!(packed.part(PartName::Common).unwrap().sheet(), None);
}

#[test]
fn a_package_keeps_its_sealing_and_its_parts_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bid.bfbs");
    let packed = pack(&packing(folder.path()), &path, &mut |_, _| ()).unwrap();
    let before: Vec<_> = packed.parts().collect();
    // Onto itself, and again: a second sealing takes the first one's place.
    for (key, header) in [([7; 32], b"first".as_slice()), ([8; 32], b"the header area")] {
        let sealed = Package::open(&path)
            .unwrap()
            .attach_sealing(&BidKey::from_bytes(&key).unwrap(), header, &path)
            .unwrap();
        sealed.check().unwrap();
        let sealing = sealed.read_sealing().unwrap().unwrap();
        assert_eq!((sealing.bid_key.expose(), sealing.header.as_slice()), (&key, header));
        assert_eq!(sealed.parts().collect::<Vec<_>>(), before);
    }
    let mut expected = good();
    expected.entries.push(entry("sealing/bid-key", &[8; 32]));
    expected.entries.push(entry("sealing/header", b"the header area"));
    assert_eq!(fs::read(&path).unwrap(), expected.bytes());
    let key = BidKey::from_bytes(&[7; 32]).unwrap();
    assert!(matches!(packed.attach_sealing(&key, b"", &path), Err(PackageFault::Sealing)));
    let long = vec![0; 1024 * 1024 + 1];
    assert!(matches!(packed.attach_sealing(&key, &long, &path), Err(PackageFault::Sealing)));
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no half-written file stays behind: {left:?}");
}

#[cfg(unix)]
#[test]
fn a_package_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bid.bfbs");
    pack(&packing(folder.path()), &path, &mut |_, _| ()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_cannot_be_packed_is_named_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("bid.bfbs");
    let good = packing(folder.path());
    let check = |change: &dyn Fn(&mut Packing), expected: &str| {
        let mut bad = good.clone();
        change(&mut bad);
        let fault = pack(&bad, &to, &mut |_, _| ()).err().unwrap();
        assert_eq!(fault.code(), expected, "{fault}");
        assert!(!to.exists());
    };
    let text = folder.path().join("text.pdf");
    fs::write(&text, "not a PDF").unwrap();
    check(&|it| it.lots.clear(), "parts_missing");
    check(&|it| it.common[0].path = text.clone(), "document");
    check(&|it| it.common[0].path = folder.path().to_owned(), "document");
    check(&|it| it.common[0].path = folder.path().join("missing.pdf"), "file");
    check(&|it| it.common[0].title = "\u{202e}".into(), "manifest_field");
    check(&|it| it.common = vec![it.common[0].clone(); 100], "manifest_field");
    let fault = pack(&good, &folder.path().join("no/such/folder.bfbs"), &mut |_, _| ()).err().unwrap();
    assert_eq!(fault.code(), "file");
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no half-written file stays behind: {left:?}");
}

#[test]
fn a_document_is_read_whole_or_by_ranges() {
    let bytes = lot("lot-001", "1180000.00").zip().bytes();
    let part = kaibiao_sealed::package::PartPackage::read(&bytes, bytes.len() as u64).unwrap();
    let mut whole = Vec::new();
    part.copy_document(&bytes, 1, &mut |piece| {
        whole.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    assert_eq!(whole, pdf("price of lot-001"));
    let window: Window<'_> = part.document(&bytes, 1).unwrap();
    let mut range = [0; 5];
    window.read_exact_at(&mut range, 11).unwrap();
    assert_eq!(range, whole[11..16]);
    assert!(window.read_exact_at(&mut range, window.len() - 4).is_err(), "a range ends with its document");
    assert!(part.document(&bytes, 0).is_none() && part.document(&bytes, 2).is_none());
    for no in [0, 2] {
        let fault = part.copy_document(&bytes, no, &mut |_| Ok(()));
        assert!(matches!(fault, Err(PackageFault::NoSuchDocument)));
    }
}

#[test]
fn a_fault_says_nothing_of_what_stands_in_the_package() {
    let secret = "4711.42";
    let mut part = lot("lot-001", secret);
    part.manifest = part.manifest.replace("\"remark\":\"\"", "\"remark\":4711.42");
    let packed = package(&[("common", common().zip().bytes()), ("lot-001", part.zip().bytes())]);
    let mut named = good();
    named.entries.push(entry("parts/4711.42", b""));
    for zip in [packed, named, zip(vec![entry("4711.42", b"4711.42")])] {
        let fault = read(&zip.bytes()).err().unwrap();
        assert!(!format!("{fault} {fault:?}").contains("4711"), "{fault:?}");
    }
}
