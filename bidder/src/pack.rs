//! Packing a bid: a file of bid sheets and PDFs become a bid package (`.bfbs`). Every fault is named at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use kaibiao_protocol::{
    ids::{LotNo, OrganisationId, ProjectId},
    money::{Price, PriceKind},
    record::BidSheet,
};
use kaibiao_sealed::package::{
    self, DOCUMENTS_MAX, DocumentKind, NewDocument, NewLot, Package, PackageFault, Packing, TITLE_CHARS_MAX,
    check_sheet,
};
use serde::{Deserialize, Deserializer, de};

use crate::{
    pdf::{PdfFault, check_pdf},
    report::{Explain, Problem, package_problem, say},
};

/// The largest file of bid sheets read.
const SHEETS_BYTES_MAX: u64 = 1024 * 1024;

/// A document as it is named on the command line: `KIND=FILE` for every lot, `LOT:KIND=FILE` for one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DocumentArgument {
    /// The lot it concerns; none: every lot.
    pub lot: Option<LotNo>,
    /// What it answers.
    pub kind: DocumentKind,
    /// Where it lies.
    pub path: PathBuf,
}

/// The text names no document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotADocument;

impl fmt::Display for NotADocument {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = DocumentKind::ALL.map(DocumentKind::as_str).join(", ");
        write!(out, "expected KIND=FILE or LOT:KIND=FILE with KIND one of {kinds}")
    }
}

impl std::error::Error for NotADocument {}

impl FromStr for DocumentArgument {
    type Err = NotADocument;

    fn from_str(text: &str) -> Result<Self, NotADocument> {
        let (what, path) = text.split_once('=').ok_or(NotADocument)?;
        let (lot, kind) = match what.split_once(':') {
            Some((lot, kind)) => (Some(lot.parse().map_err(|_| NotADocument)?), kind),
            None => (None, what),
        };
        let kind = kind.parse().map_err(|_| NotADocument)?;
        if path.is_empty() { Err(NotADocument) } else { Ok(Self { lot, kind, path: path.into() }) }
    }
}

/// What a bid is packed from.
pub struct PackJob<'a> {
    /// The project.
    pub project: ProjectId,
    /// Who bids.
    pub supplier: OrganisationId,
    /// The file of bid sheets.
    pub sheets: &'a Path,
    /// The documents, in the order in which they are to stand.
    pub documents: &'a [DocumentArgument],
    /// Where the package is written.
    pub out: &'a Path,
}

/// A package that was written.
pub struct Packed {
    /// It, opened again.
    pub package: Package,
    /// Documents in it.
    pub documents: usize,
    /// Pages of all documents.
    pub pages: usize,
    /// Bytes of the file.
    pub bytes: u64,
}

/// One thing wrong with what is to be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackProblem {
    /// The file of bid sheets cannot be read.
    #[error("{}: cannot be read: {why}", path.display())]
    SheetsUnreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It is not JSON of the documented form.
    #[error("{}: {why}", path.display())]
    SheetsMalformed {
        /// Which.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// It bids for no lot.
    #[error("{}: no lot is bid for", .0.display())]
    NoLot(PathBuf),
    /// A price is not written as one.
    #[error("lot {lot}: price {found:?} is not {wanted}")]
    Price {
        /// Which lot.
        lot: LotNo,
        /// What stands there.
        found: String,
        /// How prices of this kind are written.
        wanted: &'static str,
    },
    /// A field of a sheet breaks its limit.
    #[error("lot {lot}: {field} is longer than 200 characters or has invisible ones")]
    Field {
        /// Which lot.
        lot: LotNo,
        /// Which field.
        field: &'static str,
    },
    /// A document is for a lot that has no sheet.
    #[error("{}: lot {lot} has no bid sheet", path.display())]
    NoSheet {
        /// Which document.
        path: PathBuf,
        /// Which lot.
        lot: LotNo,
    },
    /// A document is not taken.
    #[error("{}: {fault}", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        fault: PdfFault,
    },
    /// A document's name cannot be its title.
    #[error("{}: the file's name has more than 200 characters, or invisible ones", .0.display())]
    Title(PathBuf),
    /// One part has more documents than fit.
    #[error("{0} has more than {DOCUMENTS_MAX} documents")]
    TooManyDocuments(String),
}

/// Why nothing was packed.
#[derive(Debug, thiserror::Error)]
pub enum PackFault {
    /// What is to be packed has faults: all of them.
    #[error("{} fault(s) in what is to be packed", .0.len())]
    Problems(Vec<PackProblem>),
    /// The package cannot be written.
    #[error(transparent)]
    Package(#[from] PackageFault),
}

/// The file of bid sheets: `{"lots": {"1": {"price": "1234.50", …}, …}}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheets {
    #[serde(deserialize_with = "distinct_lots")]
    lots: BTreeMap<LotNo, Sheet>,
}

/// One lot's bid sheet as a person writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    /// Yuan with two decimals, or percent with two decimals where `price_kind` is `rate`.
    price: String,
    #[serde(default = "total")]
    price_kind: PriceKind,
    delivery_or_lead: String,
    bid_security_method: String,
    declaration_signed: bool,
    #[serde(default)]
    remark: String,
}

fn total() -> PriceKind {
    PriceKind::Total
}

/// A lot named twice would be a bid with two readings.
fn distinct_lots<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<LotNo, Sheet>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = BTreeMap<LotNo, Sheet>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("bid sheets by lot number")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut lots = BTreeMap::new();
            while let Some((lot, sheet)) = map.next_entry::<LotNo, Sheet>()? {
                if lots.insert(lot, sheet).is_some() {
                    return Err(de::Error::custom(format_args!("lot {lot} stands twice")));
                }
            }
            Ok(lots)
        }
    }
    input.deserialize_map(Visitor)
}

impl Sheet {
    fn checked(self, lot: LotNo, problems: &mut Vec<PackProblem>) -> Option<BidSheet> {
        let text = self.price;
        let (price, wanted) = match self.price_kind {
            PriceKind::Total => (text.parse().map(Price::Total), YUAN),
            PriceKind::UnitPrice => (text.parse().map(Price::UnitPrice), YUAN),
            PriceKind::Rate => (text.parse().map(Price::Rate), PERCENT),
        };
        let Ok(price) = price else {
            problems.push(PackProblem::Price { lot, found: text, wanted });
            return None;
        };
        let sheet = BidSheet {
            price,
            delivery_or_lead: self.delivery_or_lead,
            bid_security_method: self.bid_security_method,
            declaration_signed: self.declaration_signed,
            remark: self.remark,
        };
        match check_sheet(&sheet) {
            Ok(()) => Some(sheet),
            Err(PackageFault::ManifestField(field)) => {
                problems.push(PackProblem::Field { lot, field });
                None
            }
            Err(_) => {
                problems.push(PackProblem::Field { lot, field: "sheet" });
                None
            }
        }
    }
}

const YUAN: &str = "yuan with exactly two decimals and no separators, such as 1234.50";
const PERCENT: &str = "percent with exactly two decimals, such as 95.50";

impl PackJob<'_> {
    /// Checks everything and writes the package, whole or not at all. `progress` is told document bytes done and
    /// in all.
    ///
    /// # Errors
    /// [`PackFault::Problems`] names every fault of sheets and documents at once; nothing is written then.
    pub fn run(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Packed, PackFault> {
        let mut problems = Vec::new();
        let (sheets, lots_named) = self.sheets(&mut problems);
        let mut lots: BTreeMap<LotNo, NewLot> =
            sheets.into_iter().map(|(lot, sheet)| (lot, NewLot { sheet, documents: Vec::new() })).collect();
        let mut common = Vec::new();
        let mut pages = 0;
        for document in self.documents {
            match check_pdf(&document.path) {
                Ok(count) => pages += count,
                Err(fault) => problems.push(PackProblem::Document { path: document.path.clone(), fault }),
            }
            let Some(new) = titled(document, &mut problems) else { continue };
            match document.lot {
                None => common.push(new),
                Some(lot) => match lots.get_mut(&lot) {
                    Some(place) => place.documents.push(new),
                    // A lot whose sheet has a fault of its own is not missing.
                    None if lots_named.contains(&lot) => {}
                    None => problems.push(PackProblem::NoSheet { path: document.path.clone(), lot }),
                },
            }
        }
        if common.len() > DOCUMENTS_MAX {
            problems.push(PackProblem::TooManyDocuments("common".to_owned()));
        }
        for (lot, new) in &lots {
            if new.documents.len() > DOCUMENTS_MAX {
                problems.push(PackProblem::TooManyDocuments(format!("lot {lot}")));
            }
        }
        if !problems.is_empty() {
            return Err(PackFault::Problems(problems));
        }
        let packing =
            Packing { project: self.project.clone(), supplier: self.supplier.clone(), common, lots };
        let package = package::pack(&packing, self.out, progress)?;
        let bytes = fs::metadata(self.out).map_or(0, |about| about.len());
        Ok(Packed { package, documents: self.documents.len(), pages, bytes })
    }

    /// The good sheets, and every lot that has a sheet at all.
    fn sheets(&self, problems: &mut Vec<PackProblem>) -> (BTreeMap<LotNo, BidSheet>, BTreeSet<LotNo>) {
        let path = || self.sheets.to_owned();
        let read = match fs::metadata(self.sheets) {
            Ok(about) if about.len() > SHEETS_BYTES_MAX => Err(format!("more than {SHEETS_BYTES_MAX} bytes")),
            Ok(_) => fs::read(self.sheets).map_err(|fault| fault.to_string()),
            Err(fault) => Err(fault.to_string()),
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(why) => {
                problems.push(PackProblem::SheetsUnreadable { path: path(), why });
                return Default::default();
            }
        };
        let sheets: Sheets = match serde_json::from_slice(&bytes) {
            Ok(sheets) => sheets,
            Err(fault) => {
                problems.push(PackProblem::SheetsMalformed { path: path(), why: fault.to_string() });
                return Default::default();
            }
        };
        if sheets.lots.is_empty() {
            problems.push(PackProblem::NoLot(path()));
        }
        let named = sheets.lots.keys().copied().collect();
        let good = sheets
            .lots
            .into_iter()
            .filter_map(|(lot, sheet)| Some((lot, sheet.checked(lot, problems)?)))
            .collect();
        (good, named)
    }
}

/// A document under the title of its file.
fn titled(document: &DocumentArgument, problems: &mut Vec<PackProblem>) -> Option<NewDocument> {
    let title = document.path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let chars = title.chars().count();
    if chars == 0 || chars > TITLE_CHARS_MAX || title.chars().any(char::is_control) {
        problems.push(PackProblem::Title(document.path.clone()));
        return None;
    }
    Some(NewDocument { kind: document.kind, title, path: document.path.clone() })
}

impl Explain for PackFault {
    fn problem(&self) -> Problem {
        match self {
            PackFault::Package(fault) => package_problem(fault),
            PackFault::Problems(problems) => match problems.first() {
                Some(first) => first.problem(),
                None => package_problem(&PackageFault::PartsMissing),
            },
        }
    }

    fn problems(&self) -> Vec<Problem> {
        match self {
            PackFault::Package(fault) => vec![package_problem(fault)],
            PackFault::Problems(problems) => problems.iter().map(Explain::problem).collect(),
        }
    }
}

impl Explain for PackProblem {
    fn problem(&self) -> Problem {
        let mend_sheet =
            || say("请按 docs/bidding.md 修正开标一览表", "correct the sheet as docs/bidding.md shows");
        let at = |path: &Path| path.display().to_string();
        match self {
            PackProblem::SheetsUnreadable { path, why } => Problem::new(
                "sheet_unreadable",
                say(format!("无法读取开标一览表：{why}"), self.to_string()),
                say("请检查路径与权限", "check the path and its rights"),
            )
            .at(at(path)),
            PackProblem::SheetsMalformed { path, why } => Problem::new(
                "sheet_malformed",
                say(format!("开标一览表格式有误：{why}"), self.to_string()),
                mend_sheet(),
            )
            .at(at(path)),
            PackProblem::NoLot(path) => {
                Problem::new("no_lot", say("开标一览表未包含任何标项", self.to_string()), mend_sheet()).at(at(path))
            }
            PackProblem::Price { lot, found, .. } => Problem::new(
                "price_malformed",
                say(format!("标项 {lot} 的报价 {found:?} 写法有误"), self.to_string()),
                say(
                    "写成两位小数、不带千分位与单位，如 1234.50（费率写百分数，如 95.50）",
                    "write two decimals without separators or units, such as 1234.50 (a rate in percent, such as 95.50)",
                ),
            )
            .at(format!("lots.{lot}.price")),
            PackProblem::Field { lot, field } => Problem::new(
                "sheet_field",
                say(format!("标项 {lot} 的 {field} 超过 200 字或含不可见字符"), self.to_string()),
                mend_sheet(),
            )
            .at(format!("lots.{lot}.{field}")),
            PackProblem::NoSheet { path, lot } => Problem::new(
                "lot_without_sheet",
                say(format!("该文件属于标项 {lot}，但开标一览表中没有此标项"), self.to_string()),
                say("请补充该标项的一览表，或去掉此文件", "add the lot's sheet, or leave the document out"),
            )
            .at(at(path)),
            PackProblem::Document { path, fault } => {
                let (zh, next) = match fault {
                    PdfFault::Unreadable(why) => (
                        format!("无法读取：{why}"),
                        say("请检查路径与权限", "check the path and its rights"),
                    ),
                    PdfFault::TooLarge { bytes } => (
                        format!("文件过大（{bytes} 字节，上限 104857600 字节即 100 MiB）"),
                        say("请压缩图片或拆分为多个文件", "compress its pictures or split it"),
                    ),
                    PdfFault::NotAPdf => (
                        "不是 PDF 文件".to_owned(),
                        say("请导出为 PDF 后重试", "export it as PDF and try again"),
                    ),
                    PdfFault::Encrypted => (
                        "该 PDF 已加密或设有密码".to_owned(),
                        say("请去除密码后重新导出", "remove the password and export it again"),
                    ),
                    PdfFault::Damaged(why) => (
                        format!("该 PDF 已损坏：{why}"),
                        say("请重新导出该文件", "export it again"),
                    ),
                };
                Problem::new(fault.code(), say(zh, self.to_string()), next).at(at(path))
            }
            PackProblem::Title(path) => Problem::new(
                "document_title",
                say("文件名不能作为标题：超过 200 字或含不可见字符", self.to_string()),
                say("请修改文件名", "rename the file"),
            )
            .at(at(path)),
            PackProblem::TooManyDocuments(part) => Problem::new(
                "too_many_documents",
                say(format!("{part} 的文件超过 {DOCUMENTS_MAX} 个"), self.to_string()),
                say("请合并部分文件", "join some of them"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_named_by_kind_and_file_for_one_lot_or_for_all() {
        let parsed = "2:commercial-technical=a=b.pdf".parse::<DocumentArgument>().unwrap();
        assert_eq!((parsed.lot, parsed.kind), (LotNo::new(2), DocumentKind::CommercialTechnical));
        assert_eq!(parsed.path, Path::new("a=b.pdf"));
        assert_eq!("price=x.pdf".parse::<DocumentArgument>().unwrap().lot, None);
        for bad in ["", "x.pdf", "price=", "0:price=x", "1:=x", "brochure=x.pdf", "lot-1:price=x"] {
            assert!(bad.parse::<DocumentArgument>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sheet_with_two_readings_is_refused() {
        let sheet =
            r#"{"price":"1.00","delivery_or_lead":"","bid_security_method":"","declaration_signed":true}"#;
        let read = |text: &str| serde_json::from_str::<Sheets>(text).map(|sheets| sheets.lots.len());
        assert_eq!(read(&format!(r#"{{"lots":{{"1":{sheet},"2":{sheet}}}}}"#)).unwrap(), 2);
        for bad in [
            format!(r#"{{"lots":{{"1":{sheet},"1":{sheet}}}}}"#),
            format!(r#"{{"lots":{{"01":{sheet}}}}}"#),
            format!(r#"{{"lots":{{"1":{sheet}}},"lots":{{}}}}"#),
            format!(r#"{{"lots":{{"1":{}}}}}"#, sheet.replace("\"price\":\"1.00\"", "\"price\":1.00")),
            format!(r#"{{"lots":{{"1":{}}}}}"#, sheet.replace('{', "{\"price\":\"2.00\",")),
            format!(r#"{{"lots":{{"1":{}}}}}"#, sheet.replace('{', "{\"note\":\"2.00\",")),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
