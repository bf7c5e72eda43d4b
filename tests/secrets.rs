//! Where secrets must not be: an opening by the real programs, and a search for every one of its PINs, passwords and keys
//! on the disk, in what was printed and logged, and in the memory of server and clients.
//!
//! Searching the memory of a process that is not dumpable takes root, or CAP_SYS_PTRACE.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "secrets/hall.rs"]
mod hall;
#[path = "secrets/memory.rs"]
mod memory;
#[path = "secrets/shut.rs"]
mod shut;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    time::Duration,
};

use kaibiao_bidder::{backup::Backup, clock::now};

use crate::{
    hall::{Hall, SUPPLIERS, program},
    memory::Canaries,
    shut::{Desk, Killed, is_shut},
};

/// Every secret of the suppliers: passwords and PINs, bid keys and the keys of their parts, and what their documents say.
fn secrets(hall: &Hall) -> Canaries {
    let mut all = Canaries::default();
    all.text("password", &hall.password);
    for (token, name) in hall.tokens.iter().zip(SUPPLIERS) {
        let pin = std::fs::read_to_string(&token.pin_file).unwrap();
        all.text(&format!("PIN of {name}"), pin.trim());
        keys(hall, name, &mut all);
    }
    all
}

fn keys(hall: &Hall, name: &str, all: &mut Canaries) {
    let backup = Backup::open(&hall.file(&format!("{name}.bfbs")), None).unwrap();
    all.key(&format!("bid key of {name}"), backup.key().expose());
    for part in backup.header.binding.parts() {
        let key = backup.key().part_key(&backup.header.binding_digest, part);
        all.key(&format!("{part} key of {name}"), key.expose());
    }
}

#[actix_web::test]
async fn nothing_secret_stays_in_any_memory_file_log_or_word_of_an_opening() {
    let mut hall = Hall::open().await;
    for who in 0..SUPPLIERS.len() {
        hall.hand_in(who).await;
    }
    assert!(now() < hall.deadline, "this machine is too slow for the time the suppliers were given");
    let all = secrets(&hall);
    let server = hall.server.id().unwrap();
    assert_eq!(all.in_bytes(b"nothing"), BTreeSet::new());

    // The control: what the server must know it has, by the very same search.
    let mut known = Canaries::default();
    known.text("its data folder", &hall.server.data().display().to_string());
    assert!(!known.in_memory(server).is_empty(), "the search does not find what is there");

    // Everything that is found is told at once: one hit seldom comes alone.
    let mut found = BTreeSet::new();
    let mut look = |place: &str, hits: BTreeSet<String>| {
        found.extend(hits.into_iter().map(|hit| format!("{place}: {hit}")));
    };

    // Until the deadline the engine holds no key, in memory or on disk; nor anything that was typed.
    let mut looks = 0;
    while now() < hall.deadline.plus_ms(-1_500) {
        look("the server's memory before the deadline", all.in_memory(server));
        look("the server's disk before the deadline", all.in_folder(hall.server.data()));
        looks += 1;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(looks > 0, "no time was left to look");

    // Two release their keys and stay; the third comes late, so that nothing is published meanwhile.
    let how = ["$TOKEN", "$ACCOUNT $TOKEN", "$TOKEN"];
    let unseal =
        |who: usize| hall.begin(who, &format!("unseal --project KX-1 --bid @{{}}.jmbs $SERVER {}", how[who]));
    let mut clients = [unseal(0), unseal(1)];
    for client in &mut clients {
        client.until("keys_kept").await;
    }
    for (client, name) in clients.iter().zip(SUPPLIERS) {
        let mut hits = all.in_memory(client.child.id().unwrap());
        // Should the line be cut until the record is published, the client signs in again: it keeps the password of the
        // account, in one place. The other signs in by its token's key.
        let mut kept = hits.iter().filter(|hit| hit.starts_with("password")).cloned();
        if let Some(kept) = kept.next().filter(|_| name == "jiangnan") {
            hits.remove(&kept);
        }
        look(&format!("the memory of the client of {name}"), hits);
    }
    let last = unseal(2).end().await;
    let [first, second] = clients;
    let (first, second) = (first.end().await, second.end().await);
    hall.said.extend([last, first, second]);
    hall.run(0, "record --project KX-1 -o @record.json $SERVER $TOKEN").await;

    look("the server's memory after the opening", all.in_memory(server));
    look("the server's disk after the opening", all.in_folder(hall.server.data()));
    look("what programs print", all.in_bytes(hall.said.concat().as_bytes()));
    look("the metrics", all.in_bytes(hall.page("/metrics").await.as_bytes()));
    look("the log", all.in_bytes(&std::fs::read(hall.file("server.log")).unwrap()));
    assert_eq!(found, BTreeSet::new());
    hall.server.stop().await.unwrap();
}

#[test]
fn the_search_finds_what_another_process_holds() {
    let mut planted = Canaries::default();
    let key: Vec<u8> = (100..132).collect();
    planted.key("planted", &key);
    planted.text("a word", "a word that is long enough");
    assert!(planted.len() > 10);
    // A child that holds it in its environment, in one of the forms that a key can take.
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .env("KAIBIAO_PLANTED", hex_of(&key))
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let found = planted.in_memory(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.iter().any(|what| what.starts_with("planted in ")), "{found:?}");
    assert!(!found.iter().any(|what| what.starts_with("a word")), "{found:?}");
}

#[test]
fn server_and_client_leave_no_core_and_are_closed_to_their_own_user() {
    let desk = Desk::new();
    let mut server = desk.command(&program("kaibiao"));
    server.args(["--json", "serve", "--listen", "127.0.0.1:0", "--data", "data"]).stderr(Stdio::null());
    let mut server = Killed(server.spawn().unwrap());
    let mut ready = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(ready.contains("listening"), "{ready}");
    assert!(is_shut(server.0.id()));
    let (client, _pipe) = desk.waiting_client();
    assert!(is_shut(client.0.id()));
    // The control: another program of the same user is open to it.
    let open = Killed(desk.command(Path::new("/bin/sleep")).arg("60").spawn().unwrap());
    assert!(!is_shut(open.0.id()));
}

fn hex_of(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
