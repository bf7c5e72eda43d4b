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

/// The most rows of one project's record, over all its lots: a bid for three lots has three. Nobody knows how long the
/// texts of sealed sheets are, so the bound holds for the longest: the record reaches its readers in one frame.
pub const ROWS_MAX: usize = 16_000;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Answer, Response, SERVER_FRAME_BYTES_MAX},
        money::{FEN_MAX, Fen},
        project::TEXT_CHARS_MAX,
    };

    #[test]
    fn a_record_with_every_row_and_the_longest_texts_fits_into_one_frame() {
        // Four bytes a letter are the most; what is escaped takes at most as many, for controls are refused.
        let long = |chars| "\u{20000}".repeat(chars);
        let row = RecordRow {
            no: u32::MAX,
            bid: BidId([0xFF; 16]),
            supplier: long(TEXT_CHARS_MAX),
            outcome: RowOutcome::Unsealed {
                sheet: BidSheet {
                    price: Price::Total(Fen::new(FEN_MAX).unwrap()),
                    delivery_or_lead: long(SHEET_CHARS_MAX),
                    bid_security_method: long(SHEET_CHARS_MAX),
                    declaration_signed: false,
                    remark: long(SHEET_CHARS_MAX),
                },
                by_backup: false,
            },
        };
        let row = serde_json::to_string(&row).unwrap();
        let lots = LotRecord::Opened { rows: Vec::new() };
        let head = 1_000_000 + serde_json::to_string(&lots).unwrap().len() * 200;
        // As the text of an answer each quote takes a byte more.
        let answer = serde_json::to_string(&Response::Ok {
            id: u64::MAX,
            ok: Answer::Record {
                text: row.clone(),
                digest: crate::digest::Digest([0; 32]),
                signature: crate::blob::Blob(vec![0; 64]),
            },
        });
        let longest = answer.unwrap().len().max(row.len()) + 1;
        assert!(longest * ROWS_MAX + head <= SERVER_FRAME_BYTES_MAX, "{longest} bytes a row");
    }
}
