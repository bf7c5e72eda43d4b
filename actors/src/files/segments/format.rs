//! How groups and indexes lie in their files (`docs/formats/files.md`, 2 and 4).

use crc32fast::Hasher;
use kaibiao_protocol::ids::FileId;

/// Groups begin at multiples of this.
pub(super) const BLOCK_BYTES: u64 = 4_096;
/// Entries of one group.
pub(super) const GROUP_ENTRIES_MAX: usize = 4_096;
/// Bytes of the payloads of one group, unless a single job brings more.
pub(super) const GROUP_PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// No group of ours is longer; a longer one is none.
const GROUP_BYTES_MAX: u64 = 64 << 20;

const GROUP: &[u8; 8] = b"KBGROUP1";
const INDEX: &[u8; 8] = b"KBINDEX1";
/// Bytes of a group's head.
pub(super) const HEAD_BYTES: usize = 40;
/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 48;
const INDEX_HEAD_BYTES: usize = 24;
const CRC_BYTES: usize = 4;

/// What a segment is called: its number, and a mark that no uploader knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SegmentName {
    pub(super) number: u32,
    pub(super) mark: [u8; 8],
}

/// What an entry says of its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Bytes of it, or that it exists.
    Piece,
    /// It is whole.
    Seal,
    /// It is deleted.
    Gone,
}

/// One entry of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entry {
    pub(super) id: FileId,
    pub(super) kind: Kind,
    pub(super) crc: u32,
    /// Where in the file its payload begins.
    pub(super) offset: u64,
    /// Of the payload.
    pub(super) bytes: u64,
    /// Where in the segment the payload begins.
    pub(super) at: u64,
}

/// A group's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) group: u32,
    pub(super) entries: usize,
    /// Of the whole group.
    pub(super) bytes: u64,
}

impl SegmentName {
    /// `N-MARK`, without the ending.
    pub(super) fn stem(&self) -> String {
        format!("{:08}-{}", self.number, hex::encode(self.mark))
    }

    /// The name that a file of this stem and ending has.
    pub(super) fn parse(file_name: &str, ending: &str) -> Option<Self> {
        let stem = file_name.strip_suffix(ending)?;
        let (number, mark) = stem.split_once('-')?;
        let mut name = Self { number: number.parse().ok()?, mark: [0; 8] };
        hex::decode_to_slice(mark, &mut name.mark).ok()?;
        (name.stem() == stem).then_some(name)
    }
}

impl Entry {
    /// An entry without a payload.
    pub(super) fn mark(id: FileId, kind: Kind) -> Self {
        Self { id, kind, crc: 0, offset: 0, bytes: 0, at: 0 }
    }

    fn write(&self, to: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Piece => 1,
            Kind::Seal => 2,
            Kind::Gone => 3,
        };
        to.extend_from_slice(&self.id.0);
        to.extend_from_slice(&[kind, 0, 0, 0]);
        to.extend_from_slice(&self.crc.to_le_bytes());
        for number in [self.offset, self.bytes, self.at] {
            to.extend_from_slice(&number.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let kind = match bytes.get(16..20)? {
            [1, 0, 0, 0] => Kind::Piece,
            [2, 0, 0, 0] => Kind::Seal,
            [3, 0, 0, 0] => Kind::Gone,
            _ => return None,
        };
        let entry = Self {
            id: FileId(bytes.get(..16)?.try_into().ok()?),
            kind,
            crc: u32_at(bytes, 20)?,
            offset: u64_at(bytes, 24)?,
            bytes: u64_at(bytes, 32)?,
            at: u64_at(bytes, 40)?,
        };
        let bare = entry == Self::mark(entry.id, kind);
        (kind == Kind::Piece || bare).then_some(entry)
    }
}

/// The crc of a payload.
pub(super) fn crc_of(payload: &[u8]) -> u32 {
    crc32fast::hash(payload)
}

/// Bytes that a group of so many entries and payload bytes has before its padding.
pub(super) fn bare_bytes(entries: usize, payload_bytes: u64) -> u64 {
    (HEAD_BYTES + entries * ENTRY_BYTES) as u64 + payload_bytes
}

/// Head and entries of a group that begins at `start`; sets where each payload lies.
pub(super) fn write_head(
    segment: &SegmentName,
    group: u32,
    start: u64,
    entries: &mut [Entry],
) -> (Head, Vec<u8>) {
    let mut at = start + bare_bytes(entries.len(), 0);
    for entry in entries.iter_mut().filter(|entry| entry.kind == Kind::Piece) {
        entry.at = at;
        at += entry.bytes;
    }
    let bytes = (at - start).next_multiple_of(BLOCK_BYTES);
    let mut text = Vec::with_capacity(HEAD_BYTES + entries.len() * ENTRY_BYTES);
    text.extend_from_slice(GROUP);
    let count = u32::try_from(entries.len()).expect("a group has few entries");
    let length = u32::try_from(bytes).expect("a group is short");
    for number in [segment.number, group, count, length] {
        text.extend_from_slice(&number.to_le_bytes());
    }
    text.extend_from_slice(&segment.mark);
    text.extend_from_slice(&[0; 8]);
    entries.iter().for_each(|entry| entry.write(&mut text));
    let crc = head_crc(&text);
    text[36..HEAD_BYTES].copy_from_slice(&crc.to_le_bytes());
    (Head { group, entries: entries.len(), bytes }, text)
}

/// The head of a group, if these first bytes are one's; its crc is not looked at yet.
pub(super) fn read_head(segment: &SegmentName, bytes: &[u8]) -> Option<Head> {
    let ours = bytes.get(..8)? == GROUP
        && u32_at(bytes, 8)? == segment.number
        && *bytes.get(24..32)? == segment.mark
        && u32_at(bytes, 32)? == 0;
    let head = Head {
        group: u32_at(bytes, 12)?,
        entries: usize::try_from(u32_at(bytes, 16)?).ok()?,
        bytes: u32_at(bytes, 20)?.into(),
    };
    let fits = (1..=GROUP_ENTRIES_MAX).contains(&head.entries)
        && head.bytes.is_multiple_of(BLOCK_BYTES)
        && head.bytes <= GROUP_BYTES_MAX
        && head.bytes >= bare_bytes(head.entries, 0);
    (ours && fits).then_some(head)
}

/// The entries of a group that begins at `start`, from its first bytes; none if they do not hold.
pub(super) fn read_entries(head: &Head, start: u64, bytes: &[u8]) -> Option<Vec<Entry>> {
    let text = bytes.get(..HEAD_BYTES + head.entries * ENTRY_BYTES)?;
    if head_crc(text) != u32_at(text, 36)? {
        return None;
    }
    let entries: Vec<Entry> =
        text[HEAD_BYTES..].chunks(ENTRY_BYTES).map(Entry::read).collect::<Option<_>>()?;
    let mut at = start + bare_bytes(head.entries, 0);
    for entry in entries.iter().filter(|entry| entry.kind == Kind::Piece) {
        if entry.at != at {
            return None;
        }
        at = at.checked_add(entry.bytes)?;
    }
    (at <= start + head.bytes).then_some(entries)
}

/// An index's text.
pub(super) fn write_index(segment: &SegmentName, entries: &[Entry]) -> Vec<u8> {
    let mut text = Vec::with_capacity(INDEX_HEAD_BYTES + entries.len() * ENTRY_BYTES + CRC_BYTES);
    text.extend_from_slice(INDEX);
    text.extend_from_slice(&segment.number.to_le_bytes());
    let count = u32::try_from(entries.len()).expect("a segment has few entries");
    text.extend_from_slice(&count.to_le_bytes());
    text.extend_from_slice(&segment.mark);
    entries.iter().for_each(|entry| entry.write(&mut text));
    let crc = crc_of(&text);
    text.extend_from_slice(&crc.to_le_bytes());
    text
}

/// The entries of an index; none if it does not hold or is another segment's.
pub(super) fn read_index(segment: &SegmentName, text: &[u8]) -> Option<Vec<Entry>> {
    let (body, crc) = text.split_at_checked(text.len().checked_sub(CRC_BYTES)?)?;
    let ours = body.get(..8)? == INDEX
        && u32_at(body, 8)? == segment.number
        && *body.get(16..INDEX_HEAD_BYTES)? == segment.mark
        && crc_of(body) == u32_at(crc, 0)?;
    let entries = body.get(INDEX_HEAD_BYTES..)?;
    let count = usize::try_from(u32_at(body, 12)?).ok()?;
    if !ours || entries.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    entries.chunks(ENTRY_BYTES).map(Entry::read).collect()
}

/// Over the head up to its crc, and the entries.
fn head_crc(text: &[u8]) -> u32 {
    let mut crc = Hasher::new();
    crc.update(&text[..36]);
    crc.update(&text[HEAD_BYTES..]);
    crc.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: SegmentName = SegmentName { number: 1, mark: *b"drawn so" };

    fn example() -> (Head, Vec<u8>, Vec<Entry>) {
        let id = FileId(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let piece = Entry { id, kind: Kind::Piece, crc: crc_of(b"abc"), offset: 0, bytes: 3, at: 0 };
        let mut entries = vec![piece, Entry::mark(id, Kind::Seal)];
        let (head, text) = write_head(&NAME, 0, 0, &mut entries);
        (head, text, entries)
    }

    #[test]
    fn the_example_of_the_specification_is_written_so() {
        let (head, text, entries) = example();
        assert_eq!(head, Head { group: 0, entries: 2, bytes: 4_096 });
        let told = hex::encode(&text[HEAD_BYTES..]);
        assert_eq!(
            told,
            concat!(
                "000102030405060708090a0b0c0d0e0f01000000c2412435",
                "000000000000000003000000000000008800000000000000",
                "000102030405060708090a0b0c0d0e0f0200000000000000",
                "000000000000000000000000000000000000000000000000"
            )
        );
        assert_eq!(entries[0].at, 136);
    }

    #[test]
    fn a_group_is_read_as_it_was_written_and_each_changed_byte_is_noticed() {
        let (head, text, entries) = example();
        let read = |text: &[u8]| read_head(&NAME, text).and_then(|head| read_entries(&head, 0, text));
        assert_eq!(read_head(&NAME, &text), Some(head));
        assert_eq!(read(&text), Some(entries));
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed), None, "byte {at}");
            assert_eq!(read(&text[..at]), None, "cut at {at}");
        }
        assert_eq!(read_head(&SegmentName { mark: *b"guessed!", ..NAME }, &text), None);
        assert_eq!(read_head(&SegmentName { number: 2, ..NAME }, &text), None);
    }

    #[test]
    fn an_index_is_read_as_it_was_written_and_each_changed_byte_is_noticed() {
        let (_, _, entries) = example();
        let text = write_index(&NAME, &entries);
        assert_eq!(read_index(&NAME, &text), Some(entries));
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_eq!(read_index(&NAME, &changed), None, "byte {at}");
            assert_eq!(read_index(&NAME, &text[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_segment_s_name_is_one_text() {
        let stem = NAME.stem();
        assert_eq!(stem, "00000001-647261776e20736f");
        assert_eq!(SegmentName::parse(&format!("{stem}.segment"), ".segment"), Some(NAME));
        for other in
            ["1-647261776e20736f", "00000001-647261776E20736f", "00000001", "+0000001-647261776e20736f"]
        {
            assert_eq!(SegmentName::parse(&format!("{other}.segment"), ".segment"), None, "{other}");
        }
    }
}
