//! A server on a free port with the people of one small tender, on a clock that the test turns.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_actors::{
    app::{App, Running},
    clock::{Clock, Hands},
    config::{Config, Log, LogFormat},
    observe::{self, SharedLog},
};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::purpose::Purpose;
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
};

use crate::people::{Holder, authority};

/// 2026-06-01 09:00 in Beijing.
pub(crate) const MORNING: Moment = Moment(1_780_275_600_000_000);
/// The project's deadline: an hour later.
pub(crate) const DEADLINE: Moment = Moment(MORNING.0 + 3_600_000_000);
/// The project.
pub(crate) const PROJECT: &str = "KX-1";
/// Everybody's password.
pub(crate) const PASSWORD: &str = "canary-password-7141";

/// Everything the servers of this program log, down to the last detail.
pub(crate) fn log() -> &'static SharedLog {
    static LOG: LazyLock<SharedLog> = LazyLock::new(|| {
        let shared = SharedLog::default();
        let filter = "kaibiao_actors=trace,kaibiao_engine=trace,actix=trace,actix_web=trace,actix_http=trace,actix_server=trace";
        let log = Log { format: LogFormat::Json, filter: filter.to_owned() };
        tracing::subscriber::set_global_default(observe::subscriber(&log, shared.clone()).unwrap()).unwrap();
        shared
    });
    &LOG
}

/// Fails a test that hangs, instead of hanging with it.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come in a minute"),
    }
}

pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) hands: Arc<Hands>,
    pub(crate) clock: Clock,
    pub(crate) folder: Arc<TempDir>,
    pub(crate) config: Config,
    pub(crate) client: Client,
}

/// A signed-in person's session.
#[derive(Clone)]
pub(crate) struct Session(pub(crate) String);

impl World {
    /// The usual world.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A world whose settings the test changes.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let world = Self::empty(change).await;
        world.furnish().await;
        world
    }

    /// A server nobody has told anything.
    pub(crate) async fn empty(change: impl FnOnce(&mut Config)) -> Self {
        log();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut config = Config {
            data: folder.path().join("data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
            ..Config::default()
        };
        config.opening.threads = 1;
        // Hours pass in one go here: who sits in a room is not idle.
        config.sessions.idle_minutes = 24 * 60;
        change(&mut config);
        Self::start(folder, config, MORNING).await
    }

    async fn start(folder: Arc<TempDir>, config: Config, now: Moment) -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        let running = App::start_on(config.clone(), move |last| {
            let (clock, hands) = Clock::steppable_after(now, last)?;
            tell.send((clock.clone(), hands)).unwrap();
            Ok(clock)
        })
        .await
        .unwrap();
        let (clock, hands) = told.recv().unwrap();
        let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { running, hands, clock, folder, config, client }
    }

    /// Stops the server in good order and starts it again.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, clock, folder, config, .. } = self;
        in_time("the stop", running.stop()).await;
        Self::start(folder, config, clock.present().plus_ms(1_000)).await
    }

    /// Lets so many minutes pass.
    pub(crate) fn minutes_pass(&self, minutes: i64) {
        self.hands.pass_ms(minutes * 60_000);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    pub(crate) fn data(&self) -> &Path {
        &self.config.data
    }

    /// Says one line at the administrator's socket.
    pub(crate) async fn admin(&self, ask: Value) -> Value {
        let mut stream = UnixStream::connect(self.data().join("admin.sock")).await.unwrap();
        stream.write_all(format!("{ask}\n").as_bytes()).await.unwrap();
        let mut line = String::new();
        in_time("the office's answer", BufReader::new(stream).read_line(&mut line)).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Says one that must be done.
    pub(crate) async fn order(&self, ask: Value) -> Value {
        let answer = self.admin(ask.clone()).await;
        assert!(answer.get("ok").is_some(), "{ask} -> {answer}");
        answer["ok"].clone()
    }

    /// One command to the directory.
    pub(crate) async fn direct(&self, command: Value) {
        self.order(json!({ "directory": command })).await;
    }

    async fn furnish(&self) {
        for (id, kind) in [
            ("school", "purchaser"),
            ("agency", "agency"),
            ("bureau", "supervisor"),
            ("pool", "expert_pool"),
            ("platform", "platform"),
            ("mingde", "supplier"),
            ("tiangu", "supplier"),
            ("sanhe", "supplier"),
        ] {
            self.direct(json!({ "do": "add_organisation", "id": id, "name": id, "kind": kind })).await;
        }
        for (id, organisation, role) in [
            ("wang", "mingde", "supplier"),
            ("li", "tiangu", "supplier"),
            ("chen", "sanhe", "supplier"),
            ("agent", "agency", "agent"),
            ("buyer", "school", "purchaser"),
            ("watcher", "bureau", "supervisor"),
            ("expert", "pool", "expert"),
            ("keeper", "platform", "administrator"),
        ] {
            let roles = [role];
            let user = json!({ "do": "add_user", "id": id, "organisation": organisation, "name": id, "roles": roles });
            self.direct(user).await;
        }
        self.trust("huixin", "Huixin").await;
        self.bind("wang", &Holder::new("mingde", 1)).await;
        self.bind("li", &Holder::new("tiangu", 2)).await;
        self.bind("chen", &Holder::new("sanhe", 3)).await;
        self.order(json!({ "create_project": { "spec": spec(PROJECT) } })).await;
    }

    pub(crate) async fn trust(&self, vendor: &str, name: &str) {
        let root = STANDARD.encode(authority(name).root());
        self.direct(json!({ "do": "add_root", "vendor": vendor, "certificate": root, "intermediates": [] }))
            .await;
    }

    pub(crate) async fn bind(&self, user: &str, holder: &Holder) {
        let certificate = STANDARD.encode(&holder.certificate);
        self.direct(json!({ "do": "bind_certificate", "user": user, "certificate": certificate })).await;
    }

    pub(crate) async fn set_password(&self, user: &str) {
        self.order(json!({ "set_password": { "user": user, "password": PASSWORD } })).await;
    }

    /// A challenge's text.
    pub(crate) async fn challenge(&self, account: Option<&str>) -> String {
        let body = account.map_or(json!({}), |account| json!({ "account": account }));
        let told = self.client.post(self.url("/api/sign-in/challenge")).json(&body).send().await.unwrap();
        let told: Value = told.json().await.unwrap();
        told["challenge"].as_str().unwrap().to_owned()
    }

    /// Answers a fresh challenge.
    pub(crate) async fn answer(&self, holder: &Holder) -> Response {
        let challenge = self.challenge(None).await;
        self.present(&challenge, &holder.sign(Purpose::SignIn, &challenge)).await
    }

    /// Presents a signature.
    pub(crate) async fn present(&self, challenge: &str, cms: &[u8]) -> Response {
        let body = json!({ "challenge": challenge, "cms": STANDARD.encode(cms) });
        self.client.post(self.url("/api/sign-in/token")).json(&body).send().await.unwrap()
    }

    pub(crate) async fn by_token(&self, holder: &Holder) -> Session {
        session_of(self.answer(holder).await).await
    }

    /// Tries a password.
    pub(crate) async fn try_password(&self, account: &str, password: &str) -> Response {
        let body = json!({ "account": account, "password": password });
        self.client.post(self.url("/api/sign-in/password")).json(&body).send().await.unwrap()
    }

    /// Gives the account a password and signs in with it.
    pub(crate) async fn by_password(&self, account: &str) -> Session {
        self.set_password(account).await;
        session_of(self.try_password(account, PASSWORD).await).await
    }

    pub(crate) fn get(&self, session: &Session, path: &str) -> RequestBuilder {
        self.client.get(self.url(path)).bearer_auth(&session.0)
    }

    pub(crate) fn post(&self, session: &Session, path: &str) -> RequestBuilder {
        self.client.post(self.url(path)).bearer_auth(&session.0)
    }
}

async fn session_of(response: Response) -> Session {
    let status = response.status();
    let told: Value = response.json().await.unwrap();
    assert!(status.is_success(), "{status} {told}");
    Session(told["session"].as_str().unwrap().to_owned())
}

/// A response's refusal, by code.
pub(crate) async fn refusal(response: Response) -> String {
    let status = response.status();
    let told: Value = response.json().await.unwrap();
    assert!(!status.is_success(), "{status} {told}");
    told["refused"]["code"].as_str().unwrap().to_owned()
}

/// A small tender by open competition, an exercise.
pub(crate) fn spec(id: &str) -> Value {
    json!({
        "id": id, "name": "教学设备采购", "region": "杭州市本级", "kind": "exercise", "method": "open_tender",
        "purchaser": "school", "organiser": "agency", "budget": "3000000000.00", "deadline": DEADLINE.0,
        "start": "at_deadline", "window_minutes": 30, "failure_grace_minutes": 10, "backup": "any_fault",
        "confirm_minutes": 20, "consortium_allowed": false, "bid_bytes_max": 8_000_000, "rule_pack": "GP/1",
        "lots": { "1": { "name": "标项1", "budget": "1000000.00", "price_kind": "total" } },
    })
}
