//! Makes bid packages right and wrong, with a ZIP writer of its own that does whatever it is told.
//!
//! Nothing here uses the packer of the crate: the good package is one more reading of the specification.

use kaibiao_sealed::digest::sha256;

/// The fields that both headers of an entry have.
#[derive(Clone)]
pub(crate) struct Fields {
    pub(crate) version: u16,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) time: u16,
    pub(crate) date: u16,
    pub(crate) crc: u32,
    pub(crate) stored: u32,
    pub(crate) size: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) extra: Vec<u8>,
}

impl Fields {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for field in [self.version, self.flags, self.method, self.time, self.date] {
            out.extend(field.to_le_bytes());
        }
        for field in [self.crc, self.stored, self.size] {
            out.extend(field.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend((self.extra.len() as u16).to_le_bytes());
    }
}

/// An entry, with what stands around it.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) before: Vec<u8>,
    pub(crate) local: Fields,
    pub(crate) data: Vec<u8>,
    pub(crate) after: Vec<u8>,
    pub(crate) central: Fields,
    pub(crate) made_by: u16,
    pub(crate) disk: u16,
    pub(crate) external: u32,
    pub(crate) comment: Vec<u8>,
    /// Whether the directory names it.
    pub(crate) listed: bool,
    /// Whether it stands in the file.
    pub(crate) present: bool,
    /// Where the directory says it stands, if not where it does.
    pub(crate) offset: Option<u32>,
}

/// A stored entry as the specification asks for it.
pub(crate) fn entry(name: &str, data: &[u8]) -> Entry {
    let fields = Fields {
        version: 10,
        flags: 0,
        method: 0,
        time: 0,
        date: 0x21,
        crc: crc32fast::hash(data),
        stored: data.len() as u32,
        size: data.len() as u32,
        name: name.as_bytes().to_vec(),
        extra: vec![],
    };
    Entry {
        before: vec![],
        local: fields.clone(),
        data: data.to_vec(),
        after: vec![],
        central: fields,
        made_by: 10,
        disk: 0,
        external: 0,
        comment: vec![],
        listed: true,
        present: true,
        offset: None,
    }
}

impl Entry {
    /// Changes both headers alike.
    pub(crate) fn both(&mut self, change: impl Fn(&mut Fields)) {
        change(&mut self.local);
        change(&mut self.central);
    }
}

/// A ZIP with what stands around it.
#[derive(Clone)]
pub(crate) struct Zip {
    pub(crate) prefix: Vec<u8>,
    /// Whether offsets count the prefix.
    pub(crate) counted: bool,
    pub(crate) entries: Vec<Entry>,
    /// Between the directory and its end.
    pub(crate) before_end: fn(directory: u32, size: u32, end: u32) -> Vec<u8>,
    pub(crate) disk: u16,
    pub(crate) count_here: Option<u16>,
    pub(crate) count: Option<u16>,
    /// Where the end says that the directory begins, if not where it does.
    pub(crate) directory: Option<u32>,
    pub(crate) comment: Vec<u8>,
    pub(crate) trailing: Vec<u8>,
}

pub(crate) fn zip(entries: Vec<Entry>) -> Zip {
    Zip {
        prefix: vec![],
        counted: true,
        entries,
        before_end: |_, _, _| vec![],
        disk: 0,
        count_here: None,
        count: None,
        directory: None,
        comment: vec![],
        trailing: vec![],
    }
}

impl Zip {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = self.prefix.clone();
        let shift = if self.counted { 0 } else { self.prefix.len() };
        let mut offsets = Vec::new();
        for entry in &self.entries {
            out.extend(&entry.before);
            offsets.push((out.len() - shift) as u32);
            if entry.present {
                out.extend(0x0403_4b50_u32.to_le_bytes());
                entry.local.put(&mut out);
                out.extend(&entry.local.name);
                out.extend(&entry.local.extra);
                out.extend(&entry.data);
            }
            out.extend(&entry.after);
        }
        let directory = out.len();
        for (entry, offset) in self.entries.iter().zip(&offsets).filter(|(entry, _)| entry.listed) {
            out.extend(0x0201_4b50_u32.to_le_bytes());
            out.extend(entry.made_by.to_le_bytes());
            entry.central.put(&mut out);
            out.extend((entry.comment.len() as u16).to_le_bytes());
            out.extend(entry.disk.to_le_bytes());
            out.extend(0_u16.to_le_bytes());
            out.extend(entry.external.to_le_bytes());
            out.extend(entry.offset.unwrap_or(*offset).to_le_bytes());
            out.extend(&entry.central.name);
            out.extend(&entry.central.extra);
            out.extend(&entry.comment);
        }
        let size = (out.len() - directory) as u32;
        let directory = (directory - shift) as u32;
        let end = (out.len() - shift) as u32;
        out.extend((self.before_end)(directory, size, end));
        let count = self.entries.iter().filter(|entry| entry.listed).count() as u16;
        out.extend(0x0605_4b50_u32.to_le_bytes());
        out.extend(self.disk.to_le_bytes());
        out.extend(self.disk.to_le_bytes());
        out.extend(self.count_here.unwrap_or(count).to_le_bytes());
        out.extend(self.count.unwrap_or(count).to_le_bytes());
        out.extend(size.to_le_bytes());
        out.extend(self.directory.unwrap_or(directory).to_le_bytes());
        out.extend((self.comment.len() as u16).to_le_bytes());
        out.extend(&self.comment);
        out.extend(&self.trailing);
        out
    }
}

/// Something that begins as a PDF does.
pub(crate) fn pdf(title: &str) -> Vec<u8> {
    format!("%PDF-1.7\n% {title}\n%%EOF\n").into_bytes()
}

/// A part in the making: its manifest's text and its documents.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) manifest: String,
    pub(crate) documents: Vec<(&'static str, Vec<u8>)>,
}

/// The common part of the good package.
pub(crate) fn common() -> Part {
    let document = pdf("qualification");
    let manifest = format!(
        "{{\"format\":\"kaibiao bid-part 1\",\"part\":\"common\",\"project\":\"KX-00823\",\
         \"supplier\":\"mingde\",\"documents\":[{{\"name\":\"documents/01-qualification.pdf\",\
         \"kind\":\"qualification\",\"title\":\"资格文件\",\"sha256\":\"{}\",\"bytes\":{}}}]}}",
        sha256(&document),
        document.len(),
    );
    Part { manifest, documents: vec![("documents/01-qualification.pdf", document)] }
}

/// The part of a lot of the good package, by its name and price.
pub(crate) fn lot(part: &str, price: &str) -> Part {
    let document = pdf(&format!("price of {part}"));
    let manifest = format!(
        "{{\"format\":\"kaibiao bid-part 1\",\"part\":\"{part}\",\"project\":\"KX-00823\",\
         \"supplier\":\"mingde\",\"sheet\":{{\"price\":{{\"kind\":\"total\",\"value\":\"{price}\"}},\
         \"delivery_or_lead\":\"30日\",\"bid_security_method\":\"电子保函\",\"declaration_signed\":true,\
         \"remark\":\"\"}},\"documents\":[{{\"name\":\"documents/01-price.pdf\",\"kind\":\"price\",\
         \"title\":\"报价文件\",\"sha256\":\"{}\",\"bytes\":{}}}]}}",
        sha256(&document),
        document.len(),
    );
    Part { manifest, documents: vec![("documents/01-price.pdf", document)] }
}

impl Part {
    pub(crate) fn zip(&self) -> Zip {
        let mut entries: Vec<_> = self.documents.iter().map(|(name, bytes)| entry(name, bytes)).collect();
        entries.push(entry("manifest.json", self.manifest.as_bytes()));
        zip(entries)
    }
}

/// A package of these parts' bytes.
pub(crate) fn package(parts: &[(&str, Vec<u8>)]) -> Zip {
    zip(parts.iter().map(|(part, bytes)| entry(&format!("parts/{part}.zip"), bytes)).collect())
}

/// The good package with one lot.
pub(crate) fn good() -> Zip {
    package(&[("common", common().zip().bytes()), ("lot-001", lot("lot-001", "1180000.00").zip().bytes())])
}
