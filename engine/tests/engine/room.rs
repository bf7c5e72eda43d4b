//! Signing in to the room, objections and their answers.

use crate::script::{COUNTED, RECEIVING, check, open_window, play, signed_record};

#[test]
fn everybody_with_a_part_in_the_project_signs_in() {
    play(
        open_window(),
        "+1m  agent      check-in           -> checked_in
         +1m  purchaser  check-in           -> checked_in
         +1m  supervisor check-in           -> checked_in
         +1m  A          check-in           -> checked_in
         +1m  A          check-in           -> nothing
         +1m  other-agent check-in          -> !not_your_project
         +1m  other-purchaser check-in      -> !not_your_project
         +1m  expert     check-in           -> !role_not_allowed
         +1m  administrator check-in        -> !role_not_allowed
         +1m  opening    check-in           -> !role_not_allowed",
    );
}

#[test]
fn who_has_no_bid_signs_in_only_while_that_tells_nothing() {
    play(
        check(RECEIVING),
        "-5m  E          check-in           -> checked_in
         +1m  intake     count              -> receiving_closed
         +1m  F          check-in           -> !not_your_project
         +1m  B          check-in           -> checked_in",
    );
}

#[test]
fn signing_in_is_no_condition_of_anything() {
    play(
        open_window(),
        "+1m  opening keys a1               -> keys_accepted
         +1m  A       object                -> objection_raised",
    );
}

#[test]
fn after_the_end_nobody_signs_in_or_speaks() {
    play(
        signed_record(),
        "+1h11m timer deem                  -> confirmations_deemed
         +1h12m agent end                   -> opening_ended
         +1h13m A     check-in              -> !opening_ended
         +1h13m A     object                -> !opening_ended
         +1h13m agent answer 1              -> !opening_ended",
    );
}

#[test]
fn bidders_object_from_the_start_until_the_time_for_confirming_is_over() {
    play(
        check(&[RECEIVING, COUNTED].concat()),
        "+1m  A       object                -> !not_started
         +1m  timer   start                 -> opening_started
         +1m  A       object                -> objection_raised
         +1m  E       object                -> !not_your_project
         +1m  agent   object                -> !role_not_allowed
         +1m  purchaser object              -> !role_not_allowed",
    );
    play(
        signed_record(),
        "+1h10m A     object recusal lot=1  -> objection_raised
         +1h11m A     object                -> !confirming_over
         +1h11m timer deem                  -> confirmations_deemed
         +1h10m A     object                -> !confirming_over",
    );
}

#[test]
fn an_objection_names_a_lot_of_the_project_or_none() {
    play(
        open_window(),
        "+1m  A       object lot=3          -> !unknown
         +1m  A       object lot=2          -> objection_raised
         +1m  A       object recusal        -> objection_raised",
    );
}

#[test]
fn an_objection_has_words_and_not_too_many() {
    let most = "言".repeat(1_000);
    let long = "言".repeat(1_001);
    play(
        open_window(),
        &format!(
            "+1m  A       object text=         -> !field_invalid
             +1m  A       object text={long}   -> !field_invalid
             +1m  A       object text={most}   -> objection_raised
             +1m  agent   answer 1 text=       -> !field_invalid
             +1m  agent   answer 1 text={long} -> !field_invalid
             +1m  agent   answer 1 text={most} -> objection_answered"
        ),
    );
}

#[test]
fn an_objection_is_answered_once_and_by_the_organiser() {
    play(
        open_window(),
        "+1m  agent   answer 1              -> !no_such_objection
         +1m  A       object                -> objection_raised
         +1m  B       object                -> objection_raised
         +1m  other-agent answer 1          -> !not_your_project
         +1m  A       answer 1              -> !role_not_allowed
         +1m  agent   answer 2              -> objection_answered
         +1m  agent   answer 2              -> !no_such_objection
         +1m  agent   answer 1              -> objection_answered
         +1m  agent   answer 3              -> !no_such_objection
         +1m  agent   answer 0              -> !no_such_objection",
    );
}

#[test]
fn one_bidder_cannot_drown_the_room() {
    let mut world = open_window();
    for _ in 0..20 {
        world = play(world, "+1m A object -> objection_raised");
    }
    play(
        world,
        "+1m  A       object                -> !slow_down
         +1m  B       object                -> objection_raised",
    );
}
