//! What lists need of every project, archived ones too: small, because there may be hundreds of thousands.

use std::collections::BTreeSet;

use kaibiao_engine::{
    keeper::{SideSpace, SideWrite},
    visibility::{Parts, Viewer, may_see_parts},
};
use kaibiao_protocol::{
    ids::{OrganisationId, ProjectId},
    moment::Moment,
    project::{ProjectKind, ProjectSpec},
    role::Asker,
};
use zeroize::Zeroizing;

use crate::journal::{Journal, JournalFault};

/// A project as lists need it.
#[derive(Clone)]
pub struct ProjectHead {
    /// Its number.
    pub id: ProjectId,
    /// Its name.
    pub name: Box<str>,
    /// Whether it is an exercise.
    pub exercise: bool,
    /// Who runs it.
    pub organiser: OrganisationId,
    /// The deadline, as it is now.
    pub deadline: Moment,
    purchaser: OrganisationId,
    invited: Option<BTreeSet<OrganisationId>>,
}

impl From<&ProjectSpec> for ProjectHead {
    fn from(spec: &ProjectSpec) -> Self {
        Self {
            id: spec.id.clone(),
            name: spec.name.as_str().into(),
            exercise: spec.kind == ProjectKind::Exercise,
            organiser: spec.organiser.clone(),
            deadline: spec.deadline,
            purchaser: spec.purchaser.clone(),
            invited: spec.invited.clone(),
        }
    }
}

impl ProjectHead {
    /// Whether the asker may look at the project, and as whom.
    pub fn seen_by(&self, asker: &Asker) -> Option<Viewer> {
        let Self { organiser, purchaser, invited, .. } = self;
        may_see_parts(Parts { organiser, purchaser, invited: invited.as_ref() }, asker)
    }
}

/// Where a moved deadline is kept beside the event that moved it, so that a start finds it without reading every
/// stream to its end.
pub(super) fn moved(project: &ProjectId, deadline: Moment) -> SideWrite {
    SideWrite::Put {
        space: SideSpace::Deadline,
        key: project.to_string(),
        value: Zeroizing::new(deadline.0.to_be_bytes().to_vec()),
    }
}

/// Every deadline that was moved, as it is now.
pub(super) fn moved_deadlines(journal: &dyn Journal) -> Result<Vec<(ProjectId, Moment)>, JournalFault> {
    let mut moved = Vec::new();
    for key in journal.side_keys(SideSpace::Deadline, "")? {
        let Some(bytes) = journal.side(SideSpace::Deadline, &key)? else { continue };
        if let (Ok(project), Ok(bytes)) = (key.parse(), bytes.as_slice().try_into()) {
            moved.push((project, Moment(i64::from_be_bytes(bytes))));
        }
    }
    Ok(moved)
}
