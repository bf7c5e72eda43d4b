//! The checks of reception (E1): whether a final is a whole sealed bid of this project, this supplier and these
//! lots, sealed for this platform and signed by a certificate that holds at the stamp's moment.
//!
//! Blocks on the disk where the bytes were not checked as they streamed in. Opens nothing: nobody here has a key.

use kaibiao_engine::{directory::Directory, project::Project, reaction::judging::Claims};
use kaibiao_protocol::{
    bid::BidFacts,
    digest::Digest,
    ids::{FileId, OrganisationId},
    refusal::RefusalCode,
};
use kaibiao_sealed::{
    arrival::{Arrival, Arrived},
    certificate::CertificateUse,
    header::Header,
    platform_key::key_id,
    trust::{Judged, Trust},
};

use crate::{
    files::{FileFault, Files, StoredFile},
    intake::Final,
    proofs::{EachTime, Proofs},
};

/// A final that passed every check.
pub(crate) struct Checked {
    /// What is known of it.
    pub(crate) facts: BidFacts,
    /// What the judgement on its certificates rested on.
    pub(crate) evidence: String,
}

/// What the checks look at besides the bytes.
pub(crate) struct Grounds<'a> {
    pub(crate) project: &'a Project,
    pub(crate) directory: &'a Directory,
    pub(crate) trust: &'a Trust,
    /// The platform's opening key (Ed25519).
    pub(crate) opening_key: &'a [u8; 32],
}

/// Why there is no verdict of the checks.
pub(crate) enum CheckEnd {
    /// The final is refused.
    Refused(RefusalCode),
    /// The store could not be read; nothing can be said of the final.
    Store(FileFault),
}

impl From<RefusalCode> for CheckEnd {
    fn from(code: RefusalCode) -> Self {
        CheckEnd::Refused(code)
    }
}

/// Checks a final; `arrived` is the verdict of the check made while the bytes streamed in.
pub(crate) fn check(
    files: &dyn Files,
    one: &Final,
    arrived: Option<Arrived>,
    grounds: &Grounds<'_>,
) -> Result<Checked, CheckEnd> {
    check_with(files, one, arrived, grounds, &EachTime)
}

/// The same, by somebody's proofs.
pub(crate) fn check_with(
    files: &dyn Files,
    one: &Final,
    arrived: Option<Arrived>,
    grounds: &Grounds<'_>,
    proofs: &dyn Proofs,
) -> Result<Checked, CheckEnd> {
    let arrived = match arrived {
        Some(arrived) => arrived,
        None => read_again(files, &one.file)?,
    };
    if arrived.size_bytes != one.size_bytes {
        return Err(RefusalCode::SealedBidDamaged.into());
    }
    let header = arrived.header;
    check_binding(&header, one, grounds)?;
    let signed = proofs.signature(&header).map_err(|_| RefusalCode::SignatureInvalid)?;
    let signing = judge(grounds, proofs, &signed.certificate, CertificateUse::Sign, one)?;
    // Of the encryption certificate the header names the fingerprint; the directory has the rest of it.
    let encryption = header.binding.encryption_certificate;
    let certificate = grounds.directory.certificate(&encryption).ok_or(RefusalCode::CertificateUnbound)?;
    let encrypting = judge(grounds, proofs, &certificate.0, CertificateUse::Encrypt, one)?;
    Ok(Checked {
        evidence: format!("{}\n{}\n", signing.evidence, encrypting.evidence),
        facts: facts_of(header, one, grounds.directory),
    })
}

/// The whole file through the same check as a stream. Also what proves that restored bytes are whole.
pub(crate) fn read_again(files: &dyn Files, file: &FileId) -> Result<Arrived, CheckEnd> {
    let file = files.open(file).map_err(CheckEnd::Store)?;
    let mut arrival = Arrival::new();
    let mut piece = vec![0; at_once(file.bytes(), READ_AT_ONCE_BYTES)];
    let mut offset = 0;
    while offset < file.bytes() {
        let count = usize::try_from(file.bytes() - offset).map_or(piece.len(), |left| left.min(piece.len()));
        read(&*file, &mut piece[..count], offset)?;
        arrival.push(&piece[..count]).map_err(|fault| fault.refusal())?;
        offset += count as u64;
    }
    Ok(arrival.finish().map_err(|fault| fault.refusal())?)
}

fn read(file: &dyn StoredFile, piece: &mut [u8], offset: u64) -> Result<(), CheckEnd> {
    file.read_exact_at(piece, offset).map_err(|fault| {
        CheckEnd::Store(FileFault::Disk { doing: "read", path: "a staged file".into(), fault })
    })
}

/// So many bytes, or as many as there are.
pub(crate) fn at_once(bytes: u64, at_once_max: usize) -> usize {
    usize::try_from(bytes).map_or(at_once_max, |bytes| bytes.min(at_once_max))
}

const READ_AT_ONCE_BYTES: usize = 1 << 20;

fn check_binding(header: &Header, one: &Final, grounds: &Grounds<'_>) -> Result<(), RefusalCode> {
    let binding = &header.binding;
    let claims = Claims {
        project: &binding.project,
        supplier: &binding.supplier,
        lots: &binding.lots,
        for_this_platform: binding.opening_key == key_id(grounds.opening_key),
    };
    one.check_claims(&claims, grounds.project)
}

/// A certificate must hold at the stamp's moment and be bound to an account of the supplier. Later expiry never
/// fails an unsealing.
fn judge(
    grounds: &Grounds<'_>,
    proofs: &dyn Proofs,
    certificate: &[u8],
    wanted: CertificateUse,
    one: &Final,
) -> Result<Judged, RefusalCode> {
    let judged = proofs.certificate(grounds.trust, certificate, wanted, one.received_at);
    let judged = judged.map_err(|fault| fault.refusal())?;
    if is_bound(grounds.directory, &judged.facts.fingerprint, &one.supplier) {
        Ok(judged)
    } else {
        Err(RefusalCode::CertificateUnbound)
    }
}

fn is_bound(directory: &Directory, fingerprint: &Digest, supplier: &OrganisationId) -> bool {
    directory
        .bound_to(fingerprint)
        .and_then(|user| directory.user(user))
        .is_some_and(|user| user.organisation == *supplier)
}

fn facts_of(header: Header, one: &Final, directory: &Directory) -> BidFacts {
    let name = directory.organisation(&one.supplier);
    BidFacts {
        bid: one.bid,
        upload: one.upload,
        file: one.file,
        supplier: one.supplier.clone(),
        supplier_name: name.map_or_else(|| one.supplier.to_string(), |known| known.name.clone()),
        size_bytes: one.size_bytes,
        header_digest: header.header_digest,
        binding_digest: header.binding_digest,
        statement_digest: header.statement_digest,
        cms_digest: header.cms_digest,
        signing_certificate: header.binding.signing_certificate,
        encryption_certificate: header.binding.encryption_certificate,
        contact_digest: one.contact_digest,
        parts: header.part_facts(),
        lots: header.binding.lots,
    }
}
