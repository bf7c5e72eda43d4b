//! Running our own programs as a person would, and reading what they print.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Stdio,
};

use kaibiao_bidder::practice::server::{ServerProcess, program};
use serde_json::Value;
use tokio::process::Command;

use crate::outcome::Failure;

/// Where our programs lie.
pub(super) struct Programs {
    kaibiao: PathBuf,
    bid: PathBuf,
}

/// What a program came to.
pub(super) struct Ran {
    /// Its exit code; none if a signal ended it.
    pub(super) code: Option<i32>,
    /// The JSON objects it printed, a line each.
    pub(super) lines: Vec<Value>,
    /// What it said on standard error.
    pub(super) said: String,
}

impl Ran {
    /// The last object printed.
    pub(super) fn last(&self) -> Value {
        self.lines.last().cloned().unwrap_or_default()
    }

    /// Its last words, for a message.
    fn words(&self) -> String {
        let last = self.last();
        let said = self.said.trim();
        if said.is_empty() { last.to_string() } else { format!("{said} {last}") }
    }
}

impl Programs {
    /// The programs beside this one.
    pub(super) fn find() -> Result<Self, Failure> {
        let find = |name| program(name).map_err(|fault| Failure::Failed(fault.to_string()));
        let (kaibiao, bid) = (find("kaibiao")?, find("kaibiao-bid")?);
        Ok(Self { kaibiao, bid })
    }

    /// Runs `kaibiao --json ARGUMENTS` to its end.
    pub(super) async fn kaibiao<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Ran, Failure> {
        run(&self.kaibiao, arguments, &[]).await
    }

    /// The same, and it must have done what it was asked.
    pub(super) async fn kaibiao_done<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Value, Failure> {
        done("kaibiao", self.kaibiao(arguments).await?)
    }

    /// What `kaibiao ARGUMENTS` prints for people; it must have done what it was asked.
    pub(super) async fn kaibiao_text<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, Failure> {
        let output = output(Command::new(&self.kaibiao).args(arguments)).await?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(Failure::of("play the demo: kaibiao", String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Runs `kaibiao-bid --json ARGUMENTS` to its end, with what the supplier's desk has in its environment.
    pub(super) async fn bid<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(OsString, OsString)],
    ) -> Result<Ran, Failure> {
        run(&self.bid, arguments, environment).await
    }

    /// The same, and it must have done what it was asked.
    pub(super) async fn bid_done<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(OsString, OsString)],
    ) -> Result<Value, Failure> {
        done("kaibiao-bid", self.bid(arguments, environment).await?)
    }

    /// Starts `kaibiao serve` on a free port and waits until it listens.
    pub(super) async fn serve(&self, data: &Path, log: &Path) -> Result<ServerProcess, Failure> {
        ServerProcess::start(&self.kaibiao, data, log)
            .await
            .map_err(|fault| Failure::Failed(fault.to_string()))
    }
}

async fn run<A: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = A>,
    environment: &[(OsString, OsString)],
) -> Result<Ran, Failure> {
    let mut command = Command::new(program);
    command.arg("--json").args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let output = output(&mut command).await?;
    let lines = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    Ok(Ran { code: output.status.code(), lines, said: String::from_utf8_lossy(&output.stderr).into_owned() })
}

async fn output(command: &mut Command) -> Result<std::process::Output, Failure> {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    running.await.map_err(|fault| Failure::of("run a program of the demo", fault))
}

fn done(program: &str, ran: Ran) -> Result<Value, Failure> {
    match ran.code {
        Some(0) => Ok(ran.last()),
        _ => Err(Failure::of(&format!("play the demo: {program}"), ran.words())),
    }
}
