//! What stands between the people and the server: one address however often the server dies, and everything that the
//! server ever sent.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the server sent over each connection.
type Sent = Arc<Mutex<Vec<Arc<Mutex<Vec<u8>>>>>>;

/// A running proxy; it ends with the runtime.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    behind: Arc<Mutex<Option<SocketAddr>>>,
    sent: Sent,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(Mutex::new(None));
        let sent = Sent::default();
        let (place, all) = (behind.clone(), sent.clone());
        actix_web::rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let behind: Option<SocketAddr> = *place.lock().unwrap();
                let Some(behind) = behind else { continue };
                let kept = Arc::new(Mutex::new(Vec::new()));
                all.lock().unwrap().push(kept.clone());
                actix_web::rt::spawn(pass(client, behind, kept));
            }
        });
        Self { address, behind, sent }
    }

    /// Where the server is now.
    pub(crate) fn lead_to(&self, address: Option<SocketAddr>) {
        *self.behind.lock().unwrap() = address;
    }

    /// Everything the server sent: each WebSocket frame by itself, and what went over any other connection as one.
    pub(crate) fn sent(&self) -> Vec<Vec<u8>> {
        let all = self.sent.lock().unwrap();
        all.iter().flat_map(|bytes| texts(&bytes.lock().unwrap())).collect()
    }
}

async fn pass(mut client: TcpStream, behind: SocketAddr, kept: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut server) = TcpStream::connect(behind).await else { return };
    // Small frames go at once, as they would without us.
    if client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
        return;
    }
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            kept.lock().unwrap().extend_from_slice(&buffer[..read]);
            if to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(up, down) } => {}
    }
}

/// The frames of a WebSocket, or everything as it is.
fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    let head =
        bytes.windows(4).position(|four| four == b"\r\n\r\n").filter(|_| bytes.starts_with(b"HTTP/1.1 101"));
    let Some(head) = head else { return vec![bytes.to_vec()] };
    let mut rest = &bytes[head + 4..];
    let mut frames = Vec::new();
    while let [_, length, more @ ..] = rest {
        // A server's frames are not masked (RFC 6455, 5.1).
        let (length, more) = match length & 0x7f {
            126 if more.len() >= 2 => (usize::from(u16::from_be_bytes([more[0], more[1]])), &more[2..]),
            127 if more.len() >= 8 => {
                (usize::try_from(u64::from_be_bytes(more[..8].try_into().unwrap())).unwrap(), &more[8..])
            }
            126 | 127 => break,
            length => (usize::from(length), more),
        };
        let length = length.min(more.len());
        frames.push(more[..length].to_vec());
        rest = &more[length..];
    }
    frames
}
