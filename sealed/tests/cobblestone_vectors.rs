//! Every Cobblestone-256 vector of Project Wycheproof: what must open opens, what must not does not, and nothing
//! unauthentic is released on the way.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::Read;

use flate2::read::ZlibDecoder;
use kaibiao_sealed::{
    cobblestone::{CHUNK_BYTES, ChunkCipher, PREFIX_BYTES, Prefix, SEALED_CHUNK_BYTES, TAG_BYTES},
    unseal::{OpenFault, PartOpener},
};
use sha2::{Digest, Sha512};
use wycheproof::{
    TestResult,
    chunked_encryption::{Test, TestFlag, TestName, TestSet},
};

fn vectors() -> Vec<Test> {
    let set = TestSet::load(TestName::Cobblestone256).unwrap();
    set.test_groups.into_iter().flat_map(|group| group.tests).collect()
}

fn ciphertext(test: &Test) -> Vec<u8> {
    let mut out = Vec::new();
    ZlibDecoder::new(test.ct.as_slice()).read_to_end(&mut out).unwrap();
    out
}

fn opener(test: &Test, message: &[u8]) -> Result<PartOpener, OpenFault> {
    let prefix = Prefix(*message.first_chunk::<PREFIX_BYTES>().ok_or(OpenFault::Length)?);
    PartOpener::of_message(&test.key, &test.ctx, &prefix, PREFIX_BYTES as u64..message.len() as u64)
}

/// Reads a message from its beginning in steps of so many bytes; gives what was released before the end or fault.
fn read(test: &Test, message: &[u8], step: usize) -> (Vec<u8>, Result<(), OpenFault>) {
    let mut released = Vec::new();
    let opener = match opener(test, message) {
        Ok(opener) => opener,
        Err(fault) => return (released, Err(fault)),
    };
    let mut buf = vec![0; step];
    loop {
        match opener.read_at(&message, released.len() as u64, &mut buf) {
            Ok(0) => {
                assert_eq!(released.len() as u64, opener.clear_len());
                return (released, Ok(()));
            }
            Ok(count) => released.extend_from_slice(&buf[..count]),
            Err(fault) => {
                let again = opener.read_at(&message, released.len() as u64, &mut buf);
                assert!(again.is_err(), "a message that failed once keeps failing");
                return (released, Err(fault));
            }
        }
    }
}

#[test]
fn all_vectors_are_there() {
    let vectors = vectors();
    let rejected = vectors.iter().filter(|test| test.result == TestResult::Invalid).count();
    assert_eq!((vectors.len(), rejected), (35, 25));
}

#[test]
fn every_message_to_be_accepted_opens_to_its_text_however_it_is_read() {
    for test in vectors().iter().filter(|test| test.result == TestResult::Valid) {
        let message = ciphertext(test);
        for step in [CHUNK_BYTES, 100_003, 5_000_000] {
            let (released, result) = read(test, &message, step);
            result.unwrap_or_else(|fault| panic!("{}: {fault}", test.comment));
            assert_eq!(Some(released.len()), test.msg_length, "{}", test.comment);
            assert_eq!(Sha512::digest(&released).as_slice(), test.msg_sha512.as_ref().unwrap().as_slice());
        }
        let opener = opener(test, &message).unwrap();
        opener.check_chunks(&message, 0..opener.chunks(), &mut Vec::new()).unwrap();
    }
}

#[test]
fn every_message_to_be_rejected_is_rejected_and_releases_no_unauthentic_byte() {
    for test in vectors().iter().filter(|test| test.result == TestResult::Invalid) {
        let message = ciphertext(test);
        let (released, result) = read(test, &message, CHUNK_BYTES);
        assert!(result.is_err(), "{}", test.comment);
        let authentic = test.msg_length.unwrap_or(0);
        assert!(released.is_empty() || released.len() == authentic, "{}: {}", test.comment, released.len());
        if !released.is_empty() {
            assert!(test.flags.contains(&TestFlag::PartialPlaintext), "{}", test.comment);
            let expected = test.msg_sha512.as_ref().unwrap();
            assert_eq!(Sha512::digest(&released).as_slice(), expected.as_slice(), "{}", test.comment);
        }
        if let Ok(opener) = opener(test, &message) {
            let checked = opener.check_chunks(&message, 0..opener.chunks(), &mut Vec::new());
            assert!(matches!(checked, Err(OpenFault::Damaged { .. })), "{}", test.comment);
        }
    }
}

#[test]
fn a_fault_of_the_header_is_found_before_any_chunk_is_opened() {
    let mut seen = 0;
    for test in vectors().iter().filter(|test| test.flags.contains(&TestFlag::HeaderFailure)) {
        assert!(opener(test, &ciphertext(test)).is_err(), "{}", test.comment);
        seen += 1;
    }
    assert!(seen >= 10);
}

#[test]
fn another_key_or_context_is_told_from_damage() {
    let mut seen = 0;
    for test in &vectors() {
        if !test.flags.contains(&TestFlag::WrongKey) && !test.flags.contains(&TestFlag::WrongContext) {
            continue;
        }
        let fault = opener(test, &ciphertext(test)).err().unwrap();
        assert!(matches!(fault, OpenFault::WrongKey), "{}: {fault}", test.comment);
        seen += 1;
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_end_of_a_message_is_authentic_only_where_its_last_chunk_is() {
    for test in vectors().iter().filter(|test| test.result == TestResult::Invalid) {
        let message = ciphertext(test);
        let Ok(opener) = opener(test, &message) else { continue };
        let last = opener.chunks() - 1;
        let end = opener.check_chunks(&message, last..last + 1, &mut Vec::new());
        assert_eq!(end.is_ok(), test.flags.contains(&TestFlag::ValidFinalChunk), "{}", test.comment);
    }
}

#[test]
fn sealing_with_the_same_salt_gives_the_same_message() {
    for test in vectors().iter().filter(|test| test.result == TestResult::Valid) {
        let message = ciphertext(test);
        let (mut again, _) = read(test, &message, CHUNK_BYTES);
        let prefix = Prefix(*message.first_chunk().unwrap());
        let key: &[u8; 32] = test.key.as_slice().try_into().unwrap();
        let (cipher, found) = ChunkCipher::begin_with(key, &test.ctx, prefix.salt());
        assert_eq!(found, prefix, "{}", test.comment);

        // An empty last chunk follows a full one.
        let mut sealed = prefix.0.to_vec();
        let chunks = again.len() / CHUNK_BYTES + 1;
        for number in 0..chunks {
            let mut chunk: Vec<u8> = again.drain(..again.len().min(CHUNK_BYTES)).collect();
            chunk.extend_from_slice(&[0; TAG_BYTES]);
            assert!(chunk.len() <= SEALED_CHUNK_BYTES);
            cipher.seal_chunk(number as u64, &mut chunk);
            sealed.extend_from_slice(&chunk);
        }
        assert!(sealed == message, "{}", test.comment);
    }
}
