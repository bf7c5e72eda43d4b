//! A look at SQLite's write-ahead log before it is used: what of it SQLite will not take.
//!
//! SQLite ends the log silently at the first frame that does not check, and takes whole transactions only. What lies behind is
//! an append that was never acknowledged, or damage; which of the two, the head tells. Here it is only counted, so that it is
//! reported rather than passed over.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use rusqlite::Connection;

use super::{
    JournalFault,
    schema::DATABASE_WAL,
};

const WAL_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

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

/// Counts the frames that carry the salts of the log's header. Later ones are left over from a generation
/// before: SQLite writes over the log from its beginning.
fn frames_of_present_generation(file: &mut File) -> io::Result<u64> {
    let bytes = file.metadata()?.len();
    if bytes < WAL_HEADER_BYTES {
        return Ok(0);
    }
    let mut header = [0; WAL_HEADER_BYTES as usize];
    file.read_exact(&mut header)?;
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
