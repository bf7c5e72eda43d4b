//! `kaibiao admin`: keeps a running server through `DIR/admin.sock`.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use jiff::{Timestamp, civil::DateTime};
use kaibiao_actors::{
    admin::{AdminAnswer, AdminAsk, AdminReply, certificate_of, revocation_list_of},
    backup,
};
use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    directory::{DirectoryCommand, OrganisationKind},
    ids::{OrganisationId, ProjectId, UserId},
    moment::Moment,
    project::ProjectSpec,
    role::Role,
};
use kaibiao_sealed::digest::sha256;
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    outcome::{self, Failure, Outcome},
    secret,
};

/// Arguments of `kaibiao admin`.
#[derive(Args)]
pub(crate) struct Admin {
    /// The server's data folder.
    #[arg(long, value_name = "DIR", env = "KAIBIAO_DATA", global = true, default_value = "kaibiao-data")]
    data: PathBuf,
    #[command(subcommand)]
    about: About,
}

#[derive(Subcommand)]
enum About {
    /// Organisations: suppliers, purchasers, agencies, supervisors.
    #[command(subcommand)]
    Org(Org),
    /// People's accounts.
    #[command(subcommand)]
    User(User),
    /// Roots of trust: the certificate authorities whose tokens are taken.
    #[command(subcommand)]
    Root(Root),
    /// Revocation lists.
    #[command(subcommand)]
    Crl(Crl),
    /// Bind a certificate to an account, so that its token signs in.
    Bind {
        /// The account.
        user: UserId,
        /// The certificate (PEM or DER).
        certificate: PathBuf,
    },
    /// Take a binding back; sessions opened with it end.
    Unbind {
        /// The account.
        user: UserId,
        /// The certificate's file, or its SHA-256 fingerprint.
        certificate: String,
    },
    /// Procurement projects.
    #[command(subcommand)]
    Project(Project),
    /// Copy journal and files into a new folder while the server runs. Keys are not copied: keep them apart.
    Backup {
        /// The new or empty folder.
        to: PathBuf,
    },
    /// Make a data folder (--data: new or empty) from a backup, without a server. Put the keys into its folder
    /// `keys` afterwards, from their own backup (docs/operations.md).
    Restore {
        /// The folder a backup was written to.
        from: PathBuf,
    },
    /// How the server is.
    Status,
    /// Stop the server in good order.
    Stop,
}

#[derive(Subcommand)]
enum Org {
    /// Add an organisation.
    Add {
        /// Its id.
        id: OrganisationId,
        /// Its registered name.
        #[arg(long)]
        name: String,
        /// What it is.
        #[arg(long)]
        kind: Kind,
    },
    /// List all organisations.
    List,
}

#[derive(Subcommand)]
enum User {
    /// Add a person's account.
    Add {
        /// The account.
        id: UserId,
        /// The organisation the person belongs to.
        #[arg(long)]
        org: OrganisationId,
        /// The person's name as shown.
        #[arg(long)]
        name: String,
        /// What the person may do; may be given more than once.
        #[arg(long = "role", required = true)]
        roles: Vec<RoleName>,
    },
    /// List all accounts.
    List,
    /// Replace the roles; sessions in a role taken away end.
    Roles {
        /// The account.
        id: UserId,
        /// What the person may do; may be given more than once.
        #[arg(long = "role", required = true)]
        roles: Vec<RoleName>,
    },
    /// Set the password.
    Password {
        /// The account.
        id: UserId,
        /// A file whose first line is the password; - for standard input. Without it: asked for at the terminal.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Close the account; its sessions end.
    Disable {
        /// The account.
        id: UserId,
    },
    /// Open a closed account again.
    Enable {
        /// The account.
        id: UserId,
    },
}

#[derive(Subcommand)]
enum Root {
    /// Trust a certificate authority.
    Add {
        /// The vendor's short name, such as huixin.
        vendor: String,
        /// Its root certificate (PEM or DER).
        certificate: PathBuf,
        /// An intermediate certificate (PEM or DER); may be given more than once.
        #[arg(long = "intermediate", value_name = "FILE")]
        intermediates: Vec<PathBuf>,
    },
    /// List all roots of trust.
    List,
    /// No longer trust it; sessions opened with its certificates end.
    Remove {
        /// The vendor.
        vendor: String,
        /// The root's file, or its SHA-256 fingerprint.
        certificate: String,
    },
}

#[derive(Subcommand)]
enum Crl {
    /// Take in a vendor's current list; sessions opened with a revoked certificate end.
    Set {
        /// The vendor.
        vendor: String,
        /// The list (PEM or DER).
        list: PathBuf,
    },
}

#[derive(Subcommand)]
enum Project {
    /// Set a project up and publish it.
    Create {
        /// The project (JSON, see docs/api.md). `deadline` may be microseconds since 1970 or a date such as
        /// "2026-12-01 09:30" (Beijing time) or "2026-12-01T09:30:00+08:00".
        file: PathBuf,
    },
    /// List all projects.
    List,
    /// Show one project and where it stands.
    Show {
        /// Its number.
        id: ProjectId,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Supplier,
    Purchaser,
    Agency,
    ExpertPool,
    Supervisor,
    Platform,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    Supplier,
    Agent,
    Purchaser,
    Supervisor,
    Expert,
    Administrator,
}

/// Runs the command.
pub(crate) fn run(admin: &Admin, json: bool) -> Outcome {
    if let About::Restore { from } = &admin.about {
        return restored(from, &admin.data, json);
    }
    let ask = ask_of(&admin.about)?;
    let answer = speak(&admin.data.join("admin.sock"), &ask)?;
    outcome::result(json, &answer, &shown(&answer)?)
}

/// Restores a backup into a folder that no server uses yet.
fn restored(from: &Path, data: &Path, json: bool) -> Outcome {
    let report = backup::restore(from, data).map_err(|fault| Failure::of("restore the backup", fault))?;
    let value = json!({ "data": data, "records": report.records, "epoch": report.epoch });
    let text = format!(
        "restored {} records into {}, epoch {}; now put the keys into {}",
        report.records,
        data.display(),
        report.epoch,
        data.join("keys").display()
    );
    outcome::result(json, &value, &text)
}

fn ask_of(about: &About) -> Result<AdminAsk, Failure> {
    Ok(match about {
        About::Org(Org::Add { id, name, kind }) => AdminAsk::Directory(DirectoryCommand::AddOrganisation {
            id: id.clone(),
            name: name.clone(),
            kind: kind_of(*kind),
        }),
        About::Org(Org::List) => AdminAsk::ListOrganisations {},
        About::User(User::Add { id, org, name, roles }) => AdminAsk::Directory(DirectoryCommand::AddUser {
            id: id.clone(),
            organisation: org.clone(),
            name: name.clone(),
            roles: roles_of(roles),
        }),
        About::User(User::List) => AdminAsk::ListUsers {},
        About::User(User::Roles { id, roles }) => {
            AdminAsk::Directory(DirectoryCommand::SetRoles { user: id.clone(), roles: roles_of(roles) })
        }
        About::User(User::Password { id, password_file }) => {
            let typed = secret::password(password_file.as_deref(), id.as_str())?;
            AdminAsk::SetPassword { user: id.clone(), password: typed.to_string().into() }
        }
        About::User(User::Disable { id }) => {
            AdminAsk::Directory(DirectoryCommand::SetDisabled { user: id.clone(), disabled: true })
        }
        About::User(User::Enable { id }) => {
            AdminAsk::Directory(DirectoryCommand::SetDisabled { user: id.clone(), disabled: false })
        }
        About::Root(Root::Add { vendor, certificate, intermediates }) => {
            AdminAsk::Directory(DirectoryCommand::AddRoot {
                vendor: vendor.clone(),
                fingerprint: None,
                certificate: Blob(read_certificate(certificate)?),
                intermediates: intermediates
                    .iter()
                    .map(|file| read_certificate(file).map(Blob))
                    .collect::<Result<_, _>>()?,
            })
        }
        About::Root(Root::List) => AdminAsk::ListRoots {},
        About::Root(Root::Remove { vendor, certificate }) => {
            AdminAsk::Directory(DirectoryCommand::RemoveRoot {
                vendor: vendor.clone(),
                fingerprint: fingerprint(certificate)?,
            })
        }
        About::Crl(Crl::Set { vendor, list }) => {
            let der = revocation_list_of(&read(list)?)
                .ok_or_else(|| Failure::Misuse(format!("{} holds no revocation list", list.display())))?;
            AdminAsk::Directory(DirectoryCommand::SetRevocationList {
                vendor: vendor.clone(),
                list: Blob(der),
            })
        }
        About::Bind { user, certificate } => AdminAsk::Directory(DirectoryCommand::BindCertificate {
            user: user.clone(),
            fingerprint: None,
            certificate: Blob(read_certificate(certificate)?),
        }),
        About::Unbind { user, certificate } => AdminAsk::Directory(DirectoryCommand::UnbindCertificate {
            user: user.clone(),
            fingerprint: fingerprint(certificate)?,
        }),
        About::Project(Project::Create { file }) => {
            AdminAsk::CreateProject { spec: Box::new(read_project(file)?) }
        }
        About::Project(Project::List) => AdminAsk::ListProjects {},
        About::Project(Project::Show { id }) => AdminAsk::ShowProject { project: id.clone() },
        About::Backup { to } => {
            // The server has a working directory of its own.
            let to = std::path::absolute(to).map_err(|fault| Failure::of("name the folder", fault))?;
            AdminAsk::BackUp { to }
        }
        About::Restore { .. } => unreachable!("a restore asks no server"),
        About::Status => AdminAsk::Status {},
        About::Stop => AdminAsk::ShutDown {},
    })
}

/// Says one line to the server and reads its one line.
fn speak(socket: &Path, ask: &AdminAsk) -> Result<AdminAnswer, Failure> {
    let unreachable = |fault| Failure::of(&format!("reach the server at {}", socket.display()), fault);
    let mut stream = UnixStream::connect(socket).map_err(|fault| {
        let hint = "is the server running, and is --data its folder?";
        Failure::Failed(format!("failed to reach the server at {}: {fault}; {hint}", socket.display()))
    })?;
    // A line may hold a password.
    let mut line =
        Zeroizing::new(serde_json::to_vec(ask).map_err(|fault| Failure::of("write the ask", fault))?);
    line.push(b'\n');
    stream.write_all(&line).map_err(unreachable)?;
    let mut answer = String::new();
    let mut reader = BufReader::new(stream);
    reader.read_line(&mut answer).map_err(unreachable)?;
    match serde_json::from_str(&answer) {
        Ok(AdminReply::Ok(AdminAnswer::ShuttingDown {})) => {
            // The connection ends with the process: then the folder is free. How it ends says nothing more.
            let _ = reader.read_to_end(&mut Vec::new());
            Ok(AdminAnswer::ShuttingDown {})
        }
        Ok(AdminReply::Ok(answer)) => Ok(answer),
        Ok(AdminReply::Refused(refusal)) => Err(Failure::Refused(refusal)),
        Ok(AdminReply::Failed(why)) => Err(Failure::Failed(why)),
        Err(fault) => Err(Failure::of("understand the server's answer", fault)),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|fault| Failure::of(&format!("read {}", file.display()), fault))
}

fn read_certificate(file: &Path) -> Result<Vec<u8>, Failure> {
    certificate_of(&read(file)?)
        .ok_or_else(|| Failure::Misuse(format!("{} holds no certificate", file.display())))
}

/// A fingerprint as it is written, or that of a certificate's file.
fn fingerprint(text: &str) -> Result<Digest, Failure> {
    match text.to_ascii_lowercase().replace(':', "").parse() {
        Ok(digest) => Ok(digest),
        Err(_) => Ok(sha256(&read_certificate(Path::new(text))?)),
    }
}

/// A project's file, strictly read; only its deadline may be written as a date.
fn read_project(file: &Path) -> Result<ProjectSpec, Failure> {
    let named = file.display();
    let text =
        String::from_utf8(read(file)?).map_err(|_| Failure::Misuse(format!("{named} is not UTF-8")))?;
    project_of(&text).map_err(|told| Failure::Misuse(format!("failed to understand {named}: {told}")))
}

fn project_of(text: &str) -> Result<ProjectSpec, String> {
    let loose: serde_json::Value = serde_json::from_str(text).map_err(|fault| fault.to_string())?;
    let Some(date) = loose.get("deadline").and_then(|deadline| deadline.as_str()) else {
        return serde_json::from_str(text).map_err(|fault| fault.to_string());
    };
    let moment = moment_of(date).ok_or_else(|| format!("`deadline`: {date:?} is no date"))?;
    // Only this one literal is put right, so that everything else is read as strictly as ever.
    let literal = format!("\"{date}\"");
    if text.matches(&literal).count() != 1 {
        return Err("`deadline`: the same date stands there twice".to_owned());
    }
    serde_json::from_str(&text.replace(&literal, &moment.0.to_string())).map_err(|fault| fault.to_string())
}

/// A date with an offset, or one of Beijing.
pub(crate) fn moment_of(date: &str) -> Option<Moment> {
    let beijing =
        || date.parse::<DateTime>().ok()?.in_tz("Asia/Shanghai").ok().map(|zoned| zoned.timestamp());
    let instant = date.parse::<Timestamp>().ok().or_else(beijing)?;
    Some(Moment(instant.as_microsecond()))
}

fn beijing(moment: Moment) -> String {
    Timestamp::from_microsecond(moment.0)
        .and_then(|instant| instant.in_tz("Asia/Shanghai"))
        .map_or_else(|_| moment.0.to_string(), |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn kind_of(kind: Kind) -> OrganisationKind {
    match kind {
        Kind::Supplier => OrganisationKind::Supplier,
        Kind::Purchaser => OrganisationKind::Purchaser,
        Kind::Agency => OrganisationKind::Agency,
        Kind::ExpertPool => OrganisationKind::ExpertPool,
        Kind::Supervisor => OrganisationKind::Supervisor,
        Kind::Platform => OrganisationKind::Platform,
    }
}

fn roles_of(names: &[RoleName]) -> BTreeSet<Role> {
    let role = |name: &RoleName| match name {
        RoleName::Supplier => Role::Supplier,
        RoleName::Agent => Role::Agent,
        RoleName::Purchaser => Role::Purchaser,
        RoleName::Supervisor => Role::Supervisor,
        RoleName::Expert => Role::Expert,
        RoleName::Administrator => Role::Administrator,
    };
    names.iter().map(role).collect()
}

/// An answer as people read it.
fn shown(answer: &AdminAnswer) -> Result<String, Failure> {
    Ok(match answer {
        AdminAnswer::Done { at } => format!("done at {} (Beijing)", beijing(*at)),
        AdminAnswer::Organisations { rows } => {
            lines(rows.iter().map(|row| format!("{}  {}  {}", row.id, word(&row.kind), row.name)))
        }
        AdminAnswer::Users { rows } => lines(rows.iter().map(|row| {
            let roles: Vec<_> = row.roles.iter().map(word).collect();
            let mut marks = vec![];
            if row.disabled {
                marks.push("closed".to_owned());
            }
            if row.has_password {
                marks.push("password".to_owned());
            }
            marks.extend(row.certificates.iter().map(|print| format!("certificate {print}")));
            format!(
                "{}  {}  {}  {}  {}",
                row.id,
                row.organisation,
                roles.join(","),
                row.name,
                marks.join(", ")
            )
        })),
        AdminAnswer::Roots { rows } => lines(rows.iter().map(|row| {
            let list = if row.has_revocation_list { "with a revocation list" } else { "no revocation list" };
            format!("{}  {}  {list}", row.vendor, row.fingerprint)
        })),
        AdminAnswer::Projects { rows } => lines(rows.iter().map(|row| {
            let kind = if row.exercise { "exercise" } else { "real" };
            format!("{}  {kind}  {}  {}  {}", row.project, beijing(row.deadline), row.organiser, row.name)
        })),
        AdminAnswer::Project { spec, status } => {
            let text = serde_json::to_string_pretty(spec).map_err(|fault| Failure::of("show it", fault))?;
            format!("{text}\nstatus: {}\ndeadline: {} (Beijing)", word(status), beijing(spec.deadline))
        }
        AdminAnswer::BackedUp { position, hash } => {
            format!("{position} records copied and checked, running hash {hash}")
        }
        AdminAnswer::Status(status) => {
            let ready = status.not_ready.as_deref().unwrap_or("ready");
            format!(
                "kaibiao {} on {} since {} (Beijing): {ready}\nsessions {}, sockets {}, projects {}\nreceipt key {}\nopening key {}",
                status.version,
                status.listen,
                beijing(status.since),
                status.sessions,
                status.sockets,
                status.projects,
                status.receipt_key,
                status.opening_key,
            )
        }
        AdminAnswer::ShuttingDown {} => "the server has stopped".to_owned(),
    })
}

fn lines(rows: impl Iterator<Item = String>) -> String {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { "none".to_owned() } else { rows.join("\n") }
}

/// The word a value has on the wire.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_beijings_unless_it_says_otherwise() {
        let moment = moment_of("2026-12-01T09:30:00+08:00").unwrap();
        assert_eq!(moment_of("2026-12-01 09:30"), Some(moment));
        assert_eq!(moment_of("2026-12-01T01:30:00Z"), Some(moment));
        assert_eq!(beijing(moment), "2026-12-01 09:30:00");
        assert_eq!(moment_of("tomorrow"), None);
    }

    #[test]
    fn a_fingerprint_is_taken_as_tools_write_it() {
        let text = "AB:".repeat(31) + "AB";
        assert_eq!(fingerprint(&text).unwrap(), Digest([0xab; 32]));
        assert!(fingerprint("no-such-file.pem").is_err());
    }

    #[test]
    fn a_project_file_is_read_strictly() {
        assert!(project_of(r#"{"deadline":"tomorrow"}"#).unwrap_err().contains("deadline"));
        assert!(project_of(r#"{"deadline":"2026-12-01 09:30","colour":1}"#).unwrap_err().contains("colour"));
        assert!(project_of("[]").is_err());
    }
}
