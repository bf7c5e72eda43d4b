//! The reader's end of a subscription.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use kaibiao_protocol::frame::{Notice, StreamName};
use tokio::sync::{Notify, mpsc};

use super::{ClientFault, socket::Command};

/// How many events wait for a slow reader. Beyond that the stream is let go and resumed when the reader has
/// caught up, so that memory stays bounded and nothing is lost.
const FEED_EVENTS_MAX: usize = 4_096;

/// What became of an event that came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// It waits for the reader.
    Taken,
    /// It was had already.
    Repeat,
    /// Events before it are missing.
    Gap,
    /// The reader is too slow.
    Full,
}

/// Events on their way from the connection to one reader.
pub(super) struct Feed {
    state: Mutex<FeedState>,
    ready: Notify,
}

struct FeedState {
    waiting: VecDeque<Notice>,
    last: u64,
    behind: bool,
    end: Option<ClientFault>,
}

enum Next {
    Event(Box<Notice>),
    Ended(ClientFault),
    Behind,
    Nothing,
}

impl Feed {
    pub(super) fn new(since: u64) -> Self {
        let state = FeedState { waiting: VecDeque::new(), last: since, behind: false, end: None };
        Self { state: Mutex::new(state), ready: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, FeedState> {
        self.state.lock().expect("no panic while a feed is held")
    }

    /// The last event taken in; a resumption begins after it.
    pub(super) fn last(&self) -> u64 {
        self.state().last
    }

    pub(super) fn push(&self, notice: Notice) -> Fed {
        let mut state = self.state();
        if notice.seq <= state.last {
            return Fed::Repeat;
        }
        if notice.seq != state.last + 1 {
            return Fed::Gap;
        }
        if state.waiting.len() >= FEED_EVENTS_MAX {
            state.behind = true;
            return Fed::Full;
        }
        state.last = notice.seq;
        state.waiting.push_back(notice);
        drop(state);
        self.ready.notify_one();
        Fed::Taken
    }

    /// Nothing more will come; what waits is still given out.
    pub(super) fn end(&self, fault: ClientFault) {
        self.state().end.get_or_insert(fault);
        self.ready.notify_one();
    }

    fn next(&self) -> Next {
        let mut state = self.state();
        if let Some(notice) = state.waiting.pop_front() {
            return Next::Event(Box::new(notice));
        }
        if let Some(fault) = &state.end {
            return Next::Ended(fault.clone());
        }
        if std::mem::take(&mut state.behind) { Next::Behind } else { Next::Nothing }
    }
}

/// The events of one stream, in order and without a gap.
pub struct Events {
    stream: StreamName,
    feed: Arc<Feed>,
    commands: mpsc::Sender<Command>,
    reached: u64,
}

impl Events {
    pub(super) fn new(
        stream: StreamName,
        feed: Arc<Feed>,
        commands: mpsc::Sender<Command>,
        reached: u64,
    ) -> Self {
        Self { stream, feed, commands, reached }
    }

    /// The stream.
    pub fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// The stream's last sequence number when the subscription began: events up to it are of the past.
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// The next event; waits for it, over any number of cuts. Cancel-safe.
    ///
    /// # Errors
    /// The subscription has ended: the session is over, the project is closed to this viewer, or another reader
    /// took over.
    pub async fn next(&mut self) -> Result<Notice, ClientFault> {
        loop {
            match self.feed.next() {
                Next::Event(notice) => return Ok(*notice),
                Next::Ended(fault) => return Err(fault),
                Next::Behind => {
                    let resume = Command::Resume { stream: self.stream.clone(), feed: self.feed.clone() };
                    // If the connection's task has ended, the feed was ended before.
                    let _ = self.commands.send(resume).await;
                }
                Next::Nothing => self.feed.ready.notified().await,
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let unfollow = Command::Unfollow { stream: self.stream.clone(), feed: self.feed.clone() };
        // If the queue is full the stream goes on to a feed that nobody reads, until it is full and let go.
        let _ = self.commands.try_send(unfollow);
    }
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::{
        moment::Moment,
        view::{RoomEvent, ViewEvent},
    };

    use super::*;

    fn notice(seq: u64) -> Notice {
        let stream = "room/KX-1".parse().unwrap();
        Notice { stream, seq, at: Moment(0), event: ViewEvent::Room(RoomEvent::OpeningEnded) }
    }

    #[test]
    fn a_feed_takes_each_event_once_and_sees_a_gap() {
        let feed = Feed::new(4);
        assert_eq!(feed.push(notice(4)), Fed::Repeat);
        assert_eq!(feed.push(notice(5)), Fed::Taken);
        assert_eq!(feed.push(notice(5)), Fed::Repeat);
        assert_eq!(feed.push(notice(7)), Fed::Gap);
        assert_eq!(feed.last(), 5);
    }

    #[test]
    fn a_slow_reader_gets_everything_after_it_has_caught_up() {
        let feed = Feed::new(0);
        let mut seq = 0;
        while feed.push(notice(seq + 1)) == Fed::Taken {
            seq += 1;
        }
        assert_eq!((seq, feed.last()), (FEED_EVENTS_MAX as u64, FEED_EVENTS_MAX as u64));
        for expected in 1..=seq {
            assert!(matches!(feed.next(), Next::Event(event) if event.seq == expected));
        }
        assert!(matches!(feed.next(), Next::Behind), "the connection is told to resume");
        assert!(matches!(feed.next(), Next::Nothing));
        assert_eq!(feed.push(notice(seq + 1)), Fed::Taken);
    }
}
