//! The organiser's agent: starting (twice), extending, hurrying, admitting, answering, ending.

use kaibiao_protocol::{
    frame::{Ask, Notice},
    ids::BidId,
    project::StartMode,
    record::LotRecord,
    refusal::RefusalCode,
    view::{BidStatus, RoomEvent, ViewEvent},
};

use super::{Errand, Hands, Person, seat::Stage};
use crate::world::{plan::Running, stock::project_id};

impl Person {
    pub(super) fn agent_told(&mut self, project: usize, notice: &Notice, hands: &mut Hands<'_>) {
        let ViewEvent::Room(event) = &notice.event else { return };
        let Some(seat) = self.seats.get(&project) else { return };
        let running = seat.running;
        match event {
            RoomEvent::ReceivingClosed { lots, .. }
                if seat.start == StartMode::OnAgentStart && lots.values().any(|lot| lot.opens) =>
            {
                // However absent: in the end somebody starts the opening.
                self.later(START_AT_LAST_MS, Errand::Start { project }, hands);
            }
            RoomEvent::OrderIssued { .. } if running == Running::Hurried => {
                self.later(100, Errand::Hurry { project }, hands);
            }
            RoomEvent::BidChanged { bid, status: BidStatus::Failed { .. }, .. }
                if running != Running::Sparing =>
            {
                let ms = self.draw.between(300, 15_000);
                self.later(ms, Errand::Admit { project, bid: *bid }, hands);
            }
            RoomEvent::ObjectionRaised { no, .. } => {
                let ms = self.draw.between(500, 10_000);
                self.later(ms, Errand::AnswerObjection { project, no: *no }, hands);
            }
            RoomEvent::RecordsPublished { record } if running == Running::Dutiful => {
                for (lot, recorded) in &record.lots {
                    let LotRecord::Opened { rows } = recorded else { continue };
                    for row in rows {
                        let ms = self.draw.between(200, 3_000);
                        self.later(ms, Errand::ReadOut { project, lot: *lot, no: row.no }, hands);
                    }
                }
            }
            RoomEvent::RecordSigned { .. } | RoomEvent::ConfirmationsDeemed { .. } => {
                let ms = if running == Running::Hurried { 10 } else { self.draw.between(200, 5_000) };
                self.later(ms, Errand::End { project }, hands);
            }
            _ => {}
        }
    }

    pub(super) fn starts(&mut self, project: usize, twice: bool, hands: &mut Hands<'_>) {
        for _ in 0..if twice { 2 } else { 1 } {
            self.ask(Ask::StartOpening { project: project_id(project), signature: None }, hands);
        }
    }

    /// Starts the opening where nobody did.
    pub(super) fn starts_if_awaited(&mut self, project: usize, hands: &mut Hands<'_>) {
        if self.seats.get(&project).is_some_and(|seat| seat.stage <= Stage::Counted) {
            self.starts(project, false, hands);
            self.later(START_AT_LAST_MS, Errand::Start { project }, hands);
        }
    }

    pub(super) fn start_refused(&mut self, project: usize, code: RefusalCode, hands: &mut Hands<'_>) {
        if code == RefusalCode::NotSettled {
            let ms = self.pause_ms(1);
            self.later(ms, Errand::Start { project }, hands);
        }
    }

    pub(super) fn extends(&mut self, project: usize, minutes: u32, twice: bool, hands: &mut Hands<'_>) {
        for _ in 0..if twice { 2 } else { 1 } {
            let reason = String::from("网络拥堵");
            self.ask(Ask::ExtendWindow { project: project_id(project), minutes, reason }, hands);
        }
    }

    pub(super) fn closes(&mut self, project: usize, hands: &mut Hands<'_>) {
        let reason = String::from("均已解密");
        self.ask(Ask::CloseWindow { project: project_id(project), reason }, hands);
    }

    pub(super) fn hurries(&mut self, project: usize, hands: &mut Hands<'_>) {
        if self.seats.get(&project).is_some_and(|seat| seat.stage < Stage::Closed) {
            self.closes(project, hands);
            let ms = self.draw.between(10_000, 60_000);
            self.later(ms, Errand::Hurry { project }, hands);
        }
    }

    pub(super) fn admits(&mut self, project: usize, bid: BidId, hands: &mut Hands<'_>) {
        let reason = String::from("启用备份标书");
        self.ask(Ask::AdmitBackup { project: project_id(project), bid, reason }, hands);
    }

    /// Admits a backup of somebody who did not fail, or whose bid is not known.
    pub(super) fn admits_unasked(&mut self, project: usize, supplier: usize, hands: &mut Hands<'_>) {
        let known = self.seats.get(&project).and_then(|seat| seat.others.get(supplier).copied());
        let bid = known.unwrap_or_else(|| BidId(self.draw.id()));
        self.admits(project, bid, hands);
    }

    pub(super) fn answers(&mut self, project: usize, no: u32, hands: &mut Hands<'_>) {
        let text = String::from("已答复");
        self.ask(Ask::AnswerObjection { project: project_id(project), no, text }, hands);
    }

    pub(super) fn ends(&mut self, project: usize, hands: &mut Hands<'_>) {
        if self.seats.get(&project).is_some_and(|seat| seat.stage < Stage::Ended) {
            self.ask(Ask::EndOpening { project: project_id(project) }, hands);
            self.later(60_000, Errand::End { project }, hands);
        }
    }
}

/// How long after the count the agent starts an opening that nobody started.
const START_AT_LAST_MS: u64 = 30_000;
