//! The client against a server that cuts, forgets and is busy on purpose.

#![expect(clippy::unwrap_used, reason = "what helps a test may unwrap as the test may")]

mod fake;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kaibiao_bidder::{
    client::{Client, ClientFault, ClientOptions, Credentials, Session, Upload, UploadPurpose},
    signer::{Signer, UseFault},
};
use kaibiao_protocol::{
    frame::{Ask, StreamName},
    ids::{ProjectId, UploadId},
    refusal::RefusalCode,
    view::UploadVerdict,
};
use zeroize::Zeroizing;

use self::fake::{Fake, Script};

fn project() -> ProjectId {
    "KX-1".parse().unwrap()
}

fn options() -> ClientOptions {
    let patience = Duration::from_secs(20);
    ClientOptions { ca: None, patience, file_patience: patience }
}

async fn signed_in(fake: &Fake) -> Session {
    let client = Client::new(fake.address(), options()).unwrap();
    let password = Zeroizing::new("secret".to_owned());
    client.sign_in(Credentials::password("wang".parse().unwrap(), password)).await.unwrap()
}

fn upload(bytes: Bytes) -> Upload {
    Upload {
        project: project(),
        id: UploadId([7; 16]),
        purpose: UploadPurpose::Bid,
        form: Vec::new(),
        pieces: Arc::new(bytes),
        request_bytes_max: u64::MAX,
    }
}

fn some_bytes(length: usize) -> Bytes {
    (0..length).map(|at| (at * 31 + at / 257) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn every_event_arrives_once_and_in_order_over_many_cuts() {
    let fake = Fake::start(Script { events: 50, events_a_connection: 7, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let mut events = session.subscribe(StreamName::Room(project()), 0).await.unwrap();
    for seq in 1..=50 {
        assert_eq!(events.next().await.unwrap().seq, seq);
    }
    assert!(fake.sockets() >= 8, "{} connections", fake.sockets());
}

#[tokio::test]
async fn a_subscription_begins_after_what_was_had() {
    let fake = Fake::start(Script { events: 9, events_a_connection: 100, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let mut events = session.subscribe(StreamName::Room(project()), 6).await.unwrap();
    assert_eq!(events.reached(), 9);
    assert_eq!(events.next().await.unwrap().seq, 7);
}

#[tokio::test]
async fn a_second_reader_takes_a_stream_over_and_the_first_is_told() {
    let fake = Fake::start(Script { events: 3, events_a_connection: 100, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let stream = StreamName::Room(project());
    let mut first = session.subscribe(stream.clone(), 3).await.unwrap();
    let mut second = session.subscribe(stream, 0).await.unwrap();
    assert!(matches!(first.next().await, Err(ClientFault::TakenOver(_))));
    drop(first);
    for seq in 1..=3 {
        assert_eq!(second.next().await.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn a_question_is_asked_again_after_a_cut_and_a_command_is_not() {
    let fake = Fake::start(Script { cut_asks: 1, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    // The first ask of each kind is swallowed with its connection.
    session.ask(Ask::Time {}).await.unwrap();
    assert_eq!(fake.asked("time"), 2);

    let extend = Ask::ExtendWindow { project: project(), minutes: 5, reason: "等候".to_owned() };
    let fault = session.ask(extend.clone()).await.unwrap_err();
    assert!(matches!(fault, ClientFault::AnswerLost { asked: "extend_window" }), "{fault:?}");
    assert_eq!(fake.asked("extend_window"), 1, "nobody extends a window twice by accident");
    // By the person's own wish it is done again.
    session.ask(extend).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_session_signs_in_again_by_itself() {
    let fake = Fake::start(Script { events: 4, events_a_connection: 2, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let mut events = session.subscribe(StreamName::Room(project()), 0).await.unwrap();
    assert_eq!(events.next().await.unwrap().seq, 1);
    fake.forget_sessions();
    for seq in 2..=4 {
        assert_eq!(events.next().await.unwrap().seq, seq);
    }
    assert_eq!(fake.sign_ins(), 2);
}

#[tokio::test]
async fn a_session_without_credentials_ends_when_the_server_forgets_it() {
    let fake = Fake::start(Script { events: 9, events_a_connection: 1, ..Script::default() }).await;
    let stored = signed_in(&fake).await.stored();
    let session = Client::new(fake.address(), options()).unwrap().resume(&stored, None);
    let mut events = session.subscribe(StreamName::Room(project()), 0).await.unwrap();
    assert_eq!(events.next().await.unwrap().seq, 1);
    fake.forget_sessions();
    let fault = loop {
        match events.next().await {
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    assert!(fault.is_refused_as(RefusalCode::SessionEnded), "{fault:?}");
    assert!(session.ask(Ask::Time {}).await.unwrap_err().is_refused_as(RefusalCode::SessionEnded));
}

struct NeverSigns;

impl Signer for NeverSigns {
    fn certificate(&self) -> &[u8] {
        b"none"
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, UseFault> {
        panic!("a strange challenge must not reach the token")
    }
}

#[tokio::test]
async fn a_challenge_of_another_server_never_reaches_the_token() {
    let fake = Fake::start(Script::default()).await;
    let client = Client::new(fake.address(), options()).unwrap();
    let fault = client.sign_in(Credentials::token(Arc::new(NeverSigns))).await.err().unwrap();
    assert!(matches!(fault, ClientFault::StrangeChallenge { .. }), "{fault:?}");
}

#[tokio::test]
async fn an_upload_goes_on_where_the_server_stands_after_each_cut() {
    let bytes = some_bytes(3_000_000);
    let fake = Fake::start(Script { cut_upload_every: Some(700_000), ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let mut seen = Vec::new();
    let verdict = session.upload(&upload(bytes.clone()), &mut |progress| seen.push(progress)).await.unwrap();
    assert!(matches!(verdict, UploadVerdict::Restored { .. }));
    assert_eq!(fake.uploaded(), bytes, "no byte missing, none twice");
    let last = seen.last().unwrap();
    assert_eq!((last.sent, last.total), (3_000_000, 3_000_000));
    assert!(last.cuts >= 3, "{last:?}");
}

#[tokio::test]
async fn an_upload_in_small_requests_arrives_whole() {
    let bytes = some_bytes(1_000_000);
    let fake = Fake::start(Script::default()).await;
    let session = signed_in(&fake).await;
    let upload = Upload { request_bytes_max: 300_000, ..upload(bytes.clone()) };
    session.upload(&upload, &mut |_| {}).await.unwrap();
    assert_eq!(fake.uploaded(), bytes);
    assert_eq!(fake.patches(), 4);
}

#[tokio::test]
async fn the_same_upload_again_gets_its_verdict_without_sending_a_byte() {
    let bytes = some_bytes(100_000);
    let fake = Fake::start(Script::default()).await;
    let session = signed_in(&fake).await;
    let first = session.upload(&upload(bytes.clone()), &mut |_| {}).await.unwrap();
    let patches = fake.patches();
    let again = session.upload(&upload(bytes), &mut |_| {}).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(fake.patches(), patches);
}

#[tokio::test]
async fn a_verdict_lost_on_the_way_is_asked_for_again() {
    let bytes = some_bytes(100_000);
    let fake = Fake::start(Script { swallow_verdicts: 1, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let verdict = session.upload(&upload(bytes), &mut |_| {}).await.unwrap();
    assert!(matches!(verdict, UploadVerdict::Restored { .. }));
}

#[tokio::test]
async fn a_platform_busy_at_the_last_byte_is_asked_again_for_its_verdict() {
    let bytes = some_bytes(100_000);
    let fake = Fake::start(Script { busy_verdicts: 2, ..Script::default() }).await;
    let session = signed_in(&fake).await;
    let verdict = session.upload(&upload(bytes.clone()), &mut |_| {}).await.unwrap();
    assert!(matches!(verdict, UploadVerdict::Restored { .. }));
    assert_eq!(fake.uploaded(), bytes);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_when_patience_ends() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let patience = Duration::from_millis(400);
    let options = ClientOptions { ca: None, patience, file_patience: patience };
    let client = Client::new(address.parse().unwrap(), options).unwrap();
    let fault = client.time().await.unwrap_err();
    assert!(matches!(fault, ClientFault::Unreachable { .. }), "{fault:?}");
}

#[tokio::test]
async fn something_else_that_answers_there_is_not_taken_for_a_server() {
    let fake = Fake::start(Script { other_program: true, ..Script::default() }).await;
    let client = Client::new(fake.address(), options()).unwrap();
    let fault = client.time().await.unwrap_err();
    assert!(matches!(fault, ClientFault::NotUnderstood { .. }), "{fault:?}");
}
