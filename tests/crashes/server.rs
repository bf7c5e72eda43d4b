//! A server process of these tests: this test binary again, with a clock that goes on by itself and is turned by a word
//! on its standard input.

use std::{
    env,
    io::{self, BufRead as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc,
    time::Duration,
};

use kaibiao_actors::{app::App, clock::Clock, config::Config};
use kaibiao_protocol::moment::Moment;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

const FOLDER: &str = "KAIBIAO_TEST_SERVER_FOLDER";
const NOW: &str = "KAIBIAO_TEST_SERVER_NOW";
/// How often the child's clock moves on.
const TICK: Duration = Duration::from_millis(5);

/// The child's whole life; `false` where this process is no child.
pub(crate) fn live() -> bool {
    let (Some(folder), Ok(now)) = (env::var_os(FOLDER), env::var(NOW)) else { return false };
    let now = Moment(now.parse().unwrap());
    // The test harness may have left half a line.
    say("");
    actix_web::rt::System::new().block_on(serve(folder.into(), now));
    true
}

async fn serve(data: PathBuf, now: Moment) {
    let mut config =
        Config { data, listen: SocketAddr::from(([127, 0, 0, 1], 0)), workers: 1, ..Config::default() };
    config.opening.threads = 1;
    let (tell, told) = mpsc::channel();
    let started = App::start_on(config, move |last| {
        let (clock, hands) = Clock::steppable_after(now, last)?;
        tell.send((clock.clone(), hands)).unwrap();
        Ok(clock)
    });
    let running = match started.await {
        Ok(running) => running,
        Err(fault) => return say(&format!("refused {fault}")),
    };
    let (clock, hands) = told.recv().unwrap();
    say(&format!("listening {}", running.address()));
    let (words, mut heard) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if words.send(line).is_err() {
                return;
            }
        }
    });
    loop {
        let word = tokio::select! {
            word = heard.recv() => word,
            () = tokio::time::sleep(TICK) => {
                hands.pass_ms(5);
                continue;
            }
        };
        match word.as_deref().map(|word| word.split_once(' ').unwrap_or((word, ""))) {
            Some(("until", at)) => {
                hands.pass_until(&clock, Moment(at.parse().unwrap()));
                say("turned");
            }
            Some(("stop", _)) => {
                running.stop().await;
                return say("stopped");
            }
            // Whoever started it is gone.
            Some(_) | None => return,
        }
    }
}

/// One line in one write.
fn say(line: &str) {
    io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What befalls a server's disk.
#[derive(Clone, Debug)]
pub(crate) struct Aim {
    /// Where its calls are written down.
    pub(crate) trace: PathBuf,
    /// At which call; 0: none.
    pub(crate) at: u64,
    /// `kill`, `eio` or `enospc`.
    pub(crate) befalls: &'static str,
}

/// A running child; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// Why there is no server.
#[derive(Debug)]
pub(crate) enum NotServing {
    /// It said why.
    Refused(String),
    /// It died.
    Died,
}

impl Server {
    /// Starts one on a folder, its clock at `now`.
    pub(crate) async fn start(folder: &Path, now: Moment, aim: Option<&Aim>) -> Result<Self, NotServing> {
        let own = env::current_exe().unwrap();
        let mut command = Command::new(&own);
        command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]);
        command.env(FOLDER, folder).env(NOW, now.0.to_string());
        if let Some(aim) = aim {
            command
                .env("LD_PRELOAD", own.with_file_name("libfaulty_disk.so"))
                .env("FAULTY_DISK_TRACE", &aim.trace)
                .env("FAULTY_DISK_AT", aim.at.to_string())
                .env("FAULTY_DISK_DO", aim.befalls);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                child.wait().await.unwrap();
                return Err(NotServing::Died);
            };
            match line.split_once(' ') {
                Some(("listening", address)) => {
                    return Ok(Self { child, stdin, lines, address: address.parse().unwrap() });
                }
                Some(("refused", why)) => {
                    child.wait().await.unwrap();
                    return Err(NotServing::Refused(why.to_owned()));
                }
                _ => {}
            }
        }
    }

    /// Waits until it is dead.
    pub(crate) async fn dies(&mut self) {
        self.child.wait().await.unwrap();
    }

    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Turns its clock; `false` if it died instead.
    pub(crate) async fn turn(&mut self, until: Moment) -> bool {
        self.say(&format!("until {}", until.0), "turned").await
    }

    /// Stops it in good order; `false` if it died instead.
    pub(crate) async fn stop(&mut self) -> bool {
        self.say("stop", "stopped").await && self.child.wait().await.is_ok()
    }

    async fn say(&mut self, word: &str, answer: &str) -> bool {
        if self.stdin.write_all(format!("{word}\n").as_bytes()).await.is_err() {
            return false;
        }
        while let Ok(Some(line)) = self.lines.next_line().await {
            if line == answer {
                return true;
            }
        }
        false
    }
}
