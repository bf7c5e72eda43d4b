//! The bare twin: the least that the same libraries need to hold sockets open and to send everybody the same bytes.

use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, Session};
use bytestring::ByteString;
use kaibiao_protocol::frame::FRAME_BYTES_MAX;
use serde_json::json;

use super::{Fallible, Orders, WORKERS};

/// As many as the server in production lets wait.
const BACKLOG: u32 = 4_096;
/// What a text begins with that is for everybody; anything else is echoed.
const FOR_ALL: &str = "{\"stream\"";

/// Everybody.
#[derive(Default)]
struct Hub(Mutex<Vec<Session>>);

impl Hub {
    fn everybody(&self) -> Vec<Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn join(&self, session: Session) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(session);
    }
}

/// Serves until the parent goes away.
///
/// # Errors
/// No address is free.
pub async fn serve_bare() -> Fallible<()> {
    let hub = web::Data::from(Arc::new(Hub::default()));
    let server =
        HttpServer::new(move || App::new().app_data(hub.clone()).route("/api/socket", web::get().to(open)))
            .workers(WORKERS)
            .backlog(BACKLOG)
            .tcp_nodelay(true)
            .disable_signals()
            .bind(("127.0.0.1", 0))?;
    let address = server.addrs().first().copied().ok_or("no address")?;
    rt::spawn(server.run());
    let mut orders = Orders::listen();
    orders.answer(&json!({ "address": address }))?;
    while orders.next().await.is_some() {
        orders.answer(&json!({}))?;
    }
    Ok(())
}

async fn open(
    request: HttpRequest,
    body: web::Payload,
    hub: web::Data<Hub>,
) -> Result<HttpResponse, actix_web::Error> {
    let (response, session, incoming) = actix_ws::handle(&request, body)?;
    let incoming = incoming
        .max_frame_size(FRAME_BYTES_MAX)
        .aggregate_continuations()
        .max_continuation_size(FRAME_BYTES_MAX);
    hub.join(session.clone());
    rt::spawn(echo(hub, session, incoming));
    Ok(response)
}

async fn echo(hub: web::Data<Hub>, mut session: Session, mut incoming: AggregatedMessageStream) {
    while let Some(Ok(message)) = incoming.recv().await {
        match message {
            AggregatedMessage::Text(text) if text.starts_with(FOR_ALL) => tell_all(&hub, text).await,
            AggregatedMessage::Text(text) => {
                if session.text(text).await.is_err() {
                    return;
                }
            }
            AggregatedMessage::Ping(payload) => {
                if session.pong(&payload).await.is_err() {
                    return;
                }
            }
            AggregatedMessage::Binary(_) | AggregatedMessage::Pong(_) => {}
            AggregatedMessage::Close(_) => return,
        }
    }
}

async fn tell_all(hub: &Hub, text: ByteString) {
    for mut session in hub.everybody() {
        // Whoever is gone is told nothing.
        let _ = session.text(text.clone()).await;
    }
}
