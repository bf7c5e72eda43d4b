//! The house: the one handle through which sockets, uploads and the console reach the actors (skeleton).

use std::sync::Arc;

use kaibiao_engine::{directory::Directory, keeper::{Done, SideWrite}, project::Project};
use kaibiao_protocol::{
    blob::Blob, digest::Digest, directory::DirectoryCommand, frame::StreamName, ids::{BidId, ProjectId}, project::ProjectSpec,
    refusal::Refusal, role::Asker, view::{ProjectView, RoomView, UploadVerdict},
};

use crate::{
    clock::Clock, files::Files, journal::{Journal, JournalFault}, keys::PlatformKeys, messages::{AskProject, FinishUpload, JoinRoom, ReleaseKeys, ReportTrouble}, metrics::Metrics, room::SinkId,
};

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
    /// Threads for unsealing and as many arbiters for actors; at least 1.
    pub threads: usize,
}

/// Why a house could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The journal cannot be read.
    #[error("failed to read the journal")]
    Journal(#[from] JournalFault),
    /// A record is of a kind or version this program does not know.
    #[error("failed to replay: {0}")]
    UnknownRecord(String),
}

/// A project as lists need it.
pub struct ProjectHead {
    /// What it is.
    pub spec: ProjectSpec,
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
    metrics: Metrics,
}

impl House {
    /// Opens the house inside a running actix `System`.
    ///
    /// # Errors
    /// See [`StartFault`].
    pub async fn start(parts: HouseParts) -> Result<House, StartFault> {
        let _ = parts;
        todo!()
    }

    /// Gives a command to a project and waits until it is durable.
    ///
    /// # Errors
    /// The refusal, which is durable-safe too.
    pub async fn ask_project(&self, ask: AskProject) -> Result<Done, Refusal> {
        let _ = ask;
        todo!()
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
        let _ = (asker, command, side);
        todo!()
    }

    /// The directory as committed.
    pub fn directory(&self) -> Arc<Directory> {
        todo!()
    }

    /// A project as committed; loads it if it sleeps. None: there is no such project.
    pub async fn project(&self, id: &ProjectId) -> Option<Arc<Project>> {
        let _ = id;
        todo!()
    }

    /// Every project, by number.
    pub fn projects(&self) -> Vec<Arc<ProjectHead>> {
        todo!()
    }

    /// A project as this asker sees it.
    ///
    /// # Errors
    /// It does not exist, or not for them.
    pub async fn project_view(&self, asker: &Asker, id: &ProjectId) -> Result<ProjectView, Refusal> {
        let _ = (asker, id);
        todo!()
    }

    /// The room as this asker sees it.
    ///
    /// # Errors
    /// It does not exist, or not for them.
    pub async fn room_view(&self, asker: &Asker, id: &ProjectId) -> Result<RoomView, Refusal> {
        let _ = (asker, id);
        todo!()
    }

    /// Joins a stream: the backlog comes as one delivery, then each new frame. Gives the stream's last `seq`.
    ///
    /// # Errors
    /// Not for this asker, or the room is full.
    pub async fn join_room(&self, join: JoinRoom) -> Result<u64, Refusal> {
        let _ = join;
        todo!()
    }

    /// No more frames of a stream for a sink.
    pub fn leave_room(&self, stream: &StreamName, sink: SinkId) {
        let _ = (stream, sink);
        todo!()
    }

    /// Hands keys over to the opening; done when they are kept and durable.
    ///
    /// # Errors
    /// The refusal.
    pub async fn release_keys(&self, keys: ReleaseKeys) -> Result<Done, Refusal> {
        let _ = keys;
        todo!()
    }

    /// Records that a supplier cannot unseal.
    ///
    /// # Errors
    /// The refusal.
    pub async fn report_trouble(&self, trouble: ReportTrouble) -> Result<Done, Refusal> {
        let _ = trouble;
        todo!()
    }

    /// Stamps, checks and takes in (or refuses) a finished upload.
    pub async fn finish_upload(&self, upload: FinishUpload) -> UploadVerdict {
        let _ = upload;
        todo!()
    }

    /// A bid's receipt again, byte for byte; its own supplier only.
    ///
    /// # Errors
    /// There is no such bid, or not for this asker.
    pub async fn receipt(&self, asker: &Asker, project: &ProjectId, bid: &BidId) -> Result<String, Refusal> {
        let _ = (asker, project, bid);
        todo!()
    }

    /// The published record's exact text and signature.
    ///
    /// # Errors
    /// It is not published and signed yet, or not for this asker.
    pub async fn record(&self, asker: &Asker, project: &ProjectId) -> Result<SignedRecord, Refusal> {
        let _ = (asker, project);
        todo!()
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
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Ends every actor and thread of the house, without ceremony: what is not durable is not acknowledged.
    pub async fn stop(&self) {
        todo!()
    }
}
