//! What the house counts (skeleton).

/// The house's metrics.
pub struct Metrics {
    registry: prometheus_client::registry::Registry,
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let _ = &self.registry;
        todo!()
    }
}
