//! What a demo leaves behind.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::outcome::Failure;

/// The demo's folder:
///
/// ```text
/// record-lot-N.json          each lot's record: rows in order
/// records.txt                the same as tables, as the agent's terminal shows them
/// opening-record.json        the exact text that the platform signed, and beside it the signature
/// receipts/                  each bid's receipt, and the refusal of the late one
/// bids/*.jmbs, *.bfbs        the sealed bids and their backups
/// tokens/                    both authorities, every token, PINs and passwords of practice
/// papers/                    the PDFs and bid sheets that the bids were packed from
/// server/                    the server's data folder
/// project.json               the project as the platform shows it, with the platform's public keys
/// server.log, summary.json
/// ```
pub(super) struct Folder {
    root: PathBuf,
}

/// The file that tells a demo's folder from any other.
const MARK: &str = "kaibiao-demo";
/// What a demo makes; nothing else is ever deleted.
const MADE: [&str; 11] = [
    "receipts",
    "bids",
    "tokens",
    "papers",
    "server",
    "server.log",
    "summary.json",
    "records.txt",
    "project.json",
    "opening-record.json",
    "opening-record.signature.json",
];

impl Folder {
    /// An empty folder, or an earlier demo's made empty.
    pub(super) fn begin(root: &Path) -> Result<Self, Failure> {
        let doing = format!("make the folder {}", root.display());
        fs::create_dir_all(root).map_err(|fault| Failure::of(&doing, fault))?;
        let root = fs::canonicalize(root).map_err(|fault| Failure::of(&doing, fault))?;
        let empty = fs::read_dir(&root).map_err(|fault| Failure::of(&doing, fault))?.next().is_none();
        if !empty && !root.join(MARK).is_file() {
            return Err(Failure::Misuse(format!(
                "{} is neither empty nor an earlier demo's: name another folder with --out",
                root.display()
            )));
        }
        clear(&root).map_err(|fault| Failure::of(&format!("clear {}", root.display()), fault))?;
        let folder = Self { root };
        fs::write(folder.path(MARK), "A demo of kaibiao left this folder; the next one uses it anew.\n")
            .map_err(|fault| Failure::of(&doing, fault))?;
        for made in ["receipts", "bids", "tokens", "papers"] {
            fs::create_dir(folder.path(made)).map_err(|fault| Failure::of(&doing, fault))?;
        }
        Ok(folder)
    }

    /// The folder itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

fn clear(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let made =
            MADE.contains(&name.as_ref()) || (name.starts_with("record-lot-") && name.ends_with(".json"));
        if !made {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_things_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "x").unwrap();
        assert!(Folder::begin(dir.path()).is_err());
        assert!(dir.path().join("thesis.txt").is_file());
    }

    #[test]
    fn an_earlier_demo_is_cleared_and_nothing_else_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        Folder::begin(dir.path()).unwrap();
        fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        fs::write(dir.path().join("record-lot-1.json"), "{}").unwrap();
        Folder::begin(dir.path()).unwrap();
        assert!(dir.path().join("notes.txt").is_file());
        assert!(!dir.path().join("record-lot-1.json").exists());
    }
}
