use std::{fs::File, os::unix::fs::FileExt, process::Command};

use super::*;
use crate::package::PackageFault;

const GIB: u64 = 1 << 30;

/// A file of holes with these entries' headers in it, and the entries as they were meant. Nothing but
/// the headers takes room on the disk.
fn sparse(entries: &[(&str, u64)]) -> (tempfile::NamedTempFile, Vec<Entry>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut made = Vec::new();
    let mut offset = 0;
    for (name, size) in entries {
        let entry = Entry { name: (*name).to_owned(), size: *size, crc: 0, offset };
        file.as_file().write_all_at(&entry.local_header(), offset).unwrap();
        offset = entry.end();
        made.push(entry);
    }
    file.as_file().write_all_at(&directory(&made, offset), offset).unwrap();
    (file, made)
}

fn length(file: &File) -> u64 {
    file.metadata().unwrap().len()
}

/// Large entries, large offsets and a large directory offset, each alone and together.
fn large() -> [Vec<(&'static str, u64)>; 5] {
    [
        vec![("a", 4 * GIB - 2), ("b", 1)],
        vec![("a", 4 * GIB), ("b", 1)],
        vec![("a", 5 * GIB)],
        vec![("a", 3 * GIB), ("b", 3 * GIB), ("c", 5)],
        vec![("a", 7), ("b", 9 * GIB), ("c", 5 * GIB), ("d", 0)],
    ]
}

#[test]
fn a_package_beyond_four_gigabytes_is_read_as_it_was_written() {
    for entries in large() {
        let (file, made) = sparse(&entries);
        let len = length(file.as_file());
        assert_eq!(read_zip(file.as_file(), len, |_| true).unwrap(), made);
        let planned: Vec<_> = entries.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        assert_eq!(planned_len(&planned), len);
    }
}

#[test]
fn other_readers_find_the_same_in_a_package_beyond_four_gigabytes() {
    let python = std::env::var("KAIBIAO_PYTHON").unwrap_or("python3".into());
    let script = "import sys, zipfile\n\
                  for one in zipfile.ZipFile(sys.argv[1]).infolist():\n\
                  \x20   print(one.filename, one.file_size, one.compress_size, one.header_offset)";
    for entries in large() {
        let (file, made) = sparse(&entries);
        let listed = |program: &str, arguments: &[&str]| {
            let done = Command::new(program).args(arguments).arg(file.path()).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        let expected: String = made
            .iter()
            .map(|entry| format!("{} {} {} {}\n", entry.name, entry.size, entry.size, entry.offset))
            .collect();
        // `-c` takes the next argument as the program, so the file comes last either way.
        assert_eq!(listed(&python, &["-c", script]), expected);
        let names: String = made.iter().map(|entry| format!("{}\n", entry.name)).collect();
        assert_eq!(listed("unzip", &["-Z1"]), names);
        assert_eq!(listed("bsdtar", &["-tf"]), names);
    }
}

#[test]
fn the_one_length_that_others_misread_is_refused() {
    for entries in [
        vec![("a", 4 * GIB - 1), ("b", 1)],
        vec![("a", 4 * GIB - 1 - 31), ("b", 5 * GIB)],
        vec![("a", 4 * GIB - 1 - 31), ("b", 9)],
    ] {
        let (file, _) = sparse(&entries);
        let refused = read_zip(file.as_file(), length(file.as_file()), |_| true);
        assert!(matches!(refused, Err(PackageFault::AmbiguousLength { .. })));
    }
}

#[test]
fn every_flipped_bit_around_large_entries_is_noticed() {
    let (file, made) = sparse(&[("a", 7), ("b", 9 * GIB), ("c", 5)]);
    let len = length(file.as_file());
    let end = made.last().unwrap().end();
    let headers = made.iter().map(|entry| entry.offset..entry.data_offset());
    for at in headers.flatten().chain(end..len) {
        let mut byte = [0];
        FileExt::read_exact_at(file.as_file(), &mut byte, at).unwrap();
        for bit in 0..8 {
            file.as_file().write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
            assert!(read_zip(file.as_file(), len, |_| true).is_err(), "bit {bit} of byte {at}");
        }
        file.as_file().write_all_at(&byte, at).unwrap();
    }
    assert!(read_zip(file.as_file(), len, |_| true).is_ok());
}
