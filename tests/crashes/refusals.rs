//! The real program on a journal that is damaged: it does not start, says what to do, and changes nothing; what lies
//! beyond the head it cuts, says so, and starts.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kaibiao_bidder::practice::server::{ServerProcess, administer};
use serde_json::json;
use tempfile::TempDir;

use crate::cast::order;

const JOURNAL: [&str; 4] = ["journal.db", "journal.db-wal", "head", "verified"];

fn kaibiao() -> PathBuf {
    env!("CARGO_BIN_EXE_kaibiao").into()
}

fn log(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("log")).unwrap()
}

fn journal(folder: &TempDir) -> PathBuf {
    folder.path().join("data/journal")
}

async fn serve(folder: &TempDir) -> ServerProcess {
    ServerProcess::start(&kaibiao(), &folder.path().join("data"), &folder.path().join("log")).await.unwrap()
}

/// Organisations with these numbers are made known; each is a record.
async fn add(server: &ServerProcess, numbers: std::ops::Range<u32>) {
    for no in numbers {
        let name = name(no);
        let add =
            json!({ "do": "add_organisation", "id": format!("org-{no}"), "name": name, "kind": "supplier" });
        order(server.data(), json!({ "directory": add })).await;
    }
}

fn name(no: u32) -> String {
    format!("FIRM<{no:04}>LTD")
}

/// A folder whose server was stopped in order after so many organisations.
async fn stopped(organisations: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(&folder).await;
    add(&server, 0..organisations).await;
    server.stop().await.unwrap();
    folder
}

fn content(journal: &Path) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name: &'static str| Some((name, fs::read(journal.join(name)).ok()?));
    JOURNAL.into_iter().filter_map(read).collect()
}

fn put(journal: &Path, files: &BTreeMap<&'static str, Vec<u8>>, names: &[&'static str]) {
    for name in names {
        fs::write(journal.join(name), &files[name]).unwrap();
    }
}

/// Changes a record's payload where it lies.
fn damage(journal: &Path, no: u32) {
    let path = journal.join("journal.db");
    let mut bytes = fs::read(&path).unwrap();
    let wanted = name(no).into_bytes();
    let place = bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is stored");
    bytes[place] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Starts the program, which must refuse with these words and a section of the operations page, and change nothing.
fn refuses(folder: &TempDir, words: &str) {
    let journal = journal(folder);
    let before = content(&journal);
    let data = folder.path().join("data");
    let mut command = Command::new(kaibiao());
    let output = command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "it started: {said}");
    assert!(said.contains(words), "{words}: {said}");
    let (_, section) = said.split_once("docs/operations.md, \"").unwrap_or_else(|| panic!("no page: {said}"));
    let section = section.split('"').next().unwrap();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md")).unwrap();
    assert!(page.contains(&format!("\n### {section}\n")), "the page has no section {section:?}");
    assert!(content(&journal) == before, "a refused start changes nothing");
}

#[actix_web::test]
async fn the_program_does_not_start_on_a_journal_that_ends_before_its_head() {
    let folder = stopped(3).await;
    let journal = journal(&folder);
    let older = content(&journal);
    let server = serve(&folder).await;
    add(&server, 3..6).await;
    server.stop().await.unwrap();
    let newer = content(&journal);

    put(&journal, &older, &["journal.db"]);
    refuses(&folder, "the journal ends at record");
    fs::remove_file(journal.join("journal.db")).unwrap();
    refuses(&folder, "there is no journal beside it");
    put(&journal, &newer, &["journal.db"]);
    serve(&folder).await.stop().await.unwrap();
}

#[actix_web::test]
async fn the_program_does_not_start_on_a_damaged_journal_or_a_head_that_does_not_fit() {
    let folder = stopped(4).await;
    let journal = journal(&folder);
    let whole = content(&journal);
    for no in [0, 2, 3] {
        damage(&journal, no);
        refuses(&folder, "the journal is damaged at record");
        put(&journal, &whole, &["journal.db"]);
    }
    fs::remove_file(journal.join("head")).unwrap();
    refuses(&folder, "is missing or unreadable");
    let other = content(&self::journal(&stopped(4).await));
    put(&journal, &other, &["head", "verified"]);
    refuses(&folder, "are not those its head was written for");
    put(&journal, &whole, &["head", "verified"]);
    serve(&folder).await.stop().await.unwrap();
}

/// Whether an organisation is known.
async fn knows(server: &ServerProcess, no: u32) -> bool {
    let listed = administer(server.data(), &json!({ "list_organisations": {} })).await.unwrap().to_string();
    listed.contains(&format!("\"org-{no}\""))
}

#[actix_web::test]
async fn what_lies_beyond_the_head_is_cut_and_reported() {
    // A record that does not hold.
    let folder = stopped(3).await;
    let journal = journal(&folder);
    let older = content(&journal);
    let server = serve(&folder).await;
    add(&server, 3..5).await;
    server.stop().await.unwrap();
    put(&journal, &older, &["head"]);
    fs::remove_file(journal.join("verified")).unwrap();
    damage(&journal, 4);
    let server = serve(&folder).await;
    assert!(log(&folder).contains("records beyond the head were cut"), "{}", log(&folder));
    assert!(knows(&server, 3).await, "what holds stays");
    assert!(!knows(&server, 4).await, "what does not is gone, and may be told again");

    // A log that ends within a transaction: the machine went down while it was written.
    add(&server, 5..6).await;
    let head = content(&journal);
    add(&server, 6..7).await;
    drop(server);
    put(&journal, &head, &["head"]);
    let wal = fs::OpenOptions::new().write(true).open(journal.join("journal.db-wal")).unwrap();
    let used = content(&journal)["journal.db-wal"].iter().rposition(|byte| *byte != 0).unwrap() as u64;
    wal.set_len(used - 20).unwrap();
    let server = serve(&folder).await;
    assert!(log(&folder).contains("the journal's log ended within a transaction"), "{}", log(&folder));
    assert!(knows(&server, 5).await && !knows(&server, 6).await);
    server.stop().await.unwrap();
}
