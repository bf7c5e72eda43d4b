//! A supplier with practice certificates and soft keys, who seals.

use std::sync::LazyLock;

use kaibiao_protocol::{blob::Blob, ids::LotNo, moment::Moment};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite},
    digest::sha256,
    key::BidKey,
    practice::{PracticeCa, SoftKey, Span, Usage},
    wrap::{WrapAlgorithm, wrap_to},
};

pub(crate) struct Supplier {
    pub(crate) signing: SoftKey,
    pub(crate) signing_certificate: Vec<u8>,
    pub(crate) encryption: SoftKey,
    pub(crate) encryption_certificate: Vec<u8>,
}

impl Supplier {
    /// One supplier a program, for drawing RSA keys takes a while.
    pub(crate) fn get() -> &'static Self {
        static SUPPLIER: LazyLock<Supplier> = LazyLock::new(Supplier::new);
        &SUPPLIER
    }

    fn new() -> Self {
        let span = Span { from: Moment(1_767_225_600_000_000), until: Moment(1_893_456_000_000_000) };
        let ca = PracticeCa::new("Tiangu", span.from, span.until).unwrap();
        let (signing, encryption) = (SoftKey::generate().unwrap(), SoftKey::generate().unwrap());
        let issue = |key: &SoftKey, serial, usage| {
            ca.issue("CN=明德家具,O=Mingde", &key.public_key(), serial, usage, span).unwrap()
        };
        Self {
            signing_certificate: issue(&signing, 7, Usage::Sign),
            encryption_certificate: issue(&encryption, 8, Usage::Encrypt),
            signing,
            encryption,
        }
    }

    /// A binding for these lots, with a fresh key wrapped in it.
    pub(crate) fn bind(&self, lots: &[u16], wrap: WrapAlgorithm) -> (Binding, BidKey) {
        let key = BidKey::draw();
        let binding = Binding {
            format: BindingFormat::V1,
            project: "KX-00823".parse().unwrap(),
            supplier: "mingde".parse().unwrap(),
            lots: lots.iter().map(|lot| LotNo::new(*lot).unwrap()).collect(),
            signing_certificate: sha256(&self.signing_certificate),
            encryption_certificate: sha256(&self.encryption_certificate),
            opening_key: sha256(b"an opening key"),
            suite: Suite::Cobblestone256,
            wrap,
            wrapped_key: Blob(wrap_to(&self.encryption_certificate, wrap, key.expose()).unwrap()),
        };
        (binding, key)
    }
}
