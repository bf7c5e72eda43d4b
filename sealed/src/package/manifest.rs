//! Manifests: what a part says of itself.

use std::fmt;

use kaibiao_protocol::{
    bid::PartName,
    digest::Digest,
    ids::{OrganisationId, ProjectId},
    record::{BidSheet, SHEET_CHARS_MAX},
};
use serde::{Deserialize, Serialize};

use super::PackageFault;
use crate::strict_json::{parse_canonical, to_canonical};

/// The most bytes a manifest may have.
pub const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
/// The most documents a part may have: their numbers have two digits.
pub const DOCUMENTS_MAX: usize = 99;
/// The longest title of a document, in characters.
pub const TITLE_CHARS_MAX: usize = 200;

/// The format's name inside a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ManifestFormat {
    /// The first and only one.
    #[serde(rename = "kaibiao bid-part 1")]
    V1,
}

/// What a document answers (D3, D4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DocumentKind {
    /// Qualification answer (资格文件).
    Qualification,
    /// Price answer (报价文件).
    Price,
    /// Commercial and technical answer (商务技术文件).
    CommercialTechnical,
    /// Signed declaration (确认声明书).
    Declaration,
    /// Anything else the tender asks for.
    Other,
}

impl DocumentKind {
    /// Every kind, in a fixed order.
    pub const ALL: [DocumentKind; 5] = [
        DocumentKind::Qualification,
        DocumentKind::Price,
        DocumentKind::CommercialTechnical,
        DocumentKind::Declaration,
        DocumentKind::Other,
    ];

    /// The kind as it is written in manifests, names of entries and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            DocumentKind::Qualification => "qualification",
            DocumentKind::Price => "price",
            DocumentKind::CommercialTechnical => "commercial-technical",
            DocumentKind::Declaration => "declaration",
            DocumentKind::Other => "other",
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl std::str::FromStr for DocumentKind {
    type Err = PackageFault;

    fn from_str(text: &str) -> Result<Self, PackageFault> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or(PackageFault::ManifestField("kind"))
    }
}

/// One document of a part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DocumentEntry {
    /// The entry's name: `documents/`, the document's number in two digits, `-`, its kind, `.pdf`.
    pub name: String,
    /// What it answers.
    pub kind: DocumentKind,
    /// Its title as people read it: 1 to 200 characters, no control characters.
    pub title: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its bytes.
    pub bytes: u64,
}

/// What a part says of itself. The common part has no sheet, a lot's part has one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Which format this is.
    pub format: ManifestFormat,
    /// Which part this is.
    pub part: PartName,
    /// The project.
    pub project: ProjectId,
    /// Who bids.
    pub supplier: OrganisationId,
    /// The bid sheet of the lot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sheet: Option<BidSheet>,
    /// The documents in their order.
    pub documents: Vec<DocumentEntry>,
}

impl Manifest {
    /// Reads a manifest from exactly its bytes.
    ///
    /// # Errors
    /// [`PackageFault::ManifestTooLarge`], [`PackageFault::Manifest`], [`PackageFault::ManifestField`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PackageFault> {
        if bytes.len() as u64 > MANIFEST_BYTES_MAX {
            return Err(PackageFault::ManifestTooLarge);
        }
        let manifest: Self = parse_canonical(bytes).map_err(PackageFault::Manifest)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// What the types alone do not say.
    ///
    /// # Errors
    /// [`PackageFault::ManifestField`] names the field.
    pub(super) fn check(&self) -> Result<(), PackageFault> {
        match (self.part, &self.sheet) {
            (PartName::Common, None) => {}
            (PartName::Lot(_), Some(sheet)) => check_sheet(sheet)?,
            (PartName::Common, Some(_)) | (PartName::Lot(_), None) => {
                return Err(PackageFault::ManifestField("sheet"));
            }
        }
        if self.documents.len() > DOCUMENTS_MAX {
            return Err(PackageFault::ManifestField("documents"));
        }
        for (at, document) in self.documents.iter().enumerate() {
            if document.name != document_name(at + 1, document.kind) {
                return Err(PackageFault::ManifestField("name"));
            }
            let chars = document.title.chars().count();
            if chars == 0 || chars > TITLE_CHARS_MAX || !document.title.chars().all(is_plain) {
                return Err(PackageFault::ManifestField("title"));
            }
        }
        Ok(())
    }
}

/// The name of the entry of the document with this number (from 1).
pub(super) fn document_name(no: usize, kind: DocumentKind) -> String {
    format!("documents/{no:02}-{kind}.pdf")
}

/// Checks a bid sheet's texts: at most 200 characters each, without control or direction characters that
/// would make one text look like another.
///
/// # Errors
/// [`PackageFault::ManifestField`] names the field.
pub fn check_sheet(sheet: &BidSheet) -> Result<(), PackageFault> {
    let texts = [
        ("delivery_or_lead", &sheet.delivery_or_lead),
        ("bid_security_method", &sheet.bid_security_method),
        ("remark", &sheet.remark),
    ];
    for (field, text) in texts {
        if text.chars().count() > SHEET_CHARS_MAX || !text.chars().all(is_plain) {
            return Err(PackageFault::ManifestField(field));
        }
    }
    Ok(())
}

/// No control character, and none of the invisible ones that reorder or hide what stands beside them.
fn is_plain(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::{ids::LotNo, money::Price};

    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: ManifestFormat::V1,
            part: PartName::Lot(LotNo::new(1).unwrap()),
            project: "KX-1".parse().unwrap(),
            supplier: "mingde".parse().unwrap(),
            sheet: Some(BidSheet {
                price: Price::Total("1234.50".parse().unwrap()),
                delivery_or_lead: "30日".into(),
                bid_security_method: "保函".into(),
                declaration_signed: true,
                remark: String::new(),
            }),
            documents: vec![DocumentEntry {
                name: "documents/01-price.pdf".into(),
                kind: DocumentKind::Price,
                title: "报价文件".into(),
                sha256: Digest([1; 32]),
                bytes: 5,
            }],
        }
    }

    #[test]
    fn a_manifest_is_read_from_the_bytes_it_is_written_as() {
        assert_eq!(Manifest::parse(&manifest().to_bytes()).unwrap(), manifest());
    }

    #[test]
    fn a_manifest_with_two_readings_is_refused() {
        let text = String::from_utf8(manifest().to_bytes()).unwrap();
        for (from, to) in [
            (r#""value":"1234.50""#, r#""value":"1,234.50""#),
            (r#""value":"1234.50""#, r#""value":"1234.5""#),
            (r#""value":"1234.50""#, r#""value":"１234.50""#),
            (r#""value":"1234.50""#, r#""value":"0.12万""#),
            (r#""value":"1234.50""#, r#""value":1234.50"#),
            (r#""value":"1234.50""#, r#""value":"1234.50","value":"9.00""#),
            (r#""price":"#, r#""price":{"kind":"total","value":"9.00"},"price":"#),
            (r#""bytes":5"#, r#""bytes":5.0"#),
            (r#""title":"报价文件""#, r#""title":"\u62a5价文件""#),
            (r#""remark":"""#, r#""remark":"","links":[]"#),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text);
            assert!(matches!(Manifest::parse(bad.as_bytes()), Err(PackageFault::Manifest(_))), "{to}");
        }
    }

    #[test]
    fn a_field_beyond_its_limit_is_named() {
        let check = |change: fn(&mut Manifest), field: &str| {
            let mut bad = manifest();
            change(&mut bad);
            match Manifest::parse(&bad.to_bytes()) {
                Err(PackageFault::ManifestField(named)) => assert_eq!(named, field),
                other => panic!("{field}: {other:?}"),
            }
        };
        fn sheet(manifest: &mut Manifest) -> &mut BidSheet {
            manifest.sheet.as_mut().unwrap()
        }
        check(|m| m.sheet = None, "sheet");
        check(|m| m.part = PartName::Common, "sheet");
        check(|m| m.documents[0].name = "documents/02-price.pdf".into(), "name");
        check(|m| m.documents[0].name = "documents/../price.pdf".into(), "name");
        check(|m| m.documents[0].kind = DocumentKind::Other, "name");
        check(|m| m.documents[0].title = String::new(), "title");
        check(|m| m.documents[0].title = "a\n".into(), "title");
        check(|m| m.documents = vec![m.documents[0].clone(); 100], "documents");
        check(|m| sheet(m).remark = "备".repeat(201), "remark");
        check(|m| sheet(m).delivery_or_lead = "30\u{202e}日".into(), "delivery_or_lead");
        check(|m| sheet(m).bid_security_method = "\u{200b}".into(), "bid_security_method");
    }
}
