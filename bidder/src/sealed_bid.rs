//! A sealed bid on this machine's disk.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use kaibiao_sealed::{
    header::{Header, HeaderFault, PREAMBLE_BYTES},
    read_at::ReadAt as _,
};

use crate::report::{Explain, Problem, say};

/// A `.jmbs` file whose header is well-formed; its signature and its parts are not checked.
pub struct SealedBid {
    /// Where it lies.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// Its bytes.
    pub bytes: u64,
    /// Its header.
    pub header: Header,
}

/// Why a file is not a sealed bid.
#[derive(Debug, thiserror::Error)]
pub enum SealedBidFault {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its header is not one.
    #[error("{}: {fault}", path.display())]
    Header {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        fault: HeaderFault,
    },
}

impl SealedBid {
    /// Opens a sealed bid and reads its header.
    ///
    /// # Errors
    /// [`SealedBidFault`].
    pub fn open(path: &Path) -> Result<Self, SealedBidFault> {
        let unreadable = |source| SealedBidFault::Unreadable { path: path.to_owned(), source };
        let malformed = |fault| SealedBidFault::Header { path: path.to_owned(), fault };
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let read = |length: u64| {
            let mut first = vec![0; usize::try_from(length.min(bytes)).expect("a header fits into memory")];
            file.read_exact_at(&mut first, 0).map(|()| first).map_err(unreadable)
        };
        let preamble = read(PREAMBLE_BYTES as u64)?;
        let needed = Header::length_needed(&preamble).map_err(malformed)?.unwrap_or(PREAMBLE_BYTES);
        let header = Header::parse(&read(needed as u64)?).map_err(malformed)?;
        Ok(Self { path: path.to_owned(), file, bytes, header })
    }
}

impl Explain for SealedBidFault {
    fn problem(&self) -> Problem {
        match self {
            SealedBidFault::Unreadable { path, source } => Problem::new(
                "file_unreadable",
                say(format!("无法读取 {}：{source}", path.display()), self.to_string()),
                say("请检查路径与权限", "check the path and its rights"),
            )
            .at(path.display().to_string()),
            SealedBidFault::Header { path, fault } => header_problem(fault).at(path.display().to_string()),
        }
    }
}

/// A header's fault in plain words.
pub fn header_problem(fault: &HeaderFault) -> Problem {
    let (zh, next) = match fault {
        HeaderFault::NotASealedBid => (
            "该文件不是加密标书（.jmbs）".to_owned(),
            say(
                "请选择由 kaibiao-bid seal 生成的 .jmbs 文件",
                "choose a .jmbs file made by `kaibiao-bid seal`",
            ),
        ),
        HeaderFault::UnknownVersion => (
            "该加密标书的版本本客户端不认识".to_owned(),
            say("请使用平台提供的最新客户端", "use the client that the platform offers now"),
        ),
        other => (
            format!("加密标书已损坏：{other}"),
            say(
                "请改用另一份副本，或由备份标书重新生成（kaibiao-bid reseal）",
                "use another copy, or make it again from the backup bid (`kaibiao-bid reseal`)",
            ),
        ),
    };
    Problem::new(fault.code(), say(zh, fault.to_string()), next)
}
