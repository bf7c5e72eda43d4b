//! A PKCS#11 module that stands in front of a real one, forwards every call, and fails where a script says so:
//! what vendors' modules and suppliers' hands do to tokens, on demand.
//!
//! Copy the library to a path of its own for each use (a copy is a module of its own to the loader) and put a
//! file beside it, named as the copy with `.conf` behind:
//!
//! ```text
//! module=/usr/lib/softhsm/libsofthsm2.so     the module behind
//! script=/tmp/x/script                       the faults; may be missing, is read again at every call
//! audit=/tmp/x/audit                         one line for each login, signature and decryption is added here
//! ```
//!
//! The script is described in [`script`]. Nothing here checks what a caller hands in: it is for tests only.

#![expect(
    unsafe_code,
    reason = "a PKCS#11 module is a table of C functions, and so is the module it forwards to"
)]

mod calls;
mod front;
pub mod script;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_ARGUMENTS_BAD, CKR_GENERAL_ERROR, CKR_OK};

/// The one function every PKCS#11 module offers by name.
///
/// # Safety
/// `list` is null or points to a place for a pointer, as PKCS#11 demands.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    let Ok(front) = front::get() else { return CKR_GENERAL_ERROR };
    // SAFETY: not null, so a place for a pointer; the list lives as long as the process, and callers only read.
    unsafe { *list = std::ptr::from_ref(&front.list).cast_mut() };
    CKR_OK
}
