//! The numbers that evaluation goes by, for each pack.

use kaibiao_protocol::{evaluation::DeductionKind, money::Rate};

use super::RulePack;

/// The numbers of evaluation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EvaluationFigures {
    /// rules.md 35: the fewest members of a committee.
    pub committee_min: usize,
    /// rules.md 44: the least weight of the price for goods, in ten-thousandths.
    pub price_weight_goods: u32,
    /// rules.md 44: the same for services.
    pub price_weight_services: u32,
}

impl RulePack {
    /// The pack's numbers of evaluation.
    pub fn evaluation_figures(self) -> EvaluationFigures {
        match self {
            RulePack::Gp1 => EvaluationFigures {
                committee_min: 5,
                price_weight_goods: 3_000,
                price_weight_services: 1_000,
            },
            // TL-37, from memory: the same committee. The law of tendering names no weight.
            RulePack::Ctb1 => {
                EvaluationFigures { committee_min: 5, price_weight_goods: 0, price_weight_services: 0 }
            }
        }
    }

    /// Between which rates a deduction lies (rules.md 47 and 48); the same in every pack, for the policies bind
    /// whoever spends public money.
    pub fn deduction_bounds(self, kind: DeductionKind) -> (Rate, Rate) {
        let (low, high) = match kind {
            DeductionKind::SmallFirm => (1_000, 2_000),
            DeductionKind::Consortium => (400, 600),
            DeductionKind::DomesticProduct => (2_000, 2_000),
        };
        let rate = |hundredths| Rate::new(hundredths).expect("a bound is a rate");
        (rate(low), rate(high))
    }
}
