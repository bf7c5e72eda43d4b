//! Wrongs planted on purpose, to see whether the simulated world finds them.
//!
//! Each variant is one rule broken in the way a careless engineer would have broken it. A hook is one line
//! at the very place of the rule, such as `at < deadline || planted(Planted::LateByOne) && at == deadline`.
//! Without the feature `planted`, which no shipped build turns on (`tests/house.rs`), every hook is the
//! constant `false` and nothing of this is compiled in. With it, `with` plants one wrong for one thread
//! while a closure runs; nothing else changes.

macro_rules! wrongs {
    ($($(#[doc = $about:literal])+ $wrong:ident = $name:literal),+ $(,)?) => {
        /// One wrong.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Planted {
            $($(#[doc = $about])+ $wrong),+
        }

        impl Planted {
            /// Every wrong, in the order of this file.
            pub const ALL: &'static [Planted] = &[$(Planted::$wrong),+];

            /// Its name at the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Planted::$wrong => $name),+ }
            }

            /// What was done, in one sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Planted::$wrong => concat!($($about),+)),+ }
            }
        }
    };
}

wrongs! {
    // The project's rules.
    /// A bid whose last byte comes exactly at the deadline is taken.
    LateByOne = "late-by-one",
    /// The records are published while one bid is still awaited.
    PublishEarly = "publish-early",
    /// The bids are counted at the deadline although finals stamped before it await their verdict.
    CountBeforeSettling = "count-before-settling",
    /// Of two bids of one supplier the one with the earlier stamp stands.
    EarlierStampWins = "earlier-stamp-wins",
    /// A withdrawn bid stays standing.
    WithdrawnStands = "withdrawn-stands",
    /// A backup is taken although no failure is recorded.
    BackupWithoutFailure = "backup-without-failure",
    /// Keys that arrive after the window are taken.
    KeysAfterWindow = "keys-after-window",
    /// A supplier whose keys never came is left out of the record.
    NoShowDropped = "no-show-dropped",
    /// A lot with fewer than three bids is opened.
    TooFewOpened = "too-few-opened",
    /// What is meant for one supplier is shown to another as well.
    OwnStreamLeaks = "own-stream-leaks",
    /// The room is told before the deadline that somebody handed in.
    RoomToldOfBids = "room-told-of-bids",
    /// An extension is counted twice.
    ExtendedTwice = "extended-twice",

    // The keeper.
    /// An answer leaves before its events are durable.
    AnswerBeforeAppend = "answer-before-append",
    /// A command is decided on durable state only: two take one place.
    DecideOnCommitted = "decide-on-committed",
    /// The last event of a batch is not written.
    LastEventLost = "last-event-lost",

    // The journal.
    /// An append is acknowledged before it is synced.
    AckBeforeSync = "ack-before-sync",
    /// The head is written before the records it names are durable.
    HeadBeforeRecords = "head-before-records",
    /// The head is not written.
    HeadNotWritten = "head-not-written",
    /// After a failed sync the journal tries again and acknowledges.
    FailedSyncRetried = "failed-sync-retried",

    // Opening and tending.
    /// The records are published without the sheets of one unsealed bid.
    SheetsOfOneMissing = "sheets-of-one-missing",
    /// After a restart the opening goes on under an order whose key is gone.
    NoNewOrder = "no-new-order",
    /// A bid whose keys are kept is not unsealed again after a restart.
    VerdictLostAtRestart = "verdict-lost-at-restart",
    /// The window elapses while the room is not served.
    ElapsesWhileDown = "elapses-while-down",
    /// A new order carries the epoch of the one before.
    EpochNotRaised = "epoch-not-raised",
    /// The sheets of a bid are told when it is unsealed.
    SheetsShownEarly = "sheets-shown-early",

    // Intake.
    /// A final gets its verdict before its bytes and stamp are durable.
    VerdictBeforeStage = "verdict-before-stage",
    /// A final staged before a restart is stamped anew after it.
    StampedAnew = "stamped-anew",
    /// A final's ticket is settled before its verdict is given.
    TicketSettledEarly = "ticket-settled-early",
    /// Whose sealed bid a file is, is not checked.
    AnyonesFile = "anyones-file",
    /// The same final is judged twice.
    JudgedTwice = "judged-twice",
    /// A final that has its stamp is turned away as busy.
    BusyAfterStamp = "busy-after-stamp",

    // Sessions.
    /// The first frame after a resume is left out.
    FrameSkippedOnResume = "frame-skipped-on-resume",
    /// A slow reader is not cut; frames it had no room for are dropped.
    SlowReaderLosesFrames = "slow-reader-loses-frames",
    /// A subscription goes on after the session was revoked.
    RevokedStillTold = "revoked-still-told",

    // The clock.
    /// The wall clock is followed when it steps back.
    ClockFollowedBack = "clock-followed-back",
    /// After a restart stamps begin anew below those given before.
    StampsRepeat = "stamps-repeat",
}

/// Whether this wrong is planted: never, in this build.
#[cfg(not(feature = "planted"))]
#[inline(always)]
pub const fn planted(_: Planted) -> bool {
    false
}

#[cfg(feature = "planted")]
pub use hooks::{planted, with};

#[cfg(feature = "planted")]
mod hooks {
    use std::cell::Cell;

    use super::Planted;

    // Hooks stand deep inside pure functions: threading a switch through each signature would change the very
    // code under test. A thread-local is invisible to them, one world is one thread, and the feature is in no
    // shipped build, so the engine that ships still depends on nothing but its arguments.
    thread_local! {
        static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    /// Whether this wrong is planted on this thread.
    pub fn planted(wrong: Planted) -> bool {
        PLANTED.get() == Some(wrong)
    }

    /// Runs `work` with this wrong planted on this thread, and digs it out again, after a panic too.
    pub fn with<T>(wrong: Planted, work: impl FnOnce() -> T) -> T {
        struct DugOut(Option<Planted>);
        impl Drop for DugOut {
            fn drop(&mut self) {
                PLANTED.set(self.0);
            }
        }
        let _before = DugOut(PLANTED.replace(Some(wrong)));
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_wrong_has_a_name_of_its_own_and_none_is_planted_by_itself() {
        let names: BTreeSet<&str> = Planted::ALL.iter().map(|wrong| wrong.name()).collect();
        assert_eq!(names.len(), Planted::ALL.len());
        assert!(Planted::ALL.iter().all(|wrong| !planted(*wrong)));
    }

    #[cfg(feature = "planted")]
    #[test]
    fn a_wrong_is_planted_while_the_work_runs_and_no_longer() {
        assert!(with(Planted::LateByOne, || planted(Planted::LateByOne) && !planted(Planted::PublishEarly)));
        let panicked = std::panic::catch_unwind(|| with(Planted::LateByOne, || panic!("work broke off")));
        assert!(panicked.is_err() && !planted(Planted::LateByOne));
    }
}
