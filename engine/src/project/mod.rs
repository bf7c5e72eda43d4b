//! One project from its publication to the end of its opening.
//!
//! [`ProjectMachine`] decides and applies; [`Project`] is the state and answers what the running
//! parts ask of it. Who may give which command is the table in `permit`; what each command means in
//! each state is drawn in `docs/opening.md`.

mod apply;
pub(crate) mod deadline;
mod look;
mod opening;
mod permit;
mod receiving;
mod record;
mod room;
pub(crate) mod state;
mod window;

pub use deadline::{
    CLOCK_STEPS_MAX, COUNTING_HELD_MINUTES, DEADLINE_MOVES_MAX, OUTAGE_MICROS_MIN, OUTAGE_NEAR_MINUTES,
};
pub use permit::Parts;
pub(crate) use permit::takes_part_in;
pub(crate) use record::silent;

use std::sync::Arc;

use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    event::ProjectEvent,
    ids::{BidId, OrganisationId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::Asker,
};

use self::state::{Life, Live};
use crate::{
    keeper::{Machine, Subject},
    refusals::{because, refuse},
    rules::RulePack,
};

/// The longest reason or piece of evidence, in characters.
pub const REASON_CHARS_MAX: usize = 500;
/// The longest objection or answer, in characters.
pub const OBJECTION_CHARS_MAX: usize = 1_000;
/// The most objections and recusal requests of one supplier.
pub const OBJECTIONS_PER_SUPPLIER_MAX: usize = 20;
/// The most failures recorded of one bid.
pub const FAILURES_PER_BID_MAX: u32 = 20;
/// The most finals of one supplier that are judged, taken or refused.
pub const UPLOADS_PER_SUPPLIER_MAX: u32 = 1_000;
/// The longest signature kept (CMS, DER), in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 64 * 1024;
/// The longest opening order, in bytes.
pub const ORDER_BYTES_MAX: usize = 64 * 1024;

/// The rules of a project.
pub struct ProjectMachine;

/// A project's state. `Project::default()` is one that does not exist yet.
///
/// Cloning costs little: what is large and still is shared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Project {
    pub(crate) life: Life,
}

/// A bid as it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bid {
    /// What is known of it. After a restoration `file` is where the restored bytes lie.
    pub facts: Arc<BidFacts>,
    /// When its last byte was in.
    pub received_at: Moment,
}

/// An opening order in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Grows with each order.
    pub epoch: u32,
    /// The order's exact text.
    pub text: String,
    /// The platform's signature over it.
    pub signature: Blob,
}

/// The platform's signature over the published record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordSignature {
    /// SHA-256 of the record's exact text.
    pub digest: Digest,
    /// The signature.
    pub signature: Blob,
    /// Until when the record may be confirmed; from the signing on, because only a signed record
    /// can be confirmed.
    pub confirm_until: Moment,
}

/// What became of an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadFate {
    /// It is this bid.
    Received(BidId),
    /// It was refused.
    Refused {
        /// Whose it was.
        supplier: OrganisationId,
        /// Bytes received.
        size_bytes: u64,
        /// When its last byte was in.
        received_at: Moment,
        /// Why.
        code: RefusalCode,
    },
}

/// What a command comes to.
type Verdict = Result<Vec<ProjectEvent>, Refusal>;

impl Machine for ProjectMachine {
    type State = Project;
    type Command = ProjectCommand;
    type Event = ProjectEvent;

    fn decide(state: &Project, command: &ProjectCommand, asker: &Asker, at: Moment) -> Verdict {
        let live = match (&state.life, command) {
            (Life::Absent, ProjectCommand::CreateProject { spec }) => {
                return receiving::create(spec, asker, at);
            }
            (Life::Absent, _) => return Err(refuse(RefusalCode::Unknown, RulePack::default())),
            (Life::Live(live), _) => live,
        };
        permit::check(live, command, asker)?;
        decide(live, command, asker, at)
    }

    fn apply(state: &mut Project, event: &ProjectEvent, at: Moment) {
        apply::apply(state, event, at);
    }

    fn wake_at(state: &Project) -> Option<Moment> {
        crate::reaction::wake_at(state)
    }

    fn about(command: &ProjectCommand) -> Option<Subject> {
        match command {
            ProjectCommand::SubmitBid { facts } => Some(facts.upload.0),
            ProjectCommand::RefuseUpload { upload, .. } => Some(upload.0),
            _ => None,
        }
    }

    fn settles(event: &ProjectEvent) -> Option<Subject> {
        match event {
            ProjectEvent::BidSubmitted { facts, .. } => Some(facts.upload.0),
            ProjectEvent::UploadRefused { upload, .. } => Some(upload.0),
            _ => None,
        }
    }
}

fn decide(live: &Live, command: &ProjectCommand, asker: &Asker, at: Moment) -> Verdict {
    match command {
        ProjectCommand::CreateProject { .. } => Err(live.refuse(RefusalCode::AlreadyExists)),
        ProjectCommand::SubmitBid { facts } => receiving::submit(live, facts, at),
        ProjectCommand::RefuseUpload { upload, supplier, size_bytes, code } => {
            receiving::refuse_upload(live, *upload, supplier, *size_bytes, *code, at)
        }
        ProjectCommand::WithdrawBid { bid, reason } => receiving::withdraw(live, bid, reason, asker, at),
        ProjectCommand::MoveDeadline { deadline, ground, reason } => {
            deadline::move_deadline(live, *deadline, *ground, reason, asker, at)
        }
        ProjectCommand::RecordOutage { from, until } => deadline::record_outage(live, *from, *until),
        ProjectCommand::RecordClockStep { step_ms, divergence_ms } => {
            deadline::record_clock_step(live, *step_ms, *divergence_ms, at)
        }
        ProjectCommand::CloseReceiving => receiving::close(live, at),
        ProjectCommand::StartOpening { signature } => opening::start(live, signature.as_deref(), asker, at),
        ProjectCommand::IssueOrder { epoch, order, signature, down_since } => {
            opening::issue_order(live, *epoch, order, signature, *down_since, at)
        }
        ProjectCommand::AcceptKeys { bid, epoch, by_backup } => {
            opening::accept_keys(live, bid, *epoch, *by_backup, at)
        }
        ProjectCommand::ReportUnsealed { bid } => opening::report_unsealed(live, bid),
        ProjectCommand::ReportFailure { bid, cause, evidence } => {
            opening::report_failure(live, bid, *cause, evidence, asker, at)
        }
        ProjectCommand::ExtendWindow { minutes, reason } => window::extend(live, *minutes, reason, asker, at),
        ProjectCommand::CloseWindow { reason } => window::close(live, reason, at),
        ProjectCommand::ElapseWindow => window::elapse(live, at),
        ProjectCommand::AdmitBackup { bid, reason } => window::admit_backup(live, bid, reason, asker, at),
        ProjectCommand::RestoreBid { bid, file, header_digest } => {
            window::restore(live, bid, *file, header_digest, at)
        }
        ProjectCommand::PublishRecords { sheets } => record::publish(live, sheets, at),
        ProjectCommand::SignRecord { digest, signature } => record::sign(live, *digest, signature),
        ProjectCommand::CheckIn => room::check_in(live, asker),
        ProjectCommand::ReadOutRow { lot, no } => record::read_out(live, *lot, *no),
        ProjectCommand::Object { kind, lot, text } => room::object(live, *kind, *lot, text, asker, at),
        ProjectCommand::AnswerObjection { no, text } => room::answer(live, *no, text, asker),
        ProjectCommand::ConfirmRecord { record, signature } => {
            record::confirm(live, record, signature, asker, at)
        }
        ProjectCommand::DeemConfirmed => record::deem(live, at),
        ProjectCommand::EndOpening => record::end(live, asker),
    }
}

/// Whether a text is one that may be kept: not longer than so many characters, one line.
fn check_text(live: &Live, text: &str, chars: std::ops::RangeInclusive<usize>) -> Result<(), Refusal> {
    let kept = if text.trim().is_empty() { 0 } else { text.chars().count() };
    if chars.contains(&kept) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let (least, most) = (chars.start(), chars.end());
    Err(because(
        live.refuse(RefusalCode::FieldInvalid),
        &format!("文字须为{least}至{most}个字，不得换行"),
        &format!("the text must have {least} to {most} characters on one line"),
    ))
}

fn check_signature(live: &Live, signature: &[u8]) -> Result<(), Refusal> {
    if (1..=SIGNATURE_BYTES_MAX).contains(&signature.len()) {
        return Ok(());
    }
    Err(because(
        live.refuse(RefusalCode::FieldInvalid),
        "签名为空或过长",
        "the signature is empty or too long",
    ))
}
