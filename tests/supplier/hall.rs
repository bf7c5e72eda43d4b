//! A server on a clock that the test turns, and suppliers at their desks.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kaibiao_actors::{
    app::{App, Running},
    clock::{Clock, Hands},
    config::Config,
};
use kaibiao_bidder::{
    client::{Client, ClientOptions, Credentials, Room, ServerAddress},
    clock::now,
    command,
    practice::{
        PracticeToken,
        PracticeVendor::{Huixin, Tiangu},
        TokenKind, TokenShop,
        forms::{contact, sheets},
        papers::Paper,
        server::administer,
    },
    submit::draw_upload_id,
};
use kaibiao_protocol::{
    bid::FailureCause,
    blob::Blob,
    moment::Moment,
    view::{BidStatus, RoomEvent, ViewEvent},
};
use kaibiao_sealed::{digest::sha256, practice::Span};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// How long before the deadline the server's clock begins; less than a session may idle.
const BEFORE_MS: i64 = 15 * 60_000;

/// Fails a test that hangs, instead of hanging with it.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(120), work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come in two minutes"),
    }
}

/// What a command printed.
pub(crate) struct Said {
    command: String,
    lines: Vec<Value>,
}

impl Said {
    pub(crate) fn last(&self) -> &Value {
        self.lines.last().unwrap_or_else(|| panic!("{} said nothing", self.command))
    }

    /// The result; it must have been done.
    pub(crate) fn ok(&self) -> Value {
        self.last().get("ok").unwrap_or_else(|| panic!("{}: {:?}", self.command, self.lines)).clone()
    }

    /// The codes of what was refused; it must have been.
    pub(crate) fn refused(&self) -> Vec<String> {
        let refused = self.last()["refused"].as_array();
        let refused = refused.unwrap_or_else(|| panic!("{}: {:?}", self.command, self.lines));
        refused.iter().map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
    }

    /// The names of what happened.
    pub(crate) fn events(&self) -> Vec<String> {
        self.lines.iter().filter_map(|line| Some(line["event"]["what"].as_str()?.to_owned())).collect()
    }
}

pub(crate) struct Hall {
    running: Running,
    url: String,
    hands: Arc<Hands>,
    clock: Clock,
    deadline: Moment,
    folder: TempDir,
    tokens: BTreeMap<String, PracticeToken>,
    password: String,
}

impl Hall {
    /// A tender for one lot, and suppliers with a token and an account each. The room opens by itself.
    pub(crate) async fn open(suppliers: &[&str]) -> Self {
        Self::open_with(suppliers, "at_deadline").await
    }

    /// The same with another way of opening the room.
    pub(crate) async fn open_with(suppliers: &[&str], start: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let deadline = Moment(now().0 / 1_000_000 * 1_000_000);
        let mut config = Config {
            data: folder.path().join("data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
            ..Config::default()
        };
        config.opening.threads = 1;
        let (tell, told) = std::sync::mpsc::channel();
        let running = App::start_on(config, move |last| {
            let (clock, hands) = Clock::steppable_after(deadline.plus_ms(-BEFORE_MS), last)?;
            tell.send((clock.clone(), hands)).unwrap();
            Ok(clock)
        });
        let running = running.await.unwrap();
        let (clock, hands) = told.recv().unwrap();
        let (url, password) = (running.url(), draw_upload_id().to_string());
        let tokens = BTreeMap::new();
        let mut hall = Self { running, url, hands, clock, deadline, folder, tokens, password };
        hall.furnish(suppliers, start).await;
        hall
    }

    pub(crate) async fn close(self) {
        in_time("the stop", self.running.stop()).await;
    }

    pub(crate) fn pass_to_the_deadline(&self) {
        self.hands.pass_until(&self.clock, self.deadline);
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// Says one thing at the administrator's socket; it must be done.
    async fn order(&self, ask: Value) {
        administer(&self.file("data"), &ask).await.unwrap();
    }

    async fn direct(&self, command: Value) {
        self.order(json!({ "directory": command })).await;
    }

    async fn add(&self, organisation: &str, kind: &str) {
        let name = format!("{organisation}有限公司");
        self.direct(json!({ "do": "add_organisation", "id": organisation, "name": name, "kind": kind }))
            .await;
    }

    async fn add_user(&self, account: &str, organisation: &str, role: &str) {
        let user = json!({ "do": "add_user", "id": account, "organisation": organisation, "name": account, "roles": [role] });
        self.direct(user).await;
        self.order(json!({ "set_password": { "user": account, "password": self.password } })).await;
    }

    async fn furnish(&mut self, suppliers: &[&str], start: &str) {
        fs::write(self.file("password"), &self.password).unwrap();
        fs::write(self.file("contact.json"), contact(1).to_string()).unwrap();
        let mut wrong = contact(1);
        (wrong["mobile"], wrong["postcode"]) = (json!("12345"), json!("abc"));
        fs::write(self.file("wrong-contact.json"), wrong.to_string()).unwrap();
        self.add("binjiang", "purchaser").await;
        self.add("kaixin", "agency").await;
        self.add_user("lin", "kaixin", "agent").await;
        let spec = json!({
            "id": "KX-1", "name": "采购便携式计算机", "region": "浙江省本级", "kind": "exercise",
            "method": "open_tender", "purchaser": "binjiang", "organiser": "kaixin", "budget": "1200000.00",
            "deadline": self.deadline, "start": start, "window_minutes": 5, "failure_grace_minutes": 5,
            "backup": "any_fault", "confirm_minutes": 10, "consortium_allowed": false, "rule_pack": "GP/1",
            "lots": { "1": { "name": "笔记本", "budget": "1200000.00", "price_kind": "total" } },
        });
        self.order(json!({ "create_project": { "spec": spec } })).await;

        let span =
            Span { from: self.deadline.plus_ms(-86_400_000), until: self.deadline.plus_ms(86_400_000) };
        let mut shop = TokenShop::new(&self.file("shop"), TokenKind::Files, span).unwrap();
        for vendor in [Huixin, Tiangu] {
            let root = Blob(shop.authority(vendor).root().to_vec());
            let add = json!({ "do": "add_root", "vendor": vendor.name(), "certificate": root, "intermediates": [] });
            self.direct(add).await;
        }
        for (no, supplier) in (1..).zip(suppliers) {
            let token = shop.add_supplier(supplier, if no == 2 { Tiangu } else { Huixin }).unwrap();
            fs::copy(&token.pkcs12, self.file(&format!("{supplier}.p12"))).unwrap();
            fs::copy(&token.pin_file, self.file(&format!("{supplier}.pin"))).unwrap();
            let account = format!("{supplier}-clerk");
            self.add(supplier, "supplier").await;
            self.add_user(&account, supplier, "supplier").await;
            for certificate in [&token.signing_certificate, &token.encryption_certificate] {
                let certificate = Blob(certificate.clone());
                let bind = json!({ "do": "bind_certificate", "user": account, "certificate": certificate });
                self.direct(bind).await;
            }
            fs::write(self.file(&format!("{supplier}.sheet")), sheets(no, 1, false).to_string()).unwrap();
            let lines = [format!("投标人：{supplier}")];
            let paper = Paper { title: "价格", lines: &lines, pages: 2, bytes: 60_000, seed: no.into() };
            fs::write(self.file(&format!("{supplier}.pdf")), paper.make().unwrap()).unwrap();
            self.tokens.insert((*supplier).to_owned(), token);
        }
    }

    /// Takes the binding of a supplier's signing certificate back.
    pub(crate) async fn unbind(&self, supplier: &str) {
        let fingerprint = sha256(&self.tokens[supplier].signing_certificate);
        let user = format!("{supplier}-clerk");
        self.direct(json!({ "do": "unbind_certificate", "user": user, "fingerprint": fingerprint })).await;
    }

    pub(crate) async fn pack(&self, who: &str) {
        let line = format!(
            "pack --project KX-1 --supplier {who} --sheet {who}.sheet --document 1:price={who}.pdf -o {who}.bfbs"
        );
        self.run(who, &line).await.ok();
    }

    /// Packs, seals for the project saved as `project.json`, and hands in.
    pub(crate) async fn hand_in(&self, who: &str) {
        self.pack(who).await;
        let token = format!("--pkcs12 {who}.p12 --pin-file {who}.pin");
        self.run(who, &format!("seal {who}.bfbs --project-file project.json {token} -o {who}.jmbs"))
            .await
            .ok();
        let submit = format!("submit {who}.jmbs --project KX-1 --contact contact.json {token}");
        self.run(who, &submit).await.ok();
    }

    /// Runs a command at somebody's desk to its end.
    pub(crate) async fn run(&self, who: &str, line: &str) -> Said {
        in_time(line, self.begin(who, line)).await.unwrap()
    }

    /// Begins a command at somebody's desk. Words that name files of the folder become their paths, and what talks to
    /// the server is told where it is.
    pub(crate) fn begin(&self, who: &str, line: &str) -> oneshot::Receiver<Said> {
        const OFFLINE: [&str; 5] = ["pack", "reseal", "inspect", "open", "verify-receipt"];
        let mut words = vec![OsString::from("kaibiao-bid"), OsString::from("--json")];
        words.extend(line.split_whitespace().map(|word| self.placed(word)));
        let is_offline = OFFLINE.iter().any(|name| line.starts_with(name)) || line.contains("--project-file");
        if !is_offline {
            let state = self.file(&format!("state-{who}"));
            words.extend(["--server".into(), self.url.clone().into(), "--state".into(), state.into()]);
        }
        let (tell, told) = oneshot::channel();
        let command = line.to_owned();
        std::thread::spawn(move || {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            command::run(words, &mut out, &mut err);
            let text = String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str(line).expect(&text)).collect();
            // If nobody waits any more, the test has failed elsewhere.
            let _ = tell.send(Said { command, lines });
        });
        told
    }

    fn placed(&self, word: &str) -> OsString {
        const ENDINGS: [&str; 9] =
            ["bfbs", "jmbs", "p12", "pin", "pdf", "sheet", "json", "receipt", "refusal"];
        let (before, name) = word.split_once('=').map_or(("", word), |(before, name)| (before, name));
        let ending = name.rsplit_once('.').map(|(_, ending)| ending);
        if name != "password" && !ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
            return word.into();
        }
        let path = self.file(name);
        if before.is_empty() { path.into() } else { format!("{before}={}", path.display()).into() }
    }

    /// Changes one bit of the platform's copy of a sealed bid.
    pub(crate) fn damage_stored(&self, bid: &str) {
        let wanted = fs::read(self.file(bid)).unwrap();
        let (stored, at) = find(&self.file("data"), &wanted).expect("the bid is stored as it was handed in");
        let mut bytes = fs::read(&stored).unwrap();
        bytes[at + wanted.len() - 1] ^= 1;
        fs::write(stored, bytes).unwrap();
    }

    /// As the agent: admits the backup of each bid that fails, until so many have; tells why each failed.
    pub(crate) async fn admit_backups(&self, count: usize) -> BTreeMap<String, FailureCause> {
        let address = ServerAddress::parse(&self.url, false).unwrap();
        let client = Client::new(address, ClientOptions::default()).unwrap();
        let credentials = Credentials::password("lin".parse().unwrap(), self.password.clone().into());
        let session = client.sign_in(credentials).await.unwrap();
        let room = session.room("KX-1".parse().unwrap());
        in_time("the failures", admit(&room, count)).await
    }
}

async fn admit(room: &Room, count: usize) -> BTreeMap<String, FailureCause> {
    let mut events = room.events(0).await.unwrap();
    let (mut names, mut causes) = (BTreeMap::new(), BTreeMap::new());
    while causes.len() < count {
        let ViewEvent::Room(event) = events.next().await.unwrap().event else { continue };
        match event {
            RoomEvent::ReceivingClosed { bidders, .. } => {
                names.extend(bidders.into_iter().map(|bidder| (bidder.bid, bidder.organisation.to_string())));
            }
            RoomEvent::BidChanged { bid, status: BidStatus::Failed { cause, .. }, .. } => {
                room.admit_backup(bid, "依法启用备份标书").await.unwrap();
                causes.insert(names[&bid].clone(), cause);
            }
            _ => {}
        }
    }
    causes
}

/// The file below a folder that holds these bytes, and where in it.
fn find(folder: &Path, wanted: &[u8]) -> Option<(PathBuf, usize)> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find_map(|path| {
        if path.is_dir() {
            return find(&path, wanted);
        }
        let about = fs::metadata(&path).ok().filter(|about| about.is_file())?;
        if about.len() < wanted.len() as u64 {
            return None;
        }
        // A small bid shares its file with others.
        let bytes = fs::read(&path).ok()?;
        let first = |at: &usize| bytes[*at] == wanted[0] && bytes[*at..].starts_with(wanted);
        (0..=bytes.len() - wanted.len()).find(first).map(|at| (path, at))
    })
}
