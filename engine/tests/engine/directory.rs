//! Organisations, people, certificates, roots of trust.

use std::collections::BTreeSet;

use kaibiao_engine::{
    directory::{Directory, DirectoryMachine, suits},
    keeper::Machine as _,
};
use kaibiao_protocol::{
    blob::Blob,
    directory::{DirectoryCommand, DirectoryEvent, OrganisationKind},
    moment::Moment,
    refusal::Refusal,
    role::{Asker, Reactor, Role},
};

use crate::world::{asker, digest, organisation, person, platform};

#[derive(Default, Clone)]
struct House {
    directory: Directory,
    history: Vec<DirectoryEvent>,
}

const KINDS: [OrganisationKind; 6] = [
    OrganisationKind::Supplier,
    OrganisationKind::Purchaser,
    OrganisationKind::Agency,
    OrganisationKind::ExpertPool,
    OrganisationKind::Supervisor,
    OrganisationKind::Platform,
];

impl House {
    fn ask(&mut self, asker: &Asker, command: &DirectoryCommand) -> Result<Vec<DirectoryEvent>, Refusal> {
        let events = DirectoryMachine::decide(&self.directory, command, asker, Moment(0))?;
        for event in &events {
            DirectoryMachine::apply(&mut self.directory, event, Moment(0));
            self.history.push(event.clone());
        }
        Ok(events)
    }

    fn told(&mut self, asker: &Asker, command: &DirectoryCommand) -> String {
        match self.ask(asker, command) {
            Ok(events) if events.is_empty() => "nothing".to_owned(),
            Ok(events) => events.iter().map(DirectoryEvent::kind).collect::<Vec<_>>().join(" "),
            Err(refusal) => format!("!{}", refusal.code.as_str()),
        }
    }
}

/// One command a line, by the operator; then its outcome.
#[track_caller]
fn play(mut house: House, script: &str) -> House {
    let console = platform(Reactor::Console);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (words, expected) = line.split_once("->").unwrap();
        let found = house.told(&console, &command(words));
        assert_eq!(found, expected.trim(), "{line}");
        let mut replayed = Directory::default();
        house.history.iter().for_each(|event| DirectoryMachine::apply(&mut replayed, event, Moment(0)));
        assert_eq!(replayed, house.directory);
    }
    house
}

fn roles(text: &str) -> BTreeSet<Role> {
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| serde_json::from_value(serde_json::Value::String(name.to_owned())).unwrap()).collect()
}

fn bytes(text: &str) -> Blob {
    match text.strip_prefix("size=") {
        Some(size) => Blob(vec![7; size.parse().unwrap()]),
        None => Blob(text.as_bytes().to_vec()),
    }
}

fn command(words: &str) -> DirectoryCommand {
    let words: Vec<&str> = words.split_whitespace().collect();
    match words.as_slice() {
        ["organisation", id, kind] => DirectoryCommand::AddOrganisation {
            id: organisation(id),
            name: format!("{id}公司"),
            kind: serde_json::from_value(serde_json::Value::String((*kind).to_owned())).unwrap(),
        },
        ["organisation", id, kind, name] => {
            let kind = serde_json::from_value(serde_json::Value::String((*kind).to_owned())).unwrap();
            let name = if *name == "empty" { String::new() } else { (*name).to_owned() };
            DirectoryCommand::AddOrganisation { id: organisation(id), name, kind }
        }
        ["user", id, of, as_roles] => DirectoryCommand::AddUser {
            id: id.parse().unwrap(),
            organisation: organisation(of),
            name: format!("{id}先生"),
            roles: roles(as_roles.trim_matches('-')),
        },
        ["roles", user, as_roles] => DirectoryCommand::SetRoles {
            user: user.parse().unwrap(),
            roles: roles(as_roles.trim_matches('-')),
        },
        ["password", user] => DirectoryCommand::SetPassword { user: user.parse().unwrap() },
        ["disable", user] => DirectoryCommand::SetDisabled { user: user.parse().unwrap(), disabled: true },
        ["enable", user] => DirectoryCommand::SetDisabled { user: user.parse().unwrap(), disabled: false },
        ["root", vendor, certificate] => DirectoryCommand::AddRoot {
            vendor: (*vendor).to_owned(),
            certificate: bytes(certificate),
            intermediates: vec![bytes("between")],
            fingerprint: Some(digest(certificate)),
        },
        ["root-without-fingerprint", vendor, certificate] => DirectoryCommand::AddRoot {
            vendor: (*vendor).to_owned(),
            certificate: bytes(certificate),
            intermediates: Vec::new(),
            fingerprint: None,
        },
        ["unroot", vendor, certificate] => {
            DirectoryCommand::RemoveRoot { vendor: (*vendor).to_owned(), fingerprint: digest(certificate) }
        }
        ["list", vendor, list] => {
            DirectoryCommand::SetRevocationList { vendor: (*vendor).to_owned(), list: bytes(list) }
        }
        ["bind", user, certificate] => DirectoryCommand::BindCertificate {
            user: user.parse().unwrap(),
            certificate: bytes(certificate),
            fingerprint: Some(digest(certificate)),
        },
        ["bind-without-fingerprint", user, certificate] => DirectoryCommand::BindCertificate {
            user: user.parse().unwrap(),
            certificate: bytes(certificate),
            fingerprint: None,
        },
        ["unbind", user, certificate] => DirectoryCommand::UnbindCertificate {
            user: user.parse().unwrap(),
            fingerprint: digest(certificate),
        },
        other => panic!("{other:?} is no command"),
    }
}

const PEOPLE: &str = "
    organisation a        supplier      -> organisation_added
    organisation agency   agency        -> organisation_added
    organisation school   purchaser     -> organisation_added
    organisation platform platform      -> organisation_added
    user ann a supplier                 -> user_added
    user wang agency agent              -> user_added
    user li school agent,purchaser      -> user_added
    user root platform administrator    -> user_added";

fn people() -> House {
    play(House::default(), PEOPLE)
}

#[test]
fn organisations_and_people_have_ids_of_their_own() {
    play(
        people(),
        "organisation a supplier               -> !already_exists
         organisation b supplier empty         -> !field_invalid
         user ann agency agent                 -> !already_exists
         user bob nowhere supplier             -> !unknown",
    );
}

#[test]
fn roles_suit_the_organisation() {
    let all: Vec<(OrganisationKind, Vec<Role>)> = KINDS
        .into_iter()
        .map(|kind| (kind, Role::ALL.into_iter().filter(|role| suits(kind, *role)).collect()))
        .collect();
    insta::assert_debug_snapshot!(all);
    play(
        people(),
        "user bob a agent                      -> !field_invalid
         user bob a supplier,agent             -> !field_invalid
         user bob a --                         -> !field_invalid
         user bob school purchaser             -> user_added
         roles li agent                        -> roles_set
         roles li agent                        -> nothing
         roles li supplier                     -> !field_invalid
         roles li --                           -> !field_invalid
         roles nobody agent                    -> !unknown",
    );
}

#[test]
fn a_certificate_speaks_for_one_account() {
    let house = play(
        people(),
        "bind ann cert-1                       -> certificate_bound
         bind ann cert-1                       -> nothing
         bind wang cert-1                      -> !already_exists
         bind wang cert-2                      -> certificate_bound
         bind nobody cert-3                    -> !unknown
         bind ann size=0                       -> !field_invalid
         bind ann size=65537                   -> !field_invalid
         bind ann size=65536                   -> certificate_bound
         bind-without-fingerprint ann cert-4   -> !malformed
         unbind wang cert-1                    -> !unknown
         unbind ann cert-1                     -> certificate_unbound
         unbind ann cert-1                     -> !unknown
         bind wang cert-1                      -> certificate_bound",
    );
    let directory = &house.directory;
    assert_eq!(directory.bound_to(&digest("cert-1")).unwrap().as_str(), "wang");
    assert_eq!(directory.certificate(&digest("cert-1")), Some(&bytes("cert-1")));
    assert_eq!(directory.bound_to(&digest("cert-9")), None);
    assert_eq!(directory.certificates_of(&"wang".parse().unwrap()), [digest("cert-1"), digest("cert-2")]);
}

#[test]
fn an_account_has_a_handful_of_certificates() {
    let mut house = people();
    for number in 0..20 {
        house = play(house, &format!("bind ann cert-{number} -> certificate_bound"));
    }
    play(house, "bind ann one-more -> !field_invalid");
}

#[test]
fn roots_are_trusted_once_and_lists_need_a_root() {
    let house = play(
        House::default(),
        "list huixin list-0                    -> !unknown
         root huixin root-1                    -> root_added
         root huixin root-1                    -> !already_exists
         root tiangu root-1                    -> !already_exists
         root tiangu root-2                    -> root_added
         root huixin root-3                    -> root_added
         root-without-fingerprint huixin root-4 -> !malformed
         root huixin size=0                    -> !field_invalid
         root huixin size=65537                -> !field_invalid
         list huixin list-1                    -> revocation_list_set
         list huixin list-1                    -> nothing
         list huixin list-2                    -> revocation_list_set
         list huixin size=0                    -> !field_invalid
         unroot tiangu root-1                  -> !unknown
         unroot huixin root-1                  -> root_removed",
    );
    assert_eq!(house.directory.roots().len(), 2);
    assert_eq!(house.directory.revocation_list("huixin"), Some(&bytes("list-2")));
    let house = play(house, "unroot huixin root-3 -> root_removed");
    assert_eq!(house.directory.revocation_list("huixin"), None, "nothing could check it any more");
}

#[test]
fn a_password_is_an_event_and_never_a_value() {
    let house = play(
        people(),
        "password ann                          -> password_set
         password ann                          -> password_set
         password nobody                       -> !unknown",
    );
    assert!(house.directory.user(&"ann".parse().unwrap()).unwrap().has_password);
    assert!(!house.directory.user(&"wang".parse().unwrap()).unwrap().has_password);
}

#[test]
fn a_closed_account_signs_in_no_more_and_its_sessions_end() {
    let house = people();
    let ann = "ann".parse().unwrap();
    let session = house.directory.sign_in(&ann, None).unwrap();
    assert_eq!(session, person("ann", "a", Role::Supplier));
    assert!(house.directory.still_stands(&session));
    let house = play(
        house,
        "disable ann                           -> disabled_set
         disable ann                           -> nothing
         disable nobody                        -> !unknown",
    );
    assert_eq!(house.directory.sign_in(&ann, None), None);
    assert!(!house.directory.still_stands(&session));
    let house = play(house, "enable ann -> disabled_set");
    assert!(house.directory.still_stands(&session));
}

#[test]
fn a_session_is_opened_in_a_role_the_account_has() {
    let house = people();
    let li = "li".parse().unwrap();
    let as_role = |role| house.directory.sign_in(&li, role);
    assert_eq!(as_role(Some(Role::Purchaser)), Some(person("li", "school", Role::Purchaser)));
    assert_eq!(as_role(Some(Role::Agent)), Some(person("li", "school", Role::Agent)));
    assert_eq!(as_role(Some(Role::Supervisor)), None);
    assert_eq!(as_role(None), Some(person("li", "school", Role::Agent)));
    assert_eq!(house.directory.sign_in(&"nobody".parse().unwrap(), None), None);
    let session = as_role(Some(Role::Purchaser)).unwrap();
    let house = play(house, "roles li agent -> roles_set");
    assert!(!house.directory.still_stands(&session), "a role taken away ends its sessions");
}

#[test]
fn only_administrators_and_the_console_change_the_directory() {
    let every_command = [
        "organisation b supplier",
        "user bob a supplier",
        "roles li agent",
        "password ann",
        "disable ann",
        "root huixin root-1",
        "unroot huixin root-9",
        "list huixin list-1",
        "bind ann cert-1",
        "unbind ann cert-9",
    ];
    let house = play(
        people(),
        "root huixin root-9                    -> root_added
         bind ann cert-9                       -> certificate_bound",
    );
    let may = [asker("console"), person("root", "platform", Role::Administrator)];
    let may_not = [
        asker("intake"),
        asker("timer"),
        asker("opening"),
        person("ann", "a", Role::Supplier),
        person("wang", "agency", Role::Agent),
        person("li", "school", Role::Purchaser),
        // An administrator the directory does not know, or not as that.
        person("mallory", "platform", Role::Administrator),
        person("ann", "a", Role::Administrator),
        person("root", "agency", Role::Administrator),
    ];
    for words in every_command {
        for who in &may {
            assert!(house.clone().ask(who, &command(words)).is_ok(), "{who:?}: {words}");
        }
        for who in &may_not {
            assert_eq!(house.clone().told(who, &command(words)), "!role_not_allowed", "{who:?}: {words}");
        }
    }
    let mut closed = play(house, "disable root -> disabled_set");
    assert_eq!(closed.told(&may[1], &command("password ann")), "!role_not_allowed");
}
