//! Refusals: normal answers that name the fault, the rule and the next step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $code:ident = $text:literal),+ $(,)?) => {
        /// Why something was refused; one code an offence.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        pub enum RefusalCode {
            $($(#[doc = $about])+ #[serde(rename = $text)] $code),+
        }

        impl RefusalCode {
            /// Every code, in a fixed order.
            pub const ALL: &'static [RefusalCode] = &[$(RefusalCode::$code),+];

            /// The code as it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(RefusalCode::$code => $text),+ }
            }
        }
    };
}

codes! {
    // Who asks, and how.
    /// The frame or form is not one the server knows.
    Malformed = "malformed",
    /// A number or text of the command is missing, too long or outside its limits.
    FieldInvalid = "field_invalid",
    /// Nobody is signed in on this connection.
    NotSignedIn = "not_signed_in",
    /// The session has ended.
    SessionEnded = "session_ended",
    /// Account, password, certificate or signature do not fit; says no more than that.
    SignInFailed = "sign_in_failed",
    /// Too many failures; wait.
    SlowDown = "slow_down",
    /// The challenge is unknown, used or too old.
    ChallengeExpired = "challenge_expired",
    /// The certificate is past its end.
    CertificateExpired = "certificate_expired",
    /// The certificate is not valid yet.
    CertificateNotYetValid = "certificate_not_yet_valid",
    /// The certificate stands on its issuer's revocation list.
    CertificateRevoked = "certificate_revoked",
    /// No configured root issued the certificate.
    CertificateForeign = "certificate_foreign",
    /// The certificate is not made for this use.
    CertificateWrongUse = "certificate_wrong_use",
    /// The certificate is bound to no account, or to another.
    CertificateUnbound = "certificate_unbound",
    /// This role may not do that.
    RoleNotAllowed = "role_not_allowed",
    /// This organisation has no part in the project.
    NotYourProject = "not_your_project",
    /// The project, bid or thing does not exist, or not for you.
    Unknown = "unknown",
    /// The name is taken.
    AlreadyExists = "already_exists",
    /// A queue is full; try again shortly.
    Busy = "busy",
    /// The platform cannot write; reading goes on.
    WritingEnded = "writing_ended",
    /// The disk has no room for this.
    NoRoom = "no_room",

    // Setting up.
    /// A field of the project breaks a limit.
    SpecInvalid = "spec_invalid",
    /// The deadline is nearer than the law allows.
    DeadlineTooSoon = "deadline_too_soon",
    /// The bid security is more than the law allows.
    BidSecurityTooHigh = "bid_security_too_high",

    /// A correction comes too late: the deadline has come.
    CorrectionTooLate = "correction_too_late",
    /// No outage of the platform around the deadline is recorded.
    NoOutageRecorded = "no_outage_recorded",

    // Handing in.
    /// The last byte was in at or after the deadline.
    PastDeadline = "past_deadline",
    /// The project is no longer receiving.
    NotReceiving = "not_receiving",
    /// The supplier is not among those invited.
    NotInvited = "not_invited",
    /// A field of the upload form is missing or malformed.
    FormInvalid = "form_invalid",
    /// The file is not a sealed bid.
    NotASealedBid = "not_a_sealed_bid",
    /// The sealed bid is damaged or cut.
    SealedBidDamaged = "sealed_bid_damaged",
    /// The sealed bid is larger than the project allows.
    TooLarge = "too_large",
    /// It was sealed for another project.
    OtherProject = "other_project",
    /// It was sealed by another supplier.
    OtherSupplier = "other_supplier",
    /// It names a lot this project does not have.
    OtherLots = "other_lots",
    /// It was sealed for another platform's opening key.
    OtherPlatform = "other_platform",
    /// Its signature does not hold.
    SignatureInvalid = "signature_invalid",
    /// The same ciphertext was handed in by another supplier.
    SameCiphertext = "same_ciphertext",
    /// The upload id was used for something else.
    UploadTaken = "upload_taken",
    /// Bytes were sent at another offset than asked for.
    OffsetMismatch = "offset_mismatch",
    /// There is no such bid standing.
    NoSuchBid = "no_such_bid",
    /// After the deadline a bid cannot be withdrawn, only revoked.
    WithdrawTooLate = "withdraw_too_late",

    // Opening.
    /// The deadline has not come.
    BeforeDeadline = "before_deadline",
    /// Finals stamped before the deadline still await their verdict.
    NotSettled = "not_settled",
    /// The bids are not counted yet, because the platform was not there around the deadline.
    CountingHeld = "counting_held",
    /// The opening has not started.
    NotStarted = "not_started",
    /// The opening has started already.
    AlreadyStarted = "already_started",
    /// The window is closed.
    WindowClosed = "window_closed",
    /// Somebody is still awaited.
    StillAwaited = "still_awaited",
    /// The order is not the current one.
    OrderSuperseded = "order_superseded",
    /// The envelope does not open or is not for this bid.
    EnvelopeInvalid = "envelope_invalid",
    /// A key does not fit the commitment of the receipt.
    WrongKey = "wrong_key",
    /// The bid's keys are here already.
    KeysAlreadyHere = "keys_already_here",
    /// The lot or bid is not being opened.
    NotOpened = "not_opened",
    /// No failure of this bid is recorded.
    NoFailureRecorded = "no_failure_recorded",
    /// The project's policy does not allow a backup bid here.
    BackupNotAllowed = "backup_not_allowed",
    /// The agent has not admitted a backup for this bid.
    BackupNotAdmitted = "backup_not_admitted",
    /// The backup does not seal to the ciphertext of the receipt.
    BackupDiffers = "backup_differs",
    /// Bids are still being unsealed or awaited.
    BarrierHolds = "barrier_holds",
    /// The sheets do not cover the unsealed bids exactly.
    SheetsIncomplete = "sheets_incomplete",
    /// The record is not published.
    NotPublished = "not_published",
    /// The record named is not the published one.
    OtherRecord = "other_record",
    /// It was confirmed already.
    AlreadyConfirmed = "already_confirmed",
    /// The time for confirming or objecting is over.
    ConfirmingOver = "confirming_over",
    /// Objections are not answered yet.
    ObjectionsOpen = "objections_open",
    /// There is no such objection, or it is answered.
    NoSuchObjection = "no_such_objection",
    /// The opening has ended.
    OpeningEnded = "opening_ended",
}

/// A refusal as people and programs get it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The offence.
    pub code: RefusalCode,
    /// The rule it rests on: key and rule pack (`TL-28 TR-36 (GP/1)`), or `house` for rules of this system.
    pub rule: String,
    /// What is wrong and what to do next, in Chinese and English, in plain words.
    pub say: Say,
}

/// The same words twice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// Chinese.
    pub zh: String,
    /// English.
    pub en: String,
}
