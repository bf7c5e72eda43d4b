//! Suppliers with practice certificates and soft keys, who pack and seal real bids.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    io::Cursor,
    path::Path,
    sync::{Arc, LazyLock},
};

use kaibiao_actors::{keys::PlatformKeys, messages::ReleaseKeys};
use kaibiao_protocol::{
    bid::PartName,
    blob::Blob,
    ids::{BidId, LotNo, OrganisationId, ProjectId, UploadId, UserId},
    moment::Moment,
    money::Price,
    record::BidSheet,
    role::{Asker, Role},
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    envelope::seal_envelope,
    header::{Header, MAGIC},
    key::{BidKey, PartKey},
    order::OpeningOrder,
    package::{DocumentKind, NewDocument, NewLot, Package, Packing, pack},
    practice::{PracticeCa, SoftKey, Span, Usage},
    purpose::Purpose,
    signature::sign_cms,
    wrap::{WrapAlgorithm, wrap_to},
    writer::{ClearPart, Sealing, reseal},
};

/// The year in which practice certificates hold.
pub(crate) const SPAN: Span =
    Span { from: Moment(1_767_225_600_000_000), until: Moment(1_893_456_000_000_000) };

/// One authority and one pair of keys a program, for drawing RSA keys takes a while; suppliers differ by their
/// certificates.
pub(crate) struct Authority {
    pub(crate) ca: PracticeCa,
    key: SoftKey,
}

impl Authority {
    pub(crate) fn get() -> &'static Self {
        static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority {
            ca: PracticeCa::new("Huixin", SPAN.from, SPAN.until).unwrap(),
            key: SoftKey::generate().unwrap(),
        });
        &AUTHORITY
    }
}

/// A supplier's organisation, its one user, and the certificate bound to the account.
#[derive(Clone)]
pub(crate) struct Supplier {
    pub(crate) organisation: OrganisationId,
    pub(crate) user: UserId,
    pub(crate) name: String,
    pub(crate) certificate: Vec<u8>,
}

impl Supplier {
    pub(crate) fn new(number: usize) -> Self {
        let authority = Authority::get();
        let organisation = format!("supplier-{number}");
        let certificate = authority
            .ca
            .issue(
                &format!("CN=供应商{number},O={organisation},C=CN"),
                &authority.key.public_key(),
                1_000 + number as u64,
                Usage::Both,
                SPAN,
            )
            .unwrap();
        Self {
            user: format!("user-{number}").parse().unwrap(),
            name: format!("供应商{number}有限公司"),
            organisation: organisation.parse().unwrap(),
            certificate,
        }
    }

    pub(crate) fn asker(&self) -> Asker {
        Asker::Person {
            user: self.user.clone(),
            organisation: self.organisation.clone(),
            role: Role::Supplier,
        }
    }
}

/// A sealed bid with everything its supplier has of it.
#[derive(Clone)]
pub(crate) struct Bid {
    pub(crate) supplier: Supplier,
    pub(crate) upload: UploadId,
    pub(crate) id: BidId,
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) header: Header,
    key: Arc<BidKey>,
    package: Arc<Vec<u8>>,
}

/// How a bid is made.
pub(crate) struct Recipe<'a> {
    pub(crate) project: &'a ProjectId,
    /// Lots and prices, in the form of amounts: `88776655.43`.
    pub(crate) prices: &'a [(u16, &'a str)],
    /// Bytes of the one PDF in each part.
    pub(crate) pdf_bytes: usize,
}

/// A PDF as far as the engine looks: its first bytes.
pub(crate) fn pdf(bytes: usize) -> Vec<u8> {
    let mut pdf = b"%PDF-1.7\n".to_vec();
    pdf.resize(bytes.max(pdf.len()), b'x');
    pdf
}

/// A sheet that quotes an amount (`100.00`) or a rate (`95.50%`).
pub(crate) fn sheet(price: &str) -> BidSheet {
    BidSheet {
        price: match price.strip_suffix('%') {
            Some(rate) => Price::Rate(rate.parse().unwrap()),
            None => Price::Total(price.parse().unwrap()),
        },
        delivery_or_lead: "30日".into(),
        bid_security_method: "保函".into(),
        declaration_signed: true,
        remark: String::new(),
    }
}

/// Packs and seals.
pub(crate) fn seal(
    supplier: &Supplier,
    number: u8,
    recipe: &Recipe<'_>,
    keys: &PlatformKeys,
    folder: &Path,
) -> Bid {
    let path = folder.join(format!("{}-{number}.pdf", supplier.organisation));
    fs::write(&path, pdf(recipe.pdf_bytes)).unwrap();
    let document =
        || NewDocument { kind: DocumentKind::Price, title: "报价文件".into(), path: path.clone() };
    let lots: BTreeMap<LotNo, NewLot> = recipe
        .prices
        .iter()
        .map(|(lot, price)| {
            (LotNo::new(*lot).unwrap(), NewLot { sheet: sheet(price), documents: vec![document()] })
        })
        .collect();
    let packing = Packing {
        project: recipe.project.clone(),
        supplier: supplier.organisation.clone(),
        common: vec![document()],
        lots,
    };
    let packed = folder.join(format!("{}-{number}.bfbs", supplier.organisation));
    let package = pack(&packing, &packed, &mut |_, _| ()).unwrap();
    let key = BidKey::draw();
    let binding = Binding {
        format: BindingFormat::V1,
        project: recipe.project.clone(),
        supplier: supplier.organisation.clone(),
        lots: package.lots().collect(),
        signing_certificate: sha256(&supplier.certificate),
        encryption_certificate: sha256(&supplier.certificate),
        opening_key: sha256(keys.opening.public()),
        suite: Suite::Cobblestone256,
        wrap: WrapAlgorithm::RsaOaepSha256,
        wrapped_key: Blob(
            wrap_to(&supplier.certificate, WrapAlgorithm::RsaOaepSha256, key.expose()).unwrap(),
        ),
    };
    let mut out = Cursor::new(Vec::new());
    let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(Authority::get().key.sign(bytes));
    let sealing = Sealing { binding: &binding, key: &key, signing_certificate: &supplier.certificate };
    let header = sealing.seal(clear_parts(&package), &mut sign, &mut out, &mut |_| ()).unwrap();
    let mut id = sha256(supplier.organisation.as_str().as_bytes()).0;
    id[15] = number;
    let id: [u8; 16] = *id.first_chunk().unwrap();
    Bid {
        supplier: supplier.clone(),
        upload: UploadId(id),
        id: BidId(id),
        bytes: Arc::new(out.into_inner()),
        header,
        key: Arc::new(key),
        package: Arc::new(fs::read(packed).unwrap()),
    }
}

fn clear_parts(package: &Package) -> Vec<ClearPart<'_>> {
    let part = |place: kaibiao_sealed::package::PartPlace| ClearPart {
        part: place.part,
        bytes: place.len,
        source: Box::new(package.part_bytes(place.part).unwrap().reader()),
    };
    package.parts().map(part).collect()
}

impl Bid {
    /// The key of one part.
    pub(crate) fn part_key(&self, part: PartName) -> PartKey {
        self.key.part_key(&self.header.binding_digest, part)
    }

    /// What the supplier's client sends under an order, for the parts asked for.
    pub(crate) fn release(&self, order: &str, parts: &[PartName], by_backup: bool) -> ReleaseKeys {
        self.release_of(order, parts, parts.iter().map(|part| self.part_key(*part)).collect(), by_backup)
    }

    /// The same with other keys.
    pub(crate) fn release_of(
        &self,
        order: &str,
        parts: &[PartName],
        keys: Vec<PartKey>,
        by_backup: bool,
    ) -> ReleaseKeys {
        let read = OpeningOrder::parse(order).unwrap();
        let envelope =
            seal_envelope(order, &read.hpke_public_key.0, &self.header.statement_digest, parts, &keys)
                .unwrap();
        ReleaseKeys {
            project: read.project,
            bid: self.id,
            asker: self.supplier.asker(),
            epoch: read.epoch,
            enc: envelope.enc,
            ciphertext: envelope.ciphertext,
            by_backup,
        }
    }

    /// The sealed bid made again from the backup.
    pub(crate) fn sealed_again(&self) -> Vec<u8> {
        let len = self.package.len() as u64;
        let package = Package::read(Box::new(Vec::clone(&self.package)), len).unwrap();
        let mut out = Vec::new();
        reseal(&self.header, &self.key, clear_parts(&package), &mut out, &mut |_| ()).unwrap();
        out
    }

    /// A bid that was never whole: its last chunk is not what the key seals, and its supplier states and signs the
    /// damaged ciphertext.
    pub(crate) fn damaged_before_signing(&self) -> Self {
        let mut bytes = Vec::clone(&self.bytes);
        *bytes.last_mut().unwrap() ^= 1;
        let mut statement = self.header.statement.clone();
        let from = bytes.len() - usize::try_from(statement.parts.last().unwrap().length).unwrap();
        statement.parts.last_mut().unwrap().ciphertext = sha256(&bytes[from..]);
        let statement = statement.to_bytes();
        let mut sign = |bytes: &[u8]| Ok::<_, Infallible>(Authority::get().key.sign(bytes));
        let cms =
            sign_cms(Purpose::SealStatement, &statement, &self.supplier.certificate, &mut sign).unwrap();
        let binding = self.header.binding.to_bytes();
        let mut header = MAGIC.to_vec();
        for length in [self.header.bytes().len(), binding.len(), statement.len(), cms.len()] {
            header.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        }
        for section in [binding, statement, cms] {
            header.extend_from_slice(&section);
        }
        header.resize(self.header.bytes().len(), 0);
        bytes[..header.len()].copy_from_slice(&header);
        Self { header: Header::parse(&header).unwrap(), bytes: bytes.into(), ..self.clone() }
    }

    /// The same bid as another upload of another bid's name.
    pub(crate) fn as_upload(&self, number: u8) -> Self {
        let mut other = self.clone();
        other.upload.0[15] = number;
        other.id.0[15] = number;
        other
    }
}
