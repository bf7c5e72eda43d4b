//! Setting a project up.

use crate::{
    script::{check, step},
    world::World,
};

#[test]
fn the_organisers_agent_or_the_operator_publishes_a_project() {
    for (who, outcome) in [
        ("agent", "project_created"),
        ("console", "project_created"),
        ("other-agent", "!not_your_project"),
        ("purchaser", "!role_not_allowed"),
        ("A", "!role_not_allowed"),
        ("supervisor", "!role_not_allowed"),
        ("administrator", "!role_not_allowed"),
        ("expert", "!role_not_allowed"),
        ("intake", "!role_not_allowed"),
        ("timer", "!role_not_allowed"),
        ("opening", "!role_not_allowed"),
    ] {
        check(&format!("-1d {who} create -> {outcome}"));
    }
}

#[test]
fn a_project_is_created_once() {
    check(
        "-1d agent create -> project_created
         -1d agent create -> !already_exists
         -1d console create -> !already_exists",
    );
}

#[test]
fn nothing_happens_to_a_project_that_is_not_there() {
    check(
        "-1d intake  submit a1 -> !unknown
         +0  intake  count     -> !unknown
         +0  agent   check-in  -> !unknown
         is status = absent
         is wake = never
         is todo = nothing",
    );
}

#[test]
fn a_real_tender_leaves_twenty_days_to_the_instant() {
    check("-20d  agent create real -> project_created");
    check("-19d23h59m59s  agent create real -> !deadline_too_soon");
    check("-1d   agent create real -> !deadline_too_soon");
    check("-20d  agent create real pack=CTB/1 -> project_created");
    check("-19d  agent create real pack=CTB/1 -> !deadline_too_soon");
}

#[test]
fn an_exercise_may_shorten_the_legal_period_but_not_to_nothing() {
    check("-1us agent create -> project_created");
    check("+0   agent create -> !spec_invalid");
    check("+1m  agent create -> !spec_invalid");
}

#[test]
fn other_methods_have_other_periods() {
    for (method, enough, short) in [
        ("competitive_consultation", "-10d", "-9d"),
        ("competitive_negotiation", "-3d", "-2d"),
        ("inquiry", "-3d", "-2d"),
    ] {
        check(&format!("{enough} agent create real method={method} -> project_created"));
        check(&format!("{short} agent create real method={method} -> !deadline_too_soon"));
    }
    check("-1us agent create real method=single_source -> project_created");
}

#[test]
fn an_invited_tender_names_at_least_three() {
    check("-20d agent create real method=invited_tender -> !spec_invalid");
    check("-20d agent create real method=invited_tender invited=A,B -> !spec_invalid");
    check("-20d agent create real method=invited_tender invited=A,B,C -> project_created");
    check("-20d agent create invited= -> !spec_invalid");
}

#[test]
fn the_bid_security_is_at_most_two_percent_of_the_lots_budget_and_not_cash() {
    check("-1d agent create security=200000 -> project_created");
    check("-1d agent create security=200001 -> !bid_security_too_high");
    check("-1d agent create security=0 -> project_created");
    check("-1d agent create paid=现金 -> !spec_invalid");
    check("-1d agent create paid=非现金形式 -> project_created");
    check("-1d agent create paid=电汇 -> project_created");
}

#[test]
fn every_number_has_its_limits() {
    for fits in [
        "window=1",
        "window=1440",
        "grace=1",
        "grace=1440",
        "confirm=0",
        "confirm=10080",
        "max=1",
        "lots=200",
    ] {
        check(&format!("-1d agent create {fits} -> project_created"));
    }
    for breaks in [
        "window=0",
        "window=1441",
        "grace=0",
        "grace=1441",
        "confirm=10081",
        "max=0",
        "lots=0",
        "lots=201",
        "budget=19999999",
        "lot-budget=0",
        "name=",
        "pack=GP/2",
        "pack=",
    ] {
        check(&format!("-1d agent create {breaks} -> !spec_invalid"));
    }
}

#[test]
fn all_faults_are_named_at_once() {
    let mut world = World::default();
    let refusal = step(&mut world, "-1d agent create real window=0 grace=0 security=300000").unwrap_err();
    assert_eq!(refusal.code.as_str(), "spec_invalid");
    for part in ["window", "grace", "20 days", "lot 1", "lot 2"] {
        assert!(refusal.say.en.contains(part), "{part} is missing in: {}", refusal.say.en);
    }
    for part in ["解密时长", "宽限", "20日", "标项1", "标项2"] {
        assert!(refusal.say.zh.contains(part), "{part} is missing in: {}", refusal.say.zh);
    }
}

#[test]
fn a_fault_against_the_law_cites_its_rule() {
    let mut world = World::default();
    let refusal = step(&mut world, "-1d agent create real").unwrap_err();
    assert_eq!(refusal.rule, "GPL-35 (GP/1)");
    let refusal = step(&mut world, "-1d agent create real pack=CTB/1").unwrap_err();
    assert_eq!(refusal.rule, "TL-24 (CTB/1)");
    let refusal = step(&mut world, "-1d agent create security=900000").unwrap_err();
    assert_eq!(refusal.rule, "GPR-33 (GP/1)");
    let refusal = step(&mut world, "-1d agent create paid=现金").unwrap_err();
    assert_eq!((refusal.code.as_str(), refusal.rule.as_str()), ("spec_invalid", "GPR-33 (GP/1)"));
    let refusal = step(&mut world, "-1d agent create window=0").unwrap_err();
    assert_eq!(refusal.rule, "house");
}
