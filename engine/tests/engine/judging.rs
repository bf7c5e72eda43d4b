//! One final from its stamp to its verdict, step by step: what the shell hears and what it is told.

use std::sync::Arc;

use kaibiao_engine::{
    keeper::Done,
    reaction::{
        judging::{
            Asked, CheckFault, Claims, Final, Input, Judging, Output, PROJECT_LOADS_MAX, RowFault,
            STORE_LOOKS_MAX,
        },
        reception::{LeftFinal, Met, Reception},
        tickets::Tickets,
    },
    refusals::refuse,
    rules::RulePack,
};
use kaibiao_protocol::{
    blob::Blob,
    command::ProjectCommand,
    ids::LotNo,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
};

use crate::{
    script::check,
    world::{DEADLINE, World, bid, digest, facts, file, lot, organisation, upload},
};

/// A final of supplier A, stamped so many microseconds after the deadline.
fn a_final(name: &str, after_us: i64) -> Final {
    Final {
        project: "KX-00823".parse().unwrap(),
        upload: upload(name),
        bid: bid(name),
        supplier: organisation("A"),
        file: file(name),
        size_bytes: 10_000,
        received_at: Moment(DEADLINE.0 + after_us),
        contact: Blob(b"wrapped".to_vec()),
        contact_digest: digest("contact"),
    }
}

/// A judging with its words written down.
struct Told {
    core: Judging,
    stopping: bool,
}

impl Told {
    fn of(core: Judging) -> Self {
        let mut out = Vec::new();
        core.begin(&mut out);
        assert_eq!(said(&out), "load");
        Self { core, stopping: false }
    }

    /// What follows from an input.
    fn hears(&mut self, input: Input) -> String {
        let mut out = Vec::new();
        self.core.handle(input, self.stopping, &mut out);
        said(&out)
    }

    fn answered(&mut self, code: RefusalCode) -> String {
        self.hears(Input::Answered(Err(refusal(code))))
    }

    fn done(&mut self, seq: u64) -> String {
        let done = Done { at: self.core.one().received_at, first_seq: seq, hashes: Vec::new() };
        self.hears(Input::Answered(Ok(done)))
    }
}

fn refusal(code: RefusalCode) -> Refusal {
    refuse(code, RulePack::default())
}

fn said(out: &[Output]) -> String {
    let word = |output: &Output| match output {
        Output::LoadProject => "load".to_owned(),
        Output::SyncBytes => "sync".to_owned(),
        Output::WriteRow => "row".to_owned(),
        Output::Check => "check".to_owned(),
        Output::Seal => "seal".to_owned(),
        Output::Ask { asked, command, side } => {
            let what = match &**command {
                ProjectCommand::SubmitBid { facts } => format!("bid {}", facts.upload.0[0] as char),
                ProjectCommand::RefuseUpload { code, .. } => code.as_str().to_owned(),
                other => panic!("a final asks for no {other:?}"),
            };
            format!("ask {asked:?}({what}, {} beside)", side.len()).to_lowercase()
        }
        Output::Wait { .. } => "wait".to_owned(),
        Output::DropRow => "drop row".to_owned(),
        Output::DeleteFile => "delete".to_owned(),
        Output::SettleTicket => "settle".to_owned(),
        Output::Recorded { seq } => format!("record {seq}"),
        Output::Refused(refusal) => format!("!{}", refusal.code.as_str()),
        Output::Left => "left".to_owned(),
    };
    out.iter().map(word).collect::<Vec<_>>().join("; ")
}

fn loaded(world: &World) -> Input {
    Input::Loaded(Arc::new(world.project.clone()))
}

fn created() -> World {
    check("-30d agent create -> project_created")
}

#[test]
fn a_final_is_durable_before_it_is_checked_and_recorded_before_it_is_told() {
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    assert_eq!(told.hears(loaded(&created())), "sync");
    assert_eq!(told.hears(Input::Synced(Ok(()))), "row");
    assert!(!told.core.is_staged());
    assert_eq!(told.hears(Input::RowWritten(Ok(()))), "check");
    assert!(told.core.is_staged());
    let facts = Box::new(facts("a1", "A", &[1]));
    assert_eq!(told.hears(Input::Checked(Ok(facts))), "seal");
    assert_eq!(told.hears(Input::Sealed(true)), "ask submit(bid a, 3 beside)");
    assert_eq!(told.done(2), "settle; record 2");
}

#[test]
fn what_is_in_time_is_decided_by_the_stamp_alone_and_a_late_one_is_not_even_staged() {
    for (after_us, first) in [(-1, "sync"), (0, "ask refuse(past_deadline, 1 beside)")] {
        let mut told = Told::of(Judging::new(a_final("a1", after_us)));
        assert_eq!(told.hears(loaded(&created())), first);
    }
    let mut told = Told::of(Judging::new(a_final("a1", 0)));
    told.hears(loaded(&created()));
    assert_eq!(told.done(2), "delete; settle; record 2");
}

#[test]
fn a_final_that_a_crash_left_keeps_its_stamp_and_is_not_staged_again() {
    let long_after = Moment(DEADLINE.0 + 3_600_000_000);
    let mut told = Told::of(Judging::resumed(a_final("a1", -1), true, long_after));
    assert_eq!(told.core.one().received_at, Moment(DEADLINE.0 - 1));
    assert_eq!(told.hears(loaded(&created())), "check");
}

#[test]
fn the_same_upload_again_gets_the_first_answer() {
    let world = check(
        "-30d agent create -> project_created
         -1h intake submit a1 -> bid_submitted
         -1h intake refuse a2 past_deadline -> upload_refused",
    );
    for (name, asked) in [("a1", "ask again(bid a, 0 beside)"), ("a2", "ask again(past_deadline, 0 beside)")]
    {
        // Long after the deadline: it is not judged by the time of the repeat.
        let mut told = Told::of(Judging::new(a_final(name, 60_000_000)));
        assert_eq!(told.hears(loaded(&world)), asked);
        assert_eq!(told.done(2), "drop row; settle; record 2");
    }
}

#[test]
fn anothers_upload_of_the_same_name_gets_no_answer_and_loses_no_file() {
    let world = check(
        "-30d agent create -> project_created
         -1h intake submit a1 -> bid_submitted
         -1h intake refuse a2 past_deadline -> upload_refused",
    );
    for name in ["a1", "a2"] {
        let one = Final { supplier: organisation("B"), ..a_final(name, -1) };
        let mut told = Told::of(Judging::new(one));
        assert_eq!(told.hears(loaded(&world)), "drop row; settle; !upload_taken");
    }
    // Taken while it was being judged.
    let mut told = Told::of(Judging::new(a_final("a3", 0)));
    told.hears(loaded(&world));
    assert_eq!(told.answered(RefusalCode::UploadTaken), "drop row; settle; !upload_taken");
}

#[test]
fn a_refused_final_has_its_refusal_recorded_whoever_refuses_it() {
    let checked = || {
        let mut told = Told::of(Judging::resumed(a_final("a1", -1), true, DEADLINE));
        told.hears(loaded(&created()));
        told
    };
    let mut told = checked();
    let refused = Input::Checked(Err(CheckFault::Refused(RefusalCode::SignatureInvalid)));
    assert_eq!(told.hears(refused), "ask refuse(signature_invalid, 1 beside)");
    assert_eq!(told.done(3), "delete; settle; record 3");
    let mut told = checked();
    told.hears(Input::Checked(Ok(Box::new(facts("a1", "A", &[1])))));
    told.hears(Input::Sealed(true));
    assert_eq!(told.answered(RefusalCode::SameCiphertext), "ask refuse(same_ciphertext, 1 beside)");
    // A refusal that cannot even be recorded keeps nothing.
    assert_eq!(told.answered(RefusalCode::SlowDown), "drop row; delete; settle; !slow_down");
}

#[test]
fn nothing_of_a_final_of_no_project_is_kept() {
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    assert_eq!(told.hears(Input::UnknownProject), "delete; settle; !unknown");
    let mut told = Told::of(Judging::resumed(a_final("a1", -1), true, DEADLINE));
    assert_eq!(told.hears(Input::UnknownProject), "drop row; delete; settle; !unknown");
}

#[test]
fn a_final_that_cannot_be_made_durable_is_refused_and_was_never_received() {
    for code in [RefusalCode::NoRoom, RefusalCode::SealedBidDamaged] {
        let mut told = Told::of(Judging::new(a_final("a1", -1)));
        told.hears(loaded(&created()));
        assert_eq!(told.hears(Input::Synced(Err(code))), format!("delete; settle; !{}", code.as_str()));
    }
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    told.hears(loaded(&created()));
    told.hears(Input::Synced(Ok(())));
    let full = Input::RowWritten(Err(RowFault::Refused(RefusalCode::NoRoom)));
    assert_eq!(told.hears(full), "delete; settle; !no_room");
}

#[test]
fn what_is_busy_is_tried_again_and_what_can_never_be_written_is_left_with_its_ticket() {
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    told.hears(loaded(&created()));
    told.hears(Input::Synced(Ok(())));
    assert_eq!(told.hears(Input::RowWritten(Err(RowFault::Busy))), "wait");
    assert_eq!(told.hears(Input::Waited), "row");
    told.hears(Input::RowWritten(Ok(())));
    told.hears(Input::Checked(Ok(Box::new(facts("a1", "A", &[1])))));
    assert_eq!(told.hears(Input::Sealed(false)), "wait");
    assert_eq!(told.hears(Input::Waited), "seal");
    told.hears(Input::Sealed(true));
    for _ in 0..1_000 {
        assert_eq!(told.answered(RefusalCode::Busy), "wait");
        assert_eq!(told.hears(Input::Waited), "ask submit(bid a, 3 beside)");
    }
    assert_eq!(told.answered(RefusalCode::WritingEnded), "left");
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    told.hears(loaded(&created()));
    told.hears(Input::Synced(Ok(())));
    assert_eq!(told.hears(Input::RowWritten(Err(RowFault::WritingEnded))), "left");
}

#[test]
fn the_stores_trouble_costs_no_bid_until_its_bytes_count_as_lost_and_that_is_recorded() {
    let mut told = Told::of(Judging::resumed(a_final("a1", -1), true, DEADLINE));
    told.hears(loaded(&created()));
    for _ in 1..STORE_LOOKS_MAX {
        assert_eq!(told.hears(Input::Checked(Err(CheckFault::Store))), "wait");
        assert_eq!(told.hears(Input::Waited), "check");
    }
    let lost = told.hears(Input::Checked(Err(CheckFault::Store)));
    assert_eq!(lost, "ask refuse(sealed_bid_damaged, 1 beside)");
}

#[test]
fn a_project_that_cannot_be_read_leaves_the_final_staged_with_its_stamp() {
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    for _ in 1..PROJECT_LOADS_MAX {
        assert_eq!(told.hears(Input::ProjectUnreadable), "wait");
        assert_eq!(told.hears(Input::Waited), "load");
    }
    // Before it is given up, its stamp is made to outlive this process.
    assert_eq!(told.hears(Input::ProjectUnreadable), "sync");
    assert_eq!(told.hears(Input::Synced(Ok(()))), "row");
    assert_eq!(told.hears(Input::RowWritten(Ok(()))), "left");
    assert!(told.core.is_staged());
}

#[test]
fn a_process_that_stops_waits_for_nothing() {
    let mut told = Told::of(Judging::new(a_final("a1", -1)));
    told.stopping = true;
    assert_eq!(told.hears(Input::ProjectUnreadable), "left");
    let mut told = Told::of(Judging::resumed(a_final("a1", -1), true, DEADLINE));
    told.stopping = true;
    told.hears(loaded(&created()));
    assert_eq!(told.hears(Input::Checked(Err(CheckFault::Store))), "left");
    let mut told = Told::of(Judging::new(a_final("a1", 0)));
    told.stopping = true;
    told.hears(loaded(&created()));
    assert_eq!(told.answered(RefusalCode::Busy), "left");
}

#[test]
fn no_two_asks_of_two_finals_share_a_name() {
    let one = Judging::new(a_final("a1", -1));
    let other = Judging::new(Final { supplier: organisation("B"), ..a_final("a1", -1) });
    for (a, b) in [(Asked::Submit, Asked::Refuse), (Asked::Again, Asked::Submit)] {
        assert_ne!(one.command_pieces(a), one.command_pieces(b));
        assert_ne!(one.command_pieces(a), other.command_pieces(a));
    }
}

#[test]
fn what_a_sealed_bid_says_of_itself_must_be_what_it_is_handed_in_as() {
    let project = created().project;
    let one = a_final("a1", -1);
    let (here, elsewhere) = (one.project.clone(), "KX-9".parse().unwrap());
    let (mine, anothers) = (organisation("A"), organisation("B"));
    let lots =
        |numbers: &[u16]| numbers.iter().map(|no| lot(*no)).collect::<std::collections::BTreeSet<LotNo>>();
    let (offered, unknown) = (lots(&[1]), lots(&[1, 99]));
    let of =
        |project, supplier, lots, for_this_platform| Claims { project, supplier, lots, for_this_platform };
    for (claims, expected) in [
        (of(&here, &mine, &offered, true), Ok(())),
        (of(&elsewhere, &mine, &offered, true), Err(RefusalCode::OtherProject)),
        (of(&here, &anothers, &offered, true), Err(RefusalCode::OtherSupplier)),
        (of(&here, &mine, &unknown, true), Err(RefusalCode::OtherLots)),
        (of(&here, &mine, &offered, false), Err(RefusalCode::OtherPlatform)),
    ] {
        assert_eq!(one.check_claims(&claims, &project), expected);
    }
}

#[test]
fn a_final_sent_twice_meets_itself_and_one_that_was_left_is_taken_up_with_its_stamp() {
    let mut tickets = Tickets::default();
    let mut reception = Reception::<Vec<&str>>::new();
    let one = a_final("a1", -1);
    assert!(matches!(reception.meet(&one.name()), Met::Nobody));
    reception.begin(one.name(), vec!["first"]);
    let Met::Running(waiting) = reception.meet(&one.name()) else { panic!("it is on its way") };
    waiting.push("again");
    // Another supplier's upload of the same name is another.
    let other = Final { supplier: organisation("B"), ..one.clone() };
    assert!(matches!(reception.meet(&other.name()), Met::Nobody));
    let ticket = tickets.take(1).unwrap();
    let left = LeftFinal { one: one.clone(), staged: true, ticket };
    assert_eq!(reception.leave(left.clone()), Some(vec!["first", "again"]));
    let Met::Left(found) = reception.meet(&one.name()) else { panic!("it was left") };
    assert_eq!(found, left);
    reception.begin(one.name(), vec!["third"]);
    assert_eq!(reception.end(&one.name()), Some(vec!["third"]));
    assert!(reception.is_empty());
}
