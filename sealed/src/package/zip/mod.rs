//! ZIP with one byte form: stored entries, sorted names, nothing optional.
//!
//! Everything around the entries' bytes is a function of their names, lengths and checksums. The writer
//! forms it, and the reader forms it again from what it read and compares.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use reader::{copy_hashing, read_entry, read_zip, stream_entry};
pub(super) use writer::{Out, ZipWriter, fill_with};

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const CENTRAL_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR_SIGNATURE: u32 = 0x0706_4b50;

const LOCAL_BYTES: usize = 30;
const LOCAL64_BYTES: u64 = 20;
/// Where the checksum stands in a local header.
const LOCAL_CRC_AT: u64 = 14;
const CENTRAL_BYTES: usize = 46;
const END_BYTES: usize = 22;
const END64_BYTES: usize = 56;
const LOCATOR_BYTES: usize = 20;

const VERSION: u16 = 10;
const VERSION64: u16 = 45;
const EXTRA64: u16 = 1;
/// 1980-01-01, the first day ZIP knows.
const DATE: u16 = 0x21;
/// What a 32-bit field holds when the 64-bit form has the value.
const SATURATED: u32 = u32::MAX;

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: String,
    /// Its bytes.
    pub(super) size: u64,
    /// CRC-32 of its bytes.
    pub(super) crc: u32,
    /// Where its local header begins.
    offset: u64,
}

impl Entry {
    fn size_is_large(&self) -> bool {
        self.size >= u64::from(SATURATED)
    }

    fn offset_is_large(&self) -> bool {
        self.offset >= u64::from(SATURATED)
    }

    /// Whether a value of it is the very one that stands for "see the 64-bit form": Info-ZIP then misreads
    /// the next entry, and libarchive takes an offset for malformed.
    fn is_ambiguous(&self) -> bool {
        self.size == u64::from(SATURATED) || self.offset == u64::from(SATURATED)
    }

    fn version(&self) -> u16 {
        if self.size_is_large() || self.offset_is_large() { VERSION64 } else { VERSION }
    }

    /// Where its bytes begin.
    pub(super) fn data_offset(&self) -> u64 {
        self.offset + local_len(&self.name, self.size)
    }

    /// Its bytes' end, which is the next header's beginning.
    fn end(&self) -> u64 {
        self.data_offset().saturating_add(self.size)
    }

    fn local_header(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LOCAL_BYTES + self.name.len() + 20);
        out.extend(LOCAL_SIGNATURE.to_le_bytes());
        self.common_fields(&mut out, if self.size_is_large() { LOCAL64_BYTES as u16 } else { 0 });
        out.extend(self.name.as_bytes());
        if self.size_is_large() {
            out.extend(EXTRA64.to_le_bytes());
            out.extend(16_u16.to_le_bytes());
            out.extend(self.size.to_le_bytes());
            out.extend(self.size.to_le_bytes());
        }
        out
    }

    fn central_header(&self) -> Vec<u8> {
        let mut extra = Vec::new();
        if self.size_is_large() {
            extra.extend(self.size.to_le_bytes());
            extra.extend(self.size.to_le_bytes());
        }
        if self.offset_is_large() {
            extra.extend(self.offset.to_le_bytes());
        }
        let extra_len = if extra.is_empty() { 0 } else { 4 + extra.len() as u16 };
        let mut out = Vec::with_capacity(CENTRAL_BYTES + self.name.len() + usize::from(extra_len));
        out.extend(CENTRAL_SIGNATURE.to_le_bytes());
        out.extend(self.version().to_le_bytes());
        self.common_fields(&mut out, extra_len);
        // No comment, first disk, no internal and no external attributes.
        out.extend([0; 2 + 2 + 2 + 4]);
        out.extend(saturate(self.offset).to_le_bytes());
        out.extend(self.name.as_bytes());
        if extra_len > 0 {
            out.extend(EXTRA64.to_le_bytes());
            out.extend((extra.len() as u16).to_le_bytes());
            out.extend(extra);
        }
        out
    }

    /// The fields that both headers have, from the version needed to the extra field's length.
    fn common_fields(&self, out: &mut Vec<u8>, extra_len: u16) {
        out.extend(self.version().to_le_bytes());
        // No flags, stored, midnight.
        out.extend([0; 2 + 2 + 2]);
        out.extend(DATE.to_le_bytes());
        out.extend(self.crc.to_le_bytes());
        out.extend(saturate(self.size).to_le_bytes());
        out.extend(saturate(self.size).to_le_bytes());
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend(extra_len.to_le_bytes());
    }
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(SATURATED)
}

fn local_len(name: &str, size: u64) -> u64 {
    let extra = if size >= u64::from(SATURATED) { LOCAL64_BYTES } else { 0 };
    LOCAL_BYTES as u64 + name.len() as u64 + extra
}

/// The directory of `entries` and what ends it, for a directory that begins at `offset`.
fn directory(entries: &[Entry], offset: u64) -> Vec<u8> {
    let mut out: Vec<u8> = entries.iter().flat_map(Entry::central_header).collect();
    let (count, size) = (entries.len() as u16, out.len() as u64);
    if offset >= u64::from(SATURATED) {
        let end64_offset = offset + size;
        out.extend(END64_SIGNATURE.to_le_bytes());
        out.extend((END64_BYTES as u64 - 12).to_le_bytes());
        out.extend(VERSION64.to_le_bytes());
        out.extend(VERSION64.to_le_bytes());
        out.extend([0; 4 + 4]);
        out.extend(u64::from(count).to_le_bytes());
        out.extend(u64::from(count).to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(offset.to_le_bytes());
        out.extend(LOCATOR_SIGNATURE.to_le_bytes());
        out.extend([0; 4]);
        out.extend(end64_offset.to_le_bytes());
        out.extend(1_u32.to_le_bytes());
    }
    out.extend(END_SIGNATURE.to_le_bytes());
    out.extend([0; 2 + 2]);
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend((size as u32).to_le_bytes());
    out.extend(saturate(offset).to_le_bytes());
    out.extend([0; 2]);
    out
}

/// How many bytes a ZIP of entries with these names and sizes has.
pub(super) fn planned_len(entries: &[(String, u64)]) -> u64 {
    let mut planned = Vec::with_capacity(entries.len());
    let mut offset = 0;
    for (name, size) in entries {
        let entry = Entry { name: name.clone(), size: *size, crc: 0, offset };
        offset = entry.end();
        planned.push(entry);
    }
    offset + directory(&planned, offset).len() as u64
}
