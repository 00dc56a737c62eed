//! Streamable HTTP: each message is a request of its own, answered as JSON or, when that takes long, as an event stream.
//!
//! `rmcp` reads the message and checks what each version of the protocol demands; nothing is kept between two requests. A client
//! that introduces itself gets a name in [`SESSION_ID`]: where it had no session, the id of the one made for it; elsewhere, one
//! by which its cancellations find its calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::message::{Id, Message};
use super::tools::{Seat, Tools};
use super::{CallId, MESSAGE_BYTES_MAX, Mcp, new_secret};
use crate::error::ApiError;
use crate::urls::Base;
use crate::{App, audit};

/// In which a client says who it is, once it has been told.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// An answer that takes longer than this becomes an event stream, so that neither the client nor a proxy takes the silence for
/// the end. Not at once, because some clients bound the length of an event, but not that of a JSON answer.
const SOON: Duration = Duration::from_secs(20);

/// How often an open event stream says that it lives.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Characters of a client's name.
const CLIENT_CHARS_MAX: usize = 200;

/// Bytes of a refusal that is not JSON.
const REFUSAL_BYTES_MAX: usize = 4096;

/// A client at the door.
pub(crate) struct Visit {
    /// The session that its message is for.
    pub(crate) seat: Seat,
    /// Where the client reaches the server.
    pub(crate) base: Base,
    /// What the client sent.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Answers one message.
pub(crate) async fn answer(app: &App, visit: Visit) -> Result<Response, ApiError> {
    let message = Message::read(&visit.body)?;
    let client = client(&visit.headers);
    let call = message.id.as_ref().map(|id| call_id(&visit.seat, client, id));
    let Some(call) = call else {
        if let Some(id) = message.cancels()
            && let Some(call) = call_id(&visit.seat, client, &id)
            && let Some(running) = app.mcp.calls().get(&call)
        {
            running.cancel();
        }
        return Ok(StatusCode::ACCEPTED.into_response());
    };
    let introduces = message.introduces();
    let running = Running::new(&app.mcp, call);
    let tools = Tools {
        app: app.clone(),
        seat: visit.seat.clone(),
        base: visit.base,
        part: audit::part(),
        cancelled: running.cancelled.clone(),
    };
    let request = request(visit.headers, visit.body)?;
    let work = async move {
        let _running = running;
        spoken(tools, request).await
    };
    if introduces {
        return introduced(&visit.seat, work.await?);
    }
    Ok(patiently(work.instrument(Span::current())).await)
}

/// Lets `rmcp` answer a message.
async fn spoken(tools: Tools, request: Request<Full<Bytes>>) -> Result<Response, ApiError> {
    let config = StreamableHttpServerConfig::default()
        // Whoever has the key or the token may call from anywhere; what guards against pages of other sites is that.
        .disable_allowed_hosts()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(MESSAGE_BYTES_MAX);
    let service = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
    let response = service.handle(request).await;
    let is_json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let status = response.status();
    if status.is_success() || is_json {
        return Ok(response.map(Body::new));
    }
    let body = Limited::new(response.into_body(), REFUSAL_BYTES_MAX)
        .collect()
        .await;
    let why = body.map_or_else(
        |error| error.to_string(),
        |body| String::from_utf8_lossy(&body.to_bytes()).into_owned(),
    );
    Err(match status {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiError::new(
            Code::MalformedBody,
            format!("the body is no message of MCP: {why}"),
        ),
        status if status.is_client_error() => ApiError::new(Code::InvalidParameter, why),
        _ => ApiError::new(Code::Internal, format!("the message could not be handled: {why}")),
    })
}

/// Tells a client that has introduced itself who it is.
fn introduced(seat: &Seat, mut response: Response) -> Result<Response, ApiError> {
    let name = match seat {
        Seat::Taken(_) => Some(new_secret()),
        Seat::Free(_, tenancy) => tenancy.get().map(|tenancy| {
            tenancy.keep();
            tenancy.session.id.clone()
        }),
    };
    if let Some(name) = name {
        let name = HeaderValue::try_from(name)
            .map_err(|error| ApiError::new(Code::Internal, format!("a session's id: {error}")))?;
        response.headers_mut().insert(SESSION_ID, name);
    }
    Ok(response)
}

/// Waits for an answer for a while, then opens an event stream and sends it there.
async fn patiently(answer: impl Future<Output = Result<Response, ApiError>> + Send + 'static) -> Response {
    let mut answer = Box::pin(answer);
    if let Ok(answer) = tokio::time::timeout(SOON, answer.as_mut()).await {
        return answer.into_response();
    }
    let event = answer.then(|answer| async {
        // An error by status can no longer be told; `rmcp` tells those of a call in its answer.
        let body = answer.into_response().into_body().collect().await;
        let text = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok::<_, Infallible>(
            Event::default()
                .event("message")
                .data(String::from_utf8_lossy(&text)),
        )
    });
    events(stream::once(event))
}

/// An answer that is an event stream, and says so to a proxy that would collect it.
pub(super) fn events(
    events: impl futures_util::Stream<Item = Result<Event, Infallible>> + Send + 'static,
) -> Response {
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    let headers = [(HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, Sse::new(events).keep_alive(keep_alive)).into_response()
}

/// The client's name, if it has been given one.
fn client(headers: &HeaderMap) -> Option<&str> {
    let name = headers.get(SESSION_ID)?.to_str().ok()?;
    (name.len() <= CLIENT_CHARS_MAX).then_some(name)
}

fn call_id(seat: &Seat, client: Option<&str>, id: &Id) -> Option<CallId> {
    Some((seat.session()?.id.clone(), client?.to_owned(), id.text()))
}

/// The request as `rmcp` wants it: other routes look at no content type, so this one does not either.
fn request(mut headers: HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>, ApiError> {
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut request = Request::post("/")
        .body(Full::new(body))
        .map_err(|error| ApiError::new(Code::Internal, format!("a request of ours: {error}")))?;
    headers
        .entry(http::header::HOST)
        .or_insert(HeaderValue::from_static("localhost"));
    *request.headers_mut() = headers;
    Ok(request)
}

/// A call that its client can cancel for as long as this exists.
struct Running {
    mcp: Arc<Mcp>,
    call: Option<CallId>,
    cancelled: CancellationToken,
}

impl Running {
    fn new(mcp: &Arc<Mcp>, call: Option<CallId>) -> Self {
        let cancelled = CancellationToken::new();
        if let Some(call) = &call {
            mcp.calls().insert(call.clone(), cancelled.clone());
        }
        Self {
            mcp: Arc::clone(mcp),
            call,
            cancelled,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            self.mcp.calls().remove(call);
        }
    }
}
