//! The signatures of tokens: CMS, detached, in one byte form.
//!
//! One signer, one certificate, SHA-256 with RSASSA-PKCS1-v1_5, and three signed attributes: contentType,
//! messageDigest, signingCertificateV2. What is signed is a purpose's line and a text. All but the
//! certificate and the signature's value follows from these, so the checker puts the signature together anew
//! and accepts nothing that differs. Other tools read it as any other CMS (`openssl cms -verify -binary`).

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use cms::{
    cert::IssuerAndSerialNumber,
    content_info::{CmsVersion, ContentInfo},
    signed_data::{
        DigestAlgorithmIdentifiers, EncapsulatedContentInfo, SignerIdentifier, SignerInfo, SignerInfos,
    },
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5911::{
            ID_AA_SIGNING_CERTIFICATE_V_2, ID_CONTENT_TYPE, ID_DATA, ID_MESSAGE_DIGEST, ID_SIGNED_DATA,
        },
        rfc5912::{ID_SHA_256, RSA_ENCRYPTION},
    },
};
use der::{
    Any, Decode, Encode, Sequence,
    asn1::{OctetString, SetOfVec},
};
use kaibiao_protocol::digest::Digest;
use spki::AlgorithmIdentifierOwned;
use x509_cert::{Certificate, attr::Attribute};

use crate::{certificate::CERTIFICATE_BYTES_MAX, digest::sha256, purpose::Purpose, x509::encoded};

/// The most bytes a signature may have: twice the certificate's and what surrounds it.
pub const CMS_BYTES_MAX: usize = 2 * CERTIFICATE_BYTES_MAX + 4096;
/// The most bytes of the signature's value: RSA of 8192 bits.
pub const SIGNATURE_VALUE_BYTES_MAX: usize = 1024;

/// Why a signature does not hold, or was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureFault {
    /// The bytes are no CMS signature.
    #[error("not a CMS signature")]
    Malformed,
    /// The certificate is none.
    #[error("not a certificate")]
    NotACertificate,
    /// There is not exactly one signer.
    #[error("the signature has not exactly one signer")]
    Signers,
    /// There is not exactly one certificate.
    #[error("the signature carries not exactly one certificate")]
    Certificates,
    /// The text stands inside the signature.
    #[error("the signature is not detached")]
    NotDetached,
    /// The signed attributes are not the three that belong there.
    #[error("the signed attributes are not the three that belong there")]
    Attributes,
    /// Another text was signed, or for another purpose.
    #[error("another text was signed, or for another purpose")]
    OtherText,
    /// The certificate that the attributes name is not the one carried.
    #[error("the signed attributes name another certificate")]
    OtherCertificate,
    /// Another algorithm than SHA-256 with RSA.
    #[error("the signature is not SHA-256 with RSA")]
    Algorithm,
    /// Something else is not in its one form.
    #[error("the signature is not in its one form")]
    OtherForm,
    /// The key did not sign.
    #[error("the certificate's key did not sign this")]
    NotSigned,
}

/// Why no signature was made.
#[derive(Debug, thiserror::Error)]
pub enum SigningFault<E> {
    /// The token did not sign.
    #[error("the token did not sign")]
    Signer(E),
    /// The certificate is none, or what the token gave is no signature.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
}

/// A signature that holds. Whether the certificate holds is the next question: [`crate::trust::Trust::judge`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// Who signed (DER).
    pub certificate: Vec<u8>,
    /// SHA-256 of the certificate.
    pub fingerprint: Digest,
}

/// What a token signs with RSASSA-PKCS1-v1_5 and SHA-256.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToBeSigned(Vec<u8>);

impl ToBeSigned {
    /// The bytes, for a token that hashes by itself (CKM_SHA256_RSA_PKCS).
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The DigestInfo of the bytes, for a token that only pads (CKM_RSA_PKCS).
    pub fn digest_info(&self) -> Vec<u8> {
        const PREFIX: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
        [PREFIX, sha256(&self.0).as_bytes()].concat()
    }
}

/// The bytes that a token with `certificate` (DER) signs, so that it signs `text` for `purpose`: the signed
/// attributes as a DER SET.
///
/// # Errors
/// [`SignatureFault::NotACertificate`].
pub fn to_be_signed(purpose: Purpose, text: &[u8], certificate: &[u8]) -> Result<ToBeSigned, SignatureFault> {
    parse_certificate(certificate)?;
    Ok(ToBeSigned(encoded(&signed_attributes(purpose, text, certificate))))
}

/// Puts the signature together from what the token signed. Does not check the value: see [`check_cms`].
///
/// # Errors
/// [`SignatureFault::NotACertificate`], or [`SignatureFault::Malformed`] if the value is empty or longer than
/// [`SIGNATURE_VALUE_BYTES_MAX`].
pub fn assemble_cms(
    purpose: Purpose,
    text: &[u8],
    certificate: &[u8],
    signature: &[u8],
) -> Result<Vec<u8>, SignatureFault> {
    let parsed = parse_certificate(certificate)?;
    if signature.is_empty() || signature.len() > SIGNATURE_VALUE_BYTES_MAX {
        return Err(SignatureFault::Malformed);
    }
    assemble(certificate, &parsed, signed_attributes(purpose, text, certificate), signature)
        .map_err(|_| SignatureFault::NotACertificate)
}

/// What a signing token does: given the bytes to be signed, it gives the value of RSASSA-PKCS1-v1_5 with SHA-256.
pub type Signer<'a, E> = dyn FnMut(&[u8]) -> Result<Vec<u8>, E> + 'a;

/// Signs `text` for `purpose`: `signer` is given the bytes to be signed and gives the signature's value.
///
/// # Errors
/// What the signer gives, or see [`assemble_cms`].
pub fn sign_cms<E>(
    purpose: Purpose,
    text: &[u8],
    certificate: &[u8],
    signer: &mut Signer<'_, E>,
) -> Result<Vec<u8>, SigningFault<E>> {
    let wanted = to_be_signed(purpose, text, certificate)?;
    let signature = signer(wanted.bytes()).map_err(SigningFault::Signer)?;
    Ok(assemble_cms(purpose, text, certificate, &signature)?)
}

/// Checks that `cms` is a signature over `text` for `purpose`, in its one form.
///
/// # Errors
/// See [`SignatureFault`].
pub fn check_cms(purpose: Purpose, text: &[u8], cms: &[u8]) -> Result<Signed, SignatureFault> {
    if cms.len() > CMS_BYTES_MAX {
        return Err(SignatureFault::Malformed);
    }
    let data = signed_data(cms)?;
    if data.encap_content_info.econtent.is_some() {
        return Err(SignatureFault::NotDetached);
    }
    let signer = match data.signer_infos.0.as_slice() {
        [signer] => signer,
        _ => return Err(SignatureFault::Signers),
    };
    let certificate = data.certificate()?;
    if signer.digest_alg.oid != ID_SHA_256 || signer.signature_algorithm.oid != RSA_ENCRYPTION {
        return Err(SignatureFault::Algorithm);
    }
    check_attributes(signer, purpose, text, &certificate)?;

    // Named faults first; then whatever else differs from the one form: order, lengths, versions, parameters,
    // unsigned attributes, revocation lists, bytes behind the end.
    let value = signer.signature.as_bytes();
    if assemble_cms(purpose, text, &certificate, value) != Ok(cms.to_vec()) {
        return Err(SignatureFault::OtherForm);
    }
    let message = to_be_signed(purpose, text, &certificate)?;
    let spki = encoded(parse_certificate(&certificate)?.tbs_certificate().subject_public_key_info());
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &spki)
        .verify(message.bytes(), value)
        .map_err(|_| SignatureFault::NotSigned)?;
    let fingerprint = sha256(&certificate);
    Ok(Signed { certificate, fingerprint })
}

/// The certificate that `cms` carries (DER), without any check: to show who may have signed.
///
/// # Errors
/// [`SignatureFault::Malformed`], [`SignatureFault::Certificates`].
pub fn certificate_in(cms: &[u8]) -> Result<Vec<u8>, SignatureFault> {
    if cms.len() > CMS_BYTES_MAX {
        return Err(SignatureFault::Malformed);
    }
    signed_data(cms)?.certificate()
}

/// SignedData of RFC 5652 with its certificates left as they stand: decoding and encoding one anew could
/// change bytes that its fingerprint covers.
#[derive(Sequence)]
struct SignedData {
    version: CmsVersion,
    digest_algorithms: DigestAlgorithmIdentifiers,
    encap_content_info: EncapsulatedContentInfo,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    certificates: Option<SetOfVec<Any>>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    crls: Option<SetOfVec<Any>>,
    signer_infos: SignerInfos,
}

impl SignedData {
    fn certificate(&self) -> Result<Vec<u8>, SignatureFault> {
        match self.certificates.as_ref().map_or(&[][..], SetOfVec::as_slice) {
            [certificate] => Ok(encoded(certificate)),
            _ => Err(SignatureFault::Certificates),
        }
    }
}

fn signed_data(cms: &[u8]) -> Result<SignedData, SignatureFault> {
    let info = ContentInfo::from_der(cms).map_err(|_| SignatureFault::Malformed)?;
    if info.content_type != ID_SIGNED_DATA {
        return Err(SignatureFault::Malformed);
    }
    info.content.decode_as().map_err(|_| SignatureFault::Malformed)
}

/// Says which of the attributes is not as it should be.
fn check_attributes(
    signer: &SignerInfo,
    purpose: Purpose,
    text: &[u8],
    certificate: &[u8],
) -> Result<(), SignatureFault> {
    let found = signer.signed_attrs.as_ref().ok_or(SignatureFault::Attributes)?;
    let wanted = signed_attributes(purpose, text, certificate);
    for attribute in wanted.iter() {
        let same_kind = found.iter().find(|one| one.oid == attribute.oid);
        if same_kind.ok_or(SignatureFault::Attributes)? != attribute {
            return Err(match attribute.oid {
                ID_MESSAGE_DIGEST => SignatureFault::OtherText,
                ID_AA_SIGNING_CERTIFICATE_V_2 => SignatureFault::OtherCertificate,
                _ => SignatureFault::Attributes,
            });
        }
    }
    if found.len() == wanted.len() { Ok(()) } else { Err(SignatureFault::Attributes) }
}

fn parse_certificate(der: &[u8]) -> Result<Certificate, SignatureFault> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(SignatureFault::NotACertificate);
    }
    Certificate::from_der(der).map_err(|_| SignatureFault::NotACertificate)
}

/// The signing certificate by its digest (RFC 5035). SHA-256 is the default algorithm and so is left out.
#[derive(Sequence)]
struct SigningCertificateV2 {
    certs: Vec<EssCertIdV2>,
}

#[derive(Sequence)]
struct EssCertIdV2 {
    cert_hash: OctetString,
}

/// contentType, messageDigest and signingCertificateV2, in DER order.
fn signed_attributes(purpose: Purpose, text: &[u8], certificate: &[u8]) -> SetOfVec<Attribute> {
    let digest = octets(purpose.message_digest(text));
    let signing =
        SigningCertificateV2 { certs: vec![EssCertIdV2 { cert_hash: octets(sha256(certificate)) }] };
    let mut attributes = SetOfVec::new();
    for (oid, value) in [
        (ID_CONTENT_TYPE, Any::encode_from(&ID_DATA)),
        (ID_MESSAGE_DIGEST, Any::encode_from(&digest)),
        (ID_AA_SIGNING_CERTIFICATE_V_2, Any::encode_from(&signing)),
    ] {
        let value = value.expect("a short value encodes");
        attributes.insert(attribute(oid, value)).expect("three attributes of different kinds are a set");
    }
    attributes
}

fn octets(digest: Digest) -> OctetString {
    OctetString::new(digest.as_bytes().as_slice()).expect("32 bytes fit into an octet string")
}

fn attribute(oid: ObjectIdentifier, value: Any) -> Attribute {
    let mut values = SetOfVec::new();
    values.insert(value).expect("one value is a set");
    Attribute { oid, values }
}

fn assemble(
    certificate: &[u8],
    parsed: &Certificate,
    attributes: SetOfVec<Attribute>,
    signature: &[u8],
) -> der::Result<Vec<u8>> {
    let sha256 = AlgorithmIdentifierOwned { oid: ID_SHA_256, parameters: None };
    let tbs = parsed.tbs_certificate();
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid: SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: tbs.issuer().clone(),
            serial_number: tbs.serial_number().clone(),
        }),
        digest_alg: sha256.clone(),
        signed_attrs: Some(attributes),
        signature_algorithm: AlgorithmIdentifierOwned { oid: RSA_ENCRYPTION, parameters: Some(Any::null()) },
        signature: OctetString::new(signature)?,
        unsigned_attrs: None,
    };
    let data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![sha256])?,
        encap_content_info: EncapsulatedContentInfo { econtent_type: ID_DATA, econtent: None },
        certificates: Some(SetOfVec::try_from(vec![Any::from_der(certificate)?])?),
        crls: None,
        signer_infos: SignerInfos::try_from(vec![signer])?,
    };
    ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&data)? }.to_der()
}

#[cfg(test)]
mod tests {
    use kaibiao_protocol::moment::Moment;

    use super::*;
    use crate::practice::{PracticeCa, SoftKey, Span, Usage};

    struct World {
        ca: PracticeCa,
        key: SoftKey,
        certificate: Vec<u8>,
    }

    fn world() -> World {
        let span = Span { from: Moment(1_767_225_600_000_000), until: Moment(2_840_140_800_000_000) };
        let ca = PracticeCa::new("Huixin", span.from, span.until).unwrap();
        let key = SoftKey::generate().unwrap();
        let certificate = ca.issue("CN=明德家具", &key.public_key(), 7, Usage::Sign, span).unwrap();
        World { ca, key, certificate }
    }

    impl World {
        fn sign(&self, purpose: Purpose, text: &[u8]) -> Vec<u8> {
            sign_cms::<()>(purpose, text, &self.certificate, &mut |bytes| Ok(self.key.sign(bytes))).unwrap()
        }
    }

    #[test]
    fn a_signature_holds_for_its_text_and_purpose_alone() {
        let world = world();
        let cms = world.sign(Purpose::SignIn, b"text");
        let signed = check_cms(Purpose::SignIn, b"text", &cms).unwrap();
        assert_eq!(signed.certificate, world.certificate);
        assert_eq!(signed.fingerprint, sha256(&world.certificate));
        assert_eq!(certificate_in(&cms).unwrap(), world.certificate);
        assert_eq!(check_cms(Purpose::SignIn, b"texts", &cms), Err(SignatureFault::OtherText));
        for other in Purpose::ALL.into_iter().filter(|other| *other != Purpose::SignIn) {
            assert_eq!(check_cms(other, b"text", &cms), Err(SignatureFault::OtherText));
        }
        // A text that begins with another purpose's line does not help either.
        let text = Purpose::StartOpening.message(b"text");
        let cms = world.sign(Purpose::SignIn, &text);
        assert_eq!(check_cms(Purpose::StartOpening, b"text", &cms), Err(SignatureFault::OtherText));
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_noticed() {
        let world = world();
        let cms = world.sign(Purpose::SealStatement, b"statement");
        for at in 0..cms.len() {
            for bit in [0, 3, 7] {
                let mut bad = cms.clone();
                bad[at] ^= 1 << bit;
                assert!(check_cms(Purpose::SealStatement, b"statement", &bad).is_err(), "byte {at}");
            }
        }
        for bad in [&cms[..cms.len() - 1], &[cms.as_slice(), b"\0"].concat(), b""] {
            assert!(check_cms(Purpose::SealStatement, b"statement", bad).is_err());
        }
    }

    #[test]
    fn another_key_or_certificate_is_named() {
        let (world, other) = (world(), world());
        let forged = sign_cms::<()>(Purpose::SignIn, b"text", &world.certificate, &mut |bytes| {
            Ok(other.key.sign(bytes))
        });
        assert_eq!(check_cms(Purpose::SignIn, b"text", &forged.unwrap()), Err(SignatureFault::NotSigned));

        // The attributes name one certificate, another is carried.
        let attributes = signed_attributes(Purpose::SignIn, b"text", &world.certificate);
        let value = world.key.sign(&encoded(&attributes));
        let parsed = parse_certificate(&other.certificate).unwrap();
        let cms = assemble(&other.certificate, &parsed, attributes, &value).unwrap();
        assert_eq!(check_cms(Purpose::SignIn, b"text", &cms), Err(SignatureFault::OtherCertificate));
    }

    /// Takes a good signature apart, changes it and puts it together.
    fn changed(cms: &[u8], change: &dyn Fn(&mut SignedData)) -> Vec<u8> {
        let mut data = signed_data(cms).unwrap();
        change(&mut data);
        encoded(&ContentInfo { content_type: ID_SIGNED_DATA, content: Any::encode_from(&data).unwrap() })
    }

    fn change_signer(data: &mut SignedData, change: impl FnOnce(&mut SignerInfo)) {
        let mut signer = data.signer_infos.0.as_slice()[0].clone();
        change(&mut signer);
        data.signer_infos = SignerInfos::try_from(vec![signer]).unwrap();
    }

    #[test]
    fn everything_beyond_the_one_form_is_refused_by_name() {
        let world = world();
        let cms = world.sign(Purpose::SignIn, b"text");
        let check = |expected, change: &dyn Fn(&mut SignedData)| {
            let bad = changed(&cms, change);
            assert_eq!(check_cms(Purpose::SignIn, b"text", &bad), Err(expected));
        };
        assert_eq!(changed(&cms, &|_| {}), cms, "taking apart and putting together changes nothing");
        check(SignatureFault::Signers, &|data| data.signer_infos = SignerInfos(SetOfVec::new()));
        check(SignatureFault::Signers, &|data| {
            let one = data.signer_infos.0.as_slice()[0].clone();
            let two = SignerInfo { version: CmsVersion::V3, ..one.clone() };
            data.signer_infos = SignerInfos::try_from(vec![one, two]).unwrap();
        });
        check(SignatureFault::Certificates, &|data| data.certificates = None);
        check(SignatureFault::Certificates, &|data| {
            let more = Any::from_der(world.ca.root()).unwrap();
            data.certificates.as_mut().unwrap().insert(more).unwrap();
        });
        check(SignatureFault::NotDetached, &|data| {
            let text = OctetString::new(b"text".as_slice()).unwrap();
            data.encap_content_info.econtent = Some(Any::encode_from(&text).unwrap());
        });
        check(SignatureFault::Algorithm, &|data| {
            change_signer(data, |signer| signer.digest_alg.oid = const_oid::db::rfc5912::ID_SHA_1);
        });
        check(SignatureFault::Attributes, &|data| change_signer(data, |signer| signer.signed_attrs = None));
        check(SignatureFault::Attributes, &|data| {
            change_signer(data, |signer| {
                let time = attribute(const_oid::db::rfc5911::ID_SIGNING_TIME, Any::null());
                signer.signed_attrs.as_mut().unwrap().insert(time).unwrap();
            });
        });
        check(SignatureFault::OtherForm, &|data| {
            change_signer(data, |signer| {
                let more = attribute(const_oid::db::rfc5911::ID_SIGNING_TIME, Any::null());
                signer.unsigned_attrs = Some(SetOfVec::try_from(vec![more]).unwrap());
            });
        });
        check(SignatureFault::OtherForm, &|data| data.version = CmsVersion::V3);
        check(SignatureFault::OtherForm, &|data| data.crls = Some(SetOfVec::new()));
        check(SignatureFault::OtherForm, &|data| {
            change_signer(data, |signer| signer.digest_alg.parameters = Some(Any::null()));
        });
    }

    #[test]
    fn a_token_that_only_pads_gives_the_same_signature() {
        let world = world();
        let wanted = to_be_signed(Purpose::SignIn, b"text", &world.certificate).unwrap();
        let info = wanted.digest_info();
        assert_eq!(info.len(), 51);
        assert_eq!(info[19..], *sha256(wanted.bytes()).as_bytes());
        assert!(to_be_signed(Purpose::SignIn, b"text", b"no certificate").is_err());
        assert!(assemble_cms(Purpose::SignIn, b"text", &world.certificate, b"").is_err());
    }
}
