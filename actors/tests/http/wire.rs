//! A WebSocket client that asks and hears.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{HeaderValue, StatusCode},
    },
};

use crate::world::{Session, World, in_time};

pub(crate) struct Wire {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    /// Events that came while an answer was awaited.
    pub(crate) events: Vec<Value>,
}

/// Why a socket closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Wire {
    pub(crate) async fn open(world: &World, session: &Session) -> Self {
        let bearer = format!("Bearer {}", session.0);
        Self::open_with(world, &[("authorization", &bearer)]).await.unwrap()
    }

    /// On a connection that the test made.
    pub(crate) fn new(stream: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self { stream, next: 1, events: Vec::new() }
    }

    /// With headers of the test's choice; the status where it is refused.
    pub(crate) async fn open_with(
        world: &World,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, StatusCode> {
        let url = world.url("/api/socket").replacen("http", "ws", 1);
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        match in_time("the handshake", connect_async(request)).await {
            Ok((stream, _)) => Ok(Self::new(stream)),
            Err(Error::Http(response)) => Err(response.status()),
            Err(fault) => panic!("{fault}"),
        }
    }

    pub(crate) async fn say(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.unwrap();
    }

    /// Sends an ask without waiting; gives its id.
    pub(crate) async fn send(&mut self, ask: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        self.say(json!({ "id": id, "ask": ask }).to_string()).await;
        id
    }

    /// Asks and waits for the answer: the whole response.
    pub(crate) async fn ask(&mut self, ask: Value) -> Value {
        let id = self.send(ask).await;
        self.answer(id).await
    }

    /// Asks what must be done: the answer.
    pub(crate) async fn must(&mut self, ask: Value) -> Value {
        let told = self.ask(ask.clone()).await;
        assert!(told.get("ok").is_some(), "{ask} -> {told}");
        told["ok"].clone()
    }

    /// Asks: `ok`, or the refusal's code.
    pub(crate) async fn code(&mut self, ask: Value) -> String {
        let told = self.ask(ask).await;
        told["refused"]["code"].as_str().unwrap_or("ok").to_owned()
    }

    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let frame = self.frame().await.unwrap();
            if frame["id"] == id {
                return frame;
            }
            self.events.push(frame);
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Value {
        if self.events.is_empty() { self.frame().await.unwrap() } else { self.events.remove(0) }
    }

    /// The next frame, or why there is none.
    pub(crate) async fn frame(&mut self) -> Result<Value, Closed> {
        in_time("a frame", async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Close(Some(why)))) => {
                        return Err(Closed { code: why.code.into(), reason: why.reason.to_string() });
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("{other:?}"),
                }
            }
        })
        .await
    }

    /// Waits for the close, whatever comes before.
    pub(crate) async fn closed(&mut self) -> Closed {
        loop {
            if let Err(closed) = self.frame().await {
                return closed;
            }
        }
    }
}

pub(crate) fn closed(code: u16, reason: &str) -> Closed {
    Closed { code, reason: reason.to_owned() }
}
