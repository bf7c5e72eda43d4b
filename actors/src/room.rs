//! The room of a project: the hub between its journal and everybody who watches.
//!
//! It follows the journal by itself; what the project's actor publishes is a hint that spares it the reading.
//! It never waits for a viewer: a frame is made once for each audience and handed to bounded pipes, and whoever
//! does not keep up is cut and resumes by sequence number.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, fut::wrap_future};
use bytestring::ByteString;
use kaibiao_engine::{
    keeper::Recorded,
    project::ProjectMachine,
    visibility::{may_see, room_view},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    frame::StreamName,
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
    role::Asker,
    view::RoomView,
};

pub use crate::frame_sink::{Cut, Delivery, FrameSink, FrameSource, Frames, Pushed, SinkId, frame_channel};
use crate::{
    journal::{Journal, Stream},
    keeper_actor::{ReplayFault, read_all},
    limits::ROOM_VIEWERS_MAX,
    messages::{EnterRoom, GoToSleep, JoinRoom, LeaveRoom, LookAtRoom, Published},
    metrics::Metrics,
    refusals::refuse,
    room_frames::{RoomFrames, Shared},
};

/// The hub of one project.
pub(crate) struct RoomActor {
    id: ProjectId,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    frames: RoomFrames,
    viewers: BTreeMap<Shared, BTreeMap<SinkId, FrameSink>>,
}

impl RoomActor {
    pub(crate) fn new(id: ProjectId, journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Self {
        Self { frames: RoomFrames::new(id.clone()), viewers: BTreeMap::new(), id, journal, metrics }
    }

    /// Reads what the journal has beyond what this room took in; no message is handled meanwhile.
    fn catch_up(&mut self, ctx: &mut Context<Self>) {
        let (journal, stream) = (self.journal.clone(), Stream::Project(self.id.clone()));
        let cursor = self.frames.cursor();
        let reading = async move {
            let read = tokio::task::spawn_blocking(move || {
                let mut records = Vec::new();
                read_all::<ProjectMachine>(&*journal, &stream, cursor, |record, _| records.push(record))?;
                Ok::<_, ReplayFault>(records)
            });
            read.await.ok()
        };
        ctx.wait(wrap_future::<_, Self>(reading).map(|read, room, ctx| match read {
            Some(Ok(records)) => room.take(&records),
            Some(Err(fault)) => {
                tracing::error!(project = %room.id, %fault, "a room cannot follow its journal and ends");
                ctx.stop();
            }
            None => ctx.stop(),
        }));
    }

    /// Takes records in and hands what is new to everybody, in one go for all records: those of one append happened
    /// in the same moment.
    fn take(&mut self, records: &[Recorded<ProjectEvent>]) {
        for (stream, frames) in self.frames.take(records) {
            if let Some(sinks) = self.viewers.get_mut(&stream) {
                fan_out(sinks, frames, &self.metrics);
            }
        }
    }

    fn enter(&mut self, join: JoinRoom) -> Result<u64, Refusal> {
        let viewer =
            may_see(self.frames.project(), &join.asker).ok_or_else(|| refuse(RefusalCode::Unknown))?;
        let stream = Shared::of(&viewer, &join.stream).ok_or_else(|| refuse(RefusalCode::RoleNotAllowed))?;
        if self.viewers.values().map(BTreeMap::len).sum::<usize>() >= ROOM_VIEWERS_MAX {
            self.metrics.note_busy("room");
            return Err(refuse(RefusalCode::Busy));
        }
        let last_seq = self.frames.last_seq(&stream);
        let backlog = self.frames.after(&stream, join.since);
        // Backlog and membership in one step of one actor: no frame falls between them and none comes twice.
        if !backlog.is_empty() {
            match join.sink.push(Delivery::Backlog(Frames::new(backlog))) {
                Pushed::Taken => {}
                Pushed::CutNow | Pushed::Gone => return Ok(last_seq),
            }
        }
        self.viewers.entry(stream).or_default().insert(join.sink.id(), join.sink);
        Ok(last_seq)
    }

    fn view(&self, asker: &Asker) -> Result<RoomView, Refusal> {
        let unknown = || refuse(RefusalCode::Unknown);
        let viewer = may_see(self.frames.project(), asker).ok_or_else(unknown)?;
        let seq = self.frames.last_seq(&Shared::Room(viewer.audience));
        room_view(self.frames.project(), &viewer, seq).ok_or_else(unknown)
    }
}

fn fan_out(sinks: &mut BTreeMap<SinkId, FrameSink>, mut frames: Vec<ByteString>, metrics: &Metrics) {
    let delivery = match frames.len() {
        0 => return,
        1 => Delivery::Frame(frames.remove(0)),
        _ => Delivery::Backlog(Frames::new(frames)),
    };
    sinks.retain(|_, sink| match sink.push(delivery.clone()) {
        Pushed::Taken => true,
        Pushed::CutNow => {
            metrics.slow_readers_cut.inc();
            false
        }
        Pushed::Gone => false,
    });
}

impl Actor for RoomActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.catch_up(ctx);
    }
}

impl Drop for RoomActor {
    /// A room that ends, by a panic too, leaves nobody waiting for frames that will not come.
    fn drop(&mut self) {
        for sink in self.viewers.values().flat_map(BTreeMap::values) {
            sink.cut(Cut::RoomEnded);
        }
    }
}

impl Handler<Published> for RoomActor {
    type Result = ();

    fn handle(&mut self, hint: Published, ctx: &mut Context<Self>) {
        let next = self.frames.cursor() + 1;
        match hint.records.first() {
            Some(first) if first.seq <= next => self.take(&hint.records),
            Some(_) => self.catch_up(ctx),
            None if hint.last_seq >= next => self.catch_up(ctx),
            None => {}
        }
    }
}

impl Handler<EnterRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, message: EnterRoom, _: &mut Context<Self>) {
        let entered = self.enter(message.join);
        // The connection may have gone away meanwhile; its sink is found gone at the next frame.
        let _ = message.answer.send(entered);
    }
}

impl Handler<LeaveRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, leave: LeaveRoom, _: &mut Context<Self>) {
        for (stream, sinks) in &mut self.viewers {
            let named = match (stream, &leave.stream) {
                (Shared::Room(_), StreamName::Room(_)) | (Shared::Own(_), StreamName::Own(_)) => true,
                (Shared::Room(_), StreamName::Own(_)) | (Shared::Own(_), StreamName::Room(_)) => false,
            };
            if named {
                sinks.remove(&leave.sink);
            }
        }
    }
}

impl Handler<LookAtRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, look: LookAtRoom, _: &mut Context<Self>) {
        // Whoever asked may have gone away.
        let _ = look.answer.send(self.view(&look.asker));
    }
}

impl Handler<GoToSleep> for RoomActor {
    type Result = ();

    fn handle(&mut self, message: GoToSleep, ctx: &mut Context<Self>) {
        for sinks in self.viewers.values_mut() {
            sinks.retain(|_, sink| sink.is_open());
        }
        let idle = self.viewers.values().all(BTreeMap::is_empty);
        if message.answer.send(idle).is_ok() && idle {
            ctx.stop();
        }
    }
}
