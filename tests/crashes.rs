//! A server that is killed, or whose disk fails, at every sync and every rename of an opening: real process, real files,
//! real sockets, real cryptography. Whoever was told something finds it again, nothing happens twice, nothing is shown
//! early, and the opening comes to its end with a record that holds.
//!
//! The server is this test binary again, with a library before the system's own that counts its syncs and renames
//! (`tests/faulty-disk`). A normal run tries a spread of them; `scripts/crashes` tries every one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "crashes/cast.rs"]
mod cast;
#[path = "crashes/check.rs"]
mod check;
#[path = "crashes/full_disk.rs"]
mod full_disk;
#[path = "crashes/host.rs"]
mod host;
#[path = "crashes/points.rs"]
mod points;
#[path = "crashes/proxy.rs"]
mod proxy;
#[path = "crashes/refusals.rs"]
mod refusals;
#[path = "crashes/script.rs"]
mod script;
#[path = "crashes/server.rs"]
mod server;

use std::{
    env,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    cast::Cast,
    check::{Kinds, check},
    host::Host,
    points::{Call, Tally, calls, spread},
    server::Aim,
};

/// Plays at one time.
const AT_ONCE: usize = 4;
/// The longest a play may take, on a machine that does much else.
const PLAY_MAX: Duration = Duration::from_secs(180);

/// The server's process. Without a folder in its environment it is none, and does nothing.
#[test]
fn child() {
    server::live();
}

/// One play from the first bid to the end.
struct Played {
    kinds: Kinds,
    calls: Vec<Call>,
    /// What befell: deaths, ends of writing, refused starts.
    befallen: [usize; 3],
}

async fn play(cast: &Cast, at: u64, befalls: &'static str) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    cast.stage(&data);
    let trace = folder.path().join("trace");
    let aim = Aim { trace: trace.clone(), at, befalls };
    let host = Host::start(&data, cast.begins(), Some(aim)).await;
    let held = script::play(cast, &host, befalls != "kill").await;
    host.again().await;
    // A start knows nothing but the journal.
    let agent = cast.agent(&host.url()).await;
    assert_eq!(agent.room(cast.project()).view().await.unwrap(), held.room, "replay gives the live state");
    let (proxy, befallen) = (host.proxy.clone(), host.befallen.clone());
    assert!(host.stop().await);
    let kinds = check(cast, &held, &data, &proxy.sent());
    let befallen = [&befallen.deaths, &befallen.writing_ended, &befallen.starts_refused];
    Played { kinds, calls: calls(&trace), befallen: befallen.map(|count| count.load(Ordering::Relaxed)) }
}

/// The same, and it must not hang.
async fn play_in_time(cast: &Cast, at: u64, befalls: &'static str) -> Played {
    match tokio::time::timeout(PLAY_MAX, play(cast, at, befalls)).await {
        Ok(played) => played,
        Err(_) => panic!("the play does not come to its end"),
    }
}

/// Whether every call is to be tried.
fn is_thorough() -> bool {
    env::var("KAIBIAO_CRASHES").is_ok_and(|which| which == "all")
}

/// The calls that alone are to be tried, where somebody looks into a failure: `KAIBIAO_CRASHES=91,104`.
fn only() -> Option<Vec<u64>> {
    let which = env::var("KAIBIAO_CRASHES").ok()?;
    which.split(',').map(|no| no.parse().ok()).collect()
}

/// Plays with a fault at each of the calls; tells what came of it.
async fn play_all(cast: Arc<Cast>, calls: &[Call], befalls: &'static str, sound: &Kinds) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut plays = JoinSet::new();
    for call in calls.iter().cloned() {
        let (cast, permits, tally, sound) = (cast.clone(), permits.clone(), tally.clone(), sound.clone());
        plays.spawn_local(async move {
            let _permit = permits.acquire().await.unwrap();
            let at = call.no;
            let played = actix_web::rt::spawn(async move { play_in_time(&cast, at, befalls).await }).await;
            let told = match played {
                Err(fault) => format!("FAILED at {at} ({}): {fault}", call.kind),
                Ok(played) if played.kinds != sound => {
                    format!("FAILED at {at} ({}): {:?}, not {sound:?}", call.kind, played.kinds)
                }
                Ok(played) => {
                    // Which call is the n-th may differ from play to play: what was hit is what was written down.
                    let hit = played.calls.iter().find(|call| call.no == at).map(|call| call.kind.clone());
                    let [deaths, ended, refused] = played.befallen;
                    let befell = deaths + ended + refused;
                    assert!(befalls != "kill" || hit.is_none() == (befell == 0), "{at}: {hit:?} {befell}");
                    let mut tally = tally.lock().unwrap();
                    let became = match (deaths, ended, refused) {
                        (0, 0, 0) => "nothing",
                        (_, 0, 0) => "death",
                        (0, _, 0) => "writing ended",
                        _ => "start refused",
                    };
                    tally.count(&format!(
                        "{befalls} -> {became}: {}",
                        hit.as_deref().unwrap_or("not reached")
                    ));
                    return None;
                }
            };
            Some(told)
        });
    }
    let began = Instant::now();
    let failed: Vec<String> = plays.join_all().await.into_iter().flatten().collect();
    let told = tally.lock().unwrap().text();
    if is_thorough() || !failed.is_empty() {
        let took = began.elapsed().as_secs();
        eprint(&format!("{} plays in {took} s, {befalls} at a call each:\n{told}", calls.len()));
    }
    assert!(failed.is_empty(), "{} of {} plays failed:\n{}", failed.len(), calls.len(), failed.join("\n"));
}

fn eprint(text: &str) {
    use std::io::Write as _;
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// A sound play first, then one for each of the calls it made that are to be tried: about so many.
async fn try_at_calls(befalls: &'static str, about: usize) {
    let cast = Arc::new(Cast::make().await);
    let sound = play_in_time(&cast, 0, befalls).await;
    assert_eq!(sound.befallen, [0, 0, 0]);
    let chosen = if let Some(only) = only() {
        sound.calls.iter().filter(|call| only.contains(&call.no)).cloned().collect()
    } else if is_thorough() {
        sound.calls.clone()
    } else {
        spread(&sound.calls, about)
    };
    play_all(cast, &chosen, befalls, &sound.kinds).await;
}

#[actix_web::test]
async fn an_opening_comes_to_its_right_end_at_whatever_sync_or_rename_the_server_is_killed() {
    try_at_calls("kill", 40).await;
}

#[actix_web::test]
async fn an_opening_comes_to_its_right_end_whatever_sync_or_rename_fails() {
    try_at_calls("eio", 4).await;
}

#[actix_web::test]
async fn an_opening_comes_to_its_right_end_whatever_sync_or_rename_finds_no_room() {
    try_at_calls("enospc", 4).await;
}
