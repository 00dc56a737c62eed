//! Live views that are shared: tickets with fewer rights, who is looking, and the end of both. Types and meaning are in
//! `berth_agb_api::own`.

use std::sync::Arc;

use axum::extract::State;
use berth_agb_api::Code;
use berth_agb_api::envelope::{Envelope, Success};
use berth_agb_api::own::{NewTicket, SharedView, Ticket, Viewers};
use berth_control::{NewShare, Session, Share};
use berth_guest_api::{FEATURE_VIEW_RIGHTS, UnknownRight, ViewRight, ViewRights};
use berth_guest_client::GuestError;
use serde_json::value::{RawValue, to_raw_value};

use super::own::text;
use super::sessions::Answer;
use crate::auth::Caller;
use crate::body::{Json, Path};
use crate::calls::explained;
use crate::error::ApiError;
use crate::openapi::{OfGuest, OfSession};
use crate::request::RequestId;
use crate::urls::Base;
use crate::{App, audit};

/// Makes a live view URL to give away, with rights of its own.
#[utoipa::path(
    post, path = "/api/v1/sessions/{session}/tickets", operation_id = "shareView", tag = "Live view",
    params(("session" = String, Path, description = "The session")),
    request_body = NewTicket,
    responses((status = 200, body = Success<SharedView>, description = "Done"), OfGuest),
    security(("apiKey" = [])),
)]
pub(crate) async fn share(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    Path(session_id): Path<String>,
    Json(body): Json<NewTicket>,
) -> Answer<SharedView> {
    audit::names(&session_id);
    let session = app.control.session(&caller.key.id, &session_id).await?;
    let words = body
        .rights
        .ok_or_else(|| ApiError::missing("rights", &format!("a list of {}", UnknownRight::allowed())))?;
    let rights = ViewRights::from_words(words.iter().map(String::as_str)).map_err(|unknown| {
        ApiError::new(
            Code::InvalidParameter,
            format!(
                "`rights` holds {:?}; allowed: {}",
                unknown.word,
                UnknownRight::allowed()
            ),
        )
    })?;
    if !rights.has(ViewRight::Control) {
        can_only_show(&app, &session).await?;
    }
    session.touch();
    let new = NewShare {
        rights,
        name: body.name.as_deref(),
        ttl_s: body.ttl_seconds,
    };
    let (share, secret) = app.control.share(&session, new).await?;
    audit::note(|note| note.ticket_id = Some(share.id.clone()));
    Ok(axum::Json(Success::new(
        id,
        SharedView {
            url: base.view(&secret, session.sandbox_id()),
            ticket: told(share),
        },
    )))
}

/// The URLs that were made to give away and are still good, without the URLs. Does not count as use.
#[utoipa::path(
    get, path = "/api/v1/sessions/{session}/tickets", operation_id = "sharedViews", tag = "Live view",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Success<Vec<Ticket>>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<Vec<Ticket>> {
    let shares = app.control.shares(&caller.key.id, &session_id).await?;
    Ok(axum::Json(Success::new(
        id,
        shares.into_iter().map(told).collect(),
    )))
}

/// Revokes one of these URLs: what is open with it ends. Succeeds again for one that was revoked.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{session}/tickets/{ticketId}", operation_id = "revokeView", tag = "Live view",
    params(
        ("session" = String, Path, description = "The session"),
        ("ticketId" = String, Path, description = "The ticket", example = "t-abcdefghijklmnopqrst"),
    ),
    responses((status = 200, body = Envelope, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path((session_id, ticket_id)): Path<(String, String)>,
) -> Result<axum::Json<Envelope>, ApiError> {
    audit::names(&session_id);
    audit::note(|note| note.ticket_id = Some(audit::shown(&ticket_id)));
    app.control
        .revoke(&caller.key.id, &session_id, Some(&ticket_id))
        .await?;
    Ok(axum::Json(Envelope::new(id)))
}

/// Revokes every live view URL of a session, also those that its owner got. Its owner can get a new one.
#[utoipa::path(
    delete, path = "/api/v1/sessions/{session}/tickets", operation_id = "revokeViews", tag = "Live view",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Envelope, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn revoke_all(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Result<axum::Json<Envelope>, ApiError> {
    audit::names(&session_id);
    app.control.revoke(&caller.key.id, &session_id, None).await?;
    Ok(axum::Json(Envelope::new(id)))
}

/// Who is looking at a session now. Does not count as use.
#[utoipa::path(
    get, path = "/api/v1/sessions/{session}/viewers", operation_id = "sessionViewers", tag = "Live view",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Success<Viewers>, description = "Done"), OfGuest),
    security(("apiKey" = [])),
)]
pub(crate) async fn viewers(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<Box<RawValue>> {
    let session = app.control.session(&caller.key.id, &session_id).await?;
    // A pause has ended every view, and its guest says nothing.
    let viewers = match session.is_paused() {
        true => to_raw_value(&Viewers::default())
            .map_err(|error| ApiError::new(Code::Internal, format!("could not write an answer: {error}")))?,
        false => match session.guest.viewers().await {
            Ok(viewers) => viewers,
            Err(error) => return Err(explained(&session, error).await),
        },
    };
    Ok(axum::Json(Success::new(id, viewers)))
}

/// Refuses a ticket without control for a session whose guest gives control to everybody. Its guest stays the same for as
/// long as it lives, so that this is asked once.
async fn can_only_show(app: &App, session: &Arc<Session>) -> Result<(), ApiError> {
    let _call = app.control.begin_call(session).await?;
    match session.guest.hello().await {
        Ok(hello) if hello.features.iter().any(|one| one == FEATURE_VIEW_RIGHTS) => Ok(()),
        Ok(_) => Err(GuestError::Outdated("live views without `control`").into()),
        Err(error) => Err(explained(session, error).await),
    }
}

fn told(share: Share) -> Ticket {
    Ticket {
        ticket_id: share.id,
        rights: share.rights.words().map(str::to_owned).collect(),
        name: share.name,
        expires_at: text(share.expires),
    }
}
