//! The server's clock: it never goes back, and no two of its stamps are equal.
//!
//! At the start the wall clock is read once and tied to `CLOCK_BOOTTIME`, which no one sets and which goes on
//! while the machine sleeps. From then on only that is read: setting the wall clock moves no deadline. NTP
//! may still slew both clocks together, so a well-kept machine stays on time; a *step* of the wall clock
//! shows as a divergence, which is told ([`Clock::poll_step`]) and never followed: start the server anew to
//! tie it anew.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use kaibiao_engine::planted::{Planted, planted};
use kaibiao_protocol::moment::Moment;
use rustix::time::{ClockId, clock_gettime};

/// A divergence between wall clock and server clock smaller than this is no step.
pub const STEP_MICROS_MIN: i64 = 200_000;

/// The longest single sleep of [`Clock::sleep_until`]: five seconds.
const SLEEP_STEP_MICROS_MAX: u64 = 5_000_000;

/// Why the clock does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockFault {
    /// The wall clock is behind what the journal has seen.
    #[error(
        "the machine's clock shows {wall}, but the journal holds a record stamped {journal}: set the clock \
         right before starting (docs/operations.md, \"The clock is behind the journal\")",
        wall = shown(*wall), journal = shown(*journal)
    )]
    BehindJournal {
        /// What the wall clock shows.
        wall: Moment,
        /// The journal's latest stamp.
        journal: Moment,
    },
}

/// The wall clock was set: it now differs from the server's clock by another amount than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStep {
    /// Wall clock minus server clock, in microseconds.
    pub divergence_micros: i64,
    /// How much of that is new since the last step told.
    pub step_micros: i64,
}

/// The clock; clones are the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Source,
    /// Wall clock minus boot-time clock, at the start.
    tie_micros: i64,
    /// The last stamp given: the next is later.
    last: AtomicI64,
    /// The divergence last told by `poll_step`.
    told: AtomicI64,
}

enum Source {
    System,
    #[cfg(feature = "practice")]
    Hands(Arc<Hands>),
}

impl Source {
    fn boot_micros(&self) -> i64 {
        match self {
            Source::System => micros(ClockId::Boottime),
            #[cfg(feature = "practice")]
            Source::Hands(hands) => hands.boot_micros.load(Ordering::SeqCst),
        }
    }

    fn wall(&self) -> Moment {
        match self {
            Source::System => wall_clock(),
            #[cfg(feature = "practice")]
            Source::Hands(hands) => Moment(hands.wall_micros.load(Ordering::SeqCst)),
        }
    }
}

impl Clock {
    /// Ties the machine's clocks together. `journal_last` is the latest stamp in the journal
    /// ([`crate::journal::Journal::last_moment`]); every stamp to come is later.
    ///
    /// # Errors
    /// [`ClockFault::BehindJournal`].
    pub fn start(journal_last: Option<Moment>) -> Result<Self, ClockFault> {
        Self::tie(Source::System, journal_last)
    }

    fn tie(source: Source, journal_last: Option<Moment>) -> Result<Self, ClockFault> {
        let (wall, boot_micros) = (source.wall(), source.boot_micros());
        match journal_last {
            Some(journal) if wall < journal && !planted(Planted::StampsRepeat) => {
                Err(ClockFault::BehindJournal { wall, journal })
            }
            _ => Ok(Self(Arc::new(Inner {
                source,
                tie_micros: wall.0 - boot_micros,
                last: AtomicI64::new(match journal_last {
                    Some(last) if !planted(Planted::StampsRepeat) => last.0,
                    Some(_) | None => i64::MIN,
                }),
                told: AtomicI64::new(0),
            }))),
        }
    }

    /// A stamp: the present instant, at least a microsecond after the last stamp given to anyone.
    pub fn now(&self) -> Moment {
        if planted(Planted::ClockFollowedBack) {
            return self.0.source.wall();
        }
        let present = self.0.tie_micros + self.0.source.boot_micros();
        let after = |last: i64| Some(present.max(last.saturating_add(1)));
        let last = self
            .0
            .last
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, after)
            .expect("there is always a later stamp");
        Moment(present.max(last.saturating_add(1)))
    }

    /// The present instant without taking a stamp: for waiting, showing and asking what is due. What is
    /// journalled is stamped by [`Clock::now`].
    pub fn present(&self) -> Moment {
        let present = self.0.tie_micros + self.0.source.boot_micros();
        Moment(present.max(self.0.last.load(Ordering::SeqCst)))
    }

    /// Waits until the clock shows `at`; at once if it does already. May be dropped while waiting.
    pub async fn sleep_until(&self, at: Moment) {
        loop {
            #[cfg(feature = "practice")]
            if let Source::Hands(hands) = &self.0.source {
                let turned = hands.turned.notified();
                tokio::pin!(turned);
                // Listens before it looks, so that no turn is missed in between.
                turned.as_mut().enable();
                if self.present() >= at {
                    return;
                }
                turned.await;
                continue;
            }
            let left = at.micros_since(self.present());
            if left <= 0 {
                return;
            }
            // In steps, because the timers of the runtime stand still while the machine sleeps.
            let step = u64::try_from(left).unwrap_or(0).min(SLEEP_STEP_MICROS_MAX);
            tokio::time::sleep(std::time::Duration::from_micros(step)).await;
        }
    }

    /// Whether it is the machine's own, and not one that somebody turns.
    pub(crate) fn goes_by_itself(&self) -> bool {
        match self.0.source {
            Source::System => true,
            #[cfg(feature = "practice")]
            Source::Hands(_) => false,
        }
    }

    /// Wall clock minus server clock, in microseconds, at this instant.
    pub fn divergence_micros(&self) -> i64 {
        self.0.source.wall().0 - (self.0.tie_micros + self.0.source.boot_micros())
    }

    /// Whether the wall clock was set since the last call: its divergence changed by [`STEP_MICROS_MIN`] or
    /// more. Call it every few seconds; a step told is to be logged and counted.
    pub fn poll_step(&self) -> Option<ClockStep> {
        let divergence_micros = self.divergence_micros();
        let step_micros = divergence_micros - self.0.told.load(Ordering::SeqCst);
        (step_micros.abs() >= STEP_MICROS_MIN).then(|| {
            self.0.told.store(divergence_micros, Ordering::SeqCst);
            ClockStep { divergence_micros, step_micros }
        })
    }
}

/// What the wall clock shows. For notes that decide nothing; a stamp is [`Clock::now`]'s.
pub(crate) fn wall_clock() -> Moment {
    Moment(micros(ClockId::Realtime))
}

fn micros(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

/// The moment as people read it, in UTC; the number where it is no date.
fn shown(moment: Moment) -> String {
    match jiff::Timestamp::from_microsecond(moment.0) {
        Ok(timestamp) => timestamp.to_string(),
        Err(_) => format!("{moment:?}"),
    }
}

/// The hands of a clock that somebody turns: for tests and the simulator.
#[cfg(feature = "practice")]
pub struct Hands {
    boot_micros: AtomicI64,
    wall_micros: AtomicI64,
    /// Tells sleepers that the hands were turned.
    turned: tokio::sync::Notify,
}

#[cfg(feature = "practice")]
impl Hands {
    /// Lets `micros` microseconds pass on both clocks.
    pub fn pass_micros(&self, micros: i64) {
        self.boot_micros.fetch_add(micros, Ordering::SeqCst);
        self.wall_micros.fetch_add(micros, Ordering::SeqCst);
        self.turned.notify_waiters();
    }

    /// Lets `ms` milliseconds pass on both clocks.
    pub fn pass_ms(&self, ms: i64) {
        self.pass_micros(ms.saturating_mul(1_000));
    }

    /// Lets time pass until the clock that was started at the same instant as these hands shows `at`; nothing
    /// if that is over.
    pub fn pass_until(&self, clock: &Clock, at: Moment) {
        let present = clock.0.tie_micros + clock.0.source.boot_micros();
        self.pass_micros((at.0 - present).max(0));
    }

    /// Sets the wall clock alone, as an administrator or an attacker would.
    pub fn set_wall(&self, at: Moment) {
        self.wall_micros.store(at.0, Ordering::SeqCst);
    }
}

#[cfg(feature = "practice")]
impl Clock {
    /// A clock at `at` that stands still until its hands are turned; it still gives no stamp twice.
    pub fn steppable(at: Moment) -> (Self, Arc<Hands>) {
        Self::steppable_after(at, None).expect("an empty journal is behind nobody")
    }

    /// The same, tied after a journal.
    ///
    /// # Errors
    /// [`ClockFault::BehindJournal`].
    pub fn steppable_after(
        at: Moment,
        journal_last: Option<Moment>,
    ) -> Result<(Self, Arc<Hands>), ClockFault> {
        let hands = Arc::new(Hands {
            boot_micros: AtomicI64::new(1_000_000),
            wall_micros: AtomicI64::new(at.0),
            turned: tokio::sync::Notify::new(),
        });
        Ok((Self::tie(Source::Hands(Arc::clone(&hands)), journal_last)?, hands))
    }
}

#[cfg(all(test, feature = "practice"))]
mod tests {
    use std::thread;

    use super::*;

    const NOON: Moment = Moment(1_767_268_800_000_000);

    #[test]
    fn no_two_stamps_are_equal_and_none_goes_back() {
        let (clock, hands) = Clock::steppable(NOON);
        let first = clock.now();
        assert_eq!(first, NOON);
        assert_eq!(clock.now(), Moment(NOON.0 + 1));
        hands.pass_micros(-5_000_000);
        assert_eq!(clock.now(), Moment(NOON.0 + 2));
        hands.pass_ms(5_001);
        assert_eq!(clock.now(), NOON.plus_ms(1));
    }

    #[test]
    fn stamps_drawn_by_many_threads_differ() {
        let clock = Clock::start(None).unwrap();
        let mut stamps: Vec<i64> = thread::scope(|scope| {
            let drawers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..10_000).map(|_| clock.now().0).collect::<Vec<_>>()))
                .collect();
            drawers
                .into_iter()
                .flat_map(|drawer| {
                    let stamps = drawer.join().unwrap();
                    assert!(stamps.is_sorted(), "each thread sees time go forward");
                    stamps
                })
                .collect()
        });
        stamps.sort_unstable();
        stamps.dedup();
        assert_eq!(stamps.len(), 40_000);
    }

    #[test]
    fn the_first_stamp_is_later_than_the_journal() {
        let (clock, _hands) = Clock::steppable_after(NOON, Some(NOON)).unwrap();
        assert_eq!(clock.now(), Moment(NOON.0 + 1));
    }

    #[test]
    fn a_clock_behind_the_journal_does_not_start() {
        let late = NOON.plus_ms(1);
        let fault = Clock::steppable_after(NOON, Some(late)).map(|_| ()).unwrap_err();
        assert_eq!(fault, ClockFault::BehindJournal { wall: NOON, journal: late });
        assert!(fault.to_string().contains("2026-01-01T12:00:00.001Z"), "{fault}");
    }

    #[test]
    fn setting_the_wall_clock_moves_no_stamp_and_is_told_once() {
        let (clock, hands) = Clock::steppable(NOON);
        assert_eq!(clock.poll_step(), None);
        hands.set_wall(NOON.plus_ms(-3_600_000));
        assert_eq!(clock.now(), NOON);
        let back = -3_600_000_000;
        assert_eq!(clock.poll_step(), Some(ClockStep { divergence_micros: back, step_micros: back }));
        assert_eq!(clock.poll_step(), None);
        hands.pass_ms(60_000);
        assert_eq!(clock.poll_step(), None, "time passing is no step");
        hands.set_wall(NOON.plus_ms(60_000));
        assert_eq!(clock.poll_step(), Some(ClockStep { divergence_micros: 0, step_micros: 3_600_000_000 }));
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_hands_pass_its_moment() {
        let (clock, hands) = Clock::steppable(NOON);
        let until = NOON.plus_ms(10);
        let sleeper = clock.clone();
        let slept = tokio::spawn(async move { sleeper.sleep_until(until).await });
        hands.pass_ms(9);
        tokio::task::yield_now().await;
        assert!(!slept.is_finished());
        hands.pass_ms(1);
        slept.await.unwrap();
        assert_eq!(clock.present(), until);
        clock.sleep_until(NOON).await;
    }

    #[test]
    fn time_passes_until_an_instant_and_not_back() {
        let (clock, hands) = Clock::steppable(NOON);
        hands.pass_until(&clock, NOON.plus_ms(250));
        assert_eq!(clock.now(), NOON.plus_ms(250));
        hands.pass_until(&clock, NOON);
        assert!(clock.now() > NOON.plus_ms(250));
    }
}
