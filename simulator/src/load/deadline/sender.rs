//! One supplier in the second: a bare socket that holds its last bytes until its time.

use std::time::{Duration, Instant};

use kaibiao_bidder::{clock::now, practice::forms::contact, submit::draw_upload_id};
use kaibiao_protocol::{ids::UploadId, moment::Moment};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{super::LoadFault, crowd::Crowd, instant_of};

/// The very last bytes, written by themselves, so that it is known when they left.
const LAST_BYTES: usize = 1_024;

/// A supplier with its bid, its session and its time.
pub(super) struct Sender {
    pub(super) no: usize,
    pub(super) upload: UploadId,
    project: String,
    session: String,
    host: String,
    bid: Vec<u8>,
    at: Moment,
    /// From here on the bid is sent in the second.
    held_from: usize,
    stream: Option<TcpStream>,
}

/// What came of it.
pub(super) struct Told {
    /// When the last bytes were handed to the connection, before and after.
    pub(super) left: (Moment, Moment),
    /// When the whole answer was there; none: there was none.
    pub(super) answered: Option<Answered>,
}

/// An answer.
pub(super) struct Answered {
    pub(super) at: Moment,
    pub(super) after: Duration,
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Sender {
    pub(super) fn new(
        crowd: &Crowd,
        no: usize,
        bid: Vec<u8>,
        session: String,
        host: String,
        at: Moment,
        last_bytes: usize,
    ) -> Self {
        let held_from = bid.len() - last_bytes.clamp(LAST_BYTES.min(bid.len()), bid.len());
        let project = crowd.members[no].project.to_string();
        Self { no, upload: draw_upload_id(), project, session, host, bid, at, held_from, stream: None }
    }

    pub(super) fn bid(&self) -> &[u8] {
        &self.bid
    }

    /// Begins the upload.
    pub(super) async fn begin(&mut self) -> Result<(), LoadFault> {
        let form = contact(u32::try_from(self.no % 900 + 1).unwrap_or(1));
        let mut metadata: Vec<String> = form
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name} {}", base64_of(value.as_str().unwrap_or_default())))
            .collect();
        metadata.push(format!("upload {}", base64_of(&self.upload.to_string())));
        let head = format!(
            "POST /api/projects/{}/uploads HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
             Upload-Length: {}\r\nUpload-Metadata: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.project,
            self.host,
            self.session,
            self.bid.len(),
            metadata.join(",")
        );
        let mut stream = TcpStream::connect(&self.host).await.map_err(socket)?;
        stream.write_all(head.as_bytes()).await.map_err(socket)?;
        let (status, body) = read_answer(&mut stream).await.map_err(socket)?;
        if status == 201 {
            return Ok(());
        }
        Err(LoadFault::Bid(format!("an upload was not begun: {status} {}", String::from_utf8_lossy(&body))))
    }

    /// Connects, and sends all but what the second is for.
    pub(super) async fn connect(&mut self) -> Result<(), LoadFault> {
        let mut stream = TcpStream::connect(&self.host).await.map_err(socket)?;
        stream.set_nodelay(true).map_err(socket)?;
        let head = format!(
            "PATCH /api/projects/{}/uploads/{} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
             Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\nContent-Length: {}\r\n\r\n",
            self.project,
            self.upload,
            self.host,
            self.session,
            self.bid.len()
        );
        stream.write_all(head.as_bytes()).await.map_err(socket)?;
        stream.write_all(&self.bid[..self.held_from]).await.map_err(socket)?;
        self.stream = Some(stream);
        Ok(())
    }

    /// Sends the rest at its time, and waits for the verdict.
    pub(super) async fn send(&mut self, wait: Duration) -> Told {
        let Some(mut stream) = self.stream.take() else {
            return Told { left: (self.at, self.at), answered: None };
        };
        tokio::time::sleep_until(instant_of(self.at).into()).await;
        let last = self.bid.len() - LAST_BYTES.min(self.bid.len() - self.held_from);
        let sent = stream.write_all(&self.bid[self.held_from..last]).await;
        let (began, before) = (Instant::now(), now());
        let sent = match sent {
            Ok(()) => stream.write_all(&self.bid[last..]).await,
            cut => cut,
        };
        let left = (before, now());
        if sent.is_err() {
            return Told { left, answered: None };
        }
        let answered = match tokio::time::timeout(wait, read_answer(&mut stream)).await {
            Ok(Ok((status, body))) => Some(Answered { at: now(), after: began.elapsed(), status, body }),
            Ok(Err(_)) | Err(_) => None,
        };
        Told { left, answered }
    }
}

fn socket(fault: std::io::Error) -> LoadFault {
    LoadFault::Bid(format!("a connection failed: {fault}"))
}

/// One answer with a length: its status and body.
async fn read_answer(stream: &mut TcpStream) -> std::io::Result<(u16, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(8 << 10);
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            break (end + 4, length);
        }
    };
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = std::str::from_utf8(bytes.get(9..12).unwrap_or_default()).unwrap_or_default();
    Ok((status.parse().unwrap_or(0), bytes.split_off(head)))
}

/// Base64 with padding, as tus metadata is written.
fn base64_of(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for letter in 0..4 {
            let known = letter <= three.len();
            let letter = LETTERS[(bits >> (18 - 6 * letter)) as usize % 64];
            out.push(if known { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("王", "546L")] {
            assert_eq!(base64_of(text), coded);
        }
    }
}
