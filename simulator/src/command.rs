//! The command line `kaibiao-sim`.
//!
//! Exit codes: 0 done, 1 failed, refused, a bid lost or doubled or an invariant broken, 2 misuse.

use std::{
    io::{self, Write},
    ops::Range,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{
    load::{self, Arrivals, Plan, Report, deadline::Second},
    world::{
        plan::Profile,
        report::{self, Sweep},
    },
};

/// Simulate the day before it comes: the load of many suppliers, and worlds in which everything goes wrong.
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
    /// Play simulated worlds, each from its seed, and hold them against the invariants.
    World(World),
}

/// Arguments of `kaibiao-sim load`.
#[derive(Args)]
#[command(after_help = "Examples:
  kaibiao-sim load --suppliers 200 --lots 2 --bid-mb 1 --arrivals deadline-rush
  kaibiao-sim load --suppliers 10000 --projects 1 --bid-kb 64 --arrivals deadline-second
  kaibiao-sim load --suppliers 50 --server http://127.0.0.1:7300 --server-data /var/lib/kaibiao

Without --server a server of its own is started beside it and stopped afterwards. The project is an exercise.
In OUT: report.json, report.html (open it in a browser), server.log.")]
struct Load {
    /// How many suppliers.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(3..=10_000))]
    suppliers: u32,
    /// How many lots; every supplier bids for each.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=50))]
    lots: u16,
    /// About how many MiB of PDFs one bid has.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    bid_mb: u32,
    /// Over how many projects they are spread; more than one with deadline-second only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    projects: u32,
    /// With deadline-second: about how many KiB a sealed bid has.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=65_536))]
    bid_kb: u32,
    /// With deadline-second: how many KiB of each bid are sent in that second; without it, all.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    last_kb: Option<u32>,
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

/// Arguments of `kaibiao-sim world`.
#[derive(Args)]
#[command(after_help = "Examples:
  kaibiao-sim world --seed 7 --profile opening
  kaibiao-sim world --seeds 0..10000

Every world is played in virtual time from its seed alone. A broken invariant is told as a story, with the command that
plays its world again, and ends the program with exit code 1.")]
struct World {
    /// One world.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Many worlds: from the first seed up to, and without, the last.
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// Which kind of world; without it the kinds come in turn.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// On how many threads; without it, one a core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
}

/// A range of seeds as it is written.
fn seeds(text: &str) -> Result<Range<u64>, String> {
    const FORM: &str = "write the first seed, two dots, and the seed to stop before, such as 0..1000";
    let (from, to) = text.split_once("..").ok_or(FORM)?;
    let (from, to): (u64, u64) = (from.parse().map_err(|_| FORM)?, to.parse().map_err(|_| FORM)?);
    if from < to { Ok(from..to) } else { Err(format!("there is no seed between {from} and {to}: {FORM}")) }
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
    match cli.command {
        Command::Load(arguments) => run_load(arguments, cli.json),
        Command::World(arguments) => run_world(&arguments, cli.json),
    }
}

fn run_world(arguments: &World, json: bool) -> ExitCode {
    let seeds = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => seed..seed.saturating_add(1),
        (None, Some(seeds)) => seeds.clone(),
        (None, None) => return failed("name the worlds by --seed N or --seeds A..B"),
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(seeds.end - seeds.start) };
    let style = "{bar:30} {pos}/{len} worlds, {per_sec}, {eta} to go";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
    let sweep = Sweep {
        seeds,
        profile: arguments.profile,
        threads: arguments.threads.map_or(cores, usize::from),
        broken_max: BROKEN_MAX,
    };
    let report = report::sweep(&sweep, &|done| bar.set_position(done));
    bar.finish_and_clear();
    let text =
        if json { serde_json::to_string(&report).expect("a report is plain data") } else { report.text() };
    let _ = writeln!(io::stdout().lock(), "{text}");
    if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_load(arguments: Load, json: bool) -> ExitCode {
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
        quiet: json,
    };
    let second = Second {
        projects: arguments.projects.min(plan.suppliers),
        bid_kb: arguments.bid_kb,
        last_kb: arguments.last_kb.unwrap_or(u32::MAX).min(arguments.bid_kb.saturating_add(64)),
    };
    if plan.arrivals != Arrivals::DeadlineSecond && arguments.projects != 1 {
        return misused("--projects goes with --arrivals deadline-second");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return failed(&format!("failed to start: {fault}")),
    };
    let told = match plan.arrivals {
        Arrivals::DeadlineSecond => runtime
            .block_on(load::deadline::run(&plan, second))
            .map(|report| (report.holds(), if json { report.json() } else { report.text(&plan.out) })),
        Arrivals::Uniform | Arrivals::DeadlineRush => runtime
            .block_on(load::run(&plan))
            .map(|report| (report.holds(), if json { report.json() } else { report.text(&plan.out) })),
    };
    match told {
        Ok((holds, text)) => {
            let _ = writeln!(io::stdout().lock(), "{text}");
            if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => failed(&fault.to_string()),
    }
}

/// After so many broken worlds the rest is not played.
const BROKEN_MAX: usize = 20;

fn misused(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr().lock(), "error: {why}");
    ExitCode::from(2)
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
