//! A stretch of a source, read as if it were alone.

use std::io::{self, Read};

use crate::read_at::ReadAt;

/// The bytes of `source` from `offset` on, `len` of them.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    source: &'a dyn ReadAt,
    offset: u64,
    len: u64,
}

impl<'a> Window<'a> {
    /// That stretch. It need not lie within the source: reading beyond its end fails.
    pub fn new(source: &'a dyn ReadAt, offset: u64, len: u64) -> Self {
        Self { source, offset, len }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the stretch from its beginning.
    pub fn reader(self) -> impl Read + 'a {
        WindowReader { window: self, at: 0 }
    }
}

impl ReadAt for Window<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        let from = self.offset.checked_add(offset);
        match (end, from) {
            (Some(end), Some(from)) if end <= self.len => self.source.read_exact_at(buf, from),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

struct WindowReader<'a> {
    window: Window<'a>,
    at: u64,
}

impl Read for WindowReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.window.len - self.at).unwrap_or(usize::MAX);
        let count = left.min(buf.len());
        self.window.read_exact_at(&mut buf[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_it_ends() {
        let bytes = b"0123456789".to_vec();
        let window = Window::new(&bytes, 2, 5);
        let mut text = String::new();
        window.reader().read_to_string(&mut text).unwrap();
        assert_eq!(text, "23456");
        assert!(window.read_exact_at(&mut [0; 2], 4).is_err());
        assert!(window.read_exact_at(&mut [0; 2], u64::MAX).is_err());
        assert!(Window::new(&bytes, 8, 5).reader().read_to_end(&mut Vec::new()).is_err());
    }
}
