//! What goes out on one socket: answers, events, pings and the close, in their order.
//!
//! The connection itself pulls from here whenever it can write; nothing is copied ahead of it. A long text goes in
//! pieces, so a record of many megabytes takes one piece of memory for each connection that reads it, however slowly.

use std::{
    cell::RefCell,
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_http::ws::{CloseReason, OpCode, Parser};
use actix_web::body::{BodySize, MessageBody};
use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::frame_sink::{Delivery, FrameSource, FramesIter};

/// Answers that wait on one socket; while there are so many, or so many bytes of them, nothing more is heard from it.
const ANSWERS_MAX: usize = 32;
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// A text longer than this goes in pieces of so many bytes, as fragments of one message (RFC 6455, 5.4).
pub(in crate::http) const PIECE_BYTES: usize = 8 * 1024;
/// The longest head of a frame that is not masked.
const HEAD_BYTES_MAX: usize = 10;

/// The socket's end of the line.
pub(super) struct Line(Rc<RefCell<Out>>);

/// The connection's end: the body of the response that opened the socket.
pub(super) struct Outgoing(Rc<RefCell<Out>>);

struct Out {
    answers: VecDeque<ByteString>,
    answer_bytes: usize,
    ping: bool,
    /// The last ping's payload: one pong answers all that came before it (RFC 6455, 5.5.3).
    pong: Option<Bytes>,
    close: Option<Option<CloseReason>>,
    /// What is left of a long text whose first piece is out.
    rest: Bytes,
    backlog: Option<FramesIter>,
    events: FrameSource,
    may_send_events: bool,
    /// Nothing goes out any more: the close is out, or the connection is gone.
    over: bool,
    /// Who writes.
    connection: Option<Waker>,
    /// Who waits for room, or for the end.
    socket: Option<Waker>,
}

/// A line on which these events go out.
pub(super) fn line(events: FrameSource) -> (Line, Outgoing) {
    let out = Rc::new(RefCell::new(Out {
        answers: VecDeque::new(),
        answer_bytes: 0,
        ping: false,
        pong: None,
        close: None,
        rest: Bytes::new(),
        backlog: None,
        events,
        may_send_events: true,
        over: false,
        connection: None,
        socket: None,
    }));
    (Line(out.clone()), Outgoing(out))
}

impl Line {
    /// Whether one more answer may be put in.
    pub(super) fn has_room(&self) -> bool {
        let out = self.0.borrow();
        out.answers.len() < ANSWERS_MAX && out.answer_bytes < ANSWER_BYTES_MAX
    }

    /// An answer; events wait behind it unless they may go out already.
    pub(super) fn answer(&self, text: ByteString) {
        self.change(|out| {
            out.answer_bytes += text.len();
            out.answers.push_back(text);
        });
    }

    /// Whether events may go out now.
    pub(super) fn let_events(&self, may_send: bool) {
        self.change(|out| out.may_send_events = may_send);
    }

    /// Answers a ping.
    pub(super) fn pong(&self, payload: Bytes) {
        self.change(|out| out.pong = Some(payload));
    }

    /// Pings. False: not even the ping before could be written since.
    pub(super) fn ping(&self) -> bool {
        self.change(|out| !std::mem::replace(&mut out.ping, true))
    }

    /// Ends what goes out with a close, behind the answers that wait; but a long text on its way is broken off.
    pub(super) fn close(&self, reason: Option<CloseReason>) {
        self.change(|out| {
            out.close = Some(reason);
            out.may_send_events = false;
        });
    }

    /// Waits until there is room for an answer, or until nothing goes out any more.
    pub(super) async fn room(&self) {
        self.wait(|out| out.over || out.answers.len() < ANSWERS_MAX && out.answer_bytes < ANSWER_BYTES_MAX)
            .await;
    }

    /// Waits until nothing goes out any more.
    pub(super) async fn over(&self) {
        self.wait(|out| out.over).await;
    }

    async fn wait(&self, until: impl Fn(&Out) -> bool) {
        poll_fn(|cx| {
            let mut out = self.0.borrow_mut();
            if until(&out) {
                return Poll::Ready(());
            }
            keep(&mut out.socket, cx);
            Poll::Pending
        })
        .await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut Out) -> T) -> T {
        let mut out = self.0.borrow_mut();
        let changed = change(&mut out);
        if let Some(connection) = out.connection.take() {
            connection.wake();
        }
        changed
    }
}

impl Out {
    /// What is written next.
    fn next(&mut self, cx: &mut Context<'_>) -> Option<Bytes> {
        // What rules the connection may stand between the pieces of a message.
        if std::mem::take(&mut self.ping) {
            return Some(encoded(OpCode::Ping, true, b""));
        }
        if let Some(payload) = self.pong.take() {
            return Some(encoded(OpCode::Pong, true, &payload));
        }
        if !self.rest.is_empty() && self.close.is_none() {
            let piece = self.rest.split_to(PIECE_BYTES.min(self.rest.len()));
            return Some(encoded(OpCode::Continue, self.rest.is_empty(), &piece));
        }
        if self.rest.is_empty()
            && let Some(answer) = self.answers.pop_front()
        {
            self.answer_bytes -= answer.len();
            if let Some(socket) = self.socket.take() {
                socket.wake();
            }
            return Some(self.begin(answer));
        }
        if let Some(reason) = self.close.take() {
            self.end();
            let mut close = BytesMut::new();
            Parser::write_close(&mut close, reason, false);
            return Some(close.freeze());
        }
        if !self.may_send_events {
            return None;
        }
        loop {
            if let Some(frame) = self.backlog.as_mut().and_then(Iterator::next) {
                return Some(self.begin(frame));
            }
            self.backlog = None;
            match self.events.poll_next(cx) {
                Poll::Ready(Ok(Delivery::Frame(frame))) => return Some(self.begin(frame)),
                Poll::Ready(Ok(Delivery::Backlog(frames))) => self.backlog = Some(frames.into_iter()),
                // A cut is seen by the socket, which says why.
                Poll::Ready(Err(_)) | Poll::Pending => return None,
            }
        }
    }

    fn begin(&mut self, text: ByteString) -> Bytes {
        let mut bytes = text.into_bytes();
        if bytes.len() <= PIECE_BYTES {
            return encoded(OpCode::Text, true, &bytes);
        }
        let first = bytes.split_to(PIECE_BYTES);
        self.rest = bytes;
        encoded(OpCode::Text, false, &first)
    }

    fn end(&mut self) {
        self.over = true;
        if let Some(socket) = self.socket.take() {
            socket.wake();
        }
    }
}

impl MessageBody for Outgoing {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let mut out = self.0.borrow_mut();
        if out.over {
            return Poll::Ready(None);
        }
        match out.next(cx) {
            Some(bytes) => Poll::Ready(Some(Ok(bytes))),
            None => {
                keep(&mut out.connection, cx);
                Poll::Pending
            }
        }
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.0.borrow_mut().end();
    }
}

fn keep(waker: &mut Option<Waker>, cx: &mut Context<'_>) {
    match waker {
        Some(kept) if kept.will_wake(cx.waker()) => {}
        other => *other = Some(cx.waker().clone()),
    }
}

fn encoded(kind: OpCode, last: bool, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD_BYTES_MAX + payload.len());
    Parser::write_message(&mut frame, payload, kind, last, false);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame_sink::{Frames, frame_channel};

    /// What the connection writes until there is nothing more, each as (kind, last, payload).
    fn written(outgoing: &mut Outgoing) -> Vec<(OpCode, bool, Vec<u8>)> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = Vec::new();
        while let Poll::Ready(Some(Ok(bytes))) = Pin::new(&mut *outgoing).poll_next(&mut cx) {
            let mut bytes = BytesMut::from(bytes);
            let (last, kind, payload) = Parser::parse(&mut bytes, false, usize::MAX).unwrap().unwrap();
            all.push((kind, last, payload.map(|payload| payload.to_vec()).unwrap_or_default()));
        }
        all
    }

    fn text(payload: &str) -> (OpCode, bool, Vec<u8>) {
        (OpCode::Text, true, payload.as_bytes().to_vec())
    }

    #[test]
    fn an_answer_goes_before_the_events_that_waited_for_it() {
        let (sink, source) = frame_channel(4);
        let (line, mut outgoing) = line(source);
        line.let_events(false);
        sink.push(Delivery::Backlog(Frames::new(["a".into(), "b".into()])));
        sink.push(Delivery::Frame("c".into()));
        assert_eq!(written(&mut outgoing), []);
        line.answer("yes".into());
        line.let_events(true);
        assert_eq!(written(&mut outgoing), [text("yes"), text("a"), text("b"), text("c")]);
    }

    #[test]
    fn a_long_text_goes_in_pieces_between_which_only_pings_and_the_close_may_stand() {
        let (_sink, source) = frame_channel(4);
        let (line, mut outgoing) = line(source);
        let long: String = (0..PIECE_BYTES * 2 + 5).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        line.answer(long.clone().into());
        line.answer("short".into());
        let mut cx = Context::from_waker(Waker::noop());
        let first = Pin::new(&mut outgoing).poll_next(&mut cx);
        assert!(matches!(first, Poll::Ready(Some(Ok(bytes))) if bytes.len() <= PIECE_BYTES + HEAD_BYTES_MAX));
        line.ping();
        let rest = written(&mut outgoing);
        let kinds: Vec<_> = rest.iter().map(|(kind, last, _)| (*kind, *last)).collect();
        let wanted =
            [(OpCode::Ping, true), (OpCode::Continue, false), (OpCode::Continue, true), (OpCode::Text, true)];
        assert_eq!(kinds, wanted);
        let joined = [&long.as_bytes()[..PIECE_BYTES], &rest[1].2, &rest[2].2].concat();
        assert_eq!(joined, long.as_bytes());
    }

    #[test]
    fn a_ping_that_was_not_written_since_the_last_one_shows_a_peer_that_reads_nothing() {
        let (_sink, source) = frame_channel(4);
        let (line, mut outgoing) = line(source);
        assert!(line.ping());
        written(&mut outgoing);
        assert!(line.ping());
        assert!(!line.ping());
    }

    #[test]
    fn answers_that_nobody_reads_leave_no_room() {
        let (_sink, source) = frame_channel(4);
        let (line, mut outgoing) = line(source);
        for _ in 0..ANSWERS_MAX {
            assert!(line.has_room());
            line.answer("x".into());
        }
        assert!(!line.has_room());
        written(&mut outgoing);
        line.answer("x".repeat(ANSWER_BYTES_MAX).into());
        assert!(!line.has_room());
        // A flood of pings takes the place of one.
        for no in 0..1_000_u32 {
            line.pong(Bytes::from(no.to_string()));
        }
        let pongs = written(&mut outgoing).into_iter().filter(|(kind, ..)| *kind == OpCode::Pong);
        assert_eq!(pongs.map(|(.., payload)| payload).collect::<Vec<_>>(), [b"999".to_vec()]);
        assert!(line.has_room());
    }

    #[test]
    fn answers_come_before_the_close_and_nothing_after_it() {
        let (sink, source) = frame_channel(4);
        let (line, mut outgoing) = line(source);
        line.answer("signed out".into());
        line.close(None);
        sink.push(Delivery::Frame("too late".into()));
        assert_eq!(written(&mut outgoing), [text("signed out"), (OpCode::Close, true, Vec::new())]);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(Pin::new(&mut outgoing).poll_next(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn a_close_breaks_off_a_long_text() {
        let (_sink, source) = frame_channel(4);
        let (line, mut outgoing) = line(source);
        line.answer("x".repeat(PIECE_BYTES * 9).into());
        line.answer("never sent".into());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut outgoing).poll_next(&mut cx).is_ready());
        line.close(None);
        assert_eq!(written(&mut outgoing), [(OpCode::Close, true, Vec::new())]);
    }
}
