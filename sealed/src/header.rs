//! The header area of a sealed bid: magic, lengths, binding, statement, signature, padding.
//!
//! Its size is fixed before the parts are written, so that one pass writes the file; the statement names that
//! size, so that nobody can move the parts afterwards.

use std::ops::Range;

use kaibiao_protocol::{
    bid::{PartFacts, PartName},
    digest::Digest,
    refusal::RefusalCode,
};

use crate::{
    binding::{Binding, BindingFault},
    cobblestone::clear_bytes,
    digest::sha256,
    purpose::Purpose,
    signature::{SignatureFault, Signed, check_cms},
    statement::{StatedPart, Statement},
    strict_json::NotCanonical,
};

/// The first bytes of every sealed bid of this version.
pub const MAGIC: &[u8; 15] = b"KAIBIAO-JMBS-1\n";
/// Bytes of magic and lengths.
pub const PREAMBLE_BYTES: usize = MAGIC.len() + 4 * 4;
/// Header areas are whole pages.
pub const HEADER_PAGE_BYTES: usize = 4096;
/// The most bytes of a header area.
pub const HEADER_BYTES_MAX: usize = 1 << 20;

/// A header that exists is well-formed: binding, statement and lengths agree with each other. Its signature is
/// checked apart ([`Header::check_signature`]), for that costs an RSA operation.
#[derive(Clone, Debug)]
pub struct Header {
    /// What the bid is for, and for whom.
    pub binding: Binding,
    /// What is stated about the parts.
    pub statement: Statement,
    /// The supplier's signature over the statement (CMS, DER), unchecked.
    pub cms: Vec<u8>,
    /// SHA-256 of the whole header area.
    pub header_digest: Digest,
    /// SHA-256 of the binding.
    pub binding_digest: Digest,
    /// SHA-256 of the statement.
    pub statement_digest: Digest,
    /// SHA-256 of the signature.
    pub cms_digest: Digest,
    /// Bytes of the header area; the parts begin here.
    pub len: u64,
    /// The exact bytes.
    bytes: Vec<u8>,
    statement_range: Range<usize>,
}

/// Why bytes are no header area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// The bytes do not begin as a sealed bid does.
    #[error("not a sealed bid")]
    NotASealedBid,
    /// A sealed bid of another version.
    #[error("a sealed bid of a version unknown here")]
    UnknownVersion,
    /// The lengths are not those of any header area.
    #[error("the header's lengths are impossible")]
    Lengths,
    /// There are fewer or more bytes than the header area has.
    #[error("the header has {found} bytes instead of {expected}")]
    Cut {
        /// Bytes the header area has.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The padding is not all zero.
    #[error("the header's padding is not zero")]
    Padding,
    /// The binding is malformed.
    #[error(transparent)]
    Binding(#[from] BindingFault),
    /// The statement is malformed.
    #[error("the statement is {0}")]
    Statement(NotCanonical),
    /// The statement was made for another binding.
    #[error("the statement is about another binding")]
    OtherBinding,
    /// The statement was made for a header area of another size.
    #[error("the statement is about a header of another size")]
    OtherHeaderBytes,
    /// The parts stated are not those of the binding, in their order.
    #[error("the parts are not those of the binding")]
    PartsDiffer,
    /// A part's length is none that encryption gives.
    #[error("the length of part {0} is impossible")]
    PartLength(PartName),
}

impl HeaderFault {
    /// The fault's name in `docs/formats/sealed-bid.md`.
    pub fn code(&self) -> &'static str {
        match self {
            HeaderFault::NotASealedBid => "not_a_sealed_bid",
            HeaderFault::UnknownVersion | HeaderFault::Binding(BindingFault::UnknownVersion) => {
                "unknown_version"
            }
            HeaderFault::Lengths => "header_lengths",
            HeaderFault::Cut { .. } => "cut",
            HeaderFault::Padding => "header_padding",
            HeaderFault::Binding(BindingFault::UnknownSuite) => "unknown_suite",
            HeaderFault::Binding(BindingFault::UnknownWrap) => "unknown_wrap",
            HeaderFault::Binding(
                BindingFault::NotCanonical(_) | BindingFault::NoLot | BindingFault::WrappedKeyLength,
            ) => "binding_malformed",
            HeaderFault::Statement(_) => "statement_malformed",
            HeaderFault::OtherBinding => "other_binding",
            HeaderFault::OtherHeaderBytes => "other_header_bytes",
            HeaderFault::PartsDiffer => "parts_differ",
            HeaderFault::PartLength(_) => "part_length",
        }
    }

    /// How the platform refuses a file with this fault.
    pub fn refusal(&self) -> RefusalCode {
        match self {
            HeaderFault::NotASealedBid | HeaderFault::UnknownVersion => RefusalCode::NotASealedBid,
            HeaderFault::Lengths
            | HeaderFault::Cut { .. }
            | HeaderFault::Padding
            | HeaderFault::Binding(_)
            | HeaderFault::Statement(_)
            | HeaderFault::OtherBinding
            | HeaderFault::OtherHeaderBytes
            | HeaderFault::PartsDiffer
            | HeaderFault::PartLength(_) => RefusalCode::SealedBidDamaged,
        }
    }
}

/// Why the supplier's signature on a sealed bid does not hold.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SealSignatureFault {
    /// The signature itself.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// It holds, but another certificate made it than the one in the binding.
    #[error("signed by another certificate than the binding names")]
    OtherCertificate,
}

impl SealSignatureFault {
    /// The fault's name in `docs/formats/sealed-bid.md`.
    pub fn code(&self) -> &'static str {
        match self {
            SealSignatureFault::Signature(_) => "signature_invalid",
            SealSignatureFault::OtherCertificate => "other_certificate",
        }
    }
}

/// One part's place in the file.
#[derive(Clone, Copy, Debug)]
pub struct PartPlace<'a> {
    /// What is stated about it.
    pub stated: &'a StatedPart,
    /// Where its body begins in the file.
    pub offset: u64,
}

impl Header {
    /// How many bytes the header area has, from its first bytes; `None` if more of them are needed to tell
    /// ([`PREAMBLE_BYTES`] suffice).
    ///
    /// # Errors
    /// What is there cannot begin a sealed bid.
    pub fn length_needed(first: &[u8]) -> Result<Option<usize>, HeaderFault> {
        Ok(Preamble::parse(first)?.map(|preamble| preamble.header))
    }

    /// Reads a header area from exactly its bytes.
    ///
    /// # Errors
    /// See [`HeaderFault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderFault> {
        let too_short = HeaderFault::Cut { expected: PREAMBLE_BYTES, found: bytes.len() };
        let preamble = Preamble::parse(bytes)?.ok_or(too_short)?;
        if bytes.len() != preamble.header {
            return Err(HeaderFault::Cut { expected: preamble.header, found: bytes.len() });
        }
        let [binding_range, statement_range, cms_range] = preamble.sections();
        if bytes[cms_range.end..].iter().any(|&byte| byte != 0) {
            return Err(HeaderFault::Padding);
        }
        let binding_bytes = &bytes[binding_range];
        let binding = Binding::parse(binding_bytes)?;
        let binding_digest = sha256(binding_bytes);
        let statement_bytes = &bytes[statement_range.clone()];
        let statement = Statement::parse(statement_bytes).map_err(HeaderFault::Statement)?;
        check_agreement(&binding, &binding_digest, &statement, preamble.header)?;
        let cms = bytes[cms_range].to_vec();
        Ok(Self {
            header_digest: sha256(bytes),
            binding_digest,
            statement_digest: sha256(statement_bytes),
            cms_digest: sha256(&cms),
            len: preamble.header as u64,
            bytes: bytes.to_vec(),
            statement_range,
            binding,
            statement,
            cms,
        })
    }

    /// The exact bytes of the header area.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The exact bytes of the statement: what is signed.
    pub fn statement_bytes(&self) -> &[u8] {
        &self.bytes[self.statement_range.clone()]
    }

    /// The parts in their order, with their places in the file.
    pub fn parts(&self) -> impl Iterator<Item = PartPlace<'_>> {
        let mut next = self.len;
        self.statement.parts.iter().map(move |stated| {
            let offset = next;
            next += stated.length;
            PartPlace { stated, offset }
        })
    }

    /// One part's place; `None` if the bid has no such part.
    pub fn part(&self, part: PartName) -> Option<PartPlace<'_>> {
        self.parts().find(|place| place.stated.part == part)
    }

    /// What a receipt fixes about the parts.
    pub fn part_facts(&self) -> Vec<PartFacts> {
        self.statement.parts.iter().map(StatedPart::facts).collect()
    }

    /// Bytes of the whole file.
    pub fn file_len(&self) -> u64 {
        self.statement.parts.iter().fold(self.len, |sum, stated| sum + stated.length)
    }

    /// Checks that the certificate named in the binding signed the statement. Whether that certificate is to be
    /// trusted is another question ([`crate::trust`]).
    ///
    /// # Errors
    /// The signature does not hold, or it is another certificate's.
    pub fn check_signature(&self) -> Result<Signed, SealSignatureFault> {
        let signed = check_cms(Purpose::SealStatement, self.statement_bytes(), &self.cms)?;
        if signed.fingerprint != self.binding.signing_certificate {
            return Err(SealSignatureFault::OtherCertificate);
        }
        Ok(signed)
    }
}

fn check_agreement(
    binding: &Binding,
    binding_digest: &Digest,
    statement: &Statement,
    header_bytes: usize,
) -> Result<(), HeaderFault> {
    if statement.binding != *binding_digest {
        return Err(HeaderFault::OtherBinding);
    }
    if statement.header_bytes != header_bytes as u64 {
        return Err(HeaderFault::OtherHeaderBytes);
    }
    if !statement.parts.iter().map(|stated| stated.part).eq(binding.parts()) {
        return Err(HeaderFault::PartsDiffer);
    }
    let mut end = header_bytes as u64;
    for stated in &statement.parts {
        let fault = HeaderFault::PartLength(stated.part);
        clear_bytes(stated.length).ok_or(fault)?;
        end = end.checked_add(stated.length).filter(|&end| i64::try_from(end).is_ok()).ok_or(fault)?;
    }
    Ok(())
}

/// Magic and lengths.
struct Preamble {
    header: usize,
    binding: usize,
    statement: usize,
    cms: usize,
}

impl Preamble {
    /// `None` if the bytes may begin a preamble but do not hold all of it.
    fn parse(first: &[u8]) -> Result<Option<Self>, HeaderFault> {
        let seen = &first[..first.len().min(MAGIC.len())];
        if !MAGIC.starts_with(seen) {
            // The version's digits begin where the family's name ends.
            return Err(if seen.starts_with(FAMILY) {
                HeaderFault::UnknownVersion
            } else {
                HeaderFault::NotASealedBid
            });
        }
        let Some(lengths) = first.get(MAGIC.len()..PREAMBLE_BYTES) else { return Ok(None) };
        let mut numbers = lengths.chunks_exact(4).map(|four| {
            let number = u32::from_be_bytes(four.try_into().expect("chunks of four have four bytes"));
            usize::try_from(number).expect("a machine of 32 bits or more")
        });
        let mut next = || numbers.next().expect("there are four lengths");
        let preamble = Self { header: next(), binding: next(), statement: next(), cms: next() };
        let whole_pages = preamble.header.is_multiple_of(HEADER_PAGE_BYTES);
        let sections = [preamble.binding, preamble.statement, preamble.cms];
        let fits = sections.iter().all(|&len| (1..=HEADER_BYTES_MAX).contains(&len))
            && PREAMBLE_BYTES + sections.iter().sum::<usize>() <= preamble.header;
        if !whole_pages || preamble.header > HEADER_BYTES_MAX || !fits {
            return Err(HeaderFault::Lengths);
        }
        Ok(Some(preamble))
    }

    fn sections(&self) -> [Range<usize>; 3] {
        let binding = PREAMBLE_BYTES..PREAMBLE_BYTES + self.binding;
        let statement = binding.end..binding.end + self.statement;
        let cms = statement.end..statement.end + self.cms;
        [binding, statement, cms]
    }
}

const FAMILY: &[u8] = b"KAIBIAO-JMBS-";

/// The bytes a header area needs for these sections, in whole pages.
pub(crate) fn header_bytes_for(binding: usize, statement: usize, cms: usize) -> usize {
    (PREAMBLE_BYTES + binding + statement + cms).next_multiple_of(HEADER_PAGE_BYTES)
}

/// Puts a header area together; `None` if the sections do not fit into it.
pub(crate) fn assemble(binding: &[u8], statement: &[u8], cms: &[u8], header_bytes: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(header_bytes);
    out.extend_from_slice(MAGIC);
    for length in [header_bytes, binding.len(), statement.len(), cms.len()] {
        out.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
    }
    for section in [binding, statement, cms] {
        out.extend_from_slice(section);
    }
    if out.len() > header_bytes {
        return None;
    }
    out.resize(header_bytes, 0);
    Some(out)
}
