//! The vector kit: makes every file of `tests/vectors/` from fixed keys, so that the same files come out each time.
//!
//! Each file has one fault and is named by it. The stages of a sealed bid are plain values here ([`Draft`],
//! [`Encrypted`], [`Stated`]), so that a vector is honest up to its fault and honest again behind it.

pub(crate) mod faults;
pub(crate) mod keys;
pub(crate) mod two_keys;

use std::{collections::BTreeMap, fs, sync::LazyLock};

use kaibiao_protocol::{
    bid::PartName, blob::Blob, digest::Digest, ids::LotNo, money::Price, record::BidSheet,
};
use kaibiao_sealed::{
    binding::{Binding, BindingFormat, Suite, part_context},
    cobblestone::{CHUNK_BYTES, ChunkCipher, Prefix, TAG_BYTES},
    digest::sha256,
    header::{HEADER_PAGE_BYTES, MAGIC},
    key::BidKey,
    package::{DocumentKind, NewDocument, NewLot, Packing, pack},
    purpose::Purpose,
    read_at::ReadAt,
    signature::sign_cms,
    statement::{StatedPart, Statement, StatementFormat},
    wrap::WrapAlgorithm,
};

use keys::{Identity, Keys};

pub(crate) const COMMON: PartName = PartName::Common;

pub(crate) fn lot(number: u16) -> PartName {
    PartName::Lot(LotNo::new(number).unwrap())
}

/// A lot's sheet with this price.
pub(crate) fn sheet(price: &str) -> BidSheet {
    BidSheet {
        price: Price::Total(price.parse().unwrap()),
        delivery_or_lead: "合同签订后30日内".into(),
        bid_security_method: "电子保函".into(),
        declaration_signed: true,
        remark: String::new(),
    }
}

/// Something that begins as a PDF does, of this many bytes.
pub(crate) fn document(title: &str, bytes: usize) -> Vec<u8> {
    let mut out = format!("%PDF-1.7\n% {title}\n").into_bytes();
    while out.len() < bytes {
        out.extend_from_slice(b"% a line of a document that nobody reads\n");
    }
    out.truncate(bytes);
    out
}

/// Documents by their bytes.
type Documents = Vec<(DocumentKind, Vec<u8>)>;

/// What goes into a bid.
pub(crate) struct Content {
    pub(crate) common: Documents,
    pub(crate) lots: BTreeMap<u16, (BidSheet, Documents)>,
}

impl Content {
    /// The parts as they are sealed: name and clear bytes.
    pub(crate) fn parts(&self) -> Vec<(PartName, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        let mut count = 0;
        let mut written = |documents: &[(DocumentKind, Vec<u8>)]| {
            let entries = documents.iter().map(|(kind, bytes)| {
                count += 1;
                let path = folder.path().join(format!("{count}.pdf"));
                fs::write(&path, bytes).unwrap();
                NewDocument { kind: *kind, title: format!("文件{count}"), path }
            });
            entries.collect::<Vec<_>>()
        };
        let common = written(&self.common);
        let lots = self.lots.iter().map(|(number, (sheet, documents))| {
            let new = NewLot { sheet: sheet.clone(), documents: written(documents) };
            (LotNo::new(*number).unwrap(), new)
        });
        let packing = Packing {
            project: "KX-00823".parse().unwrap(),
            supplier: "mingde".parse().unwrap(),
            common,
            lots: lots.collect(),
        };
        let package = pack(&packing, &folder.path().join("bid.bfbs"), &mut |_, _| ()).unwrap();
        package
            .parts()
            .map(|place| {
                let mut bytes = vec![0; place.len as usize];
                package.part_bytes(place.part).unwrap().read_exact_at(&mut bytes, 0).unwrap();
                (place.part, bytes)
            })
            .collect()
    }
}

/// The content of the good bid: every part takes one chunk.
pub(crate) fn good_content() -> Content {
    content_with(500)
}

/// The same with a document of so many bytes in lot 2.
pub(crate) fn content_with(bytes: usize) -> Content {
    let document_of = |title, bytes| document(title, bytes);
    Content {
        common: vec![(DocumentKind::Qualification, document_of("qualification", 600))],
        lots: BTreeMap::from([
            (1, (sheet("1180000.00"), vec![(DocumentKind::Price, document_of("price of lot 1", 400))])),
            (2, (sheet("356000.50"), vec![(DocumentKind::Price, document_of("price of lot 2", bytes))])),
        ]),
    }
}

/// The kit with everything vectors are made from.
pub(crate) struct Kit {
    pub(crate) keys: Keys,
    pub(crate) good_parts: Vec<(PartName, Vec<u8>)>,
}

impl Kit {
    /// The kit, made once a program: its keys may have to be drawn and written first.
    pub(crate) fn get() -> &'static Self {
        static KIT: LazyLock<Kit> =
            LazyLock::new(|| Kit { keys: Keys::load(), good_parts: good_content().parts() });
        &KIT
    }

    /// The good bid before its encryption.
    pub(crate) fn draft(&self) -> Draft {
        self.draft_with(self.good_parts.clone(), WrapAlgorithm::RsaOaepSha256)
    }

    /// A bid of these parts, its key wrapped in this way.
    pub(crate) fn draft_with(&self, parts: Vec<(PartName, Vec<u8>)>, wrap: WrapAlgorithm) -> Draft {
        let lots = parts.iter().filter_map(|(part, _)| match part {
            PartName::Common => None,
            PartName::Lot(lot) => Some(*lot),
        });
        let binding = Binding {
            format: BindingFormat::V1,
            project: "KX-00823".parse().unwrap(),
            supplier: "mingde".parse().unwrap(),
            lots: lots.collect(),
            signing_certificate: sha256(&self.keys.signer.certificate),
            encryption_certificate: sha256(&self.keys.encryption.certificate),
            opening_key: sha256(b"an opening key"),
            suite: Suite::Cobblestone256,
            wrap,
            wrapped_key: Blob(self.keys.wrapped(wrap, "bid")),
        };
        Draft { binding: String::from_utf8(binding.to_bytes()).unwrap(), key: self.keys.bid_key(), parts }
    }

    /// A bid whose lot 2, which comes last in the file, takes three chunks.
    pub(crate) fn long_draft(&self) -> Draft {
        self.draft_with(content_with(32_800).parts(), WrapAlgorithm::RsaOaepSha256)
    }

    pub(crate) fn good(&self) -> Vec<u8> {
        self.draft().encrypt().state().sign(&self.keys.signer)
    }
}

/// Binding and clear parts.
pub(crate) struct Draft {
    pub(crate) binding: String,
    pub(crate) key: BidKey,
    pub(crate) parts: Vec<(PartName, Vec<u8>)>,
}

/// One part, sealed.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) part: PartName,
    pub(crate) prefix: Prefix,
    pub(crate) bytes: Vec<u8>,
}

/// Binding and sealed parts.
pub(crate) struct Encrypted {
    pub(crate) binding: String,
    pub(crate) bodies: Vec<Body>,
}

/// Binding, statement and sealed parts.
pub(crate) struct Stated {
    pub(crate) binding: String,
    pub(crate) statement: Statement,
    pub(crate) bodies: Vec<Body>,
}

impl Draft {
    /// Replaces a piece of the binding's text, which must occur once.
    pub(crate) fn with_binding(mut self, from: &str, to: &str) -> Self {
        self.binding = replaced(&self.binding, from, to);
        self
    }

    pub(crate) fn encrypt(self) -> Encrypted {
        let digest = sha256(self.binding.as_bytes());
        let seal = |(part, clear): &(PartName, Vec<u8>)| {
            let key = self.key.part_key(&digest, *part);
            let context = part_context(&digest, *part);
            let (cipher, prefix) = ChunkCipher::begin_with(key.expose(), context.as_bytes(), &salt(*part));
            Body { part: *part, prefix, bytes: seal_chunks(&cipher, clear) }
        };
        let bodies = self.parts.iter().map(seal).collect();
        Encrypted { binding: self.binding, bodies }
    }
}

impl Encrypted {
    pub(crate) fn body(&mut self, part: PartName) -> &mut Body {
        self.bodies.iter_mut().find(|body| body.part == part).unwrap()
    }

    pub(crate) fn state(self) -> Stated {
        let parts = self.bodies.iter().map(|body| StatedPart {
            part: body.part,
            prefix: body.prefix,
            length: body.bytes.len() as u64,
            ciphertext: sha256(&body.bytes),
        });
        let statement = Statement {
            format: StatementFormat::V1,
            binding: sha256(self.binding.as_bytes()),
            header_bytes: HEADER_BYTES as u64,
            parts: parts.collect(),
        };
        Stated { binding: self.binding, statement, bodies: self.bodies }
    }
}

impl Stated {
    pub(crate) fn part(&mut self, part: PartName) -> &mut StatedPart {
        self.statement.parts.iter_mut().find(|stated| stated.part == part).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.statement.to_bytes()).unwrap()
    }

    pub(crate) fn sign(self, signer: &Identity) -> Vec<u8> {
        let text = self.text();
        self.sign_text(&text, signer)
    }

    /// Signs this text in place of the statement.
    pub(crate) fn sign_text(self, text: &str, signer: &Identity) -> Vec<u8> {
        let cms = signer.cms(text.as_bytes());
        self.assemble(text, &cms)
    }

    /// Puts the file together, whatever the pieces say.
    pub(crate) fn assemble(self, statement: &str, cms: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for length in [HEADER_BYTES, self.binding.len(), statement.len(), cms.len()] {
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        for section in [self.binding.as_bytes(), statement.as_bytes(), cms] {
            out.extend_from_slice(section);
        }
        assert!(out.len() < HEADER_BYTES, "the kit's headers leave some padding");
        out.resize(HEADER_BYTES, 0);
        for body in &self.bodies {
            out.extend_from_slice(&body.bytes);
        }
        out
    }
}

impl Identity {
    /// A signature over a statement.
    pub(crate) fn cms(&self, statement: &[u8]) -> Vec<u8> {
        let mut sign = |bytes: &[u8]| Ok::<_, std::convert::Infallible>(self.key.sign(bytes));
        sign_cms(Purpose::SealStatement, statement, &self.certificate, &mut sign).unwrap()
    }
}

/// Where the kit's header areas end.
pub(crate) const HEADER_BYTES: usize = HEADER_PAGE_BYTES;

/// Every part has a salt of its own.
pub(crate) fn salt(part: PartName) -> [u8; 24] {
    *sha256(format!("a salt of the vector kit for {part}").as_bytes()).0.first_chunk().unwrap()
}

/// The chunks of a message.
pub(crate) fn seal_chunks(cipher: &ChunkCipher, clear: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..clear.len() / CHUNK_BYTES + 1 {
        let from = number * CHUNK_BYTES;
        let mut chunk = clear[from..clear.len().min(from + CHUNK_BYTES)].to_vec();
        chunk.extend_from_slice(&[0; TAG_BYTES]);
        cipher.seal_chunk(number as u64, &mut chunk);
        out.extend_from_slice(&chunk);
    }
    out
}

/// `text` with its only `from` replaced.
pub(crate) fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} stands once in {text}");
    text.replacen(from, to, 1)
}

pub(crate) fn zero_digest() -> Digest {
    Digest([0; 32])
}
