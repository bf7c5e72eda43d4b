//! One opening room, as a signed-in person acts in it.

use kaibiao_protocol::{
    bid::FailureCause,
    blob::Blob,
    deadline::MoveGround,
    digest::Digest,
    event::ObjectionKind,
    frame::{Answer, Ask, StreamName},
    ids::{BidId, LotNo, ProjectId},
    moment::Moment,
    view::{ContactRow, RoomView},
};
use kaibiao_sealed::order::Envelope;

use super::{ClientFault, Events, Session};

/// A project's opening room. Every method asks the server and, like [`Session::ask`], fails when the server
/// refuses or cannot be reached in time. What is done tells when it was stamped.
#[derive(Clone)]
pub struct Room {
    session: Session,
    project: ProjectId,
}

/// A published record as the platform signed it; to be checked by the reader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublishedRecord {
    /// The exact text.
    pub text: String,
    /// What the server says is its SHA-256.
    pub digest: Digest,
    /// The platform's signature.
    pub signature: Blob,
}

#[expect(clippy::missing_errors_doc, reason = "said once for all at the type")]
impl Room {
    pub(super) fn new(session: Session, project: ProjectId) -> Self {
        Self { session, project }
    }

    /// The project.
    pub fn project(&self) -> &ProjectId {
        &self.project
    }

    /// The session that acts.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The room as it stands; its `seq` says from where [`Room::events`] goes on.
    pub async fn view(&self) -> Result<RoomView, ClientFault> {
        match self.session.ask(Ask::Room { project: self.project.clone() }).await? {
            Answer::Room { view } => Ok(*view),
            other => Err(self.session.unexpected(&other)),
        }
    }

    /// The room's events after `since`.
    pub async fn events(&self, since: u64) -> Result<Events, ClientFault> {
        self.session.subscribe(StreamName::Room(self.project.clone()), since).await
    }

    /// The events after `since` that concern the own organisation alone.
    pub async fn own_events(&self, since: u64) -> Result<Events, ClientFault> {
        self.session.subscribe(StreamName::Own(self.project.clone()), since).await
    }

    /// Signs in to the room (签到).
    pub async fn check_in(&self) -> Result<Moment, ClientFault> {
        self.session.done(Ask::CheckIn { project: self.project.clone() }).await
    }

    /// Hands over the keys of the parts being opened, in an envelope for the order of `epoch`.
    pub async fn release_keys(
        &self,
        bid: BidId,
        epoch: u32,
        envelope: Envelope,
        by_backup: bool,
    ) -> Result<Moment, ClientFault> {
        let (enc, ciphertext) = (Blob(envelope.enc), Blob(envelope.ciphertext));
        let project = self.project.clone();
        self.session.done(Ask::ReleaseKeys { project, bid, epoch, enc, ciphertext, by_backup }).await
    }

    /// Says that the own bid cannot be unsealed, and why.
    pub async fn report_trouble(
        &self,
        bid: BidId,
        cause: FailureCause,
        seen: &str,
    ) -> Result<Moment, ClientFault> {
        let (project, seen) = (self.project.clone(), seen.to_owned());
        self.session.done(Ask::ReportTrouble { project, bid, cause, seen }).await
    }

    /// Moves the deadline to a later one.
    pub async fn move_deadline(
        &self,
        deadline: Moment,
        ground: MoveGround,
        reason: &str,
    ) -> Result<Moment, ClientFault> {
        let (project, reason) = (self.project.clone(), reason.to_owned());
        self.session.done(Ask::MoveDeadline { project, deadline, ground, reason }).await
    }

    /// Starts the opening; `signature` is the agent's over the start statement (CMS).
    pub async fn start(&self, signature: Option<Vec<u8>>) -> Result<Moment, ClientFault> {
        let (project, signature) = (self.project.clone(), signature.map(Blob));
        self.session.done(Ask::StartOpening { project, signature }).await
    }

    /// Extends the window for all.
    pub async fn extend(&self, minutes: u32, reason: &str) -> Result<Moment, ClientFault> {
        let (project, reason) = (self.project.clone(), reason.to_owned());
        self.session.done(Ask::ExtendWindow { project, minutes, reason }).await
    }

    /// Closes the window early.
    pub async fn close(&self, reason: &str) -> Result<Moment, ClientFault> {
        let (project, reason) = (self.project.clone(), reason.to_owned());
        self.session.done(Ask::CloseWindow { project, reason }).await
    }

    /// Admits a backup bid.
    pub async fn admit_backup(&self, bid: BidId, reason: &str) -> Result<Moment, ClientFault> {
        let (project, reason) = (self.project.clone(), reason.to_owned());
        self.session.done(Ask::AdmitBackup { project, bid, reason }).await
    }

    /// Reads one row out (唱标).
    pub async fn read_out(&self, lot: LotNo, no: u32) -> Result<Moment, ClientFault> {
        self.session.done(Ask::ReadOutRow { project: self.project.clone(), lot, no }).await
    }

    /// Raises an objection or a recusal request.
    pub async fn object(
        &self,
        kind: ObjectionKind,
        lot: Option<LotNo>,
        text: &str,
    ) -> Result<Moment, ClientFault> {
        let (project, text) = (self.project.clone(), text.to_owned());
        self.session.done(Ask::Object { project, kind, lot, text }).await
    }

    /// Answers one.
    pub async fn answer(&self, no: u32, text: &str) -> Result<Moment, ClientFault> {
        let (project, text) = (self.project.clone(), text.to_owned());
        self.session.done(Ask::AnswerObjection { project, no, text }).await
    }

    /// Confirms the record by a token's signature (CMS) over the confirmation statement.
    pub async fn confirm(&self, record: Digest, signature: Vec<u8>) -> Result<Moment, ClientFault> {
        let (project, signature) = (self.project.clone(), Blob(signature));
        self.session.done(Ask::ConfirmRecord { project, record, signature }).await
    }

    /// Ends the opening.
    pub async fn end(&self) -> Result<Moment, ClientFault> {
        self.session.done(Ask::EndOpening { project: self.project.clone() }).await
    }

    /// Whom to reach for each bid that stands, masked; for the organiser's agent, once the bids are counted.
    pub async fn contacts(&self) -> Result<Vec<ContactRow>, ClientFault> {
        match self.session.ask(Ask::Contacts { project: self.project.clone() }).await? {
            Answer::Contacts { rows } => Ok(rows),
            other => Err(self.session.unexpected(&other)),
        }
    }

    /// The published record.
    pub async fn record(&self) -> Result<PublishedRecord, ClientFault> {
        match self.session.ask(Ask::Record { project: self.project.clone() }).await? {
            Answer::Record { text, digest, signature } => Ok(PublishedRecord { text, digest, signature }),
            other => Err(self.session.unexpected(&other)),
        }
    }
}
