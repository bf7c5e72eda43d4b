//! What must hold of every evaluation, whatever the case.

use kaibiao_engine::evaluation::{WithSensitivity, evaluate};
use kaibiao_protocol::evaluation::{BidResult, Case, Evaluation, Standing};
use proptest::{prelude::*, test_runner::RngSeed};
use serde_json::{Value, json};

/// One bid's numbers: price in yuan, flags, objective and subjective scores.
type Numbers = (u32, u8, u8, [u8; 3]);

fn bids() -> impl Strategy<Value = Vec<Numbers>> {
    prop::collection::vec((60..120_u32, 0..8_u8, 0..=20_u8, prop::array::uniform3(0..=40_u8)), 3..9)
}

fn case_of(scoring: bool, rounding: usize, bids: &[Numbers]) -> Value {
    let points = ["price_score", "weighted_price_score", "each_criterion", "total", "never"];
    let id = |nth: usize| format!("B{nth}");
    let facts: Vec<Value> = bids
        .iter()
        .enumerate()
        .map(|(nth, (price, flags, ..))| {
            json!({
                "id": id(nth), "sheet": {"price": format!("{price}.00")}, "small_firm": flags & 1 != 0,
                "consortium": flags & 2 != 0, "domestic_product": flags & 4 != 0,
            })
        })
        .collect();
    let mut case = json!({
        "case": 1, "rule_pack": "GP/1", "kind": "goods", "bids": facts, "candidates_max": 100,
        "method": if scoring { "comprehensive_scoring" } else { "lowest_evaluated_price" },
        "rounding": {"at": points[rounding % 5], "decimals": rounding % 5},
        "deductions": [
            {"kind": "small_firm", "percent": "10.00"}, {"kind": "consortium", "percent": "4.00"},
            {"kind": "domestic_product", "percent": "20.00", "base": "bid"},
        ],
    });
    if scoring {
        case["criteria"] = json!([
            {"id": "p", "kind": "price", "maximum": "40"}, {"id": "o", "kind": "objective", "maximum": "20"},
            {"id": "s", "kind": "subjective", "maximum": "40"},
        ]);
        case["experts"] = json!(["E0", "E1", "E2"]);
        for expert in 0..3 {
            for (nth, (.., objective, subjective)) in bids.iter().enumerate() {
                case["scores"][format!("E{expert}")][id(nth)] =
                    json!({"o": objective.to_string(), "s": subjective[expert].to_string()});
            }
        }
    }
    case
}

fn evaluated(case: &Value) -> Evaluation {
    let case: Case = serde_json::from_value(case.clone()).unwrap();
    evaluate(&case, WithSensitivity::No).unwrap()
}

fn of<'e>(evaluation: &'e Evaluation, id: &str) -> &'e BidResult {
    evaluation.bids.iter().find(|bid| bid.id == id).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_125),
        ..ProptestConfig::default()
    })]

    /// A ranking is a total preorder that does not know in which order the bids lie on the table.
    #[test]
    fn the_order_of_the_bids_changes_nothing(scoring: bool, rounding in 0..25_usize, bids in bids(), turn in 0..9_usize) {
        let straight = case_of(scoring, rounding, &bids);
        let mut turned = straight.clone();
        let list = turned["bids"].as_array_mut().unwrap();
        let by = turn % list.len();
        list.rotate_left(by);
        list.reverse();
        let (straight, turned) = (evaluated(&straight), evaluated(&turned));
        for bid in &straight.bids {
            prop_assert_eq!(bid, of(&turned, &bid.id));
        }
        let places = |evaluation: &Evaluation| {
            let mut places: Vec<(u32, String)> =
                evaluation.candidates.iter().map(|one| (one.place, one.bid.clone())).collect();
            places.sort();
            places
        };
        prop_assert_eq!(places(&straight), places(&turned));
        // Ranks are those of a preorder: each is one more than the number of bids before it.
        for bid in &straight.bids {
            let rank = bid.rank.unwrap();
            let before = straight.bids.iter().filter(|other| other.rank.unwrap() < rank).count();
            prop_assert_eq!(rank as usize, before + 1);
        }
    }

    #[test]
    fn a_deduction_never_raises_a_price(scoring: bool, rounding in 0..25_usize, bids in bids()) {
        for bid in evaluated(&case_of(scoring, rounding, &bids)).bids {
            let mut before = bid.price;
            for made in &bid.deductions {
                prop_assert!(made.left <= before);
                before = made.left;
            }
            prop_assert!(bid.price_for_scoring.unwrap() <= bid.price);
        }
    }

    /// With everything else as it is, asking more never helps.
    #[test]
    fn raising_only_a_price_never_raises_its_rank(
        scoring: bool,
        rounding in 0..25_usize,
        bids in bids(),
        who in 0..9_usize,
        more in 1..50_u32,
    ) {
        let who = who % bids.len();
        let mut raised = bids.clone();
        raised[who].0 += more;
        let (low, high) = (evaluated(&case_of(scoring, rounding, &bids)), evaluated(&case_of(scoring, rounding, &raised)));
        let id = format!("B{who}");
        // Another lowest price changes everybody's price score: it is held against each other bid alone.
        let ahead = |evaluation: &Evaluation| {
            let own = of(evaluation, &id).rank.unwrap();
            evaluation.bids.iter().filter(|bid| bid.rank.unwrap() < own).map(|bid| bid.id.clone()).collect::<Vec<_>>()
        };
        let lowest = |evaluation: &Evaluation| evaluation.bids.iter().filter_map(|bid| bid.price_for_scoring).min();
        if lowest(&low) == lowest(&high) {
            for other in ahead(&low) {
                prop_assert!(ahead(&high).contains(&other), "{} got ahead of {}", id, other);
            }
        }
    }

    #[test]
    fn a_total_is_the_sum_of_its_parts_as_they_are_rounded(rounding in 0..5_usize, bids in bids()) {
        // Each criterion rounded to two decimals: what is shown is what is added.
        let mut case = case_of(true, 0, &bids);
        case["rounding"] = json!({"at": "each_criterion", "decimals": rounding.max(2)});
        let evaluation = evaluated(&case);
        prop_assert_eq!(&evaluation.standing, &Standing::Ranked);
        for bid in &evaluation.bids {
            let parts: i64 = bid.criteria.iter().map(|part| part.score.get()).sum();
            prop_assert_eq!(bid.total.unwrap().get(), parts + bid.price_score.unwrap().get());
        }
    }

    #[test]
    fn an_evaluation_is_read_back_as_it_was_written(scoring: bool, rounding in 0..25_usize, bids in bids()) {
        let case = case_of(scoring, rounding, &bids);
        let typed: Case = serde_json::from_value(case).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Case>(&serde_json::to_string(&typed).unwrap()).unwrap(), &typed);
        let evaluation = evaluate(&typed, WithSensitivity::Yes).unwrap();
        let text = serde_json::to_string(&evaluation).unwrap();
        prop_assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), evaluation);
    }
}
