//! Bids of one brand (rules.md 25, 87-31): they count as one bidder.
//!
//! Under lowest price only the lowest of a brand is evaluated; under scoring all are scored, and the best takes the
//! brand's place among the candidates. What is equal is decided by the tender's rules, else by draw.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use kaibiao_protocol::evaluation::{BrandStanding, Case, ExclusionReason};

use super::{
    ranking::{Course, Ranking},
    table::Table,
};

/// How many bidders these bids count as.
pub(super) fn bidders(table: &Table<'_>, bids: &[usize]) -> u32 {
    counted(bids.iter().map(|bid| brand(table.case, *bid)))
}

/// How many bidders the marked bids count as.
pub(super) fn count(case: &Case, marked: &[bool]) -> u32 {
    counted(marked.iter().enumerate().filter(|(_, marked)| **marked).map(|(bid, _)| brand(case, bid)))
}

fn counted<'c>(bids: impl Iterator<Item = Option<&'c str>>) -> u32 {
    let mut brands = BTreeSet::new();
    // A bid without a brand is a bidder of its own.
    let bidders = bids.filter(|brand| brand.is_none_or(|brand| brands.insert(brand))).count();
    u32::try_from(bidders).unwrap_or(u32::MAX)
}

/// Leaves of each brand the bid with the lowest price.
pub(super) fn lowest_of_each(
    course: &Course<'_, '_>,
    ranking: &mut Ranking,
    mut bids: Vec<usize>,
) -> Vec<usize> {
    let price = |bid: usize| course.table.prices[bid].price;
    settle(course, ranking, &bids, |a, b| price(a).cmp(&price(b)));
    for bid in &bids {
        let standing = &mut ranking.bids[*bid];
        if standing.brand == Some(BrandStanding::SecondToAnother) {
            standing.out = Some(ExclusionReason::BrandEvaluatedOnce);
        }
    }
    bids.retain(|bid| ranking.bids[*bid].out.is_none());
    bids
}

/// Leaves of each brand the bid with the best score: only it may be recommended.
pub(super) fn best_of_each(
    course: &Course<'_, '_>,
    ranking: &mut Ranking,
    mut bids: Vec<usize>,
    order: impl Fn(usize, usize) -> Ordering,
) -> Vec<usize> {
    settle(course, ranking, &bids, order);
    bids.retain(|bid| ranking.bids[*bid].brand != Some(BrandStanding::SecondToAnother));
    bids
}

/// Says of each bid of a brand with several how it stands.
fn settle(
    course: &Course<'_, '_>,
    ranking: &mut Ranking,
    bids: &[usize],
    order: impl Fn(usize, usize) -> Ordering,
) {
    let mut brands: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for bid in bids {
        if let Some(brand) = brand(course.table.case, *bid) {
            brands.entry(brand).or_default().push(*bid);
        }
    }
    let full = |a: usize, b: usize| order(a, b).then_with(|| course.by_tie_rules(a, b));
    for (brand, mut group) in brands.into_iter().filter(|(_, group)| group.len() > 1) {
        group.sort_by(|a, b| full(*a, *b));
        let equal = group.iter().take_while(|bid| full(group[0], **bid).is_eq()).count();
        let (first, others) = group.split_at_mut(equal);
        let decided = course.draw(ranking, &format!("brand {brand}"), first);
        for (nth, bid) in first.iter().enumerate() {
            ranking.bids[*bid].brand = Some(match (decided, nth) {
                (false, _) => BrandStanding::Tied,
                (true, 0) => BrandStanding::Stands,
                (true, _) => BrandStanding::SecondToAnother,
            });
        }
        for bid in others {
            ranking.bids[*bid].brand = Some(BrandStanding::SecondToAnother);
        }
    }
}

fn brand(case: &Case, bid: usize) -> Option<&str> {
    case.bids[bid].brand.as_deref().filter(|_| case.brands.count_as_one)
}
