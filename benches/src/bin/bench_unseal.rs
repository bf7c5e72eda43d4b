//! The unsealing pool against a bare loop that reads the same files and opens the same chunks on as many
//! threads.
//!
//! `bench_unseal [--json] [--bids N] [--mib N] [--threads N] [--rounds N] [--folder DIR]`

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write},
    num::NonZeroUsize,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use clap::Parser;
use kaibiao_actors::unsealing::{BidToCheck, UnsealingPool};
use kaibiao_benches::{Machine, Report, Wanted, in_turns, supplier::Supplier};
use kaibiao_sealed::{
    binding::part_context,
    cobblestone::{ChunkCipher, SEALED_CHUNK_BYTES},
    header::Header,
    key::BidKey,
    read_at::ReadAt,
    unseal::{OpenPart, PartOpener},
};

/// The bare loop takes at least so much of the pool's time (issue).
const RATIO_MIN: f64 = 0.8;
/// Chunks the bare loop reads at once: 256 KiB, which stay in a core's own cache.
const CHUNKS_AT_ONCE: usize = 16;

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many bids.
    #[arg(long, default_value_t = 64)]
    bids: u64,
    /// How large each is.
    #[arg(long, default_value_t = 16)]
    mib: u64,
    /// On how many threads; all cores unless said.
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// How often each is measured.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Where the files are made.
    #[arg(long, default_value = "target")]
    folder: PathBuf,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            // Nobody listening is no reason to fail twice.
            let _ = writeln!(io::stderr(), "bench_unseal: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// A sealed bid with its key.
struct Bid {
    file: Arc<File>,
    header: Header,
    key: BidKey,
}

fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    fs::create_dir_all(&options.folder)?;
    let folder = tempfile::tempdir_in(&options.folder)?;
    let threads = options.threads.or(thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let mut report = Report::new("unsealing", Machine::look(folder.path()));
    report.fact("bids", options.bids);
    report.fact("MiB each", options.mib);
    report.fact("threads", threads);

    let supplier = Supplier::new(&folder.path().join("tokens"))?;
    let bids = (0..options.bids)
        .map(|no| {
            let path = folder.path().join(format!("{no}.jmbs"));
            let (header, key) = supplier.seal_filling(options.mib << 20, no, &path)?;
            Ok(Bid { file: Arc::new(File::open(&path)?), header, key })
        })
        .collect::<Result<Vec<Bid>, Box<dyn Error>>>()?;

    let pool = UnsealingPool::new(threads);
    let mut by_pool = || unseal(&pool, &bids);
    let mut bare = || bare_loop(&bids, threads);
    let [ours, theirs] = in_turns(options.rounds, [&mut by_pool, &mut bare]);

    let bytes: u64 = bids.iter().map(|bid| bid.header.file_len()).sum();
    let (ours, theirs) = (ours.median().as_secs_f64(), theirs.median().as_secs_f64());
    report.measured("the pool, all bids", ours * 1e3, "ms");
    report.measured("the bare loop, all bids", theirs * 1e3, "ms");
    report.measured("the pool", bytes as f64 / ours / 1e6, "MB/s");
    report.figure("bare loop / pool", theirs / ours, "x", Wanted::AtLeast(RATIO_MIN));
    report.print(options.json)?;
    Ok(report.reached())
}

/// All bids through the pool: commitments, queueing and verdicts included.
fn unseal(pool: &UnsealingPool, bids: &[Bid]) {
    let verdicts: Vec<_> = bids
        .iter()
        .map(|bid| {
            let file: Arc<dyn ReadAt> = Arc::clone(&bid.file) as _;
            let parts = bid.header.parts().map(|place| {
                let part = place.stated.part;
                let key = bid.key.part_key(&bid.header.binding_digest, part);
                let opener = PartOpener::new(&bid.header, part, &key).expect("the key is the bid's own");
                (part, OpenPart::new(opener, Arc::clone(&file)))
            });
            let parts = parts.collect();
            pool.submit(Arc::new(BidToCheck { file, parts })).expect("the pool has room for the bench's bids")
        })
        .collect();
    for verdict in verdicts {
        verdict.blocking_recv().expect("the pool lives").expect("every chunk is whole");
    }
}

/// The least that has to be done: each thread takes the next part, reads it piece by piece and opens its
/// chunks.
fn bare_loop(bids: &[Bid], threads: usize) {
    let parts: Vec<_> =
        bids.iter().flat_map(|bid| bid.header.parts().map(move |place| (bid, place))).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut buffer = vec![0; CHUNKS_AT_ONCE * SEALED_CHUNK_BYTES];
                while let Some((bid, place)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let part = place.stated.part;
                    let key = bid.key.part_key(&bid.header.binding_digest, part);
                    let context = part_context(&bid.header.binding_digest, part);
                    let cipher = ChunkCipher::resume(key.expose(), context.as_bytes(), &place.stated.prefix)
                        .expect("the key is the bid's own");
                    let (mut offset, end) = (place.offset, place.offset + place.stated.length);
                    let mut number = 0;
                    while offset < end {
                        let bytes = buffer.len().min((end - offset) as usize);
                        bid.file.read_exact_at(&mut buffer[..bytes], offset).expect("the file is whole");
                        for chunk in buffer[..bytes].chunks_mut(SEALED_CHUNK_BYTES) {
                            cipher.open_chunk(number, chunk).expect("every chunk is whole");
                            number += 1;
                        }
                        offset += bytes as u64;
                    }
                }
            });
        }
    });
}
