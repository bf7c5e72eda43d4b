//! Passwords for `kaibiao admin`: from a file, from standard input, or typed without echo. Never from the command
//! line, which other users can read.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::outcome::Failure;

/// The longest line taken.
const LINE_BYTES_MAX: usize = 1_024;

/// A password: the first line of `file` (`-`: of standard input), else asked for twice at the terminal.
pub(crate) fn password(file: Option<&Path>, whose: &str) -> Result<Zeroizing<String>, Failure> {
    match file {
        Some(path) if path == Path::new("-") => first_line(io::stdin().lock(), "standard input"),
        Some(path) => {
            let name = path.display().to_string();
            first_line(File::open(path).map_err(|fault| Failure::of(&format!("read {name}"), fault))?, &name)
        }
        None => {
            let typed = ask(&format!("New password of {whose}: "))?;
            if *ask("Once more: ")? != *typed {
                return Err(Failure::Misuse("the two passwords differ".to_owned()));
            }
            Ok(typed)
        }
    }
}

fn first_line(mut input: impl Read, name: &str) -> Result<Zeroizing<String>, Failure> {
    // One buffer of full size from the start: a growing one would leave copies behind.
    let mut bytes = Zeroizing::new(vec![0; LINE_BYTES_MAX + 1]);
    let mut filled = 0;
    while filled < bytes.len() && !bytes[..filled].contains(&b'\n') {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => {}
            Err(fault) => return Err(Failure::of(&format!("read {name}"), fault)),
        }
    }
    let line = bytes[..filled].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.len() > LINE_BYTES_MAX {
        return Err(Failure::Misuse(format!("the first line of {name} is empty or too long for a password")));
    }
    let text = std::str::from_utf8(line).map_err(|_| Failure::Misuse(format!("{name} is not UTF-8")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The terminal with its echo off; put back when dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn begin() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        if !isatty(&terminal) {
            return Err(io::Error::other("not a terminal"));
        }
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        // Ctrl-C arrives as a byte, so that no signal can end us while the echo is off.
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // If the terminal is gone there is nothing left to put right.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        let _ = self.terminal.write_all(b"\n");
    }
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let mut quiet = Quiet::begin().map_err(|_| {
        Failure::Misuse(
            "there is no terminal to ask at: give --password-file FILE (- for standard input)".to_owned(),
        )
    })?;
    write!(quiet.terminal, "{prompt}").map_err(|fault| Failure::of("ask for the password", fault))?;
    let line = first_line(&quiet.terminal, "the terminal")?;
    if line.contains('\u{3}') {
        return Err(Failure::Misuse("no password was entered".to_owned()));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8]) -> Result<String, String> {
        first_line(text, "test").map(|line| line.to_string()).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_password_is_the_first_line_without_its_end() {
        assert_eq!(line(b"correct horse\nbattery"), Ok("correct horse".into()));
        assert_eq!(line(b"correct horse\r\n"), Ok("correct horse".into()));
        assert_eq!(line("开标系统密码".as_bytes()), Ok("开标系统密码".into()));
        assert!(line(b"").is_err());
        assert!(line(b"\ncorrect horse").is_err());
        assert!(line(&[b'x'; 2_000]).is_err());
        assert!(line(b"\xff\xfe").is_err());
    }
}
