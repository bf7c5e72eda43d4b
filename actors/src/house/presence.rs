//! Whether the platform was there: a note every few seconds, from which the next start knows since when it was not;
//! and steps of the wall clock, told to every project they touch.

use std::collections::BTreeSet;

use kaibiao_engine::{
    keeper::{SideSpace, SideWrite},
    project::{OUTAGE_MICROS_MIN, OUTAGE_NEAR_MINUTES},
    reaction::tending::ahead_of,
};
use kaibiao_protocol::{
    command::ProjectCommand,
    ids::ProjectId,
    moment::Moment,
    role::{Asker, Reactor},
};
use zeroize::Zeroizing;

use super::House;
use crate::{
    clock::ClockStep,
    journal::{Append, Journal, JournalFault, Stream},
    limits::PRESENT_EVERY,
    messages::AskProject,
};

/// Under which name the platform's own note lies. No project has such a name.
const PLATFORM: &str = "/platform";
/// How far ahead a project's hour may be for a step of the clock to be told to it, in minutes: a day.
const STEP_AHEAD_MINUTES: u32 = 24 * 60;

impl House {
    /// Since when, and until when, the platform was not there before this process.
    pub(crate) fn outage(&self) -> Option<(Moment, Moment)> {
        self.0.outage
    }

    /// When a project whose next hour is `at` is woken first after a start: at once where the outage before may
    /// touch it, so that it says so while there is time to move its deadline.
    pub(super) fn first_wake(&self, at: Moment) -> Moment {
        match self.outage() {
            Some((from, until))
                if until.micros_since(from) >= OUTAGE_MICROS_MIN
                    && at <= until.plus_minutes(OUTAGE_NEAR_MINUTES) =>
            {
                until.min(ahead_of(at))
            }
            _ => ahead_of(at),
        }
    }

    /// Notes it every few seconds, where the clock goes by itself: one that is turned by hand stands still meanwhile.
    pub(super) fn start_noting(&self) {
        if !self.clock().goes_by_itself() {
            return;
        }
        let house = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(PRESENT_EVERY).await;
                house.note_present();
            }
        });
    }

    /// Notes that the platform is there now. Not waited for: a note that is lost makes an outage seem longer.
    pub(super) fn note_present(&self) {
        let put = SideWrite::Put {
            space: SideSpace::Served,
            key: PLATFORM.to_owned(),
            value: Zeroizing::new(self.clock().present().0.to_be_bytes().to_vec()),
        };
        drop(self.journal().append(Append::side_only(Stream::Platform, vec![put])));
    }

    /// Records a step of the wall clock in every project that it touches.
    pub async fn note_clock_step(&self, step: ClockStep) {
        let (step_ms, divergence_ms) = (millis(step.step_micros), millis(step.divergence_micros));
        let soon = self.timer().until(self.clock().present().plus_minutes(STEP_AHEAD_MINUTES));
        let live = self.0.slots.iter().map(|entry| entry.key().clone());
        let near: BTreeSet<ProjectId> = live.chain(soon).collect();
        for project in near {
            let asker = Asker::Platform { reactor: Reactor::Timer };
            let command = ProjectCommand::RecordClockStep { step_ms, divergence_ms };
            if let Err(refusal) = self.ask_project(AskProject::new(project.clone(), asker, command)).await {
                let code = refusal.code.as_str();
                tracing::debug!(%project, code, "a step of the wall clock was not recorded");
            }
        }
    }
}

/// The nearest millisecond.
fn millis(micros: i64) -> i64 {
    micros.saturating_add(500 * micros.signum()) / 1_000
}

/// When the platform last noted that it was there.
pub(super) fn noted_present(journal: &dyn Journal) -> Result<Option<Moment>, JournalFault> {
    let noted = journal.side(SideSpace::Served, PLATFORM)?;
    let noted = noted.and_then(|bytes| bytes.as_slice().try_into().ok());
    Ok(noted.map(i64::from_be_bytes).map(Moment))
}
