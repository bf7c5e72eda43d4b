//! The pool that unseals: as many threads as cores, fed through bounded channels.
//!
//! The unit of work is a range of chunks of one part of one bid. A bid being checked is a token in a queue:
//! a thread takes the token, takes the bid's next range, puts the token back behind all others and only then
//! works. So every bid moves on at the same pace, one bid alone is worked on by every thread, and the queue
//! never holds more tokens than there are bids. Short errands (opening an envelope, reading a sheet) go before.
//!
//! What is absent: hashing, writing plaintext, and any actor. A bench drives the pool alone.

use std::{
    ops::Range,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, select};
use kaibiao_protocol::bid::PartName;
use kaibiao_sealed::{
    read_at::ReadAt,
    unseal::{OpenFault, OpenPart},
};
use kaibiao_wiping::wipe_stack;
use tokio::sync::oneshot;

use crate::limits::{CHUNKS_PER_TASK, UNSEALING_BIDS_MAX, UNSEALING_ERRANDS_MAX};

/// The pool; dropping it ends its threads after the task in hand.
pub struct UnsealingPool {
    queues: Queues,
    gate: Arc<Gate>,
    // Never sent on: dropping it disconnects the threads' stop signal.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Clone)]
struct Queues {
    errands: Sender<Errand>,
    bids: Sender<Arc<BidInWork>>,
    in_work: Arc<AtomicUsize>,
}

type Errand = Box<dyn FnOnce() + Send>;

/// The queue is full; try again shortly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the unsealing queue is full")]
pub struct PoolFull;

/// One bid to check, chunk by chunk.
pub struct BidToCheck {
    /// The sealed bytes.
    pub file: Arc<dyn ReadAt>,
    /// Each part being opened, with its opener; so its key fits the commitment.
    pub parts: Vec<(PartName, OpenPart<Arc<dyn ReadAt>>)>,
}

/// The first chunk that failed.
#[derive(Debug)]
pub struct CheckFault {
    /// In which part.
    pub part: PartName,
    /// Why.
    pub fault: OpenFault,
}

/// Every chunk is authentic, or the first that is not.
pub type CheckVerdict = Result<(), CheckFault>;

impl UnsealingPool {
    /// Starts so many threads (at least one).
    ///
    /// # Panics
    /// The system gives no thread.
    pub fn new(threads: usize) -> Self {
        let (errands, errands_out) = bounded(UNSEALING_ERRANDS_MAX);
        let (bids, bids_out) = bounded(UNSEALING_BIDS_MAX);
        let (stop, stopped) = bounded(0);
        let gate = Arc::new(Gate { held: Mutex::new(false), released: Condvar::new() });
        let queues = Queues { errands, bids, in_work: Arc::new(AtomicUsize::new(0)) };
        let threads = (0..threads.max(1))
            .map(|number| {
                let worker = Worker {
                    queues: queues.clone(),
                    errands: errands_out.clone(),
                    bids: bids_out.clone(),
                    stopped: stopped.clone(),
                    gate: gate.clone(),
                };
                std::thread::Builder::new()
                    .name(format!("unsealing-{number}"))
                    .spawn(move || worker.run())
                    .expect("the system gives threads at start")
            })
            .collect();
        Self { queues, gate, stop: Some(stop), threads }
    }

    /// Queues a bid. The verdict comes through the channel given back, after its last range; the channel closes
    /// without one if the pool ends or a bug struck.
    ///
    /// # Errors
    /// Too many bids are in work.
    pub fn submit(&self, bid: Arc<BidToCheck>) -> Result<oneshot::Receiver<CheckVerdict>, PoolFull> {
        let (verdict, coming) = oneshot::channel();
        if self.queues.in_work.fetch_add(1, Ordering::AcqRel) >= UNSEALING_BIDS_MAX {
            self.queues.in_work.fetch_sub(1, Ordering::AcqRel);
            return Err(PoolFull);
        }
        let ranges = ranges_of(&bid);
        let work = Arc::new(BidInWork {
            left: AtomicUsize::new(ranges.len()),
            ranges,
            next: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            fault: Mutex::default(),
            bid,
            verdict: Mutex::new(Some(verdict)),
        });
        if work.ranges.is_empty() {
            self.queues.in_work.fetch_sub(1, Ordering::AcqRel);
            work.tell();
        } else {
            self.queues.put_token(work);
        }
        Ok(coming)
    }

    /// Queues a short piece of work ahead of the chunks; its result comes through the channel given back.
    ///
    /// # Errors
    /// The queue of errands is full.
    pub fn run<T: Send + 'static>(
        &self,
        errand: impl FnOnce() -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, PoolFull> {
        let (result, coming) = oneshot::channel();
        let boxed: Errand = Box::new(move || {
            // Nobody waits any more: the actor that asked has ended.
            let _ = result.send(errand());
            // An errand may have opened an envelope: its keys were on this stack.
            wipe_stack();
        });
        self.queues.errands.try_send(boxed).map_err(|_| PoolFull)?;
        Ok(coming)
    }

    /// Lets no thread begin anything until [`UnsealingPool::release`]; for benches and tests.
    pub fn hold(&self) {
        *self.gate.held.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Lets the threads go on.
    pub fn release(&self) {
        *self.gate.held.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.gate.released.notify_all();
    }

    /// Bids being checked or queued.
    pub fn bids_in_work(&self) -> usize {
        self.queues.in_work.load(Ordering::Acquire)
    }

    /// Threads at work.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }
}

impl Drop for UnsealingPool {
    fn drop(&mut self) {
        self.release();
        drop(self.stop.take());
        let current = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last owner may be a thread of the pool itself, inside an errand.
            if thread.thread().id() != current {
                // A thread that panicked said so already; there is nobody to tell again.
                let _ = thread.join();
            }
        }
    }
}

impl Queues {
    fn put_token(&self, work: Arc<BidInWork>) {
        // `in_work` bounds the bids, and a bid has one token at most, so there is always room.
        self.bids
            .try_send(work)
            .unwrap_or_else(|_| unreachable!("the queue has room for a token of every bid"));
    }
}

/// Holds the threads back while a bench fills the queues.
struct Gate {
    held: Mutex<bool>,
    released: Condvar,
}

impl Gate {
    fn pass(&self) {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.released.wait_while(held, |held| *held).unwrap_or_else(PoisonError::into_inner));
    }
}

/// A bid whose ranges are being handed out.
struct BidInWork {
    bid: Arc<BidToCheck>,
    ranges: Vec<(usize, Range<u64>)>,
    next: AtomicUsize,
    left: AtomicUsize,
    failed: AtomicBool,
    fault: Mutex<Option<CheckFault>>,
    verdict: Mutex<Option<oneshot::Sender<CheckVerdict>>>,
}

fn ranges_of(bid: &BidToCheck) -> Vec<(usize, Range<u64>)> {
    let mut ranges = Vec::new();
    for (place, (_, part)) in bid.parts.iter().enumerate() {
        let chunks = part.opener().chunks();
        let mut from = 0;
        while from < chunks {
            let to = chunks.min(from + CHUNKS_PER_TASK);
            ranges.push((place, from..to));
            from = to;
        }
    }
    ranges
}

struct Worker {
    queues: Queues,
    errands: Receiver<Errand>,
    bids: Receiver<Arc<BidInWork>>,
    stopped: Receiver<()>,
    gate: Arc<Gate>,
}

impl Worker {
    fn run(self) {
        let mut scratch = Vec::new();
        while self.stopped.try_recv() != Err(TryRecvError::Disconnected) {
            self.gate.pass();
            if let Ok(errand) = self.errands.try_recv() {
                self.guarded(errand);
                continue;
            }
            select! {
                recv(self.errands) -> errand => if let Ok(errand) = errand {
                    self.gate.pass();
                    self.guarded(errand);
                },
                recv(self.bids) -> work => if let Ok(work) = work {
                    self.gate.pass();
                    self.step(&work, &mut scratch);
                },
                recv(self.stopped) -> _ => return,
            }
        }
    }

    /// A bug in one errand must not take a thread from all other bids; whoever waits sees its channel closed.
    fn guarded(&self, errand: Errand) {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(errand)).is_err() {
            tracing::error!("an errand of the unsealing pool panicked");
        }
    }

    fn step(&self, work: &Arc<BidInWork>, scratch: &mut Vec<u8>) {
        let mine = work.next.fetch_add(1, Ordering::AcqRel);
        if mine + 1 < work.ranges.len() {
            self.queues.put_token(work.clone());
        }
        if let Some((place, range)) = work.ranges.get(mine)
            && !work.failed.load(Ordering::Acquire)
        {
            let (part, open) = &work.bid.parts[*place];
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                open.opener().check_chunks(&*work.bid.file, range.clone(), scratch)
            }));
            match checked {
                Ok(Ok(())) => {}
                Ok(Err(fault)) => {
                    // Of several threads that fail at once the first is kept; the others say nothing new.
                    let mut kept = work.fault.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.get_or_insert(CheckFault { part: *part, fault });
                    drop(kept);
                    work.failed.store(true, Ordering::Release);
                }
                Err(_) => {
                    tracing::error!("checking a bid panicked");
                    work.failed.store(true, Ordering::Release);
                }
            }
        }
        if work.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.queues.in_work.fetch_sub(1, Ordering::AcqRel);
            work.tell();
        }
    }
}

impl BidInWork {
    /// Called by whoever finished the last range.
    fn tell(&self) {
        let Some(verdict) = self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        // Failed without a fault: a bug. The channel closes without a verdict.
        // An error of `send` means that the actor that asked has ended: nobody is told.
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(fault) => drop(verdict.send(Err(fault))),
            None if self.failed.load(Ordering::Acquire) => {}
            None => drop(verdict.send(Ok(()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use kaibiao_sealed::{
        cobblestone::{CHUNK_BYTES, ChunkCipher, body_bytes},
        unseal::PartOpener,
    };

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    /// A file that counts how often it is read, and a part of so many chunks in it. Its bytes are all nought, so
    /// no chunk opens.
    struct Nought(AtomicUsize);

    impl ReadAt for Nought {
        fn read_exact_at(&self, buf: &mut [u8], _: u64) -> std::io::Result<()> {
            self.0.fetch_add(1, Ordering::SeqCst);
            buf.fill(0);
            Ok(())
        }
    }

    struct Bug;

    impl ReadAt for Bug {
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            panic!("a bug, to see what follows")
        }
    }

    fn bid(file: Arc<dyn ReadAt>, chunks: u64) -> Arc<BidToCheck> {
        let (_, prefix) = ChunkCipher::begin(&KEY, b"");
        let length = body_bytes((chunks - 1) * CHUNK_BYTES as u64).unwrap();
        let opener = PartOpener::of_message(&KEY, b"", &prefix, 0..length).unwrap();
        assert_eq!(opener.chunks(), chunks);
        let parts = vec![(PartName::Common, OpenPart::new(opener, file.clone()))];
        Arc::new(BidToCheck { file, parts })
    }

    #[test]
    fn the_first_failure_ends_the_work_on_a_bid() {
        let pool = UnsealingPool::new(2);
        let file = Arc::new(Nought(AtomicUsize::new(0)));
        let verdict = pool.submit(bid(file.clone(), 1_000 * CHUNKS_PER_TASK)).unwrap();
        let fault = verdict.blocking_recv().unwrap().unwrap_err();
        assert_eq!(fault.part, PartName::Common);
        assert!(matches!(fault.fault, OpenFault::Damaged { .. }));
        assert!(file.0.load(Ordering::SeqCst) < 10, "the other ranges are not read");
        assert_eq!(pool.bids_in_work(), 0);
    }

    #[test]
    fn a_bug_while_checking_one_bid_closes_its_channel_and_harms_no_other() {
        let pool = UnsealingPool::new(1);
        let broken = pool.submit(bid(Arc::new(Bug), 3 * CHUNKS_PER_TASK)).unwrap();
        assert!(broken.blocking_recv().is_err());
        let panicked = pool.run(|| panic!("a bug, to see what follows")).unwrap();
        assert!(panicked.blocking_recv().is_err());
        assert_eq!(pool.run(|| 7).unwrap().blocking_recv(), Ok(7));
        let other = pool.submit(bid(Arc::new(Nought(AtomicUsize::new(0))), 1)).unwrap();
        assert!(other.blocking_recv().unwrap().is_err());
        assert_eq!(pool.bids_in_work(), 0);
    }

    /// A file that says when it is read.
    struct Telling(Mutex<mpsc::Sender<&'static str>>);

    impl ReadAt for Telling {
        fn read_exact_at(&self, buf: &mut [u8], _: u64) -> std::io::Result<()> {
            self.0.lock().unwrap().send("bid").unwrap();
            buf.fill(0);
            Ok(())
        }
    }

    #[test]
    fn errands_go_before_bids() {
        let pool = UnsealingPool::new(1);
        let (go_on, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let busy = pool.run(move || {
            begun.send(()).unwrap();
            wait.recv().unwrap();
        });
        has_begun.recv().unwrap();
        let (told, order) = mpsc::channel();
        let verdict = pool.submit(bid(Arc::new(Telling(Mutex::new(told.clone()))), 1)).unwrap();
        let errand = pool.run(move || told.send("errand").unwrap()).unwrap();
        go_on.send(()).unwrap();
        busy.unwrap().blocking_recv().unwrap();
        errand.blocking_recv().unwrap();
        assert!(verdict.blocking_recv().unwrap().is_err());
        assert_eq!(order.iter().collect::<Vec<_>>(), ["errand", "bid"]);
    }

    #[test]
    fn nothing_runs_while_the_pool_is_held() {
        let pool = UnsealingPool::new(2);
        pool.hold();
        let (told, order) = mpsc::channel();
        let verdict = pool.submit(bid(Arc::new(Telling(Mutex::new(told.clone()))), 1)).unwrap();
        let errand = pool.run(move || told.send("errand").unwrap()).unwrap();
        std::thread::yield_now();
        assert!(order.try_recv().is_err());
        pool.release();
        errand.blocking_recv().unwrap();
        assert!(verdict.blocking_recv().unwrap().is_err());
        assert_eq!(order.iter().count(), 2);
    }

    #[test]
    fn a_full_pool_says_so() {
        let pool = UnsealingPool::new(1);
        pool.hold();
        let file: Arc<dyn ReadAt> = Arc::new(Nought(AtomicUsize::new(0)));
        let verdicts: Vec<_> =
            (0..UNSEALING_BIDS_MAX).map(|_| pool.submit(bid(file.clone(), 1)).unwrap()).collect();
        assert_eq!(pool.submit(bid(file.clone(), 1)).err(), Some(PoolFull));
        pool.release();
        for verdict in verdicts {
            assert!(verdict.blocking_recv().unwrap().is_err());
        }
        assert!(pool.submit(bid(file, 1)).is_ok());
    }

    #[test]
    fn a_dropped_pool_ends_its_threads_and_closes_every_channel() {
        let pool = UnsealingPool::new(2);
        pool.hold();
        let errands: Vec<_> = (0..100).map(|number| pool.run(move || number).unwrap()).collect();
        drop(pool);
        // Each was run or was dropped; nobody waits for ever.
        for errand in errands {
            let _ = errand.blocking_recv();
        }
    }
}
