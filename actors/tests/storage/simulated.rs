//! The journal and the files on the simulated disk: the production cycle, crashed between any two of its
//! steps.

use std::collections::BTreeMap;

use kaibiao_actors::{
    files::{FileFault, Files},
    journal::{
        AppendFault, JournalFault, WritingEnd,
        simulated::{Befalls, DiskCall, SimDisk, SimFault, SimFiles, SimJournal, SimStep, Ticket},
    },
};
use kaibiao_protocol::ids::FileId;

use crate::tools::{append, payload, stream};

const STREAMS: [&str; 3] = ["KX-1", "KX-2", "KX-3"];
const LOG: &str = "journal/log";

/// Numbers from a seed (splitmix).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }
}

fn crash(disk: &SimDisk, draw: &mut Draw) {
    disk.crash(&mut |bound| draw.below(bound));
}

fn fault(on: DiskCall, prefix: &str, skipped: u32, befalls: Befalls) -> SimFault {
    SimFault { on, prefix: prefix.to_owned(), skipped, befalls }
}

/// What the outside knows: the last record acknowledged of each stream.
#[derive(Default)]
struct Outside {
    acked: BTreeMap<&'static str, u64>,
    waiting: BTreeMap<Ticket, (&'static str, u64)>,
    faults: Vec<AppendFault>,
}

impl Outside {
    fn hear(&mut self, answers: kaibiao_actors::journal::simulated::SimAnswers) {
        for (ticket, outcome) in answers {
            let (name, seq) = self.waiting.remove(&ticket).expect("an answer to what was asked, once");
            match outcome {
                Ok(appended) => {
                    assert_eq!(appended.last_seq, seq);
                    self.acked.insert(name, seq);
                }
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    /// Appends to a stream, after all that waits there already.
    fn ask(&mut self, journal: &mut SimJournal, name: &'static str, count: u64) {
        let waiting = self.waiting.values().filter(|(other, _)| *other == name).map(|(_, seq)| *seq);
        let durable = journal.records(&stream(name)).len() as u64;
        let from = waiting.max().unwrap_or(durable).max(durable);
        let ticket = journal.append(append(&stream(name), from, count));
        self.waiting.insert(ticket, (name, from + count));
    }

    /// Everything acknowledged is there, and everything there is as it was written.
    fn holds(&self, journal: &SimJournal) {
        for name in STREAMS {
            let records = journal.read(&stream(name), 0, usize::MAX).unwrap();
            let acked = self.acked.get(name).copied().unwrap_or(0);
            assert!(records.len() as u64 >= acked, "{name}: {} of {acked}", records.len());
            for (record, seq) in records.iter().zip(1..) {
                assert_eq!((record.seq, &record.payload), (seq, &payload(seq)));
            }
        }
    }
}

/// Runs a server for so many steps, asking as it goes.
fn live(journal: &mut SimJournal, outside: &mut Outside, draw: &mut Draw, steps: u64) {
    for _ in 0..steps {
        if draw.below(3) == 0 {
            let name = STREAMS[usize::try_from(draw.below(3)).unwrap()];
            outside.ask(journal, name, 1 + draw.below(4));
        }
        let mut answers = Vec::new();
        journal.step(&mut answers);
        outside.hear(answers);
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_after_any_step() {
    let (mut crashes, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..300 {
        let mut draw = Draw(seed);
        let (disk, mut outside) = (SimDisk::new(), Outside::default());
        for _ in 0..8 {
            let (mut journal, report) =
                SimJournal::open(&disk).unwrap_or_else(|fault| panic!("{seed}: {fault}"));
            assert_eq!(report.cut, None);
            torn += report.torn_frames;
            outside.holds(&journal);
            let steps = draw.below(60);
            live(&mut journal, &mut outside, &mut draw, steps);
            outside.waiting.clear();
            // Every other time the process alone dies: then the page cache is all there.
            if draw.below(4) > 0 {
                crash(&disk, &mut draw);
                crashes += 1;
            }
        }
        lost += disk.counts().bytes_lost;
    }
    assert!(crashes > 1_000 && lost > 100_000 && torn > 20, "{crashes} crashes, {lost} bytes, {torn} frames");
}

#[test]
fn a_failed_sync_ends_writing_and_no_later_sync_makes_its_records_durable() {
    for (file, survives_reading) in [(LOG, false), ("journal/head", true)] {
        let (disk, mut outside) = (SimDisk::new(), Outside::default());
        let (mut journal, _) = SimJournal::open(&disk).unwrap();
        let mut answers = Vec::new();
        outside.ask(&mut journal, "KX-1", 2);
        journal.run(&mut answers);
        disk.plan(fault(DiskCall::Sync, file, 0, Befalls::Fails));
        outside.ask(&mut journal, "KX-1", 1);
        journal.run(&mut answers);
        outside.ask(&mut journal, "KX-2", 1);
        journal.run(&mut answers);
        outside.hear(answers);
        let last = outside.faults.last();
        assert_eq!(last, Some(&AppendFault::WritingEnded), "{file}");
        assert!(matches!(journal.meters().writing_ended, Some(WritingEnd::Failed(_))), "{file}");
        let read = journal.records(&stream("KX-1")).len();
        assert_eq!(read, if survives_reading { 3 } else { 2 }, "{file}: reading goes on");
        // The pages count as clean: they read as written, and are not on the disk.
        let again = disk.copy();
        assert!(again.bytes(LOG) == disk.bytes(LOG));
        again.sync(LOG).unwrap();
        again.crash(&mut |_| 0);
        let (journal, _) = SimJournal::open(&again).unwrap();
        outside.holds(&journal);
        // A start on the page cache writes all anew before it answers anybody.
        let (journal, _) = SimJournal::open(&disk).unwrap();
        let found = journal.records(&stream("KX-1")).len();
        drop(journal);
        disk.crash(&mut |_| 0);
        let (journal, _) = SimJournal::open(&disk).unwrap();
        assert_eq!(journal.records(&stream("KX-1")).len(), found, "{file}");
    }
}

#[test]
fn a_disk_that_lost_what_it_synced_stops_the_start() {
    let disk = SimDisk::new();
    let (mut journal, _) = SimJournal::open(&disk).unwrap();
    let mut answers = Vec::new();
    for seq in 0..6 {
        journal.append(append(&stream("KX-1"), seq, 1));
        journal.run(&mut answers);
    }
    drop(journal);
    let bytes = disk.bytes(LOG).unwrap();
    for place in [0, 20, bytes / 2, bytes - 1] {
        let damaged = disk.copy();
        assert!(damaged.flip_bit(LOG, place));
        let before = damaged.read(LOG);
        let refused = SimJournal::open(&damaged).map(|_| ()).unwrap_err();
        assert!(matches!(refused, JournalFault::EndsBeforeHead { head: 6, .. }), "{place}: {refused}");
        assert_eq!(damaged.read(LOG), before, "a refused start changes nothing");
    }
    let short = disk.copy();
    assert!(short.cut(LOG, bytes - 1));
    let refused = SimJournal::open(&short).map(|_| ()).unwrap_err();
    assert!(matches!(refused, JournalFault::EndsBeforeHead { last: 5, head: 6 }), "{refused}");
    let headless = disk.copy();
    headless.remove("journal/head").unwrap();
    let refused = SimJournal::open(&headless).map(|_| ()).unwrap_err();
    assert!(matches!(refused, JournalFault::HeadUnreadable { .. }), "{refused}");
}

#[test]
fn a_full_disk_refuses_a_group_and_writing_goes_on() {
    let disk = SimDisk::new();
    let (mut journal, _) = SimJournal::open(&disk).unwrap();
    let mut outside = Outside::default();
    disk.plan(fault(DiskCall::Write, LOG, 1, Befalls::NoRoom));
    for turn in 0..4 {
        let mut answers = Vec::new();
        outside.ask(&mut journal, STREAMS[turn % 3], 1);
        journal.run(&mut answers);
        outside.hear(answers);
    }
    assert_eq!(outside.faults, [AppendFault::NoRoom]);
    outside.holds(&journal);
    disk.set_room(Some(0));
    let mut answers = Vec::new();
    outside.ask(&mut journal, "KX-1", 1);
    journal.run(&mut answers);
    outside.hear(answers);
    assert_eq!(outside.faults, [AppendFault::NoRoom, AppendFault::NoRoom]);
    disk.crash(&mut |_| 0);
    outside.holds(&SimJournal::open(&disk).unwrap().0);
}

#[test]
fn steps_come_in_the_order_of_the_format_and_answers_last() {
    let disk = SimDisk::new();
    let (mut journal, _) = SimJournal::open(&disk).unwrap();
    let mut answers = Vec::new();
    journal.append(append(&stream("KX-1"), 0, 1));
    journal.append(append(&stream("KX-1"), 7, 1));
    let steps: Vec<SimStep> = std::iter::from_fn(|| {
        assert!(answers.is_empty());
        journal.is_busy().then(|| journal.step(&mut answers))
    })
    .take(6)
    .collect();
    let expected = [
        SimStep::Gathered,
        SimStep::Logged,
        SimStep::Committed,
        SimStep::HeadSynced,
        SimStep::HeadWritten,
        SimStep::Answered,
    ];
    assert_eq!(steps, expected);
    assert_eq!(answers[0].1.as_ref().unwrap().last_seq, 1);
    assert_eq!(answers[1].1, Err(AppendFault::Conflict { found: 1 }));
    assert_eq!(journal.step(&mut answers), SimStep::HeadSynced, "by itself, when nobody waits");
    assert_eq!(journal.step(&mut answers), SimStep::Rested);
}

#[test]
fn a_second_server_on_the_disk_ends_the_writing_of_the_first() {
    let disk = SimDisk::new();
    let (mut first, _) = SimJournal::open(&disk).unwrap();
    let (mut second, report) = SimJournal::open(&disk).unwrap();
    assert_eq!(report.epoch, 2);
    let mut answers = Vec::new();
    first.append(append(&stream("KX-1"), 0, 1));
    first.run(&mut answers);
    assert_eq!(answers.pop().unwrap().1, Err(AppendFault::WritingEnded));
    assert_eq!(first.meters().writing_ended, Some(WritingEnd::Superseded));
    second.append(append(&stream("KX-1"), 0, 1));
    second.run(&mut answers);
    assert!(answers.pop().unwrap().1.is_ok());
}

fn content(files: &SimFiles, id: &FileId) -> Vec<u8> {
    let file = files.open(id).unwrap();
    let mut bytes = vec![0; usize::try_from(file.bytes()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_finished_file_survives_and_an_unfinished_one_is_whole_or_where_it_was() {
    for seed in 0..200 {
        let mut draw = Draw(seed);
        let disk = SimDisk::new();
        let files = SimFiles::new(&disk);
        let bytes: Vec<u8> = (0..3_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let finished = files.begin(3_000).unwrap();
        files.write_at(&finished, 0, &bytes).unwrap();
        files.finish(&finished).unwrap();
        let synced = files.begin(3_000).unwrap();
        files.write_at(&synced, 0, &bytes[..2_000]).unwrap();
        files.sync(&synced).unwrap();
        // The crash falls into its finish: the rename is made and no folder is synced.
        let name = format!("files/staged/{synced}");
        disk.rename(&name, &name.replace("staged", "sealed")).unwrap();
        let loose = files.begin(10).unwrap();
        files.write_at(&loose, 0, b"0123456789").unwrap();
        assert_eq!(content(&files, &loose), b"0123456789");
        crash(&disk, &mut draw);

        let files = SimFiles::new(&disk);
        assert_eq!(content(&files, &finished), bytes);
        assert_eq!(content(&files, &synced), bytes[..2_000], "under one name or the other");
        files.finish(&synced).unwrap();
        crash(&disk, &mut draw);
        let files = SimFiles::new(&disk);
        assert_eq!(content(&files, &synced), bytes[..2_000]);
        assert!(!files.staged().unwrap().contains(&synced));
        files.delete(&synced).unwrap();
        files.delete(&synced).unwrap();
        assert!(matches!(files.open(&synced), Err(FileFault::Unknown(_))));
        assert_ne!(files.begin(1).unwrap(), finished, "ids are never drawn twice");
    }
}

#[test]
fn a_file_whose_sync_failed_is_spoiled_and_a_full_disk_harms_no_other() {
    let disk = SimDisk::new();
    let files = SimFiles::new(&disk);
    let id = files.begin(4).unwrap();
    files.write_at(&id, 0, b"abcd").unwrap();
    disk.plan(fault(DiskCall::Sync, "files/staged/", 0, Befalls::Fails));
    assert!(matches!(files.finish(&id), Err(FileFault::Disk { .. })));
    assert!(matches!(files.finish(&id), Err(FileFault::Spoiled(_))), "a failed sync is never tried again");
    assert!(matches!(files.write_at(&id, 4, b"e"), Err(FileFault::Spoiled(_))));

    let other = files.begin(100).unwrap();
    disk.plan(fault(DiskCall::Write, "files/staged/", 0, Befalls::Torn));
    assert!(files.write_at(&other, 0, &[7; 100]).is_err());
    assert_eq!(files.staged_bytes(&other).unwrap(), 0, "what was written of it is taken back");
    disk.set_room(Some(110));
    assert!(matches!(files.begin(10), Err(FileFault::NoRoom)), "room is kept for what was begun");
    files.write_at(&other, 0, &[7; 100]).unwrap();
    files.finish(&other).unwrap();
    assert!(matches!(files.write_at(&other, 0, b"x"), Err(FileFault::Unknown(_))));
}
