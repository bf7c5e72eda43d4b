//! The backup bid: after a recorded failure, by leave, by policy, within its time.

use crate::script::{COUNTED, ORDERED, RECEIVING, STARTED, check, open_window, play};

fn with_policy(policy: &str) -> crate::world::World {
    let create = format!("create backup={policy}");
    check(&[RECEIVING, COUNTED, STARTED, ORDERED].concat().replacen("create", &create, 1))
}

#[test]
fn a_backup_is_taken_only_after_a_failure_and_the_agents_leave() {
    play(
        open_window(),
        "+1m  opening keys a1 backup        -> !no_failure_recorded
         +1m  agent   admit a1              -> !no_failure_recorded
         +1m  A       fail a1 token_trouble -> bid_failed
         +2m  opening keys a1 backup        -> !backup_not_admitted
         +2m  agent   admit a1              -> backup_admitted
         is bid a1 = awaiting_backup until +11m
         is parts a1 = common lot-001 lot-002
         +2m  agent   admit a1              -> nothing
         +3m  opening keys a1 backup        -> keys_accepted
         +4m  opening unsealed a1           -> bid_unsealed
         is bid a1 = unsealed",
    );
}

#[test]
fn only_the_organisers_agent_admits_and_with_a_reason() {
    play(
        open_window(),
        "+1m  A       fail a1 token_trouble -> bid_failed
         +2m  A       admit a1              -> !role_not_allowed
         +2m  other-agent admit a1          -> !not_your_project
         +2m  supervisor admit a1           -> !role_not_allowed
         +2m  opening admit a1              -> !role_not_allowed
         +2m  agent   admit a1 text=        -> !field_invalid
         +2m  agent   admit zz              -> !no_such_bid",
    );
}

#[test]
fn the_policy_decides_which_failures_a_backup_may_mend() {
    play(
        with_policy("never"),
        "+1m  A       fail a1 wrong_token     -> bid_failed
         +2m  agent   admit a1                -> !backup_not_allowed
         +2m  opening fail b1 platform_fault  -> bid_failed
         +2m  agent   admit b1                -> !backup_not_allowed",
    );
    play(
        with_policy("platform"),
        "+1m  A       fail a1 wrong_token     -> bid_failed
         +2m  agent   admit a1                -> !backup_not_allowed
         +2m  opening fail b1 platform_fault  -> bid_failed
         +2m  agent   admit b1                -> backup_admitted
         +2m  opening fail c1 damaged_store   -> bid_failed
         +2m  agent   admit c1                -> backup_admitted",
    );
    play(
        with_policy("any"),
        "+1m  A       fail a1 wrong_token     -> bid_failed
         +2m  agent   admit a1                -> backup_admitted",
    );
}

#[test]
fn where_no_backup_is_allowed_damaged_bytes_are_final() {
    play(
        with_policy("never"),
        "+1m  opening fail a1 damaged_store   -> bid_failed
         is bid a1 = settled damaged_store",
    );
}

#[test]
fn the_right_token_still_serves_after_a_backup_was_admitted() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token     -> bid_failed
         +2m  agent   admit a1                -> backup_admitted
         +3m  opening keys a1                 -> keys_accepted
         +4m  agent   admit a1                -> !no_failure_recorded
         +4m  opening unsealed a1             -> bid_unsealed",
    );
}

#[test]
fn a_backup_is_taken_until_its_instant() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token     -> bid_failed
         +26m agent   admit a1                -> backup_admitted
         is bid a1 = awaiting_backup until +35m
         +30m timer   elapse                  -> window_closed
         is bid a1 = awaiting_backup until +35m
         is wake = +35m
         +35m opening keys a1 backup          -> !window_closed
         +34m opening keys a1 backup          -> keys_accepted
         +36m opening unsealed a1             -> bid_unsealed
         +36m opening publish                 -> records_published
         is record 1 = 1 a1 88888.88 by backup; 2 b1 no_show revoked; 3 c1 no_show revoked",
    );
}

#[test]
fn an_admitted_backup_that_does_not_come_is_settled_as_its_failure() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token     -> bid_failed
         +26m agent   admit a1                -> backup_admitted
         +30m timer   elapse                  -> window_closed
         +35m timer   elapse                  -> grace_ended
         is bid a1 = settled wrong_token
         +35m agent   admit a1                -> !window_closed",
    );
}

#[test]
fn a_backup_is_not_admitted_when_the_time_is_over() {
    play(
        open_window(),
        "+25m A       fail a1 wrong_token     -> bid_failed
         +30m timer   elapse                  -> window_closed
         +35m agent   admit a1                -> !window_closed
         +35m timer   elapse                  -> grace_ended
         +34m agent   admit a1                -> !window_closed
         +34m agent   admit b1                -> !window_closed",
    );
}

#[test]
fn a_failure_late_in_the_window_has_its_full_grace_for_the_backup() {
    play(
        open_window(),
        "+29m opening keys a1                 -> keys_accepted
         +30m timer   elapse                  -> window_closed
         +33m opening fail a1 damaged_store   -> bid_failed
         is bid a1 = failed damaged_store until +43m
         +42m agent   admit a1                -> backup_admitted
         is bid a1 = awaiting_backup until +43m",
    );
}

#[test]
fn damaged_bytes_are_restored_only_by_those_of_the_receipt() {
    play(
        open_window(),
        "+1m  opening keys a1                 -> keys_accepted
         +2m  opening fail a1 damaged_store   -> bid_failed
         is parts a1 =
         +2m  intake  restore a1              -> !backup_not_admitted
         +3m  agent   admit a1                -> backup_admitted
         +3m  opening keys a1                 -> !keys_already_here
         +3m  opening keys a1 backup          -> !keys_already_here
         +4m  intake  restore a1 header=other -> !backup_differs
         +4m  intake  restore a1              -> bid_restored
         is file a1 = restored
         is bid a1 = unsealing
         is todo = unseal a1
         +5m  intake  restore a1              -> !no_failure_recorded
         +5m  opening unsealed a1             -> bid_unsealed",
    );
}

#[test]
fn bytes_restored_before_any_key_came_await_the_keys() {
    play(
        open_window(),
        "+2m  opening fail a1 damaged_store   -> bid_failed
         +3m  agent   admit a1                -> backup_admitted
         +4m  intake  restore a1              -> bid_restored
         is bid a1 = awaiting_backup until +12m
         is parts a1 = common lot-001 lot-002
         +5m  intake  restore a1              -> !backup_not_allowed
         +5m  opening keys a1                 -> keys_accepted
         is bid a1 = unsealing
         +6m  opening unsealed a1             -> bid_unsealed",
    );
}

#[test]
fn keys_that_come_while_bytes_are_damaged_are_kept_for_the_restored_ones() {
    play(
        open_window(),
        "+2m  opening fail a1 damaged_store   -> bid_failed
         is parts a1 = common lot-001 lot-002
         +3m  opening keys a1                 -> keys_accepted
         is bid a1 = failed damaged_store until +12m
         is parts a1 =
         is todo = nothing
         +3m  opening keys a1                 -> !keys_already_here
         +3m  agent   admit a1                -> backup_admitted
         +4m  intake  restore a1              -> bid_restored
         is bid a1 = unsealing",
    );
}

#[test]
fn restored_bytes_come_in_time_or_not_at_all() {
    play(
        open_window(),
        "+25m opening fail a1 damaged_store   -> bid_failed
         +26m agent   admit a1                -> backup_admitted
         +30m timer   elapse                  -> window_closed
         +35m intake  restore a1              -> !window_closed
         +34m intake  restore a1              -> bid_restored",
    );
}

#[test]
fn bytes_restored_in_time_are_taken_although_the_end_was_decided_first() {
    play(
        open_window(),
        "+24m opening keys a1                 -> keys_accepted
         +25m opening fail a1 damaged_store   -> bid_failed
         +26m agent   admit a1                -> backup_admitted
         +30m timer   elapse                  -> window_closed
         +35m timer   elapse                  -> grace_ended
         is bid a1 = settled damaged_store
         +34m intake  restore a1              -> bid_restored
         is bid a1 = unsealing
         +36m opening publish                 -> !barrier_holds
         +36m opening unsealed a1             -> bid_unsealed
         +36m opening publish                 -> records_published",
    );
}

#[test]
fn bytes_that_are_whole_are_not_replaced() {
    play(
        open_window(),
        "+1m  intake  restore a1              -> !no_failure_recorded
         +1m  A       fail a1 wrong_token     -> bid_failed
         +2m  agent   admit a1                -> backup_admitted
         +3m  intake  restore a1              -> !backup_not_allowed
         +3m  opening fail b1 platform_fault  -> bid_failed
         +3m  agent   admit b1                -> backup_admitted
         +3m  intake  restore b1              -> bid_restored",
    );
}

#[test]
fn the_agents_leave_outlasts_a_further_failure() {
    play(
        open_window(),
        "+1m  A       fail a1 wrong_token     -> bid_failed
         +2m  agent   admit a1                -> backup_admitted
         +3m  opening fail a1 wrong_key       -> bid_failed
         is bid a1 = awaiting_backup until +11m
         +4m  opening keys a1 backup          -> keys_accepted",
    );
}
