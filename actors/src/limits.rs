//! Every bound of the running parts, in one place.

/// Deliveries (frames) a connection may be behind before it is cut.
pub const SINK_DELIVERIES_MAX: usize = 256;
