//! Receipts (投标回执): what the platform owes a supplier the moment a bid is in.
//!
//! A receipt is a pure function of its facts: asked for again, it is the same bytes. It carries the hash of
//! its journal record and not its number, so it tells nobody how many bids came before. Whoever holds it can
//! prove offline, against the platform's public key, what was handed in and when.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    bid::{BidFacts, PartFacts},
    digest::Digest,
    ids::{BidId, LotNo, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    project::{ProjectKind, ProjectSpec},
};
use serde::{Deserialize, Serialize};

pub use crate::refusal_notice::{
    RefusalFacts, RefusalNoticeFault, make_refusal_notice, verify_refusal_notice,
};
use crate::{
    header::Header,
    platform_key::{PUBLIC_KEY_BYTES, PlatformKey},
    purpose::Purpose,
    shown::{beijing, titled},
    signed_file::{SignedFileFault, open_file, sign_file},
    strict_json::{parse_canonical, to_canonical},
};

/// What a receipt says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptFacts {
    /// The project.
    pub project: ProjectId,
    /// The project's name.
    pub project_name: String,
    /// Real or exercise.
    pub kind: ProjectKind,
    /// The bid.
    pub bid: BidId,
    /// The upload that brought it.
    pub upload: UploadId,
    /// The bid it replaced, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<BidId>,
    /// Who handed it in.
    pub supplier: OrganisationId,
    /// The supplier's name.
    pub supplier_name: String,
    /// The lots bid for.
    #[serde(deserialize_with = "kaibiao_protocol::once::set")]
    pub lots: BTreeSet<LotNo>,
    /// The file's bytes.
    pub size_bytes: u64,
    /// When its last byte was in.
    pub received_at: Moment,
    /// SHA-256 of the header area: everything before the parts.
    pub header_digest: Digest,
    /// SHA-256 of the binding.
    pub binding_digest: Digest,
    /// SHA-256 of the statement.
    pub statement_digest: Digest,
    /// SHA-256 of the supplier's signature (CMS).
    pub cms_digest: Digest,
    /// Fingerprint of the signing certificate.
    pub signing_certificate: Digest,
    /// The parts: names, lengths and digests of the ciphertext.
    pub parts: Vec<PartFacts>,
    /// The chain hash of the journal record of the reception.
    pub record_hash: Digest,
}

impl ReceiptFacts {
    /// The facts of a bid received for `project` at `received_at`, journalled in a record with the chain hash
    /// `record_hash`.
    pub fn new(
        project: &ProjectSpec,
        bid: &BidFacts,
        received_at: Moment,
        replaces: Option<BidId>,
        record_hash: Digest,
    ) -> Self {
        Self {
            project: project.id.clone(),
            project_name: project.name.clone(),
            kind: project.kind,
            bid: bid.bid,
            upload: bid.upload,
            replaces,
            supplier: bid.supplier.clone(),
            supplier_name: bid.supplier_name.clone(),
            lots: bid.lots.clone(),
            size_bytes: bid.size_bytes,
            received_at,
            header_digest: bid.header_digest,
            binding_digest: bid.binding_digest,
            statement_digest: bid.statement_digest,
            cms_digest: bid.cms_digest,
            signing_certificate: bid.signing_certificate,
            parts: bid.parts.clone(),
            record_hash,
        }
    }

    /// Holds the receipt against the header of a sealed bid. If the file's parts have the digests that the
    /// header states ([`crate::arrival::Arrival`] proves it), the file is the one received.
    ///
    /// # Errors
    /// [`ReceiptFault::OtherBid`] names the first fact that differs.
    pub fn check_header(&self, header: &Header) -> Result<(), ReceiptFault> {
        let same = [
            ("header", self.header_digest == header.header_digest),
            ("binding", self.binding_digest == header.binding_digest),
            ("statement", self.statement_digest == header.statement_digest),
            ("signature", self.cms_digest == header.cms_digest),
            ("signing certificate", self.signing_certificate == header.binding.signing_certificate),
            ("project", self.project == header.binding.project),
            ("supplier", self.supplier == header.binding.supplier),
            ("choice of lots", self.lots == header.binding.lots),
            ("size", self.size_bytes == header.file_len()),
            ("row of parts", self.parts == header.part_facts()),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((fact, _)) => Err(ReceiptFault::OtherBid(fact)),
        }
    }

    /// The exact text that is signed; no line feed in it.
    pub fn text(&self) -> String {
        let text = to_canonical(&ReceiptText {
            format: ReceiptFormat::V1,
            title: titled("投标回执", self.kind),
            received_at_shown: beijing(self.received_at),
            facts: self.clone(),
        });
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// Why a receipt does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// The file or its signature.
    #[error(transparent)]
    File(#[from] SignedFileFault),
    /// The signed text is no receipt in its one spelling.
    #[error("the signed text is no receipt")]
    NotAReceipt,
    /// The sealed bid is another one; names the first fact that differs.
    #[error("the sealed bid is not the one received: another {0}")]
    OtherBid(&'static str),
}

#[derive(Serialize, Deserialize)]
enum ReceiptFormat {
    #[serde(rename = "kaibiao receipt 1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiptText {
    format: ReceiptFormat,
    title: String,
    received_at_shown: String,
    facts: ReceiptFacts,
}

/// The receipt's file: two lines, see `docs/formats/receipt.md`. The same facts and key give the same bytes.
pub fn make_receipt(facts: &ReceiptFacts, key: &PlatformKey) -> String {
    sign_file(Purpose::Receipt, &facts.text(), key)
}

/// Checks a receipt offline, against the platform's public receipt key. To hold it against the sealed bid as
/// well, see [`ReceiptFacts::check_header`].
///
/// # Errors
/// See [`ReceiptFault`].
pub fn verify_receipt(file: &str, public: &[u8; PUBLIC_KEY_BYTES]) -> Result<ReceiptFacts, ReceiptFault> {
    let text = open_file(Purpose::Receipt, file, public)?;
    let read: ReceiptText = parse_canonical(text.as_bytes()).map_err(|_| ReceiptFault::NotAReceipt)?;
    // Title and shown time are derived: a receipt that shows another time than it states is none.
    if read.facts.text() != text {
        return Err(ReceiptFault::NotAReceipt);
    }
    Ok(read.facts)
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::bid::PartName;

    use super::*;
    use crate::flip::each_member_changed;

    fn facts() -> ReceiptFacts {
        let lot = LotNo::new(1).unwrap();
        let part = |part, no| PartFacts { part, length: 100 + u64::from(no), ciphertext: Digest([no; 32]) };
        ReceiptFacts {
            project: "KX-00823".parse().unwrap(),
            project_name: "采购便携式计算机".into(),
            kind: ProjectKind::Exercise,
            bid: BidId([0x11; 16]),
            upload: UploadId([0x22; 16]),
            replaces: Some(BidId([0x33; 16])),
            supplier: "mingde".parse().unwrap(),
            supplier_name: "明德家具有限公司".into(),
            lots: [lot].into(),
            size_bytes: 4_301,
            received_at: Moment(1_767_225_600_000_000),
            header_digest: Digest([0x44; 32]),
            binding_digest: Digest([0x55; 32]),
            statement_digest: Digest([0x66; 32]),
            cms_digest: Digest([0x77; 32]),
            signing_certificate: Digest([0x88; 32]),
            parts: vec![part(PartName::Common, 1), part(PartName::Lot(lot), 2)],
            record_hash: Digest([0x99; 32]),
        }
    }

    #[test]
    fn a_receipt_asked_for_again_is_the_same_bytes() {
        let key = PlatformKey::generate().unwrap();
        let file = make_receipt(&facts(), &key);
        assert_eq!(file, make_receipt(&facts(), &key));
        assert_eq!(file.lines().count(), 2);
        assert!(file.contains("投标回执（演练）") && file.contains("2026-01-01 08:00:00.000000 +08:00"));
        assert_eq!(verify_receipt(&file, key.public()), Ok(facts()));
    }

    #[test]
    fn a_receipt_with_any_field_changed_is_refused() {
        let key = PlatformKey::generate().unwrap();
        let file = make_receipt(&facts(), &key);
        let (text, signature) = file.split_once('\n').unwrap();
        let changed = each_member_changed(text);
        assert!(changed.len() >= 24, "{}", changed.len());
        for (field, text) in changed {
            let bad = format!("{text}\n{signature}");
            let fault = verify_receipt(&bad, key.public());
            assert_eq!(fault, Err(ReceiptFault::File(SignedFileFault::NotSigned)), "{field}");
        }
    }

    #[test]
    fn a_signed_text_that_contradicts_itself_is_no_receipt() {
        let key = PlatformKey::generate().unwrap();
        let text = facts().text();
        for (field, text) in each_member_changed(&text) {
            let derived = ["format", "title", "received_at", "received_at_shown", "kind"];
            if derived.contains(&field.as_str()) {
                let file = sign_file(Purpose::Receipt, &text, &key);
                assert_eq!(verify_receipt(&file, key.public()), Err(ReceiptFault::NotAReceipt), "{field}");
            }
        }
    }

    #[test]
    fn a_receipt_is_two_lines_of_one_key() {
        let (key, other) = (PlatformKey::generate().unwrap(), PlatformKey::generate().unwrap());
        let file = make_receipt(&facts(), &key);
        let check = |bad: &str, expected| {
            assert_eq!(verify_receipt(bad, key.public()), Err(ReceiptFault::File(expected)), "{bad}");
        };
        check(file.trim_end(), SignedFileFault::NotTwoLines);
        check(&format!("{file}\n"), SignedFileFault::NotTwoLines);
        check(&file.replace('\n', "\r\n"), SignedFileFault::NotTwoLines);
        check(&file.replace("{\"key\"", "{ \"key\""), SignedFileFault::NotTwoLines);
        check("", SignedFileFault::NotTwoLines);
        check(&make_receipt(&facts(), &other), SignedFileFault::OtherKey(other.id()));
        // Signed by the right key for another purpose.
        let notice = sign_file(Purpose::RefusalNotice, &facts().text(), &key);
        check(&notice, SignedFileFault::NotSigned);
    }
}
