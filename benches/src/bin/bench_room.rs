//! A room in which every supplier hands its keys over at once: from the release of the pool to the durable
//! publication, against the least that has to be done on the same threads.
//!
//! `bench_room [--json] [--bids N] [--mib N] [--threads N] [--rounds N] [--viewers N] [--folder DIR]`

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use kaibiao_actors::{
    frame_sink::{Delivery, FrameSource, frame_channel},
    messages::JoinRoom,
};
use kaibiao_benches::{
    Durations, Machine, Report, Wanted,
    room::{HandedIn, Room},
};
use kaibiao_engine::project::Project;
use kaibiao_protocol::{frame::StreamName, ids::ProjectId};
use kaibiao_sealed::{
    order::{Envelope, OneTimeKey},
    unseal::PartOpener,
};

/// The opening takes at most so many times as long as the bare work (issue).
const RATIO_MAX: f64 = 2.0;
/// Deliveries a viewer may be behind.
const VIEWER_DELIVERIES_MAX: usize = 4_096;
/// How long an opening may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many bids.
    #[arg(long, default_value_t = 500)]
    bids: usize,
    /// How large each is.
    #[arg(long, default_value_t = 1)]
    mib: u64,
    /// On how many threads; all cores unless said.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// How many openings are measured; one more warms up.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many connections watch the room; at least one.
    #[arg(long, default_value_t = 500)]
    viewers: usize,
    /// Where journal and files are made.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match actix::System::new().block_on(run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Nobody listening is no reason to fail twice.
            let _ = writeln!(io::stderr(), "bench_room: {fault}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let threads = options.threads.or(thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let mut report = Report::new("a room", Machine::look(folder.path()));
    report.fact("bids", options.bids);
    report.fact("MiB each", options.mib);
    report.fact("threads", threads);
    report.fact("viewers", options.viewers);

    let room = Room::open(folder.path(), options.bids, threads).await?;
    let (mut published, mut shown, mut bare) =
        (Durations::default(), Durations::default(), Durations::default());
    for round in 0..=options.rounds {
        let project: ProjectId = format!("BENCH-{round}").parse()?;
        let opening = opening(&room, &project, options, folder.path()).await?;
        let least = bare_work(&opening.bids, folder.path(), threads)?;
        if round > 0 {
            published.push(opening.published);
            shown.push(opening.shown);
            bare.push(least);
        }
    }
    room.house.stop().await;

    let ms = |durations: &Durations| durations.median().as_secs_f64() * 1e3;
    report.measured("from release to durable publication", ms(&published), "ms");
    report.measured("the bare work", ms(&bare), "ms");
    let ratio = ms(&published) / ms(&bare);
    report.figure("publication / bare work", ratio, "x", Wanted::AtMost(RATIO_MAX));
    report.measured("from publication to the last viewer", ms(&shown), "ms");
    report.print(options.json)?;
    Ok(report.reached())
}

/// One opening, measured.
struct Opening {
    bids: Vec<HandedIn>,
    /// From the pool's release to the durable publication.
    published: Duration,
    /// From there until the last viewer had the record.
    shown: Duration,
}

async fn opening(
    room: &Room,
    project: &ProjectId,
    options: &Options,
    folder: &Path,
) -> Result<Opening, Box<dyn Error>> {
    let deadline = room.publish(project).await?;
    let bids = room.hand_all_in(project, options.mib << 20, folder).await?;
    room.until(deadline);
    let order = until(room, project, |state| state.order().map(|order| order.text.clone())).await?;

    let viewers = watch(room, project, &bids, options.viewers).await?;
    room.house.pool().hold();
    let releases: Vec<_> = bids
        .iter()
        .map(|bid| {
            let (house, keys) = (room.house.clone(), bid.release(&order)?);
            Ok(actix::spawn(async move { house.release_keys(keys).await }))
        })
        .collect::<Result<_, Box<dyn Error>>>()?;
    // The envelopes are on their way through the actors; when they all lie before the pool nothing moves any
    // more.
    tokio::time::sleep(Duration::from_millis(500)).await;

    let seeing = actix::spawn(see_the_record(viewers));
    let released = Instant::now();
    room.house.pool().release();
    until(room, project, |state| state.record().map(|_| ())).await?;
    let looked = Instant::now();
    let (first, last) = seeing.await?.ok_or("a viewer was cut")?;
    // A viewer may see it before the bench looks again; never before it is durable.
    let published = first.min(looked);
    for release in releases {
        release.await?.map_err(|refusal| refusal.say.en)?;
    }
    Ok(Opening { bids, published: published - released, shown: last - published })
}

/// Lets so many connections of the suppliers watch the room.
async fn watch(
    room: &Room,
    project: &ProjectId,
    bids: &[HandedIn],
    viewers: usize,
) -> Result<Vec<FrameSource>, Box<dyn Error>> {
    let mut sources = Vec::with_capacity(viewers);
    for bid in bids.iter().cycle().take(viewers) {
        let (sink, source) = frame_channel(VIEWER_DELIVERIES_MAX);
        let stream = StreamName::Room(project.clone());
        let join = JoinRoom { asker: bid.asker.clone(), stream, since: 0, sink };
        room.house.join_room(join).await.map_err(|refusal| refusal.say.en)?;
        sources.push(source);
    }
    Ok(sources)
}

/// When the first and the last of the viewers had the record; `None` if one was cut before.
async fn see_the_record(viewers: Vec<FrameSource>) -> Option<(Instant, Instant)> {
    let waiting: Vec<_> = viewers.into_iter().map(|viewer| actix::spawn(sees_the_record(viewer))).collect();
    let mut seen = Vec::with_capacity(waiting.len());
    for one in waiting {
        seen.push(one.await.ok()??);
    }
    Some((*seen.iter().min()?, *seen.iter().max()?))
}

async fn sees_the_record(mut viewer: FrameSource) -> Option<Instant> {
    let is_it = |frame: &str| frame.contains("\"event\":\"records_published\"");
    loop {
        let seen = match viewer.next().await.ok()? {
            Delivery::Frame(frame) => is_it(&frame),
            Delivery::Backlog(frames) => frames.into_iter().any(|frame| is_it(&frame)),
        };
        if seen {
            return Some(Instant::now());
        }
    }
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

/// The least that has to be done for all bids: open the envelope, check the signature, open every chunk;
/// nothing is queued, journalled or published.
fn bare_work(bids: &[HandedIn], folder: &Path, threads: usize) -> Result<Duration, Box<dyn Error>> {
    let one_time = OneTimeKey::generate()?;
    let order = "an order as long as a real one, near enough: ".repeat(20);
    let path = folder.join("bare");
    let work = bids
        .iter()
        .enumerate()
        .map(|(no, bid)| {
            let path = path.with_extension(no.to_string());
            fs::write(&path, &bid.bytes)?;
            Ok((bid, bid.envelope(&order, one_time.public())?, File::open(&path)?))
        })
        .collect::<Result<Vec<(&HandedIn, Envelope, File)>, Box<dyn Error>>>()?;
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut scratch = Vec::new();
                while let Some((bid, envelope, file)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (header, parts) = (&bid.header, bid.parts());
                    let keys = one_time
                        .open(&order, envelope, &header.statement_digest, &parts)
                        .expect("the envelope was sealed to this key");
                    header.check_signature().expect("the bid is signed");
                    for (part, key) in parts.into_iter().zip(&keys) {
                        let opener = PartOpener::new(header, part, key).expect("the key is the bid's own");
                        opener
                            .check_chunks(file, 0..opener.chunks(), &mut scratch)
                            .expect("every chunk is whole");
                    }
                }
            });
        }
    });
    let took = started.elapsed();
    for no in 0..bids.len() {
        fs::remove_file(path.with_extension(no.to_string()))?;
    }
    Ok(took)
}
