//! The bare writer to measure against: the same bytes into one file, one sync a group, and nothing else.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

/// Bytes between two syncs, as much as a group of the server's segments holds.
const GROUP_BYTES: usize = 8 << 20;

/// How long the writer takes, and how many bytes it wrote.
pub(super) fn write<'a>(path: &Path, bids: impl Iterator<Item = &'a [u8]>) -> io::Result<(Duration, u64)> {
    let mut file = File::create(path)?;
    let began = Instant::now();
    let (mut bytes, mut all) = (0, 0);
    for bid in bids {
        file.write_all(bid)?;
        bytes += bid.len();
        all += bid.len() as u64;
        if bytes >= GROUP_BYTES {
            file.sync_data()?;
            bytes = 0;
        }
    }
    file.sync_data()?;
    let took = began.elapsed();
    fs::remove_file(path)?;
    Ok((took, all))
}
