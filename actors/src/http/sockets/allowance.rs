//! How often one socket may ask.

use std::time::Instant;

/// How many asks may still come: so many a second, saved up to a burst.
pub(super) struct Allowance {
    per_second: f64,
    burst: f64,
    left: f64,
    since: Instant,
}

impl Allowance {
    /// All that may be saved up.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second: per_second.into(), burst: burst.into(), left: burst.into(), since: Instant::now() }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let gained = now.duration_since(self.since).as_secs_f64() * self.per_second;
        self.since = now;
        self.left = (self.left + gained).min(self.burst);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_used_up_and_comes_back_with_time() {
        let mut allowance = Allowance::new(10, 3);
        assert!(allowance.take() && allowance.take() && allowance.take());
        assert!(!allowance.take());
        allowance.since -= Duration::from_millis(150);
        assert!(allowance.take());
        assert!(!allowance.take());
    }
}
