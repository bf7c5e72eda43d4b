//! The actor of one project: the shell around its keeper, and around the engine's [`Tending`], which says when
//! something is to be asked for and when to look again.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, fut::wrap_future};
use kaibiao_engine::{
    keeper::Recorded,
    project::ProjectMachine,
    reaction::tending::{Act, Drain, Tending, TendingInput, TendingOutput},
};
use kaibiao_protocol::{command::ProjectCommand, event::ProjectEvent, refusal::Refusal};

use crate::{
    house::House,
    journal::Stream,
    keeper_actor::{Keeps, Shell, ask, replayed},
    limits::{AFTER_DEATH_MS, RETRY},
    messages::{AskProject, GoToSleep, KeeperAsk, Load, Published, Wake},
    slot::{Committed, Slot},
};

/// One project's actor.
pub(crate) struct ProjectActor {
    slot: Arc<Slot>,
    house: House,
    shell: Option<Shell<ProjectMachine>>,
    tending: Tending,
    /// Whether followers missed a hint and will be told again.
    telling_again: bool,
}

impl ProjectActor {
    pub(crate) fn new(slot: Arc<Slot>, house: House) -> Self {
        let tending = match house.outage() {
            Some((from, until)) => Tending::after_outage(from, until),
            None => Tending::default(),
        };
        Self { slot, house, shell: None, tending, telling_again: false }
    }

    fn replay(&mut self, ctx: &mut Context<Self>) {
        let (journal, stream) = (self.house.journal().clone(), Stream::Project(self.slot.id.clone()));
        let reading = async move {
            let read = tokio::task::spawn_blocking(move || replayed::<ProjectMachine>(&*journal, &stream));
            read.await.ok()
        };
        // No message is handled before the state is there.
        ctx.wait(wrap_future::<_, Self>(reading).map(|read, actor, ctx| match read {
            Some(Ok(keeper)) => {
                actor.shell = Some(Shell::new(
                    keeper,
                    Stream::Project(actor.slot.id.clone()),
                    actor.house.journal().clone(),
                    actor.house.metrics().clone(),
                ));
                actor.commit();
                actor.look(ctx);
            }
            Some(Err(fault)) => {
                tracing::error!(project = %actor.slot.id, %fault, "a project cannot be replayed");
                ctx.stop();
            }
            None => ctx.stop(),
        }));
    }

    /// Shows the committed state to all who read it without asking.
    fn commit(&self) {
        if let Some(shell) = &self.shell {
            let keeper = shell.keeper();
            self.slot.set_committed(Committed { seq: keeper.last_seq(), project: keeper.snapshot() });
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        // Before the state is read: a wake that comes from here on is looked at anew.
        self.slot.take_wake();
        self.tend(TendingInput::Look, ctx);
    }

    /// Looks where a wake found the mailbox full: whoever filled it is handled before this.
    fn look_if_woken(&mut self, ctx: &mut Context<Self>) {
        if self.slot.take_wake() {
            self.look(ctx);
        }
    }

    /// Gives the tending an input and carries out what it says. Whether the actor may sleep, if that was asked.
    fn tend(&mut self, input: TendingInput, ctx: &mut Context<Self>) -> bool {
        let project = match &self.shell {
            Some(shell) => shell.keeper().snapshot(),
            None => self.slot.committed().unwrap_or_default().project,
        };
        let (now, ready) = (self.house.clock().present(), self.slot.opening_is_ready());
        let mut outputs = Vec::new();
        self.tending.handle(input, &project, now, ready, &mut outputs);
        let mut sleeps = false;
        for output in outputs {
            match output {
                TendingOutput::RunOpening => self.house.ensure_opening(&self.slot),
                TendingOutput::Act(act) => self.act(*act, ctx),
                TendingOutput::Wake(at) => self.house.timer().set(&self.slot.id, at),
                TendingOutput::LookAfter(ms) => {
                    ctx.run_later(Duration::from_millis(ms.unsigned_abs()), |actor, ctx| actor.look(ctx));
                }
                TendingOutput::Sleep(may) => sleeps = may,
            }
        }
        sleeps
    }

    fn act(&mut self, act: Act, ctx: &mut Context<Self>) {
        let (house, slot, due) = (self.house.clone(), self.slot.clone(), act.due);
        let acting = async move { perform(&house, &slot, act).await };
        ctx.spawn(wrap_future::<_, Self>(acting).map(move |done, actor, ctx| {
            if let Err(refusal) = done {
                tracing::warn!(
                    project = %actor.slot.id, ?due, code = refusal.code.as_str(),
                    "what seemed due was refused"
                );
            }
            actor.tend(TendingInput::Acted(due), ctx);
        }));
    }

    fn tell(&mut self, hint: &Published, ctx: &mut Context<Self>) {
        if self.slot.publish(hint) || self.telling_again {
            return;
        }
        self.telling_again = true;
        ctx.run_later(RETRY, |actor, ctx| {
            actor.telling_again = false;
            let last_seq = actor.shell.as_ref().map_or(0, |shell| shell.keeper().last_seq());
            actor.tell(&Published { last_seq, records: Arc::new([]) }, ctx);
        });
    }
}

async fn perform(house: &House, slot: &Slot, act: Act) -> Result<(), Refusal> {
    match act.after {
        Some(Drain::Finals) => house.intake().drained(&slot.id).await,
        Some(Drain::Envelopes) => slot.envelopes.drained().await,
        None => {}
    }
    house.ask_project(AskProject::new(slot.id.clone(), act.asker, act.command)).await.map(drop)
}

impl Actor for ProjectActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.house.metrics().projects_live.inc();
        self.replay(ctx);
    }
}

impl Drop for ProjectActor {
    fn drop(&mut self) {
        self.house.metrics().projects_live.dec();
        // It died, by a panic or a failed append, and perhaps nobody will ask for it: what is due must happen all
        // the same. Where nothing can be written any more, the next start sees to it.
        let writes = self.house.journal().meters().writing_ended.is_none();
        if !self.slot.has_ended() && !self.house.is_stopping() && writes {
            let soon = self.house.clock().present().plus_ms(AFTER_DEATH_MS);
            self.house.timer().set(&self.slot.id, Some(soon));
        }
    }
}

impl Keeps<ProjectMachine> for ProjectActor {
    fn shell(&mut self) -> Option<&mut Shell<ProjectMachine>> {
        self.shell.as_mut()
    }

    fn published(&mut self, _: u64, records: Vec<Recorded<ProjectEvent>>, ctx: &mut Context<Self>) {
        self.commit();
        for record in &records {
            match &record.event {
                ProjectEvent::ProjectCreated { spec, .. } => self.house.note_project(spec),
                ProjectEvent::DeadlineMoved { deadline, .. } => {
                    self.house.note_deadline(&self.slot.id, *deadline);
                }
                _ => {}
            }
        }
        let last_seq = records.last().map_or(0, |record| record.seq);
        self.tell(&Published { last_seq, records: records.into() }, ctx);
        self.look(ctx);
    }

    fn append_failed(&mut self, ctx: &mut Context<Self>) {
        tracing::error!(project = %self.slot.id, "an append failed; the project starts anew by replay");
        ctx.stop();
    }
}

impl Handler<KeeperAsk<ProjectCommand>> for ProjectActor {
    type Result = ();

    fn handle(&mut self, message: KeeperAsk<ProjectCommand>, ctx: &mut Context<Self>) {
        ask(self, message, ctx);
        self.look_if_woken(ctx);
    }
}

impl Handler<Wake> for ProjectActor {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Context<Self>) {
        self.look(ctx);
    }
}

impl Handler<Load> for ProjectActor {
    type Result = ();

    fn handle(&mut self, message: Load, ctx: &mut Context<Self>) {
        if self.shell.is_some() {
            // Whoever asked may have gone away.
            let _ = message.answer.send(());
        }
        self.look_if_woken(ctx);
    }
}

impl Handler<GoToSleep> for ProjectActor {
    type Result = ();

    fn handle(&mut self, message: GoToSleep, ctx: &mut Context<Self>) {
        self.look_if_woken(ctx);
        let waiting = self.shell.as_ref().map_or(0, |shell| shell.keeper().waiting());
        // The next wake is set before the slot ends: whoever starts the project anew sets its next one after this.
        let idle = self.tend(TendingInput::GoToSleep { waiting }, ctx);
        if idle {
            // Whoever's ask lies behind this message hears nothing, finds the slot ended and asks in a new one.
            self.slot.end();
            ctx.stop();
        }
        // The house may be stopping.
        let _ = message.answer.send(idle);
    }
}

#[cfg(feature = "practice")]
impl Handler<crate::messages::Panic> for ProjectActor {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Panic, _: &mut Context<Self>) {
        panic!("told to, to see what follows");
    }
}
