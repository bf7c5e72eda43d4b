//! JSON with one spelling.
//!
//! Whatever is signed or chained is a byte string; a text that could be read in two ways, or written in two ways,
//! would be two things under one name. So a document of our formats is the compact JSON of its type, fields in
//! the order of their declaration, and a reader accepts nothing that it would not have written itself. That one
//! comparison refuses duplicate keys, unknown and missing fields, floats, spaces, other escapes, another order
//! of a set or map, and bytes behind the end.

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are not the canonical JSON of a type. Names places, never content: the text may be a sealed price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCanonical {
    /// Not JSON, or not JSON of this type.
    #[error("not the JSON expected, at line {line} column {column}")]
    Unreadable {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// The right content in another spelling: a duplicate key, a space, another order, another escape.
    #[error("not in its one spelling, from byte {at} on")]
    OtherSpelling {
        /// The first byte that differs from the canonical spelling.
        at: usize,
    },
}

/// Reads canonical JSON.
///
/// # Errors
/// The bytes are not JSON of this type, or not in its one spelling.
pub fn parse_canonical<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, NotCanonical> {
    let value: T = serde_json::from_slice(bytes)
        .map_err(|fault| NotCanonical::Unreadable { line: fault.line(), column: fault.column() })?;
    let canonical = to_canonical(&value);
    if canonical == bytes {
        return Ok(value);
    }
    let common = canonical.iter().zip(bytes).take_while(|(ours, theirs)| ours == theirs).count();
    Err(NotCanonical::OtherSpelling { at: common })
}

/// The canonical JSON of a value: compact, fields as declared, UTF-8, no end of line.
pub fn to_canonical<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("the types of our formats have texts as keys and no failing fields")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        lots: BTreeSet<u16>,
        notes: BTreeMap<String, u64>,
    }

    const GOOD: &str = r#"{"name":"明德","lots":[1,2],"notes":{"a":1,"b":2}}"#;

    #[test]
    fn a_value_is_read_from_the_bytes_it_is_written_as() {
        let value: Sample = parse_canonical(GOOD.as_bytes()).unwrap();
        assert_eq!(to_canonical(&value), GOOD.as_bytes());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for bad in [
            r#"{"name":"明德","lots":[1,2],"notes":{"a":1,"b":2}} "#,
            r#"{"name":"明德","lots":[1,2],"notes":{"a":1,"b":2}}{}"#,
            r#"{ "name":"明德","lots":[1,2],"notes":{"a":1,"b":2}}"#,
            r#"{"lots":[1,2],"name":"明德","notes":{"a":1,"b":2}}"#,
            r#"{"name":"明德","name":"明德","lots":[1,2],"notes":{"a":1,"b":2}}"#,
            r#"{"name":"明德","lots":[2,1],"notes":{"a":1,"b":2}}"#,
            r#"{"name":"明德","lots":[1,1,2],"notes":{"a":1,"b":2}}"#,
            r#"{"name":"明德","lots":[1,2],"notes":{"a":7,"a":1,"b":2}}"#,
            r#"{"name":"明德","lots":[1,2],"notes":{"b":2,"a":1}}"#,
            r#"{"name":"明德","lots":[1,2.0],"notes":{"a":1,"b":2}}"#,
            r#"{"name":"明德","lots":[1,2],"notes":{"a":1e0,"b":2}}"#,
            r#"{"name":"明德","lots":[1,2],"notes":{"a":-0,"b":2}}"#,
            r#"{"name":"\u660e德","lots":[1,2],"notes":{"a":1,"b":2}}"#,
            r#"{"name":"明德","lots":[1,2],"notes":{"a":1,"b":2},"more":0}"#,
            r#"{"name":"明德","lots":[1,2]}"#,
            "",
        ] {
            assert!(parse_canonical::<Sample>(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_tells_where_and_not_what() {
        let fault = parse_canonical::<Sample>(br#"{"name":4711}"#).unwrap_err();
        assert!(!fault.to_string().contains("4711"));
        let fault = parse_canonical::<Sample>(GOOD.replace("[1,2]", "[2,1]").as_bytes()).unwrap_err();
        assert_eq!(fault, NotCanonical::OtherSpelling { at: GOOD.find("1,2").unwrap() });
    }
}
