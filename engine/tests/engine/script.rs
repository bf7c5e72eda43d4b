//! Rules as tables in text: one line a command, with its time, its giver and its outcome.
//!
//! ```text
//! -1h     intake  submit a1 lots=1,2       -> bid_submitted
//! +0      intake  submit b1                -> !past_deadline
//!         is status receiving
//! ```
//!
//! Times count from the deadline. The outcome is the events' names, `nothing`, or a refusal after
//! `!`. `is` lines look at the state. A bid is named by its supplier and a number.

use std::collections::BTreeMap;

use kaibiao_engine::{
    keeper::Machine as _,
    project::ProjectMachine,
    reaction::{Due, OpeningTodo, due, opening_todo},
};
use kaibiao_protocol::{
    command::{ObjectionKind, ProjectCommand},
    deadline::MoveGround,
    event::ProjectEvent,
    ids::LotNo,
    moment::Moment,
    money::{Price, Rate},
    project::{BackupPolicy, Method, ProjectKind, ProjectSpec, StartMode},
    refusal::{Refusal, RefusalCode},
    view::BidStatus,
};

use crate::world::{
    DEADLINE, World, asker, bid, cause, digest, evidence, facts, fen, file, lot, name_of, organisation,
    sheet, sheets, spec, upload, wire,
};

/// Plays a script on a new project; returns the world it ends in.
#[track_caller]
pub(crate) fn check(script: &str) -> World {
    play(World::default(), script)
}

/// Plays a script on a world.
#[track_caller]
pub(crate) fn play(mut world: World, script: &str) -> World {
    for (number, line) in script.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix("is ") {
            let (what, expected) = rest.rsplit_once('=').unwrap_or_else(|| panic!("{line}: no ="));
            let found = look(&world, what.trim());
            assert_eq!(found.trim(), expected.trim(), "line {}: {line}", number + 1);
            continue;
        }
        let (command, expected) = line.split_once("->").unwrap_or_else(|| panic!("{line}: no outcome"));
        let found = outcome(&step(&mut world, command));
        assert_eq!(found, expected.trim(), "line {}: {line}", number + 1);
        world.assert_holds();
    }
    world
}

/// One line's command, carried out.
pub(crate) fn step(world: &mut World, line: &str) -> Result<Vec<ProjectEvent>, Refusal> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [time, who, rest @ ..] = words.as_slice() else { panic!("{line}: time, who, command") };
    let at = moment(time);
    let command = command(world, rest);
    world.ask(&asker(who), at, &command)
}

/// How an outcome is written.
pub(crate) fn outcome(result: &Result<Vec<ProjectEvent>, Refusal>) -> String {
    match result {
        Ok(events) if events.is_empty() => "nothing".to_owned(),
        Ok(events) => events.iter().map(ProjectEvent::kind).collect::<Vec<_>>().join(" "),
        Err(refusal) => format!("!{}", refusal.code.as_str()),
    }
}

/// `-1h30m`, `+0`, `+29m59s`, `-1us`: from the deadline.
pub(crate) fn moment(text: &str) -> Moment {
    let (sign, rest) = match text.split_at(1) {
        ("-", rest) => (-1, rest),
        ("+", rest) => (1, rest),
        _ => panic!("{text}: a time begins with + or -"),
    };
    let mut micros = 0;
    let mut rest = rest;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: i64 = number.parse().unwrap_or_else(|_| panic!("{text}: not a time"));
        micros += number
            * match unit {
                "" | "us" => 1,
                "ms" => 1_000,
                "s" => 1_000_000,
                "m" => 60_000_000,
                "h" => 3_600_000_000,
                "d" => 86_400_000_000,
                _ => panic!("{text}: unit {unit}"),
            };
        rest = tail;
    }
    Moment(DEADLINE.0 + sign * micros)
}

/// A moment as scripts write it.
pub(crate) fn written(at: Moment) -> String {
    let micros = at.0 - DEADLINE.0;
    let sign = if micros < 0 { '-' } else { '+' };
    let mut rest = micros.abs();
    let mut text = String::new();
    for (unit, size) in
        [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("us", 1)]
    {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "+0".to_owned() } else { format!("{sign}{text}") }
}

struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn of(words: &[&'a str]) -> Self {
        let mut plain = Vec::new();
        let mut named = BTreeMap::new();
        for word in words {
            match word.split_once('=') {
                Some((key, value)) => {
                    named.insert(key, value);
                }
                None => plain.push(*word),
            }
        }
        Words { plain, named }
    }

    fn at(&self, index: usize) -> &'a str {
        self.plain.get(index).unwrap_or_else(|| panic!("{:?}: word {index} is missing", self.plain))
    }

    fn number<T: std::str::FromStr>(&self, index: usize) -> T {
        self.at(index).parse().unwrap_or_else(|_| panic!("{}: not a number", self.at(index)))
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.named.get(key).copied()
    }

    fn text(&self) -> String {
        self.get("text").unwrap_or("因故").replace('_', " ")
    }
}

/// The command that the words say.
pub(crate) fn command(world: &World, words: &[&str]) -> ProjectCommand {
    let (verb, rest) = words.split_first().expect("a line has a verb");
    let words = Words::of(rest);
    let signature = || match words.get("signature") {
        Some("empty") => Vec::new(),
        Some("huge") => vec![1; 64 * 1024 + 1],
        _ => b"signature".to_vec(),
    };
    match *verb {
        "create" => ProjectCommand::CreateProject { spec: spec_of(&words) },
        "submit" => ProjectCommand::SubmitBid { facts: facts_of(&words) },
        "refuse" => ProjectCommand::RefuseUpload {
            upload: upload(words.at(0)),
            supplier: organisation(&words.at(0)[..1].to_uppercase()),
            size_bytes: 10_000,
            code: *RefusalCode::ALL.iter().find(|code| code.as_str() == words.at(1)).expect("a refusal code"),
        },
        "withdraw" => ProjectCommand::WithdrawBid { bid: bid(words.at(0)), reason: words.text() },
        "count" => ProjectCommand::CloseReceiving,
        "move" => ProjectCommand::MoveDeadline {
            deadline: moment(words.at(0)),
            ground: if words.has("fault") { MoveGround::PlatformFault } else { MoveGround::Correction },
            reason: words.text(),
        },
        "outage" => ProjectCommand::RecordOutage { from: moment(words.at(0)), until: moment(words.at(1)) },
        "clock-step" => {
            let step_ms = words.number(0);
            ProjectCommand::RecordClockStep { step_ms, divergence_ms: step_ms }
        }
        "start" => ProjectCommand::StartOpening { signature: words.has("signed").then(signature) },
        "order" => ProjectCommand::IssueOrder {
            epoch: words.number(0),
            order: if words.has("empty") { String::new() } else { format!("order {}", words.at(0)) },
            signature: signature(),
            down_since: words.get("down").map(moment),
        },
        "keys" => ProjectCommand::AcceptKeys {
            bid: bid(words.at(0)),
            epoch: words.get("epoch").map_or(1, |epoch| epoch.parse().unwrap()),
            by_backup: words.has("backup"),
        },
        "unsealed" => ProjectCommand::ReportUnsealed { bid: bid(words.at(0)) },
        "fail" => ProjectCommand::ReportFailure {
            bid: bid(words.at(0)),
            cause: cause(words.at(1)),
            evidence: evidence(&words.text()),
        },
        "extend" => ProjectCommand::ExtendWindow { minutes: words.number(0), reason: words.text() },
        "close" => ProjectCommand::CloseWindow { reason: words.text() },
        "elapse" => ProjectCommand::ElapseWindow,
        "admit" => ProjectCommand::AdmitBackup { bid: bid(words.at(0)), reason: words.text() },
        "restore" => ProjectCommand::RestoreBid {
            bid: bid(words.at(0)),
            file: file("restored"),
            header_digest: digest(
                &words.get("header").map_or_else(|| format!("{} header", words.at(0)), str::to_owned),
            ),
        },
        "publish" => publish(world, &words),
        "sign" => ProjectCommand::SignRecord { digest: digest(words.at(0)), signature: signature() },
        "check-in" => ProjectCommand::CheckIn,
        "read" => ProjectCommand::ReadOutRow { lot: lot(words.number(0)), no: words.number(1) },
        "object" => ProjectCommand::Object {
            kind: if words.has("recusal") { ObjectionKind::Recusal } else { ObjectionKind::Objection },
            lot: words.get("lot").map(|no| lot(no.parse().unwrap())),
            text: words.text(),
        },
        "answer" => ProjectCommand::AnswerObjection { no: words.number(0), text: words.text() },
        "confirm" => ProjectCommand::ConfirmRecord { record: digest(words.at(0)), signature: signature() },
        "deem" => ProjectCommand::DeemConfirmed,
        "end" => ProjectCommand::EndOpening,
        other => panic!("{other} is no command"),
    }
}

fn spec_of(words: &Words<'_>) -> ProjectSpec {
    let mut spec = spec(words.get("lots").map_or(2, |lots| lots.parse().unwrap()));
    let number = |text: &str| text.parse().unwrap();
    for (key, value) in &words.named {
        match *key {
            "lots" => {}
            "start" => spec.start = StartMode::OnAgentStart,
            "window" => spec.window_minutes = number(value),
            "grace" => spec.failure_grace_minutes = number(value),
            "confirm" => spec.confirm_minutes = number(value),
            "max" => spec.bid_bytes_max = Some(value.parse().unwrap()),
            "pack" => spec.rule_pack = (*value).to_owned(),
            "budget" => spec.budget = fen(value.parse().unwrap()),
            "name" => spec.name = value.replace('_', " "),
            "deadline" => spec.deadline = moment(value),
            "method" => {
                spec.method =
                    serde_json::from_value::<Method>(serde_json::Value::String((*value).to_owned())).unwrap();
            }
            "invited" => {
                let names = value.split(',').filter(|name| !name.is_empty());
                spec.invited = Some(names.map(organisation).collect());
            }
            "backup" => {
                spec.backup = match *value {
                    "never" => BackupPolicy::Never,
                    "platform" => BackupPolicy::PlatformFaultOnly,
                    _ => BackupPolicy::AnyFault,
                };
            }
            "lot-budget" => spec.lots.values_mut().for_each(|lot| lot.budget = fen(value.parse().unwrap())),
            "security" => spec
                .lots
                .values_mut()
                .filter_map(|lot| lot.bid_security.as_mut())
                .for_each(|terms| terms.amount = fen(value.parse().unwrap())),
            "paid" => spec
                .lots
                .values_mut()
                .filter_map(|lot| lot.bid_security.as_mut())
                .for_each(|terms| terms.methods = vec![(*value).to_owned()]),
            other => panic!("{other} is no setting"),
        }
    }
    if words.has("real") {
        spec.kind = ProjectKind::Real;
    }
    spec
}

fn facts_of(words: &Words<'_>) -> kaibiao_protocol::bid::BidFacts {
    let name = words.at(0);
    let lots: Vec<u16> = match words.get("lots") {
        None => vec![1, 2],
        Some(lots) => lots.split(',').filter(|no| !no.is_empty()).map(|no| no.parse().unwrap()).collect(),
    };
    let owner = words.get("of").map_or_else(|| name[..1].to_uppercase(), str::to_owned);
    let mut facts = facts(name, &owner, &lots);
    for (key, value) in &words.named {
        match *key {
            "lots" | "of" => {}
            "upload" => facts.upload = upload(value),
            "size" => facts.size_bytes = value.parse().unwrap(),
            "header" => facts.header_digest = digest(value),
            // One part of the other bid among its own.
            "copy" => facts.parts[1].ciphertext = digest(&format!("{value} lot-001")),
            other => panic!("{other} is no field of a bid"),
        }
    }
    if words.has("without-common") {
        facts.parts.remove(0);
    }
    if words.has("twice") {
        let again = facts.parts[1].clone();
        facts.parts.push(again);
    }
    facts
}

/// `publish` has the sheets of every unsealed bid; `without=a1`, `with=b1`, `strange-price`,
/// `without-lot`, `long-text` spoil them.
fn publish(world: &World, words: &Words<'_>) -> ProjectCommand {
    let opened = world.project.bids_being_opened().into_iter().map(|bid| bid.facts.bid);
    let unsealed = opened.filter(|bid| world.project.bid_status(bid) == Some(BidStatus::Unsealed));
    let mut all: BTreeMap<_, BTreeMap<LotNo, _>> =
        unsealed.map(|bid| (bid, sheets(&world.project, &bid))).collect();
    if let Some(name) = words.get("without") {
        all.remove(&bid(name));
    }
    if let Some(name) = words.get("with") {
        all.insert(bid(name), sheets(&world.project, &bid(name)));
    }
    if let Some(first) = all.values_mut().next() {
        if words.has("strange-price") {
            first.insert(lot(1), sheet(Price::Rate(Rate::new(1).unwrap())));
        }
        if words.has("without-lot") {
            first.remove(&lot(1));
        }
        if words.has("strange-lot") {
            first.insert(lot(9), sheet(Price::Total(fen(1))));
        }
        if words.has("long-text") {
            first.values_mut().for_each(|sheet| sheet.remark = "长".repeat(201));
        }
    }
    ProjectCommand::PublishRecords { sheets: all }
}

/// What an `is` line asks.
fn look(world: &World, what: &str) -> String {
    let project = &world.project;
    let words: Vec<&str> = what.split_whitespace().collect();
    match words.as_slice() {
        ["deadline"] => project.spec().map_or("none".to_owned(), |spec| written(spec.deadline)),
        ["counted-from"] => project.counted_from().map_or("never".to_owned(), written),
        ["status"] => project.status().map_or("absent".to_owned(), |status| wire(&status)),
        ["bid", name] => match project.bid_status(&bid(name)) {
            None => "none".to_owned(),
            Some(BidStatus::Failed { cause, grace_until }) => {
                format!("failed {} until {}", wire(&cause), written(grace_until))
            }
            Some(BidStatus::AwaitingBackup { until }) => format!("awaiting_backup until {}", written(until)),
            Some(BidStatus::Settled { cause }) => format!("settled {}", wire(&cause)),
            Some(BidStatus::NotOpened) => "not_opened".to_owned(),
            Some(BidStatus::AwaitingKeys) => "awaiting_keys".to_owned(),
            Some(BidStatus::Unsealing) => "unsealing".to_owned(),
            Some(BidStatus::Unsealed) => "unsealed".to_owned(),
        },
        ["standing"] => {
            let standing = project.standing_bids().into_iter();
            standing.map(|bid| name_of(&bid.facts.bid.0)).collect::<Vec<_>>().join(" ")
        }
        ["lots"] => {
            let lots = project.lots().into_iter().flatten();
            let lots = lots.map(|(lot, count)| {
                format!("{lot}:{}{}", count.bids, if count.opens { "" } else { " stays sealed" })
            });
            lots.collect::<Vec<_>>().join(", ")
        }
        ["parts", name] => {
            let parts = project.parts_asked(&bid(name)).into_iter();
            parts.map(|part| part.to_string()).collect::<Vec<_>>().join(" ")
        }
        ["file", name] => project.bid(&bid(name)).map_or(String::new(), |bid| name_of(&bid.facts.file.0)),
        ["window"] => project.window_closes_at().map_or("none".to_owned(), written),
        ["epoch"] => project.order().map_or("none".to_owned(), |order| order.epoch.to_string()),
        ["confirm-until"] => {
            project.record_signature().map_or("none".to_owned(), |signature| written(signature.confirm_until))
        }
        ["wake"] => ProjectMachine::wake_at(project).map_or("never".to_owned(), written),
        ["due", time] => match due(project, moment(time)).as_slice() {
            [] => "nothing".to_owned(),
            [Due::Settle] => "settle".to_owned(),
            [Due::StartOpening] => "start".to_owned(),
            [Due::ElapseWindow] => "elapse".to_owned(),
            [Due::DeemConfirmed] => "deem".to_owned(),
            more => format!("{more:?}"),
        },
        ["todo"] => {
            let OpeningTodo { issue_order, unseal, publish, sign } = opening_todo(project);
            let mut todo: Vec<String> = Vec::new();
            todo.extend(issue_order.then(|| "order".to_owned()));
            todo.extend(unseal.iter().map(|bid| format!("unseal {}", name_of(&bid.0))));
            todo.extend(publish.then(|| "publish".to_owned()));
            todo.extend(sign.then(|| "sign".to_owned()));
            if todo.is_empty() { "nothing".to_owned() } else { todo.join(", ") }
        }
        ["keys-awaited"] => project.keys_awaited().to_string(),
        ["record", no] => record(world, lot(no.parse().unwrap())),
        other => panic!("{other:?} cannot be looked at"),
    }
}

fn record(world: &World, lot: LotNo) -> String {
    use kaibiao_protocol::record::{LotRecord, RowOutcome};
    let Some(record) = world.project.record() else { return "none".to_owned() };
    let rows: Vec<String> = match &record.lots[&lot] {
        LotRecord::NotOpened { rule, bids } => {
            let names = bids.iter().map(|row| name_of(&row.bid.0)).collect::<Vec<_>>().join(" ");
            vec![format!("not opened by {rule}: {names}")]
        }
        LotRecord::Opened { rows } => rows
            .iter()
            .map(|row| {
                let says = match &row.outcome {
                    RowOutcome::Unsealed { sheet, by_backup } => {
                        format!("{}{}", sheet.price, if *by_backup { " by backup" } else { "" })
                    }
                    RowOutcome::Failed { cause, consequence } => {
                        format!("{} {}", wire(cause), wire(consequence))
                    }
                };
                format!("{} {} {says}", row.no, name_of(&row.bid.0))
            })
            .collect(),
    };
    rows.join("; ")
}

/// Bids of A, B and C on both lots, of D on the second only; the project receives.
pub(crate) const RECEIVING: &str = "
    -1d  agent   create               -> project_created
    -4h  intake  submit a1            -> bid_submitted
    -3h  intake  submit b1            -> bid_submitted
    -2h  intake  submit c1            -> bid_submitted
    -1h  intake  submit d1 lots=2     -> bid_submitted";

/// ... the bids are counted ...
pub(crate) const COUNTED: &str = "
    +1ms intake  count                -> receiving_closed";

/// ... the opening has started ...
pub(crate) const STARTED: &str = "
    +2ms timer   start                -> opening_started";

/// ... the window is open until +30m.
pub(crate) const ORDERED: &str = "
    +0   opening order 1              -> order_issued";

/// From nothing to an open window.
pub(crate) fn open_window() -> World {
    check(&[RECEIVING, COUNTED, STARTED, ORDERED].concat())
}

/// From nothing to a published and signed record at +6m: A and D unsealed by their tokens, B by its
/// backup, C with the wrong token.
pub(crate) fn signed_record() -> World {
    play(open_window(), UNSEALING)
}

const UNSEALING: &str = "
    +1m  opening keys a1              -> keys_accepted
    +1m  opening unsealed a1          -> bid_unsealed
    +1m  B       fail b1 wrong_token  -> bid_failed
    +1m  C       fail c1 wrong_token  -> bid_failed
    +2m  agent   admit b1             -> backup_admitted
    +2m  opening keys b1 backup       -> keys_accepted
    +2m  opening unsealed b1          -> bid_unsealed
    +3m  opening keys d1              -> keys_accepted
    +3m  opening unsealed d1          -> bid_unsealed
    +11m agent   close                -> window_closed grace_ended
    +11m opening publish              -> records_published
    +11m opening sign record          -> record_signed";
