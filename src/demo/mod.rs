//! `kaibiao demo`: a whole opening, played with the real programs over real sockets.
//!
//! The demo makes two certification authorities, tokens, papers and a project, starts `kaibiao serve`, and lets
//! each supplier run `kaibiao-bid` and the agent `kaibiao room`, as people would. It uses no door that they do not
//! have. What it leaves behind is described in [`Folder`].

mod cast;
mod folder;
mod papers;
mod play;
mod programs;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kaibiao_bidder::practice::TokenKind;

use self::{
    cast::{SUPPLIERS_MAX, SUPPLIERS_MIN},
    folder::Folder,
};
use crate::outcome::{Failure, Outcome};

/// Arguments of `kaibiao demo`.
#[derive(Args)]
#[command(
    after_help = "Plays for two to four minutes: the window and the time for confirming are one minute each.
Afterwards look into DIR: record-lot-N.json, receipts/, bids/, tokens/, server.log, summary.json."
)]
pub(crate) struct Demo {
    /// How many suppliers; each demo has one that withdraws, one that replaces its bid, one too late, one that never
    /// unseals, one that needs its backup bid and one with the wrong token.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(i64::from(SUPPLIERS_MIN)..=i64::from(SUPPLIERS_MAX)))]
    suppliers: u32,
    /// How many lots; every supplier bids for each.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=20))]
    lots: u16,
    /// About how many MiB of PDFs one bid has.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    bid_mb: u32,
    /// Whether suppliers have tokens (SoftHSM) or PKCS#12 files.
    #[arg(long, value_enum, default_value_t = Tokens::Softhsm)]
    tokens: Tokens,
    /// Where everything is left; an earlier demo's folder is used anew, any other must be empty.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
}

/// What suppliers sign and unseal with.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tokens {
    /// Tokens of SoftHSM, over PKCS#11.
    Softhsm,
    /// PKCS#12 files.
    Files,
}

impl From<Tokens> for TokenKind {
    fn from(tokens: Tokens) -> Self {
        match tokens {
            Tokens::Softhsm => TokenKind::SoftHsm,
            Tokens::Files => TokenKind::Files,
        }
    }
}

/// Runs the command.
pub(crate) fn run(demo: &Demo, json: bool) -> Outcome {
    let folder = Folder::begin(&demo.out)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|fault| Failure::of("start", fault))?;
    runtime.block_on(play::play(demo, &folder, json))
}
