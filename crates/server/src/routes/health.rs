//! The server about itself.

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::metrics::MetricsAccess;
use crate::openapi::{DOCUMENT, Internal, OfMetrics};

/// How the server does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    #[schema(example = "ok")]
    status: &'static str,
    version: &'static str,
    sessions: usize,
    pool: Pool,
}

/// Sandboxes that wait for a session, and how many there should be.
#[derive(Debug, Serialize, ToSchema)]
struct Pool {
    ready: usize,
    size: usize,
}

/// Says whether the server can work.
///
/// Open to all, so it says nothing of anybody's sessions but their number.
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "Server",
    responses((status = 200, body = Health, description = "Done"), Internal),
    security(()),
)]
pub(crate) async fn check(State(app): State<App>) -> Result<axum::Json<Health>, ApiError> {
    let health = app.control.health().await?;
    let pool = Pool {
        ready: health.pool_ready,
        size: health.pool_size,
    };
    Ok(axum::Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
        sessions: health.sessions,
        pool,
    }))
}

/// For a person who opens the server's address in a browser.
#[utoipa::path(
    get, path = "/", operation_id = "frontPage", tag = "Server",
    responses((status = 200, body = String, description = "A few words")),
    security(()),
)]
pub(crate) async fn front_page() -> &'static str {
    concat!(
        "Berth ",
        env!("CARGO_PKG_VERSION"),
        " is running.\n\nThis address is the endpoint for clients: set AGB_ENDPOINT to it and AGB_API_KEY to a key \
         from `berth key create`.\n",
    )
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "Server",
    responses((status = 200, body = Object, description = "An OpenAPI 3.1 document")),
    security(()),
)]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// Metrics, for Prometheus.
///
/// Open to all, or with an API key, or not there at all: the setting `metrics` decides.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "Server",
    responses((status = 200, body = String, description = "Series in Prometheus's text format"), OfMetrics),
    security((), ("apiKey" = [])),
)]
pub(crate) async fn metrics(State(app): State<App>, mut parts: Parts) -> Result<Response, ApiError> {
    if app.metrics.access() == MetricsAccess::Key {
        Caller::from_request_parts(&mut parts, &app).await?;
    }
    let text = app.metrics.render(&app.control.census().await).ok_or_else(|| {
        ApiError::new(
            Code::RouteNotFound,
            "this server was started with `--metrics off`",
        )
    })?;
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}
