//! Sessions: how they end, and what a page from elsewhere cannot do with them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_sealed::digest::sha256;
use reqwest::{StatusCode, header};
use serde_json::json;

use crate::{
    people::{Holder, authority},
    wire::{Wire, closed},
    world::{MORNING, PASSWORD, Session, World, in_time, refusal},
};

async fn holds(world: &World, session: &Session) -> bool {
    world.get(session, "/api/session").send().await.unwrap().status().is_success()
}

#[actix_web::test]
async fn a_session_ends_by_idleness_and_use_prevents_that() {
    let world = World::with(|config| config.sessions.idle_minutes = 30).await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    world.minutes_pass(29);
    assert!(holds(&world, &session).await);
    world.minutes_pass(29);
    assert!(holds(&world, &session).await);
    world.minutes_pass(31);
    let ended = world.get(&session, "/api/session").send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(refusal(ended).await, "session_ended");
}

#[actix_web::test]
async fn a_session_ends_by_age_and_takes_its_open_socket_along() {
    let world = World::with(|config| config.sessions.absolute_minutes = 40).await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let mut wire = Wire::open(&world, &session).await;
    for _ in 0..3 {
        world.minutes_pass(10);
        wire.must(json!({ "do": "time" })).await;
    }
    world.minutes_pass(11);
    assert_eq!(wire.closed().await, closed(4001, "too_old"));
    assert!(!holds(&world, &session).await);
}

#[actix_web::test]
async fn signing_out_ends_the_session_on_every_connection() {
    let world = World::new().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let other = world.by_token(&Holder::new("mingde", 1)).await;
    let (mut first, mut second) = (Wire::open(&world, &session).await, Wire::open(&world, &session).await);
    first.must(json!({ "do": "sign_out" })).await;
    assert_eq!(first.closed().await, closed(4001, "signed_out"));
    assert_eq!(second.closed().await, closed(4001, "signed_out"));
    assert!(!holds(&world, &session).await);
    assert!(holds(&world, &other).await);
    let out = world.post(&other, "/api/sign-out").send().await.unwrap();
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    assert!(out.headers()[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert!(!holds(&world, &other).await);
}

#[actix_web::test]
async fn what_the_directory_takes_away_ends_sessions_and_cuts_their_sockets() {
    let world = World::new().await;
    let wang = Holder::new("mingde", 1);
    let print = sha256(&wang.certificate).to_string();
    let mut huixin = authority("Huixin");
    huixin.revoke(1, MORNING);
    let list = STANDARD.encode(huixin.crl(MORNING).unwrap());
    let root = sha256(huixin.root()).to_string();
    // Each taken away, and given back for the next.
    for (taken, reason) in [
        (json!({ "do": "set_disabled", "user": "wang", "disabled": true }), "account_closed"),
        (json!({ "do": "unbind_certificate", "user": "wang", "fingerprint": print }), "certificate_unbound"),
        (json!({ "do": "set_revocation_list", "vendor": "huixin", "list": list }), "certificate_fell"),
    ] {
        let session = world.by_token(&wang).await;
        let mut wire = Wire::open(&world, &session).await;
        let bystander = world.by_token(&Holder::new("tiangu", 2)).await;
        world.direct(taken).await;
        assert_eq!(wire.closed().await, closed(4001, reason));
        assert!(!holds(&world, &session).await, "{reason}");
        assert!(holds(&world, &bystander).await, "{reason}");
        world
            .admin(json!({ "directory": { "do": "set_disabled", "user": "wang", "disabled": false } }))
            .await;
        world
            .admin(json!({ "directory": { "do": "bind_certificate", "user": "wang",
            "certificate": STANDARD.encode(&wang.certificate) } }))
            .await;
    }
    let bystander = world.by_token(&Holder::new("tiangu", 2)).await;
    let mut wire = Wire::open(&world, &bystander).await;
    world.direct(json!({ "do": "remove_root", "vendor": "huixin", "fingerprint": root })).await;
    assert_eq!(wire.closed().await, closed(4001, "certificate_fell"));
}

#[actix_web::test]
async fn a_role_taken_away_ends_the_sessions_opened_with_it() {
    let world = World::new().await;
    world
        .direct(json!({ "do": "add_organisation", "id": "own", "name": "自行采购", "kind": "purchaser" }))
        .await;
    world
        .direct(json!({ "do": "add_user", "id": "zhao", "organisation": "own", "name": "赵", "roles": ["agent", "purchaser"] }))
        .await;
    world.set_password("zhao").await;
    let with_role = async |role: &str| {
        let body = json!({ "account": "zhao", "password": PASSWORD, "role": role });
        let response =
            world.client.post(world.url("/api/sign-in/password")).json(&body).send().await.unwrap();
        let told: serde_json::Value = response.json().await.unwrap();
        Session(told["session"].as_str().unwrap().to_owned())
    };
    let (agent, buyer) = (with_role("agent").await, with_role("purchaser").await);
    let mut wire = Wire::open(&world, &agent).await;
    world.direct(json!({ "do": "set_roles", "user": "zhao", "roles": ["purchaser"] })).await;
    assert_eq!(wire.closed().await, closed(4001, "role_taken"));
    assert!(!holds(&world, &agent).await);
    assert!(holds(&world, &buyer).await);
}

#[actix_web::test]
async fn one_session_too_many_ends_the_oldest() {
    let world = World::with(|config| config.sessions.per_user_max = 2).await;
    let first = world.by_token(&Holder::new("mingde", 1)).await;
    let mut wire = Wire::open(&world, &first).await;
    let second = world.by_token(&Holder::new("mingde", 1)).await;
    world.by_token(&Holder::new("mingde", 1)).await;
    assert_eq!(wire.closed().await, closed(4001, "replaced"));
    assert!(holds(&world, &second).await);
}

#[actix_web::test]
async fn a_server_that_stops_tells_its_sockets_to_come_back() {
    let world = World::new().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let mut wire = Wire::open(&world, &session).await;
    let World { running, .. } = world;
    let (_, told) = tokio::join!(in_time("the stop", running.stop()), wire.closed());
    assert_eq!(told, closed(1001, "server_stopping"));
}

#[actix_web::test]
async fn a_page_from_elsewhere_can_do_nothing_with_the_cookie() {
    let world = World::with(|config| config.origins = vec!["https://bids.example.cn".into()]).await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let ours = world.running.url();
    let cookie = format!("kaibiao_session={}", session.0);
    let bearer = format!("Bearer {}", session.0);
    for (credential, origin, reads, opens) in [
        ("cookie", Some(ours.as_str()), true, true),
        ("cookie", Some("https://bids.example.cn"), true, true),
        ("cookie", None, true, false),
        ("cookie", Some("https://evil.example"), false, false),
        ("cookie", Some("null"), false, false),
        ("bearer", Some(ours.as_str()), true, true),
        ("bearer", None, true, true),
        ("bearer", Some("https://evil.example"), false, false),
    ] {
        let case = format!("{credential} from {origin:?}");
        let mut headers = vec![match credential {
            "cookie" => ("cookie", cookie.as_str()),
            _ => ("authorization", bearer.as_str()),
        }];
        headers.extend(origin.map(|origin| ("origin", origin)));
        let mut read = world.client.get(world.url("/api/session"));
        // An upload is begun or refused for its form: either way the page was let through.
        let mut change = world.client.post(world.url("/api/projects/KX-1/uploads"));
        for (name, value) in &headers {
            read = read.header(*name, *value);
            change = change.header(*name, *value);
        }
        let read = read.send().await.unwrap().status();
        assert_eq!(read.is_success(), reads, "{case}: {read}");
        let changed = change.send().await.unwrap().status();
        assert_eq!(changed != StatusCode::FORBIDDEN, opens, "{case}: {changed}");
        let opened = Wire::open_with(&world, &headers).await;
        assert_eq!(opened.is_ok(), opens, "{case}");
    }
    let nobody = Wire::open_with(&world, &[("origin", &ours)]).await;
    assert_eq!(nobody.err(), Some(StatusCode::UNAUTHORIZED));
    let login = world
        .client
        .post(world.url("/api/sign-in/password"))
        .header("origin", "https://evil.example")
        .json(&json!({ "account": "wang", "password": PASSWORD }))
        .send()
        .await
        .unwrap();
    assert_eq!(
        login.status(),
        StatusCode::FORBIDDEN,
        "nobody is signed in as somebody else by a foreign page"
    );
}
