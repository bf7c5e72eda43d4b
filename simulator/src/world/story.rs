//! A failure told in the words of the domain, with times relative to the deadline.

use std::fmt::Write as _;

use kaibiao_protocol::{
    moment::Moment,
    view::{BidStatus, OwnEvent, RoomEvent, UploadVerdict, ViewEvent},
};

use super::{
    kernel::Kernel,
    plan::{Deed, Plan, Trouble, What, Who},
    run::{Found, exact, run_told},
    schedule::Instant,
};

/// Tells what broke: the invariant, what people did and what befell, and how to see it again.
///
/// `plan` is what is told, shrunk or not; it is played once more to tell what was heard.
pub fn story(plan: &Plan, found: &Found) -> String {
    let plan = &exact(plan);
    let mut text = String::new();
    let (_, told) = run_told(plan);
    let _ = writeln!(text, "{}", found.broken);
    let _ = writeln!(text);
    for (number, project) in plan.projects.iter().enumerate() {
        let _ = writeln!(
            text,
            "project {}: {} min to unseal, {} min of grace, backup {:?}, opened {}",
            number + 1,
            project.window_minutes,
            project.grace_minutes,
            project.backup,
            match project.start {
                kaibiao_protocol::project::StartMode::AtDeadline => "by itself",
                kaibiao_protocol::project::StartMode::OnAgentStart => "by the agent",
            }
        );
    }
    let _ = writeln!(text);
    for line in &told {
        let _ = writeln!(text, "{}", line.text(plan));
    }
    let _ = writeln!(text);
    let _ = writeln!(
        text,
        "told by {} deeds; the whole again: kaibiao-sim world --seed {} --profile {}",
        plan.deeds.len(),
        plan.seed,
        plan.profile.name()
    );
    text
}

/// One line of a story.
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) project: Option<usize>,
    pub(crate) words: String,
}

impl Line {
    fn text(&self, plan: &Plan) -> String {
        let project = self.project.unwrap_or(0);
        let deadline = plan.projects.get(project).map_or(Instant::default(), |one| one.deadline);
        let number = match (self.project, plan.projects.len()) {
            (_, 0 | 1) | (None, _) => String::new(),
            (Some(project), _) => format!("[{}] ", project + 1),
        };
        format!("{:>12}  {number}{}", from_deadline(self.at, deadline), self.words)
    }
}

/// A time as `-0.250 s` before the deadline, or `+12:03.5` after it.
fn from_deadline(at: Instant, deadline: Instant) -> String {
    let (sign, us) = if at < deadline { ('-', deadline.us_since(at)) } else { ('+', at.us_since(deadline)) };
    let (minutes, seconds) = (us / 60_000_000, us % 60_000_000);
    match minutes {
        0 => format!("{sign}{}.{:06}s", seconds / 1_000_000, seconds % 1_000_000),
        _ => format!("{sign}{minutes}m{:02}.{:03}s", seconds / 1_000_000, seconds / 1_000 % 1_000),
    }
}

/// Somebody, in words.
pub(crate) fn name(who: Who) -> String {
    match who {
        Who::Supplier(number) => format!("supplier {number}"),
        Who::Agent => "the agent".to_owned(),
        Who::Supervisor => "the supervisor".to_owned(),
    }
}

/// A deed, in words.
pub(crate) fn deed_words(deed: &Deed) -> String {
    match &deed.what {
        What::Joins { who } => format!("{} follows the room", name(*who)),
        What::HandsIn { supplier, file, pieces, pause_ms, doubled } => {
            format!(
                "supplier {supplier} hands in {file:?}, {pieces} pieces {pause_ms} ms apart, doubled: {doubled:?}"
            )
        }
        What::Withdraws { supplier } => format!("supplier {supplier} withdraws"),
        What::ChecksIn { who } => format!("{} signs in to the room", name(*who)),
        What::Unseals { supplier, after_ms, manner } => {
            format!("supplier {supplier} will unseal after {after_ms} ms: {manner:?}")
        }
        What::Objects { supplier } => format!("supplier {supplier} objects"),
        What::LosesLine { who, for_ms } => format!("{} loses its line for {for_ms} ms", name(*who)),
        What::ReadsSlowly { who, for_ms } => format!("{} reads nothing for {for_ms} ms", name(*who)),
        What::Meddles { who, with } => format!("{} tries what it may not: {with:?}", name(*who)),
        What::Looks { who } => format!("{} looks at room, project and list", name(*who)),
        What::AgentRuns { manner } => format!("the agent will run the room: {manner:?}"),
        What::AgentStarts { twice } => format!("the agent starts the opening{}", again(*twice)),
        What::AgentExtends { minutes, twice } => {
            format!("the agent extends the window by {minutes} min{}", again(*twice))
        }
        What::AgentCloses => "the agent closes the window".to_owned(),
        What::AgentAdmits { supplier } => format!("the agent admits supplier {supplier}'s backup unasked"),
        What::Befalls { trouble } => format!("!! {}", trouble_words(trouble)),
    }
}

fn again(twice: bool) -> &'static str {
    if twice { ", twice" } else { "" }
}

fn trouble_words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Platform(fault) => format!("{}: {fault:?}", trouble.kind()),
        Trouble::BitFlip { supplier, .. } => format!("a bit of supplier {supplier}'s stored bid turns"),
        Trouble::Cut { who } => format!("the line of {} is cut", name(*who)),
        Trouble::Revoked { who } => format!("the session of {} is taken away", name(*who)),
    }
}

/// A notice, in words; `to` is whose view it is.
pub(crate) fn notice_words(to: &str, seq: u64, at: Moment, event: &ViewEvent) -> String {
    let stamp = stamp(at);
    let what = match event {
        ViewEvent::Room(event) => room_words(event),
        ViewEvent::Own(event) => own_words(event),
    };
    format!("   {to} hears {seq}: {what} (stamped {stamp})")
}

/// A stamp as seconds of the world.
fn stamp(at: Moment) -> String {
    let us = at.micros_since(Kernel::time_of(Instant::default()));
    format!("{}.{:06}", us / 1_000_000, (us % 1_000_000).abs())
}

fn room_words(event: &RoomEvent) -> String {
    match event {
        RoomEvent::ProjectPublished { .. } => "the project is published".to_owned(),
        RoomEvent::ReceivingClosed { lots, bidders } => {
            let opens = lots.values().filter(|lot| lot.opens).count();
            let who: Vec<String> = bidders
                .iter()
                .map(|one| format!("{}={}", one.organisation, short(&one.bid.to_string())))
                .collect();
            format!("counted: {}; {opens} of {} lots open", who.join(" "), lots.len())
        }
        RoomEvent::OrderIssued { epoch, window_closes_at, .. } => {
            format!("order {epoch}, window until {}", stamp(*window_closes_at))
        }
        RoomEvent::BidChanged { bid, status, .. } => {
            format!("{} is {}", short(&bid.to_string()), status_words(*status))
        }
        RoomEvent::WindowExtended { window_closes_at, minutes, .. } => {
            format!("window extended by {minutes} min until {}", stamp(*window_closes_at))
        }
        RoomEvent::RecordsPublished { .. } => "the records are published".to_owned(),
        RoomEvent::RecordSigned { .. } => "the record is signed".to_owned(),
        other => format!("{other:?}"),
    }
}

fn status_words(status: BidStatus) -> String {
    match status {
        BidStatus::Failed { cause, grace_until } => {
            format!("failed ({cause:?}), until {}", stamp(grace_until))
        }
        BidStatus::AwaitingBackup { until } => format!("awaiting its backup until {}", stamp(until)),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn own_words(event: &OwnEvent) -> String {
    match event {
        OwnEvent::BidReceived { bid, .. } => format!("bid {} is received", short(&bid.to_string())),
        OwnEvent::KeysAsked { bid, .. } => format!("keys of {} are asked for", short(&bid.to_string())),
        OwnEvent::KeysKept { bid } => format!("keys of {} are kept", short(&bid.to_string())),
        OwnEvent::UploadRefused { code, .. } => format!("upload refused: {}", code.as_str()),
        OwnEvent::UnsealingFailed { cause, .. } => format!("unsealing failed: {cause:?}"),
        OwnEvent::BackupAdmitted { .. } => "backup admitted".to_owned(),
        OwnEvent::BidWithdrawn { bid } => format!("bid {} is withdrawn", short(&bid.to_string())),
    }
}

/// A verdict, in words.
pub(crate) fn verdict_words(verdict: &UploadVerdict) -> String {
    match verdict {
        UploadVerdict::Received { bid, .. } => format!("a receipt of bid {}", short(&bid.to_string())),
        UploadVerdict::Restored { bid } => format!("bid {} is restored", short(&bid.to_string())),
        UploadVerdict::Refused { refusal, notice } => {
            let signed = if notice.is_some() { ", signed" } else { "" };
            format!("refused: {}{signed}", refusal.code.as_str())
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..6).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_around_the_deadline() {
        let deadline = Instant(60_000_000);
        assert_eq!(from_deadline(Instant(59_750_000), deadline), "-0.250000s");
        assert_eq!(from_deadline(Instant(60_000_000), deadline), "+0.000000s");
        assert_eq!(from_deadline(Instant(185_500_000), deadline), "+2m05.500s");
    }
}
