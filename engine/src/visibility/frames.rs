//! The frames of one room: what the journal of a project becomes for each audience, numbered and serialised once.
//!
//! A stream's numbering follows from the journal alone, so it is the same after every restart, and what a viewer
//! was sent is a prefix of what it would be sent now (KB-3).

use std::collections::BTreeMap;

use bytestring::ByteString;
use kaibiao_protocol::{
    event::ProjectEvent,
    frame::{Notice, StreamName},
    ids::{OrganisationId, ProjectId},
    view::ViewEvent,
};

use super::{Audience, RoomLog, Viewer};
use crate::{
    keeper::Recorded,
    planted::{Planted, planted},
    project::Project,
};

/// One frame's text. Shared, not copied: the web server sends this very type, so a frame for ten thousand viewers is
/// made once and counted, never cloned.
pub type Frame = ByteString;

/// A stream of frames, the same for all who may follow it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shared {
    /// The room as one audience sees it.
    Room(Audience),
    /// What concerns one supplier alone.
    Own(OrganisationId),
}

impl Shared {
    /// What a viewer follows under a stream's name; none where it has no such stream.
    pub fn of(viewer: &Viewer, stream: &StreamName) -> Option<Self> {
        match stream {
            StreamName::Room(_) => Some(Shared::Room(viewer.audience)),
            StreamName::Own(_) => viewer.supplier.clone().map(Shared::Own),
        }
    }
}

/// A project's frames so far.
pub struct RoomFrames {
    id: ProjectId,
    /// The position of the last record taken in.
    cursor: u64,
    log: RoomLog,
    streams: BTreeMap<Shared, Vec<Frame>>,
}

impl RoomFrames {
    /// Before the first record.
    pub fn new(id: ProjectId) -> Self {
        Self { id, cursor: 0, log: RoomLog::new(), streams: BTreeMap::new() }
    }

    /// The position of the last record taken in.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The project as of the last record taken in.
    pub fn project(&self) -> &Project {
        self.log.project()
    }

    /// The last `seq` of a stream.
    pub fn last_seq(&self, stream: &Shared) -> u64 {
        self.streams.get(stream).map_or(0, |frames| frames.len() as u64)
    }

    /// The frames of a stream after `since`.
    pub fn after(&self, stream: &Shared, since: u64) -> &[Frame] {
        let frames = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let since = if planted(Planted::FrameSkippedOnResume) && since > 0 { since + 1 } else { since };
        let from = usize::try_from(since).unwrap_or(usize::MAX).min(frames.len());
        &frames[from..]
    }

    /// Takes in records in order and gives the new frames of each stream. Records taken in before are passed over.
    ///
    /// # Panics
    /// If a record is missing: whoever follows a journal reads what it has not taken in.
    pub fn take(&mut self, records: &[Recorded<ProjectEvent>]) -> BTreeMap<Shared, Vec<Frame>> {
        let mut new = BTreeMap::new();
        for record in records {
            self.take_one(record, &mut new);
        }
        new
    }

    fn take_one(&mut self, record: &Recorded<ProjectEvent>, new: &mut BTreeMap<Shared, Vec<Frame>>) {
        if record.seq <= self.cursor {
            return;
        }
        assert_eq!(record.seq, self.cursor + 1, "a room takes every record in order");
        self.cursor = record.seq;
        let projected = self.log.push(&record.event, record.at);
        for (audience, events) in [(Audience::Staff, projected.staff), (Audience::Room, projected.room)] {
            for event in events {
                self.add(Shared::Room(audience), record, ViewEvent::Room(event), new);
            }
        }
        for (supplier, event) in projected.own {
            if planted(Planted::OwnStreamLeaks)
                && let Some(other) = self.own_of_another(&supplier)
            {
                self.add(Shared::Own(other), record, ViewEvent::Own(event.clone()), new);
            }
            self.add(Shared::Own(supplier), record, ViewEvent::Own(event), new);
        }
    }

    /// Whose stream [`Planted::OwnStreamLeaks`] leaks to.
    fn own_of_another(&self, supplier: &OrganisationId) -> Option<OrganisationId> {
        self.streams.keys().find_map(|stream| match stream {
            Shared::Own(other) if other != supplier => Some(other.clone()),
            Shared::Own(_) | Shared::Room(_) => None,
        })
    }

    fn add(
        &mut self,
        stream: Shared,
        record: &Recorded<ProjectEvent>,
        event: ViewEvent,
        new: &mut BTreeMap<Shared, Vec<Frame>>,
    ) {
        let name = match &stream {
            Shared::Room(_) => StreamName::Room(self.id.clone()),
            Shared::Own(_) => StreamName::Own(self.id.clone()),
        };
        let notice = Notice { stream: name, seq: self.last_seq(&stream) + 1, at: record.at, event };
        let text = serde_json::to_string(&notice).expect("a notice is plain data and serialises");
        let frame = Frame::from(text);
        new.entry(stream.clone()).or_default().push(frame.clone());
        self.streams.entry(stream).or_default().push(frame);
    }
}
