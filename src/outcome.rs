//! How a command ends: exit code 0 done, 1 refused or failed, 2 misuse; results on standard output, words on
//! standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use kaibiao_bidder::report::Problem;
use kaibiao_protocol::refusal::Refusal;
use serde::Serialize;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server's normal answer: no, by which rule, and what to do next.
    #[error("refused: {}", .0.code.as_str())]
    Refused(Refusal),
    /// What a server, a token or a file said, in words for people.
    #[error("{}", .0.say.en)]
    Told(Box<Problem>),
    /// The world failed: a file, the network, the server.
    #[error("{0}")]
    Failed(String),
    /// The arguments make no sense together.
    #[error("{0}")]
    Misuse(String),
}

/// What a command gives back; its results are printed already.
pub(crate) type Outcome = Result<(), Failure>;

impl Failure {
    /// A fault of the world, said as `failed to ...: why`.
    pub(crate) fn of(doing: &str, why: impl std::fmt::Display) -> Self {
        Failure::Failed(format!("failed to {doing}: {why}"))
    }
}

/// Prints one result: `value` as one JSON line where JSON is asked for, else `text`.
pub(crate) fn result(json: bool, value: &impl Serialize, text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    let written = if json {
        serde_json::to_writer(&mut out, value).map_err(io::Error::from).and_then(|()| out.write_all(b"\n"))
    } else {
        writeln!(out, "{text}")
    };
    written.and_then(|()| out.flush()).map_err(|fault| Failure::of("write the result", fault))
}

/// Says something to the person at the terminal, beside the results.
pub(crate) fn say(text: &str) {
    // Standard error may be closed; then there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What clap has to say: help and version are no faults, everything else is misuse.
pub(crate) fn misuse_or_help(told: &clap::Error) -> ExitCode {
    let _ = told.print();
    if told.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

/// The exit code of a command, after telling why it failed.
pub(crate) fn exit(done: Outcome, json: bool) -> ExitCode {
    let Err(failure) = done else { return ExitCode::SUCCESS };
    if json {
        let told = match &failure {
            Failure::Refused(refusal) => serde_json::json!({ "refused": refusal }),
            Failure::Told(problem) => serde_json::json!({ "refused": problem }),
            Failure::Failed(why) => serde_json::json!({ "failed": why }),
            Failure::Misuse(why) => serde_json::json!({ "misuse": why }),
        };
        let _ = writeln!(io::stdout().lock(), "{told}");
    } else {
        match &failure {
            Failure::Refused(refusal) => {
                say(&format!("refused [{}] {}", refusal.code.as_str(), refusal.say.zh));
                say(&format!("  {}", refusal.say.en));
                say(&format!("  rule: {}", refusal.rule));
            }
            Failure::Told(problem) => {
                say(&format!("refused [{}] {}", problem.code, problem.say.zh));
                say(&format!("  {}", problem.say.en));
                if let Some(next) = &problem.next {
                    say(&format!("  {} / {}", next.zh, next.en));
                }
                if let Some(rule) = &problem.rule {
                    say(&format!("  rule: {rule}"));
                }
            }
            Failure::Failed(why) => say(&format!("error: {why}")),
            Failure::Misuse(why) => say(&format!("error: {why}\n\nTry --help.")),
        }
    }
    match failure {
        Failure::Refused(_) | Failure::Told(_) | Failure::Failed(_) => ExitCode::FAILURE,
        Failure::Misuse(_) => ExitCode::from(2),
    }
}
