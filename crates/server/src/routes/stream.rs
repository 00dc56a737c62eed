//! WebSockets to the guest, opened with the session's token: the stream of code runs, and one for each process.

use axum::extract::{Request, State};
use axum::response::Response;
use berth_agb_api::Code;
use berth_guest_api::{PROCESSES, STREAM};

use crate::App;
use crate::auth::by_token;
use crate::body::Path;
use crate::error::ApiError;
use crate::openapi::OfStream;
use crate::tunnel::{self, Tunnel};

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
    let session = by_token(&app, request.headers(), &session_id).await?;
    let _call = app.control.begin_call(&session).await?;
    tunnel::open(&app, session, STREAM, request, Tunnel::Stream).await
}

/// Longest query of [`open_process`].
const QUERY_BYTES_MAX: usize = 200;

/// The WebSocket to a process that `start_process` started: what it writes, and what is typed.
///
/// Binary messages begin with one byte, 0 for input, 1 for standard output or the terminal, 2 for standard error. Text
/// messages are JSON: `resize`, `signal`, `close_input` from the client, `attached`, `gap`, `error`, `exited` to it.
#[utoipa::path(
    get, path = "/ws/{session}/processes/{process}", operation_id = "openProcess", tag = "Tools",
    params(
        ("session" = String, Path, description = "The session"),
        ("process" = String, Path, description = "The process, as `start_process` named it", example = "p1"),
        ("position" = Option<u64>, Query, description = "Where its output is read from; from the oldest that is kept if absent"),
    ),
    responses((status = 101, description = "The WebSocket is open"), OfStream),
    security(("sessionToken" = [])),
)]
pub(crate) async fn open_process(
    State(app): State<App>,
    Path((session_id, process)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let session = by_token(&app, request.headers(), &session_id).await?;
    // Goes into a path: nothing but what names have.
    if process.is_empty() || process.len() > 40 || !process.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(ApiError::new(
            Code::InvalidParameter,
            "the path names no process; allowed: an id that `start_process` or `list_processes` gave",
        ));
    }
    let query = request
        .uri()
        .query()
        .filter(|query| query.len() <= QUERY_BYTES_MAX);
    let path = format!("{PROCESSES}{process}?{}", query.unwrap_or_default());
    let _call = app.control.begin_call(&session).await?;
    tunnel::open(&app, session, &path, request, Tunnel::Stream).await
}
