//! The server as one node of the world: a shell around the production cores, on one thread and in virtual time.
//!
//! What the actix shells do with mailboxes, threads and channels, this one does with a queue of [`Work`] of its own.
//! It decides nothing: what follows from an input says a core. It holds what the shells hold: who waits for which
//! answer, the one-time key, keys and bids being opened. Dropping it is the death of the process.

mod asks;
mod finals;
mod openings;
mod projects;
mod rooms;
mod start;
mod store;
mod uploads;
mod verdicts;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
};

use kaibiao_actors::clock::{Clock, Hands};
use kaibiao_engine::{
    directory::Directory,
    keeper::{Done, Recorded},
    reaction::{opening::OpeningInput, reception::Reception, tickets::Tickets, wakes::Wakes},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    ids::{ProjectId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    refusal::{Refusal, RefusalCode},
};
use kaibiao_sealed::trust::Trust;

use self::{
    asks::Asked,
    finals::{FinalNo, FinalRun, Waits},
    openings::OpeningWork,
    projects::{ProjectAsk, Slot},
    rooms::Conn,
    store::Store,
    uploads::Upload,
};
use super::{
    draw::Draw,
    fault::Fault,
    schedule::{Instant, Schedule},
    wire::{Caller, ConnId, ToClient, ToServer},
};

pub(super) use self::{start::prime, store::stored};

/// What the node tells the network.
pub(super) enum Out {
    /// Write this to a connection.
    Send(ConnId, ToClient),
    /// Close it.
    Close(ConnId),
}

/// What a node is set up with.
#[derive(Clone, Copy)]
pub(super) struct NodeLimits {
    /// Deliveries a connection may be behind before it is cut.
    pub(super) pipe_deliveries_max: usize,
    /// Messages that may be on their way to a connection.
    pub(super) window: u32,
}

/// The running process.
pub(super) struct Node {
    now: Instant,
    work: Schedule<Work>,
    store: Store,
    clock: Clock,
    hands: Arc<Hands>,
    directory: Arc<Directory>,
    trust: Arc<Trust>,
    /// The journal's last stamp before this process wrote anything.
    served_before: Option<Moment>,
    heads: BTreeMap<ProjectId, ProjectSpec>,
    slots: BTreeMap<ProjectId, Slot>,
    wakes: Wakes,
    desks: BTreeMap<ProjectId, Tickets>,
    reception: Reception<Vec<Waits>>,
    finals: BTreeMap<FinalNo, FinalRun>,
    uploads: BTreeMap<UploadId, Upload>,
    drains: Vec<projects::Draining>,
    conns: BTreeMap<ConnId, Conn>,
    /// Connections whose pipe got something.
    stirred: Rc<RefCell<Vec<ConnId>>>,
    out: VecDeque<Out>,
    draw: Draw,
    lives: u64,
    limits: NodeLimits,
    busy_until: BTreeMap<ProjectId, Instant>,
    slow_work: (u32, Instant),
}

/// What is to be done later. `life` names an actor: what was meant for one that died is dropped.
enum Work {
    /// An ask of a person reaches its task.
    Asked(Box<Asked>),
    /// A command reaches a project's mailbox.
    Mail(Box<ProjectAsk>),
    /// A project's stream is replayed.
    Replayed { project: ProjectId, life: u64 },
    /// A project looks whether something is due.
    Look { project: ProjectId, life: u64 },
    /// Somebody wakes a project.
    Wake { project: ProjectId },
    /// A room hears of new records.
    RoomHint { project: ProjectId, life: u64, records: Rc<[Recorded<ProjectEvent>]> },
    /// A room's stream is replayed.
    RoomReplayed { project: ProjectId, life: u64 },
    /// An opening gets an input.
    Opening { project: ProjectId, life: u64, input: Box<OpeningInput> },
    /// A piece of work of an opening is done.
    Errand { project: ProjectId, life: u64, work: OpeningWork },
    /// An opening's beat.
    Beat { project: ProjectId, life: u64 },
    /// A final's work is done, or its wait over.
    Final { no: FinalNo, step: finals::FinalStep },
    /// The journal takes its next step.
    Journal,
    /// The journal's queue was full.
    Refused(Box<store::AppendOf>),
    /// What was written of an upload is synced and noted.
    UploadSync { upload: UploadId, waits: ConnId },
    /// Idle projects are let go.
    Sweep,
}

impl Node {
    /// Whether nothing can be written any more, so that the process must be started anew.
    pub(super) fn writing_ended(&self) -> bool {
        self.store.writing_ended()
    }

    /// Whether the disk died under the process: whatever it did since did not happen.
    pub(super) fn is_dead(&self) -> bool {
        self.store.is_dead()
    }

    /// What the node tells the network, in order.
    pub(super) fn take_out(&mut self) -> impl Iterator<Item = Out> + '_ {
        self.out.drain(..)
    }

    /// When the node wants to go on.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let timer = self.wakes.next().map(|at| {
            let wait = at.micros_since(self.clock.present()).max(0);
            self.now.plus_us(u64::try_from(wait).unwrap_or(0))
        });
        match (self.work.next_at(), timer) {
            (Some(work), Some(timer)) => Some(work.min(timer)),
            (work, timer) => work.or(timer),
        }
    }

    /// Lets the node's time pass, up to `now`, without doing anything.
    pub(super) fn pass_to(&mut self, now: Instant) {
        let micros = now.us_since(self.now);
        if micros > 0 {
            self.hands.pass_micros(i64::try_from(micros).unwrap_or(i64::MAX));
            self.now = now;
        }
    }

    /// Does one thing that is due by now; false: nothing is.
    pub(super) fn go_on(&mut self) -> bool {
        let due = self.wakes.take_due(self.clock.present());
        for (_, project) in due {
            self.work.at(self.now, Work::Wake { project });
        }
        if self.work.next_at().is_none_or(|at| at > self.now) {
            return false;
        }
        if let Some(work) = self.work.pop() {
            self.do_work(work);
        }
        self.flush_stirred();
        true
    }

    fn do_work(&mut self, work: Work) {
        match work {
            Work::Asked(asked) => self.answer(*asked),
            Work::Mail(ask) => self.mail(*ask),
            Work::Replayed { project, life } => self.replayed(&project, life),
            Work::Look { project, life } => {
                if self.is_living(&project, life) {
                    self.look(&project);
                }
            }
            Work::Wake { project } => self.wake(&project),
            Work::RoomHint { project, life, records } => self.room_hint(&project, life, &records),
            Work::RoomReplayed { project, life } => self.room_replayed(&project, life),
            Work::Opening { project, life, input } => {
                if self.opening_lives(&project, life) {
                    self.drive_opening(&project, *input);
                }
            }
            Work::Errand { project, life, work } => {
                if self.opening_lives(&project, life) {
                    self.opening_work(&project, work);
                }
            }
            Work::Beat { project, life } => {
                if self.opening_lives(&project, life) {
                    self.beat(&project, life);
                }
            }
            Work::Final { no, step } => self.final_step(no, step),
            Work::Journal => self.journal_step(),
            Work::Refused(of) => self.appended(*of, Err(kaibiao_actors::journal::AppendFault::Busy)),
            Work::UploadSync { upload, waits } => self.upload_sync(upload, waits),
            Work::Sweep => self.sweep(),
        }
    }

    /// A connection was taken up.
    pub(super) fn connect(&mut self, conn: ConnId, caller: Caller) {
        self.conns.insert(conn, Conn::new(caller, self.limits));
    }

    /// A message came in over a connection.
    pub(super) fn receive(&mut self, conn: ConnId, message: ToServer) {
        match message {
            ToServer::Ask { id, ask } => self.hear_ask(conn, id, ask),
            ToServer::BeginUpload { upload, project, purpose, total } => {
                self.begin_upload(conn, upload, project, purpose, total);
            }
            ToServer::WhereStands { upload, project } => self.where_stands(conn, upload, &project),
            ToServer::Piece { upload, project, offset, bytes } => {
                self.piece(conn, upload, &project, offset, bytes);
            }
        }
        self.flush_stirred();
    }

    /// A connection is gone.
    pub(super) fn cut(&mut self, conn: ConnId) {
        self.forget_conn(conn);
    }

    /// A message was read at the other end: there is room for one more.
    pub(super) fn was_read(&mut self, conn: ConnId) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.credit += 1;
        }
        self.flush(conn);
    }

    /// Brings a fault that concerns the process or what it stands on.
    pub(super) fn bring(&mut self, fault: &Fault) {
        match fault {
            Fault::WallClock { step_ms } => {
                let wall = self.clock.divergence_micros() + self.clock.present().0;
                self.hands.set_wall(Moment(wall).plus_ms(*step_ms));
            }
            Fault::ClockSlew { ahead_ms } => {
                self.hands.pass_ms(i64::try_from(*ahead_ms).unwrap_or(i64::MAX));
            }
            Fault::ProjectBusy { project, for_ms } => {
                self.busy_until.insert(project.clone(), self.now.plus_ms(*for_ms));
            }
            Fault::SlowWork { times, for_ms } => self.slow_work = (*times, self.now.plus_ms(*for_ms)),
            Fault::LetGo { project } => self.let_go(project, 0),
            Fault::ProjectDies { project } => self.project_dies(project),
            Fault::OpeningDies { project } => self.opening_dies(project),
            Fault::RoomDies { project } => self.room_dies(project),
            Fault::Revoked { conn } => self.revoke(*conn),
            Fault::SyncFails { .. }
            | Fault::DiskFull { .. }
            | Fault::SlowDisk { .. }
            | Fault::StoreTrouble { .. }
            | Fault::BitFlip { .. }
            | Fault::JournalBusy { .. }
            | Fault::CrashAtStep { .. } => self.bring_to_store(fault),
            Fault::Crash { .. } | Fault::JournalLost { .. } | Fault::Cut { .. } | Fault::CutAll => {}
        }
        self.flush_stirred();
    }

    /// How long something takes; its draw belongs to what it is and to this instant.
    fn takes(&self, what: &str, usual_us: u64) -> u64 {
        self.draw.named(what).of(self.now.0).latency_us(usual_us)
    }

    /// The same for checks and unsealing, which a fault may slow down.
    fn work_takes(&self, what: &str, usual_us: u64) -> u64 {
        let times = if self.slow_work.1 > self.now { u64::from(self.slow_work.0) } else { 1 };
        self.takes(what, usual_us) * times
    }

    fn later(&mut self, us: u64, work: Work) {
        self.work.at(self.now.plus_us(us), work);
    }

    fn next_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }
}

/// Who hears the answer to a command.
#[derive(Clone)]
enum Hearer {
    /// A person's ask.
    Person { conn: ConnId, id: u64 },
    /// A person's withdrawal, whose ticket is settled by the answer.
    Withdrawal { conn: ConnId, id: u64, ticket: kaibiao_engine::reaction::tickets::TicketNo },
    /// A person asks for a receipt again.
    Receipt { conn: ConnId, id: u64 },
    /// A final.
    Final(FinalNo),
    /// A restored bid.
    Restore(UploadId),
    /// A step of an opening.
    Opening { life: u64, step: kaibiao_engine::reaction::opening::OpeningStep },
    /// An order, with the key it is served with.
    Order { life: u64, serving: openings::Serving },
    /// An act of tending.
    Act { life: u64, due: kaibiao_engine::reaction::Due },
}

fn refuse(code: RefusalCode) -> Refusal {
    kaibiao_engine::refusals::refuse(code, kaibiao_engine::rules::RulePack::default())
}

type Told = Result<Done, Refusal>;
