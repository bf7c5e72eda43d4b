//! Openings: orders, keys arriving, bids being unsealed, the barrier, the record, as the machine of the engine says.
//!
//! The shell holds what is secret: the one-time key, the keys and the bids opened with them.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use kaibiao_actors::practice::{Openable, command_id, keys_from_bytes, keys_to_bytes};
use kaibiao_engine::{
    keeper::SideSpace,
    project::{Bid, Project},
    reaction::opening::{
        ASKER, BEAT_MS, CommandName, Ended, EnvelopeEnd, EnvelopeNo, Failure, KeysOffered, Opening,
        OpeningAsk, OpeningInput, OpeningOutput, OpeningStep, Outage, order_facts,
    },
    reaction::{tending::Drain, tickets::TicketNo},
};
use kaibiao_protocol::{
    bid::{BidFacts, FailureCause, PartName},
    blob::Blob,
    command::ProjectCommand,
    ids::{BidId, ProjectId},
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::Asker,
};
use kaibiao_sealed::{
    key::PartKey,
    order::{EnvelopeSuite, OpeningOrder, sign_order},
    platform_key::key_id,
    record::{record_digest, record_text, sign_record},
};

use super::{Hearer, Node, Told, Work, finals::put, projects::ProjectAsk, refuse, store::AppendOf, verdicts};
use crate::world::{
    stock::{open_envelope, stock},
    wire::ConnId,
};

/// An opening's actor.
pub(super) struct OpeningRun {
    pub(super) life: u64,
    core: Opening,
    serving: Option<Serving>,
    envelopes: BTreeMap<EnvelopeNo, KeysIn>,
    /// Bids whose keys fit, with what they open.
    openable: BTreeMap<BidId, Rc<Openable>>,
    /// Keys to be kept, by envelope.
    kept: BTreeMap<EnvelopeNo, Vec<u8>>,
}

/// An order that can be answered.
#[derive(Clone)]
pub(super) struct Serving {
    key: [u8; 32],
    epoch: u32,
}

/// Keys on their way.
pub(super) struct KeysIn {
    pub(super) conn: ConnId,
    pub(super) id: u64,
    pub(super) bid: BidId,
    pub(super) epoch: u32,
    pub(super) enc: Blob,
    pub(super) ciphertext: Blob,
    pub(super) by_backup: bool,
    pub(super) asker: Asker,
    pub(super) at: Moment,
    pub(super) ticket: TicketNo,
}

/// A piece of work of an opening.
pub(super) enum OpeningWork {
    Issue(Outage),
    Envelope { no: EnvelopeNo, bid: BidId, parts: Vec<PartName> },
    Kept { bid: BidId, parts: Vec<PartName> },
    Check { bid: BidId },
    Sheets { bid: BidId, parts: Vec<PartName> },
    Sign(CommandName),
}

impl Node {
    /// Starts a project's opening where none lives.
    pub(super) fn ensure_opening(&mut self, project: &ProjectId) {
        if self.slot(project).opening.is_some() {
            return;
        }
        let life = self.next_life();
        let slot = self.slot(project);
        slot.opening_ready = false;
        slot.opening = Some(OpeningRun {
            life,
            core: Opening::default(),
            serving: None,
            envelopes: BTreeMap::new(),
            openable: BTreeMap::new(),
            kept: BTreeMap::new(),
        });
        let input = Box::new(OpeningInput::Look);
        self.later(20, Work::Opening { project: project.clone(), life, input });
        self.later(BEAT_US, Work::Beat { project: project.clone(), life });
    }

    pub(super) fn opening_lives(&self, project: &ProjectId, life: u64) -> bool {
        let opening = self.slots.get(project).and_then(|slot| slot.opening.as_ref());
        opening.is_some_and(|opening| opening.life == life)
    }

    pub(super) fn beat(&mut self, project: &ProjectId, life: u64) {
        self.drive_opening(project, OpeningInput::Beat);
        if self.opening_lives(project, life) {
            self.later(BEAT_US, Work::Beat { project: project.clone(), life });
        }
    }

    /// An opening dies, with its one-time key and all it had in hand. Woken a little later, the project starts a new
    /// one.
    pub(super) fn opening_dies(&mut self, project: &ProjectId) {
        let Some(slot) = self.slots.get_mut(project) else { return };
        let Some(mut opening) = slot.opening.take() else { return };
        slot.opening_ready = false;
        for (_, keys) in std::mem::take(&mut opening.envelopes) {
            // They are not kept: the supplier's client sends them again.
            self.tell_done(keys.conn, keys.id, Err(refuse(RefusalCode::Busy)));
            self.settle(project, Drain::Envelopes, keys.ticket);
        }
        self.later(1_000_000, Work::Wake { project: project.clone() });
    }

    /// Keys that were stamped reach the opening.
    pub(super) fn keys_arrive(&mut self, project: &ProjectId, keys: KeysIn) {
        self.ensure_opening(project);
        let no = EnvelopeNo(self.next_life());
        let Some(opening) = self.slot(project).opening.as_mut() else { return };
        let life = opening.life;
        let offered = KeysOffered {
            no,
            bid: keys.bid,
            epoch: keys.epoch,
            by_backup: keys.by_backup,
            asker: keys.asker.clone(),
            at: keys.at,
        };
        opening.envelopes.insert(no, keys);
        let takes = self.draw.named("keys").of(offered.at.0 as u64).latency_us(30);
        let input = Box::new(OpeningInput::KeysArrived(offered));
        self.later(takes, Work::Opening { project: project.clone(), life, input });
    }

    /// Gives an opening an input and carries out what it says.
    pub(super) fn drive_opening(&mut self, project: &ProjectId, input: OpeningInput) {
        let now = self.clock.present();
        let Some(slot) = self.slots.get_mut(project) else { return };
        let Some((seq, state)) = slot.committed.clone() else { return };
        let Some(opening) = slot.opening.as_mut() else { return };
        let life = opening.life;
        let mut out = Vec::new();
        opening.core.handle(input, &state, seq, now, &mut out);
        for output in out {
            self.carry_out_opening(project, life, output);
        }
    }

    fn carry_out_opening(&mut self, project: &ProjectId, life: u64, output: OpeningOutput) {
        match output {
            OpeningOutput::IssueOrder { outage } => {
                self.opening_later(project, life, "order", 800, OpeningWork::Issue(outage));
            }
            OpeningOutput::OpenEnvelope { no, bid, parts } => {
                let work = OpeningWork::Envelope { no, bid, parts };
                self.opening_later(project, life, "envelope", 600, work);
            }
            OpeningOutput::OpenKept { bid, parts } => {
                self.opening_later(project, life, "kept", 600, OpeningWork::Kept { bid, parts });
            }
            OpeningOutput::Check { bid } => {
                self.opening_later(project, life, "unseal", 5_000, OpeningWork::Check { bid });
            }
            OpeningOutput::ReadSheets { bid, parts } => {
                self.opening_later(project, life, "sheets", 900, OpeningWork::Sheets { bid, parts });
            }
            OpeningOutput::Sign(name) => {
                self.opening_later(project, life, "sign", 500, OpeningWork::Sign(name));
            }
            OpeningOutput::Ask(ask) if ask.after_envelopes => self.drain_envelopes(project, life, ask),
            OpeningOutput::Ask(ask) => self.opening_asks(project, life, *ask),
            OpeningOutput::Answer { no, answer } => self.answer_envelope(project, no, answer),
            OpeningOutput::Ready => {
                self.slot(project).opening_ready = true;
                self.look(project);
            }
            OpeningOutput::NoteServed(at) => {
                let put = put(SideSpace::Served, project.to_string(), at.0.to_be_bytes().to_vec());
                self.append_side(vec![put], AppendOf::Nothing);
            }
            OpeningOutput::NoteFailure { .. } => {}
            OpeningOutput::After { ms, what } => {
                let us = u64::try_from(ms).unwrap_or(0) * 1_000;
                let input = Box::new(OpeningInput::Later(what));
                self.later(us, Work::Opening { project: project.clone(), life, input });
            }
            OpeningOutput::End => {
                let slot = self.slot(project);
                slot.opening = None;
                slot.opening_ready = false;
            }
        }
    }

    fn opening_later(
        &mut self,
        project: &ProjectId,
        life: u64,
        what: &str,
        usual_us: u64,
        work: OpeningWork,
    ) {
        let times = match &work {
            OpeningWork::Envelope { bid, .. }
            | OpeningWork::Kept { bid, .. }
            | OpeningWork::Check { bid }
            | OpeningWork::Sheets { bid, .. } => u64::from_be_bytes(*bid.0.first_chunk().expect("16 bytes")),
            OpeningWork::Issue(_) | OpeningWork::Sign(_) => 0,
        };
        let slow = if self.slow_work.1 > self.now { u64::from(self.slow_work.0) } else { 1 };
        let takes = self.draw.named(what).of(times).of(self.now.0).latency_us(usual_us) * slow;
        self.later(takes, Work::Errand { project: project.clone(), life, work });
    }

    /// Gives a command of the opening to its project.
    pub(super) fn opening_asks(&mut self, project: &ProjectId, life: u64, ask: OpeningAsk) {
        let at = ask.at.unwrap_or_else(|| self.clock.now());
        let side = match &ask.step {
            OpeningStep::Accept(no) => {
                let opening = self.slot(project).opening.as_mut();
                let kept = opening.and_then(|opening| {
                    let bid = opening.envelopes.get(no)?.bid;
                    Some((bid, opening.kept.get(no)?.clone()))
                });
                let kept = kept.map(|(bid, keys)| put(SideSpace::PartKeys, key_name(project, &bid), keys));
                kept.into_iter().collect()
            }
            OpeningStep::Report(_) | OpeningStep::Publish | OpeningStep::Sign => Vec::new(),
        };
        let hearer = Hearer::Opening { life, step: ask.step };
        let name = named(project, &ask.name);
        let ask = ProjectAsk::new(project.clone(), ASKER, at, name, ask.command, hearer).with(side);
        self.ask_project(ask);
    }

    fn answer_envelope(&mut self, project: &ProjectId, no: EnvelopeNo, answer: Told) {
        let Some(opening) = self.slot(project).opening.as_mut() else { return };
        let Some(keys) = opening.envelopes.remove(&no) else { return };
        opening.kept.remove(&no);
        self.tell_done(keys.conn, keys.id, answer);
        self.settle(project, Drain::Envelopes, keys.ticket);
    }

    /// A piece of work is done: its end goes back to the machine.
    pub(super) fn opening_work(&mut self, project: &ProjectId, work: OpeningWork) {
        let Some(state) = self.committed(project) else { return };
        let input = match work {
            OpeningWork::Issue(outage) => return self.issue_order(project, &state, outage),
            OpeningWork::Sign(name) => return self.sign(project, &state, &name),
            OpeningWork::Envelope { no, bid, parts } => {
                let end = self.open_envelope(project, &state, no, &bid, &parts);
                OpeningInput::EnvelopeOpened { no, end }
            }
            OpeningWork::Kept { bid, parts } => {
                let end = match self.open_kept(project, &state, &bid, &parts) {
                    Ok(openable) => {
                        self.hold(project, bid, openable);
                        Ended::Whole(())
                    }
                    Err(failure) => Ended::Failed(failure),
                };
                OpeningInput::KeptOpened { bid, end }
            }
            OpeningWork::Check { bid } => {
                let end = match self.check_bid(project, &state, &bid) {
                    Some(Ok(sheets)) => Ended::Whole(sheets),
                    Some(Err(failure)) => Ended::Failed(failure),
                    None => Ended::Lost,
                };
                OpeningInput::Checked { bid, end }
            }
            OpeningWork::Sheets { bid, parts } => {
                let read = self.open_kept(project, &state, &bid, &parts).and_then(|openable| {
                    let facts = facts_of(&state, &bid)?;
                    openable.sheets(&facts, &state)
                });
                let end = match read {
                    Ok(sheets) => Ended::Whole(sheets),
                    Err(failure) => Ended::Failed(failure),
                };
                OpeningInput::SheetsRead { bid, end }
            }
        };
        self.drive_opening(project, input);
    }

    fn issue_order(&mut self, project: &ProjectId, state: &Arc<Project>, outage: Outage) {
        let down_since = match outage {
            Outage::None => None,
            Outage::Since(at) => Some(at),
            Outage::AsNoted => self.store.served(project).max(self.served_before),
        };
        let Some(life) = self.slot(project).opening.as_ref().map(|opening| opening.life) else { return };
        let at = self.clock.now();
        let facts = state
            .spec()
            .ok_or_else(|| refuse(RefusalCode::Unknown))
            .and_then(|spec| order_facts(state, at, down_since).map(|facts| (spec, facts)));
        let (spec, facts) = match facts {
            Ok(facts) => facts,
            Err(refusal) => return self.drive_opening(project, OpeningInput::OrderEnded(Err(refusal))),
        };
        let mut draw = self.draw.named("one-time key").of(at.0 as u64);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&draw.id());
        key[16..].copy_from_slice(&draw.id());
        let order = OpeningOrder {
            project: project.clone(),
            kind: spec.kind,
            deadline: spec.deadline,
            deadline_moves: state.deadline_moves().to_vec(),
            epoch: facts.epoch,
            lots: facts.lots.into_iter().collect(),
            opening_key: key_id(stock().opening.public()),
            suite: EnvelopeSuite::X25519Sha256Aes256Gcm,
            hpke_public_key: Blob(key.to_vec()),
            start_signature: None,
            issued_at: at,
            window_closes_at: facts.window_closes_at,
        };
        let text = order.text();
        let signature = sign_order(&text, &stock().opening).to_vec();
        let serving = Serving { key, epoch: facts.epoch };
        let command = ProjectCommand::IssueOrder { epoch: facts.epoch, order: text, signature, down_since };
        let name = self.once(at);
        let hearer = Hearer::Order { life, serving };
        self.ask_project(ProjectAsk::new(project.clone(), ASKER, at, name, command, hearer));
    }

    pub(super) fn order_told(&mut self, project: &ProjectId, serving: Serving, told: Result<(), Refusal>) {
        let epoch = serving.epoch;
        if told.is_ok()
            && let Some(opening) = self.slot(project).opening.as_mut()
        {
            opening.serving = Some(serving);
        }
        self.drive_opening(project, OpeningInput::OrderEnded(told.map(|()| epoch)));
    }

    fn open_envelope(
        &mut self,
        project: &ProjectId,
        state: &Project,
        no: EnvelopeNo,
        bid: &BidId,
        parts: &[PartName],
    ) -> EnvelopeEnd {
        let facts = match facts_of(state, bid) {
            Ok(facts) => facts,
            Err(failure) => return EnvelopeEnd::Failed(failure),
        };
        let opening = self.slot(project).opening.as_ref();
        let found = opening.and_then(|opening| {
            let keys = opening.envelopes.get(&no)?;
            let serving = opening.serving.as_ref().filter(|serving| serving.epoch == keys.epoch)?;
            open_envelope(&serving.key, &keys.enc, &keys.ciphertext, &facts.statement_digest, parts)
        });
        let Some(keys) = found else { return EnvelopeEnd::NotForThisOrder };
        let keys: Vec<(PartName, PartKey)> = parts.iter().copied().zip(keys).collect();
        match self.open_stored(&facts, &keys) {
            Ok(openable) => {
                self.hold(project, *bid, openable);
                if let Some(opening) = self.slot(project).opening.as_mut() {
                    opening.kept.insert(no, keys_to_bytes(&keys).to_vec());
                }
                EnvelopeEnd::Fits
            }
            Err(failure) => EnvelopeEnd::Failed(failure),
        }
    }

    fn hold(&mut self, project: &ProjectId, bid: BidId, openable: Openable) {
        if let Some(opening) = self.slot(project).opening.as_mut() {
            opening.openable.insert(bid, Rc::new(openable));
        }
    }

    fn open_stored(&self, facts: &BidFacts, keys: &[(PartName, PartKey)]) -> Result<Openable, Failure> {
        verdicts::open_stored(&self.store.readable(self.now), facts, keys)
    }

    /// A bid whose keys are kept, opened again from the side table.
    fn open_kept(
        &self,
        project: &ProjectId,
        state: &Project,
        bid: &BidId,
        parts: &[PartName],
    ) -> Result<Openable, Failure> {
        let ours = |seen: &str| Failure::new(FailureCause::PlatformFault, seen);
        let facts = facts_of(state, bid)?;
        let kept = self.store.side(SideSpace::PartKeys, &key_name(project, bid));
        let kept = kept.ok_or_else(|| ours("the kept keys are gone"))?;
        let mut keys = keys_from_bytes(&kept).ok_or_else(|| ours("the kept keys are malformed"))?;
        keys.retain(|(part, _)| parts.contains(part));
        if keys.len() != parts.len() {
            return Err(ours("keys of parts being opened are not among those kept"));
        }
        self.open_stored(&facts, &keys)
    }

    fn check_bid(
        &mut self,
        project: &ProjectId,
        state: &Project,
        bid: &BidId,
    ) -> Option<Result<kaibiao_engine::reaction::opening::Sheets, Failure>> {
        let facts = facts_of(state, bid).ok()?;
        let openable = self.slot(project).opening.as_ref()?.openable.get(bid)?.clone();
        Some(openable.check(&facts, state))
    }

    fn sign(&mut self, project: &ProjectId, state: &Project, name: &CommandName) {
        let Some(life) = self.slot(project).opening.as_ref().map(|opening| opening.life) else { return };
        let Some((spec, record)) = state.spec().zip(state.record()) else {
            let told = Err(refuse(RefusalCode::NotPublished));
            return self.drive_opening(project, OpeningInput::Told { step: OpeningStep::Sign, told });
        };
        let text = record_text(spec, record);
        let digest = record_digest(&text);
        let signature = sign_record(&text, &stock().receipt).to_vec();
        let at = self.clock.now();
        let side = put(SideSpace::Receipt, format!("{project}/record"), text.into_bytes());
        let command = ProjectCommand::SignRecord { digest, signature };
        let hearer = Hearer::Opening { life, step: OpeningStep::Sign };
        let ask = ProjectAsk::new(project.clone(), ASKER, at, named(project, name), command, hearer);
        self.ask_project(ask.with(vec![side]));
    }
}

fn named(project: &ProjectId, name: &CommandName) -> kaibiao_protocol::ids::CommandId {
    let pieces = name.pieces(project);
    let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    command_id(&pieces)
}

fn facts_of(state: &Project, bid: &BidId) -> Result<Arc<BidFacts>, Failure> {
    let found: Option<&Bid> = state.bid(bid);
    found
        .map(|bid| bid.facts.clone())
        .ok_or_else(|| Failure::new(FailureCause::PlatformFault, "the bid is not in its project"))
}

/// Under which name a bid's kept keys lie.
fn key_name(project: &ProjectId, bid: &BidId) -> String {
    format!("{project}/{bid}")
}

const BEAT_US: u64 = BEAT_MS.unsigned_abs() * 1_000;
