//! Which token, and where its PIN comes from.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use kaibiao_protocol::digest::Digest;

use crate::{
    clock::now,
    report::{Explain, Problem, say},
    signer::{PinnedToken, UseFault},
    token::{
        NotASelector, PinSource, Purpose, Selector, Token, TokenCertificate, TokenFault, Vendors,
        VendorsFault, certificate_for, open, pkcs12::Pkcs12Token,
    },
};

/// How often the password of a PKCS#12 file may be typed in one run.
const PASSWORD_ASKED_MAX: u32 = 3;

/// Options that name a token.
#[derive(Args, Clone, Debug, Default)]
pub struct TokenArgs {
    /// CA 锁 / the token, such as `huixin:label=KX01` or `cert=1f0a33c2`
    #[arg(long, value_name = "SELECTOR", conflicts_with = "pkcs12", help_heading = "CA 锁 / Token")]
    pub token: Option<String>,
    /// 证书文件 / a PKCS#12 file instead of a token
    #[arg(long, value_name = "FILE", help_heading = "CA 锁 / Token")]
    pub pkcs12: Option<PathBuf>,
    /// CA 厂商配置 / the file of token vendors (docs/tokens.md)
    #[arg(long, value_name = "FILE", env = "KAIBIAO_VENDORS", help_heading = "CA 锁 / Token")]
    pub vendors: Option<PathBuf>,
    /// 从文件首行读取 PIN 码 / read the PIN (or the file's password) from the first line of FILE
    #[arg(long, value_name = "FILE", conflicts_with = "pin_stdin", help_heading = "CA 锁 / Token")]
    pub pin_file: Option<PathBuf>,
    /// 从标准输入读取 PIN 码 / read the PIN from standard input
    #[arg(long, help_heading = "CA 锁 / Token")]
    pub pin_stdin: bool,
    /// 签名证书指纹 / the signing certificate's SHA-256, where the token has several
    #[arg(long, value_name = "HEX", help_heading = "CA 锁 / Token")]
    pub signing_certificate: Option<Digest>,
    /// 加密证书指纹 / the encryption certificate's SHA-256, where the token has several
    #[arg(long, value_name = "HEX", help_heading = "CA 锁 / Token")]
    pub encryption_certificate: Option<Digest>,
}

/// A token that was opened.
pub struct ChosenToken {
    /// It; its PIN is asked for when it is first needed.
    pub token: Arc<PinnedToken>,
    /// How long opening it took: for a PKCS#12 file, the derivation of its key.
    pub opened_in: Duration,
    signing: Option<Digest>,
    encryption: Option<Digest>,
}

/// Why there is no token.
#[derive(Debug)]
pub enum ChoiceFault {
    /// Neither `--token` nor `--pkcs12`.
    NoneNamed,
    /// The selector is none.
    Selector(NotASelector),
    /// The vendors file is unusable.
    Vendors(VendorsFault),
    /// The token, or its PIN.
    Use(UseFault),
}

impl From<TokenFault> for ChoiceFault {
    fn from(fault: TokenFault) -> Self {
        ChoiceFault::Use(fault.into())
    }
}

impl Explain for ChoiceFault {
    fn problem(&self) -> Problem {
        match self {
            ChoiceFault::NoneNamed => Problem::new(
                "token_not_named",
                say("未指定 CA 锁", "no token was named"),
                say("请加 --token 或 --pkcs12", "add --token or --pkcs12"),
            ),
            ChoiceFault::Selector(fault) => fault.problem(),
            ChoiceFault::Vendors(fault) => fault.problem(),
            ChoiceFault::Use(fault) => fault.problem(),
        }
    }
}

impl TokenArgs {
    /// Whether a token was named at all.
    pub fn is_named(&self) -> bool {
        self.token.is_some() || self.pkcs12.is_some()
    }

    /// Where the PIN comes from.
    pub fn pin_source(&self) -> PinSource {
        match &self.pin_file {
            Some(path) => PinSource::File(path.clone()),
            None if self.pin_stdin => PinSource::Descriptor(0),
            None => PinSource::Prompt,
        }
    }

    /// The vendors of this machine; none if no file is named.
    ///
    /// # Errors
    /// The file is unusable.
    pub fn vendors(&self) -> Result<Vendors, ChoiceFault> {
        match &self.vendors {
            Some(path) => Vendors::read(path).map_err(ChoiceFault::Vendors),
            None => Ok(Vendors::default()),
        }
    }

    /// Opens the token named. May ask for a PKCS#12 file's password, and for nothing else.
    ///
    /// # Errors
    /// [`ChoiceFault`].
    pub fn open(&self) -> Result<ChosenToken, ChoiceFault> {
        let (token, opened_in): (Arc<dyn Token>, Duration) = if let Some(path) = &self.pkcs12 {
            let (token, opened_in) = self.open_file(path)?;
            (Arc::new(token), opened_in)
        } else {
            let selector = self.token.as_ref().ok_or(ChoiceFault::NoneNamed)?;
            let selector: Selector = selector.parse().map_err(ChoiceFault::Selector)?;
            let vendors = self.vendors()?;
            let began = Instant::now();
            let token = open(&vendors, &selector)?;
            (Arc::new(token), began.elapsed())
        };
        Ok(ChosenToken {
            token: Arc::new(PinnedToken::new(token, self.pin_source())),
            opened_in,
            signing: self.signing_certificate,
            encryption: self.encryption_certificate,
        })
    }

    fn open_file(&self, path: &std::path::Path) -> Result<(Pkcs12Token, Duration), ChoiceFault> {
        let source = self.pin_source();
        let mut asked = 0;
        loop {
            let again =
                if asked > 0 { "密码错误，请重新输入 / wrong password, again. " } else { "" };
            let label = format!("{again}请输入证书文件 {0} 的密码 / password of {0}", path.display());
            let password = source.read(&label).map_err(|fault| ChoiceFault::Use(fault.into()))?;
            asked += 1;
            let began = Instant::now();
            match Pkcs12Token::open(path, &password) {
                Ok(token) => return Ok((token, began.elapsed())),
                Err(TokenFault::WrongPassword { .. })
                    if source.is_interactive() && asked < PASSWORD_ASKED_MAX => {}
                Err(fault) => return Err(fault.into()),
            }
        }
    }
}

impl ChosenToken {
    /// The certificate that signs.
    ///
    /// # Errors
    /// The token has none, or several and none was named.
    pub fn signing(&self) -> Result<TokenCertificate, ChoiceFault> {
        Ok(certificate_for(self.token.token(), Purpose::Signing, self.signing.as_ref(), now())?)
    }

    /// The certificate that bid keys are wrapped to.
    ///
    /// # Errors
    /// As [`ChosenToken::signing`].
    pub fn encryption(&self) -> Result<TokenCertificate, ChoiceFault> {
        Ok(certificate_for(self.token.token(), Purpose::Encryption, self.encryption.as_ref(), now())?)
    }
}
