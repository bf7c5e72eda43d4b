//! The actor of one project: the shell around its keeper, and the one who looks whether something is due.
//!
//! What is due the engine says, from the state and the clock; this actor asks for it through the same door as
//! everybody else. A wake may come late, early, twice or never: it looks after every append as well.

use std::{collections::BTreeSet, sync::Arc};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, fut::wrap_future};
use kaibiao_engine::{
    keeper::{Machine, Recorded},
    project::{Project, ProjectMachine},
    reaction::{Due, due},
};
use kaibiao_protocol::{
    command::ProjectCommand,
    event::ProjectEvent,
    moment::Moment,
    refusal::Refusal,
    role::{Asker, Reactor},
    view::ProjectStatus,
};

use crate::{
    house::House,
    journal::Stream,
    keeper_actor::{Keeps, Shell, ask, replayed},
    limits::{AFTER_DEATH_MS, RETRY, WAKE_AHEAD_MS},
    messages::{AskProject, GoToSleep, KeeperAsk, Load, Published, Wake},
    slot::{Committed, Slot},
};

/// One project's actor.
pub(crate) struct ProjectActor {
    slot: Arc<Slot>,
    house: House,
    shell: Option<Shell<ProjectMachine>>,
    /// What is being asked for by this actor right now.
    acting: BTreeSet<Due>,
    /// Whether followers missed a hint and will be told again.
    telling_again: bool,
}

impl ProjectActor {
    pub(crate) fn new(slot: Arc<Slot>, house: House) -> Self {
        Self { slot, house, shell: None, acting: BTreeSet::new(), telling_again: false }
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

    /// Asks for what is due, starts who is needed, and sets the next wake.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(shell) = &self.shell else { return };
        let project = shell.keeper().snapshot();
        if !project.exists() {
            return;
        }
        if opening_runs(&project) {
            self.house.ensure_opening(&self.slot);
        }
        let now = self.house.clock().present();
        for due in due(&project, now) {
            let held = due == Due::ElapseWindow && !self.slot.opening_is_ready();
            if !held && self.acting.insert(due) {
                self.act(due, ctx);
            }
        }
        // What is past is being acted on, or held until the opening wakes this actor.
        let next = ProjectMachine::wake_at(&project).filter(|at| *at > now);
        self.house.timer().set(&self.slot.id, next);
    }

    fn act(&self, due: Due, ctx: &mut Context<Self>) {
        let (house, slot) = (self.house.clone(), self.slot.clone());
        let acting = async move { perform(&house, &slot, due).await };
        ctx.spawn(wrap_future::<_, Self>(acting).map(move |done, actor, ctx| {
            actor.acting.remove(&due);
            if let Err(refusal) = done {
                tracing::warn!(
                    project = %actor.slot.id, ?due, code = refusal.code.as_str(),
                    "what seemed due was refused"
                );
            }
            // Its records made this actor look already; this look is for a refusal, and for what was due meanwhile.
            ctx.run_later(RETRY, |actor, ctx| actor.look(ctx));
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

/// Whether the project needs somebody to run its opening.
fn opening_runs(project: &Project) -> bool {
    match project.status() {
        Some(ProjectStatus::AwaitingOrder | ProjectStatus::AwaitingKeys | ProjectStatus::Settling) => true,
        Some(ProjectStatus::Published) => project.record_signature().is_none(),
        Some(ProjectStatus::Receiving | ProjectStatus::AwaitingStart | ProjectStatus::Ended) | None => false,
    }
}

async fn perform(house: &House, slot: &Slot, due: Due) -> Result<(), Refusal> {
    let (reactor, command) = match due {
        Due::Settle => {
            // Every final stamped before the deadline took its ticket before now (design.md 3, settling).
            house.intake().drained(&slot.id).await;
            (Reactor::Intake, ProjectCommand::CloseReceiving)
        }
        Due::StartOpening => (Reactor::Timer, ProjectCommand::StartOpening { signature: None }),
        Due::ElapseWindow => {
            // The window judges the stamp of a key's arrival; what came in time has its answer first.
            slot.envelopes.drained().await;
            (Reactor::Timer, ProjectCommand::ElapseWindow)
        }
        Due::DeemConfirmed => (Reactor::Timer, ProjectCommand::DeemConfirmed),
    };
    let asker = Asker::Platform { reactor };
    house.ask_project(AskProject::new(slot.id.clone(), asker, command)).await.map(drop)
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
            if let ProjectEvent::ProjectCreated { spec, .. } = &record.event {
                self.house.note_project(spec);
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

    fn handle(&mut self, message: Load, _: &mut Context<Self>) {
        if self.shell.is_some() {
            // Whoever asked may have gone away.
            let _ = message.answer.send(());
        }
    }
}

impl Handler<GoToSleep> for ProjectActor {
    type Result = ();

    fn handle(&mut self, message: GoToSleep, ctx: &mut Context<Self>) {
        let idle =
            self.acting.is_empty() && self.shell.as_ref().is_none_or(|shell| shell.keeper().waiting() == 0);
        if idle {
            // Before the slot ends: whoever starts the project anew sets its next wake after this.
            let committed = self.slot.committed();
            let next = committed.and_then(|committed| ProjectMachine::wake_at(&committed.project));
            self.house.timer().set(&self.slot.id, next.map(ahead_of));
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

/// How long before `at` a sleeping project is loaded.
pub(crate) fn ahead_of(at: Moment) -> Moment {
    at.plus_ms(-WAKE_AHEAD_MS)
}
