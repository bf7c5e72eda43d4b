//! Many sockets at once: everybody hears, whoever is cut comes back without a gap, and a storm of them stops nobody.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio_tungstenite::{
    MaybeTlsStream, client_async,
    tungstenite::{client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    people::Holder,
    uploads::{Upload, bid, open_room},
    wire::{Wire, closed},
    world::{DEADLINE, PROJECT, Session, World, in_time, spec},
};

/// The suppliers of the world.
const SUPPLIERS: [(&str, u64); 3] = [("mingde", 1), ("tiangu", 2), ("sanhe", 3)];
/// Sockets of each supplier.
const SOCKETS: usize = 20;

fn room() -> String {
    format!("room/{PROJECT}")
}

/// What one socket has of one stream.
struct Follower {
    stream: String,
    seen: Vec<Value>,
}

impl Follower {
    fn new(stream: String) -> Self {
        Self { stream, seen: Vec::new() }
    }

    async fn join(&self, wire: &mut Wire) {
        let since = self.seen.len();
        wire.must(json!({ "do": "subscribe", "stream": self.stream, "since": since })).await;
    }

    /// Takes what is this stream's; it must be the very next.
    fn take(&mut self, event: &Value) {
        if event["stream"] == self.stream.as_str() {
            assert_eq!(event["seq"], self.seen.len() + 1, "{}: nothing missed, nothing twice", self.stream);
            self.seen.push(event.clone());
        }
    }
}

async fn sessions(world: &World) -> Vec<Session> {
    let mut all = Vec::new();
    for (organisation, serial) in SUPPLIERS {
        all.push(world.by_token(&Holder::new(organisation, serial)).await);
    }
    all
}

/// Lets something happen in a room whose keys are awaited.
async fn happen(agent: &mut Wire, project: &str) {
    let extend = json!({ "do": "extend_window", "project": project, "minutes": 1, "reason": "网络缓慢" });
    agent.must(extend).await;
}

/// A socket whose machine takes hardly anything that is not read.
async fn narrow(world: &World, session: &Session) -> Wire {
    let url = world.url("/api/socket").replacen("http", "ws", 1);
    let mut request = url.into_client_request().unwrap();
    let bearer = HeaderValue::from_str(&format!("Bearer {}", session.0)).unwrap();
    request.headers_mut().insert("authorization", bearer);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let stream = socket.connect(world.running.address()).await.unwrap();
    let (stream, _) = client_async(request, MaybeTlsStream::Plain(stream)).await.unwrap();
    Wire::new(stream)
}

#[actix_web::test]
async fn one_event_reaches_every_socket_in_the_room() {
    let world = World::with(|config| config.sockets.per_session_max = SOCKETS).await;
    open_room(&world).await;
    let mut wires = Vec::new();
    for session in sessions(&world).await {
        for _ in 0..SOCKETS {
            let mut wire = Wire::open(&world, &session).await;
            let follower = Follower::new(room());
            follower.join(&mut wire).await;
            wires.push((wire, follower));
        }
    }
    let mut agent = Wire::open(&world, &world.by_password("agent").await).await;
    happen(&mut agent, PROJECT).await;
    let hearing = wires.iter_mut().map(|(wire, follower)| async {
        while follower.seen.last().is_none_or(|event| event["event"]["event"] != "window_extended") {
            let event = wire.event().await;
            follower.take(&event);
        }
        follower.seen.clone()
    });
    let seen = join_all(hearing).await;
    assert_eq!(seen.len(), SUPPLIERS.len() * SOCKETS);
    assert!(seen.iter().all(|one| one == &seen[0]), "everybody of one audience sees the same");
}

#[actix_web::test]
async fn readers_that_are_cut_come_back_to_every_stream_without_a_gap() {
    let world = World::with(|config| config.sockets.queue_frames_max = 2).await;
    // A project whose view is long, so that one answer fills what little the peer's machine takes.
    let mut long = spec("KX-2");
    for lot in 1..=200 {
        let name = format!("{lot}").repeat(3) + &"很长的标项名称".repeat(20);
        long["lots"][lot.to_string()] = json!({ "name": name, "budget": "1.00", "price_kind": "total" });
    }
    world.order(json!({ "create_project": { "spec": long } })).await;
    world.order(json!({ "create_project": { "spec": spec("KX-3") } })).await;
    open_room(&world).await;
    let agent_session = world.by_password("agent").await;
    let mut agent = Wire::open(&world, &agent_session).await;

    let mut slow = Vec::new();
    for session in sessions(&world).await.into_iter().chain([agent_session.clone()]) {
        let supplier = session.0 != agent_session.0;
        let own = supplier.then(|| Follower::new(format!("own/{PROJECT}")));
        let rooms = [PROJECT, "KX-2", "KX-3"].map(|project| Follower::new(format!("room/{project}")));
        let mut followers: Vec<_> = rooms.into_iter().chain(own).collect();
        let mut wire = narrow(&world, &session).await;
        for follower in &followers {
            follower.join(&mut wire).await;
        }
        for event in std::mem::take(&mut wire.events) {
            followers.iter_mut().for_each(|follower| follower.take(&event));
        }
        // It asks and asks, and reads nothing more.
        for _ in 0..60 {
            wire.send(json!({ "do": "project", "project": "KX-2" })).await;
        }
        slow.push((session, wire, followers));
    }
    let cut = || {
        let text = world.running.house().metrics().text();
        let line = text.lines().find(|line| line.starts_with("kaibiao_slow_readers_cut_total")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
    };
    let wanted = slow.len();
    in_time("the cuts", async {
        while cut() < wanted {
            happen(&mut agent, PROJECT).await;
        }
    })
    .await;
    for (session, mut wire, mut followers) in slow {
        // What was written before the cut may still be read; then it is told why.
        loop {
            match wire.frame().await {
                Ok(frame) => followers.iter_mut().for_each(|follower| follower.take(&frame)),
                Err(why) => break assert_eq!(why, closed(4002, "slow_reader")),
            }
        }
        let mut back = Wire::open(&world, &session).await;
        let mut last = Vec::new();
        for follower in &followers {
            let since = follower.seen.len();
            let joined =
                back.must(json!({ "do": "subscribe", "stream": follower.stream, "since": since })).await;
            last.push(joined["seq"].as_u64().unwrap() as usize);
        }
        while followers.iter().zip(&last).any(|(follower, last)| follower.seen.len() < *last) {
            let event = back.event().await;
            followers.iter_mut().for_each(|follower| follower.take(&event));
        }
    }
}

#[actix_web::test]
async fn a_storm_of_reconnects_costs_an_upload_neither_its_progress_nor_its_verdict() {
    let world = World::with(|config| config.sockets.per_session_max = SOCKETS).await;
    let all = sessions(&world).await;
    let bytes = bid(&world);
    let upload = Upload::new(&world, &all[0], 1);
    upload.create(bytes.len()).await;
    let pieces: Vec<_> = bytes.chunks(bytes.len() / 8).collect();
    let mut wires = Vec::new();
    let mut offset = 0;
    for piece in &pieces {
        // Everybody is cut at once, without a word, and comes back at once while the next piece is on its way.
        drop(std::mem::take(&mut wires));
        let coming = all.iter().flat_map(|session| (0..SOCKETS).map(move |_| session)).map(|session| async {
            let bearer = format!("Bearer {}", session.0);
            let mut wire = loop {
                // The places of those who were cut are given back when the server notices.
                match Wire::open_with(&world, &[("authorization", &bearer)]).await {
                    Ok(wire) => break wire,
                    Err(status) => assert_eq!(status.as_u16(), 503),
                }
                tokio::task::yield_now().await;
            };
            wire.must(json!({ "do": "subscribe", "stream": room(), "since": 0 })).await;
            wire
        });
        let (back, sent) = tokio::join!(join_all(coming), upload.patch(offset, piece));
        wires = back;
        assert!(sent.status().is_success());
        offset += piece.len();
        assert_eq!(upload.offset().await, offset);
    }
    let verdict: Value = upload.patch(offset, b"").await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
    world.hands.pass_until(&world.clock, DEADLINE);
    // Whoever came back hears what happens now.
    for wire in &mut wires {
        let mut follower = Follower::new(room());
        while follower.seen.last().is_none_or(|event| event["event"]["event"] != "record_signed") {
            let event = wire.event().await;
            follower.take(&event);
        }
    }
}
