//! The answer to an append, once it is durable.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
};

use tokio::sync::oneshot;

use super::{AppendFault, Appended};

type Outcome = Result<Appended, AppendFault>;

/// A future of an append's answer. Dropping it does not take the append back.
#[must_use = "an append is acknowledged only by its answer"]
pub struct Pending(State);

enum State {
    Told(Option<Outcome>),
    Waiting(oneshot::Receiver<Outcome>),
}

/// The other end: says the answer, once. Dropped unsaid, it says [`AppendFault::WritingEnded`].
pub struct Answer(oneshot::Sender<Outcome>);

impl Pending {
    /// An answer known at once.
    pub fn told(outcome: Result<Appended, AppendFault>) -> Self {
        Self(State::Told(Some(outcome)))
    }

    /// An answer still to come, and who says it.
    pub fn new() -> (Answer, Self) {
        let (say, hear) = oneshot::channel();
        (Answer(say), Self(State::Waiting(hear)))
    }

    /// Waits on this thread: for start and stop, and for threads of their own. Inside an async task it would
    /// hold up all other tasks of the thread.
    ///
    /// # Errors
    /// See [`AppendFault`].
    pub fn wait(mut self) -> Result<Appended, AppendFault> {
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

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Answer {
    /// Says the answer; whoever no longer listens does not hear it.
    pub fn say(self, outcome: Result<Appended, AppendFault>) {
        // Nobody listening is no fault: the append stands either way.
        let _ = self.0.send(outcome);
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Told(outcome) => {
                Poll::Ready(outcome.take().expect("a future is not polled after its end"))
            }
            State::Waiting(hear) => {
                Pin::new(hear).poll(context).map(|heard| heard.unwrap_or(Err(AppendFault::WritingEnded)))
            }
        }
    }
}
