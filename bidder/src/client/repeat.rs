//! Which asks may be sent a second time when the first answer was lost.

use kaibiao_protocol::frame::Ask;

/// Whether doing it twice is the same as doing it once, or the second time is refused as done already.
/// Extending the window twice or raising an objection twice is neither.
pub(super) fn may_repeat(ask: &Ask) -> bool {
    match ask {
        Ask::Time {}
        | Ask::Projects { .. }
        | Ask::Project { .. }
        | Ask::Room { .. }
        | Ask::Subscribe { .. }
        | Ask::Unsubscribe { .. }
        | Ask::Receipt { .. }
        | Ask::Record { .. }
        | Ask::Contacts { .. }
        | Ask::CheckIn { .. }
        | Ask::ReleaseKeys { .. }
        | Ask::ReportTrouble { .. }
        | Ask::ConfirmRecord { .. }
        | Ask::ReadOutRow { .. } => true,
        Ask::WithdrawBid { .. }
        | Ask::MoveDeadline { .. }
        | Ask::StartOpening { .. }
        | Ask::ExtendWindow { .. }
        | Ask::CloseWindow { .. }
        | Ask::AdmitBackup { .. }
        | Ask::Object { .. }
        | Ask::AnswerObjection { .. }
        | Ask::EndOpening { .. }
        | Ask::SignOut {} => false,
    }
}

/// The ask's name on the wire.
pub(super) fn name_of(ask: &Ask) -> &'static str {
    match ask {
        Ask::Time {} => "time",
        Ask::Projects { .. } => "projects",
        Ask::Project { .. } => "project",
        Ask::Room { .. } => "room",
        Ask::Subscribe { .. } => "subscribe",
        Ask::Unsubscribe { .. } => "unsubscribe",
        Ask::Receipt { .. } => "receipt",
        Ask::WithdrawBid { .. } => "withdraw_bid",
        Ask::CheckIn { .. } => "check_in",
        Ask::ReleaseKeys { .. } => "release_keys",
        Ask::ReportTrouble { .. } => "report_trouble",
        Ask::MoveDeadline { .. } => "move_deadline",
        Ask::StartOpening { .. } => "start_opening",
        Ask::ExtendWindow { .. } => "extend_window",
        Ask::CloseWindow { .. } => "close_window",
        Ask::AdmitBackup { .. } => "admit_backup",
        Ask::ReadOutRow { .. } => "read_out_row",
        Ask::Object { .. } => "object",
        Ask::AnswerObjection { .. } => "answer_objection",
        Ask::ConfirmRecord { .. } => "confirm_record",
        Ask::EndOpening { .. } => "end_opening",
        Ask::Record { .. } => "record",
        Ask::Contacts { .. } => "contacts",
        Ask::SignOut {} => "sign_out",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_is_named_as_on_the_wire() {
        let project: kaibiao_protocol::ids::ProjectId = "KX-1".parse().unwrap();
        for ask in [
            Ask::Time {},
            Ask::Room { project: project.clone() },
            Ask::ExtendWindow { project: project.clone(), minutes: 5, reason: String::new() },
            Ask::EndOpening { project },
        ] {
            let wire = serde_json::to_value(&ask).unwrap();
            assert_eq!(wire["do"], name_of(&ask));
        }
    }

    #[test]
    fn a_window_is_never_extended_twice_by_one_ask() {
        let project: kaibiao_protocol::ids::ProjectId = "KX-1".parse().unwrap();
        assert!(!may_repeat(&Ask::ExtendWindow { project, minutes: 5, reason: String::new() }));
    }
}
