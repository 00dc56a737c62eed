//! What surrounds every request: its id, its log line, and the body of a failure.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_agb_api::envelope::Failure;
use berth_control::{TRACE_TARGET, whole};
use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rand::RngExt;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, error, info, info_span};

use crate::error::ApiError;
use crate::metrics::count_request;
use crate::{App, audit, mcp, pages};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: in its answer, in its log lines.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    fn new() -> Self {
        let random: u128 = rand::rng().random();
        let hex = format!("{random:032X}");
        Self(
            format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            )
            .into(),
        )
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // `surround` puts it there for every request that reaches a handler.
        Ok(parts
            .extensions
            .get::<RequestId>()
            .cloned()
            .unwrap_or_else(RequestId::new))
    }
}

/// The client's address, as the listener saw it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Runs a request: gives it an id, logs it once, writes its audit line and the body of a failure.
pub(crate) async fn surround(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let started = Instant::now();
    let method = request.method().clone();
    // The pattern, not the path: paths hold tickets.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(none)", MatchedPath::as_str)
        .to_owned();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    request.extensions_mut().insert(id.clone());
    // People open port links in browsers; everything else answers programs.
    let to_a_person = route.starts_with("/port/") && takes_pages(request.headers());
    let asked = audit::Asked::new(&request, &route, id.as_str(), peer);
    let span = info_span!("request", request.id = %id.as_str());
    let trace = info_span!(
        target: TRACE_TARGET,
        "request",
        otel.name = %format!("{} {route}", known(&method)),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = known(&method),
        http.route = route,
        http.response.status_code = Empty,
        client.address = peer.map(|peer| display(peer.ip())),
        berth.request.id = %id.as_str(),
        session.id = Empty,
    );
    if let (Some(follow), false) = (app.follow, trace.is_disabled()) {
        follow(request.headers(), &trace);
    }

    let is_whole = asked.is_whole();
    let answer = async move {
        let mut response = audit::watch(app.audit, asked, next.run(request)).await;
        let failure = response.extensions_mut().remove::<Arc<ApiError>>();
        let duration_ms = started.elapsed().as_secs_f64() * 1e3;
        let status = response.status().as_u16();
        match &failure {
            None => debug!(%method, route, status, duration_ms, "{method} {route}"),
            Some(failure) if failure.cause.is_some() => {
                let cause: &dyn Error = failure.cause.as_deref().map_or(&Nothing, |cause| cause);
                error!(error = cause, %method, route, status, duration_ms, "{method} {route}: {}", failure.message);
            }
            // Clients hide some refusals from their users (a refused creation shows as "Unknow error"), so the log
            // says who was refused what.
            Some(failure) => {
                let peer = peer.map(display);
                // Which path it was is for the client alone: it may hold a ticket.
                let why = if failure.code == Code::RouteNotFound { "no such route" } else { &failure.message };
                // A message quotes what the client sent, which must not look like a line of its own.
                let why = why.replace(char::is_control, "\u{fffd}");
                info!(%method, route, status, duration_ms, peer, "refused {method} {route}: {why}");
            }
        }
        count_request(&route, response.status());
        Span::current().record("http.response.status_code", i64::from(status));
        if status >= 500 {
            Span::current().record("otel.status_code", "ERROR");
        }
        if let Some(failure) = failure {
            response = match to_a_person {
                true => page(&id, &failure),
                false => body(&id, &failure, mcp::is_spoken_on(&route)),
            };
        }
        if route.starts_with("/view/") {
            pages::keep_private(response.headers_mut());
        }
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            // A server inside a session may have given its answer an id of its own.
            response.headers_mut().entry(REQUEST_ID).or_insert(value);
        }
        response
    }
    .instrument(trace)
    .instrument(span);
    if !is_whole {
        return answer.await;
    }
    whole(app.connections.spawn(answer)).await
}

/// The method's name in a trace: clients can make up any.
fn known(method: &Method) -> &str {
    match method.as_str() {
        name @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT") => {
            name
        }
        _ => "_OTHER",
    }
}

fn takes_pages(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepts.is_some_and(|kinds| kinds.contains("text/html"))
}

fn page(id: &RequestId, failure: &ApiError) -> Response {
    let page = pages::refusal("port link", &message(id, failure));
    (failure.status(), page).into_response()
}

fn body(id: &RequestId, failure: &ApiError, to_mcp: bool) -> Response {
    let message = message(id, failure);
    let envelope = Failure::new(id.as_str(), failure.code, &message);
    match to_mcp {
        true => {
            let both = mcp::with_json_rpc(envelope, failure.code, &message);
            (failure.status(), axum::Json(both)).into_response()
        }
        false => (failure.status(), axum::Json(envelope)).into_response(),
    }
}

fn message(id: &RequestId, failure: &ApiError) -> String {
    match failure.cause {
        Some(_) => format!(
            "{}; the server's log has the cause under request {}",
            failure.message,
            id.as_str()
        ),
        None => failure.message.clone(),
    }
}

/// Stands for a cause where there is none; never shown.
#[derive(Debug, thiserror::Error)]
#[error("no cause")]
struct Nothing;
