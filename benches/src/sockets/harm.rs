//! Peers that mean harm: each holds as much of the server's memory as it can, and lets nothing go.

use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::timeout};

use super::{
    Fallible,
    crowd::PATIENCE,
    wire::{Wire, fragment},
};

/// Bytes of a text that never ends: as many as are taken, less one.
const TEXT_BYTES: usize = 65_535;
/// Bytes of a head that never ends: more than the server keeps.
const HEAD_BYTES: usize = 120_000;

/// A kind of harm.
#[derive(Clone, Copy)]
pub(super) enum Harm {
    /// Signed in, a text in pieces of one byte that never ends.
    Pieces,
    /// Not signed in, a head that never ends.
    Heads,
}

impl Harm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "pieces" => Some(Harm::Pieces),
            "heads" => Some(Harm::Heads),
            _ => None,
        }
    }
}

/// What is held until it is dropped.
pub(super) enum Held {
    Wire(#[expect(dead_code, reason = "held, never used again")] Wire),
    Stream(#[expect(dead_code, reason = "held, never used again")] TcpStream),
}

/// Opens a connection for each of these tokens, and does what harm it can on each.
pub(super) async fn do_harm(harm: Harm, address: SocketAddr, tokens: &[String]) -> Fallible<Vec<Held>> {
    let mut working = JoinSet::new();
    for token in tokens {
        let token = token.clone();
        working.spawn_local(async move {
            match harm {
                Harm::Pieces => pieces(address, &token).await.map(Held::Wire),
                Harm::Heads => head(address).await.map(Held::Stream),
            }
        });
    }
    let mut held = Vec::new();
    while let Some(one) = timeout(PATIENCE, working.join_next()).await? {
        held.push(one?.map_err(|ended| format!("a connection was cut too early: {ended}"))?);
    }
    Ok(held)
}

async fn pieces(address: SocketAddr, token: &str) -> Result<Wire, String> {
    let mut wire = Wire::open(address, Some(token)).await.map_err(|ended| format!("{ended:?}"))?;
    let mut bytes = fragment(true, b"x");
    for _ in 1..TEXT_BYTES {
        bytes.extend(fragment(false, b"x"));
    }
    wire.write(&bytes).await.map_err(|ended| format!("{ended:?}"))?;
    Ok(wire)
}

async fn head(address: SocketAddr) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|fault| fault.to_string())?;
    let mut bytes = b"GET /api/time HTTP/1.1\r\nX: ".to_vec();
    bytes.resize(HEAD_BYTES, b'x');
    stream.write_all(&bytes).await.map_err(|fault| fault.to_string())?;
    Ok(stream)
}
