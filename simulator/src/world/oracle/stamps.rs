//! Stamps: strictly ascending in the order given, restarts and set clocks included.

use std::collections::BTreeSet;

use kaibiao_engine::invariants::Holds;
use kaibiao_protocol::moment::Moment;

use super::ensure;

/// What anybody was told of stamps.
#[derive(Default)]
pub(crate) struct Stamps {
    latest: Option<Moment>,
    /// Stamps of single commands and finals.
    given: BTreeSet<Moment>,
}

impl Stamps {
    /// The latest that anybody knows: whatever is sent from now on is stamped later.
    pub(crate) fn latest(&self) -> Option<Moment> {
        self.latest
    }

    /// A stamp was shown.
    pub(crate) fn heard(&mut self, at: Moment) {
        self.latest = self.latest.max(Some(at));
    }

    /// Somebody is told the stamp of what it asked when `floor` was known.
    pub(crate) fn given(&mut self, at: Moment, floor: Option<Moment>) -> Holds {
        ensure("stamp", floor.is_none_or(|floor| at > floor), || {
            let back = floor.map_or(0, |floor| floor.micros_since(at));
            format!("a stamp lies {back} us before one that was known when it was asked for")
        })?;
        let new = self.given.insert(at);
        self.heard(at);
        ensure("stamp", new, || format!("the stamp {at:?} was given twice"))
    }
}
