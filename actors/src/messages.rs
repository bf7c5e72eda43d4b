//! Every message that actors and their callers exchange, in one file: an actor knows messages, never another
//! actor's type.

use std::sync::Arc;

use actix::{Message, prelude::SendError};
use kaibiao_engine::keeper::{Done, Recorded, SideWrite};
use kaibiao_protocol::{
    bid::FailureCause,
    command::ProjectCommand,
    event::ProjectEvent,
    frame::StreamName,
    ids::{BidId, CommandId, FileId, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    refusal::Refusal,
    role::Asker,
    view::RoomView,
};
use kaibiao_sealed::arrival::Arrived;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::{
    frame_sink::{FrameSink, SinkId},
    tickets::Ticket,
};

pub use crate::intake::StampedFinal;

/// Where an answer goes. It closes unsaid if the actor dies first.
pub(crate) type AnswerTo<T> = oneshot::Sender<T>;

/// A command to one project, through the one door.
pub struct AskProject {
    /// The project.
    pub project: ProjectId,
    /// Who asks; the engine decides whether they may.
    pub asker: Asker,
    /// When it was asked; none: the house stamps it now.
    pub at: Option<Moment>,
    /// The sender's name for it; none: the house draws one, so that it may be sent again inside.
    pub command_id: Option<CommandId>,
    /// The command.
    pub command: ProjectCommand,
    /// What lies beside its events in the side tables, written in the same append.
    pub side: Vec<SideWrite>,
}

impl AskProject {
    /// A command stamped on entry, without side writes.
    pub fn new(project: ProjectId, asker: Asker, command: ProjectCommand) -> Self {
        Self { project, asker, at: None, command_id: None, command, side: Vec::new() }
    }
}

/// Keys that a supplier hands over, sealed to the opening's one-time key.
pub struct ReleaseKeys {
    /// The project.
    pub project: ProjectId,
    /// The bid.
    pub bid: BidId,
    /// Who hands them over.
    pub asker: Asker,
    /// The order they answer.
    pub epoch: u32,
    /// HPKE encapsulated key.
    pub enc: Vec<u8>,
    /// HPKE ciphertext.
    pub ciphertext: Vec<u8>,
    /// Whether they come from the backup bid.
    pub by_backup: bool,
}

/// A supplier says that it cannot unseal.
pub struct ReportTrouble {
    /// The project.
    pub project: ProjectId,
    /// The bid.
    pub bid: BidId,
    /// Who says so.
    pub asker: Asker,
    /// `WrongToken` or `TokenTrouble`.
    pub cause: FailureCause,
    /// What was seen, in the supplier's words.
    pub seen: String,
}

/// What an upload is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadPurpose {
    /// To hand a sealed bid in.
    Bid,
    /// To restore, byte for byte, a sealed bid that the platform's store damaged.
    Restore,
}

/// The last byte of an upload is in.
pub struct FinishUpload {
    /// The project.
    pub project: ProjectId,
    /// The upload, as its client named it.
    pub upload: UploadId,
    /// The bid it brings, drawn when the upload began (restore: the damaged bid).
    pub bid: BidId,
    /// Whose it is.
    pub supplier: OrganisationId,
    /// What it is for.
    pub purpose: UploadPurpose,
    /// The staged file.
    pub file: FileId,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// The contact form as canonical JSON; personal data, kept wrapped in a side table only.
    pub contact: Zeroizing<Vec<u8>>,
    /// The verdict of the check that ran while the bytes streamed in; none: the file is read again.
    pub arrived: Option<Arrived>,
    /// The stamp taken when the last byte came in ([`crate::house::House::stamp_final`]); none: it is stamped now.
    pub stamped: Option<StampedFinal>,
}

/// A viewer wants a stream's events after `since` and then each new one.
#[derive(Clone)]
pub struct JoinRoom {
    /// Who looks; the engine says whether and as what.
    pub asker: Asker,
    /// Which stream.
    pub stream: StreamName,
    /// The last `seq` the viewer has; 0: none.
    pub since: u64,
    /// Where the frames go.
    pub sink: FrameSink,
}

/// Why a message did not reach an actor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Undelivered {
    /// The mailbox is full.
    Full,
    /// The actor is gone.
    Gone,
}

impl<M> From<SendError<M>> for Undelivered {
    fn from(fault: SendError<M>) -> Self {
        match fault {
            SendError::Full(_) => Undelivered::Full,
            SendError::Closed(_) => Undelivered::Gone,
        }
    }
}

/// A command as it reaches a keeper's actor. Whoever hears no answer asks again under the same command id.
pub(crate) struct KeeperAsk<C> {
    pub(crate) asker: Asker,
    pub(crate) at: Moment,
    pub(crate) command_id: CommandId,
    pub(crate) command: C,
    pub(crate) side: Vec<SideWrite>,
    pub(crate) answer: AnswerTo<Result<Done, Refusal>>,
}

impl<C> Message for KeeperAsk<C> {
    type Result = ();
}

/// Look whether something is due. May come late, early or twice.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// Answered as soon as the project's stream is replayed.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Load {
    pub(crate) answer: AnswerTo<()>,
}

/// End, if nothing is in hand; the answer says whether it did.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct GoToSleep {
    pub(crate) answer: AnswerTo<bool>,
}

/// Panic: how tests see what becomes of an actor that has a bug.
#[cfg(feature = "practice")]
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Panic;

/// Records of a project became durable. A hint: it may get lost, and whoever follows reads the journal then.
#[derive(Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Published {
    /// The position of the last durable record when this was said.
    pub(crate) last_seq: u64,
    /// The records that became durable, the last of them at `last_seq`; may be empty.
    pub(crate) records: Arc<[Recorded<ProjectEvent>]>,
}

/// A viewer enters a room.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct EnterRoom {
    pub(crate) join: JoinRoom,
    pub(crate) answer: AnswerTo<Result<u64, Refusal>>,
}

/// A connection no longer wants a stream.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct LeaveRoom {
    pub(crate) stream: StreamName,
    pub(crate) sink: SinkId,
}

/// What the room looks like to a viewer.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct LookAtRoom {
    pub(crate) asker: Asker,
    pub(crate) answer: AnswerTo<Result<RoomView, Refusal>>,
}

/// Keys on their way to the opening, stamped when they arrived.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct KeysArrived {
    pub(crate) keys: ReleaseKeys,
    pub(crate) at: Moment,
    /// Open until the keys have their answer, so that the window waits for what came in time.
    pub(crate) ticket: Ticket,
    pub(crate) answer: AnswerTo<Result<Done, Refusal>>,
}
