//! The roots a directory trusts, read once for each of its states.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use kaibiao_engine::directory::Directory;
use kaibiao_sealed::trust::{Trust, VendorRoot, newest_lists, split_lists};

/// Reads the roots and revocation lists of a directory. A root that cannot be trusted though the directory took it
/// in, or whose list cannot be read, is left out and logged: its certificates are foreign then, never unrevoked.
pub fn trust_of(directory: &Directory) -> Trust {
    let holds = |root: &VendorRoot| Trust::new(vec![root.clone()]);
    let mut trusted = Vec::new();
    let mut lists_taken = BTreeSet::new();
    let mut without_list = Vec::new();
    for root in directory.roots() {
        let bare = VendorRoot {
            vendor: root.vendor.clone(),
            root: root.certificate.0.clone(),
            intermediates: root.intermediates.iter().map(|one| one.0.clone()).collect(),
            revocation_lists: Vec::new(),
        };
        let Some(list) = directory.revocation_list(&root.vendor) else {
            without_list.push(bare);
            continue;
        };
        // One of each issuer, and perhaps of another root of the vendor too.
        let all = VendorRoot { revocation_lists: split_lists(&list.0), ..bare.clone() };
        match newest_lists(&all) {
            Ok(lists) if !lists.is_empty() => {
                lists_taken.insert(root.vendor.clone());
                trusted.push(VendorRoot { revocation_lists: lists, ..bare });
            }
            Ok(_) | Err(_) => without_list.push(bare),
        }
    }
    for root in without_list {
        // A vendor's list is one of its roots'; beside a root that takes it, an older root may stand without.
        let unlisted =
            directory.revocation_list(&root.vendor).is_none() || lists_taken.contains(&root.vendor);
        match holds(&root) {
            Ok(_) if unlisted => trusted.push(root),
            Ok(_) => {
                tracing::error!(vendor = root.vendor, "a root is left out: its revocation list does not fit")
            }
            Err(fault) => tracing::error!(%fault, "a root of the directory is left out"),
        }
    }
    Trust::new(trusted).expect("each of these roots was taken alone")
}

/// Keeps the roots of the directory's latest state.
#[derive(Default)]
pub struct TrustShelf(Mutex<Option<(Weak<Directory>, Arc<Trust>)>>);

impl TrustShelf {
    /// The roots trusted by `directory`.
    pub fn of(&self, directory: &Arc<Directory>) -> Arc<Trust> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, trust)) = kept.as_ref()
            && of.as_ptr() == Arc::as_ptr(directory)
        {
            return trust.clone();
        }
        let trust = Arc::new(trust_of(directory));
        // The weak pointer keeps the address from being used again for another state.
        *kept = Some((Arc::downgrade(directory), trust.clone()));
        trust
    }
}
