//! Telling what goes on in an opening, as it goes on.

use kaibiao_protocol::refusal::Say;
use serde_json::{Value, json};

use super::{Output, telling::millis};
use crate::{
    client::Link,
    clock::shown,
    report::{
        Explain as _, Problem,
        room::{Names, cause_words},
        say,
    },
    unseal::Told,
};

/// Tells a person or a program what goes on in an opening.
pub(super) struct Teller<'a, 'b> {
    /// Where it is told.
    pub(super) output: &'a mut Output<'b>,
    /// What bids and organisations are called.
    pub(super) names: Names,
    /// The connection was lost and people were told.
    lost: bool,
}

impl<'a, 'b> Teller<'a, 'b> {
    /// Knows no names yet.
    pub(super) fn new(output: &'a mut Output<'b>) -> Self {
        Self { output, names: Names::default(), lost: false }
    }

    /// Tells one thing.
    pub(super) fn tell(&mut self, told: &Told<'_>) {
        match told {
            Told::Found { view, bid } => {
                self.event(
                    "found",
                    json!({ "bid": bid.bid, "status": view.status, "deadline": view.spec.deadline }),
                );
                self.note(say(
                    format!(
                        "{} {}：标书 {}，开标时间 {}",
                        view.spec.id,
                        view.spec.name,
                        bid.bid,
                        shown(view.spec.deadline)
                    ),
                    format!("{}: bid {}, opening at {}", view.spec.id, bid.bid, shown(view.spec.deadline)),
                ));
            }
            Told::Joined { view } => {
                self.names = Names::of(view);
                self.event("joined", json!({ "seq": view.seq, "status": view.status }));
            }
            Told::CheckedIn => {
                self.event("checked_in", json!({}));
                self.note(say("已签到", "signed in to the room"));
            }
            Told::Room { at, event, own } => {
                self.names.hear(event);
                self.event("room", json!({ "at": at, "own": own, "event": event }));
                let words = self.names.words(event);
                let mark = if *own { "● " } else { "" };
                self.note(say(
                    format!("{} {mark}{}", shown(*at), words.zh),
                    format!("{} {mark}{}", shown(*at), words.en),
                ));
            }
            Told::OrderHolds { epoch } => {
                self.event("order_holds", json!({ "epoch": epoch }));
                self.note(say(
                    format!("解密令（第 {epoch} 次）已核验：签名、项目、时间无误"),
                    format!("opening order {epoch} was checked: signature, project and time hold"),
                ));
            }
            Told::OrderRefused { fault } => {
                self.event("order_refused", json!({ "why": fault.to_string() }));
                self.note(say(
                    format!("收到一份不合规的解密令，未予执行：{fault}。请联系代理机构"),
                    format!("an opening order was not obeyed: {fault}; tell the agency"),
                ));
            }
            Told::ClockBehind { deadline, now } => {
                self.event("clock_behind", json!({ "deadline": deadline, "now": now }));
                self.note(say(
                    format!("本机时钟 {} 早于截止时间 {}，到时再解密；如本机时钟有误请校准", shown(*now), shown(*deadline)),
                    format!(
                        "by this machine's clock it is {}, before the deadline {}: waiting; set the clock if it is wrong",
                        shown(*now),
                        shown(*deadline)
                    ),
                ));
            }
            Told::AskingToken => {
                self.event("asking_token", json!({}));
                self.note(say("正在用 CA 锁解密……", "the token unwraps the bid's key …"));
            }
            Told::TokenFailed { fault, reported } => {
                let problem = fault.problem();
                self.event("token_failed", json!({ "problem": problem, "reported": reported }));
                self.warn(&problem);
                if let Some(cause) = reported {
                    let words = cause_words(*cause);
                    self.note(say(
                        format!("已告知开标室：{}", words.zh),
                        format!("the room was told: {}", words.en),
                    ));
                }
            }
            Told::KeysKept { epoch, parts, token, by_backup } => {
                self.event(
                    "keys_kept",
                    json!({ "epoch": epoch, "parts": parts, "token_ms": millis(*token), "by_backup": by_backup }),
                );
                self.note(say(
                    format!("{parts} 个部分的密钥已由平台保存（CA 锁用时 {} ms）", millis(*token)),
                    format!("the platform keeps the keys of {parts} parts (token {} ms)", millis(*token)),
                ));
            }
            Told::NotTaken { fault } => {
                let problem = fault.problem();
                self.event("keys_not_taken", json!({ "problem": problem }));
                self.warn(&problem);
            }
            Told::Restoring(progress) => {
                self.event("restoring", json!({ "sent": progress.sent, "total": progress.total }));
            }
            Told::Restored => {
                self.event("restored", json!({}));
                self.note(say(
                    "平台损坏的标书已由备份逐字节恢复",
                    "the platform's damaged copy was restored byte for byte",
                ));
            }
            Told::Link(link) => self.tell_link(link),
        }
    }

    /// Tells how the connection stands.
    pub(super) fn tell_link(&mut self, link: &Link) {
        match link {
            Link::Lost { why, tries } => {
                self.event("link_lost", json!({ "why": why, "tries": tries }));
                // Told once a cut, not at every try.
                if !std::mem::replace(&mut self.lost, true) {
                    self.note(say(
                        format!("连接中断，自动重连中：{why}"),
                        format!("the connection is lost, trying again: {why}"),
                    ));
                }
            }
            Link::Connected => {
                self.event("link_connected", json!({}));
                if std::mem::take(&mut self.lost) {
                    self.note(say("已重新连接", "connected again"));
                }
            }
            Link::Idle => {}
        }
    }

    /// Something that happened, for programs.
    pub(super) fn event(&mut self, what: &str, details: Value) {
        self.output.event(&json!({ "what": what, "details": details }));
    }

    /// Words beside the result.
    pub(super) fn note(&mut self, words: Say) {
        self.output.note(&words);
    }

    fn warn(&mut self, problem: &Problem) {
        if !self.output.is_json() {
            self.output.warning(problem);
        }
    }
}
