//! Handing in: tus 1.0 (core, creation, expiration, termination) under `/api/projects/P/uploads`.
//!
//! `POST` with `Upload-Length` and `Upload-Metadata` begins one: the form (E1: `name`, `id_number`, `mobile`,
//! `postcode`, `address`), `purpose` (`bid` or `restore`, with `bid`), and `upload`, an id of the client's choice (32
//! hexadecimal digits), so that the same upload sent twice is one upload. `HEAD` tells how far it is and
//! `Kaibiao-Verdict` once it is judged, `PATCH` sends bytes, `DELETE` gives an unfinished one up. The PATCH that brings
//! the last byte answers 200 with the verdict ([`UploadVerdict`]); so does a PATCH without bytes at the end, and a
//! `GET`, as often as they are asked.
//!
//! On time is who had the last byte in before the deadline: an upload may be begun and finished later, and is then
//! refused with a signed notice.

mod form;
mod intake;
mod ledger;
mod metadata;
mod tenants;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{StatusCode, header},
    rt, web,
};
use aws_lc_rs::rand::fill;
use kaibiao_engine::{
    project::{Project, UploadFate},
    refusals::because,
};
use kaibiao_protocol::{
    ids::{BidId, FileId, OrganisationId, ProjectId, UploadId},
    moment::Moment,
    refusal::RefusalCode,
    role::Role,
    view::{ProjectStatus, UploadVerdict},
};
use tracing::Instrument;
use zeroize::Zeroizing;

use self::intake::Taken;
use super::{
    Desk, Refused,
    caller::{Act, caller},
};
use crate::{
    messages::{FinishUpload, UploadPurpose},
    refusals::refuse,
    sessions::Session,
};

pub use form::{ADDRESS_CHARS_MAX, ContactFields, FieldFault, NAME_CHARS_MAX};
pub use ledger::{Head, Ledger, LedgerFault, Progress, Upload, WriteTurn};
#[cfg(feature = "practice")]
pub(crate) use metadata::read as read_metadata;
pub use metadata::{METADATA_BYTES_MAX, Metadata};

/// The version of tus spoken.
pub const TUS_VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,expiration,termination";
const RESUMABLE: &str = "Tus-Resumable";
const OFFSET: &str = "Upload-Offset";
const LENGTH: &str = "Upload-Length";
const METADATA: &str = "Upload-Metadata";
const VERDICT: &str = "Kaibiao-Verdict";
const OFFSET_TYPE: &str = "application/offset+octet-stream";
/// After a refusal, so much of what is still being sent is read and dropped, so that the answer is seen.
const DRAIN_BYTES_MAX: usize = 4 << 20;
/// And for so long.
const DRAIN_TIME: Duration = Duration::from_secs(2);

pub(super) fn routes(app: &mut web::ServiceConfig) {
    let all = "/api/projects/{project}/uploads";
    let one = "/api/projects/{project}/uploads/{upload}";
    app.service(
        web::resource(all)
            .route(web::post().to(begin))
            .route(web::method(actix_web::http::Method::OPTIONS).to(options)),
    )
    .service(
        web::resource(one)
            .route(web::head().to(tell))
            .route(web::patch().to(patch))
            .route(web::get().to(verdict))
            .route(web::delete().to(give_up))
            .route(web::method(actix_web::http::Method::OPTIONS).to(options)),
    );
}

async fn options(desk: web::Data<Desk>) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    answer
        .insert_header((RESUMABLE, TUS_VERSION))
        .insert_header(("Tus-Version", TUS_VERSION))
        .insert_header(("Tus-Extension", EXTENSIONS));
    if desk.config.uploads.bid_bytes_max > 0 {
        answer.insert_header(("Tus-Max-Size", desk.config.uploads.bid_bytes_max.to_string()));
    }
    answer.finish()
}

async fn begin(
    request: HttpRequest,
    path: web::Path<String>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = supplier(&desk, &request, Act::Change)?;
    speaks_tus(&request)?;
    let project: ProjectId = path.into_inner().parse().map_err(|_| Refused::code(RefusalCode::Unknown))?;
    let length: u64 = number(&request, LENGTH)?;
    let header = request.headers().get(METADATA).map(|value| value.to_str()).transpose();
    let header = header.map_err(|_| Refused::malformed("Upload-Metadata: not ASCII"))?.unwrap_or("");
    let metadata = metadata::read(header).map_err(Refused::malformed)?;
    let at = desk.house.clock().present();
    let own = &session.grounds().organisation;
    let upload = metadata.upload.unwrap_or_else(|| UploadId(drawn()));
    let purpose = metadata.purpose.unwrap_or(UploadPurpose::Bid);

    // The same upload again: told where it stands.
    if let Some(known) = desk.uploads.find(&upload) {
        return begun_before(&desk, &known, &project, own, length, purpose);
    }
    let contact = match purpose {
        UploadPurpose::Bid => metadata.contact.check(at).map_err(Refused::form)?,
        UploadPurpose::Restore => Zeroizing::default(),
    };
    let known = desk.house.project(&project).await.ok_or_else(|| Refused::code(RefusalCode::Unknown))?;
    if length == 0 {
        return Err(Refused::code(RefusalCode::NotASealedBid));
    }
    if let Some(fate) = known.upload(&upload) {
        // Judged so long ago that the ledger has forgotten it.
        let head = head_of(&known, (upload, project, own), purpose, &fate, length)?;
        let kept = desk.uploads.begin(head, length, at).await?;
        return Ok(created(&desk, &kept));
    }
    let bid = match (purpose, metadata.bid) {
        (UploadPurpose::Bid, None) => BidId(drawn()),
        (UploadPurpose::Bid, Some(_)) => {
            return Err(Refused::malformed("bid: only where purpose is restore"));
        }
        (UploadPurpose::Restore, None) => return Err(Refused::malformed("bid: missing")),
        (UploadPurpose::Restore, Some(bid)) => {
            let ours = known.bid(&bid).is_some_and(|known| known.facts.supplier == *own);
            if !ours {
                return Err(Refused::code(RefusalCode::NoSuchBid));
            }
            bid
        }
    };
    if purpose == UploadPurpose::Bid {
        let over = matches!(known.status(), Some(ProjectStatus::Published | ProjectStatus::Ended));
        match known.may_upload(own, length, at) {
            // It cannot be in time any more; whoever sends it nevertheless gets the signed refusal of a final.
            Err(refusal) if !over && is_lateness(refusal.code) => {}
            decided => decided?,
        }
    }
    let limit = desk.config.uploads.bid_bytes_max;
    let unlimited = known.spec().is_none_or(|spec| spec.bid_bytes_max.is_none());
    if unlimited && limit > 0 && length > limit {
        return Err(Refused::code(RefusalCode::TooLarge));
    }
    desk.uploads.has_place(&project, own)?;
    let place = desk.uploads.place(own, length)?;

    let (files, reserve) = (desk.house.files().clone(), desk.config.uploads.disk_reserve_bytes);
    let staged = web::block(move || {
        let room = files.free_bytes()?.saturating_sub(reserve);
        if room < length || !place.fits(room) {
            return Err(crate::files::FileFault::NoRoom);
        }
        Ok((files.begin(length)?, place))
    })
    .await
    .map_err(|_| Refused::code(RefusalCode::Busy))?;
    let (file, place) = staged.map_err(|fault| intake::refusal_of(&fault))?;
    let head = Head { upload, project, supplier: own.clone(), purpose, bid, file, length, contact };
    let kept = match desk.uploads.begin(head, 0, at).await {
        Ok(kept) => kept,
        Err(refusal) => {
            delete(&desk, file).await;
            return Err(refusal.into());
        }
    };
    if kept.head.file != file {
        // Another request began the same upload meanwhile; this one's file is not needed.
        delete(&desk, file).await;
        let project = kept.head.project.clone();
        return begun_before(&desk, &kept, &project, own, length, purpose);
    }
    kept.hold(place);
    tracing::debug!(%upload, length, "an upload begins");
    Ok(created(&desk, &kept))
}

/// Whether a refusal says only that the time is over.
fn is_lateness(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::PastDeadline | RefusalCode::NotReceiving)
}

async fn delete(desk: &Desk, file: FileId) {
    let files = desk.house.files().clone();
    // Whatever stays is deleted at the next start.
    let _ = web::block(move || files.delete(&file)).await;
}

fn begun_before(
    desk: &Desk,
    known: &Upload,
    project: &ProjectId,
    own: &OrganisationId,
    length: u64,
    purpose: UploadPurpose,
) -> Result<HttpResponse, Refused> {
    let head = &known.head;
    let same =
        head.project == *project && head.supplier == *own && head.length == length && head.purpose == purpose;
    if same { Ok(created(desk, known)) } else { Err(Refused::code(RefusalCode::UploadTaken)) }
}

/// The head of an upload whose verdict stands in the project's journal.
fn head_of(
    known: &Project,
    (upload, project, own): (UploadId, ProjectId, &OrganisationId),
    purpose: UploadPurpose,
    fate: &UploadFate,
    length: u64,
) -> Result<Head, Refused> {
    let taken = || Refused::code(RefusalCode::UploadTaken);
    let (supplier, size_bytes, bid, file) = match fate {
        UploadFate::Received(bid) => {
            let facts = &known.bid(bid).ok_or_else(taken)?.facts;
            (&facts.supplier, facts.size_bytes, *bid, facts.file)
        }
        // Its bytes are gone; the notice tells what it was.
        UploadFate::Refused { supplier, size_bytes, .. } => {
            (supplier, *size_bytes, BidId(drawn()), FileId(drawn()))
        }
    };
    if supplier != own || size_bytes != length {
        return Err(taken());
    }
    let supplier = supplier.clone();
    Ok(Head { upload, project, supplier, purpose, bid, file, length, contact: Zeroizing::default() })
}

fn created(desk: &Desk, upload: &Upload) -> HttpResponse {
    let location = format!("/api/projects/{}/uploads/{}", upload.head.project, upload.head.upload);
    let mut answer = HttpResponse::Created();
    answer.insert_header((header::LOCATION, location));
    standing(desk, upload, &mut answer);
    answer.finish()
}

/// The headers that tell where an upload stands.
fn standing(desk: &Desk, upload: &Upload, answer: &mut HttpResponseBuilder) {
    let progress = upload.progress();
    answer.insert_header((RESUMABLE, TUS_VERSION)).insert_header((OFFSET, progress.offset.to_string()));
    match &progress.verdict {
        Some(verdict) => {
            let told = match verdict {
                UploadVerdict::Received { .. } => "received",
                UploadVerdict::Restored { .. } => "restored",
                UploadVerdict::Refused { .. } => "refused",
            };
            answer.insert_header((VERDICT, told));
        }
        None => {
            let expires = http_date(desk.uploads.expires_at(upload));
            answer.insert_header(("Upload-Expires", expires));
        }
    }
}

async fn tell(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = supplier(&desk, &request, Act::Read)?;
    speaks_tus(&request)?;
    let upload = own_upload(&desk, &session, &path)?;
    let mut answer = HttpResponse::Ok();
    standing(&desk, &upload, &mut answer);
    answer.insert_header((LENGTH, upload.head.length.to_string()));
    Ok(answer.finish())
}

async fn patch(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = supplier(&desk, &request, Act::Change)?;
    speaks_tus(&request)?;
    let upload = own_upload(&desk, &session, &path)?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind != Some(OFFSET_TYPE) {
        let told = Refused::malformed(format!("Content-Type: {OFFSET_TYPE} expected"));
        return Err(told.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let offset: u64 = number(&request, OFFSET)?;
    let bytes: Option<u64> = match request.headers().contains_key(header::CONTENT_LENGTH) {
        true => Some(number(&request, header::CONTENT_LENGTH.as_str())?),
        false => None,
    };
    // A task of its own: if the connection breaks, what is in is still written, synced and noted.
    let desk = desk.into_inner();
    let span = tracing::Span::current();
    rt::spawn(take_patch(desk, upload, payload, offset, bytes).instrument(span))
        .await
        .map_err(|_| Refused::code(RefusalCode::Busy))?
}

async fn take_patch(
    desk: Arc<Desk>,
    upload: Arc<Upload>,
    mut payload: web::Payload,
    offset: u64,
    bytes: Option<u64>,
) -> Result<HttpResponse, Refused> {
    let mut turn = upload.turn().await;
    let progress = upload.progress();
    if let Some(verdict) = progress.verdict {
        drain(&mut payload).await;
        return Ok(judged(&desk, &upload, &verdict));
    }
    if offset != progress.offset {
        drain(&mut payload).await;
        return Err(Refused::code(RefusalCode::OffsetMismatch).at_offset(progress.offset));
    }
    if bytes.is_some_and(|bytes| bytes > upload.head.length - offset) {
        drain(&mut payload).await;
        return Err(Refused::code(RefusalCode::TooLarge).at_offset(offset));
    }
    let taken = if upload.is_whole() {
        // Whole before, and its verdict was not told or is lost: asked for again.
        drain(&mut payload).await;
        Taken::Whole { arrived: None, stamped: None }
    } else {
        intake::take_in(&desk, &upload, &mut turn, payload).await
    };
    match taken {
        Taken::More => {
            let mut answer = HttpResponse::NoContent();
            standing(&desk, &upload, &mut answer);
            Ok(answer.finish())
        }
        Taken::Whole { arrived, stamped } => {
            let head = &upload.head;
            let finish = FinishUpload {
                project: head.project.clone(),
                upload: head.upload,
                bid: head.bid,
                supplier: head.supplier.clone(),
                purpose: head.purpose,
                file: head.file,
                size_bytes: head.length,
                contact: head.contact.clone(),
                arrived: arrived.map(|arrived| *arrived),
                stamped,
            };
            let verdict = desk.house.finish_upload(finish).await;
            if is_lasting(&verdict) {
                upload.settle(verdict.clone());
                // Noted as whole, so that after a restart the verdict is asked for and no byte.
                if let Err(refusal) = desk.uploads.note(&upload).await {
                    tracing::warn!(code = refusal.code.as_str(), "a judged upload could not be noted");
                }
            } else if has_let_go(&verdict) {
                desk.uploads.begin_anew(&upload).await;
            }
            Ok(judged(&desk, &upload, &verdict))
        }
        Taken::Refused(refusal) => {
            Ok(judged(&desk, &upload, &UploadVerdict::Refused { refusal, notice: None }))
        }
        Taken::Broken(why) => {
            tracing::debug!(upload = %upload.head.upload, why, "an upload was cut; it may be resumed");
            let told = because(
                refuse(RefusalCode::Busy),
                "上传中断，请从所示位置继续",
                &format!("the upload was interrupted, {why}: go on from the offset told"),
            );
            let refused = Refused::from(told).with_status(StatusCode::REQUEST_TIMEOUT);
            Err(refused.at_offset(upload.progress().offset))
        }
        Taken::Fault(refusal) => Err(Refused::from(refusal).at_offset(upload.progress().offset)),
    }
}

/// Whether a verdict stays what it is; a busy or failing platform is asked again.
fn is_lasting(verdict: &UploadVerdict) -> bool {
    !matches!(
        verdict,
        UploadVerdict::Refused { refusal, .. }
            if matches!(refusal.code, RefusalCode::Busy | RefusalCode::WritingEnded | RefusalCode::NoRoom)
    )
}

/// Whether the intake kept nothing of the bytes, although they may be sent again.
fn has_let_go(verdict: &UploadVerdict) -> bool {
    matches!(verdict, UploadVerdict::Refused { refusal, .. } if refusal.code == RefusalCode::NoRoom)
}

async fn verdict(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = supplier(&desk, &request, Act::Read)?;
    let upload = own_upload(&desk, &session, &path)?;
    match upload.progress().verdict {
        Some(verdict) => Ok(judged(&desk, &upload, &verdict)),
        None => Err(Refused::code(RefusalCode::Unknown)),
    }
}

async fn give_up(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = supplier(&desk, &request, Act::Change)?;
    speaks_tus(&request)?;
    let upload = own_upload(&desk, &session, &path)?;
    let _turn = upload.turn().await;
    let refused_early = upload.progress().verdict.is_some() && !upload.is_whole();
    if upload.is_whole() && !refused_early {
        // A final is judged, not given up: a bid is withdrawn.
        return Err(Refused::code(RefusalCode::UploadTaken));
    }
    desk.uploads.drop_upload(&upload).await?;
    Ok(HttpResponse::NoContent().insert_header((RESUMABLE, TUS_VERSION)).finish())
}

fn judged(desk: &Desk, upload: &Upload, verdict: &UploadVerdict) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    standing(desk, upload, &mut answer);
    answer.json(verdict)
}

/// Reads and drops some of what a client still sends, lest the reset of its connection swallow the answer.
async fn drain(payload: &mut web::Payload) {
    use futures_util::StreamExt as _;
    let read = async {
        let mut left = DRAIN_BYTES_MAX;
        while let Some(Ok(bytes)) = payload.next().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}

/// The session of a supplier.
fn supplier(desk: &Desk, request: &HttpRequest, act: Act) -> Result<Arc<Session>, Refused> {
    let session = caller(desk, request, act)?;
    match session.grounds().role {
        Role::Supplier => Ok(session),
        Role::Agent | Role::Purchaser | Role::Supervisor | Role::Expert | Role::Administrator => {
            Err(Refused::code(RefusalCode::RoleNotAllowed))
        }
    }
}

/// An upload of this supplier in this project. Another's is as unknown as none.
fn own_upload(desk: &Desk, session: &Session, path: &(String, String)) -> Result<Arc<Upload>, Refused> {
    let unknown = || Refused::code(RefusalCode::Unknown);
    let (project, upload) = path;
    let upload = upload.parse().ok().and_then(|upload| desk.uploads.find(&upload)).ok_or_else(unknown)?;
    let head = &upload.head;
    let ours = head.project.as_str() == project && head.supplier == session.grounds().organisation;
    if ours { Ok(upload) } else { Err(unknown()) }
}

fn speaks_tus(request: &HttpRequest) -> Result<(), Refused> {
    let said = request.headers().get(RESUMABLE).and_then(|value| value.to_str().ok());
    if said == Some(TUS_VERSION) {
        return Ok(());
    }
    let told = Refused::malformed(format!("{RESUMABLE}: {TUS_VERSION} expected"));
    Err(told.with_status(StatusCode::PRECONDITION_FAILED))
}

fn number(request: &HttpRequest, name: &str) -> Result<u64, Refused> {
    let mut values = request.headers().get_all(name);
    let value = values.next().filter(|_| values.next().is_none()).and_then(|value| value.to_str().ok());
    value
        .filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Refused::malformed(format!("{name}: a whole number of bytes expected")))
}

fn http_date(at: Moment) -> String {
    let since = Duration::from_micros(u64::try_from(at.0).unwrap_or(0));
    header::HttpDate::from(SystemTime::UNIX_EPOCH + since).to_string()
}

fn drawn() -> [u8; 16] {
    let mut bytes = [0; 16];
    fill(&mut bytes).expect("the system draws random bytes");
    bytes
}
