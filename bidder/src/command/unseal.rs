//! The command `unseal`: taking part in the opening.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use kaibiao_protocol::view::BidStatus;
use serde_json::json;

use super::{
    Outcome, Output,
    hand_in::{InProject, compare_clocks},
    teller::Teller,
    token::ChoiceFault,
};
use crate::{
    backup::Backup,
    report::{Problem, room::status_words, say},
    sealed_bid::SealedBid,
    signer::KeySource,
    submit::UploadState,
    unseal::{Report, Stay, Unsealed, Unsealing, ceremony::Ending},
};

/// When a token that gives no key is reported to the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ReportWhen {
    /// what stays (a locked token) where a person types the PIN, everything where nobody does
    Auto,
    /// each time
    Always,
    /// never
    Never,
}

/// Until when to stay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum UntilWhen {
    /// until the platform keeps the keys; one may leave then
    Kept,
    /// until the record is published
    Published,
}

/// 解密：参加开标，收到解密令后用 CA 锁解密 / unseal: take part in the opening with the token
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid unseal --project KX-00823 --server https://bid.example.cn --bid bid.jmbs --token huixin:label=KX01
  kaibiao-bid unseal --project KX-00823 --server https://bid.example.cn --account wang --backup bid.bfbs

May be started before the deadline: it waits. The token unwraps the bid's key only for an opening order of this very
project, signed with the opening key the bid is bound to, and not before its deadline by this machine's clock. Only the
keys of the lots being opened leave this machine, sealed to the order's one-time key. Run it again after any cut.
可在截止前启动并等待；断线、重启后再次运行即可继续。")]
pub(super) struct Unseal {
    #[command(flatten)]
    at: InProject,
    /// 本地的加密标书；不给则向平台取回标书头 / the own copy; else its header is fetched from the platform
    #[arg(long, value_name = "BID.jmbs")]
    bid: Option<PathBuf>,
    /// 备份标书，仅在代理机构启用后使用 / the backup bid, used only once the agent has admitted it
    #[arg(long, value_name = "BID.bfbs")]
    backup: Option<PathBuf>,
    /// CA 锁无法解密时是否报告开标室 / when trouble with the token is reported to the room
    #[arg(long, value_enum, default_value_t = ReportWhen::Auto, value_name = "WHEN")]
    report: ReportWhen,
    /// 停留到何时 / until when to stay
    #[arg(long, value_enum, default_value_t = UntilWhen::Published, value_name = "WHEN")]
    until: UntilWhen,
}

impl Unseal {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        if !self.at.token.is_named() && self.backup.is_none() {
            return Err(ChoiceFault::NoneNamed.into());
        }
        let chosen = if self.at.token.is_named() { Some(self.at.token.open()?) } else { None };
        let bid = self.bid.as_deref().map(SealedBid::open).transpose()?;
        let wanted = bid.as_ref().map(|bid| bid.header.header_digest);
        let backup = match &self.backup {
            Some(path) => Some(Arc::new(Backup::open(path, wanted.as_ref())?)),
            None => None,
        };
        let client = self.at.server.client()?;
        compare_clocks(&client, output).await?;
        let session = self.at.server.session(&self.at.account, chosen.as_ref()).await?;
        let told = self.bid.as_deref().and_then(UploadState::read);
        let remembered = told.filter(|state| state.project == self.at.project);
        let certificates = chosen.iter().flat_map(|chosen| chosen.token.token().certificates());
        let unsealing = Unsealing {
            room: session.room(self.at.project.clone()),
            header: bid.map(|bid| bid.header),
            own_certificates: certificates.map(|held| held.fingerprint).collect(),
            keys: chosen.as_ref().map(|chosen| chosen.token.clone() as Arc<dyn KeySource>),
            backup,
            deadline_told: remembered.map(|state| state.deadline),
            stay: match self.until {
                UntilWhen::Kept => Stay::UntilKept,
                UntilWhen::Published => Stay::UntilPublished,
            },
            report: match self.report {
                ReportWhen::Always => Report::Always,
                ReportWhen::Never => Report::Never,
                ReportWhen::Auto if self.at.token.pin_source().is_interactive() => Report::WhatStays,
                ReportWhen::Auto => Report::Always,
            },
        };
        let mut teller = Teller::new(output);
        let unsealed = unsealing.run(&mut |told| teller.tell(&told)).await?;
        conclude(output, &unsealed)
    }
}

fn conclude(output: &mut Output<'_>, unsealed: &Unsealed) -> Outcome {
    let (code, words) = match unsealed.ending {
        Some(Ending::Unsealed) => ("unsealed", status_words(&BidStatus::Unsealed)),
        Some(Ending::KeysKept) => {
            ("keys_kept", say("密钥已由平台保存，可以离开", "the platform keeps the keys; you may leave"))
        }
        Some(Ending::NotOpened) => ("not_opened", status_words(&BidStatus::NotOpened)),
        Some(Ending::Failed(cause)) => {
            let words = status_words(&BidStatus::Settled { cause });
            return Err(Problem::new(
                "not_unsealed",
                words,
                say(
                    "请联系代理机构；可提出异议（kaibiao-bid object）",
                    "ask the agency; you may object (`kaibiao-bid object`)",
                ),
            )
            .into());
        }
        Some(Ending::NotStanding) => {
            return Err(Problem::new(
                "not_standing",
                say("截止时该标书未在有效投标之列", "the bid did not stand at the deadline"),
                say("请核对是否已撤回或被替换", "check whether it was withdrawn or replaced"),
            )
            .into());
        }
        None => {
            return Err(Problem::new(
                "not_unsealed",
                say("记录已公布，本标书未解密", "the record is published and the bid was not unsealed"),
                say("请联系代理机构", "ask the agency"),
            )
            .into());
        }
    };
    output.ok(&json!({ "bid": unsealed.bid, "ending": code, "published": unsealed.published }));
    output.line(&words);
    if unsealed.published {
        output.line(&say(
            "开标记录已公布：kaibiao-bid record 查看，kaibiao-bid confirm 确认",
            "the record is published: see it with `kaibiao-bid record`, confirm it with `kaibiao-bid confirm`",
        ));
    }
    Ok(())
}
