//! Any order of commands and stamps, legal or not: what must hold, holds.

use kaibiao_engine::{
    invariants::{kb_6_texts, own_projection, room_projection},
    reaction::{Due, due, opening_todo},
    visibility::{Audience, RoomLog},
};
use kaibiao_protocol::{
    bid::FailureCause,
    command::ProjectCommand,
    deadline::MoveGround,
    event::ProjectEvent,
    moment::Moment,
    project::{BackupPolicy, StartMode},
    view::{ProjectStatus, RoomEvent},
};
use proptest::{prelude::*, test_runner::RngSeed};

use crate::world::{
    DEADLINE, World, agent, asker, bid, digest, evidence, facts, file, lot, organisation, sheets, spec,
    supplier, upload,
};

const SUPPLIERS: [&str; 5] = ["A", "B", "C", "D", "E"];

/// One command and its stamp, by numbers that any machine state can make sense of.
#[derive(Clone, Debug)]
struct Move {
    kind: u8,
    who: usize,
    which: u8,
    /// How far the clock goes on before it.
    step: u8,
    /// How far before the clock it was stamped.
    back: u8,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0..33_u8, 0..SUPPLIERS.len(), 0..3_u8, 0..8_u8, 0..8_u8)
        .prop_map(|(kind, who, which, step, back)| Move { kind, who, which, step, back });
    prop::collection::vec(one, 40..160)
}

/// Steps and delays of a clock, in microseconds: mostly small, sometimes minutes.
const STEPS: [i64; 8] = [0, 0, 1, 1_000, 1_000_000, 10_000_000, 60_000_000, 300_000_000];
const DELAYS: [i64; 8] = [0, 0, 0, 0, 1, 1_000, 60_000_000, 600_000_000];

struct Play {
    world: World,
    clock: i64,
    uploads: u32,
    published_prices: bool,
}

impl Play {
    fn new(settings: u8) -> Self {
        let mut spec = spec(2);
        if settings & 1 != 0 {
            spec.start = StartMode::OnAgentStart;
        }
        spec.backup = match settings >> 1 & 3 {
            0 => BackupPolicy::Never,
            1 => BackupPolicy::PlatformFaultOnly,
            _ => BackupPolicy::AnyFault,
        };
        spec.confirm_minutes = 5;
        let mut play = Play {
            world: World::default(),
            clock: DEADLINE.0 - 600_000_000,
            uploads: 0,
            published_prices: false,
        };
        play.ask("agent", ProjectCommand::CreateProject { spec }, 0);
        assert!(play.world.project.exists());
        play
    }

    fn ask(&mut self, who: &str, command: ProjectCommand, delay: i64) {
        let at = Moment(self.clock - delay);
        let before = self.world.project.clone();
        let refused = self.world.ask(&asker(who), at, &command).is_err();
        if refused {
            assert!(before == self.world.project, "a refusal changes nothing");
        }
        self.published_prices |= self.world.project.record().is_some();
    }

    /// What the platform would do by itself.
    fn react(&mut self) {
        let now = Moment(self.clock);
        for due in due(&self.world.project, now) {
            match due {
                Due::Settle => self.ask("intake", ProjectCommand::CloseReceiving, 0),
                Due::StartOpening => self.ask("timer", ProjectCommand::StartOpening { signature: None }, 0),
                Due::ElapseWindow => self.ask("timer", ProjectCommand::ElapseWindow, 0),
                Due::DeemConfirmed => self.ask("timer", ProjectCommand::DeemConfirmed, 0),
                Due::RecordOutage { .. } => panic!("no state alone tells of an outage"),
            }
        }
        let todo = opening_todo(&self.world.project);
        if todo.issue_order {
            self.order(1);
        }
        if let Some(bid) = todo.unseal.first() {
            self.ask("opening", ProjectCommand::ReportUnsealed { bid: *bid }, 0);
        }
        if todo.publish {
            self.publish();
        }
        if todo.sign {
            let signature = b"signature".to_vec();
            self.ask("opening", ProjectCommand::SignRecord { digest: digest("record"), signature }, 0);
        }
    }

    fn order(&mut self, epoch: u32) {
        let (order, signature) = (format!("order {epoch}"), b"signature".to_vec());
        let down_since = Some(Moment(self.clock - 30_000_000));
        self.ask("opening", ProjectCommand::IssueOrder { epoch, order, signature, down_since }, 0);
    }

    fn publish(&mut self) {
        let project = &self.world.project;
        let opened = project.bids_being_opened().into_iter().map(|bid| bid.facts.bid);
        let unsealed =
            opened.filter(|bid| project.bid_status(bid) == Some(kaibiao_protocol::view::BidStatus::Unsealed));
        let sheets = unsealed.map(|bid| (bid, sheets(project, &bid))).collect();
        self.ask("opening", ProjectCommand::PublishRecords { sheets }, 0);
    }

    fn step(&mut self, Move { kind, who, which, step, back }: &Move) {
        self.clock += STEPS[usize::from(*step)];
        let delay = DELAYS[usize::from(*back)];
        let name = SUPPLIERS[*who];
        let low = name.to_lowercase();
        let named = bid(&format!("{low}{which}"));
        // Mostly the bid that stands, else any, known or not.
        let standing = self.world.project.standing_bid_of(&organisation(name)).map(|bid| bid.facts.bid);
        let this = standing.filter(|_| *back % 4 != 3).unwrap_or(named);
        let epoch = self.world.project.order().map_or(1, |order| order.epoch);
        let cause = FailureCause::ALL[usize::from(*kind) % FailureCause::ALL.len()];
        match kind {
            0..=3 => {
                self.uploads += 1;
                let lots: &[u16] = if *who == 4 { &[2] } else { &[1, 2] };
                let mut facts = facts(&format!("{low}{which}"), name, lots);
                facts.upload = upload(&format!("{low}{which}"));
                self.ask("intake", ProjectCommand::SubmitBid { facts }, delay);
            }
            6 => self.ask(name, ProjectCommand::WithdrawBid { bid: this, reason: String::new() }, delay),
            7 => self.ask("intake", ProjectCommand::CloseReceiving, delay),
            8..=11 | 13 => {
                let command = ProjectCommand::AcceptKeys { bid: this, epoch, by_backup: *kind == 13 };
                self.ask("opening", command, delay);
            }
            14 | 15 => self.ask("opening", ProjectCommand::ReportUnsealed { bid: this }, delay),
            16 => {
                let evidence = evidence("seen");
                self.ask("opening", ProjectCommand::ReportFailure { bid: this, cause, evidence }, delay);
            }
            17 => {
                let (cause, evidence) = (FailureCause::WrongToken, evidence("seen"));
                self.ask(name, ProjectCommand::ReportFailure { bid: this, cause, evidence }, delay);
            }
            12 | 18 => {
                let (cause, evidence) = (FailureCause::DamagedStore, evidence("seen"));
                self.ask("opening", ProjectCommand::ReportFailure { bid: this, cause, evidence }, delay);
            }
            4 | 19 => {
                self.ask("agent", ProjectCommand::AdmitBackup { bid: this, reason: "因故".into() }, delay)
            }
            5 | 20 => {
                let header_digest = digest(&format!("{} header", crate::world::name_of(&this.0)));
                let command = ProjectCommand::RestoreBid { bid: this, file: file("again"), header_digest };
                self.ask("intake", command, delay);
            }
            21 => self.ask("agent", ProjectCommand::CloseWindow { reason: "因故".into() }, delay),
            22 => {
                self.ask("agent", ProjectCommand::ExtendWindow { minutes: 2, reason: "因故".into() }, delay)
            }
            23 => self.order(epoch + 1),
            24 => self.publish(),
            25 => self.ask("agent", ProjectCommand::StartOpening { signature: None }, delay),
            26 => {
                let signature = b"signature".to_vec();
                self.ask(name, ProjectCommand::ConfirmRecord { record: digest("record"), signature }, delay);
            }
            27 => {
                let kind = kaibiao_protocol::event::ObjectionKind::Objection;
                self.ask(
                    name,
                    ProjectCommand::Object { kind, lot: Some(lot(1)), text: "异议".into() },
                    delay,
                );
            }
            28 => {
                let command =
                    ProjectCommand::AnswerObjection { no: u32::from(*which) + 1, text: "答复".into() };
                self.ask("agent", command, delay);
            }
            29 => self.ask("agent", ProjectCommand::EndOpening, delay),
            30 => self.ask(name, ProjectCommand::CheckIn, delay),
            31 if *which == 0 => {
                let (from, until) = (Moment(self.clock - 90_000_000), Moment(self.clock));
                self.ask("timer", ProjectCommand::RecordOutage { from, until }, 0);
            }
            31 if *which == 1 => {
                let command = ProjectCommand::RecordClockStep { step_ms: 300, divergence_ms: 300 };
                self.ask("timer", command, 0);
            }
            31 => {
                let ground = if *back == 0 { MoveGround::PlatformFault } else { MoveGround::Correction };
                let deadline = Moment(self.clock + 10_000_000 * i64::from(*step));
                let reason = "因故".into();
                self.ask("agent", ProjectCommand::MoveDeadline { deadline, ground, reason }, delay);
            }
            _ => self.react(),
        }
    }
}

/// Every own and room frame sent so far, before the records are published, holds no price.
fn assert_barrier(world: &World) {
    for audience in Audience::ALL {
        let events = room_projection(audience, &world.history);
        let before = events.iter().take_while(|event| !matches!(event, RoomEvent::RecordsPublished { .. }));
        let texts: Vec<String> = before.map(|event| serde_json::to_string(event).unwrap()).collect();
        kb_6_texts(texts.iter().map(String::as_str), &["88888.88", "95.50"]).unwrap();
    }
    for name in SUPPLIERS {
        let own = own_projection(&organisation(name), &world.history);
        let texts: Vec<String> = own.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        kb_6_texts(texts.iter().map(String::as_str), &["88888.88", "95.50"]).unwrap();
    }
}

/// Before the count nobody sees anything but the project.
fn assert_nothing_counts(world: &World) {
    let mut log = RoomLog::new();
    for (at, event) in &world.history {
        if matches!(event, ProjectEvent::ReceivingClosed { .. }) {
            break;
        }
        let projected = log.push(event, *at);
        for seen in projected.staff.iter().chain(&projected.room) {
            let counts_nothing = matches!(
                seen,
                RoomEvent::ProjectPublished { .. }
                    | RoomEvent::DeadlineMoved { .. }
                    | RoomEvent::OutageRecorded { .. }
                    | RoomEvent::ClockStepped { .. }
            );
            assert!(counts_nothing, "{seen:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_260_302),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_of_commands_and_stamps_keeps_every_invariant(settings in 0..8_u8, moves in moves()) {
        let mut play = Play::new(settings);
        for one in &moves {
            play.step(one);
            // The cheap predicates after every step, the rest at the end.
            kaibiao_engine::invariants::kb_6_barrier(&play.world.history).unwrap();
        }
        play.world.assert_holds();
        assert_barrier(&play.world);
        assert_nothing_counts(&play.world);
    }

    /// Nobody does anything any more but the platform itself: whatever happened before, the opening
    /// comes to its published, signed and accepted record.
    #[test]
    fn from_any_state_the_platform_alone_brings_the_opening_to_its_record(
        settings in 0..8_u8,
        moves in moves(),
    ) {
        let mut play = Play::new(settings);
        moves.iter().for_each(|one| play.step(one));
        play.clock = play.clock.max(DEADLINE.0);
        for _ in 0..200 {
            play.clock += 60_000_000;
            play.react();
            let command = ProjectCommand::StartOpening { signature: None };
            let _ = play.world.ask(&agent(), Moment(play.clock), &command);
        }
        play.world.assert_holds();
        let status = play.world.project.status().unwrap();
        prop_assert!(matches!(status, ProjectStatus::Published | ProjectStatus::Ended), "{status:?}");
        prop_assert!(play.world.project.record_signature().is_some());
        prop_assert_eq!(due(&play.world.project, Moment(i64::MAX)), []);
    }
}

#[test]
fn the_moves_reach_every_phase_and_every_event() {
    use std::collections::BTreeSet;

    use proptest::{strategy::ValueTree as _, test_runner::TestRunner};

    let mut runner = TestRunner::deterministic();
    let mut events: BTreeSet<&'static str> = BTreeSet::new();
    for case in 0..1_200_u16 {
        let moves = moves().new_tree(&mut runner).unwrap().current();
        let mut play = Play::new((case % 8) as u8);
        moves.iter().for_each(|one| play.step(one));
        events.extend(play.world.history.iter().map(|(_, event)| event.kind()));
    }
    // A test of interleavings that never gets far tests little.
    for kind in [
        "bid_submitted",
        "bid_withdrawn",
        "deadline_moved",
        "outage_recorded",
        "clock_stepped",
        "receiving_closed",
        "order_issued",
        "keys_accepted",
        "bid_unsealed",
        "bid_failed",
        "backup_admitted",
        "bid_restored",
        "window_extended",
        "window_closed",
        "grace_ended",
        "records_published",
        "record_signed",
        "record_confirmed",
        "confirmations_deemed",
        "opening_ended",
    ] {
        assert!(events.contains(kind), "no play came to {kind}");
    }
    let _ = supplier("A");
}
