//! The case: everything the ranking of one lot rests on.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ByName, Decimal};
use crate::money::{Fen, PriceKind, Rate};

/// One lot to be evaluated.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The form's version: 1.
    pub case: u32,
    /// Rule pack and version, such as `GP/1`.
    pub rule_pack: String,
    /// What the lot buys.
    pub kind: LotKind,
    /// What bidders quote.
    #[serde(default = "total")]
    pub price_kind: PriceKind,
    /// The lot's budget, where the price is held against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Fen>,
    /// The highest price that is valid (最高限价), if the tender named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Fen>,
    /// How bids are compared.
    pub method: EvaluationMethod,
    /// The tender's criteria; none under lowest evaluated price.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<Criterion>,
    /// Where scores are rounded.
    #[serde(default)]
    pub rounding: Rounding,
    /// The deductions of policy, in the order in which they are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deductions: Vec<Deduction>,
    /// What makes a price abnormally low.
    #[serde(default)]
    pub abnormally_low: AbnormallyLow,
    /// What makes a score look wrong.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// How bids of one brand are treated.
    #[serde(default)]
    pub brands: BrandRule,
    /// The tender's rules for equal first places, in their order; what they leave tied is drawn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ties: Vec<TieRule>,
    /// From what a draw is made; none: what would be drawn stays tied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw_seed: Option<DrawSeed>,
    /// How many candidates are recommended at most.
    #[serde(default = "three")]
    pub candidates_max: u32,
    /// The committee's members who score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub experts: Vec<String>,
    /// The bids that were opened.
    pub bids: Vec<CaseBid>,
    /// Each expert's sheet: expert, bid, criterion.
    #[serde(default, skip_serializing_if = "no_scores")]
    pub scores: ByName<ByName<ByName<Decimal>>>,
}

fn no_scores(scores: &ByName<ByName<ByName<Decimal>>>) -> bool {
    scores.is_empty()
}

fn total() -> PriceKind {
    PriceKind::Total
}

fn three() -> u32 {
    3
}

/// What a lot buys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LotKind {
    /// 货物
    Goods,
    /// 服务
    Services,
    /// 工程
    Works,
}

/// How bids are compared; the law knows these two (rules.md 41).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationMethod {
    /// 综合评分法
    ComprehensiveScoring,
    /// 最低评标价法
    LowestEvaluatedPrice,
}

/// A criterion: a leaf that is scored, or a group of others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    /// Its name in sheets; unique in the case.
    pub id: String,
    /// As the tender words it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its weight in percent, at the top of the tree only: given for all there, adding up to 100, or for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Rate>,
    /// How it is scored; not for a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ScoreKind>,
    /// The most points it gives; a group's is the sum of its parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Decimal>,
    /// The only points that may be given, where the tender names such; none: anything up to the maximum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
    /// What a group consists of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Criterion>,
}

/// How a criterion is scored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// 客观分: every expert must come to the same.
    Objective,
    /// 主观分: by judgement, within the bands.
    Subjective,
    /// 价格分: computed, scored by nobody.
    Price,
}

/// Points that may be given, both ends included.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// As the tender words it, such as 优.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The fewest.
    pub from: Decimal,
    /// The most.
    pub to: Decimal,
}

/// Where scores are rounded, half up; before and behind that point everything is exact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rounding {
    /// What is rounded.
    pub at: RoundingPoint,
    /// To how many decimals: 0 to 4.
    pub decimals: u8,
}

impl Default for Rounding {
    /// rules.md 45: two decimals, on the weighted price score.
    fn default() -> Self {
        Self { at: RoundingPoint::WeightedPriceScore, decimals: 2 }
    }
}

/// What is rounded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundingPoint {
    /// The price score before its weight.
    PriceScore,
    /// The price score times its weight.
    WeightedPriceScore,
    /// The weighted average of each criterion, and the weighted price score.
    EachCriterion,
    /// The total alone.
    Total,
    /// Nothing: totals are compared exactly, and rounded only to be shown.
    Never,
}

impl RoundingPoint {
    /// Every point.
    pub const ALL: [RoundingPoint; 5] = [
        RoundingPoint::PriceScore,
        RoundingPoint::WeightedPriceScore,
        RoundingPoint::EachCriterion,
        RoundingPoint::Total,
        RoundingPoint::Never,
    ];
}

/// A deduction of policy: it lowers the price that is compared, never the price of the contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deduction {
    /// For whom.
    pub kind: DeductionKind,
    /// How much of the base.
    pub percent: Rate,
    /// Of what.
    #[serde(default)]
    pub base: DeductionBase,
}

/// Whom a deduction is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeductionKind {
    /// 小微企业
    SmallFirm,
    /// A consortium or subcontract with small firms of at least 30 %; not beside [`DeductionKind::SmallFirm`].
    Consortium,
    /// 本国产品
    DomesticProduct,
}

/// Of what a deduction takes its share.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DeductionBase {
    /// Of what the deductions before it left.
    #[default]
    Remaining,
    /// Of the bid's price.
    Bid,
}

/// What makes a price abnormally low against the others; a missing trigger is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbnormallyLow {
    /// Below this share of the mean of all compliant prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_mean: Option<Rate>,
    /// Below this share of the next lowest compliant price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_next: Option<Rate>,
    /// Below this share of the ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_ceiling: Option<Rate>,
}

impl Default for AbnormallyLow {
    /// rules.md 31, from memory.
    fn default() -> Self {
        Self { of_mean: Rate::new(5_000), of_next: Rate::new(5_000), of_ceiling: Rate::new(4_500) }
    }
}

/// What makes a score look wrong (rules.md 49).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// A subjective score this far from the mean of the other experts', in percent of the criterion's maximum.
    pub outlier: Rate,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { outlier: Rate::new(3_000).expect("30 % is a rate") }
    }
}

/// How bids of one brand are treated (rules.md 25).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BrandRule {
    /// Whether they count as one bidder.
    pub count_as_one: bool,
}

impl Default for BrandRule {
    fn default() -> Self {
        Self { count_as_one: true }
    }
}

/// A tender's rule for what is equal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "snake_case", deny_unknown_fields)]
pub enum TieRule {
    /// The higher weighted average of a criterion or group is first.
    HigherCriterion {
        /// Which.
        criterion: String,
    },
    /// The lower bid price is first.
    LowerPrice,
}

/// From what a draw is made: 32 bytes, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrawSeed(pub [u8; 32]);

impl fmt::Display for DrawSeed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

/// The text is not 64 lowercase hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotASeed;

impl fmt::Display for NotASeed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a draw's seed is 64 lowercase hexadecimal digits")
    }
}

impl FromStr for DrawSeed {
    type Err = NotASeed;

    fn from_str(text: &str) -> Result<Self, NotASeed> {
        let mut seed = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(NotASeed);
        }
        for (byte, pair) in seed.iter_mut().zip(digits.chunks(2)) {
            let digit = |digit: u8| match digit {
                b'0'..=b'9' => Ok(digit - b'0'),
                b'a'..=b'f' => Ok(digit - b'a' + 10),
                _ => Err(NotASeed),
            };
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(DrawSeed(seed))
    }
}

impl Serialize for DrawSeed {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DrawSeed {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(input)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for DrawSeed {
    fn schema_name() -> Cow<'static, str> {
        "DrawSeed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "From what a draw is made: 64 hexadecimal digits."
        })
    }
}

/// One bid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CaseBid {
    /// Its name in sheets; unique in the case.
    pub id: String,
    /// The bidder's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub supplier: String,
    /// What its sheet says of the price.
    pub sheet: Sheet,
    /// Its unit prices, where the lot's price is a total.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<PriceItem>,
    /// What the bidder said to the repairs of its price; none: nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair_confirmed: Option<bool>,
    /// The brand of the core product, where one matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<String>,
    /// Whether the whole is made and offered by small firms.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub small_firm: bool,
    /// Whether small firms have at least 30 % of a consortium or subcontract.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub consortium: bool,
    /// Whether the product is domestic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub domestic_product: bool,
    /// The qualification review's verdict.
    #[serde(default)]
    pub qualification: Verdict,
    /// The responsiveness review's verdict.
    #[serde(default)]
    pub responsiveness: Verdict,
    /// What the committee held of the explanation of an abnormally low price; none: not asked for yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// What a bid sheet says of the price. All amounts are of the lot's price kind: yuan, or percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// In figures.
    pub price: Fen,
    /// In words (大写), where it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<Fen>,
    /// What the bid says elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Fen>,
}

/// One line of a bid's price list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceItem {
    /// What.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// How many.
    pub quantity: Decimal,
    /// For one.
    pub unit_price: Fen,
    /// Whether the committee finds its decimal point or percent plainly misplaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub misplaced: bool,
}

/// A review's verdict.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whether the bid passed.
    pub passed: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Default for Verdict {
    fn default() -> Self {
        Self { passed: true, reason: String::new() }
    }
}

/// What the committee held of an explanation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// The price is proved to be reasonable.
    Accepted,
    /// It is not: the bid is invalid.
    Rejected,
}
