//! Every bound of the actors, in one place. Full is a polite `busy`, never a queue without end. Bounds of the
//! journal, the files and the web server stand with them; the pauses of the platform's own parts with their machines
//! (`kaibiao_engine::reaction`).

use std::time::Duration;

pub use kaibiao_engine::{
    reaction::judging::{PROJECT_LOADS_MAX, STORE_LOOKS_MAX},
    session::ROOM_VIEWERS_MAX,
};

/// Deliveries (frames) a connection may be behind before it is cut.
pub const SINK_DELIVERIES_MAX: usize = 256;
/// Messages waiting for a project's actor: every final of the deadline second, and a thousand asks besides.
pub const PROJECT_MAILBOX_MAX: usize = FINALS_MAX + 1_024;
/// Messages waiting for the directory's actor.
pub const DIRECTORY_MAILBOX_MAX: usize = 1_024;
/// Messages waiting for a room.
pub const ROOM_MAILBOX_MAX: usize = 4_096;
/// Messages waiting for an opening: every supplier may hand its keys over in the same second.
pub const OPENING_MAILBOX_MAX: usize = 4_096;
/// Envelopes of one project between arrival and answer.
pub const ENVELOPES_MAX: usize = 4_096;
/// Finals of one project between stamp and verdict; the next is told `busy` before it is stamped. As many as there can
/// be connections (`connections_max`), so that nobody who has sent the last byte is told so. Each takes about 24 KiB
/// until its verdict: header and certificates, the wrapped form, its row and its place in four queues.
pub const FINALS_MAX: usize = 16_384;
/// Finals of one supplier between stamp and verdict, so that none crowds the others out.
pub const FINALS_OF_SUPPLIER_MAX: usize = 4;
/// Finals whose bytes are synced or checked at once, each on a thread of its own.
pub const FINALS_CHECKED_MAX: usize = 16;
/// Bids in the unsealing pool at once.
pub const UNSEALING_BIDS_MAX: usize = 4_096;
/// Short errands waiting for the unsealing pool.
pub const UNSEALING_ERRANDS_MAX: usize = 8_192;
/// Chunks (of 16 KiB) a thread checks before it turns to the next bid: 4 MiB, a quarter of a millisecond.
pub const CHUNKS_PER_TASK: u64 = 256;
/// Damaged bids that are hashed at once to tell whose damage it is.
pub const DIAGNOSES_MAX: usize = 2;
/// Projects in the house.
pub const PROJECTS_MAX: usize = 1_000_000;
/// How often an ask is given to a new actor after the old one died with it, before it is told `busy`.
pub const ASK_ATTEMPTS_MAX: usize = 4;
/// How long the platform's own parts wait before they ask again what was refused as busy.
pub const RETRY: Duration = Duration::from_millis(100);
/// How long after an actor's death it is started anew where nobody asks for it earlier, in milliseconds: not in a
/// hurry, for it may die again.
pub const AFTER_DEATH_MS: i64 = 1_000;
/// How long a project without viewers and asks stays loaded, in milliseconds.
pub const IDLE_MS: i64 = 5 * 60_000;
/// An append that takes so long is noted as slow.
pub const SLOW_APPEND: Duration = Duration::from_millis(500);
/// How often the house notes that it is there, in seconds: an outage is known this exactly.
pub const PRESENT_EVERY: Duration = Duration::from_secs(10);
/// How often the house looks for idle projects.
pub const IDLE_SWEEP: Duration = Duration::from_secs(30);
