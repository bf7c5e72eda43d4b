//! What has to be looked at before anybody signs (rules.md 49, 87-64), and where a case departs from the law's
//! numbers. A warning changes nothing.

use kaibiao_protocol::evaluation::{EvaluationMethod, LotKind, ScoreKind, Warning, WarningKind};

use super::{
    exact::Fraction,
    leaves::WHOLE,
    ranking::Ranking,
    table::Table,
    words::{self, Whose},
};

/// All warnings, in a fixed order.
pub(super) fn warnings(table: &Table<'_>, ranking: &Ranking) -> Vec<Warning> {
    let mut warnings = Warnings { table, told: Vec::new() };
    warnings.look_at_case();
    warnings.look_at_prices(ranking);
    warnings.look_at_scores();
    for group in &ranking.undecided {
        for bid in group {
            warnings.tell(WarningKind::DrawNeeded, Whose { bid: Some(*bid), ..Whose::default() });
        }
    }
    warnings.told
}

struct Warnings<'t> {
    table: &'t Table<'t>,
    told: Vec<Warning>,
}

impl Warnings<'_> {
    fn tell(&mut self, kind: WarningKind, whose: Whose) {
        self.told.push(words::warning(self.table, kind, whose));
    }

    /// The committee, the price's weight and the deductions, against the pack's numbers.
    fn look_at_case(&mut self) {
        let case = self.table.case;
        let figures = self.table.pack.evaluation_figures();
        let experts = case.experts.len();
        if case.method == EvaluationMethod::ComprehensiveScoring
            && (experts < figures.committee_min || experts.is_multiple_of(2))
        {
            self.tell(WarningKind::CommitteeSize, Whose::default());
        }
        if let Some(price) = &self.table.leaves.price {
            // In ten-thousandths of the whole: points of a hundred, or the weight.
            let share = i64::from(price.weight) * price.maximum / (100 * i64::from(WHOLE));
            let least = match case.kind {
                LotKind::Goods => figures.price_weight_goods,
                LotKind::Services => figures.price_weight_services,
                // The law names none for works.
                LotKind::Works => 0,
            };
            if share < i64::from(least) {
                self.tell(WarningKind::PriceWeightTooSmall, Whose::default());
            }
        }
        for deduction in &case.deductions {
            let (low, high) = self.table.pack.deduction_bounds(deduction.kind);
            if !(low..=high).contains(&deduction.percent) {
                self.tell(
                    WarningKind::DeductionOutsideLaw,
                    Whose { deduction: Some(deduction.kind), ..Whose::default() },
                );
            }
        }
    }

    fn look_at_prices(&mut self, ranking: &Ranking) {
        let inside: Vec<usize> =
            (0..self.table.case.bids.len()).filter(|bid| self.table.excluded[*bid].is_none()).collect();
        for bid in &inside {
            let facts = &self.table.case.bids[*bid];
            if !self.table.prices[*bid].repairs.is_empty() && facts.repair_confirmed.is_none() {
                self.tell(WarningKind::RepairUnconfirmed, Whose { bid: Some(*bid), ..Whose::default() });
            }
        }
        if ranking.failed.is_some() {
            return;
        }
        for bid in &inside {
            if self.table.case.bids[*bid].explanation.is_none() && self.is_abnormally_low(*bid, &inside) {
                self.tell(WarningKind::PriceUnexplained, Whose { bid: Some(*bid), ..Whose::default() });
            }
        }
    }

    /// rules.md 31, 87-60: against the mean of the compliant prices, the next lowest one, or the ceiling.
    fn is_abnormally_low(&self, bid: usize, inside: &[usize]) -> bool {
        let price = |bid: usize| u128::from(self.table.prices[bid].price.get().unsigned_abs());
        let triggers = &self.table.case.abnormally_low;
        let own = Fraction::new(price(bid) * u128::from(WHOLE), 1);
        let below = |of: u128, parts: usize, rate: kaibiao_protocol::money::Rate| {
            own < Fraction::new(of * u128::from(rate.get().unsigned_abs()), parts as u128)
        };
        let sum: u128 = inside.iter().map(|bid| price(*bid)).sum();
        let next = inside.iter().filter(|other| **other != bid).map(|other| price(*other)).min();
        triggers.of_mean.is_some_and(|rate| below(sum, inside.len(), rate))
            || triggers.of_next.zip(next).is_some_and(|(rate, next)| below(next, 1, rate))
            || triggers
                .of_ceiling
                .zip(self.table.case.ceiling)
                .is_some_and(|(rate, ceiling)| below(u128::from(ceiling.get().unsigned_abs()), 1, rate))
    }

    fn look_at_scores(&mut self) {
        for (bid, rows) in self.table.scores.iter().enumerate() {
            if self.table.excluded[bid].is_some() || rows.len() < 2 {
                continue;
            }
            for (leaf, facts) in self.table.leaves.scored.iter().enumerate() {
                match facts.kind {
                    ScoreKind::Objective => {
                        if rows.iter().any(|row| row[leaf] != rows[0][leaf]) {
                            let whose = Whose { bid: Some(bid), leaf: Some(leaf), ..Whose::default() };
                            self.tell(WarningKind::ObjectiveScoresDiffer, whose);
                        }
                    }
                    ScoreKind::Subjective => self.look_for_outliers(bid, leaf, rows),
                    ScoreKind::Price => {}
                }
            }
        }
    }

    /// A score that lies farther from the mean of the others' than the threshold.
    fn look_for_outliers(&mut self, bid: usize, leaf: usize, rows: &[Vec<i64>]) {
        let sum: i64 = rows.iter().map(|row| row[leaf]).sum();
        let others = rows.len() as i64 - 1;
        let allowed =
            self.table.leaves.scored[leaf].maximum * i64::from(self.table.case.thresholds.outlier.get());
        for (expert, row) in rows.iter().enumerate() {
            // |own - (sum - own) / others| > maximum * threshold, without dividing.
            let apart = (row[leaf] * others - (sum - row[leaf])).abs();
            if apart * i64::from(WHOLE) > allowed * others {
                let whose =
                    Whose { bid: Some(bid), leaf: Some(leaf), expert: Some(expert), ..Whose::default() };
                self.tell(WarningKind::ScoreOutlying, whose);
            }
        }
    }
}
