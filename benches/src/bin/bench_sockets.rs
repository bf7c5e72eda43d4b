//! Many sockets: what an idle session costs, one event to all of them, and a storm of reconnects while bids are
//! handed in; each beside a bare actix-ws server of the same buffers, in processes of their own.
//!
//! `bench_sockets [--json] [--sessions N] [--events N] [--idle-seconds N] [--bid-kib N] [--seed N] [--folder DIR]`

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::{Args, Parser, Subcommand};
use kaibiao_benches::{
    Durations, Machine, Report, Wanted,
    sockets::{Child, CrowdOptions, ServedOptions, Uploaders, gather, serve_bare, serve_house},
};
use serde_json::{Value, json};
use tokio::runtime::Builder;

/// Memory of an idle session beyond the bare server's (issue).
const SESSION_KIB_MAX: f64 = 12.0;
/// One event to all, 99 of 100, in times of the bare broadcast (issue).
const FAN_OUT_RATIO_MAX: f64 = 1.5;
/// Memory that one connection can hold of the server, whatever it sends.
const HOSTILE_KIB_MAX: f64 = 256.0;
/// One in so many does harm, on a connection of its own.
const HOSTILE_SHARE: usize = 10;
/// An idle server uses at most so much of one core (issue: near 0).
const IDLE_PERCENT_MAX: f64 = 5.0;
/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_secs(2);
/// How long bids are handed in before the storm, to compare with.
const QUIET: Duration = Duration::from_secs(5);
/// Between two events.
const BREATH: Duration = Duration::from_millis(300);

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    bench: Bench,
}

/// The processes that the bench starts of itself.
#[derive(Subcommand)]
enum Part {
    /// The kaibiao server.
    #[command(hide = true)]
    House(ServedOptions),
    /// The bare server.
    #[command(hide = true)]
    Bare,
    /// Those who watch.
    #[command(hide = true)]
    Crowd(CrowdOptions),
}

#[derive(Args)]
struct Bench {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many sessions watch the room, one socket each.
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// How many events are measured; one more warms up.
    #[arg(long, default_value_t = 10)]
    events: usize,
    /// How long both servers are left alone.
    #[arg(long, default_value_t = 20)]
    idle_seconds: u64,
    /// The size of the bids handed in meanwhile.
    #[arg(long, default_value_t = 256)]
    bid_kib: u64,
    /// The seed of the pauses of those who come back.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the server's folder is made.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.part {
        None => run(&options.bench),
        Some(Part::House(served)) => actix::System::new().block_on(serve_house(served)).map(|()| true),
        Some(Part::Bare) => actix::System::new().block_on(serve_bare()).map(|()| true),
        Some(Part::Crowd(crowd)) => crowd_process(crowd).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Nobody listening is no reason to fail twice.
            let _ = writeln!(io::stderr(), "bench_sockets: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn crowd_process(options: &CrowdOptions) -> Result<(), Box<dyn Error>> {
    Builder::new_current_thread().enable_all().build()?.block_on(gather(options))
}

/// A server and its crowd.
struct Side {
    server: Child,
    crowd: Child,
    handing_in: Vec<Value>,
    /// Bytes a session, gathered and idle.
    session_bytes: f64,
    gathered_ms: f64,
}

impl Side {
    fn gather(mut server: Child, address: &Value, bench: &Bench) -> Result<Self, Box<dyn Error>> {
        let before = server.resident_bytes()?;
        let opened = server.order(&json!({ "do": "sessions" }))?;
        let address = address.as_str().ok_or("a server says where it is")?;
        let (watchers, seed) = (bench.sessions.to_string(), bench.seed.to_string());
        let mut arguments = vec!["crowd", "--address", address, "--watchers", &watchers, "--seed", &seed];
        if let Some(tokens) = opened["tokens"].as_str() {
            arguments.extend(["--tokens", tokens]);
        }
        let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
        let (mut crowd, _) = Child::start(&arguments)?;
        let gathered = crowd.order(&json!({ "do": "gather" }))?;
        sleep(SETTLE);
        let session_bytes = (server.resident_bytes()? as f64 - before as f64) / bench.sessions as f64;
        let handing_in = opened["handing_in"].as_array().cloned().unwrap_or_default();
        let gathered_ms = gathered["ms"].as_f64().unwrap_or(0.0);
        Ok(Self { server, crowd, handing_in, session_bytes, gathered_ms })
    }

    /// One event to all; when each heard, and the text.
    fn event(&mut self, text: Option<&str>) -> Result<(Durations, String), Box<dyn Error>> {
        let told = self.crowd.order(&json!({ "do": "event", "text": text }))?;
        if told["gaps"] != 0 {
            return Err(format!("somebody missed something: {}", told["gaps"]).into());
        }
        let micros = told["micros"].as_array().ok_or("the crowd tells when it heard")?;
        let durations = micros.iter().filter_map(Value::as_u64).map(Duration::from_micros).collect();
        Ok((durations, told["text"].as_str().unwrap_or_default().to_owned()))
    }
}

fn run(bench: &Bench) -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(&bench.folder)?;
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let mut report = Report::new("many sockets", Machine::look(folder.path()));
    report.fact("sessions", bench.sessions);
    report.fact("seed", bench.seed);

    let (watchers, bid_bytes) = (bench.sessions.to_string(), (bench.bid_kib << 10).to_string());
    let place = folder.path().to_str().ok_or("the folder's name is text")?;
    let served = ["house", "--folder", place, "--watchers", &watchers, "--bid-bytes", &bid_bytes];
    let (house, told) = Child::start(&served.map(str::to_owned))?;
    let mut ours = Side::gather(house, &told["address"], bench)?;
    let (bare, told) = Child::start(&["bare".to_owned()])?;
    let mut twin = Side::gather(bare, &told["address"], bench)?;

    let kib = 1024.0;
    report.measured("a session, the whole", ours.session_bytes / kib, "KiB");
    report.measured("a socket of the bare server", twin.session_bytes / kib, "KiB");
    let beyond = (ours.session_bytes - twin.session_bytes) / kib;
    report.figure("a session beyond the bare socket", beyond, "KiB", Wanted::AtMost(SESSION_KIB_MAX));
    report.measured("sign-ins known, all are in after", ours.gathered_ms, "ms");
    report.measured("the bare server, all are in after", twin.gathered_ms, "ms");

    idle(&mut report, &ours, &twin, bench)?;
    fan_out(&mut report, &mut ours, &mut twin, bench)?;
    storm(&mut report, &mut ours, &mut twin, &folder)?;
    harm(&mut report, &mut ours, bench)?;
    report.print(bench.json)?;
    Ok(report.reached())
}

fn idle(report: &mut Report, ours: &Side, twin: &Side, bench: &Bench) -> Result<(), Box<dyn Error>> {
    let before = (ours.server.processor_time()?, twin.server.processor_time()?);
    let time = Duration::from_secs(bench.idle_seconds);
    sleep(time);
    let percent =
        |after: Duration, before: Duration| (after - before).as_secs_f64() / time.as_secs_f64() * 100.0;
    let our_percent = percent(ours.server.processor_time()?, before.0);
    report.figure("idle, of one core", our_percent, "%", Wanted::AtMost(IDLE_PERCENT_MAX));
    report.measured("the bare server, idle", percent(twin.server.processor_time()?, before.1), "%");
    Ok(())
}

fn fan_out(
    report: &mut Report,
    ours: &mut Side,
    twin: &mut Side,
    bench: &Bench,
) -> Result<(), Box<dyn Error>> {
    let (mut told, mut bare) = (Durations::default(), Durations::default());
    for round in 0..=bench.events {
        let (one, text) = ours.event(None)?;
        sleep(BREATH);
        let (other, _) = twin.event(Some(&text))?;
        sleep(BREATH);
        if round > 0 {
            told.extend(one);
            bare.extend(other);
        } else {
            report.fact("bytes of the event", text.len());
        }
    }
    let ms = |durations: &Durations, percent| durations.percentile(percent).as_secs_f64() * 1e3;
    report.measured("one event to all, median", ms(&told, 50.0), "ms");
    report.measured("one event to all, 99 of 100", ms(&told, 99.0), "ms");
    report.measured("one event to all, the last", ms(&told, 100.0), "ms");
    report.measured("the bare broadcast, median", ms(&bare, 50.0), "ms");
    report.measured("the bare broadcast, 99 of 100", ms(&bare, 99.0), "ms");
    report.measured("the bare broadcast, the last", ms(&bare, 100.0), "ms");
    let ratio = ms(&told, 99.0) / ms(&bare, 99.0);
    report.figure("event / bare broadcast, 99 of 100", ratio, "x", Wanted::AtMost(FAN_OUT_RATIO_MAX));
    Ok(())
}

fn storm(
    report: &mut Report,
    ours: &mut Side,
    twin: &mut Side,
    folder: &tempfile::TempDir,
) -> Result<(), Box<dyn Error>> {
    let uploads = Uploaders::begin(&ours.handing_in, folder.path())?;
    let began = Instant::now();
    sleep(QUIET);
    let struck = Instant::now();
    let told = ours.crowd.order(&json!({ "do": "storm" }))?;
    let over = Instant::now();
    // Whatever began in the storm ends, or this fails.
    let (quiet, stormy) = (uploads.between(began, struck), uploads.between(struck, over));
    uploads.end()?;
    if told["gaps"] != 0 {
        return Err(format!("somebody came back with a gap: {}", told["gaps"]).into());
    }
    let number = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
    report.fact("digest of what everybody has", told["digest"].as_str().unwrap_or("none"));
    report.measured("a storm: all are back without a gap after", number("ms"), "ms");
    report.measured("handshakes told busy meanwhile", number("refused"), "");
    let bare = twin.crowd.order(&json!({ "do": "storm" }))?;
    report.measured("the bare server: all are back after", bare["ms"].as_f64().unwrap_or(f64::NAN), "ms");
    let ms = |durations: &Durations, percent| durations.percentile(percent).as_secs_f64() * 1e3;
    report.measured("a bid handed in, before the storm, median", ms(&quiet, 50.0), "ms");
    report.measured("a bid handed in, before the storm, the last", ms(&quiet, 100.0), "ms");
    report.measured("a bid handed in, in the storm, median", ms(&stormy, 50.0), "ms");
    report.measured("a bid handed in, in the storm, the last", ms(&stormy, 100.0), "ms");
    Ok(())
}

/// What hostile connections hold, beside all the others.
fn harm(report: &mut Report, ours: &mut Side, bench: &Bench) -> Result<(), Box<dyn Error>> {
    let count = (bench.sessions / HOSTILE_SHARE).max(1);
    for (kind, name) in [
        ("pieces", "held by a text in pieces without end, each"),
        ("heads", "held by a head without end, each"),
    ] {
        let before = ours.server.resident_bytes()?;
        ours.crowd.order(&json!({ "do": "harm", "kind": kind, "count": count }))?;
        sleep(SETTLE);
        let held = ours.server.resident_bytes()?.saturating_sub(before) as f64 / count as f64 / 1024.0;
        report.figure(name, held, "KiB", Wanted::AtMost(HOSTILE_KIB_MAX));
        ours.crowd.order(&json!({ "do": "relent" }))?;
        sleep(SETTLE);
    }
    // The server lives, and everybody else hears.
    let (told, _) = ours.event(None)?;
    report.measured("one event afterwards, the last", told.percentile(100.0).as_secs_f64() * 1e3, "ms");
    Ok(())
}
