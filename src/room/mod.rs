//! `kaibiao room`: the agent's commands, and watching.

mod watch;

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand, ValueEnum};
use kaibiao_bidder::{
    client::{Room as ClientRoom, Session},
    clock::shown,
    command::{AccountArgs, ChosenToken, ServerArgs, TokenArgs},
    confirm::fetch_record,
    report::{
        Explain,
        table::{lot_table, table},
    },
    signer::sign_cms,
    token::pkcs11::close_all,
};
use kaibiao_protocol::{
    deadline::MoveGround,
    ids::{BidId, LotNo, OrganisationId, ProjectId},
    moment::Moment,
    view::RoomView,
};
use kaibiao_sealed::{purpose::Purpose, statements::start_statement};
use serde_json::json;

use crate::{
    admin::moment_of,
    outcome::{Failure, Outcome, result},
    record_files,
};

/// Arguments of `kaibiao room`.
#[derive(Args)]
pub(crate) struct Room {
    #[command(subcommand)]
    action: Action,
}

/// Which room, and who comes.
#[derive(Args)]
struct Visit {
    /// The project, by its number.
    #[arg(long, value_name = "PROJECT", env = "KAIBIAO_PROJECT")]
    project: ProjectId,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    token: TokenArgs,
}

#[derive(Subcommand)]
enum Action {
    /// Show the room as it stands, then everything that happens, until the opening has ended.
    #[command(after_help = "Example:
  kaibiao room watch --project KX-00823 --server https://bid.example.cn --account wang --password-file wang.txt")]
    Watch {
        #[command(flatten)]
        visit: Visit,
        /// End when the record is published and signed instead.
        #[arg(long)]
        until_published: bool,
        /// Show the room as it stands and end.
        #[arg(long, conflicts_with = "until_published")]
        once: bool,
    },
    /// Move the deadline to a later one: by a correction before it, or after a recorded outage of the platform.
    #[command(after_help = "Example:
  kaibiao room move-deadline --project KX-00823 --server https://bid.example.cn --account wang \\
    --password-file wang.txt --to 2026-12-16T09:30:00+08:00 --reason 更正采购需求")]
    MoveDeadline {
        #[command(flatten)]
        visit: Visit,
        /// The new deadline: a date with its time and offset (RFC 3339).
        #[arg(long, value_name = "DATE", value_parser = date)]
        to: Moment,
        /// On what ground.
        #[arg(long, value_enum, default_value = "correction")]
        ground: Ground,
        /// Why; everybody in the room reads it.
        #[arg(long)]
        reason: String,
    },
    /// Start the opening, where the project waits for its agent. Signed when you come with a token.
    Start {
        #[command(flatten)]
        visit: Visit,
    },
    /// Extend the window for all suppliers.
    Extend {
        #[command(flatten)]
        visit: Visit,
        /// By how many minutes.
        #[arg(long)]
        minutes: u32,
        /// Why; everybody in the room reads it.
        #[arg(long)]
        reason: String,
    },
    /// Close the window before its end. Refused while anybody is awaited.
    Close {
        #[command(flatten)]
        visit: Visit,
        /// Why; everybody in the room reads it.
        #[arg(long)]
        reason: String,
    },
    /// Admit the backup bid of a supplier whose unsealing failed.
    Backup {
        #[command(flatten)]
        visit: Visit,
        /// The supplier.
        #[arg(long)]
        supplier: OrganisationId,
        /// Why; it is recorded.
        #[arg(long)]
        reason: String,
    },
    /// Read rows of the published record out (唱标): one, a lot's, or all in order.
    ReadOut {
        #[command(flatten)]
        visit: Visit,
        /// The lot; none: every opened lot.
        #[arg(long)]
        lot: Option<LotNo>,
        /// The row's number; none: every row of the lot.
        #[arg(long, requires = "lot")]
        row: Option<u32>,
    },
    /// Answer an objection or a recusal request.
    Answer {
        #[command(flatten)]
        visit: Visit,
        /// Its number.
        #[arg(long)]
        no: u32,
        /// The answer; everybody in the room reads it.
        #[arg(long)]
        text: String,
    },
    /// Show whom to reach for each bid, masked; once the bids are counted.
    Contacts {
        #[command(flatten)]
        visit: Visit,
    },
    /// End the opening.
    End {
        #[command(flatten)]
        visit: Visit,
    },
    /// Print the published record of each lot, after checking the platform's signature.
    Record {
        #[command(flatten)]
        visit: Visit,
        /// Also leave `record-lot-N.json`, and the exact signed text with its signature, in this folder.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Only this lot.
        #[arg(long)]
        lot: Option<LotNo>,
    },
}

/// On what ground a deadline is moved.
#[derive(Clone, Copy, ValueEnum)]
enum Ground {
    /// A correction notice, before the present deadline.
    Correction,
    /// A recorded outage of the platform around the present deadline.
    PlatformFault,
}

impl From<Ground> for MoveGround {
    fn from(ground: Ground) -> Self {
        match ground {
            Ground::Correction => MoveGround::Correction,
            Ground::PlatformFault => MoveGround::PlatformFault,
        }
    }
}

fn date(text: &str) -> Result<Moment, String> {
    moment_of(text).ok_or_else(|| format!("{text:?} is no date"))
}

/// Runs the command.
pub(crate) fn run(room: &Room, json: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|fault| Failure::of("start", fault))?;
    let done = runtime.block_on(act(&room.action, json));
    // A token call that hangs must not keep the process.
    runtime.shutdown_background();
    // A connection left behind may still hold one that does not.
    close_all();
    done
}

/// Somebody who came in.
struct Entered {
    session: Session,
    room: ClientRoom,
    token: Option<ChosenToken>,
}

impl Visit {
    async fn enter(&self) -> Result<Entered, Failure> {
        let token = if self.token.is_named() { Some(self.token.open().map_err(told)?) } else { None };
        let session = self.server.session(&self.account, token.as_ref()).await.map_err(told)?;
        let room = session.room(self.project.clone());
        Ok(Entered { session, room, token })
    }
}

impl Entered {
    /// The signature of whoever came with a token; none where a password was used.
    async fn sign(&self, purpose: Purpose, text: String) -> Result<Option<Vec<u8>>, Failure> {
        let Some(token) = &self.token else { return Ok(None) };
        let signer = Arc::new(token.token.signer(token.signing().map_err(told)?));
        let signed = tokio::task::spawn_blocking(move || sign_cms(signer.as_ref(), purpose, text.as_bytes()));
        signed.await.expect("signing does not panic").map(Some).map_err(|fault| Failure::of("sign", fault))
    }
}

async fn act(action: &Action, json: bool) -> Outcome {
    match action {
        Action::Watch { visit, once, until_published } => {
            let until = match (once, until_published) {
                (true, _) => watch::Until::Now,
                (false, true) => watch::Until::Published,
                (false, false) => watch::Until::Ended,
            };
            watch::watch(&visit.enter().await?.room, until, json).await
        }
        Action::MoveDeadline { visit, to, ground, reason } => {
            let room = visit.enter().await?.room;
            let at = room.move_deadline(*to, (*ground).into(), reason).await.map_err(told)?;
            let to = shown(*to);
            done(json, at, &format!("投标截止时间已推迟至 {to} / the deadline is now {to}"))
        }
        Action::Start { visit } => {
            let entered = visit.enter().await?;
            let view = entered.session.project(&visit.project).await.map_err(told)?;
            let statement = start_statement(&visit.project, view.spec.deadline);
            let signature = entered.sign(Purpose::StartOpening, statement).await?;
            let at = entered.room.start(signature).await.map_err(told)?;
            done(json, at, "已开始开标 / the opening has started")
        }
        Action::Extend { visit, minutes, reason } => {
            let at = visit.enter().await?.room.extend(*minutes, reason).await.map_err(told)?;
            done(
                json,
                at,
                &format!("解密时间已为全体供应商延长 {minutes} 分钟 / the window is longer for all"),
            )
        }
        Action::Close { visit, reason } => {
            let at = visit.enter().await?.room.close(reason).await.map_err(told)?;
            done(json, at, "解密已提前结束 / the window is closed")
        }
        Action::Backup { visit, supplier, reason } => {
            let room = visit.enter().await?.room;
            let bid = bid_of(&room.view().await.map_err(told)?, supplier)?;
            let at = room.admit_backup(bid, reason).await.map_err(told)?;
            done(
                json,
                at,
                &format!("已启用 {supplier} 的备份标书 / the backup bid of {supplier} may be used"),
            )
        }
        Action::ReadOut { visit, lot, row } => read_out(&visit.enter().await?.room, *lot, *row, json).await,
        Action::Answer { visit, no, text } => {
            let at = visit.enter().await?.room.answer(*no, text).await.map_err(told)?;
            done(json, at, &format!("已答复第 {no} 号 / answered no. {no}"))
        }
        Action::Contacts { visit } => contacts(&visit.enter().await?.room, json).await,
        Action::End { visit } => {
            let at = visit.enter().await?.room.end().await.map_err(told)?;
            done(json, at, "开标结束 / the opening has ended")
        }
        Action::Record { visit, out, lot } => {
            record(&visit.enter().await?.room, *lot, out.as_deref(), json).await
        }
    }
}

async fn read_out(room: &ClientRoom, lot: Option<LotNo>, row: Option<u32>, json: bool) -> Outcome {
    let view = room.view().await.map_err(told)?;
    let Some(record) = &view.record else {
        return Err(Failure::Failed("failed to read out: the record is not published yet".to_owned()));
    };
    let mut read = 0_u32;
    for (no, rows) in record_files::rows_of(record) {
        if lot.is_some_and(|lot| lot != no) {
            continue;
        }
        for one in rows {
            if row.is_none_or(|row| row == one.no) && !view.read_out.contains(&(no, one.no)) {
                room.read_out(no, one.no).await.map_err(told)?;
                read += 1;
            }
        }
    }
    result(json, &json!({ "read_out": read }), &format!("已唱标 {read} 行 / {read} rows read out"))
}

async fn record(room: &ClientRoom, lot: Option<LotNo>, out: Option<&std::path::Path>, json: bool) -> Outcome {
    let record = fetch_record(room).await.map_err(told)?;
    if let Some(dir) = out {
        record_files::leave(dir, &record)?;
    }
    let head = &record.facts.head;
    let lots: Vec<_> = record.facts.lots.iter().filter(|one| lot.is_none_or(|lot| lot == one.lot)).collect();
    let value = json!({
        "digest": record.digest,
        "lots": lots.iter().map(|one| record_files::LotFile::new(head, one)).collect::<Vec<_>>(),
    });
    let exercise = record_files::exercise_mark(head);
    let text: Vec<String> = lots
        .iter()
        .map(|one| {
            format!(
                "{exercise}开标记录 {}\n{}",
                head.project,
                lot_table(one.lot.get(), &one.name, &one.record)
            )
        })
        .collect();
    result(json, &value, text.join("\n").trim_end())
}

async fn contacts(room: &ClientRoom, json: bool) -> Outcome {
    let rows = room.contacts().await.map_err(told)?;
    let titles = ["供应商", "姓名", "证件号码", "手机", "邮编", "地址"].map(str::to_owned);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| [&row.supplier, &row.name, &row.id_number, &row.mobile, &row.postcode, &row.address])
        .map(|row| row.into_iter().cloned().collect())
        .collect();
    result(json, &json!({ "contacts": rows }), table(&titles, &cells).trim_end())
}

fn bid_of(view: &RoomView, supplier: &OrganisationId) -> Result<BidId, Failure> {
    view.bidders.iter().find(|bidder| bidder.organisation == *supplier).map(|bidder| bidder.bid).ok_or_else(
        || {
            Failure::Failed(format!(
                "failed to find the bid: {supplier} is not among the bidders of this project"
            ))
        },
    )
}

fn done(json: bool, at: Moment, text: &str) -> Outcome {
    let shown = shown(at);
    result(json, &json!({ "done_at": at, "done_at_shown": shown }), &format!("{shown}  {text}"))
}

/// A client's or a token's fault as this command's failure.
fn told(fault: impl Explain) -> Failure {
    Failure::Told(Box::new(fault.problem()))
}
