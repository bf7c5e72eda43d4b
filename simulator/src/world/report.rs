//! Many worlds, on all cores, and what came of them.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{
    plan::{Plan, Profile},
    run::{Found, run},
    shrink::shrunk,
    story::story,
};

/// Which worlds.
pub struct Sweep {
    /// The seeds.
    pub seeds: Range<u64>,
    /// Of which profile; none: the profiles in turn.
    pub profile: Option<Profile>,
    /// On how many threads.
    pub threads: usize,
    /// After how many broken worlds to stop.
    pub broken_max: usize,
}

/// The profile of a seed where none is named: each in turn.
pub fn profile_of(seed: u64) -> Profile {
    Profile::ALL[(seed % Profile::ALL.len() as u64) as usize]
}

/// What came of many worlds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Worlds played.
    pub worlds: u64,
    /// How long it took.
    pub seconds: f64,
    /// The time that cores worked on them.
    pub core_seconds: f64,
    /// Hours that passed in the worlds.
    pub simulated_hours: f64,
    /// Deeds and faults by profile and kind.
    pub counts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Kinds of faults that a profile should have and that never happened.
    pub missing: Vec<String>,
    /// Worlds in which something broke, by seed.
    pub broken: Vec<BrokenWorld>,
    /// The story of the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub story: Option<String>,
}

/// A world in which something broke.
#[derive(Clone, Debug, Serialize)]
pub struct BrokenWorld {
    /// Its seed.
    pub seed: u64,
    /// Its profile.
    pub profile: &'static str,
    /// The invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// What the threads share.
struct Shared {
    next: AtomicU64,
    enough: AtomicBool,
    report: Mutex<(Report, Vec<(Plan, Found)>)>,
}

/// Plays the worlds; `progress` is told after each how many are done.
///
/// # Panics
/// If a thread cannot be started.
pub fn sweep(sweep: &Sweep, progress: &(dyn Fn(u64) + Sync)) -> Report {
    let began = Instant::now();
    let shared = Shared {
        next: AtomicU64::new(sweep.seeds.start),
        enough: AtomicBool::new(false),
        report: Mutex::new((Report::default(), Vec::new())),
    };
    std::thread::scope(|scope| {
        for _ in 0..sweep.threads.max(1) {
            scope.spawn(|| plays(sweep, &shared, progress));
        }
    });
    let (mut report, mut broken) = shared.report.into_inner().expect("no thread died while it wrote");
    report.seconds = began.elapsed().as_secs_f64();
    report.missing = missing(sweep, &report);
    broken.sort_by_key(|(plan, _)| plan.seed);
    report.story = broken.first().map(|(plan, found)| {
        let (least, found) = shrunk(plan, found);
        story(&least, &found)
    });
    report.broken = broken
        .iter()
        .map(|(plan, found)| BrokenWorld {
            seed: plan.seed,
            profile: plan.profile.name(),
            invariant: found.broken.invariant,
            what: found.broken.what.clone(),
        })
        .collect();
    report
}

/// How long a core worked for this thread: what others do on the machine does not count.
fn core_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

fn plays(sweep: &Sweep, shared: &Shared, progress: &(dyn Fn(u64) + Sync)) {
    loop {
        let seed = shared.next.fetch_add(1, Ordering::Relaxed);
        if seed >= sweep.seeds.end || shared.enough.load(Ordering::Relaxed) {
            return;
        }
        let profile = sweep.profile.unwrap_or_else(|| profile_of(seed));
        let began = core_time();
        let plan = Plan::drawn(seed, profile);
        let outcome = run(&plan);
        let took: Duration = core_time().saturating_sub(began);
        let mut guard = shared.report.lock().expect("no thread died while it wrote");
        let (report, broken) = &mut *guard;
        report.worlds += 1;
        report.core_seconds += took.as_secs_f64();
        report.simulated_hours += outcome.until.0 as f64 / 3_600e6;
        let counts = report.counts.entry(profile.name()).or_default();
        for (kind, count) in outcome.counts {
            *counts.entry(kind).or_default() += count;
        }
        if let Some(found) = outcome.broken {
            broken.push((plan, found));
            shared.enough.store(broken.len() >= sweep.broken_max, Ordering::Relaxed);
        }
        progress(report.worlds);
    }
}

/// Faults that should have happened somewhere: told where enough worlds were played to expect them.
fn missing(sweep: &Sweep, report: &Report) -> Vec<String> {
    let worlds_enough = report.worlds >= 200;
    let profiles = Profile::ALL.iter().filter(|profile| sweep.profile.is_none_or(|only| only == **profile));
    let of = |profile: &Profile| {
        let counts = report.counts.get(profile.name());
        let never = |kind: &&&str| counts.is_none_or(|counts| !counts.contains_key(**kind));
        let missing: Vec<&str> = profile.faults().iter().filter(never).copied().collect();
        missing.into_iter().map(|kind| format!("{}: {kind}", profile.name())).collect::<Vec<_>>()
    };
    profiles.filter(|_| worlds_enough).flat_map(of).collect()
}

impl Report {
    /// Whether every invariant held in every world, and every kind of fault happened.
    pub fn holds(&self) -> bool {
        self.broken.is_empty() && self.missing.is_empty()
    }

    /// As people read it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let per = |seconds: f64| self.worlds as f64 / seconds.max(1e-9);
        let _ = writeln!(
            text,
            "{} worlds in {:.1} s: {:.0} a second, {:.0} a core-second; {:.0} simulated hours",
            self.worlds,
            self.seconds,
            per(self.seconds),
            per(self.core_seconds),
            self.simulated_hours
        );
        let profiles: Vec<&str> = self.counts.keys().copied().collect();
        let mut kinds: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (place, counts) in self.counts.values().enumerate() {
            for (kind, count) in counts {
                kinds.entry(kind).or_insert_with(|| vec![0; profiles.len()])[place] += count;
            }
        }
        let _ = write!(text, "\n{:<28}", "deeds and faults");
        for profile in &profiles {
            let _ = write!(text, "{profile:>12}");
        }
        let _ = writeln!(text);
        for (kind, counts) in kinds {
            let _ = write!(text, "{kind:<28}");
            for count in counts {
                let _ = write!(text, "{count:>12}");
            }
            let _ = writeln!(text);
        }
        for missing in &self.missing {
            let _ = writeln!(text, "\nnever happened, so nothing is known of it: {missing}");
        }
        if let Some(story) = &self.story {
            let _ = writeln!(text, "\n{story}");
        }
        for broken in &self.broken {
            let _ = writeln!(
                text,
                "broken: --seed {} --profile {}: {}: {}",
                broken.seed, broken.profile, broken.invariant, broken.what
            );
        }
        if self.broken.is_empty() {
            let _ = writeln!(text, "\nEvery invariant held.");
        }
        text
    }
}
