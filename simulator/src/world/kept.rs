//! Seeds that found something once.

use super::plan::Profile;

/// A kept seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptSeed {
    /// Its profile.
    pub profile: Profile,
    /// The seed.
    pub seed: u64,
    /// What it found.
    pub found: &'static str,
}

/// Every kept seed, from `kept_seeds.txt`: lines of `profile seed what it found`.
///
/// # Panics
/// If a line is not of this form: the file is part of the program.
pub fn kept_seeds() -> Vec<KeptSeed> {
    let lines = include_str!("kept_seeds.txt").lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(kept).collect()
}

fn kept(line: &'static str) -> KeptSeed {
    let words = || {
        let (profile, rest) = line.split_once(' ')?;
        let (seed, found) = rest.split_once(' ')?;
        let profile = Profile::ALL.into_iter().find(|one| one.name() == profile)?;
        Some(KeptSeed { profile, seed: seed.parse().ok()?, found: found.trim() })
    };
    words().unwrap_or_else(|| panic!("a kept seed is written `profile seed what it found`: {line}"))
}
