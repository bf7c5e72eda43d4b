//! The deadline second: everybody's last byte comes in the last second.
//!
//! What is measured is the server alone, from a sender's last byte to its verdict; so everything else is done
//! beforehand. The crowd has few RSA keys and a certificate of its own each; bids are sealed by the production code,
//! though over bytes that are no papers, for nobody opens them here. Sockets are bare: a client's machine is not what
//! is measured, and ten thousand of them must fit beside the server. A sender connects, sends the head of its
//! request and all but the last bytes, and the rest at its time. Every verdict's signature is checked, and each is held
//! against the stamp in it and against the sender's own clock.

mod bare;
mod crowd;
mod report;
mod sender;
mod verdicts;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};
use kaibiao_bidder::{
    client::{Client, ClientOptions, ServerAddress},
    clock::now,
    practice::server::{ServerProcess, program},
};
use kaibiao_protocol::moment::Moment;

pub use report::DeadlineReport;

use self::{crowd::Crowd, sender::Sender};
use super::{LoadFault, Memory, Plan, bar, page, watch_memory};

/// What is asked of the deadline second beside a load's plan.
#[derive(Clone, Copy)]
pub struct Second {
    /// Over how many projects the suppliers are spread.
    pub projects: u32,
    /// About how many KiB a sealed bid has.
    pub bid_kb: u32,
    /// How many KiB of it are sent in the last second; what comes before them is sent beforehand.
    pub last_kb: u32,
}

/// Requests made at once while everything is prepared.
const TOGETHER: usize = 48;
/// How long before the deadline the senders begin to connect, at most: less than the time after which a server cuts a
/// request that brings nothing.
const CONNECT_AHEAD_MS_MAX: i64 = 20_000;
/// How long a sender waits for its verdict.
const VERDICT_MAX: Duration = Duration::from_secs(120);

/// Runs the second to its report.
///
/// # Errors
/// [`LoadFault`]. What happens to single suppliers is in the report, not an error.
pub async fn run(plan: &Plan, second: Second) -> Result<DeadlineReport, LoadFault> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| LoadFault::File { path, source }
    };
    std::fs::create_dir_all(&plan.out).map_err(file(&plan.out))?;
    // Beside the report: a temporary folder may lie in memory, where a sync costs nothing.
    let work = tempfile::tempdir_in(&plan.out).map_err(file(&plan.out))?;
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
    let came = course(plan, second, &url, &data, own.as_ref().and_then(ServerProcess::id), work.path()).await;
    if let Some(own) = own {
        own.stop().await?;
    }
    let report = came?;
    let write = |name: &str, text: String| {
        let path = plan.out.join(name);
        std::fs::write(&path, text).map_err(file(&path))
    };
    write("report.json", report.json() + "\n")?;
    write("report.html", page::deadline_page(&report))?;
    Ok(report)
}

async fn course(
    plan: &Plan,
    second: Second,
    url: &str,
    data: &Path,
    server_id: Option<u32>,
    work: &Path,
) -> Result<DeadlineReport, LoadFault> {
    let address = ServerAddress::parse(url, false)?;
    let making = bar(plan, "certificates");
    let crowd = Arc::new(Crowd::make(plan.suppliers, second.projects, &making).await?);
    making.finish();
    let setting_up = bar(plan, "accounts");
    crowd.set_up(data, &setting_up).await?;
    setting_up.finish();

    let client = Client::new(address, ClientOptions::default())?;
    let keys = crowd.platform_keys(&client, data).await?;
    let sealing = bar(plan, "sealing");
    let bids = crowd.seal(&keys, second.bid_kb, plan.seed, &sealing).await?;
    sealing.finish();
    let signing_in = bar(plan, "signing in");
    let sessions: Vec<_> = stream::iter(0..crowd.members.len())
        .map(|no| {
            let (crowd, client) = (crowd.clone(), client.clone());
            async move { crowd.sign_in(no, &client).await }
        })
        .buffered(TOGETHER)
        .inspect(|_| signing_in.inc(1))
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
    signing_in.finish();

    // Beginning an upload takes some milliseconds at most; the projects come one after another.
    let beginning_ms = 5_000 + i64::from(plan.suppliers) * 4 + i64::from(second.projects) * 15;
    let connect_ahead_ms = (4_000 + i64::from(plan.suppliers) * 2).min(CONNECT_AHEAD_MS_MAX);
    let deadline = crowd.create_projects(data, now().plus_ms(beginning_ms + connect_ahead_ms)).await?;
    let memory = Arc::new(std::sync::Mutex::new(Memory::default()));
    let watching = server_id.map(|id| tokio::spawn(watch_memory(id, memory.clone())));
    let host = url.strip_prefix("http://").unwrap_or(url).to_owned();
    let beginning = bar(plan, "beginning");
    let arrivals = plan.arrivals.draw(plan.seed, plan.suppliers, 1);
    let last_bytes = second.last_kb as usize * 1_024;
    let mut senders = Vec::with_capacity(bids.len());
    for (no, ((bid, session), before_ms)) in bids.into_iter().zip(sessions).zip(&arrivals).enumerate() {
        let at = deadline.plus_ms(-i64::from(*before_ms));
        senders.push(Sender::new(&crowd, no, bid, session, host.clone(), at, last_bytes));
    }
    let begun: Vec<Result<Sender, LoadFault>> = stream::iter(senders)
        .map(|mut sender| async move { sender.begin().await.map(|()| sender) })
        .buffered(TOGETHER)
        .inspect(|_| beginning.inc(1))
        .collect()
        .await;
    let senders: Vec<Sender> = begun.into_iter().collect::<Result<_, _>>()?;
    beginning.finish();
    if now() > deadline.plus_ms(-connect_ahead_ms) {
        return Err(LoadFault::TooSlow);
    }
    wait_until(deadline.plus_ms(-connect_ahead_ms)).await;

    let connecting = bar(plan, "connecting");
    let mut tasks = Vec::with_capacity(senders.len());
    for mut sender in senders {
        // In turn, so that the listen queue never overflows.
        sender.connect().await?;
        connecting.inc(1);
        tasks.push(tokio::spawn(async move {
            let told = sender.send(VERDICT_MAX).await;
            (sender, told)
        }));
    }
    connecting.finish();
    if now() > deadline.plus_ms(-1_000) {
        return Err(LoadFault::TooSlow);
    }
    let judging = bar(plan, "verdicts");
    let mut came = Vec::with_capacity(tasks.len());
    for task in tasks {
        came.push(task.await.expect("a sender does not panic"));
        judging.inc(1);
    }
    judging.finish();
    if let Some(watching) = watching {
        watching.abort();
    }
    let memory = *memory.lock().expect("no panic while memory is noted");
    let (judged, bare) = tokio::task::spawn_blocking({
        let (crowd, work) = (crowd.clone(), work.to_owned());
        move || {
            let bare = bare::write(&work.join("bare"), came.iter().map(|(sender, _)| sender.bid()));
            let judged: Vec<_> = came
                .iter()
                .map(|(sender, told)| verdicts::judge(&crowd, sender, told, &keys, deadline))
                .collect();
            (judged, bare)
        }
    })
    .await
    .expect("checking does not panic");
    let bare = bare.map_err(|source| LoadFault::File { path: work.to_owned(), source })?;
    Ok(DeadlineReport::new(plan, second, &judged, bare, memory, deadline))
}

async fn wait_until(at: Moment) {
    let wait = at.micros_since(now());
    tokio::time::sleep(Duration::from_micros(u64::try_from(wait).unwrap_or(0))).await;
}

/// The instant of this process's clock at a moment of the wall clock.
fn instant_of(at: Moment) -> Instant {
    let ahead = at.micros_since(now());
    Instant::now() + Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
}
