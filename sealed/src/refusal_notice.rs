//! Refusal notices (拒收通知): a final that came too late gets a signed refusal, as a bid gets a receipt.

use kaibiao_protocol::{
    digest::Digest,
    ids::{OrganisationId, ProjectId, UploadId},
    moment::Moment,
    project::ProjectKind,
    refusal::RefusalCode,
};
use serde::{Deserialize, Serialize};

use crate::{
    platform_key::{PUBLIC_KEY_BYTES, PlatformKey},
    purpose::Purpose,
    shown::{beijing, titled},
    signed_file::{SignedFileFault, open_file, sign_file},
    strict_json::{parse_canonical, to_canonical},
};

/// What a refusal notice says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusalFacts {
    /// The project.
    pub project: ProjectId,
    /// The project's name.
    pub project_name: String,
    /// Real or exercise.
    pub kind: ProjectKind,
    /// The upload refused.
    pub upload: UploadId,
    /// Whose it is.
    pub supplier: OrganisationId,
    /// Bytes received.
    pub size_bytes: u64,
    /// When its last byte was in.
    pub received_at: Moment,
    /// The deadline it was held against.
    pub deadline: Moment,
    /// Why it was refused.
    pub code: RefusalCode,
    /// The rule, by key.
    pub rule: String,
    /// The chain hash of the journal record of the refusal.
    pub record_hash: Digest,
}

impl RefusalFacts {
    /// The exact text that is signed; no line feed in it.
    pub fn text(&self) -> String {
        let text = to_canonical(&NoticeText {
            format: NoticeFormat::V1,
            title: titled("投标文件拒收通知", self.kind),
            received_at_shown: beijing(self.received_at),
            deadline_shown: beijing(self.deadline),
            facts: self.clone(),
        });
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// Why a refusal notice does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusalNoticeFault {
    /// The file or its signature.
    #[error(transparent)]
    File(#[from] SignedFileFault),
    /// The signed text is no refusal notice in its one spelling.
    #[error("the signed text is no refusal notice")]
    NotANotice,
}

#[derive(Serialize, Deserialize)]
enum NoticeFormat {
    #[serde(rename = "kaibiao refusal-notice 1")]
    V1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoticeText {
    format: NoticeFormat,
    title: String,
    received_at_shown: String,
    deadline_shown: String,
    facts: RefusalFacts,
}

/// The notice's file: two lines, see `docs/formats/receipt.md`. The same facts and key give the same bytes.
pub fn make_refusal_notice(facts: &RefusalFacts, key: &PlatformKey) -> String {
    sign_file(Purpose::RefusalNotice, &facts.text(), key)
}

/// Checks a refusal notice offline, against the platform's public receipt key.
///
/// # Errors
/// See [`RefusalNoticeFault`].
pub fn verify_refusal_notice(
    file: &str,
    public: &[u8; PUBLIC_KEY_BYTES],
) -> Result<RefusalFacts, RefusalNoticeFault> {
    let text = open_file(Purpose::RefusalNotice, file, public)?;
    let read: NoticeText = parse_canonical(text.as_bytes()).map_err(|_| RefusalNoticeFault::NotANotice)?;
    if read.facts.text() != text {
        return Err(RefusalNoticeFault::NotANotice);
    }
    Ok(read.facts)
}
