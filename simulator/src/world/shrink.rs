//! A failing plan made shorter: fewer deeds, the same broken invariant.
//!
//! Delta debugging: ever smaller chunks of deeds are left out as long as the same invariant breaks without them. Each
//! deed draws by its own number, so those that stay are what they were.

use super::{
    plan::{Deed, Plan},
    run::{Found, run},
};

/// The most worlds played for one story.
const PLAYS_MAX: u32 = 600;

/// The plan with as few deeds as still break the same invariant, and how it breaks.
pub fn shrunk(plan: &Plan, found: &Found) -> (Plan, Found) {
    shrunk_by(plan, found, &mut |plan| run(plan).broken)
}

/// The same, with the world to be played given.
fn shrunk_by(plan: &Plan, found: &Found, breaks: &mut dyn FnMut(&Plan) -> Option<Found>) -> (Plan, Found) {
    let mut least = plan.clone();
    let mut how = found.clone();
    let mut plays = 0;
    let mut chunk = least.deeds.len().div_ceil(2);
    while chunk > 0 && plays < PLAYS_MAX {
        let mut from = 0;
        let mut fewer = false;
        while from < least.deeds.len() && plays < PLAYS_MAX {
            let kept: Vec<Deed> = without(&least.deeds, from, chunk);
            let candidate = Plan { deeds: kept, ..least.clone() };
            plays += 1;
            match breaks(&candidate).filter(|now| now.broken.invariant == found.broken.invariant) {
                Some(now) => {
                    (least, how) = (candidate, now);
                    fewer = true;
                }
                None => from += chunk,
            }
        }
        // A round of single deeds is done again as long as it finds any.
        if chunk > 1 {
            chunk = chunk.div_ceil(2).min(chunk - 1);
        } else if !fewer {
            chunk = 0;
        }
    }
    (least, how)
}

fn without(deeds: &[Deed], from: usize, count: usize) -> Vec<Deed> {
    let until = (from + count).min(deeds.len());
    deeds[..from].iter().chain(&deeds[until..]).cloned().collect()
}

#[cfg(test)]
mod tests {
    use kaibiao_engine::invariants::Broken;

    use super::*;
    use crate::world::plan::Profile;

    #[test]
    fn only_the_deeds_that_are_needed_stay() {
        let plan = Plan::drawn(1, Profile::Opening);
        let needed = [plan.deeds[3].no, plan.deeds[20].no];
        let found =
            || Found { broken: Broken { invariant: "KB-4", what: String::new() }, at: Default::default() };
        let mut breaks = |plan: &Plan| {
            let has = |no: &u32| plan.deeds.iter().any(|deed| deed.no == *no);
            needed.iter().all(has).then(found)
        };
        let (least, _) = shrunk_by(&plan, &found(), &mut breaks);
        assert_eq!(least.deeds.iter().map(|deed| deed.no).collect::<Vec<_>>(), needed);
    }
}
