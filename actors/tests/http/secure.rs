//! TLS where certificates are configured; plain HTTP only where nobody else can listen.

use std::{fs, net::SocketAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_actors::{
    app::{App, StartFault},
    config::{Config, ConfigFault, Tls},
};
use kaibiao_sealed::practice::{SoftKey, Usage};
use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    people::{Holder, SPAN, authority},
    world::World,
};

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn tls(folder: &Path) -> Tls {
    let key = SoftKey::generate().unwrap();
    let certificate =
        authority("Huixin").issue("CN=localhost", &key.public_key(), 9, Usage::Both, SPAN).unwrap();
    let tls = Tls { certificate: folder.join("chain.pem"), key: folder.join("key.pem") };
    fs::write(&tls.certificate, pem("CERTIFICATE", &certificate)).unwrap();
    fs::write(&tls.key, pem("PRIVATE KEY", key.pkcs8())).unwrap();
    tls
}

#[actix_web::test]
async fn with_certificates_the_server_speaks_tls_and_marks_its_cookie() {
    let papers = tempfile::tempdir().unwrap();
    let mut world = World::empty(|config| {
        // Reachable by others, which is refused without TLS.
        config.listen = SocketAddr::from(([0, 0, 0, 0], 0));
        config.tls = Some(tls(papers.path()));
    })
    .await;
    // The practice certificate names no host.
    world.client = Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
    let url = format!("https://127.0.0.1:{}", world.running.address().port());
    let health = world.client.get(format!("{url}/health")).send().await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);

    world
        .direct(json!({ "do": "add_organisation", "id": "mingde", "name": "明德", "kind": "supplier" }))
        .await;
    world
        .direct(json!({ "do": "add_user", "id": "wang", "organisation": "mingde", "name": "王", "roles": ["supplier"] }))
        .await;
    world.trust("huixin", "Huixin").await;
    let wang = Holder::new("mingde", 1);
    world.bind("wang", &wang).await;
    let told = world.client.post(format!("{url}/api/sign-in/challenge")).send().await.unwrap();
    let told: Value = told.json().await.unwrap();
    let challenge = told["challenge"].as_str().unwrap();
    assert!(challenge.contains(&url), "{challenge}");
    let cms = STANDARD.encode(wang.sign(kaibiao_sealed::purpose::Purpose::SignIn, challenge));
    let signed_in = world
        .client
        .post(format!("{url}/api/sign-in/token"))
        .json(&json!({ "challenge": challenge, "cms": cms }))
        .send()
        .await
        .unwrap();
    assert!(signed_in.headers()[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
}

#[actix_web::test]
async fn plain_http_where_others_can_listen_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let open = Config {
        data: folder.path().join("data"),
        listen: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..Config::default()
    };
    let fault = App::start(open.clone()).await.err().expect("it does not start");
    assert!(matches!(fault, StartFault::Config(ConfigFault::PlainRefused { .. })), "{fault}");
    assert!(!open.data.exists(), "nothing was made");
    let running = App::start(Config { allow_plain: true, ..open }).await.unwrap();
    running.stop().await;
}

#[actix_web::test]
async fn a_certificate_that_is_none_stops_the_start_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut papers = tls(folder.path());
    papers.key = papers.certificate.clone();
    let config = Config { data: folder.path().join("data"), tls: Some(papers.clone()), ..Config::default() };
    let told = App::start(config).await.err().expect("it does not start").to_string();
    assert!(told.contains("chain.pem"), "{told}");
}
