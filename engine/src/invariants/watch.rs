//! The predicates of a history, one event at a time: what one event costs does not grow with what
//! came before it, so that the simulated world can watch after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kaibiao_protocol::{
    bid::FailureCause,
    event::{LotCount, ProjectEvent},
    ids::{BidId, LotNo, OrganisationId},
    moment::Moment,
    project::ProjectSpec,
    record::{LotRecord, OpeningRecord, RowOutcome},
};

use super::{Holds, holds};
use crate::rules::RulePack;

/// Which predicate of a [`Watch`].
#[derive(Clone, Copy)]
pub(super) enum Watched {
    Kb1,
    Kb4,
    Kb5,
    Kb6,
    Kb7,
}

/// How many there are.
const WATCHED: usize = 5;

/// What each predicate says, `Some` where it is broken; in the order of [`Watched`].
pub(super) type Each = [Said; WATCHED];

/// What one predicate says of one event.
pub(super) struct Said(Holds);

impl Said {
    pub(super) fn take(&mut self) -> Holds {
        std::mem::replace(&mut self.0, Ok(()))
    }
}

/// Watches one project's stream: KB-1, KB-4, KB-5, the barrier of KB-6, and KB-7.
///
/// Feed it every event from the first. After one that broke an invariant it goes on as if that event
/// had been right, so that it says what else is wrong.
#[derive(Clone, Default)]
pub struct Watch {
    spec: Option<Arc<Spec>>,
    inbox: Inbox,
    counted: bool,
    barrier: Barrier,
    published: bool,
    failed: BTreeSet<BidId>,
    admitted: BTreeSet<BidId>,
}

/// What of the project's file the predicates need.
#[derive(Clone)]
struct Spec {
    deadline: Moment,
    lots: Vec<LotNo>,
    pack: RulePack,
}

impl Spec {
    fn of(spec: &ProjectSpec) -> Self {
        Spec {
            deadline: spec.deadline,
            lots: spec.lots.keys().copied().collect(),
            pack: RulePack::named(&spec.rule_pack).unwrap_or_default(),
        }
    }
}

impl Watch {
    /// A watch before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// The first invariant that it breaks.
    pub fn take(&mut self, at: Moment, event: &ProjectEvent) -> Holds {
        self.take_each(at, event).iter_mut().try_for_each(Said::take)
    }

    /// Takes the next event and says of each predicate whether it holds.
    pub(super) fn take_each(&mut self, at: Moment, event: &ProjectEvent) -> Each {
        if let ProjectEvent::ProjectCreated { spec, .. } = event {
            self.spec.get_or_insert_with(|| Arc::new(Spec::of(spec)));
        }
        let said = [
            Said(self.kb_1(at, event)),
            Said(self.kb_4(event)),
            Said(self.kb_5(at, event)),
            Said(self.kb_6(event)),
            Said(self.kb_7(event)),
        ];
        self.apply(at, event);
        said
    }

    fn apply(&mut self, at: Moment, event: &ProjectEvent) {
        self.inbox.take(event);
        match event {
            ProjectEvent::DeadlineMoved { deadline, .. } => {
                if let Some(spec) = &mut self.spec {
                    Arc::make_mut(spec).deadline = *deadline;
                }
            }
            ProjectEvent::ReceivingClosed { lots } => {
                self.counted = true;
                self.barrier.awaited = self.inbox.being_opened(lots).collect();
            }
            ProjectEvent::RecordsPublished { .. } => self.published = true,
            ProjectEvent::BidFailed { bid, .. } => {
                self.failed.insert(*bid);
                self.barrier.take(at, event);
            }
            ProjectEvent::BackupAdmitted { bid, .. } => {
                self.admitted.insert(*bid);
            }
            other => self.barrier.take(at, other),
        }
    }

    /// No key is asked for or kept, and nothing unsealed, before the count and the deadline.
    fn kb_1(&self, at: Moment, event: &ProjectEvent) -> Holds {
        let Some(spec) = &self.spec else { return Ok(()) };
        match event {
            ProjectEvent::OpeningStarted { .. }
            | ProjectEvent::OrderIssued { .. }
            | ProjectEvent::KeysAccepted { .. }
            | ProjectEvent::BidUnsealed { .. }
            | ProjectEvent::RecordsPublished { .. } => {
                holds("KB-1", self.counted && at >= spec.deadline, || {
                    format!("{} before the deadline or before the count", event.kind())
                })
            }
            _ => Ok(()),
        }
    }

    /// Every standing bid is in the record of each of its lots exactly once, and nobody else is.
    fn kb_4(&self, event: &ProjectEvent) -> Holds {
        let (ProjectEvent::RecordsPublished { record }, Some(spec)) = (event, &self.spec) else {
            return Ok(());
        };
        if self.published {
            return Ok(());
        }
        holds("KB-4", record.lots.keys().eq(&spec.lots), || {
            "the record does not have the project's lots".to_owned()
        })?;
        let standing = self.inbox.standing();
        for (lot, lot_record) in &record.lots {
            let due: Vec<BidId> =
                standing.iter().filter(|bid| bid.lots.contains(lot)).map(|received| received.bid).collect();
            let opens = spec.pack.lot_opens(u32::try_from(due.len()).unwrap_or(u32::MAX));
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

    /// No bid is stamped at or after the deadline.
    fn kb_5(&self, at: Moment, event: &ProjectEvent) -> Holds {
        let (ProjectEvent::BidSubmitted { facts, received_at, .. }, Some(spec)) = (event, &self.spec) else {
            return Ok(());
        };
        holds("KB-5", *received_at < spec.deadline && at == *received_at, || {
            format!("bid {} is stamped {received_at:?}", facts.bid)
        })
    }

    /// The barrier.
    fn kb_6(&self, event: &ProjectEvent) -> Holds {
        let ProjectEvent::RecordsPublished { record } = event else { return Ok(()) };
        holds("KB-6", !self.published, || "the records are published twice".to_owned())?;
        self.barrier.judge(record)
    }

    /// A backup is taken only after a recorded failure and the agent's leave.
    fn kb_7(&self, event: &ProjectEvent) -> Holds {
        match event {
            ProjectEvent::BackupAdmitted { bid, .. } => {
                holds("KB-7", self.failed.contains(bid), || format!("backup of {bid} without a failure"))
            }
            ProjectEvent::KeysAccepted { bid, by_backup: true, .. }
            | ProjectEvent::BidRestored { bid, .. } => {
                holds("KB-7", self.admitted.contains(bid), || format!("backup of {bid} without leave"))
            }
            _ => Ok(()),
        }
    }
}

/// A bid as the history tells of it.
#[derive(Clone)]
struct Received {
    bid: BidId,
    at: Moment,
    lots: BTreeSet<LotNo>,
}

/// Who stands when the bids are counted: of each supplier the bid with the latest stamp, unless that
/// one was withdrawn.
#[derive(Clone, Default)]
struct Inbox {
    latest: BTreeMap<OrganisationId, Received>,
    withdrawn: BTreeSet<BidId>,
    counted: bool,
}

impl Inbox {
    fn take(&mut self, event: &ProjectEvent) {
        match event {
            ProjectEvent::BidSubmitted { facts, received_at, .. } if !self.counted => {
                let known = self.latest.get(&facts.supplier);
                if known.is_none_or(|known| known.at <= *received_at) {
                    let received = Received { bid: facts.bid, at: *received_at, lots: facts.lots.clone() };
                    self.latest.insert(facts.supplier.clone(), received);
                }
            }
            ProjectEvent::BidWithdrawn { bid, .. } if !self.counted => {
                self.withdrawn.insert(*bid);
            }
            ProjectEvent::ReceivingClosed { .. } => self.counted = true,
            _ => {}
        }
    }

    /// In the order of receipt.
    fn standing(&self) -> Vec<&Received> {
        let latest = self.latest.values();
        let mut standing: Vec<&Received> =
            latest.filter(|received| !self.withdrawn.contains(&received.bid)).collect();
        standing.sort_by_key(|received| (received.at, received.bid));
        standing
    }

    /// Those with a lot that opens.
    fn being_opened(&self, lots: &BTreeMap<LotNo, LotCount>) -> impl Iterator<Item = BidId> {
        let opens = |lot: &LotNo| lots.get(lot).is_some_and(|count| count.opens);
        let standing = self.standing().into_iter();
        standing.filter(move |bid| bid.lots.iter().any(opens)).map(|received| received.bid)
    }
}

/// What the room must wait for, as the history tells it.
#[derive(Clone, Default)]
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
