//! Signing in: with a token that signs a challenge, or with account and password (A3, A4).
//!
//! A certificate that does not hold is refused by name, because its holder must know what to do. An account and
//! password that do not fit are refused without saying which: the other answers would tell who has an account.

mod challenges;
mod passwords;
mod slow_down;
mod trust;

use std::{net::IpAddr, sync::Arc};

use kaibiao_engine::{directory::Directory, keeper::SideSpace, refusals::because};
use kaibiao_protocol::{
    digest::Digest,
    ids::UserId,
    moment::Moment,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Role},
};
use kaibiao_sealed::{
    certificate::CertificateUse, digest::sha256, purpose::Purpose, signature::check_cms,
    statements::Challenge,
};

use crate::{
    config::SignInLimits,
    house::House,
    refusals::refuse,
    sessions::{Grounds, Session, SessionEnd},
};

pub use challenges::{ChallengeFault, Challenges};
pub use passwords::{
    LANES, MEMORY_KIB, PASSES, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, Password, PasswordFault, Passwords,
};
pub use slow_down::{SlowDown, Wait};
pub use trust::{TrustShelf, trust_of};

/// The door: who may come in.
pub struct SignIn {
    challenges: Challenges,
    slow_down: SlowDown,
    passwords: Passwords,
    trust: TrustShelf,
}

/// Why somebody was not let in.
#[derive(Debug)]
pub struct TurnedAway {
    /// What is told.
    pub refusal: Refusal,
    /// Seconds to wait, where there is a wait.
    pub wait_seconds: Option<u32>,
}

impl From<RefusalCode> for TurnedAway {
    fn from(code: RefusalCode) -> Self {
        Self { refusal: refuse(code), wait_seconds: None }
    }
}

impl From<Refusal> for TurnedAway {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, wait_seconds: None }
    }
}

impl From<Wait> for TurnedAway {
    fn from(wait: Wait) -> Self {
        let zh = format!("请等待 {} 秒", wait.seconds);
        let en = format!("wait {} seconds", wait.seconds);
        Self { refusal: because(refuse(RefusalCode::SlowDown), &zh, &en), wait_seconds: Some(wait.seconds) }
    }
}

/// Where an attempt comes from.
#[derive(Clone, Copy)]
pub struct Arriving<'a> {
    /// The origin the client speaks to.
    pub origin: &'a str,
    /// The client's address.
    pub address: IpAddr,
    /// When.
    pub at: Moment,
}

impl SignIn {
    /// A door with these limits.
    pub fn new(limits: &SignInLimits) -> Self {
        Self {
            challenges: Challenges::new(limits.challenge_seconds),
            slow_down: SlowDown::new(limits.clone()),
            passwords: Passwords::new(limits.password_checks_max, limits.password_queue_max),
            trust: TrustShelf::default(),
        }
    }

    /// Checks and hashes passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// The roots trusted by this directory.
    pub fn trust(&self, directory: &Arc<Directory>) -> Arc<kaibiao_sealed::trust::Trust> {
        self.trust.of(directory)
    }

    /// A challenge for a token to sign.
    pub fn challenge(&self, account: Option<&UserId>, from: Arriving<'_>) -> Challenge {
        self.challenges.make(from.origin, account, from.at)
    }

    /// Lets in whoever's token signed `challenge` (its exact text) as `cms`.
    ///
    /// # Errors
    /// `slow_down`, `challenge_expired`, `sign_in_failed` (the signature does not hold), a certificate's fault by
    /// name, `certificate_unbound` or `role_not_allowed`.
    pub fn by_token(
        &self,
        house: &House,
        challenge: &str,
        cms: &[u8],
        role: Option<Role>,
        from: Arriving<'_>,
    ) -> Result<Grounds, TurnedAway> {
        self.slow_down.begin_from(from.address, from.at)?;
        let judged = self.judge_token(house, challenge, cms, role, from);
        if let Err(away) = &judged
            && !matches!(away.refusal.code, RefusalCode::ChallengeExpired | RefusalCode::Busy)
        {
            self.slow_down.failed(from.address, from.at);
        }
        judged
    }

    fn judge_token(
        &self,
        house: &House,
        text: &str,
        cms: &[u8],
        role: Option<Role>,
        from: Arriving<'_>,
    ) -> Result<Grounds, TurnedAway> {
        let challenge = self.challenges.check(text, from.origin, from.at)?;
        let signed =
            check_cms(Purpose::SignIn, text.as_bytes(), cms).map_err(|_| RefusalCode::SignInFailed)?;
        let directory = house.directory();
        self.trust
            .of(&directory)
            .judge(&signed.certificate, CertificateUse::Sign, from.at)
            .map_err(|fault| fault.refusal())?;
        let fingerprint = sha256(&signed.certificate);
        let user = directory.bound_to(&fingerprint).ok_or(RefusalCode::CertificateUnbound)?;
        if challenge.account.as_ref().is_some_and(|account| account != user) {
            return Err(RefusalCode::CertificateUnbound.into());
        }
        let grounds = grounds(&directory, user, role, Some(fingerprint))?;
        self.challenges.answer(text, &challenge, from.at)?;
        Ok(grounds)
    }

    /// Lets in whoever knows the account's password.
    ///
    /// # Errors
    /// `slow_down`, `busy`, `sign_in_failed`, or with the right password `role_not_allowed`.
    pub async fn by_password(
        &self,
        house: &House,
        account: &str,
        password: Password,
        role: Option<Role>,
        from: Arriving<'_>,
    ) -> Result<Grounds, TurnedAway> {
        // A name that cannot be an account's is counted like any other, under one name.
        let user = account.parse::<UserId>().ok();
        let counted = user.as_ref().map_or_else(String::new, UserId::to_string);
        self.slow_down.begin(&counted, from.address, from.at)?;
        let hash = match &user {
            Some(user) if password.bytes() <= PASSWORD_BYTES_MAX => password_hash(house, user).await,
            _ => Ok(None),
        };
        let checked = match hash {
            Ok(hash) => self.passwords.check(password, hash).await.map_err(|_| RefusalCode::Busy),
            Err(busy) => Err(busy),
        };
        match (checked, user) {
            (Err(busy), _) => {
                self.slow_down.undecided(&counted);
                Err(busy.into())
            }
            (Ok(true), Some(user)) => {
                self.slow_down.succeeded(&counted);
                Ok(grounds(&house.directory(), &user, role, None)?)
            }
            (Ok(_), _) => {
                self.slow_down.failed(from.address, from.at);
                Err(RefusalCode::SignInFailed.into())
            }
        }
    }

    /// Why a session's grounds no longer hold at `at`; none: they do.
    pub fn fallen(&self, directory: &Arc<Directory>, session: &Session, at: Moment) -> Option<SessionEnd> {
        let grounds = session.grounds();
        let Some(user) = directory.user(&grounds.user).filter(|user| !user.disabled) else {
            return Some(SessionEnd::AccountClosed);
        };
        if !user.roles.contains(&grounds.role) || !directory.still_stands(&grounds.asker()) {
            return Some(SessionEnd::RoleTaken);
        }
        let fingerprint = grounds.certificate.as_ref()?;
        if directory.bound_to(fingerprint) != Some(&grounds.user) {
            return Some(SessionEnd::Unbound);
        }
        let certificate = directory.certificate(fingerprint);
        let holds = certificate.is_some_and(|certificate| {
            self.trust.of(directory).judge(&certificate.0, CertificateUse::Sign, at).is_ok()
        });
        (!holds).then_some(SessionEnd::CertificateFell)
    }

    /// Forgets what is over by `at`.
    pub fn sweep(&self, at: Moment) {
        self.challenges.sweep(at);
    }
}

impl From<ChallengeFault> for TurnedAway {
    fn from(fault: ChallengeFault) -> Self {
        match fault {
            ChallengeFault::Expired => RefusalCode::ChallengeExpired,
            ChallengeFault::Busy => RefusalCode::Busy,
        }
        .into()
    }
}

/// What a session of this account in this role (or its only or first) rests on.
fn grounds(
    directory: &Directory,
    user: &UserId,
    role: Option<Role>,
    certificate: Option<Digest>,
) -> Result<Grounds, RefusalCode> {
    match directory.sign_in(user, role) {
        Some(Asker::Person { user, organisation, role }) => {
            Ok(Grounds { user, organisation, role, certificate })
        }
        Some(Asker::Platform { .. }) | None => {
            // Whoever proved to be the account may know that it lacks the role; a closed account is like none.
            let open = directory.user(user).is_some_and(|user| !user.disabled);
            Err(if open { RefusalCode::RoleNotAllowed } else { RefusalCode::SignInFailed })
        }
    }
}

/// The stored hash of an account's password; none: there is none, or the account is closed.
async fn password_hash(house: &House, user: &UserId) -> Result<Option<String>, RefusalCode> {
    if house.directory().user(user).is_none_or(|user| user.disabled) {
        return Ok(None);
    }
    let journal = house.journal().clone();
    let key = user.to_string();
    let read = tokio::task::spawn_blocking(move || journal.side(SideSpace::PasswordHash, &key)).await;
    match read {
        Ok(Ok(value)) => Ok(value.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())),
        Ok(Err(fault)) => {
            tracing::error!(%fault, "failed to read a password's hash");
            Err(RefusalCode::Busy)
        }
        Err(_) => Err(RefusalCode::Busy),
    }
}
