//! A checked case, ready to be computed with: prices repaired, scores in rows and columns.

use kaibiao_protocol::{
    evaluation::{Case, ExclusionReason},
    money::Fen,
};

use super::{
    check::{CaseFault, check},
    exclusions,
    leaves::Leaves,
    prices::{Priced, deducted, repaired},
};
use crate::rules::RulePack;

/// What every way of ranking starts from.
pub(super) struct Table<'a> {
    pub(super) case: &'a Case,
    pub(super) pack: RulePack,
    pub(super) leaves: Leaves<'a>,
    /// Of each bid.
    pub(super) prices: Vec<Priced>,
    /// Why a bid is out, if it is.
    pub(super) excluded: Vec<Option<ExclusionReason>>,
    /// The price compared, by the deductions declared.
    pub(super) compared: Vec<Fen>,
    /// Of each bid, each expert's scores of the scored criteria, in ten-thousandths; empty for one without scores.
    pub(super) scores: Vec<Vec<Vec<i64>>>,
    /// Of each bid, the experts' sum for each scored criterion.
    pub(super) sums: Vec<Vec<i64>>,
}

impl<'a> Table<'a> {
    /// The table of a case that is in order.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub(super) fn of(case: &'a Case) -> Result<Self, Vec<CaseFault>> {
        let pack = check(case)?;
        let leaves = Leaves::of(&case.criteria);
        let prices: Vec<Priced> = case
            .bids
            .iter()
            .map(|bid| repaired(pack, case.price_kind, bid).expect("a checked case has prices that add up"))
            .collect();
        let facts = || case.bids.iter().zip(&prices);
        let excluded = facts().map(|(bid, priced)| exclusions::reason(case, bid, priced)).collect();
        let compared = facts().map(|(bid, priced)| deducted(priced.price, bid, &case.deductions).0).collect();
        let scores: Vec<_> = case.bids.iter().map(|bid| rows_of(case, &leaves, &bid.id)).collect();
        let sums = scores.iter().map(|rows| sums_of(rows, leaves.scored.len())).collect();
        Ok(Self { case, pack, leaves, prices, excluded, compared, scores, sums })
    }

    /// How many experts score.
    pub(super) fn experts(&self) -> usize {
        self.case.experts.len()
    }
}

/// A bid's scores, one row an expert, in the order of the case; none where one is missing.
fn rows_of(case: &Case, leaves: &Leaves<'_>, bid: &str) -> Vec<Vec<i64>> {
    let row = |expert: &String| -> Option<Vec<i64>> {
        let sheet = case.scores.get(expert)?.get(bid)?;
        leaves.scored.iter().map(|leaf| sheet.get(leaf.id).map(|score| score.get())).collect()
    };
    case.experts.iter().map(row).collect::<Option<_>>().unwrap_or_default()
}

fn sums_of(rows: &[Vec<i64>], leaves: usize) -> Vec<i64> {
    (0..leaves).map(|leaf| rows.iter().map(|row| row[leaf]).sum()).collect()
}
