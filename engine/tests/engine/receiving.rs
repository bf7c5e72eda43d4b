//! Handing in: what is taken, what stands, what is counted.

use kaibiao_engine::project::Project;
use kaibiao_protocol::{command::ProjectCommand, record::ROWS_MAX, refusal::RefusalCode, role::Reactor};

use crate::{
    script::{RECEIVING, check, play},
    world::{DEADLINE, World, agent, facts, platform, spec},
};

#[test]
fn a_bid_before_the_deadline_is_taken_and_one_at_it_is_late() {
    check(
        "-1d  agent   create             -> project_created
         -1us intake  submit a1          -> bid_submitted
         +0   intake  submit b1          -> !past_deadline
         +1us intake  submit b1          -> !past_deadline
         +9d  intake  submit b1          -> !past_deadline
         is standing = a1",
    );
}

#[test]
fn lateness_is_judged_by_the_stamp_and_not_by_when_it_is_decided() {
    // Decided after a late one, and stamped before it.
    check(
        "-1d  agent   create             -> project_created
         +5m  intake  submit a1          -> !past_deadline
         -1us intake  submit b1          -> bid_submitted
         is standing = b1",
    );
}

#[test]
fn a_later_bid_replaces_the_earlier_one() {
    check(
        "-1d  agent   create             -> project_created
         -3h  intake  submit a1          -> bid_submitted
         -2h  intake  submit a2          -> bid_submitted
         -1h  intake  submit b1          -> bid_submitted
         is standing = a2 b1",
    );
}

#[test]
fn a_replacement_that_comes_too_late_leaves_the_earlier_bid_standing() {
    check(
        "-1d  agent   create             -> project_created
         -3h  intake  submit a1          -> bid_submitted
         +0   intake  submit a2          -> !past_deadline
         is standing = a1",
    );
}

#[test]
fn of_two_by_one_supplier_the_later_stamp_wins_even_if_it_is_decided_first() {
    let world = check(
        "-1d  agent   create             -> project_created
         -1h  intake  submit a2          -> bid_submitted
         -2h  intake  submit a1          -> bid_submitted
         is standing = a2
         -30m intake  submit a3          -> bid_submitted
         is standing = a3",
    );
    let replaced: Vec<String> = world.history.iter().map(|(_, event)| format!("{event:?}")).collect();
    assert!(replaced[1].contains("replaces: None"), "nothing stood before a2");
    assert!(replaced[2].contains("replaces: None"), "a1 never stood");
    assert!(!replaced[3].contains("replaces: None"), "a3 replaces a2");
}

#[test]
fn of_two_with_one_stamp_the_one_decided_last_stands() {
    check(
        "-1d  agent   create             -> project_created
         -1h  intake  submit a1          -> bid_submitted
         -1h  intake  submit a2          -> bid_submitted
         is standing = a2",
    );
}

#[test]
fn a_withdrawn_bid_does_not_let_the_one_it_replaced_stand_again() {
    check(
        "-1d  agent   create             -> project_created
         -3h  intake  submit a1          -> bid_submitted
         -2h  intake  submit a2          -> bid_submitted
         -1h  A       withdraw a2        -> bid_withdrawn
         is standing =
         -50m intake  submit a3          -> bid_submitted
         is standing = a3",
    );
}

#[test]
fn an_older_bid_decided_after_a_withdrawal_does_not_revive_the_supplier() {
    check(
        "-1d  agent   create             -> project_created
         -2h  intake  submit a2          -> bid_submitted
         -1h  A       withdraw a2        -> bid_withdrawn
         -3h  intake  submit a1          -> bid_submitted
         is standing = ",
    );
}

#[test]
fn a_bid_is_withdrawn_by_its_own_supplier_before_the_deadline_only() {
    play(
        check(RECEIVING),
        "-5m  B       withdraw a1        -> !no_such_bid
         -5m  A       withdraw zz        -> !no_such_bid
         -5m  A       withdraw a1        -> bid_withdrawn
         -5m  A       withdraw a1        -> !no_such_bid
         -1us B       withdraw b1        -> bid_withdrawn
         +0   C       withdraw c1        -> !withdraw_too_late
         +1m  intake  count              -> receiving_closed
         +2m  C       withdraw c1        -> !withdraw_too_late
         is standing = c1 d1",
    );
}

#[test]
fn a_replaced_bid_cannot_be_withdrawn() {
    play(
        check(RECEIVING),
        "-30m intake  submit a2          -> bid_submitted
         -5m  A       withdraw a1        -> !no_such_bid
         -5m  A       withdraw a2        -> bid_withdrawn",
    );
}

#[test]
fn a_withdrawal_that_reaches_the_count_too_late_is_refused_although_stamped_in_time() {
    play(
        check(RECEIVING),
        "+1ms intake  count              -> receiving_closed
         -1us A       withdraw a1        -> !not_receiving",
    );
}

#[test]
fn a_reason_for_withdrawing_may_be_empty_but_not_endless() {
    let long = "长".repeat(501);
    let most = "长".repeat(500);
    play(
        check(RECEIVING),
        &format!(
            "-5m A withdraw a1 text={long}   -> !field_invalid
             -5m A withdraw a1 text=          -> bid_withdrawn
             -5m B withdraw b1 text={most}   -> bid_withdrawn"
        ),
    );
}

#[test]
fn the_same_upload_again_changes_nothing_then_or_later() {
    play(
        check(RECEIVING),
        "-5m  intake  submit a1          -> nothing
         +5m  intake  submit a1          -> nothing
         -5m  intake  submit a2          -> bid_submitted
         -5m  intake  submit a1          -> nothing
         +1m  intake  count              -> receiving_closed
         +1d  intake  submit a1          -> nothing
         is standing = b1 c1 d1 a2",
    );
}

#[test]
fn an_upload_id_serves_one_content_of_one_supplier() {
    play(
        check(RECEIVING),
        "-5m  intake  submit e1 upload=a1            -> !upload_taken
         -5m  intake  submit a1 header=other         -> !upload_taken
         -5m  intake  submit a1 of=E                 -> !upload_taken
         -5m  intake  refuse e1 not_a_sealed_bid     -> upload_refused
         -5m  intake  submit e1                      -> !upload_taken
         -5m  intake  refuse a1 not_a_sealed_bid     -> !upload_taken
         -5m  intake  refuse e1 not_a_sealed_bid     -> nothing
         -5m  intake  refuse e1 past_deadline        -> !upload_taken",
    );
}

#[test]
fn a_bid_id_is_used_once() {
    play(check(RECEIVING), "-5m intake submit a1 upload=a9 -> !already_exists");
}

#[test]
fn the_same_ciphertext_from_another_supplier_is_refused_by_any_part_of_it() {
    play(
        check(RECEIVING),
        "-5m  intake  submit e1 copy=a1              -> !same_ciphertext
         -5m  intake  submit e1 copy=zz              -> bid_submitted",
    );
}

#[test]
fn a_replaced_or_withdrawn_bid_is_still_not_for_others_to_copy() {
    play(
        check(RECEIVING),
        "-9m  intake  submit a2                      -> bid_submitted
         -8m  A       withdraw a2                    -> bid_withdrawn
         -5m  intake  submit e1 copy=a1              -> !same_ciphertext
         -5m  intake  submit e1 copy=a2              -> !same_ciphertext",
    );
}

#[test]
fn a_supplier_may_hand_in_its_own_ciphertext_again() {
    play(check(RECEIVING), "-5m intake submit a2 copy=a1 -> bid_submitted");
}

#[test]
fn only_lots_of_the_project_can_be_bid_for() {
    play(
        check("-1d agent create lots=2 -> project_created"),
        "-5m  intake  submit a1 lots=1               -> bid_submitted
         -5m  intake  submit b1 lots=3               -> !other_lots
         -5m  intake  submit b1 lots=1,3             -> !other_lots
         -5m  intake  submit b1 lots=                -> !other_lots",
    );
}

#[test]
fn a_bid_has_one_part_a_lot_and_a_common_one() {
    play(
        check("-1d agent create -> project_created"),
        "-5m  intake  submit a1 without-common       -> !not_a_sealed_bid
         -5m  intake  submit a1 twice                -> !not_a_sealed_bid
         -5m  intake  submit a1                      -> bid_submitted",
    );
}

#[test]
fn a_bid_is_not_larger_than_the_project_allows() {
    play(
        check("-1d agent create max=10000 -> project_created"),
        "-5m  intake  submit a1 size=10001           -> !too_large
         -5m  intake  submit a1 size=10000           -> bid_submitted",
    );
}

#[test]
fn only_those_invited_hand_in() {
    play(
        check("-1d agent create invited=A,B,C -> project_created"),
        "-5m  intake  submit a1                      -> bid_submitted
         -5m  intake  submit d1                      -> !not_invited",
    );
}

#[test]
fn what_is_wrong_is_told_in_one_order_late_first() {
    play(
        check("-1d agent create invited=A,B,C max=100 -> project_created"),
        "+0   intake  submit d1 lots=9               -> !past_deadline
         -5m  intake  submit d1 lots=9               -> !not_invited
         -5m  intake  submit a1 lots=9               -> !too_large
         -5m  intake  submit a1 lots=9 size=10       -> !other_lots",
    );
}

#[test]
fn a_late_final_is_recorded_with_its_refusal_in_every_phase() {
    play(
        check(RECEIVING),
        "+0   intake  refuse a8 past_deadline        -> upload_refused
         +1m  intake  count                          -> receiving_closed
         +2m  intake  refuse a9 past_deadline        -> upload_refused
         is standing = a1 b1 c1 d1",
    );
}

#[test]
fn one_supplier_cannot_fill_the_journal() {
    let mut world = check("-1d agent create -> project_created");
    for number in 0..1_000 {
        world = play(world, &format!("-1h intake refuse a{number} form_invalid -> upload_refused"));
    }
    play(
        world,
        "-1h  intake  refuse axx form_invalid        -> !slow_down
         -1h  intake  submit axy                     -> !slow_down
         -1h  intake  submit b1                      -> bid_submitted",
    );
}

#[test]
fn bids_are_counted_per_lot_at_the_deadline_and_once() {
    play(
        check(RECEIVING),
        "-1us intake  count                          -> !before_deadline
         +0   intake  count                          -> receiving_closed
         +1us intake  count                          -> !not_receiving
         is lots = 1:3, 2:4
         is status = awaiting_start",
    );
}

#[test]
fn a_lot_with_two_bids_stays_sealed_and_the_other_goes_on() {
    play(
        check(RECEIVING),
        "-5m  C       withdraw c1                    -> bid_withdrawn
         +0   intake  count                          -> receiving_closed
         is lots = 1:2 stays sealed, 2:3
         is status = awaiting_start
         is bid a1 = awaiting_keys
         is bid c1 = none",
    );
}

#[test]
fn a_lot_nobody_bids_for_stays_sealed() {
    check(
        "-1d  agent   create lots=3                  -> project_created
         -4h  intake  submit a1                      -> bid_submitted
         -3h  intake  submit b1                      -> bid_submitted
         -2h  intake  submit c1                      -> bid_submitted
         +0   intake  count                          -> receiving_closed
         is lots = 1:3, 2:3, 3:0 stays sealed",
    );
}

#[test]
fn a_supplier_that_handed_in_twice_counts_once() {
    check(
        "-1d  agent   create lots=1                  -> project_created
         -4h  intake  submit a1 lots=1               -> bid_submitted
         -3h  intake  submit a2 lots=1               -> bid_submitted
         -2h  intake  submit b1 lots=1               -> bid_submitted
         +0   intake  count                          -> receiving_closed
         is lots = 1:2 stays sealed",
    );
}

#[test]
fn where_no_lot_opens_no_key_is_asked_for_and_the_records_say_so() {
    check(
        "-1d  agent   create                         -> project_created
         -4h  intake  submit a1                      -> bid_submitted
         -3h  intake  submit b1 lots=1               -> bid_submitted
         +0   intake  count                          -> receiving_closed
         is lots = 1:2 stays sealed, 2:1 stays sealed
         is status = settling
         is todo = publish
         is bid a1 = not_opened
         is parts a1 =
         +1m  timer   start                          -> !not_opened
         +1m  opening order 1                        -> !window_closed
         +1m  opening keys a1                        -> !not_opened
         +1m  A       fail a1 wrong_token            -> !not_opened
         +1m  timer   elapse                         -> !window_closed
         +1m  opening publish                        -> records_published
         is record 1 = not opened by TR-44 87-41 (GP/1): a1 b1
         is record 2 = not opened by TR-44 87-41 (GP/1): a1
         +1m  opening sign record                    -> record_signed
         +2m  A       confirm record                 -> record_confirmed",
    );
}

#[test]
fn a_project_without_any_bid_ends_too() {
    check(
        "-1d  agent   create lots=1 start=agent      -> project_created
         +0   intake  count                          -> receiving_closed
         +1m  opening publish                        -> records_published
         is record 1 = not opened by TR-44 87-41 (GP/1):
         +1m  opening sign record                    -> record_signed
         is wake = never
         +2m  agent   end                            -> opening_ended",
    );
}

#[test]
fn the_other_rule_pack_cites_its_own_rule() {
    check(
        "-1d  agent   create lots=1 pack=CTB/1       -> project_created
         +0   intake  count                          -> receiving_closed
         +1m  opening publish                        -> records_published
         is record 1 = not opened by TR-44 (CTB/1):",
    );
}

#[test]
fn what_a_final_would_meet_is_told_before_its_bytes_come() {
    let world = check("-1d agent create max=10000 invited=A,B,C -> project_created");
    let told = |supplier: &str, size, time| {
        let at = crate::script::moment(time);
        let refused = world.project.may_upload(&crate::world::organisation(supplier), size, at);
        refused.err().map_or("welcome", |refusal| refusal.code.as_str())
    };
    assert_eq!(told("A", 10_000, "-1us"), "welcome");
    assert_eq!(told("A", 10_001, "-1us"), "too_large");
    assert_eq!(told("D", 1, "-1us"), "not_invited");
    assert_eq!(told("A", 1, "+0"), "past_deadline");
    let absent = kaibiao_engine::project::Project::default();
    let at = crate::script::moment("-1h");
    let refused = absent.may_upload(&crate::world::organisation("A"), 1, at).unwrap_err();
    assert_eq!(refused.code.as_str(), "unknown");
}

#[test]
fn a_project_takes_as_many_bids_as_its_record_has_rows() {
    let mut world = World { project: Project::default(), history: Vec::new() };
    let lots: Vec<u16> = (1..=200).collect();
    let suppliers = ROWS_MAX / lots.len();
    let at = |hours: i64| DEADLINE.plus_ms(-hours * 3_600_000);
    world.ask(&agent(), at(48), &ProjectCommand::CreateProject { spec: spec(200) }).unwrap();
    let mut submit = |name: &str, supplier: &str, lots: &[u16]| {
        let facts = facts(name, supplier, lots);
        world.ask(&platform(Reactor::Intake), at(2), &ProjectCommand::SubmitBid { facts })
    };
    for no in 1..suppliers {
        submit(&format!("s{no}a"), &format!("S{no}"), &lots).unwrap();
    }
    submit("lasta", "LAST", &lots[1..]).unwrap();
    // One row is left.
    let refused = submit("morea", "MORE", &lots[..2]).unwrap_err();
    assert_eq!(refused.code, RefusalCode::TooLarge);
    assert!(refused.say.en.contains("16000 rows"), "{}", refused.say.en);
    submit("moreb", "MORE", &lots[..1]).unwrap();
    assert_eq!(submit("againa", "AGAIN", &lots[..1]).unwrap_err().code, RefusalCode::TooLarge);
    // A later bid takes the place of the earlier one, and of no more.
    submit("s1b", "S1", &lots).unwrap();
    submit("s2b", "S2", &lots[..1]).unwrap();
    submit("againb", "AGAIN", &lots[1..]).unwrap();
}
