//! KB-3 as far as it shows on the wire: what viewers hear of one stream is one sequence, without a gap across
//! connections and restarts, and nobody hears what is not its own.

use kaibiao_engine::visibility::Frame;
use std::{collections::BTreeMap, sync::Arc};

use kaibiao_engine::invariants::{Broken, Holds};
use kaibiao_protocol::frame::{Answer, Ask, Notice, Response, StreamName};

use super::{View, ensure};
use crate::world::{people::number_of, plan::Who, wire::ConnId};

/// Every stream as anybody heard it first.
#[derive(Default)]
pub(crate) struct Streams {
    told: BTreeMap<(usize, View), Told>,
    subscriptions: BTreeMap<(ConnId, usize, View), Subscription>,
}

/// One stream.
#[derive(Default)]
struct Told {
    texts: Vec<Frame>,
    notices: Vec<Arc<Notice>>,
}

struct Subscription {
    /// The `seq` that must come next.
    next: u64,
    answered: bool,
    /// The stream's last `seq` when it was taken up.
    upto: u64,
}

/// A frame that was heard.
pub(crate) struct Heard {
    pub(crate) project: usize,
    pub(crate) notice: Arc<Notice>,
    /// Whose view it is of, where nobody heard it before.
    pub(crate) new: Option<View>,
}

impl Streams {
    /// The notices of a stream in order, as far as anybody heard them.
    pub(crate) fn of(&self, project: usize, view: View) -> &[Arc<Notice>] {
        self.told.get(&(project, view)).map_or(&[], |told| &told.notices)
    }

    /// Every stream anybody heard of.
    pub(crate) fn all(&self, project: usize) -> impl Iterator<Item = (View, &[Arc<Notice>])> {
        let of_project = self.told.iter().filter(move |((number, _), _)| *number == project);
        of_project.map(|((_, view), told)| (*view, &told.notices[..]))
    }

    pub(crate) fn asked(&mut self, conn: ConnId, who: Who, ask: &Ask) {
        if let Ask::Subscribe { stream, since } = ask
            && let Some(view) = View::of(who, stream)
        {
            let key = (conn, number_of(stream.project()), view);
            let new = Subscription { next: since + 1, answered: false, upto: 0 };
            self.subscriptions.entry(key).or_insert(new);
        }
    }

    pub(crate) fn answered(&mut self, conn: ConnId, who: Who, ask: &Ask, response: &Response) -> Holds {
        let Ask::Subscribe { stream, since } = ask else { return Ok(()) };
        let Some(view) = View::of(who, stream) else {
            let refused = matches!(response, Response::Refused { .. });
            return ensure("own stream", refused, || format!("{who:?} may follow an own stream"));
        };
        let key = (conn, number_of(stream.project()), view);
        match response {
            Response::Ok { ok: Answer::Subscribed { seq }, .. } => {
                if let Some(subscription) = self.subscriptions.get_mut(&key) {
                    (subscription.answered, subscription.upto) = (true, *seq);
                }
                // Whoever had an event has it from a record that is durable.
                ensure("durable", seq >= since, || {
                    format!("{stream} ends at {seq}, and {who:?} had {since} already")
                })
            }
            Response::Ok { .. } => ensure("answer", false, || "a subscription is answered otherwise".into()),
            Response::Refused { .. } => {
                self.subscriptions.remove(&key);
                Ok(())
            }
        }
    }

    pub(crate) fn gone(&mut self, conn: ConnId) {
        self.subscriptions.retain(|(of, _, _), _| *of != conn);
    }

    pub(crate) fn frame(&mut self, conn: ConnId, who: Who, text: &Frame) -> Result<Heard, Broken> {
        let (stream, seq) = head_of(text).ok_or_else(|| not_a_frame(text))?;
        let project = number_of(stream.project());
        let view = View::of(who, &stream);
        let subscription = view.and_then(|view| self.subscriptions.get_mut(&(conn, project, view)));
        let (Some(view), Some(subscription)) = (view, subscription) else {
            return Err(Broken {
                invariant: "KB-3",
                what: format!("{who:?} hears of {stream}, which it does not follow"),
            });
        };
        ensure("KB-3", subscription.answered, || format!("{who:?} hears of {stream} before the answer"))?;
        let due = std::mem::replace(&mut subscription.next, seq + 1);
        ensure("KB-3", seq == due, || format!("{who:?} hears event {seq} of {stream} where {due} is due"))?;
        let told = self.told.entry((project, view)).or_default();
        let place = (seq - 1) as usize;
        if let Some(known) = told.texts.get(place) {
            ensure("KB-3", known.as_ptr() == text.as_ptr() || known == text, || {
                format!("event {seq} of {stream} was another one before: {known} became {text}")
            })?;
            return Ok(Heard { project, notice: told.notices[place].clone(), new: None });
        }
        ensure("KB-3", place == told.texts.len(), || format!("event {seq} of {stream} comes out of turn"))?;
        let notice: Notice = serde_json::from_str(text).map_err(|_| not_a_frame(text))?;
        let notice = Arc::new(notice);
        told.texts.push(text.clone());
        told.notices.push(notice.clone());
        Ok(Heard { project, notice, new: Some(view) })
    }
}

fn not_a_frame(text: &str) -> Broken {
    Broken { invariant: "answer", what: format!("a frame is not in the wire's form: {text}") }
}

/// The stream and place of a frame, without reading the rest of it.
fn head_of(text: &str) -> Option<(StreamName, u64)> {
    let rest = text.strip_prefix("{\"stream\":\"")?;
    let (stream, rest) = rest.split_once('"')?;
    let rest = rest.strip_prefix(",\"seq\":")?;
    let digits = rest.find(|sign: char| !sign.is_ascii_digit())?;
    Some((stream.parse().ok()?, rest[..digits].parse().ok().filter(|seq| *seq > 0)?))
}
