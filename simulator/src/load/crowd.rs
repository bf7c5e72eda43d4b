//! The crowd: suppliers with soft tokens, packed bids, accounts and a project.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use indicatif::ProgressBar;
use kaibiao_bidder::{
    clock::now,
    pack::{DocumentArgument, PackJob},
    practice::{
        PracticeVendor, TokenKind, TokenShop,
        forms::{contact, sheets},
        papers::Paper,
        server::administer,
    },
    signer::PinnedToken,
    token::{PinSource, Purpose, Token, TokenCertificate, certificate_for},
};
use kaibiao_protocol::{blob::Blob, ids::ProjectId, moment::Moment};
use kaibiao_sealed::practice::{SoftKey, Span};
use serde_json::{Map, Value, json};

use super::{LoadFault, Plan};

/// How many RSA keys the crowd shares: making thousands would take longer than the load.
const KEYS: usize = 8;
/// Pages of a document.
const PAGES: u32 = 8;

/// A supplier before its day.
pub(super) struct Member {
    /// Its number, from 1.
    pub(super) no: u32,
    /// Its organisation.
    pub(super) organisation: String,
    /// Its account.
    account: String,
    /// Its token, whose keys lie in this process's memory.
    pub(super) token: Arc<PinnedToken>,
    /// The certificate that signs.
    pub(super) signing: TokenCertificate,
    /// The certificate that bid keys are wrapped to.
    pub(super) encryption: TokenCertificate,
    /// Its packed bid.
    pub(super) package: PathBuf,
    /// Its form.
    pub(super) form: Vec<(String, String)>,
}

/// Everybody.
pub(super) struct Crowd {
    /// The suppliers.
    pub(super) members: Vec<Member>,
    /// The project.
    pub(super) project: ProjectId,
    lots: u16,
    roots: Vec<(&'static str, Vec<u8>)>,
    tag: String,
}

impl Crowd {
    /// Makes tokens and packages.
    pub(super) async fn make(plan: &Plan, work: &Path, bar: &ProgressBar) -> Result<Self, LoadFault> {
        let (suppliers, lots, bid_mb, seed) = (plan.suppliers, plan.lots, plan.bid_mb, plan.seed);
        let (work, bar) = (work.to_owned(), bar.clone());
        let made = tokio::task::spawn_blocking(move || make(suppliers, lots, bid_mb, seed, &work, &bar));
        made.await.expect("making the crowd does not panic")
    }

    /// Organisations, accounts, roots and bindings, over the server's administration.
    pub(super) async fn set_up(&self, data: &Path, bar: &ProgressBar) -> Result<(), LoadFault> {
        for (vendor, root) in &self.roots {
            let certificate = Blob(root.clone());
            let add = json!({ "do": "add_root", "vendor": vendor, "certificate": certificate, "intermediates": [] });
            administer(data, &json!({ "directory": add })).await?;
        }
        for (id, name, kind) in [
            (self.name("purchaser"), "演练采购人", "purchaser"),
            (self.name("agency"), "演练代理机构", "agency"),
        ] {
            let add = json!({ "do": "add_organisation", "id": id, "name": name, "kind": kind });
            administer(data, &json!({ "directory": add })).await?;
        }
        for member in &self.members {
            let (organisation, account) = (&member.organisation, &member.account);
            let name = format!("演练供应商{}", member.no);
            let mut asks = vec![
                json!({ "do": "add_organisation", "id": organisation, "name": name, "kind": "supplier" }),
                json!({ "do": "add_user", "id": account, "organisation": organisation, "name": name, "roles": ["supplier"] }),
            ];
            for certificate in [&member.signing, &member.encryption] {
                let certificate = Blob(certificate.der.clone());
                asks.push(json!({ "do": "bind_certificate", "user": account, "certificate": certificate }));
            }
            for ask in asks {
                administer(data, &json!({ "directory": ask })).await?;
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// The project, with about this deadline; tells the exact one.
    pub(super) async fn create_project(&self, data: &Path, deadline: Moment) -> Result<Moment, LoadFault> {
        let deadline = Moment(deadline.0 / 1_000_000 * 1_000_000);
        let lots: Map<String, Value> = (1..=self.lots)
            .map(|lot| {
                let name = format!("演练标项{lot}");
                (lot.to_string(), json!({ "name": name, "budget": "5000000.00", "price_kind": "total" }))
            })
            .collect();
        let spec = json!({
            "id": self.project,
            "name": "负荷演练",
            "region": "演练市",
            "kind": "exercise",
            "method": "open_tender",
            "purchaser": self.name("purchaser"),
            "organiser": self.name("agency"),
            "budget": format!("{}.00", 5_000_000 * u32::from(self.lots)),
            "deadline": deadline,
            "start": "at_deadline",
            "window_minutes": 30,
            "failure_grace_minutes": 1,
            "backup": "any_fault",
            "confirm_minutes": 1,
            "consortium_allowed": false,
            "rule_pack": "GP/1",
            "lots": lots,
        });
        administer(data, &json!({ "create_project": { "spec": spec } })).await?;
        Ok(deadline)
    }

    fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.tag)
    }
}

fn make(
    suppliers: u32,
    lots: u16,
    bid_mb: u32,
    seed: u64,
    work: &Path,
    bar: &ProgressBar,
) -> Result<Crowd, LoadFault> {
    let today = now();
    // Names of their own, so that a running server can be loaded again.
    let tag = format!("{:x}", today.0);
    let project: ProjectId =
        format!("FH-{tag}").parse().map_err(|_| LoadFault::Bid("the project's number".to_owned()))?;
    let keys: Vec<SoftKey> = (0..KEYS)
        .map(|_| SoftKey::generate())
        .collect::<Result<_, _>>()
        .map_err(|fault| LoadFault::Bid(fault.to_string()))?;
    let mut turn = 0;
    let span = Span { from: today.plus_ms(-3_600_000), until: today.plus_minutes(7 * 24 * 60) };
    let mut shop = TokenShop::with_keys(&work.join("tokens"), TokenKind::Files, span, move || {
        turn += 1;
        SoftKey::from_pkcs8(keys[turn % KEYS].pkcs8())
    })?;
    let documents = documents(work, lots, bid_mb, seed)?;
    let bids = work.join("bids");
    fs::create_dir_all(&bids).map_err(|source| LoadFault::File { path: bids.clone(), source })?;
    let mut members = Vec::new();
    for no in 1..=suppliers {
        let organisation = format!("supplier-{no:04}-{tag}");
        let vendor = PracticeVendor::ALL[no as usize % PracticeVendor::ALL.len()];
        let token = shop.add_supplier(&format!("演练供应商{no}"), vendor)?;
        let token: Arc<dyn Token> =
            Arc::new(token.in_memory().map_err(|fault| LoadFault::Bid(fault.to_string()))?);
        let certificate = |purpose| {
            certificate_for(token.as_ref(), purpose, None, now())
                .map_err(|fault| LoadFault::Bid(fault.to_string()))
        };
        let (signing, encryption) = (certificate(Purpose::Signing)?, certificate(Purpose::Encryption)?);
        let sheet = bids.join(format!("{no}.json"));
        let package = bids.join(format!("{no}.bfbs"));
        fs::write(&sheet, sheets(no, lots, false).to_string())
            .map_err(|source| LoadFault::File { path: sheet.clone(), source })?;
        let supplier = organisation.parse().map_err(|_| LoadFault::Bid("a supplier's id".to_owned()))?;
        let job = PackJob {
            project: project.clone(),
            supplier,
            sheets: &sheet,
            documents: &documents,
            out: &package,
        };
        job.run(&mut |_, _| {}).map_err(|fault| LoadFault::Bid(fault.to_string()))?;
        let form = contact(no);
        let form = form.as_object().into_iter().flatten();
        let form =
            form.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        members.push(Member {
            no,
            account: format!("clerk-{no:04}-{tag}"),
            organisation,
            token: Arc::new(PinnedToken::new(token, PinSource::Prompt)),
            signing,
            encryption,
            package,
            form,
        });
        bar.inc(1);
    }
    let roots =
        PracticeVendor::ALL.map(|vendor| (vendor.name(), shop.authority(vendor).root().to_vec())).to_vec();
    Ok(Crowd { members, project, lots, roots, tag })
}

/// The documents of every bid: the same for all, for what is measured does not look into them.
fn documents(work: &Path, lots: u16, bid_mb: u32, seed: u64) -> Result<Vec<DocumentArgument>, LoadFault> {
    let bytes = bid_mb as usize * 1024 * 1024 / (1 + usize::from(lots));
    let mut documents = Vec::new();
    for lot in 0..=lots {
        let title =
            if lot == 0 { "资格文件".to_owned() } else { format!("标项{lot}商务技术文件") };
        let lines = ["负荷演练".to_owned()];
        let paper =
            Paper { title: &title, lines: &lines, pages: PAGES, bytes, seed: seed << 16 | u64::from(lot) };
        let path = work.join(format!("{title}.pdf"));
        let made = paper.make().map_err(|fault| LoadFault::Bid(fault.to_string()))?;
        fs::write(&path, made).map_err(|source| LoadFault::File { path: path.clone(), source })?;
        let kind = if lot == 0 { "qualification".to_owned() } else { format!("{lot}:commercial-technical") };
        let argument = format!("{kind}={}", path.display());
        documents.push(argument.parse().map_err(|_| LoadFault::Bid("a document's name".to_owned()))?);
    }
    Ok(documents)
}
