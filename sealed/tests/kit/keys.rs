//! The kit's keys and certificates. Private keys and wrapped keys lie beside the vectors, because neither can be
//! made the same way twice; they are practice keys and protect nothing.

use std::{collections::BTreeMap, fs, path::PathBuf};

use der::pem::{LineEnding, decode_vec, encode_string};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::{
    digest::sha256,
    key::BidKey,
    practice::{PracticeCa, SoftKey, Span, Usage},
    wrap::{WrapAlgorithm, wrap_to},
};

/// 2026-01-01 to 2060-01-01.
pub(crate) const SPAN: Span =
    Span { from: Moment(1_767_225_600_000_000), until: Moment(2_840_140_800_000_000) };

/// A key and its certificate.
pub(crate) struct Identity {
    pub(crate) key: SoftKey,
    pub(crate) certificate: Vec<u8>,
}

pub(crate) struct Keys {
    pub(crate) signer: Identity,
    pub(crate) encryption: Identity,
    /// Another supplier of the same authority.
    pub(crate) other_signer: Identity,
    wrapped: BTreeMap<String, String>,
}

/// The environment variable that makes the kit write its files anew instead of checking them.
pub(crate) const WRITE: &str = "KAIBIAO_WRITE_VECTORS";

pub(crate) fn writing() -> bool {
    std::env::var_os(WRITE).is_some()
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

const WRAPS: [WrapAlgorithm; 3] =
    [WrapAlgorithm::RsaOaepSha256, WrapAlgorithm::RsaOaepSha1, WrapAlgorithm::RsaPkcs1V15];

impl Keys {
    pub(crate) fn load() -> Self {
        let ca = PracticeCa::with_key(key("root"), "Huixin", SPAN).unwrap();
        let identity = |name: &str, serial, usage| {
            let key = key(name);
            let subject = format!("CN={name},O=Mingde,C=CN");
            let certificate = ca.issue(&subject, &key.public_key(), serial, usage, SPAN).unwrap();
            keep(&format!("{name}.certificate.pem"), "CERTIFICATE", &certificate);
            Identity { key, certificate }
        };
        let signer = identity("supplier-sign", 2, Usage::Sign);
        let encryption = identity("supplier-encrypt", 3, Usage::Encrypt);
        let other_signer = identity("other-sign", 4, Usage::Sign);
        keep("root.certificate.pem", "CERTIFICATE", ca.root());
        let wrapped = wrapped_keys(&encryption.certificate);
        Self { signer, encryption, other_signer, wrapped }
    }

    /// The key the kit's bids are sealed with.
    pub(crate) fn bid_key(&self) -> BidKey {
        named_key("bid")
    }

    /// A key they are not sealed with.
    pub(crate) fn other_key(&self) -> BidKey {
        named_key("other")
    }

    /// The wrapped form of the key called `name`.
    pub(crate) fn wrapped(&self, wrap: WrapAlgorithm, name: &str) -> Vec<u8> {
        hex::decode(&self.wrapped[&wrapped_name(wrap, name)]).unwrap()
    }
}

pub(crate) fn named_key(name: &str) -> BidKey {
    BidKey::from_bytes(sha256(format!("the vector kit's {name} key").as_bytes()).as_bytes()).unwrap()
}

fn wrapped_name(wrap: WrapAlgorithm, name: &str) -> String {
    format!("{} {name}", serde_json::to_value(wrap).unwrap().as_str().unwrap())
}

/// The private key called `name`; drawn if the kit is writing and has none yet.
fn key(name: &str) -> SoftKey {
    let path = folder().join(format!("keys/{name}.key.pem"));
    if writing() && !path.exists() {
        let drawn = SoftKey::generate().unwrap();
        let pem = encode_string("PRIVATE KEY", LineEnding::LF, drawn.pkcs8()).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, pem).unwrap();
    }
    let pem = fs::read(&path).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()));
    let (label, der) = decode_vec(&pem).unwrap();
    assert_eq!(label, "PRIVATE KEY");
    SoftKey::from_pkcs8(&der).unwrap()
}

/// Writes or compares something public.
fn keep(file: &str, label: &str, der: &[u8]) {
    let path = folder().join("keys").join(file);
    let pem = encode_string(label, LineEnding::LF, der).unwrap();
    keep_bytes(&path, pem.as_bytes());
}

/// Writes a file of the kit, or compares it with the one there.
pub(crate) fn keep_bytes(path: &std::path::Path, bytes: &[u8]) {
    if writing() {
        fs::write(path, bytes).unwrap();
        return;
    }
    let kept = fs::read(path).unwrap_or_else(|fault| panic!("{}: {fault}; set {WRITE}=1", path.display()));
    assert!(kept == bytes, "{} differs from what the kit makes; set {WRITE}=1 to write it", path.display());
}

fn wrapped_keys(certificate: &[u8]) -> BTreeMap<String, String> {
    let path = folder().join("keys/wrapped.json");
    if writing() && !path.exists() {
        let mut all = BTreeMap::new();
        for wrap in WRAPS {
            for name in ["bid", "other"] {
                let wrapped = wrap_to(certificate, wrap, named_key(name).expose()).unwrap();
                all.insert(wrapped_name(wrap, name), hex::encode(wrapped));
            }
        }
        fs::write(&path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
    }
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap()
}
