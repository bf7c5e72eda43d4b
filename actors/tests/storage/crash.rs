//! A server that dies, and a disk that fails, at every sync in turn: what was acknowledged is there.
//!
//! The server is this test binary, run again as a child that opens a journal, appends and prints each
//! acknowledgement; strace makes the system calls fail.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use kaibiao_actors::journal::{AppendFault, Journal, JournalSettings, SqliteJournal, Stream};

use crate::tools::{append, payload, read_all, stream};

const CHILD_FOLDER: &str = "KAIBIAO_TEST_CHILD_FOLDER";
const CHILD_APPENDS: &str = "KAIBIAO_TEST_CHILD_APPENDS";
pub(crate) const CHILD_CHECKPOINT_FRAMES: &str = "KAIBIAO_TEST_CHILD_CHECKPOINT_FRAMES";
const CHILD_FILL_BYTES: &str = "KAIBIAO_TEST_CHILD_FILL_BYTES";
pub(crate) const STREAMS: [&str; 3] = ["KX-1", "KX-2", "KX-3"];

/// The child's whole life. Without a folder in its environment it is no child, and does nothing.
#[test]
fn child() {
    let Some(folder) = env::var_os(CHILD_FOLDER) else { return };
    let number = |name: &str| env::var(name).map_or(0, |text| text.parse::<u64>().unwrap());
    let (appends, fill_bytes) = (number(CHILD_APPENDS), number(CHILD_FILL_BYTES));
    let mut settings = JournalSettings::default();
    if let Ok(frames) = u32::try_from(number(CHILD_CHECKPOINT_FRAMES))
        && frames > 0
    {
        settings.checkpoint_frames = frames;
    }
    // The test harness may have left half a line.
    say("");
    let journal = match SqliteJournal::open_with(Path::new(&folder), settings) {
        Ok(journal) => journal,
        Err(fault) => return say(&format!("refused {fault}")),
    };
    say("started");
    thread::scope(|scope| {
        for name in STREAMS {
            let journal = &journal;
            scope.spawn(move || {
                let stream = stream(name);
                let mut seq = read_all(journal, &stream).len() as u64;
                for turn in 0..appends {
                    let mut append = append(&stream, seq, 1 + turn % 3);
                    if fill_bytes > 0 {
                        append.records[0].payload.resize(usize::try_from(fill_bytes).unwrap(), b' ');
                    }
                    match journal.append(append).wait() {
                        Ok(appended) => {
                            seq = appended.last_seq;
                            say(&format!("ack {name} {seq}"));
                        }
                        Err(fault) => say(&format!("fault {fault:?}")),
                    }
                }
            });
        }
    });
    say("ended");
}

/// One line in one write, so that lines of several threads stay whole.
pub(crate) fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// This test binary again, with one test to run, and whatever stands before it on the command line.
pub(crate) fn test_again(test: &str, before: &[String]) -> Command {
    let own = env::current_exe().unwrap();
    let mut words: Vec<&std::ffi::OsStr> = before.iter().map(AsRef::as_ref).collect();
    words.push(own.as_os_str());
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(["--exact", test, "--nocapture", "--test-threads", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// All that a command prints until it ends, however it ends.
pub(crate) fn output(mut command: Command) -> String {
    let mut child = command.spawn().expect("strace is installed (scripts/setup --for-tests)");
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text
}

/// The child's command line, with whatever stands before it.
pub(crate) fn child_of(before: &[String], folder: &Path, appends: u64) -> Command {
    let mut command = test_again("crash::child", before);
    command.env(CHILD_FOLDER, folder).env(CHILD_APPENDS, appends.to_string());
    command
}

fn strace(what: &[&str]) -> Vec<String> {
    let fixed = ["strace", "-f", "-qq", "-o", "/dev/null"];
    fixed.iter().chain(what).map(|word| (*word).to_owned()).collect()
}

/// What a child said.
#[derive(Default, Debug)]
pub(crate) struct Said {
    started: bool,
    refused: Option<String>,
    pub(crate) ended: bool,
    /// The last record acknowledged, by stream.
    pub(crate) acks: BTreeMap<String, u64>,
    /// All outcomes of appends, in the order they were said.
    outcomes: Vec<String>,
}

impl Said {
    pub(crate) fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        match (words.next().unwrap(), words.next(), words.next()) {
            ("started", ..) => self.started = true,
            ("ended", ..) => self.ended = true,
            ("refused", ..) => self.refused = Some(line.to_owned()),
            ("ack", Some(name), Some(seq)) => {
                self.acks.insert(name.to_owned(), seq.parse().unwrap());
                self.outcomes.push("ack".to_owned());
            }
            ("fault", Some(fault), _) => self.outcomes.push(fault.to_owned()),
            _ => {}
        }
    }

    pub(crate) fn acked(&self) -> usize {
        self.outcomes.iter().filter(|outcome| *outcome == "ack").count()
    }

    fn count(&self, outcome: &str) -> usize {
        self.outcomes.iter().filter(|said| *said == outcome).count()
    }
}

pub(crate) fn run(command: Command) -> Said {
    let mut said = Said::default();
    output(command).lines().for_each(|line| said.hear(line));
    said
}

/// Everything acknowledged so far is in the journal, as it was written. Gives how many records there are.
pub(crate) fn holds(folder: &Path, acks: &BTreeMap<String, u64>) -> usize {
    let journal = SqliteJournal::open(folder).unwrap_or_else(|fault| panic!("{fault}"));
    let mut records = 0;
    for name in STREAMS {
        let stored = read_all(&journal, &stream(name));
        let acked = acks.get(name).copied().unwrap_or(0);
        assert!(stored.len() as u64 >= acked, "{name}: {} of {acked} acknowledged records", stored.len());
        for record in &stored {
            assert!(record.payload.starts_with(&payload(record.seq)), "{name} {}", record.seq);
        }
        records += stored.len();
    }
    records
}

#[test]
fn what_was_acknowledged_survives_a_kill_at_every_sync() {
    let folder = tempfile::tempdir().unwrap();
    let mut acks = BTreeMap::new();
    let (mut killed, mut killed_at_start) = (0, 0);
    // Each thread counts its own syncs: the small numbers die while starting, the larger ones while
    // committing.
    for when in (1..=24).chain([31, 45, 60]) {
        let inject = format!("inject=fsync,fdatasync:signal=SIGKILL:when={when}");
        let before = strace(&["-e", "trace=fsync,fdatasync", "-e", &inject, "--"]);
        let said = run(child_of(&before, folder.path(), 40));
        assert_eq!(said.refused, None, "sync {when}");
        killed += usize::from(!said.ended);
        killed_at_start += usize::from(!said.started);
        acks.extend(said.acks);
        holds(folder.path(), &acks);
    }
    assert!(
        killed >= 20 && killed_at_start >= 3,
        "{killed} killed, {killed_at_start} of them while starting"
    );
    assert!(acks.len() == STREAMS.len() && acks.values().all(|seq| *seq > 20), "{acks:?}");
}

#[test]
fn what_was_acknowledged_survives_a_kill_between_any_two_acknowledgements() {
    let folder = tempfile::tempdir().unwrap();
    let mut acks = BTreeMap::new();
    for turn in 0..12 {
        let mut child: Child = child_of(&[], folder.path(), 1_000_000).spawn().unwrap();
        let mut said = Said::default();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while said.acked() < 5 + turn * 7 {
            said.hear(&lines.next().expect("the child says on until it is killed").unwrap());
        }
        child.kill().unwrap();
        // What it had said before it was killed counts too.
        lines.map_while(Result::ok).for_each(|line| said.hear(&line));
        child.wait().unwrap();
        acks.extend(said.acks);
        holds(folder.path(), &acks);
    }
}

/// After a fault nothing more is acknowledged, and everything acknowledged before is there at the next start.
fn ends_writing(file: &str, call: &str, when: u32, fill_bytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteJournal::open(folder.path()).unwrap());
    let path = folder.path().join(file);
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error=EIO:when={when}"));
    let before = strace(&["-P", path.to_str().unwrap(), "-e", &trace, "-e", &inject, "--"]);
    let mut command = child_of(&before, folder.path(), 150);
    command.env(CHILD_FILL_BYTES, fill_bytes.to_string());
    let said = run(command);
    assert!(said.started && said.ended, "{file}: {said:?}");
    let first = said.outcomes.iter().position(|outcome| outcome == "WritingEnded");
    let first = first
        .unwrap_or_else(|| panic!("{file} {call} {when}: writing went on after {} appends", said.acked()));
    assert!(first > 0, "{file}: it fails after some were acknowledged");
    // Threads print by themselves: at most the others' acknowledgements of the same group come after.
    let after = said.outcomes[first..].iter().filter(|outcome| *outcome == "ack").count();
    assert!(after < STREAMS.len(), "{file}: {after} acknowledged after the fault");
    assert_eq!(said.count("WritingEnded") + said.acked(), said.outcomes.len());
    holds(folder.path(), &said.acks);
}

#[test]
fn a_failed_sync_of_the_log_ends_writing_and_loses_nothing_acknowledged() {
    ends_writing("journal.db-wal", "fsync,fdatasync", 9, 0);
}

#[test]
fn a_failed_write_to_the_log_ends_writing_and_loses_nothing_acknowledged() {
    ends_writing("journal.db-wal", "write,pwrite64", 50, 0);
}

#[test]
fn a_failed_sync_of_the_head_ends_writing_and_loses_nothing_acknowledged() {
    ends_writing("head", "fsync,fdatasync", 9, 0);
}

#[test]
fn a_failed_write_to_the_head_ends_writing_and_loses_nothing_acknowledged() {
    ends_writing("head", "pwrite64", 9, 0);
}

#[test]
fn a_failed_checkpoint_ends_writing_and_loses_nothing_acknowledged() {
    // Syncs of the database itself: on the writer's thread only checkpoints make them.
    ends_writing("journal.db", "fsync,fdatasync", 1, 64 << 10);
}

#[test]
fn a_full_disk_refuses_an_append_and_writing_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    drop(SqliteJournal::open(folder.path()).unwrap());
    let path = folder.path().join("journal.db-wal");
    let inject = "inject=write,pwrite64:error=ENOSPC:when=60..64";
    let before = strace(&["-P", path.to_str().unwrap(), "-e", "trace=write,pwrite64", "-e", inject, "--"]);
    let said = run(child_of(&before, folder.path(), 60));
    assert!(said.ended, "{said:?}");
    let refused = said.count("NoRoom");
    assert!(refused > 0, "{said:?}");
    let last_refused = said.outcomes.iter().rposition(|outcome| outcome == "NoRoom").unwrap();
    assert!(said.outcomes[last_refused..].iter().any(|outcome| outcome == "ack"), "writing goes on");
    assert_eq!(refused + said.acked(), said.outcomes.len());
    let records = holds(folder.path(), &said.acks);
    let acked: u64 = said.acks.values().sum();
    assert_eq!(records as u64, acked, "what was refused for room was not written");
}

#[test]
fn a_bug_in_the_writer_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(folder.path()).unwrap();
    let names = ["KX-1", "KX-2", "KX-3", "KX-4"];
    for name in names {
        journal.append(append(&stream(name), 0, 1)).wait().unwrap();
    }
    journal.break_writer();
    // More than one group: those in hand, those in the queue, and those that come after.
    let pending: Vec<_> = (0..50).map(|no| journal.append(append(&stream(names[no % 4]), 1, 1))).collect();
    for pending in pending {
        assert_eq!(pending.wait(), Err(AppendFault::WritingEnded));
    }
    assert_eq!(journal.append(append(&stream("KX-1"), 1, 1)).wait(), Err(AppendFault::WritingEnded));
    assert!(journal.meters().writing_ended.is_some());
    assert_eq!(read_all(&journal, &stream("KX-1")).len(), 1, "reading goes on");
    drop(journal);
    assert_eq!(SqliteJournal::open(folder.path()).unwrap().head().position, 4);
}

#[test]
fn a_server_stopped_in_order_leaves_a_short_start() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(child_of(&[], folder.path(), 20));
    assert!(said.ended);
    assert_eq!(fs::metadata(folder.path().join("journal.db-wal")).map_or(0, |log| log.len()), 0);
    let journal = SqliteJournal::open(folder.path()).unwrap();
    assert_eq!(journal.report().torn_frames, 0);
    let a: Stream = stream(STREAMS[0]);
    assert!(matches!(journal.append(append(&a, 0, 1)).wait(), Err(AppendFault::Conflict { .. })));
}
