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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flip::each_member_changed;

    fn facts() -> RefusalFacts {
        RefusalFacts {
            project: "KX-00823".parse().unwrap(),
            project_name: "采购便携式计算机".into(),
            kind: ProjectKind::Real,
            upload: UploadId([0x22; 16]),
            supplier: "mingde".parse().unwrap(),
            size_bytes: 4_301,
            received_at: Moment(1_767_225_600_000_000),
            deadline: Moment(1_767_225_600_000_000),
            code: RefusalCode::PastDeadline,
            rule: "TL-28 TR-36 (GP/1)".into(),
            record_hash: Digest([0x99; 32]),
        }
    }

    #[test]
    fn a_late_final_gets_a_notice_that_anyone_can_check() {
        let key = PlatformKey::generate().unwrap();
        let file = make_refusal_notice(&facts(), &key);
        assert_eq!(file, make_refusal_notice(&facts(), &key));
        assert!(file.contains("投标文件拒收通知\"") && file.contains("\"code\":\"past_deadline\""));
        assert_eq!(verify_refusal_notice(&file, key.public()), Ok(facts()));
    }

    #[test]
    fn a_notice_with_any_field_changed_is_refused() {
        let key = PlatformKey::generate().unwrap();
        let file = make_refusal_notice(&facts(), &key);
        let (text, signature) = file.split_once('\n').unwrap();
        for (field, text) in each_member_changed(text) {
            let fault = verify_refusal_notice(&format!("{text}\n{signature}"), key.public());
            assert_eq!(fault, Err(RefusalNoticeFault::File(SignedFileFault::NotSigned)), "{field}");
        }
        let shown = facts().text().replace("08:00:00.000000", "07:59:59.000000");
        let file = sign_file(Purpose::RefusalNotice, &shown, &key);
        assert_eq!(verify_refusal_notice(&file, key.public()), Err(RefusalNoticeFault::NotANotice));
    }
}
