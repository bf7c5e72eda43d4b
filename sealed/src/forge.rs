//! Certificates and revocation lists of any shape, right or wrong, for the tests of [`crate::trust`].

use std::rc::Rc;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
        RsaKeyPair,
    },
};
use const_oid::{
    AssociatedOid, ObjectIdentifier,
    db::rfc5912::{ECDSA_WITH_SHA_256, ID_RSASSA_PSS, SHA_256_WITH_RSA_ENCRYPTION},
};
use der::{
    Any, Decode, Encode, Sequence,
    asn1::{BitString, OctetString},
};
use kaibiao_protocol::moment::Moment;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::{
    certificate::Version,
    crl::RevokedCert,
    ext::{
        Extension,
        pkix::{BasicConstraints, CrlNumber, KeyUsage, KeyUsages},
    },
    name::Name,
    serial_number::SerialNumber,
    time::{Time, Validity},
};

use crate::x509::encoded;

/// How an authority signs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Pkcs1,
    Pss,
    Ecdsa,
}

enum Key {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

/// Somebody with a name and a key.
pub(crate) struct Party {
    pub(crate) name: &'static str,
    algorithm: Algorithm,
    key: Rc<Key>,
}

impl Party {
    pub(crate) fn new(name: &'static str) -> Self {
        Self::with(name, Algorithm::Pkcs1, KeySize::Rsa2048)
    }

    pub(crate) fn with(name: &'static str, algorithm: Algorithm, size: KeySize) -> Self {
        let key = match algorithm {
            Algorithm::Pkcs1 | Algorithm::Pss => Key::Rsa(RsaKeyPair::generate(size).unwrap()),
            Algorithm::Ecdsa => Key::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()),
        };
        Self { name, algorithm, key: Rc::new(key) }
    }

    /// The same key under another name.
    pub(crate) fn called(&self, name: &'static str) -> Self {
        Self { name, algorithm: self.algorithm, key: self.key.clone() }
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        match &*self.key {
            Key::Rsa(key) => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap().as_ref().to_vec()
            }
            Key::Ecdsa(key) => {
                AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap().as_ref().to_vec()
            }
        }
    }

    pub(crate) fn identifier(&self) -> AlgorithmIdentifierOwned {
        let (oid, parameters) = match self.algorithm {
            Algorithm::Pkcs1 => (SHA_256_WITH_RSA_ENCRYPTION, Some(Any::null())),
            Algorithm::Pss => (ID_RSASSA_PSS, Some(pss_parameters())),
            Algorithm::Ecdsa => (ECDSA_WITH_SHA_256, None),
        };
        AlgorithmIdentifierOwned { oid, parameters }
    }

    fn sign(&self, message: &[u8]) -> BitString {
        let random = SystemRandom::new();
        match &*self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match self.algorithm {
                    Algorithm::Pss => &RSA_PSS_SHA256,
                    Algorithm::Pkcs1 | Algorithm::Ecdsa => &RSA_PKCS1_SHA256,
                };
                key.sign(padding, &random, message, &mut signature).unwrap();
                BitString::from_bytes(&signature).unwrap()
            }
            Key::Ecdsa(key) => BitString::from_bytes(key.sign(&random, message).unwrap().as_ref()).unwrap(),
        }
    }
}

/// Written as RFC 4055 defines them, apart from the constant that the checker compares with.
fn pss_parameters() -> Any {
    #[derive(Sequence)]
    struct Parameters {
        #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
        hash: AlgorithmIdentifierOwned,
        #[asn1(context_specific = "1", tag_mode = "EXPLICIT")]
        mask: AlgorithmIdentifierOwned,
        #[asn1(context_specific = "2", tag_mode = "EXPLICIT")]
        salt: u8,
    }
    let sha256 = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1"),
        parameters: Some(Any::null()),
    };
    let mask = AlgorithmIdentifierOwned {
        oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8"),
        parameters: Some(Any::encode_from(&sha256).unwrap()),
    };
    Any::encode_from(&Parameters { hash: sha256, mask, salt: 32 }).unwrap()
}

#[derive(Sequence)]
struct Signed {
    tbs: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

fn signed<T: Encode>(tbs: &T, signer: &Party, outer: AlgorithmIdentifierOwned) -> Vec<u8> {
    let tbs = encoded(tbs);
    let signature = signer.sign(&tbs);
    encoded(&Signed { tbs: Any::from_der(&tbs).unwrap(), algorithm: outer, signature })
}

#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: SerialNumber,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: Validity,
    subject: Name,
    key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// A certificate in the making.
pub(crate) struct Draft<'a> {
    pub(crate) subject: &'a Party,
    pub(crate) serial: u64,
    pub(crate) span: (Moment, Moment),
    pub(crate) version: Version,
    pub(crate) extensions: Vec<Extension>,
    /// The algorithm named outside the signed bytes, where it is another than within.
    pub(crate) outer: Option<AlgorithmIdentifierOwned>,
}

impl<'a> Draft<'a> {
    pub(crate) fn person(subject: &'a Party, usage: KeyUsages, span: (Moment, Moment)) -> Self {
        let extensions = vec![constraints(false, None), key_usage(usage)];
        Self { subject, serial: 7, span, version: Version::V3, extensions, outer: None }
    }

    pub(crate) fn authority(subject: &'a Party, path_len: Option<u8>, span: (Moment, Moment)) -> Self {
        let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
        let extensions = vec![constraints(true, path_len), extension(true, &usage)];
        Self { subject, serial: 3, span, version: Version::V3, extensions, outer: None }
    }

    pub(crate) fn issued_by(self, issuer: &Party) -> Vec<u8> {
        let tbs = Tbs {
            version: self.version,
            serial: SerialNumber::from(self.serial),
            algorithm: issuer.identifier(),
            issuer: issuer.name.parse().unwrap(),
            validity: Validity::new(time(self.span.0), time(self.span.1)),
            subject: self.subject.name.parse().unwrap(),
            key: SubjectPublicKeyInfoOwned::from_der(&self.subject.public_key()).unwrap(),
            extensions: self.extensions,
        };
        signed(&tbs, issuer, self.outer.unwrap_or_else(|| issuer.identifier()))
    }
}

pub(crate) fn extension<T: Encode + AssociatedOid>(critical: bool, value: &T) -> Extension {
    raw_extension(T::OID, critical, encoded(value))
}

pub(crate) fn raw_extension(extn_id: ObjectIdentifier, critical: bool, value: Vec<u8>) -> Extension {
    Extension { extn_id, critical, extn_value: OctetString::new(value).unwrap() }
}

pub(crate) fn constraints(ca: bool, path_len_constraint: Option<u8>) -> Extension {
    extension(true, &BasicConstraints { ca, path_len_constraint })
}

pub(crate) fn key_usage(usage: KeyUsages) -> Extension {
    extension(true, &KeyUsage(usage.into()))
}

#[derive(Sequence)]
struct TbsList {
    version: Version,
    algorithm: AlgorithmIdentifierOwned,
    issuer: Name,
    this_update: Time,
    next_update: Option<Time>,
    revoked: Option<Vec<RevokedCert>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// A revocation list of these serial numbers, due again at `due`.
pub(crate) fn list(
    issuer: &Party,
    revoked: &[(u64, Moment)],
    made: Moment,
    due: Moment,
    more: Vec<Extension>,
) -> Vec<u8> {
    let entries = revoked.iter().map(|(serial, since)| RevokedCert {
        serial_number: SerialNumber::from(*serial),
        revocation_date: time(*since),
        crl_entry_extensions: None,
    });
    let number = extension(false, &CrlNumber::try_from(5_u64).unwrap());
    let tbs = TbsList {
        version: Version::V2,
        algorithm: issuer.identifier(),
        issuer: issuer.name.parse().unwrap(),
        this_update: time(made),
        next_update: Some(time(due)),
        revoked: (!revoked.is_empty()).then(|| entries.collect()),
        extensions: std::iter::once(number).chain(more).collect(),
    };
    signed(&tbs, issuer, issuer.identifier())
}

fn time(at: Moment) -> Time {
    let since = std::time::Duration::from_micros(at.0.try_into().unwrap());
    Time::from(der::DateTime::from_unix_duration(since).unwrap())
}
