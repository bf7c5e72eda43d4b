//! Measuring several things in turns, so that whatever else the machine does falls on all of them.

use std::time::{Duration, Instant};

/// Durations of one thing measured many times.
#[derive(Debug, Clone, Default)]
pub struct Durations(Vec<Duration>);

impl Durations {
    /// Adds one.
    pub fn push(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// Takes over another's.
    pub fn extend(&mut self, other: Durations) {
        self.0.extend(other.0);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The duration that `percent` of 100 do not exceed; zero where nothing was measured.
    pub fn percentile(&self, percent: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
    }

    /// The middle one.
    pub fn median(&self) -> Duration {
        self.percentile(50.0)
    }

    /// The shortest one.
    pub fn shortest(&self) -> Duration {
        self.0.iter().min().copied().unwrap_or_default()
    }
}

impl FromIterator<Duration> for Durations {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        Self(durations.into_iter().collect())
    }
}

/// Measures `rounds` times each thing in `things`, in turns, and gives their durations in the same order. The
/// first round warms up and does not count.
pub fn in_turns<const N: usize>(rounds: usize, mut things: [&mut dyn FnMut(); N]) -> [Durations; N] {
    let mut durations = std::array::from_fn(|_| Durations::default());
    for round in 0..=rounds {
        for (thing, durations) in things.iter_mut().zip(&mut durations) {
            let started = Instant::now();
            thing();
            if round > 0 {
                durations.push(started.elapsed());
            }
        }
    }
    durations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_duration_that_was_measured() {
        let mut durations = Durations::default();
        assert_eq!(durations.median(), Duration::ZERO);
        for ms in [40, 10, 30, 20] {
            durations.push(Duration::from_millis(ms));
        }
        let ms = |percent| durations.percentile(percent).as_millis();
        assert_eq!((ms(0.0), ms(50.0), ms(75.0), ms(99.0), ms(100.0)), (10, 20, 30, 40, 40));
    }

    #[test]
    fn each_thing_is_measured_once_a_round_after_warming_up() {
        let (mut a, mut b) = (0, 0);
        let [first, second] = in_turns(3, [&mut || a += 1, &mut || b += 1]);
        assert_eq!((first.count(), second.count(), a, b), (3, 3, 4, 4));
    }
}
