//! A vendor's PKCS#11 module: loaded once and initialised once in this process, whoever asks.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    slot::{Slot, TokenInfo},
};

use super::{
    rv::{is_gone, value_of, vendor_fault},
    worker::{Stuck, Worker},
};
use crate::token::{PinTries, TokenFault, TokenName, Vendor};

/// One module file of this process; empty until it has been initialised.
type Cell = Arc<Mutex<Option<Pkcs11>>>;

/// Every module this process has loaded, by its file's real path. C_Initialize must be called once a process,
/// and a second loading of the same file is the same module to the system. Each has a lock of its own, so that
/// one vendor's module that hangs while loading does not hold up another's.
static LOADED: Mutex<BTreeMap<PathBuf, Cell>> = Mutex::new(BTreeMap::new());

/// A loaded module, seen as one vendor's.
pub(super) struct Module {
    vendor: Vendor,
    context: Pkcs11,
    /// Loading and listing block as any call does; they have a thread of their own.
    lister: Worker<()>,
}

/// One token as listing sees it. The slot is good for the next call and no longer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) slot: Slot,
    pub(super) name: TokenName,
    pub(super) info: TokenInfo,
}

impl Module {
    /// Loads and initialises the vendor's module, or finds it loaded.
    pub(super) fn of(vendor: &Vendor) -> Result<Self, TokenFault> {
        let path = fs::canonicalize(&vendor.module).map_err(|_| TokenFault::ModuleMissing {
            vendor: vendor.name.clone(),
            path: vendor.module.clone(),
        })?;
        let lister = Worker::start(&format!("token-list-{}", vendor.name), || ()).map_err(|fault| {
            TokenFault::Vendor {
                who: vendor.name.clone(),
                call: "starting a thread".into(),
                code: fault.to_string(),
            }
        })?;
        let loading = vendor.clone();
        let context = lister
            .call(vendor.timeout, move |()| load(&loading, path))
            .map_err(|stuck| stuck_fault(&vendor.name, "loading the driver", vendor, stuck))??;
        Ok(Self { vendor: vendor.clone(), context, lister })
    }

    /// The module's functions. Call them on a worker's thread only.
    pub(super) fn context(&self) -> &Pkcs11 {
        &self.context
    }

    /// Every initialised token that is plugged in now.
    pub(super) fn tokens(&self) -> Result<Vec<Seen>, TokenFault> {
        let (context, vendor) = (self.context.clone(), self.vendor.name.clone());
        self.lister
            .call(self.vendor.timeout, move |()| list(&context, &vendor))
            .map_err(|stuck| stuck_fault(&self.vendor.name, "listing tokens", &self.vendor, stuck))?
            .map_err(|fault| vendor_fault(&self.vendor.name, &fault))
    }
}

/// A call that brought no answer, as a fault of `who`.
pub(super) fn stuck_fault(
    who: impl ToString,
    during: &'static str,
    vendor: &Vendor,
    stuck: Stuck,
) -> TokenFault {
    let who = who.to_string();
    let odd =
        |code: &str| TokenFault::Vendor { who: who.clone(), call: during.to_owned(), code: code.to_owned() };
    match stuck {
        Stuck::TimedOut => {
            TokenFault::TimedOut { seconds: vendor.timeout.as_secs_f64().ceil() as u64, who, during }
        }
        Stuck::Full => odd("too many calls wait"),
        Stuck::Ended => odd("an earlier call ended its thread"),
    }
}

/// Lists tokens on the calling thread; what a worker uses to find its token again.
pub(super) fn list(context: &Pkcs11, vendor: &str) -> Result<Vec<Seen>, Error> {
    let mut tokens = Vec::new();
    // Not `get_slots_with_initialized_token`: it fails as a whole when one token is pulled while it looks.
    for slot in context.get_slots_with_token()? {
        let info = match context.get_token_info(slot) {
            Ok(info) => info,
            Err(fault) if is_gone(&fault) || value_of(&fault) == Some(RvError::TokenNotRecognized) => {
                continue;
            }
            Err(fault) => return Err(fault),
        };
        if info.token_initialized() {
            tokens.push(Seen { slot, name: name_of(&info, vendor), info });
        }
    }
    Ok(tokens)
}

pub(super) fn name_of(info: &TokenInfo, vendor: &str) -> TokenName {
    // Whoever formatted the token chose these; they are shown on terminals and put into records.
    let plain = |text: &str| text.replace(|letter: char| letter.is_control(), "\u{fffd}");
    TokenName { vendor: vendor.to_owned(), label: plain(info.label()), serial: plain(info.serial_number()) }
}

/// What the flags say, the worst first: modules do not always lower the milder ones.
pub(super) fn tries_of(info: &TokenInfo) -> PinTries {
    if info.user_pin_locked() {
        PinTries::Locked
    } else if info.user_pin_final_try() {
        PinTries::LastTry
    } else if info.user_pin_count_low() {
        PinTries::FewLeft
    } else {
        PinTries::Enough
    }
}

fn load(vendor: &Vendor, path: PathBuf) -> Result<Pkcs11, TokenFault> {
    let cell = Arc::clone(locked(&LOADED).entry(path.clone()).or_default());
    let mut cell = locked(&cell);
    if let Some(context) = &*cell {
        return Ok(context.clone());
    }
    let context = Pkcs11::new(&path).map_err(|fault| unusable(vendor, &path, &fault))?;
    match initialize(&context, vendor.init.as_deref()) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(fault) => return Err(vendor_fault(&vendor.name, &fault)),
    }
    Ok(cell.insert(context).clone())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is inside is whole whatever a panicking thread did: entries are put in complete.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unusable(vendor: &Vendor, path: &Path, fault: &Error) -> TokenFault {
    let why = match fault {
        Error::LibraryLoading(fault) => {
            std::error::Error::source(fault).map_or(fault.to_string(), ToString::to_string)
        }
        Error::MissingSymbol(name) => format!("it has no {name}"),
        other => other.to_string(),
    };
    TokenFault::NotAModule { vendor: vendor.name.clone(), path: path.to_owned(), why }
}

fn initialize(context: &Pkcs11, words: Option<&str>) -> Result<(), Error> {
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let Some(words) = words else {
        return context.initialize(CInitializeArgs::new(flags));
    };
    let words = CString::new(words).map_err(Error::NulError)?;
    let pointer = std::ptr::NonNull::from(words.as_c_str()).cast();
    // C_Initialize gets the vendor's own words through a bare pointer: PKCS#11 has no other way, and cryptoki
    // marks it so.
    #[expect(unsafe_code, reason = "cryptoki offers pReserved only through an unsafe function")]
    // SAFETY: `words` is a C string that outlives the call, and modules that take pReserved read it as one.
    let arguments = unsafe { CInitializeArgs::new_with_reserved(flags, pointer) };
    context.initialize(arguments)
}
