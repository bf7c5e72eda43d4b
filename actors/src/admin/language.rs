//! What can be said over `DIR/admin.sock`: one JSON object a line in, one out.
//!
//! In: `{"directory": {"do": "add_organisation", ...}}`, `{"list_users": {}}`, ... Out: `{"ok": {...}}`,
//! `{"refused": {code, rule, say}}`, or `{"failed": "..."}` where the world failed.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use kaibiao_protocol::{
    digest::Digest,
    directory::{DirectoryCommand, OrganisationKind},
    ids::{OrganisationId, ProjectId, UserId},
    moment::Moment,
    project::ProjectSpec,
    refusal::Refusal,
    role::Role,
    view::ProjectStatus,
};
use serde::{Deserialize, Serialize};

use crate::sign_in::Password;

/// The longest line, in bytes: a revocation list of a large authority in base64.
pub const LINE_BYTES_MAX: usize = 32 << 20;

/// What the administrator asks.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminAsk {
    /// A command to the directory.
    Directory(DirectoryCommand),
    /// Set an account's password.
    SetPassword {
        /// The account.
        user: UserId,
        /// The new password; only its hash is kept.
        password: Password,
    },
    /// Set a project up and publish it.
    CreateProject {
        /// What it is.
        spec: Box<ProjectSpec>,
    },
    /// Every organisation.
    ListOrganisations {},
    /// Every account.
    ListUsers {},
    /// Every root of trust.
    ListRoots {},
    /// Every project.
    ListProjects {},
    /// One project.
    ShowProject {
        /// Which.
        project: ProjectId,
    },
    /// Copy journal and files into a new folder while the server runs. Keys are not copied.
    BackUp {
        /// The folder, as the server sees it; an absolute path.
        to: PathBuf,
    },
    /// How the server is.
    Status {},
    /// Stop the server in good order.
    ShutDown {},
}

/// The line that answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminReply {
    /// Done.
    Ok(AdminAnswer),
    /// A normal answer: no.
    Refused(Refusal),
    /// The world failed.
    Failed(String),
}

/// What an answer holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminAnswer {
    /// It is done and durable.
    Done {
        /// When.
        at: Moment,
    },
    /// Organisations.
    Organisations {
        /// By id.
        rows: Vec<OrganisationRow>,
    },
    /// Accounts.
    Users {
        /// By id.
        rows: Vec<UserRow>,
    },
    /// Roots of trust.
    Roots {
        /// In the order they were added.
        rows: Vec<RootRow>,
    },
    /// Projects.
    Projects {
        /// By number.
        rows: Vec<AdminProjectRow>,
    },
    /// One project. Says nothing of bids.
    Project {
        /// What it is.
        spec: Box<ProjectSpec>,
        /// Where it stands.
        status: ProjectStatus,
    },
    /// The copy is whole and checked.
    BackedUp {
        /// Records in it.
        position: u64,
        /// The running hash over them.
        hash: Digest,
    },
    /// How the server is.
    Status(Box<Status>),
    /// The server stops.
    ShuttingDown {},
}

/// An organisation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganisationRow {
    /// Its id.
    pub id: OrganisationId,
    /// Its registered name.
    pub name: String,
    /// What it is.
    pub kind: OrganisationKind,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRow {
    /// The account.
    pub id: UserId,
    /// Whom the person belongs to.
    pub organisation: OrganisationId,
    /// The name shown.
    pub name: String,
    /// What the person may do.
    #[serde(deserialize_with = "kaibiao_protocol::once::set")]
    pub roles: BTreeSet<Role>,
    /// Whether the account is closed.
    pub disabled: bool,
    /// Whether a password is set.
    pub has_password: bool,
    /// Fingerprints of the bound certificates.
    pub certificates: Vec<Digest>,
}

/// A root of trust.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootRow {
    /// The vendor.
    pub vendor: String,
    /// Fingerprint of the root.
    pub fingerprint: Digest,
    /// Whether the vendor has a revocation list here.
    pub has_revocation_list: bool,
}

/// A project in the administrator's list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminProjectRow {
    /// Number.
    pub project: ProjectId,
    /// Name.
    pub name: String,
    /// Whether it is an exercise.
    pub exercise: bool,
    /// Who runs it.
    pub organiser: OrganisationId,
    /// Deadline.
    pub deadline: Moment,
}

/// How a server is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// The address served.
    pub listen: SocketAddr,
    /// Whether by TLS.
    pub tls: bool,
    /// The server's time.
    pub now: Moment,
    /// Since when it runs.
    pub since: Moment,
    /// Why it is not ready; none: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<String>,
    /// Sessions open.
    pub sessions: usize,
    /// WebSockets open.
    pub sockets: usize,
    /// Projects.
    pub projects: usize,
    /// Bytes uploads may still fill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Id of the receipt key.
    pub receipt_key: Digest,
    /// Id of the opening key.
    pub opening_key: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ask_is_one_object_with_one_name() {
        let text = serde_json::to_string(&AdminAsk::ListUsers {}).unwrap();
        assert_eq!(text, r#"{"list_users":{}}"#);
        let text = r#"{"directory":{"do":"set_disabled","user":"wang","disabled":true}}"#;
        assert!(matches!(serde_json::from_str(text), Ok(AdminAsk::Directory(_))));
        for bad in [r#"{"list_users":{"a":1}}"#, r#"{"list_users":{},"status":{}}"#, r#"{"fly":{}}"#, "{}"] {
            assert!(serde_json::from_str::<AdminAsk>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reply_is_read_back() {
        let reply = AdminReply::Ok(AdminAnswer::Done { at: Moment(7) });
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(text, r#"{"ok":{"is":"done","at":7}}"#);
        assert!(matches!(
            serde_json::from_str(&text),
            Ok(AdminReply::Ok(AdminAnswer::Done { at: Moment(7) }))
        ));
    }
}
