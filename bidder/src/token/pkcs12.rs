//! A PKCS#12 file: keys and certificates for people without hardware, opened by a password.
//!
//! Weaker than a token: the keys come into this process's memory. What this crate holds of them is wiped, but
//! the parser's own copies are not.

use std::{fs, path::Path};

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{
        KeyPair, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
        Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
    },
    signature::RSA_PKCS1_SHA256,
};
use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::wrap::WrapAlgorithm;
use p12_keystore::{KeyStore, KeyStoreEntry, error::Error as Pkcs12Error};
use zeroize::Zeroizing;

use super::{
    Pin, PinState, PinTries, Token, TokenCertificate, TokenFault, TokenName, UnwrappedKey,
    rounds::check_rounds,
    wrap::{canary_comes_back, exactly_a_key, key_or_random, negotiate},
};

pub use super::rounds::ROUNDS_MAX;

/// The largest PKCS#12 file read.
pub const PKCS12_BYTES_MAX: u64 = 1024 * 1024;

/// An opened PKCS#12 file.
pub struct Pkcs12Token {
    name: TokenName,
    certificates: Vec<TokenCertificate>,
    keys: Vec<SoftKey>,
}

struct SoftKey {
    certificate: Digest,
    signing: KeyPair,
    unwrapping: PrivateDecryptingKey,
}

impl Pkcs12Token {
    /// Opens the file with its password.
    ///
    /// Keys that are not RSA are passed over, as long as there is one that is. Two keys of one friendly name
    /// are one to the parser; export each under a name of its own.
    ///
    /// # Errors
    /// The file cannot be read, is not PKCS#12 with RSA keys, or the password is wrong.
    pub fn open(path: &Path, password: &Pin) -> Result<Self, TokenFault> {
        let unreadable = |why: String| TokenFault::FileUnreadable { path: path.to_owned(), why };
        let malformed = |why: String| TokenFault::NotPkcs12 { path: path.to_owned(), why };
        let size = fs::metadata(path).map_err(|fault| unreadable(fault.to_string()))?.len();
        if size > PKCS12_BYTES_MAX {
            return Err(malformed(format!("it is larger than {PKCS12_BYTES_MAX} bytes")));
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(|fault| unreadable(fault.to_string()))?);
        Self::read(&bytes, path, password)
    }

    /// Opens the bytes of such a file; `path` is only what it is called by.
    ///
    /// # Errors
    /// The bytes are not PKCS#12 with RSA keys, ask for more work than [`ROUNDS_MAX`], or the password is wrong.
    pub fn read(bytes: &[u8], path: &Path, password: &Pin) -> Result<Self, TokenFault> {
        let malformed = |why: String| TokenFault::NotPkcs12 { path: path.to_owned(), why };
        check_rounds(bytes).map_err(|fault| malformed(fault.to_string()))?;
        let password = std::str::from_utf8(password.expose())
            .map_err(|_| TokenFault::WrongPassword { path: path.to_owned() })?;
        let store = KeyStore::from_pkcs12(bytes, password).map_err(|fault| match fault {
            // A file without MAC shows a wrong password only as a padding that does not fit.
            Pkcs12Error::MacError(_) | Pkcs12Error::UnpadError | Pkcs12Error::Pkcs5Error(_) => {
                TokenFault::WrongPassword { path: path.to_owned() }
            }
            other => malformed(other.to_string()),
        })?;

        let label = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut token = Self::holding_nothing(label);
        let mut passed_over = None;
        for (alias, entry) in store.entries() {
            let KeyStoreEntry::PrivateKeyChain(chain) = entry else { continue };
            let Some(leaf) = chain.chain().first() else { continue };
            let certificate = TokenCertificate::from_der(leaf.as_der(), alias)
                .map_err(|fault| malformed(fault.to_string()))?;
            let subject = certificate.subject.clone();
            if !token.take(certificate, chain.key()) {
                passed_over = Some(format!("the key of {subject} is not RSA of 2048 to 8192 bits"));
            }
        }
        if token.keys.is_empty() {
            let none = || "it holds no private key with its certificate".to_owned();
            return Err(malformed(passed_over.unwrap_or_else(none)));
        }
        Ok(token)
    }

    fn holding_nothing(label: String) -> Self {
        let name = TokenName { vendor: "file".to_owned(), label, serial: String::new() };
        Self { name, certificates: Vec::new(), keys: Vec::new() }
    }

    /// Takes a key (PKCS#8) and its certificate in; `false` if it is not RSA of 2048 to 8192 bits.
    fn take(&mut self, certificate: TokenCertificate, pkcs8: &[u8]) -> bool {
        let (Ok(signing), Ok(unwrapping)) =
            (KeyPair::from_pkcs8(pkcs8), PrivateDecryptingKey::from_pkcs8(pkcs8))
        else {
            return false;
        };
        if self.name.serial.is_empty() {
            // The serial number of a file: that of its first certificate, so that two files of one name differ.
            self.name.serial.clone_from(&certificate.serial);
        }
        self.keys.push(SoftKey { certificate: certificate.fingerprint, signing, unwrapping });
        self.certificates.push(certificate);
        true
    }

    /// A token of keys at hand, each a certificate (DER) and its key (PKCS#8): what a file with them would be
    /// once opened.
    ///
    /// # Errors
    /// A certificate is none, or a key is not RSA.
    #[cfg(feature = "practice")]
    pub fn of_keys(label: &str, held: &[(&[u8], &[u8])]) -> Result<Self, TokenFault> {
        let malformed = |why: String| TokenFault::NotPkcs12 { path: label.into(), why };
        let mut token = Self::holding_nothing(label.to_owned());
        for (der, pkcs8) in held {
            let certificate =
                TokenCertificate::from_der(der, label).map_err(|fault| malformed(fault.to_string()))?;
            if !token.take(certificate, pkcs8) {
                return Err(malformed("a key is not RSA of 2048 to 8192 bits".to_owned()));
            }
        }
        Ok(token)
    }

    fn key(&self, certificate: &Digest) -> Result<&SoftKey, TokenFault> {
        let found = self.keys.iter().find(|key| key.certificate == *certificate);
        found.ok_or_else(|| TokenFault::WrongToken { token: self.name.clone(), certificate: *certificate })
    }

    fn failed(&self, call: &str) -> TokenFault {
        TokenFault::Vendor {
            who: self.name.to_string(),
            call: call.to_owned(),
            code: "the cryptography library refused".to_owned(),
        }
    }

    /// The clear bytes, or `None` where the wrapping does not fit the key.
    fn decrypt(
        &self,
        key: &SoftKey,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, TokenFault> {
        let key = key.unwrapping.clone();
        let mut clear = Zeroizing::new(vec![0; key.key_size_bytes()]);
        let hash = match algorithm {
            WrapAlgorithm::RsaOaepSha256 => &OAEP_SHA256_MGF1SHA256,
            WrapAlgorithm::RsaOaepSha1 => &OAEP_SHA1_MGF1SHA1,
            WrapAlgorithm::RsaPkcs1V15 => {
                let key = Pkcs1PrivateDecryptingKey::new(key).map_err(|_| self.failed("unwrapping"))?;
                return Ok(key.decrypt(wrapped, &mut clear).ok().map(|found| Zeroizing::new(found.to_vec())));
            }
        };
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| self.failed("unwrapping"))?;
        Ok(key.decrypt(hash, wrapped, &mut clear, None).ok().map(|found| Zeroizing::new(found.to_vec())))
    }
}

impl Token for Pkcs12Token {
    fn name(&self) -> &TokenName {
        &self.name
    }

    fn certificates(&self) -> &[TokenCertificate] {
        &self.certificates
    }

    fn pin_state(&self) -> Result<PinState, TokenFault> {
        Ok(PinState { tries: PinTries::Enough, entered: true, on_pad: false })
    }

    fn enter_pin(&self, _: &Pin) -> Result<(), TokenFault> {
        // The password was needed to open the file at all.
        Ok(())
    }

    fn sign(&self, certificate: &Digest, message: &[u8]) -> Result<Vec<u8>, TokenFault> {
        let key = &self.key(certificate)?.signing;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| self.failed("signing"))?;
        if self.certificate(certificate)?.verifies(message, &signature) {
            Ok(signature)
        } else {
            Err(TokenFault::BadSignature { token: self.name.clone(), certificate: *certificate })
        }
    }

    fn negotiate_wrap(&self, certificate: &Digest) -> Result<WrapAlgorithm, TokenFault> {
        let key = self.key(certificate)?;
        let certificate = self.certificate(certificate)?;
        negotiate(&self.name, |algorithm| {
            canary_comes_back(certificate, algorithm, |wrapped| self.decrypt(key, algorithm, &wrapped))
        })
    }

    fn unwrap(
        &self,
        certificate: &Digest,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<UnwrappedKey, TokenFault> {
        let clear = self.decrypt(self.key(certificate)?, algorithm, wrapped)?;
        match algorithm {
            WrapAlgorithm::RsaPkcs1V15 => Ok(key_or_random(clear)),
            WrapAlgorithm::RsaOaepSha256 | WrapAlgorithm::RsaOaepSha1 => clear
                .and_then(|clear| exactly_a_key(&clear))
                .ok_or_else(|| TokenFault::NotForThisKey { token: self.name.clone() }),
        }
    }
}
