//! Who sends a request: the session's token in `Authorization: Bearer` or in the cookie, and the page it comes from.
//!
//! A browser sends the cookie by itself, also for a foreign page; so whatever changes something and came by cookie
//! must come from a page of this server (`Origin`). Whoever sends a Bearer token has it, and needs no page.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::{header, uri::Authority},
};
use kaibiao_protocol::{moment::Moment, refusal::RefusalCode};

use super::{Desk, Refused};
use crate::{
    sessions::{Session, SessionToken},
    sign_in::Arriving,
};

/// The cookie's name.
pub(super) const COOKIE: &str = "kaibiao_session";
/// Hexadecimal digits of a session's token; anything else is none.
const TOKEN_CHARS: usize = 64;

/// What a request does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// Looks at something.
    Read,
    /// Changes something.
    Change,
    /// Opens a socket: a page must say where it is from, a program must hold a Bearer token.
    Socket,
}

/// What a request's `Origin` says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageOf {
    /// No page: a program, or an old browser's read.
    Nobody,
    /// A page of this server.
    Ours,
    /// A page of somebody else.
    Another,
}

/// A mark on a request whose caller is signed in.
pub(super) struct SignedIn;

/// The open session of a request.
pub(super) fn caller(desk: &Desk, request: &HttpRequest, act: Act) -> Result<Arc<Session>, Refused> {
    let page = page_of(desk, request);
    let bearer = bearer(request);
    let by_cookie = bearer.is_none();
    let allowed = match (act, page) {
        (_, PageOf::Another) => false,
        (Act::Read, _) | (_, PageOf::Ours) => true,
        (Act::Change | Act::Socket, PageOf::Nobody) => !by_cookie,
    };
    let Some(token) = bearer.or_else(|| cookie(request)) else {
        return Err(Refused::code(RefusalCode::NotSignedIn));
    };
    if !allowed {
        return Err(Refused::malformed("Origin: not a page of this server")
            .with_status(actix_web::http::StatusCode::FORBIDDEN));
    }
    let at = desk.house.clock().present();
    let found = desk.sessions.find(token, at).map_err(|_| Refused::code(RefusalCode::SessionEnded))?;
    request.extensions_mut().insert(SignedIn);
    Ok(found)
}

/// Refuses a foreign page where nobody needs to be signed in, lest it signs its visitor in as somebody else.
pub(super) fn refuse_foreign_page(desk: &Desk, request: &HttpRequest) -> Result<(), Refused> {
    if page_of(desk, request) == PageOf::Another {
        return Err(Refused::malformed("Origin: not a page of this server")
            .with_status(actix_web::http::StatusCode::FORBIDDEN));
    }
    Ok(())
}

/// Where an attempt to sign in comes from; `origin` is [`own_origin`]'s.
pub(super) fn arriving<'a>(desk: &Desk, request: &HttpRequest, origin: &'a str, at: Moment) -> Arriving<'a> {
    let forwarded = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let peer = request.peer_addr().map(|peer| peer.ip());
    Arriving { origin, address: client_of(&desk.config.trusted_proxies, peer, forwarded), at }
}

/// The address of whoever sent a request: the peer's, or what a trusted proxy says.
fn client_of(trusted: &[IpAddr], peer: Option<IpAddr>, forwarded: Option<&str>) -> IpAddr {
    let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.to_canonical());
    if !trusted.contains(&peer) {
        return peer;
    }
    // The last entry that no trusted proxy wrote; what stands before it, anybody may have written.
    forwarded
        .into_iter()
        .flat_map(|hops| hops.rsplit(','))
        .map_while(|hop| hop.trim().parse::<IpAddr>().ok())
        .map(|hop| hop.to_canonical())
        .find(|hop| !trusted.contains(hop))
        .unwrap_or(peer)
}

/// The origin under which the client reaches this server: a configured one of the same host, else what `Host` says.
pub(super) fn own_origin(desk: &Desk, request: &HttpRequest) -> Result<String, Refused> {
    let host = host(request).ok_or_else(|| Refused::malformed("Host: missing or not a host"))?;
    let configured = desk.config.origins.iter().find(|origin| {
        origin.split_once("://").is_some_and(|(_, theirs)| theirs.eq_ignore_ascii_case(&host))
    });
    Ok(configured.cloned().unwrap_or_else(|| format!("{}://{host}", scheme(desk))))
}

fn page_of(desk: &Desk, request: &HttpRequest) -> PageOf {
    let mut origins = request.headers().get_all(header::ORIGIN);
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return if request.headers().contains_key(header::ORIGIN) { PageOf::Another } else { PageOf::Nobody };
    };
    let Ok(origin) = origin.to_str() else { return PageOf::Another };
    let ours = desk.config.origins.iter().any(|known| known.eq_ignore_ascii_case(origin))
        || host(request)
            .is_some_and(|host| origin.eq_ignore_ascii_case(&format!("{}://{host}", scheme(desk))));
    if ours { PageOf::Ours } else { PageOf::Another }
}

fn scheme(desk: &Desk) -> &'static str {
    if desk.config.tls.is_some() { "https" } else { "http" }
}

/// `Host`, or the authority of HTTP/2; in small letters.
fn host(request: &HttpRequest) -> Option<String> {
    let told = match request.headers().get(header::HOST) {
        Some(host) => host.to_str().ok()?.parse::<Authority>().ok()?,
        None => request.uri().authority()?.clone(),
    };
    // An authority may hold a user, an origin may not.
    (!told.as_str().contains('@')).then(|| told.as_str().to_ascii_lowercase())
}

fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (kind, token) = value.split_once(' ')?;
    (kind.eq_ignore_ascii_case("bearer") && is_token(token)).then_some(token)
}

fn cookie(request: &HttpRequest) -> Option<&str> {
    request
        .headers()
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, token)| *name == COOKIE && is_token(token))
        .map(|(_, token)| token)
}

fn is_token(text: &str) -> bool {
    text.len() == TOKEN_CHARS && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The `Set-Cookie` of a new session.
pub(super) fn cookie_of(desk: &Desk, token: &SessionToken) -> String {
    let seconds = u64::from(desk.config.sessions.absolute_minutes) * 60;
    format!(
        "{COOKIE}={}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{}",
        token.expose(),
        secure(desk)
    )
}

/// The `Set-Cookie` that takes it away.
pub(super) fn no_cookie(desk: &Desk) -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}", secure(desk))
}

fn secure(desk: &Desk) -> &'static str {
    if desk.config.tls.is_some() { "; Secure" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_its_own_word() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let trusted = [address("10.0.0.1"), address("10.0.0.2")];
        for (peer, forwarded, client) in [
            ("192.0.2.7", Some("198.51.100.1"), "192.0.2.7"),
            ("10.0.0.1", Some("198.51.100.1"), "198.51.100.1"),
            ("10.0.0.1", Some("203.0.113.9, 198.51.100.1"), "198.51.100.1"),
            ("10.0.0.1", Some("203.0.113.9, 198.51.100.1, 10.0.0.2"), "198.51.100.1"),
            ("::ffff:10.0.0.1", Some("198.51.100.1"), "198.51.100.1"),
            ("10.0.0.1", Some("198.51.100.1, unknown"), "10.0.0.1"),
            ("10.0.0.1", Some(""), "10.0.0.1"),
            ("10.0.0.1", None, "10.0.0.1"),
        ] {
            let found = client_of(&trusted, Some(address(peer)), forwarded);
            assert_eq!(found, address(client), "{peer} {forwarded:?}");
        }
    }
}
