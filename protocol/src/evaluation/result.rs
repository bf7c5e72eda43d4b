//! The result of a case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Decimal, DeductionKind, DrawSeed, EvaluationMethod, Rounding};
use crate::{
    money::{Fen, Rate},
    refusal::Say,
};

/// What an evaluation came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The form's version: 1.
    pub evaluation: u32,
    /// Rule pack and version.
    pub rule_pack: String,
    /// How bids were compared.
    pub method: EvaluationMethod,
    /// Whether there is a ranking.
    pub standing: Standing,
    /// Each bid, in the order of the case.
    pub bids: Vec<BidResult>,
    /// Whom the committee may recommend, first to last.
    pub candidates: Vec<Candidate>,
    /// The draw, where one was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draw: Vec<Ticket>,
    /// From what it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw_seed: Option<DrawSeed>,
    /// What has to be looked at before anybody signs.
    pub warnings: Vec<Warning>,
    /// What would change the winner; where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
}

/// Whether there is a ranking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum Standing {
    /// The bids are ranked.
    Ranked,
    /// Too few are left, or none is affordable: the lot has failed (废标).
    Failed {
        /// How many bidders count.
        left: u32,
        /// By which rule.
        rule: String,
        /// Why.
        say: Say,
    },
}

/// What became of one bid.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BidResult {
    /// Which.
    pub id: String,
    /// The bidder's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub supplier: String,
    /// The price in the sheet's figures.
    pub sheet_price: Fen,
    /// The repairs of the price, in the order of the rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<Repair>,
    /// The bid's price after repair: what a contract would be made at.
    pub price: Fen,
    /// The deductions in their order; none for an excluded bid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deductions: Vec<DeductionMade>,
    /// The price compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_for_scoring: Option<Fen>,
    /// The price score with its weight, rounded for show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_score: Option<Decimal>,
    /// The weighted average of each scored criterion, in the order of the case, rounded for show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub criteria: Vec<CriterionAverage>,
    /// The total, rounded for show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Decimal>,
    /// Its place, from 1; equal places share one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// How it stands among bids of its brand, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brand: Option<BrandStanding>,
    /// Why it has no rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<Exclusion>,
}

/// A repair of a price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repair {
    /// Which of the rule's four.
    pub kind: RepairKind,
    /// What stood there.
    pub from: Fen,
    /// What holds instead.
    pub to: Fen,
    /// By which rule.
    pub rule: String,
    /// In words.
    pub say: Say,
}

/// The four repairs, in the order in which they are made (rules.md 30).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RepairKind {
    /// The bid sheet beats what the bid says elsewhere.
    SheetBeatsElsewhere,
    /// Words beat figures.
    WordsBeatFigures,
    /// A plainly misplaced decimal point: the sheet's total stands, the unit price changes.
    MisplacedDecimal,
    /// Unit prices beat the total.
    UnitPricesBeatTotal,
}

/// A deduction made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeductionMade {
    /// For what.
    pub kind: DeductionKind,
    /// How much.
    pub percent: Rate,
    /// What is left, rounded to the fen for show.
    pub left: Fen,
}

/// A criterion's weighted average.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CriterionAverage {
    /// Which.
    pub id: String,
    /// Rounded for show.
    pub score: Decimal,
}

/// How a bid stands among those of its brand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BrandStanding {
    /// It stands for the brand.
    Stands,
    /// Another bid stands for it.
    SecondToAnother,
    /// Nobody can say before a draw.
    Tied,
}

/// Why a bid has no rank.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// Why.
    pub reason: ExclusionReason,
    /// By which rule.
    pub rule: String,
    /// In words.
    pub say: Say,
}

/// Why a bid has no rank.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExclusionReason {
    /// It failed the qualification review.
    NotQualified,
    /// It failed the responsiveness review.
    NotResponsive,
    /// The bidder did not confirm the repair of its price.
    RepairNotConfirmed,
    /// Above the ceiling.
    AboveCeiling,
    /// Above the budget.
    AboveBudget,
    /// Abnormally low and not explained.
    PriceNotExplained,
    /// Another bid of its brand is evaluated in its place.
    BrandEvaluatedOnce,
}

/// Somebody the committee may recommend.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The place, from 1; equal places share one number, where nothing decides between them.
    pub place: u32,
    /// The bid.
    pub bid: String,
}

/// A bid's ticket in a draw: the lowest is first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// What is drawn for: `rank 1`, or `brand X`.
    pub about: String,
    /// The bid.
    pub bid: String,
    /// SHA-256 of `kaibiao draw 1`, the seed, what is drawn for and the bid, a line each; hexadecimal.
    pub ticket: String,
}

/// Something that has to be looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Warning {
    /// What.
    pub kind: WarningKind,
    /// By which rule.
    pub rule: String,
    /// Whose bid, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bid: Option<String>,
    /// Whose score, where it is one's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expert: Option<String>,
    /// Of which criterion, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criterion: Option<String>,
    /// In words, with what to do.
    pub say: Say,
}

/// What has to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WarningKind {
    /// The weight of the price is below what the law asks.
    PriceWeightTooSmall,
    /// A deduction's rate is outside what the law names.
    DeductionOutsideLaw,
    /// A repaired price is not confirmed yet; the bid is ranked as if it were.
    RepairUnconfirmed,
    /// An abnormally low price is not explained yet; the bid is ranked as if it were.
    PriceUnexplained,
    /// The experts' objective scores differ.
    ObjectiveScoresDiffer,
    /// A subjective score lies far from the others'.
    ScoreOutlying,
    /// Equal places that nothing decides: a draw is needed.
    DrawNeeded,
    /// The committee is smaller than the law asks, or even.
    CommitteeSize,
}

/// What would change the winner.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sensitivity {
    /// Who is first as things are.
    pub winners: Vec<String>,
    /// How many other ways were tried.
    pub tried: u32,
    /// Those under which somebody else is first.
    pub changes: Vec<Variant>,
}

/// One thing done otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// What is done otherwise.
    pub variant: VariantKind,
    /// Who is first then; none: the lot fails.
    pub winners: Vec<String>,
}

/// What is done otherwise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum VariantKind {
    /// Another rounding.
    Rounding {
        /// Which.
        rounding: Rounding,
    },
    /// Without one expert.
    WithoutExpert {
        /// Whom.
        expert: String,
    },
    /// A deduction at another rate.
    DeductionRate {
        /// Which deduction.
        kind: DeductionKind,
        /// At what rate.
        percent: Rate,
    },
    /// With one bid void.
    BidVoid {
        /// Which.
        bid: String,
    },
}
