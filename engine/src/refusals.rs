//! The words and the rule of every refusal, in one table: what is wrong and what to do next.

use kaibiao_protocol::refusal::{Refusal, RefusalCode, Say};

use crate::rules::{Rule, RulePack};

/// A refusal with its rule and its words. Where no project is in question, take the default pack:
/// such refusals rest on rules of the house, which belong to no pack.
pub fn refuse(code: RefusalCode, pack: RulePack) -> Refusal {
    let (rule, zh, en) = words(code);
    Refusal { code, rule: pack.cite(rule), say: Say { zh: zh.to_owned(), en: en.to_owned() } }
}

/// The same refusal, naming what exactly is wrong.
pub fn because(mut refusal: Refusal, zh: &str, en: &str) -> Refusal {
    refusal.say.zh.push_str(&format!("（{zh}）"));
    refusal.say.en.push_str(&format!(" ({en})"));
    refusal
}

/// Rule, Chinese and English of each code. One offence, one line; no two lines say the same.
fn words(code: RefusalCode) -> (Rule, &'static str, &'static str) {
    use RefusalCode as Code;
    match code {
        // Who asks, and how.
        Code::Malformed => (
            Rule::House,
            "系统无法识别该请求。请更新客户端后重试。",
            "The server does not know this request. Update your client and try again.",
        ),
        Code::FieldInvalid => (
            Rule::House,
            "填写的内容为空、过长或超出限制。请修改后重新提交。",
            "A field is empty, too long or outside its limits. Correct it and send it again.",
        ),
        Code::NotSignedIn => (Rule::House, "尚未登录。请先登录。", "You are not signed in. Sign in first."),
        Code::SessionEnded => {
            (Rule::House, "登录已失效。请重新登录。", "Your session has ended. Sign in again.")
        }
        Code::SignInFailed => (
            Rule::House,
            "登录失败：账号、密码、证书或签名不符。请核对后重试。",
            "Sign-in failed: account, password, certificate or signature do not fit. Check them and try again.",
        ),
        Code::SlowDown => {
            (Rule::House, "操作过于频繁。请稍候再试。", "Too many attempts. Wait a while, then try again.")
        }
        Code::ChallengeExpired => (
            Rule::House,
            "登录挑战已过期或已使用。请重新发起登录。",
            "The challenge has expired or was used. Begin the sign-in again.",
        ),
        Code::CertificateExpired => (
            Rule::House,
            "数字证书已过期。请联系发证机构续期后再试。",
            "The certificate has expired. Have its issuer renew it, then try again.",
        ),
        Code::CertificateNotYetValid => (
            Rule::House,
            "数字证书尚未生效。请在生效后使用，或更换证书。",
            "The certificate is not valid yet. Use it once it is, or take another.",
        ),
        Code::CertificateRevoked => (
            Rule::House,
            "数字证书已被吊销。请向发证机构申请新证书并重新绑定。",
            "The certificate was revoked. Get a new one from its issuer and have it bound.",
        ),
        Code::CertificateForeign => (
            Rule::House,
            "该数字证书不是由本平台认可的机构签发。请使用认可机构的证书。",
            "No authority this platform trusts issued the certificate. Use one of a trusted authority.",
        ),
        Code::CertificateWrongUse => (
            Rule::House,
            "该数字证书的用途不符（签名证书与加密证书不可混用）。请选择正确的证书。",
            "The certificate is not made for this use: signing and encryption have one each. Choose the other.",
        ),
        Code::CertificateUnbound => (
            Rule::House,
            "该数字证书未绑定到此账号。请先由管理员绑定证书。",
            "The certificate is not bound to this account. Ask the administrator to bind it.",
        ),
        Code::RoleNotAllowed => (
            Rule::House,
            "当前岗位无权执行此操作。请以具备权限的岗位登录。",
            "This role may not do that. Sign in with a role that may.",
        ),
        Code::NotYourProject => (
            Rule::House,
            "贵单位不是该项目的参与方。请核对项目编号。",
            "Your organisation has no part in this project. Check the project's number.",
        ),
        Code::Unknown => (
            Rule::House,
            "所查内容不存在或无权查看。请核对编号。",
            "There is no such thing, or not for you. Check its number.",
        ),
        Code::AlreadyExists => (
            Rule::House,
            "同名内容已存在。请换一个名称或编号。",
            "That name is taken or the thing is there already. Choose another name.",
        ),
        Code::Busy => (
            Rule::House,
            "系统繁忙，本次操作未执行。请稍候重试。",
            "The platform is busy and did not do it. Try again shortly.",
        ),
        Code::WritingEnded => (
            Rule::House,
            "系统暂时无法写入，本次操作是否完成尚不确定。恢复后请先查看状态再重试。",
            "The platform cannot write now, and whether this was done is not known. Look at the state once it is back.",
        ),
        Code::NoRoom => (
            Rule::House,
            "存储空间不足。请稍后重试或联系平台。",
            "There is no room on the disk. Try again later or call the platform.",
        ),

        // Setting up.
        Code::SpecInvalid => (
            Rule::House,
            "项目设置不符合要求。请按括号内的说明修改后重新提交。",
            "The project's settings break a limit. Mend what the brackets name and send it again.",
        ),
        Code::DeadlineTooSoon => (
            Rule::BiddingPeriod,
            "投标截止时间距今短于法定期限。请推迟投标截止时间。",
            "The deadline is nearer than the law allows. Set a later one.",
        ),
        Code::BidSecurityTooHigh => (
            Rule::BidSecurity,
            "投标保证金超过法定上限。请降低金额。",
            "The bid security is more than the law allows. Lower it.",
        ),

        Code::CorrectionTooLate => (
            Rule::Correction,
            "投标截止时间已到，不能再以更正公告推迟。如因平台故障，请以平台故障为由推迟。",
            "The deadline has come; no correction moves it any more. If the platform failed, move it on that ground.",
        ),
        Code::NoOutageRecorded => (
            Rule::PlatformFault,
            "投标截止时间前后没有平台故障记录，不能以此为由推迟。请在截止前以更正公告推迟。",
            "No outage of the platform around the deadline is recorded. Move the deadline by a correction before it.",
        ),

        // Handing in.
        Code::PastDeadline => (
            Rule::LateBid,
            "投标文件在投标截止时间或之后送达，拒收。此前完整递交的投标文件仍然有效。",
            "The last byte was in at or after the deadline, so it is refused. A whole bid handed in before stands.",
        ),
        Code::NotReceiving => (
            Rule::LateBid,
            "该项目已停止接收投标文件。此前完整递交的投标文件仍然有效。",
            "The project no longer receives bids. A whole bid handed in before stands.",
        ),
        Code::NotInvited => (
            Rule::Invitation,
            "贵单位不在该项目的受邀供应商名单中。如有疑问请联系采购组织机构。",
            "Your organisation is not among those invited. Ask the organiser if that is wrong.",
        ),
        Code::FormInvalid => (
            Rule::House,
            "递交信息填写不完整或格式不正确。请按提示修改。",
            "A field of the upload form is missing or malformed. Correct it as told.",
        ),
        Code::NotASealedBid => (
            Rule::SealedAsRequired,
            "该文件不是加密标书（.jmbs）。请用投标客户端生成后上传。",
            "The file is not a sealed bid (.jmbs). Make one with the bid client and upload that.",
        ),
        Code::SealedBidDamaged => (
            Rule::SealedAsRequired,
            "加密标书已损坏或不完整。请重新生成并上传。",
            "The sealed bid is damaged or cut. Seal it again and upload it.",
        ),
        Code::TooLarge => (
            Rule::House,
            "加密标书超过该项目的大小上限。请压缩文件后重新生成。",
            "The sealed bid is larger than the project allows. Make its documents smaller and seal again.",
        ),
        Code::OtherProject => (
            Rule::SealedAsRequired,
            "该加密标书属于另一项目。请选择本项目的加密标书。",
            "It was sealed for another project. Choose the one for this project.",
        ),
        Code::OtherSupplier => (
            Rule::SealedAsRequired,
            "该加密标书由另一供应商制作。请上传本单位的加密标书。",
            "It was sealed by another supplier. Upload your own.",
        ),
        Code::OtherLots => (
            Rule::SealedAsRequired,
            "所选标项不属于该项目。请重新选择标项。",
            "It names a lot this project does not have. Choose the lots again.",
        ),
        Code::OtherPlatform => (
            Rule::SealedAsRequired,
            "该加密标书绑定了其他平台的开标密钥。请在本平台取得项目信息后重新生成。",
            "It was sealed for another platform's opening key. Fetch the project from this platform and seal again.",
        ),
        Code::SignatureInvalid => (
            Rule::SealedAsRequired,
            "电子签名验证未通过。请用本单位的数字证书重新签名。",
            "The signature does not hold. Sign again with your own certificate.",
        ),
        Code::SameCiphertext => (
            Rule::SealedAsRequired,
            "相同的密文已由另一供应商递交，拒收。请递交本单位自行加密的投标文件。",
            "The same ciphertext was handed in by another supplier. Hand in a bid you sealed yourself.",
        ),
        Code::UploadTaken => (
            Rule::House,
            "该上传编号已用于其他内容。请新建上传。",
            "The upload id was used for something else. Begin a new upload.",
        ),
        Code::OffsetMismatch => (
            Rule::House,
            "上传位置与服务器记录不一致。请查询已接收的位置后续传。",
            "The bytes do not go on where the server stands. Ask for the offset and resume there.",
        ),
        Code::NoSuchBid => (
            Rule::House,
            "没有有效的该投标文件。请核对编号，或查看最新递交的投标文件。",
            "There is no such bid standing. Check its number, or look at the one handed in last.",
        ),
        Code::WithdrawTooLate => (
            Rule::RevokedAfterDeadline,
            "投标截止后不能撤回投标文件，只能撤销，保证金可能不予退还。请联系采购组织机构。",
            "After the deadline a bid cannot be withdrawn, only revoked, and the security may be kept. Call the organiser.",
        ),

        // Opening.
        Code::BeforeDeadline => (
            Rule::NothingBeforeDeadline,
            "投标截止时间未到。请在截止后再操作。",
            "The deadline has not come. Do it afterwards.",
        ),
        Code::NotSettled => (
            Rule::EveryBidOpened,
            "截止前送达的投标文件尚在核验。请稍候，核验完成后即可继续。",
            "Bids that came in before the deadline are still being judged. Wait a moment.",
        ),
        Code::CountingHeld => (
            Rule::PlatformFault,
            "投标截止前后平台曾发生故障，暂缓统计投标，以便推迟投标截止时间。请稍候。",
            "The platform was not there around the deadline, so counting is held for a possible move. Wait.",
        ),
        Code::NotStarted => (
            Rule::OpeningAtDeadline,
            "开标尚未开始。请等待开标开始。",
            "The opening has not started. Wait until it does.",
        ),
        Code::AlreadyStarted => (
            Rule::OpeningAtDeadline,
            "开标已经开始，无需重复操作。",
            "The opening has started already. There is nothing to do.",
        ),
        Code::WindowClosed => (
            Rule::FailedUnsealing,
            "解密时间已结束。如有异议请在开标记录公布后提出。",
            "The time for unsealing is over. Object, if you must, once the record is published.",
        ),
        Code::StillAwaited => (
            Rule::EveryBidOpened,
            "尚有供应商在等待期内。请等待其完成或期限届满。",
            "Somebody is still awaited. Wait until they are done or their time is over.",
        ),
        Code::OrderSuperseded => (
            Rule::House,
            "开标指令已更新。请取得最新指令后重新解密。",
            "There is a newer opening order. Fetch it and unseal again.",
        ),
        Code::EnvelopeInvalid => (
            Rule::House,
            "密钥信封无法打开或不属于该投标文件。请重新解密。",
            "The key envelope does not open or is not for this bid. Unseal again.",
        ),
        Code::WrongKey => (
            Rule::FailedUnsealing,
            "密钥与投标回执所固定的密钥不符。请使用制作该投标文件的CA锁。",
            "The key is not the one the receipt fixes. Use the token that sealed this bid.",
        ),
        Code::KeysAlreadyHere => (
            Rule::House,
            "该投标文件的密钥已收到，无需重复解密。",
            "The bid's keys are here already. There is nothing to do.",
        ),
        Code::NotOpened => (
            Rule::FewerThanThree,
            "该标项或投标文件不开标，保持加密。无需操作。",
            "This lot or bid is not opened and stays sealed. There is nothing to do.",
        ),
        Code::NoFailureRecorded => (
            Rule::BackupBid,
            "该投标文件没有解密失败记录，不能使用备份标书。请先用CA锁解密。",
            "No failure of this bid is recorded, so its backup is not used. Unseal with the token first.",
        ),
        Code::BackupNotAllowed => (
            Rule::BackupBid,
            "按该项目的设置，此种情形不得使用备份标书。请在开标记录公布后提出异议。",
            "The project's policy allows no backup bid here. Object once the record is published.",
        ),
        Code::BackupNotAdmitted => (
            Rule::BackupBid,
            "采购组织机构尚未启用该投标文件的备份标书。请联系现场代理。",
            "The agent has not admitted a backup for this bid. Ask the agent in the room.",
        ),
        Code::BackupDiffers => (
            Rule::BackupBid,
            "备份标书重新加密后与投标回执的密文不一致，不予采用。请提供原始备份标书。",
            "The backup does not seal to the ciphertext of the receipt. Bring the original backup.",
        ),
        Code::BarrierHolds => (
            Rule::PublishedTogether,
            "尚有投标文件在解密或等待中，开标记录不得公布。请等待全部完成。",
            "Bids are still being unsealed or awaited, so nothing is published. Wait for all of them.",
        ),
        Code::SheetsIncomplete => (
            Rule::EveryBidOpened,
            "开标一览表与已解密的投标文件不一致。请核对全部标项。",
            "The bid sheets do not cover the unsealed bids and their lots exactly. Check every lot.",
        ),
        Code::NotPublished => (
            Rule::PublishedTogether,
            "开标记录尚未公布。请等待公布。",
            "The record is not published yet. Wait for it.",
        ),
        Code::OtherRecord => (
            Rule::RecordAndDoubts,
            "所确认的内容不是已公布的开标记录。请重新取得开标记录后确认。",
            "The record named is not the published one. Fetch the record again and confirm that.",
        ),
        Code::AlreadyConfirmed => (
            Rule::RecordAndDoubts,
            "贵单位已确认开标记录，无需重复操作。",
            "You have confirmed the record already. There is nothing to do.",
        ),
        Code::ConfirmingOver => (
            Rule::RecordAndDoubts,
            "确认和提出异议的时间已结束，未表示意见的视为认可。",
            "The time for confirming and objecting is over; silence counts as acceptance.",
        ),
        Code::ObjectionsOpen => (
            Rule::RecordAndDoubts,
            "尚有异议或回避申请未答复。请先逐条答复。",
            "Objections or recusal requests are not answered yet. Answer each of them first.",
        ),
        Code::NoSuchObjection => (
            Rule::RecordAndDoubts,
            "该异议不存在或已答复。请核对编号。",
            "There is no such objection, or it is answered. Check its number.",
        ),
        Code::OpeningEnded => (
            Rule::RecordAndDoubts,
            "开标已结束。如有疑问请依法提出质疑。",
            "The opening has ended. Questions now go the way the law gives for them.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_words_of_its_own_in_both_languages() {
        let mut said = BTreeSet::new();
        for &code in RefusalCode::ALL {
            let Refusal { say, .. } = refuse(code, RulePack::Gp1);
            assert!(say.zh.ends_with('。') && say.en.ends_with('.'), "{code:?}");
            assert!(said.insert(say.zh) && said.insert(say.en), "{code:?} shares its words");
        }
    }

    #[test]
    fn a_refusal_by_law_cites_keys_and_pack_and_one_of_the_house_cites_none() {
        assert_eq!(refuse(RefusalCode::PastDeadline, RulePack::Gp1).rule, "TL-28 TR-36 87-33 (GP/1)");
        assert_eq!(refuse(RefusalCode::PastDeadline, RulePack::Ctb1).rule, "TL-28 TR-36 E20-27 (CTB/1)");
        assert_eq!(refuse(RefusalCode::Busy, RulePack::Ctb1).rule, "house");
    }

    #[test]
    fn what_exactly_is_wrong_stands_in_brackets() {
        let refusal =
            because(refuse(RefusalCode::FieldInvalid, RulePack::Gp1), "理由过长", "the reason is too long");
        assert!(
            refusal.say.zh.ends_with("（理由过长）") && refusal.say.en.ends_with("(the reason is too long)")
        );
    }
}
