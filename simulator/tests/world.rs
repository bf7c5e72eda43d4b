//! The simulated world: every invariant holds in every world, and what is wrong is found.

use std::process::Command;

use kaibiao_simulator::world::{
    kept::kept_seeds,
    plan::{Plan, Profile},
    report::{Sweep, sweep},
    run,
    shrink::shrunk,
    story::story,
};

/// How many worlds the tests play, over all profiles.
const WORLDS: u64 = 10_000;

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

#[test]
fn every_kept_seed_holds() {
    for kept in kept_seeds() {
        let plan = Plan::drawn(kept.seed, kept.profile);
        if let Some(found) = run(&plan).broken {
            let (least, found) = shrunk(&plan, &found);
            panic!("{} (it once found: {})", story(&least, &found), kept.found);
        }
    }
}

#[test]
fn a_seed_gives_the_same_world_twice() {
    for profile in Profile::ALL {
        for seed in 0..10 {
            let plan = Plan::drawn(seed, profile);
            assert_eq!(plan, Plan::drawn(seed, profile));
            let (first, second) = (run(&plan), run(&plan));
            assert_eq!(first.digest, second.digest, "{profile:?} {seed}");
            assert_eq!(first.until, second.until, "{profile:?} {seed}");
        }
    }
}

#[test]
fn every_invariant_holds_in_ten_thousand_worlds() {
    let worlds = Sweep { seeds: 0..WORLDS, profile: None, threads: cores(), broken_max: 1 };
    let report = sweep(&worlds, &|_| ());
    assert!(report.holds(), "{}", report.text());
    assert_eq!(report.worlds, WORLDS);
    println!("{}", report.text());
}

#[test]
fn the_command_plays_a_world_and_says_what_to_do_about_wrong_arguments() {
    let sim = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_kaibiao-sim")).args(arguments).output().expect("the program runs")
    };
    let played = sim(&["--json", "world", "--seed", "1", "--profile", "opening"]);
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stdout));
    let report: serde_json::Value = serde_json::from_slice(&played.stdout).unwrap();
    assert_eq!((&report["worlds"], &report["broken"]), (&1.into(), &serde_json::json!([])));
    for (wrong, told) in [
        (&["world"][..], "--seed"),
        (&["world", "--seeds", "9..3"], "such as 0..1000"),
        (&["world", "--seeds", "9"], "such as 0..1000"),
        (&["world", "--seed", "1", "--seeds", "0..2"], "--seeds"),
        (&["world", "--seed", "1", "--profile", "weather"], "deadline, opening, life, crash"),
    ] {
        let refused = sim(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains(told), "{wrong:?}: {said}");
    }
}
