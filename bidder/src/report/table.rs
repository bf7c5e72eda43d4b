//! Opening records as tables of text.

use kaibiao_protocol::record::LotRecord;
use kaibiao_sealed::record::{COLUMN_TITLES, RecordFacts, columns};

/// The record of every lot as tables, one below the other.
pub fn record_tables(facts: &RecordFacts) -> String {
    facts
        .lots
        .iter()
        .map(|lot| lot_table(lot.lot.get(), &lot.name, &lot.record))
        .collect::<Vec<_>>()
        .join("\n")
}

/// One lot's record as a table with its heading.
pub fn lot_table(no: u16, name: &str, record: &LotRecord) -> String {
    let heading = format!("标项 {no} {name}\n");
    match record {
        LotRecord::Opened { rows } => {
            let rows: Vec<Vec<String>> = rows.iter().map(|row| columns(row).texts().to_vec()).collect();
            heading + &table(&COLUMN_TITLES.map(str::to_owned), &rows)
        }
        LotRecord::NotOpened { rule, bids } => {
            let names: Vec<&str> = bids.iter().map(|bid| bid.supplier.as_str()).collect();
            let who = if names.is_empty() { "—".to_owned() } else { names.join("、") };
            heading + &format!("未开标（不足三家），依据 {rule}；已递交：{who}\n")
        }
    }
}

/// A table whose columns are as wide as their widest cell, Chinese characters counted as two.
pub fn table(titles: &[String], rows: &[Vec<String>]) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(titles.get(column));
        cells.map(|cell| width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..titles.len()).map(width_of).collect();
    let line = |cells: &[String]| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, wide)| format!("{cell}{}", " ".repeat(wide - width(cell).min(*wide))));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule = format!("{}\n", widths.iter().map(|wide| "-".repeat(*wide)).collect::<Vec<_>>().join("  "));
    line(titles) + &rule + &rows.iter().map(|row| line(row)).collect::<String>()
}

/// Columns a text takes on a terminal: East Asian wide and full-width characters take two.
pub fn width(text: &str) -> usize {
    text.chars().map(|letter| if is_wide(letter) { 2 } else { 1 }).sum()
}

fn is_wide(letter: char) -> bool {
    matches!(u32::from(letter),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe4f | 0xff00..=0xff60
        | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_and_latin_cells_stand_in_line() {
        let titles = ["序号".to_owned(), "供应商".to_owned()];
        let rows = [vec!["1".to_owned(), "明德家具".to_owned()], vec!["12".to_owned(), "ACME".to_owned()]];
        let drawn = table(&titles, &rows);
        let starts: Vec<usize> = drawn
            .lines()
            .filter(|line| !line.starts_with('-'))
            .map(|line| {
                let second = line.split_whitespace().nth(1).unwrap();
                width(&line[..line.find(second).unwrap()])
            })
            .collect();
        assert_eq!(starts, [6, 6, 6]);
    }
}
