//! Commands that make files: pack, seal, reseal. Only `seal --server` needs a network.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use clap::Args;
use kaibiao_protocol::{
    ids::{OrganisationId, ProjectId},
    view::ProjectView,
};
use kaibiao_sealed::package::Package;
use serde_json::json;

use super::{
    Outcome, Output, online,
    session::{AccountArgs, ServerArgs, SessionFault},
    telling::{millis, tell_times},
    token::{ChosenToken, TokenArgs},
};
use crate::{
    backup::Backup,
    clock::now,
    pack::{DocumentArgument, PackJob},
    report::{Explain, Problem, say},
    seal::{SealFault, SealJob},
};

/// 打包：由开标一览表和 PDF 生成标书包（.bfbs） / pack bid sheets and PDFs into a bid package
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid pack --project KX-00823 --supplier mingde --sheet sheet.json \\
      --document qualification=资格文件.pdf --document 1:price=报价文件.pdf -o bid.bfbs

KIND: qualification 资格, price 报价, commercial-technical 商务技术, declaration 确认声明书, other 其他.
sheet.json: {\"lots\": {\"1\": {\"price\": \"1234.50\", \"delivery_or_lead\": \"30 天\", \"bid_security_method\": \"保函\",
  \"declaration_signed\": true, \"remark\": \"\"}}}; price_kind: total (default), unit_price or rate.
Every fault is named at once; nothing is written then.")]
pub(super) struct Pack {
    /// 项目编号 / the project's number
    #[arg(long, value_name = "PROJECT")]
    project: ProjectId,
    /// 供应商单位号 / the supplier's organisation id
    #[arg(long, value_name = "SUPPLIER")]
    supplier: OrganisationId,
    /// 开标一览表（JSON） / the bid sheets
    #[arg(long, value_name = "FILE")]
    sheet: PathBuf,
    /// 文件 KIND=FILE，或只属于一个标项的 LOT:KIND=FILE / a document, for every lot or for one
    #[arg(long = "document", value_name = "[LOT:]KIND=FILE")]
    documents: Vec<DocumentArgument>,
    /// 生成的标书包 / where the package is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Pack {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        let bar = output.bar(&say("打包", "packing"), 0);
        let job = PackJob {
            project: self.project,
            supplier: self.supplier,
            sheets: &self.sheet,
            documents: &self.documents,
            out: &self.output,
        };
        let packed = job.run(&mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        let lots: Vec<_> = packed.package.lots().collect();
        output.ok(&json!({
            "file": self.output, "bytes": packed.bytes, "lots": lots,
            "documents": packed.documents, "pages": packed.pages,
        }));
        output.line(&say(
            format!(
                "已生成标书包 {}：{} 个标项，{} 个文件共 {} 页，{} 字节",
                self.output.display(),
                lots.len(),
                packed.documents,
                packed.pages,
                packed.bytes
            ),
            format!(
                "packed {}: {} lots, {} documents of {} pages, {} bytes",
                self.output.display(),
                lots.len(),
                packed.documents,
                packed.pages,
                packed.bytes
            ),
        ));
        Ok(())
    }
}

/// 加密：标书包（.bfbs）生成加密标书（.jmbs），标书包随即成为备份标书 / seal a bid package with the token
#[derive(Args, Debug)]
#[command(after_help = "示例 / Examples:
  kaibiao-bid seal bid.bfbs --project-file KX-00823.json --token huixin:label=KX01 -o bid.jmbs
  kaibiao-bid seal bid.bfbs --project KX-00823 --server https://bid.example.cn --pkcs12 mingde.p12 -o bid.jmbs

The bid package then holds the bid's key and becomes the backup bid: whoever has it can open the bid. Keep it to
yourself. 加密后的标书包含有密钥，即备份标书，请妥善保管，切勿外传。")]
pub(super) struct Seal {
    /// 标书包 / the bid package
    #[arg(value_name = "BID.bfbs")]
    package: PathBuf,
    /// 项目编号，须与标书包一致 / the project it is meant for; a package of another one is refused
    #[arg(long, value_name = "PROJECT")]
    project: Option<ProjectId>,
    /// 保存的项目信息（kaibiao-bid project -o），代替 --server / a saved project instead of --server
    #[arg(long, value_name = "FILE", conflicts_with = "server", required_unless_present = "server")]
    project_file: Option<PathBuf>,
    #[command(flatten)]
    server: OptionalServer,
    #[command(flatten)]
    account: AccountArgs,
    #[command(flatten)]
    token: TokenArgs,
    /// 对已加密过的标书包重新加密，先前的加密标书随之失去备份 / seal a sealed package again under a fresh key
    #[arg(long)]
    anew: bool,
    /// 生成的加密标书 / where the sealed bid is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// The server's options where a file may stand in for it.
#[derive(Args, Clone, Debug)]
struct OptionalServer {
    /// 服务器地址 / the server to ask for the project
    #[arg(long, value_name = "URL", env = "KAIBIAO_SERVER")]
    server: Option<String>,
    /// 只信任此文件中的根证书（PEM） / trust the root certificates in FILE and no others
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// 允许对其他机器使用不加密的 http / allow plain http to other machines than this one
    #[arg(long)]
    allow_plain: bool,
    /// 会话等状态的目录 / where sessions are kept
    #[arg(long, value_name = "DIR", env = "KAIBIAO_STATE")]
    state: Option<PathBuf>,
}

impl Seal {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        self.check_project()?;
        let chosen = self.token.open()?;
        let (signing, encryption) = (chosen.signing()?, chosen.encryption()?);
        let target = match &self.project_file {
            Some(path) => read_project(path)?,
            None => self.fetch_project(&chosen)?,
        };
        let bar = output.bar(&say("加密", "sealing"), 0);
        let job = SealJob {
            package: &self.package,
            out: &self.output,
            target: &target,
            token: &chosen.token,
            signing: &signing,
            encryption: &encryption,
            anew: self.anew,
            now: now(),
        };
        let sealed = job.run(&mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        })?;
        bar.finish_and_clear();
        for warning in &sealed.warnings {
            output.warning(&warning.problem());
        }
        let token = chosen.opened_in + sealed.token;
        output.ok(&json!({
            "file": self.output, "bytes": sealed.bytes, "backup": self.package,
            "project": sealed.header.binding.project, "lots": sealed.header.binding.lots,
            "header_digest": sealed.header.header_digest, "wrap": sealed.wrap,
            "token_ms": millis(token), "sealing_ms": millis(sealed.sealing),
        }));
        output.line(&say(
            format!("已生成加密标书 {}（{} 字节）", self.output.display(), sealed.bytes),
            format!("sealed {} ({} bytes)", self.output.display(), sealed.bytes),
        ));
        output.line(&say(
            format!("备份标书 {}：内含密钥，请妥善保管，切勿外传", self.package.display()),
            format!("backup bid {}: it holds the key, keep it to yourself", self.package.display()),
        ));
        output.fact(&say("摘要", "header digest"), sealed.header.header_digest);
        tell_times(output, token, sealed.sealing);
        Ok(())
    }

    /// Told before any PIN is asked for.
    fn check_project(&self) -> Result<(), SealFault> {
        let Some(asked) = &self.project else { return Ok(()) };
        let package = Package::open(&self.package)?;
        if package.project() == asked {
            return Ok(());
        }
        Err(SealFault::OtherProject { packed_for: package.project().clone(), asked: asked.clone() })
    }

    fn fetch_project(&self, chosen: &ChosenToken) -> Result<ProjectView, Box<dyn Explain>> {
        let package = Package::open(&self.package).map_err(SealFault::from)?;
        let server = ServerArgs {
            server: self.server.server.clone().unwrap_or_default(),
            ca: self.server.ca.clone(),
            allow_plain: self.server.allow_plain,
            state: self.server.state.clone(),
        };
        let fetched = Mutex::new(None);
        online(async {
            let session = server.session(&self.account, Some(chosen)).await?;
            let view = session.project(package.project()).await.map_err(SessionFault::from)?;
            *fetched.lock().expect("no panic while the project is fetched") = Some(view);
            Ok(())
        })?;
        Ok(fetched.into_inner().expect("no panic while the project is fetched").expect("fetched or failed"))
    }
}

/// 由备份标书再次生成同一份加密标书，逐字节相同 / make the same sealed bid again from its backup
#[derive(Args, Debug)]
#[command(after_help = "示例 / Example:
  kaibiao-bid reseal bid.bfbs -o bid.jmbs")]
pub(super) struct Reseal {
    /// 备份标书 / the backup bid
    #[arg(value_name = "BID.bfbs")]
    backup: PathBuf,
    /// 生成的加密标书 / where the sealed bid is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Reseal {
    pub(super) fn run(self, output: &mut Output<'_>) -> Outcome {
        let backup = Backup::open(&self.backup, None)?;
        let bar = output.bar(&say("加密", "sealing"), backup.clear_bytes());
        backup.seal_again(&self.output, &mut |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        let header = &backup.header;
        output.ok(&json!({
            "file": self.output, "bytes": header.file_len(), "header_digest": header.header_digest,
        }));
        output.line(&say(
            format!("已再次生成 {}，与原加密标书逐字节相同", self.output.display()),
            format!("made {} again, byte for byte", self.output.display()),
        ));
        Ok(())
    }
}

/// A project saved by `kaibiao-bid project -o`.
fn read_project(path: &Path) -> Result<ProjectView, Box<dyn Explain>> {
    let unusable = |why: String| {
        Problem::new(
            "project_file_unusable",
            say(
                format!("项目信息文件 {} 无法使用：{why}", path.display()),
                format!("{}: {why}", path.display()),
            ),
            say("请用 kaibiao-bid project -o 重新保存", "save it again with `kaibiao-bid project -o`"),
        )
    };
    let text = fs::read(path).map_err(|fault| unusable(fault.to_string()))?;
    Ok(serde_json::from_slice(&text).map_err(|fault| unusable(fault.to_string()))?)
}
