//! Values beside the journal, written in the same transaction as records.

use zeroize::Zeroizing;

/// Where a side value lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SideSpace {
    /// Part keys, wrapped under the store key.
    PartKeys,
    /// Contact forms: personal data.
    Contact,
    /// Hashes of passwords.
    PasswordHash,
    /// Finals that are stamped and not yet judged.
    StagedFinal,
    /// Receipts and signed refusals.
    Receipt,
    /// Uploads on their way.
    Upload,
    /// Until when each opening was served, at least: what an outage is measured from.
    Served,
    /// Deadlines that were moved, as they are now.
    Deadline,
}

impl SideSpace {
    /// Every space, in a fixed order.
    pub const ALL: [SideSpace; 8] = [
        SideSpace::PartKeys,
        SideSpace::Contact,
        SideSpace::PasswordHash,
        SideSpace::StagedFinal,
        SideSpace::Receipt,
        SideSpace::Upload,
        SideSpace::Served,
        SideSpace::Deadline,
    ];

    /// Its name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            SideSpace::PartKeys => "part_keys",
            SideSpace::Contact => "contact",
            SideSpace::PasswordHash => "password_hash",
            SideSpace::StagedFinal => "staged_final",
            SideSpace::Receipt => "receipt",
            SideSpace::Upload => "upload",
            SideSpace::Served => "served",
            SideSpace::Deadline => "deadline",
        }
    }
}

/// A write beside the records, in the same transaction. The keeper never looks inside. Has neither
/// `Debug` nor `Clone`: the value may be personal or secret.
pub enum SideWrite {
    /// Set a value.
    Put {
        /// Where.
        space: SideSpace,
        /// Under which key.
        key: String,
        /// The value; wiped when dropped.
        value: Zeroizing<Vec<u8>>,
    },
    /// Remove one.
    Delete {
        /// Where.
        space: SideSpace,
        /// Under which key.
        key: String,
    },
}
