//! Suppliers: withdrawing, unsealing in every manner, objecting, meddling.

use kaibiao_protocol::{
    bid::{FailureCause, PartName},
    blob::Blob,
    event::ObjectionKind,
    frame::{Ask, Notice, StreamName},
    ids::{BidId, LotNo},
    refusal::RefusalCode,
    view::{OwnEvent, RoomEvent, ViewEvent},
};
use kaibiao_sealed::key::PartKey;

use super::{
    Errand, Hands, Person,
    seat::{Keys, Stage},
};
use crate::world::{
    plan::{Manner, Meddling, Who},
    schedule::Instant,
    stock::{Make, StockBid, envelope_of, project_id, some_other_key, stock},
};

impl Person {
    fn number(&self) -> usize {
        match self.who {
            Who::Supplier(number) => number,
            Who::Agent | Who::Supervisor => usize::MAX,
        }
    }

    pub(super) fn withdraws(&mut self, project: usize, hands: &mut Hands<'_>) {
        let Some(bid) = self.seats.get(&project).and_then(|seat| seat.bid) else { return };
        let reason = String::from("不再参加");
        self.ask(Ask::WithdrawBid { project: project_id(project), bid, reason }, hands);
    }

    pub(super) fn objects(&mut self, project: usize, hands: &mut Hands<'_>) {
        let kind = if self.draw.per_mille(500) { ObjectionKind::Objection } else { ObjectionKind::Recusal };
        let text = format!("{}的疑问", self.caller.organisation);
        self.ask(Ask::Object { project: project_id(project), kind, lot: None, text }, hands);
    }

    pub(super) fn meddles(&mut self, project: usize, with: Meddling, hands: &mut Hands<'_>) {
        let id = project_id(project);
        let reason = String::from("请求");
        let others = self.somebody_elses_bid();
        let ask = match with {
            Meddling::Start => Ask::StartOpening { project: id, signature: None },
            Meddling::Extend => Ask::ExtendWindow { project: id, minutes: 1, reason },
            Meddling::Close => Ask::CloseWindow { project: id, reason },
            Meddling::End => Ask::EndOpening { project: id },
            Meddling::Record => Ask::Record { project: id },
            Meddling::OwnStream => Ask::Subscribe { stream: StreamName::Own(id), since: 0 },
            Meddling::Contacts => Ask::Contacts { project: id },
            Meddling::OthersBid => {
                self.ask(Ask::Receipt { project: id.clone(), bid: others }, hands);
                Ask::WithdrawBid { project: id, bid: others, reason }
            }
        };
        self.ask(ask, hands);
    }

    /// A bid of somebody else, if one was heard of; else one that nobody has.
    fn somebody_elses_bid(&mut self) -> BidId {
        let known = self.seats.values().find_map(|seat| seat.others.first().copied());
        known.unwrap_or_else(|| BidId(self.draw.id()))
    }

    pub(super) fn supplier_told(&mut self, project: usize, notice: &Notice, hands: &mut Hands<'_>) {
        match &notice.event {
            ViewEvent::Room(RoomEvent::OrderIssued { .. }) | ViewEvent::Own(OwnEvent::KeysAsked { .. }) => {
                self.means_to_unseal(project, hands);
            }
            ViewEvent::Own(OwnEvent::UnsealingFailed { cause, .. }) => {
                // What the platform did, its keys may mend; a token that was wrong is looked for.
                if *cause == FailureCause::PlatformFault || *cause == FailureCause::WrongKey {
                    let ms = self.draw.between(200, 4_000);
                    self.later(ms, Errand::Unseal { project }, hands);
                }
            }
            ViewEvent::Own(OwnEvent::BackupAdmitted { bid, .. }) => {
                let failed = self.seats.get(&project).and_then(|seat| seat.failed);
                if failed == Some(FailureCause::DamagedStore) {
                    self.restores(project, *bid, hands);
                }
                let ms = self.draw.between(200, 8_000);
                self.later(ms, Errand::Unseal { project }, hands);
            }
            ViewEvent::Room(RoomEvent::ReceivingClosed { bidders, .. }) => {
                let own = &self.caller.organisation;
                let others = bidders.iter().filter(|one| one.organisation != *own).map(|one| one.bid);
                let others = others.collect();
                if let Some(seat) = self.seats.get_mut(&project) {
                    seat.others = others;
                }
            }
            ViewEvent::Room(_) | ViewEvent::Own(_) => {}
        }
    }

    /// Its keys are asked for: it will hand them over in its own time.
    fn means_to_unseal(&mut self, project: usize, hands: &mut Hands<'_>) {
        let again_ms = self.draw.between(50, 1_500);
        let Some(seat) = self.seats.get_mut(&project) else { return };
        if seat.asked.is_none() || seat.order.is_none() || seat.kept {
            return;
        }
        let first = !std::mem::replace(&mut seat.means_to, true);
        let ms = if first { seat.after_ms } else { again_ms };
        self.later(ms, Errand::Unseal { project }, hands);
    }

    /// The line is there again.
    pub(super) fn unseals_if_asked(&mut self, project: usize, hands: &mut Hands<'_>) {
        if self.seats.get(&project).is_some_and(|seat| seat.means_to && !seat.kept) {
            let ms = self.draw.between(50, 1_500);
            self.later(ms, Errand::Unseal { project }, hands);
        }
    }

    /// Keys before anybody asked for them.
    pub(super) fn early_keys(&mut self, project: usize, _at: Instant, hands: &mut Hands<'_>) {
        if self.seats.get(&project).is_some_and(|seat| seat.manner == Manner::Early) {
            let ms = self.draw.between(1_000, 50_000);
            self.later(ms, Errand::Unseal { project }, hands);
        }
    }

    /// Hands its keys over, in its manner.
    pub(super) fn unseals(&mut self, project: usize, hands: &mut Hands<'_>) {
        let id = project_id(project);
        if self.is_asking(|ask| matches!(ask, Ask::ReleaseKeys { project, .. } if *project == id)) {
            return;
        }
        let number = self.number();
        let Some(seat) = self.seats.get(&project) else { return };
        let (manner, step, leave) = (seat.manner, seat.step, seat.leave);
        let Some(bid) = seat.bid.filter(|_| !seat.kept && seat.stage < Stage::Published) else { return };
        let Some((epoch, order)) = seat.order.clone() else {
            if manner == Manner::Early && step == 0 {
                let (enc, ciphertext) = (Blob(vec![1; 32]), Blob(vec![2; 96]));
                self.release(project, (bid, 1, enc, ciphertext, false), Keys::Early, hands);
            }
            return;
        };
        let Some(parts) = seat.asked.clone() else { return };
        let Some(own) = self.upload_of(project, bid).and_then(|upload| upload.stock_bid(number)) else {
            return;
        };
        let right = keys_of(own, &parts);
        let wrong = |person: &mut Self| -> Vec<PartKey> {
            parts.iter().map(|_| some_other_key(&mut person.draw)).collect()
        };
        let (keys, to, epoch, by_backup, kind) = match (manner, step) {
            (Manner::Never, _) => return,
            (Manner::WrongOnly, 1..) => return,
            (Manner::WrongFirst | Manner::WrongOnly, 0) => (wrong(self), bid, epoch, false, Keys::Wrong),
            (Manner::KeysOfAnother, 0) => {
                let version = Make::Version(1);
                let other = stock().bid(project, number, version);
                let other = if std::ptr::eq(other, own) {
                    stock().bid(project, number, Make::Version(2))
                } else {
                    other
                };
                (keys_of(other, &parts), bid, epoch, false, Keys::Wrong)
            }
            (Manner::OtherEpoch, 0) => (right, bid, epoch + 1, false, Keys::OtherEpoch),
            (Manner::BackupUnasked, 0) => (right, bid, epoch, true, Keys::BackupUnasked),
            (Manner::OthersBid, 0) => {
                let other = self.seats.get(&project).and_then(|seat| seat.others.first().copied());
                (right, other.unwrap_or(bid), epoch, false, Keys::OthersBid)
            }
            (Manner::WrongToken, 0) => {
                let seen = String::from("令牌中没有该标书的密钥");
                let cause = FailureCause::WrongToken;
                self.step_on(project);
                return self.ask(Ask::ReportTrouble { project: id, bid, cause, seen }, hands);
            }
            (Manner::WrongToken, _) if !leave => return,
            _ => (right, bid, epoch, leave, Keys::Right),
        };
        let statement = own.header.statement_digest;
        let Some((enc, ciphertext)) = envelope_of(&order, &statement, &keys) else { return };
        self.release(project, (to, epoch, enc, ciphertext, by_backup), kind, hands);
    }

    fn step_on(&mut self, project: usize) {
        if let Some(seat) = self.seats.get_mut(&project) {
            seat.step += 1;
        }
    }

    fn release(
        &mut self,
        project: usize,
        (bid, epoch, enc, ciphertext, by_backup): (BidId, u32, Blob, Blob, bool),
        kind: Keys,
        hands: &mut Hands<'_>,
    ) {
        if let Some(seat) = self.seats.get_mut(&project) {
            seat.sent = kind;
        }
        let id = project_id(project);
        self.ask(Ask::ReleaseKeys { project: id, bid, epoch, enc, ciphertext, by_backup }, hands);
    }

    /// Its keys are kept.
    pub(super) fn keys_taken(&mut self, project: usize, ask: &Ask, hands: &mut Hands<'_>) {
        let Some(seat) = self.seats.get_mut(&project) else { return };
        seat.kept = true;
        if seat.manner == Manner::Twice && seat.step == 0 {
            seat.step = 1;
            seat.sent = Keys::Again;
            self.ask(ask.clone(), hands);
        }
    }

    /// Its keys were not taken.
    pub(super) fn keys_refused(
        &mut self,
        project: usize,
        ask: &Ask,
        code: RefusalCode,
        hands: &mut Hands<'_>,
    ) {
        let ms = self.draw.between(300, 4_000);
        let Some(seat) = self.seats.get_mut(&project) else { return };
        if !matches!(ask, Ask::ReleaseKeys { .. }) {
            return;
        }
        if !matches!(seat.sent, Keys::Right | Keys::Again) {
            seat.step += 1;
        } else if code != RefusalCode::OrderSuperseded && code != RefusalCode::BackupNotAdmitted {
            // Nothing that asking again would mend.
            return;
        }
        self.later(ms, Errand::Unseal { project }, hands);
    }
}

fn keys_of(bid: &StockBid, parts: &[PartName]) -> Vec<PartKey> {
    let lots: Vec<LotNo> = bid.sheets.keys().copied().collect();
    let has = |part: &&PartName| match part {
        PartName::Common => true,
        PartName::Lot(lot) => lots.contains(lot),
    };
    parts.iter().filter(has).map(|part| bid.part_key(*part)).collect()
}
