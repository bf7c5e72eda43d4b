//! The people of the world: suppliers, the agent, the supervisor.
//!
//! They know only what they were told over the wire. What a plan has them do begins as a [`Deed`]; how they go about it
//! (dialling again, resuming by `seq`, asking again after `busy`, an upload after a cut) is theirs.

mod agent;
mod errand;
mod line;
mod seat;
mod supplier;
mod upload;

use std::{collections::BTreeMap, sync::Arc};

use kaibiao_protocol::{
    frame::{Answer, Ask, Notice, Response},
    ids::ProjectId,
    refusal::{Refusal, RefusalCode},
    view::UploadVerdict,
};

pub(crate) use self::errand::Errand;
use self::{line::Line, seat::Seat, upload::Upload};
use super::{
    draw::Draw,
    kernel::Kernel,
    oracle::Oracle,
    plan::{Deed, Plan, What, Who},
    schedule::Instant,
    stock::{project_id, stock},
    wire::{Caller, ConnId, ToClient, ToServer},
};

/// The world as one person can touch it.
pub(crate) struct Hands<'a> {
    /// The world.
    pub(crate) kernel: &'a mut Kernel,
    /// Sees everything that is said.
    pub(crate) oracle: &'a mut Oracle,
    /// What people have set themselves to do later.
    pub(crate) errands: &'a mut Vec<(usize, Errand)>,
}

impl Hands<'_> {
    pub(crate) fn now(&self) -> Instant {
        self.kernel.now()
    }

    fn send(&mut self, conn: ConnId, message: ToServer) {
        let now = self.now();
        self.oracle.said(conn, &message, now);
        self.kernel.send(conn, message);
    }
}

/// Somebody.
pub(crate) struct Person {
    /// Who.
    pub(crate) who: Who,
    /// Its place among the people: whose errands are whose.
    place: usize,
    caller: Caller,
    draw: Draw,
    line: Line,
    seats: BTreeMap<usize, Seat>,
    uploads: Vec<Upload>,
}

impl Person {
    pub(crate) fn new(who: Who, place: usize, seed: &Draw) -> Self {
        let stock = stock();
        let caller = match who {
            Who::Supplier(number) => stock.supplier(number),
            Who::Agent => stock.agent(),
            Who::Supervisor => stock.supervisor(),
        };
        Self {
            who,
            place,
            caller: caller.clone(),
            draw: seed.named(caller.user.as_str()),
            line: Line::default(),
            seats: BTreeMap::new(),
            uploads: Vec::new(),
        }
    }

    /// Its connection, if it has one.
    pub(crate) fn conn(&self) -> Option<ConnId> {
        self.line.conn
    }

    /// Does what the plan has it do.
    pub(crate) fn does(&mut self, plan: &Plan, deed: &Deed, hands: &mut Hands<'_>) {
        let project = deed.project;
        match &deed.what {
            What::Joins { .. } => self.joins(plan, project, hands),
            What::HandsIn { supplier, file, pieces, pause_ms, doubled } => {
                let draw = Draw::new(plan.seed).named("upload").of(u64::from(deed.no));
                self.joins(plan, project, hands);
                self.hands_in(draw, project, *supplier, *file, (*pieces, *pause_ms, *doubled), hands);
            }
            What::Withdraws { .. } => self.withdraws(project, hands),
            What::ChecksIn { .. } => self.ask(Ask::CheckIn { project: project_id(project) }, hands),
            What::Unseals { after_ms, manner, .. } => {
                let seat = self.seat(plan, project);
                (seat.after_ms, seat.manner) = (*after_ms, *manner);
                self.early_keys(project, deed.at, hands);
            }
            What::Objects { .. } => self.objects(project, hands),
            What::LosesLine { for_ms, .. } => self.leaves(*for_ms, hands),
            What::ReadsSlowly { for_ms, .. } => {
                if let Some(conn) = self.line.conn {
                    hands.kernel.stall(conn, for_ms * 1_000);
                }
            }
            What::Meddles { with, .. } => self.meddles(project, *with, hands),
            What::Looks { .. } => {
                let id = project_id(project);
                self.ask(Ask::Project { project: id.clone() }, hands);
                self.ask(Ask::Room { project: id }, hands);
                self.ask(Ask::Projects { search: String::new(), skip: 0 }, hands);
                self.ask(Ask::Time {}, hands);
            }
            What::AgentRuns { manner } => self.seat(plan, project).running = *manner,
            What::AgentStarts { twice } => self.starts(project, *twice, hands),
            What::AgentExtends { minutes, twice } => self.extends(project, *minutes, *twice, hands),
            What::AgentCloses => self.closes(project, hands),
            What::AgentAdmits { supplier } => self.admits_unasked(project, *supplier, hands),
            What::Befalls { .. } => {}
        }
    }

    /// Hears something. `notice` is what a frame says, read once for all who hear it.
    pub(crate) fn heard(&mut self, message: ToClient, notice: Option<Arc<Notice>>, hands: &mut Hands<'_>) {
        self.line.tries = 0;
        match message {
            ToClient::Answer(response) => self.answered(response, hands),
            ToClient::Frame(_) => {
                if let Some(notice) = notice {
                    self.told(&notice, hands);
                }
            }
            ToClient::Stands { upload, offset, verdict } => match verdict.as_deref() {
                Some(UploadVerdict::Refused { refusal, .. }) if is_passing(refusal.code) => {
                    self.no_upload(upload, refusal, hands);
                }
                _ => self.stands(upload, offset, verdict, hands),
            },
            ToClient::NoUpload { upload, refusal } => self.no_upload(upload, &refusal, hands),
        }
    }

    /// Does what it had set itself to do.
    pub(crate) fn runs(&mut self, errand: Errand, hands: &mut Hands<'_>) {
        match errand {
            Errand::Dial => self.dials(hands),
            Errand::AskAgain { no } => self.asks_again(no, hands),
            Errand::Upload { index } => self.goes_on(index, hands),
            Errand::Unseal { project } => self.unseals(project, hands),
            Errand::Start { project } => self.starts_if_awaited(project, hands),
            Errand::Admit { project, bid } => self.admits(project, bid, hands),
            Errand::AnswerObjection { project, no } => self.answers(project, no, hands),
            Errand::ReadOut { project, lot, no } => {
                self.ask(Ask::ReadOutRow { project: project_id(project), lot, no }, hands);
            }
            Errand::Hurry { project } => self.hurries(project, hands),
            Errand::End { project } => self.ends(project, hands),
        }
    }

    fn later(&mut self, ms: u64, errand: Errand, hands: &mut Hands<'_>) {
        let token = hands.errands.len() as u64;
        hands.errands.push((self.place, errand));
        let at = hands.now().plus_ms(ms);
        hands.kernel.wake_at(at, ERRANDS_FROM + token);
    }

    fn seat(&mut self, plan: &Plan, project: usize) -> &mut Seat {
        let start = plan.projects[project].start;
        self.seats.entry(project).or_insert_with(|| Seat::new(start))
    }

    /// Follows every room.
    pub(crate) fn follows_all(&mut self, plan: &Plan, hands: &mut Hands<'_>) {
        for project in 0..plan.projects.len() {
            self.joins(plan, project, hands);
        }
    }

    fn joins(&mut self, plan: &Plan, project: usize, hands: &mut Hands<'_>) {
        let seat = self.seat(plan, project);
        let new = !std::mem::replace(&mut seat.follows, true);
        if self.line.conn.is_none() {
            self.dials(hands);
        } else if new {
            self.subscribes(project, hands);
        }
    }

    fn answered(&mut self, response: Response, hands: &mut Hands<'_>) {
        let (Response::Ok { id, .. } | Response::Refused { id, .. }) = &response;
        let Some(asked) = self.line.pending.remove(id) else { return };
        match response {
            Response::Ok { ok, .. } => self.accepted(&asked.ask, &ok, hands),
            Response::Refused { refused, .. } => match refused.code {
                RefusalCode::Busy | RefusalCode::SlowDown => self.asks_later(asked, hands),
                // Nobody knows whether it was done: what may be repeated is.
                RefusalCode::WritingEnded if line::is_repeatable(&asked.ask) => self.asks_later(asked, hands),
                _ => self.refused(&asked.ask, &refused, hands),
            },
        }
    }

    fn accepted(&mut self, ask: &Ask, answer: &Answer, hands: &mut Hands<'_>) {
        if let Ask::ReleaseKeys { project, .. } = ask {
            self.keys_taken(number_of(project), ask, hands);
        }
        if let (Ask::SignOut {}, Answer::Done { .. }) = (ask, answer) {
            self.line.conn = None;
        }
    }

    fn refused(&mut self, ask: &Ask, refusal: &Refusal, hands: &mut Hands<'_>) {
        match ask {
            Ask::ReleaseKeys { project, .. } | Ask::ReportTrouble { project, .. } => {
                self.keys_refused(number_of(project), ask, refusal.code, hands);
            }
            Ask::StartOpening { project, .. } => self.start_refused(number_of(project), refusal.code, hands),
            _ => {}
        }
    }

    fn told(&mut self, notice: &Notice, hands: &mut Hands<'_>) {
        let project = number_of(notice.stream.project());
        let Some(seat) = self.seats.get_mut(&project) else { return };
        if !seat.take(notice) {
            return;
        }
        match self.who {
            Who::Supplier(_) => self.supplier_told(project, notice, hands),
            Who::Agent => self.agent_told(project, notice, hands),
            Who::Supervisor => {}
        }
    }
}

/// Whether a refusal says nothing of what was sent: the same may be sent again.
pub(crate) fn is_passing(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::Busy | RefusalCode::SlowDown | RefusalCode::WritingEnded | RefusalCode::NoRoom
    )
}

/// A project's number by its name.
pub(crate) fn number_of(project: &ProjectId) -> usize {
    (0..super::stock::PROJECTS).find(|number| project_id(*number) == *project).unwrap_or(usize::MAX)
}

/// Tokens below are deeds, from here on errands.
pub(crate) const ERRANDS_FROM: u64 = 1 << 32;
