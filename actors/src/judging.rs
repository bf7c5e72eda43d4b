//! Judging one final: the shell around [`Judging`], which says what is to be done; here it is done.

use std::sync::Arc;

use kaibiao_engine::{
    keeper::{SideSpace, SideWrite},
    project::Project,
    reaction::judging::{CheckFault, Input, Judging, Output, RowFault, Side, asker},
};
use kaibiao_protocol::{
    command::ProjectCommand,
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};
use kaibiao_sealed::arrival::Arrived;
use zeroize::Zeroizing;

use crate::{
    command_ids::derived,
    files::FileFault,
    final_checks::{CheckEnd, Checked, Grounds, check},
    house::House,
    intake::{Final, contact_name, refused},
    journal::{Append, AppendFault, Stream},
    messages::AskProject,
    papers::verdict_of_record,
    tickets::OpenTicket,
};

/// How judging ended.
pub(crate) enum End {
    /// With a verdict.
    Verdict(UploadVerdict),
    /// Without: nothing can be decided or written now.
    Left,
}

/// Brings a final to its verdict, sooner or later. `arrived`: what the check found that ran while its bytes came.
pub(crate) async fn judge(
    house: &House,
    core: &mut Judging,
    arrived: Option<Arrived>,
    ticket: &OpenTicket,
) -> End {
    let mut shell = Shell { house, one: core.one().clone(), project: None, arrived, evidence: String::new() };
    let mut out = Vec::new();
    core.begin(&mut out);
    loop {
        let mut heard = None;
        for output in out.drain(..) {
            match output {
                Output::LoadProject => heard = Some(shell.load().await),
                Output::SyncBytes => heard = Some(Input::Synced(shell.sync_bytes().await)),
                Output::WriteRow => heard = Some(Input::RowWritten(shell.write_row().await)),
                Output::Check => heard = Some(Input::Checked(shell.check().await)),
                Output::Seal => heard = Some(Input::Sealed(shell.seal().await)),
                Output::Ask { asked, command, side } => {
                    let command_id = derived(&core.command_pieces(asked));
                    let ask = AskProject {
                        at: Some(shell.one.received_at),
                        command_id: Some(command_id),
                        side: side.iter().map(|side| shell.side(*side)).collect(),
                        ..AskProject::new(shell.one.project.clone(), asker(), ProjectCommand::clone(&command))
                    };
                    heard = Some(Input::Answered(house.ask_project(ask).await));
                }
                Output::Wait { ms } => {
                    let ms = u64::try_from(ms).unwrap_or_default();
                    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                    heard = Some(Input::Waited);
                }
                Output::DropRow => shell.drop_row().await,
                Output::DeleteFile => shell.delete_file().await,
                Output::SettleTicket => ticket.settle(),
                Output::Recorded { seq } => {
                    let paper = paper(house, &shell.one.project, seq).await;
                    // It is taken in or refused for good; only its paper could not be read just now.
                    return End::Verdict(paper.unwrap_or_else(|| refused(RefusalCode::Busy)));
                }
                Output::Refused(refusal) => return End::Verdict(unrecorded(refusal)),
                Output::Left => return End::Left,
            }
        }
        let heard = heard.expect("until its end, a final asks for one more input");
        core.handle(heard, house.is_stopping(), &mut out);
    }
}

fn unrecorded(refusal: Refusal) -> UploadVerdict {
    UploadVerdict::Refused { refusal, notice: None }
}

struct Shell<'a> {
    house: &'a House,
    one: Final,
    /// As it was loaded.
    project: Option<Arc<Project>>,
    arrived: Option<Arrived>,
    /// What the judgement on its certificates rested on.
    evidence: String,
}

impl Shell<'_> {
    async fn load(&mut self) -> Input {
        match self.house.project(&self.one.project).await {
            Some(project) => {
                self.project = Some(project.clone());
                Input::Loaded(project)
            }
            None if self.house.knows(&self.one.project) => Input::ProjectUnreadable,
            None => Input::UnknownProject,
        }
    }

    async fn sync_bytes(&self) -> Result<(), RefusalCode> {
        let (files, file, size) = (self.house.files().clone(), self.one.file, self.one.size_bytes);
        let synced = match files.sync_soon(&file) {
            // Together with all others that wait: no thread for each.
            Some(durable) => match durable.await {
                Ok(()) => files.staged_bytes(&file),
                Err(fault) => Err(fault),
            },
            None => {
                let turns = self.house.intake().turns.clone();
                let _turn = turns.acquire().await;
                let syncing = tokio::task::spawn_blocking(move || {
                    files.sync(&file)?;
                    files.staged_bytes(&file)
                });
                syncing.await.map_err(|_| RefusalCode::Busy)?
            }
        };
        match synced {
            Ok(found) if found == size => Ok(()),
            Ok(_) => Err(RefusalCode::SealedBidDamaged),
            Err(fault) => Err(code_of(&fault)),
        }
    }

    async fn write_row(&self) -> Result<(), RowFault> {
        let value = serde_json::to_vec(&self.one).expect("a final is plain data and serialises");
        let put = SideWrite::Put {
            space: SideSpace::StagedFinal,
            key: self.one.row_key(),
            value: Zeroizing::new(value),
        };
        match self.house.journal().append(Append::side_only(Stream::Platform, vec![put])).await {
            Ok(_) => Ok(()),
            Err(AppendFault::WritingEnded) => Err(RowFault::WritingEnded),
            Err(AppendFault::NoRoom) => Err(RowFault::Refused(RefusalCode::NoRoom)),
            Err(AppendFault::TooLarge) => Err(RowFault::Refused(RefusalCode::FormInvalid)),
            Err(AppendFault::Busy | AppendFault::Conflict { .. }) => Err(RowFault::Busy),
        }
    }

    async fn check(&mut self) -> Result<Box<kaibiao_protocol::bid::BidFacts>, CheckFault> {
        let (house, one) = (self.house.clone(), self.one.clone());
        let (arrived, project) = (self.arrived.take(), self.project.clone());
        let project = project.expect("a final is checked against the project that was loaded");
        let turns = house.intake().turns.clone();
        let turn = turns.acquire().await;
        let checking = tokio::task::spawn_blocking(move || {
            let directory = house.directory();
            let trust = house.intake().trust.of(&directory);
            let grounds = Grounds {
                project: &project,
                directory: &directory,
                trust: &trust,
                opening_key: house.keys().opening.public(),
            };
            check(&**house.files(), &one, arrived, &grounds)
        });
        let checked = checking.await.unwrap_or_else(|_| {
            // What somebody sent made a check panic: that is a bug, and no reason to let the room wait.
            tracing::error!(upload = %self.one.upload, "checking a final panicked");
            Err(CheckEnd::Refused(RefusalCode::SealedBidDamaged))
        });
        drop(turn);
        match checked {
            Ok(Checked { facts, evidence }) => {
                self.evidence = evidence;
                Ok(Box::new(facts))
            }
            Err(CheckEnd::Refused(code)) => Err(CheckFault::Refused(code)),
            Err(CheckEnd::Store(fault)) => {
                tracing::error!(upload = %self.one.upload, %fault, "a staged final cannot be read");
                Err(CheckFault::Store)
            }
        }
    }

    async fn seal(&self) -> bool {
        let (files, file) = (self.house.files().clone(), self.one.file);
        let sealed = match files.finish_soon(&file) {
            Some(durable) => durable.await,
            None => {
                let turns = self.house.intake().turns.clone();
                let _turn = turns.acquire().await;
                match tokio::task::spawn_blocking(move || files.finish(&file)).await {
                    Ok(sealed) => sealed,
                    Err(_) => return false,
                }
            }
        };
        if let Err(fault) = &sealed {
            tracing::error!(upload = %self.one.upload, %fault, "a checked final cannot be finished");
        }
        sealed.is_ok()
    }

    fn side(&self, side: Side) -> SideWrite {
        let name = contact_name(&self.one.project, &self.one.bid);
        let put = |space, key, value| SideWrite::Put { space, key, value: Zeroizing::new(value) };
        match side {
            Side::Contact => put(SideSpace::Contact, name, self.one.contact.0.clone()),
            Side::Certificates => {
                put(SideSpace::Receipt, format!("{name}/certificates"), self.evidence.clone().into_bytes())
            }
            Side::DropRow => SideWrite::Delete { space: SideSpace::StagedFinal, key: self.one.row_key() },
        }
    }

    async fn drop_row(&self) {
        let without = vec![self.side(Side::DropRow)];
        let forgotten = self.house.journal().append(Append::side_only(Stream::Platform, without)).await;
        if let Err(fault) = forgotten {
            tracing::warn!(upload = %self.one.upload, %fault, "a judged final could not be forgotten");
        }
    }

    async fn delete_file(&self) {
        let (files, file) = (self.house.files().clone(), self.one.file);
        let deleting = tokio::task::spawn_blocking(move || files.delete(&file));
        if let Ok(Err(fault)) = deleting.await {
            tracing::warn!(upload = %self.one.upload, %fault, "a refused final could not be deleted");
        }
    }
}

fn code_of(fault: &FileFault) -> RefusalCode {
    match fault {
        FileFault::NoRoom => RefusalCode::NoRoom,
        FileFault::TooLarge => RefusalCode::TooLarge,
        FileFault::Unknown(_) => RefusalCode::Unknown,
        FileFault::Gap { .. } => RefusalCode::SealedBidDamaged,
        // The platform's own disk: nobody's bid is damaged by that, and it may be handed in anew at once.
        FileFault::Spoiled(_) | FileFault::Disk { .. } => RefusalCode::Busy,
    }
}

/// The verdict and paper of the record at `seq` that a command of the intake left or found.
pub(crate) async fn paper(house: &House, id: &ProjectId, seq: u64) -> Option<UploadVerdict> {
    let project = house.project(id).await?;
    let (journal, keys, id) = (house.journal().clone(), house.keys().clone(), id.clone());
    let reading =
        tokio::task::spawn_blocking(move || verdict_of_record(&*journal, &keys.receipt, &id, &project, seq));
    reading.await.ok().flatten()
}
