//! The WebSocket: frames, events, limits.

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::{
    people::Holder,
    uploads::open_room,
    wire::{Wire, closed},
    world::{DEADLINE, PROJECT, World, in_time, spec},
};

async fn wang(world: &World) -> Wire {
    Wire::open(world, &world.by_token(&Holder::new("mingde", 1)).await).await
}

#[actix_web::test]
async fn asks_are_answered_under_their_ids() {
    let world = World::new().await;
    let mut wire = wang(&world).await;
    let time = wire.must(json!({ "do": "time" })).await;
    assert!(time["at"].as_i64().unwrap() >= crate::world::MORNING.0);
    let ids = [
        wire.send(json!({ "do": "project", "project": PROJECT })).await,
        wire.send(json!({ "do": "room", "project": PROJECT })).await,
        wire.send(json!({ "do": "project", "project": "KX-404" })).await,
    ];
    // Whatever the order in which they come.
    let (mut view, mut room, mut unknown) = (Value::Null, Value::Null, Value::Null);
    for _ in ids {
        let frame = wire.frame().await.unwrap();
        match ids.iter().position(|id| frame["id"] == *id).unwrap() {
            0 => view = frame,
            1 => room = frame,
            _ => unknown = frame,
        }
    }
    assert_eq!(view["ok"]["view"]["spec"]["id"], PROJECT);
    assert_eq!(view["ok"]["view"]["status"], "receiving");
    assert_eq!(room["ok"]["view"]["bidders"], json!([]));
    assert_eq!(unknown["refused"]["code"], "unknown");
    for (word, is) in [("zh", "编号"), ("en", "number")] {
        assert!(unknown["refused"]["say"][word].as_str().unwrap().contains(is));
    }
}

#[actix_web::test]
async fn the_list_shows_what_one_may_see_by_search_and_page() {
    let world = World::new().await;
    for n in 2..=60 {
        let mut one = spec(&format!("KX-{n}"));
        one["name"] = json!(format!("第{n}号课桌椅"));
        if n == 60 {
            one["invited"] = json!(["tiangu"]);
        }
        world.order(json!({ "create_project": { "spec": one } })).await;
    }
    let mut wire = wang(&world).await;
    let page = wire.must(json!({ "do": "projects" })).await;
    assert_eq!(page["total"], 59, "one is by invitation of others");
    assert_eq!(page["rows"].as_array().unwrap().len(), 50);
    let rest = wire.must(json!({ "do": "projects", "skip": 50 })).await;
    assert_eq!(rest["rows"].as_array().unwrap().len(), 9);
    let found = wire.must(json!({ "do": "projects", "search": "第7号" })).await;
    assert_eq!(found["rows"][0]["project"], "KX-7");
    assert_eq!(found["total"], 1);
    let found = wire.must(json!({ "do": "projects", "search": "kx-60" })).await;
    assert_eq!(found["total"], 0);
    assert_eq!(wire.code(json!({ "do": "project", "project": "KX-60" })).await, "unknown");
}

#[actix_web::test]
async fn a_subscription_is_answered_before_its_first_event_and_resumes_without_a_gap() {
    let world = World::new().await;
    let stream = format!("room/{PROJECT}");
    let mut wire = wang(&world).await;
    let id = wire.send(json!({ "do": "subscribe", "stream": stream, "since": 0 })).await;
    let first = wire.frame().await.unwrap();
    assert_eq!(first["id"], id, "{first}");
    assert_eq!(first["ok"], json!({ "is": "subscribed", "seq": 1 }));
    let event = wire.event().await;
    assert_eq!((&event["stream"], &event["seq"]), (&json!(stream), &json!(1)));
    assert_eq!(event["event"]["event"], "project_published");
    assert_eq!(wire.code(json!({ "do": "subscribe", "stream": stream, "since": 0 })).await, "already_exists");

    world.hands.pass_until(&world.clock, DEADLINE);
    let mut seen = vec![event];
    in_time("the record", async {
        while seen.last().unwrap()["event"]["event"] != "record_signed" {
            seen.push(wire.event().await);
        }
    })
    .await;
    for (event, seq) in seen.iter().zip(1..) {
        assert_eq!(event["seq"], seq);
    }
    let mut other = wang(&world).await;
    let told = other.must(json!({ "do": "subscribe", "stream": stream, "since": 2 })).await;
    assert_eq!(told["seq"], seen.len());
    for event in &seen[2..] {
        assert_eq!(other.event().await, *event);
    }
    other.must(json!({ "do": "unsubscribe", "stream": stream })).await;
    assert_eq!(other.code(json!({ "do": "unsubscribe", "stream": stream })).await, "unknown");
    let mut agent = Wire::open(&world, &world.by_password("agent").await).await;
    agent.must(json!({ "do": "check_in", "project": PROJECT })).await;
    assert_eq!(wire.event().await["event"]["event"], "checked_in");
    other.must(json!({ "do": "time" })).await;
    assert!(other.events.is_empty(), "no event after unsubscribing: {:?}", other.events);
}

#[actix_web::test]
async fn a_frame_that_is_not_understood_is_refused_and_the_socket_lives_on() {
    let world = World::new().await;
    let mut wire = wang(&world).await;
    for (frame, id, place) in [
        (r#"{"id":901,"ask":{"do":"fly"}}"#, 901, "`fly`"),
        (r#"{"id":902,"ask":{"do":"time","now":true}}"#, 902, "`now`"),
        (r#"{"id":903,"ask":{"do":"project"}}"#, 903, "`project`"),
        (r#"{"id":904,"ask":{"do":"time"},"hurry":1}"#, 904, "`hurry`"),
        (r#"{"id":905,"ask":{"do":"room","project":"a b"}}"#, 905, "ProjectId"),
        (r#"{"id":906,"ask":{"do":"projects","skip":1.5}}"#, 906, "1.5"),
        (r#"{"id":"907","ask":{"do":"time"}}"#, 0, "u64"),
        ("{", 0, "line 1"),
        ("", 0, "line 1"),
    ] {
        wire.say(frame).await;
        let told = wire.frame().await.unwrap();
        assert_eq!(told["id"], id, "{frame}");
        assert_eq!(told["refused"]["code"], "malformed", "{frame}");
        assert!(told["refused"]["say"]["en"].as_str().unwrap().contains(place), "{frame}: {told}");
    }
    wire.must(json!({ "do": "time" })).await;
}

#[actix_web::test]
async fn a_frame_too_large_binary_or_not_text_closes_the_socket() {
    let world = World::new().await;
    let mut wire = wang(&world).await;
    wire.say("x".repeat(65_537)).await;
    assert_eq!(wire.closed().await, closed(1009, "frame_too_large"));
    let mut wire = wang(&world).await;
    wire.stream.send(Message::Binary(Bytes::from_static(b"{}"))).await.unwrap();
    assert_eq!(wire.closed().await, closed(1003, "text_only"));
}

#[actix_web::test]
async fn more_asks_than_allowed_are_busy_and_the_socket_lives_on() {
    let world = World::with(|config| {
        config.sockets.asks_per_second = 1;
        config.sockets.asks_burst = 5;
    })
    .await;
    let mut wire = wang(&world).await;
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(wire.code(json!({ "do": "time" })).await);
    }
    assert!(codes[..5].iter().all(|code| code == "ok"), "{codes:?}");
    assert!(codes.iter().filter(|code| *code == "busy").count() >= 13, "{codes:?}");
}

#[actix_web::test]
async fn sockets_of_one_session_are_counted_and_given_back() {
    let world = World::with(|config| config.sockets.per_session_max = 2).await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let bearer = format!("Bearer {}", session.0);
    let first = Wire::open(&world, &session).await;
    let _second = Wire::open(&world, &session).await;
    let third = Wire::open_with(&world, &[("authorization", &bearer)]).await;
    assert_eq!(third.err().map(|status| status.as_u16()), Some(503));
    drop(first);
    in_time("the place", async {
        while Wire::open_with(&world, &[("authorization", &bearer)]).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_reader_that_stays_behind_is_cut_and_others_are_not_held_up() {
    let world = World::with(|config| {
        config.sockets.queue_frames_max = 2;
        config.sockets.asks_in_flight_max = 100;
    })
    .await;
    // A project whose view is long, so that answers fill every buffer on the way.
    let mut long = spec("KX-2");
    for lot in 1..=200 {
        let name = format!("{lot}").repeat(3) + &"很长的标项名称".repeat(20);
        long["lots"][lot.to_string()] = json!({ "name": name, "budget": "1.00", "price_kind": "total" });
    }
    world.order(json!({ "create_project": { "spec": long } })).await;
    open_room(&world).await;
    let stream = format!("room/{PROJECT}");
    let mut slow = wang(&world).await;
    let joined =
        slow.must(json!({ "do": "subscribe", "stream": stream, "since": 1 })).await["seq"].as_u64().unwrap();
    for seq in 2..=joined {
        assert_eq!(slow.event().await["seq"], seq);
    }
    let mut agent = Wire::open(&world, &world.by_password("agent").await).await;
    agent.must(json!({ "do": "subscribe", "stream": stream, "since": joined })).await;
    // It asks and asks, and reads nothing.
    for _ in 0..90 {
        slow.send(json!({ "do": "project", "project": "KX-2" })).await;
    }
    // Once nothing moves on its side any more, events queue, and then they do not fit.
    let cut = || {
        let text = world.running.house().metrics().text();
        text.lines().any(|line| line.starts_with("kaibiao_slow_readers_cut_total") && !line.ends_with(" 0"))
    };
    let mut told = joined;
    in_time("the cut", async {
        while !cut() {
            let extend =
                json!({ "do": "extend_window", "project": PROJECT, "minutes": 1, "reason": "网络缓慢" });
            agent.must(extend).await;
            told += 1;
            assert_eq!(agent.event().await["seq"], told, "others are told at once");
        }
    })
    .await;
    assert_eq!(slow.closed().await, closed(4002, "slow_reader"));
    // It comes back and goes on where it stood.
    let mut back = wang(&world).await;
    back.must(json!({ "do": "subscribe", "stream": stream, "since": joined })).await;
    for seq in joined + 1..=told {
        assert_eq!(back.event().await["seq"], seq);
    }
}
