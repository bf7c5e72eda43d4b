//! The opening record as files: one JSON file a lot, and the exact text that the platform signed.

use std::{fs, path::Path};

use kaibiao_bidder::confirm::CheckedRecord;
use kaibiao_protocol::{
    bid::{Consequence, FailureCause},
    ids::{LotNo, ProjectId},
    money::PriceKind,
    project::ProjectKind,
    record::{LotRecord, OpeningRecord, RecordRow, RowOutcome},
};
use kaibiao_sealed::record::{Columns, RecordHead, RecordedLot, columns};
use serde::Serialize;
use serde_json::json;

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

/// One lot's record as `record-lot-N.json` holds it.
#[derive(Serialize)]
pub(crate) struct LotFile<'a> {
    project: &'a ProjectId,
    project_name: &'a str,
    exercise: bool,
    lot: LotNo,
    lot_name: &'a str,
    price_kind: PriceKind,
    opened: bool,
    /// Why it was not opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    /// Whose bids stay sealed, where it was not opened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<&'a str>,
    rows: Vec<RowFile>,
}

/// One row: the seven columns in their order, and for programs how the bid stands.
#[derive(Serialize)]
struct RowFile {
    #[serde(flatten)]
    columns: Columns,
    #[serde(flatten)]
    standing: Standing,
}

#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Standing {
    Unsealed { by_backup: bool },
    Failed { cause: FailureCause, consequence: Consequence },
}

impl<'a> LotFile<'a> {
    pub(crate) fn new(head: &'a RecordHead, lot: &'a RecordedLot) -> Self {
        let (opened, rule, sealed, rows) = match &lot.record {
            LotRecord::Opened { rows } => (true, None, Vec::new(), rows.iter().map(RowFile::new).collect()),
            LotRecord::NotOpened { rule, bids } => {
                let sealed = bids.iter().map(|bid| bid.supplier.as_str()).collect();
                (false, Some(rule.as_str()), sealed, Vec::new())
            }
        };
        Self {
            project: &head.project,
            project_name: &head.name,
            exercise: head.kind == ProjectKind::Exercise,
            lot: lot.lot,
            lot_name: &lot.name,
            price_kind: lot.price_kind,
            opened,
            rule,
            sealed,
            rows,
        }
    }
}

impl RowFile {
    fn new(row: &RecordRow) -> Self {
        let standing = match &row.outcome {
            RowOutcome::Unsealed { by_backup, .. } => Standing::Unsealed { by_backup: *by_backup },
            RowOutcome::Failed { cause, consequence } => {
                Standing::Failed { cause: *cause, consequence: *consequence }
            }
        };
        Self { columns: columns(row), standing }
    }
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
            serde_json::to_string_pretty(&LotFile::new(&record.facts.head, lot)).expect("a record is JSON");
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
