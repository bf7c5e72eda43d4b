//! The keeper: nothing is answered before it is durable, nothing happens twice, nobody sees a place
//! that is taken.

use kaibiao_engine::{
    keeper::{
        Ask, AskNo, BATCH_MAX, Batch, COMMAND_IDS_MAX, Done, Input, Keeper, Output, SideWrite, WAITING_MAX,
    },
    project::ProjectMachine,
};
use kaibiao_protocol::{
    command::ProjectCommand,
    ids::CommandId,
    moment::Moment,
    role::{Asker, Reactor},
};
use proptest::{prelude::*, test_runner::RngSeed};

use crate::{
    hall::{Hall, SEATS, Seats, Shell, hash, put},
    world::{agent, facts, platform, spec},
};

#[test]
fn an_answer_waits_until_its_records_are_durable() {
    let mut hall = Shell::<Hall>::new();
    let one = hall.ask(vec![1, 2]);
    assert_eq!(hall.answer(one), None);
    assert_eq!(hall.keeper.committed(), &Seats::default());
    hall.sync();
    assert_eq!(hall.done(one), &Done { at: Moment(1), first_seq: 1, hashes: vec![hash(1), hash(2)] });
    assert_eq!(hall.keeper.committed(), &Seats { taken: vec![1, 2] });
    assert_eq!(hall.published, [1, 2]);
}

#[test]
fn two_commands_never_see_the_same_free_place() {
    let mut hall = Shell::<Hall>::new();
    let asked: Vec<u64> = (0..3).map(|_| hall.ask(vec![7])).collect();
    hall.sync_all();
    assert!(hall.done(asked[0]).hashes.len() == 1 && hall.done(asked[1]).hashes.len() == 1);
    assert_eq!(hall.code(asked[2]), "not_invited");
    assert_eq!(hall.keeper.committed().taken, [7, 7]);
}

#[test]
fn a_refusal_waits_for_what_it_was_decided_on() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![7]);
    let second = hall.ask(vec![7]);
    let refused = hall.ask(vec![7]);
    assert_eq!(hall.answer(refused), None, "both seats are taken only in what is not durable");
    hall.sync();
    assert_eq!(hall.answer(refused), None, "the second seat is in the batch after");
    hall.sync();
    assert!(hall.answer(second).is_some());
    assert_eq!(hall.code(refused), "not_invited");
}

#[test]
fn a_refusal_that_rests_on_durable_state_is_told_at_once() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![7, 7]);
    hall.sync();
    let refused = hall.ask(vec![7]);
    assert_eq!(hall.code(refused), "not_invited");
    assert!(hall.in_flight.is_none());
}

#[test]
fn what_waits_goes_into_the_next_batch() {
    let mut hall = Shell::<Hall>::new();
    for row in 1..=10_u16 {
        hall.ask(vec![row]);
    }
    assert_eq!(hall.sync().records.len(), 1);
    assert_eq!(hall.sync().records.len(), 9);
    assert_eq!(hall.keeper.last_seq(), 10);
    assert_eq!(hall.keeper.waiting(), 0);
}

#[test]
fn answers_leave_in_the_order_the_asks_came() {
    let mut hall = Shell::<Hall>::new();
    for row in [1, 1, 1, 2, 0, 1, 2, 2, 3] {
        hall.ask(vec![row]);
    }
    hall.sync_all();
    let order: Vec<u64> = hall.answers.iter().map(|(no, _)| *no).collect();
    assert_eq!(order, (1..=9).collect::<Vec<_>>());
}

#[test]
fn a_batch_has_a_limit_and_a_larger_command_goes_alone() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![1]);
    for row in 2..=301 {
        hall.ask(vec![row, row]);
    }
    assert_eq!(hall.sync().records.len(), 1);
    assert_eq!(hall.sync().records.len(), BATCH_MAX);
    assert_eq!(hall.sync().records.len(), 600 - BATCH_MAX);
    let mut hall = Shell::<Hall>::new();
    // A command is stored as a whole, however many records it yields.
    for command in [vec![1], (1..=600).collect(), vec![2], vec![3]] {
        hall.ask(command);
    }
    assert_eq!(hall.sync().records.len(), 1);
    assert_eq!(hall.sync().records.len(), 600);
    assert_eq!(hall.sync().records.len(), 2);
}

#[test]
fn too_many_waiting_are_told_to_come_again() {
    let mut hall = Shell::<Hall>::new();
    for _ in 0..WAITING_MAX {
        hall.ask(vec![1]);
    }
    let one_more = hall.ask(vec![2]);
    assert_eq!(hall.code(one_more), "busy");
    hall.sync_all();
    let again = hall.ask(vec![2]);
    hall.sync_all();
    assert_eq!(hall.done(again).hashes.len(), 1);
}

#[test]
fn a_failed_append_stops_the_keeper_and_everybody_is_told() {
    let mut hall = Shell::<Hall>::new();
    let in_flight = hall.ask(vec![1]);
    let waiting = hall.ask(vec![2]);
    hall.take(Input::AppendFailed);
    assert!(hall.stopped && hall.keeper.is_stopped());
    assert_eq!(hall.code(in_flight), "writing_ended", "whether it happened is not known");
    assert_eq!(hall.code(waiting), "busy", "it certainly did not");
    let later = hall.ask(vec![3]);
    assert_eq!(hall.code(later), "busy");
    assert_eq!(hall.keeper.committed(), &Seats::default());
    // A late word about the lost append changes nothing any more.
    hall.take(Input::Appended { last_seq: 1, hashes: vec![hash(1)] });
    assert_eq!(hall.keeper.committed(), &Seats::default());
}

#[test]
fn an_append_that_certainly_wrote_nothing_may_be_asked_again() {
    let mut hall = Shell::<Hall>::new();
    let in_flight = hall.ask(vec![1]);
    hall.take(Input::AppendRefused);
    assert_eq!(hall.code(in_flight), "busy");
    assert!(hall.stopped);
}

#[test]
fn a_command_sent_again_gets_its_first_answer() {
    let mut hall = Shell::<Hall>::new();
    let first = hall.ask_as(Some(9), vec![1, 2], Vec::new());
    let while_in_flight = hall.ask_as(Some(9), vec![1, 2], Vec::new());
    assert_eq!(hall.answer(while_in_flight), None);
    hall.sync_all();
    let after = hall.ask_as(Some(9), vec![1, 2], Vec::new());
    // Even if the same id comes with something else.
    let other = hall.ask_as(Some(9), vec![5], Vec::new());
    let answer = hall.done(first).clone();
    assert_eq!(answer.hashes.len(), 2);
    for again in [while_in_flight, after, other] {
        assert_eq!(hall.done(again), &answer);
    }
    assert_eq!(hall.keeper.committed().taken, [1, 2]);
}

#[test]
fn the_first_answer_outlives_a_restart() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![3]);
    let first = hall.ask_as(Some(9), vec![1, 2], Vec::new());
    hall.sync_all();
    let answer = hall.done(first).clone();
    let mut restarted = Shell::<Hall> { keeper: hall.replayed(), journal: hall.journal, ..Shell::new() };
    let again = restarted.ask_as(Some(9), vec![1, 2], Vec::new());
    assert_eq!(restarted.done(again), &answer);
}

#[test]
fn a_refused_command_is_decided_again() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![7, 7]);
    hall.sync_all();
    let refused = hall.ask_as(Some(9), vec![7], Vec::new());
    assert_eq!(hall.code(refused), "not_invited");
    let fitting = hall.ask_as(Some(9), vec![8], Vec::new());
    hall.sync_all();
    assert_eq!(hall.done(fitting).hashes.len(), 1);
}

#[test]
fn command_ids_are_remembered_for_a_while() {
    let id = |number: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        CommandId(bytes)
    };
    let mut keeper = Keeper::<Hall>::new();
    for number in 0..=COMMAND_IDS_MAX {
        keeper.replay(
            number as u64 + 1,
            Moment(0),
            (number % 200) as u16,
            Some(id(number)),
            hash(number as u64),
        );
    }
    let mut ask = |number: usize| {
        let mut out = Vec::new();
        let (asker, at, side) = (platform(Reactor::Console), Moment(0), Vec::new());
        let command_id = Some(id(number));
        let ask = Ask { no: AskNo(number as u64), command_id, asker, at, command: vec![1], side };
        keeper.handle(Input::Ask(ask), &mut out);
        matches!(out.as_slice(), [Output::Answer { answer: Ok(_), .. }])
    };
    assert!(ask(COMMAND_IDS_MAX) && ask(1), "remembered");
    assert!(!ask(0), "the oldest is forgotten, and decided anew");
}

#[test]
fn what_an_answer_is_about_is_remembered_for_good() {
    let mut hall = Shell::<Hall>::new();
    let first = hall.ask(vec![5]);
    let while_in_flight = hall.ask(vec![1_005]);
    hall.ask(vec![5]);
    hall.sync_all();
    let again = hall.ask(vec![1_005]);
    let answer = hall.done(first).clone();
    assert_eq!(answer.hashes, [hash(1)]);
    assert_eq!(hall.done(while_in_flight), &answer);
    assert_eq!(hall.done(again), &answer);
    let never = hall.ask(vec![1_006]);
    assert_eq!(hall.done(never).hashes, []);
}

#[test]
fn the_same_upload_gets_the_same_answer_however_much_later() {
    let mut shell = Shell::<ProjectMachine>::new();
    let ask = |shell: &mut Shell<ProjectMachine>, asker: Asker, at: i64, command: ProjectCommand| {
        shell.asks += 1;
        let no = AskNo(shell.asks);
        let at = Moment(crate::world::DEADLINE.0 + at);
        let side = vec![put("contact")];
        shell.take(Input::Ask(Ask { no, command_id: None, asker, at, command, side }));
        let sides = shell.in_flight.as_ref().map_or(0, |batch| batch.side.len());
        shell.sync_all();
        (shell.asks, sides)
    };
    let submit =
        |name: &str| ProjectCommand::SubmitBid { facts: facts(name, &name[..1].to_uppercase(), &[1]) };
    ask(&mut shell, agent(), -600_000_000, ProjectCommand::CreateProject { spec: spec(1) });
    let (first, sides) = ask(&mut shell, platform(Reactor::Intake), -500_000_000, submit("a1"));
    assert_eq!(sides, 1);
    ask(&mut shell, platform(Reactor::Intake), -400_000_000, submit("b1"));
    let (again, sides) = ask(&mut shell, platform(Reactor::Intake), 900_000_000, submit("a1"));
    assert_eq!(shell.done(again), shell.done(first));
    assert_eq!(sides, 0, "what comes beside a repeat is dropped");
    let mut restarted = Shell { keeper: shell.replayed(), journal: shell.journal.clone(), ..Shell::new() };
    let (again, _) = ask(&mut restarted, platform(Reactor::Intake), 900_000_000, submit("a1"));
    assert_eq!(restarted.done(again), shell.done(first));
}

#[test]
fn what_was_so_already_leaves_no_record() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![1]);
    hall.sync_all();
    let nothing = hall.ask(vec![0]);
    assert_eq!(hall.done(nothing), &Done { at: Moment(2), first_seq: 1, hashes: Vec::new() });
    assert!(hall.in_flight.is_none());
}

#[test]
fn side_writes_go_with_their_records_and_never_alone() {
    let mut hall = Shell::<Hall>::new();
    hall.ask_as(None, vec![7], vec![put("a")]);
    hall.ask_as(None, vec![7], vec![put("b"), put("c")]);
    hall.ask_as(None, vec![7], vec![put("refused")]);
    hall.ask_as(None, vec![0], vec![put("nothing")]);
    let keys = |batch: &Batch<Hall>| -> Vec<String> {
        let key = |side: &SideWrite| match side {
            SideWrite::Put { key, .. } | SideWrite::Delete { key, .. } => key.clone(),
        };
        batch.side.iter().map(key).collect()
    };
    assert_eq!(keys(&hall.sync()), ["a"]);
    assert_eq!(keys(&hall.sync()), ["b", "c"]);
}

#[test]
fn a_batch_wakes_when_its_own_state_asks_and_not_a_later_one() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![1]);
    hall.ask(vec![2]);
    assert_eq!(hall.sync().wake_at, Some(Moment(1)));
    assert_eq!(hall.sync().wake_at, Some(Moment(2)));
    // Not even where more is decided than the batch holds.
    let mut hall = Shell::<Hall>::new();
    for row in 1..=900 {
        hall.ask(vec![row]);
    }
    assert_eq!(hall.sync().wake_at, Some(Moment(1)));
    assert_eq!(hall.sync().wake_at, Some(Moment(513)));
    assert_eq!(hall.sync().wake_at, Some(Moment(900)));
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let mut hall = Shell::<Hall>::new();
    hall.ask(vec![1]);
    hall.sync();
    let snapshot = hall.keeper.snapshot();
    hall.ask(vec![2]);
    hall.sync();
    assert_eq!(snapshot.taken, [1]);
    assert_eq!(hall.keeper.snapshot().taken, [1, 2]);
}

#[test]
#[should_panic(expected = "records are replayed in order and without a gap")]
fn a_stream_with_a_gap_is_not_replayed() {
    Keeper::<Hall>::new().replay(2, Moment(0), 1, None, hash(2));
}

#[test]
#[should_panic(expected = "only a batch in flight can become durable")]
fn a_word_about_an_append_that_never_was_is_a_bug() {
    Keeper::<Hall>::new().handle(Input::Appended { last_seq: 1, hashes: vec![hash(1)] }, &mut Vec::new());
}

#[derive(Clone, Debug)]
enum Step {
    Ask {
        id: Option<u8>,
        rows: Vec<u16>,
    },
    Sync,
    Fail,
    /// The process dies with the batch in flight written, or not.
    Crash {
        written: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ask = (prop::option::of(0..12_u8), prop::collection::vec(0..9_u16, 0..4))
        .prop_map(|(id, rows)| Step::Ask { id, rows });
    let step = prop_oneof![
        12 => ask,
        6 => Just(Step::Sync),
        1 => Just(Step::Fail),
        1 => any::<bool>().prop_map(|written| Step::Crash { written }),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_260_302),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_interleaving_gives_the_state_of_replay(steps in steps()) {
        let mut shell = Shell::<Hall>::new();
        // The first answer of each command id, over every restart.
        let mut first: std::collections::BTreeMap<u8, Done> = std::collections::BTreeMap::new();
        let mut ids: std::collections::BTreeMap<u64, u8> = std::collections::BTreeMap::new();
        for step in steps {
            match step {
                Step::Ask { id, rows } => {
                    // Within one process every ask is named once; names go on over restarts.
                    let no = shell.ask_as(id, rows, Vec::new());
                    if let Some(id) = id {
                        ids.insert(no, id);
                    }
                }
                Step::Sync if shell.in_flight.is_some() => { shell.sync(); }
                Step::Sync => {}
                Step::Fail | Step::Crash { .. } => {
                    let written = matches!(step, Step::Crash { written: true });
                    if let Some(batch) = shell.in_flight.take() {
                        if matches!(step, Step::Fail) {
                            shell.take(Input::AppendFailed);
                            prop_assert_eq!(shell.keeper.waiting(), 0, "everybody was told");
                        } else if written {
                            shell.journal.extend(batch.records);
                        }
                    }
                    let (asks, journal) = (shell.asks, shell.journal.clone());
                    let (answers, keeper) = (std::mem::take(&mut shell.answers), shell.replayed());
                    shell = Shell { keeper, asks, journal, answers, ..Shell::new() };
                }
            }
            // Whoever was told "done" finds its records in the journal, and the same ones for ever.
            for (no, answer) in &shell.answers {
                let Ok(done) = answer else { continue };
                let last = done.first_seq + done.hashes.len() as u64;
                prop_assert!(done.hashes.is_empty() || last - 1 <= shell.journal.len() as u64);
                for (seq, found) in (done.first_seq..).zip(&done.hashes) {
                    prop_assert_eq!(*found, hash(seq));
                }
                if let Some(id) = ids.get(no).filter(|_| !done.hashes.is_empty()) {
                    let known = first.entry(*id).or_insert_with(|| done.clone());
                    prop_assert_eq!(&*known, done);
                }
            }
            let replayed = shell.replayed();
            prop_assert_eq!(replayed.committed(), shell.keeper.committed());
            // Never more than the seats there are, whatever was in flight.
            for row in 1..9_u16 {
                let taken = shell.journal.iter().filter(|record| record.event == row).count();
                prop_assert!(taken <= SEATS, "row {} has {} taken", row, taken);
            }
        }
    }
}
