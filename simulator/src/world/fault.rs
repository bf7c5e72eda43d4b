//! The faults that a plan's deeds bring upon the server. What people do wrong is no fault: they just do it.

use kaibiao_protocol::ids::{BidId, ProjectId};

use super::wire::ConnId;

/// A fault. It happens in the instant it is brought ([`super::kernel::Kernel::bring`]), or is armed then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The process dies. Its supervisor starts it again after a while.
    Crash {
        /// What becomes of what was written and not synced.
        kind: CrashKind,
        /// How long until it is started again.
        down_ms: u64,
    },
    /// The process dies at the n-th step of the store (write, sync, rename, delete) from now on.
    CrashAtStep {
        /// Which step, from 1.
        step: u32,
        /// Whether that step still happens.
        after: bool,
        /// What becomes of what was written and not synced.
        kind: CrashKind,
        /// How long until it is started again.
        down_ms: u64,
    },
    /// The process dies, and a bad disk loses the journal's second half, which was durable. Such a journal must not be
    /// started from.
    JournalLost {
        /// How long until it is started again.
        down_ms: u64,
    },
    /// The n-th sync of the journal from now on fails.
    SyncFails {
        /// Which, from 1.
        nth: u32,
    },
    /// The disk is full for a while.
    DiskFull {
        /// How long.
        for_ms: u64,
    },
    /// Syncs take so much longer for a while.
    SlowDisk {
        /// A sync's usual duration.
        sync_ms: u64,
        /// How long.
        for_ms: u64,
    },
    /// Stored files cannot be read for a while.
    StoreTrouble {
        /// How long.
        for_ms: u64,
    },
    /// One bit of the stored file of the supplier's bid turns.
    BitFlip {
        /// The bid.
        bid: BidId,
        /// Where: this modulo the file's length.
        at: u64,
    },
    /// Somebody sets the wall clock.
    WallClock {
        /// By how much, in milliseconds; back if negative.
        step_ms: i64,
    },
    /// The machine's steady clock runs so many milliseconds ahead, wall clock with it (a slew; never back).
    ClockSlew {
        /// By how much.
        ahead_ms: u64,
    },
    /// A project's mailbox is full for a while: whoever asks is told `busy`.
    ProjectBusy {
        /// Which.
        project: ProjectId,
        /// How long.
        for_ms: u64,
    },
    /// The journal's queue is full for a while.
    JournalBusy {
        /// How long.
        for_ms: u64,
    },
    /// Checks and unsealing take this many times as long for a while.
    SlowWork {
        /// How many times.
        times: u32,
        /// How long.
        for_ms: u64,
    },
    /// A project's actor is let go, if it is idle.
    LetGo {
        /// Which.
        project: ProjectId,
    },
    /// A project's actor dies.
    ProjectDies {
        /// Which.
        project: ProjectId,
    },
    /// A project's opening dies.
    OpeningDies {
        /// Which.
        project: ProjectId,
    },
    /// A project's room dies.
    RoomDies {
        /// Which.
        project: ProjectId,
    },
    /// A connection breaks without its person's doing; what is under way is lost.
    Cut {
        /// Which.
        conn: ConnId,
    },
    /// Every connection breaks at once.
    CutAll,
    /// The person's sessions end (signed out elsewhere, or its position was taken away).
    Revoked {
        /// A connection of the session.
        conn: ConnId,
    },
}

/// What a crash leaves of what was written and not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashKind {
    /// The process was killed: everything written is there.
    Killed,
    /// The power failed: of what was not synced, any part may be there, torn or not.
    PowerCut,
}
