//! Small files of one's own: whole or not at all, readable by their owner alone.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::backup::beside;

/// Writes a file with mode 0600, in one step as others see it.
///
/// # Errors
/// The system would not write it.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = beside(path, "part");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&part, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}
