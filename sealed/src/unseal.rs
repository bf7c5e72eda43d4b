//! Opening a part: any range of its chunks, at any place, by many threads at once.
//!
//! Nothing here writes plaintext anywhere but into the buffers of the caller, and nothing is hashed: the bytes
//! were hashed when they arrived, and each chunk authenticates itself.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use kaibiao_protocol::bid::PartName;

use crate::{
    binding::part_context,
    cobblestone::{CHUNK_BYTES, ChunkCipher, NotTheKey, Prefix, SEALED_CHUNK_BYTES, clear_bytes},
    header::Header,
    key::PartKey,
    read_at::ReadAt,
};

/// Chunks read by one call to the system: 256 KiB stay in a core's cache while they are opened.
const BATCH_CHUNKS: u64 = 16;

/// Why a part does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// The bid has no such part.
    #[error("the bid has no part {0}")]
    NoSuchPart(PartName),
    /// The key is not the one the part's commitment fixes; nothing was decrypted.
    #[error("the key is not the one this was sealed with")]
    WrongKey,
    /// The body has a length that no message has: it was cut, most likely between two chunks.
    #[error("no sealed part has this length")]
    Length,
    /// A chunk is not what was sealed at its place.
    #[error("chunk {chunk} is damaged")]
    Damaged {
        /// Number of the chunk within its part, from 0.
        chunk: u64,
    },
    /// The file ends before the part does.
    #[error("the file ends early")]
    Cut,
    /// The file goes on behind the last part.
    #[error("the file goes on behind the last part")]
    TrailingBytes,
    /// The file could not be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(io::Error),
}

impl OpenFault {
    /// The fault's name in `docs/formats/sealed-bid.md`.
    pub fn code(&self) -> &'static str {
        match self {
            OpenFault::NoSuchPart(_) => "no_such_part",
            OpenFault::WrongKey => "wrong_key",
            OpenFault::Length => "part_length",
            OpenFault::Damaged { .. } => "chunk_damaged",
            OpenFault::Cut => "cut",
            OpenFault::TrailingBytes => "trailing_bytes",
            OpenFault::Unreadable(_) => "unreadable",
        }
    }
}

impl From<NotTheKey> for OpenFault {
    fn from(NotTheKey: NotTheKey) -> Self {
        OpenFault::WrongKey
    }
}

impl From<io::Error> for OpenFault {
    fn from(fault: io::Error) -> Self {
        match fault.kind() {
            io::ErrorKind::UnexpectedEof => OpenFault::Cut,
            _ => OpenFault::Unreadable(fault),
        }
    }
}

/// Opens the chunks of one part. Having one proves that the key is the right one.
pub struct PartOpener {
    cipher: ChunkCipher,
    /// Where the body begins in the file.
    offset: u64,
    /// Sealed bytes of the body.
    length: u64,
    clear: u64,
    /// Whether the last chunk was seen to be the last one, and with it the length.
    end_proved: AtomicBool,
}

impl PartOpener {
    /// An opener for one part of a bid. The key is compared with the part's commitment, in constant time.
    ///
    /// # Errors
    /// There is no such part, or the key is not the one it was sealed with.
    pub fn new(header: &Header, part: PartName, key: &PartKey) -> Result<Self, OpenFault> {
        let place = header.part(part).ok_or(OpenFault::NoSuchPart(part))?;
        let context = part_context(&header.binding_digest, part);
        Self::of_message(
            key.expose(),
            context.as_bytes(),
            &place.stated.prefix,
            place.offset..place.offset + place.stated.length,
        )
    }

    /// An opener for any Cobblestone-256 message whose body lies at `body` in its file.
    ///
    /// # Errors
    /// The key is not the one committed to, or no body has that length.
    pub fn of_message(
        key: &[u8],
        context: &[u8],
        prefix: &Prefix,
        body: Range<u64>,
    ) -> Result<Self, OpenFault> {
        let cipher = ChunkCipher::resume(key, context, prefix)?;
        let length = body.end.checked_sub(body.start).ok_or(OpenFault::Length)?;
        let clear = clear_bytes(length).ok_or(OpenFault::Length)?;
        Ok(Self { cipher, offset: body.start, length, clear, end_proved: AtomicBool::new(false) })
    }

    /// Chunks of the part; at least one.
    pub fn chunks(&self) -> u64 {
        self.clear / CHUNK_BYTES as u64 + 1
    }

    /// Clear bytes of the part. Proved by the first [`PartOpener::read_at`], or by checking the last chunk.
    pub fn clear_len(&self) -> u64 {
        self.clear
    }

    /// Sealed bytes of a range of chunks.
    pub fn sealed_bytes(&self, range: &Range<u64>) -> u64 {
        let sealed = SEALED_CHUNK_BYTES as u64;
        (range.end * sealed).min(self.length) - (range.start * sealed).min(self.length)
    }

    /// Checks a range of chunks and discards what they hold. `scratch` is grown to 256 KiB and may be used again.
    ///
    /// # Errors
    /// A chunk is damaged, or the file is cut or unreadable.
    ///
    /// # Panics
    /// If the range reaches beyond [`PartOpener::chunks`].
    pub fn check_chunks(
        &self,
        file: &dyn ReadAt,
        range: Range<u64>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), OpenFault> {
        self.open_chunks(file, range, scratch, |_, _| ())
    }

    /// Reads clear bytes from `offset` on into `buf`; gives how many there are, fewer than asked only at the end.
    /// The part's length is authenticated before anything is given out.
    ///
    /// # Errors
    /// A chunk is damaged, or the file is cut or unreadable.
    pub fn read_at(&self, file: &dyn ReadAt, offset: u64, buf: &mut [u8]) -> Result<usize, OpenFault> {
        let mut scratch = Vec::new();
        let last = self.chunks() - 1;
        if !self.end_proved.load(Ordering::Acquire) {
            self.check_chunks(file, last..last + 1, &mut scratch)?;
        }
        let wanted = offset..offset.saturating_add(buf.len() as u64).min(self.clear);
        if wanted.is_empty() {
            return Ok(0);
        }
        let chunk_bytes = CHUNK_BYTES as u64;
        let chunks = wanted.start / chunk_bytes..(wanted.end - 1) / chunk_bytes + 1;
        self.open_chunks(file, chunks, &mut scratch, |number, clear| {
            // The chunk's part of what is wanted; both ends lie in the buffer and in the chunk.
            let begin = number * chunk_bytes;
            let from = wanted.start.max(begin);
            let to = wanted.end.min(begin + clear.len() as u64);
            let target = (from - wanted.start) as usize..(to - wanted.start) as usize;
            buf[target].copy_from_slice(&clear[(from - begin) as usize..(to - begin) as usize]);
        })?;
        Ok((wanted.end - wanted.start) as usize)
    }

    /// Opens a range of chunks and shows each one's clear bytes to `take`.
    fn open_chunks(
        &self,
        file: &dyn ReadAt,
        range: Range<u64>,
        scratch: &mut Vec<u8>,
        mut take: impl FnMut(u64, &[u8]),
    ) -> Result<(), OpenFault> {
        assert!(range.end <= self.chunks(), "chunks are asked for within the part");
        let sealed = SEALED_CHUNK_BYTES as u64;
        let mut first = range.start;
        while first < range.end {
            let next = (first + BATCH_CHUNKS).min(range.end);
            let bytes = first * sealed..(next * sealed).min(self.length);
            let count = (bytes.end - bytes.start) as usize;
            if scratch.len() < count {
                scratch.resize(count, 0);
            }
            file.read_exact_at(&mut scratch[..count], self.offset + bytes.start)?;
            for (chunk, number) in scratch[..count].chunks_mut(SEALED_CHUNK_BYTES).zip(first..next) {
                let clear = self
                    .cipher
                    .open_chunk(number, chunk)
                    .map_err(|_| OpenFault::Damaged { chunk: number })?;
                take(number, clear);
            }
            first = next;
        }
        if range.end == self.chunks() && !range.is_empty() {
            self.end_proved.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// An opened part as something to read at any place: its package, decrypted as it is read.
pub struct OpenPart<F> {
    opener: PartOpener,
    file: F,
}

impl<F: ReadAt> OpenPart<F> {
    /// The part that `opener` opens, in `file`.
    pub fn new(opener: PartOpener, file: F) -> Self {
        Self { opener, file }
    }

    /// Clear bytes of the part.
    pub fn clear_len(&self) -> u64 {
        self.opener.clear_len()
    }

    /// The opener.
    pub fn opener(&self) -> &PartOpener {
        &self.opener
    }
}

impl<F: ReadAt> ReadAt for OpenPart<F> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.opener.read_at(&self.file, offset, buf) {
            Ok(count) if count == buf.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(OpenFault::Unreadable(fault)) => Err(fault),
            Err(fault) => Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
        }
    }
}
