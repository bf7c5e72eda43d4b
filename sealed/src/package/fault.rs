//! What may be wrong with a package: one variant an offence.

use std::{io, path::PathBuf};

use crate::strict_json::NotCanonical;

/// Why a bid package or a part of one is refused. Names places, never content: before the barrier a fault
/// reaches people who must not learn a price.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageFault {
    /// There is no ZIP directory at the end.
    #[error("not a bid package: no directory at its end")]
    NotAZip,
    /// Bytes stand behind the directory's end.
    #[error("bytes stand behind the end of the package")]
    TrailingBytes,
    /// The directory or an entry carries a comment.
    #[error("the package carries a comment")]
    Comment,
    /// The directory speaks of several disks.
    #[error("the package says it spans several disks")]
    SeveralDisks,
    /// The 64-bit form stands where sizes do not need it, or is missing or contradicts the 32-bit form.
    #[error("the directory's 64-bit form is not the one its sizes ask for")]
    Zip64Form,
    /// More entries than any package has, or none.
    #[error("the package has too many entries, or none")]
    EntryCount,
    /// The directory does not lie right behind the entries, or bytes belong to no entry: a prefix, a gap.
    #[error("bytes of the package belong to no entry")]
    Gap,
    /// An entry is compressed.
    #[error("entry {entry} is compressed; entries are stored")]
    Compressed {
        /// Which, from 1.
        entry: usize,
    },
    /// An entry is encrypted.
    #[error("entry {entry} is encrypted by ZIP's own means")]
    Encrypted {
        /// Which, from 1.
        entry: usize,
    },
    /// An entry's sizes stand behind it.
    #[error("entry {entry} has a data descriptor")]
    DataDescriptor {
        /// Which, from 1.
        entry: usize,
    },
    /// An entry carries an extra field that its sizes do not ask for.
    #[error("entry {entry} carries an extra field")]
    ExtraField {
        /// Which, from 1.
        entry: usize,
    },
    /// Two entries have one name.
    #[error("entry {entry} has the name of the one before it")]
    DuplicateEntry {
        /// Which, from 1.
        entry: usize,
    },
    /// The entries are not in the order of their names' bytes.
    #[error("entry {entry} is out of order")]
    NotSorted {
        /// Which, from 1.
        entry: usize,
    },
    /// A name that no entry of a package has.
    #[error("entry {entry} has a name that packages do not have")]
    EntryName {
        /// Which, from 1.
        entry: usize,
    },
    /// Another field of the directory is not as the format fixes it.
    #[error("a field of entry {entry} in the directory is not as the format fixes it")]
    DirectoryField {
        /// Which, from 1.
        entry: usize,
    },
    /// An entry has, or begins at, 4294967295 bytes: the value that stands for "see the 64-bit form", over
    /// which other readers stumble.
    #[error("entry {entry} has or begins at 4294967295 bytes, which other readers misread")]
    AmbiguousLength {
        /// Which, from 1.
        entry: usize,
    },
    /// What stands before an entry is not what the directory says of it.
    #[error("the header of entry {entry} contradicts the directory")]
    HeadersDisagree {
        /// Which, from 1.
        entry: usize,
    },
    /// An entry's bytes do not have the checksum of the directory.
    #[error("the bytes of entry {entry} do not have their checksum")]
    Checksum {
        /// Which, from 1.
        entry: usize,
    },
    /// A part has no manifest.
    #[error("the part has no manifest")]
    ManifestMissing,
    /// A manifest is larger than [`crate::package::MANIFEST_BYTES_MAX`].
    #[error("the manifest is too large")]
    ManifestTooLarge,
    /// A manifest is not canonical JSON of its form.
    #[error("the manifest is {0}")]
    Manifest(NotCanonical),
    /// A field of a manifest breaks a limit or contradicts another.
    #[error("the manifest's field {0} breaks the format")]
    ManifestField(&'static str),
    /// The entries are not the documents of the manifest.
    #[error("the documents are not those of the manifest")]
    DocumentsDiffer,
    /// A document does not begin as a PDF does.
    #[error("document {document} is no PDF")]
    NotAPdf {
        /// Which, from 1.
        document: usize,
    },
    /// A document does not have the digest of the manifest.
    #[error("document {document} does not have its digest")]
    DocumentDigest {
        /// Which, from 1.
        document: usize,
    },
    /// There is no such document.
    #[error("there is no such document")]
    NoSuchDocument,
    /// A part says it is another part than the one it stands for.
    #[error("the part is not the one it stands for")]
    OtherPart,
    /// A part is for another project.
    #[error("the part is for another project")]
    OtherProject,
    /// A part is of another supplier.
    #[error("the part is of another supplier")]
    OtherSupplier,
    /// There is no common part, or no lot's part.
    #[error("the common part or every lot's part is missing")]
    PartsMissing,
    /// The record of the sealing lacks its key or header, or they have impossible lengths.
    #[error("the record of the sealing is not whole")]
    Sealing,
    /// A document cannot be packed as it is.
    #[error("{}: {why}", path.display())]
    Document {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of one's own cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Where it lies.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The package cannot be read or written: the world failed, or it ends early.
    #[error("failed to read or write the package: {0}")]
    Io(#[from] io::Error),
}

impl PackageFault {
    /// The fault's name in `docs/formats/bid-package.md`.
    pub fn code(&self) -> &'static str {
        match self {
            PackageFault::NotAZip => "not_a_zip",
            PackageFault::TrailingBytes => "trailing_bytes",
            PackageFault::Comment => "comment",
            PackageFault::SeveralDisks => "several_disks",
            PackageFault::Zip64Form => "zip64_form",
            PackageFault::EntryCount => "entry_count",
            PackageFault::Gap => "gap",
            PackageFault::Compressed { .. } => "compressed",
            PackageFault::Encrypted { .. } => "encrypted",
            PackageFault::DataDescriptor { .. } => "data_descriptor",
            PackageFault::ExtraField { .. } => "extra_field",
            PackageFault::DuplicateEntry { .. } => "duplicate_entry",
            PackageFault::NotSorted { .. } => "not_sorted",
            PackageFault::EntryName { .. } => "entry_name",
            PackageFault::DirectoryField { .. } => "directory_field",
            PackageFault::AmbiguousLength { .. } => "ambiguous_length",
            PackageFault::HeadersDisagree { .. } => "headers_disagree",
            PackageFault::Checksum { .. } => "checksum",
            PackageFault::ManifestMissing => "manifest_missing",
            PackageFault::ManifestTooLarge => "manifest_too_large",
            PackageFault::Manifest(_) => "manifest",
            PackageFault::ManifestField(_) => "manifest_field",
            PackageFault::DocumentsDiffer => "documents_differ",
            PackageFault::NotAPdf { .. } => "not_a_pdf",
            PackageFault::DocumentDigest { .. } => "document_digest",
            PackageFault::NoSuchDocument => "no_such_document",
            PackageFault::OtherPart => "other_part",
            PackageFault::OtherProject => "other_project",
            PackageFault::OtherSupplier => "other_supplier",
            PackageFault::PartsMissing => "parts_missing",
            PackageFault::Sealing => "sealing",
            PackageFault::Document { .. } => "document",
            PackageFault::File { .. } => "file",
            PackageFault::Io(_) => "io",
        }
    }
}
