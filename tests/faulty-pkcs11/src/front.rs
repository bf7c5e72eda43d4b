//! The module behind, and what this one remembers between calls.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::Duration,
};

use cryptoki_sys::{
    CK_FALSE, CK_FUNCTION_LIST, CK_RV, CK_SLOT_ID, CKR_DEVICE_REMOVED, CKR_OK, CKR_SLOT_ID_INVALID,
    CKR_TOKEN_NOT_PRESENT,
};

use crate::{
    calls,
    script::{Faults, Twist},
};

/// The module behind as a caller sees it through this one.
pub(crate) struct Front {
    /// The functions of the module behind.
    pub(crate) behind: CK_FUNCTION_LIST,
    /// Our own: those of the module behind, but for the ones that can fail by script.
    pub(crate) list: CK_FUNCTION_LIST,
    script: PathBuf,
    audit: PathBuf,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The real slots by the numbers handed out at the last listing, while slots rotate.
    handed_out: Option<Vec<CK_SLOT_ID>>,
    listings: usize,
    wrong_pins: u32,
    /// A call pulled the token.
    pulled: bool,
    /// The sessions that a token that went away had are closed already.
    emptied: bool,
}

static FRONT: OnceLock<Result<Front, String>> = OnceLock::new();

/// Loads the module behind at the first call.
pub(crate) fn get() -> Result<&'static Front, &'static str> {
    FRONT.get_or_init(Front::load).as_ref().map_err(String::as_str)
}

/// As [`get`], for functions that can only be called after it has succeeded.
pub(crate) fn of_loaded() -> &'static Front {
    get().expect("a caller has our functions only once the module behind is loaded")
}

impl Front {
    fn load() -> Result<Self, String> {
        let own = own_path().ok_or("our own path is not mapped")?;
        let conf = PathBuf::from(format!("{}.conf", own.display()));
        let text = fs::read_to_string(&conf).map_err(|fault| format!("{}: {fault}", conf.display()))?;
        let setting = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            value.map(PathBuf::from).ok_or_else(|| format!("{} has no {name}", conf.display()))
        };
        // SAFETY: loading runs the library's own code, as it would without us.
        let library = unsafe { cryptoki_sys::Pkcs11::new(setting("module")?) }.map_err(|f| f.to_string())?;
        let get = library.C_GetFunctionList.as_ref().map_err(ToString::to_string)?;
        let mut list = std::ptr::null_mut();
        // SAFETY: the function of a PKCS#11 module, called as PKCS#11 says.
        if unsafe { get(&mut list) } != CKR_OK || list.is_null() {
            return Err("the module behind gives no functions".into());
        }
        // SAFETY: not null, and a module's list lives as long as the module.
        let behind = unsafe { *list };
        // The module stays for the life of the process: its functions are in the list.
        std::mem::forget(library);
        Ok(Self {
            behind,
            list: calls::in_front_of(behind),
            script: setting("script")?,
            audit: setting("audit")?,
            memory: Mutex::default(),
        })
    }

    /// The faults that are on now.
    pub(crate) fn faults(&self) -> Faults {
        Faults::read(&self.script)
    }

    /// What must be known before a call is forwarded: the faults that are on, or the value it returns at once.
    pub(crate) fn before(&self, call: &str) -> Result<Faults, CK_RV> {
        let mut faults = self.faults();
        while faults.on(call) == Some(Twist::Hang) {
            thread::sleep(Duration::from_millis(1));
            faults = self.faults();
        }
        let away = self.is_away(&faults);
        match faults.on(call) {
            Some(Twist::Return(value)) => Err(value),
            Some(Twist::Pull(value)) if !away => {
                self.memory().pulled = true;
                self.is_away(&faults);
                Err(value)
            }
            _ if away && call == "C_OpenSession" => Err(CKR_TOKEN_NOT_PRESENT),
            _ if away => Err(CKR_DEVICE_REMOVED),
            _ => Ok(faults),
        }
    }

    /// Whether the token is away. When it goes, its sessions and logins end, as they do when one is pulled.
    pub(crate) fn is_away(&self, faults: &Faults) -> bool {
        let mut memory = self.memory();
        memory.pulled &= faults.names_a_pull();
        let away = faults.absent || memory.pulled;
        if away && !memory.emptied {
            let close = self.behind.C_CloseAllSessions.expect("every module can close sessions");
            for slot in self.real_slots() {
                // SAFETY: a slot the module behind has just named. A slot without sessions is no harm.
                unsafe { close(slot) };
            }
        }
        memory.emptied = away;
        away
    }

    /// Every slot of the module behind.
    pub(crate) fn real_slots(&self) -> Vec<CK_SLOT_ID> {
        let list = self.behind.C_GetSlotList.expect("every module lists its slots");
        let mut count = 0;
        // SAFETY: asking for the number, then for so many, as PKCS#11 says.
        if unsafe { list(CK_FALSE, std::ptr::null_mut(), &mut count) } != CKR_OK {
            return Vec::new();
        }
        let mut slots = vec![0; count as usize];
        // SAFETY: as above; `slots` has room for `count`.
        if unsafe { list(CK_FALSE, slots.as_mut_ptr(), &mut count) } != CKR_OK {
            return Vec::new();
        }
        slots.truncate(count as usize);
        slots
    }

    /// Hands out numbers for these slots, other ones than last time.
    pub(crate) fn rotate(&self, mut slots: Vec<CK_SLOT_ID>) -> Vec<CK_SLOT_ID> {
        let mut memory = self.memory();
        memory.listings += 1;
        let turn = memory.listings % slots.len().max(1);
        slots.rotate_left(turn);
        let numbers = (0..slots.len() as CK_SLOT_ID).collect();
        memory.handed_out = Some(slots);
        numbers
    }

    /// The real slot behind a number.
    pub(crate) fn real(&self, slot: CK_SLOT_ID) -> Result<CK_SLOT_ID, CK_RV> {
        match &self.memory().handed_out {
            Some(slots) => slots.get(slot as usize).copied().ok_or(CKR_SLOT_ID_INVALID),
            None => Ok(slot),
        }
    }

    /// The number under which a real slot goes now.
    pub(crate) fn number_of(&self, real: CK_SLOT_ID) -> CK_SLOT_ID {
        let memory = self.memory();
        let place = memory.handed_out.as_ref().and_then(|slots| slots.iter().position(|slot| *slot == real));
        place.map_or(real, |place| place as CK_SLOT_ID)
    }

    /// How many wrong PINs were entered since the last right one.
    pub(crate) fn wrong_pins(&self) -> u32 {
        self.memory().wrong_pins
    }

    /// Counts a PIN.
    pub(crate) fn count_pin(&self, right: bool) {
        let mut memory = self.memory();
        memory.wrong_pins = if right { 0 } else { memory.wrong_pins + 1 };
    }

    /// Adds a line to the audit.
    pub(crate) fn note(&self, line: &str) {
        let file = OpenOptions::new().create(true).append(true).open(&self.audit);
        // One write a line, so that lines of two threads do not mix.
        file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()))
            .expect("the audit can be written");
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file this library was loaded from: the one mapped where our own code lies.
fn own_path() -> Option<PathBuf> {
    let here = own_path as fn() -> Option<PathBuf> as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        let path = rest.get(rest.find('/')?..)?;
        (from..to).contains(&here).then(|| Path::new(path).to_owned())
    })
}
