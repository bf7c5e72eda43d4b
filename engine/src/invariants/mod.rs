//! What must hold always, as predicates: KB-1 to KB-8 of the design.
//!
//! Tests, the simulator and, where cheap, production call the same functions. They read a project's
//! history (its events with their stamps) or what was sent, and rebuild what they need on their own:
//! a predicate that asked the machine would believe it. Where an invariant is about bytes or keys,
//! which the engine never sees, the predicate covers what shows in the history and says so.

mod watch;

use kaibiao_protocol::{
    event::ProjectEvent,
    ids::OrganisationId,
    moment::Moment,
    view::{OwnEvent, RoomEvent},
};

pub use self::watch::Watch;
use self::watch::Watched;
use crate::{
    keeper::Machine as _,
    project::{Project, ProjectMachine},
    visibility::{Audience, RoomLog},
};

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{invariant} is broken: {what}")]
pub struct Broken {
    /// Which, such as `KB-4`.
    pub invariant: &'static str,
    /// What was found.
    pub what: String,
}

/// Whether an invariant holds.
pub type Holds = Result<(), Broken>;

/// A project's events with their stamps, from the first.
pub type History = [(Moment, ProjectEvent)];

fn holds(invariant: &'static str, so: bool, what: impl FnOnce() -> String) -> Holds {
    if so { Ok(()) } else { Err(Broken { invariant, what: what() }) }
}

/// Every predicate that a history alone can answer, each event on its own: see [`Watch`].
///
/// # Errors
/// The first that does not hold.
pub fn history_holds(history: &History) -> Holds {
    let mut watch = Watch::new();
    history.iter().try_for_each(|(at, event)| watch.take(*at, event))
}

/// One of the watch's predicates over a whole history.
fn only(which: Watched, history: &History) -> Holds {
    let mut watch = Watch::new();
    history.iter().try_for_each(|(at, event)| watch.take_each(*at, event)[which as usize].take())
}

/// KB-1: no byte of a bid is readable before its opening. What shows here: no key is asked for or
/// kept, and nothing unsealed, before the bids are counted and the deadline has come. That nothing
/// else can read a bid is a matter of the sealed form: the engine holds no key.
///
/// # Errors
/// If it does not hold.
pub fn kb_1(history: &History) -> Holds {
    only(Watched::Kb1, history)
}

/// KB-2: replay gives the live state.
///
/// # Errors
/// If it does not hold.
pub fn kb_2(live: &Project, history: &History) -> Holds {
    let mut replayed = Project::default();
    for (at, event) in history {
        ProjectMachine::apply(&mut replayed, event, *at);
    }
    holds("KB-2", replayed == *live, || "replay gives another state than the live one".to_owned())
}

/// KB-3: what a viewer was sent is a prefix of that viewer's projection of the journal.
///
/// # Errors
/// If it does not hold.
pub fn kb_3<T: PartialEq>(sent: &[T], projection: &[T]) -> Holds {
    holds("KB-3", projection.starts_with(sent), || {
        let same = sent.iter().zip(projection).take_while(|(sent, due)| sent == due).count();
        format!("event {} of {} sent is not the one due", same + 1, sent.len())
    })
}

/// The room stream of an audience, as the whole history gives it.
pub fn room_projection(audience: Audience, history: &History) -> Vec<RoomEvent> {
    let mut log = RoomLog::new();
    history.iter().flat_map(|(at, event)| log.push(event, *at).of(audience).to_vec()).collect()
}

/// The own stream of a supplier, as the whole history gives it.
pub fn own_projection(supplier: &OrganisationId, history: &History) -> Vec<OwnEvent> {
    let mut log = RoomLog::new();
    let all = history.iter().flat_map(|(at, event)| log.push(event, *at).own);
    all.filter(|(owner, _)| owner == supplier).map(|(_, event)| event).collect()
}

/// KB-4: every bid standing at the deadline is in the record of each of its lots exactly once: opened,
/// failed with a cause, or not opened by rule; and nobody else is.
///
/// # Errors
/// If it does not hold.
pub fn kb_4(history: &History) -> Holds {
    only(Watched::Kb4, history)
}

/// KB-5: no bid is stamped at or after the deadline.
///
/// # Errors
/// If it does not hold.
pub fn kb_5(history: &History) -> Holds {
    only(Watched::Kb5, history)
}

/// KB-6, the barrier: the records are published once, and only when every bid being opened is unsealed
/// or its failure final. No event before holds a sheet: their types have no place for one.
///
/// # Errors
/// If it does not hold.
pub fn kb_6_barrier(history: &History) -> Holds {
    only(Watched::Kb6, history)
}

/// KB-6, what leaves: none of the prices stands in any text that left before the barrier (frames,
/// answers, log lines), written as in a sheet.
///
/// # Errors
/// If it does not hold.
pub fn kb_6_texts<'a>(before_barrier: impl IntoIterator<Item = &'a str>, prices: &[&str]) -> Holds {
    for text in before_barrier {
        for price in prices {
            holds("KB-6", !text.contains(price), || "a text before the barrier holds a price".to_owned())?;
        }
    }
    Ok(())
}

/// KB-7: a backup used seals again to the ciphertext of its receipt. What shows here: a backup, or
/// restored bytes, are taken only after a recorded failure and the agent's leave. That restored bytes
/// have the receipt's header digest is decided before the event; that the header fixes the ciphertext
/// is proved where the bytes are, in `kaibiao-sealed`.
///
/// # Errors
/// If it does not hold.
pub fn kb_7(history: &History) -> Holds {
    only(Watched::Kb7, history)
}

/// KB-8: secrets appear in no log, journal, error or core. The engine never holds one; given the
/// canaries a test planted, this says whether any text has one.
///
/// # Errors
/// If it does not hold. Does not repeat the secret.
pub fn kb_8<'a>(texts: impl IntoIterator<Item = &'a [u8]>, canaries: &[&[u8]]) -> Holds {
    for text in texts {
        for canary in canaries.iter().filter(|canary| !canary.is_empty()) {
            let found = text.windows(canary.len()).any(|window| window == *canary);
            holds("KB-8", !found, || "a text holds a secret".to_owned())?;
        }
    }
    Ok(())
}
