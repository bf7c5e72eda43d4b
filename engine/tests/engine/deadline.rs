//! A deadline that moves, outages around it, and a wall clock that jumps.

use kaibiao_engine::{
    invariants::room_projection,
    reaction::{
        Due,
        tending::{Tending, TendingInput, TendingOutput},
    },
    visibility::{Audience, may_see, room_view},
};
use kaibiao_protocol::view::RoomEvent;

use crate::{
    script::{RECEIVING, check, moment, play},
    world::{World, asker},
};

/// The project is real: the law's least times hold.
fn real() -> World {
    check(&RECEIVING.replacen("-1d  agent   create", "-30d agent   create real", 1))
}

#[test]
fn a_correction_moves_the_deadline_while_it_has_not_come() {
    play(
        check(RECEIVING),
        "-1us agent   move +1d               -> deadline_moved
         is deadline = +1d
         is wake = +1d
         is due +1h = nothing
         +1h  intake  submit e1              -> bid_submitted
         +23h A       withdraw a1            -> bid_withdrawn
         +1d  intake  submit f1              -> !past_deadline
         +1h  intake  count                  -> !before_deadline
         +1d  intake  count                  -> receiving_closed
         is standing = b1 c1 d1 e1
         +1d  agent   move +2d               -> !not_receiving",
    );
    play(
        check(RECEIVING),
        "+0   agent   move +1d               -> !correction_too_late
         is deadline = +0",
    );
}

#[test]
fn a_deadline_is_never_moved_to_an_earlier_moment_or_into_the_past() {
    play(
        check(RECEIVING),
        "-1h  agent   move +0                -> !field_invalid
         -1h  agent   move -30m              -> !field_invalid
         -1h  agent   move -2h               -> !field_invalid
         -1h  agent   move +1us              -> deadline_moved
         is deadline = +1us
         -1h  agent   move +1h text=          -> !field_invalid",
    );
}

#[test]
fn a_correction_leaves_fifteen_days_and_a_fault_an_hour() {
    play(
        real(),
        "-1d  agent   move +13d23h59m        -> !deadline_too_soon
         -1d  agent   move +14d              -> deadline_moved
         is deadline = +14d
         -1d  agent   move +14d1s            -> deadline_moved",
    );
    play(
        real(),
        "+5m  timer   outage -5m +5m         -> outage_recorded
         +5m  agent   move +1h4m fault       -> !deadline_too_soon
         +5m  agent   move +1h5m fault       -> deadline_moved
         is deadline = +1h5m",
    );
}

#[test]
fn an_outage_holds_the_count_until_the_agent_has_had_time() {
    let outage = "+5m timer outage -1s +5m -> outage_recorded";
    play(
        play(check(RECEIVING), outage),
        "is counted-from = +35m
         is wake = +35m
         is due +34m = nothing
         +34m intake  count                  -> !counting_held
         +34m intake  submit e1              -> !past_deadline
         is due +35m = settle
         +35m intake  count                  -> receiving_closed",
    );
    play(
        play(check(RECEIVING), outage),
        "+6m  agent   move +20m              -> !correction_too_late
         +6m  agent   move +20m fault        -> deadline_moved
         is counted-from = +20m
         +10m intake  submit e1              -> bid_submitted
         +20m intake  count                  -> receiving_closed
         is standing = a1 b1 c1 d1 e1",
    );
}

#[test]
fn only_an_outage_around_the_deadline_is_recorded_and_each_but_once() {
    play(
        check(RECEIVING),
        "-2h  timer   outage -4h -2h         -> nothing
         -2m  timer   outage -2d -2m         -> nothing
         -2m  timer   outage -3m -2m1s       -> nothing
         -2m  timer   outage -3m -2m         -> outage_recorded
         is counted-from = +28m
         -2m  timer   outage -3m -2m         -> nothing
         -1m  timer   outage -2m -1m         -> outage_recorded
         is counted-from = +29m
         +1s  timer   outage -1us +0         -> outage_recorded
         +2s  timer   outage +1s +2s         -> nothing
         +3s  agent   move +1h fault         -> deadline_moved
         +4s  agent   move +3h fault         -> !no_outage_recorded
         +4s  agent   move +3h               -> deadline_moved",
    );
    play(check(RECEIVING), "-1m  agent   move +1h fault         -> !no_outage_recorded");
}

#[test]
fn a_deadline_moves_only_so_often() {
    let mut world = check(RECEIVING);
    for times in 1..=20 {
        world = play(world, &format!("-1m agent move +{times}s -> deadline_moved"));
    }
    play(world, "-1m agent move +1h -> !slow_down");
}

#[test]
fn a_step_of_the_wall_clock_is_recorded_where_it_touches_deadline_or_opening() {
    play(
        check("-3d agent create -> project_created"),
        "-25h timer   clock-step 300         -> nothing
         -1d  timer   clock-step -300        -> clock_stepped
         +0   intake  count                  -> receiving_closed
         +0   timer   clock-step 5000        -> clock_stepped",
    );
    let mut world = check(RECEIVING);
    for _ in 0..100 {
        world = play(world, "-1m timer clock-step 300 -> clock_stepped");
    }
    play(world, "-1m timer clock-step 300 -> nothing");
}

#[test]
fn everybody_in_the_room_reads_of_moves_and_outages_and_the_staff_alone_of_clocks() {
    let world = play(
        check(RECEIVING),
        "-3m  timer   clock-step 300         -> clock_stepped
         -2m  timer   outage -4m -2m         -> outage_recorded
         -1m  agent   move +1h               -> deadline_moved",
    );
    let shown = |audience| {
        let events = room_projection(audience, &world.history);
        events
            .iter()
            .map(|event| match event {
                RoomEvent::DeadlineMoved { deadline, .. } => {
                    assert_eq!(*deadline, moment("+1h"));
                    "moved"
                }
                RoomEvent::OutageRecorded { .. } => "outage",
                RoomEvent::ClockStepped { .. } => "clock",
                _ => "other",
            })
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(shown(Audience::Staff), "other clock outage moved");
    assert_eq!(shown(Audience::Room), "other outage moved");
    for (who, clocks) in [("agent", 1), ("supervisor", 1), ("purchaser", 0), ("A", 0), ("H", 0)] {
        let viewer = may_see(&world.project, &asker(who)).unwrap();
        let view = room_view(&world.project, &viewer, 1).unwrap();
        assert_eq!((view.outages.len(), view.deadline_moves.len(), view.clock_steps.len()), (1, 1, clocks));
    }
}

#[test]
fn after_a_start_an_outage_is_recorded_before_anything_is_counted() {
    let mut world = check(RECEIVING);
    let mut tending = Tending::after_outage(moment("-1m"), moment("+1m"));
    let mut look = |world: &World, input, at| {
        let mut out = Vec::new();
        tending.handle(input, &world.project, moment(at), false, &mut out);
        out
    };
    let told = look(&world, TendingInput::Look, "+1m");
    let [TendingOutput::Act(act)] = told.as_slice() else { panic!("{told:?}") };
    assert!(matches!(act.due, Due::RecordOutage { .. }));
    assert!(look(&world, TendingInput::Look, "+1m").is_empty(), "it is in hand, and all else waits");
    world.ask(&act.asker, moment("+1m"), &act.command).unwrap();
    let told = look(&world, TendingInput::Look, "+1m");
    assert!(matches!(told.as_slice(), [TendingOutput::Wake(Some(at))] if *at == moment("+31m")));
    let told = look(&world, TendingInput::Look, "+31m");
    assert!(matches!(&told[..], [TendingOutput::Act(act), ..] if act.due == Due::Settle));
    // One that touches nothing is nobody's business.
    let mut tending = Tending::after_outage(moment("-3h"), moment("-2h"));
    let mut out = Vec::new();
    tending.handle(TendingInput::Look, &check(RECEIVING).project, moment("-2h"), false, &mut out);
    assert!(matches!(out.as_slice(), [TendingOutput::Wake(Some(_))]));
}
