//! An opening of the real programs: a server process, suppliers that run `kaibiao-bid`, an administrator who runs
//! `kaibiao admin`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kaibiao_bidder::{
    clock::now,
    practice::{
        PracticeToken,
        PracticeVendor::Huixin,
        TokenKind, TokenShop,
        forms::{contact, sheets},
        papers::Paper,
        server::{ServerProcess, administer},
    },
    submit::draw_upload_id,
};
use kaibiao_protocol::{blob::Blob, moment::Moment};
use kaibiao_sealed::practice::Span;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
};

pub(crate) const SUPPLIERS: [&str; 3] = ["mingde", "jiangnan", "yuanfang"];
/// How long from the project's beginning to its deadline: all must be handed in by then, on a busy machine too.
const UNTIL_DEADLINE_MS: i64 = 45_000;

/// A program built with this test.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_kaibiao")).with_file_name(name);
    assert!(
        path.is_file(),
        "{} is missing: build all programs first (cargo build --workspace --bins)",
        path.display()
    );
    path
}

pub(crate) struct Hall {
    pub(crate) server: ServerProcess,
    folder: TempDir,
    pub(crate) tokens: Vec<PracticeToken>,
    /// Everybody has the same, so that one search finds it wherever it came from.
    pub(crate) password: String,
    pub(crate) deadline: Moment,
    /// What every program printed.
    pub(crate) said: Vec<String>,
}

impl Hall {
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let log = folder.path().join("server.log");
        let server = ServerProcess::start(&program("kaibiao"), &data, &log).await.unwrap();
        let span = Span { from: now().plus_ms(-86_400_000), until: now().plus_ms(86_400_000) };
        let mut shop = TokenShop::new(&folder.path().join("shop"), TokenKind::Files, span).unwrap();
        shop.set_pin_digits(32);
        let password = draw_upload_id().to_string();
        let tokens = SUPPLIERS.map(|name| shop.add_supplier(name, Huixin).unwrap());
        let root = Blob(shop.authority(Huixin).root().to_vec());
        let mut hall =
            Self { server, folder, tokens: tokens.into(), password, deadline: Moment(0), said: Vec::new() };
        hall.furnish(root).await;
        hall
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn order(&self, ask: Value) {
        administer(self.server.data(), &ask).await.unwrap();
    }

    async fn direct(&self, command: Value) {
        self.order(json!({ "directory": command })).await;
    }

    async fn add(&mut self, organisation: &str, kind: &str, account: &str, role: &str) {
        self.direct(
            json!({ "do": "add_organisation", "id": organisation, "name": organisation, "kind": kind }),
        )
        .await;
        let user = json!({ "do": "add_user", "id": account, "organisation": organisation, "name": account, "roles": [role] });
        self.direct(user).await;
        // As an administrator does it: the password is read by `kaibiao admin` and goes over the server's socket.
        let (data, file) = (self.server.data(), self.file("password"));
        let words = format!(
            "admin --data {} user password {account} --password-file {}",
            data.display(),
            file.display()
        );
        let output = Command::new(program("kaibiao"))
            .args(words.split(' '))
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        self.said.push(said);
    }

    async fn furnish(&mut self, root: Blob) {
        fs::write(self.file("password"), &self.password).unwrap();
        self.add("kaixin", "agency", "lin", "agent").await;
        self.direct(
            json!({ "do": "add_organisation", "id": "binjiang", "name": "滨江中学", "kind": "purchaser" }),
        )
        .await;
        self.direct(
            json!({ "do": "add_root", "vendor": "huixin", "certificate": root, "intermediates": [] }),
        )
        .await;
        for (no, name) in (1..).zip(SUPPLIERS) {
            self.add(name, "supplier", &format!("{name}-clerk"), "supplier").await;
            let token = &self.tokens[no as usize - 1];
            for certificate in [&token.signing_certificate, &token.encryption_certificate] {
                let certificate = Blob(certificate.clone());
                let user = format!("{name}-clerk");
                self.direct(json!({ "do": "bind_certificate", "user": user, "certificate": certificate }))
                    .await;
            }
            fs::write(self.file(&format!("{name}.contact.json")), contact(no).to_string()).unwrap();
            fs::write(self.file(&format!("{name}.sheets")), sheets(no, 1, false).to_string()).unwrap();
            let lines = [format!("投标人：{name}")];
            let paper = Paper { title: "价格", lines: &lines, pages: 2, bytes: 200_000, seed: no.into() };
            fs::write(self.file(&format!("{name}.pdf")), paper.make().unwrap()).unwrap();
        }
        self.deadline = now().plus_ms(UNTIL_DEADLINE_MS);
        let spec = json!({
            "id": "KX-1", "name": "采购便携式计算机", "region": "浙江省本级", "kind": "exercise", "method": "open_tender",
            "purchaser": "binjiang", "organiser": "kaixin", "budget": "1200000.00", "deadline": self.deadline,
            "start": "at_deadline", "window_minutes": 5, "failure_grace_minutes": 5, "backup": "any_fault",
            "confirm_minutes": 10, "consortium_allowed": false, "rule_pack": "GP/1",
            "lots": { "1": { "name": "笔记本", "budget": "1200000.00", "price_kind": "total" } },
        });
        self.order(json!({ "create_project": { "spec": spec } })).await;
    }

    /// `kaibiao-bid --json LINE` at a supplier's desk. `{}` in the line is the supplier, `@NAME` a file.
    pub(crate) fn begin(&self, who: usize, line: &str) -> Running {
        let token = &self.tokens[who];
        let line = line
            .replace(
                "$TOKEN",
                &format!("--pkcs12 {} --pin-file {}", token.pkcs12.display(), token.pin_file.display()),
            )
            .replace("$ACCOUNT", "--account {}-clerk --password-file @password")
            .replace("$SERVER", &format!("--server {} --state @state-{{}}", self.server.url))
            .replace("{}", SUPPLIERS[who])
            .replace('@', &format!("{}/", self.folder.path().display()));
        let mut child = Command::new(program("kaibiao-bid"))
            .arg("--json")
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { line, out, child, said: String::new() }
    }

    /// The same, to its end, which must be good.
    pub(crate) async fn run(&mut self, who: usize, line: &str) {
        let ended = self.begin(who, line).end().await;
        self.said.push(ended);
    }

    /// Packs, seals and hands in, as `docs/bidding.md` tells.
    pub(crate) async fn hand_in(&mut self, who: usize) {
        let pack =
            "pack --project KX-1 --supplier {} --sheet @{}.sheets --document 1:price=@{}.pdf -o @{}.bfbs";
        self.run(who, pack).await;
        self.run(who, "seal @{}.bfbs --project KX-1 $SERVER $TOKEN -o @{}.jmbs").await;
        // One signs in by account and password, the others by token.
        let how = if who == 1 { "$ACCOUNT" } else { "$TOKEN" };
        self.run(
            who,
            &format!("submit @{{}}.jmbs --project KX-1 --contact @{{}}.contact.json $SERVER {how}"),
        )
        .await;
    }

    /// What the server tells of itself to anybody on this machine.
    pub(crate) async fn page(&self, path: &str) -> String {
        let address = self.server.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// A program of a supplier's that runs.
pub(crate) struct Running {
    line: String,
    out: BufReader<tokio::process::ChildStdout>,
    pub(crate) child: Child,
    said: String,
}

impl Running {
    /// Reads what it prints until something has happened.
    pub(crate) async fn until(&mut self, event: &str) {
        let wanted = format!("\"what\":\"{event}\"");
        while !self.said.contains(&wanted) {
            let read = tokio::time::timeout(Duration::from_secs(120), self.out.read_line(&mut self.said));
            let read =
                read.await.unwrap_or_else(|_| panic!("no {event}: {} {}", self.line, self.said)).unwrap();
            assert!(read > 0, "it ended without {event}: {} {}", self.line, self.said);
        }
    }

    /// Waits until it has ended well; what it said.
    pub(crate) async fn end(mut self) -> String {
        let mut err = self.child.stderr.take().unwrap();
        let mut said = String::new();
        let all = async {
            self.out.read_to_string(&mut self.said).await.unwrap();
            err.read_to_string(&mut said).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status =
            tokio::time::timeout(Duration::from_secs(120), all).await.expect("it ends in two minutes");
        let said = self.said + &said;
        assert!(status.success(), "{}: {said}", self.line);
        said
    }
}
