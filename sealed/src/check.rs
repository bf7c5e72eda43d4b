//! Checking a whole sealed bid at the speed of its cipher.

use std::{
    num::NonZeroUsize,
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    header::Header,
    key::BidKey,
    read_at::ReadAt,
    unseal::{OpenFault, PartOpener},
};

/// Chunks of one task: 4 MiB, small enough to keep all threads busy to the end.
const TASK_CHUNKS: u64 = 256;

/// Checks every commitment and every chunk of the bid in `file`, which has `file_bytes` bytes, on so many threads.
/// `progress` is told sealed bytes as they are done. The signature is checked apart ([`Header::check_signature`]),
/// and nothing is hashed: whoever holds the bid key learns more from the chunks' own tags.
///
/// # Errors
/// The first fault in the order of the file, of those found.
pub fn check_file(
    file: &dyn ReadAt,
    file_bytes: u64,
    header: &Header,
    key: &BidKey,
    threads: NonZeroUsize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), OpenFault> {
    if file_bytes < header.file_len() {
        return Err(OpenFault::Cut);
    }
    if file_bytes > header.file_len() {
        return Err(OpenFault::TrailingBytes);
    }
    let openers = header
        .parts()
        .map(|place| {
            let part = place.stated.part;
            PartOpener::new(header, part, &key.part_key(&header.binding_digest, part))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let tasks: Vec<(&PartOpener, Range<u64>)> = openers.iter().flat_map(tasks_of).collect();
    let run = Run {
        file,
        tasks: &tasks,
        progress,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        fault: Mutex::new(None),
    };
    thread::scope(|scope| {
        for _ in 1..threads.get().min(tasks.len()) {
            scope.spawn(|| run.work());
        }
        run.work();
    });
    match run.fault.into_inner().expect("no thread panics holding the fault") {
        None => Ok(()),
        Some((_, fault)) => Err(fault),
    }
}

/// The ranges of chunks a part is checked in.
fn tasks_of(opener: &PartOpener) -> impl Iterator<Item = (&PartOpener, Range<u64>)> {
    let chunks = opener.chunks();
    (0..chunks.div_ceil(TASK_CHUNKS)).map(move |number| {
        let first = number * TASK_CHUNKS;
        (opener, first..(first + TASK_CHUNKS).min(chunks))
    })
}

struct Run<'a> {
    file: &'a dyn ReadAt,
    tasks: &'a [(&'a PartOpener, Range<u64>)],
    progress: &'a (dyn Fn(u64) + Sync),
    next: AtomicUsize,
    stop: AtomicBool,
    /// The earliest fault found, with the number of its task.
    fault: Mutex<Option<(usize, OpenFault)>>,
}

impl Run<'_> {
    fn work(&self) {
        let mut scratch = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some((opener, range)) = self.tasks.get(number) else { return };
            match opener.check_chunks(self.file, range.clone(), &mut scratch) {
                Ok(()) => (self.progress)(opener.sealed_bytes(range)),
                Err(fault) => self.fail(number, fault),
            }
        }
    }

    fn fail(&self, number: usize, fault: OpenFault) {
        let mut kept = self.fault.lock().expect("no thread panics holding the fault");
        if kept.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
            *kept = Some((number, fault));
        }
        self.stop.store(true, Ordering::Relaxed);
    }
}
