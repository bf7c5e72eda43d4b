//! What has happened to a project, as the journal keeps it. Past facts; applying one cannot fail.
//!
//! An event's JSON is stored once and never written again from the parsed value. Names and versions
//! are in [`ProjectEvent::kind`] and [`ProjectEvent::VERSION`]; the golden bytes of every released
//! version are under `engine/tests/golden/`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bid::{BidFacts, Evidence, FailureCause},
    blob::Blob,
    deadline::MoveGround,
    digest::Digest,
    ids::{BidId, FileId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::OpeningRecord,
    refusal::RefusalCode,
    role::Asker,
};

/// What a supplier raises in the room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ObjectionKind {
    /// A doubt about the opening (异议).
    Objection,
    /// A request that somebody stand aside (回避申请).
    Recusal,
}

/// Why the window closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowEnd {
    /// Its time was over.
    Elapsed,
    /// The agent closed it when nobody was awaited.
    ClosedEarly,
    /// Every bid was settled before its end.
    AllSettled,
}

/// Whether a lot is opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LotCount {
    /// Bids standing at the deadline.
    pub bids: u32,
    /// Whether the lot is opened.
    pub opens: bool,
}

/// An event of one project's stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum ProjectEvent {
    /// The project was set up and published.
    ProjectCreated {
        /// What it is.
        spec: ProjectSpec,
        /// By whom.
        by: Asker,
    },
    /// A sealed bid was received; an earlier one of the same supplier no longer stands.
    BidSubmitted {
        /// What is known of it.
        facts: BidFacts,
        /// When its last byte was in.
        received_at: Moment,
        /// The bid it replaces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<BidId>,
    },
    /// A final was refused: too late, or not a bid this project can take.
    UploadRefused {
        /// The upload.
        upload: UploadId,
        /// Whose.
        supplier: OrganisationId,
        /// Bytes received.
        size_bytes: u64,
        /// When its last byte was in.
        received_at: Moment,
        /// The refusal told.
        code: RefusalCode,
    },
    /// The supplier withdrew its bid before the deadline.
    BidWithdrawn {
        /// The bid.
        bid: BidId,
        /// Why.
        reason: String,
    },
    /// The deadline was moved to a later one.
    DeadlineMoved {
        /// The deadline before.
        from: Moment,
        /// The new one.
        deadline: Moment,
        /// On what ground.
        ground: MoveGround,
        /// Why.
        reason: String,
        /// By whom.
        by: Asker,
    },
    /// The platform was not there around the deadline.
    OutageRecorded {
        /// Until then it is known to have been there.
        from: Moment,
        /// Since then it is there again.
        until: Moment,
        /// The bids are not counted before, so that the agent may move the deadline.
        held_until: Moment,
    },
    /// The machine's wall clock was set; no stamp follows it.
    ClockStepped {
        /// By how many milliseconds.
        step_ms: i64,
        /// Wall clock minus the platform's clock since then, in milliseconds.
        divergence_ms: i64,
    },
    /// The bids were counted.
    ReceivingClosed {
        /// Per lot: how many, and whether it is opened.
        #[serde(deserialize_with = "crate::once::map")]
        lots: BTreeMap<LotNo, LotCount>,
    },
    /// The opening was started.
    OpeningStarted {
        /// By whom.
        by: Asker,
        /// The agent's signature over the start statement.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Blob>,
    },
    /// An opening order was issued; the window runs.
    OrderIssued {
        /// Its epoch.
        epoch: u32,
        /// Its exact text.
        order: String,
        /// The platform's signature.
        signature: Blob,
        /// When the window closes.
        window_closes_at: Moment,
        /// Since when the room was not served, where that time is given back: graces move as the
        /// window does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        down_since: Option<Moment>,
    },
    /// A bid's keys arrived, fit and are kept.
    KeysAccepted {
        /// The bid.
        bid: BidId,
        /// When they arrived.
        arrived_at: Moment,
        /// Whether from the backup bid.
        by_backup: bool,
    },
    /// A bid is unsealed. Says no price and no digest of one.
    BidUnsealed {
        /// The bid.
        bid: BidId,
    },
    /// An unsealing failed.
    BidFailed {
        /// The bid.
        bid: BidId,
        /// Cause class.
        cause: FailureCause,
        /// What was seen.
        evidence: Evidence,
        /// Until when it may be mended or its backup used.
        grace_until: Moment,
    },
    /// The window was extended for all.
    WindowExtended {
        /// The new end.
        window_closes_at: Moment,
        /// By how many minutes.
        minutes: u32,
        /// Why.
        reason: String,
        /// By whom.
        by: Asker,
    },
    /// The window closed. Bids without a key are settled as no-shows by this event.
    WindowClosed {
        /// Why.
        end: WindowEnd,
        /// The agent's reason, where it closed early.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Bids whose keys never came.
        no_shows: Vec<BidId>,
    },
    /// The grace of failed bids is over; their failures are final.
    GraceEnded {
        /// The bids.
        bids: Vec<BidId>,
    },
    /// A failed bid may be opened by its backup.
    BackupAdmitted {
        /// The bid.
        bid: BidId,
        /// Why.
        reason: String,
        /// By whom.
        by: Asker,
        /// Until when.
        until: Moment,
    },
    /// A damaged sealed bid was restored byte for byte.
    BidRestored {
        /// The bid.
        bid: BidId,
        /// Where it lies now.
        file: FileId,
    },
    /// The records of all lots were published: the barrier.
    RecordsPublished {
        /// The records.
        record: OpeningRecord,
    },
    /// The platform signed the record.
    RecordSigned {
        /// SHA-256 of the record's exact text.
        digest: Digest,
        /// The signature.
        signature: Blob,
    },
    /// Somebody signed in to the room.
    CheckedIn {
        /// Who.
        by: Asker,
    },
    /// A row was read out.
    RowReadOut {
        /// The lot.
        lot: LotNo,
        /// The row.
        no: u32,
    },
    /// An objection or a recusal request was raised.
    ObjectionRaised {
        /// Its number, from 1.
        no: u32,
        /// Which of the two.
        kind: ObjectionKind,
        /// The lot concerned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot: Option<LotNo>,
        /// The words.
        text: String,
        /// By whom.
        by: Asker,
    },
    /// It was answered.
    ObjectionAnswered {
        /// Its number.
        no: u32,
        /// The words.
        text: String,
        /// By whom.
        by: Asker,
    },
    /// A supplier confirmed the record.
    RecordConfirmed {
        /// Which supplier.
        supplier: OrganisationId,
        /// The record confirmed.
        record: Digest,
        /// The supplier's signature.
        signature: Blob,
    },
    /// The silent are deemed to accept.
    ConfirmationsDeemed {
        /// Who had not confirmed.
        suppliers: Vec<OrganisationId>,
    },
    /// The opening ended.
    OpeningEnded {
        /// By whom.
        by: Asker,
    },
}

impl ProjectEvent {
    /// The version of every event's form; grows when one changes.
    pub const VERSION: u16 = 1;

    /// The event's name in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            ProjectEvent::ProjectCreated { .. } => "project_created",
            ProjectEvent::BidSubmitted { .. } => "bid_submitted",
            ProjectEvent::UploadRefused { .. } => "upload_refused",
            ProjectEvent::BidWithdrawn { .. } => "bid_withdrawn",
            ProjectEvent::DeadlineMoved { .. } => "deadline_moved",
            ProjectEvent::OutageRecorded { .. } => "outage_recorded",
            ProjectEvent::ClockStepped { .. } => "clock_stepped",
            ProjectEvent::ReceivingClosed { .. } => "receiving_closed",
            ProjectEvent::OpeningStarted { .. } => "opening_started",
            ProjectEvent::OrderIssued { .. } => "order_issued",
            ProjectEvent::KeysAccepted { .. } => "keys_accepted",
            ProjectEvent::BidUnsealed { .. } => "bid_unsealed",
            ProjectEvent::BidFailed { .. } => "bid_failed",
            ProjectEvent::WindowExtended { .. } => "window_extended",
            ProjectEvent::WindowClosed { .. } => "window_closed",
            ProjectEvent::GraceEnded { .. } => "grace_ended",
            ProjectEvent::BackupAdmitted { .. } => "backup_admitted",
            ProjectEvent::BidRestored { .. } => "bid_restored",
            ProjectEvent::RecordsPublished { .. } => "records_published",
            ProjectEvent::RecordSigned { .. } => "record_signed",
            ProjectEvent::CheckedIn { .. } => "checked_in",
            ProjectEvent::RowReadOut { .. } => "row_read_out",
            ProjectEvent::ObjectionRaised { .. } => "objection_raised",
            ProjectEvent::ObjectionAnswered { .. } => "objection_answered",
            ProjectEvent::RecordConfirmed { .. } => "record_confirmed",
            ProjectEvent::ConfirmationsDeemed { .. } => "confirmations_deemed",
            ProjectEvent::OpeningEnded { .. } => "opening_ended",
        }
    }
}
