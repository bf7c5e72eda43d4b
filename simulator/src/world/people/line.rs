//! A person's line: dialling, losing it, asking, asking again.

use std::collections::BTreeMap;

use kaibiao_protocol::frame::{Ask, StreamName};

use super::{Errand, Hands, Person};
use crate::world::{
    plan::Who,
    schedule::Instant,
    stock::project_id,
    wire::{ConnId, ToServer},
};

/// The line.
#[derive(Default)]
pub(super) struct Line {
    pub(super) conn: Option<ConnId>,
    /// It will not dial before.
    away_until: Instant,
    /// Failures since something was heard.
    pub(super) tries: u32,
    next_id: u64,
    /// Asked on this connection and not answered.
    pub(super) pending: BTreeMap<u64, Asked>,
    /// To be asked again, when their time has come or the line is there.
    waiting: BTreeMap<u64, Asked>,
}

/// Something asked.
pub(super) struct Asked {
    pub(super) ask: Ask,
    tries: u32,
}

/// Whether an ask may simply be repeated when nobody knows what became of it (`docs/api.md`, 4).
pub(super) fn is_repeatable(ask: &Ask) -> bool {
    match ask {
        Ask::ExtendWindow { .. } | Ask::Object { .. } | Ask::SignOut {} => false,
        // Each connection subscribes anew, from where the person is by then.
        Ask::Subscribe { .. } | Ask::Unsubscribe { .. } => false,
        _ => true,
    }
}

impl Person {
    /// Asks; dials first where there is no line.
    pub(super) fn ask(&mut self, ask: Ask, hands: &mut Hands<'_>) {
        self.ask_for_the(0, ask, hands);
    }

    fn ask_for_the(&mut self, tries: u32, ask: Ask, hands: &mut Hands<'_>) {
        self.line.next_id += 1;
        let id = self.line.next_id;
        let asked = Asked { ask: ask.clone(), tries };
        match self.line.conn {
            Some(conn) => {
                self.line.pending.insert(id, asked);
                hands.send(conn, ToServer::Ask { id, ask });
            }
            None => {
                self.line.waiting.insert(id, asked);
                self.dials(hands);
            }
        }
    }

    /// Whether an ask like this is under way or waits.
    pub(super) fn is_asking(&self, like: impl Fn(&Ask) -> bool) -> bool {
        let all = self.line.pending.values().chain(self.line.waiting.values());
        all.into_iter().any(|asked| like(&asked.ask))
    }

    /// It was told to come again: after a pause that grows, with some chance in it.
    pub(super) fn asks_later(&mut self, mut asked: Asked, hands: &mut Hands<'_>) {
        asked.tries += 1;
        self.line.next_id += 1;
        let no = self.line.next_id;
        let ms = self.pause_ms(asked.tries);
        self.line.waiting.insert(no, asked);
        self.later(ms, Errand::AskAgain { no }, hands);
    }

    pub(super) fn asks_again(&mut self, no: u64, hands: &mut Hands<'_>) {
        // Without a line it waits on; whoever dials asks it.
        if self.line.conn.is_none() {
            return;
        }
        if let Some(asked) = self.line.waiting.remove(&no) {
            self.ask_for_the(asked.tries, asked.ask, hands);
        }
    }

    /// 0.2 to 0.4 seconds, then double, at most 15.
    pub(super) fn pause_ms(&mut self, tries: u32) -> u64 {
        let base = 200_u64 << tries.saturating_sub(1).min(7);
        (base + self.draw.between(0, base)).min(15_000)
    }

    /// Dials, unless it has a line or is away.
    pub(super) fn dials(&mut self, hands: &mut Hands<'_>) {
        let now = hands.now();
        if self.line.conn.is_some() || now < self.line.away_until {
            return;
        }
        let conn = hands.kernel.connect(self.caller.clone());
        hands.oracle.connected(conn, self.who, now);
        self.line.conn = Some(conn);
        let follows: Vec<usize> =
            self.seats.iter().filter(|(_, seat)| seat.follows).map(|(project, _)| *project).collect();
        for project in follows {
            self.subscribes(project, hands);
        }
        for asked in std::mem::take(&mut self.line.waiting).into_values() {
            self.ask_for_the(asked.tries, asked.ask, hands);
        }
        self.uploads_go_on(hands);
        let seats: Vec<usize> = self.seats.keys().copied().collect();
        for project in seats {
            self.unseals_if_asked(project, hands);
        }
    }

    pub(super) fn subscribes(&mut self, project: usize, hands: &mut Hands<'_>) {
        let Some(seat) = self.seats.get(&project) else { return };
        let (room, own) = (seat.room_seq, seat.own_seq);
        let id = project_id(project);
        self.ask(Ask::Subscribe { stream: StreamName::Room(id.clone()), since: room }, hands);
        if matches!(self.who, Who::Supplier(_)) {
            self.ask(Ask::Subscribe { stream: StreamName::Own(id), since: own }, hands);
        }
    }

    /// The line broke.
    pub(crate) fn lost_line(&mut self, hands: &mut Hands<'_>) {
        self.line.conn = None;
        let pending = std::mem::take(&mut self.line.pending);
        let again = pending.into_iter().filter(|(_, asked)| is_repeatable(&asked.ask));
        self.line.waiting.extend(again);
        self.line.tries += 1;
        let ms = self.pause_ms(self.line.tries);
        self.later(ms, Errand::Dial, hands);
    }

    /// Goes away for a while.
    pub(super) fn leaves(&mut self, for_ms: u64, hands: &mut Hands<'_>) {
        self.line.away_until = hands.now().plus_ms(for_ms);
        if let Some(conn) = self.line.conn {
            hands.kernel.hang_up(conn);
            hands.oracle.gone(conn, hands.kernel.now());
            self.lost_line(hands);
        }
        self.later(for_ms, Errand::Dial, hands);
    }
}
