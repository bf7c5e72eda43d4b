//! The steps of an opening, each a piece of work apart from the actor that orders it: keys arriving, a bid being
//! unsealed, an order issued, the record published and signed.
//!
//! Every step ends in a command through the one door; what it decides on is committed state, and the engine
//! decides again. Nothing here logs, answers or journals anything of a bid's content but [`publish`].

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use kaibiao_engine::{
    keeper::{Done, Machine, SideSpace, SideWrite},
    project::{Bid, Project, ProjectMachine},
};
use kaibiao_protocol::{
    bid::{BidFacts, FailureCause, PartName},
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    event::ProjectEvent,
    ids::{BidId, CommandId, ProjectId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor, Role},
};
use kaibiao_sealed::{
    digest::sha256,
    envelope::{Envelope, EnvelopeFault, OneTimeKey},
    key::PartKey,
    order::{EnvelopeSuite, OpeningOrder, sign_order},
    platform_key::key_id,
    record::{record_digest, record_text, sign_record},
};
use zeroize::Zeroizing;

use crate::{
    command_ids::derived,
    files::Files,
    house::House,
    journal::{Journal, Stream},
    keeper_actor::read_all,
    keys::PlatformKeys,
    limits::RETRY,
    messages::{AskProject, ReleaseKeys},
    refusals::refuse,
    slot::Committed,
    stored_bid::{Failure, Sheets, StoredBid, diagnose, keys_from_bytes, keys_to_bytes, sheets_of},
    unsealing::{BidToCheck, CheckFault, PoolFull},
};

/// An order that can be answered: its one-time key lives here and nowhere else.
pub(crate) struct Serving {
    pub(crate) key: OneTimeKey,
    pub(crate) epoch: u32,
    pub(crate) text: String,
}

/// A bid whose keys fit, with what is needed to go on.
#[derive(Clone)]
pub(crate) struct Openable {
    pub(crate) bid: Arc<BidToCheck>,
    pub(crate) header_len: u64,
}

/// How unsealing a bid ended.
pub(crate) enum Unsealed {
    /// Every chunk is authentic and the package is whole.
    Whole(Sheets),
    /// It failed.
    Failed(Failure),
}

pub(crate) fn asker() -> Asker {
    Asker::Platform { reactor: Reactor::Opening }
}

/// The name of a command of the opening: what it is about, and the position of the record it reacts to.
fn command_id(project: &ProjectId, seq: u64, what: &str, bid: Option<BidId>) -> CommandId {
    let bid = bid.map_or([0; 16], |bid| bid.0);
    derived(&[b"opening", project.as_str().as_bytes(), what.as_bytes(), &bid, &seq.to_be_bytes()])
}

/// Asks until the answer is one: `busy` is none.
pub(crate) async fn ask_until_told(
    house: &House,
    mut ask: impl FnMut() -> AskProject,
) -> Result<Done, Refusal> {
    loop {
        match house.ask_project(ask()).await {
            Err(refusal) if refusal.code == RefusalCode::Busy && !house.is_stopping() => {
                tokio::time::sleep(RETRY).await;
            }
            told => return told,
        }
    }
}

/// The bid, if it is the asker's own.
pub(crate) fn own_bid<'a>(project: &'a Project, bid: &BidId, asker: &Asker) -> Result<&'a Bid, Refusal> {
    let own = |bid: &&Bid| match asker {
        Asker::Person { organisation, role: Role::Supplier, .. } => *organisation == bid.facts.supplier,
        Asker::Person { .. } | Asker::Platform { .. } => false,
    };
    project.bid(bid).filter(own).ok_or_else(|| refuse(RefusalCode::NoSuchBid))
}

/// Whether keys would be taken now, judged by the stamp of their arrival.
pub(crate) fn would_accept(project: &Project, keys: &ReleaseKeys, at: Moment) -> Result<(), Refusal> {
    let command = ProjectCommand::AcceptKeys { bid: keys.bid, epoch: keys.epoch, by_backup: keys.by_backup };
    ProjectMachine::decide(project, &command, &asker(), at).map(drop)
}

/// Opens an envelope, holds every key against its commitment, and makes the keys durable. Done means that the
/// supplier may leave.
pub(crate) async fn keep_keys(
    house: &House,
    committed: &Committed,
    serving: Arc<Serving>,
    keys: ReleaseKeys,
    at: Moment,
) -> Result<(Done, Openable), Refusal> {
    let project = &committed.project;
    let bid = project.bid(&keys.bid).ok_or_else(|| refuse(RefusalCode::NoSuchBid))?;
    let (facts, parts) = (bid.facts.clone(), project.parts_asked(&keys.bid));
    let (files, platform, project_id) = (house.files().clone(), house.keys().clone(), keys.project.clone());
    let envelope = Envelope { enc: keys.enc, ciphertext: keys.ciphertext };
    let errand = move || open_envelope(&*files, &platform, &project_id, &facts, &parts, &serving, &envelope);
    let opened = house.pool().run(errand).map_err(|PoolFull| {
        house.metrics().note_busy("unsealing");
        refuse(RefusalCode::Busy)
    })?;
    let opened = opened.await.map_err(|_| refuse(RefusalCode::Busy))?;
    let (openable, wrapped) = match opened {
        Ok(opened) => opened,
        Err(KeyTrouble::Envelope) => return Err(refuse(RefusalCode::EnvelopeInvalid)),
        Err(KeyTrouble::Failure(failure)) => {
            let code = match failure.cause {
                FailureCause::WrongKey => RefusalCode::WrongKey,
                _ => RefusalCode::SealedBidDamaged,
            };
            let told = report_failure(house, &keys.project, committed.seq, keys.bid, failure, at).await;
            return Err(told.err().unwrap_or_else(|| refuse(code)));
        }
    };
    let command = ProjectCommand::AcceptKeys { bid: keys.bid, epoch: keys.epoch, by_backup: keys.by_backup };
    let done = house
        .ask_project(AskProject {
            project: keys.project.clone(),
            asker: asker(),
            at: Some(at),
            command_id: Some(command_id(&keys.project, committed.seq, "accept", Some(keys.bid))),
            command,
            side: vec![SideWrite::Put {
                space: SideSpace::PartKeys,
                key: key_name(&keys.project, &keys.bid),
                value: Zeroizing::new(wrapped),
            }],
        })
        .await?;
    Ok((done, openable))
}

enum KeyTrouble {
    /// The envelope is not for this order and bid; nobody's failure.
    Envelope,
    Failure(Failure),
}

type Opened = (Openable, Vec<u8>);

fn open_envelope(
    files: &dyn Files,
    platform: &PlatformKeys,
    project: &ProjectId,
    facts: &BidFacts,
    parts: &[PartName],
    serving: &Serving,
    envelope: &Envelope,
) -> Result<Opened, KeyTrouble> {
    let keys = serving.key.open(&serving.text, envelope, &facts.statement_digest, parts).map_err(
        |fault| match fault {
            EnvelopeFault::Malformed | EnvelopeFault::DoesNotOpen | EnvelopeFault::NotSealed => {
                KeyTrouble::Envelope
            }
        },
    )?;
    let keys: Vec<(PartName, PartKey)> = parts.iter().copied().zip(keys).collect();
    let openable = open_stored(files, facts, &keys).map_err(KeyTrouble::Failure)?;
    let name = key_name(project, &facts.bid);
    Ok((openable, platform.store.wrap(KEPT_KEYS, &name, &keys_to_bytes(&keys))))
}

fn open_stored(
    files: &dyn Files,
    facts: &BidFacts,
    keys: &[(PartName, PartKey)],
) -> Result<Openable, Failure> {
    let stored = StoredBid::load(files, facts)?;
    Ok(Openable { header_len: stored.header_len(), bid: Arc::new(stored.opened_by(keys)?) })
}

/// What the store key is told the keys are.
const KEPT_KEYS: &str = "part keys";

/// Under which name a bid's kept keys lie.
fn key_name(project: &ProjectId, bid: &BidId) -> String {
    format!("{project}/{bid}")
}

/// A bid whose keys are kept, opened again from the side table: after a crash, or once its bytes are restored.
pub(crate) async fn from_kept_keys(
    house: &House,
    project: &ProjectId,
    facts: Arc<BidFacts>,
    parts: Vec<PartName>,
) -> Option<Result<Openable, Failure>> {
    let (journal, files, platform, project) =
        (house.journal().clone(), house.files().clone(), house.keys().clone(), project.clone());
    let errand = move || {
        let ours = |seen: &str| Failure::new(FailureCause::PlatformFault, seen);
        let name = key_name(&project, &facts.bid);
        let wrapped = journal
            .side(SideSpace::PartKeys, &name)
            .map_err(|_| ours("the kept keys cannot be read"))?
            .ok_or_else(|| ours("the kept keys are gone"))?;
        let bytes = platform
            .store
            .unwrap(KEPT_KEYS, &name, &wrapped)
            .map_err(|_| ours("the kept keys cannot be unwrapped"))?;
        let mut keys = keys_from_bytes(&bytes).ok_or_else(|| ours("the kept keys are malformed"))?;
        keys.retain(|(part, _)| parts.contains(part));
        if keys.len() != parts.len() {
            return Err(ours("keys of parts being opened are not among those kept"));
        }
        open_stored(&*files, &facts, &keys)
    };
    when_there_is_room(house, || house.pool().run(errand.clone())).await
}

/// Checks every chunk of a bid, then reads its sheets.
pub(crate) async fn unseal(
    house: &House,
    committed: &Committed,
    facts: Arc<BidFacts>,
    openable: Openable,
) -> Option<Unsealed> {
    let checked = when_there_is_room(house, || house.pool().submit(openable.bid.clone())).await?;
    match checked {
        Ok(()) => match read_sheets(house, committed.project.clone(), facts, openable).await? {
            Ok(sheets) => Some(Unsealed::Whole(sheets)),
            Err(failure) => Some(Unsealed::Failed(failure)),
        },
        Err(fault) => Some(Unsealed::Failed(whose_damage(house, facts, openable, fault).await?)),
    }
}

/// Reads the sheets of a bid whose chunks were checked.
pub(crate) async fn read_sheets(
    house: &House,
    project: Arc<Project>,
    facts: Arc<BidFacts>,
    openable: Openable,
) -> Option<Result<Sheets, Failure>> {
    let errand = move || sheets_of(&openable.bid, &facts, &project);
    when_there_is_room(house, || house.pool().run(errand.clone())).await
}

/// Off the pool: hashing a large part must not hold up the others.
async fn whose_damage(
    house: &House,
    facts: Arc<BidFacts>,
    openable: Openable,
    fault: CheckFault,
) -> Option<Failure> {
    let _turn = house.diagnoses().acquire().await.ok()?;
    let hashing = tokio::task::spawn_blocking(move || {
        diagnose(&*openable.bid.file, openable.header_len, &facts, &fault)
    });
    hashing.await.ok()
}

/// Gives work to the pool as soon as it takes it; none if the pool ended or the work died of a bug.
async fn when_there_is_room<T>(
    house: &House,
    mut give: impl FnMut() -> Result<tokio::sync::oneshot::Receiver<T>, PoolFull>,
) -> Option<T> {
    loop {
        match give() {
            Ok(coming) => return coming.await.ok(),
            Err(PoolFull) => {
                house.metrics().note_busy("unsealing");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Records a failure. What was recorded of the same bid before may already say it.
pub(crate) async fn report_failure(
    house: &House,
    project: &ProjectId,
    seq: u64,
    bid: BidId,
    failure: Failure,
    at: Moment,
) -> Result<Done, Refusal> {
    let Failure { cause, evidence } = failure;
    tracing::warn!(%project, %bid, ?cause, seen = %evidence.seen, "a bid does not open");
    house.metrics().note_failure(cause);
    ask_until_told(house, || AskProject {
        project: project.clone(),
        asker: asker(),
        at: Some(at),
        command_id: Some(command_id(project, seq, &format!("failure {cause:?}"), Some(bid))),
        command: ProjectCommand::ReportFailure { bid, cause, evidence: evidence.clone() },
        side: Vec::new(),
    })
    .await
}

/// Records that a bid is unsealed.
pub(crate) async fn report_unsealed(
    house: &House,
    project: &ProjectId,
    seq: u64,
    bid: BidId,
) -> Result<Done, Refusal> {
    ask_until_told(house, || AskProject {
        command_id: Some(command_id(project, seq, "unsealed", Some(bid))),
        ..AskProject::new(project.clone(), asker(), ProjectCommand::ReportUnsealed { bid })
    })
    .await
}

/// Puts an order with a fresh one-time key in force. `down_since` where the key before died with its process.
pub(crate) async fn issue_order(
    house: &House,
    committed: &Committed,
    down_since: Option<Moment>,
) -> Result<Serving, Refusal> {
    let project = &committed.project;
    let spec = project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?.clone();
    let key = OneTimeKey::generate().map_err(|_| refuse(RefusalCode::Busy))?;
    let epoch = project.order().map_or(0, |order| order.epoch) + 1;
    let start_signature = start_signature(house, &spec.id).await;
    let at = house.clock().now();
    let opened = project.lots().into_iter().flatten().filter(|(_, count)| count.opens);
    let order = OpeningOrder {
        project: spec.id.clone(),
        kind: spec.kind,
        deadline: spec.deadline,
        epoch,
        lots: opened.map(|(lot, _)| *lot).collect(),
        opening_key: key_id(house.keys().opening.public()),
        suite: EnvelopeSuite::X25519Sha256Aes256Gcm,
        hpke_public_key: Blob(key.public().to_vec()),
        start_signature,
        issued_at: at,
        window_closes_at: project.order_window(at, down_since)?,
    };
    let text = order.text();
    let signature = sign_order(&text, &house.keys().opening).to_vec();
    let command = ProjectCommand::IssueOrder { epoch, order: text.clone(), signature, down_since };
    // No derived name: an order is issued once, for its key lives in this process only.
    house
        .ask_project(AskProject { at: Some(at), ..AskProject::new(spec.id.clone(), asker(), command) })
        .await?;
    house.metrics().orders.inc();
    Ok(Serving { key, epoch, text })
}

/// The digest of the agent's signature over the start, where a person started the opening.
async fn start_signature(house: &House, project: &ProjectId) -> Option<Digest> {
    let (journal, stream) = (house.journal().clone(), Stream::Project(project.clone()));
    let reading = tokio::task::spawn_blocking(move || {
        let mut signed = None;
        let read = read_all::<ProjectMachine>(&*journal, &stream, 0, |record, _| {
            if let ProjectEvent::OpeningStarted { signature: Some(signature), .. } = record.event {
                signed = Some(sha256(&signature.0));
            }
        });
        read.ok().and(signed)
    });
    reading.await.ok().flatten()
}

/// Until when the opening is known to have been served, before this process or this actor took over.
pub(crate) async fn served_until(house: &House, project: &ProjectId) -> Option<Moment> {
    let (journal, name) = (house.journal().clone(), project.to_string());
    let reading = tokio::task::spawn_blocking(move || journal.side(SideSpace::Served, &name).ok().flatten());
    let noted = reading.await.ok().flatten();
    let noted = noted.and_then(|bytes| bytes.as_slice().try_into().ok()).map(i64::from_be_bytes).map(Moment);
    // Whatever was stamped by the process before was stamped while it served.
    noted.max(house.served_before())
}

/// Notes that the opening is served now. Not waited for: a note that is lost makes an outage seem longer.
pub(crate) fn note_served(house: &House, project: &ProjectId, at: Moment) {
    let put = SideWrite::Put {
        space: SideSpace::Served,
        key: project.to_string(),
        value: Zeroizing::new(at.0.to_be_bytes().to_vec()),
    };
    drop(house.journal().append(crate::journal::Append::side_only(Stream::Platform, vec![put])));
}

/// The barrier: publishes the records of all lots by one event.
pub(crate) async fn publish(
    house: &House,
    committed: &Committed,
    sheets: BTreeMap<BidId, Sheets>,
) -> Result<Done, Refusal> {
    let spec = committed.project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?;
    let started = Instant::now();
    let done = house
        .ask_project(AskProject {
            command_id: Some(command_id(&spec.id, committed.seq, "publish", None)),
            ..AskProject::new(spec.id.clone(), asker(), ProjectCommand::PublishRecords { sheets })
        })
        .await?;
    house.metrics().barrier_seconds.observe(started.elapsed().as_secs_f64());
    Ok(done)
}

/// Signs the published record and keeps its exact text.
pub(crate) async fn sign(house: &House, committed: &Committed) -> Result<Done, Refusal> {
    let spec = committed.project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?.clone();
    let record = committed.project.record().ok_or_else(|| refuse(RefusalCode::NotPublished))?.clone();
    let (keys, id) = (house.keys().clone(), spec.id.clone());
    let signing = tokio::task::spawn_blocking(move || {
        let text = record_text(&spec, &record);
        (record_digest(&text), sign_record(&text, &keys.receipt).to_vec(), text)
    });
    let (digest, signature, text) = signing.await.map_err(|_| refuse(RefusalCode::Busy))?;
    house
        .ask_project(AskProject {
            command_id: Some(command_id(&id, committed.seq, "sign", None)),
            side: vec![SideWrite::Put {
                space: SideSpace::Receipt,
                key: record_name(&id),
                value: Zeroizing::new(text.into_bytes()),
            }],
            ..AskProject::new(id.clone(), asker(), ProjectCommand::SignRecord { digest, signature })
        })
        .await
}

fn record_name(project: &ProjectId) -> String {
    format!("{project}/record")
}

/// The exact text that was signed: as it is kept, or made anew where it still has the signed digest. Blocks.
pub(crate) fn signed_text(journal: &dyn Journal, id: &ProjectId, project: &Project) -> Option<String> {
    let signed = project.record_signature()?.digest;
    let kept = journal.side(SideSpace::Receipt, &record_name(id)).ok().flatten();
    let kept = kept.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
    let made = || Some(record_text(project.spec()?, project.record()?));
    kept.filter(|text| record_digest(text) == signed)
        .or_else(made)
        .filter(|text| record_digest(text) == signed)
}
