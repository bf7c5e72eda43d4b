//! Restoring a sealed bid that the platform's store damaged: the supplier seals its backup again, with the
//! recorded header and key, and hands the bytes in; they count if and only if they are those of the receipt.

use kaibiao_engine::{
    keeper::Machine,
    project::{Project, ProjectMachine},
};
use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    command::ProjectCommand,
    digest::Digest,
    ids::{BidId, FileId, OrganisationId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor},
    view::UploadVerdict,
};
use kaibiao_sealed::arrival::Arrived;
use tokio::sync::Semaphore;

use crate::{
    files::Files,
    final_checks::{CheckEnd, read_again},
    house::House,
    intake::Final,
    messages::{AskProject, FinishUpload},
    refusals::refuse,
};

/// Checks restored bytes and puts them in the place of the damaged ones.
pub(crate) async fn restore(house: &House, turns: &Semaphore, upload: FinishUpload) -> UploadVerdict {
    let (id, bid, file) = (upload.project.clone(), upload.bid, upload.file);
    let refused = |refusal| UploadVerdict::Refused { refusal, notice: None };
    let Some(project) = house.project(&id).await else { return refused(refuse(RefusalCode::Busy)) };
    // Asked again because the answer was lost: these very bytes are the bid's already.
    if holds(&project, &upload.supplier, &bid, &file) {
        return UploadVerdict::Restored { bid };
    }
    // The ticket first: window and grace wait for whatever is stamped before their end.
    let Some(ticket) = house.window_ticket(&id) else {
        house.metrics().note_busy("opening");
        return refused(refuse(RefusalCode::Busy));
    };
    let supplier = upload.supplier.clone();
    let at = house.clock().now();
    let tried = try_restore(house, turns, upload, &project, at).await;
    drop(ticket);
    let Err(refusal) = tried else { return UploadVerdict::Restored { bid } };
    // Nobody knows whether they were taken: they stay.
    if matches!(refusal.code, RefusalCode::Busy | RefusalCode::WritingEnded) {
        return refused(refusal);
    }
    match house.project(&id).await {
        Some(project) if !holds(&project, &supplier, &bid, &file) => {
            let files = house.files().clone();
            let deleting = tokio::task::spawn_blocking(move || files.delete(&file));
            if let Ok(Err(fault)) = deleting.await {
                tracing::warn!(%bid, %fault, "refused bytes could not be deleted");
            }
            refused(refusal)
        }
        Some(_) => UploadVerdict::Restored { bid },
        None => refused(refuse(RefusalCode::Busy)),
    }
}

/// Whether this file is where the supplier's bid lies.
fn holds(project: &Project, supplier: &OrganisationId, bid: &BidId, file: &FileId) -> bool {
    project.bid(bid).is_some_and(|bid| bid.facts.supplier == *supplier && bid.facts.file == *file)
}

async fn try_restore(
    house: &House,
    turns: &Semaphore,
    upload: FinishUpload,
    project: &Project,
    at: Moment,
) -> Result<(), Refusal> {
    let own = project.bid(&upload.bid).filter(|bid| bid.facts.supplier == upload.supplier);
    let facts = own.ok_or_else(|| refuse(RefusalCode::NoSuchBid))?.facts.clone();
    let asker = Asker::Platform { reactor: Reactor::Intake };
    let command =
        ProjectCommand::RestoreBid { bid: upload.bid, file: upload.file, header_digest: facts.header_digest };
    // Before any byte is read: whether a restored bid is wanted at all.
    ProjectMachine::decide(project, &command, &asker, at)?;
    let (id, files) = (upload.project.clone(), house.files().clone());
    let checked = {
        let _turn = turns.acquire().await;
        let checking = tokio::task::spawn_blocking(move || check_restored(&*files, upload, &facts, at));
        checking.await.map_err(|_| refuse(RefusalCode::SealedBidDamaged))?
    };
    checked.map_err(refuse)?;
    house.ask_project(AskProject { at: Some(at), ..AskProject::new(id, asker, command) }).await.map(drop)
}

/// Byte for byte: the header by its digest, and through the statement in it every part. Blocks on the disk.
fn check_restored(
    files: &dyn Files,
    upload: FinishUpload,
    facts: &BidFacts,
    at: Moment,
) -> Result<(), RefusalCode> {
    let one = Final {
        project: upload.project,
        upload: upload.upload,
        bid: upload.bid,
        supplier: upload.supplier,
        file: upload.file,
        size_bytes: upload.size_bytes,
        received_at: at,
        contact: Blob::default(),
        contact_digest: Digest([0; 32]),
    };
    let arrived: Arrived = match upload.arrived {
        Some(arrived) => arrived,
        None => read_again(files, &one).map_err(|end| match end {
            CheckEnd::Refused(code) => code,
            CheckEnd::Store(_) => RefusalCode::SealedBidDamaged,
        })?,
    };
    let same = arrived.header.header_digest == facts.header_digest
        && arrived.size_bytes == facts.size_bytes
        && arrived.header.part_facts() == facts.parts;
    if !same {
        return Err(RefusalCode::BackupDiffers);
    }
    // Synced and named for good; harmless where a crash came between this and the record.
    files.finish(&one.file).map_err(|_| RefusalCode::SealedBidDamaged)
}
