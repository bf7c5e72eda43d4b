//! The faults of tokens in Chinese, and what to do about each: read by a tired supplier two minutes before the
//! deadline, so what happened comes first and the next step is one action.

use kaibiao_protocol::digest::Digest;

use super::{PinTries, Purpose, TokenFault, TokenName};
use crate::clock::shown;

impl TokenFault {
    /// The fault in Chinese.
    pub fn say_zh(&self) -> String {
        match self {
            Self::ModuleMissing { vendor, path } => {
                format!("未安装 {vendor} 的 CA 锁驱动：找不到文件 {}", path.display())
            }
            Self::NotAModule { vendor, path, why } => {
                format!("{vendor} 的 {} 不是可用的 PKCS#11 模块：{why}", path.display())
            }
            Self::NoVendor => "尚未配置任何 CA 厂商".to_owned(),
            Self::NoToken { vendors, unasked } => {
                format!("未检测到 CA 锁（已查找：{}）{}", vendors.join("、"), and_unasked(unasked))
            }
            Self::TokenMissing { wanted, present, unasked } => {
                let present = present.join("；");
                format!("没有插入指定的 CA 锁 {wanted}，当前插入的是：{present}{}", and_unasked(unasked))
            }
            Self::SeveralTokens { wanted, candidates } => {
                format!("有多把 CA 锁符合 {wanted}：{}", candidates.join("；"))
            }
            Self::WrongToken { token, certificate } => {
                format!("{}中没有证书 {} 的私钥，可能插错了锁", lock(token), short(certificate))
            }
            Self::WrongPin { token, tries } => format!("{}的 PIN 码错误{}", lock(token), tries_left(*tries)),
            Self::PinLocked { token } => format!("{}因多次输错 PIN 码已被锁死", lock(token)),
            Self::PinLength { token, min, max } => {
                format!("PIN 码位数不对：{}的 PIN 码为 {min} 至 {max} 位", lock(token))
            }
            Self::PinExpired { token } => format!("{}的 PIN 码已过期、尚未设置或须先修改", lock(token)),
            Self::PinNeeded { token } => format!("尚未输入 {}的 PIN 码", lock(token)),
            Self::Pulled { token, .. } => format!("操作过程中 {}被拔出", lock(token)),
            Self::TimedOut { who, seconds, .. } => format!("{who} 在 {seconds} 秒内没有响应"),
            Self::Busy { token } => format!("{}正忙", lock(token)),
            Self::NoCertificate { token, purpose } => format!("{}中没有{}证书", lock(token), kind(*purpose)),
            Self::CertificateExpired { token, purpose, certificate, not_after } => format!(
                "{}中的{}证书 {} 已于 {}（北京时间）到期",
                lock(token),
                kind(*purpose),
                short(certificate),
                shown(*not_after)
            ),
            Self::CertificateNotYetValid { token, purpose, certificate, not_before } => format!(
                "{}中的{}证书 {} 自 {}（北京时间）起才有效",
                lock(token),
                kind(*purpose),
                short(certificate),
                shown(*not_before)
            ),
            Self::SeveralCertificates { token, purpose, candidates } => {
                format!("{}中有多张有效的{}证书：{}", lock(token), kind(*purpose), candidates.join("；"))
            }
            Self::MechanismNotOffered { token, wanted } => format!("{}不支持 {wanted}", lock(token)),
            Self::NotForThisKey { token } => {
                format!("{}解不开这份标书的密钥：标书是用另一张证书加密的，或密钥已损坏", lock(token))
            }
            Self::BadSignature { token, certificate } => {
                format!("{}给出的签名与证书 {} 不符", lock(token), short(certificate))
            }
            Self::Vendor { who, call, code } => format!("{who} 执行 {call} 失败：{code}"),
            Self::FileUnreadable { path, why } => format!("无法读取证书文件 {}：{why}", path.display()),
            Self::NotPkcs12 { path, why } => {
                format!("{} 不是含 RSA 密钥的 PKCS#12 文件：{why}", path.display())
            }
            Self::WrongPassword { path } => format!("证书文件 {} 的密码错误，或文件已损坏", path.display()),
        }
    }

    /// What to do about it: English and Chinese.
    pub fn next_step(&self) -> (&'static str, &'static str) {
        match self {
            Self::ModuleMissing { .. } => (
                "install the vendor's driver, or correct `module` in the vendors file",
                "请安装该厂商的驱动，或修正厂商配置文件中的 module",
            ),
            Self::NotAModule { .. } => (
                "let `module` in the vendors file name the vendor's PKCS#11 library for this system (64 bit)",
                "请将厂商配置文件中的 module 指向该厂商适用于本系统的 64 位 PKCS#11 库",
            ),
            Self::NoVendor => (
                "name a vendors file with --vendors or KAIBIAO_VENDORS",
                "请用 --vendors 或 KAIBIAO_VENDORS 指定厂商配置文件",
            ),
            Self::NoToken { .. } => ("plug the token in and try again", "请插入 CA 锁后重试"),
            Self::TokenMissing { .. } => (
                "plug in the token named, or name one that is there (`kaibiao-bid tokens` lists them)",
                "请插入指定的 CA 锁，或改选已插入的锁（kaibiao-bid tokens 可列出）",
            ),
            Self::SeveralTokens { .. } => (
                "pull the others out, or name one with label=, serial= or cert=",
                "请拔出其余的锁，或用 label=、serial=、cert= 指明其中一把",
            ),
            Self::WrongToken { .. } => (
                "plug in the token that sealed the bid and try again",
                "请换上加密标书时用的那把 CA 锁后重试",
            ),
            Self::WrongPin { tries: PinTries::LastTry | PinTries::Locked, .. } => (
                "do not guess: look the PIN up, or have the certification authority reset it",
                "请勿再猜：先核实 PIN 码，或联系 CA 机构重置",
            ),
            Self::WrongPin { .. } => ("enter the PIN again with care", "请核对后重新输入 PIN 码"),
            Self::PinLocked { .. } => (
                "have the certification authority unlock it; if the opening is on, tell the room at once",
                "请联系 CA 机构解锁；如正在开标，请立即告知开标现场",
            ),
            Self::PinLength { .. } => {
                ("enter the whole PIN; no try was used up", "请输入完整的 PIN 码；本次没有消耗次数")
            }
            Self::PinExpired { .. } => {
                ("set or change the PIN with the vendor's tool first", "请先用厂商工具设置或修改 PIN 码")
            }
            Self::PinNeeded { .. } => ("enter the PIN", "请输入 PIN 码"),
            Self::Pulled { .. } => (
                "plug the token in again, wait until its light is steady, and enter the PIN again",
                "请重新插入 CA 锁，待指示灯稳定后再次输入 PIN 码",
            ),
            Self::TimedOut { .. } => (
                "pull the token out, plug it in again and repeat; close other programs that use it",
                "请拔出并重新插入 CA 锁后重试，并关闭其他正在使用它的程序",
            ),
            Self::Busy { .. } => ("wait a moment and try again", "请稍候再试"),
            Self::NoCertificate { .. } | Self::CertificateExpired { .. } => (
                "have the certification authority issue or renew the certificate",
                "请联系 CA 机构签发或续期证书",
            ),
            Self::CertificateNotYetValid { .. } => (
                "check this computer's clock; if it is right, use the token whose certificate is valid now",
                "请检查本机时钟；如时钟无误，请改用证书当前有效的 CA 锁",
            ),
            Self::SeveralCertificates { .. } => (
                "name one with --signing-certificate or --encryption-certificate",
                "请用 --signing-certificate 或 --encryption-certificate 指明其中一张",
            ),
            Self::MechanismNotOffered { .. } => (
                "use a token with RSA keys, or update the vendor's driver",
                "请使用支持 RSA 的 CA 锁，或更新厂商驱动",
            ),
            Self::NotForThisKey { .. } => (
                "plug in the token that sealed the bid; if this is the one, use the backup bid",
                "请换上加密标书时用的那把 CA 锁；如锁无误，请使用备用标书",
            ),
            Self::BadSignature { .. } => (
                "have the certification authority check the token: key and certificate do not belong together",
                "请联系 CA 机构检查：锁内密钥与证书不匹配",
            ),
            Self::Vendor { .. } => (
                "plug the token in again and repeat; if it stays, give this name to the vendor's support",
                "请重新插入 CA 锁后重试；如仍失败，请将该错误名告知厂商",
            ),
            Self::FileUnreadable { .. } => ("check the path and its rights", "请检查路径与权限"),
            Self::NotPkcs12 { .. } => {
                ("give a .p12 or .pfx file with the keys in it", "请提供含私钥的 .p12 或 .pfx 文件")
            }
            Self::WrongPassword { .. } => ("enter the file's password again", "请重新输入该文件的密码"),
        }
    }
}

fn lock(token: &TokenName) -> String {
    format!("CA 锁 {}（{}，序列号 {}）", token.label, token.vendor, token.serial)
}

/// The beginning of a fingerprint: as much as a selector's `cert=` needs.
fn short(certificate: &Digest) -> String {
    certificate.to_string()[..8].to_owned()
}

fn kind(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Signing => "签名",
        Purpose::Encryption => "加密",
    }
}

fn and_unasked(unasked: &[TokenFault]) -> String {
    unasked.iter().map(|fault| format!("；{}", fault.say_zh())).collect()
}

fn tries_left(tries: PinTries) -> &'static str {
    match tries {
        PinTries::Enough => "",
        PinTries::FewLeft => "，剩余次数不多",
        PinTries::LastTry => "，只剩最后一次，再错将锁死",
        PinTries::Locked => "，CA 锁已锁死",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_what_happened() {
        let token = TokenName { vendor: "huixin".into(), label: "HX-01".into(), serial: "0a".into() };
        let fault = TokenFault::WrongPin { token, tries: PinTries::LastTry };
        assert_eq!(fault.say_zh(), "CA 锁 HX-01（huixin，序列号 0a）的 PIN 码错误，只剩最后一次，再错将锁死");
    }
}
