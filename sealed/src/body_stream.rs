//! Sealing the bodies of parts on two threads: one reads, encrypts and writes, the other hashes.
//!
//! Hashing is several times slower than everything else, so the whole takes little longer than hashing alone.
//! A few buffers go round between the two; clear bytes are overwritten by their ciphertext in place.

use std::{
    io::{self, Read, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use kaibiao_protocol::{bid::PartName, digest::Digest};

use crate::{
    cobblestone::{CHUNK_BYTES, ChunkCipher, SEALED_CHUNK_BYTES, TAG_BYTES},
    digest::Sha256,
};

/// Chunks of one buffer: 4 MiB. Smaller ones were a fifth slower: their lines are still dirty in the cache of the
/// encrypting core when the hashing core asks for them.
const BUFFER_CHUNKS: usize = 256;
/// Buffers that go round.
const BUFFERS: usize = 3;

/// The clear bytes of one part, on their way to be sealed.
pub struct ClearPart<'a> {
    /// Which part.
    pub part: PartName,
    /// How many bytes it has.
    pub bytes: u64,
    /// Where they come from; it must end after exactly that many.
    pub source: Box<dyn Read + 'a>,
}

/// Why parts could not be streamed.
#[derive(Debug, thiserror::Error)]
pub enum StreamFault {
    /// The source of a part could not be read.
    #[error("part {part} cannot be read: {fault}")]
    Read {
        /// Which part.
        part: PartName,
        /// Why.
        fault: io::Error,
    },
    /// The source of a part gave fewer or more bytes than it should.
    #[error("part {0} does not have the length it should have")]
    SourceLength(PartName),
    /// The sealed bid could not be written.
    #[error("the sealed bid cannot be written: {0}")]
    Write(io::Error),
}

/// A part and the cipher to seal it with.
pub(crate) type Lane<'a> = (ClearPart<'a>, ChunkCipher);

/// Writes the bodies of all parts, one behind the other, and gives the digest of each. `progress` is told clear
/// bytes as they are done.
pub(crate) fn stream_bodies(
    lanes: Vec<Lane<'_>>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Digest>, StreamFault> {
    let (to_hash, work) = sync_channel(BUFFERS);
    let (give_back, empties) = sync_channel(BUFFERS);
    for _ in 0..BUFFERS {
        give_back.send(Vec::new()).expect("the channel holds every buffer");
    }
    thread::scope(|scope| {
        let hashing = scope.spawn(move || hash(&work, &give_back));
        let mut sealer = Sealer { empties, to_hash, out, progress };
        let result = lanes.into_iter().try_for_each(|lane| sealer.seal(lane));
        // Without a sender the hashing thread comes to its end.
        drop(sealer);
        let digests = hashing.join().expect("hashing does not panic");
        result.map(|()| digests)
    })
}

enum Work {
    Bytes(Vec<u8>),
    EndOfPart,
}

fn hash(work: &Receiver<Work>, give_back: &SyncSender<Vec<u8>>) -> Vec<Digest> {
    let mut digests = Vec::new();
    let mut running = Sha256::new();
    for step in work {
        match step {
            Work::Bytes(buffer) => {
                running.update(&buffer);
                // Nobody waits for buffers any more once the other side has failed.
                let _ = give_back.send(buffer);
            }
            Work::EndOfPart => digests.push(std::mem::take(&mut running).finish()),
        }
    }
    digests
}

struct Sealer<'a> {
    empties: Receiver<Vec<u8>>,
    to_hash: SyncSender<Work>,
    out: &'a mut dyn Write,
    progress: &'a mut dyn FnMut(u64),
}

impl Sealer<'_> {
    fn seal(&mut self, (mut part, cipher): Lane<'_>) -> Result<(), StreamFault> {
        let mut left = part.bytes;
        let mut number = 0;
        let mut ended = false;
        while !ended {
            let mut buffer = self.empties.recv().expect("the hashing thread lives as long as this one");
            let chunks = usize::try_from(left / CHUNK_BYTES as u64).map_or(BUFFER_CHUNKS, |full| full + 1);
            buffer.resize(chunks.min(BUFFER_CHUNKS) * SEALED_CHUNK_BYTES, 0);
            let mut filled = 0;
            let mut clear = 0;
            for room in buffer.chunks_exact_mut(SEALED_CHUNK_BYTES) {
                let count = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
                let chunk = &mut room[..count + TAG_BYTES];
                read(&mut part, &mut chunk[..count])?;
                cipher.seal_chunk(number, chunk);
                number += 1;
                left -= count as u64;
                clear += count as u64;
                filled += chunk.len();
                // A full chunk is never the last one: an empty one follows if need be.
                if count < CHUNK_BYTES {
                    ended = true;
                    break;
                }
            }
            buffer.truncate(filled);
            self.out.write_all(&buffer).map_err(StreamFault::Write)?;
            self.to_hash.send(Work::Bytes(buffer)).expect("the hashing thread lives as long as this one");
            (self.progress)(clear);
        }
        self.to_hash.send(Work::EndOfPart).expect("the hashing thread lives as long as this one");
        expect_end(&mut part)
    }
}

fn read(part: &mut ClearPart<'_>, buf: &mut [u8]) -> Result<(), StreamFault> {
    part.source.read_exact(buf).map_err(|fault| match fault.kind() {
        io::ErrorKind::UnexpectedEof => StreamFault::SourceLength(part.part),
        _ => StreamFault::Read { part: part.part, fault },
    })
}

fn expect_end(part: &mut ClearPart<'_>) -> Result<(), StreamFault> {
    match part.source.read_exact(&mut [0]) {
        Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(fault) => Err(StreamFault::Read { part: part.part, fault }),
        Ok(()) => Err(StreamFault::SourceLength(part.part)),
    }
}
