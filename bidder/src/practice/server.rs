//! A server process of practice: `kaibiao serve`, found beside this program, on a free port.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    process::{Child, Command},
    time::timeout,
};

/// How long the server may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(60);
/// How long the server may take to stop in good order.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Why a server of practice does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerFault {
    /// The program is not there.
    #[error("failed to find {}: build all programs first (cargo build --workspace --bins)", .0.display())]
    NoProgram(PathBuf),
    /// It did not begin to listen.
    #[error("failed to start the server: {why}; its log is {}", log.display())]
    NotStarted {
        /// What happened instead.
        why: String,
        /// Its log.
        log: PathBuf,
    },
    /// The system fails.
    #[error("failed to {doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// It ended otherwise than in good order.
    #[error("the server ended with {0}")]
    Ended(ExitStatus),
    /// The administration said no.
    #[error("the administration refused {ask}: {answer}")]
    Refused {
        /// What was asked.
        ask: String,
        /// What it answered.
        answer: String,
    },
}

impl ServerFault {
    fn system(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::System { doing, source }
    }
}

/// A program built beside this one.
///
/// # Errors
/// It is not there.
pub fn program(name: &str) -> Result<PathBuf, ServerFault> {
    let own = std::env::current_exe().map_err(ServerFault::system("find this program's own file"))?;
    let beside = own.with_file_name(name);
    // A test's program lies one folder deeper.
    let above = own.parent().and_then(Path::parent).map(|folder| folder.join(name));
    [Some(beside.clone()), above]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or(ServerFault::NoProgram(beside))
}

/// A running `kaibiao serve`; killed when dropped.
pub struct ServerProcess {
    child: Child,
    /// Its address.
    pub url: String,
    data: PathBuf,
}

impl ServerProcess {
    /// Starts one over a data folder, its log in a file, and waits until it listens.
    ///
    /// # Errors
    /// [`ServerFault`].
    pub async fn start(kaibiao: &Path, data: &Path, log: &Path) -> Result<Self, ServerFault> {
        let log_file = File::create(log).map_err(ServerFault::system("write the server's log"))?;
        let mut child = Command::new(kaibiao)
            .args(["--json", "serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .kill_on_drop(true)
            .spawn()
            .map_err(ServerFault::system("start the server"))?;
        let mut lines = BufReader::new(child.stdout.take().expect("its output was piped")).lines();
        let not_started = |why: String| ServerFault::NotStarted { why, log: log.to_owned() };
        let line = match timeout(START_MAX, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => return Err(not_started("it ended".to_owned())),
            Err(_) => return Err(not_started("it did not listen within a minute".to_owned())),
        };
        let ready: Value = serde_json::from_str(&line).map_err(|fault| not_started(fault.to_string()))?;
        let url = ready["listening"].as_str().unwrap_or_default().to_owned();
        Ok(Self { child, url, data: data.to_owned() })
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Tells it to stop, and waits until it has.
    ///
    /// # Errors
    /// It cannot be told, or ends otherwise than in good order.
    pub async fn stop(mut self) -> Result<(), ServerFault> {
        administer(&self.data, &serde_json::json!({ "shut_down": {} })).await?;
        match timeout(STOP_MAX, self.child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(ServerFault::Ended(status)),
            Ok(Err(fault)) => Err(ServerFault::system("wait for the server")(fault)),
            Err(_) => Err(ServerFault::system("stop the server")(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Says one thing over the administration socket of the server whose data folder this is; gives its answer.
///
/// # Errors
/// The socket does not answer, or the answer is no.
pub async fn administer(data: &Path, ask: &Value) -> Result<Value, ServerFault> {
    let fault = ServerFault::system("speak to the server's administration");
    let mut stream = UnixStream::connect(data.join("admin.sock")).await.map_err(&fault)?;
    stream.write_all(format!("{ask}\n").as_bytes()).await.map_err(&fault)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.map_err(&fault)?;
    let answer: Value = serde_json::from_str(&line).unwrap_or_default();
    match answer.get("ok") {
        Some(done) => Ok(done.clone()),
        None => Err(ServerFault::Refused { ask: named(ask), answer: line.trim().to_owned() }),
    }
}

/// An ask's name alone: its content may be a password.
fn named(ask: &Value) -> String {
    ask.as_object().and_then(|fields| fields.keys().next()).cloned().unwrap_or_default()
}
