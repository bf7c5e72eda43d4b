//! What goes over a connection of the simulated world, typed.
//!
//! Asks and answers are the protocol's own values; frames of streams are the production texts; uploads come in
//! pieces as over HTTP, where the last piece is answered with the verdict. A connection belongs to one person: who
//! it is was proved when it was opened (signing in is tested over real sockets).

use std::sync::Arc;

use kaibiao_engine::visibility::Frame;
use kaibiao_protocol::{
    frame::{Ask, Response},
    ids::{BidId, OrganisationId, ProjectId, UploadId, UserId},
    refusal::Refusal,
    role::{Asker, Role},
    view::UploadVerdict,
};

/// One connection; never used again once it is cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub u32);

/// The person at the other end of a connection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Caller {
    /// The account.
    pub user: UserId,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// In which role it signed in.
    pub role: Role,
}

impl Caller {
    /// As the engine names whoever asks.
    pub fn asker(&self) -> Asker {
        Asker::Person { user: self.user.clone(), organisation: self.organisation.clone(), role: self.role }
    }
}

/// What an upload is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To hand a bid in.
    Bid,
    /// To restore, byte for byte, a bid that the store damaged.
    Restore(BidId),
}

/// Bytes on the wire: shared, never copied.
#[derive(Clone)]
pub struct Bytes {
    whole: Arc<[u8]>,
    from: usize,
    to: usize,
}

impl Bytes {
    /// All of these bytes.
    pub fn all(whole: Arc<[u8]>) -> Self {
        let to = whole.len();
        Self { whole, from: 0, to }
    }

    /// A part of them; cut at their end.
    pub fn range(whole: &Arc<[u8]>, from: u64, count: u64) -> Self {
        let clip = |at: u64| usize::try_from(at).map_or(whole.len(), |at| at.min(whole.len()));
        Self { whole: whole.clone(), from: clip(from), to: clip(from.saturating_add(count)) }
    }
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole[self.from..self.to]
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} bytes", self.len())
    }
}

/// From a person to the server.
#[derive(Clone, Debug)]
pub enum ToServer {
    /// A frame of the WebSocket.
    Ask {
        /// Chosen by the client.
        id: u64,
        /// What is asked.
        ask: Ask,
    },
    /// `POST`: an upload begins, or where the same one stands is asked again.
    BeginUpload {
        /// The client's name for it.
        upload: UploadId,
        /// The project.
        project: ProjectId,
        /// What it is for.
        purpose: Purpose,
        /// Its length in bytes.
        total: u64,
    },
    /// `HEAD`: how far an upload is.
    WhereStands {
        /// Which.
        upload: UploadId,
        /// Its project.
        project: ProjectId,
    },
    /// `PATCH`: bytes of an upload. Without bytes at its end, the verdict is asked for again.
    Piece {
        /// Which.
        upload: UploadId,
        /// Its project.
        project: ProjectId,
        /// Where these bytes belong.
        offset: u64,
        /// They.
        bytes: Bytes,
    },
}

/// From the server to a person.
#[derive(Clone, Debug)]
pub enum ToClient {
    /// The answer to an ask.
    Answer(Response),
    /// A frame of a subscribed stream: the production text of a [`kaibiao_protocol::frame::Notice`].
    Frame(Frame),
    /// How far an upload is, and what became of it if that is known.
    Stands {
        /// Which.
        upload: UploadId,
        /// Bytes taken in.
        offset: u64,
        /// What became of it.
        verdict: Option<Box<UploadVerdict>>,
    },
    /// An upload's request was refused; nothing was taken in by it.
    NoUpload {
        /// Which.
        upload: UploadId,
        /// Why.
        refusal: Refusal,
    },
}
