//! `Upload-Metadata` of tus: names and base64 values, `name 546L,id_number MTEw...`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_protocol::ids::{BidId, UploadId};
use zeroize::Zeroizing;

use super::form::ContactFields;
use crate::messages::UploadPurpose;

/// The most bytes of the header.
pub const METADATA_BYTES_MAX: usize = 4_096;

/// What a client says of an upload when it begins it.
#[derive(Default)]
pub struct Metadata {
    /// The id it chose; none: the server draws one.
    pub upload: Option<UploadId>,
    /// What it is for; a sealed bid where nothing is said.
    pub purpose: Option<UploadPurpose>,
    /// The damaged bid, where it restores one.
    pub bid: Option<BidId>,
    /// The contact form.
    pub contact: ContactFields,
}

/// Reads the header. Unknown names are refused, save those that every tus client sends (`filename`, `filetype`).
///
/// # Errors
/// What is wrong, and where; never a value.
pub(crate) fn read(header: &str) -> Result<Metadata, String> {
    if header.len() > METADATA_BYTES_MAX {
        return Err(format!("Upload-Metadata: longer than {METADATA_BYTES_MAX} bytes"));
    }
    let mut metadata = Metadata::default();
    let mut seen = Vec::new();
    for pair in header.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if seen.contains(&name) {
            return Err(format!("Upload-Metadata: {} stands there twice", shown(name)));
        }
        seen.push(name);
        let bytes = Zeroizing::new(
            STANDARD
                .decode(value.trim())
                .map_err(|_| format!("Upload-Metadata: {} is not base64", shown(name)))?,
        );
        let text = Zeroizing::new(
            std::str::from_utf8(&bytes)
                .map_err(|_| format!("Upload-Metadata: {} is not UTF-8", shown(name)))?
                .to_owned(),
        );
        let contact = &mut metadata.contact;
        match name {
            "upload" => metadata.upload = Some(text.parse().map_err(|fault| format!("upload: {fault}"))?),
            "bid" => metadata.bid = Some(text.parse().map_err(|fault| format!("bid: {fault}"))?),
            "purpose" => {
                metadata.purpose = Some(match text.as_str() {
                    "bid" => UploadPurpose::Bid,
                    "restore" => UploadPurpose::Restore,
                    _ => return Err("purpose: either bid or restore".to_owned()),
                });
            }
            "name" => contact.name = Some(text.to_string()),
            "id_number" => contact.id_number = Some(text.to_string()),
            "mobile" => contact.mobile = Some(text.to_string()),
            "postcode" => contact.postcode = Some(text.to_string()),
            "address" => contact.address = Some(text.to_string()),
            "filename" | "filetype" => {}
            _ => return Err(format!("Upload-Metadata: unknown name {}", shown(name))),
        }
    }
    Ok(metadata)
}

/// A name as it may be repeated: short and without anything odd.
fn shown(name: &str) -> String {
    name.chars().filter(|letter| letter.is_ascii_graphic()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, value: &str) -> String {
        format!("{name} {}", STANDARD.encode(value))
    }

    #[test]
    fn names_and_values_are_read_in_any_order() {
        let header = [
            pair("purpose", "bid"),
            pair("name", "王明德"),
            pair("upload", &"ab".repeat(16)),
            pair("filename", "明德.jmbs"),
            pair("mobile", "18800010014"),
        ]
        .join(", ");
        let read = read(&header).unwrap();
        assert_eq!(read.upload, Some(UploadId([0xab; 16])));
        assert_eq!(read.purpose, Some(UploadPurpose::Bid));
        assert_eq!(read.contact.name.as_deref(), Some("王明德"));
        assert_eq!(read.contact.mobile.as_deref(), Some("18800010014"));
        assert!(read.contact.address.is_none());
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_is_repeated() {
        let told = |header: &str| read(header).err().expect("a fault");
        assert!(told(&pair("colour", "hemlig")).contains("colour"));
        assert!(!told(&pair("colour", "hemlig")).contains("hemlig"));
        assert!(told("name !!!").contains("base64"));
        assert!(told(&format!("{},{}", pair("name", "a"), pair("name", "b"))).contains("twice"));
        assert!(told(&pair("purpose", "play")).contains("purpose"));
        assert!(told(&pair("upload", "AB")).contains("upload"));
        assert!(told(&"x".repeat(5_000)).contains("longer"));
        assert!(told("name /w==").contains("UTF-8"));
        assert!(told("na\tme !!!").contains("name is not base64"), "a name is repeated without anything odd");
    }
}
