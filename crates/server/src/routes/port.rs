//! Port links: the URL of a port, and the requests that come to it.

use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use berth_agb_api::Code;
use berth_agb_api::envelope::Success;
use berth_agb_api::requests::{GetLink, SessionRef};
use berth_agb_api::responses::Link;
use http::uri::PathAndQuery;

use super::sessions::session_id;
use crate::auth::Caller;
use crate::body::{Path, Query};
use crate::error::ApiError;
use crate::openapi::{OfLinkedPort, OfPath, OfSession};
use crate::request::RequestId;
use crate::urls::{Base, Protocol, Seen};
use crate::{App, audit, proxy};

/// A URL that leads to a port of a session. Without a port, to the first one that may be reached. Counts as use.
#[utoipa::path(
    get, path = "/internet/getLink", operation_id = "getLink", tag = "Port links",
    params(GetLink),
    responses((status = 200, body = Success<Link>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn link(
    State(app): State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    Query(query): Query<GetLink>,
) -> Result<axum::Json<Success<Link>>, ApiError> {
    let session_ref = SessionRef {
        session_id: query.session_id,
    };
    let session = app
        .control
        .session(&caller.key.id, session_id(&session_ref)?)
        .await?;
    let protocol = Protocol::parse(query.protocol_type.as_deref().unwrap_or_default())?;
    let port = match query.port.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse().map_err(|_| {
            let shown: String = text.chars().take(40).collect();
            ApiError::new(
                Code::InvalidParameter,
                format!("`port` is {shown:?}; allowed: a number"),
            )
        })?),
    };
    let link = app.control.port_link(&session, port)?;
    session.touch();
    let url = base.port(app.links_url.as_ref(), &link, protocol);
    Ok(axum::Json(Success::new(id, Link { url })))
}

/// The same, under its other name.
#[utoipa::path(
    get, path = "/mcp/getLink", operation_id = "getLinkByOtherName", tag = "Port links",
    params(GetLink),
    responses((status = 200, body = Success<Link>, description = "Done"), OfSession),
    security(("apiKey" = [])),
)]
pub(crate) async fn link_by_other_name(
    app: State<App>,
    caller: Caller,
    id: RequestId,
    base: Base,
    query: Query<GetLink>,
) -> Result<axum::Json<Success<Link>>, ApiError> {
    link(app, caller, id, base, query).await
}

/// Leads below the link: relative URLs of a page need the slash.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options, trace),
    path = "/port/{link}", operation_id = "portRedirect", tag = "Port links",
    params(("link" = String, Path, description = "The last segment of the URL that `getLink` answers")),
    responses((status = 308, description = "The URL with a slash"), OfPath),
    security(("portLink" = [])),
)]
pub(crate) async fn add_slash(link: Path<String>, query: RawQuery) -> Response {
    super::view::add_slash(link, query).await
}

/// Passed on, with any method, head and body, to the server that listens inside.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options, trace),
    path = "/port/{link}/", operation_id = "portRoot", tag = "Port links",
    params(("link" = String, Path, description = "The last segment of the URL that `getLink` answers")),
    responses((status = "default", description = "What the server inside answers, as it stands"), OfLinkedPort),
    security(("portLink" = [])),
)]
pub(crate) async fn root(
    app: State<App>,
    Path(link): Path<String>,
    seen: Seen,
    request: Request,
) -> Result<Response, ApiError> {
    pass(app, &link, seen, request).await
}

/// Passed on, with any method, head and body, to the server that listens inside.
#[utoipa::path(
    method(get, head, post, put, patch, delete, options, trace),
    path = "/port/{link}/{*path}", operation_id = "portPath", tag = "Port links",
    params(
        ("link" = String, Path, description = "The last segment of the URL that `getLink` answers"),
        ("path" = String, Path, description = "What the server inside is asked for; of several segments, if need be"),
    ),
    responses((status = "default", description = "What the server inside answers, as it stands"), OfLinkedPort),
    security(("portLink" = [])),
)]
pub(crate) async fn below(
    app: State<App>,
    Path((link, _)): Path<(String, String)>,
    seen: Seen,
    request: Request,
) -> Result<Response, ApiError> {
    pass(app, &link, seen, request).await
}

async fn pass(
    State(app): State<App>,
    link: &str,
    seen: Seen,
    request: Request,
) -> Result<Response, ApiError> {
    let linked = app.control.session_by_port_link(link).await;
    let (session, port) = linked.map_err(|error| ApiError::from(error).of_link())?;
    audit::uses(&session);
    let path = asked(request.uri().path_and_query(), link);
    proxy::pass(&app, &session, port, &seen, &path, request).await
}

/// What is asked of the server inside: all that follows the link, as it stands. A client that puts `/path` behind the
/// link's URL, which ends with a slash, means one.
fn asked(uri: Option<&PathAndQuery>, link: &str) -> String {
    let uri = uri.map_or("", PathAndQuery::as_str);
    let rest = uri
        .strip_prefix("/port/")
        .and_then(|rest| rest.strip_prefix(link))
        .unwrap_or("/");
    format!("/{}", rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_link_is_passed_on_as_it_stands() {
        for (uri, path) in [
            ("/port/l/", "/"),
            ("/port/l/?q=//x", "/?q=//x"),
            ("/port/l/a//b/%2e%2e/c?d=%20", "/a//b/%2e%2e/c?d=%20"),
            ("/port/l//a", "/a"),
        ] {
            assert_eq!(asked(Some(&uri.parse().unwrap()), "l"), path);
        }
    }
}
