//! What reaches one connection: which streams it follows, in what order, and when it is cut.
//!
//! A room never waits for a reader. What does not fit into a connection's pipe cuts the connection, and nothing
//! comes after the cut: the client connects anew and resumes by sequence number, so it misses nothing and sees
//! nothing out of order.

mod hub;
mod pipe;
mod subscriptions;

pub use hub::{Hub, ROOM_VIEWERS_MAX, Sink, SinkId};
pub use pipe::{Cut, Delivery, Frames, FramesIter, Pipe, Pushed};
pub use subscriptions::Subscriptions;
