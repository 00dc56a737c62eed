//! Tools on the link route: a call with the session's token, straight to the guest.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use berth_agb_api::Code;
use berth_agb_api::requests::LinkCall;
use berth_agb_api::responses::LinkAnswer;
use berth_control::Session;
use berth_guest_api::ToolResult;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::value::RawValue;

use crate::auth::token;
use crate::body::{BODY_BYTES_MAX, Path, Unread, enveloped, read_object};
use crate::calls;
use crate::error::ApiError;
use crate::openapi::OfLink;
use crate::request::RequestId;
use crate::urls::Base;
use crate::{App, audit};

/// Runs a tool, with the session's token.
///
/// Clients show nothing of an answer whose status is not 2xx but the number, so a refusal that a person should read (the
/// session has ended, and why) is an answer with `isError`.
#[utoipa::path(
    post, path = "/link/{session}/callTool", operation_id = "callToolByLink", tag = "Tools",
    params(("session" = String, Path, description = "The session")),
    request_body = LinkCall,
    responses((status = 200, body = LinkAnswer, description = "Done"), OfLink),
    security(("sessionToken" = [])),
)]
pub(crate) async fn call(
    State(app): State<App>,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    id: RequestId,
    base: Base,
    body: Unread,
) -> Result<Response, ApiError> {
    audit::names(&session_id);
    let token = token(&headers)?;
    let (request_id, answer) = match app.control.session_by_token(&session_id, token).await {
        Ok(session) => {
            let body = body.read(BODY_BYTES_MAX).await?;
            let mut call: LinkCall<'_> = read_object(&body)?;
            (call.request_id.take(), run(&app, &session, call, &base).await)
        }
        Err(error) => (None, Err(error.into())),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.code == Code::SessionNotFound && error.cause.is_none() => {
            audit::note(|note| note.refusal = Some(error.code));
            let result = ToolResult::error(error.message);
            serde_json::to_vec(&result)
                .map_err(|error| {
                    ApiError::new(Code::Internal, format!("could not write an answer: {error}"))
                })?
                .into()
        }
        Err(error) => return Err(error),
    };
    let request_id = serde_json::Value::String(request_id.unwrap_or_else(|| id.into())).to_string();
    let head = format!(r#"{{"code":0,"requestId":{request_id},"data":{{"result":"#);
    Ok(enveloped(head, answer, "}}"))
}

async fn run(app: &App, session: &Arc<Session>, call: LinkCall<'_>, base: &Base) -> Result<Bytes, ApiError> {
    let tool = call
        .tool
        .ok_or_else(|| ApiError::missing("tool", "the name of a tool"))?;
    let arguments = call.args.map_or("{}", RawValue::get);
    let arguments = Bytes::copy_from_slice(arguments.as_bytes());
    calls::call_tool(app, session, &tool, arguments, base).await
}
