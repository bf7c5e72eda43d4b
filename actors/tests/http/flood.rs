//! One organisation floods, or an agent is in a hurry: the others still have what the rules give them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_protocol::{bid::PartName, moment::Moment};
use kaibiao_sealed::{envelope::seal_envelope, header::Header, key::BidKey, order::OpeningOrder};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    people::Holder,
    uploads::{Form, Upload, metadata, patch_head},
    wire::Wire,
    world::{DEADLINE, PROJECT, Session, World, in_time, spec},
};

/// What a flood was told, by HTTP status.
type Told = Rc<RefCell<BTreeMap<u16, usize>>>;

fn note(told: &Told, status: StatusCode) {
    *told.borrow_mut().entry(status.as_u16()).or_default() += 1;
}

/// Begins uploads without end, in every project in turn; none is ever finished.
async fn begins_without_end(world: &World, session: &Session, projects: u32, on: &Cell<bool>, told: &Told) {
    for number in 0_u64.. {
        if !on.get() {
            return;
        }
        let id = format!("{number:032x}");
        let project = format!("KX-{}", number % u64::from(projects) + 1);
        let begun = world
            .post(session, &format!("/api/projects/{project}/uploads"))
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Length", "7000000")
            .header("Upload-Metadata", metadata(&Form::default(), &[("upload", &id)]))
            .send()
            .await
            .unwrap();
        note(told, begun.status());
    }
}

/// Asks without end, and waits for no answer.
async fn asks_without_end(mut wire: Wire, on: &Cell<bool>, busy: &Cell<usize>) {
    while on.get() {
        for _ in 0..50 {
            wire.send(json!({ "do": "projects" })).await;
        }
        for _ in 0..50 {
            let frame = wire.frame().await.unwrap();
            busy.set(busy.get() + usize::from(frame["refused"]["code"] == "busy"));
        }
    }
}

#[actix_web::test]
async fn who_floods_is_told_busy_and_the_others_hand_in_and_watch_as_before() {
    let projects = 40;
    let world = World::with(|config| {
        config.sockets.per_session_max = 3;
        config.sessions.per_user_max = 2;
        config.uploads.open_per_organisation_max = 8;
        // So few that one organisation could fill them all, were it not for its own bound.
        config.uploads.open_total_max = 20;
    })
    .await;
    for number in 2..=projects {
        world.order(json!({ "create_project": { "spec": spec(&format!("KX-{number}")) } })).await;
    }
    let flooder = world.by_token(&Holder::new("mingde", 1)).await;
    let bearer = format!("Bearer {}", flooder.0);
    // All the sockets it may have, and the next is busy.
    let mut wires = Vec::new();
    for _ in 0..3 {
        wires.push(Wire::open(&world, &flooder).await);
    }
    let more = Wire::open_with(&world, &[("authorization", &bearer)]).await;
    assert_eq!(more.err().map(|status| status.as_u16()), Some(503));

    let (on, busy, told) = (Cell::new(true), Cell::new(0), Told::default());
    let asking = wires.into_iter().map(|wire| asks_without_end(wire, &on, &busy));
    let flood = async {
        tokio::join!(
            begins_without_end(&world, &flooder, projects, &on, &told),
            futures_util::future::join_all(asking),
        )
    };
    let others = async {
        // Until the flood stands at its bounds.
        while told.borrow().get(&503).is_none_or(|busy| *busy < 20) || busy.get() < 50 {
            tokio::task::yield_now().await;
        }
        let key = world.running.house().keys().opening.public().to_vec();
        for (organisation, serial) in [("tiangu", 2), ("sanhe", 3)] {
            let holder = Holder::new(organisation, serial);
            let session = world.by_token(&holder).await;
            let mut wire = Wire::open(&world, &session).await;
            let stream = format!("own/{PROJECT}");
            wire.must(json!({ "do": "subscribe", "stream": stream, "since": 0 })).await;
            let bytes = holder.seal(PROJECT, &key, 300_000, world.folder.path());
            let verdict = Upload::new(&world, &session, serial as u8).hand_in(&bytes).await;
            assert_eq!(verdict["verdict"], "received", "{verdict}");
            assert_eq!(wire.event().await["event"]["event"], "bid_received");
            for _ in 0..20 {
                assert_eq!(wire.code(json!({ "do": "time" })).await, "ok");
            }
        }
        on.set(false);
    };
    in_time("the others", async { tokio::join!(flood, others) }).await;
    let told = told.take();
    assert_eq!(told.get(&201), Some(&8), "the flooder began so many and no more: {told:?}");
    assert!(told[&503] > 20, "{told:?}");
    // What it gives up, it may begin anew.
    let open = Upload { world: &world, session: flooder.clone(), id: format!("{:032x}", 0) };
    assert_eq!(open.request(reqwest::Method::DELETE).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(Upload::new(&world, &flooder, 0xee).create(100).await.status(), StatusCode::CREATED);
    assert_eq!(
        Upload::new(&world, &flooder, 0xef).create(100).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[actix_web::test]
async fn uploads_that_only_hang_cost_the_others_nothing() {
    let world = World::new().await;
    let flooder = world.by_token(&Holder::new("mingde", 1)).await;
    // Four uploads, all that it may have, each on many half-dead connections that fight for it.
    let mut hanging = Vec::new();
    for number in 1..=4 {
        let upload = Upload::new(&world, &flooder, number);
        assert_eq!(upload.create(1_000_000).await.status(), StatusCode::CREATED);
        for _ in 0..25 {
            let mut stream = TcpStream::connect(world.running.address()).await.unwrap();
            stream.write_all(patch_head(&upload, 0, 1_000_000).as_bytes()).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            hanging.push(stream);
        }
    }
    let holder = Holder::new("tiangu", 2);
    let key = world.running.house().keys().opening.public().to_vec();
    let bytes = holder.seal(PROJECT, &key, 300_000, world.folder.path());
    let session = world.by_token(&holder).await;
    let verdict =
        in_time("the verdict", async { Upload::new(&world, &session, 9).hand_in(&bytes).await }).await;
    assert_eq!(verdict["verdict"], "received", "{verdict}");
    drop(hanging);
}

/// A supplier in the room, with the key of its bid.
struct Bidder {
    wire: Wire,
    bid: String,
    header: Header,
    key: BidKey,
}

impl Bidder {
    /// Asks to keep its keys; how that was answered.
    async fn release(&mut self, order: &str) -> String {
        let read = OpeningOrder::parse(order).unwrap();
        let parts = [PartName::Common, PartName::Lot(kaibiao_protocol::ids::LotNo::new(1).unwrap())];
        let keys: Vec<_> =
            parts.iter().map(|part| self.key.part_key(&self.header.binding_digest, *part)).collect();
        let envelope =
            seal_envelope(order, &read.hpke_public_key.0, &self.header.statement_digest, &parts, &keys)
                .unwrap();
        let ask = json!({
            "do": "release_keys", "project": PROJECT, "bid": self.bid, "epoch": read.epoch,
            "enc": STANDARD.encode(envelope.enc), "ciphertext": STANDARD.encode(envelope.ciphertext),
            "by_backup": false,
        });
        self.wire.code(ask).await
    }
}

#[actix_web::test]
async fn an_agent_in_a_hurry_shuts_no_slow_supplier_out() {
    let world = World::new().await;
    let key = world.running.house().keys().opening.public().to_vec();
    let mut bidders = Vec::new();
    for (organisation, serial) in [("mingde", 1), ("tiangu", 2), ("sanhe", 3)] {
        let holder = Holder::new(organisation, serial);
        let (bytes, key) = holder.seal_with_key(PROJECT, &key, 20_000, world.folder.path());
        let session = world.by_token(&holder).await;
        let verdict = Upload::new(&world, &session, serial as u8).hand_in(&bytes).await;
        let bid = verdict["bid"].as_str().unwrap_or_else(|| panic!("{verdict}")).to_owned();
        let wire = Wire::open(&world, &session).await;
        let header = Header::length_needed(&bytes).unwrap().unwrap();
        let header = Header::parse(&bytes[..header]).unwrap();
        bidders.push(Bidder { wire, bid, header, key });
    }
    let mut agent = Wire::open(&world, &world.by_password("agent").await).await;
    agent.must(json!({ "do": "subscribe", "stream": format!("room/{PROJECT}"), "since": 0 })).await;
    let close = json!({ "do": "close_window", "project": PROJECT, "reason": "大家都到了" });
    assert_eq!(agent.code(close.clone()).await, "not_started");
    world.hands.pass_until(&world.clock, DEADLINE);
    let (order, mut closes_at) = loop {
        let event = agent.event().await["event"].clone();
        if event["event"] == "order_issued" {
            break (event["order"].as_str().unwrap().to_owned(), event["window_closes_at"].as_i64().unwrap());
        }
    };

    // At once, and again after two of three have come.
    assert_eq!(agent.code(close.clone()).await, "still_awaited");
    for bidder in &mut bidders[..2] {
        assert_eq!(bidder.release(&order).await, "ok");
    }
    assert_eq!(agent.code(close.clone()).await, "still_awaited");
    // Odd extensions change nothing.
    let extend = |minutes: Value, reason: &str| json!({ "do": "extend_window", "project": PROJECT, "minutes": minutes, "reason": reason });
    for (ask, told) in [
        (extend(json!(0), "无"), "field_invalid"),
        (extend(json!(4_000_000_000_u32), "无"), "field_invalid"),
        (extend(json!(-30), "无"), "malformed"),
        (extend(json!(5_000_000_000_u64), "无"), "malformed"),
        (extend(json!(1.5), "无"), "malformed"),
        (extend(json!(5), ""), "field_invalid"),
    ] {
        assert_eq!(agent.code(ask.clone()).await, told, "{ask}");
    }
    // Neither a supplier nor anybody else in the room has the agent's buttons.
    assert_eq!(bidders[2].wire.code(close.clone()).await, "role_not_allowed");
    agent.must(extend(json!(7), "网络拥堵")).await;
    closes_at += 7 * 60_000_000;
    // Long into it, still in time: the very last millisecond.
    world.hands.pass_until(&world.clock, Moment(closes_at - 1_000));
    assert_eq!(agent.code(close.clone()).await, "still_awaited");
    assert_eq!(bidders[2].release(&order).await, "ok");
    let record = in_time("the record", async {
        loop {
            let event = agent.event().await["event"].clone();
            if event["event"] == "window_extended" {
                assert_eq!(event["window_closes_at"], closes_at, "extended once, by what was asked");
            }
            if event["event"] == "records_published" {
                break event["record"].clone();
            }
        }
    })
    .await;
    let rows = record["lots"]["1"]["rows"].as_array().unwrap_or_else(|| panic!("{record}"));
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["outcome"]["outcome"] == "unsealed"), "{record}");
    assert_eq!(agent.code(close).await, "window_closed");
}
