//! Slowing down those who guess: each failure beyond the free ones doubles the wait of its account or address.
//!
//! An account's failure is counted before its password is checked and taken back on success, so that many guesses
//! sent at once are no way around. An address is shared by whole offices: only real failures count there.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kaibiao_protocol::moment::Moment;

use crate::config::SignInLimits;

/// Accounts, and addresses, remembered at most; beyond that those longest quiet are forgotten.
const REMEMBERED_MAX: usize = 50_000;

/// Wait before the next attempt, in whole seconds, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How long.
    pub seconds: u32,
}

/// What has failed lately.
pub struct SlowDown {
    limits: SignInLimits,
    accounts: Mutex<HashMap<String, Failures>>,
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Moment,
    not_before: Moment,
}

impl SlowDown {
    /// Nothing has failed.
    pub fn new(limits: SignInLimits) -> Self {
        Self { limits, accounts: Mutex::default(), addresses: Mutex::default() }
    }

    /// Lets an attempt from `address` on `account` begin, or says how long to wait. The account's failure is
    /// counted already: [`SlowDown::succeeded`] takes it back, [`SlowDown::failed`] counts the address too.
    ///
    /// # Errors
    /// How long to wait.
    pub fn begin(&self, account: &str, address: IpAddr, at: Moment) -> Result<(), Wait> {
        self.begin_from(address, at)?;
        let mut accounts = lock(&self.accounts);
        may_go_on(&mut accounts, &account.to_owned(), &self.limits, at)?;
        count(&mut accounts, account.to_owned(), &self.limits, self.limits.free_failures_account, at);
        Ok(())
    }

    /// As [`SlowDown::begin`], where no account is named: a token's sign-in, which guesses cannot hold up.
    ///
    /// # Errors
    /// How long to wait.
    pub fn begin_from(&self, address: IpAddr, at: Moment) -> Result<(), Wait> {
        may_go_on(&mut lock(&self.addresses), &network(address), &self.limits, at)
    }

    /// The attempt failed.
    pub fn failed(&self, address: IpAddr, at: Moment) {
        let free = self.limits.free_failures_address;
        count(&mut lock(&self.addresses), network(address), &self.limits, free, at);
    }

    /// The attempt on `account` succeeded: its failures are forgotten, the address's remain.
    pub fn succeeded(&self, account: &str) {
        lock(&self.accounts).remove(account);
    }

    /// The attempt was not decided (the server was busy): its failure is taken back.
    pub fn undecided(&self, account: &str) {
        if let Some(failures) = lock(&self.accounts).get_mut(account) {
            failures.count = failures.count.saturating_sub(1);
            failures.not_before = failures.last;
        }
    }
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One household's or office's addresses count as one: a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
    }
}

fn may_go_on<K: Hash + Eq>(
    map: &mut HashMap<K, Failures>,
    key: &K,
    limits: &SignInLimits,
    at: Moment,
) -> Result<(), Wait> {
    let Some(failures) = map.get(key) else { return Ok(()) };
    if forgotten(failures, limits, at) {
        map.remove(key);
        return Ok(());
    }
    let left = failures.not_before.micros_since(at);
    if left <= 0 {
        return Ok(());
    }
    let seconds = (left + 999_999).div_euclid(1_000_000);
    Err(Wait { seconds: u32::try_from(seconds).unwrap_or(u32::MAX) })
}

fn count<K: Hash + Eq + Clone>(
    map: &mut HashMap<K, Failures>,
    key: K,
    limits: &SignInLimits,
    free: u32,
    at: Moment,
) {
    if map.len() >= REMEMBERED_MAX && !map.contains_key(&key) {
        make_room(map, limits, at);
    }
    let failures = map.entry(key).or_insert(Failures { count: 0, last: at, not_before: at });
    failures.count = failures.count.saturating_add(1);
    failures.last = at;
    if failures.count >= free {
        let doublings = (failures.count - free).min(31);
        let wait = u64::from(limits.first_wait_seconds) << doublings;
        let wait = wait.min(limits.longest_wait_seconds.into());
        failures.not_before = at.plus_ms(i64::try_from(wait).unwrap_or(i64::MAX).saturating_mul(1_000));
    }
}

fn forgotten(failures: &Failures, limits: &SignInLimits, at: Moment) -> bool {
    at >= failures.last.plus_minutes(limits.forget_minutes)
}

/// Drops what is forgotten anyway; if that is too little, the quieter half. Somebody who can fill the table from
/// so many addresses is not held up by it.
fn make_room<K: Hash + Eq + Clone>(map: &mut HashMap<K, Failures>, limits: &SignInLimits, at: Moment) {
    map.retain(|_, failures| !forgotten(failures, limits, at));
    if map.len() < REMEMBERED_MAX {
        return;
    }
    let mut lasts: Vec<Moment> = map.values().map(|failures| failures.last).collect();
    let middle = lasts.len() / 2;
    let (_, median, _) = lasts.select_nth_unstable(middle);
    let median = *median;
    map.retain(|_, failures| failures.last > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(1_800_000_000_000_000);

    fn slow_down() -> SlowDown {
        SlowDown::new(SignInLimits {
            free_failures_account: 3,
            free_failures_address: 5,
            first_wait_seconds: 2,
            longest_wait_seconds: 16,
            forget_minutes: 60,
            ..SignInLimits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_wait_of_an_account_doubles_up_to_the_longest_whatever_the_address() {
        let slow = slow_down();
        let mut at = START;
        for (n, seconds) in (0..).zip([0, 0, 2, 4, 8, 16, 16]) {
            slow.begin("wang", address(n), at).unwrap();
            if seconds > 0 {
                assert_eq!(slow.begin("wang", address(100), at), Err(Wait { seconds }));
                let nearly = at.plus_ms(i64::from(seconds) * 1_000 - 1);
                assert_eq!(slow.begin("wang", address(100), nearly), Err(Wait { seconds: 1 }));
                at = at.plus_ms(i64::from(seconds) * 1_000);
            }
        }
    }

    #[test]
    fn guesses_sent_at_once_are_counted_before_they_are_checked() {
        let slow = slow_down();
        let through = (0..50).filter(|n| slow.begin("wang", address(*n), START).is_ok()).count();
        assert_eq!(through, 3);
    }

    #[test]
    fn success_forgets_the_account_and_not_the_address() {
        let slow = slow_down();
        for _ in 0..20 {
            slow.begin("wang", address(1), START).unwrap();
            slow.succeeded("wang");
        }
        for _ in 0..5 {
            slow.failed(address(1), START);
        }
        assert!(slow.begin("li", address(1), START).is_err());
        assert!(slow.begin("li", address(2), START).is_ok());
        assert!(slow.begin_from(address(1), START).is_err());
    }

    #[test]
    fn an_hour_of_quiet_is_forgiveness() {
        let slow = slow_down();
        for n in 0..3 {
            slow.begin("wang", address(n), START).unwrap();
        }
        let later = START.plus_minutes(60);
        for n in 0..3 {
            slow.begin("wang", address(n), later).unwrap();
        }
    }

    #[test]
    fn an_undecided_attempt_costs_nothing() {
        let slow = slow_down();
        for _ in 0..50 {
            slow.begin("wang", address(1), START).unwrap();
            slow.undecided("wang");
        }
    }

    #[test]
    fn the_tables_stay_bounded_and_remember_the_latest() {
        let slow = slow_down();
        for n in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            let from = IpAddr::from(std::net::Ipv4Addr::from_bits(n));
            for _ in 0..5 {
                slow.failed(from, START.plus_ms(n.into()));
            }
        }
        assert!(lock(&slow.addresses).len() <= REMEMBERED_MAX);
        let last = std::net::Ipv4Addr::from_bits(u32::try_from(REMEMBERED_MAX).unwrap() + 9);
        assert!(slow.begin_from(last.into(), START.plus_ms(50_010)).is_err());
    }

    #[test]
    fn a_whole_ipv6_household_is_one_address() {
        let one: IpAddr = "2001:db8:1:2::1".parse().unwrap();
        let other: IpAddr = "2001:db8:1:2:ffff::9".parse().unwrap();
        let neighbour: IpAddr = "2001:db8:1:3::1".parse().unwrap();
        assert_eq!(network(one), network(other));
        assert_ne!(network(one), network(neighbour));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), address(1));
    }
}
