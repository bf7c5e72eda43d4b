//! Confirming a published record: first checked against the platform's key, then signed with the token.

use std::{sync::Arc, time::Duration};

use kaibiao_protocol::{digest::Digest, moment::Moment, refusal::RefusalCode};
use kaibiao_sealed::{
    platform_key::PUBLIC_KEY_BYTES,
    purpose::Purpose,
    record::{RecordFacts, RecordFault, record_digest, verify_record},
    signature::SigningFault,
    statements::confirm_statement,
};
use tokio::time::sleep;

use crate::{
    client::{ClientFault, PublishedRecord, Room},
    report::{Explain, Problem, say},
    signer::{Signer, UseFault, sign_cms},
};

/// How often one looks whether a published record is signed.
const SIGNED_LOOK_EVERY: Duration = Duration::from_millis(100);
/// After so many looks it is told that it is not.
const SIGNED_LOOKS_MAX: u32 = 100;

/// A record that the platform signed.
pub struct CheckedRecord {
    /// As it was published.
    pub published: PublishedRecord,
    /// What it says.
    pub facts: RecordFacts,
    /// SHA-256 of its exact text.
    pub digest: Digest,
}

/// Why a record was not fetched or not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum ConfirmFault {
    /// The server refused or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientFault),
    /// The record does not hold.
    #[error("the published record does not hold: {0}")]
    Record(#[from] RecordFault),
    /// The digest told with the record is not its digest.
    #[error("the published record has digest {found}, told was {told}")]
    OtherDigest {
        /// What the platform said.
        told: Digest,
        /// What it is.
        found: Digest,
    },
    /// It is the record of another project.
    #[error("the platform gave the record of project {0}")]
    OtherProject(String),
    /// The token does not sign.
    #[error(transparent)]
    Token(#[from] UseFault),
    /// No signature could be formed.
    #[error("no signature was made: {0}")]
    NotSigned(String),
}

/// Fetches the published record and checks it against the platform's receipt key.
///
/// # Errors
/// [`ConfirmFault`].
pub async fn fetch_record(room: &Room) -> Result<CheckedRecord, ConfirmFault> {
    let view = room.session().project(room.project()).await?;
    let published = signed_record(room).await?;
    let key: [u8; PUBLIC_KEY_BYTES] =
        view.receipt_key.0.as_slice().try_into().map_err(|_| RecordFault::NotSigned)?;
    let facts = verify_record(&published.text, &published.signature.0, &key)?;
    let digest = record_digest(&published.text);
    if digest != published.digest {
        return Err(ConfirmFault::OtherDigest { told: published.digest, found: digest });
    }
    if facts.head.project != *room.project() {
        return Err(ConfirmFault::OtherProject(facts.head.project.to_string()));
    }
    Ok(CheckedRecord { published, facts, digest })
}

/// The record once it is signed: the platform signs it a moment after it is published.
async fn signed_record(room: &Room) -> Result<PublishedRecord, ClientFault> {
    let mut looks = 0;
    loop {
        match room.record().await {
            Err(fault) if fault.is_refused_as(RefusalCode::NotPublished) && looks < SIGNED_LOOKS_MAX => {
                if room.view().await?.record.is_none() {
                    return Err(fault);
                }
                looks += 1;
                sleep(SIGNED_LOOK_EVERY).await;
            }
            other => return other,
        }
    }
}

/// Signs the record with the token and sends the confirmation; tells when it was stamped.
///
/// # Errors
/// [`ConfirmFault`].
pub async fn confirm(
    room: &Room,
    record: &CheckedRecord,
    signer: Arc<dyn Signer>,
) -> Result<Moment, ConfirmFault> {
    let supplier = room.session().facts().organisation;
    let text = confirm_statement(room.project(), &supplier, &record.digest);
    let signing = tokio::task::spawn_blocking(move || {
        sign_cms(signer.as_ref(), Purpose::ConfirmRecord, text.as_bytes())
    });
    let cms = signing.await.expect("signing does not panic").map_err(|fault| match fault {
        SigningFault::Signer(fault) => ConfirmFault::Token(fault),
        SigningFault::Signature(fault) => ConfirmFault::NotSigned(fault.to_string()),
    })?;
    Ok(room.confirm(record.digest, cms).await?)
}

impl Explain for ConfirmFault {
    fn problem(&self) -> Problem {
        match self {
            ConfirmFault::Client(fault) => fault.problem(),
            ConfirmFault::Token(fault) => fault.problem(),
            ConfirmFault::Record(_) | ConfirmFault::OtherDigest { .. } | ConfirmFault::OtherProject(_) => {
                Problem::new(
                    "record_invalid",
                    say(format!("平台给出的开标记录未通过验证：{self}"), self.to_string()),
                    say("请勿确认，立即联系代理机构", "do not confirm; tell the agency at once"),
                )
            }
            ConfirmFault::NotSigned(_) => Problem::new(
                "not_signed",
                say(format!("未能形成签名：{self}"), self.to_string()),
                say("请检查 CA 证书", "check the token's certificate"),
            ),
        }
    }
}
