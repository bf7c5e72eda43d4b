//! What a person asks for, as the command it means.

use kaibiao_protocol::{command::ProjectCommand, frame::Ask, ids::ProjectId};

/// The command that an ask means, and for which project; none where the ask is a question, or is carried out by a part
/// of the platform that gives commands of its own (keys, an account of trouble).
///
/// Whether the asker may is decided with the command. Signatures of people's tokens are checked by whoever calls this.
pub fn command_of(ask: Ask) -> Option<(ProjectId, ProjectCommand)> {
    let command = match ask {
        Ask::WithdrawBid { project, bid, reason } => (project, ProjectCommand::WithdrawBid { bid, reason }),
        Ask::CheckIn { project } => (project, ProjectCommand::CheckIn),
        Ask::StartOpening { project, signature } => {
            (project, ProjectCommand::StartOpening { signature: signature.map(|signature| signature.0) })
        }
        Ask::MoveDeadline { project, deadline, ground, reason } => {
            (project, ProjectCommand::MoveDeadline { deadline, ground, reason })
        }
        Ask::ExtendWindow { project, minutes, reason } => {
            (project, ProjectCommand::ExtendWindow { minutes, reason })
        }
        Ask::CloseWindow { project, reason } => (project, ProjectCommand::CloseWindow { reason }),
        Ask::AdmitBackup { project, bid, reason } => (project, ProjectCommand::AdmitBackup { bid, reason }),
        Ask::ReadOutRow { project, lot, no } => (project, ProjectCommand::ReadOutRow { lot, no }),
        Ask::Object { project, kind, lot, text } => (project, ProjectCommand::Object { kind, lot, text }),
        Ask::AnswerObjection { project, no, text } => (project, ProjectCommand::AnswerObjection { no, text }),
        Ask::ConfirmRecord { project, record, signature } => {
            (project, ProjectCommand::ConfirmRecord { record, signature: signature.0 })
        }
        Ask::EndOpening { project } => (project, ProjectCommand::EndOpening),
        Ask::Time {}
        | Ask::Projects { .. }
        | Ask::Project { .. }
        | Ask::Room { .. }
        | Ask::Subscribe { .. }
        | Ask::Unsubscribe { .. }
        | Ask::Receipt { .. }
        | Ask::ReleaseKeys { .. }
        | Ask::ReportTrouble { .. }
        | Ask::Record { .. }
        | Ask::Contacts { .. }
        | Ask::SignOut {} => return None,
    };
    Some(command)
}
