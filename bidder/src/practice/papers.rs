//! Made-up papers of a bid: real PDFs of several pages, of any size, the same for the same seed.
//!
//! Each page carries text and a picture that looks like a scan: grey paper with grain, which no compression
//! makes smaller, so that a bid of practice weighs on disks and lines as a real one does.

use lopdf::{
    Document, Object, Stream, StringFormat,
    content::{Content, Operation},
    dictionary,
};

/// What a paper says and how large it is.
pub struct Paper<'a> {
    /// Its heading.
    pub title: &'a str,
    /// The lines under the heading, on every page.
    pub lines: &'a [String],
    /// How many pages; at least one.
    pub pages: u32,
    /// About how many bytes in all: the scans are made to fill them.
    pub bytes: usize,
    /// What the grain is drawn from.
    pub seed: u64,
}

/// Why no paper could be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to make a practice PDF: {0}")]
pub struct PaperFault(String);

impl Paper<'_> {
    /// The PDF file.
    ///
    /// # Errors
    /// The PDF library refuses.
    pub fn make(&self) -> Result<Vec<u8>, PaperFault> {
        let fault = |fault: String| PaperFault(fault);
        let mut document = Document::with_version("1.5");
        let tree = document.new_object_id();
        let font = self.font(&mut document);
        let pages = self.pages.max(1);
        let mut grain = Grain(self.seed | 1);
        let scan_bytes = self.bytes.saturating_sub(BYTES_BESIDE_SCANS) / pages as usize;
        let height = (scan_bytes / SCAN_WIDTH).max(1);
        let mut kids = Vec::with_capacity(pages as usize);
        for no in 1..=pages {
            let scan = document.add_object(Stream::new(
                dictionary! {
                    "Type" => "XObject",
                    "Subtype" => "Image",
                    "Width" => i64::try_from(SCAN_WIDTH).expect("a scan is not that wide"),
                    "Height" => i64::try_from(height).map_err(|_| fault("a scan is too high".into()))?,
                    "ColorSpace" => "DeviceGray",
                    "BitsPerComponent" => 8,
                },
                grain.scan(SCAN_WIDTH * height),
            ));
            let content =
                document.add_object(Stream::new(dictionary! {}, self.page(no, pages).map_err(fault)?));
            let page = document.add_object(dictionary! {
                "Type" => "Page",
                "Parent" => tree,
                "MediaBox" => vec![0.into(), 0.into(), PAGE_WIDTH.into(), PAGE_HEIGHT.into()],
                "Resources" => dictionary! {
                    "Font" => dictionary! { "F1" => font },
                    "XObject" => dictionary! { "Scan" => scan },
                },
                "Contents" => content,
            });
            kids.push(Object::Reference(page));
        }
        document.objects.insert(
            tree,
            Object::Dictionary(
                dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => i64::from(pages) },
            ),
        );
        let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => tree });
        document.trailer.set("Root", catalog);
        let mut bytes = Vec::with_capacity(self.bytes + BYTES_BESIDE_SCANS);
        document.save_to(&mut bytes).map_err(|error| fault(error.to_string()))?;
        Ok(bytes)
    }

    /// A Chinese font that every reader brings along (Adobe-GB1), so that none need be embedded.
    fn font(&self, document: &mut Document) -> lopdf::ObjectId {
        let descriptor = document.add_object(dictionary! {
            "Type" => "FontDescriptor",
            "FontName" => "STSong-Light",
            "Flags" => 6,
            "FontBBox" => vec![(-25).into(), (-254).into(), 1000.into(), 880.into()],
            "ItalicAngle" => 0,
            "Ascent" => 880,
            "Descent" => -120,
            "CapHeight" => 880,
            "StemV" => 93,
        });
        let descendant = document.add_object(dictionary! {
            "Type" => "Font",
            "Subtype" => "CIDFontType0",
            "BaseFont" => "STSong-Light",
            "CIDSystemInfo" => dictionary! {
                "Registry" => Object::string_literal("Adobe"),
                "Ordering" => Object::string_literal("GB1"),
                "Supplement" => 4,
            },
            "FontDescriptor" => descriptor,
            "DW" => 1000,
            // Latin letters are half as wide.
            "W" => vec![1.into(), 95.into(), 500.into()],
        });
        document.add_object(dictionary! {
            "Type" => "Font",
            "Subtype" => "Type0",
            "BaseFont" => "STSong-Light",
            "Encoding" => "UniGB-UCS2-H",
            "DescendantFonts" => vec![descendant.into()],
        })
    }

    fn page(&self, no: u32, of: u32) -> Result<Vec<u8>, String> {
        let mut operations = vec![
            Operation::new("q", vec![]),
            Operation::new("cm", vec![475.into(), 0.into(), 0.into(), 420.into(), 60.into(), 60.into()]),
            Operation::new("Do", vec!["Scan".into()]),
            Operation::new("Q", vec![]),
        ];
        let foot = format!("第 {no} 页 共 {of} 页");
        let mut line = |text: &str, size: i64, y: i64| {
            operations.extend([
                Operation::new("BT", vec![]),
                Operation::new("Tf", vec!["F1".into(), size.into()]),
                Operation::new("Td", vec![60.into(), y.into()]),
                Operation::new("Tj", vec![Object::String(utf16(text), StringFormat::Hexadecimal)]),
                Operation::new("ET", vec![]),
            ]);
        };
        line(self.title, 18, 780);
        for (place, text) in self.lines.iter().take(LINES_MAX).enumerate() {
            line(text, 11, 750 - 20 * i64::try_from(place).unwrap_or(0));
        }
        line(&foot, 9, 35);
        Content { operations }.encode().map_err(|error| error.to_string())
    }
}

/// UTF-16BE, as the encoding UniGB-UCS2-H wants it.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// A small generator of even numbers' look (xorshift): grain needs no better one, and it must not change.
struct Grain(u64);

impl Grain {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn scan(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes + 8);
        while out.len() < bytes {
            // Near white, with grain in the lower six bits.
            out.extend(self.next().to_le_bytes().map(|byte| 0xc0 | byte & 0x3f));
        }
        out.truncate(bytes);
        out
    }
}

/// A4 in points.
const PAGE_WIDTH: i64 = 595;
const PAGE_HEIGHT: i64 = 842;
/// Pixels of a scan's row.
const SCAN_WIDTH: usize = 1_024;
/// Lines that fit above the scan.
const LINES_MAX: usize = 12;
/// What a paper weighs without its scans, about.
const BYTES_BESIDE_SCANS: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paper_is_a_pdf_of_its_pages_and_about_its_size() {
        let lines = ["投标总价:1,234.50 元".to_owned()];
        let paper = Paper { title: "投标函", lines: &lines, pages: 3, bytes: 300_000, seed: 7 };
        let bytes = paper.make().unwrap();
        assert!((280_000..320_000).contains(&bytes.len()), "{}", bytes.len());
        let read = Document::load_mem(&bytes).unwrap();
        assert_eq!(read.get_pages().len(), 3);
        assert_eq!(bytes, paper.make().unwrap());
    }
}
