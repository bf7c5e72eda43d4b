//! A server on a clock that the test turns, with the people of one small tender.

use std::{
    cell::RefCell,
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
    client::{Client, ClientOptions, Credentials, FilePieces, ServerAddress, Session, Upload, UploadPurpose},
    clock::now,
    pack::{DocumentArgument, PackJob},
    practice::{
        forms::{contact, sheets},
        papers::Paper,
        server::administer,
    },
    seal::SealJob,
    signer::PinnedToken,
    submit::draw_upload_id,
    token::{PinSource, Purpose, TokenCertificate, certificate_for, pkcs12::Pkcs12Token},
    unseal::{Report, Stay, UnsealFault, Unsealed, Unsealing},
};
use kaibiao_protocol::{
    blob::Blob,
    moment::Moment,
    view::{ProjectView, UploadVerdict},
};
use kaibiao_sealed::{
    platform_key::PUBLIC_KEY_BYTES,
    practice::{PracticeCa, SoftKey, Span, Usage, escaped},
    receipt::{ReceiptFacts, verify_receipt},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The project.
pub(crate) const PROJECT: &str = "KX-00823";
/// How long the record may be confirmed.
pub(crate) const CONFIRM_MINUTES: u32 = 10;
/// How long before the deadline the server's clock begins; less than a session may idle.
const BEFORE_MINUTES: u32 = 15;
const AGENT: &str = "lin";

/// Fails a test that hangs, instead of hanging with it.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(120), work).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not come in two minutes"),
    }
}

/// Conversations, one after the other.
pub(crate) fn tapes(files: &[&Path]) -> String {
    files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// A supplier with a soft token and a sealed bid.
pub(crate) struct Supplier {
    pub(crate) organisation: String,
    account: String,
    contact: Value,
    token: Arc<PinnedToken>,
    signing: TokenCertificate,
    signing_key: SoftKey,
    sealed: PathBuf,
    backup: PathBuf,
}

pub(crate) struct World {
    running: RefCell<Option<Running>>,
    url: String,
    hands: Arc<Hands>,
    clock: Clock,
    folder: TempDir,
    deadline: Moment,
    receipt_key: [u8; PUBLIC_KEY_BYTES],
    password: String,
}

impl World {
    /// A server with an agent and a project; its deadline is now.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let deadline = Moment(now().0 / 1_000_000 * 1_000_000);
        let mut config = Config {
            data: folder.path().join("data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: 2,
            ..Config::default()
        };
        config.opening.threads = 1;
        let begins = deadline.plus_ms(-60_000 * i64::from(BEFORE_MINUTES));
        let (tell, told) = std::sync::mpsc::channel();
        let running = App::start_on(config, move |last| {
            let (clock, hands) = Clock::steppable_after(begins, last)?;
            tell.send((clock.clone(), hands)).unwrap();
            Ok(clock)
        });
        let running = running.await.unwrap();
        let (clock, hands) = told.recv().unwrap();
        let password = draw_upload_id().to_string();
        let receipt_key = *running.house().keys().receipt.public();
        let url = running.url();
        let running = RefCell::new(Some(running));
        let world = Self { running, url, hands, clock, folder, deadline, receipt_key, password };
        world.furnish().await;
        world
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn receipt_key(&self) -> [u8; PUBLIC_KEY_BYTES] {
        self.receipt_key
    }

    pub(crate) fn pass_to_the_deadline(&self) {
        self.hands.pass_until(&self.clock, self.deadline);
    }

    pub(crate) fn pass_minutes(&self, minutes: u32) {
        self.hands.pass_ms(60_000 * i64::from(minutes));
    }

    pub(crate) async fn stop(&self) {
        let running = self.running.take().unwrap();
        in_time("the stop", running.stop()).await;
    }

    /// What anybody on this machine is answered at a path; it must be 200.
    pub(crate) async fn get(&self, path: &str) -> String {
        let (status, body) = self.say(&format!("GET {path} HTTP/1.1"), "", "").await;
        assert_eq!(status, "200", "{path}: {body}");
        body
    }

    /// What a request made by hand is answered: status and body.
    pub(crate) async fn say(&self, line: &str, headers: &str, body: &str) -> (String, String) {
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        let request = format!("{line}\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n{body}");
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        in_time(line, stream.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
    }

    /// Says one thing at the administrator's socket; it must be done.
    async fn order(&self, ask: Value) {
        administer(&self.folder().join("data"), &ask).await.unwrap();
    }

    async fn direct(&self, command: Value) {
        self.order(json!({ "directory": command })).await;
    }

    async fn add(&self, organisation: &str, name: &str, kind: &str, account: Option<(&str, &str)>) {
        self.direct(json!({ "do": "add_organisation", "id": organisation, "name": name, "kind": kind }))
            .await;
        if let Some((account, role)) = account {
            let user = json!({ "do": "add_user", "id": account, "organisation": organisation, "name": account, "roles": [role] });
            self.direct(user).await;
        }
    }

    async fn furnish(&self) {
        self.add("binjiang", "滨江中学", "purchaser", None).await;
        self.add("kaixin", "开信招标代理有限公司", "agency", Some((AGENT, "agent"))).await;
        self.order(json!({ "set_password": { "user": AGENT, "password": self.password } })).await;
        let spec = json!({
            "id": PROJECT, "name": "采购便携式计算机", "region": "浙江省本级", "kind": "exercise", "method": "open_tender",
            "purchaser": "binjiang", "organiser": "kaixin", "budget": "2400000.00", "deadline": self.deadline,
            "start": "at_deadline", "window_minutes": 5, "failure_grace_minutes": 5, "backup": "any_fault",
            "confirm_minutes": CONFIRM_MINUTES, "consortium_allowed": false, "rule_pack": "GP/1",
            "lots": {
                "1": { "name": "笔记本", "budget": "1200000.00", "price_kind": "total" },
                "2": { "name": "平板", "budget": "1200000.00", "price_kind": "total" },
            },
        });
        self.order(json!({ "create_project": { "spec": spec } })).await;
    }

    /// Three suppliers whose bids are sealed: two for our own client, and one for the stranger. The second bids for the
    /// first lot alone.
    pub(crate) async fn suppliers(&self) -> (Supplier, Supplier, Supplier) {
        let span =
            Span { from: self.deadline.plus_ms(-86_400_000), until: self.deadline.plus_ms(86_400_000) };
        let authority = PracticeCa::new("Huixin", span.from, span.until).unwrap();
        let root = Blob(authority.root().to_vec());
        self.direct(
            json!({ "do": "add_root", "vendor": "huixin", "certificate": root, "intermediates": [] }),
        )
        .await;
        let view = self.look().await;
        let mut made = Vec::new();
        for (no, organisation, name, lots) in [
            (1, "mingde", "明德家具有限公司", 2),
            (2, "jiangnan", "江南办公设备有限公司", 1),
            (3, "yuanfang", "远方系统有限公司", 2),
        ] {
            let supplier = self.supplier(no, organisation, name, lots, &authority, span, &view);
            self.add(organisation, name, "supplier", Some((&supplier.account, "supplier"))).await;
            for certificate in supplier.token.token().certificates() {
                let certificate = Blob(certificate.der.clone());
                let bind =
                    json!({ "do": "bind_certificate", "user": supplier.account, "certificate": certificate });
                self.direct(bind).await;
            }
            made.push(supplier);
        }
        let third = made.pop().unwrap();
        let second = made.pop().unwrap();
        (made.pop().unwrap(), second, third)
    }

    #[expect(clippy::too_many_arguments, reason = "what tells one supplier from another")]
    fn supplier(
        &self,
        no: u32,
        organisation: &str,
        name: &str,
        lots: u16,
        authority: &PracticeCa,
        span: Span,
        view: &ProjectView,
    ) -> Supplier {
        let subject = format!("CN={0},O={0},C=CN", escaped(name));
        let issued = |usage| {
            let key = SoftKey::generate().unwrap();
            let (_, certificate) = authority.issue_next(&subject, &key.public_key(), usage, span).unwrap();
            (certificate, key)
        };
        let (signing, encryption) = (issued(Usage::Sign), issued(Usage::Encrypt));
        let held = [&signing, &encryption].map(|(certificate, key)| (certificate.as_slice(), key.pkcs8()));
        let token = Pkcs12Token::of_keys(organisation, &held).unwrap();
        let token = Arc::new(PinnedToken::new(Arc::new(token), PinSource::Prompt));
        let named = |purpose| certificate_for(token.token(), purpose, None, self.deadline).unwrap();

        let file = |ending: &str| self.folder().join(format!("{organisation}{ending}"));
        fs::write(file(".sheets"), sheets(no, lots, false).to_string()).unwrap();
        let lines = [format!("投标人：{name}"), "演练材料".to_owned()];
        let paper = Paper { title: "资格文件", lines: &lines, pages: 2, bytes: 60_000, seed: no.into() };
        fs::write(file(".pdf"), paper.make().unwrap()).unwrap();
        let document: DocumentArgument = format!("qualification={}", file(".pdf").display()).parse().unwrap();
        let (backup, sealed) = (file(".bfbs"), file(".jmbs"));
        let pack = PackJob {
            project: view.spec.id.clone(),
            supplier: organisation.parse().unwrap(),
            sheets: &file(".sheets"),
            documents: &[document],
            out: &backup,
        };
        pack.run(&mut |_, _| {}).unwrap();
        let seal = SealJob {
            package: &backup,
            out: &sealed,
            target: view,
            token: &token,
            signing: &named(Purpose::Signing),
            encryption: &named(Purpose::Encryption),
            anew: false,
            now: self.deadline,
        };
        seal.run(&mut |_, _| {}).unwrap();
        Supplier {
            organisation: organisation.to_owned(),
            account: format!("clerk-{no}"),
            contact: contact(no),
            signing: named(Purpose::Signing),
            signing_key: signing.1,
            token,
            sealed,
            backup,
        }
    }

    /// The project as its agent sees it.
    async fn look(&self) -> ProjectView {
        let credentials = Credentials::password(AGENT.parse().unwrap(), self.password.clone().into());
        let session = self.client().sign_in(credentials).await.unwrap();
        session.project(&PROJECT.parse().unwrap()).await.unwrap()
    }

    fn client(&self) -> Client {
        Client::new(ServerAddress::parse(&self.url, false).unwrap(), ClientOptions::default()).unwrap()
    }

    pub(crate) async fn sign_in(&self, supplier: &Supplier) -> Session {
        let signer = Arc::new(supplier.token.signer(supplier.signing.clone()));
        self.client().sign_in(Credentials::token(signer)).await.unwrap()
    }

    /// Hands a bid in; its receipt holds.
    pub(crate) async fn hand_in(&self, session: &Session, supplier: &Supplier) -> ReceiptFacts {
        let form = supplier.contact.as_object().unwrap().iter();
        let upload = Upload {
            project: PROJECT.parse().unwrap(),
            id: draw_upload_id(),
            purpose: UploadPurpose::Bid,
            form: form.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
            pieces: Arc::new(FilePieces::open(&supplier.sealed).unwrap()),
            request_bytes_max: u64::MAX,
        };
        match session.upload(&upload, &mut |_| {}).await.unwrap() {
            UploadVerdict::Received { receipt, .. } => verify_receipt(&receipt, &self.receipt_key).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Takes part in the opening until the record is published.
    pub(crate) fn unseal(
        &self,
        session: &Session,
        supplier: &Supplier,
    ) -> impl Future<Output = Result<Unsealed, UnsealFault>> + use<> {
        let unsealing = Unsealing {
            room: session.room(PROJECT.parse().unwrap()),
            header: None,
            own_certificates: vec![supplier.signing.fingerprint],
            keys: Some(supplier.token.clone()),
            backup: None,
            deadline_told: Some(self.deadline),
            stay: Stay::UntilPublished,
            report: Report::Always,
        };
        let running = actix_web::rt::spawn(async move { unsealing.run(&mut |_| {}).await });
        async { running.await.unwrap() }
    }

    /// What the client in another language is told to do as the agent.
    pub(crate) fn agents_task(&self) -> Value {
        json!({ "server": self.url, "project": PROJECT, "account": AGENT, "password": self.password })
    }

    /// What it is told to do as a supplier; key, certificate and form are left in files.
    pub(crate) fn suppliers_task(&self, supplier: &Supplier) -> Value {
        let file = |name: &str, bytes: &[u8]| {
            let path = self.folder().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        json!({
            "server": self.url,
            "project": PROJECT,
            "account": supplier.account,
            "signing_key": file("signing.key", supplier.signing_key.pkcs8()),
            "signing_certificate": file("signing.der", &supplier.signing.der),
            "bid": supplier.sealed,
            "backup": supplier.backup,
            "contact": file("contact.json", supplier.contact.to_string().as_bytes()),
        })
    }
}
