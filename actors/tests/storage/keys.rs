//! What holds of the platform's keys.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use kaibiao_actors::{
    clock::Clock,
    journal::{Journal, Stream, memory::MemoryJournal},
    keys::{KeyFault, KeyUse, PlatformKeys},
};
use tempfile::TempDir;

use crate::tools::{read_all, stream, write};

fn open(folder: &Path, journal: &dyn Journal) -> Result<PlatformKeys, KeyFault> {
    PlatformKeys::open(folder, journal, &Clock::start(None).unwrap())
}

fn refusal(folder: &Path, journal: &dyn Journal) -> KeyFault {
    open(folder, journal).map(|_| ()).unwrap_err()
}

/// A platform after its first start.
fn platform() -> (TempDir, MemoryJournal) {
    let (folder, journal) = (tempfile::tempdir().unwrap(), MemoryJournal::new());
    // As the server's folder makes it; a test's temporary folder may be open to others.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    open(folder.path(), &journal).unwrap();
    (folder, journal)
}

#[test]
fn the_first_start_makes_the_keys_and_every_later_one_finds_them() {
    let (folder, journal) = platform();
    let first = open(folder.path(), &journal).unwrap();
    let second = open(folder.path(), &journal).unwrap();
    assert_eq!(first.ids(), second.ids());
    assert_eq!(read_all(&journal, &Stream::Platform).len(), 1, "they are noted once");
    let wrapped = first.store.wrap("part key", "bid/common", b"secret");
    assert_eq!(second.store.unwrap("part key", "bid/common", &wrapped).unwrap().as_slice(), b"secret");
    for name in ["receipt.json", "opening.json", "store.json"] {
        let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn the_journal_notes_no_secret() {
    let (folder, journal) = platform();
    let noted = read_all(&journal, &Stream::Platform)[0].payload.clone();
    let noted = String::from_utf8(noted).unwrap();
    for name in ["receipt.json", "opening.json", "store.json"] {
        let file: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join(name)).unwrap()).unwrap();
        assert!(noted.contains(file["id"].as_str().unwrap()));
        assert!(!noted.contains(file["secret"].as_str().unwrap()));
    }
}

#[test]
fn keys_that_others_may_read_stop_the_start() {
    let (folder, journal) = platform();
    let path = folder.path().join("store.json");
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match refusal(folder.path(), &journal) {
            KeyFault::OpenToOthers { mode: found, wanted: 0o600, .. } => assert_eq!(found, mode),
            fault => panic!("{fault}"),
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    open(folder.path(), &journal).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
    assert!(matches!(refusal(folder.path(), &journal), KeyFault::OpenToOthers { wanted: 0o700, .. }));
}

#[test]
fn a_missing_key_stops_the_start_and_none_is_made_in_its_place() {
    for key in [KeyUse::Receipt, KeyUse::Opening, KeyUse::Store] {
        let (folder, journal) = platform();
        let path = folder.path().join(format!("{key}.json"));
        fs::remove_file(&path).unwrap();
        match refusal(folder.path(), &journal) {
            KeyFault::Missing { key: missing, .. } => assert_eq!(missing, key),
            fault => panic!("{fault}"),
        }
        assert!(!path.exists());
    }
}

#[test]
fn keys_of_another_platform_stop_the_start() {
    let ((folder, journal), (other, _)) = (platform(), platform());
    for key in [KeyUse::Receipt, KeyUse::Opening, KeyUse::Store] {
        let (own, foreign) =
            (folder.path().join(format!("{key}.json")), other.path().join(format!("{key}.json")));
        let kept = fs::read(&own).unwrap();
        fs::write(&own, fs::read(foreign).unwrap()).unwrap();
        match refusal(folder.path(), &journal) {
            KeyFault::Mismatched { key: wrong, .. } => assert_eq!(wrong, key),
            fault => panic!("{fault}"),
        }
        fs::write(&own, kept).unwrap();
    }
    open(folder.path(), &journal).unwrap();
}

#[test]
fn two_keys_in_each_other_s_place_stop_the_start() {
    let (folder, journal) = platform();
    let (receipt, opening) = (folder.path().join("receipt.json"), folder.path().join("opening.json"));
    let kept = fs::read(&receipt).unwrap();
    fs::write(&receipt, fs::read(&opening).unwrap()).unwrap();
    fs::write(&opening, kept).unwrap();
    assert!(matches!(refusal(folder.path(), &journal), KeyFault::Malformed { .. }));
}

#[test]
fn a_journal_that_notes_no_keys_is_not_given_any() {
    let (folder, journal) = (tempfile::tempdir().unwrap(), MemoryJournal::new());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    write(&journal, &stream("KX-1"), 0, 1);
    assert!(matches!(refusal(folder.path(), &journal), KeyFault::NotNoted));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_first_start_that_crashed_between_two_keys_is_gone_on_with() {
    let (folder, _) = platform();
    let made = fs::read(folder.path().join("receipt.json")).unwrap();
    fs::remove_file(folder.path().join("store.json")).unwrap();
    fs::write(folder.path().join("store.json.new"), "half").unwrap();
    let journal = MemoryJournal::new();
    open(folder.path(), &journal).unwrap();
    assert_eq!(fs::read(folder.path().join("receipt.json")).unwrap(), made);
    open(folder.path(), &journal).unwrap();
}

#[test]
fn a_malformed_key_file_is_refused_without_quoting_it() {
    let (folder, journal) = platform();
    let path = folder.path().join("store.json");
    let whole = fs::read_to_string(&path).unwrap();
    let file: serde_json::Value = serde_json::from_str(&whole).unwrap();
    let secret = file["secret"].as_str().unwrap();
    let format = "\"kaibiao-key/1\"";
    for malformed in [
        String::new(),
        whole.replace(format, "\"kaibiao-key/2\""),
        whole.replace("\"secret\"", "\"secrets\""),
        whole.replace("  \"id\"", "  \"id\": \"\",\n  \"id\""),
        whole.replace(secret, &secret[4..]),
        whole.replace(secret, "????"),
        whole.replace("AES-256-GCM", "AES-128-GCM"),
        format!("{whole}{}", " ".repeat(20_000)),
        whole.replace(secret, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ] {
        fs::write(&path, &malformed).unwrap();
        let fault = refusal(folder.path(), &journal);
        assert!(matches!(fault, KeyFault::Malformed { key: KeyUse::Store, .. }), "{malformed}: {fault}");
        assert!(!fault.to_string().contains(&secret[..8]), "{fault}");
    }
}
