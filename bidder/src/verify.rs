//! Checking offline what the platform signed: receipts and refusal notices, and a sealed bid against its receipt.

use std::{fs, path::Path};

use kaibiao_protocol::view::ProjectView;
use kaibiao_sealed::{
    arrival::{Arrival, ArrivalFault},
    platform_key::PUBLIC_KEY_BYTES,
    read_at::ReadAt as _,
    receipt::{ReceiptFacts, ReceiptFault, verify_receipt},
    refusal_notice::{RefusalFacts, RefusalNoticeFault, verify_refusal_notice},
    signed_file::SignedFileFault,
};

use crate::{
    report::{Explain, Problem, say},
    sealed_bid::{SealedBid, SealedBidFault},
};

/// What a signed file turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verified {
    /// A receipt that holds; `against_bid` if the sealed bid was held against it, every byte.
    Receipt {
        /// What it says.
        facts: Box<ReceiptFacts>,
        /// Whether a sealed bid was held against it.
        against_bid: bool,
    },
    /// A refusal notice that holds.
    Refusal(Box<RefusalFacts>),
}

/// Why a signed file does not hold.
#[derive(Debug, thiserror::Error)]
pub enum VerifyFault {
    /// A file cannot be read.
    #[error("{path}: {why}")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// The platform's key is none.
    #[error(
        "{0:?} is not the platform's receipt key: 64 hexadecimal digits, or a file with them or with a project"
    )]
    NotAKey(String),
    /// The receipt does not hold.
    #[error(transparent)]
    Receipt(#[from] ReceiptFault),
    /// The refusal notice does not hold.
    #[error(transparent)]
    Notice(#[from] RefusalNoticeFault),
    /// The sealed bid is not one.
    #[error(transparent)]
    Bid(#[from] SealedBidFault),
    /// The sealed bid is damaged.
    #[error("the sealed bid is damaged: {0}")]
    Damaged(ArrivalFault),
}

/// The platform's public receipt key: 64 hexadecimal digits, or a file that holds them, or a saved project.
///
/// # Errors
/// [`VerifyFault::NotAKey`].
pub fn read_platform_key(text: &str) -> Result<[u8; PUBLIC_KEY_BYTES], VerifyFault> {
    let not_a_key = || VerifyFault::NotAKey(text.to_owned());
    if let Some(key) = key_in_hex(text) {
        return Ok(key);
    }
    let held = fs::read_to_string(text).map_err(|_| not_a_key())?;
    if let Some(key) = key_in_hex(held.trim()) {
        return Ok(key);
    }
    let view: ProjectView = serde_json::from_str(&held).map_err(|_| not_a_key())?;
    view.receipt_key.0.as_slice().try_into().map_err(|_| not_a_key())
}

fn key_in_hex(text: &str) -> Option<[u8; PUBLIC_KEY_BYTES]> {
    let mut key = [0; PUBLIC_KEY_BYTES];
    hex::decode_to_slice(text, &mut key).ok().map(|()| key)
}

/// Checks a receipt or refusal notice; a receipt also against a sealed bid, byte for byte, if one is given.
///
/// # Errors
/// [`VerifyFault`].
pub fn verify_file(
    path: &Path,
    platform_key: &[u8; PUBLIC_KEY_BYTES],
    bid: Option<&Path>,
) -> Result<Verified, VerifyFault> {
    let text = fs::read_to_string(path).map_err(|fault| VerifyFault::Unreadable {
        path: path.display().to_string(),
        why: fault.to_string(),
    })?;
    let facts = match verify_receipt(&text, platform_key) {
        Ok(facts) => facts,
        // The purpose is part of what is signed: a notice never passes for a receipt.
        Err(fault) => {
            return verify_refusal_notice(&text, platform_key)
                .map(|facts| Verified::Refusal(Box::new(facts)))
                .map_err(|notice| match notice {
                    RefusalNoticeFault::NotANotice => VerifyFault::Notice(notice),
                    RefusalNoticeFault::File(_) => VerifyFault::Receipt(fault),
                });
        }
    };
    if let Some(bid) = bid {
        let sealed = SealedBid::open(bid)?;
        facts.check_header(&sealed.header)?;
        check_every_byte(&sealed)?;
    }
    Ok(Verified::Receipt { facts: Box::new(facts), against_bid: bid.is_some() })
}

fn check_every_byte(sealed: &SealedBid) -> Result<(), VerifyFault> {
    let mut arrival = Arrival::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < sealed.bytes {
        let length = usize::try_from(sealed.bytes - at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let piece = &mut buffer[..length];
        sealed
            .file
            .read_exact_at(piece, at)
            .map_err(|source| SealedBidFault::Unreadable { path: sealed.path.clone(), source })?;
        arrival.push(piece).map_err(VerifyFault::Damaged)?;
        at += length as u64;
    }
    arrival.finish().map_err(VerifyFault::Damaged)?;
    Ok(())
}

impl Explain for VerifyFault {
    fn problem(&self) -> Problem {
        match self {
            VerifyFault::Bid(fault) => fault.problem(),
            VerifyFault::Unreadable { path, why } => Problem::new(
                "file_unreadable",
                say(format!("无法读取 {path}：{why}"), self.to_string()),
                say("请检查路径与权限", "check the path and its rights"),
            ),
            VerifyFault::NotAKey(_) => Problem::new(
                "platform_key_malformed",
                say("所给的平台公钥无法识别", self.to_string()),
                say(
                    "请给出 64 位十六进制公钥，或保存的项目信息文件（kaibiao-bid project -o）",
                    "give 64 hexadecimal digits, or a project saved by `kaibiao-bid project -o`",
                ),
            ),
            VerifyFault::Receipt(ReceiptFault::OtherBid(_)) => Problem::new(
                "receipt_other_bid",
                say("该回执不属于所给的加密标书", self.to_string()),
                say("请核对文件", "check the files"),
            ),
            VerifyFault::Receipt(ReceiptFault::File(SignedFileFault::OtherKey(_))) => Problem::new(
                "receipt_other_key",
                say("该文件由另一把密钥签发", self.to_string()),
                say("请核对平台公钥", "check the platform's key"),
            ),
            VerifyFault::Receipt(_) | VerifyFault::Notice(_) => Problem::new(
                "receipt_invalid",
                say(format!("该文件不是平台签发的有效回执：{self}"), self.to_string()),
                say("请核对文件与平台公钥", "check the file and the platform's key"),
            ),
            VerifyFault::Damaged(fault) => Problem::new(
                fault.code(),
                say(format!("加密标书已损坏：{fault}"), self.to_string()),
                say("请改用另一份副本", "use another copy"),
            ),
        }
    }
}
