//! Why a supplier could not take part in an opening.

use kaibiao_protocol::{digest::Digest, refusal::Refusal};
use kaibiao_sealed::header::SealSignatureFault;

use crate::{
    backup::BackupFault,
    client::ClientFault,
    report::{Explain, Problem, say},
};

/// Why there was no taking part.
#[derive(Debug, thiserror::Error)]
pub enum UnsealFault {
    /// The server refused or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// No bid of this supplier stands.
    #[error("no bid of this supplier stands in the project")]
    NoBid,
    /// The file is not the bid handed in.
    #[error("this is not the bid handed in (header {found}, received was {received})")]
    OtherBid {
        /// The header digest received by the platform.
        received: Digest,
        /// The header digest of the file.
        found: Digest,
    },
    /// The platform's opening key is not the one the bid is bound to.
    #[error("the platform shows another opening key than the one this bid is bound to")]
    OtherPlatform,
    /// The header the platform gave is damaged or not signed by this supplier.
    #[error("the header given by the platform does not hold: {0}")]
    HeaderSignature(#[from] SealSignatureFault),
    /// The header the platform gave is damaged.
    #[error("the header given by the platform is damaged")]
    HeaderDamaged,
    /// The header the platform gave is signed by a certificate that is not the supplier's.
    #[error("the header given by the platform is not signed by a certificate of this token")]
    HeaderForeign,
    /// The backup does not serve.
    #[error(transparent)]
    Backup(#[from] BackupFault),
    /// The platform refused the restored bytes.
    #[error("the restored bid was refused: {}", .0.say.en)]
    RestoreRefused(Box<Refusal>),
    /// A key could not be sealed into an envelope.
    #[error("the order's one-time key is unusable")]
    Envelope,
}

impl Explain for UnsealFault {
    fn problem(&self) -> Problem {
        match self {
            UnsealFault::Client(fault) => fault.problem(),
            UnsealFault::Backup(fault) => fault.problem(),
            UnsealFault::RestoreRefused(refusal) => Problem::of_refusal(refusal),
            UnsealFault::NoBid => Problem::new(
                "no_bid",
                say("本单位在该项目没有有效的投标文件", self.to_string()),
                say("请核对项目编号与登录账号", "check the project and the account"),
            ),
            UnsealFault::OtherBid { .. } => Problem::new(
                "other_bid",
                say("所给的加密标书不是已递交的那一份", self.to_string()),
                say(
                    "请指定最后一次递交的 .jmbs；也可不指定，由客户端向平台取回标书头",
                    "name the .jmbs handed in last; or name none, and its header is fetched from the platform",
                ),
            ),
            UnsealFault::OtherPlatform => Problem::new(
                "other_platform",
                say("平台出示的开标密钥与标书所绑定的不同", self.to_string()),
                say(
                    "请勿解密：核对服务器地址，并立即联系代理机构",
                    "do not unseal: check the address and tell the agency at once",
                ),
            ),
            UnsealFault::HeaderSignature(_) | UnsealFault::HeaderDamaged | UnsealFault::HeaderForeign => {
                Problem::new(
                    "header_not_own",
                    say("平台给出的标书头不是本单位签名的那一份", self.to_string()),
                    say("请用 --bid 指定本地的 .jmbs", "name your own .jmbs with --bid"),
                )
            }
            UnsealFault::Envelope => Problem::new(
                "order_key_unusable",
                say("解密令中的一次性公钥不可用", self.to_string()),
                say("请联系代理机构", "tell the agency"),
            ),
        }
    }
}
