//! What the engine knows of a bid: verdicts and digests, never content.

use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    digest::Digest,
    ids::{BidId, FileId, LotNo, OrganisationId, UploadId},
};

/// One part of a sealed bid, written `common` or `lot-001`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartName {
    /// What concerns every lot.
    Common,
    /// What concerns one lot.
    Lot(LotNo),
}

/// The text names no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAPart;

impl fmt::Display for NotAPart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a part is common, or lot- and the lot's number in three digits")
    }
}

impl std::error::Error for NotAPart {}

impl fmt::Display for PartName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartName::Common => out.write_str("common"),
            PartName::Lot(lot) => write!(out, "lot-{:03}", lot.get()),
        }
    }
}

impl fmt::Debug for PartName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for PartName {
    type Err = NotAPart;

    fn from_str(text: &str) -> Result<Self, NotAPart> {
        if text == "common" {
            return Ok(PartName::Common);
        }
        let digits = text.strip_prefix("lot-").ok_or(NotAPart)?;
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotAPart);
        }
        digits.parse().ok().and_then(LotNo::new).map(PartName::Lot).ok_or(NotAPart)
    }
}

impl Serialize for PartName {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PartName {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for PartName {
    fn schema_name() -> Cow<'static, str> {
        "PartName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(common|lot-[0-9]{3})$",
            "description": "A part of a sealed bid: common, or lot- and the lot's number."
        })
    }
}

/// What a receipt fixes about one part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartFacts {
    /// Which part.
    pub part: PartName,
    /// Bytes of ciphertext.
    pub length: u64,
    /// SHA-256 of the ciphertext.
    pub ciphertext: Digest,
}

/// What is known of a sealed bid when it has passed the checks of reception.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BidFacts {
    /// The bid.
    pub bid: BidId,
    /// The upload that brought it.
    pub upload: UploadId,
    /// Where its sealed bytes lie.
    pub file: FileId,
    /// Who hands it in.
    pub supplier: OrganisationId,
    /// The supplier's name at that moment, as the record will show it.
    pub supplier_name: String,
    /// The lots bid for.
    #[serde(deserialize_with = "crate::once::set")]
    pub lots: BTreeSet<LotNo>,
    /// The whole file's bytes.
    pub size_bytes: u64,
    /// SHA-256 of everything before the parts; it fixes statement and signature.
    pub header_digest: Digest,
    /// SHA-256 of the binding.
    pub binding_digest: Digest,
    /// SHA-256 of the statement.
    pub statement_digest: Digest,
    /// SHA-256 of the supplier's signature (CMS).
    pub cms_digest: Digest,
    /// Fingerprint of the signing certificate.
    pub signing_certificate: Digest,
    /// Fingerprint of the encryption certificate.
    pub encryption_certificate: Digest,
    /// Salted digest of the contact form, which lies in a side table.
    pub contact_digest: Digest,
    /// The parts in their order in the file.
    pub parts: Vec<PartFacts>,
}

/// Why a bid was not unsealed. The class decides who bears it (rules.md 18).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// The supplier came with a token that holds no key for this bid.
    WrongToken,
    /// The supplier's token is locked, broken or absent.
    TokenTrouble,
    /// A key arrived that is not the one fixed by the receipt.
    WrongKey,
    /// The bytes are those of the receipt, yet they do not open: they were never a whole bid.
    DamagedUpload,
    /// The bid opens, but its package breaks the format or contradicts its binding.
    MalformedPackage,
    /// The stored bytes are no longer those of the receipt.
    DamagedStore,
    /// The window closed without a key.
    NoShow,
    /// The platform failed otherwise.
    PlatformFault,
}

/// What a failure means in law (rules.md 18).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// By the bidder's own cause (视为撤销其投标文件).
    Revoked,
    /// By another's cause (视为撤回其投标文件), with a claim against whoever is at fault.
    Withdrawn,
}

impl FailureCause {
    /// Every cause, in a fixed order.
    pub const ALL: [FailureCause; 8] = [
        FailureCause::WrongToken,
        FailureCause::TokenTrouble,
        FailureCause::WrongKey,
        FailureCause::DamagedUpload,
        FailureCause::MalformedPackage,
        FailureCause::DamagedStore,
        FailureCause::NoShow,
        FailureCause::PlatformFault,
    ];

    /// Who bears the failure.
    pub fn consequence(self) -> Consequence {
        match self {
            FailureCause::WrongToken
            | FailureCause::TokenTrouble
            | FailureCause::WrongKey
            | FailureCause::DamagedUpload
            | FailureCause::MalformedPackage
            | FailureCause::NoShow => Consequence::Revoked,
            FailureCause::DamagedStore | FailureCause::PlatformFault => Consequence::Withdrawn,
        }
    }
}

/// What is recorded of a failure beside its cause: short facts, never a secret or a price.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What was seen, in one line (at most 500 characters).
    pub seen: String,
    /// A digest that was expected, where one tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Digest>,
    /// The digest found instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Digest>,
}
