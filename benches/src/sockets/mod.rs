//! Many sockets: a kaibiao server and a bare actix-ws twin, each in a process of its own, and the crowd that
//! watches them, in a third.
//!
//! Sign-in itself is not measured here: the server's process opens the sessions in its own table, as the door would
//! after a sign-in, and hands their tokens to the crowd. Nothing of the server in production is weakened for it.

mod bare;
mod child;
mod crowd;
mod harm;
mod served;
mod uploaders;
mod wire;

pub use bare::serve_bare;
pub use child::{Child, Orders};
pub use crowd::{CrowdOptions, gather};
pub use served::{ServedOptions, serve_house};
pub use uploaders::Uploaders;

/// The room that everybody watches.
pub const ROOM: &str = "BENCH-ROOM";
/// The project that receives bids meanwhile.
pub const RECEIVING: &str = "BENCH-BIDS";
/// Threads that serve connections, on both sides.
pub const WORKERS: usize = 2;
/// Suppliers who hand bids in.
pub const HANDING_IN: usize = 4;

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;
