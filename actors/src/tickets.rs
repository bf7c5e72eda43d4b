//! Tickets across threads: the table of `engine::reaction::tickets` behind a lock, settled by whoever drops one, and
//! awaited by whoever counts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kaibiao_engine::reaction::tickets::{TicketNo, Tickets as Table};
use kaibiao_protocol::ids::OrganisationId;
use tokio::sync::Notify;

/// The tickets of one kind of work in one project. Clones are the same tickets.
#[derive(Clone, Default)]
pub(crate) struct Tickets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: Mutex<Table>,
    settled: Notify,
}

impl Tickets {
    /// Takes a ticket; none if so many are open already.
    pub(crate) fn take(&self, open_max: usize) -> Option<Ticket> {
        let number = self.table().take(open_max)?;
        Some(Ticket { tickets: Some(self.clone()), number })
    }

    /// Takes a ticket for an organisation; none if it, or all together, have so many open already.
    pub(crate) fn take_for(&self, owner: &OrganisationId, own_max: usize, open_max: usize) -> Option<Ticket> {
        let number = self.table().take_for(owner, own_max, open_max)?;
        Some(Ticket { tickets: Some(self.clone()), number })
    }

    /// An open ticket that nobody holds.
    pub(crate) fn hold_again(&self, number: TicketNo) -> OpenTicket {
        OpenTicket { tickets: self.clone(), number }
    }

    /// How many are open.
    pub(crate) fn open(&self) -> usize {
        self.table().open()
    }

    /// Waits until every ticket taken before this call is settled.
    pub(crate) async fn drained(&self) {
        let last = self.table().last();
        loop {
            let settled = self.0.settled.notified();
            tokio::pin!(settled);
            // Listens before it looks, so that no settling is missed in between.
            settled.as_mut().enable();
            if self.table().is_drained(last) {
                return;
            }
            settled.await;
        }
    }

    fn settle(&self, number: TicketNo) {
        self.table().settle(number);
        self.0.settled.notify_waiters();
    }

    /// Held for a few instructions only.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One ticket. Settled when dropped.
pub(crate) struct Ticket {
    tickets: Option<Tickets>,
    number: TicketNo,
}

impl Ticket {
    /// The ticket, to be settled by its verdict and by nothing else.
    pub(crate) fn until_verdict(mut self) -> OpenTicket {
        let tickets = self.tickets.take().expect("a ticket holds its table until it ends");
        OpenTicket { tickets, number: self.number }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(tickets) = self.tickets.take() {
            tickets.settle(self.number);
        }
    }
}

/// A ticket that stays open when it is dropped: what it stands for is stamped and durable, and if its work dies
/// without a verdict, only a restart, or the same upload sent again, can give it one.
pub(crate) struct OpenTicket {
    tickets: Tickets,
    number: TicketNo,
}

impl OpenTicket {
    /// There is a verdict.
    pub(crate) fn settle(&self) {
        self.tickets.settle(self.number);
    }

    /// Its number, by which it can be held again.
    pub(crate) fn number(&self) -> TicketNo {
        self.number
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
        let number = tickets.take(9).unwrap().until_verdict().number();
        assert!(!is_drained(&tickets).await);
        assert_eq!(tickets.open(), 1);
        tickets.hold_again(number).settle();
        assert!(is_drained(&tickets).await);
    }
}
