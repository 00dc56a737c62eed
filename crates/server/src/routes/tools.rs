//! Tools on the API route: a call with the API key, and the catalogue of an image.

use axum::extract::State;
use axum::response::Response;
use berth_agb_api::Code;
use berth_agb_api::envelope::Success;
use berth_agb_api::requests::{CallTool, ListTools, SessionRef};
use berth_agb_api::responses::ToolAnswer;
use bytes::Bytes;
use serde_json::value::RawValue;

use super::sessions::session_id;
use crate::App;
use crate::auth::Caller;
use crate::body::{Json, Query, enveloped};
use crate::calls;
use crate::error::ApiError;
use crate::openapi::{OfCall, OfImage};
use crate::request::RequestId;
use crate::urls::Base;

/// Runs a tool in a session.
///
/// A tool's own failure is a success of this route, with `isError` in its data.
#[utoipa::path(
    post, path = "/mcp", operation_id = "callTool", tag = "Tools",
    request_body = CallTool,
    responses((status = 200, body = Success<ToolAnswer>, description = "Done"), OfCall),
    security(("apiKey" = [])),
)]
pub(crate) async fn call(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    Json(body): Json<CallTool>,
) -> Result<Response, ApiError> {
    let session_ref = SessionRef {
        session_id: body.session_id,
    };
    let session = app
        .control
        .session(&caller.key.id, session_id(&session_ref)?)
        .await?;
    let tool = body
        .name
        .ok_or_else(|| ApiError::missing("name", "the name of a tool"))?;
    let arguments = arguments(body.args.unwrap_or_else(|| "{}".to_owned()))?;
    let answer = calls::call_tool(&app, &session, &tool, arguments, &base).await?;
    let head = format!(
        r#"{{"requestId":"{}","success":true,"code":"ok","message":null,"httpStatusCode":200,"data":"#,
        id.as_str()
    );
    Ok(enveloped(head, answer, "}"))
}

/// The tools of an image: a JSON array, as text in a string. An array itself would be ignored by the clients.
#[utoipa::path(
    post, path = "/mcp/listTools", operation_id = "listTools", tag = "Tools",
    params(ListTools),
    responses((status = 200, body = Success<String>, description = "Done"), OfImage),
    security(("apiKey" = [])),
)]
pub(crate) async fn list(
    State(app): State<App>,
    _caller: Caller,
    id: RequestId,
    Query(query): Query<ListTools>,
) -> Result<axum::Json<Success<String>>, ApiError> {
    let image = query
        .image_id
        .ok_or_else(|| ApiError::missing("imageId", "the name of an image, in the query"))?;
    let tools = app.control.tools(image.trim()).await?;
    let text = serde_json::to_string(tools)
        .map_err(|error| ApiError::new(Code::Internal, format!("could not write the tools: {error}")))?;
    Ok(axum::Json(Success::new(id, text)))
}

/// The arguments, which are a JSON document in a string: checked to be an object, otherwise passed on as they stand.
fn arguments(text: String) -> Result<Bytes, ApiError> {
    let object = serde_json::from_str::<&RawValue>(&text)
        .ok()
        .filter(|value| value.get().starts_with('{'));
    if object.is_none() {
        let shown: String = text.chars().take(60).collect();
        return Err(ApiError::new(
            Code::InvalidParameter,
            format!("`args` is {shown:?}; allowed: a JSON object, as text in a string"),
        ));
    }
    Ok(text.into())
}
