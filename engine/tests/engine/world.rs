//! One project under test: its history, its state, and names for what happens in it.

use std::collections::{BTreeMap, BTreeSet};

use kaibiao_engine::{
    invariants::{history_holds, kb_2},
    keeper::Machine as _,
    project::{Project, ProjectMachine},
};
use kaibiao_protocol::{
    bid::{BidFacts, Evidence, FailureCause, PartFacts, PartName},
    command::ProjectCommand,
    digest::Digest,
    event::ProjectEvent,
    ids::{BidId, FileId, LotNo, OrganisationId, UploadId},
    moment::Moment,
    money::{Fen, Price, PriceKind, Rate},
    project::{BackupPolicy, BidSecurityTerms, LotSpec, Method, ProjectKind, ProjectSpec, StartMode},
    record::BidSheet,
    refusal::Refusal,
    role::{Asker, Reactor, Role},
};

/// The deadline of every project under test: 2026-03-02 09:00 in Shanghai.
pub(crate) const DEADLINE: Moment = Moment(1_772_413_200_000_000);

/// A project with everything that happened to it.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) project: Project,
    pub(crate) history: Vec<(Moment, ProjectEvent)>,
}

impl World {
    /// Asks, and makes true what is decided.
    pub(crate) fn ask(
        &mut self,
        asker: &Asker,
        at: Moment,
        command: &ProjectCommand,
    ) -> Result<Vec<ProjectEvent>, Refusal> {
        let events = ProjectMachine::decide(&self.project, command, asker, at)?;
        for event in &events {
            ProjectMachine::apply(&mut self.project, event, at);
            self.history.push((at, event.clone()));
        }
        Ok(events)
    }

    /// What must hold always, holds now.
    pub(crate) fn assert_holds(&self) {
        history_holds(&self.history).unwrap();
        kb_2(&self.project, &self.history).unwrap();
    }
}

pub(crate) fn lot(no: u16) -> LotNo {
    LotNo::new(no).unwrap()
}

pub(crate) fn fen(amount: i64) -> Fen {
    Fen::new(amount).unwrap()
}

pub(crate) fn organisation(name: &str) -> OrganisationId {
    name.parse().unwrap()
}

pub(crate) fn person(user: &str, organisation_name: &str, role: Role) -> Asker {
    Asker::Person { user: user.parse().unwrap(), organisation: organisation(organisation_name), role }
}

pub(crate) fn platform(reactor: Reactor) -> Asker {
    Asker::Platform { reactor }
}

/// A supplier's user, such as `A`.
pub(crate) fn supplier(name: &str) -> Asker {
    person(&format!("user-{name}"), name, Role::Supplier)
}

pub(crate) fn agent() -> Asker {
    person("wang", "agency", Role::Agent)
}

/// Who a name in a script is.
pub(crate) fn asker(name: &str) -> Asker {
    match name {
        "intake" => platform(Reactor::Intake),
        "timer" => platform(Reactor::Timer),
        "opening" => platform(Reactor::Opening),
        "console" => platform(Reactor::Console),
        "agent" => agent(),
        "other-agent" => person("zhao", "other-agency", Role::Agent),
        "purchaser" => person("li", "school", Role::Purchaser),
        "other-purchaser" => person("qian", "hospital", Role::Purchaser),
        "supervisor" => person("sun", "bureau", Role::Supervisor),
        "expert" => person("zhou", "pool", Role::Expert),
        "administrator" => person("root", "platform", Role::Administrator),
        name if name.len() == 1 => supplier(name),
        name => panic!("nobody is called {name}"),
    }
}

/// Sixteen bytes that spell a name.
fn id(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes
}

pub(crate) fn bid(name: &str) -> BidId {
    BidId(id(name))
}

pub(crate) fn upload(name: &str) -> UploadId {
    UploadId(id(name))
}

pub(crate) fn file(name: &str) -> FileId {
    FileId(id(name))
}

/// What a bid or an upload is called in a script.
pub(crate) fn name_of(id: &[u8; 16]) -> String {
    String::from_utf8_lossy(id).trim_end_matches('\0').to_owned()
}

/// A digest that spells a name.
pub(crate) fn digest(name: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    Digest(bytes)
}

/// An exercise with so many lots; each asks for a total but the second, which asks for a rate.
pub(crate) fn spec(lots: u16) -> ProjectSpec {
    let lot_spec = |no: u16| LotSpec {
        name: format!("标项{no}"),
        budget: fen(10_000_000),
        price_kind: if no == 2 { PriceKind::Rate } else { PriceKind::Total },
        bid_security: Some(BidSecurityTerms { amount: fen(200_000), methods: vec!["保函".to_owned()] }),
    };
    ProjectSpec {
        id: "KX-00823".parse().unwrap(),
        name: "便携式计算机".to_owned(),
        region: "浙江省本级".to_owned(),
        kind: ProjectKind::Exercise,
        method: Method::OpenTender,
        purchaser: organisation("school"),
        organiser: organisation("agency"),
        budget: fen(10_000_000 * i64::from(lots)),
        deadline: DEADLINE,
        start: StartMode::AtDeadline,
        window_minutes: 30,
        failure_grace_minutes: 10,
        backup: BackupPolicy::AnyFault,
        confirm_minutes: 60,
        consortium_allowed: false,
        bid_bytes_max: None,
        invited: None,
        rule_pack: "GP/1".to_owned(),
        lots: (1..=lots).map(|no| (lot(no), lot_spec(no))).collect(),
    }
}

/// A sealed bid of a supplier; all its digests spell its name.
pub(crate) fn facts(name: &str, supplier: &str, lots: &[u16]) -> BidFacts {
    let lots: BTreeSet<LotNo> = lots.iter().map(|no| lot(*no)).collect();
    let names = std::iter::once(PartName::Common).chain(lots.iter().copied().map(PartName::Lot));
    let parts = names
        .map(|part| PartFacts { part, length: 1_000, ciphertext: digest(&format!("{name} {part}")) })
        .collect();
    BidFacts {
        bid: bid(name),
        upload: upload(name),
        file: file(name),
        supplier: organisation(supplier),
        supplier_name: format!("{supplier}公司"),
        lots,
        size_bytes: 10_000,
        header_digest: digest(&format!("{name} header")),
        binding_digest: digest(&format!("{name} binding")),
        statement_digest: digest(&format!("{name} statement")),
        cms_digest: digest(&format!("{name} cms")),
        signing_certificate: digest(&format!("{supplier} signs")),
        encryption_certificate: digest(&format!("{supplier} encrypts")),
        contact_digest: digest(&format!("{name} contact")),
        parts,
    }
}

pub(crate) fn sheet(price: Price) -> BidSheet {
    BidSheet {
        price,
        delivery_or_lead: "30日".to_owned(),
        bid_security_method: "保函".to_owned(),
        declaration_signed: true,
        remark: String::new(),
    }
}

/// The sheets the record asks of a bid.
pub(crate) fn sheets(project: &Project, bid: &BidId) -> BTreeMap<LotNo, BidSheet> {
    let spec = project.spec().expect("the project exists");
    let lots = project.parts_opened(bid).into_iter().filter_map(|part| match part {
        PartName::Common => None,
        PartName::Lot(lot) => Some(lot),
    });
    lots.map(|lot| {
        let price = match spec.lots[&lot].price_kind {
            PriceKind::Total => Price::Total(fen(8_888_888)),
            PriceKind::UnitPrice => Price::UnitPrice(fen(7_777_777)),
            PriceKind::Rate => Price::Rate(Rate::new(9_550).unwrap()),
        };
        (lot, sheet(price))
    })
    .collect()
}

pub(crate) fn evidence(seen: &str) -> Evidence {
    Evidence { seen: seen.to_owned(), expected: None, found: None }
}

/// A cause by its name on the wire.
pub(crate) fn cause(name: &str) -> FailureCause {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).unwrap()
}

/// How a value is written on the wire, without quotes.
pub(crate) fn wire<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value).unwrap() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}
