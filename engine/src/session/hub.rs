//! One room's viewers: who follows what, and what each gets.

use std::collections::{BTreeMap, btree_map::Entry};

use kaibiao_protocol::{
    event::ProjectEvent, frame::StreamName, ids::ProjectId, refusal::RefusalCode, role::Asker, view::RoomView,
};

use super::pipe::{Cut, Delivery, Pushed};
use crate::{
    keeper::Recorded,
    visibility::{Audience, RoomFrames, Shared, may_see, room_view},
};

/// Streams followed in one room.
pub const ROOM_VIEWERS_MAX: usize = 20_000;

/// Names one connection's sink.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SinkId(pub u64);

/// The sending end of a connection's [`super::Pipe`], as its shell holds it. Never waits.
pub trait Sink {
    /// Hands a delivery over. Unless it was taken, the room forgets the sink.
    fn push(&mut self, delivery: Delivery) -> Pushed;

    /// Cuts the connection.
    fn cut(&mut self, why: Cut);

    /// Whether the connection still takes frames.
    fn is_open(&self) -> bool;
}

/// One room: the frames of its journal, and its viewers.
pub struct Hub<S> {
    frames: RoomFrames,
    viewers: BTreeMap<Shared, BTreeMap<SinkId, S>>,
    /// Which own stream a connection follows.
    own: BTreeMap<SinkId, Shared>,
}

impl<S: Sink> Hub<S> {
    /// A room before its first record, with nobody in it.
    pub fn new(id: ProjectId) -> Self {
        Self { frames: RoomFrames::new(id), viewers: BTreeMap::new(), own: BTreeMap::new() }
    }

    /// The room's frames so far.
    pub fn frames(&self) -> &RoomFrames {
        &self.frames
    }

    /// Takes records in and hands what is new to everybody, in one go for all records: those of one append happened
    /// in the same moment. Tells how many slow readers it cut.
    pub fn take(&mut self, records: &[Recorded<ProjectEvent>]) -> usize {
        let mut cut = 0;
        for (stream, frames) in self.frames.take(records) {
            let Entry::Occupied(mut sinks) = self.viewers.entry(stream) else { continue };
            let Some(delivery) = Delivery::of(frames) else { continue };
            let own = &mut self.own;
            let is_own = matches!(sinks.key(), Shared::Own(_));
            sinks.get_mut().retain(|id, sink| {
                let pushed = sink.push(delivery.clone());
                cut += usize::from(pushed == Pushed::CutNow);
                let stays = pushed == Pushed::Taken;
                if is_own && !stays {
                    own.remove(id);
                }
                stays
            });
            if sinks.get().is_empty() {
                sinks.remove();
            }
        }
        cut
    }

    /// Joins a stream: what came after `since` goes to the sink as one delivery, then each new frame. Gives the
    /// stream's last `seq`.
    ///
    /// # Errors
    /// Not for this asker, or the room is full.
    pub fn enter(
        &mut self,
        asker: &Asker,
        stream: &StreamName,
        since: u64,
        id: SinkId,
        mut sink: S,
    ) -> Result<u64, RefusalCode> {
        let viewer = may_see(self.frames.project(), asker).ok_or(RefusalCode::Unknown)?;
        let stream = Shared::of(&viewer, stream).ok_or(RefusalCode::RoleNotAllowed)?;
        if self.followed() >= ROOM_VIEWERS_MAX {
            self.forget_the_gone();
            if self.followed() >= ROOM_VIEWERS_MAX {
                return Err(RefusalCode::Busy);
            }
        }
        let last_seq = self.frames.last_seq(&stream);
        // Backlog and membership in one step: no frame falls between them and none comes twice.
        if let Some(backlog) = Delivery::of(self.frames.after(&stream, since).to_vec()) {
            match sink.push(backlog) {
                Pushed::Taken => {}
                Pushed::CutNow | Pushed::Gone => return Ok(last_seq),
            }
        }
        if let Shared::Own(_) = &stream {
            self.own.insert(id, stream.clone());
        }
        self.viewers.entry(stream).or_default().insert(id, sink);
        Ok(last_seq)
    }

    /// No more frames of a stream for a connection.
    pub fn leave(&mut self, stream: &StreamName, id: SinkId) {
        match stream {
            StreamName::Own(_) => {
                if let Some(own) = self.own.remove(&id) {
                    self.remove(own, id);
                }
            }
            StreamName::Room(_) => {
                for audience in Audience::ALL {
                    self.remove(Shared::Room(audience), id);
                }
            }
        }
    }

    fn remove(&mut self, stream: Shared, id: SinkId) {
        if let Entry::Occupied(mut sinks) = self.viewers.entry(stream) {
            sinks.get_mut().remove(&id);
            if sinks.get().is_empty() {
                sinks.remove();
            }
        }
    }

    /// The room as this asker sees it; its `seq` fits the asker's room stream.
    ///
    /// # Errors
    /// Not for this asker.
    pub fn view(&self, asker: &Asker) -> Result<RoomView, RefusalCode> {
        let viewer = may_see(self.frames.project(), asker).ok_or(RefusalCode::Unknown)?;
        let seq = self.frames.last_seq(&Shared::Room(viewer.audience));
        room_view(self.frames.project(), &viewer, seq).ok_or(RefusalCode::Unknown)
    }

    /// Whether nobody is here any more.
    pub fn is_idle(&mut self) -> bool {
        self.forget_the_gone();
        self.viewers.is_empty()
    }

    /// How many streams are followed here.
    pub fn followed(&self) -> usize {
        let room = |audience| self.viewers.get(&Shared::Room(audience)).map_or(0, BTreeMap::len);
        self.own.len() + Audience::ALL.into_iter().map(room).sum::<usize>()
    }

    /// The room ends, by a panic too: nobody waits for frames that will not come.
    pub fn end(&mut self) {
        for mut sink in std::mem::take(&mut self.viewers).into_values().flat_map(BTreeMap::into_values) {
            sink.cut(Cut::RoomEnded);
        }
        self.own.clear();
    }

    fn forget_the_gone(&mut self) {
        self.viewers.retain(|_, sinks| {
            sinks.retain(|_, sink| sink.is_open());
            !sinks.is_empty()
        });
        let viewers = &self.viewers;
        self.own.retain(|id, stream| viewers.get(stream).is_some_and(|sinks| sinks.contains_key(id)));
    }
}
