//! The WebSocket: one task that dials, sends, matches answers to askers, feeds subscriptions, and dials again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use futures_util::{SinkExt as _, StreamExt as _};
use kaibiao_protocol::frame::{Answer, Ask, FRAME_BYTES_MAX, Notice, Request, Response, StreamName};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{
    ClientFault,
    backoff::Backoff,
    dial::{Wire, dial},
    events::{Fed, Feed},
    http::{is_passing, is_session_over, network_fault},
    repeat::{may_repeat, name_of},
    session::Identity,
};

/// How often the line is tried when nothing is said.
const PING_EVERY: Duration = Duration::from_secs(15);
/// After how long a silence the line counts as dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// How long one frame may take to be sent.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// How the connection of a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Nothing was asked yet, or everything is answered and nothing is followed.
    Idle,
    /// Connected.
    Connected,
    /// Cut, or not made yet; it is tried again.
    Lost {
        /// What the network said.
        why: String,
        /// How often it was tried since.
        tries: u32,
    },
}

/// What the task is told.
pub(super) enum Command {
    /// Ask something.
    Ask { ask: Ask, answer: oneshot::Sender<Result<Answer, ClientFault>> },
    /// Follow a stream from the feed's last event on.
    Follow { stream: StreamName, feed: Arc<Feed>, answer: oneshot::Sender<Result<u64, ClientFault>> },
    /// Go on with a stream that was let go because its reader was slow.
    Resume { stream: StreamName, feed: Arc<Feed> },
    /// Its reader is gone.
    Unfollow { stream: StreamName, feed: Arc<Feed> },
}

/// A request that has no answer yet.
struct Waiting {
    ask: Ask,
    sent: bool,
    until: Instant,
    to: To,
}

/// Who waits for it.
enum To {
    Asker(oneshot::Sender<Result<Answer, ClientFault>>),
    Follower(Option<oneshot::Sender<Result<u64, ClientFault>>>),
    Nobody,
}

struct Follow {
    feed: Arc<Feed>,
    /// Let go until the reader has caught up.
    paused: bool,
}

/// What the server sends.
#[derive(Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "practice", derive(Debug, PartialEq, serde::Serialize))]
pub enum Incoming {
    /// An answer.
    Response(Response),
    /// An event.
    Notice(Box<Notice>),
}

impl Incoming {
    /// Reads one frame.
    ///
    /// # Errors
    /// It is neither an answer nor an event.
    pub fn read(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }
}

/// The task's state.
pub(super) struct Socket {
    identity: Arc<Identity>,
    commands: mpsc::Receiver<Command>,
    link: watch::Sender<Link>,
    waiting: BTreeMap<u64, Waiting>,
    follows: HashMap<StreamName, Follow>,
    next_id: u64,
}

/// Why serving a connection came to an end.
enum End {
    /// Nobody holds the session any more.
    Unheld,
    /// The line was cut.
    Cut(ClientFault),
}

impl Socket {
    pub(super) fn new(
        identity: Arc<Identity>,
        commands: mpsc::Receiver<Command>,
        link: watch::Sender<Link>,
    ) -> Self {
        Self { identity, commands, link, waiting: BTreeMap::new(), follows: HashMap::new(), next_id: 1 }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new();
        let mut tries = 0;
        loop {
            if !self.is_wanted() {
                self.link.send_replace(Link::Idle);
                match self.commands.recv().await {
                    Some(command) => self.take(command),
                    None => return,
                }
                continue;
            }
            let fault = match self.dial_while_listening().await {
                Ok(Some(mut wire)) => {
                    self.link.send_replace(Link::Connected);
                    (backoff, tries) = (Backoff::new(), 0);
                    let end = self.serve(&mut wire).await;
                    // The server would notice by itself; a farewell that fails changes nothing.
                    let _ = timeout(Duration::from_secs(1), wire.close(None)).await;
                    match end {
                        End::Unheld => return,
                        End::Cut(fault) => {
                            self.after_cut();
                            fault
                        }
                    }
                }
                Ok(None) => return,
                Err(fault) => fault,
            };
            if !is_passing(&fault) {
                self.fail_all(&fault);
                continue;
            }
            tries += 1;
            self.link.send_replace(Link::Lost { why: fault.to_string(), tries });
            let again = Instant::now() + backoff.pause();
            if !self.listen_until(again, &fault).await {
                return;
            }
        }
    }

    fn is_wanted(&self) -> bool {
        !self.waiting.is_empty() || self.follows.values().any(|follow| !follow.paused)
    }

    /// Dials; meanwhile takes commands in and gives up on what waited too long. None: nobody holds the session.
    async fn dial_while_listening(&mut self) -> Result<Option<Wire>, ClientFault> {
        let identity = self.identity.clone();
        let dialing = dial(&identity);
        tokio::pin!(dialing);
        loop {
            let expiry = self.next_expiry();
            tokio::select! {
                dialled = &mut dialing => return dialled.map(Some),
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return Ok(None),
                },
                () = until(expiry) => self.expire("it does not answer"),
            }
        }
    }

    /// Takes commands in until the moment comes; false: nobody holds the session.
    async fn listen_until(&mut self, moment: Instant, fault: &ClientFault) -> bool {
        let why = match fault {
            ClientFault::Unreachable { why, .. } => why.clone(),
            other => other.to_string(),
        };
        loop {
            let expiry = self.next_expiry();
            tokio::select! {
                () = sleep_until(moment) => return true,
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return false,
                },
                () = until(expiry) => self.expire(&why),
            }
        }
    }

    /// Serves one connection until it is cut or nobody holds the session.
    async fn serve(&mut self, wire: &mut Wire) -> End {
        self.follow_again();
        let mut heard = Instant::now();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        loop {
            if let Err(fault) = self.send_unsent(wire).await {
                return End::Cut(fault);
            }
            let expiry = self.next_expiry();
            tokio::select! {
                message = wire.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => if let Err(fault) = self.hear(text.as_str()) {
                            return End::Cut(fault);
                        },
                        Some(Ok(Message::Close(_))) | None => return End::Cut(self.cut("the server closed the connection")),
                        Some(Ok(_)) => {}
                        Some(Err(fault)) => return End::Cut(network_fault(self.identity.client.address(), &fault)),
                    }
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return End::Unheld,
                },
                _ = pings.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return End::Cut(self.cut("the connection is silent"));
                    }
                    let ping = Message::Ping(Bytes::new());
                    if let Err(fault) = self.send(wire, ping).await {
                        return End::Cut(fault);
                    }
                }
                () = until(expiry) => self.expire("no answer in time"),
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Ask { ask, answer } => self.wait(ask, To::Asker(answer)),
            Command::Follow { stream, feed, answer } => {
                if let Some(earlier) = self.follows.remove(&stream) {
                    earlier.feed.end(ClientFault::TakenOver(stream.to_string()));
                }
                self.follow(stream, feed, Some(answer));
            }
            Command::Resume { stream, feed } => {
                // Only if nobody else has taken the stream over since.
                if self.holds(&stream, &feed) {
                    self.follow(stream, feed, None);
                }
            }
            Command::Unfollow { stream, feed } => {
                if self.holds(&stream, &feed) {
                    self.follows.remove(&stream);
                    self.wait(Ask::Unsubscribe { stream }, To::Nobody);
                }
            }
        }
    }

    fn holds(&self, stream: &StreamName, feed: &Arc<Feed>) -> bool {
        self.follows.get(stream).is_some_and(|follow| Arc::ptr_eq(&follow.feed, feed))
    }

    fn follow(
        &mut self,
        stream: StreamName,
        feed: Arc<Feed>,
        answer: Option<oneshot::Sender<Result<u64, ClientFault>>>,
    ) {
        let ask = Ask::Subscribe { stream: stream.clone(), since: feed.last() };
        self.follows.insert(stream, Follow { feed, paused: false });
        self.wait(ask, To::Follower(answer));
    }

    fn wait(&mut self, ask: Ask, to: To) {
        let until = Instant::now() + self.identity.client.inner.options.patience;
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert(id, Waiting { ask, sent: false, until, to });
    }

    /// On a new connection nothing is subscribed: every stream that is not being asked for is asked for again.
    fn follow_again(&mut self) {
        let asked: Vec<StreamName> = self
            .waiting
            .values()
            .filter_map(|waiting| match &waiting.ask {
                Ask::Subscribe { stream, .. } => Some(stream.clone()),
                _ => None,
            })
            .collect();
        let again: Vec<(StreamName, u64)> = self
            .follows
            .iter()
            .filter(|(stream, follow)| !follow.paused && !asked.contains(stream))
            .map(|(stream, follow)| (stream.clone(), follow.feed.last()))
            .collect();
        for (stream, since) in again {
            self.wait(Ask::Subscribe { stream, since }, To::Follower(None));
        }
    }

    async fn send_unsent(&mut self, wire: &mut Wire) -> Result<(), ClientFault> {
        let unsent: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| !waiting.sent).map(|(id, _)| *id).collect();
        for id in unsent {
            let Some(waiting) = self.waiting.get_mut(&id) else { continue };
            let request = Request { id, ask: waiting.ask.clone() };
            let text = serde_json::to_string(&request).expect("a request is JSON");
            if text.len() > FRAME_BYTES_MAX {
                // A longer frame would cut the connection for everybody on it.
                let fault = ClientFault::TooLong { bytes: text.len() };
                if let Some(waiting) = self.waiting.remove(&id) {
                    self.tell(waiting, Err(fault));
                }
                continue;
            }
            waiting.sent = true;
            self.send(wire, Message::text(text)).await?;
        }
        Ok(())
    }

    async fn send(&self, wire: &mut Wire, message: Message) -> Result<(), ClientFault> {
        match timeout(SEND_TIMEOUT, wire.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(fault)) => Err(network_fault(self.identity.client.address(), &fault)),
            Err(_) => Err(self.cut("nothing more can be sent")),
        }
    }

    /// Takes one message in.
    fn hear(&mut self, text: &str) -> Result<(), ClientFault> {
        let incoming = Incoming::read(text)
            .map_err(|fault| self.identity.client.not_understood(format!("a frame: {fault}")))?;
        match incoming {
            Incoming::Response(Response::Ok { id, ok }) => {
                if let Some(waiting) = self.waiting.remove(&id) {
                    self.tell(waiting, Ok(ok));
                }
                Ok(())
            }
            Incoming::Response(Response::Refused { id, refused }) => {
                let fault = ClientFault::Refused(refused);
                if is_session_over(&fault) {
                    // The session ended on an open connection: dialling again finds out, and signs in if it can.
                    return Err(self.cut("the session has ended"));
                }
                if let Some(waiting) = self.waiting.remove(&id) {
                    self.tell(waiting, Err(fault));
                }
                Ok(())
            }
            Incoming::Notice(notice) => self.feed(*notice),
        }
    }

    fn feed(&mut self, notice: Notice) -> Result<(), ClientFault> {
        let stream = notice.stream.clone();
        let Some(follow) = self.follows.get_mut(&stream).filter(|follow| !follow.paused) else {
            return Ok(());
        };
        match follow.feed.push(notice) {
            Fed::Taken | Fed::Repeat => Ok(()),
            Fed::Full => {
                follow.paused = true;
                self.wait(Ask::Unsubscribe { stream }, To::Nobody);
                Ok(())
            }
            // Nothing of a stream may be missing: begin again after what was had.
            Fed::Gap => Err(self.cut("an event is missing")),
        }
    }

    /// Tells whoever waits.
    fn tell(&mut self, waiting: Waiting, outcome: Result<Answer, ClientFault>) {
        match waiting.to {
            // An asker that has gone away wants no answer.
            To::Asker(answer) => drop(answer.send(outcome)),
            To::Nobody => {}
            To::Follower(answer) => {
                let outcome = match outcome {
                    Ok(Answer::Subscribed { seq }) => Ok(seq),
                    Ok(other) => {
                        let why = format!("an answer of another kind: {other:?}");
                        Err(self.identity.client.not_understood(why))
                    }
                    Err(fault) => Err(fault),
                };
                if let (Err(fault), Ask::Subscribe { stream, .. }) = (&outcome, &waiting.ask)
                    && let Some(follow) = self.follows.remove(stream)
                {
                    follow.feed.end(fault.clone());
                }
                if let Some(answer) = answer {
                    drop(answer.send(outcome));
                }
            }
        }
    }

    /// After a cut: what may be sent twice will be; of the rest nobody knows.
    fn after_cut(&mut self) {
        let sent: Vec<u64> =
            self.waiting.iter().filter(|(_, waiting)| waiting.sent).map(|(id, _)| *id).collect();
        for id in sent {
            let Some(mut waiting) = self.waiting.remove(&id) else { continue };
            match waiting.to {
                // A new connection has no subscriptions to end.
                To::Nobody => {}
                To::Follower(None) => {}
                _ if may_repeat(&waiting.ask) => {
                    waiting.sent = false;
                    self.waiting.insert(id, waiting);
                }
                _ => {
                    let fault = ClientFault::AnswerLost { asked: name_of(&waiting.ask) };
                    self.tell(waiting, Err(fault));
                }
            }
        }
    }

    /// Gives up on what waited too long. A stream once followed is followed for ever: only asks and first
    /// subscriptions expire.
    fn expire(&mut self, why: &str) {
        let now = Instant::now();
        let over: Vec<u64> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| may_expire(waiting) && waiting.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            let Some(waiting) = self.waiting.remove(&id) else { continue };
            let fault = if waiting.sent && !may_repeat(&waiting.ask) {
                ClientFault::AnswerLost { asked: name_of(&waiting.ask) }
            } else {
                self.cut(why)
            };
            self.tell(waiting, Err(fault));
        }
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.waiting.values().filter(|waiting| may_expire(waiting)).map(|waiting| waiting.until).min()
    }

    fn fail_all(&mut self, fault: &ClientFault) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            self.tell(waiting, Err(fault.clone()));
        }
        for (_, follow) in self.follows.drain() {
            follow.feed.end(fault.clone());
        }
    }

    fn cut(&self, why: &str) -> ClientFault {
        ClientFault::Unreachable { server: self.identity.client.address().to_string(), why: why.to_owned() }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever still reads a feed must not wait for ever.
        let fault = self.cut("the connection's task has ended");
        self.fail_all(&fault);
    }
}

fn may_expire(waiting: &Waiting) -> bool {
    !matches!(waiting.to, To::Follower(None) | To::Nobody)
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
