//! What the people of the world own, made once a process: accounts, certificates, sealed bids.
//!
//! Bids are real: packed, sealed and signed by the production code, with RSA keys and certificates of a practice
//! authority behind the closure that stands for a token. Only the envelope in which keys travel to the server is the
//! world's own ([`envelope`], [`open_envelope`]), because HPKE draws its own chance and would make every run another.
//!
//! Keys, salts and so the bytes of bids differ from process to process, their lengths and prices do not: a seed's
//! story is the same everywhere, its digest within one process.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    io::Cursor,
    sync::{Arc, LazyLock, OnceLock},
};

use kaibiao_protocol::{
    bid::PartName,
    blob::Blob,
    digest::Digest,
    directory::{DirectoryCommand, OrganisationKind},
    ids::{LotNo, OrganisationId, ProjectId},
    moment::Moment,
    money::{Fen, Price, PriceKind},
    project::{BackupPolicy, LotSpec, Method, ProjectKind, ProjectSpec, StartMode},
    record::BidSheet,
    role::Role,
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    header::{Header, MAGIC},
    key::{BidKey, PartKey},
    order::OpeningOrder,
    package::{DocumentKind, NewDocument, NewLot, Package, Packing, pack},
    platform_key::{PlatformKey, key_id},
    practice::{PracticeCa, SoftKey, Span, Usage},
    purpose::Purpose,
    signature::sign_cms,
    statements::confirm_statement,
    wrap::{WrapAlgorithm, wrap_to},
    writer::{ClearPart, Sealing},
};

use super::{draw::Draw, wire::Caller};

/// Suppliers of the world.
pub const SUPPLIERS: usize = 8;
/// Projects of the world at most; project `n` (from 0) has `n + 1` lots.
pub const PROJECTS: usize = 3;
/// Sound bids that each supplier holds ready for each project.
pub const VERSIONS: usize = 3;

/// Which bid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Make {
    /// A sound one, from 0.
    Version(usize),
    /// Signed and stated as it is, but a chunk of its common part is not what its key seals: fails as a damaged upload.
    NeverWhole,
    /// Sealed well, but what is inside belongs to another project: fails as a malformed package.
    OtherInside,
    /// Signed with a certificate that no account is bound to: refused at reception.
    StrangeCertificate,
}

/// A sealed bid with everything its supplier has of it.
pub struct StockBid {
    /// For which project.
    pub project: ProjectId,
    /// Whose.
    pub supplier: OrganisationId,
    /// The sealed bytes.
    pub bytes: Arc<[u8]>,
    /// Their header.
    pub header: Header,
    /// What is bid, by lot.
    pub sheets: BTreeMap<LotNo, BidSheet>,
    key: BidKey,
}

impl StockBid {
    /// The key of one part.
    pub fn part_key(&self, part: PartName) -> PartKey {
        self.key.part_key(&self.header.binding_digest, part)
    }
}

/// The world's belongings.
pub struct Stock {
    ca: PracticeCa,
    key: SoftKey,
    /// The platform's opening key.
    pub opening: PlatformKey,
    /// The platform's receipt and record key.
    pub receipt: PlatformKey,
    suppliers: Vec<Supplier>,
    agent: Caller,
    supervisor: Caller,
    bids: BTreeMap<(usize, usize, Make), OnceLock<StockBid>>,
}

struct Supplier {
    caller: Caller,
    name: String,
    certificate: Vec<u8>,
    strange: Vec<u8>,
}

/// The stock of this process; bids are sealed when they are first looked at.
pub fn stock() -> &'static Stock {
    static STOCK: LazyLock<Stock> = LazyLock::new(Stock::new);
    &STOCK
}

impl Stock {
    fn new() -> Self {
        let ca =
            PracticeCa::new("Huixin", SPAN.from, SPAN.until).expect("an authority of practice is founded");
        let key = SoftKey::generate().expect("a key is drawn");
        let suppliers = (0..SUPPLIERS).map(|number| Supplier::new(number, &ca, &key)).collect();
        let makes = (0..VERSIONS).map(Make::Version).chain([
            Make::NeverWhole,
            Make::OtherInside,
            Make::StrangeCertificate,
        ]);
        let mut bids = BTreeMap::new();
        for make in makes {
            for project in 0..PROJECTS {
                bids.extend((0..SUPPLIERS).map(|supplier| ((project, supplier, make), OnceLock::new())));
            }
        }
        Self {
            ca,
            key,
            opening: PlatformKey::generate().expect("a key is drawn"),
            receipt: PlatformKey::generate().expect("a key is drawn"),
            suppliers,
            agent: caller("agent", "agency", Role::Agent),
            supervisor: caller("watcher", "bureau", Role::Supervisor),
            bids,
        }
    }

    /// A supplier, from 0.
    ///
    /// # Panics
    /// There are only [`SUPPLIERS`].
    pub fn supplier(&self, number: usize) -> &Caller {
        &self.suppliers[number].caller
    }

    /// The organiser's agent.
    pub fn agent(&self) -> &Caller {
        &self.agent
    }

    /// The supervisor.
    pub fn supervisor(&self) -> &Caller {
        &self.supervisor
    }

    /// A bid of a supplier for a project, each from 0.
    ///
    /// # Panics
    /// There is no such.
    pub fn bid(&self, project: usize, supplier: usize, make: Make) -> &StockBid {
        let cell = self.bids.get(&(project, supplier, make)).expect("the stock has this bid");
        cell.get_or_init(|| self.seal(project, supplier, make))
    }

    /// What the platform's operator enters before the world begins.
    pub fn directory(&self) -> Vec<DirectoryCommand> {
        let organisation = |id: &OrganisationId, name: &str, kind| DirectoryCommand::AddOrganisation {
            id: id.clone(),
            name: name.to_owned(),
            kind,
        };
        let user = |caller: &Caller| DirectoryCommand::AddUser {
            id: caller.user.clone(),
            organisation: caller.organisation.clone(),
            name: "某人".to_owned(),
            roles: BTreeSet::from([caller.role]),
        };
        let mut commands = vec![
            DirectoryCommand::AddRoot {
                vendor: "huixin".to_owned(),
                fingerprint: Some(sha256(self.ca.root())),
                certificate: Blob(self.ca.root().to_vec()),
                intermediates: Vec::new(),
            },
            organisation(&name("school"), "第一中学", OrganisationKind::Purchaser),
            organisation(&name("agency"), "公正代理", OrganisationKind::Agency),
            organisation(&name("bureau"), "监管局", OrganisationKind::Supervisor),
            user(&self.agent),
            user(&self.supervisor),
        ];
        for one in &self.suppliers {
            commands.push(organisation(&one.caller.organisation, &one.name, OrganisationKind::Supplier));
            commands.push(user(&one.caller));
            commands.push(DirectoryCommand::BindCertificate {
                user: one.caller.user.clone(),
                fingerprint: Some(sha256(&one.certificate)),
                certificate: Blob(one.certificate.clone()),
            });
        }
        commands
    }

    fn seal(&self, project: usize, supplier: usize, make: Make) -> StockBid {
        let owner = &self.suppliers[supplier];
        let id = project_id(project);
        let sheets: BTreeMap<LotNo, BidSheet> =
            lots_of(project, supplier).map(|lot| (lot, sheet(price(project, supplier, make, lot)))).collect();
        let folder = tempfile::tempdir().expect("there is a folder for what is packed");
        let pdf = folder.path().join("quotation.pdf");
        fs::write(&pdf, PDF).expect("a paper is written");
        let document =
            || NewDocument { kind: DocumentKind::Price, title: "报价文件".to_owned(), path: pdf.clone() };
        let packing = Packing {
            project: match make {
                Make::OtherInside => project_id(PROJECTS),
                Make::Version(_) | Make::NeverWhole | Make::StrangeCertificate => id.clone(),
            },
            supplier: owner.caller.organisation.clone(),
            common: vec![document()],
            lots: sheets
                .iter()
                .map(|(lot, sheet)| (*lot, NewLot { sheet: sheet.clone(), documents: Vec::new() }))
                .collect(),
        };
        let package =
            pack(&packing, &folder.path().join("bid.bfbs"), &mut |_, _| ()).expect("a bid is packed");
        let certificate = match make {
            Make::StrangeCertificate => &owner.strange,
            Make::Version(_) | Make::NeverWhole | Make::OtherInside => &owner.certificate,
        };
        let key = BidKey::draw();
        let wrapped =
            wrap_to(certificate, WrapAlgorithm::RsaOaepSha256, key.expose()).expect("a key is wrapped");
        let binding = Binding {
            format: BindingFormat::V1,
            project: id.clone(),
            supplier: owner.caller.organisation.clone(),
            lots: sheets.keys().copied().collect(),
            signing_certificate: sha256(certificate),
            encryption_certificate: sha256(certificate),
            opening_key: key_id(self.opening.public()),
            suite: Suite::Cobblestone256,
            wrap: WrapAlgorithm::RsaOaepSha256,
            wrapped_key: Blob(wrapped),
        };
        let mut out = Cursor::new(Vec::new());
        let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(self.key.sign(bytes));
        let header = Sealing { binding: &binding, key: &key, signing_certificate: certificate }
            .seal(clear_parts(&package), &mut sign, &mut out, &mut |_| ())
            .expect("a bid is sealed");
        let mut bytes = out.into_inner();
        let header = match make {
            Make::NeverWhole => self.spoiled(&header, &mut bytes, certificate),
            Make::Version(_) | Make::OtherInside | Make::StrangeCertificate => header,
        };
        StockBid {
            project: id,
            supplier: owner.caller.organisation.clone(),
            bytes: bytes.into(),
            header,
            sheets,
            key,
        }
    }

    /// Turns a bit of the last chunk of the common part, which is always opened, then states and signs the bid as it is
    /// now.
    fn spoiled(&self, header: &Header, bytes: &mut [u8], certificate: &[u8]) -> Header {
        let mut statement = header.statement.clone();
        let common = statement.parts.first_mut().expect("a bid has parts");
        let from = header.bytes().len();
        let to = from + usize::try_from(common.length).expect("a small bid");
        bytes[to - 1] ^= 1;
        common.ciphertext = sha256(&bytes[from..to]);
        let statement = statement.to_bytes();
        let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(self.key.sign(bytes));
        let cms =
            sign_cms(Purpose::SealStatement, &statement, certificate, &mut sign).expect("a bid is signed");
        let binding = header.binding.to_bytes();
        let mut area = MAGIC.to_vec();
        for length in [header.bytes().len(), binding.len(), statement.len(), cms.len()] {
            area.extend_from_slice(&u32::try_from(length).expect("a small bid").to_be_bytes());
        }
        for section in [binding, statement, cms] {
            area.extend_from_slice(&section);
        }
        area.resize(header.bytes().len(), 0);
        bytes[..area.len()].copy_from_slice(&area);
        Header::parse(&area).expect("the header is well-formed")
    }
}

impl Supplier {
    fn new(number: usize, ca: &PracticeCa, key: &SoftKey) -> Self {
        let id = format!("supplier-{number}");
        let certificate = |serial: usize| {
            ca.issue(
                &format!("CN=供应商{number},O={id},C=CN"),
                &key.public_key(),
                serial as u64,
                Usage::Both,
                SPAN,
            )
            .expect("a certificate is issued")
        };
        Self {
            certificate: certificate(1_000 + number),
            strange: certificate(2_000 + number),
            name: format!("供应商{number}有限公司"),
            caller: caller(&format!("user-{number}"), &id, Role::Supplier),
        }
    }
}

/// A project's name, from 0.
pub fn project_id(number: usize) -> ProjectId {
    format!("KX-{}", number + 1).parse().expect("a project's name")
}

/// A project as it is set up unless a plan says otherwise: an exercise that starts by itself.
pub fn project_spec(number: usize, deadline: Moment) -> ProjectSpec {
    let lots = (1..=number + 1).map(|lot| {
        let spec = LotSpec {
            name: format!("标项{lot}"),
            budget: fen(BUDGET_FEN),
            price_kind: PriceKind::Total,
            bid_security: None,
        };
        (lot_no(lot), spec)
    });
    ProjectSpec {
        id: project_id(number),
        name: "教学设备采购".to_owned(),
        region: "杭州市本级".to_owned(),
        kind: ProjectKind::Exercise,
        method: Method::OpenTender,
        purchaser: name("school"),
        organiser: name("agency"),
        budget: fen(BUDGET_FEN * (number as i64 + 1)),
        deadline,
        start: StartMode::AtDeadline,
        window_minutes: 30,
        failure_grace_minutes: 10,
        backup: BackupPolicy::AnyFault,
        confirm_minutes: 20,
        consortium_allowed: false,
        bid_bytes_max: None,
        invited: None,
        rule_pack: "GP/1".to_owned(),
        lots: lots.collect(),
    }
}

/// The lots a supplier bids for in a project: the first for all, the others for ever fewer.
pub fn lots_of(project: usize, supplier: usize) -> impl Iterator<Item = LotNo> {
    let lots = (project + 1).min(1 + SUPPLIERS.saturating_sub(supplier) / 3);
    (1..=lots).map(lot_no)
}

/// A price whose digits occur nowhere else in the world: what the oracle looks for before the barrier.
fn price(project: usize, supplier: usize, make: Make, lot: LotNo) -> Fen {
    let make = match make {
        Make::Version(number) => number as i64,
        Make::NeverWhole => 7,
        Make::OtherInside => 8,
        Make::StrangeCertificate => 9,
    };
    let (project, supplier) = (project as i64 + 1, supplier as i64 + 1);
    fen(8_870_000_007
        + project * 10_000_000
        + supplier * 1_000_000
        + make * 100_000
        + i64::from(lot.get()) * 10_000)
}

fn fen(number: i64) -> Fen {
    Fen::new(number).expect("an amount within bounds")
}

fn sheet(price: Fen) -> BidSheet {
    BidSheet {
        price: Price::Total(price),
        delivery_or_lead: "30日".to_owned(),
        bid_security_method: "保函".to_owned(),
        declaration_signed: true,
        remark: String::new(),
    }
}

fn clear_parts(package: &Package) -> Vec<ClearPart<'_>> {
    let part = |place: kaibiao_sealed::package::PartPlace| ClearPart {
        part: place.part,
        bytes: place.len,
        source: Box::new(package.part_bytes(place.part).expect("the package has its parts").reader()),
    };
    package.parts().map(part).collect()
}

fn caller(user: &str, organisation: &str, role: Role) -> Caller {
    Caller { user: user.parse().expect("an account's name"), organisation: name(organisation), role }
}

fn name(text: &str) -> OrganisationId {
    text.parse().expect("an organisation's name")
}

fn lot_no(number: usize) -> LotNo {
    u16::try_from(number).ok().and_then(LotNo::new).expect("a lot's number")
}

/// What travels instead of an HPKE envelope: `enc` is the order's one-time key as it is, the ciphertext is the
/// statement's digest and then each part's key. As with the real one, an envelope for another order, bid or set of
/// parts does not open; unlike it, it hides nothing, which no other part of the world looks for.
pub fn envelope(order: &str, bid: &StockBid, parts: &[PartName]) -> Option<(Blob, Blob)> {
    let keys: Vec<PartKey> = parts.iter().map(|part| bid.part_key(*part)).collect();
    envelope_of(order, &bid.header.statement_digest, &keys)
}

/// The same with any keys.
pub fn envelope_of(order: &str, statement: &Digest, keys: &[PartKey]) -> Option<(Blob, Blob)> {
    let order = OpeningOrder::parse(order).ok()?;
    let mut ciphertext = statement.0.to_vec();
    keys.iter().for_each(|key| ciphertext.extend_from_slice(key.expose()));
    Some((order.hpke_public_key, Blob(ciphertext)))
}

/// The keys in an envelope, in the order of `parts`; none: it is not for this order and bid, or not these parts.
pub fn open_envelope(
    one_time_key: &[u8],
    enc: &Blob,
    ciphertext: &Blob,
    statement: &Digest,
    parts: &[PartName],
) -> Option<Vec<PartKey>> {
    let keys = ciphertext.0.strip_prefix(&statement.0[..])?;
    let fits = enc.0 == one_time_key && keys.len() == parts.len() * KEY_BYTES;
    fits.then(|| keys.chunks(KEY_BYTES).map(PartKey::from_bytes).collect())?
}

/// What stands for a token's signature over a confirmation of the record: the digest of the statement that is signed.
/// An RSA signature a supplier would cost more than all else in a run.
pub fn confirm_signature(project: &ProjectId, supplier: &OrganisationId, record: &Digest) -> Blob {
    Blob(sha256(confirm_statement(project, supplier, record).as_bytes()).0.to_vec())
}

/// A key that fits nothing.
pub fn some_other_key(draw: &mut Draw) -> PartKey {
    let bytes: Vec<u8> = (0..4).flat_map(|_| draw.bits().to_be_bytes()).collect();
    PartKey::from_bytes(&bytes).expect("32 bytes are a key")
}

const KEY_BYTES: usize = 32;
const BUDGET_FEN: i64 = 10_000_000_000;
const PDF: &[u8] = b"%PDF-1.7\nquotation of a supplier of practice\n";
/// When practice certificates hold.
const SPAN: Span = Span { from: Moment(1_767_225_600_000_000), until: Moment(1_893_456_000_000_000) };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_prices_of_the_world_are_equal() {
        let mut seen = BTreeSet::new();
        for project in 0..PROJECTS {
            for supplier in 0..SUPPLIERS {
                for version in 0..VERSIONS {
                    for lot in lots_of(project, supplier) {
                        let price = price(project, supplier, Make::Version(version), lot);
                        assert!(price.get() < BUDGET_FEN);
                        assert!(seen.insert(price), "{price:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_bid_of_the_stock_is_small_and_its_envelope_opens_for_its_order_alone() {
        let bid = stock().bid(1, 0, Make::Version(0));
        assert!(bid.bytes.len() < 16 << 10, "{}", bid.bytes.len());
        bid.header.check_signature().unwrap();
        let parts = [PartName::Common, PartName::Lot(lot_no(1))];
        let keys: Vec<PartKey> = parts.iter().map(|part| bid.part_key(*part)).collect();
        let mut ciphertext = bid.header.statement_digest.0.to_vec();
        keys.iter().for_each(|key| ciphertext.extend_from_slice(key.expose()));
        let (enc, ciphertext) = (Blob(vec![7; 32]), Blob(ciphertext));
        let statement = &bid.header.statement_digest;
        let opened = open_envelope(&[7; 32], &enc, &ciphertext, statement, &parts).unwrap();
        assert_eq!(opened[1].expose(), keys[1].expose());
        assert!(open_envelope(&[8; 32], &enc, &ciphertext, statement, &parts).is_none());
        assert!(open_envelope(&[7; 32], &enc, &ciphertext, statement, &parts[..1]).is_none());
        assert!(open_envelope(&[7; 32], &enc, &ciphertext, &sha256(b"another"), &parts).is_none());
    }

    #[test]
    fn fewer_suppliers_bid_for_the_later_lots() {
        let counts: Vec<usize> = (0..SUPPLIERS).map(|supplier| lots_of(2, supplier).count()).collect();
        assert_eq!(counts, [3, 3, 3, 2, 2, 2, 1, 1]);
    }
}
