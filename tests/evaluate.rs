//! Evaluation held against other hands: the worked examples of `docs/formats/case.md`, and a second implementation
//! written from that page alone in Python.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use kaibiao_engine::evaluation::{WithSensitivity, evaluate};
use kaibiao_protocol::evaluation::{Case, Evaluation, Standing};
use serde_json::{Value, json};

/// How many cases the other implementation draws.
const CASES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn evaluated(case: &Value) -> Evaluation {
    let case: Case = serde_json::from_value(case.clone()).unwrap_or_else(|fault| panic!("{fault}: {case}"));
    evaluate(&case, WithSensitivity::Yes).unwrap_or_else(|faults| panic!("{faults:?}: {case:?}"))
}

/// An evaluation in the form of the other implementation.
fn in_brief(evaluation: &Evaluation) -> Value {
    let bids: Vec<Value> = evaluation
        .bids
        .iter()
        .map(|bid| {
            json!({
                "id": bid.id,
                "price": bid.price,
                "repairs": bid.repairs.iter().map(|repair| repair.kind).collect::<Vec<_>>(),
                "price_for_scoring": bid.price_for_scoring,
                "price_score": bid.price_score,
                "total": bid.total,
                "rank": bid.rank,
                "brand": bid.brand,
                "excluded": bid.excluded.as_ref().map(|excluded| excluded.reason),
            })
        })
        .collect();
    json!({
        "failed": evaluation.standing != Standing::Ranked,
        "candidates": evaluation.candidates,
        "bids": bids,
    })
}

#[test]
fn another_implementation_comes_to_the_same_digits() {
    let python = env::var_os("KAIBIAO_PYTHON").unwrap_or("python3".into());
    let script = root().join("tests/python/evaluate_cases.py");
    let told = Command::new(python).arg(script).arg(CASES.to_string()).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let lines: Vec<Value> = String::from_utf8(told.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), CASES);
    for mut line in lines {
        let mut expected = line["expected"].take();
        let left = expected.as_object_mut().unwrap().remove("left").unwrap();
        let evaluation = evaluated(&line["case"]);
        assert_eq!(in_brief(&evaluation), expected, "{}", line["case"]);
        if let Standing::Failed { left: found, .. } = evaluation.standing {
            assert_eq!(json!(found), left);
        }
    }
}

#[test]
fn the_worked_examples_come_to_the_numbers_worked_out_in_the_text() {
    // Of each example: the total or the price compared of each ranked bid in order of rank, the reason of the others,
    // and the candidates, as docs/formats/case.md works them out by hand.
    let examples: [(&str, &[&str], &[&str]); 5] = [
        ("1-scoring", &["B 1 91.92", "C 2 91.40", "A 3 87.80"], &["B", "C", "A"]),
        (
            "2-lowest-price",
            &["C 1 352800.00", "A 2 408000.00", "B 3 410670.00", "D above_ceiling", "E repair_not_confirmed"],
            &["C", "A", "B"],
        ),
        ("3-brands-and-weights", &["C 1 94.54", "A 2 94.00", "B 3 91.90", "D 4 84.00"], &["C", "A", "D"]),
        (
            "4-tie-and-draw",
            &["B 1 118000.00", "C 1 118000.00", "D 1 118000.00", "A 4 120000.00"],
            &["C", "D"],
        ),
        ("5-failed", &["A -", "B -", "C price_not_explained", "D not_qualified"], &[]),
    ];
    for (name, bids, candidates) in examples {
        let path = root().join(format!("docs/formats/cases/{name}.json"));
        let evaluation = evaluated(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
        let mut told: Vec<(u32, String)> = evaluation
            .bids
            .iter()
            .map(|bid| match (&bid.excluded, bid.rank) {
                (Some(out), _) => {
                    let reason = serde_json::to_value(out.reason).unwrap();
                    (u32::MAX, format!("{} {}", bid.id, reason.as_str().unwrap()))
                }
                (None, Some(rank)) => {
                    let price = || bid.price_for_scoring.unwrap().to_string();
                    let value = bid.total.map_or_else(price, |total| total.to_string());
                    (rank, format!("{} {rank} {value}", bid.id))
                }
                (None, None) => (u32::MAX, format!("{} -", bid.id)),
            })
            .collect();
        told.sort_by_key(|(rank, _)| *rank);
        assert_eq!(told.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), bids, "{name}");
        let found: Vec<&str> = evaluation.candidates.iter().map(|one| one.bid.as_str()).collect();
        assert_eq!(found, candidates, "{name}");
    }
}

#[test]
fn the_examples_sensitivity_is_the_one_worked_out_in_the_text() {
    let path = root().join("docs/formats/cases/1-scoring.json");
    let evaluation = evaluated(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap());
    let changes = serde_json::to_value(&evaluation.sensitivity.unwrap().changes).unwrap();
    assert_eq!(
        changes,
        json!([
            {"variant": {"is": "without_expert", "expert": "E3"}, "winners": ["C"]},
            {"variant": {"is": "deduction_rate", "kind": "small_firm", "percent": "20.00"}, "winners": ["A"]},
            {"variant": {"is": "bid_void", "bid": "A"}, "winners": []},
            {"variant": {"is": "bid_void", "bid": "C"}, "winners": []},
        ])
    );
}

fn command(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kaibiao")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_prints_what_the_engine_says() {
    let path = root().join("docs/formats/cases/1-scoring.json");
    let path = path.to_str().unwrap();
    let (code, out, _) = command(&["evaluate", path, "--json"]);
    assert_eq!(code, 0);
    let told: Evaluation = serde_json::from_str(&out).unwrap();
    assert_eq!(told, evaluated(&serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()));
    let (code, out, _) = command(&["evaluate", path]);
    assert_eq!(code, 0);
    for word in ["91.92", "810000.00", "candidates: 1. B  2. C  3. A", "without expert E3 -> C"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (_, out, _) = command(&["evaluate", path, "--without-sensitivity", "--json"]);
    assert!(!out.contains("sensitivity"));
}

#[test]
fn a_case_with_faults_is_refused_with_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let bid = |id: &str, price: &str| json!({"id": id, "sheet": {"price": price}});
    let case = json!({
        "case": 1, "rule_pack": "GP/1", "kind": "goods", "method": "lowest_evaluated_price",
        "bids": [bid("A", "0.00"), bid("A", "1.00"), bid("C", "1.00")],
    });
    let path = write("faulty.json", &case.to_string());
    let (code, _, told) = command(&["evaluate", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    for word in ["faulty.json", "bids[0].sheet", "bids[1].id", "stands twice"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let twice = r#"{"case":1,"rule_pack":"GP/1","kind":"goods","method":"lowest_evaluated_price","bids":[],"scores":{"E":{},"E":{}}}"#;
    let path = write("twice.json", twice);
    let (code, _, told) = command(&["evaluate", path.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(told.contains("`E` stands twice"), "{told}");
    let (code, _, told) = command(&["evaluate", "nowhere.json"]);
    assert_eq!(code, 1);
    assert!(told.contains("nowhere.json"), "{told}");
}
