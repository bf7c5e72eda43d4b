//! The frames of one room: what the journal of a project becomes for each audience, numbered and serialised once.
//!
//! A stream's numbering follows from the journal alone, so it is the same after every restart, and what a viewer
//! was sent is a prefix of what it would be sent now (KB-3).

use std::collections::BTreeMap;

use bytestring::ByteString;
use kaibiao_engine::{
    keeper::{Machine, Recorded},
    project::{Project, ProjectMachine},
    visibility::{Audience, Viewer, own_events, room_event},
};
use kaibiao_protocol::{
    event::ProjectEvent,
    frame::{Notice, StreamName},
    ids::{OrganisationId, ProjectId},
    view::ViewEvent,
};

/// A stream of frames, the same for all who may follow it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shared {
    /// The room as one audience sees it.
    Room(Audience),
    /// What concerns one supplier alone.
    Own(OrganisationId),
}

impl Shared {
    /// What a viewer follows under a stream's name; none where it has no such stream.
    pub(crate) fn of(viewer: &Viewer, stream: &StreamName) -> Option<Self> {
        match stream {
            StreamName::Room(_) => Some(Shared::Room(viewer.audience)),
            StreamName::Own(_) => viewer.supplier.clone().map(Shared::Own),
        }
    }
}

/// A project's frames so far.
pub(crate) struct RoomFrames {
    id: ProjectId,
    /// The position of the last record taken in.
    cursor: u64,
    project: Project,
    streams: BTreeMap<Shared, Vec<ByteString>>,
}

impl RoomFrames {
    pub(crate) fn new(id: ProjectId) -> Self {
        Self { id, cursor: 0, project: Project::default(), streams: BTreeMap::new() }
    }

    /// The position of the last record taken in.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The project as of the last record taken in.
    pub(crate) fn project(&self) -> &Project {
        &self.project
    }

    /// The last `seq` of a stream.
    pub(crate) fn last_seq(&self, stream: &Shared) -> u64 {
        self.streams.get(stream).map_or(0, |frames| frames.len() as u64)
    }

    /// The frames of a stream after `since`.
    pub(crate) fn after(&self, stream: &Shared, since: u64) -> &[ByteString] {
        let frames = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let from = usize::try_from(since).unwrap_or(usize::MAX).min(frames.len());
        &frames[from..]
    }

    /// Takes in the next record and shows each new frame to `tell`. Records taken in before are passed over.
    pub(crate) fn take(
        &mut self,
        record: &Recorded<ProjectEvent>,
        mut tell: impl FnMut(&Shared, &ByteString),
    ) {
        if record.seq <= self.cursor {
            return;
        }
        assert_eq!(record.seq, self.cursor + 1, "a room takes every record in order");
        self.cursor = record.seq;
        ProjectMachine::apply(&mut self.project, &record.event, record.at);
        for audience in [Audience::Staff, Audience::Room] {
            for event in room_event(audience, &self.project, &record.event, record.at) {
                self.add(Shared::Room(audience), record, ViewEvent::Room(event), &mut tell);
            }
        }
        for (supplier, event) in own_events(&self.project, &record.event, record.at) {
            self.add(Shared::Own(supplier), record, ViewEvent::Own(event), &mut tell);
        }
    }

    fn add(
        &mut self,
        stream: Shared,
        record: &Recorded<ProjectEvent>,
        event: ViewEvent,
        tell: &mut impl FnMut(&Shared, &ByteString),
    ) {
        let name = match &stream {
            Shared::Room(_) => StreamName::Room(self.id.clone()),
            Shared::Own(_) => StreamName::Own(self.id.clone()),
        };
        let notice = Notice { stream: name, seq: self.last_seq(&stream) + 1, at: record.at, event };
        let text = serde_json::to_string(&notice).expect("a notice is plain data and serialises");
        let frame = ByteString::from(text);
        tell(&stream, &frame);
        self.streams.entry(stream).or_default().push(frame);
    }
}
