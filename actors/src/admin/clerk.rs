//! Carries out what the administrator asks. What the directory or a project takes is decided by the engine; here only
//! what needs cryptography is looked at first: roots, lists and certificates that could never hold are refused by name.

use std::path::Path;

use kaibiao_engine::directory::Directory;
use kaibiao_engine::keeper::{SideSpace, SideWrite};
use kaibiao_engine::refusals::because;
use kaibiao_protocol::{
    blob::Blob,
    command::ProjectCommand,
    directory::DirectoryCommand,
    ids::UserId,
    moment::Moment,
    project::ProjectSpec,
    refusal::{Refusal, RefusalCode},
    role::{Asker, Reactor},
};
use kaibiao_sealed::{
    certificate::CertificateUse,
    digest::sha256,
    trust::{Trust, VendorRoot, newest_lists, split_lists},
};
use zeroize::Zeroizing;

use super::{
    AdminProjectRow, Office, OrganisationRow, RootRow, Status, UserRow,
    language::{AdminAnswer, AdminAsk, AdminReply},
};
use crate::{
    backup::back_up,
    house::ProjectHead,
    http::trouble,
    messages::AskProject,
    refusals::refuse,
    sign_in::{Password, PasswordFault},
};

/// Why something was not done.
enum Not {
    Refused(Refusal),
    Failed(String),
}

impl From<Refusal> for Not {
    fn from(refusal: Refusal) -> Self {
        Not::Refused(refusal)
    }
}

fn console() -> Asker {
    Asker::Platform { reactor: Reactor::Console }
}

/// Carries out one ask.
pub(super) async fn carry_out(office: &Office, ask: AdminAsk) -> AdminReply {
    match decide(office, ask).await {
        Ok(answer) => AdminReply::Ok(answer),
        Err(Not::Refused(refusal)) => AdminReply::Refused(refusal),
        Err(Not::Failed(why)) => AdminReply::Failed(why),
    }
}

async fn decide(office: &Office, ask: AdminAsk) -> Result<AdminAnswer, Not> {
    let house = &office.desk.house;
    let directory = house.directory();
    Ok(match ask {
        AdminAsk::Directory(command) => direct(office, command, Vec::new()).await?,
        AdminAsk::SetPassword { user, password } => set_password(office, user, password).await?,
        AdminAsk::CreateProject { spec } => create_project(office, *spec).await?,
        AdminAsk::ListOrganisations {} => AdminAnswer::Organisations {
            rows: directory
                .organisations()
                .map(|(id, known)| OrganisationRow {
                    id: id.clone(),
                    name: known.name.clone(),
                    kind: known.kind,
                })
                .collect(),
        },
        AdminAsk::ListUsers {} => AdminAnswer::Users {
            rows: directory
                .users()
                .map(|(id, known)| UserRow {
                    id: id.clone(),
                    organisation: known.organisation.clone(),
                    name: known.name.clone(),
                    roles: known.roles.clone(),
                    disabled: known.disabled,
                    has_password: known.has_password,
                    certificates: directory.certificates_of(id),
                })
                .collect(),
        },
        AdminAsk::ListRoots {} => AdminAnswer::Roots {
            rows: directory
                .roots()
                .iter()
                .map(|root| RootRow {
                    vendor: root.vendor.clone(),
                    fingerprint: root.fingerprint,
                    has_revocation_list: directory.revocation_list(&root.vendor).is_some(),
                })
                .collect(),
        },
        AdminAsk::ListProjects {} => {
            AdminAnswer::Projects { rows: house.projects().iter().map(|head| row_of(head)).collect() }
        }
        AdminAsk::ShowProject { project } => {
            let known = house.project(&project).await.ok_or_else(|| refuse(RefusalCode::Unknown))?;
            let (Some(spec), Some(status)) = (known.spec(), known.status()) else {
                return Err(refuse(RefusalCode::Unknown).into());
            };
            AdminAnswer::Project { spec: Box::new(ProjectSpec::clone(spec)), status }
        }
        AdminAsk::BackUp { to } => take_backup(office, &to).await?,
        AdminAsk::Status {} => AdminAnswer::Status(Box::new(status(office).await)),
        AdminAsk::ShutDown {} => {
            office.stop.notify_one();
            AdminAnswer::ShuttingDown {}
        }
    })
}

/// Gives a command to the directory, and ends the sessions whose grounds it took away.
async fn direct(
    office: &Office,
    mut command: DirectoryCommand,
    side: Vec<SideWrite>,
) -> Result<AdminAnswer, Not> {
    let desk = &office.desk;
    match &mut command {
        DirectoryCommand::AddRoot { certificate, fingerprint, .. }
        | DirectoryCommand::BindCertificate { certificate, fingerprint, .. } => {
            *fingerprint = Some(sha256(&certificate.0));
        }
        DirectoryCommand::AddOrganisation { .. }
        | DirectoryCommand::AddUser { .. }
        | DirectoryCommand::SetRoles { .. }
        | DirectoryCommand::SetPassword { .. }
        | DirectoryCommand::SetDisabled { .. }
        | DirectoryCommand::SetRevocationList { .. }
        | DirectoryCommand::RemoveRoot { .. }
        | DirectoryCommand::UnbindCertificate { .. } => {}
    }
    look_at(office, &command, desk.house.clock().present())?;
    if let DirectoryCommand::SetRevocationList { vendor, list } = &mut command {
        *list = beside_the_others(&desk.house.directory(), vendor, list);
    }
    let done = desk.house.ask_directory(console(), command, side).await?;
    let reviewing = desk.clone();
    // Judging many certificates takes a while.
    let reviewed = tokio::task::spawn_blocking(move || reviewing.review_sessions()).await;
    if reviewed.is_err() {
        return Err(Not::Failed("failed to review the open sessions".to_owned()));
    }
    Ok(AdminAnswer::Done { at: done.at })
}

/// A vendor's new revocation list with those of its other issuers, which it does not replace; an older one of the
/// same issuer goes, and does not come back.
fn beside_the_others(directory: &Directory, vendor: &str, new: &Blob) -> Blob {
    let mut lists = directory.revocation_list(vendor).map(|kept| split_lists(&kept.0)).unwrap_or_default();
    lists.push(new.0.clone());
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for root in directory.roots().iter().filter(|root| root.vendor == vendor) {
        let all = VendorRoot {
            vendor: vendor.to_owned(),
            root: root.certificate.0.clone(),
            intermediates: root.intermediates.iter().map(|one| one.0.clone()).collect(),
            revocation_lists: lists.clone(),
        };
        for list in newest_lists(&all).unwrap_or_default() {
            if !kept.contains(&list) {
                kept.push(list);
            }
        }
    }
    // Without a root that takes any, the engine says that there is no such vendor.
    if kept.is_empty() { new.clone() } else { Blob(kept.concat()) }
}

/// What only cryptography can tell of a command.
fn look_at(office: &Office, command: &DirectoryCommand, at: Moment) -> Result<(), Refusal> {
    let directory = office.desk.house.directory();
    let no = |code, zh: &str, en: &str| Err(because(refuse(code), zh, en));
    match command {
        DirectoryCommand::AddRoot { vendor, certificate, intermediates, .. } => {
            let root = VendorRoot {
                vendor: vendor.clone(),
                root: certificate.0.clone(),
                intermediates: intermediates.iter().map(|one| one.0.clone()).collect(),
                revocation_lists: Vec::new(),
            };
            match Trust::new(vec![root]) {
                Ok(_) => Ok(()),
                Err(fault) => no(
                    RefusalCode::FieldInvalid,
                    "根证书或中间证书无法信任",
                    &format!("certificate: {}", fault.why),
                ),
            }
        }
        DirectoryCommand::SetRevocationList { vendor, list } => {
            let mut last = None;
            for root in directory.roots().iter().filter(|root| root.vendor == *vendor) {
                let listed = VendorRoot {
                    vendor: vendor.clone(),
                    root: root.certificate.0.clone(),
                    intermediates: root.intermediates.iter().map(|one| one.0.clone()).collect(),
                    revocation_lists: vec![list.0.clone()],
                };
                match Trust::new(vec![listed]) {
                    Ok(_) => return Ok(()),
                    Err(fault) => last = Some(fault.why),
                }
            }
            match last {
                // The engine says that there is no such vendor.
                None => Ok(()),
                Some(why) => no(RefusalCode::FieldInvalid, "吊销列表无法使用", &format!("list: {why}")),
            }
        }
        DirectoryCommand::BindCertificate { certificate, .. } => {
            let trust = office.desk.sign_in.trust(&directory);
            // A token holds one certificate for each use, and both are bound: bids are sealed to the second.
            let uses = [CertificateUse::Sign, CertificateUse::Encrypt];
            match uses.map(|for_use| trust.judge(&certificate.0, for_use, at)) {
                [Ok(_), _] | [_, Ok(_)] => Ok(()),
                [Err(fault), Err(_)] => Err(refuse(fault.refusal())),
            }
        }
        DirectoryCommand::AddOrganisation { .. }
        | DirectoryCommand::AddUser { .. }
        | DirectoryCommand::SetRoles { .. }
        | DirectoryCommand::SetPassword { .. }
        | DirectoryCommand::SetDisabled { .. }
        | DirectoryCommand::RemoveRoot { .. }
        | DirectoryCommand::UnbindCertificate { .. } => Ok(()),
    }
}

async fn set_password(office: &Office, user: UserId, password: Password) -> Result<AdminAnswer, Not> {
    if office.desk.house.directory().user(&user).is_none() {
        return Err(refuse(RefusalCode::Unknown).into());
    }
    let hash = office.desk.sign_in.passwords().hash(password).await.map_err(|fault| match fault {
        PasswordFault::Length => because(
            refuse(RefusalCode::FieldInvalid),
            "密码须有 8 个字至 512 字节",
            "a password has 8 characters to 512 bytes",
        ),
        PasswordFault::Busy => refuse(RefusalCode::Busy),
    })?;
    let key = user.to_string();
    let value = Zeroizing::new(hash.into_bytes());
    let side = vec![SideWrite::Put { space: SideSpace::PasswordHash, key, value }];
    direct(office, DirectoryCommand::SetPassword { user }, side).await
}

async fn create_project(office: &Office, spec: ProjectSpec) -> Result<AdminAnswer, Not> {
    let house = &office.desk.house;
    let directory = house.directory();
    for organisation in [&spec.purchaser, &spec.organiser].into_iter().chain(spec.invited.iter().flatten()) {
        if directory.organisation(organisation).is_none() {
            let zh = format!("没有机构 {organisation}");
            let en = format!("there is no organisation {organisation}");
            return Err(because(refuse(RefusalCode::SpecInvalid), &zh, &en).into());
        }
    }
    let project = spec.id.clone();
    let ask = AskProject::new(project, console(), ProjectCommand::CreateProject { spec });
    Ok(AdminAnswer::Done { at: house.ask_project(ask).await?.at })
}

async fn take_backup(office: &Office, to: &Path) -> Result<AdminAnswer, Not> {
    if !to.is_absolute() {
        return Err(
            because(refuse(RefusalCode::FieldInvalid), "须为绝对路径", "an absolute path is needed").into()
        );
    }
    let (journal, files) = (office.desk.house.journal().clone(), office.files.clone());
    let to = to.to_owned();
    let copied = tokio::task::spawn_blocking(move || back_up(&*journal, &files, &to)).await;
    match copied {
        Ok(Ok(head)) => Ok(AdminAnswer::BackedUp { position: head.position, hash: head.hash }),
        Ok(Err(fault)) => Err(Not::Failed(fault.to_string())),
        Err(_) => Err(Not::Failed("the backup broke off".to_owned())),
    }
}

async fn status(office: &Office) -> Status {
    let desk = &office.desk;
    let house = &desk.house;
    let files = house.files().clone();
    let free = tokio::task::spawn_blocking(move || files.free_bytes()).await;
    let ids = house.keys().ids();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        listen: office.listen,
        tls: desk.config.tls.is_some(),
        now: house.clock().present(),
        since: office.since,
        not_ready: trouble(desk).await.map(str::to_owned),
        sessions: desk.sessions.count(),
        sockets: desk.sockets(),
        projects: house.projects().len(),
        free_bytes: free.ok().and_then(Result::ok),
        receipt_key: ids.receipt,
        opening_key: ids.opening,
    }
}

fn row_of(head: &ProjectHead) -> AdminProjectRow {
    AdminProjectRow {
        project: head.id.clone(),
        name: head.name.to_string(),
        exercise: head.exercise,
        organiser: head.organiser.clone(),
        deadline: head.deadline,
    }
}
