//! The command `kaibiao`: the server, a whole opening as a demonstration, and the commands of those who run rooms
//! and keep the platform.
//!
//! Each subcommand is a module with its arguments and a `run`. None of them opens a data folder beside a running
//! server: `admin` speaks to its socket, `room` to its WebSocket.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod admin;
mod demo;
mod evaluate;
mod outcome;
mod record_files;
mod room;
mod rules;
mod secret;
mod serve;
mod verify;

/// Passwords and keys pass through buffers that are not of our making.
#[global_allocator]
static MEMORY: kaibiao_wiping::Wiping = kaibiao_wiping::Wiping;

/// 开标: takes in sealed bids, opens them all at once and publishes the opening record.
#[derive(Parser)]
#[command(name = "kaibiao", version, about, max_term_width = 110)]
struct Cli {
    /// Print machine-readable results: one JSON object on standard output.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. The first start makes keys, journal and folders; no configuration is needed.
    Serve(serve::Serve),
    /// Play a whole opening against a real server process: suppliers seal, hand in, unseal, and the record appears.
    Demo(demo::Demo),
    /// Run an opening as the agent, or watch it.
    Room(Box<room::Room>),
    /// Check receipts, records and journals offline.
    Verify(verify::Verify),
    /// Evaluate a lot from a file, without a server: ranking, candidates, warnings, and what would change the winner.
    Evaluate(evaluate::Evaluate),
    /// The rules that are enforced and cited, by key and certainty.
    Rules(rules::Rules),
    /// Keep organisations, users, roots of trust and projects of a running server, through its socket.
    Admin(admin::Admin),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return outcome::misuse_or_help(&told),
    };
    let done = match cli.command {
        Command::Serve(serve) => serve::run(&serve, cli.json),
        Command::Demo(demo) => demo::run(&demo, cli.json),
        Command::Room(room) => room::run(&room, cli.json),
        Command::Verify(verify) => verify::run(&verify, cli.json),
        Command::Evaluate(evaluate) => evaluate::run(&evaluate, cli.json),
        Command::Rules(rules) => rules::run(&rules, cli.json),
        Command::Admin(admin) => admin::run(&admin, cli.json),
    };
    outcome::exit(done, cli.json)
}
