//! What holds of the store of files.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kaibiao_actors::files::{FILE_BYTES_MAX, FileFault, FileSettings, Files, LocalFiles, STAGED_OPEN_MAX};
use kaibiao_protocol::ids::FileId;

fn store(folder: &Path) -> LocalFiles {
    LocalFiles::open_with(
        folder,
        FileSettings { room_kept_bytes: 0, staged_open_max: STAGED_OPEN_MAX, small_bytes_max: 0 },
    )
    .unwrap()
}

fn path(folder: &Path, place: &str, id: &FileId) -> PathBuf {
    let name = id.to_string();
    folder.join(place).join(&name[..2]).join(name)
}

fn read(files: &LocalFiles, id: &FileId) -> Vec<u8> {
    let file = files.open(id).unwrap();
    let mut bytes = vec![0; usize::try_from(file.bytes()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_file_is_staged_piece_by_piece_and_then_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(9).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    files.write_at(&id, 3, b"def").unwrap();
    assert_eq!(files.staged_bytes(&id).unwrap(), 6);
    files.sync(&id).unwrap();
    files.write_at(&id, 6, b"ghi").unwrap();
    assert_eq!(read(&files, &id), b"abcdefghi", "it can be checked before it is sealed");
    assert_eq!(files.staged().unwrap(), [id]);
    files.finish(&id).unwrap();
    assert_eq!(read(&files, &id), b"abcdefghi");
    assert!(files.staged().unwrap().is_empty());
    assert!(!path(folder.path(), "staged", &id).exists());

    let file = files.open(&id).unwrap();
    let mut middle = [0; 3];
    file.read_exact_at(&mut middle, 4).unwrap();
    assert_eq!(&middle, b"efg");
    assert!(file.read_exact_at(&mut middle, 7).is_err(), "beyond its end");
}

#[test]
fn a_sealed_file_is_never_changed() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(3).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    files.finish(&id).unwrap();
    assert!(matches!(files.write_at(&id, 0, b"x"), Err(FileFault::Unknown(_))));
    assert!(matches!(files.staged_bytes(&id), Err(FileFault::Unknown(_))));
    files.finish(&id).unwrap();
    assert_eq!(read(&files, &id), b"abc");
}

#[test]
fn a_gap_is_refused_and_what_is_there_may_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(10).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    assert!(matches!(files.write_at(&id, 4, b"x"), Err(FileFault::Gap { staged_bytes: 3, .. })));
    files.write_at(&id, 1, b"BCD").unwrap();
    assert_eq!(read(&files, &id), b"aBCD");
    assert!(matches!(files.write_at(&id, u64::MAX, b"x"), Err(FileFault::Gap { .. })));
}

#[test]
fn the_next_start_finds_what_was_staged_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let (a, b, c) = (files.begin(6).unwrap(), files.begin(3).unwrap(), files.begin(3).unwrap());
    files.write_at(&a, 0, b"abc").unwrap();
    files.write_at(&b, 0, b"xyz").unwrap();
    files.finish(&b).unwrap();
    files.delete(&c).unwrap();
    drop(files);
    fs::write(folder.path().join("staged/00/not-ours"), "x").unwrap();

    let files = store(folder.path());
    assert_eq!(files.staged().unwrap(), [a]);
    assert_eq!(files.staged_bytes(&a).unwrap(), 3);
    files.write_at(&a, 3, b"def").unwrap();
    files.finish(&a).unwrap();
    assert_eq!(read(&files, &a), b"abcdef");
    assert_eq!(read(&files, &b), b"xyz");
    assert!(matches!(files.open(&c), Err(FileFault::Unknown(_))));
}

#[test]
fn finishing_again_after_a_crash_in_between_is_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(3).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    files.sync(&id).unwrap();
    drop(files);
    // The rename was made, its answer was not.
    fs::rename(path(folder.path(), "staged", &id), path(folder.path(), "sealed", &id)).unwrap();
    let files = store(folder.path());
    files.finish(&id).unwrap();
    assert_eq!(read(&files, &id), b"abc");
}

#[test]
fn deleting_is_final_and_may_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let (staged, sealed) = (files.begin(1).unwrap(), files.begin(1).unwrap());
    files.write_at(&sealed, 0, b"x").unwrap();
    files.finish(&sealed).unwrap();
    for id in [staged, sealed] {
        files.delete(&id).unwrap();
        files.delete(&id).unwrap();
        assert!(matches!(files.open(&id), Err(FileFault::Unknown(_))));
        assert!(matches!(files.write_at(&id, 0, b"x"), Err(FileFault::Unknown(_))));
        assert!(matches!(files.finish(&id), Err(FileFault::Unknown(_))));
    }
}

#[test]
fn deletes_wait_while_a_backup_holds_them() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(1).unwrap();
    files.write_at(&id, 0, b"x").unwrap();
    files.finish(&id).unwrap();
    let (outer, inner) = (files.hold_deletes(), files.hold_deletes());
    files.delete(&id).unwrap();
    drop(outer);
    assert_eq!(read(&files, &id), b"x");
    drop(inner);
    assert!(matches!(files.open(&id), Err(FileFault::Unknown(_))));
}

#[test]
fn an_upload_that_would_fill_the_disk_is_refused_before_it_begins() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let free = files.free_bytes().unwrap();
    assert!(matches!(files.begin(free + (1 << 30)), Err(FileFault::NoRoom)));
    assert!(matches!(files.begin(FILE_BYTES_MAX + 1), Err(FileFault::TooLarge)));
    assert!(files.staged().unwrap().is_empty(), "nothing is left of it");

    let wary = LocalFiles::open_with(
        folder.path(),
        FileSettings { room_kept_bytes: u64::MAX, staged_open_max: STAGED_OPEN_MAX, small_bytes_max: 0 },
    )
    .unwrap();
    assert_eq!(wary.free_bytes().unwrap(), 0);
    assert!(matches!(wary.begin(1), Err(FileFault::NoRoom)));
}

#[test]
fn room_is_kept_for_the_whole_of_what_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(8 << 20).unwrap();
    let metadata = fs::metadata(path(folder.path(), "staged", &id)).unwrap();
    assert_eq!(metadata.len(), 0, "the length tells what was written");
    // 512-byte blocks, as stat counts them. A file system that keeps no room shows none.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&metadata);
    assert!(blocks == 0 || blocks * 512 >= 8 << 20, "{blocks}");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn more_files_than_may_be_open_are_written_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let files = LocalFiles::open_with(
        folder.path(),
        FileSettings { room_kept_bytes: 0, staged_open_max: 4, small_bytes_max: 0 },
    )
    .unwrap();
    let ids: Vec<FileId> = (0..12).map(|_| files.begin(40).unwrap()).collect();
    for turn in 0..10u64 {
        for id in &ids {
            files.write_at(id, turn * 4, b"0123").unwrap();
        }
    }
    let open =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let held = open.filter(|target| target.starts_with(folder.path())).count();
    assert!(held <= 4, "{held} files are held open");
    for id in &ids {
        files.finish(id).unwrap();
        assert_eq!(read(&files, id), b"0123".repeat(10));
    }
}

#[test]
fn an_id_tells_nothing_and_is_never_drawn_twice() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let mut ids: Vec<FileId> = (0..200).map(|_| files.begin(0).unwrap()).collect();
    let drawn_in_order = ids.clone();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    assert_ne!(ids, drawn_in_order);
}

#[test]
fn an_open_file_can_be_read_after_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(3).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    files.finish(&id).unwrap();
    let file = files.open(&id).unwrap();
    files.delete(&id).unwrap();
    let mut bytes = [0; 3];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"abc");
    let mut on_disk = String::new();
    assert!(
        fs::File::open(path(folder.path(), "sealed", &id))
            .and_then(|mut f| f.read_to_string(&mut on_disk))
            .is_err()
    );
}
