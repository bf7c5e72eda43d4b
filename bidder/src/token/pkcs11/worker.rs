//! A thread of its own for calls that block: one queue, one worker, and a limit on waiting.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded, select_biased,
};

/// The most calls that wait for one token. A person's work needs one or two; more is a runaway caller.
pub(super) const QUEUE_MAX: usize = 32;

/// How long dropping waits for the thread to close its sessions; a module that hangs is left behind.
const CLOSING_MAX: Duration = Duration::from_secs(2);

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// Why a call brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// [`QUEUE_MAX`] calls wait already.
    Full,
    /// No answer in time; the call may still be running inside the module.
    TimedOut,
    /// The thread ended: a call panicked.
    Ended,
}

/// Whose turn it is with one call: the thread takes it up, or the caller takes it back, never both.
mod turn {
    /// It waits in the queue.
    pub(super) const WAITING: u8 = 0;
    /// The thread has begun it.
    pub(super) const BEGUN: u8 = 1;
    /// The caller gave up before it was begun.
    pub(super) const GIVEN_UP: u8 = 2;
}

/// Every worker whose thread may still run.
static LIVING: Mutex<Vec<Living>> = Mutex::new(Vec::new());

/// How a worker is told to close its sessions, and how it tells that it has.
struct Living {
    close: Sender<()>,
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Living {
    fn is_over(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits until the thread is gone, what its libraries keep for it included; a thread that hangs is left behind.
    fn leave(self) {
        if self.ended.recv_timeout(CLOSING_MAX) == Err(RecvTimeoutError::Disconnected) {
            // A thread that panicked is gone as well.
            let _ = self.thread.join();
        }
    }
}

/// Ends the thread of every token of this process, each waited for two seconds at most. For a program about to end: what the
/// end of a process does to a module must not meet a thread that is closing its sessions there, and whoever else
/// holds a token (a connection given up in the background) may let go of it at any moment.
pub fn close_all() {
    close(std::mem::take(&mut *LIVING.lock().unwrap_or_else(PoisonError::into_inner)));
}

fn close(living: Vec<Living>) {
    for one in &living {
        // It may have been told before, or have ended.
        let _ = one.close.try_send(());
    }
    living.into_iter().for_each(Living::leave);
}

/// A thread that owns `S` and does what it is asked, one after the other.
pub(super) struct Worker<S> {
    jobs: Option<Sender<Job<S>>>,
    ended: Receiver<()>,
}

impl<S: 'static> Worker<S> {
    /// Starts the thread; it makes its state itself, so the state need not be able to change threads.
    pub(super) fn start(name: &str, state: impl FnOnce() -> S + Send + 'static) -> std::io::Result<Self> {
        let (jobs, queue) = bounded::<Job<S>>(QUEUE_MAX);
        let (end, ended) = bounded::<()>(0);
        let (close, closing) = bounded::<()>(1);
        // A thread's name may hold no NUL; a token's label comes from outside.
        let name = name.replace('\0', "");
        let thread = thread::Builder::new().name(name).spawn(move || {
            // Dropped when the thread ends, by return or by panic: that is the signal `ended` waits for.
            let _end: Sender<()> = end;
            // Dropped before that signal: whoever hears it finds the queue closed.
            let (queue, closing) = (queue, closing);
            let mut state = state();
            loop {
                select_biased! {
                    recv(closing) -> _ => break,
                    recv(queue) -> job => match job {
                        Ok(job) => job(&mut state),
                        Err(_) => break,
                    },
                }
            }
        })?;
        let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that ended are seen to their very end here, so that the list does not grow.
        let (over, going): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *living).into_iter().partition(Living::is_over);
        over.into_iter().for_each(Living::leave);
        *living = going;
        living.push(Living { close, ended: ended.clone(), thread });
        drop(living);
        Ok(Self { jobs: Some(jobs), ended })
    }

    /// Does `work` on the thread and waits at most `wait` for its result. A result that comes later is dropped,
    /// and work that was not begun by then never is: a PIN that somebody gave up on must not use up a try later.
    pub(super) fn call<R: Send + 'static>(
        &self,
        wait: Duration,
        work: impl FnOnce(&mut S) -> R + Send + 'static,
    ) -> Result<R, Stuck> {
        let (answer, answered) = bounded(1);
        let whose = Arc::new(AtomicU8::new(turn::WAITING));
        let thread_side = Arc::clone(&whose);
        let job: Job<S> = Box::new(move |state| {
            if take(&thread_side, turn::BEGUN) {
                // Nobody waits any more if this fails: the caller gave up.
                let _ = answer.send(work(state));
            }
        });
        let jobs = self.jobs.as_ref().expect("the queue is taken only by drop");
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(Stuck::Full),
            Err(TrySendError::Disconnected(_)) => return Err(Stuck::Ended),
        }
        answered.recv_timeout(wait).map_err(|fault| match fault {
            RecvTimeoutError::Timeout => {
                take(&whose, turn::GIVEN_UP);
                Stuck::TimedOut
            }
            RecvTimeoutError::Disconnected => Stuck::Ended,
        })
    }
}

fn take(whose: &AtomicU8, by: u8) -> bool {
    whose.compare_exchange(turn::WAITING, by, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        self.jobs = None;
        // Sessions are to be closed before the process may end and unload the module under them.
        let _ = self.ended.recv_timeout(CLOSING_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_is_given_up_and_a_full_queue_is_told() {
        let worker = Worker::start("test", || 0_u32).unwrap();
        let ((go, gate), (begin, begun)) = (bounded::<()>(0), bounded::<()>(1));
        let long = Duration::from_secs(60);
        thread::scope(|scope| {
            let hung = scope.spawn(|| {
                worker.call(long, move |_| {
                    begin.send(()).unwrap();
                    gate.recv().is_ok()
                })
            });
            begun.recv().unwrap();
            for _ in 0..QUEUE_MAX {
                assert_eq!(worker.call(Duration::ZERO, |count| *count += 1), Err(Stuck::TimedOut));
            }
            assert_eq!(worker.call(long, |_| ()), Err(Stuck::Full));
            go.send(()).unwrap();
            assert_eq!(hung.join().unwrap(), Ok(true));
        });
        // Asking may find the queue full until the worker has gone through it.
        let done = loop {
            match worker.call(long, |count| *count) {
                Err(Stuck::Full) => thread::yield_now(),
                other => break other,
            }
        };
        assert_eq!(done, Ok(0), "what its caller gave up on before it was begun is not done");
    }

    #[test]
    fn whoever_holds_a_worker_at_the_end_does_not_keep_it_from_closing() {
        struct Sessions(Sender<&'static str>);
        impl Drop for Sessions {
            fn drop(&mut self) {
                self.0.send("closed").unwrap();
            }
        }
        let (told, tell) = bounded(1);
        let worker = Worker::start("test", move || Sessions(told)).unwrap();
        worker.call(Duration::from_secs(10), |_| ()).unwrap();
        // Only this one: others of this test run are at work.
        let own = {
            let mut living = LIVING.lock().unwrap();
            let at = living.iter().rposition(|one| one.ended.same_channel(&worker.ended)).unwrap();
            living.remove(at)
        };
        close(vec![own]);
        assert_eq!(tell.try_recv(), Ok("closed"), "closed before the end is told");
        assert_eq!(worker.call(Duration::from_secs(10), |_| ()), Err(Stuck::Ended));
    }

    #[test]
    fn calls_are_done_one_after_the_other() {
        let worker = Worker::start("test", Vec::new).unwrap();
        for number in 0..5 {
            worker.call(Duration::from_secs(10), move |seen: &mut Vec<u32>| seen.push(number)).unwrap();
        }
        assert_eq!(worker.call(Duration::from_secs(10), |seen| seen.clone()), Ok(vec![0, 1, 2, 3, 4]));
    }

    #[test]
    fn a_thread_that_ended_is_told_apart_from_one_that_hangs() {
        let worker = Worker::start("test", || ()).unwrap();
        let outcome: Result<(), Stuck> = worker.call(Duration::from_secs(10), |()| panic!("on purpose"));
        assert_eq!(outcome, Err(Stuck::Ended));
    }
}
