//! Looking into a PDF deeply enough to say that it opens elsewhere too (D4).

use std::{fs, io, path::Path};

use lopdf::{Document, Error as PdfError, Object};

/// The largest document taken: 100 MiB.
pub const PDF_BYTES_MAX: u64 = 104_857_600;

/// How far from its end a PDF must say where its cross-reference table is.
const TAIL_BYTES: usize = 1_024;

/// Why a file is not taken as a document; each is refused by name.
#[derive(Debug, thiserror::Error)]
pub enum PdfFault {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is larger than [`PDF_BYTES_MAX`].
    #[error("has {bytes} bytes, more than {PDF_BYTES_MAX}")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
    },
    /// It does not begin as a PDF does.
    #[error("is not a PDF")]
    NotAPdf,
    /// It needs a password, or was encrypted with an empty one.
    #[error("is encrypted")]
    Encrypted,
    /// It begins as a PDF does and is none.
    #[error("is damaged: {0}")]
    Damaged(String),
}

impl PdfFault {
    /// The fault's name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            PdfFault::Unreadable(_) => "document_unreadable",
            PdfFault::TooLarge { .. } => "document_too_large",
            PdfFault::NotAPdf => "document_not_a_pdf",
            PdfFault::Encrypted => "document_encrypted",
            PdfFault::Damaged(_) => "document_damaged",
        }
    }
}

/// Checks a PDF: size, beginning, end, structure, pages and their contents, no encryption. Gives its pages.
///
/// # Errors
/// [`PdfFault`].
pub fn check_pdf(path: &Path) -> Result<usize, PdfFault> {
    let about = fs::metadata(path)?;
    if !about.is_file() {
        return Err(PdfFault::NotAPdf);
    }
    if about.len() > PDF_BYTES_MAX {
        return Err(PdfFault::TooLarge { bytes: about.len() });
    }
    check_bytes(&fs::read(path)?)
}

/// Checks the bytes of a PDF, as [`check_pdf`] does those of a file.
///
/// # Errors
/// [`PdfFault`].
pub fn check_bytes(bytes: &[u8]) -> Result<usize, PdfFault> {
    let damaged = |why: &str| PdfFault::Damaged(why.to_owned());
    if !bytes.starts_with(b"%PDF-") {
        return Err(PdfFault::NotAPdf);
    }
    // A reader that mends a cut file by searching it through would show less than the supplier meant.
    let tail = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
    if !tail.windows(5).any(|window| window == b"%%EOF") {
        return Err(damaged("its end is missing"));
    }
    if !points_at_a_table(bytes, tail) {
        return Err(damaged("its cross-reference table is not where its end says"));
    }
    let document = Document::load_mem(bytes).map_err(|fault| match fault {
        PdfError::Decryption(_) | PdfError::AlreadyEncrypted => PdfFault::Encrypted,
        other => PdfFault::Damaged(other.to_string()),
    })?;
    if document.was_encrypted() || document.trailer.get(b"Encrypt").is_ok() {
        return Err(PdfFault::Encrypted);
    }
    let pages = document.get_pages();
    if pages.is_empty() {
        return Err(damaged("it has no page"));
    }
    for (no, page) in &pages {
        for content in document.get_page_contents(*page) {
            match document.get_object(content) {
                Ok(Object::Stream(_)) => {}
                _ => return Err(damaged(&format!("the content of page {no} is missing"))),
            }
        }
    }
    Ok(pages.len())
}

/// Whether the number behind the last `startxref` is a place in the file where a table or a stream begins.
fn points_at_a_table(bytes: &[u8], tail: &[u8]) -> bool {
    let text = String::from_utf8_lossy(tail);
    let Some((_, behind)) = text.rsplit_once("startxref") else { return false };
    let digits: String = behind.trim_start().chars().take_while(char::is_ascii_digit).collect();
    let Some(place) = digits.parse::<usize>().ok().and_then(|offset| bytes.get(offset..)) else {
        return false;
    };
    let begins = place.iter().position(|byte| !byte.is_ascii_whitespace()).map(|skip| &place[skip..]);
    begins.is_some_and(|begins| begins.starts_with(b"xref") || begins[0].is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> Vec<u8> {
        use crate::practice::papers::Paper;
        let lines = ["一行".to_owned()];
        Paper { title: "Price", lines: &lines, pages: 2, bytes: 20_000, seed: 7 }.make().unwrap()
    }

    #[test]
    fn a_whole_pdf_is_taken_and_its_pages_counted() {
        assert_eq!(check_bytes(&paper()).unwrap(), 2);
    }

    #[test]
    fn a_pdf_cut_anywhere_is_damaged() {
        let whole = paper();
        for length in [whole.len() - 6, whole.len() - 40, whole.len() / 2, 100, 9] {
            let fault = check_bytes(&whole[..length]).unwrap_err();
            assert!(matches!(fault, PdfFault::Damaged(_)), "{length}: {fault}");
        }
        assert!(matches!(check_bytes(b"%PD"), Err(PdfFault::NotAPdf)));
        assert!(matches!(check_bytes(b""), Err(PdfFault::NotAPdf)));
    }

    #[test]
    fn a_pdf_with_a_broken_table_is_damaged() {
        let mut broken = paper();
        let at = broken.windows(9).rposition(|window| window == b"startxref").unwrap();
        broken[at + 10] = b'9';
        assert!(matches!(check_bytes(&broken), Err(PdfFault::Damaged(_))));
    }

    #[test]
    fn an_encrypted_pdf_is_called_so() {
        use lopdf::{EncryptionState, EncryptionVersion, Permissions};
        let mut document = Document::load_mem(&paper()).unwrap();
        // Without a file identifier no key can be derived.
        document
            .trailer
            .set("ID", Object::Array(vec![Object::string_literal("a"), Object::string_literal("b")]));
        for password in ["", "secret"] {
            let mut sealed = document.clone();
            let state = EncryptionState::try_from(EncryptionVersion::V1 {
                document: &sealed,
                owner_password: "owner",
                user_password: password,
                permissions: Permissions::all(),
            })
            .unwrap();
            sealed.encrypt(&state).unwrap();
            let mut bytes = Vec::new();
            sealed.save_to(&mut bytes).unwrap();
            assert!(matches!(check_bytes(&bytes), Err(PdfFault::Encrypted)), "{password:?}");
        }
    }
}
