//! What came of a load.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use kaibiao_bidder::confirm::CheckedRecord;
use kaibiao_protocol::{
    ids::BidId,
    moment::Moment,
    record::{LotRecord, RowOutcome},
};
use serde::Serialize;

use super::{
    Memory, Plan,
    meters::{Latency, Meters},
    relative_ms,
    supplier::Handed,
};

/// The report of a load.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Report {
    /// How many suppliers came.
    pub suppliers: u32,
    /// How many lots there were.
    pub lots: u16,
    /// About how many MiB a bid had.
    pub bid_mb: u32,
    /// How they came.
    pub arrivals: &'static str,
    /// What was drawn from.
    pub seed: u64,
    /// Bids with a receipt.
    pub received: u32,
    /// Bids unsealed, by the record.
    pub unsealed: u32,
    /// Bids acknowledged and not in the record of every lot. Must be 0.
    pub lost: u32,
    /// Bids more than once in a lot's record. Must be 0.
    pub doubled: u32,
    /// Bids in the record that nobody has a receipt for. Must be 0.
    pub strangers: u32,
    /// Verdicts other than the stamp rule's, and repeats with another receipt. Must be 0.
    pub wrong_verdicts: u32,
    /// Refusals by code.
    pub refusals: BTreeMap<String, u32>,
    /// Faults that are no refusals.
    pub faults: BTreeMap<String, u32>,
    /// Latency by step.
    pub latencies: Vec<Latency>,
    /// When receipts were stamped, in milliseconds before (negative) the deadline.
    pub stamps_ms: Vec<i64>,
    /// The server's resident memory before the crowd came, in bytes; none: not our server.
    pub server_memory_before: Option<u64>,
    /// The most it was.
    pub server_memory_peak: Option<u64>,
    /// Bids acknowledged a second, over the time in which receipts were stamped.
    pub bids_per_second: f64,
    /// SHA-256 of the published record; none: there was none.
    pub record_digest: Option<String>,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        meters: &Meters,
        handed: &[Handed],
        record: Option<&CheckedRecord>,
        memory: Memory,
        deadline: Moment,
    ) -> Self {
        let mut stamps: Vec<i64> = Vec::new();
        let mut standing: Vec<BidId> = Vec::new();
        let mut wrong_verdicts = 0;
        for one in handed {
            match one {
                Handed::Received { bid, at, rightly, same_again } => {
                    standing.push(*bid);
                    stamps.push(relative_ms(*at, deadline));
                    wrong_verdicts += u32::from(!rightly) + u32::from(*same_again == Some(false));
                }
                Handed::Refused { wrongly } => wrong_verdicts += u32::from(*wrongly),
                Handed::Failed => {}
            }
        }
        stamps.sort_unstable();
        let (mut lost, mut doubled, mut strangers, mut unsealed) = (0, 0, 0, 0);
        let lots = record.map(|record| record.facts.lots.as_slice()).unwrap_or_default();
        let mut found_somewhere = false;
        for lot in lots {
            found_somewhere = true;
            let mut times: BTreeMap<BidId, u32> = BTreeMap::new();
            match &lot.record {
                LotRecord::Opened { rows } => {
                    for row in rows {
                        *times.entry(row.bid).or_default() += 1;
                        unsealed += u32::from(matches!(row.outcome, RowOutcome::Unsealed { .. }));
                    }
                }
                LotRecord::NotOpened { bids, .. } => {
                    for bid in bids {
                        *times.entry(bid.bid).or_default() += 1;
                    }
                }
            }
            lost += count(standing.iter().filter(|bid| !times.contains_key(bid)));
            doubled += count(times.values().filter(|times| **times > 1));
            strangers += count(times.keys().filter(|bid| !standing.contains(bid)));
        }
        if !found_somewhere {
            lost = count(standing.iter());
        }
        let span_ms = match (stamps.first(), stamps.last()) {
            (Some(first), Some(last)) if last > first => last - first,
            _ => 0,
        };
        // Shown to a person, never decided upon.
        let bids_per_second =
            if span_ms > 0 { standing.len() as f64 * 1_000.0 / span_ms as f64 } else { 0.0 };
        Self {
            suppliers: plan.suppliers,
            lots: plan.lots,
            bid_mb: plan.bid_mb,
            arrivals: plan.arrivals.as_str(),
            seed: plan.seed,
            received: count(standing.iter()),
            unsealed: unsealed / u32::try_from(lots.len().max(1)).expect("lots are few"),
            lost,
            doubled,
            strangers,
            wrong_verdicts,
            refusals: meters.refusals(),
            faults: meters.faults(),
            latencies: meters.latencies(),
            stamps_ms: stamps,
            server_memory_before: (memory.before > 0).then_some(memory.before),
            server_memory_peak: (memory.peak > 0).then_some(memory.peak),
            bids_per_second: (bids_per_second * 10.0).round() / 10.0,
            record_digest: record.map(|record| record.digest.to_string()),
        }
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a report is JSON")
    }

    /// For people.
    pub fn text(&self, out: &Path) -> String {
        let mut text = format!(
            "{} suppliers, {} lots, {} MiB a bid, arrivals {}, seed {}\n\n{:<12} {:>6} {:>10} {:>10} {:>10} {:>10}\n",
            self.suppliers,
            self.lots,
            self.bid_mb,
            self.arrivals,
            self.seed,
            "step",
            "count",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "max ms"
        );
        for one in &self.latencies {
            let step = serde_json::to_value(one.step).unwrap_or_default();
            let _ = writeln!(
                text,
                "{:<12} {:>6} {:>10.1} {:>10.1} {:>10.1} {:>10.1}",
                step.as_str().unwrap_or_default(),
                one.count,
                one.p50_ms,
                one.p90_ms,
                one.p99_ms,
                one.max_ms
            );
        }
        let mib =
            |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let _ = write!(
            text,
            "\nreceived {}, unsealed {}, refused {:?}, faults {:?}\nlost {}, doubled {}, strangers {}, wrong verdicts {} (all must be 0)\n\
             server memory {} before, {} at most; {} bids a second\nreport: {}",
            self.received,
            self.unsealed,
            self.refusals,
            self.faults,
            self.lost,
            self.doubled,
            self.strangers,
            self.wrong_verdicts,
            mib(self.server_memory_before),
            mib(self.server_memory_peak),
            self.bids_per_second,
            out.join("report.html").display()
        );
        text
    }
}

fn count<T>(all: impl Iterator<Item = T>) -> u32 {
    u32::try_from(all.count()).expect("a crowd is counted in a u32")
}
