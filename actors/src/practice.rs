//! What a simulated world needs of this crate's production checks, and nothing else has a use for.
//!
//! Each function here is the production one. Only signatures and certificates are remembered by the digest of what was
//! proved, a thread for itself: commitments, chunks, lengths and sheets are checked every time.

use std::{cell::RefCell, collections::HashMap};

use kaibiao_engine::{
    directory::Directory,
    project::Project,
    reaction::{
        judging::Final,
        opening::{Failure, Sheets},
    },
};
use kaibiao_protocol::{
    bid::{BidFacts, PartName},
    digest::Digest,
    ids::{CommandId, FileId, ProjectId},
    moment::Moment,
    refusal::RefusalCode,
    view::UploadVerdict,
};
use kaibiao_sealed::{
    arrival::Arrived,
    certificate::{CertificateFault, CertificateUse},
    digest::sha256,
    header::{Header, SealSignatureFault},
    key::PartKey,
    platform_key::PlatformKey,
    signature::Signed,
    trust::{Judged, Trust},
};
use zeroize::Zeroizing;

use crate::{
    command_ids::derived,
    files::{FileFault, Files},
    final_checks::{self, Grounds},
    journal::StoredRecord,
    papers,
    proofs::Proofs,
    stored_bid::{self, StoredBid, diagnose, sheets_of},
    unsealing::{BidToCheck, CheckFault},
};

/// The name of a command from the pieces that say what it is.
pub fn command_id(pieces: &[&[u8]]) -> CommandId {
    derived(pieces)
}

/// A final that passed the checks of reception.
pub struct Checked {
    /// What is known of it.
    pub facts: BidFacts,
    /// What the judgement on its certificates rested on.
    pub evidence: String,
}

/// Why a final did not pass.
pub enum CheckEnd {
    /// It is refused.
    Refused(RefusalCode),
    /// The store could not be read; nothing can be said of it.
    Store(FileFault),
}

impl From<final_checks::CheckEnd> for CheckEnd {
    fn from(end: final_checks::CheckEnd) -> Self {
        match end {
            final_checks::CheckEnd::Refused(code) => CheckEnd::Refused(code),
            final_checks::CheckEnd::Store(fault) => CheckEnd::Store(fault),
        }
    }
}

/// The checks of reception, on the stored bytes.
///
/// # Errors
/// See [`CheckEnd`].
pub fn check_final(
    files: &dyn Files,
    one: &Final,
    project: &Project,
    directory: &Directory,
    trust: &Trust,
    opening_key: &[u8; 32],
) -> Result<Checked, CheckEnd> {
    let grounds = Grounds { project, directory, trust, opening_key };
    let checked = final_checks::check_with(files, &ours(one), None, &grounds, &Remembered)?;
    Ok(Checked { facts: checked.facts, evidence: checked.evidence })
}

/// A whole stored file through the same check as a stream.
///
/// # Errors
/// See [`CheckEnd`].
pub fn read_again(files: &dyn Files, file: &FileId) -> Result<Arrived, CheckEnd> {
    Ok(final_checks::read_again(files, file)?)
}

fn ours(one: &Final) -> crate::intake::Final {
    crate::intake::Final {
        project: one.project.clone(),
        upload: one.upload,
        bid: one.bid,
        supplier: one.supplier.clone(),
        file: one.file,
        size_bytes: one.size_bytes,
        received_at: one.received_at,
        contact: one.contact.clone(),
        contact_digest: one.contact_digest,
    }
}

/// A stored bid whose keys fit.
pub struct Openable {
    bid: BidToCheck,
    header_len: u64,
}

/// Opens the stored file, holds its header against the receipt, and each key against its commitment.
///
/// # Errors
/// The failure as it is recorded.
pub fn open_stored(
    files: &dyn Files,
    facts: &BidFacts,
    keys: &[(PartName, PartKey)],
) -> Result<Openable, Failure> {
    let stored = StoredBid::load_with(files, facts, &Remembered)?;
    Ok(Openable { header_len: stored.header_len(), bid: stored.opened_by(keys)? })
}

impl Openable {
    /// Checks every chunk, then reads the sheets; says whose the damage is where a chunk fails.
    ///
    /// # Errors
    /// The failure as it is recorded.
    pub fn check(&self, facts: &BidFacts, project: &Project) -> Result<Sheets, Failure> {
        SCRATCH.with_borrow_mut(|scratch| {
            for (part, open) in &self.bid.parts {
                let opener = open.opener();
                opener.check_chunks(&*self.bid.file, 0..opener.chunks(), scratch).map_err(|fault| {
                    let fault = CheckFault { part: *part, fault };
                    diagnose(&*self.bid.file, self.header_len, facts, &fault)
                })?;
            }
            Ok(())
        })?;
        self.sheets(facts, project)
    }

    /// Reads the sheets of a bid whose chunks were checked.
    ///
    /// # Errors
    /// The failure as it is recorded.
    pub fn sheets(&self, facts: &BidFacts, project: &Project) -> Result<Sheets, Failure> {
        sheets_of(&self.bid, facts, project)
    }
}

/// Part keys as they are kept (the world wraps them under no key).
pub fn keys_to_bytes(keys: &[(PartName, PartKey)]) -> Zeroizing<Vec<u8>> {
    stored_bid::keys_to_bytes(keys)
}

/// The keys that [`keys_to_bytes`] wrote; none if the bytes are not such.
pub fn keys_from_bytes(bytes: &[u8]) -> Option<Vec<(PartName, PartKey)>> {
    stored_bid::keys_from_bytes(bytes)
}

/// The verdict that a record keeps, with its paper; none: it is no such record.
pub fn verdict_of(
    record: &StoredRecord,
    key: &PlatformKey,
    id: &ProjectId,
    project: &Project,
) -> Option<UploadVerdict> {
    papers::verdict_of(record, key, id, project)
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SIGNATURES: RefCell<HashMap<Digest, Result<Signed, SealSignatureFault>>> = RefCell::default();
    static CERTIFICATES: RefCell<HashMap<(Digest, CertificateUse), Result<Judged, CertificateFault>>> =
        RefCell::default();
}

/// Remembers what was proved of the same bytes. A certificate's judgement is remembered whatever the moment: no world
/// outlives the certificates of its people.
struct Remembered;

impl Proofs for Remembered {
    fn signature(&self, header: &Header) -> Result<Signed, SealSignatureFault> {
        SIGNATURES.with_borrow_mut(|known| {
            known.entry(header.header_digest).or_insert_with(|| header.check_signature()).clone()
        })
    }

    fn certificate(
        &self,
        trust: &Trust,
        certificate: &[u8],
        wanted: CertificateUse,
        at: Moment,
    ) -> Result<Judged, CertificateFault> {
        CERTIFICATES.with_borrow_mut(|known| {
            let name = (sha256(certificate), wanted);
            known.entry(name).or_insert_with(|| trust.judge(certificate, wanted, at)).clone()
        })
    }
}
