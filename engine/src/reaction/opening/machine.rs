//! What an opening does with each input.

use std::collections::BTreeMap;

use kaibiao_protocol::{
    bid::FailureCause,
    command::ProjectCommand,
    ids::BidId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    view::BidStatus,
};

use super::{
    CommandName, Ended, EnvelopeEnd, EnvelopeNo, Failure, KeysOffered, LOOK_TOGETHER_MS, Later, OpeningAsk,
    OpeningInput, OpeningOutput, OpeningStep, Outage, RETRY_MS, Sheets, own_bid, refused, would_accept,
};
use crate::{
    keeper::Done,
    planted::{Planted, planted},
    project::Project,
    reaction::{opening_todo, tending::opening_runs},
};

/// One opening.
#[derive(Default, Debug)]
pub struct Opening {
    /// The order whose one-time key this process holds.
    serving: Option<u32>,
    issuing: bool,
    ready: bool,
    /// When the opening was last served by this very machine.
    served_at: Option<Moment>,
    /// Bids whose keys are being checked, or that are being unsealed or read, with the position of the
    /// last record when that began.
    in_hand: BTreeMap<BidId, u64>,
    /// Keys for an order that is in force already, while its issue is not yet answered: whoever watches may be
    /// faster than the answer.
    early: Vec<KeysOffered>,
    /// Envelopes on their way.
    envelopes: BTreeMap<EnvelopeNo, KeysOffered>,
    /// Verdicts on their way into the record.
    reports: BTreeMap<BidId, Report>,
    /// The sheets of unsealed bids, held back until the barrier.
    sheets: BTreeMap<BidId, Sheets>,
    /// Whether the bids reported unsealed before this machine started were looked for.
    caught_up: bool,
    /// The record is being published or signed.
    concluding: bool,
    /// A look is ordered already.
    look_ordered: bool,
    over: bool,
}

#[derive(Debug)]
struct Report {
    ask: OpeningAsk,
    /// Who handed the keys over that showed it, and what they hear.
    answers: Option<(EnvelopeNo, RefusalCode)>,
}

/// The committed state an input is taken on.
struct Committed<'a> {
    project: &'a Project,
    seq: u64,
    now: Moment,
}

type Out = Vec<OpeningOutput>;

impl Opening {
    /// Takes an input; what is to be done is added to `out`. `project` is the committed state, `seq`
    /// the position of its last record.
    pub fn handle(
        &mut self,
        input: OpeningInput,
        project: &Project,
        seq: u64,
        now: Moment,
        out: &mut Vec<OpeningOutput>,
    ) {
        if self.over {
            return;
        }
        let committed = Committed { project, seq, now };
        let on = &committed;
        match input {
            OpeningInput::Look | OpeningInput::Later(Later::Look) => self.look(on, out),
            OpeningInput::Recorded => self.look_soon(out),
            OpeningInput::Beat => {
                if self.is_served(project) {
                    out.push(OpeningOutput::NoteServed(now));
                }
                self.look(on, out);
            }
            OpeningInput::OrderEnded(ended) => {
                self.issuing = false;
                match ended {
                    Ok(epoch) => {
                        self.serving = Some(epoch);
                        self.become_ready(out);
                        self.look_soon(out);
                    }
                    Err(_) => retry(Later::Look, out),
                }
                for offered in std::mem::take(&mut self.early) {
                    self.take_keys(offered, on, out);
                }
            }
            OpeningInput::KeysArrived(offered) => self.take_keys(offered, on, out),
            OpeningInput::EnvelopeOpened { no, end } => self.envelope_opened(no, end, on, out),
            OpeningInput::KeptOpened { bid, end } => match end {
                Ended::Whole(()) => out.push(OpeningOutput::Check { bid }),
                Ended::Failed(failure) => self.report_failure(bid, failure, None, on, out),
                Ended::Lost => self.report_failure(bid, Failure::lost(), None, on, out),
            },
            OpeningInput::Checked { bid, end } => match end {
                Ended::Whole(sheets) => self.report_unsealed(bid, sheets, on, out),
                Ended::Failed(failure) => self.report_failure(bid, failure, None, on, out),
                Ended::Lost => self.report_failure(bid, Failure::lost(), None, on, out),
            },
            OpeningInput::SheetsRead { bid, end } => match end {
                Ended::Whole(sheets) => {
                    self.in_hand.remove(&bid);
                    self.sheets.insert(bid, sheets);
                    self.look_soon(out);
                }
                Ended::Failed(failure) => self.report_failure(bid, failure, None, on, out),
                Ended::Lost => self.report_failure(bid, Failure::lost(), None, on, out),
            },
            OpeningInput::Told { step, told } => self.told(step, told, out),
            OpeningInput::Later(Later::Report(bid)) => {
                if let Some(report) = self.reports.get(&bid) {
                    out.push(ask(report.ask.clone()));
                }
            }
        }
        if self.is_served(project) {
            self.served_at = Some(now);
        }
    }

    /// The order whose one-time key the shell is to hold, if one is in service.
    pub fn serving(&self) -> Option<u32> {
        self.serving
    }

    /// Whether whoever has keys to hand over could do so: an order is in service, or none is needed.
    fn is_served(&self, project: &Project) -> bool {
        self.ready && (self.serving.is_some() || !project.keys_awaited())
    }

    /// Does what the committed state asks for and is not in hand.
    fn look(&mut self, on: &Committed<'_>, out: &mut Out) {
        self.look_ordered = false;
        if !opening_runs(on.project) {
            self.over = true;
            out.push(OpeningOutput::End);
            return;
        }
        let todo = opening_todo(on.project);
        self.look_after_order(on, todo.issue_order, out);
        for bid in todo.unseal {
            if self.in_hand.contains_key(&bid) || planted(Planted::VerdictLostAtRestart) {
                continue;
            }
            self.in_hand.insert(bid, on.seq);
            out.push(OpeningOutput::OpenKept { bid, parts: on.project.parts_opened(&bid) });
        }
        if todo.publish || !self.caught_up {
            self.caught_up = true;
            self.read_missing_sheets(on, out);
        }
        if todo.publish && !self.concluding {
            self.publish_if_complete(on, out);
        } else if todo.sign && !self.concluding {
            self.concluding = true;
            out.push(OpeningOutput::Sign(CommandName::new("sign", None, on.seq)));
        }
    }

    fn look_soon(&mut self, out: &mut Out) {
        if !self.look_ordered {
            self.look_ordered = true;
            out.push(OpeningOutput::After { ms: LOOK_TOGETHER_MS, what: Later::Look });
        }
    }

    /// Sees to it that an order can be answered while keys are awaited. The window does not elapse
    /// before that.
    fn look_after_order(&mut self, on: &Committed<'_>, first: bool, out: &mut Out) {
        if self.serving.is_some() || self.issuing {
            return;
        }
        if !first && (!on.project.keys_awaited() || planted(Planted::NoNewOrder)) {
            if !self.ready {
                out.push(OpeningOutput::NoteServed(on.now));
            }
            self.become_ready(out);
            return;
        }
        self.issuing = true;
        let outage = match self.served_at {
            _ if first => Outage::None,
            // This machine was there all the time and needed no order until now.
            Some(at) => Outage::Since(at),
            None => Outage::AsNoted,
        };
        out.push(OpeningOutput::IssueOrder { outage });
    }

    fn become_ready(&mut self, out: &mut Out) {
        if !self.ready {
            self.ready = true;
            out.push(OpeningOutput::Ready);
        }
    }

    /// Has the sheets read of bids that were reported unsealed before this machine started.
    fn read_missing_sheets(&mut self, on: &Committed<'_>, out: &mut Out) {
        if on.project.record().is_some() {
            return;
        }
        for bid in unsealed(on.project) {
            if self.sheets.contains_key(&bid) || self.in_hand.contains_key(&bid) {
                continue;
            }
            self.in_hand.insert(bid, on.seq);
            out.push(OpeningOutput::ReadSheets { bid, parts: on.project.parts_opened(&bid) });
        }
    }

    /// The barrier, once the sheets of every unsealed bid are here.
    fn publish_if_complete(&mut self, on: &Committed<'_>, out: &mut Out) {
        let sheets = unsealed(on.project).map(|bid| Some((bid, self.sheets.get(&bid)?.clone())));
        let skipped = usize::from(planted(Planted::SheetsOfOneMissing));
        let sheets: Option<BTreeMap<BidId, Sheets>> = sheets.skip(skipped).collect();
        // What is missing is being read; its arrival makes this machine look again.
        let Some(sheets) = sheets else { return };
        self.concluding = true;
        out.push(ask(OpeningAsk {
            step: OpeningStep::Publish,
            name: CommandName::new("publish", None, on.seq),
            at: None,
            // Keys and restored bytes stamped in time are on their way still, where the window was
            // closed early.
            after_envelopes: true,
            command: ProjectCommand::PublishRecords { sheets },
        }));
    }

    /// Takes keys up, or says why not: by whom, under which order, for which bid.
    fn take_keys(&mut self, offered: KeysOffered, on: &Committed<'_>, out: &mut Out) {
        let no = offered.no;
        let in_force = on.project.order().is_some_and(|order| order.epoch == offered.epoch);
        if self.issuing && in_force {
            self.early.push(offered);
            return;
        }
        if let Err(refusal) = self.admit(&offered, on) {
            out.push(OpeningOutput::Answer { no, answer: Err(refusal) });
            return;
        }
        let bid = offered.bid;
        self.in_hand.insert(bid, on.seq);
        self.envelopes.insert(no, offered);
        out.push(OpeningOutput::OpenEnvelope { no, bid, parts: on.project.parts_asked(&bid) });
    }

    fn admit(&self, offered: &KeysOffered, on: &Committed<'_>) -> Result<(), Refusal> {
        let KeysOffered { bid, epoch, by_backup, asker, at, .. } = offered;
        own_bid(on.project, bid, asker)?;
        would_accept(on.project, *bid, *epoch, *by_backup, *at)?;
        if self.serving != Some(*epoch) {
            return Err(refused(RefusalCode::OrderSuperseded));
        }
        if self.in_hand.contains_key(bid) {
            // The same supplier twice at once: the first has not had its answer yet.
            return Err(refused(RefusalCode::Busy));
        }
        Ok(())
    }

    fn envelope_opened(&mut self, no: EnvelopeNo, end: EnvelopeEnd, on: &Committed<'_>, out: &mut Out) {
        let Some(offered) = self.envelopes.get(&no) else { return };
        let bid = offered.bid;
        match end {
            EnvelopeEnd::Fits => {
                let KeysOffered { epoch, by_backup, at, .. } = *offered;
                out.push(ask(OpeningAsk {
                    step: OpeningStep::Accept(no),
                    name: CommandName::new("accept", Some(bid), self.began(&bid, on)),
                    at: Some(at),
                    after_envelopes: false,
                    command: ProjectCommand::AcceptKeys { bid, epoch, by_backup },
                }));
            }
            EnvelopeEnd::NotForThisOrder => {
                self.give_back(no, Err(refused(RefusalCode::EnvelopeInvalid)), out);
            }
            EnvelopeEnd::NoRoom => self.give_back(no, Err(refused(RefusalCode::Busy)), out),
            EnvelopeEnd::Failed(failure) => {
                let code = match failure.cause {
                    FailureCause::WrongKey => RefusalCode::WrongKey,
                    FailureCause::WrongToken
                    | FailureCause::TokenTrouble
                    | FailureCause::DamagedUpload
                    | FailureCause::MalformedPackage
                    | FailureCause::DamagedStore
                    | FailureCause::NoShow
                    | FailureCause::PlatformFault => RefusalCode::SealedBidDamaged,
                };
                self.report_failure(bid, failure, Some((no, code)), on, out);
            }
        }
    }

    /// Answers an envelope that brought nothing; its bid is in hand no longer.
    fn give_back(&mut self, no: EnvelopeNo, answer: Result<Done, Refusal>, out: &mut Out) {
        if let Some(offered) = self.envelopes.remove(&no) {
            self.in_hand.remove(&offered.bid);
        }
        out.push(OpeningOutput::Answer { no, answer });
        self.look_soon(out);
    }

    /// The position of the last record when the work on a bid began: what its commands are named by.
    fn began(&self, bid: &BidId, on: &Committed<'_>) -> u64 {
        self.in_hand.get(bid).copied().unwrap_or(on.seq)
    }

    /// Records that a bid is unsealed. Its sheets are here before anybody hears of it.
    fn report_unsealed(&mut self, bid: BidId, sheets: Sheets, on: &Committed<'_>, out: &mut Out) {
        if planted(Planted::SheetsShownEarly) {
            let prices: Vec<String> = sheets.values().map(|sheet| sheet.price.to_string()).collect();
            let told = Failure::new(FailureCause::PlatformFault, prices.join(" "));
            return self.report_failure(bid, told, None, on, out);
        }
        self.sheets.insert(bid, sheets);
        let name = CommandName::new("unsealed", Some(bid), self.began(&bid, on));
        self.report(bid, name, None, ProjectCommand::ReportUnsealed { bid }, None, out);
    }

    /// Records a failure. What was recorded of the same bid before may already say it.
    fn report_failure(
        &mut self,
        bid: BidId,
        failure: Failure,
        answers: Option<(EnvelopeNo, RefusalCode)>,
        on: &Committed<'_>,
        out: &mut Out,
    ) {
        self.sheets.remove(&bid);
        out.push(OpeningOutput::NoteFailure { bid, failure: failure.clone() });
        let Failure { cause, evidence } = failure;
        let name = CommandName::new(format!("failure {cause:?}"), Some(bid), self.began(&bid, on));
        // What the keys showed is judged by the stamp of their arrival.
        let at = answers.and_then(|(no, _)| self.envelopes.get(&no)).map(|offered| offered.at);
        let command = ProjectCommand::ReportFailure { bid, cause, evidence };
        self.report(bid, name, at, command, answers, out);
    }

    fn report(
        &mut self,
        bid: BidId,
        name: CommandName,
        at: Option<Moment>,
        command: ProjectCommand,
        answers: Option<(EnvelopeNo, RefusalCode)>,
        out: &mut Out,
    ) {
        let step = OpeningStep::Report(bid);
        let ask = OpeningAsk { step, name, at, after_envelopes: false, command };
        self.reports.insert(bid, Report { ask: ask.clone(), answers });
        out.push(self::ask(ask));
    }

    fn told(&mut self, step: OpeningStep, told: Result<Done, Refusal>, out: &mut Out) {
        match step {
            OpeningStep::Accept(no) => match told {
                Ok(done) => {
                    let Some(offered) = self.envelopes.remove(&no) else { return };
                    // A supplier that went away finds its keys kept when it comes back.
                    out.push(OpeningOutput::Answer { no, answer: Ok(done) });
                    out.push(OpeningOutput::Check { bid: offered.bid });
                    self.look_soon(out);
                }
                Err(refusal) => self.give_back(no, Err(refusal), out),
            },
            OpeningStep::Report(bid) => self.reported(bid, told, out),
            OpeningStep::Publish => {
                self.concluding = false;
                if told.is_ok() {
                    self.sheets.clear();
                }
                self.look_again(told.is_ok(), out);
            }
            OpeningStep::Sign => {
                self.concluding = false;
                self.look_again(told.is_ok(), out);
            }
        }
    }

    fn reported(&mut self, bid: BidId, told: Result<Done, Refusal>, out: &mut Out) {
        if told.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::Busy) {
            // `busy` is no answer.
            retry(Later::Report(bid), out);
            return;
        }
        let Some(report) = self.reports.remove(&bid) else { return };
        let granted = told.is_ok();
        match report.answers {
            Some((no, code)) => {
                self.give_back(no, Err(told.err().unwrap_or_else(|| refused(code))), out);
            }
            None => {
                self.in_hand.remove(&bid);
                self.look_again(granted, out);
            }
        }
    }

    /// Soon after success, a little later after a refusal.
    fn look_again(&mut self, granted: bool, out: &mut Out) {
        if granted {
            self.look_soon(out);
        } else {
            retry(Later::Look, out);
        }
    }
}

/// The bids being opened that stand as unsealed.
fn unsealed(project: &Project) -> impl Iterator<Item = BidId> {
    let opened = project.bids_being_opened().into_iter().map(|bid| bid.facts.bid);
    opened.filter(|bid| project.bid_status(bid) == Some(BidStatus::Unsealed))
}

fn ask(ask: OpeningAsk) -> OpeningOutput {
    OpeningOutput::Ask(Box::new(ask))
}

fn retry(what: Later, out: &mut Out) {
    out.push(OpeningOutput::After { ms: RETRY_MS, what });
}
