//! The Model Context Protocol: a session's own endpoint, and the server's, which make a session for a client.

use axum::extract::State;
use axum::response::Response;
use berth_agb_api::Code;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::auth::{holder, key_of};
use crate::body::{Path, Query, Unread};
use crate::error::ApiError;
use crate::mcp::{self, MESSAGE_BYTES_MAX, Message, SESSION_ID, Seat, Visit, Wanted, as_not_found};
use crate::openapi::{OfMcp, OfMcpStream};
use crate::urls::Base;
use crate::{App, audit};

/// Query of the server's own endpoints.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "UPPERCASE")]
#[into_params(parameter_in = Query)]
pub(crate) struct ClientQuery {
    /// An API key, for clients that cannot send the `Authorization` header.
    #[serde(rename = "APIKEY")]
    api_key: Option<String>,
    /// The image of the session that is made when the client introduces itself.
    #[serde(rename = "IMAGEID")]
    #[param(example = "agb-code-space-1")]
    image_id: Option<String>,
    /// Its idle release in seconds.
    timeout: Option<i64>,
}

/// A message for a session's tools: Streamable HTTP.
///
/// The credential is the API key that owns the session, or the session's token; `Authorization: Bearer` takes either.
#[utoipa::path(
    post, path = "/link/{session}/mcp", operation_id = "sendMcpMessageByLink", tag = "MCP",
    params(("session" = String, Path, description = "The session")),
    request_body = Message<'_>,
    responses((status = 200, description = "The answer to a request", content((Object = "application/json"), (String = "text/event-stream"))), (status = 202, description = "A notification was taken"), OfMcp),
    security(("apiKey" = []), ("sessionToken" = [])),
)]
pub(crate) async fn message_by_link(
    State(app): State<App>,
    Path(session_id): Path<String>,
    headers: HeaderMap,
    base: Base,
    body: Unread,
) -> Result<Response, ApiError> {
    let session = holder(&app, &headers, &session_id).await.map_err(as_not_found)?;
    let visit = Visit {
        seat: Seat::Taken(session),
        base,
        headers,
        body: body.read(MESSAGE_BYTES_MAX).await?,
    };
    mcp::answer(&app, visit).await
}

/// A client of a session says goodbye. The session is not its own, so it stays.
#[utoipa::path(
    delete, path = "/link/{session}/mcp", operation_id = "leaveMcpByLink", tag = "MCP",
    params(("session" = String, Path, description = "The session")),
    responses((status = 204, description = "Done"), OfMcp),
    security(("apiKey" = []), ("sessionToken" = [])),
)]
pub(crate) async fn leave_by_link(
    State(app): State<App>,
    Path(session_id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    holder(&app, &headers, &session_id).await.map_err(as_not_found)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A message of a client that is given a session: Streamable HTTP.
///
/// `initialize` makes the session; `Mcp-Session-Id` in its answer is the session's id.
#[utoipa::path(
    post, path = "/v2/mcp", operation_id = "sendMcpMessage", tag = "MCP",
    params(ClientQuery, ("Mcp-Session-Id" = Option<String>, Header, description = "The session, once the client has been told")),
    request_body = Message<'_>,
    responses((status = 200, description = "The answer to a request", content((Object = "application/json"), (String = "text/event-stream"))), (status = 202, description = "A notification was taken"), OfMcp),
    security(("apiKey" = [])),
)]
pub(crate) async fn message(
    State(app): State<App>,
    headers: HeaderMap,
    base: Base,
    Query(query): Query<ClientQuery>,
    body: Unread,
) -> Result<Response, ApiError> {
    let key = key_of(&app, &headers, query.api_key.as_deref()).await?.key;
    let seat = match session_id(&headers)? {
        Some(id) => {
            let session = app.control.session(&key.id, id).await;
            Seat::Taken(session.map_err(|error| as_not_found(error.into()))?)
        }
        None => Seat::free(Wanted {
            key,
            image: query.image_id,
            idle_timeout_s: query.timeout,
        }),
    };
    let visit = Visit {
        seat,
        base,
        headers,
        body: body.read(MESSAGE_BYTES_MAX).await?,
    };
    mcp::answer(&app, visit).await
}

/// A client says goodbye: the session that was made for it is released.
#[utoipa::path(
    delete, path = "/v2/mcp", operation_id = "endMcpSession", tag = "MCP",
    params(ClientQuery, ("Mcp-Session-Id" = String, Header, description = "The session")),
    responses((status = 204, description = "Done"), OfMcp),
    security(("apiKey" = [])),
)]
pub(crate) async fn end(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<ClientQuery>,
) -> Result<StatusCode, ApiError> {
    let key = key_of(&app, &headers, query.api_key.as_deref()).await?.key;
    let id = session_id(&headers)?.ok_or_else(|| {
        ApiError::missing("Mcp-Session-Id", "the header that the answer to `initialize` had")
    })?;
    let released = app.control.release(&key, id).await;
    released.map_err(|error| as_not_found(error.into()))?;
    Ok(StatusCode::NO_CONTENT)
}

/// The event stream of a client that is given a session: HTTP with Server-Sent Events.
///
/// The first event names the URL that takes the client's messages. `initialize` makes the session; it is released when this
/// stream is closed.
#[utoipa::path(
    get, path = "/v2/sse", operation_id = "openMcpStream", tag = "MCP",
    params(ClientQuery),
    responses((status = 200, content_type = "text/event-stream", body = String, description = "The stream"), OfMcp),
    security(("apiKey" = [])),
)]
pub(crate) async fn open(
    State(app): State<App>,
    headers: HeaderMap,
    base: Base,
    Query(query): Query<ClientQuery>,
) -> Result<Response, ApiError> {
    let seat = Seat::free(Wanted {
        key: key_of(&app, &headers, query.api_key.as_deref()).await?.key,
        image: query.image_id,
        idle_timeout_s: query.timeout,
    });
    Ok(mcp::open(&app, seat, base))
}

/// A message of a client with an event stream, where its answer comes.
#[utoipa::path(
    post, path = "/v2/sse/{stream}", operation_id = "sendMcpMessageToStream", tag = "MCP",
    params(("stream" = String, Path, description = "The stream, as its first event names it")),
    request_body = Message<'_>,
    responses((status = 202, description = "Taken"), OfMcpStream),
    security(("mcpStream" = [])),
)]
pub(crate) async fn message_to_stream(
    State(app): State<App>,
    Path(stream): Path<String>,
    body: Unread,
) -> Result<StatusCode, ApiError> {
    mcp::deliver(&app, &stream, body).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The session that a client says it has.
fn session_id(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(id) = headers.get(SESSION_ID) else {
        return Ok(None);
    };
    let id = id
        .to_str()
        .map_err(|_| ApiError::new(Code::InvalidParameter, "`Mcp-Session-Id` is not text"))?;
    audit::names(id);
    Ok(Some(id))
}
