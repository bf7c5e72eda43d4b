//! The one place that wires a server: folder, journal, clock, keys, files, house, web server, office.
//!
//! [`App::start`] is what `kaibiao serve` and the tests use; [`serve`] is the whole life of a server process.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use kaibiao_protocol::{digest::Digest, moment::Moment};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
};

use crate::{
    admin::{Office, OpenOffice},
    clock::{Clock, ClockFault},
    config::{Config, ConfigFault, Tls},
    data_dir::{DataDir, DataDirFault},
    files::{FileFault, Files, LocalFiles},
    house::{self, House, HouseParts},
    http::{self, Desk, uploads::Ledger, uploads::LedgerFault},
    intake::last_stamp,
    journal::{Journal, JournalFault, SqliteJournal},
    keys::{KeyFault, PlatformKeys},
};

/// How often sessions are reviewed and expired uploads dropped.
const REVIEW_MS: i64 = 30_000;
/// How often the wall clock is looked at, to notice that somebody set it.
const STEP_POLL: Duration = Duration::from_secs(5);

/// Why a server does not start. The message says what to do where that is known.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// A setting.
    #[error(transparent)]
    Config(#[from] ConfigFault),
    /// The folder.
    #[error(transparent)]
    DataDir(#[from] DataDirFault),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalFault),
    /// The machine's clock.
    #[error(transparent)]
    Clock(#[from] ClockFault),
    /// The platform's keys.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// The store of files.
    #[error(transparent)]
    Files(#[from] FileFault),
    /// Replay.
    #[error(transparent)]
    House(#[from] house::StartFault),
    /// Uploads of an earlier run.
    #[error(transparent)]
    Uploads(#[from] LedgerFault),
    /// TLS.
    #[error("failed to use {path} for TLS: {told}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why.
        told: String,
    },
    /// The address.
    #[error("failed to listen on {listen}: {source}")]
    Listen {
        /// Which.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The administration socket.
    #[error("failed to open {path}: {source}")]
    Office {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process could not be made safe, or has no room for what it needs.
    #[error("failed to prepare the process: {0}")]
    Process(io::Error),
}

/// Starts servers.
pub struct App;

/// A running server.
pub struct Running {
    address: SocketAddr,
    tls: bool,
    desk: Arc<Desk>,
    server: ServerHandle,
    office: OpenOffice,
    stop_asked: Arc<Notify>,
    chores: JoinHandle<()>,
    // Keeps the folder locked; last, so that nothing of ours is at work when it goes.
    _data: DataDir,
}

impl App {
    /// Starts a server on the machine's clock, inside a running actix `System`. The first start makes everything.
    ///
    /// # Errors
    /// See [`StartFault`].
    pub async fn start(config: Config) -> Result<Running, StartFault> {
        Self::start_on(config, Clock::start).await
    }

    /// Starts a server on a clock that `clock` makes, told the journal's last stamp.
    ///
    /// # Errors
    /// See [`StartFault`].
    pub async fn start_on(
        config: Config,
        clock: impl FnOnce(Option<Moment>) -> Result<Clock, ClockFault> + Send + 'static,
    ) -> Result<Running, StartFault> {
        config.check()?;
        let tls = config.tls.as_ref().map(read_tls).transpose()?;
        let folder = config.data.clone();
        let opened = tokio::task::spawn_blocking(move || Opened::open(&folder, clock)).await;
        let opened = opened.map_err(|fault| StartFault::Process(io::Error::other(fault)))??;
        let Opened { data, journal, clock, keys, files } = opened;
        let threads = match config.opening.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            set => set,
        };
        // Before the house: it takes up the finals that a crash left without a verdict, and which these are tells the
        // ledger what is no upload any more.
        let limits = config.uploads.clone();
        let (kept, stored): (_, Arc<dyn Files>) = (journal.clone(), files.clone());
        let their_keys = keys.clone();
        let ledger =
            tokio::task::spawn_blocking(move || Ledger::open(kept, stored, their_keys, limits)).await;
        let ledger = ledger.map_err(|fault| StartFault::Process(io::Error::other(fault)))??;
        let house = House::start(HouseParts {
            journal: journal.clone(),
            files: files.clone(),
            clock: clock.clone(),
            keys,
            threads,
        })
        .await?;
        let listen = |source| StartFault::Listen { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let has_tls = tls.is_some();
        let desk = Arc::new(Desk::new(house, config.clone(), ledger));
        let server = http::serve(desk.clone(), listener, tls).map_err(listen)?;
        let handle = server.handle();
        actix_web::rt::spawn(server);
        let stop_asked = Arc::new(Notify::new());
        let office = Office {
            desk: desk.clone(),
            files,
            listen: address,
            since: clock.present(),
            stop: stop_asked.clone(),
        };
        let path = data.admin_socket();
        let office = office.open(&path).map_err(|source| StartFault::Office { path, source })?;
        let chores = tokio::spawn(chores(desk.clone()));
        tracing::info!(%address, tls = has_tls, data = %data.path().display(), "serving");
        Ok(Running { address, tls: has_tls, desk, server: handle, office, stop_asked, chores, _data: data })
    }
}

/// What is opened on the disk, in its order: nothing is touched before the folder is ours.
struct Opened {
    data: DataDir,
    journal: Arc<dyn Journal>,
    clock: Clock,
    keys: Arc<PlatformKeys>,
    files: Arc<LocalFiles>,
}

impl Opened {
    fn open(
        folder: &std::path::Path,
        clock: impl FnOnce(Option<Moment>) -> Result<Clock, ClockFault>,
    ) -> Result<Self, StartFault> {
        let data = DataDir::open(folder)?;
        let journal = SqliteJournal::open(&data.journal())?;
        tracing::info!(report = ?journal.report(), "the journal is open");
        let clock = clock(last_stamp(&journal)?)?;
        let keys = Arc::new(PlatformKeys::open(&data.keys(), &journal, &clock)?);
        let files = Arc::new(LocalFiles::open(&data.files())?);
        Ok(Self { data, journal: Arc::new(journal), clock, keys, files })
    }
}

impl Running {
    /// The address served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address as a URL without a path.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The house, for tests and for programs that hold a server of their own.
    pub fn house(&self) -> &House {
        &self.desk.house
    }

    /// The web server's desk.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Waits until the administrator asks the server to stop.
    pub async fn stop_asked(&self) {
        self.stop_asked.notified().await;
    }

    /// Stops in good order: sockets are told to come back later, uploads are noted where they stand, finals in work
    /// get their verdict, and what is acknowledged is durable anyway.
    pub async fn stop(self) {
        tracing::info!("stopping");
        self.desk.stop_sockets();
        self.server.stop(true).await;
        self.chores.abort();
        drop(self.office);
        self.desk.house.stop().await;
        tracing::info!("stopped");
    }
}

/// What is done now and then: sessions whose time or grounds are over end, forgotten uploads are dropped, and a wall
/// clock that somebody set is told.
async fn chores(desk: Arc<Desk>) {
    let review = async {
        let mut overdue_told = BTreeSet::new();
        loop {
            // Counted from before the review: time that passes during it is not overlooked.
            let seen = desk.house.clock().present();
            let reviewing = desk.clone();
            if tokio::task::spawn_blocking(move || reviewing.review_sessions()).await.is_err() {
                tracing::error!("the review of sessions broke off");
            }
            tell_overdue_lists(&desk, seen, &mut overdue_told);
            desk.uploads.sweep(seen).await;
            desk.house.clock().sleep_until(seen.plus_ms(REVIEW_MS)).await;
        }
    };
    let watch_clock = async {
        loop {
            tokio::time::sleep(STEP_POLL).await;
            if let Some(step) = desk.house.clock().poll_step() {
                tracing::error!(
                    step_micros = step.step_micros,
                    divergence_micros = step.divergence_micros,
                    "the machine's wall clock was set; deadlines go on by the server's own clock"
                );
                desk.house.note_clock_step(step).await;
            }
        }
    };
    tokio::join!(review, watch_clock);
}

/// An overdue revocation list refuses nobody, for its authority may just be late; but somebody must know, once for
/// each list.
fn tell_overdue_lists(desk: &Desk, now: Moment, told: &mut BTreeSet<Digest>) {
    let trust = desk.sign_in.trust(&desk.house.directory());
    for (vendor, list) in trust.lists() {
        if list.next_update.is_some_and(|due| due < now) && told.insert(list.digest) {
            tracing::warn!(vendor, issuer = %list.issuer, list = %list.digest, "a revocation list is overdue: take the next one in");
        }
    }
}

/// Reads certificate chain and key.
fn read_tls(tls: &Tls) -> Result<ServerConfig, StartFault> {
    let fault = |path: &PathBuf, told: String| StartFault::Tls { path: path.clone(), told };
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|told| fault(&tls.certificate, told.to_string()))?;
    if chain.is_empty() {
        return Err(fault(&tls.certificate, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|told| fault(&tls.key, told.to_string()))?;
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|told| fault(&tls.certificate, told.to_string()))
}

/// The whole life of a server process: makes it safe, starts, says that it is ready, and stops on SIGTERM, SIGINT or
/// the administrator's word.
///
/// # Errors
/// See [`StartFault`].
pub fn serve(config: Config, on_ready: impl FnOnce(&Running)) -> Result<(), StartFault> {
    harden().map_err(StartFault::Process)?;
    let system = actix::System::new();
    system.block_on(async move {
        let mut terminate = signal(SignalKind::terminate()).map_err(StartFault::Process)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartFault::Process)?;
        let running = App::start(config).await?;
        on_ready(&running);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = running.stop_asked() => {}
        }
        running.stop().await;
        Ok(())
    })
}

/// No core dump and no other process of this user may look into this one: keys pass through its memory. And room for
/// as many open files as the system grants.
fn harden() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum })?;
    Ok(())
}
