//! What the benches share: the machine, percentiles, ratios, and one way of printing.
//!
//! Every bench measures both sides of its ratio in one run, in turns, because single runs on one machine
//! differ by more than what is being measured. It prints the machine, what it measured and the figure that
//! the issue asks for, as text or (with `--json`) as one JSON object.

pub mod growth;
mod machine;
mod report;
pub mod room;
pub mod sockets;
pub mod supplier;
mod turns;

pub use machine::Machine;
pub use report::{Report, Wanted};
pub use turns::{Durations, in_turns};
