//! Sealed bids as they arrive.

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::{
    arrival::{Arrival, ArrivalFault, Arrived},
    digest::sha256,
    header::{HEADER_BYTES_MAX, HEADER_PAGE_BYTES, Header, HeaderFault, MAGIC, PREAMBLE_BYTES},
};

use super::{documented, has_one_spelling};

const DOCUMENT: &str = include_str!("../../../docs/formats/sealed-bid.md");

/// A header area: as it is, and put together from its sections so that lengths and digests agree and what lies
/// behind them is reached.
pub(crate) fn header(data: &[u8]) {
    read_header(data);
    if let Some(mended) = mended(data) {
        read_header(&mended);
    }
}

fn read_header(bytes: &[u8]) {
    let needed = Header::length_needed(bytes);
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(fault) => return documented(fault.code(), DOCUMENT),
    };
    assert_eq!(needed, Ok(Some(bytes.len())));
    assert!(bytes.len() <= HEADER_BYTES_MAX && header.len == bytes.len() as u64);
    assert_eq!(header.bytes(), bytes);
    assert_eq!(header.header_digest, sha256(bytes));
    let (binding, statement) = (header.binding.to_bytes(), header.statement.to_bytes());
    has_one_spelling(&binding);
    has_one_spelling(&statement);
    assert_eq!(statement, header.statement_bytes());
    assert_eq!(written(&binding, &statement, &header.cms, bytes.len()), bytes, "a header has one form");
    let ends = header.parts().map(|place| place.offset + place.stated.length);
    assert_eq!(ends.last(), Some(header.file_len()));
    match header.check_signature() {
        Ok(signed) => assert_eq!(signed.fingerprint, header.binding.signing_certificate),
        Err(fault) => documented(fault.code(), DOCUMENT),
    }
}

/// A header area in the form the document gives, written without the house's writer.
fn written(binding: &[u8], statement: &[u8], cms: &[u8], len: usize) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for length in [len, binding.len(), statement.len(), cms.len()] {
        out.extend((length as u32).to_be_bytes());
    }
    out.extend([binding, statement, cms].concat());
    out.resize(len, 0);
    out
}

/// The sections of a damaged header under lengths that fit, the statement naming the binding and the size there are.
fn mended(data: &[u8]) -> Option<Vec<u8>> {
    let body = data.get(PREAMBLE_BYTES..)?;
    let binding_len = body.windows(2).position(|two| two == b"}{")? + 1;
    let (binding, rest) = body.split_at(binding_len);
    let statement_len = rest.windows(2).position(|two| two == b"]}")? + 2;
    let (statement, cms) = rest.split_at(statement_len);
    let cms = &cms[..cms.iter().rposition(|byte| *byte != 0)? + 1];
    let statement = std::str::from_utf8(statement).ok()?;
    let (len, digest) = (data.len().next_multiple_of(HEADER_PAGE_BYTES), sha256(binding));
    let statement = with_member(statement, "\"binding\":\"", "\"", &digest.to_string())?;
    let statement = with_member(&statement, "\"header_bytes\":", ",", &len.to_string())?;
    Some(written(
        binding,
        statement.as_bytes(),
        cms,
        len.max(PREAMBLE_BYTES + binding.len() + statement.len() + cms.len()),
    ))
}

fn with_member(text: &str, before: &str, after: &str, value: &str) -> Option<String> {
    let begin = text.find(before)? + before.len();
    let end = begin + text[begin..].find(after)?;
    Some([&text[..begin], value, &text[end..]].concat())
}

/// A whole file: however it is cut into pieces, the verdict is one, and it is the one that reading it whole gives.
pub(crate) fn arrival(data: &[u8]) {
    let whole = taken_in(data, data.len().max(1));
    // The pieces' length comes from the input, so that it is drawn as well.
    let piece = 1 + usize::from(data.last().copied().unwrap_or(0)) * 7;
    let in_pieces = taken_in(data, piece);
    assert_eq!(outline(&whole), outline(&in_pieces), "in pieces of {piece}");
    match whole {
        Err(fault) => {
            documented(fault.code(), DOCUMENT);
            let _ = fault.refusal();
        }
        Ok(arrived) => {
            assert_eq!(arrived.size_bytes, data.len() as u64);
            let header =
                Header::parse(&data[..arrived.header.len as usize]).expect("what arrived has a header");
            for place in header.parts() {
                let body = &data[place.offset as usize..][..place.stated.length as usize];
                assert_eq!(sha256(body), place.stated.ciphertext);
            }
            assert_eq!(header.file_len(), arrived.size_bytes);
        }
    }
}

fn taken_in(data: &[u8], piece: usize) -> Result<Arrived, ArrivalFault> {
    let mut arrival = Arrival::new();
    for piece in data.chunks(piece) {
        let before = arrival.taken();
        if let Err(fault) = arrival.push(piece) {
            assert_eq!(arrival.push(&[0]), Err(fault), "a fault is for good");
            return Err(fault);
        }
        assert_eq!(arrival.taken(), before + piece.len() as u64);
    }
    arrival.finish()
}

/// What two verdicts must have in common: where a file is cut, one reader has counted more than another.
fn outline(verdict: &Result<Arrived, ArrivalFault>) -> Result<(Digest, u64), &'static str> {
    match verdict {
        Ok(arrived) => Ok((arrived.header.header_digest, arrived.size_bytes)),
        Err(ArrivalFault::Header(HeaderFault::Cut { .. })) => Err("cut"),
        Err(fault) => Err(fault.code()),
    }
}
