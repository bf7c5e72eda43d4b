//! Who may give which command. Sessions only say who somebody is; what that allows is decided here.

use kaibiao_protocol::{
    command::ProjectCommand,
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
        ProjectCommand::ExtendWindow { .. }
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
    takes_part_in(&live.spec, asker)
}

/// The same of what the project is: its parts are given out once, when it is created.
pub(crate) fn takes_part_in(spec: &ProjectSpec, asker: &Asker) -> bool {
    match asker {
        Asker::Platform { .. } => true,
        Asker::Person { organisation, role, .. } => match role {
            Role::Agent => *organisation == spec.organiser,
            Role::Purchaser => *organisation == spec.purchaser,
            Role::Supervisor => true,
            Role::Supplier => spec.invited.as_ref().is_none_or(|invited| invited.contains(organisation)),
            Role::Expert | Role::Administrator => false,
        },
    }
}
