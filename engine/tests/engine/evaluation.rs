//! Evaluation as a table: one line a situation, with its outcome.

use std::collections::BTreeMap;

use kaibiao_engine::evaluation::{WithSensitivity, evaluate};
use kaibiao_protocol::evaluation::{Case, Evaluation, Standing};
use serde_json::{Map, Value, json};

/// A case from a line: settings, then a bid after each `|`.
///
/// Settings: `lowest` or `scoring` (price 40, objective `o` 20, subjective `s` 40), `KEY=JSON`. A bid: its name, its price,
/// and words: `small`, `consortium`, `domestic`, `brand=X`, `words=P`, `elsewhere=P`, `item=QxP`, `odd=QxP` (misplaced),
/// `confirmed`, `denied`, `unqualified`, `unresponsive`, `explained`, `rejected`, `o=..`, `s=..` (one score for all five
/// experts, or five).
fn case(line: &str) -> Value {
    let mut parts = line.split('|').map(str::trim);
    let settings = parts.next().unwrap();
    let experts = ["E1", "E2", "E3", "E4", "E5"];
    let mut case = json!({"case": 1, "rule_pack": "GP/1", "kind": "services", "bids": []});
    for word in settings.split_whitespace() {
        match word {
            "lowest" => case["method"] = json!("lowest_evaluated_price"),
            "scoring" => {
                case["method"] = json!("comprehensive_scoring");
                case["experts"] = json!(experts);
                case["criteria"] = json!([
                    {"id": "p", "kind": "price", "maximum": "40"},
                    {"id": "o", "kind": "objective", "maximum": "20"},
                    {"id": "s", "kind": "subjective", "maximum": "40"},
                ]);
            }
            setting => {
                let (key, value) = setting.split_once('=').unwrap();
                case[key] = serde_json::from_str(value).unwrap_or_else(|fault| panic!("{setting}: {fault}"));
            }
        }
    }
    let mut scores: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for bid in parts {
        let mut words = bid.split_whitespace();
        let id = words.next().unwrap();
        let mut facts = json!({"id": id, "sheet": {"price": words.next().unwrap()}});
        let failed = json!({"passed": false, "reason": "as found"});
        for word in words {
            match word.split_once('=') {
                None => match word {
                    "small" => facts["small_firm"] = json!(true),
                    "consortium" => facts["consortium"] = json!(true),
                    "domestic" => facts["domestic_product"] = json!(true),
                    "confirmed" => facts["repair_confirmed"] = json!(true),
                    "denied" => facts["repair_confirmed"] = json!(false),
                    "unqualified" => facts["qualification"] = failed.clone(),
                    "unresponsive" => facts["responsiveness"] = failed.clone(),
                    "explained" => facts["explanation"] = json!("accepted"),
                    "rejected" => facts["explanation"] = json!("rejected"),
                    other => panic!("what is {other}?"),
                },
                Some(("brand", brand)) => facts["brand"] = json!(brand),
                Some((amount @ ("words" | "elsewhere"), price)) => facts["sheet"][amount] = json!(price),
                Some((item @ ("item" | "odd"), line)) => {
                    let (quantity, price) = line.split_once('x').unwrap();
                    let made = json!({"quantity": quantity, "unit_price": price, "misplaced": item == "odd"});
                    match facts.get_mut("items") {
                        Some(items) => items.as_array_mut().unwrap().push(made),
                        None => facts["items"] = json!([made]),
                    }
                }
                Some((criterion, given)) => {
                    let given: Vec<&str> = given.split(',').collect();
                    for (nth, expert) in experts.iter().enumerate() {
                        let sheet = scores.entry(expert).or_default();
                        let row = sheet.entry(id).or_insert_with(|| json!({}));
                        row[criterion] = json!(given[nth.min(given.len() - 1)]);
                    }
                }
            }
        }
        case["bids"].as_array_mut().unwrap().push(facts);
    }
    if !scores.is_empty() {
        case["scores"] = json!(scores);
    }
    case
}

fn evaluated(line: &str) -> Evaluation {
    let case: Case = serde_json::from_value(case(line)).unwrap_or_else(|fault| panic!("{line}: {fault}"));
    evaluate(&case, WithSensitivity::No).unwrap_or_else(|faults| panic!("{line}: {faults:?}"))
}

/// What came out, in the words of the expectations.
fn told(evaluation: &Evaluation) -> String {
    let mut words = Vec::new();
    if let Standing::Failed { left, .. } = &evaluation.standing {
        words.push(format!("failed({left})"));
    }
    for bid in &evaluation.bids {
        let id = &bid.id;
        words.push(match (&bid.excluded, bid.rank) {
            (Some(excluded), _) => format!("{id}:{}", name(&excluded.reason)),
            (None, None) => format!("{id}:-"),
            (None, Some(rank)) => match bid.total {
                Some(total) => format!("{id}:{rank}@{total}"),
                None => format!("{id}:{rank}@{}", bid.price_for_scoring.unwrap()),
            },
        });
    }
    let mut places: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for candidate in &evaluation.candidates {
        places.entry(candidate.place).or_default().push(&candidate.bid);
    }
    if !places.is_empty() {
        let places: Vec<String> = places.values().map(|bids| bids.join("=")).collect();
        words.push(format!("> {}", places.join(" ")));
    }
    for warning in &evaluation.warnings {
        let whose = [&warning.bid, &warning.expert, &warning.criterion];
        let whose: Vec<&str> = whose.into_iter().flatten().map(String::as_str).collect();
        words.push(format!("!{}({})", name(&warning.kind), whose.join(",")));
    }
    words.join(" ")
}

fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

fn check(line: &str, expected: &str) {
    assert_eq!(told(&evaluated(line)), expected, "{line}");
}

const SEED: &str = r#"draw_seed="0000000000000000000000000000000000000000000000000000000000000000""#;

#[test]
fn the_lowest_price_after_repair_and_deductions_is_first() {
    // 87-54, 87-56: ascending, equal prices tie.
    check("lowest | A 100.00 | B 90.00 | C 95.00", "A:3@100.00 B:1@90.00 C:2@95.00 > B C A");
    check(
        "lowest | A 100.00 | B 90.00 | C 90.00",
        "A:3@100.00 B:1@90.00 C:1@90.00 > B=C A !draw_needed(B) !draw_needed(C)",
    );
    // 87-59: words beat figures; the sheet beats what stands elsewhere; unit prices beat the total.
    check(
        "lowest | A 100.00 words=80.00 confirmed | B 90.00 | C 95.00",
        "A:1@80.00 B:2@90.00 C:3@95.00 > A B C",
    );
    check(
        "lowest | A 85.00 elsewhere=1.00 confirmed | B 90.00 | C 95.00",
        "A:1@85.00 B:2@90.00 C:3@95.00 > A B C",
    );
    check(
        "lowest | A 85.00 item=2x46.00 confirmed | B 90.00 | C 95.00",
        "A:2@92.00 B:1@90.00 C:3@95.00 > B A C",
    );
    check(
        "lowest | A 85.00 words=90.50 item=2x46.00 confirmed | B 90.00 | C 95.00",
        "A:2@92.00 B:1@90.00 C:3@95.00 > B A C",
    );
    check(
        "lowest | A 85.00 item=1x45.00 odd=2x200.00 confirmed | B 90.00 | C 95.00",
        "A:1@85.00 B:2@90.00 C:3@95.00 > A B C",
    );
    check(
        "lowest | A 85.00 item=0.3333x255.00 | B 90.00 | C 95.00",
        "A:1@84.99 B:2@90.00 C:3@95.00 > A B C !repair_unconfirmed(A)",
    );
    check(
        "lowest | A 85.00 words=86.00 denied | B 90.00 | C 95.00 | D 96.00",
        "A:repair_not_confirmed B:1@90.00 C:2@95.00 D:3@96.00 > B C D",
    );
    // Nothing was repaired: there is nothing to confirm.
    check("lowest | A 85.00 denied | B 90.00 | C 95.00", "A:1@85.00 B:2@90.00 C:3@95.00 > A B C");
}

#[test]
fn deductions_are_made_in_their_order_and_only_for_whom_they_are() {
    let small = r#"deductions=[{"kind":"small_firm","percent":"10.00"}]"#;
    check(
        &format!("lowest {small} | A 100.00 small | B 91.00 | C 100.00 consortium"),
        "A:1@90.00 B:2@91.00 C:3@100.00 > A B C",
    );
    let both = r#"deductions=[{"kind":"small_firm","percent":"10.00"},{"kind":"domestic_product","percent":"20.00"}]"#;
    check(
        &format!("lowest {both} | A 100.00 small domestic | B 100.00 domestic | C 100.00 small"),
        "A:1@72.00 B:2@80.00 C:3@90.00 > A B C",
    );
    let of_bid = r#"deductions=[{"kind":"small_firm","percent":"10.00"},{"kind":"domestic_product","percent":"20.00","base":"bid"}]"#;
    check(
        &format!("lowest {of_bid} | A 100.00 small domestic | B 100.00 domestic | C 100.00 small"),
        "A:1@70.00 B:2@80.00 C:3@90.00 > A B C",
    );
    // A small firm has no claim to the consortium's share.
    let shares =
        r#"deductions=[{"kind":"consortium","percent":"4.00"},{"kind":"small_firm","percent":"10.00"}]"#;
    check(
        &format!("lowest {shares} | A 100.00 small consortium | B 100.00 consortium | C 100.00"),
        "A:1@90.00 B:2@96.00 C:3@100.00 > A B C",
    );
    // A half goes up: 0.15 x 0.9 = 0.135.
    check(
        &format!("lowest {small} | A 0.15 small | B 0.14 | C 0.13"),
        "A:2@0.14 B:2@0.14 C:1@0.13 > C A=B !draw_needed(A) !draw_needed(B)",
    );
    let generous = r#"deductions=[{"kind":"small_firm","percent":"30.00"}]"#;
    check(
        &format!("lowest {generous} | A 100.00 small | B 91.00 | C 100.00"),
        "A:1@70.00 B:2@91.00 C:3@100.00 > A B C !deduction_outside_law()",
    );
}

#[test]
fn who_is_out_is_out_by_the_first_reason_of_the_procedure() {
    // 87-44, 87-50, 87-59, 87-63, 87-60, in this order.
    check(
        r#"lowest ceiling="99.00" budget="98.50" | A 90.00 unqualified unresponsive | B 90.00 unresponsive | C 100.00 | D 99.00 | E 98.50 | F 50.00 rejected | G 97.00 | H 96.00"#,
        "A:not_qualified B:not_responsive C:above_ceiling D:above_budget E:3@98.50 F:price_not_explained G:2@97.00 H:1@96.00 > H G E",
    );
    // A ceiling is held against the repaired price.
    check(
        r#"lowest ceiling="99.00" | A 98.00 words=99.01 confirmed | B 99.00 | C 90.00 | D 95.00"#,
        "A:above_ceiling B:3@99.00 C:1@90.00 D:2@95.00 > C D B",
    );
}

#[test]
fn fewer_than_three_left_fail_the_lot() {
    // GPL-36.
    check("lowest | A 90.00 | B 95.00 | C 96.00 unqualified", "failed(2) A:- B:- C:not_qualified");
    check(
        r#"lowest budget="80.00" | A 90.00 | B 95.00 | C 96.00"#,
        "failed(0) A:above_budget B:above_budget C:above_budget",
    );
    check("scoring | A 90.00 | B 95.00", "failed(2) A:- B:-");
    // 87-31: two bids of one brand are one bidder.
    check("lowest | A 90.00 brand=K | B 95.00 brand=K | C 96.00", "failed(2) A:- B:- C:-");
    check(
        r#"lowest brands={"count_as_one":false} | A 90.00 brand=K | B 95.00 brand=K | C 96.00"#,
        "A:1@90.00 B:2@95.00 C:3@96.00 > A B C",
    );
}

#[test]
fn of_one_brand_the_lowest_is_evaluated_or_the_best_is_recommended() {
    check(
        "lowest | A 90.00 brand=K | B 89.00 brand=K | C 96.00 | D 97.00",
        "A:brand_evaluated_once B:1@89.00 C:2@96.00 D:3@97.00 > B C D",
    );
    // By the bid's price, not by the price compared.
    check(
        r#"lowest deductions=[{"kind":"small_firm","percent":"10.00"}] | A 90.00 brand=K small | B 89.00 brand=K | C 96.00 | D 97.00"#,
        "A:brand_evaluated_once B:1@89.00 C:2@96.00 D:3@97.00 > B C D",
    );
    check(
        "lowest | A 89.00 brand=K | B 89.00 brand=K | C 96.00 | D 97.00",
        "A:1@89.00 B:1@89.00 C:3@96.00 D:4@97.00 > A=B C !draw_needed(A) !draw_needed(B) !draw_needed(A) !draw_needed(B)",
    );
    check(
        &format!("lowest {SEED} | A 89.00 brand=K | B 89.00 brand=K | C 96.00 | D 97.00"),
        "A:1@89.00 B:brand_evaluated_once C:2@96.00 D:3@97.00 > A C D",
    );
    check(
        "scoring | A 80.00 brand=K o=20 s=40 | B 100.00 brand=K o=20 s=30 | C 100.00 o=10 s=20 | D 80.00 o=0 s=10",
        "A:1@100.00 B:2@82.00 C:3@62.00 D:4@50.00 > A C D",
    );
}

#[test]
fn the_best_score_is_first_then_the_lower_price() {
    // 87-55: 40 x 80/100 = 32.
    check(
        "scoring | A 100.00 o=20 s=40 | B 80.00 o=20 s=30 | C 90.00 o=20 s=35",
        "A:1@92.00 B:3@90.00 C:2@90.56 > A C B",
    );
    // 87-57: equal totals, and the lower price is first; equal prices too, and they tie.
    check(
        "scoring | A 100.00 o=20 s=38 | B 80.00 o=20 s=30 | C 160.00 o=10 s=20",
        "A:2@90.00 B:1@90.00 C:3@50.00 > B A C",
    );
    check(
        "scoring candidates_max=1 | A 80.00 o=20 s=30 | B 80.00 o=15 s=35 | C 160.00 o=10 s=20",
        "A:1@90.00 B:1@90.00 C:3@50.00 > A=B !draw_needed(A) !draw_needed(B)",
    );
    // The tender's own rule decides, and no draw is needed.
    check(
        r#"scoring ties=[{"by":"higher_criterion","criterion":"s"}] | A 80.00 o=20 s=30 | B 80.00 o=15 s=35 | C 160.00 o=10 s=20"#,
        "A:1@90.00 B:1@90.00 C:3@50.00 > B A C",
    );
}

#[test]
fn a_total_is_rounded_where_the_tender_says_and_nowhere_else() {
    // 40 x 70/90 = 31.1111..; 40 x 70/110 = 25.4545..
    let bids = "| A 70.00 o=20 s=10,11,10,10,10 | B 90.00 o=20 s=20 | C 110.00 o=20 s=30";
    for (rounding, expected) in [
        (r#"{"at":"never","decimals":2}"#, "A:3@70.20 B:2@71.11 C:1@75.45"),
        (r#"{"at":"weighted_price_score","decimals":1}"#, "A:3@70.20 B:2@71.10 C:1@75.50"),
        (r#"{"at":"weighted_price_score","decimals":0}"#, "A:3@70.20 B:2@71.00 C:1@75.00"),
        (r#"{"at":"each_criterion","decimals":0}"#, "A:3@70.00 B:2@71.00 C:1@75.00"),
        (r#"{"at":"total","decimals":0}"#, "A:3@70.00 B:2@71.00 C:1@75.00"),
        (r#"{"at":"total","decimals":3}"#, "A:3@70.20 B:2@71.111 C:1@75.455"),
    ] {
        check(&format!("scoring rounding={rounding} {bids}"), &format!("{expected} > C B A"));
    }
    // What rounding makes equal is equal: 40 x 70/70.01 = 39.994.. and 39.99 behind 2 decimals; the price decides.
    check(
        r#"scoring rounding={"at":"total","decimals":1} | A 70.00 o=20 s=30 | B 70.01 o=20 s=30 | C 80.00 o=1 s=1"#,
        "A:1@90.00 B:2@90.00 C:3@37.00 > A B C",
    );
}

#[test]
fn what_looks_wrong_is_told_and_changes_nothing() {
    // 87-64: objective scores that differ, and one far from the others: 30 % of 40 is 12.
    check(
        "scoring | A 80.00 o=20,20,19,20,20 s=20,20,20,20,32 | B 90.00 o=20 s=20,20,20,20,33 | C 100.00 o=20 s=20",
        "A:1@82.20 B:2@78.16 C:3@72.00 > A B C !objective_scores_differ(A,o) !score_outlying(B,E5,s)",
    );
    // 87-60: below half of the mean, below half of the next lowest, below 45 % of the ceiling.
    check(
        "lowest | A 40.00 | B 100.00 | C 110.00",
        "A:1@40.00 B:2@100.00 C:3@110.00 > A B C !price_unexplained(A)",
    );
    check(
        "lowest | A 49.99 | B 100.00 | C 100.01",
        "A:1@49.99 B:2@100.00 C:3@100.01 > A B C !price_unexplained(A)",
    );
    check("lowest | A 50.00 | B 100.00 | C 100.01", "A:1@50.00 B:2@100.00 C:3@100.01 > A B C");
    check(
        r#"lowest ceiling="200.00" | A 89.99 | B 100.00 | C 110.00"#,
        "A:1@89.99 B:2@100.00 C:3@110.00 > A B C !price_unexplained(A)",
    );
    check(
        r#"lowest abnormally_low={} | A 1.00 | B 100.00 | C 110.00"#,
        "A:1@1.00 B:2@100.00 C:3@110.00 > A B C",
    );
    check("lowest | A 40.00 explained | B 100.00 | C 110.00", "A:1@40.00 B:2@100.00 C:3@110.00 > A B C");
    // 87-55: goods, 30 %.
    check(
        r#"scoring kind="goods" | A 80.00 o=1 s=1 | B 80.00 o=2 s=1 | C 80.00 o=3 s=1"#,
        "A:3@42.00 B:2@43.00 C:1@44.00 > C B A",
    );
    let cheap = r#"criteria=[{"id":"p","kind":"price","maximum":"29.99"},{"id":"o","kind":"objective","maximum":"70.01"}]"#;
    check(
        &format!(r#"scoring kind="goods" {cheap} | A 80.00 o=1 | B 80.00 o=2 | C 80.00 o=3"#),
        "A:3@30.99 B:2@31.99 C:1@32.99 > C B A !price_weight_too_small()",
    );
}

/// What is wrong with a case, by place.
fn faults(line: &str, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut value = case(line);
    change(&mut value);
    match serde_json::from_value::<Case>(value) {
        Ok(case) => match evaluate(&case, WithSensitivity::No) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.into_iter().map(|fault| fault.at).collect(),
        },
        Err(fault) => vec![fault.to_string()],
    }
}

#[test]
fn a_case_that_is_not_in_order_is_refused_with_every_place() {
    let scoring = "scoring | A 80.00 o=1 s=1 | B 80.00 o=2 s=1 | C 80.00 o=3 s=1";
    let lowest = "lowest | A 80.00 | B 90.00 | C 95.00";
    assert!(faults(scoring, |_| {}).is_empty() && faults(lowest, |_| {}).is_empty());
    type Change = fn(&mut Value);
    let wrong: &[(&str, Change, &[&str])] = &[
        (lowest, |case| case["case"] = json!(2), &["case"]),
        (lowest, |case| case["rule_pack"] = json!("GP/9"), &["rule_pack"]),
        (lowest, |case| case["rounding"] = json!({"at": "total", "decimals": 5}), &["rounding.decimals"]),
        (lowest, |case| case["candidates_max"] = json!(0), &["candidates_max"]),
        (lowest, |case| case["bids"] = json!([]), &["bids"]),
        (lowest, |case| case["bids"][1]["id"] = json!("A"), &["bids[1].id"]),
        (lowest, |case| case["bids"][1]["id"] = json!(" "), &["bids[1].id"]),
        (lowest, |case| case["bids"][1]["sheet"]["price"] = json!("0.00"), &["bids[1].sheet"]),
        (
            lowest,
            |case| {
                case["bids"][0]["sheet"]["words"] = json!("0.00");
                case["bids"][2]["qualification"] = json!({"passed": false});
            },
            &["bids[0].sheet", "bids[2].qualification"],
        ),
        (
            lowest,
            |case| {
                case["bids"][0]["items"] =
                    json!([{"quantity": "999999999", "unit_price": "9999999999999.99"}])
            },
            &["bids[0].items"],
        ),
        (
            lowest,
            |case| {
                let odd = json!({"quantity": "1", "unit_price": "1.00", "misplaced": true});
                case["bids"][0]["items"] = json!([odd, odd]);
            },
            &["bids[0].items"],
        ),
        (lowest, |case| case["criteria"] = json!([{"id": "x", "parts": []}]), &["criteria"]),
        (
            lowest,
            |case| {
                case["deductions"] = json!([{"kind": "small_firm", "percent": "100.00"}, {"kind": "small_firm", "percent": "1.00"}]);
            },
            &["deductions[0].percent", "deductions[1]"],
        ),
        (scoring, |case| case["criteria"][1]["maximum"] = json!("21"), &["criteria"]),
        (
            scoring,
            |case| case["criteria"][1]["weight"] = json!("100.00"),
            &["criteria", "criteria[0].maximum", "criteria[1].maximum", "criteria[2].maximum"],
        ),
        (scoring, |case| case["criteria"][0]["kind"] = json!("objective"), &["criteria"]),
        (scoring, |case| case["criteria"][1]["id"] = json!("s"), &["criteria[2].id"]),
        (scoring, |case| case["ties"] = json!([{"by": "higher_criterion", "criterion": "x"}]), &["ties[0]"]),
        (scoring, |case| case["scores"]["E1"]["A"]["o"] = json!("20.0001"), &["scores.E1.A.o"]),
        (
            scoring,
            |case| case["criteria"][1]["bands"] = json!([{"from": "0", "to": "1"}, {"from": "3", "to": "3"}]),
            &["scores.E1.B.o", "scores.E2.B.o", "scores.E3.B.o", "scores.E4.B.o", "scores.E5.B.o"],
        ),
        (scoring, |case| case["scores"]["E9"] = json!({}), &["scores.E9"]),
        (scoring, |case| case["scores"]["E1"]["X"] = json!({}), &["scores.E1.X"]),
        (scoring, |case| case["scores"]["E1"]["A"]["p"] = json!("1"), &["scores.E1.A.p"]),
        (
            scoring,
            |case| drop(case["scores"]["E4"]["B"].as_object_mut().unwrap().remove("s")),
            &["scores.E4.B.s"],
        ),
        (
            scoring,
            |case| drop(case["scores"].as_object_mut().unwrap().remove("E4")),
            &["scores.E4.A", "scores.E4.B", "scores.E4.C"],
        ),
    ];
    for (line, change, places) in wrong {
        assert_eq!(faults(line, change), *places);
    }
    for (line, change, told) in [
        (lowest, (|case: &mut Value| case["bids"][0]["sheet"]["price"] = json!(80)) as Change, "string"),
        (lowest, |case| case["bids"][0]["sheet"]["price"] = json!("8,000.00"), "two decimals"),
        (lowest, |case| case["hurry"] = json!(true), "unknown field `hurry`"),
        (scoring, |case| case["scores"]["E1"]["A"]["o"] = json!(1.5), "string"),
        (lowest, |case| case["draw_seed"] = json!("AB"), "hexadecimal"),
    ] {
        assert!(faults(line, change)[0].contains(told), "{told}: {:?}", faults(line, change));
    }
}
