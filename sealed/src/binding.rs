//! The binding: what a sealed bid is for, and for whom.

use std::collections::BTreeSet;

use kaibiao_protocol::{
    bid::PartName,
    blob::Blob,
    digest::Digest,
    ids::{LotNo, OrganisationId, ProjectId},
};
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::StrDeserializer},
};

use crate::{
    digest::sha256_of,
    strict_json::{NotCanonical, parse_canonical, to_canonical},
    wrap::WrapAlgorithm,
};

/// The format's name inside a binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BindingFormat {
    /// The first and only one.
    #[serde(rename = "kaibiao binding 1")]
    V1,
}

/// The cryptography of the parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Suite {
    /// C2SP chunked encryption: AES-256-GCM, HKDF-SHA512, keys of parts by HKDF-Expand.
    #[serde(rename = "Cobblestone-256")]
    Cobblestone256,
}

/// What is fixed before anything is encrypted; every key and every part depends on its digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Which format this is.
    pub format: BindingFormat,
    /// The project the bid is for.
    pub project: ProjectId,
    /// Who bids.
    pub supplier: OrganisationId,
    /// The lots bid for; at least one.
    pub lots: BTreeSet<LotNo>,
    /// Fingerprint (SHA-256 of the DER) of the certificate that signs the statement.
    pub signing_certificate: Digest,
    /// Fingerprint of the certificate the bid key is wrapped to.
    pub encryption_certificate: Digest,
    /// SHA-256 of the platform's Ed25519 opening key (its 32 bytes): only orders signed by it may unseal.
    pub opening_key: Digest,
    /// The cryptography of the parts.
    pub suite: Suite,
    /// How the bid key is wrapped.
    pub wrap: WrapAlgorithm,
    /// The wrapped bid key: 256 to 1024 bytes.
    pub wrapped_key: Blob,
}

/// The fewest bytes of a wrapped key (RSA-2048).
pub const WRAPPED_KEY_BYTES_MIN: usize = 256;
/// The most bytes of a wrapped key (RSA-8192).
pub const WRAPPED_KEY_BYTES_MAX: usize = 1024;

/// Why bytes are no binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BindingFault {
    /// Not the canonical JSON of a binding.
    #[error("the binding is {0}")]
    NotCanonical(#[from] NotCanonical),
    /// A binding of another version.
    #[error("the binding is of a version unknown here")]
    UnknownVersion,
    /// The parts are sealed by cryptography unknown here.
    #[error("the suite is unknown here")]
    UnknownSuite,
    /// The bid key is wrapped in a way unknown here.
    #[error("the wrapping of the key is unknown here")]
    UnknownWrap,
    /// No lot is bid for.
    #[error("the binding names no lot")]
    NoLot,
    /// The wrapped key is shorter or longer than any RSA key makes it.
    #[error("the wrapped key has an impossible length")]
    WrappedKeyLength,
}

impl Binding {
    /// Reads a binding from exactly its bytes.
    ///
    /// # Errors
    /// See [`BindingFault`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BindingFault> {
        let binding: Self = match parse_canonical(bytes) {
            Ok(binding) => binding,
            Err(fault) => return Err(Foreign::seen_in(bytes).unwrap_or(BindingFault::NotCanonical(fault))),
        };
        binding.check()?;
        Ok(binding)
    }

    /// What the types alone do not say.
    pub(crate) fn check(&self) -> Result<(), BindingFault> {
        if self.lots.is_empty() {
            return Err(BindingFault::NoLot);
        }
        if !(WRAPPED_KEY_BYTES_MIN..=WRAPPED_KEY_BYTES_MAX).contains(&self.wrapped_key.0.len()) {
            return Err(BindingFault::WrappedKeyLength);
        }
        Ok(())
    }

    /// The bytes that are stored and digested.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// The parts a bid with this binding has, in their order.
    pub fn parts(&self) -> impl Iterator<Item = PartName> + '_ {
        std::iter::once(PartName::Common).chain(self.lots.iter().copied().map(PartName::Lot))
    }
}

/// The context under which a part is encrypted: it ties the part to its binding and its name.
pub fn part_context(binding: &Digest, part: PartName) -> Digest {
    sha256_of(&[binding.as_bytes(), part.to_string().as_bytes()])
}

/// The fields in which a later writer may name what this reader does not know. Read only to give the right
/// reason for a refusal.
#[derive(Deserialize)]
struct Foreign {
    format: String,
    suite: String,
    wrap: String,
}

impl Foreign {
    fn seen_in(bytes: &[u8]) -> Option<BindingFault> {
        let seen: Foreign = serde_json::from_slice(bytes).ok()?;
        if !is_known::<BindingFormat>(&seen.format) {
            Some(BindingFault::UnknownVersion)
        } else if !is_known::<Suite>(&seen.suite) {
            Some(BindingFault::UnknownSuite)
        } else if !is_known::<WrapAlgorithm>(&seen.wrap) {
            Some(BindingFault::UnknownWrap)
        } else {
            None
        }
    }
}

fn is_known<'a, T: Deserialize<'a>>(name: &'a str) -> bool {
    let name: StrDeserializer<'a, serde::de::value::Error> = name.into_deserializer();
    T::deserialize(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Binding {
        Binding {
            format: BindingFormat::V1,
            project: "KX-00823".parse().unwrap(),
            supplier: "mingde".parse().unwrap(),
            lots: BTreeSet::from([LotNo::new(1).unwrap(), LotNo::new(2).unwrap()]),
            signing_certificate: Digest([1; 32]),
            encryption_certificate: Digest([2; 32]),
            opening_key: Digest([3; 32]),
            suite: Suite::Cobblestone256,
            wrap: WrapAlgorithm::RsaOaepSha256,
            wrapped_key: Blob(vec![9; 256]),
        }
    }

    /// What becomes of the sample binding when its text is changed.
    fn check(from: &str, to: &str, expected: BindingFault) {
        let text = String::from_utf8(sample().to_bytes()).unwrap();
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} does not occur");
        let found = Binding::parse(changed.as_bytes()).unwrap_err();
        let same_kind = std::mem::discriminant(&found) == std::mem::discriminant(&expected);
        assert!(same_kind, "{from} -> {to}: {found}");
    }

    #[test]
    fn a_binding_is_read_from_its_bytes() {
        assert_eq!(Binding::parse(&sample().to_bytes()).unwrap(), sample());
        let parts: Vec<String> = sample().parts().map(|part| part.to_string()).collect();
        assert_eq!(parts, ["common", "lot-001", "lot-002"]);
    }

    #[test]
    fn what_is_unknown_here_is_called_so() {
        check("kaibiao binding 1", "kaibiao binding 2", BindingFault::UnknownVersion);
        check("Cobblestone-256", "Cobblestone-512", BindingFault::UnknownSuite);
        check("RSA-OAEP-SHA256", "SM2", BindingFault::UnknownWrap);
    }

    #[test]
    fn a_binding_has_one_spelling_and_sane_content() {
        let spelling = BindingFault::NotCanonical(NotCanonical::OtherSpelling { at: 0 });
        let unreadable = BindingFault::NotCanonical(NotCanonical::Unreadable { line: 0, column: 0 });
        check("[1,2]", "[2,1]", spelling);
        check("[1,2]", "[1, 2]", spelling);
        check("[1,2]", "[1,2.0]", unreadable);
        check("\"lots\"", "\"lots\":[1,2],\"lots\"", unreadable);
        check("{\"format\"", "{\"more\":1,\"format\"", unreadable);
        check("[1,2]", "[]", BindingFault::NoLot);
        let key = serde_json::to_string(&Blob(vec![9; 256])).unwrap();
        check(&key, "\"\"", BindingFault::WrappedKeyLength);
    }
}
