//! Uploads on their way: pieces, resumption, the last byte.
//!
//! This is the world's own short form of the web server's ledger of uploads, with its rules: an offset that was told
//! is durable, the last byte takes ticket and stamp before anything else, whoever asks again hears the same.

use kaibiao_actors::practice::read_again;
use kaibiao_engine::{
    keeper::{Machine, SideSpace},
    project::{Project, ProjectMachine, UploadFate},
    reaction::tending::Drain,
};
use kaibiao_protocol::{
    command::ProjectCommand,
    ids::{BidId, FileId, OrganisationId, ProjectId, UploadId},
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor, Role},
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
    /// The ticket of a restored bid, and who hears.
    restoring: Option<(kaibiao_engine::reaction::tickets::TicketNo, ConnId)>,
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

    /// Restored bytes count if and only if they are those of the receipt. The ticket first: window and grace wait for
    /// whatever is stamped before their end.
    fn restore(&mut self, conn: ConnId, whole: Whole) {
        let refused = |refusal| UploadVerdict::Refused { refusal, notice: None };
        let waits = Waits { conn, upload: whole.upload };
        let Some(project) = self.committed(&whole.project) else {
            return self.tell_verdict(waits, &refused(refuse(RefusalCode::Busy)));
        };
        let own = project.bid(&whole.bid).filter(|bid| bid.facts.supplier == whole.supplier);
        let Some(facts) = own.map(|bid| bid.facts.clone()) else {
            return self.tell_verdict(waits, &refused(refuse(RefusalCode::NoSuchBid)));
        };
        if facts.file == whole.file {
            return self.tell_verdict(waits, &UploadVerdict::Restored { bid: whole.bid });
        }
        let Some(ticket) = self.slot(&whole.project).envelopes.take(4_096) else {
            return self.tell_verdict(waits, &refused(refuse(RefusalCode::Busy)));
        };
        let at = self.clock.now();
        let asker = Asker::Platform { reactor: Reactor::Intake };
        let command = ProjectCommand::RestoreBid {
            bid: whole.bid,
            file: whole.file,
            header_digest: facts.header_digest,
        };
        let wanted = ProjectMachine::decide(&project, &command, &asker, at).map(drop);
        let checked = wanted.and_then(|()| {
            let arrived = read_again(&self.store.readable(self.now), &whole.file)
                .map_err(|_| refuse(RefusalCode::SealedBidDamaged))?;
            let same = arrived.header.header_digest == facts.header_digest
                && arrived.size_bytes == facts.size_bytes
                && arrived.header.part_facts() == facts.parts;
            if !same {
                return Err(refuse(RefusalCode::BackupDiffers));
            }
            self.store.finish_file(&whole.file).map_err(|_| refuse(RefusalCode::SealedBidDamaged))
        });
        if let Err(refusal) = checked {
            self.store.delete_file(&whole.file);
            self.settle_upload(&whole.upload, &refused(refusal.clone()));
            self.tell_verdict(waits, &refused(refusal));
            return self.settle(&whole.project, Drain::Envelopes, ticket);
        }
        if let Some(known) = self.uploads.get_mut(&whole.upload) {
            known.restoring = Some((ticket, conn));
        }
        let name = self.once(at);
        let hearer = Hearer::Restore(whole.upload);
        self.ask_project(ProjectAsk::new(whole.project, asker, at, name, command, hearer));
    }

    pub(super) fn restore_told(&mut self, upload: UploadId, told: Told) {
        let Some(known) = self.uploads.get_mut(&upload) else { return };
        let Some((ticket, conn)) = known.restoring.take() else { return };
        let (project, bid) = (known.noted.project.clone(), known.noted.bid);
        let verdict = match told {
            Ok(_) => UploadVerdict::Restored { bid },
            Err(refusal) => UploadVerdict::Refused { refusal, notice: None },
        };
        self.settle_upload(&upload, &verdict);
        self.tell_verdict(Waits { conn, upload }, &verdict);
        self.settle(&project, Drain::Envelopes, ticket);
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
