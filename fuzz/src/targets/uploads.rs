//! What comes with an upload.

use kaibiao_actors::{
    http::uploads::{ADDRESS_CHARS_MAX, ContactFields, METADATA_BYTES_MAX, NAME_CHARS_MAX},
    inlets,
};
use kaibiao_protocol::moment::Moment;

use super::has_one_spelling;

/// 2027-01-15.
const NOW: Moment = Moment(1_800_000_000_000_000);

/// `Upload-Metadata`.
pub(crate) fn metadata(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    match inlets::metadata(header) {
        Ok(metadata) => {
            assert!(data.len() <= METADATA_BYTES_MAX);
            check(&metadata.contact);
        }
        // What is said of it repeats no value, and nothing odd.
        Err(why) => assert!(why.len() <= 200 && !why.chars().any(char::is_control), "{why}"),
    }
}

/// The contact form: five fields, a line each.
pub(crate) fn contact_form(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut fields = text.splitn(5, '\u{1}').map(str::to_owned);
    let mut next = || fields.next();
    let form =
        ContactFields { name: next(), id_number: next(), mobile: next(), postcode: next(), address: next() };
    check(&form);
}

fn check(form: &ContactFields) {
    match form.check(NOW) {
        Err(faults) => {
            let order = ["name", "id_number", "mobile", "postcode", "address"];
            assert!(!faults.is_empty());
            let places: Vec<_> =
                faults.iter().map(|fault| order.iter().position(|one| *one == fault.field)).collect();
            assert!(places.is_sorted() && !places.contains(&None), "in the order of the form");
        }
        Ok(kept) => {
            has_one_spelling(&kept);
            let (name, address) = (form.name.as_deref().unwrap_or(""), form.address.as_deref().unwrap_or(""));
            assert!((1..=NAME_CHARS_MAX).contains(&name.chars().count()));
            assert!((1..=ADDRESS_CHARS_MAX).contains(&address.chars().count()));
            let digits = |text: &Option<String>, len: usize| {
                text.as_ref()
                    .is_some_and(|text| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit()))
            };
            assert!(digits(&form.mobile, 11) && digits(&form.postcode, 6));
            assert!(form.id_number.as_ref().is_some_and(|number| number.len() == 18));
        }
    }
}
