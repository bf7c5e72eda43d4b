//! The `.bfbs` file: the parts of a bid and, once sealed, what sealing it again needs.

use std::{fs::File, path::Path};

use kaibiao_protocol::{
    bid::PartName,
    ids::{LotNo, OrganisationId, ProjectId},
};
use zeroize::Zeroize;

use super::{
    PackageFault, PartPackage, Window,
    atomic::AtomicFile,
    zip::{Entry, ZipWriter, copy_hashing, fill_with, read_entry, read_zip, stream_entry},
};
use crate::{
    key::{BidKey, KEY_BYTES},
    read_at::ReadAt,
};

/// The most bytes of the header kept beside the key.
pub const SEALING_HEADER_BYTES_MAX: u64 = 1024 * 1024;

const BID_KEY_NAME: &str = "sealing/bid-key";
const HEADER_NAME: &str = "sealing/header";

/// The name of a part's entry.
pub(super) fn part_entry_name(part: PartName) -> String {
    format!("parts/{part}.zip")
}

fn part_of(entry_name: &str) -> Option<PartName> {
    entry_name.strip_prefix("parts/")?.strip_suffix(".zip")?.parse().ok()
}

fn is_package_name(name: &str) -> bool {
    part_of(name).is_some() || name == BID_KEY_NAME || name == HEADER_NAME
}

/// Where a part lies in the package's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartPlace {
    /// Which part.
    pub part: PartName,
    /// Its first byte.
    pub offset: u64,
    /// How many bytes it has: the clear bytes that are sealed.
    pub len: u64,
}

/// What a package remembers of its sealing. Whoever holds it can open the sealed bid.
pub struct SealingRecord {
    /// The key drawn for the sealing.
    pub bid_key: BidKey,
    /// The exact header area of the `.jmbs` made.
    pub header: Vec<u8>,
}

/// A bid package whose form is proved and whose parts' manifests are read.
pub struct Package {
    source: Box<dyn ReadAt>,
    parts: Vec<(Entry, PartPackage)>,
    sealing: Option<(Entry, Entry)>,
}

impl Package {
    /// Opens the package in the file `path`.
    ///
    /// # Errors
    /// See [`PackageFault`].
    pub fn open(path: &Path) -> Result<Self, PackageFault> {
        let at_path = |source| PackageFault::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(at_path)?;
        let len = file.metadata().map_err(at_path)?.len();
        Self::read(Box::new(file), len)
    }

    /// Reads a package of `len` bytes.
    ///
    /// # Errors
    /// See [`PackageFault`].
    pub fn read(source: Box<dyn ReadAt>, len: u64) -> Result<Self, PackageFault> {
        let mut parts: Vec<(Entry, PartPackage)> = Vec::new();
        let (mut key, mut header) = (None, None);
        for entry in read_zip(&source, len, is_package_name)? {
            match part_of(&entry.name) {
                Some(part) => {
                    let window = Window::new(&source, entry.data_offset(), entry.size);
                    let package = PartPackage::read(&window, entry.size)?;
                    let head = parts.first().map_or(package.manifest(), |(_, first)| first.manifest());
                    package.check_belongs(&head.project, &head.supplier, part)?;
                    parts.push((entry, package));
                }
                None if entry.name == BID_KEY_NAME => key = Some(entry),
                None => header = Some(entry),
            }
        }
        // Sorted names put `parts/common.zip` first.
        let common_first = parts.first().is_some_and(|(_, part)| part.part() == PartName::Common);
        if !common_first || parts.len() < 2 {
            return Err(PackageFault::PartsMissing);
        }
        let sealing = match (key, header) {
            (None, None) => None,
            (Some(key), Some(header))
                if key.size == KEY_BYTES as u64 && (1..=SEALING_HEADER_BYTES_MAX).contains(&header.size) =>
            {
                Some((key, header))
            }
            _ => return Err(PackageFault::Sealing),
        };
        Ok(Self { source, parts, sealing })
    }

    /// The project.
    pub fn project(&self) -> &ProjectId {
        &self.parts[0].1.manifest().project
    }

    /// Who bids.
    pub fn supplier(&self) -> &OrganisationId {
        &self.parts[0].1.manifest().supplier
    }

    /// The lots bid for, ascending.
    pub fn lots(&self) -> impl Iterator<Item = LotNo> + '_ {
        self.parts.iter().filter_map(|(_, part)| match part.part() {
            PartName::Common => None,
            PartName::Lot(lot) => Some(lot),
        })
    }

    /// Where the parts lie: the common part, then the lots ascending. Sealing encrypts exactly these bytes.
    pub fn parts(&self) -> impl Iterator<Item = PartPlace> + '_ {
        self.parts.iter().map(|(entry, part)| PartPlace {
            part: part.part(),
            offset: entry.data_offset(),
            len: entry.size,
        })
    }

    /// A part's manifest and documents.
    pub fn part(&self, part: PartName) -> Option<&PartPackage> {
        self.parts.iter().map(|(_, package)| package).find(|package| package.part() == part)
    }

    /// A part's clear bytes, to be read at any place or from their beginning ([`Window::reader`]).
    pub fn part_bytes(&self, part: PartName) -> Option<Window<'_>> {
        let (entry, _) = self.parts.iter().find(|(_, package)| package.part() == part)?;
        Some(Window::new(&self.source, entry.data_offset(), entry.size))
    }

    /// The whole file's bytes.
    pub fn source(&self) -> &dyn ReadAt {
        &self.source
    }

    /// Reads every byte: the checksums of parts and documents and the documents' digests.
    ///
    /// # Errors
    /// See [`PackageFault`].
    pub fn check(&self) -> Result<(), PackageFault> {
        for (at, (entry, part)) in (1..).zip(&self.parts) {
            stream_entry(&self.source, entry, at, &mut |_| Ok(()))?;
            part.check_documents(&Window::new(&self.source, entry.data_offset(), entry.size))?;
        }
        self.read_sealing().map(drop)
    }

    /// What the package remembers of its sealing; `None` if it was not sealed.
    ///
    /// # Errors
    /// The entries do not have their checksums, or the world fails.
    pub fn read_sealing(&self) -> Result<Option<SealingRecord>, PackageFault> {
        let Some((key, header)) = &self.sealing else { return Ok(None) };
        let at = self.parts.len() + 1;
        let mut key = read_entry(&self.source, key, at, KEY_BYTES as u64)?.ok_or(PackageFault::Sealing)?;
        let bid_key = BidKey::from_bytes(&key);
        key.zeroize();
        let header = read_entry(&self.source, header, at + 1, SEALING_HEADER_BYTES_MAX)?;
        match (bid_key, header) {
            (Some(bid_key), Some(header)) => Ok(Some(SealingRecord { bid_key, header })),
            _ => Err(PackageFault::Sealing),
        }
    }

    /// Writes a package from the clear bytes of its parts, as an opened sealed bid gives them ([`crate::unseal::OpenPart`]),
    /// in their order, with the record of the sealing: the supplier's own backup, made again. The file appears whole
    /// or not at all, readable by its owner alone. `progress` is told clear bytes as they are done.
    ///
    /// # Errors
    /// The parts are no package, or the world fails; see [`PackageFault`].
    pub fn assemble(
        parts: &[(PartName, u64, &dyn ReadAt)],
        sealing: (&BidKey, &[u8]),
        to: &Path,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, PackageFault> {
        if !parts.is_sorted_by_key(|(part, _, _)| *part) {
            return Err(PackageFault::OtherPart);
        }
        let mut file = AtomicFile::begin(to)?;
        let mut zip = ZipWriter::new(file.out())?;
        for (part, len, source) in parts {
            zip.entry(&part_entry_name(*part), *len, |out| {
                let mut reader = Window::new(*source, 0, *len).reader();
                let hasher = copy_hashing(&mut reader, &mut |piece| {
                    out.write_all(piece)?;
                    progress(piece.len() as u64);
                    Ok(())
                })?;
                Ok((hasher, ()))
            })?;
        }
        let (bid_key, header) = sealing;
        zip.entry(BID_KEY_NAME, KEY_BYTES as u64, fill_with(bid_key.expose()))?;
        zip.entry(HEADER_NAME, header.len() as u64, fill_with(header))?;
        zip.finish()?;
        file.finish()?;
        Self::open(to)
    }

    /// Writes the package anew to the file `to`, with the record of a sealing (in place of an earlier one):
    /// the bid key and the exact header area of the `.jmbs`. The file appears whole or not at all, readable
    /// by its owner alone; it may be the file this package was opened from. Gives the new package.
    ///
    /// # Errors
    /// [`PackageFault::Sealing`] if the header is empty or too long, [`PackageFault::Checksum`] if a part's
    /// bytes changed, [`PackageFault::File`] or [`PackageFault::Io`] if the world fails.
    pub fn attach_sealing(&self, bid_key: &BidKey, header: &[u8], to: &Path) -> Result<Self, PackageFault> {
        if header.is_empty() || header.len() as u64 > SEALING_HEADER_BYTES_MAX {
            return Err(PackageFault::Sealing);
        }
        let mut file = AtomicFile::begin(to)?;
        let mut zip = ZipWriter::new(file.out())?;
        for (at, (entry, _)) in (1..).zip(&self.parts) {
            zip.entry(&entry.name, entry.size, |out| {
                let hasher = stream_entry(&self.source, entry, at, &mut |piece| Ok(out.write_all(piece)?))?;
                Ok((hasher, ()))
            })?;
        }
        zip.entry(BID_KEY_NAME, KEY_BYTES as u64, fill_with(bid_key.expose()))?;
        zip.entry(HEADER_NAME, header.len() as u64, fill_with(header))?;
        zip.finish()?;
        file.finish()?;
        Self::open(to)
    }
}
