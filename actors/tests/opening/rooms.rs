//! The room: who sees what, in which order, and what becomes of those who read slowly or of actors that die.

use kaibiao_actors::frame_sink::Cut;
use kaibiao_protocol::{
    command::ProjectCommand, event::ObjectionKind, frame::StreamName, refusal::RefusalCode, role::Role,
};

use crate::{
    suppliers::Supplier,
    world::{World, agent, in_time, person, supervisor},
};

async fn opened_room() -> (World, Vec<Supplier>) {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    for one in &suppliers {
        world.hand_in(&world.seal(one, 1, &[(1, "100.00")])).await;
    }
    world.until(world.deadline());
    world.becomes("the order", |state| state.order().is_some()).await;
    (world, suppliers)
}

async fn object(world: &World, supplier: &Supplier, text: &str) {
    let command = ProjectCommand::Object { kind: ObjectionKind::Objection, lot: None, text: text.to_owned() };
    world.ask(supplier.asker(), command).await.unwrap();
}

#[actix::test]
async fn a_slow_reader_is_cut_and_resumes_without_a_gap() {
    let (world, suppliers) = opened_room().await;
    let mut quick = world.watch(&supervisor(), false, 0).await;
    let mut slow = world.watch_with(&supervisor(), false, 0, 3).await;
    let backlog = slow.joined;
    for _ in 0..backlog {
        slow.next().await.unwrap();
    }
    for number in 0..10 {
        object(&world, &suppliers[number % 3], &format!("问题{number}")).await;
    }
    for _ in 0..backlog + 10 {
        quick.next().await.unwrap();
    }
    let cut = loop {
        if let Err(cut) = slow.next().await {
            break cut;
        }
    };
    assert_eq!(cut, Cut::SlowReader);
    let mut resumed = world.watch_with(&supervisor(), false, slow.had(), 3).await;
    let mut all = slow.seen.clone();
    while all.len() < quick.seen.len() {
        all.push(resumed.next().await.unwrap());
    }
    assert_eq!(all, quick.seen);
    assert_eq!(world.house.metrics().slow_readers_cut.get(), 1);
    world.house.stop().await;
}

#[actix::test]
async fn a_stream_has_the_same_numbers_for_everybody_who_joins_at_any_time_and_after_a_restart() {
    let (world, suppliers) = opened_room().await;
    let mut early = world.watch(&suppliers[0].asker(), false, 0).await;
    object(&world, &suppliers[1], "一").await;
    for _ in 0..early.joined + 1 {
        early.next().await.unwrap();
    }
    let view = world.house.room_view(&suppliers[0].asker(), &world.project).await.unwrap();
    assert_eq!(view.seq, early.had());
    let world = world.crash(0, 0).await;
    let mut late = world.watch(&suppliers[2].asker(), false, 0).await;
    for seen in &early.seen {
        assert_eq!(late.next().await.unwrap(), *seen);
    }
    world.house.stop().await;
}

#[actix::test]
async fn an_own_stream_is_its_suppliers_alone() {
    let (world, suppliers) = opened_room().await;
    let mut own = world.watch(&suppliers[0].asker(), true, 0).await;
    own.event("bid_received").await;
    let asked = own.event("keys_asked").await;
    assert_eq!(asked["parts"], serde_json::json!(["common", "lot-001"]));
    let (sink, _source) = kaibiao_actors::frame_sink::frame_channel(8);
    let join = |asker| kaibiao_actors::messages::JoinRoom {
        asker,
        stream: StreamName::Own(world.project.clone()),
        since: 0,
        sink: sink.clone(),
    };
    assert_eq!(world.house.join_room(join(agent())).await.unwrap_err().code, RefusalCode::RoleNotAllowed);
    let stranger = person("x", "nobody", Role::Purchaser);
    assert_eq!(world.house.join_room(join(stranger)).await.unwrap_err().code, RefusalCode::Unknown);
    world.house.stop().await;
}

#[actix::test]
async fn a_projects_actor_that_panics_is_started_anew_by_replay_and_loses_nothing() {
    let (world, suppliers) = opened_room().await;
    let mut watcher = world.watch(&supervisor(), false, 0).await;
    object(&world, &suppliers[0], "一").await;
    let before = world.state().await;
    world.house.break_project(&world.project);
    // Asked at once: the answer is lost with the actor, and the next one gives it.
    object(&world, &suppliers[1], "二").await;
    assert!(world.house.metrics().text().contains(r#"kaibiao_actor_restarts_total{part="project"} 1"#));
    assert_eq!(world.state().await.order(), before.order());
    assert_eq!(world.kinds()["objection_raised"], 2);
    // Whoever watches sees both, once.
    watcher.event("objection_raised").await;
    watcher.event("objection_raised").await;
    world.house.stop().await;
}

#[actix::test]
async fn a_dead_project_that_nobody_asks_for_still_opens_at_its_hour() {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    for one in &suppliers {
        world.hand_in(&world.seal(one, 1, &[(1, "100.00")])).await;
    }
    // It dies at its very hour, with the count on its way to the disk and no wake set.
    world.memory.hold();
    world.until(world.deadline());
    in_time("the count on its way", async {
        while world.memory.held() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.house.break_project(&world.project);
    in_time("its death", async {
        while world.house.metrics().projects_live.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.memory.release_all();
    world.hands.pass_ms(2_000);
    // The timer alone starts it anew; this test looks at nothing but the journal.
    in_time("the order", async {
        while !world.kinds().contains_key("order_issued") {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    world.house.stop().await;
}

#[actix::test]
async fn an_openings_actor_that_panics_is_followed_by_one_with_an_order_of_its_own() {
    let (world, suppliers) = opened_room().await;
    let bid = world.state().await.standing_bid_of(&suppliers[0].organisation).unwrap().facts.bid;
    world.house.break_opening(&world.project);
    let state =
        world.becomes("a new order", |state| state.order().is_some_and(|order| order.epoch == 2)).await;
    assert!(!state.parts_asked(&bid).is_empty());
    assert!(world.house.metrics().text().contains(r#"kaibiao_actor_restarts_total{part="opening"} 1"#));
    world.house.stop().await;
}

#[actix::test]
async fn what_happens_in_one_moment_cuts_no_reader_however_much_it_is() {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=6).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    for one in &suppliers {
        world.hand_in(&world.seal(one, 1, &[(1, "100.00")])).await;
        world.ask(one.asker(), ProjectCommand::CheckIn).await.unwrap();
    }
    let mut narrow = world.watch_with(&supervisor(), false, 0, 3).await;
    narrow.event("project_published").await;
    // The count shows six organisations that signed in, all at once; then come the start and the order.
    world.until(world.deadline());
    world.becomes("the order", |state| state.order().is_some()).await;
    narrow.event("receiving_closed").await;
    for _ in &suppliers {
        narrow.event("checked_in").await;
    }
    narrow.event("order_issued").await;
    world.house.stop().await;
}

#[actix::test]
async fn an_idle_project_is_let_go_and_comes_back_when_asked_for_or_when_its_hour_comes() {
    let world = World::new().await;
    let suppliers: Vec<Supplier> = (1..=3).map(Supplier::new).collect();
    world.register(&suppliers).await;
    world.publish(world.spec(1)).await;
    for one in &suppliers {
        world.hand_in(&world.seal(one, 1, &[(1, "100.00")])).await;
    }
    assert_eq!(world.house.let_idle_go(60_000).await, 0, "it was used just now");
    let mut watcher = world.watch(&supervisor(), false, 0).await;
    world.hands.pass_ms(120_000);
    assert_eq!(world.house.let_idle_go(60_000).await, 0, "somebody watches");
    watcher.event("project_published").await;
    drop(watcher);
    assert_eq!(world.house.let_idle_go(60_000).await, 1);
    // It has said that it goes; a moment later it is gone.
    in_time("its end", async {
        while world.house.metrics().projects_live.get() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(world.state().await.standing_bids().len(), 3);
    world.hands.pass_ms(120_000);
    assert_eq!(world.house.let_idle_go(60_000).await, 1);
    // Asleep, it is woken ahead of its deadline, and not counted before it.
    world.until(kaibiao_protocol::moment::Moment(world.deadline().0 - 1_000));
    world.becomes("the project", kaibiao_engine::project::Project::exists).await;
    assert!(world.state().await.lots().is_none());
    world.until(world.deadline());
    world.becomes("the order", |state| state.order().is_some()).await;
    assert!(!world.house.metrics().text().contains("actor_restarts_total{"));
    world.house.stop().await;
}

#[actix::test]
async fn commands_are_refused_by_who_asks_and_by_which_project() {
    let (world, suppliers) = opened_room().await;
    let close = ProjectCommand::CloseWindow { reason: "都来了".into() };
    let early = world.ask(agent(), close.clone()).await.unwrap_err();
    assert_eq!(early.code, RefusalCode::StillAwaited);
    let wrong = world.ask(suppliers[0].asker(), close.clone()).await.unwrap_err();
    assert_eq!(wrong.code, RefusalCode::RoleNotAllowed);
    let elsewhere = kaibiao_actors::messages::AskProject::new("KX-2".parse().unwrap(), agent(), close);
    assert_eq!(world.house.ask_project(elsewhere).await.unwrap_err().code, RefusalCode::Unknown);
    assert!(world.house.project(&"KX-2".parse().unwrap()).await.is_none());
    world.house.stop().await;
}
