//! Restoring a sealed bid: the shell around [`Restoring`], which says what is to be done; here it is done.

use kaibiao_engine::reaction::{
    judging::asker,
    restoring::{Input, Output, Restored, Restoring, are_the_receipts},
};
use kaibiao_protocol::{bid::BidFacts, ids::FileId, refusal::RefusalCode, view::UploadVerdict};
use kaibiao_sealed::arrival::Arrived;
use tokio::sync::Semaphore;

use crate::{
    files::Files,
    final_checks::{CheckEnd, read_again},
    house::House,
    messages::{AskProject, FinishUpload},
};

/// Checks restored bytes and puts them in the place of the damaged ones.
pub(crate) async fn restore(house: &House, turns: &Semaphore, upload: FinishUpload) -> UploadVerdict {
    let FinishUpload { project: id, bid, supplier, file, mut arrived, .. } = upload;
    let mut core = Restoring::new(Restored { bid, supplier, file });
    let mut ticket = None;
    let mut out = Vec::new();
    core.begin(&mut out);
    loop {
        let mut heard = None;
        for output in out.drain(..) {
            match output {
                Output::LoadProject => heard = Some(Input::Loaded(house.project(&id).await)),
                Output::Stamp => {
                    ticket = house.window_ticket(&id);
                    if ticket.is_none() {
                        house.metrics().note_busy("opening");
                    }
                    // After the ticket, so that no stamp is older than its ticket.
                    heard = Some(Input::Stamped(ticket.as_ref().map(|_| house.clock().now())));
                }
                Output::Check(facts) => {
                    let (files, arrived) = (house.files().clone(), arrived.take());
                    let _turn = turns.acquire().await;
                    let checking =
                        tokio::task::spawn_blocking(move || check(&*files, &file, arrived, &facts));
                    let checked = checking.await.unwrap_or(Err(RefusalCode::SealedBidDamaged));
                    heard = Some(Input::Checked(checked));
                }
                Output::Ask { command, at } => {
                    let ask = AskProject { at: Some(at), ..AskProject::new(id.clone(), asker(), *command) };
                    heard = Some(Input::Answered(house.ask_project(ask).await));
                }
                Output::SettleTicket => drop(ticket.take()),
                Output::DeleteFile => delete(house, file).await,
                Output::Restored => return UploadVerdict::Restored { bid },
                Output::Refused(refusal) => return UploadVerdict::Refused { refusal, notice: None },
            }
        }
        core.handle(heard.expect("until its end, a restoring asks for one more input"), &mut out);
    }
}

/// Byte for byte those of the receipt, and durable under their final name. Blocks on the disk.
fn check(
    files: &dyn Files,
    file: &FileId,
    arrived: Option<Arrived>,
    facts: &BidFacts,
) -> Result<(), RefusalCode> {
    let arrived = match arrived {
        Some(arrived) => arrived,
        None => read_again(files, file).map_err(|end| match end {
            CheckEnd::Refused(code) => code,
            CheckEnd::Store(_) => RefusalCode::SealedBidDamaged,
        })?,
    };
    let (header, parts) = (&arrived.header, arrived.header.part_facts());
    if !are_the_receipts(facts, &header.header_digest, arrived.size_bytes, &parts) {
        return Err(RefusalCode::BackupDiffers);
    }
    // Synced and named for good; harmless where a crash came between this and the record.
    files.finish(file).map_err(|_| RefusalCode::SealedBidDamaged)
}

async fn delete(house: &House, file: FileId) {
    let files = house.files().clone();
    let deleting = tokio::task::spawn_blocking(move || files.delete(&file));
    if let Ok(Err(fault)) = deleting.await {
        tracing::warn!(%file, %fault, "refused bytes could not be deleted");
    }
}
