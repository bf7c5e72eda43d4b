//! How cost grows from ten suppliers to ten thousand: unsealing, memory and fan-out, as tables, and as plots where
//! `--plots` says. Each size is measured in processes of its own.
//!
//! `bench_growth [--json] [--sizes N,N,..] [--bid-kib N] [--events N] [--plots DIR] [--folder DIR]`

use std::{
    collections::VecDeque,
    error::Error,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use clap::{Args, Parser, Subcommand};
use kaibiao_benches::{
    Durations, Machine, Report, Wanted,
    growth::Growth,
    room::{HandedIn, Room},
    sockets::{Child, CrowdOptions, Orders, ServedOptions, gather, serve_house},
};
use kaibiao_engine::project::Project;
use kaibiao_protocol::ids::ProjectId;
use kaibiao_protocol::refusal::RefusalCode;
use serde_json::{Value, json};
use tokio::{runtime::Builder, task::JoinSet};

/// A step costs at most so many times what its size grew (issue: linear or better; what single runs differ by).
const STEP_MAX: f64 = 1.2;
/// Suppliers that hand their keys over at the same moment; others follow as each is answered.
const RELEASING_MAX: usize = 1_000;
/// How long an opening may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// What `/proc/self/clear_refs` takes for: forget the most memory ever held.
const RESET_PEAK: &str = "5";
/// Between two events.
const BREATH: Duration = Duration::from_millis(200);

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
    /// One opening.
    #[command(hide = true)]
    Opening {
        #[arg(long)]
        bids: usize,
        #[arg(long)]
        bid_bytes: u64,
        #[arg(long)]
        folder: PathBuf,
    },
    /// A server.
    #[command(hide = true)]
    House(ServedOptions),
    /// Those who watch.
    #[command(hide = true)]
    Crowd(CrowdOptions),
}

#[derive(Args)]
struct Bench {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many suppliers, in growing order.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    sizes: Vec<usize>,
    /// The size of a bid.
    #[arg(long, default_value_t = 16)]
    bid_kib: u64,
    /// How many events are measured at each size; one more warms up.
    #[arg(long, default_value_t = 5)]
    events: usize,
    /// Where the plots go.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// Where folders of servers are made.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.part {
        None => run(&options.bench),
        Some(Part::Opening { bids, bid_bytes, folder }) => {
            actix::System::new().block_on(opening(*bids, *bid_bytes, folder)).map(|()| true)
        }
        Some(Part::House(served)) => actix::System::new().block_on(serve_house(served)).map(|()| true),
        Some(Part::Crowd(crowd)) => Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(gather(crowd)))
            .map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Nobody listening is no reason to fail twice.
            let _ = writeln!(io::stderr(), "bench_growth: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: &Bench) -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(&bench.folder)?;
    let mut report = Report::new("how cost grows", Machine::look(&bench.folder));
    report.fact("suppliers", bench.sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" "));
    report.fact("KiB a bid", bench.bid_kib);
    let growth = |name, unit| Growth { name, of: "suppliers", unit, points: Vec::new() };
    let mut unsealing = growth("from the first keys to durable publication", "ms");
    let mut memory = growth("memory of an opening, at its most", "MiB");
    let mut fan_out = growth("one event to everybody, 99 of 100", "ms");
    for size in &bench.sizes {
        let folder = tempfile::tempdir_in(&bench.folder)?;
        let place = folder.path().to_str().ok_or("the folder's name is text")?;
        let (bids, bytes) = (size.to_string(), (bench.bid_kib << 10).to_string());
        let arguments = ["opening", "--bids", &bids, "--bid-bytes", &bytes, "--folder", place];
        let (mut child, _) = Child::start(&arguments.map(str::to_owned))?;
        let told = child.order(&json!({ "do": "open" }))?;
        let number = |name: &str| told[name].as_f64().ok_or("an opening tells what it took");
        unsealing.points.push((*size as f64, number("ms")?));
        memory.points.push((*size as f64, number("peak_bytes")? / f64::from(1 << 20)));
        drop(child);
        fan_out.points.push((*size as f64, one_event(*size, bench)?.as_secs_f64() * 1e3));
    }
    let mut tables = String::new();
    for (growth, file, wanted) in [
        (&unsealing, "growth-unsealing.svg", "unsealing, the worst step"),
        (&memory, "growth-memory.svg", "memory, the worst step"),
        (&fan_out, "growth-fan-out.svg", "fan-out, the worst step"),
    ] {
        report.figure(wanted, growth.worst(), "x", Wanted::AtMost(STEP_MAX));
        tables.push_str(&growth.table());
        tables.push('\n');
        if let Some(plots) = &bench.plots {
            fs::create_dir_all(plots)?;
            fs::write(plots.join(file), growth.plot())?;
        }
    }
    report.print(bench.json)?;
    if !bench.json {
        io::stdout().write_all(tables.as_bytes())?;
    }
    Ok(report.reached())
}

/// One event to so many sockets.
fn one_event(size: usize, bench: &Bench) -> Result<Duration, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(&bench.folder)?;
    let place = folder.path().to_str().ok_or("the folder's name is text")?;
    let watchers = size.to_string();
    let served = ["house", "--folder", place, "--watchers", &watchers, "--bid-bytes", "1024"];
    let (mut house, told) = Child::start(&served.map(str::to_owned))?;
    let address = told["address"].as_str().ok_or("a server says where it is")?;
    let opened = house.order(&json!({ "do": "sessions" }))?;
    let tokens = opened["tokens"].as_str().ok_or("a server says where the tokens are")?;
    let crowd = ["crowd", "--address", address, "--watchers", &watchers, "--seed", "1", "--tokens", tokens];
    let (mut crowd, _) = Child::start(&crowd.map(str::to_owned))?;
    crowd.order(&json!({ "do": "gather" }))?;
    let mut all = Durations::default();
    for round in 0..=bench.events {
        sleep(BREATH);
        let told = crowd.order(&json!({ "do": "event", "text": null }))?;
        let micros = told["micros"].as_array().ok_or("the crowd tells when it heard")?;
        if round > 0 {
            all.extend(micros.iter().filter_map(Value::as_u64).map(Duration::from_micros).collect());
        }
    }
    Ok(all.percentile(99.0))
}

/// The child's side: makes everything ready, then opens when it is told to.
async fn opening(suppliers: usize, bid_bytes: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let room = Room::open(folder, suppliers, threads).await?;
    let project: ProjectId = "BENCH-GROWTH".parse()?;
    let deadline = room.publish(&project).await?;
    let mut bids = room.hand_all_in(&project, bid_bytes, folder).await?;
    // What suppliers have at home is not the server's memory.
    bids.iter_mut().for_each(|bid| bid.bytes = Vec::new());
    fs::write("/proc/self/clear_refs", RESET_PEAK)?;
    let mut orders = Orders::listen();
    orders.answer(&json!({}))?;
    while orders.next().await.is_some() {
        room.until(deadline);
        let order = until(&room, &project, |state| state.order().map(|order| order.text.clone())).await?;
        let took = release_all(&room, &project, &bids, &order).await?;
        orders.answer(&json!({ "ms": took.as_secs_f64() * 1e3, "peak_bytes": peak_bytes()? }))?;
    }
    Ok(())
}

async fn release_all(
    room: &Room,
    project: &ProjectId,
    bids: &[HandedIn],
    order: &str,
) -> Result<Duration, Box<dyn Error>> {
    // Sealing keys to the order is each supplier's own work, and not what is measured.
    let sealed = bids.iter().enumerate().map(|(no, bid)| Ok((no, bid.release(order)?)));
    let mut waiting = sealed.collect::<Result<VecDeque<_>, Box<dyn Error>>>()?;
    let mut at_work = JoinSet::new();
    let began = Instant::now();
    loop {
        while at_work.len() < RELEASING_MAX
            && let Some((no, keys)) = waiting.pop_front()
        {
            let house = room.house.clone();
            at_work.spawn_local(async move { (no, house.release_keys(keys).await) });
        }
        let Some(done) = at_work.join_next().await else { break };
        match done? {
            (_, Ok(_)) => {}
            (no, Err(refusal)) if refusal.code == RefusalCode::Busy => {
                waiting.push_back((no, bids[no].release(order)?));
            }
            (_, Err(refusal)) => return Err(refusal.say.en.into()),
        }
    }
    until(room, project, |state| state.record().map(|_| ())).await?;
    Ok(began.elapsed())
}

/// Waits until the committed state gives what is wanted.
async fn until<T>(
    room: &Room,
    project: &ProjectId,
    wanted: impl Fn(&Project) -> Option<T>,
) -> Result<T, Box<dyn Error>> {
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        if let Some(found) = room.house.project(project).await.as_deref().and_then(&wanted) {
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
    Err("the opening does not go on".into())
}

/// The most memory this process ever held.
fn peak_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or("no VmHWM")?.parse()?;
    Ok(kib * 1024)
}
