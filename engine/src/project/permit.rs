//! Who may give which command. Sessions only say who somebody is; what that allows is decided here.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    command::ProjectCommand,
    ids::OrganisationId,
    project::{ProjectSpec, StartMode},
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor, Role},
};

use super::state::Live;

/// A party to a project.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Party {
    /// A user of the organiser who runs the room.
    Agent,
    /// A user of the purchaser.
    Purchaser,
    /// Any supervisor.
    Supervisor,
    /// A supplier that may bid here; whose bid it is, the command itself checks.
    Supplier,
    /// Takes in uploads.
    Intake,
    /// Wakes projects.
    Timer,
    /// Runs the opening.
    Opening,
    /// The operator at the server's own console.
    Console,
}

/// The table: every command with the parties that may give it.
fn allowed(live: &Live, command: &ProjectCommand) -> &'static [Party] {
    use Party::{Agent, Console, Intake, Opening, Purchaser, Supervisor, Supplier, Timer};
    match command {
        // Who may create is judged against the project to be created, in `receiving::create`.
        ProjectCommand::CreateProject { .. } => &[Agent, Console],
        ProjectCommand::SubmitBid { .. }
        | ProjectCommand::RefuseUpload { .. }
        | ProjectCommand::CloseReceiving => &[Intake],
        ProjectCommand::WithdrawBid { .. } => &[Supplier],
        ProjectCommand::StartOpening { .. } => match live.spec.start {
            StartMode::AtDeadline => &[Timer, Opening],
            StartMode::OnAgentStart => &[Agent],
        },
        ProjectCommand::IssueOrder { .. }
        | ProjectCommand::AcceptKeys { .. }
        | ProjectCommand::ReportUnsealed { .. }
        | ProjectCommand::PublishRecords { .. }
        | ProjectCommand::SignRecord { .. } => &[Opening],
        ProjectCommand::ReportFailure { .. } => &[Opening, Supplier],
        ProjectCommand::ElapseWindow | ProjectCommand::DeemConfirmed => &[Timer, Opening],
        ProjectCommand::RestoreBid { .. } => &[Intake, Opening],
        ProjectCommand::RecordOutage { .. } | ProjectCommand::RecordClockStep { .. } => &[Timer],
        ProjectCommand::MoveDeadline { .. }
        | ProjectCommand::ExtendWindow { .. }
        | ProjectCommand::CloseWindow { .. }
        | ProjectCommand::AdmitBackup { .. }
        | ProjectCommand::ReadOutRow { .. }
        | ProjectCommand::AnswerObjection { .. }
        | ProjectCommand::EndOpening => &[Agent],
        ProjectCommand::CheckIn => &[Agent, Purchaser, Supervisor, Supplier],
        ProjectCommand::Object { .. } | ProjectCommand::ConfirmRecord { .. } => &[Supplier],
    }
}

/// Whether the asker may give the command to this project at all.
pub(super) fn check(live: &Live, command: &ProjectCommand, asker: &Asker) -> Result<(), Refusal> {
    let party = match asker {
        Asker::Platform { reactor: Reactor::Intake } => Some(Party::Intake),
        Asker::Platform { reactor: Reactor::Timer } => Some(Party::Timer),
        Asker::Platform { reactor: Reactor::Opening } => Some(Party::Opening),
        // The operator sets things up; the room is none of the operator's business.
        Asker::Platform { reactor: Reactor::Console } => Some(Party::Console),
        Asker::Person { role: Role::Agent, .. } => Some(Party::Agent),
        Asker::Person { role: Role::Purchaser, .. } => Some(Party::Purchaser),
        Asker::Person { role: Role::Supervisor, .. } => Some(Party::Supervisor),
        Asker::Person { role: Role::Supplier, .. } => Some(Party::Supplier),
        // 87-40: committee members stay away from the opening.
        Asker::Person { role: Role::Expert | Role::Administrator, .. } => None,
    };
    if !party.is_some_and(|party| allowed(live, command).contains(&party)) {
        return Err(live.refuse(RefusalCode::RoleNotAllowed));
    }
    if takes_part(live, asker) { Ok(()) } else { Err(live.refuse(RefusalCode::NotYourProject)) }
}

/// Whether the asker's organisation has a part in the project.
pub(crate) fn takes_part(live: &Live, asker: &Asker) -> bool {
    takes_part_in(Parts::from(&*live.spec), asker)
}

/// Who has a part in a project; given out once, when it is created.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Who runs it.
    pub organiser: &'a OrganisationId,
    /// For whom.
    pub purchaser: &'a OrganisationId,
    /// Who may bid; none: everybody.
    pub invited: Option<&'a BTreeSet<OrganisationId>>,
}

impl<'a> From<&'a ProjectSpec> for Parts<'a> {
    fn from(spec: &'a ProjectSpec) -> Self {
        let ProjectSpec { organiser, purchaser, invited, .. } = spec;
        Parts { organiser, purchaser, invited: invited.as_ref() }
    }
}

/// The same of the parts alone.
pub(crate) fn takes_part_in(parts: Parts<'_>, asker: &Asker) -> bool {
    match asker {
        Asker::Platform { .. } => true,
        Asker::Person { organisation, role, .. } => match role {
            Role::Agent => organisation == parts.organiser,
            Role::Purchaser => organisation == parts.purchaser,
            Role::Supervisor => true,
            Role::Supplier => parts.invited.is_none_or(|invited| invited.contains(organisation)),
            Role::Expert | Role::Administrator => false,
        },
    }
}
