//! `GET /api/socket`: one WebSocket a page, JSON text frames ([`kaibiao_protocol::frame`]).
//!
//! Answers carry the id of their request and come in the order in which they are ready. Events of subscribed
//! streams come through one bounded pipe: a reader that stays behind is cut, and resumes by `seq`. A subscription
//! is answered before its first event.
//!
//! | close code | reason | |
//! |---|---|---|
//! | 1001 | `server_stopping` | come back in a while |
//! | 1002 | `protocol_error` | not WebSocket |
//! | 1003 | `text_only` | binary frames are not understood |
//! | 1009 | `frame_too_large` | more than [`FRAME_BYTES_MAX`] |
//! | 4001 | why the session ended, see [`crate::sessions::SessionEnd`] | sign in again |
//! | 4002 | `slow_reader` | subscribe again with the last `seq` |
//! | 4003 | `silent` | no answer to pings |
//! | 4004 | `room_ended` | the room started anew: subscribe again |
//! | 4005 | `view_changed` | what may be seen has changed: subscribe again |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, HttpResponse, rt, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError};
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use kaibiao_engine::session::Subscriptions;
use kaibiao_protocol::{
    frame::{Answer, Ask, FRAME_BYTES_MAX, Request, Response, StreamName},
    refusal::{Refusal, RefusalCode},
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Desk, Refused, SocketCount,
    asks::{self, Asking},
    caller::{Act, caller},
    refused::malformed,
};
use crate::{
    frame_sink::{Cut, Delivery, FrameSink, FrameSource, frame_channel},
    refusals::refuse,
    sessions::{Session, SessionEnd, SocketPlace},
};

/// A frame that cannot be sent for so long ends the socket.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the closing words may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/api/socket", web::get().to(open));
}

async fn open(
    request: HttpRequest,
    body: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, actix_web::Error> {
    let session = caller(&desk, &request, Act::Socket)?;
    let busy = || Refused::code(RefusalCode::Busy);
    if desk.is_stopping() {
        return Err(busy().into());
    }
    let count = desk.clone().into_inner().take_socket().ok_or_else(busy)?;
    let place = session.take_socket(desk.config.sockets.per_session_max).ok_or_else(busy)?;
    let (response, wire, incoming) = actix_ws::handle(&request, body)?;
    let incoming = incoming
        .max_frame_size(FRAME_BYTES_MAX)
        .aggregate_continuations()
        .max_continuation_size(FRAME_BYTES_MAX);
    desk.meters.socket_opened();
    let span = tracing::info_span!("socket", user = %session.grounds().user);
    let socket = Socket::new(desk.into_inner(), session, wire);
    rt::spawn(tracing::Instrument::instrument(socket.run(incoming, (count, place)), span));
    Ok(response)
}

/// Why a socket ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closing {
    /// The peer closed or is gone.
    Peer,
    ServerStopping,
    Protocol,
    TextOnly,
    FrameTooLarge,
    Session(SessionEnd),
    Cut(Cut),
    Silent,
}

impl Closing {
    fn reason(self) -> Option<CloseReason> {
        let (code, told) = match self {
            Closing::Peer => return None,
            Closing::ServerStopping => (CloseCode::Away, "server_stopping"),
            Closing::Protocol => (CloseCode::Protocol, "protocol_error"),
            Closing::TextOnly => (CloseCode::Unsupported, "text_only"),
            Closing::FrameTooLarge => (CloseCode::Size, "frame_too_large"),
            Closing::Session(end) => (CloseCode::Other(4001), end.as_str()),
            Closing::Cut(Cut::SlowReader) => (CloseCode::Other(4002), "slow_reader"),
            Closing::Silent => (CloseCode::Other(4003), "silent"),
            Closing::Cut(Cut::RoomEnded) => (CloseCode::Other(4004), "room_ended"),
            Closing::Cut(Cut::Revoked) => (CloseCode::Other(4005), "view_changed"),
        };
        Some(CloseReason::from((code, told)))
    }
}

/// What has been answered to one ask.
struct Answered {
    id: u64,
    /// The stream joined, where one was asked for.
    joining: Option<StreamName>,
    outcome: Result<Answer, Refusal>,
}

struct Socket {
    desk: Arc<Desk>,
    session: Arc<Session>,
    wire: actix_ws::Session,
    sink: FrameSink,
    source: FrameSource,
    ended: watch::Receiver<Option<SessionEnd>>,
    stopping: watch::Receiver<bool>,
    in_work: FuturesUnordered<LocalBoxFuture<'static, Answered>>,
    subscriptions: Subscriptions,
    allowance: Allowance,
    heard: Instant,
}

impl Socket {
    fn new(desk: Arc<Desk>, session: Arc<Session>, wire: actix_ws::Session) -> Self {
        let (sink, source) = frame_channel(desk.config.sockets.queue_frames_max);
        let limits = &desk.config.sockets;
        Self {
            ended: session.watch_end(),
            stopping: desk.stopping.subscribe(),
            allowance: Allowance::new(limits.asks_per_second, limits.asks_burst),
            in_work: FuturesUnordered::new(),
            subscriptions: Subscriptions::new(),
            heard: Instant::now(),
            desk,
            session,
            wire,
            sink,
            source,
        }
    }

    async fn run(mut self, mut incoming: AggregatedMessageStream, _places: (SocketCount, SocketPlace)) {
        tracing::debug!("a socket opened");
        let why = match self.serve(&mut incoming).await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        for stream in self.subscriptions.end() {
            self.desk.house.leave_room(&stream, self.sink.id());
        }
        tracing::debug!(?why, "a socket closes");
        // Asks in work are dropped with the socket: their commands go on, only nobody is told.
        drop(self.in_work);
        let _ = timeout(CLOSE_TIMEOUT, self.wire.close(why.reason())).await;
    }

    async fn serve(
        &mut self,
        incoming: &mut AggregatedMessageStream,
    ) -> Result<std::convert::Infallible, Closing> {
        let limits = self.desk.config.sockets.clone();
        let mut ping = interval(Duration::from_secs(limits.ping_seconds.into()));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                why = over(&mut self.ended, &mut self.stopping) => return Err(why),
                Some(answered) = self.in_work.next(), if !self.in_work.is_empty() => self.answer(answered).await?,
                delivery = self.source.next(), if self.subscriptions.may_send() => match delivery {
                    Ok(Delivery::Frame(frame)) => self.send(frame).await?,
                    Ok(Delivery::Backlog(frames)) => {
                        for frame in frames {
                            self.send(frame).await?;
                        }
                    }
                    Err(cut) => return Err(Closing::Cut(cut)),
                },
                message = incoming.recv() => self.hear(message).await?,
                _ = ping.tick() => {
                    if self.heard.elapsed() > Duration::from_secs(limits.silent_seconds.into()) {
                        return Err(Closing::Silent);
                    }
                    // The peer answered since the last ping: somebody still looks.
                    self.session.touch(self.desk.house.clock().present());
                    let mut wire = self.wire.clone();
                    self.unless_over(async move { wire.ping(b"").await.map_err(|_| Closing::Peer) }).await?;
                }
            }
        }
    }

    async fn hear(
        &mut self,
        message: Option<Result<AggregatedMessage, ProtocolError>>,
    ) -> Result<(), Closing> {
        self.heard = Instant::now();
        match message {
            Some(Ok(AggregatedMessage::Text(frame))) => self.take(&frame).await,
            Some(Ok(AggregatedMessage::Ping(payload))) => {
                let mut wire = self.wire.clone();
                self.unless_over(async move { wire.pong(&payload).await.map_err(|_| Closing::Peer) }).await
            }
            Some(Ok(AggregatedMessage::Pong(_))) => Ok(()),
            Some(Ok(AggregatedMessage::Binary(_))) => Err(Closing::TextOnly),
            Some(Ok(AggregatedMessage::Close(_))) | None => Err(Closing::Peer),
            Some(Err(ProtocolError::Overflow)) => Err(Closing::FrameTooLarge),
            Some(Err(ProtocolError::Io(_))) => Err(Closing::Peer),
            Some(Err(_)) => Err(Closing::Protocol),
        }
    }

    /// Takes one frame: begins its ask, or refuses it at once.
    async fn take(&mut self, frame: &str) -> Result<(), Closing> {
        // Stamped before anything else: what follows must not make a timely ask late.
        let at = self.desk.house.clock().now();
        let request = match read_request(frame) {
            Ok(request) => request,
            Err((id, refusal)) => return self.refuse(id, refusal).await,
        };
        let limits = &self.desk.config.sockets;
        if !self.allowance.take() || self.in_work.len() >= limits.asks_in_flight_max {
            return self.refuse(request.id, refuse(RefusalCode::Busy)).await;
        }
        self.session.touch(at);
        let id = request.id;
        match request.ask {
            Ask::Unsubscribe { stream } => {
                if let Err(code) = self.subscriptions.leave(&stream) {
                    return self.refuse(id, refuse(code)).await;
                }
                self.desk.house.leave_room(&stream, self.sink.id());
                self.answer(Answered { id, joining: None, outcome: Ok(Answer::Done { at }) }).await
            }
            ask => {
                let joining = match &ask {
                    Ask::Subscribe { stream, .. } => Some(stream.clone()),
                    _ => None,
                };
                let joined =
                    joining.as_ref().map(|stream| self.subscriptions.join(stream, limits.subscriptions_max));
                if let Some(Err(code)) = joined {
                    return self.refuse(id, refuse(code)).await;
                }
                let asking = Asking {
                    desk: self.desk.clone(),
                    session: self.session.clone(),
                    sink: self.sink.clone(),
                    at,
                };
                self.in_work.push(Box::pin(async move {
                    Answered { id, joining, outcome: asks::answer(asking, ask).await }
                }));
                Ok(())
            }
        }
    }

    async fn answer(&mut self, answered: Answered) -> Result<(), Closing> {
        let Answered { id, joining, outcome } = answered;
        let response = match outcome {
            Ok(ok) => Response::Ok { id, ok },
            Err(refused) => Response::Refused { id, refused },
        };
        if let Some(stream) = joining {
            self.subscriptions.answered(&stream, matches!(response, Response::Ok { .. }));
        }
        let text = serde_json::to_string(&response).expect("an answer has a JSON form");
        self.send(text.into()).await
    }

    async fn refuse(&mut self, id: u64, refused: Refusal) -> Result<(), Closing> {
        let text =
            serde_json::to_string(&Response::Refused { id, refused }).expect("a refusal has a JSON form");
        self.send(text.into()).await
    }

    async fn send(&mut self, frame: bytestring::ByteString) -> Result<(), Closing> {
        let mut wire = self.wire.clone();
        self.unless_over(async move { wire.text(frame).await.map_err(|_| Closing::Peer) }).await
    }

    /// Sends, unless meanwhile the socket is over: a peer that reads nothing must not keep its end from coming.
    async fn unless_over(&mut self, sent: impl Future<Output = Result<(), Closing>>) -> Result<(), Closing> {
        tokio::select! {
            biased;
            sent = sent => sent,
            why = over(&mut self.ended, &mut self.stopping) => Err(why),
            cut = self.source.cut_seen() => Err(Closing::Cut(cut)),
            () = tokio::time::sleep(WRITE_TIMEOUT) => Err(Closing::Cut(Cut::SlowReader)),
        }
    }
}

/// Waits until the session ends or the server stops.
async fn over(
    ended: &mut watch::Receiver<Option<SessionEnd>>,
    stopping: &mut watch::Receiver<bool>,
) -> Closing {
    tokio::select! {
        biased;
        end = ended.wait_for(Option::is_some) => {
            Closing::Session(end.ok().and_then(|end| *end).unwrap_or(SessionEnd::SignedOut))
        }
        _ = stopping.wait_for(|stopping| *stopping) => Closing::ServerStopping,
    }
}

/// Reads a frame strictly. A refusal carries the frame's id where that much can be read, else 0.
pub(crate) fn read_request(frame: &str) -> Result<Request, (u64, Refusal)> {
    #[derive(Deserialize)]
    struct IdAlone {
        id: u64,
    }
    serde_json::from_str(frame).map_err(|fault| {
        let id = serde_json::from_str::<IdAlone>(frame).map_or(0, |only| only.id);
        (id, malformed(fault))
    })
}

/// How many asks may still come: so many a second, saved up to a burst.
struct Allowance {
    per_second: f64,
    burst: f64,
    left: f64,
    since: Instant,
}

impl Allowance {
    fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), left: burst.into(), since: Instant::now() }
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.since = now;
        self.left = (self.left + gained).min(self.burst);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_not_understood_is_refused_under_its_id_where_that_can_be_read() {
        let id_of = |frame: &str| read_request(frame).unwrap_err().0;
        assert_eq!(id_of(r#"{"id":7,"ask":{"do":"fly"}}"#), 7);
        assert_eq!(id_of(r#"{"id":7,"ask":{"do":"time","now":1}}"#), 7);
        assert_eq!(id_of(r#"{"id":-7,"ask":{"do":"time"}}"#), 0);
        assert_eq!(id_of("{"), 0);
        assert!(read_request(r#"{"id":7,"ask":{"do":"time"}}"#).is_ok());
    }

    #[test]
    fn a_refused_frame_names_the_place() {
        let said = |frame: &str| read_request(frame).unwrap_err().1.say.en;
        assert!(said(r#"{"id":7,"ask":{"do":"time"},"hurry":1}"#).contains("`hurry`"));
        assert!(said(r#"{"id":7,"ask":{"do":"project","project":"a/b"}}"#).contains("ProjectId"));
        assert!(said(r#"{"id":7,"id":8,"ask":{"do":"time"}}"#).contains("duplicate field `id`"));
        assert!(said(r#"{"id":7,"ask":{"do":"time"}} x"#).contains("trailing"));
    }

    #[test]
    fn a_burst_is_used_up_and_comes_back_with_time() {
        let mut allowance = Allowance::new(10, 3);
        assert!(allowance.take() && allowance.take() && allowance.take());
        assert!(!allowance.take());
        allowance.since -= Duration::from_millis(150);
        assert!(allowance.take());
        assert!(!allowance.take());
    }
}
