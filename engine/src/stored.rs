//! Events as the journal keeps them.

use kaibiao_protocol::{directory::DirectoryEvent, event::ProjectEvent};

/// An event in the journal that this program cannot read. It must not start: what it does not know
/// it would leave out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnknownEvent {
    /// Of a later program.
    #[error("event {kind} of version {version} is not known to this program")]
    Version {
        /// The event's name.
        kind: String,
        /// Its version.
        version: u16,
    },
    /// The bytes are not the event they are said to be.
    #[error("the stored {kind} does not read: {fault}")]
    Malformed {
        /// The event's name.
        kind: String,
        /// What the reader said.
        fault: String,
    },
}

/// An event as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredEvent {
    /// Its name.
    pub kind: &'static str,
    /// The version of its form.
    pub version: u16,
    /// Its JSON; these exact bytes are stored and chained.
    pub payload: Vec<u8>,
}

/// A project's event for the journal.
pub fn encode_project(event: &ProjectEvent) -> StoredEvent {
    let _ = event;
    todo!()
}

/// A project's event from the journal.
///
/// # Errors
/// [`UnknownEvent`]: stop the start.
pub fn decode_project(kind: &str, version: u16, payload: &[u8]) -> Result<ProjectEvent, UnknownEvent> {
    let _ = (kind, version, payload);
    todo!()
}

/// A directory event for the journal.
pub fn encode_directory(event: &DirectoryEvent) -> StoredEvent {
    let _ = event;
    todo!()
}

/// A directory event from the journal.
///
/// # Errors
/// [`UnknownEvent`]: stop the start.
pub fn decode_directory(kind: &str, version: u16, payload: &[u8]) -> Result<DirectoryEvent, UnknownEvent> {
    let _ = (kind, version, payload);
    todo!()
}
