//! What a project can be told to do. Imperatives; each is decided by the engine, none by its sender.

use std::collections::BTreeMap;

use crate::{
    bid::{BidFacts, Evidence, FailureCause},
    deadline::MoveGround,
    digest::Digest,
    ids::{BidId, FileId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::BidSheet,
    refusal::RefusalCode,
};

/// A command to one project. Commands stay inside the server; people send [`crate::frame::Ask`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProjectCommand {
    /// Set the project up and publish it.
    CreateProject {
        /// What it is.
        spec: ProjectSpec,
    },
    /// Take in a sealed bid that passed every check of reception; `at` is the stamp of its last byte.
    SubmitBid {
        /// What is known of it.
        facts: BidFacts,
    },
    /// Keep a signed refusal of a final that came too late or failed its checks.
    RefuseUpload {
        /// The upload.
        upload: UploadId,
        /// Whose it is.
        supplier: OrganisationId,
        /// Bytes received.
        size_bytes: u64,
        /// The refusal told.
        code: RefusalCode,
    },
    /// Withdraw the supplier's bid before the deadline.
    WithdrawBid {
        /// Which.
        bid: BidId,
        /// Why, in the supplier's words.
        reason: String,
    },
    /// Move the deadline to a later one.
    MoveDeadline {
        /// The new deadline.
        deadline: Moment,
        /// On what ground.
        ground: MoveGround,
        /// Why; everybody in the room reads it.
        reason: String,
    },
    /// Record that the platform was not there, if that touches the deadline.
    RecordOutage {
        /// Until then it is known to have been there.
        from: Moment,
        /// Since then it is there again.
        until: Moment,
    },
    /// Record that the machine's wall clock was set, if that touches deadline or opening.
    RecordClockStep {
        /// By how many milliseconds.
        step_ms: i64,
        /// Wall clock minus the platform's clock since then, in milliseconds.
        divergence_ms: i64,
    },
    /// Count the bids: every final stamped before the deadline has its verdict.
    CloseReceiving,
    /// Start the opening (agent; or the timer where the room opens by itself).
    StartOpening {
        /// The agent's signature over the start statement (CMS, DER), where a person starts.
        signature: Option<Vec<u8>>,
    },
    /// Publish the opening's one-time key; again, with a higher epoch, after a restart.
    IssueOrder {
        /// Grows with each order of this opening.
        epoch: u32,
        /// The order's exact text.
        order: String,
        /// The platform's signature over it.
        signature: Vec<u8>,
        /// Since when the room was not served, where an order is issued again: that time is given back.
        down_since: Option<Moment>,
    },
    /// Note that a bid's part keys arrived, fit their commitments and lie wrapped in the side table.
    AcceptKeys {
        /// The bid.
        bid: BidId,
        /// The order's epoch under which they came.
        epoch: u32,
        /// Whether they came from the backup bid.
        by_backup: bool,
    },
    /// Note that every chunk of every part being opened is authentic.
    ReportUnsealed {
        /// The bid.
        bid: BidId,
    },
    /// Record a failed unsealing.
    ReportFailure {
        /// The bid.
        bid: BidId,
        /// Its cause class.
        cause: FailureCause,
        /// What was seen.
        evidence: Evidence,
    },
    /// Extend the window for all.
    ExtendWindow {
        /// By how much.
        minutes: u32,
        /// Why.
        reason: String,
    },
    /// Close the window early; refused while anybody is awaited.
    CloseWindow {
        /// Why.
        reason: String,
    },
    /// The window's end, or a grace's end, has come.
    ElapseWindow,
    /// Allow a failed bid to be opened by its backup.
    AdmitBackup {
        /// The bid.
        bid: BidId,
        /// Why.
        reason: String,
    },
    /// Note that a damaged sealed bid was restored, byte for byte, by sealing its backup again.
    RestoreBid {
        /// The bid.
        bid: BidId,
        /// Where the restored bytes lie.
        file: FileId,
        /// The header digest found, which must be the receipt's.
        header_digest: Digest,
    },
    /// Publish the records of all lots: the barrier.
    PublishRecords {
        /// The sheets of every unsealed bid, by lot.
        sheets: BTreeMap<BidId, BTreeMap<LotNo, BidSheet>>,
    },
    /// Keep the platform's signature over the published record.
    SignRecord {
        /// SHA-256 of the record's exact text.
        digest: Digest,
        /// The platform's signature.
        signature: Vec<u8>,
    },
    /// Sign in to the room (签到).
    CheckIn,
    /// Read one row out (唱标).
    ReadOutRow {
        /// The lot.
        lot: LotNo,
        /// The row's running number.
        no: u32,
    },
    /// Raise an objection or a recusal request.
    Object {
        /// Which of the two.
        kind: ObjectionKind,
        /// The lot concerned, if one.
        lot: Option<LotNo>,
        /// The words.
        text: String,
    },
    /// Answer one.
    AnswerObjection {
        /// Its number.
        no: u32,
        /// The words.
        text: String,
    },
    /// Confirm the record; signed by the supplier's token.
    ConfirmRecord {
        /// SHA-256 of the record confirmed.
        record: Digest,
        /// The signature (CMS, DER).
        signature: Vec<u8>,
    },
    /// The time for confirming is over: the silent accept.
    DeemConfirmed,
    /// End the opening.
    EndOpening,
}

pub use crate::event::ObjectionKind;
