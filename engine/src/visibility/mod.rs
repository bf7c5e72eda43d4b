//! Who may see what. Nothing leaves the server but through these functions.

use kaibiao_protocol::{
    blob::Blob,
    event::ProjectEvent,
    ids::OrganisationId,
    moment::Moment,
    role::Asker,
    view::{OwnEvent, ProjectRow, ProjectView, RoomEvent, RoomView},
};

use crate::project::Project;

/// For whom a room's events are made; viewers of one audience get the same events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Audience {
    /// The organiser's agents and the supervisor: with evidence and the list of those invited.
    Staff,
    /// Everybody else let in.
    Room,
}

/// Somebody let in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Viewer {
    /// The events this viewer gets.
    pub audience: Audience,
    /// The supplier whose own stream it gets besides.
    pub supplier: Option<OrganisationId>,
}

/// What a project view holds that the project does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HouseFacts {
    /// The purchaser's name.
    pub purchaser_name: String,
    /// The organiser's name.
    pub organiser_name: String,
    /// The platform's opening key (Ed25519, 32 bytes).
    pub opening_key: Blob,
    /// The platform's receipt key (Ed25519, 32 bytes).
    pub receipt_key: Blob,
}

/// What one event becomes for those who watch, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Projected {
    /// For [`Audience::Staff`].
    pub staff: Vec<RoomEvent>,
    /// For [`Audience::Room`].
    pub room: Vec<RoomEvent>,
    /// For single suppliers.
    pub own: Vec<(OrganisationId, OwnEvent)>,
}

/// Projects a project's stream, event by event. Feed it every event from the first.
#[derive(Clone, Default)]
pub struct RoomLog {}

impl RoomLog {
    /// A log before the first event.
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes the next event and says who gets to see what of it.
    pub fn push(&mut self, event: &ProjectEvent, at: Moment) -> Projected {
        let _ = (event, at);
        todo!()
    }
}

/// Whether the asker may look at the project, and as whom.
pub fn may_see(project: &Project, asker: &Asker) -> Option<Viewer> {
    let _ = (project, asker);
    todo!()
}

/// What one event becomes for an audience. `project_after` is the state right after this very event.
pub fn room_event(
    audience: Audience,
    project_after: &Project,
    event: &ProjectEvent,
    at: Moment,
) -> Vec<RoomEvent> {
    let _ = (audience, project_after, event, at);
    todo!()
}

/// What one event becomes for single suppliers.
pub fn own_events(
    project_after: &Project,
    event: &ProjectEvent,
    at: Moment,
) -> Vec<(OrganisationId, OwnEvent)> {
    let _ = (project_after, event, at);
    todo!()
}

/// The project as the viewer sees it; `None` before it was created.
pub fn project_view(project: &Project, viewer: &Viewer, house: HouseFacts) -> Option<ProjectView> {
    let _ = (project, viewer, house);
    todo!()
}

/// The project as a line of the viewer's list.
pub fn project_row(project: &Project, viewer: &Viewer) -> Option<ProjectRow> {
    let _ = (project, viewer);
    todo!()
}

/// The room as the viewer sees it. `seq`: the last event of the viewer's room stream it includes.
pub fn room_view(project: &Project, viewer: &Viewer, seq: u64) -> Option<RoomView> {
    let _ = (project, viewer, seq);
    todo!()
}
