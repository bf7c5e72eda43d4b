//! Every message that actors and their callers exchange, in one file: an actor knows messages, never another
//! actor's type.

use kaibiao_engine::keeper::SideWrite;
use kaibiao_protocol::{
    bid::FailureCause,
    command::ProjectCommand,
    frame::StreamName,
    ids::{BidId, CommandId, FileId, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    role::Asker,
};
use kaibiao_sealed::arrival::Arrived;
use zeroize::Zeroizing;

use crate::room::FrameSink;

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
}

/// A viewer wants a stream's events after `since` and then each new one.
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
