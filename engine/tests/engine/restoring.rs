//! A damaged bid's bytes handed in again, step by step: what the shell hears and what it is told.

use std::sync::Arc;

use kaibiao_engine::{
    keeper::Done,
    reaction::restoring::{Input, Output, Restored, Restoring, are_the_receipts},
    refusals::refuse,
    rules::RulePack,
};
use kaibiao_protocol::{command::ProjectCommand, moment::Moment, refusal::RefusalCode};

use crate::{
    script::{RECEIVING, check, moment, play},
    world::{World, bid, digest, facts, file, organisation},
};

/// A room in which the store damaged a1 and the agent has admitted its backup.
fn damaged() -> World {
    play(
        check(RECEIVING),
        "+0  intake  count                   -> receiving_closed
         +0  timer   start                   -> opening_started
         +0  opening order 1                 -> order_issued
         +1m opening fail a1 damaged_store   -> bid_failed
         +2m agent   admit a1                -> backup_admitted",
    )
}

struct Told(Restoring);

impl Told {
    fn of(supplier: &str) -> Self {
        let what = Restored { bid: bid("a1"), supplier: organisation(supplier), file: file("restored") };
        let core = Restoring::new(what);
        let mut out = Vec::new();
        core.begin(&mut out);
        assert_eq!(said(&out), "load");
        Self(core)
    }

    fn hears(&mut self, input: Input) -> String {
        let mut out = Vec::new();
        self.0.handle(input, &mut out);
        said(&out)
    }

    fn loads(&mut self, world: &World) -> String {
        self.hears(Input::Loaded(Some(Arc::new(world.project.clone()))))
    }

    fn answered(&mut self, code: RefusalCode) -> String {
        self.hears(Input::Answered(Err(refuse(code, RulePack::default()))))
    }
}

fn said(out: &[Output]) -> String {
    let word = |output: &Output| match output {
        Output::LoadProject => "load".to_owned(),
        Output::Stamp => "stamp".to_owned(),
        Output::Check(facts) => format!("check {}", facts.supplier),
        Output::Ask { command, .. } => match **command {
            ProjectCommand::RestoreBid { .. } => "ask restore_bid".to_owned(),
            _ => panic!("a restoring asks for no {command:?}"),
        },
        Output::SettleTicket => "settle".to_owned(),
        Output::DeleteFile => "delete".to_owned(),
        Output::Restored => "restored".to_owned(),
        Output::Refused(refusal) => format!("!{}", refusal.code.as_str()),
    };
    out.iter().map(word).collect::<Vec<_>>().join("; ")
}

fn done() -> Input {
    Input::Answered(Ok(Done { at: Moment(0), first_seq: 1, hashes: Vec::new() }))
}

#[test]
fn restored_bytes_are_stamped_before_they_are_checked_and_asked_for() {
    let world = damaged();
    let mut told = Told::of("A");
    assert_eq!(told.loads(&world), "stamp");
    assert_eq!(told.hears(Input::Stamped(Some(moment("+3m")))), "check A");
    assert_eq!(told.hears(Input::Checked(Ok(()))), "ask restore_bid");
    assert_eq!(told.hears(done()), "settle; restored");
}

#[test]
fn what_is_not_wanted_is_refused_before_a_byte_is_read() {
    let world = damaged();
    for (supplier, at, code) in [("B", "+3m", "no_such_bid"), ("A", "+3h", "window_closed")] {
        let mut told = Told::of(supplier);
        told.loads(&world);
        assert_eq!(told.hears(Input::Stamped(Some(moment(at)))), "settle; load");
        assert_eq!(told.loads(&world), format!("delete; !{code}"));
    }
}

#[test]
fn other_bytes_than_the_receipts_are_deleted_and_uncertain_ones_stay() {
    let world = damaged();
    let checked = || {
        let mut told = Told::of("A");
        told.loads(&world);
        told.hears(Input::Stamped(Some(moment("+3m"))));
        told
    };
    let mut told = checked();
    assert_eq!(told.hears(Input::Checked(Err(RefusalCode::BackupDiffers))), "settle; load");
    assert_eq!(told.loads(&world), "delete; !backup_differs");
    for code in [RefusalCode::Busy, RefusalCode::WritingEnded] {
        let mut told = checked();
        told.hears(Input::Checked(Ok(())));
        assert_eq!(told.answered(code), format!("settle; !{}", code.as_str()));
    }
    // Full or unreadable: nothing is known of them, and nothing is done to them.
    let mut told = Told::of("A");
    assert_eq!(told.hears(Input::Loaded(None)), "!busy");
    let mut told = Told::of("A");
    told.loads(&world);
    assert_eq!(told.hears(Input::Stamped(None)), "!busy");
}

#[test]
fn bytes_that_are_the_bids_already_are_told_so_whatever_was_answered() {
    let world = damaged();
    let after = play(world.clone(), "+3m intake restore a1 -> bid_restored");
    assert_eq!(Told::of("A").loads(&after), "restored");
    // The same upload twice at once: the second is refused, and finds the bytes where they belong.
    let mut told = Told::of("A");
    told.loads(&world);
    told.hears(Input::Stamped(Some(moment("+3m"))));
    told.hears(Input::Checked(Ok(())));
    assert_eq!(told.answered(RefusalCode::NoFailureRecorded), "settle; load");
    assert_eq!(told.loads(&after), "restored");
    // To another supplier they are no bid of its own.
    assert_eq!(Told::of("B").loads(&after), "stamp");
}

#[test]
fn one_byte_more_or_another_header_is_not_the_receipts() {
    let receipt = facts("a1", "A", &[1]);
    let same = |header: &str, bytes, parts: &[_]| are_the_receipts(&receipt, &digest(header), bytes, parts);
    assert!(same("a1 header", 10_000, &receipt.parts));
    assert!(!same("a2 header", 10_000, &receipt.parts));
    assert!(!same("a1 header", 10_001, &receipt.parts));
    assert!(!same("a1 header", 10_000, &receipt.parts[1..]));
}
