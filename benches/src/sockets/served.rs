//! The kaibiao server in a process of its own, as production starts it, on a clock that stands still.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::mpsc,
};

use kaibiao_actors::{
    app::{App, Running},
    clock::Clock,
    config::Config,
    observe,
    sessions::Grounds,
};
use kaibiao_protocol::{
    directory::{DirectoryCommand, OrganisationKind},
    ids::{OrganisationId, UserId},
    role::Role,
};
use serde_json::{Value, json};

use super::{Fallible, HANDING_IN, Orders, RECEIVING, ROOM, WORKERS};
use crate::room::{MORNING, Room, tell_directory};

/// Organisations among which the watchers are dealt out.
const ORGANISATIONS: usize = 100;
/// Bids sealed beforehand for each who hands in.
pub(super) const BIDS_EACH: usize = 2;

/// What is served.
#[derive(clap::Args)]
pub struct ServedOptions {
    /// Where everything lies.
    #[arg(long)]
    folder: PathBuf,
    /// How many may watch.
    #[arg(long)]
    watchers: usize,
    /// Bytes of a bid that is handed in meanwhile.
    #[arg(long)]
    bid_bytes: u64,
}

/// Serves until the parent goes away.
///
/// # Errors
/// The server does not start, or refuses.
pub async fn serve_house(options: &ServedOptions) -> Fallible<()> {
    let mut config = Config {
        data: options.folder.join("data"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        workers: WORKERS,
        ..Config::default()
    };
    // Time stands still here, and a bench outlasts no session.
    config.sockets.total_max = config.sockets.total_max.max(options.watchers * 2);
    // Logs as in production: their spans cost what they cost.
    observe::start(&config.log)?;
    let (tell, told) = mpsc::channel();
    let running = App::start_on(config, move |last| {
        let (clock, hands) = Clock::steppable_after(MORNING, last)?;
        // The other end waits below.
        let _ = tell.send(hands);
        Ok(clock)
    })
    .await?;
    let room = Room::furnish(running.house().clone(), told.recv()?, HANDING_IN).await?;
    register_watchers(&running, options.watchers).await?;
    let (watched, receiving) = (ROOM.parse()?, RECEIVING.parse()?);
    let deadline = room.publish(&watched).await?;
    room.publish_for(&receiving, 24 * 60).await?;
    room.hand_all_in(&watched, 1 << 10, &options.folder).await?;
    for no in 0..HANDING_IN {
        for copy in 0..BIDS_EACH {
            let bid = room.seal_bid(&receiving, no, options.bid_bytes, &options.folder)?;
            fs::write(bid_file(&options.folder, no, copy), &bid.bytes)?;
        }
    }
    room.until(deadline);
    let mut orders = Orders::listen();
    orders.answer(&json!({ "address": running.address(), "url": running.url() }))?;
    while let Some(order) = orders.next().await {
        let done = match order["do"].as_str() {
            Some("sessions") => open_sessions(&running, options),
            Some("metrics") => Ok(json!({ "text": running.house().metrics().text() })),
            _ => Err("an order that nobody understands".into()),
        };
        orders.answer(&done.unwrap_or_else(|fault| json!({ "fault": fault.to_string() })))?;
    }
    Ok(())
}

/// Where a sealed bid lies for those who hand in.
pub(super) fn bid_file(folder: &Path, no: usize, copy: usize) -> PathBuf {
    folder.join(format!("bid-{no}-{copy}.jmbs"))
}

async fn register_watchers(running: &Running, watchers: usize) -> Fallible<()> {
    let organisations = (0..ORGANISATIONS).map(|no| {
        let id: OrganisationId = format!("watchers-{no}").parse()?;
        Ok(DirectoryCommand::AddOrganisation { name: id.to_string(), id, kind: OrganisationKind::Supplier })
    });
    let users = (0..watchers).map(|no| {
        let (id, organisation) = watcher(no)?;
        let roles = [Role::Supplier].into();
        Ok(DirectoryCommand::AddUser { name: id.to_string(), id, organisation, roles })
    });
    tell_directory(running.house(), organisations.collect::<Fallible<_>>()?).await?;
    tell_directory(running.house(), users.collect::<Fallible<_>>()?).await
}

fn watcher(no: usize) -> Fallible<(UserId, OrganisationId)> {
    Ok((format!("watcher-{no}").parse()?, format!("watchers-{}", no % ORGANISATIONS).parse()?))
}

/// Opens a session for the agent, for each watcher and for each who hands in, as their sign-in would.
fn open_sessions(running: &Running, options: &ServedOptions) -> Fallible<Value> {
    let now = running.house().clock().present();
    let open = |user: UserId, organisation: OrganisationId, role| -> Fallible<String> {
        let grounds = Grounds { user, organisation, role, certificate: None };
        let opened =
            running.desk().sessions.open(grounds, now).map_err(|_| "the table of sessions is full")?;
        Ok(opened.0.expose().to_owned())
    };
    let mut tokens = vec![open("agent".parse()?, "agency".parse()?, Role::Agent)?];
    for no in 0..options.watchers {
        let (user, organisation) = watcher(no)?;
        tokens.push(open(user, organisation, Role::Supplier)?);
    }
    let tokens_file = options.folder.join("tokens");
    fs::write(&tokens_file, tokens.join("\n"))?;
    let handing_in = (0..HANDING_IN)
        .map(|no| {
            let (user, organisation) = (format!("user-{no}"), format!("supplier-{no}"));
            let session = open(user.parse()?, organisation.parse()?, Role::Supplier)?;
            Ok(json!({
                "server": running.url(), "session": session, "user": user, "organisation": organisation,
                "role": "supplier", "expires_at": now.plus_minutes(60),
            }))
        })
        .collect::<Fallible<Vec<Value>>>()?;
    Ok(json!({ "tokens": tokens_file, "handing_in": handing_in }))
}
