//! Reading bodies, queries and paths as the clients send them: sometimes empty, sometimes without a content type, always bounded.

use std::fmt::Display;

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use berth_agb_api::Code;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// Largest body of an API call or a tool call. Clients cut file writes into pieces of 51,200 characters; code and
/// commands have no limit on their side.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 20;

/// A whole body, or the refusal that it is too large.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| match rejection {
                BytesRejection::FailedToBufferBody(_)
                    if rejection.status() == http::StatusCode::PAYLOAD_TOO_LARGE =>
                {
                    ApiError::new(
                        Code::BodyTooLarge,
                        format!(
                            "the body is too large; allowed: at most {} MiB",
                            BODY_BYTES_MAX >> 20
                        ),
                    )
                }
                other => ApiError::new(
                    Code::MalformedBody,
                    format!("the body could not be read: {other}"),
                ),
            })?;
        Ok(Self(bytes))
    }
}

/// A JSON object in the body, whatever the content type says. No body counts as `{}`, and so does `null`.
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let Body(bytes) = Body::from_request(request, state).await?;
        read_object(match bytes.trim_ascii() {
            b"" | b"null" => b"{}",
            text => text,
        })
        .map(Self)
    }
}

/// Reads a JSON object. An array is refused, which serde would take for the object's members in their order.
pub(crate) fn read_object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ApiError> {
    if text.trim_ascii_start().first() == Some(&b'[') {
        return Err(malformed("an array, where an object is allowed"));
    }
    serde_json::from_slice(text).map_err(malformed)
}

/// The refusal of a body that is not the JSON it should be.
fn malformed(error: impl Display) -> ApiError {
    ApiError::new(
        Code::MalformedBody,
        format!("the body is not the JSON that this route takes: {error}"),
    )
}

/// Query parameters; a query that cannot be read is refused with the reason.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> axum::extract::FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| {
                ApiError::new(
                    Code::InvalidParameter,
                    format!("the query cannot be read: {error}"),
                )
            })
    }
}

/// The parameter in a path; one that is not UTF-8 is refused.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> axum::extract::FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut http::request::Parts, state: &S) -> Result<Self, ApiError> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(parameter)| Self(parameter))
            .map_err(|error| {
                ApiError::new(
                    Code::InvalidParameter,
                    format!("the path cannot be read: {}", error.body_text()),
                )
            })
    }
}
