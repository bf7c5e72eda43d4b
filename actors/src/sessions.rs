//! Who is signed in. Sessions live in memory only: a restart ends them all.
//!
//! A session's token is 32 random bytes that the client alone keeps; here lies its SHA-256, so that whoever reads a
//! copy of what the server keeps cannot go on as somebody else. (Each request carries the token, so it passes through
//! buffers of the web library, which keep it for a while: it dies with its session.) Sessions end by sign-out, by idleness,
//! by age, and at once when what they rest on is taken away: the account, the role, the certificate's binding.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use aws_lc_rs::rand::fill;
use kaibiao_protocol::{
    digest::Digest,
    ids::{OrganisationId, UserId},
    moment::Moment,
    role::{Asker, Role},
};
use kaibiao_sealed::digest::sha256;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::config::SessionLimits;

/// Random bytes of a session's token; written as twice as many hexadecimal digits.
const TOKEN_BYTES: usize = 32;

/// A session's secret as its client sends it. Neither `Debug` nor `Clone`: it is told once.
pub struct SessionToken(Zeroizing<String>);

impl SessionToken {
    /// The text, to be told to the client and to nobody else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What a session rests on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grounds {
    /// The account.
    pub user: UserId,
    /// Its organisation.
    pub organisation: OrganisationId,
    /// The role chosen.
    pub role: Role,
    /// The certificate that signed; none: by password.
    pub certificate: Option<Digest>,
}

impl Grounds {
    /// The person as the engine is told.
    pub fn asker(&self) -> Asker {
        Asker::Person { user: self.user.clone(), organisation: self.organisation.clone(), role: self.role }
    }
}

/// Why a session ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionEnd {
    /// The person signed out.
    SignedOut,
    /// Nobody used it for too long.
    Idle,
    /// It was as old as one may become.
    TooOld,
    /// The same person opened more than one may have.
    Replaced,
    /// The account was closed.
    AccountClosed,
    /// The account has this role no longer.
    RoleTaken,
    /// The certificate is bound to the account no longer.
    Unbound,
    /// The certificate holds no longer: revoked, expired, or its root is trusted no longer.
    CertificateFell,
}

impl SessionEnd {
    /// The reason as sockets tell it when they close.
    pub fn as_str(self) -> &'static str {
        match self {
            SessionEnd::SignedOut => "signed_out",
            SessionEnd::Idle => "idle",
            SessionEnd::TooOld => "too_old",
            SessionEnd::Replaced => "replaced",
            SessionEnd::AccountClosed => "account_closed",
            SessionEnd::RoleTaken => "role_taken",
            SessionEnd::Unbound => "certificate_unbound",
            SessionEnd::CertificateFell => "certificate_fell",
        }
    }
}

/// One person's open session.
pub struct Session {
    grounds: Grounds,
    opened_at: Moment,
    /// Microseconds; grows only.
    used_at: AtomicI64,
    ends_at: Moment,
    /// The hash of its token: its name in the table.
    key: Digest,
    end: watch::Sender<Option<SessionEnd>>,
    sockets: AtomicUsize,
}

impl Session {
    /// What it rests on.
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }

    /// When it was opened.
    pub fn opened_at(&self) -> Moment {
        self.opened_at
    }

    /// When it ends in any case.
    pub fn ends_at(&self) -> Moment {
        self.ends_at
    }

    /// Tells when it ends, to whoever holds a connection open for it.
    pub fn watch_end(&self) -> watch::Receiver<Option<SessionEnd>> {
        self.end.subscribe()
    }

    /// Notes a use at `at`.
    pub fn touch(&self, at: Moment) {
        self.used_at.fetch_max(at.0, Ordering::Relaxed);
    }

    /// Takes one of the `most` places for sockets; none: they are all taken.
    pub fn take_socket(self: &Arc<Self>, most: usize) -> Option<SocketPlace> {
        self.sockets
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < most).then_some(taken + 1))
            .ok()
            .map(|_| SocketPlace(self.clone()))
    }

    fn end(&self, why: SessionEnd) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            end.get_or_insert(why);
            first
        });
    }
}

/// A session's place for one socket; given back when dropped.
pub struct SocketPlace(Arc<Session>);

impl Drop for SocketPlace {
    fn drop(&mut self) {
        self.0.sockets.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The table is full of live sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionsFull;

/// All open sessions.
pub struct Sessions {
    limits: SessionLimits,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_key: HashMap<Digest, Arc<Session>>,
    /// Oldest first.
    by_user: HashMap<UserId, Vec<Digest>>,
}

impl Sessions {
    /// An empty table.
    pub fn new(limits: SessionLimits) -> Self {
        Self { limits, table: Mutex::default() }
    }

    /// Opens a session at `at`. Draws random bytes. The user's oldest ends if this is one too many.
    ///
    /// # Errors
    /// The table is full of live sessions of others.
    pub fn open(&self, grounds: Grounds, at: Moment) -> Result<(SessionToken, Arc<Session>), SessionsFull> {
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        fill(&mut *bytes).expect("the system draws random bytes");
        let token = Zeroizing::new(hex::encode(bytes.as_slice()));
        let key = sha256(token.as_bytes());
        let session = Arc::new(Session {
            opened_at: at,
            used_at: AtomicI64::new(at.0),
            ends_at: at.plus_minutes(self.limits.absolute_minutes),
            key,
            end: watch::Sender::new(None),
            sockets: AtomicUsize::new(0),
            grounds,
        });
        let mut table = self.table();
        if table.by_key.len() >= self.limits.total_max {
            table.sweep(&self.limits, at);
        }
        let own = table.by_user.get(&session.grounds.user).map_or(0, Vec::len);
        for _ in self.limits.per_user_max..=own {
            let oldest = table.by_user[&session.grounds.user][0];
            table.end(&oldest, SessionEnd::Replaced);
        }
        if table.by_key.len() >= self.limits.total_max {
            return Err(SessionsFull);
        }
        table.by_user.entry(session.grounds.user.clone()).or_default().push(key);
        table.by_key.insert(key, session.clone());
        Ok((SessionToken(token), session))
    }

    /// The session of this token, if it is open at `at`; that is a use.
    ///
    /// # Errors
    /// Why it ended, where that is known only now; none: there is no such session.
    pub fn find(&self, token: &str, at: Moment) -> Result<Arc<Session>, Option<SessionEnd>> {
        let key = sha256(token.as_bytes());
        let mut table = self.table();
        let session = table.by_key.get(&key).cloned().ok_or(None)?;
        if let Some(why) = overdue(&session, &self.limits, at) {
            table.end(&key, why);
            return Err(Some(why));
        }
        session.touch(at);
        Ok(session)
    }

    /// Ends a session.
    pub fn end(&self, session: &Session, why: SessionEnd) {
        self.table().end(&session.key, why);
    }

    /// Ends every session that has become idle or too old by `at`.
    pub fn sweep(&self, at: Moment) {
        self.table().sweep(&self.limits, at);
    }

    /// Ends every session for which `fallen` names a reason; gives how many.
    pub fn end_fallen(&self, fallen: impl Fn(&Session) -> Option<SessionEnd>) -> usize {
        let live: Vec<Arc<Session>> = self.table().by_key.values().cloned().collect();
        // Judging certificates takes a while: not under the lock.
        let ends: Vec<_> = live.iter().filter_map(|session| Some((session.key, fallen(session)?))).collect();
        let mut table = self.table();
        for (key, why) in &ends {
            table.end(key, *why);
        }
        ends.len()
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.table().by_key.len()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code under this lock can panic half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn end(&mut self, key: &Digest, why: SessionEnd) {
        let Some(session) = self.by_key.remove(key) else { return };
        session.end(why);
        if let Some(own) = self.by_user.get_mut(&session.grounds.user) {
            own.retain(|other| other != key);
            if own.is_empty() {
                self.by_user.remove(&session.grounds.user);
            }
        }
    }

    fn sweep(&mut self, limits: &SessionLimits, at: Moment) {
        let over: Vec<_> = self
            .by_key
            .iter()
            .filter_map(|(key, session)| Some((*key, overdue(session, limits, at)?)))
            .collect();
        for (key, why) in over {
            self.end(&key, why);
        }
    }
}

fn overdue(session: &Session, limits: &SessionLimits, at: Moment) -> Option<SessionEnd> {
    let idle_from = Moment(session.used_at.load(Ordering::Relaxed)).plus_minutes(limits.idle_minutes);
    if at >= session.ends_at {
        Some(SessionEnd::TooOld)
    } else if at >= idle_from {
        Some(SessionEnd::Idle)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(1_800_000_000_000_000);

    fn sessions() -> Sessions {
        Sessions::new(SessionLimits {
            idle_minutes: 30,
            absolute_minutes: 720,
            per_user_max: 2,
            total_max: 3,
        })
    }

    fn of(user: &str) -> Grounds {
        Grounds {
            user: user.parse().unwrap(),
            organisation: "mingde".parse().unwrap(),
            role: Role::Supplier,
            certificate: None,
        }
    }

    fn why(found: Result<Arc<Session>, Option<SessionEnd>>) -> Option<SessionEnd> {
        found.err().expect("the session has ended")
    }

    #[test]
    fn a_session_is_found_by_its_token_alone() {
        let sessions = sessions();
        let (token, _) = sessions.open(of("wang"), START).unwrap();
        assert_eq!(token.expose().len(), 64);
        assert_eq!(sessions.find(token.expose(), START).unwrap().grounds(), &of("wang"));
        assert_eq!(why(sessions.find(&token.expose().to_uppercase(), START)), None);
        assert_eq!(why(sessions.find("", START)), None);
    }

    #[test]
    fn use_keeps_a_session_from_idling_and_age_ends_it_in_any_case() {
        let sessions = sessions();
        let (token, session) = sessions.open(of("wang"), START).unwrap();
        let mut at = START;
        while at.plus_minutes(29) < session.ends_at() {
            at = at.plus_minutes(29);
            assert!(sessions.find(token.expose(), at).is_ok());
        }
        assert_eq!(why(sessions.find(token.expose(), START.plus_minutes(720))), Some(SessionEnd::TooOld));
        assert_eq!(*session.watch_end().borrow(), Some(SessionEnd::TooOld));
        assert_eq!(why(sessions.find(token.expose(), at)), None);
    }

    #[test]
    fn an_unused_session_ends_at_the_idle_minute() {
        let sessions = sessions();
        let (token, _) = sessions.open(of("wang"), START).unwrap();
        assert_eq!(why(sessions.find(token.expose(), START.plus_minutes(30))), Some(SessionEnd::Idle));
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn one_session_too_many_ends_the_users_oldest() {
        let sessions = sessions();
        let (first, held) = sessions.open(of("wang"), START).unwrap();
        let (second, _) = sessions.open(of("wang"), START).unwrap();
        let (third, _) = sessions.open(of("wang"), START).unwrap();
        assert!(sessions.find(first.expose(), START).is_err());
        assert_eq!(*held.watch_end().borrow(), Some(SessionEnd::Replaced));
        assert!(sessions.find(second.expose(), START).is_ok());
        assert!(sessions.find(third.expose(), START).is_ok());
    }

    #[test]
    fn a_full_table_refuses_until_dead_sessions_leave_it() {
        let sessions = sessions();
        for user in ["a", "b", "c"] {
            sessions.open(of(user), START).unwrap();
        }
        assert_eq!(sessions.open(of("d"), START).err(), Some(SessionsFull));
        assert!(sessions.open(of("d"), START.plus_minutes(31)).is_ok());
        assert_eq!(sessions.count(), 1);
    }

    #[test]
    fn sessions_whose_grounds_fall_end_and_tell() {
        let sessions = sessions();
        let (wang, held) = sessions.open(of("wang"), START).unwrap();
        let (li, _) = sessions.open(of("li"), START).unwrap();
        let ended = sessions.end_fallen(|session| {
            (session.grounds().user.as_str() == "wang").then_some(SessionEnd::AccountClosed)
        });
        assert_eq!(ended, 1);
        assert_eq!(*held.watch_end().borrow(), Some(SessionEnd::AccountClosed));
        assert!(sessions.find(wang.expose(), START).is_err());
        assert!(sessions.find(li.expose(), START).is_ok());
    }

    #[test]
    fn a_session_has_so_many_places_for_sockets() {
        let sessions = sessions();
        let (_, session) = sessions.open(of("wang"), START).unwrap();
        let first = session.take_socket(1).unwrap();
        assert!(session.take_socket(1).is_none());
        drop(first);
        assert!(session.take_socket(1).is_some());
    }
}
