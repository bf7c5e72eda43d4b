//! Signing in: by token, by password, and being turned away by name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_sealed::{practice::Usage, purpose::Purpose, statements::Challenge};
use reqwest::{StatusCode, header};
use serde_json::{Value, json};

use crate::{
    people::{Holder, authority, minutes},
    world::{MORNING, PASSWORD, World, refusal},
};

#[actix_web::test]
async fn a_token_that_signs_the_challenge_is_let_in() {
    let world = World::new().await;
    let response = world.answer(&Holder::new("mingde", 1)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["kaibiao_session=", "HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "a plain server's cookie would never come back");
    let told: Value = response.json().await.unwrap();
    assert_eq!((&told["user"], &told["role"]), (&json!("wang"), &json!("supplier")));
    assert_eq!(told["organisation"], "mingde");
    let pair = cookie.split(';').next().unwrap();
    let seen = world.client.get(world.url("/api/session")).header(header::COOKIE, pair).send().await.unwrap();
    let seen: Value = seen.json().await.unwrap();
    assert_eq!(seen["user"], "wang");
    assert!(seen.get("session").is_none(), "the token is told once");
}

#[actix_web::test]
async fn a_challenge_binds_origin_account_nonce_and_end() {
    let world = World::new().await;
    let text = world.challenge(Some("wang")).await;
    let challenge = Challenge::parse(&text).unwrap();
    assert_eq!(challenge.origin, world.running.url());
    assert_eq!(challenge.account.unwrap().as_str(), "wang");
    assert!(challenge.expires_at > MORNING && challenge.expires_at < MORNING.plus_minutes(3));
    assert_ne!(Challenge::parse(&world.challenge(Some("wang")).await).unwrap().nonce, challenge.nonce);
}

#[actix_web::test]
async fn a_challenge_is_good_for_one_sign_in_in_its_time_at_its_origin() {
    let world = World::new().await;
    let wang = Holder::new("mingde", 1);
    let text = world.challenge(None).await;
    let cms = wang.sign(Purpose::SignIn, &text);
    assert!(world.present(&text, &cms).await.status().is_success());
    assert_eq!(refusal(world.present(&text, &cms).await).await, "challenge_expired");

    let text = world.challenge(None).await;
    let cms = wang.sign(Purpose::SignIn, &text);
    let elsewhere = world
        .client
        .post(world.url("/api/sign-in/token"))
        .header(header::HOST, "bids.example.cn")
        .json(&json!({ "challenge": text, "cms": STANDARD.encode(&cms) }))
        .send()
        .await
        .unwrap();
    assert_eq!(refusal(elsewhere).await, "challenge_expired");
    world.minutes_pass(3);
    assert_eq!(refusal(world.present(&text, &cms).await).await, "challenge_expired");

    let mut forged = Challenge::parse(&world.challenge(None).await).unwrap();
    forged.expires_at = forged.expires_at.plus_minutes(60);
    let text = forged.text();
    let cms = wang.sign(Purpose::SignIn, &text);
    assert_eq!(refusal(world.present(&text, &cms).await).await, "challenge_expired");
    assert_eq!(refusal(world.present("words", &cms).await).await, "challenge_expired");
}

#[actix_web::test]
async fn a_signature_over_anything_else_is_no_answer() {
    let world = World::new().await;
    let wang = Holder::new("mingde", 1);
    let text = world.challenge(None).await;
    let other = world.challenge(None).await;
    for cms in [
        wang.sign(Purpose::SignIn, &other),
        wang.sign(Purpose::ConfirmRecord, &text),
        wang.certificate.clone(),
        Vec::new(),
    ] {
        assert_eq!(refusal(world.present(&text, &cms).await).await, "sign_in_failed");
    }
    // A failed answer has not used the challenge up.
    assert!(world.present(&text, &wang.sign(Purpose::SignIn, &text)).await.status().is_success());
}

#[actix_web::test]
async fn each_certificate_that_does_not_hold_is_refused_by_name() {
    let world = World::new().await;
    let mut huixin = authority("Huixin");
    let expiring = Holder::with(&huixin, "mingde", 11, Usage::Both, minutes(-100, 5));
    let coming = Holder::with(&huixin, "mingde", 12, Usage::Both, minutes(10, 100));
    let lost = Holder::new("mingde", 13);
    let encrypts = Holder::with(&huixin, "mingde", 14, Usage::Encrypt, minutes(-100, 100));
    let stranger = Holder::new("mingde", 15);
    let foreign = Holder::with(&authority("Tiangu"), "mingde", 1, Usage::Both, minutes(-100, 100));
    world.bind("wang", &expiring).await;
    world.bind("wang", &lost).await;
    assert!(world.answer(&expiring).await.status().is_success());
    assert!(world.answer(&lost).await.status().is_success());

    huixin.revoke(13, MORNING);
    let list = STANDARD.encode(huixin.crl(MORNING).unwrap());
    world.direct(json!({ "do": "set_revocation_list", "vendor": "huixin", "list": list })).await;
    world.minutes_pass(6);
    for (holder, code) in [
        (&expiring, "certificate_expired"),
        (&coming, "certificate_not_yet_valid"),
        (&lost, "certificate_revoked"),
        (&encrypts, "certificate_wrong_use"),
        (&stranger, "certificate_unbound"),
        (&foreign, "certificate_foreign"),
    ] {
        let response = world.answer(holder).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{code}");
        assert_eq!(refusal(response).await, code);
    }
    // A second vendor beside the first.
    world.trust("tiangu", "Tiangu").await;
    assert_eq!(refusal(world.answer(&foreign).await).await, "certificate_unbound");
    world.bind("wang", &foreign).await;
    assert!(world.answer(&foreign).await.status().is_success());
    assert!(world.answer(&Holder::new("mingde", 1)).await.status().is_success());
}

#[actix_web::test]
async fn a_challenge_for_one_account_is_not_answered_by_anothers_token() {
    let world = World::new().await;
    let text = world.challenge(Some("li")).await;
    let cms = Holder::new("mingde", 1).sign(Purpose::SignIn, &text);
    assert_eq!(refusal(world.present(&text, &cms).await).await, "certificate_unbound");
}

#[actix_web::test]
async fn a_certificate_that_holds_for_no_use_is_not_bound() {
    let world = World::new().await;
    let foreign = Holder::with(&authority("Tiangu"), "mingde", 1, Usage::Both, minutes(-100, 100));
    let past = Holder::with(&authority("Huixin"), "mingde", 16, Usage::Both, minutes(-100, -1));
    for (holder, code) in [(&foreign, "certificate_foreign"), (&past, "certificate_expired")] {
        let certificate = STANDARD.encode(&holder.certificate);
        let ask =
            json!({ "directory": { "do": "bind_certificate", "user": "wang", "certificate": certificate } });
        let told = world.admin(ask).await;
        assert_eq!(told["refused"]["code"], code, "{told}");
    }
    // The second certificate of a token, for keys: it is bound and never signs in.
    let encrypts = Holder::with(&authority("Huixin"), "mingde", 14, Usage::Encrypt, minutes(-100, 100));
    world.bind("wang", &encrypts).await;
    assert_eq!(refusal(world.answer(&encrypts).await).await, "certificate_wrong_use");
}

#[actix_web::test]
async fn a_password_lets_in_and_every_failure_sounds_the_same() {
    let world = World::new().await;
    world.set_password("wang").await;
    world.set_password("li").await;
    world.direct(json!({ "do": "set_disabled", "user": "li", "disabled": true })).await;
    assert!(world.try_password("wang", PASSWORD).await.status().is_success());
    let mut said = Vec::new();
    for (account, password) in
        [("wang", "wrong"), ("nobody", PASSWORD), ("li", PASSWORD), ("agent", PASSWORD), ("a/b", PASSWORD)]
    {
        let response = world.try_password(account, password).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        said.push(response.text().await.unwrap());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("sign_in_failed"));
}

#[actix_web::test]
async fn guesses_are_slowed_down_until_time_has_passed_and_a_token_is_not_held_up() {
    let world = World::new().await;
    world.set_password("wang").await;
    let free = world.config.sign_in.free_failures_account;
    for _ in 0..free {
        assert_eq!(refusal(world.try_password("wang", "guess").await).await, "sign_in_failed");
    }
    let slowed = world.try_password("wang", PASSWORD).await;
    assert_eq!(slowed.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(slowed.headers()[header::RETRY_AFTER], "2");
    assert_eq!(refusal(slowed).await, "slow_down");
    assert!(world.answer(&Holder::new("mingde", 1)).await.status().is_success());
    world.hands.pass_ms(1_990);
    assert_eq!(refusal(world.try_password("wang", PASSWORD).await).await, "slow_down");
    world.hands.pass_ms(20);
    assert!(world.try_password("wang", PASSWORD).await.status().is_success());
}

#[actix_web::test]
async fn an_address_with_many_failures_waits_whatever_the_account() {
    let world = World::with(|config| config.sign_in.free_failures_address = 5).await;
    for guess in 0..5 {
        let account = format!("account-{guess}");
        assert_eq!(refusal(world.try_password(&account, "guess").await).await, "sign_in_failed");
    }
    assert_eq!(refusal(world.try_password("wang", PASSWORD).await).await, "slow_down");
    assert_eq!(refusal(world.answer(&Holder::new("mingde", 1)).await).await, "slow_down");
    world.minutes_pass(1);
    assert!(world.answer(&Holder::new("mingde", 1)).await.status().is_success());
}

#[actix_web::test]
async fn a_role_is_chosen_among_the_accounts_own() {
    let world = World::new().await;
    let roles = json!(["agent", "purchaser"]);
    world
        .direct(json!({ "do": "add_organisation", "id": "both", "name": "自行采购", "kind": "purchaser" }))
        .await;
    let user =
        json!({ "do": "add_user", "id": "zhao", "organisation": "both", "name": "赵", "roles": roles });
    world.direct(user).await;
    world.set_password("zhao").await;
    let with_role = async |role: Value| {
        let body = json!({ "account": "zhao", "password": PASSWORD, "role": role });
        let response =
            world.client.post(world.url("/api/sign-in/password")).json(&body).send().await.unwrap();
        response.json::<Value>().await.unwrap()
    };
    assert_eq!(with_role(json!("purchaser")).await["role"], "purchaser");
    assert_eq!(with_role(Value::Null).await["role"], "agent");
    assert_eq!(with_role(json!("supervisor")).await["refused"]["code"], "role_not_allowed");
    assert_eq!(with_role(json!("king")).await["refused"]["code"], "malformed");
}

#[actix_web::test]
async fn a_body_that_is_not_understood_is_refused_and_no_secret_is_repeated() {
    let world = World::new().await;
    for body in [
        r#"{"account":"wang","password":"canary-in-body","hurry":1}"#,
        r#"{"account":"wang","password":["canary-in-body"]}"#,
        r#"{"account":"wang","password":"canary-in-body","password":"x"}"#,
        "canary-in-body",
        "",
    ] {
        let response = world.client.post(world.url("/api/sign-in/password")).body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let told = response.text().await.unwrap();
        assert!(told.contains("malformed") && !told.contains("canary-in-body"), "{told}");
    }
    let long = "x".repeat(70_000);
    let response = world.client.post(world.url("/api/sign-in/challenge")).body(long).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}
