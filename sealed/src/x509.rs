//! What certificates and revocation lists have in common: bytes that an issuer signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use const_oid::{
    ObjectIdentifier,
    db::rfc5912::{
        ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_RSASSA_PSS, SHA_256_WITH_RSA_ENCRYPTION,
        SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
    },
};
use der::{
    AnyRef, Decode, Encode, Reader, SliceReader, Tagged,
    asn1::{BitStringRef, Null},
};
use kaibiao_protocol::moment::Moment;
use spki::AlgorithmIdentifierRef;
use x509_cert::time::Time;

/// The issuer's signature does not hold over the bytes, or is made in a way unknown here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotIssued;

/// A certificate or list, split where its issuer split it: the signed bytes as they stand, never encoded anew.
pub(crate) struct SignedBytes<'a> {
    signed: &'a [u8],
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

impl<'a> SignedBytes<'a> {
    /// Splits the DER of a certificate or a revocation list.
    pub(crate) fn split(der: &'a [u8]) -> der::Result<Self> {
        let outer = AnyRef::from_der(der)?;
        outer.tag().assert_eq(der::Tag::Sequence)?;
        let mut reader = SliceReader::new(outer.value())?;
        let signed = reader.tlv_bytes()?;
        let algorithm = AlgorithmIdentifierRef::decode(&mut reader)?;
        let signature = BitStringRef::decode(&mut reader)?;
        reader.finish()?;
        Ok(Self { signed, algorithm, signature })
    }

    /// Checks that the key `spki` (SubjectPublicKeyInfo, DER) signed these bytes. `inner` is the algorithm
    /// named within the signed bytes: it must be the one outside, or the outside could be exchanged.
    pub(crate) fn verify(
        &self,
        inner: &spki::AlgorithmIdentifierOwned,
        spki: &[u8],
    ) -> Result<(), NotIssued> {
        if inner.owned_to_ref_eq(&self.algorithm) {
            let algorithm = verification(&self.algorithm).ok_or(NotIssued)?;
            let signature = self.signature.as_bytes().ok_or(NotIssued)?;
            return UnparsedPublicKey::new(algorithm, spki)
                .verify(self.signed, signature)
                .map_err(|_| NotIssued);
        }
        Err(NotIssued)
    }
}

trait OwnedEq {
    fn owned_to_ref_eq(&self, other: &AlgorithmIdentifierRef<'_>) -> bool;
}

impl OwnedEq for spki::AlgorithmIdentifierOwned {
    fn owned_to_ref_eq(&self, other: &AlgorithmIdentifierRef<'_>) -> bool {
        self.oid == other.oid && self.parameters.as_ref().map(AnyRef::from) == other.parameters
    }
}

/// Hash SHA-256, MGF1 with SHA-256, salt of 32 bytes: the one set of PSS parameters accepted, with and
/// without the NULL that RFC 4055 leaves open.
const PSS_SHA256: [&[u8]; 2] = [
    b"\xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\
      \x86\xf7\x0d\x01\x01\x08\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\xa2\x03\x02\x01\x20",
    b"\xa0\x0d\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\xa1\x1a\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\
      \x0d\x01\x01\x08\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\xa2\x03\x02\x01\x20",
];

/// How a signature of this algorithm is checked; RSA keys have 2048 to 8192 bits.
fn verification(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<&'static dyn VerificationAlgorithm> {
    let plain: &[(ObjectIdentifier, &'static dyn VerificationAlgorithm)] = &[
        (SHA_256_WITH_RSA_ENCRYPTION, &RSA_PKCS1_2048_8192_SHA256),
        (SHA_384_WITH_RSA_ENCRYPTION, &RSA_PKCS1_2048_8192_SHA384),
        (SHA_512_WITH_RSA_ENCRYPTION, &RSA_PKCS1_2048_8192_SHA512),
        (ECDSA_WITH_SHA_256, &ECDSA_P256_SHA256_ASN1),
        (ECDSA_WITH_SHA_384, &ECDSA_P384_SHA384_ASN1),
    ];
    if algorithm.oid == ID_RSASSA_PSS {
        let parameters = algorithm.parameters?;
        return PSS_SHA256.contains(&parameters.value()).then_some(&RSA_PSS_2048_8192_SHA256);
    }
    let no_parameters = algorithm.parameters.is_none_or(|one| one == AnyRef::from(Null));
    let (_, found) = plain.iter().find(|(oid, _)| *oid == algorithm.oid)?;
    no_parameters.then_some(*found)
}

/// The instant a certificate's time names.
pub(crate) fn moment(time: Time) -> Moment {
    // Years beyond 294,000 do not exist in DER.
    let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
    Moment(seconds.saturating_mul(1_000_000))
}

/// The last microsecond of the second that a certificate's end names: validity includes both ends.
pub(crate) fn last_moment(time: Time) -> Moment {
    Moment(moment(time).0.saturating_add(999_999))
}

/// DER of a value that was decoded from DER and so encodes.
pub(crate) fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    value.to_der().expect("what was decoded from DER encodes as DER")
}
