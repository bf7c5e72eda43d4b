//! Writing a PKCS#12 file of practice keys.

use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKeyChain};

use super::shop::ShopFault;

/// Rounds of key derivation: few, for nothing here is worth guessing at.
const ROUNDS: u64 = 2048;

/// One key of a file: its friendly name, private key (PKCS#8) and certificate (DER).
pub(super) struct Held<'a> {
    pub(super) name: &'a str,
    pub(super) pkcs8: &'a [u8],
    pub(super) certificate: &'a [u8],
}

/// The file of these keys under `password`.
pub(super) fn write(held: &[Held<'_>], password: &str) -> Result<Vec<u8>, ShopFault> {
    let refused = |fault: p12_keystore::error::Error| ShopFault::Pkcs12(fault.to_string());
    let mut store = KeyStore::new();
    for Held { name, pkcs8, certificate } in held {
        let certificate = Certificate::from_der(certificate).map_err(refused)?;
        let chain = PrivateKeyChain::new(pkcs8, name.as_bytes(), [certificate]);
        store.add_entry(name, KeyStoreEntry::PrivateKeyChain(chain));
    }
    store.writer(password).encryption_iterations(ROUNDS).mac_iterations(ROUNDS).write().map_err(refused)
}
