//! The opening record as files: one JSON file a lot, and the exact text that the platform signed.

use std::{fs, path::Path};

use kaibiao_bidder::confirm::CheckedRecord;
use kaibiao_protocol::{
    ids::LotNo,
    project::ProjectKind,
    record::{LotRecord, OpeningRecord, RecordRow, RowOutcome},
};
use kaibiao_sealed::record::{RecordHead, RecordedLot, columns};
use serde_json::{Value, json};

use crate::outcome::{Failure, Outcome};

/// What stands before the title of everything that belongs to an exercise.
pub(crate) fn exercise_mark(head: &RecordHead) -> &'static str {
    match head.kind {
        ProjectKind::Exercise => "【演练】",
        ProjectKind::Real => "",
    }
}

/// The rows of every opened lot.
pub(crate) fn rows_of(record: &OpeningRecord) -> impl Iterator<Item = (LotNo, &[RecordRow])> {
    record.lots.iter().map(|(lot, record)| match record {
        LotRecord::Opened { rows } => (*lot, rows.as_slice()),
        LotRecord::NotOpened { .. } => (*lot, &[][..]),
    })
}

/// One lot's record as `record-lot-N.json` holds it: its rows are the seven columns, in order.
pub(crate) fn lot_value(head: &RecordHead, lot: &RecordedLot) -> Value {
    let mut value = json!({
        "project": head.project,
        "project_name": head.name,
        "exercise": head.kind == ProjectKind::Exercise,
        "lot": lot.lot,
        "lot_name": lot.name,
        "price_kind": lot.price_kind,
    });
    match &lot.record {
        LotRecord::Opened { rows } => {
            value["opened"] = json!(true);
            value["rows"] = rows.iter().map(row_value).collect();
        }
        LotRecord::NotOpened { rule, bids } => {
            value["opened"] = json!(false);
            value["rule"] = json!(rule);
            value["sealed"] = bids.iter().map(|bid| json!(bid.supplier)).collect();
            value["rows"] = json!([]);
        }
    }
    value
}

/// One row: the seven columns in order, and for programs how the bid stands.
fn row_value(row: &RecordRow) -> Value {
    let mut value = json!(columns(row));
    match &row.outcome {
        RowOutcome::Unsealed { by_backup, .. } => {
            value["outcome"] = json!("unsealed");
            value["by_backup"] = json!(by_backup);
        }
        RowOutcome::Failed { cause, consequence } => {
            value["outcome"] = json!("failed");
            value["cause"] = json!(cause);
            value["consequence"] = json!(consequence);
        }
    }
    value
}

/// Leaves a checked record in a folder: each lot as JSON, and the exact signed text with its signature.
pub(crate) fn leave(dir: &Path, record: &CheckedRecord) -> Outcome {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(|fault| Failure::of(&format!("write {}", path.display()), fault))
    };
    fs::create_dir_all(dir)
        .map_err(|fault| Failure::of(&format!("make the folder {}", dir.display()), fault))?;
    for lot in &record.facts.lots {
        let text =
            serde_json::to_string_pretty(&lot_value(&record.facts.head, lot)).expect("a record is JSON");
        write(&format!("record-lot-{}.json", lot.lot), (text + "\n").as_bytes())?;
    }
    write("opening-record.json", record.published.text.as_bytes())?;
    let signature = serde_json::to_string_pretty(&json!({
        "digest": record.digest,
        "signature": record.published.signature,
    }))
    .expect("a signature is JSON");
    write("opening-record.signature.json", (signature + "\n").as_bytes())
}
