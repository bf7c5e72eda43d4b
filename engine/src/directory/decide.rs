//! What may be done to the directory, and by whom.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    directory::{DirectoryCommand, DirectoryEvent, OrganisationKind},
    ids::UserId,
    project::TEXT_CHARS_MAX,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor, Role},
};

use super::{Directory, User};
use crate::{
    refusals::{because, refuse},
    rules::RulePack,
};

/// The largest certificate (DER), in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;
/// The largest revocation list (DER), in bytes.
pub const REVOCATION_LIST_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most certificates bound to one account.
pub const CERTIFICATES_PER_USER_MAX: usize = 20;
/// The most roots of trust, and the most intermediates of one.
pub const ROOTS_MAX: usize = 50;

type Verdict = Result<Vec<DirectoryEvent>, Refusal>;

pub(super) fn decide(state: &Directory, command: &DirectoryCommand, asker: &Asker) -> Verdict {
    check_asker(state, asker)?;
    match command {
        DirectoryCommand::AddOrganisation { id, name, kind } => {
            check_name(name)?;
            if state.organisation(id).is_some() {
                return Err(no(RefusalCode::AlreadyExists));
            }
            Ok(vec![DirectoryEvent::OrganisationAdded { id: id.clone(), name: name.clone(), kind: *kind }])
        }
        DirectoryCommand::AddUser { id, organisation, name, roles } => {
            check_name(name)?;
            if state.user(id).is_some() {
                return Err(no(RefusalCode::AlreadyExists));
            }
            let kind = state.organisation(organisation).ok_or_else(|| no(RefusalCode::Unknown))?.kind;
            check_roles(kind, roles)?;
            Ok(vec![DirectoryEvent::UserAdded {
                id: id.clone(),
                organisation: organisation.clone(),
                name: name.clone(),
                roles: roles.clone(),
            }])
        }
        DirectoryCommand::SetRoles { user, roles } => {
            let account = known(state, user)?;
            let kind =
                state.organisation(&account.organisation).ok_or_else(|| no(RefusalCode::Unknown))?.kind;
            check_roles(kind, roles)?;
            let event = DirectoryEvent::RolesSet { user: user.clone(), roles: roles.clone() };
            Ok(unless(account.roles == *roles, event))
        }
        DirectoryCommand::SetPassword { user } => {
            known(state, user)?;
            // Every time: the hash beside it is a new one.
            Ok(vec![DirectoryEvent::PasswordSet { user: user.clone() }])
        }
        DirectoryCommand::SetDisabled { user, disabled } => {
            let account = known(state, user)?;
            let event = DirectoryEvent::DisabledSet { user: user.clone(), disabled: *disabled };
            Ok(unless(account.disabled == *disabled, event))
        }
        DirectoryCommand::AddRoot { vendor, certificate, intermediates, fingerprint } => {
            add_root(state, vendor, certificate, intermediates, fingerprint.as_ref())
        }
        DirectoryCommand::RemoveRoot { vendor, fingerprint } => {
            let trusted = |root: &super::Root| root.vendor == *vendor && root.fingerprint == *fingerprint;
            if !state.roots().iter().any(|root| trusted(root)) {
                return Err(no(RefusalCode::Unknown));
            }
            Ok(vec![DirectoryEvent::RootRemoved { vendor: vendor.clone(), fingerprint: *fingerprint }])
        }
        DirectoryCommand::SetRevocationList { vendor, list } => {
            check_size(list, REVOCATION_LIST_BYTES_MAX)?;
            if !state.roots().iter().any(|root| root.vendor == *vendor) {
                return Err(no(RefusalCode::Unknown));
            }
            let event = DirectoryEvent::RevocationListSet { vendor: vendor.clone(), list: list.clone() };
            Ok(unless(state.revocation_list(vendor) == Some(list), event))
        }
        DirectoryCommand::BindCertificate { user, certificate, fingerprint } => {
            bind(state, user, certificate, fingerprint.as_ref())
        }
        DirectoryCommand::UnbindCertificate { user, fingerprint } => {
            if state.bound_to(fingerprint) != Some(user) {
                return Err(no(RefusalCode::Unknown));
            }
            Ok(vec![DirectoryEvent::CertificateUnbound { user: user.clone(), fingerprint: *fingerprint }])
        }
    }
}

fn no(code: RefusalCode) -> Refusal {
    refuse(code, RulePack::default())
}

fn unless(so_already: bool, event: DirectoryEvent) -> Vec<DirectoryEvent> {
    if so_already { Vec::new() } else { vec![event] }
}

/// The operator at the console, or an administrator whose account stands: a session may be older
/// than the closing of its account.
fn check_asker(state: &Directory, asker: &Asker) -> Result<(), Refusal> {
    let may = match asker {
        Asker::Platform { reactor: Reactor::Console } => true,
        Asker::Platform { reactor: Reactor::Intake | Reactor::Timer | Reactor::Opening } => false,
        Asker::Person { role: Role::Administrator, .. } => state.still_stands(asker),
        Asker::Person {
            role: Role::Supplier | Role::Agent | Role::Purchaser | Role::Supervisor | Role::Expert,
            ..
        } => false,
    };
    if may { Ok(()) } else { Err(no(RefusalCode::RoleNotAllowed)) }
}

fn known<'a>(state: &'a Directory, user: &UserId) -> Result<&'a User, Refusal> {
    state.user(user).ok_or_else(|| no(RefusalCode::Unknown))
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = !name.trim().is_empty() && name.chars().count() <= TEXT_CHARS_MAX;
    if fits && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(because(no(RefusalCode::FieldInvalid), "名称须为1至200个字", "a name must have 1 to 200 characters"))
}

/// Whether a role suits an organisation. A purchaser that runs its own procurement has agents.
pub fn suits(kind: OrganisationKind, role: Role) -> bool {
    match kind {
        OrganisationKind::Supplier => role == Role::Supplier,
        OrganisationKind::Purchaser => matches!(role, Role::Purchaser | Role::Agent),
        OrganisationKind::Agency => role == Role::Agent,
        OrganisationKind::ExpertPool => role == Role::Expert,
        OrganisationKind::Supervisor => role == Role::Supervisor,
        OrganisationKind::Platform => role == Role::Administrator,
    }
}

fn check_roles(kind: OrganisationKind, roles: &BTreeSet<Role>) -> Result<(), Refusal> {
    if !roles.is_empty() && roles.iter().all(|role| suits(kind, *role)) {
        return Ok(());
    }
    Err(because(
        no(RefusalCode::FieldInvalid),
        "岗位为空或与单位类型不符",
        "there is no role, or one that does not suit the organisation",
    ))
}

fn check_size(bytes: &Blob, most: usize) -> Result<(), Refusal> {
    if (1..=most).contains(&bytes.0.len()) {
        return Ok(());
    }
    Err(because(no(RefusalCode::FieldInvalid), "证书或列表为空或过大", "the file is empty or too large"))
}

/// The server computes fingerprints before it asks; a command without one never went through it.
fn computed(fingerprint: Option<&Digest>) -> Result<Digest, Refusal> {
    fingerprint.copied().ok_or_else(|| no(RefusalCode::Malformed))
}

fn add_root(
    state: &Directory,
    vendor: &str,
    certificate: &Blob,
    intermediates: &[Blob],
    fingerprint: Option<&Digest>,
) -> Verdict {
    check_name(vendor)?;
    check_size(certificate, CERTIFICATE_BYTES_MAX)?;
    intermediates.iter().try_for_each(|one| check_size(one, CERTIFICATE_BYTES_MAX))?;
    let fingerprint = computed(fingerprint)?;
    if state.roots().iter().any(|root| root.fingerprint == fingerprint) {
        return Err(no(RefusalCode::AlreadyExists));
    }
    if state.roots().len() >= ROOTS_MAX || intermediates.len() > ROOTS_MAX {
        let refusal = no(RefusalCode::FieldInvalid);
        return Err(because(refusal, "根证书或中级证书过多", "there are too many roots or intermediates"));
    }
    Ok(vec![DirectoryEvent::RootAdded {
        vendor: vendor.to_owned(),
        fingerprint,
        certificate: certificate.clone(),
        intermediates: intermediates.to_vec(),
    }])
}

/// A certificate speaks for one account only: whoever signs with it is that account.
fn bind(state: &Directory, user: &UserId, certificate: &Blob, fingerprint: Option<&Digest>) -> Verdict {
    known(state, user)?;
    check_size(certificate, CERTIFICATE_BYTES_MAX)?;
    let fingerprint = computed(fingerprint)?;
    match state.bound_to(&fingerprint) {
        Some(owner) if owner == user => return Ok(Vec::new()),
        Some(_) => return Err(no(RefusalCode::AlreadyExists)),
        None => {}
    }
    if state.certificates_of(user).len() >= CERTIFICATES_PER_USER_MAX {
        let refusal = no(RefusalCode::FieldInvalid);
        return Err(because(refusal, "绑定的证书过多", "too many certificates are bound to the account"));
    }
    let (user, certificate) = (user.clone(), certificate.clone());
    Ok(vec![DirectoryEvent::CertificateBound { user, fingerprint, certificate }])
}
