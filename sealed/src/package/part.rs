//! A part of a bid: a manifest and the documents it names.

use kaibiao_protocol::{
    bid::PartName,
    ids::{OrganisationId, ProjectId},
    record::BidSheet,
};

use super::{
    DocumentEntry, DocumentKind, MANIFEST_BYTES_MAX, Manifest, PackageFault, Window,
    manifest::document_name,
    zip::{Entry, read_entry, read_zip, stream_entry},
};
use crate::{digest::Sha256, read_at::ReadAt};

/// The manifest's entry.
pub(super) const MANIFEST_NAME: &str = "manifest.json";
/// How a PDF begins.
pub(super) const PDF_MAGIC: &[u8] = b"%PDF-";

/// Where a document's bytes lie within its part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DocumentPlace {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub len: u64,
}

/// A part whose form is proved: what surrounds the documents is in its one byte form and the manifest is
/// read. The documents' own bytes are checked when they are read whole.
///
/// Holds no bytes of the documents and no source: the source is given to each call, and must be the one that
/// was read.
#[derive(Clone, Debug)]
pub struct PartPackage {
    manifest: Manifest,
    documents: Vec<Entry>,
}

impl PartPackage {
    /// Reads a part of `len` bytes of clear text: from a package's file, or through the opening of a sealed
    /// part ([`crate::unseal::OpenPart`]).
    ///
    /// # Errors
    /// See [`PackageFault`].
    pub fn read(source: &dyn ReadAt, len: u64) -> Result<Self, PackageFault> {
        let mut entries = read_zip(source, len, is_part_name)?;
        let at = entries.len();
        // `manifest.json` comes after every `documents/...`.
        let entry = entries.pop().filter(|last| last.name == MANIFEST_NAME);
        let entry = entry.ok_or(PackageFault::ManifestMissing)?;
        let bytes =
            read_entry(source, &entry, at, MANIFEST_BYTES_MAX)?.ok_or(PackageFault::ManifestTooLarge)?;
        let manifest = Manifest::parse(&bytes)?;
        let named = manifest.documents.iter().map(|document| (document.name.as_str(), document.bytes));
        let found = entries.iter().map(|entry| (entry.name.as_str(), entry.size));
        if !named.eq(found) {
            return Err(PackageFault::DocumentsDiffer);
        }
        for (document, entry) in (1..).zip(&entries) {
            let mut magic = [0; PDF_MAGIC.len()];
            if entry.size < PDF_MAGIC.len() as u64 {
                return Err(PackageFault::NotAPdf { document });
            }
            source.read_exact_at(&mut magic, entry.data_offset())?;
            if magic != PDF_MAGIC {
                return Err(PackageFault::NotAPdf { document });
            }
        }
        Ok(Self { manifest, documents: entries })
    }

    /// What the part says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Which part this is.
    pub fn part(&self) -> PartName {
        self.manifest.part
    }

    /// The bid sheet: a lot's part has one, the common part has none.
    pub fn sheet(&self) -> Option<&BidSheet> {
        self.manifest.sheet.as_ref()
    }

    /// The documents in their order.
    pub fn documents(&self) -> &[DocumentEntry] {
        &self.manifest.documents
    }

    /// Checks that the part is the one it stands for.
    ///
    /// # Errors
    /// [`PackageFault::OtherPart`], [`PackageFault::OtherProject`], [`PackageFault::OtherSupplier`].
    pub fn check_belongs(
        &self,
        project: &ProjectId,
        supplier: &OrganisationId,
        part: PartName,
    ) -> Result<(), PackageFault> {
        if self.manifest.part != part {
            Err(PackageFault::OtherPart)
        } else if self.manifest.project != *project {
            Err(PackageFault::OtherProject)
        } else if self.manifest.supplier != *supplier {
            Err(PackageFault::OtherSupplier)
        } else {
            Ok(())
        }
    }

    /// Where the document with this number (from 1) lies, for reading ranges of it.
    pub fn document_place(&self, document: usize) -> Option<DocumentPlace> {
        let entry = self.documents.get(document.checked_sub(1)?)?;
        Some(DocumentPlace { offset: entry.data_offset(), len: entry.size })
    }

    /// The document with this number (from 1) as a stretch of `source`.
    pub fn document<'a>(&self, source: &'a dyn ReadAt, document: usize) -> Option<Window<'a>> {
        let place = self.document_place(document)?;
        Some(Window::new(source, place.offset, place.len))
    }

    /// Reads the document with this number (from 1) whole, piece by piece, and hands each piece to `take`;
    /// then checks checksum and digest. What `take` was given counts only if this returns `Ok`.
    ///
    /// # Errors
    /// [`PackageFault::NoSuchDocument`], [`PackageFault::Checksum`], [`PackageFault::DocumentDigest`], or
    /// what `take` or the source gives.
    pub fn copy_document(
        &self,
        source: &dyn ReadAt,
        document: usize,
        take: &mut dyn FnMut(&[u8]) -> Result<(), PackageFault>,
    ) -> Result<(), PackageFault> {
        let at = document.checked_sub(1).ok_or(PackageFault::NoSuchDocument)?;
        let entry = self.documents.get(at).ok_or(PackageFault::NoSuchDocument)?;
        let mut digest = Sha256::new();
        stream_entry(source, entry, document, &mut |piece| {
            digest.update(piece);
            take(piece)
        })?;
        if digest.finish() != self.manifest.documents[at].sha256 {
            return Err(PackageFault::DocumentDigest { document });
        }
        Ok(())
    }

    /// Checks every document's checksum and digest.
    ///
    /// # Errors
    /// As [`PartPackage::copy_document`].
    pub fn check_documents(&self, source: &dyn ReadAt) -> Result<(), PackageFault> {
        (1..=self.documents.len()).try_for_each(|no| self.copy_document(source, no, &mut |_| Ok(())))
    }
}

/// The names a part's entries may have.
fn is_part_name(name: &str) -> bool {
    if name == MANIFEST_NAME {
        return true;
    }
    let Some(rest) = name.strip_prefix("documents/") else { return false };
    let Some((no, _)) = rest.split_once('-') else { return false };
    let Ok(no) = no.parse() else { return false };
    no >= 1 && DocumentKind::ALL.into_iter().any(|kind| document_name(no, kind) == name)
}
