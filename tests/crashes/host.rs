//! Who keeps the server running: starts it, starts it again when it has died, and turns its clock.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kaibiao_protocol::moment::Moment;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    proxy::Proxy,
    server::{Aim, NotServing, Server},
};

/// How long a server is down, by everybody's clock.
const DOWN_MS: i64 = 1_000;
/// How often it is asked whether it can still work, where its disk may fail.
const LOOK_EVERY: Duration = Duration::from_millis(50);

enum Word {
    Turn(Turn, oneshot::Sender<()>),
    /// Stops in good order; tells whether it did.
    Stop(oneshot::Sender<bool>),
    /// Stops in good order and starts anew.
    Again(oneshot::Sender<()>),
}

/// How a clock is turned.
#[derive(Clone, Copy)]
pub(crate) enum Turn {
    /// To an instant; nothing if that is over.
    Until(Moment),
    /// By so many minutes.
    Minutes(i64),
}

/// What has befallen so far.
#[derive(Default)]
pub(crate) struct Befallen {
    /// The process died by itself.
    pub(crate) deaths: AtomicUsize,
    /// It said that it writes no more, and was started anew.
    pub(crate) writing_ended: AtomicUsize,
    /// A start was refused, and tried again on a sound disk.
    pub(crate) starts_refused: AtomicUsize,
}

/// A server that is always there, but for a moment.
pub(crate) struct Host {
    words: mpsc::UnboundedSender<Word>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) folder: PathBuf,
    pub(crate) befallen: Arc<Befallen>,
    keeping: JoinHandle<()>,
}

struct Keeping {
    folder: PathBuf,
    proxy: Arc<Proxy>,
    aim: Option<Aim>,
    befallen: Arc<Befallen>,
    /// What the clock showed, and when that was.
    shown: (Moment, Instant),
}

impl Host {
    /// Starts a server on a folder; only its first life is aimed at.
    pub(crate) async fn start(folder: &Path, now: Moment, aim: Option<Aim>) -> Self {
        let proxy = Arc::new(Proxy::start().await);
        let befallen = Arc::new(Befallen::default());
        let (words, heard) = mpsc::unbounded_channel();
        let keeping = Keeping {
            folder: folder.to_owned(),
            proxy: proxy.clone(),
            aim,
            befallen: befallen.clone(),
            shown: (now, Instant::now()),
        };
        let keeping = actix_web::rt::spawn(keeping.keep(heard));
        Self { words, proxy, folder: folder.to_owned(), befallen, keeping }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.proxy.address)
    }

    pub(crate) async fn turn(&self, turn: Turn) {
        let (tell, told) = oneshot::channel();
        self.words.send(Word::Turn(turn, tell)).expect("the host is there");
        told.await.unwrap();
    }

    /// Stops in good order, and starts anew on what there is.
    pub(crate) async fn again(&self) {
        let (tell, told) = oneshot::channel();
        self.words.send(Word::Again(tell)).expect("the host is there");
        told.await.unwrap();
    }

    /// Stops for good; whether it was in good order.
    pub(crate) async fn stop(self) -> bool {
        let (tell, told) = oneshot::channel();
        self.words.send(Word::Stop(tell)).expect("the host is there");
        let stopped = told.await.unwrap();
        self.keeping.await.unwrap();
        stopped
    }
}

impl Keeping {
    fn present(&self) -> Moment {
        let passed = i64::try_from(self.shown.1.elapsed().as_micros()).unwrap();
        Moment(self.shown.0.0 + passed)
    }

    fn show(&mut self, at: Moment) {
        self.shown = (at, Instant::now());
    }

    /// A server that serves, whatever it takes.
    async fn serve(&mut self) -> Server {
        loop {
            let aim = self.aim.take();
            match Server::start(&self.folder, self.shown.0, aim.as_ref()).await {
                Ok(server) => {
                    self.proxy.lead_to(Some(server.address));
                    return server;
                }
                Err(NotServing::Died) if aim.is_some() => {
                    self.befallen.deaths.fetch_add(1, Ordering::Relaxed);
                }
                Err(NotServing::Refused(why)) if aim.is_some() => {
                    assert!(why.contains("failed to") || why.contains("no room"), "{why}");
                    self.befallen.starts_refused.fetch_add(1, Ordering::Relaxed);
                }
                Err(fault) => panic!("a start on a sound disk: {fault:?}"),
            }
            let now = self.present().plus_ms(DOWN_MS);
            self.show(now);
        }
    }

    async fn begin_again(&mut self) -> Server {
        self.proxy.lead_to(None);
        let now = self.present().plus_ms(DOWN_MS);
        self.show(now);
        self.serve().await
    }

    async fn keep(mut self, mut words: mpsc::UnboundedReceiver<Word>) {
        let may_fail = self.aim.as_ref().is_some_and(|aim| aim.befalls != "kill");
        let mut server = self.serve().await;
        loop {
            let word = tokio::select! {
                word = words.recv() => word,
                () = server.dies() => {
                    self.befallen.deaths.fetch_add(1, Ordering::Relaxed);
                    server = self.begin_again().await;
                    continue;
                }
                () = tokio::time::sleep(LOOK_EVERY), if may_fail => {
                    if has_ended_writing(&server).await {
                        self.befallen.writing_ended.fetch_add(1, Ordering::Relaxed);
                        server.kill().await;
                        server = self.begin_again().await;
                    }
                    continue;
                }
            };
            match word {
                Some(Word::Turn(turn, tell)) => {
                    let at = match turn {
                        Turn::Until(at) => at,
                        Turn::Minutes(minutes) => self.present().plus_ms(minutes * 60_000),
                    };
                    if at > self.present() {
                        self.show(at);
                        while !server.turn(at).await {
                            self.befallen.deaths.fetch_add(1, Ordering::Relaxed);
                            server = self.begin_again().await;
                        }
                    }
                    let _ = tell.send(());
                }
                Some(Word::Again(tell)) => {
                    if !server.stop().await {
                        self.befallen.deaths.fetch_add(1, Ordering::Relaxed);
                    }
                    server = self.begin_again().await;
                    let _ = tell.send(());
                }
                Some(Word::Stop(tell)) => {
                    let _ = tell.send(server.stop().await);
                    return;
                }
                None => return,
            }
        }
    }
}

/// Asks a server for its readiness and its metrics; where it writes no more it must still let itself be read.
async fn has_ended_writing(server: &Server) -> bool {
    let ready = get(server, "/ready").await.unwrap_or_default();
    if !ready.contains("writing_ended") {
        return false;
    }
    let metrics = get(server, "/metrics").await.expect("reading goes on");
    assert!(metrics.contains("kaibiao_journal_writing 0"), "the alarm: {metrics}");
    true
}

async fn get(server: &Server, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(server.address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// A copy of a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
    let _ = fs::remove_file(to.join("admin.sock"));
}
