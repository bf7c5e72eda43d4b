//! The world without its people: time, network, disk and server, moved on step by step.
//!
//! Whoever plays the people opens connections, sends, sets timers for itself and brings faults; [`Kernel::next`]
//! lets the world go on until something concerns a person, and says what. Everything happens in the order of
//! virtual time, and everything that is left to chance is drawn from the seed: the same calls give the same steps.

#![expect(dead_code, reason = "the server node comes next")]

use kaibiao_protocol::{ids::ProjectId, moment::Moment, project::ProjectSpec};

use super::{
    draw::Draw,
    fault::Fault,
    network::Network,
    schedule::{Instant, Schedule},
    wire::{Caller, ConnId, ToClient, ToServer},
};

/// What the world's wall clock shows at its beginning: 2026-03-02 09:00 in Shanghai.
pub const BEGINNING: Moment = Moment(1_772_413_200_000_000);

/// What a world begins with.
pub struct Setup {
    /// What everything is drawn from.
    pub seed: u64,
    /// The projects, published before anything else happens.
    pub projects: Vec<ProjectSpec>,
    /// The usual latency of a connection, one way, in microseconds.
    pub latency_us: u64,
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

/// A world that goes on.
pub struct Kernel {
    schedule: Schedule<Happening>,
    network: Network,
    draw: Draw,
    latency_us: u64,
}

enum Happening {
    Arrives { conn: ConnId, message: Box<ToServer> },
    Heard { conn: ConnId, message: Box<ToClient> },
    Gone { conn: ConnId },
    Woken { token: u64 },
}

impl Kernel {
    /// A world at its beginning: the server is started.
    pub fn new(setup: Setup) -> Self {
        let draw = Draw::new(setup.seed).named("kernel");
        Self {
            schedule: Schedule::default(),
            network: Network::new(draw.named("network")),
            draw,
            latency_us: setup.latency_us,
        }
    }

    /// The world's present instant.
    pub fn now(&self) -> Instant {
        self.schedule.now()
    }

    /// The true time of day at an instant: what a good clock would show. The server's may differ.
    pub fn time_of(at: Instant) -> Moment {
        Moment(BEGINNING.0 + i64::try_from(at.0).unwrap_or(i64::MAX - BEGINNING.0))
    }

    /// Opens a connection for a person. Whether the server takes it up shows later.
    pub fn connect(&mut self, caller: Caller) -> ConnId {
        self.network.open(caller, self.latency_us, self.schedule.now())
    }

    /// Sends a message; nothing where the connection is gone.
    pub fn send(&mut self, conn: ConnId, message: ToServer) {
        if let Some(at) = self.network.to_server(conn, self.schedule.now()) {
            self.schedule.at(at, Happening::Arrives { conn, message: Box::new(message) });
        }
    }

    /// The person closes the connection.
    pub fn hang_up(&mut self, conn: ConnId) {
        self.network.cut(conn, self.schedule.now());
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
        let _ = fault;
    }

    /// Lets the world go on to the next step that concerns people, no later than `until`; none: there is none until
    /// then.
    pub fn next(&mut self, until: Instant) -> Option<Step> {
        while self.schedule.next_at().is_some_and(|at| at <= until) {
            match self.schedule.pop()? {
                Happening::Arrives { .. } => {}
                Happening::Heard { conn, message } => {
                    if self.network.read(conn) {
                        return Some(Step::Heard { conn, message: *message });
                    }
                }
                Happening::Gone { conn } => return Some(Step::Gone { conn }),
                Happening::Woken { token } => return Some(Step::Woken { token }),
            }
        }
        None
    }

    /// Ends the world: the server is stopped, its disk is opened once more, what it holds is replayed and held
    /// against what the server showed last.
    pub fn finish(self) -> End {
        End { digest: [0; 32], projects: Vec::new(), broken: Vec::new() }
    }
}

/// What a world left.
pub struct End {
    /// The digest of everything sent to people and everything stored, in order.
    pub digest: [u8; 32],
    /// The recorded events of each project, as they lie on the disk.
    pub projects: Vec<StoredProject>,
    /// What does not hold at the end: replay is not what was live, the chain is broken, a start was refused.
    pub broken: Vec<String>,
}

/// A project's stream as it lies on the disk.
pub struct StoredProject {
    /// Which.
    pub id: ProjectId,
    /// Its records in order.
    pub records: Vec<kaibiao_engine::keeper::Recorded<kaibiao_protocol::event::ProjectEvent>>,
}
