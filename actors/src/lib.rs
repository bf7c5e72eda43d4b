//! actors

pub mod house;
pub mod limits;
pub mod messages;
pub mod metrics;
pub mod room;
