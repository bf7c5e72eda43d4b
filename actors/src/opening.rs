//! The actor of one opening: the shell around the engine's [`Opening`], which decides.
//!
//! It carries out what the machine says and tells it how that ended. What it holds itself are the secrets that
//! the machine only names: the one-time key of the order in force, envelopes on their way, bids that keys have
//! opened. They lie in its memory and nowhere else.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, fut::wrap_future};
use kaibiao_engine::{
    keeper::Done,
    reaction::opening::{
        BEAT_MS, Ended, EnvelopeEnd, EnvelopeNo, KeysOffered, Opening, OpeningAsk, OpeningInput,
        OpeningOutput, OpeningStep, Outage,
    },
};
use kaibiao_protocol::{
    bid::PartName,
    command::ProjectCommand,
    ids::BidId,
    refusal::{Refusal, RefusalCode},
};

use crate::{
    house::House,
    limits::AFTER_DEATH_MS,
    messages::{AnswerTo, KeysArrived, Published, ReleaseKeys},
    opening_steps::{
        Openable, Serving, ask, from_kept_keys, issue_order, note_served, open_envelope, read_sheets,
        served_until, sign, unseal,
    },
    refusals::refuse,
    slot::{Committed, Slot},
    stored_bid::Failure,
    tickets::Ticket,
};

/// The actor of one opening.
pub(crate) struct OpeningActor {
    slot: Arc<Slot>,
    house: House,
    machine: Opening,
    serving: Option<Arc<Serving>>,
    envelopes: BTreeMap<EnvelopeNo, OnItsWay>,
    next_envelope: u64,
    /// Bids that keys have opened and that are not checked yet.
    opened: BTreeMap<BidId, Openable>,
}

/// An envelope between arrival and answer.
struct OnItsWay {
    keys: ReleaseKeys,
    /// The keys under the store's key, once they were found to fit.
    wrapped: Option<Vec<u8>>,
    /// Open until the keys have their answer, so that the window waits for what came in time.
    ticket: Ticket,
    answer: AnswerTo<Result<Done, Refusal>>,
}

impl OpeningActor {
    pub(crate) fn new(slot: Arc<Slot>, house: House) -> Self {
        Self {
            slot,
            house,
            machine: Opening::default(),
            serving: None,
            envelopes: BTreeMap::new(),
            next_envelope: 0,
            opened: BTreeMap::new(),
        }
    }

    /// Gives the machine an input and carries out what it says.
    fn feed(&mut self, input: OpeningInput, ctx: &mut Context<Self>) {
        let committed = self.slot.committed().unwrap_or_default();
        let now = self.house.clock().present();
        let mut outputs = Vec::new();
        self.machine.handle(input, &committed.project, committed.seq, now, &mut outputs);
        for output in outputs {
            self.carry_out(output, &committed, ctx);
        }
    }

    fn carry_out(&mut self, output: OpeningOutput, committed: &Committed, ctx: &mut Context<Self>) {
        match output {
            OpeningOutput::IssueOrder { outage } => self.issue_order(outage, committed, ctx),
            OpeningOutput::OpenEnvelope { no, bid, parts } => {
                self.open_envelope(no, bid, parts, committed, ctx);
            }
            OpeningOutput::OpenKept { bid, parts } => self.open_kept(bid, parts, committed, ctx),
            OpeningOutput::Check { bid } => self.check(bid, committed, ctx),
            OpeningOutput::ReadSheets { bid, parts } => self.read_sheets(bid, parts, committed, ctx),
            OpeningOutput::Ask(asked) => self.ask(*asked, ctx),
            OpeningOutput::Sign(name) => {
                let (house, committed) = (self.house.clone(), committed.clone());
                let signing = async move { sign(&house, &committed, &name).await };
                self.then(signing, ctx, |actor, told, ctx| {
                    if let Err(refusal) = &told {
                        tracing::warn!(project = %actor.slot.id, code = refusal.code.as_str(), "no record was signed");
                    }
                    actor.feed(OpeningInput::Told { step: OpeningStep::Sign, told }, ctx);
                });
            }
            OpeningOutput::Answer { no, answer } => {
                if let Some(envelope) = self.envelopes.remove(&no) {
                    drop(envelope.ticket);
                    // Whoever asked may have gone away.
                    let _ = envelope.answer.send(answer);
                }
            }
            OpeningOutput::Ready => {
                self.slot.set_opening_ready(true);
                // A window's end may have been waiting for this.
                self.slot.wake();
            }
            OpeningOutput::NoteServed(at) => {
                self.slot.note_served(at);
                note_served(&self.house, &self.slot.id, at);
            }
            OpeningOutput::NoteFailure { bid, failure } => {
                let Failure { cause, evidence } = failure;
                tracing::warn!(project = %self.slot.id, %bid, ?cause, seen = %evidence.seen, "a bid does not open");
                self.house.metrics().note_failure(cause);
            }
            OpeningOutput::After { ms, what } => {
                let delay = Duration::from_millis(ms.unsigned_abs());
                ctx.run_later(delay, move |actor, ctx| actor.feed(OpeningInput::Later(what), ctx));
            }
            OpeningOutput::End => {
                // On purpose: nobody counts a restart.
                self.slot.actors().opening = None;
                ctx.stop();
            }
        }
    }

    fn issue_order(&self, outage: Outage, committed: &Committed, ctx: &mut Context<Self>) {
        let (house, slot, committed) = (self.house.clone(), self.slot.clone(), committed.clone());
        let issuing = async move {
            let down_since = match outage {
                Outage::None => None,
                Outage::Since(at) => Some(at),
                Outage::AsNoted => match slot.served_at() {
                    Some(at) => Some(at),
                    None => served_until(&house, &slot.id).await,
                },
            };
            issue_order(&house, &committed, down_since).await
        };
        self.then(issuing, ctx, |actor, issued, ctx| {
            let ended = match issued {
                Ok((serving, at)) => {
                    actor.slot.note_served(at);
                    let epoch = serving.epoch;
                    actor.serving = Some(Arc::new(serving));
                    Ok(epoch)
                }
                Err(refusal) => {
                    tracing::warn!(project = %actor.slot.id, code = refusal.code.as_str(), "no order was issued");
                    Err(refusal)
                }
            };
            actor.feed(OpeningInput::OrderEnded(ended), ctx);
        });
    }

    fn open_envelope(
        &mut self,
        no: EnvelopeNo,
        bid: BidId,
        parts: Vec<PartName>,
        committed: &Committed,
        ctx: &mut Context<Self>,
    ) {
        let Some((envelope, serving)) = self.envelopes.get_mut(&no).zip(self.serving.clone()) else { return };
        let (enc, ciphertext) =
            (std::mem::take(&mut envelope.keys.enc), std::mem::take(&mut envelope.keys.ciphertext));
        let (house, id) = (self.house.clone(), self.slot.id.clone());
        let facts = committed.project.bid(&bid).map(|bid| bid.facts.clone());
        let opening = async move {
            match facts {
                Some(facts) => open_envelope(&house, id, facts, parts, serving, enc, ciphertext).await,
                None => Err(EnvelopeEnd::NoRoom),
            }
        };
        self.then(opening, ctx, move |actor, opened, ctx| {
            let end = match (opened, actor.envelopes.get_mut(&no)) {
                (Ok((openable, wrapped)), Some(envelope)) => {
                    envelope.wrapped = Some(wrapped);
                    actor.opened.insert(bid, openable);
                    EnvelopeEnd::Fits
                }
                (Ok(_), None) => EnvelopeEnd::NoRoom,
                (Err(end), _) => end,
            };
            actor.feed(OpeningInput::EnvelopeOpened { no, end }, ctx);
        });
    }

    fn open_kept(&self, bid: BidId, parts: Vec<PartName>, committed: &Committed, ctx: &mut Context<Self>) {
        let Some(facts) = committed.project.bid(&bid).map(|bid| bid.facts.clone()) else { return };
        let (house, id) = (self.house.clone(), self.slot.id.clone());
        let opening = async move { from_kept_keys(&house, &id, facts, parts).await };
        self.then(opening, ctx, move |actor, opened, ctx| {
            let opened = opened.map(|opened| {
                opened.map(|openable| {
                    actor.opened.insert(bid, openable);
                })
            });
            actor.ended(opened, |end| OpeningInput::KeptOpened { bid, end }, ctx);
        });
    }

    fn check(&mut self, bid: BidId, committed: &Committed, ctx: &mut Context<Self>) {
        let facts = committed.project.bid(&bid).map(|bid| bid.facts.clone());
        let Some((facts, openable)) = facts.zip(self.opened.remove(&bid)) else { return };
        let (house, state) = (self.house.clone(), committed.clone());
        let started = Instant::now();
        let unsealing = async move { unseal(&house, &state, facts, openable).await };
        self.then(unsealing, ctx, move |actor, unsealed, ctx| {
            actor.house.metrics().unsealing_seconds.observe(started.elapsed().as_secs_f64());
            actor.ended(unsealed, |end| OpeningInput::Checked { bid, end }, ctx);
        });
    }

    fn read_sheets(&self, bid: BidId, parts: Vec<PartName>, committed: &Committed, ctx: &mut Context<Self>) {
        let Some(facts) = committed.project.bid(&bid).map(|bid| bid.facts.clone()) else { return };
        let (house, state, id) = (self.house.clone(), committed.project.clone(), self.slot.id.clone());
        let reading = async move {
            match from_kept_keys(&house, &id, facts.clone(), parts).await? {
                Ok(openable) => read_sheets(&house, state, facts, openable).await,
                Err(failure) => Some(Err(failure)),
            }
        };
        self.then(reading, ctx, move |actor, read, ctx| {
            actor.ended(read, |end| OpeningInput::SheetsRead { bid, end }, ctx);
        });
    }

    fn ask(&mut self, asked: OpeningAsk, ctx: &mut Context<Self>) {
        let step = asked.step;
        let wrapped = match step {
            OpeningStep::Accept(no) => self.envelopes.get_mut(&no).and_then(|one| one.wrapped.take()),
            OpeningStep::Report(_) | OpeningStep::Publish | OpeningStep::Sign => None,
        };
        let unsealed = matches!(asked.command, ProjectCommand::ReportUnsealed { .. });
        let (house, slot) = (self.house.clone(), self.slot.clone());
        let asking = async move { ask(&house, &slot, asked, wrapped).await };
        self.then(asking, ctx, move |actor, told, ctx| {
            actor.note_told(step, unsealed, &told);
            actor.feed(OpeningInput::Told { step, told }, ctx);
        });
    }

    fn note_told(&mut self, step: OpeningStep, unsealed: bool, told: &Result<Done, Refusal>) {
        let busy = told.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::Busy);
        if unsealed && !busy {
            self.house.metrics().unsealed.inc();
        }
        let (Err(refusal), project) = (told, &self.slot.id) else { return };
        let code = refusal.code.as_str();
        match step {
            OpeningStep::Accept(no) => {
                // What these keys opened is not to be checked.
                if let Some(envelope) = self.envelopes.get(&no) {
                    self.opened.remove(&envelope.keys.bid);
                }
            }
            OpeningStep::Report(_) if busy => {}
            OpeningStep::Report(bid) => {
                tracing::warn!(%project, %bid, code, "a verdict on a bid was refused");
            }
            OpeningStep::Publish => tracing::warn!(%project, code, "no record was published"),
            OpeningStep::Sign => tracing::warn!(%project, code, "no record was signed"),
        }
    }

    /// Tells how work on a bid ended. Work that was lost because the house stops is not told: the next start goes on.
    fn ended<T>(
        &mut self,
        work: Option<Result<T, Failure>>,
        input: impl FnOnce(Ended<T>) -> OpeningInput,
        ctx: &mut Context<Self>,
    ) {
        let end = match work {
            Some(Ok(whole)) => Ended::Whole(whole),
            Some(Err(failure)) => Ended::Failed(failure),
            None if self.house.is_stopping() => return,
            None => Ended::Lost,
        };
        self.feed(input(end), ctx);
    }

    /// Runs a piece of work beside the actor, then something with its end.
    fn then<T: 'static>(
        &self,
        work: impl Future<Output = T> + 'static,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut Self, T, &mut Context<Self>) + 'static,
    ) {
        ctx.spawn(wrap_future::<_, Self>(work).map(move |ended, actor, ctx| then(actor, ended, ctx)));
    }
}

impl Actor for OpeningActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.slot.set_opening_ready(false);
        self.feed(OpeningInput::Look, ctx);
        let beat = Duration::from_millis(BEAT_MS.unsigned_abs());
        ctx.run_interval(beat, |actor, ctx| actor.feed(OpeningInput::Beat, ctx));
    }
}

impl Drop for OpeningActor {
    fn drop(&mut self) {
        self.slot.set_opening_ready(false);
        if std::thread::panicking() && !self.house.is_stopping() {
            // Woken, the project's actor starts a new one.
            let slot = self.slot.clone();
            self.house.spawn(async move {
                tokio::time::sleep(Duration::from_millis(AFTER_DEATH_MS.unsigned_abs())).await;
                slot.wake();
            });
        }
    }
}

impl Handler<Published> for OpeningActor {
    type Result = ();

    fn handle(&mut self, _: Published, ctx: &mut Context<Self>) {
        self.feed(OpeningInput::Recorded, ctx);
    }
}

impl Handler<KeysArrived> for OpeningActor {
    type Result = ();

    fn handle(&mut self, message: KeysArrived, ctx: &mut Context<Self>) {
        let KeysArrived { keys, at, ticket, answer } = message;
        if self.slot.committed().is_none() {
            // Whoever asked may have gone away.
            let _ = answer.send(Err(refuse(RefusalCode::Busy)));
            return;
        }
        let no = EnvelopeNo(self.next_envelope);
        self.next_envelope += 1;
        let ReleaseKeys { bid, epoch, by_backup, ref asker, .. } = keys;
        let offered = KeysOffered { no, bid, epoch, by_backup, asker: asker.clone(), at };
        self.envelopes.insert(no, OnItsWay { keys, wrapped: None, ticket, answer });
        self.feed(OpeningInput::KeysArrived(offered), ctx);
    }
}

#[cfg(feature = "practice")]
impl Handler<crate::messages::Panic> for OpeningActor {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Panic, _: &mut Context<Self>) {
        panic!("told to, to see what follows");
    }
}
