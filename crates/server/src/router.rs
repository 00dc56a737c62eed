//! The whole surface of the server.

use axum::extract::{MatchedPath, Request};
use axum::routing::any;
use axum::{Router, middleware};
use berth_agb_api::Code;
use http::Uri;
use http::uri::PathAndQuery;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use crate::App;
use crate::error::ApiError;
use crate::openapi;
use crate::request::surround;
use crate::routes::{
    file, health, labels, link, mcp, own, picture, port, sessions, stream, tickets, tools, view, view_files,
};

/// All routes. Where each is and who may use it stands at its handler; [`openapi`] says how.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::shared())
        // Sessions
        .routes(routes!(sessions::create))
        .routes(routes!(sessions::get))
        .routes(routes!(sessions::status))
        .routes(routes!(sessions::resource))
        .routes(routes!(sessions::refresh))
        .routes(routes!(sessions::release))
        .routes(routes!(sessions::release_by_old_name))
        .routes(routes!(sessions::list))
        .routes(routes!(labels::set))
        .routes(routes!(labels::get))
        .routes(routes!(own::list))
        .routes(routes!(own::detail))
        .routes(routes!(own::log))
        .routes(routes!(own::pause))
        .routes(routes!(own::resume))
        // Tools
        .routes(routes!(tools::call))
        .routes(routes!(tools::list))
        .routes(routes!(link::call))
        .routes(routes!(stream::open))
        // Tools for clients of MCP
        .routes(routes!(mcp::message_by_link, mcp::leave_by_link))
        .routes(routes!(mcp::message, mcp::end))
        .routes(routes!(mcp::open))
        .routes(routes!(mcp::message_to_stream))
        .routes(routes!(stream::open_process))
        .routes(routes!(file::read, file::write))
        .routes(routes!(picture::read))
        // Port links
        .routes(routes!(port::link))
        .routes(routes!(port::link_by_other_name))
        .routes(routes!(port::add_slash))
        // Every method, also those that OpenAPI has no word for.
        .routes(routes!(port::root).map(|_| any(port::root)))
        .routes(routes!(port::below).map(|_| any(port::below)))
        // Live view
        .routes(routes!(view::add_slash))
        .routes(routes!(view::page))
        .routes(routes!(view::status))
        .routes(routes!(view::open))
        .routes(routes!(view::asset))
        .routes(routes!(view_files::read, view_files::write))
        .routes(routes!(tickets::share, tickets::list, tickets::revoke_all))
        .routes(routes!(tickets::revoke))
        .routes(routes!(tickets::viewers))
        // The server itself
        .routes(routes!(health::check))
        .routes(routes!(health::front_page))
        .routes(routes!(health::metrics))
        .routes(routes!(health::openapi))
}

/// The routes, with what surrounds them.
pub(crate) fn router(app: App) -> Router {
    Router::from(routes())
        .method_not_allowed_fallback(async |request: Request| {
            ApiError::new(
                Code::MethodNotAllowed,
                // The pattern, not the path, which may hold a ticket and goes into the log.
                format!("`{}` does not take {}", pattern(&request), request.method()),
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
        .with_state(app)
}

fn pattern(request: &Request) -> &str {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("this path", MatchedPath::as_str)
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
