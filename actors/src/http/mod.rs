//! The web server: sign-in, the WebSocket, uploads, downloads, health.
//!
//! Handlers authenticate, bound and translate; what may be done is decided by the engine, what may be seen is
//! projected by it. Every refusal of theirs has the form `{"refused": {code, rule, say}}`.
//!
//! | | |
//! |---|---|
//! | `GET /api/time` | the server's time |
//! | `POST /api/sign-in/challenge`, `/token`, `/password`, `/api/sign-out` | sessions: `doors` |
//! | `GET /api/socket` | asks and events: `sockets` |
//! | `/api/projects/P/uploads` | tus 1.0: [`uploads`] |
//! | `GET /api/projects/P`, `.../bids/B/file`, `.../bids/B/receipt`, `.../record` | `downloads` |
//! | `GET /health`, `/ready`, `/metrics` | `watch` |

mod asks;
mod caller;
mod connections;
mod doors;
mod downloads;
mod meters;
mod refused;
mod sockets;
pub mod uploads;
mod watch;

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, Error, HttpMessage, HttpServer, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{Server, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, Method, StatusCode,
        header::{CONTENT_TYPE, HeaderName, HeaderValue},
    },
    middleware::{Next, from_fn},
    web,
};
use kaibiao_protocol::refusal::RefusalCode;
use tokio::{sync::watch as signal, time::timeout};
use tracing::Instrument;

use crate::{config::Config, house::House, observe::RequestId, sessions::Sessions, sign_in::SignIn};

use caller::SignedIn;
use connections::Connections;
pub(crate) use meters::Meters;
pub(crate) use refused::{Refused, malformed};
#[cfg(feature = "practice")]
pub(crate) use sockets::read_request;
pub(crate) use watch::trouble;

/// The longest body of a JSON request, in bytes.
pub const JSON_BYTES_MAX: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;
/// A peer that acknowledges nothing for so long is gone: it frees what it holds.
const GONE_AFTER_MS: u32 = 60_000;
/// How long requests in work may take when the server stops.
const STOP_SECONDS: u64 = 30;

/// What every handler works with.
pub struct Desk {
    /// The actors.
    pub house: House,
    /// The settings.
    pub config: Config,
    /// Who is signed in.
    pub sessions: Sessions,
    /// The door.
    pub sign_in: SignIn,
    /// Uploads on their way.
    pub uploads: uploads::Ledger,
    pub(crate) meters: Meters,
    sockets: AtomicUsize,
    stopping: signal::Sender<bool>,
}

impl Desk {
    /// A desk for this house.
    pub fn new(house: House, config: Config, uploads: uploads::Ledger) -> Self {
        Self {
            sessions: Sessions::new(config.sessions.clone()),
            sign_in: SignIn::new(&config.sign_in),
            meters: Meters::default(),
            sockets: AtomicUsize::new(0),
            stopping: signal::Sender::new(false),
            uploads,
            house,
            config,
        }
    }

    /// Tells every socket to close because the server goes away, and lets no new one in.
    pub fn stop_sockets(&self) {
        self.stopping.send_replace(true);
    }

    /// Whether the server is going away.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends the sessions that are over or whose grounds fell: closed account, taken role, unbound or fallen
    /// certificate. Called after each change of the directory, and now and then.
    pub fn review_sessions(&self) {
        let now = self.house.clock().present();
        self.sessions.sweep(now);
        self.sign_in.sweep(now);
        let directory = self.house.directory();
        let ended = self.sessions.end_fallen(|session| self.sign_in.fallen(&directory, session, now));
        if ended > 0 {
            tracing::info!(ended, "sessions ended because their grounds fell");
        }
    }

    fn take_socket(self: &Arc<Self>) -> Option<SocketCount> {
        let most = self.config.sockets.total_max;
        self.sockets
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| (open < most).then_some(open + 1))
            .ok()
            .map(|_| SocketCount(self.clone()))
    }

    /// Sockets open now.
    pub fn sockets(&self) -> usize {
        self.sockets.load(Ordering::Acquire)
    }
}

/// One open socket among all; given back when dropped.
struct SocketCount(Arc<Desk>);

impl Drop for SocketCount {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Builds the server on a bound listener; it runs when awaited.
pub(crate) fn serve(
    desk: Arc<Desk>,
    listener: TcpListener,
    tls: Option<rustls::ServerConfig>,
) -> io::Result<Server> {
    // Accepted connections inherit it. A peer that stops acknowledging would otherwise hold its buffers and its
    // place until TCP gives up after many minutes.
    rustix::net::sockopt::set_tcp_user_timeout(&listener, GONE_AFTER_MS)?;
    let config = desk.config.clone();
    let workers = match config.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        set => set,
    };
    let connections = Connections::new(config.connections_per_address_max, &config.trusted_proxies);
    let counted = connections.clone();
    let shared = web::Data::from(desk);
    let connections = web::Data::from(connections);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .app_data(connections.clone())
            .configure(routes)
            .wrap(from_fn(observed))
    })
    .workers(workers)
    .on_connect(move |connection, data| counted.accepted(connection, data))
    .backlog(BACKLOG)
    // The library counts for each worker.
    .max_connections(config.connections_max.div_ceil(workers))
    .client_request_timeout(Duration::from_secs(config.request_head_seconds.into()))
    .h1_write_buffer_size(sockets::PIECE_BYTES)
    .tcp_nodelay(true)
    .shutdown_timeout(STOP_SECONDS)
    .disable_signals();
    let server = match tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

fn routes(app: &mut web::ServiceConfig) {
    app.app_data(web::PayloadConfig::new(JSON_BYTES_MAX))
        .configure(watch::routes)
        .configure(doors::routes)
        .configure(sockets::routes)
        .configure(uploads::routes)
        .configure(downloads::routes)
        .default_service(web::to(nothing_here));
}

async fn nothing_here() -> Refused {
    Refused::code(RefusalCode::Unknown)
}

/// What the web library refuses by itself, a method or a body, is told as every refusal is.
fn in_our_words(response: ServiceResponse<impl MessageBody + 'static>) -> ServiceResponse<BoxBody> {
    let ours = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let refused = match response.status() {
        StatusCode::METHOD_NOT_ALLOWED => Refused::code(RefusalCode::Unknown),
        StatusCode::PAYLOAD_TOO_LARGE if !ours => {
            Refused::malformed(format!("the body: at most {JSON_BYTES_MAX} bytes"))
        }
        StatusCode::BAD_REQUEST if !ours => {
            Refused::malformed("the request: cut, broken, or not what this path takes")
        }
        _ => return response.map_into_boxed_body(),
    };
    let told = refused.with_status(response.status()).error_response();
    response.into_response(told)
}

/// Lets go of the buffers in which the request came. The web library keeps a request for the next one to be put into,
/// and each of its headers holds the whole buffer that the body lies in too; and an open connection keeps its buffer.
fn forgotten<B>(response: ServiceResponse<B>) -> ServiceResponse<B> {
    let (request, mut response) = response.into_parts();
    response.head_mut().set_connection_type(ConnectionType::Close);
    let mut request = ServiceRequest::from_request(request);
    request.headers_mut().clear();
    request.into_response(response)
}

/// Whether a request is an upload or a socket, which bring bytes as long as they like, by bounds of their own.
fn has_bounds_of_its_own(request: &ServiceRequest) -> bool {
    request.method() == Method::PATCH || request.path() == sockets::PATH
}

/// Gives each request an id, a span with its project, and the headers that keep what we serve inert.
async fn observed(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = RequestId::draw();
    let project = request.path().strip_prefix("/api/projects/").and_then(|rest| rest.split('/').next());
    let project = project.map(str::to_owned);
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %request.method(),
        path = request.path(),
        project = project.as_deref(),
    );
    request.extensions_mut().insert(id);
    let desk = request.app_data::<web::Data<Desk>>().cloned();
    let secret = doors::takes_a_password(request.path());
    let unbounded = has_bounds_of_its_own(&request);
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let trusted =
        request.app_data::<web::Data<Connections>>().zip(peer).is_some_and(|(all, peer)| all.is_proxy(peer));
    let answering = next.call(request).instrument(span.clone());
    let answered = match desk.as_ref().filter(|_| !unbounded) {
        None => answering.await,
        Some(desk) => {
            let most = Duration::from_secs(desk.config.request_body_seconds.into());
            timeout(most, answering).await.unwrap_or_else(|_| {
                Err(Refused::code(RefusalCode::Busy).with_status(StatusCode::REQUEST_TIMEOUT).into())
            })
        }
    };
    let mut response = in_our_words(answered?);
    if !trusted
        && !response.response().head().upgrade()
        && !response.request().extensions().contains::<SignedIn>()
    {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let status = response.status();
    // What happens under a project is not counted: before its deadline the number would tell of bids.
    if let (Some(desk), None) = (desk, project) {
        desk.meters.answered(status);
    }
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), "answered");
        } else {
            tracing::debug!(status = status.as_u16(), "answered");
        }
    });
    if secret {
        response = forgotten(response);
    }
    let headers = response.headers_mut();
    let header = |name: &'static str, value: &'static str| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    for (name, value) in [
        header("x-content-type-options", "nosniff"),
        header("referrer-policy", "no-referrer"),
        header("x-frame-options", "DENY"),
        header("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        header("cache-control", "no-store"),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    Ok(response)
}
