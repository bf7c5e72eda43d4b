//! A supplier's desk: tokens, vendors, and a faulty module where a story wants one.

use std::{cell::RefCell, env, fs, path::Path, path::PathBuf, process::Command, sync::Arc, time::Duration};

use kaibiao_bidder::{
    practice::{PracticeDesk, PracticeToken, PracticeVendor, TokenKind, TokenShop, TokenWish},
    token::{Token, TokenFault, Vendor, Vendors, open, pkcs11::Pkcs11Token},
};
use kaibiao_protocol::{digest::Digest, moment::Moment};
use kaibiao_sealed::{
    digest::sha256,
    practice::{PracticeFault, SoftKey, Span},
};

/// 2026-01-01, 2027-01-01 and 2060-01-01, all 00:00 UTC.
pub(crate) const YEAR_2026: Moment = Moment(1_767_225_600_000_000);
pub(crate) const YEAR_2027: Moment = Moment(1_798_761_600_000_000);
pub(crate) const YEAR_2060: Moment = Moment(2_840_140_800_000_000);

/// Longer than any call takes on a machine that is busy with other tests.
const LONG: Duration = Duration::from_secs(60);

/// The folder of a story, told to the process that plays it.
const FOLDER: &str = "KAIBIAO_TEST_DESK";

/// Plays a story in a process of its own, with an empty desk.
pub(crate) fn alone<Story: FnOnce(&Desk)>(story: Story) {
    if let Some(folder) = env::var_os(FOLDER) {
        return story(&Desk::at(Path::new(&folder)));
    }
    // A closure's type is named after the function it stands in: that is the test's name.
    let name = std::any::type_name::<Story>().trim_end_matches("::{{closure}}");
    let (_, name) = name.split_once("::").expect("a test stands in a module of this crate");
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(FOLDER, folder.path());
    for vendor in PracticeVendor::ALL {
        // Where the shop's first desk will be.
        command.env(vendor.variable(), folder.path().join("01").join(format!("{}.conf", vendor.name())));
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{name}: {}\n{told}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A shop, and the first desk in it: the one this process sees.
pub(crate) struct Desk {
    folder: PathBuf,
    shop: RefCell<TokenShop>,
    desk: PracticeDesk,
}

impl Desk {
    fn at(folder: &Path) -> Self {
        let span = Span { from: YEAR_2026, until: YEAR_2060 };
        let mut shop = TokenShop::with_keys(folder, TokenKind::SoftHsm, span, key_pool()).unwrap();
        let desk = shop.add_desk().unwrap();
        for (variable, conf) in &desk.environment {
            assert_eq!(env::var_os(variable).as_deref(), Some(conf.as_os_str()));
        }
        Self { folder: folder.to_owned(), shop: RefCell::new(shop), desk }
    }

    /// Where the story may write.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A token of this vendor, plugged in.
    pub(crate) fn plug(&self, vendor: PracticeVendor) -> PracticeToken {
        self.plug_as(&wish(vendor))
    }

    /// A token as wished, plugged in.
    pub(crate) fn plug_as(&self, wish: &TokenWish<'_>) -> PracticeToken {
        self.shop.borrow_mut().plug(&self.desk, wish).unwrap()
    }

    /// A token that is plugged in elsewhere.
    pub(crate) fn elsewhere(&self, vendor: PracticeVendor) -> PracticeToken {
        self.shop.borrow_mut().add_supplier("别处", vendor).unwrap()
    }

    /// The vendors of this desk, as their file tells them.
    pub(crate) fn vendors(&self) -> Vendors {
        patient(&Vendors::read(&self.shop.borrow().vendors_file()).unwrap())
    }

    /// Opens a token that is plugged in here.
    pub(crate) fn open(&self, token: &PracticeToken) -> Pkcs11Token {
        open(&self.vendors(), token.selector.as_ref().unwrap()).unwrap()
    }

    /// The faulty module in front of the vendor's.
    pub(crate) fn front(&self, vendor: PracticeVendor) -> Front {
        let name = vendor.name();
        let file = |ending: &str| self.folder.join(format!("front-{name}{ending}"));
        let (module, script, audit) = (file(".so"), file(".script"), file(".audit"));
        // Cargo builds it beside the tests, for it stands among their dependencies.
        let built = env::current_exe().unwrap().with_file_name("libfaulty_pkcs11.so");
        fs::copy(&built, &module).unwrap_or_else(|fault| panic!("{}: {fault}", built.display()));
        let behind = self.folder.join(name).join(format!("lib{name}_p11.so"));
        let conf =
            format!("module={}\nscript={}\naudit={}\n", behind.display(), script.display(), audit.display());
        fs::write(file(".so.conf"), conf).unwrap();
        let vendor = Vendor { name: name.to_owned(), module, root: None, init: None, timeout: LONG };
        Front { vendor, script, audit }
    }
}

/// A token with nothing particular about it.
pub(crate) fn wish(vendor: PracticeVendor) -> TokenWish<'static> {
    TokenWish { holder: "明德家具有限公司", vendor, label: None, valid: None }
}

fn patient(vendors: &Vendors) -> Vendors {
    let all = vendors.iter().map(|vendor| Vendor { timeout: LONG, ..vendor.clone() });
    Vendors::new(all.collect()).unwrap()
}

/// The faulty module.
pub(crate) struct Front {
    pub(crate) vendor: Vendor,
    script: PathBuf,
    audit: PathBuf,
}

impl Front {
    /// Lets these faults be on, and no others.
    pub(crate) fn script(&self, faults: &str) {
        // In one step: the module reads it at every call, on threads of its own.
        let new = self.script.with_extension("new");
        fs::write(&new, faults).unwrap();
        fs::rename(&new, &self.script).unwrap();
    }

    /// What tokens were asked for so far.
    pub(crate) fn audit(&self) -> Vec<String> {
        fs::read_to_string(&self.audit).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// How often a token heard a PIN.
    pub(crate) fn logins(&self) -> usize {
        self.audit().iter().filter(|line| *line == "C_Login").count()
    }

    /// What tokens were given to decrypt, in hexadecimal digits.
    pub(crate) fn decrypted(&self) -> Vec<String> {
        self.audit().iter().filter_map(|line| line.strip_prefix("C_Decrypt ").map(str::to_owned)).collect()
    }

    pub(crate) fn vendors(&self) -> Vendors {
        Vendors::new(vec![self.vendor.clone()]).unwrap()
    }

    /// Opens a token through this module.
    pub(crate) fn open(&self, token: &PracticeToken) -> Pkcs11Token {
        open(&self.vendors(), token.selector.as_ref().unwrap()).unwrap()
    }

    /// Opens a token through this module and enters its PIN.
    pub(crate) fn unlocked(&self, token: &PracticeToken) -> Pkcs11Token {
        let open = self.open(token);
        open.enter_pin(&token.pin()).unwrap();
        open
    }
}

/// What a story asks of a token again and again.
pub(crate) trait Asked {
    /// Signs with the key of this token's signing certificate.
    fn signs(&self, token: &PracticeToken) -> Result<(), TokenFault>;
}

impl<T: Token> Asked for T {
    fn signs(&self, token: &PracticeToken) -> Result<(), TokenFault> {
        let fingerprint = sha256(&token.signing_certificate);
        let signature = self.sign(&fingerprint, b"kaibiao")?;
        assert!(self.certificate(&fingerprint).unwrap().verifies(b"kaibiao", &signature));
        Ok(())
    }
}

/// The fingerprint of a token's encryption certificate.
pub(crate) fn encryption(token: &PracticeToken) -> Digest {
    sha256(&token.encryption_certificate)
}

/// RSA keys, each once, from a pool that is filled on the first run: making them is what takes the time.
pub(crate) fn key_pool() -> impl FnMut() -> Result<SoftKey, PracticeFault> + Send + 'static {
    let folder = Arc::new(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("token-keys"));
    fs::create_dir_all(&*folder).unwrap();
    let mut next = 0;
    move || {
        let path = folder.join(format!("{next:02}.pkcs8"));
        next += 1;
        if let Ok(pkcs8) = fs::read(&path) {
            return SoftKey::from_pkcs8(&pkcs8);
        }
        let key = SoftKey::generate()?;
        // Whole or not at all; of two stories that fill the pool at once, one key stays.
        let new = folder.join(format!("{next:02}-{}.new", std::process::id()));
        fs::write(&new, key.pkcs8()).unwrap();
        fs::rename(&new, &path).unwrap();
        Ok(key)
    }
}
