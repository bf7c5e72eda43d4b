//! The HTTP half of the client: one call at a time, patiently.

use std::{error::Error as StdError, path::PathBuf, sync::Arc, time::Duration};

use kaibiao_protocol::{
    moment::Moment,
    refusal::{Refusal, RefusalCode},
};
use reqwest::{RequestBuilder, Response, redirect::Policy};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use super::{ClientFault, ServerAddress, backoff::Backoff};
use crate::clock::now;

/// How long a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one plain call may take from beginning to end.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that is not a file.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// A PEM file of root certificates to trust, and then no others; none: those of the system.
    pub ca: Option<PathBuf>,
    /// How long an ask is tried before the server counts as unreachable.
    pub patience: Duration,
    /// How long an upload or a download goes on trying without a byte of progress.
    pub file_patience: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { ca: None, patience: Duration::from_secs(60), file_patience: Duration::from_secs(600) }
    }
}

/// A server's clock beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTime {
    /// The server's time in the middle of the call.
    pub server: Moment,
    /// How far our clock is ahead of the server's, in microseconds; negative: behind.
    pub ahead_micros: i64,
    /// How long the call took, in microseconds: the uncertainty of the above.
    pub round_trip_micros: i64,
}

/// A server, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<ClientInner>,
}

pub(super) struct ClientInner {
    pub(super) address: ServerAddress,
    pub(super) http: reqwest::Client,
    /// None: the system's roots.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) options: ClientOptions,
}

#[derive(Deserialize)]
struct TimeShape {
    at: Moment,
}

impl Client {
    /// A client of this server; nothing is sent yet.
    ///
    /// # Errors
    /// The file of trusted certificates holds none.
    pub fn new(address: ServerAddress, options: ClientOptions) -> Result<Self, ClientFault> {
        let tls = match &options.ca {
            Some(path) => Some(trusting(path)?),
            // A plain connection needs no roots, and a machine without any must be able to make one.
            None if address.is_plain() => Some(config_of(RootCertStore::empty())),
            None => None,
        };
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("kaibiao-bid/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // A session must not follow a redirection to elsewhere.
            .redirect(Policy::none());
        if let Some(tls) = &tls {
            http = http.tls_backend_preconfigured(ClientConfig::clone(tls));
        }
        let http = http.build().map_err(|fault| network_fault(&address, &fault))?;
        Ok(Self { inner: Arc::new(ClientInner { address, http, tls, options }) })
    }

    /// A client of this server, once the server has answered: [`Client::new`] and [`Client::time`].
    ///
    /// # Errors
    /// The server cannot be reached, is not to be trusted or is not a kaibiao server.
    pub async fn connect(
        address: ServerAddress,
        options: ClientOptions,
    ) -> Result<(Self, ServerTime), ClientFault> {
        let client = Self::new(address, options)?;
        let time = client.time().await?;
        Ok((client, time))
    }

    /// Where the server is.
    pub fn address(&self) -> &ServerAddress {
        &self.inner.address
    }

    /// The server's clock beside ours.
    ///
    /// # Errors
    /// The server cannot be reached, or answers something else.
    pub async fn time(&self) -> Result<ServerTime, ClientFault> {
        self.patiently(async || {
            let (wall, began) = (now(), Instant::now());
            let request = self.inner.http.get(self.inner.address.api("time"));
            let server = self.call::<TimeShape>(request).await?.at;
            let round_trip_micros = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX);
            let middle = Moment(wall.0 + round_trip_micros / 2);
            Ok(ServerTime { server, ahead_micros: middle.micros_since(server), round_trip_micros })
        })
        .await
    }

    /// Tries again, with growing pauses and within [`ClientOptions::patience`], what failed for the network's
    /// or the server's being busy. Only for what may be done twice.
    pub(super) async fn patiently<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, ClientFault>,
    ) -> Result<T, ClientFault> {
        let until = Instant::now() + self.inner.options.patience;
        let mut backoff = Backoff::new();
        loop {
            let fault = match attempt().await {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            let pause = backoff.pause();
            if !is_passing(&fault) || Instant::now() + pause >= until {
                return Err(fault);
            }
            sleep(pause).await;
        }
    }

    /// Sends one request and reads its JSON answer.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientFault> {
        let response = self.send(request.timeout(CALL_TIMEOUT)).await?;
        self.json(response).await
    }

    /// Sends one request; an answer other than 2xx is a fault.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientFault> {
        let response = request.send().await.map_err(|fault| network_fault(&self.inner.address, &fault))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = self.body(response).await?;
        Err(refusal_in(&body).map_or_else(
            || {
                let (server, why) = (self.inner.address.to_string(), format!("HTTP {status}"));
                // What stands in front of a server that is starting or overrun answers like this.
                if matches!(status.as_u16(), 502..=504) {
                    ClientFault::Unreachable { server, why }
                } else {
                    ClientFault::NotUnderstood { server, why }
                }
            },
            ClientFault::Refused,
        ))
    }

    pub(super) async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientFault> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|fault| self.not_understood(fault.to_string()))
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientFault> {
        let mut body = Vec::new();
        while let Some(piece) =
            response.chunk().await.map_err(|fault| network_fault(&self.inner.address, &fault))?
        {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(self.not_understood(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    pub(crate) fn not_understood(&self, why: String) -> ClientFault {
        ClientFault::NotUnderstood { server: self.inner.address.to_string(), why }
    }
}

/// Whether trying again later may help.
pub(super) fn is_passing(fault: &ClientFault) -> bool {
    match fault {
        ClientFault::Unreachable { .. } => true,
        ClientFault::Refused(refusal) => is_busy(refusal.code),
        _ => false,
    }
}

/// Whether the server is busy or starting; it says so politely.
pub(super) fn is_busy(code: RefusalCode) -> bool {
    code == RefusalCode::Busy
}

/// Whether the server no longer knows the session.
pub(super) fn is_session_over(fault: &ClientFault) -> bool {
    fault.is_refused_as(RefusalCode::SessionEnded) || fault.is_refused_as(RefusalCode::NotSignedIn)
}

/// A refusal in the body of an answer, bare or as `{"refused": …}`.
pub(super) fn refusal_in(body: &[u8]) -> Option<Refusal> {
    #[derive(Deserialize)]
    struct Wrapped {
        refused: Refusal,
    }
    serde_json::from_slice::<Wrapped>(body)
        .map(|wrapped| wrapped.refused)
        .or_else(|_| serde_json::from_slice(body))
        .ok()
}

/// What a failed connection means: a certificate not to be trusted, or simply no way through.
pub(super) fn network_fault(address: &ServerAddress, fault: &(dyn StdError + 'static)) -> ClientFault {
    let server = address.to_string();
    let mut deepest = fault.to_string();
    let mut next = Some(fault);
    while let Some(fault) = next {
        if let Some(tls) = rustls_fault(fault)
            && matches!(tls, rustls::Error::InvalidCertificate(_))
        {
            return ClientFault::NotTrusted { server, why: tls.to_string() };
        }
        deepest = fault.to_string();
        next = fault.source();
    }
    ClientFault::Unreachable { server, why: deepest }
}

/// The TLS fault behind an error; the layers between wrap it in errors of the system, some of them twice.
fn rustls_fault<'a>(fault: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    fault.downcast_ref::<rustls::Error>().or_else(|| {
        let inner = fault.downcast_ref::<std::io::Error>()?.get_ref()?;
        rustls_fault(inner)
    })
}

fn trusting(path: &PathBuf) -> Result<Arc<ClientConfig>, ClientFault> {
    let unusable = |why: String| ClientFault::NoCertificates { path: path.display().to_string(), why };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|fault| unusable(fault.to_string()))? {
        let certificate = certificate.map_err(|fault| unusable(fault.to_string()))?;
        roots.add(certificate).map_err(|fault| unusable(fault.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable("no CERTIFICATE block".to_owned()));
    }
    Ok(config_of(roots))
}

fn config_of(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_certificate_not_to_be_trusted_is_told_through_any_layers() {
        let address: ServerAddress = "https://bid.example.cn".parse().unwrap();
        let unknown = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for fault in [
            io::Error::other(unknown()),
            io::Error::other(io::Error::new(io::ErrorKind::InvalidData, unknown())),
        ] {
            let told = network_fault(&address, &fault);
            assert!(matches!(told, ClientFault::NotTrusted { .. }), "{told:?}");
        }
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(matches!(network_fault(&address, &refused), ClientFault::Unreachable { .. }));
    }
}
