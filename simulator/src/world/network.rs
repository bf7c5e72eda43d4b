//! Connections: latency, stalling, slow reading, cutting.
//!
//! While a connection lives, what is sent over it arrives whole and in order, each way. When it is cut, what is
//! under way to the person is lost, and what is under way to the server arrives up to a place that is drawn: the
//! person cannot know which. A person who does not read fills a buffer; then the server can write no more.

use std::collections::BTreeMap;

use super::{
    draw::Draw,
    schedule::Instant,
    wire::{Caller, ConnId},
};

/// Messages under way to a person who does not read, before the server can write no more.
pub const WINDOW_MESSAGES_MAX: u32 = 12;

/// The connections.
pub struct Network {
    draw: Draw,
    lines: BTreeMap<ConnId, Line>,
    next: u32,
}

/// One connection.
struct Line {
    caller: Caller,
    draw: Draw,
    usual_us: u64,
    /// Nothing arrives earlier: the line is ordered.
    to_server_at: Instant,
    to_client_at: Instant,
    /// Until then the person reads nothing.
    stalled_until: Instant,
    /// Written by the server and not read.
    under_way: u32,
}

impl Network {
    /// A network whose latencies are drawn here.
    pub fn new(draw: Draw) -> Self {
        Self { draw, lines: BTreeMap::new(), next: 0 }
    }

    /// A new connection with this usual latency one way.
    pub fn open(&mut self, caller: Caller, usual_us: u64, now: Instant) -> ConnId {
        self.next += 1;
        let conn = ConnId(self.next);
        // By the person and how often it came, not by who else connects.
        let before = self.lines.values().filter(|line| line.caller == caller).count() as u64;
        let draw = self.draw.named(caller.user.as_str()).of(now.0).of(before);
        let line = Line {
            caller,
            draw,
            usual_us,
            to_server_at: now,
            to_client_at: now,
            stalled_until: now,
            under_way: 0,
        };
        self.lines.insert(conn, line);
        conn
    }

    /// Whose it is; none: it is cut.
    pub fn caller(&self, conn: ConnId) -> Option<&Caller> {
        self.lines.get(&conn).map(|line| &line.caller)
    }

    /// Every living connection, oldest first.
    pub fn living(&self) -> Vec<ConnId> {
        self.lines.keys().copied().collect()
    }

    /// When what is sent to the server now arrives; none: the connection is cut.
    pub fn to_server(&mut self, conn: ConnId, now: Instant) -> Option<Instant> {
        let line = self.lines.get_mut(&conn)?;
        let arrives = now.plus_us(line.draw.latency_us(line.usual_us));
        line.to_server_at = line.to_server_at.max(arrives);
        Some(line.to_server_at)
    }

    /// Whether the server can write to a person now.
    pub fn is_writable(&self, conn: ConnId, now: Instant) -> bool {
        self.lines
            .get(&conn)
            .is_some_and(|line| line.stalled_until <= now || line.under_way < WINDOW_MESSAGES_MAX)
    }

    /// When what the server writes now is read; none: the connection is cut.
    pub fn to_client(&mut self, conn: ConnId, now: Instant) -> Option<Instant> {
        let line = self.lines.get_mut(&conn)?;
        let arrives = now.plus_us(line.draw.latency_us(line.usual_us)).max(line.stalled_until);
        line.to_client_at = line.to_client_at.max(arrives);
        line.under_way += 1;
        Some(line.to_client_at)
    }

    /// A message was read.
    pub fn read(&mut self, conn: ConnId) -> bool {
        self.lines.get_mut(&conn).map(|line| line.under_way = line.under_way.saturating_sub(1)).is_some()
    }

    /// The person reads nothing until then. What is under way already still arrives.
    pub fn stall(&mut self, conn: ConnId, until: Instant) {
        if let Some(line) = self.lines.get_mut(&conn) {
            line.stalled_until = line.stalled_until.max(until);
        }
    }

    /// Until when the person does not read.
    pub fn stalled_until(&self, conn: ConnId) -> Option<Instant> {
        self.lines.get(&conn).map(|line| line.stalled_until)
    }

    /// Ends a connection. Gives the instant up to which what was sent to the server still arrives.
    pub fn cut(&mut self, conn: ConnId, now: Instant) -> Option<Instant> {
        let mut line = self.lines.remove(&conn)?;
        Some(now.plus_us(line.draw.between(0, line.usual_us * 2)))
    }
}
