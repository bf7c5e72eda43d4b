//! What must hold always, as predicates: KB-1 to KB-8 of the design.
//!
//! Tests, the simulator and, where cheap, production call the same functions. They read a project's
//! history (its events with their stamps) or what was sent, and rebuild what they need on their own:
//! a predicate that asked the machine would believe it. Where an invariant is about bytes or keys,
//! which the engine never sees, the predicate covers what shows in the history and says so.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_protocol::{
    bid::FailureCause,
    event::ProjectEvent,
    ids::{BidId, LotNo, OrganisationId},
    moment::Moment,
    project::ProjectSpec,
    record::{LotRecord, OpeningRecord, RowOutcome},
    view::{OwnEvent, RoomEvent},
};

use crate::{
    keeper::Machine as _,
    project::{Project, ProjectMachine},
    rules::RulePack,
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

/// Every predicate that a history alone can answer.
///
/// # Errors
/// The first that does not hold.
pub fn history_holds(history: &History) -> Holds {
    kb_1(history)?;
    kb_4(history)?;
    kb_5(history)?;
    kb_6_barrier(history)?;
    kb_7(history)
}

fn spec_of(history: &History) -> Option<&ProjectSpec> {
    history.iter().find_map(|(_, event)| match event {
        ProjectEvent::ProjectCreated { spec, .. } => Some(spec),
        _ => None,
    })
}

/// KB-1: no byte of a bid is readable before its opening. What shows here: no key is asked for or
/// kept, and nothing unsealed, before the bids are counted and the deadline has come. That nothing
/// else can read a bid is a matter of the sealed form: the engine holds no key.
///
/// # Errors
/// If it does not hold.
pub fn kb_1(history: &History) -> Holds {
    let Some(spec) = spec_of(history) else { return Ok(()) };
    let mut counted = false;
    for (at, event) in history {
        match event {
            ProjectEvent::ReceivingClosed { .. } => counted = true,
            ProjectEvent::OpeningStarted { .. }
            | ProjectEvent::OrderIssued { .. }
            | ProjectEvent::KeysAccepted { .. }
            | ProjectEvent::BidUnsealed { .. }
            | ProjectEvent::RecordsPublished { .. } => {
                holds("KB-1", counted && *at >= spec.deadline, || {
                    format!("{} before the deadline or before the count", event.kind())
                })?;
            }
            _ => {}
        }
    }
    Ok(())
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

/// A bid as the history tells of it.
struct Received<'a> {
    bid: BidId,
    at: Moment,
    lots: &'a BTreeSet<LotNo>,
}

/// Who stands when the bids are counted: of each supplier the bid with the latest stamp, unless that
/// one was withdrawn; in the order of receipt.
fn standing(history: &History) -> Vec<Received<'_>> {
    let mut latest: BTreeMap<&OrganisationId, Received<'_>> = BTreeMap::new();
    let mut withdrawn: BTreeSet<BidId> = BTreeSet::new();
    for (_, event) in history {
        match event {
            ProjectEvent::BidSubmitted { facts, received_at, .. } => {
                let known = latest.get(&facts.supplier);
                if known.is_none_or(|known| known.at <= *received_at) {
                    let received = Received { bid: facts.bid, at: *received_at, lots: &facts.lots };
                    latest.insert(&facts.supplier, received);
                }
            }
            ProjectEvent::BidWithdrawn { bid, .. } => {
                withdrawn.insert(*bid);
            }
            ProjectEvent::ReceivingClosed { .. } => break,
            _ => {}
        }
    }
    let mut standing: Vec<Received<'_>> = latest.into_values().collect();
    standing.retain(|received| !withdrawn.contains(&received.bid));
    standing.sort_by_key(|received| (received.at, received.bid));
    standing
}

/// KB-4: every bid standing at the deadline is in the record of each of its lots exactly once: opened,
/// failed with a cause, or not opened by rule; and nobody else is.
///
/// # Errors
/// If it does not hold.
pub fn kb_4(history: &History) -> Holds {
    let published = history.iter().find_map(|(_, event)| match event {
        ProjectEvent::RecordsPublished { record } => Some(record),
        _ => None,
    });
    let (Some(record), Some(spec)) = (published, spec_of(history)) else { return Ok(()) };
    let standing = standing(history);
    holds("KB-4", record.lots.keys().eq(spec.lots.keys()), || {
        "the record does not have the project's lots".to_owned()
    })?;
    for (lot, lot_record) in &record.lots {
        let due: Vec<BidId> =
            standing.iter().filter(|bid| bid.lots.contains(lot)).map(|received| received.bid).collect();
        let pack = RulePack::named(&spec.rule_pack).unwrap_or_default();
        let opens = pack.lot_opens(u32::try_from(due.len()).unwrap_or(u32::MAX));
        let (recorded, opened): (Vec<BidId>, bool) = match lot_record {
            LotRecord::Opened { rows } => {
                let numbered = rows.iter().map(|row| row.no).eq((1..).take(rows.len()));
                holds("KB-4", numbered, || format!("the rows of lot {lot} are not numbered from 1"))?;
                (rows.iter().map(|row| row.bid).collect(), true)
            }
            LotRecord::NotOpened { bids, .. } => (bids.iter().map(|row| row.bid).collect(), false),
        };
        holds("KB-4", recorded == due, || format!("lot {lot} records {recorded:?} where {due:?} stood"))?;
        holds("KB-4", opened == opens, || format!("lot {lot} with {} bids: opened {opened}", due.len()))?;
    }
    Ok(())
}

/// KB-5: no bid is stamped at or after the deadline.
///
/// # Errors
/// If it does not hold.
pub fn kb_5(history: &History) -> Holds {
    let Some(spec) = spec_of(history) else { return Ok(()) };
    for (at, event) in history {
        if let ProjectEvent::BidSubmitted { facts, received_at, .. } = event {
            holds("KB-5", *received_at < spec.deadline && at == received_at, || {
                format!("bid {} is stamped {received_at:?}", facts.bid)
            })?;
        }
    }
    Ok(())
}

/// What the room must wait for, as the history tells it.
#[derive(Default)]
struct Barrier {
    /// Keys, a mended failure, or a verdict.
    awaited: BTreeSet<BidId>,
    unsealed: BTreeSet<BidId>,
    /// Bids whose keys ever fitted.
    kept: BTreeSet<BidId>,
    /// Bids whose stored bytes are damaged: keys alone do not help them.
    damaged: BTreeSet<BidId>,
    window_opened: bool,
    window_closed: bool,
}

impl Barrier {
    fn take(&mut self, at: Moment, event: &ProjectEvent) {
        match event {
            ProjectEvent::OrderIssued { .. } => self.window_opened = true,
            ProjectEvent::KeysAccepted { bid, .. } => {
                self.kept.insert(*bid);
                if !self.damaged.contains(bid) {
                    self.awaited.insert(*bid);
                }
            }
            ProjectEvent::BidRestored { bid, .. } => {
                self.damaged.remove(bid);
                if self.kept.contains(bid) {
                    self.awaited.insert(*bid);
                }
            }
            ProjectEvent::BidUnsealed { bid } => {
                self.awaited.remove(bid);
                self.unsealed.insert(*bid);
            }
            ProjectEvent::BidFailed { bid, cause, grace_until, .. } => {
                self.unsealed.remove(bid);
                self.damaged.remove(bid);
                // A failure without a grace is final at once.
                if *grace_until == at {
                    self.awaited.remove(bid);
                } else {
                    self.awaited.insert(*bid);
                    self.damaged.extend((*cause == FailureCause::DamagedStore).then_some(*bid));
                }
            }
            ProjectEvent::WindowClosed { no_shows, .. } => {
                self.window_closed = true;
                self.awaited.retain(|bid| !no_shows.contains(bid));
            }
            ProjectEvent::GraceEnded { bids } => self.awaited.retain(|bid| !bids.contains(bid)),
            _ => {}
        }
    }

    fn judge(&self, record: &OpeningRecord) -> Holds {
        let closed = self.window_closed || !self.window_opened;
        holds("KB-6", closed, || "published while the window was open".to_owned())?;
        let awaited = &self.awaited;
        holds("KB-6", awaited.is_empty(), || format!("published while {awaited:?} were awaited"))?;
        let shown = record.lots.values().flat_map(|lot| match lot {
            LotRecord::Opened { rows } => rows.as_slice(),
            LotRecord::NotOpened { .. } => &[],
        });
        for row in shown {
            let has_sheet = matches!(row.outcome, RowOutcome::Unsealed { .. });
            holds("KB-6", has_sheet == self.unsealed.contains(&row.bid), || {
                format!("bid {} is shown otherwise than it was unsealed", row.bid)
            })?;
        }
        Ok(())
    }
}

/// KB-6, the barrier: the records are published once, and only when every bid being opened is unsealed
/// or its failure final. No event before holds a sheet: their types have no place for one.
///
/// # Errors
/// If it does not hold.
pub fn kb_6_barrier(history: &History) -> Holds {
    let mut barrier = Barrier::default();
    let mut published = false;
    for (index, (at, event)) in history.iter().enumerate() {
        match event {
            ProjectEvent::ReceivingClosed { lots } => {
                let opens = |lot: &LotNo| lots.get(lot).is_some_and(|count| count.opens);
                let standing = standing(&history[..index]).into_iter();
                let opened = standing.filter(|bid| bid.lots.iter().any(opens));
                barrier.awaited = opened.map(|received| received.bid).collect();
            }
            ProjectEvent::RecordsPublished { record } => {
                holds("KB-6", !published, || "the records are published twice".to_owned())?;
                published = true;
                barrier.judge(record)?;
            }
            other => barrier.take(*at, other),
        }
    }
    Ok(())
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
    let mut failed: BTreeSet<BidId> = BTreeSet::new();
    let mut admitted: BTreeSet<BidId> = BTreeSet::new();
    for (_, event) in history {
        match event {
            ProjectEvent::BidFailed { bid, .. } => {
                failed.insert(*bid);
            }
            ProjectEvent::BackupAdmitted { bid, .. } => {
                holds("KB-7", failed.contains(bid), || format!("backup of {bid} without a failure"))?;
                admitted.insert(*bid);
            }
            ProjectEvent::KeysAccepted { bid, by_backup: true, .. }
            | ProjectEvent::BidRestored { bid, .. } => {
                holds("KB-7", admitted.contains(bid), || format!("backup of {bid} without leave"))?;
            }
            _ => {}
        }
    }
    Ok(())
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
