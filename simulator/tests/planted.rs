//! The score of planted wrongs: each is one careless line in the production code, and the world finds it.
//!
//! `cargo test -p kaibiao-simulator --features planted --test planted`; prints how many seeds each took.

#![cfg(feature = "planted")]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use kaibiao_engine::planted::{Planted, with};
use kaibiao_simulator::world::{
    plan::{Plan, Profile},
    run,
};

/// Where a wrong is looked for, in this order, and in how many worlds of each kind at most.
fn where_to_look(wrong: Planted) -> &'static [Profile] {
    use Profile::{Crash, Deadline, Life, Opening};
    match wrong {
        Planted::LateByOne
        | Planted::CountBeforeSettling
        | Planted::EarlierStampWins
        | Planted::WithdrawnStands
        | Planted::RoomToldOfBids
        | Planted::VerdictBeforeStage
        | Planted::StampedAnew
        | Planted::TicketSettledEarly
        | Planted::AnyonesFile
        | Planted::JudgedTwice
        | Planted::BusyAfterStamp
        | Planted::ClockFollowedBack
        | Planted::StampsRepeat => &[Deadline, Crash, Life, Opening],
        Planted::PublishEarly
        | Planted::BackupWithoutFailure
        | Planted::KeysAfterWindow
        | Planted::NoShowDropped
        | Planted::OwnStreamLeaks
        | Planted::ExtendedTwice
        | Planted::DecideOnCommitted
        | Planted::SheetsOfOneMissing
        | Planted::NoNewOrder
        | Planted::VerdictLostAtRestart
        | Planted::ElapsesWhileDown
        | Planted::EpochNotRaised
        | Planted::SheetsShownEarly
        | Planted::FrameSkippedOnResume
        | Planted::SlowReaderLosesFrames => &[Opening, Crash, Life, Deadline],
        Planted::AnswerBeforeAppend
        | Planted::LastEventLost
        | Planted::AckBeforeSync
        | Planted::HeadBeforeRecords
        | Planted::HeadNotWritten
        | Planted::FailedSyncRetried => &[Crash, Opening, Deadline, Life],
        Planted::RevokedStillTold | Planted::TooFewOpened => &[Life, Opening, Crash, Deadline],
    }
}

/// The most worlds played of one profile for one wrong.
const SEEDS_MAX: u64 = 600;

/// How a wrong was found.
struct Finding {
    profile: Profile,
    /// Seeds needed, from 1, over all profiles tried.
    seeds: u64,
    invariant: &'static str,
    what: String,
}

fn look_for(wrong: Planted) -> Option<Finding> {
    let mut seeds = 0;
    for profile in where_to_look(wrong) {
        for seed in 0..SEEDS_MAX {
            seeds += 1;
            let plan = Plan::drawn(seed, *profile);
            let broken = with(wrong, || run(&plan)).broken;
            // Only what the wrong itself brought about counts.
            if let Some(found) = broken.filter(|_| run(&plan).broken.is_none()) {
                let (invariant, what) = (found.broken.invariant, found.broken.what);
                return Some(Finding { profile: *profile, seeds, invariant, what });
            }
        }
    }
    None
}

#[test]
fn the_world_finds_every_planted_wrong() {
    let only = std::env::var("KAIBIAO_PLANTED").ok();
    let wrongs: Vec<Planted> = Planted::ALL
        .iter()
        .copied()
        .filter(|wrong| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == wrong.name())))
        .collect();
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(Planted, Option<Finding>)>> = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(wrong) = wrongs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let finding = look_for(*wrong);
                    let seeds = finding.as_ref().map(|finding| finding.seeds);
                    eprintln!("{}: {seeds:?} seeds", wrong.name());
                    found.lock().unwrap().push((*wrong, finding));
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort_by_key(|(wrong, _)| *wrong);
    println!("{:<26} {:<10} {:>6}  {:<12} what was seen", "planted wrong", "profile", "seeds", "invariant");
    for (wrong, finding) in &found {
        match finding {
            Some(Finding { profile, seeds, invariant, what }) => {
                let what: String = what.chars().take(110).collect();
                println!("{:<26} {:<10} {seeds:>6}  {invariant:<12} {what}", wrong.name(), profile.name());
            }
            None => println!("{:<26} not found: {}", wrong.name(), wrong.about()),
        }
    }
    let missed = found.iter().filter(|(wrong, finding)| finding.is_none());
    let missed: Vec<&str> = missed.map(|(wrong, _)| wrong.name()).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
    assert!(only.is_some() || found.len() >= 25);
}
