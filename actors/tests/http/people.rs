//! People with practice certificates and soft keys, and the bids they seal.

use std::{collections::BTreeMap, convert::Infallible, fs, io::Cursor, path::Path, sync::LazyLock};

use kaibiao_protocol::{
    blob::Blob,
    ids::{LotNo, ProjectId},
    moment::Moment,
    money::Price,
    record::BidSheet,
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    key::BidKey,
    package::{DocumentKind, NewDocument, NewLot, Packing, pack},
    practice::{PracticeCa, SoftKey, Span, Usage},
    purpose::Purpose,
    signature::sign_cms,
    wrap::{WrapAlgorithm, wrap_to},
    writer::{ClearPart, Sealing},
};

use crate::world::MORNING;

/// When practice certificates hold, unless a test wants it otherwise: years around [`MORNING`].
pub(crate) const SPAN: Span =
    Span { from: Moment(1_767_225_600_000_000), until: Moment(1_893_456_000_000_000) };

/// Drawing RSA keys takes a while: one for all people, whose certificates differ.
static KEY: LazyLock<SoftKey> = LazyLock::new(|| SoftKey::generate().unwrap());
static CA_KEYS: LazyLock<[SoftKey; 2]> =
    LazyLock::new(|| [SoftKey::generate().unwrap(), SoftKey::generate().unwrap()]);

/// One of the two authorities; the same every time.
pub(crate) fn authority(name: &str) -> PracticeCa {
    let key = &CA_KEYS[usize::from(name == "Tiangu")];
    PracticeCa::with_key(SoftKey::from_pkcs8(key.pkcs8()).unwrap(), name, SPAN).unwrap()
}

/// Somebody with a token.
#[derive(Clone)]
pub(crate) struct Holder {
    pub(crate) organisation: String,
    pub(crate) certificate: Vec<u8>,
}

impl Holder {
    /// The holder of a certificate by Huixin that signs and encrypts.
    pub(crate) fn new(organisation: &str, serial: u64) -> Self {
        Self::with(&authority("Huixin"), organisation, serial, Usage::Both, SPAN)
    }

    pub(crate) fn with(ca: &PracticeCa, organisation: &str, serial: u64, usage: Usage, span: Span) -> Self {
        let subject = format!("CN={organisation},O={organisation},C=CN");
        let certificate = ca.issue(&subject, &KEY.public_key(), serial, usage, span).unwrap();
        Self { organisation: organisation.to_owned(), certificate }
    }

    /// What the token makes of a text.
    pub(crate) fn sign(&self, purpose: Purpose, text: &str) -> Vec<u8> {
        let mut signer = |bytes: &[u8]| Ok::<_, Infallible>(KEY.sign(bytes));
        sign_cms(purpose, text.as_bytes(), &self.certificate, &mut signer).unwrap()
    }

    /// A sealed bid for lot 1 of `project` on the platform with this opening key.
    pub(crate) fn seal(&self, project: &str, opening_key: &[u8], pdf_bytes: usize, folder: &Path) -> Vec<u8> {
        self.seal_with_key(project, opening_key, pdf_bytes, folder).0
    }

    /// The same with the bid's key, which its supplier keeps.
    pub(crate) fn seal_with_key(
        &self,
        project: &str,
        opening_key: &[u8],
        pdf_bytes: usize,
        folder: &Path,
    ) -> (Vec<u8>, BidKey) {
        let project: ProjectId = project.parse().unwrap();
        let pdf = folder.join(format!("{}.pdf", self.organisation));
        let mut bytes = b"%PDF-1.7\n".to_vec();
        bytes.resize(pdf_bytes.max(bytes.len()), b'x');
        fs::write(&pdf, bytes).unwrap();
        let document =
            || NewDocument { kind: DocumentKind::Price, title: "报价文件".into(), path: pdf.clone() };
        let sheet = BidSheet {
            price: Price::Total("88776655.43".parse().unwrap()),
            delivery_or_lead: "30日".into(),
            bid_security_method: "保函".into(),
            declaration_signed: true,
            remark: String::new(),
        };
        let packing = Packing {
            project: project.clone(),
            supplier: self.organisation.parse().unwrap(),
            common: vec![document()],
            lots: BTreeMap::from([(LotNo::new(1).unwrap(), NewLot { sheet, documents: vec![document()] })]),
        };
        let package =
            pack(&packing, &folder.join(format!("{}.bfbs", self.organisation)), &mut |_, _| ()).unwrap();
        let key = BidKey::draw();
        let fingerprint = sha256(&self.certificate);
        let wrapped = wrap_to(&self.certificate, WrapAlgorithm::RsaOaepSha256, key.expose()).unwrap();
        let binding = Binding {
            format: BindingFormat::V1,
            project,
            supplier: packing.supplier.clone(),
            lots: package.lots().collect(),
            signing_certificate: fingerprint,
            encryption_certificate: fingerprint,
            opening_key: sha256(opening_key),
            suite: Suite::Cobblestone256,
            wrap: WrapAlgorithm::RsaOaepSha256,
            wrapped_key: Blob(wrapped),
        };
        let parts = package
            .parts()
            .map(|place| ClearPart {
                part: place.part,
                bytes: place.len,
                source: Box::new(package.part_bytes(place.part).unwrap().reader()),
            })
            .collect();
        let mut out = Cursor::new(Vec::new());
        let mut signer = |bytes: &[u8]| Ok::<_, Infallible>(KEY.sign(bytes));
        Sealing { binding: &binding, key: &key, signing_certificate: &self.certificate }
            .seal(parts, &mut signer, &mut out, &mut |_| ())
            .unwrap();
        (out.into_inner(), key)
    }
}

/// A span around [`MORNING`], in minutes from it.
pub(crate) fn minutes(from: i64, until: i64) -> Span {
    Span { from: MORNING.plus_ms(from * 60_000), until: MORNING.plus_ms(until * 60_000) }
}
