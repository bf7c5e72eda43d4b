//! How much work a PKCS#12 file asks for before its password is even tried.
//!
//! Its password is stretched in rounds whose number the file states itself, up to 2^31 and for each of its parts: a
//! file made for it would keep a client busy for hours. The parser does as it is told, so the rounds are counted
//! before it is asked. What the file keeps encrypted cannot be counted so; whoever hides rounds there must know the
//! password.

use std::fmt;

use const_oid::ObjectIdentifier;
use der::{Decode as _, Header, Reader as _, SliceReader, Tag};

/// The most rounds a file may ask for, all its parts together: some seconds of work. Other programs write 2,048 to
/// 600,000 a part.
pub const ROUNDS_MAX: u64 = 5_000_000;
/// Values within values: PKCS#12 needs about fifteen.
const DEPTH_MAX: usize = 48;
/// A password hash that is made to take memory; its cost is no number of rounds.
const SCRYPT: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.4.11");

/// The file asks for too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMuch {
    Rounds,
    Scrypt,
    Depth,
}

impl fmt::Display for TooMuch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TooMuch::Rounds => write!(out, "its password is stretched in more than {ROUNDS_MAX} rounds"),
            TooMuch::Scrypt => out.write_str("its password is stretched by scrypt, which is not taken here"),
            TooMuch::Depth => out.write_str("its values lie too deep in one another"),
        }
    }
}

/// Checks what the file asks for, as far as it can be seen; bytes that are no DER are the parser's to refuse.
pub(super) fn check_rounds(file: &[u8]) -> Result<(), TooMuch> {
    let mut sum = 0;
    count(file, 0, &mut sum)
}

/// Adds up what stands behind each salt: a round number follows its salt, in every form PKCS#12 knows.
fn count(bytes: &[u8], depth: usize, sum: &mut u64) -> Result<(), TooMuch> {
    if depth > DEPTH_MAX {
        return Err(TooMuch::Depth);
    }
    let mut rest = bytes;
    let mut after_salt = false;
    while let Some((tag, value, behind)) = split(rest) {
        match tag {
            Tag::Integer if after_salt => {
                *sum = sum.saturating_add(number(value));
                if *sum > ROUNDS_MAX {
                    return Err(TooMuch::Rounds);
                }
            }
            Tag::ObjectIdentifier if value == SCRYPT.as_bytes() => return Err(TooMuch::Scrypt),
            Tag::OctetString => count(value, depth + 1, sum)?,
            _ if tag.is_constructed() => count(value, depth + 1, sum)?,
            _ => {}
        }
        after_salt = tag == Tag::OctetString;
        rest = behind;
    }
    Ok(())
}

/// The first value, and what stands behind it; `None` where there is none.
fn split(bytes: &[u8]) -> Option<(Tag, &[u8], &[u8])> {
    let mut reader = SliceReader::new(bytes).ok()?;
    let header = Header::decode(&mut reader).ok()?;
    let value = reader.read_slice(header.length()).ok()?;
    let behind = reader.remaining_len();
    Some((header.tag(), value, &bytes[bytes.len() - usize::try_from(behind).ok()?..]))
}

fn number(big_endian: &[u8]) -> u64 {
    big_endian.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add(u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, body: &[u8]) -> Vec<u8> {
        let len = body.len();
        let length = if len < 128 { vec![len as u8] } else { vec![0x82, (len >> 8) as u8, len as u8] };
        [vec![tag], length, body.to_vec()].concat()
    }

    fn sequence(members: &[Vec<u8>]) -> Vec<u8> {
        tlv(0x30, &members.concat())
    }

    fn salted(rounds: &[u8]) -> Vec<u8> {
        sequence(&[tlv(0x04, b"saltsalt"), tlv(0x02, rounds)])
    }

    /// 2^31 - 1.
    const MOST: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];
    /// Two million.
    const MANY: [u8; 3] = [0x1e, 0x84, 0x80];

    #[test]
    fn rounds_beyond_all_measure_are_refused_wherever_they_stand() {
        let digest = sequence(&[sequence(&[tlv(0x05, b"")]), tlv(0x04, &[7; 32])]);
        let mac = sequence(&[digest, tlv(0x04, b"saltsalt"), tlv(0x02, &MOST)]);
        assert_eq!(check_rounds(&sequence(&[tlv(0x02, &[3]), mac])), Err(TooMuch::Rounds));
        assert_eq!(check_rounds(&salted(&MOST)), Err(TooMuch::Rounds));
        assert_eq!(check_rounds(&tlv(0xa0, &tlv(0x04, &sequence(&[salted(&MOST)])))), Err(TooMuch::Rounds));
        // Longer than any number: it does not wrap around.
        assert_eq!(check_rounds(&salted(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0])), Err(TooMuch::Rounds));
    }

    #[test]
    fn what_every_part_asks_for_is_added_up() {
        assert_eq!(check_rounds(&sequence(&[salted(&MANY), salted(&MANY)])), Ok(()));
        assert_eq!(
            check_rounds(&sequence(&[salted(&MANY), salted(&MANY), salted(&MANY)])),
            Err(TooMuch::Rounds)
        );
        // A key's length, a version, a serial number are no rounds.
        assert_eq!(check_rounds(&sequence(&[tlv(0x02, &MOST), salted(&MANY), tlv(0x02, &MOST)])), Ok(()));
    }

    #[test]
    fn a_hash_that_takes_memory_and_values_without_end_are_refused() {
        let scrypt = sequence(&[tlv(0x06, SCRYPT.as_bytes()), salted(&[1])]);
        assert_eq!(check_rounds(&scrypt), Err(TooMuch::Scrypt));
        let deep = (0..60).fold(Vec::new(), |inner, _| tlv(0x30, &inner));
        assert_eq!(check_rounds(&deep), Err(TooMuch::Depth));
        for nothing in [&b""[..], b"\x30", b"\x30\x05\x02", &[0xff; 64]] {
            assert_eq!(check_rounds(nothing), Ok(()), "the parser refuses it");
        }
    }
}
