//! The platform's keys: each in a file of its own under `DIR/keys`, for the server's account alone.
//!
//! Which keys belong to a journal is noted in its platform stream at the first start; from then on a start
//! with missing or other keys is refused. The keys are backed up apart from the data: whoever has both can
//! decrypt the part keys kept in an opening, whoever has the keys alone can sign receipts, records and orders
//! in the platform's name, and neither can open a bid whose supplier released no key.

mod file;
mod store;

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use kaibiao_protocol::digest::Digest;
use kaibiao_sealed::platform_key::{PlatformKey, PlatformKeyFault};
use serde::{Deserialize, Serialize};

pub use store::{STORE_KEY_BYTES, StoreKey, UnwrapFault};

use crate::{
    clock::Clock,
    journal::{Append, AppendFault, Journal, JournalFault, RawRecord, Stream},
};
use file::KeyFile;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyUse {
    /// Signs receipts, refusal notices and opening records (Ed25519).
    Receipt,
    /// Signs opening orders (Ed25519); sealed bids name it.
    Opening,
    /// Wraps the part keys that suppliers release (AES-256-GCM).
    Store,
}

impl KeyUse {
    fn as_str(self) -> &'static str {
        match self {
            KeyUse::Receipt => "receipt",
            KeyUse::Opening => "opening",
            KeyUse::Store => "store",
        }
    }

    fn algorithm(self) -> &'static str {
        match self {
            KeyUse::Receipt | KeyUse::Opening => "Ed25519",
            KeyUse::Store => "AES-256-GCM",
        }
    }
}

impl std::fmt::Display for KeyUse {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The keys of a platform.
pub struct PlatformKeys {
    /// Signs receipts, refusal notices and opening records.
    pub receipt: PlatformKey,
    /// Signs opening orders.
    pub opening: PlatformKey,
    /// Wraps part keys.
    pub store: StoreKey,
}

/// Which keys belong together with a journal; no secret.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyIds {
    /// SHA-256 of the receipt key's public half.
    pub receipt: Digest,
    /// SHA-256 of the opening key's public half.
    pub opening: Digest,
    /// The store key's id; see [`StoreKey::id`].
    pub store: Digest,
}

/// Why a platform's keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// Others than the server's account may read or write them.
    #[error(
        "{path} has mode {mode:04o}: others than the server's account may use it; \
         look whether they did, then set it to {wanted:04o}"
    )]
    OpenToOthers {
        /// The folder or file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// What they should be.
        wanted: u32,
    },
    /// The journal was written with a key that is not there.
    #[error(
        "the {key} key {path} is missing, and the journal was written with it: \
         restore it from the keys' backup (docs/operations.md, \"A key is missing\")"
    )]
    Missing {
        /// Which key.
        key: KeyUse,
        /// Where it should lie.
        path: PathBuf,
    },
    /// The key belongs to another platform.
    #[error(
        "the {key} key is {found}, but the journal was written with {noted}: \
         keys and data of two platforms were mixed (docs/operations.md, \"A key is missing\")"
    )]
    Mismatched {
        /// Which key.
        key: KeyUse,
        /// The id of the key found.
        found: Digest,
        /// The id the journal notes.
        noted: Digest,
    },
    /// The journal holds records, and notes no keys.
    #[error("the journal holds records and notes no keys: it was not written by a server of this program")]
    NotNoted,
    /// The file is no key file, or not this key's.
    #[error("{path} is not the {key} key's file: {what}")]
    Malformed {
        /// Which key was wanted.
        key: KeyUse,
        /// The file.
        path: PathBuf,
        /// What is wrong; never what is secret.
        what: String,
    },
    /// The library could not make a key.
    #[error("no key could be made")]
    NoKey,
    /// The disk fails.
    #[error("failed to {doing} {path}: {fault}")]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        fault: std::io::Error,
    },
    /// The journal cannot be read.
    #[error("failed to read the journal: {0}")]
    Journal(#[from] JournalFault),
    /// The journal does not take the note of the keys.
    #[error("failed to note the keys in the journal: {0}")]
    Append(#[from] AppendFault),
}

impl From<PlatformKeyFault> for KeyFault {
    fn from(_: PlatformKeyFault) -> Self {
        KeyFault::NoKey
    }
}

impl KeyFault {
    fn disk(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |fault| KeyFault::Disk { doing, path, fault }
    }
}

/// The record that notes which keys belong to the journal.
const INSTALLED_KIND: &str = "platform_keys_installed";
const INSTALLED_VERSION: u16 = 1;

impl PlatformKeys {
    /// The keys in `folder` that belong to `journal`; on an empty journal they are made where they are
    /// absent, and noted. Blocks on the disk and on one append.
    ///
    /// # Errors
    /// See [`KeyFault`].
    pub fn open(folder: &Path, journal: &dyn Journal, clock: &Clock) -> Result<Self, KeyFault> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(KeyFault::disk("make", folder))?;
        file::check_mode(folder, 0o700)?;
        let noted = noted(journal)?;
        if noted.is_none() && journal.head().position > 0 {
            return Err(KeyFault::NotNoted);
        }
        let may_make = noted.is_none();
        let signing = |key: KeyUse| -> Result<PlatformKey, KeyFault> {
            let path = file::path(folder, key);
            match KeyFile::read(folder, key)? {
                Some(file) => {
                    let found = PlatformKey::from_pkcs8(&file.secret).map_err(|fault| {
                        KeyFault::Malformed { key, path: path.clone(), what: fault.to_string() }
                    })?;
                    file.check_id(&found.id(), &path)?;
                    Ok(found)
                }
                None if may_make => {
                    let made = PlatformKey::generate()?;
                    KeyFile::write(folder, key, &made.id(), clock.now(), Some(made.public()), made.pkcs8())?;
                    Ok(made)
                }
                None => Err(KeyFault::Missing { key, path }),
            }
        };
        let (receipt, opening) = (signing(KeyUse::Receipt)?, signing(KeyUse::Opening)?);
        let store = Self::open_store(folder, may_make, clock)?;
        let keys = Self { receipt, opening, store };
        match noted {
            Some(noted) => keys.check(&noted)?,
            None => keys.note(journal, clock)?,
        }
        Ok(keys)
    }

    /// Keys of a platform that lives only in this process.
    ///
    /// # Panics
    /// The library could not make a key.
    #[cfg(feature = "practice")]
    pub fn practice() -> Self {
        let draw = || PlatformKey::generate().expect("the library makes a key");
        Self { receipt: draw(), opening: draw(), store: StoreKey::from_bytes(&StoreKey::draw()) }
    }

    /// Which keys these are.
    pub fn ids(&self) -> KeyIds {
        KeyIds { receipt: self.receipt.id(), opening: self.opening.id(), store: self.store.id() }
    }

    fn open_store(folder: &Path, may_make: bool, clock: &Clock) -> Result<StoreKey, KeyFault> {
        let key = KeyUse::Store;
        let path = file::path(folder, key);
        match KeyFile::read(folder, key)? {
            Some(file) => {
                let secret: &[u8; STORE_KEY_BYTES] =
                    file.secret.as_slice().try_into().map_err(|_| KeyFault::Malformed {
                        key,
                        path: path.clone(),
                        what: format!("the secret does not have {STORE_KEY_BYTES} bytes"),
                    })?;
                let found = StoreKey::from_bytes(secret);
                file.check_id(&found.id(), &path)?;
                Ok(found)
            }
            None if may_make => {
                let secret = StoreKey::draw();
                let made = StoreKey::from_bytes(&secret);
                KeyFile::write(folder, key, &made.id(), clock.now(), None, secret.as_slice())?;
                Ok(made)
            }
            None => Err(KeyFault::Missing { key, path }),
        }
    }

    fn check(&self, noted: &KeyIds) -> Result<(), KeyFault> {
        let found = self.ids();
        for (key, found, noted) in [
            (KeyUse::Receipt, found.receipt, noted.receipt),
            (KeyUse::Opening, found.opening, noted.opening),
            (KeyUse::Store, found.store, noted.store),
        ] {
            if found != noted {
                return Err(KeyFault::Mismatched { key, found, noted });
            }
        }
        Ok(())
    }

    fn note(&self, journal: &dyn Journal, clock: &Clock) -> Result<(), KeyFault> {
        let payload = serde_json::to_vec(&self.ids()).expect("digests have a JSON form");
        let record = RawRecord {
            kind: INSTALLED_KIND,
            version: INSTALLED_VERSION,
            at: clock.now(),
            command_id: None,
            payload,
        };
        let append = Append {
            stream: Stream::Platform,
            expected_seq: 0,
            records: vec![record],
            wake_at: None,
            side: Vec::new(),
        };
        journal.append(append).wait()?;
        Ok(())
    }
}

/// The keys the journal was written with, as noted last.
fn noted(journal: &dyn Journal) -> Result<Option<KeyIds>, KeyFault> {
    let mut noted = None;
    let mut after_seq = 0;
    loop {
        let page = journal.read(&Stream::Platform, after_seq, usize::MAX)?;
        let Some(last) = page.last() else { return Ok(noted) };
        after_seq = last.seq;
        for record in &page {
            if (record.kind.as_str(), record.version) == (INSTALLED_KIND, INSTALLED_VERSION) {
                noted = Some(serde_json::from_slice(&record.payload).map_err(|_| KeyFault::NotNoted)?);
            }
        }
    }
}
