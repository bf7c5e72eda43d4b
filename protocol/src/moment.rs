//! Instants. The engine is told them; only the outermost layer reads a clock.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An instant in UTC: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Moment(pub i64);

impl Moment {
    /// The instant so many milliseconds later (earlier if negative); saturates at the ends.
    pub fn plus_ms(self, ms: i64) -> Self {
        Moment(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// The instant so many minutes later; saturates at the end.
    pub fn plus_minutes(self, minutes: u32) -> Self {
        self.plus_ms(i64::from(minutes) * 60_000)
    }

    /// Microseconds from `earlier` to this instant; negative if `earlier` is later.
    pub fn micros_since(self, earlier: Moment) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}us", self.0)
    }
}
