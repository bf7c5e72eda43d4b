//! Passwords: argon2id, in threads of their own, a few at a time.
//!
//! An unknown account costs the same work as a known one, so that timing does not tell which accounts exist.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use kaibiao_wiping::wipe_stack;
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Memory of one hash, in KiB.
pub const MEMORY_KIB: u32 = 19 * 1024;
/// Passes over it.
pub const PASSES: u32 = 2;
/// Lanes.
pub const LANES: u32 = 1;
/// The fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The most bytes of a password.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// A password on its way: wiped when dropped, neither `Debug` nor `Clone`. It has a JSON form because it travels from
/// `kaibiao admin` over the server's own socket.
#[derive(Deserialize, Serialize)]
#[serde(from = "String")]
pub struct Password(#[serde(serialize_with = "expose")] Zeroizing<String>);

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Password {
    /// Its characters, for hashing alone.
    fn as_str(&self) -> &str {
        &self.0
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

fn expose<S: Serializer>(password: &Zeroizing<String>, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(password)
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Shorter than [`PASSWORD_CHARS_MIN`] characters or longer than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("a password has 8 characters to 512 bytes")]
    Length,
    /// Too many are being checked.
    #[error("too many passwords are being checked")]
    Busy,
}

/// Checks and hashes passwords.
pub struct Passwords {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Passwords {
    /// So many at once, and so many waiting.
    pub fn new(at_once: usize, waiting_max: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(at_once)), waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Whether `password` is the one whose hash is given; none: the account is unknown or has no password, which
    /// takes as long.
    ///
    /// # Errors
    /// Too many are being checked.
    pub async fn check(&self, password: Password, hash: Option<String>) -> Result<bool, PasswordFault> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| nobodys_hash().to_owned());
            // What cannot be read cannot be anybody's password; it is reported as that, never as success.
            let fits = PasswordHash::new(&hash)
                .is_ok_and(|hash| hasher().verify_password(password.as_str().as_bytes(), &hash).is_ok());
            fits && known
        })
        .await
    }

    /// The hash of a new password (PHC string). Draws random bytes.
    ///
    /// # Errors
    /// Its length is wrong, or too many are being checked.
    pub async fn hash(&self, password: Password) -> Result<String, PasswordFault> {
        if password.as_str().chars().count() < PASSWORD_CHARS_MIN || password.bytes() > PASSWORD_BYTES_MAX {
            return Err(PasswordFault::Length);
        }
        self.run(move || hash(password.as_str())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordFault> {
        let _waiting = Waiting::begin(&self.waiting, self.waiting_max).ok_or(PasswordFault::Busy)?;
        let place = self.places.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work itself: an impatient caller frees no place while its hash still runs.
            let _place = place;
            let done = work();
            // The hash's own first block holds the password as it is.
            wipe_stack();
            done
        });
        Ok(done.await.expect("hashing does not panic"))
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < most).then_some(now + 1))
            .ok()
            .map(|_| Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn hasher() -> Argon2<'static> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are within argon2's limits");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash(password: &str) -> String {
    hasher().hash_password(password.as_bytes()).expect("a password of bounded length is hashed").to_string()
}

/// A hash that no password has been told to have, made once.
fn nobodys_hash() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let mut random = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *random).expect("the system draws random bytes");
        hash(&Zeroizing::new(hex::encode(random.as_slice())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Password {
        Password::from(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_and_no_other_is() {
        let passwords = Passwords::new(2, 8);
        let hash = passwords.hash(secret("开标 correct horse")).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_eq!(passwords.check(secret("开标 correct horse"), Some(hash.clone())).await, Ok(true));
        assert_eq!(passwords.check(secret("开标 correct horsf"), Some(hash.clone())).await, Ok(false));
        assert_eq!(passwords.check(secret(""), Some(hash)).await, Ok(false));
    }

    #[tokio::test]
    async fn an_unknown_account_or_a_damaged_hash_never_fits() {
        let passwords = Passwords::new(2, 8);
        assert_eq!(passwords.check(secret("anything"), None).await, Ok(false));
        assert_eq!(passwords.check(secret(""), Some(String::new())).await, Ok(false));
    }

    #[tokio::test]
    async fn the_same_password_has_two_hashes() {
        let passwords = Passwords::new(2, 8);
        let one = passwords.hash(secret("correct horse")).await.unwrap();
        assert_ne!(one, passwords.hash(secret("correct horse")).await.unwrap());
    }

    #[tokio::test]
    async fn a_password_too_short_or_too_long_is_refused() {
        let passwords = Passwords::new(1, 1);
        assert_eq!(passwords.hash(secret("七个字不够啊呀")).await, Err(PasswordFault::Length));
        assert!(passwords.hash(secret("八个字就已经够了")).await.is_ok());
        assert_eq!(passwords.hash(secret(&"x".repeat(513))).await, Err(PasswordFault::Length));
    }

    #[tokio::test]
    async fn beyond_the_queue_the_answer_is_busy() {
        let passwords = Passwords::new(1, 2);
        let checks = (0..5).map(|_| passwords.check(secret("anything"), None));
        let told = futures_util::future::join_all(checks).await;
        assert_eq!(told.iter().filter(|one| **one == Err(PasswordFault::Busy)).count(), 3);
    }
}
