//! Signing in and out.
//!
//! | | asks | answers |
//! |---|---|---|
//! | `POST /api/sign-in/challenge` | `{account?}` | `{challenge, expires_at}`: the text for the token to sign |
//! | `POST /api/sign-in/token` | `{challenge, cms, role?}` | a session |
//! | `POST /api/sign-in/password` | `{account, password, role?}` | a session |
//! | `POST /api/sign-out` | | 204 |
//!
//! A session is `{session, user, organisation, role, expires_at}`, and the cookie `kaibiao_session` besides. Where
//! an account has several roles and none is asked for, the first of them is taken.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use kaibiao_protocol::{
    blob::Blob,
    ids::{OrganisationId, UserId},
    moment::Moment,
    refusal::RefusalCode,
    role::Role,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Desk, JSON_BYTES_MAX, Refused,
    caller::{Act, arriving, caller, cookie_of, no_cookie, own_origin, refuse_foreign_page},
};
use crate::{
    sessions::{Grounds, SessionEnd},
    sign_in::{Password, TurnedAway},
};

pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.route("/api/sign-in/challenge", web::post().to(challenge))
        .route("/api/sign-in/token", web::post().to(by_token))
        .route(BY_PASSWORD, web::post().to(by_password))
        .route("/api/sign-out", web::post().to(sign_out))
        .route("/api/session", web::get().to(session));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskChallenge {
    #[serde(default)]
    account: Option<UserId>,
}

#[derive(Serialize)]
struct ToldChallenge {
    challenge: String,
    expires_at: Moment,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByToken {
    challenge: String,
    cms: Blob,
    #[serde(default)]
    role: Option<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByPassword {
    account: String,
    password: Password,
    #[serde(default)]
    role: Option<Role>,
}

#[derive(Serialize)]
struct ToldSession<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    user: &'a UserId,
    organisation: &'a OrganisationId,
    role: Role,
    expires_at: Moment,
}

async fn challenge(
    request: HttpRequest,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    refuse_foreign_page(&desk, &request)?;
    let asked: AskChallenge = if body.is_empty() { AskChallenge { account: None } } else { read(&body)? };
    let origin = own_origin(&desk, &request)?;
    let from = arriving(&desk, &request, &origin, desk.house.clock().present());
    let made = desk.sign_in.challenge(asked.account.as_ref(), from);
    Ok(HttpResponse::Ok().json(ToldChallenge { challenge: made.text(), expires_at: made.expires_at }))
}

async fn by_token(
    request: HttpRequest,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    refuse_foreign_page(&desk, &request)?;
    let asked: ByToken = read(&body)?;
    let origin = own_origin(&desk, &request)?;
    let from = arriving(&desk, &request, &origin, desk.house.clock().present());
    let judged = desk.sign_in.by_token(&desk.house, &asked.challenge, &asked.cms.0, asked.role, from);
    let_in(&desk, judged)
}

async fn by_password(
    request: HttpRequest,
    body: web::Bytes,
    desk: web::Data<Desk>,
) -> Result<HttpResponse, Refused> {
    refuse_foreign_page(&desk, &request)?;
    let asked: ByPassword = read_secret(&body)?;
    let origin = own_origin(&desk, &request)?;
    let from = arriving(&desk, &request, &origin, desk.house.clock().present());
    let ByPassword { account, password, role } = asked;
    let judged = desk.sign_in.by_password(&desk.house, &account, password, role, from).await;
    let_in(&desk, judged)
}

/// Whether the body of a request to this path holds a password. Its buffers are then not kept for the next request.
pub(super) fn takes_a_password(path: &str) -> bool {
    path == BY_PASSWORD
}

const BY_PASSWORD: &str = "/api/sign-in/password";

/// Opens the session and tells it: its token once in the body, once in the cookie.
fn let_in(desk: &Desk, judged: Result<Grounds, TurnedAway>) -> Result<HttpResponse, Refused> {
    let grounds = judged.inspect_err(|away| {
        desk.meters.turned_away();
        tracing::info!(code = away.refusal.code.as_str(), "a sign-in was refused");
    })?;
    let at = desk.house.clock().present();
    let (token, session) =
        desk.sessions.open(grounds, at).map_err(|_full| Refused::code(RefusalCode::Busy))?;
    desk.meters.signed_in();
    let grounds = session.grounds();
    tracing::info!(user = %grounds.user, role = ?grounds.role, by_token = grounds.certificate.is_some(), "signed in");
    Ok(HttpResponse::Ok().insert_header((header::SET_COOKIE, cookie_of(desk, &token))).json(ToldSession {
        session: Some(token.expose()),
        user: &grounds.user,
        organisation: &grounds.organisation,
        role: grounds.role,
        expires_at: session.ends_at(),
    }))
}

async fn sign_out(request: HttpRequest, desk: web::Data<Desk>) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Change)?;
    desk.sessions.end(&session, SessionEnd::SignedOut);
    Ok(HttpResponse::NoContent().insert_header((header::SET_COOKIE, no_cookie(&desk))).finish())
}

/// Who I am, for a page that holds only the cookie.
async fn session(request: HttpRequest, desk: web::Data<Desk>) -> Result<HttpResponse, Refused> {
    let session = caller(&desk, &request, Act::Read)?;
    let grounds = session.grounds();
    Ok(HttpResponse::Ok().json(ToldSession {
        session: None,
        user: &grounds.user,
        organisation: &grounds.organisation,
        role: grounds.role,
        expires_at: session.ends_at(),
    }))
}

/// A JSON body, strictly read; the refusal names the place.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    if body.len() > JSON_BYTES_MAX {
        return Err(Refused::code(RefusalCode::TooLarge));
    }
    serde_json::from_slice(body).map_err(Refused::malformed)
}

/// The same where the body holds a secret: the refusal names line and column, and repeats nothing.
fn read_secret<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|fault| {
        let expected = "{account, password, role?}";
        Refused::malformed(format!("expected {expected}, line {} column {}", fault.line(), fault.column()))
    })
}
