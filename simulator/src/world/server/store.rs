//! What the node stands on: the journal, the files, and what befalls their disk.

use std::{collections::BTreeMap, sync::Arc};

use kaibiao_actors::{
    files::{FileFault, Files},
    journal::{
        Append, AppendFault, Appended, RawRecord, StoredRecord, Stream,
        simulated::{Befalls, DiskCall, SimDisk, SimFault, SimFiles, SimJournal, SimStep, Ticket},
    },
};
use kaibiao_engine::{
    keeper::{Batch, Input, Keeper, NewRecord, Recorded, SideSpace},
    project::ProjectMachine,
    reaction::judging::RowFault,
    stored::{StoredEvent, decode_project, encode_project},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    ids::{FileId, ProjectId, UploadId},
    moment::Moment,
    refusal::RefusalCode,
};

use super::{
    Node, Work,
    finals::{FinalNo, FinalStep},
};
use crate::world::{fault::Fault, schedule::Instant, wire::ConnId};

/// The journal and the files of the running process.
pub(super) struct Store {
    disk: SimDisk,
    journal: SimJournal,
    files: SimFiles,
    waiting: BTreeMap<Ticket, AppendOf>,
    /// A step of the journal is on its way.
    stepping: bool,
    sync_us: (u64, Instant),
    trouble_until: Instant,
    busy_until: Instant,
    dies: bool,
}

/// Whose append it is.
pub(super) enum AppendOf {
    /// A keeper's batch.
    Project { project: ProjectId, life: u64 },
    /// The row of a staged final.
    Row(FinalNo),
    /// How far an upload is.
    Upload { upload: UploadId, waits: ConnId },
    /// Nobody waits for it.
    Nothing,
}

/// What lies on the disk.
pub(in crate::world) struct StoredWorld {
    /// Every project's records.
    pub(in crate::world) projects: Vec<(ProjectId, Vec<Recorded<ProjectEvent>>)>,
}

/// Files as they can be read just now.
pub(super) struct Readable<'a> {
    pub(super) files: &'a SimFiles,
    pub(super) in_trouble: bool,
}

impl Store {
    pub(super) fn new(disk: SimDisk, journal: SimJournal) -> Self {
        Self {
            files: SimFiles::new(&disk),
            disk,
            journal,
            waiting: BTreeMap::new(),
            stepping: false,
            sync_us: (0, Instant::default()),
            trouble_until: Instant::default(),
            busy_until: Instant::default(),
            dies: false,
        }
    }

    pub(super) fn writing_ended(&self) -> bool {
        self.journal.meters().writing_ended.is_some()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dies && self.disk.power_failed()
    }

    pub(super) fn readable(&self, now: Instant) -> Readable<'_> {
        Readable { files: &self.files, in_trouble: self.in_trouble(now) }
    }

    pub(super) fn in_trouble(&self, now: Instant) -> bool {
        self.trouble_until > now
    }

    pub(super) fn side(&self, space: SideSpace, key: &str) -> Option<Vec<u8>> {
        self.journal.side(space, key).map(|value| value.to_vec())
    }

    /// Until when an opening was noted to be served.
    pub(super) fn served(&self, project: &ProjectId) -> Option<Moment> {
        let noted = self.side(SideSpace::Served, project.as_str())?;
        Some(Moment(i64::from_be_bytes(noted.as_slice().try_into().ok()?)))
    }

    pub(super) fn record(&self, project: &ProjectId, seq: u64) -> Option<StoredRecord> {
        let after = seq.checked_sub(1)?;
        self.journal.read(&Stream::Project(project.clone()), after, 1).ok()?.pop()
    }

    /// The decoded records of a project after a position.
    pub(super) fn records_after(
        &self,
        project: &ProjectId,
        after: u64,
    ) -> Result<Vec<Recorded<ProjectEvent>>, String> {
        let mut records = Vec::new();
        self.read_project(project, after, |record, _| records.push(record))?;
        Ok(records)
    }

    pub(super) fn replay_project(&self, project: &ProjectId) -> Result<Keeper<ProjectMachine>, String> {
        let mut keeper = Keeper::new();
        self.read_project(project, 0, |record, command_id| {
            keeper.replay(record.seq, record.at, record.event, command_id, record.hash);
        })?;
        Ok(keeper)
    }

    fn read_project(
        &self,
        project: &ProjectId,
        after: u64,
        mut take: impl FnMut(Recorded<ProjectEvent>, Option<kaibiao_protocol::ids::CommandId>),
    ) -> Result<(), String> {
        let stream = Stream::Project(project.clone());
        let records = self.journal.read(&stream, after, usize::MAX).map_err(|fault| fault.to_string())?;
        for record in records {
            take(decoded(&record)?, record.command_id);
        }
        Ok(())
    }

    pub(super) fn begin_file(&self, bytes: u64) -> Result<FileId, FileFault> {
        self.files.begin(bytes)
    }

    pub(super) fn write_file(&self, file: &FileId, offset: u64, bytes: &[u8]) -> Result<(), FileFault> {
        self.files.write_at(file, offset, bytes)
    }

    pub(super) fn sync_file(&self, file: &FileId) -> Result<(), FileFault> {
        self.files.sync(file)
    }

    pub(super) fn finish_file(&self, file: &FileId) -> Result<(), FileFault> {
        self.files.finish(file)
    }

    pub(super) fn staged_bytes(&self, file: &FileId) -> Result<u64, FileFault> {
        self.files.staged_bytes(file)
    }

    /// If that fails, the next start finds it.
    pub(super) fn delete_file(&self, file: &FileId) {
        let _ = self.files.delete(file);
    }
}

impl Node {
    /// Hands a keeper's batch to the journal.
    pub(super) fn append_batch(&mut self, stream: Stream, batch: Batch<ProjectMachine>, of: AppendOf) {
        let record = |record: NewRecord<ProjectEvent>| {
            let StoredEvent { kind, version, payload } = encode_project(&record.event);
            RawRecord { kind, version, at: record.at, command_id: record.command_id, payload }
        };
        let append = Append {
            stream,
            expected_seq: batch.expected_seq,
            records: batch.records.into_iter().map(record).collect(),
            wake_at: batch.wake_at,
            side: batch.side,
        };
        self.append(append, of);
    }

    pub(super) fn append(&mut self, append: Append, of: AppendOf) {
        if self.store.busy_until > self.now {
            // Its queue is full.
            return self.later(10, Work::Refused(Box::new(of)));
        }
        let ticket = self.store.journal.append(append);
        self.store.waiting.insert(ticket, of);
        self.step_soon(SimStep::Rested);
    }

    fn step_soon(&mut self, last: SimStep) {
        if self.store.stepping || !self.store.journal.is_busy() {
            return;
        }
        self.store.stepping = true;
        let usual = match last {
            // What follows is a sync.
            SimStep::Logged | SimStep::HeadWritten => {
                if self.store.sync_us.1 > self.now {
                    self.store.sync_us.0
                } else {
                    250
                }
            }
            _ => 15,
        };
        let takes = self.takes("journal", usual);
        self.later(takes, Work::Journal);
    }

    /// The journal does one thing.
    pub(super) fn journal_step(&mut self) {
        self.store.stepping = false;
        let mut answers = Vec::new();
        let step = self.store.journal.step(&mut answers);
        if self.store.is_dead() {
            return;
        }
        for (ticket, outcome) in answers {
            if let Some(of) = self.store.waiting.remove(&ticket) {
                self.appended(of, outcome);
            }
        }
        self.step_soon(step);
    }

    pub(super) fn appended(&mut self, of: AppendOf, outcome: Result<Appended, AppendFault>) {
        match of {
            AppendOf::Project { project, life } => {
                if self.is_living(&project, life) {
                    let input = match outcome {
                        Ok(done) => Input::Appended { last_seq: done.last_seq, hashes: done.hashes },
                        Err(AppendFault::WritingEnded) => Input::AppendFailed,
                        Err(
                            AppendFault::Conflict { .. }
                            | AppendFault::Busy
                            | AppendFault::TooLarge
                            | AppendFault::NoRoom,
                        ) => Input::AppendRefused,
                    };
                    self.feed(&project, input);
                }
            }
            AppendOf::Row(no) => {
                let written = outcome.map(drop).map_err(|fault| match fault {
                    AppendFault::WritingEnded => RowFault::WritingEnded,
                    AppendFault::NoRoom => RowFault::Refused(RefusalCode::NoRoom),
                    AppendFault::TooLarge => RowFault::Refused(RefusalCode::FormInvalid),
                    AppendFault::Busy | AppendFault::Conflict { .. } => RowFault::Busy,
                });
                self.final_step(no, FinalStep::Row(written));
            }
            AppendOf::Upload { upload, waits } => {
                let noted = outcome.map(drop).map_err(|fault| match fault {
                    AppendFault::NoRoom => RefusalCode::NoRoom,
                    AppendFault::WritingEnded => RefusalCode::WritingEnded,
                    AppendFault::Busy | AppendFault::Conflict { .. } | AppendFault::TooLarge => {
                        RefusalCode::Busy
                    }
                });
                self.upload_noted(upload, waits, noted);
            }
            AppendOf::Nothing => {}
        }
    }

    /// A fault of the disk.
    pub(super) fn bring_to_store(&mut self, fault: &Fault) {
        let now = self.now;
        match fault {
            Fault::SyncFails { nth } => self.store.disk.plan(SimFault {
                on: DiskCall::Sync,
                prefix: "journal".to_owned(),
                skipped: nth.saturating_sub(1),
                befalls: Befalls::Fails,
            }),
            Fault::SlowDisk { sync_ms, for_ms } => {
                self.store.sync_us = (sync_ms * 1_000, now.plus_ms(*for_ms));
            }
            Fault::StoreTrouble { for_ms } => self.store.trouble_until = now.plus_ms(*for_ms),
            Fault::JournalBusy { for_ms } => self.store.busy_until = now.plus_ms(*for_ms),
            Fault::BitFlip { bid, at } => self.flip_bit(bid, *at),
            Fault::CrashAtStep { step, after, .. } => {
                self.store.dies = true;
                let before = if *after { *step } else { step.saturating_sub(1) };
                self.store.disk.fail_power_after(before);
            }
            _ => {}
        }
    }

    fn flip_bit(&mut self, bid: &kaibiao_protocol::ids::BidId, at: u64) {
        let facts = self.live().find_map(|(_, _, project)| project.bid(bid).map(|bid| bid.facts.clone()));
        if let Some(facts) = facts {
            let place = usize::try_from(at % facts.size_bytes.max(1)).unwrap_or(0);
            self.store.disk.flip_bit(&format!("files/sealed/{}", facts.file), place);
        }
    }
}

/// Everything a disk's journal holds of projects.
pub(in crate::world) fn stored(journal: &SimJournal) -> Result<StoredWorld, String> {
    let mut projects = Vec::new();
    for stream in journal.streams() {
        let Stream::Project(id) = &stream else { continue };
        let records = journal.read(&stream, 0, usize::MAX).map_err(|fault| fault.to_string())?;
        projects.push((id.clone(), records.iter().map(decoded).collect::<Result<Vec<_>, String>>()?));
    }
    Ok(StoredWorld { projects })
}

fn decoded(record: &StoredRecord) -> Result<Recorded<ProjectEvent>, String> {
    let event =
        decode_project(&record.kind, record.version, &record.payload).map_err(|fault| fault.to_string())?;
    Ok(Recorded { seq: record.seq, at: record.at, event, hash: record.hash })
}

impl Files for Readable<'_> {
    fn begin(&self, _: u64) -> Result<FileId, FileFault> {
        Err(trouble())
    }

    fn write_at(&self, id: &FileId, _: u64, _: &[u8]) -> Result<(), FileFault> {
        Err(FileFault::Unknown(*id))
    }

    fn sync(&self, id: &FileId) -> Result<(), FileFault> {
        Err(FileFault::Unknown(*id))
    }

    fn finish(&self, id: &FileId) -> Result<(), FileFault> {
        Err(FileFault::Unknown(*id))
    }

    fn open(&self, id: &FileId) -> Result<Arc<dyn kaibiao_actors::files::StoredFile>, FileFault> {
        if self.in_trouble { Err(trouble()) } else { self.files.open(id) }
    }

    fn staged_bytes(&self, id: &FileId) -> Result<u64, FileFault> {
        self.files.staged_bytes(id)
    }

    fn delete(&self, id: &FileId) -> Result<(), FileFault> {
        Err(FileFault::Unknown(*id))
    }

    fn staged(&self) -> Result<Vec<FileId>, FileFault> {
        self.files.staged()
    }

    fn free_bytes(&self) -> Result<u64, FileFault> {
        self.files.free_bytes()
    }
}

fn trouble() -> FileFault {
    FileFault::Disk {
        doing: "open",
        path: "a stored file".into(),
        fault: std::io::Error::other("the store fails by script"),
    }
}
