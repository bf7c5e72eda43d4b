//! Who plays: an agent, three suppliers whose bids are to stand, one who comes late; their tokens, their sealed bids,
//! and a server's folder in which all of them are known. Made once, copied for every play.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use kaibiao_bidder::{
    client::{Client, ClientOptions, Credentials, ServerAddress, Session},
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
};
use kaibiao_protocol::{blob::Blob, ids::ProjectId, moment::Moment, view::ProjectView};
use kaibiao_sealed::practice::{PracticeCa, SoftKey, Span, Usage, escaped};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::{Host, Turn, copy};

pub(crate) const PROJECT: &str = "KX-00823";
/// How long the record may be confirmed.
pub(crate) const CONFIRM_MINUTES: i64 = 10;
/// How long before the deadline the people are made known; a play begins at once after that, lest the time between
/// counts as an outage before the deadline.
const KNOWN_BEFORE_MINUTES: i64 = 12;
/// How much later than the last stamp of what was made known a play begins.
const PLAY_AFTER_MS: i64 = 5_000;
const AGENT: &str = "lin";

/// A supplier at its desk.
pub(crate) struct Supplier {
    pub(crate) organisation: &'static str,
    pub(crate) form: Vec<(String, String)>,
    pub(crate) token: Arc<PinnedToken>,
    pub(crate) signing: TokenCertificate,
    /// Its sealed bids, in the order in which they are handed in, and the backup of each beside it.
    pub(crate) bids: Vec<PathBuf>,
}

pub(crate) struct Cast {
    folder: TempDir,
    pub(crate) deadline: Moment,
    begins: Moment,
    pub(crate) suppliers: Vec<Supplier>,
    /// As every frame spells them.
    pub(crate) prices: Vec<String>,
    pub(crate) receipt_key: [u8; 32],
    password: String,
}

/// The bids each supplier seals, by the lots they are for: the first replaces its own, the second withdraws one and
/// comes again, the third needs its backup, the last is late. Only the first lot has three.
const PARTS: [(&str, &str, &[u16]); 4] = [
    ("mingde", "明德家具有限公司", &[2, 2]),
    ("jiangnan", "江南办公设备有限公司", &[1, 1]),
    ("yuanfang", "远方系统有限公司", &[1]),
    ("chidao", "迟到商贸有限公司", &[1]),
];

impl Cast {
    pub(crate) async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Over by every client's own clock.
        let deadline = Moment(now().0 / 1_000_000 * 1_000_000);
        let known = deadline.plus_ms(-60_000 * KNOWN_BEFORE_MINUTES);
        let mut cast = Self {
            folder,
            deadline,
            begins: known,
            suppliers: Vec::new(),
            prices: Vec::new(),
            receipt_key: [0; 32],
            password: draw_upload_id().to_string(),
        };
        let data = cast.folder.path().join("data");
        let started = Instant::now();
        let host = Host::start(&data, known, None).await;
        // Answered once there is a server.
        host.turn(Turn::Minutes(0)).await;
        cast.furnish(&host).await;
        let agent = cast.agent(&host.url()).await;
        let view = agent.project(&cast.project()).await.unwrap();
        cast.receipt_key = view.receipt_key.0.as_slice().try_into().unwrap();
        cast.people(&data, &view).await;
        assert!(host.stop().await);
        let took_ms = i64::try_from(started.elapsed().as_millis()).unwrap();
        cast.begins = known.plus_ms(took_ms + PLAY_AFTER_MS);
        cast
    }

    /// When the server's clock begins in every play.
    pub(crate) fn begins(&self) -> Moment {
        self.begins
    }

    pub(crate) fn project(&self) -> ProjectId {
        PROJECT.parse().unwrap()
    }

    /// A server's folder of its own, in which nothing has been handed in yet.
    pub(crate) fn stage(&self, to: &Path) {
        copy(&self.folder.path().join("data"), to);
    }

    pub(crate) async fn agent(&self, url: &str) -> Session {
        let credentials = Credentials::password(AGENT.parse().unwrap(), self.password.clone().into());
        client(url).sign_in(credentials).await.unwrap()
    }

    pub(crate) async fn supplier(&self, url: &str, no: usize) -> Session {
        let supplier = &self.suppliers[no];
        let signer = Arc::new(supplier.token.signer(supplier.signing.clone()));
        client(url).sign_in(Credentials::token(signer)).await.unwrap()
    }

    async fn furnish(&self, host: &Host) {
        let data = &host.folder;
        add(data, "binjiang", "滨江中学", "purchaser", None).await;
        add(data, "kaixin", "开信招标代理有限公司", "agency", Some((AGENT, "agent"))).await;
        order(data, json!({ "set_password": { "user": AGENT, "password": self.password } })).await;
        let spec = json!({
            "id": PROJECT, "name": "采购便携式计算机", "region": "浙江省本级", "kind": "exercise", "method": "open_tender",
            "purchaser": "binjiang", "organiser": "kaixin", "budget": "2400000.00", "deadline": self.deadline,
            "start": "at_deadline", "window_minutes": 30, "failure_grace_minutes": 10, "backup": "any_fault",
            "confirm_minutes": CONFIRM_MINUTES, "consortium_allowed": false, "rule_pack": "GP/1",
            "lots": {
                "1": { "name": "笔记本", "budget": "1200000.00", "price_kind": "total" },
                "2": { "name": "平板", "budget": "1200000.00", "price_kind": "total" },
            },
        });
        order(data, json!({ "create_project": { "spec": spec } })).await;
    }

    async fn people(&mut self, data: &Path, view: &ProjectView) {
        let day = 86_400_000;
        let span = Span { from: self.deadline.plus_ms(-day), until: self.deadline.plus_ms(day) };
        let authority = PracticeCa::new("Huixin", span.from, span.until).unwrap();
        let root = Blob(authority.root().to_vec());
        direct(
            data,
            json!({ "do": "add_root", "vendor": "huixin", "certificate": root, "intermediates": [] }),
        )
        .await;
        for (no, (organisation, name, bids)) in (1..).zip(PARTS) {
            let supplier = self.seal(no, organisation, name, bids, &authority, span, view);
            let account = format!("clerk-{no}");
            add(data, organisation, name, "supplier", Some((&account, "supplier"))).await;
            for certificate in supplier.token.token().certificates() {
                let certificate = Blob(certificate.der.clone());
                let bind = json!({ "do": "bind_certificate", "user": account, "certificate": certificate });
                direct(data, bind).await;
            }
            self.suppliers.push(supplier);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what tells one supplier from another")]
    fn seal(
        &mut self,
        no: u32,
        organisation: &'static str,
        name: &str,
        bids: &[u16],
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
        let folder = self.folder.path().to_owned();
        let mut sealed = Vec::new();
        for (turn, lots) in bids.iter().enumerate() {
            let file = |ending: &str| folder.join(format!("{organisation}-{turn}{ending}"));
            let sheets = sheets(no, *lots, turn > 0);
            let lots = sheets["lots"].as_object().unwrap();
            self.prices.extend(lots.values().map(|sheet| sheet["price"].as_str().unwrap().to_owned()));
            fs::write(file(".sheets"), sheets.to_string()).unwrap();
            let lines = [format!("投标人：{name}")];
            let paper =
                Paper { title: "资格文件", lines: &lines, pages: 1, bytes: 20_000, seed: no.into() };
            fs::write(file(".pdf"), paper.make().unwrap()).unwrap();
            let document: DocumentArgument =
                format!("qualification={}", file(".pdf").display()).parse().unwrap();
            let pack = PackJob {
                project: view.spec.id.clone(),
                supplier: organisation.parse().unwrap(),
                sheets: &file(".sheets"),
                documents: &[document],
                out: &file(".bfbs"),
            };
            pack.run(&mut |_, _| {}).unwrap();
            let seal = SealJob {
                package: &file(".bfbs"),
                out: &file(".jmbs"),
                target: view,
                token: &token,
                signing: &named(Purpose::Signing),
                encryption: &named(Purpose::Encryption),
                anew: false,
                now: self.deadline,
            };
            seal.run(&mut |_, _| {}).unwrap();
            sealed.push(file(".jmbs"));
        }
        let form = contact(no);
        let form = form.as_object().unwrap().iter();
        Supplier {
            organisation,
            form: form.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
            signing: named(Purpose::Signing),
            token,
            bids: sealed,
        }
    }
}

fn client(url: &str) -> Client {
    Client::new(ServerAddress::parse(url, false).unwrap(), ClientOptions::default()).unwrap()
}

/// Says one thing at the administrator's socket; it must be done.
pub(crate) async fn order(data: &Path, ask: Value) {
    administer(data, &ask).await.unwrap();
}

async fn direct(data: &Path, command: Value) {
    order(data, json!({ "directory": command })).await;
}

async fn add(data: &Path, organisation: &str, name: &str, kind: &str, account: Option<(&str, &str)>) {
    direct(data, json!({ "do": "add_organisation", "id": organisation, "name": name, "kind": kind })).await;
    if let Some((account, role)) = account {
        let user = json!({ "do": "add_user", "id": account, "organisation": organisation, "name": account, "roles": [role] });
        direct(data, user).await;
    }
}
