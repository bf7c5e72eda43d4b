//! Where a server is: `https://…`, or `http://…` on this machine only.

use std::{fmt, str::FromStr};

use reqwest::Url;

/// The address of a server, such as `https://bid.example.cn/`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    base: Url,
}

/// Why a text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    /// Not a URL at all, or one with a user, a query or a fragment.
    #[error("{0:?} is not the address of a server, such as https://bid.example.cn")]
    NotAnAddress(String),
    /// Neither https nor http.
    #[error("{0}: addresses are not spoken here, only https:")]
    OtherScheme(String),
    /// Plain http to another machine: everybody on the way could read the session.
    #[error("plain http to {0} would show the session to everybody on the way")]
    Plain(String),
}

impl ServerAddress {
    /// Reads an address. Plain http is taken for this machine (`localhost`, `127.…`, `[::1]`) and, if
    /// `allow_plain`, for any.
    ///
    /// # Errors
    /// [`AddressFault`].
    pub fn parse(text: &str, allow_plain: bool) -> Result<Self, AddressFault> {
        let not_an_address = || AddressFault::NotAnAddress(text.to_owned());
        let mut base = Url::parse(text).map_err(|_| not_an_address())?;
        let host = base.host_str().ok_or_else(not_an_address)?.to_owned();
        let extras = base.query().is_some() || base.fragment().is_some();
        if extras || !base.username().is_empty() || base.password().is_some() {
            return Err(not_an_address());
        }
        match base.scheme() {
            "https" => {}
            "http" if allow_plain || is_this_machine(&host) => {}
            "http" => return Err(AddressFault::Plain(host)),
            other => return Err(AddressFault::OtherScheme(other.to_owned())),
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base })
    }

    /// The URL of an interface below `api/`, such as `sign-in/challenge`.
    pub(super) fn api(&self, path: &str) -> Url {
        self.base.join(&format!("api/{path}")).expect("a checked base takes a relative path")
    }

    /// The URL a server gave, which must lie on this server; relative ones are resolved.
    pub(super) fn on_this_server(&self, location: &str) -> Option<Url> {
        let url = self.base.join(location).ok()?;
        (url.origin() == self.base.origin()).then_some(url)
    }

    /// The URL of the WebSocket.
    pub(super) fn socket(&self) -> Url {
        let mut url = self.api("socket");
        let scheme = if self.is_plain() { "ws" } else { "wss" };
        url.set_scheme(scheme).expect("http and https turn into ws and wss");
        url
    }

    /// Scheme, host and port, as a browser would send it and a challenge names it.
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Whether the way is without TLS.
    pub fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }
}

fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for ServerAddress {
    type Err = AddressFault;

    fn from_str(text: &str) -> Result<Self, AddressFault> {
        Self::parse(text, false)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.base.as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ServerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Result<String, AddressFault> {
        text.parse::<ServerAddress>().map(|address| address.to_string())
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in
            ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:9", "https://bid.example.cn/kb"]
        {
            assert_eq!(taken(good).unwrap(), good);
        }
        assert_eq!(taken("http://10.0.0.1"), Err(AddressFault::Plain("10.0.0.1".into())));
        assert_eq!(taken("http://localhost.evil.cn"), Err(AddressFault::Plain("localhost.evil.cn".into())));
        assert!(ServerAddress::parse("http://10.0.0.1", true).is_ok());
    }

    #[test]
    fn an_address_is_nothing_but_an_address() {
        for bad in
            ["", "bid.example.cn", "https://u:p@x.cn", "https://x.cn/?a=1", "https://x.cn/#a", "ftp://x.cn"]
        {
            assert!(taken(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_location_on_another_server_is_not_followed() {
        let address: ServerAddress = "https://bid.example.cn/kb".parse().unwrap();
        assert_eq!(address.api("time").as_str(), "https://bid.example.cn/kb/api/time");
        assert_eq!(address.socket().as_str(), "wss://bid.example.cn/kb/api/socket");
        assert!(address.on_this_server("/kb/api/x").is_some());
        assert!(address.on_this_server("https://evil.cn/api/x").is_none());
        assert!(address.on_this_server("http://bid.example.cn/api/x").is_none());
    }
}
