//! The crowd: one process that holds many connections, and says when each of them heard.

use std::{
    cell::{Cell, RefCell},
    fs,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use kaibiao_sealed::digest::sha256;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore},
    task::{JoinHandle, LocalSet, spawn_local},
    time::{sleep, timeout},
};

use super::{
    Fallible, Orders, ROOM,
    harm::{Harm, Held, do_harm},
    wire::{Ended, Wire},
};

/// Handshakes at once while the crowd gathers; a storm has no such bound.
const GATHERING_MAX: usize = 256;
/// How long anything may take before the bench gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// The first pause after a refusal; doubled each time, with a share drawn from the seed.
const FIRST_PAUSE_MS: u64 = 50;
const LONGEST_PAUSE_MS: u64 = 2_000;
/// The status of `busy`.
const BUSY: u16 = 503;

/// Who gathers where.
#[derive(clap::Args)]
pub struct CrowdOptions {
    /// The server.
    #[arg(long)]
    address: SocketAddr,
    /// How many.
    #[arg(long)]
    watchers: usize,
    /// A file of session tokens, one a line, the agent's first; none: the bare server, which knows no sessions.
    #[arg(long)]
    tokens: Option<PathBuf>,
    /// The seed of pauses after a refusal.
    #[arg(long)]
    seed: u64,
}

/// One of the crowd: what it has.
struct Watcher {
    token: Option<String>,
    seq: Cell<u64>,
    pause: Cell<u64>,
}

/// What all share.
struct Crowd {
    address: SocketAddr,
    /// When each text for all arrived, since this was last emptied.
    arrived: RefCell<Vec<Instant>>,
    heard: RefCell<String>,
    /// Watchers that are in and have all there was when they came.
    back: Cell<usize>,
    gaps: Cell<usize>,
    refused: Cell<usize>,
    cut: Cell<usize>,
    /// What should not happen at all: the first of it.
    fault: RefCell<Option<String>>,
    changed: Notify,
}

/// Gathers a crowd and carries out orders until the parent goes away.
///
/// # Errors
/// The server is gone.
pub async fn gather(options: &CrowdOptions) -> Fallible<()> {
    LocalSet::new().run_until(obey(options)).await
}

async fn obey(options: &CrowdOptions) -> Fallible<()> {
    let mut orders = Orders::listen();
    orders.answer(&json!({}))?;
    let mut gathered: Option<Gathered> = None;
    while let Some(order) = orders.next().await {
        let done = match (order["do"].as_str(), &mut gathered) {
            (Some("gather"), none @ None) => match Gathered::gather(options).await {
                Ok((crowd, told)) => {
                    *none = Some(crowd);
                    Ok(told)
                }
                Err(fault) => Err(fault),
            },
            (Some("event"), Some(crowd)) => crowd.event(order["text"].as_str()).await,
            (Some("storm"), Some(crowd)) => crowd.storm().await,
            (Some("harm"), Some(crowd)) => crowd.harm(&order).await,
            (Some("relent"), Some(crowd)) => {
                crowd.held.clear();
                Ok(json!({}))
            }
            _ => Err("an order that nobody understands".into()),
        };
        let told = done.unwrap_or_else(|fault| json!({ "fault": fault.to_string() }));
        orders.answer(&told)?;
    }
    Ok(())
}

struct Gathered {
    crowd: Rc<Crowd>,
    watchers: Vec<Rc<Watcher>>,
    tasks: Vec<JoinHandle<()>>,
    /// Connections that only do harm.
    held: Vec<Held>,
    /// The session of who makes things happen.
    agent_token: Option<String>,
}

impl Gathered {
    async fn gather(options: &CrowdOptions) -> Fallible<(Self, Value)> {
        let tokens = options.tokens.as_ref().map(fs::read_to_string).transpose()?;
        let mut tokens = tokens.as_deref().map(str::lines);
        let mut next = || tokens.as_mut().and_then(Iterator::next).map(str::to_owned);
        let agent_token = next();
        let crowd = Rc::new(Crowd {
            address: options.address,
            arrived: RefCell::default(),
            heard: RefCell::default(),
            back: Cell::new(0),
            gaps: Cell::new(0),
            refused: Cell::new(0),
            cut: Cell::new(0),
            fault: RefCell::default(),
            changed: Notify::new(),
        });
        let watchers: Vec<_> = (0..options.watchers as u64)
            .map(|no| {
                let pause = Cell::new(options.seed.wrapping_add(no).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
                Rc::new(Watcher { token: next(), seq: Cell::new(0), pause })
            })
            .collect();
        let began = Instant::now();
        let turns = Rc::new(Semaphore::new(GATHERING_MAX));
        let tasks = watchers
            .iter()
            .map(|watcher| {
                let (crowd, watcher, turns) = (crowd.clone(), watcher.clone(), turns.clone());
                spawn_local(async move {
                    let turn = turns.acquire().await.ok();
                    crowd.watch(&watcher, || drop(turn)).await;
                })
            })
            .collect();
        crowd.until("everybody is in", || crowd.back.get() == watchers.len()).await?;
        let told = json!({ "ms": millis(began), "refused": crowd.refused.get(), "gaps": crowd.gaps.get() });
        Ok((Self { crowd, watchers, tasks, held: Vec::new(), agent_token }, told))
    }

    /// A connection of who makes things happen.
    async fn agent(&self) -> Fallible<Wire> {
        let opened = Wire::open(self.crowd.address, self.agent_token.as_deref()).await;
        opened.map_err(|ended| format!("the agent is not let in: {ended:?}").into())
    }

    /// One event to all: how long after the order each had it, in microseconds.
    async fn event(&mut self, text: Option<&str>) -> Fallible<Value> {
        let mut agent = self.agent().await?;
        self.crowd.arrived.borrow_mut().clear();
        let began = Instant::now();
        say(&mut agent, text).await?;
        let all = self.watchers.len();
        let crowd = self.crowd.clone();
        crowd.until("everybody heard", || crowd.arrived.borrow().len() >= all).await?;
        let micros: Vec<u64> =
            crowd.arrived.borrow().iter().map(|at| (*at - began).as_micros() as u64).collect();
        if text.is_none() {
            answered(&mut agent).await?;
        }
        let heard = crowd.heard.borrow().clone();
        Ok(json!({ "micros": micros, "text": heard, "gaps": crowd.gaps.get() }))
    }

    /// Lets some of them do harm on a second connection each, and holds it.
    async fn harm(&mut self, order: &Value) -> Fallible<Value> {
        let harm = order["kind"].as_str().and_then(Harm::named).ok_or("nobody knows this kind of harm")?;
        let count = order["count"].as_u64().unwrap_or(0) as usize;
        let tokens: Vec<String> =
            self.watchers.iter().take(count).filter_map(|one| one.token.clone()).collect();
        self.held = do_harm(harm, self.crowd.address, &tokens).await?;
        Ok(json!({ "held": self.held.len() }))
    }

    /// Cuts everybody at once, lets something happen, and lets everybody come back at once.
    async fn storm(&mut self) -> Fallible<Value> {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        // Aborted tasks drop their connections in their next turn.
        tokio::task::yield_now().await;
        // The bare server has no events that could be missed.
        let mut agent = if self.agent_token.is_some() { Some(self.agent().await?) } else { None };
        if let Some(agent) = &mut agent {
            for _ in 0..3 {
                say(agent, None).await?;
                answered(agent).await?;
            }
        }
        let crowd = self.crowd.clone();
        crowd.back.set(0);
        crowd.refused.set(0);
        let began = Instant::now();
        self.tasks = self
            .watchers
            .iter()
            .map(|watcher| {
                let (crowd, watcher) = (crowd.clone(), watcher.clone());
                spawn_local(async move { crowd.watch(&watcher, || ()).await })
            })
            .collect();
        // And something while they come.
        if let Some(agent) = &mut agent {
            sleep(Duration::from_millis(300)).await;
            say(agent, None).await?;
            answered(agent).await?;
        }
        let all = self.watchers.len();
        let newest = || self.watchers.iter().map(|watcher| watcher.seq.get()).max().unwrap_or(0);
        crowd
            .until("everybody is back", || {
                let newest = newest();
                crowd.back.get() >= all && self.watchers.iter().all(|watcher| watcher.seq.get() == newest)
            })
            .await?;
        let seqs: String = self.watchers.iter().map(|watcher| format!("{},", watcher.seq.get())).collect();
        Ok(json!({
            "ms": millis(began), "refused": crowd.refused.get(), "gaps": crowd.gaps.get(), "cut": crowd.cut.get(),
            "newest": newest(), "digest": sha256(seqs.as_bytes()).to_string(),
        }))
    }
}

/// Makes something happen: sends `text` to all by the bare server, or extends the room's window by a minute.
async fn say(agent: &mut Wire, text: Option<&str>) -> Fallible<()> {
    let ask = json!({ "id": 1, "ask":
        { "do": "extend_window", "project": ROOM, "minutes": 1, "reason": "网络缓慢" } });
    let said = text.map_or_else(|| ask.to_string(), str::to_owned);
    agent.say(&said).await.map_err(|ended| format!("the agent is cut: {ended:?}").into())
}

async fn answered(agent: &mut Wire) -> Fallible<()> {
    let answer = agent.hear().await.map_err(|ended| format!("the agent is cut: {ended:?}"))?;
    if answer.contains("\"ok\"") { Ok(()) } else { Err(answer.into()) }
}

impl Crowd {
    /// Watches for ever; comes back whenever the connection ends.
    async fn watch(&self, watcher: &Watcher, when_in: impl FnOnce()) {
        let mut when_in = Some(when_in);
        let mut pause = FIRST_PAUSE_MS;
        loop {
            match self.one_connection(watcher, &mut when_in, &mut pause).await {
                Ended::Refused(BUSY) => self.refused.set(self.refused.get() + 1),
                Ended::Refused(status) => self.fault(format!("refused with status {status}")),
                Ended::Closed(None) => self.cut.set(self.cut.get() + 1),
                Ended::Closed(Some(code)) => self.fault(format!("closed with code {code}")),
            }
            // xorshift: half of the pause, and a share of the other half.
            let mut drawn = watcher.pause.get();
            drawn ^= drawn << 13;
            drawn ^= drawn >> 7;
            drawn ^= drawn << 17;
            watcher.pause.set(drawn);
            sleep(Duration::from_millis(pause / 2 + drawn % (pause / 2))).await;
            pause = (pause * 2).min(LONGEST_PAUSE_MS);
        }
    }

    async fn one_connection(
        &self,
        watcher: &Watcher,
        when_in: &mut Option<impl FnOnce()>,
        pause: &mut u64,
    ) -> Ended {
        let mut wire = match Wire::open(self.address, watcher.token.as_deref()).await {
            Ok(wire) => wire,
            Err(ended) => return ended,
        };
        let mut behind = 0;
        if watcher.token.is_some() {
            let stream = format!("room/{ROOM}");
            let ask = json!({ "id": 1, "ask": { "do": "subscribe", "stream": stream, "since": watcher.seq.get() } });
            if let Err(ended) = wire.say(&ask.to_string()).await {
                return ended;
            }
            match wire.hear().await {
                Ok(answer) => match number(&answer, "\"seq\":") {
                    Some(seq) => behind = seq,
                    None => return Ended::Closed(None),
                },
                Err(ended) => return ended,
            }
        }
        if let Some(when_in) = when_in.take() {
            when_in();
        }
        *pause = FIRST_PAUSE_MS;
        let mut counted = false;
        loop {
            if !counted && watcher.seq.get() >= behind {
                counted = true;
                self.back.set(self.back.get() + 1);
                self.changed.notify_one();
            }
            match wire.hear().await {
                Ok(text) => self.note(watcher, text),
                Err(ended) => return ended,
            }
        }
    }

    fn note(&self, watcher: &Watcher, text: String) {
        self.arrived.borrow_mut().push(Instant::now());
        if watcher.token.is_some() {
            let seq = number(&text, "\"seq\":").unwrap_or(0);
            if seq != watcher.seq.get() + 1 {
                self.gaps.set(self.gaps.get() + 1);
            }
            watcher.seq.set(seq);
        }
        *self.heard.borrow_mut() = text;
        self.changed.notify_one();
    }

    fn fault(&self, what: String) {
        self.fault.borrow_mut().get_or_insert(what);
    }

    async fn until(&self, what: &str, mut done: impl FnMut() -> bool) -> Fallible<()> {
        let waiting = async {
            while !done() {
                self.changed.notified().await;
                // Many come in the same moment: looked at together.
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, waiting).await.map_err(|_| {
            let (back, arrived) = (self.back.get(), self.arrived.borrow().len());
            format!("{what}: not in time ({back} in, {arrived} heard)")
        })?;
        self.fault.borrow_mut().take().map_or(Ok(()), |fault| Err(fault.into()))
    }
}

/// The number behind a key.
fn number(text: &str, key: &str) -> Option<u64> {
    let from = text.find(key)? + key.len();
    let digits = text[from..].split(|one: char| !one.is_ascii_digit()).next()?;
    digits.parse().ok()
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
