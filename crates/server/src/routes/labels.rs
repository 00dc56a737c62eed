//! Labels of a session.

use axum::extract::State;
use berth_agb_api::envelope::{Envelope, Success};
use berth_agb_api::requests::{LabelQuery, SessionRef};
use berth_agb_api::responses::LabelText;
use berth_agb_api::{Code, labels};

use super::sessions::session_id;
use crate::App;
use crate::auth::Caller;
use crate::body::Query;
use crate::error::ApiError;
use crate::openapi::OfSession;
use crate::request::RequestId;

/// Replaces all labels of a session. Its parameters stand in the query.
#[utoipa::path(
    post, path = "/sdk/SetLabel", operation_id = "setLabels", tag = "Sessions",
    params(LabelQuery),
    responses((status = 200, body = Envelope, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn set(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Query(query): Query<LabelQuery>,
) -> Result<axum::Json<Envelope>, ApiError> {
    let text = query
        .labels
        .as_deref()
        .ok_or_else(|| ApiError::missing("Labels", "a JSON object of strings"))?;
    let labels = labels::parse(text)?;
    let session = app
        .control
        .session(
            &caller.key.id,
            session_id(&SessionRef {
                session_id: query.session_id,
            })?,
        )
        .await?;
    session.touch();
    app.control.set_labels(&session, &labels).await?;
    Ok(axum::Json(Envelope::new(id)))
}

/// The labels of a session.
#[utoipa::path(
    get, path = "/sdk/GetLabel", operation_id = "getLabels", tag = "Sessions",
    params(SessionRef),
    responses((status = 200, body = Success<LabelText>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    Query(query): Query<SessionRef>,
) -> Result<axum::Json<Success<LabelText>>, ApiError> {
    let session = app.control.session(&caller.key.id, session_id(&query)?).await?;
    session.touch();
    let labels = app.control.labels(&session).await?;
    let labels = serde_json::to_string(&labels)
        .map_err(|error| ApiError::new(Code::Internal, format!("could not write the labels: {error}")))?;
    Ok(axum::Json(Success::new(id, LabelText { labels })))
}
