//! What each ask of a person means: a question, or a command through the one door.

use kaibiao_engine::{
    asks::command_of,
    project::Project,
    reaction::{
        opening::{own_bid, shortened, would_accept},
        tending::Drain,
    },
    visibility::{HouseFacts, Viewer, may_see, project_row, project_view},
};
use kaibiao_protocol::{
    bid::{BidFacts, Evidence},
    blob::Blob,
    command::ProjectCommand,
    frame::{Answer, Ask},
    ids::ProjectId,
    moment::Moment,
    project::ProjectSpec,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor},
};
use kaibiao_sealed::record::{record_digest, record_text};
use std::sync::Arc;

use super::{
    Hearer, Node, Told, Work,
    openings::KeysIn,
    projects::{Parked, ProjectAsk},
    refuse,
};
use crate::world::{
    stock::{confirm_signature, stock},
    wire::ConnId,
};

/// Finals and envelopes of one project between stamp and answer.
const TICKETS_MAX: usize = 4_096;

/// An ask of a person.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) conn: ConnId,
    pub(super) id: u64,
    pub(super) ask: Ask,
    /// The stamp: when the frame was in.
    pub(super) at: Moment,
}

impl Node {
    /// Who asks over a connection.
    pub(super) fn asker(&self, conn: ConnId) -> Option<Asker> {
        self.conns.get(&conn).map(|known| known.caller.asker())
    }

    /// A frame is in: stamped before anything else.
    pub(super) fn hear_ask(&mut self, conn: ConnId, id: u64, ask: Ask) {
        if !self.conns.contains_key(&conn) {
            return;
        }
        let at = self.clock.now();
        let refused = match &ask {
            Ask::Unsubscribe { stream } => {
                let told = self.leave(conn, stream).map(|()| Answer::Done { at }).map_err(refuse);
                return self.tell(conn, id, told);
            }
            Ask::Subscribe { stream, .. } => self.join(conn, stream).err(),
            _ => None,
        };
        if let Some(code) = refused {
            return self.tell(conn, id, Err(refuse(code)));
        }
        // The task of one ask may be slower than that of the next.
        let takes = self.draw.named("ask").of(id).of(at.0 as u64).latency_us(30);
        self.later(takes, Work::Asked(Box::new(Asked { conn, id, ask, at })));
    }

    /// Answers an ask, or begins to.
    pub(super) fn answer(&mut self, asked: Asked) {
        let Some(asker) = self.asker(asked.conn) else { return };
        let (conn, id, at) = (asked.conn, asked.id, asked.at);
        match asked.ask {
            Ask::Time {} => self.tell(conn, id, Ok(Answer::Time { at: self.clock.present() })),
            Ask::Projects { .. } => {
                let rows: Vec<_> = self
                    .live()
                    .filter_map(|(_, _, project)| project_row(project, &may_see(project, &asker)?))
                    .collect();
                let total = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                self.tell(conn, id, Ok(Answer::Projects { rows, total }));
            }
            Ask::Unsubscribe { .. } => self.tell(conn, id, Err(refuse(RefusalCode::Unknown))),
            Ask::SignOut {} => {
                self.tell(conn, id, Ok(Answer::Done { at }));
                self.flush(conn);
                self.revoke(conn);
            }
            // Contact forms are wrapped under the store key, which the world has not.
            Ask::Contacts { .. } => self.tell(conn, id, Err(refuse(RefusalCode::Busy))),
            Ask::Project { ref project }
            | Ask::Room { ref project }
            | Ask::Receipt { ref project, .. }
            | Ask::Record { ref project } => {
                let project = project.clone();
                self.ask_about(asked, &asker, &project);
            }
            Ask::Subscribe { ref stream, .. } => {
                let project = stream.project().clone();
                self.ask_about(asked, &asker, &project);
            }
            Ask::ReleaseKeys { ref project, .. } => {
                let project = project.clone();
                self.release_keys(asked, asker, &project);
            }
            Ask::ReportTrouble { project, bid, cause, seen } => {
                let evidence = Evidence { seen: shortened(&seen), expected: None, found: None };
                // Stamped when it is asked, as the house does.
                let at = self.clock.now();
                let command = ProjectCommand::ReportFailure { bid, cause, evidence };
                self.command(project, asker, at, command, Hearer::Person { conn, id });
            }
            ask => self.give_command(conn, id, asker, at, ask),
        }
    }

    fn give_command(&mut self, conn: ConnId, id: u64, asker: Asker, at: Moment, ask: Ask) {
        let Some((project, command)) = command_of(ask) else {
            return self.tell(conn, id, Err(refuse(RefusalCode::Unknown)));
        };
        if let ProjectCommand::ConfirmRecord { record, signature } = &command
            && let Asker::Person { organisation, .. } = &asker
            && *signature != confirm_signature(&project, organisation, record).0
        {
            return self.tell(conn, id, Err(refuse(RefusalCode::SignatureInvalid)));
        }
        if matches!(command, ProjectCommand::WithdrawBid { .. }) {
            // Decided before the count if it is stamped before the deadline: the ticket first, then the stamp.
            let Some(ticket) = self.desks.entry(project.clone()).or_default().take(TICKETS_MAX) else {
                return self.tell(conn, id, Err(refuse(RefusalCode::Busy)));
            };
            let at = self.clock.now();
            return self.command(project, asker, at, command, Hearer::Withdrawal { conn, id, ticket });
        }
        self.command(project, asker, at, command, Hearer::Person { conn, id });
    }

    fn command(
        &mut self,
        project: ProjectId,
        asker: Asker,
        at: Moment,
        command: ProjectCommand,
        hearer: Hearer,
    ) {
        let name = self.once(at);
        self.ask_project(ProjectAsk::new(project, asker, at, name, command, hearer));
    }

    /// Answers a question about a project, once it is loaded.
    fn ask_about(&mut self, asked: Asked, asker: &Asker, project: &ProjectId) {
        let (conn, id) = (asked.conn, asked.id);
        if !self.heads.contains_key(project) {
            return self.refuse_ask(&asked, RefusalCode::Unknown);
        }
        let Some(state) = self.committed(project) else {
            return self.park(project, Parked::Ask(Box::new(asked)));
        };
        let Some(viewer) = may_see(&state, asker) else {
            return self.refuse_ask(&asked, RefusalCode::Unknown);
        };
        match &asked.ask {
            Ask::Subscribe { .. } => self.enter_room(asked),
            Ask::Room { .. } => self.look_at_room(asked, project),
            Ask::Project { .. } => {
                let view = self.project_view(&state, &viewer);
                let told = view.map(|view| Answer::Project { view: Box::new(view) });
                self.tell(conn, id, told);
            }
            Ask::Record { .. } => {
                let told = signed_record(&state);
                self.tell(conn, id, told);
            }
            Ask::Receipt { bid, .. } => {
                let own = |bid: &&kaibiao_engine::project::Bid| {
                    viewer.supplier.as_ref() == Some(&bid.facts.supplier)
                };
                let Some(facts) = state.bid(bid).filter(own).map(|bid| bid.facts.clone()) else {
                    return self.refuse_ask(&asked, RefusalCode::Unknown);
                };
                // Nothing happens by it: the project gives the upload's first answer again.
                let command = ProjectCommand::SubmitBid { facts: BidFacts::clone(&facts) };
                let asker = Asker::Platform { reactor: Reactor::Intake };
                let at = self.clock.now();
                self.command(project.clone(), asker, at, command, Hearer::Receipt { conn, id });
            }
            _ => {}
        }
    }

    /// Refuses an ask; a join is over with it.
    fn refuse_ask(&mut self, asked: &Asked, code: RefusalCode) {
        if let Ask::Subscribe { stream, .. } = &asked.ask {
            self.joined(asked.conn, stream, false);
        }
        self.tell(asked.conn, asked.id, Err(refuse(code)));
    }

    fn project_view(
        &self,
        project: &Project,
        viewer: &Viewer,
    ) -> Result<kaibiao_protocol::view::ProjectView, Refusal> {
        let spec: &ProjectSpec = project.spec().ok_or_else(|| refuse(RefusalCode::Unknown))?;
        let name = |organisation: &kaibiao_protocol::ids::OrganisationId| {
            self.directory
                .organisation(organisation)
                .map_or_else(|| organisation.to_string(), |known| known.name.clone())
        };
        let facts = HouseFacts {
            purchaser_name: name(&spec.purchaser),
            organiser_name: name(&spec.organiser),
            opening_key: Blob(stock().opening.public().to_vec()),
            receipt_key: Blob(stock().receipt.public().to_vec()),
        };
        project_view(project, viewer, facts).ok_or_else(|| refuse(RefusalCode::Unknown))
    }

    /// Keys arrive: the ticket first, so that the window waits for whatever is stamped before its end.
    fn release_keys(&mut self, asked: Asked, asker: Asker, project: &ProjectId) {
        let (conn, id) = (asked.conn, asked.id);
        if !self.heads.contains_key(project) {
            return self.refuse_ask(&asked, RefusalCode::Unknown);
        }
        let Some(state) = self.committed(project) else {
            return self.park(project, Parked::Ask(Box::new(asked)));
        };
        let Ask::ReleaseKeys { bid, epoch, enc, ciphertext, by_backup, .. } = asked.ask else { return };
        let Some(ticket) = self.slot(project).envelopes.take(TICKETS_MAX) else {
            return self.tell(conn, id, Err(refuse(RefusalCode::Busy)));
        };
        let at = self.clock.now();
        let may = own_bid(&state, &bid, &asker).and_then(|_| would_accept(&state, bid, epoch, by_backup, at));
        if let Err(refusal) = may {
            self.tell(conn, id, Err(refusal));
            return self.settle(project, Drain::Envelopes, ticket);
        }
        let keys = KeysIn { conn, id, bid, epoch, enc, ciphertext, by_backup, asker, at, ticket };
        self.keys_arrive(project, keys);
    }

    pub(super) fn tell_done(&mut self, conn: ConnId, id: u64, told: Told) {
        self.tell(conn, id, told.map(|done| Answer::Done { at: done.at }));
    }
}

/// The published record as it was signed.
fn signed_record(project: &Arc<Project>) -> Result<Answer, Refusal> {
    let signed = project.record_signature().ok_or_else(|| refuse(RefusalCode::NotPublished))?;
    let (spec, record) =
        project.spec().zip(project.record()).ok_or_else(|| refuse(RefusalCode::NotPublished))?;
    let text = record_text(spec, record);
    if record_digest(&text) != signed.digest {
        return Err(refuse(RefusalCode::Busy));
    }
    Ok(Answer::Record { text, digest: signed.digest, signature: signed.signature.clone() })
}
