//! A small load against a real server: every bid is received, unsealed and in the record once.

use std::process::{Command, Output};

use serde_json::Value;

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kaibiao-sim")).args(arguments).output().expect("the program runs")
}

#[test]
fn a_small_crowd_loses_nothing_and_the_report_says_so() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().to_str().unwrap();
    let ran = sim(&[
        "--json",
        "load",
        "--suppliers",
        "10",
        "--lots",
        "2",
        "--bid-mb",
        "1",
        "--arrivals",
        "deadline-rush",
        "--arrive-seconds",
        "5",
        "--seed",
        "7",
        "--out",
        folder,
    ]);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success(),
        "{said}{} (the server is the program kaibiao beside this one: cargo build --workspace --bins)",
        String::from_utf8_lossy(&ran.stdout)
    );
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(report["received"], 10, "{report}");
    assert_eq!(report["unsealed"], 10, "{report}");
    for must_be_none in ["lost", "doubled", "strangers", "wrong_verdicts"] {
        assert_eq!(report[must_be_none], 0, "{must_be_none}: {report}");
    }
    let steps: Vec<&str> =
        report["latencies"].as_array().unwrap().iter().map(|one| one["step"].as_str().unwrap()).collect();
    for step in ["sign_in", "seal", "upload", "verdict", "repeat", "keys_kept", "published"] {
        assert!(steps.contains(&step), "{step} was not measured: {steps:?}");
    }
    assert!(report["server_memory_peak"].as_u64().unwrap() > 0);
    assert!(report["stamps_ms"].as_array().unwrap().iter().all(|stamp| stamp.as_i64().unwrap() < 0));
    let page = std::fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("No bid was lost or doubled"));
    assert!(!page.contains("http://") && !page.contains("https://"), "the page loads nothing from anywhere");
    let kept: Value =
        serde_json::from_slice(&std::fs::read(out.path().join("report.json")).unwrap()).unwrap();
    assert_eq!(kept, report);
}

#[test]
fn a_crowd_too_small_or_a_server_without_its_folder_is_misuse() {
    for arguments in [
        &["load", "--suppliers", "2"][..],
        &["load", "--server", "http://127.0.0.1:1"],
        &["load", "--arrivals", "sometime"],
        &["lode"],
    ] {
        let ran = sim(arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}");
        assert!(!ran.stderr.is_empty());
    }
}

#[test]
fn a_server_that_is_not_there_is_a_failure_with_its_reason() {
    let out = tempfile::tempdir().unwrap();
    let nowhere = out.path().join("no-server");
    let ran = sim(&[
        "load",
        "--suppliers",
        "3",
        "--server",
        "http://127.0.0.1:1",
        "--server-data",
        nowhere.to_str().unwrap(),
        "--out",
        out.path().to_str().unwrap(),
    ]);
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("administration"));
}
