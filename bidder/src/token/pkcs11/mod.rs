//! Hardware tokens, through their vendors' PKCS#11 modules; several vendors in one process.
//!
//! A token is told apart by module, label and serial number, and a key by its certificate; slot numbers, which
//! change, name nothing here. Every call runs on a thread of the token's own, one after the other and with a
//! limit on waiting: modules block, and some hang. The PIN is entered once for a token and process.
//!
//! Absent on purpose: this module never retries a PIN, and never unwraps anything on its own but canaries that
//! it makes itself.

mod module;
mod rv;
mod seat;
mod worker;

pub use worker::close_all;

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::wrap::WrapAlgorithm;
use zeroize::Zeroizing;

use self::{
    module::{Module, stuck_fault, tries_of},
    seat::{Seat, Unwrapped},
    worker::{Stuck, Worker},
};
use super::{
    Pin, PinState, PinTries, Token, TokenCertificate, TokenFault, TokenName, UnwrappedKey, Vendor,
    wrap::{canary_comes_back, exactly_a_key, key_or_random, negotiate},
};

/// What listing tells of one token, without its PIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// Which token.
    pub name: TokenName,
    /// Who made it.
    pub manufacturer: String,
    /// Its model.
    pub model: String,
    /// What its flags say about the PIN.
    pub tries: PinTries,
    /// A PIN has been set.
    pub pin_set: bool,
}

/// The tokens of a vendor that are plugged in now.
///
/// # Errors
/// The module is missing, unusable, or does not answer in time.
pub fn tokens_of(vendor: &Vendor) -> Result<Vec<ListedToken>, TokenFault> {
    let seen = Module::of(vendor)?.tokens()?;
    Ok(seen
        .into_iter()
        .map(|seen| ListedToken {
            manufacturer: seen.info.manufacturer_id().to_owned(),
            model: seen.info.model().to_owned(),
            tries: tries_of(&seen.info),
            pin_set: seen.info.user_pin_initialized(),
            name: seen.name,
        })
        .collect())
}

/// A token reached through its vendor's module.
pub struct Pkcs11Token {
    name: TokenName,
    vendor: Vendor,
    certificates: Vec<TokenCertificate>,
    worker: Worker<Seat>,
}

impl Pkcs11Token {
    /// Opens the token of this name and reads its certificates, which needs no PIN.
    ///
    /// # Errors
    /// The token is not there, or cannot be asked.
    pub fn open(vendor: &Vendor, name: &TokenName) -> Result<Self, TokenFault> {
        let module = Module::of(vendor)?;
        let (context, seat_name) = (module.context().clone(), name.clone());
        let worker = Worker::start(&format!("token-{}", name.label), move || Seat::new(context, seat_name))
            .map_err(|fault| TokenFault::Vendor {
            who: name.to_string(),
            call: "starting a thread".to_owned(),
            code: fault.to_string(),
        })?;
        let mut token = Self { name: name.clone(), vendor: vendor.clone(), certificates: Vec::new(), worker };
        token.certificates = token.call("reading certificates", Seat::certificates)?;
        Ok(token)
    }

    fn call<R: Send + 'static>(
        &self,
        during: &'static str,
        work: impl FnOnce(&mut Seat) -> Result<R, TokenFault> + Send + 'static,
    ) -> Result<R, TokenFault> {
        self.worker.call(self.vendor.timeout, work).map_err(|stuck| match stuck {
            Stuck::Full => TokenFault::Busy { token: self.name.clone() },
            other => stuck_fault(&self.name, during, &self.vendor, other),
        })?
    }

    fn decrypt(
        &self,
        certificate: &TokenCertificate,
        algorithm: WrapAlgorithm,
        wrapped: Vec<u8>,
    ) -> Result<Unwrapped, TokenFault> {
        let certificate = certificate.clone();
        self.call("unwrapping", move |seat| seat.decrypt(&certificate, algorithm, &wrapped))
    }

    fn unwraps_a_canary(
        &self,
        certificate: &TokenCertificate,
        algorithm: WrapAlgorithm,
    ) -> Result<bool, TokenFault> {
        canary_comes_back(certificate, algorithm, |wrapped| {
            Ok(self.decrypt(certificate, algorithm, wrapped)?.ok())
        })
    }
}

impl Token for Pkcs11Token {
    fn name(&self) -> &TokenName {
        &self.name
    }

    fn certificates(&self) -> &[TokenCertificate] {
        &self.certificates
    }

    fn pin_state(&self) -> Result<PinState, TokenFault> {
        self.call("asking for the PIN's state", Seat::pin_state)
    }

    fn enter_pin(&self, pin: &Pin) -> Result<(), TokenFault> {
        let pin = Zeroizing::new(pin.expose().to_vec());
        self.call("entering the PIN", move |seat| seat.enter_pin(&pin))
    }

    fn sign(&self, certificate: &Digest, message: &[u8]) -> Result<Vec<u8>, TokenFault> {
        let certificate = self.certificate(certificate)?.clone();
        let message = message.to_vec();
        self.call("signing", move |seat| seat.sign(&certificate, &message))
    }

    fn negotiate_wrap(&self, certificate: &Digest) -> Result<WrapAlgorithm, TokenFault> {
        let certificate = self.certificate(certificate)?;
        negotiate(&self.name, |algorithm| {
            // A token may list OAEP and yet refuse this hash; only trying tells.
            Ok(self.call("asking for mechanisms", move |seat| seat.may_unwrap(algorithm))?
                && self.unwraps_a_canary(certificate, algorithm)?)
        })
    }

    fn unwrap(
        &self,
        certificate: &Digest,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<UnwrappedKey, TokenFault> {
        let certificate = self.certificate(certificate)?;
        let answer = self.decrypt(certificate, algorithm, wrapped.to_vec())?;
        match algorithm {
            WrapAlgorithm::RsaPkcs1V15 => Ok(key_or_random(answer.ok())),
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => match answer {
                Ok(clear) => exactly_a_key(&clear)
                    .ok_or_else(|| TokenFault::NotForThisKey { token: self.name.clone() }),
                // The same refusal may mean that the wrapping is another's or that the token is ill. It decides
                // whom the failure is put down to, so a canary tells which.
                Err(_) if self.unwraps_a_canary(certificate, algorithm)? => {
                    Err(TokenFault::NotForThisKey { token: self.name.clone() })
                }
                Err(refusal) => Err(refusal),
            },
        }
    }
}
