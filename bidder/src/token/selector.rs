//! Naming one token among those plugged in.
//!
//! ```text
//! selector = [ vendor ":" ] [ field *( "," field ) ]      ; at least one of the two
//! field    = "label=" text | "serial=" text | "cert=" hex ; each at most once
//! text     = characters other than "," and "%", or "%" and two hexadecimal digits
//! hex      = 8 to 64 hexadecimal digits: the beginning of a certificate's SHA-256 fingerprint
//! ```
//!
//! `huixin:` is the only token of that vendor; `cert=1f0a33c2` is the token that holds the certificate.

use std::{fmt, str::FromStr};

use super::{TokenCertificate, TokenName, vendors};

/// What is asked of a token; everything named must fit.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Selector {
    vendor: Option<String>,
    label: Option<String>,
    serial: Option<String>,
    certificate: Option<String>,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASelector {
    /// Nothing is asked for.
    #[error("a token selector names a vendor (huixin:), or label=, serial= or cert=")]
    Empty,
    /// The vendor's name breaks its form.
    #[error("{0:?} is not a vendor's name")]
    Vendor(String),
    /// A field of another name.
    #[error("a token selector knows label=, serial= and cert=, not {0:?}")]
    Field(String),
    /// A field named twice, or without a value.
    #[error("{0}= stands once in a token selector and has a value")]
    Once(&'static str),
    /// A percent sign that escapes nothing.
    #[error("write , as %2C and % as %25 in a token selector")]
    Escape,
    /// No beginning of a fingerprint.
    #[error("cert= takes 8 to 64 hexadecimal digits of the certificate's SHA-256 fingerprint")]
    Fingerprint,
}

impl FromStr for Selector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        let mut selector = Self::default();
        // A colon in a value comes after an equals sign; one before it ends the vendor.
        let fields = match text.split_once(':') {
            Some((vendor, fields)) if !vendor.contains('=') => {
                if !vendors::is_name(vendor) {
                    return Err(NotASelector::Vendor(vendor.to_owned()));
                }
                selector.vendor = Some(vendor.to_owned());
                fields
            }
            _ => text,
        };
        for field in fields.split(',').filter(|_| !fields.is_empty()) {
            let (name, value) = field.split_once('=').ok_or_else(|| NotASelector::Field(field.to_owned()))?;
            let (name, place) = match name {
                "label" => ("label", &mut selector.label),
                "serial" => ("serial", &mut selector.serial),
                "cert" => ("cert", &mut selector.certificate),
                other => return Err(NotASelector::Field(other.to_owned())),
            };
            if place.is_some() || value.is_empty() {
                return Err(NotASelector::Once(name));
            }
            *place = Some(unescape(value)?);
        }
        if let Some(prefix) = &mut selector.certificate {
            if !(8..=64).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NotASelector::Fingerprint);
            }
            prefix.make_ascii_lowercase();
        }
        if selector == Self::default() { Err(NotASelector::Empty) } else { Ok(selector) }
    }
}

fn unescape(text: &str) -> Result<String, NotASelector> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().ok_or(NotASelector::Escape)?, rest.next().ok_or(NotASelector::Escape)?];
            let mut decoded = [0];
            hex::decode_to_slice(digits, &mut decoded).map_err(|_| NotASelector::Escape)?;
            bytes.push(decoded[0]);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| NotASelector::Escape)
}

fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(',', "%2C")
}

impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(vendor) = &self.vendor {
            write!(out, "{vendor}:")?;
        }
        let fields = [("label", &self.label), ("serial", &self.serial), ("cert", &self.certificate)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (at, (name, value)) in fields.enumerate() {
            write!(out, "{}{name}={}", if at > 0 { "," } else { "" }, escape(value))?;
        }
        Ok(())
    }
}

impl Selector {
    /// The selector that names exactly this token.
    pub fn naming(token: &TokenName) -> Self {
        Self {
            vendor: Some(token.vendor.clone()),
            label: Some(token.label.clone()).filter(|label| !label.is_empty()),
            serial: Some(token.serial.clone()).filter(|serial| !serial.is_empty()),
            certificate: None,
        }
    }

    /// Whether this vendor's module need be asked at all.
    pub(super) fn admits_vendor(&self, vendor: &str) -> bool {
        self.vendor.as_deref().is_none_or(|wanted| wanted == vendor)
    }

    /// Whether the token's name fits; certificates are judged by [`Selector::admits_certificates`].
    pub(super) fn admits_name(&self, token: &TokenName) -> bool {
        self.admits_vendor(&token.vendor)
            && self.label.as_ref().is_none_or(|wanted| *wanted == token.label)
            && self.serial.as_ref().is_none_or(|wanted| *wanted == token.serial)
    }

    /// Whether a certificate is asked for by its fingerprint.
    pub(super) fn asks_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Whether one of these certificates is the one asked for, if one is.
    pub(super) fn admits_certificates(&self, certificates: &[TokenCertificate]) -> bool {
        self.certificate.as_ref().is_none_or(|prefix| {
            certificates.iter().any(|certificate| certificate.fingerprint.to_string().starts_with(prefix))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_written_as_it_is_read() {
        for text in [
            "huixin:",
            "huixin:label=kp-01",
            "label=a,serial=b",
            "cert=0011aabb",
            "label=a%2Cb%25",
            "label=a:b",
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_selector_that_could_mean_two_things_is_refused() {
        for bad in [
            "",
            ",",
            ":label=a",
            "label",
            "label=",
            "label=a,label=b",
            "slot=3",
            "cert=12",
            "cert=xyzxyzxy",
            "label=%",
            "Huixin:label=a",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn everything_named_must_fit() {
        let token = TokenName { vendor: "huixin".into(), label: "a,b".into(), serial: "07".into() };
        let fits = |text: &str| text.parse::<Selector>().unwrap().admits_name(&token);
        assert!(fits("huixin:") && fits("label=a%2Cb") && fits("huixin:label=a%2Cb,serial=07"));
        assert!(!fits("tiangu:") && !fits("label=a") && !fits("huixin:label=a%2Cb,serial=08"));
        assert!(Selector::naming(&token).admits_name(&token));
    }
}
