//! Uploads that are refused, each by name, and limits that hold.

use kaibiao_sealed::receipt::verify_refusal_notice;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    people::Holder,
    uploads::{Form, Upload, bid, metadata, offset_of, patch_head, wang},
    world::{DEADLINE, PROJECT, World, in_time, refusal, spec},
};

#[actix_web::test]
async fn every_fault_of_the_form_is_named_at_once() {
    let world = World::new().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    let form = Form {
        id_number: "110105194912310021".into(),
        mobile: "12345".into(),
        address: "路".repeat(31),
        ..Form::default()
    };
    let response = upload.create_with(1_000, metadata(&form, &[])).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let told: Value = response.json().await.unwrap();
    assert_eq!(told["refused"]["code"], "form_invalid");
    let fields: Vec<_> = told["faults"].as_array().unwrap().iter().map(|fault| &fault["field"]).collect();
    assert_eq!(fields, ["id_number", "mobile", "address"]);
    for word in ["身份证号", "手机号", "地址"] {
        assert!(told["refused"]["say"]["zh"].as_str().unwrap().contains(word), "{told}");
    }
    assert!(!told.to_string().contains("110105194912310021"));
    let nothing = upload.create_with(1_000, String::new()).await;
    assert_eq!(nothing.json::<Value>().await.unwrap()["faults"].as_array().unwrap().len(), 5);
}

#[actix_web::test]
async fn a_request_that_is_no_tus_is_refused_with_its_header() {
    let world = World::new().await;
    let session = wang(&world).await;
    let upload = Upload::new(&world, &session, 1);
    let all = format!("/api/projects/{PROJECT}/uploads");
    let options = world.client.request(Method::OPTIONS, world.url(&all)).send().await.unwrap();
    assert_eq!(options.headers()["Tus-Extension"], "creation,expiration,termination");
    let bare = world.post(&session, &all).header("Upload-Length", "5").send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::PRECONDITION_FAILED);
    let good = metadata(&Form::default(), &[]);
    for (length, metadata, place) in [
        (None, good.as_str(), "Upload-Length"),
        (Some("-5"), good.as_str(), "Upload-Length"),
        (Some("5.0"), good.as_str(), "Upload-Length"),
        (Some("5"), "name !", "name"),
        (Some("5"), "colour AAAA", "colour"),
        (Some("5"), "upload AAAA", "upload"),
        (Some("5"), "purpose AAAA", "purpose"),
    ] {
        let mut ask =
            world.post(&session, &all).header("Tus-Resumable", "1.0.0").header("Upload-Metadata", metadata);
        if let Some(length) = length {
            ask = ask.header("Upload-Length", length);
        }
        let told: Value = ask.send().await.unwrap().json().await.unwrap();
        assert_eq!(told["refused"]["code"], "malformed", "{told}");
        assert!(told["refused"]["say"]["en"].as_str().unwrap().contains(place), "{place}: {told}");
    }
    upload.create(100).await;
    let typed = upload
        .request(Method::PATCH)
        .header("Upload-Offset", "0")
        .header(header::CONTENT_TYPE, "text/plain")
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(typed.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[actix_web::test]
async fn limits_of_size_and_number_hold() {
    let world = World::with(|config| config.uploads.open_per_supplier_max = 2).await;
    let session = wang(&world).await;
    let large = Upload::new(&world, &session, 1).create(8_000_001).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(refusal(large).await, "too_large");
    assert_eq!(refusal(Upload::new(&world, &session, 1).create(0).await).await, "not_a_sealed_bid");
    let (first, second) = (Upload::new(&world, &session, 1), Upload::new(&world, &session, 2));
    for upload in [&first, &second] {
        assert_eq!(upload.create(1_000).await.status(), StatusCode::CREATED);
    }
    let third = Upload::new(&world, &session, 3);
    assert_eq!(refusal(third.create(1_000).await).await, "busy");
    assert_eq!(first.create(1_000).await.status(), StatusCode::CREATED, "the same again is no further one");
    assert_eq!(refusal(first.create(1_001).await).await, "upload_taken");
    let li = world.by_token(&Holder::new("tiangu", 2)).await;
    assert_eq!(Upload::new(&world, &li, 4).create(1_000).await.status(), StatusCode::CREATED);
    assert_eq!(refusal(Upload::new(&world, &li, 1).create(1_000).await).await, "upload_taken");
    let gone = first.request(Method::DELETE).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(first.head().await.status(), StatusCode::NOT_FOUND);
    assert_eq!(third.create(1_000).await.status(), StatusCode::CREATED);
    let over = second.patch(0, &[0; 1_001]).await;
    assert_eq!(over.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(offset_of(&over), 0);
}

#[actix_web::test]
async fn a_disk_without_room_takes_no_upload() {
    let world = World::with(|config| config.uploads.disk_reserve_bytes = 1 << 60).await;
    let response = Upload::new(&world, &wang(&world).await, 1).create(1_000).await;
    assert_eq!(response.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(refusal(response).await, "no_room");
}

#[actix_web::test]
async fn what_cannot_become_a_bid_here_is_refused_at_its_header() {
    let world = World::new().await;
    world.order(json!({ "create_project": { "spec": spec("KX-2") } })).await;
    let session = wang(&world).await;
    let ours = world.running.house().keys().opening.public().to_vec();
    let folder = world.folder.path();
    let (wang, li) = (Holder::new("mingde", 1), Holder::new("tiangu", 2));
    let mut damaged = bid(&world);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut cut = bid(&world);
    cut.truncate(last);
    for (number, (bytes, code, early)) in (1..).zip([
        (wang.seal("KX-2", &ours, 900_000, folder), "other_project", true),
        (li.seal(PROJECT, &ours, 900_000, folder), "other_supplier", true),
        (wang.seal(PROJECT, &[7; 32], 900_000, folder), "other_platform", true),
        (vec![b'%'; 900_000], "not_a_sealed_bid", true),
        (cut, "sealed_bid_damaged", true),
        (damaged, "sealed_bid_damaged", false),
    ]) {
        let upload = Upload::new(&world, &session, number);
        upload.create(bytes.len()).await;
        // The first buffer holds the header: the rest need not be sent.
        let sent = if early { 200_000.min(bytes.len()) } else { bytes.len() };
        let judged = upload.patch(0, &bytes[..sent]).await;
        assert_eq!(judged.status(), StatusCode::OK, "{code}");
        let verdict: Value = judged.json().await.unwrap();
        assert_eq!(verdict["verdict"], "refused", "{code}");
        assert_eq!(verdict["refusal"]["code"], code);
        assert_eq!(upload.head().await.headers()["Kaibiao-Verdict"], "refused");
        let again: Value = upload.patch(0, b"").await.json().await.unwrap();
        assert_eq!(again["refusal"]["code"], code, "the verdict stays");
    }
    // None of them takes a place or has become a bid.
    let verdict = Upload::new(&world, &session, 9).hand_in(&bid(&world)).await;
    assert_eq!(verdict["verdict"], "received", "{verdict}");
}

#[actix_web::test]
async fn an_early_refusal_outlives_a_restart() {
    let world = World::new().await;
    {
        let upload = Upload::new(&world, &wang(&world).await, 1);
        upload.create(500_000).await;
        let verdict: Value = upload.patch(0, &[b'%'; 200_000]).await.json().await.unwrap();
        assert_eq!(verdict["refusal"]["code"], "not_a_sealed_bid");
    }
    let world = world.restart().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    let verdict: Value = upload.patch(0, b"").await.json().await.unwrap();
    assert_eq!(verdict["refusal"]["code"], "not_a_sealed_bid");
}

#[actix_web::test]
async fn a_final_at_the_deadline_is_refused_with_a_signed_notice_and_one_before_it_is_not() {
    let world = World::new().await;
    let session = wang(&world).await;
    let bytes = bid(&world);
    let (first, late) = (Upload::new(&world, &session, 1), Upload::new(&world, &session, 2));
    let last = bytes.len() - 1;
    for upload in [&first, &late] {
        upload.create(bytes.len()).await;
        upload.patch(0, &bytes[..last]).await;
    }
    world.hands.pass_until(&world.clock, kaibiao_protocol::moment::Moment(DEADLINE.0 - 1_000));
    let session = wang(&world).await;
    let first = Upload { session: session.clone(), ..first };
    let verdict: Value = first.patch(last, &bytes[last..]).await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
    world.hands.pass_until(&world.clock, DEADLINE);
    let late = Upload { session: session.clone(), ..late };
    let verdict: Value = late.patch(last, &bytes[last..]).await.json().await.unwrap();
    assert_eq!(verdict["refusal"]["code"], "past_deadline", "{verdict}");
    let notice = verdict["notice"].as_str().expect("a late final gets a signed notice");
    verify_refusal_notice(notice, world.running.house().keys().receipt.public()).unwrap();
    let again: Value = late.patch(bytes.len(), b"").await.json().await.unwrap();
    assert_eq!(again, verdict);
}

#[actix_web::test]
async fn an_upload_is_its_suppliers_alone() {
    let world = World::new().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    upload.create(1_000).await;
    let li = world.by_token(&Holder::new("tiangu", 2)).await;
    let foreign = Upload { world: &world, session: li, id: upload.id.clone() };
    for method in [Method::HEAD, Method::GET, Method::DELETE] {
        assert_eq!(foreign.request(method).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }
    assert_eq!(refusal(foreign.patch(0, b"x").await).await, "unknown");
    for user in ["agent", "buyer", "watcher", "expert", "keeper"] {
        let session = world.by_password(user).await;
        let theirs = Upload { world: &world, session, id: "77".repeat(16) };
        assert_eq!(refusal(theirs.create(1_000).await).await, "role_not_allowed", "{user}");
    }
    assert_eq!(upload.offset().await, 0);
}

#[actix_web::test]
async fn an_unfinished_upload_is_forgotten_in_the_end() {
    let world = World::new().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    upload.create(1_000).await;
    world.minutes_pass(47 * 60);
    let upload = Upload { session: wang(&world).await, ..upload };
    assert_eq!(upload.offset().await, 0);
    world.minutes_pass(61);
    let upload = Upload { session: wang(&world).await, ..upload };
    in_time("forgetting", async {
        while upload.head().await.status() != StatusCode::NOT_FOUND {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn a_client_that_only_dribbles_is_cut_and_may_resume() {
    let world = World::with(|config| {
        config.uploads.window_seconds = 1;
        config.uploads.window_bytes_min = 64 * 1024;
    })
    .await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    let bytes = bid(&world);
    upload.create(bytes.len()).await;
    let mut slow = TcpStream::connect(world.running.address()).await.unwrap();
    slow.write_all(patch_head(&upload, 0, bytes.len()).as_bytes()).await.unwrap();
    slow.write_all(&bytes[..1_000]).await.unwrap();
    let mut told = String::new();
    in_time("the cut", slow.read_to_string(&mut told)).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
    assert!(told.to_ascii_lowercase().contains("upload-offset: 1000"), "{told}");
    let verdict: Value = upload.patch(1_000, &bytes[1_000..]).await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
}
