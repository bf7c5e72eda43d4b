//! Names of things. Each kind of name is a type of its own, so none can stand for another.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::write_hex;

/// Why a text is not a name of the kind asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId {
    /// What the text should have been.
    pub kind: &'static str,
    /// How such a name is formed.
    pub form: &'static str,
}

impl fmt::Display for NotAnId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "not a {}: expected {}", self.kind, self.form)
    }
}

impl std::error::Error for NotAnId {}

/// The most characters a given name ([`ProjectId`], [`OrganisationId`], [`UserId`]) may have.
pub const NAME_CHARS_MAX: usize = 64;

const NAME_FORM: &str = "1 to 64 of A-Z a-z 0-9 . _ - beginning with a letter or digit";
const NAME_PATTERN: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const OPAQUE_FORM: &str = "32 lower-case hexadecimal digits";
const OPAQUE_PATTERN: &str = "^[0-9a-f]{32}$";

fn is_name(text: &str) -> bool {
    let first = text.bytes().next();
    text.len() <= NAME_CHARS_MAX
        && first.is_some_and(|b| b.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! text_serde {
    ($name:ident, $pattern:expr, $about:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(input)?;
                text.parse().map_err(de::Error::custom)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, out)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $about })
            }
        }
    };
}

macro_rules! given_name {
    ($(#[doc = $about:literal])+ $name:ident) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NotAnId { kind: stringify!($name), form: NAME_FORM })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        text_serde!($name, NAME_PATTERN, concat!($($about),+));
    };
}

macro_rules! opaque_id {
    ($(#[doc = $about:literal])+ $name:ident) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                let fault = NotAnId { kind: stringify!($name), form: OPAQUE_FORM };
                if text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return Err(fault);
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| fault)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 32];
                write_hex(&self.0, &mut text, out)
            }
        }

        text_serde!($name, OPAQUE_PATTERN, concat!($($about),+));
    };
}

given_name! {
    /// A procurement project's number (项目编号), such as `KX-00823`.
    ProjectId
}
given_name! {
    /// An organisation: supplier, purchaser, agency, expert pool, supervisor or the platform.
    OrganisationId
}
given_name! {
    /// A person's account.
    UserId
}
opaque_id! {
    /// One bid handed in; drawn at random when its upload begins, so that it tells nothing.
    BidId
}
opaque_id! {
    /// One upload; the same upload always gets the same receipt.
    UploadId
}
opaque_id! {
    /// One stored file; drawn at random.
    FileId
}
opaque_id! {
    /// One command as its sender named it; a command sent again under its id gets its first answer.
    CommandId
}

/// A lot's number (标项) within its project: 1 to 999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct LotNo(#[schemars(range(min = 1, max = 999))] u16);

/// The largest lot number.
pub const LOT_NO_MAX: u16 = 999;

impl LotNo {
    /// The lot with this number; `None` outside 1 to 999.
    pub fn new(number: u16) -> Option<Self> {
        (1..=LOT_NO_MAX).contains(&number).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

const LOT_FORM: &str = "a whole number from 1 to 999";

impl FromStr for LotNo {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let fault = NotAnId { kind: "LotNo", form: LOT_FORM };
        if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(fault);
        }
        text.parse().ok().and_then(Self::new).ok_or(fault)
    }
}

impl fmt::Display for LotNo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl fmt::Debug for LotNo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, out)
    }
}

impl<'de> Deserialize<'de> for LotNo {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        // A value is a number, a map's key a string; inside a tagged enum serde hands both over as
        // buffered content, so the visitor must take either.
        input.deserialize_any(LotNoVisitor)
    }
}

struct LotNoVisitor;

impl de::Visitor<'_> for LotNoVisitor {
    type Value = LotNo;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(LOT_FORM)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<LotNo, E> {
        u16::try_from(number)
            .ok()
            .and_then(LotNo::new)
            .ok_or_else(|| E::custom(NotAnId { kind: "LotNo", form: LOT_FORM }))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<LotNo, E> {
        self.visit_u64(u64::try_from(number).unwrap_or(0))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<LotNo, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_is_ascii_without_path_or_space() {
        for good in ["KX-00823", "a", "kp.4_1204", &"x".repeat(64)] {
            assert!(good.parse::<ProjectId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "项目", "a\0", &"x".repeat(65)] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_opaque_id_has_one_spelling() {
        let id = BidId([0xab; 16]);
        assert_eq!(id.to_string().parse::<BidId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<BidId>().is_err());
        assert!("ab".parse::<BidId>().is_err());
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Lots { lots: BTreeMap<LotNo, LotNo> },
    }

    #[test]
    fn a_lot_number_is_a_key_inside_a_tagged_enum() {
        let lots = Tagged::Lots { lots: BTreeMap::from([(LotNo::new(2).unwrap(), LotNo::new(7).unwrap())]) };
        let text = serde_json::to_string(&lots).unwrap();
        assert_eq!(serde_json::from_str::<Tagged>(&text).unwrap(), lots);
    }

    #[test]
    fn a_lot_number_is_a_value_and_a_key() {
        let lots: BTreeMap<LotNo, u8> = serde_json::from_str(r#"{"2":1}"#).unwrap();
        assert_eq!(serde_json::to_string(&lots).unwrap(), r#"{"2":1}"#);
        assert!(serde_json::from_str::<LotNo>("0").is_err());
        assert!(serde_json::from_str::<LotNo>("1000").is_err());
        assert!("01".parse::<LotNo>().is_err());
    }
}
