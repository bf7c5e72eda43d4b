//! Every event's stored bytes, as they were when its version was released. What is under
//! `tests/golden/` is never changed: journals hold it.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_engine::stored::{
    StoredEvent, UnknownEvent, decode_directory, decode_project, encode_directory, encode_project,
};
use kaibiao_protocol::{
    bid::{Consequence, Evidence, FailureCause},
    blob::Blob,
    deadline::MoveGround,
    directory::{DirectoryEvent, OrganisationKind},
    event::{LotCount, ObjectionKind, ProjectEvent, WindowEnd},
    moment::Moment,
    money::{Price, Rate},
    record::{BidSheet, LotRecord, OpeningRecord, RecordRow, RowOutcome, SealedRow},
    refusal::RefusalCode,
    role::{Reactor, Role},
};

use crate::world::{
    DEADLINE, agent, bid, digest, facts, fen, file, lot, organisation, platform, sheet, spec, supplier,
    upload,
};

/// One of each event, with every field set.
fn project_events() -> Vec<ProjectEvent> {
    let at = Moment(DEADLINE.0 + 60_000_000);
    let spec = {
        let mut spec = spec(2);
        spec.bid_bytes_max = Some(1_073_741_824);
        spec.invited = Some(BTreeSet::from([organisation("A"), organisation("B"), organisation("C")]));
        spec
    };
    let record = OpeningRecord {
        published_at: at,
        lots: BTreeMap::from([
            (lot(1), LotRecord::Opened { rows: rows() }),
            (
                lot(2),
                LotRecord::NotOpened {
                    rule: "TR-44 87-41 (GP/1)".to_owned(),
                    bids: vec![SealedRow { bid: bid("d1"), supplier: "D公司".to_owned() }],
                },
            ),
        ]),
    };
    vec![
        ProjectEvent::ProjectCreated { spec, by: agent() },
        ProjectEvent::BidSubmitted {
            facts: facts("a2", "A", &[1, 2]),
            received_at: Moment(DEADLINE.0 - 1),
            replaces: Some(bid("a1")),
        },
        ProjectEvent::UploadRefused {
            upload: upload("a3"),
            supplier: organisation("A"),
            size_bytes: 10_000,
            received_at: DEADLINE,
            code: RefusalCode::PastDeadline,
        },
        ProjectEvent::BidWithdrawn { bid: bid("a2"), reason: "因故".to_owned() },
        ProjectEvent::ReceivingClosed {
            lots: BTreeMap::from([
                (lot(1), LotCount { bids: 3, opens: true }),
                (lot(2), LotCount { bids: 1, opens: false }),
            ]),
        },
        ProjectEvent::OpeningStarted { by: agent(), signature: Some(Blob(vec![0x30, 0x82])) },
        ProjectEvent::OrderIssued {
            epoch: 2,
            order: "{\"format\":\"order\"}".to_owned(),
            signature: Blob(vec![1; 64]),
            window_closes_at: Moment(DEADLINE.0 + 1_800_000_000),
            down_since: Some(at),
        },
        ProjectEvent::KeysAccepted { bid: bid("a1"), arrived_at: at, by_backup: false },
        ProjectEvent::BidUnsealed { bid: bid("a1") },
        ProjectEvent::BidFailed {
            bid: bid("b1"),
            cause: FailureCause::WrongKey,
            evidence: Evidence {
                seen: "密钥承诺不符".to_owned(),
                expected: Some(digest("expected")),
                found: Some(digest("found")),
            },
            grace_until: Moment(at.0 + 600_000_000),
        },
        ProjectEvent::WindowExtended {
            window_closes_at: Moment(DEADLINE.0 + 2_400_000_000),
            minutes: 10,
            reason: "网络故障".to_owned(),
            by: agent(),
        },
        ProjectEvent::WindowClosed {
            end: WindowEnd::ClosedEarly,
            reason: Some("无人等待".to_owned()),
            no_shows: vec![bid("c1")],
        },
        ProjectEvent::GraceEnded { bids: vec![bid("b1")] },
        ProjectEvent::BackupAdmitted {
            bid: bid("b1"),
            reason: "CA锁损坏".to_owned(),
            by: agent(),
            until: Moment(at.0 + 600_000_000),
        },
        ProjectEvent::BidRestored { bid: bid("b1"), file: file("restored") },
        ProjectEvent::RecordsPublished { record },
        ProjectEvent::RecordSigned { digest: digest("record"), signature: Blob(vec![2; 64]) },
        ProjectEvent::CheckedIn { by: supplier("A") },
        ProjectEvent::RowReadOut { lot: lot(1), no: 1 },
        ProjectEvent::ObjectionRaised {
            no: 1,
            kind: ObjectionKind::Recusal,
            lot: Some(lot(1)),
            text: "申请回避".to_owned(),
            by: supplier("A"),
        },
        ProjectEvent::ObjectionAnswered { no: 1, text: "已答复".to_owned(), by: agent() },
        ProjectEvent::RecordConfirmed {
            supplier: organisation("A"),
            record: digest("record"),
            signature: Blob(vec![0x30, 0x82]),
        },
        ProjectEvent::ConfirmationsDeemed { suppliers: vec![organisation("B"), organisation("C")] },
        ProjectEvent::OpeningEnded { by: agent() },
        ProjectEvent::DeadlineMoved {
            from: DEADLINE,
            deadline: Moment(DEADLINE.0 + 1_296_000_000_000),
            ground: MoveGround::Correction,
            reason: "更正采购需求".to_owned(),
            by: agent(),
        },
        ProjectEvent::OutageRecorded {
            from: Moment(DEADLINE.0 - 300_000_000),
            until: at,
            held_until: Moment(at.0 + 1_800_000_000),
        },
        ProjectEvent::ClockStepped { step_ms: -3_600_000, divergence_ms: -3_599_800 },
    ]
}

fn rows() -> Vec<RecordRow> {
    let row = |no, name: &str, outcome| RecordRow {
        no,
        bid: bid(&format!("{name}1")),
        supplier: format!("{}公司", name.to_uppercase()),
        outcome,
    };
    let whole = BidSheet { remark: "含运费".to_owned(), ..sheet(Price::Total(fen(8_888_888))) };
    vec![
        row(1, "a", RowOutcome::Unsealed { sheet: whole, by_backup: false }),
        row(2, "b", RowOutcome::Unsealed { sheet: sheet(Price::UnitPrice(fen(1))), by_backup: true }),
        row(
            3,
            "c",
            RowOutcome::Unsealed { sheet: sheet(Price::Rate(Rate::new(9_550).unwrap())), by_backup: false },
        ),
        row(
            4,
            "d",
            RowOutcome::Failed { cause: FailureCause::DamagedStore, consequence: Consequence::Withdrawn },
        ),
    ]
}

fn directory_events() -> Vec<DirectoryEvent> {
    let ann = || "ann".parse().unwrap();
    vec![
        DirectoryEvent::OrganisationAdded {
            id: organisation("a"),
            name: "甲公司".to_owned(),
            kind: OrganisationKind::Supplier,
        },
        DirectoryEvent::UserAdded {
            id: ann(),
            organisation: organisation("a"),
            name: "安".to_owned(),
            roles: BTreeSet::from([Role::Supplier]),
        },
        DirectoryEvent::RolesSet { user: ann(), roles: BTreeSet::from([Role::Agent, Role::Purchaser]) },
        DirectoryEvent::PasswordSet { user: ann() },
        DirectoryEvent::DisabledSet { user: ann(), disabled: true },
        DirectoryEvent::RootAdded {
            vendor: "huixin".to_owned(),
            fingerprint: digest("root"),
            certificate: Blob(vec![0x30, 0x82]),
            intermediates: vec![Blob(vec![0x30, 0x83])],
        },
        DirectoryEvent::RootRemoved { vendor: "huixin".to_owned(), fingerprint: digest("root") },
        DirectoryEvent::RevocationListSet { vendor: "huixin".to_owned(), list: Blob(vec![0x30, 0x84]) },
        DirectoryEvent::CertificateBound {
            user: ann(),
            fingerprint: digest("certificate"),
            certificate: Blob(vec![0x30, 0x85]),
        },
        DirectoryEvent::CertificateUnbound { user: ann(), fingerprint: digest("certificate") },
    ]
}

/// Version 1 of every project event.
const PROJECT_V1: &[(&str, &[u8])] = &[
    ("project_created", include_bytes!("../golden/project/project_created.v1.json")),
    ("bid_submitted", include_bytes!("../golden/project/bid_submitted.v1.json")),
    ("upload_refused", include_bytes!("../golden/project/upload_refused.v1.json")),
    ("bid_withdrawn", include_bytes!("../golden/project/bid_withdrawn.v1.json")),
    ("receiving_closed", include_bytes!("../golden/project/receiving_closed.v1.json")),
    ("opening_started", include_bytes!("../golden/project/opening_started.v1.json")),
    ("order_issued", include_bytes!("../golden/project/order_issued.v1.json")),
    ("keys_accepted", include_bytes!("../golden/project/keys_accepted.v1.json")),
    ("bid_unsealed", include_bytes!("../golden/project/bid_unsealed.v1.json")),
    ("bid_failed", include_bytes!("../golden/project/bid_failed.v1.json")),
    ("window_extended", include_bytes!("../golden/project/window_extended.v1.json")),
    ("window_closed", include_bytes!("../golden/project/window_closed.v1.json")),
    ("grace_ended", include_bytes!("../golden/project/grace_ended.v1.json")),
    ("backup_admitted", include_bytes!("../golden/project/backup_admitted.v1.json")),
    ("bid_restored", include_bytes!("../golden/project/bid_restored.v1.json")),
    ("records_published", include_bytes!("../golden/project/records_published.v1.json")),
    ("record_signed", include_bytes!("../golden/project/record_signed.v1.json")),
    ("checked_in", include_bytes!("../golden/project/checked_in.v1.json")),
    ("row_read_out", include_bytes!("../golden/project/row_read_out.v1.json")),
    ("objection_raised", include_bytes!("../golden/project/objection_raised.v1.json")),
    ("objection_answered", include_bytes!("../golden/project/objection_answered.v1.json")),
    ("record_confirmed", include_bytes!("../golden/project/record_confirmed.v1.json")),
    ("confirmations_deemed", include_bytes!("../golden/project/confirmations_deemed.v1.json")),
    ("opening_ended", include_bytes!("../golden/project/opening_ended.v1.json")),
    ("deadline_moved", include_bytes!("../golden/project/deadline_moved.v1.json")),
    ("outage_recorded", include_bytes!("../golden/project/outage_recorded.v1.json")),
    ("clock_stepped", include_bytes!("../golden/project/clock_stepped.v1.json")),
];

/// Version 1 of every directory event.
const DIRECTORY_V1: &[(&str, &[u8])] = &[
    ("organisation_added", include_bytes!("../golden/directory/organisation_added.v1.json")),
    ("user_added", include_bytes!("../golden/directory/user_added.v1.json")),
    ("roles_set", include_bytes!("../golden/directory/roles_set.v1.json")),
    ("password_set", include_bytes!("../golden/directory/password_set.v1.json")),
    ("disabled_set", include_bytes!("../golden/directory/disabled_set.v1.json")),
    ("root_added", include_bytes!("../golden/directory/root_added.v1.json")),
    ("root_removed", include_bytes!("../golden/directory/root_removed.v1.json")),
    ("revocation_list_set", include_bytes!("../golden/directory/revocation_list_set.v1.json")),
    ("certificate_bound", include_bytes!("../golden/directory/certificate_bound.v1.json")),
    ("certificate_unbound", include_bytes!("../golden/directory/certificate_unbound.v1.json")),
];

/// The golden bytes of a released version never change; a change of form is a new version with an
/// upcaster, and files of its own.
fn assert_golden(stored: &StoredEvent, golden: &[u8]) {
    let (found, kept) = (String::from_utf8_lossy(&stored.payload), String::from_utf8_lossy(golden));
    assert_eq!(found, kept, "{} is no longer stored as it was", stored.kind);
    assert_eq!(stored.version, 1);
}

#[test]
fn every_project_event_is_stored_and_read_as_when_it_was_released() {
    let events = project_events();
    assert_eq!(events.len(), PROJECT_V1.len());
    for (event, (kind, golden)) in events.iter().zip(PROJECT_V1) {
        assert_eq!(event.kind(), *kind);
        assert_golden(&encode_project(event), golden);
        assert_eq!(decode_project(kind, 1, golden).as_ref(), Ok(event));
    }
}

#[test]
fn every_directory_event_is_stored_and_read_as_when_it_was_released() {
    let events = directory_events();
    assert_eq!(events.len(), DIRECTORY_V1.len());
    for (event, (kind, golden)) in events.iter().zip(DIRECTORY_V1) {
        assert_eq!(event.kind(), *kind);
        assert_golden(&encode_directory(event), golden);
        assert_eq!(decode_directory(kind, 1, golden).as_ref(), Ok(event));
    }
}

/// The events in their order above. A new event does not compile until it has a place here, and so
/// golden bytes.
fn place(event: &ProjectEvent) -> usize {
    match event {
        ProjectEvent::ProjectCreated { .. } => 0,
        ProjectEvent::BidSubmitted { .. } => 1,
        ProjectEvent::UploadRefused { .. } => 2,
        ProjectEvent::BidWithdrawn { .. } => 3,
        ProjectEvent::ReceivingClosed { .. } => 4,
        ProjectEvent::OpeningStarted { .. } => 5,
        ProjectEvent::OrderIssued { .. } => 6,
        ProjectEvent::KeysAccepted { .. } => 7,
        ProjectEvent::BidUnsealed { .. } => 8,
        ProjectEvent::BidFailed { .. } => 9,
        ProjectEvent::WindowExtended { .. } => 10,
        ProjectEvent::WindowClosed { .. } => 11,
        ProjectEvent::GraceEnded { .. } => 12,
        ProjectEvent::BackupAdmitted { .. } => 13,
        ProjectEvent::BidRestored { .. } => 14,
        ProjectEvent::RecordsPublished { .. } => 15,
        ProjectEvent::RecordSigned { .. } => 16,
        ProjectEvent::CheckedIn { .. } => 17,
        ProjectEvent::RowReadOut { .. } => 18,
        ProjectEvent::ObjectionRaised { .. } => 19,
        ProjectEvent::ObjectionAnswered { .. } => 20,
        ProjectEvent::RecordConfirmed { .. } => 21,
        ProjectEvent::ConfirmationsDeemed { .. } => 22,
        ProjectEvent::OpeningEnded { .. } => 23,
        ProjectEvent::DeadlineMoved { .. } => 24,
        ProjectEvent::OutageRecorded { .. } => 25,
        ProjectEvent::ClockStepped { .. } => 26,
    }
}

fn directory_place(event: &DirectoryEvent) -> usize {
    match event {
        DirectoryEvent::OrganisationAdded { .. } => 0,
        DirectoryEvent::UserAdded { .. } => 1,
        DirectoryEvent::RolesSet { .. } => 2,
        DirectoryEvent::PasswordSet { .. } => 3,
        DirectoryEvent::DisabledSet { .. } => 4,
        DirectoryEvent::RootAdded { .. } => 5,
        DirectoryEvent::RootRemoved { .. } => 6,
        DirectoryEvent::RevocationListSet { .. } => 7,
        DirectoryEvent::CertificateBound { .. } => 8,
        DirectoryEvent::CertificateUnbound { .. } => 9,
    }
}

#[test]
fn every_event_has_golden_bytes() {
    assert!(project_events().iter().map(place).eq(0..PROJECT_V1.len()));
    assert!(directory_events().iter().map(directory_place).eq(0..DIRECTORY_V1.len()));
}

#[test]
fn fields_that_may_be_absent_are_left_out() {
    let bare = ProjectEvent::OpeningStarted { by: platform(Reactor::Timer), signature: None };
    let stored = encode_project(&bare);
    assert_eq!(
        String::from_utf8(stored.payload.clone()).unwrap(),
        r#"{"event":"opening_started","by":{"who":"platform","reactor":"timer"}}"#
    );
    assert_eq!(decode_project("opening_started", 1, &stored.payload), Ok(bare));
}

#[test]
fn an_event_of_a_later_program_is_not_guessed_at() {
    let (kind, golden) = PROJECT_V1[8];
    let later = UnknownEvent::Version { kind: kind.to_owned(), version: 2 };
    assert_eq!(decode_project(kind, 2, golden), Err(later));
    assert!(matches!(decode_project(kind, 0, golden), Err(UnknownEvent::Version { .. })));
    let (kind, golden) = DIRECTORY_V1[3];
    assert!(matches!(decode_directory(kind, 2, golden), Err(UnknownEvent::Version { .. })));
}

#[test]
fn bytes_that_are_not_the_event_they_are_said_to_be_do_not_read() {
    let id = bid("a1");
    let malformed = |kind: &str, text: &str| {
        let read = decode_project(kind, 1, text.as_bytes());
        assert!(matches!(read, Err(UnknownEvent::Malformed { .. })), "{kind} {text}: {read:?}");
    };
    let whole = format!(r#"{{"event":"bid_unsealed","bid":"{id}"}}"#);
    assert!(decode_project("bid_unsealed", 1, whole.as_bytes()).is_ok());
    malformed("keys_accepted", &whole);
    malformed("bid_unsealed", "");
    malformed("bid_unsealed", &whole[..whole.len() - 1]);
    malformed("bid_unsealed", &whole.replace('}', "}}"));
    malformed("bid_unsealed", &whole.replace("bid_unsealed", "bid_reopened"));
    malformed("bid_unsealed", &format!(r#"{{"event":"bid_unsealed","bid":"{id}","price":"1.00"}}"#));
    malformed("bid_unsealed", &format!(r#"{{"event":"bid_unsealed","bid":"{id}","bid":"{id}"}}"#));
    malformed("bid_unsealed", r#"{"event":"bid_unsealed"}"#);
    malformed("row_read_out", r#"{"event":"row_read_out","lot":1,"no":1.0}"#);
    malformed("row_read_out", r#"{"event":"row_read_out","lot":0,"no":1}"#);
    let said = decode_project("bid_unsealed", 1, b"{}").unwrap_err().to_string();
    assert!(said.starts_with("the stored bid_unsealed does not read: "), "{said}");
    let read = decode_directory("roles_set", 1, DIRECTORY_V1[3].1);
    assert!(matches!(read, Err(UnknownEvent::Malformed { .. })));
}
