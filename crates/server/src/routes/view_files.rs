//! Files through the live view, with its ticket: what is dropped on the page goes to the desktop, what lies there comes back.
//!
//! Names and places are the guest's business; the host opens nothing. Without a page of ours a browser must not show a
//! file of a session, which would be a page of this server's origin.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use berth_agb_api::Code;
use berth_control::{Grant, Held};
use berth_guest_api::{VIEW_FILES, ViewRight, percent_encode};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::file::{passed, stream, was_cut};
use super::view::granted;
use crate::App;
use crate::body::{Path, Query};
use crate::calls::answered;
use crate::error::ApiError;
use crate::openapi::OfTicketFile;
use crate::tunnel::{check_origin, runs_out};

/// For whatever a browser makes of a file all the same.
const FILE_POLICY: &str = "default-src 'none'; sandbox";

/// Query of a download.
#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    path: Option<String>,
}

/// Query of an upload.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    name: Option<String>,
}

/// What can be downloaded, or one of these files.
///
/// Without `path`, a list: plain files right in `~/Desktop` and `~/Downloads`, at most 500, those that changed last first
/// (`files`, each with `name`, `folder`, `path`, `size` and `modified` in Unix milliseconds; `truncated` when there are more).
/// With the `path` of one, its bytes; a `Range` of one window is answered by that part.
#[utoipa::path(
    get, path = "/view/{ticket}/files", operation_id = "viewReadFile", tag = "Live view",
    params(
        ("ticket" = String, Path, description = "The ticket in a live view's URL"),
        ("path" = Option<String>, Query, description = "The `path` of a file in the list"),
    ),
    responses(
        (status = 200, content((Object = "application/json"), (Vec<u8> = "application/octet-stream")), description = "The list, or the file"),
        (status = 206, content_type = "application/octet-stream", description = "The part of the file that `Range` names"),
        OfTicketFile,
    ),
    security(("ticket" = [])),
)]
pub(crate) async fn read(
    State(app): State<App>,
    Path(ticket): Path<String>,
    Query(wanted): Query<Wanted>,
    request: Request,
) -> Result<Response, ApiError> {
    let (grant, held) = holder(&app, &ticket).await?;
    let session = &grant.session;
    let Some(path) = wanted.path else {
        let _call = app.control.begin_call(session).await?;
        return answered(session, session.guest.view_files()).await.map(document);
    };
    let target = format!("{VIEW_FILES}?path={}", percent_encode(&path));
    let session = Arc::clone(session);
    let cut = async move { runs_out(&grant, &held).await };
    let mut response = stream(&app, &session, &target, request, cut).await?;
    let headers = response.headers_mut();
    let name = percent_encode(path.rsplit('/').next().unwrap_or_default());
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename*=UTF-8''{name}")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(FILE_POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Puts a file on the session's desktop.
///
/// One of this name that is there already stays: the new one gets a number, and the answer says where it is. An upload that
/// breaks off changes nothing.
#[utoipa::path(
    put, path = "/view/{ticket}/files", operation_id = "viewWriteFile", tag = "Live view",
    params(
        ("ticket" = String, Path, description = "The ticket in a live view's URL"),
        ("name" = String, Query, description = "A plain file name, at most 255 bytes", example = "report.pdf"),
    ),
    request_body(content_type = "application/octet-stream", description = "The file"),
    responses((status = 200, body = Object, description = "Written: its `path` and its `size`"), OfTicketFile),
    security(("ticket" = [])),
)]
pub(crate) async fn write(
    State(app): State<App>,
    Path(ticket): Path<String>,
    Query(named): Query<Named>,
    request: Request,
) -> Result<Response, ApiError> {
    check_origin(&app, request.headers())?;
    let (grant, held) = holder(&app, &ticket).await?;
    let session = &grant.session;
    let name = named
        .name
        .ok_or_else(|| ApiError::missing("name", "a plain file name, such as `report.pdf`"))?;
    let _call = app.control.begin_call(session).await?;
    let target = format!("{VIEW_FILES}?name={}", percent_encode(&name));
    let passed = passed(&target, request)?;
    tokio::select! {
        written = answered(session, session.guest.transfer_in(passed)) => written.map(document),
        () = runs_out(&grant, &held) => Err(was_cut()),
    }
}

/// What a ticket gives that gives a right to files, and the note that something goes on with it.
async fn holder(app: &App, ticket: &str) -> Result<(Grant, Held), ApiError> {
    let grant = granted(app, ticket).await?;
    if !grant.rights.has(ViewRight::Files) {
        return Err(ApiError::new(
            Code::RightMissing,
            format!(
                "this live view URL gives no right to `files`, but to {}; ask the session's owner for one that does",
                grant.rights
            ),
        ));
    }
    let held = grant.hold();
    Ok((grant, held))
}

/// A document of the guest, as it came.
fn document(text: Box<RawValue>) -> Response {
    let headers = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, axum::Json(text)).into_response()
}
