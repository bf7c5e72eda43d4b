//! What comes in from outside, read exactly as the server reads it, but without a server: for fuzzing.

use kaibiao_protocol::{frame::Request, moment::Moment, refusal::Refusal};

use crate::{
    http::{
        read_request,
        uploads::{Metadata, read_metadata},
    },
    journal::{Head, head_in},
};

/// A frame of the WebSocket.
///
/// # Errors
/// The refusal that answers it, and the id it is answered under.
pub fn request(frame: &str) -> Result<Request, (u64, Refusal)> {
    read_request(frame)
}

/// The header `Upload-Metadata`, with the contact form in it.
///
/// # Errors
/// What is wrong, without any value.
pub fn metadata(header: &str) -> Result<Metadata, String> {
    read_metadata(header)
}

/// The journal's head file: the newer of its whole slots.
pub fn head(file: &[u8]) -> Option<(Head, Option<Moment>)> {
    head_in(file)
}
