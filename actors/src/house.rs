//! The house: the one handle through which sockets, uploads and the console reach the actors, and the one file
//! that wires them.
//!
//! It starts a project's actors when somebody asks for the project, notices when one has died (its mailbox is
//! closed) and starts a new one by replay, and lets idle ones go. A command whose answer was lost with an actor
//! is given to the next one under the same command id, so it is carried out once.

mod heads;
mod loaded;
mod presence;
mod registry;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use actix::{Arbiter, ArbiterHandle};
use dashmap::DashMap;
use kaibiao_engine::{
    directory::Directory,
    keeper::{Done, SideWrite},
    project::Project,
    reaction::opening::{own_bid, shortened, would_accept},
    visibility::{HouseFacts, Viewer, may_see, project_view},
};
use kaibiao_protocol::{
    bid::Evidence,
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    directory::DirectoryCommand,
    frame::StreamName,
    ids::{BidId, OrganisationId, ProjectId},
    moment::Moment,
    project::ProjectSpec,
    refusal::{Refusal, RefusalCode},
    role::Asker,
    view::{ContactRow, ProjectView, RoomView, UploadVerdict},
};
use tokio::sync::{Semaphore, oneshot};

use crate::{
    clock::Clock,
    command_ids,
    contacts::contacts,
    directory::{DirectoryActor, DirectoryDesk},
    files::Files,
    intake::Intake,
    journal::{Journal, JournalFault, Stream},
    keeper_actor::ReplayFault,
    keys::PlatformKeys,
    limits::{
        ASK_ATTEMPTS_MAX, DIAGNOSES_MAX, DIRECTORY_MAILBOX_MAX, ENVELOPES_MAX, IDLE_MS, IDLE_SWEEP,
        PROJECTS_MAX, RETRY,
    },
    messages::{
        AskProject, EnterRoom, FinishUpload, JoinRoom, KeeperAsk, KeysArrived, LeaveRoom, Load, LookAtRoom,
        ReleaseKeys, ReportTrouble, Undelivered, Wake,
    },
    metrics::Metrics,
    opening_steps::signed_text,
    refusals::refuse,
    room::SinkId,
    slot::{Committed, Slot},
    tickets::Ticket,
    timer::Timer,
    unsealing::UnsealingPool,
};

pub use heads::ProjectHead;
use loaded::Loaded;
pub(crate) use registry::copy_of;

/// What the house stands on.
pub struct HouseParts {
    /// The journal.
    pub journal: Arc<dyn Journal>,
    /// The store of files.
    pub files: Arc<dyn Files>,
    /// The clock.
    pub clock: Clock,
    /// The platform's keys.
    pub keys: Arc<PlatformKeys>,
    /// Threads for unsealing, and as many arbiters for actors; at least 1.
    pub threads: usize,
}

/// Why a house could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// A stream cannot be replayed.
    #[error(transparent)]
    Replay(#[from] ReplayFault),
    /// A staged final in the side table is malformed.
    #[error("the staged final {0:?} cannot be read; use the program that wrote it")]
    StagedFinal(String),
    /// The system gives no thread.
    #[error("failed to start a thread")]
    NoThread,
}

/// The published record as it was signed.
pub struct SignedRecord {
    /// Exact text.
    pub text: String,
    /// SHA-256 of the text.
    pub digest: Digest,
    /// The platform's signature.
    pub signature: Blob,
}

/// The handle; clones are the same house.
#[derive(Clone)]
pub struct House(Arc<Inner>);

struct Inner {
    parts: HouseParts,
    metrics: Arc<Metrics>,
    arbiters: Vec<ArbiterHandle>,
    /// Their threads, until the house stops.
    threads: Mutex<Vec<Arbiter>>,
    next_arbiter: AtomicUsize,
    heads: RwLock<BTreeMap<ProjectId, Arc<ProjectHead>>>,
    slots: DashMap<ProjectId, Arc<Slot>>,
    directory: Arc<DirectoryDesk>,
    timer: Timer,
    intake: Intake,
    pool: Arc<UnsealingPool>,
    /// Turns for hashing damaged bids.
    diagnoses: Semaphore,
    /// The journal's last stamp before this process wrote anything: the platform was served until then at least.
    served_before: Option<Moment>,
    /// Since when, and until when, the platform was not there before this process.
    outage: Option<(Moment, Moment)>,
    stopping: AtomicBool,
}

impl House {
    /// Opens the house inside a running actix `System`: replays the directory, takes up staged finals with their
    /// old stamps, and sets the wakes of every project. Nothing is asked of it before it returns.
    ///
    /// # Errors
    /// See [`StartFault`].
    pub async fn start(parts: HouseParts) -> Result<House, StartFault> {
        let journal = parts.journal.clone();
        let loading = tokio::task::spawn_blocking(move || Loaded::load(&*journal));
        let loaded = loading.await.map_err(|_| StartFault::NoThread)??;
        let threads = parts.threads.max(1);
        let arbiters = (0..threads)
            .map(|_| Arbiter::try_new().map_err(|_| StartFault::NoThread))
            .collect::<Result<Vec<_>, _>>()?;
        let metrics = Arc::new(Metrics::new());
        let directory =
            DirectoryDesk::new(parts.journal.clone(), metrics.clone(), loaded.directory.snapshot());
        let outage = loaded.last_there.map(|from| (from, parts.clock.present()));
        let house = House(Arc::new(Inner {
            metrics,
            arbiters: arbiters.iter().map(Arbiter::handle).collect(),
            threads: Mutex::new(arbiters),
            next_arbiter: AtomicUsize::new(0),
            heads: RwLock::new(loaded.heads),
            slots: DashMap::new(),
            directory,
            timer: Timer::new(parts.clock.clone()),
            intake: Intake::new(),
            pool: Arc::new(UnsealingPool::new(threads)),
            diagnoses: Semaphore::new(DIAGNOSES_MAX),
            served_before: loaded.last_moment,
            outage,
            stopping: AtomicBool::new(false),
            parts,
        }));
        // Tickets before wakes: no project is counted while an old final awaits its verdict.
        house.0.intake.resume(&house).await?;
        for (stream, at) in loaded.wakes {
            if let Stream::Project(project) = stream {
                house.timer().set(&project, Some(house.first_wake(at)));
            }
        }
        house.note_present();
        house.start_timer();
        house.start_sweeper();
        house.start_noting();
        Ok(house)
    }

    /// Gives a command to a project and waits until it is durable. One door for all: people, the timer, the
    /// intake and the opening.
    ///
    /// # Errors
    /// The refusal. `busy`: try again; `writing_ended`: whether it was written, the next start tells.
    pub async fn ask_project(&self, ask: AskProject) -> Result<Done, Refusal> {
        match &ask.command {
            ProjectCommand::CreateProject { spec } if spec.id != ask.project => {
                return Err(refuse(RefusalCode::SpecInvalid));
            }
            ProjectCommand::CreateProject { .. } if self.heads_len() >= PROJECTS_MAX => {
                return Err(refuse(RefusalCode::Busy));
            }
            ProjectCommand::CreateProject { .. } => {}
            _ if !self.knows(&ask.project) => return Err(refuse(RefusalCode::Unknown)),
            _ => {}
        }
        // A withdrawal or a move of the deadline that is stamped before the deadline is decided before the count: the
        // ticket first, then the stamp.
        let in_time =
            matches!(ask.command, ProjectCommand::WithdrawBid { .. } | ProjectCommand::MoveDeadline { .. });
        let _ticket = match in_time.then(|| self.intake().ticket(&ask.project)) {
            Some(None) => return Err(refuse(RefusalCode::Busy)),
            ticket => ticket.flatten(),
        };
        let at = ask.at.filter(|_| !in_time).unwrap_or_else(|| self.clock().now());
        let command_id = ask.command_id.unwrap_or_else(command_ids::drawn);
        let moved = || match &ask.command {
            ProjectCommand::MoveDeadline { deadline, .. } => Some(heads::moved(&ask.project, *deadline)),
            _ => None,
        };
        self.until_answered("project", || {
            let (answer, hear) = oneshot::channel();
            let message = KeeperAsk {
                asker: ask.asker.clone(),
                at,
                command_id,
                command: ask.command.clone(),
                side: ask.side.iter().map(copy_of).chain(moved()).collect(),
                answer,
            };
            let sent = self.with_slot(&ask.project, |slot| self.send_to_project(slot, message));
            (sent, hear)
        })
        .await
    }

    /// Gives a command to the directory.
    ///
    /// # Errors
    /// The refusal.
    pub async fn ask_directory(
        &self,
        asker: Asker,
        command: DirectoryCommand,
        side: Vec<SideWrite>,
    ) -> Result<Done, Refusal> {
        let at = self.clock().now();
        let command_id = command_ids::drawn();
        self.until_answered("directory", || {
            let (answer, hear) = oneshot::channel();
            let message = KeeperAsk {
                asker: asker.clone(),
                at,
                command_id,
                command: command.clone(),
                side: side.iter().map(copy_of).collect(),
                answer,
            };
            let start = |actor: DirectoryActor| self.start_on(0, DIRECTORY_MAILBOX_MAX, actor);
            (self.0.directory.send(start, message), hear)
        })
        .await
    }

    /// The directory as committed.
    pub fn directory(&self) -> Arc<Directory> {
        self.0.directory.committed()
    }

    /// A project as committed; loads it if it sleeps. None: there is no such project, or it cannot be read.
    pub async fn project(&self, id: &ProjectId) -> Option<Arc<Project>> {
        self.committed(id).await.map(|committed| committed.project)
    }

    /// Every project, by number.
    pub fn projects(&self) -> Vec<Arc<ProjectHead>> {
        self.0.heads.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A project as this asker sees it.
    ///
    /// # Errors
    /// It does not exist, or not for them.
    pub async fn project_view(&self, asker: &Asker, id: &ProjectId) -> Result<ProjectView, Refusal> {
        let (project, viewer) = self.seen_by(asker, id).await?;
        let unknown = || refuse(RefusalCode::Unknown);
        let spec = project.spec().ok_or_else(unknown)?;
        let directory = self.directory();
        let name = |organisation: &OrganisationId| {
            directory
                .organisation(organisation)
                .map_or_else(|| organisation.to_string(), |known| known.name.clone())
        };
        let facts = HouseFacts {
            purchaser_name: name(&spec.purchaser),
            organiser_name: name(&spec.organiser),
            opening_key: Blob(self.keys().opening.public().to_vec()),
            receipt_key: Blob(self.keys().receipt.public().to_vec()),
        };
        project_view(&project, &viewer, facts).ok_or_else(unknown)
    }

    /// The room as this asker sees it; its `seq` fits the asker's room stream.
    ///
    /// # Errors
    /// It does not exist, or not for them.
    pub async fn room_view(&self, asker: &Asker, id: &ProjectId) -> Result<RoomView, Refusal> {
        self.seen_by(asker, id).await?;
        self.until_answered("room", || {
            let (answer, hear) = oneshot::channel();
            let message = LookAtRoom { asker: asker.clone(), answer };
            (self.with_slot(id, |slot| self.send_to_room(slot, message)), hear)
        })
        .await
    }

    /// Joins a stream: the backlog after `since` comes as one delivery, then each new frame. Gives the stream's
    /// last `seq`.
    ///
    /// # Errors
    /// Not for this asker, or the room is full.
    pub async fn join_room(&self, join: JoinRoom) -> Result<u64, Refusal> {
        let id = join.stream.project().clone();
        self.seen_by(&join.asker, &id).await?;
        self.until_answered("room", || {
            let (answer, hear) = oneshot::channel();
            let message = EnterRoom { join: join.clone(), answer };
            (self.with_slot(&id, |slot| self.send_to_room(slot, message)), hear)
        })
        .await
    }

    /// No more frames of a stream for a sink. May take effect a little later.
    pub fn leave_room(&self, stream: &StreamName, sink: SinkId) {
        let Some(slot) = self.live_slot(stream.project()) else { return };
        if let Some(room) = &slot.actors().room {
            // A full room keeps the sink until it finds it gone or full.
            let _ = room.try_send(LeaveRoom { stream: stream.clone(), sink });
        }
    }

    /// Hands keys over to the opening; done when they are kept and durable. Judged by the moment of this call.
    ///
    /// # Errors
    /// The refusal.
    pub async fn release_keys(&self, keys: ReleaseKeys) -> Result<Done, Refusal> {
        let project = keys.project.clone();
        let committed = self.committed(&project).await.ok_or_else(|| refuse(RefusalCode::Unknown))?;
        let slot = self.live_slot(&project).ok_or_else(|| refuse(RefusalCode::Busy))?;
        // The ticket first: the window waits for whatever is stamped before its end.
        let Some(ticket) = slot.envelopes.take(ENVELOPES_MAX) else {
            self.metrics().note_busy("opening");
            return Err(refuse(RefusalCode::Busy));
        };
        let at = self.clock().now();
        slot.note_use(at);
        // Keys that nobody asked for start no opening.
        own_bid(&committed.project, &keys.bid, &keys.asker)?;
        would_accept(&committed.project, keys.bid, keys.epoch, keys.by_backup, at)?;
        let (answer, hear) = oneshot::channel();
        self.send_to_opening(&slot, KeysArrived { keys, at, ticket, answer })?;
        // The actor died with the keys: they are not kept, and the supplier's client sends them again.
        hear.await.unwrap_or_else(|_| Err(refuse(RefusalCode::Busy)))
    }

    /// Records that a supplier cannot unseal.
    ///
    /// # Errors
    /// The refusal.
    pub async fn report_trouble(&self, trouble: ReportTrouble) -> Result<Done, Refusal> {
        let ReportTrouble { project, bid, asker, cause, seen } = trouble;
        let evidence = Evidence { seen: shortened(&seen), expected: None, found: None };
        // As the supplier itself: the engine weighs a supplier's word otherwise than the platform's own finding.
        let command = ProjectCommand::ReportFailure { bid, cause, evidence };
        self.ask_project(AskProject::new(project, asker, command)).await
    }

    /// Stamps a final whose last byte came in this instant. To be handed in with [`House::finish_upload`] as soon as
    /// its bytes are written; never waits.
    ///
    /// # Errors
    /// `busy`: too many finals are in work.
    pub fn stamp_final(
        &self,
        project: &ProjectId,
        supplier: &OrganisationId,
    ) -> Result<crate::messages::StampedFinal, Refusal> {
        self.0.intake.stamp(self, project, supplier)
    }

    /// Stamps, checks and takes in (or refuses) a finished upload. Goes on to its verdict even if the caller goes
    /// away; the same upload always gets the same verdict.
    pub async fn finish_upload(&self, upload: FinishUpload) -> UploadVerdict {
        self.0.intake.finish(self, upload).await
    }

    /// A bid's receipt again, byte for byte; its own supplier only.
    ///
    /// # Errors
    /// There is no such bid, or not for this asker.
    pub async fn receipt(&self, asker: &Asker, project: &ProjectId, bid: &BidId) -> Result<String, Refusal> {
        let (state, viewer) = self.seen_by(asker, project).await?;
        let unknown = || refuse(RefusalCode::Unknown);
        let bid = state.bid(bid).filter(|bid| viewer.supplier.as_ref() == Some(&bid.facts.supplier));
        self.0.intake.receipt(self, &state, bid.ok_or_else(unknown)?).await
    }

    /// The published record's exact text and signature.
    ///
    /// # Errors
    /// It is not published and signed yet, or not for this asker.
    pub async fn record(&self, asker: &Asker, project: &ProjectId) -> Result<SignedRecord, Refusal> {
        let (state, _) = self.seen_by(asker, project).await?;
        let signature = state.record_signature().ok_or_else(|| refuse(RefusalCode::NotPublished))?.clone();
        let (journal, project) = (self.journal().clone(), project.clone());
        let reading = tokio::task::spawn_blocking(move || signed_text(&*journal, &project, &state));
        let text = reading.await.ok().flatten().ok_or_else(|| refuse(RefusalCode::Busy))?;
        Ok(SignedRecord { text, digest: signature.digest, signature: signature.signature })
    }

    /// Whom to reach for each bid that stands, masked; for the organiser's agent, once the bids are counted.
    ///
    /// # Errors
    /// The asker is somebody else, the bids are not counted, or a form cannot be read now.
    pub async fn contacts(&self, asker: &Asker, project: &ProjectId) -> Result<Vec<ContactRow>, Refusal> {
        let (state, _) = self.seen_by(asker, project).await?;
        contacts(self, asker, state).await
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.0.parts.clock
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.0.parts.journal
    }

    /// The files.
    pub fn files(&self) -> &Arc<dyn Files> {
        &self.0.parts.files
    }

    /// The platform's keys.
    pub fn keys(&self) -> &Arc<PlatformKeys> {
        &self.0.parts.keys
    }

    /// The metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// The pool that unseals; a bench holds it back while envelopes queue.
    pub fn pool(&self) -> &Arc<UnsealingPool> {
        &self.0.pool
    }

    /// Ends every actor and thread of the house without ceremony: what is not durable is not acknowledged.
    pub async fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.pool.release();
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for arbiter in &threads {
            arbiter.stop();
        }
        let joined = tokio::task::spawn_blocking(move || {
            for arbiter in threads {
                // An arbiter that panicked said so already.
                let _ = arbiter.join();
            }
        });
        // Nobody is left to be told.
        let _ = joined.await;
        self.0.slots.clear();
    }

    /// Makes an opening's actor panic, as a bug would.
    #[cfg(feature = "practice")]
    pub fn break_opening(&self, id: &ProjectId) {
        let sent = self.with_slot(id, |slot| self.send_to_opening(slot, crate::messages::Panic));
        sent.unwrap_or_else(|_| panic!("an opening's actor takes one more message"));
    }

    /// Makes a project's actor panic, as a bug would.
    #[cfg(feature = "practice")]
    pub fn break_project(&self, id: &ProjectId) {
        self.with_slot(id, |slot| self.send_to_project(slot, crate::messages::Panic))
            .unwrap_or_else(|_| panic!("a project's actor takes one more message"));
    }
}

/// What only the house's own parts use.
impl House {
    pub(crate) fn timer(&self) -> &Timer {
        &self.0.timer
    }

    pub(crate) fn intake(&self) -> &Intake {
        &self.0.intake
    }

    /// Until when the platform was served before this process, at least.
    pub(crate) fn served_before(&self) -> Option<Moment> {
        self.0.served_before
    }

    /// A ticket for what a project's window and graces must wait for, if it is stamped before their end; none: too
    /// many are open.
    pub(crate) fn window_ticket(&self, project: &ProjectId) -> Option<Ticket> {
        self.with_slot(project, |slot| slot.envelopes.take(ENVELOPES_MAX))
    }

    pub(crate) fn diagnoses(&self) -> &Semaphore {
        &self.0.diagnoses
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// Notes a project that was created.
    pub(crate) fn note_project(&self, spec: &ProjectSpec) {
        let head = Arc::new(ProjectHead::from(spec));
        self.0.heads.write().unwrap_or_else(PoisonError::into_inner).insert(spec.id.clone(), head);
    }

    /// Notes that a project's deadline was moved.
    pub(crate) fn note_deadline(&self, project: &ProjectId, deadline: Moment) {
        let mut heads = self.0.heads.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = heads.get_mut(project) {
            Arc::make_mut(head).deadline = deadline;
        }
    }

    /// A project as committed with its position; loads it if it sleeps.
    pub(crate) async fn committed(&self, id: &ProjectId) -> Option<Committed> {
        if !self.knows(id) {
            return None;
        }
        for _ in 0..ASK_ATTEMPTS_MAX {
            let slot = self.with_slot(id, Arc::clone);
            slot.note_use(self.clock().present());
            if let Some(committed) = slot.committed() {
                return Some(committed);
            }
            let (answer, hear) = oneshot::channel();
            let sent = self.send_to_project(&slot, Load { answer });
            if sent.is_err() || hear.await.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        }
        None
    }

    pub(crate) fn knows(&self, id: &ProjectId) -> bool {
        self.0.heads.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    fn heads_len(&self) -> usize {
        self.0.heads.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    async fn seen_by(&self, asker: &Asker, id: &ProjectId) -> Result<(Arc<Project>, Viewer), Refusal> {
        let project = self.project(id).await.ok_or_else(|| refuse(RefusalCode::Unknown))?;
        let viewer = may_see(&project, asker).ok_or_else(|| refuse(RefusalCode::Unknown))?;
        Ok((project, viewer))
    }

    fn start_timer(&self) {
        let house = self.clone();
        self.spawn(self.timer().clone().run(move |project, at| house.wake(&project, at)));
    }

    fn wake(&self, project: &ProjectId, at: Moment) {
        let late = self.clock().present().micros_since(at);
        self.metrics().wake_lateness_seconds.set(late as f64 / 1e6);
        let sent = self.with_slot(project, |slot| {
            slot.want_look();
            self.send_to_project(slot, Wake)
        });
        if let Err(Undelivered::Gone) = sent {
            // It went to sleep this instant, and set its next wake itself; or the house stops.
            tracing::debug!(%project, "a wake found its project gone");
        }
    }

    fn start_sweeper(&self) {
        let house = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(IDLE_SWEEP).await;
                house.let_idle_go(IDLE_MS).await;
            }
        });
    }
}
