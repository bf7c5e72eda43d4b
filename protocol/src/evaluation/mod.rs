//! Evaluation as files: the case that goes in and the result that comes out, `docs/formats/case.md`.
//!
//! A case holds everything that the ranking of one lot rests on, so that anybody who has it comes to the same
//! result, digit by digit. Every number is a string of decimal digits: no float has touched it.

mod by_name;
mod case;
mod decimal;
mod result;

pub use by_name::ByName;
pub use case::{
    AbnormallyLow, Band, BrandRule, Case, CaseBid, Criterion, Deduction, DeductionBase, DeductionKind,
    DrawSeed, EvaluationMethod, Explanation, LotKind, PriceItem, Rounding, RoundingPoint, ScoreKind, Sheet,
    Thresholds, TieRule, Verdict,
};
pub use decimal::{DECIMAL_MAX, Decimal, NotADecimal, SCALE};
pub use result::{
    BidResult, BrandStanding, Candidate, CriterionAverage, DeductionMade, Evaluation, Exclusion,
    ExclusionReason, Repair, RepairKind, Sensitivity, Standing, Ticket, Variant, VariantKind, Warning,
    WarningKind,
};
