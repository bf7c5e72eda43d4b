//! Organisations, people, certificates and roots of trust.

use std::{collections::BTreeSet, sync::Arc};

use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    directory::{DirectoryCommand, DirectoryEvent, OrganisationKind},
    ids::{OrganisationId, UserId},
    moment::Moment,
    refusal::Refusal,
    role::{Asker, Role},
};

use crate::keeper::Machine;

/// The rules of the directory.
pub struct DirectoryMachine;

/// The directory's state.
#[derive(Clone, Default)]
pub struct Directory {}

/// An organisation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Organisation {
    /// Its registered name.
    pub name: String,
    /// What it is.
    pub kind: OrganisationKind,
}

/// A person's account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Whom the person belongs to.
    pub organisation: OrganisationId,
    /// The name shown.
    pub name: String,
    /// What the person may do.
    pub roles: BTreeSet<Role>,
    /// Whether the account is closed.
    pub disabled: bool,
    /// Whether a password was ever set.
    pub has_password: bool,
}

/// A trusted certificate authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// The vendor's short name.
    pub vendor: String,
    /// SHA-256 of the root.
    pub fingerprint: Digest,
    /// The root (DER).
    pub certificate: Blob,
    /// Intermediates (DER).
    pub intermediates: Vec<Blob>,
}

impl Directory {
    /// An organisation.
    pub fn organisation(&self, id: &OrganisationId) -> Option<&Organisation> {
        let _ = id;
        todo!()
    }
    /// Every organisation by id.
    pub fn organisations(&self) -> impl Iterator<Item = (&OrganisationId, &Organisation)> {
        std::iter::empty()
    }
    /// An account.
    pub fn user(&self, id: &UserId) -> Option<&User> {
        let _ = id;
        todo!()
    }
    /// Every account by id.
    pub fn users(&self) -> impl Iterator<Item = (&UserId, &User)> {
        std::iter::empty()
    }
    /// The account a certificate is bound to.
    pub fn bound_to(&self, fingerprint: &Digest) -> Option<&UserId> {
        let _ = fingerprint;
        todo!()
    }
    /// A bound certificate (DER).
    pub fn certificate(&self, fingerprint: &Digest) -> Option<&Blob> {
        let _ = fingerprint;
        todo!()
    }
    /// The fingerprints of the certificates bound to an account.
    pub fn certificates_of(&self, user: &UserId) -> Vec<Digest> {
        let _ = user;
        todo!()
    }
    /// The trusted roots.
    pub fn roots(&self) -> &[Arc<Root>] {
        todo!()
    }
    /// The vendor's current revocation list (DER).
    pub fn revocation_list(&self, vendor: &str) -> Option<&Blob> {
        let _ = vendor;
        todo!()
    }
    /// Who an account acts as in this role (in its only or first role where none is named); `None` if the
    /// account is unknown or closed or has not the role.
    pub fn sign_in(&self, user: &UserId, role: Option<Role>) -> Option<Asker> {
        let _ = (user, role);
        todo!()
    }
    /// Whether a session opened as this asker may go on.
    pub fn still_stands(&self, asker: &Asker) -> bool {
        let _ = asker;
        todo!()
    }
}

impl Machine for DirectoryMachine {
    type State = Directory;
    type Command = DirectoryCommand;
    type Event = DirectoryEvent;

    fn decide(
        state: &Directory,
        command: &DirectoryCommand,
        asker: &Asker,
        at: Moment,
    ) -> Result<Vec<DirectoryEvent>, Refusal> {
        let _ = (state, command, asker, at);
        todo!()
    }

    fn apply(state: &mut Directory, event: &DirectoryEvent, at: Moment) {
        let _ = (state, event, at);
        todo!()
    }

    fn wake_at(_state: &Directory) -> Option<Moment> {
        None
    }
}
