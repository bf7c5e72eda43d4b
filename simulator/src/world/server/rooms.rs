//! Connections and rooms: who follows what, and what may be written now.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use kaibiao_engine::{
    keeper::Recorded,
    session::{Cut, Delivery, Hub, Pipe, Pushed, Sink, SinkId, Subscriptions},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    frame::{Answer, Ask, Response, StreamName},
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
    view::RoomView,
};

use super::{Node, NodeLimits, Out, Work, asks::Asked, refuse};
use crate::world::wire::{Caller, ConnId, ToClient};

/// Streams one connection may follow.
const SUBSCRIPTIONS_MAX: usize = 16;

/// One connection as the server holds it.
pub(super) struct Conn {
    pub(super) caller: Caller,
    /// Messages that may still be written.
    pub(super) credit: u32,
    pipe: Rc<RefCell<Pipe>>,
    subscriptions: Subscriptions,
    /// Answers, and frames already taken from the pipe.
    pending: VecDeque<ToClient>,
}

impl Conn {
    pub(super) fn new(caller: Caller, limits: NodeLimits) -> Self {
        Self {
            caller,
            credit: limits.window,
            pipe: Rc::new(RefCell::new(Pipe::new(limits.pipe_deliveries_max))),
            subscriptions: Subscriptions::new(),
            pending: VecDeque::new(),
        }
    }
}

/// The sending end of a connection's pipe.
struct ConnSink {
    conn: ConnId,
    pipe: Rc<RefCell<Pipe>>,
    stirred: Rc<RefCell<Vec<ConnId>>>,
}

impl Sink for ConnSink {
    fn push(&mut self, delivery: Delivery) -> Pushed {
        self.stirred.borrow_mut().push(self.conn);
        self.pipe.borrow_mut().push(delivery)
    }

    fn cut(&mut self, why: Cut) {
        self.stirred.borrow_mut().push(self.conn);
        self.pipe.borrow_mut().cut(why);
    }

    fn is_open(&self) -> bool {
        // The connection holds the other end.
        self.pipe.borrow().why_cut().is_none() && Rc::strong_count(&self.pipe) > 1
    }
}

/// A room's actor.
pub(super) struct Room {
    life: u64,
    hub: Option<Hub<ConnSink>>,
    /// What came before its stream was replayed.
    parked: Vec<Asked>,
}

impl Room {
    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// Whether nobody is there.
    pub(super) fn is_idle(&mut self) -> bool {
        self.hub.as_mut().is_some_and(Hub::is_idle)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.end();
        }
    }
}

impl Node {
    /// Joins a stream, once its room is there.
    pub(super) fn enter_room(&mut self, asked: Asked) {
        let (Ask::Subscribe { stream, .. }, Some(asker)) = (&asked.ask, self.asker(asked.conn)) else {
            return;
        };
        let (stream, project) = (stream.clone(), stream.project().clone());
        let Some(asked) = self.with_room(&project, asked) else { return };
        let Ask::Subscribe { since, .. } = asked.ask else { return };
        let (conn, id) = (asked.conn, asked.id);
        let Some(known) = self.conns.get(&conn) else { return };
        let sink = ConnSink { conn, pipe: known.pipe.clone(), stirred: self.stirred.clone() };
        let Some(hub) = self.hub(&project) else { return };
        let entered = hub.enter(&asker, &stream, since, SinkId(u64::from(conn.0)), sink);
        let told = entered.map(|seq| Answer::Subscribed { seq }).map_err(refuse);
        self.joined(conn, &stream, told.is_ok());
        self.tell(conn, id, told);
    }

    /// The room as the asker sees it, once it is there.
    pub(super) fn look_at_room(&mut self, asked: Asked, project: &ProjectId) {
        let Some(asker) = self.asker(asked.conn) else { return };
        let Some(asked) = self.with_room(project, asked) else { return };
        let Some(hub) = self.hub(project) else { return };
        let view: Result<RoomView, RefusalCode> = hub.view(&asker);
        let told = view.map(|view| Answer::Room { view: Box::new(view) }).map_err(refuse);
        self.tell(asked.conn, asked.id, told);
    }

    /// Gives the ask back if the room is there; else lets it wait for it.
    fn with_room(&mut self, project: &ProjectId, asked: Asked) -> Option<Asked> {
        if self.slot(project).room.is_none() {
            let life = self.next_life();
            self.slot(project).room = Some(Room { life, hub: None, parked: Vec::new() });
            let takes = self.takes("room", 400);
            self.later(takes, Work::RoomReplayed { project: project.clone(), life });
        }
        let room = self.slot(project).room.as_mut()?;
        if room.hub.is_some() {
            return Some(asked);
        }
        room.parked.push(asked);
        None
    }

    fn hub(&mut self, project: &ProjectId) -> Option<&mut Hub<ConnSink>> {
        self.slots.get_mut(project)?.room.as_mut()?.hub.as_mut()
    }

    /// A room's stream is read.
    pub(super) fn room_replayed(&mut self, project: &ProjectId, life: u64) {
        let lives = self.slots.get(project).and_then(|slot| slot.room.as_ref());
        if lives.is_none_or(|room| room.life != life) {
            return;
        }
        let Ok(records) = self.store.records_after(project, 0) else { return self.room_dies(project) };
        let mut hub = Hub::new(project.clone());
        hub.take(&records);
        let Some(room) = self.slot(project).room.as_mut() else { return };
        room.hub = Some(hub);
        for asked in std::mem::take(&mut room.parked) {
            self.answer(asked);
        }
    }

    /// A room hears of new records; what it missed it reads.
    pub(super) fn room_hint(&mut self, project: &ProjectId, life: u64, records: &[Recorded<ProjectEvent>]) {
        let room = self.slots.get(project).and_then(|slot| slot.room.as_ref());
        let Some(cursor) = room
            .filter(|room| room.life == life)
            .and_then(|room| room.hub.as_ref())
            .map(|hub| hub.frames().cursor())
        else {
            return;
        };
        let missed = records.first().is_some_and(|first| first.seq > cursor + 1);
        let read = if missed { self.store.records_after(project, cursor) } else { Ok(Vec::new()) };
        let Ok(read) = read else { return self.room_dies(project) };
        if let Some(hub) = self.hub(project) {
            hub.take(if missed { &read } else { records });
        }
    }

    /// A room dies: whoever watches is cut and comes again.
    pub(super) fn room_dies(&mut self, project: &ProjectId) {
        let Some(slot) = self.slots.get_mut(project) else { return };
        let Some(mut room) = slot.room.take() else { return };
        for asked in std::mem::take(&mut room.parked) {
            self.later(100_000, Work::Asked(Box::new(asked)));
        }
    }

    /// Begins to join a stream.
    pub(super) fn join(&mut self, conn: ConnId, stream: &StreamName) -> Result<(), RefusalCode> {
        let known = self.conns.get_mut(&conn).ok_or(RefusalCode::Unknown)?;
        known.subscriptions.join(stream, SUBSCRIPTIONS_MAX)
    }

    pub(super) fn joined(&mut self, conn: ConnId, stream: &StreamName, joined: bool) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.subscriptions.answered(stream, joined);
        }
    }

    pub(super) fn leave(&mut self, conn: ConnId, stream: &StreamName) -> Result<(), RefusalCode> {
        let known = self.conns.get_mut(&conn).ok_or(RefusalCode::Unknown)?;
        known.subscriptions.leave(stream)?;
        if let Some(hub) = self.hub(stream.project()) {
            hub.leave(stream, SinkId(u64::from(conn.0)));
        }
        Ok(())
    }

    /// The session of a connection ends, and with it all connections of the same person.
    pub(super) fn revoke(&mut self, conn: ConnId) {
        let Some(caller) = self.conns.get(&conn).map(|conn| conn.caller.clone()) else { return };
        for (conn, known) in self.conns.iter().filter(|(_, known)| known.caller == caller) {
            known.pipe.borrow_mut().cut(Cut::Revoked);
            self.stirred.borrow_mut().push(*conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        self.forget_conn(conn);
        self.out.push_back(Out::Close(conn));
    }

    pub(super) fn forget_conn(&mut self, conn: ConnId) {
        let Some(mut known) = self.conns.remove(&conn) else { return };
        for stream in known.subscriptions.end() {
            if let Some(hub) = self.hub(stream.project()) {
                hub.leave(&stream, SinkId(u64::from(conn.0)));
            }
        }
    }

    /// Answers an ask.
    pub(super) fn tell(&mut self, conn: ConnId, id: u64, told: Result<Answer, Refusal>) {
        let response = match told {
            Ok(ok) => Response::Ok { id, ok },
            Err(refused) => Response::Refused { id, refused },
        };
        self.send(conn, ToClient::Answer(response));
    }

    /// Sends something to a connection, as soon as it can be written.
    pub(super) fn send(&mut self, conn: ConnId, message: ToClient) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.pending.push_back(message);
            self.stirred.borrow_mut().push(conn);
        }
    }

    pub(super) fn flush_stirred(&mut self) {
        loop {
            let stirred = std::mem::take(&mut *self.stirred.borrow_mut());
            if stirred.is_empty() {
                return;
            }
            for conn in stirred {
                self.flush(conn);
            }
        }
    }

    /// Writes what can be written to a connection now.
    pub(super) fn flush(&mut self, conn: ConnId) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let cut = loop {
            if known.pipe.borrow().why_cut().is_some() {
                break true;
            }
            if known.credit == 0 {
                break false;
            }
            if let Some(message) = known.pending.pop_front() {
                known.credit -= 1;
                self.out.push_back(Out::Send(conn, message));
                continue;
            }
            if !known.subscriptions.may_send() {
                break false;
            }
            match known.pipe.borrow_mut().pull() {
                Ok(Some(Delivery::Frame(frame))) => known.pending.push_back(ToClient::Frame(frame)),
                Ok(Some(Delivery::Backlog(frames))) => {
                    known.pending.extend(frames.into_iter().map(ToClient::Frame));
                }
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        if cut {
            self.close(conn);
        }
    }
}
