//! The window's end, extensions, graces.

use crate::script::{open_window, play};

#[test]
fn the_window_is_extended_for_all_with_a_reason() {
    play(
        open_window(),
        "+1m  agent   extend 15             -> window_extended
         is window = +45m
         +31m opening keys a1               -> keys_accepted
         +45m opening keys b1               -> !window_closed
         +44m agent   extend 1              -> window_extended
         is window = +46m",
    );
}

#[test]
fn an_extension_needs_a_reason_and_has_limits() {
    let long = "长".repeat(501);
    play(
        open_window(),
        &format!(
            "+1m  agent   extend 5 text=          -> !field_invalid
             +1m  agent   extend 5 text={long}    -> !field_invalid
             +1m  agent   extend 0                -> !field_invalid
             +1m  agent   extend 1411             -> !field_invalid
             +1m  agent   extend 1410             -> window_extended
             +1m  agent   extend 1                -> !field_invalid"
        ),
    );
}

#[test]
fn a_closed_window_is_not_extended() {
    play(
        open_window(),
        "+30m agent   extend 5              -> !window_closed
         +30m timer   elapse                -> window_closed
         +29m agent   extend 5              -> !window_closed",
    );
}

#[test]
fn only_the_organisers_agent_extends_or_closes() {
    play(
        open_window(),
        "+1m  other-agent extend 5          -> !not_your_project
         +1m  purchaser extend 5            -> !role_not_allowed
         +1m  supervisor extend 5           -> !role_not_allowed
         +1m  A extend 5                    -> !role_not_allowed
         +1m  timer extend 5                -> !role_not_allowed
         +1m  other-agent close             -> !not_your_project
         +1m  supervisor close              -> !role_not_allowed
         +1m  A close                       -> !role_not_allowed",
    );
}

#[test]
fn the_window_ends_at_its_instant_and_not_when_a_timer_fires() {
    play(
        open_window(),
        "+29m59s999999us timer elapse       -> !still_awaited
         +30m timer   elapse                -> window_closed
         is window = +30m
         is status = settling
         is bid a1 = settled no_show
         +31m timer   elapse                -> !window_closed",
    );
}

#[test]
fn a_timer_that_comes_late_does_not_move_the_end() {
    play(
        open_window(),
        "+50m timer   elapse                -> window_closed
         is window = +30m
         +40m opening keys a1               -> !window_closed
         +29m opening keys a1               -> keys_accepted",
    );
}

#[test]
fn work_in_hand_is_waited_for_after_the_windows_end() {
    play(
        open_window(),
        "+29m opening keys a1               -> keys_accepted
         +30m timer   elapse                -> window_closed
         is bid a1 = unsealing
         is bid b1 = settled no_show
         is todo = unseal a1
         +30m opening publish               -> !barrier_holds
         +31m timer   elapse                -> !still_awaited
         +35m opening unsealed a1           -> bid_unsealed
         is todo = publish
         +35m opening publish               -> records_published",
    );
}

#[test]
fn a_grace_that_outlives_the_window_is_waited_for() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token   -> bid_failed
         +30m timer   elapse                -> window_closed
         is bid a1 = failed wrong_token until +35m
         is due +34m = nothing
         is due +35m = elapse
         is wake = +35m
         +30m opening publish               -> !barrier_holds
         +34m opening keys a1               -> keys_accepted
         +36m opening unsealed a1           -> bid_unsealed
         +36m opening publish               -> records_published",
    );
}

#[test]
fn a_grace_ends_and_the_failure_is_final() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token   -> bid_failed
         +30m timer   elapse                -> window_closed
         +34m59s timer elapse               -> !still_awaited
         +35m timer   elapse                -> grace_ended
         is bid a1 = settled wrong_token
         +35m opening keys a1               -> !window_closed
         +36m timer   elapse                -> !window_closed
         +36m opening publish               -> records_published
         is record 1 = 1 a1 wrong_token revoked; 2 b1 no_show revoked; 3 c1 no_show revoked",
    );
}

#[test]
fn a_key_stamped_within_the_grace_is_taken_although_its_end_was_decided_first() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token   -> bid_failed
         +30m timer   elapse                -> window_closed
         +35m timer   elapse                -> grace_ended
         +34m opening keys a1               -> keys_accepted
         is bid a1 = unsealing",
    );
}

#[test]
fn window_and_grace_may_end_in_one() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token   -> bid_failed
         +30m timer   elapse                -> window_closed grace_ended
         is bid a1 = settled wrong_token
         is bid b1 = settled no_show",
    );
}

#[test]
fn who_failed_early_has_the_rest_of_the_window_like_everybody() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token   -> bid_failed
         is bid a1 = failed wrong_token until +11m
         +29m opening keys a1               -> keys_accepted",
    );
}

#[test]
fn the_window_is_not_closed_early_while_anybody_is_awaited() {
    play(
        open_window(),
        "+1m  agent   close                 -> !still_awaited
         +1m  opening keys a1               -> keys_accepted
         +1m  opening unsealed a1           -> bid_unsealed
         +1m  opening keys b1               -> keys_accepted
         +1m  opening unsealed b1           -> bid_unsealed
         +1m  C       fail c1 wrong_token   -> bid_failed
         +2m  opening keys d1               -> keys_accepted
         +2m  agent   close                 -> !still_awaited
         +3m  opening unsealed d1           -> bid_unsealed
         +3m  agent   close                 -> !still_awaited
         +10m59s agent close                -> !still_awaited
         +11m agent   close text=           -> !field_invalid
         +11m agent   close                 -> window_closed grace_ended
         is window = +11m
         is bid c1 = settled wrong_token
         +11m agent   close                 -> !window_closed",
    );
}

#[test]
fn an_admitted_backup_is_awaited_too() {
    play(
        open_window(),
        "+1m  opening fail a1 damaged_upload -> bid_failed
         +1m  opening fail b1 damaged_upload -> bid_failed
         +1m  opening fail d1 damaged_upload -> bid_failed
         +1m  C       fail c1 wrong_token    -> bid_failed
         +12m agent   admit c1               -> backup_admitted
         is bid c1 = awaiting_backup until +30m
         +13m agent   close                  -> !still_awaited
         +30m agent   close                  -> !window_closed
         +30m timer   elapse                 -> window_closed grace_ended",
    );
}

#[test]
fn nobody_who_failed_is_shut_out_by_an_early_close_that_was_decided_first() {
    play(
        open_window(),
        "+1m  opening fail a1 damaged_upload -> bid_failed
         +1m  opening fail b1 damaged_upload -> bid_failed
         +1m  opening fail d1 damaged_upload -> bid_failed
         +1m  C       fail c1 wrong_token    -> bid_failed
         +12m agent   close                  -> window_closed grace_ended
         +11m30s opening keys c1             -> keys_accepted
         +12m opening unsealed c1            -> bid_unsealed",
    );
}

#[test]
fn an_outage_moves_graces_as_it_moves_the_window() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token    -> bid_failed
         +1m  B       fail b1 wrong_token    -> bid_failed
         +2m  agent   admit b1               -> backup_admitted
         +20m opening order 2 down=+5m       -> order_issued
         is window = +45m
         is bid a1 = failed wrong_token until +26m
         is bid b1 = awaiting_backup until +26m",
    );
}

#[test]
fn an_order_after_the_window_serves_those_in_their_grace() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token    -> bid_failed
         +30m timer   elapse                 -> window_closed
         is keys-awaited = true
         +34m opening order 2 down=+31m      -> order_issued
         is epoch = 2
         is window = +30m
         is bid a1 = failed wrong_token until +38m
         +35m opening keys a1 epoch=2        -> keys_accepted
         is keys-awaited = false
         +36m opening order 3                -> !window_closed",
    );
}
