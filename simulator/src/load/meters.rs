//! What is measured: durations by step, and what the server refused.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde::Serialize;

/// A step of a supplier's day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Challenge and signed answer.
    SignIn,
    /// Sealing, at the supplier.
    Seal,
    /// From the first byte of the upload to the last.
    Upload,
    /// From the last byte to the verdict: receipt or refusal.
    Verdict,
    /// The same upload, sent once more, to its first verdict.
    Repeat,
    /// From the order to the platform's keeping the keys.
    KeysKept,
    /// From keeping the keys to the bid's being unsealed, as the room tells.
    Unsealed,
    /// From the record's publication to its arrival at the supplier.
    Published,
}

/// Everything measured; shared by all suppliers.
#[derive(Default)]
pub(super) struct Meters {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    samples: BTreeMap<Step, Vec<f64>>,
    refusals: BTreeMap<String, u32>,
    faults: BTreeMap<String, u32>,
}

/// A step's durations in milliseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Latency {
    /// Which step.
    pub step: Step,
    /// How many were measured.
    pub count: usize,
    /// The median.
    pub p50_ms: f64,
    /// Nine in ten are faster.
    pub p90_ms: f64,
    /// Ninety-nine in a hundred are faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// 101 points from the fastest to the slowest, for plots.
    pub curve_ms: Vec<f64>,
}

impl Meters {
    /// Nothing measured yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().expect("no panic while a meter is held")
    }

    /// Notes a step begun at `began` and done now.
    pub(super) fn since(&self, step: Step, began: Instant) {
        self.note(step, began.elapsed());
    }

    /// Notes a step's duration.
    pub(super) fn note(&self, step: Step, span: Duration) {
        self.held().samples.entry(step).or_default().push(span.as_secs_f64() * 1_000.0);
    }

    /// Notes a refusal.
    pub(super) fn refused(&self, code: &str) {
        *self.held().refusals.entry(code.to_owned()).or_default() += 1;
    }

    /// Notes a fault that is no refusal.
    pub(super) fn failed(&self, what: &str) {
        *self.held().faults.entry(what.to_owned()).or_default() += 1;
    }

    /// Refusals by code.
    pub(super) fn refusals(&self) -> BTreeMap<String, u32> {
        self.held().refusals.clone()
    }

    /// Faults by kind.
    pub(super) fn faults(&self) -> BTreeMap<String, u32> {
        self.held().faults.clone()
    }

    /// Every step's latency.
    pub(super) fn latencies(&self) -> Vec<Latency> {
        self.held().samples.iter().map(|(step, samples)| latency(*step, samples)).collect()
    }
}

fn latency(step: Step, samples: &[f64]) -> Latency {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |hundredths: usize| {
        let place = (sorted.len() - 1) * hundredths / 100;
        (sorted[place] * 1_000.0).round() / 1_000.0
    };
    Latency {
        step,
        count: sorted.len(),
        p50_ms: at(50),
        p90_ms: at(90),
        p99_ms: at(99),
        max_ms: at(100),
        curve_ms: (0..=100).map(at).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let samples: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        let latency = latency(Step::Upload, &samples);
        assert_eq!(
            (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.max_ms),
            (51.0, 91.0, 100.0, 101.0)
        );
        assert_eq!(latency.curve_ms.len(), 101);
    }
}
