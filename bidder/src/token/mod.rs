//! CA tokens (CA 锁): the supplier's private keys, and the few things done with them.
//!
//! A [`Token`] signs and unwraps; its private keys never leave it. There are two kinds: hardware reached
//! through its vendor's PKCS#11 module ([`pkcs11`]), and a PKCS#12 file for people without hardware
//! ([`pkcs12`]). Everything that can go wrong with either is one [`TokenFault`], told in plain words with a
//! next step. Calls block; an asynchronous caller puts them on a thread of their own.

mod certificate;
mod chosen;
mod fault;
mod pin;
pub mod pkcs11;
pub mod pkcs12;
mod rounds;
mod selector;
mod terminal;
mod vendors;
mod words;
mod wrap;

pub use certificate::{NotACertificate, TokenCertificate};
pub use chosen::{Purpose, certificate_for, open};
pub use fault::{PinTries, SEEN_CHARS_MAX, TokenFault};
pub use pin::{PIN_BYTES_MAX, Pin, PinFault, PinSource, keep_out_of_dumps};
pub use selector::{NotASelector, Selector};
pub use vendors::{CALL_TIMEOUT_S, Vendor, Vendors, VendorsFault};
pub use wrap::{UnwrappedKey, WRAPPED_KEY_BYTES};

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::wrap::WrapAlgorithm;

/// What identifies one token to people and to later calls. Never a slot number: those change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName {
    /// The vendor whose module reaches it, as the vendors file names it; `file` for a PKCS#12 file.
    pub vendor: String,
    /// The token's label.
    pub label: String,
    /// The token's serial number.
    pub serial: String,
}

/// As a selector that names it, but for the escapes.
impl std::fmt::Display for TokenName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}:label={},serial={}", self.vendor, self.label, self.serial)
    }
}

/// How the token takes its PIN, and how many tries it says are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinState {
    /// What the token's flags say about the tries left.
    pub tries: PinTries,
    /// The PIN has been entered in this process already.
    pub entered: bool,
    /// The token has a key pad of its own: no PIN is typed on the computer.
    pub on_pad: bool,
}

/// A holder of private keys: a hardware token or a PKCS#12 file.
pub trait Token: Send + Sync {
    /// Which token this is.
    fn name(&self) -> &TokenName;

    /// The certificates it holds, as read when it was opened.
    fn certificates(&self) -> &[TokenCertificate];

    /// The certificate with this SHA-256 fingerprint. Its validity is not looked at: a bid that was sealed in
    /// time is unsealed also after its certificate has run out.
    ///
    /// # Errors
    /// The token does not hold it ([`TokenFault::WrongToken`]).
    fn certificate(&self, fingerprint: &Digest) -> Result<&TokenCertificate, TokenFault> {
        self.certificates()
            .iter()
            .find(|held| held.fingerprint == *fingerprint)
            .ok_or_else(|| TokenFault::WrongToken { token: self.name().clone(), certificate: *fingerprint })
    }

    /// What the token says about its PIN now.
    ///
    /// # Errors
    /// The token cannot be asked: it was pulled, or does not answer in time.
    fn pin_state(&self) -> Result<PinState, TokenFault>;

    /// Enters the PIN, once for this process. A second call when the PIN has been entered does nothing.
    ///
    /// # Errors
    /// The PIN is wrong, locked or of an impossible length, or the token cannot be asked.
    fn enter_pin(&self, pin: &Pin) -> Result<(), TokenFault>;

    /// Signs `message` with the key of `certificate` (its SHA-256 fingerprint): RSASSA-PKCS1-v1_5 with SHA-256.
    /// The signature has been checked against the certificate before it is returned.
    ///
    /// # Errors
    /// No PIN was entered, the token has no key for the certificate, was pulled, does not answer in time, or
    /// refuses.
    fn sign(&self, certificate: &Digest, message: &[u8]) -> Result<Vec<u8>, TokenFault>;

    /// The best way to wrap a key for this certificate that this token has just shown it can unwrap, on a
    /// canary made here. Nothing that came from outside is unwrapped.
    ///
    /// # Errors
    /// As [`Token::sign`]; and no way of wrapping works with this token.
    fn negotiate_wrap(&self, certificate: &Digest) -> Result<WrapAlgorithm, TokenFault>;

    /// Unwraps a key that was wrapped for `certificate`.
    ///
    /// Under [`WrapAlgorithm::RsaPkcs1V15`] an ill-formed wrapping gives a random key and no fault, so that
    /// nobody can use the token as a padding oracle; the key commitment of the sealed bid tells the difference
    /// afterwards.
    ///
    /// # Errors
    /// As [`Token::sign`]; and the wrapping was not made for this key ([`TokenFault::NotForThisKey`]).
    fn unwrap(
        &self,
        certificate: &Digest,
        wrap: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<UnwrappedKey, TokenFault>;
}
