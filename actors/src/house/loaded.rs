//! What is read from the journal before the first actor starts.

use std::{collections::BTreeMap, sync::Arc};

use kaibiao_engine::{directory::DirectoryMachine, keeper::Keeper, project::ProjectMachine};
use kaibiao_protocol::{event::ProjectEvent, ids::ProjectId, moment::Moment};

use super::{ProjectHead, StartFault, heads::moved_deadlines, presence::noted_present};
use crate::{
    journal::{Journal, Stream},
    keeper_actor::{Kept, replayed},
};

/// What is read before the first actor starts.
pub(super) struct Loaded {
    pub(super) directory: Keeper<DirectoryMachine>,
    pub(super) heads: BTreeMap<ProjectId, Arc<ProjectHead>>,
    pub(super) wakes: Vec<(Stream, Moment)>,
    pub(super) last_moment: Option<Moment>,
    /// When the platform is last known to have been there.
    pub(super) last_there: Option<Moment>,
}

impl Loaded {
    pub(super) fn load(journal: &dyn Journal) -> Result<Self, StartFault> {
        let mut heads = BTreeMap::new();
        for stream in journal.streams()? {
            let Stream::Project(id) = &stream else { continue };
            for record in journal.read(&stream, 0, 1)? {
                if let ProjectEvent::ProjectCreated { spec, .. } = ProjectMachine::decode(&record)? {
                    heads.insert(id.clone(), Arc::new(ProjectHead::from(&spec)));
                }
            }
        }
        for (project, deadline) in moved_deadlines(journal)? {
            if let Some(head) = heads.get_mut(&project) {
                Arc::make_mut(head).deadline = deadline;
            }
        }
        Ok(Self {
            directory: replayed::<DirectoryMachine>(journal, &Stream::Directory)?,
            heads,
            wakes: journal.wakes()?,
            last_moment: journal.last_moment(),
            last_there: noted_present(journal)?.max(journal.last_moment()),
        })
    }
}
