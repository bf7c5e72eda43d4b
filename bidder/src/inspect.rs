//! What can be read of a file without any key.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use kaibiao_protocol::{
    bid::PartName,
    digest::Digest,
    ids::{LotNo, OrganisationId, ProjectId},
    moment::Moment,
    record::BidSheet,
};
use kaibiao_sealed::{
    certificate::read_facts,
    digest::sha256,
    header::Header,
    package::{DocumentKind, Package, PackageFault},
    wrap::WrapAlgorithm,
};
use serde::Serialize;

use crate::{
    report::{Explain, Problem, package_problem, say},
    sealed_bid::{SealedBid, SealedBidFault},
};

/// What a file is.
#[derive(Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Inspected {
    /// A sealed bid (.jmbs).
    SealedBid(Box<SealedBidSeen>),
    /// A bid package or backup bid (.bfbs). It is in clear: its prices are shown.
    BidPackage(Box<PackageSeen>),
    /// A receipt or refusal notice, its signature not checked.
    SignedFile {
        /// The signed text.
        text: serde_json::Value,
        /// The id of the key that is said to have signed it.
        key: String,
    },
}

/// What a sealed bid shows.
#[derive(Serialize)]
pub struct SealedBidSeen {
    /// The project.
    pub project: ProjectId,
    /// Who bids.
    pub supplier: OrganisationId,
    /// The lots.
    pub lots: Vec<LotNo>,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes it should have.
    pub bytes_stated: u64,
    /// How the key is wrapped.
    pub wrap: WrapAlgorithm,
    /// SHA-256 of the platform's opening key it is bound to.
    pub opening_key: Digest,
    /// The signature's verdict.
    pub signature: SignatureSeen,
    /// Fingerprint of the certificate the key is wrapped to.
    pub encryption_certificate: Digest,
    /// SHA-256 of the header, as in the receipt.
    pub header_digest: Digest,
    /// SHA-256 of the statement.
    pub statement_digest: Digest,
    /// The parts.
    pub parts: Vec<PartSeen>,
}

/// The signature on a sealed bid.
#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum SignatureSeen {
    /// It holds, by this certificate. Whether an authority vouches for it is the platform's to judge.
    Holds {
        /// Its fingerprint.
        certificate: Digest,
        /// Its subject.
        subject: String,
        /// Its issuer.
        issuer: String,
        /// Valid from.
        not_before: Moment,
        /// Valid until.
        not_after: Moment,
    },
    /// It does not.
    Fails {
        /// Why.
        why: String,
    },
}

/// One sealed part.
#[derive(Serialize)]
pub struct PartSeen {
    /// Which.
    pub part: PartName,
    /// Sealed bytes.
    pub bytes: u64,
    /// SHA-256 of the sealed bytes, as stated.
    pub ciphertext: Digest,
}

/// What a bid package shows.
#[derive(Serialize)]
pub struct PackageSeen {
    /// The project.
    pub project: ProjectId,
    /// Who bids.
    pub supplier: OrganisationId,
    /// Whether it holds the key of a sealed bid.
    pub sealed: bool,
    /// The header digest of that sealed bid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header_digest: Option<Digest>,
    /// The parts.
    pub parts: Vec<ClearPartSeen>,
}

/// One part in clear.
#[derive(Serialize)]
pub struct ClearPartSeen {
    /// Which.
    pub part: PartName,
    /// The bid sheet, for a lot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sheet: Option<BidSheet>,
    /// The documents.
    pub documents: Vec<DocumentSeen>,
}

/// One document.
#[derive(Serialize)]
pub struct DocumentSeen {
    /// What it answers.
    pub kind: DocumentKind,
    /// Its title.
    pub title: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256.
    pub sha256: Digest,
}

/// Why nothing is known of a file.
#[derive(Debug, thiserror::Error)]
pub enum InspectFault {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It begins as a bid package does and is none.
    #[error(transparent)]
    Package(#[from] PackageFault),
    /// It is no sealed bid.
    #[error(transparent)]
    Bid(#[from] SealedBidFault),
    /// It is none of the files known here.
    #[error("{} is no sealed bid, bid package, receipt or refusal notice", .0.display())]
    Unknown(PathBuf),
}

impl Explain for InspectFault {
    fn problem(&self) -> Problem {
        match self {
            InspectFault::Package(fault) => package_problem(fault),
            InspectFault::Bid(fault) => fault.problem(),
            InspectFault::Unreadable { path, source } => Problem::new(
                "file_unreadable",
                say(format!("无法读取 {}：{source}", path.display()), self.to_string()),
                say("请检查路径与权限", "check the path and its rights"),
            ),
            InspectFault::Unknown(path) => Problem::new(
                "file_unknown",
                say(format!("{} 不是加密标书、标书包、回执或拒收通知", path.display()), self.to_string()),
                say("请核对文件", "check the file"),
            ),
        }
    }
}

/// Reads what a file shows.
///
/// # Errors
/// [`InspectFault`].
pub fn inspect(path: &Path) -> Result<Inspected, InspectFault> {
    let unreadable = |source| InspectFault::Unreadable { path: path.to_owned(), source };
    let mut first = Vec::new();
    File::open(path).map_err(unreadable)?.take(15).read_to_end(&mut first).map_err(unreadable)?;
    if first.starts_with(b"PK") {
        return inspect_package(path);
    }
    if first.starts_with(b"{") {
        return inspect_signed_file(path);
    }
    let bid = SealedBid::open(path)?;
    Ok(Inspected::SealedBid(Box::new(seen_of(&bid))))
}

fn seen_of(bid: &SealedBid) -> SealedBidSeen {
    let header = &bid.header;
    SealedBidSeen {
        project: header.binding.project.clone(),
        supplier: header.binding.supplier.clone(),
        lots: header.binding.lots.iter().copied().collect(),
        bytes: bid.bytes,
        bytes_stated: header.file_len(),
        wrap: header.binding.wrap,
        opening_key: header.binding.opening_key,
        signature: signature_of(header),
        encryption_certificate: header.binding.encryption_certificate,
        header_digest: header.header_digest,
        statement_digest: header.statement_digest,
        parts: header
            .part_facts()
            .into_iter()
            .map(|facts| PartSeen { part: facts.part, bytes: facts.length, ciphertext: facts.ciphertext })
            .collect(),
    }
}

fn signature_of(header: &Header) -> SignatureSeen {
    let facts = header
        .check_signature()
        .map_err(|fault| fault.to_string())
        .and_then(|signed| read_facts(&signed.certificate).map_err(|fault| fault.to_string()));
    match facts {
        Ok(facts) => SignatureSeen::Holds {
            certificate: facts.fingerprint,
            subject: facts.subject,
            issuer: facts.issuer,
            not_before: facts.not_before,
            not_after: facts.not_after,
        },
        Err(why) => SignatureSeen::Fails { why },
    }
}

fn inspect_package(path: &Path) -> Result<Inspected, InspectFault> {
    let package = Package::open(path)?;
    let sealing = package.read_sealing()?;
    let parts = package.parts().filter_map(|place| {
        let part = package.part(place.part)?;
        let documents = part.documents().iter().map(|document| DocumentSeen {
            kind: document.kind,
            title: document.title.clone(),
            bytes: document.bytes,
            sha256: document.sha256,
        });
        Some(ClearPartSeen { part: place.part, sheet: part.sheet().cloned(), documents: documents.collect() })
    });
    Ok(Inspected::BidPackage(Box::new(PackageSeen {
        project: package.project().clone(),
        supplier: package.supplier().clone(),
        sealed: sealing.is_some(),
        header_digest: sealing.map(|record| sha256(&record.header)),
        parts: parts.collect(),
    })))
}

/// The most bytes of a receipt read.
const SIGNED_FILE_BYTES_MAX: u64 = 256 * 1024;

fn inspect_signed_file(path: &Path) -> Result<Inspected, InspectFault> {
    let unknown = || InspectFault::Unknown(path.to_owned());
    let mut text = String::new();
    let file = File::open(path).map_err(|_| unknown())?;
    file.take(SIGNED_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|_| unknown())?;
    let (signed, line) = text.split_once('\n').ok_or_else(unknown)?;
    let signed: serde_json::Value = serde_json::from_str(signed).map_err(|_| unknown())?;
    let line: serde_json::Value = serde_json::from_str(line).map_err(|_| unknown())?;
    let key = line["key"].as_str().ok_or_else(unknown)?.to_owned();
    Ok(Inspected::SignedFile { text: signed, key })
}
