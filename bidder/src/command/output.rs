//! What the command line prints: words for people in Chinese and English, or JSON lines for programs.

use std::{
    env,
    io::{self, IsTerminal as _, Write},
    process::ExitCode,
};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kaibiao_protocol::refusal::Say;
use serde::Serialize;
use serde_json::json;

use crate::report::{Explain, Problem};

/// Exit code of a command that was refused or failed.
pub const REFUSED: u8 = 1;
/// Exit code of a command that was not understood.
pub const MISUSED: u8 = 2;

/// In which language people are spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Lang {
    /// 中文
    Zh,
    /// English
    En,
    /// 中文，then English
    Both,
}

impl Lang {
    /// As the environment asks: Chinese or English where LC_ALL, LC_MESSAGES or LANG names it, else both.
    pub fn of_environment() -> Self {
        let named = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
        match named.as_deref() {
            Some(name) if name.starts_with("zh") => Lang::Zh,
            Some(name) if name.starts_with("en") => Lang::En,
            _ => Lang::Both,
        }
    }
}

/// Where and how a command prints.
pub struct Output<'a> {
    lang: Lang,
    json: bool,
    out: &'a mut (dyn Write + Send),
    err: &'a mut (dyn Write + Send),
    /// Whether bars may be drawn on the terminal.
    bars: bool,
}

impl<'a> Output<'a> {
    /// Prints results to `out` and notes to `err`.
    pub fn new(
        lang: Lang,
        json: bool,
        out: &'a mut (dyn Write + Send),
        err: &'a mut (dyn Write + Send),
    ) -> Self {
        Self { lang, json, out, err, bars: !json && io::stderr().is_terminal() }
    }

    /// Whether a program reads.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// The words in the language asked for; both are joined by `between`.
    pub fn words(&self, say: &Say, between: &str) -> String {
        match self.lang {
            Lang::Zh => say.zh.clone(),
            Lang::En => say.en.clone(),
            Lang::Both if say.zh == say.en => say.zh.clone(),
            Lang::Both => format!("{}{between}{}", say.zh, say.en),
        }
    }

    /// A line of the result.
    pub fn line(&mut self, say: &Say) {
        if !self.json {
            let words = self.words(say, "\n  ");
            self.text(&words);
        }
    }

    /// A label with a value, in one line.
    pub fn fact(&mut self, label: &Say, value: impl std::fmt::Display) {
        if !self.json {
            let label = self.words(label, " ");
            self.text(&format!("{label}: {value}"));
        }
    }

    /// Text of the result that has no language, such as a table.
    pub fn text(&mut self, text: &str) {
        if !self.json {
            // A reader that went away (`| head`) wants no more; the work itself goes on.
            let _ = writeln!(self.out, "{}", text.trim_end());
        }
    }

    /// A note beside the result: what goes on, what to know.
    pub fn note(&mut self, say: &Say) {
        if !self.json {
            let words = self.words(say, "\n  ");
            let _ = writeln!(self.err, "{words}");
        }
    }

    /// Something that happened, for programs: `{"event": …}`.
    pub fn event(&mut self, event: &impl Serialize) {
        if self.json {
            self.print_json(&json!({ "event": event }));
        }
    }

    /// The result, for programs: `{"ok": …}`.
    pub fn ok(&mut self, result: &impl Serialize) {
        if self.json {
            self.print_json(&json!({ "ok": result }));
        }
    }

    /// A warning: told to people, and to programs as `{"warning": …}`.
    pub fn warning(&mut self, problem: &Problem) {
        if self.json {
            self.print_json(&json!({ "warning": problem }));
        } else {
            let words = self.words(&problem.say, "\n  ");
            let _ = writeln!(self.err, "! {words}");
            self.next_step(problem);
        }
    }

    /// What was refused or failed; gives the exit code.
    pub fn refused(&mut self, fault: &dyn Explain) -> ExitCode {
        let problems = fault.problems();
        if self.json {
            self.print_json(&json!({ "refused": problems }));
            return ExitCode::from(REFUSED);
        }
        for problem in &problems {
            let place = problem.at.as_ref().map(|at| format!("{at}: ")).unwrap_or_default();
            let rule = problem.rule.as_ref().map(|rule| format!(" [{rule}]")).unwrap_or_default();
            let words = self.words(&problem.say, "\n  ");
            let _ = writeln!(self.err, "✗ {place}{words}{rule} ({})", problem.code);
            self.next_step(problem);
        }
        ExitCode::from(REFUSED)
    }

    fn next_step(&mut self, problem: &Problem) {
        if let Some(next) = &problem.next {
            let words = self.words(next, "\n  ");
            let _ = writeln!(self.err, "→ {words}");
        }
    }

    fn print_json(&mut self, value: &serde_json::Value) {
        let _ = writeln!(self.out, "{value}");
        let _ = self.out.flush();
    }

    /// A progress bar for bytes, drawn on the terminal if a person looks at it.
    pub fn bar(&self, label: &Say, total: u64) -> ProgressBar {
        let target = if self.bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = "{msg} {bar:32} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
        bar.set_message(self.words(label, " "));
        bar
    }
}
