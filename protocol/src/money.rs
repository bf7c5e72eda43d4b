//! Amounts, exact to the fen (0.01 yuan).

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount in fen. On the wire and in files it is a string in yuan with exactly two decimals
/// (`"1234.50"`): one spelling, no float, no thousands separator, no unit that could be misread.
///
/// Between 0 and [`FEN_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fen(i64);

/// The largest amount: 10 trillion yuan less a fen, far above any tender and far below overflow.
pub const FEN_MAX: i64 = 999_999_999_999_999;

impl Fen {
    /// This many fen; `None` if negative or above [`FEN_MAX`].
    pub fn new(fen: i64) -> Option<Self> {
        (0..=FEN_MAX).contains(&fen).then_some(Self(fen))
    }

    /// The amount in fen.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// The text is not an amount in yuan with two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnAmount;

impl fmt::Display for NotAnAmount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(
            "an amount is yuan with exactly two decimals in ASCII digits, such as 1234.50: \
             no separators, no sign, no 万元, at most 9999999999999.99",
        )
    }
}

impl std::error::Error for NotAnAmount {}

impl FromStr for Fen {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let (yuan, cents) = text.split_once('.').ok_or(NotAnAmount)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let leading_zero = yuan.len() > 1 && yuan.starts_with('0');
        if !digits(yuan) || !digits(cents) || cents.len() != 2 || yuan.len() > 13 || leading_zero {
            return Err(NotAnAmount);
        }
        let yuan: i64 = yuan.parse().map_err(|_| NotAnAmount)?;
        let cents: i64 = cents.parse().map_err(|_| NotAnAmount)?;
        Self::new(yuan * 100 + cents).ok_or(NotAnAmount)
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Debug for Fen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self} yuan")
    }
}

impl Serialize for Fen {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fen {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Fen {
    fn schema_name() -> Cow<'static, str> {
        "Fen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,12})\\.[0-9]{2}$",
            "description": "An amount in yuan with exactly two decimals, such as 1234.50."
        })
    }
}

/// A ratio in hundredths of a percent: `Rate(9_550)` is 95.50 %. Written as percent with two
/// decimals (`"95.50"`), between 0 and [`RATE_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i32);

/// The largest rate: 10,000.00 %.
pub const RATE_MAX: i32 = 1_000_000;

impl Rate {
    /// This many hundredths of a percent; `None` if negative or above [`RATE_MAX`].
    pub fn new(hundredths: i32) -> Option<Self> {
        (0..=RATE_MAX).contains(&hundredths).then_some(Self(hundredths))
    }

    /// The rate in hundredths of a percent.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl FromStr for Rate {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let amount: Fen = text.parse()?;
        i32::try_from(amount.get()).ok().and_then(Self::new).ok_or(NotAnAmount)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self} %")
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(input)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(0|[1-9][0-9]{0,4})\\.[0-9]{2}$",
            "description": "A rate in percent with exactly two decimals, such as 95.50."
        })
    }
}

/// What a tender asks bidders to quote (最终报价).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceKind {
    /// One amount for the whole lot.
    Total,
    /// An amount for one unit.
    UnitPrice,
    /// A percentage, such as a discount or a fee rate.
    Rate,
}

/// What one bidder quoted for one lot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case", deny_unknown_fields)]
pub enum Price {
    /// One amount for the whole lot, in yuan.
    Total(Fen),
    /// An amount for one unit, in yuan.
    UnitPrice(Fen),
    /// A percentage.
    Rate(Rate),
}

impl Price {
    /// Which kind of quotation this is.
    pub fn kind(&self) -> PriceKind {
        match self {
            Price::Total(_) => PriceKind::Total,
            Price::UnitPrice(_) => PriceKind::UnitPrice,
            Price::Rate(_) => PriceKind::Rate,
        }
    }
}

impl fmt::Display for Price {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Price::Total(fen) | Price::UnitPrice(fen) => fmt::Display::fmt(fen, out),
            Price::Rate(rate) => fmt::Display::fmt(rate, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_one_spelling() {
        for (text, fen) in [("0.00", 0), ("0.01", 1), ("1234.50", 123_450), ("9999999999999.99", FEN_MAX)] {
            let amount: Fen = text.parse().unwrap();
            assert_eq!(amount.get(), fen);
            assert_eq!(amount.to_string(), text);
        }
        for bad in [
            "",
            "1",
            "1.5",
            "1,234.50",
            "-1.00",
            "+1.00",
            "01.00",
            "1.234",
            "１.00",
            "1.00 ",
            "10000000000000.00",
            "1万.00",
        ] {
            assert!(bad.parse::<Fen>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_amount_is_never_a_json_number() {
        assert!(serde_json::from_str::<Fen>("12.00").is_err());
        assert_eq!(serde_json::from_str::<Fen>("\"12.00\"").unwrap(), Fen::new(1200).unwrap());
    }

    #[test]
    fn a_price_says_its_kind() {
        let price = Price::Rate("95.50".parse().unwrap());
        assert_eq!(serde_json::to_string(&price).unwrap(), r#"{"kind":"rate","value":"95.50"}"#);
    }
}
