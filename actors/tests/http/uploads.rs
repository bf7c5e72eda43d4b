//! Handing in over tus: whole, in pieces, cut, resumed, twice; and fetching what was handed in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_sealed::{digest::sha256, receipt::verify_receipt};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    people::Holder,
    wire::Wire,
    world::{DEADLINE, PROJECT, Session, World, in_time, refusal},
};

/// The form as somebody fills it in.
#[derive(Clone)]
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) id_number: String,
    pub(crate) mobile: String,
    pub(crate) postcode: String,
    pub(crate) address: String,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            name: "王明德".into(),
            id_number: "11010519491231002X".into(),
            mobile: "18800010014".into(),
            postcode: "610041".into(),
            address: "四川省成都市武侯区".into(),
        }
    }
}

/// `Upload-Metadata` of a form, and what else the test adds.
pub(crate) fn metadata(form: &Form, more: &[(&str, &str)]) -> String {
    let fields = [
        ("name", form.name.as_str()),
        ("id_number", &form.id_number),
        ("mobile", &form.mobile),
        ("postcode", &form.postcode),
        ("address", &form.address),
    ];
    let pair = |(name, value): &(&str, &str)| format!("{name} {}", STANDARD.encode(value));
    fields.iter().chain(more).map(pair).collect::<Vec<_>>().join(",")
}

/// One upload as its client sees it.
pub(crate) struct Upload<'a> {
    pub(crate) world: &'a World,
    pub(crate) session: Session,
    pub(crate) id: String,
}

impl<'a> Upload<'a> {
    /// A new one with an id of the client's choice.
    pub(crate) fn new(world: &'a World, session: &Session, number: u8) -> Self {
        Self { world, session: session.clone(), id: format!("{number:02x}").repeat(16) }
    }

    pub(crate) fn path(&self) -> String {
        format!("/api/projects/{PROJECT}/uploads/{}", self.id)
    }

    pub(crate) async fn create_with(&self, length: usize, metadata: String) -> Response {
        self.world
            .post(&self.session, &format!("/api/projects/{PROJECT}/uploads"))
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Length", length.to_string())
            .header("Upload-Metadata", metadata)
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn create(&self, length: usize) -> Response {
        self.create_with(length, metadata(&Form::default(), &[("upload", &self.id)])).await
    }

    pub(crate) fn request(&self, method: reqwest::Method) -> RequestBuilder {
        self.world
            .client
            .request(method, self.world.url(&self.path()))
            .bearer_auth(&self.session.0)
            .header("Tus-Resumable", "1.0.0")
    }

    pub(crate) async fn patch(&self, offset: usize, bytes: &[u8]) -> Response {
        self.request(reqwest::Method::PATCH)
            .header("Upload-Offset", offset.to_string())
            .header(header::CONTENT_TYPE, "application/offset+octet-stream")
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
    }

    pub(crate) async fn head(&self) -> Response {
        self.request(reqwest::Method::HEAD).send().await.unwrap()
    }

    pub(crate) async fn offset(&self) -> usize {
        offset_of(&self.head().await)
    }

    /// Hands it in whole: the verdict.
    pub(crate) async fn hand_in(&self, bytes: &[u8]) -> Value {
        let created = self.create(bytes.len()).await;
        assert_eq!(created.status(), StatusCode::CREATED, "{:?}", created.text().await);
        let judged = self.patch(0, bytes).await;
        assert_eq!(judged.status(), StatusCode::OK);
        judged.json().await.unwrap()
    }
}

pub(crate) fn offset_of(response: &Response) -> usize {
    response.headers()["Upload-Offset"].to_str().unwrap().parse().unwrap()
}

/// The head of a PATCH, for clients that send its body in their own way.
pub(crate) fn patch_head(upload: &Upload<'_>, offset: usize, length: usize) -> String {
    format!(
        "PATCH {} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
         Content-Type: application/offset+octet-stream\r\nContent-Length: {length}\r\n\r\n",
        upload.path(),
        upload.world.running.address(),
        upload.session.0,
    )
}

/// A sealed bid of wang's.
pub(crate) fn bid(world: &World) -> Vec<u8> {
    let key = world.running.house().keys().opening.public().to_vec();
    Holder::new("mingde", 1).seal(PROJECT, &key, 300_000, world.folder.path())
}

/// Three suppliers hand in, the deadline passes, and keys are awaited. Gives the bids' ids in the suppliers' order.
pub(crate) async fn open_room(world: &World) -> [String; 3] {
    let key = world.running.house().keys().opening.public().to_vec();
    let mut bids = Vec::new();
    for (organisation, serial) in [("mingde", 1), ("tiangu", 2), ("sanhe", 3)] {
        let holder = Holder::new(organisation, serial);
        let bytes = holder.seal(PROJECT, &key, 20_000, world.folder.path());
        let session = world.by_token(&holder).await;
        let number = u8::try_from(serial).unwrap();
        let verdict = Upload::new(world, &session, number).hand_in(&bytes).await;
        bids.push(verdict["bid"].as_str().unwrap_or_else(|| panic!("{verdict}")).to_owned());
    }
    let watcher = world.by_password("watcher").await;
    let mut room = Wire::open(world, &watcher).await;
    room.must(json!({ "do": "subscribe", "stream": format!("room/{PROJECT}"), "since": 0 })).await;
    world.hands.pass_until(&world.clock, DEADLINE);
    in_time("the order", async { while room.event().await["event"]["event"] != "order_issued" {} }).await;
    bids.try_into().unwrap()
}

pub(crate) async fn wang(world: &World) -> Session {
    world.by_token(&Holder::new("mingde", 1)).await
}

#[actix_web::test]
async fn a_bid_handed_in_whole_gets_a_receipt_that_holds() {
    let world = World::new().await;
    let session = wang(&world).await;
    let bytes = bid(&world);
    let mut own = Wire::open(&world, &session).await;
    own.must(json!({ "do": "subscribe", "stream": format!("own/{PROJECT}"), "since": 0 })).await;
    let verdict = Upload::new(&world, &session, 1).hand_in(&bytes).await;
    assert_eq!(verdict["verdict"], "received");
    let receipt = verdict["receipt"].as_str().unwrap();
    let facts = verify_receipt(receipt, world.running.house().keys().receipt.public()).unwrap();
    assert_eq!(facts.size_bytes, bytes.len() as u64);
    assert_eq!(facts.supplier.as_str(), "mingde");
    let event = own.event().await;
    assert_eq!(event["event"]["event"], "bid_received");
    assert_eq!(event["event"]["bid"], verdict["bid"]);
    let again = own.must(json!({ "do": "receipt", "project": PROJECT, "bid": verdict["bid"] })).await;
    assert_eq!(again["receipt"], receipt, "byte for byte");
    let view = own.must(json!({ "do": "project", "project": PROJECT })).await;
    assert_eq!(view["view"]["own_bid"]["size_bytes"], bytes.len());
}

#[actix_web::test]
async fn pieces_are_put_together_and_the_offset_is_told() {
    let world = World::new().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    let bytes = bid(&world);
    let created = upload.create(bytes.len()).await;
    assert_eq!(created.headers()[header::LOCATION], upload.path());
    assert_eq!(offset_of(&created), 0);
    assert!(created.headers().contains_key("Upload-Expires"));
    let mut offset = 0;
    for piece in bytes.chunks(bytes.len() / 5 + 1) {
        let told = upload.patch(offset, piece).await;
        offset += piece.len();
        if offset < bytes.len() {
            assert_eq!(told.status(), StatusCode::NO_CONTENT);
            assert_eq!(offset_of(&told), offset);
            let wrong = upload.patch(0, &bytes).await;
            assert_eq!(wrong.status(), StatusCode::CONFLICT);
            assert_eq!(offset_of(&wrong), offset);
            assert_eq!(refusal(wrong).await, "offset_mismatch");
        } else {
            assert_eq!(told.json::<Value>().await.unwrap()["verdict"], "received");
        }
    }
    let head = upload.head().await;
    assert_eq!(offset_of(&head), bytes.len());
    assert_eq!(head.headers()["Upload-Length"], bytes.len().to_string());
    assert_eq!(head.headers()["Kaibiao-Verdict"], "received");
}

#[actix_web::test]
async fn an_upload_cut_on_the_way_goes_on_where_it_stood() {
    let world = World::new().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    let bytes = bid(&world);
    upload.create(bytes.len()).await;
    let half = bytes.len() / 2;
    let head = patch_head(&upload, 0, bytes.len());
    let mut stream = TcpStream::connect(world.running.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..half]).await.unwrap();
    in_time("a first offset", async { while upload.offset().await == 0 {} }).await;
    drop(stream);
    // Whatever of the rest was still on its way when the connection broke, the offset told is true: the client goes
    // on from there, and asks again where it moved meanwhile.
    let verdict: Value = in_time("the verdict", async {
        loop {
            let offset = upload.offset().await;
            assert!((1..=half).contains(&offset), "{offset}");
            let answer = upload.patch(offset, &bytes[offset..]).await;
            if answer.status() != StatusCode::CONFLICT {
                return answer.json().await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(verdict["verdict"], "received", "{verdict}");
}

#[actix_web::test]
async fn a_client_that_comes_again_takes_over_from_its_own_hanging_connection() {
    let world = World::new().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    let bytes = bid(&world);
    upload.create(bytes.len()).await;
    let mut hanging = TcpStream::connect(world.running.address()).await.unwrap();
    let head = patch_head(&upload, 0, bytes.len());
    hanging.write_all(head.as_bytes()).await.unwrap();
    // Whole buffers, so that the server has written them and says so.
    let sent = 128 * 1024;
    hanging.write_all(&bytes[..sent]).await.unwrap();
    in_time("the offset", async {
        while upload.offset().await != sent {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let verdict: Value = upload.patch(sent, &bytes[sent..]).await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
    let mut told = String::new();
    in_time("the end of the first", hanging.read_to_string(&mut told)).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 408"), "{told}");
}

#[actix_web::test]
async fn an_upload_goes_on_after_a_restart_of_the_server() {
    let world = World::new().await;
    let bytes = bid(&world);
    let half = bytes.len() / 2;
    {
        let upload = Upload::new(&world, &wang(&world).await, 1);
        upload.create(bytes.len()).await;
        assert_eq!(offset_of(&upload.patch(0, &bytes[..half]).await), half);
    }
    let world = world.restart().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    assert_eq!(upload.offset().await, half);
    let verdict: Value = upload.patch(half, &bytes[half..]).await.json().await.unwrap();
    assert_eq!(verdict["verdict"], "received", "{verdict}");
    let receipt = verdict["receipt"].clone();

    let world = world.restart().await;
    let upload = Upload::new(&world, &wang(&world).await, 1);
    assert_eq!(upload.offset().await, bytes.len());
    let again: Value = upload.patch(bytes.len(), b"").await.json().await.unwrap();
    assert_eq!(again["receipt"], receipt, "byte for byte");
}

#[actix_web::test]
async fn the_same_upload_sent_twice_is_one_bid_with_one_receipt() {
    let world = World::new().await;
    let session = wang(&world).await;
    let upload = Upload::new(&world, &session, 1);
    let bytes = bid(&world);
    let first = upload.hand_in(&bytes).await;
    let created = upload.create(bytes.len()).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(offset_of(&created), bytes.len());
    for (offset, body) in [(bytes.len(), &b""[..]), (0, &bytes[..])] {
        let again: Value = upload.patch(offset, body).await.json().await.unwrap();
        assert_eq!(again, first);
    }
    let read = upload.request(reqwest::Method::GET).send().await.unwrap();
    assert_eq!(read.json::<Value>().await.unwrap(), first);
    // Long after, when nobody remembers the upload but the journal.
    world.minutes_pass(49 * 60);
    let session = wang(&world).await;
    let upload = Upload::new(&world, &session, 1);
    in_time("forgetting", async {
        while upload.head().await.status() != StatusCode::NOT_FOUND {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let created = upload.create(bytes.len()).await;
    assert_eq!(offset_of(&created), bytes.len());
    let again: Value = upload.patch(bytes.len(), b"").await.json().await.unwrap();
    assert_eq!(again, first);
    let other = upload.create(bytes.len() + 1).await;
    assert_eq!(refusal(other).await, "upload_taken");
}

#[actix_web::test]
async fn a_supplier_fetches_its_own_bid_and_receipt_and_nobody_elses() {
    let world = World::new().await;
    let session = wang(&world).await;
    let bytes = bid(&world);
    let verdict = Upload::new(&world, &session, 1).hand_in(&bytes).await;
    let file = format!("/api/projects/{PROJECT}/bids/{}/file", verdict["bid"].as_str().unwrap());
    let whole = world.get(&session, &file).send().await.unwrap();
    let etag = whole.headers()[header::ETAG].clone();
    assert_eq!(sha256(&whole.bytes().await.unwrap()), sha256(&bytes));
    let part = world.get(&session, &file).header(header::RANGE, "bytes=100-299").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[header::CONTENT_RANGE], format!("bytes 100-299/{}", bytes.len()));
    assert_eq!(part.bytes().await.unwrap(), &bytes[100..300]);
    let same = world.get(&session, &file).header(header::RANGE, "bytes=-7").header(header::IF_RANGE, etag);
    assert_eq!(same.send().await.unwrap().bytes().await.unwrap(), &bytes[bytes.len() - 7..]);
    let other =
        world.get(&session, &file).header(header::RANGE, "bytes=-7").header(header::IF_RANGE, "\"x\"");
    assert_eq!(other.send().await.unwrap().status(), StatusCode::OK);
    let outside = world.get(&session, &file).header(header::RANGE, "bytes=99999999-").send().await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);

    let receipt = file.replace("/file", "/receipt");
    let told = world.get(&session, &receipt).send().await.unwrap().text().await.unwrap();
    assert_eq!(verdict["receipt"], told);
    let li = world.by_token(&Holder::new("tiangu", 2)).await;
    for user in ["agent", "buyer", "watcher", "expert", "keeper"] {
        let session = world.by_password(user).await;
        for path in [&file, &receipt] {
            let answer = world.get(&session, path).send().await.unwrap();
            assert!(answer.status().is_client_error(), "{user} {path}");
        }
    }
    for path in [&file, &receipt] {
        let answer = world.get(&li, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[actix_web::test]
async fn the_published_record_is_fetched_with_its_signature() {
    let world = World::new().await;
    let session = wang(&world).await;
    let record = format!("/api/projects/{PROJECT}/record");
    assert_eq!(refusal(world.get(&session, &record).send().await.unwrap()).await, "not_published");
    world.hands.pass_until(&world.clock, DEADLINE);
    let session = wang(&world).await;
    let told: Value = in_time("the record", async {
        loop {
            let answer = world.get(&session, &record).send().await.unwrap();
            if answer.status().is_success() {
                return answer.json().await.unwrap();
            }
        }
    })
    .await;
    let text = told["text"].as_str().unwrap();
    assert_eq!(told["digest"], sha256(text.as_bytes()).to_string());
    assert!(text.contains(PROJECT));
}

#[actix_web::test]
async fn the_agent_reaches_every_bidder_by_a_masked_form_once_the_bids_are_counted() {
    let world = World::new().await;
    let bids = open_room(&world).await;
    let agent = world.by_password("agent").await;
    let mut wire = Wire::open(&world, &agent).await;
    let told = wire.must(json!({ "do": "contacts", "project": PROJECT })).await;
    let rows = told["rows"].as_array().unwrap();
    let named: Vec<&str> = rows.iter().map(|row| row["bid"].as_str().unwrap()).collect();
    assert_eq!(named, bids, "a row a bid, in the order of receipt");
    for row in rows {
        assert_eq!(row["id_number"], "110*************2X");
        let mobile = row["mobile"].as_str().unwrap();
        assert_eq!((mobile.len(), &mobile[3..7]), (11, "****"), "{mobile}");
        assert!(row["name"].as_str().unwrap().ends_with('*'), "{row}");
        assert!(!row.to_string().contains("11010519491231002X"));
    }
}
