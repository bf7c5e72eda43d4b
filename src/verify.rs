//! `kaibiao verify`: checking offline what the platform signed, with nothing but its public key.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use kaibiao_bidder::{
    clock::shown,
    report::{Explain as _, table::record_tables},
    verify::{Verified, read_platform_key, verify_file},
};
use kaibiao_protocol::blob::Blob;
use kaibiao_sealed::record::{record_digest, verify_record};
use serde::Deserialize;
use serde_json::json;

use crate::{
    outcome::{Failure, Outcome, result},
    record_files::exercise_mark,
};

/// Arguments of `kaibiao verify`.
#[derive(Args)]
pub(crate) struct Verify {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// An opening record: the exact text as `kaibiao room record --out` leaves it.
    #[command(after_help = "Example:
  kaibiao verify record out/opening-record.json --platform-key 5f0c...")]
    Record {
        /// The exact text.
        file: PathBuf,
        /// Its signature; default: the file `NAME.signature.json` beside it.
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        /// The platform's receipt key: 64 hexadecimal digits, or a file with them or with a saved project.
        #[arg(long, value_name = "HEX|FILE")]
        platform_key: String,
    },
    /// A receipt, or the signed refusal of a bid that came too late.
    Receipt {
        /// The file.
        file: PathBuf,
        /// The sealed bid, to be held against the receipt byte for byte.
        #[arg(long, value_name = "BID.jmbs")]
        bid: Option<PathBuf>,
        /// The platform's receipt key: 64 hexadecimal digits, or a file with them or with a saved project.
        #[arg(long, value_name = "HEX|FILE")]
        platform_key: String,
    },
}

#[derive(Deserialize)]
struct SignatureFile {
    signature: Blob,
}

/// Runs the command.
pub(crate) fn run(verify: &Verify, json: bool) -> Outcome {
    match &verify.what {
        What::Record { file, signature, platform_key } => {
            let signature = signature.clone().unwrap_or_else(|| file.with_extension("signature.json"));
            record(file, &signature, platform_key, json)
        }
        What::Receipt { file, bid, platform_key } => receipt(file, bid.as_deref(), platform_key, json),
    }
}

fn record(file: &Path, signature: &Path, platform_key: &str, json: bool) -> Outcome {
    let key = read_platform_key(platform_key).map_err(|fault| Failure::Told(Box::new(fault.problem())))?;
    let text = read(file)?;
    let signed: SignatureFile = serde_json::from_str(&read(signature)?)
        .map_err(|fault| Failure::of(&format!("understand {}", signature.display()), fault))?;
    let facts = verify_record(&text, &signed.signature.0, &key)
        .map_err(|fault| Failure::of(&format!("verify {}", file.display()), fault))?;
    let digest = record_digest(&text);
    let told = format!(
        "{}{}公布于 {},平台签名有效 / the platform's signature holds; digest {digest}",
        record_tables(&facts),
        exercise_mark(&facts.head),
        shown(facts.published_at),
    );
    result(json, &json!({ "holds": true, "digest": digest, "record": facts }), &told)
}

fn receipt(file: &Path, bid: Option<&Path>, platform_key: &str, json: bool) -> Outcome {
    let key = read_platform_key(platform_key).map_err(|fault| Failure::Told(Box::new(fault.problem())))?;
    match verify_file(file, &key, bid).map_err(|fault| Failure::Told(Box::new(fault.problem())))? {
        Verified::Receipt { facts, against_bid } => {
            let more = if against_bid {
                ",与标书逐字节相符 / and the sealed bid is the one received"
            } else {
                ""
            };
            let told =
                format!("回执有效 / the receipt holds: {} {}{more}", facts.project, shown(facts.received_at));
            result(json, &json!({ "holds": true, "against_bid": against_bid, "receipt": facts }), &told)
        }
        Verified::Refusal(facts) => {
            let told = format!("拒收通知有效 / the refusal notice holds: {}", facts.project);
            result(json, &json!({ "holds": true, "refusal": facts }), &told)
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|fault| Failure::of(&format!("read {}", file.display()), fault))
}
