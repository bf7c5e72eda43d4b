//! Who may see what. Nothing leaves the server but through these functions.
//!
//! Until the bids are counted, nobody but the supplier itself learns who, or how many, have handed
//! in: nothing that counts, names or orders bids passes to anybody else, whatever the role. No price
//! passes before the records are published, because no event before that holds one.

mod events;
mod frames;
mod views;

use kaibiao_protocol::{
    blob::Blob,
    ids::OrganisationId,
    role::{Asker, Reactor, Role},
};

pub use events::{Projected, RoomLog, own_events, room_event};
pub use frames::{Frame, RoomFrames, Shared};
pub use views::{project_row, project_view, room_view};

pub use crate::project::Parts;
use crate::project::{Project, takes_part_in};

/// For whom a room's events are made; viewers of one audience get the same events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Audience {
    /// The organiser's agents and the supervisor: with evidence and the list of those invited.
    Staff,
    /// Everybody else let in.
    Room,
}

impl Audience {
    /// Both.
    pub const ALL: [Audience; 2] = [Audience::Staff, Audience::Room];
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

/// Whether the asker may look at the project, and as whom. The answer for one asker never changes
/// with what happens in the project, so that it tells nothing and a subscription never outlives it:
/// suppliers that may bid are let in whether or not they did, for an opening is public among them
/// (TL-36).
pub fn may_see(project: &Project, asker: &Asker) -> Option<Viewer> {
    may_see_parts(Parts::from(&*project.life.live()?.spec), asker)
}

/// The same of a project's parts, for lists that do not load every project.
pub fn may_see_parts(parts: Parts<'_>, asker: &Asker) -> Option<Viewer> {
    let (audience, supplier) = match asker {
        Asker::Person { role: Role::Agent | Role::Supervisor, .. } => (Audience::Staff, None),
        Asker::Person { role: Role::Purchaser, .. } => (Audience::Room, None),
        Asker::Person { role: Role::Supplier, organisation, .. } => {
            (Audience::Room, Some(organisation.clone()))
        }
        // 87-40: committee members stay away; who keeps the platform keeps no room.
        Asker::Person { role: Role::Expert | Role::Administrator, .. } => return None,
        Asker::Platform { reactor: Reactor::Console } => (Audience::Staff, None),
        Asker::Platform { reactor: Reactor::Intake | Reactor::Timer | Reactor::Opening } => return None,
    };
    takes_part_in(parts, asker).then_some(Viewer { audience, supplier })
}
