//! Berth's own routes: what the AGB API has no words for. Types and meaning are in `berth_agb_api::own`.

use axum::extract::{Path, State};
use berth_agb_api::envelope::{Page, Success};
use berth_agb_api::labels;
use berth_agb_api::own::{SessionDetail, SessionEnd, SessionLog, SessionStatus, SessionSummary};
use berth_control::life::State as Life;
use berth_control::{Detail, SessionState};
use jiff::Timestamp;
use serde::Deserialize;

use super::sessions::{Answer, page_length, read_token, write_token};
use crate::auth::Caller;
use crate::body::Query;
use crate::error::ApiError;
use crate::request::RequestId;
use crate::{App, audit};

/// Query of `GET /api/v1/sessions`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListQuery {
    /// Page length, 1 to 100; 10 if absent.
    limit: Option<String>,
    /// From the previous page.
    next_token: Option<String>,
    /// All of these labels must match: a JSON object.
    labels: Option<String>,
}

/// `GET /api/v1/sessions`: live sessions, newest first. Does not count as use.
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Query(query): Query<ListQuery>,
) -> Result<axum::Json<Page<SessionSummary>>, ApiError> {
    let limit = page_length("limit", query.limit.as_deref())?;
    let labels = labels::parse(query.labels.as_deref().unwrap_or_default())?;
    let token = query.next_token.as_deref().filter(|token| !token.is_empty());
    let after = token.map(read_token).transpose()?;
    let page = app.control.list(&caller.key.id, &labels, after, limit).await?;
    let rows = page.sessions.into_iter().map(|session| SessionSummary {
        session_id: session.id,
        image: session.image,
        status: match session.state {
            SessionState::Running => SessionStatus::Running,
            SessionState::Paused => SessionStatus::Paused,
            SessionState::Ending | SessionState::Ended => SessionStatus::Finish,
        },
        labels: session.labels,
        created_at: text(session.created),
    });
    let next = page.next.as_ref().map(write_token);
    Ok(axum::Json(Page::new(id, rows.collect(), next, limit, page.total)))
}

/// `GET /api/v1/sessions/{id}`: also for a session that has ended. Does not count as use.
pub(crate) async fn detail(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionDetail> {
    let detail = app.control.detail(&caller.key.id, &session_id).await?;
    Ok(axum::Json(Success::new(id, told(detail))))
}

/// `GET /api/v1/sessions/{id}/log`: also for a session that has ended. Does not count as use.
pub(crate) async fn log(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionLog> {
    let lines = app.control.log(&caller.key.id, &session_id).await?;
    Ok(axum::Json(Success::new(id, SessionLog { lines })))
}

/// `POST /api/v1/sessions/{id}/pause`.
pub(crate) async fn pause(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionDetail> {
    audit::names(&session_id);
    let session = app.control.session(&caller.key.id, &session_id).await?;
    app.control.pause(&session).await?;
    let detail = app.control.detail(&caller.key.id, &session_id).await?;
    Ok(axum::Json(Success::new(id, told(detail))))
}

/// `POST /api/v1/sessions/{id}/resume`: what any call would do.
pub(crate) async fn resume(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Path(session_id): Path<String>,
) -> Answer<SessionDetail> {
    audit::names(&session_id);
    let session = app.control.session(&caller.key.id, &session_id).await?;
    drop(app.control.begin_call(&session).await?);
    let detail = app.control.detail(&caller.key.id, &session_id).await?;
    Ok(axum::Json(Success::new(id, told(detail))))
}

fn told(detail: Detail) -> SessionDetail {
    let Detail {
        row,
        state,
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
            status: match state {
                Life::Running => SessionStatus::Running,
                Life::Paused => SessionStatus::Paused,
                Life::Ending(_) | Life::Ended(_) => SessionStatus::Finish,
            },
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
        end: end.map(|end| SessionEnd {
            reason: end.reason.word().to_owned(),
            text: end.to_string(),
            at: row.ended.map(text),
        }),
    }
}

/// A time as programs and people read it.
fn text(time: Timestamp) -> String {
    format!("{time:.3}")
}
