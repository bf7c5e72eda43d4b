//! A WebSocket client as small as can be, so that ten thousand fit beside what they measure.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long the server may take for a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);
const HEAD_BYTES_MAX: usize = 4_096;
const READ_BYTES: usize = 1_024;
const PONG: u8 = 0xA;

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Why a connection could not be opened or ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Refused by the server with this status.
    Refused(u16),
    /// Cut, or closed by the server with this code.
    Closed(Option<u16>),
}

impl From<std::io::Error> for Ended {
    fn from(_: std::io::Error) -> Self {
        Ended::Closed(None)
    }
}

impl Wire {
    /// Connects and shakes hands.
    pub(super) async fn open(address: SocketAddr, token: Option<&str>) -> Result<Self, Ended> {
        timeout(HANDSHAKE_MAX, Self::shake_hands(address, token)).await.unwrap_or(Err(Ended::Closed(None)))
    }

    async fn shake_hands(address: SocketAddr, token: Option<&str>) -> Result<Self, Ended> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        // A cut is a cut: no port waits for the other side afterwards.
        stream.set_zero_linger()?;
        let bearer = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let head = format!(
            "GET /api/socket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{bearer}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut wire = Self { stream, buffer: Vec::new() };
        let end = loop {
            if let Some(end) = wire.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if wire.buffer.len() > HEAD_BYTES_MAX {
                return Err(Ended::Closed(None));
            }
            wire.read_more().await?;
        };
        let status = wire.buffer.get(9..12).and_then(|three| std::str::from_utf8(three).ok());
        match status.and_then(|three| three.parse().ok()) {
            Some(101) => {
                wire.buffer.drain(..end);
                Ok(wire)
            }
            Some(status) => Err(Ended::Refused(status)),
            None => Err(Ended::Closed(None)),
        }
    }

    async fn read_more(&mut self) -> Result<(), Ended> {
        let mut piece = [0; READ_BYTES];
        match self.stream.read(&mut piece).await? {
            0 => Err(Ended::Closed(None)),
            read => {
                self.buffer.extend_from_slice(&piece[..read]);
                Ok(())
            }
        }
    }

    /// Sends a text.
    pub(super) async fn say(&mut self, text: &str) -> Result<(), Ended> {
        self.send(0x1, text.as_bytes()).await
    }

    /// Writes bytes as they are.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        Ok(self.stream.write_all(bytes).await?)
    }

    async fn send(&mut self, kind: u8, payload: &[u8]) -> Result<(), Ended> {
        let mut frame = vec![0x80 | kind];
        match u16::try_from(payload.len()) {
            Ok(short @ 0..126) => frame.push(0x80 | short as u8),
            Ok(long) => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&long.to_be_bytes());
            }
            Err(_) => return Err(Ended::Closed(None)),
        }
        // A mask of zeroes leaves the payload as it is.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        Ok(self.stream.write_all(&frame).await?)
    }

    /// The next text. Pings are answered on the way.
    pub(super) async fn hear(&mut self) -> Result<String, Ended> {
        loop {
            let Some((kind, payload, end)) = frame(&self.buffer) else {
                self.read_more().await?;
                continue;
            };
            let bytes = self.buffer[payload..end].to_vec();
            self.buffer.drain(..end);
            if self.buffer.is_empty() {
                self.buffer.shrink_to(0);
            }
            match kind {
                0x1 => return String::from_utf8(bytes).map_err(|_| Ended::Closed(None)),
                0x8 => {
                    let code = bytes.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Err(Ended::Closed(code));
                }
                0x9 => self.send(PONG, &bytes).await?,
                _ => {}
            }
        }
    }
}

/// A fragment of a text that does not end here; shorter than 126 bytes.
pub(super) fn fragment(first: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(first), 0x80 | payload.len() as u8, 0, 0, 0, 0];
    bytes.extend_from_slice(payload);
    bytes
}

/// Kind, beginning of the payload and end of the first frame, if all of it is there. Servers do not mask.
fn frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (from, length) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    };
    (bytes.len() >= from + length).then_some((first & 0xF, from, from + length))
}
