//! Sealing, arriving, opening and sealing again, at the doors that the client and the platform use.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::{
    convert::Infallible,
    io::{Cursor, Read},
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use common::Supplier;
use kaibiao_protocol::{bid::PartName, ids::LotNo};
use kaibiao_sealed::{
    arrival::{Arrival, ArrivalFault, Arrived},
    check::check_file,
    cobblestone::CHUNK_BYTES,
    header::{Header, HeaderFault, MAGIC},
    key::BidKey,
    practice::SoftKey,
    read_at::ReadAt,
    unseal::{OpenFault, OpenPart, PartOpener},
    wrap::WrapAlgorithm,
    writer::{ClearPart, ResealFault, SealFault, Sealing, StreamFault, reseal},
};
use proptest::prelude::*;

/// Seals parts that are given by their bytes: the common part, then lot 1, lot 2 and so on.
fn seal(parts: &[Vec<u8>]) -> SealedBid {
    let lots: Vec<u16> = (1..parts.len() as u16).collect();
    let supplier = Supplier::get();
    let (binding, key) = supplier.bind(&lots, WrapAlgorithm::RsaOaepSha256);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    let mut out = Cursor::new(Vec::new());
    let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(supplier.signing.sign(bytes));
    let header = sealing.seal(clear_parts(parts), &mut sign, &mut out, &mut |_| ()).unwrap();
    SealedBid { file: out.into_inner(), header, key }
}

struct SealedBid {
    file: Vec<u8>,
    header: Header,
    key: BidKey,
}

fn part_name(at: usize) -> PartName {
    match at {
        0 => PartName::Common,
        lot => PartName::Lot(LotNo::new(lot as u16).unwrap()),
    }
}

fn clear_parts(parts: &[Vec<u8>]) -> Vec<ClearPart<'_>> {
    let clear = parts.iter().enumerate().map(|(at, bytes)| ClearPart {
        part: part_name(at),
        bytes: bytes.len() as u64,
        source: Box::new(bytes.as_slice()) as Box<dyn Read>,
    });
    clear.collect()
}

fn filled(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8) ^ seed).collect()
}

fn parts(sizes: &[usize]) -> Vec<Vec<u8>> {
    sizes.iter().zip(1..).map(|(bytes, seed)| filled(*bytes, seed)).collect()
}

fn arrive(file: &[u8], piece: usize) -> Result<Arrived, ArrivalFault> {
    let mut arrival = Arrival::new();
    for piece in file.chunks(piece) {
        arrival.push(piece)?;
    }
    arrival.finish()
}

fn open(bid: &SealedBid, part: PartName) -> OpenPart<&Vec<u8>> {
    let key = bid.key.part_key(&bid.header.binding_digest, part);
    OpenPart::new(PartOpener::new(&bid.header, part, &key).unwrap(), &bid.file)
}

fn opened(bid: &SealedBid, part: PartName) -> Vec<u8> {
    let part = open(bid, part);
    let mut clear = vec![0; part.clear_len() as usize];
    part.read_exact_at(&mut clear, 0).unwrap();
    clear
}

fn check(bid: &SealedBid, threads: usize) -> Result<(), OpenFault> {
    let threads = NonZeroUsize::new(threads).unwrap();
    check_file(&bid.file, bid.file.len() as u64, &bid.header, &bid.key, threads, &|_| ())
}

/// What a platform can find out about a file without any key.
fn is_refused_by_the_platform(file: &[u8]) -> bool {
    match arrive(file, 1 << 20) {
        Err(_) => true,
        Ok(arrived) => arrived.header.check_signature().is_err(),
    }
}

#[test]
fn a_sealed_bid_arrives_and_opens_to_its_parts() {
    let clear = parts(&[100, 3 * CHUNK_BYTES, 5_000_000]);
    let bid = seal(&clear);
    let arrived = arrive(&bid.file, 4_096).unwrap();
    assert_eq!(arrived.size_bytes, bid.file.len() as u64);
    assert_eq!(arrived.header.header_digest, bid.header.header_digest);
    let signed = arrived.header.check_signature().unwrap();
    assert_eq!(signed.certificate, Supplier::get().signing_certificate);
    check(&bid, 1).unwrap();
    check(&bid, 3).unwrap();
    for (at, clear) in clear.iter().enumerate() {
        assert!(opened(&bid, part_name(at)) == *clear);
    }
}

#[test]
fn the_bid_key_comes_back_from_the_header() {
    let supplier = Supplier::get();
    let bid = seal(&parts(&[1, 1]));
    let binding = &bid.header.binding;
    let key = supplier.encryption.unwrap(binding.wrap, &binding.wrapped_key.0).unwrap();
    assert_eq!(key.as_slice(), bid.key.expose());
}

#[test]
fn sealing_again_gives_the_same_bytes() {
    let clear = parts(&[100, 40_000]);
    let bid = seal(&clear);
    let mut again = Vec::new();
    reseal(&bid.header, &bid.key, clear_parts(&clear), &mut again, &mut |_| ()).unwrap();
    assert!(again == bid.file);
}

#[test]
fn what_is_not_the_bid_does_not_seal_again() {
    let clear = parts(&[100, 40_000]);
    let bid = seal(&clear);
    let again = |key: &BidKey, clear: &[Vec<u8>]| {
        reseal(&bid.header, key, clear_parts(clear), &mut Vec::new(), &mut |_| ()).unwrap_err()
    };
    assert!(matches!(again(&BidKey::draw(), &clear), ResealFault::WrongKey));
    let mut other = clear.clone();
    other[1][39_999] ^= 1;
    assert!(matches!(again(&bid.key, &other), ResealFault::Differs(part) if part == part_name(1)));
    other[1].pop();
    assert!(matches!(again(&bid.key, &other), ResealFault::Differs(part) if part == part_name(1)));
    assert!(matches!(again(&bid.key, &clear[..1]), ResealFault::PartsDiffer));
}

#[test]
fn the_same_package_sealed_twice_gives_different_bytes() {
    let clear = parts(&[100, 100]);
    let (one, two) = (seal(&clear), seal(&clear));
    assert_ne!(one.key.expose(), two.key.expose());
    let ciphertexts = |bid: &SealedBid| bid.header.part_facts().into_iter().map(|facts| facts.ciphertext);
    assert!(ciphertexts(&one).zip(ciphertexts(&two)).all(|(one, two)| one != two));
}

#[test]
fn a_bid_is_not_sealed_with_what_does_not_belong_together() {
    let supplier = Supplier::get();
    let clear = parts(&[100, 100]);
    let (binding, key) = supplier.bind(&[1, 2], WrapAlgorithm::RsaOaepSha1);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    let seal = |sealing: &Sealing<'_>, clear: &[Vec<u8>]| {
        let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(supplier.signing.sign(bytes));
        sealing.seal(clear_parts(clear), &mut sign, &mut Cursor::new(Vec::new()), &mut |_| ()).unwrap_err()
    };
    assert!(matches!(seal(&sealing, &clear), SealFault::PartsDiffer));
    let (binding, _) = supplier.bind(&[1], WrapAlgorithm::RsaOaepSha1);
    let other = &supplier.encryption_certificate;
    let sealing = Sealing { binding: &binding, key: &key, signing_certificate: other };
    assert!(matches!(seal(&sealing, &clear), SealFault::OtherCertificate));
}

#[test]
fn a_source_shorter_or_longer_than_said_is_noticed() {
    let supplier = Supplier::get();
    let clear = parts(&[100, 40_000]);
    let (binding, key) = supplier.bind(&[1], WrapAlgorithm::RsaOaepSha256);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    for said in [39_999, 40_001, 0, 10_000_000] {
        let mut parts = clear_parts(&clear);
        parts[1].bytes = said;
        let mut sign = |_: &[u8]| -> Result<Vec<u8>, Infallible> { panic!("nothing is signed") };
        let result = sealing.seal(parts, &mut sign, &mut Cursor::new(Vec::new()), &mut |_| ());
        let fault = result.unwrap_err();
        assert!(matches!(fault, SealFault::Stream(StreamFault::SourceLength(part)) if part == part_name(1)));
    }
}

#[test]
fn a_token_that_fails_or_lies_leaves_no_sealed_bid_behind() {
    let supplier = Supplier::get();
    let clear = parts(&[100, 100]);
    let (binding, key) = supplier.bind(&[1], WrapAlgorithm::RsaOaepSha256);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    let stranger = SoftKey::generate().unwrap();
    let mut out = Cursor::new(Vec::new());
    let mut pulled = |_: &[u8]| Err("the token was pulled");
    let fault = sealing.seal(clear_parts(&clear), &mut pulled, &mut out, &mut |_| ()).unwrap_err();
    assert!(matches!(fault, SealFault::Signing(_)));
    assert!(!out.get_ref().starts_with(MAGIC));
    let mut out = Cursor::new(Vec::new());
    let mut lying = |bytes: &[u8]| Ok::<_, Infallible>(stranger.sign(bytes));
    let fault = sealing.seal(clear_parts(&clear), &mut lying, &mut out, &mut |_| ()).unwrap_err();
    assert!(matches!(fault, SealFault::BadSignature(_)));
    assert!(!out.get_ref().starts_with(MAGIC));
}

#[test]
fn progress_of_sealing_and_checking_adds_up() {
    let supplier = Supplier::get();
    let clear = parts(&[0, 9_000_000]);
    let (binding, key) = supplier.bind(&[1], WrapAlgorithm::RsaOaepSha256);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    let mut out = Cursor::new(Vec::new());
    let mut told = Vec::new();
    let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(supplier.signing.sign(bytes));
    let header =
        sealing.seal(clear_parts(&clear), &mut sign, &mut out, &mut |bytes| told.push(bytes)).unwrap();
    assert_eq!(told.iter().sum::<u64>(), 9_000_000);
    assert!(told.len() > 2, "a large part is told of on the way");
    let checked = AtomicU64::new(0);
    let file = out.into_inner();
    let count = |bytes| {
        checked.fetch_add(bytes, Ordering::Relaxed);
    };
    check_file(&file, file.len() as u64, &header, &key, NonZeroUsize::new(2).unwrap(), &count).unwrap();
    assert_eq!(checked.into_inner(), file.len() as u64 - header.len);
}

#[test]
fn the_arrival_tells_the_header_as_soon_as_it_is_in() {
    let bid = seal(&parts(&[100, 100]));
    let mut arrival = Arrival::new();
    let header_len = bid.header.len as usize;
    for at in 0..header_len {
        assert!(arrival.header().is_none());
        arrival.push(&bid.file[at..=at]).unwrap();
    }
    assert_eq!(arrival.header().unwrap().header_digest, bid.header.header_digest);
    arrival.push(&[]).unwrap();
    arrival.push(&bid.file[header_len..]).unwrap();
    assert_eq!(arrival.taken(), bid.file.len() as u64);
    arrival.finish().unwrap();
}

#[test]
fn an_arrival_that_failed_keeps_failing() {
    let bid = seal(&parts(&[100, 100]));
    let mut damaged = bid.file.clone();
    let at = bid.header.len as usize;
    damaged[at] ^= 1;
    let mut arrival = Arrival::new();
    let fault = arrival.push(&damaged).unwrap_err();
    assert_eq!(fault, ArrivalFault::PartDamaged(PartName::Common));
    assert_eq!(arrival.push(&[]), Err(fault));
    assert_eq!(arrival.push(b"more"), Err(fault));
    assert!(arrival.header().is_none());
    assert_eq!(arrival.finish().unwrap_err(), fault);
}

#[test]
fn wrong_from_the_first_byte_is_told_at_the_first_byte() {
    let mut arrival = Arrival::new();
    assert_eq!(arrival.push(b"%"), Err(ArrivalFault::Header(HeaderFault::NotASealedBid)));
    let mut arrival = Arrival::new();
    arrival.push(b"KAIBIAO-JMBS-").unwrap();
    assert_eq!(arrival.push(b"7"), Err(ArrivalFault::Header(HeaderFault::UnknownVersion)));
}

#[test]
fn a_cut_upload_says_how_much_is_missing() {
    let bid = seal(&parts(&[100, 100]));
    let whole = bid.file.len();
    for cut in [0, 1, 30, 31, 4_000] {
        let fault = arrive(&bid.file[..cut], 7).unwrap_err();
        assert_eq!(fault, ArrivalFault::Cut { expected: None, found: cut as u64 });
    }
    for cut in [bid.header.len as usize, whole - 200, whole - 1] {
        let fault = arrive(&bid.file[..cut], 7).unwrap_err();
        assert_eq!(fault, ArrivalFault::Cut { expected: Some(whole as u64), found: cut as u64 });
    }
}

#[test]
fn a_check_names_the_first_fault_of_the_file_and_the_wrong_key_by_name() {
    let mut bid = seal(&parts(&[100, 100 * CHUNK_BYTES]));
    let body = bid.header.part(part_name(1)).unwrap().offset as usize;
    let sealed = CHUNK_BYTES + 16;
    bid.file[body + 90 * sealed] ^= 1;
    bid.file[body + 7 * sealed] ^= 1;
    for threads in [1, 2, 4] {
        assert!(matches!(check(&bid, threads), Err(OpenFault::Damaged { chunk: 7 })));
    }
    bid.key = BidKey::draw();
    assert!(matches!(check(&bid, 2), Err(OpenFault::WrongKey)));
    bid.file.pop();
    assert!(matches!(check(&bid, 2), Err(OpenFault::Cut)));
    bid.file.extend([0, 0]);
    assert!(matches!(check(&bid, 2), Err(OpenFault::TrailingBytes)));
}

#[test]
fn a_part_the_bid_does_not_have_is_not_opened() {
    let bid = seal(&parts(&[100, 100]));
    let key = bid.key.part_key(&bid.header.binding_digest, part_name(2));
    let fault = PartOpener::new(&bid.header, part_name(2), &key).err().unwrap();
    assert!(matches!(fault, OpenFault::NoSuchPart(part) if part == part_name(2)));
}

#[test]
fn the_key_of_one_part_opens_no_other() {
    let bid = seal(&parts(&[100, 100, 100]));
    let key = bid.key.part_key(&bid.header.binding_digest, part_name(1));
    for other in [part_name(0), part_name(2)] {
        assert!(matches!(PartOpener::new(&bid.header, other, &key), Err(OpenFault::WrongKey)));
    }
}

#[test]
fn nothing_is_read_from_a_part_whose_end_is_not_authentic() {
    let mut bid = seal(&parts(&[100, 2 * CHUNK_BYTES]));
    *bid.file.last_mut().unwrap() ^= 1;
    let part = open(&bid, part_name(1));
    let fault = part.opener().read_at(&bid.file, 0, &mut [0; 16]).unwrap_err();
    assert!(matches!(fault, OpenFault::Damaged { chunk: 2 }));
}

#[test]
fn reading_beyond_the_end_gives_what_is_there() {
    let bid = seal(&parts(&[100, 10]));
    let part = open(&bid, PartName::Common);
    let mut buf = [0; 64];
    assert_eq!(part.opener().read_at(&bid.file, 60, &mut buf).unwrap(), 40);
    assert_eq!(part.opener().read_at(&bid.file, 100, &mut buf).unwrap(), 0);
    assert_eq!(part.opener().read_at(&bid.file, u64::MAX, &mut buf).unwrap(), 0);
    assert!(part.read_exact_at(&mut buf, 60).is_err());
    let empty = seal(&parts(&[0, 10]));
    assert_eq!(open(&empty, PartName::Common).opener().read_at(&empty.file, 0, &mut buf).unwrap(), 0);
}

#[test]
fn a_world_that_fails_is_told_from_a_bid_that_fails() {
    struct Broken;
    impl ReadAt for Broken {
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let bid = seal(&parts(&[100, 10]));
    let part = open(&bid, PartName::Common);
    let fault = part.opener().check_chunks(&Broken, 0..1, &mut Vec::new()).unwrap_err();
    assert!(matches!(fault, OpenFault::Unreadable(_)));
    let short = bid.file[..bid.file.len() - 200].to_vec();
    let fault = part.opener().check_chunks(&short, 0..1, &mut Vec::new()).unwrap_err();
    assert!(matches!(fault, OpenFault::Cut));
}

#[test]
fn every_byte_of_a_sealed_bid_counts() {
    let bid = seal(&parts(&[50, 60]));
    let mut file = bid.file;
    for at in 0..file.len() {
        let flip = 1 << (at % 8);
        file[at] ^= flip;
        assert!(is_refused_by_the_platform(&file), "bit {} of byte {at}", at % 8);
        file[at] ^= flip;
    }
    assert!(!is_refused_by_the_platform(&file));
}

/// Sizes near the edges of chunks, buffers and batches, and any others.
fn part_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..200_usize,
        (0..20_usize, 0..3_usize).prop_map(|(chunks, more)| (chunks * CHUNK_BYTES + more).saturating_sub(1)),
        (255..258_usize, 0..3_usize)
            .prop_map(|(chunks, more)| (chunks * CHUNK_BYTES + more).saturating_sub(1)),
        0..700_000_usize,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn parts_of_any_size_come_back(
        sizes in prop::collection::vec(part_bytes(), 2..5),
        piece in 1..100_000_usize,
    ) {
        let clear = parts(&sizes);
        let bid = seal(&clear);
        let arrived = arrive(&bid.file, piece).unwrap();
        prop_assert_eq!(arrived.size_bytes, bid.header.file_len());
        arrived.header.check_signature().unwrap();
        check(&bid, 2).unwrap();
        for (at, clear) in clear.iter().enumerate() {
            prop_assert!(opened(&bid, part_name(at)) == *clear);
        }
        let mut again = Vec::new();
        reseal(&bid.header, &bid.key, clear_parts(&clear), &mut again, &mut |_| ()).unwrap();
        prop_assert!(again == bid.file);
    }

    #[test]
    fn any_stretch_of_a_part_reads_alike(
        bytes in part_bytes(),
        from in 0..800_000_u64,
        len in 0..600_000_usize,
    ) {
        let clear = parts(&[0, bytes]);
        let bid = seal(&clear);
        let part = open(&bid, part_name(1));
        let mut buf = vec![0; len];
        let count = part.opener().read_at(&bid.file, from, &mut buf).unwrap();
        let from = (from as usize).min(bytes);
        let expected = &clear[1][from..bytes.min(from + len)];
        prop_assert!(&buf[..count] == expected);
    }

    #[test]
    fn any_flipped_bit_is_refused_without_a_key_and_any_in_a_part_with_one(
        bytes in part_bytes(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let mut bid = seal(&parts(&[70, bytes]));
        let at = at.index(bid.file.len());
        bid.file[at] ^= 1 << bit;
        prop_assert!(is_refused_by_the_platform(&bid.file));
        if at as u64 >= bid.header.len {
            let found = check(&bid, 2);
            prop_assert!(matches!(found, Err(OpenFault::Damaged { .. })), "damage is found");
        }
    }

    #[test]
    fn an_arrival_survives_any_bytes(start in 0..40_usize, noise in prop::collection::vec(any::<u8>(), 0..300)) {
        let bid = seal(&parts(&[1, 1]));
        let file = [&bid.file[..start], &noise].concat();
        let refused = arrive(&file, 11).is_err();
        prop_assert!(refused || file == bid.file);
    }
}

#[test]
fn parts_may_come_from_files() {
    let supplier = Supplier::get();
    let folder = tempfile::tempdir().unwrap();
    let clear = parts(&[100, 50_000]);
    let mut sources = clear_parts(&clear);
    let path = folder.path().join("lot");
    std::fs::write(&path, &clear[1]).unwrap();
    sources[1].source = Box::new(std::fs::File::open(&path).unwrap().take(50_000));
    let (binding, key) = supplier.bind(&[1], WrapAlgorithm::RsaPkcs1V15);
    let sealing =
        Sealing { binding: &binding, key: &key, signing_certificate: &supplier.signing_certificate };
    let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(supplier.signing.sign(bytes));
    let mut out = std::fs::File::create_new(folder.path().join("bid.jmbs")).unwrap();
    let header = sealing.seal(sources, &mut sign, &mut out, &mut |_| ()).unwrap();
    let file = std::fs::read(folder.path().join("bid.jmbs")).unwrap();
    let bid = SealedBid { file, header, key };
    arrive(&bid.file, 4_096).unwrap();
    assert!(opened(&bid, part_name(1)) == clear[1]);
}
