//! What must hold after a play, looked at from outside: what the people hold, what the server ever sent, what lies in
//! the journal.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use kaibiao_actors::journal::{Journal as _, SqliteJournal, StoredRecord, Stream};
use kaibiao_engine::{
    invariants::{history_holds, room_projection},
    stored::decode_project,
    visibility::Audience,
};
use kaibiao_protocol::{
    event::ProjectEvent,
    ids::BidId,
    moment::Moment,
    record::{LotRecord, RowOutcome},
    view::{RoomEvent, UploadVerdict, ViewEvent},
};
use kaibiao_sealed::{receipt::verify_receipt, refusal_notice::verify_refusal_notice};

use crate::{
    cast::Cast,
    script::{Held, leave},
};

/// Kinds of records of which a restart, or a second try, may make one more; refusals are counted by themselves.
const MAY_VARY: [&str; 3] = ["order_issued", "outage_given_back", "upload_refused"];

/// The kinds of records in the project's stream, counted; those that may vary left out.
pub(crate) type Kinds = BTreeMap<String, usize>;

/// Everything that can be looked at once the server is gone.
pub(crate) fn check(cast: &Cast, held: &Held, data: &Path, sent: &[Vec<u8>]) -> Kinds {
    no_price_outside_a_record(cast, sent);
    let records = project_records(cast, data);
    let history: Vec<(Moment, ProjectEvent)> = records
        .iter()
        .map(|record| (record.at, decode_project(&record.kind, record.version, &record.payload).unwrap()))
        .collect();
    history_holds(&history).unwrap();
    let projected = room_projection(Audience::Staff, &history);
    let heard: Vec<&RoomEvent> = held
        .heard
        .iter()
        .map(|notice| match &notice.event {
            ViewEvent::Room(event) => event,
            ViewEvent::Own(event) => panic!("an own event in the room: {event:?}"),
        })
        .collect();
    assert_eq!(heard, projected.iter().collect::<Vec<_>>(), "heard is what the journal says");
    verdicts(cast, held, &records);
    record(held);
    verified(cast, held, data);
    let mut kinds = Kinds::new();
    for record in records.iter().filter(|record| !MAY_VARY.contains(&record.kind.as_str())) {
        *kinds.entry(record.kind.clone()).or_default() += 1;
    }
    kinds
}

fn project_records(cast: &Cast, data: &Path) -> Vec<StoredRecord> {
    let journal = SqliteJournal::open(&data.join("journal")).unwrap();
    assert_eq!(
        (journal.report().cut.clone(), journal.report().torn_frames),
        (None, 0),
        "it was stopped in order"
    );
    journal.read(&Stream::Project(cast.project()), 0, usize::MAX).unwrap()
}

/// Every receipt names a record that is there once, every signed refusal an upload that no bid came of.
fn verdicts(cast: &Cast, held: &Held, records: &[StoredRecord]) {
    let (mut bids, mut refused) = (BTreeSet::new(), 0);
    for (no, upload, _, verdict) in &held.finals {
        match verdict {
            UploadVerdict::Received { bid, receipt } => {
                let facts = verify_receipt(receipt, &cast.receipt_key).unwrap();
                assert_eq!((facts.bid, facts.upload), (*bid, *upload));
                assert_eq!(facts.supplier.as_str(), cast.suppliers[*no].organisation);
                assert!(facts.received_at < cast.deadline);
                let named = records.iter().filter(|record| record.hash == facts.record_hash);
                assert_eq!(named.map(|record| record.kind.as_str()).collect::<Vec<_>>(), ["bid_submitted"]);
                assert!(bids.insert(*bid), "every bid is received once");
            }
            UploadVerdict::Refused { notice: Some(notice), .. } => {
                let facts = verify_refusal_notice(notice, &cast.receipt_key).unwrap();
                assert_eq!(facts.upload, *upload);
                refused += 1;
            }
            other => panic!("no verdict to hold: {other:?}"),
        }
    }
    let count = |kind: &str| records.iter().filter(|record| record.kind == kind).count();
    assert_eq!(count("bid_submitted"), bids.len(), "and no bid is there that nobody holds a receipt of");
    assert_eq!(count("upload_refused"), refused, "nor a refusal");
}

/// The bids that stand are in the record, each once, each unsealed; the lot with two stays sealed.
fn record(held: &Held) {
    let received = |no: usize| {
        let last = held.finals.iter().rfind(|one| one.0 == no).expect("its bid was received in the end");
        match &last.3 {
            UploadVerdict::Received { bid, .. } => *bid,
            other => panic!("{other:?}"),
        }
    };
    let standing: BTreeSet<BidId> = (0..3).map(received).collect();
    assert!(!standing.contains(&held.withdrawn));
    let lots = &held.record.facts.lots;
    let LotRecord::Opened { rows } = &lots[0].record else { panic!("the first lot is opened") };
    assert_eq!(rows.len(), 3);
    assert_eq!(rows.iter().map(|row| row.bid).collect::<BTreeSet<_>>(), standing);
    for row in rows {
        let RowOutcome::Unsealed { by_backup, .. } = row.outcome else { panic!("{row:?}") };
        assert_eq!(by_backup, row.bid == received(2));
    }
    assert!(matches!(&lots[1].record, LotRecord::NotOpened { bids, .. } if bids.len() == 1));
}

/// No frame and no answer shows a price, but one that shows a published record: and there is one such record only.
fn no_price_outside_a_record(cast: &Cast, sent: &[Vec<u8>]) {
    let mut shown = 0;
    for text in sent {
        let text = String::from_utf8_lossy(text);
        if cast.prices.iter().any(|price| text.contains(price.as_str())) {
            assert!(text.contains("published_at"), "a price before the barrier: {text}");
            shown += 1;
        }
    }
    assert!(shown > 0, "the published record was seen on its way");
}

/// What the people hold satisfies a verifier who knows the platform's key alone.
fn verified(cast: &Cast, held: &Held, data: &Path) {
    let folder = data.parent().unwrap();
    leave(held, folder);
    let key = hex::encode(cast.receipt_key);
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let what = if name == "opening-record.json" {
            "record"
        } else if name.ends_with(".receipt") || name.ends_with(".refusal") {
            "receipt"
        } else {
            continue;
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_kaibiao"));
        let output =
            command.args(["verify", what]).arg(&path).args(["--platform-key", &key]).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
