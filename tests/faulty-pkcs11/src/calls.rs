//! The functions that can fail by script. All others are those of the module behind.

use std::ffi::c_void;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FLAGS, CK_FUNCTION_LIST, CK_MECHANISM, CK_MECHANISM_INFO,
    CK_MECHANISM_TYPE, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RSA_PKCS_OAEP_PARAMS, CK_RV, CK_SESSION_HANDLE,
    CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_TRUE, CK_ULONG, CK_USER_TYPE, CK_UTF8CHAR,
    CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKM_RSA_PKCS, CKM_RSA_PKCS_OAEP,
    CKM_SHA_1, CKM_SHA256_RSA_PKCS, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL, CKR_MECHANISM_INVALID, CKR_OK,
    CKR_PIN_INCORRECT, CKR_PIN_LOCKED,
};

use crate::{
    front::of_loaded,
    script::{Faults, Oaep, Twist},
};

/// The functions of the module `behind`, with ours in their places.
pub(crate) fn in_front_of(behind: CK_FUNCTION_LIST) -> CK_FUNCTION_LIST {
    CK_FUNCTION_LIST {
        C_GetFunctionList: Some(crate::C_GetFunctionList),
        C_Initialize: Some(initialize),
        C_GetSlotList: Some(get_slot_list),
        C_GetSlotInfo: Some(get_slot_info),
        C_GetTokenInfo: Some(get_token_info),
        C_GetMechanismList: Some(get_mechanism_list),
        C_GetMechanismInfo: Some(get_mechanism_info),
        C_OpenSession: Some(open_session),
        C_GetSessionInfo: Some(get_session_info),
        C_Login: Some(login),
        C_FindObjectsInit: Some(find_objects_init),
        C_GetAttributeValue: Some(get_attribute_value),
        C_SignInit: Some(sign_init),
        C_Sign: Some(sign),
        C_DecryptInit: Some(decrypt_init),
        C_Decrypt: Some(decrypt),
        ..behind
    }
}

/// Forwards to the module behind.
macro_rules! forward {
    ($function:ident($($argument:expr),*)) => {{
        let function = of_loaded().behind.$function.expect("the module behind has every function of 2.40");
        // SAFETY: the caller's own arguments, under the caller's own promises.
        unsafe { function($($argument),*) }
    }};
}

/// The faults that are on for a call, or an early return.
macro_rules! before {
    ($call:literal) => {
        match of_loaded().before($call) {
            Ok(faults) => faults,
            Err(value) => return value,
        }
    };
}

/// The real slot, or an early return.
macro_rules! real {
    ($slot:ident) => {
        match of_loaded().real($slot) {
            Ok(slot) => slot,
            Err(value) => return value,
        }
    };
}

unsafe extern "C" fn initialize(arguments: *mut c_void) -> CK_RV {
    let front = of_loaded();
    // No token is asked for yet: only what the script says of this call matters.
    loop {
        match front.faults().on("C_Initialize") {
            Some(Twist::Return(value)) => return value,
            Some(Twist::Hang) => std::thread::sleep(std::time::Duration::from_millis(1)),
            _ => return forward!(C_Initialize(arguments)),
        }
    }
}

unsafe extern "C" fn get_slot_list(
    with_token: CK_BBOOL,
    list: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    let front = of_loaded();
    let faults = front.faults();
    if let Some(Twist::Return(value)) = faults.on("C_GetSlotList") {
        return value;
    }
    if front.is_away(&faults) && with_token == CK_TRUE {
        // SAFETY: PKCS#11 demands a place for the count.
        unsafe { *count = 0 };
        return CKR_OK;
    }
    if !faults.rotate || list.is_null() {
        return forward!(C_GetSlotList(with_token, list, count));
    }
    let slots = front.real_slots();
    // SAFETY: PKCS#11 demands a place for the count, which says how many the list has room for.
    let room = unsafe { *count } as usize;
    // SAFETY: as above.
    unsafe { *count = slots.len() as CK_ULONG };
    if room < slots.len() {
        return CKR_BUFFER_TOO_SMALL;
    }
    for (place, number) in front.rotate(slots).into_iter().enumerate() {
        // SAFETY: there is room for all of them.
        unsafe { *list.add(place) = number };
    }
    CKR_OK
}

unsafe extern "C" fn get_slot_info(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    forward!(C_GetSlotInfo(real!(slot), info))
}

unsafe extern "C" fn get_token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    let faults = before!("C_GetTokenInfo");
    let outcome = forward!(C_GetTokenInfo(real!(slot), info));
    if outcome == CKR_OK
        && let Some(flags) = pin_flags(&faults)
    {
        // SAFETY: the module behind has just filled it in.
        let info = unsafe { &mut *info };
        info.flags &= !(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
        info.flags |= flags;
    }
    outcome
}

/// What the token says of its PIN, where the script has a say in it.
fn pin_flags(faults: &Faults) -> Option<CK_FLAGS> {
    faults.flags.or_else(|| {
        let left = faults.tries?.saturating_sub(of_loaded().wrong_pins());
        Some(match (left, of_loaded().wrong_pins()) {
            (0, _) => CKF_USER_PIN_LOCKED,
            (1, _) => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
            (_, 0) => 0,
            _ => CKF_USER_PIN_COUNT_LOW,
        })
    })
}

unsafe extern "C" fn get_mechanism_list(
    slot: CK_SLOT_ID,
    list: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    let faults = before!("C_GetMechanismList");
    let outcome = forward!(C_GetMechanismList(real!(slot), list, count));
    if outcome != CKR_OK || list.is_null() {
        return outcome;
    }
    // SAFETY: the module behind has just filled in so many.
    let listed = unsafe { std::slice::from_raw_parts_mut(list, *count as usize) };
    let mut kept = 0;
    for at in 0..listed.len() {
        if is_listed(listed[at], &faults) {
            listed[kept] = listed[at];
            kept += 1;
        }
    }
    // SAFETY: PKCS#11 demands a place for the count.
    unsafe { *count = kept as CK_ULONG };
    CKR_OK
}

fn is_listed(mechanism: CK_MECHANISM_TYPE, faults: &Faults) -> bool {
    match mechanism {
        CKM_RSA_PKCS_OAEP => faults.oaep != Oaep::None,
        CKM_SHA256_RSA_PKCS => !faults.sign_raw,
        // The same mechanism signs and decrypts: a token that must not list it cannot sign raw either.
        CKM_RSA_PKCS => !faults.no_pkcs1,
        _ => true,
    }
}

unsafe extern "C" fn get_mechanism_info(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    forward!(C_GetMechanismInfo(real!(slot), mechanism, info))
}

unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    let faults = before!("C_OpenSession");
    let mut slot = real!(slot);
    if faults.on("C_OpenSession") == Some(Twist::Elsewhere) {
        slot = of_loaded().real_slots().into_iter().find(|other| *other != slot).unwrap_or(slot);
    }
    forward!(C_OpenSession(slot, flags, application, notify, session))
}

unsafe extern "C" fn get_session_info(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    before!("C_GetSessionInfo");
    let outcome = forward!(C_GetSessionInfo(session, info));
    if outcome == CKR_OK {
        // SAFETY: the module behind has just filled it in.
        let info = unsafe { &mut *info };
        info.slotID = of_loaded().number_of(info.slotID);
    }
    outcome
}

unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: *mut CK_UTF8CHAR,
    pin_len: CK_ULONG,
) -> CK_RV {
    let front = of_loaded();
    // Noted before anything can fail: the audit tells how often a token heard a PIN.
    front.note("C_Login");
    let faults = before!("C_Login");
    if faults.tries.is_some_and(|tries| front.wrong_pins() >= tries) {
        return CKR_PIN_LOCKED;
    }
    let outcome = forward!(C_Login(session, user, pin, pin_len));
    match outcome {
        CKR_OK => front.count_pin(true),
        CKR_PIN_INCORRECT => front.count_pin(false),
        _ => {}
    }
    outcome
}

unsafe extern "C" fn find_objects_init(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    before!("C_FindObjectsInit");
    forward!(C_FindObjectsInit(session, template, count))
}

unsafe extern "C" fn get_attribute_value(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    before!("C_GetAttributeValue");
    forward!(C_GetAttributeValue(session, object, template, count))
}

unsafe extern "C" fn sign_init(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let faults = before!("C_SignInit");
    // SAFETY: PKCS#11 demands a mechanism.
    if faults.sign_raw && unsafe { (*mechanism).mechanism } == CKM_SHA256_RSA_PKCS {
        return CKR_MECHANISM_INVALID;
    }
    forward!(C_SignInit(session, mechanism, key))
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: *mut CK_ULONG,
) -> CK_RV {
    let faults = before!("C_Sign");
    if !signature.is_null() {
        of_loaded().note("C_Sign");
    }
    let outcome = forward!(C_Sign(session, data, data_len, signature, signature_len));
    // SAFETY: the module behind has just filled in so many bytes.
    unsafe { spoil(faults.on("C_Sign"), outcome, signature, signature_len) };
    outcome
}

unsafe extern "C" fn decrypt_init(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let faults = before!("C_DecryptInit");
    // SAFETY: PKCS#11 demands a mechanism, and with OAEP its parameters.
    let (kind, parameters) = unsafe { ((*mechanism).mechanism, (*mechanism).pParameter) };
    match (kind, faults.oaep) {
        (CKM_RSA_PKCS_OAEP, Oaep::None | Oaep::Refused) => return CKR_MECHANISM_INVALID,
        (CKM_RSA_PKCS_OAEP, Oaep::Sha1) => {
            let parameters = parameters.cast::<CK_RSA_PKCS_OAEP_PARAMS>();
            // SAFETY: as above.
            if parameters.is_null() || unsafe { (*parameters).hashAlg } != CKM_SHA_1 {
                return CKR_ARGUMENTS_BAD;
            }
        }
        (CKM_RSA_PKCS, _) if faults.no_pkcs1 => return CKR_MECHANISM_INVALID,
        _ => {}
    }
    forward!(C_DecryptInit(session, mechanism, key))
}

unsafe extern "C" fn decrypt(
    session: CK_SESSION_HANDLE,
    wrapped: *mut CK_BYTE,
    wrapped_len: CK_ULONG,
    clear: *mut CK_BYTE,
    clear_len: *mut CK_ULONG,
) -> CK_RV {
    let faults = before!("C_Decrypt");
    if !clear.is_null() {
        // SAFETY: the caller's own data, of this length.
        let wrapped = unsafe { std::slice::from_raw_parts(wrapped, wrapped_len as usize) };
        let digits: String = wrapped.iter().map(|byte| format!("{byte:02x}")).collect();
        of_loaded().note(&format!("C_Decrypt {digits}"));
    }
    let outcome = forward!(C_Decrypt(session, wrapped, wrapped_len, clear, clear_len));
    // SAFETY: the module behind has just filled in so many bytes.
    unsafe { spoil(faults.on("C_Decrypt"), outcome, clear, clear_len) };
    outcome
}

/// Makes the last byte of a result wrong, if the script says so.
///
/// # Safety
/// `bytes` is null or the module behind has filled in `len` of them.
unsafe fn spoil(twist: Option<Twist>, outcome: CK_RV, bytes: *mut CK_BYTE, len: *mut CK_ULONG) {
    if twist == Some(Twist::Spoil) && outcome == CKR_OK && !bytes.is_null() {
        // SAFETY: the caller promises it.
        unsafe { *bytes.add((*len as usize).saturating_sub(1)) ^= 1 };
    }
}
