//! What people set themselves to do later.

use kaibiao_protocol::ids::{BidId, LotNo};

/// Something to be done when its time has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Errand {
    /// Dial again.
    Dial,
    /// Ask again what was told to wait.
    AskAgain {
        /// Which of the waiting asks.
        no: u64,
    },
    /// Go on with an upload.
    Upload {
        /// Which.
        index: usize,
    },
    /// Hand the keys over.
    Unseal {
        /// In which project.
        project: usize,
    },
    /// Start the opening, if nobody did.
    Start {
        /// Which.
        project: usize,
    },
    /// Admit a backup.
    Admit {
        /// In which project.
        project: usize,
        /// Of which bid.
        bid: BidId,
    },
    /// Answer an objection.
    AnswerObjection {
        /// In which project.
        project: usize,
        /// Which.
        no: u32,
    },
    /// Read a row out.
    ReadOut {
        /// In which project.
        project: usize,
        /// The lot.
        lot: LotNo,
        /// The row.
        no: u32,
    },
    /// Try to close the window.
    Hurry {
        /// In which project.
        project: usize,
    },
    /// Try to end the opening.
    End {
        /// Which.
        project: usize,
    },
}
