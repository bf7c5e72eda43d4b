//! Every state against every command, as one picture: a new command, event or state shows as a
//! difference in the snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use kaibiao_protocol::{command::ProjectCommand, view::ProjectStatus};

use crate::{
    script::{
        COUNTED, ORDERED, RECEIVING, STARTED, check, command, open_window, outcome, play, signed_record, step,
    },
    world::{World, wire},
};

/// Each state with the time at which it is asked.
fn states() -> Vec<(&'static str, &'static str, World)> {
    let receiving = || check(RECEIVING);
    let open = || {
        play(
            check(
                &[
                    RECEIVING,
                    "
                    -50m intake  submit e1              -> bid_submitted
                    -40m intake  submit f1              -> bid_submitted
                    -30m intake  submit g1              -> bid_submitted",
                    COUNTED,
                    STARTED,
                    ORDERED,
                ]
                .concat(),
            ),
            // A is awaited, B in hand, C unsealed, D failed, E awaited with its backup, F failed for good,
            // G's bytes are damaged.
            "+1m  opening keys b1                   -> keys_accepted
             +1m  opening keys c1                   -> keys_accepted
             +1m  opening unsealed c1               -> bid_unsealed
             +1m  D       fail d1 wrong_token       -> bid_failed
             +1m  E       fail e1 wrong_token       -> bid_failed
             +1m  agent   admit e1                  -> backup_admitted
             +1m  opening fail f1 damaged_upload    -> bid_failed
             +1m  opening fail g1 damaged_store     -> bid_failed
             +1m  agent   admit g1                  -> backup_admitted
             +1m  A       object                    -> objection_raised",
        )
    };
    let settling = || {
        play(
            open(),
            "+29m opening fail c1 damaged_store      -> bid_failed
             +30m timer   elapse                     -> window_closed grace_ended",
        )
    };
    let backups_awaited = || {
        play(
            open_window(),
            "+28m A       fail a1 wrong_token        -> bid_failed
             +28m opening fail b1 damaged_store      -> bid_failed
             +29m agent   admit b1                   -> backup_admitted
             +30m timer   elapse                     -> window_closed",
        )
    };
    let graces_over = || {
        play(
            open_window(),
            "+1m  A       fail a1 wrong_token        -> bid_failed
             +1m  opening fail b1 damaged_upload     -> bid_failed
             +1m  opening fail c1 damaged_upload     -> bid_failed
             +1m  opening fail d1 damaged_upload     -> bid_failed",
        )
    };
    let free = || {
        play(
            open_window(),
            "+1m  opening keys a1                    -> keys_accepted
             +1m  opening unsealed a1                -> bid_unsealed
             +1m  A       object                     -> objection_raised
             +30m timer   elapse                     -> window_closed",
        )
    };
    let published = || play(free(), "+30m opening publish -> records_published");
    let deemed = || play(signed_record(), "+1h11m timer deem -> confirmations_deemed");
    let nothing_to_open = || {
        check(
            "-1d  agent   create                     -> project_created
             -4h  intake  submit a1                  -> bid_submitted
             +0   intake  count                      -> receiving_closed",
        )
    };
    vec![
        ("absent", "-1h", World::default()),
        ("receiving, before the deadline", "-1us", receiving()),
        ("receiving, at the deadline", "+0", receiving()),
        ("awaiting the start", "+1m", play(receiving(), COUNTED)),
        ("awaiting the order", "+1m", check(&[RECEIVING, COUNTED, STARTED].concat())),
        ("awaiting keys, window open", "+2m", open()),
        ("awaiting keys, only graces left and those over", "+12m", graces_over()),
        ("awaiting keys, window over", "+30m", open()),
        ("settling, a grace runs", "+31m", settling()),
        ("settling, a backup is awaited", "+31m", backups_awaited()),
        ("settling, the graces are over", "+40m", backups_awaited()),
        ("settling, the barrier is free", "+31m", free()),
        ("settling, nothing to open", "+1m", nothing_to_open()),
        ("published, unsigned", "+31m", published()),
        ("published, signed", "+20m", signed_record()),
        ("published, the time for confirming over", "+2h", signed_record()),
        ("published, the silent accepted", "+2h", deemed()),
        ("ended", "+3h", play(deemed(), "+2h agent end -> opening_ended")),
    ]
}

/// Every command by one who may give it, on every kind of bid.
const COMMANDS: &str = "
    agent   create
    intake  submit h1
    intake  submit a1
    intake  submit b2
    intake  refuse h1 past_deadline
    A       withdraw a1
    agent   move +1d
    agent   move +1d fault
    timer   outage -5m -1m
    timer   clock-step 300
    intake  count
    timer   start
    opening order 1
    opening order 2
    opening order 2 down=+1m
    opening keys a1
    opening keys a1 backup
    opening keys b1
    opening keys c1
    opening keys d1
    opening keys d1 backup
    opening keys e1
    opening keys e1 backup
    opening keys f1
    opening keys g1
    opening keys h1
    opening unsealed a1
    opening unsealed b1
    opening unsealed c1
    opening unsealed d1
    opening unsealed e1
    opening unsealed f1
    opening unsealed g1
    A       fail a1 wrong_token
    B       fail b1 wrong_token
    D       fail d1 token_trouble
    opening fail a1 damaged_store
    opening fail b1 damaged_store
    opening fail b1 malformed_package
    opening fail c1 platform_fault
    opening fail d1 damaged_store
    opening fail e1 wrong_key
    opening fail f1 platform_fault
    agent   extend 10
    agent   close
    timer   elapse
    agent   admit a1
    agent   admit b1
    agent   admit c1
    agent   admit d1
    agent   admit e1
    agent   admit f1
    agent   admit g1
    intake  restore a1
    intake  restore b1
    intake  restore d1
    intake  restore e1
    intake  restore f1
    intake  restore g1
    opening publish
    opening sign record
    opening sign other
    A       check-in
    H       check-in
    agent   read 1 1
    A       object
    H       object
    agent   answer 1
    A       confirm record
    A       confirm other
    H       confirm record
    timer   deem
    agent   end";

/// The script's verb of a command. A new command does not compile until it has one, and does not pass
/// until it is in the picture.
fn verb(command: &ProjectCommand) -> &'static str {
    match command {
        ProjectCommand::CreateProject { .. } => "create",
        ProjectCommand::SubmitBid { .. } => "submit",
        ProjectCommand::RefuseUpload { .. } => "refuse",
        ProjectCommand::WithdrawBid { .. } => "withdraw",
        ProjectCommand::MoveDeadline { .. } => "move",
        ProjectCommand::RecordOutage { .. } => "outage",
        ProjectCommand::RecordClockStep { .. } => "clock-step",
        ProjectCommand::CloseReceiving => "count",
        ProjectCommand::StartOpening { .. } => "start",
        ProjectCommand::IssueOrder { .. } => "order",
        ProjectCommand::AcceptKeys { .. } => "keys",
        ProjectCommand::ReportUnsealed { .. } => "unsealed",
        ProjectCommand::ReportFailure { .. } => "fail",
        ProjectCommand::ExtendWindow { .. } => "extend",
        ProjectCommand::CloseWindow { .. } => "close",
        ProjectCommand::ElapseWindow => "elapse",
        ProjectCommand::AdmitBackup { .. } => "admit",
        ProjectCommand::RestoreBid { .. } => "restore",
        ProjectCommand::PublishRecords { .. } => "publish",
        ProjectCommand::SignRecord { .. } => "sign",
        ProjectCommand::CheckIn => "check-in",
        ProjectCommand::ReadOutRow { .. } => "read",
        ProjectCommand::Object { .. } => "object",
        ProjectCommand::AnswerObjection { .. } => "answer",
        ProjectCommand::ConfirmRecord { .. } => "confirm",
        ProjectCommand::DeemConfirmed => "deem",
        ProjectCommand::EndOpening => "end",
    }
}

/// How many commands [`verb`] knows.
pub(crate) const VERBS: usize = 27;

fn commands() -> impl Iterator<Item = &'static str> {
    COMMANDS.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[test]
fn every_state_answers_every_command() {
    let mut picture = String::new();
    for (state, time, world) in states() {
        writeln!(picture, "{state} ({time})").unwrap();
        for line in commands() {
            // Each command on its own: asked of a copy.
            let mut world = world.clone();
            let answer = outcome(&step(&mut world, &format!("{time} {line}")));
            world.assert_holds();
            writeln!(picture, "    {line:36} -> {answer}").unwrap();
        }
    }
    insta::assert_snapshot!(picture);
}

#[test]
fn every_command_is_in_the_picture() {
    let world = open_window();
    let shown: BTreeSet<&str> = commands()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let verb = verb(&command(&world, &words));
            assert_eq!(verb, words[0]);
            verb
        })
        .collect();
    assert_eq!(shown.len(), VERBS);
}

/// The states in their order, as the page names them.
const STATES: [ProjectStatus; 7] = [
    ProjectStatus::Receiving,
    ProjectStatus::AwaitingStart,
    ProjectStatus::AwaitingOrder,
    ProjectStatus::AwaitingKeys,
    ProjectStatus::Settling,
    ProjectStatus::Published,
    ProjectStatus::Ended,
];

/// State by command: `yes` where the command can do something, else how it is refused.
fn table() -> String {
    let mut cells: BTreeMap<(&str, ProjectStatus), BTreeSet<String>> = BTreeMap::new();
    let mut rows: Vec<&str> = Vec::new();
    for (_, time, world) in states() {
        let Some(status) = world.project.status() else { continue };
        for line in commands() {
            let name = command_name(verb_of(line));
            if !rows.contains(&name) {
                rows.push(name);
            }
            let answer = match step(&mut world.clone(), &format!("{time} {line}")) {
                Ok(events) if events.is_empty() => continue,
                Ok(_) => "yes".to_owned(),
                Err(refusal) => format!("`{}`", refusal.code.as_str()),
            };
            cells.entry((name, status)).or_default().insert(answer);
        }
    }
    let mut table = String::from("| command |");
    STATES.iter().for_each(|status| write!(table, " {} |", wire(status)).unwrap());
    table.push_str(&format!("\n|{}\n", "---|".repeat(STATES.len() + 1)));
    for name in rows {
        write!(table, "| `{name}` |").unwrap();
        for status in STATES {
            let answers = cells.remove(&(name, status)).unwrap_or_default();
            let shown = if answers.contains("yes") {
                "yes".to_owned()
            } else {
                answers.into_iter().collect::<Vec<_>>().join(" ")
            };
            write!(table, " {shown} |").unwrap();
        }
        table.push('\n');
    }
    table
}

fn verb_of(line: &str) -> &str {
    line.split_whitespace().nth(1).expect("a line has a verb")
}

fn command_name(verb: &str) -> &'static str {
    match verb {
        "create" => "CreateProject",
        "submit" => "SubmitBid",
        "refuse" => "RefuseUpload",
        "withdraw" => "WithdrawBid",
        "move" => "MoveDeadline",
        "outage" => "RecordOutage",
        "clock-step" => "RecordClockStep",
        "count" => "CloseReceiving",
        "start" => "StartOpening",
        "order" => "IssueOrder",
        "keys" => "AcceptKeys",
        "unsealed" => "ReportUnsealed",
        "fail" => "ReportFailure",
        "extend" => "ExtendWindow",
        "close" => "CloseWindow",
        "elapse" => "ElapseWindow",
        "admit" => "AdmitBackup",
        "restore" => "RestoreBid",
        "publish" => "PublishRecords",
        "sign" => "SignRecord",
        "check-in" => "CheckIn",
        "read" => "ReadOutRow",
        "object" => "Object",
        "answer" => "AnswerObjection",
        "confirm" => "ConfirmRecord",
        "deem" => "DeemConfirmed",
        "end" => "EndOpening",
        other => panic!("{other} is no command"),
    }
}

#[test]
fn the_table_in_the_documentation_is_what_the_machine_does() {
    let page = include_str!("../../../docs/opening.md");
    let found = table();
    assert!(page.contains(&found), "docs/opening.md must hold this table:\n\n{found}");
}
