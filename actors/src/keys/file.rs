//! A key's file: a small JSON object that only the server's account may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kaibiao_protocol::{digest::Digest, moment::Moment};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use super::{KeyFault, KeyUse};

const FORMAT: &str = "kaibiao-key/1";
/// Far more than a key file has.
const FILE_BYTES_MAX: usize = 16 << 10;

/// A key as it lies in its file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyFile {
    format: String,
    key: KeyUse,
    algorithm: String,
    id: Digest,
    #[expect(dead_code, reason = "for the people who look after the keys; decides nothing here")]
    created_at: Moment,
    #[serde(default)]
    #[expect(dead_code, reason = "for the people who look after the keys; the secret half tells it too")]
    public: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) secret: Zeroizing<Vec<u8>>,
}

/// Where a key's file lies.
pub(super) fn path(folder: &Path, key: KeyUse) -> PathBuf {
    folder.join(format!("{key}.json"))
}

/// Whether nobody but the owner may use a folder or file.
pub(super) fn check_mode(path: &Path, wanted: u32) -> Result<(), KeyFault> {
    let metadata = fs::metadata(path).map_err(KeyFault::disk("look at", path))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(KeyFault::OpenToOthers { path: path.to_owned(), mode, wanted })
    }
}

impl KeyFile {
    /// Reads a key's file; `None` if there is none.
    pub(super) fn read(folder: &Path, key: KeyUse) -> Result<Option<Self>, KeyFault> {
        let path = path(folder, key);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(KeyFault::disk("open", &path)(fault)),
        };
        check_mode(&path, 0o600)?;
        let malformed = |what: &str| KeyFault::Malformed { key, path: path.clone(), what: what.to_owned() };
        // One place for the text, as large as it may get: growing would leave parts of the secret behind.
        let mut text = Zeroizing::new(vec![0; FILE_BYTES_MAX]);
        let mut bytes = 0;
        loop {
            match file.read(&mut text[bytes..]).map_err(KeyFault::disk("read", &path))? {
                0 if bytes == FILE_BYTES_MAX => return Err(malformed("it is too long")),
                0 => break,
                more => bytes += more,
            }
        }
        // serde's own words may quote what it read.
        let read: KeyFile = serde_json::from_slice(&text[..bytes]).map_err(|fault| {
            malformed(&format!("not the JSON of a key, at line {} column {}", fault.line(), fault.column()))
        })?;
        if read.format != FORMAT {
            return Err(malformed("its format is another one"));
        }
        if read.key != key || read.algorithm != key.algorithm() {
            return Err(malformed("it holds another key"));
        }
        Ok(Some(read))
    }

    /// Whether the file's id is that of the secret it holds.
    pub(super) fn check_id(&self, id: &Digest, path: &Path) -> Result<(), KeyFault> {
        if self.id == *id {
            return Ok(());
        }
        let what = "its id is not that of its secret".to_owned();
        Err(KeyFault::Malformed { key: self.key, path: path.to_owned(), what })
    }

    /// Writes a key's file, whole or not at all, and makes it durable.
    pub(super) fn write(
        folder: &Path,
        key: KeyUse,
        id: &Digest,
        created_at: Moment,
        public: Option<&[u8]>,
        secret: &[u8],
    ) -> Result<(), KeyFault> {
        let path = path(folder, key);
        let encoded = Zeroizing::new(STANDARD.encode(secret));
        let public =
            public.map_or(String::new(), |public| format!("  \"public\": \"{}\",\n", hex::encode(public)));
        let front = format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"key\": \"{key}\",\n  \"algorithm\": \"{}\",\n  \
             \"id\": \"{id}\",\n  \"created_at\": {},\n{public}",
            key.algorithm(),
            created_at.0,
        );
        let fresh = folder.join(format!("{key}.json.new"));
        let written = (|| {
            // One left behind by a crash is no key yet.
            match fs::remove_file(&fresh) {
                Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
                Ok(()) | Err(_) => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            for piece in [front.as_bytes(), b"  \"secret\": \"", encoded.as_bytes(), b"\"\n}\n"] {
                file.write_all(piece)?;
            }
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(folder)?.sync_all()
        })();
        written.map_err(KeyFault::disk("write", &path))
    }
}

/// Base64 straight from the text into a place that is wiped.
fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    // Borrowed, so that serde makes no copy of its own.
    let text = <&'de str>::deserialize(input)?;
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| de::Error::custom("not standard base64"))
}
