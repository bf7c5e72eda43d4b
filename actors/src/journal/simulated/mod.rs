//! A simulated disk, and the journal on it: for a world of one thread and virtual time.
//!
//! [`SimDisk`] holds named files in memory and forgets, at a crash, what was not synced. [`SimJournal`] is
//! the production commit cycle and the production start check over a log on that disk; it is driven step by
//! step, so that a crash can fall between any two. [`SimFiles`] keeps sealed bids on the same disk by the
//! contract of [`crate::files::Files`]. [`SharedSimJournal`] is the journal as the other journals are: for
//! the tests of the contract.

mod content;
mod disk;
mod faults;
mod files;
mod journal;
mod log;
mod shared;
mod store;

pub use disk::{DiskCounts, SimDisk};
pub use faults::{Befalls, DiskCall, SimFault};
pub use files::SimFiles;
pub use journal::{SimAnswers, SimJournal, SimStep, Ticket};
pub use shared::SharedSimJournal;
