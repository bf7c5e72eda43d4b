//! The wire as a stranger meets it: a client in another language, written from `docs/api.md` alone, takes part in an
//! opening; and the conversation printed on that page is one it had.
//!
//! The server is a real one on a free port, on a clock that the test turns: nothing here waits for time to pass. Its
//! deadline is the moment the test began, so that it has come by every client's own clock as well.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "wire/conversation.rs"]
mod conversation;
#[path = "wire/page.rs"]
mod page;
#[path = "wire/stranger.rs"]
mod stranger;
#[path = "wire/world.rs"]
mod world;

use std::collections::BTreeSet;

use kaibiao_protocol::{
    frame::Notice,
    view::{RoomEvent, ViewEvent},
};
use kaibiao_sealed::receipt::verify_receipt;
use serde_json::{Value, json};

use crate::{
    stranger::Stranger,
    world::{CONFIRM_MINUTES, PROJECT, World},
};

#[test]
fn every_line_of_the_recorded_conversation_fits_types_and_schema_and_its_signatures_hold() {
    conversation::check(&conversation::kept());
}

#[actix_web::test]
async fn a_client_written_from_the_pages_alone_is_one_supplier_of_an_opening_and_another_its_agent() {
    let world = World::new().await;
    let (first, second, own) = world.suppliers().await;
    let sessions = [world.sign_in(&first).await, world.sign_in(&second).await];
    let receipts = [world.hand_in(&sessions[0], &first).await, world.hand_in(&sessions[1], &second).await];

    let mut agent = Stranger::start("agent", world.agents_task(), world.folder());
    agent.reached("watching").await;
    let mut stranger = Stranger::start("supplier", world.suppliers_task(&own), world.folder());
    let handed_in = stranger.reached("handed_in").await;
    let facts = verify_receipt(handed_in["receipt"].as_str().unwrap(), &world.receipt_key()).unwrap();
    assert_eq!(json!(facts.bid), handed_in["bid"]);
    assert_eq!(facts.supplier.as_str(), own.organisation);
    assert!(receipts.iter().all(|receipt| receipt.received_at < facts.received_at));

    let watching = actix_web::rt::spawn(watched(world.sign_in(&second).await));
    let unsealing = [world.unseal(&sessions[0], &first), world.unseal(&sessions[1], &second)];
    world.pass_to_the_deadline();
    stranger.reached("keys_kept").await;
    let confirmed = stranger.reached("confirmed").await;
    agent.reached("waiting_for_silence").await;
    world.pass_minutes(CONFIRM_MINUTES + 1);
    let heard = stranger.reached("done").await["heard"].clone();
    let heard_by_agent = agent.reached("done").await["heard"].clone();
    for unsealed in unsealing {
        assert!(world::in_time("unsealing", unsealed).await.unwrap().published);
    }

    check_record(
        &confirmed["record"],
        [&receipts[0].bid, &receipts[1].bid, &facts.bid].map(|bid| json!(bid)),
    );
    check_streams(&heard, &handed_in);
    let watched = world::in_time("the watcher", watching).await.unwrap();
    assert_eq!(room_of(&heard), watched, "over a cut, the stranger heard what another supplier heard");
    let counted = room_of(&heard_by_agent).len();
    assert_eq!(counted, watched.len(), "an agent hears of every event");
    check_observation(&world).await;
    world.stop().await;

    let tape = world::tapes(&[agent.tape(), stranger.tape()]);
    conversation::check(&tape);
    conversation::keep_or_compare(&tape);
}

#[actix_web::test]
async fn what_is_no_request_of_the_page_is_refused_in_the_same_form() {
    let world = World::new().await;
    let long = format!("{{\"account\":\"{}\"}}", "a".repeat(70_000));
    let length = format!("Content-Length: {}\r\n", long.len());
    for (line, headers, body, status, code) in [
        ("GET /api/nothing HTTP/1.1", "", "", "404", "unknown"),
        ("DELETE /api/time HTTP/1.1", "", "", "404", "unknown"),
        ("PUT /api/projects/KX-00823/uploads HTTP/1.1", "", "", "405", "unknown"),
        ("POST /api/sign-in/challenge HTTP/1.1", length.as_str(), long.as_str(), "413", "malformed"),
        (
            "POST /api/sign-in/password HTTP/1.1",
            "Transfer-Encoding: chunked\r\n",
            "zz\r\n",
            "400",
            "malformed",
        ),
    ] {
        let (found, told) = world.say(line, headers, body).await;
        assert_eq!(found, status, "{line}: {told}");
        let told: Value =
            serde_json::from_str(&told).unwrap_or_else(|fault| panic!("{line}: {fault}: {told}"));
        assert_eq!(told["refused"]["code"], code, "{line}");
    }
    world.stop().await;
}

/// Every event of the room until the opening has ended, as this client of ours hears it.
async fn watched(session: kaibiao_bidder::client::Session) -> Vec<Value> {
    let mut events = session.subscribe(format!("room/{PROJECT}").parse().unwrap(), 0).await.unwrap();
    let mut heard: Vec<Notice> = Vec::new();
    loop {
        heard.push(world::in_time("an event", events.next()).await.unwrap());
        if matches!(heard.last().unwrap().event, ViewEvent::Room(RoomEvent::OpeningEnded)) {
            return heard.iter().map(|notice| json!(notice)).collect();
        }
    }
}

fn room_of(heard: &Value) -> Vec<Value> {
    let own = format!("own/{PROJECT}");
    heard.as_array().unwrap().iter().filter(|notice| notice["stream"] != own).cloned().collect()
}

/// Two lots: one with three bids, one with two, which stays sealed.
fn check_record(record: &Value, bids: [Value; 3]) {
    let lots = record["lots"].as_array().unwrap();
    assert_eq!(lots.len(), 2);
    let rows = lots[0]["record"]["rows"].as_array().unwrap();
    let expected = [
        (1, "明德家具有限公司", "867135.07"),
        (2, "江南办公设备有限公司", "874270.14"),
        (3, "远方系统有限公司", "881405.21"),
    ];
    assert_eq!(rows.len(), expected.len());
    for ((row, (no, supplier, price)), bid) in rows.iter().zip(expected).zip(bids) {
        assert_eq!(row["no"], no);
        assert_eq!(row["supplier"], supplier);
        assert_eq!(row["bid"], bid);
        assert_eq!(row["outcome"]["outcome"], "unsealed", "{row}");
        assert_eq!(row["outcome"]["sheet"]["price"], json!({ "kind": "total", "value": price }));
        assert_eq!(row["outcome"]["by_backup"], false);
    }
    let closed = &lots[1]["record"];
    assert_eq!((&closed["lot"], &closed["rule"]), (&json!("not_opened"), &json!("TR-44 87-41 (GP/1)")));
    assert_eq!(closed["bids"].as_array().unwrap().len(), 2, "{closed}");
}

/// Health, readiness, and every metric on the page, no more and no fewer.
async fn check_observation(world: &World) {
    assert_eq!(world.get("/health").await, r#"{"health":"alive"}"#);
    assert_eq!(world.get("/ready").await, r#"{"ready":true}"#);
    let metrics = world.get("/metrics").await;
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let told: BTreeSet<String> = families
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let page = page::text();
    let words = page.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let page: BTreeSet<String> =
        words.filter(|word| word.starts_with("kaibiao_")).map(str::to_owned).collect();
    // The cookie is no metric; and what counts by a label shows once it has counted.
    let absent = ["session", "actor_restarts_total", "busy_total", "unsealing_failures_total"];
    let absent: BTreeSet<String> = absent.map(|name| format!("kaibiao_{name}")).into();
    assert_eq!(told, &page - &absent, "the metrics of docs/api.md, 12");
    assert!(metrics.ends_with("# EOF\n"));
}

/// What one supplier alone is told: nothing of others, and only the parts of the opened lot.
fn check_streams(heard: &Value, handed_in: &Value) {
    let own = format!("own/{PROJECT}");
    let own: Vec<&Value> =
        heard.as_array().unwrap().iter().filter(|notice| notice["stream"] == own).collect();
    let events: Vec<&Value> = own.iter().map(|notice| &notice["event"]).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["bid_received", "keys_asked", "keys_kept"]);
    assert!(events.iter().all(|event| event["bid"] == handed_in["bid"]));
    assert_eq!(events[0]["upload"], handed_in["upload"]);
    assert_eq!(events[1]["parts"], json!(["common", "lot-001"]), "the lot with two bids stays sealed");
    for (notice, seq) in own.iter().zip(1..) {
        assert_eq!(notice["seq"], seq);
    }
}
