//! The place of one live project: its actors' addresses and what they share.
//!
//! A slot outlives its actors: one that died is started anew in the same slot. When a project goes to sleep its
//! slot ends, and whoever still holds it finds that out and asks the house for the present one.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use actix::{Addr, prelude::SendError};
use kaibiao_engine::project::Project;
use kaibiao_protocol::{ids::ProjectId, moment::Moment};

use crate::{
    messages::{Published, Wake},
    opening::OpeningActor,
    project::ProjectActor,
    room::RoomActor,
    tickets::Tickets,
};

/// A project as committed, with the position of its last record.
#[derive(Clone, Default)]
pub(crate) struct Committed {
    pub(crate) seq: u64,
    pub(crate) project: Arc<Project>,
}

/// One live project.
pub(crate) struct Slot {
    pub(crate) id: ProjectId,
    actors: Mutex<Actors>,
    committed: RwLock<Option<Committed>>,
    /// Keys on their way through the opening.
    pub(crate) envelopes: Tickets,
    /// Whether an actor of this process runs the opening and has done what a restart asks of it.
    opening_ready: AtomicBool,
    /// Which arbiter runs the actors.
    pub(crate) arbiter: usize,
    /// When an opening was last known to be served, in microseconds; 0: not in this process.
    served_at: AtomicI64,
    /// Somebody woke the project's actor, and it has not looked since.
    look_wanted: AtomicBool,
    ended: AtomicBool,
    used_at: AtomicI64,
}

/// Whom a project's actor tells of new records, and whom the house asks. Messages are sent through these very
/// addresses, never through clones: actix grants each clone a place beyond the mailbox's bound.
#[derive(Default)]
pub(crate) struct Actors {
    pub(crate) project: Option<Addr<ProjectActor>>,
    pub(crate) room: Option<Addr<RoomActor>>,
    pub(crate) opening: Option<Addr<OpeningActor>>,
}

impl Slot {
    pub(crate) fn new(id: ProjectId, arbiter: usize, now: Moment) -> Arc<Self> {
        Arc::new(Self {
            id,
            actors: Mutex::default(),
            committed: RwLock::default(),
            envelopes: Tickets::default(),
            opening_ready: AtomicBool::new(false),
            arbiter,
            served_at: AtomicI64::new(0),
            look_wanted: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            used_at: AtomicI64::new(now.0),
        })
    }

    /// The addresses. Held for a few instructions only, never across an await.
    pub(crate) fn actors(&self) -> MutexGuard<'_, Actors> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The project as committed; none until its stream is replayed.
    pub(crate) fn committed(&self) -> Option<Committed> {
        self.committed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_committed(&self, committed: Committed) {
        *self.committed.write().unwrap_or_else(PoisonError::into_inner) = Some(committed);
    }

    /// Whether the project went to sleep and this slot with it.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Notes that somebody had to do with the project.
    pub(crate) fn note_use(&self, now: Moment) {
        self.used_at.fetch_max(now.0, Ordering::AcqRel);
    }

    pub(crate) fn idle_since(&self) -> Moment {
        Moment(self.used_at.load(Ordering::Acquire))
    }

    /// Whether the opening is served, and every outage before is given back: until then no window elapses.
    pub(crate) fn opening_is_ready(&self) -> bool {
        self.opening_ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_opening_ready(&self, ready: bool) {
        self.opening_ready.store(ready, Ordering::Release);
    }

    /// When this process last knew the opening to be served.
    pub(crate) fn served_at(&self) -> Option<Moment> {
        Some(Moment(self.served_at.load(Ordering::Acquire))).filter(|at| at.0 != 0)
    }

    pub(crate) fn note_served(&self, now: Moment) {
        self.served_at.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Tells the followers of new records. False: one of them was full, say it again later.
    pub(crate) fn publish(&self, hint: &Published) -> bool {
        let actors = self.actors();
        let full = |sent: Result<(), SendError<Published>>| matches!(sent, Err(SendError::Full(_)));
        let room_full = actors.room.as_ref().is_some_and(|room| full(room.try_send(hint.clone())));
        let opening_full =
            actors.opening.as_ref().is_some_and(|opening| full(opening.try_send(hint.clone())));
        !room_full && !opening_full
    }

    /// Wakes the project's actor, if it lives.
    pub(crate) fn wake(&self) {
        self.want_look();
        if let Some(project) = &self.actors().project {
            // Into a full mailbox no wake fits; whatever fills it is handled after this, and finds the wish.
            let _ = project.try_send(Wake);
        }
    }

    /// Notes that the project's actor is to look, whatever message it handles next.
    pub(crate) fn want_look(&self) {
        self.look_wanted.store(true, Ordering::Release);
    }

    /// Whether somebody wanted a look; it is wanted no longer.
    pub(crate) fn take_wake(&self) -> bool {
        self.look_wanted.swap(false, Ordering::AcqRel)
    }
}
