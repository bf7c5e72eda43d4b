//! Frames of the WebSocket: JSON text, one object a frame.
//!
//! A client sends [`Request`]; the server answers with [`Response`] of the same `id` and sends
//! [`Notice`] for each event of a subscribed stream. Bulk data goes over HTTP.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    bid::FailureCause,
    blob::Blob,
    deadline::MoveGround,
    digest::Digest,
    event::ObjectionKind,
    ids::{BidId, LotNo, ProjectId},
    moment::Moment,
    refusal::Refusal,
    view::{ContactRow, ProjectRow, ProjectView, RoomView, ViewEvent},
};

/// The longest frame a client may send, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The longest text a server sends, in bytes: a client takes so much. A record with [`crate::record::ROWS_MAX`] rows
/// of the longest texts is no longer.
pub const SERVER_FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A question or command from a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Chosen by the client, unique on its connection; the answer carries it.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// The server's time.
    Time {},
    /// The projects I may see.
    Projects {
        /// Only those whose number or name contains this.
        #[serde(default)]
        search: String,
        /// How many to skip.
        #[serde(default)]
        skip: u32,
    },
    /// One project.
    Project {
        /// Which.
        project: ProjectId,
    },
    /// The room as it stands.
    Room {
        /// Which.
        project: ProjectId,
    },
    /// Every event of a stream after `since`, then each new one.
    Subscribe {
        /// Which stream.
        stream: StreamName,
        /// The last `seq` already had; 0 for all.
        since: u64,
    },
    /// No more events of a stream.
    Unsubscribe {
        /// Which.
        stream: StreamName,
    },
    /// My bid's receipt again.
    Receipt {
        /// The project.
        project: ProjectId,
        /// The bid.
        bid: BidId,
    },
    /// Withdraw my bid.
    WithdrawBid {
        /// The project.
        project: ProjectId,
        /// The bid.
        bid: BidId,
        /// Why.
        reason: String,
    },
    /// Sign in to the room.
    CheckIn {
        /// The project.
        project: ProjectId,
    },
    /// Hand over the keys of the parts being opened.
    ReleaseKeys {
        /// The project.
        project: ProjectId,
        /// The bid.
        bid: BidId,
        /// The order's epoch.
        epoch: u32,
        /// HPKE encapsulated key (32 bytes).
        enc: Blob,
        /// HPKE ciphertext.
        ciphertext: Blob,
        /// Whether the keys come from the backup bid.
        by_backup: bool,
    },
    /// Say that I cannot unseal, and why.
    ReportTrouble {
        /// The project.
        project: ProjectId,
        /// The bid.
        bid: BidId,
        /// `wrong_token` or `token_trouble`.
        cause: FailureCause,
        /// What was seen.
        seen: String,
    },
    /// Move the deadline to a later one.
    MoveDeadline {
        /// The project.
        project: ProjectId,
        /// The new deadline.
        deadline: Moment,
        /// On what ground.
        ground: MoveGround,
        /// Why.
        reason: String,
    },
    /// Start the opening.
    StartOpening {
        /// The project.
        project: ProjectId,
        /// The agent's signature over the start statement (CMS), if signed by token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<Blob>,
    },
    /// Extend the window for all.
    ExtendWindow {
        /// The project.
        project: ProjectId,
        /// By how much.
        minutes: u32,
        /// Why.
        reason: String,
    },
    /// Close the window early.
    CloseWindow {
        /// The project.
        project: ProjectId,
        /// Why.
        reason: String,
    },
    /// Admit a backup bid.
    AdmitBackup {
        /// The project.
        project: ProjectId,
        /// The bid.
        bid: BidId,
        /// Why.
        reason: String,
    },
    /// Read a row out.
    ReadOutRow {
        /// The project.
        project: ProjectId,
        /// The lot.
        lot: LotNo,
        /// The row.
        no: u32,
    },
    /// Raise an objection or a recusal request.
    Object {
        /// The project.
        project: ProjectId,
        /// Which.
        kind: ObjectionKind,
        /// The lot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lot: Option<LotNo>,
        /// The words.
        text: String,
    },
    /// Answer one.
    AnswerObjection {
        /// The project.
        project: ProjectId,
        /// Its number.
        no: u32,
        /// The words.
        text: String,
    },
    /// Confirm the record.
    ConfirmRecord {
        /// The project.
        project: ProjectId,
        /// SHA-256 of the record's text.
        record: Digest,
        /// My token's signature over the confirmation statement (CMS).
        signature: Blob,
    },
    /// End the opening.
    EndOpening {
        /// The project.
        project: ProjectId,
    },
    /// The published record's exact text.
    Record {
        /// The project.
        project: ProjectId,
    },
    /// Whom to reach for each bid, masked; for the organiser's agent, once the bids are counted.
    Contacts {
        /// The project.
        project: ProjectId,
    },
    /// End this session.
    SignOut {},
}

/// The name of a stream of events, written `room/PROJECT` or `own/PROJECT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// What everybody in the room sees.
    Room(ProjectId),
    /// What concerns the asking supplier alone.
    Own(ProjectId),
}

/// The text names no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAStream;

impl fmt::Display for NotAStream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a stream is room/PROJECT or own/PROJECT")
    }
}

impl std::error::Error for NotAStream {}

impl StreamName {
    /// The project the stream belongs to.
    pub fn project(&self) -> &ProjectId {
        match self {
            StreamName::Room(project) | StreamName::Own(project) => project,
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamName::Room(project) => write!(out, "room/{project}"),
            StreamName::Own(project) => write!(out, "own/{project}"),
        }
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for StreamName {
    type Err = NotAStream;

    fn from_str(text: &str) -> Result<Self, NotAStream> {
        let (kind, project) = text.split_once('/').ok_or(NotAStream)?;
        let project = project.parse().map_err(|_| NotAStream)?;
        match kind {
            "room" => Ok(StreamName::Room(project)),
            "own" => Ok(StreamName::Own(project)),
            _ => Err(NotAStream),
        }
    }
}

impl Serialize for StreamName {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for StreamName {
    fn schema_name() -> Cow<'static, str> {
        "StreamName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(room|own)/[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
            "description": "A stream of events: room/PROJECT or own/PROJECT."
        })
    }
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Response {
    /// Done.
    Ok {
        /// The request's id.
        id: u64,
        /// The answer.
        ok: Answer,
    },
    /// Refused.
    Refused {
        /// The request's id.
        id: u64,
        /// Why, by which rule, and what next.
        refused: Refusal,
    },
}

/// What an answer holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// It is done and durable.
    Done {
        /// When it was stamped.
        at: Moment,
    },
    /// The server's time.
    Time {
        /// Now.
        at: Moment,
    },
    /// Projects.
    Projects {
        /// One page.
        rows: Vec<ProjectRow>,
        /// How many there are in all.
        total: u32,
    },
    /// One project.
    Project {
        /// It.
        view: Box<ProjectView>,
    },
    /// The room.
    Room {
        /// It.
        view: Box<RoomView>,
    },
    /// Subscribed; events follow.
    Subscribed {
        /// The stream's last `seq` at that moment.
        seq: u64,
    },
    /// A receipt's exact file text.
    Receipt {
        /// It.
        receipt: String,
    },
    /// Contacts, in the order of receipt.
    Contacts {
        /// One a bid that stands.
        rows: Vec<ContactRow>,
    },
    /// The record's exact text.
    Record {
        /// It.
        text: String,
        /// SHA-256 of the text.
        digest: Digest,
        /// The platform's signature.
        signature: Blob,
    },
}

/// An event of a subscribed stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The stream.
    pub stream: StreamName,
    /// Its place in this viewer's stream, from 1 without a gap.
    pub seq: u64,
    /// When it happened.
    pub at: Moment,
    /// What happened.
    pub event: ViewEvent,
}
