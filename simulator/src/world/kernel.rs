//! The world without its people: time, network, disk and server, moved on step by step.
//!
//! Whoever plays the people opens connections, sends, sets timers for itself and brings faults; [`Kernel::next`]
//! lets the world go on until something concerns a person, and says what. Everything happens in the order of
//! virtual time, and everything that is left to chance is drawn from the seed: the same calls give the same steps.

use kaibiao_actors::journal::simulated::{SimDisk, SimJournal};
use kaibiao_engine::{
    keeper::{Machine, Recorded},
    project::{Project, ProjectMachine},
};
use kaibiao_protocol::{event::ProjectEvent, ids::ProjectId, moment::Moment, project::ProjectSpec};

use super::{
    digest::Trace,
    draw::Draw,
    fault::{CrashKind, Fault},
    network::{Network, WINDOW_MESSAGES_MAX},
    schedule::{Instant, Schedule},
    server::{Node, NodeLimits, Out, prime, stored},
    wire::{Caller, ConnId, ToClient, ToServer},
};

/// What the world's wall clock shows at its beginning: 2026-03-02 09:00 in Shanghai.
pub const BEGINNING: Moment = Moment(1_772_413_200_000_000);

/// How long the supervisor of the process waits before it starts it again, where it ended by itself.
const RESTART_US: u64 = 3_000_000;
/// How long until a person sees that a connection is gone.
const GONE_US: u64 = 20_000;

/// What a world begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What everything is drawn from.
    pub seed: u64,
    /// The projects, published before anything else happens.
    pub projects: Vec<ProjectSpec>,
    /// The usual latency of a connection, one way, in microseconds.
    pub latency_us: u64,
    /// Deliveries a connection may be behind before it is cut as a slow reader.
    pub pipe_deliveries_max: usize,
}

/// What happened that concerns people.
#[derive(Clone, Debug)]
pub enum Step {
    /// A person heard something.
    Heard {
        /// Over which connection.
        conn: ConnId,
        /// What.
        message: ToClient,
    },
    /// A person sees that a connection is gone (or was never taken up).
    Gone {
        /// Which.
        conn: ConnId,
    },
    /// A timer of the people's own ran out.
    Woken {
        /// As it was set.
        token: u64,
    },
    /// The server serves, for the n-th time.
    Up {
        /// From 1.
        start: u32,
    },
    /// The server died or ended itself.
    Down,
    /// The server did not start, and says why. It is tried again unless nothing would change.
    NoStart {
        /// What it said.
        why: String,
        /// Whether the journal's check refused the start: nothing is tried any more.
        for_good: bool,
    },
}

/// What the world counted of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Starts of the server.
    pub starts: u32,
    /// Crashes.
    pub crashes: u32,
    /// Messages to the server.
    pub to_server: u64,
    /// Messages to people.
    pub to_people: u64,
    /// Things the server did.
    pub works: u64,
}

/// A world that goes on.
pub struct Kernel {
    schedule: Schedule<Happening>,
    network: Network,
    disk: SimDisk,
    node: Option<Node>,
    /// A start is ordered.
    starting: bool,
    /// How far the machine's wall clock is off, in microseconds.
    wall_off_us: i64,
    draw: Draw,
    latency_us: u64,
    limits: NodeLimits,
    trace: Trace,
    counts: Counts,
    /// What an armed crash leaves.
    armed: Option<(CrashKind, u64)>,
    /// Until when the disk is full.
    full_until: Option<Instant>,
}

enum Happening {
    Arrives {
        conn: ConnId,
        message: Box<ToServer>,
    },
    Connected {
        conn: ConnId,
    },
    Heard {
        conn: ConnId,
        message: Box<ToClient>,
    },
    Gone {
        conn: ConnId,
    },
    /// The server sees that a connection is gone.
    Lost {
        conn: ConnId,
    },
    Woken {
        token: u64,
    },
    Start,
    DiskEmptied,
}

impl Kernel {
    /// A world at its beginning: the projects are published, the server serves.
    ///
    /// # Panics
    /// A project of the setup is none that the engine takes, or the first start is refused: bugs of the plan.
    pub fn new(setup: Setup) -> Self {
        let draw = Draw::new(setup.seed).named("kernel");
        let disk = prime();
        let mut kernel = Self {
            schedule: Schedule::default(),
            network: Network::new(draw.named("network")),
            disk,
            node: None,
            starting: false,
            wall_off_us: 0,
            latency_us: setup.latency_us,
            limits: NodeLimits {
                pipe_deliveries_max: setup.pipe_deliveries_max,
                window: WINDOW_MESSAGES_MAX,
            },
            draw,
            trace: Trace::default(),
            counts: Counts::default(),
            armed: None,
            full_until: None,
        };
        let first = kernel.start(&setup.projects);
        assert!(matches!(first, Some(Step::Up { .. })), "the first start is refused: {first:?}");
        kernel
    }

    /// The world's present instant.
    pub fn now(&self) -> Instant {
        self.schedule.now()
    }

    /// The true time of day at an instant: what a good clock would show. The server's may differ.
    pub fn time_of(at: Instant) -> Moment {
        Moment(BEGINNING.0.saturating_add(i64::try_from(at.0).unwrap_or(i64::MAX)))
    }

    /// The instant at which a good clock shows this time; the beginning where that was before.
    pub fn instant_of(time: Moment) -> Instant {
        Instant(u64::try_from(time.micros_since(BEGINNING)).unwrap_or(0))
    }

    /// What the world counted of itself so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the server serves now.
    pub fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Opens a connection for a person. Whether the server takes it up shows later.
    pub fn connect(&mut self, caller: Caller) -> ConnId {
        let now = self.schedule.now();
        let conn = self.network.open(caller, self.latency_us, now);
        if let Some(at) = self.network.to_server(conn, now) {
            self.schedule.at(at, Happening::Connected { conn });
        }
        conn
    }

    /// Sends a message; nothing where the connection is gone.
    pub fn send(&mut self, conn: ConnId, message: ToServer) {
        if let Some(at) = self.network.to_server(conn, self.schedule.now()) {
            self.schedule.at(at, Happening::Arrives { conn, message: Box::new(message) });
        }
    }

    /// The person closes the connection. What is under way to the server may still arrive.
    pub fn hang_up(&mut self, conn: ConnId) {
        if let Some(at) = self.network.cut(conn, self.schedule.now()) {
            self.schedule.at(at, Happening::Lost { conn });
        }
    }

    /// The person reads nothing for a while.
    pub fn stall(&mut self, conn: ConnId, for_us: u64) {
        self.network.stall(conn, self.schedule.now().plus_us(for_us));
    }

    /// Sets a timer of the people's own: [`Step::Woken`] comes at `at` with this token.
    pub fn wake_at(&mut self, at: Instant, token: u64) {
        self.schedule.at(at, Happening::Woken { token });
    }

    /// Brings a fault.
    pub fn bring(&mut self, fault: Fault) {
        let now = self.schedule.now();
        match &fault {
            Fault::Crash { kind, down_ms } => self.crash(*kind, down_ms * 1_000),
            Fault::JournalLost { down_ms } => {
                self.crash(CrashKind::Killed, down_ms * 1_000);
                for name in self.disk.names("journal").iter().filter(|name| name.ends_with("log")) {
                    let bytes = self.disk.bytes(name).unwrap_or(0);
                    self.disk.cut(name, bytes / 2);
                }
            }
            Fault::CrashAtStep { kind, down_ms, .. } => {
                if self.node.is_some() {
                    self.armed = Some((*kind, down_ms * 1_000));
                }
                self.bring_to_node(&fault);
            }
            Fault::Cut { conn } => self.cut(*conn),
            Fault::CutAll => {
                for conn in self.network.living() {
                    self.cut(conn);
                }
            }
            Fault::DiskFull { for_ms } => {
                let until = now.plus_ms(*for_ms);
                self.full_until = Some(self.full_until.map_or(until, |known| known.max(until)));
                self.disk.set_room(Some(0));
                self.schedule.at(until, Happening::DiskEmptied);
            }
            Fault::WallClock { step_ms } => {
                self.wall_off_us += step_ms * 1_000;
                self.bring_to_node(&fault);
            }
            Fault::ClockSlew { ahead_ms } => {
                self.wall_off_us += i64::try_from(ahead_ms * 1_000).unwrap_or(0);
                self.bring_to_node(&fault);
            }
            Fault::SyncFails { .. }
            | Fault::SlowDisk { .. }
            | Fault::StoreTrouble { .. }
            | Fault::BitFlip { .. }
            | Fault::ProjectBusy { .. }
            | Fault::JournalBusy { .. }
            | Fault::SlowWork { .. }
            | Fault::LetGo { .. }
            | Fault::ProjectDies { .. }
            | Fault::OpeningDies { .. }
            | Fault::RoomDies { .. }
            | Fault::Revoked { .. } => self.bring_to_node(&fault),
        }
    }

    fn bring_to_node(&mut self, fault: &Fault) {
        let now = self.schedule.now();
        if let Some(node) = &mut self.node {
            node.pass_to(now);
            node.bring(fault);
        }
        self.after_node();
    }

    /// Breaks a connection: both ends see it.
    fn cut(&mut self, conn: ConnId) {
        let now = self.schedule.now();
        let Some(at) = self.network.cut(conn, now) else { return };
        self.schedule.at(at, Happening::Lost { conn });
        self.schedule.after_us(GONE_US, Happening::Gone { conn });
    }

    /// The process dies, and is started again after a while.
    fn crash(&mut self, kind: CrashKind, down_us: u64) {
        if self.node.take().is_none() {
            return;
        }
        self.counts.crashes += 1;
        self.armed = None;
        self.disk.forget_faults();
        match kind {
            CrashKind::Killed => self.disk.power_on(),
            CrashKind::PowerCut => {
                let mut draw = self.draw.named("crash").of(self.schedule.now().0);
                self.disk.crash(&mut |below| draw.between(0, below.saturating_sub(1)));
            }
        }
        for conn in self.network.living() {
            self.cut(conn);
        }
        self.schedule.after_us(0, Happening::Gone { conn: DOWN });
        self.start_after(down_us);
    }

    fn start_after(&mut self, us: u64) {
        if !self.starting {
            self.starting = true;
            self.schedule.after_us(us, Happening::Start);
        }
    }

    fn start(&mut self, publish: &[ProjectSpec]) -> Option<Step> {
        self.starting = false;
        if self.node.is_some() {
            return None;
        }
        let now = self.schedule.now();
        let wall = Moment(Self::time_of(now).0 + self.wall_off_us);
        let draw = self.draw.named("server").of(u64::from(self.counts.starts));
        match Node::start(&self.disk, publish, now, wall, draw, self.limits) {
            Ok(node) => {
                self.node = Some(node);
                self.counts.starts += 1;
                self.after_node();
                Some(Step::Up { start: self.counts.starts })
            }
            Err(refused) => {
                if !refused.for_good {
                    self.start_after(RESTART_US);
                }
                Some(Step::NoStart { why: refused.why, for_good: refused.for_good })
            }
        }
    }

    /// Takes up what the node said, and sees whether it still lives.
    fn after_node(&mut self) {
        let now = self.schedule.now();
        let Some(node) = &mut self.node else { return };
        if node.is_dead() {
            let (kind, down_us) = self.armed.take().unwrap_or((CrashKind::PowerCut, RESTART_US));
            return self.crash(kind, down_us);
        }
        let mut closed = Vec::new();
        for out in node.take_out() {
            match out {
                Out::Send(conn, message) => {
                    self.trace.sent(now, conn, &message);
                    self.counts.to_people += 1;
                    if let Some(at) = self.network.to_client(conn, now) {
                        self.schedule.at(at, Happening::Heard { conn, message: Box::new(message) });
                    }
                }
                Out::Close(conn) => closed.push(conn),
            }
        }
        for conn in closed {
            // What was written before the close still arrives.
            let at = self.network.to_client(conn, now).unwrap_or(now);
            self.schedule.at(at, Happening::Gone { conn });
        }
        if node.writing_ended() {
            // The supervisor of the process sees the alarm and starts it anew.
            self.ended();
        }
    }

    fn ended(&mut self) {
        if !self.starting {
            self.starting = true;
            self.schedule.after_us(RESTART_US, Happening::Start);
        }
    }

    /// Lets the world go on to the next step that concerns people, no later than `until`; none: there is none until
    /// then.
    pub fn next(&mut self, until: Instant) -> Option<Step> {
        loop {
            let happens = self.schedule.next_at();
            let works = self.node.as_ref().and_then(Node::next_wake);
            let at = match (happens, works) {
                (None, None) => return None,
                (Some(at), None) | (None, Some(at)) => at,
                (Some(happens), Some(works)) => happens.min(works),
            };
            if at > until {
                self.schedule.pass_to(until);
                return None;
            }
            if works == Some(at) && happens.is_none_or(|happens| at < happens) {
                self.schedule.pass_to(at);
                if let Some(node) = &mut self.node {
                    node.pass_to(at);
                    node.go_on();
                    self.counts.works += 1;
                }
                self.after_node();
                continue;
            }
            let happening = self.schedule.pop()?;
            if let Some(step) = self.happens(happening) {
                return Some(step);
            }
        }
    }

    fn happens(&mut self, happening: Happening) -> Option<Step> {
        let now = self.schedule.now();
        if let Some(node) = &mut self.node {
            node.pass_to(now);
        }
        match happening {
            Happening::Connected { conn } => {
                let caller = self.network.caller(conn)?.clone();
                match &mut self.node {
                    Some(node) => node.connect(conn, caller),
                    None => {
                        self.network.cut(conn, now);
                        self.schedule.after_us(GONE_US, Happening::Gone { conn });
                    }
                }
                None
            }
            Happening::Arrives { conn, message } => {
                self.counts.to_server += 1;
                if let Some(node) = &mut self.node {
                    node.receive(conn, *message);
                }
                self.after_node();
                None
            }
            Happening::Heard { conn, message } => {
                if !self.network.read(conn) {
                    return None;
                }
                if let Some(node) = &mut self.node {
                    node.was_read(conn);
                }
                self.after_node();
                Some(Step::Heard { conn, message: *message })
            }
            Happening::Lost { conn } => {
                if let Some(node) = &mut self.node {
                    node.cut(conn);
                }
                None
            }
            Happening::Gone { conn } if conn == DOWN => Some(Step::Down),
            Happening::Gone { conn } => {
                self.network.cut(conn, now);
                Some(Step::Gone { conn })
            }
            Happening::Woken { token } => Some(Step::Woken { token }),
            Happening::Start => {
                if self.node.as_ref().is_some_and(Node::writing_ended) {
                    self.starting = false;
                    self.crash(CrashKind::Killed, 0);
                    return None;
                }
                self.start(&[])
            }
            Happening::DiskEmptied => {
                if self.full_until.is_some_and(|until| until <= now) {
                    self.full_until = None;
                    self.disk.set_room(None);
                }
                None
            }
        }
    }

    /// Ends the world: the server is killed, its disk is opened once more, what it holds is replayed and held
    /// against what the server showed last.
    pub fn finish(mut self) -> End {
        let mut broken = Vec::new();
        let live = self.node.take().map(|node| {
            let live = node.live().map(|(id, seq, project)| (id.clone(), seq, project.clone()));
            live.collect::<Vec<_>>()
        });
        // The end is a power cut like any other: whatever was acknowledged is durable, or it is lost now.
        self.disk.forget_faults();
        self.disk.set_room(None);
        let mut draw = self.draw.named("end");
        self.disk.crash(&mut |below| draw.between(0, below.saturating_sub(1)));
        let opened = SimJournal::open(&self.disk).map_err(|fault| fault.to_string());
        let projects = match opened.and_then(|(journal, _)| stored(&journal)) {
            Ok(stored) => stored.projects,
            Err(fault) => {
                broken.push(format!("the journal does not open at the end: {fault}"));
                Vec::new()
            }
        };
        for (id, seq, project) in live.into_iter().flatten() {
            let stored = projects.iter().find(|(stored, _)| *stored == id);
            let records = stored.map_or(&[][..], |(_, records)| records.as_slice());
            if let Some(what) = differs(&id, seq, &project, records) {
                broken.push(what);
            }
        }
        for (id, records) in &projects {
            self.trace.stored(id, records);
        }
        let projects = projects.into_iter().map(|(id, records)| StoredProject { id, records }).collect();
        End { digest: self.trace.end(), projects, broken, counts: self.counts }
    }
}

/// Whether replay gives the live state (KB-2).
fn differs(id: &ProjectId, seq: u64, live: &Project, records: &[Recorded<ProjectEvent>]) -> Option<String> {
    let mut replayed = Project::default();
    let mut at = 0;
    for record in records.iter().take_while(|record| record.seq <= seq) {
        ProjectMachine::apply(&mut replayed, &record.event, record.at);
        at = record.seq;
    }
    if at < seq {
        return Some(format!("{id} showed record {seq}, the disk holds {at}"));
    }
    (replayed != *live).then(|| format!("{id}: replay to record {seq} does not give the live state"))
}

/// Stands for the server where its own end is told.
const DOWN: ConnId = ConnId(0);

/// What a world left.
pub struct End {
    /// The digest of everything sent to people and everything stored, in order.
    pub digest: u64,
    /// The recorded events of each project, as they lie on the disk.
    pub projects: Vec<StoredProject>,
    /// What does not hold at the end: replay is not what was live, the chain is broken, a start was refused.
    pub broken: Vec<String>,
    /// What the world counted.
    pub counts: Counts,
}

/// A project's stream as it lies on the disk.
pub struct StoredProject {
    /// Which.
    pub id: ProjectId,
    /// Its records in order.
    pub records: Vec<Recorded<ProjectEvent>>,
}
