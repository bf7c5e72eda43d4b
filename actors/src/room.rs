//! The room of a project: the hub between its journal and everybody who watches.
//!
//! It follows the journal by itself; what the project's actor publishes is a hint that spares it the reading.
//! It never waits for a viewer: a frame is made once for each audience and handed to bounded pipes, and whoever
//! does not keep up is cut and resumes by sequence number.

use std::sync::Arc;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, fut::wrap_future};
use kaibiao_engine::{keeper::Recorded, project::ProjectMachine, session::Hub};
use kaibiao_protocol::{
    event::ProjectEvent,
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
};

pub use crate::frame_sink::{Cut, Delivery, FrameSink, FrameSource, Frames, Pushed, SinkId, frame_channel};
use crate::{
    journal::{Journal, Stream},
    keeper_actor::{ReplayFault, read_all},
    messages::{EnterRoom, GoToSleep, JoinRoom, LeaveRoom, LookAtRoom, Published},
    metrics::Metrics,
    refusals::refuse,
};

/// The hub of one project.
pub(crate) struct RoomActor {
    id: ProjectId,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    hub: Hub<FrameSink>,
}

impl RoomActor {
    pub(crate) fn new(id: ProjectId, journal: Arc<dyn Journal>, metrics: Arc<Metrics>) -> Self {
        Self { hub: Hub::new(id.clone()), id, journal, metrics }
    }

    /// Reads what the journal has beyond what this room took in; no message is handled meanwhile.
    fn catch_up(&mut self, ctx: &mut Context<Self>) {
        let (journal, stream) = (self.journal.clone(), Stream::Project(self.id.clone()));
        let cursor = self.hub.frames().cursor();
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

    fn take(&mut self, records: &[Recorded<ProjectEvent>]) {
        let cut = self.hub.take(records);
        self.metrics.slow_readers_cut.inc_by(cut as u64);
    }

    fn enter(&mut self, join: JoinRoom) -> Result<u64, Refusal> {
        let JoinRoom { asker, stream, since, sink } = join;
        self.hub.enter(&asker, &stream, since, sink.id(), sink).map_err(|code| {
            if code == RefusalCode::Busy {
                self.metrics.note_busy("room");
            }
            refuse(code)
        })
    }
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
        self.hub.end();
    }
}

impl Handler<Published> for RoomActor {
    type Result = ();

    fn handle(&mut self, hint: Published, ctx: &mut Context<Self>) {
        let next = self.hub.frames().cursor() + 1;
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
        self.hub.leave(&leave.stream, leave.sink);
    }
}

impl Handler<LookAtRoom> for RoomActor {
    type Result = ();

    fn handle(&mut self, look: LookAtRoom, _: &mut Context<Self>) {
        // Whoever asked may have gone away.
        let _ = look.answer.send(self.hub.view(&look.asker).map_err(refuse));
    }
}

impl Handler<GoToSleep> for RoomActor {
    type Result = ();

    fn handle(&mut self, message: GoToSleep, ctx: &mut Context<Self>) {
        let idle = self.hub.is_idle();
        if message.answer.send(idle).is_ok() && idle {
            ctx.stop();
        }
    }
}
