//! Backups of a running server, and beginning anew from one.

use std::fs;

use kaibiao_actors::{
    backup::{BackupFault, back_up, restore},
    data_dir::DataDir,
    files::{FileSettings, Files, LocalFiles, SMALL_FILE_BYTES_MAX},
    journal::{Journal, JournalFault, SqliteJournal, restore_journal},
};

use crate::tools::{append, flip_bit, payload, places, read_all, stream, write};

#[test]
fn a_backup_taken_while_writing_goes_on_is_whole() {
    let (folder, backups) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let a = stream("KX-1");
    write(&journal, &a, 0, 200);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for seq in 200..600 {
                write(&journal, &a, seq, 1);
            }
        });
        let mut last = 0;
        for no in 0..5 {
            let before = journal.head().position;
            let head = journal.backup(&backups.path().join(no.to_string())).unwrap();
            assert!(
                head.position >= before.max(last),
                "a backup holds all that was durable when it was asked for"
            );
            last = head.position;
        }
        writing.join().unwrap();
    });
    for no in 0..5 {
        let from = backups.path().join(no.to_string());
        let into = tempfile::tempdir().unwrap();
        let report = restore_journal(&from, &into.path().join("journal")).unwrap();
        assert!(report.records >= 200);
        let restored = SqliteJournal::open(&into.path().join("journal")).unwrap();
        assert_eq!(
            read_all(&restored, &a),
            read_all(&journal, &a)[..usize::try_from(report.records).unwrap()]
        );
    }
}

#[test]
fn a_restore_begins_a_new_epoch_and_leaves_the_backup_as_it_is() {
    let (folder, backup, into) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, 3);
    journal.backup(backup.path()).unwrap();
    let before = fs::read(backup.path().join("journal.db")).unwrap();
    let report = restore_journal(backup.path(), into.path()).unwrap();
    assert_eq!((report.records, report.epoch), (3, journal.report().epoch + 1));
    assert_eq!(fs::read(backup.path().join("journal.db")).unwrap(), before);
    let restored = SqliteJournal::open(into.path()).unwrap();
    write(&restored, &stream("KX-1"), 3, 1);
    write(&journal, &stream("KX-1"), 3, 1);
}

#[test]
fn a_damaged_or_cut_backup_is_not_restored() {
    let (folder, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, 9);
    journal.backup(backup.path()).unwrap();
    let database = backup.path().join("journal.db");
    let found = places(&fs::read(&database).unwrap(), &payload(7))[0];
    flip_bit(&database, found + 2);
    let into = tempfile::tempdir().unwrap();
    let fault = restore_journal(backup.path(), &into.path().join("a")).unwrap_err();
    assert!(matches!(fault, JournalFault::Broken { position: 7, .. }), "{fault}");
    flip_bit(&database, found + 2);
    restore_journal(backup.path(), &into.path().join("b")).unwrap();
    fs::remove_file(backup.path().join("head")).unwrap();
    assert!(restore_journal(backup.path(), &into.path().join("c")).is_err());
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    write(&journal, &stream("KX-1"), 0, 1);
    assert!(matches!(journal.backup(folder.path()), Err(JournalFault::NotEmpty { .. })));
    let backup = tempfile::tempdir().unwrap();
    journal.backup(backup.path()).unwrap();
    assert!(matches!(restore_journal(backup.path(), folder.path()), Err(JournalFault::NotEmpty { .. })));
}

#[test]
fn a_whole_backup_holds_every_file_its_journal_names() {
    for small_bytes_max in [0, SMALL_FILE_BYTES_MAX] {
        backs_up(FileSettings { room_kept_bytes: 0, staged_open_max: 8, small_bytes_max });
    }
}

fn backs_up(settings: FileSettings) {
    let (data, backup, into) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = DataDir::open(data.path()).unwrap();
    let journal = SqliteJournal::open(&folder.journal()).unwrap();
    let files = LocalFiles::open_with(&folder.files(), settings).unwrap();
    write(&journal, &stream("KX-1"), 0, 4);
    let (sealed, staged) = (files.begin(6).unwrap(), files.begin(6).unwrap());
    for id in [sealed, staged] {
        files.write_at(&id, 0, b"whole!").unwrap();
    }
    files.finish(&sealed).unwrap();
    files.sync(&staged).unwrap();
    back_up(&journal, &files, backup.path()).unwrap();
    assert!(matches!(back_up(&journal, &files, backup.path()), Err(BackupFault::NotEmpty { .. })));

    let restored = into.path().join("data");
    assert_eq!(restore(backup.path(), &restored).unwrap().records, 4);
    let folder = DataDir::open(&restored).unwrap();
    let files = LocalFiles::open_with(&folder.files(), settings).unwrap();
    assert_eq!(files.open(&sealed).unwrap().bytes(), 6);
    assert_eq!(files.staged().unwrap(), [staged]);
    assert!(!folder.keys().exists(), "keys are backed up apart");
    SqliteJournal::open(&folder.journal()).unwrap().append(append(&stream("KX-1"), 4, 1)).wait().unwrap();
    drop(folder);
    assert!(matches!(restore(backup.path(), &restored), Err(BackupFault::NotEmpty { .. })));

    fs::remove_file(backup.path().join("BACKUP")).unwrap();
    assert!(matches!(restore(backup.path(), &into.path().join("x")), Err(BackupFault::NotWhole { .. })));
}
