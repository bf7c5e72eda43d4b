//! Commands in the room: watch, record, confirm, object, recuse.

use std::{fs, path::PathBuf, sync::Arc};

use clap::{Args, ValueEnum};
use kaibiao_protocol::{
    digest::Digest,
    event::ObjectionKind,
    ids::LotNo,
    project::ProjectKind,
    view::{ProjectStatus, RoomEvent, ViewEvent},
};
use serde_json::json;
use tokio::select;

use super::{Outcome, Output, hand_in::InProject, teller::Teller, telling::moment_json};
use crate::{
    backup::beside,
    client::Events,
    clock::shown,
    confirm::{CheckedRecord, confirm, fetch_record},
    report::{
        Problem,
        room::{Names, own_words, project_words, status_words},
        say,
        table::record_tables,
    },
    submit::SubmitFault,
    unseal::Told,
};

/// Until when to watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum WatchUntil {
    /// show the room as it stands and leave
    Now,
    /// until the record is published
    Published,
    /// until the opening has ended
    Ended,
}

/// 查看开标室实况 / watch the opening room live
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid watch --project KX-00823 --server https://bid.example.cn")]
pub(super) struct Watch {
    #[command(flatten)]
    at: InProject,
    /// 停留到何时 / until when to watch
    #[arg(long, value_enum, default_value_t = WatchUntil::Ended, value_name = "WHEN")]
    until: WatchUntil,
}

impl Watch {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let room = self.at.session().await?.room(self.at.project.clone());
        let view = room.view().await?;
        let mut teller = Teller::new(output);
        teller.names = Names::of(&view);
        teller.event("view", json!(view));
        teller.output.line(&project_words(view.status));
        for bidder in &view.bidders {
            let status = teller.output.words(&status_words(&bidder.status), " ");
            teller.output.text(&format!("  {}  {status}", bidder.supplier));
        }
        let over = match self.until {
            WatchUntil::Now => true,
            WatchUntil::Published => matches!(view.status, ProjectStatus::Published | ProjectStatus::Ended),
            WatchUntil::Ended => view.status == ProjectStatus::Ended,
        };
        if over {
            output.ok(&json!({ "status": view.status, "seq": view.seq }));
            return Ok(());
        }
        let mut events = room.events(view.seq).await?;
        let mut own = room.own_events(0).await.ok();
        let own_reached = own.as_ref().map_or(0, Events::reached);
        let mut link = room.session().link();
        loop {
            let notice = select! {
                notice = events.next() => notice?,
                notice = async {
                    match &mut own {
                        Some(own) => own.next().await,
                        None => std::future::pending().await,
                    }
                } => notice?,
                changed = link.changed() => {
                    if changed.is_ok() {
                        let now = link.borrow_and_update().clone();
                        teller.tell_link(&now);
                    }
                    continue;
                }
            };
            match &notice.event {
                ViewEvent::Room(event) => {
                    teller.tell(&Told::Room { at: notice.at, event, own: false });
                    let over = match self.until {
                        WatchUntil::Published => matches!(event, RoomEvent::RecordsPublished { .. }),
                        WatchUntil::Now | WatchUntil::Ended => matches!(event, RoomEvent::OpeningEnded),
                    };
                    if over {
                        output.ok(&json!({ "seq": notice.seq }));
                        return Ok(());
                    }
                }
                // What was there before is the room's past, which the view has shown.
                ViewEvent::Own(event) if notice.seq > own_reached => {
                    teller.event("own", json!({ "at": notice.at, "event": event }));
                    let words = own_words(event);
                    let at = shown(notice.at);
                    teller.note(say(format!("{at} ● {}", words.zh), format!("{at} ● {}", words.en)));
                }
                ViewEvent::Own(_) => {}
            }
        }
    }
}

/// 查看并核验已公布的开标记录 / show the published record, checked against the platform's key
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid record --project KX-00823 --server https://bid.example.cn -o record.json")]
pub(super) struct Record {
    #[command(flatten)]
    at: InProject,
    /// 保存记录原文；签名写入 FILE.signature / where the exact text is saved, its signature as FILE.signature
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Record {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let room = self.at.session().await?.room(self.at.project.clone());
        let record = fetch_record(&room).await?;
        if let Some(path) = &self.output {
            let signature = beside(path, "signature");
            for (path, bytes) in
                [(path, record.published.text.as_bytes()), (&signature, &record.published.signature.0[..])]
            {
                fs::write(path, bytes)
                    .map_err(|source| SubmitFault::Unwritable { path: path.clone(), source })?;
            }
        }
        output.ok(&json!({ "digest": record.digest, "file": self.output, "record": record.facts }));
        tell_record(output, &record);
        Ok(())
    }
}

fn tell_record(output: &mut Output<'_>, record: &CheckedRecord) {
    let facts = &record.facts;
    output.text(&format!("{} {}", facts.head.project, facts.head.name));
    if facts.head.kind == ProjectKind::Exercise {
        output.line(&say("演练，不具法律效力", "an exercise, which counts for nothing in law"));
    }
    output.fact(&say("公布时间", "published at"), shown(facts.published_at));
    output.text(&record_tables(facts));
    output.fact(
        &say("记录摘要（平台签名有效）", "record digest (the platform's signature holds)"),
        record.digest,
    );
}

/// 用 CA 锁签名确认开标记录 / confirm the record, signed with the token
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid confirm --project KX-00823 --server https://bid.example.cn --token huixin:label=KX01

The record is fetched, checked against the platform's key and shown before it is signed.")]
pub(super) struct Confirm {
    #[command(flatten)]
    at: InProject,
    /// 仅当记录摘要为此值时才确认 / confirm only the record with this digest
    #[arg(long, value_name = "HEX")]
    record: Option<Digest>,
}

impl Confirm {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let chosen = self.at.token.open()?;
        let session = self.at.server.session(&self.at.account, Some(&chosen)).await?;
        let room = session.room(self.at.project.clone());
        let record = fetch_record(&room).await?;
        tell_record(output, &record);
        if let Some(wanted) = self.record
            && wanted != record.digest
        {
            return Err(Problem::new(
                "other_record",
                say(
                    "公布的记录与指定的摘要不符，未确认",
                    "the published record is not the one named; not confirmed",
                ),
                say("请重新核对记录", "look at the record again"),
            )
            .into());
        }
        let signer = Arc::new(chosen.token.signer(chosen.signing()?));
        let at = confirm(&room, &record, signer).await?;
        output.ok(&json!({ "record": record.digest, "confirmed_at": moment_json(at) }));
        output.line(&say(format!("已确认（{}）", shown(at)), format!("confirmed at {}", shown(at))));
        Ok(())
    }
}

/// 提出异议 / raise an objection
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid object --project KX-00823 --server https://bid.example.cn --lot 1 --text 唱标金额与投标文件不符")]
pub(super) struct Object {
    #[command(flatten)]
    at: InProject,
    /// 所涉标项 / the lot concerned
    #[arg(long, value_name = "LOT")]
    lot: Option<LotNo>,
    /// 内容 / the words
    #[arg(long, value_name = "TEXT")]
    text: String,
}

impl Object {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        raise(&self.at, ObjectionKind::Objection, self.lot, &self.text, output).await
    }
}

/// 申请回避 / ask that somebody stand aside
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid recuse --project KX-00823 --server https://bid.example.cn --text 主持人与某供应商有利害关系")]
pub(super) struct Recuse {
    #[command(flatten)]
    at: InProject,
    /// 内容 / the words
    #[arg(long, value_name = "TEXT")]
    text: String,
}

impl Recuse {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        raise(&self.at, ObjectionKind::Recusal, None, &self.text, output).await
    }
}

async fn raise(
    at: &InProject,
    kind: ObjectionKind,
    lot: Option<LotNo>,
    text: &str,
    output: &mut Output<'_>,
) -> Outcome {
    let room = at.session().await?.room(at.project.clone());
    let stamped = room.object(kind, lot, text).await?;
    output.ok(&json!({ "raised_at": moment_json(stamped) }));
    output.line(&say(
        format!("已提交（{}），现场将予答复", shown(stamped)),
        format!("raised at {}; it will be answered in the room", shown(stamped)),
    ));
    Ok(())
}
