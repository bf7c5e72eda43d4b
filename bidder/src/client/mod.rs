//! The way to a kaibiao server: HTTP for signing in and for files, one WebSocket for everything else.
//!
//! ```text
//! Client ── sign_in(Credentials) ──> Session ── ask(..) ──────────> one answer
//!                                       │ ├──── upload(..) ───────> the verdict on a file (tus, resumed)
//!                                       │ └──── subscribe(..) ────> Events, by sequence number
//!                                       └────── room(project) ────> Room: the same, for one opening
//! ```
//!
//! Networks cut. A [`Session`] dials again with growing pauses, resumes each subscription after the last event
//! its reader was given, sends reads and harmless repeats again by itself, and says [`ClientFault::AnswerLost`]
//! for a command of which nobody can know whether it was done. A session with credentials signs in again when
//! the server has forgotten it, as after a restart.
//!
//! What is absent: any key of a bid. Secrets pass through here only inside envelopes sealed by the caller.

mod address;
mod backoff;
mod dial;
mod download;
mod events;
mod fault;
mod http;
mod repeat;
mod room;
mod session;
mod sign_in;
mod socket;
mod upload;

pub use address::{AddressFault, ServerAddress};
pub use download::Downloaded;
pub use events::Events;
pub use fault::ClientFault;
pub use http::{Client, ClientOptions, ServerTime};
pub use room::{PublishedRecord, Room};
pub use session::{Session, SessionFacts, StoredSession};
pub use sign_in::Credentials;
#[cfg(feature = "practice")]
pub use socket::Incoming;
pub use socket::Link;
pub use upload::{FilePieces, Pieces, Upload, UploadProgress, UploadPurpose};
