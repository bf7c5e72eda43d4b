//! Bid packages: the `.bfbs` file and the parts in it.
//!
//! A part is a ZIP of stored entries with one byte form for one content, a package is such a ZIP of parts
//! (`docs/formats/bid-package.md`). ZIP readers disagree about prefixes, duplicates, trailing bytes and
//! headers that contradict each other, and a supplier could profit from a file with two readings. So the
//! reader here forms anew the bytes that surround the entries and accepts nothing that differs from them.

mod atomic;
mod fault;
mod file;
mod manifest;
mod pack;
mod part;
mod window;
mod zip;

pub use fault::PackageFault;
pub use file::{Package, PartPlace, SEALING_HEADER_BYTES_MAX, SealingRecord};
pub use manifest::{
    DOCUMENTS_MAX, DocumentEntry, DocumentKind, MANIFEST_BYTES_MAX, Manifest, ManifestFormat,
    TITLE_CHARS_MAX, check_sheet,
};
pub use pack::{NewDocument, NewLot, Packing, pack};
pub use part::{DocumentPlace, PartPackage};
pub use window::Window;
