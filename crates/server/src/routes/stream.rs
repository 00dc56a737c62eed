//! The stream route: a WebSocket to the guest, opened with the session's token.

use axum::extract::{Request, State};
use axum::response::Response;
use berth_guest_api::STREAM;

use crate::auth::token;
use crate::body::Path;
use crate::error::ApiError;
use crate::openapi::OfStream;
use crate::tunnel::{self, Tunnel};
use crate::{App, audit};

/// The WebSocket for code runs with live output.
#[utoipa::path(
    get, path = "/ws/{session}", operation_id = "openStream", tag = "Tools",
    params(("session" = String, Path, description = "The session")),
    responses((status = 101, description = "The WebSocket is open"), OfStream),
    security(("sessionToken" = [])),
)]
pub(crate) async fn open(
    State(app): State<App>,
    Path(session_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    audit::names(&session_id);
    let session = app
        .control
        .session_by_token(&session_id, token(request.headers())?)
        .await?;
    let _call = app.control.begin_call(&session).await?;
    tunnel::open(&app, session, STREAM, request, Tunnel::Stream).await
}
