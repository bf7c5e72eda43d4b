//! Segments that a crash tore, and damaged ones.

use std::{fs, path::Path};

use kaibiao_actors::files::{FileFault, Files, LocalFiles};
use kaibiao_protocol::ids::FileId;

use crate::{
    segments::{Chance, in_segments, read, sealed, store},
    tools::copy_folder,
};

const SECTOR_BYTES: usize = 512;
const BLOCK_BYTES: usize = 4_096;

/// A store with three files in three groups, and the segment's bytes with where each group ends.
fn three_groups(folder: &Path) -> (Vec<FileId>, Vec<u8>, Vec<usize>) {
    let files = store(folder);
    let mut ends = Vec::new();
    let ids = (0..3_u8)
        .map(|no| {
            let id = sealed(&files, &vec![b'a' + no; 9_000]);
            ends.push(
                usize::try_from(fs::metadata(&in_segments(folder, ".segment")[0]).unwrap().len()).unwrap(),
            );
            id
        })
        .collect();
    drop(files);
    (ids, fs::read(&in_segments(folder, ".segment")[0]).unwrap(), ends)
}

/// The store as it would be with other bytes in its only segment, and no index of it.
fn with_segment(folder: &Path, into: &Path, bytes: &[u8]) -> LocalFiles {
    let segments = into.join("segments");
    fs::create_dir_all(into).unwrap();
    copy_folder(&folder.join("segments"), &segments);
    let name = in_segments(folder, ".segment")[0].file_name().unwrap().to_owned();
    for index in in_segments(into, ".index") {
        fs::remove_file(index).unwrap();
    }
    fs::write(segments.join(name), bytes).unwrap();
    store(into)
}

fn holds(files: &LocalFiles, id: &FileId, no: usize) {
    assert_eq!(read(files, id), vec![b'a' + u8::try_from(no).unwrap(); 9_000], "file {no}");
}

#[test]
fn a_segment_cut_anywhere_in_its_last_group_keeps_every_group_before() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ids, bytes, ends) = three_groups(folder.path());
    for (turn, cut) in (ends[1]..ends[2]).step_by(311).enumerate() {
        let files = with_segment(folder.path(), &scratch.path().join(turn.to_string()), &bytes[..cut]);
        holds(&files, &ids[0], 0);
        holds(&files, &ids[1], 1);
        assert!(matches!(files.open(&ids[2]), Err(FileFault::Unknown(_))), "cut at {cut}");
        assert_eq!(files.found().torn_bytes, (cut - ends[1]) as u64);
        assert_eq!(files.found().damaged_bytes, 0);
        // And the store goes on: what is stored now is there at the next start.
        let next = sealed(&files, b"after the crash");
        drop(files);
        let files = store(&scratch.path().join(turn.to_string()));
        assert_eq!(read(&files, &next), b"after the crash");
        holds(&files, &ids[1], 1);
        assert_eq!(files.found().torn_bytes, 0, "told once");
    }
}

#[test]
fn a_last_group_of_which_sectors_are_missing_counts_as_far_as_it_came_through() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ids, bytes, ends) = three_groups(folder.path());
    let mut chance = Chance(5);
    let (mut lost, mut whole) = (0, 0);
    for turn in 0..80 {
        let mut torn = bytes.clone();
        for sector in torn[ends[1]..ends[2]].chunks_mut(SECTOR_BYTES) {
            if chance.below(20) == 0 {
                sector.fill(0);
            }
        }
        let files = with_segment(folder.path(), &scratch.path().join(turn.to_string()), &torn);
        holds(&files, &ids[0], 0);
        holds(&files, &ids[1], 1);
        match files.open(&ids[2]) {
            Ok(_) => {
                whole += 1;
                holds(&files, &ids[2], 2);
            }
            Err(fault) => {
                lost += 1;
                assert!(matches!(fault, FileFault::Unknown(_)), "{fault}");
            }
        }
        assert_eq!(files.found().damaged_bytes, 0);
    }
    assert!(lost > 10 && whole > 10, "{lost} lost, {whole} whole");
}

#[test]
fn damage_before_a_whole_group_is_reported_and_costs_no_other_file() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ids, mut bytes, ends) = three_groups(folder.path());
    bytes[ends[0] + 20] ^= 1;
    let files = with_segment(folder.path(), &scratch.path().join("head"), &bytes);
    holds(&files, &ids[0], 0);
    assert!(matches!(files.open(&ids[1]), Err(FileFault::Unknown(_))));
    holds(&files, &ids[2], 2);
    assert_eq!(files.found().damaged_bytes, (ends[1] - ends[0]) as u64);
    assert_eq!(files.found().torn_bytes, 0);

    // A payload that was damaged later is found by whoever holds it against its receipt, not here.
    bytes[ends[0] + 20] ^= 1;
    bytes[ends[0] + 1_000] ^= 1;
    let files = with_segment(folder.path(), &scratch.path().join("payload"), &bytes);
    assert_ne!(read(&files, &ids[1]), vec![b'b'; 9_000]);
    assert_eq!(files.found().damaged_bytes, 0);
}

#[test]
fn bytes_of_an_upload_that_look_like_a_group_are_none() {
    let (folder, scratch) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = store(folder.path());
    let victim = sealed(&files, b"somebody else's");
    drop(files);
    // A group that says the victim's file is gone, as somebody would write it who knows all but the mark.
    let files = store(folder.path());
    let forger = files.begin(1).unwrap();
    files.delete(&forger).unwrap();
    files.sync(&files.begin(1).unwrap()).unwrap();
    drop(files);
    let real = fs::read(&in_segments(folder.path(), ".segment")[1]).unwrap();
    let mut group = real[..BLOCK_BYTES].to_vec();
    group[8..12].copy_from_slice(&2_u32.to_le_bytes());
    group[24..32].copy_from_slice(b"guessed!");
    group[40..56].copy_from_slice(&victim.0);
    group[56] = 3;
    group[60..64].fill(0);
    group[80..88].fill(0);
    let crc = {
        let mut covered = group[..36].to_vec();
        covered.extend_from_slice(&group[40..88]);
        crc32(&covered)
    };
    group[36..40].copy_from_slice(&crc.to_le_bytes());
    // Laid over a damaged head, where a reader looks for the next whole group.
    let mut bytes = real;
    bytes[0] ^= 1;
    bytes.extend_from_slice(&group);
    let into = scratch.path().join("forged");
    fs::create_dir_all(&into).unwrap();
    copy_folder(&folder.path().join("segments"), &into.join("segments"));
    for index in in_segments(&into, ".index") {
        fs::remove_file(index).unwrap();
    }
    fs::write(&in_segments(&into, ".segment")[1], &bytes).unwrap();
    let files = store(&into);
    assert_eq!(read(&files, &victim), b"somebody else's");
    // With the mark it would have been one.
    let name = in_segments(&into, ".segment")[1].file_name().unwrap().to_str().unwrap().to_owned();
    let mark: Vec<u8> =
        (9..25).step_by(2).map(|at| u8::from_str_radix(&name[at..at + 2], 16).unwrap()).collect();
    group[24..32].copy_from_slice(&mark);
    let mut covered = group[..36].to_vec();
    covered.extend_from_slice(&group[40..88]);
    group[36..40].copy_from_slice(&crc32(&covered).to_le_bytes());
    let end = bytes.len() - BLOCK_BYTES;
    bytes[end..].copy_from_slice(&group);
    drop(files);
    for index in in_segments(&into, ".index") {
        fs::remove_file(index).unwrap();
    }
    fs::write(&in_segments(&into, ".segment")[1], &bytes).unwrap();
    assert!(matches!(store(&into).open(&victim), Err(FileFault::Unknown(_))));
}

#[test]
fn an_index_that_does_not_hold_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let (ids, _, _) = three_groups(folder.path());
    let index = in_segments(folder.path(), ".index").remove(0);
    let text = fs::read(&index).unwrap();
    for damage in 0..3 {
        let mut text = text.clone();
        match damage {
            0 => text[30] ^= 1,
            1 => text.truncate(text.len() - 48),
            _ => text.clear(),
        }
        fs::write(&index, text).unwrap();
        let files = store(folder.path());
        assert_eq!(files.found().read, 1);
        ids.iter().enumerate().for_each(|(no, id)| holds(&files, id, no));
    }
    assert_eq!(fs::read(&index).unwrap(), text, "it was written anew");
    assert_eq!(store(folder.path()).found().read, 0);
}

/// CRC-32 (IEEE), bit by bit: written from its definition.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
