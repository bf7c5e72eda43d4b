//! The kernel of the simulated world with the plainest of people: everybody hands in, everybody unseals.

use std::collections::BTreeMap;

use kaibiao_protocol::{
    bid::PartName,
    event::ProjectEvent,
    frame::{Answer, Ask, Notice, Response, StreamName},
    ids::{BidId, ProjectId, UploadId},
    view::{OwnEvent, RoomEvent, UploadVerdict, ViewEvent},
};
use kaibiao_simulator::world::{
    fault::{CrashKind, Fault},
    kernel::{End, Kernel, Setup, Step},
    schedule::Instant,
    stock::{Make, SUPPLIERS, StockBid, envelope, project_id, project_spec, stock},
    wire::{Bytes, ConnId, Purpose, ToClient, ToServer},
};

const MINUTE_US: u64 = 60_000_000;

/// One supplier who does what it should, and tries again until it is done.
struct Plain {
    number: usize,
    bid: &'static StockBid,
    conn: ConnId,
    upload: UploadId,
    asks: u64,
    own_seq: u64,
    room_seq: u64,
    received: Option<BidId>,
    asked: Option<(BidId, Vec<PartName>)>,
    order: Option<(u32, String)>,
    tried: Option<u32>,
    kept: bool,
    published: bool,
}

struct Crowd {
    kernel: Kernel,
    project: ProjectId,
    people: Vec<Plain>,
    by_conn: BTreeMap<ConnId, usize>,
    starts: u32,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let project = project_spec(0, Kernel::time_of(Instant(10 * MINUTE_US)));
        let setup = Setup { seed, projects: vec![project], latency_us: 8_000, pipe_deliveries_max: 16 };
        let mut kernel = Kernel::new(setup);
        let mut by_conn = BTreeMap::new();
        let people = (0..SUPPLIERS).map(|number| {
            let conn = kernel.connect(stock().supplier(number).clone());
            by_conn.insert(conn, number);
            let mut upload = [number as u8; 16];
            upload[0] = 0xaa;
            kernel.wake_at(Instant((number as u64 + 1) * MINUTE_US), number as u64);
            Plain {
                number,
                bid: stock().bid(0, number, Make::Version(0)),
                conn,
                upload: UploadId(upload),
                asks: 0,
                own_seq: 0,
                room_seq: 0,
                received: None,
                asked: None,
                order: None,
                tried: None,
                kept: false,
                published: false,
            }
        });
        let people = people.collect();
        let mut crowd = Self { kernel, project: project_id(0), people, by_conn, starts: 1 };
        (0..SUPPLIERS).for_each(|number| crowd.subscribe(number));
        crowd
    }

    fn ask(&mut self, number: usize, ask: Ask) {
        let one = &mut self.people[number];
        one.asks += 1;
        self.kernel.send(one.conn, ToServer::Ask { id: one.asks, ask });
    }

    fn subscribe(&mut self, number: usize) {
        let (own, room) = (self.people[number].own_seq, self.people[number].room_seq);
        let project = self.project.clone();
        self.ask(number, Ask::Subscribe { stream: StreamName::Own(project.clone()), since: own });
        self.ask(number, Ask::Subscribe { stream: StreamName::Room(project), since: room });
    }

    fn begin(&mut self, number: usize) {
        let one = &self.people[number];
        if one.received.is_some() {
            return;
        }
        let message = ToServer::BeginUpload {
            upload: one.upload,
            project: self.project.clone(),
            purpose: Purpose::Bid,
            total: one.bid.bytes.len() as u64,
        };
        self.kernel.send(one.conn, message);
    }

    fn go_on(&mut self, number: usize, offset: u64) {
        let one = &self.people[number];
        let bytes = Bytes::range(&one.bid.bytes, offset, 3_000);
        let message = ToServer::Piece { upload: one.upload, project: self.project.clone(), offset, bytes };
        self.kernel.send(one.conn, message);
    }

    fn release(&mut self, number: usize) {
        let one = &mut self.people[number];
        let (Some((bid, parts)), Some((epoch, order))) = (one.asked.clone(), one.order.clone()) else {
            return;
        };
        if one.kept || one.tried == Some(epoch) {
            return;
        }
        one.tried = Some(epoch);
        let (enc, ciphertext) = envelope(&order, one.bid, &parts).expect("an order is read");
        let project = self.project.clone();
        self.ask(number, Ask::ReleaseKeys { project, bid, epoch, enc, ciphertext, by_backup: false });
    }

    fn hear(&mut self, number: usize, message: ToClient) {
        match message {
            ToClient::Frame(frame) => {
                let notice: Notice = serde_json::from_str(&frame).expect("a frame is a notice");
                let one = &mut self.people[number];
                let seq = match notice.stream {
                    StreamName::Own(_) => &mut one.own_seq,
                    StreamName::Room(_) => &mut one.room_seq,
                };
                assert_eq!(notice.seq, *seq + 1, "no gap and nothing twice");
                *seq = notice.seq;
                match notice.event {
                    ViewEvent::Own(OwnEvent::KeysAsked { bid, parts }) => {
                        one.asked = Some((bid, parts));
                    }
                    ViewEvent::Own(OwnEvent::KeysKept { .. }) => one.kept = true,
                    ViewEvent::Room(RoomEvent::OrderIssued { epoch, order, .. }) => {
                        one.order = Some((epoch, order));
                    }
                    ViewEvent::Room(RoomEvent::RecordSigned { .. }) => one.published = true,
                    _ => {}
                }
                self.release(number);
            }
            ToClient::Stands { verdict: Some(verdict), .. } => match *verdict {
                UploadVerdict::Received { bid, .. } => self.people[number].received = Some(bid),
                other => panic!("supplier {number}: {other:?}"),
            },
            ToClient::Stands { offset, .. } => self.go_on(number, offset),
            ToClient::NoUpload { .. } => {
                let at = Instant(self.kernel.now().0 + 500_000);
                self.kernel.wake_at(at, number as u64);
            }
            ToClient::Answer(Response::Refused { .. }) => {
                self.people[number].tried = None;
                let at = Instant(self.kernel.now().0 + 500_000);
                self.kernel.wake_at(at, 100 + number as u64);
            }
            ToClient::Answer(Response::Ok {
                ok: Answer::Done { .. } | Answer::Subscribed { .. }, ..
            }) => {}
            ToClient::Answer(other) => panic!("{other:?}"),
        }
    }

    /// Lets the world go on; true: somebody heard or saw something.
    fn step(&mut self, until: Instant) -> bool {
        let Some(step) = self.kernel.next(until) else { return false };
        match step {
            Step::Heard { conn, message } => {
                if let Some(number) = self.by_conn.get(&conn).copied() {
                    self.hear(number, message);
                }
            }
            Step::Gone { conn } => {
                if let Some(number) = self.by_conn.remove(&conn) {
                    let at = Instant(self.kernel.now().0 + 300_000);
                    self.kernel.wake_at(at, 200 + number as u64);
                }
            }
            Step::Woken { token } => match (token / 100, (token % 100) as usize) {
                (0, number) => self.begin(number),
                (1, number) => self.release(number),
                (_, number) => {
                    let conn = self.kernel.connect(stock().supplier(number).clone());
                    self.by_conn.insert(conn, number);
                    self.people[number].conn = conn;
                    self.people[number].tried = None;
                    self.subscribe(number);
                    if self.kernel.now().0 > (number as u64 + 1) * MINUTE_US {
                        self.begin(number);
                    }
                }
            },
            Step::Up { start } => self.starts = start,
            Step::Down => {}
            Step::NoStart { why, .. } => panic!("{why}"),
        }
        true
    }

    fn run(&mut self) {
        let end = Instant(60 * MINUTE_US);
        while self.step(end) && !self.people.iter().all(|one| one.published) {}
    }

    fn finish(self) -> End {
        for one in &self.people {
            assert!(one.received.is_some(), "supplier {} handed in", one.number);
            assert!(one.published, "supplier {} saw the record", one.number);
        }
        let end = self.kernel.finish();
        assert_eq!(end.broken, Vec::<String>::new());
        end
    }
}

fn prices(end: &End) -> usize {
    let published = end.projects[0].records.iter().find_map(|record| match &record.event {
        ProjectEvent::RecordsPublished { record } => Some(record.clone()),
        _ => None,
    });
    let record = published.expect("the record is published");
    let rows = record.lots.values().map(|lot| match lot {
        kaibiao_protocol::record::LotRecord::Opened { rows, .. } => rows.len(),
        _ => 0,
    });
    rows.sum()
}

#[test]
fn eight_suppliers_hand_in_unseal_and_see_the_record() {
    let mut crowd = Crowd::new(1);
    crowd.run();
    assert_eq!(prices(&crowd.finish()), SUPPLIERS);
}

#[test]
fn the_same_calls_give_the_same_digest_and_another_seed_gives_another() {
    let digest = |seed| {
        let mut crowd = Crowd::new(seed);
        crowd.run();
        crowd.finish().digest
    };
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn a_crash_at_any_step_of_the_store_loses_nobodys_bid() {
    for step in (1..300).step_by(7) {
        let mut crowd = Crowd::new(step.into());
        let (after, kind) =
            (step % 2 == 0, if step % 3 == 0 { CrashKind::Killed } else { CrashKind::PowerCut });
        crowd.kernel.bring(Fault::CrashAtStep { step, after, kind, down_ms: 2_000 });
        crowd.run();
        assert_eq!(crowd.starts, 2, "step {step}");
        assert_eq!(prices(&crowd.finish()), SUPPLIERS, "step {step}");
    }
}
