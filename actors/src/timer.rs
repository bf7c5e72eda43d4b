//! The timer: it only wakes. Whether something is due, a project decides from the clock when it is woken; so a
//! wake that is late, early or doubled does no harm.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

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

#[derive(Default)]
struct Wakes {
    by_moment: BTreeSet<(Moment, ProjectId)>,
    by_project: BTreeMap<ProjectId, Moment>,
}

impl Timer {
    /// A timer without wakes.
    pub(crate) fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, wakes: Mutex::default(), changed: Notify::new() }))
    }

    /// Wakes a project at this moment and at no other; none: not at all.
    pub(crate) fn set(&self, project: &ProjectId, at: Option<Moment>) {
        let mut wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        if wakes.by_project.get(project).copied() == at {
            return;
        }
        wakes.remove(project);
        if let Some(at) = at {
            wakes.by_moment.insert((at, project.clone()));
            wakes.by_project.insert(project.clone(), at);
        }
        drop(wakes);
        self.0.changed.notify_one();
    }

    /// Wakes whoever is due, for ever. `wake` gets the project and the moment it was set for, which is forgotten:
    /// the woken project sets its next one.
    pub(crate) async fn run(self, wake: impl Fn(ProjectId, Moment)) {
        loop {
            let next = self.next();
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
            for (at, project) in self.take_due() {
                wake(project, at);
            }
        }
    }

    fn next(&self) -> Option<Moment> {
        let wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.by_moment.first().map(|(at, _)| *at)
    }

    fn take_due(&self) -> Vec<(Moment, ProjectId)> {
        let now = self.0.clock.now();
        let mut wakes = self.0.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        while let Some(first) = wakes.by_moment.first().filter(|(at, _)| *at <= now).cloned() {
            wakes.remove(&first.1);
            due.push(first);
        }
        due
    }
}

impl Wakes {
    fn remove(&mut self, project: &ProjectId) {
        if let Some(at) = self.by_project.remove(project) {
            self.by_moment.remove(&(at, project.clone()));
        }
    }
}
