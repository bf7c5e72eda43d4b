//! What a start finds in the segments, and what of it counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    super::{
        FileFault,
        local::{make_folder, sync_folder},
    },
    INDEX, SEGMENT,
    format::{
        BLOCK_BYTES, ENTRY_BYTES, Entry, HEAD_BYTES, Head, Kind, SegmentName, crc_of, read_entries,
        read_head, read_index,
    },
    handles::Handles,
    table::{Extent, Kept, Part, Place, Small, Table},
    writer::{Segment, keep_index},
};

/// What a start found; to be logged, and damage to be looked into.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct SegmentsFound {
    /// Segments.
    pub segments: u64,
    /// Segments that had no index and were read.
    pub read: u64,
    /// Small files that count.
    pub files: u64,
    /// Bytes of torn tails: written, and never acknowledged.
    pub torn_bytes: u64,
    /// Pieces of last groups whose bytes did not come through.
    pub torn_pieces: u64,
    /// Bytes in the middle of segments that are no whole groups: damage.
    pub damaged_bytes: u64,
}

/// What the store begins with.
pub(super) struct Started {
    pub(super) table: Table,
    pub(super) handles: Handles,
    pub(super) segments: BTreeMap<u32, Segment>,
    pub(super) next_number: u32,
    /// Room of deleted files that may not have been given back.
    pub(super) freed: Vec<Extent>,
    pub(super) found: SegmentsFound,
}

pub(super) fn start(folder: &Path) -> Result<Started, FileFault> {
    make_folder(folder)?;
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(FileFault::disk("read", folder))? {
        let file_name = entry.map_err(FileFault::disk("read", folder))?.file_name();
        // Anything else in there is none of ours, or an index.
        let name = file_name.to_str().and_then(|name| SegmentName::parse(name, SEGMENT));
        if let Some(name) = name {
            names.insert(name, ());
        }
    }
    let mut started = Started {
        table: Table::default(),
        handles: Handles::new(folder),
        segments: BTreeMap::new(),
        next_number: 1,
        freed: Vec::new(),
        found: SegmentsFound::default(),
    };
    for name in names.into_keys() {
        started.take_segment(name)?;
    }
    sync_folder(folder)?;
    started.settle();
    Ok(started)
}

impl Started {
    fn take_segment(&mut self, name: SegmentName) -> Result<(), FileFault> {
        let path = self.handles.path(&name, SEGMENT);
        self.handles.add(name, None);
        self.next_number = self.next_number.max(name.number + 1);
        self.found.segments += 1;
        let index = fs::read(self.handles.path(&name, INDEX)).ok();
        let indexed = index.and_then(|text| read_index(&name, &text));
        let was_read = indexed.is_none();
        let entries = match indexed {
            Some(entries) => entries,
            None => {
                self.found.read += 1;
                let read = read_segment(&name, &path, &mut self.found);
                let entries = read.map_err(FileFault::disk("read", &path))?;
                if let Err(fault) = keep_index(&self.handles, &name, &entries) {
                    tracing::warn!(%fault, segment = name.stem(), "a segment has no index");
                }
                entries
            }
        };
        self.segments.insert(name.number, Segment { name, live: 0, speaks_of: BTreeSet::new() });
        for entry in entries {
            self.take(name.number, entry, was_read);
        }
        Ok(())
    }

    fn take(&mut self, segment: u32, entry: Entry, frees: bool) {
        let extent = Extent { segment, at: entry.at, bytes: entry.bytes };
        let mut gone = Vec::new();
        match entry.kind {
            Kind::Piece => {
                let known = self.table.files.entry(entry.id).or_insert_with(|| Small::Live(Box::default()));
                let Small::Live(live) = known else { return };
                live.told = true;
                let present = live.bytes();
                if live.sealed || entry.offset > present {
                    return;
                }
                let mut end = 0;
                live.parts.retain(|part| {
                    let stays = end + part.bytes <= entry.offset;
                    if !stays {
                        gone.extend(part.extent());
                    }
                    end += part.bytes;
                    stays
                });
                if live.bytes() != entry.offset {
                    // It begins within an older piece: none of ours does.
                    return;
                }
                match entry.bytes {
                    0 => live.others.push(extent),
                    bytes => live.parts.push(Part {
                        no: self.table.next_part,
                        bytes,
                        place: Place::Disk { segment, at: entry.at },
                    }),
                }
                self.table.next_part += 1;
                self.count(segment, 1);
            }
            Kind::Seal => {
                if self.table.live(&entry.id).is_some_and(|live| !live.sealed)
                    && self.table.seal(&entry.id, segment)
                {
                    self.count(segment, 1);
                }
            }
            Kind::Gone => {
                match self.table.files.remove(&entry.id) {
                    Some(Small::Kept(Kept { piece, seal_segment })) => {
                        gone.extend([piece, Extent { segment: seal_segment, at: 0, bytes: 0 }]);
                    }
                    Some(Small::Live(live)) => gone.extend(live.extents()),
                    None => return,
                }
                let elsewhere = gone.iter().map(|extent| extent.segment).filter(|one| *one != segment);
                if let Some(own) = self.segments.get_mut(&segment) {
                    own.speaks_of.extend(elsewhere);
                }
            }
        }
        if frees {
            self.freed.extend(gone);
        } else {
            gone.iter().for_each(|extent| self.count(extent.segment, -1));
        }
    }

    fn count(&mut self, segment: u32, by: i64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live = segment.live.saturating_add_signed(by);
        }
    }

    fn settle(&mut self) {
        self.found.files = self.table.files.len() as u64;
        let SegmentsFound { read, torn_bytes, torn_pieces, damaged_bytes, .. } = self.found;
        if damaged_bytes > 0 {
            tracing::error!(
                damaged_bytes,
                "small files were damaged on the disk: bids among them will fail as damaged"
            );
        }
        if torn_bytes + torn_pieces > 0 {
            tracing::warn!(
                segments = read,
                torn_bytes,
                torn_pieces,
                "a segment ended within a group that nobody was told of"
            );
        }
    }
}

/// Reads the groups of a segment that has no index, and syncs it: what counts is told of from now on.
fn read_segment(name: &SegmentName, path: &Path, found: &mut SegmentsFound) -> io::Result<Vec<Entry>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let mut entries: Vec<Entry> = Vec::new();
    let mut last_group = 0;
    let (mut position, mut whole_until) = (0, 0);
    let mut next_group = 0;
    while position < length {
        match read_group(name, &file, position, length)? {
            Some((head, of_group)) if head.group >= next_group => {
                found.damaged_bytes += position - whole_until;
                last_group = entries.len();
                entries.extend(of_group);
                next_group = head.group + 1;
                position += head.bytes;
                whole_until = position;
            }
            Some(_) | None => position += BLOCK_BYTES,
        }
    }
    found.torn_bytes += length.saturating_sub(whole_until);
    let mut of_last = entries.split_off(last_group);
    let mut fault = None;
    of_last.retain(|entry| match payload_holds(&file, entry) {
        Ok(holds) => {
            found.torn_pieces += u64::from(!holds);
            holds
        }
        Err(unreadable) => {
            fault = Some(unreadable);
            false
        }
    });
    if let Some(fault) = fault {
        return Err(fault);
    }
    entries.extend(of_last);
    file.sync_data()?;
    Ok(entries)
}

/// The group that begins at `position`, if one does and is whole.
fn read_group(
    name: &SegmentName,
    file: &File,
    position: u64,
    length: u64,
) -> io::Result<Option<(Head, Vec<Entry>)>> {
    let mut text = vec![0; HEAD_BYTES];
    if position + BLOCK_BYTES > length {
        return Ok(None);
    }
    file.read_exact_at(&mut text, position)?;
    let Some(head) = read_head(name, &text).filter(|head| position + head.bytes <= length) else {
        return Ok(None);
    };
    text.resize(HEAD_BYTES + head.entries * ENTRY_BYTES, 0);
    file.read_exact_at(&mut text, position)?;
    Ok(read_entries(&head, position, &text).map(|entries| (head, entries)))
}

fn payload_holds(file: &File, entry: &Entry) -> io::Result<bool> {
    if entry.kind != Kind::Piece {
        return Ok(true);
    }
    let mut payload = vec![0; usize::try_from(entry.bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut payload, entry.at)?;
    Ok(crc_of(&payload) == entry.crc)
}
