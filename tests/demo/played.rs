//! Demos that were played, and what they left.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
};

use kaibiao_bidder::verify::{Verified, read_platform_key, verify_file};
use kaibiao_sealed::receipt::ReceiptFacts;
use serde_json::Value;

pub(crate) const PROJECT: &str = "YL-2026-001";
pub(crate) const SUPPLIERS: u32 = 8;
pub(crate) const LOTS: u16 = 2;
/// Who plays which part; see `src/demo/cast.rs`.
pub(crate) const WITHDRAWS: &str = "supplier-001";
pub(crate) const REPLACES: &str = "supplier-002";
pub(crate) const BACKUP: &str = "supplier-003";
pub(crate) const NO_SHOW: &str = "supplier-004";
pub(crate) const WRONG_TOKEN: &str = "supplier-005";
pub(crate) const LATE: &str = "supplier-006";

/// A demo that was played to its end.
pub(crate) struct Played {
    folder: tempfile::TempDir,
    /// What it printed.
    pub(crate) summary: Value,
}

/// The program.
pub(crate) fn kaibiao() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kaibiao"))
}

/// The two demos of this run: with tokens, and with files. A demo that failed is told to everybody who looks, and not
/// played again.
pub(crate) fn both() -> &'static [Played; 2] {
    static BOTH: OnceLock<Result<[Played; 2], String>> = OnceLock::new();
    let played = BOTH.get_or_init(|| {
        let client = kaibiao().with_file_name("kaibiao-bid");
        if !client.is_file() {
            return Err(format!(
                "{} is missing, and the demo's suppliers run it: build all programs first (cargo build --workspace \
                 --bins; scripts/test does)",
                client.display()
            ));
        }
        thread::scope(|scope| {
            let [tokens, files] = ["softhsm", "files"].map(|tokens| scope.spawn(|| Played::play(tokens)));
            let [tokens, files] = [tokens, files].map(|playing| playing.join().expect("playing does not panic"));
            Ok([tokens?, files?])
        })
    });
    played.as_ref().unwrap_or_else(|why| panic!("{why}"))
}

impl Played {
    fn play(tokens: &str) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let arguments =
            ["--json", "demo", "--suppliers", "8", "--lots", "2", "--bid-mb", "1", "--tokens", tokens];
        let mut command = Command::new(kaibiao());
        let output = command.args(arguments).arg("--out").arg(&out).stdin(Stdio::null()).output().unwrap();
        let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            let log = fs::read_to_string(out.join("server.log")).unwrap_or_default();
            let end: Vec<_> = log.lines().rev().take(20).collect();
            return Err(format!(
                "the demo with {tokens} failed: {told}{said}\nthe log's last lines: {end:#?}"
            ));
        }
        Ok(Self { summary: serde_json::from_str(&told).unwrap(), folder })
    }

    /// A file or folder that it left; an absolute path is its own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        let text = fs::read_to_string(self.path(name)).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        serde_json::from_str(&text).unwrap()
    }

    /// The names in a folder.
    pub(crate) fn names(&self, folder: &str) -> impl Iterator<Item = String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
    }

    /// Every file below a folder.
    pub(crate) fn walk(&self, folder: &str) -> Vec<PathBuf> {
        let (mut ahead, mut files) = (vec![self.path(folder)], Vec::new());
        while let Some(folder) = ahead.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    ahead.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
        }
        files
    }

    /// The receipts of the bids that stood at the deadline, in the order of receipt.
    pub(crate) fn standing_receipts(&self) -> Vec<ReceiptFacts> {
        let names = self.names("receipts").filter(|name| name.ends_with(".receipt"));
        let key = read_platform_key(self.path("project.json").to_str().unwrap()).unwrap();
        let mut facts: Vec<ReceiptFacts> = names
            .filter(|name| *name != format!("{WITHDRAWS}.receipt") && *name != format!("{REPLACES}.receipt"))
            .map(|name| match verify_file(&self.path(&format!("receipts/{name}")), &key, None).unwrap() {
                Verified::Receipt { facts, .. } => *facts,
                Verified::Refusal(_) => panic!("{name} is a refusal"),
            })
            .collect();
        facts.sort_by_key(|facts| facts.received_at);
        facts
    }

    /// Runs `kaibiao --json ARGUMENTS` in the demo's folder; what it printed, as an error where its exit code says so.
    pub(crate) fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Result<Value, Value> {
        let mut command = Command::new(kaibiao());
        let output = command.current_dir(self.path("")).arg("--json").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let told = serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
        match output.status.code() {
            Some(0) => Ok(told),
            Some(1) => Err(told),
            other => panic!("exit code {other:?}: {told}"),
        }
    }

    /// Runs `kaibiao verify ARGUMENTS` with the platform's key, as the saved project names it.
    pub(crate) fn verify(&self, arguments: &[&str]) -> Result<Value, Value> {
        self.run(&[&["verify"], arguments, &["--platform-key", "project.json"]].concat())
    }

    /// A copy of a file with one text changed, once; its path.
    pub(crate) fn copy_with(&self, name: &str, from: &str, to: &str) -> String {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from), "{name} has no {from}");
        let copy = self.folder.path().join(format!("forged-{}", name.replace('/', "-")));
        fs::write(&copy, text.replacen(from, to, 1)).unwrap();
        copy.to_str().unwrap().to_owned()
    }

    /// Copies the server's folder.
    pub(crate) fn copy_server(&self, to: &Path) {
        let from = self.path("server");
        for file in self.walk("server") {
            let copy = to.join(file.strip_prefix(&from).unwrap());
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(&file, copy).unwrap();
        }
        // Keys that others could read stop the start.
        use std::os::unix::fs::PermissionsExt as _;
        for folder in [to.to_owned(), to.join("keys")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
    }
}
