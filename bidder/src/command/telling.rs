//! What several commands tell in the same words.

use std::time::Duration;

use kaibiao_protocol::{moment::Moment, project::ProjectKind};
use kaibiao_sealed::receipt::ReceiptFacts;
use serde_json::json;

use super::Output;
use crate::{clock::shown, report::say};

/// What a receipt says, for people.
pub(super) fn tell_receipt(output: &mut Output<'_>, facts: &ReceiptFacts) {
    output.fact(&say("项目", "project"), format!("{} {}", facts.project, facts.project_name));
    if facts.kind == ProjectKind::Exercise {
        output.line(&say("演练，不具法律效力", "an exercise, which counts for nothing in law"));
    }
    output.fact(&say("供应商", "supplier"), &facts.supplier_name);
    output.fact(&say("收到时间", "received at"), shown(facts.received_at));
    let lots: Vec<String> = facts.lots.iter().map(ToString::to_string).collect();
    output.fact(&say("标项", "lots"), lots.join(", "));
    output.fact(&say("字节", "bytes"), facts.size_bytes);
    output.fact(&say("标书", "bid"), facts.bid);
    output.fact(&say("摘要", "header digest"), facts.header_digest);
}

/// The token's time and everything else's, apart.
pub(super) fn tell_times(output: &mut Output<'_>, token: Duration, rest: Duration) {
    output.fact(&say("CA 锁用时", "token"), format!("{} ms", millis(token)));
    output.fact(&say("其余用时", "everything else"), format!("{} ms", millis(rest)));
}

/// Milliseconds, to the nearest tenth.
pub(super) fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 10_000.0).round() / 10.0
}

/// A moment as programs and people get it side by side.
pub(super) fn moment_json(at: Moment) -> serde_json::Value {
    json!({ "at": at, "shown": shown(at) })
}
