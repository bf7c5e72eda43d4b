//! The bounded pipe from rooms to one connection.
//!
//! A room never waits for a reader: it hands a frame over or cuts the connection. Frames are made once for
//! each audience and shared, so a pipe holds pointers, not copies.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytestring::ByteString;
use tokio::sync::{mpsc, watch};

/// Why a connection's frames were cut. The client reconnects and resumes by sequence number; what it may see
/// is judged anew then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It read more slowly than the room speaks.
    SlowReader,
    /// The room started anew.
    RoomEnded,
    /// What the viewer may see has changed.
    Revoked,
}

/// What goes to a connection at once. However many frames it holds, it takes one place in the pipe: the frames are
/// shared, so they cost next to nothing, and what happens in the same instant must not cut a healthy reader.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// One frame.
    Frame(ByteString),
    /// Several frames, oldest first: what happened before a join, or together.
    Backlog(Frames),
}

/// Frames in order, shared by every connection that gets them.
#[derive(Clone, Debug)]
pub struct Frames(Arc<[ByteString]>);

impl Frames {
    /// These frames.
    pub fn new(frames: impl Into<Arc<[ByteString]>>) -> Self {
        Self(frames.into())
    }

    /// The frames.
    pub fn as_slice(&self) -> &[ByteString] {
        &self.0
    }
}

impl IntoIterator for Frames {
    type Item = ByteString;
    type IntoIter = FramesIter;

    fn into_iter(self) -> FramesIter {
        FramesIter { frames: self.0, next: 0 }
    }
}

/// Gives frames one by one.
#[derive(Debug)]
pub struct FramesIter {
    frames: Arc<[ByteString]>,
    next: usize,
}

impl Iterator for FramesIter {
    type Item = ByteString;

    fn next(&mut self) -> Option<ByteString> {
        let frame = self.frames.get(self.next).cloned();
        self.next += 1;
        frame
    }
}

/// How handing a delivery over went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// It lies in the pipe.
    Taken,
    /// The pipe was full: the connection is cut now.
    CutNow,
    /// The connection is gone or was cut before.
    Gone,
}

/// Names one connection's sink.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SinkId(pub u64);

/// The sending end: bounded, never awaited. Clones are the same sink.
#[derive(Clone)]
pub struct FrameSink {
    id: SinkId,
    frames: mpsc::Sender<Delivery>,
    cut: Arc<watch::Sender<Option<Cut>>>,
}

/// The connection's end.
pub struct FrameSource {
    frames: mpsc::Receiver<Delivery>,
    cut: watch::Receiver<Option<Cut>>,
    // Keeps the channel of cuts open while no room holds a sink: an idle connection is not a cut one.
    _own: FrameSink,
}

/// A sink and its source with room for so many deliveries.
pub fn frame_channel(deliveries_max: usize) -> (FrameSink, FrameSource) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (frames, source) = mpsc::channel(deliveries_max);
    let (cut, seen) = watch::channel(None);
    let id = SinkId(NEXT.fetch_add(1, Ordering::Relaxed));
    let sink = FrameSink { id, frames, cut: Arc::new(cut) };
    (sink.clone(), FrameSource { frames: source, cut: seen, _own: sink })
}

impl FrameSink {
    /// The connection's name.
    pub fn id(&self) -> SinkId {
        self.id
    }

    /// Hands a delivery over without waiting. Unless it was taken, whoever holds this sink drops it.
    pub fn push(&self, delivery: Delivery) -> Pushed {
        // A cut connection gets nothing more, or it would miss frames and then see later ones.
        if self.cut.borrow().is_some() {
            return Pushed::Gone;
        }
        match self.frames.try_send(delivery) {
            Ok(()) => Pushed::Taken,
            Err(mpsc::error::TrySendError::Full(_)) if self.cut(Cut::SlowReader) => Pushed::CutNow,
            Err(_) => Pushed::Gone,
        }
    }

    /// Whether the connection still takes frames.
    pub fn is_open(&self) -> bool {
        self.cut.borrow().is_none() && !self.frames.is_closed()
    }

    /// Cuts the connection; the first reason stays. Tells whether this call cut it.
    pub fn cut(&self, why: Cut) -> bool {
        self.cut.send_if_modified(|seen| {
            let first = seen.is_none();
            seen.get_or_insert(why);
            first
        })
    }
}

impl FrameSource {
    /// The next delivery. May be dropped while waiting without losing one.
    ///
    /// # Errors
    /// The connection is cut; what still lies in the pipe is not delivered, the client resumes by `seq`.
    pub async fn next(&mut self) -> Result<Delivery, Cut> {
        tokio::select! {
            biased;
            cut = self.cut.wait_for(Option::is_some) => {
                Err(cut.ok().and_then(|seen| *seen).unwrap_or(Cut::RoomEnded))
            }
            delivery = self.frames.recv() => delivery.ok_or(Cut::RoomEnded),
        }
    }

    /// Waits until the connection is cut: for whoever is busy sending and cannot take the next delivery.
    pub async fn cut_seen(&mut self) -> Cut {
        self.cut.wait_for(Option::is_some).await.ok().and_then(|seen| *seen).unwrap_or(Cut::RoomEnded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Delivery {
        Delivery::Frame(ByteString::from(text.to_owned()))
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_gets_every_frame_in_order() {
        let (sink, mut source) = frame_channel(2);
        for text in ["a", "b"] {
            assert_eq!(sink.push(frame(text)), Pushed::Taken);
        }
        for text in ["a", "b"] {
            assert!(matches!(source.next().await, Ok(Delivery::Frame(got)) if got == text));
        }
        assert_eq!(sink.push(frame("c")), Pushed::Taken);
    }

    #[tokio::test]
    async fn a_reader_one_frame_behind_its_bound_is_cut_and_gets_nothing_later() {
        let (sink, mut source) = frame_channel(2);
        for text in ["a", "b"] {
            assert_eq!(sink.push(frame(text)), Pushed::Taken);
        }
        assert_eq!(sink.push(frame("c")), Pushed::CutNow);
        assert_eq!(source.next().await.err(), Some(Cut::SlowReader));
        assert_eq!(sink.push(frame("d")), Pushed::Gone);
        assert!(!sink.cut(Cut::Revoked));
        assert_eq!(source.next().await.err(), Some(Cut::SlowReader));
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
}
