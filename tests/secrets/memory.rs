//! The search of a running process's memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

/// Bytes read at once. Pieces overlap, so that nothing lies unseen across an edge.
const PIECE_BYTES: usize = 4 << 20;
/// The longest form of a canary.
const FORM_BYTES_MAX: usize = 512;

/// What must be nowhere: each in the forms in which programs write bytes.
#[derive(Default)]
pub(crate) struct Canaries {
    forms: Vec<(String, Vec<u8>)>,
    /// Which forms begin with these two bytes.
    by_begin: BTreeMap<[u8; 2], Vec<usize>>,
}

impl Canaries {
    /// A text: as it is, and in base64, in which a header or a body may carry it.
    pub(crate) fn text(&mut self, what: &str, text: &str) {
        assert!(text.len() >= 16, "{what} is too short to be told from chance");
        self.form(what, text.as_bytes());
        self.base64(what, text.as_bytes());
    }

    /// A key: as it is, in hexadecimal, in base64, and in a list of numbers.
    pub(crate) fn key(&mut self, what: &str, key: &[u8]) {
        self.form(what, key);
        self.form(what, hex::encode(key).as_bytes());
        self.form(what, hex::encode_upper(key).as_bytes());
        self.base64(what, key);
        let numbers: Vec<String> = key.iter().map(u8::to_string).collect();
        self.form(what, numbers.join(",").as_bytes());
        self.form(what, numbers.join(", ").as_bytes());
    }

    fn base64(&mut self, what: &str, bytes: &[u8]) {
        self.form(what, STANDARD.encode(bytes).trim_end_matches('=').as_bytes());
        // Within longer base64 it may begin at any of three places; what does not depend on its neighbours is looked for.
        for at in 1..3 {
            let text = STANDARD_NO_PAD.encode([&vec![0; at], bytes].concat());
            self.form(what, &text.as_bytes()[4..text.len() - 4]);
        }
    }

    fn form(&mut self, what: &str, form: &[u8]) {
        assert!((8..=FORM_BYTES_MAX).contains(&form.len()));
        self.by_begin.entry([form[0], form[1]]).or_default().push(self.forms.len());
        self.forms.push((what.to_owned(), form.to_vec()));
    }

    pub(crate) fn len(&self) -> usize {
        self.forms.len()
    }

    /// Which of them are in these bytes.
    pub(crate) fn in_bytes(&self, bytes: &[u8]) -> BTreeSet<String> {
        self.places_in(bytes).into_iter().map(|(_, what)| what.to_owned()).collect()
    }

    /// Where in these bytes which of them lie.
    fn places_in(&self, bytes: &[u8]) -> BTreeSet<(usize, &str)> {
        let mut table = vec![false; 1 << 16];
        for begin in self.by_begin.keys() {
            table[usize::from(u16::from_be_bytes(*begin))] = true;
        }
        let mut found = BTreeSet::new();
        for at in 0..bytes.len().saturating_sub(1) {
            let begin = [bytes[at], bytes[at + 1]];
            if table[usize::from(u16::from_be_bytes(begin))] {
                for form in &self.by_begin[&begin] {
                    let (what, form) = &self.forms[*form];
                    if bytes[at..].starts_with(form) {
                        found.insert((at, what.as_str()));
                    }
                }
            }
        }
        found
    }

    /// Which of them lie in the files of a folder, and in which.
    pub(crate) fn in_folder(&self, folder: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(self.in_folder(&path));
            } else if let Ok(bytes) = fs::read(&path) {
                found.extend(
                    self.in_bytes(&bytes).into_iter().map(|what| format!("{what} in {}", path.display())),
                );
            }
        }
        found
    }

    /// Which of them are in the memory of a process, and where: in every mapping that can be read, whatever it belongs to.
    pub(crate) fn in_memory(&self, process: u32) -> BTreeSet<String> {
        let memory = match File::open(format!("/proc/{process}/mem")) {
            Ok(memory) => memory,
            Err(fault) => panic!(
                "the memory of process {process} cannot be searched ({fault}), so nothing is proved: run this test as \
                 root or with CAP_SYS_PTRACE, where ptrace is allowed (in a container: --cap-add SYS_PTRACE)"
            ),
        };
        let (mut found, mut searched) = (BTreeSet::new(), 0);
        for mapping in mappings(process) {
            let mut at = mapping.begin;
            let mut piece = vec![0; PIECE_BYTES];
            while at < mapping.end {
                let wanted = PIECE_BYTES.min((mapping.end - at) as usize);
                let read = match memory.read_at(&mut piece[..wanted], at) {
                    Ok(0) => break,
                    Ok(read) => read,
                    // Unmapped since it was listed, or a mapped file that has become shorter.
                    Err(fault) if fault.raw_os_error() == Some(5) => break,
                    Err(fault) => panic!("{} of process {process} cannot be read: {fault}", mapping.name),
                };
                searched += read;
                let here = self.places_in(&piece[..read]);
                let told = |(place, what)| format!("{what} in {} at {:x}", mapping.name, at + place as u64);
                found.extend(here.into_iter().map(told));
                if at + read as u64 >= mapping.end {
                    break;
                }
                at += (read.saturating_sub(FORM_BYTES_MAX)).max(1) as u64;
            }
        }
        assert!(searched > 1 << 20, "only {searched} bytes of process {process} could be read");
        found
    }
}

struct Mapping {
    begin: u64,
    end: u64,
    name: String,
}

fn mappings(process: u32) -> Vec<Mapping> {
    let path = format!("/proc/{process}/maps");
    let text = fs::read_to_string(&path).unwrap_or_else(|fault| panic!("{path}: {fault}"));
    let mapping = |line: &str| {
        let mut words = line.split_whitespace();
        let (range, may) = (words.next()?, words.next()?);
        let name = words.nth(3).unwrap_or("no file").to_owned();
        let (begin, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        // The kernel's own pages, which no process writes.
        let is_kernels = ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&name.as_str());
        (may.starts_with('r') && !is_kernels).then_some(Mapping {
            begin: number(begin)?,
            end: number(end)?,
            name,
        })
    };
    text.lines().filter_map(mapping).collect()
}
