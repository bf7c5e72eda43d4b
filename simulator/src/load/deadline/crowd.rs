//! The crowd of the deadline second: accounts, certificates, sealed bids, sessions.

use std::{convert::Infallible, io::Cursor, path::Path, sync::Arc, thread};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::ProgressBar;
use kaibiao_bidder::{
    client::{Client, Credentials},
    clock::now,
    practice::server::administer,
    signer::{Signer, UseFault},
};
use kaibiao_protocol::{
    bid::PartName,
    blob::Blob,
    ids::{LotNo, OrganisationId, ProjectId},
    moment::Moment,
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    key::BidKey,
    platform_key::PUBLIC_KEY_BYTES,
    practice::{PracticeCa, SoftKey, Span, Usage},
    wrap::{WrapAlgorithm, wrap_to},
    writer::{ClearPart, Sealing},
};
use serde_json::{Value, json};

use super::{super::LoadFault, TOGETHER};

/// How many RSA keys the crowd shares.
const KEYS: usize = 8;
/// Connections to the administration at once.
const ADMINISTER_TOGETHER: usize = 12;
/// What a sealed bid has beside its parts' bytes, about.
const HEADER_BYTES: usize = 8 << 10;

/// A supplier before the second.
pub(super) struct Member {
    pub(super) organisation: OrganisationId,
    account: String,
    pub(super) project: ProjectId,
    /// For signing and for encryption.
    certificate: Vec<u8>,
    key: Arc<SoftKey>,
}

/// Everybody.
pub(super) struct Crowd {
    pub(super) members: Vec<Member>,
    projects: Vec<ProjectId>,
    root: Vec<u8>,
    tag: String,
}

/// The platform's public keys.
#[derive(Clone)]
pub(super) struct PlatformKeys {
    opening: Vec<u8>,
    pub(super) receipt: [u8; PUBLIC_KEY_BYTES],
}

impl Crowd {
    /// Issues certificates.
    pub(super) async fn make(suppliers: u32, projects: u32, bar: &ProgressBar) -> Result<Self, LoadFault> {
        let bar = bar.clone();
        let made = tokio::task::spawn_blocking(move || make(suppliers, projects, &bar));
        made.await.expect("making the crowd does not panic")
    }

    /// Organisations, accounts and bindings, over the server's administration.
    pub(super) async fn set_up(&self, data: &Path, bar: &ProgressBar) -> Result<(), LoadFault> {
        let root = Blob(self.root.clone());
        let add = json!({ "do": "add_root", "vendor": "huixin", "certificate": root, "intermediates": [] });
        administer(data, &json!({ "directory": add })).await?;
        for (id, name, kind) in [
            (self.name("purchaser"), "演练采购人", "purchaser"),
            (self.name("agency"), "演练代理机构", "agency"),
        ] {
            let add = json!({ "do": "add_organisation", "id": id, "name": name, "kind": kind });
            administer(data, &json!({ "directory": add })).await?;
        }
        stream::iter(self.members.iter().enumerate())
            .map(|(no, member)| async move {
                let (organisation, account) = (&member.organisation, &member.account);
                let name = format!("演练供应商{}", no + 1);
                let certificate = Blob(member.certificate.clone());
                for ask in [
                    json!({ "do": "add_organisation", "id": organisation, "name": name, "kind": "supplier" }),
                    json!({ "do": "add_user", "id": account, "organisation": organisation, "name": name, "roles": ["supplier"] }),
                    json!({ "do": "bind_certificate", "user": account, "certificate": certificate }),
                ] {
                    administer(data, &json!({ "directory": ask })).await?;
                }
                bar.inc(1);
                Ok::<(), LoadFault>(())
            })
            .buffer_unordered(ADMINISTER_TOGETHER)
            .try_collect()
            .await
    }

    /// The platform's keys, as a supplier sees them in a project. That project is for this alone.
    pub(super) async fn platform_keys(
        &self,
        client: &Client,
        data: &Path,
    ) -> Result<PlatformKeys, LoadFault> {
        let id: ProjectId = format!("FH-{}-0", self.tag).parse().map_err(|_| bad("a project's number"))?;
        self.create_project(data, &id, now().plus_minutes(60 * 24)).await?;
        let first = &self.members[0];
        let session = client.sign_in(Credentials::token(Arc::new(SoftSigner::of(first)))).await?;
        let seen = session.project(&id).await?;
        let receipt =
            seen.receipt_key.0.as_slice().try_into().map_err(|_| bad("the platform's receipt key"))?;
        Ok(PlatformKeys { opening: seen.opening_key.0, receipt })
    }

    /// Seals everybody's bid.
    pub(super) async fn seal(
        self: &Arc<Self>,
        keys: &PlatformKeys,
        bid_kb: u32,
        seed: u64,
        bar: &ProgressBar,
    ) -> Result<Vec<Vec<u8>>, LoadFault> {
        let (crowd, keys, bar) = (self.clone(), keys.clone(), bar.clone());
        let sealed = tokio::task::spawn_blocking(move || {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            let share = crowd.members.len().div_ceil(threads);
            thread::scope(|scope| {
                let (keys, bar) = (&keys, &bar);
                let shares: Vec<_> = crowd
                    .members
                    .chunks(share)
                    .map(|members| {
                        scope.spawn(move || {
                            let sealed = members.iter().map(|member| {
                                bar.inc(1);
                                member.seal(keys, bid_kb as usize * 1_024, seed)
                            });
                            sealed.collect::<Result<Vec<_>, _>>()
                        })
                    })
                    .collect();
                let mut all = Vec::with_capacity(crowd.members.len());
                for share in shares {
                    all.extend(share.join().expect("sealing does not panic")?);
                }
                Ok(all)
            })
        });
        sealed.await.expect("sealing does not panic")
    }

    /// A session's secret for the `no`-th supplier.
    pub(super) async fn sign_in(&self, no: usize, client: &Client) -> Result<String, LoadFault> {
        let signer = Arc::new(SoftSigner::of(&self.members[no]));
        let session = client.sign_in(Credentials::token(signer)).await?;
        let stored =
            serde_json::to_value(session.stored()).map_err(|fault| LoadFault::Bid(fault.to_string()))?;
        stored["session"].as_str().map(str::to_owned).ok_or_else(|| bad("a session"))
    }

    /// The projects, with about this deadline; tells the exact one.
    pub(super) async fn create_projects(&self, data: &Path, deadline: Moment) -> Result<Moment, LoadFault> {
        let deadline = Moment(deadline.0 / 1_000_000 * 1_000_000);
        stream::iter(&self.projects)
            .map(|id| self.create_project(data, id, deadline))
            .buffer_unordered(ADMINISTER_TOGETHER.min(TOGETHER))
            .try_collect::<()>()
            .await?;
        Ok(deadline)
    }

    async fn create_project(&self, data: &Path, id: &ProjectId, deadline: Moment) -> Result<(), LoadFault> {
        let lot = json!({ "name": "演练标项1", "budget": "5000000.00", "price_kind": "total" });
        let spec: Value = json!({
            "id": id,
            "name": "截止秒演练",
            "region": "演练市",
            "kind": "exercise",
            "method": "open_tender",
            "purchaser": self.name("purchaser"),
            "organiser": self.name("agency"),
            "budget": "5000000.00",
            "deadline": deadline,
            "start": "on_agent_start",
            "window_minutes": 30,
            "failure_grace_minutes": 1,
            "backup": "any_fault",
            "confirm_minutes": 1,
            "consortium_allowed": false,
            "rule_pack": "GP/1",
            "lots": { "1": lot },
        });
        administer(data, &json!({ "create_project": { "spec": spec } })).await?;
        Ok(())
    }

    fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.tag)
    }
}

impl Member {
    fn seal(&self, keys: &PlatformKeys, bytes: usize, seed: u64) -> Result<Vec<u8>, LoadFault> {
        let fault = |fault: &dyn std::fmt::Display| LoadFault::Bid(fault.to_string());
        let key = BidKey::draw();
        let wrap = WrapAlgorithm::RsaOaepSha256;
        let certificate = sha256(&self.certificate);
        let lot = LotNo::new(1).ok_or_else(|| bad("a lot's number"))?;
        let binding = Binding {
            format: BindingFormat::V1,
            project: self.project.clone(),
            supplier: self.organisation.clone(),
            lots: [lot].into(),
            signing_certificate: certificate,
            encryption_certificate: certificate,
            opening_key: sha256(&keys.opening),
            suite: Suite::Cobblestone256,
            wrap,
            wrapped_key: Blob(wrap_to(&self.certificate, wrap, key.expose()).map_err(|told| fault(&told))?),
        };
        // Of no use to anybody who opened it: what is measured never looks inside.
        let clear = vec![seed.to_le_bytes()[0]; bytes.saturating_sub(HEADER_BYTES) / 2];
        let part =
            |part| ClearPart { part, bytes: clear.len() as u64, source: Box::new(Cursor::new(&clear)) };
        let mut out = Cursor::new(Vec::with_capacity(bytes + HEADER_BYTES));
        let mut sign = |message: &[u8]| Ok::<_, Infallible>(self.key.sign(message));
        Sealing { binding: &binding, key: &key, signing_certificate: &self.certificate }
            .seal(vec![part(PartName::Common), part(PartName::Lot(lot))], &mut sign, &mut out, &mut |_| ())
            .map_err(|told| fault(&told))?;
        Ok(out.into_inner())
    }
}

/// A key of practice as what signs a challenge.
struct SoftSigner {
    certificate: Vec<u8>,
    key: Arc<SoftKey>,
}

impl SoftSigner {
    fn of(member: &Member) -> Self {
        Self { certificate: member.certificate.clone(), key: member.key.clone() }
    }
}

impl Signer for SoftSigner {
    fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, UseFault> {
        Ok(self.key.sign(message))
    }
}

fn make(suppliers: u32, projects: u32, bar: &ProgressBar) -> Result<Crowd, LoadFault> {
    let fault = |told: kaibiao_sealed::practice::PracticeFault| LoadFault::Bid(told.to_string());
    let today = now();
    let tag = format!("{:x}", today.0);
    let span = Span { from: today.plus_ms(-3_600_000), until: today.plus_minutes(7 * 24 * 60) };
    let authority = PracticeCa::new("Huixin", span.from, span.until).map_err(fault)?;
    let keys: Vec<Arc<SoftKey>> =
        (0..KEYS).map(|_| SoftKey::generate().map(Arc::new)).collect::<Result<_, _>>().map_err(fault)?;
    let projects: Vec<ProjectId> = (1..=projects)
        .map(|no| format!("FH-{tag}-{no}").parse().map_err(|_| bad("a project's number")))
        .collect::<Result<_, _>>()?;
    let mut members = Vec::with_capacity(suppliers as usize);
    for no in 0..suppliers {
        let key = keys[no as usize % KEYS].clone();
        let subject = format!("CN=Rehearsal {no},O=Rehearsal,C=CN");
        let serial = u64::from(no) + 2;
        let certificate =
            authority.issue(&subject, &key.public_key(), serial, Usage::Both, span).map_err(fault)?;
        members.push(Member {
            organisation: format!("supplier-{no:05}-{tag}").parse().map_err(|_| bad("a supplier's id"))?,
            account: format!("clerk-{no:05}-{tag}"),
            project: projects[no as usize % projects.len()].clone(),
            certificate,
            key,
        });
        bar.inc(1);
    }
    Ok(Crowd { members, projects, root: authority.root().to_vec(), tag })
}

fn bad(what: &str) -> LoadFault {
    LoadFault::Bid(what.to_owned())
}
