//! The room as its frames tell it: windows and graces give everybody what the rules say, the barrier holds, and the
//! record is what people handed in.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_engine::{invariants::Holds, rules::RulePack};
use kaibiao_protocol::{
    bid::FailureCause,
    event::{LotCount, WindowEnd},
    frame::Notice,
    ids::{BidId, LotNo},
    moment::Moment,
    project::ProjectSpec,
    record::{LotRecord, OpeningRecord, RowOutcome},
    view::{BidStatus, Bidder, RoomEvent, ViewEvent},
};

use super::{Seen, ensure, shown};
use crate::world::{plan::File, stock::Make};

/// Watches one room through the frames of one audience.
pub(crate) struct RoomWatch {
    deadline: Moment,
    window_minutes: u32,
    lots: BTreeSet<LotNo>,
    stage: Stage,
    bidders: Vec<Bidder>,
    counts: BTreeMap<LotNo, LotCount>,
    desks: BTreeMap<BidId, Desk>,
    epoch: u32,
    order_at: Option<Moment>,
    minutes: u32,
    closes_at: Option<Moment>,
    objections: u32,
    answered: BTreeSet<u32>,
    end: Option<WindowEnd>,
    read_out: BTreeSet<(LotNo, u32)>,
    checked_in: BTreeSet<kaibiao_protocol::ids::OrganisationId>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    Nothing,
    Receiving,
    Counted,
    Started,
    Unsealing,
    Closed,
    Published,
    Signed,
    Ended,
}

/// One bid of the room.
struct Desk {
    status: BidStatus,
    /// Until when keys may come; none: a restart moved it by what only the journal says.
    keys_until: Option<Moment>,
}

impl RoomWatch {
    pub(crate) fn new(spec: &ProjectSpec) -> Self {
        Self {
            deadline: spec.deadline,
            window_minutes: spec.window_minutes,
            lots: spec.lots.keys().copied().collect(),
            stage: Stage::Nothing,
            bidders: Vec::new(),
            counts: BTreeMap::new(),
            desks: BTreeMap::new(),
            epoch: 0,
            order_at: None,
            minutes: 0,
            closes_at: None,
            objections: 0,
            answered: BTreeSet::new(),
            end: None,
            read_out: BTreeSet::new(),
            checked_in: BTreeSet::new(),
        }
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.stage >= Stage::Counted
    }

    pub(crate) fn is_published(&self) -> bool {
        self.stage >= Stage::Published
    }

    pub(crate) fn is_signed(&self) -> bool {
        self.stage >= Stage::Signed
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.stage >= Stage::Ended
    }

    pub(crate) fn stands(&self) -> String {
        let open = self.desks.values().filter(|desk| !is_done(desk.status)).count();
        format!("{:?}, {} bids, {open} of them awaited", self.stage, self.bidders.len()).to_lowercase()
    }

    fn steps_to(&mut self, from: &[Stage], to: Stage, event: &RoomEvent) -> Holds {
        let stage = std::mem::replace(&mut self.stage, to);
        ensure("opening", from.contains(&stage), || format!("{event:?} where the room was {stage:?}"))
    }

    /// Takes the next notice of this audience.
    pub(crate) fn take(&mut self, notice: &Notice, seen: &Seen<'_>) -> Holds {
        let ViewEvent::Room(event) = &notice.event else {
            return ensure("own stream", false, || "an own event in a room".to_owned());
        };
        let at = notice.at;
        let before_count = matches!(
            event,
            RoomEvent::ProjectPublished { .. }
                | RoomEvent::DeadlineMoved { .. }
                | RoomEvent::OutageRecorded { .. }
                | RoomEvent::ClockStepped { .. }
                | RoomEvent::ReceivingClosed { .. }
        );
        ensure("KB-3", self.is_counted() || before_count, || {
            format!("the room is told before the count: {event:?}")
        })?;
        match event {
            RoomEvent::ProjectPublished { .. } => self.steps_to(&[Stage::Nothing], Stage::Receiving, event),
            RoomEvent::DeadlineMoved { from, deadline, .. } => {
                let right = *from == self.deadline && from < deadline && !self.is_counted();
                self.deadline = *deadline;
                ensure("deadline", right, || {
                    format!("the deadline is moved from {} to {}", shown(*from, self.deadline), deadline.0)
                })
            }
            RoomEvent::OutageRecorded { from, until, .. } => ensure("deadline", from <= until, || {
                format!("an outage that ended {} us before it began", from.micros_since(*until))
            }),
            RoomEvent::ClockStepped { .. } => Ok(()),
            RoomEvent::ReceivingClosed { lots, bidders } => {
                self.steps_to(&[Stage::Receiving], Stage::Counted, event)?;
                self.counted(at, lots, bidders)
            }
            RoomEvent::OpeningStarted { .. } => {
                self.steps_to(&[Stage::Counted], Stage::Started, event)?;
                ensure("KB-1", at >= self.deadline, || {
                    format!("the opening started at {}", shown(at, self.deadline))
                })
            }
            RoomEvent::OrderIssued { epoch, window_closes_at, .. } => {
                self.ordered(at, *epoch, *window_closes_at, event)
            }
            RoomEvent::BidChanged { bid, status, .. } => self.changed(at, bid, *status, seen),
            RoomEvent::WindowExtended { window_closes_at, minutes, .. } => {
                let was = self.closes_at.unwrap_or(at);
                let right = self.stage == Stage::Unsealing
                    && *window_closes_at == was.plus_minutes(*minutes)
                    && at < was;
                self.closes_at = Some(*window_closes_at);
                self.minutes += minutes;
                for desk in self.desks.values_mut() {
                    if desk.status == BidStatus::AwaitingKeys {
                        desk.keys_until = Some(*window_closes_at);
                    } else {
                        desk.keys_until = desk.keys_until.map(|until| until.max(*window_closes_at));
                    }
                }
                ensure("window", right, || {
                    format!(
                        "an extension by {minutes} minutes moved the end by {} us",
                        window_closes_at.micros_since(was)
                    )
                })
            }
            RoomEvent::WindowClosed { end, .. } => {
                self.steps_to(&[Stage::Unsealing], Stage::Closed, event)?;
                self.closed(at, *end, seen)
            }
            RoomEvent::RecordsPublished { record } => {
                let from: &[Stage] = if self.opens() { &[Stage::Closed] } else { &[Stage::Counted] };
                self.steps_to(from, Stage::Published, event)?;
                self.published(record, seen)
            }
            RoomEvent::RecordSigned { .. } => self.steps_to(&[Stage::Published], Stage::Signed, event),
            RoomEvent::CheckedIn { organisation } => {
                let new = self.checked_in.insert(organisation.clone());
                ensure("opening", new, || format!("{organisation} signs in twice"))
            }
            RoomEvent::RowReadOut { lot, no } => {
                let new = self.read_out.insert((*lot, *no));
                ensure("opening", new && self.is_published(), || {
                    format!("row {no} of lot {lot} is read out twice or before the record")
                })
            }
            RoomEvent::ObjectionRaised { no, .. } => {
                self.objections += 1;
                ensure("opening", *no == self.objections, || {
                    format!("objection {no} where {} is due", self.objections)
                })
            }
            RoomEvent::ObjectionAnswered { no, .. } => {
                let new = self.answered.insert(*no);
                ensure("opening", new && *no <= self.objections, || {
                    format!("objection {no} is answered twice, or was never raised")
                })
            }
            RoomEvent::RecordConfirmed { .. } | RoomEvent::ConfirmationsDeemed { .. } => {
                ensure("opening", self.is_signed(), || "confirmed before it was signed".to_owned())
            }
            RoomEvent::OpeningEnded => {
                self.steps_to(&[Stage::Signed], Stage::Ended, event)?;
                let open = self.objections as usize - self.answered.len();
                ensure("opening", open == 0, || format!("ended with {open} objections unanswered"))
            }
        }
    }

    fn opens(&self) -> bool {
        self.counts.values().any(|count| count.opens)
    }

    fn counted(&mut self, at: Moment, lots: &BTreeMap<LotNo, LotCount>, bidders: &[Bidder]) -> Holds {
        ensure("KB-1", at >= self.deadline, || format!("counted at {}", shown(at, self.deadline)))?;
        ensure("KB-4", lots.keys().eq(&self.lots), || "the count is of other lots".to_owned())?;
        for (lot, count) in lots {
            let bids = bidders.iter().filter(|bidder| bidder.lots.contains(lot)).count();
            let opens = RulePack::default().lot_opens(u32::try_from(bids).unwrap_or(u32::MAX));
            ensure("KB-4", count.bids as usize == bids && count.opens == opens, || {
                format!("lot {lot} with {bids} bids is counted as {count:?}")
            })?;
        }
        let mut organisations = BTreeSet::new();
        for bidder in bidders {
            let new = organisations.insert(&bidder.organisation);
            ensure("KB-4", new, || format!("{} bids twice", bidder.organisation))?;
            self.desks.insert(bidder.bid, Desk { status: bidder.status, keys_until: None });
        }
        (self.counts, self.bidders) = (lots.clone(), bidders.to_vec());
        Ok(())
    }

    fn ordered(&mut self, at: Moment, epoch: u32, closes_at: Moment, event: &RoomEvent) -> Holds {
        ensure("keys", epoch > self.epoch, || format!("epoch {epoch} after {}", self.epoch))?;
        self.epoch = epoch;
        match self.closes_at {
            None => {
                self.steps_to(&[Stage::Started], Stage::Unsealing, event)?;
                self.order_at = Some(at);
                self.minutes = self.window_minutes;
                self.closes_at = Some(closes_at);
                for desk in self.desks.values_mut().filter(|desk| desk.status == BidStatus::AwaitingKeys) {
                    desk.keys_until = Some(closes_at);
                }
                ensure("window", closes_at == at.plus_minutes(self.window_minutes), || {
                    format!("a window of {} us", closes_at.micros_since(at))
                })
            }
            Some(was) => {
                let open = self.stage == Stage::Unsealing;
                ensure("opening", open || self.stage == Stage::Closed, || {
                    format!("an order where the room is {:?}", self.stage)
                })?;
                if open {
                    self.closes_at = Some(closes_at.max(was));
                }
                for desk in self.desks.values_mut() {
                    desk.keys_until = match desk.status {
                        BidStatus::AwaitingKeys if open => Some(closes_at),
                        _ => None,
                    };
                }
                // An outage is given back, and nothing is taken.
                ensure("window", !open || closes_at >= was, || {
                    format!("a new order takes {} us of the window", was.micros_since(closes_at))
                })
            }
        }
    }

    fn changed(&mut self, at: Moment, bid: &BidId, status: BidStatus, seen: &Seen<'_>) -> Holds {
        let (closes_at, stage) = (self.closes_at, self.stage);
        let Some(desk) = self.desks.get_mut(bid) else {
            return ensure("KB-4", false, || format!("{bid} is opened and was not counted"));
        };
        let was = std::mem::replace(&mut desk.status, status);
        let keys_until = desk.keys_until;
        let later = |until: Moment| Some(closes_at.map_or(until, |closes_at| closes_at.max(until)));
        desk.keys_until = match status {
            BidStatus::Failed { grace_until, .. } => later(grace_until),
            BidStatus::AwaitingBackup { until } => later(until),
            _ => keys_until,
        };
        ensure("opening", stage == Stage::Unsealing || stage == Stage::Closed, || {
            format!("{bid} becomes {status:?} where the room is {stage:?}")
        })?;
        let step = || format!("{bid} goes from {was:?} to {status:?}");
        let lost = match status {
            BidStatus::Failed { cause, .. } | BidStatus::Settled { cause } => {
                matches!(cause, FailureCause::DamagedStore | FailureCause::PlatformFault)
            }
            _ => false,
        };
        ensure("durable", !lost || seen.store_fails, || {
            format!("{}: its bytes are gone, and nobody harmed them", step())
        })?;
        match status {
            BidStatus::NotOpened => ensure("opening", false, step),
            BidStatus::AwaitingKeys => {
                ensure("opening", matches!(was, BidStatus::AwaitingBackup { .. }), step)
            }
            BidStatus::Unsealing => {
                ensure("opening", !matches!(was, BidStatus::Unsealed | BidStatus::NotOpened), step)?;
                ensure("window", keys_until.is_none_or(|until| at < until), || {
                    format!(
                        "{}: its keys came {} us after its time",
                        step(),
                        at.micros_since(keys_until.unwrap_or(at))
                    )
                })
            }
            BidStatus::Unsealed => ensure("opening", was == BidStatus::Unsealing, step),
            BidStatus::Failed { grace_until, .. } => {
                // Keys that come to a damaged store are kept, and it stays failed.
                let same = matches!(was, BidStatus::Failed { .. });
                ensure("opening", was != BidStatus::NotOpened && (same || grace_until > at), step)
            }
            BidStatus::AwaitingBackup { until } => {
                // A further failure is told while it waits.
                let again = matches!(was, BidStatus::AwaitingBackup { .. });
                let failed = matches!(was, BidStatus::Failed { .. }) || again;
                ensure("KB-7", failed, || format!("a backup without a failure: {}", step()))?;
                ensure("window", again || until > at, step)
            }
            BidStatus::Settled { cause: FailureCause::NoShow } => {
                ensure("KB-4", !seen.keys.are_kept(bid), || {
                    format!("{bid} is a no-show, and its supplier was told that its keys are kept")
                })?;
                ensure("opening", was == BidStatus::AwaitingKeys && stage == Stage::Closed, step)
            }
            BidStatus::Settled { cause } => self.settled(at, was, cause, keys_until, step),
        }
    }

    /// A failure became final: at once where nothing mends it, else when its time was over.
    fn settled(
        &self,
        at: Moment,
        was: BidStatus,
        cause: FailureCause,
        keys_until: Option<Moment>,
        step: impl Fn() -> String,
    ) -> Holds {
        match was {
            BidStatus::Failed { cause: failed, .. } if failed == cause => {
                let early = self.end == Some(WindowEnd::ClosedEarly);
                let over = early || keys_until.is_none_or(|until| at >= until);
                let over = self.stage == Stage::Closed && over || is_final_at_once(cause);
                ensure("window", over, || format!("{} before its time was over", step()))
            }
            BidStatus::AwaitingBackup { .. } => {
                let early = self.end == Some(WindowEnd::ClosedEarly);
                let over = early || is_final_at_once(cause) || keys_until.is_none_or(|until| at >= until);
                ensure("window", over, || format!("{} before its time was over", step()))
            }
            BidStatus::Failed { .. } | BidStatus::Unsealing | BidStatus::Unsealed => {
                ensure("opening", is_final_at_once(cause), step)
            }
            BidStatus::AwaitingKeys => ensure("opening", is_final_at_once(cause), step),
            BidStatus::NotOpened | BidStatus::Settled { .. } => ensure("opening", false, step),
        }
    }

    fn closed(&mut self, at: Moment, end: WindowEnd, seen: &Seen<'_>) -> Holds {
        self.end = Some(end);
        let closes_at = self.closes_at.unwrap_or(at);
        match end {
            WindowEnd::Elapsed => {
                ensure("window", at >= closes_at, || {
                    format!("the window elapsed {} us before its end", closes_at.micros_since(at))
                })?;
                // Where nobody is awaited any more, nobody loses time that was not served.
                let waits = |desk: &&Desk| match desk.status {
                    BidStatus::AwaitingKeys | BidStatus::Failed { .. } | BidStatus::AwaitingBackup { .. } => {
                        true
                    }
                    BidStatus::NotOpened
                    | BidStatus::Unsealing
                    | BidStatus::Unsealed
                    | BidStatus::Settled { .. } => false,
                };
                let awaited = self.desks.values().any(|desk| waits(&desk));
                let Some(order_at) = self.order_at.filter(|_| seen.clock_holds && awaited) else {
                    return Ok(());
                };
                // What was served of it, seen from outside.
                let served_us = at.micros_since(order_at) - seen.down_us(order_at, at);
                let due_us = i64::from(self.minutes) * 60_000_000;
                ensure("window", served_us + GIVEN_BACK_SLACK_US >= due_us, || {
                    format!("of a window of {due_us} us the room was served {served_us} us")
                })
            }
            WindowEnd::AllSettled => {
                let open = self.desks.values().find(|desk| !is_done(desk.status));
                ensure("window", open.is_none(), || "the window closed while somebody was awaited".to_owned())
            }
            WindowEnd::ClosedEarly => {
                ensure("window", at < closes_at, || "closed early after its end".to_owned())?;
                let awaited = self.desks.values().find(|desk| match desk.status {
                    BidStatus::AwaitingKeys | BidStatus::Unsealing => true,
                    BidStatus::Failed { grace_until, .. } => at < grace_until && desk.keys_until.is_some(),
                    BidStatus::AwaitingBackup { until } => at < until && desk.keys_until.is_some(),
                    BidStatus::Unsealed | BidStatus::Settled { .. } | BidStatus::NotOpened => false,
                });
                ensure("window", awaited.is_none(), || "closed early while somebody was awaited".to_owned())
            }
        }
    }

    /// The barrier, and that the record is what people handed in.
    fn published(&mut self, record: &OpeningRecord, seen: &Seen<'_>) -> Holds {
        ensure("KB-6", self.desks.values().all(|desk| is_done(desk.status)), || {
            "published while a bid was awaited".to_owned()
        })?;
        ensure("KB-4", record.lots.keys().eq(&self.lots), || "the record is of other lots".to_owned())?;
        for (lot, recorded) in &record.lots {
            let due: Vec<BidId> =
                self.bidders.iter().filter(|one| one.lots.contains(lot)).map(|one| one.bid).collect();
            let opens = self.counts.get(lot).is_some_and(|count| count.opens);
            match recorded {
                LotRecord::NotOpened { bids, .. } => {
                    let of: Vec<BidId> = bids.iter().map(|row| row.bid).collect();
                    ensure("KB-4", !opens && of == due, || {
                        format!("lot {lot} is not opened with {of:?} where {due:?} stood")
                    })?;
                }
                LotRecord::Opened { rows } => {
                    let of: Vec<BidId> = rows.iter().map(|row| row.bid).collect();
                    ensure("KB-4", opens && of == due, || {
                        format!("lot {lot} is opened with {of:?} where {due:?} stood")
                    })?;
                    ensure("KB-4", rows.iter().map(|row| row.no).eq((1..).take(rows.len())), || {
                        format!("the rows of lot {lot} are not numbered")
                    })?;
                    for row in rows {
                        self.row(*lot, &row.bid, &row.outcome, seen)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn row(&self, lot: LotNo, bid: &BidId, outcome: &RowOutcome, seen: &Seen<'_>) -> Holds {
        let status = self.desks.get(bid).map(|desk| desk.status);
        let handed = seen.finals.of_bid(bid).map(|one| &one.handed);
        match outcome {
            RowOutcome::Unsealed { sheet, .. } => {
                ensure("KB-4", status == Some(BidStatus::Unsealed), || {
                    format!("{bid} is in the record as unsealed and was {status:?}")
                })?;
                let Some(handed) = handed else { return Ok(()) };
                let own = handed.stock_bid();
                let sound = matches!(handed.file, File::Own(Make::Version(_)));
                ensure("KB-4", sound, || format!("{bid} was unsealed, and is {:?}", handed.file))?;
                let own = own.and_then(|own| own.sheets.get(&lot));
                ensure("KB-4", own == Some(sheet), || {
                    format!("{bid} is in the record of lot {lot} with {sheet:?}, and bid {own:?}")
                })
            }
            RowOutcome::Failed { cause, consequence } => {
                let settled = status == Some(BidStatus::Settled { cause: *cause });
                ensure("KB-4", settled && *consequence == cause.consequence(), || {
                    format!("{bid} is in the record as failed by {cause:?} and was {status:?}")
                })
            }
        }
    }
}

fn is_done(status: BidStatus) -> bool {
    match status {
        BidStatus::NotOpened | BidStatus::Unsealed | BidStatus::Settled { .. } => true,
        BidStatus::AwaitingKeys
        | BidStatus::Unsealing
        | BidStatus::Failed { .. }
        | BidStatus::AwaitingBackup { .. } => false,
    }
}

/// What nothing mends; a damaged store only where the project allows no backup.
fn is_final_at_once(cause: FailureCause) -> bool {
    match cause {
        FailureCause::DamagedUpload | FailureCause::MalformedPackage | FailureCause::DamagedStore => true,
        FailureCause::WrongToken
        | FailureCause::TokenTrouble
        | FailureCause::WrongKey
        | FailureCause::NoShow
        | FailureCause::PlatformFault => false,
    }
}

/// How much of a window may be missing as seen from outside: the time between the process's end and the last note that
/// the room was served is given back too, so nothing; a start takes a moment.
const GIVEN_BACK_SLACK_US: i64 = 100_000;
