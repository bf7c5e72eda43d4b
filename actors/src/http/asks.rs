//! What each ask of a socket means: a question to the house, or a command through the one door.
//!
//! Whether the asker may is decided by the engine, not here. Signatures of people's tokens are checked here, because
//! that needs roots and certificates: the engine keeps what was proved.

use std::sync::Arc;

use aws_lc_rs::rand::fill;
use kaibiao_engine::{asks::command_of, visibility};
use kaibiao_protocol::{
    blob::Blob,
    frame::{Answer, Ask},
    ids::{CommandId, LotNo, ProjectId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::ProjectRow,
};
use kaibiao_sealed::{
    certificate::CertificateUse,
    digest::sha256,
    purpose::Purpose,
    signature::check_cms,
    statements::{confirm_statement, start_statement},
};
use tracing::Instrument;

use super::Desk;
use crate::{
    frame_sink::FrameSink,
    messages::{AskProject, JoinRoom, ReleaseKeys, ReportTrouble},
    refusals::refuse,
    sessions::{Session, SessionEnd},
};

/// Rows in one page of a list.
const PAGE_ROWS: usize = 50;

/// Who asks, when, and where events go.
pub(super) struct Asking {
    pub(super) desk: Arc<Desk>,
    pub(super) session: Arc<Session>,
    pub(super) sink: FrameSink,
    /// The stamp: when the frame was in.
    pub(super) at: Moment,
}

/// Answers one ask.
pub(super) async fn answer(asking: Asking, ask: Ask) -> Result<Answer, Refusal> {
    let (name, project, lot) = about(&ask);
    let command_id = draw_command_id();
    let span = tracing::info_span!(
        "ask",
        ask = name,
        project = project.map(tracing::field::display),
        lot = lot.map(LotNo::get),
        command = %command_id,
    );
    async move {
        let answered = asking.answer(ask, command_id).await;
        match &answered {
            Ok(_) => tracing::debug!("answered"),
            Err(refused) => tracing::info!(code = refused.code.as_str(), "refused"),
        }
        answered
    }
    .instrument(span)
    .await
}

impl Asking {
    async fn answer(self, ask: Ask, command_id: CommandId) -> Result<Answer, Refusal> {
        let house = &self.desk.house;
        let asker = self.session.grounds().asker();
        let ask = match ask {
            Ask::Time {} => return Ok(Answer::Time { at: house.clock().present() }),
            Ask::Projects { search, skip } => return self.projects(&search, skip).await,
            Ask::Project { project } => {
                let view = house.project_view(&asker, &project).await?;
                return Ok(Answer::Project { view: Box::new(view) });
            }
            Ask::Room { project } => {
                let view = house.room_view(&asker, &project).await?;
                return Ok(Answer::Room { view: Box::new(view) });
            }
            Ask::Subscribe { stream, since } => {
                let join = JoinRoom { asker, stream, since, sink: self.sink };
                return Ok(Answer::Subscribed { seq: house.join_room(join).await? });
            }
            // The socket itself keeps its subscriptions.
            Ask::Unsubscribe { .. } => return Err(refuse(RefusalCode::Unknown)),
            Ask::Receipt { project, bid } => {
                return Ok(Answer::Receipt { receipt: house.receipt(&asker, &project, &bid).await? });
            }
            Ask::Record { project } => {
                let record = house.record(&asker, &project).await?;
                return Ok(Answer::Record {
                    text: record.text,
                    digest: record.digest,
                    signature: record.signature,
                });
            }
            Ask::Contacts { project } => {
                return Ok(Answer::Contacts { rows: house.contacts(&asker, &project).await? });
            }
            Ask::SignOut {} => {
                self.desk.sessions.end(&self.session, SessionEnd::SignedOut);
                return Ok(Answer::Done { at: self.at });
            }
            Ask::ReleaseKeys { project, bid, epoch, enc, ciphertext, by_backup } => {
                let keys = ReleaseKeys {
                    project,
                    bid,
                    asker,
                    epoch,
                    enc: enc.0,
                    ciphertext: ciphertext.0,
                    by_backup,
                };
                return Ok(Answer::Done { at: house.release_keys(keys).await?.at });
            }
            Ask::ReportTrouble { project, bid, cause, seen } => {
                let trouble = ReportTrouble { project, bid, asker, cause, seen };
                return Ok(Answer::Done { at: house.report_trouble(trouble).await?.at });
            }
            Ask::StartOpening { ref project, signature: Some(ref signature) } => {
                self.check_start(project, signature).await?;
                ask
            }
            Ask::ConfirmRecord { ref project, ref record, ref signature } => {
                let text = confirm_statement(project, &self.session.grounds().organisation, record);
                self.check_signature(Purpose::ConfirmRecord, &text, signature)?;
                ask
            }
            ask => ask,
        };
        let (project, command) = command_of(ask).ok_or_else(|| refuse(RefusalCode::Unknown))?;
        let ask = AskProject {
            project,
            asker,
            at: Some(self.at),
            command_id: Some(command_id),
            command,
            side: Vec::new(),
        };
        Ok(Answer::Done { at: house.ask_project(ask).await?.at })
    }

    async fn projects(&self, search: &str, skip: u32) -> Result<Answer, Refusal> {
        let asker = self.session.grounds().asker();
        let search = search.trim().to_lowercase();
        let fits = |text: &str| text.to_lowercase().contains(&search);
        let heads: Vec<_> = self
            .desk
            .house
            .projects()
            .into_iter()
            .filter(|head| fits(head.id.as_str()) || fits(&head.name))
            .filter(|head| head.seen_by(&asker).is_some())
            .collect();
        let total = u32::try_from(heads.len()).unwrap_or(u32::MAX);
        let mut rows: Vec<ProjectRow> = Vec::with_capacity(PAGE_ROWS.min(heads.len()));
        for head in heads.iter().skip(skip as usize).take(PAGE_ROWS) {
            let Some(project) = self.desk.house.project(&head.id).await else { continue };
            let seen = visibility::may_see(&project, &asker);
            rows.extend(seen.and_then(|viewer| visibility::project_row(&project, &viewer)));
        }
        Ok(Answer::Projects { rows, total })
    }

    /// An agent's signature over the start of this opening.
    async fn check_start(&self, project: &ProjectId, signature: &Blob) -> Result<(), Refusal> {
        let known = self.desk.house.project(project).await.ok_or_else(|| refuse(RefusalCode::Unknown))?;
        let deadline = known.spec().map(|spec| spec.deadline).ok_or_else(|| refuse(RefusalCode::Unknown))?;
        self.check_signature(Purpose::StartOpening, &start_statement(project, deadline), signature)
    }

    /// A signature by a certificate that holds now and is bound to the asking account.
    fn check_signature(&self, purpose: Purpose, text: &str, cms: &Blob) -> Result<(), Refusal> {
        let signed =
            check_cms(purpose, text.as_bytes(), &cms.0).map_err(|_| refuse(RefusalCode::SignatureInvalid))?;
        let directory = self.desk.house.directory();
        self.desk
            .sign_in
            .trust(&directory)
            .judge(&signed.certificate, CertificateUse::Sign, self.at)
            .map_err(|fault| refuse(fault.refusal()))?;
        if directory.bound_to(&sha256(&signed.certificate)) != Some(&self.session.grounds().user) {
            return Err(refuse(RefusalCode::CertificateUnbound));
        }
        Ok(())
    }
}

/// A name for one command of a person, so that log and journal can be held side by side.
fn draw_command_id() -> CommandId {
    let mut bytes = [0; 16];
    fill(&mut bytes).expect("the system draws random bytes");
    CommandId(bytes)
}

/// What the log says of an ask: its name, project and lot; never its words, keys or signatures.
fn about(ask: &Ask) -> (&'static str, Option<&ProjectId>, Option<LotNo>) {
    match ask {
        Ask::Time {} => ("time", None, None),
        Ask::Projects { .. } => ("projects", None, None),
        Ask::Project { project } => ("project", Some(project), None),
        Ask::Room { project } => ("room", Some(project), None),
        Ask::Subscribe { stream, .. } => ("subscribe", Some(stream.project()), None),
        Ask::Unsubscribe { stream } => ("unsubscribe", Some(stream.project()), None),
        Ask::Receipt { project, .. } => ("receipt", Some(project), None),
        Ask::WithdrawBid { project, .. } => ("withdraw_bid", Some(project), None),
        Ask::CheckIn { project } => ("check_in", Some(project), None),
        Ask::ReleaseKeys { project, .. } => ("release_keys", Some(project), None),
        Ask::ReportTrouble { project, .. } => ("report_trouble", Some(project), None),
        Ask::MoveDeadline { project, .. } => ("move_deadline", Some(project), None),
        Ask::StartOpening { project, .. } => ("start_opening", Some(project), None),
        Ask::ExtendWindow { project, .. } => ("extend_window", Some(project), None),
        Ask::CloseWindow { project, .. } => ("close_window", Some(project), None),
        Ask::AdmitBackup { project, .. } => ("admit_backup", Some(project), None),
        Ask::ReadOutRow { project, lot, .. } => ("read_out_row", Some(project), Some(*lot)),
        Ask::Object { project, lot, .. } => ("object", Some(project), *lot),
        Ask::AnswerObjection { project, .. } => ("answer_objection", Some(project), None),
        Ask::ConfirmRecord { project, .. } => ("confirm_record", Some(project), None),
        Ask::EndOpening { project } => ("end_opening", Some(project), None),
        Ask::Record { project } => ("record", Some(project), None),
        Ask::Contacts { project } => ("contacts", Some(project), None),
        Ask::SignOut {} => ("sign_out", None, None),
    }
}
