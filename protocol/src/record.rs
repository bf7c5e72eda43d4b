//! The opening record (开标记录).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bid::{Consequence, FailureCause},
    ids::{BidId, LotNo},
    moment::Moment,
    money::Price,
};

/// What a bid sheet (开标一览表) says for one lot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BidSheet {
    /// Final price (最终报价).
    pub price: Price,
    /// Delivery period or the service's person in charge (供货期/服务项目负责人).
    pub delivery_or_lead: String,
    /// How the bid security was paid (保证金缴纳方式).
    pub bid_security_method: String,
    /// Whether the declaration was signed (确认声明书是否签署).
    pub declaration_signed: bool,
    /// Remark (备注).
    pub remark: String,
}

/// The longest text of a bid sheet's field, in characters.
pub const SHEET_CHARS_MAX: usize = 200;

/// How a bid stands in the record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum RowOutcome {
    /// Unsealed, with its sheet.
    Unsealed {
        /// What the sheet says.
        sheet: BidSheet,
        /// Whether the backup bid was used.
        by_backup: bool,
    },
    /// Not unsealed.
    Failed {
        /// Why.
        cause: FailureCause,
        /// What that means.
        consequence: Consequence,
    },
}

/// One row of a lot's record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordRow {
    /// Running number (序号) from 1, in the order the bids came in.
    pub no: u32,
    /// The bid.
    pub bid: BidId,
    /// Supplier's name (供应商名称).
    pub supplier: String,
    /// How it stands.
    pub outcome: RowOutcome,
}

/// The record of one lot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "lot", rename_all = "snake_case", deny_unknown_fields)]
pub enum LotRecord {
    /// The lot was opened.
    Opened {
        /// Its rows in order.
        rows: Vec<RecordRow>,
    },
    /// The lot was not opened (未开标).
    NotOpened {
        /// The rule, by key.
        rule: String,
        /// The bids received, still sealed: bid and supplier's name.
        bids: Vec<SealedRow>,
    },
}

/// A bid that stays sealed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SealedRow {
    /// The bid.
    pub bid: BidId,
    /// Supplier's name.
    pub supplier: String,
}

/// The records of all lots, published by one event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpeningRecord {
    /// When they were published.
    pub published_at: Moment,
    /// The record of each lot.
    #[serde(deserialize_with = "crate::once::map")]
    pub lots: BTreeMap<LotNo, LotRecord>,
}
