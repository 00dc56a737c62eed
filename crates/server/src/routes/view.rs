//! The live view: its page, what the page asks before it connects, and its WebSocket.

use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_control::{Grant, TicketState};
use berth_guest_api::{VIEW, VIEW_HELLO_BYTES_MAX, percent_encode};
use http::header::{CACHE_CONTROL, LOCATION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::body::{Path, Query};
use crate::error::ApiError;
use crate::openapi::{OfFile, OfPage, OfPath, OfTicket};
use crate::tunnel::{self, Tunnel, View};
use crate::{App, audit, pages};

/// What a page is told that wants to connect again to a paused session.
const PAUSED: &str =
    "The session is paused. It goes on with the next call, or when this page is opened anew.";

/// How to go on when a URL is no longer good.
const HOW_TO_GET_A_NEW_ONE: &str =
    "Ask for a fresh one: session.info() returns a new resource_url for as long as the session lives.";

/// Whether a live view can be opened, and what the page shows if not.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ViewStatus)]
pub(crate) struct Status {
    /// `live`, `paused`, `expired`, `ended` or `unknown`.
    state: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// What the ticket's holder may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    rights: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
}

impl Status {
    fn of(ticket: &TicketState) -> Self {
        let blank = Status {
            state: "unknown",
            message: String::new(),
            reason: None,
            rights: None,
            session_id: None,
            image: None,
            expires_at: None,
        };
        match ticket {
            TicketState::Valid(grant) => Status {
                state: if grant.session.is_paused() {
                    "paused"
                } else {
                    "live"
                },
                message: if grant.session.is_paused() {
                    PAUSED.to_owned()
                } else {
                    String::new()
                },
                rights: Some(grant.rights.words().collect()),
                session_id: Some(grant.session.id.clone()),
                image: Some(grant.session.image.clone()),
                expires_at: Some(grant.expires.as_millisecond()),
                ..blank
            },
            TicketState::Expired(at) => Status {
                state: "expired",
                message: format!("This live view URL expired at {at:.0}. {HOW_TO_GET_A_NEW_ONE}"),
                expires_at: Some(at.as_millisecond()),
                ..blank
            },
            TicketState::Revoked(at) => Status {
                state: "expired",
                message: format!(
                    "This live view URL was revoked by the session's owner at {at:.0}. Ask there for another one."
                ),
                reason: Some("revoked"),
                expires_at: Some(at.as_millisecond()),
                ..blank
            },
            TicketState::Ended { session_id, end } => Status {
                state: "ended",
                message: format!("Session {session_id} has ended: {end}."),
                reason: Some(end.reason.word()),
                session_id: Some(session_id.clone()),
                ..blank
            },
            TicketState::Unknown => Status {
                message: format!("This live view URL is not valid. {HOW_TO_GET_A_NEW_ONE}"),
                ..blank
            },
        }
    }

    fn http_status(&self) -> StatusCode {
        match self.state {
            "live" | "paused" => StatusCode::OK,
            "unknown" => StatusCode::NOT_FOUND,
            _ => StatusCode::GONE,
        }
    }
}

/// The page, or a page that says why not.
#[utoipa::path(
    get, path = "/view/{ticket}/", operation_id = "viewPage", tag = "Live view",
    params(("ticket" = String, Path, description = "The ticket in the URL that `getSession` answers")),
    responses((status = 200, content_type = "text/html", body = String, description = "The page"), (status = 404, content_type = "text/html", body = String, description = "No such ticket"), (status = 410, content_type = "text/html", body = String, description = "The ticket has expired or was revoked, or the session has ended"), OfPage),
    security(("ticket" = [])),
)]
pub(crate) async fn page(
    State(app): State<App>,
    Path(ticket): Path<String>,
    accepted: HeaderMap,
) -> Result<Response, ApiError> {
    let ticket = app.control.ticket(&ticket).await?;
    if let TicketState::Valid(Grant { session, .. }) = &ticket {
        // Who opens the page wants to see the session go on. A page that only connects again does not.
        let _call = app.control.begin_call(session).await?;
        return pages::index(&accepted).ok_or_else(|| {
            ApiError::new(
                Code::Internal,
                "this build of the server has no live view page; build `web/` first",
            )
        });
    }
    let status = Status::of(&ticket);
    Ok((status.http_status(), pages::refusal("live view", &status.message)).into_response())
}

/// Leads to the page: it finds its socket beside itself, so its URL must end with a slash.
#[utoipa::path(
    get, path = "/view/{ticket}", operation_id = "viewRedirect", tag = "Live view",
    params(("ticket" = String, Path, description = "The ticket in the URL that `getSession` answers")),
    responses((status = 308, description = "The URL with a slash"), OfPath),
    security(("ticket" = [])),
)]
pub(crate) async fn add_slash(Path(ticket): Path<String>, RawQuery(query): RawQuery) -> Response {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    // Relative, so that it holds behind a path prefix; the ticket was one path segment, and is put back as one.
    let ticket = percent_encode(&ticket);
    (
        StatusCode::PERMANENT_REDIRECT,
        [(LOCATION, format!("./{ticket}/{query}"))],
    )
        .into_response()
}

/// Whether the live view can be opened, and if not, why.
#[utoipa::path(
    get, path = "/view/{ticket}/status", operation_id = "viewStatus", tag = "Live view",
    params(("ticket" = String, Path, description = "The ticket in the URL that `getSession` answers")),
    responses((status = 200, body = Status, description = "It can"), (status = 404, body = Status, description = "No such ticket"), (status = 410, body = Status, description = "The ticket has expired or was revoked, or the session has ended"), OfPage),
    security(("ticket" = [])),
)]
pub(crate) async fn status(State(app): State<App>, Path(ticket): Path<String>) -> Result<Response, ApiError> {
    let status = Status::of(&app.control.ticket(&ticket).await?);
    Ok((
        status.http_status(),
        [(CACHE_CONTROL, "no-store")],
        axum::Json(status),
    )
        .into_response())
}

/// Query of `GET /view/{ticket}/ws`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OpenQuery {
    /// It does not count as use of the session, as for a recorder, which opens it again and again.
    #[serde(default)]
    #[param(required = false)]
    quiet: bool,
    /// The page's first message, in URL-safe base64 without padding: its picture comes a round trip earlier.
    hello: Option<String>,
}

impl OpenQuery {
    fn hello(&self) -> Result<Option<HeaderValue>, ApiError> {
        let Some(hello) = &self.hello else {
            return Ok(None);
        };
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        HeaderValue::from_str(hello)
            .ok()
            .filter(|_| hello.len() <= VIEW_HELLO_BYTES_MAX && hello.bytes().all(is_known))
            .map(Some)
            .ok_or_else(|| {
                let text = format!(
                    "`hello` is not the first message of a page; allowed: at most {VIEW_HELLO_BYTES_MAX} characters of \
                     URL-safe base64"
                );
                ApiError::new(Code::InvalidParameter, text)
            })
    }
}

/// The screen's WebSocket. Ends when the ticket expires or is revoked.
#[utoipa::path(
    get, path = "/view/{ticket}/ws", operation_id = "viewStream", tag = "Live view",
    params(("ticket" = String, Path, description = "The ticket in the URL that `getSession` answers"), OpenQuery),
    responses((status = 101, description = "The WebSocket is open"), OfTicket),
    security(("ticket" = [])),
)]
pub(crate) async fn open(
    State(app): State<App>,
    Path(ticket): Path<String>,
    Query(query): Query<OpenQuery>,
    request: Request,
) -> Result<Response, ApiError> {
    tunnel::check_origin(&app, request.headers())?;
    let (quiet, hello) = (query.quiet, query.hello()?);
    let grant = granted(&app, &ticket).await?;
    if grant.session.is_paused() {
        return Err(ApiError::new(Code::SessionPaused, PAUSED));
    }
    let session = Arc::clone(&grant.session);
    let _call = match quiet {
        true => None,
        false => Some(app.control.begin_call(&session).await?),
    };
    let view = View { grant, quiet, hello };
    tunnel::open(&app, session, VIEW, request, Tunnel::View(view)).await
}

/// What a ticket gives, or why it gives nothing.
pub(super) async fn granted(app: &App, ticket: &str) -> Result<Grant, ApiError> {
    match app.control.ticket(ticket).await? {
        TicketState::Valid(grant) => {
            audit::uses(&grant.session);
            audit::note(|note| note.ticket_id = grant.ticket_id.clone());
            Ok(grant)
        }
        refused => Err(ApiError::new(Code::SessionNotFound, Status::of(&refused).message)),
    }
}

/// Scripts and styles of the page. Their names change with their content.
#[utoipa::path(
    get, path = "/view/assets/{file}", operation_id = "viewAsset", tag = "Live view",
    params(("file" = String, Path, description = "The file's name")),
    responses((status = 200, content_type = "application/octet-stream", description = "The file"), OfFile),
    security(()),
)]
pub(crate) async fn asset(Path(file): Path<String>, accepted: HeaderMap) -> Result<Response, ApiError> {
    let file = pages::asset(&file, &accepted).ok_or_else(|| {
        let shown: String = file.chars().take(100).collect();
        ApiError::new(
            Code::RouteNotFound,
            format!("the live view has no file `{shown}`"),
        )
    })?;
    let headers = [
        (
            CACHE_CONTROL,
            HeaderValue::from_static("public, max-age=31536000, immutable"),
        ),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, file).into_response())
}
