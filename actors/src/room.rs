//! The room of a project (skeleton).

use std::sync::{Arc, atomic::{AtomicU64, Ordering}};

use bytestring::ByteString;
use tokio::sync::{mpsc, watch};

/// Why a connection's frames were cut. The client reconnects and resumes by sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It read more slowly than the room speaks.
    SlowReader,
    /// The room started anew.
    RoomEnded,
    /// What the viewer may see has changed.
    Revoked,
}

/// What goes to a connection: one frame, or the backlog of a resumed stream.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// One frame.
    Frame(ByteString),
    /// Frames that happened before the join, oldest first.
    Backlog(Vec<ByteString>),
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
}

/// A sink and its source with room for so many deliveries.
pub fn frame_channel(deliveries_max: usize) -> (FrameSink, FrameSource) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (frames, source) = mpsc::channel(deliveries_max);
    let (cut, seen) = watch::channel(None);
    let id = SinkId(NEXT.fetch_add(1, Ordering::Relaxed));
    (FrameSink { id, frames, cut: Arc::new(cut) }, FrameSource { frames: source, cut: seen })
}

impl FrameSink {
    /// The connection's name.
    pub fn id(&self) -> SinkId {
        self.id
    }

    /// Hands a delivery over without waiting; false: the sink is full (and now cut) or gone.
    pub fn push(&self, delivery: Delivery) -> bool {
        let _ = delivery;
        todo!()
    }

    /// Cuts the connection; the first reason stays.
    pub fn cut(&self, why: Cut) {
        let _ = why;
        todo!()
    }
}

impl FrameSource {
    /// The next delivery; `Err` when the connection is cut. Safe to drop while waiting.
    pub async fn next(&mut self) -> Result<Delivery, Cut> {
        todo!()
    }
}
