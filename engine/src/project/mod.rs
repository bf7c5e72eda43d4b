//! One project from its publication to the end of its opening.

use std::{collections::BTreeMap, sync::Arc};

use kaibiao_protocol::{
    bid::{BidFacts, PartName},
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    event::{LotCount, ProjectEvent},
    ids::{BidId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::{BidSheet, OpeningRecord},
    refusal::{Refusal, RefusalCode},
    role::Asker,
    view::{BidStatus, ProjectStatus},
};

use crate::{
    keeper::{Machine, Subject},
    rules::RulePack,
};

/// The rules of a project.
pub struct ProjectMachine;

/// A project's state. `Project::default()` is one that does not exist yet.
#[derive(Clone, Default)]
pub struct Project {}

/// A bid as it was received.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bid {
    /// What is known of it.
    pub facts: Arc<BidFacts>,
    /// When its last byte was in.
    pub received_at: Moment,
}

/// An opening order in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Grows with each order.
    pub epoch: u32,
    /// The order's exact text.
    pub text: String,
    /// The platform's signature over it.
    pub signature: Blob,
}

/// The platform's signature over the published record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordSignature {
    /// SHA-256 of the record's exact text.
    pub digest: Digest,
    /// The signature.
    pub signature: Blob,
    /// Until when the record may be confirmed.
    pub confirm_until: Moment,
}

/// What became of an upload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadFate {
    /// It is this bid.
    Received(BidId),
    /// It was refused.
    Refused {
        /// Whose it was.
        supplier: OrganisationId,
        /// Bytes received.
        size_bytes: u64,
        /// When its last byte was in.
        received_at: Moment,
        /// Why.
        code: RefusalCode,
    },
}

impl Project {
    /// Whether it was created.
    pub fn exists(&self) -> bool {
        todo!()
    }
    /// Where it stands; `None` before it was created.
    pub fn status(&self) -> Option<ProjectStatus> {
        todo!()
    }
    /// What it is; `None` before it was created.
    pub fn spec(&self) -> Option<&Arc<ProjectSpec>> {
        todo!()
    }
    /// The rules it stands under.
    pub fn rule_pack(&self) -> RulePack {
        todo!()
    }
    /// Any bid ever received, whether it stands or not.
    pub fn bid(&self, bid: &BidId) -> Option<&Bid> {
        let _ = bid;
        todo!()
    }
    /// The supplier's bid that stands.
    pub fn standing_bid_of(&self, supplier: &OrganisationId) -> Option<&Bid> {
        let _ = supplier;
        todo!()
    }
    /// The bids that stand, in the order of receipt.
    pub fn standing_bids(&self) -> Vec<&Bid> {
        todo!()
    }
    /// The bids with at least one lot being opened, in the order of receipt; none before the count.
    pub fn bids_being_opened(&self) -> Vec<&Bid> {
        todo!()
    }
    /// What became of an upload whose final was judged.
    pub fn upload(&self, upload: &UploadId) -> Option<UploadFate> {
        let _ = upload;
        todo!()
    }
    /// Whether this supplier could hand in so many bytes now: what can be told before the bytes come.
    ///
    /// # Errors
    /// The refusal the final would meet.
    pub fn may_upload(&self, supplier: &OrganisationId, size_bytes: u64, at: Moment) -> Result<(), Refusal> {
        let _ = (supplier, size_bytes, at);
        todo!()
    }
    /// The count per lot, once receiving is closed.
    pub fn lots(&self) -> Option<&BTreeMap<LotNo, LotCount>> {
        todo!()
    }
    /// The parts of this bid that are opened: `common` and its opened lots. Empty where it is not opened.
    pub fn parts_opened(&self, bid: &BidId) -> Vec<PartName> {
        let _ = bid;
        todo!()
    }
    /// The parts whose keys are asked for now: [`Self::parts_opened`] while an order is in force and
    /// the bid's keys are awaited or may mend its failure; else empty.
    pub fn parts_asked(&self, bid: &BidId) -> Vec<PartName> {
        let _ = bid;
        todo!()
    }
    /// Where the bid stands in the opening; `None` before the count, or if it did not stand then.
    pub fn bid_status(&self, bid: &BidId) -> Option<BidStatus> {
        let _ = bid;
        todo!()
    }
    /// Whether the bid's keys came from its backup.
    pub fn opened_by_backup(&self, bid: &BidId) -> bool {
        let _ = bid;
        todo!()
    }
    /// The order in force.
    pub fn order(&self) -> Option<&Order> {
        todo!()
    }
    /// When the window closes or closed.
    pub fn window_closes_at(&self) -> Option<Moment> {
        todo!()
    }
    /// When the window closes if an order is issued at `at`; exactly what
    /// [`ProjectCommand::IssueOrder`] will decide, for the order's text names it.
    ///
    /// # Errors
    /// The refusal the command would meet for the time and the phase.
    pub fn order_window(&self, at: Moment, down_since: Option<Moment>) -> Result<Moment, Refusal> {
        let _ = (at, down_since);
        todo!()
    }
    /// Whether these sheets are what the record asks of this bid: its opened lots, the price kinds
    /// asked for, no overlong text. Asked before a bid is reported unsealed; one that does not fit is
    /// a malformed package.
    ///
    /// # Errors
    /// `sheets_incomplete`.
    pub fn check_sheets(&self, bid: &BidId, sheets: &BTreeMap<LotNo, BidSheet>) -> Result<(), Refusal> {
        let _ = (bid, sheets);
        todo!()
    }
    /// The published record.
    pub fn record(&self) -> Option<&Arc<OpeningRecord>> {
        todo!()
    }
    /// The platform's signature over it.
    pub fn record_signature(&self) -> Option<&RecordSignature> {
        todo!()
    }
}

impl Machine for ProjectMachine {
    type State = Project;
    type Command = ProjectCommand;
    type Event = ProjectEvent;

    fn decide(
        state: &Project,
        command: &ProjectCommand,
        asker: &Asker,
        at: Moment,
    ) -> Result<Vec<ProjectEvent>, Refusal> {
        let _ = (state, command, asker, at);
        todo!()
    }

    fn apply(state: &mut Project, event: &ProjectEvent, at: Moment) {
        let _ = (state, event, at);
        todo!()
    }

    fn wake_at(state: &Project) -> Option<Moment> {
        let _ = state;
        todo!()
    }

    fn about(command: &ProjectCommand) -> Option<Subject> {
        match command {
            ProjectCommand::SubmitBid { facts } => Some(facts.upload.0),
            ProjectCommand::RefuseUpload { upload, .. } => Some(upload.0),
            _ => None,
        }
    }

    fn settles(event: &ProjectEvent) -> Option<Subject> {
        match event {
            ProjectEvent::BidSubmitted { facts, .. } => Some(facts.upload.0),
            ProjectEvent::UploadRefused { upload, .. } => Some(upload.0),
            _ => None,
        }
    }
}
