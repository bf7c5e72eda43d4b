//! What came of the deadline second.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use kaibiao_protocol::moment::Moment;
use serde::Serialize;

use super::{
    super::{Memory, Plan, relative_ms},
    Second,
    verdicts::Judged,
};

/// How long a slice of the queue's plot is, in milliseconds.
const SLICE_MS: i64 = 20;
/// The most the 99th of 100 may wait, in milliseconds.
const P99_MAX_MS: f64 = 3_000.0;

/// The report.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DeadlineReport {
    /// How many suppliers sent their last byte in the last second.
    pub suppliers: u32,
    /// To how many projects.
    pub projects: u32,
    /// Bytes of all bids.
    pub bytes: u64,
    /// KiB of each that were sent in the second.
    pub last_kb: u32,
    /// What was drawn from.
    pub seed: u64,
    /// Signed verdicts by name.
    pub verdicts: BTreeMap<String, u32>,
    /// Suppliers without a signed verdict. Must be 0.
    pub without: u32,
    /// Verdicts other than the stamp rule's, unsigned, or of a stamp that cannot be. Must be 0.
    pub wrong: u32,
    /// What was wrong, with how many.
    pub faults: BTreeMap<String, u32>,
    /// From the last byte to the verdict: the median, in milliseconds.
    pub p50_ms: f64,
    /// 95 in 100 are faster.
    pub p95_ms: f64,
    /// 99 in 100 are faster.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
    /// 101 points from the fastest to the slowest.
    pub curve_ms: Vec<f64>,
    /// From the last byte's leaving to the stamp in the verdict, 99 in 100.
    pub stamped_p99_ms: f64,
    /// From the first last byte to the last verdict.
    pub all_ms: f64,
    /// The bare writer of the same bytes.
    pub bare_ms: f64,
    /// p99 in bare writers.
    pub p99_in_bare: f64,
    /// The whole in bare writers.
    pub all_in_bare: f64,
    /// How many had sent their last byte and had no verdict: milliseconds from the deadline, and number.
    pub queue: Vec<(i64, u32)>,
    /// When verdicts were stamped, in milliseconds from the deadline.
    pub stamps_ms: Vec<i64>,
    /// The server's resident memory before, in bytes; none: not our server.
    pub server_memory_before: Option<u64>,
    /// The most it was.
    pub server_memory_peak: Option<u64>,
}

impl DeadlineReport {
    pub(super) fn new(
        plan: &Plan,
        second: Second,
        judged: &[Judged],
        bare: (Duration, u64),
        memory: Memory,
        deadline: Moment,
    ) -> Self {
        let (mut verdicts, mut faults) = (BTreeMap::new(), BTreeMap::new());
        let (mut without, mut wrong) = (0, 0);
        let mut stamps_ms = Vec::new();
        let mut stamped_after = Vec::new();
        for one in judged {
            match &one.verdict {
                Some(name) => *verdicts.entry(name.clone()).or_default() += 1,
                None => without += 1,
            }
            if let Some(why) = &one.wrong {
                wrong += 1;
                *faults.entry(why.clone()).or_default() += 1;
            }
            if let Some(stamp) = one.stamp {
                stamps_ms.push(relative_ms(stamp, deadline));
                stamped_after.push(stamp.micros_since(one.left) as f64 / 1_000.0);
            }
        }
        stamps_ms.sort_unstable();
        stamped_after.sort_by(f64::total_cmp);
        let mut after: Vec<f64> =
            judged.iter().filter_map(|one| one.after).map(|span| span.as_secs_f64() * 1_000.0).collect();
        after.sort_by(f64::total_cmp);
        let first = judged.iter().map(|one| one.left).min().unwrap_or(deadline);
        let last = judged.iter().filter_map(|one| one.answered).max().unwrap_or(deadline);
        let all_ms = last.micros_since(first) as f64 / 1_000.0;
        let bare_ms = bare.0.as_secs_f64() * 1_000.0;
        let at = |sorted: &[f64], hundredths: usize| match sorted.len() {
            0 => 0.0,
            count => rounded(sorted[(count - 1) * hundredths / 100]),
        };
        let p99_ms = at(&after, 99);
        Self {
            suppliers: plan.suppliers,
            projects: second.projects,
            bytes: bare.1,
            last_kb: second.last_kb,
            seed: plan.seed,
            verdicts,
            without,
            wrong,
            faults,
            p50_ms: at(&after, 50),
            p95_ms: at(&after, 95),
            p99_ms,
            max_ms: at(&after, 100),
            curve_ms: (0..=100).map(|hundredths| at(&after, hundredths)).collect(),
            stamped_p99_ms: at(&stamped_after, 99),
            all_ms: rounded(all_ms),
            bare_ms: rounded(bare_ms),
            p99_in_bare: rounded(p99_ms / bare_ms),
            all_in_bare: rounded(all_ms / bare_ms),
            queue: queue(judged, deadline),
            stamps_ms,
            server_memory_before: (memory.before > 0).then_some(memory.before),
            server_memory_peak: (memory.peak > 0).then_some(memory.peak),
        }
    }

    /// Whether everybody has the signed verdict that the stamp rule gives.
    pub fn holds(&self) -> bool {
        self.without == 0 && self.wrong == 0
    }

    /// As one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("a report is JSON")
    }

    /// For people.
    pub fn text(&self, out: &Path) -> String {
        let mib =
            |bytes: Option<u64>| bytes.map_or_else(|| "?".to_owned(), |bytes| format!("{} MiB", bytes >> 20));
        let mut text = format!(
            "{} last bytes in the last second, to {} projects; {} bytes in all, {} KiB of each in that second, seed {}\n\n",
            self.suppliers, self.projects, self.bytes, self.last_kb, self.seed
        );
        for (name, count) in &self.verdicts {
            let _ = writeln!(text, "{name:<44}{count:>8}");
        }
        let _ = writeln!(text, "{:<44}{:>8}   (must be 0)", "without a signed verdict", self.without);
        let _ = writeln!(text, "{:<44}{:>8}   (must be 0)", "wrong verdicts", self.wrong);
        for (why, count) in &self.faults {
            let _ = writeln!(text, "  {count} x {why}");
        }
        let reached = if self.p99_ms <= P99_MAX_MS { "reached" } else { "MISSED" };
        for (name, ms, more) in [
            ("last byte to verdict, median", self.p50_ms, String::new()),
            ("last byte to verdict, 95 of 100", self.p95_ms, String::new()),
            ("last byte to verdict, 99 of 100", self.p99_ms, format!("   (at most {P99_MAX_MS}: {reached})")),
            ("last byte to verdict, the slowest", self.max_ms, String::new()),
            ("last byte to stamp, 99 of 100", self.stamped_p99_ms, String::new()),
            ("first last byte to last verdict", self.all_ms, String::new()),
            ("the bare segment writer, same bytes", self.bare_ms, String::new()),
        ] {
            let _ = writeln!(text, "{name:<44}{ms:>8.0} ms{more}");
        }
        let _ = writeln!(text, "{:<44}{:>8.2} x", "99 of 100 / bare writer", self.p99_in_bare);
        let _ = writeln!(text, "{:<44}{:>8.2} x", "all / bare writer", self.all_in_bare);
        let most = self.queue.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        let _ = writeln!(text, "{:<44}{most:>8}", "queue, at its deepest");
        let shown = self.queue.iter().step_by((self.queue.len() / 16).max(1));
        let depths: Vec<String> = shown.map(|(ms, depth)| format!("{ms}:{depth}")).collect();
        let _ = writeln!(text, "queue, ms from the deadline:depth            {}", depths.join(" "));
        let _ = write!(
            text,
            "server memory {} before, {} at most\nreport: {}",
            mib(self.server_memory_before),
            mib(self.server_memory_peak),
            out.join("report.html").display()
        );
        text
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// How many wait for their verdict at each slice of time.
fn queue(judged: &[Judged], deadline: Moment) -> Vec<(i64, u32)> {
    let mut changes: BTreeMap<i64, i64> = BTreeMap::new();
    let slice = |at: Moment| relative_ms(at, deadline).div_euclid(SLICE_MS);
    for one in judged {
        *changes.entry(slice(one.left)).or_default() += 1;
        if let Some(answered) = one.answered {
            *changes.entry(slice(answered)).or_default() -= 1;
        }
    }
    let (Some(first), Some(last)) = (changes.keys().next().copied(), changes.keys().next_back().copied())
    else {
        return Vec::new();
    };
    let mut depth = 0;
    (first..=last)
        .map(|slice| {
            depth += changes.get(&slice).copied().unwrap_or(0);
            (slice * SLICE_MS, u32::try_from(depth).unwrap_or(0))
        })
        .collect()
}
