//! Ranking: scores or prices compared, places given, ties decided as the tender says.

use std::cmp::Ordering;

use kaibiao_protocol::{
    evaluation::{
        BrandStanding, Candidate, Decimal, Deduction, DeductionMade, EvaluationMethod, Exclusion,
        ExclusionReason, Rounding, RoundingPoint, Ticket, TieRule,
    },
    money::Fen,
};
use sha2::{Digest as _, Sha256};

use super::{
    brands,
    exact::{Fraction, step_of},
    leaves::{Leaf, WHOLE},
    prices::deducted,
    table::Table,
    words,
};

/// What may be done otherwise to see whether the winner changes.
#[derive(Clone, Default)]
pub(super) struct Knobs {
    pub(super) rounding: Rounding,
    /// None: as the case declares them.
    pub(super) deductions: Option<Vec<Deduction>>,
    pub(super) without_expert: Option<usize>,
    pub(super) void: Option<usize>,
}

impl Knobs {
    pub(super) fn as_declared(table: &Table<'_>) -> Self {
        Self { rounding: table.case.rounding, ..Self::default() }
    }
}

/// A ranking.
pub(super) struct Ranking {
    pub(super) bids: Vec<Standing>,
    pub(super) failed: Option<Failed>,
    pub(super) tickets: Vec<Ticket>,
    /// Groups that only a draw can decide, and no seed is given.
    pub(super) undecided: Vec<Vec<usize>>,
}

/// Why there is no ranking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failed {
    /// So many bidders are left.
    TooFew(u32),
    /// All prices are above what can be paid.
    AllAbove,
}

/// One bid in a ranking.
#[derive(Clone, Default)]
pub(super) struct Standing {
    pub(super) out: Option<ExclusionReason>,
    pub(super) price_for_scoring: Option<Fen>,
    pub(super) scored: Option<Scored>,
    pub(super) brand: Option<BrandStanding>,
    /// Equal bids share a rank.
    pub(super) rank: Option<u32>,
    /// Among those that may be recommended, after the tender's rules and the draw.
    pub(super) place: Option<u32>,
    // For whoever tells of it.
    pub(super) deductions: Vec<DeductionMade>,
    pub(super) excluded: Option<Exclusion>,
}

/// A bid's score.
#[derive(Clone, Copy)]
pub(super) struct Scored {
    /// With its weight, as far as it is rounded.
    price: Fraction,
    total: Fraction,
}

impl Scored {
    pub(super) fn price_score(&self, table: &Table<'_>) -> Decimal {
        self.price.shown(shown_decimals(table))
    }

    pub(super) fn total_shown(&self, table: &Table<'_>) -> Decimal {
        self.total.shown(shown_decimals(table))
    }
}

fn shown_decimals(table: &Table<'_>) -> u8 {
    table.case.rounding.decimals.max(2)
}

/// Ranks the bids of a table.
pub(super) fn rank(table: &Table<'_>, knobs: &Knobs) -> Ranking {
    let course = Course { table, knobs };
    let mut ranking = Ranking {
        bids: vec![Standing::default(); table.case.bids.len()],
        failed: None,
        tickets: Vec::new(),
        undecided: Vec::new(),
    };
    let mut ranked: Vec<usize> = Vec::new();
    for (bid, standing) in ranking.bids.iter_mut().enumerate() {
        standing.out = table.excluded[bid];
        if standing.out.is_none() && knobs.void != Some(bid) {
            ranked.push(bid);
        }
    }
    ranking.failed = course.failed(&ranked);
    if ranking.failed.is_none() {
        match table.case.method {
            EvaluationMethod::LowestEvaluatedPrice => course.by_price(&mut ranking, ranked),
            EvaluationMethod::ComprehensiveScoring => course.by_score(&mut ranking, ranked),
        }
    }
    ranking
}

/// One way through a table.
pub(super) struct Course<'t, 'k> {
    pub(super) table: &'t Table<'t>,
    pub(super) knobs: &'k Knobs,
}

impl Course<'_, '_> {
    /// rules.md 23, GPL-36: fewer than three left, or every price above budget, and the lot has failed.
    fn failed(&self, ranked: &[usize]) -> Option<Failed> {
        let left = brands::bidders(self.table, ranked);
        if left >= self.table.pack.figures().bids_min {
            return None;
        }
        let above = |out: &Option<ExclusionReason>| {
            matches!(out, Some(ExclusionReason::AboveBudget | ExclusionReason::AboveCeiling))
        };
        let all_above = left == 0 && self.table.excluded.iter().any(above);
        Some(if all_above { Failed::AllAbove } else { Failed::TooFew(left) })
    }

    /// rules.md 42 and 43, 87-54 and 87-56: ascending by the price after deductions; equal prices are tied.
    fn by_price(&self, ranking: &mut Ranking, ranked: Vec<usize>) {
        let ranked = brands::lowest_of_each(self, ranking, ranked);
        self.note_compared(ranking, &ranked);
        let price = |bid: usize| self.compared(bid);
        give_ranks(ranking, &ranked, |a, b| price(a).cmp(&price(b)));
        self.give_places(ranking, ranked, |a, b| price(a).cmp(&price(b)));
    }

    /// rules.md 46, 87-57: descending by score, then ascending by price, then tied.
    fn by_score(&self, ranking: &mut Ranking, ranked: Vec<usize>) {
        self.note_compared(ranking, &ranked);
        let lowest = ranked.iter().map(|bid| self.compared(*bid)).min();
        let Some(lowest) = lowest else { return };
        for bid in &ranked {
            ranking.bids[*bid].scored = Some(self.score(*bid, lowest));
        }
        let total: Vec<Option<Fraction>> =
            ranking.bids.iter().map(|standing| standing.scored.map(|scored| scored.total)).collect();
        let order = |a: usize, b: usize| {
            let prices = || self.table.prices[a].price.cmp(&self.table.prices[b].price);
            total[b].cmp(&total[a]).then_with(prices)
        };
        give_ranks(ranking, &ranked, order);
        let eligible = brands::best_of_each(self, ranking, ranked, |a, b| total[b].cmp(&total[a]));
        self.give_places(ranking, eligible, order);
    }

    /// The price compared.
    pub(super) fn compared(&self, bid: usize) -> Fen {
        match &self.knobs.deductions {
            None => self.table.compared[bid],
            Some(deductions) => {
                deducted(self.table.prices[bid].price, &self.table.case.bids[bid], deductions).0
            }
        }
    }

    fn note_compared(&self, ranking: &mut Ranking, ranked: &[usize]) {
        for bid in ranked {
            ranking.bids[*bid].price_for_scoring = Some(self.compared(*bid));
        }
    }

    /// rules.md 45, 87-55: the total is the sum of each criterion's average times its weight.
    fn score(&self, bid: usize, lowest: Fen) -> Scored {
        let Rounding { at, decimals } = self.knobs.rounding;
        let step = step_of(decimals);
        let price = match &self.table.leaves.price {
            Some(leaf) => self.price_score(leaf, self.compared(bid), lowest),
            None => Fraction::ZERO,
        };
        let leaves = self.table.leaves.scored.iter().enumerate();
        let scored = match at {
            RoundingPoint::EachCriterion => {
                let rounded = leaves.map(|(leaf, _)| self.average(bid, leaf).to_nearest(step)).sum();
                Fraction::new(rounded, 1)
            }
            RoundingPoint::PriceScore
            | RoundingPoint::WeightedPriceScore
            | RoundingPoint::Total
            | RoundingPoint::Never => {
                let weighted =
                    leaves.map(|(leaf, facts)| self.sum(bid, leaf) * u128::from(facts.weight)).sum();
                Fraction::new(weighted, self.divisor())
            }
        };
        let total = price.plus(scored);
        Scored { price, total: if at == RoundingPoint::Total { total.rounded(step) } else { total } }
    }

    /// rules.md 45, 87-55: the lowest compliant price over the bid's price, times the most that the price can give.
    fn price_score(&self, leaf: &Leaf<'_>, price: Fen, lowest: Fen) -> Fraction {
        let Rounding { at, decimals } = self.knobs.rounding;
        let amount = |fen: Fen| u128::from(fen.get().unsigned_abs());
        // A deduction of everything leaves nought; nought is as low as can be.
        let (lowest, price) = if price.get() == 0 { (1, 1) } else { (amount(lowest), amount(price)) };
        let (maximum, weight) = (u128::from(leaf.maximum.unsigned_abs()), u128::from(leaf.weight));
        let unweighted = Fraction::new(lowest * maximum, price);
        let weighted = || Fraction::new(lowest * maximum * weight, price * u128::from(WHOLE));
        match at {
            RoundingPoint::PriceScore => {
                Fraction::new(unweighted.to_nearest(step_of(decimals)) * weight, u128::from(WHOLE))
            }
            RoundingPoint::WeightedPriceScore | RoundingPoint::EachCriterion => {
                weighted().rounded(step_of(decimals))
            }
            RoundingPoint::Total | RoundingPoint::Never => weighted(),
        }
    }

    /// The weighted average of one criterion.
    fn average(&self, bid: usize, leaf: usize) -> Fraction {
        let weight = u128::from(self.table.leaves.scored[leaf].weight);
        Fraction::new(self.sum(bid, leaf) * weight, self.divisor())
    }

    fn sum(&self, bid: usize, leaf: usize) -> u128 {
        let all = self.table.sums[bid][leaf];
        let left_out = self.knobs.without_expert.map_or(0, |expert| self.table.scores[bid][expert][leaf]);
        (all - left_out).unsigned_abs().into()
    }

    fn divisor(&self) -> u128 {
        let experts = self.table.experts() - usize::from(self.knobs.without_expert.is_some());
        // A case whose only criterion is the price has no experts, and nothing to divide.
        experts.max(1) as u128 * u128::from(WHOLE)
    }

    /// By the tender's rules for what is equal, in their order.
    pub(super) fn by_tie_rules(&self, a: usize, b: usize) -> Ordering {
        let rules = self.table.case.ties.iter().map(|rule| match rule {
            TieRule::LowerPrice => self.table.prices[a].price.cmp(&self.table.prices[b].price),
            TieRule::HigherCriterion { criterion } => {
                let group = self.table.leaves.groups.get(criterion.as_str()).cloned().unwrap_or(0..0);
                let points = |bid| -> u128 {
                    let weighted =
                        |leaf| self.sum(bid, leaf) * u128::from(self.table.leaves.scored[leaf].weight);
                    group.clone().map(weighted).sum()
                };
                points(b).cmp(&points(a))
            }
        });
        rules.fold(Ordering::Equal, Ordering::then)
    }

    /// Gives places to those who may be recommended: in order, then by the tender's rules, then by draw.
    fn give_places(
        &self,
        ranking: &mut Ranking,
        mut eligible: Vec<usize>,
        order: impl Fn(usize, usize) -> Ordering,
    ) {
        let full = |a: usize, b: usize| order(a, b).then_with(|| self.by_tie_rules(a, b));
        eligible.sort_by(|a, b| full(*a, *b));
        let mut place = 1;
        for group in eligible.chunk_by_mut(|a, b| full(*a, *b).is_eq()) {
            // Nobody is drawn for a place that is not given.
            let matters = place <= self.table.case.candidates_max;
            let decided = matters && self.draw(ranking, RANK, group);
            for bid in &*group {
                ranking.bids[*bid].place = Some(place);
                place += u32::from(decided);
            }
            if !decided {
                place += u32::try_from(group.len()).unwrap_or(u32::MAX);
            }
        }
    }

    /// Puts equal bids in the order of their tickets, if a seed is given. Tells whether they have an order now.
    pub(super) fn draw(&self, ranking: &mut Ranking, about: &str, group: &mut [usize]) -> bool {
        if group.len() < 2 {
            return true;
        }
        let Some(seed) = self.table.case.draw_seed else {
            ranking.undecided.push(group.to_vec());
            return false;
        };
        let id = |bid: usize| self.table.case.bids[bid].id.as_str();
        let ticket = |bid: usize| {
            let text = format!("kaibiao draw 1\n{seed}\n{about}\n{}\n", id(bid));
            Sha256::digest(text.as_bytes())
        };
        group.sort_by_cached_key(|bid| ticket(*bid));
        for bid in &*group {
            let digits = ticket(*bid).iter().map(|byte| format!("{byte:02x}")).collect();
            ranking.tickets.push(Ticket {
                about: about.to_owned(),
                bid: id(*bid).to_owned(),
                ticket: digits,
            });
        }
        true
    }
}

/// What a draw among equal bids is about.
const RANK: &str = "rank";

/// Equal bids share a rank, and the next has as many places behind it.
fn give_ranks(ranking: &mut Ranking, ranked: &[usize], order: impl Fn(usize, usize) -> Ordering) {
    let mut sorted = ranked.to_vec();
    sorted.sort_by(|a, b| order(*a, *b));
    let mut rank = 1;
    for group in sorted.chunk_by(|a, b| order(*a, *b).is_eq()) {
        for bid in group {
            ranking.bids[*bid].rank = Some(rank);
        }
        rank += u32::try_from(group.len()).unwrap_or(u32::MAX);
    }
}

impl Ranking {
    /// Who is first: several where nothing decides between them, none where the lot has failed.
    pub(super) fn winners(&self) -> Vec<usize> {
        let first = |(bid, standing): (usize, &Standing)| (standing.place == Some(1)).then_some(bid);
        self.bids.iter().enumerate().filter_map(first).collect()
    }

    pub(super) fn candidates(&self, table: &Table<'_>) -> Vec<Candidate> {
        let mut placed: Vec<(u32, usize)> = self.bids.iter().enumerate().filter_map(placed).collect();
        placed.retain(|(place, _)| *place <= table.case.candidates_max);
        // Where nothing decides, in the order of the case.
        placed.sort_unstable();
        let candidate =
            |(place, bid): (u32, usize)| Candidate { place, bid: table.case.bids[bid].id.clone() };
        placed.into_iter().map(candidate).collect()
    }

    /// The weighted averages of the scored criteria, for show.
    pub(super) fn averages(&self, table: &Table<'_>, bid: usize) -> Vec<Decimal> {
        let knobs = Knobs::as_declared(table);
        let course = Course { table, knobs: &knobs };
        let decimals = shown_decimals(table);
        (0..table.leaves.scored.len()).map(|leaf| course.average(bid, leaf).shown(decimals)).collect()
    }

    /// Fills in what is told of each bid and not needed for ranking.
    pub(super) fn explain(&mut self, table: &Table<'_>) {
        for (bid, standing) in self.bids.iter_mut().enumerate() {
            if standing.price_for_scoring.is_some() {
                let facts = &table.case.bids[bid];
                standing.deductions = deducted(table.prices[bid].price, facts, &table.case.deductions).1;
            }
            standing.excluded = standing.out.map(|reason| words::exclusion(table, bid, reason));
        }
    }
}

fn placed((bid, standing): (usize, &Standing)) -> Option<(u32, usize)> {
    Some((standing.place?, bid))
}
