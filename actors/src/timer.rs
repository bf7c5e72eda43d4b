//! The timer: the clock beside the engine's table of wakes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kaibiao_engine::reaction::wakes::Wakes;
use kaibiao_protocol::{ids::ProjectId, moment::Moment};
use tokio::sync::Notify;

use crate::clock::Clock;

/// The wakes of every project, live or asleep. Clones are the same timer.
#[derive(Clone)]
pub(crate) struct Timer(Arc<Inner>);

struct Inner {
    clock: Clock,
    wakes: Mutex<Wakes>,
    changed: Notify,
}

impl Timer {
    /// A timer without wakes.
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, wakes: Mutex::default(), changed: Notify::new() }))
    }

    /// Wakes a project at this moment and at no other; none: not at all.
    pub(crate) fn set(&self, project: &ProjectId, at: Option<Moment>) {
        if self.wakes().set(project, at) {
            self.0.changed.notify_one();
        }
    }

    /// The projects with a wake up to this moment.
    pub(crate) fn until(&self, at: Moment) -> Vec<ProjectId> {
        self.wakes().until(at).cloned().collect()
    }

    /// Wakes whoever is due, for ever. `wake` gets the project and the moment it was set for, which is forgotten:
    /// the woken project sets its next one.
    pub(crate) async fn run(self, wake: impl Fn(ProjectId, Moment)) {
        loop {
            let next = self.wakes().next();
            let changed = self.0.changed.notified();
            match next {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = self.0.clock.sleep_until(at) => {}
                        () = changed => {}
                    }
                }
            }
            let due = self.wakes().take_due(self.0.clock.present());
            for (at, project) in due {
                wake(project, at);
            }
        }
    }

    fn wakes(&self) -> MutexGuard<'_, Wakes> {
        self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
