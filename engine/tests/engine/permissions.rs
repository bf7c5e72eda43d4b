//! Who may do what: every command by everybody, in a state in which the right one is obeyed.

use std::fmt::Write as _;

use crate::{
    answers::VERBS,
    script::{COUNTED, RECEIVING, STARTED, check, open_window, outcome, play, signed_record, step},
    world::World,
};

const EVERYBODY: [&str; 15] = [
    "intake",
    "timer",
    "opening",
    "console",
    "agent",
    "other-agent",
    "purchaser",
    "other-purchaser",
    "supervisor",
    "expert",
    "administrator",
    "A",
    "B",
    "H",
    "Z",
];

/// Every command where it would be obeyed. `Z` is not invited, `H` has no bid, `B` another one.
fn cases() -> Vec<(World, &'static str, &'static str)> {
    let invited = |text: &str| check(&text.replacen("create", "create invited=A,B,C,D,H", 1));
    let receiving = || invited(RECEIVING);
    let counted = || invited(&[RECEIVING, COUNTED].concat());
    let by_agent = || check(&[RECEIVING, COUNTED].concat().replacen("create", "create start=agent", 1));
    let started = || invited(&[RECEIVING, COUNTED, STARTED].concat());
    let open = || play(started(), "+0 opening order 1 -> order_issued");
    let failed = || play(open(), "+1m opening fail a1 damaged_store -> bid_failed");
    let free = || play(open(), "+30m timer elapse -> window_closed");
    let settled_but_one = || {
        play(
            open(),
            "+1m opening fail a1 damaged_upload -> bid_failed
             +1m opening fail b1 damaged_upload -> bid_failed
             +1m opening fail d1 damaged_upload -> bid_failed
             +1m C       fail c1 wrong_token    -> bid_failed",
        )
    };
    let published = || play(free(), "+30m opening publish -> records_published");
    let signed = || play(published(), "+30m opening sign record -> record_signed");
    vec![
        (World::default(), "-1d", "create"),
        (receiving(), "-1m", "submit a2"),
        (receiving(), "+0", "refuse a2 past_deadline"),
        (receiving(), "-1m", "withdraw a1"),
        (receiving(), "-1m", "move +1d"),
        (receiving(), "-1m", "outage -5m -2m"),
        (receiving(), "-1m", "clock-step 300"),
        (receiving(), "+0", "count"),
        (counted(), "+1m", "start"),
        (by_agent(), "+1m", "start signed"),
        (started(), "+1m", "order 1"),
        (open(), "+1m", "keys a1"),
        (play(open(), "+1m opening keys a1 -> keys_accepted"), "+1m", "unsealed a1"),
        (open(), "+1m", "fail a1 wrong_token"),
        (open(), "+1m", "fail a1 damaged_store"),
        (open(), "+1m", "extend 5"),
        (settled_but_one(), "+12m", "close"),
        (open(), "+30m", "elapse"),
        (failed(), "+2m", "admit a1"),
        (play(failed(), "+2m agent admit a1 -> backup_admitted"), "+3m", "restore a1"),
        (free(), "+31m", "publish"),
        (published(), "+31m", "sign record"),
        (open(), "+1m", "check-in"),
        (receiving(), "-1m", "check-in"),
        (published(), "+31m", "read 1 1"),
        (open(), "+1m", "object"),
        (play(open(), "+1m A object -> objection_raised"), "+2m", "answer 1"),
        (signed(), "+31m", "confirm record"),
        (signed(), "+2h", "deem"),
        (play(signed(), "+2h timer deem -> confirmations_deemed"), "+2h", "end"),
    ]
}

#[test]
fn only_those_who_may_are_obeyed() {
    let mut table = String::new();
    for (world, time, line) in cases() {
        let mut obeyed = Vec::new();
        for who in EVERYBODY {
            let mut world = world.clone();
            let answer = step(&mut world, &format!("{time} {who} {line}"));
            match &answer {
                Ok(events) => {
                    assert!(!events.is_empty(), "{who} {line}: nothing happened");
                    obeyed.push(who);
                }
                Err(_) => {
                    let answer = outcome(&answer);
                    let shut_out =
                        ["!role_not_allowed", "!not_your_project", "!no_such_bid", "!field_invalid"];
                    assert!(shut_out.contains(&answer.as_str()), "{who} {line}: {answer}");
                }
            }
        }
        writeln!(table, "{line:24} {}", obeyed.join(" ")).unwrap();
    }
    let expected = "
create                   console agent
submit a2                intake
refuse a2 past_deadline  intake
withdraw a1              A
move +1d                 agent
outage -5m -2m           timer
clock-step 300           timer
count                    intake
start                    timer opening
start signed             agent
order 1                  opening
keys a1                  opening
unsealed a1              opening
fail a1 wrong_token      opening A
fail a1 damaged_store    opening
extend 5                 agent
close                    agent
elapse                   timer opening
admit a1                 agent
restore a1               intake opening
publish                  opening
sign record              opening
check-in                 agent purchaser supervisor A B
check-in                 agent purchaser supervisor A B H
read 1 1                 agent
object                   A B
answer 1                 agent
confirm record           A B
deem                     timer opening
end                      agent
";
    assert_eq!(table.trim(), expected.trim());
}

#[test]
fn every_command_has_its_row() {
    let mut verbs: Vec<&str> =
        cases().iter().map(|(_, _, line)| line.split_whitespace().next().unwrap()).collect();
    verbs.sort_unstable();
    verbs.dedup();
    assert_eq!(verbs.len(), VERBS);
}

#[test]
fn a_refused_role_is_told_before_anything_else_of_the_project() {
    // Whoever may not ask learns nothing by asking: the answer is one in every state.
    for world in [check(RECEIVING), open_window(), signed_record()] {
        for (who, told) in [
            ("expert", "!role_not_allowed"),
            ("administrator", "!role_not_allowed"),
            ("other-agent", "!not_your_project"),
        ] {
            let mut world = world.clone();
            assert_eq!(outcome(&step(&mut world, &format!("+1m {who} close"))), told);
        }
    }
}
