//! What would change the winner (K8): everything that was decided by a setting, one person or one bid is done
//! otherwise, one thing at a time.

use kaibiao_protocol::{
    evaluation::{Deduction, EvaluationMethod, Rounding, RoundingPoint, Sensitivity, Variant, VariantKind},
    money::Rate,
};

use super::{
    ranking::{Knobs, Ranking, rank},
    table::Table,
};

/// To how many decimals a rounding is tried.
const DECIMALS: [u8; 4] = [1, 2, 3, 4];

/// The sensitivity of a ranking.
pub(super) fn of(table: &Table<'_>, ranking: &Ranking) -> Sensitivity {
    let winners = ranking.winners();
    let named = |bids: &[usize]| bids.iter().map(|bid| table.case.bids[*bid].id.clone()).collect::<Vec<_>>();
    let mut tried = 0;
    let mut changes = Vec::new();
    if ranking.failed.is_none() {
        for (variant, knobs) in ways(table, ranking) {
            tried += 1;
            let others = rank(table, &knobs).winners();
            if others != winners {
                changes.push(Variant { variant, winners: named(&others) });
            }
        }
    }
    Sensitivity { winners: named(&winners), tried, changes }
}

/// Every other way, in a fixed order.
fn ways<'t>(
    table: &'t Table<'_>,
    ranking: &'t Ranking,
) -> impl Iterator<Item = (VariantKind, Knobs)> + use<'t> {
    let declared = Knobs::as_declared(table);
    let scoring = table.case.method == EvaluationMethod::ComprehensiveScoring;
    let rounding = {
        let declared = declared.clone();
        let points = RoundingPoint::ALL.into_iter().filter(move |_| scoring).flat_map(|at| {
            let decimals: &[u8] = if at == RoundingPoint::Never { &DECIMALS[1..2] } else { &DECIMALS };
            decimals.iter().map(move |decimals| Rounding { at, decimals: *decimals })
        });
        let own = declared.rounding;
        let others = points.filter(move |rounding| {
            *rounding != own && !(rounding.at == RoundingPoint::Never && own.at == RoundingPoint::Never)
        });
        others
            .map(move |rounding| (VariantKind::Rounding { rounding }, Knobs { rounding, ..declared.clone() }))
    };
    let experts = {
        let declared = declared.clone();
        let several = if scoring && table.experts() > 1 { table.experts() } else { 0 };
        (0..several).map(move |expert| {
            let variant = VariantKind::WithoutExpert { expert: table.case.experts[expert].clone() };
            (variant, Knobs { without_expert: Some(expert), ..declared.clone() })
        })
    };
    let deductions = {
        let declared = declared.clone();
        other_rates(table).map(move |(nth, percent)| {
            let mut deductions: Vec<Deduction> = table.case.deductions.clone();
            deductions[nth].percent = percent;
            let variant = VariantKind::DeductionRate { kind: deductions[nth].kind, percent };
            (variant, Knobs { deductions: Some(deductions), ..declared.clone() })
        })
    };
    // That the second is first without the first tells nothing.
    let voids = (0..table.case.bids.len()).filter(|bid| {
        let standing = &ranking.bids[*bid];
        standing.price_for_scoring.is_some() && standing.place != Some(1)
    });
    let voids = voids.map(move |bid| {
        let variant = VariantKind::BidVoid { bid: table.case.bids[bid].id.clone() };
        (variant, Knobs { void: Some(bid), ..declared.clone() })
    });
    rounding.chain(experts).chain(deductions).chain(voids)
}

/// The bounds that the law names for each deduction declared, and none at all.
fn other_rates<'t>(table: &'t Table<'_>) -> impl Iterator<Item = (usize, Rate)> + use<'t> {
    table.case.deductions.iter().enumerate().flat_map(|(nth, deduction)| {
        let (low, high) = table.pack.deduction_bounds(deduction.kind);
        let rates = [0, low.get(), high.get()].map(|rate| Rate::new(rate).expect("a bound is a rate"));
        let mut rates: Vec<Rate> = rates.into_iter().filter(|rate| *rate != deduction.percent).collect();
        rates.dedup();
        rates.into_iter().map(move |percent| (nth, percent))
    })
}
