//! Growing pauses between tries.

use std::time::Duration;

use aws_lc_rs::rand;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double from 0.1 s to 5 s, each spread by half at random so that a room full of suppliers does
/// not come back in the same instant.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause before the next try.
    pub(super) fn pause(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(LONGEST);
        let mut random = [0_u8; 2];
        // Without randomness the pause is merely not spread.
        let _ = rand::fill(&mut random);
        whole / 2 + whole.mul_f64(f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_are_spread() {
        let mut backoff = Backoff::new();
        let first = backoff.pause();
        assert!(first >= FIRST / 2 && first <= FIRST, "{first:?}");
        let late: Vec<Duration> = (0..20).map(|_| backoff.pause()).skip(10).collect();
        assert!(late.iter().all(|pause| *pause >= LONGEST / 2 && *pause <= LONGEST), "{late:?}");
        assert!(late.iter().any(|pause| *pause != late[0]), "spread");
    }
}
