//! Which vendors' tokens this machine knows: one PKCS#11 module and one root certificate each.
//!
//! The vendors file is TOML, documented in `docs/tokens.md`:
//!
//! ```toml
//! [[vendor]]
//! name = "huixin"
//! module = "/opt/huixin/lib/libhuixin_p11.so"
//! root = "huixin-root.pem"
//!
//! [[vendor]]
//! name = "tiangu"
//! module = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so"
//! root = "tiangu-root.pem"
//! init = "configdir='sql:/home/li/tiangu' flags=readOnly"
//! timeout_s = 20
//! ```

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use der::{Decode as _, DecodePem as _, Encode as _};
use serde::Deserialize;
use x509_cert::Certificate;

/// How long one call into a module may take unless the vendors file says otherwise.
pub const CALL_TIMEOUT_S: u64 = 30;

/// One vendor of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vendor {
    /// Its name in selectors and messages: 1 to 32 of a-z 0-9 - beginning with a letter.
    pub name: String,
    /// The path of its PKCS#11 module.
    pub module: PathBuf,
    /// The path of its root certificate (PEM or DER), if one is configured.
    pub root: Option<PathBuf>,
    /// What the module wants to be told when it is initialised (NSS softokn wants its `configdir`).
    pub init: Option<String>,
    /// How long one call may take before the token counts as not answering.
    pub timeout: Duration,
}

/// All vendors of this machine, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vendors(Vec<Vendor>);

/// A vendors file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VendorsFault {
    /// It cannot be read.
    #[error("cannot read the vendors file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML of the documented shape.
    #[error("the vendors file {} is malformed: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// A name breaks its form.
    #[error("vendor name {0:?} must be 1 to 32 of a-z 0-9 - beginning with a letter, and not `file`")]
    Name(String),
    /// Two vendors share a name.
    #[error("two vendors are named {0}")]
    SameName(String),
    /// Two vendors share a module: its tokens would belong to both, and no selector could tell whose they are.
    #[error("the vendors {0} and {1} name the same module")]
    SameModule(String, String),
    /// A root certificate cannot be used.
    #[error("the root certificate {} of {vendor} cannot be used: {why}", path.display())]
    Root {
        /// The vendor.
        vendor: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    #[serde(default)]
    vendor: Vec<VendorShape>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VendorShape {
    name: String,
    module: PathBuf,
    root: Option<PathBuf>,
    init: Option<String>,
    timeout_s: Option<u64>,
}

impl Vendor {
    /// The root certificate in DER, if one is configured.
    ///
    /// # Errors
    /// The file cannot be read or holds no certificate.
    pub fn root_der(&self) -> Result<Option<Vec<u8>>, VendorsFault> {
        let Some(path) = &self.root else { return Ok(None) };
        let unusable =
            |why: String| VendorsFault::Root { vendor: self.name.clone(), path: path.clone(), why };
        let bytes = std::fs::read(path).map_err(|fault| unusable(fault.to_string()))?;
        let certificate = if bytes.starts_with(b"-----BEGIN") {
            Certificate::from_pem(&bytes)
        } else {
            Certificate::from_der(&bytes)
        };
        let certificate = certificate.map_err(|fault| unusable(fault.to_string()))?;
        certificate.to_der().map(Some).map_err(|fault| unusable(fault.to_string()))
    }
}

impl Vendors {
    /// These vendors.
    ///
    /// # Errors
    /// A name breaks its form, or two share one.
    pub fn new(vendors: Vec<Vendor>) -> Result<Self, VendorsFault> {
        let mut names = BTreeSet::new();
        for (at, vendor) in vendors.iter().enumerate() {
            if let Some(other) = vendors[..at].iter().find(|other| other.module == vendor.module) {
                return Err(VendorsFault::SameModule(other.name.clone(), vendor.name.clone()));
            }
            if !is_name(&vendor.name) {
                return Err(VendorsFault::Name(vendor.name.clone()));
            }
            if !names.insert(&vendor.name) {
                return Err(VendorsFault::SameName(vendor.name.clone()));
            }
        }
        Ok(Self(vendors))
    }

    /// Reads a vendors file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`VendorsFault`].
    pub fn read(path: &Path) -> Result<Self, VendorsFault> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| VendorsFault::Unreadable { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, folder).map_err(|fault| match fault {
            VendorsFault::Malformed { why, .. } => VendorsFault::Malformed { path: path.to_owned(), why },
            other => other,
        })
    }

    fn parse(text: &str, folder: &Path) -> Result<Self, VendorsFault> {
        let shape: FileShape = toml::from_str(text)
            .map_err(|fault| VendorsFault::Malformed { path: PathBuf::new(), why: fault.to_string() })?;
        let vendors = shape.vendor.into_iter().map(|vendor| Vendor {
            name: vendor.name,
            module: folder.join(vendor.module),
            root: vendor.root.map(|root| folder.join(root)),
            init: vendor.init,
            timeout: Duration::from_secs(vendor.timeout_s.unwrap_or(CALL_TIMEOUT_S).max(1)),
        });
        Self::new(vendors.collect())
    }

    /// The vendors in order.
    pub fn iter(&self) -> impl Iterator<Item = &Vendor> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

pub(super) fn is_name(text: &str) -> bool {
    // `file` names PKCS#12 files in messages.
    text != "file"
        && (1..=32).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vendors, String> {
        Vendors::parse(text, Path::new("/etc/kaibiao")).map_err(|fault| fault.to_string())
    }

    #[test]
    fn paths_are_relative_to_the_vendors_file() {
        let vendors = parse("[[vendor]]\nname='huixin'\nmodule='/opt/h.so'\nroot='h.pem'").unwrap();
        let huixin = vendors.iter().next().unwrap();
        assert_eq!(huixin.module, Path::new("/opt/h.so"));
        assert_eq!(huixin.root.as_deref(), Some(Path::new("/etc/kaibiao/h.pem")));
        assert_eq!(huixin.timeout, Duration::from_secs(CALL_TIMEOUT_S));
    }

    #[test]
    fn a_vendor_has_one_name_of_its_own() {
        let two = "[[vendor]]\nname='a'\nmodule='x'\n[[vendor]]\nname='a'\nmodule='y'";
        assert!(parse(two).unwrap_err().contains("two vendors are named a"));
        for bad in ["", "Huixin", "file", "1a", "a b", "慧信"] {
            assert!(parse(&format!("[[vendor]]\nname='{bad}'\nmodule='x'")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_belongs_to_one_vendor() {
        let two = "[[vendor]]\nname='a'\nmodule='x.so'\n[[vendor]]\nname='b'\nmodule='x.so'";
        assert_eq!(parse(two).unwrap_err(), "the vendors a and b name the same module");
    }

    #[test]
    fn a_misspelt_setting_is_refused_with_its_line() {
        let fault = parse("[[vendor]]\nname='a'\nmodul='x'").unwrap_err();
        assert!(fault.contains("modul") && fault.contains("line 3"), "{fault}");
    }
}
