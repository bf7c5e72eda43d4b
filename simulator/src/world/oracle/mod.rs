//! The oracle: what must hold, seen from outside, after each step.
//!
//! It sees what people sent and heard, when the server was down, and at the end the recorded bytes. It asks the
//! server nothing, so that a server which is wrong cannot talk it round. What one step costs does not grow with what
//! came before.

mod answers;
mod ending;
mod finals;
mod keys;
mod room;
mod stamps;
mod streams;

use kaibiao_engine::visibility::Frame;
use std::sync::Arc;

use kaibiao_engine::invariants::{Broken, Holds};
use kaibiao_protocol::{
    frame::{Notice, Response, StreamName},
    ids::{BidId, ProjectId},
    moment::Moment,
    project::ProjectSpec,
    view::{OwnEvent, UploadVerdict, ViewEvent},
};

pub(crate) use self::finals::Handed;
use self::{
    answers::Answers, finals::Finals, keys::KeysSent, room::RoomWatch, stamps::Stamps, streams::Streams,
};
use super::{
    kernel::{End, Kernel},
    people::{is_passing, number_of},
    plan::{Plan, Who},
    schedule::Instant,
    wire::{ConnId, ToClient, ToServer},
};

/// Whose view of a project a stream is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum View {
    /// The room as agents and supervisors see it.
    Staff,
    /// The room as everybody else sees it.
    Room,
    /// What concerns one supplier alone.
    Own(usize),
}

impl View {
    fn of(who: Who, stream: &StreamName) -> Option<View> {
        match (stream, who) {
            (StreamName::Room(_), Who::Agent | Who::Supervisor) => Some(View::Staff),
            (StreamName::Room(_), Who::Supplier(_)) => Some(View::Room),
            (StreamName::Own(_), Who::Supplier(number)) => Some(View::Own(number)),
            (StreamName::Own(_), Who::Agent | Who::Supervisor) => None,
        }
    }
}

/// What is known of a project from the plan.
pub(crate) struct ProjectFacts {
    spec: ProjectSpec,
    /// Whether the records were published, as anybody heard.
    published: bool,
    counted: bool,
}

/// The oracle.
pub(crate) struct Oracle {
    projects: Vec<ProjectFacts>,
    /// Whether the server's clock shows the world's time throughout.
    clock_holds: bool,
    /// Whether the plan damages stored files or keeps them from being read.
    store_fails: bool,
    /// By connection; `None` before [`ConnId`] 1.
    lines: Vec<Option<Line>>,
    streams: Streams,
    rooms: Vec<[RoomWatch; 2]>,
    finals: Finals,
    answers: Answers,
    keys: KeysSent,
    stamps: Stamps,
    outages: Vec<Outage>,
    broken: Option<Broken>,
}

/// A connection.
struct Line {
    who: Who,
    /// When its session was taken away.
    revoked_at: Option<Instant>,
}

/// A time in which the server did not serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Outage {
    from: Instant,
    /// None: it has not come back.
    until: Option<Instant>,
}

/// Milliseconds in which a stamp, a cut or a wake may lie beside where it is looked for.
pub(crate) const SLACK_MS: u64 = 1_000;

impl Oracle {
    pub(crate) fn new(plan: &Plan) -> Self {
        let specs = plan.specs();
        Self {
            rooms: specs.iter().map(|spec| [RoomWatch::new(spec), RoomWatch::new(spec)]).collect(),
            projects: specs
                .into_iter()
                .map(|spec| ProjectFacts { spec, published: false, counted: false })
                .collect(),
            clock_holds: !plan.moves_clocks(),
            store_fails: plan.harms_the_store(),
            lines: Vec::new(),
            streams: Streams::default(),
            finals: Finals::default(),
            answers: Answers::default(),
            keys: KeysSent::default(),
            stamps: Stamps::default(),
            outages: Vec::new(),
            broken: None,
        }
    }

    /// What was found broken, once.
    pub(crate) fn broken(&mut self) -> Option<Broken> {
        self.broken.take()
    }

    fn note(&mut self, found: Holds) {
        if let Err(broken) = found {
            self.broken.get_or_insert(broken);
        }
    }

    /// Whether anybody heard that the record of the project is signed.
    pub(crate) fn is_signed(&self, project: usize) -> bool {
        self.rooms[project].iter().any(RoomWatch::is_signed)
    }

    /// Whether anybody heard that the opening ended.
    pub(crate) fn is_ended(&self, project: usize) -> bool {
        self.rooms[project].iter().any(RoomWatch::is_ended)
    }

    /// Where the project stands, in words, for a story of standstill.
    pub(crate) fn stands(&self, project: usize) -> String {
        self.rooms[project][0].stands()
    }

    /// Finals that have neither verdict nor refusal.
    pub(crate) fn finals_open(&self) -> usize {
        self.finals.open().count()
    }

    /// A supplier begins an upload.
    pub(crate) fn hands_in(&mut self, handed: Handed) {
        self.finals.begins(handed);
    }

    /// A person dials.
    pub(crate) fn connected(&mut self, conn: ConnId, who: Who, _now: Instant) {
        let place = conn.0 as usize;
        if self.lines.len() <= place {
            self.lines.resize_with(place + 1, || None);
        }
        self.lines[place] = Some(Line { who, revoked_at: None });
    }

    /// A person's session is taken away.
    pub(crate) fn revoked(&mut self, conn: ConnId, now: Instant) {
        if let Some(Some(line)) = self.lines.get_mut(conn.0 as usize) {
            line.revoked_at = Some(now);
        }
    }

    /// A connection is gone.
    pub(crate) fn gone(&mut self, conn: ConnId, now: Instant) {
        self.streams.gone(conn);
        self.answers.gone(conn);
        self.finals.gone(conn, now);
    }

    /// The server refused to start, and will not be started again: no plan damages the journal behind its head.
    pub(crate) fn no_start(&mut self, why: &str) {
        self.note(ensure("start", false, || format!("the server does not start any more: {why}")));
    }

    /// The server serves although a bad disk lost half of what was durable.
    pub(crate) fn started_without_its_journal(&mut self) {
        self.note(ensure("start", false, || "the server starts from half a journal".to_owned()));
    }

    /// The latest stamp of a bid of the project that was received.
    pub(crate) fn last_received(&self, project: usize) -> Option<Moment> {
        let received = |one: &&finals::Final| matches!(one.verdict, Some(UploadVerdict::Received { .. }));
        self.finals.of(project).filter(received).filter_map(|one| one.stamp).max()
    }

    /// The bid that a supplier was told last that it was received.
    pub(crate) fn bid_of(&self, project: usize, supplier: usize) -> Option<BidId> {
        self.streams.of(project, View::Own(supplier)).iter().rev().find_map(|notice| match &notice.event {
            ViewEvent::Own(OwnEvent::BidReceived { bid, .. }) => Some(*bid),
            _ => None,
        })
    }

    /// The server is down.
    pub(crate) fn down(&mut self, now: Instant) {
        if self.outages.last().is_none_or(|outage| outage.until.is_some()) {
            self.outages.push(Outage { from: now, until: None });
        }
        self.finals.down(now);
    }

    /// The server serves.
    pub(crate) fn up(&mut self, now: Instant) {
        if let Some(outage) = self.outages.last_mut() {
            outage.until.get_or_insert(now);
        }
    }

    fn who(&self, conn: ConnId) -> Option<Who> {
        self.lines.get(conn.0 as usize)?.as_ref().map(|line| line.who)
    }

    /// A person sends.
    pub(crate) fn said(&mut self, conn: ConnId, message: &ToServer, now: Instant) {
        let Some(who) = self.who(conn) else { return };
        match message {
            ToServer::Ask { id, ask } => {
                self.streams.asked(conn, who, ask);
                let keys = self.keys.said(who, ask, &self.streams, &self.finals);
                self.answers.asked(conn, *id, who, ask, self.stamps.latest(), keys);
            }
            ToServer::Piece { upload, offset, bytes, .. } => {
                let end = offset + bytes.len() as u64;
                self.finals.piece(*upload, end, conn, now, self.stamps.latest());
            }
            ToServer::BeginUpload { .. } | ToServer::WhereStands { .. } => {}
        }
    }

    /// A person hears. Gives what a frame says.
    pub(crate) fn heard(&mut self, conn: ConnId, message: &ToClient, now: Instant) -> Option<Arc<Notice>> {
        let who = self.who(conn)?;
        match message {
            ToClient::Frame(text) => match self.frame(conn, who, text) {
                Ok(notice) => return Some(notice),
                Err(broken) => self.note(Err(broken)),
            },
            ToClient::Answer(response) => {
                let found = self.answer(conn, who, response, now);
                self.note(found);
            }
            ToClient::Stands { upload, verdict, .. } => {
                let passing = |verdict: &UploadVerdict| match verdict {
                    UploadVerdict::Refused { refusal, notice: None } => is_passing(refusal.code),
                    _ => false,
                };
                if let Some(verdict) = verdict.as_deref().filter(|verdict| !passing(verdict)) {
                    let found = self.finals.verdict(
                        *upload,
                        verdict,
                        now,
                        &self.projects,
                        self.clock_holds,
                        &mut self.stamps,
                    );
                    self.note(found);
                }
            }
            ToClient::NoUpload { upload, refusal } => {
                let found = self.finals.refused(*upload, refusal, now, &self.projects, self.clock_holds);
                self.note(found);
            }
        }
        None
    }

    fn frame(&mut self, conn: ConnId, who: Who, text: &Frame) -> Result<Arc<Notice>, Broken> {
        let heard = self.streams.frame(conn, who, text)?;
        let revoked_at = self.lines.get(conn.0 as usize).and_then(|line| line.as_ref()?.revoked_at);
        if let Some(revoked_at) = revoked_at.filter(|_| self.clock_holds) {
            let so = heard.notice.at <= Kernel::time_of(revoked_at.plus_ms(SLACK_MS));
            ensure("session", so, || {
                format!("{who:?} is told what happened after its session was taken away")
            })?;
        }
        self.stamps.heard(heard.notice.at);
        let Some(view) = heard.new else { return Ok(heard.notice) };
        self.keys.frame(view, heard.project, &heard.notice);
        self.finals.frame(view, heard.project, &heard.notice)?;
        let facts = &mut self.projects[heard.project];
        if let View::Staff | View::Room = view {
            let watch = &mut self.rooms[heard.project][usize::from(view == View::Room)];
            watch.take(
                &heard.notice,
                &Seen {
                    store_fails: self.store_fails,
                    clock_holds: self.clock_holds,
                    outages: &self.outages,
                    finals: &self.finals,
                    keys: &self.keys,
                },
            )?;
            facts.published |= watch.is_published();
            facts.counted |= watch.is_counted();
        }
        ensure("KB-6", facts.published || !holds_price(text), || {
            format!("a frame to {who:?} before the barrier holds a price")
        })?;
        Ok(heard.notice)
    }

    fn answer(&mut self, conn: ConnId, who: Who, response: &Response, now: Instant) -> Holds {
        let Some(asked) = self.answers.answered(conn, response) else {
            return ensure("answer", false, || format!("{who:?} gets an answer to nothing it asked"));
        };
        self.streams.answered(conn, who, &asked.ask, response)?;
        answers::judge(&asked, who, response, &self.projects, (&self.streams, &mut self.stamps))?;
        self.keys.answered(who, &asked, response, now)?;
        if let Response::Ok { ok, .. } = response {
            self.answers.told(who, &asked, ok);
        }
        Ok(())
    }

    /// Holds everything against what lies on the disk.
    pub(crate) fn settle(&mut self, end: &End) -> Holds {
        if let Some(what) = end.broken.first() {
            return ensure("KB-2", false, || what.clone());
        }
        for (number, facts) in self.projects.iter().enumerate() {
            let stored = end.projects.iter().find(|stored| stored.id == facts.spec.id);
            ensure("durable", stored.is_some(), || format!("{} is not stored", facts.spec.id))?;
            let records = stored.map_or(&[][..], |stored| &stored.records);
            let journal = ending::Journal { number, facts, records };
            journal.holds(&self.streams, &self.finals, &self.answers)?;
            self.keys.settle(number)?;
        }
        Ok(())
    }
}

/// What a room's watch may look at besides its frames.
pub(crate) struct Seen<'a> {
    /// Whether the plan damages stored files or keeps them from being read.
    pub(crate) store_fails: bool,
    pub(crate) clock_holds: bool,
    pub(crate) outages: &'a [Outage],
    pub(crate) finals: &'a Finals,
    pub(crate) keys: &'a KeysSent,
}

impl Seen<'_> {
    /// Microseconds between two stamps in which the server did not serve.
    pub(crate) fn down_us(&self, from: Moment, until: Moment) -> i64 {
        let within = self.outages.iter().map(|outage| {
            let begin = Kernel::time_of(outage.from).max(from);
            let end = outage.until.map_or(until, Kernel::time_of).min(until);
            end.micros_since(begin).max(0)
        });
        within.sum()
    }
}

pub(crate) fn ensure(invariant: &'static str, so: bool, what: impl FnOnce() -> String) -> Holds {
    if so { Ok(()) } else { Err(Broken { invariant, what: what() }) }
}

/// Every price of the stock ends so, and nothing else in the world does.
fn holds_price(text: &str) -> bool {
    text.match_indices("00.07")
        .any(|(at, mark)| !text.as_bytes().get(at + mark.len()).is_some_and(u8::is_ascii_digit))
}

fn place_of(project: &ProjectId, projects: &[ProjectFacts]) -> Option<usize> {
    Some(number_of(project)).filter(|number| *number < projects.len())
}

fn shown(at: Moment, deadline: Moment) -> String {
    format!("{:+} us of the deadline", at.micros_since(deadline))
}
