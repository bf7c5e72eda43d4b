//! Choosing one token among those plugged in, and one certificate among those on it.

use kaibiao_protocol::{digest::Digest, moment::Moment};

use super::{
    Selector, Token, TokenCertificate, TokenFault, Vendors,
    pkcs11::{Pkcs11Token, tokens_of},
};

/// What a certificate is wanted for. Chinese certification authorities put one key pair for each on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Signing statements and challenges.
    Signing,
    /// Having bid keys wrapped for it.
    Encryption,
}

impl Purpose {
    /// The purpose in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Signing => "signing",
            Purpose::Encryption => "encryption",
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Opens the one token that fits the selector.
///
/// # Errors
/// None fits or several do, and the fault names what is there; or a module cannot be asked.
pub fn open(vendors: &Vendors, selector: &Selector) -> Result<Pkcs11Token, TokenFault> {
    if vendors.is_empty() {
        return Err(TokenFault::NoVendor);
    }
    let (mut present, mut asked, mut fitting, mut unasked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for vendor in vendors.iter().filter(|vendor| selector.admits_vendor(&vendor.name)) {
        asked.push(vendor.name.clone());
        let listed = match tokens_of(vendor) {
            Ok(listed) => listed,
            // One vendor's broken driver must not hide another's token.
            Err(fault) => {
                unasked.push(fault);
                continue;
            }
        };
        for token in listed {
            present.push(token.name.to_string());
            if !selector.admits_name(&token.name) {
                continue;
            }
            match Pkcs11Token::open(vendor, &token.name) {
                Ok(token) if selector.admits_certificates(token.certificates()) => fitting.push(token),
                Ok(_) => {}
                // Its name alone does not say that it is the one meant: go on looking.
                Err(fault) if selector.asks_certificate() => unasked.push(fault),
                Err(fault) => return Err(fault),
            }
        }
    }
    let wanted = selector.to_string();
    match fitting.len() {
        1 => Ok(fitting.remove(0)),
        // Only one could have been meant, and that one cannot be asked: no use talking of tokens.
        0 if unasked.len() == 1 && asked.len() == 1 => Err(unasked.remove(0)),
        0 if present.is_empty() => Err(TokenFault::NoToken {
            // A vendor that no one configured: say which ones there are.
            vendors: if asked.is_empty() {
                vendors.iter().map(|one| one.name.clone()).collect()
            } else {
                asked
            },
            unasked,
        }),
        0 => Err(TokenFault::TokenMissing { wanted, present, unasked }),
        _ => Err(TokenFault::SeveralTokens {
            wanted,
            candidates: fitting.iter().map(|token| token.name().to_string()).collect(),
        }),
    }
}

/// The certificate of a token that serves the purpose at `at`: the one with the fingerprint named, or the
/// only valid one.
///
/// # Errors
/// None serves, the one that would is not valid at `at`, or several do and none was named.
pub fn certificate_for(
    token: &dyn Token,
    purpose: Purpose,
    named: Option<&Digest>,
    at: Moment,
) -> Result<TokenCertificate, TokenFault> {
    let serving: Vec<_> = match named {
        Some(named) => vec![token.certificate(named)?],
        None => token.certificates().iter().collect(),
    };
    let serving: Vec<_> = serving.into_iter().filter(|held| held.serves(purpose)).collect();
    let valid: Vec<_> = serving.iter().filter(|held| held.is_valid_at(at)).collect();
    let token = token.name().clone();
    match valid[..] {
        [one] => Ok((*one).clone()),
        [] => Err(match serving.iter().max_by_key(|held| held.not_after) {
            None => TokenFault::NoCertificate { token, purpose },
            // Of several that do not serve any more, the latest is the one its holder thinks of.
            Some(latest) if latest.not_after < at => TokenFault::CertificateExpired {
                token,
                purpose,
                certificate: latest.fingerprint,
                not_after: latest.not_after,
            },
            Some(latest) => TokenFault::CertificateNotYetValid {
                token,
                purpose,
                certificate: latest.fingerprint,
                not_before: latest.not_before,
            },
        }),
        _ => Err(TokenFault::SeveralCertificates {
            token,
            purpose,
            candidates: valid.iter().map(|held| format!("{} {}", held.fingerprint, held.subject)).collect(),
        }),
    }
}
