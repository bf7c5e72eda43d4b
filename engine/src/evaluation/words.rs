//! What an evaluation says, in both languages, each with its rule.

use kaibiao_protocol::{
    evaluation::{
        DeductionKind, Exclusion, ExclusionReason, Repair, RepairKind, Standing, Warning, WarningKind,
    },
    money::Fen,
    refusal::Say,
};

use super::{ranking::Failed, table::Table};
use crate::rules::{Rule, RulePack};

fn say(zh: impl Into<String>, en: impl Into<String>) -> Say {
    Say { zh: zh.into(), en: en.into() }
}

/// A repair, told.
pub(super) fn repair(pack: RulePack, kind: RepairKind, from: Fen, to: Fen) -> Repair {
    let (zh, en) = match kind {
        RepairKind::SheetBeatsElsewhere => (
            "开标一览表与投标文件其他内容不一致，以开标一览表为准",
            "the bid sheet beats what the bid says elsewhere",
        ),
        RepairKind::WordsBeatFigures => ("大写金额与小写金额不一致，以大写金额为准", "words beat figures"),
        RepairKind::MisplacedDecimal => (
            "单价的小数点或百分比明显错位，以开标一览表的总价为准，修改单价",
            "a plainly misplaced decimal point or percent: the sheet's total stands and the unit price changes",
        ),
        RepairKind::UnitPricesBeatTotal => {
            ("总价与按单价汇总的金额不一致，以单价计算结果为准", "the unit prices beat the total")
        }
    };
    let say = say(format!("{zh}：{from} 改为 {to}"), format!("{en}: {from} becomes {to}"));
    Repair { kind, from, to, rule: pack.cite(Rule::PriceRepair), say }
}

/// An exclusion, told.
pub(super) fn exclusion(table: &Table<'_>, bid: usize, reason: ExclusionReason) -> Exclusion {
    let (case, facts) = (table.case, &table.case.bids[bid]);
    let price = table.prices[bid].price;
    let limit = |amount: Option<Fen>| amount.map(|amount| amount.to_string()).unwrap_or_default();
    let (rule, say) = match reason {
        ExclusionReason::NotQualified => {
            let why = &facts.qualification.reason;
            (
                Rule::QualificationReview,
                say(format!("资格审查不通过：{why}"), format!("failed the qualification review: {why}")),
            )
        }
        ExclusionReason::NotResponsive => {
            let why = &facts.responsiveness.reason;
            (
                Rule::ResponsivenessReview,
                say(format!("符合性审查不通过：{why}"), format!("failed the responsiveness review: {why}")),
            )
        }
        ExclusionReason::RepairNotConfirmed => (
            Rule::PriceRepair,
            say(
                "投标人不确认修正后的报价，投标无效",
                "the bidder does not confirm the repaired price: the bid is invalid",
            ),
        ),
        ExclusionReason::AboveCeiling => {
            let ceiling = limit(case.ceiling);
            (
                Rule::InvalidBid,
                say(
                    format!("报价 {price} 超过最高限价 {ceiling}，投标无效"),
                    format!("the price {price} is above the ceiling of {ceiling}: the bid is invalid"),
                ),
            )
        }
        ExclusionReason::AboveBudget => {
            let budget = limit(case.budget);
            (
                Rule::InvalidBid,
                say(
                    format!("报价 {price} 超过预算 {budget}，投标无效"),
                    format!("the price {price} is above the budget of {budget}: the bid is invalid"),
                ),
            )
        }
        ExclusionReason::PriceNotExplained => (
            Rule::AbnormallyLow,
            say(
                "报价明显偏低，说明不能证明其合理，投标无效",
                "the price is abnormally low and not proved to be reasonable: the bid is invalid",
            ),
        ),
        ExclusionReason::BrandEvaluatedOnce => {
            let brand = facts.brand.as_deref().unwrap_or_default();
            (
                Rule::SameBrand,
                say(
                    format!("品牌「{brand}」由报价更低的投标参加评标"),
                    format!(
                        "of the brand \"{brand}\" another bid with a lower price, or a lucky draw, is evaluated"
                    ),
                ),
            )
        }
    };
    Exclusion { reason, rule: table.pack.cite(rule), say }
}

/// Why the lot has failed, told.
pub(super) fn failed(table: &Table<'_>, failed: &Failed) -> Standing {
    let (left, say) = match failed {
        Failed::TooFew(left) => (
            *left,
            say(
                format!("合格投标人只有 {left} 家，不足 {} 家，废标", table.pack.figures().bids_min),
                format!(
                    "{left} bidders are left where at least {} must be: the lot has failed",
                    table.pack.figures().bids_min
                ),
            ),
        ),
        Failed::AllAbove => (
            0,
            say(
                "投标人的报价均超过采购预算或最高限价，采购人不能支付，废标",
                "every price is above budget or ceiling and cannot be paid: the lot has failed",
            ),
        ),
    };
    Standing::Failed { left, rule: table.pack.cite(Rule::FewerLeft), say }
}

/// Whom or what a warning is about.
#[derive(Clone, Copy, Default)]
pub(super) struct Whose {
    pub(super) bid: Option<usize>,
    pub(super) expert: Option<usize>,
    pub(super) leaf: Option<usize>,
    pub(super) deduction: Option<DeductionKind>,
}

/// A warning, told with what to do.
pub(super) fn warning(table: &Table<'_>, kind: WarningKind, whose: Whose) -> Warning {
    let (rule, told) = match kind {
        WarningKind::CommitteeSize => (
            Rule::CommitteeSize,
            say(
                "评委人数不足或为双数：请核对委员会组成",
                "the committee is smaller than the law asks, or even: check its composition",
            ),
        ),
        WarningKind::PriceWeightTooSmall => (
            Rule::PriceWeight,
            say(
                "价格分权重低于规定的下限：评分标准须更正",
                "the price weighs less than the law asks: the criteria need a correction",
            ),
        ),
        WarningKind::DeductionOutsideLaw => (
            deduction_rule(whose.deduction),
            say(
                "价格扣除比例不在规定的范围内：请核对",
                "the deduction is outside what the law names: check it",
            ),
        ),
        WarningKind::RepairUnconfirmed => (
            Rule::PriceRepair,
            say(
                "报价已修正，尚未经投标人确认；暂按已确认排名，请取得书面确认",
                "the price is repaired and not confirmed yet; ranked as if it were: ask the bidder in writing",
            ),
        ),
        WarningKind::PriceUnexplained => (
            Rule::AbnormallyLow,
            say(
                "报价明显低于其他投标：必须要求书面说明；暂按已证明排名",
                "the price is abnormally low: a written explanation must be asked for; ranked as if it were proved",
            ),
        ),
        WarningKind::ObjectiveScoresDiffer => (
            Rule::Recheck,
            say(
                "客观分各评委不一致：请核对并更正",
                "the experts' scores of an objective criterion differ: check and correct them",
            ),
        ),
        WarningKind::ScoreOutlying => (
            Rule::Recheck,
            say(
                "评分畸高或畸低：请更正或书面说明",
                "the score lies far from the other experts': correct it or give the reason",
            ),
        ),
        WarningKind::DrawNeeded => (
            Rule::TiedFirst,
            say(
                "并列，招标文件的规定分不出先后：须随机抽取（给出 draw_seed）",
                "tied, and the tender's rules do not decide: a draw is needed (give a draw_seed)",
            ),
        ),
    };
    let case = table.case;
    Warning {
        kind,
        rule: table.pack.cite(rule),
        bid: whose.bid.map(|bid| case.bids[bid].id.clone()),
        expert: whose.expert.map(|expert| case.experts[expert].clone()),
        criterion: whose.leaf.map(|leaf| table.leaves.scored[leaf].id.to_owned()),
        say: told,
    }
}

/// Under which rule a deduction is made.
fn deduction_rule(kind: Option<DeductionKind>) -> Rule {
    match kind {
        Some(DeductionKind::DomesticProduct) => Rule::DomesticProduct,
        Some(DeductionKind::SmallFirm | DeductionKind::Consortium) | None => Rule::SmallFirms,
    }
}
