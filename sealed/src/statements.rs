//! The texts a token signs besides a sealed bid: a sign-in challenge, the start of an opening, the
//! confirmation of a record.
//!
//! Each is the canonical JSON of its facts, signed as CMS under a purpose of its own
//! (`docs/formats/signed-texts.md`). Whoever checks a signature makes the text anew from what it knows, so
//! nothing in the text needs to be believed.

use kaibiao_protocol::{
    digest::Digest,
    ids::{OrganisationId, ProjectId, UserId},
    moment::Moment,
};
use serde::{Deserialize, Serialize};

use crate::{
    shown::beijing,
    strict_json::{NotCanonical, parse_canonical, to_canonical},
};

/// The most bytes a challenge may have.
pub const CHALLENGE_BYTES_MAX: usize = 4_096;

const CHALLENGE_FORMAT: &str = "kaibiao sign-in 1";
const START_FORMAT: &str = "kaibiao start-opening 1";
const CONFIRM_FORMAT: &str = "kaibiao confirm-record 1";

/// What a sign-in binds together, so that an answer serves at one server, for one account, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// The server's origin as the client reaches it, such as `https://kaibiao.example:8443`.
    pub origin: String,
    /// The account; none where the certificate's binding tells it.
    pub account: Option<UserId>,
    /// Drawn at random by the server.
    pub nonce: Digest,
    /// When the challenge ends.
    pub expires_at: Moment,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChallengeText {
    format: String,
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<UserId>,
    nonce: Digest,
    expires_at: Moment,
    expires_at_shown: String,
}

impl Challenge {
    /// The text that the token signs for [`crate::purpose::Purpose::SignIn`].
    pub fn text(&self) -> String {
        text_of(&ChallengeText {
            format: CHALLENGE_FORMAT.into(),
            origin: self.origin.clone(),
            account: self.account.clone(),
            nonce: self.nonce,
            expires_at: self.expires_at,
            expires_at_shown: beijing(self.expires_at),
        })
    }

    /// Reads a challenge before a token signs it; the client then compares the origin with the server it
    /// talks to, so that no foreign page gets a signature that serves elsewhere.
    ///
    /// # Errors
    /// The text is not one that [`Challenge::text`] gives.
    pub fn parse(text: &str) -> Result<Self, NotAStatement> {
        if text.len() > CHALLENGE_BYTES_MAX {
            return Err(NotAStatement);
        }
        let read: ChallengeText = parse_canonical(text.as_bytes())?;
        let challenge = Self {
            origin: read.origin,
            account: read.account,
            nonce: read.nonce,
            expires_at: read.expires_at,
        };
        // Format and shown time are derived, so this one comparison covers both.
        if challenge.text() == text { Ok(challenge) } else { Err(NotAStatement) }
    }
}

/// The text is not a statement of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a statement of this kind in its one spelling")]
pub struct NotAStatement;

impl From<NotCanonical> for NotAStatement {
    fn from(_: NotCanonical) -> Self {
        NotAStatement
    }
}

/// The text an agent's token signs ([`crate::purpose::Purpose::StartOpening`]) to start the opening of
/// `project`, whose deadline is `deadline`.
pub fn start_statement(project: &ProjectId, deadline: Moment) -> String {
    #[derive(Serialize)]
    struct Text<'a> {
        format: &'a str,
        project: &'a ProjectId,
        deadline: Moment,
        deadline_shown: String,
    }
    text_of(&Text { format: START_FORMAT, project, deadline, deadline_shown: beijing(deadline) })
}

/// The text a supplier's token signs ([`crate::purpose::Purpose::ConfirmRecord`]) to confirm the opening
/// record of `project` whose exact text has the digest `record`.
pub fn confirm_statement(project: &ProjectId, supplier: &OrganisationId, record: &Digest) -> String {
    #[derive(Serialize)]
    struct Text<'a> {
        format: &'a str,
        project: &'a ProjectId,
        supplier: &'a OrganisationId,
        record: &'a Digest,
    }
    text_of(&Text { format: CONFIRM_FORMAT, project, supplier, record })
}

fn text_of<T: Serialize>(value: &T) -> String {
    String::from_utf8(to_canonical(value)).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge() -> Challenge {
        Challenge {
            origin: "https://kaibiao.example".into(),
            account: Some("wang".parse().unwrap()),
            nonce: Digest([7; 32]),
            expires_at: Moment(1_767_225_600_000_000),
        }
    }

    #[test]
    fn a_challenge_is_read_from_its_one_spelling_alone() {
        let text = challenge().text();
        assert_eq!(Challenge::parse(&text), Ok(challenge()));
        for bad in [
            format!("{text} "),
            text.replace("sign-in 1", "sign-in 2"),
            text.replace("2026-01-01 08", "2026-01-01 09"),
            text.replace("\"account\":\"wang\",", "\"account\":null,"),
            text.replace(",\"nonce\"", ", \"nonce\""),
            String::new(),
        ] {
            assert_eq!(Challenge::parse(&bad), Err(NotAStatement), "{bad}");
        }
    }

    #[test]
    fn statements_have_the_text_of_their_specification() {
        let (project, supplier) = ("KX-1".parse().unwrap(), "mingde".parse().unwrap());
        assert_eq!(
            start_statement(&project, Moment(0)),
            r#"{"format":"kaibiao start-opening 1","project":"KX-1","deadline":0,"deadline_shown":"1970-01-01 08:00:00.000000 +08:00"}"#
        );
        assert_eq!(
            confirm_statement(&project, &supplier, &Digest([0xab; 32])),
            format!(
                r#"{{"format":"kaibiao confirm-record 1","project":"KX-1","supplier":"mingde","record":"{}"}}"#,
                "ab".repeat(32)
            )
        );
    }
}
