//! Challenges for tokens to sign.
//!
//! A challenge proves itself: its nonce carries a MAC under a key drawn at start, so that asking for a million of
//! them costs this server nothing. What is kept, and bounded, are those that were answered, until they expire:
//! each is good for one sign-in.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{HMAC_SHA256, Key, sign},
    rand::fill,
};
use kaibiao_protocol::{digest::Digest, ids::UserId, moment::Moment};
use kaibiao_sealed::{digest::sha256, statements::Challenge};

/// Answered challenges remembered at most; each was answered by a certificate that holds, so only people who may
/// sign in can fill this.
const ANSWERED_MAX: usize = 100_000;

/// Random bytes of a nonce; the rest of its 32 is MAC.
const RANDOM_BYTES: usize = 16;

/// Why a challenge does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeFault {
    /// It is not ours, expired, or answered already.
    Expired,
    /// Too many were answered lately.
    Busy,
}

/// Makes challenges and knows them again.
pub struct Challenges {
    key: Key,
    seconds: u32,
    answered: Mutex<HashMap<Digest, Moment>>,
}

impl Challenges {
    /// Challenges that may be answered for so many seconds. Draws the key.
    pub fn new(seconds: u32) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        fill(&mut *key).expect("the system draws random bytes");
        Self { key: Key::new(HMAC_SHA256, &*key), seconds, answered: Mutex::default() }
    }

    /// A new challenge for a client of `origin`, for `account` if it names one, made at `at`.
    pub fn make(&self, origin: &str, account: Option<&UserId>, at: Moment) -> Challenge {
        let mut nonce = Digest([0; 32]);
        fill(&mut nonce.0[..RANDOM_BYTES]).expect("the system draws random bytes");
        let mut challenge = Challenge {
            origin: origin.to_owned(),
            account: account.cloned(),
            nonce,
            expires_at: at.plus_ms(i64::from(self.seconds) * 1_000),
        };
        let mac = self.mac(&challenge);
        challenge.nonce.0[RANDOM_BYTES..].copy_from_slice(&mac);
        challenge
    }

    /// Knows a challenge again by its exact text; whether it was answered is told by [`Challenges::answer`].
    ///
    /// # Errors
    /// It is not ours or expired.
    pub fn check(&self, text: &str, origin: &str, at: Moment) -> Result<Challenge, ChallengeFault> {
        let challenge = Challenge::parse(text).map_err(|_| ChallengeFault::Expired)?;
        let ours = verify_slices_are_equal(&self.mac(&challenge), &challenge.nonce.0[RANDOM_BYTES..]).is_ok();
        // One answer whatever is wrong: nobody learns from us which it was.
        if ours && challenge.origin == origin && at < challenge.expires_at {
            Ok(challenge)
        } else {
            Err(ChallengeFault::Expired)
        }
    }

    /// Uses a challenge up, at the moment a valid signature over it was seen.
    ///
    /// # Errors
    /// It was used before, or too many were lately.
    pub fn answer(&self, text: &str, challenge: &Challenge, at: Moment) -> Result<(), ChallengeFault> {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if answered.len() >= ANSWERED_MAX {
            answered.retain(|_, expires_at| at < *expires_at);
        }
        let key = sha256(text.as_bytes());
        if answered.contains_key(&key) {
            return Err(ChallengeFault::Expired);
        }
        if answered.len() >= ANSWERED_MAX {
            return Err(ChallengeFault::Busy);
        }
        answered.insert(key, challenge.expires_at);
        Ok(())
    }

    /// Forgets answered challenges that expired by `at`.
    pub fn sweep(&self, at: Moment) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.retain(|_, expires_at| at < *expires_at);
    }

    /// The MAC over everything else in the challenge, its random bytes included.
    fn mac(&self, challenge: &Challenge) -> [u8; 32 - RANDOM_BYTES] {
        let mut bare = challenge.clone();
        bare.nonce.0[RANDOM_BYTES..].fill(0);
        let tag = sign(&self.key, bare.text().as_bytes());
        tag.as_ref()[..32 - RANDOM_BYTES].try_into().expect("HMAC-SHA-256 gives 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(1_800_000_000_000_000);
    const HERE: &str = "http://127.0.0.1:7300";

    fn text(challenge: &Challenge) -> String {
        challenge.text()
    }

    #[test]
    fn a_challenge_is_good_once_and_until_its_end() {
        let challenges = Challenges::new(120);
        let made = challenges.make(HERE, Some(&"wang".parse().unwrap()), START);
        let said = text(&made);
        let last = Moment(made.expires_at.0 - 1);
        let known = challenges.check(&said, HERE, last).unwrap();
        challenges.answer(&said, &known, last).unwrap();
        assert_eq!(challenges.answer(&said, &known, last), Err(ChallengeFault::Expired));
        assert_eq!(challenges.check(&said, HERE, made.expires_at).err(), Some(ChallengeFault::Expired));
    }

    #[test]
    fn a_challenge_of_another_origin_account_end_or_server_is_refused() {
        let challenges = Challenges::new(120);
        let made = challenges.make(HERE, Some(&"wang".parse().unwrap()), START);
        assert!(challenges.check(&text(&made), "https://evil.example", START).is_err());
        let mut other = made.clone();
        other.account = Some("li".parse().unwrap());
        assert!(challenges.check(&text(&other), HERE, START).is_err());
        other = made.clone();
        other.account = None;
        assert!(challenges.check(&text(&other), HERE, START).is_err());
        other = made.clone();
        other.expires_at = made.expires_at.plus_minutes(1);
        assert!(challenges.check(&text(&other), HERE, START).is_err());
        assert!(Challenges::new(120).check(&text(&made), HERE, START).is_err());
        assert!(challenges.check("{}", HERE, START).is_err());
        assert!(challenges.check(&text(&made), HERE, START).is_ok());
    }

    #[test]
    fn two_challenges_never_look_alike() {
        let challenges = Challenges::new(120);
        assert_ne!(challenges.make(HERE, None, START).nonce, challenges.make(HERE, None, START).nonce);
    }
}
