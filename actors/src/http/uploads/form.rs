//! The form that comes with a sealed bid (E1): who hands in, and how to reach them. All faults are named at once.

use jiff::{Timestamp, civil::Date};
use kaibiao_protocol::moment::Moment;
use kaibiao_sealed::strict_json::to_canonical;
use serde::Serialize;
use zeroize::{Zeroize, Zeroizing};

/// The longest name, in characters.
pub const NAME_CHARS_MAX: usize = 50;
/// The longest address, in characters.
pub const ADDRESS_CHARS_MAX: usize = 30;

/// The fields as they were sent; wiped when dropped, never logged.
#[derive(Default, Zeroize)]
#[zeroize(drop)]
pub struct ContactFields {
    /// Legal or authorised representative.
    pub name: Option<String>,
    /// Resident identity number.
    pub id_number: Option<String>,
    /// Mobile number.
    pub mobile: Option<String>,
    /// Postcode.
    pub postcode: Option<String>,
    /// Address.
    pub address: Option<String>,
}

/// One field's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct FieldFault {
    /// The field, as it is named in `Upload-Metadata`.
    pub field: &'static str,
    /// What it must be, in Chinese.
    pub zh: &'static str,
    /// The same in English.
    pub en: &'static str,
}

const NAME: FieldFault = FieldFault {
    field: "name",
    zh: "法定代表人或授权代表姓名:必填,1 至 50 个字,不含控制字符",
    en: "name of the legal or authorised representative: required, 1 to 50 characters, no control characters",
};
const ID_NUMBER: FieldFault = FieldFault {
    field: "id_number",
    zh: "身份证号:必填,18 位,出生日期和校验码须正确 (GB 11643)",
    en: "identity number: required, 18 characters, with a true date of birth and check digit (GB 11643)",
};
const MOBILE: FieldFault = FieldFault {
    field: "mobile",
    zh: "手机号:必填,11 位数字,以 13 至 19 开头",
    en: "mobile number: required, 11 digits beginning with 13 to 19",
};
const POSTCODE: FieldFault =
    FieldFault { field: "postcode", zh: "邮编:必填,6 位数字", en: "postcode: required, 6 digits" };
const ADDRESS: FieldFault = FieldFault {
    field: "address",
    zh: "地址:必填,1 至 30 个字,不含控制字符",
    en: "address: required, 1 to 30 characters, no control characters",
};

impl ContactFields {
    /// The form as canonical JSON, the form in which it is kept; or every fault of it.
    ///
    /// # Errors
    /// Each field that is missing or malformed, in the order of the form.
    pub fn check(&self, at: Moment) -> Result<Zeroizing<Vec<u8>>, Vec<FieldFault>> {
        let holds: [(&Option<String>, FieldFault, Rule<'_>); 5] = [
            (&self.name, NAME, &|text| is_line(text, NAME_CHARS_MAX)),
            (&self.id_number, ID_NUMBER, &|text| is_id_number(text, at)),
            (&self.mobile, MOBILE, &is_mobile),
            (&self.postcode, POSTCODE, &|text| text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit())),
            (&self.address, ADDRESS, &|text| is_line(text, ADDRESS_CHARS_MAX)),
        ];
        let faults: Vec<_> = holds
            .into_iter()
            .filter(|(text, _, fits)| !text.as_deref().is_some_and(fits))
            .map(|(_, fault, _)| fault)
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        #[derive(Serialize)]
        struct Kept<'a> {
            name: &'a str,
            id_number: &'a str,
            mobile: &'a str,
            postcode: &'a str,
            address: &'a str,
        }
        let text = |field: &'static str, text: &'_ Option<String>| -> Zeroizing<String> {
            let text = text.as_deref().expect("a field without a fault is there");
            // An X may be typed small; the number is one and the same.
            Zeroizing::new(if field == "id_number" { text.to_ascii_uppercase() } else { text.to_owned() })
        };
        let (name, id_number) = (text("name", &self.name), text("id_number", &self.id_number));
        let (mobile, postcode) = (text("mobile", &self.mobile), text("postcode", &self.postcode));
        let address = text("address", &self.address);
        Ok(Zeroizing::new(to_canonical(&Kept {
            name: &name,
            id_number: &id_number,
            mobile: &mobile,
            postcode: &postcode,
            address: &address,
        })))
    }
}

/// What a field's text must be.
type Rule<'a> = &'a dyn Fn(&str) -> bool;

fn is_line(text: &str, chars_max: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= chars_max && !text.chars().any(char::is_control)
}

fn is_mobile(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11
        && bytes.iter().all(u8::is_ascii_digit)
        && bytes[0] == b'1'
        && (b'3'..=b'9').contains(&bytes[1])
}

/// GB 11643-1999: region, date of birth, sequence, check character (ISO 7064 MOD 11-2).
fn is_id_number(text: &str, at: Moment) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 18 || !bytes[..17].iter().all(u8::is_ascii_digit) {
        return false;
    }
    // Provinces are numbered 11 to 82, foreigners with permanent residence 9x.
    let region = &bytes[..2];
    if region < b"11".as_slice() || (region > b"82".as_slice() && region[0] != b'9') {
        return false;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<i16>().unwrap_or(0);
    let (month, day) = (number(10..12) as i8, number(12..14) as i8);
    let Ok(born) = Date::new(number(6..10), month, day) else { return false };
    let today = Timestamp::from_microsecond(at.0).map(|now| now.in_tz("Asia/Shanghai").map(|now| now.date()));
    if born.year() < 1900 || !matches!(today, Ok(Ok(today)) if born <= today) {
        return false;
    }
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = bytes.iter().zip(WEIGHTS).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    b"10X98765432"[sum as usize % 11] == bytes[17].to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2027-01-15.
    const NOW: Moment = Moment(1_800_000_000_000_000);

    fn good() -> ContactFields {
        ContactFields {
            name: Some("王明德".into()),
            id_number: Some("11010519491231002X".into()),
            mobile: Some("18800010014".into()),
            postcode: Some("010000".into()),
            address: Some("四川省成都市武侯区".into()),
        }
    }

    /// The good form with one change.
    fn but(change: impl FnOnce(&mut ContactFields)) -> ContactFields {
        let mut fields = good();
        change(&mut fields);
        fields
    }

    fn faults(fields: &ContactFields) -> Vec<&'static str> {
        fields.check(NOW).err().unwrap_or_default().iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_whole_form_is_kept_as_canonical_json() {
        let kept = good().check(NOW).unwrap();
        assert_eq!(
            std::str::from_utf8(&kept).unwrap(),
            r#"{"name":"王明德","id_number":"11010519491231002X","mobile":"18800010014","postcode":"010000","address":"四川省成都市武侯区"}"#
        );
        let small = but(|fields| fields.id_number = Some("11010519491231002x".into()));
        assert_eq!(*small.check(NOW).unwrap(), *kept);
    }

    #[test]
    fn all_faults_are_named_at_once_in_the_order_of_the_form() {
        assert_eq!(faults(&ContactFields::default()), ["name", "id_number", "mobile", "postcode", "address"]);
        let some = but(|fields| {
            fields.name = Some("  ".into());
            fields.mobile = Some("12800010014".into());
            fields.address = Some("路".repeat(31));
        });
        assert_eq!(faults(&some), ["name", "mobile", "address"]);
        assert!(faults(&but(|fields| fields.address = Some("路".repeat(30)))).is_empty());
    }

    #[test]
    fn an_identity_number_needs_its_check_character_and_a_true_date() {
        for (number, holds) in [
            ("11010519491231002X", true),
            ("440524188001010014", false), // born before 1900
            ("34052419800101001X", true),
            ("340524198001010010", false), // wrong check character
            ("11010519490231002X", false), // 31 February
            ("11010519491331002X", false),
            ("01010519491231002X", false),
            ("1101051949123100", false),
            ("1101051949123100２X", false),
            ("", false),
        ] {
            assert_eq!(is_id_number(number, NOW), holds, "{number}");
        }
    }

    #[test]
    fn nobody_is_born_after_today() {
        let born = Moment(-631_238_400_000_000); // 1949-12-31
        assert!(is_id_number("11010519491231002X", born));
        assert!(!is_id_number("11010519491231002X", born.plus_ms(-86_400_000)));
    }

    #[test]
    fn digits_are_ascii_and_lines_hold_no_control_characters() {
        for fields in [
            but(|fields| fields.mobile = Some("188000100１4".into())),
            but(|fields| fields.postcode = Some("０10000".into())),
            but(|fields| fields.name = Some("王\n明德".into())),
            but(|fields| fields.address = Some("成都\u{7f}".into())),
        ] {
            assert_eq!(faults(&fields).len(), 1);
        }
    }
}
