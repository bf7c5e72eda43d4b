//! Many projects: a hundred thousand that are over and a thousand that live. How long a start takes, what the
//! process needs of memory, and how late a sleeping project is at its deadline.
//!
//! `bench_archive [--json] [--archived N] [--live N] [--folder DIR]`
//!
//! The journal is written through its own interface, every event as the engine stores it. What is measured runs
//! in a process of its own, so that its memory is the server's alone.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error,
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use kaibiao_actors::{
    clock::Clock,
    files::LocalFiles,
    house::{House, HouseParts},
    journal::{Append, Journal, Pending, RawRecord, SqliteJournal, Stream},
    keys::PlatformKeys,
};
use kaibiao_benches::{Machine, Report, Wanted};
use kaibiao_engine::stored::encode_project;
use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    event::{LotCount, ProjectEvent},
    ids::{LotNo, ProjectId},
    moment::Moment,
    money::{Fen, PriceKind},
    project::{BackupPolicy, LotSpec, Method, ProjectKind, ProjectSpec, StartMode},
    record::{LotRecord, OpeningRecord},
    role::{Asker, Reactor},
};
use serde_json::{Value, json};

/// What the process may use with everything loaded (issue).
const MEMORY_MIB_MAX: f64 = 300.0;
/// How long a start may take (issue).
const START_SECONDS_MAX: f64 = 3.0;
/// How late a sleeping project may be at its deadline (issue).
const LATE_MS_MAX: f64 = 20.0;
/// Appends on their way at once while the journal is written.
const PENDING_MAX: usize = 512;
/// How long after the last append the sleeping project's deadline is.
const SLEEPS_MS: i64 = 20_000;

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many projects are over.
    #[arg(long, default_value_t = 100_000)]
    archived: u64,
    /// How many receive bids, and are loaded.
    #[arg(long, default_value_t = 1_000)]
    live: u64,
    /// Where the data folder is made.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    /// Starts on this data folder and says what it took: how the bench calls itself.
    #[arg(long, hide = true)]
    serve: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.serve {
        Some(folder) => serve(folder, options.live).map(|()| true),
        None => run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Nobody listening is no reason to fail twice.
            let _ = writeln!(io::stderr(), "bench_archive: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let folder = folder.path();
    let mut report = Report::new("archive", Machine::look(folder));
    report.fact("projects that are over", options.archived);
    report.fact("projects that live", options.live);
    let written = Instant::now();
    let records = write(folder, options)?;
    report.fact("records", records);
    report.measured("writing the journal", written.elapsed().as_secs_f64(), "s");

    let mut child = Command::new(std::env::current_exe()?)
        .arg("--serve")
        .arg(folder)
        .arg("--live")
        .arg(options.live.to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("the server's words")?).lines();
    let mut said = || -> Result<Value, Box<dyn Error>> {
        Ok(serde_json::from_str(&lines.next().ok_or("the server says no more")??)?)
    };
    let (started, loaded, woken) = (said()?, said()?, said()?);
    child.wait()?;
    let number = |value: &Value, name: &str| value[name].as_f64().ok_or_else(|| format!("no {name}"));
    report.measured("opening the journal", number(&started, "journal_s")?, "s");
    report.figure("a start", number(&started, "start_s")?, "s", Wanted::AtMost(START_SECONDS_MAX));
    report.measured("memory after the start", number(&started, "rss_mib")?, "MiB");
    report.measured("loading the live ones", number(&loaded, "load_s")?, "s");
    report.figure(
        "memory with the live ones loaded",
        number(&loaded, "rss_mib")?,
        "MiB",
        Wanted::AtMost(MEMORY_MIB_MAX),
    );
    report.measured("memory at its peak", number(&loaded, "peak_mib")?, "MiB");
    report.figure(
        "a sleeping project's count after its deadline",
        number(&woken, "late_ms")?,
        "ms",
        Wanted::AtMost(LATE_MS_MAX),
    );
    report.print(options.json)?;
    Ok(report.reached())
}

/// Writes the journal; gives how many records it has.
fn write(folder: &Path, options: &Options) -> Result<u64, Box<dyn Error>> {
    let journal = SqliteJournal::open(&folder.join("journal"))?;
    let clock = Clock::start(journal.last_moment())?;
    PlatformKeys::open(&folder.join("keys"), &journal, &clock)?;
    let mut pending: VecDeque<Pending> = VecDeque::new();
    let mut give = |append: Append| -> Result<(), Box<dyn Error>> {
        while pending.len() >= PENDING_MAX {
            let Some(first) = pending.pop_front() else { break };
            first.wait()?;
        }
        pending.push_back(journal.append(append));
        Ok(())
    };
    let past = clock.present().plus_ms(-86_400_000);
    for no in 0..options.archived {
        give(over(&named("OVER", no)?, past)?)?;
    }
    let later = clock.present().plus_minutes(24 * 60);
    for no in 0..options.live {
        give(receiving(&named("LIVE", no)?, clock.now(), later.plus_ms(no as i64))?)?;
    }
    let now = clock.now();
    give(receiving(&sleeper()?, now, now.plus_ms(SLEEPS_MS))?)?;
    for append in pending {
        append.wait()?;
    }
    Ok(journal.head().position)
}

fn named(kind: &str, no: u64) -> Result<ProjectId, Box<dyn Error>> {
    Ok(format!("{kind}-{no:06}").parse()?)
}

fn sleeper() -> Result<ProjectId, Box<dyn Error>> {
    Ok("SLEEPER".parse()?)
}

/// A project that is over: nobody handed in, and its record says so.
fn over(id: &ProjectId, at: Moment) -> Result<Append, Box<dyn Error>> {
    let lot = LotNo::new(1).ok_or("a lot")?;
    let closed = LotCount { bids: 0, opens: false };
    let none = LotRecord::NotOpened { rule: "TR-44 87-41 (GP/1)".to_owned(), bids: Vec::new() };
    let record = OpeningRecord { published_at: at, lots: BTreeMap::from([(lot, none)]) };
    let events = [
        created(id, at)?,
        ProjectEvent::ReceivingClosed { lots: BTreeMap::from([(lot, closed)]) },
        ProjectEvent::RecordsPublished { record },
        ProjectEvent::RecordSigned { digest: Digest([7; 32]), signature: Blob(vec![7; 64]) },
        ProjectEvent::OpeningEnded { by: Asker::Platform { reactor: Reactor::Console } },
    ];
    Ok(append(id, at, &events, None))
}

fn receiving(id: &ProjectId, at: Moment, deadline: Moment) -> Result<Append, Box<dyn Error>> {
    Ok(append(id, at, &[created(id, deadline)?], Some(deadline)))
}

fn append(id: &ProjectId, at: Moment, events: &[ProjectEvent], wake_at: Option<Moment>) -> Append {
    let record = |event: &ProjectEvent| {
        let stored = encode_project(event);
        RawRecord {
            kind: stored.kind,
            version: stored.version,
            at,
            command_id: None,
            payload: stored.payload,
        }
    };
    let (stream, records) = (Stream::Project(id.clone()), events.iter().map(record).collect());
    Append { stream, expected_seq: 0, records, wake_at, side: Vec::new() }
}

fn created(id: &ProjectId, deadline: Moment) -> Result<ProjectEvent, Box<dyn Error>> {
    let much = Fen::new(100_000_000_000).ok_or("an amount")?;
    let lot = LotSpec {
        name: "便携式计算机采购".to_owned(),
        budget: much,
        price_kind: PriceKind::Total,
        bid_security: None,
    };
    let spec = ProjectSpec {
        id: id.clone(),
        name: "某某大学教学实验用便携式计算机采购项目".to_owned(),
        region: "浙江省本级".to_owned(),
        kind: ProjectKind::Exercise,
        method: Method::OpenTender,
        purchaser: "school".parse()?,
        organiser: "agency".parse()?,
        budget: much,
        deadline,
        start: StartMode::AtDeadline,
        window_minutes: 30,
        failure_grace_minutes: 10,
        backup: BackupPolicy::AnyFault,
        confirm_minutes: 20,
        consortium_allowed: false,
        bid_bytes_max: None,
        invited: None,
        rule_pack: "GP/1".to_owned(),
        lots: BTreeMap::from([(LotNo::new(1).ok_or("a lot")?, lot)]),
    };
    Ok(ProjectEvent::ProjectCreated { spec, by: Asker::Platform { reactor: Reactor::Console } })
}

/// Starts on the folder; says how that went, a line of JSON each.
fn serve(folder: &Path, live: u64) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let journal = Arc::new(SqliteJournal::open(&folder.join("journal"))?);
    let journal_s = began.elapsed().as_secs_f64();
    let clock = Clock::start(journal.last_moment())?;
    let keys = PlatformKeys::open(&folder.join("keys"), &*journal, &clock)?;
    let files = LocalFiles::open(&folder.join("files"))?;
    actix::System::new().block_on(async move {
        let parts = HouseParts {
            journal: journal.clone(),
            files: Arc::new(files),
            clock: clock.clone(),
            keys: Arc::new(keys),
            threads: 2,
        };
        let house = House::start(parts).await?;
        let start_s = began.elapsed().as_secs_f64();
        say(&json!({ "journal_s": journal_s, "start_s": start_s, "rss_mib": memory_mib("VmRSS")? }))?;
        let loading = Instant::now();
        for no in 0..live {
            house.project(&named("LIVE", no)?).await.ok_or("a live project is loaded")?;
        }
        let load_s = loading.elapsed().as_secs_f64();
        say(&json!({ "load_s": load_s, "rss_mib": memory_mib("VmRSS")?, "peak_mib": memory_mib("VmHWM")? }))?;
        say(&json!({ "late_ms": lateness_ms(&*journal, &clock).await? }))?;
        house.stop().await;
        Ok(())
    })
}

/// How long after its deadline the sleeping project's bids were counted.
async fn lateness_ms(journal: &dyn Journal, clock: &Clock) -> Result<f64, Box<dyn Error>> {
    let stream = Stream::Project(sleeper()?);
    let first = journal.read(&stream, 0, 1)?;
    let deadline = first.first().ok_or("the sleeping project is there")?.at.plus_ms(SLEEPS_MS);
    if clock.present() >= deadline {
        return Err("the start took so long that the sleeping project's deadline was over".into());
    }
    clock.sleep_until(deadline.plus_ms(1_000)).await;
    let records = journal.read(&stream, 1, 1)?;
    let counted = records.first().ok_or("the sleeping project was counted within a second")?;
    Ok(counted.at.micros_since(deadline) as f64 / 1e3)
}

fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

fn memory_mib(what: &str) -> Result<f64, Box<dyn Error>> {
    // Freed memory goes back to the system a little later.
    std::thread::sleep(Duration::from_millis(200));
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(what)).ok_or("the kernel tells the memory")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("a number")?.parse()?;
    Ok(kib / 1024.0)
}
