//! What the platform itself should do next, in every phase.

use crate::script::{COUNTED, ORDERED, RECEIVING, STARTED, check, open_window, play};

#[test]
fn a_receiving_project_is_settled_at_its_deadline() {
    play(
        check(RECEIVING),
        "is wake = +0
         is due -1us = nothing
         is due +0 = settle
         is todo = nothing",
    );
}

#[test]
fn a_counted_project_starts_at_once_and_asks_for_an_order() {
    play(
        check(&[RECEIVING, COUNTED].concat()),
        "is wake = +0
         is due +1ms = start
         +2ms timer   start                 -> opening_started
         is wake = +0
         is due +1ms = nothing
         is todo = order",
    );
}

#[test]
fn an_open_window_is_looked_at_when_it_ends() {
    play(
        open_window(),
        "is wake = +30m
         is due +29m59s = nothing
         is due +30m = elapse
         +1m  agent   extend 5              -> window_extended
         is wake = +35m
         +2m  A       fail a1 wrong_token   -> bid_failed
         is wake = +35m
         is due +12m = nothing",
    );
}

#[test]
fn kept_keys_are_to_be_unsealed_in_the_order_of_receipt() {
    play(
        open_window(),
        "+1m  opening keys c1               -> keys_accepted
         +2m  opening keys a1               -> keys_accepted
         is todo = unseal a1, unseal c1
         +2m  opening unsealed a1           -> bid_unsealed
         is todo = unseal c1",
    );
}

#[test]
fn work_that_a_restart_must_take_up_wakes_at_once() {
    play(
        open_window(),
        "+29m opening keys a1               -> keys_accepted
         +30m timer   elapse                -> window_closed
         is wake = +0
         +31m opening unsealed a1           -> bid_unsealed
         is wake = +0
         is todo = publish
         +31m opening publish               -> records_published
         is wake = +0
         is todo = sign
         +31m opening sign record           -> record_signed
         is wake = +1h31m",
    );
}

#[test]
fn what_is_due_is_granted_when_asked() {
    use kaibiao_engine::reaction::{Due, due};

    use crate::{script::step, world::World};

    // Follows what is due and to be done, and nothing else, to the end of confirming.
    let mut world: World = check(&[RECEIVING, COUNTED, STARTED, ORDERED].concat());
    for minutes in 0..100 {
        let now = crate::script::moment(&format!("+{minutes}m"));
        for due in due(&world.project, now) {
            let command = match due {
                Due::Settle => "intake count",
                Due::StartOpening => "timer start",
                Due::ElapseWindow => "timer elapse",
                Due::DeemConfirmed => "timer deem",
                Due::RecordOutage { .. } => panic!("no state alone tells of an outage"),
            };
            let granted = step(&mut world, &format!("+{minutes}m {command}"));
            assert!(!granted.expect("what is due is granted").is_empty());
        }
        let todo = kaibiao_engine::reaction::opening_todo(&world.project);
        if todo.publish {
            step(&mut world, &format!("+{minutes}m opening publish")).unwrap();
        }
        if todo.sign {
            step(&mut world, &format!("+{minutes}m opening sign record")).unwrap();
        }
    }
    play(world, "+100m agent end -> opening_ended");
}
