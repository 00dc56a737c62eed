//! Berth's own routes: what the AGB API has no words for. Types and meaning are in `berth_agb_api::own`.

use axum::extract::State;
use berth_agb_api::envelope::{Page, Success};
use berth_agb_api::own::{
    RecordingStatus, SessionDetail, SessionEnd, SessionLog, SessionStatus, SessionSummary,
};
use berth_control::{Detail, SessionState};
use jiff::Timestamp;
use serde::Deserialize;
use utoipa::IntoParams;

use super::sessions::{Answer, Asked, page};
use crate::auth::Caller;
use crate::body::{Path, Query};
use crate::error::ApiError;
use crate::openapi::{Keyed, OfSession};
use crate::request::RequestId;
use crate::{App, audit};

/// Query of `GET /api/v1/sessions`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Page length.
    #[param(value_type = u32, required = false, minimum = 1, maximum = 100, default = 10)]
    limit: Option<String>,
    /// From the previous page.
    next_token: Option<String>,
    /// All of these labels must match: a JSON object.
    labels: Option<String>,
}

/// Live sessions of the key, newest first. Does not count as use.
#[utoipa::path(
    get, path = "/api/v1/sessions", operation_id = "listSessionSummaries", tag = "Sessions",
    params(ListQuery),
    responses((status = 200, body = Page<SessionSummary>, description = "Done"), Keyed),
    security(("apiKey" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Page<SessionSummary>>, ApiError> {
    let asked = Asked {
        length: ("limit", query.limit),
        token: query.next_token,
        labels: query.labels,
    };
    page(&app, &caller, id, asked, |session| SessionSummary {
        session_id: session.id,
        image: session.image,
        status: status(session.state),
        labels: session.labels,
        created_at: text(session.created),
    })
    .await
}

/// A session in detail, also one that has ended. Does not count as use.
#[utoipa::path(
    get, path = "/api/v1/sessions/{session}", operation_id = "sessionDetail", tag = "Sessions",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Success<SessionDetail>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn detail(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionDetail> {
    described(&app, &caller, id, &session_id).await
}

/// The last log lines of a session, also of one that has ended. Does not count as use.
#[utoipa::path(
    get, path = "/api/v1/sessions/{session}/log", operation_id = "sessionLog", tag = "Sessions",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Success<SessionLog>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn log(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionLog> {
    let lines = app.control.log(&caller.key.id, &session_id).await?;
    Ok(axum::Json(Success::new(id, SessionLog { lines })))
}

/// Freezes a session; the next call thaws it. Succeeds again for one that is paused.
#[utoipa::path(
    post, path = "/api/v1/sessions/{session}/pause", operation_id = "pauseSession", tag = "Sessions",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Success<SessionDetail>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn pause(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionDetail> {
    audit::names(&session_id);
    let session = app.control.session(&caller.key.id, &session_id).await?;
    app.control.pause(&session).await?;
    described(&app, &caller, id, &session_id).await
}

/// Thaws a session, as any call would. Succeeds again for one that runs.
#[utoipa::path(
    post, path = "/api/v1/sessions/{session}/resume", operation_id = "resumeSession", tag = "Sessions",
    params(("session" = String, Path, description = "The session")),
    responses((status = 200, body = Success<SessionDetail>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn resume(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionDetail> {
    audit::names(&session_id);
    let session = app.control.session(&caller.key.id, &session_id).await?;
    drop(app.control.begin_call(&session).await?);
    described(&app, &caller, id, &session_id).await
}

/// The answer that describes a session as it is now.
async fn described(app: &App, caller: &Caller, id: RequestId, session_id: &str) -> Answer<SessionDetail> {
    let detail = app.control.detail(&caller.key.id, session_id).await?;
    let recording = app.recorders.status(session_id);
    Ok(axum::Json(Success::new(id, told(detail, recording))))
}

fn status(state: SessionState) -> SessionStatus {
    match state {
        SessionState::Running => SessionStatus::Running,
        SessionState::Paused => SessionStatus::Paused,
        SessionState::Ending | SessionState::Ended => SessionStatus::Finish,
    }
}

fn told(detail: Detail, recording: Option<RecordingStatus>) -> SessionDetail {
    let Detail {
        row,
        labels,
        live,
        ends_at,
        memory_peak_bytes,
        end,
    } = detail;
    SessionDetail {
        summary: SessionSummary {
            session_id: row.id,
            image: row.image,
            status: status(row.state),
            labels,
            created_at: text(row.created),
        },
        resource_id: row.sandbox_id,
        idle_timeout_seconds: row.idle_timeout_ms / 1000,
        idle_seconds: live.as_ref().map(|session| session.idle().as_secs()),
        ends_at: ends_at.map(text),
        memory_limit_bytes: row.memory_bytes,
        memory_peak_bytes,
        viewers: live.as_ref().map_or(0, |session| session.viewers()),
        recording,
        end: end.map(|end| SessionEnd {
            reason: end.reason.word().to_owned(),
            text: end.to_string(),
            at: row.ended.map(text),
        }),
    }
}

/// A time as programs and people read it.
pub(super) fn text(time: Timestamp) -> String {
    format!("{time:.3}")
}
