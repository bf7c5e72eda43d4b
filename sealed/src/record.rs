//! The opening record (开标记录): the exact text that the platform signs and suppliers confirm.
//!
//! A pure function of the project's journal: its setting up and the one event that published the records.

use kaibiao_protocol::{
    bid::{Consequence, FailureCause},
    digest::Digest,
    ids::{LotNo, OrganisationId, ProjectId},
    moment::Moment,
    money::PriceKind,
    project::{Method, ProjectKind, ProjectSpec},
    record::{LotRecord, OpeningRecord, RecordRow, RowOutcome},
};
use serde::{Deserialize, Serialize};

pub use crate::chain::{CHAIN_START, ChainedRecord, chain_hash};
use crate::{
    digest::sha256,
    platform_key::{PUBLIC_KEY_BYTES, PlatformKey, SIGNATURE_BYTES, verify},
    purpose::Purpose,
    shown::{beijing, titled},
    strict_json::{parse_canonical, to_canonical},
};

/// The most bytes a record's text may have: 200 lots of 500 bids fit.
pub const RECORD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The head of a record: which project it is of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordHead {
    /// Project number.
    pub project: ProjectId,
    /// Project name.
    pub name: String,
    /// Region.
    pub region: String,
    /// Real or exercise.
    pub kind: ProjectKind,
    /// Procurement method.
    pub method: Method,
    /// The purchaser.
    pub purchaser: OrganisationId,
    /// The organiser.
    pub organiser: OrganisationId,
    /// Bid deadline, which is the opening time.
    pub deadline: Moment,
    /// Rule pack and version.
    pub rule_pack: String,
}

/// The record of one lot with the lot's name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedLot {
    /// The lot.
    pub lot: LotNo,
    /// Its name.
    pub name: String,
    /// What bidders quoted.
    pub price_kind: PriceKind,
    /// Its rows, or why it was not opened.
    pub record: LotRecord,
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordFacts {
    /// Which project it is of.
    pub head: RecordHead,
    /// When the records of all lots were published.
    pub published_at: Moment,
    /// The lots by number.
    pub lots: Vec<RecordedLot>,
}

#[derive(Serialize, Deserialize)]
enum RecordFormat {
    #[serde(rename = "kaibiao opening-record 1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordText {
    format: RecordFormat,
    title: String,
    deadline_shown: String,
    published_at_shown: String,
    record: RecordFacts,
}

impl RecordFacts {
    /// The facts of a published record of `project`. Lots that the project does not have are left out; the
    /// engine publishes none.
    pub fn new(project: &ProjectSpec, record: &OpeningRecord) -> Self {
        let lots = record.lots.iter().filter_map(|(lot, record)| {
            let spec = project.lots.get(lot)?;
            Some(RecordedLot {
                lot: *lot,
                name: spec.name.clone(),
                price_kind: spec.price_kind,
                record: record.clone(),
            })
        });
        Self {
            head: RecordHead {
                project: project.id.clone(),
                name: project.name.clone(),
                region: project.region.clone(),
                kind: project.kind,
                method: project.method,
                purchaser: project.purchaser.clone(),
                organiser: project.organiser.clone(),
                deadline: project.deadline,
                rule_pack: project.rule_pack.clone(),
            },
            published_at: record.published_at,
            lots: lots.collect(),
        }
    }

    /// The exact text that is signed and confirmed.
    pub fn text(&self) -> String {
        let text = to_canonical(&RecordText {
            format: RecordFormat::V1,
            title: titled("开标记录", self.head.kind),
            deadline_shown: beijing(self.head.deadline),
            published_at_shown: beijing(self.published_at),
            record: self.clone(),
        });
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// Why a record does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// Not the text of an opening record in its one spelling.
    #[error("not an opening record in its one spelling")]
    NotARecord,
    /// The platform did not sign this text.
    #[error("the platform did not sign this record")]
    NotSigned,
}

/// The exact text of the record of `project`. Pure: the same journal gives the same text.
pub fn record_text(project: &ProjectSpec, record: &OpeningRecord) -> String {
    RecordFacts::new(project, record).text()
}

/// SHA-256 of a record's exact text, which suppliers confirm.
pub fn record_digest(text: &str) -> Digest {
    sha256(text.as_bytes())
}

/// The platform's signature over a record's exact text, by its receipt key.
pub fn sign_record(text: &str, receipt_key: &PlatformKey) -> [u8; SIGNATURE_BYTES] {
    receipt_key.sign(Purpose::OpeningRecord, text.as_bytes())
}

/// Checks a record offline, against the platform's public receipt key.
///
/// # Errors
/// See [`RecordFault`].
pub fn verify_record(
    text: &str,
    signature: &[u8],
    public: &[u8; PUBLIC_KEY_BYTES],
) -> Result<RecordFacts, RecordFault> {
    if text.len() > RECORD_BYTES_MAX {
        return Err(RecordFault::NotARecord);
    }
    verify(public, Purpose::OpeningRecord, text.as_bytes(), signature).map_err(|_| RecordFault::NotSigned)?;
    let read: RecordText = parse_canonical(text.as_bytes()).map_err(|_| RecordFault::NotARecord)?;
    if read.record.text() != text {
        return Err(RecordFault::NotARecord);
    }
    Ok(read.record)
}

/// The titles of the record's columns, as suppliers know them (F4).
pub const COLUMN_TITLES: [&str; 7] = [
    "序号",
    "供应商名称",
    "最终报价",
    "供货期/服务项目负责人",
    "保证金缴纳方式",
    "确认声明书是否签署",
    "备注",
];

/// One row in the record's seven columns. A bid that was not unsealed has no price, and its remark says why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Columns {
    /// 序号
    pub no: u32,
    /// 供应商名称
    pub supplier: String,
    /// 最终报价: yuan with two decimals, or percent with two decimals where the tender asks for a rate.
    pub final_price: Option<String>,
    /// What the price is.
    pub price_kind: Option<PriceKind>,
    /// 供货期/服务项目负责人
    pub delivery_or_lead: String,
    /// 保证金缴纳方式
    pub bid_security_method: String,
    /// 确认声明书是否签署
    pub declaration_signed: Option<bool>,
    /// 备注
    pub remark: String,
}

impl Columns {
    /// The row as seven texts, in the order of [`COLUMN_TITLES`]; what is not known is a dash.
    pub fn texts(&self) -> [String; 7] {
        let dash = || "—".to_owned();
        let or_dash = |text: &str| if text.is_empty() { dash() } else { text.to_owned() };
        let price = self.final_price.as_ref().map(|price| match self.price_kind {
            Some(PriceKind::Rate) => format!("{price}%"),
            Some(PriceKind::Total | PriceKind::UnitPrice) | None => price.clone(),
        });
        [
            self.no.to_string(),
            self.supplier.clone(),
            price.unwrap_or_else(dash),
            or_dash(&self.delivery_or_lead),
            or_dash(&self.bid_security_method),
            self.declaration_signed.map_or_else(dash, |signed| if signed { "是" } else { "否" }.to_owned()),
            or_dash(&self.remark),
        ]
    }
}

/// A record's row in seven columns.
pub fn columns(row: &RecordRow) -> Columns {
    match &row.outcome {
        RowOutcome::Unsealed { sheet, by_backup } => Columns {
            no: row.no,
            supplier: row.supplier.clone(),
            final_price: Some(sheet.price.to_string()),
            price_kind: Some(sheet.price.kind()),
            delivery_or_lead: sheet.delivery_or_lead.clone(),
            bid_security_method: sheet.bid_security_method.clone(),
            declaration_signed: Some(sheet.declaration_signed),
            remark: match (*by_backup, sheet.remark.as_str()) {
                (false, remark) => remark.to_owned(),
                (true, "") => BACKUP_USED.to_owned(),
                (true, remark) => format!("{remark}（{BACKUP_USED}）"),
            },
        },
        RowOutcome::Failed { cause, consequence } => Columns {
            no: row.no,
            supplier: row.supplier.clone(),
            final_price: None,
            price_kind: None,
            delivery_or_lead: String::new(),
            bid_security_method: String::new(),
            declaration_signed: None,
            remark: format!("{}，{}", cause_text(*cause), consequence_text(*consequence)),
        },
    }
}

const BACKUP_USED: &str = "备份标书已启用";

/// A failure's cause as the record says it.
pub fn cause_text(cause: FailureCause) -> &'static str {
    match cause {
        FailureCause::WrongToken => "解密失败：CA锁不是加密时所用",
        FailureCause::TokenTrouble => "解密失败：CA锁锁定、损坏或缺失",
        FailureCause::WrongKey => "解密失败：密钥与回执不符",
        FailureCause::DamagedUpload => "解密失败：上传的标书本身已损坏",
        FailureCause::MalformedPackage => "解密失败：标书内容不合格式",
        FailureCause::DamagedStore => "解密失败：平台存储的标书损坏",
        FailureCause::NoShow => "未解密：规定时间内未解密",
        FailureCause::PlatformFault => "解密失败：平台故障",
    }
}

/// What a failure means in law, as the record says it (E20-31).
pub fn consequence_text(consequence: Consequence) -> &'static str {
    match consequence {
        Consequence::Revoked => "视为撤销其投标文件",
        Consequence::Withdrawn => "视为撤回其投标文件",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kaibiao_protocol::{
        ids::BidId,
        money::{Fen, Price},
        project::{BackupPolicy, LotSpec, StartMode},
        record::{BidSheet, SealedRow},
    };

    use super::*;
    use crate::flip::each_member_changed;

    fn lot(no: u16) -> LotNo {
        LotNo::new(no).unwrap()
    }

    fn spec() -> ProjectSpec {
        let named = |name: &str, price_kind| LotSpec {
            name: name.into(),
            budget: Fen::new(10_000_000).unwrap(),
            price_kind,
            bid_security: None,
        };
        ProjectSpec {
            id: "KX-00823".parse().unwrap(),
            name: "采购便携式计算机".into(),
            region: "浙江省本级".into(),
            kind: ProjectKind::Exercise,
            method: Method::OpenTender,
            purchaser: "binjiang".parse().unwrap(),
            organiser: "kaixin".parse().unwrap(),
            budget: Fen::new(20_000_000).unwrap(),
            deadline: Moment(1_767_225_600_000_000),
            start: StartMode::AtDeadline,
            window_minutes: 30,
            failure_grace_minutes: 15,
            backup: BackupPolicy::AnyFault,
            confirm_minutes: 30,
            consortium_allowed: false,
            bid_bytes_max: None,
            invited: None,
            rule_pack: "GP/1".into(),
            lots: [(lot(1), named("笔记本", PriceKind::Total)), (lot(2), named("服务", PriceKind::Rate))]
                .into(),
        }
    }

    fn sheet(price: Price, remark: &str) -> BidSheet {
        BidSheet {
            price,
            delivery_or_lead: "30日".into(),
            bid_security_method: "保函".into(),
            declaration_signed: true,
            remark: remark.into(),
        }
    }

    fn record() -> OpeningRecord {
        let row = |no, outcome| RecordRow {
            no,
            bid: BidId([no as u8; 16]),
            supplier: format!("供应商{no}"),
            outcome,
        };
        let total = Price::Total("1234.50".parse().unwrap());
        let rate = Price::Rate("95.50".parse().unwrap());
        let cause = FailureCause::DamagedStore;
        let opened = LotRecord::Opened {
            rows: vec![
                row(1, RowOutcome::Unsealed { sheet: sheet(total, ""), by_backup: true }),
                row(2, RowOutcome::Failed { cause, consequence: cause.consequence() }),
                row(3, RowOutcome::Unsealed { sheet: sheet(rate, "无"), by_backup: false }),
            ],
        };
        let closed = LotRecord::NotOpened {
            rule: "TR-44 87-41 (GP/1)".into(),
            bids: vec![SealedRow { bid: BidId([9; 16]), supplier: "供应商9".into() }],
        };
        OpeningRecord {
            published_at: Moment(1_767_226_000_000_000),
            lots: BTreeMap::from([(lot(1), opened), (lot(2), closed)]),
        }
    }

    #[test]
    fn a_record_is_a_pure_function_of_the_journal_and_anyone_can_check_it() {
        let key = PlatformKey::generate().unwrap();
        let text = record_text(&spec(), &record());
        assert_eq!(text, record_text(&spec(), &record()));
        assert!(text.starts_with(r#"{"format":"kaibiao opening-record 1","title":"开标记录（演练）","#));
        let signature = sign_record(&text, &key);
        let facts = verify_record(&text, &signature, key.public()).unwrap();
        assert_eq!(facts, RecordFacts::new(&spec(), &record()));
        assert_eq!(facts.lots[1].price_kind, PriceKind::Rate);
        assert_eq!(record_digest(&text), sha256(text.as_bytes()));
    }

    #[test]
    fn a_record_with_any_field_changed_is_refused() {
        let key = PlatformKey::generate().unwrap();
        let text = record_text(&spec(), &record());
        let signature = sign_record(&text, &key);
        let changed = each_member_changed(&text);
        assert!(changed.len() > 40);
        for (field, text) in changed {
            let fault = verify_record(&text, &signature, key.public());
            assert_eq!(fault, Err(RecordFault::NotSigned), "{field}");
        }
        for bad in [text.replace("（演练）", ""), text.replace("08:00:00", "08:00:01"), format!("{text}\n")]
        {
            let fault = verify_record(&bad, &sign_record(&bad, &key), key.public());
            assert_eq!(fault, Err(RecordFault::NotARecord), "{bad}");
        }
    }

    #[test]
    fn a_row_has_the_seven_columns_that_suppliers_know() {
        let LotRecord::Opened { rows } = &record().lots[&lot(1)] else { panic!("lot 1 is opened") };
        let texts: Vec<_> = rows.iter().map(|row| columns(row).texts().join("|")).collect();
        assert_eq!(
            texts,
            [
                "1|供应商1|1234.50|30日|保函|是|备份标书已启用",
                "2|供应商2|—|—|—|—|解密失败：平台存储的标书损坏，视为撤回其投标文件",
                "3|供应商3|95.50%|30日|保函|是|无",
            ]
        );
        let first = columns(&rows[0]);
        assert_eq!(
            (first.final_price.as_deref(), first.price_kind),
            (Some("1234.50"), Some(PriceKind::Total))
        );
    }
}
