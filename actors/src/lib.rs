//! actors

pub mod admin;
pub mod app;
pub mod backup;
pub mod clock;
mod command_ids;
pub mod config;
mod contacts;
pub mod data_dir;
mod directory;
pub mod files;
mod final_checks;
pub mod frame_sink;
pub mod house;
pub mod http;
#[cfg(feature = "practice")]
pub mod inlets;
mod intake;
pub mod journal;
mod judging;
mod keeper_actor;
pub mod keys;
pub mod limits;
pub mod messages;
pub mod metrics;
pub mod observe;
mod opening;
mod opening_steps;
mod papers;
#[cfg(feature = "practice")]
pub mod practice;
mod project;
mod proofs;
mod refusals;
mod restoring;
pub mod room;
pub mod sessions;
pub mod sign_in;
mod slot;
mod stored_bid;
mod tickets;
mod timer;
pub mod unsealing;
