//! Writing a ZIP in its one form, in one pass.

use std::io::{self, Seek, SeekFrom, Write};

use crc32fast::Hasher;

use super::{Entry, LOCAL_CRC_AT, directory};
use crate::package::PackageFault;

/// Where packages are written: the checksum of an entry is known only behind its bytes.
pub(in crate::package) trait Out: Write + Seek {}

impl<T: Write + Seek> Out for T {}

/// Writes one ZIP at the place where `out` stands.
pub(in crate::package) struct ZipWriter<'a> {
    out: &'a mut dyn Out,
    base: u64,
    entries: Vec<Entry>,
    whole: Hasher,
}

impl<'a> ZipWriter<'a> {
    pub(in crate::package) fn new(out: &'a mut dyn Out) -> io::Result<Self> {
        let base = out.stream_position()?;
        Ok(Self { out, base, entries: Vec::new(), whole: Hasher::new() })
    }

    /// Adds an entry of `size` bytes, which `fill` writes and whose checksum it gives. Names must come in
    /// the order of their bytes.
    pub(in crate::package) fn entry<T>(
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
        if entry.is_ambiguous() {
            return Err(PackageFault::AmbiguousLength { entry: self.entries.len() + 1 });
        }
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
    pub(in crate::package) fn finish(mut self) -> Result<Hasher, PackageFault> {
        let offset = self.entries.last().map_or(0, Entry::end);
        let directory = directory(&self.entries, offset);
        self.out.write_all(&directory)?;
        self.whole.update(&directory);
        Ok(self.whole)
    }
}

/// Writes `bytes` as an entry's content.
pub(in crate::package) fn fill_with(
    bytes: &[u8],
) -> impl FnOnce(&mut dyn Out) -> Result<(Hasher, ()), PackageFault> + '_ {
    |out| {
        out.write_all(bytes)?;
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        Ok((hasher, ()))
    }
}
