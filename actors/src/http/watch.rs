//! For those who watch over the server: is it there, can it work, what has it counted; and what time it is.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use kaibiao_protocol::{moment::Moment, refusal::RefusalCode};
use serde::Serialize;

use super::{Desk, Refused};

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/health", web::get().to(health))
        .route("/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics))
        .route("/api/time", web::get().to(time));
}

/// The process answers.
async fn health() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "health": "alive" }))
}

/// Why a server is not ready; none: it is.
pub(crate) async fn trouble(desk: &Desk) -> Option<&'static str> {
    if desk.is_stopping() {
        return Some("stopping");
    }
    if desk.house.journal().meters().writing_ended.is_some() {
        return Some("writing_ended");
    }
    let files = desk.house.files().clone();
    let free = web::block(move || files.free_bytes()).await;
    match free {
        Ok(Ok(free)) if free < desk.config.uploads.disk_reserve_bytes => Some("disk_low"),
        Ok(Ok(_)) => None,
        Ok(Err(_)) | Err(_) => Some("disk_unreadable"),
    }
}

/// New work may be sent here.
async fn ready(desk: web::Data<Desk>) -> HttpResponse {
    match trouble(&desk).await {
        None => HttpResponse::Ok().json(serde_json::json!({ "ready": true })),
        Some(why) => {
            HttpResponse::ServiceUnavailable().json(serde_json::json!({ "ready": false, "why": why }))
        }
    }
}

async fn metrics(request: HttpRequest, desk: web::Data<Desk>) -> Result<HttpResponse, Refused> {
    // The peer itself, whatever a proxy says: who may read is a matter of the network.
    let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
    if !peer.is_some_and(|peer| desk.config.metrics_from.contains(&peer)) {
        return Err(Refused::code(RefusalCode::Unknown));
    }
    let writes = desk.house.journal().meters().writing_ended.is_none();
    desk.house.metrics().writing.set(i64::from(writes));
    let own = desk.meters.text(desk.sessions.count(), desk.sockets());
    let all = desk.house.metrics().text();
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8"))
        .body(own + &all))
}

#[derive(Serialize)]
struct Time {
    at: Moment,
}

async fn time(desk: web::Data<Desk>) -> HttpResponse {
    HttpResponse::Ok().json(Time { at: desk.house.clock().present() })
}
