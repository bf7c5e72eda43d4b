//! Fractions that are never rounded but where somebody says so.

use std::cmp::Ordering;

use kaibiao_protocol::evaluation::{Decimal, SCALE};

/// A fraction, not negative. Its parts stay below 2^120: the case's limits see to it (`check.rs`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Fraction {
    numerator: u128,
    denominator: u128,
}

impl Fraction {
    pub(super) const ZERO: Fraction = Fraction { numerator: 0, denominator: 1 };

    /// # Panics
    /// If the denominator is nought: who divides knows by what.
    pub(super) fn new(numerator: u128, denominator: u128) -> Self {
        assert!(denominator > 0, "nothing is divided by nought");
        Self { numerator, denominator }
    }

    pub(super) fn plus(self, other: Fraction) -> Self {
        if self.denominator == other.denominator {
            return Self::new(self.numerator + other.numerator, self.denominator);
        }
        Self::new(
            self.numerator * other.denominator + other.numerator * self.denominator,
            self.denominator * other.denominator,
        )
    }

    /// The nearest multiple of `step`, half up, as a whole number of ones.
    pub(super) fn to_nearest(self, step: u128) -> u128 {
        divide_half_up(self.numerator, self.denominator * step) * step
    }

    /// Rounded half up to a multiple of `step`.
    pub(super) fn rounded(self, step: u128) -> Self {
        Self::new(self.to_nearest(step), 1)
    }

    /// In ten-thousandths, rounded for show to `decimals` places.
    pub(super) fn shown(self, decimals: u8) -> Decimal {
        let value = i64::try_from(self.to_nearest(step_of(decimals))).ok().and_then(Decimal::new);
        value.expect("scores are bounded by the case's limits")
    }
}

impl PartialEq for Fraction {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Fraction {}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Fraction {
    /// By the cross products, in 256 bits: nothing is lost.
    fn cmp(&self, other: &Self) -> Ordering {
        wide(self.numerator, other.denominator).cmp(&wide(other.numerator, self.denominator))
    }
}

/// The quotient to the nearest whole number; a half goes up.
///
/// The numerator must be below 2^126 and the denominator below 2^126.
pub(super) fn divide_half_up(numerator: u128, denominator: u128) -> u128 {
    (2 * numerator + denominator) / (2 * denominator)
}

/// How many ten-thousandths lie between two neighbours with so many decimals.
pub(super) fn step_of(decimals: u8) -> u128 {
    let places = SCALE.ilog10() - u32::from(decimals).min(SCALE.ilog10());
    10_u128.pow(places)
}

/// A product of 256 bits, high part first.
fn wide(left: u128, right: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let ((a, b), (c, d)) = ((left >> 64, left & LOW), (right >> 64, right & LOW));
    let (low, cross_1, cross_2, high) = (b * d, a * d, b * c, a * c);
    let middle = (low >> 64) + (cross_1 & LOW) + (cross_2 & LOW);
    let high = high + (cross_1 >> 64) + (cross_2 >> 64) + (middle >> 64);
    (high, (middle << 64) | (low & LOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fraction(numerator: u128, denominator: u128) -> Fraction {
        Fraction::new(numerator, denominator)
    }

    #[test]
    fn a_half_goes_up_and_less_goes_down() {
        for (numerator, denominator, quotient) in
            [(0, 7, 0), (1, 2, 1), (5, 2, 3), (49, 100, 0), (50, 100, 1), (149, 100, 1), (7, 1, 7)]
        {
            assert_eq!(divide_half_up(numerator, denominator), quotient, "{numerator}/{denominator}");
        }
    }

    #[test]
    fn fractions_compare_where_128_bits_would_not_hold_their_products() {
        let big = 1_u128 << 100;
        assert!(fraction(big, big - 1) > fraction(big + 1, big));
        assert!(fraction(big + 1, big) < fraction(big, big - 1));
        assert_eq!(fraction(big * 3, big), fraction(3, 1));
        assert!(fraction(1, 3) < fraction(33_334, 100_000));
    }

    #[test]
    fn a_wide_product_is_right_at_its_edges() {
        assert_eq!(wide(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(wide(u128::MAX, 1), (0, u128::MAX));
        assert_eq!(wide(1 << 127, 2), (1, 0));
        assert_eq!(wide(0, u128::MAX), (0, 0));
    }

    #[test]
    fn rounding_is_to_the_places_asked_for() {
        let third = fraction(10_000, 3);
        assert_eq!(
            [0, 1, 2, 3, 4].map(|places| third.shown(places).to_string()),
            ["0.00", "0.30", "0.33", "0.333", "0.3333"]
        );
        assert_eq!(fraction(15_000, 1).shown(0).to_string(), "2.00");
        assert_eq!(fraction(1, 3).plus(fraction(1, 6)), fraction(1, 2));
    }
}
