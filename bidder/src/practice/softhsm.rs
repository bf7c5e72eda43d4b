//! Tokens of SoftHSM, as if each made-up vendor had a driver of its own.
//!
//! SoftHSM reads where its tokens lie from one environment variable, so in one process all its modules would
//! see the same tokens. A vendor here gets a copy of the module that reads a variable of the vendor's own name:
//! two drivers, two sets of tokens, in one process, as on a supplier's real machine.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::shop::ShopFault;

/// Where distributions put SoftHSM's module.
const MODULES: [&str; 8] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// The variable SoftHSM reads; a vendor's own is as long, for it takes this one's place in the copy.
const VARIABLE: &[u8; 14] = b"SOFTHSM2_CONF\0";

/// Copies SoftHSM's module to `to` so that it reads `variable` (13 characters) instead of `SOFTHSM2_CONF`.
pub(super) fn copy_module(to: &Path, variable: &str) -> Result<(), ShopFault> {
    let from = MODULES
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
        .ok_or_else(|| ShopFault::NoSoftHsm { looked: MODULES.map(PathBuf::from).to_vec() })?;
    let mut module = fs::read(from).map_err(|fault| ShopFault::file(from, fault))?;
    let own = format!("{variable}\0");
    assert_eq!(own.len(), VARIABLE.len(), "a vendor's variable is as long as SoftHSM's");
    let mut found = 0;
    for at in 0..module.len().saturating_sub(VARIABLE.len()) {
        if &module[at..at + VARIABLE.len()] == VARIABLE {
            module[at..at + own.len()].copy_from_slice(own.as_bytes());
            found += 1;
        }
    }
    if found == 0 {
        return Err(ShopFault::OtherSoftHsm(from.to_owned()));
    }
    fs::write(to, module).map_err(|fault| ShopFault::file(to, fault))
}

/// One vendor's tokens on one supplier's desk.
pub(super) struct Store<'a> {
    pub(super) module: &'a Path,
    pub(super) variable: &'static str,
    pub(super) conf: PathBuf,
}

impl Store<'_> {
    /// Makes the folder of the tokens and the file that names it.
    pub(super) fn create(&self, tokens: &Path) -> Result<(), ShopFault> {
        fs::create_dir_all(tokens).map_err(|fault| ShopFault::file(tokens, fault))?;
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = true\n",
            tokens.display()
        );
        fs::write(&self.conf, text).map_err(|fault| ShopFault::file(&self.conf, fault))
    }

    /// Initialises a token; tells its slot, which SoftHSM derives from the serial number, and that.
    pub(super) fn initialise(
        &self,
        label: &str,
        so_pin: &str,
        pin: &str,
    ) -> Result<(String, String), ShopFault> {
        let told = self.run(
            Command::new("softhsm2-util").arg("--module").arg(self.module).args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--so-pin",
                so_pin,
                "--pin",
                pin,
            ]),
            "softhsm2",
        )?;
        let slot = told.rsplit("slot ").next().map(str::trim).unwrap_or_default().to_owned();
        let slots = self.run(
            Command::new("softhsm2-util").arg("--module").arg(self.module).arg("--show-slots"),
            "softhsm2",
        )?;
        let own = slots.split("\nSlot ").find(|block| block.lines().next() == Some(slot.as_str()));
        let serial = own
            .and_then(|block| block.lines().find_map(|line| line.trim().strip_prefix("Serial number:")))
            .map(|serial| serial.trim().to_owned());
        let serial =
            serial.ok_or_else(|| ShopFault::Tool { program: "softhsm2-util".into(), said: told + &slots })?;
        Ok((slot, serial))
    }

    /// Puts a certificate (DER) or a private key (PKCS#8) onto the token.
    pub(super) fn put(&self, token: &Token<'_>, object: &Object<'_>) -> Result<(), ShopFault> {
        // pkcs11-tool takes objects from files only; nobody else may read this one, and it is gone at once.
        let file = self.conf.with_extension("object");
        write_private(&file, object.bytes).map_err(|fault| ShopFault::file(&file, fault))?;
        let outcome = self.run(
            Command::new("pkcs11-tool")
                .arg("--module")
                .arg(self.module)
                .args(["--slot", token.slot, "--login", "--pin", "env:KAIBIAO_PRACTICE_PIN"])
                .env("KAIBIAO_PRACTICE_PIN", token.pin)
                .arg("--write-object")
                .arg(&file)
                .args(["--id", object.id, "--label", object.label])
                .args(object.kind),
            "opensc",
        );
        fs::remove_file(&file).map_err(|fault| ShopFault::file(&file, fault))?;
        outcome.map(drop)
    }

    fn run(&self, command: &mut Command, package: &'static str) -> Result<String, ShopFault> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.env(self.variable, &self.conf).output().map_err(|fault| {
            if fault.kind() == io::ErrorKind::NotFound {
                ShopFault::ToolMissing { program: program.clone(), package }
            } else {
                ShopFault::file(Path::new(&program), fault)
            }
        })?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(told);
        }
        Err(ShopFault::Tool { program, said: told + &String::from_utf8_lossy(&output.stderr) })
    }
}

/// The token an object goes to.
pub(super) struct Token<'a> {
    /// Its slot; labels need not differ.
    pub(super) slot: &'a str,
    pub(super) pin: &'a str,
}

/// What is put onto a token.
pub(super) struct Object<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) id: &'a str,
    pub(super) label: &'a str,
    /// The arguments that say what it is.
    pub(super) kind: &'static [&'static str],
}

/// Writes a file that nobody else may read.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}
