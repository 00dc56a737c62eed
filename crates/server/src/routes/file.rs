//! Whole files of a session, with its token: the bytes pass from the guest to the client and back, unread.

use std::future::pending;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_control::Session;
use berth_guest_api::FILES;
use futures_util::StreamExt;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};

use crate::auth::by_token;
use crate::body::Path;
use crate::calls::answered;
use crate::error::ApiError;
use crate::openapi::OfStream;
use crate::{App, audit};

/// Longest query: a path of the longest kind, every byte of it escaped.
const QUERY_BYTES_MAX: usize = 3 * 4096 + 100;

/// The bytes of a file.
///
/// A `Range` of one window is answered by that part.
#[utoipa::path(
    get, path = "/link/{session}/files", operation_id = "readFile", tag = "Tools",
    params(
        ("session" = String, Path, description = "The session"),
        ("path" = String, Query, description = "Absolute path of the file", example = "/etc/hostname"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", description = "The file"),
        (status = 206, content_type = "application/octet-stream", description = "The part of the file that `Range` names"),
        OfStream,
    ),
    security(("sessionToken" = [])),
)]
pub(crate) async fn read(
    State(app): State<App>,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ApiError> {
    pass(&app, &session_id, query, request).await
}

/// Makes the body the content of a file.
///
/// The file is replaced when the last byte has come; an upload that breaks off changes nothing. Missing parent directories
/// are made.
#[utoipa::path(
    put, path = "/link/{session}/files", operation_id = "writeFile", tag = "Tools",
    params(
        ("session" = String, Path, description = "The session"),
        ("path" = String, Query, description = "Absolute path of the file", example = "/tmp/uploaded"),
    ),
    request_body(content_type = "application/octet-stream", description = "The file"),
    responses((status = 204, description = "Written"), OfStream),
    security(("sessionToken" = [])),
)]
pub(crate) async fn write(
    State(app): State<App>,
    Path(session_id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, ApiError> {
    pass(&app, &session_id, query, request).await
}

async fn pass(
    app: &App,
    session_id: &str,
    query: Option<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let session = by_token(app, request.headers(), session_id).await?;
    audit::uses(&session);
    let query = query.unwrap_or_default();
    if !query.split('&').any(|part| part.starts_with("path=")) {
        return Err(ApiError::missing(
            "path",
            "an absolute path, such as `/home/user/data.csv`",
        ));
    }
    stream(app, &session, &format!("{FILES}?{query}"), request, pending()).await
}

/// Passes a request on to `target` of the guest, and the answer back, both as streams. Ends early when `cut` completes.
pub(super) async fn stream(
    app: &App,
    session: &Arc<Session>,
    target: &str,
    request: Request,
    cut: impl Future<Output = ()> + Send + 'static,
) -> Result<Response, ApiError> {
    let call = app.control.begin_call(session).await?;
    let passed = passed(target, request)?;
    let mut cut = Box::pin(cut);
    let answer = tokio::select! {
        answer = answered(session, session.guest.transfer(passed)) => answer?,
        () = &mut cut => return Err(was_cut()),
    };
    let (head, body) = answer.into_parts();
    let session = Arc::clone(session);
    let over = async move {
        tokio::select! {
            _ = session.ended() => {}
            () = cut => {}
        }
    };
    // The call lasts as long as its bytes; when the session ends, so do they.
    let body = Body::new(body)
        .into_data_stream()
        .take_until(over)
        .inspect(move |_| {
            let _ = &call;
        });
    let mut response = (head.status, Body::from_stream(body)).into_response();
    let headers = response.headers_mut();
    for name in [CONTENT_LENGTH, CONTENT_RANGE, ACCEPT_RANGES] {
        if let Some(value) = head.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if head.status != http::StatusCode::NO_CONTENT {
        // Whatever the session says: a browser must not take its files for pages of this server.
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(
            http::header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
    }
    Ok(response)
}

/// A request as the guest gets it: its method, its body, and what is said of the bytes.
pub(super) fn passed(target: &str, request: Request) -> Result<Request, ApiError> {
    if target.len() > QUERY_BYTES_MAX {
        return Err(ApiError::new(
            Code::InvalidParameter,
            format!("the query is too long; allowed: at most {QUERY_BYTES_MAX} bytes, escaped"),
        ));
    }
    let (head, body) = request.into_parts();
    let mut passed = Request::builder()
        .method(head.method)
        .uri(target)
        .header(http::header::HOST, "guest");
    for name in [RANGE, CONTENT_LENGTH] {
        if let Some(value) = head.headers.get(&name) {
            passed = passed.header(name, value);
        }
    }
    passed.body(body).map_err(|error| {
        ApiError::new(
            Code::InvalidParameter,
            format!("the query cannot be passed on: {error}"),
        )
    })
}

/// The refusal of what was cut in the middle.
pub(super) fn was_cut() -> ApiError {
    ApiError::new(
        Code::SessionNotFound,
        "this live view URL has expired, or was revoked by the session's owner",
    )
}
