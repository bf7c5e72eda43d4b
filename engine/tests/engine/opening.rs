//! From the start of the opening to the verdict on each bid.

use crate::script::{COUNTED, RECEIVING, STARTED, check, open_window, play};

fn counted(setting: &str) -> crate::world::World {
    let create = format!("create {setting}");
    check(&[RECEIVING, COUNTED].concat().replacen("create", &create, 1))
}

#[test]
fn the_room_opens_by_itself_where_the_project_says_so() {
    play(
        counted(""),
        "+2ms agent   start                -> !role_not_allowed
         +2ms A       start                -> !role_not_allowed
         -1us timer   start                -> !before_deadline
         +2ms timer   start                -> opening_started
         +3ms timer   start                -> !already_started
         is status = awaiting_order
         is todo = order",
    );
}

#[test]
fn the_room_opens_on_the_agents_start_where_the_project_says_so() {
    play(
        counted("start=agent"),
        "is wake = never
         is due +1h = nothing
         +2ms timer   start                -> !role_not_allowed
         +2ms opening start                -> !role_not_allowed
         +2ms other-agent start            -> !not_your_project
         +2ms purchaser start              -> !role_not_allowed
         -1us agent   start                -> !before_deadline
         +2ms agent   start signed signature=huge  -> !field_invalid
         +2ms agent   start signed signature=empty -> !field_invalid
         +2ms agent   start signed         -> opening_started
         +3ms agent   start                -> !already_started",
    );
}

#[test]
fn nothing_starts_before_every_bid_in_time_has_its_verdict() {
    play(
        check(RECEIVING),
        "-1us timer   start                -> !before_deadline
         +0   timer   start                -> !not_settled
         +0   opening order 1              -> !not_started
         +0   opening keys a1              -> !not_started
         +0   opening unsealed a1          -> !not_started
         +0   opening publish              -> !barrier_holds",
    );
}

#[test]
fn no_key_is_taken_before_the_order() {
    play(
        check(&[RECEIVING, COUNTED, STARTED].concat()),
        "+1m  opening keys a1              -> !not_started
         +1m  A       fail a1 wrong_token  -> !not_started
         +1m  agent   extend 5             -> !not_started
         +1m  agent   close                -> !not_started
         +1m  timer   elapse               -> !not_started
         +1m  agent   admit a1             -> !not_started
         +1m  opening publish              -> !barrier_holds
         is parts a1 =",
    );
}

#[test]
fn the_first_order_opens_the_window_for_the_minutes_announced() {
    play(
        check(&[RECEIVING, COUNTED, STARTED].concat()),
        "+2m  opening order 0              -> !order_superseded
         +2m  opening order 1 empty        -> !field_invalid
         +2m  opening order 1 signature=empty -> !field_invalid
         +2m  opening order 1              -> order_issued
         is window = +32m
         is epoch = 1
         is status = awaiting_keys
         is parts a1 = common lot-001 lot-002
         is parts d1 = common lot-002
         is bid a1 = awaiting_keys
         is keys-awaited = true",
    );
}

#[test]
fn a_lot_that_stays_sealed_asks_for_no_key() {
    check(
        "-1d  agent   create               -> project_created
         -4h  intake  submit a1            -> bid_submitted
         -3h  intake  submit b1            -> bid_submitted
         -2h  intake  submit c1 lots=2     -> bid_submitted
         -1h  intake  submit d1 lots=1     -> bid_submitted
         -50m intake  submit d2 lots=2     -> bid_submitted
         -40m intake  submit e1 lots=1     -> bid_submitted
         -30m E       withdraw e1          -> bid_withdrawn
         +0   intake  count                -> receiving_closed
         is lots = 1:2 stays sealed, 2:4
         +0   timer   start                -> opening_started
         +0   opening order 1              -> order_issued
         is parts a1 = common lot-002
         is parts d2 = common lot-002
         is parts d1 =
         is bid d1 = none
         +1m  opening keys d1              -> !no_such_bid
         +1m  opening keys e1              -> !no_such_bid",
    );
}

#[test]
fn a_bid_on_sealed_lots_only_is_not_opened() {
    check(
        "-1d  agent   create               -> project_created
         -4h  intake  submit a1 lots=1     -> bid_submitted
         -3h  intake  submit b1 lots=1     -> bid_submitted
         -2h  intake  submit c1 lots=1     -> bid_submitted
         -1h  intake  submit d1 lots=2     -> bid_submitted
         +0   intake  count                -> receiving_closed
         +0   timer   start                -> opening_started
         +0   opening order 1              -> order_issued
         is bid d1 = not_opened
         is parts d1 =
         +1m  opening keys d1              -> !not_opened
         +1m  opening unsealed d1          -> !not_opened
         +1m  D       fail d1 wrong_token  -> !not_opened
         +1m  agent   admit d1             -> !not_opened
         +1m  intake  restore d1           -> !not_opened",
    );
}

#[test]
fn a_newer_order_supersedes_the_one_before() {
    play(
        open_window(),
        "+1m  opening order 1              -> !order_superseded
         +1m  opening order 2              -> order_issued
         +2m  opening keys a1              -> !order_superseded
         +2m  opening keys a1 epoch=3      -> !order_superseded
         +2m  opening keys a1 epoch=2      -> keys_accepted
         is window = +30m
         is epoch = 2",
    );
}

#[test]
fn the_time_in_which_the_room_was_down_is_given_back() {
    play(
        open_window(),
        "+10m opening order 2 down=+3m     -> order_issued
         is window = +37m
         +40m opening order 3 down=+30m    -> order_issued
         is window = +47m",
    );
}

#[test]
fn time_after_the_windows_end_is_not_given_back() {
    play(
        open_window(),
        "+40m opening order 2 down=+30m    -> order_issued
         is window = +30m",
    );
    play(
        open_window(),
        "+40m opening order 2 down=+29m59s -> order_issued
         is window = +40m1s",
    );
    // An outage that begins after it ends is none.
    play(
        open_window(),
        "+10m opening order 2 down=+11m    -> order_issued
         is window = +30m",
    );
}

#[test]
fn what_the_order_says_of_its_window_is_what_is_decided() {
    let world = open_window();
    let at = crate::script::moment("+10m");
    let said = world.project.order_window(at, Some(crate::script::moment("+4m"))).unwrap();
    let world = play(world, "+10m opening order 2 down=+4m -> order_issued");
    assert_eq!(world.project.window_closes_at(), Some(said));
}

#[test]
fn keys_are_taken_until_the_windows_instant() {
    play(
        open_window(),
        "+29m59s999999us opening keys a1   -> keys_accepted
         +30m opening keys b1              -> !window_closed
         is bid a1 = unsealing
         is bid b1 = awaiting_keys",
    );
}

#[test]
fn a_key_stamped_in_time_is_taken_although_the_windows_end_was_decided_first() {
    play(
        open_window(),
        "+30m timer   elapse               -> window_closed
         is bid a1 = settled no_show
         is todo = publish
         +29m59s opening keys a1           -> keys_accepted
         is bid a1 = unsealing
         is todo = unseal a1
         +30m opening keys b1              -> !window_closed
         +30m opening publish              -> !barrier_holds
         +31m opening unsealed a1          -> bid_unsealed
         +31m opening publish              -> records_published
         is record 1 = 1 a1 88888.88; 2 b1 no_show revoked; 3 c1 no_show revoked",
    );
}

#[test]
fn after_the_barrier_no_key_is_taken_whatever_its_stamp() {
    play(
        open_window(),
        "+30m timer   elapse               -> window_closed
         +30m opening publish              -> records_published
         +29m opening keys a1              -> !window_closed
         +29m opening unsealed a1          -> !window_closed
         +29m A       fail a1 wrong_token  -> !window_closed
         +29m agent   admit a1             -> !window_closed
         +29m intake  restore a1           -> !window_closed",
    );
}

#[test]
fn keys_are_taken_once() {
    play(
        open_window(),
        "+1m  opening keys a1              -> keys_accepted
         +1m  opening keys a1              -> !keys_already_here
         is parts a1 =
         +2m  opening unsealed a1          -> bid_unsealed
         +2m  opening keys a1              -> !keys_already_here
         +2m  opening unsealed a1          -> nothing
         is bid a1 = unsealed",
    );
}

#[test]
fn a_bid_is_unsealed_only_with_its_keys() {
    play(
        open_window(),
        "+1m  opening unsealed a1          -> !still_awaited
         +1m  opening unsealed zz          -> !no_such_bid
         +1m  A       fail a1 wrong_token  -> bid_failed
         +1m  opening unsealed a1          -> !still_awaited",
    );
}

#[test]
fn the_window_closes_by_itself_when_everybody_is_settled() {
    play(
        open_window(),
        "+1m  opening keys a1              -> keys_accepted
         +1m  opening keys b1              -> keys_accepted
         +1m  opening keys c1              -> keys_accepted
         +1m  opening keys d1              -> keys_accepted
         +2m  opening unsealed a1          -> bid_unsealed
         +2m  opening unsealed b1          -> bid_unsealed
         +2m  opening fail c1 malformed_package -> bid_failed
         is status = awaiting_keys
         +3m  opening unsealed d1          -> bid_unsealed window_closed
         is status = settling
         is todo = publish
         +3m  timer   elapse               -> !window_closed",
    );
}

#[test]
fn a_final_failure_may_be_what_settles_the_last() {
    play(
        open_window(),
        "+1m  opening fail a1 damaged_upload -> bid_failed
         +1m  opening fail b1 damaged_upload -> bid_failed
         +1m  opening fail c1 damaged_upload -> bid_failed
         +1m  opening fail d1 damaged_upload -> bid_failed window_closed
         is bid d1 = settled damaged_upload
         +1m  opening publish              -> records_published
         is record 2 = 1 a1 damaged_upload revoked; 2 b1 damaged_upload revoked; 3 c1 damaged_upload revoked; 4 d1 damaged_upload revoked",
    );
}

#[test]
fn a_failure_that_may_be_mended_does_not_settle() {
    play(
        open_window(),
        "+1m  opening fail a1 damaged_upload -> bid_failed
         +1m  opening fail b1 damaged_upload -> bid_failed
         +1m  opening fail c1 damaged_upload -> bid_failed
         +1m  D       fail d1 wrong_token    -> bid_failed
         is status = awaiting_keys
         is bid d1 = failed wrong_token until +11m",
    );
}

#[test]
fn a_wrong_token_is_mended_by_the_right_one() {
    for cause in ["wrong_token", "token_trouble", "wrong_key", "platform_fault"] {
        play(
            open_window(),
            &format!(
                "+1m  opening fail a1 {cause}      -> bid_failed
                 is bid a1 = failed {cause} until +11m
                 is parts a1 = common lot-001 lot-002
                 +2m  opening keys a1              -> keys_accepted
                 is bid a1 = unsealing
                 +3m  opening unsealed a1          -> bid_unsealed"
            ),
        );
    }
}

#[test]
fn a_damaged_upload_or_a_malformed_package_is_final() {
    for cause in ["damaged_upload", "malformed_package"] {
        play(
            open_window(),
            &format!(
                "+1m  opening keys a1              -> keys_accepted
                 +2m  opening fail a1 {cause}      -> bid_failed
                 is bid a1 = settled {cause}
                 is parts a1 =
                 +3m  opening keys a1              -> !window_closed
                 +3m  opening unsealed a1          -> !window_closed
                 +3m  agent   admit a1             -> !backup_not_allowed
                 +3m  intake  restore a1           -> !backup_not_allowed
                 +3m  opening fail a1 platform_fault -> !window_closed"
            ),
        );
    }
}

#[test]
fn a_supplier_reports_its_own_bid_and_its_own_token_only() {
    play(
        open_window(),
        "+1m  B       fail a1 wrong_token   -> !no_such_bid
         +1m  A       fail a1 wrong_key     -> !field_invalid
         +1m  A       fail a1 damaged_store -> !field_invalid
         +1m  A       fail a1 platform_fault -> !field_invalid
         +1m  A       fail a1 no_show       -> !field_invalid
         +1m  agent   fail a1 wrong_token   -> !role_not_allowed
         +1m  A       fail a1 token_trouble -> bid_failed
         is bid a1 = failed token_trouble until +11m",
    );
}

#[test]
fn that_somebody_did_not_come_is_told_by_the_windows_end_alone() {
    play(open_window(), "+1m opening fail a1 no_show -> !field_invalid");
}

#[test]
fn evidence_is_one_short_line() {
    let most = "据".repeat(500);
    let long = "据".repeat(501);
    play(
        open_window(),
        &format!(
            "+1m  opening fail a1 wrong_key text=        -> !field_invalid
             +1m  opening fail a1 wrong_key text={long}  -> !field_invalid
             +1m  opening fail a1 wrong_key text={most}  -> bid_failed"
        ),
    );
}

#[test]
fn the_same_failure_again_says_nothing_new() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token   -> bid_failed
         +2m  A       fail a1 wrong_token   -> nothing
         +3m  A       fail a1 token_trouble -> bid_failed
         is bid a1 = failed token_trouble until +11m",
    );
}

#[test]
fn the_grace_runs_from_the_first_failure() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token   -> bid_failed
         +9m  opening fail a1 wrong_key     -> bid_failed
         is bid a1 = failed wrong_key until +11m",
    );
}

#[test]
fn a_failure_after_keys_that_fitted_has_a_grace_of_its_own() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token     -> bid_failed
         +2m  opening keys a1                 -> keys_accepted
         +28m opening fail a1 damaged_store   -> bid_failed
         is bid a1 = failed damaged_store until +38m",
    );
}

#[test]
fn a_suppliers_word_does_not_take_the_platforms_fault_away() {
    play(
        open_window(),
        "+1m  opening fail a1 damaged_store -> bid_failed
         +2m  A       fail a1 wrong_token   -> nothing
         is bid a1 = failed damaged_store until +11m
         +3m  opening fail a1 wrong_key     -> nothing
         +3m  opening fail b1 platform_fault -> bid_failed
         +3m  B       fail b1 token_trouble -> nothing
         +4m  opening fail b1 wrong_key     -> bid_failed",
    );
}

#[test]
fn keys_that_are_here_disprove_a_report_about_keys() {
    play(
        open_window(),
        "+1m  opening keys a1               -> keys_accepted
         +1m  A       fail a1 wrong_token   -> !keys_already_here
         +1m  opening fail a1 wrong_key     -> !keys_already_here
         +2m  opening unsealed a1           -> bid_unsealed
         +2m  A       fail a1 token_trouble -> !keys_already_here",
    );
}

#[test]
fn what_is_unsealed_may_still_prove_damaged_before_the_barrier() {
    play(
        open_window(),
        "+1m  opening keys a1                -> keys_accepted
         +1m  opening unsealed a1            -> bid_unsealed
         +30m timer   elapse                 -> window_closed
         is todo = publish
         +31m opening fail a1 damaged_store  -> bid_failed
         is bid a1 = failed damaged_store until +41m
         is todo = nothing
         +31m opening publish                -> !barrier_holds",
    );
}

#[test]
fn a_report_comes_in_time_or_not_at_all() {
    play(
        open_window(),
        "+30m A       fail a1 wrong_token    -> !window_closed
         +30m timer   elapse                 -> window_closed
         +29m A       fail a1 wrong_token    -> !window_closed
         is bid a1 = settled no_show",
    );
}

#[test]
fn reports_of_one_bid_are_limited_but_the_platform_can_always_say_what_became_of_it() {
    let mut world = open_window();
    for _ in 0..10 {
        world = play(
            world,
            "+1m  A  fail a1 wrong_token   -> bid_failed
             +1m  A  fail a1 token_trouble -> bid_failed",
        );
    }
    play(
        world,
        "+1m  A       fail a1 wrong_token    -> !slow_down
         +1m  opening fail a1 wrong_key      -> !slow_down
         +1m  opening fail a1 damaged_upload -> bid_failed",
    );
}
