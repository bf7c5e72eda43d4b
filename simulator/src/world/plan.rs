//! What is to happen in a world: deeds of people and faults of the platform, each at its instant.
//!
//! A plan is a list; taking a deed out leaves every other one as it is, because whatever a deed leaves to chance is
//! drawn by its number ([`Deed::no`]) and not by its place. So a plan that breaks something can be shortened.

mod drawn;

use kaibiao_protocol::{
    moment::Moment,
    project::{BackupPolicy, ProjectSpec, StartMode},
};

use super::{
    fault::{CrashKind, Fault},
    kernel::Kernel,
    schedule::Instant,
    stock::{Make, project_spec},
};

/// What kind of world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, clap::ValueEnum)]
pub enum Profile {
    /// Everybody comes within the last second before the deadline; clocks are set, queues are full.
    Deadline,
    /// Eight suppliers unseal: keys right and wrong, backups, a room that fails and comes back.
    Opening,
    /// Several projects from their notice to their end, loaded and let go.
    Life,
    /// The disk fails and the process dies, at any step.
    Crash,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 4] = [Profile::Deadline, Profile::Opening, Profile::Life, Profile::Crash];

    /// Its name at the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Deadline => "deadline",
            Profile::Opening => "opening",
            Profile::Life => "life",
            Profile::Crash => "crash",
        }
    }

    /// The kinds of faults that must happen somewhere in many worlds of this profile.
    pub const fn faults(self) -> &'static [&'static str] {
        match self {
            Profile::Deadline => {
                &["line cut", "wall clock set", "clock slewed", "project busy", "journal busy", "slow disk"]
            }
            Profile::Opening => &[
                "process killed",
                "line cut",
                "all lines cut",
                "store trouble",
                "bit flipped",
                "slow work",
                "opening died",
                "room died",
            ],
            Profile::Life => &[
                "process killed",
                "actor let go",
                "project died",
                "room died",
                "session revoked",
                "line cut",
                "wall clock set",
            ],
            Profile::Crash => &[
                "process killed",
                "power cut",
                "journal lost",
                "died at a step",
                "failed sync",
                "disk full",
                "slow disk",
                "line cut",
            ],
        }
    }
}

/// A world to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// What everything is drawn from.
    pub seed: u64,
    /// Of which kind.
    pub profile: Profile,
    /// Whether the first project's deadline is the very instant of a final: the last that was in time is late then.
    pub deadline_on_a_final: bool,
    /// The projects, by number from 0.
    pub projects: Vec<ProjectPlan>,
    /// What happens, in the order of the instants.
    pub deeds: Vec<Deed>,
}

/// A project of the plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectPlan {
    /// Its deadline.
    pub deadline: Instant,
    /// Who opens the room.
    pub start: StartMode,
    /// Minutes for unsealing.
    pub window_minutes: u32,
    /// Minutes of grace after a failure.
    pub grace_minutes: u32,
    /// Minutes for confirming.
    pub confirm_minutes: u32,
    /// When a backup may be used.
    pub backup: BackupPolicy,
}

/// Something that somebody does, or that befalls the platform.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// Its number, which it keeps when others are taken out.
    pub no: u32,
    /// When.
    pub at: Instant,
    /// Which project it is told by.
    pub project: usize,
    /// What.
    pub what: What,
}

/// A person of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Who {
    /// A supplier, from 0.
    Supplier(usize),
    /// The organiser's agent.
    Agent,
    /// The supervisor.
    Supervisor,
}

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// Goes to the room of the project and follows it.
    Joins {
        /// Who.
        who: Who,
    },
    /// Hands a file in.
    HandsIn {
        /// Which supplier.
        supplier: usize,
        /// Which file.
        file: File,
        /// In how many pieces.
        pieces: u32,
        /// How long between two pieces.
        pause_ms: u64,
        /// What is sent more than once.
        doubled: Doubled,
    },
    /// Withdraws the bid that stands.
    Withdraws {
        /// Which supplier.
        supplier: usize,
    },
    /// Signs in to the room.
    ChecksIn {
        /// Who.
        who: Who,
    },
    /// From now on unseals in this manner.
    Unseals {
        /// Which supplier.
        supplier: usize,
        /// How long after being asked.
        after_ms: u64,
        /// How.
        manner: Manner,
    },
    /// Objects.
    Objects {
        /// Which supplier.
        supplier: usize,
    },
    /// Loses the line and comes back after a while.
    LosesLine {
        /// Who.
        who: Who,
        /// How long until it dials again.
        for_ms: u64,
    },
    /// Reads nothing for a while.
    ReadsSlowly {
        /// Who.
        who: Who,
        /// How long.
        for_ms: u64,
    },
    /// Asks for what it may not have or do.
    Meddles {
        /// Who.
        who: Who,
        /// What.
        with: Meddling,
    },
    /// Looks at the room, the project and the list.
    Looks {
        /// Who.
        who: Who,
    },
    /// From now on the agent runs the room in this manner.
    AgentRuns {
        /// How.
        manner: Running,
    },
    /// The agent starts the opening.
    AgentStarts {
        /// Presses twice.
        twice: bool,
    },
    /// The agent extends the window.
    AgentExtends {
        /// By how much.
        minutes: u32,
        /// Presses twice.
        twice: bool,
    },
    /// The agent closes the window, if it may.
    AgentCloses,
    /// The agent admits a backup although nothing failed.
    AgentAdmits {
        /// Whose.
        supplier: usize,
    },
    /// A fault befalls the platform.
    Befalls {
        /// Which.
        trouble: Trouble,
    },
}

/// Which file is handed in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum File {
    /// One's own.
    Own(Make),
    /// One's own with a bit turned on the way.
    Damaged,
    /// One's own without its end.
    Short,
    /// Another supplier's.
    OfSupplier(usize),
    /// One's own for another project.
    OfProject(usize),
}

/// What is sent more than once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Doubled {
    /// Nothing.
    No,
    /// The last piece, at once.
    LastPiece,
    /// The whole upload, after its verdict.
    Whole,
}

/// How a supplier unseals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Manner {
    /// The right keys, once they are asked for.
    Honest,
    /// Not at all.
    Never,
    /// Keys before anybody asks for them, then the right ones.
    Early,
    /// Keys that fit nothing, then the right ones.
    WrongFirst,
    /// Keys that fit nothing, and no others.
    WrongOnly,
    /// The keys of another bid of its own, then the right ones.
    KeysOfAnother,
    /// The right keys, and then once more.
    Twice,
    /// Under an epoch that is not in force, then right.
    OtherEpoch,
    /// Says that its token holds no key; uses the backup if it may.
    WrongToken,
    /// Claims to bring keys of a backup without leave, then the right ones.
    BackupUnasked,
    /// The right keys to somebody else's bid, then to its own.
    OthersBid,
}

/// What somebody asks for who may not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Meddling {
    /// Starts the opening.
    Start,
    /// Extends the window.
    Extend,
    /// Closes the window.
    Close,
    /// Ends the opening.
    End,
    /// Asks for the record before there is one.
    Record,
    /// Follows the own stream of a supplier without being one.
    OwnStream,
    /// Asks for the contacts.
    Contacts,
    /// Withdraws and asks for the receipt of another's bid.
    OthersBid,
}

/// How the agent runs the room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Running {
    /// Admits backups, answers, reads out, ends.
    Dutiful,
    /// Tries to close the window every few seconds, and to end at once; admits backups.
    Hurried,
    /// Does nothing but start and end.
    Sparing,
}

/// A fault in the plan's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// One of the platform's.
    Platform(Fault),
    /// A bit of a stored bid turns.
    BitFlip {
        /// Whose bid.
        supplier: usize,
        /// Where.
        at: u64,
    },
    /// Somebody's line breaks without its doing.
    Cut {
        /// Whose.
        who: Who,
    },
    /// Somebody's session ends; it signs in again.
    Revoked {
        /// Whose.
        who: Who,
    },
}

impl Plan {
    /// The plan of a seed.
    pub fn drawn(seed: u64, profile: Profile) -> Self {
        drawn::plan(seed, profile)
    }

    /// The projects as they are set up.
    pub fn specs(&self) -> Vec<ProjectSpec> {
        self.projects.iter().enumerate().map(|(number, project)| project.spec(number)).collect()
    }

    /// Whether somebody sets or slews a clock: then the world's time and the server's differ.
    pub fn moves_clocks(&self) -> bool {
        self.deeds.iter().any(|deed| {
            let What::Befalls { trouble: Trouble::Platform(fault) } = &deed.what else { return false };
            matches!(fault, Fault::WallClock { .. } | Fault::ClockSlew { .. })
        })
    }

    /// Whether stored files are damaged, or kept from being read.
    pub fn harms_the_store(&self) -> bool {
        self.deeds.iter().any(|deed| match &deed.what {
            What::Befalls { trouble: Trouble::BitFlip { .. } } => true,
            What::Befalls { trouble: Trouble::Platform(fault) } => {
                matches!(fault, Fault::StoreTrouble { .. } | Fault::BitFlip { .. })
            }
            _ => false,
        })
    }

    /// When the last deed is done and the last fault is over.
    pub fn calm_at(&self) -> Instant {
        let ends = self.deeds.iter().map(|deed| deed.at.plus_ms(deed.what.lasts_ms()));
        let deadlines = self.projects.iter().map(|project| project.deadline);
        ends.chain(deadlines).max().unwrap_or_default()
    }

    /// When the world must have come to rest, whatever happened: windows, graces and times for confirming are over
    /// after the last fault, and minutes beside.
    pub fn ends_at(&self) -> Instant {
        let longest = self.projects.iter().map(|project| {
            project.window_minutes + 2 * project.grace_minutes + project.confirm_minutes + EXTENSIONS_MINUTES
        });
        let minutes = longest.max().unwrap_or(0) + REST_MINUTES;
        self.calm_at().plus_ms(u64::from(minutes) * 60_000)
    }
}

impl ProjectPlan {
    fn spec(&self, number: usize) -> ProjectSpec {
        ProjectSpec {
            start: self.start,
            window_minutes: self.window_minutes,
            failure_grace_minutes: self.grace_minutes,
            confirm_minutes: self.confirm_minutes,
            backup: self.backup,
            ..project_spec(number, self.deadline_moment())
        }
    }

    /// The deadline as the server's clock should show it.
    pub fn deadline_moment(&self) -> Moment {
        Kernel::time_of(self.deadline)
    }
}

impl What {
    /// Its kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Joins { .. } => "joins",
            What::HandsIn { file: File::Own(Make::Version(_)), .. } => "hands in",
            What::HandsIn { .. } => "hands in what is not right",
            What::Withdraws { .. } => "withdraws",
            What::ChecksIn { .. } => "checks in",
            What::Unseals { manner: Manner::Honest, .. } => "unseals",
            What::Unseals { manner: Manner::Never, .. } => "does not unseal",
            What::Unseals { .. } => "unseals oddly",
            What::Objects { .. } => "objects",
            What::LosesLine { .. } => "loses its line",
            What::ReadsSlowly { .. } => "reads slowly",
            What::Meddles { .. } => "meddles",
            What::Looks { .. } => "looks",
            What::AgentRuns { .. } => "agent runs the room",
            What::AgentStarts { .. } => "agent starts",
            What::AgentExtends { .. } => "agent extends",
            What::AgentCloses => "agent closes",
            What::AgentAdmits { .. } => "agent admits unasked",
            What::Befalls { trouble } => trouble.kind(),
        }
    }

    /// How long it lasts.
    fn lasts_ms(&self) -> u64 {
        match self {
            What::HandsIn { pieces, pause_ms, .. } => u64::from(*pieces) * pause_ms,
            What::Unseals { after_ms, .. } => *after_ms,
            What::LosesLine { for_ms, .. } | What::ReadsSlowly { for_ms, .. } => *for_ms,
            What::Befalls { trouble: Trouble::Platform(fault) } => match fault {
                Fault::Crash { down_ms, .. }
                | Fault::CrashAtStep { down_ms, .. }
                | Fault::JournalLost { down_ms } => *down_ms,
                Fault::DiskFull { for_ms }
                | Fault::SlowDisk { for_ms, .. }
                | Fault::StoreTrouble { for_ms }
                | Fault::ProjectBusy { for_ms, .. }
                | Fault::JournalBusy { for_ms }
                | Fault::SlowWork { for_ms, .. } => *for_ms,
                _ => 0,
            },
            _ => 0,
        }
    }
}

impl Trouble {
    /// Its kind, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Trouble::BitFlip { .. } => "bit flipped",
            Trouble::Cut { .. } => "line cut",
            Trouble::Revoked { .. } => "session revoked",
            Trouble::Platform(fault) => match fault {
                Fault::Crash { kind: CrashKind::Killed, .. } => "process killed",
                Fault::Crash { kind: CrashKind::PowerCut, .. } => "power cut",
                Fault::CrashAtStep { .. } => "died at a step",
                Fault::JournalLost { .. } => "journal lost",
                Fault::SyncFails { .. } => "failed sync",
                Fault::DiskFull { .. } => "disk full",
                Fault::SlowDisk { .. } => "slow disk",
                Fault::StoreTrouble { .. } => "store trouble",
                Fault::BitFlip { .. } => "bit flipped",
                Fault::WallClock { .. } => "wall clock set",
                Fault::ClockSlew { .. } => "clock slewed",
                Fault::ProjectBusy { .. } => "project busy",
                Fault::JournalBusy { .. } => "journal busy",
                Fault::SlowWork { .. } => "slow work",
                Fault::LetGo { .. } => "actor let go",
                Fault::ProjectDies { .. } => "project died",
                Fault::OpeningDies { .. } => "opening died",
                Fault::RoomDies { .. } => "room died",
                Fault::Cut { .. } => "line cut",
                Fault::CutAll => "all lines cut",
                Fault::Revoked { .. } => "session revoked",
            },
        }
    }
}

/// The most minutes by which agents of plans extend a window, in all.
pub const EXTENSIONS_MINUTES: u32 = 20;
/// Minutes beyond every term in which the platform must have done its part.
const REST_MINUTES: u32 = 30;
