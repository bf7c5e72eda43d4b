//! A small server of the same words that does by script what networks and servers do by bad luck.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{SinkExt as _, StreamExt as _};
use kaibiao_bidder::client::ServerAddress;
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::statements::Challenge;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::{accept_async, tungstenite::Message};

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Script {
    /// Events of every stream.
    pub(crate) events: u64,
    /// After so many events a connection is cut.
    pub(crate) events_a_connection: u64,
    /// So many asks of each kind are swallowed together with their connection.
    pub(crate) cut_asks: u32,
    /// After so many bytes of an upload its connection is cut.
    pub(crate) cut_upload_every: Option<usize>,
    /// So many verdicts are lost on the way.
    pub(crate) swallow_verdicts: u32,
    /// So many times the platform is busy when the last byte is in.
    pub(crate) busy_verdicts: u32,
    /// What answers is another program.
    pub(crate) other_program: bool,
}

#[derive(Default)]
struct State {
    sockets: u32,
    sign_ins: u32,
    session: u32,
    asked: HashMap<String, u32>,
    begun: bool,
    uploaded: Vec<u8>,
    length: usize,
    patches: u32,
    judged: bool,
    swallowed: u32,
    busy: u32,
}

#[derive(Clone)]
struct Inside {
    script: Script,
    state: Arc<Mutex<State>>,
    origin: String,
}

/// A running fake.
pub(crate) struct Fake {
    inside: Inside,
}

impl Fake {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let inside = Inside { script, state: Arc::default(), origin };
        let serving = inside.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let inside = serving.clone();
                tokio::spawn(async move { inside.connection(stream).await });
            }
        });
        Self { inside }
    }

    pub(crate) fn address(&self) -> ServerAddress {
        self.inside.origin.parse().unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inside.state()
    }

    pub(crate) fn sockets(&self) -> u32 {
        self.state().sockets
    }

    pub(crate) fn sign_ins(&self) -> u32 {
        self.state().sign_ins
    }

    pub(crate) fn asked(&self, what: &str) -> u32 {
        self.state().asked.get(what).copied().unwrap_or_default()
    }

    pub(crate) fn uploaded(&self) -> Vec<u8> {
        self.state().uploaded.clone()
    }

    pub(crate) fn patches(&self) -> u32 {
        self.state().patches
    }

    /// As after a restart: no session is known any more.
    pub(crate) fn forget_sessions(&self) {
        self.state().session += 1;
    }
}

struct Head {
    method: String,
    path: String,
    headers: HashMap<String, String>,
}

impl Inside {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn connection(self, mut stream: TcpStream) {
        let mut first = [0; 15];
        loop {
            let seen = stream.peek(&mut first).await.unwrap_or(0);
            if seen == 0 {
                return;
            }
            if seen == first.len() {
                break;
            }
            tokio::task::yield_now().await;
        }
        if first.starts_with(b"GET /api/socket") && self.knows(&mut stream).await {
            self.socket(stream).await;
            return;
        }
        while let Some(head) = read_head(&mut stream).await {
            if self.http(&mut stream, head).await.is_none() {
                return;
            }
        }
    }

    /// Whether the handshake waiting in the stream carries the present session.
    async fn knows(&self, stream: &mut TcpStream) -> bool {
        let mut seen = vec![0; 4096];
        loop {
            let count = stream.peek(&mut seen).await.unwrap();
            let text = String::from_utf8_lossy(&seen[..count]).to_lowercase();
            if text.contains("\r\n\r\n") {
                return text.contains(&format!("bearer {}\r\n", self.token()));
            }
            tokio::task::yield_now().await;
        }
    }

    fn token(&self) -> String {
        format!("{:064x}", self.state().session)
    }

    async fn socket(self, stream: TcpStream) {
        let mut wire = accept_async(stream).await.unwrap();
        self.state().sockets += 1;
        let mut told = 0;
        while let Some(Ok(message)) = wire.next().await {
            let Message::Text(text) = message else { continue };
            let request: Value = serde_json::from_str(text.as_str()).unwrap();
            let (id, ask) = (&request["id"], &request["ask"]);
            let what = ask["do"].as_str().unwrap().to_owned();
            let times = {
                let mut state = self.state();
                let times = state.asked.entry(what.clone()).or_default();
                *times += 1;
                *times
            };
            if times <= self.script.cut_asks {
                return;
            }
            let answer = match what.as_str() {
                "time" => json!({ "is": "time", "at": 0 }),
                "subscribe" => json!({ "is": "subscribed", "seq": self.script.events }),
                _ => json!({ "is": "done", "at": 0 }),
            };
            let answer = json!({ "id": id, "ok": answer }).to_string();
            if wire.send(Message::text(answer)).await.is_err() {
                return;
            }
            if what != "subscribe" {
                continue;
            }
            let since = ask["since"].as_u64().unwrap();
            for seq in since + 1..=self.script.events {
                if told == self.script.events_a_connection {
                    return;
                }
                told += 1;
                let event = json!({ "event": "row_read_out", "lot": 1, "no": seq });
                let notice =
                    json!({ "stream": ask["stream"], "seq": seq, "at": 0, "event": event }).to_string();
                if wire.send(Message::text(notice)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Answers one request; none: the connection is over.
    async fn http(&self, stream: &mut TcpStream, head: Head) -> Option<()> {
        if self.script.other_program {
            return answer(stream, "200 OK", &[], "<html>It works!</html>").await;
        }
        let length = head.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        let is_upload = head.path.contains("/uploads");
        if !is_upload {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
        }
        match (head.method.as_str(), head.path.as_str()) {
            ("GET", "/api/time") => answer(stream, "200 OK", &[], r#"{"at":0}"#).await,
            ("POST", "/api/sign-in/challenge") => {
                let (account, expires_at) = (None, Moment(0));
                let origin = "https://bid.example.cn".to_owned();
                let text = Challenge { origin, account, nonce: Digest([7; 32]), expires_at }.text();
                answer(stream, "200 OK", &[], &json!({ "challenge": text, "expires_at": 0 }).to_string())
                    .await
            }
            ("POST", "/api/sign-in/password") => {
                self.state().sign_ins += 1;
                let told = json!({
                    "session": self.token(), "user": "wang", "organisation": "mingde", "role": "supplier",
                    "expires_at": i64::MAX,
                });
                answer(stream, "200 OK", &[], &told.to_string()).await
            }
            _ if is_upload => self.upload(stream, &head, length).await,
            _ => answer(stream, "401 Unauthorized", &[], &refusal("session_ended")).await,
        }
    }

    async fn upload(&self, stream: &mut TcpStream, head: &Head, length: usize) -> Option<()> {
        let place = ("Location".to_owned(), "/api/projects/KX-1/uploads/1".to_owned());
        match head.method.as_str() {
            "POST" => {
                {
                    let mut state = self.state();
                    state.begun = true;
                    state.length = head.headers["upload-length"].parse().unwrap();
                }
                answer(stream, "201 Created", &[place], "").await
            }
            "HEAD" => answer_head(stream, &self.standing()).await,
            "GET" => answer(stream, "200 OK", &self.standing(), VERDICT).await,
            "PATCH" => self.patch(stream, head, length).await,
            other => panic!("{other}"),
        }
    }

    fn standing(&self) -> Vec<(String, String)> {
        let state = self.state();
        let mut headers = vec![("Upload-Offset".to_owned(), state.uploaded.len().to_string())];
        if state.judged {
            headers.push(("Kaibiao-Verdict".to_owned(), "restored".to_owned()));
        }
        headers
    }

    async fn patch(&self, stream: &mut TcpStream, head: &Head, length: usize) -> Option<()> {
        let offset: usize = head.headers["upload-offset"].parse().unwrap();
        self.state().patches += 1;
        assert_eq!(offset, self.state().uploaded.len(), "only where the server stands");
        let wanted = self.script.cut_upload_every.map_or(length, |cut| length.min(cut));
        let mut body = vec![0; wanted];
        stream.read_exact(&mut body).await.ok()?;
        self.state().uploaded.extend_from_slice(&body);
        if wanted < length {
            return None;
        }
        match self.judge() {
            Judged::NotWhole => answer(stream, "204 No Content", &self.standing(), "").await,
            Judged::Busy => {
                let refused: Value = serde_json::from_str(&refusal("busy")).unwrap();
                let told = json!({ "verdict": "refused", "refusal": refused["refused"] }).to_string();
                answer(stream, "200 OK", &self.standing(), &told).await
            }
            Judged::Swallowed => None,
            Judged::Restored => answer(stream, "200 OK", &self.standing(), VERDICT).await,
        }
    }

    fn judge(&self) -> Judged {
        let mut state = self.state();
        if state.uploaded.len() < state.length {
            return Judged::NotWhole;
        }
        if state.busy < self.script.busy_verdicts {
            state.busy += 1;
            return Judged::Busy;
        }
        state.judged = true;
        if state.swallowed < self.script.swallow_verdicts {
            state.swallowed += 1;
            return Judged::Swallowed;
        }
        Judged::Restored
    }
}

enum Judged {
    NotWhole,
    Busy,
    Swallowed,
    Restored,
}

const VERDICT: &str = r#"{"verdict":"restored","bid":"01010101010101010101010101010101"}"#;

fn refusal(code: &str) -> String {
    json!({ "refused": { "code": code, "rule": "house", "say": { "zh": "拒绝", "en": "refused" } } })
        .to_string()
}

async fn read_head(stream: &mut TcpStream) -> Option<Head> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.lines();
    let mut first = lines.next()?.split_whitespace();
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Head { method, path, headers })
}

async fn answer(
    stream: &mut TcpStream,
    status: &str,
    headers: &[(String, String)],
    body: &str,
) -> Option<()> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text += body;
    stream.write_all(text.as_bytes()).await.ok()
}

/// The answer to HEAD: no body, whatever its length would be.
async fn answer_head(stream: &mut TcpStream, headers: &[(String, String)]) -> Option<()> {
    answer(stream, "200 OK", headers, "").await
}
