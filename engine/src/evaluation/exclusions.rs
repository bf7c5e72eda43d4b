//! Who is out before anything is compared, and by which rule.

use kaibiao_protocol::evaluation::{Case, CaseBid, ExclusionReason, Explanation};

use super::prices::Priced;

/// Why a bid is not evaluated, if it is not: the first reason in the order of the procedure.
pub(super) fn reason(case: &Case, bid: &CaseBid, priced: &Priced) -> Option<ExclusionReason> {
    // rules.md 26, 87-44: who is not qualified is not evaluated.
    if !bid.qualification.passed {
        return Some(ExclusionReason::NotQualified);
    }
    // rules.md 27, 87-50: who does not respond to the tender is not evaluated.
    if !bid.responsiveness.passed {
        return Some(ExclusionReason::NotResponsive);
    }
    // rules.md 30, 87-59: the bidder confirms the repaired price, or the bid is invalid.
    if !priced.repairs.is_empty() && bid.repair_confirmed == Some(false) {
        return Some(ExclusionReason::RepairNotConfirmed);
    }
    // rules.md 32, 87-63: a price above ceiling or budget is invalid.
    if case.ceiling.is_some_and(|ceiling| priced.price > ceiling) {
        return Some(ExclusionReason::AboveCeiling);
    }
    if case.budget.is_some_and(|budget| priced.price > budget) {
        return Some(ExclusionReason::AboveBudget);
    }
    // rules.md 31, 87-60: an abnormally low price that is not proved to be reasonable is invalid.
    if bid.explanation == Some(Explanation::Rejected) {
        return Some(ExclusionReason::PriceNotExplained);
    }
    None
}
