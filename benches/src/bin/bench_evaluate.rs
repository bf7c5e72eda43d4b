//! How long the evaluation of a large lot takes: from the text of a case to its result, with and without what would
//! change the winner.
//!
//! `bench_evaluate [--json] [--bids N] [--experts N] [--criteria N]`

use std::{path::Path, process::ExitCode, time::Instant};

use clap::Parser;
use kaibiao_benches::{Machine, Report, Wanted};
use kaibiao_engine::evaluation::{WithSensitivity, evaluate};
use kaibiao_protocol::evaluation::{Case, Evaluation};
use kaibiao_sealed::digest::sha256;
use serde_json::json;

/// A thousand bids and nine experts without sensitivity, in milliseconds.
const ALONE_MS_MAX: f64 = 50.0;
/// The same with it, in seconds.
const SENSITIVITY_S_MAX: f64 = 5.0;
const TURNS: u32 = 9;

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many bids.
    #[arg(long, default_value_t = 1_000)]
    bids: usize,
    /// How many experts.
    #[arg(long, default_value_t = 9)]
    experts: usize,
    /// How many criteria beside the price.
    #[arg(long, default_value_t = 15)]
    criteria: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let text = case(&options).to_string();
    let read = || serde_json::from_str::<Case>(&text).expect("the case is in order");
    let evaluated = |case: &Case, with| evaluate(case, with).expect("the case is in order");

    let case = read();
    let mut reading = Vec::new();
    let mut alone = Vec::new();
    for _ in 0..TURNS {
        let started = Instant::now();
        let case = read();
        reading.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        evaluated(&case, WithSensitivity::No);
        alone.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let started = Instant::now();
    let whole: Evaluation = evaluated(&case, WithSensitivity::Yes);
    let with_sensitivity = started.elapsed().as_secs_f64();

    let mut report = Report::new("evaluate", Machine::look(Path::new(".")));
    report.fact("bids", options.bids);
    report.fact("experts", options.experts);
    report.fact("criteria", options.criteria);
    report.fact("case bytes", text.len());
    report.fact("ways tried", whole.sensitivity.as_ref().map_or(0, |found| found.tried));
    let result = serde_json::to_vec(&whole).expect("a result serialises");
    report.fact("digest of the result", sha256(&result));
    report.measured("reading the case, median", median(&mut reading), "ms");
    report.figure("evaluation, median", median(&mut alone), "ms", Wanted::AtMost(ALONE_MS_MAX));
    report.figure("with sensitivity", with_sensitivity, "s", Wanted::AtMost(SENSITIVITY_S_MAX));
    match report.print(options.json) {
        Ok(()) if report.reached() => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// A case of numbers that look drawn and are always the same.
fn case(options: &Options) -> serde_json::Value {
    let mut state = 20_261_125_u64;
    let mut draw = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let weight = 7_000 / options.criteria.max(1) as u64;
    let price_weight = 10_000 - weight * options.criteria as u64;
    let percent = |hundredths: u64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
    let mut criteria =
        vec![json!({"id": "price", "kind": "price", "maximum": "100", "weight": percent(price_weight)})];
    for nth in 0..options.criteria {
        let kind = if nth % 3 == 0 { "objective" } else { "subjective" };
        criteria.push(
            json!({"id": format!("c{nth}"), "kind": kind, "maximum": "100", "weight": percent(weight)}),
        );
    }
    let bids: Vec<_> = (0..options.bids)
        .map(|nth| {
            let price = percent(80_000_000 + draw(40_000_000));
            json!({"id": format!("B{nth}"), "supplier": format!("第{nth}公司"), "sheet": {"price": price}, "small_firm": nth % 3 == 0})
        })
        .collect();
    let experts: Vec<String> = (0..options.experts).map(|nth| format!("E{nth}")).collect();
    let mut scores = serde_json::Map::new();
    for expert in &experts {
        let mut sheet = serde_json::Map::new();
        for bid in 0..options.bids {
            let row = (0..options.criteria).map(|nth| {
                let points = if nth % 3 == 0 { bid as u64 * 7 % 101 } else { 50 + draw(51) };
                (format!("c{nth}"), json!(points.to_string()))
            });
            sheet.insert(format!("B{bid}"), row.collect());
        }
        scores.insert(expert.clone(), sheet.into());
    }
    json!({
        "case": 1, "rule_pack": "GP/1", "kind": "goods", "method": "comprehensive_scoring", "criteria": criteria,
        "deductions": [{"kind": "small_firm", "percent": "10.00"}], "experts": experts, "bids": bids, "scores": scores,
    })
}
