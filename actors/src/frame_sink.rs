//! The bounded pipe from rooms to one connection: [`Pipe`] between two threads.
//!
//! A room never waits for a reader: it hands a frame over or cuts the connection. Frames are made once for
//! each audience and shared, so a pipe holds pointers, not copies.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

pub use kaibiao_engine::session::{Cut, Delivery, Frames, FramesIter, Pushed, SinkId};
use kaibiao_engine::session::{Pipe, Sink};
use tokio::sync::Notify;

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
    /// Something changed for the one who reads.
    changed: Notify,
}

/// A sink and its source with room for so many deliveries.
pub fn frame_channel(deliveries_max: usize) -> (FrameSink, FrameSource) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let pipe = Mutex::new(Pipe::new(deliveries_max));
    let shared = Arc::new(Shared { pipe, changed: Notify::new() });
    let id = SinkId(NEXT.fetch_add(1, Ordering::Relaxed));
    (FrameSink { id, shared: shared.clone() }, FrameSource(shared))
}

impl Shared {
    /// Held for a few instructions only.
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
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
        if pushed != Pushed::Gone {
            self.shared.changed.notify_one();
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
            self.shared.changed.notify_one();
        }
        cut
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
        loop {
            if let Some(delivery) = self.0.pipe().pull()? {
                return Ok(delivery);
            }
            // One reader: what is noted between the look and the wait ends the wait at once.
            self.0.changed.notified().await;
        }
    }

    /// Waits until the connection is cut: for whoever is busy sending and cannot take the next delivery.
    pub async fn cut_seen(&mut self) -> Cut {
        loop {
            if let Some(cut) = self.0.pipe().why_cut() {
                return cut;
            }
            self.0.changed.notified().await;
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
        let (cut, ()) = tokio::join!(source.cut_seen(), cutting);
        assert_eq!(cut, Cut::Revoked);
        assert_eq!(source.next().await, Err(Cut::Revoked));
    }

    #[tokio::test]
    async fn a_frame_that_came_while_the_reader_watched_for_a_cut_is_not_lost() {
        let (sink, mut source) = frame_channel(2);
        assert_eq!(sink.push(frame("a")), Pushed::Taken);
        tokio::select! {
            biased;
            _ = source.cut_seen() => panic!("nobody cut it"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(source.next().await, Ok(frame("a")));
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
