//! `kaibiao serve`: the server.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;
use kaibiao_actors::{
    app::{self, StartFault},
    config::{Config, LogFormat},
    observe,
};
use serde::Serialize;

use crate::outcome::{self, Failure, Outcome};

/// Arguments of `kaibiao serve`.
#[derive(Args)]
pub(crate) struct Serve {
    /// Where everything lies: journal, sealed bids, keys, admin.sock. Made at the first start.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address served; port 0 takes a free one and prints it [default: 127.0.0.1:7300].
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// A configuration file; deploy/kaibiao.toml explains every setting.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The form of the log on standard error.
    #[arg(long, value_name = "FORM", value_parser = ["text", "json"])]
    log: Option<String>,
}

/// What is printed once the server answers.
#[derive(Serialize)]
struct Ready {
    listening: String,
    data: PathBuf,
    receipt_key: String,
    opening_key: String,
}

/// Runs the server until it is told to stop.
pub(crate) fn run(serve: &Serve, json: bool) -> Outcome {
    let mut config = match &serve.config {
        Some(file) => Config::read(file).map_err(|fault| Failure::Misuse(fault.to_string()))?,
        None => Config::default(),
    };
    if serve.data.is_none() && serve.config.is_none() {
        return Err(Failure::Misuse("say where the data lies: --data DIR, or --config FILE".to_owned()));
    }
    if let Some(data) = &serve.data {
        config.data.clone_from(data);
    }
    if let Some(listen) = serve.listen {
        config.listen = listen;
    }
    match serve.log.as_deref() {
        Some("json") => config.log.format = LogFormat::Json,
        Some(_) => config.log.format = LogFormat::Text,
        None => {}
    }
    observe::start(&config.log).map_err(|fault| Failure::Misuse(fault.to_string()))?;
    let data = config.data.clone();
    let mut told = Ok(());
    let served = app::serve(config, |running| {
        let keys = running.house().keys().ids();
        let ready = Ready {
            listening: running.url(),
            data,
            receipt_key: keys.receipt.to_string(),
            opening_key: keys.opening.to_string(),
        };
        told = outcome::result(json, &ready, &format!("kaibiao is listening on {}", ready.listening));
    });
    served.map_err(|fault| match fault {
        StartFault::Config(fault) => Failure::Misuse(fault.to_string()),
        fault => Failure::Failed(chain(&fault)),
    })?;
    told
}

/// A fault and what caused it, in one line.
fn chain(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(inner) = cause {
        let told = inner.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = inner.source();
    }
    text
}
