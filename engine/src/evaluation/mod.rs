//! Evaluation: from the prices and scores of one lot to its candidates, exactly.
//!
//! [`evaluate`] is a pure function of a [`Case`]. It works in the order of the law: reviews, repair of prices,
//! ceilings and explanations, brands, deductions, scores, ranking, candidates. Every number is an integer or a
//! fraction of integers; the one place where something is rounded is the case's own setting. Bids are compared as
//! fractions, so two that differ by a billionth of a point are not tied, unless the tender's rounding makes them so.
//!
//! What looks wrong and is not for a program to decide (a score far off, a price that must be explained) is a
//! warning, never a change.

mod brands;
mod check;
mod exact;
mod exclusions;
mod leaves;
mod prices;
mod ranking;
mod recheck;
mod sensitivity;
mod table;
mod words;

use kaibiao_protocol::evaluation::{BidResult, Case, CriterionAverage, Evaluation, Standing};

pub use self::check::{BIDS_MAX, CRITERIA_MAX, CaseFault, DEPTH_MAX, EXPERTS_MAX, ITEMS_MAX, NAME_CHARS_MAX};
use self::{
    ranking::{Knobs, Ranking, rank},
    table::Table,
};
use crate::rules::RulePack;

/// Whether the sensitivity of the result is worked out too; it takes one more evaluation for each thing that could
/// be otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithSensitivity {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Evaluates a case.
///
/// # Errors
/// Everything that is wrong with the case, all at once: nothing is evaluated then.
pub fn evaluate(case: &Case, sensitivity: WithSensitivity) -> Result<Evaluation, Vec<CaseFault>> {
    let table = Table::of(case)?;
    let mut ranking = rank(&table, &Knobs::as_declared(&table));
    ranking.explain(&table);
    let sensitivity = match sensitivity {
        WithSensitivity::Yes => Some(sensitivity::of(&table, &ranking)),
        WithSensitivity::No => None,
    };
    let draw = ranking.tickets.clone();
    Ok(Evaluation {
        evaluation: 1,
        rule_pack: table.pack.name().to_owned(),
        method: case.method,
        standing: ranking.standing(&table),
        bids: (0..case.bids.len()).map(|bid| told(&table, &ranking, bid)).collect(),
        candidates: ranking.candidates(&table),
        draw_seed: case.draw_seed.filter(|_| !draw.is_empty()),
        draw,
        warnings: recheck::warnings(&table, &ranking),
        sensitivity,
    })
}

/// The pack of a case, where it names one.
fn pack_of(case: &Case) -> Option<RulePack> {
    RulePack::named(&case.rule_pack)
}

fn told(table: &Table<'_>, ranking: &Ranking, bid: usize) -> BidResult {
    let (facts, priced) = (&table.case.bids[bid], &table.prices[bid]);
    let standing = &ranking.bids[bid];
    let scored = standing.scored.as_ref();
    let averages = || {
        let leaves = table.leaves.scored.iter().zip(ranking.averages(table, bid));
        leaves.map(|(leaf, score)| CriterionAverage { id: leaf.id.to_owned(), score }).collect()
    };
    BidResult {
        id: facts.id.clone(),
        supplier: facts.supplier.clone(),
        sheet_price: facts.sheet.price,
        repairs: priced.repairs.clone(),
        price: priced.price,
        deductions: standing.deductions.clone(),
        price_for_scoring: standing.price_for_scoring,
        price_score: scored.map(|scored| scored.price_score(table)),
        criteria: scored.map_or_else(Vec::new, |_| averages()),
        total: scored.map(|scored| scored.total_shown(table)),
        rank: match ranking.failed {
            None => standing.rank,
            Some(_) => None,
        },
        brand: standing.brand,
        excluded: standing.excluded.clone(),
    }
}

impl Ranking {
    fn standing(&self, table: &Table<'_>) -> Standing {
        match &self.failed {
            None => Standing::Ranked,
            Some(failed) => words::failed(table, failed),
        }
    }
}
