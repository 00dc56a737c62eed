//! Pictures that `system_screenshot` took, for whoever has their URL. The bytes pass from the guest to the client, unread.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use berth_control::ControlError;
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};

use crate::body::Path;
use crate::calls::answered;
use crate::error::ApiError;
use crate::openapi::OfPicture;
use crate::{App, audit, pages};

/// Longest id of a picture; the guest's are shorter.
const ID_CHARS_MAX: usize = 64;

/// What a browser may do with it: show it. A session that serves something else here gets no more.
const POLICY: &str = "default-src 'none'; sandbox";

/// A picture of the screen, for some minutes after `system_screenshot` took it.
#[utoipa::path(
    get, path = "/screenshot/{pictures}/{picture}", operation_id = "readPicture", tag = "Tools",
    params(
        ("pictures" = String, Path, description = "The session's part of the URL that `system_screenshot` answers"),
        ("picture" = String, Path, description = "Its last segment", example = "aaaaaaaa"),
    ),
    responses((status = 200, content_type = "image/png", description = "The picture"), OfPicture),
    security(("pictureLink" = [])),
)]
pub(crate) async fn read(
    State(app): State<App>,
    Path((pictures, picture)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let linked = app.control.session_by_pictures_link(&pictures).await;
    let session = linked.map_err(|error| ApiError::from(error).of_link())?;
    audit::uses(&session);
    let is_id = picture.len() <= ID_CHARS_MAX
        && picture
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_id {
        return Err(ControlError::UnknownPicture.into());
    }
    let call = app.control.begin_call(&session).await?;
    let (length, body) = answered(&session, session.guest.picture(&picture))
        .await
        .map_err(ApiError::of_link)?;
    // The call lasts as long as its bytes; when the session ends, so do they.
    let session = Arc::clone(&session);
    let bytes = Body::new(body)
        .into_data_stream()
        .take_until(async move { session.ended().await })
        .inspect(move |_| {
            let _ = &call;
        });
    let mut response = (pages::guarded(POLICY), Body::from_stream(bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("image/png"));
    headers.insert(CONTENT_LENGTH, length.into());
    Ok(response)
}
