//! The command line `kaibiao-bid`.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 misuse. `--json` prints one JSON object a line: `{"event": …}` while
//! something goes on, `{"warning": …}`, and at the end `{"ok": …}` or `{"refused": [{code, say: {zh, en}, …}]}`.

mod hand_in;
mod look;
mod made;
mod output;
mod room;
pub mod session;
mod teller;
mod telling;
pub mod token;
mod unseal;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand, error::ErrorKind};

pub use self::{
    output::{Lang, MISUSED, Output, REFUSED},
    session::{AccountArgs, ServerArgs, SessionFault},
    token::{ChoiceFault, ChosenToken, TokenArgs},
};
use crate::{
    report::{Explain, Problem, say},
    token::{keep_out_of_dumps, pkcs11::close_all},
};

/// 投标客户端：打包、加密、递交、解密、确认。 The bid client: pack, seal, hand in, unseal, confirm.
#[derive(Parser, Debug)]
#[command(
    name = "kaibiao-bid",
    version,
    max_term_width = 110,
    after_help = "退出码 / Exit codes: 0 完成 done, 1 被拒或失败 refused or failed, 2 用法有误 misuse.\n\
                  每个命令均有示例 / every command has examples: kaibiao-bid COMMAND --help"
)]
struct Cli {
    /// 只输出 JSON，每行一个对象 / print JSON for programs, one object a line
    #[arg(long, global = true)]
    json: bool,
    /// 语言 / language; default: by LANG, else both
    #[arg(long, global = true, value_enum)]
    lang: Option<Lang>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Pack(made::Pack),
    Seal(made::Seal),
    Reseal(made::Reseal),
    Inspect(look::Inspect),
    Open(look::Open),
    VerifyReceipt(look::VerifyReceipt),
    Tokens(look::Tokens),
    SignIn(hand_in::SignIn),
    SignOut(hand_in::SignOut),
    Projects(hand_in::Projects),
    Project(hand_in::Project),
    Submit(hand_in::Submit),
    Receipt(hand_in::Receipt),
    Withdraw(hand_in::Withdraw),
    Unseal(unseal::Unseal),
    Watch(room::Watch),
    Record(room::Record),
    Confirm(room::Confirm),
    Object(room::Object),
    Recuse(room::Recuse),
}

/// What a command comes to: done, or why not.
type Outcome = Result<(), Box<dyn Explain>>;

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    if let Err(fault) = keep_out_of_dumps() {
        let _ = writeln!(io::stderr(), "cannot keep secrets out of core dumps: {fault}");
        return ExitCode::from(REFUSED);
    }
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let code = run(std::env::args_os(), &mut out, &mut err);
    // A connection left behind may still hold a token.
    close_all();
    code
}

/// Runs one command line; the first argument is the program's name.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(fault) => return misused(&fault, out, err),
    };
    let mut output = Output::new(cli.lang.unwrap_or_else(Lang::of_environment), cli.json, out, err);
    match cli.command.run(&mut output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => output.refused(fault.as_ref()),
    }
}

fn misused(fault: &clap::Error, out: &mut (dyn Write + Send), err: &mut (dyn Write + Send)) -> ExitCode {
    let asked_for = matches!(fault.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let text = fault.render();
    if asked_for {
        let _ = write!(out, "{text}");
        ExitCode::SUCCESS
    } else {
        let _ = write!(err, "{text}");
        ExitCode::from(MISUSED)
    }
}

impl Command {
    fn run(self, output: &mut Output<'_>) -> Outcome {
        match self {
            Command::Pack(command) => command.run(output),
            Command::Seal(command) => command.run(output),
            Command::Reseal(command) => command.run(output),
            Command::Inspect(command) => command.run(output),
            Command::Open(command) => command.run(output),
            Command::VerifyReceipt(command) => command.run(output),
            Command::Tokens(command) => command.run(output),
            Command::SignIn(command) => online(command.run(output)),
            Command::SignOut(command) => online(command.run(output)),
            Command::Projects(command) => online(command.run(output)),
            Command::Project(command) => online(command.run(output)),
            Command::Submit(command) => online(command.run(output)),
            Command::Receipt(command) => online(command.run(output)),
            Command::Withdraw(command) => online(command.run(output)),
            Command::Unseal(command) => online(command.run(output)),
            Command::Watch(command) => online(command.run(output)),
            Command::Record(command) => online(command.run(output)),
            Command::Confirm(command) => online(command.run(output)),
            Command::Object(command) => online(command.run(output)),
            Command::Recuse(command) => online(command.run(output)),
        }
    }
}

/// Runs what talks to a server on a runtime of its own.
fn online(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(work);
            // A token call that hangs must not keep the process.
            runtime.shutdown_background();
            outcome
        }
        Err(fault) => Err(Box::new(Problem::new(
            "system",
            say(format!("系统资源不足：{fault}"), format!("the system gives no threads: {fault}")),
            say("请关闭其他程序后重试", "close other programs and try again"),
        ))),
    }
}

/// Boxes a fault, so that commands may use `?` on any of them.
impl<T: Explain + 'static> From<T> for Box<dyn Explain> {
    fn from(fault: T) -> Self {
        Box::new(fault)
    }
}
