//! What each supplier puts into its bid: bid sheets and PDFs, the same for the same supplier.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kaibiao_bidder::practice::papers::Paper;
use serde_json::{Value, json};

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
    write_json(&sheet, &sheets(supplier, lots, better))?;
    write_json(&dir.join("contact.json"), &contact_form(supplier))?;
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

fn sheets(supplier: &Supplier, lots: u16, better: bool) -> Value {
    let mut all = serde_json::Map::new();
    for lot in 1..=lots {
        // A spread of prices below the lots' budgets, in fen, none equal to another.
        let fen = 86_000_000 + u64::from(lot) * 4_000_000 + u64::from(supplier.no) * 713_507 % 12_000_000;
        let fen = if better { fen - 2_000_000 } else { fen };
        let sheet = json!({
            "price": format!("{}.{:02}", fen / 100, fen % 100),
            "delivery_or_lead": format!("合同签订后 {} 日内", 15 + supplier.no % 20),
            "bid_security_method": if supplier.no.is_multiple_of(3) { "电子保函" } else { "银行转账" },
            "declaration_signed": true,
            "remark": if better { "替换投标" } else { "" },
        });
        all.insert(lot.to_string(), sheet);
    }
    json!({ "lots": all })
}

/// A made-up person whose numbers have the right form and belong to nobody: the area code 999999 does not exist.
fn contact_form(supplier: &Supplier) -> Value {
    let body = format!("99999919900101{:03}", supplier.no);
    json!({
        "name": format!("演练代表{}", supplier.no),
        "id_number": format!("{body}{}", check_digit(&body)),
        "mobile": format!("190{:08}", supplier.no),
        "postcode": "310000",
        "address": format!("演练路 {} 号", supplier.no),
    })
}

/// GB 11643: weights modulo 11.
fn check_digit(body: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const DIGITS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
    let sum: u32 = body.bytes().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    DIGITS[(sum % 11) as usize]
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("a value is JSON");
    fs::write(path, text + "\n").map_err(|fault| Failure::of(&format!("write {}", path.display()), fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_number_of_practice_has_the_right_check_digit() {
        assert_eq!(check_digit("11010519491231002"), 'X');
        assert_eq!(check_digit("44052418800101001"), '4');
    }
}
