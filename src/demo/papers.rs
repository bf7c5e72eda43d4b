//! What each supplier puts into its bid: bid sheets and PDFs, the same for the same supplier.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kaibiao_bidder::practice::{forms, papers::Paper};
use serde_json::Value;

use super::cast::Supplier;
use crate::outcome::Failure;

/// What was written for one bid.
pub(super) struct Papers {
    /// The file of bid sheets.
    pub(super) sheet: PathBuf,
    /// Documents, as `--document` takes them.
    pub(super) documents: Vec<String>,
}

/// Writes a supplier's papers for `lots` lots, about `bytes` in all. `better`: a second, cheaper bid.
pub(super) fn write(
    dir: &Path,
    supplier: &Supplier,
    lots: u16,
    bytes: usize,
    better: bool,
) -> Result<Papers, Failure> {
    fs::create_dir_all(dir)
        .map_err(|fault| Failure::of(&format!("make the folder {}", dir.display()), fault))?;
    let sheet = dir.join("sheet.json");
    write_json(&sheet, &forms::sheets(supplier.no, lots, better))?;
    write_json(&dir.join("contact.json"), &forms::contact(supplier.no))?;
    let mut documents = Vec::new();
    // One qualification answer for all lots, and two answers a lot.
    let each = bytes / (1 + 2 * usize::from(lots));
    let mut paper = |argument: String, title: String, no: u64| {
        let path = dir.join(format!("{title}.pdf"));
        let lines = [
            format!("投标人:{}", supplier.name),
            "本文件为演练材料,不具有法律效力。".to_owned(),
            format!("编号:{}-{no:02}", supplier.id),
        ];
        let made = Paper {
            title: &title,
            lines: &lines,
            pages: 4,
            bytes: each,
            seed: u64::from(supplier.no) << 8 | no,
        };
        let made = made.make().map_err(|fault| Failure::of("make a PDF", fault))?;
        fs::write(&path, made).map_err(|fault| Failure::of(&format!("write {}", path.display()), fault))?;
        documents.push(format!("{argument}={}", path.display()));
        Ok::<(), Failure>(())
    };
    paper("qualification".to_owned(), "资格文件".to_owned(), 0)?;
    for lot in 1..=lots {
        let no = u64::from(lot) * 2;
        paper(format!("{lot}:price"), format!("标项{lot}报价文件"), no)?;
        paper(format!("{lot}:commercial-technical"), format!("标项{lot}商务技术文件"), no + 1)?;
    }
    Ok(Papers { sheet, documents })
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("a value is JSON");
    fs::write(path, text + "\n").map_err(|fault| Failure::of(&format!("write {}", path.display()), fault))
}
