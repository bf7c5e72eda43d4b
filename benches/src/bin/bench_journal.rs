//! The journal's speed: many who ask at once, and one alone against a bare fdatasync of the same disk.
//!
//! `bench_journal [--json] [--askers N] [--seconds N] [--payload-bytes N] [--folder DIR]`

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use kaibiao_actors::journal::{Append, Journal, RawRecord, SqliteJournal, Stream};
use kaibiao_benches::{Durations, Machine, Report, Wanted, in_turns};
use kaibiao_protocol::moment::Moment;

/// Events a second with many asking at once (issue: at least 50,000).
const EVENTS_PER_SECOND_MIN: f64 = 50_000.0;
/// One append alone, in fdatasyncs (issue: at most 2).
const ALONE_RATIO_MAX: f64 = 2.0;
/// Appends, and fdatasyncs, in one turn of the comparison.
const TURN: usize = 40;
const TURNS: usize = 20;
const PAGE_BYTES: usize = 4_096;

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many ask at once, each in a stream of its own.
    #[arg(long, default_value_t = 256)]
    askers: usize,
    /// How long they ask.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Bytes of one event.
    #[arg(long, default_value_t = 300)]
    payload_bytes: usize,
    /// Where the journal is made; its disk is what is measured.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            tell(&format!("bench_journal: {fault}"));
            ExitCode::FAILURE
        }
    }
}

fn tell(line: &str) {
    use io::Write;
    // Nobody listening is no reason to fail twice.
    let _ = writeln!(io::stderr(), "{line}");
}

fn run(options: &Options) -> Result<bool, Box<dyn std::error::Error>> {
    fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let mut report = Report::new("journal", Machine::look(folder.path()));
    report.fact("askers", options.askers);
    report.fact("payload bytes", options.payload_bytes);

    let (alone, sync) = alone(folder.path(), options.payload_bytes)?;
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6 / TURN as f64;
    report.measured("one fdatasync of 4 KiB, median", micros(sync.median()), "us");
    report.measured("one append alone, median", micros(alone.median()), "us");
    let ratio = alone.median().as_secs_f64() / sync.median().as_secs_f64();
    report.figure("one append alone, in fdatasyncs", ratio, "x", Wanted::AtMost(ALONE_RATIO_MAX));

    let (events, took, latencies) = many(folder.path(), options)?;
    report.measured("events acknowledged", events as f64, "");
    let ms = |percent: f64| latencies.percentile(percent).as_secs_f64() * 1e3;
    report.measured("an append among them, median", ms(50.0), "ms");
    report.measured("an append among them, 99 of 100", ms(99.0), "ms");
    let rate = events as f64 / took.as_secs_f64();
    report.figure("events a second, all durable", rate, "events/s", Wanted::AtLeast(EVENTS_PER_SECOND_MIN));
    report.print(options.json)?;
    Ok(report.reached())
}

fn event(seq: u64, payload_bytes: usize) -> RawRecord {
    let payload = vec![b'0' + u8::try_from(seq % 10).unwrap_or(0); payload_bytes];
    RawRecord { kind: "bid_submitted", version: 1, at: Moment(seq as i64), command_id: None, payload }
}

fn append(stream: &Stream, expected_seq: u64, payload_bytes: usize) -> Append {
    let records = vec![event(expected_seq + 1, payload_bytes)];
    Append { stream: stream.clone(), expected_seq, records, wake_at: None, side: Vec::new() }
}

fn stream(no: usize) -> Stream {
    Stream::Project(format!("BENCH-{no}").parse().expect("a well-formed number"))
}

/// Turns of single appends, each waited for, and of bare fdatasyncs of as many pages.
fn alone(folder: &Path, payload_bytes: usize) -> Result<(Durations, Durations), Box<dyn std::error::Error>> {
    let journal = SqliteJournal::open(&folder.join("alone"))?;
    let stream = stream(0);
    let mut seq = 0;
    let mut append_turn = || {
        for _ in 0..TURN {
            let appended = journal.append(append(&stream, seq, payload_bytes)).wait();
            seq = appended.expect("the bench's disk takes every append").last_seq;
        }
    };
    let file = page_file(&folder.join("pages"))?;
    let mut sync_turn = || {
        for page in 0..TURN {
            file.write_all_at(&[0x5a; PAGE_BYTES], (page * PAGE_BYTES) as u64)
                .and_then(|()| file.sync_data())
                .expect("the bench's disk takes every page");
        }
    };
    let [alone, sync] = in_turns(TURNS, [&mut append_turn, &mut sync_turn]);
    Ok((alone, sync))
}

/// A file whose blocks are written already: the fairest, fastest fdatasync.
fn page_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    file.write_all_at(&vec![0; TURN * PAGE_BYTES], 0)?;
    file.sync_all()?;
    Ok(file)
}

type Counted = (u64, Duration, Durations);

/// Every asker appends one event and waits for its acknowledgement before the next.
fn many(folder: &Path, options: &Options) -> Result<Counted, Box<dyn std::error::Error>> {
    let folder = folder.join("many");
    let journal = Arc::new(SqliteJournal::open(&folder)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    let until = Instant::now() + Duration::from_secs(options.seconds);
    let started = Instant::now();
    let askers: Vec<_> = (0..options.askers)
        .map(|no| {
            let (journal, payload_bytes) = (Arc::clone(&journal), options.payload_bytes);
            runtime.spawn(async move {
                let (stream, mut seq, mut latencies) = (stream(no), 0, Durations::default());
                while Instant::now() < until {
                    let asked = Instant::now();
                    let appended = journal.append(append(&stream, seq, payload_bytes)).await;
                    seq = appended.expect("the bench's disk takes every append").last_seq;
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Durations::default();
    for asker in askers {
        latencies.extend(runtime.block_on(asker)?);
    }
    let took = started.elapsed();
    let acknowledged = latencies.count() as u64;
    drop(runtime);
    drop(journal);
    // What was acknowledged is there, and the chain holds.
    let found = SqliteJournal::open(&folder)?.head().position;
    if found != acknowledged {
        return Err(format!("{acknowledged} events were acknowledged and {found} found").into());
    }
    Ok((acknowledged, took, latencies))
}
