//! What `kaibiao demo` leaves behind, held against everything that was promised of it.
//!
//! The real demo is played once with tokens of SoftHSM and once with PKCS#12 files, both at the same time: most of its
//! three minutes are waiting for the window and the time for confirming, which no tender may have shorter than a minute.
//! Every test then looks at both.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "demo/played.rs"]
mod played;
#[path = "demo/secrets.rs"]
mod secrets;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use kaibiao_bidder::practice::server::ServerProcess;
use kaibiao_sealed::receipt::ReceiptFacts;
use serde_json::{Value, json};

use crate::played::{
    BACKUP, LATE, LOTS, NO_SHOW, PROJECT, Played, REPLACES, SUPPLIERS, WITHDRAWS, WRONG_TOKEN, both,
};

#[test]
fn the_summary_counts_suppliers_outcomes_and_seconds() {
    for played in both() {
        let summary = &played.summary;
        assert_eq!(*summary, played.json("summary.json"), "what is printed is what is left");
        assert_eq!(summary["exercise"], true);
        assert_eq!(summary["project"], PROJECT);
        assert_eq!(summary["suppliers"], SUPPLIERS);
        assert_eq!(summary["lots"], LOTS);
        assert_eq!(summary["standing"], 6);
        assert_eq!(summary["opened"], 4);
        assert_eq!(summary["failed_by_cause"], json!({ "no_show": 1, "wrong_token": 1 }));
        assert_eq!(summary["late_refused"], 1);
        let phases = summary["seconds_by_phase"].as_object().unwrap();
        let names: BTreeSet<_> = phases.keys().map(String::as_str).collect();
        let expected = [
            "tokens",
            "packages",
            "set_up",
            "hand_in",
            "await_deadline",
            "late_refused",
            "unsealing_to_publication",
            "records_verified",
            "read_out_and_confirmed",
            "until_silence_is_consent",
        ];
        assert_eq!(names, expected.into());
        let together: f64 = phases.values().map(|seconds| seconds.as_f64().unwrap()).sum();
        let whole = summary["seconds"].as_f64().unwrap();
        assert!(together <= whole && whole < together + 30.0, "{together} of {whole} seconds are in a phase");
    }
}

#[test]
fn everything_promised_lies_in_the_folder() {
    for played in both() {
        for no in 1..=SUPPLIERS {
            for ending in ["jmbs", "bfbs"] {
                assert!(played.path(&format!("bids/supplier-{no:03}.{ending}")).is_file(), "{no} {ending}");
            }
        }
        assert!(played.path(&format!("bids/{REPLACES}-replacement.jmbs")).is_file());
        let receipts: BTreeSet<String> =
            played.names("receipts").filter(|name| name.ends_with(".receipt")).collect();
        let expected = (1..=SUPPLIERS).map(|no| format!("supplier-{no:03}")).filter(|name| name != LATE);
        let expected =
            expected.chain([format!("{REPLACES}-replacement")]).map(|name| format!("{name}.receipt"));
        assert_eq!(receipts, expected.collect());
        let pins =
            played.walk("tokens").into_iter().filter(|path| path.extension().is_some_and(|end| end == "pin"));
        assert_eq!(pins.count(), usize::try_from(SUPPLIERS).unwrap() + 2, "two came with a second token");
        for vendor in ["huixin", "tiangu"] {
            assert!(played.path(&format!("tokens/{vendor}/root.pem")).is_file());
        }
        assert!(fs::metadata(played.path("server.log")).unwrap().len() > 1_000);
    }
}

#[test]
fn the_records_rows_stand_in_the_order_of_receipt_and_say_what_the_sheets_said() {
    for played in both() {
        let receipts = played.standing_receipts();
        for lot in 1..=LOTS {
            let record = played.json(&format!("record-lot-{lot}.json"));
            assert_eq!(record["project"], PROJECT);
            assert_eq!(
                (&record["lot"], &record["opened"], &record["exercise"]),
                (&json!(lot), &json!(true), &json!(true))
            );
            let rows = record["rows"].as_array().unwrap();
            assert_eq!(rows.len(), receipts.len(), "every bid that stood is in the record, once");
            for ((row, receipt), no) in rows.iter().zip(&receipts).zip(1..) {
                assert_eq!(row["no"], no);
                assert_eq!(row["supplier"], *receipt.supplier_name, "row {no} of lot {lot}");
                check_row(played, row, receipt, lot);
            }
        }
    }
}

/// A row of `record-lot-N.json` against the sheet its supplier packed.
fn check_row(played: &Played, row: &Value, receipt: &ReceiptFacts, lot: u16) {
    const COLUMNS: [&str; 8] = [
        "bid_security_method",
        "declaration_signed",
        "delivery_or_lead",
        "final_price",
        "no",
        "price_kind",
        "remark",
        "supplier",
    ];
    for column in COLUMNS {
        assert!(row.get(column).is_some(), "{column} is missing in {row}");
    }
    let supplier = receipt.supplier.as_str();
    let failed = match supplier {
        NO_SHOW => Some("no_show"),
        WRONG_TOKEN => Some("wrong_token"),
        _ => None,
    };
    if let Some(cause) = failed {
        assert_eq!((&row["outcome"], &row["cause"]), (&json!("failed"), &json!(cause)));
        assert_eq!(row["consequence"], "revoked");
        assert_eq!(row["final_price"], Value::Null, "what was not opened has no price");
        assert!(row["remark"].as_str().unwrap().contains("视为撤销"), "{row}");
        return;
    }
    let papers = if supplier == REPLACES { format!("{supplier}-replacement") } else { supplier.to_owned() };
    let sheet = played.json(&format!("papers/{papers}/sheet.json"))["lots"][lot.to_string()].clone();
    assert_eq!((&row["outcome"], &row["price_kind"]), (&json!("unsealed"), &json!("total")));
    assert_eq!(row["final_price"], sheet["price"], "{supplier}");
    for same in ["delivery_or_lead", "bid_security_method", "declaration_signed"] {
        assert_eq!(row[same], sheet[same], "{supplier} {same}");
    }
    assert_eq!(row["by_backup"], supplier == BACKUP);
    if supplier == BACKUP {
        assert!(row["remark"].as_str().unwrap().contains("备份标书已启用"));
    }
}

#[test]
fn every_receipt_holds_against_its_own_bid_and_no_other() {
    for played in both() {
        for name in played.names("receipts").filter(|name| name.ends_with(".receipt")) {
            let (receipt, name) = (format!("receipts/{name}"), name.trim_end_matches(".receipt"));
            let told = played.verify(&["receipt", &receipt, "--bid", &format!("bids/{name}.jmbs")]).unwrap();
            assert_eq!((&told["holds"], &told["against_bid"]), (&json!(true), &json!(true)), "{name}");
            assert_eq!(told["receipt"]["kind"], "exercise");
            let other = if name == WITHDRAWS { BACKUP } else { WITHDRAWS };
            let told =
                played.verify(&["receipt", &receipt, "--bid", &format!("bids/{other}.jmbs")]).unwrap_err();
            assert!(told["refused"]["code"].as_str().is_some(), "{name} against another's bid: {told}");
        }
        let forged =
            played.copy_with(&format!("receipts/{WITHDRAWS}.receipt"), "\"size_bytes\":", "\"size_bytes\":1");
        assert!(played.verify(&["receipt", &forged]).is_err(), "a receipt with one digit more holds");
    }
}

#[test]
fn the_late_one_holds_a_signed_refusal() {
    for played in both() {
        let all = ["receipts", "bids"].into_iter().flat_map(|folder| played.walk(folder));
        let refusals: Vec<_> = all.filter(|path| path.to_string_lossy().ends_with(".refusal")).collect();
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        let told = played.verify(&["receipt", refusals[0].to_str().unwrap()]).unwrap();
        assert_eq!(told["refusal"]["code"], "past_deadline");
        assert_eq!(told["refusal"]["supplier"], LATE);
        assert!(told["refusal"]["received_at"].as_i64() >= told["refusal"]["deadline"].as_i64());
        let rule = told["refusal"]["rule"].as_str().unwrap();
        assert!(rule.contains("TL-28"), "the rule of a late bid: {rule}");
    }
}

#[test]
fn the_record_holds_and_one_changed_byte_does_not() {
    for played in both() {
        let told = played.verify(&["record", "opening-record.json"]).unwrap();
        assert_eq!(told["holds"], true);
        assert_eq!(told["digest"], played.summary["record_digest"]);
        let lots = told["record"]["lots"].as_array().unwrap();
        assert_eq!(lots.len(), usize::from(LOTS));
        let forged = played.copy_with("opening-record.json", "\"no\":1,", "\"no\":2,");
        let signature = played.path("opening-record.signature.json");
        let told = played.verify(&["record", &forged, "--signature", signature.to_str().unwrap()]);
        assert!(told.is_err(), "a record with one digit changed holds");
    }
}

#[test]
fn an_exercise_says_so_everywhere() {
    for played in both() {
        let record = fs::read_to_string(played.path("opening-record.json")).unwrap();
        assert!(record.contains("开标记录（演练）") && record.contains("\"kind\":\"exercise\""));
        for name in played.names("receipts").filter(|name| name.ends_with(".receipt")) {
            let receipt = fs::read_to_string(played.path(&format!("receipts/{name}"))).unwrap();
            assert!(receipt.contains("投标回执（演练）"), "{name}");
        }
        let tables = fs::read_to_string(played.path("records.txt")).unwrap();
        assert_eq!(tables.matches("【演练】").count(), usize::from(LOTS));
        for title in [
            "序号",
            "供应商名称",
            "最终报价",
            "供货期/服务项目负责人",
            "保证金缴纳方式",
            "确认声明书是否签署",
            "备注",
        ] {
            assert!(tables.contains(title), "{title}");
        }
    }
}

#[test]
fn no_secret_of_a_supplier_lies_at_the_server() {
    for played in both() {
        let wanted = secrets::of(played);
        assert!(wanted.len() > 60, "only {} secrets are looked for", wanted.len());
        let files = played.walk("server").into_iter().chain([played.path("server.log")]);
        for file in files.filter(|file| !file.starts_with(played.path("server/keys"))) {
            let found = wanted.found_in(&fs::read(&file).unwrap());
            assert!(found.is_empty(), "{} holds {found:?}", file.display());
        }
    }
}

#[test]
fn the_search_for_secrets_finds_what_is_there() {
    for played in both() {
        let wanted = secrets::of(played);
        for (what, hidden) in wanted.samples() {
            let text = [b"\x00\x01 at ".as_slice(), &hidden, b" and on"].concat();
            assert!(wanted.found_in(&text).contains(&what), "{what}");
        }
        let package = fs::read(played.path(&format!("bids/{NO_SHOW}.bfbs"))).unwrap();
        let found = wanted.found_in(&package);
        for what in ["bid key", "document", "price"] {
            assert!(found.contains(&format!("{what} of {NO_SHOW}")), "{what} in {found:?}");
        }
    }
}

#[tokio::test]
async fn the_servers_journal_opens_again_and_gives_the_same_record() {
    for played in both() {
        let copy = tempfile::tempdir().unwrap();
        let data = copy.path().join("data");
        played.copy_server(&data);
        let kaibiao = played::kaibiao();
        let server = ServerProcess::start(kaibiao, &data, &copy.path().join("log")).await.unwrap();
        let data = data.to_str().unwrap();
        let shown = played.run(&["admin", "--data", data, "project", "show", PROJECT]).unwrap();
        assert_eq!(shown["status"], "ended");
        let password = played.path("tokens/agent-lin.password");
        let arguments =
            ["room", "record", "--project", PROJECT, "--server", &server.url, "--account", "agent-lin"];
        let arguments = [&arguments[..], &["--password-file", password.to_str().unwrap()]].concat();
        let record = played.run(&arguments).unwrap();
        assert_eq!(record["digest"], played.summary["record_digest"]);
        for lot in 1..=LOTS {
            assert_eq!(record["lots"][usize::from(lot) - 1], played.json(&format!("record-lot-{lot}.json")));
        }
        server.stop().await.unwrap();
    }
}

#[test]
fn the_servers_log_tells_no_error() {
    for played in both() {
        let log = fs::read_to_string(played.path("server.log")).unwrap();
        let bad: Vec<_> =
            log.lines().filter(|line| line.contains(" ERROR ") || line.contains("panicked")).collect();
        assert!(bad.is_empty(), "{bad:#?}");
        let told: BTreeMap<&str, usize> =
            ["signed in", "serving", "stopped"].map(|words| (words, log.matches(words).count())).into();
        assert!(told.values().all(|count| *count > 0), "{told:?}");
    }
}
