//! Makes events true. What `decide` let through fits; a stored event that does not is a bug, and
//! going on with a state that never was would be worse than stopping.

use std::{collections::BTreeSet, mem, sync::Arc};

use kaibiao_protocol::{
    bid::{BidFacts, FailureCause},
    deadline::{ClockStep, DeadlineMove, Outage},
    event::{LotCount, ProjectEvent},
    ids::{BidId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    project::ProjectSpec,
    record::OpeningRecord,
    role::Asker,
    view::ObjectionRow,
};

use super::{
    Bid, Order, Project, RecordSignature, UploadFate,
    state::{
        AwaitingKeys, Closing, Counted, Desk, Desks, Ended, Failed, Inbox, Life, Live, Needs, Outcome, Place,
        Published, Settling, Signed, Signing, Stage, Supplier, give_back, mended_by,
    },
};
use crate::{
    planted::{Planted, planted},
    rules::RulePack,
};

/// Makes one event true.
pub(super) fn apply(project: &mut Project, event: &ProjectEvent, at: Moment) {
    match (&mut project.life, event) {
        (Life::Absent, ProjectEvent::ProjectCreated { spec, .. }) => {
            project.life = Life::Live(Box::new(Live::new(spec, at)));
        }
        (Life::Live(live), event) => live.apply(event, at),
        (Life::Absent, event) => unfit(event),
    }
}

fn unfit(event: &ProjectEvent) -> ! {
    panic!("the stored event {} does not fit the events before it", event.kind())
}

impl Live {
    fn new(spec: &ProjectSpec, created_at: Moment) -> Self {
        Live {
            pack: RulePack::named(&spec.rule_pack).expect("only a known rule pack is published"),
            spec: Arc::new(spec.clone()),
            inbox: Arc::default(),
            created_at,
            faults: Arc::default(),
            checked_in: BTreeSet::new(),
            objections: Vec::new(),
            stage: Stage::Receiving,
        }
    }

    fn apply(&mut self, event: &ProjectEvent, at: Moment) {
        match event {
            ProjectEvent::ProjectCreated { .. } => unfit(event),
            ProjectEvent::BidSubmitted { facts, received_at, .. } => {
                Arc::make_mut(&mut self.inbox).take_in(facts, *received_at);
            }
            ProjectEvent::UploadRefused { upload, supplier, size_bytes, received_at, code } => {
                let (size_bytes, received_at, code) = (*size_bytes, *received_at, *code);
                let fate = UploadFate::Refused { supplier: supplier.clone(), size_bytes, received_at, code };
                Arc::make_mut(&mut self.inbox).judge(*upload, supplier, fate);
            }
            ProjectEvent::BidWithdrawn { bid, .. } => Arc::make_mut(&mut self.inbox).withdraw(bid),
            ProjectEvent::DeadlineMoved { from, deadline, ground, .. } => {
                let faults = Arc::make_mut(&mut self.faults);
                faults.moves.push(DeadlineMove { from: *from, to: *deadline, ground: *ground, at });
                // What was waited for has been done.
                faults.held_until = None;
                Arc::make_mut(&mut self.spec).deadline = *deadline;
            }
            ProjectEvent::OutageRecorded { from, until, held_until } => {
                let faults = Arc::make_mut(&mut self.faults);
                faults.outages.push(Outage { from: *from, until: *until, held_until: *held_until });
                faults.held_until = Some(*held_until);
            }
            ProjectEvent::ClockStepped { step_ms, divergence_ms } => {
                let step = ClockStep { at, step_ms: *step_ms, divergence_ms: *divergence_ms };
                Arc::make_mut(&mut self.faults).clock_steps.push(step);
            }
            ProjectEvent::ReceivingClosed { lots } => self.close_receiving(lots),
            ProjectEvent::OpeningStarted { .. } => match mem::take(&mut self.stage) {
                Stage::AwaitingStart(counted) => self.stage = Stage::AwaitingOrder(counted),
                _ => unfit(event),
            },
            ProjectEvent::OrderIssued { epoch, order, signature, window_closes_at, down_since } => {
                let order = Order { epoch: *epoch, text: order.clone(), signature: signature.clone() };
                self.issue_order(Arc::new(order), *window_closes_at, *down_since, at, event);
            }
            ProjectEvent::KeysAccepted { bid, by_backup, .. } => {
                self.desk(bid, event).accept_keys(*by_backup);
            }
            ProjectEvent::BidUnsealed { bid } => self.desk(bid, event).unseal(event),
            ProjectEvent::BidFailed { bid, cause, grace_until, .. } => {
                let needs = mended_by(*cause, self.spec.backup);
                self.desk(bid, event).fail(*cause, *grace_until, needs);
            }
            ProjectEvent::WindowExtended { window_closes_at, minutes, .. } => match &mut self.stage {
                Stage::AwaitingKeys(stage) => {
                    stage.closes_at = *window_closes_at;
                    stage.minutes += minutes;
                }
                _ => unfit(event),
            },
            ProjectEvent::WindowClosed { no_shows, .. } => self.close_window(no_shows, at, event),
            ProjectEvent::GraceEnded { bids } => {
                bids.iter().for_each(|bid| self.desk(bid, event).lapsed = true);
            }
            ProjectEvent::BackupAdmitted { bid, until, .. } => self.desk(bid, event).admit(*until, event),
            ProjectEvent::BidRestored { bid, file } => {
                self.desk(bid, event).restore(event);
                let inbox = Arc::make_mut(&mut self.inbox);
                let bid = inbox.bids.get_mut(bid).unwrap_or_else(|| unfit(event));
                Arc::make_mut(&mut bid.facts).file = *file;
            }
            ProjectEvent::RecordsPublished { record } => self.publish(record, event),
            ProjectEvent::RecordSigned { digest, signature } => match &mut self.stage {
                Stage::Published(Published { signing: signing @ Signing::Unsigned, .. }) => {
                    let confirm_until = at.plus_minutes(self.spec.confirm_minutes);
                    let signature =
                        RecordSignature { digest: *digest, signature: signature.clone(), confirm_until };
                    *signing = Signing::Signed(Signed {
                        signature,
                        confirmed: BTreeSet::new(),
                        deemed: BTreeSet::new(),
                    });
                }
                _ => unfit(event),
            },
            ProjectEvent::CheckedIn { by } => match by {
                Asker::Person { organisation, .. } => {
                    self.checked_in.insert(organisation.clone());
                }
                Asker::Platform { .. } => unfit(event),
            },
            ProjectEvent::RowReadOut { lot, no } => match &mut self.stage {
                Stage::Published(stage) => {
                    stage.outcome.read_out.insert((*lot, *no));
                }
                _ => unfit(event),
            },
            ProjectEvent::ObjectionRaised { no, kind, lot, text, by } => {
                let Asker::Person { organisation, .. } = by else { unfit(event) };
                let (organisation, text) = (organisation.clone(), text.clone());
                let (no, kind, lot) = (*no, *kind, *lot);
                let row = ObjectionRow { no, kind, lot, organisation, text, answer: None };
                self.objections.push(Arc::new(row));
            }
            ProjectEvent::ObjectionAnswered { no, text, .. } => {
                let mut asked = self.objections.iter_mut();
                let row = asked.find(|row| row.no == *no).unwrap_or_else(|| unfit(event));
                Arc::make_mut(row).answer = Some(text.clone());
            }
            ProjectEvent::RecordConfirmed { supplier, .. } => {
                self.signed_mut(event).confirmed.insert(supplier.clone());
            }
            ProjectEvent::ConfirmationsDeemed { suppliers } => {
                self.signed_mut(event).deemed.extend(suppliers.iter().cloned());
            }
            ProjectEvent::OpeningEnded { .. } => match mem::take(&mut self.stage) {
                Stage::Published(Published { outcome, signing: Signing::Signed(signed) }) => {
                    self.stage = Stage::Ended(Ended { outcome, signed });
                }
                _ => unfit(event),
            },
        }
    }

    fn desk(&mut self, bid: &BidId, event: &ProjectEvent) -> &mut Desk {
        let desks = match &mut self.stage {
            Stage::AwaitingKeys(stage) => &mut stage.desks,
            Stage::Settling(stage) => &mut stage.desks,
            Stage::Receiving
            | Stage::AwaitingStart(_)
            | Stage::AwaitingOrder(_)
            | Stage::Published(_)
            | Stage::Ended(_) => unfit(event),
        };
        desks.get_mut(bid).unwrap_or_else(|| unfit(event))
    }

    fn signed_mut(&mut self, event: &ProjectEvent) -> &mut Signed {
        match &mut self.stage {
            Stage::Published(Published { signing: Signing::Signed(signed), .. }) => signed,
            _ => unfit(event),
        }
    }

    fn close_receiving(&mut self, lots: &std::collections::BTreeMap<LotNo, LotCount>) {
        let standing = self.inbox.standing();
        let bids = standing.iter().map(|bid| bid.facts.bid).collect();
        let bidders = standing.iter().map(|bid| bid.facts.supplier.clone()).collect();
        let any_opens = lots.values().any(|count| count.opens);
        let counted = Arc::new(Counted { lots: lots.clone(), bids, bidders });
        self.stage = if any_opens {
            Stage::AwaitingStart(counted)
        } else {
            // Nothing to open: no key is asked for, the records say so at once.
            Stage::Settling(Settling { counted, desks: Desks::new(), closing: Closing::NothingToOpen })
        };
    }

    fn issue_order(
        &mut self,
        order: Arc<Order>,
        window_closes_at: Moment,
        down_since: Option<Moment>,
        at: Moment,
        event: &ProjectEvent,
    ) {
        if matches!(self.stage, Stage::AwaitingOrder(_)) {
            let desks = self.bids_being_opened().map(|bid| (bid.facts.bid, Desk::new())).collect();
            let minutes = self.spec.window_minutes;
            let Stage::AwaitingOrder(counted) = mem::take(&mut self.stage) else { unfit(event) };
            let closes_at = window_closes_at;
            self.stage = Stage::AwaitingKeys(AwaitingKeys { counted, desks, order, closes_at, minutes });
            return;
        }
        let desks = match &mut self.stage {
            Stage::AwaitingKeys(stage) => {
                stage.order = order;
                stage.closes_at = window_closes_at;
                &mut stage.desks
            }
            Stage::Settling(Settling { desks, closing: Closing::Closed { order: current, .. }, .. }) => {
                *current = order;
                desks
            }
            _ => unfit(event),
        };
        desks.values_mut().for_each(|desk| desk.give_back(down_since, at));
    }

    fn close_window(&mut self, no_shows: &[BidId], at: Moment, event: &ProjectEvent) {
        let Stage::AwaitingKeys(AwaitingKeys { counted, mut desks, order, closes_at, .. }) =
            mem::take(&mut self.stage)
        else {
            unfit(event)
        };
        for bid in no_shows {
            desks.get_mut(bid).unwrap_or_else(|| unfit(event)).lapsed = true;
        }
        // Closed early, it ended when that was decided; else at its appointed end, however late the
        // timer came.
        let closing = Closing::Closed { order, at: closes_at.min(at) };
        self.stage = Stage::Settling(Settling { counted, desks, closing });
    }

    fn publish(&mut self, record: &OpeningRecord, event: &ProjectEvent) {
        let Stage::Settling(Settling { counted, desks, closing }) = mem::take(&mut self.stage) else {
            unfit(event)
        };
        let record = Arc::new(record.clone());
        let outcome = Outcome { counted, desks, closing, record, read_out: BTreeSet::new() };
        self.stage = Stage::Published(Published { outcome, signing: Signing::Unsigned });
    }
}

impl Inbox {
    fn take_in(&mut self, facts: &BidFacts, received_at: Moment) {
        let bid = facts.bid;
        for part in &facts.parts {
            self.ciphertexts.entry(part.ciphertext).or_insert_with(|| facts.supplier.clone());
        }
        let supplier = self.judge(facts.upload, &facts.supplier, UploadFate::Received(bid));
        let wins = if planted(Planted::EarlierStampWins) {
            supplier.standing.is_none()
        } else {
            supplier.latest <= received_at
        };
        if wins {
            supplier.latest = received_at;
            supplier.standing = Some(bid);
        }
        self.bids.insert(bid, Bid { facts: Arc::new(facts.clone()), received_at });
    }

    fn judge(&mut self, upload: UploadId, supplier: &OrganisationId, fate: UploadFate) -> &mut Supplier {
        self.uploads.insert(upload, fate);
        let nothing_yet = || Supplier { latest: Moment(i64::MIN), standing: None, uploads: 0 };
        let supplier = self.suppliers.entry(supplier.clone()).or_insert_with(nothing_yet);
        supplier.uploads = supplier.uploads.saturating_add(1);
        supplier
    }

    fn withdraw(&mut self, bid: &BidId) {
        if planted(Planted::WithdrawnStands) {
            return;
        }
        for supplier in self.suppliers.values_mut() {
            if supplier.standing == Some(*bid) {
                supplier.standing = None;
            }
        }
    }
}

impl Desk {
    fn accept_keys(&mut self, by_backup: bool) {
        match &mut self.place {
            // Keys alone do not help: the sealed bytes are still to be restored.
            Place::Failed(failed) | Place::AwaitingBackup { failed, .. }
                if failed.needs == Needs::Restoring =>
            {
                failed.kept_by_backup = Some(by_backup);
            }
            Place::AwaitingKeys
            | Place::Failed(_)
            | Place::AwaitingBackup { .. }
            | Place::Unsealing { .. }
            | Place::Unsealed { .. }
            | Place::Final { .. } => {
                self.place = Place::Unsealing { by_backup };
                self.lapsed = false;
            }
        }
    }

    fn unseal(&mut self, event: &ProjectEvent) {
        match self.place {
            Place::Unsealing { by_backup } => self.place = Place::Unsealed { by_backup },
            Place::AwaitingKeys
            | Place::Unsealed { .. }
            | Place::Failed(_)
            | Place::AwaitingBackup { .. }
            | Place::Final { .. } => unfit(event),
        }
    }

    fn fail(&mut self, cause: FailureCause, grace_until: Moment, needs: Option<Needs>) {
        self.failures += 1;
        let Some(needs) = needs else {
            self.place = Place::Final { cause };
            return;
        };
        let kept_by_backup = match &self.place {
            Place::Unsealing { by_backup } | Place::Unsealed { by_backup } => Some(*by_backup),
            Place::Failed(failed) | Place::AwaitingBackup { failed, .. } => failed.kept_by_backup,
            Place::AwaitingKeys | Place::Final { .. } => None,
        };
        let failed = Failed { cause, grace_until, needs, kept_by_backup };
        self.place = match self.place {
            // The agent's leave lasts: it was given for this bid, not for one cause.
            Place::AwaitingBackup { until, .. } => Place::AwaitingBackup { failed, until },
            Place::AwaitingKeys
            | Place::Unsealing { .. }
            | Place::Unsealed { .. }
            | Place::Failed(_)
            | Place::Final { .. } => Place::Failed(failed),
        };
    }

    fn admit(&mut self, until: Moment, event: &ProjectEvent) {
        match mem::replace(&mut self.place, Place::AwaitingKeys) {
            Place::Failed(failed) => self.place = Place::AwaitingBackup { failed, until },
            _ => unfit(event),
        }
    }

    /// The bytes are whole again; with the keys at hand the bid can be unsealed, else they are awaited.
    fn restore(&mut self, event: &ProjectEvent) {
        let Place::AwaitingBackup { failed, .. } = &mut self.place else { unfit(event) };
        match failed.kept_by_backup {
            Some(by_backup) => {
                self.place = Place::Unsealing { by_backup };
                self.lapsed = false;
            }
            None => failed.needs = Needs::Keys,
        }
    }

    fn give_back(&mut self, down_since: Option<Moment>, at: Moment) {
        match &mut self.place {
            Place::Failed(failed) => failed.grace_until = give_back(failed.grace_until, down_since, at),
            Place::AwaitingBackup { failed, until } => {
                failed.grace_until = give_back(failed.grace_until, down_since, at);
                *until = give_back(*until, down_since, at);
            }
            Place::AwaitingKeys | Place::Unsealing { .. } | Place::Unsealed { .. } | Place::Final { .. } => {}
        }
    }
}
