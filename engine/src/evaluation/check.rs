//! What a case must be before anything is computed: all faults at once, each with its place.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    evaluation::{Case, CaseBid, Criterion, Decimal, EvaluationMethod, SCALE, ScoreKind, TieRule},
    money::PriceKind,
    refusal::Say,
};

use super::{
    brands, exclusions,
    leaves::{Leaf, Leaves},
    pack_of,
    prices::repaired,
};
use crate::rules::RulePack;

/// The most bids a case may have.
pub const BIDS_MAX: usize = 10_000;
/// The most experts.
pub const EXPERTS_MAX: usize = 200;
/// The most criteria, groups among them.
pub const CRITERIA_MAX: usize = 500;
/// How deep groups may lie in groups.
pub const DEPTH_MAX: usize = 8;
/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// The most lines of a bid's price list.
pub const ITEMS_MAX: usize = 10_000;

/// One thing wrong with a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaseFault {
    /// Where, as a path: `bids[2].sheet.price`.
    pub at: String,
    /// What is wrong and what is asked for.
    pub say: Say,
}

/// The pack of a case in which nothing is wrong.
///
/// # Errors
/// Everything that is.
pub(super) fn check(case: &Case) -> Result<RulePack, Vec<CaseFault>> {
    let mut faults = Faults::default();
    faults.unless(case.case == 1, "case", "只认识版本 1", "only version 1 is known");
    let pack = pack_of(case);
    faults.unless(pack.is_some(), "rule_pack", "没有这个规则包", "there is no such rule pack: GP/1 or CTB/1");
    check_settings(case, &mut faults);
    check_criteria(case, &mut faults);
    check_bids(case, pack.unwrap_or_default(), &mut faults);
    if faults.0.is_empty() {
        // What is asked of scores depends on who is scored, which the rest must be in order for.
        check_scores(case, pack.unwrap_or_default(), &mut faults);
    }
    match pack {
        Some(pack) if faults.0.is_empty() => Ok(pack),
        _ => Err(faults.0),
    }
}

/// How many faults are told at once.
const FAULTS_MAX: usize = 100;

#[derive(Default)]
struct Faults(Vec<CaseFault>);

impl Faults {
    fn unless(&mut self, fits: bool, at: &str, zh: &str, en: &str) {
        if !fits && self.0.len() < FAULTS_MAX {
            let say = Say { zh: zh.to_owned(), en: en.to_owned() };
            self.0.push(CaseFault { at: at.to_owned(), say });
        }
    }

    fn name(&mut self, name: &str, at: &str) {
        let fits = !name.trim().is_empty()
            && name.chars().count() <= NAME_CHARS_MAX
            && !name.chars().any(char::is_control);
        self.unless(
            fits,
            at,
            "名称不能为空，最多 200 字，不含控制字符",
            "a name is 1 to 200 characters without control characters",
        );
    }

    fn names<'n>(&mut self, names: impl Iterator<Item = &'n str>, at: impl Fn(usize) -> String) {
        let mut seen = BTreeSet::new();
        for (nth, name) in names.enumerate() {
            self.name(name, &at(nth));
            self.unless(seen.insert(name), &at(nth), "名称重复", "this name stands twice");
        }
    }
}

fn check_settings(case: &Case, faults: &mut Faults) {
    faults.unless(case.rounding.decimals <= 4, "rounding.decimals", "小数位为 0 至 4", "0 to 4 decimals");
    let mut kinds = BTreeSet::new();
    for (nth, deduction) in case.deductions.iter().enumerate() {
        let at = format!("deductions[{nth}]");
        faults.unless(kinds.insert(deduction.kind), &at, "同一扣除重复", "this deduction stands twice");
        faults.unless(
            deduction.percent.get() < 10_000,
            &format!("{at}.percent"),
            "扣除比例须小于 100%",
            "a deduction is less than 100 %",
        );
    }
    faults.unless(
        (1..=100).contains(&case.candidates_max),
        "candidates_max",
        "候选人数为 1 至 100",
        "1 to 100 candidates",
    );
    for (at, amount) in [("budget", case.budget), ("ceiling", case.ceiling)] {
        let fits = amount.is_none_or(|amount| amount.get() > 0);
        faults.unless(fits, at, "金额须大于零", "an amount above nought");
    }
    faults.unless(case.experts.len() <= EXPERTS_MAX, "experts", "评委过多", "at most 200 experts");
    faults.names(case.experts.iter().map(String::as_str), |nth| format!("experts[{nth}]"));
}

fn check_criteria(case: &Case, faults: &mut Faults) {
    match case.method {
        EvaluationMethod::LowestEvaluatedPrice => {
            let none = case.criteria.is_empty() && case.scores.is_empty();
            faults.unless(
                none,
                "criteria",
                "最低评标价法没有评分标准和评分",
                "lowest evaluated price has no criteria and no scores",
            );
            let no_criterion = !case.ties.iter().any(|rule| matches!(rule, TieRule::HigherCriterion { .. }));
            faults.unless(no_criterion, "ties", "最低评标价法没有评分标准", "there is no criterion to go by");
            return;
        }
        EvaluationMethod::ComprehensiveScoring => {}
    }
    let mut tree = Tree { ids: BTreeSet::new(), prices: 0, faults };
    let mut points = 0;
    for (nth, criterion) in case.criteria.iter().enumerate() {
        points += tree.check(criterion, &format!("criteria[{nth}]"), 0);
    }
    let Tree { ids, prices, .. } = tree;
    faults.unless(ids.len() <= CRITERIA_MAX, "criteria", "评分标准过多", "at most 500 criteria");
    faults.unless(
        prices == 1,
        "criteria",
        "综合评分法须有且只有一项价格分",
        "comprehensive scoring has exactly one price criterion",
    );
    check_weights(case, points, faults);
    for (nth, rule) in case.ties.iter().enumerate() {
        if let TieRule::HigherCriterion { criterion } = rule {
            let known = ids.contains(criterion.as_str());
            faults.unless(known, &format!("ties[{nth}]"), "没有这项评分标准", "there is no such criterion");
        }
    }
}

/// Either every criterion at the top has a weight, together 100 %, and gives at most 100 points; or none has, and
/// together they give 100 points (87-55).
fn check_weights(case: &Case, points: i64, faults: &mut Faults) {
    let hundred = 100 * SCALE;
    let weights: Vec<i32> =
        case.criteria.iter().filter_map(|top| top.weight).map(|rate| rate.get()).collect();
    if weights.is_empty() {
        faults.unless(
            points == hundred,
            "criteria",
            "未设权重时各项满分之和须为 100",
            "without weights the maxima add up to 100",
        );
        return;
    }
    faults.unless(
        weights.len() == case.criteria.len()
            && weights.iter().map(|weight| i64::from(*weight)).sum::<i64>() == 10_000,
        "criteria",
        "权重须每项都有，合计 100.00",
        "every criterion at the top has a weight, and they add up to 100.00",
    );
    for (nth, top) in case.criteria.iter().enumerate() {
        faults.unless(
            maximum_of(top) == hundred,
            &format!("criteria[{nth}].maximum"),
            "设权重时每项满分为 100",
            "a criterion with a weight gives at most 100 points",
        );
    }
}

fn maximum_of(criterion: &Criterion) -> i64 {
    if criterion.parts.is_empty() {
        criterion.maximum.map_or(0, Decimal::get)
    } else {
        criterion.parts.iter().map(maximum_of).sum()
    }
}

struct Tree<'a, 'f> {
    ids: BTreeSet<&'a str>,
    prices: usize,
    faults: &'f mut Faults,
}

impl<'a> Tree<'a, '_> {
    /// Checks one criterion with its parts, and gives the most points that it gives.
    fn check(&mut self, criterion: &'a Criterion, at: &str, depth: usize) -> i64 {
        self.faults.name(&criterion.id, &format!("{at}.id"));
        let first = self.ids.insert(&criterion.id);
        self.faults.unless(first, &format!("{at}.id"), "名称重复", "this name stands twice");
        let weight_fits = criterion.weight.is_none() || depth == 0;
        self.faults.unless(
            weight_fits,
            &format!("{at}.weight"),
            "只有最上层有权重",
            "only the top of the tree has weights",
        );
        if criterion.parts.is_empty() { self.leaf(criterion, at) } else { self.group(criterion, at, depth) }
    }

    fn leaf(&mut self, criterion: &Criterion, at: &str) -> i64 {
        let maximum = criterion.maximum.map_or(0, Decimal::get);
        self.faults.unless(
            criterion.kind.is_some() && (1..=1_000 * SCALE).contains(&maximum),
            at,
            "评分项须写明类别和满分（大于零，最多 1000）",
            "a criterion says its kind and its maximum, above nought and at most 1000",
        );
        let is_price = criterion.kind == Some(ScoreKind::Price);
        self.prices += usize::from(is_price);
        let bands_fit = criterion.bands.iter().all(|band| band.from <= band.to && band.to.get() <= maximum);
        self.faults.unless(
            bands_fit && (!is_price || criterion.bands.is_empty()),
            &format!("{at}.bands"),
            "分档须在零与满分之间，价格分不分档",
            "a band lies between nought and the maximum, and the price has none",
        );
        maximum
    }

    fn group(&mut self, criterion: &'a Criterion, at: &str, depth: usize) -> i64 {
        let plain = criterion.kind.is_none() && criterion.bands.is_empty();
        self.faults.unless(plain, at, "分组本身不评分", "a group is not scored itself");
        if depth >= DEPTH_MAX {
            self.faults.unless(false, at, "层次过多", "groups lie at most eight deep");
            return 0;
        }
        let parts = criterion.parts.iter().enumerate();
        let points =
            parts.map(|(nth, part)| self.check(part, &format!("{at}.parts[{nth}]"), depth + 1)).sum();
        let adds_up = criterion.maximum.is_none_or(|maximum| maximum.get() == points);
        self.faults.unless(
            adds_up,
            &format!("{at}.maximum"),
            "分组的满分须等于各项之和",
            "a group's maximum is the sum of its parts'",
        );
        points
    }
}

fn check_bids(case: &Case, pack: RulePack, faults: &mut Faults) {
    let few = !case.bids.is_empty() && case.bids.len() <= BIDS_MAX;
    faults.unless(few, "bids", "投标为 1 至 10000 份", "1 to 10000 bids");
    faults.names(case.bids.iter().map(|bid| bid.id.as_str()), |nth| format!("bids[{nth}].id"));
    for (nth, bid) in case.bids.iter().enumerate().take(BIDS_MAX) {
        check_bid(case, pack, bid, &format!("bids[{nth}]"), faults);
    }
}

fn check_bid(case: &Case, pack: RulePack, bid: &CaseBid, at: &str, faults: &mut Faults) {
    let sheet = [Some(bid.sheet.price), bid.sheet.words, bid.sheet.elsewhere];
    let priced = sheet.iter().flatten().all(|amount| amount.get() > 0);
    faults.unless(priced, &format!("{at}.sheet"), "报价须大于零", "a price is above nought");
    for (verdict, name) in [(&bid.qualification, "qualification"), (&bid.responsiveness, "responsiveness")] {
        faults.unless(
            verdict.passed || !verdict.reason.trim().is_empty(),
            &format!("{at}.{name}"),
            "不通过须写明理由",
            "who does not pass is told why",
        );
    }
    if let Some(brand) = &bid.brand {
        faults.name(brand, &format!("{at}.brand"));
    }
    let items = &bid.items;
    let countable = items.len() <= ITEMS_MAX
        && items.iter().all(|item| item.quantity.get() > 0)
        && items.iter().filter(|item| item.misplaced).count() <= 1;
    faults.unless(
        countable && (items.is_empty() || case.price_kind == PriceKind::Total),
        &format!("{at}.items"),
        "分项报价只用于总价，数量须大于零，最多一项小数点错位，最多 10000 项",
        "items are for a total price: at most 10000, each of a quantity above nought, at most one misplaced",
    );
    if priced && countable {
        let adds_up = repaired(pack, case.price_kind, bid).is_some_and(|priced| priced.price.get() > 0);
        faults.unless(
            adds_up,
            &format!("{at}.items"),
            "分项金额合计不能成为报价",
            "the items do not add up to a price: above nought, and within what an amount may be",
        );
    }
}

fn check_scores(case: &Case, pack: RulePack, faults: &mut Faults) {
    let leaves = Leaves::of(&case.criteria);
    let price = |bid: &CaseBid| repaired(pack, case.price_kind, bid);
    let out = |bid: &CaseBid| price(bid).is_none_or(|price| exclusions::reason(case, bid, &price).is_some());
    let scored: Vec<bool> = case.bids.iter().map(|bid| !out(bid)).collect();
    let experts_needed = case.method == EvaluationMethod::ComprehensiveScoring && !leaves.scored.is_empty();
    let enough = brands::count(case, &scored) >= pack.figures().bids_min;
    faults.unless(
        !experts_needed || !case.experts.is_empty(),
        "experts",
        "综合评分须有评委",
        "criteria are scored by experts: name them",
    );
    let experts: BTreeSet<&str> = case.experts.iter().map(String::as_str).collect();
    let bids: BTreeSet<&str> = case.bids.iter().map(|bid| bid.id.as_str()).collect();
    for (expert, sheet) in &*case.scores {
        let at = format!("scores.{expert}");
        faults.unless(experts.contains(expert.as_str()), &at, "不是评委", "no expert of this case");
        for bid in sheet.keys() {
            faults.unless(
                bids.contains(bid.as_str()),
                &format!("{at}.{bid}"),
                "没有这份投标",
                "there is no such bid",
            );
        }
    }
    for expert in &case.experts {
        for (bid, is_scored) in case.bids.iter().zip(&scored) {
            let sheet = case.scores.get(expert).and_then(|sheet| sheet.get(&bid.id));
            let at = format!("scores.{expert}.{}", bid.id);
            match sheet {
                Some(sheet) => {
                    for criterion in sheet.keys() {
                        let known = leaves.scored.iter().any(|leaf| leaf.id == criterion);
                        faults.unless(
                            known,
                            &format!("{at}.{criterion}"),
                            "没有这项评分标准，或不由评委评分",
                            "there is no such criterion, or nobody scores it",
                        );
                    }
                    for leaf in &leaves.scored {
                        if let Some((zh, en)) = score_fault(leaf, sheet.get(leaf.id).copied()) {
                            faults.unless(false, &format!("{at}.{}", leaf.id), zh, en);
                        }
                    }
                }
                None => {
                    let needed = *is_scored && enough && experts_needed;
                    faults.unless(!needed, &at, "缺评分", "this expert's scores of this bid are missing");
                }
            }
        }
    }
}

/// What is wrong with one score.
fn score_fault(leaf: &Leaf<'_>, score: Option<Decimal>) -> Option<(&'static str, &'static str)> {
    let Some(score) = score else {
        return Some(("缺评分", "this score is missing"));
    };
    // rules.md 49, 87-64: out of range.
    if score.get() > leaf.maximum {
        return Some(("超出满分", "above the criterion's maximum (87-64)"));
    }
    let in_band =
        leaf.bands.is_empty() || leaf.bands.iter().any(|band| (band.from..=band.to).contains(&score));
    (!in_band).then_some(("不在任何分档内", "in none of the criterion's bands (87-64)"))
}
