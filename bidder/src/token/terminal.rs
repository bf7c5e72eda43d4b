//! Asking for a PIN at the terminal, without showing it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Pin, PinFault, pin::PIN_BYTES_MAX};

const CONTROL_C: u8 = 0x03;
const CONTROL_D: u8 = 0x04;
const CONTROL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// The terminal with echo, line editing and signal keys off; put back when dropped.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn begin() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        // Ctrl-C arrives as a byte, so that no signal can end us while the echo is off.
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
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

/// Asks for a PIN at the terminal of this process, even when input and output are redirected.
pub(super) fn ask(asked: &str) -> Result<Pin, PinFault> {
    let mut quiet = Quiet::begin().map_err(|_| PinFault::NoTerminal)?;
    let unreadable = |source| PinFault::Unreadable { from: "the terminal".to_owned(), source };
    write!(quiet.terminal, "{asked}: ").map_err(unreadable)?;
    let mut typed = Zeroizing::new(Vec::with_capacity(PIN_BYTES_MAX));
    loop {
        let mut byte = Zeroizing::new([0_u8]);
        match quiet.terminal.read(&mut byte[..]) {
            Ok(0) => return Err(PinFault::Cancelled),
            Ok(_) => {}
            Err(fault) if fault.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(unreadable(source)),
        }
        match byte[0] {
            b'\r' | b'\n' if typed.is_empty() => return Err(PinFault::Empty("the terminal".to_owned())),
            b'\r' | b'\n' => return Ok(Pin::new(typed)),
            CONTROL_C | CONTROL_D => return Err(PinFault::Cancelled),
            CONTROL_U => typed.clear(),
            BACKSPACE | DELETE => {
                typed.pop();
            }
            // Staying within the capacity: growing would leave copies behind.
            _ if typed.len() == PIN_BYTES_MAX => return Err(PinFault::TooLong("the terminal".to_owned())),
            other => typed.push(other),
        }
    }
}
