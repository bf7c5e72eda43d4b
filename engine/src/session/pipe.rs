//! The bounded pipe from rooms to one connection.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    planted::{Planted, planted},
    visibility::Frame,
};

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// One frame.
    Frame(Frame),
    /// Several frames, oldest first: what happened before a join, or together.
    Backlog(Frames),
}

impl Delivery {
    /// These frames; none where there are none.
    pub fn of(mut frames: Vec<Frame>) -> Option<Self> {
        match frames.len() {
            0 => None,
            1 => frames.pop().map(Delivery::Frame),
            _ => Some(Delivery::Backlog(Frames::new(frames))),
        }
    }
}

/// Frames in order, shared by every connection that gets them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frames(Arc<[Frame]>);

impl Frames {
    /// These frames.
    pub fn new(frames: impl Into<Arc<[Frame]>>) -> Self {
        Self(frames.into())
    }

    /// The frames.
    pub fn as_slice(&self) -> &[Frame] {
        &self.0
    }
}

impl IntoIterator for Frames {
    type Item = Frame;
    type IntoIter = FramesIter;

    fn into_iter(self) -> FramesIter {
        FramesIter { frames: self.0, next: 0 }
    }
}

/// Gives frames one by one.
#[derive(Debug)]
pub struct FramesIter {
    frames: Arc<[Frame]>,
    next: usize,
}

impl Iterator for FramesIter {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
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

/// A pipe with room for so many deliveries.
#[derive(Clone, Debug)]
pub struct Pipe {
    deliveries: VecDeque<Delivery>,
    deliveries_max: usize,
    cut: Option<Cut>,
}

impl Pipe {
    /// An empty pipe. It takes memory only for what lies in it.
    pub fn new(deliveries_max: usize) -> Self {
        Self { deliveries: VecDeque::new(), deliveries_max, cut: None }
    }

    /// Puts a delivery in, or cuts. A cut connection gets nothing more, or it would miss frames and then see later
    /// ones.
    pub fn push(&mut self, delivery: Delivery) -> Pushed {
        if self.cut.is_some() {
            return Pushed::Gone;
        }
        if self.deliveries.len() >= self.deliveries_max {
            if planted(Planted::SlowReaderLosesFrames) {
                return Pushed::Taken;
            }
            self.cut(Cut::SlowReader);
            return Pushed::CutNow;
        }
        self.deliveries.push_back(delivery);
        Pushed::Taken
    }

    /// Takes the next delivery out; none: the pipe is empty.
    ///
    /// # Errors
    /// The connection is cut; what still lay in the pipe is not delivered.
    pub fn pull(&mut self) -> Result<Option<Delivery>, Cut> {
        if let Some(cut) = self.cut {
            return Err(cut);
        }
        let next = self.deliveries.pop_front();
        if self.deliveries.is_empty() && self.deliveries.capacity() > KEPT_PLACES_MAX {
            // A burst is over: an idle connection keeps next to nothing.
            self.deliveries = VecDeque::new();
        }
        Ok(next)
    }

    /// Cuts the connection; the first reason stays. Tells whether this call cut it.
    pub fn cut(&mut self, why: Cut) -> bool {
        if self.cut.is_some() || planted(Planted::RevokedStillTold) && why == Cut::Revoked {
            return false;
        }
        self.cut = Some(why);
        // Nobody will read it.
        self.deliveries = VecDeque::new();
        true
    }

    /// Why it was cut; none: it takes deliveries.
    pub fn why_cut(&self) -> Option<Cut> {
        self.cut
    }

    /// How many deliveries lie in it.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether nothing lies in it.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }
}

/// Places an empty pipe keeps.
const KEPT_PLACES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Delivery {
        Delivery::Frame(Frame::from(text.to_owned()))
    }

    #[test]
    fn a_reader_that_keeps_up_gets_every_frame_in_order() {
        let mut pipe = Pipe::new(2);
        for text in ["a", "b"] {
            assert_eq!(pipe.push(frame(text)), Pushed::Taken);
        }
        for text in ["a", "b"] {
            assert_eq!(pipe.pull(), Ok(Some(frame(text))));
        }
        assert_eq!(pipe.pull(), Ok(None));
        assert_eq!(pipe.push(frame("c")), Pushed::Taken);
    }

    #[test]
    fn a_reader_one_frame_behind_its_bound_is_cut_and_gets_nothing_later() {
        let mut pipe = Pipe::new(2);
        for text in ["a", "b"] {
            assert_eq!(pipe.push(frame(text)), Pushed::Taken);
        }
        assert_eq!(pipe.push(frame("c")), Pushed::CutNow);
        assert_eq!(pipe.pull(), Err(Cut::SlowReader));
        assert_eq!(pipe.push(frame("d")), Pushed::Gone);
        assert!(!pipe.cut(Cut::Revoked));
        assert_eq!(pipe.pull(), Err(Cut::SlowReader));
    }

    #[test]
    fn many_frames_of_one_moment_take_one_place() {
        let mut pipe = Pipe::new(1);
        let many: Vec<Frame> = (0..300).map(|no| Frame::from(no.to_string())).collect();
        assert_eq!(pipe.push(Delivery::of(many.clone()).unwrap()), Pushed::Taken);
        let Ok(Some(Delivery::Backlog(got))) = pipe.pull() else { panic!("a backlog is a delivery") };
        assert_eq!(got.into_iter().collect::<Vec<_>>(), many);
        assert_eq!(Delivery::of(Vec::new()), None);
        assert_eq!(Delivery::of(vec![Frame::from("a")]), Some(frame("a")));
    }
}
