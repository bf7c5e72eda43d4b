//! Virtual time and what is to happen in it.
//!
//! What was scheduled for the same instant happens in the order in which it was scheduled.

use std::{cmp::Ordering, collections::BinaryHeap};

/// An instant of the world, in microseconds since its beginning. The world's own time: the server's clocks are told
/// something of it and may be wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(pub u64);

impl Instant {
    /// So many microseconds later.
    pub fn plus_us(self, us: u64) -> Self {
        Instant(self.0.saturating_add(us))
    }

    /// So many milliseconds later.
    pub fn plus_ms(self, ms: u64) -> Self {
        self.plus_us(ms.saturating_mul(1_000))
    }

    /// Microseconds since `earlier`; 0 where that is later.
    pub fn us_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Debug for Instant {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A queue of what is to happen.
pub struct Schedule<T> {
    now: Instant,
    next: u64,
    queue: BinaryHeap<Entry<T>>,
}

struct Entry<T> {
    at: Instant,
    no: u64,
    what: T,
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self { now: Instant::default(), next: 0, queue: BinaryHeap::new() }
    }
}

impl<T> Schedule<T> {
    /// The present instant.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets `what` happen at `at`; at once where that is past.
    pub fn at(&mut self, at: Instant, what: T) {
        self.next += 1;
        self.queue.push(Entry { at: at.max(self.now), no: self.next, what });
    }

    /// Lets `what` happen so many microseconds from now.
    pub fn after_us(&mut self, us: u64, what: T) {
        self.at(self.now.plus_us(us), what);
    }

    /// When something happens next.
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.peek().map(|entry| entry.at)
    }

    /// Lets time pass until `at`, before which nothing happens.
    pub fn pass_to(&mut self, at: Instant) {
        self.now = self.now.max(at);
    }

    /// Lets time pass until the next thing happens, and gives it.
    pub fn pop(&mut self) -> Option<T> {
        let entry = self.queue.pop()?;
        self.now = entry.at;
        Some(entry.what)
    }

    /// How much is to happen.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is to happen any more.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

// Turned round: the heap gives the greatest first.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.no).cmp(&(self.at, self.no))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.no == other.no
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_time_and_those_of_one_instant_in_order() {
        let mut schedule = Schedule::default();
        for (at, what) in [(5, "c"), (1, "a"), (5, "d"), (3, "b")] {
            schedule.at(Instant(at), what);
        }
        let mut told = Vec::new();
        while let Some(what) = schedule.pop() {
            if what == "c" {
                schedule.at(Instant(0), "past");
            }
            told.push((schedule.now().0, what));
        }
        assert_eq!(told, [(1, "a"), (3, "b"), (5, "c"), (5, "d"), (5, "past")]);
    }
}
