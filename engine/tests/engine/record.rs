//! The barrier, the record, confirming it, the end.

use crate::{
    script::{check, open_window, play, signed_record},
    world::World,
};

/// A unsealed and the window over; B and C never came.
fn settled() -> World {
    play(
        open_window(),
        "+1m  opening keys a1               -> keys_accepted
         +1m  opening unsealed a1           -> bid_unsealed
         +1m  opening keys d1               -> keys_accepted
         +1m  opening unsealed d1           -> bid_unsealed
         +30m timer   elapse                -> window_closed",
    )
}

#[test]
fn nothing_is_published_before_everybody_is_settled() {
    play(
        open_window(),
        "+1m  opening publish               -> !barrier_holds
         +1m  opening keys a1               -> keys_accepted
         +1m  opening unsealed a1           -> bid_unsealed
         +1m  opening publish               -> !barrier_holds
         +30m opening publish               -> !barrier_holds
         +30m timer   elapse                -> window_closed
         +30m opening publish               -> records_published
         +30m opening publish               -> !already_exists",
    );
}

#[test]
fn publishing_is_nobodys_button() {
    play(
        settled(),
        "+31m agent   publish               -> !role_not_allowed
         +31m supervisor publish            -> !role_not_allowed
         +31m A       publish               -> !role_not_allowed
         +31m timer   publish               -> !role_not_allowed
         +31m opening publish               -> records_published",
    );
}

#[test]
fn the_sheets_are_exactly_those_of_the_unsealed_bids() {
    play(
        settled(),
        "+31m opening publish without=a1    -> !sheets_incomplete
         +31m opening publish with=b1       -> !sheets_incomplete
         +31m opening publish without=a1 with=b1 -> !sheets_incomplete
         +31m opening publish without-lot   -> !sheets_incomplete
         +31m opening publish strange-lot   -> !sheets_incomplete
         +31m opening publish strange-price -> !sheets_incomplete
         +31m opening publish long-text     -> !sheets_incomplete
         +31m opening publish               -> records_published",
    );
}

#[test]
fn sheets_are_judged_before_a_bid_is_called_unsealed_as_they_are_at_the_barrier() {
    use std::collections::BTreeMap;

    use crate::world::{bid, fen, lot, sheet, sheets};
    use kaibiao_protocol::money::Price;

    let world = open_window();
    let a1 = bid("a1");
    let whole = sheets(&world.project, &a1);
    assert!(world.project.check_sheets(&a1, &whole).is_ok());
    let total = sheet(Price::Total(fen(1)));
    for broken in [
        BTreeMap::new(),
        BTreeMap::from([(lot(1), total.clone())]),
        BTreeMap::from([(lot(1), total.clone()), (lot(2), total.clone())]),
        BTreeMap::from([(lot(1), sheet(Price::UnitPrice(fen(1)))), (lot(2), total)]),
    ] {
        let refusal = world.project.check_sheets(&a1, &broken).unwrap_err();
        assert_eq!(refusal.code.as_str(), "sheets_incomplete");
    }
    assert!(world.project.check_sheets(&bid("zz"), &whole).is_err());
}

#[test]
fn the_record_has_every_bid_of_the_lot_in_the_order_of_receipt() {
    play(
        signed_record(),
        "is record 1 = 1 a1 88888.88; 2 b1 88888.88 by backup; 3 c1 wrong_token revoked
         is record 2 = 1 a1 95.50; 2 b1 95.50 by backup; 3 c1 wrong_token revoked; 4 d1 95.50",
    );
}

#[test]
fn the_order_of_receipt_is_that_of_the_stamps() {
    check(
        "-1d  agent   create lots=1                  -> project_created
         -1h  intake  submit c1 lots=1               -> bid_submitted
         -3h  intake  submit a1 lots=1               -> bid_submitted
         -2h  intake  submit b1 lots=1               -> bid_submitted
         +0   intake  count                          -> receiving_closed
         +0   timer   start                          -> opening_started
         +0   opening order 1                        -> order_issued
         +30m timer   elapse                         -> window_closed
         +30m opening publish                        -> records_published
         is record 1 = 1 a1 no_show revoked; 2 b1 no_show revoked; 3 c1 no_show revoked",
    );
}

#[test]
fn whose_cause_a_failure_was_stands_in_the_record() {
    play(
        open_window(),
        "+1m  opening fail a1 damaged_store          -> bid_failed
         +1m  opening fail b1 platform_fault         -> bid_failed
         +1m  C       fail c1 token_trouble          -> bid_failed
         +1m  opening fail d1 malformed_package      -> bid_failed
         +30m timer   elapse                         -> window_closed grace_ended
         +30m opening publish                        -> records_published
         is record 2 = 1 a1 damaged_store withdrawn; 2 b1 platform_fault withdrawn; 3 c1 token_trouble revoked; 4 d1 malformed_package revoked",
    );
}

#[test]
fn if_failures_leave_fewer_than_three_the_record_is_published_all_the_same() {
    play(
        settled(),
        "+31m opening publish               -> records_published
         is record 1 = 1 a1 88888.88; 2 b1 no_show revoked; 3 c1 no_show revoked",
    );
}

#[test]
fn the_platform_signs_the_record_once() {
    play(
        settled(),
        "+31m opening sign record           -> !not_published
         +31m opening publish               -> records_published
         is todo = sign
         +31m opening sign record signature=empty -> !field_invalid
         +31m agent   sign record           -> !role_not_allowed
         +31m opening sign record           -> record_signed
         is todo = nothing
         +31m opening sign record           -> nothing
         +31m opening sign other            -> !other_record
         is confirm-until = +1h31m",
    );
}

#[test]
fn bidders_confirm_the_published_record() {
    play(
        signed_record(),
        "+20m A       confirm other         -> !other_record
         +20m E       confirm record        -> !not_your_project
         +20m agent   confirm record        -> !role_not_allowed
         +20m A       confirm record signature=empty -> !field_invalid
         +20m A       confirm record        -> record_confirmed
         +20m A       confirm record        -> !already_confirmed
         +20m C       confirm record        -> record_confirmed",
    );
}

#[test]
fn an_unsigned_record_cannot_be_confirmed() {
    play(
        settled(),
        "+31m A       confirm record        -> !not_published
         +31m opening publish               -> records_published
         +31m A       confirm record        -> !not_published
         +31m agent   end                   -> !not_published
         +31m timer   deem                  -> !not_published",
    );
}

#[test]
fn the_silent_are_deemed_to_accept_when_the_time_is_over() {
    play(
        signed_record(),
        "+20m A       confirm record        -> record_confirmed
         is wake = +1h11m
         is due +1h10m = nothing
         +1h10m timer deem                  -> !still_awaited
         is due +1h11m = deem
         +1h11m B     confirm record        -> !confirming_over
         +1h11m timer deem                  -> confirmations_deemed
         +1h11m timer deem                  -> nothing
         +1h10m B     confirm record        -> !confirming_over
         is due +2h = nothing
         is wake = never
         +2h  agent   end                   -> opening_ended",
    );
}

#[test]
fn nobody_is_deemed_to_accept_where_everybody_confirmed() {
    play(
        signed_record(),
        "+20m A       confirm record        -> record_confirmed
         +20m B       confirm record        -> record_confirmed
         +20m C       confirm record        -> record_confirmed
         +20m agent   end                   -> !still_awaited
         +20m D       confirm record        -> record_confirmed
         is wake = never
         is due +2h = nothing
         +2h  timer   deem                  -> nothing
         +20m agent   end                   -> opening_ended
         is status = ended",
    );
}

#[test]
fn the_opening_ends_when_all_is_answered_and_accepted() {
    play(
        signed_record(),
        "+20m A       object                -> objection_raised
         +1h11m timer deem                  -> confirmations_deemed
         +1h12m agent end                   -> !objections_open
         +1h12m agent answer 1              -> objection_answered
         +1h12m other-agent end             -> !not_your_project
         +1h12m A     end                   -> !role_not_allowed
         +1h12m agent end                   -> opening_ended
         +1h13m agent end                   -> !opening_ended
         +1h13m agent read 1 1              -> !opening_ended
         +1h13m A     confirm record        -> !opening_ended
         +1h13m timer deem                  -> !opening_ended
         +1h13m opening publish             -> !already_exists
         +1h13m opening sign record         -> nothing
         +1h13m intake refuse a9 past_deadline -> upload_refused
         is wake = never",
    );
}

#[test]
fn rows_are_read_out_one_by_one() {
    play(
        signed_record(),
        "+20m agent   read 1 1              -> row_read_out
         +20m agent   read 1 1              -> nothing
         +20m agent   read 1 3              -> row_read_out
         +20m agent   read 1 4              -> !unknown
         +20m agent   read 1 0              -> !unknown
         +20m agent   read 2 4              -> row_read_out
         +20m agent   read 3 1              -> !unknown
         +20m A       read 1 2              -> !role_not_allowed",
    );
    play(settled(), "+31m agent read 1 1 -> !not_published");
}

#[test]
fn a_sealed_lot_is_not_read_out() {
    check(
        "-1d  agent   create lots=1                  -> project_created
         -3h  intake  submit a1 lots=1               -> bid_submitted
         +0   intake  count                          -> receiving_closed
         +0   opening publish                        -> records_published
         +1m  agent   read 1 1                       -> !not_opened",
    );
}
