//! SQLite's write-ahead log as a file: what of it SQLite will not take at a start, and room made in it
//! beforehand.
//!
//! SQLite ends the log silently at the first frame that does not check, and takes whole transactions only.
//! What lies behind is an append that was never acknowledged, or damage; which of the two, the head tells.
//! Here it is only counted, so that it is reported rather than passed over.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::Path,
};

use rusqlite::Connection;

use super::{JournalFault, schema::DATABASE_WAL};

const WAL_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;
/// The last byte tells the byte order of the checksums.
const WAL_MAGIC: [u8; 4] = [0x37, 0x7f, 0x06, 0x82];
/// The log's length from the start on.
const ROOM_BYTES: u64 = 4 << 20;

/// How many frames of the log's present generation SQLite does not take; a frame cut short counts.
///
/// The connection must have read from the database already.
pub(super) fn frames_not_taken(connection: &Connection, folder: &Path) -> Result<u64, JournalFault> {
    let taken: i64 = connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get(1))?;
    let path = folder.join(DATABASE_WAL);
    let present = match File::open(&path) {
        Ok(mut file) => frames_of_present_generation(&mut file).map_err(JournalFault::disk("read", &path))?,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => 0,
        Err(fault) => return Err(JournalFault::disk("open", &path)(fault)),
    };
    Ok(present.saturating_sub(u64::try_from(taken).unwrap_or(0)))
}

/// Makes the log [`ROOM_BYTES`] long at least, by zeros that SQLite takes for an empty log: a commit then
/// writes over bytes that are there, and its sync need not make a new length of the file durable too, which
/// takes half as long again.
pub(super) fn make_room(folder: &Path) -> Result<(), JournalFault> {
    let path = folder.join(DATABASE_WAL);
    let made = (|| {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        let bytes = file.metadata()?.len();
        if bytes < ROOM_BYTES {
            file.write_all_at(&vec![0; (ROOM_BYTES - bytes) as usize], bytes)?;
            file.sync_all()?;
        }
        Ok(())
    })();
    made.map_err(JournalFault::disk("make room in", &path))
}

/// Counts the frames that carry the salts of the log's header. Later ones are left over from a generation
/// before: SQLite writes over the log from its beginning.
fn frames_of_present_generation(file: &mut File) -> io::Result<u64> {
    let bytes = file.metadata()?.len();
    if bytes < WAL_HEADER_BYTES {
        return Ok(0);
    }
    let mut header = [0; WAL_HEADER_BYTES as usize];
    file.read_exact(&mut header)?;
    if header[..3] != WAL_MAGIC[..3] {
        // Room made beforehand, and never written to. A header that was damaged is found by the head.
        return Ok(0);
    }
    let page_bytes = u64::from(u32::from_be_bytes([header[8], header[9], header[10], header[11]]));
    let salts = &header[16..24];
    let frame_bytes = FRAME_HEADER_BYTES + page_bytes;
    let mut frames = 0;
    let mut offset = WAL_HEADER_BYTES;
    while offset + FRAME_HEADER_BYTES <= bytes {
        let mut frame = [0; FRAME_HEADER_BYTES as usize];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut frame)?;
        if &frame[8..16] != salts {
            return Ok(frames);
        }
        frames += 1;
        offset += frame_bytes;
    }
    // A few bytes of one more frame.
    Ok(frames + u64::from(offset < bytes))
}
