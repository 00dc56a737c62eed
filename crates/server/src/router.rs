//! The whole surface of the server.

use axum::extract::{DefaultBodyLimit, Request};
use axum::routing::{any, get, post};
use axum::{Router, middleware};
use berth_agb_api::Code;
use http::Uri;
use http::uri::PathAndQuery;

use crate::App;
use crate::body::BODY_BYTES_MAX;
use crate::error::ApiError;
use crate::request::surround;
use crate::routes::{health, labels, link, own, port, sessions, stream, tools, view};

/// All routes. Who may use them: `/mcp`, `/sdk`, `/internet` and `/api` need an API key, `/link` and `/ws` the session's token, `/view` a
/// ticket in its path, `/port` a link in its path; `/healthz`, `/` and the page's assets are open.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        // Sessions
        .route("/mcp/createSession", post(sessions::create))
        .route("/mcp/getSession", post(sessions::get))
        .route("/mcp/getSessionInfo", post(sessions::status))
        .route("/mcp/getMcpResource", post(sessions::resource))
        .route("/mcp/refreshSessionIdleTime", post(sessions::refresh))
        .route("/mcp/releaseSessionAsync", post(sessions::release))
        .route("/mcp/releaseSession", post(sessions::release))
        .route("/sdk/ListSession", get(sessions::list))
        .route("/sdk/SetLabel", post(labels::set))
        .route("/sdk/GetLabel", get(labels::get))
        .route("/api/v1/sessions", get(own::list))
        .route("/api/v1/sessions/{session}", get(own::detail))
        .route("/api/v1/sessions/{session}/log", get(own::log))
        .route("/api/v1/sessions/{session}/pause", post(own::pause))
        .route("/api/v1/sessions/{session}/resume", post(own::resume))
        // Tools
        .route("/mcp", post(tools::call))
        .route("/mcp/listTools", post(tools::list))
        .route("/link/{session}/callTool", post(link::call))
        .route("/ws/{session}", get(stream::open))
        // Port links
        .route("/internet/getLink", get(port::link))
        .route("/mcp/getLink", get(port::link))
        .route("/port/{link}", any(view::add_slash))
        .route("/port/{link}/", any(port::pass))
        .route("/port/{link}/{*path}", any(port::pass))
        // Live view
        .route("/view/{ticket}", get(view::add_slash))
        .route("/view/{ticket}/", get(view::page))
        .route("/view/{ticket}/status", get(view::status))
        .route("/view/{ticket}/ws", get(view::open))
        .route("/view/assets/{file}", get(view::asset))
        // The server itself
        .route("/healthz", get(health::check))
        .route("/", get(health::front_page))
        .method_not_allowed_fallback(async |request: Request| {
            ApiError::new(
                Code::MethodNotAllowed,
                format!("`{}` does not take {}", request.uri().path(), request.method()),
            )
        })
        .fallback(async |request: Request| {
            let path: String = request.uri().path().chars().take(200).collect();
            ApiError::new(
                Code::RouteNotFound,
                format!(
                    "`{} {path}` is not a route of this version of Berth",
                    request.method()
                ),
            )
        })
        .layer(middleware::from_fn_with_state(app.clone(), surround))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(app)
}

/// Makes one slash of several: a client whose endpoint ends with one sends two. Below a port link they are not ours.
pub(crate) fn collapse_slashes<B>(mut request: http::Request<B>) -> http::Request<B> {
    let path = request.uri().path();
    if !path.contains("//") {
        return request;
    }
    let mut collapsed = String::with_capacity(path.len());
    for character in path.chars() {
        let ours = collapsed == "/port/" || !collapsed.starts_with("/port/");
        if !(ours && character == '/' && collapsed.ends_with('/')) {
            collapsed.push(character);
        }
    }
    if let Some(query) = request.uri().query() {
        collapsed.push('?');
        collapsed.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    if let Ok(path) = PathAndQuery::try_from(collapsed) {
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collapsed(uri: &str) -> String {
        collapse_slashes(http::Request::get(uri).body(()).unwrap())
            .uri()
            .to_string()
    }

    #[test]
    fn repeated_slashes_become_one_and_the_query_stays() {
        assert_eq!(collapsed("//sdk///ListSession?a=//b"), "/sdk/ListSession?a=//b");
        assert_eq!(collapsed("/mcp"), "/mcp");
        assert_eq!(collapsed("//port//l//a//b"), "/port/l//a//b");
    }
}
