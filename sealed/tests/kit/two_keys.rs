//! The attack that key commitment stops: one AES-GCM ciphertext that opens under two keys to two prices.
//!
//! GCM's tag is linear in the ciphertext. Whoever knows both keys fills some blocks with what the first key shall
//! read, others with what the second shall read, and solves for one more block that makes the two tags equal. Both
//! clear texts are ZIPs in the eyes of a lenient reader: one has its garbage in the comment, one before its begin.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, UnboundCipherKey},
    hkdf::{HKDF_SHA512, KeyType, Prk},
};
use kaibiao_protocol::{bid::PartName, digest::Digest};
use kaibiao_sealed::{binding::part_context, key::BidKey};

const BLOCK: usize = 16;
const END_SIGNATURE: &[u8] = &0x0605_4b50_u32.to_le_bytes();
const END_BYTES: usize = 22;

/// What AES-GCM works with in the first chunk of a part, commitment left aside.
pub(crate) struct BareKey {
    pub(crate) key: [u8; 32],
    pub(crate) nonce: [u8; 12],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl BareKey {
    pub(crate) fn of(key: &BidKey, binding: &Digest, part: PartName, salt: &[u8; 24]) -> Self {
        let part_key = key.part_key(binding, part);
        let context = part_context(binding, part);
        let label = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
        let mut derived = [0; 44];
        // The first 44 of the 76 bytes are the same whatever length is asked for.
        Prk::new_less_safe(HKDF_SHA512, part_key.expose())
            .expand(&[label, salt, context.as_bytes()], Length(44))
            .unwrap()
            .fill(&mut derived)
            .unwrap();
        Self { key: *derived.first_chunk().unwrap(), nonce: *derived.last_chunk().unwrap() }
    }

    /// What a reader does that knows only AES-GCM.
    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.key).unwrap());
        let mut buffer = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let clear = key.open_in_place(nonce, Aad::empty(), &mut buffer).ok()?.len();
        buffer.truncate(clear);
        Some(buffer)
    }

    fn block(&self, clear: u128) -> u128 {
        let key = UnboundCipherKey::new(&AES_256, &self.key).unwrap();
        let mut block = clear.to_be_bytes();
        EncryptingKey::ecb(key).unwrap().encrypt(&mut block).unwrap();
        u128::from_be_bytes(block)
    }

    /// The block of the counter: 1 masks the tag, the text begins with 2.
    fn mask(&self, counter: u32) -> u128 {
        let mut input = [0; BLOCK];
        input[..12].copy_from_slice(&self.nonce);
        input[12..].copy_from_slice(&counter.to_be_bytes());
        self.block(u128::from_be_bytes(input))
    }
}

/// A chunk that `first` opens to a ZIP with `first_zip` and `second` to one with `second_zip`.
pub(crate) fn collide(first: &BareKey, first_zip: &[u8], second: &BareKey, second_zip: &[u8]) -> Vec<u8> {
    let front = first_zip.len().next_multiple_of(BLOCK);
    let back = second_zip.len().next_multiple_of(BLOCK);
    let total = front + back + BLOCK;

    // The first ZIP takes everything behind it for its comment. The second one ends with a comment of one block,
    // and with as much of nothing before it as fills its first block.
    let mut clear_first = with_comment(first_zip, total - first_zip.len());
    clear_first.resize(front, b' ');
    let mut clear_second = vec![b' '; back - second_zip.len()];
    clear_second.extend(with_comment(second_zip, BLOCK));

    let counters = 2..;
    let clear: Vec<(u128, &BareKey)> = blocks(&clear_first)
        .map(|block| (block, first))
        .chain(blocks(&clear_second).map(|block| (block, second)))
        .collect();
    let mut sealed: Vec<u128> =
        clear.iter().zip(counters).map(|((block, key), counter)| block ^ key.mask(counter)).collect();

    // tag = mask(1) + sum of block[i] * H^(n + 1 - i) + lengths * H, for n blocks; solve for the last block.
    sealed.push(0);
    let tag = |key: &BareKey, sealed: &[u128]| {
        let hash = key.block(0);
        let lengths = (sealed.len() * BLOCK * 8) as u128;
        let sum = sealed.iter().chain([&lengths]).fold(0, |sum, block| times(sum ^ block, hash));
        sum ^ key.mask(1)
    };
    let squares = |key: &BareKey| times(key.block(0), key.block(0));
    let difference = tag(first, &sealed) ^ tag(second, &sealed);
    *sealed.last_mut().unwrap() = times(difference, inverse(squares(first) ^ squares(second)));
    assert_eq!(tag(first, &sealed), tag(second, &sealed));

    let tag = tag(first, &sealed);
    sealed.iter().chain([&tag]).flat_map(|block| block.to_be_bytes()).collect()
}

/// What a lenient reader of ZIPs finds under `name`: it looks for the directory from the end, and is content with
/// anything before and behind.
pub(crate) fn lenient_entry(zip: &[u8], name: &str) -> Option<Vec<u8>> {
    let number = |at: usize, len: usize| -> Option<usize> {
        Some(zip.get(at..at + len)?.iter().rev().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    };
    let end = zip.windows(4).rposition(|four| four == END_SIGNATURE)?;
    let (size, offset) = (number(end + 12, 4)?, number(end + 16, 4)?);
    let before = end.checked_sub(size)?.checked_sub(offset)?;
    let mut at = end - size;
    for _ in 0..number(end + 10, 2)? {
        let name_len = number(at + 28, 2)?;
        if zip.get(at + 46..at + 46 + name_len)? == name.as_bytes() {
            let local = before + number(at + 42, 4)?;
            let data = local + 30 + number(local + 26, 2)? + number(local + 28, 2)?;
            return zip.get(data..data + number(at + 24, 4)?).map(<[u8]>::to_vec);
        }
        at += 46 + name_len + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    None
}

fn with_comment(zip: &[u8], comment: usize) -> Vec<u8> {
    let mut out = zip.to_vec();
    let end = out.len() - END_BYTES;
    assert_eq!(&out[end..end + 4], END_SIGNATURE);
    out[end + 20..].copy_from_slice(&u16::try_from(comment).unwrap().to_le_bytes());
    out
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = u128> + '_ {
    assert!(bytes.len().is_multiple_of(BLOCK));
    bytes.chunks(BLOCK).map(|block| u128::from_be_bytes(block.try_into().unwrap()))
}

/// Multiplication in GCM's field, whose first coefficient is the highest bit.
fn times(one: u128, other: u128) -> u128 {
    let (mut sum, mut shifted) = (0, other);
    for bit in (0..128).rev() {
        if (one >> bit) & 1 == 1 {
            sum ^= shifted;
        }
        let carry = shifted & 1;
        shifted = (shifted >> 1) ^ (carry * (0xe1 << 120));
    }
    sum
}

/// By Fermat: the power 2^128 - 2.
fn inverse(value: u128) -> u128 {
    let (mut out, mut square) = (1 << 127, value);
    for _ in 1..128 {
        square = times(square, square);
        out = times(out, square);
    }
    out
}
