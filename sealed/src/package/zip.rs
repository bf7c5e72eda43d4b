//! ZIP with one byte form: stored entries, sorted names, nothing optional.
//!
//! Everything around the entries' bytes is a function of their names, lengths and checksums. The writer
//! forms it, and the reader forms it again from what it read and compares.

use std::{
    collections::BTreeSet,
    io::{self, Read, Seek, SeekFrom, Write},
};

use crc32fast::Hasher;

use super::{PackageFault, window::Window};
use crate::read_at::ReadAt;

/// The most entries a package or part has: 200 lots, the common part and the sealing's record fit.
const ENTRIES_MAX: usize = 512;
/// The most bytes of a directory: entries have short names.
const DIRECTORY_BYTES_MAX: u64 = 256 * 1024;
/// The longest name that the format has is far below this.
const NAME_BYTES_MAX: usize = 64;

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
/// How far back a comment may push the end of a directory.
const COMMENT_BYTES_MAX: u64 = 0xffff;

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

// ---- Writing.

/// Where packages are written: the checksum of an entry is known only behind its bytes.
pub(super) trait Out: Write + Seek {}

impl<T: Write + Seek> Out for T {}

/// Writes one ZIP at the place where `out` stands.
pub(super) struct ZipWriter<'a> {
    out: &'a mut dyn Out,
    base: u64,
    entries: Vec<Entry>,
    whole: Hasher,
}

impl<'a> ZipWriter<'a> {
    pub(super) fn new(out: &'a mut dyn Out) -> io::Result<Self> {
        let base = out.stream_position()?;
        Ok(Self { out, base, entries: Vec::new(), whole: Hasher::new() })
    }

    /// Adds an entry of `size` bytes, which `fill` writes and whose checksum it gives. Names must come in
    /// the order of their bytes.
    pub(super) fn entry<T>(
        &mut self,
        name: &str,
        size: u64,
        fill: impl FnOnce(&mut dyn Out) -> Result<(Hasher, T), PackageFault>,
    ) -> Result<T, PackageFault> {
        debug_assert!(
            self.entries.last().is_none_or(|last| last.name.as_str() < name),
            "{name} out of order"
        );
        let offset = self.entries.last().map_or(0, Entry::end);
        let mut entry = Entry { name: name.to_owned(), size, crc: 0, offset };
        self.out.write_all(&entry.local_header())?;
        let (hasher, value) = fill(&mut *self.out)?;
        let end = self.out.stream_position()?;
        if end != self.base + entry.end() {
            return Err(io::Error::other("an entry changed its length while it was written").into());
        }
        // The checksum of all is put together from those of the pieces, so no byte is read twice.
        entry.crc = hasher.clone().finalize();
        self.whole.update(&entry.local_header());
        self.whole.combine(&hasher);
        self.out.seek(SeekFrom::Start(self.base + offset + LOCAL_CRC_AT))?;
        self.out.write_all(&entry.crc.to_le_bytes())?;
        self.out.seek(SeekFrom::Start(end))?;
        self.entries.push(entry);
        Ok(value)
    }

    /// Writes the directory; gives the checksum of the whole ZIP.
    pub(super) fn finish(mut self) -> Result<Hasher, PackageFault> {
        let offset = self.entries.last().map_or(0, Entry::end);
        let directory = directory(&self.entries, offset);
        self.out.write_all(&directory)?;
        self.whole.update(&directory);
        Ok(self.whole)
    }
}

/// Writes `bytes` as an entry's content.
pub(super) fn fill_with(
    bytes: &[u8],
) -> impl FnOnce(&mut dyn Out) -> Result<(Hasher, ()), PackageFault> + '_ {
    |out| {
        out.write_all(bytes)?;
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        Ok((hasher, ()))
    }
}

// ---- Reading.

/// Reads the entries of a ZIP of `len` bytes. `is_name` tells which names the format has.
///
/// Everything but the entries' own bytes is proved to be in its one form. Checksums are another question,
/// see [`check_crc`].
pub(super) fn read_zip(
    source: &dyn ReadAt,
    len: u64,
    is_name: fn(&str) -> bool,
) -> Result<Vec<Entry>, PackageFault> {
    let end = End::find(source, len)?;
    let mut bytes =
        vec![0; usize::try_from(len - end.directory_offset).map_err(|_| PackageFault::EntryCount)?];
    source.read_exact_at(&mut bytes, end.directory_offset)?;

    let mut entries: Vec<Entry> = Vec::with_capacity(end.count);
    let mut names = BTreeSet::new();
    let mut rest = bytes.as_slice();
    for at in 1..=end.count {
        let (entry, header_len) = read_central(rest, at)?;
        if !names.insert(entry.name.clone()) {
            return Err(PackageFault::DuplicateEntry { entry: at });
        }
        if entries.last().is_some_and(|last| last.name > entry.name) {
            return Err(PackageFault::NotSorted { entry: at });
        }
        if !is_name(&entry.name) {
            return Err(PackageFault::EntryName { entry: at });
        }
        if entry.central_header() != rest[..header_len] {
            return Err(PackageFault::DirectoryField { entry: at });
        }
        rest = &rest[header_len..];
        entries.push(entry);
    }

    let mut expected = 0;
    for (at, entry) in (1..).zip(&entries) {
        if entry.offset != expected {
            return Err(PackageFault::Gap);
        }
        expected = entry.end();
        if expected > end.directory_offset {
            return Err(PackageFault::Gap);
        }
        let wanted = entry.local_header();
        let mut found = vec![0; wanted.len()];
        source.read_exact_at(&mut found, entry.offset)?;
        if found != wanted {
            return Err(PackageFault::HeadersDisagree { entry: at });
        }
    }
    if expected != end.directory_offset {
        return Err(PackageFault::Gap);
    }
    // Covers what ends the directory; the entries' part of it was compared above.
    if directory(&entries, expected) != bytes {
        return Err(PackageFault::Zip64Form);
    }
    Ok(entries)
}

/// Reads a whole entry of at most `max` bytes and checks its checksum. `at` is its number from 1.
pub(super) fn read_entry(
    source: &dyn ReadAt,
    entry: &Entry,
    at: usize,
    max: u64,
) -> Result<Option<Vec<u8>>, PackageFault> {
    if entry.size > max {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(entry.size).map_err(|_| PackageFault::EntryCount)?];
    source.read_exact_at(&mut bytes, entry.data_offset())?;
    if crc32fast::hash(&bytes) != entry.crc {
        return Err(PackageFault::Checksum { entry: at });
    }
    Ok(Some(bytes))
}

/// Reads a whole entry piece by piece, hands each to `take`, and checks the checksum at the end.
pub(super) fn stream_entry(
    source: &dyn ReadAt,
    entry: &Entry,
    at: usize,
    take: &mut dyn FnMut(&[u8]) -> Result<(), PackageFault>,
) -> Result<Hasher, PackageFault> {
    let mut reader = Window::new(source, entry.data_offset(), entry.size).reader();
    let hasher = copy_hashing(&mut reader, take)?;
    if hasher.clone().finalize() != entry.crc {
        return Err(PackageFault::Checksum { entry: at });
    }
    Ok(hasher)
}

/// Reads to the end, piece by piece; gives the checksum.
pub(super) fn copy_hashing(
    reader: &mut dyn Read,
    take: &mut dyn FnMut(&[u8]) -> Result<(), PackageFault>,
) -> Result<Hasher, PackageFault> {
    let mut hasher = Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = match reader.read(&mut piece) {
            Ok(0) => return Ok(hasher),
            Ok(count) => count,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            Err(fault) => return Err(fault.into()),
        };
        hasher.update(&piece[..count]);
        take(&piece[..count])?;
    }
}

/// How much is read at once: sixteen chunks of a sealed part.
const PIECE_BYTES: usize = 256 * 1024;

/// What ends a directory.
struct End {
    count: usize,
    directory_offset: u64,
}

impl End {
    fn find(source: &dyn ReadAt, len: u64) -> Result<Self, PackageFault> {
        let Some(end_offset) = len.checked_sub(END_BYTES as u64) else {
            return Err(PackageFault::NotAZip);
        };
        let mut bytes = [0; END_BYTES];
        source.read_exact_at(&mut bytes, end_offset)?;
        if u32_at(&bytes, 0) != END_SIGNATURE {
            return Err(why_no_end(source, len)?);
        }
        if u16_at(&bytes, 20) != 0 {
            return Err(PackageFault::Comment);
        }
        if u16_at(&bytes, 4) != 0 || u16_at(&bytes, 6) != 0 || u16_at(&bytes, 8) != u16_at(&bytes, 10) {
            return Err(PackageFault::SeveralDisks);
        }
        let count = usize::from(u16_at(&bytes, 10));
        if count == 0 || count > ENTRIES_MAX {
            return Err(PackageFault::EntryCount);
        }
        let size = u64::from(u32_at(&bytes, 12));
        let (directory_offset, directory_end) = match u32_at(&bytes, 16) {
            SATURATED => Self::read_64(source, end_offset)?,
            offset => (u64::from(offset), end_offset),
        };
        if size > DIRECTORY_BYTES_MAX {
            return Err(PackageFault::EntryCount);
        }
        if directory_offset.checked_add(size) != Some(directory_end) {
            return Err(PackageFault::Gap);
        }
        Ok(Self { count, directory_offset })
    }

    /// The directory's offset and end, from the 64-bit form before the 32-bit one.
    fn read_64(source: &dyn ReadAt, end_offset: u64) -> Result<(u64, u64), PackageFault> {
        let end64_offset =
            end_offset.checked_sub((LOCATOR_BYTES + END64_BYTES) as u64).ok_or(PackageFault::Zip64Form)?;
        let mut bytes = [0; END64_BYTES];
        source.read_exact_at(&mut bytes, end64_offset)?;
        if u32_at(&bytes, 0) != END64_SIGNATURE {
            return Err(PackageFault::Zip64Form);
        }
        // Every field of it is compared once the entries are known.
        Ok((u64_at(&bytes, 48), end64_offset))
    }
}

/// No directory ends at the end of the bytes: says why, as well as can be told.
fn why_no_end(source: &dyn ReadAt, len: u64) -> Result<PackageFault, PackageFault> {
    let from = len.saturating_sub(END_BYTES as u64 + COMMENT_BYTES_MAX);
    let mut tail = vec![0; (len - from) as usize];
    source.read_exact_at(&mut tail, from)?;
    let found = tail.windows(END_BYTES).rposition(|window| u32_at(window, 0) == END_SIGNATURE);
    Ok(match found {
        None => PackageFault::NotAZip,
        Some(at) if at + END_BYTES + usize::from(u16_at(&tail, at + 20)) == tail.len() => {
            PackageFault::Comment
        }
        Some(_) => PackageFault::TrailingBytes,
    })
}

/// Reads the header of the directory that `bytes` begin with; gives the entry and the header's length.
fn read_central(bytes: &[u8], at: usize) -> Result<(Entry, usize), PackageFault> {
    if bytes.len() < CENTRAL_BYTES || u32_at(bytes, 0) != CENTRAL_SIGNATURE {
        return Err(PackageFault::DirectoryField { entry: at });
    }
    let flags = u16_at(bytes, 8);
    if flags & 1 != 0 {
        return Err(PackageFault::Encrypted { entry: at });
    }
    if flags & 8 != 0 {
        return Err(PackageFault::DataDescriptor { entry: at });
    }
    if u16_at(bytes, 10) != 0 {
        return Err(PackageFault::Compressed { entry: at });
    }
    if u16_at(bytes, 32) != 0 {
        return Err(PackageFault::Comment);
    }
    if u16_at(bytes, 34) != 0 {
        return Err(PackageFault::SeveralDisks);
    }
    let (name_len, extra_len) = (usize::from(u16_at(bytes, 28)), usize::from(u16_at(bytes, 30)));
    let name_end = CENTRAL_BYTES + name_len;
    let header_len = name_end + extra_len;
    if name_len > NAME_BYTES_MAX {
        return Err(PackageFault::EntryName { entry: at });
    }
    if bytes.len() < header_len {
        return Err(PackageFault::DirectoryField { entry: at });
    }
    let name = std::str::from_utf8(&bytes[CENTRAL_BYTES..name_end])
        .map_err(|_| PackageFault::EntryName { entry: at })?;
    let mut wide = Wide::new(&bytes[name_end..header_len], at)?;
    let size = wide.value(u32_at(bytes, 24))?;
    // The stored length is the same; the comparison with the one form proves it.
    wide.value(u32_at(bytes, 20))?;
    let offset = wide.value(u32_at(bytes, 42))?;
    if !wide.values.is_empty() {
        return Err(PackageFault::ExtraField { entry: at });
    }
    let entry = Entry { name: name.to_owned(), size, crc: u32_at(bytes, 16), offset };
    // A sum beyond any file would overflow later.
    if offset.checked_add(size).is_none_or(|end| end > u64::MAX / 2) {
        return Err(PackageFault::DirectoryField { entry: at });
    }
    Ok((entry, header_len))
}

/// The 64-bit values of an extra field, taken one by one.
struct Wide<'a> {
    values: &'a [u8],
    at: usize,
}

impl<'a> Wide<'a> {
    fn new(extra: &'a [u8], at: usize) -> Result<Self, PackageFault> {
        let values = match extra {
            [] => extra,
            [_, _, _, _, values @ ..]
                if u16_at(extra, 0) == EXTRA64 && usize::from(u16_at(extra, 2)) == values.len() =>
            {
                values
            }
            _ => return Err(PackageFault::ExtraField { entry: at }),
        };
        Ok(Self { values, at })
    }

    fn value(&mut self, narrow: u32) -> Result<u64, PackageFault> {
        if narrow != SATURATED {
            return Ok(u64::from(narrow));
        }
        if self.values.len() < 8 {
            return Err(PackageFault::Zip64Form);
        }
        let (value, rest) = self.values.split_at(8);
        self.values = rest;
        let value = u64_at(value, 0);
        // 64 bits for what 32 can say would be a second form of the same package.
        if value < u64::from(SATURATED) {
            Err(PackageFault::ExtraField { entry: self.at })
        } else {
            Ok(value)
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
