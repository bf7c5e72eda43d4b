//! The price of a bid: what its sheet says, repaired in the law's order.

use kaibiao_protocol::{
    evaluation::{
        CaseBid, Deduction, DeductionBase, DeductionKind, DeductionMade, Repair, RepairKind, SCALE,
    },
    money::{Fen, PriceKind},
};

use super::{
    exact::{Fraction, divide_half_up},
    leaves::WHOLE,
    words,
};
use crate::rules::RulePack;

/// A bid's price after repair.
pub(super) struct Priced {
    pub(super) price: Fen,
    pub(super) repairs: Vec<Repair>,
}

/// Repairs a price (rules.md 30, 87-59): the bid sheet beats what stands elsewhere; words beat figures; a plainly
/// misplaced decimal point leaves the sheet's total and changes the unit price; unit prices beat the total.
///
/// None: a sum is no amount.
pub(super) fn repaired(pack: RulePack, kind: PriceKind, bid: &CaseBid) -> Option<Priced> {
    let mut repairs = Vec::new();
    let mut repair = |kind, from, to| repairs.push(words::repair(pack, kind, from, to));
    let mut price = bid.sheet.price;
    if let Some(elsewhere) = bid.sheet.elsewhere.filter(|elsewhere| *elsewhere != price) {
        repair(RepairKind::SheetBeatsElsewhere, elsewhere, price);
    }
    if let Some(words) = bid.sheet.words.filter(|words| *words != price) {
        repair(RepairKind::WordsBeatFigures, price, words);
        price = words;
    }
    if kind == PriceKind::Total && !bid.items.is_empty() {
        let misplaced: Vec<_> = bid.items.iter().filter(|item| item.misplaced).collect();
        match misplaced.as_slice() {
            [] => {
                let sum = sum_of(bid.items.iter())?;
                if sum != price {
                    repair(RepairKind::UnitPricesBeatTotal, price, sum);
                    price = sum;
                }
            }
            // The sheet's total stands: what the other items leave of it is this one's.
            [one] => {
                let others = sum_of(bid.items.iter().filter(|item| !item.misplaced))?;
                let rest = u128::try_from(price.get().checked_sub(others.get())?).ok()?;
                let quantity = u128::try_from(one.quantity.get()).ok()?;
                let unit = divide_half_up(rest * SCALE.unsigned_abs() as u128, quantity);
                let unit = i64::try_from(unit).ok().and_then(Fen::new)?;
                if unit != one.unit_price {
                    repair(RepairKind::MisplacedDecimal, one.unit_price, unit);
                }
            }
            _ => return None,
        }
    }
    Some(Priced { price, repairs })
}

/// The items' amounts, each rounded to the fen.
fn sum_of<'a>(items: impl Iterator<Item = &'a kaibiao_protocol::evaluation::PriceItem>) -> Option<Fen> {
    let mut sum = 0_i64;
    for item in items {
        let product = i128::from(item.quantity.get()) * i128::from(item.unit_price.get());
        let amount = divide_half_up(u128::try_from(product).ok()?, SCALE.unsigned_abs().into());
        sum = sum.checked_add(i64::try_from(amount).ok()?)?;
    }
    Fen::new(sum)
}

/// The price compared: the bid's price less the deductions it is entitled to, in the order declared, exact until the
/// end and then rounded half up to the fen.
pub(super) fn deducted(price: Fen, bid: &CaseBid, deductions: &[Deduction]) -> (Fen, Vec<DeductionMade>) {
    let whole = u128::from(WHOLE);
    let bid_price = u128::from(price.get().unsigned_abs());
    // In fen times WHOLE to the power of the deductions made: at most three, so below 2^90.
    let (mut left, mut denominator) = (bid_price, 1_u128);
    let mut made = Vec::new();
    for deduction in deductions.iter().filter(|deduction| is_entitled(bid, deduction.kind)) {
        let percent = u128::from(deduction.percent.get().unsigned_abs());
        let base = match deduction.base {
            DeductionBase::Remaining => left,
            DeductionBase::Bid => bid_price * denominator,
        };
        // Several deductions of the bid's price may add up to more than it: nothing is less than nought.
        left = (left * whole).saturating_sub(base * percent);
        denominator *= whole;
        made.push(DeductionMade {
            kind: deduction.kind,
            percent: deduction.percent,
            left: fen(left, denominator),
        });
    }
    (fen(left, denominator), made)
}

/// Whether a bid has a claim to a deduction. A small firm needs no share in a consortium.
pub(super) fn is_entitled(bid: &CaseBid, kind: DeductionKind) -> bool {
    match kind {
        DeductionKind::SmallFirm => bid.small_firm,
        DeductionKind::Consortium => bid.consortium && !bid.small_firm,
        DeductionKind::DomesticProduct => bid.domestic_product,
    }
}

fn fen(numerator: u128, denominator: u128) -> Fen {
    let amount = Fraction::new(numerator, denominator).to_nearest(1);
    i64::try_from(amount).ok().and_then(Fen::new).expect("a deduction never raises a price")
}
