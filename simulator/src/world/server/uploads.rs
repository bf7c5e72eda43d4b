//! Uploads on their way: pieces, resumption, the last byte.
//!
//! This is the world's own short form of the web server's ledger of uploads, with its rules: an offset that was told
//! is durable, the last byte takes ticket and stamp before anything else, whoever asks again hears the same.

use kaibiao_actors::practice::read_again;
use kaibiao_engine::{
    keeper::SideSpace,
    project::{Project, UploadFate},
    reaction::{
        judging,
        restoring::{self, Restored, Restoring, are_the_receipts},
        tending::Drain,
        tickets::TicketNo,
    },
};
use kaibiao_protocol::{
    bid::BidFacts,
    ids::{BidId, FileId, OrganisationId, ProjectId, UploadId},
    refusal::{Refusal, RefusalCode},
    role::Role,
    view::{ProjectStatus, UploadVerdict},
};
use serde::{Deserialize, Serialize};

use super::{
    Hearer, Node, Told, Work,
    finals::{Stamp, Waits, Whole, put},
    projects::ProjectAsk,
    refuse,
    store::AppendOf,
    verdicts::refusal_of,
};
use crate::world::wire::{Bytes, ConnId, Purpose, ToClient};

/// An upload as it is noted.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Noted {
    pub(super) project: ProjectId,
    pub(super) supplier: OrganisationId,
    pub(super) restores: bool,
    pub(super) bid: BidId,
    pub(super) file: FileId,
    pub(super) length: u64,
    pub(super) offset: u64,
}

/// An upload.
pub(super) struct Upload {
    pub(super) noted: Noted,
    /// Bytes written.
    pub(super) offset: u64,
    pub(super) verdict: Option<UploadVerdict>,
    /// What waits for the request in hand.
    turn: Option<Vec<(ConnId, u64, Bytes)>>,
    restoring: Option<RestoreRun>,
}

/// A restored bid on its way, its ticket once it is taken, and who hears.
struct RestoreRun {
    core: Restoring,
    ticket: Option<TicketNo>,
    conn: ConnId,
}

impl Upload {
    pub(super) fn new(noted: Noted, offset: u64) -> Self {
        Self { noted, offset, verdict: None, turn: None, restoring: None }
    }

    fn is_whole(&self) -> bool {
        self.offset == self.noted.length
    }
}

impl Node {
    fn supplier_of(&self, conn: ConnId) -> Option<OrganisationId> {
        let caller = &self.conns.get(&conn)?.caller;
        (caller.role == Role::Supplier).then(|| caller.organisation.clone())
    }

    /// An upload begins, or where the same one stands is asked again.
    pub(super) fn begin_upload(
        &mut self,
        conn: ConnId,
        upload: UploadId,
        project: ProjectId,
        purpose: Purpose,
        total: u64,
    ) {
        let Some(own) = self.supplier_of(conn) else {
            return self.no_upload(conn, upload, refuse(RefusalCode::RoleNotAllowed));
        };
        let restores = matches!(purpose, Purpose::Restore(_));
        if let Some(known) = self.uploads.get(&upload) {
            let noted = &known.noted;
            let same = noted.project == project
                && noted.supplier == own
                && noted.length == total
                && noted.restores == restores;
            return match same {
                true => self.tell_standing(conn, upload),
                false => self.no_upload(conn, upload, refuse(RefusalCode::UploadTaken)),
            };
        }
        match self.new_upload(upload, &project, own, purpose, total) {
            Ok(new) => {
                self.uploads.insert(upload, new);
                self.note_upload(upload, conn);
            }
            Err(refusal) => self.no_upload(conn, upload, refusal),
        }
    }

    fn new_upload(
        &mut self,
        upload: UploadId,
        project: &ProjectId,
        supplier: OrganisationId,
        purpose: Purpose,
        length: u64,
    ) -> Result<Upload, Refusal> {
        if !self.heads.contains_key(project) {
            return Err(refuse(RefusalCode::Unknown));
        }
        // The web server waits for it; the world's clients ask again.
        let Some(known) = self.committed(project) else {
            self.wake(project);
            return Err(refuse(RefusalCode::Busy));
        };
        if length == 0 {
            return Err(refuse(RefusalCode::NotASealedBid));
        }
        if let Some(fate) = known.upload(&upload) {
            let (bid, file) = judged_before(&known, &fate, &supplier, length)?;
            let restores = false;
            let noted =
                Noted { project: project.clone(), supplier, restores, bid, file, length, offset: length };
            return Ok(Upload::new(noted, length));
        }
        let at = self.clock.present();
        let mut draw =
            self.draw.named("bid").of(u64::from_be_bytes(*upload.0.first_chunk().expect("16 bytes")));
        let (bid, restores) = match purpose {
            Purpose::Bid => {
                let over = matches!(known.status(), Some(ProjectStatus::Published | ProjectStatus::Ended));
                match known.may_upload(&supplier, length, at) {
                    // It cannot be in time any more; whoever sends it nevertheless gets the signed refusal of a final.
                    Err(refusal)
                        if !over
                            && matches!(
                                refusal.code,
                                RefusalCode::PastDeadline | RefusalCode::NotReceiving
                            ) => {}
                    decided => decided?,
                }
                (BidId(draw.id()), false)
            }
            Purpose::Restore(bid) => {
                let ours = known.bid(&bid).is_some_and(|known| known.facts.supplier == supplier);
                if !ours {
                    return Err(refuse(RefusalCode::NoSuchBid));
                }
                (bid, true)
            }
        };
        let file = self.store.begin_file(length).map_err(|fault| refusal_of(&fault))?;
        let noted = Noted { project: project.clone(), supplier, restores, bid, file, length, offset: 0 };
        Ok(Upload::new(noted, 0))
    }

    /// `HEAD`.
    pub(super) fn where_stands(&mut self, conn: ConnId, upload: UploadId, project: &ProjectId) {
        match self.own_upload(conn, upload, project) {
            Ok(()) => self.tell_standing(conn, upload),
            Err(refusal) => self.no_upload(conn, upload, refusal),
        }
    }

    fn own_upload(&self, conn: ConnId, upload: UploadId, project: &ProjectId) -> Result<(), Refusal> {
        let own = self.supplier_of(conn).ok_or_else(|| refuse(RefusalCode::RoleNotAllowed))?;
        let known = self.uploads.get(&upload);
        let ours = known.is_some_and(|known| known.noted.supplier == own && known.noted.project == *project);
        if ours { Ok(()) } else { Err(refuse(RefusalCode::Unknown)) }
    }

    /// `PATCH`.
    pub(super) fn piece(
        &mut self,
        conn: ConnId,
        upload: UploadId,
        project: &ProjectId,
        offset: u64,
        bytes: Bytes,
    ) {
        if let Err(refusal) = self.own_upload(conn, upload, project) {
            return self.no_upload(conn, upload, refusal);
        }
        let Some(known) = self.uploads.get_mut(&upload) else { return };
        if let Some(queue) = &mut known.turn {
            queue.push((conn, offset, bytes));
            return;
        }
        if known.verdict.is_some() {
            return self.tell_standing(conn, upload);
        }
        if offset != known.offset {
            return self.no_upload(conn, upload, refuse(RefusalCode::OffsetMismatch));
        }
        if bytes.len() as u64 > known.noted.length - offset {
            return self.no_upload(conn, upload, refuse(RefusalCode::TooLarge));
        }
        let was_whole = known.is_whole();
        let noted = known.noted.clone();
        let mut stamp = None;
        if !was_whole && offset + bytes.len() as u64 == noted.length && !noted.restores {
            // This very instant, before anything is written.
            stamp = self.stamp_final(project, &noted.supplier);
            if stamp.is_none() {
                return self.no_upload(conn, upload, refuse(RefusalCode::Busy));
            }
        }
        if !bytes.is_empty()
            && let Err(fault) = self.store.write_file(&noted.file, offset, &bytes)
        {
            if let Some(stamp) = stamp {
                self.drop_stamp(project, Some(stamp));
            }
            return self.no_upload(conn, upload, refusal_of(&fault));
        }
        let Some(known) = self.uploads.get_mut(&upload) else { return };
        known.offset += bytes.len() as u64;
        if known.is_whole() {
            self.whole(conn, upload, stamp);
        } else {
            known.turn = Some(Vec::new());
            let takes = self.takes("sync", 300);
            self.later(takes, Work::UploadSync { upload, waits: conn });
        }
    }

    fn whole(&mut self, conn: ConnId, upload: UploadId, stamp: Option<Stamp>) {
        let Some(known) = self.uploads.get(&upload) else { return };
        let noted = known.noted.clone();
        let whole = Whole {
            project: noted.project,
            upload,
            bid: noted.bid,
            supplier: noted.supplier,
            file: noted.file,
            size_bytes: noted.length,
        };
        if noted.restores {
            self.restore(conn, whole);
        } else {
            self.finish_upload(whole, stamp, Waits { conn, upload });
        }
    }

    /// What was written is synced, then noted, then told.
    pub(super) fn upload_sync(&mut self, upload: UploadId, waits: ConnId) {
        let Some(known) = self.uploads.get(&upload) else { return };
        let file = known.noted.file;
        match self.store.sync_file(&file) {
            Ok(()) => self.note_upload(upload, waits),
            Err(fault) => {
                self.no_upload(waits, upload, refusal_of(&fault));
                self.end_turn(upload);
            }
        }
    }

    fn note_upload(&mut self, upload: UploadId, waits: ConnId) {
        let Some(known) = self.uploads.get_mut(&upload) else { return };
        known.turn.get_or_insert_default();
        known.noted.offset = known.offset;
        let row = serde_json::to_vec(&known.noted).expect("plain data has a JSON form");
        let put = put(SideSpace::Upload, upload.to_string(), row);
        self.append_side(vec![put], AppendOf::Upload { upload, waits });
    }

    /// An upload is noted, or not.
    pub(super) fn upload_noted(&mut self, upload: UploadId, waits: ConnId, noted: Result<(), RefusalCode>) {
        match noted {
            Ok(()) => self.tell_standing(waits, upload),
            Err(code) => {
                // Begun and not noted: it is none.
                if self.uploads.get(&upload).is_some_and(|known| known.offset == 0)
                    && let Some(known) = self.uploads.remove(&upload)
                {
                    self.store.delete_file(&known.noted.file);
                }
                self.no_upload(waits, upload, refuse(code));
            }
        }
        self.end_turn(upload);
    }

    fn end_turn(&mut self, upload: UploadId) {
        let Some(known) = self.uploads.get_mut(&upload) else { return };
        let project = known.noted.project.clone();
        for (conn, offset, bytes) in known.turn.take().unwrap_or_default() {
            self.piece(conn, upload, &project, offset, bytes);
        }
    }

    pub(super) fn settle_upload(&mut self, upload: &UploadId, verdict: &UploadVerdict) {
        // A busy or failing platform is asked again.
        let lasting = !matches!(
            verdict,
            UploadVerdict::Refused { refusal, .. }
                if matches!(refusal.code, RefusalCode::Busy | RefusalCode::WritingEnded | RefusalCode::NoRoom)
        );
        match self.uploads.get_mut(upload) {
            Some(known) if lasting => known.verdict = Some(verdict.clone()),
            // Its bytes were let go: it is begun anew.
            Some(_) if is_no_room(verdict) => drop(self.uploads.remove(upload)),
            Some(_) | None => {}
        }
    }

    pub(super) fn tell_verdict(&mut self, waits: Waits, verdict: &UploadVerdict) {
        let offset = self.uploads.get(&waits.upload).map_or(0, |known| known.offset);
        let verdict = Some(Box::new(verdict.clone()));
        self.send(waits.conn, ToClient::Stands { upload: waits.upload, offset, verdict });
    }

    fn tell_standing(&mut self, conn: ConnId, upload: UploadId) {
        let Some(known) = self.uploads.get(&upload) else { return };
        // What was not noted may be lost; it is not told.
        let (offset, verdict) = (known.offset, known.verdict.clone().map(Box::new));
        self.send(conn, ToClient::Stands { upload, offset, verdict });
    }

    fn no_upload(&mut self, conn: ConnId, upload: UploadId, refusal: Refusal) {
        self.send(conn, ToClient::NoUpload { upload, refusal });
    }

    /// Restored bytes count if and only if they are those of the receipt.
    fn restore(&mut self, conn: ConnId, whole: Whole) {
        let what = Restored { bid: whole.bid, supplier: whole.supplier, file: whole.file };
        let core = Restoring::new(what);
        let mut out = Vec::new();
        core.begin(&mut out);
        if let Some(known) = self.uploads.get_mut(&whole.upload) {
            known.restoring = Some(RestoreRun { core, ticket: None, conn });
        }
        self.carry_out_restore(whole.upload, out);
    }

    pub(super) fn restore_told(&mut self, upload: UploadId, told: Told) {
        self.restore_hears(upload, restoring::Input::Answered(told));
    }

    fn restore_hears(&mut self, upload: UploadId, input: restoring::Input) {
        let Some(run) = self.uploads.get_mut(&upload).and_then(|known| known.restoring.as_mut()) else {
            return;
        };
        let mut out = Vec::new();
        run.core.handle(input, &mut out);
        self.carry_out_restore(upload, out);
    }

    fn carry_out_restore(&mut self, upload: UploadId, out: Vec<restoring::Output>) {
        for output in out {
            let Some(known) = self.uploads.get_mut(&upload) else { return };
            let (project, bid, file) = (known.noted.project.clone(), known.noted.bid, known.noted.file);
            let Some(run) = &mut known.restoring else { return };
            match output {
                restoring::Output::LoadProject => {
                    let loaded = self.committed(&project);
                    self.restore_hears(upload, restoring::Input::Loaded(loaded));
                }
                restoring::Output::Stamp => {
                    let ticket = self.slot(&project).envelopes.take(4_096);
                    let stamp = ticket.map(|_| self.clock.now());
                    if let Some(run) =
                        self.uploads.get_mut(&upload).and_then(|known| known.restoring.as_mut())
                    {
                        run.ticket = ticket;
                    }
                    self.restore_hears(upload, restoring::Input::Stamped(stamp));
                }
                restoring::Output::Check(facts) => {
                    let checked = self.check_restored(&file, &facts);
                    self.restore_hears(upload, restoring::Input::Checked(checked));
                }
                restoring::Output::Ask { command, at } => {
                    let name = self.once(at);
                    let hearer = Hearer::Restore(upload);
                    self.ask_project(ProjectAsk::new(project, judging::asker(), at, name, *command, hearer));
                }
                restoring::Output::SettleTicket => {
                    if let Some(ticket) = run.ticket.take() {
                        self.settle(&project, Drain::Envelopes, ticket);
                    }
                }
                restoring::Output::DeleteFile => self.store.delete_file(&file),
                restoring::Output::Restored => self.restore_ends(upload, UploadVerdict::Restored { bid }),
                restoring::Output::Refused(refusal) => {
                    self.restore_ends(upload, UploadVerdict::Refused { refusal, notice: None });
                }
            }
        }
    }

    fn check_restored(&mut self, file: &FileId, facts: &BidFacts) -> Result<(), RefusalCode> {
        let arrived =
            read_again(&self.store.readable(self.now), file).map_err(|_| RefusalCode::SealedBidDamaged)?;
        let (header, parts) = (&arrived.header, arrived.header.part_facts());
        if !are_the_receipts(facts, &header.header_digest, arrived.size_bytes, &parts) {
            return Err(RefusalCode::BackupDiffers);
        }
        self.store.finish_file(file).map_err(|_| RefusalCode::SealedBidDamaged)
    }

    fn restore_ends(&mut self, upload: UploadId, verdict: UploadVerdict) {
        let run = self.uploads.get_mut(&upload).and_then(|known| known.restoring.take());
        self.settle_upload(&upload, &verdict);
        if let Some(RestoreRun { conn, .. }) = run {
            self.tell_verdict(Waits { conn, upload }, &verdict);
        }
    }
}

/// The bid and file of an upload whose verdict stands in the project's journal.
fn judged_before(
    known: &Project,
    fate: &UploadFate,
    own: &OrganisationId,
    length: u64,
) -> Result<(BidId, FileId), Refusal> {
    let taken = || refuse(RefusalCode::UploadTaken);
    let (supplier, size_bytes, bid, file) = match fate {
        UploadFate::Received(bid) => {
            let facts = &known.bid(bid).ok_or_else(taken)?.facts;
            (&facts.supplier, facts.size_bytes, *bid, facts.file)
        }
        UploadFate::Refused { supplier, size_bytes, .. } => {
            (supplier, *size_bytes, BidId([0; 16]), FileId([0; 16]))
        }
    };
    if supplier == own && size_bytes == length { Ok((bid, file)) } else { Err(taken()) }
}

fn is_no_room(verdict: &UploadVerdict) -> bool {
    matches!(verdict, UploadVerdict::Refused { refusal, .. } if refusal.code == RefusalCode::NoRoom)
}
