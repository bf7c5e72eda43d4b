//! A deadline that moves, and the platform's faults around it.

use kaibiao_protocol::{
    deadline::{MoveGround, Outage},
    event::ProjectEvent,
    moment::Moment,
    project::ProjectKind,
    refusal::{Refusal, RefusalCode},
    role::Asker,
};

use super::{
    REASON_CHARS_MAX, Verdict, check_text,
    state::{Live, Stage},
};
use crate::{refusals::because, rules::Rule};

/// How often a deadline may be moved.
pub const DEADLINE_MOVES_MAX: usize = 20;
/// How many steps of the wall clock are recorded in one project.
pub const CLOCK_STEPS_MAX: usize = 100;
/// For how long after an outage around the deadline the bids are not counted, in minutes.
pub const COUNTING_HELD_MINUTES: u32 = 30;
/// How near before the deadline an outage must end to be recorded, in minutes; one that the deadline
/// falls into always is.
pub const OUTAGE_NEAR_MINUTES: u32 = 60;
/// How long an outage that ended before the deadline must have been to be recorded: a restart of some
/// seconds hinders nobody who has the rest of an hour.
pub const OUTAGE_MICROS_MIN: i64 = 60_000_000;
/// How near a deadline must be for a step of the wall clock to touch it, in minutes: a day.
pub(crate) const CLOCK_STEP_NEAR_MINUTES: u32 = 24 * 60;

/// Moves the deadline to a later one: by a correction notice before it, or after a recorded fault of
/// the platform before the bids are counted.
pub(super) fn move_deadline(
    live: &Live,
    deadline: Moment,
    ground: MoveGround,
    reason: &str,
    asker: &Asker,
    at: Moment,
) -> Verdict {
    check_text(live, reason, 1..=REASON_CHARS_MAX)?;
    check_receiving(live)?;
    let present = live.spec.deadline;
    let figures = live.pack.figures();
    let (rule, least_minutes) = match ground {
        MoveGround::Correction if at >= present => return Err(live.refuse(RefusalCode::CorrectionTooLate)),
        // GPR-31: a correction that may affect bids is made at least fifteen days before the deadline,
        // else the deadline moves.
        MoveGround::Correction => (Rule::Correction, figures.correction_days.saturating_mul(24 * 60)),
        // 87-49 by analogy: a fault of the platform before the deadline postpones it.
        MoveGround::PlatformFault if !live.faults.outages.iter().any(|outage| touches(present, outage)) => {
            return Err(live.refuse(RefusalCode::NoOutageRecorded));
        }
        MoveGround::PlatformFault => (Rule::PlatformFault, figures.postponed_minutes_min),
    };
    if live.faults.moves.len() >= DEADLINE_MOVES_MAX {
        return Err(live.refuse(RefusalCode::SlowDown));
    }
    if deadline <= present {
        return Err(because(
            live.refuse(RefusalCode::FieldInvalid),
            "投标截止时间只能推迟，不能提前",
            "a deadline is only moved to a later moment",
        ));
    }
    // An exercise may shorten it, because it counts for nothing in law; nobody moves one into the past.
    let least_minutes = match live.spec.kind {
        ProjectKind::Exercise => 0,
        ProjectKind::Real => least_minutes,
    };
    if deadline <= at || deadline < at.plus_minutes(least_minutes) {
        let refusal = Refusal { rule: live.pack.cite(rule), ..live.refuse(RefusalCode::DeadlineTooSoon) };
        return Err(because(
            refusal,
            &format!("须至少在{least_minutes}分钟之后"),
            &format!("it must lie at least {least_minutes} minutes ahead"),
        ));
    }
    let reason = reason.to_owned();
    Ok(vec![ProjectEvent::DeadlineMoved { from: present, deadline, ground, reason, by: asker.clone() }])
}

/// Records an outage that the deadline fell into or that ended shortly before it. Any other touches
/// nobody's bid and is not recorded.
pub(super) fn record_outage(live: &Live, from: Moment, until: Moment) -> Verdict {
    check_receiving(live)?;
    let outage = Outage { from, until, held_until: until.plus_minutes(COUNTING_HELD_MINUTES) };
    if !is_to_be_recorded(live, &outage) {
        return Ok(Vec::new());
    }
    let held_until = outage.held_until;
    Ok(vec![ProjectEvent::OutageRecorded { from, until, held_until }])
}

/// Whether the outage is one that the project's record must have and does not.
pub(crate) fn is_to_be_recorded(live: &Live, outage: &Outage) -> bool {
    let known = live.faults.outages.iter().any(|known| outage.until <= known.until);
    // Nobody could hand in to a project that was not there yet.
    let was_there = live.created_at <= outage.from;
    matches!(live.stage, Stage::Receiving) && was_there && touches(live.spec.deadline, outage) && !known
}

/// Whether an outage touches what is handed in by this deadline.
fn touches(deadline: Moment, outage: &Outage) -> bool {
    let Outage { from, until, .. } = *outage;
    let fell_into = from < deadline && deadline <= until;
    let shortly_before = until < deadline
        && deadline <= until.plus_minutes(OUTAGE_NEAR_MINUTES)
        && until.micros_since(from) >= OUTAGE_MICROS_MIN;
    fell_into || shortly_before
}

/// Records a step of the wall clock where a deadline is near or the opening runs; the first so many.
pub(super) fn record_clock_step(live: &Live, step_ms: i64, divergence_ms: i64, at: Moment) -> Verdict {
    let touched = match &live.stage {
        Stage::Receiving => live.spec.deadline <= at.plus_minutes(CLOCK_STEP_NEAR_MINUTES),
        Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(_) => true,
        Stage::Ended(_) => return Err(live.refuse(RefusalCode::OpeningEnded)),
    };
    if !touched || live.faults.clock_steps.len() >= CLOCK_STEPS_MAX {
        return Ok(Vec::new());
    }
    Ok(vec![ProjectEvent::ClockStepped { step_ms, divergence_ms }])
}

fn check_receiving(live: &Live) -> Result<(), Refusal> {
    match live.stage {
        Stage::Receiving => Ok(()),
        Stage::AwaitingStart(_)
        | Stage::AwaitingOrder(_)
        | Stage::AwaitingKeys(_)
        | Stage::Settling(_)
        | Stage::Published(_)
        | Stage::Ended(_) => Err(live.refuse(RefusalCode::NotReceiving)),
    }
}
