//! What the running parts may ask of a project's state.

use std::{collections::BTreeMap, sync::Arc};

use kaibiao_protocol::{
    bid::PartName,
    deadline::{ClockStep, DeadlineMove, Outage},
    event::LotCount,
    ids::{BidId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::{BidSheet, OpeningRecord},
    refusal::{Refusal, RefusalCode},
    view::{BidStatus, ProjectStatus},
};

use super::{
    Bid, Order, Project, RecordSignature, UploadFate, deadline, opening, receiving, record,
    state::{Desk, Failed, Live, Place, Stage},
};
use crate::{refusals::refuse, rules::RulePack};

impl Project {
    fn live(&self) -> Option<&Live> {
        self.life.live()
    }

    fn must_exist(&self) -> Result<&Live, Refusal> {
        self.live().ok_or_else(|| refuse(RefusalCode::Unknown, RulePack::default()))
    }

    fn desk(&self, bid: &BidId) -> Option<&Desk> {
        self.live()?.desks()?.get(bid)
    }

    /// Whether it was created.
    pub fn exists(&self) -> bool {
        self.live().is_some()
    }

    /// Where it stands; `None` before it was created.
    pub fn status(&self) -> Option<ProjectStatus> {
        self.live().map(Live::status)
    }

    /// What it is; `None` before it was created.
    pub fn spec(&self) -> Option<&Arc<ProjectSpec>> {
        self.live().map(|live| &live.spec)
    }

    /// Where the deadline was moved from and to, in order.
    pub fn deadline_moves(&self) -> &[DeadlineMove] {
        self.live().map_or(&[], |live| &live.faults.moves)
    }

    /// Outages of the platform around the deadline.
    pub fn outages(&self) -> &[Outage] {
        self.live().map_or(&[], |live| &live.faults.outages)
    }

    /// Steps of the machine's wall clock.
    pub fn clock_steps(&self) -> &[ClockStep] {
        self.live().map_or(&[], |live| &live.faults.clock_steps)
    }

    /// From when on the bids may be counted: the deadline, or later after an outage.
    pub fn counted_from(&self) -> Option<Moment> {
        self.live().map(Live::counted_from)
    }

    /// Whether an outage from `from` to `until` is to be recorded here ([`ProjectCommand::RecordOutage`]
    /// would do something).
    ///
    /// [`ProjectCommand::RecordOutage`]: kaibiao_protocol::command::ProjectCommand::RecordOutage
    pub fn outage_is_to_be_recorded(&self, from: Moment, until: Moment) -> bool {
        let outage = Outage { from, until, held_until: until };
        self.live().is_some_and(|live| deadline::is_to_be_recorded(live, &outage))
    }

    /// The rules it stands under; the default pack before it was created.
    pub fn rule_pack(&self) -> RulePack {
        self.live().map(|live| live.pack).unwrap_or_default()
    }

    /// Any bid ever received, whether it stands or not.
    pub fn bid(&self, bid: &BidId) -> Option<&Bid> {
        self.live()?.inbox.bids.get(bid)
    }

    /// The supplier's bid that stands, or stood at the deadline.
    pub fn standing_bid_of(&self, supplier: &OrganisationId) -> Option<&Bid> {
        self.live()?.inbox.standing_of(supplier)
    }

    /// The bids that stand, or stood at the deadline, in the order of receipt. Not for anybody's eyes
    /// before the count.
    pub fn standing_bids(&self) -> Vec<&Bid> {
        self.live().map(|live| live.inbox.standing()).unwrap_or_default()
    }

    /// The bids with at least one lot being opened, in the order of receipt; none before the count.
    pub fn bids_being_opened(&self) -> Vec<&Bid> {
        self.live().map(|live| live.bids_being_opened().collect()).unwrap_or_default()
    }

    /// What became of an upload whose final was judged.
    pub fn upload(&self, upload: &UploadId) -> Option<UploadFate> {
        self.live()?.inbox.uploads.get(upload).cloned()
    }

    /// Whether this supplier could hand in so many bytes now: what can be told before the bytes come.
    ///
    /// # Errors
    /// The refusal the final would meet.
    pub fn may_upload(&self, supplier: &OrganisationId, size_bytes: u64, at: Moment) -> Result<(), Refusal> {
        let live = self.must_exist()?;
        receiving::check_time_of_receipt(live, at)?;
        receiving::check_sender(live, supplier, size_bytes)
    }

    /// The count per lot, once receiving is closed.
    pub fn lots(&self) -> Option<&BTreeMap<LotNo, LotCount>> {
        self.live()?.counted().map(|counted| &counted.lots)
    }

    /// The parts of this bid that are opened: `common` and its opened lots. Empty where none is, and
    /// before the count.
    pub fn parts_opened(&self, bid: &BidId) -> Vec<PartName> {
        let Some(live) = self.live() else { return Vec::new() };
        let counted = live.counted().is_some_and(|counted| counted.bids.contains(bid));
        let Some(bid) = live.inbox.bids.get(bid).filter(|_| counted) else { return Vec::new() };
        let lots: Vec<PartName> = live.opened_lots(bid).map(PartName::Lot).collect();
        if lots.is_empty() { lots } else { [vec![PartName::Common], lots].concat() }
    }

    /// The parts whose keys are asked for now: [`Self::parts_opened`] while an order is in force and
    /// the bid's keys are awaited or would mend its failure; else empty.
    pub fn parts_asked(&self, bid: &BidId) -> Vec<PartName> {
        let before_barrier = self.live().is_some_and(|live| match &live.stage {
            Stage::AwaitingKeys(_) | Stage::Settling(_) => true,
            Stage::Receiving
            | Stage::AwaitingStart(_)
            | Stage::AwaitingOrder(_)
            | Stage::Published(_)
            | Stage::Ended(_) => false,
        });
        if before_barrier && self.desk(bid).is_some_and(Desk::asks_keys) {
            self.parts_opened(bid)
        } else {
            Vec::new()
        }
    }

    /// Whether keys may still come: while this holds, an opening actor that starts anew must issue an
    /// order of its own, because the one-time key died with the process before.
    pub fn keys_awaited(&self) -> bool {
        self.live().is_some_and(|live| match &live.stage {
            Stage::AwaitingKeys(stage) => stage.desks.values().any(Desk::asks_keys),
            Stage::Settling(stage) => stage.desks.values().any(Desk::asks_keys),
            Stage::Receiving
            | Stage::AwaitingStart(_)
            | Stage::AwaitingOrder(_)
            | Stage::Published(_)
            | Stage::Ended(_) => false,
        })
    }

    /// Where the bid stands in the opening; `None` before the count, or if it did not stand then.
    pub fn bid_status(&self, bid: &BidId) -> Option<BidStatus> {
        let live = self.live()?;
        if !live.counted()?.bids.contains(bid) {
            return None;
        }
        if let Some(desk) = self.desk(bid) {
            return Some(desk.status());
        }
        let opened = live.opened_lots(live.inbox.bids.get(bid)?).next().is_some();
        Some(if opened { BidStatus::AwaitingKeys } else { BidStatus::NotOpened })
    }

    /// Whether the bid's keys are kept, and if so whether they came from its backup.
    pub fn keys_kept_by_backup(&self, bid: &BidId) -> Option<bool> {
        match &self.desk(bid)?.place {
            Place::Unsealing { by_backup } | Place::Unsealed { by_backup } => Some(*by_backup),
            Place::Failed(Failed { kept_by_backup, .. })
            | Place::AwaitingBackup { failed: Failed { kept_by_backup, .. }, .. } => *kept_by_backup,
            Place::AwaitingKeys | Place::Final { .. } => None,
        }
    }

    /// The order in force, or the last one.
    pub fn order(&self) -> Option<&Order> {
        let live = self.live()?;
        match &live.stage {
            Stage::AwaitingKeys(stage) => Some(&stage.order),
            _ => record::closed_window(live.closing()?).map(|(order, _)| order),
        }
    }

    /// When the window closes or closed. Graces may run longer.
    pub fn window_closes_at(&self) -> Option<Moment> {
        let live = self.live()?;
        match &live.stage {
            Stage::AwaitingKeys(stage) => Some(stage.closes_at),
            _ => record::closed_window(live.closing()?).map(|(_, at)| at),
        }
    }

    /// When the order's time ends if one is issued at `at`; exactly what
    /// [`kaibiao_protocol::command::ProjectCommand::IssueOrder`] stamped `at` with the same
    /// `down_since` will decide, for the order's text names it.
    ///
    /// # Errors
    /// The refusal the command would meet for its phase.
    pub fn order_window(&self, at: Moment, down_since: Option<Moment>) -> Result<Moment, Refusal> {
        opening::order_window(self.must_exist()?, at, down_since)
    }

    /// Whether these sheets are what the record asks of this bid: its opened lots, the price kinds
    /// asked for, no overlong text. To be asked before a bid is reported unsealed: one that does not
    /// fit is a malformed package, and would hold the barrier for ever.
    ///
    /// # Errors
    /// `sheets_incomplete`.
    pub fn check_sheets(&self, bid: &BidId, sheets: &BTreeMap<LotNo, BidSheet>) -> Result<(), Refusal> {
        record::check_sheets(self.must_exist()?, bid, sheets)
    }

    /// The published record.
    pub fn record(&self) -> Option<&Arc<OpeningRecord>> {
        self.live()?.outcome().map(|outcome| &outcome.record)
    }

    /// The platform's signature over it.
    pub fn record_signature(&self) -> Option<&RecordSignature> {
        self.live()?.signed().map(|signed| &signed.signature)
    }
}
