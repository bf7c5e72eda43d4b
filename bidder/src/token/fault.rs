//! Everything that can go wrong with a token, each told in its own words.

use std::path::PathBuf;

use kaibiao_protocol::{bid::FailureCause, digest::Digest, moment::Moment};

use super::{Purpose, TokenName};
use crate::clock::shown;

/// How many tries a token says are left for its PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinTries {
    /// The token raises no warning.
    Enough,
    /// A wrong PIN was entered since the last right one (CKF_USER_PIN_COUNT_LOW).
    FewLeft,
    /// One more wrong PIN locks the token (CKF_USER_PIN_FINAL_TRY).
    LastTry,
    /// The token is locked (CKF_USER_PIN_LOCKED).
    Locked,
}

/// A token, or the way to it, failed. The display is English; [`TokenFault::say_zh`] is Chinese;
/// [`TokenFault::next_step`] tells what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFault {
    /// The vendor's module file is not there.
    #[error("the driver of {vendor} is not installed: there is no file {}", path.display())]
    ModuleMissing {
        /// The vendor.
        vendor: String,
        /// Where the module was looked for.
        path: PathBuf,
    },
    /// The file is there but cannot be used as a PKCS#11 module.
    #[error("{} of {vendor} is not a PKCS#11 module: {why}", path.display())]
    NotAModule {
        /// The vendor.
        vendor: String,
        /// The file.
        path: PathBuf,
        /// What the loader said.
        why: String,
    },
    /// No vendor is configured.
    #[error("no token vendor is configured")]
    NoVendor,
    /// No token is plugged in.
    #[error("no token is plugged in (looked through {}){}", vendors.join(", "), and_unasked(unasked))]
    NoToken {
        /// The vendors whose modules were asked.
        vendors: Vec<String>,
        /// Why others could not be asked.
        unasked: Vec<TokenFault>,
    },
    /// The token asked for is not there, others are.
    #[error("token {wanted} is not plugged in; there are: {}{}", present.join("; "), and_unasked(unasked))]
    TokenMissing {
        /// The token asked for.
        wanted: String,
        /// The tokens that are there.
        present: Vec<String>,
        /// Why the modules of other vendors could not be asked.
        unasked: Vec<TokenFault>,
    },
    /// Several tokens fit.
    #[error("several tokens fit {wanted}: {}", candidates.join("; "))]
    SeveralTokens {
        /// What was asked for.
        wanted: String,
        /// The tokens that fit.
        candidates: Vec<String>,
    },
    /// The token holds no key for the certificate.
    #[error("token {token} holds no private key for certificate {certificate}")]
    WrongToken {
        /// The token.
        token: TokenName,
        /// The certificate's fingerprint.
        certificate: Digest,
    },
    /// The PIN is wrong.
    #[error("wrong PIN for token {token}{}", tries_left(*tries))]
    WrongPin {
        /// The token.
        token: TokenName,
        /// What its flags say now.
        tries: PinTries,
    },
    /// Too many wrong PINs.
    #[error("token {token} is locked after too many wrong PINs")]
    PinLocked {
        /// The token.
        token: TokenName,
    },
    /// The PIN cannot be right, for its length; it was not tried.
    #[error("the PIN of token {token} has {min} to {max} characters")]
    PinLength {
        /// The token.
        token: TokenName,
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
    },
    /// The PIN has run out, was never set, or must be changed first.
    #[error("the PIN of token {token} has expired or must be changed before the first use")]
    PinExpired {
        /// The token.
        token: TokenName,
    },
    /// No PIN was entered yet, or the token forgot it.
    #[error("no PIN was entered for token {token}")]
    PinNeeded {
        /// The token.
        token: TokenName,
    },
    /// The token went away during a call.
    #[error("token {token} was pulled out during {during}")]
    Pulled {
        /// The token.
        token: TokenName,
        /// What was being done.
        during: &'static str,
    },
    /// The module did not answer in time.
    #[error("{who} did not answer within {seconds} s during {during}")]
    TimedOut {
        /// The token or the vendor.
        who: String,
        /// What was being done.
        during: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// More calls wait for the token than its queue takes.
    #[error("token {token} is busy with earlier calls")]
    Busy {
        /// The token.
        token: TokenName,
    },
    /// The token holds no certificate for the purpose.
    #[error("token {token} holds no {purpose} certificate")]
    NoCertificate {
        /// The token.
        token: TokenName,
        /// What it was wanted for.
        purpose: Purpose,
    },
    /// The certificate that would serve has run out.
    #[error(
        "the {purpose} certificate {certificate} on token {token} ran out on {} (Beijing time)",
        shown(*not_after)
    )]
    CertificateExpired {
        /// The token.
        token: TokenName,
        /// What it was wanted for.
        purpose: Purpose,
        /// The certificate's fingerprint.
        certificate: Digest,
        /// When it ran out.
        not_after: Moment,
    },
    /// The certificate that would serve is not valid yet.
    #[error(
        "the {purpose} certificate {certificate} on token {token} is valid only from {} on (Beijing time)",
        shown(*not_before)
    )]
    CertificateNotYetValid {
        /// The token.
        token: TokenName,
        /// What it was wanted for.
        purpose: Purpose,
        /// The certificate's fingerprint.
        certificate: Digest,
        /// When it begins.
        not_before: Moment,
    },
    /// Several certificates on the token serve the purpose.
    #[error("token {token} holds several valid {purpose} certificates: {}", candidates.join("; "))]
    SeveralCertificates {
        /// The token.
        token: TokenName,
        /// What it was wanted for.
        purpose: Purpose,
        /// Each with its fingerprint and subject.
        candidates: Vec<String>,
    },
    /// The token cannot do what is needed.
    #[error("token {token} does not offer {wanted}")]
    MechanismNotOffered {
        /// The token.
        token: TokenName,
        /// The operation, by its PKCS#11 name.
        wanted: &'static str,
    },
    /// The wrapped key was made for another key, or is damaged.
    #[error("token {token} cannot unwrap this key: it was wrapped for another certificate or is damaged")]
    NotForThisKey {
        /// The token.
        token: TokenName,
    },
    /// The signature the token gave does not fit its certificate.
    #[error("token {token} gave a signature that does not fit certificate {certificate}")]
    BadSignature {
        /// The token.
        token: TokenName,
        /// The certificate's fingerprint.
        certificate: Digest,
    },
    /// The module failed in another way.
    #[error("{who} failed in {call}: {code}")]
    Vendor {
        /// The token or the vendor.
        who: String,
        /// The PKCS#11 function.
        call: String,
        /// The return value's CKR name, or what else went wrong.
        code: String,
    },
    /// A PKCS#12 file cannot be read.
    #[error("cannot read the certificate file {}: {why}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A file is not PKCS#12.
    #[error("{} is not a PKCS#12 file with RSA keys: {why}", path.display())]
    NotPkcs12 {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The password does not open the PKCS#12 file.
    #[error("wrong password for the certificate file {}, or it is damaged", path.display())]
    WrongPassword {
        /// The file.
        path: PathBuf,
    },
}

/// The longest text of [`TokenFault::seen`], in characters: that of `Evidence::seen` in the protocol.
pub const SEEN_CHARS_MAX: usize = 500;

fn and_unasked(unasked: &[TokenFault]) -> String {
    unasked.iter().map(|fault| format!("; {fault}")).collect()
}

fn tries_left(tries: PinTries) -> &'static str {
    match tries {
        PinTries::Enough => "",
        PinTries::FewLeft => "; few tries are left",
        PinTries::LastTry => "; one try is left, another wrong PIN locks it",
        PinTries::Locked => "; it is locked now",
    }
}

impl TokenFault {
    /// The fault's name for machines; never changes once published.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModuleMissing { .. } => "token_module_missing",
            Self::NotAModule { .. } => "token_module_unusable",
            Self::NoVendor => "token_no_vendor",
            Self::NoToken { .. } => "token_none_present",
            Self::TokenMissing { .. } => "token_missing",
            Self::SeveralTokens { .. } => "token_ambiguous",
            Self::WrongToken { .. } => "token_wrong",
            Self::WrongPin { .. } => "pin_wrong",
            Self::PinLocked { .. } => "pin_locked",
            Self::PinLength { .. } => "pin_length",
            Self::PinExpired { .. } => "pin_expired",
            Self::PinNeeded { .. } => "pin_needed",
            Self::Pulled { .. } => "token_pulled",
            Self::TimedOut { .. } => "token_timed_out",
            Self::Busy { .. } => "token_busy",
            Self::NoCertificate { .. } => "token_no_certificate",
            Self::CertificateExpired { .. } => "token_certificate_expired",
            Self::CertificateNotYetValid { .. } => "token_certificate_not_yet_valid",
            Self::SeveralCertificates { .. } => "token_certificate_ambiguous",
            Self::MechanismNotOffered { .. } => "token_mechanism_not_offered",
            Self::NotForThisKey { .. } => "token_not_for_this_key",
            Self::BadSignature { .. } => "token_bad_signature",
            Self::Vendor { .. } => "token_vendor_error",
            Self::FileUnreadable { .. } => "pkcs12_unreadable",
            Self::NotPkcs12 { .. } => "pkcs12_malformed",
            Self::WrongPassword { .. } => "pkcs12_wrong_password",
        }
    }

    /// The cause class a failed unsealing has when this is why (features K5): whether the supplier came with
    /// other keys, or could not use its own.
    pub fn failure_cause(&self) -> FailureCause {
        match self {
            Self::WrongToken { .. } | Self::NotForThisKey { .. } | Self::TokenMissing { .. } => {
                FailureCause::WrongToken
            }
            Self::ModuleMissing { .. }
            | Self::NotAModule { .. }
            | Self::NoVendor
            | Self::NoToken { .. }
            | Self::SeveralTokens { .. }
            | Self::WrongPin { .. }
            | Self::PinLocked { .. }
            | Self::PinLength { .. }
            | Self::PinExpired { .. }
            | Self::PinNeeded { .. }
            | Self::Pulled { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::NoCertificate { .. }
            | Self::CertificateExpired { .. }
            | Self::CertificateNotYetValid { .. }
            | Self::SeveralCertificates { .. }
            | Self::MechanismNotOffered { .. }
            | Self::BadSignature { .. }
            | Self::Vendor { .. }
            | Self::FileUnreadable { .. }
            | Self::NotPkcs12 { .. }
            | Self::WrongPassword { .. } => FailureCause::TokenTrouble,
        }
    }

    /// Whether the same person may put it right within the window, so that it is too early to report it as the
    /// cause of a failure: plug in, enter again, choose another, wait.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoToken { .. }
            | Self::TokenMissing { .. }
            | Self::SeveralTokens { .. }
            | Self::WrongToken { .. }
            | Self::WrongPin { .. }
            | Self::PinLength { .. }
            | Self::PinNeeded { .. }
            | Self::Pulled { .. }
            | Self::TimedOut { .. }
            | Self::Busy { .. }
            | Self::SeveralCertificates { .. }
            | Self::Vendor { .. }
            | Self::FileUnreadable { .. }
            | Self::WrongPassword { .. } => true,
            Self::ModuleMissing { .. }
            | Self::NotAModule { .. }
            | Self::NoVendor
            | Self::PinLocked { .. }
            | Self::PinExpired { .. }
            | Self::NoCertificate { .. }
            | Self::CertificateExpired { .. }
            | Self::CertificateNotYetValid { .. }
            | Self::MechanismNotOffered { .. }
            | Self::NotForThisKey { .. }
            | Self::BadSignature { .. }
            | Self::NotPkcs12 { .. } => false,
        }
    }

    /// What the platform is told when this is reported as trouble: one line of at most [`SEEN_CHARS_MAX`]
    /// characters, code first, without the paths of the supplier's machine.
    pub fn seen(&self) -> String {
        let told = match self {
            Self::ModuleMissing { vendor, .. } | Self::NotAModule { vendor, .. } => vendor.clone(),
            Self::FileUnreadable { .. } | Self::NotPkcs12 { .. } | Self::WrongPassword { .. } => {
                String::new()
            }
            Self::NoToken { vendors, .. } => {
                Self::NoToken { vendors: vendors.clone(), unasked: Vec::new() }.say_zh()
            }
            Self::TokenMissing { wanted, present, .. } => {
                let (wanted, present) = (wanted.clone(), present.clone());
                Self::TokenMissing { wanted, present, unasked: Vec::new() }.say_zh()
            }
            other => other.say_zh(),
        };
        let line = if told.is_empty() { self.code().to_owned() } else { format!("{}: {told}", self.code()) };
        line.chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .take(SEEN_CHARS_MAX)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(label: &str) -> TokenName {
        TokenName { vendor: "huixin".into(), label: label.into(), serial: "07".into() }
    }

    #[test]
    fn what_the_platform_is_told_is_one_short_line_without_paths() {
        let long = TokenFault::PinLocked { token: token(&"锁\n".repeat(400)) };
        let seen = long.seen();
        assert!(seen.starts_with("pin_locked: ") && !seen.contains('\n'), "{seen}");
        assert_eq!(seen.chars().count(), SEEN_CHARS_MAX);
        let path = PathBuf::from("/home/li/secret-folder/a.p12");
        let missing = TokenFault::ModuleMissing { vendor: "tiangu".into(), path: path.clone() };
        for fault in [
            TokenFault::WrongPassword { path: path.clone() },
            TokenFault::NoToken { vendors: vec!["huixin".into()], unasked: vec![missing.clone()] },
            missing,
        ] {
            assert!(!fault.seen().contains("secret-folder"), "{}", fault.seen());
        }
    }

    #[test]
    fn other_keys_and_keys_out_of_reach_are_two_causes() {
        let certificate = Digest([7; 32]);
        let wrong = TokenFault::WrongToken { token: token("a"), certificate };
        assert_eq!(wrong.failure_cause(), FailureCause::WrongToken);
        let locked = TokenFault::PinLocked { token: token("a") };
        assert_eq!(locked.failure_cause(), FailureCause::TokenTrouble);
        assert!(wrong.may_pass() && !locked.may_pass());
    }
}
