//! What the server tells of itself, and what it never tells.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    people::Holder,
    uploads::{Form, Upload, metadata},
    wire::Wire,
    world::{MORNING, PASSWORD, PROJECT, World, log, refusal},
};

#[actix_web::test]
async fn health_and_readiness_and_time_need_no_session() {
    let world = World::empty(|_| ()).await;
    for (path, holds) in [("/health", "alive"), ("/ready", "true"), ("/api/time", "at")] {
        let response = world.client.get(world.url(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert!(response.text().await.unwrap().contains(holds), "{path}");
    }
    let time: Value = world.client.get(world.url("/api/time")).send().await.unwrap().json().await.unwrap();
    assert!(time["at"].as_i64().unwrap() >= MORNING.0);
    world.running.desk().stop_sockets();
    let response = world.client.get(world.url("/ready")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.json::<Value>().await.unwrap()["why"], "stopping");
}

#[actix_web::test]
async fn a_server_without_room_is_not_ready() {
    let world = World::empty(|config| config.uploads.disk_reserve_bytes = 1 << 60).await;
    let response = world.client.get(world.url("/ready")).send().await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "ready": false, "why": "disk_low" }));
}

#[actix_web::test]
async fn metrics_are_for_those_named_and_told_in_one_text() {
    let world = World::empty(|_| ()).await;
    let text = world.client.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains("kaibiao_sessions 0") && text.trim_end().ends_with("# EOF"), "{text}");
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut once = families.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), families.len(), "{families:?}");
    let world = World::empty(|config| config.metrics_from = Vec::new()).await;
    assert_eq!(world.client.get(world.url("/metrics")).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[actix_web::test]
async fn every_answer_is_inert_and_has_its_request_id() {
    let world = World::empty(|_| ()).await;
    for path in ["/health", "/nowhere", "/api/projects/KX-1"] {
        let response = world.client.get(world.url(path)).send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert!(headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert_eq!(headers["x-request-id"].len(), 16);
    }
    let nowhere = world.client.get(world.url("/nowhere")).send().await.unwrap();
    assert_eq!(refusal(nowhere).await, "unknown");
    let nobody = world.client.get(world.url("/api/projects/KX-1")).send().await.unwrap();
    assert_eq!(refusal(nobody).await, "not_signed_in");
}

#[actix_web::test]
async fn no_log_line_holds_a_secret_and_commands_are_found_by_project_and_id() {
    let world = World::new().await;
    let wang = world.by_token(&Holder::new("mingde", 1)).await;
    let agent = world.by_password("agent").await;
    world.try_password("agent", "canary-guess-9023").await;
    let mut wire = Wire::open(&world, &wang).await;
    wire.code(
        json!({ "do": "withdraw_bid", "project": PROJECT, "bid": "ab".repeat(16), "reason": "canary-words" }),
    )
    .await;
    wire.say(r#"{"id":1,"ask":{"do":"canary-frame-5521"}}"#).await;
    wire.frame().await.unwrap();
    let form = Form { address: "canary-address-8812".into(), ..Form::default() };
    let begun = world
        .post(&wang, &format!("/api/projects/{PROJECT}/uploads"))
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", "100000")
        .header("Upload-Metadata", metadata(&form, &[]))
        .send()
        .await
        .unwrap();
    assert_eq!(begun.status(), StatusCode::CREATED);
    let text = log().text();
    for secret in [
        PASSWORD,
        "canary-guess-9023",
        "canary-words",
        "canary-frame-5521",
        "canary-address-8812",
        &form.id_number,
        &form.mobile,
        &wang.0,
        &agent.0,
    ] {
        assert!(!text.contains(secret), "{secret} is in the log");
    }
    let line =
        text.lines().find(|line| line.contains("\"ask\":\"withdraw_bid\"")).expect("the ask is logged");
    let line: Value = serde_json::from_str(line).unwrap();
    let span = line["spans"].as_array().unwrap().iter().find(|span| span["name"] == "ask").unwrap().clone();
    assert_eq!(span["project"], PROJECT);
    assert_eq!(span["command"].as_str().unwrap().len(), 32);
}

/// Everything that others than the supplier can ask about a project.
async fn seen(world: &World, wires: &mut [Wire]) -> Vec<Value> {
    let mut seen = Vec::new();
    for wire in wires {
        for ask in [
            json!({ "do": "projects" }),
            json!({ "do": "project", "project": PROJECT }),
            json!({ "do": "room", "project": PROJECT }),
            json!({ "do": "subscribe", "stream": format!("room/{PROJECT}"), "since": 1 }),
            json!({ "do": "unsubscribe", "stream": format!("room/{PROJECT}") }),
        ] {
            let mut answer = wire.ask(ask).await;
            answer.as_object_mut().unwrap().remove("id");
            if answer["ok"]["is"] == "done" {
                answer["ok"].as_object_mut().unwrap().remove("at");
            }
            seen.push(answer);
        }
        assert!(wire.events.is_empty(), "{:?}", wire.events);
    }
    seen.push(world.admin(json!({ "show_project": { "project": PROJECT } })).await);
    seen
}

async fn counters(world: &World) -> BTreeMap<String, f64> {
    let text = world.client.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    // A disk that falters is told, at whatever it was asked to write.
    let lines =
        text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("kaibiao_slow_append"));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

#[actix_web::test]
async fn before_the_deadline_nobody_else_can_tell_a_room_of_four_uploads_from_an_empty_one() {
    let world = World::new().await;
    let holders = [Holder::new("mingde", 1), Holder::new("tiangu", 2), Holder::new("sanhe", 3)];
    let mut sessions = Vec::new();
    for holder in &holders {
        sessions.push(world.by_token(holder).await);
    }
    let mut wires = Vec::new();
    for user in ["agent", "buyer", "watcher", "expert", "keeper"] {
        wires.push(Wire::open(&world, &world.by_password(user).await).await);
    }
    // A supplier that has not handed in is a bystander too.
    world.direct(json!({ "do": "add_organisation", "id": "idle", "name": "旁观", "kind": "supplier" })).await;
    world
        .direct(json!({ "do": "add_user", "id": "zhou", "organisation": "idle", "name": "周", "roles": ["supplier"] }))
        .await;
    wires.push(Wire::open(&world, &world.by_password("zhou").await).await);
    let empty = seen(&world, &mut wires).await;
    let quiet = counters(&world).await;
    let key = world.running.house().keys().opening.public().to_vec();
    for (number, (holder, session)) in (1..).zip([(0, 0), (1, 1), (2, 2), (0, 0)]) {
        let bytes = holders[holder].seal(PROJECT, &key, 20_000, world.folder.path());
        let verdict = Upload::new(&world, &sessions[session], number).hand_in(&bytes).await;
        assert_eq!(verdict["verdict"], "received", "{verdict}");
    }
    assert_eq!(seen(&world, &mut wires).await, empty);
    let mut full = counters(&world).await;
    // The look at the counters is itself an answer.
    *full.get_mut("kaibiao_http_answers_total{class=\"2xx\"}").unwrap() -= 1.0;
    assert_eq!(full, quiet);
}
