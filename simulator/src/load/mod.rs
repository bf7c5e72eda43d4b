//! A load: its plan, its course, its report.

mod arrivals;
mod crowd;
pub mod deadline;
mod meters;
mod page;
mod report;
mod supplier;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressStyle};
use kaibiao_bidder::{
    client::{AddressFault, Client, ClientFault, ClientOptions, ServerAddress},
    clock::now,
    confirm::{ConfirmFault, fetch_record},
    practice::{
        ShopFault,
        server::{ServerFault, ServerProcess, program},
    },
};
use kaibiao_protocol::moment::Moment;

pub use self::{arrivals::Arrivals, report::Report};
use self::{
    crowd::Crowd,
    meters::Meters,
    supplier::{Day, Handed},
};

/// What is asked of a load.
pub struct Plan {
    /// How many suppliers.
    pub suppliers: u32,
    /// How many lots.
    pub lots: u16,
    /// About how many MiB of PDFs a bid has.
    pub bid_mb: u32,
    /// When suppliers come.
    pub arrivals: Arrivals,
    /// Over how many seconds before the deadline.
    pub arrive_seconds: u32,
    /// What is drawn from.
    pub seed: u64,
    /// A running server's address and data folder; none: one of our own.
    pub running: Option<(String, PathBuf)>,
    /// Where the report is left.
    pub out: PathBuf,
    /// No progress on standard error.
    pub quiet: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadFault {
    /// A server of practice, or a running one's administration.
    #[error(transparent)]
    Server(#[from] ServerFault),
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressFault),
    /// The server cannot be used.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// The crowd's tokens.
    #[error("failed to make the crowd's tokens: {0}")]
    Shop(#[from] ShopFault),
    /// The crowd's bids.
    #[error("failed to make a bid: {0}")]
    Bid(String),
    /// Too slow.
    #[error(
        "failed to seal every bid before the suppliers were to come: use fewer or smaller bids, or a longer --arrive-seconds"
    )]
    TooSlow,
    /// The record was never published, or does not hold.
    #[error("failed to read the record: {0}")]
    Record(#[from] ConfirmFault),
    /// A file of the report.
    #[error("failed to write {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs a load to its report.
///
/// # Errors
/// [`LoadFault`]. What happens to single suppliers is in the report, not an error.
pub async fn run(plan: &Plan) -> Result<Report, LoadFault> {
    let file = |path: &std::path::Path| {
        let path = path.to_owned();
        move |source| LoadFault::File { path, source }
    };
    std::fs::create_dir_all(&plan.out).map_err(file(&plan.out))?;
    let work = tempfile::tempdir().map_err(file(std::path::Path::new("a temporary folder")))?;
    let own = match &plan.running {
        Some(_) => None,
        None => {
            let data = work.path().join("server");
            Some(ServerProcess::start(&program("kaibiao")?, &data, &plan.out.join("server.log")).await?)
        }
    };
    let (url, data) = match (&own, &plan.running) {
        (Some(own), _) => (own.url.clone(), own.data().to_owned()),
        (None, Some((url, data))) => (url.clone(), data.clone()),
        (None, None) => unreachable!("a server is either our own or running"),
    };
    let report = course(plan, &url, &data, own.as_ref().and_then(ServerProcess::id), work.path()).await;
    if let Some(own) = own {
        own.stop().await?;
    }
    let report = report?;
    let write = |name: &str, text: String| {
        let path = plan.out.join(name);
        std::fs::write(&path, text).map_err(file(&path))
    };
    write("report.json", report.json() + "\n")?;
    write("report.html", page::page(&report))?;
    Ok(report)
}

async fn course(
    plan: &Plan,
    url: &str,
    data: &std::path::Path,
    server_id: Option<u32>,
    work: &std::path::Path,
) -> Result<Report, LoadFault> {
    let address = ServerAddress::parse(url, false)?;
    // A bar for each phase; a crowd's phases overlap by nature.
    let making = bar(plan, "making the crowd");
    let crowd = Crowd::make(plan, work, &making).await?;
    making.finish();
    let setting_up = bar(plan, "accounts");
    crowd.set_up(data, &setting_up).await?;
    setting_up.finish();

    let deadline = crowd.create_project(data, now().plus_ms(millis(lead(plan)))).await?;
    let meters = Arc::new(Meters::new());
    let sealing = bar(plan, "sealing");
    let handing_in = bar(plan, "handing in");
    let unsealing = bar(plan, "unsealing");
    let arrivals = plan.arrivals.draw(plan.seed, plan.suppliers, plan.arrive_seconds);
    let peak = Arc::new(Mutex::new(Memory::default()));
    let watching = server_id.map(|id| tokio::spawn(watch_memory(id, peak.clone())));

    let mut days = Vec::new();
    for (member, before_ms) in crowd.members.iter().zip(arrivals) {
        // Each has a client of its own, as each has a machine of its own.
        let client = Client::new(address.clone(), ClientOptions::default())?;
        let comes_at = deadline.plus_ms(-i64::from(before_ms));
        days.push(Day::new(client, member, comes_at, meters.clone()));
    }
    for day in &mut days {
        day.begin(&crowd).await?;
        sealing.inc(1);
    }
    sealing.finish();
    if days.iter().any(|day| now() > day.comes_at()) {
        return Err(LoadFault::TooSlow);
    }
    let handed: Vec<Handed> = join_all(days.iter().map(|day| async {
        let handed = day.hand_in(deadline).await;
        handing_in.inc(1);
        handed
    }))
    .await;
    handing_in.finish();
    join_all(days.iter().zip(&handed).map(|(day, handed)| async {
        if handed.standing().is_some() {
            day.unseal().await;
        }
        unsealing.inc(1);
    }))
    .await;
    unsealing.finish();
    if let Some(watching) = watching {
        watching.abort();
    }
    // Whoever stands may read the record.
    let reader = days.iter().zip(&handed).find(|(_, handed)| handed.standing().is_some());
    let record = match reader {
        Some((day, _)) => Some(fetch_record(&day.room()).await?),
        None => None,
    };
    let memory = *peak.lock().expect("no panic while memory is noted");
    Ok(Report::new(plan, &meters, &handed, record.as_ref(), memory, deadline))
}

/// A server process's memory, in bytes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Memory {
    /// When it was first looked at.
    pub before: u64,
    /// The most that was seen.
    pub peak: u64,
}

async fn watch_memory(id: u32, peak: Arc<Mutex<Memory>>) {
    loop {
        if let Some(bytes) = resident(id) {
            let mut memory = peak.lock().expect("no panic while memory is noted");
            if memory.before == 0 {
                memory.before = bytes;
            }
            memory.peak = memory.peak.max(bytes);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The resident memory of a process.
fn resident(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// How long sealing may take before the first supplier comes, and the time they come over.
fn lead(plan: &Plan) -> Duration {
    let each = Duration::from_millis(60) + Duration::from_millis(20) * plan.bid_mb;
    let slow = if cfg!(debug_assertions) { 2 } else { 1 };
    Duration::from_secs(5) + each * plan.suppliers * slow + Duration::from_secs(plan.arrive_seconds.into())
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn bar(plan: &Plan, what: &'static str) -> ProgressBar {
    if plan.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg:18} {bar:40} {pos:>5}/{len:<5} {elapsed}")
        .expect("the template is well-formed");
    ProgressBar::new(plan.suppliers.into()).with_style(style).with_message(what)
}

/// When something was, as milliseconds before (negative) or after a deadline.
fn relative_ms(at: Moment, deadline: Moment) -> i64 {
    at.micros_since(deadline) / 1_000
}
