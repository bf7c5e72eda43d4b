//! The names of streams.

use std::{fmt, str::FromStr};

use kaibiao_protocol::ids::{LotNo, ProjectId};

/// A stream of the journal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Organisations, users, positions, roots and certificate bindings.
    Directory,
    /// The platform itself: its keys.
    Platform,
    /// One project, from notice to record.
    Project(ProjectId),
    /// The evaluation of one lot.
    Lot(ProjectId, LotNo),
}

impl fmt::Display for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stream::Directory => out.write_str("directory"),
            Stream::Platform => out.write_str("platform"),
            Stream::Project(project) => write!(out, "project/{project}"),
            Stream::Lot(project, lot) => write!(out, "lot/{project}/{lot}"),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A text names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a stream's name: {0:?}")]
pub struct NotAStream(pub String);

impl FromStr for Stream {
    type Err = NotAStream;

    fn from_str(text: &str) -> Result<Self, NotAStream> {
        let fault = || NotAStream(text.to_owned());
        let (kind, rest) = text.split_once('/').unwrap_or((text, ""));
        match kind {
            "directory" if text == kind => Ok(Stream::Directory),
            "platform" if text == kind => Ok(Stream::Platform),
            "project" => rest.parse().map(Stream::Project).map_err(|_| fault()),
            "lot" => {
                let (project, lot) = rest.split_once('/').ok_or_else(fault)?;
                Ok(Stream::Lot(project.parse().map_err(|_| fault())?, lot.parse().map_err(|_| fault())?))
            }
            _ => Err(fault()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_one_name() {
        let project: ProjectId = "KX-00823".parse().unwrap();
        let lot = LotNo::new(2).unwrap();
        for stream in [
            Stream::Directory,
            Stream::Platform,
            Stream::Project(project.clone()),
            Stream::Lot(project.clone(), lot),
        ] {
            assert_eq!(stream.to_string().parse(), Ok(stream));
        }
        for bad in
            ["", "directory/", "platform/x", "project", "project/", "project/a/b", "lot/a", "lot/a/01", "x"]
        {
            assert!(bad.parse::<Stream>().is_err(), "{bad}");
        }
    }
}
