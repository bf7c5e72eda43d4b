//! The deadline second, a smaller one, over real sockets: everybody has one signed verdict, the stamp rule's.

use std::process::Command;

use serde_json::Value;

fn second(suppliers: u32, projects: u32, more: &[&str]) -> (Value, String) {
    let out = tempfile::tempdir().expect("there is a temporary folder");
    let ran = Command::new(env!("CARGO_BIN_EXE_kaibiao-sim"))
        .args(["--json", "load", "--arrivals", "deadline-second", "--bid-kb", "64", "--seed", "3"])
        .args(["--suppliers", &suppliers.to_string(), "--projects", &projects.to_string()])
        .args(["--out".as_ref(), out.path().as_os_str()])
        .args(more)
        .output()
        .expect("the program runs");
    let said = String::from_utf8_lossy(&ran.stderr);
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{told} (the server is the program kaibiao beside this one: cargo build --workspace --bins)"
    );
    let page = std::fs::read_to_string(out.path().join("report.html")).expect("there is a page");
    (serde_json::from_str(&told).expect("the report is JSON"), page)
}

fn holds(report: &Value, suppliers: u64) {
    assert_eq!(report["without"], 0, "{report}");
    assert_eq!(report["wrong"], 0, "{report}");
    let verdicts = report["verdicts"].as_object().expect("verdicts by name");
    assert_eq!(verdicts.values().filter_map(Value::as_u64).sum::<u64>(), suppliers, "{report}");
    let stamps = report["stamps_ms"].as_array().expect("stamps");
    let in_time = stamps.iter().filter(|stamp| stamp.as_i64().is_some_and(|ms| ms < 0)).count() as u64;
    assert_eq!(verdicts.get("received").and_then(Value::as_u64).unwrap_or(0), in_time, "{report}");
    // None left before the last second, and nobody waits at the end.
    let queue = report["queue"].as_array().expect("the queue");
    assert!(queue.first().is_some_and(|slice| slice[0].as_i64().is_some_and(|ms| ms >= -1_020)));
    assert!(queue.last().is_some_and(|slice| slice[1] == 0));
}

#[test]
fn hundreds_of_last_bytes_in_the_last_second_to_one_project_get_one_signed_verdict_each() {
    let (report, page) = second(400, 1, &[]);
    holds(&report, 400);
    assert!(page.contains("Everybody has the signed verdict") && page.contains("the deadline is dashed"));
}

#[test]
fn the_same_to_many_projects_when_all_but_the_last_bytes_came_before() {
    let (report, _) = second(300, 60, &["--last-kb", "2"]);
    holds(&report, 300);
    assert_eq!(report["projects"], 60);
}

#[test]
fn many_projects_without_the_deadline_second_are_misuse() {
    let ran = Command::new(env!("CARGO_BIN_EXE_kaibiao-sim"))
        .args(["load", "--projects", "2"])
        .output()
        .expect("the program runs");
    assert_eq!(ran.status.code(), Some(2));
}
