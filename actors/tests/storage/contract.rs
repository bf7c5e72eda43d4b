//! The contract of a journal, held against all three journals.

use kaibiao_actors::journal::{
    APPEND_RECORDS_MAX, Append, AppendFault, Head, Journal, READ_RECORDS_MAX, SqliteJournal,
    memory::MemoryJournal,
    simulated::{SharedSimJournal, SimDisk},
};
use kaibiao_engine::keeper::{SideSpace, SideWrite};
use zeroize::Zeroizing;

use crate::tools::{append, at, hash_after, payload, read_all, stream, write};

macro_rules! on_all_journals {
    ($($(#[doc = $about:literal])* $name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test]
            fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(&super::SqliteJournal::open(folder.path()).unwrap());
            })+
        }
        mod in_memory {
            $(#[test]
            fn $name() {
                super::$name(&super::MemoryJournal::new());
            })+
        }
        mod on_a_simulated_disk {
            $(#[test]
            fn $name() {
                super::$name(&super::SharedSimJournal::open(&super::SimDisk::new()).unwrap());
            })+
        }
    };
}

on_all_journals! {
    records_come_back_as_written_and_chained,
    a_wrong_expected_version_fails_its_own_append_alone,
    an_append_that_conflicts_leaves_nothing_behind,
    side_values_are_put_replaced_and_deleted,
    side_values_alone_need_no_version,
    a_wake_is_replaced_by_the_next_append,
    streams_are_listed_once_in_order,
    the_last_moment_is_the_latest_not_the_last,
    the_head_is_a_running_hash_over_all_records,
    a_long_stream_is_read_in_pages,
    more_than_an_append_may_hold_is_refused,
    an_append_stands_though_nobody_waits_for_it,
    many_who_race_for_one_stream_lose_no_record,
}

fn records_come_back_as_written_and_chained(journal: &dyn Journal) {
    let a = stream("KX-1");
    let first = write(journal, &a, 0, 3);
    assert_eq!(first.last_seq, 3);
    write(journal, &stream("KX-2"), 0, 2);
    let second = write(journal, &a, 3, 1);

    let records = read_all(journal, &a);
    let hashes: Vec<_> = records.iter().map(|record| record.hash).collect();
    assert_eq!(hashes, [first.hashes, second.hashes].concat());
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(records.iter().map(|record| record.position).collect::<Vec<_>>(), [1, 2, 3, 6]);
    for (place, record) in records.iter().enumerate() {
        assert_eq!((record.payload.as_slice(), record.at), (payload(record.seq).as_slice(), at(record.seq)));
        assert_eq!((record.kind.as_str(), record.version), ("happened", 1));
        assert_eq!(record.command_id.is_some(), record.seq % 2 == 0);
        let previous = place.checked_sub(1).map(|place| &records[place]);
        assert_eq!(record.hash, hash_after(&a, previous, record));
    }
    assert_eq!(journal.read(&a, 2, 1).unwrap(), records[2..3]);
    assert_eq!(journal.read(&a, 4, 10).unwrap(), []);
    assert_eq!(journal.read(&a, 99, 10).unwrap(), []);
    assert_eq!(journal.read(&stream("KX-3"), 0, 10).unwrap(), []);
}

fn a_wrong_expected_version_fails_its_own_append_alone(journal: &dyn Journal) {
    let (a, b) = (stream("KX-1"), stream("KX-2"));
    write(journal, &a, 0, 2);
    // Handed over together, so that they may well be in one group.
    let stale = journal.append(append(&a, 1, 1));
    let good = journal.append(append(&a, 2, 1));
    let early = journal.append(append(&b, 5, 1));
    let other = journal.append(append(&b, 0, 1));
    assert_eq!(stale.wait(), Err(AppendFault::Conflict { found: 2 }));
    assert_eq!(good.wait().unwrap().last_seq, 3);
    assert_eq!(early.wait(), Err(AppendFault::Conflict { found: 0 }));
    assert_eq!(other.wait().unwrap().last_seq, 1);
    assert_eq!(journal.meters().conflicts, 2);
}

fn put(key: &str, value: &[u8]) -> SideWrite {
    SideWrite::Put { space: SideSpace::PartKeys, key: key.to_owned(), value: Zeroizing::new(value.to_vec()) }
}

fn side(journal: &dyn Journal, key: &str) -> Option<Vec<u8>> {
    journal.side(SideSpace::PartKeys, key).unwrap().map(|value| value.to_vec())
}

fn an_append_that_conflicts_leaves_nothing_behind(journal: &dyn Journal) {
    let a = stream("KX-1");
    write(journal, &a, 0, 1);
    let head = journal.head();
    let stale = Append { side: vec![put("bid/common", b"x")], wake_at: Some(at(9)), ..append(&a, 0, 1) };
    assert_eq!(journal.append(stale).wait(), Err(AppendFault::Conflict { found: 1 }));
    assert_eq!(side(journal, "bid/common"), None);
    assert_eq!(journal.wakes().unwrap(), []);
    assert_eq!(journal.head(), head);
    assert_eq!(read_all(journal, &a).len(), 1);
}

fn side_values_are_put_replaced_and_deleted(journal: &dyn Journal) {
    let a = stream("KX-1");
    let keys = vec![put("b1/common", b"1"), put("b1/lot-001", b"2"), put("b2/common", b"3"), put("b1", b"0")];
    journal.append(Append { side: keys, ..append(&a, 0, 1) }).wait().unwrap();
    assert_eq!(side(journal, "b1/common").as_deref(), Some(b"1".as_slice()));
    assert_eq!(side(journal, "b3/common"), None);
    assert_eq!(journal.side_keys(SideSpace::PartKeys, "b1/").unwrap(), ["b1/common", "b1/lot-001"]);
    assert_eq!(journal.side_keys(SideSpace::PartKeys, "").unwrap().len(), 4);
    assert!(journal.side_keys(SideSpace::Contact, "").unwrap().is_empty(), "spaces are apart");
    assert!(journal.side(SideSpace::Contact, "b1/common").unwrap().is_none());

    let delete = SideWrite::Delete { space: SideSpace::PartKeys, key: "b1/common".to_owned() };
    let changes = vec![put("b2/common", b"4"), delete, put("b1/lot-001", b"5"), put("b1/lot-001", b"6")];
    journal.append(Append { side: changes, ..append(&a, 1, 1) }).wait().unwrap();
    assert_eq!(side(journal, "b1/common"), None);
    assert_eq!(side(journal, "b2/common").as_deref(), Some(b"4".as_slice()));
    assert_eq!(side(journal, "b1/lot-001").as_deref(), Some(b"6".as_slice()), "the last of two stands");
}

fn side_values_alone_need_no_version(journal: &dyn Journal) {
    let a = stream("KX-1");
    journal.append(Append { wake_at: Some(at(5)), ..append(&a, 0, 2) }).wait().unwrap();
    let head = journal.head();
    let done = journal.append(Append::side_only(a.clone(), vec![put("b1", b"1")])).wait().unwrap();
    assert_eq!((done.last_seq, done.hashes.len()), (0, 0));
    assert_eq!(side(journal, "b1").as_deref(), Some(b"1".as_slice()));
    assert_eq!(journal.head(), head);
    assert_eq!(journal.wakes().unwrap(), [(a, at(5))], "the wake stands");
}

fn a_wake_is_replaced_by_the_next_append(journal: &dyn Journal) {
    let (a, b) = (stream("KX-1"), stream("KX-2"));
    journal.append(Append { wake_at: Some(at(50)), ..append(&a, 0, 1) }).wait().unwrap();
    journal.append(Append { wake_at: Some(at(40)), ..append(&b, 0, 1) }).wait().unwrap();
    journal.append(Append { wake_at: Some(at(60)), ..append(&a, 1, 1) }).wait().unwrap();
    let mut wakes = journal.wakes().unwrap();
    wakes.sort();
    assert_eq!(wakes, [(a.clone(), at(60)), (b.clone(), at(40))]);
    write(journal, &a, 2, 1);
    assert_eq!(journal.wakes().unwrap(), [(b, at(40))]);
}

fn streams_are_listed_once_in_order(journal: &dyn Journal) {
    assert_eq!(journal.streams().unwrap(), []);
    let names = ["KX-2", "KX-1", "A", "KX-10"];
    for name in names {
        write(journal, &stream(name), 0, 2);
    }
    let lot = kaibiao_actors::journal::Stream::Lot("KX-1".parse().unwrap(), "7".parse().unwrap());
    write(journal, &lot, 0, 1);
    let listed: Vec<String> = journal.streams().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["lot/KX-1/7", "project/A", "project/KX-1", "project/KX-10", "project/KX-2"]);
}

fn the_last_moment_is_the_latest_not_the_last(journal: &dyn Journal) {
    assert_eq!(journal.last_moment(), None);
    let a = stream("KX-1");
    let mut out_of_order = append(&a, 0, 3);
    out_of_order.records[0].at = at(99);
    journal.append(out_of_order).wait().unwrap();
    assert_eq!(journal.last_moment(), Some(at(99)));
}

fn the_head_is_a_running_hash_over_all_records(journal: &dyn Journal) {
    assert_eq!(journal.head(), Head::START);
    let (a, b) = (stream("KX-1"), stream("KX-2"));
    let mut hashes = write(journal, &a, 0, 2).hashes;
    hashes.extend(write(journal, &b, 0, 1).hashes);
    let head = hashes.iter().fold(Head::START, Head::after);
    assert_eq!(journal.head(), head);
    assert_eq!(head.position, 3);
}

fn a_long_stream_is_read_in_pages(journal: &dyn Journal) {
    let a = stream("KX-1");
    let pending: Vec<_> = (0..25).map(|turn| journal.append(append(&a, turn * 500, 500))).collect();
    for pending in pending {
        pending.wait().unwrap();
    }
    assert_eq!(journal.read(&a, 0, usize::MAX).unwrap().len(), READ_RECORDS_MAX);
    assert_eq!(journal.read(&a, 12_499, usize::MAX).unwrap().len(), 1);
    let records = read_all(journal, &a);
    assert_eq!(records.len(), 12_500);
    assert!(records.iter().zip(1..).all(|(record, seq)| record.seq == seq && record.payload == payload(seq)));
}

fn more_than_an_append_may_hold_is_refused(journal: &dyn Journal) {
    let a = stream("KX-1");
    let many = append(&a, 0, APPEND_RECORDS_MAX as u64 + 1);
    assert_eq!(journal.append(many).wait(), Err(AppendFault::TooLarge));
    let mut large = append(&a, 0, 1);
    large.records[0].payload = vec![b'x'; kaibiao_actors::journal::APPEND_BYTES_MAX + 1];
    assert_eq!(journal.append(large).wait(), Err(AppendFault::TooLarge));
    write(journal, &a, 0, 1);
}

fn an_append_stands_though_nobody_waits_for_it(journal: &dyn Journal) {
    let a = stream("KX-1");
    drop(journal.append(append(&a, 0, 1)));
    write(journal, &a, 1, 1);
    assert_eq!(read_all(journal, &a).len(), 2);
}

fn many_who_race_for_one_stream_lose_no_record(journal: &dyn Journal) {
    const RACERS: usize = 8;
    const EACH: usize = 60;
    let a = stream("KX-1");
    std::thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| {
                let mut expected = 0;
                for _ in 0..EACH {
                    loop {
                        match journal.append(append(&a, expected, 1)).wait() {
                            Ok(appended) => {
                                expected = appended.last_seq;
                                break;
                            }
                            Err(AppendFault::Conflict { found }) => expected = found,
                            Err(fault) => panic!("{fault}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(read_all(journal, &a).len(), RACERS * EACH);
}
