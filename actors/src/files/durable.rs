//! The word that something of a file is durable.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use kaibiao_protocol::ids::FileId;
use tokio::sync::oneshot;

use super::FileFault;

/// A future of the word; whoever waits for it holds no thread. Dropping it takes nothing back.
#[must_use = "nothing is durable before this says so"]
pub struct Durable {
    id: FileId,
    state: State,
}

enum State {
    Told(Option<Result<(), FileFault>>),
    Waiting(oneshot::Receiver<Result<(), FileFault>>),
}

/// The other end: gives the word, once. Dropped without it, it says that the file is spoiled.
pub struct DurableSayer(oneshot::Sender<Result<(), FileFault>>);

impl Durable {
    /// A word known at once.
    pub fn told(id: FileId, outcome: Result<(), FileFault>) -> Self {
        Self { id, state: State::Told(Some(outcome)) }
    }

    /// A word still to come, and who gives it.
    pub fn awaited(id: FileId) -> (DurableSayer, Self) {
        let (say, hear) = oneshot::channel();
        (DurableSayer(say), Self { id, state: State::Waiting(hear) })
    }

    /// Waits on this thread.
    ///
    /// # Errors
    /// As the call that gave this.
    pub fn wait(mut self) -> Result<(), FileFault> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl DurableSayer {
    /// Gives the word; whoever no longer listens does not hear it.
    pub fn say(self, outcome: Result<(), FileFault>) {
        // Nobody listening is no fault: what is durable stays so.
        let _ = self.0.send(outcome);
    }
}

impl Future for Durable {
    type Output = Result<(), FileFault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let id = self.id;
        match &mut self.state {
            State::Told(outcome) => {
                Poll::Ready(outcome.take().expect("a future is not polled after its end"))
            }
            State::Waiting(hear) => {
                Pin::new(hear).poll(context).map(|heard| heard.unwrap_or(Err(FileFault::Spoiled(id))))
            }
        }
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
