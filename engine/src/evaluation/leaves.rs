//! The tree of criteria, flat: what is scored, by how much it counts.

use std::{collections::BTreeMap, ops::Range};

use kaibiao_protocol::evaluation::{Band, Criterion, ScoreKind};

/// A criterion that is scored.
pub(super) struct Leaf<'a> {
    pub(super) id: &'a str,
    pub(super) kind: ScoreKind,
    /// In ten-thousandths of a point.
    pub(super) maximum: i64,
    /// In ten-thousandths.
    pub(super) weight: u32,
    pub(super) bands: &'a [Band],
}

/// All criteria of a case.
#[derive(Default)]
pub(super) struct Leaves<'a> {
    /// Those that experts score, in the order of the case.
    pub(super) scored: Vec<Leaf<'a>>,
    /// The price, where it is one of them.
    pub(super) price: Option<Leaf<'a>>,
    /// Which of the scored ones a criterion or group consists of.
    pub(super) groups: BTreeMap<&'a str, Range<usize>>,
}

/// The whole, in the ten-thousandths of a weight.
pub(super) const WHOLE: u32 = 10_000;

impl<'a> Leaves<'a> {
    /// The leaves of a checked tree; what the check would refuse is left out.
    pub(super) fn of(criteria: &'a [Criterion]) -> Self {
        let mut leaves = Leaves::default();
        for top in criteria {
            let weight = top.weight.map_or(WHOLE, |weight| weight.get().unsigned_abs());
            leaves.take(top, weight);
        }
        leaves
    }

    fn take(&mut self, criterion: &'a Criterion, weight: u32) {
        let first = self.scored.len();
        if let (Some(kind), Some(maximum)) = (criterion.kind, criterion.maximum) {
            let leaf =
                Leaf { id: &criterion.id, kind, maximum: maximum.get(), weight, bands: &criterion.bands };
            match kind {
                ScoreKind::Price => self.price = Some(leaf),
                ScoreKind::Objective | ScoreKind::Subjective => self.scored.push(leaf),
            }
        }
        for part in &criterion.parts {
            self.take(part, weight);
        }
        self.groups.insert(&criterion.id, first..self.scored.len());
    }
}
