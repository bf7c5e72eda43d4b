//! Tending and waking: what a project's shell does at a look, and when it looks again.

use kaibiao_engine::reaction::{
    Due,
    tending::{Act, Drain, Tending, TendingInput, TendingOutput, WAKE_AHEAD_MS, ahead_of},
    wakes::Wakes,
};
use kaibiao_protocol::ids::ProjectId;

use crate::{
    script::{COUNTED, RECEIVING, STARTED, check, moment, open_window, play, signed_record, written},
    world::World,
};

fn told(tending: &mut Tending, world: &World, input: TendingInput, at: &str, ready: bool) -> String {
    let mut out = Vec::new();
    tending.handle(input, &world.project, moment(at), ready, &mut out);
    let shown = out.iter().map(|output| match output {
        TendingOutput::RunOpening => "run".to_owned(),
        TendingOutput::Act(act) => {
            let after = match act.after {
                Some(Drain::Finals) => "finals, then ",
                Some(Drain::Envelopes) => "envelopes, then ",
                None => "",
            };
            format!("{after}{:?}", act.due)
        }
        TendingOutput::Wake(at) => format!("wake {}", at.map_or("never".to_owned(), written)),
        TendingOutput::LookAfter(ms) => format!("look in {ms}"),
        TendingOutput::Sleep(may) => format!("sleep {may}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn look(tending: &mut Tending, world: &World, at: &str, ready: bool) -> String {
    told(tending, world, TendingInput::Look, at, ready)
}

#[test]
fn a_receiving_project_sleeps_until_its_deadline_and_settles_once() {
    let world = check(RECEIVING);
    let mut tending = Tending::default();
    assert_eq!(look(&mut tending, &world, "-1h", false), "wake +0");
    assert_eq!(look(&mut tending, &world, "+0", false), "finals, then Settle, wake never");
    assert_eq!(look(&mut tending, &world, "+0", false), "wake never", "it is in hand");
    let acted = TendingInput::Acted(Due::Settle);
    assert_eq!(told(&mut tending, &world, acted, "+1s", false), "look in 100");
    assert_eq!(look(&mut tending, &world, "+1s", false), "finals, then Settle, wake never");
}

#[test]
fn a_window_that_nobody_serves_does_not_end() {
    let world = open_window();
    let mut tending = Tending::default();
    assert_eq!(look(&mut tending, &world, "+29m", true), "run, wake +30m");
    assert_eq!(look(&mut tending, &world, "+30m", false), "run, wake never");
    assert_eq!(look(&mut tending, &world, "+31m", true), "run, envelopes, then ElapseWindow, wake never");
}

#[test]
fn an_opening_is_run_from_its_start_to_its_signed_record() {
    let mut tending = Tending::default();
    let counted = check(&[RECEIVING, COUNTED].concat());
    assert_eq!(look(&mut tending, &counted, "+1s", false), "StartOpening, wake never");
    let started = play(counted, STARTED);
    assert_eq!(look(&mut tending, &started, "+1s", false), "run, wake never");
    assert_eq!(look(&mut tending, &signed_record(), "+12m", false), "wake +1h11m");
}

#[test]
fn a_project_goes_to_sleep_when_nothing_is_in_hand_and_wakes_ahead_of_its_hour() {
    let world = check(RECEIVING);
    let mut tending = Tending::default();
    let sleep = |waiting| TendingInput::GoToSleep { waiting };
    assert_eq!(told(&mut tending, &world, sleep(1), "-1h", false), "sleep false");
    let told_to = told(&mut tending, &world, sleep(0), "-1h", false);
    assert_eq!(told_to, format!("wake {}, sleep true", written(ahead_of(moment("+0")))));
    look(&mut tending, &world, "+0", false);
    assert_eq!(told(&mut tending, &world, sleep(0), "+0", false), "sleep false", "it is acting");
    assert_eq!(moment("+0").plus_ms(-WAKE_AHEAD_MS), ahead_of(moment("+0")));
}

#[test]
fn a_project_that_does_not_exist_is_left_alone() {
    let mut tending = Tending::default();
    assert_eq!(look(&mut tending, &World::default(), "+0", false), "");
}

#[test]
fn every_act_is_one_that_the_permits_let_the_platform_do() {
    for (due, world) in [
        (Due::Settle, check(RECEIVING)),
        (Due::StartOpening, check(&[RECEIVING, COUNTED].concat())),
        (Due::ElapseWindow, open_window()),
        (Due::DeemConfirmed, signed_record()),
    ] {
        let Act { asker, command, .. } = Act::of(due);
        let mut world = world;
        assert!(world.ask(&asker, moment("+2h"), &command).is_ok(), "{due:?}");
    }
}

#[test]
fn a_wake_is_kept_once_a_project_and_given_once_in_order() {
    let named = |name: &str| -> ProjectId { name.parse().unwrap() };
    let (one, two) = (named("KX-00001"), named("KX-00002"));
    let mut wakes = Wakes::default();
    assert_eq!(wakes.next(), None);
    assert!(wakes.set(&one, Some(moment("+2m"))));
    assert!(!wakes.set(&one, Some(moment("+2m"))), "it is set already");
    assert!(wakes.set(&two, Some(moment("+1m"))));
    assert!(wakes.set(&one, Some(moment("+3m"))));
    assert_eq!(wakes.next(), Some(moment("+1m")));
    let until = |at| wakes.until(moment(at)).collect::<Vec<_>>();
    assert_eq!((until("+59s"), until("+1m"), until("+3m")), (vec![], vec![&two], vec![&two, &one]));
    assert_eq!(wakes.take_due(moment("+59s")), []);
    assert_eq!(wakes.take_due(moment("+5m")), [(moment("+1m"), two.clone()), (moment("+3m"), one.clone())]);
    assert_eq!((wakes.next(), wakes.take_due(moment("+9m"))), (None, Vec::new()));
    assert!(wakes.set(&two, Some(moment("+1m"))));
    assert!(wakes.set(&two, None));
    assert!(!wakes.set(&two, None));
    assert_eq!(wakes.next(), None);
}
