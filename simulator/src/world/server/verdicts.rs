//! The checks of the production code, on the world's files and with the world's keys.

use kaibiao_actors::{
    files::FileFault,
    journal::StoredRecord,
    practice::{self, CheckEnd, Checked, Openable},
};
use kaibiao_engine::{
    directory::Directory,
    project::Project,
    reaction::{judging::Final, opening::Failure},
};
use kaibiao_protocol::{
    bid::{BidFacts, PartName},
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};
use kaibiao_sealed::{key::PartKey, trust::Trust};

use super::{refuse, store::Readable};
use crate::world::stock::stock;

/// The checks of reception.
pub(super) fn check(
    files: &Readable<'_>,
    one: &Final,
    project: &Project,
    directory: &Directory,
    trust: &Trust,
) -> Result<Checked, CheckEnd> {
    practice::check_final(files, one, project, directory, trust, stock().opening.public())
}

/// A stored bid, opened by its keys.
pub(super) fn open_stored(
    files: &Readable<'_>,
    facts: &BidFacts,
    keys: &[(PartName, PartKey)],
) -> Result<Openable, Failure> {
    practice::open_stored(files, facts, keys)
}

/// The verdict that a record keeps, with its paper.
pub(super) fn of_record(record: &StoredRecord, id: &ProjectId, project: &Project) -> Option<UploadVerdict> {
    practice::verdict_of(record, &stock().receipt, id, project)
}

/// What a final is refused for whose bytes cannot be made durable.
pub(super) fn code_of(fault: &FileFault) -> RefusalCode {
    match fault {
        FileFault::NoRoom => RefusalCode::NoRoom,
        FileFault::TooLarge => RefusalCode::TooLarge,
        FileFault::Unknown(_) => RefusalCode::Unknown,
        FileFault::Gap { .. } | FileFault::Spoiled(_) | FileFault::Disk { .. } => {
            RefusalCode::SealedBidDamaged
        }
    }
}

/// How a fault of the store is told to whoever uploads.
pub(super) fn refusal_of(fault: &FileFault) -> Refusal {
    refuse(match fault {
        FileFault::NoRoom => RefusalCode::NoRoom,
        FileFault::TooLarge => RefusalCode::TooLarge,
        FileFault::Unknown(_) | FileFault::Spoiled(_) | FileFault::Gap { .. } | FileFault::Disk { .. } => {
            RefusalCode::Busy
        }
    })
}
