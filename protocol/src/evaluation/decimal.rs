//! Scores, weights and quantities: decimals with up to four places, exact.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A decimal of at most four places, not negative. In files it is a string of ASCII digits (`"8.5"`, `"30"`,
/// `"0.3333"`): no float, no sign, no separator, no exponent.
///
/// It is written back with at least two places (`"8.50"`), and with more only where they are not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal(i64);

/// Ten-thousandths in one.
pub const SCALE: i64 = 10_000;
/// The largest decimal, in ten-thousandths: 999,999,999.9999.
pub const DECIMAL_MAX: i64 = 9_999_999_999_999;

impl Decimal {
    /// Nought.
    pub const ZERO: Decimal = Decimal(0);

    /// This many ten-thousandths; `None` if negative or above [`DECIMAL_MAX`].
    pub fn new(ten_thousandths: i64) -> Option<Self> {
        (0..=DECIMAL_MAX).contains(&ten_thousandths).then_some(Self(ten_thousandths))
    }

    /// In ten-thousandths.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// The text is not a decimal of this form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotADecimal;

impl fmt::Display for NotADecimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "a score, weight or quantity is ASCII digits with at most four decimals, such as 8.5: \
             no sign, no separators, at most 999999999.9999",
        )
    }
}

impl std::error::Error for NotADecimal {}

impl FromStr for Decimal {
    type Err = NotADecimal;

    fn from_str(text: &str) -> Result<Self, NotADecimal> {
        let (whole, places) = match text.split_once('.') {
            Some((_, "")) => return Err(NotADecimal),
            Some(parts) => parts,
            None => (text, ""),
        };
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || whole.len() > 9 || places.len() > 4 || leading_zero {
            return Err(NotADecimal);
        }
        if !digits(whole) || !digits(places) {
            return Err(NotADecimal);
        }
        let whole: i64 = whole.parse().map_err(|_| NotADecimal)?;
        let places: i64 = format!("{places:0<4}").parse().map_err(|_| NotADecimal)?;
        Self::new(whole * SCALE + places).ok_or(NotADecimal)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, places) = (self.0 / SCALE, self.0 % SCALE);
        match places % 100 {
            0 => write!(out, "{whole}.{:02}", places / 100),
            last if last % 10 == 0 => write!(out, "{whole}.{:03}", places / 10),
            _ => write!(out, "{whole}.{places:04}"),
        }
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Decimal {
    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,8})(\\.[0-9]{1,4})?$",
            "description": "A decimal with at most four places, such as 8.5."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_read_exactly_and_written_with_two_places_or_as_many_as_it_needs() {
        for (text, value, shown) in [
            ("0", 0, "0.00"),
            ("8.5", 85_000, "8.50"),
            ("8.50", 85_000, "8.50"),
            ("0.3333", 3_333, "0.3333"),
            ("0.125", 1_250, "0.125"),
            ("999999999.9999", DECIMAL_MAX, "999999999.9999"),
        ] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(decimal.get(), value, "{text}");
            assert_eq!(decimal.to_string(), shown, "{text}");
        }
        for bad in ["", ".", "1.", ".5", "-1", "+1", "1e2", "01", "1.00000", "1,0", "１", "1000000000", " 1"]
        {
            assert!(bad.parse::<Decimal>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_decimal_is_never_a_json_number() {
        assert!(serde_json::from_str::<Decimal>("8.5").is_err());
        assert_eq!(serde_json::from_str::<Decimal>("\"8.5\"").unwrap(), Decimal::new(85_000).unwrap());
    }
}
