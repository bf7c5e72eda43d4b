//! Writing a file whole or not at all.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::fill;

use super::PackageFault;

/// A file that appears under its name when it is whole. Dropped before, it leaves nothing.
pub(super) struct AtomicFile {
    out: Option<BufWriter<File>>,
    temporary: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Begins a file that will be `target`, readable by its owner alone: a package may hold a key.
    pub(super) fn begin(target: &Path) -> Result<Self, PackageFault> {
        let at_target = |source| PackageFault::File { path: target.to_owned(), source };
        let name = target.file_name().ok_or_else(|| at_target(io::ErrorKind::InvalidInput.into()))?;
        let mut random = [0; 8];
        fill(&mut random).map_err(|_| at_target(io::Error::other("no random bytes")))?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", hex::encode(random)));
        let temporary = target.with_file_name(hidden);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options
            .open(&temporary)
            .map_err(|source| PackageFault::File { path: temporary.clone(), source })?;
        Ok(Self {
            out: Some(BufWriter::with_capacity(256 * 1024, file)),
            temporary,
            target: target.to_owned(),
        })
    }

    /// Where to write.
    pub(super) fn out(&mut self) -> &mut BufWriter<File> {
        self.out.as_mut().expect("the file is open until it is finished")
    }

    /// Makes the file durable under its name.
    pub(super) fn finish(mut self) -> Result<(), PackageFault> {
        let target = self.target.clone();
        self.persist().map_err(|source| PackageFault::File { path: target, source })
    }

    fn persist(&mut self) -> io::Result<()> {
        let mut out = self.out.take().expect("a file is finished once");
        out.flush()?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&self.temporary, &self.target)?;
        // The name is durable once its folder is.
        #[cfg(unix)]
        {
            let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After the rename there is nothing of that name; before it, nothing better can be done on failure.
        let _ = std::fs::remove_file(&self.temporary);
    }
}
