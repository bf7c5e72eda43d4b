//! What may be fetched: a supplier's own sealed bid and receipt, the published record, a project.
//!
//! A sealed bid is given back only to the supplier that handed it in, still sealed; with ranges, so that unsealing at
//! the supplier may read what it needs. Everything is served as an attachment that no browser interprets.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{StatusCode, header},
    web::{self, Bytes},
};
use futures_util::stream;
use kaibiao_protocol::{
    blob::Blob,
    digest::Digest,
    ids::{BidId, ProjectId},
    refusal::RefusalCode,
};
use kaibiao_sealed::read_at::ReadAt;
use serde::Serialize;

use super::{
    Desk, Refused,
    caller::{Act, caller},
};
use crate::files::StoredFile;

/// Bytes read from the disk at a time.
const READ_BYTES: u64 = 256 * 1024;

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/api/projects/{project}", web::get().to(project))
        .route("/api/projects/{project}/room", web::get().to(room))
        .route("/api/projects/{project}/bids/{bid}/file", web::get().to(file))
        .route("/api/projects/{project}/bids/{bid}/file", web::head().to(file))
        .route("/api/projects/{project}/bids/{bid}/receipt", web::get().to(receipt))
        .route("/api/projects/{project}/record", web::get().to(record));
}

async fn project(
    request: HttpRequest,
    path: web::Path<String>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Read)?;
    let view = desk.house.project_view(&session.grounds().asker(), &id(&path)?).await?;
    Ok(HttpResponse::Ok().json(view))
}

async fn room(
    request: HttpRequest,
    path: web::Path<String>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Read)?;
    let view = desk.house.room_view(&session.grounds().asker(), &id(&path)?).await?;
    Ok(HttpResponse::Ok().json(view))
}

async fn receipt(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Read)?;
    let (project, bid) = ids(&path)?;
    let text = desk.house.receipt(&session.grounds().asker(), &project, &bid).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"receipt.json\""))
        .body(text))
}

#[derive(Serialize)]
struct Record {
    text: String,
    digest: Digest,
    signature: Blob,
}

async fn record(
    request: HttpRequest,
    path: web::Path<String>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Read)?;
    let record = desk.house.record(&session.grounds().asker(), &id(&path)?).await?;
    let attached = (header::CONTENT_DISPOSITION, "attachment; filename=\"record.json\"");
    Ok(HttpResponse::Ok().insert_header(attached).json(Record {
        text: record.text,
        digest: record.digest,
        signature: record.signature,
    }))
}

async fn file(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Read)?;
    let (project, bid) = ids(&path)?;
    let no_such = || Refused::code(RefusalCode::NoSuchBid);
    let known = desk.house.project(&project).await.ok_or_else(no_such)?;
    let bid = known.bid(&bid).ok_or_else(no_such)?;
    // Another's bid is as absent as none: even that it exists is nobody's business.
    if bid.facts.supplier != session.grounds().organisation {
        return Err(no_such());
    }
    let (files, stored, digest) = (desk.house.files().clone(), bid.facts.file, bid.facts.header_digest);
    let opened = web::block(move || files.open(&stored)).await;
    let stored = match opened {
        Ok(Ok(stored)) => stored,
        Ok(Err(fault)) => {
            tracing::error!(%fault, "a stored bid cannot be opened");
            return Err(Refused::code(RefusalCode::Busy));
        }
        Err(_) => return Err(Refused::code(RefusalCode::Busy)),
    };
    let length = stored.bytes();
    let etag = format!("\"{digest}\"");
    let wanted = request.headers().get(header::RANGE).and_then(|value| value.to_str().ok());
    // A range of another version of the file would be a mixture; `If-Range` says which one is meant.
    let same =
        request.headers().get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes());
    let range = match wanted.filter(|_| same).map(|wanted| Range::read(wanted, length)) {
        None | Some(Range::Whole) => None,
        Some(Range::Part { from, until }) => Some((from, until)),
        Some(Range::Outside) => {
            return Ok(HttpResponse::RangeNotSatisfiable()
                .insert_header((header::CONTENT_RANGE, format!("bytes */{length}")))
                .finish());
        }
    };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"bid.jmbs\""))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        .insert_header((header::ETAG, etag));
    let (from, until) = range.unwrap_or((0, length));
    if range.is_some() {
        let told = format!("bytes {from}-{}/{length}", until - 1);
        answer.status(StatusCode::PARTIAL_CONTENT).insert_header((header::CONTENT_RANGE, told));
    }
    Ok(answer.body(SizedStream::new(until - from, read_out(stored, from, until))))
}

/// The bytes of a file, read piece by piece as they are sent.
fn read_out(
    stored: Arc<dyn StoredFile>,
    from: u64,
    until: u64,
) -> impl futures_util::Stream<Item = Result<Bytes, actix_web::Error>> {
    stream::try_unfold(from, move |at| {
        let stored = stored.clone();
        async move {
            if at >= until {
                return Ok(None);
            }
            let length = (until - at).min(READ_BYTES);
            let read = web::block(move || {
                let mut buffer = vec![0; usize::try_from(length).expect("a piece fits in memory")];
                stored.read_exact_at(&mut buffer, at).map(|()| buffer)
            })
            .await?;
            let buffer = read.map_err(actix_web::error::ErrorInternalServerError)?;
            Ok(Some((Bytes::from(buffer), at + length)))
        }
    })
}

/// What `Range` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Range {
    /// All of it: no range, or one not understood, which may be ignored.
    Whole,
    /// From the first byte up to before the second.
    Part { from: u64, until: u64 },
    /// Nothing that exists.
    Outside,
}

impl Range {
    fn read(header: &str, length: u64) -> Self {
        let Some(range) = header.strip_prefix("bytes=") else { return Range::Whole };
        let Some((first, last)) = range.trim().split_once('-') else { return Range::Whole };
        let number = |text: &str| -> Option<u64> {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        };
        match (number(first), number(last)) {
            (Some(from), _) if last.is_empty() => Self::within(from, length, length),
            (Some(from), Some(last)) if from <= last => Self::within(from, last.saturating_add(1), length),
            // The last so many bytes.
            (_, Some(last)) if first.is_empty() => Self::within(length.saturating_sub(last), length, length),
            _ => Range::Whole,
        }
    }

    fn within(from: u64, until: u64, length: u64) -> Self {
        let until = until.min(length);
        if from < until { Range::Part { from, until } } else { Range::Outside }
    }
}

fn id(path: &str) -> Result<ProjectId, Refused> {
    path.parse().map_err(|_| Refused::code(RefusalCode::Unknown))
}

fn ids((project, bid): &(String, String)) -> Result<(ProjectId, BidId), Refused> {
    Ok((id(project)?, bid.parse().map_err(|_| Refused::code(RefusalCode::NoSuchBid))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_means_them() {
        for (header, range) in [
            ("bytes=0-9", Range::Part { from: 0, until: 10 }),
            ("bytes=90-", Range::Part { from: 90, until: 100 }),
            ("bytes=-5", Range::Part { from: 95, until: 100 }),
            ("bytes=-500", Range::Part { from: 0, until: 100 }),
            ("bytes=95-500", Range::Part { from: 95, until: 100 }),
            ("bytes=100-", Range::Outside),
            ("bytes=-0", Range::Outside),
            ("bytes=9-0", Range::Whole),
            ("bytes=0-1,5-6", Range::Whole),
            ("lines=0-9", Range::Whole),
            ("bytes=a-b", Range::Whole),
            ("bytes=-", Range::Whole),
        ] {
            assert_eq!(Range::read(header, 100), range, "{header}");
        }
        assert_eq!(Range::read("bytes=0-0", 0), Range::Outside);
    }
}
