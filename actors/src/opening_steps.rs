//! The steps of an opening that need keys, files or the pool: an envelope opened, a bid unsealed, an order issued,
//! the record signed. When each is done, and what is said of its end, the engine's machine decides.
//!
//! Nothing here logs, answers or journals anything of a bid's content but the one command that publishes it.

use std::{sync::Arc, time::Instant};

use kaibiao_engine::{
    keeper::{Done, SideSpace, SideWrite},
    project::{Project, ProjectMachine},
    reaction::opening::{
        ASKER, BEAT_MS, CommandName, EnvelopeEnd, OpeningAsk, OpeningStep, OrderFacts, order_facts,
    },
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
    messages::AskProject,
    refusals::refuse,
    slot::{Committed, Slot},
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

/// Gives a command of the opening to its project, under the name that the machine gave it.
pub(crate) async fn ask(
    house: &House,
    slot: &Slot,
    asked: OpeningAsk,
    wrapped: Option<Vec<u8>>,
) -> Result<Done, Refusal> {
    let OpeningAsk { step, name, at, after_envelopes, command } = asked;
    if after_envelopes {
        slot.envelopes.drained().await;
    }
    let started = Instant::now();
    let id = &slot.id;
    let keys = wrapped.zip(name.bid).map(|(wrapped, bid)| SideWrite::Put {
        space: SideSpace::PartKeys,
        key: key_name(id, &bid),
        value: Zeroizing::new(wrapped),
    });
    let done = house
        .ask_project(AskProject {
            project: id.clone(),
            asker: ASKER,
            at,
            command_id: Some(command_id(id, &name)),
            command,
            side: keys.into_iter().collect(),
        })
        .await?;
    if step == OpeningStep::Publish {
        house.metrics().barrier_seconds.observe(started.elapsed().as_secs_f64());
    }
    Ok(done)
}

fn command_id(project: &ProjectId, name: &CommandName) -> CommandId {
    let pieces = name.pieces(project);
    derived(&pieces.each_ref().map(Vec::as_slice))
}

/// Opens an envelope and holds every key against its commitment. Gives what is needed to go on, and the keys as
/// they are to be kept.
pub(crate) async fn open_envelope(
    house: &House,
    project: ProjectId,
    facts: Arc<BidFacts>,
    parts: Vec<PartName>,
    serving: Arc<Serving>,
    enc: Vec<u8>,
    ciphertext: Vec<u8>,
) -> Result<(Openable, Vec<u8>), EnvelopeEnd> {
    let (files, platform) = (house.files().clone(), house.keys().clone());
    let envelope = Envelope { enc, ciphertext };
    let errand = move || try_envelope(&*files, &platform, &project, &facts, &parts, &serving, &envelope);
    let opened = house.pool().run(errand).map_err(|PoolFull| {
        house.metrics().note_busy("unsealing");
        EnvelopeEnd::NoRoom
    })?;
    opened.await.map_err(|_| EnvelopeEnd::NoRoom)?
}

fn try_envelope(
    files: &dyn Files,
    platform: &PlatformKeys,
    project: &ProjectId,
    facts: &BidFacts,
    parts: &[PartName],
    serving: &Serving,
    envelope: &Envelope,
) -> Result<(Openable, Vec<u8>), EnvelopeEnd> {
    let keys = serving.key.open(&serving.text, envelope, &facts.statement_digest, parts).map_err(
        |fault| match fault {
            EnvelopeFault::Malformed | EnvelopeFault::DoesNotOpen | EnvelopeFault::NotSealed => {
                EnvelopeEnd::NotForThisOrder
            }
        },
    )?;
    let keys: Vec<(PartName, PartKey)> = parts.iter().copied().zip(keys).collect();
    let openable = open_stored(files, facts, &keys).map_err(EnvelopeEnd::Failed)?;
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
) -> Option<Result<Sheets, Failure>> {
    let checked = when_there_is_room(house, || house.pool().submit(openable.bid.clone())).await?;
    match checked {
        Ok(()) => read_sheets(house, committed.project.clone(), facts, openable).await,
        Err(fault) => Some(Err(whose_damage(house, facts, openable, fault).await?)),
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

/// Puts an order with a fresh one-time key in force, and gives the moment since which it is. `down_since` where the
/// key before died with its process. That the opening is served then is kept by the same append.
pub(crate) async fn issue_order(
    house: &House,
    committed: &Committed,
    down_since: Option<Moment>,
) -> Result<(Serving, Moment), Refusal> {
    let project = &committed.project;
    let spec = project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?.clone();
    let key = OneTimeKey::generate().map_err(|_| refuse(RefusalCode::Busy))?;
    let start_signature = start_signature(house, &spec.id).await;
    let at = house.clock().now();
    let OrderFacts { epoch, lots, window_closes_at } = order_facts(project, at, down_since)?;
    let order = OpeningOrder {
        project: spec.id.clone(),
        kind: spec.kind,
        deadline: spec.deadline,
        deadline_moves: project.deadline_moves().to_vec(),
        epoch,
        lots,
        opening_key: key_id(house.keys().opening.public()),
        suite: EnvelopeSuite::X25519Sha256Aes256Gcm,
        hpke_public_key: Blob(key.public().to_vec()),
        start_signature,
        issued_at: at,
        window_closes_at,
    };
    let text = order.text();
    let signature = sign_order(&text, &house.keys().opening).to_vec();
    let command = ProjectCommand::IssueOrder { epoch, order: text.clone(), signature, down_since };
    // No derived name: an order is issued once, for its key lives in this process only.
    house
        .ask_project(AskProject {
            at: Some(at),
            side: vec![served(&spec.id, at)],
            ..AskProject::new(spec.id.clone(), ASKER, command)
        })
        .await?;
    house.metrics().orders.inc();
    Ok((Serving { key, epoch, text }, at))
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

/// Until when the opening is known to have been served, before this process took over.
pub(crate) async fn served_until(house: &House, project: &ProjectId) -> Option<Moment> {
    let (journal, name) = (house.journal().clone(), project.to_string());
    let reading = tokio::task::spawn_blocking(move || journal.side(SideSpace::Served, &name).ok().flatten());
    let noted = reading.await.ok().flatten();
    let noted = noted.and_then(|bytes| bytes.as_slice().try_into().ok()).map(i64::from_be_bytes).map(Moment);
    match (noted, house.served_before()) {
        // Up to the next note the process that made this one may have gone on; a later stamp may be of a process
        // that started, wrote something elsewhere and died before it served this opening.
        (Some(noted), Some(last)) => Some(noted.max(last.min(noted.plus_ms(BEAT_MS)))),
        (noted, last) => noted.or(last),
    }
}

/// Notes that the opening is served now. Not waited for: a note that is lost makes an outage seem longer.
pub(crate) fn note_served(house: &House, project: &ProjectId, at: Moment) {
    let put = served(project, at);
    drop(house.journal().append(crate::journal::Append::side_only(Stream::Platform, vec![put])));
}

fn served(project: &ProjectId, at: Moment) -> SideWrite {
    SideWrite::Put {
        space: SideSpace::Served,
        key: project.to_string(),
        value: Zeroizing::new(at.0.to_be_bytes().to_vec()),
    }
}

/// Signs the published record and keeps its exact text.
pub(crate) async fn sign(house: &House, committed: &Committed, name: &CommandName) -> Result<Done, Refusal> {
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
            command_id: Some(command_id(&id, name)),
            side: vec![SideWrite::Put {
                space: SideSpace::Receipt,
                key: record_name(&id),
                value: Zeroizing::new(text.into_bytes()),
            }],
            ..AskProject::new(id.clone(), ASKER, ProjectCommand::SignRecord { digest, signature })
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
