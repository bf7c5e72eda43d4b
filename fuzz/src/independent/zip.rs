//! A ZIP read twice, as other programs read one: from its front by local headers, and from its end by the directory.

/// An entry: its name and its bytes.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// The entries as a reader finds them that streams from the first byte; `None` where it gives up.
pub fn from_front(file: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    let mut rest = file;
    while number(rest, 0, 4)? == 0x0403_4b50 {
        let size = number(rest, 18, 4)?;
        let (name, extra) = (number(rest, 26, 2)?, number(rest, 28, 2)?);
        let begin = 30 + name + extra;
        let bytes = rest.get(begin..begin.checked_add(size)?)?;
        if number(rest, 8, 2)? != 0 || number(rest, 14, 4)? != crc32fast::hash(bytes) as usize {
            return None;
        }
        entries.push((rest.get(30..30 + name)?, bytes));
        rest = &rest[begin + size..];
    }
    Some(entries)
}

/// The entries as a reader finds them that looks for the last end record and believes it.
pub fn from_end(file: &[u8]) -> Option<Vec<Entry<'_>>> {
    let end = (0..=file.len().checked_sub(22)?).rev().find(|at| number(file, *at, 4) == Some(0x0605_4b50))?;
    let (count, mut at) = (number(file, end + 10, 2)?, number(file, end + 16, 4)?);
    let mut entries = Vec::new();
    for _ in 0..count {
        if number(file, at, 4)? != 0x0201_4b50 {
            return None;
        }
        let (size, name) = (number(file, at + 20, 4)?, number(file, at + 28, 2)?);
        let local = number(file, at + 42, 4)?;
        let begin = local + 30 + number(file, local + 26, 2)? + number(file, local + 28, 2)?;
        entries.push((file.get(at + 46..at + 46 + name)?, file.get(begin..begin.checked_add(size)?)?));
        at += 46 + name + number(file, at + 30, 2)? + number(file, at + 32, 2)?;
    }
    Some(entries)
}

/// Writes a ZIP of stored entries in the one form our packages have, in the order given.
pub fn write(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let offset = out.len() as u32;
        // Version needed, flags, method, time, 1980-01-01, checksum, lengths twice, the name's, no extra field.
        let mut common = vec![10, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32fast::hash(bytes).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((bytes.len() as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(bytes);
        directory.extend(b"PK\x01\x02\x0a\0");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (begin, len, count) = (out.len() as u32, directory.len() as u32, entries.len() as u16);
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(len.to_le_bytes());
    out.extend(begin.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn number(bytes: &[u8], at: usize, len: usize) -> Option<usize> {
    let bytes = bytes.get(at..at.checked_add(len)?)?;
    Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}
