//! Maps and sets in which nothing stands twice.
//!
//! A reader that lets the last of two win makes one text of two meanings: what people were shown and what a program
//! believes would differ. Struct fields are refused when doubled anyway; these do the same for what serde collects.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    marker::PhantomData,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Reads a map; a key that stands twice is refused.
///
/// # Errors
/// What the input says, or a key twice.
pub fn map<'de, D, K, V>(input: D) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
{
    input.deserialize_map(MapOnce(PhantomData))
}

/// Reads a set; a value that stands twice is refused.
///
/// # Errors
/// What the input says, or a value twice.
pub fn set<'de, D, T>(input: D) -> Result<BTreeSet<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    input.deserialize_seq(SetOnce(PhantomData))
}

/// Reads a set that may be absent; a value that stands twice is refused.
///
/// # Errors
/// What the input says, or a value twice.
pub fn optional_set<'de, D, T>(input: D) -> Result<Option<BTreeSet<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Ord,
{
    struct Once<T>(BTreeSet<T>);
    impl<'de, T: Deserialize<'de> + Ord> Deserialize<'de> for Once<T> {
        fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
            set(input).map(Once)
        }
    }
    Ok(Option::<Once<T>>::deserialize(input)?.map(|found| found.0))
}

struct MapOnce<K, V>(PhantomData<(K, V)>);

impl<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for MapOnce<K, V> {
    type Value = BTreeMap<K, V>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a map without a key twice")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = input.next_entry()? {
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key stands twice"));
            }
        }
        Ok(map)
    }
}

struct SetOnce<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Ord> Visitor<'de> for SetOnce<T> {
    type Value = BTreeSet<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list without a value twice")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Self::Value, A::Error> {
        let mut set = BTreeSet::new();
        while let Some(value) = input.next_element()? {
            if !set.insert(value) {
                return Err(A::Error::custom("a value stands twice"));
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sample {
        #[serde(deserialize_with = "map")]
        map: BTreeMap<u8, u8>,
        #[serde(deserialize_with = "set")]
        set: BTreeSet<u8>,
        #[serde(default, deserialize_with = "optional_set")]
        may: Option<BTreeSet<u8>>,
    }

    #[test]
    fn nothing_stands_twice() {
        let read = |text: &str| serde_json::from_str::<Sample>(text);
        let good = read(r#"{"map":{"1":1,"2":1},"set":[2,1]}"#).unwrap();
        assert_eq!((good.map.len(), good.set.len(), good.may), (2, 2, None));
        assert_eq!(read(r#"{"map":{},"set":[],"may":[3]}"#).unwrap().may, Some(BTreeSet::from([3])));
        assert_eq!(read(r#"{"map":{},"set":[],"may":null}"#).unwrap().may, None);
        for bad in [
            r#"{"map":{"1":1,"1":1},"set":[]}"#,
            r#"{"map":{},"set":[1,1]}"#,
            r#"{"map":{},"set":[],"may":[1,1]}"#,
        ] {
            assert!(read(bad).unwrap_err().to_string().contains("twice"), "{bad}");
        }
    }
}
