//! A server that dies, or a disk that fails, while files are stored.

use std::{env, fs, path::Path, process::Command};

use kaibiao_actors::files::{FileFault, FileSettings, Files, LocalFiles, SMALL_FILE_BYTES_MAX};
use kaibiao_protocol::ids::FileId;

use crate::crash::{output, say, test_again};

const CHILD_FOLDER: &str = "KAIBIAO_TEST_FILES_FOLDER";
const CHILD_DECLARES: &str = "KAIBIAO_TEST_FILES_DECLARES";
const CHILD_SMALL: &str = "KAIBIAO_TEST_FILES_SMALL";
const FILES: usize = 8;
const PIECES: u64 = 3;
const PIECE_BYTES: usize = 5_000;

/// The child's whole life: files stored one after the other, each told once it is finished. Without a folder
/// in its environment it is no child, and does nothing.
#[test]
fn child() {
    let Some(folder) = env::var_os(CHILD_FOLDER) else { return };
    let declares = env::var(CHILD_DECLARES).map_or(PIECES * PIECE_BYTES as u64, |text| text.parse().unwrap());
    say("");
    let files = LocalFiles::open_with(Path::new(&folder), settings()).unwrap();
    say("started");
    for no in 0..FILES {
        match store(&files, no, declares) {
            Ok(id) => say(&format!("done {id}")),
            Err((after, fault)) => say(&format!("fault {after} {fault}")),
        }
    }
    say("ended");
}

/// Files of their own; with a word in the environment, small ones in segments.
fn settings() -> FileSettings {
    let small_bytes_max = if env::var_os(CHILD_SMALL).is_some() { SMALL_FILE_BYTES_MAX } else { 0 };
    FileSettings { room_kept_bytes: 0, staged_open_max: 4, small_bytes_max }
}

/// Stores one file; a fault comes with what the store says of the file afterwards: its length, or that it is
/// spoiled.
fn store(files: &LocalFiles, no: usize, declares: u64) -> Result<FileId, (String, FileFault)> {
    let id = files.begin(declares).map_err(|fault| ("not begun".to_owned(), fault))?;
    let told = |fault: FileFault| match (files.staged_bytes(&id), files.finish(&id), files.open(&id)) {
        (Err(FileFault::Spoiled(_)), Err(FileFault::Spoiled(_)), Err(FileFault::Spoiled(_))) => {
            ("spoiled".to_owned(), fault)
        }
        (staged_bytes, ..) => (format!("{:?}", staged_bytes.ok()), fault),
    };
    for piece in 0..PIECES {
        files.write_at(&id, piece * PIECE_BYTES as u64, &piece_of(no, piece)).map_err(told)?;
        if piece == 1 {
            files.sync(&id).map_err(told)?;
        }
    }
    files.finish(&id).map_err(told)?;
    Ok(id)
}

fn piece_of(no: usize, piece: u64) -> Vec<u8> {
    vec![b'a' + u8::try_from(no).unwrap() + u8::try_from(piece).unwrap() * 8; PIECE_BYTES]
}

fn whole(no: usize) -> Vec<u8> {
    (0..PIECES).flat_map(|piece| piece_of(no, piece)).collect()
}

/// The child, with words before its command line.
fn child_of(before: &[&str], folder: &Path) -> Command {
    let before: Vec<String> = before.iter().map(|word| (*word).to_owned()).collect();
    let mut command = test_again("file_crash::child", &before);
    command.env(CHILD_FOLDER, folder);
    command
}

fn strace<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["strace", "-f", "-qq", "-o", "/dev/null"].iter().chain(more).copied().collect()
}

/// Every file told as done is there, whole. Gives how many.
fn holds(folder: &Path, output: &str) -> usize {
    let files = LocalFiles::open_with(folder, settings()).unwrap();
    let done: Vec<FileId> =
        output.lines().filter_map(|line| line.strip_prefix("done ")).map(|id| id.parse().unwrap()).collect();
    for (no, id) in done.iter().enumerate() {
        let file = files.open(id).unwrap();
        let mut bytes = vec![0; usize::try_from(file.bytes()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, whole(no), "{id}");
        assert!(!files.staged().unwrap().contains(id));
    }
    done.len()
}

#[test]
fn a_file_told_as_done_survives_a_kill_at_every_sync() {
    let mut done = 0;
    // The store's own folders take four syncs at a start.
    for when in 5..=21 {
        let folder = tempfile::tempdir().unwrap();
        let inject = format!("inject=fsync,fdatasync:signal=SIGKILL:when={when}");
        let words = strace(&["-e", "trace=fsync,fdatasync", "-e", &inject, "--"]);
        let output = output(child_of(&words, folder.path()));
        assert!(output.contains("started") && !output.contains("ended"), "{when}: {output}");
        done += holds(folder.path(), &output);
        // What was not finished can be gone on with, or deleted.
        let files = LocalFiles::open_with(folder.path(), settings()).unwrap();
        for id in files.staged().unwrap() {
            assert!(files.staged_bytes(&id).unwrap() <= PIECES * PIECE_BYTES as u64);
            files.delete(&id).unwrap();
        }
    }
    assert!(done > 10, "{done}");
}

#[test]
fn a_file_is_told_as_done_only_when_its_bytes_and_its_name_are_durable() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let (folder, record) = (scratch.join("files"), scratch.join("record"));
    let calls = "trace=pwrite64,write,fsync,fdatasync,rename";
    let words = ["strace", "-f", "-qq", "-y", "-s", "200", "-e", calls, "-o", record.to_str().unwrap(), "--"];
    let said = output(child_of(&words, &folder));
    assert_eq!(holds(&folder, &said), FILES);

    let record = fs::read_to_string(record).unwrap();
    let lines: Vec<&str> =
        record.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim()).collect();
    for id in said.lines().filter_map(|line| line.strip_prefix("done ")) {
        let last = |wanted: &dyn Fn(&str) -> bool| lines.iter().rposition(|line| wanted(line)).unwrap();
        let (staged, sealed) = (format!("staged/{}", &id[..2]), format!("sealed/{}", &id[..2]));
        let syncs = |line: &str, path: &str| {
            (line.starts_with("fsync(") || line.starts_with("fdatasync(")) && line.contains(path)
        };
        let written = last(&|line| line.starts_with("pwrite64(") && line.contains(id));
        let synced = last(&|line| syncs(line, &format!("{staged}/{id}>")));
        let renamed = last(&|line| line.starts_with("rename(") && line.contains(id));
        let named =
            renamed + lines[renamed..].iter().position(|line| syncs(line, &format!("{sealed}>"))).unwrap();
        let told = last(&|line| line.starts_with("write(1<") && line.contains(id));
        assert!(written < synced && synced < renamed && renamed < named && named < told);
    }
}

#[test]
fn a_failed_sync_spoils_its_file_and_no_other() {
    // Of the first file: its bytes and its staged name, then its bytes, its sealed name and its staged one.
    for (when, staged) in [(5, 1), (6, 1), (7, 1), (8, 0), (9, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let inject = format!("inject=fsync:error=EIO:when={when}");
        let said = output(child_of(&strace(&["-e", "trace=fsync", "-e", &inject, "--"]), folder.path()));
        assert!(said.contains("ended"), "{said}");
        assert_eq!(said.matches("done ").count(), FILES - 1, "{said}");
        assert!(
            said.contains("fault spoiled failed to sync"),
            "a second sync would say that all is well: {said}"
        );
        let files = LocalFiles::open_with(folder.path(), settings()).unwrap();
        assert_eq!(files.staged().unwrap().len(), staged, "sync {when}");
    }
}

#[test]
fn a_full_disk_refuses_a_write_and_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let words = strace(&["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=5", "--"]);
    let said = output(child_of(&words, folder.path()));
    assert!(said.contains(&format!("fault Some({PIECE_BYTES}) the disk has no room")), "{said}");
    assert_eq!(said.matches("done ").count(), FILES - 1, "{said}");
}

#[test]
fn no_room_for_what_is_declared_refuses_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let words = strace(&["-e", "trace=fallocate", "-e", "inject=fallocate:error=ENOSPC:when=2", "--"]);
    let said = output(child_of(&words, folder.path()));
    assert!(said.contains("fault not begun the disk has no room"), "{said}");
    assert_eq!(said.matches("done ").count(), FILES - 1);
    assert!(LocalFiles::open_with(folder.path(), settings()).unwrap().staged().unwrap().is_empty());
}

#[test]
fn a_file_system_that_keeps_no_room_is_used_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let words = strace(&["-e", "trace=fallocate", "-e", "inject=fallocate:error=EOPNOTSUPP", "--"]);
    let said = output(child_of(&words, folder.path()));
    assert_eq!(said.matches("done ").count(), FILES, "{said}");
}

#[test]
fn a_write_that_ends_half_way_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    // A file may grow to 24 blocks of 512 bytes here: the third piece is cut off within. The system's signal
    // is waved off.
    let words = ["sh", "-c", "trap '' XFSZ; ulimit -f 24; exec \"$0\" \"$@\""];
    let mut command = child_of(&words, folder.path());
    command.env(CHILD_DECLARES, "0");
    let said = output(command);
    let faults =
        said.lines().filter(|line| line.starts_with(&format!("fault Some({}) ", 2 * PIECE_BYTES))).count();
    assert_eq!(faults, FILES, "{said}");
}

/// The child with small files.
fn small_child_of(before: &[&str], folder: &Path) -> Command {
    let mut command = child_of(before, folder);
    command.env(CHILD_SMALL, "1");
    command
}

#[test]
fn a_small_file_told_as_done_survives_a_kill_at_every_sync() {
    let mut done = 0;
    for when in 1..=14 {
        let folder = tempfile::tempdir().unwrap();
        let inject = format!("inject=fdatasync:signal=SIGKILL:when={when}");
        let words = strace(&["-e", "trace=fdatasync", "-e", &inject, "--"]);
        let output = output(small_child_of(&words, folder.path()));
        assert!(output.contains("started") && !output.contains("ended"), "{when}: {output}");
        done += holds(folder.path(), &output);
        let files = LocalFiles::open_with(folder.path(), settings()).unwrap();
        for id in files.staged().unwrap() {
            assert!(files.staged_bytes(&id).unwrap() <= PIECES * PIECE_BYTES as u64);
            files.delete(&id).unwrap();
        }
    }
    assert!(done > 10, "{done}");
}

#[test]
fn a_small_file_is_told_as_done_only_when_its_group_and_the_segment_s_name_are_durable() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let (folder, record) = (scratch.join("files"), scratch.join("record"));
    let calls = "trace=pwritev,pwritev2,write,fsync,fdatasync,openat";
    let words = ["strace", "-f", "-qq", "-y", "-s", "200", "-e", calls, "-o", record.to_str().unwrap(), "--"];
    let said = output(small_child_of(&words, &folder));
    assert_eq!(holds(&folder, &said), FILES);
    let record = fs::read_to_string(record).unwrap();
    // What a syscall says at its end; strace cuts those that overlap in two.
    let lines: Vec<&str> =
        record.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim()).collect();
    let made = lines
        .iter()
        .position(|line| line.starts_with("openat(") && line.contains(".segment\", O_RDWR|O_CREAT"));
    let made = made.unwrap();
    let named = made
        + lines[made..]
            .iter()
            .position(|line| line.starts_with("fsync(") && line.contains("/segments>"))
            .unwrap();
    let mut written = 0;
    for (place, line) in lines.iter().enumerate() {
        if line.starts_with("pwritev") {
            assert!(named < place, "the name is durable before the first group");
            written = place;
        }
        if line.starts_with("write(1<") && line.contains("\"done ") {
            let synced = lines[written..place]
                .iter()
                .any(|line| line.starts_with("fdatasync(") && line.contains(".segment>"));
            assert!(written > 0 && synced, "{line}");
        }
    }
}

#[test]
fn a_failed_sync_of_a_group_spoils_its_files_and_no_other() {
    // Two groups a file: one in the middle, one at its end.
    for (when, staged) in [(1, 0), (2, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let inject = format!("inject=fdatasync:error=EIO:when={when}");
        let said =
            output(small_child_of(&strace(&["-e", "trace=fdatasync", "-e", &inject, "--"]), folder.path()));
        assert!(said.contains("ended"), "{said}");
        assert_eq!(said.matches("done ").count(), FILES - 1, "{said}");
        assert!(said.contains("fault spoiled failed to sync"), "{said}");
        // The bytes came through here though the sync was said to have failed; nobody was told of them.
        let files = LocalFiles::open_with(folder.path(), settings()).unwrap();
        assert!(files.staged().unwrap().len() <= 1 + staged, "sync {when}");
        // The segment was not written on; where nothing in it counts, it is gone.
        assert_eq!(files.found().segments, when, "sync {when}");
    }
}

#[test]
fn a_full_disk_refuses_a_group_and_the_file_may_be_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let words =
        strace(&["-e", "trace=pwritev,pwritev2", "-e", "inject=pwritev,pwritev2:error=ENOSPC:when=3", "--"]);
    let said = output(small_child_of(&words, folder.path()));
    // The second file's middle: what was written of it waits in memory.
    assert!(said.contains(&format!("fault Some({}) the disk has no room", 2 * PIECE_BYTES)), "{said}");
    assert_eq!(said.matches("done ").count(), FILES - 1, "{said}");
    // Its finish, tried again by the child, went through.
    assert_eq!(LocalFiles::open_with(folder.path(), settings()).unwrap().found().files as usize, FILES);
}

#[test]
fn no_room_for_a_segment_refuses_its_first_group() {
    let folder = tempfile::tempdir().unwrap();
    let words =
        strace(&["-e", "trace=pwritev,pwritev2", "-e", "inject=pwritev,pwritev2:error=ENOSPC:when=1", "--"]);
    let said = output(small_child_of(&words, folder.path()));
    assert!(said.contains("the disk has no room"), "{said}");
    assert_eq!(said.matches("done ").count(), FILES - 1, "{said}");
}
