//! What a viewer may see: projections of the journal, made before anything leaves the server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bid::{Evidence, FailureCause, PartName},
    blob::Blob,
    deadline::{ClockStep, DeadlineMove, MoveGround, Outage},
    digest::Digest,
    event::{LotCount, ObjectionKind, WindowEnd},
    ids::{BidId, LotNo, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::OpeningRecord,
    refusal::{Refusal, RefusalCode},
};

/// Where a project stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProjectStatus {
    /// Bids are taken in.
    Receiving,
    /// The bids are counted; the opening is awaited.
    AwaitingStart,
    /// The opening has started; its order is awaited.
    AwaitingOrder,
    /// Suppliers unseal.
    AwaitingKeys,
    /// The window is closed; work in hand is finished.
    Settling,
    /// The record is published.
    Published,
    /// The opening has ended.
    Ended,
}

/// Where a bid stands in the opening.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum BidStatus {
    /// None of its lots is opened (未开标).
    NotOpened,
    /// Its keys are awaited (待解密).
    AwaitingKeys,
    /// It is being unsealed (解密中).
    Unsealing,
    /// It is unsealed (已解密).
    Unsealed,
    /// It failed (解密失败) and may be mended until the moment given.
    Failed {
        /// Why.
        cause: FailureCause,
        /// Until when.
        grace_until: Moment,
    },
    /// Its backup was admitted (备份标书已启用) and is awaited until the moment given.
    AwaitingBackup {
        /// Until when.
        until: Moment,
    },
    /// The window closed without its keys (未解密), or its failure is final.
    Settled {
        /// Why.
        cause: FailureCause,
    },
}

/// An event of a project's room, the same for all viewers of one audience.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum RoomEvent {
    /// The project was published.
    ProjectPublished {
        /// What it is (without the list of those invited, save for the organiser and the supervisor).
        spec: Box<ProjectSpec>,
    },
    /// The deadline was moved.
    DeadlineMoved {
        /// The deadline before.
        from: Moment,
        /// The new one.
        deadline: Moment,
        /// On what ground.
        ground: MoveGround,
        /// Why.
        reason: String,
    },
    /// The platform was not there around the deadline; the bids are not counted before `held_until`.
    OutageRecorded {
        /// Until then it was there.
        from: Moment,
        /// Since then it is there again.
        until: Moment,
        /// Until when the deadline may be moved on this ground.
        held_until: Moment,
    },
    /// The machine's wall clock was set; only the organiser and the supervisor get it (the fault ledger).
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
        /// Who bids, in the order of receipt.
        bidders: Vec<Bidder>,
    },
    /// The opening started.
    OpeningStarted {
        /// The organisation that started it; none: by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<OrganisationId>,
    },
    /// An opening order was issued.
    OrderIssued {
        /// Epoch.
        epoch: u32,
        /// Its exact text.
        order: String,
        /// The platform's signature.
        signature: Blob,
        /// When the window closes.
        window_closes_at: Moment,
    },
    /// A bid's status changed.
    BidChanged {
        /// Which.
        bid: BidId,
        /// Where it stands now.
        status: BidStatus,
        /// What was seen; only the organiser and the supervisor get it (the fault ledger).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Evidence>,
    },
    /// The window was extended.
    WindowExtended {
        /// The new end.
        window_closes_at: Moment,
        /// Minutes added.
        minutes: u32,
        /// Why.
        reason: String,
    },
    /// The window closed.
    WindowClosed {
        /// Why.
        end: WindowEnd,
        /// The agent's reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The records were published.
    RecordsPublished {
        /// The records of all lots.
        record: OpeningRecord,
    },
    /// The platform signed the record.
    RecordSigned {
        /// SHA-256 of its exact text.
        digest: Digest,
        /// The signature.
        signature: Blob,
    },
    /// An organisation signed in to the room (签到).
    CheckedIn {
        /// Which.
        organisation: OrganisationId,
    },
    /// A row was read out.
    RowReadOut {
        /// The lot.
        lot: LotNo,
        /// The row.
        no: u32,
    },
    /// An objection or recusal request was raised.
    ObjectionRaised {
        /// Its number.
        no: u32,
        /// Which.
        kind: ObjectionKind,
        /// The lot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot: Option<LotNo>,
        /// The words.
        text: String,
        /// Who raised it.
        organisation: OrganisationId,
    },
    /// It was answered.
    ObjectionAnswered {
        /// Its number.
        no: u32,
        /// The words.
        text: String,
    },
    /// A supplier confirmed the record.
    RecordConfirmed {
        /// Which supplier.
        supplier: OrganisationId,
    },
    /// The silent are deemed to accept.
    ConfirmationsDeemed {
        /// Who.
        suppliers: Vec<OrganisationId>,
    },
    /// The opening ended.
    OpeningEnded,
}

/// A bidder as the room shows it from the deadline on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bidder {
    /// Its bid.
    pub bid: BidId,
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub supplier: String,
    /// The lots bid for.
    pub lots: Vec<LotNo>,
    /// Where the bid stands.
    pub status: BidStatus,
}

/// An event that concerns one supplier alone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum OwnEvent {
    /// Your bid was received.
    BidReceived {
        /// The bid.
        bid: BidId,
        /// The upload.
        upload: UploadId,
        /// When its last byte was in.
        received_at: Moment,
        /// The bid it replaced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<BidId>,
    },
    /// Your upload was refused.
    UploadRefused {
        /// The upload.
        upload: UploadId,
        /// When its last byte was in.
        received_at: Moment,
        /// Why.
        code: RefusalCode,
    },
    /// You withdrew your bid.
    BidWithdrawn {
        /// The bid.
        bid: BidId,
    },
    /// Your keys are asked for.
    KeysAsked {
        /// The bid.
        bid: BidId,
        /// The parts whose keys are asked for, and no others.
        parts: Vec<PartName>,
    },
    /// Your keys are here and kept; you may leave.
    KeysKept {
        /// The bid.
        bid: BidId,
    },
    /// Your unsealing failed.
    UnsealingFailed {
        /// The bid.
        bid: BidId,
        /// Why.
        cause: FailureCause,
        /// Until when it may be mended.
        grace_until: Moment,
    },
    /// Your backup bid may be used.
    BackupAdmitted {
        /// The bid.
        bid: BidId,
        /// Until when.
        until: Moment,
    },
}

/// An event as a viewer gets it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ViewEvent {
    /// Of the room.
    Room(RoomEvent),
    /// Of the viewer's own stream.
    Own(OwnEvent),
}

/// A project in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectRow {
    /// Number.
    pub project: ProjectId,
    /// Name.
    pub name: String,
    /// Whether it is an exercise.
    pub exercise: bool,
    /// Deadline.
    pub deadline: Moment,
    /// Where it stands.
    pub status: ProjectStatus,
    /// The asking supplier's own bid, if one stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_bid: Option<BidId>,
}

/// Whom to reach for one bid; a star stands for each letter that is not shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactRow {
    /// The bid.
    pub bid: BidId,
    /// The supplier's name.
    pub supplier: String,
    /// The representative's name: its first letter.
    pub name: String,
    /// The identity number: its first three and last two characters.
    pub id_number: String,
    /// The mobile number: its first three and last four digits.
    pub mobile: String,
    /// The postcode, whole.
    pub postcode: String,
    /// The address: its first six letters.
    pub address: String,
}

/// A project as a viewer sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProjectView {
    /// What it is.
    pub spec: ProjectSpec,
    /// Names of the organisations in it.
    pub purchaser_name: String,
    /// The organiser's name.
    pub organiser_name: String,
    /// Where it stands.
    pub status: ProjectStatus,
    /// The platform's opening key (Ed25519, 32 bytes), which bids are bound to.
    pub opening_key: Blob,
    /// The platform's receipt key (Ed25519, 32 bytes).
    pub receipt_key: Blob,
    /// The asking supplier's own bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_bid: Option<OwnBid>,
}

/// A supplier's own bid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnBid {
    /// The bid.
    pub bid: BidId,
    /// When it was received.
    pub received_at: Moment,
    /// Its lots.
    pub lots: Vec<LotNo>,
    /// Its bytes.
    pub size_bytes: u64,
    /// The digest of its header, as in the receipt.
    pub header_digest: Digest,
    /// The digest of its statement, as in the receipt.
    pub statement_digest: Digest,
    /// Where it stands; before the deadline `awaiting_keys` is not yet said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BidStatus>,
    /// The parts whose keys are asked for now.
    pub parts_asked: Vec<PartName>,
}

/// The room as it stands now; `seq` says from where to go on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomView {
    /// The last event of this viewer's room stream that this view includes.
    pub seq: u64,
    /// Where the project stands.
    pub status: ProjectStatus,
    /// Where the deadline was moved from and to, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadline_moves: Vec<DeadlineMove>,
    /// Outages of the platform around the deadline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// Steps of the machine's wall clock; only the organiser and the supervisor get them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clock_steps: Vec<ClockStep>,
    /// Per lot; empty before the deadline.
    #[serde(deserialize_with = "crate::once::map")]
    pub lots: BTreeMap<LotNo, LotCount>,
    /// The bidders; empty before the deadline.
    pub bidders: Vec<Bidder>,
    /// Organisations signed in.
    pub checked_in: Vec<OrganisationId>,
    /// The current order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<SignedOrder>,
    /// When the window closes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_closes_at: Option<Moment>,
    /// Objections and recusal requests.
    pub objections: Vec<ObjectionRow>,
    /// Rows read out, as (lot, row).
    pub read_out: Vec<(LotNo, u32)>,
    /// Suppliers that confirmed.
    pub confirmed: Vec<OrganisationId>,
    /// The records, once published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<OpeningRecord>,
    /// SHA-256 of the record's exact text, once signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_digest: Option<Digest>,
}

/// An opening order with its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedOrder {
    /// Epoch.
    pub epoch: u32,
    /// Exact text.
    pub order: String,
    /// The platform's signature.
    pub signature: Blob,
}

/// An objection or recusal request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectionRow {
    /// Its number.
    pub no: u32,
    /// Which.
    pub kind: ObjectionKind,
    /// The lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lot: Option<LotNo>,
    /// Who raised it.
    pub organisation: OrganisationId,
    /// The words.
    pub text: String,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// How an upload ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "verdict", rename_all = "snake_case", deny_unknown_fields)]
pub enum UploadVerdict {
    /// Taken in; the receipt's exact file text.
    Received {
        /// The bid.
        bid: BidId,
        /// The receipt file.
        receipt: String,
    },
    /// A damaged bid was restored.
    Restored {
        /// The bid.
        bid: BidId,
    },
    /// Refused.
    Refused {
        /// The refusal.
        refusal: Refusal,
        /// The signed refusal's exact file text, where one is kept (a late final).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        notice: Option<String>,
    },
}
