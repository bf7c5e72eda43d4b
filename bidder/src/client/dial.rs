//! Making one WebSocket connection in a session's name.

use std::time::Duration;

use kaibiao_protocol::frame::SERVER_FRAME_BYTES_MAX;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{self, client::IntoClientRequest as _, http::HeaderValue, protocol::WebSocketConfig},
};

use super::{
    ClientFault,
    http::{is_session_over, network_fault, refusal_in},
    session::Identity,
};

/// How long a handshake may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection.
pub(super) type Wire = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Dials in the session's name; signs in again, once, if the server has forgotten the session.
pub(super) async fn dial(identity: &Identity) -> Result<Wire, ClientFault> {
    let bearer = identity.bearer();
    match dial_as(identity, &bearer.session).await {
        Err(fault) if is_session_over(&fault) => {
            identity.renew(&bearer, fault).await?;
            dial_as(identity, &identity.bearer().session).await
        }
        outcome => outcome,
    }
}

async fn dial_as(identity: &Identity, session: &str) -> Result<Wire, ClientFault> {
    let client = &identity.client.inner;
    let mut request = client
        .address
        .socket()
        .as_str()
        .into_client_request()
        .map_err(|fault| network_fault(&client.address, &fault))?;
    let mut bearer = HeaderValue::try_from(format!("Bearer {session}"))
        .map_err(|_| identity.client.not_understood("a session that is not a header's value".to_owned()))?;
    bearer.set_sensitive(true);
    request.headers_mut().insert("authorization", bearer);
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .max_message_size(Some(SERVER_FRAME_BYTES_MAX))
        .max_frame_size(Some(SERVER_FRAME_BYTES_MAX));
    let connector = match &client.tls {
        _ if client.address.is_plain() => Some(Connector::Plain),
        Some(tls) => Some(Connector::Rustls(tls.clone())),
        None => None,
    };
    let dialling = connect_async_tls_with_config(request, Some(config), true, connector);
    match timeout(DIAL_TIMEOUT, dialling).await {
        Ok(Ok((wire, _))) => Ok(wire),
        Ok(Err(tungstenite::Error::Http(response))) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(refusal_in(body).map_or_else(
                || {
                    let (server, why) = (client.address.to_string(), format!("HTTP {}", response.status()));
                    match response.status().as_u16() {
                        502..=504 => ClientFault::Unreachable { server, why },
                        _ => ClientFault::NotUnderstood { server, why },
                    }
                },
                ClientFault::Refused,
            ))
        }
        Ok(Err(fault)) => Err(network_fault(&client.address, &fault)),
        Err(_) => Err(ClientFault::Unreachable {
            server: client.address.to_string(),
            why: format!("no answer within {} s", DIAL_TIMEOUT.as_secs()),
        }),
    }
}
