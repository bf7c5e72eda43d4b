//! The streams one connection follows.

use std::collections::BTreeSet;

use kaibiao_protocol::{frame::StreamName, refusal::RefusalCode};

/// The streams one connection follows or is joining.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscriptions {
    joined: BTreeSet<StreamName>,
    /// Asked for and not answered yet.
    joining: BTreeSet<StreamName>,
}

impl Subscriptions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to join a stream. To be ended by [`Self::answered`].
    ///
    /// # Errors
    /// It is followed or being joined already: it would come twice. Or `busy`, with `subscriptions_max` of them.
    pub fn join(&mut self, stream: &StreamName, subscriptions_max: usize) -> Result<(), RefusalCode> {
        if self.joined.contains(stream) || self.joining.contains(stream) {
            return Err(RefusalCode::AlreadyExists);
        }
        if self.joined.len() + self.joining.len() >= subscriptions_max {
            return Err(RefusalCode::Busy);
        }
        self.joining.insert(stream.clone());
        Ok(())
    }

    /// The answer to a join is sent, or about to be sent before anything else.
    pub fn answered(&mut self, stream: &StreamName, joined: bool) {
        if self.joining.remove(stream) && joined {
            self.joined.insert(stream.clone());
        }
    }

    /// Ends a subscription; the room is to be told.
    ///
    /// # Errors
    /// It is not followed.
    pub fn leave(&mut self, stream: &StreamName) -> Result<(), RefusalCode> {
        if self.joined.remove(stream) { Ok(()) } else { Err(RefusalCode::Unknown) }
    }

    /// Whether events may be sent now: a subscription is answered before its first event, so while one is being
    /// joined they wait.
    pub fn may_send(&self) -> bool {
        self.joining.is_empty()
    }

    /// The connection is over: the streams whose rooms are to be told, those being joined among them.
    pub fn end(&mut self) -> BTreeSet<StreamName> {
        let mut all = std::mem::take(&mut self.joined);
        all.append(&mut self.joining);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamName {
        StreamName::Room(name.parse().unwrap())
    }

    #[test]
    fn a_stream_is_answered_before_its_first_event_and_followed_once() {
        let (a, b) = (stream("A"), stream("B"));
        let mut all = Subscriptions::new();
        assert_eq!(all.join(&a, 2), Ok(()));
        assert!(!all.may_send());
        assert_eq!(all.join(&a, 2), Err(RefusalCode::AlreadyExists));
        assert_eq!(all.leave(&a), Err(RefusalCode::Unknown));
        all.answered(&a, true);
        assert!(all.may_send());
        assert_eq!(all.join(&a, 2), Err(RefusalCode::AlreadyExists));
        assert_eq!(all.join(&b, 2), Ok(()));
        all.answered(&b, false);
        assert_eq!(all.leave(&b), Err(RefusalCode::Unknown));
        assert_eq!(all.leave(&a), Ok(()));
        assert_eq!(all.join(&a, 2), Ok(()));
    }

    #[test]
    fn those_being_joined_count_and_end_with_the_connection() {
        let (a, b, c) = (stream("A"), stream("B"), stream("C"));
        let mut all = Subscriptions::new();
        all.join(&a, 2).unwrap();
        all.answered(&a, true);
        all.join(&b, 2).unwrap();
        assert_eq!(all.join(&c, 2), Err(RefusalCode::Busy));
        assert_eq!(all.end(), [a, b].into());
        assert!(all.may_send());
    }
}
