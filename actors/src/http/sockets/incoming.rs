//! What comes in on one socket: whole texts, with bounded memory whatever a peer sends.
//!
//! Between two messages nothing is held; within one, at most a frame and a piece of the connection's buffer. A frame
//! that declares too much is refused at its head, before its bytes are waited for. The fragments of a message are
//! copied together as they come, so a message in a million pieces takes no more than one in a single piece.

use std::future::poll_fn;

use actix_http::ws::{OpCode, Parser, ProtocolError};
use actix_web::dev::Payload;
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use futures_util::StreamExt as _;
use kaibiao_protocol::frame::FRAME_BYTES_MAX;

use super::Closing;

/// What the peer said.
pub(super) enum Heard {
    /// A whole text.
    Text(ByteString),
    /// A ping, to be answered.
    Ping(Bytes),
    /// A sign of life: a pong, or a piece of a text.
    Life,
}

/// The peer's words, as they come.
pub(super) struct Incoming {
    payload: Payload,
    buffer: BytesMut,
    /// The pieces so far of a text that comes in several.
    text: Option<Vec<u8>>,
}

impl Incoming {
    pub(super) fn new(payload: Payload) -> Self {
        Self { payload, buffer: BytesMut::new(), text: None }
    }

    /// What comes next. May be dropped while waiting without losing anything.
    ///
    /// # Errors
    /// The peer closed, is gone, or said what ends the socket.
    pub(super) async fn next(&mut self) -> Result<Heard, Closing> {
        loop {
            if let Some(heard) = self.take()? {
                return Ok(heard);
            }
            if self.buffer.is_empty() {
                // An empty buffer may still hold what it was cut out of.
                self.buffer = BytesMut::new();
            }
            match poll_fn(|cx| self.payload.poll_next_unpin(cx)).await {
                Some(Ok(bytes)) if self.buffer.is_empty() => self.buffer = BytesMut::from(bytes),
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(_)) | None => return Err(Closing::Peer),
            }
        }
    }

    /// The next frame, if all of it is there.
    fn take(&mut self) -> Result<Option<Heard>, Closing> {
        // The parser itself would wait for every byte before it refuses.
        if declared(&self.buffer).is_some_and(|bytes| bytes > FRAME_BYTES_MAX as u64) {
            return Err(Closing::FrameTooLarge);
        }
        let parsed = Parser::parse(&mut self.buffer, true, FRAME_BYTES_MAX);
        let (last, kind, payload) = match parsed {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(ProtocolError::Overflow) => return Err(Closing::FrameTooLarge),
            Err(_) => return Err(Closing::Protocol),
        };
        let payload = payload.unwrap_or_default();
        match (kind, last) {
            (OpCode::Text, _) | (OpCode::Binary, _) if self.text.is_some() => Err(Closing::Protocol),
            (OpCode::Text, true) => text(payload.freeze()),
            (OpCode::Text, false) => {
                self.text = Some(payload.to_vec());
                Ok(Some(Heard::Life))
            }
            (OpCode::Continue, last) => self.join(&payload, last),
            (OpCode::Binary, _) => Err(Closing::TextOnly),
            (OpCode::Ping, true) => Ok(Some(Heard::Ping(Bytes::copy_from_slice(&payload)))),
            (OpCode::Pong, true) => Ok(Some(Heard::Life)),
            (OpCode::Close, true) => Err(Closing::Peer),
            (OpCode::Ping | OpCode::Pong | OpCode::Close, false) | (OpCode::Bad, _) => Err(Closing::Protocol),
        }
    }

    fn join(&mut self, piece: &[u8], last: bool) -> Result<Option<Heard>, Closing> {
        let mut joined = self.text.take().ok_or(Closing::Protocol)?;
        if joined.len() + piece.len() > FRAME_BYTES_MAX {
            return Err(Closing::FrameTooLarge);
        }
        joined.extend_from_slice(piece);
        if last {
            return text(joined.into());
        }
        self.text = Some(joined);
        Ok(Some(Heard::Life))
    }
}

/// How long the payload of the first frame is, if its head says so already.
fn declared(bytes: &[u8]) -> Option<u64> {
    let (_, [length, rest @ ..]) = bytes.split_first()? else { return None };
    match length & 0x7F {
        126 => rest.first_chunk().map(|long| u16::from_be_bytes(*long).into()),
        127 => rest.first_chunk().map(|long| u64::from_be_bytes(*long)),
        short => Some(short.into()),
    }
}

fn text(bytes: Bytes) -> Result<Option<Heard>, Closing> {
    ByteString::try_from(bytes).map(|text| Some(Heard::Text(text))).map_err(|_| Closing::InvalidText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: OpCode, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        Parser::write_message(&mut bytes, payload, kind, last, true);
        bytes.to_vec()
    }

    /// What is heard of these bytes until no whole frame is left.
    fn heard(bytes: &[u8]) -> (Vec<String>, Option<Closing>) {
        let mut incoming = Incoming::new(Payload::None);
        let mut texts = Vec::new();
        // Byte by byte: nothing may hang on how the bytes come.
        for byte in bytes {
            incoming.buffer.extend_from_slice(&[*byte]);
            match incoming.take() {
                Ok(Some(Heard::Text(text))) => texts.push(text.to_string()),
                Ok(_) => {}
                Err(closing) => return (texts, Some(closing)),
            }
        }
        (texts, None)
    }

    #[test]
    fn texts_come_whole_however_they_are_cut() {
        let bytes = [
            frame(OpCode::Text, true, b"one"),
            frame(OpCode::Text, false, "两".as_bytes().get(..1).unwrap()),
            frame(OpCode::Ping, true, b"still there?"),
            frame(OpCode::Continue, false, b""),
            frame(OpCode::Continue, true, "两".as_bytes().get(1..).unwrap()),
            frame(OpCode::Text, true, b""),
        ];
        assert_eq!(heard(&bytes.concat()), (vec!["one".to_owned(), "两".to_owned(), String::new()], None));
    }

    #[test]
    fn what_is_too_long_is_refused_at_its_head_or_at_the_first_byte_too_many() {
        let head = [0x81, 0xFF, 0x40, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(heard(&head), (vec![], Some(Closing::FrameTooLarge)));
        let most = frame(OpCode::Text, true, &vec![b'x'; FRAME_BYTES_MAX]);
        assert_eq!(heard(&most).0.len(), 1);
        let piece = vec![b'x'; FRAME_BYTES_MAX / 2];
        let mut pieces = frame(OpCode::Text, false, &piece);
        pieces.extend(frame(OpCode::Continue, false, &piece));
        assert_eq!(heard(&pieces), (vec![], None));
        pieces.extend(frame(OpCode::Continue, false, b"x"));
        assert_eq!(heard(&pieces), (vec![], Some(Closing::FrameTooLarge)));
    }

    #[test]
    fn what_is_no_websocket_ends_the_socket() {
        let reserved = [0xC1, 0x81, 0, 0, 0, 0, b'x'];
        let unmasked = [0x81, 0x01, b'x'];
        for (what, bytes, closing) in [
            ("a reserved bit", reserved.to_vec(), Closing::Protocol),
            ("no mask", unmasked.to_vec(), Closing::Protocol),
            ("an unknown kind", vec![0x83, 0x80, 0, 0, 0, 0], Closing::Protocol),
            ("an end without a beginning", frame(OpCode::Continue, true, b"x"), Closing::Protocol),
            (
                "two beginnings",
                [frame(OpCode::Text, false, b"x"), frame(OpCode::Text, true, b"x")].concat(),
                Closing::Protocol,
            ),
            ("a ping in pieces", frame(OpCode::Ping, false, b"x"), Closing::Protocol),
            ("a long ping", frame(OpCode::Ping, true, &[b'x'; 126]), Closing::Protocol),
            ("bytes", frame(OpCode::Binary, true, b"x"), Closing::TextOnly),
            ("bytes in pieces", frame(OpCode::Binary, false, b"x"), Closing::TextOnly),
            ("no text", frame(OpCode::Text, true, b"\xFF"), Closing::InvalidText),
            ("a close", frame(OpCode::Close, true, b""), Closing::Peer),
        ] {
            assert_eq!(heard(&bytes), (vec![], Some(closing)), "{what}");
        }
    }
}
