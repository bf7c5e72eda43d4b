//! Made-up certification authorities and soft keys, for the demo, the simulator and the tests.
//!
//! Nothing here may stand behind a real bid: the private keys lie in this process's memory. It is in a
//! feature of its own so that no server or client carries it by accident.

use std::collections::BTreeMap;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::{SystemRandom, fill},
    rsa::{
        KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey,
        Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
    },
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use der::{
    Any, Decode, Document, Encode,
    asn1::{BitString, GeneralizedTime, UtcTime},
};
use kaibiao_protocol::moment::Moment;
use signature::Keypair;
use spki::{
    AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey, SubjectPublicKeyInfoOwned,
};
use x509_cert::{
    Certificate,
    builder::{Builder, CertificateBuilder, CrlBuilder, profile::BuilderProfile},
    certificate::TbsCertificate,
    crl::RevokedCert,
    ext::{
        Extension, ToExtension,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, CrlNumber, KeyUsage, KeyUsages, SubjectKeyIdentifier,
        },
    },
    name::Name,
    serial_number::SerialNumber,
    time::{Time, Validity},
};
use zeroize::Zeroizing;

use crate::wrap::WrapAlgorithm;

/// Why a practice authority or key would not do something.
#[derive(Debug, thiserror::Error)]
pub enum PracticeFault {
    /// The library refused to make a key.
    #[error("no key could be made")]
    NoKey,
    /// The bytes are no RSA private key.
    #[error("not an RSA private key in PKCS#8")]
    NotAKey,
    /// The wrapped key was not wrapped to this key, or in another way.
    #[error("not wrapped to this key")]
    NotForThisKey,
    /// A name, moment or public key does not fit into a certificate.
    #[error("failed to form a certificate: {0}")]
    Certificate(String),
}

impl From<x509_cert::builder::Error> for PracticeFault {
    fn from(fault: x509_cert::builder::Error) -> Self {
        PracticeFault::Certificate(fault.to_string())
    }
}

impl From<der::Error> for PracticeFault {
    fn from(fault: der::Error) -> Self {
        PracticeFault::Certificate(fault.to_string())
    }
}

/// An RSA-2048 key in memory.
pub struct SoftKey {
    signer: RsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SoftKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// The library could not make one.
    pub fn generate() -> Result<Self, PracticeFault> {
        let signer = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| PracticeFault::NoKey)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&signer).map_err(|_| PracticeFault::NoKey)?;
        let pkcs8 = Zeroizing::new(der.as_ref().to_vec());
        Ok(Self { signer, pkcs8 })
    }

    /// The key whose PKCS#8 form (DER) is given.
    ///
    /// # Errors
    /// The bytes are no RSA private key.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, PracticeFault> {
        let signer = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| PracticeFault::NotAKey)?;
        Ok(Self { signer, pkcs8: Zeroizing::new(pkcs8.to_vec()) })
    }

    /// The private key as PKCS#8 (DER).
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as SubjectPublicKeyInfo (DER).
    pub fn public_key(&self) -> Vec<u8> {
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(self.signer.public_key());
        der.expect("a key that exists has a public form").as_ref().to_vec()
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 over `message`.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.signer.public_modulus_len()];
        self.signer
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a whole RSA key signs any message");
        signature
    }

    /// Unwraps what was wrapped to this key.
    ///
    /// # Errors
    /// It was not wrapped to this key, or in another way.
    pub fn unwrap(
        &self,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, PracticeFault> {
        let key = PrivateDecryptingKey::from_pkcs8(&self.pkcs8).map_err(|_| PracticeFault::NotAKey)?;
        let mut clear = Zeroizing::new(vec![0; key.key_size_bytes()]);
        let length = match algorithm {
            WrapAlgorithm::RsaOaepSha256 => OaepPrivateDecryptingKey::new(key).and_then(|rsa| {
                rsa.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut clear, None).map(|out| out.len())
            }),
            WrapAlgorithm::RsaOaepSha1 => OaepPrivateDecryptingKey::new(key).and_then(|rsa| {
                rsa.decrypt(&OAEP_SHA1_MGF1SHA1, wrapped, &mut clear, None).map(|out| out.len())
            }),
            WrapAlgorithm::RsaPkcs1V15 => Pkcs1PrivateDecryptingKey::new(key)
                .and_then(|rsa| rsa.decrypt(wrapped, &mut clear).map(|out| out.len())),
        }
        .map_err(|_| PracticeFault::NotForThisKey)?;
        clear.truncate(length);
        Ok(clear)
    }
}

/// What a practice certificate is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// Signing: digitalSignature and nonRepudiation.
    Sign,
    /// Unwrapping keys: keyEncipherment and dataEncipherment.
    Encrypt,
    /// Both.
    Both,
}

impl Usage {
    fn bits(self) -> KeyUsage {
        let sign = KeyUsages::DigitalSignature | KeyUsages::NonRepudiation;
        let encrypt = KeyUsages::KeyEncipherment | KeyUsages::DataEncipherment;
        KeyUsage(match self {
            Usage::Sign => sign,
            Usage::Encrypt => encrypt,
            Usage::Both => sign | encrypt,
        })
    }
}

/// From when until when something is valid, both ends included, to the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// The first instant.
    pub from: Moment,
    /// The last instant.
    pub until: Moment,
}

/// A made-up certification authority with a root of its own.
pub struct PracticeCa {
    key: SoftKey,
    root: Certificate,
    root_der: Vec<u8>,
    revoked: BTreeMap<u64, Moment>,
    crls: u32,
}

impl PracticeCa {
    /// Founds an authority called `name` (such as `Huixin`) with a fresh key and a self-signed root.
    /// Draws random bytes.
    ///
    /// # Errors
    /// No key could be made, or name or moments do not fit into a certificate.
    pub fn new(name: &str, valid_from: Moment, valid_to: Moment) -> Result<Self, PracticeFault> {
        Self::with_key(SoftKey::generate()?, name, Span { from: valid_from, until: valid_to })
    }

    /// Founds an authority on a key at hand; the same arguments give the same root, byte for byte.
    ///
    /// # Errors
    /// Name or moments do not fit into a certificate.
    pub fn with_key(key: SoftKey, name: &str, span: Span) -> Result<Self, PracticeFault> {
        let subject = format!("CN={0} Practice Root,O={0},C=CN", escaped(name));
        let profile = PracticeProfile { subject: parse_name(&subject)?, issuer: None, usage: None };
        let builder = CertificateBuilder::new(
            profile,
            SerialNumber::from(1_u64),
            validity(span)?,
            SubjectPublicKeyInfoOwned::from_der(&key.public_key())?,
        )?;
        let root = sign_with(builder, &key)?;
        let root_der = root.to_der()?;
        Ok(Self { key, root, root_der, revoked: BTreeMap::new(), crls: 0 })
    }

    /// The root certificate (DER).
    pub fn root(&self) -> &[u8] {
        &self.root_der
    }

    /// Issues a certificate for `public_key` (SubjectPublicKeyInfo, DER). `subject` is a name in the manner of
    /// RFC 4514, such as `CN=Mingde Furniture,O=Mingde,C=CN`; see [`escaped`] for free text in it.
    ///
    /// # Errors
    /// Subject, key or moments do not fit into a certificate.
    pub fn issue(
        &self,
        subject: &str,
        public_key: &[u8],
        serial: u64,
        usage: Usage,
        span: Span,
    ) -> Result<Vec<u8>, PracticeFault> {
        let profile = PracticeProfile {
            subject: parse_name(subject)?,
            issuer: Some(self.root.tbs_certificate().subject().clone()),
            usage: Some(usage),
        };
        let builder = CertificateBuilder::new(
            profile,
            SerialNumber::from(serial),
            validity(span)?,
            SubjectPublicKeyInfoOwned::from_der(public_key)?,
        )?;
        Ok(sign_with(builder, &self.key)?.to_der()?)
    }

    /// Issues under a serial number drawn at random.
    ///
    /// # Errors
    /// As [`PracticeCa::issue`].
    pub fn issue_next(
        &self,
        subject: &str,
        public_key: &[u8],
        usage: Usage,
        span: Span,
    ) -> Result<(u64, Vec<u8>), PracticeFault> {
        let mut bytes = [0; 8];
        fill(&mut bytes).map_err(|_| PracticeFault::NoKey)?;
        // The highest bit stays clear so that the number is positive in eight bytes; 0 and 1 are not drawn.
        let serial = (u64::from_be_bytes(bytes) >> 1) | 2;
        Ok((serial, self.issue(subject, public_key, serial, usage, span)?))
    }

    /// Revokes the certificate with this serial number from `at` on; [`PracticeCa::crl`] tells.
    pub fn revoke(&mut self, serial: u64, at: Moment) {
        self.revoked.insert(serial, at);
    }

    /// A revocation list (DER) made at `at`, valid for seven days.
    ///
    /// # Errors
    /// The moment does not fit into a list.
    pub fn crl(&mut self, at: Moment) -> Result<Vec<u8>, PracticeFault> {
        self.crls += 1;
        let number = CrlNumber(der::asn1::Uint::new(&self.crls.to_be_bytes())?);
        let mut revoked = Vec::with_capacity(self.revoked.len());
        for (serial, when) in &self.revoked {
            revoked.push(RevokedCert {
                serial_number: SerialNumber::from(*serial),
                revocation_date: to_time(*when)?,
                crl_entry_extensions: None,
            });
        }
        let mut builder = CrlBuilder::new_with_this_update(&self.root, number, to_time(at)?)?
            .with_next_update(Some(to_time(at.plus_minutes(CRL_MINUTES))?));
        if !revoked.is_empty() {
            builder = builder.with_certificates(revoked.into_iter());
        }
        let signer = SignerView(&self.key);
        let tbs = builder.finalize(&signer)?;
        let signature = BitString::from_bytes(&self.key.sign(&tbs))?;
        Ok(builder.assemble(signature, &signer)?.to_der()?)
    }
}

/// Free text as it may stand in a name of RFC 4514: special characters are escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#') {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

/// How long a practice revocation list is valid: a week.
const CRL_MINUTES: u32 = 7 * 24 * 60;

/// The extensions of practice certificates. No usage: a root.
struct PracticeProfile {
    subject: Name,
    issuer: Option<Name>,
    usage: Option<Usage>,
}

impl BuilderProfile for PracticeProfile {
    fn get_issuer(&self, subject: &Name) -> Name {
        self.issuer.clone().unwrap_or_else(|| subject.clone())
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        own: spki::SubjectPublicKeyInfoRef<'_>,
        issuer: spki::SubjectPublicKeyInfoRef<'_>,
        tbs: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        let subject = tbs.subject();
        let mut made = vec![
            SubjectKeyIdentifier::try_from(own)?.to_extension(subject, &[])?,
            AuthorityKeyIdentifier::try_from(issuer)?.to_extension(subject, &[])?,
        ];
        match self.usage {
            None => {
                made.push(
                    BasicConstraints { ca: true, path_len_constraint: None }.to_extension(subject, &[])?,
                );
                let usage = KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign);
                made.push(usage.to_extension(subject, &[])?);
            }
            Some(usage) => {
                made.push(
                    BasicConstraints { ca: false, path_len_constraint: None }.to_extension(subject, &[])?,
                );
                made.push(usage.bits().to_extension(subject, &[])?);
            }
        }
        Ok(made)
    }
}

/// A soft key as the certificate builder wants to see a signer.
struct SignerView<'a>(&'a SoftKey);

/// A public key as the certificate builder wants to see one.
#[derive(Clone)]
struct PublicView(Vec<u8>);

impl Keypair for SignerView<'_> {
    type VerifyingKey = PublicView;

    fn verifying_key(&self) -> PublicView {
        PublicView(self.0.public_key())
    }
}

impl DynSignatureAlgorithmIdentifier for SignerView<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: SHA_256_WITH_RSA_ENCRYPTION, parameters: Some(Any::null()) })
    }
}

impl EncodePublicKey for PublicView {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::try_from(self.0.clone())?)
    }
}

fn sign_with(
    mut builder: CertificateBuilder<PracticeProfile>,
    key: &SoftKey,
) -> Result<Certificate, PracticeFault> {
    let signer = SignerView(key);
    let tbs = builder.finalize(&signer)?;
    let signature = BitString::from_bytes(&key.sign(&tbs))?;
    Ok(builder.assemble(signature, &signer)?)
}

fn parse_name(text: &str) -> Result<Name, PracticeFault> {
    Ok(text.parse()?)
}

fn validity(span: Span) -> Result<Validity, PracticeFault> {
    Ok(Validity::new(to_time(span.from)?, to_time(span.until)?))
}

/// RFC 5280: UTCTime up to 2049, GeneralizedTime from 2050.
fn to_time(at: Moment) -> Result<Time, PracticeFault> {
    let seconds = u64::try_from(at.0.div_euclid(1_000_000))
        .map_err(|_| PracticeFault::Certificate("a moment before 1970".into()))?;
    let since = std::time::Duration::from_secs(seconds);
    Ok(match UtcTime::from_unix_duration(since) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(GeneralizedTime::from_unix_duration(since)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wrap::wrap_to;

    const YEAR_2026: Moment = Moment(1_767_225_600_000_000);
    const YEAR_2060: Moment = Moment(2_840_140_800_000_000);
    const SPAN: Span = Span { from: YEAR_2026, until: YEAR_2060 };

    #[test]
    fn a_key_wrapped_to_a_practice_certificate_is_unwrapped_by_its_key_alone() {
        let ca = PracticeCa::new("Huixin", YEAR_2026, YEAR_2060).unwrap();
        let (key, other) = (SoftKey::generate().unwrap(), SoftKey::generate().unwrap());
        let certificate =
            ca.issue("CN=明德家具,O=Mingde", &key.public_key(), 7, Usage::Encrypt, SPAN).unwrap();
        for algorithm in
            [WrapAlgorithm::RsaOaepSha256, WrapAlgorithm::RsaOaepSha1, WrapAlgorithm::RsaPkcs1V15]
        {
            let wrapped = wrap_to(&certificate, algorithm, &[9; 32]).unwrap();
            assert_eq!(key.unwrap(algorithm, &wrapped).unwrap().as_slice(), [9; 32]);
            assert!(other.unwrap(algorithm, &wrapped).is_err());
        }
    }

    #[test]
    fn the_same_authority_issues_the_same_bytes() {
        let key = SoftKey::generate().unwrap();
        let make = || {
            let ca_key = SoftKey::from_pkcs8(key.pkcs8()).unwrap();
            let ca = PracticeCa::with_key(ca_key, "Tiangu, Ltd", SPAN).unwrap();
            ca.issue("CN=a", &key.public_key(), 7, Usage::Both, SPAN).unwrap()
        };
        assert_eq!(make(), make());
    }
}
