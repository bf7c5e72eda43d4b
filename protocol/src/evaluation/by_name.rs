//! Maps by name that have each name once.

use std::{borrow::Cow, collections::BTreeMap, fmt, marker::PhantomData, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, Visitor},
};

/// A map by name. Read from JSON, a name that stands twice is refused: with an ordinary map the later one would
/// silently win.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByName<T>(pub BTreeMap<String, T>);

impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Deref for ByName<T> {
    type Target = BTreeMap<String, T>;

    fn deref(&self) -> &BTreeMap<String, T> {
        &self.0
    }
}

impl<T: Serialize> Serialize for ByName<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(out)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ByName<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Reader<T> {
    type Value = ByName<T>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with each name once")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ByName<T>, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((name, value)) = entries.next_entry::<String, T>()? {
            if map.contains_key(&name) {
                return Err(de::Error::custom(format_args!("`{name}` stands twice")));
            }
            map.insert(name, value);
        }
        Ok(ByName(map))
    }
}

impl<T: JsonSchema> JsonSchema for ByName<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("By_name_of_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        type Sheets = ByName<ByName<u8>>;
        assert!(serde_json::from_str::<Sheets>(r#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
        for twice in [r#"{"a":{},"a":{}}"#, r#"{"a":{"b":1,"b":1}}"#, r#"{"a":{"b":1,"\u0062":1}}"#] {
            let told = serde_json::from_str::<Sheets>(twice).unwrap_err().to_string();
            assert!(told.contains("stands twice"), "{told}");
        }
    }
}
