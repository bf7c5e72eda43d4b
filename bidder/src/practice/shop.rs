//! A shop where suppliers of practice get their tokens: two authorities, two vendors, as many tokens as wanted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use der::pem::{LineEnding, encode_string};
use kaibiao_sealed::practice::{PracticeCa, PracticeFault, SoftKey, Span, Usage, escaped};
use zeroize::Zeroizing;

use super::{
    pkcs12::{self, Held},
    softhsm::{self, Object, Store, write_private},
};
use crate::token::{Pin, Selector, TokenFault, TokenName, pkcs12::Pkcs12Token};

/// A made-up certification authority that sells tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PracticeVendor {
    /// Huixin (慧信).
    Huixin,
    /// Tiangu (天谷).
    Tiangu,
}

impl PracticeVendor {
    /// Both.
    pub const ALL: [PracticeVendor; 2] = [PracticeVendor::Huixin, PracticeVendor::Tiangu];

    /// Its name in the vendors file and in selectors.
    pub fn name(self) -> &'static str {
        match self {
            PracticeVendor::Huixin => "huixin",
            PracticeVendor::Tiangu => "tiangu",
        }
    }

    /// Its name in Chinese.
    pub fn name_zh(self) -> &'static str {
        match self {
            PracticeVendor::Huixin => "慧信",
            PracticeVendor::Tiangu => "天谷",
        }
    }

    /// The environment variable its module reads: the path of a softhsm2.conf.
    pub fn variable(self) -> &'static str {
        match self {
            PracticeVendor::Huixin => "HUIXIN_P_CONF",
            PracticeVendor::Tiangu => "TIANGU_P_CONF",
        }
    }
}

/// What a token of practice is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenKind {
    /// A token of SoftHSM, and a PKCS#12 file of the same keys.
    SoftHsm,
    /// A PKCS#12 file only.
    Files,
}

/// Why the shop could not make something.
#[derive(Debug, thiserror::Error)]
pub enum ShopFault {
    /// SoftHSM is not installed.
    #[error("SoftHSM is not installed (package softhsm2); looked for {}", looked.iter().map(|one| one.display().to_string()).collect::<Vec<_>>().join(", "))]
    NoSoftHsm {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// SoftHSM's module does not read the variable it is known to read.
    #[error("{} is no SoftHSM module of a known kind", .0.display())]
    OtherSoftHsm(PathBuf),
    /// A program that is needed is not installed.
    #[error("{program} is not installed (package {package})")]
    ToolMissing {
        /// The program.
        program: String,
        /// The Debian package it comes with.
        package: &'static str,
    },
    /// A program failed.
    #[error("{program} failed: {said}")]
    Tool {
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
    /// A file cannot be written or read.
    #[error("failed to write {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No key or certificate could be made.
    #[error(transparent)]
    Practice(#[from] PracticeFault),
    /// No PKCS#12 file could be made.
    #[error("failed to form a PKCS#12 file: {0}")]
    Pkcs12(String),
}

impl ShopFault {
    pub(super) fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

/// What a token is to be.
#[derive(Clone, Copy, Debug)]
pub struct TokenWish<'a> {
    /// Whom its certificates name.
    pub holder: &'a str,
    /// Whose token it is.
    pub vendor: PracticeVendor,
    /// Its label, at most 32 bytes; else the vendor's name and a running number.
    pub label: Option<&'a str>,
    /// When its certificates are valid; else as the shop was told.
    pub valid: Option<Span>,
}

/// Where a shop gets its keys from.
type Keys = Box<dyn FnMut() -> Result<SoftKey, PracticeFault> + Send>;

/// The shop. Everything it makes lies under one folder:
///
/// ```text
/// vendors.toml                  both vendors, for --vendors (SoftHSM only)
/// huixin/root.pem  tiangu/...   each authority's root
/// huixin/libhuixin_p11.so       each vendor's module (SoftHSM only)
/// 01/ 02/ ...                   one desk a supplier: what is plugged in there
///   huixin.conf tiangu.conf     the softhsm2.conf each vendor's module reads there (SoftHSM only)
///   01.pin 01.p12               a token's PIN, and its keys as a file whose password is the same
///   01-signing.pem 01-encryption.pem
/// ```
pub struct TokenShop {
    dir: PathBuf,
    kind: TokenKind,
    valid: Span,
    shelves: [Shelf; 2],
    keys: Keys,
    desks: u32,
    tokens: u32,
    pin_digits: usize,
}

/// What the shop has of one vendor.
struct Shelf {
    authority: PracticeCa,
    root: PathBuf,
    module: PathBuf,
}

/// A place where tokens are plugged in: one supplier's machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PracticeDesk {
    folder: PathBuf,
    /// What a process must find in its environment to see this desk's tokens and no others; empty where the
    /// shop makes files only.
    pub environment: Vec<(&'static str, PathBuf)>,
}

/// A token of practice and where its belongings lie. It holds secrets: neither `Debug` nor `Clone`.
pub struct PracticeToken {
    /// Whom its certificates name.
    pub holder: String,
    /// Whose token it is.
    pub vendor: PracticeVendor,
    /// Its label.
    pub label: String,
    /// The selector that names it (`--token`); `None` where the shop makes files only.
    pub selector: Option<Selector>,
    /// The file with its PIN (`--pin-file`), which is also the password of its PKCS#12 file.
    pub pin_file: PathBuf,
    /// The PKCS#12 file of the same keys (`--pkcs12`).
    pub pkcs12: PathBuf,
    /// The signing certificate (DER).
    pub signing_certificate: Vec<u8>,
    /// The encryption certificate (DER).
    pub encryption_certificate: Vec<u8>,
    /// The signing certificate as a PEM file.
    pub signing_certificate_file: PathBuf,
    /// The encryption certificate as a PEM file.
    pub encryption_certificate_file: PathBuf,
    /// The signing certificate's serial number, to revoke it by.
    pub signing_serial: u64,
    /// The encryption certificate's serial number.
    pub encryption_serial: u64,
    /// Where it is plugged in.
    pub desk: PracticeDesk,
    pin: Zeroizing<String>,
    signing_key: SoftKey,
    encryption_key: SoftKey,
}

impl PracticeToken {
    /// Its PIN.
    pub fn pin(&self) -> Pin {
        Pin::new(Zeroizing::new(self.pin.as_bytes().to_vec()))
    }

    /// Its keys as a token in this process's memory, without the PKCS#12 file's derivation of a key.
    ///
    /// # Errors
    /// None with keys of practice.
    pub fn in_memory(&self) -> Result<Pkcs12Token, TokenFault> {
        Pkcs12Token::of_keys(
            &self.label,
            &[
                (&self.signing_certificate, self.signing_key.pkcs8()),
                (&self.encryption_certificate, self.encryption_key.pkcs8()),
            ],
        )
    }
}

impl TokenShop {
    /// Opens a shop under `dir` that issues certificates valid in `valid`. Draws random keys.
    ///
    /// # Errors
    /// The folder cannot be written, or SoftHSM is wanted and not installed.
    pub fn new(dir: &Path, kind: TokenKind, valid: Span) -> Result<Self, ShopFault> {
        Self::with_keys(dir, kind, valid, SoftKey::generate)
    }

    /// As [`TokenShop::new`], with keys from elsewhere: making RSA keys is what takes the time.
    ///
    /// # Errors
    /// As [`TokenShop::new`].
    pub fn with_keys(
        dir: &Path,
        kind: TokenKind,
        valid: Span,
        mut keys: impl FnMut() -> Result<SoftKey, PracticeFault> + Send + 'static,
    ) -> Result<Self, ShopFault> {
        let mut open = |vendor: PracticeVendor| Shelf::furnish(dir, vendor, kind, valid, keys()?);
        let shelves = [open(PracticeVendor::Huixin)?, open(PracticeVendor::Tiangu)?];
        // The modules find their tokens by absolute paths, whatever folder a program is started in.
        let dir = fs::canonicalize(dir).map_err(|fault| ShopFault::file(dir, fault))?;
        let shop =
            Self { dir, kind, valid, shelves, keys: Box::new(keys), desks: 0, tokens: 0, pin_digits: 6 };
        if kind == TokenKind::SoftHsm {
            let vendors = PracticeVendor::ALL.map(|vendor| {
                let name = vendor.name();
                format!(
                    "# {} (practice)\n[[vendor]]\nname = \"{name}\"\nmodule = \"{name}/lib{name}_p11.so\"\nroot = \"{name}/root.pem\"\n",
                    vendor.name_zh()
                )
            });
            let path = shop.vendors_file();
            fs::write(&path, vendors.join("\n")).map_err(|fault| ShopFault::file(&path, fault))?;
        }
        Ok(shop)
    }

    /// Gives the tokens made from now on PINs of so many digits: long ones, so that a search for them finds no chance.
    pub fn set_pin_digits(&mut self, digits: usize) {
        self.pin_digits = digits;
    }

    /// The vendors file; written only where the shop makes SoftHSM tokens.
    pub fn vendors_file(&self) -> PathBuf {
        self.dir.join("vendors.toml")
    }

    /// A vendor's root certificate as a PEM file.
    pub fn root_file(&self, vendor: PracticeVendor) -> &Path {
        &self.shelf(vendor).root
    }

    /// A vendor's authority, for its root and for certificates outside any token.
    pub fn authority(&self, vendor: PracticeVendor) -> &PracticeCa {
        &self.shelf(vendor).authority
    }

    /// A vendor's authority, to revoke certificates and issue revocation lists.
    pub fn authority_mut(&mut self, vendor: PracticeVendor) -> &mut PracticeCa {
        match vendor {
            PracticeVendor::Huixin => &mut self.shelves[0].authority,
            PracticeVendor::Tiangu => &mut self.shelves[1].authority,
        }
    }

    /// A token for a supplier (or anybody else) with a desk of its own: nothing else is plugged in there.
    ///
    /// # Errors
    /// [`ShopFault`].
    pub fn add_supplier(&mut self, name: &str, vendor: PracticeVendor) -> Result<PracticeToken, ShopFault> {
        let desk = self.add_desk()?;
        self.plug(&desk, &TokenWish { holder: name, vendor, label: None, valid: None })
    }

    /// A desk where nothing is plugged in yet.
    ///
    /// # Errors
    /// Its folder cannot be made.
    pub fn add_desk(&mut self) -> Result<PracticeDesk, ShopFault> {
        self.desks += 1;
        let folder = self.dir.join(format!("{:02}", self.desks));
        fs::create_dir_all(&folder).map_err(|fault| ShopFault::file(&folder, fault))?;
        let mut environment = Vec::new();
        if self.kind == TokenKind::SoftHsm {
            for vendor in PracticeVendor::ALL {
                let store = self.store(&folder, vendor);
                store.create(&folder.join(vendor.name()))?;
                environment.push((vendor.variable(), store.conf));
            }
        }
        Ok(PracticeDesk { folder, environment })
    }

    /// Makes a token as wished and plugs it in at the desk.
    ///
    /// # Errors
    /// [`ShopFault`].
    pub fn plug(&mut self, desk: &PracticeDesk, wish: &TokenWish<'_>) -> Result<PracticeToken, ShopFault> {
        self.tokens += 1;
        let no = self.tokens;
        let vendor = wish.vendor;
        let label = wish.label.map_or_else(|| format!("{}-{no:02}", vendor.name()), str::to_owned);
        let (signing_key, encryption_key) = ((self.keys)()?, (self.keys)()?);
        let subject = format!("CN={0},O={0},C=CN", escaped(wish.holder));
        let valid = wish.valid.unwrap_or(self.valid);
        let authority = self.authority(vendor);
        let (signing_serial, signing_certificate) =
            authority.issue_next(&subject, &signing_key.public_key(), Usage::Sign, valid)?;
        let (encryption_serial, encryption_certificate) =
            authority.issue_next(&subject, &encryption_key.public_key(), Usage::Encrypt, valid)?;
        let (pin, so_pin) = (digits(self.pin_digits), digits(8));

        let file = |ending: &str| desk.folder.join(format!("{no:02}{ending}"));
        let (pin_file, pkcs12) = (file(".pin"), file(".p12"));
        let private = |path: &Path, bytes: &[u8]| {
            write_private(path, bytes).map_err(|fault| ShopFault::file(path, fault))
        };
        private(&pin_file, format!("{}\n", *pin).as_bytes())?;
        let held = [
            Held { name: "signing", pkcs8: signing_key.pkcs8(), certificate: &signing_certificate },
            Held { name: "encryption", pkcs8: encryption_key.pkcs8(), certificate: &encryption_certificate },
        ];
        private(&pkcs12, &pkcs12::write(&held, &pin)?)?;
        let (signing_certificate_file, encryption_certificate_file) =
            (file("-signing.pem"), file("-encryption.pem"));
        write_pem(&signing_certificate_file, &signing_certificate)?;
        write_pem(&encryption_certificate_file, &encryption_certificate)?;

        let mut selector = None;
        if self.kind == TokenKind::SoftHsm {
            let store = self.store(&desk.folder, vendor);
            let (slot, serial) = store.initialise(&label, &so_pin, &pin)?;
            let token = softhsm::Token { slot: &slot, pin: &pin };
            for (id, Held { name, pkcs8, certificate }) in ["01", "02"].into_iter().zip(&held) {
                let kind: &[&str] = &["--type", "privkey", "--sensitive", "--private"];
                store.put(&token, &Object { bytes: pkcs8, id, label: name, kind })?;
                store.put(
                    &token,
                    &Object { bytes: certificate, id, label: name, kind: &["--type", "cert"] },
                )?;
            }
            let name = TokenName { vendor: vendor.name().to_owned(), label: label.clone(), serial };
            selector = Some(Selector::naming(&name));
        }
        Ok(PracticeToken {
            holder: wish.holder.to_owned(),
            vendor,
            label,
            selector,
            pin_file,
            pkcs12,
            signing_certificate,
            encryption_certificate,
            signing_certificate_file,
            encryption_certificate_file,
            signing_serial,
            encryption_serial,
            desk: desk.clone(),
            pin,
            signing_key,
            encryption_key,
        })
    }

    fn shelf(&self, vendor: PracticeVendor) -> &Shelf {
        match vendor {
            PracticeVendor::Huixin => &self.shelves[0],
            PracticeVendor::Tiangu => &self.shelves[1],
        }
    }

    fn store(&self, folder: &Path, vendor: PracticeVendor) -> Store<'_> {
        Store {
            module: &self.shelf(vendor).module,
            variable: vendor.variable(),
            conf: folder.join(format!("{}.conf", vendor.name())),
        }
    }
}

impl Shelf {
    fn furnish(
        dir: &Path,
        vendor: PracticeVendor,
        kind: TokenKind,
        valid: Span,
        key: SoftKey,
    ) -> Result<Self, ShopFault> {
        let name = vendor.name();
        let folder = dir.join(name);
        fs::create_dir_all(&folder).map_err(|fault| ShopFault::file(&folder, fault))?;
        let folder = fs::canonicalize(&folder).map_err(|fault| ShopFault::file(&folder, fault))?;
        let authority = PracticeCa::with_key(key, &format!("{} {name}", vendor.name_zh()), valid)?;
        let root = folder.join("root.pem");
        write_pem(&root, authority.root())?;
        let module = folder.join(format!("lib{name}_p11.so"));
        if kind == TokenKind::SoftHsm {
            softhsm::copy_module(&module, vendor.variable())?;
        }
        Ok(Self { authority, root, module })
    }
}

fn write_pem(path: &Path, der: &[u8]) -> Result<(), ShopFault> {
    let pem = encode_string("CERTIFICATE", LineEnding::LF, der)
        .map_err(|fault| ShopFault::Practice(PracticeFault::Certificate(fault.to_string())))?;
    fs::write(path, pem).map_err(|fault| ShopFault::file(path, fault))
}

/// So many random decimal digits; a little biased, which does not matter for practice.
fn digits(length: usize) -> Zeroizing<String> {
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).expect("the system's random numbers cannot fail once seeded");
    Zeroizing::new(bytes.iter().map(|byte| char::from(b'0' + byte % 10)).collect())
}
