//! Opening one's own copy of a sealed bid, with the token that sealed it: to check it, or to have the package back.

use std::{
    num::NonZeroUsize,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use kaibiao_protocol::bid::PartName;
use kaibiao_sealed::{
    certificate::{CertificateFacts, CertificateFault, read_facts},
    check::check_file,
    header::SealSignatureFault,
    key::BidKey,
    package::{Package, PackageFault, PartPackage},
    read_at::ReadAt,
    unseal::{OpenFault, OpenPart, PartOpener},
};

use crate::{
    report::{Explain, Problem, package_problem, say},
    sealed_bid::SealedBid,
    signer::{KeySource, UseFault},
};

/// A sealed bid of which everything was found to hold.
pub struct Checked {
    /// Who signed it.
    pub signer: CertificateFacts,
    /// Its parts.
    pub parts: Vec<PartName>,
    /// Bytes of the file.
    pub bytes: u64,
    /// How long the token or the PKCS#12 file took.
    pub token: Duration,
    /// How long signature, commitments and chunks took.
    pub check: Duration,
    /// On how many threads.
    pub threads: NonZeroUsize,
}

/// A package that was opened.
pub struct Opened {
    /// The package, with the record of its sealing: a backup again.
    pub package: Package,
    /// Who signed the sealed bid.
    pub signer: CertificateFacts,
    /// How long the token or the PKCS#12 file took.
    pub token: Duration,
    /// How long everything else took.
    pub opening: Duration,
}

/// Why a sealed bid was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenBidFault {
    /// Its signature does not hold.
    #[error("the signature on the sealed bid does not hold: {0}")]
    Signature(#[from] SealSignatureFault),
    /// The signer's certificate is none.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The token gives no key.
    #[error(transparent)]
    Token(#[from] UseFault),
    /// It does not open.
    #[error("part {part} does not open: {fault}")]
    Part {
        /// Which part.
        part: PartName,
        /// Why.
        fault: OpenFault,
    },
    /// It does not open as a whole.
    #[error("the sealed bid does not open: {0}")]
    Open(OpenFault),
    /// What is in it is not a package.
    #[error("what is sealed in it is not a bid package: {0}")]
    Package(#[from] PackageFault),
}

/// All cores of this machine.
pub fn all_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Checks signature, certificate, commitments, every chunk and the form of every part, and writes nothing.
/// `progress` is told sealed bytes as they are done, from any thread.
///
/// # Errors
/// [`OpenBidFault`], the first fault in the order of the file.
pub fn check(
    bid: &SealedBid,
    keys: &dyn KeySource,
    threads: NonZeroUsize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Checked, OpenBidFault> {
    let began = Instant::now();
    let signer = signer_of(bid)?;
    let before = began.elapsed();
    let (key, token) = timed_key(bid, keys)?;
    let began = Instant::now();
    check_file(&bid.file, bid.bytes, &bid.header, &key, threads, progress).map_err(OpenBidFault::Open)?;
    for part in bid.header.binding.parts() {
        read_part(bid, &key, part)?;
    }
    let parts = bid.header.binding.parts().collect();
    Ok(Checked { signer, parts, bytes: bid.bytes, token, check: before + began.elapsed(), threads })
}

/// Opens the sealed bid into the package `out`, which can serve as its backup again. `progress` is told clear bytes
/// done and in all.
///
/// # Errors
/// [`OpenBidFault`]; no package is left then.
pub fn open_to(
    bid: &SealedBid,
    keys: &dyn KeySource,
    out: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Opened, OpenBidFault> {
    let began = Instant::now();
    let signer = signer_of(bid)?;
    if bid.bytes != bid.header.file_len() {
        let cut = bid.bytes < bid.header.file_len();
        return Err(OpenBidFault::Open(if cut { OpenFault::Cut } else { OpenFault::TrailingBytes }));
    }
    let (key, token) = timed_key(bid, keys)?;
    let mut opened = Vec::new();
    for part in bid.header.binding.parts() {
        opened.push((part, read_part(bid, &key, part)?));
    }
    let total = opened.iter().map(|(_, part)| part.clear_len()).sum();
    let parts: Vec<(PartName, u64, &dyn ReadAt)> =
        opened.iter().map(|(name, part)| (*name, part.clear_len(), part as &dyn ReadAt)).collect();
    let mut done = 0;
    let package = Package::assemble(&parts, (&key, bid.header.bytes()), out, &mut |bytes| {
        done += bytes;
        progress(done, total);
    })?;
    Ok(Opened { package, signer, token, opening: began.elapsed().saturating_sub(token) })
}

fn signer_of(bid: &SealedBid) -> Result<CertificateFacts, OpenBidFault> {
    let signed = bid.header.check_signature()?;
    Ok(read_facts(&signed.certificate)?)
}

fn timed_key(bid: &SealedBid, keys: &dyn KeySource) -> Result<(BidKey, Duration), OpenBidFault> {
    let began = Instant::now();
    let key = keys.bid_key(&bid.header)?;
    Ok((key, began.elapsed()))
}

/// Opens one part and proves the form of the package in it.
fn read_part<'a>(
    bid: &'a SealedBid,
    key: &BidKey,
    part: PartName,
) -> Result<OpenPart<&'a std::fs::File>, OpenBidFault> {
    let binding = &bid.header.binding;
    let part_key = key.part_key(&bid.header.binding_digest, part);
    let opener =
        PartOpener::new(&bid.header, part, &part_key).map_err(|fault| OpenBidFault::Part { part, fault })?;
    let open = OpenPart::new(opener, &bid.file);
    let package = PartPackage::read(&open, open.clear_len())?;
    package.check_belongs(&binding.project, &binding.supplier, part)?;
    Ok(open)
}

impl Explain for OpenBidFault {
    fn problem(&self) -> Problem {
        let other_copy = || {
            say(
                "请改用另一份副本，或由备份标书重新生成（kaibiao-bid reseal）",
                "use another copy, or make it again from the backup bid (`kaibiao-bid reseal`)",
            )
        };
        match self {
            OpenBidFault::Token(fault) => fault.problem(),
            OpenBidFault::Package(fault) => package_problem(fault),
            OpenBidFault::Signature(fault) => Problem::new(
                "signature_invalid",
                say(format!("加密标书上的签名无效：{fault}"), self.to_string()),
                other_copy(),
            ),
            OpenBidFault::Certificate(_) => {
                Problem::new("certificate_malformed", say("签名证书无法识别", self.to_string()), other_copy())
            }
            OpenBidFault::Part { fault, .. } | OpenBidFault::Open(fault) => {
                let zh = match fault {
                    OpenFault::WrongKey => "密钥与标书不符".to_owned(),
                    OpenFault::Damaged { chunk } => format!("第 {} 块已损坏", chunk + 1),
                    OpenFault::Cut | OpenFault::Length => "文件不完整".to_owned(),
                    OpenFault::TrailingBytes => "文件末尾有多余内容".to_owned(),
                    OpenFault::NoSuchPart(part) => format!("缺少部分 {part}"),
                    OpenFault::Unreadable(source) => format!("无法读取：{source}"),
                };
                Problem::new(
                    fault.code(),
                    say(format!("加密标书打不开：{zh}"), self.to_string()),
                    other_copy(),
                )
            }
        }
    }
}
