//! Organisations, people, certificates and roots of trust: one stream of its own.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    blob::Blob,
    digest::Digest,
    ids::{OrganisationId, UserId},
    role::Role,
};

/// What an organisation is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrganisationKind {
    /// 供应商
    Supplier,
    /// 采购人
    Purchaser,
    /// 采购代理机构
    Agency,
    /// 评标专家库
    ExpertPool,
    /// 监督部门
    Supervisor,
    /// 平台运营方
    Platform,
}

/// A command to the directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum DirectoryCommand {
    /// Add an organisation.
    AddOrganisation {
        /// Its id.
        id: OrganisationId,
        /// Its registered name.
        name: String,
        /// What it is.
        kind: OrganisationKind,
    },
    /// Add a person.
    AddUser {
        /// The account.
        id: UserId,
        /// Whom the person belongs to.
        organisation: OrganisationId,
        /// The person's name as shown.
        name: String,
        /// What the person may do; must suit the organisation's kind.
        #[serde(deserialize_with = "crate::once::set")]
        roles: BTreeSet<Role>,
    },
    /// Replace a person's roles.
    SetRoles {
        /// The account.
        user: UserId,
        /// The new roles.
        #[serde(deserialize_with = "crate::once::set")]
        roles: BTreeSet<Role>,
    },
    /// Note that a password was set; its hash lies in the side table, never in an event.
    SetPassword {
        /// The account.
        user: UserId,
    },
    /// Close or reopen an account.
    SetDisabled {
        /// The account.
        user: UserId,
        /// Whether it is closed.
        disabled: bool,
    },
    /// Trust a certificate authority.
    AddRoot {
        /// The vendor's short name, such as `huixin`.
        vendor: String,
        /// Its root certificate (DER).
        certificate: Blob,
        /// Intermediate certificates (DER), if it has any.
        intermediates: Vec<Blob>,
        /// SHA-256 of the root. The server computes it, whatever the sender says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Digest>,
    },
    /// No longer trust a vendor's root.
    RemoveRoot {
        /// The vendor.
        vendor: String,
        /// Fingerprint of the root.
        fingerprint: Digest,
    },
    /// Take in a vendor's current revocation list.
    SetRevocationList {
        /// The vendor.
        vendor: String,
        /// The list (DER).
        list: Blob,
    },
    /// Bind a certificate to an account.
    BindCertificate {
        /// The account.
        user: UserId,
        /// The certificate (DER).
        certificate: Blob,
        /// SHA-256 of the certificate. The server computes it, whatever the sender says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Digest>,
    },
    /// Unbind one.
    UnbindCertificate {
        /// The account.
        user: UserId,
        /// The certificate's fingerprint.
        fingerprint: Digest,
    },
}

/// An event of the directory's stream.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum DirectoryEvent {
    /// An organisation was added.
    OrganisationAdded {
        /// Its id.
        id: OrganisationId,
        /// Its name.
        name: String,
        /// What it is.
        kind: OrganisationKind,
    },
    /// A person was added.
    UserAdded {
        /// The account.
        id: UserId,
        /// Whom the person belongs to.
        organisation: OrganisationId,
        /// The name shown.
        name: String,
        /// The roles.
        #[serde(deserialize_with = "crate::once::set")]
        roles: BTreeSet<Role>,
    },
    /// A person's roles were replaced.
    RolesSet {
        /// The account.
        user: UserId,
        /// The new roles.
        #[serde(deserialize_with = "crate::once::set")]
        roles: BTreeSet<Role>,
    },
    /// A password was set.
    PasswordSet {
        /// The account.
        user: UserId,
    },
    /// An account was closed or reopened.
    DisabledSet {
        /// The account.
        user: UserId,
        /// Whether it is closed.
        disabled: bool,
    },
    /// A certificate authority is trusted.
    RootAdded {
        /// The vendor.
        vendor: String,
        /// Fingerprint of the root.
        fingerprint: Digest,
        /// The root (DER).
        certificate: Blob,
        /// Intermediates (DER).
        intermediates: Vec<Blob>,
    },
    /// A root is no longer trusted.
    RootRemoved {
        /// The vendor.
        vendor: String,
        /// Fingerprint.
        fingerprint: Digest,
    },
    /// A revocation list was taken in.
    RevocationListSet {
        /// The vendor.
        vendor: String,
        /// The list (DER).
        list: Blob,
    },
    /// A certificate was bound.
    CertificateBound {
        /// The account.
        user: UserId,
        /// Fingerprint.
        fingerprint: Digest,
        /// The certificate (DER).
        certificate: Blob,
    },
    /// A certificate was unbound.
    CertificateUnbound {
        /// The account.
        user: UserId,
        /// Fingerprint.
        fingerprint: Digest,
    },
}

impl DirectoryEvent {
    /// The version of every event's form.
    pub const VERSION: u16 = 1;

    /// The event's name in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            DirectoryEvent::OrganisationAdded { .. } => "organisation_added",
            DirectoryEvent::UserAdded { .. } => "user_added",
            DirectoryEvent::RolesSet { .. } => "roles_set",
            DirectoryEvent::PasswordSet { .. } => "password_set",
            DirectoryEvent::DisabledSet { .. } => "disabled_set",
            DirectoryEvent::RootAdded { .. } => "root_added",
            DirectoryEvent::RootRemoved { .. } => "root_removed",
            DirectoryEvent::RevocationListSet { .. } => "revocation_list_set",
            DirectoryEvent::CertificateBound { .. } => "certificate_bound",
            DirectoryEvent::CertificateUnbound { .. } => "certificate_unbound",
        }
    }
}
