//! How outcomes and faults are told: to people in Chinese and English with a next step, to programs by a code.

pub mod room;
pub mod table;

use kaibiao_protocol::refusal::{Refusal, Say};
use kaibiao_sealed::package::PackageFault;
use serde::Serialize;

use crate::token::{NotASelector, PinFault, TokenFault, VendorsFault};

/// The same words in Chinese and English.
pub fn say(zh: impl Into<String>, en: impl Into<String>) -> Say {
    Say { zh: zh.into(), en: en.into() }
}

/// One thing that is wrong, as people and programs are told it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// Its name for programs; never changes once published. A refusal's code, where the server refused.
    pub code: String,
    /// The rule a refusal rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What is wrong.
    pub say: Say,
    /// What to do about it; a refusal's words hold it already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Say>,
    /// The file, field or place it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Problem {
    /// A problem with its next step.
    pub fn new(code: &str, what: Say, next: Say) -> Self {
        Self { code: code.to_owned(), rule: None, say: what, next: Some(next), at: None }
    }

    /// The problem at this file, field or place.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.at = Some(place.into());
        self
    }

    /// What the server refused.
    pub fn of_refusal(refusal: &Refusal) -> Self {
        Self {
            code: refusal.code.as_str().to_owned(),
            rule: Some(refusal.rule.clone()),
            say: refusal.say.clone(),
            next: None,
            at: None,
        }
    }
}

/// A fault that can be told to people and programs.
pub trait Explain {
    /// The first or only problem.
    fn problem(&self) -> Problem;

    /// Every problem; several where a check names all faults at once.
    fn problems(&self) -> Vec<Problem> {
        vec![self.problem()]
    }
}

impl Explain for Problem {
    fn problem(&self) -> Problem {
        self.clone()
    }
}

impl Explain for TokenFault {
    fn problem(&self) -> Problem {
        let (en, zh) = self.next_step();
        Problem::new(self.code(), say(self.say_zh(), self.to_string()), say(zh, en))
    }
}

impl Explain for PinFault {
    fn problem(&self) -> Problem {
        let (code, zh) = match self {
            PinFault::NoTerminal => ("pin_no_terminal", "没有提供 PIN 码，也没有可供输入的终端".to_owned()),
            PinFault::Cancelled => ("pin_cancelled", "未输入 PIN 码".to_owned()),
            PinFault::Empty(from) => ("pin_empty", format!("从 {from} 读到的 PIN 码为空")),
            PinFault::TooLong(from) => ("pin_too_long", format!("从 {from} 读到的 PIN 码过长")),
            PinFault::Unreadable { from, source } => {
                ("pin_unreadable", format!("无法从 {from} 读取 PIN 码：{source}"))
            }
        };
        Problem::new(
            code,
            say(zh, self.to_string()),
            say(
                "请在终端输入，或用 --pin-file、--pin-stdin 提供；未消耗任何次数",
                "type it at the terminal, or give --pin-file or --pin-stdin; no try was used up",
            ),
        )
    }
}

impl Explain for VendorsFault {
    fn problem(&self) -> Problem {
        Problem::new(
            "vendors_file_unusable",
            say(format!("CA 厂商配置不可用：{self}"), self.to_string()),
            say("请按 docs/tokens.md 修正", "correct it as docs/tokens.md says"),
        )
    }
}

impl Explain for NotASelector {
    fn problem(&self) -> Problem {
        Problem::new(
            "token_selector_malformed",
            say(format!("CA 锁的选择写法有误：{self}"), self.to_string()),
            say(
                "例如 huixin:label=KX01;kaibiao-bid tokens 可列出现有的锁",
                "for example huixin:label=KX01; `kaibiao-bid tokens` lists those plugged in",
            ),
        )
    }
}

/// What is wrong with a bid package.
pub fn package_problem(fault: &PackageFault) -> Problem {
    let code = format!("package_{}", fault.code());
    let (zh, next) = match fault {
        PackageFault::File { path, source } => (
            format!("无法读写 {}：{source}", path.display()),
            say("请检查路径、权限和磁盘空间", "check the path, its rights and the disk's room"),
        ),
        PackageFault::Document { path, why } => (
            format!("{} 不能打包：{why}", path.display()),
            say("请检查该文件后重试", "check the file and try again"),
        ),
        PackageFault::Io(source) => (
            format!("标书包读写失败：{source}"),
            say("请检查磁盘空间与文件是否完整", "check the disk's room and that the file is whole"),
        ),
        PackageFault::NotAZip => (
            "该文件不是标书包（.bfbs）".to_owned(),
            say(
                "请选择由 kaibiao-bid pack 生成的 .bfbs 文件",
                "choose a .bfbs file made by `kaibiao-bid pack`",
            ),
        ),
        other => (
            format!("标书包不合格式：{other}"),
            say("请改用完好的副本，或重新打包", "use a whole copy, or pack it again"),
        ),
    };
    Problem::new(&code, say(zh, fault.to_string()), next)
}
