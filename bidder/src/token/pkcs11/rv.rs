//! What a module's return value means to people.

use cryptoki::error::{Error, RvError};

use crate::token::{TokenFault, TokenName};

/// The CKR name of a return value: cryptoki names its variants after them.
pub(super) fn ckr_name(value: RvError) -> String {
    match value {
        RvError::VendorDefined(code) => return format!("CKR_VENDOR_DEFINED {code:#x}"),
        RvError::UnknownErrorCode(code) => return format!("return value {code:#x}"),
        _ => {}
    }
    let mut name = String::from("CKR");
    for letter in format!("{value:?}").chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// The token is not in its slot any more, or what we held of it is void.
pub(super) fn is_gone(fault: &Error) -> bool {
    matches!(
        fault,
        Error::Pkcs11(
            RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::SlotIdInvalid,
            _
        )
    )
}

/// The module says no for a reason that has nothing to do with what it was given to unwrap. Every other value
/// may stand for a padding that does not fit: modules answer that with many different ones, and SoftHSM with
/// CKR_GENERAL_ERROR.
pub(super) fn is_no_matter_of_padding(value: RvError) -> bool {
    matches!(
        value,
        RvError::CryptokiNotInitialized
            | RvError::DeviceError
            | RvError::DeviceMemory
            | RvError::FunctionNotSupported
            | RvError::HostMemory
            | RvError::KeyFunctionNotPermitted
            | RvError::KeyHandleInvalid
            | RvError::KeyTypeInconsistent
            | RvError::ObjectHandleInvalid
            | RvError::PinExpired
            | RvError::UserNotLoggedIn
    )
}

/// The return value, if it is one.
pub(super) fn value_of(fault: &Error) -> Option<RvError> {
    match fault {
        Error::Pkcs11(value, _) => Some(*value),
        _ => None,
    }
}

/// A module's failure that has no plainer name.
pub(super) fn vendor_fault(who: impl ToString, fault: &Error) -> TokenFault {
    let (call, code) = match fault {
        Error::Pkcs11(value, function) => (format!("C_{function:?}"), ckr_name(*value)),
        Error::NullFunctionPointer => ("a function the module does not have".to_owned(), fault.to_string()),
        other => ("the module".to_owned(), other.to_string()),
    };
    TokenFault::Vendor { who: who.to_string(), call, code }
}

/// A token's failure while doing `during`.
pub(super) fn token_fault(token: &TokenName, during: &'static str, fault: &Error) -> TokenFault {
    if is_gone(fault) {
        return TokenFault::Pulled { token: token.clone(), during };
    }
    match value_of(fault) {
        Some(RvError::UserNotLoggedIn) => TokenFault::PinNeeded { token: token.clone() },
        Some(RvError::PinLocked) => TokenFault::PinLocked { token: token.clone() },
        Some(RvError::PinExpired | RvError::UserPinNotInitialized) => {
            TokenFault::PinExpired { token: token.clone() }
        }
        _ => vendor_fault(token, fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_value_goes_by_its_name_in_the_standard() {
        assert_eq!(ckr_name(RvError::FunctionFailed), "CKR_FUNCTION_FAILED");
        assert_eq!(ckr_name(RvError::KeyFunctionNotPermitted), "CKR_KEY_FUNCTION_NOT_PERMITTED");
        assert_eq!(ckr_name(RvError::VendorDefined(0x8000_0101)), "CKR_VENDOR_DEFINED 0x80000101");
    }
}
