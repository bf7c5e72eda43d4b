//! Using a token: signing with one certificate, unwrapping bid keys, and the PIN that comes before either.

use std::sync::{Arc, Mutex};

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::{
    header::Header,
    key::BidKey,
    purpose::Purpose,
    signature::{self, SigningFault},
    unseal::{OpenFault, PartOpener},
    wrap::WrapAlgorithm,
};

use crate::{
    report::{Explain, Problem, say},
    token::{Pin, PinFault, PinSource, PinTries, Token, TokenCertificate, TokenFault},
};

/// How often a person may type the PIN in one run before being sent away to look it up.
const PIN_ASKED_MAX: u32 = 3;

/// Why a token was not used.
#[derive(Debug, thiserror::Error)]
pub enum UseFault {
    /// The token, or the way to it, failed.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// No PIN could be had.
    #[error(transparent)]
    Pin(#[from] PinFault),
    /// The token gave a key that is not the one the bid was sealed with.
    #[error("the key unwrapped by the token is not the one the bid was sealed with")]
    WrongKey,
}

impl Explain for UseFault {
    fn problem(&self) -> Problem {
        match self {
            UseFault::Token(fault) => fault.problem(),
            UseFault::Pin(fault) => fault.problem(),
            UseFault::WrongKey => Problem::new(
                "wrong_key",
                say("CA 锁解出的密钥不是加密该标书的密钥", self.to_string()),
                say(
                    "请插入加密该标书时使用的 CA 锁；如无误，请准备备份标书",
                    "plug in the token that sealed the bid; if it is the right one, have the backup bid ready",
                ),
            ),
        }
    }
}

/// Something that signs with the key of one certificate. Calls block.
pub trait Signer: Send + Sync {
    /// The certificate in DER.
    fn certificate(&self) -> &[u8];

    /// RSASSA-PKCS1-v1_5 with SHA-256 over `message`.
    ///
    /// # Errors
    /// The token does not sign, or no PIN could be had.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, UseFault>;
}

/// Something that gives a bid's key for its header. Calls block.
pub trait KeySource: Send + Sync {
    /// The key the bid with this header was sealed with, proved against the commitment of each part.
    ///
    /// # Errors
    /// The token does not unwrap it, no PIN could be had, or it is another key.
    fn bid_key(&self, header: &Header) -> Result<BidKey, UseFault>;
}

/// A token whose PIN is asked for when it is first needed, and not before.
pub struct PinnedToken {
    token: Arc<dyn Token>,
    pin: PinSource,
    entered: Mutex<bool>,
}

impl PinnedToken {
    /// The token, and where its PIN comes from.
    pub fn new(token: Arc<dyn Token>, pin: PinSource) -> Self {
        Self { token, pin, entered: Mutex::new(false) }
    }

    /// The token itself, for what needs no PIN.
    pub fn token(&self) -> &dyn Token {
        self.token.as_ref()
    }

    /// Sees to it that the PIN has been entered. A wrong PIN is asked for again only from a person, only while
    /// the token does not warn of its last try, and only three times.
    ///
    /// # Errors
    /// The PIN is wrong or cannot be had, or the token cannot be asked.
    pub fn ready(&self) -> Result<(), UseFault> {
        let mut entered = self.entered.lock().expect("no panic while the PIN is asked for");
        if *entered {
            return Ok(());
        }
        let state = self.token.pin_state()?;
        if !state.entered {
            if state.on_pad {
                self.token.enter_pin(&Pin::new(Vec::new().into()))?;
            } else {
                self.ask(state.tries)?;
            }
        }
        *entered = true;
        Ok(())
    }

    fn ask(&self, mut tries: PinTries) -> Result<(), UseFault> {
        let mut wrong = 0;
        loop {
            let pin = self.pin.read(&self.question(wrong, tries))?;
            match self.token.enter_pin(&pin) {
                Ok(()) => return Ok(()),
                Err(TokenFault::WrongPin { tries: left, .. })
                    if self.pin.is_interactive()
                        && wrong + 1 < PIN_ASKED_MAX
                        && matches!(left, PinTries::Enough | PinTries::FewLeft) =>
                {
                    (wrong, tries) = (wrong + 1, left);
                }
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    fn question(&self, wrong: u32, tries: PinTries) -> String {
        let name = self.token.name();
        let again = if wrong > 0 { "PIN 码错误，请重新输入 / wrong PIN, again. " } else { "" };
        let warning = match tries {
            PinTries::Enough => "",
            PinTries::FewLeft => "（剩余次数不多 / few tries are left） ",
            PinTries::LastTry => "（只剩最后一次，再错将锁死 / one try is left, a wrong one locks it） ",
            PinTries::Locked => "（已锁死 / locked） ",
        };
        format!("{again}{warning}请输入 CA 锁 {name} 的 PIN 码 / PIN of token {name}")
    }

    /// Shows, on a canary made here, how a key can be wrapped so that this token unwraps it.
    ///
    /// # Errors
    /// As [`PinnedToken::ready`]; and no way works.
    pub fn negotiate_wrap(&self, certificate: &Digest) -> Result<WrapAlgorithm, UseFault> {
        self.ready()?;
        Ok(self.token.negotiate_wrap(certificate)?)
    }

    /// A signer with one certificate of the token.
    pub fn signer(self: &Arc<Self>, certificate: TokenCertificate) -> TokenSigner {
        TokenSigner { token: self.clone(), certificate }
    }
}

impl KeySource for PinnedToken {
    fn bid_key(&self, header: &Header) -> Result<BidKey, UseFault> {
        let certificate = header.binding.encryption_certificate;
        // Whether this is the right token at all is told before any PIN is asked for.
        self.token.certificate(&certificate)?;
        self.ready()?;
        let wrapped = &header.binding.wrapped_key.0;
        let key = self.token.unwrap(&certificate, header.binding.wrap, wrapped)?;
        let key = BidKey::from_bytes(&key[..]).ok_or(UseFault::WrongKey)?;
        if is_key_of(header, &key) { Ok(key) } else { Err(UseFault::WrongKey) }
    }
}

/// Whether the key fits the commitment of every part.
pub fn is_key_of(header: &Header, key: &BidKey) -> bool {
    header.binding.parts().all(|part| {
        let key = key.part_key(&header.binding_digest, part);
        !matches!(PartOpener::new(header, part, &key), Err(OpenFault::WrongKey | OpenFault::NoSuchPart(_)))
    })
}

/// One signing certificate of a token.
pub struct TokenSigner {
    token: Arc<PinnedToken>,
    certificate: TokenCertificate,
}

impl Signer for TokenSigner {
    fn certificate(&self) -> &[u8] {
        &self.certificate.der
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, UseFault> {
        self.token.ready()?;
        Ok(self.token.token.sign(&self.certificate.fingerprint, message)?)
    }
}

/// Signs `text` for one purpose; the result is a detached CMS (DER).
///
/// # Errors
/// The token does not sign, or its certificate does not fit into a signature.
pub fn sign_cms(
    signer: &dyn Signer,
    purpose: Purpose,
    text: &[u8],
) -> Result<Vec<u8>, SigningFault<UseFault>> {
    signature::sign_cms(purpose, text, signer.certificate(), &mut |message| signer.sign(message))
}
