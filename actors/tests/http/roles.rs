//! Who may ask what: every role and every ask, before the deadline and in the room.

use serde_json::{Value, json};

use crate::{
    people::Holder,
    uploads::open_room,
    wire::Wire,
    world::{DEADLINE, PROJECT, World, in_time},
};

const ROLES: [(&str, &str); 6] = [
    ("supplier", "wang"),
    ("agent", "agent"),
    ("purchaser", "buyer"),
    ("supervisor", "watcher"),
    ("expert", "expert"),
    ("administrator", "keeper"),
];

fn asks(bid: &str) -> Vec<Value> {
    let stream = |kind: &str| format!("{kind}/{PROJECT}");
    let blob = "AAAA";
    let mut asks = vec![
        json!({ "do": "time" }),
        json!({ "do": "projects" }),
        json!({ "do": "project" }),
        json!({ "do": "room" }),
        json!({ "do": "subscribe", "stream": stream("room"), "since": 0 }),
        json!({ "do": "subscribe", "stream": stream("own"), "since": 0 }),
        json!({ "do": "receipt", "bid": bid }),
        json!({ "do": "record" }),
        json!({ "do": "contacts" }),
        json!({ "do": "withdraw_bid", "bid": bid, "reason": "改变主意" }),
        json!({ "do": "check_in" }),
        json!({ "do": "release_keys", "bid": bid, "epoch": 1, "enc": blob, "ciphertext": blob, "by_backup": false }),
        json!({ "do": "report_trouble", "bid": bid, "cause": "wrong_token", "seen": "别的锁" }),
        json!({ "do": "move_deadline", "deadline": DEADLINE.plus_ms(1), "ground": "platform_fault", "reason": "故障" }),
        json!({ "do": "start_opening" }),
        json!({ "do": "extend_window", "minutes": 5, "reason": "网络缓慢" }),
        json!({ "do": "close_window", "reason": "都已到齐" }),
        json!({ "do": "admit_backup", "bid": bid, "reason": "锁坏了" }),
        json!({ "do": "read_out_row", "lot": 1, "no": 1 }),
        json!({ "do": "object", "kind": "objection", "text": "有疑问" }),
        json!({ "do": "answer_objection", "no": 1, "text": "答复" }),
        json!({ "do": "confirm_record", "record": "00".repeat(32), "signature": blob }),
        json!({ "do": "end_opening" }),
    ];
    for ask in &mut asks {
        let name = ask["do"].as_str().unwrap();
        if !["time", "projects", "subscribe"].contains(&name) {
            ask["project"] = json!(PROJECT);
        }
    }
    asks
}

async fn table(world: &World, bid: &str) -> String {
    let mut table = format!("{:<18}", "");
    let mut wires = Vec::new();
    for (role, user) in ROLES {
        let session = world.by_password(user).await;
        wires.push(Wire::open(world, &session).await);
        table += &format!("{role:<20}");
    }
    for ask in asks(bid) {
        let stream = ask["stream"].as_str().map_or(String::new(), |stream| format!(" {}", &stream[..4]));
        table += &format!("\n{:<18}", format!("{}{stream}", ask["do"].as_str().unwrap()));
        for wire in &mut wires {
            table += &format!("{:<20}", wire.code(ask.clone()).await);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[actix_web::test]
async fn before_the_deadline_each_role_may_do_what_the_table_says() {
    let world = World::new().await;
    assert_table(&table(&world, &"ab".repeat(16)).await, include_str!("roles_receiving.txt"));
}

#[actix_web::test]
async fn in_the_room_each_role_may_do_what_the_table_says() {
    let world = World::new().await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let mut wire = Wire::open(&world, &session).await;
    wire.must(json!({ "do": "subscribe", "stream": format!("room/{PROJECT}"), "since": 0 })).await;
    world.hands.pass_until(&world.clock, DEADLINE);
    // Nobody has handed in: no lot is opened, and the record says so at once.
    in_time("the record", async { while wire.event().await["event"]["event"] != "record_signed" {} }).await;
    assert_table(&table(&world, &"ab".repeat(16)).await, include_str!("roles_published.txt"));
}

#[actix_web::test]
async fn while_keys_are_awaited_each_role_may_do_what_the_table_says() {
    let world = World::new().await;
    let [bid, ..] = open_room(&world).await;
    assert_table(&table(&world, &bid).await, include_str!("roles_unsealing.txt"));
}

/// Compares, and shows the whole table where it differs, ready to be looked through and kept.
fn assert_table(found: &str, kept: &str) {
    assert!(found == kept, "the table is now:\n{found}");
}
