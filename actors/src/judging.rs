//! Judging one final: made durable with its stamp, checked, taken in or refused, and its paper.

use std::sync::Arc;

use kaibiao_engine::{
    keeper::{Done, SideSpace, SideWrite},
    project::{Project, UploadFate},
};
use kaibiao_protocol::{
    bid::BidFacts,
    command::ProjectCommand,
    ids::{CommandId, ProjectId},
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor},
    view::UploadVerdict,
};
use kaibiao_sealed::arrival::Arrived;
use zeroize::Zeroizing;

use crate::{
    command_ids::derived,
    files::FileFault,
    final_checks::{CheckEnd, Checked, Grounds, check, in_time},
    house::{House, copy_of},
    intake::{Final, contact_name, refused},
    journal::{Append, AppendFault, Stream},
    limits::{PROJECT_LOADS_MAX, RETRY, STORE_LOOKS_MAX},
    messages::AskProject,
    papers::verdict_of_record,
};

pub(crate) fn asker() -> Asker {
    Asker::Platform { reactor: Reactor::Intake }
}

/// Under which name a staged final lies.
fn row_name(one: &Final) -> String {
    format!("{}/{}/{}", one.project, one.supplier, one.upload)
}

/// One final on its way to its verdict. None everywhere: nothing can be written any more.
pub(crate) struct Judging<'a> {
    pub(crate) house: &'a House,
    pub(crate) one: &'a Final,
}

impl Judging<'_> {
    /// The verdict, sooner or later; `staged`: whether stamp and bytes are durable already.
    pub(crate) async fn verdict(&self, arrived: Option<Arrived>, staged: bool) -> Option<UploadVerdict> {
        let Some(project) = self.project().await else {
            // A project that is there and cannot be loaded gives no verdict; the next start will.
            let unknown = !self.house.knows(&self.one.project);
            return if unknown { Some(self.dropped(RefusalCode::Unknown, staged).await) } else { None };
        };
        if let Some(fate) = project.upload(&self.one.upload) {
            return self.again(&project, fate).await;
        }
        if let Err(code) = in_time(&project, self.one, self.one.received_at) {
            return self.refuse(code).await;
        }
        if !staged && let Err(end) = self.stage().await {
            return match end {
                StageEnd::WritingEnded => None,
                StageEnd::Refused(code) => Some(self.dropped(code, false).await),
            };
        }
        self.judge(project, arrived).await
    }

    /// Checks until the store answers: a moment's trouble of it must not cost a bid that came in time.
    async fn judge(&self, project: Arc<Project>, mut arrived: Option<Arrived>) -> Option<UploadVerdict> {
        for looks_left in (0..STORE_LOOKS_MAX).rev() {
            match self.check(project.clone(), arrived.take()).await {
                Ok(checked) => return self.submit(checked).await,
                Err(CheckEnd::Refused(code)) => return self.refuse(code).await,
                Err(CheckEnd::Store(fault)) => {
                    tracing::error!(upload = %self.one.upload, %fault, looks_left, "a staged final cannot be read");
                    if self.house.is_stopping() {
                        // Stamp and bytes are durable: the next start gives the verdict.
                        return None;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        // The bytes are lost to us: recorded, so that the supplier holds a signed word of it.
        self.refuse(RefusalCode::SealedBidDamaged).await
    }

    /// The project, as soon as it can be loaded: a moment's trouble of the journal must not leave a stamped final
    /// without its verdict, for the count waits for it.
    async fn project(&self) -> Option<Arc<Project>> {
        for _ in 0..PROJECT_LOADS_MAX {
            let loaded = self.house.project(&self.one.project).await;
            if loaded.is_some() || !self.house.knows(&self.one.project) || self.house.is_stopping() {
                return loaded;
            }
            tokio::time::sleep(RETRY).await;
        }
        None
    }

    /// The same upload again: the same verdict.
    async fn again(&self, project: &Project, fate: UploadFate) -> Option<UploadVerdict> {
        let command = match fate {
            UploadFate::Received(bid) => {
                let facts = project.bid(&bid).map(|bid| bid.facts.clone());
                match facts.filter(|facts| facts.supplier == self.one.supplier) {
                    Some(facts) => ProjectCommand::SubmitBid { facts: BidFacts::clone(&facts) },
                    None => return Some(self.unstaged(RefusalCode::UploadTaken).await),
                }
            }
            UploadFate::Refused { supplier, .. } if supplier != self.one.supplier => {
                return Some(self.unstaged(RefusalCode::UploadTaken).await);
            }
            UploadFate::Refused { supplier, size_bytes, code, .. } => {
                ProjectCommand::RefuseUpload { upload: self.one.upload, supplier, size_bytes, code }
            }
        };
        let told = self.ask("again", command, Vec::new()).await?;
        self.drop_row().await;
        self.told(told).await
    }

    /// Makes bytes, stamp and length durable, before anything is checked.
    async fn stage(&self) -> Result<(), StageEnd> {
        let (files, file, size) = (self.house.files().clone(), self.one.file, self.one.size_bytes);
        let turns = self.house.intake().turns.clone();
        let synced = {
            let _turn = turns.acquire().await;
            let syncing = tokio::task::spawn_blocking(move || {
                files.sync(&file)?;
                files.staged_bytes(&file)
            });
            syncing.await.map_err(|_| StageEnd::Refused(RefusalCode::Busy))?
        };
        match synced {
            Ok(found) if found == size => {}
            Ok(_) => return Err(StageEnd::Refused(RefusalCode::SealedBidDamaged)),
            Err(fault) => return Err(StageEnd::Refused(code_of(&fault))),
        }
        let row = serde_json::to_vec(self.one).expect("a final is plain data and serialises");
        loop {
            let put = SideWrite::Put {
                space: SideSpace::StagedFinal,
                key: row_name(self.one),
                value: Zeroizing::new(row.clone()),
            };
            match self.house.journal().append(Append::side_only(Stream::Platform, vec![put])).await {
                Ok(_) => return Ok(()),
                Err(AppendFault::WritingEnded) => return Err(StageEnd::WritingEnded),
                Err(AppendFault::NoRoom) => return Err(StageEnd::Refused(RefusalCode::NoRoom)),
                Err(AppendFault::TooLarge) => return Err(StageEnd::Refused(RefusalCode::FormInvalid)),
                Err(AppendFault::Busy | AppendFault::Conflict { .. }) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    async fn check(&self, project: Arc<Project>, arrived: Option<Arrived>) -> Result<Checked, CheckEnd> {
        let (house, one) = (self.house.clone(), self.one.clone());
        let turns = house.intake().turns.clone();
        let _turn = turns.acquire().await;
        let checking = tokio::task::spawn_blocking(move || {
            let directory = house.directory();
            let trust = house.intake().trust.of(&directory);
            let grounds = Grounds {
                project: &project,
                directory: &directory,
                trust: &trust,
                opening_key: house.keys().opening.public(),
            };
            let checked = check(&**house.files(), &one, arrived, &grounds)?;
            // Durable under its final name before anybody is told that it is received.
            house.files().finish(&one.file).map_err(CheckEnd::Store)?;
            Ok(checked)
        });
        checking.await.unwrap_or_else(|_| {
            // What somebody sent made a check panic: that is a bug, and no reason to let the room wait.
            tracing::error!(upload = %self.one.upload, "checking a final panicked");
            Err(CheckEnd::Refused(RefusalCode::SealedBidDamaged))
        })
    }

    async fn submit(&self, checked: Checked) -> Option<UploadVerdict> {
        let name = contact_name(&self.one.project, &self.one.bid);
        let put = |space, key, value| SideWrite::Put { space, key, value: Zeroizing::new(value) };
        let side = || {
            vec![
                put(SideSpace::Contact, name.clone(), self.one.contact.0.clone()),
                put(
                    SideSpace::Receipt,
                    format!("{name}/certificates"),
                    checked.evidence.clone().into_bytes(),
                ),
                self.without_row(),
            ]
        };
        let command = ProjectCommand::SubmitBid { facts: checked.facts.clone() };
        match self.ask("submit", command, side()).await? {
            Ok(done) => self.told(Ok(done)).await,
            Err(refusal) => self.refuse(refusal.code).await,
        }
    }

    /// Records the refusal and gives the notice of it.
    async fn refuse(&self, code: RefusalCode) -> Option<UploadVerdict> {
        let command = ProjectCommand::RefuseUpload {
            upload: self.one.upload,
            supplier: self.one.supplier.clone(),
            size_bytes: self.one.size_bytes,
            code,
        };
        match self.ask("refuse", command, vec![self.without_row()]).await? {
            Ok(done) => {
                self.delete_file().await;
                self.told(Ok(done)).await
            }
            // The upload's name was used for something else: that one's file stays.
            Err(refusal) if refusal.code == RefusalCode::UploadTaken => {
                Some(self.unstaged(RefusalCode::UploadTaken).await)
            }
            Err(refusal) => Some(self.dropped(refusal.code, true).await),
        }
    }

    /// Asks until the answer is one. None: nothing can be written.
    async fn ask(
        &self,
        what: &str,
        command: ProjectCommand,
        side: Vec<SideWrite>,
    ) -> Option<Result<Done, Refusal>> {
        let mut side = Some(side);
        loop {
            let ask = AskProject {
                at: Some(self.one.received_at),
                command_id: Some(self.command_id(what)),
                side: side.as_ref().map(|side| side.iter().map(copy_of).collect()).unwrap_or_default(),
                ..AskProject::new(self.one.project.clone(), asker(), command.clone())
            };
            match self.house.ask_project(ask).await {
                Err(refusal) if refusal.code == RefusalCode::WritingEnded => return None,
                Err(refusal) if refusal.code == RefusalCode::Busy => {
                    if self.house.is_stopping() {
                        return None;
                    }
                    tokio::time::sleep(RETRY).await;
                }
                told => {
                    drop(side.take());
                    return Some(told);
                }
            }
        }
    }

    fn command_id(&self, what: &str) -> CommandId {
        derived(&[
            b"intake",
            self.one.project.as_str().as_bytes(),
            self.one.supplier.as_str().as_bytes(),
            what.as_bytes(),
            &self.one.upload.0,
        ])
    }

    async fn told(&self, told: Result<Done, Refusal>) -> Option<UploadVerdict> {
        match told {
            Ok(done) => {
                let paper = paper(self.house, &self.one.project, &done).await;
                // It is taken in or refused for good; only its paper could not be read just now.
                Some(paper.unwrap_or_else(|| refused(RefusalCode::Busy)))
            }
            Err(refusal) => Some(UploadVerdict::Refused { refusal, notice: None }),
        }
    }

    fn without_row(&self) -> SideWrite {
        SideWrite::Delete { space: SideSpace::StagedFinal, key: row_name(self.one) }
    }

    /// Forgets the staged final. If that fails, a restart finds its verdict recorded and forgets it then.
    async fn drop_row(&self) {
        let forgotten =
            self.house.journal().append(Append::side_only(Stream::Platform, vec![self.without_row()])).await;
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

    /// A refusal that is not recorded: nothing is kept of the final.
    async fn dropped(&self, code: RefusalCode, staged: bool) -> UploadVerdict {
        if staged {
            self.drop_row().await;
        }
        self.delete_file().await;
        refused(code)
    }

    /// A refusal that leaves the file alone, for it is another upload's.
    async fn unstaged(&self, code: RefusalCode) -> UploadVerdict {
        self.drop_row().await;
        refused(code)
    }
}

enum StageEnd {
    Refused(RefusalCode),
    WritingEnded,
}

fn code_of(fault: &FileFault) -> RefusalCode {
    match fault {
        FileFault::NoRoom => RefusalCode::NoRoom,
        FileFault::TooLarge => RefusalCode::TooLarge,
        FileFault::Unknown(_) => RefusalCode::Unknown,
        FileFault::Gap { .. } | FileFault::Spoiled(_) | FileFault::Disk { .. } => {
            RefusalCode::SealedBidDamaged
        }
    }
}

/// The verdict and paper of the record that a command of the intake left or found.
pub(crate) async fn paper(house: &House, id: &ProjectId, done: &Done) -> Option<UploadVerdict> {
    let project = house.project(id).await?;
    let (journal, keys, id, seq) =
        (house.journal().clone(), house.keys().clone(), id.clone(), done.first_seq);
    let reading =
        tokio::task::spawn_blocking(move || verdict_of_record(&*journal, &keys.receipt, &id, &project, seq));
    reading.await.ok().flatten()
}
