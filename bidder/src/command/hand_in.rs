//! Commands before the deadline: sign-in, sign-out, projects, project, submit, receipt, withdraw.

use std::{fs, path::PathBuf};

use clap::Args;
use kaibiao_protocol::{
    ids::ProjectId,
    view::{OwnBid, ProjectView},
};
use serde_json::json;

use super::{
    Outcome, Output,
    session::{AccountArgs, ServerArgs, SessionFault, token_credentials},
    telling::{moment_json, tell_receipt},
    token::TokenArgs,
};
use crate::{
    client::{Client, ClientFault, Session},
    clock::{now, shown, shown_span},
    private_file::write_private,
    report::{Explain, Problem, room::project_words, say, table::table},
    submit::{ContactForm, Submission, SubmitFault, SubmitStep, Submitted},
    unseal::UnsealFault,
};

/// Clocks that differ by more are told about.
const AHEAD_TOLD_MICROS: i64 = 2_000_000;

/// 登录并保留会话，供后续命令使用 / sign in, by token or account, and keep the session for later commands
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid sign-in --server https://bid.example.cn --token huixin:label=KX01
  kaibiao-bid sign-in --server https://bid.example.cn --account wang --password-file password.txt

The session is kept in a file that only you can read (--state, default ~/.local/state/kaibiao).")]
pub(super) struct SignIn {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    token: TokenArgs,
    /// 不保留会话，只测试登录 / only test it
    #[arg(long)]
    no_save: bool,
}

impl SignIn {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let client = self.server.client()?;
        let time = client.time().await?;
        let chosen = if self.token.is_named() { Some(self.token.open()?) } else { None };
        let credentials = match (self.account.credentials()?, &chosen) {
            (Some(credentials), _) => credentials,
            (None, Some(chosen)) => token_credentials(chosen, &self.account)?,
            (None, None) => return Err(SessionFault::NotSignedIn.into()),
        };
        let session = client.sign_in(credentials).await?;
        let kept = if self.no_save { None } else { Some(self.server.keep(&session)?) };
        let facts = session.facts();
        tell_clock(output, time.ahead_micros);
        output.ok(&json!({
            "user": facts.user, "organisation": facts.organisation, "role": facts.role,
            "expires_at": facts.expires_at, "kept_in": kept, "clock_ahead_ms": time.ahead_micros / 1_000,
        }));
        output.line(&say(
            format!("已登录：{}（{}）", facts.user, facts.organisation),
            format!("signed in as {} of {}", facts.user, facts.organisation),
        ));
        output.fact(&say("会话有效期至", "session ends"), shown(facts.expires_at));
        Ok(())
    }
}

/// A clock that is wrong matters at the opening: no order is obeyed before the deadline by this clock.
pub(super) fn tell_clock(output: &mut Output<'_>, ahead_micros: i64) {
    if ahead_micros.abs() <= AHEAD_TOLD_MICROS {
        return;
    }
    let (zh, en) = shown_span(ahead_micros.abs());
    let (zh_way, en_way) = if ahead_micros > 0 { ("快", "ahead of") } else { ("慢", "behind") };
    output.warning(&Problem::new(
        "clock_differs",
        say(
            format!("本机时钟比服务器{zh_way} {zh}"),
            format!("this machine's clock is {en} {en_way} the server's"),
        ),
        say(
            "请校准本机时钟；未到本机时钟的截止时间，客户端不会解密",
            "set this machine's clock; before the deadline by this clock nothing is unsealed",
        ),
    ));
}

/// 退出登录并删除保留的会话 / end the session and forget it
#[derive(Args, Debug)]
pub(super) struct SignOut {
    #[command(flatten)]
    server: ServerArgs,
}

impl SignOut {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let session = self.server.session(&AccountArgs::default(), None).await?;
        let address = session.client().address().clone();
        let ended = session.sign_out().await;
        self.server.forget(&address);
        ended?;
        output.ok(&json!({}));
        output.line(&say("已退出登录", "signed out"));
        Ok(())
    }
}

/// Options of everything that acts as somebody in a project.
#[derive(Args, Debug)]
pub(super) struct InProject {
    /// 项目编号 / the project's number
    #[arg(long, value_name = "PROJECT")]
    pub(super) project: ProjectId,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    #[command(flatten)]
    pub(super) account: AccountArgs,
    #[command(flatten)]
    pub(super) token: TokenArgs,
}

impl InProject {
    /// The session to act in.
    pub(super) async fn session(&self) -> Result<Session, Box<dyn Explain>> {
        let chosen = if self.token.is_named() { Some(self.token.open()?) } else { None };
        Ok(self.server.session(&self.account, chosen.as_ref()).await?)
    }
}

/// 列出可见的项目 / list the projects one may see
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid projects --server https://bid.example.cn --search 家具")]
pub(super) struct Projects {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    token: TokenArgs,
    /// 编号或名称包含 / only those whose number or name contains TEXT
    #[arg(long, value_name = "TEXT", default_value = "")]
    search: String,
    /// 跳过前 N 个 / skip so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u32,
}

impl Projects {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let chosen = if self.token.is_named() { Some(self.token.open()?) } else { None };
        let session = self.server.session(&self.account, chosen.as_ref()).await?;
        let (rows, total) = session.projects(&self.search, self.skip).await?;
        output.ok(&json!({ "rows": rows, "total": total }));
        let titles = ["项目编号", "项目名称", "投标截止时间", "状态", "投标文件"].map(str::to_owned);
        let cells: Vec<Vec<String>> = rows
            .iter()
            .map(|row| {
                let name = if row.exercise { format!("[演练] {}", row.name) } else { row.name.clone() };
                let status = output.words(&project_words(row.status), " ");
                let bid = if row.own_bid.is_some() { "已上传" } else { "待上传" };
                vec![row.project.to_string(), name, shown(row.deadline), status, bid.to_owned()]
            })
            .collect();
        output.text(&table(&titles, &cells));
        output.line(&say(format!("共 {total} 个项目"), format!("{total} projects in all")));
        Ok(())
    }
}

/// 查看一个项目，并可保存为文件供离线加密 / show one project, and save it for sealing offline
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid project --project KX-00823 --server https://bid.example.cn -o KX-00823.json")]
pub(super) struct Project {
    #[command(flatten)]
    at: InProject,
    /// 保存到文件 / where the project is saved
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Project {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let session = self.at.session().await?;
        let view = session.project(&self.at.project).await?;
        if let Some(path) = &self.output {
            let text = serde_json::to_vec_pretty(&view).expect("a project is JSON");
            fs::write(path, text).map_err(|source| SubmitFault::Unwritable { path: path.clone(), source })?;
        }
        output.ok(&view);
        tell_project(output, &view);
        if let Some(path) = &self.output {
            output.line(&say(format!("已保存到 {}", path.display()), format!("saved to {}", path.display())));
        }
        Ok(())
    }
}

fn tell_project(output: &mut Output<'_>, view: &ProjectView) {
    let spec = &view.spec;
    output.fact(&say("项目", "project"), format!("{} {}", spec.id, spec.name));
    if spec.kind == kaibiao_protocol::project::ProjectKind::Exercise {
        output.line(&say("演练，不具法律效力", "an exercise, which counts for nothing in law"));
    }
    output.fact(&say("采购人", "purchaser"), &view.purchaser_name);
    output.fact(&say("采购组织机构", "organiser"), &view.organiser_name);
    output.fact(&say("投标截止（开标）时间", "deadline and opening"), shown(spec.deadline));
    let (zh, en) = shown_span(spec.deadline.micros_since(now()));
    if spec.deadline > now() {
        output.fact(&say("距截止", "time left"), output.words(&say(zh, en), " "));
    }
    let status = output.words(&project_words(view.status), " ");
    output.fact(&say("状态", "status"), status);
    for (lot, spec) in &spec.lots {
        let line = format!("{} ({})", spec.name, spec.budget);
        output.fact(&say(format!("标项 {lot}（预算）"), format!("lot {lot} (budget)")), line);
    }
    if let Some(own) = &view.own_bid {
        output.fact(&say("已递交", "handed in"), format!("{} {}", own.bid, shown(own.received_at)));
    }
}

/// 递交加密标书，断线自动续传 / hand a sealed bid in; goes on by itself after a cut, and when run again
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid submit bid.jmbs --project KX-00823 --server https://bid.example.cn --contact contact.json \\
      --token huixin:label=KX01

contact.json: {\"name\": \"王明德\", \"id_number\": \"…\", \"mobile\": \"…\", \"postcode\": \"…\", \"address\": \"…\"}
The receipt is written beside the bid (bid.jmbs.receipt). Running the command again gives the same receipt.")]
pub(super) struct Submit {
    /// 加密标书 / the sealed bid
    #[arg(value_name = "BID.jmbs")]
    bid: PathBuf,
    #[command(flatten)]
    at: InProject,
    /// 联系人表（JSON） / the contact form
    #[arg(long, value_name = "FILE")]
    contact: PathBuf,
    /// 回执文件 / where the receipt is written; default: BID.jmbs.receipt
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// 单个请求的最大字节数（代理有限制时） / the most bytes of one request, where a proxy sets a limit
    #[arg(long, value_name = "BYTES")]
    request_bytes_max: Option<u64>,
}

impl Submit {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let contact = ContactForm::read(&self.contact)?;
        let session = self.at.session().await?;
        let checking = output.bar(&say("检查本地文件", "checking the own file"), 0);
        let sending = output.bar(&say("上传", "uploading"), 0);
        let submission = Submission {
            project: &self.at.project,
            bid: &self.bid,
            contact: &contact,
            receipt: self.output.as_deref(),
            request_bytes_max: self.request_bytes_max.unwrap_or(u64::MAX),
        };
        let mut begun = false;
        let mut cuts = 0;
        let submitted = submission
            .run(&session, &mut |step| match step {
                SubmitStep::Checking(done, total) => {
                    checking.set_length(total);
                    checking.set_position(done);
                }
                SubmitStep::Sending(progress) => {
                    if !begun {
                        begun = true;
                        checking.finish_and_clear();
                        sending.set_length(progress.total);
                        // Bytes of an earlier run say nothing of this run's speed.
                        sending.set_position(progress.resumed_from);
                        sending.reset_eta();
                    }
                    cuts = progress.cuts;
                    sending.set_position(progress.sent);
                }
            })
            .await?;
        sending.finish_and_clear();
        match submitted {
            Submitted::Received { bid, facts, receipt } => {
                output.ok(&json!({
                    "verdict": "received", "bid": bid, "receipt": receipt,
                    "received_at": moment_json(facts.received_at), "cuts": cuts,
                }));
                output.line(&say(
                    format!("已递交，回执 {}", receipt.display()),
                    format!("handed in, receipt {}", receipt.display()),
                ));
                tell_receipt(output, &facts);
                Ok(())
            }
            Submitted::Refused { refusal, notice } => {
                if let Some(notice) = notice {
                    let path = notice.display().to_string();
                    output.note(&say(
                        format!("拒收通知已保存：{path}"),
                        format!("refusal notice kept: {path}"),
                    ));
                    return Err(Problem::of_refusal(&refusal).at(path).into());
                }
                Err(Problem::of_refusal(&refusal).into())
            }
        }
    }
}

/// 再次取得回执 / fetch the receipt again
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid receipt --project KX-00823 --server https://bid.example.cn -o receipt")]
pub(super) struct Receipt {
    #[command(flatten)]
    at: InProject,
    /// 回执文件 / where the receipt is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Receipt {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let session = self.at.session().await?;
        let view = session.project(&self.at.project).await?;
        let own = own_bid(&view)?;
        let text = session.receipt(&self.at.project, own.bid).await?;
        write_private(&self.output, text.as_bytes())
            .map_err(|source| SubmitFault::Unwritable { path: self.output.clone(), source })?;
        let key = hex::encode(&view.receipt_key.0);
        let key = crate::verify::read_platform_key(&key)?;
        let facts = kaibiao_sealed::receipt::verify_receipt(&text, &key)
            .map_err(|fault| SubmitFault::Receipt { kept: self.output.clone(), fault })?;
        output.ok(&json!({ "receipt": self.output, "facts": facts }));
        output.line(&say(
            format!("回执已写入 {}", self.output.display()),
            format!("receipt written to {}", self.output.display()),
        ));
        tell_receipt(output, &facts);
        Ok(())
    }
}

/// 撤回已递交的标书（截止时间前） / withdraw the bid, before the deadline
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid withdraw --project KX-00823 --server https://bid.example.cn --reason 报价有误")]
pub(super) struct Withdraw {
    #[command(flatten)]
    at: InProject,
    /// 原因 / why
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

impl Withdraw {
    pub(super) async fn run(self, output: &mut Output<'_>) -> Outcome {
        let session = self.at.session().await?;
        let view = session.project(&self.at.project).await?;
        let own = own_bid(&view)?;
        let at = session.withdraw(&self.at.project, own.bid, &self.reason).await?;
        output.ok(&json!({ "bid": own.bid, "withdrawn_at": moment_json(at) }));
        output.line(&say(
            format!("已撤回标书 {}（{}）", own.bid, shown(at)),
            format!("withdrew bid {} at {}", own.bid, shown(at)),
        ));
        Ok(())
    }
}

/// The supplier's own bid in a project.
pub(super) fn own_bid(view: &ProjectView) -> Result<&OwnBid, Box<dyn Explain>> {
    view.own_bid.as_ref().ok_or_else(|| UnsealFault::NoBid.into())
}

/// Asks the server's time and tells of clocks that differ.
pub(super) async fn compare_clocks(client: &Client, output: &mut Output<'_>) -> Result<(), ClientFault> {
    tell_clock(output, client.time().await?.ahead_micros);
    Ok(())
}
