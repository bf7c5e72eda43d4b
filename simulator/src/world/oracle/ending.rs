//! At the end: the journal is whole, it is what people saw and were told, and nothing acknowledged is missing.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_engine::{
    invariants::{Holds, Watch},
    keeper::Recorded,
    visibility::{Audience, RoomLog},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    frame::Ask,
    ids::{BidId, OrganisationId, UploadId},
    moment::Moment,
    role::Asker,
    view::{OwnEvent, RoomEvent, UploadVerdict, ViewEvent},
};

use super::{ProjectFacts, View, answers::Answers, ensure, finals::Finals, streams::Streams};
use crate::world::{
    people::number_of,
    plan::Who,
    stock::{SUPPLIERS, stock},
};

/// A project's stream as it lies on the disk.
pub(super) struct Journal<'a> {
    pub(super) number: usize,
    pub(super) facts: &'a ProjectFacts,
    pub(super) records: &'a [Recorded<ProjectEvent>],
}

impl Journal<'_> {
    pub(super) fn holds(&self, streams: &Streams, finals: &Finals, answers: &Answers) -> Holds {
        self.is_whole()?;
        let mut watch = Watch::new();
        self.records.iter().try_for_each(|record| watch.take(record.at, &record.event))?;
        self.is_what_was_seen(streams)?;
        self.has_every_verdict(finals)?;
        self.counts_whom_it_should(streams, finals, answers)?;
        answers.done().iter().try_for_each(|told| self.has(told.who, &told.ask, told.at))
    }

    fn events(&self) -> impl Iterator<Item = (Moment, &ProjectEvent)> {
        self.records.iter().map(|record| (record.at, &record.event))
    }

    fn is_whole(&self) -> Holds {
        let numbered = self.records.iter().map(|record| record.seq).eq((1..).take(self.records.len()));
        ensure("durable", numbered, || format!("the records of {} have a gap", self.facts.spec.id))
    }

    /// KB-3: what anybody heard is a prefix of its projection of the journal.
    fn is_what_was_seen(&self, streams: &Streams) -> Holds {
        let mut log = RoomLog::new();
        let mut due: BTreeMap<View, Vec<(Moment, ViewEvent)>> = BTreeMap::new();
        let number_by: BTreeMap<&OrganisationId, usize> =
            (0..SUPPLIERS).map(|number| (&stock().supplier(number).organisation, number)).collect();
        for (at, event) in self.events() {
            let projected = log.push(event, at);
            for (view, audience) in [(View::Staff, Audience::Staff), (View::Room, Audience::Room)] {
                let of = projected.of(audience).iter().cloned();
                due.entry(view).or_default().extend(of.map(|event| (at, ViewEvent::Room(event))));
            }
            for (owner, event) in projected.own {
                let Some(number) = number_by.get(&owner) else { continue };
                due.entry(View::Own(*number)).or_default().push((at, ViewEvent::Own(event)));
            }
        }
        for (view, told) in streams.all(self.number) {
            let due = due.get(&view).map_or(&[][..], |due| due);
            for (place, notice) in told.iter().enumerate() {
                let same =
                    due.get(place).is_some_and(|(at, event)| *at == notice.at && *event == notice.event);
                ensure("KB-3", same, || {
                    format!(
                        "{view:?} heard as event {} of {} what is not in the journal: {:?}",
                        place + 1,
                        self.facts.spec.id,
                        notice.event
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Every final judged is in the journal once, with the stamp that was told; and nothing else is.
    fn has_every_verdict(&self, finals: &Finals) -> Holds {
        let mut received: BTreeMap<UploadId, (BidId, Moment)> = BTreeMap::new();
        let mut refused: BTreeSet<UploadId> = BTreeSet::new();
        for (_, event) in self.events() {
            match event {
                ProjectEvent::BidSubmitted { facts, received_at, .. } => {
                    let again = received.insert(facts.upload, (facts.bid, *received_at));
                    ensure("KB-4", again.is_none(), || format!("upload {} is received twice", facts.upload))?;
                    let handed = finals.get(&facts.upload).map(|one| &one.handed);
                    let own = handed.is_some_and(|handed| {
                        handed.project == self.number
                            && stock().supplier(handed.supplier).organisation == facts.supplier
                    });
                    ensure("receipt", own, || {
                        format!("the journal has a bid of {} that it did not hand in", facts.supplier)
                    })?;
                    let bytes =
                        handed.and_then(|handed| handed.stock_bid()).map(|own| own.header.header_digest);
                    ensure("receipt", bytes == Some(facts.header_digest), || {
                        format!("the journal has other bytes of {} than it handed in", facts.supplier)
                    })?;
                }
                ProjectEvent::UploadRefused { upload, .. } => {
                    let new = refused.insert(*upload);
                    ensure("verdict", new, || format!("upload {upload} is refused twice"))?;
                }
                _ => {}
            }
        }
        ensure("verdict", received.keys().all(|upload| !refused.contains(upload)), || {
            "an upload is received and refused".to_owned()
        })?;
        for one in finals.of(self.number) {
            let upload = one.handed.upload;
            match &one.verdict {
                Some(UploadVerdict::Received { bid, .. }) => {
                    let stored = received.get(&upload).copied();
                    ensure("durable", stored == one.stamp.map(|stamp| (*bid, stamp)), || {
                        format!(
                            "{} supplier {} has a receipt of bid {bid}, and the journal has {stored:?}",
                            one.handed.project_words(),
                            one.handed.supplier
                        )
                    })?;
                }
                Some(UploadVerdict::Refused { notice: Some(_), .. }) => {
                    ensure("durable", refused.contains(&upload), || {
                        format!(
                            "{} supplier {} has a signed refusal that the journal does not know",
                            one.handed.project_words(),
                            one.handed.supplier
                        )
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Who stands at the deadline by the receipts that people hold: of each supplier the latest stamp, unless it was
    /// withdrawn. In the order of the stamps.
    fn counts_whom_it_should(&self, streams: &Streams, finals: &Finals, answers: &Answers) -> Holds {
        let told = streams.of(self.number, View::Staff).iter().find_map(|notice| match &notice.event {
            ViewEvent::Room(RoomEvent::ReceivingClosed { bidders, .. }) => Some(bidders),
            _ => None,
        });
        let Some(told) = told else { return Ok(()) };
        let mut withdrawn: BTreeSet<BidId> = self
            .events()
            .filter_map(|(_, event)| match event {
                ProjectEvent::BidWithdrawn { bid, .. } => Some(*bid),
                _ => None,
            })
            .collect();
        for done in answers.done() {
            if let Ask::WithdrawBid { bid, .. } = &done.ask {
                withdrawn.insert(*bid);
            }
        }
        // Each supplier follows its own stream: what it was not told by a verdict it heard there.
        let mut latest: BTreeMap<usize, (Moment, BidId)> = BTreeMap::new();
        let mut take = |supplier: usize, at: Moment, bid: BidId| {
            let known = latest.entry(supplier).or_insert((at, bid));
            *known = (*known).max((at, bid));
        };
        for one in finals.of(self.number) {
            if let (Some(UploadVerdict::Received { bid, .. }), Some(stamp)) = (&one.verdict, one.stamp) {
                take(one.handed.supplier, stamp, *bid);
            }
        }
        for (view, notices) in streams.all(self.number) {
            let View::Own(supplier) = view else { continue };
            for notice in notices {
                if let ViewEvent::Own(OwnEvent::BidReceived { bid, received_at, .. }) = &notice.event {
                    take(supplier, *received_at, *bid);
                }
            }
        }
        let mut due: Vec<(Moment, BidId)> = latest.into_values().collect();
        due.retain(|(_, bid)| !withdrawn.contains(bid));
        due.sort();
        let due: Vec<BidId> = due.into_iter().map(|(_, bid)| bid).collect();
        let counted: Vec<BidId> = told.iter().map(|one| one.bid).collect();
        ensure("KB-4", counted == due, || {
            format!("{} counts {counted:?}; by the receipts {due:?} stood", self.facts.spec.id)
        })
    }

    /// What somebody was told is done is in the journal.
    fn has(&self, who: Who, ask: &Ask, at: Moment) -> Holds {
        let of = |project| number_of(project) == self.number;
        let by = |asker: &Asker| match (asker, who) {
            (Asker::Person { organisation, .. }, Who::Supplier(number)) => {
                *organisation == stock().supplier(number).organisation
            }
            (Asker::Person { organisation, .. }, Who::Agent) => *organisation == stock().agent().organisation,
            (Asker::Person { organisation, .. }, Who::Supervisor) => {
                *organisation == stock().supervisor().organisation
            }
            (Asker::Platform { .. }, _) => false,
        };
        // By an event of this very stamp, or of any where asking again changes nothing: of two under way the one
        // stamped later may be decided first.
        let found = |like: &dyn Fn(&ProjectEvent) -> bool| self.events().any(|(_, event)| like(event));
        let exactly = |like: &dyn Fn(&ProjectEvent) -> bool| {
            self.events().any(|(stamp, event)| stamp == at && like(event))
        };
        let there = match ask {
            Ask::WithdrawBid { project, bid, .. } if of(project) => found(
                &|event| matches!(event, ProjectEvent::BidWithdrawn { bid: stored, .. } if stored == bid),
            ),
            Ask::CheckIn { project } if of(project) => {
                found(&|event| matches!(event, ProjectEvent::CheckedIn { by: stored } if by(stored)))
            }
            Ask::ReleaseKeys { project, bid, .. } if of(project) => found(
                &|event| matches!(event, ProjectEvent::KeysAccepted { bid: stored, .. } if stored == bid),
            ),
            Ask::ReportTrouble { project, bid, .. } if of(project) => {
                found(&|event| matches!(event, ProjectEvent::BidFailed { bid: stored, .. } if stored == bid))
            }
            Ask::StartOpening { project, .. } if of(project) => {
                found(&|event| matches!(event, ProjectEvent::OpeningStarted { .. }))
            }
            Ask::ExtendWindow { project, .. } if of(project) => {
                exactly(&|event| matches!(event, ProjectEvent::WindowExtended { .. }))
            }
            Ask::CloseWindow { project, .. } if of(project) => {
                found(&|event| matches!(event, ProjectEvent::WindowClosed { .. }))
            }
            Ask::AdmitBackup { project, bid, .. } if of(project) => found(
                &|event| matches!(event, ProjectEvent::BackupAdmitted { bid: stored, .. } if stored == bid),
            ),
            Ask::ReadOutRow { project, lot, no } if of(project) => found(
                &|event| matches!(event, ProjectEvent::RowReadOut { lot: stored, no: row } if stored == lot && row == no),
            ),
            Ask::Object { project, .. } if of(project) => exactly(
                &|event| matches!(event, ProjectEvent::ObjectionRaised { by: stored, .. } if by(stored)),
            ),
            Ask::AnswerObjection { project, no, .. } if of(project) => found(
                &|event| matches!(event, ProjectEvent::ObjectionAnswered { no: stored, .. } if stored == no),
            ),
            Ask::EndOpening { project } if of(project) => {
                found(&|event| matches!(event, ProjectEvent::OpeningEnded { .. }))
            }
            _ => return Ok(()),
        };
        ensure("durable", there, || {
            format!("{who:?} was told that this is done, and the journal has it not: {ask:?}")
        })
    }
}
