//! Tickets: what lets a project wait for everything that was stamped before it looked.
//!
//! Whoever will stamp something takes a ticket *first*. So the tickets open at or after an instant hold everything
//! stamped before that instant and not yet settled: a stamp is never older than its ticket.

use std::collections::BTreeMap;

use kaibiao_protocol::ids::OrganisationId;

use crate::planted::{Planted, planted};

/// Names one ticket; later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TicketNo(u64);

/// The tickets of one kind of work in one project.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tickets {
    /// The last one taken.
    last: TicketNo,
    /// Each open one, and for whom it was taken where places are counted per organisation.
    open: BTreeMap<TicketNo, Option<OrganisationId>>,
    own: BTreeMap<OrganisationId, usize>,
}

impl Tickets {
    /// Takes a ticket; none if so many are open already.
    pub fn take(&mut self, open_max: usize) -> Option<TicketNo> {
        self.take_as(None, open_max)
    }

    /// Takes a ticket for an organisation; none if it has `own_max` open, or all together `open_max`: so nobody
    /// crowds the others out.
    pub fn take_for(&mut self, owner: &OrganisationId, own_max: usize, open_max: usize) -> Option<TicketNo> {
        if self.own.get(owner).is_some_and(|own| *own >= own_max) || own_max == 0 {
            return None;
        }
        let ticket = self.take_as(Some(owner.clone()), open_max)?;
        *self.own.entry(owner.clone()).or_default() += 1;
        Some(ticket)
    }

    fn take_as(&mut self, owner: Option<OrganisationId>, open_max: usize) -> Option<TicketNo> {
        if self.open.len() >= open_max {
            return None;
        }
        self.last = TicketNo(self.last.0 + 1);
        self.open.insert(self.last, owner);
        Some(self.last)
    }

    /// What the ticket was taken for has its end.
    pub fn settle(&mut self, ticket: TicketNo) {
        let Some(Some(owner)) = self.open.remove(&ticket) else { return };
        if let Some(own) = self.own.get_mut(&owner) {
            *own -= 1;
            if *own == 0 {
                self.own.remove(&owner);
            }
        }
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The last ticket taken so far: a drain that begins now waits until this.
    pub fn last(&self) -> TicketNo {
        self.last
    }

    /// Whether everything up to this ticket is settled.
    pub fn is_drained(&self, until: TicketNo) -> bool {
        self.open.first_key_value().is_none_or(|(first, _)| *first > until)
            || planted(Planted::CountBeforeSettling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_waits_for_earlier_tickets_and_not_for_later_ones() {
        let mut tickets = Tickets::default();
        assert!(tickets.is_drained(tickets.last()));
        let (first, second) = (tickets.take(9).unwrap(), tickets.take(9).unwrap());
        let drain = tickets.last();
        let later = tickets.take(9).unwrap();
        tickets.settle(second);
        assert!(!tickets.is_drained(drain));
        tickets.settle(first);
        assert!(tickets.is_drained(drain));
        assert!(!tickets.is_drained(tickets.last()));
        tickets.settle(later);
        assert!(tickets.is_drained(tickets.last()));
    }

    #[test]
    fn no_more_tickets_than_allowed_are_open_at_once() {
        let mut tickets = Tickets::default();
        let first = tickets.take(1).unwrap();
        assert_eq!(tickets.take(1), None);
        tickets.settle(first);
        assert!(tickets.take(1).is_some());
    }

    #[test]
    fn one_who_has_all_of_its_own_places_leaves_the_others_theirs() {
        let (a, b): (OrganisationId, OrganisationId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let mut tickets = Tickets::default();
        let first = tickets.take_for(&a, 2, 9).unwrap();
        tickets.take_for(&a, 2, 9).unwrap();
        assert_eq!(tickets.take_for(&a, 2, 9), None);
        tickets.take_for(&b, 2, 9).unwrap();
        tickets.settle(first);
        tickets.settle(first);
        assert!(tickets.take_for(&a, 2, 9).is_some());
        assert_eq!(tickets.take_for(&a, 2, 9), None);
        assert_eq!(tickets.take_for(&b, 2, 3), None);
        assert_eq!(tickets.open(), 3);
    }
}
