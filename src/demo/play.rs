//! The acts of the demo, one after the other.

mod hand_in;
mod opening;
mod set_up;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use kaibiao_bidder::{
    clock::now,
    practice::{PracticeToken, server::ServerProcess},
};
use serde_json::{Map, Value, json};

use super::{
    Demo,
    cast::{self, Part, Supplier},
    folder::Folder,
    papers::write_json,
    programs::Programs,
};
use crate::outcome::{Failure, Outcome, result, say};

/// The demo's project.
const PROJECT: &str = "YL-2026-001";
/// Programs run at once before the deadline; unsealing is not limited.
const PROGRAMS_AT_ONCE: usize = 4;

/// Everything the acts share.
struct Stage<'a> {
    demo: &'a Demo,
    folder: &'a Folder,
    programs: Programs,
    suppliers: Vec<Supplier>,
    quiet: bool,
}

/// A supplier's token and, for the one who brings it, the wrong one.
struct Desk {
    token: PracticeToken,
    other: Option<PracticeToken>,
}

/// What came of the opening.
struct Opened {
    /// For the summary.
    summary: Value,
    /// The records as the agent's terminal shows them.
    tables: String,
    /// What was verified offline, in words.
    verified: String,
}

/// Seconds of each phase, in the order in which they were played.
#[derive(Default)]
struct Phases(Vec<(&'static str, f64)>);

impl Phases {
    fn note(&mut self, name: &'static str, began: Instant) {
        self.0.push((name, (began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0));
    }

    fn value(&self) -> Value {
        self.0
            .iter()
            .map(|(name, seconds)| ((*name).to_owned(), json!(seconds)))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// Plays it all.
pub(super) async fn play(demo: &Demo, folder: &Folder, json: bool) -> Outcome {
    let stage = Stage {
        demo,
        folder,
        programs: Programs::find()?,
        suppliers: cast::suppliers(demo.suppliers),
        quiet: json,
    };
    let began = Instant::now();
    let mut phases = Phases::default();
    stage.tell("开标演示(演练项目,不具法律效力)/ a demo opening; its project is an exercise");

    let act = Instant::now();
    let desks = stage.make_tokens().await?;
    phases.note("tokens", act);
    let act = Instant::now();
    stage.make_packages().await?;
    phases.note("packages", act);
    let act = Instant::now();
    let server = stage.programs.serve(&folder.path("server"), &folder.path("server.log")).await?;
    let played = stage.with_server(&server, &desks, &mut phases, act).await;
    // The server is stopped in good order whatever happened, so that its log is whole.
    let stopped = server.stop().await;
    let outcome = played?;
    stopped.map_err(|fault| Failure::Failed(fault.to_string()))?;
    stage.finish(&outcome, &phases, began, json)
}

impl Stage<'_> {
    async fn with_server(
        &self,
        server: &ServerProcess,
        desks: &BTreeMap<u32, Desk>,
        phases: &mut Phases,
        began: Instant,
    ) -> Result<Opened, Failure> {
        self.tell(&format!("服务器 {} / the server listens", server.url));
        self.set_up_people(desks).await?;
        let deadline = self.create_project().await?;
        phases.note("set_up", began);
        let act = Instant::now();
        self.hand_in(server, desks).await?;
        phases.note("hand_in", act);
        if now() >= deadline {
            return Err(Failure::Failed(
                "failed to hand everything in before the deadline: this machine is slower than the demo reckoned \
                 with; try fewer suppliers or smaller bids"
                    .to_owned(),
            ));
        }
        let act = Instant::now();
        self.await_deadline(deadline).await;
        phases.note("await_deadline", act);
        self.open(server, desks, phases).await
    }

    /// Prints the records and leaves the summary.
    fn finish(&self, opened: &Opened, phases: &Phases, began: Instant, json: bool) -> Outcome {
        let mut summary = opened.summary.clone();
        summary["project"] = json!(PROJECT);
        summary["exercise"] = json!(true);
        summary["suppliers"] = json!(self.suppliers.len());
        summary["lots"] = json!(self.demo.lots);
        summary["bid_mb"] = json!(self.demo.bid_mb);
        summary["seconds"] = json!((began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
        summary["seconds_by_phase"] = phases.value();
        write_json(&self.folder.path("summary.json"), &summary)?;
        let tables = self.folder.path("records.txt");
        std::fs::write(&tables, format!("{}\n", opened.tables))
            .map_err(|fault| Failure::of(&format!("write {}", tables.display()), fault))?;
        let text = format!(
            "{}\n已开启 {},失败 {};各供应商:{}\n已离线核验 {} / verified offline\n全部文件在 {}:records.txt、record-lot-N.json、receipts/、bids/、tokens/、server.log、summary.json\n\
             Everything lies in {}. Look at the records: less records.txt; check one offline: \
             kaibiao verify record opening-record.json --platform-key project.json",
            opened.tables,
            summary["opened"],
            summary["failed_by_cause"],
            self.parts(),
            opened.verified,
            self.folder.root().display(),
            self.folder.root().display(),
        );
        result(json, &summary, &text)
    }

    fn parts(&self) -> String {
        let odd = self.suppliers.iter().filter(|one| one.part != Part::Honest);
        odd.map(|one| format!("{} {}", one.name, one.part.words())).collect::<Vec<_>>().join(";")
    }

    fn tell(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// A bar on standard error; hidden where a program reads or nobody looks.
    fn bar(&self, what: &str, length: u64) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg:28} {bar:32} {pos:>3}/{len:<3} {elapsed}")
            .expect("the template is well-formed");
        ProgressBar::new(length).with_style(style).with_message(what.to_owned())
    }

    /// Ends a bar; where there is no terminal the line itself is told.
    fn end(&self, bar: &ProgressBar, what: &str, began: Instant) {
        let hidden = bar.is_hidden();
        bar.finish();
        if hidden {
            self.tell(&format!("{what}: {:.1} s", began.elapsed().as_secs_f64()));
        }
    }

    /// Runs `kaibiao admin ARGUMENTS`.
    async fn admin<const N: usize>(&self, arguments: [&str; N]) -> Result<Value, Failure> {
        let data = self.folder.path("server").display().to_string();
        self.programs.kaibiao_done(["admin", "--data", &data].into_iter().chain(arguments)).await
    }
}

/// How long everything before the deadline may take here; generous, for a late bid is lost.
fn lead(suppliers: u32, bid_mb: u32) -> Duration {
    let base = Duration::from_secs(20) + Duration::from_millis(700) * suppliers;
    let bytes = Duration::from_millis(25) * bid_mb * suppliers;
    // Unoptimised builds are for tests; they take their time.
    (base + bytes) * if cfg!(debug_assertions) { 2 } else { 1 }
}
