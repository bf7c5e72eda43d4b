//! The simulated world: the production cores in virtual time on one thread.
//!
//! - [`kernel`]: time, network, disk and server, moved on step by step; [`schedule`], [`network`], [`draw`].
//! - [`stock`]: accounts, certificates and sealed bids, made once a process.
//! - [`wire`]: what people and server say to one another; [`fault`]: what befalls the server.

mod digest;
pub mod draw;
pub mod fault;
pub mod kept;
pub mod kernel;
pub mod network;
mod oracle;
mod people;
pub mod plan;
pub mod report;
mod run;
pub mod schedule;
mod server;
pub mod shrink;
pub mod stock;
pub mod story;
pub mod wire;

pub use run::{Found, Outcome, run};
