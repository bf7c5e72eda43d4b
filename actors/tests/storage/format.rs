//! The stored form, held against its specification by a reader that knows nothing else.

use std::{env, fs, path::PathBuf, process::Command};

use kaibiao_actors::journal::{Append, Journal, RawRecord, SqliteJournal};
use kaibiao_protocol::{ids::CommandId, moment::Moment};

use crate::tools::{append, flip_bit, payload, places, stream, write};

const SPECIFICATION: &str = include_str!("../../../docs/formats/journal.md");

#[test]
fn the_specification_s_example_is_what_a_journal_writes() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let example = [("KX-1", 0, None), ("KX-1", 1, Some(CommandId([7; 16]))), ("KX-2", 0, None)];
    for ((name, expected_seq, command_id), no) in example.into_iter().zip(1..) {
        let record = RawRecord {
            kind: "happened",
            version: 1,
            at: Moment(1_767_225_599_999_999 + no),
            command_id,
            payload: format!("{{\"no\":{no}}}").into_bytes(),
        };
        let records = vec![record];
        let append = Append { stream: stream(name), expected_seq, records, wake_at: None, side: Vec::new() };
        let hash = journal.append(append).wait().unwrap().hashes[0];
        let head = journal.head();
        let row = format!(
            "| {} | `{}` {} | `{hash}` | `{}` |",
            head.position,
            stream(name),
            expected_seq + 1,
            head.hash
        );
        assert!(SPECIFICATION.contains(&row), "{row}");
    }
    drop(journal);
    let head = fs::read_to_string(folder.path().join("head")).unwrap();
    let lines: Vec<&str> = head.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect();
    assert!(lines.iter().any(|line| SPECIFICATION.contains(&format!("\n{line}\n"))), "{lines:?}");
}

/// Runs the independent reader: whether it holds the journal for whole, and what it says.
fn read_independently(journal: &std::path::Path) -> (bool, String) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/storage/read_journal.py");
    let python = env::var_os("KAIBIAO_PYTHON").unwrap_or_else(|| "python3".into());
    let output = Command::new(python).arg(script).arg(journal).output().expect("python3 is installed");
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said)
}

#[test]
fn a_reader_written_from_the_specification_verifies_a_backup() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, 40);
    write(&journal, &stream("KX-2"), 0, 2);
    journal.append(append(&stream("KX-1"), 40, 3)).wait().unwrap();
    let backup = backups.path().join("backup");
    let head = journal.backup(&backup).unwrap();
    let (whole, said) = read_independently(&backup);
    assert!(whole, "{said}");
    assert!(said.contains(&format!("45 records, 2 streams, {}", head.hash)), "{said}");

    let database = backup.join("journal.db");
    let found = places(&fs::read(&database).unwrap(), &payload(40))[0];
    flip_bit(&database, found);
    let (whole, said) = read_independently(&backup);
    assert!(!whole && said.contains("record 40"), "{said}");
}
