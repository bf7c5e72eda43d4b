//! A supplier who seals, for the benches: practice certificates, a soft token, and bytes that cannot be
//! guessed at.

use std::{
    error::Error,
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use kaibiao_bidder::{
    practice::{PracticeToken, PracticeVendor, TokenKind, TokenShop},
    token::{Token, pkcs12::Pkcs12Token},
};
use kaibiao_protocol::{bid::PartName, blob::Blob, ids::LotNo, moment::Moment};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    header::Header,
    key::BidKey,
    practice::Span,
    wrap::{WrapAlgorithm, wrap_to},
    writer::{ClearPart, Sealing},
};

/// The project every bench's bid is for.
pub const PROJECT: &str = "BENCH-1";
/// The supplier's organisation.
pub const SUPPLIER: &str = "mingde";

/// A supplier with one token.
pub struct Supplier {
    /// The token's belongings: its PKCS#12 file and PIN file lie in the folder it was made in.
    pub practice: PracticeToken,
    token: Pkcs12Token,
}

impl Supplier {
    /// Makes a token under `folder`. Draws RSA keys, which takes a second or two.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn new(folder: &Path) -> Result<Self, Box<dyn Error>> {
        // 2020 to 2060: a bench does not look at the calendar.
        let span = Span { from: Moment(1_577_836_800_000_000), until: Moment(2_840_140_800_000_000) };
        let mut shop = TokenShop::new(folder, TokenKind::Files, span)?;
        let practice = shop.add_supplier(SUPPLIER, PracticeVendor::Tiangu)?;
        let token = practice.in_memory()?;
        Ok(Self { practice, token })
    }

    /// A binding for lot 1, with a fresh key wrapped in it.
    ///
    /// # Errors
    /// None with a practice certificate.
    pub fn bind(&self) -> Result<(Binding, BidKey), Box<dyn Error>> {
        let key = BidKey::draw();
        let wrap = WrapAlgorithm::RsaOaepSha256;
        let encryption = &self.practice.encryption_certificate;
        let binding = Binding {
            format: BindingFormat::V1,
            project: PROJECT.parse()?,
            supplier: SUPPLIER.parse()?,
            lots: [lot()].into(),
            signing_certificate: sha256(&self.practice.signing_certificate),
            encryption_certificate: sha256(encryption),
            opening_key: sha256(b"the opening key of a bench"),
            suite: Suite::Cobblestone256,
            wrap,
            wrapped_key: Blob(wrap_to(encryption, wrap, key.expose())?),
        };
        Ok((binding, key))
    }

    /// Seals parts into `out`.
    ///
    /// # Errors
    /// Reading or writing failed.
    pub fn seal<W: Write + Seek>(
        &self,
        binding: &Binding,
        key: &BidKey,
        parts: Vec<ClearPart<'_>>,
        out: &mut W,
    ) -> Result<Header, Box<dyn Error>> {
        let certificate = &self.practice.signing_certificate;
        let fingerprint = sha256(certificate);
        let sealing = Sealing { binding, key, signing_certificate: certificate };
        let mut sign = |message: &[u8]| self.token.sign(&fingerprint, message);
        Ok(sealing.seal(parts, &mut sign, out, &mut |_| ())?)
    }

    /// Seals a bid of about so many bytes of filling (no package: what opens chunks does not care) into the
    /// file `to`.
    ///
    /// # Errors
    /// The disk fails.
    pub fn seal_filling(&self, bytes: u64, seed: u64, to: &Path) -> Result<(Header, BidKey), Box<dyn Error>> {
        let (binding, key) = self.bind()?;
        // Most bytes lie in the lot's part, as with a real bid.
        let common = bytes / 8;
        let parts =
            vec![filled(PartName::Common, common, seed), filled(PartName::Lot(lot()), bytes - common, !seed)];
        let mut out = File::create(to)?;
        let header = self.seal(&binding, &key, parts, &mut out)?;
        Ok((header, key))
    }
}

/// The one lot of a bench.
pub fn lot() -> LotNo {
    LotNo::new(1).expect("1 is a lot's number")
}

fn filled(part: PartName, bytes: u64, seed: u64) -> ClearPart<'static> {
    ClearPart { part, bytes, source: Box::new(Filling::new(seed).take(bytes)) }
}

/// Bytes without a pattern, the same for the same seed (xorshift).
pub struct Filling(u64);

impl Filling {
    /// The filling of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }
}

impl Read for Filling {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        for piece in buf.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_le_bytes()[..piece.len()]);
        }
        Ok(buf.len())
    }
}
