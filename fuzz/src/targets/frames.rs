//! Frames of the WebSocket, as each side reads the other's.

use kaibiao_actors::inlets;
use kaibiao_bidder::client::Incoming;
use kaibiao_protocol::{frame::Request, refusal::RefusalCode};

use super::has_one_meaning;

/// What a client sends.
pub(crate) fn request(data: &[u8]) {
    let Ok(frame) = std::str::from_utf8(data) else { return };
    match inlets::request(frame) {
        Ok(request) => {
            has_one_meaning(data);
            let again = serde_json::to_string(&request).expect("a request is JSON");
            assert_eq!(serde_json::from_str::<Request>(&again).ok(), Some(request));
        }
        Err((_, refusal)) => assert_eq!(refusal.code, RefusalCode::Malformed),
    }
}

/// What a server sends.
pub(crate) fn incoming(data: &[u8]) {
    let Ok(frame) = std::str::from_utf8(data) else { return };
    if let Ok(incoming) = Incoming::read(frame) {
        has_one_meaning(data);
        let again = serde_json::to_string(&incoming).expect("a frame is JSON");
        assert_eq!(Incoming::read(&again).ok(), Some(incoming));
    }
}
