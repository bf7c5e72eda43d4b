//! The command line `kaibiao-sim`.
//!
//! Exit codes: 0 done, 1 failed, refused or a bid lost or doubled, 2 misuse.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use crate::load::{self, Arrivals, Plan, Report};

/// Simulate the load of many suppliers before the day.
#[derive(Parser)]
#[command(name = "kaibiao-sim", version, max_term_width = 110)]
struct Cli {
    /// Print the result as one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Let many suppliers hand in and unseal, and measure every step.
    Load(Load),
}

/// Arguments of `kaibiao-sim load`.
#[derive(Args)]
#[command(after_help = "Examples:
  kaibiao-sim load --suppliers 200 --lots 2 --bid-mb 1 --arrivals deadline-rush
  kaibiao-sim load --suppliers 50 --server http://127.0.0.1:7300 --server-data /var/lib/kaibiao

Without --server a server of its own is started beside it and stopped afterwards. The project is an exercise.
In OUT: report.json, report.html (open it in a browser), server.log.")]
struct Load {
    /// How many suppliers.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(3..=5_000))]
    suppliers: u32,
    /// How many lots; every supplier bids for each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    lots: u16,
    /// About how many MiB of PDFs one bid has.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    bid_mb: u32,
    /// When suppliers come before the deadline.
    #[arg(long, value_enum, default_value_t = Arrivals::Uniform)]
    arrivals: Arrivals,
    /// Over how many seconds before the deadline they come.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=3_600))]
    arrive_seconds: u32,
    /// What arrivals and papers are drawn from; the same seed gives the same crowd.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A running server's address; needs --server-data.
    #[arg(long, requires = "server_data")]
    server: Option<String>,
    /// The running server's data folder, whose admin.sock sets suppliers and project up.
    #[arg(long, value_name = "DIR", requires = "server")]
    server_data: Option<PathBuf>,
    /// Where the report is left.
    #[arg(long, value_name = "DIR", default_value = "load-out")]
    out: PathBuf,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let Command::Load(arguments) = cli.command;
    let running = arguments.server.zip(arguments.server_data);
    let plan = Plan {
        suppliers: arguments.suppliers,
        lots: arguments.lots,
        bid_mb: arguments.bid_mb,
        arrivals: arguments.arrivals,
        arrive_seconds: arguments.arrive_seconds,
        seed: arguments.seed,
        running,
        out: arguments.out,
        quiet: cli.json,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = match runtime {
        Ok(runtime) => runtime.block_on(load::run(&plan)),
        Err(fault) => return failed(&format!("failed to start: {fault}")),
    };
    match report {
        Ok(report) => {
            let text = if cli.json { report.json() } else { report.text(&plan.out) };
            let _ = writeln!(io::stdout().lock(), "{text}");
            if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => failed(&fault.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "error: {why}");
    ExitCode::FAILURE
}

impl Report {
    /// Whether every acknowledged bid is in the record exactly once, and nothing else failed.
    fn holds(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.strangers == 0 && self.wrong_verdicts == 0
    }
}
