//! What a start does with a journal that is not whole.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kaibiao_actors::journal::{
    AppendFault, Journal, JournalFault, JournalSettings, SqliteJournal, WritingEnd,
};
use kaibiao_sealed::digest::sha256;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::tools::{append, copy_folder, flip_bit, payload, places, read_all, stream, write};

/// The folder of a journal that crashed after `count` appends of one record each: nothing moved from SQLite's
/// log.
fn crashed(count: u64) -> TempDir {
    let live = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(live.path()).unwrap();
    for no in 0..count {
        write(&journal, &stream("KX-1"), no, 1);
    }
    let crashed = tempfile::tempdir().unwrap();
    copy_folder(live.path(), crashed.path());
    crashed
}

/// The folder of a journal that was closed in order.
fn closed(count: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, count);
    folder
}

/// Bytes of a log before the room made in it.
fn used(wal: &[u8]) -> usize {
    wal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

fn refusal(folder: &Path) -> JournalFault {
    match SqliteJournal::open(folder) {
        Ok(journal) => panic!("started with {:?}", journal.report()),
        Err(fault) => fault,
    }
}

/// What lies in a folder, without SQLite's shared memory.
fn content(folder: &Path) -> BTreeMap<PathBuf, String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| !path.to_str().unwrap().ends_with("-shm"))
        .map(|path| (path.clone(), sha256(&fs::read(&path).unwrap()).to_string()))
        .collect()
}

#[test]
fn a_crashed_journal_starts_with_all_that_was_acknowledged() {
    let folder = crashed(20);
    assert!(fs::metadata(folder.path().join("journal.db-wal")).unwrap().len() > 0);
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let report = journal.report();
    assert_eq!((report.records, report.epoch, &report.cut, report.torn_frames), (20, 2, &None, 0));
    assert_eq!(read_all(&journal, &stream("KX-1")).len(), 20);
    write(&journal, &stream("KX-1"), 20, 1);
}

#[test]
fn one_flipped_bit_in_the_log_stops_the_start() {
    let whole = crashed(20);
    let wal = fs::read(whole.path().join("journal.db-wal")).unwrap();
    // Every frame's header and page, and the log's own header.
    let step = (24 + 4_096) / 2 + 1;
    let mut refused = 0;
    for place in (0..used(&wal)).step_by(step) {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), folder.path());
        flip_bit(&folder.path().join("journal.db-wal"), place);
        let before = content(folder.path());
        match SqliteJournal::open(folder.path()) {
            Err(
                JournalFault::EndsBeforeHead { head: 20, .. }
                | JournalFault::NotAJournal { .. }
                | JournalFault::HeadUnreadable { .. },
            ) => {
                refused += 1;
                assert_eq!(content(folder.path()), before, "a refused start changes nothing (byte {place})");
            }
            Err(fault) => panic!("byte {place}: {fault}"),
            // Bytes that SQLite does not look at: all is there.
            Ok(journal) => {
                assert_eq!(read_all(&journal, &stream("KX-1")).len(), 20, "byte {place} of {}", used(&wal));
            }
        }
    }
    assert!(refused > 20, "{refused} of {} places", used(&wal) / step);
}

#[test]
fn one_flipped_bit_in_any_record_stops_the_start() {
    let whole = closed(12);
    for no in 1..=12 {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(whole.path(), folder.path());
        let database = folder.path().join("journal.db");
        let found = places(&fs::read(&database).unwrap(), &payload(no));
        assert_eq!(found.len(), 1);
        flip_bit(&database, found[0] + 3);
        let before = content(folder.path());
        match refusal(folder.path()) {
            JournalFault::Broken { position, seq, .. } => assert_eq!((position, seq), (no, no)),
            fault => panic!("record {no}: {fault}"),
        }
        assert_eq!(content(folder.path()), before, "a refused start changes nothing");
    }
}

/// Changes the database as someone with SQLite at hand would.
fn tamper(folder: &Path, sql: &str) {
    let database = Connection::open(folder.join("journal.db")).unwrap();
    for trigger in ["records_are_never_changed", "records_are_never_deleted"] {
        database.execute_batch(&format!("DROP TRIGGER IF EXISTS {trigger}")).unwrap();
    }
    database.execute_batch(sql).unwrap();
}

#[test]
fn every_tampering_with_a_record_stops_the_start() {
    for (sql, position) in [
        ("UPDATE records SET at = at + 1 WHERE position = 5", 5),
        ("UPDATE records SET kind = 'other' WHERE position = 5", 5),
        ("UPDATE records SET version = 2 WHERE position = 5", 5),
        ("UPDATE records SET command_id = NULL WHERE position = 6", 6),
        ("UPDATE records SET command_id = x'00' WHERE position = 6", 6),
        ("UPDATE records SET hash = zeroblob(32) WHERE position = 5", 5),
        ("UPDATE records SET stream = 'project/KX-2' WHERE position = 5", 5),
        ("UPDATE records SET seq = 50 WHERE position = 5", 5),
        ("DELETE FROM records WHERE position = 5", 5),
        ("DELETE FROM records WHERE position = 1", 1),
    ] {
        let folder = closed(12);
        tamper(folder.path(), sql);
        match refusal(folder.path()) {
            JournalFault::Broken { position: found, .. } => assert_eq!(found, position, "{sql}"),
            fault => panic!("{sql}: {fault}"),
        }
    }
}

#[test]
fn records_missing_at_the_end_stop_the_start() {
    let folder = closed(12);
    tamper(folder.path(), "DELETE FROM records WHERE position > 10");
    assert!(matches!(refusal(folder.path()), JournalFault::EndsBeforeHead { last: 10, head: 12 }));
}

#[test]
fn a_whole_chain_written_anew_does_not_fit_the_head() {
    let (folder, other) = (closed(12), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(other.path()).unwrap();
    write(&journal, &stream("KX-9"), 0, 12);
    drop(journal);
    fs::copy(other.path().join("journal.db"), folder.path().join("journal.db")).unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::HeadDiffers { position: 12 }));
}

#[test]
fn an_index_that_does_not_fit_the_records_stops_the_start() {
    for sql in [
        "UPDATE by_stream SET position = 6 WHERE seq = 5",
        "UPDATE by_stream SET seq = 50 WHERE seq = 12",
        "UPDATE by_stream SET stream = 'project/KX-2' WHERE seq = 12",
        "DELETE FROM by_stream WHERE seq = 12",
        "DELETE FROM by_stream",
        "INSERT INTO by_stream VALUES ('project/KX-2', 1, 7)",
        "UPDATE indexed SET upto = 11; DELETE FROM by_stream WHERE seq = 11",
        "UPDATE indexed SET upto = 13",
    ] {
        let folder = closed(12);
        tamper(folder.path(), sql);
        let fault = refusal(folder.path());
        assert!(matches!(fault, JournalFault::DatabaseDamaged { .. }), "{sql}: {fault}");
    }
}

#[test]
fn an_index_that_lags_behind_the_records_is_brought_up() {
    let folder = closed(12);
    tamper(folder.path(), "UPDATE indexed SET upto = 7; DELETE FROM by_stream WHERE seq > 7 AND seq <> 9");
    let journal = SqliteJournal::open(folder.path()).unwrap();
    assert_eq!(read_all(&journal, &stream("KX-1")).len(), 12);
    write(&journal, &stream("KX-1"), 12, 1);
}

#[test]
fn a_journal_without_its_head_does_not_start() {
    let folder = closed(3);
    fs::remove_file(folder.path().join("head")).unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::HeadUnreadable { .. }));

    let folder = closed(3);
    fs::write(folder.path().join("head"), "nonsense\n").unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::HeadUnreadable { .. }));
}

#[test]
fn a_head_without_its_journal_does_not_start() {
    let folder = closed(3);
    fs::remove_file(folder.path().join("journal.db")).unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::JournalMissing { head: 3 }));
    fs::write(folder.path().join("journal.db"), "").unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::EndsBeforeHead { last: 0, head: 3 }));
}

#[test]
fn a_first_start_that_crashed_anywhere_is_gone_on_with() {
    let folder = closed(0);
    for lost in
        [vec!["head", "verified"], vec!["head", "verified", "journal.db"], vec!["verified", "journal.db"]]
    {
        let again = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), again.path());
        // A first start begins its epoch last.
        tamper(again.path(), "DELETE FROM epochs");
        for name in lost {
            fs::remove_file(again.path().join(name)).unwrap();
        }
        let journal = SqliteJournal::open(again.path()).unwrap();
        assert_eq!(journal.report().epoch, 1);
        write(&journal, &stream("KX-1"), 0, 1);
    }
}

#[test]
fn what_is_no_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal.db"), vec![b'x'; 8_192]).unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::NotAJournal { .. }));

    let folder = tempfile::tempdir().unwrap();
    Connection::open(folder.path().join("journal.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert!(matches!(refusal(folder.path()), JournalFault::NotAJournal { .. }));

    let folder = closed(3);
    Connection::open(folder.path().join("journal.db"))
        .unwrap()
        .execute_batch("PRAGMA user_version = 2")
        .unwrap();
    let fault = refusal(folder.path());
    assert!(fault.to_string().contains("use a newer program"), "{fault}");
}

/// A crashed journal whose head on the disk is still that of `head_at` records.
fn crashed_with_older_head(head_at: u64, count: u64) -> TempDir {
    let live = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(live.path()).unwrap();
    let crashed = tempfile::tempdir().unwrap();
    for no in 0..count {
        if no == head_at {
            copy_folder(live.path(), crashed.path());
        }
        write(&journal, &stream("KX-1"), no, 1);
    }
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(live.path().join(name), crashed.path().join(name)).unwrap();
    }
    crashed
}

/// Cuts the log off within its last page.
fn tear(wal: &Path) {
    let bytes = used(&fs::read(wal).unwrap()) as u64;
    fs::OpenOptions::new().write(true).open(wal).unwrap().set_len(bytes - 100).unwrap();
}

#[test]
fn a_log_torn_beyond_the_head_is_cut_and_reported() {
    let folder = crashed_with_older_head(8, 10);
    let wal = folder.path().join("journal.db-wal");
    tear(&wal);
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let report = journal.report();
    assert_eq!(report.records, 9, "the last append alone is gone");
    assert!(report.torn_frames > 0);
    assert_eq!(journal.head().position, 9);
    write(&journal, &stream("KX-1"), 9, 1);
}

#[test]
fn a_log_torn_before_the_head_stops_the_start() {
    let folder = crashed(10);
    let wal = folder.path().join("journal.db-wal");
    tear(&wal);
    let before = content(folder.path());
    assert!(matches!(refusal(folder.path()), JournalFault::EndsBeforeHead { last: 9, head: 10 }));
    assert_eq!(content(folder.path()), before);
}

#[test]
fn a_record_broken_beyond_the_head_is_cut_with_all_behind_it_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, 6);
    let older_head = fs::read(folder.path().join("head")).unwrap();
    write(&journal, &stream("KX-1"), 6, 1);
    write(&journal, &stream("KX-2"), 0, 3);
    drop(journal);
    fs::write(folder.path().join("head"), older_head).unwrap();
    fs::remove_file(folder.path().join("verified")).unwrap();
    tamper(folder.path(), "UPDATE records SET at = 0 WHERE position = 8");

    let journal = SqliteJournal::open(folder.path()).unwrap();
    let cut = journal.report().cut.clone().expect("the cut is reported");
    assert_eq!((cut.from_position, cut.records), (8, 3));
    assert_eq!(journal.head().position, 7);
    assert!(read_all(&journal, &stream("KX-2")).is_empty());
    write(&journal, &stream("KX-2"), 0, 1);
    drop(journal);
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().report().cut, None, "reported once");
}

#[test]
fn a_long_journal_is_verified_from_its_mark_on() {
    let settings = JournalSettings { verify_whole_records_max: 10, ..JournalSettings::default() };
    let folder = closed(12);
    tamper(folder.path(), "UPDATE records SET at = 0 WHERE position = 3");
    let journal = SqliteJournal::open_with(folder.path(), settings).unwrap();
    assert_eq!(journal.report().verified_from, 13);
    // What was not verified at the start is when it is read.
    assert!(matches!(journal.read(&stream("KX-1"), 0, 10), Err(JournalFault::Broken { position: 3, .. })));
    write(&journal, &stream("KX-1"), 12, 3);
    write(&journal, &stream("KX-2"), 0, 1);
    let crashed = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), crashed.path());
    let again = SqliteJournal::open_with(crashed.path(), settings).unwrap();
    assert_eq!((again.report().verified_from, again.report().records), (13, 16));
    drop(again);
    tamper(crashed.path(), "UPDATE records SET at = 0 WHERE position = 14");
    assert!(SqliteJournal::open_with(crashed.path(), settings).is_ok(), "its mark is beyond by now");
    assert!(
        matches!(refusal(crashed.path()), JournalFault::Broken { position: 3, .. }),
        "all of it is looked at"
    );
}

#[test]
fn damage_behind_the_mark_stops_the_start_of_a_long_journal() {
    let settings = JournalSettings { verify_whole_records_max: 10, ..JournalSettings::default() };
    let folder = closed(12);
    let journal = SqliteJournal::open_with(folder.path(), settings).unwrap();
    write(&journal, &stream("KX-1"), 12, 3);
    let mark = fs::read(folder.path().join("verified")).unwrap();
    drop(journal);
    fs::write(folder.path().join("verified"), mark).unwrap();
    tamper(folder.path(), "UPDATE records SET at = 0 WHERE position = 14");
    let fault = SqliteJournal::open_with(folder.path(), settings).map(|_| ()).unwrap_err();
    assert!(matches!(fault, JournalFault::Broken { position: 14, .. }), "{fault}");
}

#[test]
fn the_mark_of_what_was_verified_counts_as_a_head_too() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, 6);
    let older_head = fs::read(folder.path().join("head")).unwrap();
    write(&journal, &stream("KX-1"), 6, 6);
    drop(journal);
    fs::write(folder.path().join("head"), older_head).unwrap();
    tamper(folder.path(), "DELETE FROM records WHERE position > 10");
    assert!(matches!(refusal(folder.path()), JournalFault::EndsBeforeHead { last: 10, head: 12 }));
}

#[test]
fn a_wrong_mark_makes_for_a_longer_start_and_no_more() {
    let settings = JournalSettings { verify_whole_records_max: 10, ..JournalSettings::default() };
    let (folder, other) = (closed(12), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(other.path()).unwrap();
    write(&journal, &stream("KX-9"), 0, 12);
    drop(journal);
    fs::copy(other.path().join("verified"), folder.path().join("verified")).unwrap();
    let journal = SqliteJournal::open_with(folder.path(), settings).unwrap();
    assert_eq!(journal.report().verified_from, 1);
}

#[test]
fn a_record_that_breaks_while_the_server_runs_fails_its_reader() {
    let folder = closed(5);
    let journal = SqliteJournal::open(folder.path()).unwrap();
    tamper(folder.path(), "UPDATE records SET payload = x'00' WHERE position = 3");
    let fault = journal.read(&stream("KX-1"), 0, 10).unwrap_err();
    assert!(matches!(fault, JournalFault::Broken { position: 3, .. }), "{fault}");
    assert_eq!(journal.read(&stream("KX-1"), 3, 10).unwrap().len(), 2, "what does not rest on it is given");
}

#[test]
fn a_second_server_ends_the_writing_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteJournal::open(folder.path()).unwrap();
    write(&first, &stream("KX-1"), 0, 1);
    let second = SqliteJournal::open(folder.path()).unwrap();
    write(&second, &stream("KX-1"), 1, 1);
    assert_eq!(first.append(append(&stream("KX-1"), 2, 1)).wait(), Err(AppendFault::WritingEnded));
    assert_eq!(first.append(append(&stream("KX-2"), 0, 1)).wait(), Err(AppendFault::WritingEnded));
    assert_eq!(first.meters().writing_ended, Some(WritingEnd::Superseded));
    assert!(!read_all(&first, &stream("KX-1")).is_empty(), "reading goes on");
    write(&second, &stream("KX-1"), 2, 1);
    drop(first);
    drop(second);
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().head().position, 3);
}

#[test]
fn the_database_itself_forbids_changing_a_record() {
    let folder = closed(3);
    let database = Connection::open(folder.path().join("journal.db")).unwrap();
    for sql in ["UPDATE records SET at = 0", "DELETE FROM records WHERE position = 3"] {
        let fault = database.execute_batch(sql).unwrap_err();
        assert!(fault.to_string().contains("records are never"), "{fault}");
    }
}
