//! What holds of small files, many in one segment.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use kaibiao_actors::files::{FileFault, FileSettings, Files, LocalFiles, SMALL_FILE_BYTES_MAX};
use kaibiao_protocol::ids::FileId;

pub(crate) fn store(folder: &Path) -> LocalFiles {
    LocalFiles::open_with(folder, FileSettings { room_kept_bytes: 0, ..FileSettings::default() }).unwrap()
}

pub(crate) fn read(files: &LocalFiles, id: &FileId) -> Vec<u8> {
    let file = files.open(id).unwrap();
    let mut bytes = vec![0; usize::try_from(file.bytes()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The segments' files with this ending, in their order.
pub(crate) fn in_segments(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder.join("segments"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    found.sort();
    found
}

/// A sealed file with these bytes.
pub(crate) fn sealed(files: &LocalFiles, bytes: &[u8]) -> FileId {
    let id = files.begin(bytes.len() as u64).unwrap();
    files.write_at(&id, 0, bytes).unwrap();
    files.finish(&id).unwrap();
    id
}

#[test]
fn a_small_file_is_staged_piece_by_piece_and_then_sealed() {
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
    files.finish(&id).unwrap();
    assert_eq!(read(&files, &id), b"abcdefghi");
    assert!(files.staged().unwrap().is_empty());
    assert!(matches!(files.write_at(&id, 0, b"x"), Err(FileFault::Unknown(_))));
    assert!(matches!(files.staged_bytes(&id), Err(FileFault::Unknown(_))));
    let file = files.open(&id).unwrap();
    let mut middle = [0; 5];
    file.read_exact_at(&mut middle, 4).unwrap();
    assert_eq!(&middle, b"efghi", "across two pieces");
    assert!(file.read_exact_at(&mut middle, 7).is_err(), "beyond its end");
    assert_eq!(in_segments(folder.path(), ".segment").len(), 1);
    assert_eq!(fs::read_dir(folder.path().join("sealed/00")).unwrap().count(), 0);
}

#[test]
fn a_small_file_has_no_gap_and_what_is_there_may_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(10).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    assert!(matches!(files.write_at(&id, 4, b"x"), Err(FileFault::Gap { staged_bytes: 3, .. })));
    files.write_at(&id, 1, b"BCD").unwrap();
    files.sync(&id).unwrap();
    files.write_at(&id, 1, b"b").unwrap();
    assert_eq!(read(&files, &id), b"abCD");
    files.finish(&id).unwrap();
    assert_eq!(read(&files, &id), b"abCD");
    drop(files);
    assert_eq!(read(&store(folder.path()), &id), b"abCD");
    let files = store(folder.path());
    let id = files.begin(1).unwrap();
    let longest = vec![1; usize::try_from(SMALL_FILE_BYTES_MAX).unwrap()];
    files.write_at(&id, 0, &longest).unwrap();
    assert!(matches!(files.write_at(&id, SMALL_FILE_BYTES_MAX, b"x"), Err(FileFault::TooLarge)));
}

#[test]
fn the_next_start_finds_what_was_synced_of_a_small_file_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let (a, b, c, d) =
        (files.begin(6).unwrap(), files.begin(3).unwrap(), files.begin(3).unwrap(), files.begin(3).unwrap());
    files.write_at(&a, 0, b"abc").unwrap();
    files.sync(&a).unwrap();
    files.write_at(&a, 3, b"d").unwrap();
    files.write_at(&b, 0, b"xyz").unwrap();
    files.finish(&b).unwrap();
    files.sync(&c).unwrap();
    files.delete(&c).unwrap();
    files.sync(&d).unwrap();
    drop(files);
    fs::write(folder.path().join("segments/not-ours"), "x").unwrap();

    let files = store(folder.path());
    let mut staged = files.staged().unwrap();
    staged.sort_unstable();
    let mut expected = [a, d];
    expected.sort_unstable();
    assert_eq!(staged, expected, "a file without bytes is one too");
    assert_eq!(files.staged_bytes(&a).unwrap(), 3, "what was never synced is not told");
    files.write_at(&a, 3, b"def").unwrap();
    files.finish(&a).unwrap();
    assert_eq!(read(&files, &a), b"abcdef");
    assert_eq!(read(&files, &b), b"xyz");
    assert!(matches!(files.open(&c), Err(FileFault::Unknown(_))));
    assert_eq!(files.staged_bytes(&d).unwrap(), 0);
}

#[test]
fn what_was_begun_and_never_synced_is_unknown_after_a_start_and_may_be_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let id = files.begin(3).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    drop(files);
    let files = store(folder.path());
    assert!(matches!(files.open(&id), Err(FileFault::Unknown(_))));
    files.begin_again(&id, 3).unwrap();
    files.write_at(&id, 0, b"abc").unwrap();
    files.finish(&id).unwrap();
    assert_eq!(read(&files, &id), b"abc");
}

#[test]
fn a_deleted_small_file_gives_its_room_back_when_nobody_reads_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let bytes = vec![7; 200_000];
    let (kept, gone) = (sealed(&files, b"kept"), sealed(&files, &bytes));
    let reader = files.open(&gone).unwrap();
    files.delete(&gone).unwrap();
    files.delete(&gone).unwrap();
    assert!(matches!(files.open(&gone), Err(FileFault::Unknown(_))));
    assert!(matches!(files.finish(&gone), Err(FileFault::Unknown(_))));
    // One more group, so that the delete is through.
    sealed(&files, b"after");
    let mut read_on = vec![0; bytes.len()];
    reader.read_exact_at(&mut read_on, 0).unwrap();
    assert_eq!(read_on, bytes);
    drop(reader);
    drop(files);
    let segments = in_segments(folder.path(), ".segment");
    let blocks = fs::metadata(&segments[0]).unwrap().blocks() * 512;
    assert!(blocks < 100_000, "{blocks} bytes are still taken");
    let files = store(folder.path());
    assert_eq!(read(&files, &kept), b"kept");
    assert!(matches!(files.open(&gone), Err(FileFault::Unknown(_))));
}

#[test]
fn a_segment_is_removed_when_nothing_in_it_counts_and_no_deleted_file_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut ids = Vec::new();
    for turn in 0..3 {
        let files = store(folder.path());
        assert_eq!(files.found().segments, turn);
        ids.push(sealed(&files, b"one of this start"));
    }
    // Deleted in an order in which the segment that says so could go before the one it speaks of.
    for (turn, left) in [(1, 3), (0, 2), (2, 1)] {
        let files = store(folder.path());
        files.delete(&ids[turn]).unwrap();
        drop(files);
        let files = store(folder.path());
        for (other, id) in ids.iter().enumerate() {
            let there = files.open(id).is_ok();
            let deleted =
                [(1, 3), (0, 2), (2, 1)].iter().take_while(|(no, _)| *no != turn).any(|(no, _)| *no == other);
            assert_eq!(there, other != turn && !deleted, "file {other} after deleting {turn}");
        }
        drop(files);
        let _ = left;
    }
    drop(store(folder.path()));
    assert!(in_segments(folder.path(), ".segment").is_empty(), "nothing counts any more");
    assert!(in_segments(folder.path(), ".index").is_empty());
}

#[test]
fn memory_full_of_uploads_sends_what_is_written_to_the_disk_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let bytes = vec![3; usize::try_from(SMALL_FILE_BYTES_MAX).unwrap()];
    let count = kaibiao_actors::files::GATHERED_BYTES_MAX / SMALL_FILE_BYTES_MAX;
    for _ in 0..count {
        let id = files.begin(SMALL_FILE_BYTES_MAX).unwrap();
        files.write_at(&id, 0, &bytes).unwrap();
    }
    assert!(in_segments(folder.path(), ".segment").is_empty(), "gathered in memory so far");
    let over = files.begin(SMALL_FILE_BYTES_MAX).unwrap();
    files.write_at(&over, 0, &bytes).unwrap();
    let length = fs::metadata(&in_segments(folder.path(), ".segment")[0]).unwrap().len();
    assert!(length > SMALL_FILE_BYTES_MAX && length < 2 * SMALL_FILE_BYTES_MAX, "{length}");
    assert_eq!(read(&files, &over), bytes);
}

#[test]
fn many_small_files_become_durable_together_and_hold_no_thread() {
    let folder = tempfile::tempdir().unwrap();
    let files = store(folder.path());
    let ids: Vec<FileId> = (0..600).map(|_| files.begin(1_000).unwrap()).collect();
    let mut waiting = Vec::new();
    for (no, id) in ids.iter().enumerate() {
        files.write_at(id, 0, &[u8::try_from(no % 251).unwrap(); 1_000]).unwrap();
        waiting.push(files.finish_soon(id).expect("it is small"));
    }
    waiting.into_iter().for_each(|durable| durable.wait().unwrap());
    drop(files);
    let length = fs::metadata(&in_segments(folder.path(), ".segment")[0]).unwrap().len();
    assert!(length < 600 * 2_500, "a group each would be 600 blocks and more: {length}");
    let files = store(folder.path());
    assert_eq!(files.found().files, 600);
    for (no, id) in ids.iter().enumerate() {
        assert_eq!(read(&files, id), [u8::try_from(no % 251).unwrap(); 1_000]);
    }
}

/// Chance from a fixed seed (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap() % bound
    }
}

#[derive(Default, Clone)]
struct Model {
    now: Vec<u8>,
    /// As of the last sync; none: never synced.
    durable: Option<Vec<u8>>,
    sealed: bool,
}

#[test]
fn any_course_of_writes_syncs_deletes_and_starts_leaves_what_was_synced() {
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let mut chance = Chance(seed);
        let mut files = store(folder.path());
        let mut model: BTreeMap<FileId, Model> = BTreeMap::new();
        for _ in 0..150 {
            let pick = |chance: &mut Chance, model: &BTreeMap<FileId, Model>| {
                (!model.is_empty()).then(|| *model.keys().nth(chance.below(model.len())).unwrap())
            };
            match chance.below(14) {
                0..=2 => {
                    model.insert(files.begin(9_000).unwrap(), Model::default());
                }
                3..=6 => {
                    let Some(id) = pick(&mut chance, &model) else { continue };
                    let one = model.get_mut(&id).unwrap();
                    // Mostly at the end, as uploads go.
                    let at = match chance.below(4) {
                        0 => chance.below(one.now.len() + 1),
                        _ => one.now.len(),
                    };
                    let bytes = vec![u8::try_from(chance.below(256)).unwrap(); chance.below(6_000)];
                    let written = files.write_at(&id, at as u64, &bytes);
                    assert_eq!(written.is_ok(), !one.sealed);
                    if written.is_ok() {
                        one.now.resize(one.now.len().max(at + bytes.len()), 0);
                        one.now[at..at + bytes.len()].copy_from_slice(&bytes);
                    }
                }
                7 | 8 | 11 | 12 => {
                    let Some(id) = pick(&mut chance, &model) else { continue };
                    let one = model.get_mut(&id).unwrap();
                    if files.sync(&id).is_ok() {
                        one.durable = Some(one.now.clone());
                    }
                }
                9 => {
                    let Some(id) = pick(&mut chance, &model) else { continue };
                    let one = model.get_mut(&id).unwrap();
                    files.finish(&id).unwrap();
                    (one.durable, one.sealed) = (Some(one.now.clone()), true);
                }
                10 => {
                    let Some(id) = pick(&mut chance, &model) else { continue };
                    files.delete(&id).unwrap();
                    model.remove(&id);
                }
                _ => {
                    drop(files);
                    for index in in_segments(folder.path(), ".index") {
                        if chance.below(2) == 0 {
                            fs::remove_file(index).unwrap();
                        }
                    }
                    files = store(folder.path());
                    model.retain(|_, one| one.durable.is_some());
                    model.values_mut().for_each(|one| one.now = one.durable.clone().unwrap());
                    assert_eq!(files.found().files, model.len() as u64, "seed {seed}");
                    assert_eq!(files.found().damaged_bytes + files.found().torn_bytes, 0);
                }
            }
            if let Some(id) = pick(&mut chance, &model) {
                assert_eq!(read(&files, &id), model[&id].now, "seed {seed}");
            }
        }
        for (id, one) in &model {
            assert_eq!(read(&files, id), one.now, "seed {seed}");
        }
    }
}
