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
//! | 1007 | `invalid_text` | not UTF-8 |
//! | 1009 | `frame_too_large` | more than [`kaibiao_protocol::frame::FRAME_BYTES_MAX`] |
//! | 4001 | why the session ended, see [`crate::sessions::SessionEnd`] | sign in again |
//! | 4002 | `slow_reader` | subscribe again with the last `seq` |
//! | 4003 | `silent` | no answer to pings |
//! | 4004 | `room_ended` | the room started anew: subscribe again |
//! | 4005 | `view_changed` | what may be seen has changed: subscribe again |

mod allowance;
mod incoming;
mod line;

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::ws::{CloseCode, CloseReason, handshake};
use actix_web::{HttpRequest, HttpResponse, body::BoxBody, rt, web};
use futures_util::{StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use kaibiao_engine::session::Subscriptions;
use kaibiao_protocol::{
    frame::{Answer, Ask, Request, Response, StreamName},
    refusal::{Refusal, RefusalCode},
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use self::{
    allowance::Allowance,
    incoming::{Heard, Incoming},
    line::{Line, line},
};
use super::{
    Desk, Refused, SocketCount,
    asks::{self, Asking},
    caller::{Act, caller},
    refused::malformed,
};
use crate::{
    frame_sink::{Cut, FrameSink, frame_channel},
    refusals::refuse,
    sessions::{Session, SessionEnd, SocketPlace},
};

pub(super) use line::PIECE_BYTES;

/// Where sockets are opened.
pub(super) const PATH: &str = "/api/socket";
/// How long the closing words may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route(PATH, web::get().to(open));
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
    let mut response = handshake(request.head())?;
    let (sink, source) = frame_channel(desk.config.sockets.queue_frames_max);
    let (line, outgoing) = line(source);
    desk.meters.socket_opened();
    let span = tracing::info_span!("socket", user = %session.grounds().user);
    let socket = Socket::new(desk.into_inner(), session, line, sink);
    rt::spawn(tracing::Instrument::instrument(
        socket.run(Incoming::new(body.into_inner()), (count, place)),
        span,
    ));
    let response = response.message_body(BoxBody::new(outgoing)).map_err(actix_web::Error::from)?;
    Ok(response.into())
}

/// Why a socket ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closing {
    /// The peer closed or is gone.
    Peer,
    ServerStopping,
    Protocol,
    TextOnly,
    InvalidText,
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
            Closing::InvalidText => (CloseCode::Invalid, "invalid_text"),
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
    line: Line,
    sink: FrameSink,
    in_work: FuturesUnordered<LocalBoxFuture<'static, Answered>>,
    subscriptions: Subscriptions,
    allowance: Allowance,
    heard: Instant,
}

impl Socket {
    fn new(desk: Arc<Desk>, session: Arc<Session>, line: Line, sink: FrameSink) -> Self {
        let limits = &desk.config.sockets;
        Self {
            allowance: Allowance::new(limits.asks_per_second, limits.asks_burst),
            in_work: FuturesUnordered::new(),
            subscriptions: Subscriptions::new(),
            heard: Instant::now(),
            desk,
            session,
            line,
            sink,
        }
    }

    async fn run(mut self, mut incoming: Incoming, _places: (SocketCount, SocketPlace)) {
        tracing::debug!("a socket opened");
        let (mut ended, mut stopping) = (self.session.watch_end(), self.desk.stopping.subscribe());
        // Waited for once, not anew with each frame.
        let over = pin!(over(&mut ended, &mut stopping));
        let why = match self.serve(&mut incoming, over).await {
            Ok(never) => match never {},
            Err(why) => why,
        };
        for stream in self.subscriptions.end() {
            self.desk.house.leave_room(&stream, self.sink.id());
        }
        tracing::debug!(?why, "a socket closes");
        // Asks in work are dropped with the socket: their commands go on, only nobody is told.
        drop(self.in_work);
        self.line.close(why.reason());
        let _ = timeout(CLOSE_TIMEOUT, self.line.over()).await;
    }

    async fn serve(
        &mut self,
        incoming: &mut Incoming,
        mut over: Pin<&mut impl Future<Output = Closing>>,
    ) -> Result<std::convert::Infallible, Closing> {
        let (ping_seconds, silent_seconds) =
            (self.desk.config.sockets.ping_seconds, self.desk.config.sockets.silent_seconds);
        let mut ping = interval(Duration::from_secs(ping_seconds.into()));
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // While answers wait to be read, nothing more is heard: the peer's own bytes wait with it.
            let has_room = self.line.has_room();
            tokio::select! {
                why = &mut over => return Err(why),
                cut = self.sink.cut_seen() => return Err(Closing::Cut(cut)),
                () = self.line.over() => return Err(Closing::Peer),
                () = self.line.room(), if !has_room => {}
                Some(answered) = self.in_work.next(), if has_room && !self.in_work.is_empty() => {
                    self.answer(answered);
                }
                heard = incoming.next(), if has_room => {
                    self.heard = Instant::now();
                    match heard? {
                        Heard::Text(frame) => self.take(&frame),
                        Heard::Ping(payload) => self.line.pong(payload),
                        Heard::Life => {}
                    }
                }
                _ = ping.tick() => {
                    if self.heard.elapsed() > Duration::from_secs(silent_seconds.into()) {
                        return Err(Closing::Silent);
                    }
                    // The peer answered since the last ping: somebody still looks.
                    self.session.touch(self.desk.house.clock().present());
                    if !self.line.ping() {
                        return Err(Closing::Cut(Cut::SlowReader));
                    }
                }
            }
        }
    }

    /// Takes one frame: begins its ask, or refuses it at once.
    fn take(&mut self, frame: &str) {
        // Stamped before anything else: what follows must not make a timely ask late.
        let at = self.desk.house.clock().now();
        let limits = &self.desk.config.sockets;
        // What is not understood costs as much as what is.
        let may = self.allowance.take() && self.in_work.len() < limits.asks_in_flight_max;
        let request = match read_request(frame) {
            Ok(request) if may => request,
            Err((id, refusal)) if may => return self.refuse(id, refusal),
            Ok(Request { id, .. }) | Err((id, _)) => return self.refuse(id, refuse(RefusalCode::Busy)),
        };
        self.session.touch(at);
        let id = request.id;
        match request.ask {
            Ask::Unsubscribe { stream } => {
                if let Err(code) = self.subscriptions.leave(&stream) {
                    return self.refuse(id, refuse(code));
                }
                self.desk.house.leave_room(&stream, self.sink.id());
                self.answer(Answered { id, joining: None, outcome: Ok(Answer::Done { at }) });
            }
            ask => {
                let joining = match &ask {
                    Ask::Subscribe { stream, .. } => Some(stream.clone()),
                    _ => None,
                };
                let joined =
                    joining.as_ref().map(|stream| self.subscriptions.join(stream, limits.subscriptions_max));
                if let Some(Err(code)) = joined {
                    return self.refuse(id, refuse(code));
                }
                self.line.let_events(self.subscriptions.may_send());
                let asking = Asking {
                    desk: self.desk.clone(),
                    session: self.session.clone(),
                    sink: self.sink.clone(),
                    at,
                };
                self.in_work.push(Box::pin(async move {
                    Answered { id, joining, outcome: asks::answer(asking, ask).await }
                }));
            }
        }
    }

    fn answer(&mut self, answered: Answered) {
        let Answered { id, joining, outcome } = answered;
        let response = match outcome {
            Ok(ok) => Response::Ok { id, ok },
            Err(refused) => Response::Refused { id, refused },
        };
        if let Some(stream) = joining {
            self.subscriptions.answered(&stream, matches!(response, Response::Ok { .. }));
        }
        let text = serde_json::to_string(&response).expect("an answer has a JSON form");
        self.line.answer(text.into());
        self.line.let_events(self.subscriptions.may_send());
    }

    fn refuse(&mut self, id: u64, refused: Refusal) {
        let text =
            serde_json::to_string(&Response::Refused { id, refused }).expect("a refusal has a JSON form");
        self.line.answer(text.into());
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
}
