//! Sealing a bid package, and sealing it again to the same bytes.

use std::io::{self, Seek, SeekFrom, Write};

use kaibiao_protocol::{bid::PartName, digest::Digest};

use crate::{
    binding::{Binding, BindingFault, part_context},
    body_stream::{Lane, stream_bodies},
    cobblestone::{ChunkCipher, body_bytes},
    digest::sha256,
    header::{HEADER_BYTES_MAX, Header, SealSignatureFault, assemble, header_bytes_for},
    key::BidKey,
    purpose::Purpose,
    signature::{SigningFault, sign_cms},
    statement::{StatedPart, Statement, StatementFormat},
};

pub use crate::{
    body_stream::{ClearPart, StreamFault},
    signature::Signer,
};

/// What a bid is sealed with.
pub struct Sealing<'a> {
    /// What the bid is for, and for whom.
    pub binding: &'a Binding,
    /// The key the binding holds in wrapped form. A key seals once: it is drawn anew for each sealing.
    pub key: &'a BidKey,
    /// The certificate of the signing token (DER).
    pub signing_certificate: &'a [u8],
}

/// Why a bid was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealFault<E> {
    /// The binding is impossible.
    #[error(transparent)]
    Binding(#[from] BindingFault),
    /// The parts are not those of the binding, in their order.
    #[error("the parts are not those of the binding")]
    PartsDiffer,
    /// The part is larger than the format can hold.
    #[error("part {0} is too large")]
    TooLarge(PartName),
    /// The signing certificate is not the one the binding names.
    #[error("the signing certificate is not the one the binding names")]
    OtherCertificate,
    /// Reading or writing failed.
    #[error(transparent)]
    Stream(#[from] StreamFault),
    /// The token did not sign, or its certificate cannot.
    #[error(transparent)]
    Signing(SigningFault<E>),
    /// The token gave a signature that does not hold.
    #[error("the token's signature does not hold: {0}")]
    BadSignature(SealSignatureFault),
    /// Binding, statement and signature do not fit into a header area.
    #[error("the header would be too large")]
    HeaderTooLarge,
}

impl Sealing<'_> {
    /// Seals the parts into `out`, which is empty, in one pass; `signer` is asked once, at the end. `progress` is
    /// told clear bytes as they are done. Draws salts. Until the last write `out` does not begin as a sealed bid
    /// does.
    ///
    /// # Errors
    /// See [`SealFault`]; what was written by then is worthless.
    pub fn seal<W: Write + Seek, E>(
        &self,
        parts: Vec<ClearPart<'_>>,
        signer: &mut Signer<'_, E>,
        out: &mut W,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Header, SealFault<E>> {
        let binding_bytes = self.checked_binding(&parts)?;
        let binding_digest = sha256(&binding_bytes);
        let mut stated = Vec::with_capacity(parts.len());
        let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(parts.len());
        for part in parts {
            let length = body_bytes(part.bytes).ok_or(SealFault::TooLarge(part.part))?;
            let key = self.key.part_key(&binding_digest, part.part);
            let context = part_context(&binding_digest, part.part);
            let (cipher, prefix) = ChunkCipher::begin(key.expose(), context.as_bytes());
            stated.push(StatedPart { part: part.part, prefix, length, ciphertext: UNKNOWN_YET });
            lanes.push((part, cipher));
        }
        let mut statement = Statement {
            format: StatementFormat::V1,
            binding: binding_digest,
            header_bytes: 0,
            parts: stated,
        };
        let header_bytes = self.reserve(binding_bytes.len(), &statement);
        if header_bytes > HEADER_BYTES_MAX {
            return Err(SealFault::HeaderTooLarge);
        }
        statement.header_bytes = header_bytes as u64;

        out.write_all(&vec![0; header_bytes]).map_err(StreamFault::Write)?;
        let digests = stream_bodies(lanes, out, progress)?;
        for (part, digest) in statement.parts.iter_mut().zip(digests) {
            part.ciphertext = digest;
        }

        let statement_bytes = statement.to_bytes();
        let cms = sign_cms(Purpose::SealStatement, &statement_bytes, self.signing_certificate, signer)
            .map_err(SealFault::Signing)?;
        let bytes = assemble(&binding_bytes, &statement_bytes, &cms, header_bytes)
            .ok_or(SealFault::HeaderTooLarge)?;
        let header =
            Header::parse(&bytes).expect("a header put together from a binding and its statement parses");
        header.check_signature().map_err(SealFault::BadSignature)?;
        finish(out, &bytes).map_err(StreamFault::Write)?;
        Ok(header)
    }

    fn checked_binding<E>(&self, parts: &[ClearPart<'_>]) -> Result<Vec<u8>, SealFault<E>> {
        self.binding.check()?;
        if !parts.iter().map(|part| part.part).eq(self.binding.parts()) {
            return Err(SealFault::PartsDiffer);
        }
        if sha256(self.signing_certificate) != self.binding.signing_certificate {
            return Err(SealFault::OtherCertificate);
        }
        Ok(self.binding.to_bytes())
    }

    /// Bytes of the header area: all is known but the signature's length, which the certificate bounds.
    fn reserve(&self, binding: usize, statement: &Statement) -> usize {
        // The size stands in the statement itself; it has at most this many digits.
        let statement = statement.to_bytes().len() + HEADER_BYTES_MAX.to_string().len();
        // The signature holds the certificate, once more its issuer's name, attributes and up to 1024 bytes of RSA.
        let cms = 2 * self.signing_certificate.len() + CMS_EXTRA_BYTES;
        header_bytes_for(binding, statement, cms)
    }
}

/// Stands in the statement until the part is hashed.
const UNKNOWN_YET: Digest = Digest([0; 32]);

const CMS_EXTRA_BYTES: usize = 2048;

fn finish<W: Write + Seek>(out: &mut W, header: &[u8]) -> io::Result<()> {
    out.seek(SeekFrom::Start(0))?;
    out.write_all(header)?;
    out.flush()
}

/// Why a package was not sealed again.
#[derive(Debug, thiserror::Error)]
pub enum ResealFault {
    /// The key is not the one the bid was sealed with.
    #[error("the key is not the one the bid was sealed with")]
    WrongKey,
    /// The parts are not those of the bid, in their order.
    #[error("the parts are not those of the bid")]
    PartsDiffer,
    /// The part is not the one that was sealed.
    #[error("part {0} is not the one that was sealed")]
    Differs(PartName),
    /// Reading or writing failed.
    #[error(transparent)]
    Stream(#[from] StreamFault),
}

/// Writes again, byte for byte, the sealed bid with this header, from its key and its parts.
///
/// # Errors
/// See [`ResealFault`]; what was written by then is worthless.
pub fn reseal(
    header: &Header,
    key: &BidKey,
    parts: Vec<ClearPart<'_>>,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ResealFault> {
    let stated = &header.statement.parts;
    if !parts.iter().map(|part| part.part).eq(stated.iter().map(|part| part.part)) {
        return Err(ResealFault::PartsDiffer);
    }
    let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(parts.len());
    for (part, stated) in parts.into_iter().zip(stated) {
        // A new message under the same salt is safe only if it is the same message: another length tells at once
        // that it is not. Another content of the same length is told by the digest, and never leaves the supplier.
        if part.bytes != stated.clear_bytes() {
            return Err(ResealFault::Differs(part.part));
        }
        let key = key.part_key(&header.binding_digest, part.part);
        let context = part_context(&header.binding_digest, part.part);
        let cipher = ChunkCipher::resume(key.expose(), context.as_bytes(), &stated.prefix)
            .map_err(|_| ResealFault::WrongKey)?;
        lanes.push((part, cipher));
    }
    out.write_all(header.bytes()).map_err(StreamFault::Write)?;
    let digests = stream_bodies(lanes, out, progress)?;
    for (stated, digest) in stated.iter().zip(digests) {
        if stated.ciphertext != digest {
            return Err(ResealFault::Differs(stated.part));
        }
    }
    out.flush().map_err(StreamFault::Write)?;
    Ok(())
}
