//! What each organisation has begun and not finished, over all projects: so that one that begins without end is told
//! `busy`, and the others find places and disk as before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kaibiao_protocol::ids::OrganisationId;

/// The organisations with unfinished uploads.
#[derive(Clone, Default)]
pub(super) struct Tenants(Arc<Mutex<BTreeMap<OrganisationId, Held>>>);

#[derive(Clone, Copy, Default)]
struct Held {
    uploads: usize,
    bytes: u64,
}

/// A place for one unfinished upload. Given back when dropped.
pub(super) struct Place {
    tenants: Tenants,
    owner: OrganisationId,
    bytes: u64,
}

impl Tenants {
    /// Takes a place for an upload of so many bytes; none if the organisation holds so many uploads already.
    pub(super) fn take(&self, owner: &OrganisationId, bytes: u64, uploads_max: usize) -> Option<Place> {
        let mut all = self.lock();
        let held = all.entry(owner.clone()).or_default();
        if held.uploads >= uploads_max {
            return None;
        }
        held.uploads += 1;
        held.bytes = held.bytes.saturating_add(bytes);
        drop(all);
        Some(Place { tenants: self.clone(), owner: owner.clone(), bytes })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<OrganisationId, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whether the organisation's unfinished uploads, this one among them, fit into its share: half of what is free for
    /// uploads, without those that it has begun already. `room` is what is free for more.
    pub(super) fn fits(&self, room: u64) -> bool {
        let held = self.tenants.lock().get(&self.owner).map_or(0, |held| held.bytes);
        let before = held.saturating_sub(self.bytes);
        held <= room.saturating_add(before) / 2
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.tenants.lock();
        if let Some(held) = all.get_mut(&self.owner) {
            held.uploads -= 1;
            held.bytes = held.bytes.saturating_sub(self.bytes);
            if held.uploads == 0 {
                all.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_holds_all_its_places_takes_none_of_the_others() {
        let (a, b): (OrganisationId, OrganisationId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let tenants = Tenants::default();
        let first = tenants.take(&a, 10, 2).unwrap();
        let _second = tenants.take(&a, 10, 2).unwrap();
        assert!(tenants.take(&a, 10, 2).is_none());
        assert!(tenants.take(&b, 10, 2).is_some());
        drop(first);
        assert!(tenants.take(&a, 10, 2).is_some());
    }

    #[test]
    fn one_organisation_reserves_half_of_the_disk_at_most() {
        let a: OrganisationId = "a".parse().unwrap();
        let tenants = Tenants::default();
        let whole = tenants.take(&a, 51, 9).unwrap();
        assert!(!whole.fits(100));
        drop(whole);
        let first = tenants.take(&a, 30, 9).unwrap();
        assert!(first.fits(100));
        // The first has its bytes reserved: 70 are free.
        let second = tenants.take(&a, 20, 9).unwrap();
        assert!(second.fits(70));
        let third = tenants.take(&a, 1, 9).unwrap();
        assert!(!third.fits(50));
    }
}
