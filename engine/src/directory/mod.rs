//! Organisations, people, certificates and roots of trust: one stream of its own.
//!
//! The directory knows who is who; it judges no certificate and holds no password. A password's hash
//! lies in a side table, a certificate's chain is judged by the crate `kaibiao-sealed`.

mod decide;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    directory::{DirectoryCommand, DirectoryEvent, OrganisationKind},
    ids::{OrganisationId, UserId},
    moment::Moment,
    refusal::Refusal,
    role::{Asker, Role},
};

pub use decide::{
    CERTIFICATE_BYTES_MAX, CERTIFICATES_PER_USER_MAX, REVOCATION_LIST_BYTES_MAX, ROOTS_MAX, suits,
};

use crate::keeper::Machine;

/// The rules of the directory.
pub struct DirectoryMachine;

/// The directory's state. Cloning costs little: each part is shared until it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Directory {
    organisations: Arc<BTreeMap<OrganisationId, Organisation>>,
    users: Arc<BTreeMap<UserId, User>>,
    bindings: Arc<BTreeMap<Digest, Binding>>,
    roots: Vec<Arc<Root>>,
    revocation_lists: BTreeMap<String, Arc<Blob>>,
}

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

/// A certificate bound to an account.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Binding {
    user: UserId,
    certificate: Blob,
}

impl Directory {
    /// An organisation.
    pub fn organisation(&self, id: &OrganisationId) -> Option<&Organisation> {
        self.organisations.get(id)
    }

    /// Every organisation by id.
    pub fn organisations(&self) -> impl Iterator<Item = (&OrganisationId, &Organisation)> {
        self.organisations.iter()
    }

    /// An account.
    pub fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id)
    }

    /// Every account by id.
    pub fn users(&self) -> impl Iterator<Item = (&UserId, &User)> {
        self.users.iter()
    }

    /// The account a certificate is bound to.
    pub fn bound_to(&self, fingerprint: &Digest) -> Option<&UserId> {
        self.bindings.get(fingerprint).map(|binding| &binding.user)
    }

    /// A bound certificate (DER).
    pub fn certificate(&self, fingerprint: &Digest) -> Option<&Blob> {
        self.bindings.get(fingerprint).map(|binding| &binding.certificate)
    }

    /// The fingerprints of the certificates bound to an account.
    pub fn certificates_of(&self, user: &UserId) -> Vec<Digest> {
        let bound = self.bindings.iter().filter(|(_, binding)| binding.user == *user);
        bound.map(|(fingerprint, _)| *fingerprint).collect()
    }

    /// The trusted roots, in the order they were added.
    pub fn roots(&self) -> &[Arc<Root>] {
        &self.roots
    }

    /// The vendor's current revocation list (DER).
    pub fn revocation_list(&self, vendor: &str) -> Option<&Blob> {
        self.revocation_lists.get(vendor).map(|list| &**list)
    }

    /// Who an account acts as in this role, or in its first where none is named; `None` if the account
    /// is unknown or closed or has not the role.
    pub fn sign_in(&self, user: &UserId, role: Option<Role>) -> Option<Asker> {
        let account = self.users.get(user).filter(|account| !account.disabled)?;
        let role = match role {
            Some(role) => account.roles.get(&role),
            None => account.roles.first(),
        };
        let organisation = account.organisation.clone();
        Some(Asker::Person { user: user.clone(), organisation, role: *role? })
    }

    /// Whether a session opened as this asker may go on: to be asked again after every change of the
    /// directory, so that closing an account or taking a role cuts its sessions.
    pub fn still_stands(&self, asker: &Asker) -> bool {
        match asker {
            Asker::Person { user, role, .. } => self.sign_in(user, Some(*role)).as_ref() == Some(asker),
            Asker::Platform { .. } => true,
        }
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
        _at: Moment,
    ) -> Result<Vec<DirectoryEvent>, Refusal> {
        decide::decide(state, command, asker)
    }

    fn apply(state: &mut Directory, event: &DirectoryEvent, _at: Moment) {
        state.apply(event);
    }

    fn wake_at(_state: &Directory) -> Option<Moment> {
        None
    }
}

impl Directory {
    fn apply(&mut self, event: &DirectoryEvent) {
        match event {
            DirectoryEvent::OrganisationAdded { id, name, kind } => {
                let organisation = Organisation { name: name.clone(), kind: *kind };
                Arc::make_mut(&mut self.organisations).insert(id.clone(), organisation);
            }
            DirectoryEvent::UserAdded { id, organisation, name, roles } => {
                let user = User {
                    organisation: organisation.clone(),
                    name: name.clone(),
                    roles: roles.clone(),
                    disabled: false,
                    has_password: false,
                };
                Arc::make_mut(&mut self.users).insert(id.clone(), user);
            }
            DirectoryEvent::RolesSet { user, roles } => self.user_mut(user).roles.clone_from(roles),
            DirectoryEvent::PasswordSet { user } => self.user_mut(user).has_password = true,
            DirectoryEvent::DisabledSet { user, disabled } => self.user_mut(user).disabled = *disabled,
            DirectoryEvent::RootAdded { vendor, fingerprint, certificate, intermediates } => {
                let (vendor, certificate) = (vendor.clone(), certificate.clone());
                let (fingerprint, intermediates) = (*fingerprint, intermediates.clone());
                self.roots.push(Arc::new(Root { vendor, fingerprint, certificate, intermediates }));
            }
            DirectoryEvent::RootRemoved { vendor, fingerprint } => {
                self.roots.retain(|root| root.vendor != *vendor || root.fingerprint != *fingerprint);
                // A list outlives no root of its vendor: nothing could check it any more.
                if !self.roots.iter().any(|root| root.vendor == *vendor) {
                    self.revocation_lists.remove(vendor);
                }
            }
            DirectoryEvent::RevocationListSet { vendor, list } => {
                self.revocation_lists.insert(vendor.clone(), Arc::new(list.clone()));
            }
            DirectoryEvent::CertificateBound { user, fingerprint, certificate } => {
                let binding = Binding { user: user.clone(), certificate: certificate.clone() };
                Arc::make_mut(&mut self.bindings).insert(*fingerprint, binding);
            }
            DirectoryEvent::CertificateUnbound { fingerprint, .. } => {
                Arc::make_mut(&mut self.bindings).remove(fingerprint);
            }
        }
    }

    /// # Panics
    /// Where a stored event names an account that never was: the stream is not what it was written as.
    fn user_mut(&mut self, user: &UserId) -> &mut User {
        Arc::make_mut(&mut self.users).get_mut(user).expect("a stored event names an account added before")
    }
}
