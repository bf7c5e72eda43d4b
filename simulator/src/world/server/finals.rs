//! Finals: from the last byte of an upload to its verdict, as the machine of the engine says.

use std::sync::Arc;

use kaibiao_actors::{
    journal::Append,
    practice::{CheckEnd, command_id},
};
use kaibiao_engine::{
    keeper::{SideSpace, SideWrite},
    project::Project,
    reaction::{
        judging::{self, Asked, CheckFault, Final, Judging, Output, RowFault, Side},
        reception::{LeftFinal, Met},
        tending::Drain,
        tickets::TicketNo,
    },
};
use kaibiao_protocol::{
    bid::BidFacts,
    blob::Blob,
    digest::Digest,
    ids::{BidId, FileId, ProjectId, UploadId},
    moment::Moment,
    refusal::RefusalCode,
    view::UploadVerdict,
};
use zeroize::Zeroizing;

use super::{
    Hearer, Node, Told, Work,
    projects::{Parked, ProjectAsk},
    refuse,
    store::AppendOf,
    verdicts,
};
use crate::world::wire::ConnId;

/// Finals of one project between stamp and verdict.
const FINALS_MAX: usize = 2_048;
/// Finals of one supplier between stamp and verdict.
const FINALS_OF_SUPPLIER_MAX: usize = 4;

/// Names a final being judged, within this process.
pub(super) type FinalNo = u64;

/// Who hears a verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) conn: ConnId,
    pub(super) upload: UploadId,
}

/// A final being judged.
pub(super) struct FinalRun {
    judging: Judging,
    project: Option<Arc<Project>>,
    ticket: TicketNo,
    evidence: String,
}

/// The stamp of a final, taken at the instant its last byte came in.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    ticket: TicketNo,
    at: Moment,
}

/// What happens to a final.
pub(super) enum FinalStep {
    Loaded(Arc<Project>),
    Unreadable,
    Sync,
    Row(Result<(), RowFault>),
    Check,
    Seal,
    Answered(Told),
    Waited,
}

/// What was uploaded, whole.
pub(super) struct Whole {
    pub(super) project: ProjectId,
    pub(super) upload: UploadId,
    pub(super) bid: BidId,
    pub(super) supplier: kaibiao_protocol::ids::OrganisationId,
    pub(super) file: FileId,
    pub(super) size_bytes: u64,
}

impl Node {
    /// Takes a ticket and then the stamp; none: too many finals are in work.
    pub(super) fn stamp_final(
        &mut self,
        project: &ProjectId,
        supplier: &kaibiao_protocol::ids::OrganisationId,
    ) -> Option<Stamp> {
        let desk = self.desks.entry(project.clone()).or_default();
        let ticket = desk.take_for(supplier, FINALS_OF_SUPPLIER_MAX, FINALS_MAX)?;
        Some(Stamp { ticket, at: self.clock.now() })
    }

    /// Brings a whole upload to its verdict, unless the same one is on its way: then its verdict serves both.
    pub(super) fn finish_upload(&mut self, whole: Whole, stamp: Option<Stamp>, waits: Waits) {
        let name = (whole.project.clone(), whole.supplier.clone(), whole.upload);
        let now = self.clock.present();
        match self.reception.meet(&name) {
            Met::Running(waiting) => {
                if !waiting.contains(&waits) {
                    waiting.push(waits);
                }
                self.drop_stamp(&whole.project, stamp);
            }
            Met::Left(LeftFinal { one, staged, ticket }) => {
                self.drop_stamp(&whole.project, stamp);
                self.reception.begin(name, vec![waits]);
                self.begin_final(Judging::resumed(one, staged, now), ticket);
            }
            Met::Nobody => {
                let Some(Stamp { ticket, at }) =
                    stamp.or_else(|| self.stamp_final(&whole.project, &whole.supplier))
                else {
                    let refused = UploadVerdict::Refused { refusal: refuse(RefusalCode::Busy), notice: None };
                    return self.tell_verdict(waits, &refused);
                };
                let one = Final {
                    project: whole.project,
                    upload: whole.upload,
                    bid: whole.bid,
                    supplier: whole.supplier,
                    file: whole.file,
                    size_bytes: whole.size_bytes,
                    received_at: at,
                    contact: Blob(CONTACT.to_vec()),
                    contact_digest: Digest([7; 32]),
                };
                self.reception.begin(name, vec![waits]);
                self.begin_final(Judging::new(one), ticket);
            }
        }
    }

    pub(super) fn drop_stamp(&mut self, project: &ProjectId, stamp: Option<Stamp>) {
        if let Some(Stamp { ticket, .. }) = stamp {
            self.settle(project, Drain::Finals, ticket);
        }
    }

    /// Takes up a final that a crash left without a verdict; its ticket is open when this returns.
    pub(super) fn resume_final(&mut self, one: Final) {
        let desk = self.desks.entry(one.project.clone()).or_default();
        let ticket = desk.take_for(&one.supplier, usize::MAX, usize::MAX);
        let ticket = ticket.expect("a restart's own finals are not limited");
        self.reception.begin(one.name(), Vec::new());
        let now = self.clock.present();
        self.begin_final(Judging::resumed(one, true, now), ticket);
    }

    fn begin_final(&mut self, judging: Judging, ticket: TicketNo) {
        let no = self.next_life();
        let mut out = Vec::new();
        judging.begin(&mut out);
        self.finals.insert(no, FinalRun { judging, project: None, ticket, evidence: String::new() });
        self.carry_out(no, out);
    }

    /// Something of a final is done: its machine says what follows.
    pub(super) fn final_step(&mut self, no: FinalNo, step: FinalStep) {
        let Some(run) = self.finals.get_mut(&no) else { return };
        let input = match step {
            FinalStep::Loaded(project) => {
                run.project = Some(project.clone());
                judging::Input::Loaded(project)
            }
            FinalStep::Unreadable => judging::Input::ProjectUnreadable,
            FinalStep::Sync => {
                let one = run.judging.one().clone();
                judging::Input::Synced(self.sync_final(&one))
            }
            FinalStep::Row(written) => judging::Input::RowWritten(written),
            FinalStep::Check => judging::Input::Checked(self.check_final(no)),
            FinalStep::Seal => {
                let file = run.judging.one().file;
                judging::Input::Sealed(self.store.finish_file(&file).is_ok())
            }
            FinalStep::Answered(told) => judging::Input::Answered(told),
            FinalStep::Waited => judging::Input::Waited,
        };
        let mut out = Vec::new();
        if let Some(run) = self.finals.get_mut(&no) {
            run.judging.handle(input, false, &mut out);
        }
        self.carry_out(no, out);
    }

    fn carry_out(&mut self, no: FinalNo, out: Vec<Output>) {
        for output in out {
            let Some(run) = self.finals.get(&no) else { return };
            let one = run.judging.one();
            match output {
                Output::LoadProject => self.load_for_final(no),
                Output::SyncBytes => {
                    let takes = self.takes("sync", SYNC_US);
                    self.later(takes, Work::Final { no, step: FinalStep::Sync });
                }
                Output::WriteRow => {
                    let row = serde_json::to_vec(one).expect("a final is plain data and serialises");
                    let put = put(SideSpace::StagedFinal, one.row_key(), row);
                    self.append_side(vec![put], AppendOf::Row(no));
                }
                Output::Check => {
                    let takes = self.work_takes("check", 1_500);
                    self.later(takes, Work::Final { no, step: FinalStep::Check });
                }
                Output::Seal => {
                    let takes = self.takes("seal", SYNC_US);
                    self.later(takes, Work::Final { no, step: FinalStep::Seal });
                }
                Output::Ask { asked, command, side } => self.final_asks(no, asked, *command, side),
                Output::Wait { ms } => {
                    let us = u64::try_from(ms).unwrap_or(0) * 1_000;
                    self.later(us, Work::Final { no, step: FinalStep::Waited });
                }
                Output::DropRow => {
                    let key = one.row_key();
                    let delete = SideWrite::Delete { space: SideSpace::StagedFinal, key };
                    self.append_side(vec![delete], AppendOf::Nothing);
                }
                Output::DeleteFile => {
                    let file = one.file;
                    self.store.delete_file(&file);
                }
                Output::SettleTicket => {
                    let (project, ticket) = (one.project.clone(), run.ticket);
                    self.settle(&project, Drain::Finals, ticket);
                }
                Output::Recorded { seq } => {
                    let (project, one) = (one.project.clone(), one.name());
                    let told = self.verdict_of_record(&project, seq);
                    self.final_ends(no, &one, told);
                }
                Output::Refused(refusal) => {
                    let name = one.name();
                    self.final_ends(no, &name, UploadVerdict::Refused { refusal, notice: None });
                }
                Output::Left => {
                    let left =
                        LeftFinal { one: one.clone(), staged: run.judging.is_staged(), ticket: run.ticket };
                    self.finals.remove(&no);
                    let waiting = self.reception.leave(left).unwrap_or_default();
                    let refused =
                        UploadVerdict::Refused { refusal: refuse(RefusalCode::WritingEnded), notice: None };
                    waiting.into_iter().for_each(|waits| self.tell_verdict(waits, &refused));
                }
            }
        }
    }

    fn load_for_final(&mut self, no: FinalNo) {
        let Some(run) = self.finals.get(&no) else { return };
        let project = run.judging.one().project.clone();
        if !self.heads.contains_key(&project) {
            let mut out = Vec::new();
            if let Some(run) = self.finals.get_mut(&no) {
                run.judging.handle(judging::Input::UnknownProject, false, &mut out);
            }
            return self.carry_out(no, out);
        }
        match self.committed(&project) {
            Some(loaded) => self.later(0, Work::Final { no, step: FinalStep::Loaded(loaded) }),
            None => self.park(&project, Parked::Final(no)),
        }
    }

    fn sync_final(&mut self, one: &Final) -> Result<(), RefusalCode> {
        let synced = self.store.sync_file(&one.file).and_then(|()| self.store.staged_bytes(&one.file));
        match synced {
            Ok(found) if found == one.size_bytes => Ok(()),
            Ok(_) => Err(RefusalCode::SealedBidDamaged),
            Err(fault) => Err(verdicts::code_of(&fault)),
        }
    }

    fn check_final(&mut self, no: FinalNo) -> Result<Box<BidFacts>, CheckFault> {
        let run = self.finals.get(&no).ok_or(CheckFault::Store)?;
        let project = run.project.clone().ok_or(CheckFault::Store)?;
        let one = run.judging.one();
        let checked =
            verdicts::check(&self.store.readable(self.now), one, &project, &self.directory, &self.trust);
        match checked {
            Ok(checked) => {
                if let Some(run) = self.finals.get_mut(&no) {
                    run.evidence = checked.evidence;
                }
                Ok(Box::new(checked.facts))
            }
            Err(CheckEnd::Refused(code)) => Err(CheckFault::Refused(code)),
            Err(CheckEnd::Store(_)) => Err(CheckFault::Store),
        }
    }

    fn final_asks(
        &mut self,
        no: FinalNo,
        asked: Asked,
        command: kaibiao_protocol::command::ProjectCommand,
        side: &[Side],
    ) {
        let Some(run) = self.finals.get(&no) else { return };
        let one = run.judging.one();
        let name = format!("{}/{}", one.project, one.bid);
        let side = side.iter().map(|side| match side {
            Side::Contact => put(SideSpace::Contact, name.clone(), one.contact.0.clone()),
            Side::Certificates => {
                put(SideSpace::Receipt, format!("{name}/certificates"), run.evidence.clone().into_bytes())
            }
            Side::DropRow => SideWrite::Delete { space: SideSpace::StagedFinal, key: one.row_key() },
        });
        let command_id = command_id(&run.judging.command_pieces(asked));
        let ask = ProjectAsk::new(
            one.project.clone(),
            judging::asker(),
            one.received_at,
            command_id,
            command,
            Hearer::Final(no),
        );
        let ask = ask.with(side.collect());
        self.ask_project(ask);
    }

    /// The verdict and paper of the record that a command of the intake left or found.
    pub(super) fn verdict_of_record(&mut self, project: &ProjectId, seq: u64) -> UploadVerdict {
        let read = self.committed(project).zip(self.store.record(project, seq));
        let verdict = read.and_then(|(state, record)| verdicts::of_record(&record, project, &state));
        // It is taken in or refused for good; only its paper could not be read just now.
        verdict.unwrap_or_else(|| UploadVerdict::Refused { refusal: refuse(RefusalCode::Busy), notice: None })
    }

    pub(super) fn tell_receipt(&mut self, conn: ConnId, id: u64, project: &ProjectId, told: Told) {
        let told = told.and_then(|done| match self.verdict_of_record(project, done.first_seq) {
            UploadVerdict::Received { receipt, .. } => {
                Ok(kaibiao_protocol::frame::Answer::Receipt { receipt })
            }
            UploadVerdict::Restored { .. } | UploadVerdict::Refused { .. } => Err(refuse(RefusalCode::Busy)),
        });
        self.tell(conn, id, told);
    }

    /// The committed project holds the verdict before the upload stops being one on its way.
    fn final_ends(
        &mut self,
        no: FinalNo,
        name: &kaibiao_engine::reaction::reception::FinalName,
        verdict: UploadVerdict,
    ) {
        self.finals.remove(&no);
        let waiting = self.reception.end(name).unwrap_or_default();
        self.settle_upload(&name.2, &verdict);
        for waits in waiting {
            self.tell_verdict(waits, &verdict);
        }
    }

    pub(super) fn append_side(&mut self, side: Vec<SideWrite>, of: AppendOf) {
        self.append(Append::side_only(kaibiao_actors::journal::Stream::Platform, side), of);
    }
}

/// A side value to be put.
pub(super) fn put(space: SideSpace, key: String, value: Vec<u8>) -> SideWrite {
    SideWrite::Put { space, key, value: Zeroizing::new(value) }
}

/// What stands for a wrapped contact form.
const CONTACT: &[u8] = b"a contact form";
/// The usual duration of a sync.
const SYNC_US: u64 = 300;
