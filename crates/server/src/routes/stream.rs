//! The stream route: a WebSocket to the guest, opened with the session's token.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use berth_guest_api::STREAM;

use crate::auth::token;
use crate::error::ApiError;
use crate::tunnel::{self, Tunnel};
use crate::{App, audit};

/// `GET /ws/{session}`.
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
