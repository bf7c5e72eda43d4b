//! Receipts and refusal notices: made from their journal records, and from nothing else, so that the same upload
//! always gets the same bytes.

use kaibiao_engine::{project::Project, project::ProjectMachine, refusals::refuse};
use kaibiao_protocol::{event::ProjectEvent, ids::ProjectId, view::UploadVerdict};
use kaibiao_sealed::{
    platform_key::PlatformKey,
    receipt::{ReceiptFacts, make_receipt},
    refusal_notice::{RefusalFacts, make_refusal_notice},
};

use crate::{
    journal::{Journal, StoredRecord, Stream},
    keeper_actor::Kept,
};

/// The verdict that the record at `seq` keeps, with its paper. None: it is no such record, or cannot be read.
/// Blocks on the disk.
pub(crate) fn verdict_of_record(
    journal: &dyn Journal,
    key: &PlatformKey,
    id: &ProjectId,
    project: &Project,
    seq: u64,
) -> Option<UploadVerdict> {
    let stream = Stream::Project(id.clone());
    let record = journal.read(&stream, seq.checked_sub(1)?, 1).ok()?.pop()?;
    verdict_of(&record, key, id, project)
}

/// The verdict that a record keeps, with its paper; none: it is no such record.
pub(crate) fn verdict_of(
    record: &StoredRecord,
    key: &PlatformKey,
    id: &ProjectId,
    project: &Project,
) -> Option<UploadVerdict> {
    let spec = project.spec()?;
    match ProjectMachine::decode(record).ok()? {
        ProjectEvent::BidSubmitted { facts, received_at, replaces } => {
            let receipt = ReceiptFacts::new(spec, &facts, received_at, replaces, record.hash);
            Some(UploadVerdict::Received { bid: facts.bid, receipt: make_receipt(&receipt, key) })
        }
        ProjectEvent::UploadRefused { upload, supplier, size_bytes, received_at, code } => {
            let refusal = refuse(code, project.rule_pack());
            let notice = RefusalFacts {
                project: id.clone(),
                project_name: spec.name.clone(),
                kind: spec.kind,
                upload,
                supplier,
                size_bytes,
                received_at,
                deadline: spec.deadline,
                code,
                rule: refusal.rule.clone(),
                record_hash: record.hash,
            };
            Some(UploadVerdict::Refused { refusal, notice: Some(make_refusal_notice(&notice, key)) })
        }
        _ => None,
    }
}
