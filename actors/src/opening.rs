//! The actor of one opening: from the first order to the signed record.
//!
//! It reacts to committed state alone: what is to be done the engine says, and this actor remembers only what it
//! has in hand. So it may die at any point: a new one looks at the same state, issues an order with a key of its
//! own, asks only for keys that were not acknowledged, and goes on.
//!
//! It holds every bid sheet back until all bids are settled; they lie in its memory and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, fut::wrap_future};
use kaibiao_engine::reaction::opening_todo;
use kaibiao_protocol::{
    bid::FailureCause,
    ids::BidId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::{BidStatus, ProjectStatus},
};

use crate::{
    house::House,
    limits::{AFTER_DEATH_MS, LOOK_TOGETHER, RETRY, SERVED_EVERY_MS},
    messages::{KeysArrived, Published, ReleaseKeys},
    opening_steps::{
        Openable, Serving, Unsealed, from_kept_keys, issue_order, keep_keys, note_served, own_bid, publish,
        read_sheets, report_failure, report_unsealed, served_until, sign, unseal, would_accept,
    },
    refusals::refuse,
    slot::{Committed, Slot},
    stored_bid::{Failure, Sheets},
};

/// The actor of one opening.
pub(crate) struct OpeningActor {
    slot: Arc<Slot>,
    house: House,
    serving: Option<Arc<Serving>>,
    issuing: bool,
    /// Bids whose keys are being checked, or that are being unsealed or read.
    in_hand: BTreeSet<BidId>,
    /// The sheets of unsealed bids, held back until the barrier.
    sheets: BTreeMap<BidId, Sheets>,
    /// Whether the bids reported unsealed before this actor started were looked for.
    caught_up: bool,
    /// The record is being published or signed.
    concluding: bool,
    /// A look is ordered already.
    look_ordered: bool,
}

impl OpeningActor {
    pub(crate) fn new(slot: Arc<Slot>, house: House) -> Self {
        Self {
            slot,
            house,
            serving: None,
            issuing: false,
            in_hand: BTreeSet::new(),
            sheets: BTreeMap::new(),
            caught_up: false,
            concluding: false,
            look_ordered: false,
        }
    }

    /// Looks a moment later, once for all that happens until then: a room of hundreds has hundreds of verdicts in
    /// the same instant, and a look goes over every bid.
    fn look_soon(&mut self, ctx: &mut Context<Self>) {
        if !self.look_ordered {
            self.look_ordered = true;
            ctx.run_later(LOOK_TOGETHER, |actor, ctx| actor.look(ctx));
        }
    }

    /// Does what the committed state asks for and is not in hand.
    fn look(&mut self, ctx: &mut Context<Self>) {
        self.look_ordered = false;
        let Some(committed) = self.slot.committed() else { return };
        if is_over(&committed) {
            self.end(ctx);
            return;
        }
        let todo = opening_todo(&committed.project);
        self.look_after_order(&committed, todo.issue_order, ctx);
        for bid in todo.unseal {
            self.go_on_unsealing(&committed, bid, ctx);
        }
        if todo.publish || !self.caught_up {
            self.caught_up = true;
            self.read_missing_sheets(&committed, ctx);
        }
        if todo.publish && !self.concluding {
            self.publish_if_complete(committed, ctx);
        } else if todo.sign && !self.concluding {
            self.concluding = true;
            let house = self.house.clone();
            let signing = async move { sign(&house, &committed).await };
            self.then_look(signing, ctx, |actor, signed| {
                actor.concluding = false;
                if let Err(refusal) = signed {
                    tracing::warn!(project = %actor.slot.id, code = refusal.code.as_str(), "no record was signed");
                }
            });
        }
    }

    /// Sees to it that an order can be answered while keys are awaited. The window does not elapse before that.
    fn look_after_order(&mut self, committed: &Committed, first: bool, ctx: &mut Context<Self>) {
        if self.serving.is_some() || self.issuing {
            return;
        }
        if !first && !committed.project.keys_awaited() {
            self.become_ready();
            return;
        }
        self.issuing = true;
        let (house, slot, committed) = (self.house.clone(), self.slot.clone(), committed.clone());
        let issuing = async move {
            let down_since = match slot.served_at() {
                _ if first => None,
                Some(at) => Some(at),
                None => served_until(&house, &slot.id).await,
            };
            issue_order(&house, &committed, down_since).await
        };
        self.then_look(issuing, ctx, |actor, issued| {
            actor.issuing = false;
            match issued {
                Ok(serving) => {
                    actor.serving = Some(Arc::new(serving));
                    actor.become_ready();
                }
                Err(refusal) => {
                    tracing::warn!(project = %actor.slot.id, code = refusal.code.as_str(), "no order was issued");
                }
            }
        });
    }

    fn become_ready(&self) {
        self.slot.note_served(self.house.clock().present());
        if !self.slot.opening_is_ready() {
            self.slot.set_opening_ready(true);
            // A window's end may have been waiting for this.
            self.slot.wake();
        }
    }

    /// Unseals a bid whose keys are kept, unless it is in hand.
    fn go_on_unsealing(&mut self, committed: &Committed, bid: BidId, ctx: &mut Context<Self>) {
        let Some(facts) = committed.project.bid(&bid).map(|bid| bid.facts.clone()) else { return };
        if !self.in_hand.insert(bid) {
            return;
        }
        let (house, id) = (self.house.clone(), self.slot.id.clone());
        let parts = committed.project.parts_opened(&bid);
        let opening = async move { from_kept_keys(&house, &id, facts, parts).await };
        let committed = committed.clone();
        ctx.spawn(wrap_future::<_, Self>(opening).map(move |opened, actor, ctx| match opened {
            Some(Ok(openable)) => actor.check(committed, bid, openable, ctx),
            Some(Err(failure)) => actor.conclude(committed, bid, Unsealed::Failed(failure), ctx),
            None => actor.conclude_lost(committed, bid, ctx),
        }));
    }

    /// Reads the sheets of bids that were reported unsealed before this actor started.
    fn read_missing_sheets(&mut self, committed: &Committed, ctx: &mut Context<Self>) {
        let project = &committed.project;
        for bid in project.bids_being_opened() {
            let id = bid.facts.bid;
            let missing =
                project.bid_status(&id) == Some(BidStatus::Unsealed) && !self.sheets.contains_key(&id);
            if project.record().is_some() || !missing || !self.in_hand.insert(id) {
                continue;
            }
            let (house, facts, parts) = (self.house.clone(), bid.facts.clone(), project.parts_opened(&id));
            let (state, name) = (project.clone(), self.slot.id.clone());
            let reading = async move {
                match from_kept_keys(&house, &name, facts.clone(), parts).await? {
                    Ok(openable) => read_sheets(&house, state, facts, openable).await,
                    Err(failure) => Some(Err(failure)),
                }
            };
            let committed = committed.clone();
            ctx.spawn(wrap_future::<_, Self>(reading).map(move |read, actor, ctx| match read {
                Some(Ok(sheets)) => {
                    actor.in_hand.remove(&id);
                    actor.sheets.insert(id, sheets);
                    actor.look_soon(ctx);
                }
                Some(Err(failure)) => actor.conclude(committed, id, Unsealed::Failed(failure), ctx),
                None => actor.conclude_lost(committed, id, ctx),
            }));
        }
    }

    /// Gives a bid to the pool; it is in hand already.
    fn check(&mut self, committed: Committed, bid: BidId, openable: Openable, ctx: &mut Context<Self>) {
        let Some(facts) = committed.project.bid(&bid).map(|bid| bid.facts.clone()) else { return };
        let (house, state) = (self.house.clone(), committed.clone());
        let started = Instant::now();
        let unsealing = async move { unseal(&house, &state, facts, openable).await };
        ctx.spawn(wrap_future::<_, Self>(unsealing).map(move |unsealed, actor, ctx| {
            actor.house.metrics().unsealing_seconds.observe(started.elapsed().as_secs_f64());
            match unsealed {
                Some(unsealed) => actor.conclude(committed, bid, unsealed, ctx),
                None => actor.conclude_lost(committed, bid, ctx),
            }
        }));
    }

    /// Records the verdict on a bid. Its sheets are here before anybody hears that it is unsealed.
    fn conclude(&mut self, committed: Committed, bid: BidId, unsealed: Unsealed, ctx: &mut Context<Self>) {
        let (house, id, seq) = (self.house.clone(), self.slot.id.clone(), committed.seq);
        let failure = match unsealed {
            Unsealed::Whole(sheets) => {
                self.sheets.insert(bid, sheets);
                None
            }
            Unsealed::Failed(failure) => {
                self.sheets.remove(&bid);
                Some(failure)
            }
        };
        let reporting = async move {
            match failure {
                None => {
                    let told = report_unsealed(&house, &id, seq, bid).await;
                    house.metrics().unsealed.inc();
                    told
                }
                Some(failure) => {
                    let at = house.clock().now();
                    report_failure(&house, &id, seq, bid, failure, at).await
                }
            }
        };
        self.then_look(reporting, ctx, move |actor, told| {
            actor.in_hand.remove(&bid);
            if let Err(refusal) = told {
                tracing::warn!(
                    project = %actor.slot.id, %bid, code = refusal.code.as_str(),
                    "a verdict on a bid was refused"
                );
            }
        });
    }

    /// The work died of a bug; or the pool ended with the house, and the next start goes on.
    fn conclude_lost(&mut self, committed: Committed, bid: BidId, ctx: &mut Context<Self>) {
        if !self.house.is_stopping() {
            let lost = Failure::new(FailureCause::PlatformFault, "the platform lost the bid's unsealing");
            self.conclude(committed, bid, Unsealed::Failed(lost), ctx);
        }
    }

    /// The barrier, once the sheets of every unsealed bid are here.
    fn publish_if_complete(&mut self, committed: Committed, ctx: &mut Context<Self>) {
        let project = &committed.project;
        let opened = project.bids_being_opened();
        let unsealed = opened.iter().map(|bid| bid.facts.bid);
        let unsealed = unsealed.filter(|bid| project.bid_status(bid) == Some(BidStatus::Unsealed));
        let sheets: Option<BTreeMap<BidId, Sheets>> =
            unsealed.map(|bid| Some((bid, self.sheets.get(&bid)?.clone()))).collect();
        // What is missing is being read; its arrival makes this actor look again.
        let Some(sheets) = sheets else { return };
        self.concluding = true;
        let (house, slot) = (self.house.clone(), self.slot.clone());
        let publishing = async move {
            // Keys and restored bytes stamped in time are on their way still, where the window was closed early.
            slot.envelopes.drained().await;
            publish(&house, &committed, sheets).await
        };
        self.then_look(publishing, ctx, |actor, published| {
            actor.concluding = false;
            match published {
                Ok(_) => actor.sheets.clear(),
                Err(refusal) => {
                    tracing::warn!(project = %actor.slot.id, code = refusal.code.as_str(), "no record was published");
                }
            }
        });
    }

    /// Runs a step, notes how it ended, and looks again: soon after success, a little later after a refusal.
    fn then_look<T: 'static, E: 'static>(
        &self,
        step: impl Future<Output = Result<T, E>> + 'static,
        ctx: &mut Context<Self>,
        note: impl FnOnce(&mut Self, Result<T, E>) + 'static,
    ) {
        ctx.spawn(wrap_future::<_, Self>(step).map(move |ended, actor, ctx| {
            let refused = ended.is_err();
            note(actor, ended);
            if refused {
                ctx.run_later(RETRY, |actor, ctx| actor.look(ctx));
            } else {
                actor.look_soon(ctx);
            }
        }));
    }

    /// The record is signed, or there is nothing to open: this actor is done and goes.
    fn end(&mut self, ctx: &mut Context<Self>) {
        // On purpose: nobody counts a restart.
        self.slot.actors().opening = None;
        ctx.stop();
    }

    fn release(&mut self, message: KeysArrived, ctx: &mut Context<Self>) {
        let KeysArrived { keys, at, ticket, answer } = message;
        let bid = keys.bid;
        let (committed, serving) = match self.admit(&keys, at) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                // Whoever asked may have gone away.
                let _ = answer.send(Err(refusal));
                return;
            }
        };
        self.in_hand.insert(bid);
        let (house, state) = (self.house.clone(), committed.clone());
        let keeping = async move {
            let kept = keep_keys(&house, &state, serving, keys, at).await;
            drop(ticket);
            kept
        };
        ctx.spawn(wrap_future::<_, Self>(keeping).map(move |kept, actor, ctx| {
            let told = match kept {
                Ok((done, openable)) => {
                    actor.check(committed, bid, openable, ctx);
                    Ok(done)
                }
                Err(refusal) => {
                    actor.in_hand.remove(&bid);
                    Err(refusal)
                }
            };
            // A supplier that went away finds its keys kept when it comes back.
            let _ = answer.send(told);
            actor.look_soon(ctx);
        }));
    }

    /// Whether keys are taken up at all: by whom, under which order, for which bid.
    fn admit(&self, keys: &ReleaseKeys, at: Moment) -> Result<(Committed, Arc<Serving>), Refusal> {
        let committed = self.slot.committed().ok_or_else(|| refuse(RefusalCode::Busy))?;
        own_bid(&committed.project, &keys.bid, &keys.asker)?;
        would_accept(&committed.project, keys, at)?;
        let serving = self.serving.clone().filter(|serving| serving.epoch == keys.epoch);
        let serving = serving.ok_or_else(|| refuse(RefusalCode::OrderSuperseded))?;
        if self.in_hand.contains(&keys.bid) {
            // The same supplier twice at once: the first has not had its answer yet.
            return Err(refuse(RefusalCode::Busy));
        }
        Ok((committed, serving))
    }
}

fn is_over(committed: &Committed) -> bool {
    match committed.project.status() {
        Some(ProjectStatus::AwaitingOrder | ProjectStatus::AwaitingKeys | ProjectStatus::Settling) => false,
        Some(ProjectStatus::Published) => committed.project.record_signature().is_some(),
        Some(ProjectStatus::Receiving | ProjectStatus::AwaitingStart | ProjectStatus::Ended) | None => true,
    }
}

impl Actor for OpeningActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.slot.set_opening_ready(false);
        self.look(ctx);
        let beat = Duration::from_millis(SERVED_EVERY_MS.unsigned_abs());
        ctx.run_interval(beat, |actor, ctx| {
            if actor.serving.is_some() {
                let now = actor.house.clock().present();
                actor.slot.note_served(now);
                note_served(&actor.house, &actor.slot.id, now);
            }
            actor.look(ctx);
        });
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
        self.look_soon(ctx);
    }
}

impl Handler<KeysArrived> for OpeningActor {
    type Result = ();

    fn handle(&mut self, message: KeysArrived, ctx: &mut Context<Self>) {
        self.release(message, ctx);
    }
}

#[cfg(feature = "practice")]
impl Handler<crate::messages::Panic> for OpeningActor {
    type Result = ();

    fn handle(&mut self, _: crate::messages::Panic, _: &mut Context<Self>) {
        panic!("told to, to see what follows");
    }
}
