//! A room's events and statuses in words.

use std::collections::BTreeMap;

use kaibiao_protocol::{
    bid::{Consequence, FailureCause},
    deadline::MoveGround,
    event::{ObjectionKind, WindowEnd},
    ids::{BidId, OrganisationId},
    moment::Moment,
    refusal::{RefusalCode, Say},
    view::{BidStatus, Bidder, OwnEvent, ProjectStatus, RoomEvent, RoomView},
};

use super::say;
use crate::clock::shown;

/// The names by which bids and organisations are called, learned from the room itself.
#[derive(Clone, Debug, Default)]
pub struct Names {
    bids: BTreeMap<BidId, String>,
    organisations: BTreeMap<OrganisationId, String>,
}

impl Names {
    /// The names in a room as it stands.
    pub fn of(view: &RoomView) -> Self {
        let mut names = Self::default();
        names.learn(&view.bidders);
        names
    }

    /// Learns names from an event, if it holds any.
    pub fn hear(&mut self, event: &RoomEvent) {
        if let RoomEvent::ReceivingClosed { bidders, .. } = event {
            self.learn(bidders);
        }
    }

    fn learn(&mut self, bidders: &[Bidder]) {
        for bidder in bidders {
            self.bids.insert(bidder.bid, bidder.supplier.clone());
            self.organisations.insert(bidder.organisation.clone(), bidder.supplier.clone());
        }
    }

    /// Whose bid it is.
    pub fn bid(&self, bid: &BidId) -> String {
        self.bids.get(bid).cloned().unwrap_or_else(|| bid.to_string())
    }

    /// What an organisation is called.
    pub fn organisation(&self, organisation: &OrganisationId) -> String {
        self.organisations.get(organisation).cloned().unwrap_or_else(|| organisation.to_string())
    }

    /// An event in one line.
    pub fn words(&self, event: &RoomEvent) -> Say {
        match event {
            RoomEvent::ProjectPublished { spec } => say(
                format!("项目 {} 已发布，投标截止时间 {}", spec.id, shown(spec.deadline)),
                format!("project {} was published, deadline {}", spec.id, shown(spec.deadline)),
            ),
            RoomEvent::DeadlineMoved { from, deadline, ground, reason } => {
                let words = ground_words(*ground);
                say(
                    format!(
                        "投标截止时间由 {} 推迟至 {}（{}）：{reason}",
                        shown(*from),
                        shown(*deadline),
                        words.zh
                    ),
                    format!(
                        "the deadline moved from {} to {} ({}): {reason}",
                        shown(*from),
                        shown(*deadline),
                        words.en
                    ),
                )
            }
            RoomEvent::OutageRecorded { from, until, held_until } => outage_words(*from, *until, *held_until),
            RoomEvent::ClockStepped { step_ms, divergence_ms } => clock_step_words(*step_ms, *divergence_ms),
            RoomEvent::ReceivingClosed { lots, bidders } => {
                let lot =
                    |(lot, count): (&kaibiao_protocol::ids::LotNo, &kaibiao_protocol::event::LotCount)| {
                        let fate = if count.opens {
                            ("开标", "opens")
                        } else {
                            ("不足三家，不开标", "fewer than three, stays sealed")
                        };
                        (
                            format!("标项{lot}：{} 家（{}）", count.bids, fate.0),
                            format!("lot {lot}: {} ({})", count.bids, fate.1),
                        )
                    };
                let (zh, en): (Vec<_>, Vec<_>) = lots.iter().map(lot).unzip();
                say(
                    format!("投标截止，共 {} 家；{}", bidders.len(), zh.join("；")),
                    format!("receiving closed with {} bids; {}", bidders.len(), en.join("; ")),
                )
            }
            RoomEvent::OpeningStarted { by: None } => say("开标开始", "the opening started by itself"),
            RoomEvent::OpeningStarted { by: Some(by) } => {
                let by = self.organisation(by);
                say(format!("{by} 开始开标"), format!("{by} started the opening"))
            }
            RoomEvent::OrderIssued { epoch, window_closes_at, .. } => say(
                format!("发布解密令（第 {epoch} 次），解密截止 {}", shown(*window_closes_at)),
                format!("opening order {epoch} issued, the window closes at {}", shown(*window_closes_at)),
            ),
            RoomEvent::BidChanged { bid, status, .. } => {
                let (who, words) = (self.bid(bid), status_words(status));
                say(format!("{who}：{}", words.zh), format!("{who}: {}", words.en))
            }
            RoomEvent::WindowExtended { window_closes_at, minutes, reason } => say(
                format!("解密时间延长 {minutes} 分钟至 {}：{reason}", shown(*window_closes_at)),
                format!(
                    "the window is {minutes} minutes longer, until {}: {reason}",
                    shown(*window_closes_at)
                ),
            ),
            RoomEvent::WindowClosed { end, reason } => {
                let (zh, en) = match end {
                    WindowEnd::Elapsed => ("解密时间到", "the window is over"),
                    WindowEnd::ClosedEarly => ("解密提前结束", "the window was closed early"),
                    WindowEnd::AllSettled => ("全部标书已解密或已有结果", "every bid is settled"),
                };
                let because = reason.as_ref().map(|reason| format!(":{reason}")).unwrap_or_default();
                say(format!("{zh}{because}"), format!("{en}{because}"))
            }
            RoomEvent::RecordsPublished { record } => say(
                format!("开标记录已公布，共 {} 个标项", record.lots.len()),
                format!("the records of {} lots were published", record.lots.len()),
            ),
            RoomEvent::RecordSigned { digest, .. } => say(
                format!("平台已签署开标记录，摘要 {digest}"),
                format!("the platform signed the record, digest {digest}"),
            ),
            RoomEvent::CheckedIn { organisation } => {
                let who = self.organisation(organisation);
                say(format!("{who} 已签到"), format!("{who} signed in"))
            }
            RoomEvent::RowReadOut { lot, no } => {
                say(format!("唱标：标项{lot} 第 {no} 行"), format!("read out: lot {lot}, row {no}"))
            }
            RoomEvent::ObjectionRaised { no, kind, text, organisation, .. } => {
                let who = self.organisation(organisation);
                let (zh, en) = match kind {
                    ObjectionKind::Objection => ("提出异议", "objects"),
                    ObjectionKind::Recusal => ("申请回避", "asks for recusal"),
                };
                say(format!("{who} {zh}（第 {no} 号）：{text}"), format!("{who} {en} (no. {no}): {text}"))
            }
            RoomEvent::ObjectionAnswered { no, text } => {
                say(format!("第 {no} 号异议的答复：{text}"), format!("answer to no. {no}: {text}"))
            }
            RoomEvent::RecordConfirmed { supplier } => {
                let who = self.organisation(supplier);
                say(format!("{who} 已确认开标记录"), format!("{who} confirmed the record"))
            }
            RoomEvent::ConfirmationsDeemed { suppliers } => say(
                format!("{} 家未确认，视为认可", suppliers.len()),
                format!("{} who did not confirm are deemed to accept", suppliers.len()),
            ),
            RoomEvent::OpeningEnded => say("开标结束", "the opening ended"),
        }
    }
}

/// On what ground a deadline was moved, in words.
pub fn ground_words(ground: MoveGround) -> Say {
    match ground {
        MoveGround::Correction => say("更正公告", "a correction notice"),
        MoveGround::PlatformFault => say("平台故障", "a fault of the platform"),
    }
}

/// An outage of the platform around the deadline, in words.
pub fn outage_words(from: Moment, until: Moment, held_until: Moment) -> Say {
    let (from, until, held_until) = (shown(from), shown(until), shown(held_until));
    say(
        format!("平台故障：{from} 至 {until} 无法访问；{held_until} 前不统计投标，可推迟投标截止时间"),
        format!("the platform was not there from {from} to {until}; nothing is counted before {held_until}"),
    )
}

/// A step of the machine's wall clock, in words.
pub fn clock_step_words(step_ms: i64, divergence_ms: i64) -> Say {
    say(
        format!(
            "服务器系统时钟被调整 {step_ms} 毫秒（与平台时钟相差 {divergence_ms} 毫秒）；平台计时不受影响"
        ),
        format!(
            "the machine's wall clock was set by {step_ms} ms ({divergence_ms} ms off); no stamp follows it"
        ),
    )
}

/// Where a project stands, in words.
pub fn project_words(status: ProjectStatus) -> Say {
    match status {
        ProjectStatus::Receiving => say("接收投标中", "receiving bids"),
        ProjectStatus::AwaitingStart => say("待开标", "awaiting the opening"),
        ProjectStatus::AwaitingOrder => say("开标准备中", "the opening is being prepared"),
        ProjectStatus::AwaitingKeys => say("解密中", "suppliers unseal"),
        ProjectStatus::Settling => say("解密结束，整理中", "the window is closed, work in hand is finished"),
        ProjectStatus::Published => say("开标记录已公布", "the record is published"),
        ProjectStatus::Ended => say("开标已结束", "the opening has ended"),
    }
}

/// Where a bid stands, in words.
pub fn status_words(status: &BidStatus) -> Say {
    match status {
        BidStatus::NotOpened => say("未开标（不足三家）", "not opened (fewer than three)"),
        BidStatus::AwaitingKeys => say("待解密", "awaiting its keys"),
        BidStatus::Unsealing => say("解密中", "being unsealed"),
        BidStatus::Unsealed => say("已解密", "unsealed"),
        BidStatus::Failed { cause, grace_until } => {
            let words = cause_words(*cause);
            say(
                format!("解密失败：{}，可在 {} 前补救", words.zh, shown(*grace_until)),
                format!("failed: {}; may be mended until {}", words.en, shown(*grace_until)),
            )
        }
        BidStatus::AwaitingBackup { until } => say(
            format!("备份标书已启用，截至 {}", shown(*until)),
            format!("its backup is admitted until {}", shown(*until)),
        ),
        BidStatus::Settled { cause } => {
            let (words, consequence) = (cause_words(*cause), consequence_words(cause.consequence()));
            say(
                format!("未解密：{}（{}）", words.zh, consequence.zh),
                format!("not unsealed: {} ({})", words.en, consequence.en),
            )
        }
    }
}

/// Why an unsealing failed, in words.
pub fn cause_words(cause: FailureCause) -> Say {
    match cause {
        FailureCause::WrongToken => say("CA 锁不是加密时所用的锁", "the token is not the one that sealed it"),
        FailureCause::TokenTrouble => say("CA 锁锁死、损坏或缺失", "the token is locked, broken or absent"),
        FailureCause::WrongKey => say("密钥与回执不符", "the key is not the one fixed by the receipt"),
        FailureCause::DamagedUpload => say("上传的标书本身已损坏", "what was handed in was damaged"),
        FailureCause::MalformedPackage => say("标书内容不合格式", "its content breaks the format"),
        FailureCause::DamagedStore => say("平台存储的标书损坏", "the platform's copy is damaged"),
        FailureCause::NoShow => say("未在规定时间内解密", "its keys did not come in time"),
        FailureCause::PlatformFault => say("平台故障", "a fault of the platform"),
    }
}

fn consequence_words(consequence: Consequence) -> Say {
    match consequence {
        Consequence::Revoked => say("视为撤销投标文件", "deemed revoked"),
        Consequence::Withdrawn => say("视为撤回投标文件", "deemed withdrawn"),
    }
}

/// An event of one's own stream in one line.
pub fn own_words(event: &OwnEvent) -> Say {
    match event {
        OwnEvent::BidReceived { bid, received_at, .. } => say(
            format!("标书 {bid} 已于 {} 收到", shown(*received_at)),
            format!("bid {bid} was received at {}", shown(*received_at)),
        ),
        OwnEvent::UploadRefused { code, received_at, .. } => say(
            format!("{} 的上传被拒收（{}）", shown(*received_at), refusal_code_zh(*code)),
            format!("the upload of {} was refused ({})", shown(*received_at), code.as_str()),
        ),
        OwnEvent::BidWithdrawn { bid } => {
            say(format!("标书 {bid} 已撤回"), format!("bid {bid} was withdrawn"))
        }
        OwnEvent::KeysAsked { parts, .. } => say(
            format!("请解密：平台请求 {} 个部分的密钥", parts.len()),
            format!("please unseal: the keys of {} parts are asked for", parts.len()),
        ),
        OwnEvent::KeysKept { .. } => {
            say("密钥已由平台保存，可以离开", "the platform keeps your keys; you may leave")
        }
        OwnEvent::UnsealingFailed { cause, grace_until, .. } => {
            status_words(&BidStatus::Failed { cause: *cause, grace_until: *grace_until })
        }
        OwnEvent::BackupAdmitted { until, .. } => status_words(&BidStatus::AwaitingBackup { until: *until }),
    }
}

fn refusal_code_zh(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::PastDeadline => "逾期",
        RefusalCode::NotASealedBid => "不是加密标书",
        RefusalCode::SealedBidDamaged => "标书损坏",
        RefusalCode::OtherProject => "其他项目的标书",
        RefusalCode::OtherSupplier => "其他供应商的标书",
        RefusalCode::OtherLots => "标项不符",
        RefusalCode::OtherPlatform => "其他平台的标书",
        RefusalCode::SignatureInvalid => "签名无效",
        RefusalCode::SameCiphertext => "与他人标书相同",
        RefusalCode::TooLarge => "文件过大",
        other => other.as_str(),
    }
}
