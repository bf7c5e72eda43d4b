//! Uploads on their way: who brings what, how far it is, and what became of it.
//!
//! Each stands in the side table of the journal as well, so that a restart goes on where the upload stood. What is
//! told as an offset after a restart is what was synced before it was noted. The contact form lies there wrapped
//! under the store key.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_protocol::{
    blob::Blob,
    ids::{BidId, FileId, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};
use kaibiao_sealed::arrival::Arrival;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, watch};
use zeroize::Zeroizing;

use super::tenants::{Place, Tenants};
use crate::{
    config::UploadLimits,
    files::{FileFault, Files},
    intake::Final,
    journal::{Append, AppendFault, Journal, JournalFault, Stream},
    keys::PlatformKeys,
    messages::UploadPurpose,
    refusals::refuse,
};

/// What never changes about an upload.
pub struct Head {
    /// Its id.
    pub upload: UploadId,
    /// Its project.
    pub project: ProjectId,
    /// Whose it is.
    pub supplier: OrganisationId,
    /// What it is for.
    pub purpose: UploadPurpose,
    /// The bid it brings or restores.
    pub bid: BidId,
    /// Its staged file.
    pub file: FileId,
    /// Its length in bytes.
    pub length: u64,
    /// The contact form as canonical JSON; empty where none is asked for.
    pub contact: Zeroizing<Vec<u8>>,
}

/// How far an upload is.
#[derive(Clone)]
pub struct Progress {
    /// Bytes taken in.
    pub offset: u64,
    /// When the last of them came.
    pub last_at: Moment,
    /// What became of it, once that is known.
    pub verdict: Option<UploadVerdict>,
}

/// One upload.
pub struct Upload {
    /// What never changes.
    pub head: Head,
    progress: Mutex<Progress>,
    /// Whoever writes holds the turn, with the check that runs along.
    turn: Arc<Turn<Option<Box<Arrival>>>>,
    /// How many have asked for the turn. Whoever holds it gives it up to a later one: its client has come again on
    /// another connection.
    asked: watch::Sender<u64>,
    /// Its place among its organisation's unfinished ones, while it is unfinished.
    place: Mutex<Option<Place>>,
}

/// The turn to write; holds the running check.
pub struct WriteTurn {
    arrival: OwnedMutexGuard<Option<Box<Arrival>>>,
    /// Which of those who asked this one is.
    number: u64,
    asked: watch::Receiver<u64>,
}

impl WriteTurn {
    /// Takes the running check out; none: the bytes so far must be read again.
    pub fn take(&mut self) -> Option<Box<Arrival>> {
        self.arrival.take()
    }

    /// Puts it back for the next one.
    pub fn give_back(&mut self, arrival: Option<Box<Arrival>>) {
        *self.arrival = arrival;
    }

    /// Waits until somebody asks for the turn who came later. One who asked while nobody waited here, for the holder
    /// was writing, is seen at once.
    pub async fn wanted(&mut self) {
        let number = self.number;
        if self.asked.wait_for(|last| *last > number).await.is_err() {
            // The upload is forgotten, and nobody can ask for its turn.
            std::future::pending::<()>().await;
        }
    }
}

impl Upload {
    fn new(head: Head, offset: u64, last_at: Moment, verdict: Option<UploadVerdict>) -> Arc<Self> {
        let arrival = (offset == 0).then(|| Box::new(Arrival::new()));
        Arc::new(Self {
            head,
            progress: Mutex::new(Progress { offset, last_at, verdict }),
            turn: Arc::new(Turn::new(arrival)),
            asked: watch::Sender::new(0),
            place: Mutex::new(None),
        })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// Notes that it is so far now.
    pub fn advance(&self, offset: u64, at: Moment) {
        let mut progress = self.lock();
        progress.offset = offset;
        progress.last_at = at;
        drop(progress);
        self.give_place_back();
    }

    /// Notes what became of it.
    pub fn settle(&self, verdict: UploadVerdict) {
        self.lock().verdict = Some(verdict);
        self.give_place_back();
    }

    /// Keeps the place of an unfinished upload.
    pub(super) fn hold(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        // The bytes may have come already.
        self.give_place_back();
    }

    fn give_place_back(&self) {
        let over = {
            let progress = self.lock();
            progress.verdict.is_some() || progress.offset == self.head.length
        };
        if over {
            self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Whether more bytes of it may come.
    fn is_open(&self) -> bool {
        let progress = self.lock();
        progress.verdict.is_none() && progress.offset < self.head.length
    }

    /// Whether all its bytes are in.
    pub fn is_whole(&self) -> bool {
        self.lock().offset == self.head.length
    }

    /// Waits for the turn to write.
    pub async fn turn(&self) -> WriteTurn {
        // An earlier connection of the same client may hang half-dead on it.
        let mut number = 0;
        self.asked.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        let asked = self.asked.subscribe();
        WriteTurn { arrival: self.turn.clone().lock_owned().await, number, asked }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As an upload is kept in the side table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    project: ProjectId,
    supplier: OrganisationId,
    restores: bool,
    bid: BidId,
    file: FileId,
    length: u64,
    offset: u64,
    last_at: Moment,
    /// Wrapped under the store key.
    contact: Blob,
    /// Its early refusal. A final's verdict is not kept here: it is asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<Refusal>,
}

const KEPT_VERSION: u32 = 1;
/// What a contact form is wrapped as under the store key.
const WRAPPED_AS: &str = "upload contact";

/// Why an upload could not be begun or noted.
#[derive(Debug, thiserror::Error)]
pub enum LedgerFault {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The files.
    #[error(transparent)]
    Files(#[from] FileFault),
    /// What is kept cannot be read.
    #[error("the kept upload {0} cannot be read")]
    Damaged(String),
}

/// All uploads on their way.
pub struct Ledger {
    journal: Arc<dyn Journal>,
    files: Arc<dyn Files>,
    keys: Arc<PlatformKeys>,
    limits: UploadLimits,
    tenants: Tenants,
    uploads: Mutex<Uploads>,
    /// Bytes that uploads being sent hold in memory.
    pub(super) buffered: AtomicUsize,
}

/// All of them by id, and which may be open: one that is whole or judged is taken out when somebody looks.
#[derive(Default)]
struct Uploads {
    all: HashMap<UploadId, Arc<Upload>>,
    open: BTreeSet<(ProjectId, OrganisationId, UploadId)>,
}

impl Uploads {
    fn add(&mut self, upload: Arc<Upload>) {
        let head = &upload.head;
        if upload.is_open() {
            self.open.insert((head.project.clone(), head.supplier.clone(), head.upload));
        }
        self.all.insert(head.upload, upload);
    }

    fn remove(&mut self, head: &Head) {
        self.all.remove(&head.upload);
        self.open.remove(&(head.project.clone(), head.supplier.clone(), head.upload));
    }

    /// How many of this supplier in this project are open.
    fn own_open(&mut self, project: &ProjectId, supplier: &OrganisationId) -> usize {
        let key = |upload| (project.clone(), supplier.clone(), upload);
        let own = self.open.range(key(UploadId([0; 16]))..=key(UploadId([u8::MAX; 16])));
        let own: Vec<UploadId> = own.map(|(_, _, upload)| *upload).collect();
        let (open, over): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|upload| self.all.get(upload).is_some_and(|upload| upload.is_open()));
        for upload in over {
            self.open.remove(&key(upload));
        }
        open.len()
    }

    /// How many are open, as exactly as it matters to a bound.
    fn all_open(&mut self, bound: usize) -> usize {
        if self.open.len() >= bound {
            let Self { all, open } = self;
            open.retain(|(_, _, upload)| all.get(upload).is_some_and(|upload| upload.is_open()));
        }
        self.open.len()
    }
}

impl Ledger {
    /// Reads what a stopped server left, and deletes staged files that nobody will go on with. To be called before
    /// the intake takes its finals up again. Blocks on the disk.
    ///
    /// # Errors
    /// See [`LedgerFault`].
    pub fn open(
        journal: Arc<dyn Journal>,
        files: Arc<dyn Files>,
        keys: Arc<PlatformKeys>,
        limits: UploadLimits,
    ) -> Result<Self, LedgerFault> {
        let (mut uploads, tenants) = (Uploads::default(), Tenants::default());
        let stamped = stamped_files(&*journal)?;
        let mut staged: BTreeSet<FileId> = files.staged()?.into_iter().collect();
        for key in journal.side_keys(SideSpace::Upload, "")? {
            let damaged = || LedgerFault::Damaged(key.clone());
            let bytes = journal.side(SideSpace::Upload, &key)?.ok_or_else(damaged)?;
            let kept: Kept = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            let upload: UploadId = key.parse().map_err(|_| damaged())?;
            if kept.version != KEPT_VERSION {
                return Err(damaged());
            }
            let contact = match kept.contact.0.is_empty() {
                true => Zeroizing::default(),
                false => keys.store.unwrap(WRAPPED_AS, &key, &kept.contact.0).map_err(|_| damaged())?,
            };
            let still_staged = staged.remove(&kept.file);
            let offset = if kept.refused.is_some() {
                kept.offset
            } else if still_staged && !stamped.contains(&kept.file) {
                // Never more than is there: the note may be younger than a torn write.
                kept.offset.min(files.staged_bytes(&kept.file)?)
            } else if still_staged || kept.offset == kept.length || files.open(&kept.file).is_ok() {
                // Whole, and the intake has it or had it: its verdict is asked for, and no byte of it changes.
                kept.length
            } else {
                // Begun and noted, and the power failed before any of it was synced: it begins anew. A store that
                // cannot do that has forgotten it, and its client begins it again.
                match files.begin_again(&kept.file, kept.length) {
                    Ok(()) => 0,
                    Err(FileFault::Unknown(_)) => continue,
                    Err(fault) => return Err(fault.into()),
                }
            };
            let head = Head {
                upload,
                project: kept.project,
                supplier: kept.supplier,
                purpose: if kept.restores { UploadPurpose::Restore } else { UploadPurpose::Bid },
                bid: kept.bid,
                file: kept.file,
                length: kept.length,
                contact,
            };
            let verdict = kept.refused.map(|refusal| UploadVerdict::Refused { refusal, notice: None });
            let place = tenants.take(&head.supplier, head.length, usize::MAX);
            let kept = Upload::new(head, offset, kept.last_at, verdict);
            kept.hold(place.expect("what was begun before is not limited"));
            uploads.add(kept);
        }
        for orphan in staged.difference(&stamped) {
            // Begun, and the server stopped before the upload was noted: its client was never told of it.
            files.delete(orphan)?;
        }
        let uploads = Mutex::new(uploads);
        Ok(Self { journal, files, keys, limits, tenants, uploads, buffered: AtomicUsize::new(0) })
    }

    /// An upload by its id.
    pub fn find(&self, upload: &UploadId) -> Option<Arc<Upload>> {
        self.lock().all.get(upload).cloned()
    }

    /// Whether one more may be begun by this supplier in this project.
    ///
    /// # Errors
    /// `busy`: too many are unfinished.
    pub fn has_place(&self, project: &ProjectId, supplier: &OrganisationId) -> Result<(), Refusal> {
        let (all_max, own_max) = (self.limits.open_total_max, self.limits.open_per_supplier_max);
        let mut uploads = self.lock();
        if uploads.own_open(project, supplier) >= own_max || uploads.all_open(all_max) >= all_max {
            return Err(refuse(RefusalCode::Busy));
        }
        Ok(())
    }

    /// A place for one more unfinished upload of an organisation, over all projects.
    ///
    /// # Errors
    /// `busy`: it has too many.
    pub(super) fn place(&self, owner: &OrganisationId, bytes: u64) -> Result<Place, Refusal> {
        let uploads_max = self.limits.open_per_organisation_max;
        self.tenants.take(owner, bytes, uploads_max).ok_or_else(|| refuse(RefusalCode::Busy))
    }

    /// Notes a new upload, durably. The same id noted meanwhile by another request is given instead.
    ///
    /// # Errors
    /// The journal does not take it.
    pub async fn begin(&self, head: Head, offset: u64, at: Moment) -> Result<Arc<Upload>, Refusal> {
        let upload = Upload::new(head, offset, at, None);
        {
            let mut uploads = self.lock();
            if let Some(other) = uploads.all.get(&upload.head.upload) {
                return Ok(other.clone());
            }
            uploads.add(upload.clone());
        }
        if let Err(refusal) = self.note(&upload).await {
            self.lock().remove(&upload.head);
            return Err(refusal);
        }
        Ok(upload)
    }

    /// Notes how far an upload is, and its early refusal, durably. Its bytes up to there are synced.
    ///
    /// # Errors
    /// The journal does not take it.
    pub async fn note(&self, upload: &Upload) -> Result<(), Refusal> {
        let key = upload.head.upload.to_string();
        let progress = upload.progress();
        let head = &upload.head;
        let contact = match head.contact.is_empty() {
            true => Vec::new(),
            false => self.keys.store.wrap(WRAPPED_AS, &key, &head.contact),
        };
        let refused = match &progress.verdict {
            Some(UploadVerdict::Refused { refusal, notice: None }) => Some(refusal.clone()),
            _ => None,
        };
        let kept = Kept {
            version: KEPT_VERSION,
            project: head.project.clone(),
            supplier: head.supplier.clone(),
            restores: head.purpose == UploadPurpose::Restore,
            bid: head.bid,
            file: head.file,
            length: head.length,
            offset: progress.offset,
            last_at: progress.last_at,
            contact: Blob(contact),
            refused,
        };
        let value = Zeroizing::new(serde_json::to_vec(&kept).expect("plain data has a JSON form"));
        self.write(SideWrite::Put { space: SideSpace::Upload, key, value }).await
    }

    /// Forgets an upload and deletes its staged file, unless the intake has taken that over.
    ///
    /// # Errors
    /// The journal does not take it, or the disk fails.
    pub async fn drop_upload(&self, upload: &Upload) -> Result<(), Refusal> {
        let key = upload.head.upload.to_string();
        self.write(SideWrite::Delete { space: SideSpace::Upload, key }).await?;
        self.lock().remove(&upload.head);
        if !upload.is_whole() {
            self.delete_file(upload).await;
        }
        Ok(())
    }

    /// Forgets a whole upload whose bytes the intake let go for want of room: noted as whole without its bytes, it
    /// could never be sent again. On a full disk its row may outlive it; a start finds that its file is gone.
    pub async fn begin_anew(&self, upload: &Upload) {
        self.lock().remove(&upload.head);
        let key = upload.head.upload.to_string();
        if let Err(refusal) = self.write(SideWrite::Delete { space: SideSpace::Upload, key }).await {
            tracing::warn!(code = refusal.code.as_str(), "an upload to be begun anew is still noted");
        }
    }

    /// Deletes the staged file of an upload that the intake never had: one that is not whole, or was refused as its
    /// bytes came in.
    pub async fn delete_file(&self, upload: &Upload) {
        let (files, file) = (self.files.clone(), upload.head.file);
        let deleted = tokio::task::spawn_blocking(move || files.delete(&file)).await;
        if let Ok(Err(fault)) = deleted {
            // It stays until the next start finds it.
            tracing::warn!(%fault, "failed to delete a staged file");
        }
    }

    /// Forgets uploads that are older than they may become at `at`.
    pub async fn sweep(&self, at: Moment) {
        let hours = self.limits.expire_hours;
        let over: Vec<_> = self
            .lock()
            .all
            .values()
            .filter(|upload| at >= expires_at(&upload.progress(), hours))
            .cloned()
            .collect();
        for upload in over {
            // Whoever writes to it right now keeps it alive.
            let Ok(_turn) = upload.turn.clone().try_lock_owned() else { continue };
            if let Err(refusal) = self.drop_upload(&upload).await {
                tracing::warn!(code = refusal.code.as_str(), "an expired upload stays for now");
                return;
            }
        }
    }

    /// When an upload is forgotten if nothing more comes.
    pub fn expires_at(&self, upload: &Upload) -> Moment {
        expires_at(&upload.progress(), self.limits.expire_hours)
    }

    async fn write(&self, side: SideWrite) -> Result<(), Refusal> {
        match self.journal.append(Append::side_only(Stream::Platform, vec![side])).await {
            Ok(_) => Ok(()),
            Err(AppendFault::NoRoom) => Err(refuse(RefusalCode::NoRoom)),
            Err(AppendFault::WritingEnded) => Err(refuse(RefusalCode::WritingEnded)),
            Err(_) => Err(refuse(RefusalCode::Busy)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Uploads> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of finals that were stamped and wait for their verdict: they are the intake's.
fn stamped_files(journal: &dyn Journal) -> Result<BTreeSet<FileId>, LedgerFault> {
    let mut files = BTreeSet::new();
    for key in journal.side_keys(SideSpace::StagedFinal, "")? {
        if let Some(row) = journal.side(SideSpace::StagedFinal, &key)? {
            let stamped: Final = serde_json::from_slice(&row).map_err(|_| LedgerFault::Damaged(key))?;
            files.insert(stamped.file);
        }
    }
    Ok(files)
}

fn expires_at(progress: &Progress, hours: u32) -> Moment {
    progress.last_at.plus_minutes(hours.saturating_mul(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upload() -> Arc<Upload> {
        let head = Head {
            upload: UploadId([1; 16]),
            project: "KX-1".parse().unwrap(),
            supplier: "mingde".parse().unwrap(),
            purpose: UploadPurpose::Bid,
            bid: BidId([2; 16]),
            file: FileId([3; 16]),
            length: 10,
            contact: Zeroizing::default(),
        };
        Upload::new(head, 0, Moment(0), None)
    }

    async fn is_wanted(turn: &mut WriteTurn) -> bool {
        tokio::select! {
            biased;
            () = turn.wanted() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn one_who_asks_while_the_holder_is_busy_writing_is_given_way_all_the_same() {
        let upload = upload();
        let mut first = upload.turn().await;
        assert!(!is_wanted(&mut first).await);
        // The holder waits for nothing just now: it hashes and writes what it has.
        let second = upload.turn();
        tokio::pin!(second);
        assert!(tokio::select! { biased; _ = &mut second => false, () = tokio::task::yield_now() => true });
        assert!(is_wanted(&mut first).await, "whoever came later is seen when the holder looks again");
        drop(first);
        let mut second = second.await;
        assert!(!is_wanted(&mut second).await, "nobody came after it");
    }

    #[tokio::test]
    async fn of_many_who_ask_the_last_one_keeps_the_turn() {
        let upload = upload();
        let first = upload.turn().await;
        let (second, third) = (upload.turn(), upload.turn());
        tokio::pin!(second, third);
        for _ in 0..2 {
            tokio::select! {
                biased;
                _ = &mut second => panic!("the turn is held"),
                _ = &mut third => panic!("the turn is held"),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(first);
        let mut second = second.await;
        assert!(is_wanted(&mut second).await);
        drop(second);
        assert!(!is_wanted(&mut third.await).await);
    }
}
