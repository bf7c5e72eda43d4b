//! Packing: from sheets and PDFs to a `.bfbs`, in one pass and without a document in memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crc32fast::Hasher;
use kaibiao_protocol::{
    bid::PartName,
    digest::Digest,
    ids::{LotNo, OrganisationId, ProjectId},
    record::BidSheet,
};

use super::{
    DocumentEntry, DocumentKind, Manifest, ManifestFormat, Package, PackageFault,
    atomic::AtomicFile,
    file::part_entry_name,
    manifest::document_name,
    part::{MANIFEST_NAME, PDF_MAGIC},
    zip::{Out, ZipWriter, copy_hashing, fill_with, planned_len},
};
use crate::digest::Sha256;

/// A PDF to be packed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewDocument {
    /// What it answers.
    pub kind: DocumentKind,
    /// Its title as people read it.
    pub title: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// What is bid for one lot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLot {
    /// The bid sheet.
    pub sheet: BidSheet,
    /// The documents that concern this lot alone.
    pub documents: Vec<NewDocument>,
}

/// What goes into a bid package.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packing {
    /// The project.
    pub project: ProjectId,
    /// Who bids.
    pub supplier: OrganisationId,
    /// The documents that concern every lot.
    pub common: Vec<NewDocument>,
    /// The lots bid for; at least one.
    pub lots: BTreeMap<LotNo, NewLot>,
}

/// Packs a bid into the file `to`, which appears whole or not at all, and opens it. `progress` is told the
/// document bytes done and their total, after each piece.
///
/// Says of a document only whether it begins as a PDF does; deeper checks are the bid client's.
///
/// # Errors
/// [`PackageFault::PartsMissing`] without a lot, [`PackageFault::ManifestField`] for a field beyond its limit,
/// [`PackageFault::Document`] and [`PackageFault::File`] for what cannot be packed, read or written.
pub fn pack(
    packing: &Packing,
    to: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Package, PackageFault> {
    if packing.lots.is_empty() {
        return Err(PackageFault::PartsMissing);
    }
    let mut parts = vec![PlannedPart::new(packing, PartName::Common, None, &packing.common)?];
    for (lot, new) in &packing.lots {
        parts.push(PlannedPart::new(packing, PartName::Lot(*lot), Some(&new.sheet), &new.documents)?);
    }
    let total = parts.iter().flat_map(|part| &part.manifest.documents).map(|document| document.bytes).sum();
    let mut done = 0;
    let mut file = AtomicFile::begin(to)?;
    let mut zip = ZipWriter::new(file.out())?;
    for part in parts {
        zip.entry(&part_entry_name(part.manifest.part), part.len(), |out| {
            let hasher = part.write(out, &mut |bytes| {
                done += bytes;
                progress(done, total);
            })?;
            Ok((hasher, ()))
        })?;
    }
    zip.finish()?;
    file.finish()?;
    Package::open(to)
}

/// A part whose documents are open and whose lengths are known; the digests are not yet.
struct PlannedPart<'a> {
    manifest: Manifest,
    files: Vec<(&'a Path, File)>,
}

impl<'a> PlannedPart<'a> {
    fn new(
        packing: &Packing,
        part: PartName,
        sheet: Option<&BidSheet>,
        documents: &'a [NewDocument],
    ) -> Result<Self, PackageFault> {
        let mut entries = Vec::with_capacity(documents.len());
        let mut files = Vec::with_capacity(documents.len());
        for (no, document) in (1..).zip(documents) {
            let at_path = |source| PackageFault::File { path: document.path.clone(), source };
            let file = File::open(&document.path).map_err(at_path)?;
            let about = file.metadata().map_err(at_path)?;
            if !about.is_file() {
                return Err(PackageFault::Document { path: document.path.clone(), why: "not a file" });
            }
            entries.push(DocumentEntry {
                name: document_name(no, document.kind),
                kind: document.kind,
                title: document.title.clone(),
                sha256: Digest([0; 32]),
                bytes: about.len(),
            });
            files.push((document.path.as_path(), file));
        }
        let manifest = Manifest {
            format: ManifestFormat::V1,
            part,
            project: packing.project.clone(),
            supplier: packing.supplier.clone(),
            sheet: sheet.cloned(),
            documents: entries,
        };
        manifest.check()?;
        Ok(Self { manifest, files })
    }

    /// The part's bytes. A digest has one length, so the manifest's length is known before its digests.
    fn len(&self) -> u64 {
        let documents = self.manifest.documents.iter().map(|entry| (entry.name.clone(), entry.bytes));
        let manifest = (MANIFEST_NAME.to_owned(), self.manifest.to_bytes().len() as u64);
        planned_len(&documents.chain([manifest]).collect::<Vec<_>>())
    }

    fn write(mut self, out: &mut dyn Out, told: &mut dyn FnMut(u64)) -> Result<Hasher, PackageFault> {
        let mut zip = ZipWriter::new(out)?;
        for (entry, (path, file)) in self.manifest.documents.iter_mut().zip(&mut self.files) {
            entry.sha256 =
                zip.entry(&entry.name, entry.bytes, |out| copy_document(path, file, entry.bytes, out, told))?;
        }
        let bytes = self.manifest.to_bytes();
        zip.entry(MANIFEST_NAME, bytes.len() as u64, fill_with(&bytes))?;
        zip.finish()
    }
}

/// Copies exactly `len` bytes of a document; gives checksum and digest.
fn copy_document(
    path: &Path,
    file: &mut File,
    len: u64,
    out: &mut dyn Out,
    told: &mut dyn FnMut(u64),
) -> Result<(Hasher, Digest), PackageFault> {
    let refused = |why| PackageFault::Document { path: path.to_owned(), why };
    let mut magic = Vec::with_capacity(PDF_MAGIC.len());
    let at_path = |source| PackageFault::File { path: path.to_owned(), source };
    file.take(PDF_MAGIC.len() as u64).read_to_end(&mut magic).map_err(at_path)?;
    if magic != PDF_MAGIC {
        return Err(refused("not a PDF"));
    }
    let mut digest = Sha256::new();
    let mut count = 0;
    // One byte more than expected is asked for, so that a document that grew is noticed.
    let mut rest = magic.as_slice().chain(file.take((len + 1).saturating_sub(magic.len() as u64)));
    let hasher = copy_hashing(&mut rest, &mut |piece| {
        digest.update(piece);
        count += piece.len() as u64;
        if count > len {
            return Err(refused("changed while it was packed"));
        }
        out.write_all(piece)?;
        told(piece.len() as u64);
        Ok(())
    })?;
    if count != len {
        return Err(refused("changed while it was packed"));
    }
    Ok((hasher, digest.finish()))
}
