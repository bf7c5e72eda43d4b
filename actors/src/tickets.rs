//! Tickets: what lets a project wait for everything that was stamped before it looked.
//!
//! Whoever will stamp something takes a ticket *first*. So a list of open tickets, taken at or after an
//! instant, holds everything stamped before that instant and not yet settled: a stamp is never older than
//! its ticket.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

/// The tickets of one kind of work in one project. Clones are the same tickets.
#[derive(Clone, Default)]
pub(crate) struct Tickets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    open: Mutex<Open>,
    settled: Notify,
}

#[derive(Default)]
struct Open {
    next: u64,
    numbers: BTreeSet<u64>,
}

impl Tickets {
    /// Takes a ticket; none if so many are open already.
    pub(crate) fn take(&self, open_max: usize) -> Option<Ticket> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.numbers.len() >= open_max {
            return None;
        }
        open.next += 1;
        let number = open.next;
        open.numbers.insert(number);
        Some(Ticket { tickets: self.clone(), number })
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).numbers.len()
    }

    /// Waits until every ticket taken before this call is settled.
    pub(crate) async fn drained(&self) {
        let last = self.0.open.lock().unwrap_or_else(PoisonError::into_inner).next;
        loop {
            let settled = self.0.settled.notified();
            tokio::pin!(settled);
            // Listens before it looks, so that no settling is missed in between.
            settled.as_mut().enable();
            let first = {
                let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
                open.numbers.first().copied()
            };
            if first.is_none_or(|first| first > last) {
                return;
            }
            settled.await;
        }
    }

    fn settle(&self, number: u64) {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).numbers.remove(&number);
        self.0.settled.notify_waiters();
    }
}

/// One ticket. Settled when dropped.
pub(crate) struct Ticket {
    tickets: Tickets,
    number: u64,
}

impl Ticket {
    /// The ticket, to be settled by its verdict and by nothing else.
    pub(crate) fn until_verdict(self) -> OpenTicket {
        OpenTicket(Some(self))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tickets.settle(self.number);
    }
}

/// A ticket that stays open when it is dropped: what it stands for is stamped and durable, and if its work dies
/// without a verdict, only a restart can give it one.
pub(crate) struct OpenTicket(Option<Ticket>);

impl OpenTicket {
    /// There is a verdict.
    pub(crate) fn settle(mut self) {
        drop(self.0.take());
    }
}

impl Drop for OpenTicket {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            std::mem::forget(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_drained(tickets: &Tickets) -> bool {
        tokio::select! {
            biased;
            () = tickets.drained() => true,
            () = tokio::task::yield_now() => false,
        }
    }

    #[tokio::test]
    async fn a_drain_waits_for_earlier_tickets_and_not_for_later_ones() {
        let tickets = Tickets::default();
        assert!(is_drained(&tickets).await);
        let (first, second) = (tickets.take(9).unwrap(), tickets.take(9).unwrap());
        let drain = tickets.drained();
        tokio::pin!(drain);
        assert!(tokio::select! { biased; () = &mut drain => false, () = tokio::task::yield_now() => true });
        let later = tickets.take(9).unwrap();
        drop(second);
        assert!(tokio::select! { biased; () = &mut drain => false, () = tokio::task::yield_now() => true });
        drop(first);
        drain.await;
        assert!(!is_drained(&tickets).await);
        drop(later);
        assert!(is_drained(&tickets).await);
    }

    #[tokio::test]
    async fn a_ticket_that_awaits_its_verdict_is_settled_by_nothing_else() {
        let tickets = Tickets::default();
        tickets.take(9).unwrap().until_verdict().settle();
        assert!(is_drained(&tickets).await);
        drop(tickets.take(9).unwrap().until_verdict());
        assert!(!is_drained(&tickets).await);
        assert_eq!(tickets.open(), 1);
    }

    #[test]
    fn no_more_tickets_than_allowed_are_open_at_once() {
        let tickets = Tickets::default();
        let first = tickets.take(1).unwrap();
        assert!(tickets.take(1).is_none());
        drop(first);
        assert!(tickets.take(1).is_some());
    }
}
