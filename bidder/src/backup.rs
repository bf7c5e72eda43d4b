//! The backup bid (备份标书): the bid package with the key and the header of its sealing.
//!
//! Whoever holds it can open the sealed bid, so it never leaves the supplier: what is used of it at an opening are
//! the keys of the parts being opened, or the sealed bytes made again.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::{
    header::{Header, HeaderFault},
    key::BidKey,
    package::{Package, PackageFault},
    writer::{ClearPart, ResealFault, reseal},
};

use crate::{
    report::{Explain, Problem, package_problem, say},
    sealed_bid::header_problem,
    signer::is_key_of,
};

/// A backup bid that fits the sealed bid it is for.
pub struct Backup {
    /// Where it lies.
    pub path: PathBuf,
    package: Package,
    key: BidKey,
    /// The header of the sealed bid it seals again to.
    pub header: Header,
}

/// Why a backup bid does not serve.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// It is not a whole bid package.
    #[error(transparent)]
    Package(#[from] PackageFault),
    /// The package was never sealed.
    #[error("{} was never sealed: it holds no key", .0.display())]
    NeverSealed(PathBuf),
    /// The header kept in it is damaged.
    #[error("the header kept in the backup is damaged: {0}")]
    Header(HeaderFault),
    /// It belongs to another sealed bid.
    #[error("the backup belongs to another sealed bid (header {found}, not {wanted})")]
    OtherBid {
        /// The header digest of the bid handed in.
        wanted: Digest,
        /// The header digest of the backup.
        found: Digest,
    },
    /// Its key does not fit its header.
    #[error("the key in the backup does not fit its header")]
    WrongKey,
    /// Sealing it again does not give the same bytes.
    #[error("the backup does not seal again to the same bytes: {0}")]
    Reseal(#[from] ResealFault),
    /// The sealed bid cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Backup {
    /// Opens a backup bid; `wanted` is the header digest of the sealed bid it is to serve, if one is known.
    ///
    /// # Errors
    /// [`BackupFault`].
    pub fn open(path: &Path, wanted: Option<&Digest>) -> Result<Self, BackupFault> {
        let package = Package::open(path)?;
        let record = package.read_sealing()?.ok_or_else(|| BackupFault::NeverSealed(path.to_owned()))?;
        let header = Header::parse(&record.header).map_err(BackupFault::Header)?;
        if let Some(wanted) = wanted
            && header.header_digest != *wanted
        {
            return Err(BackupFault::OtherBid { wanted: *wanted, found: header.header_digest });
        }
        if !is_key_of(&header, &record.bid_key) {
            return Err(BackupFault::WrongKey);
        }
        Ok(Self { path: path.to_owned(), package, key: record.bid_key, header })
    }

    /// The bid key.
    pub fn key(&self) -> &BidKey {
        &self.key
    }

    /// The package.
    pub fn package(&self) -> &Package {
        &self.package
    }

    /// Clear bytes to be sealed again.
    pub fn clear_bytes(&self) -> u64 {
        self.package.parts().map(|place| place.len).sum()
    }

    /// Makes the sealed bid again, byte for byte, in the file `to`, which appears whole or not at all.
    /// `progress` is told clear bytes as they are done.
    ///
    /// # Errors
    /// [`BackupFault::Reseal`] where the package is no longer the one that was sealed, or
    /// [`BackupFault::Unwritable`].
    pub fn seal_again(&self, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<(), BackupFault> {
        let part = beside(to, "part");
        let unwritable = |source| BackupFault::Unwritable { path: part.clone(), source };
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).open(&part).map_err(unwritable)?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        let outcome = reseal(&self.header, &self.key, clear_parts(&self.package), &mut out, progress);
        let written = outcome.map_err(BackupFault::Reseal).and_then(|()| {
            out.flush().map_err(unwritable)?;
            out.get_ref().sync_all().map_err(unwritable)?;
            fs::rename(&part, to).map_err(unwritable)
        });
        if written.is_err() {
            // What was written is worthless; if it cannot be removed it is still not under its name.
            let _ = fs::remove_file(&part);
        }
        written
    }
}

/// The clear parts of a package, to be sealed.
pub(crate) fn clear_parts(package: &Package) -> Vec<ClearPart<'_>> {
    let parts = package.parts().filter_map(|place| {
        let source = Box::new(package.part_bytes(place.part)?.reader());
        Some(ClearPart { part: place.part, bytes: place.len, source })
    });
    parts.collect()
}

/// The file of the same name with one more ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

impl Explain for BackupFault {
    fn problem(&self) -> Problem {
        let next = say(
            "请使用与已递交标书同时生成的备份标书（.bfbs）",
            "use the backup bid (.bfbs) that was made together with the bid handed in",
        );
        match self {
            BackupFault::Package(fault) => package_problem(fault),
            BackupFault::Header(fault) => header_problem(fault),
            BackupFault::NeverSealed(path) => Problem::new(
                "backup_never_sealed",
                say(format!("{} 从未加密，其中没有密钥", path.display()), self.to_string()),
                say("请先运行 kaibiao-bid seal", "run `kaibiao-bid seal` first"),
            ),
            BackupFault::OtherBid { .. } => Problem::new(
                "backup_other_bid",
                say("该备份标书不属于已递交的那份标书", self.to_string()),
                next,
            ),
            BackupFault::WrongKey => Problem::new(
                "backup_wrong_key",
                say("备份标书中的密钥与其标书头不符", self.to_string()),
                next,
            ),
            BackupFault::Reseal(fault) => Problem::new(
                "backup_differs",
                say(format!("备份标书重新加密后与原标书不一致：{fault}"), self.to_string()),
                next,
            ),
            BackupFault::Unwritable { path, source } => Problem::new(
                "file_unwritable",
                say(format!("无法写入 {}：{source}", path.display()), self.to_string()),
                say("请检查磁盘空间与权限", "check the disk's room and the folder's rights"),
            ),
        }
    }
}
