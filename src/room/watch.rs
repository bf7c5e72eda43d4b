//! Watching a room: how it stands, then each event as it comes.

use kaibiao_bidder::{
    client::Room,
    clock::shown,
    report::room::{
        Names, clock_step_words, ground_words, outage_words, own_words, project_words, status_words,
    },
};
use kaibiao_protocol::{
    frame::Notice,
    view::{ProjectStatus, RoomEvent, RoomView, ViewEvent},
};

use super::told;
use crate::outcome::{Outcome, result, say};

/// When watching ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// At once.
    Now,
    /// When the record is published and signed.
    Published,
    /// When the opening has ended.
    Ended,
}

/// Watches; prints a line an event (in JSON: the notice as it came).
pub(super) async fn watch(room: &Room, until: Until, json: bool) -> Outcome {
    let view = room.view().await.map_err(told)?;
    if is_over(until, &view) {
        return result(json, &view, &standing(&view));
    }
    if !json {
        say(&standing(&view));
    }
    let mut names = Names::of(&view);
    let mut events = room.events(view.seq).await.map_err(told)?;
    loop {
        let notice = events.next().await.map_err(told)?;
        if let ViewEvent::Room(event) = &notice.event {
            names.hear(event);
        }
        result(json, &notice, &line(&notice, &names))?;
        if ends(until, &notice.event) {
            return Ok(());
        }
    }
}

/// How the room stands now.
fn standing(view: &RoomView) -> String {
    let mut lines =
        vec![format!("现状:{} / {}", project_words(view.status).zh, project_words(view.status).en)];
    for one in &view.deadline_moves {
        let ground = ground_words(one.ground).zh;
        lines.push(format!("  截止时间推迟:{} → {}({ground})", shown(one.from), shown(one.to)));
    }
    for outage in &view.outages {
        lines.push(format!("  {}", outage_words(outage.from, outage.until, outage.held_until).zh));
    }
    for step in &view.clock_steps {
        let words = clock_step_words(step.step_ms, step.divergence_ms).zh;
        lines.push(format!("  {}  {words}", shown(step.at)));
    }
    for (lot, count) in &view.lots {
        let opens = if count.opens { "" } else { ",未开标(不足三家)" };
        lines.push(format!("  标项 {lot}:{} 家{opens}", count.bids));
    }
    for bidder in &view.bidders {
        lines.push(format!(
            "  {}({}):{}",
            bidder.supplier,
            bidder.organisation,
            status_words(&bidder.status).zh
        ));
    }
    if let Some(closes) = view.window_closes_at {
        lines.push(format!("  解密截止:{}", shown(closes)));
    }
    for objection in &view.objections {
        let answer = objection.answer.as_deref().unwrap_or("(未答复)");
        lines.push(format!("  第 {} 号:{} —— {answer}", objection.no, objection.text));
    }
    lines.join("\n")
}

/// One event, in one line; what was seen of a failure stands behind it, for those who may know.
fn line(notice: &Notice, names: &Names) -> String {
    let at = shown(notice.at);
    match &notice.event {
        ViewEvent::Own(event) => format!("{at}  {}", own_words(event).zh),
        ViewEvent::Room(event) => {
            let seen = match event {
                RoomEvent::BidChanged { evidence: Some(evidence), .. } => format!(" [{}]", evidence.seen),
                _ => String::new(),
            };
            format!("{at}  {}{seen}", names.words(event).zh)
        }
    }
}

fn is_over(until: Until, view: &RoomView) -> bool {
    match until {
        Until::Now => true,
        Until::Published => view.record_digest.is_some(),
        Until::Ended => view.status == ProjectStatus::Ended,
    }
}

fn ends(until: Until, event: &ViewEvent) -> bool {
    match (until, event) {
        (Until::Published, ViewEvent::Room(RoomEvent::RecordSigned { .. })) => true,
        (_, ViewEvent::Room(RoomEvent::OpeningEnded)) => true,
        (Until::Now | Until::Published | Until::Ended, ViewEvent::Room(_) | ViewEvent::Own(_)) => false,
    }
}
