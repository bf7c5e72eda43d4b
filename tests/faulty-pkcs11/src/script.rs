//! The script: which faults are on. One a line; unknown lines stop the process, for a misspelt fault tests nothing.
//!
//! ```text
//! C_Sign return CKR_DEVICE_ERROR   the call does nothing and returns this (or 0x80000101)
//! C_Sign pull CKR_FUNCTION_FAILED  the token is pulled during the call, which returns this; it stays away
//!                                  until the script names no pull any more
//! C_Sign hang                      the call does not begin before this line is gone
//! C_Sign spoil                     the last byte of the result is wrong (C_Sign, C_Decrypt)
//! C_OpenSession elsewhere          the session is with another token: slots moved since they were listed
//! absent                           no token is plugged in
//! rotate                           slot numbers move on by one at every listing
//! flags few_left                   what the token says of its PIN: few_left, last_try or locked
//! tries 3                          so many wrong PINs lock it, and its flags follow
//! oaep none                        OAEP is not listed and not done
//! oaep sha1                        OAEP is done with SHA-1 only
//! oaep refused                     OAEP is listed and not done
//! pkcs1 none                       PKCS#1 v1.5 is not listed and not done
//! sign raw                         CKM_SHA256_RSA_PKCS is not listed and not done
//! ```

use std::path::Path;

use cryptoki_sys::{
    CK_FLAGS, CK_RV, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED, CKR_DATA_INVALID,
    CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_ENCRYPTED_DATA_INVALID, CKR_FUNCTION_FAILED, CKR_GENERAL_ERROR,
    CKR_OPERATION_ACTIVE, CKR_PIN_EXPIRED, CKR_PIN_LOCKED, CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT,
    CKR_USER_NOT_LOGGED_IN,
};

/// Which OAEP the token does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Oaep {
    /// Whatever the module behind does.
    #[default]
    AsBehind,
    /// None, and it says so.
    None,
    /// With SHA-1 only.
    Sha1,
    /// None, though it is listed.
    Refused,
}

/// What happens to one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Twist {
    /// It does nothing and returns this.
    Return(CK_RV),
    /// The token is pulled during it; it returns this.
    Pull(CK_RV),
    /// It does not begin.
    Hang,
    /// Its result is wrong.
    Spoil,
    /// It reaches another token.
    Elsewhere,
}

/// The faults that are on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    twists: Vec<(String, Twist)>,
    /// No token is plugged in.
    pub absent: bool,
    /// Slot numbers move.
    pub rotate: bool,
    /// What the token's flags say of the PIN.
    pub flags: Option<CK_FLAGS>,
    /// So many wrong PINs lock it.
    pub tries: Option<u32>,
    /// Which OAEP it does.
    pub oaep: Oaep,
    /// No PKCS#1 v1.5 decryption.
    pub no_pkcs1: bool,
    /// No signature that hashes in the token.
    pub sign_raw: bool,
}

impl Faults {
    /// The faults a script file names; none if there is no file.
    ///
    /// # Panics
    /// A line is none of the script's.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut faults = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            faults.take(line).unwrap_or_else(|| panic!("no line of a script of faulty-pkcs11: {line:?}"));
        }
        faults
    }

    fn take(&mut self, line: &str) -> Option<()> {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["absent"] => self.absent = true,
            ["rotate"] => self.rotate = true,
            ["flags", "few_left"] => self.flags = Some(CKF_USER_PIN_COUNT_LOW),
            ["flags", "last_try"] => self.flags = Some(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY),
            ["flags", "locked"] => self.flags = Some(CKF_USER_PIN_LOCKED),
            ["tries", number] => self.tries = Some(number.parse().ok()?),
            ["oaep", "none"] => self.oaep = Oaep::None,
            ["oaep", "sha1"] => self.oaep = Oaep::Sha1,
            ["oaep", "refused"] => self.oaep = Oaep::Refused,
            ["pkcs1", "none"] => self.no_pkcs1 = true,
            ["sign", "raw"] => self.sign_raw = true,
            [call, "return", value] => self.twist(call, Twist::Return(return_value(value)?)),
            [call, "pull", value] => self.twist(call, Twist::Pull(return_value(value)?)),
            [call, "hang"] => self.twist(call, Twist::Hang),
            ["C_OpenSession", "elsewhere"] => self.twist("C_OpenSession", Twist::Elsewhere),
            [call, "spoil"] => self.twist(call, Twist::Spoil),
            _ => return None,
        }
        Some(())
    }

    fn twist(&mut self, call: &str, twist: Twist) {
        self.twists.push((call.to_owned(), twist));
    }

    /// What happens to this call, if anything.
    pub fn on(&self, call: &str) -> Option<Twist> {
        self.twists.iter().find(|(name, _)| name == call).map(|(_, twist)| *twist)
    }

    /// Whether a token that was pulled stays away.
    pub fn names_a_pull(&self) -> bool {
        self.twists.iter().any(|(_, twist)| matches!(twist, Twist::Pull(_)))
    }
}

fn return_value(text: &str) -> Option<CK_RV> {
    Some(match text {
        "CKR_DATA_INVALID" => CKR_DATA_INVALID,
        "CKR_DEVICE_ERROR" => CKR_DEVICE_ERROR,
        "CKR_DEVICE_REMOVED" => CKR_DEVICE_REMOVED,
        "CKR_ENCRYPTED_DATA_INVALID" => CKR_ENCRYPTED_DATA_INVALID,
        "CKR_FUNCTION_FAILED" => CKR_FUNCTION_FAILED,
        "CKR_GENERAL_ERROR" => CKR_GENERAL_ERROR,
        "CKR_OPERATION_ACTIVE" => CKR_OPERATION_ACTIVE,
        "CKR_PIN_EXPIRED" => CKR_PIN_EXPIRED,
        "CKR_PIN_LOCKED" => CKR_PIN_LOCKED,
        "CKR_SESSION_HANDLE_INVALID" => CKR_SESSION_HANDLE_INVALID,
        "CKR_TOKEN_NOT_PRESENT" => CKR_TOKEN_NOT_PRESENT,
        "CKR_USER_NOT_LOGGED_IN" => CKR_USER_NOT_LOGGED_IN,
        other => CK_RV::from_str_radix(other.strip_prefix("0x")?, 16).ok()?,
    })
}
