//! Reading a ZIP: nothing but its one form.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use crc32fast::Hasher;

use super::{
    CENTRAL_BYTES, CENTRAL_SIGNATURE, END_BYTES, END_SIGNATURE, END64_BYTES, END64_SIGNATURE, EXTRA64, Entry,
    LOCATOR_BYTES, SATURATED, directory,
};
use crate::{
    package::{PackageFault, Window},
    read_at::ReadAt,
};

/// The most entries a package or part has: 200 lots, the common part and the sealing's record fit.
const ENTRIES_MAX: usize = 512;
/// The most bytes of a directory: entries have short names.
const DIRECTORY_BYTES_MAX: u64 = 256 * 1024;
/// The longest name that the format has is far below this.
const NAME_BYTES_MAX: usize = 64;
/// How far back a comment may push the end of a directory.
const COMMENT_BYTES_MAX: u64 = 0xffff;

/// Reads the entries of a ZIP of `len` bytes. `is_name` tells which names the format has.
///
/// Everything but the entries' own bytes is proved to be in its one form. Checksums are another question,
/// see [`check_crc`].
pub(in crate::package) fn read_zip(
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
        if !is_name(&entry.name) {
            return Err(PackageFault::EntryName { entry: at });
        }
        if !names.insert(entry.name.clone()) {
            return Err(PackageFault::DuplicateEntry { entry: at });
        }
        if entries.last().is_some_and(|last| last.name > entry.name) {
            return Err(PackageFault::NotSorted { entry: at });
        }
        if entry.is_ambiguous() {
            return Err(PackageFault::AmbiguousLength { entry: at });
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
pub(in crate::package) fn read_entry(
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
pub(in crate::package) fn stream_entry(
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
pub(in crate::package) fn copy_hashing(
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
    let Some(at) = found else { return Ok(PackageFault::NotAZip) };
    let end = &tail[at..];
    // The end of a part within is not the end of a package that was cut.
    let directory_end = u64::from(u32_at(end, 12)) + u64::from(u32_at(end, 16));
    Ok(if END_BYTES + usize::from(u16_at(end, 20)) == end.len() {
        PackageFault::Comment
    } else if directory_end == from + at as u64 {
        PackageFault::TrailingBytes
    } else {
        PackageFault::NotAZip
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
