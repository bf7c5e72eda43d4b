//! The bounded pipe from rooms to one connection: [`Pipe`] between two threads.
//!
//! A room never waits for a reader: it hands a frame over or cuts the connection. Frames are made once for
//! each audience and shared, so a pipe holds pointers, not copies.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
pub use kaibiao_engine::session::{Cut, Delivery, Frames, FramesIter, Pushed, SinkId};
use kaibiao_engine::session::{Pipe, Sink};

/// The sending end: bounded, never awaited. Clones are the same sink.
#[derive(Clone)]
pub struct FrameSink {
    id: SinkId,
    shared: Arc<Shared>,
}

/// The connection's end.
pub struct FrameSource(Arc<Shared>);

struct Shared {
    pipe: Mutex<Pipe>,
    /// Who sends what lies in the pipe.
    reader: AtomicWaker,
    /// Who ends the connection when it is cut, however busy its reader is.
    holder: AtomicWaker,
}

/// A sink and its source with room for so many deliveries.
pub fn frame_channel(deliveries_max: usize) -> (FrameSink, FrameSource) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let pipe = Mutex::new(Pipe::new(deliveries_max));
    let shared = Arc::new(Shared { pipe, reader: AtomicWaker::new(), holder: AtomicWaker::new() });
    let id = SinkId(NEXT.fetch_add(1, Ordering::Relaxed));
    (FrameSink { id, shared: shared.clone() }, FrameSource(shared))
}

impl Shared {
    /// Held for a few instructions only.
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_cut(&self) {
        self.reader.wake();
        self.holder.wake();
    }
}

impl FrameSink {
    /// The connection's name.
    pub fn id(&self) -> SinkId {
        self.id
    }

    /// Hands a delivery over without waiting. Unless it was taken, whoever holds this sink drops it.
    pub fn push(&self, delivery: Delivery) -> Pushed {
        let pushed = self.shared.pipe().push(delivery);
        match pushed {
            Pushed::Taken => self.shared.reader.wake(),
            Pushed::CutNow => self.shared.is_cut(),
            Pushed::Gone => {}
        }
        pushed
    }

    /// Whether the connection still takes frames.
    pub fn is_open(&self) -> bool {
        self.shared.pipe().why_cut().is_none()
    }

    /// Cuts the connection; the first reason stays. Tells whether this call cut it.
    pub fn cut(&self, why: Cut) -> bool {
        let cut = self.shared.pipe().cut(why);
        if cut {
            self.shared.is_cut();
        }
        cut
    }

    /// Waits until the connection is cut: for the one who holds it, while its reader may be busy sending.
    pub async fn cut_seen(&self) -> Cut {
        poll_fn(|cx| {
            self.shared.holder.register(cx.waker());
            self.shared.pipe().why_cut().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Sink for FrameSink {
    fn push(&mut self, delivery: Delivery) -> Pushed {
        FrameSink::push(self, delivery)
    }

    fn cut(&mut self, why: Cut) {
        FrameSink::cut(self, why);
    }

    fn is_open(&self) -> bool {
        FrameSink::is_open(self)
    }
}

impl FrameSource {
    /// The next delivery. May be dropped while waiting without losing one.
    ///
    /// # Errors
    /// The connection is cut; what still lies in the pipe is not delivered, the client resumes by `seq`.
    pub async fn next(&mut self) -> Result<Delivery, Cut> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`FrameSource::next`], for who is woken rather than waits.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery, Cut>> {
        // Registered before the look: what comes between the two wakes.
        self.0.reader.register(cx.waker());
        match self.0.pipe().pull() {
            Ok(Some(delivery)) => Poll::Ready(Ok(delivery)),
            Ok(None) => Poll::Pending,
            Err(cut) => Poll::Ready(Err(cut)),
        }
    }
}

impl Drop for FrameSource {
    /// Nobody reads any more: rooms that still hold a sink find it gone.
    fn drop(&mut self) {
        self.0.pipe().cut(Cut::RoomEnded);
    }
}

#[cfg(test)]
mod tests {
    use kaibiao_engine::visibility::Frame;

    use super::*;

    fn frame(text: &str) -> Delivery {
        Delivery::Frame(Frame::from(text.to_owned()))
    }

    #[tokio::test]
    async fn a_reader_that_waits_hears_of_a_frame_and_of_a_cut() {
        let (sink, mut source) = frame_channel(2);
        let pushing = async {
            tokio::task::yield_now().await;
            assert_eq!(sink.push(frame("a")), Pushed::Taken);
        };
        let (got, ()) = tokio::join!(source.next(), pushing);
        assert_eq!(got, Ok(frame("a")));
        let cutting = async {
            tokio::task::yield_now().await;
            assert!(sink.cut(Cut::Revoked));
        };
        let (cut, ()) = tokio::join!(sink.cut_seen(), cutting);
        assert_eq!(cut, Cut::Revoked);
        assert_eq!(source.next().await, Err(Cut::Revoked));
    }

    #[tokio::test]
    async fn whoever_watches_for_a_cut_takes_nothing_from_who_reads() {
        let (sink, mut source) = frame_channel(2);
        let holder = sink.clone();
        let watching = tokio::spawn(async move { holder.cut_seen().await });
        tokio::task::yield_now().await;
        assert_eq!(sink.push(frame("a")), Pushed::Taken);
        assert_eq!(source.next().await, Ok(frame("a")));
        assert!(sink.cut(Cut::Revoked));
        assert_eq!(watching.await.unwrap(), Cut::Revoked);
    }

    #[tokio::test]
    async fn a_connection_without_any_room_only_waits() {
        let (sink, mut source) = frame_channel(1);
        drop(sink);
        let waited = tokio::select! {
            biased;
            _ = source.next() => false,
            () = tokio::task::yield_now() => true,
        };
        assert!(waited);
    }

    #[test]
    fn a_connection_that_is_gone_takes_nothing() {
        let (sink, source) = frame_channel(1);
        drop(source);
        assert!(!sink.is_open());
        assert_eq!(sink.push(frame("a")), Pushed::Gone);
    }
}
