//! One room's viewers: nothing missing, nothing twice, and who is slow is cut and comes back.

use std::{cell::RefCell, rc::Rc};

use kaibiao_engine::{
    keeper::Recorded,
    session::{Cut, Delivery, Hub, Pipe, Pushed, Sink, SinkId},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    frame::StreamName,
    refusal::RefusalCode,
    role::{Asker, Role},
};

use crate::{
    script::check,
    world::{World, agent, digest, person, supplier},
};

/// A connection's pipe, shared with the room.
#[derive(Clone)]
struct Connection(Rc<RefCell<Pipe>>);

impl Connection {
    fn new(deliveries_max: usize) -> Self {
        Self(Rc::new(RefCell::new(Pipe::new(deliveries_max))))
    }

    /// The numbers of the frames that lie in it.
    fn reads(&self) -> Result<Vec<u64>, Cut> {
        let mut seqs = Vec::new();
        while let Some(delivery) = self.0.borrow_mut().pull()? {
            let frames = match delivery {
                Delivery::Frame(frame) => vec![frame],
                Delivery::Backlog(frames) => frames.into_iter().collect(),
            };
            let seq = |text: &str| {
                serde_json::from_str::<serde_json::Value>(text).unwrap()["seq"].as_u64().unwrap()
            };
            seqs.extend(frames.iter().map(|frame| seq(frame)));
        }
        Ok(seqs)
    }
}

impl Sink for Connection {
    fn push(&mut self, delivery: Delivery) -> Pushed {
        self.0.borrow_mut().push(delivery)
    }

    fn cut(&mut self, why: Cut) {
        self.0.borrow_mut().cut(why);
    }

    fn is_open(&self) -> bool {
        self.0.borrow().why_cut().is_none()
    }
}

/// A project whose room has seen a count and a few signing in.
fn history() -> Vec<Recorded<ProjectEvent>> {
    let world: World = check(
        "-30d agent create -> project_created
         -1h intake submit a1 -> bid_submitted
         -1h intake submit b1 -> bid_submitted
         -1h intake submit c1 -> bid_submitted
         +0 intake count -> receiving_closed
         +1s A check-in -> checked_in
         +2s B check-in -> checked_in
         +3s C check-in -> checked_in",
    );
    let records = world.history.into_iter().zip(1..);
    records.map(|((at, event), seq)| Recorded { seq, at, event, hash: digest("hash") }).collect()
}

fn room() -> StreamName {
    StreamName::Room("KX-00823".parse().unwrap())
}

fn own() -> StreamName {
    StreamName::Own("KX-00823".parse().unwrap())
}

fn hub() -> Hub<Connection> {
    Hub::new("KX-00823".parse().unwrap())
}

#[test]
fn whenever_one_joins_and_wherever_it_resumes_it_sees_every_frame_once() {
    let records = history();
    let mut whole = hub();
    whole.take(&records);
    let last = whole
        .frames()
        .last_seq(&kaibiao_engine::visibility::Shared::Room(kaibiao_engine::visibility::Audience::Staff));
    for joins_after in 1..=records.len() {
        for since in 0..=last {
            let mut hub = hub();
            hub.take(&records[..joins_after]);
            let connection = Connection::new(64);
            let joined = hub.enter(&agent(), &room(), since, SinkId(1), connection.clone()).unwrap();
            for record in &records[joins_after..] {
                hub.take(std::slice::from_ref(record));
            }
            // What it says to have already, it does not get again; nothing is left out.
            let expected: Vec<u64> = (since.min(joined) + 1..=last).collect();
            assert_eq!(connection.reads().unwrap(), expected, "joined after {joins_after}, had {since}");
        }
    }
}

#[test]
fn a_slow_reader_is_cut_alone_and_comes_back_without_a_gap() {
    let records = history();
    let mut hub = hub();
    let (slow, quick) = (Connection::new(1), Connection::new(64));
    hub.take(&records[..1]);
    hub.enter(&agent(), &room(), 1, SinkId(1), slow.clone()).unwrap();
    hub.enter(&agent(), &room(), 1, SinkId(2), quick.clone()).unwrap();
    let cut: usize = records[1..].iter().map(|record| hub.take(std::slice::from_ref(record))).sum();
    assert_eq!(cut, 1);
    assert_eq!(slow.reads(), Err(Cut::SlowReader));
    let seen = quick.reads().unwrap();
    assert_eq!(hub.followed(), 1);
    let back = Connection::new(1);
    hub.enter(&agent(), &room(), 1, SinkId(3), back.clone()).unwrap();
    assert_eq!(back.reads().unwrap(), seen);
}

#[test]
fn an_own_stream_is_its_suppliers_alone_and_ends_when_left() {
    let records = history();
    let mut hub = hub();
    hub.take(&records[..1]);
    let (a, b) = (Connection::new(64), Connection::new(64));
    hub.enter(&supplier("A"), &own(), 0, SinkId(1), a.clone()).unwrap();
    hub.enter(&supplier("B"), &own(), 0, SinkId(2), b.clone()).unwrap();
    let refused = hub.enter(&agent(), &own(), 0, SinkId(3), Connection::new(1));
    assert_eq!(refused, Err(RefusalCode::RoleNotAllowed));
    let expert: Asker = person("zhou", "pool", Role::Expert);
    let refused = hub.enter(&expert, &room(), 0, SinkId(3), Connection::new(1));
    assert_eq!(refused, Err(RefusalCode::Unknown));
    hub.take(&records[1..2]);
    assert_eq!((a.reads(), b.reads()), (Ok(vec![1]), Ok(vec![])));
    hub.leave(&own(), SinkId(2));
    hub.leave(&room(), SinkId(1));
    assert_eq!(hub.followed(), 1);
    hub.take(&records[2..3]);
    assert_eq!(b.reads(), Ok(vec![]));
}

#[test]
fn a_room_that_ends_leaves_nobody_waiting_and_one_that_is_left_is_idle() {
    let records = history();
    let mut hub = hub();
    hub.take(&records);
    let (a, b) = (Connection::new(64), Connection::new(64));
    hub.enter(&supplier("A"), &own(), 9, SinkId(1), a.clone()).unwrap();
    hub.enter(&agent(), &room(), 99, SinkId(2), b.clone()).unwrap();
    assert!(!hub.is_idle());
    a.0.borrow_mut().cut(Cut::Revoked);
    assert!(!hub.is_idle());
    assert_eq!(hub.followed(), 1);
    hub.end();
    assert_eq!(b.reads(), Err(Cut::RoomEnded));
    assert!(hub.is_idle());
}
