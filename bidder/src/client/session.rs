//! A signed-in session: asks, typed answers, streams.

use std::sync::{Arc, RwLock};

use kaibiao_protocol::{
    frame::{Answer, Ask, StreamName},
    ids::{BidId, OrganisationId, ProjectId, UserId},
    moment::Moment,
    role::Role,
    view::{ProjectRow, ProjectView},
};
use reqwest::{RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    Client, ClientFault, Credentials, Events, Link, Room,
    events::Feed,
    http::is_session_over,
    socket::{Command, Socket},
};

/// How many asks may wait to be sent; beyond that the asker waits.
const COMMANDS_MAX: usize = 64;

/// Who is signed in, until when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SessionFacts {
    /// The account.
    pub user: UserId,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// The role it acts in.
    pub role: Role,
    /// When the session ends.
    pub expires_at: Moment,
}

/// A session as a file keeps it; whoever can read the file acts as this person until the session ends.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredSession {
    /// The server's address.
    pub server: String,
    /// The session's secret.
    session: String,
    /// The account.
    pub user: UserId,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// The role.
    pub role: Role,
    /// When it ends.
    pub expires_at: Moment,
}

impl Drop for StoredSession {
    fn drop(&mut self) {
        self.session.zeroize();
    }
}

/// What proves a session to the server.
pub(super) struct Bearer {
    pub(super) session: Zeroizing<String>,
    pub(super) user: UserId,
    pub(super) organisation: OrganisationId,
    pub(super) role: Role,
    pub(super) expires_at: Moment,
}

/// Who acts: the present bearer, and how to get the next one.
pub(super) struct Identity {
    pub(super) client: Client,
    bearer: RwLock<Arc<Bearer>>,
    credentials: Option<Credentials>,
    renewing: Mutex<()>,
}

impl Identity {
    pub(super) fn bearer(&self) -> Arc<Bearer> {
        self.bearer.read().expect("no panic while the bearer is held").clone()
    }

    /// Signs in again, unless somebody has since `old` was found to be over.
    ///
    /// # Errors
    /// The session has no credentials (then `over` itself), or signing in fails.
    pub(super) async fn renew(&self, old: &Arc<Bearer>, over: ClientFault) -> Result<(), ClientFault> {
        let Some(credentials) = &self.credentials else { return Err(over) };
        let _one_at_a_time = self.renewing.lock().await;
        if !Arc::ptr_eq(&self.bearer(), old) {
            return Ok(());
        }
        let fresh = self.client.sign_in_once(credentials).await?;
        *self.bearer.write().expect("no panic while the bearer is held") = Arc::new(fresh);
        Ok(())
    }
}

/// A signed-in session. Cheap to clone; the connection closes with the last clone, room and event reader.
#[derive(Clone)]
pub struct Session {
    pub(super) identity: Arc<Identity>,
    pub(super) commands: mpsc::Sender<Command>,
    link: watch::Receiver<Link>,
}

impl Client {
    /// Goes on with a session that was stored. Whether the server still knows it shows at the first ask; if it
    /// does not, and there are credentials, the session signs in again by itself.
    pub fn resume(&self, stored: &StoredSession, credentials: Option<Credentials>) -> Session {
        let bearer = Bearer {
            session: Zeroizing::new(stored.session.clone()),
            user: stored.user.clone(),
            organisation: stored.organisation.clone(),
            role: stored.role,
            expires_at: stored.expires_at,
        };
        Session::begin(self.clone(), bearer, credentials)
    }
}

impl Session {
    /// Begins a session; its connection is made when something is asked.
    pub(super) fn begin(client: Client, bearer: Bearer, credentials: Option<Credentials>) -> Self {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let (link_sender, link) = watch::channel(Link::Idle);
        let identity = Arc::new(Identity {
            client,
            bearer: RwLock::new(Arc::new(bearer)),
            credentials,
            renewing: Mutex::new(()),
        });
        tokio::spawn(Socket::new(identity.clone(), receiver, link_sender).run());
        Self { identity, commands, link }
    }

    /// Who is signed in.
    pub fn facts(&self) -> SessionFacts {
        let bearer = self.identity.bearer();
        SessionFacts {
            user: bearer.user.clone(),
            organisation: bearer.organisation.clone(),
            role: bearer.role,
            expires_at: bearer.expires_at,
        }
    }

    /// The session as a file may keep it; it is a secret.
    pub fn stored(&self) -> StoredSession {
        let bearer = self.identity.bearer();
        StoredSession {
            server: self.client().address().to_string(),
            session: bearer.session.to_string(),
            user: bearer.user.clone(),
            organisation: bearer.organisation.clone(),
            role: bearer.role,
            expires_at: bearer.expires_at,
        }
    }

    /// The server.
    pub fn client(&self) -> &Client {
        &self.identity.client
    }

    /// How the connection stands, and each change of it.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The server refuses or cannot be reached in time; or a command was sent and its answer lost.
    pub async fn ask(&self, ask: Ask) -> Result<Answer, ClientFault> {
        let (answer, receiver) = oneshot::channel();
        self.command(Command::Ask { ask, answer }).await?;
        receiver.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Every event of a stream after `since`, then each new one, without a gap over any number of cuts.
    /// One reader a stream and session: a second takes over from the first.
    ///
    /// # Errors
    /// The server refuses or cannot be reached in time.
    pub async fn subscribe(&self, stream: StreamName, since: u64) -> Result<Events, ClientFault> {
        let feed = Arc::new(Feed::new(since));
        let (answer, receiver) = oneshot::channel();
        let follow = Command::Follow { stream: stream.clone(), feed: feed.clone(), answer };
        self.command(follow).await?;
        let reached = receiver.await.unwrap_or_else(|_| Err(self.gone()))?;
        Ok(Events::new(stream, feed, self.commands.clone(), reached))
    }

    /// The room of a project.
    pub fn room(&self, project: ProjectId) -> Room {
        Room::new(self.clone(), project)
    }

    /// One page of the projects I may see whose number or name contains `search`; and how many there are.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn projects(&self, search: &str, skip: u32) -> Result<(Vec<ProjectRow>, u32), ClientFault> {
        match self.ask(Ask::Projects { search: search.to_owned(), skip }).await? {
            Answer::Projects { rows, total } => Ok((rows, total)),
            other => Err(self.unexpected(&other)),
        }
    }

    /// One project.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn project(&self, project: &ProjectId) -> Result<ProjectView, ClientFault> {
        match self.ask(Ask::Project { project: project.clone() }).await? {
            Answer::Project { view } => Ok(*view),
            other => Err(self.unexpected(&other)),
        }
    }

    /// The receipt of my bid: its exact file text.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn receipt(&self, project: &ProjectId, bid: BidId) -> Result<String, ClientFault> {
        match self.ask(Ask::Receipt { project: project.clone(), bid }).await? {
            Answer::Receipt { receipt } => Ok(receipt),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Withdraws my bid; tells when.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn withdraw(
        &self,
        project: &ProjectId,
        bid: BidId,
        reason: &str,
    ) -> Result<Moment, ClientFault> {
        let ask = Ask::WithdrawBid { project: project.clone(), bid, reason: reason.to_owned() };
        self.done(ask).await
    }

    /// Ends the session at the server.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn sign_out(self) -> Result<(), ClientFault> {
        match self.ask(Ask::SignOut {}).await {
            // The server may close before its answer is through; the session is over either way.
            Ok(_) | Err(ClientFault::AnswerLost { .. }) => Ok(()),
            Err(fault) if is_session_over(&fault) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Asks for something whose answer is that it is done; tells when.
    pub(super) async fn done(&self, ask: Ask) -> Result<Moment, ClientFault> {
        match self.ask(ask).await? {
            Answer::Done { at } => Ok(at),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(super) fn unexpected(&self, answer: &Answer) -> ClientFault {
        let answer = serde_json::to_value(answer).unwrap_or_default();
        self.client().not_understood(format!("an answer of another kind: {}", answer["is"]))
    }

    /// Sends one HTTP request in this session's name; signs in again, once, if the server has forgotten it.
    pub(super) async fn send(
        &self,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, ClientFault> {
        let client = self.client();
        let bearer = self.identity.bearer();
        let signed = |bearer: &Bearer| request(&client.inner.http).bearer_auth(bearer.session.as_str());
        match client.send(signed(&bearer)).await {
            Err(fault) if is_session_over(&fault) => {
                self.identity.renew(&bearer, fault).await?;
                client.send(signed(&self.identity.bearer())).await
            }
            outcome => outcome,
        }
    }

    async fn command(&self, command: Command) -> Result<(), ClientFault> {
        self.commands.send(command).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> ClientFault {
        ClientFault::Unreachable {
            server: self.client().address().to_string(),
            why: "the connection's task has ended".to_owned(),
        }
    }
}
