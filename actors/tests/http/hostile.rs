//! Peers that mean harm: each is cut by a named bound, with a close code that says so, and the server lives on.

use actix_web::rt::net::TcpStream;
use futures_util::SinkExt as _;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};
use tokio_tungstenite::tungstenite::{
    Bytes, Message, Utf8Bytes,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use crate::{
    people::Holder,
    wire::{Wire, closed},
    world::{World, in_time},
};

async fn wang(world: &World) -> Wire {
    Wire::open(world, &world.by_token(&Holder::new("mingde", 1)).await).await
}

fn frame(kind: OpCode, last: bool, payload: &[u8]) -> Message {
    Message::Frame(Frame::message(Bytes::copy_from_slice(payload), kind, last))
}

/// Writes bytes of its own choice where a request would stand.
async fn raw(world: &World, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(world.running.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Everything the server says until it ends the connection.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = in_time("the end of the connection", stream.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[actix_web::test]
async fn a_head_that_drips_is_cut() {
    let world = World::with(|config| config.request_head_seconds = 1).await;
    let mut stream = raw(&world, b"GET /api/time HTTP/1.1\r\n").await;
    let drip = async {
        let mut no = 0_u64;
        while stream.write_all(format!("X-{no}: 1\r\n").as_bytes()).await.is_ok() {
            no += 1;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    in_time("the cut", drip).await;
}

#[actix_web::test]
async fn a_body_that_drips_is_cut_where_it_is_no_upload() {
    let world = World::with(|config| config.request_body_seconds = 1).await;
    let head = "POST /api/sign-in/password HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{";
    let mut stream = raw(&world, head.as_bytes()).await;
    let said = to_the_end(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
}

#[actix_web::test]
async fn a_connection_on_which_nobody_is_signed_in_ends_with_its_answer() {
    let world = World::new().await;
    // Else its second head could drip for ever: the web library watches over the first.
    let mut stream =
        raw(&world, b"GET /api/time HTTP/1.1\r\nHost: x\r\n\r\nGET /api/time HTTP/1.1\r\n").await;
    let said = to_the_end(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.to_ascii_lowercase().contains("connection: close"), "{said}");
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let kept = world.get(&session, "/api/session").send().await.unwrap();
    assert!(kept.headers().get("connection").is_none(), "{:?}", kept.headers());
}

#[actix_web::test]
async fn a_half_open_socket_is_silent_and_gives_its_place_back() {
    let world = World::with(|config| {
        config.sockets.ping_seconds = 1;
        config.sockets.silent_seconds = 2;
    })
    .await;
    let session = world.by_token(&Holder::new("mingde", 1)).await;
    let head = format!(
        "GET /api/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {}\r\n\r\n",
        session.0
    );
    // It answers no ping, ever.
    let mut stream = raw(&world, head.as_bytes()).await;
    let began = Instant::now();
    let said = to_the_end(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 101"), "{said}");
    assert!(said.contains("silent"), "{said}");
    assert!(began.elapsed().as_secs() >= 2);
    in_time("the place", async {
        while world.running.desk().sockets() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[actix_web::test]
async fn malformed_frames_end_the_socket_with_the_documented_code() {
    let world = World::new().await;
    let text = OpCode::Data(Data::Text);
    let more = OpCode::Data(Data::Continue);
    let half = vec![b' '; 40_000];
    let mut compressed = Frame::message(Bytes::from_static(b"{}"), text, true);
    compressed.header_mut().rsv1 = true;
    let mut ping = Frame::ping(Bytes::from_static(b"x"));
    ping.header_mut().is_final = false;
    for (what, frames, code, reason) in [
        ("more than allowed", vec![frame(text, true, &[b' '; 65_537])], 1009, "frame_too_large"),
        (
            "more than allowed, in pieces",
            vec![frame(text, false, &half), frame(more, false, &half)],
            1009,
            "frame_too_large",
        ),
        ("no text", vec![frame(text, true, b"{\"id\":1\xFF}")], 1007, "invalid_text"),
        ("bytes", vec![Message::Binary(Bytes::from_static(b"{}"))], 1003, "text_only"),
        ("compressed, which nobody agreed to", vec![Message::Frame(compressed)], 1002, "protocol_error"),
        ("an end without a beginning", vec![frame(more, true, b"x")], 1002, "protocol_error"),
        ("a ping in pieces", vec![Message::Frame(ping)], 1002, "protocol_error"),
    ] {
        let mut wire = wang(&world).await;
        for frame in frames {
            wire.stream.send(frame).await.unwrap();
        }
        assert_eq!(wire.closed().await, closed(code, reason), "{what}");
    }
    // A length that no machine has, declared and never sent.
    let mut wire = wang(&world).await;
    let tokio_tungstenite::MaybeTlsStream::Plain(stream) = wire.stream.get_mut() else { panic!("plain") };
    stream.write_all(&[0x81, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]).await.unwrap();
    assert_eq!(wire.closed().await, closed(1009, "frame_too_large"));
}

#[actix_web::test]
async fn a_text_in_very_many_pieces_is_one_text() {
    let world = World::new().await;
    let mut wire = wang(&world).await;
    let ask = json!({ "id": 77, "ask": { "do": "time" } }).to_string();
    wire.stream.feed(frame(OpCode::Data(Data::Text), false, b"")).await.unwrap();
    for byte in ask.as_bytes() {
        for piece in [&[][..], &[*byte]] {
            wire.stream.feed(frame(OpCode::Data(Data::Continue), false, piece)).await.unwrap();
        }
    }
    wire.stream.send(frame(OpCode::Data(Data::Continue), true, b"")).await.unwrap();
    assert_eq!(wire.frame().await.unwrap()["id"], 77);
}

#[actix_web::test]
async fn a_flood_of_pings_and_of_nonsense_costs_the_socket_nothing_but_its_own_turn() {
    let world = World::with(|config| {
        config.sockets.asks_per_second = 1;
        config.sockets.asks_burst = 5;
    })
    .await;
    let mut wire = wang(&world).await;
    for _ in 0..2_000 {
        wire.stream.feed(Message::Ping(Bytes::from_static(b"are you there?"))).await.unwrap();
    }
    wire.stream.flush().await.unwrap();
    let deep = "[".repeat(30_000);
    let wide = format!("{{\"id\":5,\"ask\":{{\"do\":\"time\",\"x\":[{}0]}}}}", "0,".repeat(20_000));
    let mut codes = Vec::new();
    for text in [deep.as_str(), &wide, "{}", "\u{0}", "null"].into_iter().cycle().take(25) {
        wire.stream.send(Message::Text(Utf8Bytes::from(text.to_owned()))).await.unwrap();
        codes.push(wire.frame().await.unwrap()["refused"]["code"].as_str().unwrap().to_owned());
    }
    assert!(codes[..5].iter().all(|code| code == "malformed"), "{codes:?}");
    // What is not understood counts as an ask: a flood of it is told to wait.
    assert!(codes.iter().filter(|code| *code == "busy").count() >= 18, "{codes:?}");
    let mut other = Wire::open(&world, &world.by_token(&Holder::new("tiangu", 2)).await).await;
    other.must(json!({ "do": "time" })).await;
}
