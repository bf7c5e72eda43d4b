//! The race at the deadline, in virtual time: finals whose stamps lie within 50 ms around it, by hundreds of
//! suppliers, with doubled uploads, repeats, a busy journal and a process that dies in the middle. Every one gets one
//! verdict, and it is what the stamp says.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use kaibiao_engine::{
    invariants::{history_holds, kb_2},
    keeper::{self, AskNo, Batch, Keeper, NewRecord},
    project::ProjectMachine,
    reaction::{
        judging::{self, Final, Input, Judging, Output},
        reception::{LeftFinal, Met, Reception},
        tickets::{TicketNo, Tickets},
    },
};
use kaibiao_protocol::{
    bid::{BidFacts, PartFacts},
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    event::ProjectEvent,
    ids::{BidId, CommandId, FileId, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::Reactor,
};

use crate::world::{DEADLINE, agent, digest, facts, platform, spec};

const SUPPLIERS: u64 = 400;

/// What a race is made of.
#[derive(Clone, Copy)]
struct Setting {
    seed: u64,
    finals: u64,
    /// Finals between stamp and verdict, and those of one supplier; who is told `busy` comes again.
    open_max: usize,
    own_max: usize,
    /// The process dies so many microseconds after the deadline, and starts again.
    dies_at_us: Option<i64>,
}

/// Runs a race and holds what came of it against the rule.
fn race(setting: Setting) -> Race {
    let mut race = Race::new(setting);
    race.run();
    race.judge();
    race
}

struct Draw(u64);

impl Draw {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// What happens at an instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Happens {
    /// The last byte of an upload comes in, perhaps again.
    Arrives(u64),
    /// A final's work is done.
    Works(u64, Work),
    /// The batch in flight is durable, or certainly is not.
    Appended,
    /// Somebody looks whether the count is due.
    Looks,
    Dies,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Work {
    Load,
    Sync,
    Row,
    Check,
    Seal,
    Wait,
}

/// A final being judged.
struct Running {
    core: Judging,
    ticket: TicketNo,
}

struct Race {
    setting: Setting,
    draw: Draw,
    now: i64,
    last_stamp: i64,
    order: u64,
    queue: BinaryHeap<Reverse<(i64, u64, Happens)>>,
    /// Which process; what belonged to one that died never happens.
    life: BTreeMap<u64, u64>,
    lives: u64,
    // The process.
    keeper: Keeper<ProjectMachine>,
    tickets: Tickets,
    reception: Reception<usize>,
    running: BTreeMap<u64, Running>,
    asks: BTreeMap<AskNo, u64>,
    in_flight: Option<Batch<ProjectMachine>>,
    drain: Option<TicketNo>,
    counting: Option<AskNo>,
    // The disk.
    journal: Vec<(NewRecord<ProjectEvent>, Digest)>,
    rows: BTreeMap<u64, Final>,
    // What the suppliers saw.
    stamps: BTreeMap<u64, Vec<i64>>,
    verdicts: BTreeMap<u64, Vec<u64>>,
    waiting: BTreeMap<u64, usize>,
    busy: u64,
}

fn supplier_of(upload: u64) -> OrganisationId {
    format!("s{}", upload % SUPPLIERS).parse().unwrap()
}

fn id_of(upload: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&upload.to_be_bytes());
    id
}

fn number_of(id: UploadId) -> u64 {
    u64::from_be_bytes(*id.0.first_chunk().unwrap())
}

impl Race {
    fn new(setting: Setting) -> Self {
        let mut race = Self {
            setting,
            draw: Draw(setting.seed),
            now: DEADLINE.0 - 86_400_000_000 * 30,
            last_stamp: 0,
            order: 0,
            queue: BinaryHeap::new(),
            life: BTreeMap::new(),
            lives: 0,
            keeper: Keeper::new(),
            tickets: Tickets::default(),
            reception: Reception::new(),
            running: BTreeMap::new(),
            asks: BTreeMap::new(),
            in_flight: None,
            drain: None,
            counting: None,
            journal: Vec::new(),
            rows: BTreeMap::new(),
            stamps: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            busy: 0,
        };
        race.ask(agent(), ProjectCommand::CreateProject { spec: spec(1) }, None);
        race.run();
        for upload in 0..setting.finals {
            let at = DEADLINE.0 - 25_000 + race.draw.below(50_000) as i64;
            race.at(at, Happens::Arrives(upload));
            // Sent twice: the connection broke, or somebody pressed twice; and asked again long after.
            if race.draw.below(5) == 0 {
                let later = race.draw.below(3_000) as i64;
                race.at(at + later, Happens::Arrives(upload));
            }
            if race.draw.below(10) == 0 {
                let later = race.draw.below(3_000_000) as i64;
                race.at(at + later, Happens::Arrives(upload));
            }
        }
        // The timer comes late, and more than once.
        for _ in 0..3 {
            let late = race.draw.below(78_000) as i64;
            race.at(DEADLINE.0 + late, Happens::Looks);
        }
        if let Some(after) = setting.dies_at_us {
            race.at(DEADLINE.0 + after, Happens::Dies);
        }
        race
    }

    fn at(&mut self, at: i64, what: Happens) {
        self.order += 1;
        // Works and appends die with their process.
        if matches!(what, Happens::Works(..) | Happens::Appended | Happens::Looks) {
            self.life.insert(self.order, self.lives);
        }
        self.queue.push(Reverse((at, self.order, what)));
    }

    fn after(&mut self, about_us: u64, what: Happens) {
        let takes = 1 + self.draw.below(2 * about_us) as i64;
        self.at(self.now + takes, what);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, order, what))) = self.queue.pop() {
            self.now = self.now.max(at);
            if self.life.remove(&order).is_some_and(|life| life != self.lives) {
                continue;
            }
            match what {
                Happens::Arrives(upload) => self.arrives(upload),
                Happens::Works(upload, work) => self.works(upload, work),
                Happens::Appended => self.appended(),
                Happens::Looks => self.looks(),
                Happens::Dies => self.dies(),
            }
        }
    }

    /// The stamp: never the same twice, never back.
    fn stamp(&mut self) -> i64 {
        self.last_stamp = (self.last_stamp + 1).max(self.now);
        self.last_stamp
    }

    fn arrives(&mut self, upload: u64) {
        let name = (project(), supplier_of(upload), UploadId(id_of(upload)));
        match self.reception.meet(&name) {
            Met::Running(hearers) => *hearers += 1,
            Met::Left(LeftFinal { .. }) => panic!("this journal never ends its writing"),
            Met::Nobody => {
                let (own_max, open_max) = (self.setting.own_max, self.setting.open_max);
                let Some(ticket) = self.tickets.take_for(&name.1, own_max, open_max) else {
                    // Told before the stamp: it comes again, and was never stamped.
                    self.busy += 1;
                    return self.after(2_000, Happens::Arrives(upload));
                };
                let at = self.stamp();
                self.stamps.entry(upload).or_default().push(at);
                let one = Final {
                    project: project(),
                    upload: name.2,
                    bid: BidId(id_of(upload)),
                    supplier: name.1.clone(),
                    file: FileId(id_of(upload)),
                    size_bytes: 10_000,
                    received_at: Moment(at),
                    contact: Blob::default(),
                    contact_digest: digest("contact"),
                };
                self.reception.begin(name, 1);
                self.begin(upload, Judging::new(one), ticket);
            }
        }
        *self.waiting.entry(upload).or_default() += 1;
    }

    fn begin(&mut self, upload: u64, core: Judging, ticket: TicketNo) {
        let mut out = Vec::new();
        core.begin(&mut out);
        self.running.insert(upload, Running { core, ticket });
        self.carry_out(upload, out);
    }

    fn works(&mut self, upload: u64, work: Work) {
        let Some(running) = self.running.get_mut(&upload) else { return };
        let input = match work {
            Work::Load => Input::Loaded(self.keeper.snapshot()),
            Work::Sync => Input::Synced(Ok(())),
            Work::Row if self.draw.below(50) == 0 => Input::RowWritten(Err(judging::RowFault::Busy)),
            Work::Row => {
                self.rows.insert(upload, running.core.one().clone());
                Input::RowWritten(Ok(()))
            }
            Work::Check => Input::Checked(Ok(Box::new(facts_of(running.core.one())))),
            Work::Seal => Input::Sealed(self.draw.below(50) != 0),
            Work::Wait => Input::Waited,
        };
        let mut out = Vec::new();
        running.core.handle(input, false, &mut out);
        self.carry_out(upload, out);
    }

    fn carry_out(&mut self, upload: u64, out: Vec<Output>) {
        for output in out {
            match output {
                Output::LoadProject => self.after(200, Happens::Works(upload, Work::Load)),
                Output::SyncBytes => self.after(3_000, Happens::Works(upload, Work::Sync)),
                Output::WriteRow => self.after(3_000, Happens::Works(upload, Work::Row)),
                Output::Check => self.after(5_000, Happens::Works(upload, Work::Check)),
                Output::Seal => self.after(1_000, Happens::Works(upload, Work::Seal)),
                Output::Wait { ms } => {
                    self.at(self.now + ms * 1_000, Happens::Works(upload, Work::Wait));
                }
                Output::Ask { asked, command, .. } => {
                    let running = &self.running[&upload];
                    let id = command_id(&running.core.command_pieces(asked));
                    let at = running.core.one().received_at;
                    self.ask_as(judging::asker(), *command, Some(id), at, Some(upload));
                }
                Output::DropRow => {
                    self.rows.remove(&upload);
                }
                Output::DeleteFile => {}
                Output::SettleTicket => {
                    let ticket = self.running[&upload].ticket;
                    self.tickets.settle(ticket);
                    self.count_if_drained();
                }
                Output::Recorded { seq } => {
                    let running = self.running.remove(&upload).unwrap();
                    let hearers = self.reception.end(&running.core.one().name()).unwrap();
                    self.verdicts.entry(upload).or_default().extend(std::iter::repeat_n(seq, hearers));
                }
                Output::Refused(refusal) => panic!("{upload}: nothing records {refusal:?}"),
                Output::Left => panic!("{upload} was left without a verdict"),
            }
        }
    }

    fn looks(&mut self) {
        if self.drain.is_none() {
            self.drain = Some(self.tickets.last());
            self.count_if_drained();
        }
    }

    fn count_if_drained(&mut self) {
        if self.counting.is_none() && self.drain.is_some_and(|until| self.tickets.is_drained(until)) {
            let at = Moment(self.stamp());
            let asker = platform(Reactor::Intake);
            self.counting = Some(self.ask_as(asker, ProjectCommand::CloseReceiving, None, at, None));
        }
    }

    fn ask(&mut self, asker: kaibiao_protocol::role::Asker, command: ProjectCommand, upload: Option<u64>) {
        let at = Moment(self.stamp());
        self.ask_as(asker, command, None, at, upload);
    }

    fn ask_as(
        &mut self,
        asker: kaibiao_protocol::role::Asker,
        command: ProjectCommand,
        command_id: Option<CommandId>,
        at: Moment,
        upload: Option<u64>,
    ) -> AskNo {
        self.order += 1;
        let no = AskNo(self.order);
        if let Some(upload) = upload {
            self.asks.insert(no, upload);
        }
        self.keep(keeper::Input::Ask(keeper::Ask { no, command_id, asker, at, command, side: Vec::new() }));
        no
    }

    fn keep(&mut self, input: keeper::Input<ProjectMachine>) {
        let mut out = Vec::new();
        self.keeper.handle(input, &mut out);
        for output in out {
            match output {
                keeper::Output::Append(batch) => {
                    self.in_flight = Some(batch);
                    self.after(1_500, Happens::Appended);
                }
                keeper::Output::Answer { no, answer } => self.answered(no, answer),
                keeper::Output::Publish { .. } => {}
                keeper::Output::Stopped => self.replay(),
            }
        }
    }

    fn appended(&mut self) {
        let batch = self.in_flight.take().expect("an append that ends was begun");
        // Now and then the journal will not take a batch; it is certainly not written.
        if self.lives > 0 && self.draw.below(40) == 0 {
            return self.keep(keeper::Input::AppendRefused);
        }
        let hashes = self.write(batch);
        let last_seq = self.journal.len() as u64;
        self.keep(keeper::Input::Appended { last_seq, hashes });
    }

    fn write(&mut self, batch: Batch<ProjectMachine>) -> Vec<Digest> {
        assert_eq!(batch.expected_seq, self.journal.len() as u64);
        let mut hashes = Vec::new();
        for record in batch.records {
            let hash = digest(&format!("hash {}", self.journal.len() + 1));
            if let ProjectEvent::BidSubmitted { facts: BidFacts { upload, .. }, .. }
            | ProjectEvent::UploadRefused { upload, .. } = &record.event
            {
                // In the same transaction.
                self.rows.remove(&number_of(*upload));
            }
            self.journal.push((record, hash));
            hashes.push(hash);
        }
        hashes
    }

    fn answered(&mut self, no: AskNo, answer: Result<keeper::Done, Refusal>) {
        if self.counting == Some(no) {
            match answer {
                Ok(_) => {}
                Err(refusal) if refusal.code == RefusalCode::Busy => {
                    self.counting = None;
                    self.drain = None;
                    self.at(self.now + 100_000, Happens::Looks);
                }
                Err(refusal) => panic!("the count was refused: {refusal:?}"),
            }
            return;
        }
        let Some(upload) = self.asks.remove(&no) else { return };
        let mut out = Vec::new();
        let running = self.running.get_mut(&upload).expect("who asked waits");
        running.core.handle(Input::Answered(answer), false, &mut out);
        self.carry_out(upload, out);
    }

    fn replay(&mut self) {
        self.keeper = Keeper::new();
        for (at, (record, hash)) in self.journal.iter().enumerate() {
            let NewRecord { at: stamp, event, command_id } = record.clone();
            self.keeper.replay(at as u64 + 1, stamp, event, command_id, *hash);
        }
    }

    /// Everything in memory is gone; what was being written may be there or not. Who had no verdict asks again.
    fn dies(&mut self) {
        self.lives += 1;
        if let Some(batch) = self.in_flight.take()
            && self.draw.below(2) == 0
        {
            self.write(batch);
        }
        self.replay();
        self.asks.clear();
        self.drain = None;
        self.counting = None;
        self.tickets = Tickets::default();
        self.reception = Reception::new();
        let lost: Vec<u64> = std::mem::take(&mut self.running).into_keys().collect();
        for upload in lost {
            let told = self.verdicts.get(&upload).map_or(0, Vec::len);
            self.waiting.insert(upload, told);
            let later = 20_000 + self.draw.below(100_000) as i64;
            self.at(self.now + later, Happens::Arrives(upload));
        }
        // Tickets before wakes.
        for (upload, one) in self.rows.clone() {
            let ticket = self.tickets.take_for(&one.supplier, usize::MAX, usize::MAX).unwrap();
            self.reception.begin(one.name(), 0);
            self.begin(upload, Judging::resumed(one, true, Moment(self.now)), ticket);
        }
        let starts = self.draw.below(10_000) as i64;
        if self.now + starts >= DEADLINE.0 {
            self.at(self.now + starts, Happens::Looks);
        } else {
            self.at(DEADLINE.0, Happens::Looks);
        }
    }

    /// What came of it, held against the rule.
    fn judge(&self) {
        let history: Vec<(Moment, ProjectEvent)> =
            self.journal.iter().map(|(record, _)| (record.at, record.event.clone())).collect();
        history_holds(&history).unwrap();
        kb_2(self.keeper.committed(), &history).unwrap();
        let mut records: BTreeMap<u64, (u64, Moment, Option<RefusalCode>)> = BTreeMap::new();
        let mut latest: BTreeMap<OrganisationId, (Moment, BidId)> = BTreeMap::new();
        let mut counted = 0;
        for (seq, (at, event)) in (1..).zip(&history) {
            let (upload, record) = match event {
                ProjectEvent::BidSubmitted { facts, received_at, .. } => {
                    assert_eq!(counted, 0, "a bid was taken in after the count");
                    let own = latest.entry(facts.supplier.clone()).or_insert((*received_at, facts.bid));
                    *own = (*own).max((*received_at, facts.bid));
                    (facts.upload, (seq, *received_at, None))
                }
                ProjectEvent::UploadRefused { upload, received_at, code, .. } => {
                    (*upload, (seq, *received_at, Some(*code)))
                }
                ProjectEvent::ReceivingClosed { lots } => {
                    counted += 1;
                    assert!(*at >= DEADLINE);
                    let bids: Vec<u32> = lots.values().map(|count| count.bids).collect();
                    assert_eq!(bids, [latest.len() as u32], "one bid of each supplier stands");
                    continue;
                }
                _ => continue,
            };
            assert_eq!(records.insert(number_of(upload), record), None, "{upload} was judged twice");
        }
        assert_eq!(counted, 1);
        for (supplier, (_, bid)) in &latest {
            let standing = self.keeper.committed().standing_bid_of(supplier).unwrap();
            assert_eq!(standing.facts.bid, *bid, "of two the later stamp stands");
        }
        for upload in 0..self.setting.finals {
            let (seq, at, code) = records.get(&upload).expect("every final has its record");
            assert!(self.stamps[&upload].contains(&at.0), "{upload} was recorded under a stamp it never had");
            let rule = (*at >= DEADLINE).then_some(RefusalCode::PastDeadline);
            assert_eq!(*code, rule, "{upload}, stamped {at:?}");
            let told = &self.verdicts[&upload];
            assert!(told.iter().all(|told| told == seq), "{upload} was told another verdict");
            assert!(told.len() >= self.waiting[&upload], "somebody hears nothing of {upload}");
        }
        assert!(self.rows.is_empty() && self.running.is_empty() && self.reception.is_empty());
        assert_eq!(self.tickets.open(), 0);
    }
}

fn project() -> ProjectId {
    spec(1).id
}

fn facts_of(one: &Final) -> BidFacts {
    let mut all = facts("x", one.supplier.as_str(), &[1]);
    all.bid = one.bid;
    all.upload = one.upload;
    all.file = one.file;
    let parts = std::mem::take(&mut all.parts).into_iter().enumerate();
    let parts = parts.map(|(no, part)| {
        let mut ciphertext = [no as u8; 32];
        ciphertext[..16].copy_from_slice(&one.upload.0);
        PartFacts { ciphertext: Digest(ciphertext), ..part }
    });
    all.parts = parts.collect();
    all
}

fn command_id(pieces: &[&[u8]]) -> CommandId {
    let mut id = [0; 16];
    for (half, start) in [0xcbf2_9ce4_8422_2325_u64, 0x8422_2325_cbf2_9ce4].into_iter().enumerate() {
        let mut hash = start;
        for piece in pieces {
            for byte in piece.iter().chain(&[0]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        id[half * 8..half * 8 + 8].copy_from_slice(&hash.to_be_bytes());
    }
    CommandId(id)
}

const WIDE: Setting =
    Setting { seed: 1, finals: 1_000, open_max: usize::MAX, own_max: usize::MAX, dies_at_us: None };

#[test]
fn a_hundred_thousand_finals_around_the_deadline_get_the_verdict_of_their_stamp() {
    let race = race(Setting { finals: 100_000, ..WIDE });
    // Both sides of the deadline were reached.
    let taken = race.keeper.committed().lots().unwrap().values().next().unwrap().bids;
    assert_eq!(u64::from(taken), SUPPLIERS);
}

#[test]
fn whoever_is_told_busy_was_never_stamped_and_gets_in_or_is_late_by_a_later_stamp() {
    for seed in 1..=8 {
        let race = race(Setting { seed, finals: 10_000, open_max: 2_048, own_max: 4, ..WIDE });
        assert!(race.busy > 0, "the bounds were never reached");
        assert!(
            race.stamps
                .values()
                .all(|stamps| stamps.len() == 1 || stamps.windows(2).all(|two| two[0] < two[1]))
        );
    }
}

#[test]
fn a_process_that_dies_in_the_race_judges_what_it_staged_by_the_old_stamps() {
    for seed in 1..=40 {
        let dies = -30_000 + 2_500 * (seed as i64);
        race(Setting { seed, finals: 2_000, dies_at_us: Some(dies), ..WIDE });
    }
}

#[test]
fn every_order_of_work_comes_to_the_same_verdicts() {
    for seed in 100..200 {
        race(Setting { seed, finals: 500, ..WIDE });
    }
}

/// The race can fail: each wrong of the intake shows in it.
#[cfg(feature = "planted")]
#[test]
fn a_wrong_planted_in_the_intake_shows_in_the_race() {
    use kaibiao_engine::planted::{Planted, with};
    let dies = Setting { finals: 2_000, dies_at_us: Some(5_000), ..WIDE };
    let long = Setting { finals: 20_000, ..WIDE };
    for (wrong, setting) in [
        (Planted::LateByOne, long),
        (Planted::CountBeforeSettling, long),
        (Planted::TicketSettledEarly, long),
        (Planted::EarlierStampWins, long),
        (Planted::JudgedTwice, long),
        (Planted::BusyAfterStamp, long),
        (Planted::StampedAnew, dies),
        (Planted::LastEventLost, long),
    ] {
        let found = (1..=10).find(|seed| {
            let setting = Setting { seed: *seed, ..setting };
            std::panic::catch_unwind(|| with(wrong, || race(setting))).is_err()
        });
        assert!(found.is_some(), "{} was not found", wrong.name());
    }
}
