//! At which calls to kill or fail: every one, or a spread that has the first and the last of every kind.

use std::{collections::BTreeMap, fs, path::Path};

/// A call of a traced play.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) no: u64,
    /// What is called on what by whom, without names drawn by chance.
    pub(crate) kind: String,
}

/// The calls written down.
pub(crate) fn calls(trace: &Path) -> Vec<Call> {
    let text = fs::read_to_string(trace).unwrap_or_default();
    text.lines()
        .map(|line| {
            let mut words = line.split('\t');
            let no = words.next().unwrap().parse().unwrap();
            let (call, path) = (words.next().unwrap(), words.next().unwrap());
            let path = path.split_once("/data/").map_or("", |(_, path)| path);
            let plain = path.split('/').map(|part| if is_drawn(part) { "*" } else { part });
            Call { no, kind: format!("{call} {}", plain.collect::<Vec<_>>().join("/")) }
        })
        .collect()
}

/// Ids, their first digits, and what a name has behind an id.
fn is_drawn(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or_default();
    matches!(stem.len(), 2 | 16 | 32) && stem.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// About so many calls, evenly, with the first and the last of every kind.
pub(crate) fn spread(calls: &[Call], about: usize) -> Vec<Call> {
    let mut ends: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for call in calls {
        ends.entry(&call.kind).and_modify(|ends| ends.1 = call.no).or_insert((call.no, call.no));
    }
    let every = (calls.len() / about).max(1);
    let is_end = |call: &Call| ends[call.kind.as_str()].0 == call.no || ends[call.kind.as_str()].1 == call.no;
    let chosen = calls.iter().enumerate().filter(|(place, call)| place % every == 0 || is_end(call));
    chosen.map(|(_, call)| call.clone()).collect()
}

/// What was tried, for the report.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<String, usize>);

impl Tally {
    pub(crate) fn count(&mut self, what: &str) {
        *self.0.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(what, count)| format!("{count:5}  {what}\n")).collect()
    }
}
