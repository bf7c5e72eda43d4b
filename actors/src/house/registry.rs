//! The registry: which projects are live, where their actors are reached, and what becomes of those that died or
//! fell idle.

use std::sync::{Arc, atomic::Ordering};

use actix::{
    Actor, Addr, Context,
    dev::{ToEnvelope, channel::channel},
    prelude::{Handler, Message},
};
use kaibiao_engine::{
    keeper::{Machine, SideWrite},
    project::ProjectMachine,
    reaction::tending::ahead_of,
};
use kaibiao_protocol::{
    ids::ProjectId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
};
use tokio::sync::oneshot;

use super::House;
use crate::{
    limits::{ASK_ATTEMPTS_MAX, OPENING_MAILBOX_MAX, PROJECT_MAILBOX_MAX, RETRY, ROOM_MAILBOX_MAX},
    messages::{GoToSleep, Undelivered},
    opening::OpeningActor,
    project::ProjectActor,
    refusals::refuse,
    room::RoomActor,
    slot::{Actors, Slot},
};

impl House {
    /// Lets go of projects that nobody asked for since `idle_ms` milliseconds, that nobody watches and that have
    /// nothing to do soon. Gives how many. The house does so by itself; a caller may do it earlier.
    pub async fn let_idle_go(&self, idle_ms: i64) -> usize {
        let slots: Vec<Arc<Slot>> = self.0.slots.iter().map(|entry| entry.value().clone()).collect();
        let mut gone = 0;
        for slot in slots {
            if self.may_sleep(&slot, idle_ms) && self.put_to_sleep(&slot).await {
                gone += 1;
            }
        }
        gone
    }

    /// Runs a future on one of the house's own threads, whatever becomes of the caller.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let turn = self.0.next_arbiter.fetch_add(1, Ordering::Relaxed);
        let arbiter = &self.0.arbiters[turn % self.0.arbiters.len()];
        if !arbiter.spawn(work) {
            tracing::warn!("work was given to a house that has stopped");
        }
    }

    /// Starts the opening's actor where none lives.
    pub(crate) fn ensure_opening(&self, slot: &Arc<Slot>) {
        let mut actors = slot.actors();
        self.living_opening(&mut actors, slot);
    }

    /// Gives a message to an actor until one that lives answers it. `send` makes the message anew each time.
    pub(super) async fn until_answered<T>(
        &self,
        part: &'static str,
        mut send: impl FnMut() -> (Result<(), Undelivered>, oneshot::Receiver<Result<T, Refusal>>),
    ) -> Result<T, Refusal> {
        for attempt in 0..ASK_ATTEMPTS_MAX {
            if self.is_stopping() {
                return Err(refuse(RefusalCode::WritingEnded));
            }
            if attempt > 0 {
                // The one before died with the message; a new one that dies too must not be started in a hurry.
                tokio::time::sleep(RETRY).await;
            }
            let (sent, hear) = send();
            match sent {
                Ok(()) => {
                    if let Ok(answer) = hear.await {
                        return answer;
                    }
                }
                Err(Undelivered::Full) => {
                    self.metrics().note_busy(part);
                    return Err(refuse(RefusalCode::Busy));
                }
                Err(Undelivered::Gone) => {}
            }
        }
        Err(refuse(RefusalCode::Busy))
    }

    pub(super) fn live_slot(&self, id: &ProjectId) -> Option<Arc<Slot>> {
        self.0.slots.get(id).map(|slot| slot.clone()).filter(|slot| !slot.has_ended())
    }

    /// Does something with the project's present slot; makes one where there is none.
    pub(super) fn with_slot<T>(&self, id: &ProjectId, with: impl FnOnce(&Arc<Slot>) -> T) -> T {
        let slot = loop {
            let make = || {
                let arbiter = self.0.next_arbiter.fetch_add(1, Ordering::Relaxed) % self.0.arbiters.len();
                Slot::new(id.clone(), arbiter, self.clock().present())
            };
            // The map's guard ends with this line; an ended slot is removed below.
            let slot = Arc::clone(&self.0.slots.entry(id.clone()).or_insert_with(make));
            if !slot.has_ended() {
                break slot;
            }
            self.0.slots.remove_if(id, |_, present| Arc::ptr_eq(present, &slot));
        };
        with(&slot)
    }

    pub(super) fn send_to_project<M>(&self, slot: &Arc<Slot>, message: M) -> Result<(), Undelivered>
    where
        M: Message<Result = ()> + Send + 'static,
        ProjectActor: Handler<M>,
        Context<ProjectActor>: ToEnvelope<ProjectActor, M>,
    {
        let mut actors = slot.actors();
        if slot.has_ended() {
            return Err(Undelivered::Gone);
        }
        let living = actors.project.as_ref().is_some_and(Addr::connected);
        if !living {
            if actors.project.is_some() {
                self.metrics().note_restart("project");
                tracing::warn!(project = %slot.id, "a project's actor died and is started anew by replay");
            }
            let actor = ProjectActor::new(slot.clone(), self.clone());
            actors.project = Some(self.start_on(slot.arbiter, PROJECT_MAILBOX_MAX, actor));
        }
        Ok(actors.project.as_ref().expect("it was started just now").try_send(message)?)
    }

    pub(super) fn send_to_room<M>(&self, slot: &Arc<Slot>, message: M) -> Result<(), Undelivered>
    where
        M: Message<Result = ()> + Send + 'static,
        RoomActor: Handler<M>,
        Context<RoomActor>: ToEnvelope<RoomActor, M>,
    {
        slot.note_use(self.clock().present());
        let mut actors = slot.actors();
        if slot.has_ended() {
            return Err(Undelivered::Gone);
        }
        let living = actors.room.as_ref().is_some_and(Addr::connected);
        if !living {
            if actors.room.is_some() {
                self.metrics().note_restart("room");
                tracing::warn!(project = %slot.id, "a room died and is started anew by replay");
            }
            let actor = RoomActor::new(slot.id.clone(), self.journal().clone(), self.metrics().clone());
            actors.room = Some(self.start_on(slot.arbiter, ROOM_MAILBOX_MAX, actor));
        }
        Ok(actors.room.as_ref().expect("it was started just now").try_send(message)?)
    }

    pub(super) fn send_to_opening<M>(&self, slot: &Arc<Slot>, message: M) -> Result<(), Refusal>
    where
        M: Message<Result = ()> + Send + 'static,
        OpeningActor: Handler<M>,
        Context<OpeningActor>: ToEnvelope<OpeningActor, M>,
    {
        let mut actors = slot.actors();
        match self.living_opening(&mut actors, slot).try_send(message) {
            Ok(()) => Ok(()),
            Err(_) => {
                self.metrics().note_busy("opening");
                Err(refuse(RefusalCode::Busy))
            }
        }
    }

    fn living_opening<'a>(&self, actors: &'a mut Actors, slot: &Arc<Slot>) -> &'a Addr<OpeningActor> {
        let living = actors.opening.as_ref().is_some_and(Addr::connected);
        if !living {
            if actors.opening.is_some() {
                self.metrics().note_restart("opening");
                tracing::warn!(project = %slot.id, "an opening's actor died and is started anew");
            }
            let actor = OpeningActor::new(slot.clone(), self.clone());
            actors.opening = Some(self.start_on(slot.arbiter, OPENING_MAILBOX_MAX, actor));
        }
        actors.opening.as_ref().expect("it was started just now")
    }

    /// Starts an actor on an arbiter with its whole mailbox from the first message on. (actix' own start begins
    /// with a mailbox of 16.)
    pub(super) fn start_on<A: Actor<Context = Context<A>> + Send>(
        &self,
        arbiter: usize,
        mailbox_max: usize,
        actor: A,
    ) -> Addr<A> {
        let (sender, receiver) = channel(mailbox_max);
        let arbiter = &self.0.arbiters[arbiter % self.0.arbiters.len()];
        // A stopped arbiter drops the receiver: the address is closed, as of an actor that died.
        arbiter.spawn_fn(move || {
            let context = Context::with_receiver(receiver);
            actix::spawn(context.into_future(actor));
        });
        Addr::new(sender)
    }

    fn may_sleep(&self, slot: &Slot, idle_ms: i64) -> bool {
        let now = self.clock().present();
        let soon = |at: Moment| ahead_of(at) <= now;
        let busy_soon = slot
            .committed()
            .is_none_or(|committed| ProjectMachine::wake_at(&committed.project).is_some_and(soon));
        let opening = slot.actors().opening.as_ref().is_some_and(Addr::connected);
        now.micros_since(slot.idle_since()) >= idle_ms.saturating_mul(1_000)
            && !busy_soon
            && !opening
            && slot.envelopes.open() == 0
            && self.0.intake.open(&slot.id) == 0
    }

    async fn put_to_sleep(&self, slot: &Arc<Slot>) -> bool {
        let asked = {
            let actors = slot.actors();
            actors.room.as_ref().filter(|room| room.connected()).map(|room| {
                let (answer, hear) = oneshot::channel();
                (room.try_send(GoToSleep { answer }), hear)
            })
        };
        if let Some((sent, hear)) = asked
            && (sent.is_err() || !hear.await.unwrap_or(false))
        {
            return false;
        }
        // Ended on purpose: whoever enters next starts a room, and nobody counts a restart.
        slot.actors().room = None;
        let (answer, hear) = oneshot::channel();
        let asked = slot
            .actors()
            .project
            .as_ref()
            .is_some_and(|project| project.try_send(GoToSleep { answer }).is_ok());
        if !asked || !hear.await.unwrap_or(false) {
            return false;
        }
        self.0.slots.remove_if(&slot.id, |_, present| Arc::ptr_eq(present, slot));
        true
    }
}

/// A side write again, for a message that may have to be sent twice.
pub(crate) fn copy_of(side: &SideWrite) -> SideWrite {
    match side {
        SideWrite::Put { space, key, value } => {
            SideWrite::Put { space: *space, key: key.clone(), value: value.clone() }
        }
        SideWrite::Delete { space, key } => SideWrite::Delete { space: *space, key: key.clone() },
    }
}
