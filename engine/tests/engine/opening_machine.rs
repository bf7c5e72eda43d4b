//! The machine of an opening, as tables in text: what it is told, and after `=>` what it has a shell
//! do. Lines with `->` are commands to the project, as everywhere ([`crate::script`]).

use std::collections::BTreeMap;

use kaibiao_engine::{
    keeper::Done,
    reaction::opening::{
        ASKER, Ended, EnvelopeEnd, EnvelopeNo, Failure, KeysOffered, Later, Opening, OpeningInput,
        OpeningOutput, OpeningStep, Outage, order_facts,
    },
    refusals::refuse,
    rules::RulePack,
};
use kaibiao_protocol::{
    command::ProjectCommand,
    refusal::{Refusal, RefusalCode},
};

use crate::{
    script::{COUNTED, RECEIVING, STARTED, check, moment, play, written},
    world::{World, asker, bid, cause, name_of, sheets, wire},
};

/// A project and the machine that opens it.
struct Room {
    world: World,
    machine: Opening,
}

impl Room {
    /// The opening has started, and its machine has not looked yet.
    fn started() -> Self {
        Self::around(check(&[RECEIVING, COUNTED, STARTED].concat()))
    }

    fn around(world: World) -> Self {
        Self { world, machine: Opening::default() }
    }

    /// The machine dies, and another takes its place.
    fn restart(self) -> Self {
        Self::around(self.world)
    }

    #[track_caller]
    fn play(mut self, script: &str) -> Self {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let Some((told, expected)) = line.split_once("=>") else {
                self.world = play(self.world, line);
                continue;
            };
            let words: Vec<&str> = told.split_whitespace().collect();
            let [time, told @ ..] = words.as_slice() else { panic!("{line}: time, input") };
            let input = self.input(told);
            let mut out = Vec::new();
            let seq = self.world.history.len() as u64;
            self.machine.handle(input, &self.world.project, seq, moment(time), &mut out);
            let found = out.iter().map(shown).collect::<Vec<_>>().join(", ");
            assert_eq!(if found.is_empty() { "nothing" } else { &found }, expected.trim(), "{line}");
        }
        self
    }

    fn input(&self, words: &[&str]) -> OpeningInput {
        let sheets_of = |name: &str| sheets(&self.world.project, &bid(name));
        match words {
            ["look"] => OpeningInput::Look,
            ["recorded"] => OpeningInput::Recorded,
            ["beat"] => OpeningInput::Beat,
            ["later", "look"] => OpeningInput::Later(Later::Look),
            ["later", name] => OpeningInput::Later(Later::Report(bid(name))),
            ["ordered", "!busy"] => OpeningInput::OrderEnded(Err(refused("busy"))),
            ["ordered", epoch] => OpeningInput::OrderEnded(Ok(epoch.parse().unwrap())),
            ["keys", no, name, who, at, epoch] => OpeningInput::KeysArrived(KeysOffered {
                no: number(no),
                bid: bid(name),
                epoch: epoch.parse().unwrap(),
                by_backup: false,
                asker: asker(who),
                at: moment(at),
            }),
            ["opened", no, end] => OpeningInput::EnvelopeOpened {
                no: number(no),
                end: match *end {
                    "fits" => EnvelopeEnd::Fits,
                    "other-order" => EnvelopeEnd::NotForThisOrder,
                    "no-room" => EnvelopeEnd::NoRoom,
                    failed => EnvelopeEnd::Failed(Failure::new(cause(failed), "seen")),
                },
            },
            ["kept", name, end] => OpeningInput::KeptOpened { bid: bid(name), end: ended(end, ()) },
            ["checked", name, end] => {
                OpeningInput::Checked { bid: bid(name), end: ended(end, sheets_of(name)) }
            }
            ["read", name, end] => {
                OpeningInput::SheetsRead { bid: bid(name), end: ended(end, sheets_of(name)) }
            }
            ["told", "accept", no, told] => {
                OpeningInput::Told { step: OpeningStep::Accept(number(no)), told: answer(told) }
            }
            ["told", "publish", told] => {
                OpeningInput::Told { step: OpeningStep::Publish, told: answer(told) }
            }
            ["told", "sign", told] => OpeningInput::Told { step: OpeningStep::Sign, told: answer(told) },
            ["told", name, told] => {
                OpeningInput::Told { step: OpeningStep::Report(bid(name)), told: answer(told) }
            }
            other => panic!("{other:?} is no input"),
        }
    }
}

fn number(no: &str) -> EnvelopeNo {
    EnvelopeNo(no.parse().unwrap())
}

fn refused(code: &str) -> Refusal {
    let code = *RefusalCode::ALL.iter().find(|known| known.as_str() == code).expect("a refusal code");
    refuse(code, RulePack::default())
}

fn answer(told: &str) -> Result<Done, Refusal> {
    match told.strip_prefix('!') {
        None => Ok(Done { at: moment("+0"), first_seq: 1, hashes: Vec::new() }),
        Some(code) => Err(refused(code)),
    }
}

fn ended<T>(word: &str, whole: T) -> Ended<T> {
    match word {
        "whole" => Ended::Whole(whole),
        "lost" => Ended::Lost,
        failed => Ended::Failed(Failure::new(cause(failed), "seen")),
    }
}

fn shown(output: &OpeningOutput) -> String {
    let name = |bid: &kaibiao_protocol::ids::BidId| name_of(&bid.0);
    match output {
        OpeningOutput::IssueOrder { outage: Outage::None } => "order".to_owned(),
        OpeningOutput::IssueOrder { outage: Outage::Since(at) } => {
            format!("order for the time since {}", written(*at))
        }
        OpeningOutput::IssueOrder { outage: Outage::AsNoted } => "order for the time as noted".to_owned(),
        OpeningOutput::OpenEnvelope { no, bid, parts } => {
            format!("open {} of {} ({} parts)", no.0, name(bid), parts.len())
        }
        OpeningOutput::OpenKept { bid, .. } => format!("open kept {}", name(bid)),
        OpeningOutput::Check { bid } => format!("check {}", name(bid)),
        OpeningOutput::ReadSheets { bid, .. } => format!("read {}", name(bid)),
        OpeningOutput::Ask(ask) => {
            let what = match &ask.command {
                ProjectCommand::AcceptKeys { bid, epoch, .. } => {
                    format!("accept {} under {epoch}", name(bid))
                }
                ProjectCommand::ReportUnsealed { bid } => format!("unsealed {}", name(bid)),
                ProjectCommand::ReportFailure { bid, cause, .. } => {
                    format!("fail {} {}", name(bid), wire(cause))
                }
                ProjectCommand::PublishRecords { sheets } => {
                    let names: Vec<String> = sheets.keys().map(name).collect();
                    format!("publish {}", names.join(" "))
                }
                other => panic!("an opening does not ask {other:?}"),
            };
            let at = ask.at.map(|at| format!(" at {}", written(at))).unwrap_or_default();
            let after = if ask.after_envelopes { " after envelopes" } else { "" };
            format!("ask {what}{at}{after} #{}", ask.name.seq)
        }
        OpeningOutput::Sign(name) => format!("sign #{}", name.seq),
        OpeningOutput::Answer { no, answer: Ok(_) } => format!("answer {} yes", no.0),
        OpeningOutput::Answer { no, answer: Err(refusal) } => {
            format!("answer {} !{}", no.0, refusal.code.as_str())
        }
        OpeningOutput::Ready => "ready".to_owned(),
        OpeningOutput::NoteServed(at) => format!("served {}", written(*at)),
        OpeningOutput::NoteFailure { .. } => "note".to_owned(),
        OpeningOutput::After { ms, what: Later::Look } => format!("look in {ms}"),
        OpeningOutput::After { ms, what: Later::Report(bid) } => format!("tell {} in {ms}", name(bid)),
        OpeningOutput::End => "end".to_owned(),
    }
}

/// A is unsealed, its sheets are in the machine; B and C have failed for good.
const ONE_UNSEALED: &str = "
    +1m  keys 1 a1 A +1m 1              => open 1 of a1 (3 parts)
    +1m  opened 1 fits                  => ask accept a1 under 1 at +1m #8
    +1m  opening keys a1                -> keys_accepted
    +1m  told accept 1 yes              => answer 1 yes, check a1, look in 2
    +1m  checked a1 whole               => ask unsealed a1 #8
    +1m  opening unsealed a1            -> bid_unsealed";

const FIRST_ORDER: &str = "
    +0   look                           => order
    +0   opening order 1                -> order_issued
    +0   ordered 1                      => ready, look in 2
    +0   later look                     => nothing";

#[test]
fn the_first_order_opens_the_room_and_a_refused_one_is_tried_again() {
    Room::started().play(
        "+0   look                           => order
         +0   look                           => nothing
         +0   ordered !busy                  => look in 100
         +1s  later look                     => order
         +1s  opening order 1                -> order_issued
         +1s  recorded                       => look in 2
         +1s  recorded                       => nothing
         +1s  ordered 1                      => ready
         +1s  later look                     => nothing
         +3s  beat                           => served +3s",
    );
}

#[test]
fn keys_that_come_before_the_issue_of_their_order_is_answered_wait_for_it() {
    Room::started().play(
        "+0   look                           => order
         +0   keys 1 a1 A +0 1               => answer 1 !not_started
         +0   opening order 1                -> order_issued
         +0   keys 2 a1 A +0 1               => nothing
         +1ms ordered 1                      => ready, look in 2, open 2 of a1 (3 parts)",
    );
}

#[test]
fn keys_are_kept_before_they_are_answered_and_checked_after() {
    Room::started().play(FIRST_ORDER).play(ONE_UNSEALED).play(
        "+1m  told a1 yes                    => nothing
         +1m  later look                     => nothing",
    );
}

#[test]
fn keys_are_taken_from_their_own_supplier_under_the_present_order_and_once_at_a_time() {
    Room::started().play(FIRST_ORDER).play(
        "+1m  keys 1 a1 B +1m 1              => answer 1 !no_such_bid
         +1m  keys 2 x1 A +1m 1              => answer 2 !no_such_bid
         +1m  keys 3 a1 A +1m 2              => answer 3 !order_superseded
         +1m  keys 4 a1 A +30m 1             => answer 4 !window_closed
         +1m  keys 5 a1 A +1m 1              => open 5 of a1 (3 parts)
         +1m  keys 6 a1 A +1m 1              => answer 6 !busy
         +1m  opened 5 no-room               => answer 5 !busy, look in 2
         +1m  keys 7 a1 A +2m 1              => open 7 of a1 (3 parts)
         +2m  opened 7 other-order           => answer 7 !envelope_invalid
         +2m  keys 8 a1 A +3m 1              => open 8 of a1 (3 parts)
         +3m  opened 8 fits                  => ask accept a1 under 1 at +3m #8
         +3m  told accept 8 !order_superseded => answer 8 !order_superseded",
    );
}

#[test]
fn a_wrong_key_is_recorded_by_the_stamp_of_its_arrival_before_it_is_answered() {
    Room::started().play(FIRST_ORDER).play(
        "+1m  keys 1 a1 A +1m 1              => open 1 of a1 (3 parts)
         +2m  opened 1 wrong_key             => note, ask fail a1 wrong_key at +1m #8
         +2m  told a1 !busy                  => tell a1 in 100
         +2m  later a1                       => ask fail a1 wrong_key at +1m #8
         +2m  told a1 yes                    => answer 1 !wrong_key, look in 2
         +3m  keys 2 b1 B +3m 1              => open 2 of b1 (3 parts)
         +3m  opened 2 damaged_store         => note, ask fail b1 damaged_store at +3m #8
         +3m  told b1 !window_closed         => answer 2 !window_closed",
    );
}

#[test]
fn work_that_died_is_the_platforms_fault() {
    Room::started().play(FIRST_ORDER).play(
        "+1m  keys 1 a1 A +1m 1              => open 1 of a1 (3 parts)
         +1m  opened 1 fits                  => ask accept a1 under 1 at +1m #8
         +1m  opening keys a1                -> keys_accepted
         +1m  told accept 1 yes              => answer 1 yes, check a1, look in 2
         +1m  checked a1 lost                => note, ask fail a1 platform_fault #8
         +1m  opening fail a1 platform_fault -> bid_failed
         +1m  told a1 yes                    => nothing
         +1m  later look                     => nothing",
    );
}

#[test]
fn a_new_machine_orders_a_key_of_its_own_and_takes_up_what_was_kept() {
    let room = Room::started().play(FIRST_ORDER).play(ONE_UNSEALED).play(
        "+1m  told a1 yes                    => nothing
         +2m  keys 2 b1 B +2m 1              => open 2 of b1 (3 parts)
         +2m  opened 2 fits                  => ask accept b1 under 1 at +2m #10
         +2m  opening keys b1                -> keys_accepted",
    );
    room.restart().play(
        "+5m  look                           => order for the time as noted, open kept b1, read a1
         +5m  look                           => nothing
         +5m  keys 1 c1 C +5m 1              => nothing
         +5m  kept b1 whole                  => check b1
         +5m  opening order 2 down=+2m       -> order_issued
         +5m  ordered 2                      => ready, look in 2, answer 1 !order_superseded
         +5m  read a1 whole                  => nothing
         +5m  checked b1 whole               => ask unsealed b1 #11
         +5m  opening unsealed b1            -> bid_unsealed
         +5m  told b1 yes                    => nothing
         +6m  keys 2 c1 C +6m 2              => open 2 of c1 (3 parts)",
    );
}

#[test]
fn nothing_is_published_before_the_sheets_of_every_unsealed_bid_are_here() {
    let rest = "
        +2m  C       fail c1 wrong_token    -> bid_failed
        +2m  B       fail b1 wrong_token    -> bid_failed
        +2m  D       fail d1 wrong_token    -> bid_failed";
    let room = Room::started().play(FIRST_ORDER).play(ONE_UNSEALED).play(rest).play(
        "+1m  told a1 yes                    => nothing
         +30m timer   elapse                 -> window_closed grace_ended",
    );
    // The machine dies with the sheets; the next one reads them again.
    let room = room.restart().play(
        "+31m look                           => served +31m, ready, read a1
         +31m recorded                       => look in 2
         +31m later look                     => nothing
         +31m read a1 whole                  => look in 2
         +31m later look                     => ask publish a1 after envelopes #15
         +31m look                           => nothing
         +31m told publish !busy             => look in 100
         +31m later look                     => ask publish a1 after envelopes #15
         +31m opening publish                -> records_published
         +31m told publish yes               => look in 2
         +31m later look                     => sign #16
         +31m look                           => nothing
         +31m opening sign record            -> record_signed
         +31m told sign yes                  => look in 2
         +31m later look                     => end
         +31m look                           => nothing",
    );
    assert_eq!(room.world.history.len(), 17);
}

#[test]
fn sheets_that_can_no_longer_be_read_are_a_failure_and_not_a_hole_in_the_record() {
    let room = Room::started().play(FIRST_ORDER).play(ONE_UNSEALED);
    room.restart().play(
        "+2m  look                           => order for the time as noted, read a1
         +2m  read a1 damaged_store          => note, ask fail a1 damaged_store #10
         +2m  opening fail a1 damaged_store  -> bid_failed
         +2m  told a1 yes                    => look in 2",
    );
}

#[test]
fn a_machine_that_needed_no_order_gives_back_no_time_in_which_it_was_there() {
    let room = Room::started().play(FIRST_ORDER).play(ONE_UNSEALED).play(
        "+1m  told a1 yes                    => nothing
         +2m  opening keys b1                -> keys_accepted
         +2m  opening unsealed b1            -> bid_unsealed
         +2m  opening keys c1                -> keys_accepted
         +2m  opening unsealed c1            -> bid_unsealed
         +2m  opening keys d1                -> keys_accepted",
    );
    // Nobody's keys are awaited: no order is needed. Later the one bid in hand fails in a way that its
    // supplier can mend, and only the moment since then was not served.
    room.restart().play(
        "+3m  look                           => served +3m, ready, open kept d1, read a1, read b1, read c1
         +20m beat                           => served +20m
         +21m kept d1 whole                  => check d1
         +22m checked d1 platform_fault      => note, ask fail d1 platform_fault #15
         +22m opening fail d1 platform_fault -> bid_failed
         +22m told d1 yes                    => look in 2
         +22m later look                     => order for the time since +22m",
    );
}

#[test]
fn where_nothing_is_opened_no_order_is_issued_and_the_record_follows() {
    let world = check(
        "-1d  agent   create                 -> project_created
         -4h  intake  submit a1              -> bid_submitted
         +1ms intake  count                  -> receiving_closed",
    );
    Room::around(world).play(
        "+1s  look                           => served +1s, ready, ask publish  after envelopes #3
         +1s  opening publish                -> records_published
         +1s  told publish yes               => look in 2
         +1s  later look                     => sign #4",
    );
}

#[test]
fn an_order_says_what_the_engine_will_decide() {
    let world = check(&[RECEIVING, COUNTED, STARTED].concat());
    let facts = order_facts(&world.project, moment("+0"), None).unwrap();
    assert_eq!((facts.epoch, facts.window_closes_at, facts.lots.len()), (1, moment("+30m"), 2));
    let world = play(world, "+0 opening order 1 -> order_issued");
    let facts = order_facts(&world.project, moment("+10m"), Some(moment("+5m"))).unwrap();
    assert_eq!((facts.epoch, facts.window_closes_at), (2, moment("+35m")));
}

#[test]
fn what_is_asked_for_another_reason_has_another_name() {
    let mut room = Room::started().play(FIRST_ORDER).play(ONE_UNSEALED);
    let id = room.world.project.spec().unwrap().id.clone();
    let mut names = BTreeMap::new();
    let ends = [("platform_fault", "+1m"), ("damaged_store", "+2m")];
    for (end, at) in ends {
        let mut out = Vec::new();
        let input = room.input(&["checked", "a1", end]);
        room.machine.handle(input, &room.world.project, 10, moment(at), &mut out);
        for output in out {
            if let OpeningOutput::Ask(ask) = output {
                assert!(matches!(ASKER, kaibiao_protocol::role::Asker::Platform { .. }));
                names.insert(ask.name.pieces(&id), ask.command);
            }
        }
    }
    assert_eq!(names.len(), ends.len());
}
