//! A refusal as an HTTP answer.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, Responder, ResponseError,
    body::BoxBody,
    http::{StatusCode, header},
};
use kaibiao_engine::refusals::because;
use kaibiao_protocol::refusal::{Refusal, RefusalCode};
use serde::Serialize;

use super::uploads::FieldFault;
use crate::{refusals::refuse, sign_in::TurnedAway};

/// A refusal with what HTTP says beside it. Boxed, because it is the rare side of nearly every result here.
#[derive(Debug)]
pub(crate) struct Refused(Box<Told>);

#[derive(Debug)]
struct Told {
    refusal: Refusal,
    status: StatusCode,
    retry_seconds: Option<u32>,
    offset: Option<u64>,
    faults: Vec<FieldFault>,
}

#[derive(Serialize)]
struct Body<'a> {
    refused: &'a Refusal,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [FieldFault],
}

impl Refused {
    /// By its code alone.
    pub(crate) fn code(code: RefusalCode) -> Self {
        refuse(code).into()
    }

    /// A frame, form or header that is not understood: says where.
    pub(crate) fn malformed(place: impl fmt::Display) -> Self {
        malformed(place).into()
    }

    /// With another status than its code has.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = status;
        self
    }

    /// With the offset at which an upload goes on.
    pub(crate) fn at_offset(mut self, offset: u64) -> Self {
        self.0.offset = Some(offset);
        self
    }

    /// The form is refused; every fault is told.
    pub(crate) fn form(faults: Vec<FieldFault>) -> Self {
        let list =
            |of: fn(&FieldFault) -> &'static str, gap| faults.iter().map(of).collect::<Vec<_>>().join(gap);
        let (zh, en) = (list(|fault| fault.zh, "；"), list(|fault| fault.en, "; "));
        let mut refused = Refused::from(because(refuse(RefusalCode::FormInvalid), &zh, &en));
        refused.0.faults = faults;
        refused
    }
}

/// The refusal of something not understood; `place` says what and where, never a value that was sent.
pub(crate) fn malformed(place: impl fmt::Display) -> Refusal {
    let place = place.to_string();
    because(refuse(RefusalCode::Malformed), &place, &place)
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (status, retry_seconds) = status_of(refusal.code);
        Self(Box::new(Told { refusal, status, retry_seconds, offset: None, faults: Vec::new() }))
    }
}

impl From<TurnedAway> for Refused {
    fn from(away: TurnedAway) -> Self {
        let mut refused = Refused::from(away.refusal);
        refused.0.retry_seconds = away.wait_seconds.or(refused.0.retry_seconds);
        refused
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.refusal.code.as_str())
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.0.status
    }

    fn error_response(&self) -> HttpResponse {
        let told = &*self.0;
        let mut answer = HttpResponse::build(told.status);
        if let Some(seconds) = told.retry_seconds {
            answer.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if let Some(offset) = told.offset {
            answer.insert_header(("Upload-Offset", offset.to_string()));
        }
        answer.insert_header(("Tus-Resumable", super::uploads::TUS_VERSION));
        answer.json(Body { refused: &told.refusal, faults: &told.faults })
    }
}

impl Responder for Refused {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.error_response()
    }
}

/// The status of a refusal, and after how many seconds it may be tried again where waiting helps.
fn status_of(code: RefusalCode) -> (StatusCode, Option<u32>) {
    use RefusalCode as C;
    let status = match code {
        C::Malformed | C::FieldInvalid | C::FormInvalid | C::SpecInvalid => StatusCode::BAD_REQUEST,
        C::NotSignedIn | C::SessionEnded | C::SignInFailed | C::ChallengeExpired => StatusCode::UNAUTHORIZED,
        C::CertificateExpired
        | C::CertificateNotYetValid
        | C::CertificateRevoked
        | C::CertificateForeign
        | C::CertificateWrongUse
        | C::CertificateUnbound
        | C::RoleNotAllowed
        | C::NotYourProject
        | C::NotInvited => StatusCode::FORBIDDEN,
        C::Unknown | C::NoSuchBid | C::NoSuchObjection => StatusCode::NOT_FOUND,
        C::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        C::SlowDown => StatusCode::TOO_MANY_REQUESTS,
        C::Busy => return (StatusCode::SERVICE_UNAVAILABLE, Some(1)),
        C::WritingEnded => return (StatusCode::SERVICE_UNAVAILABLE, Some(30)),
        C::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
        C::NotASealedBid
        | C::SealedBidDamaged
        | C::OtherProject
        | C::OtherSupplier
        | C::OtherLots
        | C::OtherPlatform
        | C::SignatureInvalid
        | C::SameCiphertext
        | C::EnvelopeInvalid
        | C::WrongKey
        | C::BackupDiffers
        | C::SheetsIncomplete => StatusCode::UNPROCESSABLE_ENTITY,
        C::AlreadyExists
        | C::DeadlineTooSoon
        | C::BidSecurityTooHigh
        | C::PastDeadline
        | C::NotReceiving
        | C::UploadTaken
        | C::OffsetMismatch
        | C::WithdrawTooLate
        | C::BeforeDeadline
        | C::NotSettled
        | C::NotStarted
        | C::AlreadyStarted
        | C::WindowClosed
        | C::StillAwaited
        | C::OrderSuperseded
        | C::KeysAlreadyHere
        | C::NotOpened
        | C::NoFailureRecorded
        | C::BackupNotAllowed
        | C::BackupNotAdmitted
        | C::BarrierHolds
        | C::NotPublished
        | C::OtherRecord
        | C::AlreadyConfirmed
        | C::ConfirmingOver
        | C::ObjectionsOpen
        | C::OpeningEnded
        | C::CorrectionTooLate
        | C::NoOutageRecorded
        | C::CountingHeld => StatusCode::CONFLICT,
    };
    (status, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_an_error_of_http_and_carries_its_code() {
        for code in RefusalCode::ALL {
            let (status, _) = status_of(*code);
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn the_page_of_the_wire_names_the_status_of_every_refusal() {
        let page = include_str!("../../../docs/api.md");
        for code in RefusalCode::ALL {
            let status = status_of(*code).0.as_u16();
            let row = page.lines().find(|line| line.starts_with(&format!("| {status} |")));
            let named = row.is_some_and(|row| row.contains(&format!("`{}`", code.as_str())));
            assert!(named, "docs/api.md, 3, does not name {} under {status}", code.as_str());
        }
    }
}
