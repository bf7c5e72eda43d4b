//! `kaibiao evaluate`: a case evaluated without a server, as anybody may check it.

use std::{
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use clap::Args;
use kaibiao_bidder::report::table::table;
use kaibiao_engine::evaluation::{CaseFault, WithSensitivity, evaluate};
use kaibiao_protocol::evaluation::{
    BidResult, BrandStanding, Case, DeductionKind, Evaluation, RoundingPoint, Standing, VariantKind,
};

use crate::outcome::{Failure, Outcome, result};

/// The largest case that is read: ten thousand bids by nine experts are about 60 MB.
const CASE_BYTES_MAX: u64 = 256 << 20;

/// Arguments of `kaibiao evaluate`.
#[derive(Args)]
#[command(
    after_help = "A case is specified in docs/formats/case.md, with worked examples in docs/formats/cases/.

Example:
  kaibiao evaluate docs/formats/cases/1-scoring.json"
)]
pub(crate) struct Evaluate {
    /// The case (JSON).
    case: PathBuf,
    /// Leave out what would change the winner.
    #[arg(long)]
    without_sensitivity: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &Evaluate, json: bool) -> Outcome {
    let path = &arguments.case;
    let case: Case = serde_json::from_str(&read(path)?)
        .map_err(|fault| Failure::of(&format!("understand {}", path.display()), fault))?;
    let sensitivity = if arguments.without_sensitivity { WithSensitivity::No } else { WithSensitivity::Yes };
    let evaluation = evaluate(&case, sensitivity).map_err(|faults| told(path, &faults))?;
    result(json, &evaluation, shown(&case, &evaluation).trim_end())
}

fn read(path: &Path) -> Result<String, Failure> {
    let fault = |why: &dyn std::fmt::Display| Failure::of(&format!("read {}", path.display()), why);
    let file = File::open(path).map_err(|why| fault(&why))?;
    let mut text = String::new();
    let bytes = file.take(CASE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|why| fault(&why))?;
    if bytes as u64 > CASE_BYTES_MAX {
        return Err(fault(&"a case is at most 256 MiB"));
    }
    Ok(text)
}

/// Every fault of a case, with its place.
fn told(path: &Path, faults: &[CaseFault]) -> Failure {
    let mut text = format!("failed to evaluate {}: {} fault(s) in the case", path.display(), faults.len());
    for CaseFault { at, say } in faults {
        // Writing into a string does not fail.
        let _ = write!(text, "\n  {at}: {} / {}", say.zh, say.en);
    }
    Failure::Failed(text)
}

fn shown(case: &Case, evaluation: &Evaluation) -> String {
    let mut text = String::new();
    text += &ranking(evaluation);
    for bid in &evaluation.bids {
        text += &explained(bid);
    }
    text += &conclusion(evaluation);
    for warning in &evaluation.warnings {
        let whose = [&warning.bid, &warning.expert, &warning.criterion];
        let whose: Vec<&str> = whose.into_iter().flatten().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "! {} {} / {} [{}]",
            whose.join(" "),
            warning.say.zh,
            warning.say.en,
            warning.rule
        );
    }
    if let Some(sensitivity) = &evaluation.sensitivity {
        let _ = writeln!(
            text,
            "敏感性:试过 {} 种,中标人因其中 {} 种改变 / sensitivity: {} ways tried, {} change the winner",
            sensitivity.tried,
            sensitivity.changes.len(),
            sensitivity.tried,
            sensitivity.changes.len(),
        );
        for change in &sensitivity.changes {
            let winners = if change.winners.is_empty() {
                "废标 / failed".to_owned()
            } else {
                change.winners.join(" = ")
            };
            let _ = writeln!(text, "  {} -> {winners}", variant(&change.variant));
        }
    }
    let _ = writeln!(text, "{} {:?}", evaluation.rule_pack, case.method);
    text
}

fn ranking(evaluation: &Evaluation) -> String {
    let titles = ["名次", "投标", "供应商", "报价", "评审价", "价格分", "总分", ""].map(str::to_owned);
    let mut bids: Vec<&BidResult> = evaluation.bids.iter().collect();
    bids.sort_by_key(|bid| bid.rank.unwrap_or(u32::MAX));
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "—".to_owned());
    let row = |bid: &BidResult| {
        let note = match (&bid.excluded, bid.brand) {
            (Some(excluded), _) => format!("{} [{}]", excluded.say.zh, excluded.rule),
            (None, Some(BrandStanding::SecondToAnother)) => "同品牌另有推荐".to_owned(),
            (None, Some(BrandStanding::Tied)) => "同品牌待抽取".to_owned(),
            (None, Some(BrandStanding::Stands) | None) => String::new(),
        };
        vec![
            or_dash(bid.rank.map(|rank| rank.to_string())),
            bid.id.clone(),
            bid.supplier.clone(),
            bid.price.to_string(),
            or_dash(bid.price_for_scoring.map(|price| price.to_string())),
            or_dash(bid.price_score.map(|score| score.to_string())),
            or_dash(bid.total.map(|total| total.to_string())),
            note,
        ]
    };
    let rows: Vec<Vec<String>> = bids.into_iter().map(row).collect();
    table(&titles, &rows)
}

/// How a bid came to its price and points, where there is something to explain.
fn explained(bid: &BidResult) -> String {
    let mut text = String::new();
    for repair in &bid.repairs {
        let _ = writeln!(text, "  {}: {} / {} [{}]", bid.id, repair.say.zh, repair.say.en, repair.rule);
    }
    for deduction in &bid.deductions {
        let _ = writeln!(
            text,
            "  {}: {} {} % -> {}",
            bid.id,
            deduction_name(deduction.kind),
            deduction.percent,
            deduction.left
        );
    }
    if !bid.criteria.is_empty() {
        let averages = bid.criteria.iter().map(|average| format!("{} {}", average.id, average.score));
        let _ = writeln!(text, "  {}: {}", bid.id, averages.collect::<Vec<_>>().join(", "));
    }
    text
}

fn conclusion(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    match &evaluation.standing {
        Standing::Ranked => {
            let candidates = evaluation.candidates.iter().map(|one| format!("{}. {}", one.place, one.bid));
            let _ = writeln!(text, "中标候选人 / candidates: {}", candidates.collect::<Vec<_>>().join("  "));
        }
        Standing::Failed { rule, say, .. } => {
            let _ = writeln!(text, "{} / {} [{rule}]", say.zh, say.en);
        }
    }
    for ticket in &evaluation.draw {
        let _ = writeln!(text, "  抽取 / draw ({}): {} {}", ticket.about, ticket.bid, ticket.ticket);
    }
    text
}

fn deduction_name(kind: DeductionKind) -> &'static str {
    match kind {
        DeductionKind::SmallFirm => "小微企业 / small firm",
        DeductionKind::Consortium => "联合体或分包 / consortium",
        DeductionKind::DomesticProduct => "本国产品 / domestic product",
    }
}

fn variant(variant: &VariantKind) -> String {
    match variant {
        VariantKind::Rounding { rounding } => {
            let at = match rounding.at {
                RoundingPoint::PriceScore => "价格分 / price score",
                RoundingPoint::WeightedPriceScore => "加权价格分 / weighted price score",
                RoundingPoint::EachCriterion => "各项 / each criterion",
                RoundingPoint::Total => "总分 / total",
                RoundingPoint::Never => return "不取整 / no rounding".to_owned(),
            };
            format!("取整于 {at}, {} 位 / decimals", rounding.decimals)
        }
        VariantKind::WithoutExpert { expert } => format!("去掉评委 / without expert {expert}"),
        VariantKind::DeductionRate { kind, percent } => format!("{} {percent} %", deduction_name(*kind)),
        VariantKind::BidVoid { bid } => format!("无效 / void: {bid}"),
    }
}
