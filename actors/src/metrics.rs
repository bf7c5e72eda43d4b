//! What the house counts, in Prometheus' text format.
//!
//! What is absent: anything that counts the bids, uploads, receipts or appends of a project before its deadline.
//! Counters below that grow with bids do so only once an opening has started (design.md 3, "until the deadline").

use std::sync::atomic::AtomicU64;

use kaibiao_protocol::bid::FailureCause;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Which part of the house a number belongs to.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Part {
    /// Such as `project`, `room`, `opening`.
    pub part: &'static str,
}

/// Which cause class a failure has.
#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
pub struct Cause {
    /// The class as it is written on the wire.
    pub cause: &'static str,
}

/// The house's metrics.
pub struct Metrics {
    registry: Registry,
    /// Actors that ended by a panic or a failed append and were started anew by replay.
    pub restarts: Family<Part, Counter>,
    /// Asks refused because a queue was full.
    pub busy: Family<Part, Counter>,
    /// Projects with a live actor.
    pub projects_live: Gauge,
    /// Connections cut because they read too slowly.
    pub slow_readers_cut: Counter,
    /// How late the last wake was, in seconds.
    pub wake_lateness_seconds: Gauge<f64, AtomicU64>,
    /// Seconds the last slow append took until it was durable. One of ordinary length is not noted: whoever watched
    /// the number change before a deadline would count the bids coming in.
    pub slow_append_seconds: Gauge<f64, AtomicU64>,
    /// Opening orders issued.
    pub orders: Counter,
    /// Bids unsealed.
    pub unsealed: Counter,
    /// Bids whose unsealing failed, by cause.
    pub failures: Family<Cause, Counter>,
    /// Seconds from accepted keys to the verdict of the last chunk.
    pub unsealing_seconds: Histogram,
    /// Seconds from the end of the last unsealing to the published record.
    pub barrier_seconds: Histogram,
    /// Whether the journal still takes appends: 1 or 0.
    pub writing: Gauge,
}

impl Metrics {
    /// All metrics at nought.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("kaibiao");
        let restarts = Family::default();
        registry.register("actor_restarts", "Actors started anew by replay after a fault", restarts.clone());
        let busy = Family::default();
        registry.register("busy", "Asks refused because a queue was full", busy.clone());
        let projects_live = Gauge::default();
        registry.register("projects_live", "Projects with a live actor", projects_live.clone());
        let slow_readers_cut = Counter::default();
        registry.register(
            "slow_readers_cut",
            "Connections cut because they read too slowly",
            slow_readers_cut.clone(),
        );
        let wake_lateness_seconds = Gauge::default();
        registry.register(
            "wake_lateness_seconds",
            "How late the last wake was",
            wake_lateness_seconds.clone(),
        );
        let slow_append_seconds = Gauge::default();
        registry.register(
            "slow_append_seconds",
            "How long the last append over half a second took",
            slow_append_seconds.clone(),
        );
        let orders = Counter::default();
        registry.register("opening_orders", "Opening orders issued", orders.clone());
        let unsealed = Counter::default();
        registry.register("bids_unsealed", "Bids unsealed", unsealed.clone());
        let failures = Family::default();
        registry.register("unsealing_failures", "Failed unsealings by cause", failures.clone());
        let unsealing_seconds = Histogram::new(SECONDS);
        registry.register(
            "unsealing_seconds",
            "From accepted keys to the verdict of the last chunk",
            unsealing_seconds.clone(),
        );
        let barrier_seconds = Histogram::new(SECONDS);
        registry.register(
            "barrier_seconds",
            "From the last unsealing to the published record",
            barrier_seconds.clone(),
        );
        let writing = Gauge::default();
        registry.register("journal_writing", "Whether the journal takes appends", writing.clone());
        writing.set(1);
        Self {
            registry,
            restarts,
            busy,
            projects_live,
            slow_readers_cut,
            wake_lateness_seconds,
            slow_append_seconds,
            orders,
            unsealed,
            failures,
            unsealing_seconds,
            barrier_seconds,
            writing,
        }
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut out = String::new();
        encode(&mut out, &self.registry).expect("a string takes any text");
        out
    }

    /// Notes a full queue.
    pub fn note_busy(&self, part: &'static str) {
        self.busy.get_or_create(&Part { part }).inc();
    }

    /// Notes an actor started anew.
    pub fn note_restart(&self, part: &'static str) {
        self.restarts.get_or_create(&Part { part }).inc();
    }

    /// Notes a failed unsealing.
    pub fn note_failure(&self, cause: FailureCause) {
        self.failures.get_or_create(&Cause { cause: cause_text(cause) }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];

fn cause_text(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::WrongToken => "wrong_token",
        FailureCause::TokenTrouble => "token_trouble",
        FailureCause::WrongKey => "wrong_key",
        FailureCause::DamagedUpload => "damaged_upload",
        FailureCause::MalformedPackage => "malformed_package",
        FailureCause::DamagedStore => "damaged_store",
        FailureCause::NoShow => "no_show",
        FailureCause::PlatformFault => "platform_fault",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_under_its_cause() {
        let metrics = Metrics::new();
        metrics.note_failure(FailureCause::WrongToken);
        let text = metrics.text();
        assert!(text.contains(r#"kaibiao_unsealing_failures_total{cause="wrong_token"} 1"#), "{text}");
        assert!(text.contains("kaibiao_journal_writing 1"), "{text}");
    }

    #[test]
    fn before_any_deadline_there_is_no_name_that_could_count_bids_handed_in() {
        let text = Metrics::new().text();
        for telling in
            ["upload", "receipt", "submitted", "received", "final", "staged", "append_seconds_count"]
        {
            assert!(!text.contains(telling), "{telling} in {text}");
        }
    }
}
