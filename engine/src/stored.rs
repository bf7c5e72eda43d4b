//! Events as the journal keeps them: a name, a version, and JSON bytes that are written once.
//!
//! What is signed and chained is always the stored bytes, never an event written anew. Every version
//! ever released stays readable: an event of an older form is parsed by that form and lifted to the
//! present one here (there is none yet). The golden bytes of each are under `engine/tests/golden/`.

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
    let payload = serde_json::to_vec(event).expect("an event has string keys only");
    StoredEvent { kind: event.kind(), version: ProjectEvent::VERSION, payload }
}

/// A project's event from the journal.
///
/// # Errors
/// [`UnknownEvent`]: stop the start.
pub fn decode_project(kind: &str, version: u16, payload: &[u8]) -> Result<ProjectEvent, UnknownEvent> {
    match version {
        ProjectEvent::VERSION => {
            let event: ProjectEvent = read(kind, payload)?;
            same_name(kind, event.kind())?;
            Ok(event)
        }
        _ => Err(UnknownEvent::Version { kind: kind.to_owned(), version }),
    }
}

/// A directory event for the journal.
pub fn encode_directory(event: &DirectoryEvent) -> StoredEvent {
    let payload = serde_json::to_vec(event).expect("an event has string keys only");
    StoredEvent { kind: event.kind(), version: DirectoryEvent::VERSION, payload }
}

/// A directory event from the journal.
///
/// # Errors
/// [`UnknownEvent`]: stop the start.
pub fn decode_directory(kind: &str, version: u16, payload: &[u8]) -> Result<DirectoryEvent, UnknownEvent> {
    match version {
        DirectoryEvent::VERSION => {
            let event: DirectoryEvent = read(kind, payload)?;
            same_name(kind, event.kind())?;
            Ok(event)
        }
        _ => Err(UnknownEvent::Version { kind: kind.to_owned(), version }),
    }
}

fn read<E: serde::de::DeserializeOwned>(kind: &str, payload: &[u8]) -> Result<E, UnknownEvent> {
    serde_json::from_slice(payload)
        .map_err(|fault| UnknownEvent::Malformed { kind: kind.to_owned(), fault: fault.to_string() })
}

/// The name beside the bytes and the name in them are written together; if they differ, one of them
/// was changed.
fn same_name(kind: &str, found: &str) -> Result<(), UnknownEvent> {
    if kind == found {
        return Ok(());
    }
    Err(UnknownEvent::Malformed { kind: kind.to_owned(), fault: format!("it is a {found}") })
}
