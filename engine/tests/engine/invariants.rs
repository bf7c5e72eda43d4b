//! The predicates themselves: each is broken once, and says so.

use kaibiao_engine::invariants::{kb_1, kb_2, kb_3, kb_4, kb_5, kb_6_barrier, kb_6_texts, kb_7, kb_8};
use kaibiao_protocol::{
    event::{ProjectEvent, WindowEnd},
    moment::Moment,
    record::{LotRecord, RowOutcome},
};

use crate::{
    script::{moment, play, signed_record},
    world::{DEADLINE, World, bid, lot},
};

type Happened = Vec<(Moment, ProjectEvent)>;

fn history() -> Happened {
    signed_record().history
}

fn position(history: &Happened, kind: &str) -> usize {
    history.iter().position(|(_, event)| event.kind() == kind).unwrap()
}

/// The history with one event changed.
fn with(kind: &str, change: impl FnOnce(&mut ProjectEvent)) -> Happened {
    let mut history = history();
    let at = position(&history, kind);
    change(&mut history[at].1);
    history
}

/// The history without the first event of a kind.
fn without(kind: &str) -> Happened {
    let mut history = history();
    history.remove(position(&history, kind));
    history
}

#[test]
fn a_true_history_breaks_none() {
    kaibiao_engine::invariants::history_holds(&history()).unwrap();
}

#[test]
fn kb_1_notices_a_key_before_the_deadline_or_before_the_count() {
    let mut early = history();
    let order = position(&early, "order_issued");
    early[order].0 = Moment(DEADLINE.0 - 1);
    assert_eq!(kb_1(&early).unwrap_err().invariant, "KB-1");
    assert!(kb_1(&without("receiving_closed")).is_err());
}

#[test]
fn kb_2_notices_an_event_that_was_not_stored() {
    let World { project, mut history } = signed_record();
    kb_2(&project, &history).unwrap();
    history.pop();
    assert_eq!(kb_2(&project, &history).unwrap_err().invariant, "KB-2");
}

#[test]
fn kb_3_notices_what_was_not_due() {
    kb_3(&[1, 2], &[1, 2, 3]).unwrap();
    kb_3::<i32>(&[], &[]).unwrap();
    assert!(kb_3(&[1, 3], &[1, 2, 3]).is_err());
    assert!(kb_3(&[1, 2, 3, 4], &[1, 2, 3]).is_err());
    assert_eq!(kb_3(&[2], &[1, 2]).unwrap_err().what, "event 1 of 1 sent is not the one due");
}

#[test]
fn kb_4_notices_a_bid_lost_doubled_moved_or_opened_against_the_rule() {
    let changes: [fn(&mut Vec<kaibiao_protocol::record::RecordRow>); 4] = [
        |rows| drop(rows.remove(0)),
        |rows| rows.push(rows[0].clone()),
        |rows| rows.swap(0, 1),
        |rows| rows[1].no = 7,
    ];
    for change in changes {
        let changed = with("records_published", |event| {
            let ProjectEvent::RecordsPublished { record } = event else { unreachable!() };
            let Some(LotRecord::Opened { rows }) = record.lots.get_mut(&lot(1)) else { unreachable!() };
            change(rows);
        });
        assert_eq!(kb_4(&changed).unwrap_err().invariant, "KB-4");
    }
    // Two bids less: the lot should have stayed sealed.
    let mut fewer = history();
    let gone = ["a1", "b1"].map(bid);
    fewer.retain(
        |(_, event)| !matches!(event, ProjectEvent::BidSubmitted { facts, .. } if gone.contains(&facts.bid)),
    );
    assert!(kb_4(&fewer).is_err());
    let lots_missing = with("records_published", |event| {
        let ProjectEvent::RecordsPublished { record } = event else { unreachable!() };
        record.lots.remove(&lot(2));
    });
    assert!(kb_4(&lots_missing).is_err());
}

#[test]
fn kb_5_notices_a_late_stamp() {
    let late = with("bid_submitted", |event| {
        let ProjectEvent::BidSubmitted { received_at, .. } = event else { unreachable!() };
        *received_at = DEADLINE;
    });
    assert_eq!(kb_5(&late).unwrap_err().invariant, "KB-5");
}

#[test]
fn kb_6_notices_publication_before_everybody_is_settled() {
    for missing in ["window_closed", "bid_unsealed", "grace_ended"] {
        assert_eq!(kb_6_barrier(&without(missing)).unwrap_err().invariant, "KB-6", "{missing}");
    }
    let mut twice = history();
    let published = twice[position(&twice, "records_published")].clone();
    twice.push(published);
    assert!(kb_6_barrier(&twice).is_err());
    let failed_with_sheet = with("records_published", |event| {
        let ProjectEvent::RecordsPublished { record } = event else { unreachable!() };
        let Some(LotRecord::Opened { rows }) = record.lots.get_mut(&lot(1)) else { unreachable!() };
        let RowOutcome::Unsealed { .. } = rows[0].outcome else { unreachable!() };
        rows[2].outcome = rows[0].outcome.clone();
    });
    assert!(kb_6_barrier(&failed_with_sheet).is_err());
}

#[test]
fn kb_6_allows_an_order_after_the_window() {
    let world = play(
        crate::script::open_window(),
        "+25m A       fail a1 wrong_token    -> bid_failed
         +30m timer   elapse                 -> window_closed
         +34m opening order 2 down=+31m      -> order_issued
         +38m timer   elapse                 -> grace_ended
         +38m opening publish                -> records_published",
    );
    kb_6_barrier(&world.history).unwrap();
}

#[test]
fn kb_6_waits_for_restored_bytes_whose_keys_are_here_and_not_for_keys_to_damaged_ones() {
    let damaged = "+25m opening fail a1 damaged_store    -> bid_failed
         +26m agent   admit a1                -> backup_admitted
         +30m timer   elapse                  -> window_closed
         +35m timer   elapse                  -> grace_ended";
    let with_late_keys = play(
        play(crate::script::open_window(), damaged),
        "+34m opening keys a1                 -> keys_accepted
         is bid a1 = settled damaged_store
         +36m opening publish                 -> records_published",
    );
    kb_6_barrier(&with_late_keys.history).unwrap();
    let restored = play(
        play(crate::script::open_window(), &format!("+24m opening keys a1 -> keys_accepted\n{damaged}")),
        "+34m intake  restore a1              -> bid_restored",
    );
    let published = with_late_keys.history.last().unwrap().clone();
    assert!(kb_6_barrier(&[restored.history, vec![published]].concat()).is_err());
}

#[test]
fn kb_6_notices_a_price_in_a_text() {
    kb_6_texts(["a frame", "another"], &["88888.88"]).unwrap();
    assert!(kb_6_texts(["a frame", "now 88888.88 yuan"], &["88888.88"]).is_err());
}

#[test]
fn kb_7_notices_a_backup_without_failure_or_leave() {
    assert_eq!(kb_7(&without("backup_admitted")).unwrap_err().invariant, "KB-7");
    let mut unfailed = history();
    unfailed.retain(|(_, event)| event.kind() != "bid_failed");
    assert!(kb_7(&unfailed).is_err());
    let restored =
        (moment("+1m"), ProjectEvent::BidRestored { bid: bid("a1"), file: crate::world::file("x") });
    assert!(kb_7(&[history(), vec![restored]].concat()).is_err());
}

#[test]
fn kb_8_notices_a_canary_and_does_not_repeat_it() {
    kb_8([&b"a log line"[..], b""], &[b"canary", b""]).unwrap();
    let broken = kb_8([&b"a log line with a canary in it"[..]], &[b"canary"]).unwrap_err();
    assert!(!broken.to_string().contains("canary"));
}

#[test]
fn a_window_that_closed_early_is_no_barrier_by_itself() {
    // An early close with a key still in hand, as a faulty machine would record it.
    let history = play(crate::script::open_window(), "+1m opening keys a1 -> keys_accepted").history;
    let closed =
        ProjectEvent::WindowClosed { end: WindowEnd::ClosedEarly, reason: None, no_shows: Vec::new() };
    let published = history_end();
    let history = [history, vec![(moment("+2m"), closed), published]].concat();
    assert!(kb_6_barrier(&history).is_err());
}

fn history_end() -> (Moment, ProjectEvent) {
    let history = history();
    history[position(&history, "records_published")].clone()
}
