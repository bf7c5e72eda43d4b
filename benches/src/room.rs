//! A house with a whole opening in it, for the benches: many suppliers with one authority and one pair of
//! keys, who differ by their certificates.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    error::Error,
    fs,
    io::{Cursor, Read, Write},
    path::Path,
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use kaibiao_actors::{
    clock::{Clock, Hands},
    files::LocalFiles,
    house::{House, HouseParts},
    journal::{Journal, SqliteJournal},
    keys::PlatformKeys,
    messages::{AskProject, FinishUpload, ReleaseKeys, UploadPurpose},
};
use kaibiao_protocol::{
    bid::PartName,
    blob::Blob,
    command::ProjectCommand,
    directory::{DirectoryCommand, OrganisationKind},
    ids::{BidId, OrganisationId, ProjectId, UploadId, UserId},
    moment::Moment,
    money::{Fen, Price, PriceKind},
    project::{BackupPolicy, LotSpec, Method, ProjectKind, ProjectSpec, StartMode},
    record::BidSheet,
    role::{Asker, Reactor, Role},
    view::UploadVerdict,
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    header::Header,
    key::{BidKey, PartKey},
    order::{Envelope, OpeningOrder, seal_envelope},
    package::{DocumentKind, NewDocument, NewLot, Package, Packing, pack},
    practice::{PracticeCa, SoftKey, Span, Usage},
    wrap::{WrapAlgorithm, wrap_to},
    writer::{ClearPart, Sealing},
};
use zeroize::Zeroizing;

use crate::supplier::{Filling, lot};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Commands to the directory at once.
const ASKED_AT_ONCE: usize = 512;
/// 2026-06-01 09:00 in Beijing.
pub const MORNING: Moment = Moment(1_780_275_600_000_000);

/// A house on a real journal and a clock that the bench turns.
pub struct Room {
    /// The house.
    pub house: House,
    hands: Arc<Hands>,
    suppliers: Vec<Member>,
    key: SoftKey,
}

/// A supplier's organisation, its one user and the certificate bound to the account.
struct Member {
    organisation: OrganisationId,
    user: UserId,
    certificate: Vec<u8>,
}

/// A bid that was handed in, with its key.
pub struct HandedIn {
    /// Its name.
    pub id: BidId,
    /// Its supplier, signed in.
    pub asker: Asker,
    /// Its header.
    pub header: Header,
    /// The sealed bytes.
    pub bytes: Vec<u8>,
    key: BidKey,
}

impl HandedIn {
    /// The key of one part.
    pub fn part_key(&self, part: PartName) -> PartKey {
        self.key.part_key(&self.header.binding_digest, part)
    }

    /// Every part.
    pub fn parts(&self) -> Vec<PartName> {
        self.header.binding.parts().collect()
    }

    /// All keys, sealed under an order to its one-time key.
    ///
    /// # Errors
    /// The key is none.
    pub fn envelope(&self, order: &str, hpke_public_key: &[u8]) -> Fallible<Envelope> {
        let parts = self.parts();
        let keys: Vec<PartKey> = parts.iter().map(|part| self.part_key(*part)).collect();
        Ok(seal_envelope(order, hpke_public_key, &self.header.statement_digest, &parts, &keys)?)
    }

    /// What the supplier's client sends under an order.
    ///
    /// # Errors
    /// The text is no order.
    pub fn release(&self, order: &str) -> Fallible<ReleaseKeys> {
        let read = OpeningOrder::parse(order)?;
        let Envelope { enc, ciphertext } = self.envelope(order, &read.hpke_public_key.0)?;
        let (bid, asker) = (self.id, self.asker.clone());
        Ok(ReleaseKeys {
            project: read.project,
            bid,
            asker,
            epoch: read.epoch,
            enc,
            ciphertext,
            by_backup: false,
        })
    }
}

impl Room {
    /// Opens a house in `folder` and registers so many suppliers.
    ///
    /// # Errors
    /// The disk fails, or the house refuses.
    pub async fn open(folder: &Path, suppliers: usize, threads: usize) -> Fallible<Self> {
        let journal = SqliteJournal::open(&folder.join("journal"))?;
        let (clock, hands) = Clock::steppable_after(MORNING, journal.last_moment())?;
        let keys = PlatformKeys::open(&folder.join("keys"), &journal, &clock)?;
        let files = LocalFiles::open(&folder.join("files"))?;
        let parts = HouseParts {
            journal: Arc::new(journal),
            files: Arc::new(files),
            clock,
            keys: Arc::new(keys),
            threads,
        };
        let house = House::start(parts).await?;
        Self::furnish(house, hands, suppliers).await
    }

    /// Registers so many suppliers, an agency and a school in a house whose clock these hands turn.
    ///
    /// # Errors
    /// The house refuses.
    pub async fn furnish(house: House, hands: Arc<Hands>, suppliers: usize) -> Fallible<Self> {
        let (span, key) =
            (Span { from: Moment(0), until: Moment(2_840_140_800_000_000) }, SoftKey::generate()?);
        let authority = PracticeCa::new("Tiangu", span.from, span.until)?;
        let members = (0..suppliers as u64).map(|no| {
            let organisation = format!("supplier-{no}");
            let subject = format!("CN={organisation},O={organisation},C=CN");
            let certificate = authority.issue(&subject, &key.public_key(), 100 + no, Usage::Both, span)?;
            Ok(Member {
                user: format!("user-{no}").parse()?,
                organisation: organisation.parse()?,
                certificate,
            })
        });
        let suppliers = members.collect::<Fallible<Vec<Member>>>()?;
        let room = Self { house, hands, suppliers, key };
        room.register(authority.root()).await?;
        Ok(room)
    }

    async fn register(&self, root: &[u8]) -> Fallible<()> {
        let organisation = |id: &str, kind| -> Fallible<DirectoryCommand> {
            Ok(DirectoryCommand::AddOrganisation { id: id.parse()?, name: id.to_owned(), kind })
        };
        let user = |id: &str, organisation: &str, role| -> Fallible<DirectoryCommand> {
            let (id, organisation) = (id.parse()?, organisation.parse()?);
            Ok(DirectoryCommand::AddUser {
                id, organisation, name: "某人".to_owned(), roles: [role].into()
            })
        };
        let mut organisations = vec![
            DirectoryCommand::AddRoot {
                vendor: "tiangu".to_owned(),
                fingerprint: Some(sha256(root)),
                certificate: Blob(root.to_vec()),
                intermediates: Vec::new(),
            },
            organisation("school", OrganisationKind::Purchaser)?,
            organisation("agency", OrganisationKind::Agency)?,
        ];
        let (mut users, mut bindings) = (vec![user("agent", "agency", Role::Agent)?], Vec::new());
        for Member { organisation: id, user: person, certificate } in &self.suppliers {
            organisations.push(organisation(id.as_str(), OrganisationKind::Supplier)?);
            users.push(user(person.as_str(), id.as_str(), Role::Supplier)?);
            bindings.push(DirectoryCommand::BindCertificate {
                user: person.clone(),
                fingerprint: Some(sha256(certificate)),
                certificate: Blob(certificate.clone()),
            });
        }
        for commands in [organisations, users, bindings] {
            tell_directory(&self.house, commands).await?;
        }
        Ok(())
    }

    /// Publishes a project that ends an hour from now.
    ///
    /// # Errors
    /// The house refuses.
    pub async fn publish(&self, project: &ProjectId) -> Fallible<Moment> {
        self.publish_for(project, 60).await
    }

    /// Publishes a project that ends so many minutes from now.
    ///
    /// # Errors
    /// The house refuses.
    pub async fn publish_for(&self, project: &ProjectId, minutes: u32) -> Fallible<Moment> {
        let deadline = self.house.clock().present().plus_minutes(minutes);
        let much = Fen::new(100_000_000_000).ok_or("an amount")?;
        let the_lot = LotSpec {
            name: "标项1".to_owned(),
            budget: much,
            price_kind: PriceKind::Total,
            bid_security: None,
        };
        let spec = ProjectSpec {
            id: project.clone(),
            name: "演练".to_owned(),
            region: "杭州市本级".to_owned(),
            kind: ProjectKind::Exercise,
            method: Method::OpenTender,
            purchaser: "school".parse()?,
            organiser: "agency".parse()?,
            budget: much,
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
            lots: BTreeMap::from([(lot(), the_lot)]),
        };
        let agent =
            Asker::Person { user: "agent".parse()?, organisation: "agency".parse()?, role: Role::Agent };
        let ask = AskProject::new(project.clone(), agent, ProjectCommand::CreateProject { spec });
        self.house.ask_project(ask).await.map_err(|refusal| refusal.say.en)?;
        Ok(deadline)
    }

    /// Lets every supplier pack, seal and hand in a bid of about so many bytes.
    ///
    /// # Errors
    /// The house refuses, or the disk fails.
    pub async fn hand_all_in(
        &self,
        project: &ProjectId,
        bytes: u64,
        folder: &Path,
    ) -> Fallible<Vec<HandedIn>> {
        let mut bids = Vec::with_capacity(self.suppliers.len());
        for (no, member) in self.suppliers.iter().enumerate() {
            let bid = self.seal(project, member, no as u64, bytes, folder)?;
            let files = self.house.files();
            let file = files.begin(bid.bytes.len() as u64)?;
            files.write_at(&file, 0, &bid.bytes)?;
            let finish = FinishUpload {
                project: project.clone(),
                upload: UploadId(bid.id.0),
                bid: bid.id,
                supplier: member.organisation.clone(),
                purpose: UploadPurpose::Bid,
                file,
                size_bytes: bid.bytes.len() as u64,
                contact: Zeroizing::new(b"{}".to_vec()),
                arrived: None,
                stamped: None,
            };
            match self.house.finish_upload(finish).await {
                UploadVerdict::Received { .. } => bids.push(bid),
                other => return Err(format!("a bid was not received: {other:?}").into()),
            }
        }
        Ok(bids)
    }

    /// Lets the supplier of this number pack and seal a bid of about so many bytes.
    ///
    /// # Errors
    /// There is no such supplier, or the disk fails.
    pub fn seal_bid(&self, project: &ProjectId, no: usize, bytes: u64, folder: &Path) -> Fallible<HandedIn> {
        let member = self.suppliers.get(no).ok_or("no such supplier")?;
        self.seal(project, member, no as u64, bytes, folder)
    }

    fn seal(
        &self,
        project: &ProjectId,
        member: &Member,
        no: u64,
        bytes: u64,
        folder: &Path,
    ) -> Fallible<HandedIn> {
        let (pdf, packed) = (folder.join("offer.pdf"), folder.join("offer.bfbs"));
        let mut file = fs::File::create(&pdf)?;
        file.write_all(b"%PDF-1.7\n")?;
        std::io::copy(&mut Filling::new(no).take(bytes), &mut file)?;
        let sheet = BidSheet {
            price: Price::Total(Fen::new(1_000_000 + no as i64).ok_or("an amount")?),
            delivery_or_lead: "30 天".to_owned(),
            bid_security_method: "保函".to_owned(),
            declaration_signed: true,
            remark: String::new(),
        };
        let document = NewDocument { kind: DocumentKind::Price, title: "报价文件".to_owned(), path: pdf };
        let packing = Packing {
            project: project.clone(),
            supplier: member.organisation.clone(),
            common: Vec::new(),
            lots: BTreeMap::from([(lot(), NewLot { sheet, documents: vec![document] })]),
        };
        let package = pack(&packing, &packed, &mut |_, _| ())?;
        let (key, wrap) = (BidKey::draw(), WrapAlgorithm::RsaOaepSha256);
        let certificate = &member.certificate;
        let binding = Binding {
            format: BindingFormat::V1,
            project: project.clone(),
            supplier: member.organisation.clone(),
            lots: [lot()].into(),
            signing_certificate: sha256(certificate),
            encryption_certificate: sha256(certificate),
            opening_key: sha256(self.house.keys().opening.public()),
            suite: Suite::Cobblestone256,
            wrap,
            wrapped_key: Blob(wrap_to(certificate, wrap, key.expose())?),
        };
        let mut out = Cursor::new(Vec::new());
        let mut sign = |message: &[u8]| Ok::<_, Infallible>(self.key.sign(message));
        let sealing = Sealing { binding: &binding, key: &key, signing_certificate: certificate };
        let header = sealing.seal(clear_parts(&package), &mut sign, &mut out, &mut |_| ())?;
        let name = sha256(format!("{project} {no}").as_bytes()).0;
        let id = BidId(*name.first_chunk().ok_or("a digest is longer than an id")?);
        let (user, organisation) = (member.user.clone(), member.organisation.clone());
        let asker = Asker::Person { user, organisation, role: Role::Supplier };
        Ok(HandedIn { id, asker, header, bytes: out.into_inner(), key })
    }

    /// Turns the clock to an instant.
    pub fn until(&self, at: Moment) {
        self.hands.pass_until(self.house.clock(), at);
    }
}

/// Gives commands to the directory, many at once: none may need another to be done before.
///
/// # Errors
/// One is refused.
pub async fn tell_directory(house: &House, commands: Vec<DirectoryCommand>) -> Fallible<()> {
    let asked = commands.into_iter().map(|command| {
        let console = Asker::Platform { reactor: Reactor::Console };
        house.ask_directory(console, command, Vec::new())
    });
    let mut asked = stream::iter(asked).buffer_unordered(ASKED_AT_ONCE);
    while let Some(done) = asked.next().await {
        done.map_err(|refusal| refusal.say.en)?;
    }
    Ok(())
}

/// The parts of a package, to be sealed.
pub fn clear_parts(package: &Package) -> Vec<ClearPart<'_>> {
    let parts = package.parts().filter_map(|place| {
        let window = package.part_bytes(place.part)?;
        Some(ClearPart { part: place.part, bytes: window.len(), source: Box::new(window.reader()) })
    });
    parts.collect()
}
