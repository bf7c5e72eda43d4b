//! The timer's table: which project is to be woken when. It only wakes; whether something is due, a
//! project decides when it is woken, so a wake that is late, early or doubled does no harm.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_protocol::{ids::ProjectId, moment::Moment};

/// The wakes of every project, live or asleep; at most one a project.
#[derive(Clone, Default, Debug)]
pub struct Wakes {
    by_moment: BTreeSet<(Moment, ProjectId)>,
    by_project: BTreeMap<ProjectId, Moment>,
}

impl Wakes {
    /// Wakes a project at this moment and at no other; none: not at all. Says whether that changed
    /// anything.
    pub fn set(&mut self, project: &ProjectId, at: Option<Moment>) -> bool {
        if self.by_project.get(project).copied() == at {
            return false;
        }
        self.remove(project);
        if let Some(at) = at {
            self.by_moment.insert((at, project.clone()));
            self.by_project.insert(project.clone(), at);
        }
        true
    }

    /// When the next project is to be woken.
    pub fn next(&self) -> Option<Moment> {
        self.by_moment.first().map(|(at, _)| *at)
    }

    /// Whoever is to be woken by now, earliest first, with the moment each was set for. They are
    /// forgotten: a woken project sets its next wake.
    pub fn take_due(&mut self, now: Moment) -> Vec<(Moment, ProjectId)> {
        let mut due = Vec::new();
        while let Some(first) = self.by_moment.first().filter(|(at, _)| *at <= now).cloned() {
            self.remove(&first.1);
            due.push(first);
        }
        due
    }

    /// The projects with a wake up to this moment, the earliest first.
    pub fn until(&self, at: Moment) -> impl Iterator<Item = &ProjectId> {
        self.by_moment.iter().take_while(move |(wake, _)| *wake <= at).map(|(_, project)| project)
    }

    fn remove(&mut self, project: &ProjectId) {
        if let Some(at) = self.by_project.remove(project) {
            self.by_moment.remove(&(at, project.clone()));
        }
    }
}
