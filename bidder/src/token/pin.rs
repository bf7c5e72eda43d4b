//! A PIN or password, and where it comes from. Never the command line: other users can read that.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use zeroize::Zeroizing;

use super::terminal;

/// The longest PIN or password taken.
pub const PIN_BYTES_MAX: usize = 512;

/// A PIN or a password; wiped when dropped. Deliberately neither `Debug` nor `Clone`:
///
/// ```compile_fail
/// fn shown<T: std::fmt::Debug>() {}
/// shown::<kaibiao_bidder::token::Pin>();
/// ```
/// ```compile_fail
/// fn copied<T: Clone>() {}
/// copied::<kaibiao_bidder::token::Pin>();
/// ```
pub struct Pin(Zeroizing<Vec<u8>>);

impl Pin {
    /// A PIN of these bytes.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes, to hand to the token and to nobody else.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Where a PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// Typed at the terminal without echo.
    Prompt,
    /// The first line of a file.
    File(PathBuf),
    /// The first line that can be read from an open descriptor.
    Descriptor(u32),
}

/// No PIN could be had.
#[derive(Debug, thiserror::Error)]
pub enum PinFault {
    /// Nobody can be asked.
    #[error("no PIN was given and there is no terminal to ask at")]
    NoTerminal,
    /// The person pressed Ctrl-C, or the input ended.
    #[error("the PIN was not entered")]
    Cancelled,
    /// Nothing but a line end.
    #[error("the PIN read from {0} is empty")]
    Empty(String),
    /// Longer than any PIN.
    #[error("the PIN read from {0} is longer than {PIN_BYTES_MAX} bytes")]
    TooLong(String),
    /// The system would not read it.
    #[error("cannot read the PIN from {from}: {source}")]
    Unreadable {
        /// Where from.
        from: String,
        /// What the system said.
        source: io::Error,
    },
}

impl PinSource {
    /// Reads the PIN; `asked` is what the prompt calls it, such as `PIN of huixin:label=…`.
    ///
    /// # Errors
    /// [`PinFault`]; nothing was tried on a token then.
    pub fn read(&self, asked: &str) -> Result<Pin, PinFault> {
        match self {
            Self::Prompt => terminal::ask(asked),
            Self::File(path) => from_file(path),
            Self::Descriptor(number) => {
                let name = format!("descriptor {number}");
                let file =
                    copy_of(*number).map_err(|source| PinFault::Unreadable { from: name.clone(), source })?;
                first_line(file, &name)
            }
        }
    }

    /// Whether a person types it, so that a wrong one may be asked for again.
    pub fn is_interactive(&self) -> bool {
        matches!(self, Self::Prompt)
    }
}

/// A descriptor of our own for the file that is open as `number`. Not through /proc/self/fd: that is closed to a
/// process that is not dumpable.
fn copy_of(number: u32) -> io::Result<File> {
    let bad = || io::Error::from(io::ErrorKind::InvalidInput);
    let number = i32::try_from(number).map_err(|_| bad())?;
    #[expect(unsafe_code, reason = "a descriptor named on the command line has no owner in this program")]
    // SAFETY: the number is not negative; it is lent for one call, which fails if nothing is open under it.
    let lent = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(File::from(rustix::io::dup(lent)?))
}

/// Forbids core dumps and other processes' looking into this one's memory, for the rest of its life: a PIN and
/// keys pass through it (threat 16). A program that enters PINs calls this first.
///
/// # Errors
/// The system refuses.
pub fn keep_out_of_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn from_file(path: &Path) -> Result<Pin, PinFault> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| PinFault::Unreadable { from: name.clone(), source })?;
    first_line(file, &name)
}

fn first_line(mut input: impl Read, name: &str) -> Result<Pin, PinFault> {
    // One buffer of full size from the start: a growing one would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; PIN_BYTES_MAX + 2]);
    let mut filled = 0;
    while filled < bytes.len() && !bytes[..filled].contains(&b'\n') {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(PinFault::Unreadable { from: name.to_owned(), source }),
        }
    }
    let line = bytes[..filled].split(|byte| *byte == b'\n').next().expect("split gives at least one piece");
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line.len() {
        0 => Err(PinFault::Empty(name.to_owned())),
        length if length > PIN_BYTES_MAX => Err(PinFault::TooLong(name.to_owned())),
        _ => Ok(Pin::new(Zeroizing::new(line.to_vec()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<u8>, String> {
        first_line(text, "test").map(|pin| pin.expose().to_vec()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_pin_is_the_first_line_without_its_end() {
        assert_eq!(read(b"123456\nmore"), Ok(b"123456".to_vec()));
        assert_eq!(read(b"123456\r\n"), Ok(b"123456".to_vec()));
        assert_eq!(read(b" spaces kept "), Ok(b" spaces kept ".to_vec()));
    }

    #[test]
    fn no_pin_or_one_beyond_all_measure_is_told() {
        assert!(read(b"").unwrap_err().contains("empty"));
        assert!(read(b"\n123456").unwrap_err().contains("empty"));
        assert!(read(&[b'1'; 513]).unwrap_err().contains("longer"));
        assert!(read(&[b'1'; 512]).is_ok());
    }
}
