//! What can be set about a server. Every setting has a default, so that a first start needs no file.
//!
//! `deploy/kaibiao.toml` shows every setting with its default and says what it is for; a test holds that file
//! against [`Config::default`]. Unknown settings stop the start: a misspelt limit must not be a silent one.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// All settings of one server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything lies: journal, files, keys, uploads, `admin.sock`.
    pub data: PathBuf,
    /// The address served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether to serve without TLS on an address that others can reach.
    pub allow_plain: bool,
    /// Web origins that browsers may come from, beside the one the request itself names in `Host`.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Threads that serve connections; 0: as many as cores.
    pub workers: usize,
    /// The most connections at once, sockets included.
    pub connections_max: usize,
    /// The most connections from one address at once; trusted proxies and this machine are not bound by it.
    pub connections_per_address_max: usize,
    /// A connection's first request must have its head in within so many seconds.
    pub request_head_seconds: u32,
    /// A request that is neither an upload nor a socket must have its body in, and its answer begun, within so many
    /// seconds.
    pub request_body_seconds: u32,
    /// Who may read `/metrics`.
    pub metrics_from: Vec<IpAddr>,
    /// TLS; none: plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Sessions.
    pub sessions: SessionLimits,
    /// Signing in.
    pub sign_in: SignInLimits,
    /// WebSockets.
    pub sockets: SocketLimits,
    /// Uploads.
    pub uploads: UploadLimits,
    /// Openings.
    pub opening: OpeningLimits,
    /// Logs.
    pub log: Log,
}

/// Where certificate and key for TLS lie.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain (PEM), the server's own first.
    pub certificate: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
}

/// How long sessions last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionLimits {
    /// A session ends after so many minutes without use. An open socket whose peer answers is use.
    pub idle_minutes: u32,
    /// A session ends after so many minutes in any case.
    pub absolute_minutes: u32,
    /// The most sessions of one user; one more ends the oldest.
    pub per_user_max: usize,
    /// The most sessions in all; one more is refused as `busy`.
    pub total_max: usize,
}

/// How signing in is slowed down and bounded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignInLimits {
    /// How long a challenge may be answered, in seconds.
    pub challenge_seconds: u32,
    /// Failures of one account before it has to wait.
    pub free_failures_account: u32,
    /// Failures from one address before it has to wait.
    pub free_failures_address: u32,
    /// The first wait, in seconds; each further failure doubles it.
    pub first_wait_seconds: u32,
    /// The longest wait, in seconds.
    pub longest_wait_seconds: u32,
    /// After so many minutes without a failure, failures are forgotten.
    pub forget_minutes: u32,
    /// Passwords checked at once; each takes 19 MiB of memory.
    pub password_checks_max: usize,
    /// Passwords waiting to be checked; more are refused as `busy`.
    pub password_queue_max: usize,
}

/// Limits of WebSockets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketLimits {
    /// The most sockets at once.
    pub total_max: usize,
    /// The most sockets of one session.
    pub per_session_max: usize,
    /// Frames waiting to be sent on one socket; one more cuts it as a slow reader.
    pub queue_frames_max: usize,
    /// Asks of one socket in work at once; more are refused as `busy`.
    pub asks_in_flight_max: usize,
    /// Asks a second of one socket, lasting.
    pub asks_per_second: u32,
    /// Asks of one socket in one burst.
    pub asks_burst: u32,
    /// Streams one socket may be subscribed to.
    pub subscriptions_max: usize,
    /// The server pings so often, in seconds.
    pub ping_seconds: u32,
    /// A socket whose peer says nothing for so long is closed, in seconds.
    pub silent_seconds: u32,
}

/// Limits of uploads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadLimits {
    /// The most bytes of one sealed bid where the project names no limit; 0: as the disk allows.
    pub bid_bytes_max: u64,
    /// Unfinished uploads one supplier may have in one project.
    pub open_per_supplier_max: usize,
    /// Unfinished uploads one organisation may have in all projects together.
    pub open_per_organisation_max: usize,
    /// Unfinished uploads in all.
    pub open_total_max: usize,
    /// An unfinished upload is dropped so many hours after its last byte.
    pub expire_hours: u32,
    /// Bytes of disk always kept free; an upload that would take them is refused as `no_room`.
    pub disk_reserve_bytes: u64,
    /// An upload that brings less than `window_bytes_min` in so many seconds is cut; it may be resumed.
    pub window_seconds: u32,
    /// See `window_seconds`.
    pub window_bytes_min: u64,
}

/// How openings use the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpeningLimits {
    /// Threads that unseal; 0: as many as cores.
    pub threads: usize,
}

/// How logs are written, on standard error.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Text for people or one JSON object a line.
    pub format: LogFormat,
    /// What is logged, in the manner of `tracing`'s filter: `info`, `kaibiao_actors=debug,warn`.
    pub filter: String,
}

/// The form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// One readable line.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("kaibiao-data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            allow_plain: false,
            origins: Vec::new(),
            trusted_proxies: Vec::new(),
            workers: 0,
            connections_max: 16_000,
            connections_per_address_max: 1_000,
            request_head_seconds: 10,
            request_body_seconds: 30,
            metrics_from: vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])],
            tls: None,
            sessions: SessionLimits::default(),
            sign_in: SignInLimits::default(),
            sockets: SocketLimits::default(),
            uploads: UploadLimits::default(),
            opening: OpeningLimits::default(),
            log: Log::default(),
        }
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { idle_minutes: 30, absolute_minutes: 12 * 60, per_user_max: 8, total_max: 50_000 }
    }
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self {
            challenge_seconds: 120,
            free_failures_account: 4,
            free_failures_address: 30,
            first_wait_seconds: 2,
            longest_wait_seconds: 900,
            forget_minutes: 60,
            password_checks_max: 2,
            password_queue_max: 64,
        }
    }
}

impl Default for SocketLimits {
    fn default() -> Self {
        Self {
            total_max: 12_000,
            per_session_max: 8,
            queue_frames_max: 1_024,
            asks_in_flight_max: 16,
            asks_per_second: 20,
            asks_burst: 100,
            subscriptions_max: 32,
            ping_seconds: 20,
            silent_seconds: 60,
        }
    }
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            bid_bytes_max: 0,
            open_per_supplier_max: 4,
            open_per_organisation_max: 64,
            open_total_max: 16_000,
            expire_hours: 48,
            disk_reserve_bytes: 1 << 30,
            window_seconds: 30,
            window_bytes_min: 16 << 10,
        }
    }
}

#[expect(clippy::derivable_impls, reason = "the defaults stand here side by side")]
impl Default for OpeningLimits {
    fn default() -> Self {
        Self { threads: 0 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info".to_owned() }
    }
}

/// The port served where none is named.
pub const PORT: u16 = 7_300;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("failed to read {file}: {source}")]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("failed to understand {file}: {told}")]
    Malformed {
        /// Which.
        file: PathBuf,
        /// Where and why.
        told: String,
    },
    /// A setting makes no sense.
    #[error("the setting {setting} is out of range: {told}")]
    OutOfRange {
        /// Which.
        setting: &'static str,
        /// What it may be.
        told: &'static str,
    },
    /// Plain HTTP where others could listen.
    #[error(
        "{listen} is reachable by others and no TLS is configured: set [tls], or allow_plain = true behind a \
         proxy that has it"
    )]
    PlainRefused {
        /// The address.
        listen: SocketAddr,
    },
}

impl Config {
    /// Reads a configuration file (TOML). What it does not name has its default.
    ///
    /// # Errors
    /// The file cannot be read, or names an unknown setting.
    pub fn read(file: &Path) -> Result<Self, ConfigFault> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigFault::Unreadable { file: file.to_owned(), source })?;
        Self::parse(&text)
            .map_err(|told| ConfigFault::Malformed { file: file.to_owned(), told: told.to_string() })
    }

    /// Parses a configuration's text.
    ///
    /// # Errors
    /// It is not TOML, or names an unknown setting.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Refuses settings that would make a server nobody can use or everybody can listen to.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), ConfigFault> {
        if self.tls.is_none() && !self.listen.ip().is_loopback() && !self.allow_plain {
            return Err(ConfigFault::PlainRefused { listen: self.listen });
        }
        let positive: [(&'static str, u64); 25] = [
            ("connections_max", self.connections_max as u64),
            ("connections_per_address_max", self.connections_per_address_max as u64),
            ("request_head_seconds", self.request_head_seconds.into()),
            ("request_body_seconds", self.request_body_seconds.into()),
            ("sessions.idle_minutes", self.sessions.idle_minutes.into()),
            ("sessions.absolute_minutes", self.sessions.absolute_minutes.into()),
            ("sessions.per_user_max", self.sessions.per_user_max as u64),
            ("sessions.total_max", self.sessions.total_max as u64),
            ("sign_in.challenge_seconds", self.sign_in.challenge_seconds.into()),
            ("sign_in.first_wait_seconds", self.sign_in.first_wait_seconds.into()),
            ("sign_in.longest_wait_seconds", self.sign_in.longest_wait_seconds.into()),
            ("sign_in.forget_minutes", self.sign_in.forget_minutes.into()),
            ("sign_in.password_checks_max", self.sign_in.password_checks_max as u64),
            ("sockets.total_max", self.sockets.total_max as u64),
            ("sockets.per_session_max", self.sockets.per_session_max as u64),
            ("sockets.queue_frames_max", self.sockets.queue_frames_max as u64),
            ("sockets.asks_in_flight_max", self.sockets.asks_in_flight_max as u64),
            ("sockets.asks_per_second", self.sockets.asks_per_second.into()),
            ("sockets.asks_burst", self.sockets.asks_burst.into()),
            ("sockets.ping_seconds", self.sockets.ping_seconds.into()),
            ("uploads.open_per_supplier_max", self.uploads.open_per_supplier_max as u64),
            ("uploads.open_per_organisation_max", self.uploads.open_per_organisation_max as u64),
            ("uploads.open_total_max", self.uploads.open_total_max as u64),
            ("uploads.expire_hours", self.uploads.expire_hours.into()),
            ("uploads.window_seconds", self.uploads.window_seconds.into()),
        ];
        for (setting, value) in positive {
            if value == 0 {
                return Err(ConfigFault::OutOfRange { setting, told: "at least 1" });
            }
        }
        if self.sockets.silent_seconds <= self.sockets.ping_seconds {
            return Err(ConfigFault::OutOfRange {
                setting: "sockets.silent_seconds",
                told: "more than sockets.ping_seconds",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("").unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn the_sample_configuration_is_the_default() {
        let sample = include_str!("../../deploy/kaibiao.toml");
        let mut read = Config::parse(sample).unwrap();
        // The packaged server keeps its data where the unit says; everything else is the default.
        assert_eq!(read.data, PathBuf::from("/var/lib/kaibiao"));
        read.data = Config::default().data;
        assert_eq!(read, Config::default());
    }

    #[test]
    fn the_sample_configuration_names_every_setting() {
        let sample = include_str!("../../deploy/kaibiao.toml");
        let toml::Value::Table(all) = toml::Value::try_from(Config::default()).unwrap() else {
            panic!("a configuration is a table")
        };
        for (name, value) in &all {
            match value {
                toml::Value::Table(section) => {
                    let body = sample.split(&format!("\n[{name}]\n")).nth(1).expect(name);
                    let body = body.split("\n[").next().unwrap();
                    for setting in section.keys() {
                        assert!(body.contains(&format!("\n{setting} = ")), "{name}.{setting}");
                    }
                }
                _ => assert!(sample.contains(&format!("\n{name} = ")), "{name}"),
            }
        }
    }

    #[test]
    fn a_misspelt_setting_is_refused_with_its_place() {
        let told = Config::parse("[sessions]\nidle_minuets = 3\n").unwrap_err().to_string();
        assert!(told.contains("idle_minuets"), "{told}");
        assert!(Config::parse("lisen = \"127.0.0.1:1\"").is_err());
    }

    #[test]
    fn plain_http_is_served_on_loopback_alone_unless_told_otherwise() {
        let open = SocketAddr::from(([0, 0, 0, 0], 80));
        let plain = Config { listen: open, ..Config::default() };
        assert!(matches!(plain.check(), Err(ConfigFault::PlainRefused { .. })));
        Config { allow_plain: true, ..plain.clone() }.check().unwrap();
        let tls = Some(Tls { certificate: "c.pem".into(), key: "k.pem".into() });
        Config { tls, ..plain }.check().unwrap();
        Config { listen: SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 80)), ..Config::default() }
            .check()
            .unwrap();
    }

    #[test]
    fn a_limit_of_nothing_is_refused_by_name() {
        let mut config = Config::default();
        config.sockets.queue_frames_max = 0;
        let told = config.check().unwrap_err().to_string();
        assert!(told.contains("sockets.queue_frames_max"), "{told}");
    }
}
