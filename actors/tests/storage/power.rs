//! Power that is lost at any instant: a disk keeps what was synced, and of the rest whatever it likes.
//!
//! A kill alone loses nothing that was written, synced or not. So here every write and sync of a server is
//! recorded by strace, and the disk is put together as a power cut would leave it: all that was synced, and
//! of each write that was not nothing, all or some sectors. Then a server starts on it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use kaibiao_actors::journal::SqliteJournal;

use crate::{
    crash::{CHILD_CHECKPOINT_FRAMES, STREAMS, Said, child_of, holds, run},
    tools::copy_folder,
};

const SECTOR_BYTES: usize = 512;

/// Chance from a fixed seed (xorshift), so that every run tries the same.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A change to a file that is not durable until the file is synced.
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { length: usize },
}

impl Change {
    fn make(&self, file: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                file.resize(file.len().max(offset + bytes.len()), 0);
                file[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::Cut { length } => file.resize(*length, 0),
        }
    }

    /// The same, as if some of its sectors had not come through.
    fn torn(&self, random: &mut Chance) -> Change {
        match self {
            Change::Write { offset, bytes } => {
                let keep = random.below(bytes.len().div_ceil(SECTOR_BYTES) + 1);
                let bytes = bytes[..(keep * SECTOR_BYTES).min(bytes.len())].to_vec();
                Change::Write { offset: *offset, bytes }
            }
            Change::Cut { length } => Change::Cut { length: *length },
        }
    }
}

/// A file: what is durable of it, and what is not yet, in order.
#[derive(Default)]
struct DiskFile {
    durable: Vec<u8>,
    changes: Vec<(u64, Change)>,
}

/// What a power cut does with changes that were not synced.
#[derive(Clone, Copy, Debug)]
enum Loses {
    All,
    Nothing,
    /// Each by chance, and sectors of it by chance; later ones may survive where earlier ones do not.
    Some,
}

/// The disk under a journal's folder.
struct Disk {
    folder: PathBuf,
    files: BTreeMap<String, DiskFile>,
    count: u64,
    /// Syncs under way by thread: of which file, and up to which change.
    syncing: BTreeMap<String, (String, u64)>,
}

impl Disk {
    fn of(folder: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let durable = fs::read(entry.path()).unwrap();
            files.insert(entry.file_name().into_string().unwrap(), DiskFile { durable, changes: Vec::new() });
        }
        Self { folder: folder.to_owned(), files, count: 0, syncing: BTreeMap::new() }
    }

    /// The name of a file in the folder that is more than shared memory.
    fn name(&self, path: &str) -> Option<String> {
        let name = Path::new(path).strip_prefix(&self.folder).ok()?.to_str()?.to_owned();
        (!name.is_empty() && !name.ends_with("-shm")).then_some(name)
    }

    fn change(&mut self, path: &str, change: Change) {
        let Some(name) = self.name(path) else { return };
        self.count += 1;
        self.files.entry(name).or_default().changes.push((self.count, change));
    }

    fn sync_begins(&mut self, thread: &str, path: &str) {
        if let Some(name) = self.name(path) {
            self.syncing.insert(thread.to_owned(), (name, self.count));
        }
    }

    /// Whether a sync of a file in the folder ended.
    fn sync_ends(&mut self, thread: &str) -> bool {
        let Some((name, upto)) = self.syncing.remove(thread) else { return false };
        let file = self.files.entry(name).or_default();
        let (synced, rest) = std::mem::take(&mut file.changes).into_iter().partition(|(no, _)| *no <= upto);
        let synced: Vec<(u64, Change)> = synced;
        synced.iter().for_each(|(_, change)| change.make(&mut file.durable));
        file.changes = rest;
        true
    }

    /// What a power cut at this instant leaves behind.
    fn lose_power(&self, loses: Loses, random: &mut Chance, into: &Path) {
        fs::create_dir_all(into).unwrap();
        for (name, file) in &self.files {
            let mut left = file.durable.clone();
            for (_, change) in &file.changes {
                match loses {
                    Loses::All => {}
                    Loses::Nothing => change.make(&mut left),
                    Loses::Some => match random.below(3) {
                        0 => {}
                        1 => change.make(&mut left),
                        _ => change.torn(random).make(&mut left),
                    },
                }
            }
            fs::write(into.join(name), left).unwrap();
        }
    }
}

/// What one line of the record tells.
#[derive(PartialEq, Eq, Debug)]
enum Told {
    Nothing,
    Synced,
    Said(String),
}

/// Plays one line of strace's record onto the disk.
fn play(disk: &mut Disk, line: &str) -> Told {
    let (thread, call) = line.split_once(' ').unwrap();
    let call = call.trim_start();
    if call.starts_with("<... fsync resumed>") || call.starts_with("<... fdatasync resumed>") {
        return if disk.sync_ends(thread) { Told::Synced } else { Told::Nothing };
    }
    let Some((name, arguments)) = call.split_once('(') else { return Told::Nothing };
    // A descriptor as `4<path>`, the path in hexadecimal escapes.
    let path =
        arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| unescape(path));
    let path = path.map(|path| String::from_utf8(path).unwrap()).unwrap_or_default();
    match name {
        "pwrite64" => {
            let (mut bytes, rest) = quoted(arguments);
            // Of a longer write strace records the beginning only: room in the log, all zeros.
            let [length, offset] = numbers(rest);
            bytes.resize(length, 0);
            disk.change(&path, Change::Write { offset, bytes });
            Told::Nothing
        }
        "ftruncate" => {
            let [length] = numbers(arguments.split_once('>').unwrap().1);
            disk.change(&path, Change::Cut { length });
            Told::Nothing
        }
        "fsync" | "fdatasync" => {
            disk.sync_begins(thread, &path);
            if call.ends_with("<unfinished ...>") || !disk.sync_ends(thread) {
                Told::Nothing
            } else {
                Told::Synced
            }
        }
        "write" if arguments.starts_with("1<") => Told::Said(String::from_utf8(quoted(arguments).0).unwrap()),
        _ => Told::Nothing,
    }
}

/// The first string among a call's arguments, and what follows it.
fn quoted(arguments: &str) -> (Vec<u8>, &str) {
    let (_, rest) = arguments.split_once('"').unwrap();
    let (text, rest) = rest.split_once('"').unwrap();
    (unescape(text), rest)
}

/// The first numbers of a call's arguments, whatever stands between them.
fn numbers<const N: usize>(arguments: &str) -> [usize; N] {
    let mut found = arguments.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    std::array::from_fn(|_| found.next().unwrap().parse().unwrap())
}

fn unescape(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_instant() {
    let scratch = tempfile::tempdir().unwrap();
    // A temporary folder's path may lead over a link; strace tells the real one.
    let scratch = scratch.path().canonicalize().unwrap();
    let (live, before, record) = (scratch.join("live"), scratch.join("before"), scratch.join("record"));
    drop(SqliteJournal::open(&live).unwrap());
    copy_folder(&live, &before);

    let calls = "trace=pwrite64,write,fsync,fdatasync,ftruncate";
    let words =
        ["strace", "-f", "-qq", "-y", "-xx", "-s", "8192", "-e", calls, "-o", record.to_str().unwrap(), "--"];
    let mut command = child_of(&words.map(str::to_owned), &live, 25);
    // Short, so that the log is moved and begun anew several times.
    command.env(CHILD_CHECKPOINT_FRAMES, "24");
    let said = run(command);
    assert!(said.ended, "{said:?}");

    let record = fs::read_to_string(record).unwrap();
    let mut random = Chance(0x9e37_79b9_7f4a_7c15);
    let mut disk = Disk { folder: live, ..Disk::of(&before) };
    let mut heard = Said::default();
    let (mut syncs, mut cuts) = (0, 0);
    for line in record.lines() {
        let told = play(&mut disk, line);
        match &told {
            Told::Nothing => {}
            Told::Synced => syncs += 1,
            Told::Said(words) => words.lines().for_each(|line| heard.hear(line)),
        }
        // A cut just after some of the syncs, where the least is durable for what was said, and just after
        // some acknowledgements.
        let acknowledged = matches!(&told, Told::Said(words) if words.contains("ack"));
        if (told == Told::Synced && syncs % 3 == 0) || (acknowledged && heard.acked() % 5 == 0) {
            for loses in [Loses::All, Loses::Some, Loses::Nothing] {
                cuts += 1;
                let left = scratch.join(format!("cut-{cuts}"));
                disk.lose_power(loses, &mut random, &left);
                holds(&left, &heard.acks);
                fs::remove_dir_all(left).unwrap();
            }
        }
    }
    assert_eq!(heard.acks.len(), STREAMS.len());
    assert!(syncs > 40 && cuts > 60, "{syncs} syncs, {cuts} cuts");
}
