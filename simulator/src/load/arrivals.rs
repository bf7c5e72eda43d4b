//! When suppliers come.

use clap::ValueEnum;

/// How arrivals are spread before the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Arrivals {
    /// Evenly over the time given.
    Uniform,
    /// One in ten evenly; all others within the last five seconds, ever denser towards the deadline.
    DeadlineRush,
    /// Everybody's last byte in the last second. Nothing else is done then, and nothing is unsealed afterwards.
    DeadlineSecond,
}

/// Nobody begins later than this before the deadline, so that an unhurried machine loses nobody by itself.
const LAST_MS: u32 = 300;
/// The deadline second.
const SECOND_MS: u32 = 1_000;
/// How long before the deadline the rush begins.
const RUSH_MS: u32 = 5_000;

impl Arrivals {
    /// The word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Arrivals::Uniform => "uniform",
            Arrivals::DeadlineRush => "deadline-rush",
            Arrivals::DeadlineSecond => "deadline-second",
        }
    }

    /// For each supplier, how many milliseconds before the deadline it begins to hand in.
    pub fn draw(self, seed: u64, suppliers: u32, seconds: u32) -> Vec<u32> {
        let mut dice = Dice(seed);
        let span = seconds.saturating_mul(1_000).max(LAST_MS + 1);
        (0..suppliers)
            .map(|_| match self {
                Arrivals::Uniform => LAST_MS + dice.below(span - LAST_MS),
                Arrivals::DeadlineSecond => dice.below(SECOND_MS),
                Arrivals::DeadlineRush if dice.below(10) == 0 => LAST_MS + dice.below(span - LAST_MS),
                Arrivals::DeadlineRush => {
                    // The smaller of two draws: density falls evenly with the distance from the deadline.
                    let rush = RUSH_MS.min(span) - LAST_MS;
                    LAST_MS + dice.below(rush).min(dice.below(rush))
                }
            })
            .collect()
    }
}

/// Numbers that look drawn and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // The bias of a remainder is far below what a load can show.
        u32::try_from(mixed % u64::from(end.max(1))).expect("below a u32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_arrivals_and_another_others() {
        let draw = |seed| Arrivals::DeadlineRush.draw(seed, 100, 20);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn a_rush_comes_in_the_last_five_seconds_and_an_even_crowd_does_not() {
        let late = |arrivals: Arrivals| {
            let drawn = arrivals.draw(7, 1_000, 100);
            drawn.iter().filter(|before| **before <= RUSH_MS).count()
        };
        assert!(late(Arrivals::DeadlineRush) > 850);
        assert!(late(Arrivals::Uniform) < 100);
    }
}
