//! The intake: from the last byte of an upload to its verdict.
//!
//! A final takes a ticket, then its stamp; stamp and length are made durable with the staged file; only then is
//! anything checked. What is in time is decided by the stamp alone, however long the checks take, and the
//! project is not counted before every ticket stamped earlier has its verdict. A restart finishes staged finals
//! with their old stamps.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::fill;
use dashmap::DashMap;
use kaibiao_engine::{
    keeper::SideSpace,
    project::{Bid, Project},
    reaction::{
        judging::{Judging, asker},
        reception::{LeftFinal, Met, Reception},
    },
};
use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    ids::{BidId, OrganisationId, ProjectId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};
use kaibiao_sealed::{arrival::Arrived, digest::sha256_of};
use tokio::sync::{Semaphore, watch};
use zeroize::Zeroizing;

pub(crate) use kaibiao_engine::reaction::judging::Final;

use crate::{
    house::{House, StartFault},
    journal::Journal,
    judging::{End, judge, paper},
    limits::{FINALS_CHECKED_MAX, FINALS_MAX, FINALS_OF_SUPPLIER_MAX},
    messages::{AskProject, FinishUpload, UploadPurpose},
    refusals::refuse,
    restoring,
    sign_in::TrustShelf,
    tickets::{OpenTicket, Ticket, Tickets},
};

/// The intake of a house.
pub(crate) struct Intake {
    desks: DashMap<ProjectId, Tickets>,
    /// Finals on their way, each with where its verdict will be told.
    running: Mutex<Reception<Verdicts>>,
    /// Turns for syncing and checking.
    pub(crate) turns: Arc<Semaphore>,
    pub(crate) trust: Arc<TrustShelf>,
}

type Verdicts = watch::Receiver<Option<UploadVerdict>>;

/// The stamp of a final, taken at the instant its last byte came in: what is still hashed and written then makes
/// nobody late. Dropped without being handed in, it was never a final.
pub struct StampedFinal {
    ticket: Ticket,
    received_at: Moment,
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

    fn desk(&self, project: &ProjectId) -> Tickets {
        if let Some(desk) = self.desks.get(project) {
            return desk.clone();
        }
        self.desks.entry(project.clone()).or_default().clone()
    }

    /// Waits until everything stamped before this call has its verdict.
    pub(crate) async fn drained(&self, project: &ProjectId) {
        self.desk(project).drained().await;
    }

    /// A ticket for a command that must be decided before the count if it is stamped before the deadline.
    pub(crate) fn ticket(&self, project: &ProjectId) -> Option<Ticket> {
        self.desk(project).take(FINALS_MAX)
    }

    /// How many tickets of a project are open.
    pub(crate) fn open(&self, project: &ProjectId) -> usize {
        self.desks.get(project).map_or(0, |desk| desk.open())
    }

    /// Takes up the finals that a crash left without a verdict, each with its old stamp. Their tickets are open
    /// when this returns; their verdicts follow.
    pub(crate) async fn resume(&self, house: &House) -> Result<(), StartFault> {
        let journal = house.journal().clone();
        let reading = tokio::task::spawn_blocking(move || staged_finals(&*journal));
        for one in reading.await.map_err(|_| StartFault::NoThread)?? {
            let ticket = self.desk(&one.project).take_for(&one.supplier, usize::MAX, usize::MAX);
            let ticket = ticket.expect("a restart's own finals are not limited").until_verdict();
            tracing::debug!(project = %one.project, upload = %one.upload, "a staged final is taken up again");
            let core = Judging::resumed(one, true, house.clock().present());
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            self.begin(house, &mut running, Work { core, arrived: None, ticket });
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
        let ticket = self.desk(project).take_for(supplier, FINALS_OF_SUPPLIER_MAX, FINALS_MAX);
        let Some(ticket) = ticket else {
            house.metrics().note_busy("intake");
            return Err(refuse(RefusalCode::Busy));
        };
        // After the ticket, so that no stamp is older than its ticket.
        Ok(StampedFinal { ticket, received_at: house.clock().now() })
    }

    /// Stamps the final, unless the same one is on its way: then its verdict serves both; or was left without a
    /// verdict: then that one is taken up, with its own stamp.
    fn register(&self, house: &House, mut upload: FinishUpload) -> Result<Verdicts, UploadVerdict> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (upload.project.clone(), upload.supplier.clone(), upload.upload);
        match running.meet(&name) {
            Met::Running(verdicts) => return Ok(verdicts.clone()),
            Met::Left(LeftFinal { one, staged, ticket }) => {
                let ticket = self.desk(&one.project).hold_again(ticket);
                let core = Judging::resumed(one, staged, house.clock().present());
                return Ok(self.begin(house, &mut running, Work { core, arrived: None, ticket }));
            }
            Met::Nobody => {}
        }
        let stamped = match upload.stamped.take() {
            Some(stamped) => Ok(stamped),
            None => self.stamp(house, &upload.project, &upload.supplier),
        };
        let StampedFinal { ticket, received_at } =
            stamped.map_err(|refusal| UploadVerdict::Refused { refusal, notice: None })?;
        let (contact, contact_digest) = wrapped_contact(house, &upload);
        let core = Judging::new(Final {
            project: upload.project,
            upload: upload.upload,
            bid: upload.bid,
            supplier: upload.supplier,
            file: upload.file,
            size_bytes: upload.size_bytes,
            received_at,
            contact,
            contact_digest,
        });
        let work = Work { core, arrived: upload.arrived, ticket: ticket.until_verdict() };
        Ok(self.begin(house, &mut running, work))
    }

    /// On the house's own threads: the verdict comes even if whoever uploaded goes away.
    fn begin(&self, house: &House, running: &mut Reception<Verdicts>, work: Work) -> Verdicts {
        let (tell, verdicts) = watch::channel(None);
        running.begin(work.core.one().name(), verdicts.clone());
        let house = house.clone();
        house.clone().spawn(async move {
            let Work { mut core, arrived, ticket } = work;
            let end = judge(&house, &mut core, arrived, &ticket).await;
            let mut running = house.intake().running.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever waits holds a receiver of its own.
            match end {
                End::Verdict(verdict) => {
                    tell.send_replace(Some(verdict));
                    running.end(&core.one().name());
                }
                End::Left => {
                    let one = core.one().clone();
                    tracing::error!(
                        project = %one.project, upload = %one.upload,
                        "a stamped final has no verdict now: it and its project wait for the next start"
                    );
                    running.leave(LeftFinal { one, staged: core.is_staged(), ticket: ticket.number() });
                }
            }
        });
        verdicts
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
        match paper(house, &spec.id, done.first_seq).await {
            Some(UploadVerdict::Received { receipt, .. }) => Ok(receipt),
            Some(UploadVerdict::Restored { .. } | UploadVerdict::Refused { .. }) | None => {
                Err(refuse(RefusalCode::Busy))
            }
        }
    }
}

/// The finals that wait for their verdict, stamped and durable. Blocks on the disk.
fn staged_finals(journal: &dyn Journal) -> Result<Vec<Final>, StartFault> {
    let mut found = Vec::new();
    for key in journal.side_keys(SideSpace::StagedFinal, "")? {
        if let Some(row) = journal.side(SideSpace::StagedFinal, &key)? {
            found.push(serde_json::from_slice(&row).map_err(|_| StartFault::StagedFinal(key))?);
        }
    }
    Ok(found)
}

/// The latest stamp that anything durable carries: a record of the journal, or a final that has none yet. Every stamp to
/// come is later, or a restart with a clock set back would put a later final before an earlier one. Blocks on the disk.
pub(crate) fn last_stamp(journal: &dyn Journal) -> Result<Option<Moment>, StartFault> {
    let staged = staged_finals(journal)?.into_iter().map(|one| one.received_at).max();
    Ok(journal.last_moment().max(staged))
}

struct Work {
    core: Judging,
    arrived: Option<Arrived>,
    ticket: OpenTicket,
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
