//! What a token's own thread holds: the token's name to find it again by, and one session that keeps it unlocked.
//!
//! Nothing else is remembered between calls: slots are renumbered, handles go stale when somebody else in this
//! process logs out, and whether the PIN was entered the module itself knows best. Each call works in a session
//! of its own, so that one which failed half-way leaves nothing behind that would refuse the next.

use cryptoki::{
    context::Pkcs11,
    error::{Error, RvError},
    mechanism::{
        Mechanism, MechanismType,
        rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource},
    },
    object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle},
    session::{Session, SessionState, UserType},
    slot::Slot,
    types::RawAuthPin,
};
use kaibiao_sealed::{digest::sha256, wrap::WrapAlgorithm};
use zeroize::Zeroizing;

use super::{
    module::{Seen, list, name_of, tries_of},
    rv::{is_gone, is_no_matter_of_padding, token_fault, value_of, vendor_fault},
};
use crate::token::{PinState, PinTries, TokenCertificate, TokenFault, TokenName};

/// DER of `DigestInfo { sha256, NULL }` before the 32 bytes of the digest (RFC 8017, 9.2, note 1).
const DIGEST_INFO_SHA256: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00,
    0x04, 0x20,
];

/// What a token answers when asked to unwrap: the clear bytes, or a refusal that may mean anything from a
/// mechanism it lacks to a padding that does not fit.
pub(super) type Unwrapped = Result<Zeroizing<Vec<u8>>, TokenFault>;

pub(super) struct Seat {
    context: Pkcs11,
    name: TokenName,
    keeper: Option<Session>,
}

struct Open {
    session: Session,
    slot: Slot,
}

impl Seat {
    pub(super) fn new(context: Pkcs11, name: TokenName) -> Self {
        Self { context, name, keeper: None }
    }

    /// The token among those plugged in now.
    fn find(&self, during: &'static str) -> Result<Seen, TokenFault> {
        let tokens = list(&self.context, &self.name.vendor)
            .map_err(|fault| token_fault(&self.name, during, &fault))?;
        let present = tokens.iter().map(|seen| seen.name.to_string()).collect::<Vec<_>>();
        let mut fitting = tokens.into_iter().filter(|seen| seen.name == self.name);
        match (fitting.next(), fitting.next()) {
            (Some(seen), None) => Ok(seen),
            (Some(_), Some(_)) => {
                Err(TokenFault::SeveralTokens { wanted: self.name.to_string(), candidates: present })
            }
            (None, _) if present.is_empty() => {
                Err(TokenFault::NoToken { vendors: vec![self.name.vendor.clone()], unasked: Vec::new() })
            }
            (None, _) => {
                Err(TokenFault::TokenMissing { wanted: self.name.to_string(), present, unasked: Vec::new() })
            }
        }
    }

    /// A new session with the token, wherever it is plugged in now.
    fn enter(&self, during: &'static str) -> Result<Open, TokenFault> {
        let seen = self.find(during)?;
        let enter = || -> Result<Option<Open>, Error> {
            let session = self.context.open_ro_session(seen.slot)?;
            // Slots may have been renumbered since they were listed: the session tells where it really is.
            let slot = session.get_session_info()?.slot_id();
            let info = self.context.get_token_info(slot)?;
            let is_ours = name_of(&info, &self.name.vendor) == self.name;
            Ok(is_ours.then_some(Open { session, slot }))
        };
        let entered = enter().map_err(|fault| token_fault(&self.name, during, &fault))?;
        entered.ok_or_else(|| TokenFault::Pulled { token: self.name.clone(), during })
    }

    /// The session that keeps the token unlocked, opened if there is none.
    fn keeper(&mut self, during: &'static str) -> Result<&Session, TokenFault> {
        if self.keeper.is_none() {
            self.keeper = Some(self.enter(during)?.session);
        }
        Ok(self.keeper.as_ref().expect("it was opened above"))
    }

    /// A session to work in.
    fn work(&mut self, during: &'static str) -> Result<Open, TokenFault> {
        // A keeper that is void tells that the token was away: what it had unlocked is locked again.
        if let Err(fault) = self.keeper(during)?.get_session_info() {
            return Err(self.fault(during, &fault));
        }
        self.enter(during)
    }

    /// Puts a failed call into words. What is held of a token that went away is void: even when it comes back
    /// it wants its PIN again.
    fn fault(&mut self, during: &'static str, fault: &Error) -> TokenFault {
        if is_gone(fault) || self.has_left() {
            self.keeper = None;
            return TokenFault::Pulled { token: self.name.clone(), during };
        }
        token_fault(&self.name, during, fault)
    }

    /// Whether the token is no longer listed: many modules say CKR_DEVICE_ERROR or CKR_FUNCTION_FAILED when a
    /// token is pulled during a call.
    fn has_left(&self) -> bool {
        list(&self.context, &self.name.vendor)
            .is_ok_and(|tokens| tokens.iter().all(|seen| seen.name != self.name))
    }

    pub(super) fn certificates(&mut self) -> Result<Vec<TokenCertificate>, TokenFault> {
        let during = "reading certificates";
        let session = self.work(during)?.session;
        let read = || -> Result<Vec<(Vec<u8>, String)>, Error> {
            let wanted = [
                Attribute::Class(ObjectClass::CERTIFICATE),
                Attribute::CertificateType(CertificateType::X_509),
            ];
            let mut found = Vec::new();
            for object in session.find_objects(&wanted)? {
                let attributes =
                    session.get_attributes(object, &[AttributeType::Value, AttributeType::Label])?;
                let (mut der, mut label) = (Vec::new(), String::new());
                for attribute in attributes {
                    match attribute {
                        Attribute::Value(value) => der = value,
                        Attribute::Label(value) => label = String::from_utf8_lossy(&value).trim().to_owned(),
                        _ => {}
                    }
                }
                found.push((der, label));
            }
            Ok(found)
        };
        let found = read().map_err(|fault| self.fault(during, &fault))?;
        // Tokens also hold their vendors' scribbles; what is no certificate is no use to anybody.
        let mut certificates: Vec<_> =
            found.iter().filter_map(|(der, label)| TokenCertificate::from_der(der, label).ok()).collect();
        certificates.sort_by_key(|certificate| certificate.fingerprint);
        certificates.dedup_by_key(|certificate| certificate.fingerprint);
        Ok(certificates)
    }

    pub(super) fn pin_state(&mut self) -> Result<PinState, TokenFault> {
        let during = "asking for the PIN's state";
        Ok(self.look(during)?.0)
    }

    /// The token as it is now: what it says about its PIN, and the shortest and longest it takes.
    fn look(&mut self, during: &'static str) -> Result<(PinState, usize, usize), TokenFault> {
        let seen = match self.find(during) {
            Ok(seen) => seen,
            // It was there a moment ago: that is another answer than never having been.
            Err(TokenFault::NoToken { .. } | TokenFault::TokenMissing { .. })
                if self.keeper.take().is_some() =>
            {
                return Err(TokenFault::Pulled { token: self.name.clone(), during });
            }
            Err(fault) => return Err(fault),
        };
        let entered = match self.keeper(during)?.get_session_info() {
            Ok(info) => matches!(info.session_state(), SessionState::RoUser | SessionState::RwUser),
            // Pulled and plugged in again between two calls: a new session tells how it stands.
            Err(fault) if is_gone(&fault) => {
                self.keeper = None;
                self.keeper(during)?;
                false
            }
            Err(fault) => return Err(self.fault(during, &fault)),
        };
        let on_pad = seen.info.protected_authentication_path();
        let state = PinState { tries: tries_of(&seen.info), entered, on_pad };
        Ok((state, seen.info.min_pin_length(), seen.info.max_pin_length()))
    }

    pub(super) fn enter_pin(&mut self, pin: &[u8]) -> Result<(), TokenFault> {
        let during = "entering the PIN";
        let (state, min, max) = self.look(during)?;
        if state.entered {
            return Ok(());
        }
        if state.tries == PinTries::Locked {
            return Err(TokenFault::PinLocked { token: self.name.clone() });
        }
        // Told before the token hears it, so that no try is lost. Modules that state no limits say 0.
        if !state.on_pad && (pin.len() < min || (max > 0 && pin.len() > max)) {
            return Err(TokenFault::PinLength { token: self.name.clone(), min, max });
        }
        let session = self.keeper(during)?;
        let outcome = if state.on_pad {
            session.login(UserType::User, None)
        } else {
            session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.to_vec())))
        };
        match outcome {
            // Login is per token and process: another part of this process may have entered it.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid, _)) => {
                let token = self.name.clone();
                // The token is asked anew: this wrong PIN may have been the one that locked it.
                match self.look(during)?.0.tries {
                    PinTries::Locked => Err(TokenFault::PinLocked { token }),
                    tries => Err(TokenFault::WrongPin { token, tries }),
                }
            }
            Err(Error::Pkcs11(RvError::PinLenRange, _)) => {
                Err(TokenFault::PinLength { token: self.name.clone(), min, max })
            }
            Err(fault) => Err(self.fault(during, &fault)),
        }
    }

    /// The private key that belongs to a certificate: by its modulus, for a CKA_ID may be anything.
    fn key(
        &mut self,
        session: &Session,
        certificate: &TokenCertificate,
        during: &'static str,
    ) -> Result<ObjectHandle, TokenFault> {
        let token = self.name.clone();
        let modulus = certificate.modulus().ok_or_else(|| TokenFault::MechanismNotOffered {
            token: token.clone(),
            wanted: "RSA (the certificate's key is of another kind)",
        })?;
        let search = || -> Result<Option<ObjectHandle>, Error> {
            for key in session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])? {
                let attributes = session.get_attributes(key, &[AttributeType::Modulus])?;
                let fits = |attribute: &Attribute| match attribute {
                    Attribute::Modulus(found) => {
                        let zeros = found.iter().take_while(|byte| **byte == 0).count();
                        found[zeros..] == modulus
                    }
                    _ => false,
                };
                if attributes.iter().any(fits) {
                    return Ok(Some(key));
                }
            }
            Ok(None)
        };
        match search() {
            Ok(Some(key)) => Ok(key),
            // Without the PIN private keys are invisible, which is no error to PKCS#11.
            Ok(None) if !self.look(during)?.0.entered => Err(TokenFault::PinNeeded { token }),
            Ok(None) => Err(TokenFault::WrongToken { token, certificate: certificate.fingerprint }),
            Err(fault) => Err(self.fault(during, &fault)),
        }
    }

    fn mechanisms(&mut self, slot: Slot, during: &'static str) -> Result<Vec<MechanismType>, TokenFault> {
        self.context.get_mechanism_list(slot).map_err(|fault| self.fault(during, &fault))
    }

    pub(super) fn sign(
        &mut self,
        certificate: &TokenCertificate,
        message: &[u8],
    ) -> Result<Vec<u8>, TokenFault> {
        let during = "signing";
        let Open { session, slot } = self.work(during)?;
        let key = self.key(&session, certificate, during)?;
        let offered = self.mechanisms(slot, during)?;
        let outcome = if offered.contains(&MechanismType::SHA256_RSA_PKCS) {
            session.sign(&Mechanism::Sha256RsaPkcs, key, message)
        } else if offered.contains(&MechanismType::RSA_PKCS) {
            let info = [&DIGEST_INFO_SHA256[..], sha256(message).as_bytes()].concat();
            session.sign(&Mechanism::RsaPkcs, key, &info)
        } else {
            return Err(TokenFault::MechanismNotOffered {
                token: self.name.clone(),
                wanted: "CKM_SHA256_RSA_PKCS or CKM_RSA_PKCS",
            });
        };
        let signature = outcome.map_err(|fault| self.fault(during, &fault))?;
        if certificate.verifies(message, &signature) {
            Ok(signature)
        } else {
            let token = self.name.clone();
            Err(TokenFault::BadSignature { token, certificate: certificate.fingerprint })
        }
    }

    /// Unwraps, telling "the token cannot be asked" (a fault) from "the token says no" (an answer).
    pub(super) fn decrypt(
        &mut self,
        certificate: &TokenCertificate,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<Unwrapped, TokenFault> {
        let during = "unwrapping";
        let Open { session, .. } = self.work(during)?;
        let key = self.key(&session, certificate, during)?;
        let oaep =
            |hash, mgf| Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mgf, PkcsOaepSource::empty()));
        let mechanism = match algorithm {
            WrapAlgorithm::RsaOaepSha256 => oaep(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
            WrapAlgorithm::RsaOaepSha1 => oaep(MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
            WrapAlgorithm::RsaPkcs1V15 => Mechanism::RsaPkcs,
        };
        let outcome = session.decrypt(&mechanism, key, wrapped);
        // Looked up whether it failed or not: under PKCS#1 v1.5 the time taken must not tell a padding that fits
        // from one that does not.
        let has_left = self.has_left();
        match outcome {
            Ok(key) => Ok(Ok(Zeroizing::new(key))),
            Err(fault)
                if has_left || is_gone(&fault) || value_of(&fault).is_none_or(is_no_matter_of_padding) =>
            {
                Err(self.fault(during, &fault))
            }
            Err(fault) => Ok(Err(vendor_fault(&self.name, &fault))),
        }
    }

    /// Whether the token lists the mechanism of this wrapping at all.
    pub(super) fn may_unwrap(&mut self, algorithm: WrapAlgorithm) -> Result<bool, TokenFault> {
        let mechanism = match algorithm {
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => MechanismType::RSA_PKCS_OAEP,
            WrapAlgorithm::RsaPkcs1V15 => MechanismType::RSA_PKCS,
        };
        let during = "asking for mechanisms";
        let Open { slot, session: _session } = self.work(during)?;
        Ok(self.mechanisms(slot, during)?.contains(&mechanism))
    }
}
