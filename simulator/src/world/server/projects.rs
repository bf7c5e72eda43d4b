//! Live projects: their keepers, what they have in hand, who waits for what; and how they come and go.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use kaibiao_actors::{journal::Stream, practice::command_id};
use kaibiao_engine::{
    keeper::{Ask, AskNo, Input, Keeper, Machine, Output, Recorded, SideWrite},
    project::{Project, ProjectMachine},
    reaction::{
        opening::{OpeningAsk, OpeningInput},
        tending::{Act, Drain, Tending, TendingInput, TendingOutput, ahead_of},
        tickets::{TicketNo, Tickets},
    },
};
use kaibiao_protocol::{
    command::ProjectCommand,
    event::ProjectEvent,
    ids::{CommandId, ProjectId},
    moment::Moment,
    refusal::RefusalCode,
    role::Asker,
};

use super::{
    Hearer, Node, Told, Work,
    asks::Asked,
    finals::{FinalNo, FinalStep},
    openings::OpeningRun,
    refuse,
    rooms::Room,
    store::AppendOf,
};

/// How long a project's actor waits before it asks again, and a hearer before it asks a new actor.
const RETRY_US: u64 = 100_000;
/// How often an ask is given to a new actor after the old one died with it.
const ATTEMPTS_MAX: u8 = 4;
/// How long after an actor's death its project is looked at, where nobody asks for it.
const AFTER_DEATH_MS: i64 = 1_000;
/// How long a project is idle before it is let go.
pub(super) const IDLE_MS: i64 = 5 * 60_000;
/// How often idle projects are looked for.
pub(super) const SWEEP_US: u64 = 30_000_000;

/// One live project.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) actor: Option<Actor>,
    /// As committed, with the position of its last record. Outlives the actor.
    pub(super) committed: Option<(u64, Arc<Project>)>,
    pub(super) opening: Option<OpeningRun>,
    pub(super) opening_ready: bool,
    pub(super) room: Option<Room>,
    pub(super) envelopes: Tickets,
    used_at: Option<Moment>,
    /// What waits until the project is loaded.
    parked: Vec<Parked>,
}

/// A project's actor.
pub(super) struct Actor {
    pub(super) life: u64,
    shell: Option<Shell>,
    /// Mail that came before the stream was replayed.
    mail: Vec<ProjectAsk>,
    tending: Tending,
}

struct Shell {
    keeper: Keeper<ProjectMachine>,
    answers: BTreeMap<AskNo, ProjectAsk>,
    next: u64,
}

/// A command on its way to a project.
#[derive(Clone)]
pub(super) struct ProjectAsk {
    pub(super) project: ProjectId,
    pub(super) asker: Asker,
    /// Its stamp.
    pub(super) at: Moment,
    pub(super) command_id: CommandId,
    pub(super) command: ProjectCommand,
    pub(super) side: Sides,
    pub(super) hearer: Hearer,
    attempts: u8,
}

/// Side writes that can be sent again.
#[derive(Clone, Default)]
pub(super) struct Sides(pub(super) Rc<Vec<SideWrite>>);

impl Sides {
    fn copies(&self) -> Vec<SideWrite> {
        let copy = |side: &SideWrite| match side {
            SideWrite::Put { space, key, value } => {
                SideWrite::Put { space: *space, key: key.clone(), value: value.clone() }
            }
            SideWrite::Delete { space, key } => SideWrite::Delete { space: *space, key: key.clone() },
        };
        self.0.iter().map(copy).collect()
    }
}

/// What waits for a project to be loaded.
pub(super) enum Parked {
    Ask(Box<Asked>),
    Final(FinalNo),
}

/// What waits until earlier tickets are settled.
pub(super) struct Draining {
    project: ProjectId,
    life: u64,
    what: Drain,
    until: TicketNo,
    then: Then,
}

enum Then {
    Act(Box<Act>),
    Opening(Box<OpeningAsk>),
}

impl ProjectAsk {
    pub(super) fn new(
        project: ProjectId,
        asker: Asker,
        at: Moment,
        command_id: CommandId,
        command: ProjectCommand,
        hearer: Hearer,
    ) -> Self {
        Self { project, asker, at, command_id, command, side: Sides::default(), hearer, attempts: 0 }
    }

    pub(super) fn with(mut self, side: Vec<SideWrite>) -> Self {
        self.side = Sides(Rc::new(side));
        self
    }
}

impl Node {
    /// A name that nothing else has, for a command that nobody sends again: from its stamp, which nobody shares.
    pub(super) fn once(&self, at: Moment) -> CommandId {
        command_id(&[b"once", &at.0.to_be_bytes()])
    }

    /// Gives a command to a project. The answer goes to its hearer, sooner or later.
    pub(super) fn ask_project(&mut self, ask: ProjectAsk) {
        if !self.heads.contains_key(&ask.project)
            && !matches!(ask.command, ProjectCommand::CreateProject { .. })
        {
            self.hear(&ask.project, ask.hearer, Err(refuse(RefusalCode::Unknown)));
            return;
        }
        let takes = self.draw.named("mailbox").of(ask.at.0 as u64).latency_us(20);
        self.later(takes, Work::Mail(Box::new(ask)));
    }

    /// A command reaches its project's mailbox.
    pub(super) fn mail(&mut self, ask: ProjectAsk) {
        if self.busy_until.get(&ask.project).is_some_and(|until| *until > self.now) {
            self.hear(&ask.project, ask.hearer, Err(refuse(RefusalCode::Busy)));
            return;
        }
        let project = ask.project.clone();
        self.ensure_actor(&project);
        let Some(actor) = self.slot(&project).actor.as_mut() else { return };
        if actor.shell.is_none() {
            actor.mail.push(ask);
            return;
        }
        self.give(ask);
    }

    fn give(&mut self, ask: ProjectAsk) {
        let project = ask.project.clone();
        let Some(shell) = self.shell(&project) else { return };
        let no = AskNo(shell.next);
        shell.next += 1;
        let input = Input::Ask(Ask {
            no,
            command_id: Some(ask.command_id),
            asker: ask.asker.clone(),
            at: ask.at,
            command: ask.command.clone(),
            side: ask.side.copies(),
        });
        shell.answers.insert(no, ask);
        self.feed(&project, input);
    }

    /// Gives a keeper an input and carries out what it says.
    pub(super) fn feed(&mut self, project: &ProjectId, input: Input<ProjectMachine>) {
        let Some(actor) = self.slots.get_mut(project).and_then(|slot| slot.actor.as_mut()) else { return };
        let life = actor.life;
        let Some(shell) = actor.shell.as_mut() else { return };
        let mut outputs = Vec::new();
        shell.keeper.handle(input, &mut outputs);
        let (mut answers, mut published, mut stopped) = (Vec::new(), Vec::new(), false);
        for output in outputs {
            match output {
                Output::Append(batch) => {
                    let stream = Stream::Project(project.clone());
                    self.append_batch(stream, batch, AppendOf::Project { project: project.clone(), life });
                }
                Output::Answer { no, answer } => answers.push((no, answer)),
                Output::Publish { records, .. } => published.push(records),
                Output::Stopped => stopped = true,
            }
        }
        for records in published {
            self.published(project, records);
        }
        for (no, answer) in answers {
            let ask = self.shell(project).and_then(|shell| shell.answers.remove(&no));
            if let Some(ask) = ask {
                self.hear(project, ask.hearer, answer);
            }
        }
        if stopped {
            self.actor_ends(project);
        }
    }

    fn published(&mut self, project: &ProjectId, records: Vec<Recorded<ProjectEvent>>) {
        self.commit(project);
        for record in &records {
            if let ProjectEvent::ProjectCreated { spec, .. } = &record.event {
                self.heads.insert(spec.id.clone(), spec.clone());
            }
        }
        let records: Rc<[Recorded<ProjectEvent>]> = records.into();
        let slot = self.slot(project);
        let room = slot.room.as_ref().map(Room::life);
        let opening = slot.opening.as_ref().map(|opening| opening.life);
        if let Some(life) = room {
            self.later(HINT_US, Work::RoomHint { project: project.clone(), life, records });
        }
        if let Some(life) = opening {
            let input = Box::new(OpeningInput::Recorded);
            self.later(HINT_US, Work::Opening { project: project.clone(), life, input });
        }
        self.look(project);
    }

    /// Shows the committed state to all who read it without asking.
    fn commit(&mut self, project: &ProjectId) {
        let slot = self.slot(project);
        if let Some(shell) = slot.actor.as_ref().and_then(|actor| actor.shell.as_ref()) {
            slot.committed = Some((shell.keeper.last_seq(), shell.keeper.snapshot()));
        }
    }

    /// Looks whether something is due.
    pub(super) fn look(&mut self, project: &ProjectId) {
        self.tend(project, TendingInput::Look);
    }

    fn tend(&mut self, project: &ProjectId, input: TendingInput) -> bool {
        let now = self.clock.present();
        let Some(slot) = self.slots.get_mut(project) else { return false };
        let ready = slot.opening_ready;
        let Some(actor) = slot.actor.as_mut() else { return false };
        let Some(shell) = actor.shell.as_ref() else { return false };
        let mut out = Vec::new();
        actor.tending.handle(input, shell.keeper.committed(), now, ready, &mut out);
        let life = actor.life;
        let mut sleeps = false;
        for output in out {
            match output {
                TendingOutput::RunOpening => self.ensure_opening(project),
                TendingOutput::Act(act) => self.begin_act(project, life, act),
                TendingOutput::Wake(at) => {
                    self.wakes.set(project, at);
                }
                TendingOutput::LookAfter(ms) => {
                    let us = u64::try_from(ms).unwrap_or(0) * 1_000;
                    self.later(us, Work::Look { project: project.clone(), life });
                }
                TendingOutput::Sleep(may) => sleeps = may,
            }
        }
        sleeps
    }

    fn begin_act(&mut self, project: &ProjectId, life: u64, act: Box<Act>) {
        match act.after {
            Some(what) => self.drain(project, life, what, Then::Act(act)),
            None => self.act(project, life, *act),
        }
    }

    fn act(&mut self, project: &ProjectId, life: u64, act: Act) {
        let at = self.clock.now();
        let hearer = Hearer::Act { life, due: act.due };
        let ask = ProjectAsk::new(project.clone(), act.asker, at, self.once(at), act.command, hearer);
        self.ask_project(ask);
    }

    /// Gives a command of the opening, once everything that came before has its answer.
    pub(super) fn drain_envelopes(&mut self, project: &ProjectId, life: u64, ask: Box<OpeningAsk>) {
        self.drain(project, life, Drain::Envelopes, Then::Opening(ask));
    }

    fn drain(&mut self, project: &ProjectId, life: u64, what: Drain, then: Then) {
        let until = self.tickets(project, what).last();
        self.drains.push(Draining { project: project.clone(), life, what, until, then });
        self.check_drains(project);
    }

    fn tickets(&mut self, project: &ProjectId, what: Drain) -> &mut Tickets {
        match what {
            Drain::Finals => self.desks.entry(project.clone()).or_default(),
            Drain::Envelopes => &mut self.slot(project).envelopes,
        }
    }

    /// A ticket has its end: what waited for it goes on.
    pub(super) fn settle(&mut self, project: &ProjectId, what: Drain, ticket: TicketNo) {
        self.tickets(project, what).settle(ticket);
        self.check_drains(project);
    }

    fn check_drains(&mut self, project: &ProjectId) {
        let mut index = 0;
        while index < self.drains.len() {
            let drain = &self.drains[index];
            let (same, what, until) = (drain.project == *project, drain.what, drain.until);
            if !same || !self.tickets(project, what).is_drained(until) {
                index += 1;
                continue;
            }
            let drain = self.drains.remove(index);
            match drain.then {
                // The actor that wanted it may have died: its successor looks by itself.
                Then::Act(act) if self.is_living(project, drain.life) => self.act(project, drain.life, *act),
                Then::Opening(ask) if self.opening_lives(project, drain.life) => {
                    self.opening_asks(project, drain.life, *ask);
                }
                Then::Act(_) | Then::Opening(_) => {}
            }
        }
    }

    /// An answer reaches whoever waits for it.
    pub(super) fn hear(&mut self, project: &ProjectId, hearer: Hearer, told: Told) {
        match hearer {
            Hearer::Person { conn, id } => self.tell_done(conn, id, told),
            Hearer::Withdrawal { conn, id, ticket } => {
                self.tell_done(conn, id, told);
                self.settle(project, Drain::Finals, ticket);
            }
            Hearer::Receipt { conn, id } => self.tell_receipt(conn, id, project, told),
            Hearer::Final(no) => self.final_step(no, FinalStep::Answered(told)),
            Hearer::Restore(upload) => self.restore_told(upload, told),
            Hearer::Opening { life, step } => {
                if self.opening_lives(project, life) {
                    self.drive_opening(project, OpeningInput::Told { step, told });
                }
            }
            Hearer::Order { life, serving } => {
                if self.opening_lives(project, life) {
                    self.order_told(project, serving, told.map(drop));
                }
            }
            Hearer::Act { life, due } => {
                if self.is_living(project, life) {
                    self.tend(project, TendingInput::Acted(due));
                }
            }
        }
    }

    /// Wakes a project: it is loaded, or looks.
    pub(super) fn wake(&mut self, project: &ProjectId) {
        self.ensure_actor(project);
        self.look(project);
    }

    /// Starts a project's actor where none lives.
    fn ensure_actor(&mut self, project: &ProjectId) {
        if self.slot(project).actor.is_some() {
            return;
        }
        let life = self.next_life();
        let actor = Actor { life, shell: None, mail: Vec::new(), tending: Tending::default() };
        self.slot(project).actor = Some(actor);
        let takes = self.takes("replay", 500);
        self.later(takes, Work::Replayed { project: project.clone(), life });
    }

    /// A project's stream is read: it is live.
    pub(super) fn replayed(&mut self, project: &ProjectId, life: u64) {
        if !self.is_living(project, life) {
            return;
        }
        let keeper = match self.store.replay_project(project) {
            Ok(keeper) => keeper,
            Err(_) => return self.actor_ends(project),
        };
        let slot = self.slot(project);
        let Some(actor) = slot.actor.as_mut() else { return };
        actor.shell = Some(Shell { keeper, answers: BTreeMap::new(), next: 1 });
        let mail = std::mem::take(&mut actor.mail);
        let parked = std::mem::take(&mut slot.parked);
        self.commit(project);
        self.look(project);
        for ask in mail {
            self.give(ask);
        }
        for parked in parked {
            self.unpark(project, parked);
        }
    }

    fn unpark(&mut self, project: &ProjectId, parked: Parked) {
        match parked {
            Parked::Ask(asked) => self.answer(*asked),
            Parked::Final(no) => {
                let loaded = self.committed(project);
                self.final_step(no, loaded.map_or(FinalStep::Unreadable, FinalStep::Loaded));
            }
        }
    }

    /// Lets something wait until the project is loaded.
    pub(super) fn park(&mut self, project: &ProjectId, parked: Parked) {
        self.ensure_actor(project);
        self.slot(project).parked.push(parked);
    }

    /// The project as committed, if it is loaded.
    pub(super) fn committed(&mut self, project: &ProjectId) -> Option<Arc<Project>> {
        let now = self.clock.present();
        let slot = self.slots.get_mut(project)?;
        slot.used_at = Some(now);
        slot.committed.as_ref().map(|(_, project)| project.clone())
    }

    /// A project's actor dies, with all it had in hand.
    pub(super) fn project_dies(&mut self, project: &ProjectId) {
        if self.slots.get(project).is_some_and(|slot| slot.actor.is_some()) {
            self.actor_ends(project);
        }
    }

    /// The actor is gone: by a bug, a failed append or a stream that cannot be read. Who waited asks a new one.
    fn actor_ends(&mut self, project: &ProjectId) {
        let slot = self.slot(project);
        let Some(actor) = slot.actor.take() else { return };
        let parked = std::mem::take(&mut slot.parked);
        let answers = actor.shell.map(|shell| shell.answers).unwrap_or_default();
        for ask in answers.into_values().chain(actor.mail) {
            self.ask_again(ask);
        }
        for parked in parked {
            match parked {
                Parked::Ask(asked) => self.later(RETRY_US, Work::Asked(asked)),
                Parked::Final(no) => {
                    self.later(RETRY_US, Work::Final { no, step: FinalStep::Unreadable });
                }
            }
        }
        // Perhaps nobody asks for it: what is due must happen all the same.
        if !self.writing_ended() {
            let soon = self.clock.present().plus_ms(AFTER_DEATH_MS);
            self.wakes.set(project, Some(soon));
        }
    }

    fn ask_again(&mut self, mut ask: ProjectAsk) {
        ask.attempts += 1;
        if ask.attempts >= ATTEMPTS_MAX {
            let project = ask.project.clone();
            self.hear(&project, ask.hearer, Err(refuse(RefusalCode::Busy)));
        } else {
            self.later(RETRY_US, Work::Mail(Box::new(ask)));
        }
    }

    /// Looks for idle projects.
    pub(super) fn sweep(&mut self) {
        let all: Vec<ProjectId> = self.slots.keys().cloned().collect();
        for project in all {
            self.let_go(&project, IDLE_MS);
        }
        self.later(SWEEP_US, Work::Sweep);
    }

    /// Lets a project go to sleep that nobody asked for since `idle_ms`, that nobody watches and that has nothing to
    /// do soon.
    pub(super) fn let_go(&mut self, project: &ProjectId, idle_ms: i64) {
        let now = self.clock.present();
        let finals = self.desks.get(project).map_or(0, Tickets::open);
        let Some(slot) = self.slots.get_mut(project) else { return };
        let Some((_, committed)) = &slot.committed else { return };
        let soon = ProjectMachine::wake_at(committed).is_some_and(|at| ahead_of(at) <= now);
        let used = slot.used_at.is_some_and(|at| now.micros_since(at) < idle_ms * 1_000);
        let busy =
            slot.opening.is_some() || slot.envelopes.open() > 0 || finals > 0 || !slot.parked.is_empty();
        if soon || used || busy || slot.room.as_mut().is_some_and(|room| !room.is_idle()) {
            return;
        }
        slot.room = None;
        let waiting = match slot.actor.as_ref() {
            Some(Actor { shell: Some(shell), .. }) => shell.keeper.waiting(),
            Some(Actor { shell: None, .. }) | None => return,
        };
        if self.tend(project, TendingInput::GoToSleep { waiting }) {
            self.slots.remove(project);
        }
    }

    pub(super) fn slot(&mut self, project: &ProjectId) -> &mut Slot {
        if !self.slots.contains_key(project) {
            self.slots
                .insert(project.clone(), Slot { used_at: Some(self.clock.present()), ..Slot::default() });
        }
        self.slots.get_mut(project).expect("it was put there just now")
    }

    fn shell(&mut self, project: &ProjectId) -> Option<&mut Shell> {
        self.slots.get_mut(project)?.actor.as_mut()?.shell.as_mut()
    }

    /// Whether this very actor lives.
    pub(super) fn is_living(&self, project: &ProjectId, life: u64) -> bool {
        let actor = self.slots.get(project).and_then(|slot| slot.actor.as_ref());
        actor.is_some_and(|actor| actor.life == life)
    }

    /// Every project that is live, as committed.
    pub(in crate::world) fn live(&self) -> impl Iterator<Item = (&ProjectId, u64, &Arc<Project>)> {
        self.slots.iter().filter_map(|(id, slot)| {
            let (seq, project) = slot.committed.as_ref()?;
            Some((id, *seq, project))
        })
    }
}

/// How long a hint of new records takes to a room or an opening.
const HINT_US: u64 = 20;
