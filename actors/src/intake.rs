//! The intake: from the last byte of an upload to its verdict.
//!
//! A final takes a ticket, then its stamp; stamp and length are made durable with the staged file; only then is
//! anything checked. What is in time is decided by the stamp alone, however long the checks take, and the
//! project is not counted before every ticket stamped earlier has its verdict. A restart finishes staged finals
//! with their old stamps.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::rand::fill;
use dashmap::DashMap;
use kaibiao_engine::{
    keeper::SideSpace,
    project::{Bid, Project},
};
use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    ids::{BidId, FileId, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};
use kaibiao_sealed::{arrival::Arrived, digest::sha256_of};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

use crate::{
    house::{House, StartFault},
    judging::{Judging, asker, paper},
    limits::{FINALS_CHECKED_MAX, FINALS_MAX, FINALS_OF_SUPPLIER_MAX},
    messages::{AskProject, FinishUpload, UploadPurpose},
    refusals::refuse,
    restoring,
    sign_in::TrustShelf,
    tickets::{OpenTicket, Ticket, Tickets},
};

/// A stamped final: what is kept of it until its verdict.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Final {
    pub(crate) project: ProjectId,
    pub(crate) upload: UploadId,
    pub(crate) bid: BidId,
    pub(crate) supplier: OrganisationId,
    pub(crate) file: FileId,
    pub(crate) size_bytes: u64,
    /// The stamp: when its last byte was in.
    pub(crate) received_at: Moment,
    /// The contact form, wrapped under the store key.
    pub(crate) contact: Blob,
    /// The salted digest of the contact form.
    pub(crate) contact_digest: Digest,
}

/// The intake of a house.
pub(crate) struct Intake {
    desks: DashMap<ProjectId, Arc<Desk>>,
    /// Finals on their way, each with where its verdict will be told.
    running: Mutex<BTreeMap<(ProjectId, OrganisationId, UploadId), Verdicts>>,
    /// Turns for syncing and checking.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) trust: Arc<TrustShelf>,
}

type Verdicts = watch::Receiver<Option<UploadVerdict>>;

/// The tickets of one project.
#[derive(Default)]
struct Desk {
    all: Tickets,
    by_supplier: Mutex<BTreeMap<OrganisationId, Tickets>>,
}

/// The stamp of a final, taken at the instant its last byte came in: what is still hashed and written then makes
/// nobody late. Dropped without being handed in, it was never a final.
pub struct StampedFinal {
    places: Places,
    received_at: Moment,
}

/// A final's places among all and among its supplier's.
struct Places {
    ticket: Ticket,
    own: Ticket,
}

impl Desk {
    fn take(&self, supplier: &OrganisationId, all_max: usize, own_max: usize) -> Option<Places> {
        let own = {
            let mut by_supplier = self.by_supplier.lock().unwrap_or_else(PoisonError::into_inner);
            by_supplier.entry(supplier.clone()).or_default().clone()
        };
        Some(Places { own: own.take(own_max)?, ticket: self.all.take(all_max)? })
    }
}

impl Intake {
    pub(crate) fn new() -> Self {
        Self {
            desks: DashMap::new(),
            running: Mutex::default(),
            turns: Arc::new(Semaphore::new(FINALS_CHECKED_MAX)),
            trust: Arc::default(),
        }
    }

    fn desk(&self, project: &ProjectId) -> Arc<Desk> {
        Arc::clone(&self.desks.entry(project.clone()).or_default())
    }

    /// Waits until everything stamped before this call has its verdict.
    pub(crate) async fn drained(&self, project: &ProjectId) {
        self.desk(project).all.drained().await;
    }

    /// A ticket for a command that must be decided before the count if it is stamped before the deadline.
    pub(crate) fn ticket(&self, project: &ProjectId) -> Option<Ticket> {
        self.desk(project).all.take(FINALS_MAX)
    }

    /// How many tickets of a project are open.
    pub(crate) fn open(&self, project: &ProjectId) -> usize {
        self.desks.get(project).map_or(0, |desk| desk.all.open())
    }

    /// Takes up the finals that a crash left without a verdict, each with its old stamp. Their tickets are open
    /// when this returns; their verdicts follow.
    pub(crate) async fn resume(&self, house: &House) -> Result<(), StartFault> {
        let journal = house.journal().clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            for key in journal.side_keys(SideSpace::StagedFinal, "")? {
                if let Some(row) = journal.side(SideSpace::StagedFinal, &key)? {
                    found.push(serde_json::from_slice(&row).map_err(|_| StartFault::StagedFinal(key))?);
                }
            }
            Ok::<Vec<Final>, StartFault>(found)
        });
        for one in reading.await.map_err(|_| StartFault::NoThread)?? {
            let places = self.desk(&one.project).take(&one.supplier, usize::MAX, usize::MAX);
            let places = places.expect("a restart's own finals are not limited");
            let (tell, verdicts) = watch::channel(None);
            self.note_running(&one, verdicts);
            tracing::debug!(project = %one.project, upload = %one.upload, "a staged final is taken up again");
            self.begin(house, Work { one, arrived: None, staged: true, places, tell });
        }
        Ok(())
    }

    /// Stamps an upload whose last byte is in, and brings it to its verdict.
    pub(crate) async fn finish(&self, house: &House, upload: FinishUpload) -> UploadVerdict {
        if upload.purpose == UploadPurpose::Restore {
            return restoring::restore(house, &self.turns, upload).await;
        }
        let mut verdicts = match self.register(house, upload) {
            Ok(verdicts) => verdicts,
            Err(verdict) => return verdict,
        };
        match verdicts.wait_for(Option::is_some).await {
            Ok(told) => told.clone().unwrap_or_else(|| refused(RefusalCode::Busy)),
            // The house stops, or nothing can be written: the next start gives the verdict.
            Err(_) => refused(RefusalCode::WritingEnded),
        }
    }

    /// Stamps a final of `supplier` whose last byte is in.
    pub(crate) fn stamp(
        &self,
        house: &House,
        project: &ProjectId,
        supplier: &OrganisationId,
    ) -> Result<StampedFinal, Refusal> {
        // Full is told before the stamp: who is told `busy` was not stamped and tries again.
        let places = self.desk(project).take(supplier, FINALS_MAX, FINALS_OF_SUPPLIER_MAX);
        let Some(places) = places else {
            house.metrics().note_busy("intake");
            return Err(refuse(RefusalCode::Busy));
        };
        // After the ticket, so that no stamp is older than its ticket.
        Ok(StampedFinal { places, received_at: house.clock().now() })
    }

    /// Stamps the final, unless the same one is on its way: then its verdict serves both.
    fn register(&self, house: &House, mut upload: FinishUpload) -> Result<Verdicts, UploadVerdict> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (upload.project.clone(), upload.supplier.clone(), upload.upload);
        if let Some(verdicts) = running.get(&name) {
            return Ok(verdicts.clone());
        }
        let stamped = match upload.stamped.take() {
            Some(stamped) => Ok(stamped),
            None => self.stamp(house, &upload.project, &upload.supplier),
        };
        let StampedFinal { places, received_at } =
            stamped.map_err(|refusal| UploadVerdict::Refused { refusal, notice: None })?;
        let (contact, contact_digest) = wrapped_contact(house, &upload);
        let one = Final {
            project: upload.project,
            upload: upload.upload,
            bid: upload.bid,
            supplier: upload.supplier,
            file: upload.file,
            size_bytes: upload.size_bytes,
            received_at,
            contact,
            contact_digest,
        };
        let (tell, verdicts) = watch::channel(None);
        running.insert(name, verdicts.clone());
        drop(running);
        self.begin(house, Work { one, arrived: upload.arrived, staged: false, places, tell });
        Ok(verdicts)
    }

    fn note_running(&self, one: &Final, verdicts: Verdicts) {
        let name = (one.project.clone(), one.supplier.clone(), one.upload);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(name, verdicts);
    }

    /// On the house's own threads: the verdict comes even if whoever uploaded goes away.
    fn begin(&self, house: &House, work: Work) {
        let house = house.clone();
        house.clone().spawn(async move {
            let Work { one, arrived, staged, places, tell } = work;
            let name = (one.project.clone(), one.supplier.clone(), one.upload);
            let Places { ticket, own } = places;
            let ticket = ticket.until_verdict();
            let verdict = Judging { house: &house, one: &one }.verdict(arrived, staged).await;
            end(&house, &name, verdict, ticket, &tell);
            drop(own);
        });
    }

    /// A bid's receipt, from its record.
    pub(crate) async fn receipt(
        &self,
        house: &House,
        project: &Project,
        bid: &Bid,
    ) -> Result<String, Refusal> {
        let spec = project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?;
        // Nothing happens by it: the project gives the upload's first answer again, with the place of its record.
        let command = ProjectCommand::SubmitBid { facts: BidFacts::clone(&bid.facts) };
        let done = house.ask_project(AskProject::new(spec.id.clone(), asker(), command)).await?;
        match paper(house, &spec.id, &done).await {
            Some(UploadVerdict::Received { receipt, .. }) => Ok(receipt),
            Some(UploadVerdict::Restored { .. } | UploadVerdict::Refused { .. }) | None => {
                Err(refuse(RefusalCode::Busy))
            }
        }
    }
}

struct Work {
    one: Final,
    arrived: Option<Arrived>,
    /// Whether stamp and bytes are durable already.
    staged: bool,
    places: Places,
    tell: watch::Sender<Option<UploadVerdict>>,
}

/// The committed project holds the verdict before the upload stops being one on its way, so a repeat meets
/// either the one or the other.
fn end(
    house: &House,
    name: &(ProjectId, OrganisationId, UploadId),
    verdict: Option<UploadVerdict>,
    ticket: OpenTicket,
    tell: &watch::Sender<Option<UploadVerdict>>,
) {
    match verdict {
        Some(verdict) => {
            ticket.settle();
            tell.send_replace(Some(verdict));
        }
        None => tracing::error!(
            project = %name.0, upload = %name.2,
            "a stamped final has no verdict, for nothing can be written: its project waits for the next start"
        ),
    }
    house.intake().running.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
}

pub(crate) fn refused(code: RefusalCode) -> UploadVerdict {
    UploadVerdict::Refused { refusal: refuse(code), notice: None }
}

/// Under which name a bid's contact form lies, and what the store key is told it is.
pub(crate) fn contact_name(project: &ProjectId, bid: &BidId) -> String {
    format!("{project}/{bid}")
}

/// What the store key is told a contact form is.
pub(crate) const CONTACT: &str = "contact";
/// Bytes of the salt before a contact form: without it, its digest could be searched.
pub(crate) const CONTACT_SALT_BYTES: usize = 16;

fn wrapped_contact(house: &House, upload: &FinishUpload) -> (Blob, Digest) {
    let mut salted = Zeroizing::new(vec![0; CONTACT_SALT_BYTES]);
    fill(&mut salted).expect("the system gives random bytes");
    salted.reserve_exact(upload.contact.len());
    salted.extend_from_slice(&upload.contact);
    let digest = sha256_of(&[b"kaibiao contact 1\n", &salted]);
    let name = contact_name(&upload.project, &upload.bid);
    (Blob(house.keys().store.wrap(CONTACT, &name, &salted)), digest)
}
